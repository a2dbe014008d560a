"""The command line: parsing, printing, progress, exit codes. The only module that prints.

Exit codes: 0 done, 1 the claim is false, 2 unusable input, 70 not foreseen, 75 interrupted and
resumable. They do not depend on who reads: a standard output that is closed, or whose reader has
left, takes no more and changes no code; one that fails, as on a full disk, is an interruption.
Standard error may be lost altogether.
"""

import contextlib
import io
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

from ltjax import __version__
from ltjax.errors import (
    PASSING,
    FalseClaimError,
    InputError,
    LostProcessError,
    UnsaidError,
    WrongKernelError,
)
from ltjax.system import interrupts, streams

# Everything else is imported where it is needed: whatever fails there has an exit code, too.

DONE, FALSE, UNUSABLE, UNFORESEEN, INTERRUPTED = 0, 1, 2, 70, 75
TRACEBACK = "LTJAX_TRACEBACK"  # environment variable: not empty, and what was not foreseen is shown
LOG_SECONDS = 30.0  # between progress lines where standard error is no terminal
FRAME = re.compile(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|-{4,}")  # of the parser: colours and rules
UNBROKEN = "10000"  # columns in which no message of the parser is wrapped

DESCRIPTION = f"""ltjax {__version__}: strong lottery tickets, counted.

How wide must a random network be before pruning alone finds the target?

Exit codes: 0 done, 1 the claim is false, 2 unusable input, 70 not foreseen, 75 interrupted."""


class Progress:
    """Rate, time left and the current estimate, on standard error.

    One line redrawn on a terminal; elsewhere a plain line now and then.
    """

    def __init__(self, trials: int, criterion: str, quiet: bool) -> None:
        self.trials, self.criterion, self.quiet = trials, criterion, quiet
        self.begun = self.told = time.monotonic()
        self.done = 0
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        with streams.dispensable(sys.stderr):
            if self.bar is not None:
                self.bar.close()

    def __call__(self, batch, log) -> None:
        with streams.dispensable(sys.stderr):
            if batch is None:
                self._begin(log.tally.trials, log.dropped_bytes)
            elif not self.quiet:
                self._tell(batch.stop - batch.start, log.tally)

    def _begin(self, done: int, dropped: int) -> None:
        if dropped:
            print(f"dropped a torn end of {dropped} bytes.", file=sys.stderr)
        if done >= self.trials:
            print(f"nothing to do: {done:,} trials are recorded.", file=sys.stderr)
        elif not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.trials, initial=done, unit=" trials", unit_scale=True)

    def _tell(self, trials: int, tally) -> None:
        self.done += trials
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(self._current(tally), refresh=False)
            self.bar.update(trials)
        elif now - self.told >= LOG_SECONDS:
            self.told = now
            rate = self.done / (now - self.begun)
            left = max(self.trials - tally.trials, 0) / rate
            print(
                f"{tally.trials:,} of {self.trials:,} trials, {rate:,.0f} a second, "
                f"{left:,.0f} s left, {self._current(tally)}",
                file=sys.stderr,
            )

    def _current(self, tally) -> str:
        """Success so far at the middle width and the smallest epsilon."""
        widths, epsilons = tally.problem.grid.widths, tally.problem.grid.epsilons
        k = len(widths) // 2
        success = tally.certified[tally.criterion(self.criterion), k, -1] / tally.trials
        axis = tally.problem.config.width_label
        return f"{self.criterion} {success:.4f} at {axis} = {widths[k]}, epsilon {epsilons[-1]:g}"


def parse(argv: list[str] | None):
    """The command asked for; `InputError` where it cannot be understood.

    `SystemExit` where help was asked for, which is printed.
    """
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return _parse(argv)
    except SystemExit as stop:
        if stop.code != UNUSABLE:
            raise
    shown = io.StringIO()
    with contextlib.redirect_stderr(shown), contextlib.suppress(SystemExit), _columns(UNBROKEN):
        _parse(argv)
    raise InputError(_one_line(shown.getvalue()))


def _parse(argv: list[str] | None):
    import tyro
    from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes

    from ltjax.cli.commands import Command
    from ltjax.cli.values import RULES

    return tyro.cli(
        Command,
        prog="ltjax",
        description=DESCRIPTION,
        args=argv,
        config=(OmitSubcommandPrefixes, OmitArgPrefixes, FlagCreatePairsOff),
        registry=RULES,
    )


@contextlib.contextmanager
def _columns(number: str) -> Iterator[None]:
    """Within, text is wrapped for a terminal of so many columns."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = number
    try:
        yield
    finally:
        del os.environ["COLUMNS"]
        if before is not None:
            os.environ["COLUMNS"] = before


def _one_line(box: str) -> str:
    """The message and the suggestion, out of the frame in which the parser puts them."""
    text = "\n".join(FRAME.sub("", line).strip() for line in box.splitlines()[1:])
    parts = [" ".join(part.split()).rstrip(".") for part in text.split("\n\n")]
    helps = ("Argument helptext", "For full helptext")
    said = ". ".join(part for part in parts if part and not part.startswith(helps)) + "."
    said = re.sub(r"( in ltjax [a-z ]*--help)+", "", said)
    said = re.sub(r"^Error parsing -*(\S+): must", r"\1 must", said)
    return said.replace("Expected 1 values.", "Expected a value.")


def program() -> None:
    """Run the command that this process was given, and end it."""
    code = main()
    if code in (UNFORESEEN, INTERRUPTED):
        os._exit(code)  # an orderly end waits, minutes perhaps, for what runs on the devices
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code, whatever happens."""
    try:
        with streams.settled(), interrupts.caught():
            return _run(argv)
    except KeyboardInterrupt:  # a second one, while the first was told
        return INTERRUPTED


def _run(argv: list[str] | None) -> int:
    command = None
    try:
        with _saying():
            command = parse(argv)
        if command is not None:  # else the reader of the help has left
            _obey(command)
        return DONE
    except BaseException as error:
        code = _explain(error, command)
    if code != DONE and getattr(command, "distributed", False):
        os._exit(code)  # an exit by jax waits for processes that are gone, and is then aborted
    return code


def _obey(command) -> None:
    """Print what a command yields."""
    # The compiler's own log says of every kept program that another processor may not run it. What
    # jax sets, 1, reaches the processes that it starts.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    for text in command(Progress):
        with _saying():
            print(text)


@contextlib.contextmanager
def _saying() -> Iterator[None]:
    """What is printed within is out afterwards, or nobody is there to read it."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        streams.silence(sys.stdout)
    except OSError as error:
        streams.silence(sys.stdout)
        raise UnsaidError(f"standard output cannot be written: {error.strerror}") from error


def _explain(error: BaseException, command) -> int:
    """Turn what stopped a command into one line and an exit code."""
    later = ""
    if getattr(command, "resumable", False):
        later = "; the same command goes on from its record"
    match error:
        case SystemExit(code=0 | None) if command is None:  # help
            return DONE
        case FalseClaimError():
            return complain(str(error), FALSE)
        case InputError():
            return complain(str(error), UNUSABLE)
        case WrongKernelError():
            return complain(str(error), UNFORESEEN)
        case LostProcessError() | UnsaidError():
            return complain(f"{error}{later}.", INTERRUPTED)
        case KeyboardInterrupt():
            return complain(f"interrupted{later}.", INTERRUPTED)
        case OSError() if error.errno in PASSING:
            where = f"{error.filename}: " if error.filename else ""
            return complain(f"{where}{error.strerror}{later}.", INTERRUPTED)
    return _report(error, later)


def _report(error: BaseException, later: str) -> int:
    """What nobody foresaw: of which kind it is, and how to see where it happened."""
    if os.environ.get(TRACEBACK):
        _tell("".join(traceback.format_exception(error)))
    reason = ""
    with contextlib.suppress(Exception):  # of whoever wrote `error`
        reason = " ".join(str(error).split())
    what = f"{type(error).__name__}: {reason[:200]}" if reason else type(error).__name__
    return complain(
        f"not foreseen, {what.rstrip('.')}{later}. Please report it with the command and what "
        f"{TRACEBACK}=1 shows.",
        UNFORESEEN,
    )


def complain(message: str, code: int) -> int:
    """One line, whatever the names of files hold; return the exit code."""
    _tell(f"ltjax: {' '.join(message.split())}")
    return code


def _tell(text: str) -> None:
    """Print to standard error, as far as there is one."""
    with streams.dispensable(sys.stderr):
        print(text, file=sys.stderr)


if __name__ == "__main__":
    program()
