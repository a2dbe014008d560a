"""What a search finds is fixed to the last bit: two roundings of float32, and ties by number."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.masks import nearest
from ltjax.tickets.scales import even, rescale
from ltjax.weights import draws

WIDTHS = np.array([40, 300], np.int32)
TRIALS, SEED = 24, 3


def layer(kind, n_out, n_in, width):
    """Whole layers in float32, drawn by numpy: A [trial, o, j], W [trial, j, i], and who serves."""
    trial = np.arange(TRIALS, dtype=np.uint32)[:, None, None]
    key = draws.trial_key(np.full_like(trial, SEED), trial)
    neuron = np.arange(width, dtype=np.uint32)[:, None]
    drawn = lambda role, size: draws.uniform(
        draws.word(draws.stream(key, 0, role), neuron, np.arange(size, dtype=np.uint32))
    )
    A, W = np.swapaxes(drawn(draws.OUTPUT, n_out), 1, 2), drawn(draws.HIDDEN, n_in)
    j, o, i = np.ogrid[:width, :n_out, :n_in]
    serves = {
        "pooled": np.full((width, n_out, n_in), True),
        "blocks": (j % n_in == i) & (o >= 0),
        "separate": (j % n_in == i) & (j // n_in % n_out == o),
    }
    return A, W, serves[kind]


def expected(kind, target, width, lanes):
    """Errors and neurons [trial, side, o, i] of the nearest products, bit by bit.

    The product is rounded to float32, then the difference; five bits of the error are cut off. Of
    equal ones the positive, then the first in its chunk, then the first of all is the nearest.
    """
    n_out, n_in = target.shape
    A, W, serves = layer(kind, n_out, n_in, width)
    product = A[:, :, :, None] * W[:, None]  # [trial, o, j, i]
    error = np.moveaxis(product - target[:, None], 2, 1)  # [trial, j, o, i]
    assert product.dtype == error.dtype == np.float32
    size = error.view(np.uint32) & np.uint32(0x7FFFFFE0)
    inputs = 1 if kind == "pooled" else n_in * (n_out if kind == "separate" else 1)
    number = np.arange(width)[:, None, None] // inputs
    rank = (size.astype(np.int64) * 2 + np.signbit(error)) * lanes + number % lanes
    errors, neurons = [], []
    for positive in (True, False):
        allowed = (
            serves & ((W > 0)[:, :, None] == positive) & (size < np.abs(target).view(np.uint32))
        )
        best = np.where(allowed, rank, np.iinfo(np.int64).max).argmin(axis=1)[:, None]
        found = np.take_along_axis(allowed, best, axis=1)[:, 0]
        cut = np.take_along_axis(error.view(np.uint32) & np.uint32(0xFFFFFFE0), best, axis=1)[:, 0]
        errors.append(np.where(found, cut.view(np.float32), -target))
        neurons.append(np.where(found, best[:, 0], -1))
    return np.stack(errors, axis=1), np.stack(neurons, axis=1)


CASES = [("pooled", 1, 16, 16), ("blocks", 3, 4, 4), ("separate", 2, 3, 4), ("blocks", 1, 2, 4)]


@pytest.mark.parametrize(("kind", "n_out", "n_in", "lanes"), CASES)
def test_errors_and_neurons_are_those_of_two_roundings_bit_for_bit(kind, n_out, n_in, lanes):
    # A compiler that fuses product and difference differs in 40 to 80 of 100 slots.
    target = np.linspace(-0.4, 0.45, n_out * n_in, dtype=np.float32).reshape(n_out, n_in)
    number = jnp.arange(TRIALS, dtype=jnp.uint32)
    key = draws.trial_key(jnp.full_like(number, SEED), number)
    find = jax.jit(partial(getattr(nearest, kind)), static_argnums=1)
    found = find(key, 0, jnp.asarray(target)[..., None], jnp.asarray(WIDTHS))
    for k, width in enumerate(WIDTHS):
        errors, neurons = expected(kind, target, width, lanes)
        error, neuron = (np.moveaxis(np.asarray(x)[k, 0], -1, 0) for x in found)
        np.testing.assert_array_equal(neuron, neurons)
        np.testing.assert_array_equal(error.view(np.uint32), errors.view(np.uint32))


def test_the_scales_of_a_ticket_are_those_of_any_linear_algebra():
    # Norms of two libraries, or of two processors, differ in their last bits.
    rng = np.random.default_rng(0)
    for shape in [(8, 4), (3, 8), (1, 1), (64, 64)] * 5:
        layer = rng.normal(size=shape)
        _, (scale,) = rescale([layer])
        norm = np.linalg.norm(layer, 2)
        for other in (norm * (1 - 3e-16), norm * (1 + 3e-16), np.linalg.svd(layer)[1][0]):
            most = max(float(other), float(np.sqrt(shape[1]) * abs(layer).max()))
            assert even(most) == scale
            assert most * (1 - 1e-14) <= scale <= most * (1 + 1e-12)
    for exact in (1.0, 0.75, 3.0, 2.0**-300):
        assert rescale([np.array([[exact]])])[1] == (exact,)
        assert even(exact * (1 + 2.0**-52)) == exact
