"""The fused search against its definition: a loop over the drawn network in float64."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.masks import nearest
from ltjax.weights import draws

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


def naive(W, A, target, width, kind):
    """Ascending (error, neuron) lists of every slot, by definition: [side][o][i] -> list."""
    n_out, n_in = target.shape
    serves = {
        "pooled": lambda j, o, i: True,
        "blocks": lambda j, o, i: j % n_in == i,
        "separate": lambda j, o, i: j % n_in == i and j // n_in % n_out == o,
    }[kind]
    found = {}
    for s, sign in enumerate((1, -1)):
        for o in range(n_out):
            for i in range(n_in):
                open_to = [j for j in range(width) if serves(j, o, i)]
                errors = [
                    (abs(A[o, j] * W[j, i] - target[o, i]), j)
                    for j in open_to
                    if sign * W[j, i] > 0
                ]
                found[s, o, i] = sorted(e for e in errors if e[0] < abs(target[o, i]))
    return found


@cache
def compiled(kind, **options):
    """Once for all calls of the same shapes."""
    return jax.jit(partial(getattr(nearest, kind), **options), static_argnums=1)


def search(kind, target, trials, widths=WIDTHS, layer=0, **options):
    """Slots of some trials, trial axis first: [trial, width, rank, side, n_out, n_in]."""
    trials = jnp.asarray(trials, jnp.uint32)
    key = draws.trial_key(jnp.full_like(trials, 3), trials)
    target = jnp.asarray(target, jnp.float32)
    target = target[..., None] if target.ndim == 2 else jnp.moveaxis(target, 0, -1)
    found = compiled(kind, **options)(key, layer, target, jnp.asarray(widths, jnp.int32))
    return nearest.Slots(*(np.moveaxis(np.asarray(x), -1, 0) for x in found))


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


CASES = [
    ("blocks", np.array([[0.5, -0.2, 0.05]])),
    ("blocks", np.array([[0.5, -0.2], [0.1, 0.6], [-0.3, 0.02]])),
    ("blocks", np.array([[-0.9]])),
    ("separate", np.array([[0.5, -0.2], [0.1, 0.6], [-0.3, 0.02]])),
    ("separate", np.array([[0.5, -0.2, 0.05]])),
    ("pooled", np.array([[0.5, -0.2, 0.05]])),
    ("pooled", np.array([[0.3, -0.2, 0.05, 0.4, -0.45]])),
    ("pooled", np.array([[0.7]])),
]


@pytest.mark.parametrize(("kind", "target"), CASES)
def test_search_finds_what_the_definition_finds(kind, target):
    trials = [0, 5, 2**32 - 1]
    got = search(kind, target, trials, layer=2)
    for t, trial in enumerate(trials):
        W, A = network(trial, target.shape[1], target.shape[0], WIDTHS[-1], layer=2)
        for k, width in enumerate(WIDTHS):
            lists = naive(W, A, target, width, kind)
            for (s, o, i), expected in lists.items():
                # Beyond the second, a pooled slot lists near products, not always the next.
                for rank in range(min(got.error.shape[2], 2)):
                    where = (t, k, rank, s, o, i)
                    error, neuron = got.error[where], got.neuron[where]
                    if rank >= len(expected):
                        assert neuron == -1
                        assert error == np.float32(-target[o, i])
                        continue
                    assert neuron == expected[rank][1]
                    exact = A[o, neuron] * W[neuron, i] - target[o, i]
                    slack = nearest.RELATIVE * abs(exact) + draws.ROUNDING
                    assert abs(error - exact) <= slack


def test_further_ranks_are_true_products_in_order_and_all_different():
    target = np.array([[0.5, -0.2, 0.05]])
    got = search("pooled", target, np.arange(20))
    sizes = np.abs(got.error)
    assert np.all(np.diff(sizes, axis=2) >= 0)
    for t in range(20):
        W, A = network(t, 3, 1, WIDTHS[-1])
        for where in np.argwhere(got.neuron[t] >= 0):
            _, _, side, o, i = where
            neuron, error = got.neuron[t][tuple(where)], got.error[t][tuple(where)]
            exact = A[o, neuron] * W[neuron, i] - target[o, i]
            assert abs(error - exact) <= nearest.RELATIVE * abs(exact) + draws.ROUNDING
            assert (W[neuron, i] < 0) == side
    kept = np.where(
        got.neuron < 0, -1 - np.arange(nearest.POOLED_RANKS)[:, None, None, None], got.neuron
    )
    ordered = np.sort(kept, axis=2)
    assert np.all(np.diff(ordered, axis=2) != 0)


@pytest.mark.parametrize(("kind", "target"), [CASES[1], CASES[3], CASES[6]])
def test_one_network_equals_the_same_one_in_a_crowd(kind, target):
    crowd = search(kind, target, np.arange(300))
    for trial in (0, 131, 299):
        assert_same(search(kind, target, [trial]), (x[trial : trial + 1] for x in crowd))


def test_each_network_may_have_a_target_of_its_own():
    targets = np.array([[[0.5, -0.2, 0.1]], [[0.1, 0.3, -0.5]]])
    both = search("pooled", targets, [0, 1])
    for t in range(2):
        assert_same(search("pooled", targets[t], [t]), (x[t : t + 1] for x in both))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["blocks", "separate"])
def test_one_side_alone_is_that_side_of_two(kind):
    target = np.array([[0.5, -0.2, 0.3], [0.1, 0.6, -0.4]])
    both, one = search(kind, target, np.arange(40)), search(kind, target, np.arange(40), sides=1)
    assert_same(one, (x[:, :, :, :1] for x in both))


@pytest.mark.parametrize("kind", ["blocks", "separate", "pooled"])
def test_a_reading_does_not_depend_on_the_other_widths(kind):
    target = np.array([[0.5, -0.2, 0.05]])
    grid = search(kind, target, [1])
    for k, width in enumerate(WIDTHS):
        alone = search(kind, target, [1], widths=[width])
        assert_same(alone, (x[:, k : k + 1] for x in grid))
