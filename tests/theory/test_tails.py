"""Failure far in the tail: against exact laws within its own error, and against counting."""

import numpy as np
import pytest

from ltjax import theory
from ltjax.counting import intervals
from ltjax.errors import InputError
from ltjax.theory import pool, tails

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
ERRORS = 6.0  # standard errors of 1000 draws: normal tails leave 2e-9, skewed ones room
ROUNDING = 1e-12  # of either side, relative: neither law is more exact

# Worst weights, two sizes, four of which one is within eta, and one weight of size 1.
TARGETS = {
    "worst": (np.full(4, 0.5), 0.05),
    "sizes": (np.repeat([0.2, -0.11], [9, 15]), 0.02),
    "uneven": (np.array([0.5, -0.2, 0.03, 0.31]), 0.04),
    "one": (np.array([-1.0]), 0.2),
}
FAILURES = (0.9, 1e-1, 1e-2, 1e-4, 1e-9, 1e-12)


def exact(construction, weights, eta, width, sides=2):
    """Failure by a law that draws nothing; more than 16 weights of few sizes are a chain."""
    if construction == "blocks":
        assert sides == 2
        return theory.blocks_odds(weights, eta, width).failure
    odds = theory.shared_odds(weights, eta, width, sides)
    assert not np.any(odds.error)
    return odds.failure


def widths(construction, weights, eta):
    """Where failure has fallen to each of `FAILURES`."""
    smallest = {"blocks": theory.blocks_width, "shared": theory.shared_width}[construction]
    return np.array([smallest(weights, eta, delta) for delta in FAILURES])


def agree(odds, failure):
    return np.abs(odds.failure - failure) <= ERRORS * odds.error + ROUNDING * failure


@pytest.mark.slow
@pytest.mark.parametrize("construction", ["blocks", "shared"])
@pytest.mark.parametrize("name", TARGETS)
def test_the_tail_is_that_of_the_exact_law(construction, name):
    weights, eta = TARGETS[name]
    ks = widths(construction, weights, eta)
    odds = theory.tail(construction, weights, eta, ks, draws=200)
    right = exact(construction, weights, eta, ks)
    wrong = exact(construction, weights, 1.05 * eta, ks)
    # The design first: a tolerance 5 % off must be a gap that these draws can see, twice over.
    assert np.all(np.abs(wrong - right) > 2 * ERRORS * odds.error)
    assert np.all(agree(odds, right))
    assert not np.any(agree(odds, wrong))
    assert right[-1] < 1e-12 < right[-2] < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("construction", ["blocks", "shared"])
def test_the_error_is_that_of_many_repetitions(construction):
    weights, eta = TARGETS["uneven"]
    ks = widths(construction, weights, eta)[[1, 3, 4]]
    right = exact(construction, weights, eta, ks)
    found = [theory.tail(construction, weights, eta, ks, 2, 40, seed) for seed in range(60)]
    scores = np.array([(odds.failure - right) / odds.error for odds in found])
    # Of 60 scores of unit variance the root mean square is within 5 of its own deviations,
    # 1 / sqrt(120), of 1; the heavier tails of 40 skewed draws are given as much again above.
    spread = np.sqrt(np.mean(scores**2, axis=0))
    assert np.all((spread > 0.54) & (spread < 1.9))
    assert np.all(np.abs(np.mean(scores, axis=0)) < 5 / np.sqrt(60))


@pytest.mark.slow
def test_a_coarse_tolerance_where_failure_is_common():
    # The number of empty slots varies most here; emptying one in every network would show.
    weights, eta = np.full(16, 0.25), 0.225
    ks = np.array([10, 14, 19, 29, 41])
    odds = theory.tail("shared", weights, eta, ks, draws=3000)
    right = exact("shared", weights, eta, ks)
    assert np.all(agree(odds, right))
    assert np.all(odds.error < 0.004 * right)
    assert not np.any(agree(odds, 1.05 * right))


def test_relative_error_falls_with_the_failure():
    # The figures of the docstring: 2e-11 and 4e-8 at a failure of 1e-9 for d = 16.
    weights = np.full(16, 0.25)
    for eta, reached in ((0.025, 1e-10), (0.225, 1e-6)):
        ks = [theory.shared_width(weights, eta, delta) for delta in (1e-2, 1e-9)]
        odds = theory.tail("shared", weights, eta, ks)
        common, rare = odds.error / odds.failure
        assert rare < reached < common < 0.01
        off = odds.failure[1] / theory.shared_odds(weights, eta, ks[1]).failure - 1
        assert abs(off) < reached


def test_a_plain_average_misses_the_tail_and_hides_it():
    # What the emptied slot is for: 1000 plain networks, at a failure of 1e-9.
    weights, eta = np.full(16, 0.25), 0.225
    width = theory.shared_width(weights, eta, 1e-9)
    rng, plain = np.random.default_rng(0), tails.Pool(weights, width)
    logs = np.stack([tails._log_empty(rng, plain, eta, None) for _ in range(1000)])
    failures = -np.expm1(np.sum(np.log1p(-np.exp(logs)), axis=(1, 2)))
    mean, error = np.mean(failures), np.std(failures, ddof=1) / np.sqrt(1000)
    right = theory.shared_odds(weights, eta, width).failure
    assert not abs(mean - right) < 0.01 * right
    assert abs(theory.tail("shared", weights, eta, width).failure - right) < 1e-6 * right
    assert error > 0.01 * right


@pytest.mark.parametrize(
    ("construction", "failure", "width", "eta", "dim"),
    [
        ("blocks", 1 - 0.631506279622, 200, 0.125, 2),
        ("blocks", 1 - 0.889357099051, 2400, 0.03125, 8),
        ("shared", 1 - 0.301440874748, 60, 0.125, 2),
        ("shared", 1 - 0.889685064266, 300, 0.03125, 8),
        ("shared", 0.0499195490365, 2969, 0.003125, 16),
    ],
)
def test_reference_values(construction, failure, width, eta, dim):
    odds = theory.tail(construction, np.full(dim, dim**-0.5), eta, width)
    assert odds.failure.shape == odds.error.shape == ()
    assert agree(odds, failure)
    assert odds.error < 0.01 * failure
    assert odds.success + odds.failure == 1.0


def counted(construction, weights, eta, width, trials, seed):
    """Networks that fail, by the definition: a slot met by no neuron errs by |w_i| > eta."""
    rng, failed = np.random.default_rng(seed), 0
    own = np.arange(width)[:, None] % len(weights) == np.arange(len(weights))
    allowed = own if construction == "blocks" else np.ones_like(own)
    for batch in np.array_split(np.arange(trials), 20):
        output = rng.uniform(-1, 1, (len(batch), width, 1))
        hidden = rng.uniform(-1, 1, (len(batch), width, len(weights)))
        hits = (np.abs(output * hidden - weights) <= eta) & allowed
        met = [np.any(hits & side, axis=1) for side in (hidden > 0, hidden < 0)]
        failed += np.count_nonzero(np.any(~(met[0] & met[1]) & (np.abs(weights) > eta), axis=1))
    return failed


@pytest.mark.parametrize(("construction", "width"), [("blocks", 300), ("shared", 70)])
def test_counting_agrees_with_one_weight_below_eta(construction, width):
    weights, eta, trials = np.array([0.5, -0.2, 0.03, 0.31]), 0.06, 30_000
    right = theory.tail(construction, weights, eta, width)
    wrong = theory.tail(construction, weights, 1.05 * eta, width)
    gap = right.failure - wrong.failure - ERRORS * (right.error + wrong.error)
    assert gap > intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    count = counted(construction, weights, eta, width, trials, seed=3)
    low, high = intervals.clopper_pearson(count, trials, ERROR_RATE)
    assert low - ERRORS * right.error <= right.failure <= high + ERRORS * right.error
    assert not low - ERRORS * wrong.error <= wrong.failure <= high + ERRORS * wrong.error


def test_sides_and_constructions_differ():
    weights, eta = TARGETS["uneven"]
    k = int(widths("shared", weights, eta)[4])
    one, two = (theory.tail("shared", weights, eta, k, sides) for sides in (1, 2))
    assert agree(one, exact("shared", weights, eta, k, sides=1))
    assert not agree(one, exact("shared", weights, eta, k))
    assert one.failure == pytest.approx(two.failure / 2, rel=1e-6, abs=0)
    assert not agree(theory.tail("blocks", weights, eta, k), two.failure)


def test_weights_within_eta_ask_for_nothing_but_their_block():
    for construction in ("blocks", "shared"):
        odds = theory.tail(construction, (0.02, -0.06, 0.0), 0.06, [1, 9], draws=2)
        np.testing.assert_array_equal(odds.failure, 0.0)
        np.testing.assert_array_equal(odds.success, 1.0)
    small, none = (0.3, -0.2, 0.05, 0.0), (0.3, -0.2)
    assert agree(
        theory.tail("blocks", small, 0.05, 800), theory.blocks_odds(none, 0.05, 400).failure
    )


def test_both_ends_of_the_widths():
    weights, eta = TARGETS["uneven"]
    for construction in ("blocks", "shared"):
        odds = theory.tail(construction, weights, eta, [0, 1, 4, 10**6], draws=20)
        # Too few neurons for the slots fail for certain; a million leave less than any double.
        np.testing.assert_allclose(odds.failure[:2], 1.0, atol=1e-3)
        assert odds.failure[0] == 1.0
        assert odds.failure[-1] == odds.error[-1] == 0.0
    # The union bound takes over where doubles end, and it has no error to tell.
    k = theory.shared_width([1.0], 0.2, 1e-270) * np.array([1.0, 1.1])
    drawn, union = theory.tail("shared", [1.0], 0.2, k, draws=20).failure
    assert drawn == pytest.approx(exact("shared", [1.0], 0.2, k[0]), rel=1e-10, abs=0)
    assert union == pytest.approx(exact("shared", [1.0], 0.2, k[1]), rel=1e-10, abs=0)
    assert 0.0 < union < 1e-290
    # So many slots that the mean number of empty ones has no exponential.
    assert theory.tail("shared", np.full(2000, 0.02), 0.001, 1, draws=2).failure == 1.0


def test_draws_depend_on_seed_and_width_alone():
    weights, eta = TARGETS["uneven"]
    both = theory.tail("shared", weights, eta, [[60, 200], [200, 400]], draws=20)
    alone = theory.tail("shared", weights, eta, 200, draws=20)
    assert both.failure.shape == (2, 2)
    assert both.failure[0, 1] == both.failure[1, 0] == alone.failure
    assert theory.tail("shared", weights, eta, 200, draws=20, seed=1).failure != alone.failure


def test_neurons_come_in_chunks(monkeypatch):
    weights, eta = TARGETS["uneven"]
    k = int(widths("shared", weights, eta)[3])
    monkeypatch.setattr(tails, "CHUNK", 7)
    assert agree(
        theory.tail("shared", weights, eta, k, draws=100), exact("shared", weights, eta, k)
    )


def test_shared_falls_back_on_the_tail():
    # Seventeen weights of seventeen sizes have no exact law.
    weights, eta = np.linspace(0.08, 0.24, 17), 0.025
    assert not pool.is_exact(weights, eta)
    k = [200, 1400]
    odds = theory.shared_odds(weights, eta, k)
    other = theory.tail("shared", weights, eta, k)
    gap = np.abs(odds.failure - other.failure)
    assert np.all(gap <= ERRORS * (odds.error + other.error))
    assert other.failure[1] < 1e-9
    assert np.all(odds.error > other.error)


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="construction must be one of blocks, shared, got pooled"):
        theory.tail("pooled", (0.5,), 0.1, 9)
    with pytest.raises(InputError, match="draws must be at least 2 for a standard error, got 1"):
        theory.tail("shared", (0.5,), 0.1, 9, draws=1)
