r"""Intervals for counted successes, bands for whole curves, and the size a test needs.

Two kinds. *Fixed*: right with probability >= 1 - alpha when the number of trials was set
beforehand. *Anytime*: right at all numbers of trials at once with probability >= 1 - alpha, so one
may look, resume and stop as one likes; about twice as wide.

References:
    Clopper, Pearson, Biometrika 1934. Massart, Annals of Probability 1990 (the constant 2 in the
    Dvoretzky-Kiefer-Wolfowitz inequality). Ville 1939; Robbins, Annals of Mathematical Statistics
    1970 (mixture martingales).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

# What numpy turns into an array.
Numbers = np.ndarray | np.generic | float | int | Sequence

HALVINGS = 60  # of a bracket in [0, 1]: below double precision


class Band(NamedTuple):
    """Success measured at each width, between bounds that hold at all widths at once."""

    measured: np.ndarray
    low: np.ndarray
    high: np.ndarray


class WidthInterval(NamedTuple):
    """Where a curve first reaches a level; None where the grid does not reach."""

    measured: int | None
    low: int | None
    high: int | None


class PowerLaw(NamedTuple):
    """y = scale x^exponent, and the interval [low, high] of the exponent."""

    scale: float
    exponent: float
    low: float
    high: float


def clopper_pearson(
    successes: Numbers, trials: Numbers, alpha: Numbers
) -> tuple[np.ndarray, np.ndarray]:
    """Fixed interval for a probability: alpha/2 at each end, exactly 0 and 1 where it must be."""
    s, n = _counts(successes, trials)
    half = np.asarray(alpha, np.float64) / 2.0
    low = special.betaincinv(np.maximum(s, 1.0), n - s + 1.0, half)
    high = special.betaincinv(s + 1.0, np.maximum(n - s, 1.0), 1.0 - half)
    return np.where(s > 0.0, low, 0.0), np.where(s < n, high, 1.0)


def anytime(successes: Numbers, trials: Numbers, alpha: Numbers) -> tuple[np.ndarray, np.ndarray]:
    r"""Anytime interval: all p at which a martingale has not yet reached 1/alpha.

    .. math:: M_n(p) = \frac{B(s + 1/2,\, n - s + 1/2)}{B(1/2, 1/2)\; p^s (1-p)^{n-s}}

    is the likelihood under p ~ Beta(1/2, 1/2) over that under p: a martingale of mean 1 when p is
    true, so it ever reaches 1/alpha with probability at most alpha (Ville).
    """
    s, n = _counts(successes, trials)
    alpha = np.asarray(alpha, np.float64)
    bar = special.betaln(s + 0.5, n - s + 0.5) - special.betaln(0.5, 0.5) + np.log(alpha)
    s, n, bar = np.broadcast_arrays(s, n, bar)
    # The log likelihood is concave with its top at s / n: one root to either side.
    outside = lambda p: special.xlogy(s, p) + special.xlog1py(n - s, -p) < bar
    top = np.asarray(s / np.maximum(n, 1.0))
    low = np.where(s > 0.0, _edge(outside, np.zeros_like(top), top), 0.0)
    high = np.where(s < n, _edge(outside, np.ones_like(top), top), 1.0)
    return low, high


def _edge(outside, out: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The last point known to be outside, by bisection towards `inside`."""
    for _ in range(HALVINGS):
        middle = 0.5 * (out + inside)
        gone = outside(middle)
        out, inside = np.where(gone, middle, out), np.where(gone, inside, middle)
    return out


def hoeffding(trials: Numbers, alpha: Numbers) -> np.ndarray:
    """Half width sqrt(ln(2/alpha) / (2n)) of a fixed interval for one probability."""
    return np.asarray(np.sqrt(np.log(2.0 / np.asarray(alpha)) / (2.0 * np.asarray(trials))))


def dkw(trials: Numbers, alpha: Numbers) -> np.ndarray:
    """Half width of a fixed band over a whole distribution function: the same number.

    Valid for discrete laws and censored ones; so for the success curve of any monotone criterion,
    which is the distribution of a first-hit width.
    """
    return hoeffding(trials, alpha)


def detectable_gap(trials: Numbers, alpha: Numbers, beta: Numbers) -> np.ndarray:
    """Two probabilities this far apart are told apart: false alarm <= alpha, miss <= beta."""
    return np.asarray(hoeffding(trials, alpha) + hoeffding(trials, beta))


def dkw_band(successes: Numbers, trials: Numbers, alpha: float) -> Band:
    """Fixed band for a monotone criterion.

    Args:
        successes: of the same `trials` draws, at each width; shape [widths].
        trials: number of draws.
        alpha: chance that the band fails anywhere.
    """
    s, n = _counts(successes, trials)
    measured, reach = s / n, dkw(n, alpha)
    return Band(measured, np.maximum(measured - reach, 0.0), np.minimum(measured + reach, 1.0))


def width_interval(widths: Numbers, band: Band, success: float) -> WidthInterval:
    """The smallest width whose success is at least `success`, of a nondecreasing curve.

    Where the band holds, a width whose upper end misses the level is too small and one whose lower
    end reaches it is enough.

    Where every draw that succeeds at a width succeeds at all larger ones, intervals for each width
    alone do in place of a band: an end is wrong only if the interval of one width is, at one of its
    ends: the lower end at the largest width of the grid that is too small, or the upper end at the
    smallest that is enough. Their errors add up to that of one interval if each has half of it at
    either end. This is the interval of a quantile by order statistics.

    Args:
        widths: ascending, shape [widths].
        band: simultaneous over the widths, or as above.
        success: the level, 1 - delta.

    Returns:
        The first grid width that reaches the level as measured, and the interval [low, high];
        low is None if the level may be reached before the grid, high if perhaps only beyond it.
    """
    ks = np.asarray(widths)
    small = np.flatnonzero(band.high < success)
    low = int(ks[small[-1]]) + 1 if len(small) else None
    return WidthInterval(_first(ks, band.measured >= success), low, _first(ks, band.low >= success))


def power_law(x: Numbers, y: Numbers, low: Numbers, high: Numbers) -> PowerLaw:
    r"""The least-squares line through (ln x, ln y), and how far it tilts within intervals for y.

    .. math:: b = \sum_i c_i \ln y_i, \qquad c_i = (u_i - \bar u) / \sum_j (u_j - \bar u)^2,
        \quad u_i = \ln x_i,

    is linear in ln y, so the ends of the intervals that raise and lower it most bound it: wherever
    every interval holds its true value, so does [low, high] the slope of the line through the true
    values, on a power law or not.

    Args:
        x: places, positive, [points]; where all are equal, the exponent is nan.
        y: values, positive; nan for one unknown, which leaves the exponent unknown.
        low, high: intervals for y; 0 and inf where open.
    """
    u = np.log(np.asarray(x, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):  # an open end: ln 0 = -inf
        c = (u - u.mean()) / np.sum((u - u.mean()) ** 2)
        values, least, most = (np.log(np.asarray(v, np.float64)) for v in (y, low, high))
    exponent = float(np.sum(c * values))
    tilt = lambda down, up: float(np.sum(c[c != 0.0] * np.where(c > 0.0, up, down)[c != 0.0]))
    scale = float(np.exp(np.mean(values) - exponent * u.mean()))
    return PowerLaw(scale, exponent, tilt(most, least), tilt(least, most))


def _first(ks: np.ndarray, reached: np.ndarray) -> int | None:
    at = np.flatnonzero(reached)
    return int(ks[at[0]]) if len(at) else None


def _counts(successes: Numbers, trials: Numbers) -> tuple[np.ndarray, np.ndarray]:
    s, n = np.broadcast_arrays(np.asarray(successes, np.float64), np.asarray(trials, np.float64))
    bad = (s < 0.0) | (s > n)
    if np.any(bad):
        found = f"{s[bad][0]:g} of {n[bad][0]:g}"
        raise ValueError(f"successes must lie between 0 and trials, got {found}.")
    return s, n
