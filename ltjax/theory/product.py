r"""The law of one path product A W, and the chance that it lands near a weight.

``A, W ~ U[-1, 1]`` independent: ``Z = A W`` has the density ``-ln|z| / 2`` on [-1, 1], unbounded at
0 and vanishing at 1. Small weights are easy to match, weights near 1 are hard.

Source: the product law is classical; its use in place of the box event of Malach et al. 2020
(arXiv:2002.00585), which turns 1/epsilon^2 into 1/epsilon, is derived here.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

# What numpy turns into an array.
Numbers = np.ndarray | np.generic | float | int | Sequence
Array = np.ndarray | np.floating  # what arithmetic on arrays returns

# h^n / (n (n - 1)) for n = 2, ..., 17: the series of `_deficit`, exact to rounding below 0.1.
SERIES = np.array([0.0, 0.0] + [1.0 / (n * (n - 1)) for n in range(2, 18)])


def product_cdf(z: Numbers) -> np.ndarray:
    r"""P(A W <= z) = 1/2 + (z/2) (1 - ln|z|) for |z| <= 1, continued by 0 and 1."""
    z = np.clip(np.asarray(z, np.float64), -1.0, 1.0)
    return np.asarray(0.5 + 0.5 * (z - special.xlogy(z, np.abs(z))))


def match_probability(weight: Numbers, eta: Numbers) -> np.ndarray:
    r"""p(t, eta): the chance that one neuron serves one slot, t = |weight|.

    .. math:: p = P(\mathrm{sign}\,W = s,\ |A W - w| \le \eta)
                = \tfrac14 \int_{t-\eta}^{t+\eta} -\ln|z|\, 1\{|z| \le 1\}\, dz,

    the same for both sides s. Every term below is positive, so the relative accuracy is full for
    any eta, and near t = 1, where p = eta^2/8 + ...

    Args:
        weight: target weights, any shape.
        eta: tolerance per weight, broadcast against `weight`.
    """
    t = np.abs(np.asarray(weight, np.float64))
    eta = np.asarray(eta, np.float64)
    # A window that reaches over 0 is two intervals that start there.
    across = np.clip(eta - t, 0.0, 1.0)
    span = np.clip(np.minimum(2.0 * eta, 1.0 - t + eta) - across, 0.0, 1.0)
    return np.asarray(0.25 * (_area(np.minimum(t + eta, 1.0), span) + _area(across, across)))


def hit_probability(a: Numbers, t: np.ndarray, eta: float) -> np.ndarray:
    """q(a) = P(|a W - t| <= eta) for W ~ U[-1, 1] and t > eta, shape [..., len(t)]."""
    a = np.asarray(a, np.float64)[..., None]
    return np.clip(a - t + eta, 0.0, 2.0 * eta) / (2.0 * a)


def _area(high: Array, span: Array) -> Array:
    """Integral of -ln z over [high - span, high], a part of [0, 1]."""
    share = np.minimum(span / np.where(high > 0.0, high, 1.0), 1.0)
    return high * _deficit(share) - special.xlogy(span, high)


def _deficit(h: Array) -> Array:
    """h + (1 - h) ln(1 - h), the integral of -ln z over [1 - h, 1]."""
    series = np.polynomial.polynomial.polyval(np.minimum(h, 0.1), SERIES)
    return np.where(h < 0.1, series, h + special.xlog1py(1.0 - h, -h))
