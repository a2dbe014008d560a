"""Several hidden layers, layer in layer: against the circle, the tree, points, and faults."""

from itertools import pairwise

import numpy as np
import pytest

import ltjax
from ltjax.experiments.network.problems import network
from ltjax.networks import pairs
from ltjax.networks.pairs import Pair
from ltjax.supnorm import branch_and_bound, layered, plane
from ltjax.system.stops import deadline

NEAR, HALF = np.array([0.9, 0.98, 1.02, 1.1]), np.array([0.5])


def some(n_pairs, sizes, seed, size=0.3):
    """Pairs of one target with one output, all errors of a size; signs of weights may change."""
    random = np.random.default_rng([seed, *sizes])
    shapes = [(n_out, n_in) for n_in, n_out in pairwise((*sizes, 1))]
    weights = tuple(random.normal(size=shape) for shape in shapes)
    errors = (
        size * random.normal(size=(n_pairs, 1 + (i == 0), *shape)) for i, shape in enumerate(shapes)
    )
    return Pair(weights, tuple(errors))


def each(pair):
    return [pair._replace(errors=errors) for errors in zip(*pair.errors, strict=True)]


def circles(pair):
    return np.array([plane.circle_bounds(one) for one in each(pair)]).T


def misses(pair, low, high, near=NEAR):
    """Whether a bracket misses a supremum between `low` and `high`."""
    found = [layered.decide(pair, wanted) for wanted in low[:, None] * near[:, None, None]]
    return not all(np.all((lower <= high) & (low <= upper)) for lower, upper in found)


@pytest.mark.parametrize("size", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("sizes", [(2, 6), (2, 1, 1), (2, 3, 4), (2, 5, 3), (2, 3, 2, 3)])
def test_in_the_plane_it_is_what_the_circle_says(sizes, size):
    pair = some(8, sizes, sum(sizes), size)
    assert not misses(pair, *circles(pair))


@pytest.mark.parametrize("sizes", [(2, 4), (2, 3, 3)])
def test_an_output_may_end_with_a_relu(sizes):
    pair = some(8, sizes, 3, 0.1)._replace(last="relu")
    low, high = circles(pair)
    assert not misses(pair, low, high)
    _, upper = layered.decide(pair, 1.05 * high[:, None])
    assert np.sum(upper <= 1.05 * high) >= 3  # of 8


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(3, 4, 4), (5, 6, 6), (3, 4, 4, 4)])
def test_it_agrees_with_the_tree_and_with_points(sizes):
    pair = some(3, sizes, 1, 0.1)
    found = [
        list(branch_and_bound.brackets(one, 5e-2, stop=deadline(10.0)))[-1] for one in each(pair)
    ]
    low, high = np.array([(b.lower, b.upper) for b in found]).T
    assert not misses(pair, low, high)
    _, upper = layered.decide(pair, low[:, None])
    for one, bound in zip(each(pair), upper, strict=True):
        x = np.random.default_rng(0).normal(size=(sizes[0], 20_000))
        assert pairs.reached(one, x)[0].max() <= bound


@pytest.mark.parametrize(
    ("depth", "blocks"), [(3, (16, 32)), pytest.param(4, (24, 48), marks=pytest.mark.slow)]
)
def test_trials_of_several_hidden_layers_are_decided(depth, blocks):
    """Where success rises, and all but a few of a hundred were left open before."""
    problem = network(dim=4, hidden=3, depth=depth, blocks=blocks, epsilons=(0.5, 0.2))
    tally = ltjax.run(problem, trials=32)
    for criterion, *ends in zip(problem.criteria, tally.certified, tally.refuted, strict=True):
        if criterion.rule == "sup":
            assert np.sum(32 - sum(ends)) <= 3  # of 128


def test_nothing_is_said_of_nan():
    pair = some(2, (3, 4, 4), 0)
    pair.errors[1][0, 0, 0, 0] = np.nan
    lower, upper = layered.decide(pair, np.full((2, 1), 0.5))
    assert (lower[0], upper[0]) == (0.0, np.inf)
    assert lower[1] > 0.5


def test_a_bracket_closes_and_its_point_is_where_the_lower_end_is():
    for one in each(some(3, (8, 8, 8), 5, 0.02)):
        found = layered.bracket(one, 0.05)
        assert found.lower <= found.upper <= 1.05 * found.lower
        assert pairs.reached(one, found.point[:, None])[0][0] == pytest.approx(found.lower)


def test_a_bracket_says_on_which_side_of_an_epsilon_the_supremum_is():
    for one in each(some(3, (8, 8, 8), 5, 0.02)):
        low = layered.bracket(one, 0.05).lower
        assert layered.bracket(one, 1e-6, 1.06 * low).upper <= 1.06 * low
        assert layered.bracket(one, 1e-6, 0.94 * low).lower > 0.94 * low


def test_a_bracket_is_valid_whenever_it_is_stopped():
    (one,) = each(some(1, (2, 4, 4), 7, 0.1))
    low, high = plane.circle_bounds(one)
    for patience in (0, 1, 2, 3, 5, 8, 13):
        asked = iter(range(1000))
        found = layered.bracket(one, 1e-3, stop=lambda asked=asked, n=patience: next(asked) >= n)
        assert found.lower <= high
        assert found.upper >= low


def test_a_slab_bounds_what_a_neuron_of_g_gets_more_than_that_of_f_or_less():
    """At points of y >= 0, in every layer."""
    y = np.abs(np.random.default_rng(0).normal(size=(6, 4000)))
    for one in each(some(4, (3, 4, 3, 3), 2, 0.2)):
        nets = layered._networks(one)
        f, g, parts = nets.u @ y, nets.v @ y, []
        for number in range(len(nets.at)):
            parts.append(g - f)
            if number + 1 < len(nets.at):
                f = nets.of_f[number] @ np.maximum(f, 0.0)
                g = nets.of_g[number] @ np.maximum(g, 0.0)
        apart = np.concatenate(parts)
        up, down = nets.up @ y - apart, nets.down @ y + apart
        assert up.min() >= -1e-12
        assert down.min() >= -1e-12


@pytest.mark.parametrize("size", [1e160, 1e300])
def test_what_overflows_is_no_bound(size):
    """inf - inf is NaN, which must not be taken for a bound that was looked at."""
    w, *others = some(1, (2, 3, 3), 0).errors
    pair = some(1, (2, 3, 3), 0)._replace(errors=(size * w, size * others[0], size * others[1]))
    with np.errstate(over="ignore", invalid="ignore"):
        lower, upper = layered.decide(pair, np.array([[1.0]]))
    assert lower[0] > 1.0 or upper[0] == np.inf


@pytest.mark.parametrize("size", [1e-20, 1e-30, 1e-150, 1e30, 1e120])
def test_pairs_of_any_size_are_bounded(size):
    (w, *others), errors = some(4, (2, 3, 3), 0, 0.2)[:2]
    for pair in (
        Pair((size * w, *others), (size * errors[0], *errors[1:])),
        Pair((w, *others), tuple(size * e for e in errors)) if size < 1.0 else None,
    ):
        if pair:
            low, _ = circles(pair)
            assert np.all(layered.decide(pair, low[:, None])[1] >= low)


def test_which_pairs_it_speaks_of():
    pair = some(1, (3, 8, 8), 0)
    assert layered.applies(pair)
    assert layered.applies(some(1, (3, 20, 8, 8), 0))
    assert layered.applies(pair._replace(last="relu"))
    assert layered.applies(some(1, (3, 8), 0)._replace(last="relu"))
    assert not layered.applies(some(1, (3,), 0)._replace(last="relu"))
    assert not layered.applies(some(1, (3, 8, 9, 8), 0))
    assert not layered.applies(some(1, (200, 8, 16), 0))
    assert layered.applies(some(1, (3, 20), 0))
    assert not layered.applies(some(1, (3, 21), 0))


# Planted faults.


def faulty(monkeypatch, fault):
    if fault == "choices skipped":
        whole = layered._every

        def fewer(*asked):
            return (gates.chosen(slice(len(gates) // 2, None)) for gates in whole(*asked))

        monkeypatch.setattr(layered, "_every", fewer)
    elif fault == "theta beyond 1":
        clip = np.clip
        monkeypatch.setattr(layered.np, "clip", lambda x, low, high: clip(x, low, high + 0.5))
    elif fault == "a branch forgotten":
        whole_branched = layered._Gates.branched

        def half(gates, q):
            gates = whole_branched(gates, q)
            split = np.any(gates.mask == 0.0, axis=0) | np.any(gates.known, axis=0)
            return gates.chosen(~split | (np.arange(len(gates)) % 2 == 0))

        monkeypatch.setattr(layered._Gates, "branched", half)
    elif fault == "no slab":
        monkeypatch.setattr(
            layered._Gates, "beside", lambda gates, slabs: np.zeros_like(gates.mask)
        )


@pytest.mark.parametrize(
    "fault", ["choices skipped", "theta beyond 1", "a branch forgotten", "no slab"]
)
@pytest.mark.parametrize("depth", [2, 3])
def test_a_planted_fault_is_caught(monkeypatch, fault, depth):
    """Without points, so that every choice above half of the supremum is followed to its end."""
    monkeypatch.setattr(layered._Found, "reach", lambda *asked: None)
    cases = [some(4, (2, n, *[3] * (depth - 1)), seed, 0.6) for n in (2, 4) for seed in range(3)]
    truth = [circles(pair) for pair in cases]
    ask = lambda: [misses(p, *ends, HALF) for p, ends in zip(cases, truth, strict=True)]
    assert not any(ask())
    faulty(monkeypatch, fault)
    assert any(ask())
