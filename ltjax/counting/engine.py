"""The trial axis: batches, lanes and the clock. The only module that batches.

A trial is a pure function of (problem, trial number). What is returned are integer counts over
ranges of trial numbers, so how the trials are cut into batches and devices cannot matter. Which
counts are the same on every processor, docs/reproducibility.md says.

An experiment is a module with

    lanes(config) -> int                            trials that a device does best side by side
    trial(key, target, widths, config) -> Outcome   pure, jitted here, one network
    check(problem, trials, *outcome)                known-answer check, raises WrongKernelError
    settle(problem, trials, *outcome) -> (lower, upper)   float64, on the host

where an Outcome begins with the fields lower and upper, a bracket on the error achieved by each
[criterion, width]; what else it has are arrays, or trees of them.
"""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

from ltjax.counting.processes import Alone, Piece
from ltjax.counting.tally import Batch
from ltjax.errors import InputError
from ltjax.problem.experiment import Measured
from ltjax.problem.problem import Problem
from ltjax.system import devices, interrupts
from ltjax.weights import draws

BATCH_SECONDS = 1.0  # of work in a batch, and what is lost at most when a run is killed
GROWTH = 4  # times by which a batch may outgrow the one before
LEAST_LANES = 16  # a whole vector of the processor
# How many times more trials another device than a core wants side by side; not yet measured.
ABREAST = {"cpu": 1}
MANY_ABREAST = 256


class Program(NamedTuple):
    """One problem, compiled.

    step: number of the first trial to outcome and verdicts of `size` trials.
    lanes: trials side by side on a device; they change memory and speed, never a count.
    size: trials of a step, on all devices of this process.
    memory: bytes that a step takes on each device, by the compiler's own count.
    """

    experiment: Measured
    problem: Problem
    step: Any
    lanes: int
    size: int
    memory: int


@devices.own_settings()
def prepare(
    experiment: Measured,
    problem: Problem,
    on: Sequence[jax.Device],
    trials: int | None = None,
    lanes: int | None = None,
    memory: float = math.inf,
) -> Program:
    """Compile the trial of an experiment for a mesh of devices.

    Args:
        experiment: module as described above.
        trials: number to run, as far as known; few are given few lanes.
        lanes: by default what the experiment likes best and memory allows.
        memory: bytes that a step may take on each device.
    """
    if lanes is None:
        lanes = experiment.lanes(problem.config) * ABREAST.get(on[0].platform, MANY_ABREAST)
        if trials is not None:
            lanes = min(lanes, max(LEAST_LANES, 1 << (trials // len(on)).bit_length()))
    mesh = Mesh(np.array(on), "trials", axis_types=(AxisType.Auto,))
    target = jax.tree.map(lambda w: np.asarray(w, np.float32), problem.arrays)
    widths = np.array(problem.grid.widths, np.int32)
    epsilons = _rounded_down(problem.grid.epsilons)
    swept = np.uint32(problem.seed), np.uint32(0), target, widths, epsilons
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), swept)
    while True:
        step, needed = _compiled(experiment, problem.config, mesh, lanes, shapes)
        if needed <= memory:
            break
        if lanes == 1:
            raise InputError(
                f"memory must be at least {needed / 2**30:.3g} GiB a device for this problem, "
                f"got {memory / 2**30:.3g}."
            )
        lanes = max(1, min(int(lanes * memory / needed), lanes // 2))

    def launch(start):
        return step(swept[0], np.uint32(start), *swept[2:])

    return Program(experiment, problem, launch, lanes, lanes * len(on), needed)


def run(
    program: Program,
    ranges: Iterable[Piece],
    team: Alone | None = None,
    seconds: float = math.inf,
) -> Iterator[Batch]:
    """Run the trials in `ranges`; yield their counts about once a second and at each range's end.

    A batch is yielded before the next range is drawn: who draws the ranges may look at the counts.

    Args:
        ranges: half-open ranges of trial numbers; those of the first process count.
        team: of processes that run this together, all of which yield the same batches.
        seconds: after which no batch is begun.

    Raises:
        KeyboardInterrupt: between two steps, and while one runs, once a signal asks to stop.
    """
    team = team or Alone()
    step = program.size * team.number
    many, checked, begun = step, False, time.perf_counter()

    def pieces() -> Iterator[Piece]:
        for first, stop in ranges:
            while first < stop:
                if time.perf_counter() - begun >= seconds:
                    return
                last = min(first + many, stop)
                yield first, last
                first = last

    planned = pieces()
    while (piece := team.agree(next(planned, None) if team.leads else None)) is not None:
        interrupts.check()
        clock = time.perf_counter()
        batch, checked = _count(program, team.share(piece), checked)
        batch = team.total(batch._replace(start=piece[0], stop=piece[1]))
        took = time.perf_counter() - clock
        # As many as a second takes, in whole steps.
        trials = (piece[1] - piece[0]) * min(BATCH_SECONDS / took, GROWTH)
        many = max(round(trials / step), 1) * step
        yield batch._replace(seconds=took)


@devices.own_settings()
def _count(program: Program, part: Piece, checked: bool) -> tuple[Batch, bool]:
    """Counts of some consecutive trials; the first ever are held against known answers.

    The last step overruns and the surplus is dropped: one shape, one compilation. The next step is
    under way while the host settles this one.
    """
    experiment, problem, step, _, size, _ = program
    (first, stop), zeros = part, np.zeros(program.problem.shape, np.int64)
    batch = Batch(first, stop, zeros, zeros, 0, 0, 0.0)
    under_way = [step(first)] if first < stop else []
    for start in range(first, stop, size):
        if start + size < stop:
            under_way.append(step(start + size))
        trials = np.arange(start, min(start + size, stop))
        here = lambda x: np.asarray(x)[: len(trials)]  # noqa: B023  used at once
        made = under_way.pop(0)
        interrupts.wait(lambda: _ready(made))  # noqa: B023
        outcome, ends = jax.tree.map(here, made)
        if not checked:
            experiment.check(problem, trials, *outcome)
            checked = True
        batch = _add(batch, count(experiment, problem, trials, outcome, ends))
    return batch, checked


def _ready(outputs) -> bool:
    """Whether all arrays of a tree can be read without waiting, as those of numpy always can."""
    return all(x.is_ready() for x in jax.tree.leaves(outputs) if hasattr(x, "is_ready"))


def verdicts(lower, upper, epsilons):
    """Verdicts on descending epsilons, as the numbers of those certified and of those refuted.

    Every epsilon from the largest down to upper is certified, every one below lower is refuted;
    those between stay open.
    """
    certified = sum((upper <= epsilon).astype(np.int32) for epsilon in epsilons)
    refuted = sum((lower > epsilon).astype(np.int32) for epsilon in epsilons)
    return certified, refuted


def count(experiment: Measured, problem: Problem, trials, outcome, ends) -> Batch:
    """Count some consecutive trials in every cell, once what is open is settled.

    Args:
        outcome: of the trials, from the device.
        ends: `verdicts` of the outcome, each int32 [trial, criterion, width].
    """
    epsilons = problem.grid.epsilons
    certified, refuted = (np.array(x) for x in ends)
    at = np.flatnonzero((certified + refuted < len(epsilons)).any(axis=(1, 2)))
    if len(at):
        open_ones = jax.tree.map(lambda x: x[at], tuple(outcome))
        lower, upper = experiment.settle(problem, trials[at], *open_ones)
        certified[at], refuted[at] = verdicts(lower, upper, epsilons)
    # A trial with a NaN anywhere is broken as a whole: it counts, and in no cell as a success.
    broken = np.isnan(outcome[0]).any(axis=(1, 2)) | np.isnan(outcome[1]).any(axis=(1, 2))
    return Batch(
        start=int(trials[0]),
        stop=int(trials[-1]) + 1,
        certified=_at_least(certified[~broken], len(epsilons)),
        refuted=_at_least(refuted[~broken], len(epsilons))[..., ::-1],
        invalid=int(broken.sum()),
        settled=len(at),
        seconds=0.0,
    )


def _at_least(numbers, most: int) -> np.ndarray:
    """How many of the trials have at least 1, ..., `most`: int64 [criterion, width, most]."""
    cells = np.prod(numbers.shape[1:], dtype=int)
    code = numbers.reshape(-1, cells) + np.arange(cells) * (most + 1)
    histogram = np.bincount(code.ravel(), minlength=cells * (most + 1))
    histogram = histogram.reshape(*numbers.shape[1:], most + 1)
    return histogram[..., :0:-1].cumsum(axis=-1)[..., ::-1]


def _rounded_down(epsilons) -> np.ndarray:
    """The largest float32 up to each epsilon: no float32 compares otherwise with the two."""
    single = np.float32(epsilons)
    return np.where(single > np.float64(epsilons), np.nextafter(single, np.float32(0)), single)


def _add(done: Batch, new: Batch) -> Batch:
    sums = {name: getattr(done, name) + getattr(new, name) for name in Batch._fields[2:]}
    return done._replace(**sums)


@cache
def _compiled(experiment, config, mesh, lanes, shapes):
    """One program for a configuration, and its memory; all that may be swept is an argument."""

    def local(seed, start, target, widths, epsilons):
        number = np.arange(lanes, dtype=np.uint32)
        trials = start + jax.lax.axis_index("trials").astype(np.uint32) * np.uint32(lanes) + number
        keys = draws.trial_key(jnp.broadcast_to(seed, trials.shape), trials)
        one = lambda key: experiment.trial(key, target, widths, config)
        outcome = jax.vmap(one)(keys)
        return outcome, verdicts(outcome.lower, outcome.upper, epsilons)

    here, everywhere = PartitionSpec("trials"), PartitionSpec()
    # Trials exchange nothing, so there is no replication to check.
    sharded = jax.shard_map(local, mesh=mesh, in_specs=everywhere, out_specs=here, check_vma=False)
    step = jax.jit(sharded).lower(*shapes).compile()
    used = step.memory_analysis()
    # While the host reads one step's output, the next step runs.
    return step, used.temp_size_in_bytes + 2 * used.output_size_in_bytes
