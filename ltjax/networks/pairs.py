"""ReLU networks and their tickets, from seed and mask alone. On the host, in float64.

A random network of depth 2 l has a pair of layers for each layer i of its target, W of shape
[k, n_in] and A of shape [n_out, k], and

    v(h) = A relu(W h)

stands for the target's h -> W_i h. A ticket keeps one input of a hidden neuron, so that

    v(h) = C+ h+  -  C- h-,     C = A_oj W_ji of the neuron j kept for (side, o, i),

with W_ji > 0 on side + and W_ji < 0 on side -. After the first layer h >= 0, and side + is all.

Drawing whole networks, masking and evaluating them is the other road to every claim of the search:
it shares nothing with the kernels but the address of a word.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ltjax.networks import domains
from ltjax.networks.domains import Domain
from ltjax.system.stops import Stop, never

ULP = 2.0**-52
SUBNORMAL = 2.0**-1074  # the least number of float64: what a product that underflows may lose
MOST = float(np.finfo(np.float64).max)


class Pair(NamedTuple):
    """A target f and a network g of its shape, as the matrices that act: C = W + E.

        f(x) = last(W_l relu(... relu(W_1 x)))
        g(x) = last(C_l relu(... relu(C_1+ x+ - C_1- x-)))

    weights: W_i, each [n_out, n_in].
    errors: E_i, each [side, n_out, n_in]; sides + and - in the first layer, one afterwards. (One
        in the first layer, too, where both are alike.) Leading axes are those of many networks g.
    last: linear or relu.
    domain: where the supremum is asked for; None for the unit ball. The last input of another one
        is constant, the first layer has one side, and biases are weights of the constant.
    """

    weights: tuple
    errors: tuple
    last: str = "linear"
    domain: Domain | None = None


def linear_last(pair: Pair) -> Pair:
    """The same networks; a ReLU after the last layer is that of a hidden neuron with weight 1."""
    if pair.last == "linear":
        return pair
    (*lead, _, outputs, _) = pair.errors[-1].shape
    identity, nothing = np.eye(outputs), np.zeros((*lead, 1, outputs, outputs))
    return Pair((*pair.weights, identity), (*pair.errors, nothing), domain=pair.domain)


def of_outputs(pair: Pair, which) -> Pair:
    """The pair of some outputs of ONE pair, errors [side, n_out, n_in]."""
    *weights, last = pair.weights
    *errors, last_errors = pair.errors
    return pair._replace(weights=(*weights, last[which]), errors=(*errors, last_errors[:, which]))


def difference(pair: Pair, x, xp=np):
    """g(x) - f(x), to the relative accuracy of the errors however small they are.

    Args:
        x: points in columns, [..., d, n].
        xp: numpy, or the module that speaks its language to jax.

    Returns:
        [..., outputs, n].
    """
    h, dh = x, None
    for i, (weights, errors) in enumerate(zip(pair.weights, pair.errors, strict=True)):
        z = weights @ h
        if dh is None:
            plus, minus = errors[..., 0, :, :], errors[..., -1, :, :]
            dz = plus @ xp.maximum(h, 0.0) - minus @ xp.maximum(-h, 0.0)
        else:
            dz = weights @ dh + errors[..., 0, :, :] @ (h + dh)
        if i + 1 < len(pair.weights) or pair.last == "relu":
            # relu(z + dz) - relu(z), without taking the difference of two large numbers.
            dh = xp.maximum(dz + xp.minimum(z, 0.0), -xp.maximum(z, 0.0))
            h = xp.maximum(z, 0.0)
        else:
            dh = dz
    return dh


def reached(pair: Pair, x) -> tuple[np.ndarray, np.ndarray]:
    """What ||g(x) - f(x)|| / ||x|| is at least and at most, at points of any length: float64.

    The supremum over the unit ball is no less, as f and g are homogeneous: no point has to lie on
    the sphere. In a pair with a domain nothing is divided, and a point outside of it shows nothing:
    the bounds are 0 and inf.

    Beside z, dz, h and dh of `difference` goes a bound on what rounding has done to each entry, by
    the standard model: a sum of n products is off by n ulps of the sum of their sizes (twice what
    it can be: the other half covers the rounding of these bounds themselves). dh = relu(z + dz) -
    relu(z) takes over what dz is off by. What z is off by counts only where it leaves the sign of z
    or of z + dz open, and no more than |dz|, as dh is between 0 and dz.

    Args:
        x: points in columns, [..., d, n]; at 0 both bounds are those of 0.

    Returns:
        lower, upper: [..., n], upper above 0; NaN where a weight or an error is.
    """
    h, dh, off_h, off = x, *(np.zeros_like(x) for _ in range(3))
    for i, (weights, errors) in enumerate(zip(pair.weights, pair.errors, strict=True)):
        unit, least = (weights.shape[-1] + 4) * ULP, (weights.shape[-1] + 4) * SUBNORMAL
        plus, minus, size = errors[..., 0, :, :], errors[..., -1, :, :], np.abs(weights)
        z, off_z = weights @ h, size @ (off_h + unit * np.abs(h)) + least
        if i == 0:
            up, down = np.maximum(h, 0.0), np.maximum(-h, 0.0)
            dz = plus @ up - minus @ down
            off = unit * (np.abs(plus) @ up + np.abs(minus) @ down) + least
        else:
            dz = weights @ dh + plus @ (h + dh)
            of_g = off_h + off + unit * (np.abs(h) + np.abs(dh))
            off = size @ (off + unit * np.abs(dh)) + np.abs(plus) @ of_g + least
        if i + 1 < len(pair.weights) or pair.last == "relu":
            dh = np.maximum(dz + np.minimum(z, 0.0), -np.maximum(z, 0.0))
            change = np.abs(dz) + off
            off = off + np.where(np.abs(z) <= change + off_z, np.minimum(off_z, change), 0.0)
            h, off_h, off = np.maximum(z, 0.0), off_z, off + ULP * np.abs(dh)
        else:
            dh = dz
    value, blur, norm = (length(a, -2) for a in (dh, off, x))
    outwards = 1.0 + ULP * (8 + max(dh.shape[-2], x.shape[-2]))
    if pair.domain is not None:
        inside, norm = domains.holds(x, pair.domain), 1.0
        value, blur = np.where(inside, value, 0.0), np.where(inside, blur, np.inf)
    norm = np.where(norm > 0.0, norm, 1.0)
    lower = np.maximum(value / outwards - blur * outwards, 0.0) / (norm * outwards)
    upper = (value + blur) * outwards / norm * outwards
    # A quotient below the numbers of full precision has been rounded to the nearest of these.
    return np.maximum(np.nextafter(lower, -1.0), 0.0), np.nextafter(upper, np.inf)


def slope(pair: Pair, x) -> np.ndarray:
    """M'M x, where g - f is M x as far as no gate changes: uphill for ||g - f||.

    Args:
        x: points in columns, [..., d, n].
    """
    apart, uphill = difference(pair, x), np.zeros(1)
    networks = [w[None] for w in pair.weights], [w + e for w, e in zip(*pair[:2], strict=True)]
    for sign, layers in zip((-1.0, 1.0), networks, strict=True):
        h, gates = x, []
        for i, layer in enumerate(layers):
            z = layer[..., 0, :, :] @ np.maximum(h, 0.0) - layer[..., -1, :, :] @ np.maximum(
                -h, 0.0
            )
            gates.append((z > 0.0) | (i + 1 == len(layers) and pair.last == "linear"))
            h = z * gates[-1]
        back, turned = sign * apart, [np.swapaxes(layer, -2, -1) for layer in layers]
        for layer, gate in zip(turned[:0:-1], gates[:0:-1], strict=True):
            back = layer[..., 0, :, :] @ (back * gate)
        back = back * gates[0]
        sides = (turned[0][..., side, :, :] @ back for side in (0, -1))
        uphill = uphill + np.where(x > 0.0, *sides)
    return uphill


def length(x, axis=None):
    """Euclidean norm over `axis` in float64, of any size: 0 for nothing but zeros."""
    x = np.asarray(x, np.float64)
    with np.errstate(over="ignore", under="ignore"):
        squares = np.sum(x * x, axis=axis)
        if np.all((squares > 1e-280) & (squares < np.inf)):  # whose squares have lost nothing
            return np.sqrt(squares)
        largest = np.max(np.abs(x), axis=axis, keepdims=True, initial=0.0)
        exponent = np.frexp(largest)[1]
        scaled = np.ldexp(x, -exponent)
        return np.ldexp(
            np.sqrt(np.sum(scaled * scaled, axis=axis)), np.reshape(exponent, np.shape(squares))
        )


def forward(layers: Sequence, x, last: str = "linear") -> np.ndarray:
    """A network of weight matrices [n_out, n_in], ReLU between them, at the points x [n, d]."""
    h = np.asarray(x, np.float64).T
    for weights in layers[:-1]:
        h = np.maximum(np.asarray(weights, np.float64) @ h, 0.0)
    h = np.asarray(layers[-1], np.float64) @ h
    return (np.maximum(h, 0.0) if last == "relu" else h).T


def reach(weights: Sequence, last: str = "linear", stop: Stop = never) -> float:
    """A lower bound on the supremum over the unit ball of ||f||, from some steps uphill.

    An error above it is kept to by a ticket that keeps nothing. What rounding may have added at the
    best point is taken off: see `reached`.

    Args:
        stop: asked before every step but the first.
    """
    # Steps are the same for layers divided by powers of two, and nothing overflows.
    exponents = [int(np.frexp(np.max(np.abs(layer)))[1]) for layer in weights]
    weights = [np.ldexp(layer, -e) for layer, e in zip(weights, exponents, strict=True)]
    nothing = tuple(np.zeros_like(layer) for layer in weights)
    whole = Pair(nothing, tuple(layer[None] for layer in weights), last)
    x = np.random.default_rng(0).normal(size=(weights[0].shape[1], 256))
    best = 0.0
    for _ in range(30):
        x /= np.maximum(length(x, 0), np.finfo(float).tiny)
        best = max(best, float(reached(whole, x)[0].max()))
        if stop():
            break
        x = slope(whole, x)
    with np.errstate(over="ignore"):
        value = float(np.ldexp(best, sum(exponents)))
    # What is below the numbers that keep 53 bits may have been rounded up, and inf is no bound.
    return max(math.nextafter(min(value, MOST), 0.0), 0.0)
