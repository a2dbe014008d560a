"""Published figures on random subset sums, found again: ours beside theirs, and a verdict a line.

    python scripts/subset_acceptance.py                    # all parts, about a minute
    python scripts/subset_acceptance.py --part existence   # one of them
    python scripts/subset_acceptance.py --fc2 fc2.pt --lenet lenet5-MNIST.bson   # published targets
    python scripts/subset_acceptance.py --quick            # few trials, seconds

existence  100,000 targets of U[-1, 1], each met by a subset of 15 numbers within 0.01, the smallest
           first: RelationalML/LT-existence, the files of Burkholz, "Most activation functions can
           win the lottery without excessive depth", NeurIPS 2022
pensia     the 397,000 weights of a network for MNIST, 784-500-10, each from 21 numbers:
           acnagle/optimal-lottery-tickets, of Pensia et al., NeurIPS 2020
cnnslth    the 2,572 weights of the convolutions of LeNet-5, each from 10, 15 or 20 numbers:
           AInnervate/cnnslth, of da Cunha, Natale and Viennot, ICLR 2022

Numbers are drawn by the addresses of `weights.draws`, on a grid of 2^-24, on which sums are exact;
what rounding a product may change is settled in integers of 2^-48. Two counts agree unless Fisher's
exact test rejects at one in a thousand; intervals are Clopper and Pearson's at 99.9 %. Lines that
must not agree are there to fail: another law or size, and medians below what any subset attains.
Exit code 1 if a line is not as it must be.

Without the files of the published targets, draws of a law take their place: |w| of Weibull's law
of shape 0.6, 68 % within 0.01, which is near to the weights of fc2.pt from their median to one in a
thousand, cut to their range; and for lenet normal weights of its deviation, 0.256.
"""

import argparse
import struct
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from scipy.stats import fisher_exact

from ltjax.counting.intervals import clopper_pearson
from ltjax.masks import every_subset, subset_sizes, subset_sums
from ltjax.system import devices
from ltjax.weights import draws

SEED = 0
UNIT = 2**24  # of the grid, in 1
EPSILON = 0.01
LEVEL = 1e-3  # of a line's test
TRIALS = 100_000
SIZE, FEWER = 15, 12  # numbers of a problem of `existence`, and those of its negative control
MISSES = {"uniform": 404, "product": 3552}
WORST = {"uniform": 0.7636, "product": 0.9215}
HITS = {  # by the size of the first subset within EPSILON, or of the best one
    "uniform": (1033, 13713, 44922, 35783, 4101, 377, 54, 17),
    "product": (966, 12701, 43642, 31275, 7388, 2220, 1105, 703),
}
ROWS = ((500, 784), (10, 500))  # of the network for MNIST
RANGE = -0.46423155069351196, 0.5407021641731262  # of its weights, and of the numbers drawn
CANDIDATES, KEPT, SECONDS = 21, 3_725_871, 77_266.02
KEPT_NEAR = 9.6, 10.1  # kept a weight by the optimum; the solver may keep fewer
LENET = 150, 6, 2400, 16  # weights of its layers, in their order
MEDIANS = {10: (1.1362e-3, 1.1678e-3), 15: (4.4003e-5, 4.4081e-5), 20: (2.9802e-8, 7.1712e-8)}
LARGEST = {10: (0.596, 0.358), 15: (0.0188, 0.4705), 20: (7.7e-4, 3.1e-3)}
NETWORKS = 20  # drawn


class Line(NamedTuple):
    """A figure of ours beside theirs; `agrees` is None where nothing is decided."""

    name: str
    theirs: str
    ours: str
    agrees: bool | None = None
    must: bool = True

    @property
    def kept(self):
        return self.agrees in (None, self.must)


def uniforms(role, count, n):
    """Odd multiples of 2^-24, U[-1, 1], as integers: int64 [n, count]."""
    key = draws.trial_key(np.uint32([SEED]), np.arange(count, dtype=np.uint32))
    key = tuple(word[:, None] for word in draws.stream(key, 0, role))
    pairs = np.arange(-(-n // 2), dtype=np.uint32)
    words = np.stack(draws.word_pair(key, np.uint32(0), pairs), axis=-1).reshape(count, -1)
    return np.rint(draws.uniform(words[:, :n]).T.astype(np.float64) * UNIT).astype(np.int64)


def on_grid(exact):
    """Multiples of 2^-48 to the nearest of 2^-24: int32."""
    return (exact + UNIT // 2 >> 24).astype(np.int32)


def solved(search, numbers, target):
    """What `search` finds, shared out to all devices; seconds of compiling and of running."""
    shares = np.array(jax.devices())
    spec = PartitionSpec(None, "share"), PartitionSpec("share")
    more = -len(target) % len(shares)
    arrays = np.pad(numbers, ((0, 0), (0, more))), np.pad(target, (0, more))
    whole = jax.shard_map(
        search,
        mesh=Mesh(shares, ("share",)),
        in_specs=spec,
        out_specs=spec[search is subset_sums.nearest],
        check_vma=False,
    )
    begun = time.perf_counter()
    program = jax.jit(whole).lower(*arrays).compile()
    compiled = time.perf_counter()
    found = jax.tree.map(np.asarray, program(*arrays))
    done = time.perf_counter()
    return jax.tree.map(lambda x: x[..., : len(target)], found), compiled - begun, done - compiled


def agree(ours, trials, theirs, published):
    """Whether two counts may be of one law."""
    table = [[ours, trials - ours], [theirs, published - theirs]]
    return bool(fisher_exact(table).pvalue >= LEVEL)


def interval(count, trials):
    low, high = (float(x) for x in clopper_pearson(count, trials, LEVEL))
    return f"{count / trials:.5f} in [{low:.5f}, {high:.5f}]"


class Existence(NamedTuple):
    """The size of the first subset within EPSILON of each target, or of the best one.

    hit: whether it is within; error: |sum - target| of the best; reached: whether the target is
    within EPSILON of what lies between the least and the largest sum.
    """

    size: np.ndarray
    hit: np.ndarray
    error: np.ndarray
    reached: np.ndarray


def existence_of(law, trials, n):
    """Sizes 0 to n - 1 of n, as the published loop runs: the full set is left out."""
    numbers = uniforms(draws.HIDDEN, trials, n)
    numbers = numbers * (uniforms(draws.OUTPUT, trials, n) if law == "product" else UNIT)
    target = uniforms(draws.TARGET, trials, 1)[0] * UNIT
    found, *_ = solved(subset_sizes.nearest_by_size, on_grid(numbers), on_grid(target))
    off = np.abs(found.error[:n].astype(np.int64)) * UNIT
    limit = int(EPSILON * UNIT * UNIT)
    if law == "product":  # each number is off by half a unit of the grid at most
        for p in np.flatnonzero((np.abs(off - limit) <= n * UNIT // 2).any(axis=0)):
            off[:, p] = exact_by_size(numbers[:, p], int(target[p]))[:n]
    hit, best = off <= limit, np.argmin(off, axis=0)
    size = np.where(hit.any(axis=0), np.argmax(hit, axis=0), best)
    ends = (np.minimum(numbers, 0).sum(axis=0), np.maximum(numbers, 0).sum(axis=0))
    reached = (target >= ends[0] - limit) & (target <= ends[1] + limit)
    return Existence(size, hit.any(axis=0), off.min(axis=0) / UNIT**2, reached)


def exact_by_size(numbers, target):
    """The least |error| of each size, over all subsets: int64 [n + 1]."""
    off = np.abs(every_subset.all_sums(numbers) - target)
    sizes = np.bitwise_count(np.arange(len(off)))
    return np.array([off[sizes == size].min() for size in range(len(numbers) + 1)])


def existence(args):
    trials = args.trials
    for law, theirs in MISSES.items():
        found = existence_of(law, trials, SIZE)
        missed = int((~found.hit).sum())
        yield Line(
            f"{law}: missed",
            interval(theirs, TRIALS),
            interval(missed, trials),
            agree(missed, trials, theirs, TRIALS),
        )
        out = int((~found.reached).sum())
        yield Line("  out of reach of all subsets", "", interval(out, trials))
        worst = f"{found.error[~found.hit].max(initial=0):.4f}"
        yield Line("  largest error", f"{WORST[law]:.4f}", worst)
        last = len(HITS[law]) - 1
        counts = np.bincount(np.minimum(found.size, last), minlength=last + 1)
        for size, (mine, other) in enumerate(zip(counts.tolist(), HITS[law], strict=True)):
            name = f"  first of size {size}" + (" or more" if size == last else "")
            same = agree(mine, trials, other, TRIALS)
            yield Line(name, interval(other, TRIALS), interval(mine, trials), same)
        fewer = int((~existence_of(law, trials, FEWER).hit).sum())
        yield Line(
            f"  missed with {FEWER} numbers",
            interval(theirs, TRIALS),
            interval(fewer, trials),
            agree(fewer, trials, theirs, TRIALS),
            must=False,
        )


def stored_floats(data, lengths, marks):
    """float32 arrays of these lengths, each after the bytes that a format puts before it."""
    found = []
    for length in lengths:
        at = data.index(marks(length)) + len(marks(length))
        found.append(np.frombuffer(data, "<f4", length, at))
    return np.concatenate(found).astype(np.float64)


def network_for_mnist(args):
    if args.fc2:  # the first format of torch: each storage after its length
        lengths = [out * inputs for out, inputs in ROWS]
        return stored_floats(args.fc2.read_bytes(), lengths, partial(struct.pack, "<q"))
    rng = np.random.default_rng(SEED)
    count = sum(out * inputs for out, inputs in ROWS)
    sizes = EPSILON * (rng.exponential(size=count) / -np.log1p(-0.68)) ** (1 / 0.6)
    return np.clip(sizes * rng.choice([-1, 1], count), *RANGE)


def not_empty(numbers, target):
    """The error of the nearest sum of at least one number: each in turn is one of them."""
    n, count = numbers.shape
    rest = np.concatenate([np.delete(numbers, i, axis=0) for i in range(n)], axis=1)
    left = (target - numbers).reshape(-1)
    found, *_ = solved(subset_sums.nearest, rest, left)
    return np.abs(found.error).reshape(n, count).min(axis=0)


def pensia(args):
    weights = network_for_mnist(args)[: args.weights]
    target = np.rint(weights * UNIT).astype(np.int32)
    name = f"{len(weights):,} weights within {EPSILON} of 0"
    yield Line(name, "68.0 %", f"{np.mean(np.abs(weights) <= EPSILON):.1%}")
    outputs, inputs = zip(*ROWS, strict=True)
    row = np.repeat(np.arange(sum(outputs)), np.repeat(inputs, outputs))[: len(weights)]
    for name, sets in (("weight", np.arange(len(weights))), ("row", row)):
        drawn = uniforms(draws.HIDDEN, sets[-1] + 1, CANDIDATES)[:, sets]
        middle, half = (RANGE[1] + RANGE[0]) / 2, (RANGE[1] - RANGE[0]) / 2
        numbers = np.rint(middle * UNIT + half * drawn).astype(np.int32)
        yield from sums_for(f"drawn for each {name}", numbers, target)


def sums_for(name, numbers, target):
    found, compiling, running = solved(subset_sums.nearest, numbers, target)
    bits = found.mask >> np.arange(CANDIDATES, dtype=np.uint32)[:, None] & np.uint32(1)
    if ((numbers.astype(np.int64) * bits).sum(axis=0) - target != found.error).any():
        raise RuntimeError("a mask does not give the error that was found with it.")
    off, kept = np.abs(found.error), float(np.bitwise_count(found.mask).mean())
    above = int((off > EPSILON * UNIT).sum())
    yield Line(f"{name}: above {EPSILON}", "0", f"{above}", above == 0)
    yield Line("  worst error", f"<= {EPSILON}", f"{off.max() / UNIT:.3g}")
    yield Line("  median error", "", f"{np.median(off) / UNIT:.3g}")
    theirs = f"{KEPT / 397_000:.2f}, of a solver"
    yield Line("  kept a weight", theirs, f"{kept:.3f}", KEPT_NEAR[0] <= kept <= KEPT_NEAR[1])
    seconds = f"{running:.1f} and {compiling:.1f} of compiling"
    yield Line("  seconds", f"{SECONDS:,.0f}, 36 cores", seconds)
    alone = np.flatnonzero(found.mask == 0)
    yield Line("  best met by no number at all", "", f"{len(alone)}")
    if len(alone):
        off[alone] = not_empty(numbers[:, alone], target[alone])
        above = int((off > EPSILON * UNIT).sum())
        yield Line(f"  with one at least: above {EPSILON}", "0", f"{above}", above == 0)
        yield Line("  worst error", f"<= {EPSILON}", f"{off.max() / UNIT:.3g}")


def convolutions(args):
    if args.lenet:  # BSON: each array after its bytes and a kind
        marks = lambda length: struct.pack("<i", 4 * length) + b"\0"
        return stored_floats(args.lenet.read_bytes(), LENET, marks)
    return 0.256 * np.random.default_rng(SEED).normal(size=sum(LENET))


def cnnslth(args):
    weights = convolutions(args)
    target = np.tile(np.rint(weights * UNIT).astype(np.int32), NETWORKS)
    for n, medians in MEDIANS.items():
        numbers = uniforms(draws.HIDDEN, len(target), n).astype(np.int32)
        found, *_ = solved(subset_sums.nearest, numbers, target)
        off = np.abs(found.error).reshape(NETWORKS, -1) / UNIT
        ours, worst = np.median(off, axis=1), off.max(axis=1)
        for median in medians:
            # Half of the published errors are below their median: so many of ours should be.
            below = int((off < median).sum())
            same = agree(below, off.size, len(weights) // 2, len(weights))
            shown = f"{np.median(off):.2e}, networks {ours.min():.2e} to {ours.max():.2e}"
            yield Line(f"{n} numbers: median", f"{median:.2e}", shown, same, must=n < 20)
        theirs = ", ".join(f"{w:.2g}" for w in LARGEST[n])
        yield Line("  worst", theirs, f"networks {worst.min():.2g} to {worst.max():.2g}")


PARTS = {"existence": existence, "pensia": pensia, "cnnslth": cnnslth}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--fc2", type=Path, help="fc2.pt, as published")
    parser.add_argument("--lenet", type=Path, help="lenet5-MNIST.bson, as published")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args(argv)
    args.trials, args.weights = (2000, 2000) if args.quick else (TRIALS, None)
    devices.use_cores()
    right = True
    for part in args.part or PARTS:
        print(f"{part}\n{'':<42} {'published':<34} {'ours':<48} verdict")
        for line in PARTS[part](args):
            verdict = "" if line.agrees is None else "agrees" if line.agrees else "does not agree"
            verdict += "" if line.must else ", and must not"
            verdict += "" if line.kept else "  WRONG"
            print(
                f"{line.name:<42} {line.theirs:<34} {line.ours:<48} {verdict}".rstrip(), flush=True
            )
            right &= line.kept
    if not right:
        sys.exit(1)


if __name__ == "__main__":
    main()
