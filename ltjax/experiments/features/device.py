"""Whole neurons: from a random two-layer network to the loss of the subnetworks it holds.

A trial draws k hidden weights w_j from a law on the unit ball and k output weights v_j ~ U[-1, 1].
What is kept of them is c sum_j v_j sigma(w_j.x); its error is its loss beyond that of n random
features with their best coefficients, at every width of the grid.

Where the loss is a quadratic form in known second moments (relu and inputs with no preferred
direction) or a mean over the user's own data it is exact, here up to the rounding of float32;
`host` settles in float64 what that leaves open. Elsewhere it is estimated from fresh
inputs, drawn anew in every trial, and the bracket is an interval that holds at `host.LEVEL`.

Source: Malach, Yehudai, Shalev-Shwartz, Shamir, ICML 2020, arXiv:2002.00585, section 3.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy import special

from ltjax.experiments.features.config import Features
from ltjax.experiments.features.host import (
    JUDGED,
    SEARCHED,
    activate,
    check,
    half_widths,
    inputs,
    kernel,
    layer,
    second_moment,
    settle,
)
from ltjax.masks import neurons
from ltjax.masks.neurons import Moments

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment

CHUNK = 512  # inputs whose activations are held at a time
HELD = 2**25  # second moments, or coordinates of inputs, that a device holds


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the loss beyond the baseline, float32 [criterion, width].
    kept: the subnetworks, bool [criterion, width, most].
    scale: their constants c, [criterion, width].
    """

    lower: jax.Array
    upper: jax.Array
    kept: jax.Array
    scale: jax.Array


def trial(key, target, widths, config: Features) -> Outcome:
    """One random network, pruned at every width. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: w, float32 [d]; of a data file x [n, d] and y [n].
        widths: ascending int32 [width].
        config: static.
    """
    with jax.default_matmul_precision("highest"):
        hidden, output = layer(key, config, jnp, special)
        moments = _moments(key, target, hidden, config)
        found = [
            getattr(neurons, search)(moments, output, widths, config.features, config.cap)
            for search in config.searches
        ]
        kept, scale = (jnp.stack(part) for part in zip(*found, strict=True))
        theta = jnp.where(kept, output[None, None], 0.0) * scale[..., None]
        # |theta|, but not as such: XLA of jax 0.12 looks for the sign of theta without end.
        sizes = jnp.where(kept, jnp.abs(output)[None, None], 0.0) * scale[..., None]
        lower, upper = _bracket(key, target, hidden, moments, theta, sizes, config)
    return Outcome(lower - config.baseline, upper - config.baseline, kept, scale)


def _moments(key, target, hidden, config) -> Moments:
    """What the searches see."""
    if config.exact:
        return exact_moments(hidden, target, config)
    x, y = inputs(key, target, config, SEARCHED, jnp, special) if config.samples else target
    return measured_moments(hidden, x, y, config)


def exact_moments(hidden, target, config) -> Moments:
    """By the arc-cosine kernel; see `theory.features`."""
    factor = second_moment(config.data, config.dim)
    return Moments(
        factor * kernel(hidden, hidden, jnp),
        factor * kernel(hidden, target[None], jnp)[:, 0],
        factor * 0.5 * jnp.sum(target**2),
    )


def _chunks(x, y):
    """Rows in chunks [c, CHUNK, ...]; zeros that fill up the last add nothing, as sigma(0) = 0."""
    missing = -len(x) % CHUNK
    x = jnp.pad(x, ((0, missing), (0, 0))).reshape(-1, CHUNK, x.shape[1])
    return x, jnp.pad(y, (0, missing)).reshape(-1, CHUNK)


def measured_moments(hidden, x, y, config) -> Moments:
    """Mean products over inputs x [n, d] with answers y [n]; memory does not grow with n."""

    def add(sums, chunk):
        x, y = chunk
        features = activate(config.activation, x @ hidden.T, jnp, special)
        more = features.T @ features, features.T @ y, jnp.sum(y**2)
        return jax.tree.map(jnp.add, sums, Moments(*more)), None

    k = len(hidden)
    zeros = Moments(jnp.zeros((k, k)), jnp.zeros(k), jnp.zeros(()))
    sums, _ = jax.lax.scan(add, zeros, _chunks(x, y))
    return jax.tree.map(lambda sum: sum / len(x), sums)


def _bracket(key, target, hidden, moments, theta, sizes, config):
    """Bounds on the loss of coefficients theta, of these sizes, [criterion, width, k]."""
    rows = 0 if config.exact else config.samples or len(target[1])
    # Rounding is relative to what is added up, whose root mean square is at most this (Minkowski).
    size = sizes @ jnp.sqrt(jnp.diagonal(moments.features)) + jnp.sqrt(moments.square)
    terms = 16 + config.dim + config.most**0.5 + (rows / CHUNK) ** 0.5
    slack = terms * 2.0**-23 * (size**2 if config.loss == "squared" else size)
    if config.samples:
        x, y = inputs(key, target, config, JUDGED, jnp, special)
        value, error = measured_loss(hidden, x, y, theta, config)
        slack = slack + half_widths(config.samples) * error
    elif config.loss == "absolute":
        value, _ = measured_loss(hidden, target[0], target[1], theta, config)
    else:
        value = neurons.loss(moments, theta)
    return value - slack, value + slack


def measured_loss(hidden, x, y, theta, config):
    """Mean loss of theta [criterion, width, k] over inputs x [n, d] with answers y [n], n > 1.

    Returns:
        The mean and its standard error, each [criterion, width]; memory does not grow with n.
    """

    def add(sums, chunk):
        x, y = chunk
        features = activate(config.activation, x @ hidden.T, jnp, special)
        off = jnp.einsum("xk,cwk->cwx", features, theta) - y[None, None]
        losses = off**2 if config.loss == "squared" else jnp.abs(off)
        more = jnp.sum(losses, axis=-1), jnp.sum(losses**2, axis=-1)
        return jax.tree.map(jnp.add, sums, more), None

    zeros = jnp.zeros(theta.shape[:2])
    (first, second), _ = jax.lax.scan(add, (zeros, zeros), _chunks(x, y))
    mean, square = first / len(x), second / len(x)
    return mean, jnp.sqrt(jnp.maximum(square - mean**2, 0.0) / (len(x) - 1))


def lanes(config: Features) -> int:
    """Trials that a device does best side by side: what they hold stays in memory."""
    held = max(config.most**2, config.samples * (config.dim + 1))
    return min(max(HELD // held, 1), 64)
