"""The command line: flags, printing, progress, exit codes. The only module that prints.

Exit codes: 0 done, 1 the claim is false, 2 unusable input, 75 interrupted and resumable.
"""

import contextlib
import io
import os
import re
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

# Modules that bring numpy, scipy, jax or matplotlib are imported by the command that needs them:
# help answers at once.
from ltjax import __version__

DONE, FALSE, UNUSABLE, INTERRUPTED = 0, 1, 2, 75
LOG_SECONDS = 30.0  # between progress lines where standard error is no terminal

Path = Annotated[str, arg(metavar="FILE")]
Dim = Annotated[
    int | None,
    arg(
        metavar="D",
        help="Input dimension.",
        help_behavior_hint="(default: 8, or that of the target file)",
    ),
]
Rule = Annotated[str, arg(metavar="RULE", help="slides, tight, l2 or sup; or one, as blocks/sup.")]
Delta = Annotated[float, arg(help="Failure probability for which the needed width is told.")]


@dataclass(frozen=True)
class Curve:
    experiment: Positional[Annotated[Literal["neuron"], arg(help="What is pruned to.")]]
    dim: Dim = None
    epsilon: Annotated[tuple[float, ...], arg(help="Errors allowed over the unit ball.")] = (
        0.5,
        0.2,
        0.1,
    )
    trials: Annotated[int, arg(help="Random networks, in all.")] = 20_000
    seed: Annotated[int, arg(help="0 to 2^32 - 1; the same seed gives the same counts.")] = 0
    target: Annotated[
        str,
        arg(help="worst (|w_i| = 1/sqrt(d), mixed signs), random (one, by seed) or a .npy file."),
    ] = "worst"
    widths: Annotated[
        tuple[int, ...],
        arg(
            help="Hidden neurons k.",
            help_behavior_hint="(default: about 40, over which the exact curves rise)",
        ),
    ] = ()
    constructions: Annotated[
        tuple[Literal["blocks", "pooled"], ...], arg(help="Which masks to search.")
    ] = ("blocks", "pooled")
    out: Annotated[
        str | None,
        arg(metavar="FILE", help="Record to begin, or to go on with.", help_behavior_hint=""),
    ] = None
    figure: Annotated[
        str | None,
        arg(metavar="FILE", help="Picture to draw: .pdf, .svg or .png.", help_behavior_hint=""),
    ] = None
    criterion: Rule = "tight"
    all: Annotated[bool, arg(help="Show every width.", help_behavior_hint="")] = False
    delta: Delta = 0.05
    device: Annotated[
        Literal["auto", "cpu", "gpu", "tpu"], arg(help="Where to run; never falls back.")
    ] = "auto"
    quiet: Annotated[bool, arg(help="No progress.", help_behavior_hint="")] = False

    def __call__(self) -> None:
        from ltjax import curves, files

        check_delta(self.delta)
        problem = curves.neuron(
            self.dim, self.epsilon, self.widths, self.target, self.constructions, self.seed
        )
        curves.chosen(problem, self.criterion)
        if self.figure is not None:
            files.check_picture(self.figure)
        with Progress(self.trials, self.quiet) as progress:
            tally = curves.run(problem, self.trials, self.out, self.device, progress)
        print(curves.table(tally, self.criterion, self.all, self.delta))
        if self.figure is not None:
            label = self.out or "this run"
            curves.plot(tally, self.figure, self.criterion, [label], self.delta)
            print(f"figure: {self.figure}")
        if self.out is not None:
            print(f"record: {self.out}")


@dataclass(frozen=True)
class Width:
    dim: Dim = None
    epsilon: Annotated[tuple[float, ...], arg(help="Errors allowed over the unit ball.")] = (0.1,)
    delta: Delta = 0.05
    target: Annotated[str, arg(help="worst, random or a .npy file.")] = "worst"
    seed: Annotated[int, arg(help="Of a random target.")] = 0

    def __call__(self) -> None:
        from ltjax import curves, report

        check_delta(self.delta)
        problem = curves.neuron(self.dim, self.epsilon, (1,), self.target, seed=self.seed)
        print(report.widths(problem, self.delta))


@dataclass(frozen=True)
class Show:
    record: Positional[Path]
    criterion: Rule = "tight"
    all: Annotated[bool, arg(help="Show every width.", help_behavior_hint="")] = False
    csv: Annotated[bool, arg(help="All counts, for a spreadsheet.", help_behavior_hint="")] = False
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
    records: Positional[tuple[Path, ...]]
    out: Annotated[Path, arg(help="Picture to draw: .pdf, .svg or .png.")]
    criterion: Rule = "tight"
    delta: Delta = 0.05

    def __call__(self) -> None:
        from ltjax import curves, files, records
        from ltjax.problem import InputError

        check_delta(self.delta)
        files.check_picture(self.out)
        if not self.records:
            raise InputError("records must name at least one file, got none.")
        tallies = [records.load([record]) for record in self.records]
        curves.plot(tallies, self.out, self.criterion, self.records, self.delta)
        print(f"figure: {self.out}")


def check_delta(delta: float) -> None:
    from ltjax.problem import InputError

    if not 0.0 < delta < 1.0:
        raise InputError(f"delta must lie strictly between 0 and 1, got {delta:g}.")


CURVE_HELP = """Measure how often pruning succeeds, as a function of width.

Draws random two-layer ReLU networks, prunes each to one neuron as the proof does, and counts
successes at every width beside the exact curve. The same line again goes on where it was.

Examples:
  ltjax curve neuron
  ltjax curve neuron --dim 8 --epsilon 0.5 0.2 0.1 --out runs/neuron.jsonl --figure runs/neuron.svg
  ltjax curve neuron --target weights.npy --constructions pooled --criterion sup"""

WIDTH_HELP = """Tell the width that theory asks for, without drawing anything.

Example:
  ltjax width --dim 16 --epsilon 0.1 --delta 0.05"""

SHOW_HELP = """Show what a record holds.

Examples:
  ltjax show runs/neuron.jsonl --criterion blocks/sup --all
  ltjax show runs/neuron.jsonl --csv > neuron.csv"""

PLOT_HELP = """Draw one or several records in one figure.

Example:
  ltjax plot runs/neuron.jsonl runs/other.jsonl --out fig.pdf"""

Command = (
    Annotated[Curve, subcommand("curve", description=CURVE_HELP)]
    | Annotated[Width, subcommand("width", description=WIDTH_HELP)]
    | Annotated[Show, subcommand("show", description=SHOW_HELP)]
    | Annotated[Plot, subcommand("plot", description=PLOT_HELP)]
)

DESCRIPTION = f"""ltjax {__version__}: strong lottery tickets, counted.

How wide must a random network be before pruning alone finds the target?

Examples:
  ltjax curve neuron --dim 8 --figure neuron.svg
  ltjax width --dim 16 --epsilon 0.1 --delta 0.05"""


class Progress:
    """Rate, time left and the current estimate, on standard error.

    One line redrawn on a terminal; elsewhere a plain line now and then.
    """

    def __init__(self, trials: int, quiet: bool) -> None:
        self.trials, self.quiet = trials, quiet
        self.begun = self.told = time.monotonic()
        self.done = 0
        self.bar = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def __call__(self, batch, log) -> None:
        if batch is None:
            if log.dropped_bytes:
                print(f"dropped a torn end of {log.dropped_bytes} bytes.", file=sys.stderr)
            self._begin(log.tally.trials)
        elif not self.quiet:
            self._tell(batch.stop - batch.start, log.tally)

    def _begin(self, done: int) -> None:
        if done >= self.trials:
            print(f"nothing to do: {done:,} trials are recorded.", file=sys.stderr)
        elif not self.quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self.bar = tqdm(total=self.trials, initial=done, unit=" trials", unit_scale=True)

    def _tell(self, trials: int, tally) -> None:
        self.done += trials
        now = time.monotonic()
        if self.bar is not None:
            self.bar.set_postfix_str(_current(tally), refresh=False)
            self.bar.update(trials)
        elif now - self.told >= LOG_SECONDS:
            self.told = now
            rate = self.done / (now - self.begun)
            left = max(self.trials - tally.trials, 0) / rate
            print(
                f"{tally.trials:,} of {self.trials:,} trials, {rate:,.0f} a second, "
                f"{left:,.0f} s left, {_current(tally)}",
                file=sys.stderr,
            )


def _current(tally) -> str:
    """Success so far at the middle width of the first criterion and the smallest epsilon."""
    k = len(tally.problem.grid.widths) // 2
    success = tally.certified[0, k, -1] / tally.trials
    width, epsilon = tally.problem.grid.widths[k], tally.problem.grid.epsilons[-1]
    return f"{tally.problem.criteria[0].name} {success:.4f} at k = {width}, epsilon {epsilon:g}"


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
            print(f"ltjax: {_one_line(shown.getvalue())}", file=sys.stderr)
        raise


def _one_line(box: str) -> str:
    """The message and the suggestion, out of the frame in which the parser puts them."""
    lines = [re.sub(r"[\u2500-\u257f]", "", line).strip() for line in box.splitlines()[1:]]
    words, keep = [], True
    for line in lines:
        if line.startswith(("Argument helptext", "For full helptext", "in ltjax")):
            keep = line.startswith("in ltjax")
        elif line and keep:
            words.append(line)
    # Of all types that a flag may have, the last is the one worth naming.
    return re.sub(r"no type matching .*<class '(\w+)'>: ", r"", " ".join(words))


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    command = parse(argv)
    from ltjax.problem import InputError, WrongKernelError

    try:
        command()
        sys.stdout.flush()
        return DONE
    except (InputError, WrongKernelError) as error:
        print(f"ltjax: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("ltjax: interrupted; the same command goes on from its record.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        print(f"ltjax: {error}; the same command goes on from its record.", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
