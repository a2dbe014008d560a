"""What a claim is, what putting it to the test finds, and how a verdict follows from that.

A claim is a row of the table: words, sizes, an experiment and its *subject*, the formula, rule or
kernel that is put to the test. The experiment makes *checks*, each a prediction beside a
measurement with three outcomes: it holds, it does not, or the interval does not tell. `judge` makes
a verdict of them; no experiment names one.

Every statistical experiment shares out LEVEL among its intervals. So a right implementation comes
out otherwise than expected with a probability of at most LEVEL, added over those experiments, plus
that of falling short where an interval must clear a bar; both are added up in the tests.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from ltjax import api, decimals
from ltjax.counting import intervals
from ltjax.counting.intervals import Numbers
from ltjax.counting.tally import Tally
from ltjax.problem.problem import Problem

LEVEL = 4e-7  # chance that some interval of one experiment misses
SHOWN = 0.05  # the same of one interval in a figure

Count = Callable[[Problem, int], Tally]  # `api.run`, or the same with a record, device and watch


class Judgement(StrEnum):
    """HOLDS and CONSISTENT differ in what was claimed, not in what was found: of a statement on
    infinitely many cases a run sees a few."""

    HOLDS = "HOLDS"
    CORRECTED = "HOLDS WITH A CORRECTION"
    FAILS = "FAILS AS STATED"
    CONSISTENT = "CONSISTENT"
    UNDECIDED = "NOT DECIDED"
    NOT_RUN = "NOT RUN"


class Check(NamedTuple):
    """One prediction beside one measurement.

    says: what is compared.
    predicted, measured: numbers, as text.
    interval: of what is measured; exact where nothing was drawn or everything was tried.
    holds: None where the interval does not tell.
    """

    says: str
    predicted: str
    measured: str
    interval: str
    holds: bool | None


class Finding(NamedTuple):
    """What an experiment found.

    checks: the one that decides first.
    alpha: chance that some interval among the checks misses.
    panels: plain data of `line_figure.Panel`, for the report.
    note: why nothing was run.
    """

    verdict: Judgement
    checks: tuple[Check, ...]
    alpha: float = 0.0
    panels: tuple[dict, ...] = ()
    note: str = ""

    def to_json(self) -> dict:
        return self._asdict() | {"checks": [check._asdict() for check in self.checks]}

    @classmethod
    def from_json(cls, data: dict) -> "Finding":
        checks = tuple(Check(**check) for check in data["checks"])
        parts = {"verdict": Judgement(data["verdict"]), "panels": tuple(data["panels"])}
        return cls(**data | parts | {"checks": checks})


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One row of the table.

    name: what `--claim` calls it.
    where: page or theorem of the source.
    statement, hypotheses: of the source, in our words.
    limits: what a finite run can and cannot say about it.
    expected: the verdict that a right implementation comes to.
    run: the experiment, (size, seed, subject, count) -> Finding.
    subject: what is put to the test.
    quick, full: sizes of the experiment, plain data.
    """

    name: str
    where: str
    statement: str
    hypotheses: str
    limits: str
    expected: Judgement
    run: Callable[[Mapping, int, Any, Count], Finding]
    subject: Any
    quick: Mapping[str, Any]
    full: Mapping[str, Any] = field(default_factory=dict)

    def size(self, full: bool) -> dict[str, Any]:
        return {**self.quick, **self.full} if full else dict(self.quick)

    def __call__(self, full: bool, seed: int, count: Count = api.run) -> Finding:
        return self.run(self.size(full), seed, self.subject, count)

    def as_expected(self, finding: Finding) -> bool:
        """What was not run says nothing against the claim; its row says why."""
        return finding.verdict in (self.expected, Judgement.NOT_RUN)


def judge(
    required: Sequence[Check],
    stated: Sequence[Check],
    corrected: Sequence[Check] = (),
    best: Judgement = Judgement.HOLDS,
    **rest: Any,
) -> Finding:
    """The verdict, and all checks.

    Args:
        required: without which nothing else means anything: formulas against counts.
        stated: what the source says, as it says it.
        corrected: what it should say; none where no correction is offered.
        best: HOLDS, or CONSISTENT of a statement on more cases than can be tried.
        rest: other fields of the finding.
    """
    firm, plain = _all(required), _all(stated)
    mended = _all(corrected) if corrected else False
    if firm is False or (plain is False and mended is False):
        verdict = Judgement.FAILS
    elif firm is None or plain is None or (plain is False and mended is None):
        verdict = Judgement.UNDECIDED
    else:
        verdict = best if plain else Judgement.CORRECTED
    return Finding(verdict, (*stated, *corrected, *required), **rest)


def _all(checks: Iterable[Check]) -> bool | None:
    outcomes = [check.holds for check in checks]
    return False if False in outcomes else None if None in outcomes else True


def exact(says: str, predicted: object, measured: object, holds: bool) -> Check:
    """A check in which nothing is random."""
    return Check(says, _text(predicted), _text(measured), "exact", bool(holds))


def agrees(says: str, probability: float, successes: int, trials: int, alpha: float) -> Check:
    """Does the interval hold the probability that a formula names?"""
    low, high = _ends(successes, successes, trials, alpha)
    holds = low <= probability <= high
    return Check(says, _text(probability), _text(successes / trials), _span(low, high), holds)


def at_least(
    says: str, level: float, successes: int, trials: int, alpha: float, undecided: int = 0
) -> Check:
    """Is the probability at least `level`? True and False only if the interval says so."""
    low, high = _ends(successes, successes + undecided, trials, alpha)
    holds = True if low >= level else False if high < level else None
    measured = f"{successes:,} of {trials:,}"
    # What was asked for is a short number, what was proved a long one.
    least = min(decimals.exact(level), decimals.below(level, 4), key=len)
    return Check(says, f"at least {least}", measured, _span(low, high), holds)


def bounded(
    says: str, predicted: str, value: float, low: float, high: float, holds: bool | None
) -> Check:
    """A check of a number that is no probability, with its interval."""
    return Check(says, predicted, _text(value), _span(low, high), holds)


def averaged(says: str, value: float, samples: np.ndarray, top: float, alpha: float) -> Check:
    """Does the interval hold the mean that a formula names, of samples between 0 and `top`?"""
    mean, reach = float(np.mean(samples)), mean_reach(samples, top, alpha)
    holds = abs(mean - value) <= reach
    return Check(says, _text(value), _text(mean), _span(mean - reach, mean + reach), holds)


def mean_reach(samples: np.ndarray, top: float, alpha: float) -> float:
    """Half width of an interval for the mean of independent samples between 0 and `top`.

    The empirical Bernstein bound, once for each end: Maurer and Pontil 2009 (COLT), theorem 4.
    """
    n, log = len(samples), float(np.log(4.0 / alpha))
    variance = float(np.var(samples, ddof=1))
    return (2.0 * variance * log / n) ** 0.5 + 7.0 * top * log / (3.0 * (n - 1))


def tally_counts(tally: Tally, criterion: str, width: int, epsilon: float) -> tuple[int, int, int]:
    """Certified, undecided and all trials of one cell."""
    grid = tally.problem.grid
    cell = tally.criterion(criterion), grid.widths.index(width), grid.epsilons.index(epsilon)
    return int(tally.certified[cell]), int(tally.undecided[cell]), tally.trials


def _ends(least: int, most: int, trials: int, alpha: float) -> tuple[float, float]:
    low, _ = intervals.clopper_pearson(least, trials, alpha)
    _, high = intervals.clopper_pearson(most, trials, alpha)
    return float(low), float(high)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else f"{value}"


def _span(low: float, high: float) -> str:
    return f"{decimals.below(low, 3)} to {decimals.above(high, 3)}"


# Figures, as plain data.


def panel(title: str, xlabel: str, ylabel: str, lines: Sequence[dict], **scales: Any) -> dict:
    return {"title": title, "xlabel": xlabel, "ylabel": ylabel, "lines": list(lines), **scales}


def derived(label: str, kind: str, x: Numbers, y: Numbers) -> dict:
    """A line of derived numbers."""
    places, values = (np.asarray(v, np.float64).tolist() for v in (x, y))
    return {"label": label, "kind": kind, "x": places, "y": values, "low": values, "high": values}


def rates(label: str, x: Numbers, successes: Numbers, trials: int, scale: Numbers = 1.0) -> dict:
    """Fractions of trials with an interval each, all times `scale` (one number, or one a point)."""
    low, high = intervals.clopper_pearson(successes, trials, SHOWN)
    ends = {"y": np.asarray(successes) / trials, "low": low, "high": high}
    line = {"label": label, "kind": "measured", "x": np.asarray(x, np.float64).tolist()}
    return line | {name: (np.asarray(scale) * part).tolist() for name, part in ends.items()}
