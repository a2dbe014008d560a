"""Whole networks: how fast and how tight, as ratios within one run.

    python scripts/bench_network.py               # some minutes
    python scripts/bench_network.py --quick       # a first look

Ascent: the lower bound against plain Adam, and against exact values. Certificate: the upper bound
over exact values, found by SCIP (pyscipopt, of the test extra). Trials: the search against the
words alone, the share of the time that brackets take, and the default line. Hall: what distinct
neurons cost, by theory. Pool: the search of a whole layer in one pool against that of blocks with
as many candidates. Tickets: the digits network by nearest products and by subset sums.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from bench import words_alone

import ltjax
from ltjax import theory
from ltjax.counting import engine
from ltjax.experiments.network import device
from ltjax.masks import layer_pool, nearest
from ltjax.networks.hypotheses import factors
from ltjax.networks.pairs import Pair, difference
from ltjax.networks.pruned import active_weights
from ltjax.supnorm import ascent, certificate, max_min, sets
from ltjax.system import devices
from ltjax.tickets import archive, pruning, verifying
from ltjax.weights import draws

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from oracles import integer_program

ETA, SEED = 0.01, 0


def timed(step, repeat=3):
    """What `step` returns, and its least seconds, compilation apart."""
    step()
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        result = step()
        seconds.append(time.perf_counter() - begun)
    return result, min(seconds)


def targets(sizes, n):
    """Normal weights, divided until the theorem's hypotheses hold: n lists of matrices."""
    rng = np.random.default_rng(SEED)
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
    drawn = [[rng.normal(size=shape) for shape in shapes] for _ in range(n)]
    return [[w / max(factors(w)) for w in layers] for layers in drawn]


def two_sided(layers, rng):
    """Errors U[-eta, eta], those of the two sides of the first layer apart."""
    shapes = [(2 if i == 0 else 1, *w.shape) for i, w in enumerate(layers)]
    return [rng.uniform(-ETA, ETA, shape)[None] for shape in shapes]


def one_sided(layers, rng):
    """Noise N(0, eta^2) on every weight of a network."""
    return [rng.normal(size=(1, 1, *w.shape)) * ETA for w in layers]


def ticket(layers, rng):
    """The ticket that `ltjax ticket` would make for an epsilon of 0.1."""
    seed = int(rng.integers(2**32))
    made = pruning.prune(layers, epsilon=0.1, seed=seed, construction="blocks")
    return [error * made.scale for error in verifying.errors(made, layers).errors]


def pairs(sizes, n, errors):
    """n pairs as one, with a leading axis on weights and errors."""
    rng = np.random.default_rng(SEED + 1)
    layers = targets(sizes, n)
    found = [errors(one, rng) for one in layers]
    return Pair(
        tuple(map(np.stack, zip(*layers, strict=True))),
        tuple(map(np.concatenate, zip(*found, strict=True))),
    )


def one(many, i):
    """Pair i, with a leading axis of one on its errors."""
    return Pair(tuple(w[i] for w in many.weights), tuple(e[i : i + 1] for e in many.errors))


def single(many):
    """Weights and errors as the device holds them."""
    return [tuple(jnp.asarray(x, jnp.float32) for x in part) for part in many[:2]]


def adam(many, starts=32, steps=200):
    """Projected Adam with a cosine schedule; the best value that float64 finds at its points."""
    rule = optax.adam(optax.cosine_decay_schedule(0.1, steps))
    points = np.random.default_rng(SEED).normal(size=(starts, many.weights[0].shape[2]))
    points = jnp.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), jnp.float32)

    def climb(weights, errors, start):
        value = lambda x: jnp.abs(difference(Pair(weights, errors), x[:, None], jnp))[0, 0]

        def step(state, _):
            x, memory = state
            change, memory = rule.update(-jax.grad(value)(x), memory)
            x = x + change
            return (x / jnp.linalg.norm(x), memory), None

        return jax.lax.scan(step, (start, rule.init(start)), length=steps)[0][0]

    all_starts = jax.vmap(climb, (None, None, 0))
    run = jax.jit(jax.vmap(lambda weights, errors: all_starts(weights, errors, points)))
    found, seconds = timed(lambda: jax.block_until_ready(run(*single(many))))
    x = np.swapaxes(np.asarray(found, np.float64), 1, 2)
    return np.abs(difference(many, x))[:, 0].max(axis=1), seconds


def bench_ascent(networks, longer):
    many = pairs((16, 16, 1), networks, two_sided)
    (ours, _), seconds = timed(lambda: ascent.lower(many), 1)
    plain, plain_seconds = adam(many)
    best = np.maximum(ours, plain)
    for seed in range(longer):
        best = np.maximum(best, other_starts(many, seed))
    print(f"\nascent, {networks} networks 16-16-1, best known by {longer} x the starts, climbed:")
    for name, value in (("ours", ours), ("Adam, 32 starts x 200 steps", plain)):
        ratio = value / best
        print(f"  {name:<30} mean {ratio.mean():.4f}, worst {ratio.min():.4f}")
    print(f"  {'time, in that of Adam':<30} {seconds / plain_seconds:.2f}   <= 3")
    many = pairs((8, 8, 1), 20, two_sided)
    exact = np.array([integer_program(*plain_pair(many, i))[0] for i in range(20)])
    ratio = ascent.lower(many)[0] / exact
    share = np.mean(ratio >= 1 - 1e-4)
    print(
        f"  20 of 8-8-1: {100 * share:.0f} % within 1e-4 of exact (>= 50), worst {ratio.min():.4f}"
    )


def plain_pair(many, i):
    return [w[i] for w in many.weights], [e[i] for e in many.errors]


@jax.jit
def searched(weights, errors, starts):
    """The point that each pair's search finds from these starts."""
    find = lambda weights, errors: ascent.search(Pair(weights, errors), starts)[0]
    return jax.vmap(find)(weights, errors)


def other_starts(many, seed):
    """The same search and climb from other starts."""
    starts = np.random.default_rng(1000 + seed).normal(
        size=(ascent.STARTS, many.weights[0].shape[2])
    )
    starts = jnp.asarray(starts / np.linalg.norm(starts, axis=1, keepdims=True), jnp.float32)
    points = np.asarray(searched(*single(many), starts), np.float64)
    value = np.zeros(len(points))
    for i, x in enumerate(points):
        pair = Pair(*map(tuple, plain_pair(many, i)))
        value[i] = abs(difference(pair, ascent.climb(pair, x)[:, None])[0, 0])
    return value


def bench_certificate(networks):
    print("\ncertificate over exact, 8-8-1:")
    for name, errors in (
        ("noise of 1 % on every weight", one_sided),
        ("errors U[-0.01, 0.01], two sides", two_sided),
        ("tickets at epsilon 0.1", ticket),
    ):
        many = pairs((8, 8, 1), networks, errors)
        ratios = []
        for i in range(networks):
            exact = integer_program(*plain_pair(many, i))[1]
            ratios.append(certificate.upper(one(many, i))[0] / exact)
        print(f"  {name:<34} median {np.median(ratios):.3f}, worst {np.max(ratios):.3f}   <= 2.2")
    for sizes in ((8, 8, 1), (16, 16, 1), (8, 8, 8, 1)):
        layers, rng = targets(sizes, 1)[0], np.random.default_rng(SEED)
        errors = zip(*(two_sided(layers, rng) for _ in range(256)), strict=True)
        pair = Pair(tuple(layers), tuple(map(np.concatenate, errors)))
        quick = jax.jit(jax.vmap(lambda w, e: certificate.quick(Pair(w, e)), (None, 0)))
        low, seconds = timed(
            partial(lambda f, x: jax.block_until_ready(f(*x)), quick, single(pair))
        )
        high, host = timed(partial(certificate.upper, pair), 1)
        name = "-".join(map(str, sizes))
        print(
            f"  {name:<10} {1e6 * seconds / 256:.0f} us a network on the device, "
            f"{1e6 * host / 256:.0f} on the host; their ratio {np.median(low / high):.2f}"
        )


def bench_search():
    """One core, one block size of 8-8-1: the search against its words."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    problem = ltjax.network(blocks=(1024,), epsilons=(0.2,), constructions=("blocks",))
    lanes, block = device.lanes(problem.config), 1024
    target = tuple(jnp.asarray(w, jnp.float32) for w in problem.arrays)
    keys = draws.trial_key(jnp.zeros(lanes, jnp.uint32), jnp.arange(lanes, dtype=jnp.uint32))
    widths = jnp.array([block], jnp.int32)

    def search(*key):
        return device.prune(key, target, widths, "blocks")

    def words(*key):
        most = []
        for i, (n_out, n_in) in enumerate(problem.config.shapes):
            streams = (draws.stream(key, i, role) for role in (draws.HIDDEN, draws.OUTPUT))
            most.append(words_alone(*streams, -(-n_out // 2), block * n_in))
        return most

    step = jax.jit(jax.vmap(search))
    _, whole = timed(lambda: jax.block_until_ready(step(*keys)))
    floor = jax.jit(words)
    _, drawn = timed(lambda: jax.block_until_ready(floor(*keys)))
    print(f"\n8-8-1, block size {block}, one core:")
    print(f"  search, in the time of its random words alone  {whole / drawn:.2f}   <= 1.3")


def bench_pool(neurons, trials=10):
    """One layer 64 -> 32 of a ticket: every neuron serves all slots, or those of one input."""
    on = np.zeros(1, np.uint32)
    key = tuple(map(jnp.asarray, draws.trial_key(on, on)))
    layer = np.random.default_rng(SEED).normal(size=(32, 64)) / 16.0
    target = jnp.asarray(layer, jnp.float32)[..., None]
    pool = partial(layer_pool.search, lanes=pruning.POOL_LANES)
    steps = {
        name: partial(
            jax.jit(find, static_argnums=1), key, 0, target, jnp.array([width], jnp.int32)
        )
        for name, find, width in (
            ("blocks", nearest.blocks, 64 * neurons),
            ("pool", pool, neurons),
        )
    }
    took = dict.fromkeys(steps, np.inf)
    for _ in range(trials):  # by turns, as other work may come and go
        for name, step in steps.items():
            _, seconds = timed(lambda s=step: jax.block_until_ready(s()), 1)
            took[name] = min(took[name], seconds)
    print(f"\n64 -> 32, {neurons * 64 * 32 / 1e6:.0f} million candidates, one network:")
    for name, seconds in took.items():
        print(f"  {name:<8} {1e3 * seconds:.0f} ms")
    print(f"  blocks over pool  {took['blocks'] / took['pool']:.1f}   >= 4", flush=True)


def bench_trials(trials):
    """Whole trials, both constructions, at the block sizes of the theory: what brackets add.

    Without the formula, every pair gets an ascent and a certificate, and open ones a climb: what
    larger networks get, and networks of one hidden layer got in version 0.1.0.
    """
    devices.use_cores()
    on, took = devices.devices("cpu"), {}
    grid = ltjax.network(rules=("tight",)).grid.widths
    print(f"\n8-8-1, epsilon 0.5 and 0.2, {len(grid)} block sizes {grid[0]} to {grid[-1]}:")
    for name, rules, formula in (
        ("slot rules alone", ("slides", "tight"), True),
        ("and sup", ("slides", "tight", "sup"), True),
        ("and sup without the formula", ("slides", "tight", "sup"), False),
    ):
        asked = ltjax.network(blocks=grid, rules=rules, last="linear")
        with contextlib.ExitStack() as stack:
            for module in () if formula else (sets, max_min):
                stack.enter_context(mock.patch.object(module, "applies", return_value=False))
            engine._compiled.cache_clear()  # which knows nothing of the roads that are shut
            counted, took[name] = whole(asked, on, trials)
        worst = open_share(asked, counted, trials) if "sup" in rules else 0.0
        print(
            f"  {name:<28} {trials / took[name]:6.0f} trials a second, "
            f"{100 * worst:.1f} % undecided in the worst cell",
            flush=True,
        )
    ratio = took["and sup without the formula"] / took["and sup"]
    print(f"  trials a second with the formula, over those without: {ratio:.1f}   >= 10")


def bench_line(trials):
    """The default line as it is, with the grid of its pilot."""
    devices.use_cores()
    on = devices.devices("cpu")
    print("\ndefault line, compiling apart; undecided by sup in the worst cell:")
    for depth, most, goal in ((2, trials, "0.1"), (3, trials // 20, "3"), (4, trials // 50, "15")):
        asked = ltjax.network(depth=depth)
        counted, seconds = whole(asked, on, most)
        share = 100 * open_share(asked, counted, most)
        print(
            f"  depth {depth}, {len(asked.grid.widths)} block sizes: {most / seconds:7.1f} trials "
            f"a second; {share:5.1f} %   <= {goal}",
            flush=True,
        )


def whole(asked, on, trials):
    """The batches of so many trials, and their seconds without compiling."""
    program = engine.prepare(device, asked, on)
    list(engine.run(program, [(0, 1)]))  # compiles what the host calls, too
    begun = time.perf_counter()
    return list(engine.run(program, [(0, trials)])), time.perf_counter() - begun


def open_share(asked, batches, trials):
    """The share of trials that sup leaves undecided, in the cell with most of them."""
    decided = sum(batch.certified + batch.refuted for batch in batches)
    at = [c for c, criterion in enumerate(asked.criteria) if criterion.rule == "sup"]
    return 1.0 - decided[at].min() / trials


def bench_hall():
    """What distinct neurons cost, at the 40 widths over which curves rise: d = 64, 8 epsilons."""
    weights, epsilons = np.full(64, 0.125), np.geomspace(0.5, 0.01, 8)
    widths = np.geomspace(100, 10_000, 40).astype(int)
    law = lambda epsilon: theory.unmatched(weights, theory.tolerance("tight", 64, epsilon), widths)
    _, seconds = timed(lambda: [law(epsilon) for epsilon in epsilons])
    print(f"\nHall's bounds, d = 64, 40 widths, 8 epsilons: {seconds:.2f} s   <= 1")


def bench_tickets(seeds):
    """What tickets of the digits network at epsilon = 1 take, by rule and construction."""
    import digits_target  # wants the extra that has scikit-learn

    images, labels = digits_target.data()
    some = slice(-digits_target.HELD_OUT)
    layers = digits_target.train(jnp.asarray(images[some], jnp.float32), jnp.asarray(labels[some]))
    layers = [np.asarray(layer, np.float64) for layer in layers]
    ways = {
        "blocks": {"construction": "blocks"},
        "blocks, narrow": {"construction": "blocks", "narrow": True},
        "pooled": {"construction": "pooled"},
        "pooled, narrow": {"construction": "pooled", "narrow": True},
        "subset sums": {"rule": "subset"},
    }
    head = "hidden neurons", "weights kept", "bytes", "certified", "seconds, compiling included"
    print("\ntickets of the digits network, epsilon = 1, seed 0:")
    print(f"  {'':<15} {head[0]:>18} {head[1]:>13} {head[2]:>7} {head[3]:>9}  {head[4]}")
    for name, options in ways.items():
        begun = time.perf_counter()
        made = pruning.prune(layers, epsilon=1.0, **options)
        error = verifying.bracket(made, layers, lower=False)[1]
        seconds = time.perf_counter() - begun
        widths = " + ".join(f"{width:,}" for width in made.widths)
        kept, size = active_weights(made.neurons), len(archive.to_bytes(made))
        print(f"  {name:<15} {widths:>18} {kept:>13,} {size:>7,} {error:>9.3f}  {seconds:.1f}")
    sizes = [
        pruning.prune(layers, epsilon=1.0, rule="subset", seed=n).blocks[0] for n in range(seeds)
    ]
    print(f"  subset sums, {seeds} seeds: blocks of {min(sizes)} to {max(sizes)}, median ", end="")
    print(f"{np.median(sizes):g}", flush=True)


PARTS = {
    "hall": lambda quick: bench_hall(),
    "search": lambda quick: bench_search(),
    "pool": lambda quick: bench_pool(2400 if quick else 24400),
    "trials": lambda quick: bench_trials(200 if quick else 2000),
    "line": lambda quick: bench_line(400 if quick else 2000),
    "tickets": lambda quick: bench_tickets(3 if quick else 20),
    "ascent": lambda quick: bench_ascent(*((32, 2) if quick else (256, 30))),
    "certificate": lambda quick: bench_certificate(4 if quick else 20),
}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few networks, little time")
    parser.add_argument("--part", choices=PARTS, help="one part, in this process")
    args = parser.parse_args(argv)
    if args.part:
        PARTS[args.part](args.quick)
        return
    devices.use_cores()
    on = devices.devices("cpu")
    versions = devices.environment(on)
    names = ", ".join(f"{name} {versions[name]}" for name in ("python", "jax", "numpy"))
    print(f"{len(on)} cores, {names}", flush=True)
    for part in PARTS:
        command = [sys.executable, __file__, "--part", part, *["--quick"] * args.quick]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
