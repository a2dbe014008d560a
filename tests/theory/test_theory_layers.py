"""Odds of whole networks against second routes: quadrature of the definition, and simulation."""

from decimal import Decimal, localcontext
from itertools import pairwise
from itertools import product as every

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ltjax
from ltjax import theory
from ltjax.counting import intervals
from ltjax.errors import InputError
from ltjax.experiments.network.config import Network
from ltjax.networks import pairs, pruned
from ltjax.problem.problem import Grid, Problem
from ltjax.theory import layers, pool, prediction

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
CONSTRUCTIONS = ("blocks", "separate")

# Within ||W|| <= 1 and |w| <= 1/sqrt(n_in); several weights fall under the zero rule below.
UNEVEN = (
    np.array([[0.5, -0.1], [0.14, 0.12], [-0.12, 0.4]]),
    np.array([[0.4, -0.13, 0.12], [0.12, 0.11, -0.35]]),
)


def random_target(sizes, seed=0):
    rng = np.random.default_rng(seed)
    weights = [rng.uniform(-1, 1, (b, a)) / np.sqrt(a) for a, b in pairwise(sizes)]
    return [w / max(1.0, np.linalg.norm(w, 2)) for w in weights]


def worst_target(sizes):
    return [np.full((b, a), a**-0.5) for a, b in pairwise(sizes)]


# Tolerances.


def test_tolerances_by_hand():
    # l = 2; sqrt(1.21) - 1 = 0.1, over sqrt(4 * 9) and sqrt(9 * 1).
    shapes = ((9, 4), (1, 9))
    tight = theory.slot_tolerance("tight", shapes, 0.21)
    np.testing.assert_allclose(tight, (0.1 / 6, 0.1 / 3), rtol=1e-14)
    # 0.21 / (4 * 2 * n_in * sqrt(n_out)).
    slides = theory.slot_tolerance("slides", shapes, 0.21)
    np.testing.assert_allclose(slides, (0.21 / 96, 0.21 / 72), rtol=1e-14)
    with pytest.raises(InputError, match=r"^rule must be slides or tight, got l2\.$"):
        theory.slot_tolerance("l2", shapes, 0.21)


@pytest.mark.parametrize("sizes", [(4, 1), (2, 3, 1), (5, 4, 3, 2)])
def test_slot_errors_within_tight_keep_the_supremum_and_may_attain_it(sizes):
    # W = u v' with uniform unit vectors, every error eta: layers multiply 1 + ||E||, exactly.
    weights = tuple(np.full((b, a), (a * b) ** -0.5) for a, b in pairwise(sizes))
    x = np.full((sizes[0], 1), sizes[0] ** -0.5)
    for factor, within in ((1.0 - 1e-12, True), (1.1, False)):
        etas = theory.slot_tolerance("tight", [w.shape for w in weights], 0.3)
        errors = tuple(
            np.full((2 - (i > 0), *w.shape), factor * eta)
            for i, (w, eta) in enumerate(zip(weights, etas, strict=True))
        )
        found = np.linalg.norm(pairs.difference(pairs.Pair(weights, errors), x))
        assert bool(found <= 0.3) is within
        assert found > 0.3 * (1 - 1e-9)


# Layers.


def test_layer_block_reference():
    odds = theory.layer_odds("blocks", np.full((4, 1), 0.5), 0.05, 120, first=False)
    np.testing.assert_allclose(odds.success, 0.601631205982, rtol=0, atol=1e-11)


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
def test_one_output_is_the_neuron_in_blocks(construction):
    weights, m = [[0.5, -0.2, 0.03]], np.array([1, 2, 30, 150, 1000])
    layer = theory.layer_odds(construction, weights, 0.05, m, first=True)
    neuron = theory.blocks_odds(weights[0], 0.05, 3 * m)
    np.testing.assert_allclose(layer.success, neuron.success, rtol=1e-13)
    np.testing.assert_allclose(layer.failure, neuron.failure, rtol=1e-13)


def test_one_input_is_the_shared_neuron():
    # A layer of one input and a neuron differ by the names of A and W alone.
    weights, m = np.array([0.5, -0.2, 0.03, 0.2]), np.array([[3, 40], [150, 1000]])
    layer = theory.layer_odds("blocks", weights[:, None], 0.05, m, first=True)
    shared = theory.shared_odds(weights, 0.05, m)
    np.testing.assert_allclose(layer.success, shared.success, rtol=1e-13)
    assert layer.success.shape == (2, 2)


def by_definition(weights, eta, m, construction, sides):
    """Average over W of the chance that A fills every slot of one layer, by Gauss-Legendre.

    Given W the A_oj are independent, and slot (o, +) asks neurons with W > 0, (o, -) the others.
    """
    t = np.abs(weights)
    cuts = np.unique(np.clip([*(t - eta).ravel(), *(t + eta).ravel(), 0.0, 1.0], 0.0, 1.0))
    x, w = np.polynomial.legendre.leggauss(16)
    half = np.diff(cuts)[:, None] / 2
    positive = (cuts[:-1, None] + half * (1 + x)).ravel()
    nodes = np.concatenate([-positive, positive])
    mass = np.tile((half * w).ravel() / 2, 2)  # of U[-1, 1]

    def empty(t, side):
        # A ~ U[-1, 1] must lie in [(t - eta) / W, (t + eta) / W], side times.
        low, high = np.clip([(t - eta) / np.abs(nodes), (t + eta) / np.abs(nodes)], -1.0, 1.0)
        return 1.0 - np.where(side * nodes > 0, (high - low) / 2, 0.0)

    def met(column):
        # All outputs that share one block.
        total = np.ones((len(nodes),) * m)
        for t, side in every(column, (1, -1)[:sides]):
            if t > eta:
                outer = np.ones(())
                for _ in range(m):
                    outer = np.multiply.outer(outer, empty(t, side))
                total = total * (1.0 - outer)
        for _ in range(m):
            total = total @ mass
        return float(total)

    shares = t.T if construction == "blocks" else t.reshape(-1, 1)
    return np.prod([met(column) for column in shares])


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("m", [1, 2])
def test_tiny_blocks_match_the_definition(construction, sides, m):
    weights = np.array([[0.3, -0.1], [0.25, 0.45], [-0.15, 0.1]])
    for eta in (0.12, 0.24):
        odds = theory.layer_odds(construction, weights, eta, m, first=sides == 2)
        expected = by_definition(weights, eta, m, construction, sides)
        np.testing.assert_allclose(odds.success, expected, rtol=1e-7, atol=1e-16)
        np.testing.assert_allclose(odds.failure, 1 - expected, rtol=1e-9)
        if m == 2:
            # Neither the other number of sides nor the other construction would pass.
            wrong = by_definition(weights, eta, m, construction, 3 - sides)
            assert abs(wrong / expected - 1) > 0.1
            other = CONSTRUCTIONS[construction == "blocks"]
            assert abs(by_definition(weights, eta, m, other, sides) / expected - 1) > 0.01


@pytest.mark.parametrize("width", [1, 11, 24, 60, 500, 3000])
@pytest.mark.parametrize("eta", [0.3, 0.04])
def test_one_sided_chain_and_subsets_agree(eta, width):
    t = np.array([0.31, 0.31, 0.35, 0.41, 0.41, 0.405])
    chain, subsets = pool.chain_law(t, eta, 1)(width), pool.subset_law(t, eta, 1)(width)
    np.testing.assert_allclose(subsets, chain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(subsets[1], chain[1], rtol=1e-6, atol=1e-60)
    assert chain[1] <= pool.chain_law(t, eta)(width)[1]


def test_one_sided_sample_meets_the_chain():
    t, widths, eta = np.repeat([0.2, 0.11], [9, 15]), np.array([30, 40, 40, 75]), 0.1
    odds = pool.sample(t, eta, widths, 1)
    exact = np.array([pool.chain_law(t, eta, 1)(int(k))[1] for k in widths])
    # 5 standard errors of 128 networks: Student's t leaves 2e-6.
    assert np.all(odds.error < 0.03)
    assert np.all(np.abs(odds.failure - exact) <= 5 * odds.error)
    both = np.array([pool.chain_law(t, eta)(int(k))[1] for k in widths])
    assert np.any(np.abs(odds.failure - both) > 5 * odds.error)


def test_weights_within_eta_ask_for_nothing():
    weights = np.array([[0.02, -0.05], [0.01, 0.05]])
    for construction, first in every(CONSTRUCTIONS, (True, False)):
        odds = theory.layer_odds(construction, weights, 0.05, [1, 9], first)
        np.testing.assert_array_equal(odds.success, 1.0)
        np.testing.assert_array_equal(odds.failure, 0.0)
    assert theory.layer_block_size(weights, 0.05, 0.01, first=True) == 1
    with pytest.raises(InputError, match="construction must be blocks or separate, got pooled"):
        theory.layer_odds("pooled", weights, 0.05, 9, first=True)


# Tails.


@pytest.mark.parametrize("m", [2, 7, 60, 900, 8000])
def test_separate_networks_are_accurate_in_both_tails(m):
    # Failures down to 1e-80 and successes down to 1e-25, against 120 digits.
    target, epsilon = ([[0.6, -0.2], [0.1, 0.4]], [[0.5, 0.3]]), 0.3
    etas = theory.slot_tolerance("tight", ((2, 2), (1, 2)), epsilon)
    odds = theory.network_odds("separate", target, "tight", epsilon, m)
    with localcontext(prec=120):
        success = Decimal(1)
        for i, (weights, eta) in enumerate(zip(target, etas, strict=True)):
            for t in np.abs(weights).ravel().tolist():
                if t > eta:
                    p = Decimal(float(theory.match_probability(t, eta)))
                    met = 1 - 2 * (1 - p) ** m + (1 - 2 * p) ** m if i == 0 else 1 - (1 - p) ** m
                    success *= met
        expected = float(success), float(1 - success)
    np.testing.assert_allclose((odds.success, odds.failure), expected, rtol=1e-10, atol=1e-90)


@pytest.mark.parametrize("m", [6000, 12_000, 40_000])
def test_blocks_failure_tail(m):
    # First order in the chance of an empty slot; pairs are smaller by the same factor.
    target = worst_target((4, 4, 1))
    etas = theory.slot_tolerance("tight", ((4, 4), (1, 4)), 0.1)
    union = np.sum(np.exp(m * layers.network_misses(target, etas)))
    assert union < 1e-7
    failure = theory.network_odds("blocks", target, "tight", 0.1, m).failure
    np.testing.assert_allclose(failure, union, rtol=2e-6)


def test_blocks_success_tail():
    # One neuron and one side: all outputs hang on one W, of chance prod q averaged over half of W.
    t, eta = np.array([0.2, 0.4]), 1e-4
    odds = theory.layer_odds("blocks", t[:, None], eta, 1, first=False)
    # q_o = eta / W for W > 0.4 up to O(eta): eta^2 (1/0.4 - 1) / 2.
    np.testing.assert_allclose(odds.success, eta**2 * 0.75, rtol=1e-3)
    assert theory.layer_odds("blocks", t[:, None], eta, 1, first=True).success == 0.0


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.floats(0.05, 0.9), st.sampled_from([(2, 3, 1), (3, 2), (1, 2, 2)]))
def test_odds_rise_with_the_block_and_keep_the_union_bound(seed, epsilon, sizes):
    target, m = random_target(sizes, seed), np.array([1, 2, 5, 13, 60, 400, 3000])
    for construction, rule in every(CONSTRUCTIONS, ("slides", "tight")):
        odds = theory.network_odds(construction, target, rule, epsilon, m)
        np.testing.assert_allclose(odds.success + odds.failure, 1.0, rtol=1e-11)
        assert np.all(np.diff(odds.success) >= -1e-12)
        assert np.all((odds.success >= 0) & (odds.success <= 1))
        etas = theory.slot_tolerance(rule, [w.shape for w in target], epsilon)
        union = np.sum(np.exp(m[:, None] * layers.network_misses(target, etas)), axis=1)
        assert np.all(odds.failure <= union * (1 + 1e-9) + 1e-12)


# Networks, against the definition.


def simulate(target, etas, m, construction, trials, seed, zero_rule=True, later_sides=1):
    """Draws of which every slot is met; neuron j serves what its number says and no other."""
    rng, won = np.random.default_rng(seed), 0
    for batch in (trials // 20,) * 20:
        met = np.ones(batch, bool)
        for i, (weights, eta) in enumerate(zip(target, etas, strict=True)):
            n_out, n_in = weights.shape
            j = np.arange(m * (n_in if construction == "blocks" else n_in * n_out))
            hidden = rng.uniform(-1, 1, (batch, len(j), n_in))
            output = rng.uniform(-1, 1, (batch, n_out, len(j)))
            for o, q in np.ndindex(n_out, n_in):
                mine = j % n_in == q
                if construction == "separate":
                    mine &= j // n_in % n_out == o
                w, a = hidden[:, mine, q], output[:, o, mine]
                for side in (1, -1)[: later_sides if i else 2]:
                    error = np.where(side * w > 0, np.abs(a * w - weights[o, q]), np.inf)
                    empty = abs(weights[o, q]) if zero_rule else np.inf
                    met &= np.minimum(error.min(axis=1), empty) <= eta
        won += int(met.sum())
    return won


@pytest.mark.parametrize("construction", CONSTRUCTIONS)
def test_simulated_networks_succeed_as_predicted(construction):
    trials, m, epsilon = 20_000, 24, 0.9
    etas = theory.slot_tolerance("tight", [w.shape for w in UNEVEN], epsilon)
    right = theory.network_odds(construction, UNEVEN, "tight", epsilon, m).success
    wider = layers.network_law(construction, UNEVEN, [1.1 * eta for eta in etas])(m).success
    sided = right * np.divide(
        *(theory.layer_odds(construction, UNEVEN[1], etas[1], m, f).success for f in (True, False))
    )
    # The design first: each fault must open a gap that this sample can see.
    gap = intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    assert min(abs(wider - right), abs(sided - right)) > gap

    def interval(**fault):
        count = simulate(UNEVEN, etas, m, construction, trials, 7, **fault)
        return intervals.clopper_pearson(count, trials, ERROR_RATE)

    low, high = interval()
    assert low <= right <= high
    assert not low <= wider <= high
    assert not low <= sided <= high
    # Planted in the simulation, the same law must refuse them.
    for fault in ({"zero_rule": False}, {"later_sides": 2}):
        low, high = interval(**fault)
        assert not low <= right <= high


# Block sizes.


@pytest.mark.parametrize(("construction", "rule"), list(every(CONSTRUCTIONS, ("slides", "tight"))))
@pytest.mark.parametrize("delta", [0.5, 0.05, 1e-9])
def test_block_size_is_the_smallest(construction, rule, delta):
    size = theory.block_size(construction, UNEVEN, rule, 0.2, delta)
    assert size.exact
    m = np.array([size.neurons - 1, size.neurons])
    below, at = theory.network_odds(construction, UNEVEN, rule, 0.2, m).failure
    assert at <= delta < below


def test_many_unequal_outputs_take_the_union_bound():
    target = random_target((3, 17, 1))
    size = theory.block_size("blocks", target, "tight", 0.4, 0.05)
    separate = theory.block_size("separate", target, "tight", 0.4, 0.05)
    assert (size.exact, separate.exact) == (False, True)
    assert separate.neurons <= size.neurons <= 1.02 * separate.neurons
    etas = theory.slot_tolerance("tight", [w.shape for w in target], 0.4)
    misses = [
        (1 - theory.match_probability(w, eta))[np.abs(w) > eta]
        for w, eta in zip(target, etas, strict=True)
    ]
    union = lambda m: 2 * np.sum(misses[0] ** m) + np.sum(misses[1] ** m)
    assert union(size.neurons) <= 0.05 < union(size.neurons - 1)
    # Equal sizes are within reach of the chain, up to signs.
    equal = worst_target((3, 17, 1))
    equal[0][3] *= -1
    assert theory.block_size("blocks", equal, "tight", 0.4, 0.05).exact


def test_layer_block_size_is_enough_for_both_constructions():
    weights, eta, delta = UNEVEN[0], 0.05, 0.02
    sizes = [theory.layer_block_size(weights, eta, delta, first) for first in (True, False)]
    for m, first in zip(sizes, (True, False), strict=True):
        for construction in CONSTRUCTIONS:
            failure = theory.layer_odds(construction, weights, eta, [m // 2, m], first).failure
            assert failure[1] <= delta < failure[0]
        misses = 1 - theory.match_probability(weights, eta)
        before, at = ((1 + first) * np.sum(misses**n) for n in (m - 1, m))
        assert at <= delta < before
    assert sizes[1] < sizes[0]
    with pytest.raises(InputError, match=r"delta must lie strictly between 0 and 1, got 1\.$"):
        theory.layer_block_size(weights, eta, 1.0, first=True)


def test_sharing_a_block_asks_for_no_more():
    # Where many outputs hang on few W, they succeed together: blocks may be smaller.
    target = [np.full((12, 1), 0.9)]
    blocks, separate = (
        theory.block_size(c, target, "tight", 0.9, 0.9).neurons for c in CONSTRUCTIONS
    )
    assert blocks < separate


@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (2, 3, 1), (4, 1, 2, 2)])
def test_the_lemma_keeps_its_promise(sizes):
    # Every slot to twice the tolerance of the slides, at exactly the size promised.
    epsilon, delta = 0.9, 0.05
    m = theory.network_lemma_block(sizes, epsilon, delta)
    shapes = [(b, a) for a, b in pairwise(sizes)]
    promised = [2 * eta for eta in theory.slot_tolerance("slides", shapes, epsilon)]
    assert np.all(np.less_equal(promised, theory.slot_tolerance("tight", shapes, epsilon)))
    for target, construction in every((worst_target(sizes), random_target(sizes)), CONSTRUCTIONS):
        assert layers.network_law(construction, target, promised)(m).failure <= delta
        assert theory.block_size(construction, target, "tight", epsilon, delta).neurons < m


def test_the_lemma_is_sharp_enough_to_fail_at_a_quarter():
    # One weight 1: p is twice the box, so only at less than half the size may the promise break.
    m = theory.network_lemma_block((1, 1), 0.9, 0.05)
    (eta,) = theory.slot_tolerance("slides", [(1, 1)], 0.9)
    assert theory.layer_odds("separate", [[1.0]], 2 * eta, m // 4, first=True).failure > 0.05
    # Nor does it reach to the slides' own tolerance.
    assert theory.layer_odds("separate", [[1.0]], eta, m, first=True).failure > 0.05


def test_lemma_values():
    # l = 2: layer (3, 2) has (64 * 4 * 4 * 3 / 0.01) ln(2 * 12 / 0.05), layer (1, 3) 9 for 4 * 3.
    first = int(np.ceil(307_200 * np.log(480)))
    second = int(np.ceil(230_400 * np.log(240)))
    assert theory.network_lemma_block((2, 3, 1), 0.1, 0.05) == max(first, second)
    assert theory.network_lemma_width((2, 3, 1), 0.1, 0.05) == max(6 * first, 3 * second)
    with pytest.raises(InputError, match="delta"):
        theory.network_lemma_block((2, 3, 1), 0.1, 1.5)


def test_the_asymptotic_block_is_enough_and_near():
    for sizes, near in (((64, 64), 1.05), ((16, 16, 16, 1), 1.4)):
        for rule in ("slides", "tight"):
            exact = theory.block_size("separate", worst_target(sizes), rule, 0.1, 0.05).neurons
            assert exact <= theory.asymptotic_block(rule, sizes, 0.1, 0.05) <= near * exact
    with pytest.raises(InputError, match="at least 2"):
        theory.asymptotic_block("tight", (4, 1, 1), 0.1, 0.05)


def test_default_block_sizes_span_sup_and_tight():
    target = random_target((8, 8, 1))
    sizes = theory.default_block_sizes(target, (0.2, 0.5))
    assert sizes[0] == 1
    assert 0.998 < theory.network_odds("separate", target, "tight", 0.2, sizes[-1]).success < 0.9995
    assert len(sizes) > 12
    assert max(np.divide(sizes[1:], sizes[:-1])) <= 2
    assert theory.default_block_sizes([[[0.01]]], (0.5,)) == (1,)


def test_active_weights_are_bounded_by_what_a_full_ticket_keeps():
    assert theory.active_weights_bound((784, 100, 100, 1)) == 333_800
    assert theory.active_weights_bound((7, 1)) == 28
    sizes = (3, 4, 2, 2)
    count = lambda i, shape: np.arange(np.prod(shape)).reshape(shape)
    ticket = [count(i, (1 + (i == 0), b, a)) for i, (a, b) in enumerate(pairwise(sizes))]
    assert pruned.active_weights(ticket) == theory.active_weights_bound(sizes)


# Predictions.


def problem(target, m, epsilons, **config):
    sizes = (len(target[0][0]), *(len(weights) for weights in target))
    rows = tuple(tuple(map(tuple, np.asarray(weights).tolist())) for weights in target)
    grid = Grid(widths=m, epsilons=epsilons)
    network = Network(sizes=sizes, **config)
    return Problem(config=network, target=rows, grid=grid, seed=0, experiment="network")


def test_every_criterion_of_a_network_has_its_prediction():
    asked = problem(UNEVEN, (10, 40, 160), (0.5, 0.2))
    found = ltjax.predict(asked)
    assert list(found) == [criterion.name for criterion in asked.criteria]
    for construction in CONSTRUCTIONS:
        for rule in ("slides", "tight"):
            curve = found[f"{construction}/{rule}"]
            assert curve.kind == "exact"
            np.testing.assert_array_equal(curve.lower, curve.upper)
            # Block 40 is row 1; epsilons descend, so 0.2 is column 1.
            odds = theory.network_odds(construction, UNEVEN, rule, 0.2, 40)
            assert curve.lower[1, 1] == pytest.approx(float(odds.success), rel=1e-12)
        sup = found[f"{construction}/sup"]
        assert sup.kind == "lower"
        np.testing.assert_array_equal(sup.lower, found[f"{construction}/tight"].lower)
        np.testing.assert_array_equal(sup.upper, 1.0)


def test_sup_alone_is_bounded_by_a_rule_that_is_not_counted():
    asked = problem(UNEVEN, (40,), (0.5,), rules=("sup",), constructions=("separate",))
    found = ltjax.predict(asked)
    odds = theory.network_odds("separate", UNEVEN, "tight", 0.5, 40)
    assert list(found) == ["separate/sup"]
    assert found["separate/sup"].lower[0, 0] == pytest.approx(float(odds.success), rel=1e-12)


def test_many_unequal_outputs_are_bracketed():
    target, m = random_target((2, 20, 1), seed=3), (60, 150, 200, 400)
    found = ltjax.predict(problem(target, m, (0.8,)))
    blocks, separate = found["blocks/tight"], found["separate/tight"]
    assert (blocks.kind, separate.kind) == ("bracket", "exact")
    assert np.all(blocks.upper - blocks.lower < 0.02)
    assert np.any((blocks.upper > 0.1) & (blocks.lower < 0.9))
    np.testing.assert_array_equal(found["blocks/sup"].lower, blocks.lower)
    # Outputs in two groups of equal size, rounded up and down: q falls in t, so these are bounds.
    t = np.sort(np.abs(target[0]), axis=0).reshape(2, 10, 2)
    etas = theory.slot_tolerance("tight", [w.shape for w in target], 0.8)
    harder, easier = (
        layers.network_law("blocks", (np.repeat(pick(t, axis=1), 10, axis=0), target[1]), etas)
        for pick in (np.max, np.min)
    )
    assert np.all(harder(m).success <= blocks.upper[:, 0])
    assert np.all(blocks.lower[:, 0] <= easier(m).success)


def test_a_sampled_bracket_is_cut_to_what_is_certain(monkeypatch):
    target, m = random_target((2, 20, 1), seed=3), np.array([60, 100, 200, 400])
    etas = theory.slot_tolerance("tight", [w.shape for w in target], 0.8)
    odds = layers.network_law("blocks", target, etas)(m)
    lower, upper = prediction.network_bounds("blocks", target, etas, m)
    np.testing.assert_allclose(upper[1] - odds.success[1], 5 * odds.error[1], rtol=1e-9)
    np.testing.assert_allclose(odds.success[1] - lower[1], 5 * odds.error[1], rtol=1e-9)
    # A sample that says nothing leaves the union bound and the hardest slot of each input.
    monkeypatch.setattr(prediction, "ERRORS", 1e99)
    lower, upper = prediction.network_bounds("blocks", target, etas, m)
    union, hardest = 0.0, 1.0
    for sides, weights, eta in zip((2, 1), target, etas, strict=True):
        t = np.abs(weights)
        empty = (1 - theory.match_probability(t, eta)) ** m[:, None, None] * (t > eta)
        union += sides * np.sum(empty, axis=(1, 2))
        both = theory.both_slots(theory.match_probability(t.max(axis=0), eta), m[:, None])[0]
        one = 1 - empty.max(axis=1)
        hardest *= np.prod(np.where(t.max(axis=0) > eta, both if sides == 2 else one, 1.0), axis=1)
    np.testing.assert_allclose(lower, np.maximum(1 - union, 0.0), rtol=1e-9)
    np.testing.assert_allclose(upper, hardest, rtol=1e-9)


def test_a_sampled_bracket_holds_the_simulated_rate():
    target, m, trials = random_target((2, 20, 1), seed=3), 100, 3_000
    etas = theory.slot_tolerance("tight", [w.shape for w in target], 0.8)
    curve = ltjax.predict(problem(target, (m,), (0.8,)))["blocks/tight"]
    wider = layers.network_law("separate", target, [1.1 * eta for eta in etas])(m).success
    assert wider - curve.upper > intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    count = simulate(target, etas, m, "blocks", trials, seed=1)
    low, high = intervals.clopper_pearson(count, trials, ERROR_RATE)
    assert low <= curve.upper
    assert curve.lower <= high < wider
