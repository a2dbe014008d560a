"""Whole networks pruned from one pool a layer: tickets, verdicts and counts, by definition."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball
from scipy import optimize

import ltjax
from ltjax.counting import engine, intervals
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.network import device, host
from ltjax.experiments.network.config import Network
from ltjax.experiments.network.theory import facts, lemma, widths
from ltjax.networks import pairs, targets
from ltjax.networks.pruned import mask
from ltjax.problem.problem import Grid, Problem
from ltjax.weights import draws, redraw

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one
CPU = jax.devices("cpu")
TRIALS = np.array([*range(60), 2**31, 2**32 - 1], np.uint32)
# Slots are 24 and 8: the first width has fewer neurons, and the second hardly more.
SMALL = Problem(
    config=Network(sizes=(3, 4, 2), constructions=("blocks", "pooled")),
    target=tuple(targets.random_target(4, (3, 4, 2))),
    grid=Grid(widths=(17, 30, 90, 300), epsilons=(0.7, 0.4, 0.2)),
    seed=21,
    experiment="network",
)
NAMES = [criterion.name for criterion in SMALL.criteria]
POOL = 1  # among the constructions


@partial(jax.jit, static_argnums=3)
def compiled(keys, target, widths, config):
    return jax.vmap(lambda *key: device.trial(key, target, widths, config))(*keys)


def outcome_of(trials):
    keys = draws.trial_key(jnp.full(len(trials), SMALL.seed, jnp.uint32), jnp.asarray(trials))
    target = tuple(jnp.asarray(w, jnp.float32) for w in SMALL.arrays)
    widths = jnp.asarray(SMALL.grid.widths, jnp.int32)
    return [np.asarray(x) for x in compiled(keys, target, widths, SMALL.config)]


@pytest.fixture(scope="module")
def found():
    """What the device finds, and the settled brackets."""
    outcome = outcome_of(TRIALS)
    return outcome, device.settle(SMALL, TRIALS, *outcome)


def layer_of(trial, layer, width):
    n_out, n_in = SMALL.config.shapes[layer]
    A, W = redraw.random_layer(SMALL.seed, [trial], range(width), n_in, n_out, layer)
    return A[0], W[0]


def table_of(trial, layer, width):
    """How far every neuron is from every slot, [slot, neuron]; inf on the other side."""
    A, W = layer_of(trial, layer, width)
    target, sides = SMALL.arrays[layer], (1, -1)[: 2 - (layer > 0)]
    rows = [
        np.where(side * W[:, q] > 0, np.abs(A[o] * W[:, q] - t), np.inf)
        for side in sides
        for (o, q), t in np.ndenumerate(target)
    ]
    return np.array(rows), np.tile(np.abs(target).ravel(), len(sides))


def least_of(trial, layer, width):
    """The bottleneck by trying every level: an assignment that breaks it no time."""
    table, empty = table_of(trial, layer, width)
    every = np.concatenate([table, np.where(np.eye(len(empty)) > 0, empty, np.inf)], axis=1)
    levels = np.unique(every[np.isfinite(every)])
    low, high = 0, len(levels) - 1
    while low < high:
        middle = (low + high) // 2
        broken = (every > levels[middle]).astype(float)
        rows, columns = optimize.linear_sum_assignment(broken)
        low, high = (low, middle) if broken[rows, columns].sum() == 0 else (middle + 1, high)
    return levels[low]


def test_a_ticket_has_distinct_neurons_of_the_right_side_near_their_weights(found):
    neurons = found[0][2][:, POOL]
    kept_some = 0
    for n, k in np.ndindex(neurons.shape[:2]):
        kept = host.layers(neurons[n, k][None], SMALL.config.sizes)
        for i, ([layer], target) in enumerate(zip(kept, SMALL.arrays, strict=True)):
            A, W = layer_of(TRIALS[n], i, SMALL.grid.widths[k])
            used = layer[layer >= 0]
            assert len(set(used)) == len(used)
            kept_some += len(used)
            for (side, o, q), j in np.ndenumerate(layer):
                if j >= 0:
                    assert np.sign(W[j, q]) == (1, -1)[side]
                    assert abs(A[o, j] * W[j, q] - target[o, q]) < abs(target[o, q])
    assert kept_some > 0.5 * neurons.size


def test_slot_rules_are_the_best_matching(found):
    (lower, upper, *_), settled = found
    open_cells = 0
    for n, trial in enumerate(TRIALS):
        for k, width in enumerate(SMALL.grid.widths):
            worst = np.array([least_of(trial, i, width) for i in range(2)])
            for rule in ("slides", "tight"):
                c = NAMES.index(f"pooled/{rule}")
                value = float(host.slot_rule(rule, SMALL.config.shapes, worst))
                assert lower[n, c, k] <= value <= upper[n, c, k]
                ticket = found[0][2][n, POOL, k]
                exact = host._value(SMALL, trial, "pooled", rule, width, ticket)
                assert exact == pytest.approx(value, rel=1e-12)
                for epsilon in SMALL.grid.epsilons:
                    assert (settled[1][n, c, k] <= epsilon) == (value <= epsilon)
                    assert (settled[0][n, c, k] > epsilon) == (value > epsilon)
                    open_cells += lower[n, c, k] <= epsilon < upper[n, c, k]
    assert open_cells > 0  # the host was asked


def test_the_masked_network_errs_as_the_bounds_say(found):
    (*_, neurons, points, _), settled = found
    x = ball(3, 2000)
    f = pairs.forward(SMALL.arrays, x)
    sup = NAMES.index("pooled/sup")
    for n, k in np.ndindex(len(TRIALS), len(SMALL.grid.widths)):
        kept = host.layers(neurons[n, POOL, k][None], SMALL.config.sizes)
        layers = []
        for i, [ticket] in enumerate(kept):
            A, W = layer_of(TRIALS[n], i, SMALL.grid.widths[k])
            keep_output, keep_hidden = mask(ticket, len(W))
            # A neuron of a pool keeps one input and one output.
            assert keep_output.sum(axis=0).max() <= 1
            assert keep_hidden.sum(axis=1).max() <= 1
            layers += [W * keep_hidden, A * keep_output]
        error = np.linalg.norm(pairs.forward(layers, x) - f, axis=1).max()
        assert settled[0][n, sup, k] <= settled[1][n, sup, k]
        assert error <= settled[1][n, sup, k] * (1 + 1e-12)
        at = points[n, POOL, k][None]
        reached = np.linalg.norm(pairs.forward(layers, at) - pairs.forward(SMALL.arrays, at))
        assert reached >= 0.2 * error


def test_the_check_passes_what_is_right_and_refuses_two_slots_of_one_neuron(found):
    outcome = found[0]
    device.check(SMALL, TRIALS, *outcome)
    neurons = outcome[2].copy()
    two = np.flatnonzero(neurons[0, POOL, -1] >= 0)[:2]
    neurons[0, POOL, -1, two[1]] = neurons[0, POOL, -1, two[0]]
    with pytest.raises(WrongKernelError, match="slots of a pool"):
        host._check_pools(SMALL, neurons)
    for c in (NAMES.index("pooled/slides"), NAMES.index("pooled/tight")):
        wrong = outcome[1].copy()
        wrong[:, c] = 0.4 * outcome[0][:, c]
        with pytest.raises(WrongKernelError, match=NAMES[c]):
            device.check(SMALL, TRIALS, np.zeros_like(wrong), wrong, *outcome[2:])


@pytest.mark.slow
def test_one_network_equals_the_same_one_in_a_crowd(found):
    for n in (0, 17):
        lower, upper, neurons, *_ = outcome_of(TRIALS[n : n + 1])
        np.testing.assert_array_equal(neurons[0], found[0][2][n])
        for alone, crowd in ((lower, found[0][0]), (upper, found[0][1])):
            np.testing.assert_allclose(alone[0], crowd[n], rtol=1e-5, atol=1e-6)


# Counts.

TINY = Problem(
    config=Network(sizes=(2, 3, 1), constructions=("blocks", "pooled"), rules=("slides", "tight")),
    target=(((0.6, -0.3), (0.45, 0.55), (-0.2, 0.02)), ((0.4, -0.57, 0.25),)),
    grid=Grid(widths=(260, 460, 700, 1000, 1600, 3000), epsilons=(0.2, 0.1)),
    seed=2,
    experiment="network",
)
MANY = 20_000


def counts(problem, trials, lanes=256):
    program = engine.prepare(device, problem, CPU[:1], lanes=lanes)
    batches = list(engine.run(program, [(0, trials)]))
    assert sum(batch.invalid for batch in batches) == 0
    return sum(batch.certified for batch in batches)


@pytest.fixture(scope="module")
def measured():
    return dict(zip([c.name for c in TINY.criteria], counts(TINY, MANY), strict=True))


@pytest.mark.parametrize("name", [c.name for c in TINY.criteria])
def test_slot_success_lies_between_the_ends_of_theory(measured, name):
    right = ltjax.predict(TINY)[name]
    assert right.kind == ("exact" if name.startswith("blocks") else "bracket")
    wider, narrower = (
        ltjax.predict(
            replace(TINY, grid=replace(TINY.grid, epsilons=tuple(f * e for e in (0.2, 0.1))))
        )[name]
        for f in (1.2, 0.8)
    )
    rate = ERROR_RATE / right.lower.size
    # The design first: of every curve a tolerance off by a fifth is a gap that is seen.
    gap = intervals.detectable_gap(MANY, rate, rate)
    above, below = wider.lower - right.upper > gap, right.lower - narrower.upper > gap
    assert above.any(axis=0).all()
    assert below.any(axis=0).all()
    low, high = intervals.clopper_pearson(measured[name], MANY, rate)
    assert np.all((right.lower <= high) & (low <= right.upper))
    assert np.all(wider.lower[above] > high[above])
    assert np.all(narrower.upper[below] < low[below])


def test_a_pool_succeeds_where_blocks_of_as_many_neurons_do_not(measured):
    assert np.all(measured["pooled/tight"] >= measured["blocks/tight"])
    assert np.any(measured["pooled/tight"] > measured["blocks/tight"] + 0.4 * MANY)


def test_blocks_of_a_layer_count_as_blocks_of_their_size_bit_for_bit():
    target = tuple(targets.random_target(1, (3, 3, 1)))
    config = Network(sizes=(3, 3, 1), constructions=("blocks", "pooled"), rules=("tight",))
    grid = Grid(widths=(61, 150, 452), epsilons=(0.6, 0.4))
    both = Problem(config=config, target=target, grid=grid, seed=5, experiment="network")
    alone = replace(
        both,
        config=replace(config, constructions=("blocks",)),
        grid=replace(grid, widths=(20, 50, 150)),
    )
    found = counts(both, 500)[0]
    np.testing.assert_array_equal(found, counts(alone, 500)[0])
    assert found.any()


# What is asked, and what is told.


def test_widths_of_a_pool_are_neurons_of_a_layer():
    assert (SMALL.config.width_label, SMALL.config.neurons_per_width) == ("layer width k", 1)
    alone = replace(SMALL.config, constructions=("blocks",))
    assert (alone.width_label, alone.neurons_per_width) == ("block size m", 4)
    assert SMALL.config.neurons("blocks", 17) == [15, 16]
    assert SMALL.config.neurons("pooled", 17) == [17, 17]
    assert alone.neurons("blocks", 17) == [51, 68]
    axis = (
        "of k neurons a layer pooled opens all to every weight, "
        "blocks keeps floor(k / n_in) an input"
    )
    assert axis in facts(SMALL)
    assert not any(line.startswith("of k") for line in facts(replace(SMALL, config=alone)))


def test_the_lemma_promises_a_layer_with_blocks_for_each_weight():
    assert lemma(SMALL, 0.4, 0.05) == ltjax.theory.network_lemma_width((3, 4, 2), 0.4, 0.05)


def test_needed_widths_are_bracketed_for_a_pool_and_enough_for_blocks():
    blocks, pooled = (
        {c.name: c for c in SMALL.criteria}[name] for name in ("blocks/tight", "pooled/tight")
    )
    block = ltjax.theory.block_size("blocks", SMALL.target, "tight", 0.4, 0.05).neurons
    text, order = widths(SMALL, blocks, 0.4, 0.05)
    assert text == f"at most {4 * block}"
    low, high = ltjax.theory.network_pool_width(SMALL.target, "tight", 0.4, 0.05)
    found, quarter = widths(SMALL, pooled, 0.4, 0.05)
    assert found == f"{low} to {high}"
    assert int(order) == pytest.approx(4 * int(quarter), abs=2)
    sup = {c.name: c for c in SMALL.criteria}["pooled/sup"]
    assert widths(SMALL, sup, 0.4, 0.05) == ("-", "-")


def test_of_a_repaired_ticket_nothing_is_proved():
    assert list(ltjax.predict(SMALL)) == [name for name in NAMES if name != "pooled/sup"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"constructions": ("pooled",), "blocks": (3, 5)},
            "widths must be given in place of blocks with pooled among the constructions, "
            "got 3, 5.",
        ),
        (
            {"widths": (30,)},
            "blocks must be given in place of widths without pooled among the constructions, "
            "got 30.",
        ),
        (
            {"constructions": ("blocks", "pooled"), "law": "gaussian"},
            "constructions must be blocks beside a law or mask rule, got pooled.",
        ),
        (
            {"constructions": ("pooled",), "dim": 64, "hidden": 33, "widths": (30,)},
            "constructions must be without pooled where a layer has more than 4096 slots, "
            "got 4224.",
        ),
    ],
)
def test_what_cannot_be_asked_is_one_line(asked, message):
    with pytest.raises(InputError) as caught:
        ltjax.network(**asked)
    assert str(caught.value) == message
