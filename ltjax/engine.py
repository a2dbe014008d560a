"""The trial axis: batches, devices and the clock. The only module that batches.

A trial is a pure function of (problem, trial number). What is returned are integer counts over
ranges of trial numbers, so how the trials are cut into batches and devices cannot matter.

An experiment is a module with

    lanes(config) -> int                            trials that a device does best side by side
    trial(key, target, widths, config) -> Outcome   pure, jitted here, one network
    check(problem, trials, *outcome)                known-answer check, raises WrongKernelError
    settle(problem, trials, *outcome) -> (lower, upper)   float64, on the host

where an Outcome begins with the fields lower and upper, a bracket on the error achieved by each
[criterion, width].
"""

import contextlib
import os
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from types import ModuleType

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
from jax.sharding import AxisType, Mesh, PartitionSpec

import ltjax
from ltjax import draws
from ltjax.problem import InputError, Problem
from ltjax.tally import Batch

BROKEN_JAXLIB = "0.10.2"  # its CPU compiler silently returns wrong values (jax issue 39103)
BATCH_SECONDS = 1.0  # what is lost at most when a run is killed


def devices(kind: str = "auto") -> list[jax.Device]:
    """The devices of this process to run on; `InputError` where there is none of that kind.

    Args:
        kind: auto (whatever jax finds best), cpu, gpu or tpu. Never falls back to another.
    """
    if jaxlib.__version__ == BROKEN_JAXLIB:
        raise InputError(
            f"jaxlib must not be {BROKEN_JAXLIB}, which computes wrong values on CPU; "
            "pip install 'jax!=0.10.2'."
        )
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # a backend is up, with the devices it has
            jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    try:
        return jax.local_devices() if kind == "auto" else jax.local_devices(backend=kind)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no such backend"
        raise InputError(f"device must be present, got {kind}: {reason}") from None


def environment(on: Sequence[jax.Device]) -> dict:
    """What repeating a run takes: versions, platform and settings of jax. JSON."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("JAX_")}
    return {
        "ltjax": ltjax.__version__,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "numpy": np.__version__,
        "platform": on[0].platform,
        "device": on[0].device_kind,
        "x64": jnp.zeros(0).dtype == np.float64,
        "settings": settings | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "")},
    }


def run(
    experiment: ModuleType,
    problem: Problem,
    ranges: Iterable[tuple[int, int]],
    on: Sequence[jax.Device],
    lanes: int | None = None,
) -> Iterator[Batch]:
    """Run the trials in `ranges`; yield their counts about once a second and at each range's end.

    Args:
        experiment: module as described above.
        ranges: half-open ranges of trial numbers.
        on: devices, one mesh.
        lanes: trials side by side on a device; changes memory and speed, never a count.
    """
    ranges = list(ranges)
    # No more lanes than a short run fills, but a whole vector of them.
    fills = sum(stop - start for start, stop in ranges) // len(on)
    lanes = lanes or min(experiment.lanes(problem.config), max(16, 1 << fills.bit_length()))
    mesh = Mesh(np.array(on), "trials", axis_types=(AxisType.Auto,))
    step = _compiled(experiment, problem.config, mesh, lanes)
    target = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), problem.weights)
    widths = jnp.asarray(problem.grid.widths, jnp.int32)
    epsilons = jnp.asarray(_rounded_down(problem.grid.epsilons))
    size = lanes * len(on)

    def launch(start):
        return step(np.uint32(problem.seed), np.uint32(start), target, widths, epsilons)

    checked = False
    for first, stop in ranges:
        clock, batch, ahead = time.perf_counter(), None, launch(first)
        for start in range(first, stop, size):
            # Overrun the last step and drop the surplus: one shape, one compilation. The next step
            # is under way while the host settles this one.
            trials = np.arange(start, min(start + size, stop))
            outcome, ahead = ahead, launch(start + size) if start + size < stop else None
            outcome, ends = (tuple(np.asarray(x)[: len(trials)] for x in part) for part in outcome)
            if not checked:
                experiment.check(problem, trials, *outcome)
                checked = True
            batch = _add(batch, count(experiment, problem, trials, outcome, ends))
            seconds = time.perf_counter() - clock
            if seconds >= BATCH_SECONDS or ahead is None:
                yield batch._replace(seconds=seconds)
                clock, batch = time.perf_counter(), None


def verdicts(lower, upper, epsilons):
    """Verdicts on descending epsilons, as the numbers of those certified and of those refuted.

    Every epsilon from the largest down to upper is certified, every one below lower is refuted;
    those between stay open.
    """
    certified = sum((upper <= epsilon).astype(np.int32) for epsilon in epsilons)
    refuted = sum((lower > epsilon).astype(np.int32) for epsilon in epsilons)
    return certified, refuted


def count(experiment: ModuleType, problem: Problem, trials, outcome, ends) -> Batch:
    """Count some consecutive trials in every cell, once what is open is settled.

    Args:
        outcome: of the trials, from the device.
        ends: `verdicts` of the outcome, each int32 [trial, criterion, width].
    """
    epsilons = problem.grid.epsilons
    certified, refuted = (np.array(x) for x in ends)
    at = np.flatnonzero((certified + refuted < len(epsilons)).any(axis=(1, 2)))
    if len(at):
        lower, upper = experiment.settle(problem, trials[at], *(x[at] for x in outcome))
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


def _add(done: Batch | None, new: Batch) -> Batch:
    if done is None:
        return new
    sums = {name: getattr(done, name) + getattr(new, name) for name in Batch._fields[2:]}
    return Batch(done.start, new.stop, **sums)


@cache
def _compiled(experiment, config, mesh, lanes):
    """One program for a configuration; all that may be swept is an argument."""

    def local(seed, start, target, widths, epsilons):
        number = np.arange(lanes, dtype=np.uint32)
        trials = start + jax.lax.axis_index("trials").astype(jnp.uint32) * np.uint32(lanes) + number
        keys = draws.trial_key(jnp.broadcast_to(seed, trials.shape), trials)
        one = lambda key: experiment.trial(key, target, widths, config)
        outcome = jax.vmap(one)(keys)
        return outcome, verdicts(outcome.lower, outcome.upper, epsilons)

    here, everywhere = PartitionSpec("trials"), PartitionSpec()
    # Trials exchange nothing, so there is no replication to check.
    sharded = jax.shard_map(local, mesh=mesh, in_specs=everywhere, out_specs=here, check_vma=False)
    return jax.jit(sharded)
