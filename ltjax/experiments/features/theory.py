"""What is promised to whole neurons, where the loss is known exactly and not from fresh inputs.

groups/*      by `subnetwork_success`, of the L0 that the problem names.
climb/squared >= groups/squared, as it ends no worse than it began, in squared loss.
"""

import numpy as np

from ltjax.experiments.features.config import ACTIVATIONS, Features
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory.features import SCALES
from ltjax.theory.prediction import UNKNOWN, Curves, Prediction, predictions
from ltjax.theory.subnetworks import groups_needed, variance_bound


def predict(problem: Problem[Features]) -> dict[str, Prediction]:
    """Lower bounds by criterion, in the order of `problem.criteria`."""
    if problem.config.samples:
        return {}
    lower = subnetwork_success(problem)
    above = np.ones_like(lower)
    curves: Curves = {f"groups/{problem.config.loss}": ("lower", lower, above)}
    if problem.config.loss == "squared":
        curves["climb/squared"] = "lower", lower, above
    return predictions(problem.criteria, curves)


def facts(problem: Problem[Features]) -> list[str]:
    """What the baseline is, and how a loss is known."""
    config = problem.config
    return [
        f"{config.features} random features ({config.law}, {config.activation}) with "
        f"coefficients within C = {config.cap:.4g} reach the {config.loss} loss "
        f"L0 = {config.baseline:.4g}; epsilon is what may come on top",
        f"inputs: {config.data}; the loss is "
        + (f"estimated from {config.samples:,} a trial" if config.samples else "exact"),
    ]


def widths(
    problem: Problem[Features], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """None is known."""
    return UNKNOWN


def largest_moment(problem: Problem[Features]) -> float:
    """M^2, a bound on E sigma(w.x)^2 for all features w that the problem may draw.

    As sigma(0) = 0, |sigma(z)| <= L |z|; relu keeps half of what is symmetric; tanh and erf end at
    1. Of data the largest eigenvalue of E x x' takes the place of E ||x||^2 / d.
    """
    config = problem.config
    bound = ACTIVATIONS[config.activation] ** 2 * config.radius**2
    if config.data == "file":
        x, _ = problem.arrays
        bound *= float(np.linalg.eigvalsh(x.T @ x / len(x))[-1])
    else:
        bound *= SCALES[config.data](config.dim)
        bound *= 0.5 if config.activation == "relu" else 1.0
    return min(bound, 1.0) if config.activation in ("tanh", "erf") else bound


def subnetwork_success(problem: Problem[Features]) -> np.ndarray:
    r"""Success probabilities that are promised to the proof's choice, [widths, epsilons].

    In the mean over draws and output weights its loss is at most L0 + V (squared) or L0 + sqrt(V)
    (absolute), V from `variance_bound` and L0 the mean loss of one group (convexity). So it exceeds
    L0 + epsilon with probability at most (L0 + V) / (L0 + epsilon) (Markov). L0 is the baseline of
    the problem, known to the standard error of its draws.
    """
    config, grid = problem.config, problem.grid
    groups = np.asarray(grid.widths) // config.features
    moment = largest_moment(problem)
    added = variance_bound(config.cap, config.features, moment, np.maximum(groups, 1))
    if config.loss == "absolute":
        added = added**0.5
    mean = np.where(groups > 0, config.baseline + added, np.inf)[:, None]
    return np.maximum(1.0 - mean / (config.baseline + np.asarray(grid.epsilons)), 0.0)


def lemma(problem: Problem[Features], epsilon: float, delta: float) -> int:
    """n B hidden neurons, B from `groups_needed`: all groups good, a loss of L0 + epsilon."""
    config = problem.config
    moment, best = largest_moment(problem), max(config.baseline, 0.0)
    at = epsilon, delta, config.loss, best
    return config.features * groups_needed(config.cap, config.features, moment, *at)
