"""The dense road: draw the whole network, apply the mask, evaluate, and meet the claims."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball, supremum

from ltjax import draws, network
from ltjax.experiments import neuron
from ltjax.problem import Grid, Neuron, Problem

TRIALS = np.array([0, 1, 2, 3, 77, 1000, 2**31, 2**32 - 1], np.uint32)
TARGETS = {1: (0.7,), 2: (0.55, -0.2), 3: (0.5, -0.2, 0.02), 5: (0.4, -0.3, 0.2, 0.03, -0.1)}


@pytest.fixture(scope="module", params=TARGETS, ids="dim {}".format)
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
    find = lambda *key: neuron.trial(key, target, widths, problem.config)
    outcome = [np.asarray(x) for x in jax.jit(jax.vmap(find))(*keys)]
    lower, upper = neuron.settle(problem, TRIALS, *outcome)
    return problem, lower, upper, outcome[2]


def tickets(pruned):
    """Every ticket: trial index, width index, width, construction index, its neurons [side, d]."""
    problem, _, _, neurons = pruned
    for n, c, k in np.ndindex(neurons.shape[:3]):
        yield n, k, problem.grid.widths[k], c, neurons[n, c, k]


def dense(problem, trial, width):
    output, hidden = network.random_layer(
        problem.seed, [trial], np.arange(width), len(problem.target)
    )
    return output[0], hidden[0]


def test_a_ticket_is_a_mask_of_the_construction(pruned):
    problem = pruned[0]
    for n, _, width, c, kept in tickets(pruned):
        keep = network.mask(kept, width)
        _, hidden = dense(problem, TRIALS[n], width)
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
    f = network.target_neuron(problem.target, x)
    for n, k, width, c, kept in tickets(pruned):
        at = n, names.index(f"{problem.config.constructions[c]}/sup"), k
        output, hidden = dense(problem, TRIALS[n], width)
        g = network.evaluate(output, hidden, network.mask(kept, width), x)
        found = np.abs(f - g).max()
        assert found <= upper[at] * (1 + 1e-12)
        if problem.config.dim <= 2:
            # So many points come close: what was refuted, is refuted by one of them.
            errors = network.ticket_errors(
                problem.seed, TRIALS[n : n + 1], kept[None], problem.target
            )
            assert found >= (1 - 1e-3) * supremum(problem.target, errors)[0]
            assert found >= (1 - 1e-3) * lower[at]


def test_slot_errors_of_a_ticket_are_those_of_the_drawn_network(pruned):
    problem = pruned[0]
    for n, _, width, _, kept in tickets(pruned):
        output, hidden = dense(problem, TRIALS[n], width)
        [errors] = network.ticket_errors(
            problem.seed, TRIALS[n : n + 1], kept[None], problem.target
        )
        for (side, i), j in np.ndenumerate(kept):
            product = output[j] * hidden[j, i] if j >= 0 else 0.0
            assert errors[side, i] == product - problem.target[i]


def test_a_neuron_is_the_same_whichever_are_drawn_beside_it():
    output, hidden = network.random_layer(3, [4, 9], np.arange(30), 5)
    some_output, some_hidden = network.random_layer(3, [9], [17, 2], 5)
    np.testing.assert_array_equal(some_output[0], output[1, [17, 2]])
    np.testing.assert_array_equal(some_hidden[0], hidden[1, [17, 2]])
    assert output.dtype == hidden.dtype == np.float64
    # A narrower input reads the same words; another layer, seed or trial reads others.
    np.testing.assert_array_equal(
        network.random_layer(3, [4], np.arange(30), 2)[1], hidden[:1, :, :2]
    )
    for other in ({"seed": 4}, {"trials": [5]}, {"layer": 1}):
        arguments = {"seed": 3, "trials": [4], "neurons": np.arange(30), "dim": 5} | other
        assert not np.any(network.random_layer(**arguments)[1] == hidden[0])


def test_evaluate_is_the_definition():
    rng = np.random.default_rng(5)
    output = np.array([0.9, -0.5, 0.4, 0.7])
    hidden, x = rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    keep = rng.random((4, 3)) < 0.5
    relu = lambda z: max(z, 0.0)
    expected = [
        relu(sum(output[j] * relu(sum(hidden[j] * keep[j] * point)) for j in range(4)))
        for point in x
    ]
    assert min(expected) == 0.0 < max(expected)
    np.testing.assert_allclose(network.evaluate(output, hidden, keep, x), expected, rtol=1e-14)


def test_the_mask_of_an_empty_ticket_keeps_nothing():
    assert not network.mask(np.full((2, 3), -1), 5).any()
    one = network.mask(np.array([[-1, 4], [-1, -1]]), 5)
    assert np.argwhere(one).tolist() == [[4, 1]]
