r"""The law of a sum of random candidates: densities and windows, for all numbers of them at once.

All knots of these laws are integers. So what is asked for lies on cells: at points r + m, where the
few r are shared by all integers m, taken on a circle of `period` cells, longer than all supports.

    uniform  X ~ U[-1, 1]: p positive and q negative of them sum to s - q, s the sum of p + q of
             U[0, 1], whose density is the cardinal B-spline, by its recursion; windows are Gauss
             rules between knots. All terms are positive: relative errors of 1e-13.
    product  X = A W, with the density -ln|x| / 2: one and two of them by Gauss rules that crowd at
             the kinks, more by the Fourier series on the circle, whose coefficients are powers of
             E cos(s X) = Si(s) / s <= pi / 2 s, cut where they are too small to matter.

Sources: de Boor, "On calculating with B-splines" (1972); the product's transform is classical.
"""

import math

import numpy as np
from scipy import special

from ltjax.theory import product

NODES = 16  # of a Gauss rule: exact for polynomials to degree 31
CROWDED = 40  # nodes between kinks where logarithms end
CUT = 1e-14  # Fourier coefficients below it are left out,
MOST_TURNS = 800  # but none above this many turns a cell: three products are off by 3e-8


def between(
    edges: np.ndarray, crowded: bool = False, nodes: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights between neighbours of sorted edges: [..., e] gives two of [..., node].

    crowded: towards the edges, so that logarithms there do no harm.
    nodes: between two edges; as many as are exact to rounding unless given.
    """
    x, w = np.polynomial.legendre.leggauss(nodes or (CROWDED if crowded else NODES))
    x, w = (1.0 + x) / 2.0, w / 2.0
    if crowded:  # by the polynomial that is flat to order 3 at both ends
        w = w * 140.0 * (x * (1.0 - x)) ** 3
        x = x**4 * (35.0 - 84.0 * x + 70.0 * x**2 - 20.0 * x**3)
    span = np.diff(edges)[..., None]
    shape = (*span.shape[:-2], -1)
    return (edges[..., :-1, None] + span * x).reshape(shape), (span * w).reshape(shape)


# Sums of k of U[0, 1].


def magnitudes(n: int, points: np.ndarray, period: int) -> np.ndarray:
    """Densities of the sum of k = 0, ..., n of U[0, 1] at points + m: [n + 1, *points, period].

    Row 0 is 0: that sum has none.

    Args:
        n: at most period - 1.
        points: any reals.
        period: cells of the circle.
    """
    whole = np.floor(points)
    cell = np.mod(whole[..., None].astype(np.int64) + np.arange(period), period)
    y = (points - whole)[..., None] + np.arange(period)
    table = np.zeros((n + 1, *y.shape))
    if n:
        table[1, ..., 0] = 1.0
    for k in range(1, n):
        table[k + 1] = (y * table[k] + (k + 1 - y) * np.roll(table[k], 1, -1)) / k
        table[k + 1, ..., k + 1 :] = 0.0  # k + 1 - y is negative there, and what it meets 0
    return np.take_along_axis(table, np.broadcast_to(cell, table.shape), -1)


def magnitude_windows(n: int, points: np.ndarray, eps: float, period: int) -> np.ndarray:
    """P(|sum of k of U[0, 1] - y| <= eps) at y = points + m: [n + 1, *points, period]."""
    low = points - eps
    steps = np.arange(math.ceil(2.0 * eps) + 2)
    edges = np.clip(np.floor(low)[..., None] + steps, low[..., None], (points + eps)[..., None])
    x, w = between(edges)
    table = np.einsum("k...xm,...x->k...m", magnitudes(n, x, period), w)
    table[0] = _zero_hits(points, eps, period)
    return table


def magnitude_cdf(n: int, c: float) -> np.ndarray:
    """P(sum of k of U[0, 1] < c), k = 0, ..., n: [n + 1]. The sum of none is 0."""
    if c <= 0.0:
        return np.zeros(n + 1)
    if c >= n:
        return np.ones(n + 1)
    # F_k(c) = f_(k+1)(c) + f_(k+1)(c - 1) + ...
    table = magnitudes(n + 1, np.array(c - math.floor(c)), n + 2)[1:]
    return np.minimum(np.sum(table[..., : math.floor(c) + 1], axis=-1), 1.0)


def signed(table: np.ndarray) -> np.ndarray:
    """A table of sums of U[0, 1] as one of p positive and q negative: [p, q, ...], p + q <= n.

    Where q of them are negative the sum is less by q.
    """
    n, shape = len(table) - 1, table.shape[1:]
    found = np.zeros((n + 1, n + 1, *shape))
    for q in range(n + 1):
        found[: n + 1 - q, q] = np.roll(table[q:], -q, -1)
    return found


# Sums of k candidates of a law.


def densities(law: str, n: int, points: np.ndarray, period: int) -> np.ndarray:
    """Densities of the sum of k = 0, ..., n candidates at points + m: [n + 1, *points, period].

    Row 0 is 0. The law is uniform or product. Tails beyond half a circle are wrapped around it.
    """
    if law == "uniform":
        return _of_signs(signed(magnitudes(n, points, period)))
    table = _series(n, points, period, np.ones_like)
    y = _nearest(points, period)
    for k, density in enumerate((product_density, _two_density)[:n], 1):
        near = np.abs(y) < k
        table[k] = 0.0
        table[k][near] = density(y[near])
    return table


def windows(law: str, n: int, points: np.ndarray, eps: float, period: int) -> np.ndarray:
    """P(|sum of k candidates - y| <= eps) at y = points + m: [n + 1, *points, period]."""
    if law == "uniform":
        return _of_signs(signed(magnitude_windows(n, points, eps, period)))
    table = _series(n, points, period, lambda s: 2.0 * eps * np.sinc(eps * s / np.pi))
    y = _nearest(points, period)
    table[0] = _zero_hits(points, eps, period)
    for k, window in enumerate((_one_window, _two_window)[:n], 1):
        near = np.abs(y) < k + eps
        table[k] = 0.0
        table[k][near] = window(y[near], eps)
    return table


def _of_signs(table: np.ndarray) -> np.ndarray:
    """The mean over the signs of k: [p, q, ...] to [k, ...]."""
    found = np.zeros(table.shape[1:])
    for k in range(len(found)):
        for p in range(k + 1):
            found[k] += math.comb(k, p) * 0.5**k * table[p, k - p]
    return found


def _nearest(points: np.ndarray, period: int) -> np.ndarray:
    """Points + m, as the numbers nearest to 0 on the circle."""
    y = np.asarray(points)[..., None] + np.arange(period)
    return y - period * np.round(y / period)


def _zero_hits(points: np.ndarray, eps: float, period: int) -> np.ndarray:
    return np.abs(_nearest(points, period)) <= eps


def product_density(x: np.ndarray) -> np.ndarray:
    return -0.5 * np.log(np.clip(np.abs(x), 1e-300, 1.0))


def _one_window(y, eps):
    return 2.0 * product.match_probability(y, eps)  # of one side


def _two_density(y):
    return _convolve(y, product_density, (-1.0, 0.0, 1.0))


def _two_window(y, eps):
    kinks = [k + side for k in (-1.0, 0.0, 1.0) for side in (-eps, eps)]
    return _convolve(y, lambda z: _one_window(z, eps), kinks)


def _convolve(y, other, kinks):
    """Integral of product_density(x) other(y - x), with the kinks of `other`."""
    moving = y[:, None] - np.array(kinks)
    fixed = np.broadcast_to([-1.0, 0.0, 1.0], (len(y), 3))
    edges = np.sort(np.clip(np.concatenate([moving, fixed], axis=1), -1.0, 1.0), axis=1)
    x, w = between(edges, crowded=True)
    return np.sum(w * product_density(x) * other(y[:, None] - x), axis=1)


def _series(n, points, period, factor):
    """Sums of three products and more, by Fourier series with coefficients times `factor`."""
    flat = np.ravel(np.asarray(points, np.float64))
    turns = np.arange(MOST_TURNS)[:, None]
    step = np.arange(period) / period
    s = 2.0 * np.pi * (turns + step)
    phi = special.sici(s)[0] / np.where(s > 0.0, s, 1.0)
    scale = 2.0 * factor(s) / period  # each term stands for its negative, too, but not
    phi[0, 0], scale[0, 0] = 1.0, 0.5 * scale[0, 0]  # the one of 0
    wave = np.exp(2j * np.pi * flat[:, None] * turns.T)
    within = np.exp(2j * np.pi * flat[:, None] * step)
    table = np.zeros((n + 1, len(flat), period))
    for k in range(3, n + 1):
        most = _turns(k)
        folded = (wave[:, :most] @ (scale[:most] * phi[:most] ** k)) * within
        table[k] = np.real(np.fft.ifft(folded, axis=-1)) * period
    return np.maximum(table, 0.0).reshape(n + 1, *np.shape(points), period)


def _turns(k: int) -> int:
    """Turns a cell after which (pi / 2 s)^k is below `CUT`, s = 2 pi a turn."""
    return min(MOST_TURNS, math.ceil(0.25 * CUT ** (-1.0 / k)) + 1)
