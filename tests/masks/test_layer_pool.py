"""The search of a whole layer in one pool against its definition, bit for bit."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.masks import layer_pool, nearest
from ltjax.weights import draws, redraw

SEED, LAYER = 3, 2
WIDTHS = np.array([1, 5, 16, 17, 40, 128, 300], np.int32)
TARGET = np.float32([[0.5, -0.2, 0.05], [0.1, 0.6, 0.0], [-0.3, 0.02, -0.9]])
CASES = [
    (TARGET, 2, 16),
    (TARGET, 2, 4),
    (TARGET, 1, 32),
    (TARGET[:1], 2, 8),
    (TARGET[:, :1], 1, 2),
]


@cache
def compiled():
    return jax.jit(layer_pool.search, static_argnums=(1, 4, 5))


def search(target, trials, widths=WIDTHS, sides=2, lanes=16):
    """Slots of some trials, trial axis first: [trial, width, rank, side, n_out, n_in]."""
    trials = jnp.asarray(trials, jnp.uint32)
    key = draws.trial_key(jnp.full_like(trials, SEED), trials)
    target = target[..., None] if target.ndim == 2 else np.moveaxis(target, 0, -1)
    widths = jnp.asarray(widths, jnp.int32)
    found = compiled()(key, LAYER, jnp.asarray(target), widths, sides, lanes)
    return nearest.Slots(*(np.moveaxis(np.asarray(x), -1, 0) for x in found))


def products(target, trial, width):
    """Of the whole layer, drawn on the host: A W [n_out, n_in, width] and W > 0 [n_in, width]."""
    n_out, n_in = target.shape
    [output], [hidden] = redraw.random_layer(SEED, [trial], np.arange(width), n_in, n_out, LAYER)
    return output[:, None] * hidden.T, hidden.T > 0


def listed(target, trial, width, sides, lanes):
    """What a search reports by its definition: the least word of each chunk, the least first."""
    product, positive = products(target, trial, width)
    error = product.astype(np.float32) - target[..., None]
    lane = np.arange(width, dtype=np.uint32) % lanes
    size = np.abs(error).view(np.uint32) & np.uint32(2**31 - 2 * lanes)
    word = size | lane << np.uint32(1) | np.signbit(error)
    word = np.stack([np.where(positive == (s == 0), word, nearest.NONE) for s in range(sides)])
    word = np.pad(word, [(0, 0)] * 3 + [(0, -width % lanes)], constant_values=nearest.NONE)
    least = word.reshape(*word.shape[:3], -1, lanes).min(axis=-1)
    least = np.pad(least, [(0, 0)] * 3 + [(0, layer_pool.RANKS)], constant_values=nearest.NONE)
    chunk = np.argsort(least, axis=-1, kind="stable")[..., : layer_pool.RANKS]
    word = np.moveaxis(np.take_along_axis(least, chunk, axis=-1), -1, 0)
    size = (word & np.uint32(2**31 - 2 * lanes)).view(np.float32)
    neuron = np.moveaxis(chunk, -1, 0) * lanes + (word >> 1 & np.uint32(lanes - 1))
    empty = (word >= nearest.INFINITE) | (size >= np.abs(target))
    signed = np.where(word & 1, -size, size)
    return np.where(empty, -target, signed), np.where(empty, -1, neuron)


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("target", "sides", "lanes"), CASES)
def test_search_finds_what_the_definition_finds(target, sides, lanes):
    trials = [0, 5, 2**32 - 1]
    got = search(target, trials, sides=sides, lanes=lanes)
    for t, trial in enumerate(trials):
        for k, width in enumerate(WIDTHS):
            expected = listed(target, trial, int(width), sides, lanes)
            assert_same(expected, (x[t, k] for x in got))


@pytest.mark.parametrize(("target", "sides", "lanes"), CASES)
def test_no_neuron_of_another_chunk_is_nearer_than_the_last_one_listed(target, sides, lanes):
    got, width = search(target, [1], sides=sides, lanes=lanes), int(WIDTHS[-1])
    product, positive = products(target, 1, width)
    error = np.abs(product - target[..., None])
    seen = 0
    for s, o, i in np.ndindex(sides, *target.shape):
        errors, neurons = (x[0, -1, :, s, o, i] for x in got)
        mine = np.where(positive[i] == (s == 0), error[o, i], np.inf)
        assert neurons[0] == (mine.argmin() if mine.min() < abs(target[o, i]) else -1)
        if np.all(neurons >= 0):
            others = ~np.isin(np.arange(width) // lanes, neurons // lanes)
            assert mine[others].min() >= abs(errors[-1]) - draws.ROUNDING
            seen += 1
    assert seen > 0


def test_one_network_equals_the_same_one_in_a_crowd():
    crowd = search(TARGET, np.arange(300))
    for trial in (0, 131, 299):
        assert_same(search(TARGET, [trial]), (x[trial : trial + 1] for x in crowd))


def test_each_network_may_have_a_target_of_its_own():
    targets = np.stack([TARGET, TARGET[::-1]])
    both = search(targets, [0, 1])
    for t in range(2):
        assert_same(search(targets[t], [t]), (x[t : t + 1] for x in both))


def test_a_reading_does_not_depend_on_the_other_widths():
    grid = search(TARGET, [1])
    for k, width in enumerate(WIDTHS):
        assert_same(search(TARGET, [1], widths=[width]), (x[:, k : k + 1] for x in grid))


def test_errors_are_within_the_slack_up_to_the_lanes_of_other_searches():
    got, [trial] = search(TARGET, [7]), [7]
    product, _ = products(TARGET, trial, int(WIDTHS[-1]))
    neuron = got.neuron[0, -1]
    exact = np.take_along_axis(
        np.broadcast_to(product, (*neuron.shape, product.shape[-1])),
        np.maximum(neuron, 0)[..., None],
        axis=-1,
    )[..., 0]
    exact = np.where(neuron < 0, -TARGET, exact - TARGET)
    nearest.compare(exact, got.error[0, -1])
