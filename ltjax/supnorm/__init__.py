"""Bounds on the supremum of the difference of two networks, from both sides.

pair = ltjax.supnorm.Pair(weights, errors)              # f, and n networks g = f + errors
ladder = ltjax.supnorm.of_inputs(dim) + (my_bound,)     # from the cheapest to the most expensive
lower, upper = ltjax.supnorm.narrow(pair, [0.0], [float("inf")], [0.1], ladder)
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
