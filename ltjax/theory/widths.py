r"""How wide: exact smallest widths, their asymptotics, and what the paper's lemma asks for.

The tolerance per weight, eta, that keeps the error over the unit ball below epsilon:

    slides   eta = epsilon / (2 d), from the slides
    tight    eta = epsilon / sqrt(d), enough because |v - w.x| <= eta ||x||_1 <= eta sqrt(d)

Source: Malach et al. 2020, arXiv:2002.00585, for the lemma; the rest is derived here.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy import optimize

from ltjax.problem import MAX_WIDTH, InputError
from ltjax.theory import partition, pool, product
from ltjax.theory.product import Numbers

EASY, HARD = 0.01, 0.999  # success rates at the ends of a default grid


def tolerance(rule: str, dim: int, epsilon: float) -> float:
    """eta for the rule `slides` or `tight`."""
    if rule not in ("slides", "tight"):
        raise InputError(f"rule must be slides or tight, got {rule}.")
    return epsilon / (2.0 * dim) if rule == "slides" else epsilon / dim**0.5


def blocks_width(weights: Numbers, eta: float, delta: float) -> int:
    """Smallest k at which the blocks construction fails with probability <= delta."""
    dim = np.size(weights)
    failure = lambda k: float(partition.blocks(weights, eta, k).failure)
    return _first(lambda k: failure(k) <= delta, dim * sharp_width(weights, eta, delta))


def shared_width(weights: Numbers, eta: float, delta: float) -> int:
    """Smallest k at which some slot stays empty with probability <= delta, neurons shared.

    Exact where `pool.shared` is; elsewhere up to the standard error of its sample.
    """
    law = pool.shared_law(weights, eta)
    failure = lambda k: law(k)[1] if law else float(pool.shared(weights, eta, k).failure)
    return _first(lambda k: failure(k) <= delta, sharp_width(weights, eta, delta))


def pooled_width(weights: Numbers, eta: float, delta: float) -> tuple[int, int]:
    """Between these lies the smallest k for distinct neurons without fixed blocks."""
    return shared_width(weights, eta, delta), blocks_width(weights, eta, delta)


def sharp_width(weights: Numbers, eta: float, delta: float) -> float:
    r"""Solve 2 sum_i (1 - p_i)^k = ln(1 / (1 - delta)) over the active weights.

    The number of empty slots is nearly Poisson with this mean: right to a neuron or two for the
    shared construction, d times as much for blocks. 1 where no weight exceeds eta.
    """
    _check_delta(delta)
    t = np.abs(np.asarray(weights, np.float64))
    rate = np.log1p(-product.match_probability(t[t > eta], eta))
    mean = -np.log1p(-delta)
    if not len(rate):
        return 1.0
    if np.max(rate) == 0.0:
        raise InputError(f"eta must leave a weight some chance of a match, got {eta:g}.")
    excess = lambda k: np.log(2.0 * np.sum(np.exp(rate * k)) / mean)
    if excess(1.0) <= 0.0:
        return 1.0
    # At this width already every term is at most mean / (2 n).
    most = max(1.0, np.log(2.0 * len(rate) / mean) / -np.max(rate))
    return float(optimize.brentq(excess, 1.0, 1.0 + most))


def leading_width(rule: str, dim: int, epsilon: float, delta: float) -> float:
    """Leading order for the worst target |w_i| = 1/sqrt(d), shared; times d for blocks.

    p >= (eta/4) ln d there, and ln(2d/delta) / p is (8d/epsilon) (1 + ln(2/delta)/ln d) under
    `slides`, (4 sqrt(d)/epsilon) (1 + ln(2/delta)/ln d) under `tight`.
    """
    if dim < 2:
        raise InputError(f"dim must be at least 2 for the asymptotic width, got {dim}.")
    _check_delta(delta)
    eta = tolerance(rule, dim, epsilon)
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
    _check_delta(delta)
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


def _check_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise InputError(f"delta must lie strictly between 0 and 1, got {delta:g}.")


def _first(holds: Callable[[int], bool], guess: float) -> int:
    """Smallest k >= 1 at which the monotone `holds` is true, sought outward from `guess`."""
    high = int(min(max(guess, 1.0), MAX_WIDTH))
    reach = step = max(1, high // 512)
    while not holds(high):
        if high == MAX_WIDTH:
            raise InputError(f"delta asks for more than {MAX_WIDTH} neurons.")
        high, step = min(high + step, MAX_WIDTH), 2 * step
    low = max(high - reach, 0)
    while low > 0 and holds(low):
        high, low, reach = low, max(low - reach, 0), 2 * reach
    # Invariant: high holds; low does not, or is 0.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
