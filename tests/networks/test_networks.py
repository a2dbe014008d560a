"""The dense road: draw the whole network, apply the mask, evaluate, and meet the claims."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball, supremum

from ltjax.experiments.network.config import LASTS
from ltjax.experiments.neuron import device
from ltjax.experiments.neuron.config import Neuron
from ltjax.networks import pairs
from ltjax.networks.pruned import active_weights, mask, ticket_errors
from ltjax.problem.problem import Grid, Problem
from ltjax.weights import draws, redraw

TRIALS = np.array([0, 1, 2, 3, 77, 1000, 2**31, 2**32 - 1], np.uint32)
TARGETS = {1: (0.7,), 2: (0.55, -0.2), 3: (0.5, -0.2, 0.02), 5: (0.4, -0.3, 0.2, 0.03, -0.1)}


@pytest.fixture(
    scope="module",
    params=[pytest.param(d, marks=[pytest.mark.slow] if d in (1, 3) else []) for d in TARGETS],
    ids="dim {}".format,
)
def pruned(request):
    """A problem, and its settled brackets and tickets in all TRIALS."""
    problem = Problem(
        config=Neuron(dim=request.param),
        target=TARGETS[request.param],
        grid=Grid(widths=(2, 9, 40, 150), epsilons=(0.5, 0.2, 0.1, 0.05, 0.02)),
        seed=21,
    )
    keys = draws.trial_key(jnp.full(len(TRIALS), 21, jnp.uint32), jnp.asarray(TRIALS))
    target = jnp.asarray(problem.target, jnp.float32)
    widths = jnp.asarray(problem.grid.widths, jnp.int32)
    find = lambda widths, *key: device.trial(key, target, widths, problem.config)
    found = jax.jit(jax.vmap(find, in_axes=(None, 0, 0)))(widths, *keys)
    outcome = [np.asarray(x) for x in found]
    lower, upper = device.settle(problem, TRIALS, *outcome)
    return problem, lower, upper, outcome[2]


def tickets(pruned):
    """Every ticket: trial index, width index, width, construction index, its neurons [side, d]."""
    problem, _, _, neurons = pruned
    for n, c, k in np.ndindex(neurons.shape[:3]):
        yield n, k, problem.grid.widths[k], c, neurons[n, c, k]


def dense(problem, trial, width):
    output, hidden = redraw.random_layer(
        problem.seed, [trial], np.arange(width), len(problem.target)
    )
    return output[0], hidden[0]


def ticket(output, hidden, kept):
    """The masked network, as the list of its two layers."""
    keep_output, keep_hidden = mask(kept[:, None], len(hidden))
    return [hidden * keep_hidden, output * keep_output]


def test_a_ticket_is_a_mask_of_the_construction(pruned):
    problem = pruned[0]
    for n, _, width, c, kept in tickets(pruned):
        keep_output, keep = mask(kept[:, None], width)
        _, hidden = dense(problem, TRIALS[n], width)
        np.testing.assert_array_equal(keep_output[0], keep.any(axis=1))
        # One input a neuron, and a neuron of its own for every slot that is not empty.
        assert np.all(keep.sum(axis=1) <= 1)
        assert keep.sum() == np.sum(kept >= 0)
        for side, i in zip(*np.nonzero(kept >= 0), strict=True):
            assert np.sign(hidden[kept[side, i], i]) == (1, -1)[side]
            if problem.config.constructions[c] == "blocks":
                assert kept[side, i] % problem.config.dim == i


def test_no_point_of_the_ball_refutes_the_claimed_supremum(pruned):
    problem, lower, upper, _ = pruned
    names = [criterion.name for criterion in problem.criteria]
    x = ball(problem.config.dim, 20_000)
    f = pairs.forward([[problem.target]], x, "relu")
    for n, k, width, c, kept in tickets(pruned):
        at = n, names.index(f"{problem.config.constructions[c]}/sup"), k
        output, hidden = dense(problem, TRIALS[n], width)
        g = pairs.forward(ticket(output, hidden, kept), x, "relu")
        found = np.abs(f - g).max()
        assert found <= upper[at] * (1 + 1e-12)
        if problem.config.dim <= 2:
            # So many points come close: what was refuted, is refuted by one of them.
            errors = ticket_errors(problem.seed, TRIALS[n : n + 1], kept[None], problem.target)
            assert found >= (1 - 1e-3) * supremum(problem.target, errors)[0]
            assert found >= (1 - 1e-3) * lower[at]


def test_slot_errors_of_a_ticket_are_those_of_the_drawn_network(pruned):
    problem = pruned[0]
    for n, _, width, _, kept in tickets(pruned):
        output, hidden = dense(problem, TRIALS[n], width)
        [errors] = ticket_errors(problem.seed, TRIALS[n : n + 1], kept[None], problem.target)
        for (side, i), j in np.ndenumerate(kept):
            product = output[0, j] * hidden[j, i] if j >= 0 else 0.0
            assert errors[side, i] == product - problem.target[i]


def test_a_neuron_is_the_same_whichever_are_drawn_beside_it():
    output, hidden = redraw.random_layer(3, [4, 9], np.arange(30), 5)
    some_output, some_hidden = redraw.random_layer(3, [9], [17, 2], 5)
    np.testing.assert_array_equal(some_output[0], output[1][:, [17, 2]])
    np.testing.assert_array_equal(some_hidden[0], hidden[1, [17, 2]])
    assert output.dtype == hidden.dtype == np.float64
    # A narrower input reads the same words; another layer, seed or trial reads others.
    np.testing.assert_array_equal(
        redraw.random_layer(3, [4], np.arange(30), 2)[1], hidden[:1, :, :2]
    )
    for other in ({"seed": 4}, {"trials": [5]}, {"layer": 1}):
        arguments = {"seed": 3, "trials": [4], "neurons": np.arange(30), "n_in": 5} | other
        assert not np.any(redraw.random_layer(**arguments)[1] == hidden[0])


def test_forward_is_the_definition():
    rng = np.random.default_rng(5)
    first, second, x = rng.normal(size=(4, 3)), rng.normal(size=(2, 4)), rng.normal(size=(6, 3))
    relu = lambda z: max(z, 0.0)
    linear = [
        [sum(row[j] * relu(sum(first[j] * point)) for j in range(4)) for row in second]
        for point in x
    ]
    assert np.min(linear) < 0.0 < np.max(linear)
    np.testing.assert_allclose(pairs.forward([first, second], x), linear, rtol=1e-13)
    clipped = np.maximum(linear, 0.0)
    np.testing.assert_allclose(pairs.forward([first, second], x, "relu"), clipped, rtol=1e-13)


# Whole networks, layer by layer.

SIZES = (3, 5, 4, 2)


@pytest.fixture(scope="module")
def deep():
    """A target of three layers, a ticket drawn at random for it, and the networks they make."""
    rng, width = np.random.default_rng(8), 60
    weights, errors, layers, kept = [], [], [], []
    for i, (n_in, n_out) in enumerate(pairwise(SIZES)):
        weights.append(rng.uniform(-1, 1, (n_out, n_in)) / n_in**0.5)
        output, hidden = (x[0] for x in redraw.random_layer(5, [9], range(width), n_in, n_out, i))
        # Any neuron of the block of an input, on the side where its weight is.
        block = np.arange(width) % n_in == np.arange(n_in)[:, None]
        neurons = np.full((2 if i == 0 else 1, n_out, n_in), -1)
        for side, o, q in np.ndindex(neurons.shape):
            there = np.flatnonzero(block[q] & (np.sign(hidden[:, q]) == (1, -1)[side]))
            neurons[side, o, q] = rng.choice([*there, -1])
        keep_output, keep_hidden = mask(neurons, width)
        layers += [hidden * keep_hidden, output * keep_output]
        errors.append(ticket_errors(5, [9], neurons[None], weights[-1], i)[0])
        kept.append(neurons)
    return tuple(weights), tuple(errors), layers, kept


@pytest.mark.parametrize("last", LASTS)
def test_the_masked_network_is_the_effective_matrices(deep, last):
    weights, errors, layers, _ = deep
    x = ball(SIZES[0], 500)
    expected = pairs.forward(layers, x, last) - pairs.forward(weights, x, last)
    found = pairs.difference(pairs.Pair(weights, errors, last), x.T)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found.T, expected, atol=1e-15 * 60)


def test_the_difference_is_accurate_however_small(deep):
    weights, errors, _, _ = deep
    x = ball(SIZES[0], 50).T
    whole = pairs.difference(pairs.Pair(weights, errors), x)
    small = pairs.difference(pairs.Pair(weights, tuple(1e-12 * e for e in errors)), x)
    smaller = pairs.difference(pairs.Pair(weights, tuple(1e-14 * e for e in errors)), x)
    np.testing.assert_allclose(1e2 * smaller, small, rtol=1e-9, atol=1e-20)
    assert np.abs(small).max() > 1e-14 * np.abs(whole).max()


def test_active_weights_are_the_entries_of_the_masks(deep):
    _, _, layers, kept = deep
    assert active_weights(kept) == sum(np.count_nonzero(layer) for layer in layers)


def test_a_layer_of_many_outputs_contains_that_of_one():
    output, hidden = redraw.random_layer(3, [4], np.arange(30), 5, 7, layer=2)
    one, same = redraw.random_layer(3, [4], np.arange(30), 5, layer=2)
    np.testing.assert_array_equal(one, output[:, :1])
    np.testing.assert_array_equal(same, hidden)


def test_the_mask_of_an_empty_ticket_keeps_nothing():
    assert not any(keep.any() for keep in mask(np.full((2, 1, 3), -1), 5))
    output, hidden = mask(np.array([[[-1, 4]], [[-1, -1]]]), 5)
    assert np.argwhere(hidden).tolist() == [[4, 1]]
    assert np.argwhere(output).tolist() == [[0, 4]]


@pytest.mark.parametrize("last", ["linear", "relu"])
@pytest.mark.parametrize("sizes", [(3, 1), (3, 4, 2), (2, 5, 3, 2)])
def test_the_slope_is_that_of_half_the_squared_difference(sizes, last):
    random = np.random.default_rng(len(sizes))
    weights = [random.normal(size=(b, a)) for a, b in pairwise(sizes)]
    errors = [0.3 * random.normal(size=(5, 1 + (i == 0), *w.shape)) for i, w in enumerate(weights)]
    pair = pairs.Pair(tuple(weights), tuple(errors), last)
    x = np.broadcast_to(random.normal(size=(sizes[0], 7)), (5, sizes[0], 7))
    half = lambda x: np.sum(pairs.difference(pair, x) ** 2, axis=-2) / 2
    steps = 1e-6 * np.eye(sizes[0])[:, :, None]
    by_differences = np.stack([(half(x + s) - half(x - s)) / 2e-6 for s in steps], axis=-2)
    np.testing.assert_allclose(pairs.slope(pair, x), by_differences, rtol=1e-6, atol=1e-8)
