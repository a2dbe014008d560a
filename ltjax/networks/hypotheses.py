"""What the theorem asks of its target, and how far a layer fills it."""

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.validate import GRACE

Matrices = tuple[tuple[tuple[float, ...], ...], ...]  # layers of rows of weights


def check_network(target, shapes, name: str = "target") -> Matrices:
    """The weight matrices as rows of finite floats within the theorem's hypotheses."""
    if len(target) != len(shapes):
        raise InputError(f"{name} must hold {len(shapes)} layers (depth), got {len(target)}.")
    layers = [np.asarray(layer, np.float64) for layer in target]
    for i, (layer, shape) in enumerate(zip(layers, shapes, strict=True), 1):
        if layer.shape != shape:
            raise InputError(
                f"{name} must have layer {i} of shape {list(shape)}, got {list(layer.shape)}."
            )
        if not np.all(np.isfinite(layer)):
            raise InputError(f"{name} must be finite, got {layer[~np.isfinite(layer)][0]}.")
        for rule, found in zip(HYPOTHESES, factors(layer), strict=True):
            if found > GRACE:
                factor = decimals.above(found)  # which suffices
                raise InputError(
                    f"{name} must satisfy {rule}, got {factor} times that in layer {i}; relu is "
                    f"homogeneous: divide the layer and epsilon by {factor}."
                )
    return tuple(tuple(tuple(row) for row in layer.tolist()) for layer in layers)


HYPOTHESES = ("||W|| <= 1", "|w| <= 1/sqrt(n_in)")


def factors(layer: np.ndarray) -> tuple[float, float]:
    """By what factor a layer [n_out, n_in] fills the bounds of the theorem: norm and entries.

    Of any size: the norm is taken of the layer divided by a power of two, which rounds nothing but
    what is too small to count.
    """
    largest = np.abs(layer).max()
    _, exponent = np.frexp(largest)
    norm = np.linalg.norm(np.ldexp(layer, -exponent), 2)
    with np.errstate(over="ignore"):  # to infinity
        return float(np.ldexp(norm, exponent)), float(np.sqrt(layer.shape[1]) * largest)


def check_target(target, dim: int, name: str = "target") -> tuple[float, ...]:
    """The weights as d finite floats with |w_i| <= 1/sqrt(d), or `InputError`."""
    values = np.asarray(target, np.float64)
    if values.shape != (dim,):
        raise InputError(f"{name} must hold {dim} weights (dim), got shape {list(values.shape)}.")
    if not np.all(np.isfinite(values)):
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"{name} must be finite, got {values[at]} at index {at}.")
    bound = dim**-0.5
    at = int(np.argmax(np.abs(values)))
    if abs(values[at]) > bound * GRACE:
        factor = decimals.below(bound / abs(values[at]))
        raise InputError(
            f"{name} must satisfy |w_i| <= 1/sqrt({dim}) = {decimals.below(bound)}, got "
            f"{decimals.exact(values[at])} at index {at}; relu is homogeneous: multiply the "
            f"weights and epsilon by {factor}."
        )
    return tuple(float(v) for v in values)
