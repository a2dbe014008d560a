"""What is predicted of subset sums: bounds at every n, and how often a target is out of reach.

    */target    `subset_sums.target_bounds`; to three candidates the curve itself.
    */cover     `subset_sums.cover_bounds`; of integers, as no target may be missed, what bounds the
                hardest one: and there must be as many subsets as targets.
    */size      at most */target, as a subset of one size is one.
    */moved     at least */target, as no candidate need move; at most what epsilon would be if all
                of them moved.

The theorems on subset sums are orders without constants and promise nothing of any n: there is no
width of a lemma.
"""

import math
from functools import lru_cache

import numpy as np

from ltjax import decimals
from ltjax.experiments.subset.config import Subset
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory import subset_exact, subset_sums
from ltjax.theory.prediction import Bounds, Prediction, kind_of, predictions, stack

REACHED = ("uniform", "product", "side")  # laws of which it is known how far sums reach


def predict(problem: Problem[Subset]) -> dict[str, Prediction]:
    """Bounds by criterion, in the order of `problem.criteria`."""
    curves, grid = {}, problem.grid
    for criterion in problem.criteria:
        ends = stack([_bounds(problem.config, criterion, epsilon) for epsilon in grid.epsilons])
        lower, upper = (end[np.array(grid.widths) - 1] for end in ends)
        if np.any(lower > 0.0) or np.any(upper < 1.0):
            curves[criterion.name] = kind_of(lower, upper), lower, upper
    return predictions(problem.criteria, curves)


def lemma(problem: Problem[Subset], epsilon: float, delta: float) -> None:
    """Nothing is promised of a finite number of candidates."""


def facts(problem: Problem[Subset]) -> list[str]:
    """What success means, and what no number of candidates that was drawn can do."""
    config, epsilon = problem.config, problem.grid.epsilons[-1]
    lines = ["success: a subset sum, the empty one's 0 among them, within epsilon of the target"]
    if "cover" in config.events:
        targets = "multiples of 1/M" if config.laws == ("integer",) else "all targets"
        lines.append(f"cover: {targets} of [-{config.span:g}, {config.span:g}] within epsilon")
    if config.target is not None and abs(config.target) > epsilon:
        lines += [_reach(law, config, epsilon) for law in config.laws if law in REACHED]
    lines.append("theorems on subset sums name no constants: no width is promised")
    return lines


def _reach(law: str, config: Subset, epsilon: float) -> str:
    """How often even all candidates of the target's sign do not come to it."""
    n, need = config.most, abs(config.target or 0.0) - epsilon
    if need >= n:
        chance = 1.0
    elif law != "uniform" and need > 1.0:
        return f"{law}: what is out of reach is not known of targets above 1"
    else:
        chance = float(subset_sums.out_of_reach(law, np.array([n]), need)[0])
    return (
        f"{law}: the target is out of reach at epsilon {decimals.exact(epsilon)} of the largest "
        f"width, {n}, with probability {chance:.4g}"
    )


def widths(
    problem: Problem[Subset], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """The smallest width by the bounds, bracketed; nothing is known of asymptotic ones."""
    every = np.arange(1, problem.config.most + 1)
    lower, upper = _bounds(problem.config, criterion, epsilon)
    least, most = (np.flatnonzero(ends >= 1.0 - delta) for ends in (upper, lower))
    low = f"{every[least[0]]}" if len(least) else f"{every[-1] + 1}"
    if not len(most):
        return ("-" if low == "1" else f"{low} or more"), "-"
    high = f"{every[most[0]]}"
    return (high if low == high else f"{low} to {high}"), "-"


# A table asks for the curves and for the widths, and random targets are slow.
@lru_cache(maxsize=64)
def _bounds(config: Subset, criterion: Criterion, epsilon: float) -> Bounds:
    """Lower and upper ends at 1, ..., `most` candidates: [most] each."""
    law, event, _ = criterion
    ns = np.arange(1, config.most + 1)
    if event == "cover":
        return _cover(law, ns, config, epsilon)
    lower, upper = _target(law, ns, config, config.target, epsilon)
    if event == "size":
        return np.zeros(len(ns)), np.where(ns < config.kept, 0.0, upper)
    if event == "moved":
        beyond = epsilon + config.moved * config.most
        return lower, _target(law, ns, config, config.target, beyond)[1]
    return lower, upper


def _target(law: str, ns: np.ndarray, config: Subset, t: float | None, epsilon: float) -> Bounds:
    if law == "integer":
        at = None if t is None else round(t * config.largest) / config.largest
        return subset_sums.target_bounds(law, ns, at, epsilon, config.largest)
    lower, upper = subset_sums.target_bounds(law, ns, t, epsilon)
    if law in REACHED and t is not None:
        for n in range(1, min(subset_exact.MOST, config.most) + 1):
            lower[n - 1] = upper[n - 1] = subset_exact.exact_success(law, n, t, epsilon)
    return lower, upper


def _cover(law: str, ns: np.ndarray, config: Subset, epsilon: float) -> Bounds:
    if law != "integer":
        return subset_sums.cover_bounds(law, ns, config.span, epsilon)
    end = round(config.span * config.largest)
    _, upper = _target(law, ns, config, end / config.largest, epsilon)
    window = 2 * math.floor(epsilon * config.largest + 1e-9) + 1  # targets that a sum may serve
    return np.zeros(len(ns)), np.where(2.0**ns * window >= 2 * end + 1, upper, 0.0)
