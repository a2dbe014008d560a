"""How fast, as ratios within one run. Seconds are nobody's business but this machine's.

Every part runs in a process of its own, the parts take turns, and medians are compared. The
baselines are what one would write without ltjax: they find one width and one epsilon.

    python scripts/bench.py                 # about three minutes
    python scripts/bench.py --rounds 1      # a first look
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

DIM, WIDTH, EPSILON, SEED = 16, 4096, 0.1, 0
WIDTHS = (512, 624, 752, 912, 1104, 1328, 1600, 1936, 2336, 2816, 3392, WIDTH)
EPSILONS = (0.2, 0.17, 0.14, 0.12, 0.1, 0.09, 0.08, 0.07)
SECONDS = 4.0  # of measuring, after a warm-up


def rate(step, trials):
    """Trials a second of `step`, which runs `trials` of them and waits for the result."""
    step(0)
    done, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < SECONDS:
        done += trials
        step(done)
    return done / passed


def target():
    return [DIM**-0.5 * (-1) ** i for i in range(DIM)]


def naive(batch):
    """jit(vmap) over networks drawn by jax.random, one device with all its threads."""
    import jax
    import jax.numpy as jnp

    w, eta = jnp.array(target()), EPSILON / DIM**0.5

    def trial(key):
        output_key, hidden_key = jax.random.split(key)
        A = jax.random.uniform(output_key, (WIDTH, 1), minval=-1.0, maxval=1.0)
        W = jax.random.uniform(hidden_key, (WIDTH, DIM), minval=-1.0, maxval=1.0)
        error = jnp.abs(A * W - w)
        plus = jnp.min(jnp.where(W > 0, error, jnp.inf), axis=0)
        minus = jnp.min(jnp.where(W < 0, error, jnp.inf), axis=0)
        return jnp.max(jnp.maximum(plus, minus)) <= eta

    @jax.jit
    def count(key, start):
        number = start + jnp.arange(batch)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, number)
        return jnp.sum(jax.vmap(trial)(keys))

    key = jax.random.key(SEED)
    return rate(lambda start: int(count(key, start)), batch)


def numpy_worker(_):
    """Chunks of eight networks, PCG64 in float32, every array in place."""
    import numpy as np

    rng, chunk = np.random.Generator(np.random.PCG64(os.getpid())), 8
    w, eta = np.array(target(), np.float32), EPSILON / DIM**0.5
    A, W = np.empty((chunk, WIDTH, 1), np.float32), np.empty((chunk, WIDTH, DIM), np.float32)
    error, side = np.empty_like(W), np.empty_like(W)

    def step(_):
        for weights in (A, W):
            rng.random(dtype=np.float32, out=weights)
            weights *= 2
            weights -= 1
        np.multiply(A, W, out=error)
        np.subtract(error, w, out=error)
        np.abs(error, out=error)
        worst = np.zeros((chunk, DIM), np.float32)
        for far in (np.float32(-1e30), np.float32(1e30)):  # beyond any error on the other side
            np.multiply(W, far, out=side)
            np.maximum(side, error, out=side)
            np.maximum(worst, side.min(axis=1), out=worst)
        return int(np.sum(worst.max(axis=1) <= eta))

    return rate(step, chunk)


def vectorised_numpy():
    cores = len(os.sched_getaffinity(0))
    with multiprocessing.get_context("spawn").Pool(cores) as pool:
        return sum(pool.map(numpy_worker, range(cores)))


def ours(widths, epsilons, number, rules=("slides", "tight", "l2")):
    """The engine as it stands: draws, search, repair, settling and counting."""
    from ltjax.counting import engine
    from ltjax.experiments.neuron import device
    from ltjax.experiments.neuron.config import Neuron
    from ltjax.problem.problem import Grid, Problem
    from ltjax.system import devices

    problem = Problem(
        config=Neuron(dim=DIM, constructions=("pooled",), rules=rules),
        target=tuple(target()),
        grid=Grid(widths=widths, epsilons=epsilons),
        seed=SEED,
    )
    devices.use_cores()
    on = devices.devices("cpu")[:number]
    program, trials = (
        engine.prepare(device, problem, on),
        16 * device.lanes(problem.config) * len(on),
    )
    step = lambda start: list(engine.run(program, [(start, start + trials)]))
    return rate(step, trials)


def general(rules):
    """Trials a second of `nearest`, fused or as anybody's rule: d = 8, a dozen widths to 512."""
    import ltjax
    from ltjax.counting import engine
    from ltjax.problem.experiment import experiment
    from ltjax.system import devices

    widths = tuple(range(32, 513, 40))
    problem = ltjax.neuron(8, (0.5, 0.2), widths, constructions=("blocks",), rules=rules)
    devices.use_cores()
    measured, on = experiment(problem.experiment).measured, devices.devices("cpu")
    program = engine.prepare(measured, problem, on)
    trials = 4 * program.size
    return rate(lambda start: list(engine.run(program, [(start, start + trials)])), trials)


def one_core(part):
    """Nothing of the process, the host's share included, on another core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return part()


def words_alone(shared, fan, pairs, neurons, written_out=8):
    """The maximum of all words of some neurons, one shared and `pairs` twice, as fast as we know.

    Eight neurons are written out in one fused loop, twice as fast as one at a time, and the shared
    word has a loop carry of its own, or the compiler would draw it once for every pair.

    Args:
        shared, fan: stream keys, words of shape [trial].
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ltjax.weights import draws

    numbers = np.arange(pairs, dtype=np.uint32)[:, None]

    def body(step, most):
        one, many = most
        for j in range(written_out):
            neuron = (step * written_out + j).astype(jnp.uint32)
            alone, _ = draws.word_pair(shared, neuron, np.uint32(0))
            even, odd = draws.word_pair(fan, neuron, numbers)
            one, many = jnp.maximum(one, alone), jnp.maximum(many, jnp.maximum(even, odd))
        return one, many

    most = jnp.zeros((pairs, shared[0].shape[-1]), jnp.uint32)
    one, many = jax.lax.fori_loop(0, neurons // written_out, body, (most[0], most))
    return jnp.maximum(many, one[None])


def floor(number):
    """The same words, reduced to their maximum, and nothing else."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.sharding import Mesh, PartitionSpec

    from ltjax.experiments.neuron import device
    from ltjax.experiments.neuron.config import Neuron
    from ltjax.system import devices
    from ltjax.weights import draws

    devices.use_cores()
    on = devices.devices("cpu")[:number]
    lanes = device.lanes(Neuron(dim=DIM))

    def local(start):
        trials = start + jax.lax.axis_index("trials").astype(jnp.uint32) * np.uint32(lanes)
        trials = trials + np.arange(lanes, dtype=np.uint32)
        key = draws.trial_key(jnp.zeros_like(trials), trials)
        output, hidden = (draws.stream(key, 0, role) for role in (draws.OUTPUT, draws.HIDDEN))
        return words_alone(output, hidden, DIM // 2, WIDTH)

    here, everywhere = PartitionSpec(None, "trials"), PartitionSpec()
    mesh = Mesh(np.array(on), "trials")
    step = jax.shard_map(local, mesh=mesh, in_specs=everywhere, out_specs=here, check_vma=False)
    step = jax.jit(step)
    return rate(lambda start: step(np.uint32(start)).block_until_ready(), lanes * len(on))


def help_seconds():
    begun = time.perf_counter()
    command = [sys.executable, "-m", "ltjax.cli.program", "--help"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


CORES = len(os.sched_getaffinity(0))
PARTS = {
    "naive jit(vmap), batch 8": lambda: naive(8),
    "naive jit(vmap), batch 512": lambda: naive(512),
    "numpy, a process a core": vectorised_numpy,
    "words alone": lambda: floor(CORES),
    "words alone, one core": lambda: one_core(lambda: floor(1)),
    "12 widths x 8 epsilons": lambda: ours(WIDTHS, EPSILONS, CORES),
    "12 widths x 8 epsilons, one core": lambda: one_core(lambda: ours(WIDTHS, EPSILONS, 1)),
    "1 width x 1 epsilon": lambda: ours((WIDTH,), (EPSILON,), CORES),
    "12 x 8 with the supremum": lambda: ours(
        WIDTHS, EPSILONS, CORES, ("slides", "tight", "l2", "sup")
    ),
    "blocks, fused": lambda: general(("slides", "tight", "l2", "sup")),
    "blocks, by the general road": lambda: general(("nearest", "slides", "tight", "l2", "sup")),
    "ltjax --help, seconds": help_seconds,
}


def report(median):
    """The ratios promised, beside their goals."""
    surface = median["12 widths x 8 epsilons"]
    lines = [
        ("over naive jit(vmap), batch 8", surface / median["naive jit(vmap), batch 8"], ">= 2"),
        ("over naive jit(vmap), batch 512", surface / median["naive jit(vmap), batch 512"], ">= 8"),
        ("over numpy", surface / median["numpy, a process a core"], ">= 1.4, better 2"),
        ("share of the words alone", surface / median["words alone"], ">= 0.7"),
        (
            "cost of the surface, in single points",
            median["1 width x 1 epsilon"] / surface,
            "<= 1.2",
        ),
        (f"{CORES} cores over one", surface / median["12 widths x 8 epsilons, one core"], ">= 1.8"),
        (
            "the same for the words alone",
            median["words alone"] / median["words alone, one core"],
            "",
        ),
        ("cost of the supremum", surface / median["12 x 8 with the supremum"], ""),
        (
            "the fused search over the general road",
            median["blocks, fused"] / median["blocks, by the general road"],
            "",
        ),
        ("ltjax --help, seconds", median["ltjax --help, seconds"], "< 0.4"),
    ]
    return "\n".join(f"{name:<40} {value:8.2f}   {goal}" for name, value, goal in lines)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="turns of every part")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.part:
        print(json.dumps(PARTS[args.part]()))
        return
    from ltjax.system import devices

    devices.use_cores()
    versions = devices.environment(devices.devices("cpu"))
    names = ", ".join(f"{name} {versions[name]}" for name in ("python", "jax", "numpy"))
    print(f"d = {DIM}, k = {WIDTH}, pooled, {CORES} cores, {names}; trials a second:")
    seen = {name: [] for name in PARTS}
    for _ in range(args.rounds):
        for name in PARTS:
            command = [sys.executable, __file__, "--part", name]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            seen[name].append(json.loads(run.stdout.splitlines()[-1]))
    median = {name: statistics.median(values) for name, values in seen.items()}
    for name, values in seen.items():
        print(f"{name:<40} {median[name]:12,.2f}   {min(values):,.2f} to {max(values):,.2f}")
    print("\n" + report(median))


if __name__ == "__main__":
    main()
