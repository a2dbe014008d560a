"""Subset sums: every number by two roads, and bounds that hold where subsets are counted."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, special, stats

from ltjax import theory
from ltjax.counting import intervals
from ltjax.errors import InputError
from ltjax.theory import candidate_sums, subset_sums, subset_tails

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
TRIALS = 40_000
LAWS = ("uniform", "product", "side")


def draw(law, trials, n, seed=0):
    rng = np.random.default_rng([seed, n])
    x = rng.uniform(-1.0, 1.0, (trials, n))
    if law != "uniform":
        x *= rng.uniform(-1.0, 1.0, (trials, n))
    return x * (rng.random((trials, n)) < 0.5) if law == "side" else x


def sums(numbers):
    """All subset sums: [trials, 2^n]."""
    found = np.zeros((len(numbers), 1))
    for column in numbers.T:
        found = np.concatenate([found, found + column[:, None]], axis=1)
    return found


def hits(law, n, t, eps, empty=True):
    """N of each trial; a candidate that is not usable is 0, and every subset there twice."""
    numbers = draw(law, TRIALS, n)
    found = np.sum(np.abs(sums(numbers) - t) <= eps, axis=1) / 2.0 ** np.sum(numbers == 0.0, axis=1)
    return found if empty else found - (abs(t) <= eps)


# Exact success.


EXACT = {
    ("uniform", 0.5, 0.1): (0.1, 0.245, 0.432166667),
    ("product", 0.5, 0.1): (0.069989541, 0.182208180, 0.326717572),
    ("side", 0.5, 0.1): (0.034994770, 0.080546815, 0.135413842),
    ("uniform", 0.5, 0.01): (0.01, 0.0272, 0.057525917),
    ("product", 0.5, 0.01): (0.006932139, 0.022106051, 0.052496764),
    ("side", 0.5, 0.01): (0.003466069, 0.008992582, 0.017451417),
    ("uniform", 0.9, 0.05): (0.05, 0.12, 0.220708333),
    ("product", 0.9, 0.05): (0.005293770, 0.022567534, 0.061760473),
    ("side", 0.9, 0.05): (0.002646885, 0.008288768, 0.018168048),
}


@pytest.mark.parametrize(("law", "t", "eps"), EXACT)
def test_success_of_few_candidates(law, t, eps):
    found = [theory.exact_success(law, n, t, eps) for n in (1, 2, 3)]
    np.testing.assert_allclose(found, EXACT[law, t, eps], rtol=0, atol=6e-10)
    lower, upper = theory.target_bounds(law, [1, 2, 3], t, eps)
    assert np.all(lower <= found)
    assert np.all(found <= upper)
    np.testing.assert_allclose([lower[0], upper[0]], found[0], rtol=3e-5)  # of one N is 0 or 1


@pytest.mark.parametrize("law", LAWS)
def test_success_is_what_is_counted(law):
    t, eps, n = 0.5, 0.1, 3
    assert intervals.detectable_gap(TRIALS, ERROR_RATE, ERROR_RATE) < 0.04
    low, high = intervals.clopper_pearson(int(np.sum(hits(law, n, t, eps) > 0)), TRIALS, ERROR_RATE)
    assert low <= theory.exact_success(law, n, t, eps) <= high
    assert not low <= theory.exact_success(law, n, t, 1.5 * eps) <= high


# Moments.


def test_first_moments_of_uniform_candidates_by_the_alternating_sum():
    def cdf(k, x):  # of the sum of k of U[-1, 1], in exact fractions
        y = min(max((x + k) / 2, Fraction(0)), Fraction(k))
        terms = ((-1) ** j * math.comb(k, j) * (y - j) ** k for j in range(int(y) + 1))
        return sum(terms, Fraction(0)) / math.factorial(k)

    t, eps = Fraction(1, 2), Fraction(1, 100)
    windows = [cdf(k, t + eps) - cdf(k, t - eps) for k in range(1, 32)]
    for n in (1, 5, 15, 25, 31):
        expected = sum(math.comb(n, k) * windows[k - 1] for k in range(1, n + 1))
        found = theory.first_moment("uniform", n, float(t), float(eps))
        np.testing.assert_allclose(found, float(expected), rtol=1e-11)


def test_first_moments_of_products_by_the_transform():
    # sum_k C(n, k) (1/pi) int phi^k cos(s t) 2 sin(eps s) / s ds, phi = Si(s)/s, for k >= 3.
    t, eps, n = 0.5, 0.1, 10
    s, w = candidate_sums.between(np.linspace(1e-12, 4000.0, 4001))
    phi = special.sici(s)[0] / s
    tail = sum(math.comb(n, k) * phi**k for k in range(3, n + 1))
    expected = float(w @ (tail * np.cos(s * t) * 2.0 * np.sin(eps * s) / s)) / np.pi
    short = candidate_sums.windows("product", 2, np.array([t]), eps, 8)[:, 0, 0]
    expected += n * short[1] + math.comb(n, 2) * short[2]
    np.testing.assert_allclose(theory.first_moment("product", n, t, eps), expected, rtol=1e-8)


MOMENTS = {  # at t = 1/2: E N, E N^2, the lower bound
    ("uniform", 0.1, 3): (0.593666667, 0.965666667, 0.407667),
    ("uniform", 0.1, 8): (16.0528357, 333.666626, 0.772618),
    ("uniform", 0.1, 15): (1579.11273, 2990327.32, 0.833888),
    ("uniform", 0.01, 8): (1.60647394, 4.80140414, 0.538494),
    ("uniform", 0.01, 15): (158.005316, 30101.6681, 0.829384),
    ("product", 0.1, 8): (22.29986, 779.404, 0.638056),
    ("product", 0.01, 15): (248.9938, 82028.5, 0.755811),
    ("side", 0.1, 12): (11.17345, 635.113, 0.196581),
    ("side", 0.1, 20): (261.9415, 658004.7, 0.104275),
}


@pytest.mark.parametrize(("law", "eps", "n"), MOMENTS)
def test_moments(law, eps, n):
    first, second = theory.first_moment(law, n, 0.5, eps), theory.second_moment(law, n, 0.5, eps)
    found = (first, second, theory.dawson_sankoff(first, second))
    np.testing.assert_allclose(found, MOMENTS[law, eps, n], rtol=2e-6)
    assert first**2 / second <= found[2] + 1e-15


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("t", [0.05, 0.5])
def test_moments_are_those_of_draws(law, t):
    n, eps = 6, 0.1
    many, without = (hits(law, n, t, eps, empty) for empty in (True, False))
    # Bernstein's inequality, of N <= 2^n.
    reach = math.sqrt(2.0 * math.log(2.0 / ERROR_RATE)) + 1.0
    for power, moment in ((1, theory.first_moment), (2, theory.second_moment)):
        exact = float(moment(law, n, t, eps))
        error = np.std(many**power) / math.sqrt(TRIALS)
        bound = reach * error + 2.0**n / TRIALS
        assert abs(np.mean(many**power) - exact) <= bound
        if t < eps:  # forgetting the empty subset would show, by a gap seen twice over
            gap = abs(np.mean(many**power) - np.mean(without**power))
            assert gap > 2.0 * bound
            assert abs(np.mean(without**power) - exact) > bound


def test_moments_given_the_signs():
    ns = np.array([5, 8, 10, 12])
    lower, upper = theory.target_bounds("uniform", ns, 0.5, 0.1)
    np.testing.assert_allclose(lower, [0.628817, 0.805482, 0.844151, 0.859982], atol=6e-7)
    assert np.all(upper <= 1.0 - theory.out_of_reach("uniform", ns, 0.4) + 1e-9)
    lower, _ = theory.target_bounds("uniform", ns, 0.5, 0.01)
    np.testing.assert_allclose(lower, [0.197556, 0.556131, 0.742475, 0.827159], atol=6e-7)


def test_integers_are_counted():
    largest, n, z = 3, 3, 2
    values = np.arange(-largest, largest + 1)
    grid = np.stack(np.meshgrid(*[values] * n), axis=-1).reshape(-1, n)
    found = theory.first_moment("integer", n, z / largest, 0.0, largest)
    np.testing.assert_allclose(found, np.mean(np.sum(sums(grid) == z, axis=1)), rtol=1e-14)
    mean = np.mean([theory.first_moment("integer", n, v / largest, 0.0, largest) for v in values])
    np.testing.assert_allclose(theory.first_moment("integer", n, None, 0.0, largest), mean)


def test_gaussian_moments_are_those_of_draws():
    n, t, eps = 6, 0.5, 0.1
    found = sums(np.random.default_rng(0).normal(0.0, 3**-0.5, (TRIALS, n)))
    many = np.sum(np.abs(found - t) <= eps, axis=1).astype(float)
    error = 5.5 * np.std(many) / math.sqrt(TRIALS) + 2.0**n / TRIALS
    exact = theory.first_moment("gaussian", n, t, eps)
    wrong = theory.first_moment("gaussian", n, t, 1.2 * eps)
    assert abs(np.mean(many) - exact) <= error < abs(wrong - exact) / 2.0
    assert abs(np.mean(many) - wrong) > error


@pytest.mark.parametrize("law", ["uniform", "product", "gaussian"])
def test_a_random_target_is_the_mean_of_targets(law):
    t, w = candidate_sums.between(np.array([0.0, 0.1, 0.3, 0.9, 1.0]), True, 24)
    each = [theory.first_moment(law, 3, float(x), 0.1) for x in t]
    np.testing.assert_allclose(theory.first_moment(law, 3, None, 0.1), w @ each, rtol=1e-9)


# Reach.


def test_reach_of_uniform_candidates_is_a_laguerre_polynomial():
    ns = np.arange(31)
    for c in (0.0, 0.05, 0.4, 1.0):
        expected = 0.5**ns * special.eval_laguerre(ns, -c)
        # With c = 0 the sum of none is not below it.
        found = theory.out_of_reach("uniform", ns, c)
        np.testing.assert_allclose(found, expected if c else 0.0 * expected, rtol=1e-10)
    assert theory.out_of_reach("uniform", 3, 3.0) == 1.0
    np.testing.assert_allclose(theory.out_of_reach("uniform", 10, 0.4), 0.0098894, rtol=1e-5)


def test_reach_of_two_products_by_quadrature():
    c = 0.6
    x, w = candidate_sums.between(np.array([0.0, c]), crowded=True)
    one = lambda z: z * (1.0 - np.log(z))
    two = float(w @ (-np.log(x) * one(c - x)))
    for law, plus in (("product", 0.5), ("side", 0.25)):
        expected = (1 - plus) ** 2 + 2 * plus * (1 - plus) * one(c) + plus**2 * two
        np.testing.assert_allclose(theory.out_of_reach(law, 2, c), expected, rtol=1e-10)


@pytest.mark.parametrize("c", [0.05, 0.7, 1.0])
def test_reach_of_each_number_of_products_follows_from_that_of_one_fewer(c):
    below = lambda k, c: subset_sums.positive_cdf("product", subset_sums.MAX_REACH, c)[k]
    assert below(0, c) == 1.0
    for k in (1, 2, 5, 20, 40, subset_sums.MAX_REACH):
        convolved = lambda x, k=k: -math.log(x) * below(k - 1, c - x)
        expected, _ = integrate.quad(convolved, 0.0, c, epsabs=0.0, epsrel=1e-11)
        np.testing.assert_allclose(below(k, c), expected, rtol=1e-10)


@pytest.mark.parametrize("law", LAWS)
def test_reach_is_what_is_counted(law):
    n, c = 8, 0.4
    low = int(np.sum(np.sum(np.maximum(draw(law, TRIALS, n), 0.0), axis=1) < c))
    low, high = intervals.clopper_pearson(low, TRIALS, ERROR_RATE)
    assert low <= theory.out_of_reach(law, n, c) <= high
    assert not low <= theory.out_of_reach(law, n, 2.0 * c) <= high


# Bounds.

# P(t = 1/2 within 0.1), P(all of [-1/2, 1/2] within 0.1), of 200,000 trials.
COUNTED = {
    ("uniform", 5): (0.78173, 0.33298),
    ("uniform", 8): (0.96491, 0.89395),
    ("uniform", 12): (0.99657, 0.99179),
    ("product", 5): (0.61007, 0.22753),
    ("product", 8): (0.85326, 0.69670),
    ("product", 12): (0.96468, 0.92937),
    ("side", 5): (0.26231, 0.02016),
    ("side", 8): (0.46309, 0.13649),
    ("side", 12): (0.68170, 0.40146),
}


@pytest.mark.parametrize("law", LAWS)
def test_bounds_hold_of_what_is_counted(law):
    n, t, eps = 8, 0.5, 0.1
    counted = int(np.sum(hits(law, n, t, eps) > 0))
    low, high = intervals.clopper_pearson(counted, TRIALS, ERROR_RATE)
    lower, upper = theory.target_bounds(law, n, t, eps)
    assert lower <= high
    assert low <= upper
    # Bounds of another tolerance do not.
    assert theory.target_bounds(law, n, t, eps / 8)[1] < low
    counted = int(np.sum(hits(law, 3, t, eps) > 0))
    _, high = intervals.clopper_pearson(counted, TRIALS, ERROR_RATE)
    assert theory.target_bounds(law, 3, t, 2.0 * eps)[0] > high


@pytest.mark.parametrize(("law", "n"), COUNTED)
def test_bounds_hold_of_values_counted_before(law, n):
    target, cover = COUNTED[law, n]
    slack = math.sqrt(math.log(2.0 / ERROR_RATE) / 2.0 / 200_000)  # Hoeffding's
    lower, upper = theory.target_bounds(law, n, 0.5, 0.1)
    assert lower - slack <= target <= upper + slack
    assert theory.cover_bounds(law, n, 0.5, 0.1)[1] >= cover - slack


def test_covers_of_the_table():
    _, upper = theory.cover_bounds("uniform", [10, 12, 13], 0.5, 0.1)
    np.testing.assert_allclose(upper, [0.980221, 0.993151, 0.996003], atol=6e-7)
    _, upper = theory.cover_bounds("uniform", [4, 5, 6, 7], 0.5, 0.01)
    np.testing.assert_allclose(upper, [0.0, 0.0, 0.494811, 0.87931], atol=6e-6)


def test_random_targets():
    ns = [8, 12]
    lower, upper = theory.target_bounds("uniform", ns, None, 0.01)
    assert np.all(lower < [0.70591, 0.97669])
    assert np.all(upper > [0.70591, 0.97669])


@pytest.mark.parametrize("law", subset_sums.PART_ERROR)
def test_few_targets_stand_for_a_part(law):
    few, many = (subset_sums._targets(None, 0.03, n) for n in (subset_sums.PART_NODES, 8))
    for part in (1, 2):  # beside the logarithm
        means = [subset_sums._second(law, 4, x[part], w[part], 0.03) for x, w in (few, many)]
        found = [subset_sums._mean(law, 4, mean) for mean in means]
        np.testing.assert_allclose(*found, rtol=subset_sums.PART_ERROR[law])


@pytest.mark.parametrize("eps", [0.03, 0.12])
def test_few_targets_stand_for_the_widest_part_of_most_candidates(eps):
    n = subset_sums.MOST_PAIRED
    few, many = (subset_sums._targets(None, eps, m) for m in (subset_sums.PART_NODES, 8))
    widest = int(np.argmax(np.sum(few[1], axis=1)))
    means = [subset_sums._second("uniform", n, x[widest], w[widest], eps) for x, w in (few, many)]
    for found, known in zip(*(subset_sums._given("uniform", n, m) for m in means), strict=True):
        np.testing.assert_allclose(found, known, rtol=subset_sums.PART_ERROR["uniform"])


@pytest.mark.parametrize("law", subset_sums.LAWS)
def test_bounds_are_ordered_and_rise(law):
    ns = np.arange(16)
    lower, upper = theory.target_bounds(law, ns, 0.5, 0.05, largest=40)
    assert np.all((lower >= 0.0) & (lower <= upper) & (upper <= 1.0))
    assert np.all(np.diff(lower) >= 0.0)
    assert np.all(np.diff(upper) >= 0.0)
    _, cover = theory.cover_bounds(law, ns, 0.5, 0.05)
    assert np.all(cover >= 0.0)
    assert np.all(cover <= 1.0)
    at_zero = theory.target_bounds(law, ns, 0.05, 0.05, largest=40)
    assert np.all(np.array(at_zero) == 1.0)  # the empty subset, to its edge
    assert np.all(np.array(theory.cover_bounds(law, ns, 0.05, 0.05)) == 1.0)


def test_nothing_beyond_all_sums():
    for law in ("uniform", "product"):
        assert theory.target_bounds(law, 3, 3.2, 0.1)[1] <= 1e-12
        assert theory.first_moment(law, 3, -3.2, 0.1) == pytest.approx(0.0, abs=1e-12)
        assert theory.target_bounds(law, 0, 0.5, 0.1)[1] == 0.0
        assert theory.first_moment(law, 0, 0.05, 0.1) == 1.0


def test_bad_input_is_one_line():
    for call, word in (
        (lambda: theory.first_moment("cauchy", 3, 0.5, 0.1), "law"),
        (lambda: theory.first_moment("hyperbolic", 3, 0.5, 0.1), "law"),
        (lambda: theory.second_moment("gaussian", 3, 0.5, 0.1), "law"),
        (lambda: theory.target_bounds("uniform", [-1], 0.5, 0.1), "ns"),
        (lambda: theory.target_bounds("uniform", 32, 0.5, 0.1), "ns"),
        (lambda: theory.target_bounds("uniform", 3, math.nan, 0.1), "t "),
        (lambda: theory.target_bounds("uniform", 3, 0.5, -0.1), "eps"),
        (lambda: theory.target_bounds("integer", 3, 0.5, 0.1), "largest"),
        (lambda: theory.out_of_reach("product", 3, 1.5), "c "),
        (lambda: theory.cover_bounds("uniform", 3, 2.0, 0.1), "a "),
        (lambda: theory.exact_success("uniform", 4, 0.5, 0.1), "n "),
        (lambda: theory.subset_tail("uniform", 4, 0.05, 0.1), "eps"),
        (lambda: theory.subset_tail("uniform", 4, 0.5, 0.0), "eps"),
        (lambda: theory.subset_tail("uniform", 4, 0.5, 0.1, draws=1), "draws"),
    ):
        with pytest.raises(InputError, match=rf"^{word}.*\.$"):
            call()


# Counting, and what is no bound.


def test_counting_in_one_dimension():
    # 2^b intervals of length 2 eps on one of length 2, which they may just fill.
    for bits, eps in ((0, 0.1), (3, 0.1), (3, 1 / 8), (4, 0.1)):
        expected = min(1.0, 2.0**bits * eps)
        assert theory.neuron_counting_bound(bits, 1, eps) == pytest.approx(expected)
        assert theory.layer_counting_bound(bits, 1, eps) == pytest.approx(expected)
    np.testing.assert_array_equal(theory.least_bits(1, [1 / 8, 0.1, 1.0]), [3, 4, 0])


def test_counting_bounds_hold_of_the_best_balls():
    # 2^b centers on a grid do no better: in two dimensions, of random targets.
    rng = np.random.default_rng(0)
    w = rng.uniform(-1.0, 1.0, (TRIALS, 2)) / math.sqrt(2.0)
    centers = (
        (np.stack(np.meshgrid(*[np.arange(4)] * 2), -1).reshape(-1, 2) - 1.5) / 4 * math.sqrt(2)
    )
    near = np.min(np.linalg.norm(w[:, None] - centers, axis=-1), axis=1)
    for eps in (0.05, 0.15):
        served = int(np.sum(near <= eps))
        low, high = intervals.clopper_pearson(served, TRIALS, ERROR_RATE)
        bound = theory.neuron_counting_bound(4, 2, eps)
        assert low <= bound <= high  # discs that do not touch and lie in the cube: equality
        assert theory.neuron_counting_bound(3, 2, eps) < low


def test_least_bits_are_least():
    for dim, eps, delta in ((2, 0.1, 0.05), (16, 0.1, 0.05), (64, 0.01, 0.5)):
        bits = theory.least_bits(dim, eps, delta)
        assert theory.neuron_counting_bound(bits, dim, eps) >= 1.0 - delta
        assert theory.neuron_counting_bound(bits - 1, dim, eps) < 1.0 - delta


def test_the_slopes_of_a_poisson_law():
    bits = np.arange(4, 15)
    target = [theory.poisson_heuristic("uniform", 0.5, 2.0**-b) for b in bits]
    cover = [theory.poisson_cover_heuristic("uniform", 0.5, 2.0**-b) for b in bits]
    for b, n in zip(bits[[0, -1]], (target[0], target[-1]), strict=True):
        below, above = theory.first_moment("uniform", [int(n), int(n) + 1], 0.5, 2.0**-b)
        assert below <= math.log(2.0) <= above
    assert 1.04 < np.polyfit(bits, target, 1)[0] < 1.08
    assert 1.20 < np.polyfit(bits, cover, 1)[0] < 1.25
    with pytest.raises(InputError, match="eps"):
        theory.poisson_heuristic("uniform", 0.5, 2.0**-60)


# Tails.


@pytest.mark.parametrize("law", ["uniform", "product"])
@pytest.mark.parametrize(("n", "eps"), [(3, 0.1), (6, 0.03), (9, 0.1), (9, 0.002)])
def test_misses_given_the_sizes_are_those_of_all_signs(law, n, eps):
    t, seen = 0.45, 0
    for k, seed in ((k, seed) for k in range(3) for seed in range(4)):
        rng = np.random.default_rng(seed)
        (sizes,) = subset_tails._with_jump(law, n, k, eps, 1, rng)
        # Whether each sum of positive candidates comes to t, and whether some subset is near it.
        every = np.sort(sums(sizes[None])[0])
        below = every - t
        near = np.array([np.min(np.abs(every - b)) for b in below]) <= eps
        missed = np.mean((below > -eps) & ~near)
        assert subset_tails._chance(sizes, t, eps) == missed
        seen += missed > 0.0
        ascending = np.sort(sizes)
        assert ascending[k] > np.sum(ascending[:k]) + 2.0 * eps  # what was to be drawn
        assert np.all(ascending[:k] == np.sort(sizes[:k]))
    assert seen > 0


def test_jumps_of_uniform_sizes():
    # (1 - 2 eps)^n / k!, and in the mean as many as are counted.
    expected = 0.8**12 / special.factorial(np.arange(12))
    np.testing.assert_allclose(subset_tails._jumps("uniform", 12, 0.1), expected, rtol=1e-9)
    assert np.all(subset_tails._jumps("uniform", 12, 0.5) == 0.0)


@pytest.mark.parametrize("law", ["uniform", "product"])
def test_jumps_are_as_many_as_are_counted(law):
    n, eps = 5, 0.04
    ascending = np.sort(np.abs(draw(law, TRIALS, n)), axis=1)
    jump = ascending > np.cumsum(ascending, axis=1) - ascending + 2.0 * eps
    found = subset_tails._jumps(law, n, eps)
    assert intervals.detectable_gap(TRIALS, ERROR_RATE, ERROR_RATE) < 0.04
    for k in range(n):
        low, high = intervals.clopper_pearson(int(np.sum(jump[:, k])), TRIALS, ERROR_RATE / n)
        assert low <= found[k] <= high
    wrong = subset_tails._jumps(law, n, 2.0 * eps)[0]
    low, _ = intervals.clopper_pearson(int(np.sum(jump[:, 0])), TRIALS, ERROR_RATE)
    assert wrong < low


@pytest.mark.parametrize(
    ("law", "n", "eps"),
    [("uniform", 10, 0.1), ("uniform", 10, 0.03), ("product", 10, 0.03), ("side", 8, 0.1)],
)
def test_the_tail_is_what_is_counted(law, n, eps):
    failed = int(np.sum(hits(law, n, 0.5, eps) == 0))
    low, high = intervals.clopper_pearson(failed, TRIALS, ERROR_RATE)
    odds = theory.subset_tail(law, n, 0.5, eps)
    assert odds.error < 0.06 * odds.failure
    assert low - 5 * odds.error <= odds.failure <= high + 5 * odds.error
    wrong = theory.subset_tail(law, n, 0.5, eps / 8.0)
    assert wrong.failure - 5 * wrong.error > high + 5 * odds.error


# Failure in reach at t = 1/2, and its standard error, of 15,000 to 100,000 draws of the seed 1000.
LONG = {
    ("uniform", 6, 0.05): (0.137202, 8.7e-4),
    ("product", 6, 0.02): (0.179051, 8.6e-4),
    ("side", 4, 0.1): (0.0608263, 4.7e-4),
    ("uniform", 10, 0.1): (1.10349e-3, 1.33e-5),
    ("uniform", 10, 0.03): (0.0134127, 7.4e-5),
}


@pytest.mark.slow
@pytest.mark.parametrize(("law", "n", "eps"), LONG)
def test_the_error_of_the_tail_is_honest(law, n, eps):
    draws, repeats = 60, 300
    long, long_error = LONG[law, n, eps]
    out = theory.out_of_reach(law, n, 0.5 - eps)
    found = [theory.subset_tail(law, n, 0.5, eps, draws, seed) for seed in range(repeats)]
    failure, error = (np.array([getattr(o, name) for o in found]) for name in ("failure", "error"))
    assert np.all(error > 0.0)
    # A false alarm needs that 2 errors, which are to cover 93 % or more, cover fewer than
    # `least`; errors of half the size cover 68 % and would be noticed.
    least = int(stats.binom.ppf(ERROR_RATE, repeats, 0.93))
    assert stats.binom.sf(least - 1, repeats, 0.70) < ERROR_RATE
    off = np.abs(failure - out - long)
    assert np.sum(off <= 2.0 * error + long_error) >= least
    if law == "product":  # elsewhere so few draws are often answered by the proved bound
        assert np.sum(off <= error + long_error) < least
    # And the mean of all repetitions is the truth; one that is off by a half is not.
    spread = 5.0 * math.hypot(np.std(failure) / math.sqrt(repeats), long_error)
    assert abs(np.mean(failure - out) - long) <= spread < 0.25 * long
    assert abs(np.mean(failure - out) - 1.5 * long) > spread


def test_where_few_misses_are_drawn_the_error_is_proved():
    # Two draws show too little, whatever they contain.
    odds = theory.subset_tail("uniform", 10, 0.5, 0.1, draws=2)
    out = theory.out_of_reach("uniform", 10, 0.4)
    beyond = 1.0 - theory.out_of_reach("uniform", 10, 0.6)
    assert odds.error == pytest.approx(min(0.8**10 * math.e, beyond), rel=1e-6)
    assert odds.failure - odds.error <= out + LONG["uniform", 10, 0.1][0] <= out + odds.error
    # At 30 candidates and a wide window next to nothing is in reach and missed, by proof.
    odds = theory.subset_tail("uniform", 30, 0.5, 0.4)
    np.testing.assert_allclose(odds.failure, theory.out_of_reach("uniform", 30, 0.1), rtol=1e-12)
    assert odds.error == pytest.approx(0.2**30 * math.e, rel=1e-6)
    assert theory.subset_tail("uniform", 5, 0.8, 0.6).error == 0.0  # no gap is that wide


def test_the_tail_of_thirty_candidates():
    odds = theory.subset_tail("uniform", 30, 0.5, 0.03, draws=100)
    assert odds.failure < 1e-6
    assert 0.0 < odds.error < 0.1 * odds.failure
