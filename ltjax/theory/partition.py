r"""Blocks: neuron j serves input j mod d and no other, so the inputs are independent.

A slot is an input and a side: slot (i, s) is met by a neuron of the block of input i with
sign(W) = s and |A W - w_i| <= eta. It may stay empty, its error is then |w_i|; hence slots with
|w_i| <= eta are always met (the zero rule) and only the other, *active* coordinates count.

Source: the construction is that of Malach et al. 2020, arXiv:2002.00585; the formulas are derived
here.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import fft

from ltjax.theory import product
from ltjax.theory.product import Numbers

# `blocks_l2`: cells per coordinate of the grid of squared errors, the spread below which no
# convolution is worth it, the damping of the transform and what it may cost (see `_damped_sum`).
CELLS, NARROW, DAMPING, SLACK = 2048, 1e-4, 1e4, 1e-6


Match = Callable[[np.ndarray, float], np.ndarray]


class Odds(NamedTuple):
    """Success and failure of one event, each accurate in its own tail, shaped like the widths.

    error: standard error of both; zero where they are exact.
    """

    success: np.ndarray
    failure: np.ndarray
    error: np.ndarray


def exact_odds(success: Numbers, failure: Numbers) -> Odds:
    success = np.asarray(success, np.float64)
    return Odds(success, np.asarray(failure, np.float64), np.zeros_like(success))


def block_sizes(dim: int, width: Numbers) -> np.ndarray:
    """m_i = #{j < k : j mod d = i}, shape [..., d] for widths of shape [...]."""
    return (np.asarray(width, np.int64)[..., None] + dim - 1 - np.arange(dim)) // dim


def both_slots(p: Numbers, m: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Success and failure of one coordinate: among m candidates, one for each side.

    The two slot events of a candidate exclude each other, so S = 1 - 2 (1-p)^m + (1-2p)^m.

    Args:
        p: chance that a candidate serves one slot, below 1/2.
        m: candidates, broadcast against `p`.
    """
    p, m = np.asarray(p, np.float64), np.asarray(m)
    decay = m * np.log1p(-p)
    empty = np.exp(decay)
    failure = 2.0 * empty - np.exp(m * np.log1p(-2.0 * p))
    # S = (1 - x)^2 - (x^2 - y) with x = (1-p)^m, y = (1-2p)^m: no 1 is left to cancel.
    dependence = -np.expm1(m * np.log1p(-((p / (1.0 - p)) ** 2)))
    success = np.expm1(decay) ** 2 - empty**2 * dependence
    return np.where(m < 2, 0.0, success), np.asarray(failure)


def log_success(success: np.ndarray, failure: np.ndarray) -> np.ndarray:
    """ln(success) to full relative accuracy, from whichever of the two is the smaller."""
    with np.errstate(divide="ignore"):  # log 0 = -inf: too small a block cannot succeed
        return np.where(failure < 0.5, np.log1p(-np.minimum(failure, 0.5)), np.log(success))


def blocks_odds(
    weights: Numbers, eta: float, width: Numbers, match: Match = product.match_probability
) -> Odds:
    """P(every slot is met) = prod_i S_i(m_i), over the active coordinates.

    Args:
        weights: target, shape [d].
        eta: tolerance per weight.
        width: hidden neurons k, any shape; k need not be a multiple of d.
        match: p(t, eta), the chance that a neuron serves one slot, by the law of its weights; by
            default that of U[-1, 1].
    """
    weights = np.abs(np.asarray(weights, np.float64))
    active = weights > eta
    p = match(weights[active], eta)
    success, failure = both_slots(p, block_sizes(len(weights), width)[..., active])
    log = np.sum(log_success(success, failure), axis=-1)
    return exact_odds(np.exp(log), 0.0 - np.expm1(log))


def blocks_l2(weights: Numbers, epsilon: float, width: Numbers) -> tuple[np.ndarray, np.ndarray]:
    r"""Bracket on P(sum_i max(E_i+, E_i-)^2 <= epsilon^2), E the best slot errors.

    P(max(E_i+, E_i-) <= y) = S_i(m_i; y) below |w_i| and 1 from there on. The squares are rounded
    up to a grid of N cells per epsilon^2 and convolved. Rounding down instead moves n summands by
    one cell each, so the same sum read n - 1 cells further is the upper bound. The box rules
    bracket it from outside: max <= epsilon / sqrt(n) implies it, and it implies max <= epsilon.

    Args:
        weights: target, shape [d].
        epsilon: bound on the root of the sum of squares.
        width: hidden neurons k, any shape.

    Returns:
        Lower and upper bound, shaped like `width`, about 0.001 apart or less.
    """
    weights = np.abs(np.asarray(weights, np.float64))
    used = weights > 0.0
    t, widths = weights[used], np.asarray(width, np.int64)
    sizes = block_sizes(len(weights), widths)[..., used]
    if np.sum(t * t) <= epsilon**2:
        return np.ones(widths.shape), np.ones(widths.shape)
    lower = np.array(blocks_odds(weights, epsilon / np.sqrt(len(t)), widths).success)
    upper = np.array(blocks_odds(weights, epsilon, widths).success)
    n, laws = CELLS * len(t), {}
    grid = np.sqrt(np.arange(n + len(t)) / n) * epsilon
    for value in np.unique(t):
        p = product.match_probability(value, grid[grid < value])
        laws[float(value)] = np.log1p(-p), np.log1p(-2.0 * p)
    for at in zip(*np.nonzero(np.atleast_1d(upper - lower > NARROW)), strict=True):
        at = at if widths.ndim else ()
        kinds, counts = np.unique(np.stack([t, sizes[at]]), axis=1, return_counts=True)
        masses = [_cell_masses(*laws[v], m, len(grid)) for v, m in kinds.T]
        total = np.cumsum(_damped_sum(masses, counts, len(grid)))
        lower[at] = max(lower[at], total[n] - SLACK)
        upper[at] = min(upper[at], total[-1] + SLACK)
    return lower, upper


def _cell_masses(one: np.ndarray, two: np.ndarray, m: float, cells: int) -> np.ndarray:
    """Mass of each cell (s_(j-1), s_j] under S(m; .), given ln(1 - p) and ln(1 - 2p) below |w|."""
    cdf = np.ones(cells)
    cdf[: len(one)] = 1.0 - 2.0 * np.exp(m * one) + np.exp(m * two)
    return np.diff(cdf, prepend=0.0)


def _damped_sum(masses: list[np.ndarray], counts: np.ndarray, cells: int) -> np.ndarray:
    """The first `cells` masses of the sum of independent laws, each taken `counts` times.

    Mass that leaves the transform's length L comes back at the wrong cell. Damping cell j by
    exp(-theta j) weakens it by exp(-theta L) = DAMPING^-2 and magnifies rounding by at most
    DAMPING sqrt(L): together far below SLACK.
    """
    length = fft.next_fast_len(2 * cells, real=True)
    damp = np.exp(-2.0 * np.log(DAMPING) / length * np.arange(cells))
    spectrum = np.ones(length // 2 + 1, np.complex128)
    for mass, count in zip(masses, counts, strict=True):
        spectrum *= fft.rfft(mass * damp, length) ** int(count)
    return fft.irfft(spectrum, length)[:cells] / damp
