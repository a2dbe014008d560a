"""The curves of networks trained on data: `ltjax curve imp` and `ltjax curve popup`."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from tyro.conf import arg

from ltjax.cli.flags import Trials
from ltjax.cli.run import Run, Scale

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
class Training:
    """What both are asked."""

    data: Data = "digits"
    widths: Hidden = (64, 128, 256)
    keep: Keeps = (0.8, 0.5, 0.2, 0.1, 0.05)
    within: Within = (0.05, 0.02, 0.01)
    layers: Layers = 1
    steps: Steps = 1000
    batch: Examples = 32
    rate: Rate = 3e-3
    trials: Trials = 10
    run: Run = field(default_factory=Run)
    scale: Scale = field(default_factory=Scale)

    def asked(self) -> dict[str, Any]:
        """As the functions of `experiments.training.problems` take it."""
        return {
            "data": self.data,
            "widths": self.widths,
            "keeps": self.keep,
            "within": self.within,
            "seed": self.run.seed,
            "hidden": self.layers,
            "steps": self.steps,
            "batch": self.batch,
            "rate": self.rate,
        }


@dataclass(frozen=True)
class ImpCurve(Training):
    """Winning tickets by iterative magnitude pruning: found by training, trained again alone.

    A trial is a seed: the dense network is trained, its smallest weights are pruned, those kept go
    back to their first values and are trained again, and so on. Held against it are as many
    weights by lot, and new weights under the same mask. Nothing is downloaded.

    Try:
      ltjax curve imp
      ltjax curve imp --data digits --widths 64 128 --keep 0.5 0.2 0.05 --out runs/imp.jsonl
      ltjax curve imp --data mine.npz --within 0.03
    """

    rewind: Annotated[
        int, arg(metavar="STEP", help="To whose weights a ticket goes back, 0 for the first ones.")
    ] = 0

    def problem(self):
        from ltjax.experiments.training.problems import imp

        return imp(**self.asked(), rewind=self.rewind)


@dataclass(frozen=True)
class PopupCurve(Training):
    """Strong tickets by edge-popup: a mask of random weights, none of which is trained.

    A trial is a seed: beside the dense network, trained, a mask of the random one is searched by
    stochastic gradients of scores.

    Try:
      ltjax curve popup
      ltjax curve popup --data digits --widths 64 256 1024 --keep 0.5 0.2 --out runs/popup.jsonl
    """

    widths: Hidden = (64, 128, 256, 512, 1024)
    keep: Keeps = (0.5,)
    score_rate: Annotated[float, arg(help="Of the scores, falling to 0.")] = 10.0

    def problem(self):
        from ltjax.experiments.training.problems import popup

        return popup(**self.asked(), score_rate=self.score_rate)
