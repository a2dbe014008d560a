"""Bounds on the supremum of the difference of two networks, from both sides.

A pair is a target f and n networks g, as `Pair(weights, errors)`; with a bound of one's own,

    bounds = (*ltjax.supnorm.ladder(pair), mine)
    lower, upper = ltjax.supnorm.narrow(pair, [0.0], [math.inf], epsilons, bounds)
"""

from ltjax.system import devices  # noqa: F401  first: it says which setting keeps jax from starting

# isort: split
from ltjax.networks.pairs import Pair
from ltjax.supnorm.bounds import (
    Bound,
    cells,
    circle,
    climb,
    formula,
    ladder,
    line,
    lines,
    narrow,
    norms,
    relaxation,
)

__all__ = [
    "Bound",
    "Pair",
    "cells",
    "circle",
    "climb",
    "formula",
    "ladder",
    "line",
    "lines",
    "narrow",
    "norms",
    "relaxation",
]
