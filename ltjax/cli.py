"""The command line: flags, printing, progress, exit codes. The only module that prints.

Exit codes: 0 done, 2 unusable input, 75 interrupted and resumable; 1 is for a claim that is false.
"""

import contextlib
import io
import os
import re
import signal
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg

# Modules that bring numpy, scipy, jax or matplotlib are imported by the command that needs them:
# help answers at once.
from ltjax import __version__

DONE, UNUSABLE, INTERRUPTED = 0, 2, 75
LOG_SECONDS = 30.0  # between progress lines where standard error is no terminal
FRAME = re.compile(r"\x1b\[[0-9;]*m|[\u2500-\u257f]|-{4,}")  # of the parser: colours and rules

PICTURE = "Picture to draw: .pdf, .svg or .png."

File = Annotated[str, arg(metavar="FILE")]
NewFile = Annotated[str | None, arg(metavar="FILE", help_behavior_hint="")]
Flag = Annotated[bool, arg(help_behavior_hint="")]
Dim = Annotated[
    int | None,
    arg(metavar="D", help="Input dimension, 8 unless the target says.", help_behavior_hint=""),
]
Epsilons = Annotated[
    tuple[float, ...], arg(metavar="E [E ...]", help="Errors allowed over the unit ball.")
]
Target = Annotated[
    str, arg(help="worst (|w_i| = 1/sqrt(d), mixed signs), random (one, by seed) or a .npy file.")
]
Rule = Annotated[str, arg(metavar="RULE", help="slides, tight, l2 or sup; or one, as blocks/sup.")]
All = Annotated[Flag, arg(help="Show every width, not a readable handful.")]
Delta = Annotated[float, arg(help="Failure probability for which the needed width is told.")]


@dataclass(frozen=True)
class Curve:
    """Measure how often pruning succeeds, as a function of width.

    Draws random two-layer ReLU networks, prunes each to one neuron as the proof does, and counts
    successes at every width beside the exact curve. The same line again goes on where it was.

    Try:
      ltjax curve neuron
      ltjax curve neuron --dim 8 --out runs/neuron.jsonl --figure runs/neuron.svg
      ltjax curve neuron --target weights.npy --constructions pooled --criterion sup
    """

    experiment: Positional[Annotated[Literal["neuron"], arg(help="What is pruned to.")]]
    dim: Dim = None
    epsilon: Epsilons = (0.5, 0.2, 0.1)
    target: Target = "worst"
    widths: Annotated[
        tuple[int, ...] | None,
        arg(
            metavar="K [K ...]",
            help="Hidden neurons, by default about 40 numbers over which the exact curves rise.",
            help_behavior_hint="",
        ),
    ] = None
    constructions: Annotated[
        tuple[Literal["blocks", "pooled"], ...], arg(help="Which masks to search.")
    ] = ("blocks", "pooled")
    rules: Annotated[
        tuple[Literal["slides", "tight", "l2", "sup"], ...],
        arg(help="What is counted; sup is the dearest."),
    ] = ("slides", "tight", "l2", "sup")
    trials: Annotated[int, arg(help="Random networks, in all.")] = 20_000
    seed: Annotated[int, arg(help="0 to 2^32 - 1; the same seed gives the same counts.")] = 0
    out: Annotated[NewFile, arg(help="Record to begin, or to go on with.")] = None
    figure: Annotated[NewFile, arg(help=PICTURE)] = None
    criterion: Rule = "tight"
    all: All = False
    delta: Delta = 0.05
    device: Annotated[
        Literal["auto", "cpu", "gpu", "tpu"], arg(help="Where to run; never falls back.")
    ] = "auto"
    quiet: Annotated[Flag, arg(help="No progress.")] = False

    def __call__(self) -> None:
        from ltjax import curves, files
        from ltjax.problem import InputError

        check_delta(self.delta)
        # All that can be refused is refused before the first trial.
        if self.figure is not None:
            files.check_picture(self.figure, "figure")
            if self.out is not None and os.path.realpath(self.out) == os.path.realpath(self.figure):
                raise InputError(f"figure and out must be two files, got {self.out} for both.")
        problem = curves.neuron(
            dim=self.dim,
            epsilons=self.epsilon,
            widths=self.widths,
            target=self.target,
            constructions=self.constructions,
            rules=self.rules,
            seed=self.seed,
        )
        watched, *_ = curves.chosen(problem, self.criterion)
        with Progress(self.trials, watched, self.quiet) as progress:
            tally = curves.run(problem, self.trials, self.out, self.device, progress)
        print(curves.table(tally, self.criterion, self.all, self.delta))
        if self.figure is not None:
            curves.plot(tally, self.figure, self.criterion, delta=self.delta)
            print(f"figure: {self.figure}")
        if self.out is not None:
            print(f"record: {self.out}")


@dataclass(frozen=True)
class Width:
    """Tell the width that theory asks for, without drawing anything.

    Try:
      ltjax width --dim 16 --epsilon 0.1 --delta 0.05
    """

    dim: Dim = None
    epsilon: Epsilons = (0.1,)
    delta: Delta = 0.05
    target: Target = "worst"
    seed: Annotated[int, arg(help="Of a random target.")] = 0

    def __call__(self) -> None:
        from ltjax import curves, report

        check_delta(self.delta)
        problem = curves.neuron(self.dim, self.epsilon, (1,), self.target, seed=self.seed)
        print(report.widths(problem, self.delta))


@dataclass(frozen=True)
class Show:
    """Show what a record holds.

    Try:
      ltjax show runs/neuron.jsonl --criterion blocks/sup --all
      ltjax show runs/neuron.jsonl --csv > neuron.csv
    """

    record: Positional[Annotated[File, arg(help="Record.")]]
    criterion: Rule = "tight"
    all: All = False
    csv: Annotated[Flag, arg(help="All counts, for a spreadsheet.")] = False
    delta: Delta = 0.05

    def __call__(self) -> None:
        from ltjax import curves, records

        check_delta(self.delta)
        tally = records.load([self.record])
        if self.csv:
            print(records.to_csv(tally), end="")
        else:
            print(curves.table(tally, self.criterion, self.all, self.delta))


@dataclass(frozen=True)
class Plot:
    """Draw one or several records in one figure.

    Try:
      ltjax plot runs/neuron.jsonl runs/other.jsonl --out fig.pdf
    """

    records: Positional[
        Annotated[
            tuple[str, ...], arg(metavar="FILE [FILE ...]", help="Records.", help_behavior_hint="")
        ]
    ]
    out: Annotated[File, arg(help=PICTURE)]
    criterion: Rule = "tight"
    delta: Delta = 0.05

    def __call__(self) -> None:
        from ltjax import curves, files, records
        from ltjax.problem import InputError

        check_delta(self.delta)
        files.check_picture(self.out, "out")
        if not self.records:
            raise InputError("records must name at least one file, got none.")
        tallies = [records.load([record]) for record in self.records]
        curves.plot(tallies, self.out, self.criterion, self.records, self.delta)
        print(f"figure: {self.out}")


def check_delta(delta: float) -> None:
    from ltjax.problem import InputError

    if not 0.0 < delta < 1.0:
        raise InputError(f"delta must lie strictly between 0 and 1, got {delta:g}.")


Command = Curve | Width | Show | Plot

DESCRIPTION = f"""ltjax {__version__}: strong lottery tickets, counted.

How wide must a random network be before pruning alone finds the target?"""


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
        if self.bar is not None:
            self.bar.close()

    def __call__(self, batch, log) -> None:
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
        return f"{self.criterion} {success:.4f} at k = {widths[k]}, epsilon {epsilons[-1]:g}"


def parse(argv: list[str] | None):
    """The command asked for; exits with 2 and one line where it cannot be understood."""
    config = (OmitSubcommandPrefixes, OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
    shown = io.StringIO()
    try:
        with contextlib.redirect_stderr(shown):
            return tyro.cli(
                Command, prog="ltjax", description=DESCRIPTION, args=argv, config=config
            )
    except SystemExit as stop:
        if stop.code == UNUSABLE:
            complain(_one_line(shown.getvalue()), UNUSABLE)
        raise


def _one_line(box: str) -> str:
    """The message and the suggestion, out of the frame in which the parser puts them."""
    text = "\n".join(FRAME.sub("", line).strip() for line in box.splitlines()[1:])
    parts = [" ".join(part.split()).rstrip(".") for part in text.split("\n\n")]
    helps = ("Argument helptext", "For full helptext")
    said = ". ".join(part for part in parts if part and not part.startswith(helps)) + "."
    # Of all types that a flag may have, the last is the one worth naming.
    return re.sub(r"no type matching .* - [^:]*: ", "", said)


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    command = parse(argv)
    from ltjax.problem import InputError, WrongKernelError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as control-C
    resumable = isinstance(command, Curve) and command.out is not None
    later = "; the same command goes on from its record" if resumable else ""
    try:
        command()
        sys.stdout.flush()
        return DONE
    except (InputError, WrongKernelError) as error:
        return complain(str(error), UNUSABLE)
    except KeyboardInterrupt:
        return complain(f"interrupted{later}.", INTERRUPTED)
    except OSError as error:
        # What is left to print cannot be printed: at exit the interpreter would try it again.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader has seen enough
            return DONE
        return complain(f"{error}{later}.", INTERRUPTED)


def complain(message: str, code: int) -> int:
    """One line, whatever the names of files hold; return the exit code."""
    print(f"ltjax: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
