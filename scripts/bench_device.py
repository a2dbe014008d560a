"""What an accelerator does with ltjax, in six minutes, and whether it counts as a CPU does.

Every step runs in a process of its own that is stopped at its limit, so that one that fails, hangs
or compiles for ever costs no other step its turn. The most wanted come first, and those for which
no time remains are left out. After each step its results are appended to a file, one JSON object a
line:

    step, device, jax, what, value, unit    and, of what was timed, first_s, median_s, calls
    step, device, jax, ended, seconds       and, unless it is done, said: its last words

`first_s` includes compilation. What only the command line of ltjax needs may be missing.

    python scripts/bench_device.py --out device.jsonl             # about six minutes
    python scripts/bench_device.py --only nearest equal           # these steps, in this order
    python scripts/bench_device.py --quick                        # toy sizes, to try it on a CPU

Exits with 1 if a step failed or was stopped.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import bench

ROOT = Path(__file__).parents[1]
ROOM = 10.0  # seconds, below which no step is begun
CALLS = 3  # that are timed at least, after the first
LAST_WORDS = 2000  # characters
DONE, FAILED, STOPPED, LEFT_OUT = "done", "failed", "stopped at its limit", "left out"


class Sizes(NamedTuple):
    """How large everything is, and how long it is timed.

    seconds: for which calls are timed at least.
    dim, widths: of the neuron.
    network: d, n and l of the target network; its block sizes are the default ones.
    features: d, n of the random features, and widths; None for the default ones.
    copied: float32 numbers.
    drawn: trials and neurons whose words are drawn.
    searched: trials of a search.
    whole: lanes of the engine, of the pooled neuron and of the default one.
    compared, compared_networks: trials whose counts are compared, and `slots` whose slots are.
    lanes, network_lanes, feature_lanes: that are tried.
    eigen: order and number of symmetric matrices.
    """

    seconds: float
    dim: int
    widths: tuple[int, ...]
    network: tuple[int, int, int]
    features: tuple[int, int, tuple[int, ...] | None]
    copied: int
    drawn: tuple[int, int]
    searched: int
    whole: tuple[int, int]
    compared: int
    compared_networks: int
    slots: int
    lanes: tuple[int, ...]
    network_lanes: tuple[int, ...]
    feature_lanes: tuple[int, ...]
    eigen: tuple[tuple[int, int], ...]


FULL = Sizes(
    seconds=1.0,
    dim=bench.DIM,
    widths=bench.WIDTHS,
    network=(8, 8, 2),
    features=(5, 20, None),
    copied=2**29,
    drawn=(2**19, 512),
    searched=2**14,
    whole=(4096, 1024),
    compared=512,
    compared_networks=128,
    slots=2048,
    lanes=(2**14, 2**16, 2**12),
    network_lanes=(512, 4096),
    feature_lanes=(64, 256),
    eigen=((50, 4), (50, 64), (50, 1024), (150, 64)),
)
QUICK = Sizes(
    seconds=0.1,
    dim=2,
    widths=(16, 40),
    network=(2, 2, 2),
    features=(2, 3, (3, 6)),
    copied=2**12,
    drawn=(2**7, 32),
    searched=64,
    whole=(32, 32),
    compared=48,
    compared_networks=8,
    slots=32,
    lanes=(16, 32),
    network_lanes=(8,),
    feature_lanes=(2,),
    eigen=((4, 3),),
)
Found = Iterator[dict]


# What steps are made of. All that imports jax does so inside: only the processes of steps want it.


def card():
    """What every result is told with: the name of the device, and the version of jax."""
    import jax

    return {"device": here().device_kind, "jax": jax.__version__}


def here():
    """The device to be checked: what jax finds best."""
    from ltjax.system import devices

    return devices.devices()[0]


def result(what, value, unit, **more):
    return {"what": what, "value": value, "unit": unit, **more}


def clock(call):
    """Seconds until the result of a call is ready, and the result."""
    import jax

    begun = time.perf_counter()
    made = jax.block_until_ready(call())
    return time.perf_counter() - begun, made


def speed(sizes, what, call, amount, unit):
    """A result: `amount` over the median time of a call, which is told its number."""
    (first, _), seen = clock(partial(call, 0)), []
    while len(seen) < CALLS or sum(seen) < sizes.seconds:
        seen.append(clock(partial(call, len(seen) + 1))[0])
    median = statistics.median(seen)
    return result(what, amount / median, unit, first_s=first, median_s=median, calls=len(seen))


def neuron(sizes, *constructions):
    """The problem of one neuron: of the constructions named by the rules without a supremum, or
    the default one."""
    import ltjax

    chosen = {"constructions": constructions, "rules": ("slides", "tight", "l2")}
    grid = {"widths": sizes.widths, "epsilons": bench.EPSILONS}
    return ltjax.neuron(sizes.dim, **grid, **(chosen if constructions else {}))


def network(sizes):
    import ltjax

    return ltjax.network(*sizes.network)


def program(problem, lanes, on=None):
    """A problem compiled for one device."""
    from ltjax.counting import engine
    from ltjax.problem.experiment import experiment

    measured = experiment(problem.experiment).measured
    return engine.prepare(measured, problem, [on or here()], lanes=lanes)


def trials(sizes, name, problem, lanes):
    """A result: trials a second of the device's part, and the bytes that a step takes."""
    made = cache(partial(program, problem, lanes))  # the first call compiles
    step = lambda i: made().step(i * lanes)
    found = speed(sizes, f"{name}, {lanes} lanes", step, lanes, "trials/s")
    return found | {"memory": made().memory}


def search(sizes, construction, number):
    """A call that searches the first trials, so many of them; on the default device."""
    import jax
    import jax.numpy as jnp

    from ltjax.masks import nearest
    from ltjax.weights import draws

    problem, numbers = neuron(sizes, construction), jnp.arange(number, dtype=jnp.uint32)
    key = draws.trial_key(jnp.full_like(numbers, problem.seed), numbers)
    target = jnp.asarray(problem.arrays, jnp.float32).reshape(1, -1, 1)
    widths = jnp.array(problem.grid.widths, jnp.int32)
    find = getattr(nearest, construction)
    step = jax.jit(lambda key, target, widths: find(key, 0, target, widths))
    return lambda *_: step(key, target, widths)


# Steps: generators of results.


def step_device(sizes) -> Found:
    """Its memory and how fast it copies; the compiled kernel compared with known answers."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    on = here()
    if "bytes_limit" in (statistic := on.memory_stats() or {}):
        yield result("memory", statistic["bytes_limit"], "bytes")
    x = jnp.zeros(sizes.copied, jnp.float32)
    add = jax.jit(lambda x: x + 1.0)
    yield speed(sizes, "copy, reads and writes", lambda _: add(x), 2 * x.nbytes, "bytes/s")
    made = program(neuron(sizes), 64)
    outcome, _ = jax.tree.map(np.asarray, made.step(0))
    made.experiment.check(made.problem, np.arange(64), *outcome)  # ends the step unless it holds
    yield result("known answers", 64, "trials hold")


def step_words(sizes) -> Found:
    """Random words reduced to their maximum: no search is faster."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ltjax.weights import draws

    (number, neurons), pairs = sizes.drawn, max(sizes.dim // 2, 1)

    @jax.jit
    def most(start):
        numbers = jnp.arange(number, dtype=jnp.uint32) + start
        key = draws.trial_key(jnp.zeros_like(numbers), numbers)
        output, hidden = (draws.stream(key, 0, role) for role in (draws.OUTPUT, draws.HIDDEN))
        return bench.words_alone(output, hidden, pairs, neurons, written_out=16)

    blocks = number * neurons * (pairs + 1)
    call = lambda i: most(np.uint32(i * number))
    yield speed(sizes, "two of every block", call, 2 * blocks, "words/s")


def step_nearest(sizes) -> Found:
    """The search alone."""
    for construction in ("pooled", "blocks"):
        found = search(sizes, construction, sizes.searched)
        yield speed(
            sizes, f"{construction}, {sizes.searched} lanes", found, sizes.searched, "trials/s"
        )


def step_engine(sizes) -> Found:
    """Time of a trial on the device, in transfer and on the host; how many are settled there."""
    import jax
    import numpy as np

    from ltjax.counting import engine
    from ltjax.system import devices

    problems = {"pooled": neuron(sizes, "pooled"), "default": neuron(sizes)}
    for (name, problem), lanes in zip(problems.items(), sizes.whole, strict=True):
        made, numbers = program(problem, lanes), np.arange(lanes, 2 * lanes)
        clock(partial(made.step, 0))
        device, output = clock(partial(made.step, lanes))
        transfer, (outcome, ends) = clock(partial(jax.tree.map, np.asarray, output))
        with devices.own_settings():
            host, batch = clock(
                partial(engine.count, made.experiment, problem, numbers, outcome, ends)
            )
        for part, seconds in {"device": device, "transfer": transfer, "host": host}.items():
            yield result(f"{name}, {part}", 1e6 * seconds / lanes, "microseconds/trial")
        yield result(f"{name}, settled", batch.settled / lanes, "of all trials")


def step_equal(sizes) -> Found:
    """What the device counts and finds compared with a CPU, bit for bit."""
    import jax

    cpu = jax.devices("cpu")[0]

    def both(of):
        return tuple(of(on) for on in (here(), cpu))

    def cells(name, problem, number):
        of = lambda on: counts(problem, number, on)
        return unlike_counts(name, *both(of))

    yield from cells("neuron", neuron(sizes), sizes.compared)
    for construction in ("pooled", "blocks"):
        of = partial(slots, sizes, construction)
        yield from unlike_slots(construction, *both(of))
    yield from cells("network", network(sizes), sizes.compared_networks)


def counts(problem, number, on):
    """Of the first trials: certified and refuted, [2, criterion, width, epsilon]."""
    import jax
    import numpy as np

    from ltjax.counting import engine

    with jax.default_device(on):  # the ascent of the host's part runs there, too
        batches = list(engine.run(program(problem, min(number, 128), on), [(0, number)]))
    return np.array([sum(b.certified for b in batches), sum(b.refuted for b in batches)])


def unlike_counts(name, here, cpu) -> Found:
    unlike = int((here != cpu).any(axis=0).sum())
    yield result(f"{name}, cells unlike", unlike, f"of {cpu[0].size}")


def slots(sizes, construction, on):
    """Nearest products of the first trials."""
    import jax
    import numpy as np

    with jax.default_device(on):
        return jax.tree.map(np.asarray, search(sizes, construction, sizes.slots)())


def unlike_slots(name, here, cpu) -> Found:
    import numpy as np

    total = f"of {cpu.neuron.size}"
    yield result(f"{name}, neurons unlike", int((here.neuron != cpu.neuron).sum()), total)
    unlike = here.error.view(np.int32) != cpu.error.view(np.int32)
    yield result(f"{name}, errors unlike", int(unlike.sum()), total)
    yield result(f"{name}, errors off by", float(abs(here.error - cpu.error).max()), "at most")


def step_current(sizes) -> Found:
    """The device's part of a neuron, by lanes."""
    for construction in ("pooled", "blocks"):
        for lanes in sizes.lanes:
            yield trials(sizes, construction, neuron(sizes, construction), lanes)


def step_network(sizes) -> Found:
    """The device's part of a network; eigenproblems side by side, as of a relaxation."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    for lanes in sizes.network_lanes:
        yield trials(sizes, "network", network(sizes), lanes)
    rng, eigh = np.random.default_rng(0), jax.jit(jnp.linalg.eigh)
    for order, number in sizes.eigen:
        square = rng.normal(size=(number, order, order)).astype(np.float32)
        matrices = jnp.asarray(square + square.swapaxes(1, 2))
        call = lambda _, matrices=matrices: eigh(matrices)
        yield speed(sizes, f"eigh of {number}, order {order}", call, number, "matrices/s")


def step_features(sizes) -> Found:
    """The device's part of random features."""
    from ltjax.experiments.features.problems import features

    dim, count, widths = sizes.features
    problem = features(dim, count, widths=widths)
    for lanes in sizes.feature_lanes:
        yield trials(sizes, "features", problem, lanes)


class Step(NamedTuple):
    """One step, and how many seconds it may take."""

    limit: float
    run: Callable[[Sizes], Found]


STEPS = {  # the most wanted first
    "device": Step(90, step_device),
    "words": Step(40, step_words),
    "nearest": Step(80, step_nearest),
    "engine": Step(60, step_engine),
    "equal": Step(120, step_equal),
    "current": Step(90, step_current),
    "network": Step(90, step_network),
    "features": Step(45, step_features),
}


# The run.


def say(**line):
    print(json.dumps(line), flush=True)


def work(name, quick):
    """Run a step in this process: a line for the device, then one for each result."""
    say(**card())
    for found in STEPS[name].run(QUICK if quick else FULL):
        say(**found)


def attempt(name, quick, limit, programs):
    """Run a step in a process of its own: its records, of which the last tells how it ended.

    Args:
        limit: seconds, after which it is stopped; what it has found until then is kept.
        programs: folder of compiled programs, which the steps share.
    """
    command = [sys.executable, __file__, "--step", name, *["--quick"] * quick]
    paths = str(ROOT), os.environ.get("PYTHONPATH", "")
    settings = {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_COMPILATION_CACHE_DIR": programs,
    }
    begun = time.monotonic()
    try:
        made = subprocess.run(
            command, env=os.environ | settings, capture_output=True, timeout=limit
        )
        said, errors = made.stdout, made.stderr
        ended = FAILED if made.returncode else DONE
    except subprocess.TimeoutExpired as late:
        said, errors, ended = late.stdout or b"", late.stderr or b"", STOPPED
    end = {"ended": ended, "seconds": round(time.monotonic() - begun, 1)}
    if ended != DONE:
        end["said"] = errors.decode(errors="replace").strip()[-LAST_WORDS:]
    *lines, _ = said.decode(errors="replace").split("\n")  # the last may be half a line
    told = [json.loads(line) for line in lines if line.startswith("{")]
    on = told[0] if told else {"device": None, "jax": None}  # jax has not come up
    return [{"step": name, **on, **found} for found in [*told[1:], end]]


def run(names, quick, minutes, file):
    """Run the steps while there is time, and write what each has found; all records."""
    stop, records = time.monotonic() + 60 * minutes, []
    with tempfile.TemporaryDirectory() as programs:
        for name in names:
            left = stop - time.monotonic()
            # The limits are those of an accelerator: at toy size on a CPU there is one for all.
            limit = left if quick else min(STEPS[name].limit, left)
            if left >= ROOM:
                found = attempt(name, quick, limit, programs)
            else:
                on = {key: records[-1][key] if records else None for key in ("device", "jax")}
                found = [{"step": name, **on, "ended": LEFT_OUT, "seconds": 0.0}]
            file.writelines(json.dumps(record) + "\n" for record in found)
            file.flush()
            records += found
            print(f"{name:<10} {found[-1]['ended']}, {found[-1]['seconds']} s", flush=True)
    return records


def table(records):
    """A line for each result, and for each step that has not come to its end."""
    lines = []
    for record in records:
        if "what" in record:
            value, unit = record["value"], record["unit"]
            shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
            lines.append(f"{record['step']:<10} {record['what']:<34} {shown:>16} {unit}")
        elif record["ended"] != DONE:
            last = record.get("said", "").splitlines()[-1:]
            lines.append(": ".join([f"{record['step']:<10} {record['ended']}", *last]))
    names = sorted({f"{r['device']}, jax {r['jax']}" for r in records if r["device"]})
    return "\n".join(["; ".join(names) or "no device was found", *lines])


class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv=None):
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="device.jsonl", help="file that results are appended to")
    parser.add_argument("--minutes", type=float, default=5.5, help="after which all is stopped")
    parser.add_argument("--only", nargs="+", choices=STEPS, help="these steps, in this order")
    parser.add_argument("--quick", action="store_true", help="toy sizes")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.step:
        work(args.step, args.quick)
        return 0
    if not 0.0 < args.minutes < math.inf:
        parser.error(f"minutes must be above 0 and finite, got {args.minutes:g}.")
    try:
        file = open(args.out, "a", encoding="utf-8")  # noqa: SIM115  `run` may raise OSError, too
    except OSError as error:
        parser.error(f"out must be a file that can be written, got {args.out}: {error.strerror}.")
    with file:
        records = run(args.only or STEPS, args.quick, args.minutes, file)
    print("\n" + table(records))
    return int(any(record.get("ended") in (FAILED, STOPPED) for record in records))


if __name__ == "__main__":
    sys.exit(main())
