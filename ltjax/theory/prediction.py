"""What theory says of one criterion, on a grid of widths and epsilons; and bounds for several."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from ltjax.theory import hall, layer_pools, layers, partition, pool, product
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


@runtime_checkable
class Named(Protocol):
    @property
    def name(self) -> str: ...


Bounds = tuple[np.ndarray, np.ndarray]
Curves = dict[str, tuple[str, np.ndarray, np.ndarray]]  # criterion: kind, lower, upper
UNKNOWN = "-", "-"  # in place of two widths


def predictions(criteria: Iterable[Named], curves: Curves) -> dict[str, Prediction]:
    """Those of the criteria that are counted, in their order."""
    names = [criterion.name for criterion in criteria if criterion.name in curves]
    return {name: Prediction(name, *curves[name]) for name in names}


def as_text(width: float) -> str:
    """An asymptotic width, or - where it is none."""
    return "-" if math.isnan(width) else f"{width:.0f}"


def network_bounds(
    construction: str,
    target: Target,
    etas: Sequence[float],
    m: np.ndarray,
    counts: Sequence[int] | None = None,
) -> Bounds:
    """The exact curve of the block sizes twice; or the sample's interval, cut to what is certain.

    Certain are the union bound over slots, and that no input fares better than its hardest slots.

    Args:
        counts: blocks of each layer, where `m` are neurons of a layer (see `layers.network_law`).
    """
    odds = layers.network_law(construction, target, etas, counts)(m)
    if not np.any(odds.error):
        return odds.success, odds.success
    floor = np.maximum(1.0 - layers.mean_empty(target, etas, m, counts), 0.0)
    hardest = [np.abs(weights).max(axis=0, keepdims=True) for weights in target]
    ceiling = layers.network_law("separate", hardest, etas, counts)(m).success
    return interval(odds, floor, ceiling)


def pool_bounds(target: Target, etas: Sequence[float], k: np.ndarray) -> Bounds:
    """Of layers of k neurons that may serve any slot (see `layer_pools`)."""
    ends = layer_pools.network_pool_law(target, etas)(k)
    return ends.lower.success, ends.upper.success


def interval(odds: Odds, floor: np.ndarray, ceiling: np.ndarray) -> Bounds:
    lower = np.clip(odds.success - ERRORS * odds.error, floor, ceiling)
    return lower, np.clip(odds.success + ERRORS * odds.error, lower, ceiling)


def box_rules(asked: Sequence[str], bounded: Sequence[str]) -> list[str]:
    """Those that are counted, and `tight` where it bounds one of the rules `bounded`."""
    needed = {*asked, "tight"} if set(bounded) & set(asked) else asked
    return [rule for rule in ("slides", "tight") if rule in needed]


def kind_of(lower: np.ndarray, upper: np.ndarray) -> str:
    return "exact" if np.array_equal(lower, upper) else "bracket"


def stack(bounds: Sequence[Bounds]) -> Bounds:
    lower, upper = zip(*bounds, strict=True)
    return np.stack(lower, axis=-1), np.stack(upper, axis=-1)


def shared_bounds(target: np.ndarray, eta: float, ks: np.ndarray) -> Bounds:
    """The exact curve twice; or the sample's interval, cut to what is certain.

    Certain are success >= blocks, success >= 1 - 2 sum_i (1-p_i)^k (union bound, each slot alone
    stays empty with probability (1-p_i)^k), and success <= that of the hardest coordinate.
    """
    odds = pool.shared_odds(target, eta, ks)
    if not np.any(odds.error):
        return odds.success, odds.success
    t = np.abs(target)[np.abs(target) > eta]
    p = product.match_probability(t, eta)
    union = 1.0 - 2.0 * np.sum(np.exp(np.outer(ks, np.log1p(-p))), axis=1)
    floor = np.maximum(partition.blocks_odds(target, eta, ks).success, union)
    ceiling = partition.both_slots(np.min(p), ks)[0]
    return interval(odds, floor, ceiling)


def pooled_bounds(target: np.ndarray, eta: float, ks: np.ndarray, shared: Bounds) -> Bounds:
    """Those of shared, less what distinct neurons cost; and blocks is a ticket of the pool."""
    lost, blocks = hall.unmatched(target, eta, ks), partition.blocks_odds(target, eta, ks).success
    lower, upper = shared[0] - lost.most, shared[1] - lost.least
    return np.maximum(blocks, lower), np.maximum(blocks, upper)
