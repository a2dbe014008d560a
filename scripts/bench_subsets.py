"""How fast subset sums are found: the costs of a problem, and ratios within one run.

    python scripts/bench_subsets.py            # about a minute and a half
    python scripts/bench_subsets.py --quick    # few problems: a first look

Processor time of one core, but for the last line, and without compiling, which has a column of its
own; the least of some runs, as whatever else the machine does can only add to it. All masks are
found with the errors. The baselines are what one would write without ltjax, one problem after the
other: in numpy, sorted sums of one half and `searchsorted` for the other; and a bitset in the long
integers of Python. Both find the same, which is checked.
"""

import argparse
import multiprocessing
import os
import time
from functools import partial

import jax
import numpy as np
from subset_acceptance import solved

from ltjax import theory
from ltjax.masks import reachable, subset_sizes, subset_sums
from ltjax.system import devices

SEED, UNIT, RUNS = 0, 2**24, 3
GOALS = {15: 4.0, 21: 25.0, 24: 100.0}  # microseconds a problem
WEIGHTS, CANDIDATES, SECONDS = 397_000, 21, 15.0  # of a published network, on two cores
FINE, COVERED = 2**14, 18  # of a grid in 1, and numbers


def problems(n, count, unit=UNIT):
    """Numbers of U[-1, 1] [n, problem] and targets [problem], in units of the grid."""
    drawn = np.random.default_rng([SEED, n]).integers(-unit, unit + 1, (n + 1, count))
    return drawn[:-1].astype(np.int32), drawn[-1].astype(np.int32)


def cost(function, *arrays):
    """What a program finds, the least processor time of its runs, and seconds of its compiling."""
    begun = time.process_time()
    program = jax.jit(function).lower(*arrays).compile()
    compiling, seconds = time.process_time() - begun, []
    for _ in range(RUNS):
        begun = time.process_time()
        found = jax.block_until_ready(program(*arrays))
        seconds.append(time.process_time() - begun)
    return jax.tree.map(np.asarray, found), min(seconds), compiling


def by_numpy(numbers, target):
    """Errors and masks of the nearest sums, one problem after the other; and the seconds."""
    begun, found = time.process_time(), []
    for x, t in zip(numbers.T, target, strict=True):
        half = len(x) // 2
        lists = []
        for part in (x[:half], x[half:]):
            sums = np.zeros(1, np.int32)
            for number in part:
                sums = np.concatenate([sums, sums + number])
            lists.append(sums)
        order = np.argsort(lists[0])
        ascending, wanted = lists[0][order], t - lists[1]
        above = np.searchsorted(ascending, wanted).clip(1, len(ascending) - 1)
        off = np.stack([ascending[above - 1] - wanted, ascending[above] - wanted])
        beside, at = np.unravel_index(np.argmin(np.abs(off)), off.shape)
        found.append((off[beside, at], order[above[at] - 1 + beside] | at << half))
    return *np.array(found).T, time.process_time() - begun


def by_long_integers(numbers):
    """All subset sums of every prefix as bits, one problem after the other; seconds, no radius."""
    begun = time.process_time()
    for column in numbers.T.tolist():
        sums = 1
        for number in column:
            sums |= sums << abs(number)
    return time.process_time() - begun


def one_core(few):
    """Lines of what is timed on one core: name, microseconds, note."""
    spent = {}
    for n, goal in GOALS.items():
        count = max(64, min(16_384, 2**33 >> n) // few)
        arrays = problems(n, count)
        _, seconds, compiling = cost(subset_sums.nearest, *arrays)
        spent[n] = seconds / count * 1e6
        yield f"nearest of {n}", spent[n], f"goal {goal:g}, compiled in {compiling:.1f} s"
    count = 4096 // few
    numbers, target = problems(CANDIDATES, count)
    found, seconds, compiling = cost(subset_sums.nearest_of_prefixes, numbers, target)
    every = seconds / count * 1e6
    note = f"{every / spent[CANDIDATES]:.2f} times that of {CANDIDATES} alone, goal 2.5"
    yield f"every n to {CANDIDATES}", every, f"{note}; compiled in {compiling:.1f} s"
    some = min(count, 512)
    errors, _, seconds = by_numpy(numbers[:, :some], target[:some])
    np.testing.assert_array_equal(np.abs(found.error[-1, :some]), np.abs(errors))
    loop = seconds / some * 1e6
    ratio = loop / spent[CANDIDATES]
    yield f"nearest of {CANDIDATES}, a numpy loop", loop, f"{ratio:.1f} times ours, goal 10"
    count = 4096 // few
    _, seconds, _ = cost(subset_sizes.nearest_by_size, *problems(15, count))
    yield "nearest of 15, of every size", seconds / count * 1e6, ""
    count = 1024 // few
    numbers, _ = problems(COVERED, count, FINE)
    radii = partial(reachable.cover_radii, half_width=FINE // 2, largest=FINE)
    _, seconds, compiling = cost(radii, numbers)
    covered = seconds / count * 1e6
    note = f"goal 50, compiled in {compiling:.1f} s"
    yield f"all targets, every n to {COVERED}, 2^-14", covered, note
    loop = by_long_integers(numbers) / count * 1e6
    yield "the bits alone, in long integers", loop, f"{loop / covered:.1f} times ours"


def rare():
    """Lines of failures of 30 candidates, from 1,000 draws each: name, microseconds, note."""
    for eps in (0.49, 0.1, 0.03):
        begun = time.process_time()
        odds = theory.subset_tail("uniform", 30, 0.5, eps)
        spent = (time.process_time() - begun) / 1000 * 1e6
        note = f"{odds.failure:.3g}, error {odds.error / odds.failure:.1e} of it, goal 0.1"
        yield f"failure of 30 within {eps:g}, a draw", spent, note


def published(few):
    """The published network on all cores: wall seconds with compiling, and processor time."""
    devices.use_cores()
    numbers, target = problems(CANDIDATES, WEIGHTS // few)
    spent = time.process_time()
    _, compiling, running = solved(subset_sums.nearest, numbers, target)
    return len(jax.devices()), len(target), compiling + running, time.process_time() - spent


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    few = 32 if parser.parse_args(argv).quick else 1
    print(f"microseconds a problem, one core, jax {jax.__version__}")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})  # before jax starts its threads
    for name, microseconds, note in (*one_core(few), *rare()):
        print(f"{name:<36} {microseconds:10.2f}   {note}".rstrip(), flush=True)
    os.sched_setaffinity(0, cores)
    # In a process of its own, as jax has started here.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        used, count, wall, spent = pool.apply(published, (few,))
    print(
        f"{count:,} optima of {CANDIDATES} on {used} cores: {wall:.1f} s with compiling, "
        f"{spent:.1f} s of processor time, goal {SECONDS:g} s"
    )


if __name__ == "__main__":
    main()
