"""Closed forms against second routes: quadrature, decimals, double loops and simulation."""

from decimal import Decimal, localcontext
from itertools import pairwise
from itertools import product as every

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

import ltjax
from ltjax import theory
from ltjax.counting import intervals
from ltjax.errors import InputError
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.theory import pool

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test


def worst(dim):
    return np.full(dim, dim**-0.5)


def decimal_match(t, eta):
    """p from the antiderivative z (1 - ln|z|) of -ln|z|, with digits to survive cancellation."""
    area = lambda z: z * (1 - abs(z).ln()) if z else Decimal(0)
    low, high = Decimal(t) - Decimal(eta), min(Decimal(t) + Decimal(eta), Decimal(1))
    return (area(high) - area(low)) / 4


# The product law.


@pytest.mark.parametrize("z", [-1.0, -0.3, -1e-3, 0.0, 1e-3, 0.7, 1.0])
def test_product_cdf_matches_quadrature(z):
    # Given |A| = a, P(A W <= z) = clip(1/2 + z / (2 a), 0, 1); average over a.
    given_a = lambda a: np.clip(0.5 + 0.5 * z / a, 0.0, 1.0)
    expected, _ = integrate.quad(given_a, 0.0, 1.0, points=[abs(z)])
    np.testing.assert_allclose(theory.product_cdf(z), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("t", "eta", "expected"),
    [
        (0.0, 0.01, 0.0280258509299),
        (0.5, 0.125, 0.0439853245998),
        (0.25, 0.003125, 0.00216612563126),
    ],
)
def test_match_probability_reference(t, eta, expected):
    np.testing.assert_allclose(theory.match_probability(-t, eta), expected, rtol=1e-11)


@pytest.mark.parametrize("eta", [1e-9, 1e-6, 1e-3, 0.04, 0.3, 0.9])
@pytest.mark.parametrize("t", [0.0, 1e-6, 0.03, 0.25, 0.7, 0.9999, 1.0])
def test_match_probability_is_accurate_everywhere(t, eta):
    with localcontext(prec=60):
        expected = float(decimal_match(t, eta))
    # Near 1 the rounding of t + eta is seen relative to ln(1/t) = 1e-4.
    np.testing.assert_allclose(theory.match_probability(t, eta), expected, rtol=2e-12)


def test_match_probability_at_no_tolerance_is_zero():
    np.testing.assert_array_equal(theory.match_probability([0.0, 0.3, 1.0], 0.0), 0.0)


@pytest.mark.parametrize(("t", "eta"), [(0.3, 0.05), (0.9, 0.2), (0.051, 0.05)])
def test_hits_average_to_twice_the_match(t, eta):
    # A neuron serves a slot if A has the slot's sign, and then with probability q(|A|).
    hit = lambda a: theory.hit_probability(a, np.array([t]), eta)[0]
    mean, _ = integrate.quad(hit, 0.0, 1.0, points=[t - eta, min(t + eta, 1.0)], epsabs=1e-12)
    np.testing.assert_allclose(mean, 2 * theory.match_probability(t, eta), rtol=1e-9)


# Blocks.


@pytest.mark.parametrize(("dim", "width"), [(1, 5), (3, 1), (3, 7), (4, 8), (5, 0)])
def test_block_sizes_count_the_neurons(dim, width):
    served = [j % dim for j in range(width)]
    expected = [served.count(i) for i in range(dim)]
    np.testing.assert_array_equal(theory.block_sizes(dim, width), expected)


@pytest.mark.parametrize(
    ("dim", "eta", "block", "expected"),
    [(2, 0.125, 100, 0.631506279622), (8, 0.03125, 300, 0.889357099051)],
)
def test_blocks_reference(dim, eta, block, expected):
    odds = theory.blocks_odds(worst(dim), eta, dim * block)
    np.testing.assert_allclose(odds.success, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(odds.failure, 1 - expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("width", [2, 3, 5, 9, 40, 300, 4000, 20_000])
def test_blocks_are_accurate_in_both_tails(width):
    # Failures down to 1e-80 and successes down to 1e-9, against 120 digits.
    weights, eta = (0.6, -0.2), 0.05
    odds = theory.blocks_odds(weights, eta, width)
    with localcontext(prec=120):
        success = Decimal(1)
        for t, m in zip((0.6, 0.2), ((width + 1) // 2, width // 2), strict=True):
            p = decimal_match(t, eta)
            success *= 1 - 2 * (1 - p) ** m + (1 - 2 * p) ** m
        expected = float(success), float(1 - success)
    np.testing.assert_allclose((odds.success, odds.failure), expected, rtol=1e-10, atol=1e-100)


# Shared.


@pytest.mark.parametrize(
    ("dim", "eta", "width", "success"),
    [(2, 0.125, 60, 0.301440874748), (8, 0.03125, 300, 0.889685064266)],
)
def test_shared_reference(dim, eta, width, success):
    odds = theory.shared_odds(worst(dim), eta, width)
    np.testing.assert_allclose(odds.success, success, rtol=0, atol=1e-11)
    assert odds.error == 0.0


def test_shared_failure_reference():
    odds = theory.shared_odds(worst(16), 0.003125, 2969)
    np.testing.assert_allclose(odds.failure, 0.0499195490365, rtol=0, atol=1e-11)


def double_sum(weights, eta, width):
    """P = sum over T, T' of (-1)^(|T|+|T'|) ((M_T + M_T')/2)^k: slots T empty on one side, T' on
    the other. M_T by quadrature of its definition.
    """
    ts = np.abs(weights)
    cuts = sorted({c for t in ts for c in (t - eta, t + eta) if 0 < c < 1})

    def miss(a, subset):
        # W ~ U[-1, 1] hits [(t - eta)/a, (t + eta)/a].
        ends = [(min((t + eta) / a, 1.0), min((t - eta) / a, 1.0)) for t in ts[list(subset)]]
        return np.prod([1 - (high - low) / 2 for high, low in ends])

    terms = []
    for flags in every((False, True), repeat=len(ts)):
        subset = np.flatnonzero(flags)
        pieces = [0.0, *cuts, 1.0]
        parts = [
            integrate.quad(miss, low, high, args=(subset,), epsabs=1e-13)[0]
            for low, high in pairwise(pieces)
        ]
        terms.append(((-1) ** len(subset), sum(parts)))
    return sum(s * u * ((m + n) / 2) ** width for s, m in terms for u, n in terms)


@pytest.mark.parametrize(
    ("weights", "eta"), [((0.5, -0.2, 0.05), 0.04), ((-0.45, 0.45, 0.5), 0.2), ((0.98,), 0.1)]
)
@pytest.mark.parametrize("width", [1, 7, 60, 400])
def test_shared_is_the_double_sum(weights, eta, width):
    odds = theory.shared_odds(weights, eta, width)
    expected = double_sum(np.array(weights), eta, width)
    np.testing.assert_allclose(odds.success, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(odds.failure, 1 - expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("width", [1, 11, 23, 24, 60, 500, 3000])
@pytest.mark.parametrize("eta", [0.3, 0.04])
def test_chain_and_subsets_agree(eta, width):
    t = np.array([0.31, 0.31, 0.35, 0.41, 0.41, 0.405])
    chain, subsets = pool.chain_law(t, eta)(width), pool.subset_law(t, eta)(width)
    np.testing.assert_allclose(subsets, chain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(subsets[1], chain[1], rtol=1e-6, atol=1e-60)


@pytest.mark.parametrize(("eta", "scale"), [(0.02, 4), (0.1, 1)])
def test_sample_meets_the_chain(eta, scale):
    # Would be sampled if it had no ties: 9 + 15 slots, 160 states of the chain.
    t, widths = np.repeat([0.2, 0.11], [9, 15]), scale * np.array([40, 75, 75, 150])
    odds = pool.sample(t, eta, widths)
    exact = np.array([pool.chain_law(t, eta)(int(k))[1] for k in widths])
    assert np.all(odds.error < 0.02)
    # 5 standard errors of 128 networks: Student's t leaves 2e-6.
    assert np.all(np.abs(odds.failure - exact) <= 5 * odds.error)
    assert np.any(np.abs(odds.failure - 1.1 * exact) > 5 * odds.error)
    assert pool.sample(t, eta, np.array(300)).failure.shape == ()


@pytest.mark.parametrize("width", [3000, 10_000, 30_000])
def test_shared_failure_tail(width):
    # First order in the chance of an empty slot; pairs are smaller by the same factor.
    weights, eta = worst(8), 0.03125
    union = 16 * (1 - float(theory.match_probability(weights[0], eta))) ** width
    np.testing.assert_allclose(theory.shared_odds(weights, eta, width).failure, union, rtol=1e-6)
    assert union < 1e-19


def test_shared_success_tail():
    # Two neurons, one weight: both slots need both. P = 2 p^2 exactly.
    p = float(theory.match_probability(0.7, 1e-5))
    np.testing.assert_allclose(theory.shared_odds([0.7], 1e-5, 2).success, 2 * p**2, rtol=1e-9)
    assert theory.shared_odds([0.7, 0.1], 1e-5, 1).success == 0.0


def test_shared_takes_wide_nets():
    odds = theory.shared_odds(worst(16), 1e-6, 10**7)
    p = float(theory.match_probability(0.25, 1e-6))
    mean = 32 * np.exp(10**7 * np.log1p(-p))
    # Slots are nearly independent at so small an eta: failure = 1 - exp(-mean) to O(mean p).
    np.testing.assert_allclose(odds.failure, -np.expm1(-mean), rtol=1e-3)


# Both, against the definition.


def simulate(weights, eta, width, trials, seed):
    """Rates at which the side form succeeds: blocks, shared."""
    rng, weights = np.random.default_rng(seed), np.array(weights)
    won = np.zeros((2, trials), bool)
    own = np.arange(width)[:, None] % len(weights) == np.arange(len(weights))
    for batch in np.array_split(np.arange(trials), 20):
        output = rng.uniform(-1, 1, (len(batch), width, 1))
        hidden = rng.uniform(-1, 1, (len(batch), width, len(weights)))
        error = np.abs(output * hidden - weights)
        for row, allowed in ((0, own), (1, True)):
            met = np.ones((len(batch), len(weights)), bool)
            for side in (hidden > 0, hidden < 0):
                nearest = np.min(np.where(side & allowed, error, np.inf), axis=1)
                met &= np.minimum(nearest, np.abs(weights)) <= eta
            won[row, batch] = met.all(axis=1)
    return won.sum(axis=1)


@pytest.mark.parametrize(
    ("weights", "eta", "blocks_width", "shared_width"),
    [
        ((0.5, -0.2, 0.05), 0.04, 300, 100),
        ((0.3, -0.02, 0.2, 0.01), 0.05, 160, 50),
        ((-0.1, 0.12, 0.4), 0.08, 121, 44),
        ((-0.98,), 0.3, 70, 80),
    ],
)
def test_simulation_succeeds_as_predicted(weights, eta, blocks_width, shared_width):
    trials = 30_000
    for row, law, width in (
        (0, theory.blocks_odds, blocks_width),
        (1, theory.shared_odds, shared_width),
    ):
        right = law(weights, eta, width).success
        wrong = law(weights, 1.12 * eta, width).success
        # The design first: a tolerance 12 % off must be a gap this sample can see.
        assert abs(wrong - right) > intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
        count = simulate(weights, eta, width, trials, seed=5)[row]
        low, high = intervals.clopper_pearson(int(count), trials, ERROR_RATE)
        assert low <= right <= high
        assert not low <= wrong <= high


def test_weights_within_eta_ask_for_nothing():
    weights, eta = (0.02, -0.03, 0.01, 0.04), 0.06
    for law in (theory.blocks_odds, theory.shared_odds):
        np.testing.assert_array_equal(law(weights, eta, [1, 12]).success, 1.0)
        np.testing.assert_array_equal(law(weights, eta, [1, 12]).failure, 0.0)
    np.testing.assert_array_equal(simulate(weights, eta, 3, 50, seed=0), 50)
    assert theory.pooled_width(weights, eta, 0.05) == (1, 1)
    # Beside others they only take up their blocks: 20 neurons for either large weight.
    two, four = (0.3, 0.2), (0.3, 0.2, 0.0, -0.05)
    assert theory.blocks_odds(two, 0.05, 40).success == theory.blocks_odds(four, 0.05, 80).success
    assert theory.shared_odds(two, 0.05, 40).success == theory.shared_odds(four, 0.05, 40).success


targets = st.lists(st.floats(-1, 1), min_size=1, max_size=5).map(
    lambda w: np.array(w) / np.sqrt(len(w))
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(targets, st.floats(0.02, 0.9))
def test_probabilities_are_ordered(weights, epsilon):
    eta, widths = epsilon / np.sqrt(len(weights)), np.array([1, 2, 5, 13, 60, 400])
    blocks, shared = (law(weights, eta, widths) for law in (theory.blocks_odds, theory.shared_odds))
    lower, upper = theory.blocks_l2(weights, epsilon, widths)
    for odds in (blocks, shared):
        np.testing.assert_allclose(odds.success + odds.failure, 1.0, atol=1e-11)
        assert np.all(np.diff(odds.success) >= -1e-12)
        assert np.all((odds.success >= 0) & (odds.success <= 1))
    active = np.abs(weights) > eta
    p = theory.match_probability(weights[active], eta)
    union = 2 * np.sum((1 - p) ** widths[:, None], axis=1)
    assert np.all(shared.failure <= union + 1e-12)
    assert np.all(blocks.success <= shared.success + 1e-12)
    assert np.all(blocks.success <= lower + 1e-12)
    assert np.all(lower <= upper)
    assert np.all(upper - lower < 2e-3)


# The l2 rule.


def test_l2_of_one_weight_is_the_box():
    widths = np.array([5, 50, 500])
    lower, upper = theory.blocks_l2([0.8], 0.2, widths)
    expected = theory.blocks_odds([0.8], 0.2, widths).success
    np.testing.assert_allclose(lower, expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(upper, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("epsilon", "width"), [(0.1, 60), (0.1, 201), (0.3, 20), (0.55, 7)])
def test_l2_of_two_weights_matches_quadrature(epsilon, width):
    # Condition on the error y of the first: a density below its weight, an atom at it.
    first, second = 0.25, 0.6
    m, n = (width + 1) // 2, width // 2
    law = lambda t, y, m: theory.both_slots(theory.match_probability(t, y), m)[0]

    def density(y):
        p = theory.match_probability(first, y)
        slope = -(np.log(first + y) + np.log(first - y)) / 4
        return 2 * m * ((1 - p) ** (m - 1) - (1 - 2 * p) ** (m - 1)) * slope

    joint = lambda y: density(y) * law(second, np.sqrt(epsilon**2 - y**2), n)
    top = min(first, epsilon)
    expected, _ = integrate.quad(joint, 0.0, top, limit=400, epsabs=1e-9)
    if epsilon >= first:
        rest = 1 - law(first, first, m)
        expected += rest * law(second, np.sqrt(epsilon**2 - first**2), n)
    lower, upper = theory.blocks_l2([first, -second], epsilon, width)
    assert lower - 1e-7 <= expected <= upper + 1e-7
    assert upper - lower < 1e-3


def test_l2_bracket_contains_the_simulated_rate():
    weights, epsilon, width, trials = np.array([0.5, -0.2, 0.05, 0.4]), 0.2, 150, 30_000
    rng = np.random.default_rng(11)
    worse = np.zeros((trials, len(weights)))
    for i, w in enumerate(weights):
        block = int(theory.block_sizes(len(weights), width)[i])
        output, hidden = rng.uniform(-1, 1, (2, trials, block))
        for side in (hidden > 0, hidden < 0):
            nearest = np.min(np.where(side, np.abs(output * hidden - w), np.inf), axis=1)
            worse[:, i] = np.maximum(worse[:, i], np.minimum(nearest, abs(w)))
    count = int(np.sum(np.sum(worse**2, axis=1) <= epsilon**2))
    low, high = intervals.clopper_pearson(count, trials, ERROR_RATE)
    lower, upper = theory.blocks_l2(weights, epsilon, width)
    wrong, _ = theory.blocks_l2(weights, 1.1 * epsilon, width)
    assert wrong - upper > intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    assert low <= upper
    assert lower <= high < wrong


# Widths.


@pytest.mark.parametrize(
    ("dim", "rule", "block", "shared"),
    [
        (2, "slides", 1005, 1005),
        (2, "tight", 353, 353),
        (4, "slides", 1164, 1164),
        (4, "tight", 289, 289),
        (8, "slides", 1766, 1765),
        (8, "tight", 310, 310),
        (16, "slides", 2969, 2969),
        (16, "tight", 368, 368),
        (64, "slides", 9627, 9627),
        (64, "tight", 598, 598),
    ],
)
def test_smallest_widths_of_the_worst_target(dim, rule, block, shared):
    eta = theory.tolerance(rule, dim, 0.1)
    low, high = (
        width(worst(dim), eta, 0.05) for width in (theory.shared_width, theory.blocks_width)
    )
    assert low == shared
    assert -(-high // dim) == block  # the table counts whole blocks
    for law, width in ((theory.shared_odds, low), (theory.blocks_odds, high)):
        below, at = law(worst(dim), eta, [width - 1, width]).failure
        assert at <= 0.05 < below
    assert abs(theory.sharp_width(worst(dim), eta, 0.05) - shared) < 3
    leading = theory.leading_width(rule, dim, 0.1, 0.05)
    assert shared <= leading <= 1.05 * shared


def test_widths_of_an_uneven_target():
    weights, eta = np.array([0.3, -0.02, 0.2, 0.01]), 0.05
    for delta in (0.9, 0.3, 1e-9):
        for law, smallest in (
            (theory.blocks_odds, theory.blocks_width(weights, eta, delta)),
            (theory.shared_odds, theory.shared_width(weights, eta, delta)),
        ):
            below, at = law(weights, eta, [smallest - 1, smallest]).failure
            assert at <= delta < below


@pytest.mark.parametrize("weights", [(0.5, -0.5, 0.5, 0.5), (0.5, -0.03, 0.0, 0.2), (1.0,)])
def test_the_lemma_keeps_its_promise(weights):
    # Error epsilon / d for each coordinate, at exactly the width promised; and the waste.
    dim, epsilon, delta = len(weights), 0.3, 0.05
    width = theory.lemma_width(dim, epsilon, delta)
    assert theory.blocks_odds(weights, epsilon / dim, width).failure <= delta
    assert theory.blocks_width(weights, epsilon / dim, delta) < width


def test_lemma_values():
    # 16 ceil(16 * 256 / 0.01 * ln 640); and 4 / 0.01 ln 40 = 1475.6.
    assert theory.lemma_width(16, 0.1, 0.05) == 16 * int(np.ceil(409_600 * np.log(640)))
    assert theory.coordinate_lemma_width(0.1, 0.05) == 1476
    # The box event at its worst, |a| = 1, has probability epsilon^2 / 4 exactly.
    a, epsilon = 1.0, 0.1
    box = (min(a + epsilon, 1) - (a - epsilon)) / 2 * (epsilon / 2)
    np.testing.assert_allclose(box, epsilon**2 / 4)


def test_unusable_arguments_are_named():
    with pytest.raises(InputError, match="delta must lie strictly between 0 and 1, got 1"):
        theory.shared_width([0.5], 0.1, 1.0)
    with pytest.raises(InputError, match="dim must be at least 2 for the asymptotic width, got 1"):
        theory.leading_width("tight", 1, 0.1, 0.05)
    with pytest.raises(InputError, match="delta asks for more than"):
        theory.blocks_width([1.0], 1e-5, 0.05)
    with pytest.raises(InputError, match="rule must be slides or tight, got loose"):
        theory.tolerance("loose", 2, 0.1)


def test_default_widths_span_the_rise():
    weights, epsilons = np.array([0.5, -0.2, 0.05, 0.4]), (0.3, 0.1)
    widths = theory.default_widths(weights, epsilons, ("blocks", "pooled"))
    assert len(widths) > 30
    assert list(widths) == sorted(set(widths))
    assert all(k % 16 == 0 for k in widths if k > 100)
    easy, hard = (theory.tolerance("tight", 4, e) for e in epsilons)
    assert 0.01 <= theory.shared_odds(weights, easy, widths[0]).success < 0.03
    assert 0.998 < theory.blocks_odds(weights, hard, widths[-1]).success < 0.9992
    assert theory.default_widths((0.01, -0.02), epsilons, ("pooled",)) == (1,)


# Predictions.


def problem(target, constructions=("blocks", "pooled"), widths=(8, 40, 160), epsilons=(0.4, 0.1)):
    config = Neuron(dim=len(target), constructions=constructions)
    return Problem(
        config=config, target=tuple(target), grid=Grid(widths=widths, epsilons=epsilons), seed=0
    )


def test_every_criterion_has_its_prediction():
    asked = problem((0.5, -0.2, 0.05, 0.4))
    found = ltjax.predict(asked)
    # Nothing is proved of the l2 and sup of a ticket that need not be the best.
    unproved = {"pooled/l2", "pooled/sup"}
    names = [criterion.name for criterion in asked.criteria]
    assert list(found) == [name for name in names if name not in unproved]
    one = np.ones((3, 2))
    for name, prediction in found.items():
        assert prediction.criterion == name
        assert prediction.lower.shape == prediction.upper.shape == (3, 2)
        assert np.all(prediction.lower <= prediction.upper)
        assert np.all((prediction.lower >= 0) & (prediction.upper <= 1))
        if prediction.kind == "exact":
            np.testing.assert_array_equal(prediction.lower, prediction.upper)
        if prediction.kind == "lower":
            np.testing.assert_array_equal(prediction.upper, one)
    kinds = {name: prediction.kind for name, prediction in found.items()}
    assert kinds == {
        **dict.fromkeys(("blocks/slides", "blocks/tight"), "exact"),
        **dict.fromkeys(("shared/slides", "shared/tight"), "exact"),
        **dict.fromkeys(("blocks/l2", "pooled/slides", "pooled/tight"), "bracket"),
        **dict.fromkeys(("blocks/sup", "shared/l2"), "lower"),
    }


def test_predictions_stand_where_width_and_epsilon_say():
    target = (0.5, -0.2, 0.05, 0.4)
    found = ltjax.predict(problem(target))
    # Width 160 is row 2; epsilons descend, so 0.1 is column 1 and eta = 0.1 / (2 * 4) or / 2.
    slides = theory.blocks_odds(target, 0.0125, 160).success
    assert found["blocks/slides"].lower[2, 1] == pytest.approx(slides, rel=1e-12)
    tight = theory.shared_odds(target, 0.05, 160).success
    assert found["shared/tight"].upper[2, 1] == pytest.approx(tight, rel=1e-12)
    assert found["pooled/tight"].upper[2, 1] == found["shared/tight"].upper[2, 1]
    lost = theory.unmatched(target, 0.05, 160).most
    assert found["pooled/tight"].lower[2, 1] == pytest.approx(tight - lost, rel=1e-12)
    assert found["shared/l2"].lower[2, 1] >= found["shared/tight"].lower[2, 1]


def test_blocks_alone_predict_blocks_alone():
    found = ltjax.predict(problem((0.5, -0.2), constructions=("blocks",)))
    assert set(found) == {"blocks/slides", "blocks/tight", "blocks/l2", "blocks/sup"}


def test_many_uneven_weights_are_bracketed():
    target = np.linspace(0.1, 0.223, 20) * (-1) ** np.arange(20)
    found = ltjax.predict(problem(target, widths=(60, 150, 400), epsilons=(0.4,)))["shared/tight"]
    assert found.kind == "bracket"
    assert np.all(found.upper - found.lower < 0.05)
    # All weights as small as the smallest are easier, as large as the largest harder: q falls in t.
    eta = theory.tolerance("tight", 20, 0.4)
    easier = theory.shared_odds(np.full(20, 0.1), eta, (60, 150, 400)).success
    harder = theory.shared_odds(np.full(20, 0.223), eta, (60, 150, 400)).success
    assert np.all(harder <= found.upper[:, 0])
    assert np.all(found.lower[:, 0] <= easier)


def test_a_target_of_small_weights_is_certain():
    found = ltjax.predict(problem((0.01, -0.02), widths=(1, 9), epsilons=(0.5, 0.2)))
    for prediction in found.values():
        np.testing.assert_array_equal(prediction.lower, 1.0)
        np.testing.assert_array_equal(prediction.upper, 1.0)
