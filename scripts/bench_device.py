"""What an accelerator does with ltjax as it stands: six minutes, most wanted first.

    python scripts/bench_device.py --out runs/device.jsonl
    python scripts/bench_device.py --minutes 3 --only device nearest equal
    python scripts/bench_device.py --quick                    # toy sizes, on any machine

Each step is a process of its own, with a time limit of its own: one that fails, hangs or compiles
for ever costs its limit and nothing else. Its results, and how it ended, are lines of JSON, on disk
before the next step begins; each bears the name of the device. Steps for which no time is left are
said to be left out. Needs jax and ltjax, nothing of the command line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

DIM, WIDTH, SEED = 16, 4096, 0
WIDTHS = (512, 752, 1104, 1600, 2336, 3392, WIDTH)
EPSILONS = (0.2, 0.14, 0.1, 0.07)
LEAST = 10.0  # seconds without which a step is not begun
QUICK = os.environ.get("LTJAX_BENCH_QUICK") == "1"  # as the steps are told


def tell(**found):
    """One result, on a line that the parent knows."""
    print("RESULT " + json.dumps(found), flush=True)


def sized(full, quick):
    return quick if QUICK else full


def seconds(run, ready, least=1.0):
    """Median seconds of a call once it is compiled, and what the first one took."""
    begun = time.perf_counter()
    ready(run(0))
    first, seen = time.perf_counter() - begun, []
    while sum(seen) < sized(least, 0.01) or len(seen) < 3:
        begun = time.perf_counter()
        ready(run(len(seen) + 1))
        seen.append(time.perf_counter() - begun)
    return {"seconds": sorted(seen)[len(seen) // 2], "first": first}


def asked(kind):
    """The problem of a step: `pooled` or `blocks` by slot rules, `both` by all, or `network`."""
    import ltjax

    if kind == "network":
        size = sized(8, 2)
        return ltjax.network(size, size, 2, (0.5, 0.2), sized(None, (8, 30)))
    rules = ("slides", "tight", "l2", "sup") if kind == "both" else ("slides", "tight", "l2")
    constructions = ("blocks", "pooled") if kind == "both" else (kind,)
    dim, widths = sized(DIM, 3), sized(WIDTHS, (16, 40))
    return ltjax.neuron(dim, EPSILONS, widths, "worst", constructions, rules, SEED)


def measured(problem):
    from ltjax.problem.experiment import experiment

    return experiment(problem.experiment).measured


def prepared(problem, lanes, on):
    from ltjax.counting import engine

    return engine.prepare(measured(problem), problem, on, lanes=lanes)


def here():
    """The device of this step, alone."""
    from ltjax.system import devices

    return devices.devices()[:1]


# The steps.


def device():
    """Which card, how fast it copies, and whether the kernels give known answers on it."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    (card,) = here()
    stats = card.memory_stats() or {}
    tell(what="card", memory=stats.get("bytes_limit"), jax=jax.__version__)
    numbers = jnp.zeros(sized(2**28, 2**16), jnp.float32)
    add = jax.jit(lambda x: x + 1.0)
    took = seconds(lambda _: add(numbers), jax.block_until_ready)
    tell(what="copy", bytes_a_second=2 * numbers.nbytes / took["seconds"], **took)
    for kind in ("both", "network"):
        problem, lanes = asked(kind), sized(64, 16)
        outcome, _ = jax.tree.map(np.asarray, prepared(problem, lanes, [card]).step(0))
        measured(problem).check(problem, np.arange(lanes), *outcome)
        tell(what="known answers", kind=kind, passed=True)


def words():
    """Random words a second, of which only the largest is kept."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ltjax.weights import draws

    trials, steps, unroll = sized(2**17, 2**7), sized(16, 2), sized(32, 2)
    pair = np.arange(8, dtype=np.uint32)[:, None]

    def largest(start):
        number = jnp.arange(trials, dtype=jnp.uint32) + start
        key = draws.trial_key(jnp.zeros_like(number), number)

        def body(step, most):  # written out: one kernel, one reading and writing of the largest
            for j in range(unroll):
                neuron = (step * unroll + j).astype(jnp.uint32)
                for word in draws.word_pair(tuple(k[None] for k in key), neuron, pair):
                    most = jnp.maximum(most, word)
            return most

        return jax.lax.fori_loop(0, steps, body, jnp.zeros((8, trials), jnp.uint32))

    run = jax.jit(largest)
    took = seconds(lambda n: run(np.uint32(n * trials)), jax.block_until_ready)
    tell(what="words", words_a_second=2 * 8 * unroll * steps * trials / took["seconds"], **took)


def nearest(construction):
    """Trials a second of the search alone."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ltjax.masks import nearest
    from ltjax.weights import draws

    problem, trials = asked(construction), sized(2**14, 2**6)
    target = jnp.asarray(problem.arrays, jnp.float32)[None, :, None]
    grid = jnp.array(problem.grid.widths, jnp.int32)
    number = jnp.arange(trials, dtype=jnp.uint32)
    search = jax.jit(getattr(nearest, construction), static_argnums=1)

    def run(n):
        key = draws.trial_key(jnp.full(trials, n, jnp.uint32), number)
        return search(key, 0, target, grid)

    took = seconds(run, jax.block_until_ready)
    rate = trials / took["seconds"]
    tell(what="nearest", kind=construction, trials=trials, trials_a_second=rate, **took)
    assert np.isfinite(np.asarray(run(0).error)).all()


def engine():
    """The host's share of a trial beside the device's, and how many trials it settles."""
    import jax
    import numpy as np

    from ltjax.counting import engine

    for kind, lanes in (("pooled", sized(4096, 32)), ("both", sized(1024, 32))):
        problem = asked(kind)
        program = prepared(problem, lanes, here())
        outcome, ends = jax.tree.map(np.asarray, program.step(0))
        begun = time.perf_counter()
        batch = engine.count(measured(problem), problem, np.arange(lanes), outcome, ends)
        host = time.perf_counter() - begun
        took = seconds(lambda n, p=program, k=lanes: p.step(n * k), jax.block_until_ready)
        shares = {"host": host / lanes, "device": took["seconds"] / lanes}
        tell(what="shares", kind=kind, lanes=lanes, settled=batch.settled / lanes, **shares)


def equal():
    """Counts of the device against those of the CPU, to the integer."""
    import jax
    import numpy as np

    from ltjax.counting import engine

    for kind, trials in (("both", sized(512, 16)), ("network", sized(128, 8))):
        problem, counts = asked(kind), {}
        for name, on in (("cpu", jax.devices("cpu")[:1]), ("device", here())):
            with jax.default_device(on[0]):
                batches = list(engine.run(prepared(problem, trials, on), [(0, trials)]))
            counts[name] = [
                sum(getattr(b, side) for b in batches) for side in ("certified", "refuted")
            ]
        unlike = sum(
            int(np.sum(one != other))
            for one, other in zip(counts["cpu"], counts["device"], strict=True)
        )
        tell(what="counts", kind=kind, trials=trials, cells_unlike=unlike)


def current():
    """Trials a second of the device's part, by lanes."""
    import jax

    for kind in ("pooled", "blocks"):
        for lanes in sized((4096, 16384, 65536), (16, 32)):
            program = prepared(asked(kind), lanes, here())
            took = seconds(lambda n, p=program, k=lanes: p.step(n * k), jax.block_until_ready)
            rate = lanes / took["seconds"]
            tell(what="trial", kind=kind, lanes=lanes, trials_a_second=rate, **took)


def network():
    """Trials a second of a network by lanes, and the eigenproblems of the relaxation."""
    import jax
    import numpy as np

    for lanes in sized((512, 4096), (8,)):
        program = prepared(asked("network"), lanes, here())
        took = seconds(lambda n, p=program, k=lanes: p.step(n * k), jax.block_until_ready)
        rate = lanes / took["seconds"]
        tell(what="trial", kind="network", lanes=lanes, trials_a_second=rate, **took)
    eigenvalues = jax.jit(jax.numpy.linalg.eigh)
    for size, batch in sized(((50, 4), (50, 1024), (150, 64)), ((8, 4),)):
        half = np.random.default_rng(0).normal(size=(batch, size, size)).astype(np.float32)
        whole = half + half.swapaxes(1, 2)
        took = seconds(lambda _, a=whole: eigenvalues(a), jax.block_until_ready)
        tell(what="eigh", size=size, batch=batch, each=took["seconds"] / batch, **took)


STEPS = {  # name: seconds at most, and what; the most wanted first
    "device": (90, device),
    "nearest": (60, partial(nearest, "pooled")),
    "words": (40, words),
    "engine": (60, engine),
    "equal": (90, equal),
    "current": (90, current),
    "network": (60, network),
    "blocks": (60, partial(nearest, "blocks")),
}


def step(name, limit, environment):
    """Run one step in a process of its own; its results, and a last line that says how it ended."""
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, str(Path(__file__).resolve()), "--step", name]
        try:
            done = subprocess.run(
                command, stdout=said, stderr=subprocess.STDOUT, env=environment, timeout=limit,
                check=False,
            )  # fmt: skip
            ended = "done" if done.returncode == 0 else f"failed, {done.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {limit:.0f} s"
        said.seek(0)
        lines = said.read().splitlines()
    found = [json.loads(line[7:]) for line in lines if line.startswith("RESULT ")]
    why = {} if ended == "done" else {"said": "\n".join(lines[-5:])[-600:]}
    took = round(time.monotonic() - begun, 1)
    return [{"step": name, **one} for one in found] + [
        {"step": name, "ended": ended, "took": took, **why}
    ]


def row(found):
    """One result as a line of the table."""
    hidden = {"step", "device", "said", "first"}
    values = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in found.items()
        if name not in hidden
    )
    return f"{found['step']:<8} {', '.join(values)}"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/device.jsonl"))
    parser.add_argument("--minutes", type=float, default=6.0, help="of all steps together")
    parser.add_argument("--only", nargs="+", choices=STEPS, metavar="STEP")
    parser.add_argument("--quick", action="store_true", help="toy sizes, to try it out")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.step:
        STEPS[args.step][1]()
        return
    if not args.minutes > 0.0:
        parser.error(f"minutes must be above 0, got {args.minutes:g}.")
    import jax

    card = jax.devices()[0]
    name = f"{card.device_kind} ({card.platform})"
    end = time.monotonic() + 60.0 * args.minutes
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as programs, open(args.out, "w") as out:
        environment = os.environ | {
            "LTJAX_BENCH_QUICK": "1" if args.quick else "0",
            "JAX_COMPILATION_CACHE_DIR": programs,  # steps share them
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # this process holds the device, too
        }
        for wanted in args.only or STEPS:
            limit = min(STEPS[wanted][0], end - time.monotonic())
            left_out = [{"step": wanted, "ended": "left out, no time"}]
            for found in step(wanted, limit, environment) if limit >= LEAST else left_out:
                out.write(json.dumps({"device": name, **found}) + "\n")
                print(row(found), flush=True)
            out.flush()
            os.fsync(out.fileno())
    print(f"{name}: {args.out}")


if __name__ == "__main__":
    main()
