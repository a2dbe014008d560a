"""What is predicted under a law and a mask rule of one's own: what is known of all three.

A curve belongs to a law, a rule and a measure. The exact curves are those of the paper's rule,
`nearest`: of one neuron under every law whose product law is known, of a network under U[-1, 1].
Whoever knows less answers nothing: no curve, no width, no lemma.
"""

import numpy as np

from ltjax import theory
from ltjax.experiments.own.config import Own
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory import layers, partition
from ltjax.theory.prediction import (
    UNKNOWN,
    Curves,
    Prediction,
    kind_of,
    network_bounds,
    predictions,
    stack,
)
from ltjax.weights import laws
from ltjax.weights.laws import Law, is_paper


def predict(problem: Problem[Own]) -> dict[str, Prediction]:
    """Curves and bounds by criterion, in the order of `problem.criteria`."""
    law = _known_law(problem.config)
    if law is None or not _has_nearest(problem.config):
        return {}
    curves = (_neuron if problem.config.of == "neuron" else _network)(problem, law)
    return predictions(problem.criteria, curves)


def _known_law(config: Own) -> Law | None:
    """The law, if it is at hand and its product law is known."""
    law = laws.found(config.law, config.law_source)
    return law if law is not None and law.product_cdf is not None else None


def _has_nearest(config: Own) -> bool:
    """Whether the paper's rule is among the rules, by our text."""
    if "nearest" not in config.rules:
        return False
    from ltjax.masks.rules import known  # the way to jax

    return config.sources[config.rules.index("nearest")] == known()["nearest"].source


def _neuron(problem: Problem[Own], law: Law) -> Curves:
    target, ks = np.asarray(problem.target), np.asarray(problem.grid.widths)
    dim, epsilons = problem.config.dim, problem.grid.epsilons
    curves: Curves = {}
    for measure in ("slides", "tight"):
        etas = [theory.tolerance(measure, dim, epsilon) for epsilon in epsilons]
        match = law.match_probability
        odds = [partition.blocks_odds(target, eta, ks, match).success for eta in etas]
        success = np.stack(odds, axis=-1)
        curves[f"nearest/{measure}"] = "exact", success, success
    lower = curves["nearest/tight"][1]  # sup is at most l2, and l2 at most tight
    for measure in ("l2", "sup"):
        curves[f"nearest/{measure}"] = "lower", lower, np.ones_like(lower)
    return curves


def _network(problem: Problem[Own], law: Law) -> Curves:
    if not is_paper(law):
        return {}
    shapes, m = layers.shapes(problem.target), np.asarray(problem.grid.widths)
    curves: Curves = {}
    for measure in ("slides", "tight"):
        etas = [layers.slot_tolerance(measure, shapes, e) for e in problem.grid.epsilons]
        bounds = stack([network_bounds("blocks", problem.target, eta, m) for eta in etas])
        curves[f"nearest/{measure}"] = kind_of(*bounds), *bounds
    lower = curves["nearest/tight"][1]
    curves["nearest/sup"] = "lower", lower, np.ones_like(lower)
    return curves


def lemma(problem: Problem[Own], epsilon: float, delta: float) -> None:
    """The paper promises nothing of another law or rule."""


def facts(problem: Problem[Own]) -> list[str]:
    """Which law and rules were counted, by their texts."""
    config = problem.config
    named = zip(config.rules, config.sources, strict=True)
    told = ", ".join(f"{name} ({source})" for name, source in named)
    return [f"weights: {config.law} ({config.law_source}); mask rules: {told}; blocks"]


def widths(
    problem: Problem[Own], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """None is told."""
    return UNKNOWN
