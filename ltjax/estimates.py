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
    a union bound over the widths drawn; so do trials added after looking, which void DKW too.
    """
    monotone = one.tally.problem.criteria[one.tally.criterion(name)].monotone
    bar = "anytime" if one.tally.anytime else "Clopper\u2013Pearson"
    return Methods(bar, "DKW" if monotone and not one.tally.anytime else f"{bar}, Bonferroni")


def estimate(one: Series, name: str, curves: int) -> Estimate:
    """Success probability, a bar for each point, and a band for all points of `curves` curves."""
    trials, index = one.tally.trials, one.tally.criterion(name)
    least = one.tally.certified[index]
    most = least + one.tally.undecided[index]
    interval = stats.anytime if one.tally.anytime else stats.clopper_pearson

    def around(alpha):
        return interval(least, trials, alpha)[0], interval(most, trials, alpha)[1]

    if methods(one, name).band == "DKW":
        low, high = (stats.dkw_band(ends, trials, ALPHA / curves) for ends in (least, most))
        band = low.low, high.high
    else:
        band = around(ALPHA / (curves * len(one.widths)))
    return Estimate(least / trials, most / trials, around(ALPHA), band)


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


def _counted(tally: Tally) -> str:
    """Trials and seed, and what went on with them."""
    looked = ", extended after looking" if tally.anytime else ""
    if tally.until:
        looked = f", stopping rule {' and '.join(map(goal, tally.until))}"
    broken = f", {tally.invalid:,} broken and counted as failures" if tally.invalid else ""
    return f"{tally.trials:,} trials{looked}{broken}, seed {tally.problem.seed}"


def needed(one: Series, criterion: str, delta: float) -> list[stats.WidthInterval]:
    """The width for success 1 - delta as a record has it, one for each epsilon.

    Each interval holds at the level of a bar. The bars do for a monotone criterion, the band over
    all widths of a curve for another: see `stats.width_interval`.
    """
    seen = estimate(one, criterion, 1)
    monotone = one.tally.problem.criteria[one.tally.criterion(criterion)].monotone
    low, high = seen.bar if monotone else seen.band
    return [
        stats.width_interval(one.widths, stats.Band(*curve), 1 - delta)
        for curve in zip(seen.certified.T, low.T, high.T, strict=True)
    ]


def sources(series: Sequence[Series]) -> str:
    """What the measured points rest on, for the caption."""
    counted: dict[str, list[str]] = {}
    for one in series:
        record = f"{one.label} (problem {one.tally.problem.digest()})"
        counted.setdefault(_counted(one.tally), []).append(record)
    return " ".join(f"{run}: {'; '.join(records)}." for run, records in counted.items())
