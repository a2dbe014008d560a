"""What batches of trials add up to. Pure arithmetic on counts; `records` keeps them on disk.

Every count belongs to a half-open range of trials. Ranges are what makes adding safe: no trial
counts twice, whatever the order of the batches and however many files they come from.
"""

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ltjax.problem import InputError, Problem

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
    planned: every number of trials planned, in order; the first is from when the record was begun.
    environments: every environment that ran, in order of first appearance.
    anytime: the plan was raised after trials had been recorded. An interval made for a number of
        trials fixed beforehand is then wrong; one that holds at any time is needed.
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

    @property
    def trials(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    @property
    def undecided(self) -> np.ndarray:
        return self.trials - self.invalid - self.certified - self.refuted

    @property
    def gaps(self) -> Ranges:
        """Trials passed over: below the last one counted, and not counted."""
        return complement(self.ranges, self.ranges[-1][1] if self.ranges else 0)

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


def complement(ranges: Ranges, end: int) -> Ranges:
    """What `ranges`, ascending and disjoint, leave out of 0, ..., `end - 1`."""
    starts = [0, *(stop for _, stop in ranges)]
    stops = [*(min(start, end) for start, _ in ranges), end]
    between = zip(starts, stops, strict=True)
    return tuple((start, stop) for start, stop in between if start < stop)


def to_csv(tally: Tally) -> str:
    """One row for each criterion, width and epsilon, under a line of names."""
    lines = ["criterion,width,epsilon,certified,refuted,undecided,invalid,trials"]
    grid, undecided = tally.problem.grid, tally.undecided
    for cell in np.ndindex(*tally.problem.shape):
        criterion, width, epsilon = cell
        names = tally.problem.criteria[criterion].name, grid.widths[width], grid.epsilons[epsilon]
        counts = tally.certified[cell], tally.refuted[cell], undecided[cell]
        lines.append(",".join(map(str, (*names, *counts, tally.invalid, tally.trials))))
    return "\n".join(lines) + "\n"


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


class Span(NamedTuple):
    """A batch as far as later ones care. Equal checksums of equal ranges: the same line."""

    start: int
    stop: int
    checksum: int
    where: str


class Ledger:
    """The running sum over the batches of one problem, from one file or several.

    environment: the one in force at the last batch added.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.environment: dict = {}
        self._environments: list[dict] = []
        self._plans: list[list[int]] = []  # a list for each file, ascending
        self._spans: list[Span] = []  # ascending, disjoint
        self._certified = np.zeros(problem.shape, np.int64)
        self._refuted = np.zeros(problem.shape, np.int64)
        self._invalid = self._settled = 0
        self._seconds = 0.0
        self._counting = False  # the file at hand has a batch
        self._raised_late = False

    @property
    def planned(self) -> int:
        """The plan in force."""
        return self._plans[-1][-1]

    @property
    def ranges(self) -> Ranges:
        return coalesce((span.start, span.stop) for span in self._spans)

    def begin(self, planned: int, environment: dict) -> None:
        """Turn to a new file."""
        self._plans.append([planned])
        self._counting = False
        self._enter(environment)

    def extend(self, planned: int, environment: dict) -> None:
        """Go on under another plan or in another environment. A plan never falls."""
        if planned > self.planned:
            self._plans[-1].append(planned)
            self._raised_late |= self._counting
        self._enter(environment)

    def _enter(self, environment: dict) -> None:
        self.environment = environment
        if environment not in self._environments:
            self._environments.append(environment)

    def overlap(self, batch: Batch) -> Span | None:
        """A batch already added that counts some of the same trials."""
        at = bisect.bisect_left(self._spans, batch.start, key=lambda span: span.start)
        for span in self._spans[max(at - 1, 0) : at + 1]:
            if span.start < batch.stop and batch.start < span.stop:
                return span
        return None

    def add(self, batch: Batch, checksum: int, where: str) -> None:
        """Add a batch; the same line once more changes nothing, any other overlap is refused."""
        self._counting = True
        span = Span(batch.start, batch.stop, checksum, where)
        if (other := self.overlap(batch)) is not None:
            if other[:3] == span[:3]:
                return
            raise InputError(f"trials {batch.start} to {batch.stop} are counted in {other.where}.")
        bisect.insort(self._spans, span)
        self._certified += batch.certified
        self._refuted += batch.refuted
        self._invalid += batch.invalid
        self._settled += batch.settled
        self._seconds += batch.seconds

    def tally(self) -> Tally:
        # Files have no common order: where their plans differ, one may have been made in sight
        # of the other's counts.
        disagree = len({plans[-1] for plans in self._plans}) > 1
        return Tally(
            problem=self.problem,
            ranges=self.ranges,
            certified=self._certified.copy(),
            refuted=self._refuted.copy(),
            invalid=self._invalid,
            settled=self._settled,
            seconds=self._seconds,
            planned=tuple(dict.fromkeys(plan for plans in self._plans for plan in plans)),
            environments=tuple(self._environments),
            anytime=self._raised_late or disagree,
        )


class Memory:
    """A log without a disk: the counts live as long as the process. A context manager."""

    dropped_bytes = 0

    def __init__(self, problem: Problem, planned: int) -> None:
        self._ledger = Ledger(problem)
        self._ledger.begin(planned, {})

    @property
    def tally(self) -> Tally:
        """All that has been counted by now."""
        return self._ledger.tally()

    def missing(self, trials: int) -> list[tuple[int, int]]:
        """The ranges still to run below `trials`, ascending."""
        return list(complement(self._ledger.ranges, trials))

    def append(self, batch: Batch) -> None:
        """Add a batch to the counts."""
        check_batch(batch, self._ledger.problem.shape, self._ledger.planned)
        self._ledger.add(batch, 0, "memory")

    def close(self) -> None:
        """Nothing to give up."""

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
