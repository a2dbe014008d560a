"""Bounds on the supremum of the difference of two networks, from both sides."""

import ltjax.machine  # noqa: F401  first, as it says which setting keeps jax from starting
