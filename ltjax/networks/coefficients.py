"""Affine functions of the inputs of a layer, by their coefficients, and what these are off by.

A tensor x that is affine in h_1, ..., h_n is known by n + 1 tensors of its shape,

    x = sum_j h_j values[j] + values[n],

and a linear operator is applied to x by applying it to each of them. Of unit vectors it gives its
own matrix, exactly, as no sum has two terms that are not zero; where it does round, `off` bounds
what it has done to each number, by the standard model of floating-point arithmetic (Higham,
Accuracy and Stability of Numerical Algorithms, 2002, sections 2.2 and 3.1): a sum of n products is
off by at most n ulps of the sum of their sizes. (By half of that: the rest covers the rounding of
these bounds themselves.)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ltjax.networks.pairs import SUBNORMAL, ULP, length


class Coefficients(NamedTuple):
    """A tensor that is affine in n numbers.

    values: of each of them, and the constant last: [n + 1, *shape].
    off: bounds on what `values` are off by, of the same shape.
    """

    values: np.ndarray
    off: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return self.values.shape[1:]


def unit(shape: tuple[int, ...]) -> Coefficients:
    """The tensor of the numbers themselves."""
    size = int(np.prod(shape))
    values = np.eye(size + 1, size).reshape(size + 1, *shape)
    return Coefficients(values, np.zeros_like(values))


def moved(x: Coefficients, move: Callable[[np.ndarray], np.ndarray]) -> Coefficients:
    """x after an operator that moves numbers and changes none, given for [n + 1, *shape]."""
    return Coefficients(*map(move, x))


def mapped(
    x: Coefficients, product: Callable[[np.ndarray, np.ndarray], np.ndarray], weights: np.ndarray
) -> Coefficients:
    """`product` of x and weights, a function of both that is linear in each.

    Args:
        product: given for [n + 1, *shape] and the weights; a sum of products.
    """
    values, size = product(x.values, weights), np.abs(weights)
    rounded = np.zeros_like(values)
    # With one 1 or -1 and zeros, no product is rounded and no sum has two terms.
    rows = x.values.reshape(len(x.values), -1)
    picks = np.all(_is_exact(rows), axis=1) & (np.count_nonzero(rows, axis=1) <= 1)
    rest = ~picks | np.any(x.off.reshape(rows.shape), axis=1)
    if np.any(rest):
        some, off = x.values[rest], x.off[rest]
        terms = product(((some != 0.0) | (off != 0.0)) + 0.0, (weights != 0.0) + 0.0)
        made = (terms + 2.0) * (ULP * product(np.abs(some), size) + SUBNORMAL)
        kept = product(off, size) * (1.0 + ULP * (2.0 + np.max(terms)))
        rounded[rest] = np.where(terms == 0.0, 0.0, made) + kept
    return Coefficients(values, rounded)


def plus(x: Coefficients, constant: np.ndarray, off: np.ndarray | float = 0.0) -> Coefficients:
    """x + constant, which is itself off by at most `off`; both broadcast to the shape of x."""
    values, rounded = x.values.copy(), x.off.copy()
    before, total = values[-1], values[-1] + constant
    # What the sum has lost, exactly (Knuth's two-sum).
    back = total - before
    lost = np.abs((before - (total - back)) + (constant - back))
    rounded[-1] = (rounded[-1] + lost + off) * (1.0 + 2.0 * ULP)
    values[-1] = total
    return Coefficients(values, rounded)


def times(x: Coefficients, factor: np.ndarray, off: np.ndarray | float = 0.0) -> Coefficients:
    """x * factor, entry by entry, where the factor is itself off by at most `off`."""
    values, size = x.values * factor, np.abs(factor)
    exact = (_is_exact(x.values) | _is_exact(factor)) & (x.off == 0.0) & (off == 0.0)
    rounded = np.where(exact, 0.0, ULP * np.abs(values) + 4.0 * SUBNORMAL)
    rounded += (x.off * (size + off) + np.abs(x.values) * off) * (1.0 + 4.0 * ULP)
    return Coefficients(values, rounded)


def negative(x: Coefficients) -> Coefficients:
    """-x."""
    return Coefficients(-x.values, x.off)


def layer(x: Coefficients) -> tuple[np.ndarray, np.ndarray, float]:
    """x as a layer: weights [size, n], biases [size], and the norm of what both are off by."""
    rows = x.values.reshape(len(x.values), -1).T
    off = float(length(x.off.ravel())) * (1.0 + ULP * (2.0 + x.off.size))
    return np.ascontiguousarray(rows[:, :-1]) + 0.0, rows[:, -1] + 0.0, off


def is_unit(x: Coefficients) -> bool:
    """Whether x is the numbers themselves, in their order, exactly."""
    if len(x.values) != x.values[0].size + 1 or np.any(x.off):
        return False
    return np.array_equal(x.values, unit(x.shape).values)


def _is_exact(values: np.ndarray) -> np.ndarray:
    """Where a product with a number rounds nothing, whatever the other one is."""
    return np.asarray((values == 0.0) | (np.abs(values) == 1.0))
