"""Two networks with biases, over any ball or box, as one pair with a domain.

A bias is the weight of a constant input, which a neuron of every hidden layer carries on:

    [[W_i, b_i], [0, 1]]  for i < l,   [W_l, b_l].

The first layers take in the region as well. With x = m + h s, m its middle, h half its size and s
in the unit ball or box, the inputs of the domain are u = radius s and the constant, and

    W x + b = (W h / radius) u + ((W m + b) / constant) constant.

So it is for f, and for the difference g - f, whose entries are differences before anything is
multiplied. Each is a sum of products that are off by an ulp or two: what that does to the bracket
is in `brackets.outward`. Two networks without biases over a ball about 0 stay as they are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ltjax.errors import InputError
from ltjax.networks import affine, domains
from ltjax.networks.affine import ReluNetwork
from ltjax.networks.domains import Region
from ltjax.networks.pairs import SUBNORMAL, ULP, Pair, length
from ltjax.supnorm import brackets
from ltjax.supnorm.brackets import Apart
from ltjax.system import files
from ltjax.system.stops import Stop, never


class Posed(NamedTuple):
    """Two networks as a pair, and what its bracket needs to be one of theirs.

    scale: what they were divided by; moved: by how much the first layers of f and g were rounded,
        in all: see `brackets.outward`.
    misread: by how much f and g differ from the networks of their files, in all.
    """

    pair: Pair
    scale: float
    moved: float
    misread: float

    def closing(self, gap: float, norm: str = "l2", stop: Stop = never) -> Iterator[Apart]:
        """Closer and closer brackets in the units of the networks: see `brackets.closing`."""
        pair, scale, *rounded = self
        return brackets.closing(pair, scale, gap, None, norm, stop, False, *rounded)


@np.errstate(under="ignore")
def posed(first: ReluNetwork, second: ReluNetwork, region: Region) -> Posed:
    """Two networks over a region.

    Raises:
        InputError: as of `brackets.pair_of`; of networks that end otherwise, and of a region of
            another number of inputs.
    """
    if first.last != second.last:
        raise InputError(
            f"networks must end with one kind of layer, got {first.last} and {second.last}."
        )
    dim = first.weights[0].shape[1]
    if len(region.middle) != dim:
        name = "center" if region.shape == "ball" else "box"
        raise InputError(f"{name} must have {dim} inputs, got {len(region.middle)}.")
    farthest = domains.farthest(region)
    misread = affine.misread(first, farthest) + affine.misread(second, farthest)
    about = first.has_biases or second.has_biases or np.any(region.middle)
    if region.shape == "ball" and region.half[0] > 0.0 and not about:
        pair, scale = brackets.pair_of(first.weights, second.weights, first.last, region.half[0])
        return Posed(pair, scale, 0.0, misread)
    both = [files.given(n.weights, name) for n, name in ((first, "first"), (second, "second"))]
    weights = brackets.widened(*both)
    layers = []
    for w, *biases in zip(weights, first.biases, second.biases, strict=True):
        b = np.stack([np.pad(one, (0, w.shape[1] - len(one))) for one in biases])
        f, g = np.concatenate([w, b[..., None]], axis=-1)
        layers.append(np.stack([f, g - f, np.zeros_like(f)]))
    domain = _domain(layers[0][0], region)
    layers[0] = _placed(layers[0][:2], region, domain)
    # The constant that goes on is 1, which it is not at first.
    ones = [np.array([1.0, 0.0, 8.0 * ULP]) / domain.constant, *[np.eye(3)[0]] * len(layers)]
    layers[:-1] = [
        np.concatenate([layer, one[:, None, None] * np.eye(layer.shape[2])[-1:]], axis=1)
        for layer, one in zip(layers[:-1], ones, strict=False)
    ]
    layers, scale = brackets.divided_by_powers(layers, 1.0, first.weights)
    f, change = (tuple(layer[k] for layer in layers) for k in (0, 1))
    pair = Pair(f, tuple(e[None] for e in change), first.last, domain)
    return Posed(pair, scale, float(length(layers[0][2])), misread)


def _domain(layer, region):
    """The domain whose inputs have the shares that f makes of them in its first layer."""
    w, b = layer[:, :-1], layer[:, -1]
    of_u, of_constant = length(np.abs(w) @ region.half), length(w @ region.middle + b)
    return domains.domain(region.shape, w.shape[1], of_u / ((of_u + of_constant) or 1.0))


def _placed(both, region, domain):
    """The first layers over a domain, f's and the change to g's, and what their rounding does.

    Args:
        both: of f and the change, [2, n_out, n_in + 1], the last column for the biases.

    Returns:
        [3, n_out, n_in + 1]: of f; the change; and by how much f and g may be off, in all.
    """
    w, b, d = both[..., :-1], both[..., -1], len(region.middle)
    u, constant = w * (region.half / domain.radius), (w @ region.middle + b) / domain.constant
    sizes = (np.abs(w) @ np.abs(region.middle) + np.abs(b)) / domain.constant
    off_u = 8.0 * (ULP * np.abs(u) + SUBNORMAL * (w != 0.0))
    off_constant = (d + 12.0) * (ULP * sizes + SUBNORMAL * (sizes > 0.0))
    # f is off by its own, and g by that and by what the change is.
    of_f, of_change = np.concatenate([off_u, off_constant[..., None]], axis=-1)
    placed = np.concatenate([u, constant[..., None]], axis=-1)
    return np.concatenate([placed, (2.0 * of_f + of_change)[None]])
