"""Bounds on the supremum of the difference of two networks, from both sides."""

from ltjax.system import devices  # noqa: F401  first: it says which setting keeps jax from starting
