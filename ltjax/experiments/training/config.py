"""Networks trained on classification data: tickets found by training, and without."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ltjax.errors import InputError
from ltjax.experiments.training import datasets
from ltjax.problem.criterion import Criterion

EVERY = 20  # steps, after which the held-out loss is looked at
MAX_HIDDEN = 4096


@dataclass(frozen=True, kw_only=True)
class Training:
    """Networks with `hidden` layers of one width, trained on data. A trial is a seed.

    Epsilons of its grid are test accuracy lost against the dense network, as a share of 1.

    data: a name of `datasets.BUNDLED`; or file, where the target is the data itself.
    widths: those of the grid.
    keeps: shares of the weights that are kept, falling.
    hidden: hidden layers.
    steps: of the optimiser, in all; a multiple of EVERY.
    batch: examples of a step.
    rate: of the optimiser.
    """

    width_label: ClassVar[str] = "hidden width n"
    neurons_per_width: ClassVar[int] = 1
    trials_per_shard: ClassVar[int] = 1
    families: ClassVar[tuple[str, ...]]

    data: str
    widths: tuple[int, ...]
    keeps: tuple[float, ...]
    hidden: int = 1
    steps: int = 1000
    batch: int = 32
    rate: float = 3e-3

    def __post_init__(self):
        if self.data not in (*datasets.BUNDLED, "file"):
            known = ", ".join(datasets.BUNDLED)
            raise InputError(f"data must be one of {known} or a file, got {self.data}.")
        if not self.widths or not all(1 <= n <= MAX_HIDDEN for n in self.widths):
            found = ", ".join(map(str, self.widths)) or "none"
            raise InputError(f"widths must be between 1 and {MAX_HIDDEN}, got {found}.")
        if not self.keeps or not all(0.0 < keep <= 1.0 for keep in self.keeps):
            found = ", ".join(f"{keep:g}" for keep in self.keeps) or "none"
            raise InputError(f"keep must be above 0 and at most 1, got {found}.")
        for name in ("hidden", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.steps < EVERY or self.steps % EVERY:
            raise InputError(f"steps must be a multiple of {EVERY}, got {self.steps}.")
        _check_rate("rate", self.rate)
        falling = tuple(sorted({float(keep) for keep in self.keeps}, reverse=True))
        object.__setattr__(self, "keeps", falling)
        object.__setattr__(self, "widths", tuple(sorted({int(n) for n in self.widths})))

    @property
    def title(self) -> str:
        return f"{self.data}, {self.hidden} hidden"

    @property
    def default_rule(self) -> str:
        """The share kept that is nearest to a fifth."""
        return f"{min(self.keeps, key=lambda keep: abs(keep - 0.2)):g}"

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Family / share kept. A wider network may be given a worse ticket."""
        return tuple(
            Criterion(family, f"{keep:g}", False) for family in self.families for keep in self.keeps
        )

    def check_widths(self, widths: Sequence[int]) -> None:
        """`InputError` unless they are those of the networks, whose shapes are static."""
        if tuple(widths) != self.widths:
            raise InputError(f"widths must be those of the networks, {self.widths}, got {widths}.")

    def check_target(self, target) -> tuple:
        """The digest of a bundled set; else the four arrays of `datasets.PARTS` as rows."""
        if self.data == "file":
            return datasets.check(target)
        (digest,) = target
        return (str(digest),)

    def arrays(self, target) -> datasets.Data:
        """As the kernels want it: standardised, one-hot, with a part held out."""
        if self.data == "file":
            return datasets.prepare(*map(np.array, target))
        arrays = datasets.bundled(self.data)
        if datasets.digest(arrays) != target[0]:
            raise InputError(
                f"data must be the {self.data} of this record, {target[0]}, got another version, "
                f"{datasets.digest(arrays)}."
            )
        return datasets.prepare(*arrays)


@dataclass(frozen=True, kw_only=True)
class Imp(Training):
    """Winning tickets: iterative magnitude pruning with rewinding, and what it must beat.

    families:
        winning: the ticket, where it also took at most as many steps as the dense network.
        ticket: the mask found, with the weights it was found with, rewound.
        random: a mask by lot with as many weights in each layer, and the same weights.
        reinit: the mask found, and new random weights.
    rewind: the step to whose weights a ticket goes back; 0 for the initial ones.
    """

    families: ClassVar[tuple[str, ...]] = ("winning", "ticket", "random", "reinit")

    rewind: int = 0

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.rewind < self.steps or self.rewind % EVERY:
            raise InputError(
                f"rewind must be a multiple of {EVERY} below steps {self.steps}, got {self.rewind}."
            )


@dataclass(frozen=True, kw_only=True)
class Popup(Training):
    """Strong tickets: masks of frozen random weights by edge-popup, beside the trained network.

    score_rate: of the scores' descent; `rate` is that of the dense network.
    """

    families: ClassVar[tuple[str, ...]] = ("popup",)

    score_rate: float = 10.0

    def __post_init__(self):
        super().__post_init__()
        _check_rate("score_rate", self.score_rate)


def _check_rate(name: str, rate: float) -> None:
    if not 0.0 < rate < float("inf"):
        raise InputError(f"{name} must be a number above 0, got {rate:g}.")
