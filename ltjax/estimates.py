"""Success probability from counts: fractions, an interval for each point, a band for all of them.

Undecided trials are neither successes nor failures: an interval begins below the fraction certified
and ends above the fraction not refuted, so it holds whichever way those trials would have gone.
Broken trials count as failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ltjax import stats
from ltjax.errors import InputError
from ltjax.tally import Tally

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
        low, high = (stats.dkw_band(ends, trials, ALPHA / curves) for ends in (least, most))
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
    interval = stats.anytime if tally.anytime else stats.clopper_pearson
    low, high = (interval(ends, tally.trials, alpha) for ends in _ends(tally, name))
    return low[0], high[1]


def caption(series: Sequence[Series], criteria: Sequence[str], note: str) -> str:
    """What a figure rests on: a line for each record, one on the bands, then the note."""
    lines = []
    for one in series:
        problem, tally = one.tally.problem, one.tally
        title = problem.config.title
        name = f"{one.label}: " if len(series) > 1 and one.label != title else ""
        lines.append(f"{name}{title}, {_counted(tally)}, problem {problem.digest()}.")
    curves = len(criteria) * count_curves(series)
    joint = f" for the {curves} curves together, each at all its widths" if curves > 1 else ""
    lines.append(f"Success: {' | '.join(criteria)}. Bands hold at {LEVEL}{joint}.")
    return "\n".join([*lines, note]).strip()


def goal(rule: Mapping) -> str:
    """What a stopping rule of a record waits for, in words; its cell is left out."""
    numbers = {name: f"{value:,}" for name, value in rule.items() if name != "cell"}
    return " or ".join(
        f"half width {number}" if name == "half_width" else f"{number.removesuffix('.0')} {name}"
        for name, number in numbers.items()
    )


def missing(tally: Tally) -> str:
    """The trials planned and not counted, in a line; empty where there are none."""
    ranges = [f"{start:,} to {stop:,}" for start, stop in tally.missing]
    if not ranges:
        return ""
    if len(ranges) > 3:
        ranges[2:] = [f"{len(ranges) - 2:,} more ranges"]
    *first, last = ranges
    named = f"{', '.join(first)} and {last}" if first else last
    return f"{tally.trials:,} of {max(tally.planned):,} planned trials; missing: {named}"


def doubt(tally: Tally) -> str:
    """Why the number of trials may depend on the counts, where no rule does; empty where not."""
    if tally.until or not tally.anytime:
        return ""
    return "run by more than one plan" if len(tally.planned) > 1 else "part of what was planned"


def _counted(tally: Tally) -> str:
    """Trials and seed, what went on with them, and intervals of which kind that leaves."""
    rule = f"stopping rule {' and '.join(map(goal, tally.until))}" if tally.until else doubt(tally)
    looked = f", {rule}, anytime intervals" if tally.anytime else ""
    broken = f", {tally.invalid:,} broken and counted as failures" if tally.invalid else ""
    return f"{tally.trials:,} trials{looked}{broken}, seed {tally.problem.seed}"


def needed(one: Series, criterion: str, delta: float) -> list[stats.WidthInterval]:
    """The width for success 1 - delta as a record has it, one for each epsilon.

    Each interval holds at the level of a bar. For a monotone criterion the intervals of single
    widths do, for another those of all widths of a curve at once: see `stats.width_interval`.
    """
    tally = one.tally
    monotone = tally.problem.criteria[tally.criterion(criterion)].monotone
    # One end of each of two intervals is at stake. Half of the error is at either end of a fixed
    # one; of an anytime one all of it may be at one end.
    at_stake = (2 if tally.anytime else 1) if monotone else len(one.widths)
    low, high = _around(tally, criterion, ALPHA / min(at_stake, len(one.widths)))
    measured = _ends(tally, criterion)[0] / tally.trials
    return [
        stats.width_interval(one.widths, stats.Band(*curve), 1 - delta)
        for curve in zip(measured.T, low.T, high.T, strict=True)
    ]


def sources(series: Sequence[Series]) -> str:
    """What the measured points rest on, for the caption."""
    counted: dict[str, list[str]] = {}
    for one in series:
        record = f"{one.label} (problem {one.tally.problem.digest()})"
        counted.setdefault(_counted(one.tally), []).append(record)
    return " ".join(f"{run}: {'; '.join(records)}." for run, records in counted.items())
