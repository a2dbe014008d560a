"""One target neuron."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ltjax.networks.hypotheses import check_target
from ltjax.problem.criterion import Criterion
from ltjax.validate import check_dim, keep_known

CONSTRUCTIONS = ("blocks", "pooled")
RULES = ("slides", "tight", "l2", "sup")


@dataclass(frozen=True, kw_only=True)
class Neuron:
    """One target neuron f(x) = relu(w.x), pruned from a random two-layer network.

    dim: input dimension d.
    constructions: which masks are searched.
        blocks: the paper's partition; neuron j serves input j mod d and no other.
        pooled: every neuron may serve any one input. Brings `shared` along, the same search
            without regard to two inputs wanting one neuron: a necessary event, not a ticket.
    rules: how slot errors become an error over the ball.
        slides: 2 d max, the tolerance epsilon / 2d of the slides.
        tight: sqrt(d) max, which is enough, because |v - w.x| <= eta ||x||_1 <= eta sqrt(d).
        l2: root of the sum over inputs of the squared worse slot.
        sup: the exact supremum of the ticket found; the dearest.
    """

    width_label: ClassVar[str] = "width k"
    default_rule: ClassVar[str] = "tight"
    neurons_per_width: ClassVar[int] = 1
    trials_per_shard: ClassVar[int] = 4096

    dim: int
    constructions: tuple[str, ...] = CONSTRUCTIONS
    rules: tuple[str, ...] = RULES

    def __post_init__(self):
        check_dim(self.dim)
        keep_known(self, "constructions", CONSTRUCTIONS)
        keep_known(self, "rules", RULES)

    @property
    def title(self) -> str:
        return f"d = {self.dim}"

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Those counted, construction / rule."""
        return tuple(c for c in self.all_criteria if c.rule in self.rules)

    @property
    def all_criteria(self) -> tuple[Criterion, ...]:
        """Those of the constructions chosen, by every rule."""
        blocks = [("slides", True), ("tight", True), ("l2", True), ("sup", False)]
        shared = blocks[:3]
        # A bottleneck ticket minimises the largest slot error alone: its l2 and sup may rise.
        pooled = [("slides", True), ("tight", True), ("l2", False), ("sup", False)]
        families = {"blocks": {"blocks": blocks}, "pooled": {"shared": shared, "pooled": pooled}}
        return tuple(
            Criterion(family, rule, monotone)
            for construction in self.constructions
            for family, rules in families[construction].items()
            for rule, monotone in rules
        )

    def check_widths(self, widths: Sequence[int]) -> None:
        """Any will do."""

    def check_target(self, target) -> tuple[float, ...]:
        return check_target(target, self.dim)

    def arrays(self, target) -> np.ndarray:
        return np.array(target)
