"""Brackets that close: how tight and how fast, with the goal beside each figure.

    python scripts/bench_bracket.py               # about ten minutes
    python scripts/bench_bracket.py --quick       # toy sizes, seconds
    python scripts/bench_bracket.py --part root   # one part

Pairs of near networks with one output: normal weights of spectral norm 1 at most, errors
U[-0.01, 0.01] on every weight, those of the first layer apart for either sign of its input. Sizes
are (inputs, neurons of a hidden layer, layers of weights). All are timed after one of the same
shape, so that compiling is left out.
"""

import argparse
import sys
import time
from functools import partial
from importlib.util import find_spec
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from sklearn.datasets import load_digits

import ltjax
from ltjax import decimals
from ltjax.counting import engine
from ltjax.experiments.network import device, host
from ltjax.networks import domains, reading
from ltjax.networks.affine import ReluNetwork
from ltjax.networks.pairs import Pair
from ltjax.supnorm import (
    ascent,
    brackets,
    branch_and_bound,
    layered,
    max_min,
    posing,
    semidefinite,
    sets,
)
from ltjax.supnorm.moments import known_bound
from ltjax.system import devices, stops
from ltjax.tickets import pruning, verifying

ROOT = Path(__file__).parents[1]
ETA = 0.01
FINE = 1e-4  # the gap to which a small pair is as good as solved
CORES = 2  # that the goals are for
LIMIT = 60.0  # seconds after which a pair is left open


class Goal(NamedTuple):
    """Pairs of one shape, the gap to close, and the seconds that the median may take."""

    sizes: tuple[int, ...]
    pairs: int
    gap: float
    seconds: float

    @property
    def name(self):
        return f"({self.sizes[0]}, {self.sizes[1]}, {len(self.sizes) - 1})"


GOALS = [
    Goal((6, 6, 1), 20, FINE, 1.2),
    Goal((8, 8, 1), 20, FINE, 1.2),
    Goal((16, 16, 1), 20, 0.01, 5.0),
    Goal((32, 32, 1), 6, 0.03, 60.0),
    Goal((8, 8, 8, 1), 20, 0.01, 20.0),
    Goal((16, 16, 16, 1), 6, 0.05, 60.0),
]
# Sizes, block size, how many, and the milliseconds that the median may take.
TICKETS = [
    ((8, 8, 1), 20, 40, 3),
    ((8, 8, 1), 56, 40, 3),
    ((16, 16, 1), 30, 8, 60),
    ((16, 16, 1), 90, 8, 60),
]
DEEP = [
    ((8, 8, 8, 1), 20, 0.01),
    ((8, 8, 8, 1), 40, 0.01),
    ((8, 8, 8, 8, 1), 33, 0.05),
    ((8, 8, 8, 8, 1), 82, 0.05),
]
PARTS = "root", "tree", "formula", "layers", "scip", "digits", "biases"
FILES = [  # with biases: bits, radius about 0, gap and seconds
    ("fc1.onnx", 8, 1.0, 0.05, 20.0),
    ("fc1.onnx", 4, 1.0, 0.05, 20.0),
    ("ACASXU_experimental_v2a_1_1.onnx", 8, 0.05, 9.0, 60.0),
]
SMALL = [((8, 8, 1), 20), ((16, 12, 1), 10)]  # one hidden layer, and how many pairs
QUICK = [Goal((4, 4, 1), 3, FINE, 1.2)]


def near_pair(sizes, k, seed=0):
    """Pair k of a shape: errors [side, n_out, n_in]."""
    rng, weights, errors = np.random.default_rng([seed, k, *sizes]), [], []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        w = rng.normal(size=(n_out, n_in))
        weights.append(w / max(1.0, np.linalg.norm(w, 2)))
        errors.append(rng.uniform(-ETA, ETA, (2 if i == 0 else 1, n_out, n_in)))
    return Pair(tuple(weights), tuple(errors))


def stacked(pairs):
    """Pairs of one shape as one, with a leading axis on weights and errors."""
    parts = (
        zip(*layers, strict=True) for layers in zip(*(pair[:2] for pair in pairs), strict=True)
    )
    return Pair(*(tuple(map(np.stack, part)) for part in parts))


def clocked(step):
    """What a step returns, and its seconds."""
    begun = time.perf_counter()
    found = step()
    return found, time.perf_counter() - begun


def close(pair, gap, limit=LIMIT):
    """The last bracket within so many seconds."""
    *_, last = branch_and_bound.brackets(pair, gap, stop=stops.deadline(limit))
    return last


def closed(goal):
    """Pairs, last brackets and seconds of each; one more pair goes before, for its compilation."""
    pairs = [near_pair(goal.sizes, k) for k in range(goal.pairs + 1)]
    close(pairs.pop(), goal.gap, 1.0)
    timed = [clocked(lambda pair=pair: close(pair, goal.gap)) for pair in pairs]
    return pairs, *zip(*timed, strict=True)


def bench_tree(goals):
    print("\ntree: upper over lower, median and worst; norm and certificate; nodes; seconds")
    for goal in goals:
        pairs, found, seconds = closed(goal)
        ratio = np.array([b.upper / b.lower for b in found])
        before = [known_bound(pair) / b.lower for pair, b in zip(pairs, found, strict=True)]
        print(
            f"  {goal.name:<12} {np.sum(ratio <= 1 + goal.gap)} of {goal.pairs} within "
            f"{1 + goal.gap:g}: {np.median(ratio):.4f}, {ratio.max():.4f};  before "
            f"{np.median(before):.2f};  nodes {np.median([b.nodes for b in found]):.0f};  "
            f"{np.median(seconds):.2f} s, worst {max(seconds):.1f}   <= {goal.seconds:g}",
            flush=True,
        )


def bench_root(goals):
    """The relaxation alone, one pair at a time and many together; and the lower bound alone."""
    goal = goals[:2][-1]
    pairs, found, _ = closed(goal)
    best = np.array([b.lower for b in found])
    alone = [stacked([pair]) for pair in pairs]
    semidefinite.upper(alone[0], batch=2)
    bounds, seconds = zip(
        *(clocked(lambda one=one: semidefinite.upper(one, batch=2)[0]) for one in alone),
        strict=True,
    )
    ratio = np.array(bounds) / best
    print(f"\nrelaxation and lower bound alone, {goal.pairs} of {goal.name}:")
    print(
        f"  root over exact: median {np.median(ratio):.4f}   <= 1.05, worst {ratio.max():.3f};  "
        f"{np.median(seconds):.3f} s   <= 0.15"
    )
    many = stacked([near_pair(goal.sizes, k) for k in range(64)])
    semidefinite.upper(many)
    _, together = clocked(lambda: semidefinite.upper(many))
    each = np.median(seconds) / (together / 64)
    print(f"  64 pairs in batches, speed of a pair over one by one: {each:.2f}   >= 3")
    ascent.lower(alone[0], batch=1)
    lower, seconds = zip(
        *(clocked(lambda one=one: ascent.lower(one, batch=1)[0][0]) for one in alone), strict=True
    )
    share = np.mean(np.array(lower) >= (1 - 1e-4) * best)
    print(
        f"  lower bound within 1e-4 of exact: {100 * share:.0f} %   >= 70, "
        f"{1e3 * np.median(seconds):.1f} ms   <= 10"
    )


def bench_formula(goals):
    """One hidden layer by the formula: tickets, alone and many at once; the tree and SCIP beside.

    Tickets of the hardest target, where success rises for epsilon 0.5 and 0.2.
    """
    print("\nformula, tickets of one hidden layer: upper over lower; ms in the median, worst")
    for sizes, block, count, goal in TICKETS if goals is GOALS else TICKETS[:1]:
        many = tickets(sizes, block, max(count, 64))
        parts = [tuple(e[k : k + 1] for e in many.errors) for k in range(count)]
        alone, took = timed(sets.close, [many._replace(errors=part) for part in parts])
        single = [many._replace(errors=tuple(e[0] for e in part)) for part in parts]
        searched, other = timed(lambda *asked: [*max_min.brackets(*asked)][-1], single)
        print(
            f"  {'-'.join(map(str, sizes))}, block {block}: "
            f"{max(float(high[0] / low[0]) for low, high in alone):.6f};  "
            f"{1e3 * np.median(took):.1f}, {1e3 * max(took):.1f}   <= {goal};  by the search "
            f"{1e3 * np.median(other):.1f}, {1e3 * max(other):.1f}",
            flush=True,
        )
        for (low, high), found in zip(alone, searched, strict=True):
            assert low[0] <= found.upper
            assert found.lower <= high[0]
        if max(sizes) > 8:
            continue
        _, [together] = timed(sets.close, [many])
        print(f"    64 at once: {1e3 * together / 64:.2f} ms each   <= 0.5")
        close(single[0], FINE, 1.0)  # compiles
        others = {"the tree": (close, 100), "SCIP": (scip(), 200)}
        for name, (solve, goal) in others.items():
            if solve:
                _, seconds = timed(solve, single[:5])
                ratio = np.median(np.divide(seconds, took[:5]))
                print(f"    {name} takes {ratio:.0f} times as long   >= {goal}", flush=True)


def bench_layers(goals):
    """Several hidden layers: whether the best point known is the supremum, to some per cent."""
    if goals is not GOALS:
        return
    print("\nformula within the formula, tickets: upper bound within a gap of the best point")
    for sizes, block, gap in DEEP:
        many = tickets(sizes, block, 20)
        low, _ = ascent.lower(many)
        pairs = [many._replace(errors=tuple(e[k : k + 1] for e in many.errors)) for k in range(20)]
        asked = [(pair, (1.0 + gap) * low[k : k + 1, None]) for k, pair in enumerate(pairs)]
        found, took = zip(*(clocked(partial(layered.decide, *a)) for a in asked), strict=True)
        closed = [upper <= wanted for (_, upper), (_, wanted) in zip(found, asked, strict=True)]
        goal = "   <= 500, 3000" if len(sizes) == 4 else ""
        print(
            f"  {'-'.join(map(str, sizes))}, block {block}: {np.sum(closed)} of 20 within "
            f"{1 + gap:g};  {1e3 * np.median(took):.0f} ms, worst {1e3 * max(took):.0f}{goal}",
            flush=True,
        )


def timed(solve, pairs):
    """What is found of each pair to the gap FINE, and the seconds of each."""
    return zip(*(clocked(partial(solve, pair, FINE)) for pair in pairs), strict=True)


def scip():
    """Mixed-integer optimisation of a pair, where it is installed."""
    if not find_spec("pyscipopt"):
        print("\nSCIP: not compared, as pyscipopt is not installed")
        return None
    sys.path.insert(0, str(ROOT / "tests"))
    from oracles import integer_program

    return lambda pair, gap: integer_program(*pair[:2], gap)


def tickets(sizes, block, count):
    """Tickets of the hardest target of some sizes at one block size, as pairs of networks."""
    problem = ltjax.network(
        dim=sizes[0], hidden=sizes[1], depth=len(sizes) - 1, blocks=(block,), rules=("sup",)
    )
    trials, kept = np.arange(count), []
    program = engine.prepare(device, problem, devices.devices("cpu"), trials=count)
    for first in range(0, count, program.size):
        outcome, _ = program.step(first)
        kept.append(np.asarray(outcome.neurons)[:, 0, 0])
    return host.pair_of(problem, trials, np.concatenate(kept)[:count])


def bench_scip(goals):
    """The same pairs by mixed-integer optimisation, of the test extra."""
    if (solve := scip()) is None:
        return
    print("\nSCIP: its seconds over those of the tree, to the same gap")
    for goal in (goal for goal in goals if max(goal.sizes) <= 8 and goal.gap == FINE):
        pairs, found, seconds = closed(goal._replace(pairs=min(goal.pairs, 5)))
        ratios = []
        for pair, bracket, took in zip(pairs, found, seconds, strict=True):
            (low, high), other = clocked(partial(solve, pair, FINE))
            assert low <= bracket.upper * (1 + 1e-6)
            assert bracket.lower <= high * (1 + 1e-6)
            ratios.append(other / took)
        print(f"  {goal.name:<12} median {np.median(ratios):.2f}, all agree", flush=True)


def bench_digits(path):
    """The ticket of the README, as `scripts/digits_target.py` leaves its network."""
    if not path.exists():
        print(f"\ndigits: left out, as there is no {path}; python scripts/digits_target.py")
        return
    layers = reading.read_matrices(path, "digits")
    ticket = pruning.prune(layers, epsilon=1.0, seed=3, construction="blocks")
    pair = verifying.errors(ticket, layers)
    pair = pair._replace(errors=tuple(e[0] for e in pair.errors))
    found = brackets.closing(pair, ticket.scale, 0.01, stop=stops.deadline(LIMIT))
    start = next(found)
    (*_, last), seconds = clocked(lambda: [start, *found])
    first, closest = (" to ".join(decimals.bracket(*one[:2])) for one in (start, last))
    print(
        f"\ndigits' ticket, (64, 32, 10): {first} by norms, {closest} after {last.nodes} nodes, "
        f"{seconds:.0f} s with compilation\n"
        f"  upper bound, norms over tree: {start.upper / last.upper:.2f}   >= 2\n"
        f"  upper over lower: {last.ratio:.3f}"
    )


def rounded(network, bits):
    """A network whose weights stand on a uniform grid about 0, of 2^bits - 1 points a layer."""
    steps = [np.abs(w).max() / (2 ** (bits - 1) - 1) for w in network.weights]
    weights = [np.round(w / step) * step for w, step in zip(network.weights, steps, strict=True)]
    return network._replace(weights=tuple(weights))


def bench_region(name, first, second, region, gap, limit, norm="l2"):
    """The bracket of two networks over a ball or a box, with compilation."""
    posed = posing.posed(first, second, region)
    found = posed.closing(gap, norm, stops.deadline(limit))
    start = next(found)
    (*_, last), seconds = clocked(lambda: [start, *found])
    low, high = decimals.bracket(last.lower, last.upper)
    print(
        f"  {name}, {domains.words(region)}, {norm}: {low} to {high}, upper over lower "
        f"{last.ratio:.3f}   <= {1 + gap:g};  {seconds:.1f} s   <= {limit:g};  "
        f"at once {start.ratio:.3g}",
        flush=True,
    )


def bench_biases(goals, digits, folder):
    """Networks with biases against their rounding, over balls and boxes; and the formula."""
    print("\nbiases: one hidden layer by the formula to 1e-4, median ms with biases and without")
    for sizes, count in SMALL if goals is GOALS else [((4, 4, 1), 3)]:
        took = {False: [], True: []}
        for k, biases in product(range(count), took):
            pair = near_pair(sizes, k)
            nets = [
                ReluNetwork(
                    tuple(layers),
                    tuple(biases * np.random.default_rng([k, len(w)]).normal(size=len(w)) / 10
                          for w in layers),
                )
                for layers in (pair.weights, [w + e[0] for w, e in zip(*pair[:2], strict=True)])
            ]  # fmt: skip
            posed = posing.posed(*nets, domains.region(sizes[0]))
            _, seconds = clocked(lambda posed=posed: [*max_min.brackets(posed.pair, FINE)])
            took[biases].append(1e3 * seconds)
        (without, there) = map(np.median, took.values())
        print(f"  {sizes}: {there:.1f}, {without:.1f}, ratio {there / without:.2f}   <= 2")
    if goals is not GOALS:
        return
    if digits.exists():
        network = reading.read_network(digits, "digits")
        image = next(iter(load_digits().data))
        for bits in (8, 4):
            region = domains.region(64, image / np.linalg.norm(image), 1.0)
            bench_region(f"digits, {bits} bits", network, rounded(network, bits), region, 0.2, 20.0)
    for name, bits, radius, gap, limit in FILES:
        if (path := folder / name).exists():
            network = reading.read_network(path, name)
            region = domains.region(network.weights[0].shape[1], radius=radius)
            title = f"{name}, {bits} bits"
            bench_region(title, network, rounded(network, bits), region, gap, limit)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--part", choices=PARTS, help="one part")
    parser.add_argument("--digits", type=Path, default=ROOT / "runs" / "digits.npz")
    parser.add_argument(
        "--with-biases",
        type=Path,
        default=ROOT / "runs" / "digits_biases.npz",
        help="of `digits_target.py --biases`",
    )
    parser.add_argument(
        "--networks",
        type=Path,
        default=ROOT / "runs" / "networks",
        help="a folder with fc1.onnx and ACAS Xu, from the networks of Marabou",
    )
    args = parser.parse_args(argv)
    goals = QUICK if args.quick else GOALS
    parts = {
        "root": lambda: bench_root(goals),
        "tree": lambda: bench_tree(goals),
        "formula": lambda: bench_formula(goals),
        "layers": lambda: bench_layers(goals),
        "scip": lambda: bench_scip(goals),
        "digits": lambda: bench_digits(args.digits),
        "biases": lambda: bench_biases(goals, args.with_biases, args.networks),
    }
    devices.use_cores()
    on = devices.devices("cpu")
    print(f"{len(on)} cores (goals are for {CORES}), jax {jax.__version__}, eta {ETA:g}")
    for name, part in parts.items():
        if args.part in (None, name):
            part()


if __name__ == "__main__":
    main()
