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
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.linalg import hadamard

from ltjax import draws
from ltjax.stops import Stop, never

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
    """

    weights: tuple
    errors: tuple
    last: str = "linear"


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
    the sphere. Beside z, dz, h and dh of `difference` goes a bound on what rounding has done to
    each entry, by the standard model: a sum of n products is off by n ulps of the sum of their
    sizes (twice what it can be: the other half covers the rounding of these bounds themselves).
    dh = relu(z + dz) - relu(z) takes over what dz is off by. What z is off by counts only where
    it leaves the sign of z or of z + dz open, and no more than |dz|, as dh is between 0 and dz.

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
    norm = np.where(norm > 0.0, norm, 1.0)
    lower = np.maximum(value / outwards - blur * outwards, 0.0) / (norm * outwards)
    upper = (value + blur) * outwards / norm * outwards
    # A quotient below the numbers of full precision has been rounded to the nearest of these.
    return np.maximum(np.nextafter(lower, -1.0), 0.0), np.nextafter(upper, np.inf)


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


def random_target(seed: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """A target within the theorem's hypotheses: U[-1, 1] / sqrt(n_in), with norms cut to 1.

    Args:
        sizes: d, n_1, ..., outputs.
    """
    zero = np.zeros(1, np.uint32)
    key = draws.trial_key(np.full_like(zero, seed), zero)
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        neuron = np.arange(n_out, dtype=np.uint32)[:, None]
        words = draws.word(
            draws.stream(key, i, draws.TARGET), neuron, np.arange(n_in, dtype=np.uint32)
        )
        layer = draws.uniform(words).astype(np.float64) * n_in**-0.5
        layers.append(layer / _rounded_norm(layer))
    return layers


def worst_target(sizes: Sequence[int]) -> list[np.ndarray]:
    """A target of the hardest weights: all of one size, 1/sqrt(n_in) where that leaves norms <= 1.

    Signs are those of a Hadamard matrix, orthogonal where sizes are powers of two. Then |f| reaches
    1 in the unit ball at any depth; that of a random target falls fast with depth.
    """
    layers = []
    for n_in, n_out in pairwise(sizes):
        signs = hadamard(1 << (max(n_in, n_out) - 1).bit_length(), float)
        layer = signs[:n_out, :n_in] * n_in**-0.5
        layers.append(layer / _rounded_norm(layer))
    return layers


def _rounded_norm(layer: np.ndarray) -> float:
    """The norm where it is above 1, rounded up so coarsely that it is the same on any machine."""
    return max(1.0, float(np.ceil(np.linalg.norm(layer, 2) * (1 - 1e-12) * 2**20) / 2**20))


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
        h, gates = x, []
        for i, layer in enumerate(weights):
            z = layer @ h
            gates.append((z > 0) | (i + 1 == len(weights) and last == "linear"))
            h = z * gates[-1]
        best = max(best, float(reached(whole, x)[0].max()))
        if stop():
            break
        # f(x) = M x where no gate changes, and ||M x|| rises along M'M x.
        for layer, gate in zip(weights[::-1], gates[::-1], strict=True):
            h = layer.T @ (h * gate)
        x = h
    with np.errstate(over="ignore"):
        value = float(np.ldexp(best, sum(exponents)))
    # What is below the numbers that keep 53 bits may have been rounded up, and inf is no bound.
    return max(math.nextafter(min(value, MOST), 0.0), 0.0)


def random_layer(seed: int, trials, neurons, n_in: int, n_out: int = 1, layer: int = 0):
    """Weights of the hidden neurons asked for: A [n, n_out, k] and W [n, k, n_in], float64."""
    neuron = np.asarray(neurons, np.uint32).reshape(1, -1, 1)
    keys = _streams(seed, trials, layer)
    words = [
        np.stack(draws.word_pair(key, neuron, np.arange(-(-size // 2), dtype=np.uint32)), axis=-1)
        for key, size in zip(keys, (n_out, n_in), strict=True)
    ]
    output, hidden = (
        draws.uniform(word.reshape(*word.shape[:2], -1)[..., :size]).astype(np.float64)
        for word, size in zip(words, (n_out, n_in), strict=True)
    )
    return np.swapaxes(output, 1, 2), hidden


def _streams(seed: int, trials, layer: int):
    """Keys of the output and of the hidden weights, uint32 [n, 1, 1] each word."""
    trials = np.asarray(trials, np.uint32).reshape(-1, 1, 1)
    key = draws.trial_key(np.full_like(trials, seed), trials)
    return draws.stream(key, layer, draws.OUTPUT), draws.stream(key, layer, draws.HIDDEN)


def slots(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """(side, n_out, n_in) of every layer: only the first one sees negative inputs."""
    return [(2 if i == 0 else 1, n_out, n_in) for i, (n_in, n_out) in enumerate(pairwise(sizes))]


def block_counts(construction: str, sizes: Sequence[int]) -> list[int]:
    """Blocks of every layer: one for an input, or one for a weight."""
    return [n_in if construction == "blocks" else n_in * n_out for n_in, n_out in pairwise(sizes)]


def kept_weights(seed: int, trials, neurons, layer: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A and W of the neurons kept in each slot, drawn again by their addresses.

    Args:
        trials: [n], the trial each ticket belongs to.
        neurons: [n, side, n_out, n_in]; those of empty slots, -1, mean nothing.

    Returns:
        A_oj and W_ji, float64, shaped like `neurons`.
    """
    neuron = np.maximum(neurons, 0).astype(np.uint32)
    n_out, n_in = neuron.shape[2:]
    index = np.arange(n_out, dtype=np.uint32)[:, None], np.arange(n_in, dtype=np.uint32)
    keys = (tuple(word[..., None] for word in key) for key in _streams(seed, trials, layer))
    words = (draws.word(key, neuron, i) for key, i in zip(keys, index, strict=True))
    output, hidden = (draws.uniform(word).astype(np.float64) for word in words)
    return output, hidden


def ticket_errors(seed: int, trials, neurons, target, layer: int = 0) -> np.ndarray:
    """Exact slot errors A W - w of tickets.

    Args:
        trials: [n], the trial each ticket belongs to.
        neurons: [n, side, n_out, n_in], the neuron kept in each slot; -1 where it is empty.
        target: w, [n_out, n_in]. For one output both may lack that axis.

    Returns:
        float64, shaped like `neurons`; -w where the slot is empty.
    """
    target = np.asarray(target, np.float64)
    layered = neurons.reshape(len(neurons), -1, *np.atleast_2d(target).shape)
    output, hidden = kept_weights(seed, trials, layered, layer)
    return np.where(neurons < 0, -target, (output * hidden).reshape(neurons.shape) - target)


def mask(neurons, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The ticket of a layer as masks of A and W: bool [n_out, width] and [width, n_in].

    Args:
        neurons: kept neurons, [side, n_out, n_in]; -1 for none.
    """
    neurons = np.asarray(neurons)
    _, output, inputs = np.nonzero(neurons >= 0)
    kept = neurons[neurons >= 0]
    keep_output = np.zeros((neurons.shape[1], width), bool)
    keep_hidden = np.zeros((width, neurons.shape[2]), bool)
    keep_output[output, kept] = keep_hidden[kept, inputs] = True
    return keep_output, keep_hidden


def active_weights(neurons: Sequence) -> int:
    """Weights that a ticket keeps, exactly; one W that serves several outputs counts once.

    Args:
        neurons: of each layer, [side, n_out, n_in]; -1 for none.
    """
    # A neuron serves one input, so a kept A and a kept W are each named by few numbers.
    return sum(
        len({(o, j) for (_, o, _), j in kept}) + len({(j, i) for (_, _, i), j in kept})
        for kept in ([(at, j) for at, j in np.ndenumerate(layer) if j >= 0] for layer in neurons)
    )
