"""The fused search against its definition: a loop over the drawn network in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import draws
from ltjax.search import nearest

WIDTHS = np.array([1, 5, 16, 17, 40, 100, 128, 300], np.int32)


def network(trial, n_in, n_out, width, layer=0):
    """One random layer in float64, drawn on the host: W [width, n_in], A [n_out, width]."""
    key = draws.trial_key(np.array([3], np.uint32), np.array([trial], np.uint32))
    neurons = np.arange(width, dtype=np.uint32)[:, None]
    hidden = draws.stream(key, layer, draws.HIDDEN)
    output = draws.stream(key, layer, draws.OUTPUT)
    inputs, outputs = np.arange(n_in, dtype=np.uint32), np.arange(n_out, dtype=np.uint32)
    W = draws.uniform(draws.word(hidden, neurons, inputs)).astype(np.float64)
    A = draws.uniform(draws.word(output, neurons, outputs)).astype(np.float64)
    return W, A.T


def naive(W, A, target, width, pooled):
    """Ascending (error, neuron) lists of every slot, by definition: [side][o][i] -> list."""
    n_out, n_in = target.shape
    found = {}
    for s, sign in enumerate((1, -1)):
        for o in range(n_out):
            for i in range(n_in):
                open_to = [j for j in range(width) if pooled or j % n_in == i]
                errors = [
                    (abs(A[o, j] * W[j, i] - target[o, i]), j)
                    for j in open_to
                    if sign * W[j, i] > 0
                ]
                found[s, o, i] = sorted(e for e in errors if e[0] < abs(target[o, i]))
    return found


def search(find, target, trials, layer=0):
    def one(trial):
        key = draws.trial_key(jnp.uint32(3), trial)
        return find(key, layer, jnp.asarray(target, jnp.float32), jnp.asarray(WIDTHS))

    return jax.jit(jax.vmap(one))(jnp.asarray(trials, jnp.uint32))


CASES = [
    ("blocks", np.array([[0.5, -0.2, 0.05]])),
    ("blocks", np.array([[0.5, -0.2], [0.1, 0.6], [-0.3, 0.02]])),
    ("blocks", np.array([[-0.9]])),
    ("pooled", np.array([[0.5, -0.2, 0.05]])),
    ("pooled", np.array([[0.3, -0.2, 0.05, 0.4, -0.45]])),
    ("pooled", np.array([[0.7]])),
]


@pytest.mark.parametrize(("kind", "target"), CASES)
def test_search_finds_what_the_definition_finds(kind, target):
    trials = [0, 5, 2**32 - 1]
    got = jax.tree.map(np.asarray, search(getattr(nearest, kind), target, trials, layer=2))
    for t, trial in enumerate(trials):
        W, A = network(trial, target.shape[1], target.shape[0], WIDTHS[-1], layer=2)
        for k, width in enumerate(WIDTHS):
            lists = naive(W, A, target, width, kind == "pooled")
            for (s, o, i), expected in lists.items():
                for rank in range(got.error.shape[2]):
                    where = (t, k, rank, s, o, i)
                    error, neuron = got.error[where], got.neuron[where]
                    if rank >= len(expected):
                        assert neuron == -1
                        assert error == np.float32(-target[o, i])
                        continue
                    assert neuron == expected[rank][1]
                    exact = A[o, neuron] * W[neuron, i] - target[o, i]
                    slack = nearest.RELATIVE * abs(exact) + nearest.ABSOLUTE
                    assert abs(error - exact) <= slack


@pytest.mark.parametrize(("kind", "target"), CASES)
def test_one_network_equals_the_same_one_in_a_crowd(kind, target):
    find = getattr(nearest, kind)
    crowd = jax.tree.map(np.asarray, search(find, target, np.arange(300)))
    for trial in (0, 131, 299):
        key = draws.trial_key(jnp.uint32(3), jnp.uint32(trial))
        alone = jax.jit(find, static_argnums=1)(
            key, 0, jnp.asarray(target, jnp.float32), jnp.asarray(WIDTHS)
        )
        for got, among in zip(alone, crowd, strict=True):
            np.testing.assert_array_equal(got, among[trial])


def test_each_network_may_have_a_target_of_its_own():
    targets = jnp.array([[[0.5, -0.2, 0.1]], [[0.1, 0.3, -0.5]]], jnp.float32)
    keys = draws.trial_key(jnp.full(2, 3, jnp.uint32), jnp.arange(2, dtype=jnp.uint32))
    find = jax.vmap(lambda key, target: nearest.pooled(key, 0, target, jnp.asarray(WIDTHS)))
    both = jax.jit(find)(keys, targets)
    for t in range(2):
        alone = nearest.pooled(tuple(k[t] for k in keys), 0, targets[t], jnp.asarray(WIDTHS))
        jax.tree.map(np.testing.assert_array_equal, alone, jax.tree.map(lambda x, t=t: x[t], both))


@pytest.mark.parametrize("kind", ["blocks", "pooled"])
def test_a_reading_does_not_depend_on_the_other_widths(kind):
    target = jnp.array([[0.5, -0.2, 0.05]], jnp.float32)
    key = draws.trial_key(jnp.uint32(3), jnp.uint32(1))
    find = getattr(nearest, kind)
    grid = find(key, 0, target, jnp.asarray(WIDTHS))
    for k, width in enumerate(WIDTHS):
        alone = find(key, 0, target, jnp.array([width], jnp.int32))
        jax.tree.map(
            np.testing.assert_array_equal, alone, jax.tree.map(lambda x, k=k: x[k : k + 1], grid)
        )
