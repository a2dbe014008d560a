"""The supremum of the difference of two networks of two inputs: any layers, any outputs.

The edge of the ball is a circle.
"""

import math

import numpy as np

from ltjax.networks.pairs import ULP, Pair, difference, length
from ltjax.supnorm.one_neuron import UNDERFLOW

TURNED = 64  # ulps: more than the angle is off at which a row vanishes, times two


def circle_bounds(pair: Pair) -> tuple[float, float]:
    """Bounds on the supremum over the unit disc of ||f - g||, some ulps of the layers apart.

    Let b be the product of ||W_i|| + ||E_i||, Frobenius norms, and k = sqrt 2 (n + TURNED) ulps for
    layers of n inputs at most. On an arc the computed matrix of f after i layers is off by i k b_i:
    each layer adds n ulps for its product, and where a row vanishes the arc ends some ulps away, so
    that relu is taken wrongly of what is as small. That of g - f is off by what it was before, by
    what that of f is, as relu of z + dz less relu of z moves no more than z, and by 3 k: in all by
    (l^2 + 4 l) k b, l the number of layers. As much again does `difference` at the best point, and
    its angle; a maximum within an arc is missed by the square of that.

    Of a pair with a domain, of which the circle is no edge, nothing is said: 0 and inf.
    """
    if pair.domain is not None:
        return 0.0, math.inf
    if not any(np.any(e) for e in pair.errors):
        return 0.0, 0.0
    depth, size = len(pair.weights), max(max(w.shape) for w in pair.weights)
    sizes = [length(w) + length(e) for w, e in zip(pair.weights, pair.errors, strict=True)]
    off = 2.0 * (depth**2 + 4 * depth) * 2.0**0.5 * (size + TURNED) * ULP * math.prod(sizes)
    value = circle_supremum(pair)
    return max(float(value - off), 0.0), float(value + off + UNDERFLOW)


def circle_supremum(pair: Pair) -> float:
    """The supremum over the unit disc of ||f - g||, for networks of two inputs, but for rounding.

    Between neighbouring angles at which x_i or a pre-activation of f or of g changes its sign,
    f - g = M x. There ||M x||^2 is a constant and a cosine of twice the angle, so that its maximum
    is at a singular vector of M or at an end. The arcs are refined layer by layer; they only say
    where to look: the value is that of `pairs.difference` at the best of these points.

    Args:
        pair: one pair, `errors` without leading axes.
    """
    ends = np.linspace(0.0, 2.0 * np.pi, 5)
    f = change = np.tile(np.eye(2), (4, 1, 1))  # activations of f and g - f, as matrices on an arc
    for i, (weights, errors) in enumerate(zip(pair.weights, pair.errors, strict=True)):
        if i == 0:
            # By quadrant: the first input is negative in the second and third, the second after.
            sides = np.array([[0, 0], [-1, 0], [-1, -1], [0, -1]])
            change = errors[sides, :, np.arange(2)].swapaxes(1, 2)
        else:
            change = weights @ change + errors[0] @ (f + change)
        f = weights @ f
        if i + 1 < len(pair.weights) or pair.last == "relu":
            ends, parents = _split(ends, np.concatenate([f, f + change], axis=1))
            f, g = f[parents], (f + change)[parents]
            x = _at_angle(0.5 * (ends[1:] + ends[:-1]))[..., None]
            f, g = (np.where(h @ x > 0, h, 0.0) for h in (f, g))
            change = g - f
    scale = np.frexp(np.max(np.abs(change), axis=(1, 2), keepdims=True))[1]
    change = np.ldexp(change, -scale)  # only the angle is asked for
    squares = change.swapaxes(1, 2) @ change
    double = np.arctan2(2.0 * squares[:, 0, 1], squares[:, 0, 0] - squares[:, 1, 1])
    angles = np.concatenate([ends, 0.5 * double, 0.5 * double + np.pi])
    return float(length(difference(pair, _at_angle(angles).T), 0).max())


def _at_angle(angle):
    return np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _split(ends, rows):
    """Cut arcs where one of their rows [arc, n, 2] vanishes; and the arc each one comes from."""
    zero = np.arctan2(-rows[..., 0], rows[..., 1]) % np.pi
    zero = np.stack([zero, zero + np.pi])
    inside = (ends[:-1, None] < zero) & (zero < ends[1:, None])
    finer = np.unique(np.concatenate([ends, zero[inside]]))
    return finer, np.searchsorted(ends, finer[:-1], side="right") - 1
