"""Two ReLU networks compared in exact arithmetic: the oracle of `redteam`.

Shares no line with ltjax. A float is a rational number, and ReLU is homogeneous: every layer, times
a power of two, is a matrix of integers, and ||g - f||^2 at x / ||x|| is a rational number for every
x of integers. So all values here are *squares*, and no comparison is rounded.

The supremum over the ball is known exactly, but for roots of 128 bits,
    with one input, where there are two points;
    with two inputs, where rays at which a pre-activation of f or of g vanishes cut the plane into
        cones with g - f = M x, and the largest eigenvalue of M'M is a root of a quadratic equation;
    with more inputs that act by one sum or two, of as many each;
    with one linear layer, and one output or the largest of several.
Elsewhere there are points: a lower end of the bracket, and no upper one.

Networks with biases are compared over an interval, where both are linear between the points at
which some pre-activation vanishes, and at points of a box or a ball of more inputs.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import gcd, isqrt
from typing import NamedTuple

import numpy as np

BITS = 128  # of roots
POINTS, STEPS, BEST = 1000, 12, 4
AXES = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 0))


class Two(NamedTuple):
    """Networks f and g as integers, layers [n_out, n_in]; the first acts on (x+, x-).

    norm: of several outputs, l2 or max.
    unit: what the square of an output is worth, times that of the radius of the ball.
    """

    f: list
    g: list
    last: str
    norm: str
    unit: Fraction


class Square(NamedTuple):
    """A bracket on the square of the supremum; `high` is None where it is not known."""

    low: Fraction
    high: Fraction | None


def rational(array) -> np.ndarray:
    """The numbers of an array of any type, exactly."""
    array = np.asarray(array)
    exact = np.empty(array.shape, object)
    for place, v in np.ndenumerate(array):
        exact[place] = Fraction(*(int(v) if array.dtype.kind in "iu" else v).as_integer_ratio())
    return exact


def two_sided(layers) -> list:
    """A network of matrices [n_out, n_in], as one whose first layer acts on (x+, x-)."""
    first, *later = layers
    return [np.concatenate([first, -first], axis=1), *later]


def of_networks(first, second, last="linear", norm="l2", radius=1.0) -> Two:
    """Two networks of matrices [n_out, n_in] of any type, over a ball."""
    f, g = (two_sided([rational(w) for w in layers]) for layers in (first, second))
    return integers(f, g, last, norm, radius)


def of_errors(weights, errors, last="linear", norm="l2") -> Two:
    """A network and its errors, [side, n_out, n_in] or [n_out, n_in]: C = W + E."""
    weights, errors = ([rational(a) for a in layers] for layers in (weights, errors))
    plus, minus = weights[0] + errors[0][0], weights[0] + errors[0][-1]
    later = [w + e[0] for w, e in zip(weights[1:], errors[1:], strict=True)]
    g = [np.concatenate([plus, -minus], axis=1), *later]
    return integers(two_sided(weights), g, last, norm)


def integers(f, g, last, norm, radius=1.0) -> Two:
    """Layers of Fractions, times what makes them whole."""
    unit, whole = Fraction(radius), []
    for layers in zip(f, g, strict=True):
        least = max(v.denominator for layer in layers for v in layer.flat)
        unit /= least
        whole.append([np.vectorize(int, otypes=[object])(layer * least) for layer in layers])
    f, g = map(list, zip(*whole, strict=True))
    return Two(f, g, last, norm, unit**2)


def change(two: Two, x) -> np.ndarray:
    """g - f at the points x [d, n], of integers or of floats: [outputs, n]."""
    ends = []
    for layers in (two.f, two.g):
        h = np.concatenate([np.maximum(x, 0), np.maximum(-x, 0)])
        for i, layer in enumerate(layers, 1):
            h = layer @ h
            if i < len(layers) or two.last == "relu":
                h = np.maximum(h, 0)
        ends.append(h)
    return ends[1] - ends[0]


def square(h, norm) -> np.ndarray:
    """The square of a norm, along the first axis."""
    return (h * h).sum(axis=0) if norm == "l2" else (h * h).max(axis=0)


def at(two: Two, x) -> Fraction:
    """||g - f||^2 at x / ||x||, for any numbers x [d]; 0 for zeros."""
    x = rational(x)
    least = max(v.denominator for v in x)
    whole = np.array([int(v * least) for v in x], object)
    (value,), length = square(change(two, whole[:, None]), two.norm), whole @ whole
    return Fraction(value, length) * two.unit if length else Fraction(0)


def supremum(two: Two) -> Square:
    """The square of the supremum over the ball."""
    two = _summed(two)
    dim = two.f[0].shape[1] // 2
    if dim == 1:
        return Square(*[max(at(two, [1]), at(two, [-1]))] * 2)
    if dim == 2:
        parts = [np.eye(len(two.f[-1]), dtype=int).astype(object)]
        if two.norm == "max":
            parts = list(parts[0][:, None])
        found = [_on_cone(a, b, part @ m) for a, b, m in _cones(two) for part in parts]
        return Square(*(max(ends) * two.unit for ends in zip(*found, strict=True)))
    if len(two.f) == 1 and two.last == "linear" and (len(two.f[0]) == 1 or two.norm == "max"):
        return Square(*[_of_rows(two.g[0] - two.f[0]) * two.unit] * 2)
    return Square(max(at(two, x) for x in _far(two).T), None)


def _summed(two):
    """Inputs that act by their sum alone as one: of k, it is sqrt(k) at most in the unit ball."""
    both = np.concatenate([two.f[0], two.g[0]])
    plus, minus = np.split(both, 2, axis=1)
    columns = Counter(map(tuple, plus.T))
    number, *others = set(columns.values())
    if others or (plus != -minus).any():
        return two
    first, second = np.split(two_sided([np.array([*columns], object).T])[0], 2)
    return two._replace(f=[first, *two.f[1:]], g=[second, *two.g[1:]], unit=two.unit * number)


def _of_rows(m):
    """The largest of the suprema of |m+.x+ - m-.x-|, squared: for each x_i the better side."""
    plus, minus = np.split(m, 2, axis=1)
    ends = [np.maximum(np.maximum(s * plus, s * minus), 0) for s in (1, -1)]
    return Fraction(max(square(end.T, "l2").max() for end in ends))


# Biases.


def affine_supremum(first, second, last, norm, points, ends=None) -> Square:
    """The square of the supremum of ||g - f||, of networks with biases [n_out, n_in + 1] a layer.

    Args:
        points: rational points of the region, [d, n].
        ends: of an interval, where the region is one; then the supremum is exact.
    """
    nets = [[rational(w) for w in layers] for layers in (first, second)]
    if ends is not None:
        points = np.array([sorted({*ends, *_bends(nets, last, *ends)})], object)
    f, g = (affine_value(layers, points, last) for layers in nets)
    most = max(square(g - f, norm))
    return Square(most, most if ends is not None else None)


def affine_value(layers, x, last) -> np.ndarray:
    """A network with biases at points [d, n], exactly: [outputs, n]."""
    h = x
    for i, layer in enumerate(layers, 1):
        h = layer[:, :-1] @ h + layer[:, -1:]
        if i < len(layers) or last == "relu":
            h = np.where(h > 0, h, 0)
    return h


def _bends(nets, last, low, high):
    """The points of an interval between which both networks are linear."""
    found = set()
    for layers in nets:
        for n in range(1, len(layers) + (last == "relu")):
            at = sorted({low, high, *found})
            h = affine_value(layers[:n], np.array([at], object), "linear")
            for a, b, left, right in zip(at, at[1:], h.T, h.T[1:], strict=False):
                # On [a, b] every pre-activation of this layer is linear.
                crossing = [(p, q) for p, q in zip(left, right, strict=True) if p * q < 0]
                found |= {a + (b - a) * p / (p - q) for p, q in crossing}
    return found


# The plane. Rays are integers, and so is all that acts on them.


def _cross(a, b):
    return a[0] * b[1] - a[1] * b[0]


def _cones(two: Two) -> Iterator[tuple]:
    """(ray, ray, M) of every cone on which f and g are linear: g - f = M x."""
    for start, end in pairwise(np.array(AXES, object)):
        right, up = start + end > 0
        sides = np.array([[int(right), 0], [0, int(up)], [-int(not right), 0], [0, -int(not up)]])
        cones = [(start, end, sides.astype(object), sides.astype(object))]
        for i, (f, g) in enumerate(zip(two.f, two.g, strict=True), 1):
            cones = [(a, b, f @ of_f, g @ of_g) for a, b, of_f, of_g in cones]
            if i < len(two.f) or two.last == "relu":
                cones = [part for cone in cones for part in _cut(*cone)]
        yield from ((a, b, of_g - of_f) for a, b, of_f, of_g in cones)


def _cut(start, end, of_f, of_g):
    """A cone along the rays where a row of f or of g vanishes, and what ReLU leaves of them."""
    walls = set()
    for p, q in np.concatenate([of_f, of_g]):
        if common := gcd(p, q):
            p, q = p // common, q // common
            walls |= {(-q, p), (q, -p)}
    inside = [w for w in walls if _cross(start, w) > 0 and _cross(w, end) > 0]
    inside.sort(key=lambda w: Fraction(_cross(start, w), _cross(w, end)))
    for a, b in pairwise([start, *np.array(inside, object).reshape(-1, 2), end]):
        yield a, b, *(np.where((m @ (a + b) > 0)[:, None], m, 0) for m in (of_f, of_g))


def _on_cone(start, end, m):
    """A bracket on the largest ||m x||^2 / ||x||^2 of a cone within a quadrant.

    That is a constant and a cosine of twice the angle, so that it has its maximum inside where it
    rises from one ray and falls to the other.
    """
    q = m.T @ m
    best = max(Fraction(ray @ q @ ray, ray @ ray) for ray in (start, end))
    rise, fall = (_cross(ray, q @ ray) for ray in (start, end))
    if not rise > 0 > fall:
        return best, best
    root = isqrt(((q[0, 0] - q[1, 1]) ** 2 + 4 * q[0, 1] ** 2) << 2 * BITS)
    low, high = (Fraction(q[0, 0] + q[1, 1], 2) + Fraction(r, 2 << BITS) for r in (root, root + 1))
    return max(best, low), max(best, high)


# Points.


def _far(two: Two) -> np.ndarray:
    """Points at which f and g are far apart, by steps at random, in floats: [d, n]."""
    rng, dim = np.random.default_rng(0), two.f[0].shape[1] // 2
    near = two._replace(f=[], g=[])
    for layers in zip(two.f, two.g, strict=True):
        top = max(abs(v) for layer in layers for v in layer.flat) or 1
        for net, layer in zip((near.f, near.g), layers, strict=True):
            net.append(np.vectorize(lambda v, top=top: v / top, otypes=[float])(layer))
    x = np.concatenate([np.eye(dim), -np.eye(dim), rng.normal(size=(dim, POINTS))], axis=1)
    for step in range(STEPS):
        x /= np.linalg.norm(x, axis=0)
        x = x[:, np.argsort(-square(change(near, x), two.norm))[: POINTS // 8]]
        moved = x[..., None] + rng.normal(size=(*x.shape, 4)) * 0.5**step
        x = np.concatenate([x, moved.reshape(dim, -1)], axis=1)
    return x[:, :BEST]
