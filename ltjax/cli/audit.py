"""The command `audit`: every claim of the source, tried and told.

As in `cli.curve`, a command yields what is to be printed, and its docstring and help are the
manual.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import arg

from ltjax.cli.flags import CompileCache, Device, Flag, NewFile, Watching


@dataclass(frozen=True)
class Audit:
    """Put every claim of the source document to the test, and say what became of it.

    Predicted beside measured, an interval and a verdict for each. Exit code 0 only if every check
    came out as expected, else 1. With --out the same line goes on where it was.

    Try:
      ltjax audit
      ltjax audit --claim mask width --report runs/audit.html
      ltjax audit --full --out runs/audit.jsonl --report runs/audit.html
    """

    claim: Annotated[
        tuple[str, ...],
        arg(
            metavar="NAME [NAME ...]",
            help="Claims, told in full; by default all of them, a line each.",
            help_behavior_hint="",
        ),
    ] = ()
    full: Annotated[Flag, arg(help="The large sizes, of some ten minutes.")] = False
    seed: Annotated[int, arg(help="0 to 2^32 - 1; the same seed gives the same report.")] = 0
    out: Annotated[
        NewFile, arg(help="Findings, a line of JSON each: to begin, or to go on with.")
    ] = None
    report: Annotated[NewFile, arg(help="The audit as one page: .html.")] = None
    device: Device = "auto"
    compile_cache: CompileCache = None
    quiet: Annotated[Flag, arg(help="No progress.")] = False

    @property
    def resumable(self) -> bool:
        return self.out is not None

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax.audits import ledger, page
        from ltjax.errors import FalseClaimError
        from ltjax.system import devices, files

        self._check()
        devices.use_cores()
        devices.keep_programs(self.compile_cache)
        entries = []
        yield page.HEAD
        for entry in ledger.audit(
            self.claim, self.full, self.seed, self.out, self.device, watching, self.quiet
        ):
            entries.append(entry)
            yield page.line(entry)
            if self.claim or not entry.as_expected:
                yield page.details(entry)
        yield page.summary(entries)
        if self.report is not None:
            files.write_atomic(self.report, page.page(entries))
            yield f"report: {self.report}"
        wrong = [entry.claim.name for entry in entries if not entry.as_expected]
        if wrong:
            raise FalseClaimError(f"not as expected: {', '.join(wrong)}.")

    def _check(self) -> None:
        """All that can be refused is refused before the first claim."""
        from ltjax.system import files

        if self.report is not None:
            files.check_output(self.report, "report", (".html",))
            if self.out is not None:
                files.check_two_files(self.report, self.out, "report and out")
            from ltjax.results import success_figure  # noqa: F401  refuses what it cannot draw with
