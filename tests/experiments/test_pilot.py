"""The grid that a pilot places: where the curves rise, whoever asks."""

from itertools import product

import numpy as np
import pytest

import ltjax
from ltjax.experiments.network import pilot
from ltjax.experiments.network.problems import network
from ltjax.weights import redraw

TRIALS = 400


@pytest.mark.parametrize(
    "asked",
    [
        {"constructions": ("blocks",), "rules": ("sup",)},
        pytest.param({"rules": ("sup",)}, marks=pytest.mark.slow),
        pytest.param({"dim": 16, "epsilons": (0.3,)}, marks=pytest.mark.slow),
        pytest.param({"target": "random", "epsilons": (0.1, 0.05)}, marks=pytest.mark.slow),
    ],
)
def test_eight_block_sizes_and_more_lie_where_each_curve_rises(asked):
    problem = network(**asked)
    tally = ltjax.run(problem, trials=TRIALS)
    for criterion, certified in zip(problem.criteria, tally.certified, strict=True):
        if criterion.rule == "sup":
            success = certified / TRIALS
            assert np.all(np.sum((success > 0.02) & (success < 0.98), axis=0) >= 8)
            assert np.all(success[0] < 0.02)
            assert np.all(success[-1] > 0.98)


@pytest.mark.slow
def test_eight_widths_and_more_lie_where_the_curves_of_a_pool_rise():
    problem = network(constructions=("pooled",), rules=("sup",))
    success = ltjax.run(problem, trials=TRIALS).certified[0] / TRIALS
    assert np.all(np.sum((success > 0.02) & (success < 0.98), axis=0) >= 8)
    assert np.all(success[0] < 0.02)
    assert np.all(success[-1] > 0.98)


def test_a_pilot_gives_each_slot_of_a_pool_a_neuron_of_its_own():
    target = np.array([[0.3, -0.2], [0.1, 0.4]])
    near = pilot._nothing(target, (2, 2, 2))
    for neurons in (np.arange(7), np.arange(7, 20)):
        near = pilot._listed(*near, np.arange(pilot.TRIALS), neurons, target, 0)
    errors = pilot._apart(*near)
    a, w = redraw.random_layer(pilot.SEED, np.arange(pilot.TRIALS), np.arange(20), 2, 2)
    taken_twice = 0
    for trial, found in enumerate(errors):
        kept = []
        for (side, o, i), error in np.ndenumerate(found):
            every = np.where(
                (-1) ** side * w[trial, :, i] > 0, a[trial, o] * w[trial, :, i], np.inf
            )
            every = every - target[o, i]
            if error != -target[o, i]:
                kept.append(int(np.flatnonzero(every == error)[0]))
            nearest = near[1][trial, side, o, i, 0]
            assert nearest < 0 or nearest == np.argmin(np.abs(every))
        assert len(set(kept)) == len(kept)
        wanted = near[1][trial, ..., 0]
        taken_twice += len(set(wanted[wanted >= 0])) < np.sum(wanted >= 0)
    assert taken_twice > 10


def test_the_grid_is_the_same_for_every_seed_and_every_time():
    grid = network(seed=0).grid
    assert network(seed=0).grid == grid == network(seed=7).grid
    assert network(rules=("sup",)).grid == grid


def test_what_is_known_exactly_needs_no_pilot(monkeypatch):
    monkeypatch.setattr(pilot, "rising", None)
    assert len(network(rules=("slides", "tight")).grid.widths) <= 16
    assert network(blocks=(3, 5)).grid.widths == (3, 5)


def test_where_a_pilot_would_take_minutes_the_grid_is_that_of_the_theory(monkeypatch):
    monkeypatch.setattr(pilot, "WORK", 10_000)
    assert network().grid == network(rules=("tight",)).grid


@pytest.mark.parametrize("construction", ["blocks", "separate"])
def test_tickets_of_the_pilot_are_the_nearest_of_whole_layers(construction):
    target, size = np.array([[0.3, -0.2], [0.1, 0.4]]), 5
    found = pilot._candidates(np.arange(3), np.arange(size), target, construction, 0)
    nearest = pilot._nearer(np.broadcast_to(-target, (3, 2, 2, 2)), found)[0]
    best = np.broadcast_to(-target, (2, 2, 2)).copy()
    neurons = np.arange(size * (2 if construction == "blocks" else 4))
    [output], [hidden] = redraw.random_layer(pilot.SEED, [0], neurons, 2, 2)
    for j, o in product(neurons, range(2)):
        i, weight = j % 2, hidden[j, j % 2]
        error = output[o, j] * weight - target[o, i]
        serves = construction == "blocks" or j // 2 % 2 == o
        if serves and abs(error) < abs(best[int(weight < 0), o, i]):
            best[int(weight < 0), o, i] = error
    np.testing.assert_array_equal(nearest, best)
