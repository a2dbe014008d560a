"""Before a run: is this machine sound, how fast is it, what would the run take?

The golden counts are what every platform and version must count from these seeds, to the integer:
a stream of words that moved, or a compiler that errs, shows here and not in a curve.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ltjax.counting import engine, plans, records
from ltjax.counting.tally import Tally, complement, intersect
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.network.config import Network
from ltjax.experiments.neuron.config import Neuron
from ltjax.experiments.neuron.problems import neuron
from ltjax.problem.experiment import experiment
from ltjax.problem.problem import Grid, Problem
from ltjax.system import devices
from ltjax.system.files import FilePath

SECONDS = 2.0  # of measuring a speed

NEURON = Problem(
    config=Neuron(dim=3),
    target=(0.5, -0.31, 0.02),
    grid=Grid(widths=(10, 30, 90, 270), epsilons=(0.4, 0.15)),
    seed=2026,
)
# Slot rules alone: where an ascent ends is no matter of integers.
NETWORK = Problem(
    config=Network(sizes=(2, 3, 1), rules=("slides", "tight")),
    target=(((0.6, -0.3), (0.45, 0.55), (-0.2, 0.02)), ((0.4, -0.57, 0.25),)),
    grid=Grid(widths=(30, 150, 600), epsilons=(0.5, 0.3)),
    seed=2026,
    experiment="network",
)
TRIALS = 300
# Certified trials, [criterion][width][epsilon].
GOLDEN = [
    [[0, 0], [1, 0], [32, 0], [215, 41]],
    [[1, 0], [67, 5], [250, 75], [300, 254]],
    [[27, 0], [166, 9], [299, 148], [300, 297]],
    [[132, 2], [243, 32], [300, 196], [300, 299]],
    [[2, 0], [44, 1], [227, 49], [300, 238]],
    [[69, 7], [259, 79], [300, 266], [300, 300]],
    [[164, 21], [298, 155], [300, 294], [300, 300]],
    [[1, 0], [35, 0], [226, 47], [300, 238]],
    [[60, 4], [256, 69], [300, 265], [300, 300]],
    [[158, 17], [298, 146], [300, 294], [300, 300]],
    [[231, 37], [299, 204], [300, 296], [300, 300]],
]


GOLDEN_NETWORK = [
    [[0, 0], [2, 0], [233, 91]],
    [[6, 0], [276, 191], [300, 300]],
    [[0, 0], [1, 0], [230, 98]],
    [[3, 1], [277, 196], [300, 300]],
]


def check(device: str) -> Iterator[str]:
    """Lines on versions, devices, known answers and speed; `WrongKernelError` for a wrong count."""
    on = devices.devices(device)
    found = devices.environment(on)
    yield ", ".join(f"{n} {found[n]}" for n in ("ltjax", "python", "jax", "jaxlib", "numpy"))
    yield f"devices: {_named(on)}, {devices.memory(on) / devices.GIB:.3g} GiB for a step on each"
    for problem, golden in ((NEURON, GOLDEN), (NETWORK, GOLDEN_NETWORK)):
        program = engine.prepare(_experiment(problem), problem, on, trials=TRIALS)
        counts = sum(batch.certified for batch in engine.run(program, [(0, TRIALS)]))
        if not np.array_equal(counts, golden):
            raise WrongKernelError(
                f"the compiled kernel of a {problem.experiment} is wrong: {TRIALS} trials give "
                "other counts than on every other machine."
            )
        yield f"known answers of a {problem.experiment}: as everywhere"
    problem = neuron()
    program = engine.prepare(_experiment(problem), problem, on)
    neurons = max(problem.grid.widths)
    rate = _rate(program, [(0, plans.MAX_TRIALS)])
    yield (
        f"speed: {rate:,.0f} trials a second of ltjax curve neuron, "
        f"{rate * neurons * (problem.config.dim + 1):.3g} weights drawn"
    )


def dry_run(
    problem: Problem,
    trials: int,
    out: FilePath | None = None,
    device: str = "auto",
    shard: plans.Shard | None = None,
    until: plans.Until | None = None,
    seconds: float = math.inf,
    memory: float | None = None,
    processes: int = 1,
) -> str:
    """What `api.run` with the same arguments would take. Reads a record, writes none.

    Args:
        processes: that run it together, each as fast as this one.
    """
    plans.check(problem, trials, shard, until, seconds)
    recorded = _recorded(problem, out)
    asked = complement(recorded.ranges if recorded else (), trials)
    if shard is not None:
        asked = intersect(asked, plans.share(shard, problem.config.trials_per_shard, trials))
    left = sum(stop - start for start, stop in asked)
    on = devices.devices(device)
    limit = devices.memory(on, memory)
    program = engine.prepare(_experiment(problem), problem, on, trials=trials, memory=limit)
    rate = _rate(program, [(0, plans.MAX_TRIALS)]) * processes
    needs = min(left / rate, seconds)
    criteria, widths, epsilons = problem.shape
    some = "" if shard is None else f" of shard {shard}"
    stops = "" if until is None else f", less if stopped: {until.to_json()}"
    return "\n".join(
        [
            f"{problem.experiment}, {problem.config.title}, seed {problem.seed}, "
            f"problem {problem.digest()}",
            f"points: {criteria} criteria x {widths} widths x {epsilons} epsilons",
            f"trials: {left:,} to run{some}, {trials:,} planned, "
            f"{recorded.trials if recorded else 0:,} recorded",
            f"devices: {_named(on)}, {program.lanes} trials abreast on each",
            f"memory: {program.memory / 2**20:,.0f} MiB of {limit / 2**20:,.0f} for a step on each",
            f"time: {needs:,.0f} s at {rate:,.0f} trials a second{stops}",
        ]
    )


def _experiment(problem: Problem):
    return experiment(problem.experiment).measured


def _named(on) -> str:
    return f"{len(on)} x {on[0].device_kind} ({on[0].platform})"


def _rate(program: engine.Program, ranges) -> float:
    """Trials a second of a program, without its first batch."""
    first, *batches = engine.run(program, ranges, seconds=SECONDS)
    timed = batches or [first]
    return sum(b.stop - b.start for b in timed) / sum(b.seconds for b in timed)


def _recorded(problem: Problem, out: FilePath | None) -> Tally | None:
    """What is in the record already, if there is one."""
    if out is None or not Path(out).exists():
        return None
    tally = records.load([out])
    if tally.problem != problem:
        raise InputError(f"{out} holds another problem; choose another --out.")
    return tally
