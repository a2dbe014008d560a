"""Subset sums of one weight, the host's part: known answers, and verdicts settled in int64.

Candidates are drawn again from their addresses, in float64. A product of two weights of U[-1, 1] is
a multiple of 2^-48; what another law draws is rounded to one, and so is a target.
"""

import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.experiments.subset import candidates
from ltjax.experiments.subset.config import MAX_LISTED, Subset
from ltjax.masks import every_subset, subset_host
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.supnorm.one_neuron import holds_inside
from ltjax.weights import draws
from ltjax.weights.laws import HOST

UNITS = 2**48  # in 1
CHECKED = 4  # trials of a known-answer check
MAX_CHECKED = 12  # candidates of theirs


def check(problem: Problem[Subset], trials, lower, upper) -> None:
    """Known-answer check of the compiled kernel: brackets of the first trials, by all subsets.

    Raises:
        WrongKernelError: a bracket misses the error that is known.
    """
    widths = [width for width in problem.grid.widths if width <= MAX_CHECKED]
    for t, trial in enumerate(trials[:CHECKED]):
        for c, criterion in enumerate(problem.criteria):
            for k, width in enumerate(widths):
                least, most = bracket(problem, trial, criterion, width, listed)
                low, high = np.float64(lower[t, c, k]), np.float64(upper[t, c, k])
                if not low <= most or not least <= high:
                    raise WrongKernelError(
                        f"the compiled kernel is wrong at {criterion.name}, width {width}: its "
                        f"bracket [{low:.8g}, {high:.8g}] misses the error drawn on the host."
                    )


def settle(problem: Problem[Subset], trials, lower, upper):
    """Narrow the brackets that hold an epsilon to the error itself.

    What stays open is a cover by more than `subset_host.CAN_COVER` candidates, and an epsilon that
    multiples of 2^-48 do not tell from an error.

    Args:
        trials: trial numbers, [n].
        lower, upper: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width].
    """
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    inside = holds_inside(lower, upper, np.array(problem.grid.epsilons)).any(axis=-1)
    for n, c, k in np.argwhere(inside):
        criterion, width = problem.criteria[c], problem.grid.widths[k]
        least, most = bracket(problem, trials[n], criterion, width)
        lower[n, c, k] = max(lower[n, c, k], least)
        upper[n, c, k] = min(upper[n, c, k], most)
    return lower, upper


def nearest(event: str, config: Subset, numbers, target: int, units: int) -> float:
    """The least error in units: by the merged sums of two halves where these decide."""
    if event == "target":
        return float(abs(subset_host.nearest(numbers, target)[0]))
    return listed(event, config, numbers, target, units)


def listed(event: str, config: Subset, numbers, target: int, units: int) -> float:
    """The least error in units: by its definition, over the list of all subsets.

    Args:
        numbers: usable candidates, int64 [n].
        target: of all events but cover.
        units: in 1.
    """
    if event == "cover":
        return _cover(config, numbers, units)
    assert len(numbers) <= MAX_LISTED, "too many candidates to try all their subsets"
    subsets = np.arange(2 ** len(numbers))
    costs, sizes = np.abs(every_subset.all_sums(numbers) - target), every_subset.sizes(subsets)
    if event == "size":
        return float(min(costs[sizes == config.kept], default=np.inf))
    if event == "moved":
        return float(np.maximum(costs - sizes * (config.moved * units), 0.0).min())
    return float(costs.min())


def _cover(config: Subset, numbers, units: int) -> float:
    """The cover radius: of all real targets, but of integers that of the integer ones."""
    if len(numbers) > subset_host.CAN_COVER:
        return np.nan
    twice = subset_host.twice_cover_radius(numbers, round(config.span * units))
    return twice / 2 if units == UNITS else float(twice // 2)


def bracket(
    problem: Problem[Subset], trial, criterion: Criterion, width: int, decided_by=nearest
) -> tuple[float, float]:
    """The error of one trial: twice the same number where nothing was rounded.

    An error that is a fraction is rounded to the nearest float64, as an epsilon is.
    """
    law, event, _ = criterion
    config, integer = problem.config, law == "integer"
    units = config.largest if integer else UNITS
    numbers, target = drawn(problem, trial, law, width)
    error = decided_by(event, config, numbers, target, units) / units
    if np.isnan(error):
        return 0.0, np.inf
    # Half a unit for each number that is no multiple of it, and for the end or the target; and in
    # `moved` what float64 does to numbers below 2^54.
    off = 0.5 * len(numbers) if law in ("gaussian", "hyperbolic") else 0.0
    asked = (config.span if event == "cover" else config.target or 0.0) * units
    off += 0.5 * (not integer and asked != round(asked)) + 8.0 * (event == "moved")
    if off == 0.0:
        return error, error
    return error - off / UNITS, error + off / UNITS


def drawn(problem: Problem[Subset], trial, law: str, width: int) -> tuple[np.ndarray, int]:
    """The usable candidates of a width, int64 [n], and the target, in units."""
    config, number = problem.config, np.array([trial], np.uint32)
    key = draws.trial_key(np.full_like(number, problem.seed), number)
    numbers, usable = candidates.candidates(key, law, config, UNITS, HOST, np.int64)
    target = candidates.target(key, law, config, UNITS, HOST, np.int64)
    return numbers[:width][usable[:width]], int(np.reshape(target, ()))
