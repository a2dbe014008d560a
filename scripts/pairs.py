"""Pairs of networks that are hard on floats: what `redteam` puts to the bounds.

A structure takes a random generator and the sizes d, n_1, ..., outputs, and returns the layers of
two networks, [n_out, n_in].
"""

import itertools
from itertools import pairwise
from math import frexp

import numpy as np

TYPES = ("f2", "f4", "f8", ">f8", ">f4", "g", "i1", "u1", ">i2", "i4", "i8")


def normal(rng, sizes):
    return [rng.normal(size=(b, a)) for a, b in pairwise(sizes)]


def independent(rng, sizes):
    return normal(rng, sizes), normal(rng, sizes)


def near(rng, sizes):
    first, moved = independent(rng, sizes)
    size = 10.0 ** rng.uniform(-17, 0)
    return first, [w + size * e for w, e in zip(first, moved, strict=True)]


def one_ulp(rng, sizes):
    first, share = normal(rng, sizes), rng.choice([0.1, 1.0])
    step = lambda w: np.nextafter(w, np.where(rng.random(w.shape) < share, rng.choice([-9, 9]), w))
    return first, [step(w) for w in first]


def one_entry(rng, sizes):
    """Of one layer one entry differs, by anything from an ulp to 1e300 times itself."""
    first = normal(rng, sizes)
    second = [w.copy() for w in first]
    entry = second[rng.integers(len(sizes) - 1)]
    entry.flat[rng.integers(entry.size)] *= 1.0 + 10.0 ** rng.uniform(-16, 300)
    return first, second


def scaled_layers(rng, sizes):
    first, second = near(rng, sizes)
    powers = rng.uniform(-300, 300, len(first))
    scales = 10.0 ** (powers - rng.choice([0, 1]) * powers.mean())  # so that all is large, or not
    return tuple([w * s for w, s in zip(net, scales, strict=True)] for net in (first, second))


def scaled_entries(rng, sizes):
    first, second = near(rng, sizes)
    places = [rng.integers(3, size=w.shape) for w in first]
    scales = [10.0 ** np.where(p == 0, rng.uniform(-300, 150), 0.0) for p in places]
    return tuple([w * s for w, s in zip(net, scales, strict=True)] for net in (first, second))


def scaled_rows(rng, sizes):
    """A row is tiny, and what it feeds is large, or nothing else is fed."""
    first, second = independent(rng, sizes)
    second = [np.where(rng.random(w.shape) < 0.5, v, w) for w, v in zip(first, second, strict=True)]
    for i in range(len(first) - 1):
        scale = 10.0 ** rng.uniform(-300, 0)
        feeds = rng.choice([1.0, 1.0 / scale])
        for net in (first, second):
            net[i][0] *= scale
            net[i + 1][:, 0] *= feeds
            net[i + 1][:, 1:] *= rng.choice([0.0, 1.0])
    return first, second


def rounded_away(rng, sizes):
    """Two weights that dividing by the largest one makes the same."""
    first = [np.round(w * 4) / 4 + 0.125 for w in normal(rng, sizes)]
    second = [w.copy() for w in first]
    at = rng.integers(second[0].size)
    second[0].flat[at] = np.nextafter(first[0].flat[at], 9)
    return first, second


def compensated(rng, sizes):
    """A layer is divided by what the next is multiplied by: what is left is rounding."""
    first = normal(rng, sizes)
    second = [w.copy() for w in first]
    for i in range(len(first) - 1):
        factors = np.exp(rng.normal(size=(len(first[i]), 1)))
        second[i], second[i + 1] = second[i] / factors, second[i + 1] * factors.T
    return first, second


def copies(rng, sizes):
    """Two neurons are one; the second network gives all to the first of them."""
    first = normal(rng, sizes)
    second = [w.copy() for w in first]
    if len(sizes) > 2 and sizes[1] > 1:
        first[0][1] = second[0][1] = first[0][0]
        second[1][:, 0], second[1][:, 1] = first[1][:, 0] + first[1][:, 1], 0.0
    return first, second


def opposite(rng, sizes):
    """relu(z) - relu(-z) = z, and its neighbour."""
    first, second = near(rng, sizes)
    if len(sizes) > 2 and sizes[1] > 1:
        first[0][1], first[1][:, 1] = -first[0][0], -first[1][:, 0]
    return first, second


def dead(rng, sizes):
    """Neurons of later layers that are never positive, or never zero."""
    first, second = near(rng, sizes)
    for net, i in itertools.product((first, second), range(1, len(first))):
        net[i][0] = rng.choice([-1, 1]) * np.abs(net[i][0])
    return first, second


def permuted(rng, sizes):
    """The same function with its neurons in another order."""
    first = normal(rng, sizes)
    second, order = [], np.arange(sizes[0])
    for i, w in enumerate(first):
        new = rng.permutation(len(w)) if i + 1 < len(first) else np.arange(len(w))
        second.append(w[new][:, order])
        order = new
    return first, second


def zeros(rng, sizes):
    """Rows, layers or networks of zeros, of either sign."""
    first, second = independent(rng, sizes)
    for net in (first, second):
        for w in net:
            w[rng.random(len(w)) < rng.choice([0.0, 0.5, 1.0])] = rng.choice([0.0, -0.0])
    return first, second


def tiny(rng, sizes):
    """Subnormal numbers, and the least ones."""
    first, second = near(rng, sizes)
    scale = 2.0 ** rng.integers(-1074, -1000)
    first[0], second[0] = first[0] * scale, second[0] * scale
    return first, second


def flat(rng, sizes):
    """Entries of one size: norms are attained everywhere at once."""
    signs = lambda: [np.sign(w) * w.shape[1] ** -0.5 for w in normal(rng, sizes)]
    return signs(), signs()


def whole(rng, sizes):
    """Integers, up to those that no float holds."""
    size = rng.choice([2, 2**24, 2**53, 2**62])
    first = [rng.integers(-size, size, (b, a), endpoint=True) for a, b in pairwise(sizes)]
    return first, [w + rng.integers(-1, 2, w.shape) for w in first]


def types(rng, sizes):
    """Every type of number, in either order of bytes and of axes."""

    def cast(w):
        kind = np.dtype(rng.choice(TYPES))
        w = np.clip(w, -1, 1) * (100 if kind.kind in "iu" else 1)
        return np.asarray(
            np.abs(w) if kind.kind == "u" else w, order=rng.choice(["C", "F"])
        ).astype(kind)

    return tuple([cast(w) for w in net] for net in near(rng, sizes))


STRUCTURES = (
    independent, near, one_ulp, one_entry, scaled_layers, scaled_entries, scaled_rows, rounded_away,
    compensated, copies, opposite, dead, permuted, zeros, tiny, flat, whole, types,
)  # fmt: skip
UNUSUAL = {"one_entry", "scaled_layers", "scaled_entries", "scaled_rows", "tiny", "whole", "types"}


def as_errors(rng, first, second, kind):
    """Layers of norm 1 at most, and errors [side, n_out, n_in], smaller by a power of two."""
    weights, errors = [], []
    most = rng.choice([0, 40, 40 if kind == np.float32 else 900])
    power = 0.5 ** rng.integers(0, most, endpoint=True)
    for i, (w, v) in enumerate(zip(first, second, strict=True)):
        w, v = w.astype(np.float64), v.astype(np.float64)
        top = max(np.abs(w).max(), np.abs(v).max())
        scale = -frexp(top)[1] - w.size.bit_length() // 2 - 1
        w, v = np.ldexp(w, scale), np.ldexp(v, scale)
        sides = [v - w, rng.permuted(v) - w] if i == 0 and rng.random() < 0.5 else [v - w]
        weights.append(w.astype(kind))
        errors.append(np.stack([e * power for e in sides]).astype(kind))
    return weights, errors
