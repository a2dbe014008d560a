r"""Random features: what the best coefficients make of one neuron, in squared loss, exactly.

Features relu(w_i.x) are drawn, coefficients are chosen, the target is the neuron y = relu(w.x). As
relu is homogeneous, inputs of a rotation-invariant law enter through E ||x||^2 alone: all is exact
through the kernel of Gaussian inputs, and a loss relative to E y^2 is the same for all of them.

That one neuron is hard for features has been proved, here in words (Yehudai and Shamir 2019). Let x
be standard Gaussian in R^d and the features be drawn without regard to the target, by a law that
rotations leave alone. Then there is a neuron relu(w*.x + b*), its weights and bias of a size
polynomial in d, that with high probability over the features is not approximated to a small
constant squared loss unless their number, or the size of the coefficients, is exponential in d.

Its caveats: the target depends on d, has a bias, and grows with d, so the constant loss, 1/50, is a
polynomially small part of E y^2; the constant in the exponent is universal, and unnamed. Of a fixed
part of E y^2 and a neuron without a bias it says nothing. There the least number of features grows
as a power of d, the larger the smaller the part (`harmonics`).

Source: the kernel is that of Cho and Saul (2009, NIPS); the theorem is in Yehudai and Shamir 2019
(arXiv:1904.00687; known here from its abstract, the constants from memory).
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg, optimize, special
from scipy.spatial import distance

from ltjax.errors import InputError
from ltjax.theory.product import Numbers

# E ||x||^2 / d, the scale of every second moment, by the law of the inputs.
SCALES = {"gaussian": lambda d: 1.0, "sphere": lambda d: 1.0 / d, "ball": lambda d: 1.0 / (d + 2)}
SMALL = 0.5  # angle below which sin(phi) - phi cos(phi) cancels; above it loses one digit
CHUNK = 64  # rows at a time, whose temporaries stay in the cache
JITTER = 8.0 * float(np.finfo(np.float64).eps)  # times the number of features


class Residuals(NamedTuple):
    """Least squared loss of the first r features, r = 1, ..., k, both [k]; and what was added.

    loss: E (sum_i u_i relu(w_i.x) - y)^2 at the best u.
    relative: over E y^2.
    jitter: j, for which `relative` is the least of the relative loss + j |z|^2, where z are the
        coefficients of features and target scaled to one size. Hence never too small, but for
        rounding: both are known to about k 2^-52 of E y^2, and end at 0.
    """

    loss: np.ndarray
    relative: np.ndarray
    jitter: float


class Fit(NamedTuple):
    """Coefficients [k], and their squared loss."""

    coefficients: np.ndarray
    loss: float


def kernel(u: Numbers, v: Numbers, data: str = "gaussian") -> np.ndarray:
    r"""E relu(u.x) relu(v.x) for all pairs of rows: the arc-cosine kernel of degree 1.

    .. math:: K(u, v) = \frac{\|u\| \|v\|}{2\pi} (\sin\theta + (\pi - \theta) \cos\theta)
                      = \frac{\|u\| \|v\|}{2\pi} \phi^2 j_1(\phi),
                      \qquad \phi = \pi - \theta = 2 \arcsin \tfrac12 \|\hat u + \hat v\|,

    with the spherical Bessel function phi^2 j_1 = sin(phi) - phi cos(phi). Where u and v are nearly
    opposite, K is near phi^3 ||u|| ||v|| / 6 pi, and the first form keeps no digit; the second
    keeps all that ||u + v|| has. Where they are nearly parallel, dK/dphi ~ phi sin(phi) takes back
    what the arc sine loses. So rounding is of the order of 2^-52 K everywhere.

    For x = rho s, s on the sphere, relu(u.x) relu(v.x) = rho^2 relu(u.s) relu(v.s): of a
    rotation-invariant law only E rho^2 matters, which is d (gaussian), 1 (sphere), d / (d + 2)
    (ball). So the kernel above is multiplied by 1, 1 / d, 1 / (d + 2).

    Args:
        u, v: [n, d] and [m, d], of any norm; a row may be zero.
        data: law of x: gaussian, N(0, I); sphere or ball, uniform, of radius 1.

    Returns:
        [n, m].

    Raises:
        InputError: of another law, or of arrays that are no rows of one length or not finite.
    """
    rows, columns = _rows("u", u), _rows("v", v)
    if rows.shape[1] != columns.shape[1]:
        raise InputError(
            f"u and v must have one dimension, got {rows.shape[1]} and {columns.shape[1]}."
        )
    if data not in SCALES:
        raise InputError(f"data must be one of {', '.join(SCALES)}, got {data}.")
    (a, length), (b, width) = _unit(rows), _unit(columns)
    scale = SCALES[data](rows.shape[1]) / (2.0 * np.pi)
    found = np.empty((len(a), len(b)))
    for start in range(0, len(a), CHUNK):
        part = slice(start, start + CHUNK)
        half = np.minimum(0.5 * distance.cdist(a[part], -b), 1.0)
        found[part] = scale * np.outer(length[part], width) * _bessel(half)
    return found


def _bessel(half: np.ndarray) -> np.ndarray:
    """sin(phi) - phi cos(phi) by half = sin(phi / 2)."""
    phi = 2.0 * np.arcsin(half)
    found = 2.0 * half * np.sqrt((1.0 - half) * (1.0 + half)) - phi * (1.0 - 2.0 * half**2)
    small = phi < SMALL
    found[small] = phi[small] ** 2 * special.spherical_jn(1, phi[small])
    return found


def squared_loss(
    coefficients: Numbers, features: Numbers, target: Numbers, data: str = "gaussian"
) -> float:
    """E (sum_i u_i relu(w_i.x) - relu(w.x))^2, exactly.

    Up to rounding of 2^-52 (sum_i |u_i| ||w_i|| + ||w||)^2, times the scale of `data`.

    Args:
        coefficients: u, [k].
        features: w_i, [k, d].
        target: w, [d].
    """
    u, (rows, w) = np.asarray(coefficients, np.float64), _task(features, target)
    if u.shape != (len(rows),):
        raise InputError(f"coefficients must be one a feature, {len(rows)}, got shape {u.shape}.")
    every, weights = np.append(rows, w, axis=0), np.append(u, -1.0)
    return max(float(weights @ kernel(every, every, data) @ weights), 0.0)


def residuals(features: Numbers, target: Numbers, data: str = "gaussian") -> Residuals:
    r"""Least squared loss of the first r features, for every r, by one factorisation.

    With features and target scaled to unit norm in L2, H the matrix of their inner products and b
    that with the target, the least relative loss is 1 - b' H^-1 b. Features are nested, and so are
    Cholesky factors: with H = L L' the leading r rows of L^-1 b belong to the first r features, and

    .. math:: 1 - \sum_{i \le r} (L^{-1} b)_i^2.

    Args:
        features: w_i, [k, d], none zero, whose norms do not matter.
        target: w, [d], not zero.
        data: as in `kernel`; of no effect on `relative`.
    """
    rows, w = _task(features, target)
    _, explained, jitter = _factor(rows, w)
    relative = np.maximum(1.0 - np.cumsum(explained**2), 0.0)
    return Residuals(float(kernel(w, w, data)[0, 0]) * relative, relative, jitter)


def best_coefficients(
    features: Numbers, target: Numbers, cap: float = np.inf, data: str = "gaussian"
) -> Fit:
    """Coefficients |u_i| <= cap of least squared loss, up to the jitter of `residuals`.

    Args:
        features: w_i, [k, d], none zero; meant for k to some hundred.
        target: w, [d], not zero.
        cap: C.

    Raises:
        InputError: also of a cap that is not positive.
    """
    if not cap > 0.0:
        raise InputError(f"cap must be positive, got {cap:g}.")
    rows, w = _task(features, target)
    factor, explained, _ = _factor(rows, w)
    size = np.linalg.norm(rows, axis=1) / np.linalg.norm(w)
    found = optimize.lsq_linear(
        factor.T, explained, (-cap * size, cap * size), "bvls", max_iter=100 * len(rows)
    )
    coefficients = np.clip(found.x / size, -cap, cap)
    return Fit(coefficients, squared_loss(coefficients, rows, w[0], data))


def _factor(rows: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Of `residuals`: L, L^-1 b and j, with L L' = H + j I. H may be indefinite by rounding."""
    unit, at = (2.0**0.5 * _unit(values)[0] for values in (rows, w))
    jitter = JITTER * len(unit)
    matrix = kernel(unit, unit)
    matrix[np.diag_indices(len(unit))] += jitter
    # The transpose of a symmetric matrix is itself, in the order that is overwritten in place.
    factor = linalg.cholesky(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    explained = linalg.solve_triangular(factor, kernel(unit, at)[:, 0], lower=True)
    return factor, explained, jitter


def _task(features: Numbers, target: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Features [k, d] and the target as a row [1, d], none of them zero."""
    rows, w = _rows("features", features), _rows("target", np.asarray(target, np.float64)[None])
    if rows.shape[1] != w.shape[1]:
        raise InputError(
            f"features and target must have one dimension, got {rows.shape[1]} and {w.shape[1]}."
        )
    if not np.all(np.any(np.append(rows, w, axis=0), axis=1)):
        raise InputError("features and target must not be zero, got a row of zeros.")
    return rows, w


def _rows(name: str, values: Numbers) -> np.ndarray:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise InputError(f"{name} must be rows of one length, got shape {rows.shape}.")
    if not np.all(np.isfinite(rows)):
        raise InputError(f"{name} must be finite, got {rows[~np.isfinite(rows)][0]:g}.")
    return rows


def _unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions and norms; the direction of a zero row is zero."""
    norm = np.linalg.norm(rows, axis=1)
    return rows / np.where(norm > 0.0, norm, 1.0)[:, None], norm
