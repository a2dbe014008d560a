"""What batches of trials add up to. Pure arithmetic on counts; `records` keeps them on disk.

Every count belongs to a half-open range of trials. Ranges are what makes adding safe: no trial
counts twice, whatever the order of the batches and however many files they come from.
"""

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from ltjax.errors import InputError
from ltjax.problem.problem import Problem

T = TypeVar("T")
Ranges = tuple[tuple[int, int], ...]


class Batch(NamedTuple):
    """What the trials `start`, ..., `stop - 1` yielded. Counts: int64 [criterion, width, epsilon].

    invalid: trials that broke; they are certified and refuted nowhere.
    settled: trials that needed the host in float64.
    seconds: wall clock, of this batch alone.
    """

    start: int
    stop: int
    certified: np.ndarray
    refuted: np.ndarray
    invalid: int
    settled: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Tally:
    """The sum of all batches of one problem. Counts: int64 [criterion, width, epsilon].

    ranges: the trials counted, half-open, ascending, none touching the next.
    planned: every number of trials planned by the plans that these trials were run under, in order
        of first appearance; of all plans where no trial is counted.
    environments: every environment that ran, in order of first appearance.
    anytime: the number of trials may depend on the counts, so an interval made for a number fixed
        beforehand may be wrong, and one that holds at any time is needed. False only where all
        trials were run under one plan without a rule, and are all that it planned: then their
        number was fixed before the first was run. Part of a plan is not, by a kill or a share:
        who saw the counts may have decided that it stays a part.
    until: every stopping rule under which trials were run, in order of first appearance.
    """

    problem: Problem
    ranges: Ranges
    certified: np.ndarray
    refuted: np.ndarray
    invalid: int
    settled: int
    seconds: float
    planned: tuple[int, ...]
    environments: tuple[dict, ...]
    anytime: bool
    until: tuple[dict, ...] = ()

    @property
    def trials(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    @property
    def undecided(self) -> np.ndarray:
        return self.trials - self.invalid - self.certified - self.refuted

    @property
    def missing(self) -> Ranges:
        """Trials planned and not counted."""
        return complement(self.ranges, max(self.planned))

    def criterion(self, name: str) -> int:
        """Place of a criterion on the first axis; `InputError` lists the names there are."""
        names = [criterion.name for criterion in self.problem.criteria]
        if name not in names:
            raise InputError(f"criterion must be one of {', '.join(names)}, got {name}.")
        return names.index(name)


def coalesce(spans: Iterable[tuple[int, int]]) -> Ranges:
    """Join ranges that touch; `spans` ascending and disjoint."""
    joined: list[tuple[int, int]] = []
    for start, stop in spans:
        if joined and joined[-1][1] == start:
            start, _ = joined.pop()
        joined.append((start, stop))
    return tuple(joined)


def complement(ranges: Sequence[tuple[int, int]], end: int) -> Ranges:
    """What `ranges`, ascending and disjoint, leave out of 0, ..., `end - 1`."""
    starts = [0, *(stop for _, stop in ranges)]
    stops = [*(min(start, end) for start, _ in ranges), end]
    between = zip(starts, stops, strict=True)
    return tuple((start, stop) for start, stop in between if start < stop)


def intersect(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> Ranges:
    """The trials in both; each ascending and disjoint."""
    common, i, j = [], 0, 0
    while i < len(one) and j < len(other):
        start, stop = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < stop:
            common.append((start, stop))
        # The one that ends first meets nothing more.
        i, j = i + (one[i][1] == stop), j + (other[j][1] == stop)
    return coalesce(common)


def check_batch(batch: Batch, shape: tuple[int, ...], planned: int) -> None:
    """`InputError` unless the range lies in the plan and no cell counts more trials than it has."""
    trials = batch.stop - batch.start
    if not 0 <= batch.start < batch.stop <= planned:
        raise InputError(
            f"trials must be a range within 0 to {planned}, the plan, "
            f"got {batch.start} to {batch.stop}."
        )
    tables = {"certified": batch.certified, "refuted": batch.refuted}
    for name, table in tables.items():
        if table.dtype != np.int64 or table.shape != shape:
            raise InputError(
                f"{name} must be int64 of shape {list(shape)}, "
                f"got {table.dtype} of shape {list(table.shape)}."
            )
    numbers = {name: (int(table.min()), int(table.max())) for name, table in tables.items()}
    numbers |= {"invalid": (batch.invalid,) * 2, "settled": (batch.settled,) * 2}
    for name, (least, most) in numbers.items():
        if least < 0 or most > trials:
            value = least if least < 0 else most
            raise InputError(f"{name} must count between 0 and {trials} trials, got {value}.")
    verdicts = int((batch.certified + batch.refuted).max()) + batch.invalid
    if verdicts > trials:
        raise InputError(
            f"certified, refuted and invalid must sum to at most {trials} trials, got {verdicts}."
        )
    if not 0.0 <= batch.seconds < math.inf:
        raise InputError(f"seconds must be finite and at least 0, got {batch.seconds}.")


class Plan(NamedTuple):
    """What a run sets out with.

    planned: the trials to run are 0, ..., `planned - 1`.
    environment: versions, platform, device kind: what repeating the run takes. JSON.
    until: the rule by which it may stop before that; None where it runs to the end. JSON: numbers
        to be reached, by name, and the `cell` [criterion, width, epsilon] that they are of.
    """

    planned: int
    environment: dict
    until: dict | None


class Span(NamedTuple):
    """A batch as far as later ones care. Equal checksums of equal ranges: the same line."""

    start: int
    stop: int
    checksum: int
    where: str


class Ledger:
    """The running sum over the batches of one problem, from one file or several.

    plan: the one in force for batches to come, the last asked for; `turn` sets it before the first.
    plans: all of them, in order of first appearance.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.plan: Plan
        self.plans: list[Plan] = []
        self._run: list[Plan] = []  # those under which there are batches
        self._spans: list[Span] = []  # ascending, disjoint
        self._certified = np.zeros(problem.shape, np.int64)
        self._refuted = np.zeros(problem.shape, np.int64)
        self._invalid = self._settled = 0
        self._seconds = 0.0

    @property
    def ranges(self) -> Ranges:
        return coalesce((span.start, span.stop) for span in self._spans)

    def turn(self, plan: Plan) -> bool:
        """Put a plan in force; return whether it changes the sum."""
        self.plan = plan
        return _enter(plan, self.plans)

    def overlap(self, batch: Batch) -> Span | None:
        """A batch already added that counts some of the same trials."""
        at = bisect.bisect_left(self._spans, batch.start, key=lambda span: span.start)
        for span in self._spans[max(at - 1, 0) : at + 1]:
            if span.start < batch.stop and batch.start < span.stop:
                return span
        return None

    def add(self, batch: Batch, checksum: int, where: str) -> bool:
        """Add a batch run under the plan in force; return whether it changes the sum.

        The same line once more counts no trial twice; any other overlap is refused.
        """
        span = Span(batch.start, batch.stop, checksum, where)
        if (other := self.overlap(batch)) is not None:
            if other[:3] == span[:3]:
                return _enter(self.plan, self._run)
            raise InputError(f"trials {batch.start} to {batch.stop} are counted in {other.where}.")
        _enter(self.plan, self._run)
        bisect.insort(self._spans, span)
        self._certified += batch.certified
        self._refuted += batch.refuted
        self._invalid += batch.invalid
        self._settled += batch.settled
        self._seconds += batch.seconds
        return True

    def tally(self) -> Tally:
        until = _distinct(plan.until for plan in self._run if plan.until is not None)
        planned = _distinct(plan.planned for plan in self._run or self.plans)
        return Tally(
            problem=self.problem,
            ranges=self.ranges,
            certified=self._certified.copy(),
            refuted=self._refuted.copy(),
            invalid=self._invalid,
            settled=self._settled,
            seconds=self._seconds,
            planned=planned,
            environments=_distinct(plan.environment for plan in self.plans),
            # Of two plans, one may have been made in sight of the counts of the other.
            anytime=bool(until) or len(planned) > 1 or self.ranges != ((0, planned[0]),),
            until=until,
        )


def _enter(item: T, items: list[T]) -> bool:
    """Put an item, which need not hash, in a list unless it is there; return whether it was not."""
    if new := item not in items:
        items.append(item)
    return new


def _distinct(items: Iterable[T]) -> tuple[T, ...]:
    """In order of first appearance."""
    found: list[T] = []
    for item in items:
        _enter(item, found)
    return tuple(found)


class Memory:
    """A log without a disk: the counts live as long as the process. A context manager."""

    dropped_bytes = 0

    def __init__(self, problem: Problem, planned: int, until: dict | None = None) -> None:
        self._ledger = Ledger(problem)
        self._ledger.turn(Plan(planned, {}, until))

    @property
    def tally(self) -> Tally:
        """All that has been counted by now."""
        return self._ledger.tally()

    def missing(
        self, trials: int, within: Sequence[tuple[int, int]] | None = None
    ) -> list[tuple[int, int]]:
        """The ranges still to run below `trials`, ascending.

        within: the share of the trials that is asked for, ascending and disjoint; None for all.
        """
        missing = complement(self._ledger.ranges, trials)
        return list(missing if within is None else intersect(missing, within))

    def append(self, batch: Batch) -> None:
        """Add a batch to the counts."""
        check_batch(batch, self._ledger.problem.shape, self._ledger.plan.planned)
        self._ledger.add(batch, 0, "memory")

    def close(self) -> None:
        """Nothing to give up."""

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
