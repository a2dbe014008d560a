"""What the layers of a target are divided by.

A target f of depth l, without biases, is divided layer by layer by scales s_i until it meets the
theorem's hypotheses. ReLU is homogeneous, so f = S f' with S = prod s_i, and

    sup ||f - S g~|| <= epsilon    exactly when    sup ||f' - g~|| <= epsilon / S

for a pruned random network g~. The scales are the least that do, below 1 where a layer is small:
in block sizes the tolerance gained on every layer is worth more than the larger weights cost. A
scale is at most what the hypotheses ask for, or 1, and a divided layer is of norm LEAST_NORM at
least, or all zeros.
"""

import math
from collections.abc import Sequence

import numpy as np

from ltjax import decimals, validate
from ltjax.errors import InputError
from ltjax.networks import hypotheses
from ltjax.tickets.archive import LEAST_SCALE, MOST_SCALE, scale_of

LEAST_NORM = 1e-150  # of a divided layer: far above where numbers, and their squares, underflow

Layers = Sequence[np.ndarray]  # weight matrices [n_out, n_in]


def rescale(layers: Layers) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """A network that fills the hypotheses, ||W|| <= 1 and |w| <= 1/sqrt(n_in), and the scales."""
    scales = tuple(even(max(hypotheses.factors(layer)) or 1.0) for layer in layers)
    if not (max(scales) < math.inf and LEAST_SCALE <= scale_of(scales) <= MOST_SCALE):
        raise InputError(f"target must be of a size that float64 can hold, got scales {scales}.")
    return [layer / s for layer, s in zip(layers, scales, strict=True)], scales


def even(scale: float) -> float:
    """A scale rounded up to 41 bits, as the last ones of a norm depend on the processor."""
    if not math.isfinite(scale):
        return scale
    fraction, exponent = math.frexp(scale)
    return math.ldexp(math.ceil(fraction * (1 - 2.0**-49) * 2**41), exponent - 41)


def check_divided(layers: Layers, divided: Layers, scales: Sequence[float]) -> None:
    """`InputError` unless each layer was divided by no more than it takes, and has not vanished.

    That is 1, or what the hypotheses ask for, which the last bits of a norm may tell otherwise.
    """
    parts = zip(layers, divided, scales, strict=True)
    for i, (layer, weights, scale) in enumerate(parts, 1):
        most = max(1.0, even(max(hypotheses.factors(layer)))) * validate.GRACE
        if scale > most:
            raise InputError(
                f"scales must be at most 1, or what ||W|| <= 1 and |w| <= 1/sqrt(n_in) ask for, "
                f"{decimals.below(most)} in layer {i}, got {decimals.exact(scale)}."
            )
        norm = hypotheses.factors(weights)[0]
        if norm < LEAST_NORM and np.any(layer):
            raise InputError(
                f"target / scales must have layers of norm {LEAST_NORM:g} to 1, or all zeros, got "
                f"{decimals.above(norm)} in layer {i}."
            )
