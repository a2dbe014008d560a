r"""How wide: exact smallest widths, their asymptotics, and what the paper's lemma asks for.

The tolerance per weight, eta, that keeps the error over the unit ball below epsilon:

    slides   eta = epsilon / (2 d), from the slides
    tight    eta = epsilon / sqrt(d), enough because |v - w.x| <= eta ||x||_1 <= eta sqrt(d)

Source: Malach et al. 2020, arXiv:2002.00585, for the lemma; the rest is derived here.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy import optimize

from ltjax.errors import InputError, TooWideError
from ltjax.theory import hall, layer_pools, layers, partition, pool
from ltjax.theory.layers import Target
from ltjax.theory.product import Numbers
from ltjax.validate import MAX_WIDTH, check_delta

EASY, HARD = 0.01, 0.999  # success rates at the ends of a default grid
RARE = 0.1  # failure probability up to which a law of rare failures is told


def tolerance(rule: str, dim: int, epsilon: float) -> float:
    """eta for the rule `slides` or `tight`."""
    if rule not in ("slides", "tight"):
        raise InputError(f"rule must be slides or tight, got {rule}.")
    return epsilon / (2.0 * dim) if rule == "slides" else epsilon / dim**0.5


def blocks_width(weights: Numbers, eta: float, delta: float) -> int:
    """Smallest k at which the blocks construction fails with probability <= delta."""
    dim = np.size(weights)
    failure = lambda k: float(partition.blocks_odds(weights, eta, k).failure)
    return _first(lambda k: failure(k) <= delta, dim * poisson_width(weights, eta, delta))


def shared_width(weights: Numbers, eta: float, delta: float) -> int:
    """Smallest k at which some slot stays empty with probability <= delta, neurons shared.

    Exact where `pool.shared_odds` is; elsewhere up to the standard error of its sample.
    """
    law = pool.shared_law(weights, eta)
    failure = lambda k: float(law(k).failure)
    return _first(lambda k: failure(k) <= delta, poisson_width(weights, eta, delta))


def pooled_width(weights: Numbers, eta: float, delta: float) -> tuple[int, int]:
    """Between these lies the smallest k for distinct neurons without fixed blocks.

    At the first the proved lower bound on failure is at most delta, at the second the proved upper
    one (`hall`), which is that of blocks where it is the smaller. As exact as `shared_width`.
    """
    law, lost = pool.shared_law(weights, eta), hall.unmatched_law(weights, eta)
    blocks = lambda k: float(partition.blocks_odds(weights, eta, k).failure)
    least = lambda k: float(law(k).failure + lost(k).least)
    most = lambda k: min(float(law(k).failure + lost(k).most), blocks(k))
    guess = poisson_width(weights, eta, delta)
    low = _first(lambda k: bool(least(k) <= delta), guess)
    return low, _first(lambda k: bool(most(k) <= delta), float(low))


def sharp_width(weights: Numbers, eta: float, delta: float) -> float:
    r"""Solve 2 sum_i (1 - p_i)^k = ln(1 / (1 - delta)) over the active weights.

    The number of empty slots is nearly Poisson with this mean where failures are rare: up to
    delta = `RARE` within one neuron and 2 % of the shared construction, d times as much of blocks.
    NaN above, where the two part: at delta = 0.9 it may be 1 beside 7552. 1 where no weight
    exceeds eta.
    """
    check_delta(delta)
    return poisson_width(weights, eta, delta) if delta <= RARE else float("nan")


def poisson_width(weights: Numbers, eta: float, delta: float) -> float:
    """The solution at any delta, near the width needed or not: where to begin to look for it."""
    check_delta(delta)
    return _mean_empty(layers.log_misses(weights, eta, first=True), -np.log1p(-delta))


def _mean_empty(log_misses: np.ndarray, mean: float) -> float:
    """m >= 1 at which the mean number of empty slots, sum (1-p)^m, has fallen to `mean`."""
    if not len(log_misses):
        return 1.0
    excess = lambda m: np.log(np.sum(np.exp(log_misses * m)) / mean)
    if excess(1.0) <= 0.0:
        return 1.0
    # At this size already every term is at most mean / slots.
    most = max(1.0, np.log(len(log_misses) / mean) / -np.max(log_misses))
    return float(optimize.brentq(excess, 1.0, 1.0 + most))


def leading_width(rule: str, dim: int, epsilon: float, delta: float) -> float:
    """Leading order for the worst target |w_i| = 1/sqrt(d), shared; times d for blocks.

    p >= (eta/4) ln d there, and ln(2d/delta) / p is (8d/epsilon) (1 + ln(2/delta)/ln d) under
    `slides`, (4 sqrt(d)/epsilon) (1 + ln(2/delta)/ln d) under `tight`. By the union bound it
    is enough, and at most a quarter too much for delta <= `RARE` and epsilon <= 1/2. NaN elsewhere.
    """
    if dim < 2:
        raise InputError(f"dim must be at least 2 for the asymptotic width, got {dim}.")
    check_delta(delta)
    eta = tolerance(rule, dim, epsilon)
    if delta > RARE or epsilon > 0.5:
        return float("nan")
    return float(4.0 / eta * (1.0 + np.log(2.0 / delta) / np.log(dim)))


def coordinate_lemma_width(epsilon: float, delta: float) -> int:
    r"""Neurons that suffice for one coordinate a x, |a| <= 1, to error 2 epsilon |x|.

    A neuron with |W - a| <= epsilon and |A - 1| <= epsilon has |A W - a| <= |A| |W - a| +
    |a| |A - 1| <= 2 epsilon. Both intervals keep at least half their length inside [-1, 1], so this
    box has probability >= (epsilon/2)^2, and k neurons miss it with probability <=
    exp(-k epsilon^2 / 4). The other side asks for the mirror image. Hence failure <=
    2 exp(-k epsilon^2 / 4) = delta at k = (4/epsilon^2) ln(2/delta). Where |a| <= epsilon nothing
    is kept; elsewhere sign(W) = sign(a), and each neuron acts on its own side alone.
    """
    check_delta(delta)
    return int(np.ceil(4.0 / epsilon**2 * np.log(2.0 / delta)))


def lemma_width(dim: int, epsilon: float, delta: float) -> int:
    """Neurons that suffice for one neuron: d ceil((16 d^2/epsilon^2) ln(2 d/delta)).

    d disjoint blocks, each to error epsilon/d and failure delta/d: the lemma of one coordinate at
    half that error, epsilon / (2d).
    """
    return dim * coordinate_lemma_width(epsilon / (2.0 * dim), delta / dim)


def default_widths(
    weights: Numbers,
    epsilons: Sequence[float],
    constructions: Sequence[str],
    count: int = 40,
) -> tuple[int, ...]:
    """About `count` widths, geometric, over which the curves of the rule `tight` rise.

    From success 1 % of the easiest (largest epsilon) to 99.9 % of the hardest. Pooled is placed by
    shared, its upper curve, which it meets near 1. From 100 on, multiples of 16, the neurons of a
    chunk of the search.
    """
    first = {"blocks": blocks_width, "pooled": shared_width}
    dim = np.size(weights)
    easy, hard = (tolerance("tight", dim, e) for e in (max(epsilons), min(epsilons)))
    low = min(first[c](weights, easy, 1.0 - EASY) for c in constructions)
    high = max(first[c](weights, hard, 1.0 - HARD) for c in constructions)
    ks = np.geomspace(low, max(low, high), count)
    ks = np.where(ks < 100, np.round(ks), 16 * np.round(ks / 16))
    return tuple(int(k) for k in np.unique(np.clip(ks, 1, MAX_WIDTH)))


# Block sizes of whole networks.


class BlockSize(NamedTuple):
    """exact: the smallest by the exact law. Else by the union bound: enough, and hardly more."""

    neurons: int
    exact: bool


def block_size(
    construction: str, target: Target, rule: str, epsilon: float, delta: float
) -> BlockSize:
    """Smallest m at which some slot of the network is missed with probability <= delta."""
    check_delta(delta)
    etas = layers.slot_tolerance(rule, layers.shapes(target), epsilon)
    if not layers.is_exact(construction, target, etas):
        return BlockSize(_union_block(layers.network_misses(target, etas), delta), False)
    law = layers.network_law(construction, target, etas)
    guess = _mean_empty(layers.network_misses(target, etas), -np.log1p(-delta))
    return BlockSize(_first(lambda m: float(law(m).failure) <= delta, guess), True)


def network_pool_width(target: Target, rule: str, epsilon: float, delta: float) -> tuple[int, int]:
    """Between these lies the smallest k, of each layer, whose neurons may serve any slot of it.

    That is, at which there is no ticket within the tolerance with probability <= delta.
    """
    check_delta(delta)
    etas = layers.slot_tolerance(rule, layers.shapes(target), epsilon)
    law = layer_pools.network_pool_law(target, etas)
    guess = _mean_empty(layers.network_misses(target, etas), -np.log1p(-delta))
    low = _first(lambda k: float(law(k).upper.failure) <= delta, guess)
    return low, _first(lambda k: float(law(k).lower.failure) <= delta, float(low))


def layer_block_size(weights: Numbers, eta: float, delta: float, first: bool) -> int:
    """Smallest m with sum over slots of (1-p)^m <= delta: enough for blocks and for separate.

    Args:
        weights: target of one layer, [n_out, n_in].
        first: whether both sides are asked for.
    """
    check_delta(delta)
    return _union_block(layers.log_misses(weights, eta, first), delta)


def _union_block(log_misses: np.ndarray, delta: float) -> int:
    holds = lambda m: float(np.sum(np.exp(log_misses * m))) <= delta
    return _first(holds, _mean_empty(log_misses, delta))


def default_block_sizes(
    target: Target, epsilons: Sequence[float], count: int = 16
) -> tuple[int, ...]:
    """About `count` block sizes, geometric, over which the rules `sup` and `tight` rise.

    From 1, as `sup` comes a hundred times earlier than `tight`, to where that succeeds to 99.9 %
    for the smallest epsilon. Placed by separate; blocks rise there too.
    """
    high = block_size("separate", target, "tight", min(epsilons), 1.0 - HARD).neurons
    largest = MAX_WIDTH // max(n_out * n_in for n_out, n_in in layers.shapes(target))
    sizes = np.round(np.geomspace(1.0, min(high, largest), count))
    return tuple(int(m) for m in np.unique(sizes))


def default_layer_widths(
    target: Target, epsilons: Sequence[float], units: Mapping[str, int], count: int = 16
) -> tuple[int, ...]:
    """`default_block_sizes` where widths are the hidden neurons of each layer.

    Args:
        units: constructions, pooled among them, and how many blocks they have of a layer at most.
    """
    asked = target, "tight", min(epsilons), 1.0 - HARD
    high = network_pool_width(*asked)[1]
    if max(units.values()) > 1:
        high = max(high, block_size("separate", *asked).neurons * max(units.values()))
    widths = np.round(np.geomspace(1.0, min(high, MAX_WIDTH), count))
    return tuple(int(k) for k in np.unique(widths))


def network_lemma_block(sizes: Sequence[int], epsilon: float, delta: float) -> int:
    r"""Neurons a block that suffice in every layer, (64 l^2 n_in^2 n_out/epsilon^2) ln(2 N/delta).

    N = l n_in n_out. Step by step, from the whole to one weight:

    1.  Layers within epsilon / 2l each give (1 + epsilon/2l)^l - 1 <= e^(epsilon/2) - 1 <= epsilon
        for epsilon <= 1 (see `layers.slot_tolerance`), and failures delta / l add up to delta.
    2.  A layer is within that when each of its n_out neurons is to sqrt(n_out) less.
    3.  A neuron is, when each of its n_in weights is to n_in less, as |x_q| <= 1 in the unit ball:
        epsilon / (2 l n_in sqrt(n_out)) for a weight, failure delta / N.
    4.  `coordinate_lemma_width` at half that error, which its box doubles.

    So slots are promised to twice the tolerance of `slides`, which is within that of `tight`; to
    `slides` itself nothing is promised, and with n_in = 1 and a weight 1 it would be false. By the
    union bound over slots it holds for blocks and for separate alike.

    Args:
        sizes: d, n_1, ..., outputs.
    """
    return max(_lemma_blocks(sizes, epsilon, delta))


def network_lemma_width(sizes: Sequence[int], epsilon: float, delta: float) -> int:
    """Hidden neurons of the widest layer, n_in n_out blocks of the lemma's size: separate."""
    blocks = _lemma_blocks(sizes, epsilon, delta)
    return max(a * b * m for (a, b), m in zip(pairwise(sizes), blocks, strict=True))


def _lemma_blocks(sizes: Sequence[int], epsilon: float, delta: float) -> list[int]:
    check_delta(delta)
    depth = len(sizes) - 1
    return [
        coordinate_lemma_width(
            epsilon / (4.0 * depth * n_in * n_out**0.5), delta / (depth * n_in * n_out)
        )
        for n_in, n_out in pairwise(sizes)
    ]


def asymptotic_block(rule: str, sizes: Sequence[int], epsilon: float, delta: float) -> float:
    """Enough for any target: (4 / eta) ln(slots / delta) / ln(n_in), of the layer that asks most.

    The union bound with p >= (eta/4) ln(n_in), that of the worst weight 1/sqrt(n_in). Under `tight`
    a block is of order (l sqrt(n_in n_out) / epsilon) ln(slots / delta) / ln(n_in). NaN above
    delta = `RARE`, where failures are too many for the union bound to be near.
    """
    check_delta(delta)
    narrowest = min(sizes[:-1])
    if narrowest < 2:
        raise InputError(f"n_in must be at least 2 for the asymptotic block, got {narrowest}.")
    if delta > RARE:
        return float("nan")
    pairs = list(pairwise(sizes))
    etas = layers.slot_tolerance(rule, [(n_out, n_in) for n_in, n_out in pairs], epsilon)
    slots = sizes[0] * sizes[1] + sum(n_in * n_out for n_in, n_out in pairs)
    return max(
        4.0 / eta * float(np.log(slots / delta) / np.log(n_in))
        for (n_in, _), eta in zip(pairs, etas, strict=True)
    )


def _first(holds: Callable[[int], bool], guess: float) -> int:
    """Smallest k >= 1 at which the monotone `holds` is true, sought outward from `guess`."""
    high = int(min(max(guess, 1.0), MAX_WIDTH))
    reach = step = max(1, high // 512)
    while not holds(high):
        if high == MAX_WIDTH:
            raise TooWideError(f"delta asks for more than {MAX_WIDTH} neurons.")
        high, step = min(high + step, MAX_WIDTH), 2 * step
    low = max(high - reach, 0)
    while low > 0 and holds(low):
        high, low, reach = low, max(low - reach, 0), 2 * reach
    # Invariant: high holds; low does not, or is 0.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
