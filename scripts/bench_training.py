"""What side by side saves in training, as ratios within one run; and what a ticket saves.

    python scripts/bench_training.py                       # about five minutes on one core
    python scripts/bench_training.py --steps 100 --rounds 1 --without-imp    # a first look

Ten dense networks on digits are trained together under vmap, one after another by one compiled
program, and by the usual loop in Python over a compiled step. What is compiled is not timed; the
ways take turns, and medians are compared. Then a ticket of a fifth of the weights: the bytes that
it takes, and the time of a forward pass as dense matrices and as sparse rows (CSR) of scipy.
"""

import argparse
import os
import statistics
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import sparse

import ltjax
from ltjax.experiments.training import mlp
from ltjax.experiments.training.problems import imp
from ltjax.networks import pairs
from ltjax.system import devices
from ltjax.weights import draws

SEEDS, KEEP, SEED_BYTES = 10, 0.2, 8
BATCHES = (1, 360)
PEAK = 1500  # rows of a product at full speed


def seconds(work, repeats=1):
    begun = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(work())
    return (time.perf_counter() - begun) / repeats


def turns(ways, rounds):
    """Median seconds of each way, after a first turn that compiles."""
    taken = [{name: seconds(way) for name, way in ways.items()} for _ in range(rounds + 1)][1:]
    return {name: statistics.median(turn[name] for turn in taken) for name in ways}


def ways_to_train(width, steps):
    """Ten seeds by each way, as functions without arguments."""
    problem = imp("digits", (width,), steps=steps)
    config, data = problem.config, jax.tree.map(jnp.float32, problem.arrays)
    trials = np.arange(SEEDS, dtype=np.uint32)
    keys = tuple(map(jnp.asarray, draws.trial_key(np.zeros_like(trials), trials)))
    each = [tuple(word[n] for word in keys) for n in range(SEEDS)]
    dense = jax.jit(lambda key: mlp.dense(key, data, width, config).accuracy)
    together = jax.jit(jax.vmap(lambda key: mlp.dense(key, data, width, config).accuracy))
    by_loop = partial(loop, data=data, width=width, config=config, step=usual_step(config, data))
    return {
        "side by side": lambda: together(keys),
        "one after another": lambda: [dense(key) for key in each],
        "a loop in Python": lambda: [by_loop(key) for key in each],
    }


def arithmetic(width, steps):
    """Operations of the matrix products of all seeds, in 1e9: no slope by the inputs is taken."""
    config = imp("digits", (width,), steps=steps).config
    return 2e-9 * SEEDS * steps * config.batch * width * (2 * 65 + 3 * 10)


def peak():
    """1e9 operations a second of a large product of matrices in float32, on one device."""
    x = jnp.ones((PEAK, PEAK), jnp.float32)
    product = jax.jit(jnp.matmul)
    return 2e-9 * PEAK**3 / turns({"": lambda: product(x, x)}, 5)[""]


def usual_step(config, data):
    rule = optax.adam(config.rate)

    @jax.jit
    def step(layers, memory, key, number):
        x, y = mlp.minibatch(key, number, data.x_train, data.y_train, config.batch)
        slope = jax.grad(mlp.loss)(layers, x, y)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
            change, memory = rule.update(slope, memory)
        return optax.apply_updates(layers, change), memory

    return step


def loop(key, data, width, config, step):
    """One network, a call a step, as one would write it without `mlp.descend`; it never stops."""
    layers = mlp.initial(key, mlp.layer_sizes(data, width, config.hidden), mlp.FIRST)
    memory = optax.adam(config.rate).init(layers)
    for number in range(config.steps):
        layers, memory = step(layers, memory, key, jnp.int32(number))
    return mlp.accuracy(layers, data.x_test, data.y_test)


def ticket(width):
    """Layers of a network of which a fifth is kept by lot: where they are does not matter here."""
    rng = np.random.default_rng(0)
    shapes = (width, 65), (10, width)
    return [
        (rng.normal(size=shape) * (rng.random(shape) < KEEP)).astype(np.float32) for shape in shapes
    ]


def sizes(layers, rows):
    """Bytes by how a ticket is stored. A seed is enough only where weights are as drawn."""
    mask = sum(len(np.packbits(layer != 0.0)) for layer in layers)
    return {
        "dense float32": sum(layer.nbytes for layer in layers),
        "sparse rows": sum(r.data.nbytes + r.indices.nbytes + r.indptr.nbytes for r in rows),
        "mask and trained weights": mask + sum(r.data.nbytes for r in rows),
        "mask and seed": mask + SEED_BYTES,
    }


def inference(layers, rows, batch, repeats):
    """Median seconds of a forward pass by numpy and by scipy, of 7 times `repeats` passes."""
    x = np.random.default_rng(1).normal(size=(65, batch)).astype(np.float32)

    def dense():
        return layers[1] @ np.maximum(layers[0] @ x, 0.0)

    def compressed():
        return rows[1] @ np.maximum(rows[0] @ x, 0.0)

    np.testing.assert_allclose(dense(), compressed(), rtol=1e-3, atol=1e-3)
    wanted = pairs.forward(layers, x.T).T
    np.testing.assert_allclose(dense(), wanted, rtol=1e-3, atol=1e-3)
    ways = {"dense": dense, "sparse": compressed}
    taken = [{name: seconds(way, repeats) for name, way in ways.items()} for _ in range(7)]
    return {name: statistics.median(turn[name] for turn in taken) for name in ways}


def tell(name, value, unit=""):
    print(f"{name:<58} {value:10,.2f}   {unit}".rstrip(), flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3, help="turns of every way")
    parser.add_argument("--passes", type=int, default=300, help="forward passes in a time")
    parser.add_argument("--without-imp", action="store_true", help="leave out the default run")
    args = parser.parse_args(argv)
    devices.use_cores()
    print(f"{len(os.sched_getaffinity(0))} cores, jax {jax.__version__}, {SEEDS} seeds of digits")
    fastest = peak()
    for width in args.widths:
        taken = turns(ways_to_train(width, args.steps), args.rounds)
        together = taken.pop("side by side")
        tell(f"n = {width}, {args.steps} steps side by side", together, "s")
        for name, time_of in taken.items():
            tell(f"  {name}, over that", time_of / together, ">= 3")
        speed = arithmetic(width, args.steps) / together
        tell("  products, share of the speed of a large one", speed / fastest)
    for width in args.widths:
        layers = ticket(width)
        rows = [sparse.csr_array(layer) for layer in layers]
        stored = sizes(layers, rows)
        for name, number in stored.items():
            share = f"bytes, {number / stored['dense float32']:.3f} of dense"
            tell(f"n = {width}, {KEEP:g} kept: {name}", number, share)
        for batch in BATCHES:
            taken = inference(layers, rows, batch, args.passes)
            tell(f"  {batch} inputs, dense", 1e6 * taken["dense"], "us")
            tell(f"  {batch} inputs, sparse rows over dense", taken["sparse"] / taken["dense"])
    if not args.without_imp:
        begun = time.perf_counter()
        tally = ltjax.run(imp(), SEEDS)
        tell("default imp run, compiling included", time.perf_counter() - begun, "s, < 300")
        tell("  of which trials", tally.seconds, "s")


if __name__ == "__main__":
    main()
