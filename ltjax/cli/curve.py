"""The command `curve`: one experiment each, and its flags.

A command is called with a watch for its trials and yields what is to be printed, as it comes. The
docstrings and the help of the flags are the user's manual.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from tyro.conf import arg, subcommand

from ltjax.cli import plugins
from ltjax.cli.flags import (
    Dim,
    Epsilons,
    MaskRules,
    Plugin,
    Target,
    Trials,
    Watching,
    WeightLaw,
)
from ltjax.cli.run import Run, Scale
from ltjax.cli.training import ImpCurve, PopupCurve


@dataclass(frozen=True)
class NeuronCurve:
    """One neuron f(x) = relu(w.x), pruned from a random two-layer network.

    Try:
      ltjax curve neuron
      ltjax curve neuron --dim 8 --out runs/neuron.jsonl --figure runs/neuron.svg
      ltjax curve neuron --target weights.npy --constructions pooled --criterion sup
      ltjax curve neuron --law gaussian --rule nearest flips
      ltjax curve neuron --rule subset
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
    law: WeightLaw = None
    rule: MaskRules = ()
    plugin: Plugin = ()
    trials: Trials = 20_000
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def problem(self):
        from ltjax.experiments.neuron.problems import neuron

        if self.plugin or self.law or self.rule:
            plugins.learn(self.plugin)
        return neuron(
            dim=self.dim,
            epsilons=self.epsilon,
            widths=self.widths,
            target=self.target,
            constructions=self.constructions,
            rules=(*self.rule, *self.rules),
            seed=self.run.seed,
            law=self.law,
        )


@dataclass(frozen=True)
class NetworkCurve:
    """A whole network of ReLU layers, pruned from a random one of twice its depth.

    Try:
      ltjax curve network
      ltjax curve network --dim 8 --hidden 8 --depth 2 --epsilon 0.5 0.2 --out runs/network.jsonl
      ltjax curve network --target weights.npz --constructions blocks
      ltjax curve network --constructions pooled blocks
      ltjax curve network --rule subset --constructions copies
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
            help="Hidden neurons reserved for a weight, by default some 30, where curves rise.",
            help_behavior_hint="",
        ),
    ] = None
    widths: Annotated[
        tuple[int, ...] | None,
        arg(
            metavar="K [K ...]",
            help="With pooled, in place of blocks: hidden neurons of each random layer.",
            help_behavior_hint="",
        ),
    ] = None
    constructions: Annotated[
        tuple[Literal["blocks", "separate", "pooled", "copies"], ...],
        arg(
            help="A block for each input of a layer, or for each weight; or any neuron of a layer "
            "for any one weight, and then widths are neurons of a layer, for all. Or copies, by "
            "subset sums, from a random network of a single layer more."
        ),
    ] = ("blocks", "separate")
    rules: Annotated[
        tuple[Literal["slides", "tight", "sup", "tree"], ...],
        arg(help="What is counted; tree is sup with fewer trials undecided, and dear."),
    ] = ("slides", "tight", "sup")
    law: WeightLaw = None
    rule: MaskRules = ()
    plugin: Plugin = ()
    trials: Trials = 2_000
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def problem(self):
        from ltjax.experiments.network.problems import network

        if self.plugin or self.law or self.rule:
            plugins.learn(self.plugin)
        return network(
            dim=self.dim,
            hidden=self.hidden,
            depth=self.depth,
            epsilons=self.epsilon,
            blocks=self.blocks,
            widths=self.widths,
            target=self.target,
            last=self.last,
            constructions=self.constructions,
            rules=(*self.rule, *self.rules),
            seed=self.run.seed,
            law=self.law,
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
        from ltjax.experiments.features.problems import features

        return features(
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


@dataclass(frozen=True)
class SubsetCurve:
    """One weight met by the sum of a subset of random candidates.

    Success is a subset sum within epsilon of a target, or of every target of an interval.

    Try:
      ltjax curve subset
      ltjax curve subset --law product --epsilon 0.1 0.01 --out runs/subset.jsonl
      ltjax curve subset --law uniform --target random --widths 5 8 10 12 15
      ltjax curve subset --law integer --largest 255 --epsilon 0.001 --events cover --span 1
      ltjax curve subset --law product --kept 3 --moved 0.01
    """

    law: Annotated[
        tuple[Literal["uniform", "product", "side", "gaussian", "hyperbolic", "integer"], ...],
        arg(
            help="Of the candidates: uniform on [-1, 1]; products of two such; side, those of a "
            "block whose hidden weight is positive; N(0, 1/3); hyperbolic; integers over M."
        ),
    ] = ("uniform", "product")
    epsilon: Annotated[tuple[float, ...], arg(metavar="E [E ...]", help="Errors allowed.")] = (
        0.1,
        0.01,
    )
    target: Annotated[
        str, arg(help="The weight: a number, or random (uniform on [-1, 1], one a trial).")
    ] = "0.5"
    widths: Annotated[
        tuple[int, ...] | None,
        arg(
            metavar="N [N ...]",
            help="Candidates, at most 31; by default all numbers to where intervals are covered.",
            help_behavior_hint="",
        ),
    ] = None
    events: Annotated[
        tuple[Literal["target", "cover"], ...],
        arg(help="One target is met, or every target of an interval."),
    ] = ("target", "cover")
    span: Annotated[float, arg(metavar="A", help="Of the interval [-A, A] to be covered.")] = 0.5
    kept: Annotated[
        int | None,
        arg(
            metavar="K",
            help="Count as well subsets of exactly K candidates (of 16 at most).",
            help_behavior_hint="",
        ),
    ] = None
    moved: Annotated[
        float | None,
        arg(
            metavar="GAMMA",
            help="Count as well candidates (16 at most) that may each move by GAMMA.",
            help_behavior_hint="",
        ),
    ] = None
    largest: Annotated[int, arg(metavar="M", help="Of integers, drawn from -M, ..., M.")] = 1024
    trials: Trials = 5_000
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def problem(self):
        from ltjax.experiments.subset.problems import subset

        return subset(
            laws=self.law,
            epsilons=self.epsilon,
            widths=self.widths,
            target=self.target,
            events=self.events,
            span=self.span,
            kept=self.kept,
            moved=self.moved,
            largest=self.largest,
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
      ltjax curve features
      ltjax curve subset
      ltjax curve imp
      ltjax curve popup
    """

    experiment: (
        Annotated[NeuronCurve, subcommand("neuron")]
        | Annotated[NetworkCurve, subcommand("network")]
        | Annotated[FeaturesCurve, subcommand("features")]
        | Annotated[SubsetCurve, subcommand("subset")]
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
        named = (getattr(asked, flag, None) for flag in ("target", "data"))
        asked.run.check([name for name in named if name is not None])
        yield from asked.run(asked.problem(), asked.trials, asked.scale, watching)
