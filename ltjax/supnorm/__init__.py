"""Bounds on the supremum of the difference of two networks, from both sides.

A pair is a target f and n networks g, as `Pair(weights, errors)`; with a bound of one's own,

    ladder = (*ltjax.supnorm.of_inputs(dim), mine)
    lower, upper = ltjax.supnorm.narrow(pair, [0.0], [math.inf], epsilons, ladder)
"""

from ltjax.system import devices  # noqa: F401  first: it says which setting keeps jax from starting

# isort: split
from ltjax.networks.pairs import Pair
from ltjax.supnorm.bounds import Bound, circle, climb, line, narrow, norms, of_inputs, relaxation

__all__ = [
    "Bound",
    "Pair",
    "circle",
    "climb",
    "line",
    "narrow",
    "norms",
    "of_inputs",
    "relaxation",
]
