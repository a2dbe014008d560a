"""Success probability from counts: fractions, an interval for each point, a band for all of them.

Undecided trials are neither successes nor failures: an interval begins below the fraction certified
and ends above the fraction not refuted, so it holds whichever way those trials would have gone.
Broken trials count as failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ltjax.counting import intervals
from ltjax.counting.tally import Tally
from ltjax.errors import InputError

ALPHA = 0.05  # of one bar, and of all the bands of a figure together
LEVEL = f"{100 * (1 - ALPHA):g} %"


@runtime_checkable
class Predicted(Protocol):
    """Success probabilities [width, epsilon] of one criterion; a prediction of `theory` is one."""

    @property
    def criterion(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def lower(self) -> np.ndarray: ...
    @property
    def upper(self) -> np.ndarray: ...


@dataclass(frozen=True, kw_only=True)
class Series:
    """One record as it enters a figure.

    label: its name, shown where several records share the figure.
    predictions: on the grid of the tally, of any criteria.
    lemma: by epsilon, the width at which the paper's lemma promises success 1 - delta.
    """

    label: str
    tally: Tally
    predictions: Sequence[Predicted] = ()
    lemma: Mapping[float, float | int] = field(default_factory=dict)

    def __post_init__(self):
        if self.tally.trials < 1:
            raise InputError(f"{self.label} must hold at least one trial to be drawn, got none.")

    @property
    def widths(self) -> tuple[int, ...]:
        return self.tally.problem.grid.widths

    @property
    def epsilons(self) -> tuple[float, ...]:
        return self.tally.problem.grid.epsilons


def all_epsilons(series: Sequence[Series]) -> list[float]:
    """Of all the records, descending, without repeats."""
    return sorted({epsilon for one in series for epsilon in one.epsilons}, reverse=True)


def count_curves(series: Sequence[Series]) -> int:
    """Of one criterion."""
    return sum(len(one.epsilons) for one in series)


class Methods(NamedTuple):
    """By what the bar and the band of a curve are made, in words."""

    bar: str
    band: str


class Estimate(NamedTuple):
    """Fractions of trials and intervals (low, high) of one criterion, all [width, epsilon]."""

    certified: np.ndarray
    possible: np.ndarray  # certified or undecided: not refuted
    bar: tuple[np.ndarray, np.ndarray]
    band: tuple[np.ndarray, np.ndarray]


def methods(one: Series, name: str) -> Methods:
    """The methods that are valid for a criterion of a record.

    Success by a monotone criterion is the distribution function of a first-hit width, so DKW
    (Dvoretzky, Kiefer, Wolfowitz; Massart's constant) bounds it at all widths at once. Others get
    a union bound over the widths drawn; so do trials whose number may depend on the counts, which
    voids DKW too.
    """
    monotone = one.tally.problem.criteria[one.tally.criterion(name)].monotone
    bar = "anytime" if one.tally.anytime else "Clopper\u2013Pearson"
    return Methods(bar, "DKW" if monotone and not one.tally.anytime else f"{bar}, Bonferroni")


def estimate(one: Series, name: str, curves: int) -> Estimate:
    """Success probability, a bar for each point, and a band for all points of `curves` curves."""
    trials, (least, most) = one.tally.trials, _ends(one.tally, name)
    if methods(one, name).band == "DKW":
        low, high = (intervals.dkw_band(ends, trials, ALPHA / curves) for ends in (least, most))
        band = low.low, high.high
    else:
        band = _around(one.tally, name, ALPHA / (curves * len(one.widths)))
    return Estimate(least / trials, most / trials, _around(one.tally, name, ALPHA), band)


def _ends(tally: Tally, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The fewest and the most trials that a criterion may certify, [width, epsilon]."""
    least = tally.certified[tally.criterion(name)]
    return least, least + tally.undecided[tally.criterion(name)]


def _around(tally: Tally, name: str, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """An interval for each point, of the kind that the counts allow."""
    interval = intervals.anytime if tally.anytime else intervals.clopper_pearson
    low, high = (interval(ends, tally.trials, alpha) for ends in _ends(tally, name))
    return low[0], high[1]


def needed(one: Series, criterion: str, delta: float) -> list[intervals.WidthInterval]:
    """The width for success 1 - delta as a record has it, one for each epsilon.

    Each interval holds at the level of a bar. For a monotone criterion the intervals of single
    widths do, for another those of all widths of a curve at once: see `intervals.width_interval`.
    """
    tally = one.tally
    monotone = tally.problem.criteria[tally.criterion(criterion)].monotone
    # One end of each of two intervals is at stake. Half of the error is at either end of a fixed
    # one; of an anytime one all of it may be at one end.
    at_stake = (2 if tally.anytime else 1) if monotone else len(one.widths)
    low, high = _around(tally, criterion, ALPHA / min(at_stake, len(one.widths)))
    measured = _ends(tally, criterion)[0] / tally.trials
    return [
        intervals.width_interval(one.widths, intervals.Band(*curve), 1 - delta)
        for curve in zip(measured.T, low.T, high.T, strict=True)
    ]
