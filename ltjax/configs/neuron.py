"""One target neuron."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ltjax import decimals
from ltjax.configs.criterion import GRACE, MAX_DIM, Criterion, keep_known
from ltjax.errors import InputError

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

    axis: ClassVar[str] = "width k"  # what the widths of its grid are
    headline: ClassVar[str] = "tight"  # the rule shown where none is asked for
    most_blocks: ClassVar[int] = 1  # hidden neurons that a width of its grid stands for, at most
    share: ClassVar[int] = 4096  # trials that stay together in a shard: a fraction of a second

    dim: int
    constructions: tuple[str, ...] = CONSTRUCTIONS
    rules: tuple[str, ...] = RULES

    def __post_init__(self):
        if not 1 <= self.dim <= MAX_DIM:
            raise InputError(f"dim must be between 1 and {MAX_DIM}, got {self.dim}.")
        keep_known(self, "constructions", CONSTRUCTIONS)
        keep_known(self, "rules", RULES)

    @property
    def title(self) -> str:
        return f"d = {self.dim}"

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Those counted, construction / rule."""
        return tuple(c for c in self.all_criteria if c.name.split("/")[1] in self.rules)

    @property
    def all_criteria(self) -> tuple[Criterion, ...]:
        """Those of the constructions chosen, by every rule."""
        blocks = [("slides", True), ("tight", True), ("l2", True), ("sup", False)]
        shared = blocks[:3]
        # A bottleneck ticket minimises the largest slot error alone: its l2 and sup may rise.
        pooled = [("slides", True), ("tight", True), ("l2", False), ("sup", False)]
        families = {"blocks": {"blocks": blocks}, "pooled": {"shared": shared, "pooled": pooled}}
        return tuple(
            Criterion(f"{family}/{rule}", monotone)
            for construction in self.constructions
            for family, rules in families[construction].items()
            for rule, monotone in rules
        )

    def check_target(self, target) -> tuple[float, ...]:
        return check_target(target, self.dim)

    def arrays(self, target) -> np.ndarray:
        return np.array(target)


def check_target(target, dim: int, name: str = "target") -> tuple[float, ...]:
    """The weights as d finite floats with |w_i| <= 1/sqrt(d), or `InputError`."""
    values = np.asarray(target, np.float64)
    if values.shape != (dim,):
        raise InputError(f"{name} must hold {dim} weights (dim), got shape {list(values.shape)}.")
    if not np.all(np.isfinite(values)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"{name} must be finite, got {values[at]} at index {at}.")
    bound = dim**-0.5
    at = int(np.argmax(np.abs(values)))
    if abs(values[at]) > bound * GRACE:
        factor = decimals.below(bound / abs(values[at]))
        raise InputError(
            f"{name} must satisfy |w_i| <= 1/sqrt({dim}) = {decimals.below(bound)}, got "
            f"{decimals.exact(values[at])} at index {at}; relu is homogeneous: multiply the "
            f"weights and epsilon by {factor}."
        )
    return tuple(float(v) for v in values)
