"""One weight, to be met by the sum of a subset of random candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ltjax.errors import InputError
from ltjax.problem.criterion import Criterion
from ltjax.validate import keep_known
from ltjax.weights import laws

# Laws of real candidates, and what the weights are of which these are made.
WEIGHTS = {
    "uniform": laws.SHIPPED["uniform"],
    "product": laws.SHIPPED["uniform"],
    "side": laws.SHIPPED["uniform"],
    "gaussian": laws.SHIPPED["gaussian"],
    "hyperbolic": laws.SHIPPED["hyperbolic"],
}
LAWS = (*WEIGHTS, "integer")
EVENTS = ("target", "cover", "size", "moved")
MAX_CANDIDATES = 31  # their subsets are bits of one word
MAX_LISTED = 16  # candidates whose subsets are tried one by one
MAX_TARGET = 32.0
MAX_LARGEST = 2**15 - 1  # 2 M + 1 times half a word is below 2^32
RANGE = 2**29  # of sums in int32, with the target's
FINE = 24  # bits: products and sums are rounded to multiples of 2^-24 at the finest


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Subsets of n random candidates, whose sums are to come within epsilon of a target.

    The candidates of a width are the first n of one sequence, so that every event, once met, is met
    at all larger widths. The empty subset counts, and its sum is 0.

    laws: of the candidates.
        uniform: X ~ U[-1, 1].
        product: X = A W, both U[-1, 1].
        side: of a block of n neurons those with W > 0, and X = A W: what one side of a weight has.
        gaussian: X ~ N(0, 1/3).
        hyperbolic: density 1 / (2 |x| ln 100) on 1/100 <= |x| <= 1.
        integer: M X is uniform on -M, ..., M. Targets are then multiples of 1/M alone.
    events: what is counted.
        target: the nearest subset sum is within epsilon of the target.
        cover: every target of [-span, span] has a subset sum within epsilon.
        size: as target, of subsets with exactly `kept` elements.
        moved: as target, where every element of a subset may move by `moved`: some subset S has
            |X(S) - t| <= epsilon + moved |S|.
    target: t; None for one of U[-1, 1] a trial, or of the integers -M, ..., M over M.
    largest: M of integers.
    most: candidates drawn, at least every width of the grid.
    cover_bits: covers are searched among multiples of 2^-cover_bits, and bracketed.
    """

    default_rule: ClassVar[str] = "target"
    neurons_per_width: ClassVar[int] = 1
    trials_per_shard: ClassVar[int] = 512

    laws: tuple[str, ...]
    events: tuple[str, ...]
    target: float | None
    span: float
    kept: int
    moved: float
    largest: int
    most: int
    cover_bits: int

    def __post_init__(self):
        keep_known(self, "laws", LAWS)
        keep_known(self, "events", EVENTS)
        if self.target is not None and not abs(self.target) <= MAX_TARGET:
            raise InputError(
                f"target must be random or a number of size at most {MAX_TARGET:g}, "
                f"got {self.target:g}."
            )
        if not 2.0**-10 <= self.span <= 1.0:
            raise InputError(f"span must be between 2^-10 and 1, got {self.span:g}.")
        if "integer" in self.laws and not 1 <= self.largest <= MAX_LARGEST:
            raise InputError(f"largest must be between 1 and {MAX_LARGEST}, got {self.largest}.")
        if "cover" in self.events and "integer" in self.laws and self.span * self.largest < 0.5:
            raise InputError(
                f"span must hold a multiple of 1/{self.largest} beside 0, got {self.span:g}."
            )
        if "size" in self.events and not 1 <= self.kept <= self.most:
            raise InputError(
                f"kept must be at least 1 and at most the largest width, {self.most}, "
                f"got {self.kept}."
            )
        if "moved" in self.events and not 0.0 <= self.moved <= 1.0:
            raise InputError(f"moved must be between 0 and 1, got {self.moved:g}.")
        if not 1 <= self.cover_bits <= FINE - 4:
            raise InputError(f"cover_bits must be between 1 and {FINE - 4}, got {self.cover_bits}.")
        self.check_widths((self.most,))

    @property
    def width_label(self) -> str:
        return "block size m" if self.laws == ("side",) else "candidates n"

    @property
    def title(self) -> str:
        parts = [f"t {'random' if self.target is None else f'= {self.target:g}'}"]
        if "cover" in self.events:
            parts.append(f"all of [-{self.span:g}, {self.span:g}]")
        if "size" in self.events:
            parts.append(f"{self.kept} kept")
        if "moved" in self.events:
            parts.append(f"moved by {self.moved:g}")
        if "integer" in self.laws:
            parts.append(f"M = {self.largest}")
        return ", ".join(parts)

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Law / event."""
        return tuple(Criterion(law, event, True) for law in self.laws for event in self.events)

    def check_widths(self, widths: Sequence[int]) -> None:
        """`InputError` of more candidates than are drawn, or can be searched."""
        if not 1 <= max(widths) <= MAX_CANDIDATES:
            raise InputError(
                f"widths must be between 1 and {MAX_CANDIDATES} candidates, whose subset is one "
                f"word (26 exhaust what weights of 24 bits can resolve), got {max(widths)}."
            )
        listed = [event for event in self.events if event in ("size", "moved")]
        if listed and max(widths) > MAX_LISTED:
            raise InputError(
                f"widths must be at most {MAX_LISTED} with {' and '.join(listed)}, as subsets are "
                f"tried one by one, got {max(widths)}."
            )
        if max(widths) > self.most:
            raise InputError(f"widths must be at most {self.most}, got {max(widths)}.")

    def check_target(self, target) -> tuple:
        """The configuration has the target; beside it there is none."""
        if target != ():
            raise InputError(f"target must be that of the configuration, got {target!r} beside it.")
        return ()

    def arrays(self, target) -> np.ndarray:
        return np.zeros(0)

    def largest_candidate(self, law: str) -> float:
        """No candidate of a law is larger in size, as drawn in float32 or float64."""
        return 1.0 if law == "integer" else WEIGHTS[law].largest

    def units(self, law: str) -> int:
        """Units in 1, in which the device takes sums in int32: M of integers, or a power of two."""
        if law == "integer":
            return self.largest
        sizes = self.most * self.largest_candidate(law) + abs(self.target or 1.0)
        return 2 ** min(FINE, math.floor(math.log2(RANGE / sizes)))

    def rounding(self, law: str) -> float:
        """By how much a candidate of the device may be off in float32, before it meets a grid."""
        if law == "integer":
            return 0.0
        of = WEIGHTS[law]
        return of.product_rounding if law in ("product", "side") else of.rounding
