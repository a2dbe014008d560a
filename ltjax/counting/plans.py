"""Which trials are run, and when to stop: ranges of trial numbers, drawn one after the other.

A *shard* is one machine's part of the trials. It depends on nothing but trial numbers, so machines
need not know of each other, and raising the number of trials moves none from one to another.

A *rule* stops a run once the counts say enough. It is tried at numbers of trials fixed beforehand
and only where exactly the first n trials are counted: the stopping point is then a function of the
problem and the rule, whatever the batches, devices and kills. (A record that was run to another end
goes on to the next of those numbers.) The counts have decided how many trials there are, so an
interval must be one that holds at any time.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ltjax.counting import intervals
from ltjax.counting.tally import Memory, Ranges, Tally, coalesce
from ltjax.errors import InputError
from ltjax.problem.problem import LAYOUT, Problem

ALPHA = 0.05  # of the interval whose half width is bounded
FIRST_LOOK = 64  # trials; a rule met by fewer stops here
MAX_TRIALS = 2**32  # a trial number is one word of an address


class Shard(NamedTuple):
    """Part `number`, counted from 1, of `of` parts. From text by `parse`."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From "k/K"; `InputError` unless 1 <= k <= K."""
        match = re.fullmatch("([0-9]{1,9})/([0-9]{1,9})", text)
        shard = cls(*map(int, match.groups())) if match else None
        if shard is None or not 1 <= shard.number <= shard.of:
            raise InputError(f"shard must be k/K with 1 <= k <= K, as 3/16, got {text!r}.")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Until:
    """Stop once one cell is known well enough. From arguments by `until`.

    criterion, width, epsilon: the cell, a point of the grid.
    half_width: met when the anytime 95 % interval for success reaches at most this far to either
        side of its middle; None for no such rule.
    failures: met when at least this many trials have failed, broken ones included, undecided ones
        not; None for no such rule.
    """

    criterion: str
    width: int
    epsilon: float
    half_width: float | None
    failures: int | None

    def met(self, tally: Tally) -> bool:
        """Whether the counts satisfy either rule."""
        grid = tally.problem.grid
        column = grid.widths.index(self.width), grid.epsilons.index(self.epsilon)
        cell = tally.criterion(self.criterion), *column
        least = int(tally.certified[cell])
        most = least + int(tally.undecided[cell])
        if self.failures is not None and tally.trials - most >= self.failures:
            return True
        if self.half_width is None:
            return False
        low, high = intervals.anytime([least, most], tally.trials, ALPHA)
        return bool(high[1] - low[0] <= 2 * self.half_width)

    def to_json(self) -> dict:
        """The rules given, and the cell; as a record keeps them."""
        rules = {"half_width": self.half_width, "failures": self.failures}
        given = {name: value for name, value in rules.items() if value is not None}
        return {**given, "cell": [self.criterion, self.width, self.epsilon]}


def until(
    problem: Problem,
    half_width: float | None = None,
    failures: int | None = None,
    at: tuple[str, int, float] | None = None,
) -> Until:
    """The rule that stops at whichever of the two comes first.

    Args:
        half_width: of the anytime 95 % interval, between 0 and 0.5.
        failures: at least 1.
        at: (criterion, width, epsilon), one of the grid; by default the first criterion of the
            experiment's main rule, the middle width and the smallest epsilon. `api.until` knows
            better where there is a prediction.

    Raises `InputError` where neither is given, one is out of range or the cell is not counted.
    """
    if half_width is None and failures is None:
        raise InputError("until must be told a half width or a number of failures, got neither.")
    if half_width is not None and not 0.0 < half_width < 0.5:
        raise InputError(f"half_width must lie strictly between 0 and 0.5, got {half_width}.")
    if failures is not None and failures < 1:
        raise InputError(f"failures must be at least 1, got {failures}.")
    names = [criterion.name for criterion in problem.criteria]
    criterion, width, epsilon = at or _middle(problem, names)
    _check_counted("criterion", criterion, names)
    _check_counted("width", width, problem.grid.widths)
    _check_counted("epsilon", epsilon, problem.grid.epsilons)
    return Until(criterion, width, epsilon, half_width, failures)


def _middle(problem: Problem, names: Sequence[str]) -> tuple[str, int, float]:
    """The cell looked at where none is named."""
    main = [c.name for c in problem.criteria if c.rule == problem.config.default_rule]
    widths = problem.grid.widths
    return (main or names)[0], widths[len(widths) // 2], problem.grid.epsilons[-1]


def _check_counted(name: str, value: object, counted: Sequence[object]) -> None:
    if value not in counted:
        raise InputError(f"{name} must be one of {', '.join(map(str, counted))}, got {value}.")


def check(
    problem: Problem,
    trials: int,
    shard: Shard | None = None,
    until: Until | None = None,
    seconds: float = math.inf,
) -> None:
    """`InputError` unless so many trials, in so many seconds, can be run, and by these rules."""
    if problem.layout != LAYOUT:
        raise InputError(
            f"layout must be {LAYOUT}, by which this version counts, got {problem.layout}; records "
            "of that can still be shown, drawn and merged."
        )
    if not 1 <= trials <= MAX_TRIALS:
        raise InputError(f"trials must be between 1 and {MAX_TRIALS}, got {trials}.")
    if not seconds > 0.0:
        raise InputError(f"max-seconds must be above 0, got {seconds:g}.")
    if shard is not None and (until is not None or seconds < math.inf):
        raise InputError(
            f"shard must have no stopping rule beside it, as it sees but its own, got {shard}."
        )
    if shard is not None and not share(shard, problem.config.trials_per_shard, trials):
        raise InputError(
            f"shard must hold some of the {trials} trials, which are dealt out in blocks of "
            f"{problem.config.trials_per_shard}, got {shard}."
        )


def share(shard: Shard, block: int, trials: int) -> Ranges:
    """Every `of`-th block of `block` trials, of those below `trials`; ascending, none touching."""
    starts = range((shard.number - 1) * block, trials, shard.of * block)
    return coalesce((start, min(start + block, trials)) for start in starts)


def lattice(start: int, trials: int) -> Iterator[int]:
    """The numbers of trials from `start` on at which a rule is tried; the last is `trials`.

    They are m 2^e with 8 <= m < 16, from 64 on, so a rule that stays met is seen to be met after at
    most an eighth more trials than it takes.
    """
    n = max(start, FIRST_LOOK)
    while True:
        step = 1 << (n.bit_length() - 4)
        n += -n % step
        if n >= trials:
            break
        yield n
        n += 1
    yield trials


def ranges(
    log: Memory,
    trials: int,
    block: int,
    shard: Shard | None = None,
    until: Until | None = None,
) -> Iterator[tuple[int, int]]:
    """The trials below `trials` to run that `log` does not hold yet, as half-open ranges.

    Args:
        log: looked at between ranges; the trials of a range must be in it before the next is drawn.
        block: trials that stay together in a shard, `share` of the configuration.
        shard: the part to run; None for all.
        until: the rule by which to stop; None to run them all. Not for a shard: see `check`.
    """
    if until is not None:
        return _until_met(log, trials, until)
    within = None if shard is None else share(shard, block, trials)
    return iter(log.missing(trials, within))


def _until_met(log: Memory, trials: int, until: Until) -> Iterator[tuple[int, int]]:
    # Below the number of trials counted there is nothing to look at: that look is past.
    for look in lattice(log.tally.trials, trials):
        yield from log.missing(look)
        tally = log.tally
        if tally.ranges == ((0, look),) and until.met(tally):
            return
