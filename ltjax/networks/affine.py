"""ReLU networks with biases: what files hold, as one plain type.

    f(x) = last(W_l relu(... relu(W_1 x + b_1) ...) + b_l)

With a constant input the biases are weights like any others. The network of

    [[W_i, b_i], [0, 1]]  for i < l,   [W_l, b_l]

has none, and its value at (x, 1) is f(x): each hidden layer carries the constant on.
"""

import math
from typing import NamedTuple

import numpy as np

from ltjax.networks.hypotheses import factors
from ltjax.networks.pairs import length

OUTWARD = 1.0 + 1e-9  # more than a norm, or a sum of a few numbers, is off by in float64


class ReluNetwork(NamedTuple):
    """A ReLU network of affine layers, in float64.

    weights: W_i, each [n_out, n_in]; each takes as many inputs as the one before has outputs.
    biases: b_i, each [n_out]; zeros where there are none.
    last: linear or relu, what the last layer ends with.
    rounding: of each layer, what the norm of [W_i, b_i] less what its file says is at most; empty
        where nothing was rounded. `misread` says what follows for f.
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    last: str = "linear"
    rounding: tuple[float, ...] = ()

    @property
    def has_biases(self) -> bool:
        """Whether any bias is not zero."""
        return any(map(np.any, self.biases))


def homogeneous(network: ReluNetwork) -> list[np.ndarray]:
    """The matrices of the network without biases whose value at (x, 1) is f(x).

    Returns:
        [n_out + 1, n_in + 1] of each hidden layer, [n_out, n_in + 1] of the last one.
    """
    layers = [np.column_stack(layer) for layer in zip(network.weights, network.biases, strict=True)]
    carried = [np.eye(1, layer.shape[1], layer.shape[1] - 1) for layer in layers[:-1]]
    return [*map(np.vstack, zip(layers, carried, strict=False)), layers[-1]]


def forward(network: ReluNetwork, x) -> np.ndarray:
    """f at the points x [n, d], as float64 computes it: [n, outputs]."""
    h = np.asarray(x, np.float64)
    for i, (weights, biases) in enumerate(zip(*network[:2], strict=True), 1):
        h = h @ weights.T + biases
        if i < len(network.weights) or network.last == "relu":
            h = np.maximum(h, 0.0)
    return h


def misread(network: ReluNetwork, radius: float) -> float:
    """What f and the network of its file differ by at most, in the L2 norm, where |x| <= `radius`.

    relu is 1-Lipschitz. With rho_i bounding the norm of what [W_i, b_i] is off by, the values h_i
    of f and those of the file thus differ by at most d_i,

        |h_i| <= ||W_i|| |h_i-1| + |b_i|,   d_i <= ||W_i|| d_i-1 + rho_i (|h_i-1| + d_i-1 + 1).
    """
    if not any(network.rounding):
        return 0.0
    size, apart = radius, 0.0
    for weights, biases, off in zip(*network[:2], network.rounding, strict=True):
        norm, _ = factors(weights)
        apart = OUTWARD * (norm * apart + off * (size + apart + 1.0))
        size = OUTWARD * (norm * size + float(length(biases)))
    return math.inf if math.isnan(apart) else apart  # 0 times what is too large for float64
