"""Whole networks: slots by their definition, brackets against points, counts against theory."""

from dataclasses import replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball

import ltjax
from ltjax.counting import engine, intervals
from ltjax.errors import WrongKernelError
from ltjax.experiments.network import device, host
from ltjax.experiments.network.config import Network
from ltjax.networks import pairs, targets
from ltjax.networks.pruned import mask
from ltjax.problem.problem import Grid, Problem
from ltjax.supnorm import layered, max_min
from ltjax.weights import draws, redraw

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one
CPU = jax.devices("cpu")
TRIALS = np.array([0, 1, 77, 2**31, 2**32 - 1], np.uint32)
SMALL = Problem(
    config=Network(sizes=(3, 4, 2)),
    target=tuple(targets.random_target(4, (3, 4, 2))),
    grid=Grid(widths=(3, 9, 40, 150), epsilons=(0.7, 0.4, 0.2)),
    seed=21,
    experiment="network",
)
NAMES = [criterion.name for criterion in SMALL.criteria]


def pruned(problem, trials):
    keys = draws.trial_key(
        jnp.full(len(trials), problem.seed, jnp.uint32), jnp.asarray(trials, jnp.uint32)
    )
    target = tuple(jnp.asarray(w, jnp.float32) for w in problem.arrays)
    widths = jnp.asarray(problem.grid.widths, jnp.int32)
    return [np.asarray(x) for x in compiled(keys, target, widths, problem.config)]


@partial(jax.jit, static_argnums=3)
def compiled(keys, target, widths, config):
    return jax.vmap(lambda *key: device.trial(key, target, widths, config))(*keys)


@pytest.fixture(scope="module")
def found():
    """Brackets of the device, tickets and settled brackets of all TRIALS."""
    lower, upper, neurons, *others = pruned(SMALL, TRIALS)
    settled = device.settle(SMALL, TRIALS, lower, upper, neurons, *others)
    return lower, upper, neurons, settled, *others


def tickets(neurons):
    """Indices of trial, construction and width, and a ticket's kept neurons layer by layer."""
    for n, c, k in np.ndindex(neurons.shape[:3]):
        kept = host.layers(neurons[n, c, k][None], SMALL.config.sizes)
        yield n, c, k, [layer[0] for layer in kept]


def neurons_of(construction, o, q, block, shape):
    """The hidden neurons reserved for a weight, from the definition."""
    n_out, n_in = shape
    if construction == "blocks":
        return [r * n_in + q for r in range(block)]
    return [(r * n_out + o) * n_in + q for r in range(block)]


def layer_of(problem, trial, layer, construction, block):
    """A and W of one random layer, whole."""
    n_out, n_in = problem.config.shapes[layer]
    width = block * n_in * (n_out if construction == "separate" else 1)
    drawn = redraw.random_layer(problem.seed, [trial], range(width), n_in, n_out, layer)
    return tuple(x[0] for x in drawn)


def slot_values(problem, trial, construction, block):
    """slides and tight by definition: a loop over slots and neurons of the drawn network."""
    depth, slides, norms = len(problem.config.shapes), [], []
    for i, weights in enumerate(problem.arrays):
        A, W = layer_of(problem, trial, i, construction, block)
        worst = 0.0
        for (o, q), t in np.ndenumerate(weights):
            for sign in (1, -1)[: 2 if i == 0 else 1]:
                open_to = neurons_of(construction, o, q, block, weights.shape)
                errors = [abs(A[o, j] * W[j, q] - t) for j in open_to if sign * W[j, q] > 0]
                worst = max(worst, min([abs(t), *errors]))
        n_out, n_in = weights.shape
        slides.append(4 * depth * n_in * n_out**0.5 * worst)
        norms.append((n_in * n_out) ** 0.5 * worst)
    return {"slides": max(slides), "tight": (1 + max(norms)) ** depth - 1}


def test_slot_rules_are_their_definition(found):
    lower, upper, *_ = found
    for (n, trial), (k, block) in product(enumerate(TRIALS[:3]), enumerate(SMALL.grid.widths[:3])):
        for construction in SMALL.config.constructions:
            values = slot_values(SMALL, trial, construction, block)
            for rule, value in values.items():
                c = NAMES.index(f"{construction}/{rule}")
                assert lower[n, c, k] <= value <= upper[n, c, k]
                assert upper[n, c, k] <= lower[n, c, k] * (1 + 1e-4) + 1e-4
                exact = host._slots(SMALL, trial, construction, rule, block)
                assert exact == pytest.approx(value, rel=1e-12)


def test_a_ticket_is_a_mask_of_the_construction(found):
    for n, c, k, kept in tickets(found[2]):
        construction, block = SMALL.config.constructions[c], SMALL.grid.widths[k]
        for i, neurons in enumerate(kept):
            _, W = layer_of(SMALL, TRIALS[n], i, construction, block)
            assert len(neurons) == (2 if i == 0 else 1)
            for (side, o, q), j in np.ndenumerate(neurons):
                if j >= 0:
                    assert j in neurons_of(construction, o, q, block, SMALL.config.shapes[i])
                    assert np.sign(W[j, q]) == (1, -1)[side]


def test_no_point_of_the_ball_refutes_a_certificate_and_the_search_is_no_bad_one(found):
    x, share = ball(3, 4000), []
    f = pairs.forward(SMALL.arrays, x)
    for n, c, k, kept in tickets(found[2]):
        construction, block = SMALL.config.constructions[c], SMALL.grid.widths[k]
        layers = []
        for i, neurons in enumerate(kept):
            A, W = layer_of(SMALL, TRIALS[n], i, construction, block)
            keep_output, keep_hidden = mask(neurons, len(W))
            layers += [W * keep_hidden, A * keep_output]
        error = np.linalg.norm(pairs.forward(layers, x) - f, axis=1).max()
        at = n, NAMES.index(f"{construction}/sup"), k
        for lower, upper in (found[:2], found[3]):
            assert error <= upper[at] * (1 + 1e-12)
            assert lower[at] <= upper[at]
        reached = pairs.forward(layers, found[4][n, c, k][None])
        reached = np.linalg.norm(reached - pairs.forward(SMALL.arrays, found[4][n, c, k][None]))
        share.append(reached / error)
    assert np.min(share) > 0.2
    assert np.mean(share) > 0.7


def test_rules_are_ordered_draw_by_draw(found):
    lower, upper = found[3]
    for family in SMALL.config.constructions:
        slides, tight, sup = (NAMES.index(f"{family}/{r}") for r in ("slides", "tight", "sup"))
        # The certificate knows more of the errors than their sizes.
        assert np.all(upper[:, sup] <= upper[:, tight] * (1 + 1e-3))
        small = upper[:, slides] <= 1.0
        assert np.all(lower[:, tight][small] <= upper[:, slides][small] * (1 + 1e-6))


def test_settling_leaves_open_what_lies_between_two_proved_bounds_alone(found):
    lower, upper = found[3]
    inside = (lower[..., None] <= SMALL.grid.epsilons) & (SMALL.grid.epsilons < upper[..., None])
    slots = [c for c, name in enumerate(NAMES) if not name.endswith("sup")]
    assert not inside[:, slots].any()
    assert 0 < inside.mean() < 0.2


@pytest.mark.slow
def test_one_network_equals_the_same_one_in_a_crowd():
    crowd = pruned(SMALL, np.arange(40))
    for trial in (0, 17, 39):
        alone = pruned(SMALL, [trial])
        np.testing.assert_array_equal(alone[2][0], crowd[2][trial])
        for a, b in zip(alone[:2], crowd[:2], strict=True):
            np.testing.assert_allclose(a[0], b[trial], rtol=1e-5, atol=1e-6)


# The known-answer check.


def test_the_check_passes_what_is_right_and_refuses_what_is_not(found):
    lower, upper, neurons, _, *others = found
    device.check(SMALL, TRIALS, lower, upper, neurons, *others)
    for c in range(len(NAMES)):
        for high in (0.5 * lower, lower - 0.1):
            wrong = upper.copy()
            wrong[:, c] = np.minimum(high[:, c], 0.4 * lower[:, c])
            with pytest.raises(WrongKernelError, match=NAMES[c]):
                device.check(SMALL, TRIALS, np.zeros_like(lower), wrong, neurons, *others)
        wrong = lower.copy()
        wrong[:, c] = 3 * upper[:, c] + 0.5
        with pytest.raises(WrongKernelError, match=NAMES[c]):
            device.check(SMALL, TRIALS, wrong, upper, neurons, *others)


def test_the_check_refuses_tickets_of_other_neurons(found):
    lower, upper, neurons, _, *others = found
    shifted = np.where(neurons >= 0, (neurons + 1) % 9, neurons)
    with pytest.raises(WrongKernelError, match="sup"):
        device.check(SMALL, TRIALS, lower, upper, shifted, *others)


# Counts.

TINY = Problem(
    config=Network(sizes=(2, 3, 1), rules=("slides", "tight")),
    # One weight below the tolerance of some curves, for the zero rule; none in the way of others.
    target=(((0.6, -0.3), (0.45, 0.55), (-0.2, 0.02)), ((0.4, -0.57, 0.25),)),
    grid=Grid(widths=(10, 30, 80, 200, 500, 1300), epsilons=(0.5, 0.3)),
    seed=2,
    experiment="network",
)
MANY = 40_000


def counts(problem, *ranges, on=CPU[:1], lanes=64):
    program = engine.prepare(device, problem, on, lanes=lanes)
    batches = list(engine.run(program, ranges))
    return tuple(
        sum(getattr(b, name) for b in batches) for name in ("certified", "refuted", "invalid")
    )


@pytest.fixture(scope="module")
def measured():
    certified, refuted, invalid = counts(TINY, (0, MANY), lanes=1024)
    assert invalid == 0
    np.testing.assert_array_equal(certified + refuted, MANY)
    return dict(zip([c.name for c in TINY.criteria], certified, strict=True))


@pytest.mark.parametrize("name", [c.name for c in TINY.criteria])
def test_slot_success_is_the_curve_of_theory(measured, name):
    right = ltjax.predict(TINY)[name]
    assert right.kind == "exact"
    grid = replace(TINY.grid, epsilons=tuple(1.1 * e for e in TINY.grid.epsilons))
    wrong = ltjax.predict(replace(TINY, grid=grid))[name]
    rate = ERROR_RATE / right.lower.size
    # The design first: of every curve, a tolerance 10 % off is a gap that this sample can see.
    seen = wrong.lower - right.upper > intervals.detectable_gap(MANY, rate, rate)
    assert seen.any(axis=0).all()
    low, high = intervals.clopper_pearson(measured[name], MANY, rate)
    assert np.all((right.lower <= high) & (low <= right.upper))
    assert np.all(wrong.lower[seen] > high[seen])


@pytest.mark.slow
def test_success_of_the_supremum_keeps_its_proved_bound():
    problem = replace(
        TINY,
        config=Network(sizes=(2, 3, 1)),
        grid=Grid(widths=(10, 30, 80), epsilons=(0.5, 0.3)),
    )
    trials, names = 2000, [c.name for c in problem.criteria]
    certified, refuted, invalid = counts(problem, (0, trials))
    undecided = trials - certified - refuted - invalid
    assert np.all(undecided >= 0)
    for family in problem.config.constructions:
        sup = names.index(f"{family}/sup")
        # In the plane the supremum is known exactly.
        assert undecided[sup].max() == 0
        assert np.all(undecided[[names.index(f"{family}/{r}") for r in ("slides", "tight")]] == 0)
        bound = ltjax.predict(problem)[f"{family}/sup"]
        _, high = intervals.clopper_pearson(certified[sup], trials, ERROR_RATE)
        assert np.all(bound.lower <= high)
        # The supremum is reached long before the rule that bounds it.
        assert np.any(certified[sup] > certified[names.index(f"{family}/tight")] + trials // 4)


@pytest.mark.slow
def test_on_the_line_every_trial_is_decided_by_its_two_ends():
    problem = Problem(
        config=Network(sizes=(1, 2, 1), constructions=("blocks",), rules=("sup",)),
        target=(((0.9,), (-0.3,)), ((0.6, 0.7),)),
        grid=Grid(widths=(20, 80), epsilons=(0.3, 0.1)),
        seed=3,
        experiment="network",
    )
    trials = np.arange(64, dtype=np.uint32)
    lower, upper, neurons, *others = pruned(problem, trials)
    settled = device.settle(problem, trials, lower, upper, neurons, *others)
    values = np.zeros(upper.shape)
    for n, k in np.ndindex(64, 2):
        pair = host.pair_of(problem, trials[n : n + 1], neurons[n : n + 1, 0, k])
        values[n, 0, k] = np.abs(pairs.difference(pair, np.array([[1.0, -1.0]]))).max()
    for epsilon in problem.grid.epsilons:
        np.testing.assert_array_equal(settled[1] <= epsilon, values <= epsilon)
        np.testing.assert_array_equal(settled[0] > epsilon, values > epsilon)
        assert 5 < np.sum(values <= epsilon) < 123


FEW = 48
ONE = replace(SMALL, config=Network(sizes=(3, 4, 2), constructions=("separate",)))


@pytest.fixture(scope="module")
def whole():
    return counts(ONE, (0, FEW), lanes=16)


def same(other, expected):
    for a, b in zip(other, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_counts_do_not_depend_on_lanes_ranges_and_devices(whole):
    same(counts(ONE, (0, FEW), lanes=17), whole)
    same(counts(ONE, (0, 20), (20, FEW), lanes=16), whole)
    same(counts(ONE, (0, FEW), on=CPU[:2], lanes=10), whole)
    assert np.any(counts(replace(ONE, seed=22), (0, FEW), lanes=16)[0] != whole[0])


@pytest.mark.slow
def test_counts_do_not_depend_on_the_other_widths_and_constructions(whole):
    some = replace(ONE, grid=Grid(widths=(9, 150), epsilons=SMALL.grid.epsilons))
    same(counts(some, (0, FEW), lanes=16)[:2], [x[:, [1, 3]] for x in whole[:2]])
    same([x[3:] for x in counts(SMALL, (0, FEW), lanes=16)[:2]], whole[:2])


@pytest.mark.slow
def test_of_one_hidden_layer_no_trial_is_left_undecided(monkeypatch):
    """And each is decided on the side that bounds from both sides had left for it."""
    problem = ltjax.network(4, 4, 2, (0.5, 0.3), (10, 20, 40), rules=("sup",), seed=2)
    settled = ltjax.run(problem, 128)
    assert settled.undecided.max() == 0
    for formula in (max_min, layered):
        monkeypatch.setattr(formula, "applies", lambda pair, norm="l2": False)
    open_ones = ltjax.run(problem, 128)
    assert open_ones.undecided.max() > 10
    assert np.all(open_ones.certified <= settled.certified)
    assert np.all(settled.certified <= open_ones.certified + open_ones.undecided)
