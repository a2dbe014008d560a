"""The command `curve`: its flags, and what it does with them.

A command is called with a watch for its trials and yields what is to be printed, as it comes. The
docstrings and the help of the flags are the user's manual.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from tyro.conf import arg, subcommand

from ltjax.flags import (
    PICTURE,
    All,
    CompileCache,
    Delta,
    Device,
    Dim,
    Epsilons,
    Flag,
    NewFile,
    Rule,
    Target,
    Trials,
    Watching,
)

# Modules that bring numpy, scipy, jax or matplotlib are imported by the command that needs them:
# help answers at once.


@dataclass(frozen=True)
class Scale:
    """How much, on what, and when to stop."""

    shard: Annotated[
        str | None,
        arg(
            metavar="k/K",
            help="Run the k-th of K shares of the trials; ltjax merge adds up their records.",
            help_behavior_hint="",
        ),
    ] = None
    until_half_width: Annotated[
        float | None,
        arg(
            metavar="H",
            help="Stop once the anytime 95 % interval of the cell reaches H to either side.",
            help_behavior_hint="",
        ),
    ] = None
    until_failures: Annotated[
        int | None,
        arg(metavar="N", help="Stop once N trials failed in the cell.", help_behavior_hint=""),
    ] = None
    at: Annotated[
        tuple[str, int, float] | None,
        arg(
            metavar="CRITERION WIDTH EPSILON",
            help="The cell, as blocks/tight 300 0.1; by default the main rule at the smallest "
            "epsilon and the width of success 1/2.",
            help_behavior_hint="",
        ),
    ] = None
    max_seconds: Annotated[
        float | None,
        arg(metavar="S", help="Begin no batch after S seconds.", help_behavior_hint=""),
    ] = None
    device: Device = "auto"
    memory: Annotated[
        float | None,
        arg(metavar="GIB", help="To use at most, by default half.", help_behavior_hint=""),
    ] = None
    distributed: Annotated[
        str | None,
        arg(
            metavar="HOW",
            help="Run in several processes: auto (TPU pods, Slurm, Open MPI), or HOST:PORT where "
            "the first process listens.",
            help_behavior_hint="",
        ),
    ] = None
    process: Annotated[
        str | None,
        arg(
            metavar="k/K",
            help="Which of how many processes this is, for HOST:PORT; the first writes.",
            help_behavior_hint="",
        ),
    ] = None
    compile_cache: CompileCache = None
    dry_run: Annotated[
        Flag, arg(help="Tell points, trials, memory and time; record and draw nothing.")
    ] = False

    def plan(self, problem) -> dict[str, Any]:
        """Shares, rules and limits, as `curves.run` is told of them."""
        from ltjax import curves, plans
        from ltjax.errors import InputError

        asked = self.until_half_width is not None or self.until_failures is not None
        if self.at is not None and not asked:
            raise InputError(f"at must have a rule beside it, --until-..., got {self.at[0]}.")
        rule = self.until_half_width, self.until_failures, self.at
        return {
            "shard": None if self.shard is None else plans.Shard.parse(self.shard),
            "until": curves.until(problem, *rule) if asked else None,
            "seconds": math.inf if self.max_seconds is None else self.max_seconds,
            "memory": self.memory,
            "device": self.device,
        }

    def team(self):
        """The processes of this run, joined where asked for."""
        from ltjax import processes
        from ltjax.errors import InputError

        if self.distributed is not None:
            return processes.join(self.distributed, self.process)
        if self.process is not None:
            raise InputError(f"process must have --distributed beside it, got {self.process}.")
        return processes.Alone()


@dataclass(frozen=True)
class Run:
    """How to run it, and what to show of it."""

    seed: Annotated[int, arg(help="0 to 2^32 - 1; the same seed gives the same counts.")] = 0
    out: Annotated[NewFile, arg(help="Record to begin, or to go on with.")] = None
    figure: Annotated[NewFile, arg(help=PICTURE)] = None
    criterion: Rule = None
    all: All = False
    delta: Delta = 0.05
    quiet: Annotated[Flag, arg(help="No progress.")] = False

    def check(self) -> None:
        """All that can be refused is refused before the first trial."""
        from ltjax import files
        from ltjax.errors import InputError
        from ltjax.problem import check_delta

        check_delta(self.delta)
        if self.figure is not None:
            files.check_output(self.figure, "figure")
            if self.out is not None and os.path.realpath(self.out) == os.path.realpath(self.figure):
                raise InputError(f"figure and out must be two files, got {self.out} for both.")

    def __call__(self, problem, trials: int, scale: Scale, watching: Watching) -> Iterator[str]:
        from ltjax import curves, machine, plans, preflight

        watched, *_ = curves.chosen(problem, self.criterion)
        plan = scale.plan(problem)
        machine.use_cores()  # joining the others brings the devices up
        team = scale.team()
        machine.keep_programs(scale.compile_cache)
        if scale.dry_run:
            told = preflight.dry_run(problem, trials, self.out, processes=team.number, **plan)
            team.leave()
            if team.leads:
                yield told
            return
        shard, block = plan["shard"], problem.config.share
        share = plans.share(shard, block, trials) if shard else [(0, trials)]
        mine = sum(stop - start for start, stop in share)
        with watching(mine, watched, self.quiet or not team.leads) as watch:
            tally = curves.run(problem, trials, self.out, watch=watch, team=team, **plan)
        if not team.leads:
            return
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
    scale: Scale = field(default_factory=Scale)

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
        tuple[Literal["slides", "tight", "sup", "tree"], ...],
        arg(help="What is counted; tree is sup with fewer trials undecided, and dear."),
    ] = ("slides", "tight", "sup")
    trials: Trials = 2_000
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

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
class FeaturesCurve:
    """Whole neurons kept of a random network, against random features with their best coefficients.

    Success is a loss of at most L0 + epsilon, where L0 is that of n random features.

    Try:
      ltjax curve features
      ltjax curve features --dim 5 --features 20 --epsilon 0.05 --out runs/features.jsonl
      ltjax curve features --data mine.npz --activation tanh --loss absolute
    """

    dim: Dim = None
    features: Annotated[
        int, arg(metavar="N", help="Random features that set L0, and neurons of a group.")
    ] = 20
    epsilon: Epsilons = (0.1, 0.05, 0.02)
    target: Annotated[
        str,
        arg(help="Weights of y = relu(w.x): worst (all of one size), random or a .npy file."),
    ] = "worst"
    data: Annotated[
        str,
        arg(help="Inputs: gaussian, sphere, ball; or a .npz file of x [n, d] and answers y [n]."),
    ] = "gaussian"
    activation: Annotated[
        Literal["relu", "leaky_relu", "tanh", "erf", "abs"], arg(help="Of the random neurons.")
    ] = "relu"
    law: Annotated[
        Literal["sphere", "ball", "gaussian"],
        arg(help="Of their weights; gaussian: N(0, radius^2 / d), drawn in to the radius."),
    ] = "sphere"
    radius: Annotated[float, arg(help="Of the law of weights, at most 1.")] = 1.0
    loss: Annotated[Literal["squared", "absolute"], arg(help="Mean loss over the inputs.")] = (
        "squared"
    )
    cap: Annotated[
        float | None,
        arg(
            metavar="C",
            help="Bound on the coefficients; by default the median of what is best without one.",
            help_behavior_hint="",
        ),
    ] = None
    samples: Annotated[
        int, arg(help="Fresh inputs a trial, where the loss has no closed form.")
    ] = 20_000
    widths: Annotated[
        tuple[int, ...] | None,
        arg(
            metavar="K [K ...]",
            help="Hidden neurons, by default twelve numbers from one group to 80.",
            help_behavior_hint="",
        ),
    ] = None
    searches: Annotated[
        tuple[Literal["groups", "climb"], ...],
        arg(help="Which neurons to keep: as the proof does, or by local search."),
    ] = ("groups", "climb")
    trials: Trials = 500
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def problem(self):
        from ltjax import targets

        return targets.features(
            dim=self.dim,
            count=self.features,
            epsilons=self.epsilon,
            widths=self.widths,
            target=self.target,
            data=self.data,
            activation=self.activation,
            law=self.law,
            radius=self.radius,
            loss=self.loss,
            cap=self.cap,
            samples=self.samples,
            searches=self.searches,
            seed=self.run.seed,
        )


Data = Annotated[
    str,
    arg(
        help="digits, breast_cancer or wine (of scikit-learn), or a .npz file of x_train, y_train, "
        "x_test and y_test."
    ),
]
Keeps = Annotated[
    tuple[float, ...], arg(metavar="R [R ...]", help="Shares of the weights that are kept.")
]
Within = Annotated[
    tuple[float, ...],
    arg(metavar="A [A ...]", help="Test accuracy that may be lost against the dense network."),
]
Hidden = Annotated[tuple[int, ...], arg(metavar="N [N ...]", help="Neurons of a hidden layer.")]
Layers = Annotated[int, arg(metavar="L", help="Hidden layers.")]
Steps = Annotated[int, arg(help="Of the optimiser, a multiple of 20.")]
Examples = Annotated[int, arg(metavar="N", help="Examples of a step.")]
Rate = Annotated[float, arg(help="Of Adam, for the dense network and what is trained again.")]


@dataclass(frozen=True)
class ImpCurve:
    """Winning tickets by iterative magnitude pruning: found by training, trained again alone.

    A trial is a seed: the dense network is trained, its smallest weights are pruned, those kept go
    back to their first values and are trained again, and so on. Held against it are as many
    weights by lot, and new weights under the same mask. Nothing is downloaded.

    Try:
      ltjax curve imp
      ltjax curve imp --data digits --widths 64 128 --keep 0.5 0.2 0.05 --out runs/imp.jsonl
      ltjax curve imp --data mine.npz --within 0.03
    """

    data: Data = "digits"
    widths: Hidden = (64, 128, 256)
    keep: Keeps = (0.8, 0.5, 0.2, 0.1, 0.05)
    within: Within = (0.05, 0.02, 0.01)
    layers: Layers = 1
    steps: Steps = 1000
    batch: Examples = 32
    rate: Rate = 3e-3
    rewind: Annotated[
        int, arg(metavar="STEP", help="To whose weights a ticket goes back, 0 for the first ones.")
    ] = 0
    trials: Trials = 10
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def problem(self):
        from ltjax import targets

        return targets.imp(
            data=self.data,
            widths=self.widths,
            keeps=self.keep,
            within=self.within,
            seed=self.run.seed,
            hidden=self.layers,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            rewind=self.rewind,
        )


@dataclass(frozen=True)
class PopupCurve:
    """Strong tickets by edge-popup: a mask of random weights, none of which is trained.

    A trial is a seed: beside the dense network, trained, a mask of the random one is searched by
    stochastic gradients of scores.

    Try:
      ltjax curve popup
      ltjax curve popup --data digits --widths 64 256 1024 --keep 0.5 0.2 --out runs/popup.jsonl
    """

    data: Data = "digits"
    widths: Hidden = (64, 128, 256, 512, 1024)
    keep: Keeps = (0.5,)
    within: Within = (0.05, 0.02, 0.01)
    layers: Layers = 1
    steps: Steps = 1000
    batch: Examples = 32
    rate: Rate = 3e-3
    score_rate: Annotated[float, arg(help="Of the scores, falling to 0.")] = 10.0
    trials: Trials = 10
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def problem(self):
        from ltjax import targets

        return targets.popup(
            data=self.data,
            widths=self.widths,
            keeps=self.keep,
            within=self.within,
            seed=self.run.seed,
            hidden=self.layers,
            steps=self.steps,
            batch=self.batch,
            rate=self.rate,
            score_rate=self.score_rate,
        )


@dataclass(frozen=True)
class Curve:
    """Measure how often pruning succeeds, as a function of width.

    Draws random ReLU networks, prunes each as the proof does, and counts successes at every width
    beside the exact or proved curve. The same line again goes on where it was.

    Try:
      ltjax curve neuron
      ltjax curve network
      ltjax curve features
      ltjax curve imp
      ltjax curve popup
    """

    experiment: (
        Annotated[NeuronCurve, subcommand("neuron")]
        | Annotated[NetworkCurve, subcommand("network")]
        | Annotated[FeaturesCurve, subcommand("features")]
        | Annotated[ImpCurve, subcommand("imp")]
        | Annotated[PopupCurve, subcommand("popup")]
    )

    @property
    def resumable(self) -> bool:
        return self.experiment.run.out is not None

    @property
    def distributed(self) -> bool:
        return self.experiment.scale.distributed is not None

    def __call__(self, watching: Watching) -> Iterator[str]:
        asked = self.experiment
        asked.run.check()
        yield from asked.run(asked.problem(), asked.trials, asked.scale, watching)
