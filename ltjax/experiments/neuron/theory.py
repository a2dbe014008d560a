"""What is predicted of one neuron: curves, bounds, and the widths that suffice.

A bound that is no formula follows from an inclusion of events:

    blocks/sup   >= blocks/l2: the supremum of |v - w.x| is at most the l2 value.
    shared/l2    >= shared/tight, since l2 <= sqrt(d) max; and >= blocks/l2, since no slot is worse
                 off with more candidates.
    pooled/*     shared less P(every slot is met, and there is no matching), which is bounded from
                 both sides (`theory.hall`); and >= blocks, whose choice is a matching.

pooled/l2 and pooled/sup have none: a ticket repaired in one pass need not be the best, so that
nothing is proved of it.
"""

from collections.abc import Sequence

import numpy as np

from ltjax import decimals, theory
from ltjax.errors import TooWideError
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory import partition
from ltjax.theory.prediction import (
    UNKNOWN,
    Curves,
    Prediction,
    as_text,
    box_rules,
    kind_of,
    pooled_bounds,
    predictions,
    shared_bounds,
    stack,
)
from ltjax.validate import MAX_WIDTH

FAMILIES = ("blocks", "shared", "pooled")


def predict(problem: Problem[Neuron]) -> dict[str, Prediction]:
    """Curves and bounds by criterion, in the order of `problem.criteria`."""
    curves = _blocks_curves(problem)
    if "pooled" in problem.config.constructions:
        curves |= _pooled_curves(problem, curves)
    return predictions(problem.criteria, curves)


def lemma(problem: Problem[Neuron], epsilon: float, delta: float) -> int:
    """The width of the paper's lemma."""
    return theory.lemma_width(problem.config.dim, epsilon, delta)


def facts(problem: Problem[Neuron]) -> list[str]:
    """Nothing that its title does not say."""
    return []


def widths(
    problem: Problem[Neuron], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """Exact (or bracketed) smallest width, and the asymptotic one, as text; - for none."""
    return needed_widths(problem.target, criterion.family, criterion.rule, epsilon, delta)


def needed_widths(
    target: Sequence[float], family: str, rule: str, epsilon: float, delta: float
) -> tuple[str, str]:
    """`widths` of a neuron with these weights."""
    if rule not in ("slides", "tight"):
        return UNKNOWN
    eta = theory.tolerance(rule, len(target), epsilon)
    shared = theory.sharp_width(target, eta, delta)
    blocks = shared * len(target)
    sharp = as_text(blocks if family == "blocks" else shared)
    try:
        if family == "blocks":
            return f"{theory.blocks_width(target, eta, delta)}", sharp
        if family == "shared":
            return f"{theory.shared_width(target, eta, delta)}", sharp
        low, high = theory.pooled_width(target, eta, delta)
        return f"{low}" if low == high else f"{low} to {high}", sharp
    except TooWideError:
        return f"over {MAX_WIDTH}", sharp


def table(problem: Problem[Neuron], delta: float) -> str:
    """What `ltjax width` answers: every construction and tolerance, without drawing anything."""
    dim, target = problem.config.dim, problem.target
    lines = [f"smallest width k for success 1 - {decimals.exact(delta)}, one neuron, d = {dim}"]
    for epsilon in problem.grid.epsilons:
        head = f"epsilon {decimals.exact(epsilon)}"
        lines += ["", f"{head:<20} {'exact':<23} {'asymptotic':<12} leading order, worst target"]
        for family, rule in [(f, r) for r in ("slides", "tight") for f in FAMILIES]:
            exact, sharp = needed_widths(target, family, rule, epsilon, delta)
            leading = _leading(family, rule, dim, epsilon, delta)
            lines.append(f"  {f'{family}/{rule}':<18} {exact:<23} {sharp:<12} {leading}")
        lines.append(f"  {'the paper: lemma':<18} {theory.lemma_width(dim, epsilon, delta)}")
    return "\n".join(lines)


def _leading(family: str, rule: str, dim: int, epsilon: float, delta: float) -> str:
    if dim < 2:
        return "-"
    width = theory.leading_width(rule, dim, epsilon, delta)
    return as_text(width * (dim if family == "blocks" else 1))


def _etas(problem: Problem[Neuron]) -> dict[str, list[float]]:
    """Tolerances by epsilon for the box rules of a neuron."""
    rules = box_rules(problem.config.rules, bounded=("l2",))
    dim, epsilons = problem.config.dim, problem.grid.epsilons
    return {rule: [theory.tolerance(rule, dim, e) for e in epsilons] for rule in rules}


def _blocks_curves(problem: Problem[Neuron]) -> Curves:
    target, ks = np.asarray(problem.target), np.asarray(problem.grid.widths)
    curves: Curves = {}
    for rule, etas in _etas(problem).items():
        success = np.stack(
            [partition.blocks_odds(target, eta, ks).success for eta in etas], axis=-1
        )
        curves[f"blocks/{rule}"] = "exact", success, success
    if {"l2", "sup"} & set(problem.config.rules):
        epsilons = problem.grid.epsilons
        lower, upper = stack([partition.blocks_l2(target, epsilon, ks) for epsilon in epsilons])
        curves["blocks/l2"] = "bracket", lower, upper
        curves["blocks/sup"] = "lower", lower, np.ones_like(lower)
    return curves


def _pooled_curves(problem: Problem[Neuron], blocks: Curves) -> Curves:
    target, ks = np.asarray(problem.target), np.asarray(problem.grid.widths)
    curves: Curves = {}
    for rule, etas in _etas(problem).items():
        shared = [shared_bounds(target, eta, ks) for eta in etas]
        pooled = [
            pooled_bounds(target, eta, ks, one) for eta, one in zip(etas, shared, strict=True)
        ]
        for family, bounds in (("shared", shared), ("pooled", pooled)):
            lower, upper = stack(bounds)
            curves[f"{family}/{rule}"] = kind_of(lower, upper), lower, upper
    if "l2" in problem.config.rules:
        l2 = np.maximum(curves["shared/tight"][1], blocks["blocks/l2"][1])
        curves["shared/l2"] = "lower", l2, np.ones_like(l2)
    return curves
