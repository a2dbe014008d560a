"""Do intervals miss no more often than they say, however one runs, looks and goes on?

Trials of known success probability are counted by the code that counts real ones, in records on
disk, in each way of running there is, and every record is looked at whenever it can be. A path is
one such life of a record. A line: paths on which a fixed interval missed; on which some anytime
interval did, as they do who stop at the worst moment; on which any did; and the control, what a
fixed interval at every look would have missed. Each miss rate has an exact interval.

Fixed and anytime intervals are two statements, each at its own level: who sees a fixed interval and
goes on if it displeases relies on both, and their errors may add up.

Exits with 1 if either kind misses more often than its level allows, or if the control does not.

    python scripts/looks.py            # half a minute on one core
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from ltjax.counting import intervals, plans, records
from ltjax.counting.plans import Shard
from ltjax.counting.tally import Batch, Memory, Tally
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.results.estimates import ALPHA, Series, estimate

ERROR_RATE = 1e-6  # of a false alarm in one number
SUCCESS = (0.03, 0.4, 0.95)  # of a third of the paths each
BLOCK = 50  # trials of a batch, and that stay together in a share
LOOKS = range(BLOCK, 20 * BLOCK + 1, BLOCK)  # trials at which one looks; the last are all there are
ALL = LOOKS[-1]
HUGE = 4_000_000_000
RULES = {"half width 0.1": {"half_width": 0.1}, "20 failures": {"failures": 20}}


def problem(paths: int) -> Problem:
    """One criterion at one epsilon: the widths are paths that know nothing of each other."""
    return Problem(
        config=Neuron(dim=2, constructions=("blocks",), rules=("tight",)),
        target=(0.5, -0.2),
        grid=Grid(widths=tuple(range(1, paths + 1)), epsilons=(0.5,)),
        seed=0,
    )


class Person:
    """Who runs records in a folder. All paths are run alike, at once.

    sums: successes among the first so many trials, [trials + 1, paths].
    """

    def __init__(self, folder: Path, sums: np.ndarray) -> None:
        self.folder, self.sums, self.problem = folder, sums, problem(sums.shape[1])
        folder.mkdir()

    def steps(
        self, name: str, trials: int, shard: Shard | None = None, until: dict | None = None
    ) -> Iterator[Tally]:
        """Run what a record lacks, as `api.run` does; give what is counted, batch by batch."""
        with records.Log(self.folder / name, self.problem, trials, {}, until) as log:
            for first, last in plans.ranges(log, trials, BLOCK, shard):
                for start in range(first, last, BLOCK):
                    log.append(batch(self.sums, start, min(start + BLOCK, last)))
                    yield log.tally

    def run(self, *asked, batches: int | None = None) -> Tally:
        """Run to the end, or until so many batches are counted; return what is then shown."""
        *_, last = None, *islice(self.steps(*asked), batches)
        return last or self.show(asked[0])

    def show(self, *names: str) -> Tally:
        return records.load([self.folder / name for name in names])

    def merge(self, *names: str) -> Tally:
        return records.merge([self.folder / name for name in names], self.folder / "all")


def batch(sums: np.ndarray, start: int, stop: int) -> Batch:
    counts = (sums[stop] - sums[start]).astype(np.int64)[None, :, None]
    return Batch(start, stop, counts, stop - start - counts, 0, 0, 0.0)


def larger(person: Person) -> Iterator[Tally]:
    yield from (person.run("a", trials) for trials in LOOKS)


def smaller(person: Person) -> Iterator[Tally]:
    yield person.run("a", HUGE, Shard(1, HUGE // BLOCK))  # a block, of which no more will come
    yield from larger(person)


def after_all(person: Person) -> Iterator[Tally]:
    yield person.run("a", ALL, batches=1)
    yield from larger(person)


def shares(person: Person) -> Iterator[Tally]:
    yield from (person.run("a", ALL, Shard(k + 1, len(LOOKS))) for k in range(len(LOOKS)))


def merged(person: Person) -> Iterator[Tally]:
    for k in range(len(LOOKS)):
        person.run(f"{k}", ALL, Shard(k + 1, len(LOOKS)))
        yield person.merge(f"{k}")


def disagreeing(person: Person) -> Iterator[Tally]:
    for k, trials in enumerate(LOOKS):
        person.run(f"{k}", trials, Shard(k + 1, k + 1))  # its last block
        yield person.merge(f"{k}")


def resumed(person: Person) -> Iterator[Tally]:
    yield from (person.run("a", ALL, batches=1) for _ in LOOKS)


def abandoned(person: Person) -> Iterator[Tally]:
    yield from (person.run("a", HUGE, batches=1) for _ in LOOKS)


def watched(person: Person) -> Iterator[Tally]:
    yield from (person.show("a") for _ in person.steps("a", ALL))


def timed(person: Person) -> Iterator[Tally]:
    yield from (person.run("a", HUGE, None, {"seconds": 60.0}, batches=1) for _ in LOOKS)


def untimed(person: Person) -> Iterator[Tally]:
    yield person.run("a", ALL, None, {"seconds": 60.0}, batches=1)
    yield from resumed(person)


WAYS: dict[str, Callable[[Person], Iterator[Tally]]] = {
    "one plan": lambda person: iter([person.run("a", ALL)]),
    "larger and larger plans": larger,
    "a share of a huge plan, smaller ones": smaller,
    "smaller plans, the first one after all": after_all,
    "shares in turn, in one record": shares,
    "shares in turn, merged one by one": merged,
    "records of different plans, merged": disagreeing,
    "interrupted and resumed": resumed,
    "interrupted, and never finished": abandoned,
    "looked at while it runs": watched,
    "so many seconds, again and again": timed,
    "so many seconds, then a plan": untimed,
}


class Misses(NamedTuple):
    """Of one way of running: paths, looks, and on how many paths an interval missed somewhere."""

    paths: int
    looks: int
    fixed: int
    anytime: int
    either: int
    control: int  # had every interval been a fixed one


class Truth:
    """The success probability of each path, and which intervals miss it."""

    def __init__(self, success: np.ndarray) -> None:
        self.success = success
        self._known: dict[tuple, np.ndarray] = {}

    def missed(self, tally: Tally) -> np.ndarray:
        """On which paths the interval of a record misses, [paths]."""
        # Most ways of running come by the same counts.
        key = tally.anytime, tally.trials, tally.certified.tobytes()
        if key not in self._known:
            (name,) = (criterion.name for criterion in tally.problem.criteria)
            low, high = (end[:, 0] for end in estimate(Series(label="", tally=tally), name, 1).bar)
            self._known[key] = (self.success < low) | (high < self.success)
        return self._known[key]


def lived(shown: Iterator[Tally], truth: Truth) -> Misses:
    """The misses of what is shown of a record, one look after the other."""
    fixed, anytime, control = np.zeros((3, len(truth.success)), bool)
    looks = 0
    for looks, tally in enumerate(shown, 1):  # noqa: B007  the number of them
        kind = anytime if tally.anytime else fixed
        kind |= truth.missed(tally)
        control |= truth.missed(replace(tally, anytime=False))
    counts = (int(on.sum()) for on in (fixed, anytime, fixed | anytime, control))
    return Misses(len(truth.success), looks, *counts)


def ruled(rule: dict, sums: np.ndarray) -> Tally:
    """A run of one path until a rule is met."""
    until = plans.until(problem(1), **rule)
    log = Memory(problem(1), ALL, until.to_json())
    for start, stop in plans.ranges(log, ALL, BLOCK, until=until):
        log.append(batch(sums, start, stop))
    return log.tally


def stopped(rule: dict, sums: np.ndarray, success: np.ndarray) -> Misses:
    """The misses of a rule, which stops each path where its own counts say."""
    each = (
        lived(iter([ruled(rule, sums[:, path : path + 1])]), Truth(success[path : path + 1]))
        for path in range(len(success))
    )
    paths, _, *misses = np.sum(list(each), axis=0).tolist()
    return Misses(paths, 1, *misses)


def bounds(misses: int, paths: int) -> tuple[float, float]:
    """Exact interval for a miss rate: each end is wrong in at most `ERROR_RATE` of simulations."""
    low, high = intervals.clopper_pearson(misses, paths, 2 * ERROR_RATE)
    return float(low), float(high)


def too_many(misses: int, paths: int) -> bool:
    return bounds(misses, paths)[0] > ALPHA


def told_apart(paths: int) -> float:
    """The miss rate that escapes an alarm in at most `ERROR_RATE` of simulations."""
    alarm = next(k for k in range(paths) if too_many(k, paths))
    return next(
        rate for rate in np.linspace(0, 1, 1001) if binom.cdf(alarm - 1, paths, rate) <= ERROR_RATE
    )


def verdict(found: Misses) -> str:
    """What is wrong; empty where nothing is."""
    kinds = [kind for kind in ("fixed", "anytime") if too_many(getattr(found, kind), found.paths)]
    wrong = [f"{kind} intervals MISS TOO OFTEN" for kind in kinds]
    if found.looks >= len(LOOKS) and not too_many(found.control, found.paths):
        wrong.append("the control is NOT CAUGHT")
    return ", ".join(wrong)


def told(name: str, found: Misses) -> bool:
    """Print the line of a way of running; return whether it is wrong."""
    rates = ""
    for misses in found[2:]:
        low, high = bounds(misses, found.paths)
        rates += f"{100 * misses / found.paths:7.2f} ({100 * low:5.2f} to{100 * high:6.2f})"
    wrong = verdict(found)
    print(f"{name:<40}{found.paths:>6,}{found.looks:>6}{rates}  {wrong}".rstrip(), flush=True)
    return bool(wrong)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=6000, help="of each way, three at least")
    parser.add_argument("--ruled", type=int, default=600, help="of each stopping rule")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    success = np.resize(SUCCESS, max(args.paths, args.ruled))
    draws = np.random.default_rng(args.seed).random((ALL, len(success))) < success
    sums = np.vstack([np.zeros(len(success), np.int32), np.cumsum(draws, axis=0, dtype=np.int32)])
    print(
        f"{len(LOOKS)} looks of {LOOKS[0]} to {ALL:,} trials, success {SUCCESS}; "
        f"a miss rate of {100 * told_apart(args.paths):.1f} % is told from {100 * ALPHA:g} %\n"
        f"{'misses in % of paths, and interval':<40}{'paths':>6}{'looks':>6}"
        f"{'fixed':>22}{'anytime':>22}{'either':>22}{'fixed at every look':>22}"
    )
    truth, wrong = Truth(success[: args.paths]), 0
    with tempfile.TemporaryDirectory() as folder:
        for name, way in WAYS.items():
            person = Person(Path(folder) / name, sums[:, : args.paths])
            wrong += told(name, lived(way(person), truth))
    for name, rule in RULES.items():
        found = stopped(rule, sums[:, : args.ruled], success[: args.ruled])
        wrong += told(f"stopped at {name}", found)
    print("all intervals cover as stated" if not wrong else f"{wrong} ways of running are WRONG")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
