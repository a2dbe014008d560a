"""What can be asked for: the commands, their flags, and what each of them does.

A command is called with a watch for its trials and yields what is to be printed, as it comes. The
docstrings and the help of the flags are the user's manual.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg, subcommand

# Modules that bring numpy, scipy, jax or matplotlib are imported by the command that needs them:
# help answers at once.

Watching = Callable[[int, str, bool], Any]  # trials, criterion, quiet: a context with a watch

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
Rule = Annotated[
    str | None,
    arg(
        metavar="RULE",
        help="What is shown: a rule, or one criterion, as blocks/sup. "
        "By default tight of a neuron, sup of a network.",
        help_behavior_hint="",
    ),
]
Trials = Annotated[int, arg(help="Random networks, in all.")]
All = Annotated[Flag, arg(help="Show every width, not a readable handful.")]
Delta = Annotated[float, arg(help="Failure probability for which the needed width is told.")]


@dataclass(frozen=True)
class Run:
    """How to run it, and what to show of it."""

    seed: Annotated[int, arg(help="0 to 2^32 - 1; the same seed gives the same counts.")] = 0
    out: Annotated[NewFile, arg(help="Record to begin, or to go on with.")] = None
    figure: Annotated[NewFile, arg(help=PICTURE)] = None
    criterion: Rule = None
    all: All = False
    delta: Delta = 0.05
    device: Annotated[
        Literal["auto", "cpu", "gpu", "tpu"], arg(help="Where to run; never falls back.")
    ] = "auto"
    quiet: Annotated[Flag, arg(help="No progress.")] = False

    def check(self) -> None:
        """All that can be refused is refused before the first trial."""
        from ltjax import files
        from ltjax.problem import InputError, check_delta

        check_delta(self.delta)
        if self.figure is not None:
            files.check_output(self.figure, "figure")
            if self.out is not None and os.path.realpath(self.out) == os.path.realpath(self.figure):
                raise InputError(f"figure and out must be two files, got {self.out} for both.")

    def __call__(self, problem, trials: int, watching: Watching) -> Iterator[str]:
        from ltjax import curves

        watched, *_ = curves.chosen(problem, self.criterion)
        with watching(trials, watched, self.quiet) as watch:
            tally = curves.run(problem, trials, self.out, self.device, watch)
        yield curves.table(tally, self.criterion, self.all, self.delta)
        if self.figure is not None:
            curves.plot(tally, self.figure, self.criterion, delta=self.delta)
            yield f"figure: {self.figure}"
        if self.out is not None:
            yield f"record: {self.out}"


@dataclass(frozen=True)
class NeuronCurve:
    """One neuron f(x) = relu(w.x), pruned from a random two-layer network.

    Try:
      ltjax curve neuron
      ltjax curve neuron --dim 8 --out runs/neuron.jsonl --figure runs/neuron.svg
      ltjax curve neuron --target weights.npy --constructions pooled --criterion sup
    """

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
    trials: Trials = 20_000
    run: Run = field(default_factory=Run)

    def problem(self):
        from ltjax import targets

        return targets.neuron(
            dim=self.dim,
            epsilons=self.epsilon,
            widths=self.widths,
            target=self.target,
            constructions=self.constructions,
            rules=self.rules,
            seed=self.run.seed,
        )


@dataclass(frozen=True)
class NetworkCurve:
    """A whole network of ReLU layers, pruned from a random one of twice its depth.

    Try:
      ltjax curve network
      ltjax curve network --dim 8 --hidden 8 --depth 2 --epsilon 0.5 0.2 --out runs/network.jsonl
      ltjax curve network --target weights.npz --constructions blocks
    """

    dim: Dim = None
    hidden: Annotated[
        int | None,
        arg(metavar="N", help="Neurons of a hidden layer, as dim.", help_behavior_hint=""),
    ] = None
    depth: Annotated[
        int | None, arg(metavar="L", help="Layers of weights, 2.", help_behavior_hint="")
    ] = None
    epsilon: Epsilons = (0.5, 0.2)
    target: Annotated[
        str,
        arg(help="worst (all weights of one size), random (one, by seed) or a .npz file."),
    ] = "worst"
    last: Annotated[
        Literal["linear", "relu"], arg(help="What the last layer of the target ends with.")
    ] = "linear"
    blocks: Annotated[
        tuple[int, ...] | None,
        arg(
            metavar="M [M ...]",
            help="Hidden neurons reserved for a weight, by default about 16 numbers.",
            help_behavior_hint="",
        ),
    ] = None
    constructions: Annotated[
        tuple[Literal["blocks", "separate"], ...],
        arg(help="A block for each input of a layer, or for each weight."),
    ] = ("blocks", "separate")
    rules: Annotated[
        tuple[Literal["slides", "tight", "sup"], ...],
        arg(help="What is counted; sup is the dearest."),
    ] = ("slides", "tight", "sup")
    trials: Trials = 2_000
    run: Run = field(default_factory=Run)

    def problem(self):
        from ltjax import targets

        return targets.network(
            dim=self.dim,
            hidden=self.hidden,
            depth=self.depth,
            epsilons=self.epsilon,
            blocks=self.blocks,
            target=self.target,
            last=self.last,
            constructions=self.constructions,
            rules=self.rules,
            seed=self.run.seed,
        )


@dataclass(frozen=True)
class Curve:
    """Measure how often pruning succeeds, as a function of width.

    Draws random ReLU networks, prunes each as the proof does, and counts successes at every width
    beside the exact or proved curve. The same line again goes on where it was.

    Try:
      ltjax curve neuron
      ltjax curve network
    """

    experiment: (
        Annotated[NeuronCurve, subcommand("neuron")]
        | Annotated[NetworkCurve, subcommand("network")]
    )

    @property
    def resumable(self) -> bool:
        return self.experiment.run.out is not None

    def __call__(self, watching: Watching) -> Iterator[str]:
        self.experiment.run.check()
        problem = self.experiment.problem()
        yield from self.experiment.run(problem, self.experiment.trials, watching)


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

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import report, targets
        from ltjax.problem import check_delta

        check_delta(self.delta)
        problem = targets.neuron(self.dim, self.epsilon, (1,), self.target, seed=self.seed)
        yield report.widths(problem, self.delta)


@dataclass(frozen=True)
class Show:
    """Show what a record holds.

    Try:
      ltjax show runs/neuron.jsonl --criterion blocks/sup --all
      ltjax show runs/neuron.jsonl --csv > neuron.csv
    """

    record: Positional[Annotated[File, arg(help="Record.")]]
    criterion: Rule = None
    all: All = False
    csv: Annotated[Flag, arg(help="All counts, for a spreadsheet.")] = False
    delta: Delta = 0.05

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import curves, records
        from ltjax.problem import check_delta

        check_delta(self.delta)
        tally = records.load([self.record])
        if self.csv:
            yield records.to_csv(tally).removesuffix("\n")
        else:
            yield curves.table(tally, self.criterion, self.all, self.delta)


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
    criterion: Rule = None
    delta: Delta = 0.05

    def __call__(self, watching: Watching) -> Iterator[str]:
        from ltjax import curves, files, records
        from ltjax.problem import InputError, check_delta

        check_delta(self.delta)
        files.check_output(self.out, "out")
        if not self.records:
            raise InputError("records must name at least one file, got none.")
        tallies = [records.load([record]) for record in self.records]
        curves.plot(tallies, self.out, self.criterion, self.records, self.delta)
        yield f"figure: {self.out}"


CurveCommand = Curve | Width | Show | Plot
