"""What theory says of every criterion of a problem, on its grid of widths and epsilons."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ltjax.configs import SUPREMA, Features, Network, Neuron
from ltjax.problem import Problem
from ltjax.theory import layers, partition, pool, product, subnetworks, widths
from ltjax.theory.layers import Target
from ltjax.theory.partition import Odds

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

    Of a network, whose widths are block sizes:

        */sup, */tree  >= */tight, whose slots keep the supremum below epsilon: the proof is that of
                     `layers.slot_tolerance`, and holds for every ticket within the tolerance.

    Of whole neurons, where the loss is known exactly and not from fresh inputs:

        groups/*     by `subnetworks.subnetwork_success`, of the L0 that the problem names.
        climb/squared >= groups/squared, as it ends no worse than it began, in squared loss.
    """
    curves = CURVES[problem.experiment](problem)
    names = [name for name, _ in problem.criteria if name in curves]
    return {name: Prediction(name, *curves[name]) for name in names}


def _neuron_curves(problem: Problem[Neuron]) -> Curves:
    curves = _blocks_curves(problem)
    if "pooled" in problem.config.constructions:
        curves |= _pooled_curves(problem, curves)
    return curves


def _network_curves(problem: Problem[Network]) -> Curves:
    asked, shapes = problem.config.rules, layers.shapes(problem.target)
    m = np.asarray(problem.grid.widths)
    curves: Curves = {}
    for construction in problem.config.constructions:
        for rule in _box_rules(asked, bounded=SUPREMA):
            etas = [layers.slot_tolerance(rule, shapes, e) for e in problem.grid.epsilons]
            bounds = _stack([network_bounds(construction, problem.target, eta, m) for eta in etas])
            curves[f"{construction}/{rule}"] = _kind(*bounds), *bounds
        for rule in set(SUPREMA) & set(asked):
            lower = curves[f"{construction}/tight"][1]
            curves[f"{construction}/{rule}"] = "lower", lower, np.ones_like(lower)
    return curves


def _features_curves(problem: Problem[Features]) -> Curves:
    if problem.config.samples:
        return {}
    lower = subnetworks.subnetwork_success(problem)
    above = np.ones_like(lower)
    curves: Curves = {f"groups/{problem.config.loss}": ("lower", lower, above)}
    if problem.config.loss == "squared":
        curves["climb/squared"] = "lower", lower, above
    return curves


def network_bounds(
    construction: str, target: Target, etas: Sequence[float], m: np.ndarray
) -> Bounds:
    """The exact curve of the block sizes twice; or the sample's interval, cut to what is certain.

    Certain are the union bound over slots, and that no input fares better than its hardest slots.
    """
    odds = layers.network_law(construction, target, etas)(m)
    if not np.any(odds.error):
        return odds.success, odds.success
    empty = np.exp(m[:, None] * layers.network_misses(target, etas))
    floor = np.maximum(1.0 - np.sum(empty, axis=1), 0.0)
    hardest = [np.abs(weights).max(axis=0, keepdims=True) for weights in target]
    ceiling = layers.network_law("separate", hardest, etas)(m).success
    return _interval(odds, floor, ceiling)


def _interval(odds: Odds, floor: np.ndarray, ceiling: np.ndarray) -> Bounds:
    lower = np.clip(odds.success - ERRORS * odds.error, floor, ceiling)
    return lower, np.clip(odds.success + ERRORS * odds.error, lower, ceiling)


def _box_rules(asked: Sequence[str], bounded: Sequence[str]) -> list[str]:
    """Those that are counted, and `tight` where it bounds one of the rules `bounded`."""
    needed = {*asked, "tight"} if set(bounded) & set(asked) else asked
    return [rule for rule in ("slides", "tight") if rule in needed]


def _etas(problem: Problem[Neuron]) -> dict[str, list[float]]:
    """Tolerances by epsilon for the box rules of a neuron."""
    rules = _box_rules(problem.config.rules, bounded=("l2",))
    dim, epsilons = problem.config.dim, problem.grid.epsilons
    return {rule: [widths.tolerance(rule, dim, e) for e in epsilons] for rule in rules}


def _blocks_curves(problem: Problem[Neuron]) -> Curves:
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


def _pooled_curves(problem: Problem[Neuron], blocks: Curves) -> Curves:
    target, ks = np.asarray(problem.target), np.asarray(problem.grid.widths)
    curves: Curves = {}
    for rule, etas in _etas(problem).items():
        lower, upper = _stack([shared_bounds(target, eta, ks) for eta in etas])
        curves[f"shared/{rule}"] = _kind(lower, upper), lower, upper
        curves[f"pooled/{rule}"] = "bracket", blocks[f"blocks/{rule}"][1], upper
    if "l2" in problem.config.rules:
        l2 = np.maximum(curves["shared/tight"][1], blocks["blocks/l2"][1])
        curves["shared/l2"] = "lower", l2, np.ones_like(l2)
    return curves


def _kind(lower: np.ndarray, upper: np.ndarray) -> str:
    return "exact" if np.array_equal(lower, upper) else "bracket"


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
    return _interval(odds, floor, ceiling)


CURVES: dict[str, Callable[[Problem], Curves]] = {
    "neuron": _neuron_curves,
    "network": _network_curves,
    "features": _features_curves,
}
