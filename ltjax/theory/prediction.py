"""What theory says of every criterion of a problem, on its grid of widths and epsilons."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ltjax.problem import Problem
from ltjax.theory import partition, pool, product, widths

ERRORS = 5.0  # standard errors to either side of a sampled curve


class Prediction(NamedTuple):
    """Curve, or bounds on it, for one criterion.

    kind: exact (lower = upper), lower (upper is 1), upper (lower is 0), or bracket.
    lower, upper: success probabilities, shape [widths, epsilons].
    """

    criterion: str
    kind: str
    lower: np.ndarray
    upper: np.ndarray


Bounds = tuple[np.ndarray, np.ndarray]
Curves = dict[str, tuple[str, np.ndarray, np.ndarray]]  # criterion: kind, lower, upper


def predict(problem: Problem) -> dict[str, Prediction]:
    """Predictions by criterion, in the order of `problem.criteria`.

    A bound that is no formula follows from an inclusion of events:

        blocks/sup   >= blocks/l2: the supremum of |v - w.x| is at most the l2 value.
        shared/l2    >= shared/tight, since l2 <= sqrt(d) max; and >= blocks/l2, since no slot
                     is worse off with more candidates.
        pooled/*     between blocks and shared: the blocks' choice is a matching, and no matching
                     beats every slot's nearest candidate.

    pooled/l2 and pooled/sup have none: a ticket repaired in one pass need not be the best, so that
    nothing is proved of it.
    """
    curves = _blocks_curves(problem)
    if "pooled" in problem.config.constructions:
        curves |= _pooled_curves(problem, curves)
    names = [name for name, _ in problem.criteria if name in curves]
    return {name: Prediction(name, *curves[name]) for name in names}


def _etas(problem: Problem) -> dict[str, list[float]]:
    """Tolerances by epsilon for the box rules that are counted, or that bound one counted."""
    asked = problem.config.rules
    rules = [r for r in ("slides", "tight") if r in asked or (r == "tight" and "l2" in asked)]
    dim, epsilons = problem.config.dim, problem.grid.epsilons
    return {rule: [widths.tolerance(rule, dim, e) for e in epsilons] for rule in rules}


def _blocks_curves(problem: Problem) -> Curves:
    target, ks = np.asarray(problem.target), np.asarray(problem.grid.widths)
    curves: Curves = {}
    for rule, etas in _etas(problem).items():
        success = np.stack([partition.blocks(target, eta, ks).success for eta in etas], axis=-1)
        curves[f"blocks/{rule}"] = "exact", success, success
    if {"l2", "sup"} & set(problem.config.rules):
        epsilons = problem.grid.epsilons
        lower, upper = _stack([partition.blocks_l2(target, epsilon, ks) for epsilon in epsilons])
        curves["blocks/l2"] = "bracket", lower, upper
        curves["blocks/sup"] = "lower", lower, np.ones_like(lower)
    return curves


def _pooled_curves(problem: Problem, blocks: Curves) -> Curves:
    target, ks = np.asarray(problem.target), np.asarray(problem.grid.widths)
    curves: Curves = {}
    for rule, etas in _etas(problem).items():
        lower, upper = _stack([shared_bounds(target, eta, ks) for eta in etas])
        kind = "exact" if np.array_equal(lower, upper) else "bracket"
        curves[f"shared/{rule}"] = kind, lower, upper
        curves[f"pooled/{rule}"] = "bracket", blocks[f"blocks/{rule}"][1], upper
    if "l2" in problem.config.rules:
        l2 = np.maximum(curves["shared/tight"][1], blocks["blocks/l2"][1])
        curves["shared/l2"] = "lower", l2, np.ones_like(l2)
    return curves


def _stack(bounds: Sequence[Bounds]) -> Bounds:
    lower, upper = zip(*bounds, strict=True)
    return np.stack(lower, axis=-1), np.stack(upper, axis=-1)


def shared_bounds(target: np.ndarray, eta: float, ks: np.ndarray) -> Bounds:
    """The exact curve twice; or the sample's interval, cut to what is certain.

    Certain are success >= blocks, success >= 1 - 2 sum_i (1-p_i)^k (union bound, each slot alone
    stays empty with probability (1-p_i)^k), and success <= that of the hardest coordinate.
    """
    odds = pool.shared(target, eta, ks)
    if not np.any(odds.error):
        return odds.success, odds.success
    t = np.abs(target)[np.abs(target) > eta]
    p = product.match_probability(t, eta)
    union = 1.0 - 2.0 * np.sum(np.exp(np.outer(ks, np.log1p(-p))), axis=1)
    floor = np.maximum(partition.blocks(target, eta, ks).success, union)
    ceiling = partition.both_slots(np.min(p), ks)[0]
    reach = ERRORS * odds.error
    lower = np.clip(odds.success - reach, floor, ceiling)
    return lower, np.clip(odds.success + reach, lower, ceiling)
