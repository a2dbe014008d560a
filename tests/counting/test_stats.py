"""Intervals and bands, their coverage computed exactly from the binomial law."""

from math import comb

import numpy as np
import pytest
from scipy import special

from ltjax.counting import intervals

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test


def binomial_law(n, p):
    return np.array([comb(n, s) * p**s * (1 - p) ** (n - s) for s in range(n + 1)])


@pytest.mark.parametrize("n", [1, 7, 40])
@pytest.mark.parametrize("p", [0.003, 0.2, 0.5, 0.97])
def test_clopper_pearson_covers_at_either_end(n, p):
    low, high = intervals.clopper_pearson(np.arange(n + 1), n, 0.1)
    law = binomial_law(n, p)
    assert law[low > p].sum() <= 0.05
    assert law[high < p].sum() <= 0.05


def test_the_coverage_check_rejects_the_textbook_interval():
    # p +- 1.645 standard errors, at s = 0 a point: 0.985^40 = 55 % of the samples miss p.
    n, p = 40, 0.015
    rate = np.arange(n + 1) / n
    reach = 1.645 * np.sqrt(rate * (1 - rate) / n)
    assert binomial_law(n, p)[(rate - reach > p) | (rate + reach < p)].sum() > 0.5


def test_clopper_pearson_solves_its_equations():
    # By definition P(S >= s | low) = P(S <= s | high) = alpha / 2.
    n, s, alpha = 23, 17, 0.01
    low, high = intervals.clopper_pearson(s, n, alpha)
    assert binomial_law(n, float(low))[s:].sum() == pytest.approx(alpha / 2, rel=1e-9)
    assert binomial_law(n, float(high))[: s + 1].sum() == pytest.approx(alpha / 2, rel=1e-9)


def test_clopper_pearson_ends_exactly():
    low, high = intervals.clopper_pearson([0, 12], 12, 0.05)
    # (1 - high)^n = alpha / 2 when nothing succeeds, and the mirror image.
    np.testing.assert_allclose(low, [0.0, 0.025 ** (1 / 12)], rtol=1e-12, atol=0)
    np.testing.assert_allclose(high, [1 - 0.025 ** (1 / 12), 1.0], rtol=1e-12, atol=0)
    assert low[0] == 0.0
    assert high[1] == 1.0


def log_mixture(s, n):
    return special.betaln(s + 0.5, n - s + 0.5) - special.betaln(0.5, 0.5)


def test_the_mixture_is_a_martingale():
    # p M_(n+1)(s+1) + (1-p) M_(n+1)(s) = M_n(s); the powers of p cancel and leave
    # mixture(s+1, n+1) + mixture(s, n+1) = mixture(s, n).
    for n in range(9):
        s = np.arange(n + 1)
        after = np.exp(log_mixture(s + 1, n + 1)) + np.exp(log_mixture(s, n + 1))
        np.testing.assert_allclose(after, np.exp(log_mixture(s, n)), rtol=1e-12)


def test_anytime_ends_where_the_martingale_reaches_its_bar():
    s, n, alpha = np.array([3, 40, 99]), 100, 0.02
    for end in intervals.anytime(s, n, alpha):
        log_martingale = log_mixture(s, n) - s * np.log(end) - (n - s) * np.log1p(-end)
        np.testing.assert_allclose(log_martingale, -np.log(alpha), rtol=1e-9)


def test_anytime_ends_are_rounded_outward():
    s, n = np.arange(1, 200), 200
    bar = log_mixture(s, n) + np.log(0.05)
    for end in intervals.anytime(s, n, 0.05):
        assert np.all(special.xlogy(s, end) + special.xlog1py(n - s, -end) < bar)


def ever_missed(interval, p, looks, alpha):
    """P(p lies outside the interval after some trial 1, ..., looks), by dynamic programming."""
    alive, missed = np.ones(1), 0.0
    for n in range(1, looks + 1):
        alive = np.append(alive, 0.0) * (1 - p) + np.append(0.0, alive) * p
        low, high = interval(np.arange(n + 1), n, alpha)
        out = (low > p) | (high < p)
        missed += alive[out].sum()
        alive = np.where(out, 0.0, alive)
    return missed


@pytest.mark.parametrize("p", [0.02, 0.4, 0.95])
def test_anytime_survives_looking_after_every_trial(p):
    assert ever_missed(intervals.anytime, p, 400, 0.05) <= 0.05
    assert (
        ever_missed(intervals.clopper_pearson, p, 400, 0.05) > 0.05
    )  # the fixed interval does not


def test_anytime_contains_the_estimate_and_the_fixed_interval():
    s, n = np.arange(0, 51), 50
    (low, high), (inner_low, inner_high) = (
        intervals.anytime(s, n, 0.05),
        intervals.clopper_pearson(s, n, 0.05),
    )
    assert np.all(low <= inner_low)
    assert np.all(high >= inner_high)
    assert low[0] == 0.0
    assert high[-1] == 1.0
    assert intervals.anytime(0, 0, 0.05) == (0.0, 1.0)


def test_dkw_values():
    np.testing.assert_allclose(
        intervals.dkw([1e3, 1e4, 1e5], 0.05), [0.0429, 0.0136, 0.0043], atol=5e-5
    )


@pytest.mark.parametrize("n", [5, 100, 1000])
def test_dkw_holds_for_the_exact_law(n):
    # smirnov is the exact law of the one-sided distance, for continuous laws the worst case.
    alpha = 0.05
    assert 2 * special.smirnov(n, float(intervals.dkw(n, alpha))) <= alpha
    assert special.kolmogorov(0.9 * float(intervals.dkw(10**6, alpha)) * 10**3) > alpha


def test_detectable_gap_detects():
    # Accept p when the rate is within one radius of it: both errors from the exact binomial law.
    n, p, alpha, beta = 400, 0.5, 0.01, 0.02
    wrong = p + float(intervals.detectable_gap(n, alpha, beta))
    accepted = np.abs(np.arange(n + 1) / n - p) <= intervals.hoeffding(n, alpha)
    assert binomial_law(n, p)[~accepted].sum() <= alpha
    assert binomial_law(n, wrong)[accepted].sum() <= beta


def test_width_interval_where_the_grid_reaches():
    widths, band = [10, 20, 30, 40, 50], intervals.dkw_band([0, 10, 500, 990, 1000], 1000, 0.05)
    # The half width is 0.0429: at 30 the band is [0.457, 0.543], at 40 [0.947, 1].
    assert intervals.width_interval(widths, band, 0.9) == (40, 31, 40)
    assert intervals.width_interval(widths, band, 0.5) == (30, 21, 40)


def test_width_interval_where_it_does_not():
    band = intervals.dkw_band([500, 600], 1000, 0.05)
    assert intervals.width_interval([10, 20], band, 0.9) == (None, 21, None)
    assert intervals.width_interval([10, 20], band, 0.52) == (20, None, 20)
    assert intervals.width_interval([10, 20], band, 0.4) == (10, None, 10)


def test_an_end_at_the_level_reaches_it():
    levels = [np.array([at, 0.9, 1.0]) for at in (0.5, 0.4)]
    high = intervals.Band(*levels, np.array([0.9, 0.9, 1.0]))
    assert intervals.width_interval([10, 20, 30], high, 0.9) == (20, None, 20)
    below = high._replace(high=np.nextafter(high.high, 0.0))
    assert intervals.width_interval([10, 20, 30], below, 0.9) == (20, 21, 20)


def test_width_interval_covers():
    # First-hit widths of a geometric law: the truth is the smallest k with 1 - 0.97^k >= 0.8.
    trials, runs, alpha, widths = 200, 4000, 0.2, np.arange(1, 200)
    truth = int(np.ceil(np.log(0.2) / np.log(0.97)))
    hits = np.random.default_rng(1).geometric(0.03, (runs, trials))
    missed = {"dkw": 0, "half": 0}
    for hit in hits:
        band = intervals.dkw_band(
            np.searchsorted(np.sort(hit), widths, side="right"), trials, alpha
        )
        middle = band.measured
        half = intervals.Band(middle, (middle + band.low) / 2, (middle + band.high) / 2)
        for name, candidate in (("dkw", band), ("half", half)):
            _, low, high = intervals.width_interval(widths, candidate, 0.8)
            missed[name] += not (low or 0) <= truth <= (high or np.inf)
    low, _ = intervals.clopper_pearson(missed["dkw"], runs, ERROR_RATE)
    assert low <= alpha
    # A band half as wide must miss more often: the check can see a band that is too narrow.
    assert missed["half"] > missed["dkw"] + 5 * np.sqrt(runs)


def test_impossible_counts_are_named():
    with pytest.raises(ValueError, match="successes must lie between 0 and trials, got 5 of 4"):
        intervals.clopper_pearson([1, 5], 4, 0.05)


def test_the_needed_width_of_nested_draws_needs_no_band():
    # A curve that lingers at 0.89 for 99 widths before it passes 0.9: its interval from single
    # widths misses in at most 5 % of repeats if the widths are counted in the same draws. Control:
    # counted in fresh draws at each width, some width misleads far more often.
    repeats, draws, widths = 4000, 200, np.arange(1, 121)
    law = np.where(widths < 100, 0.89, 0.97)
    rng = np.random.default_rng(5)
    low, high = intervals.clopper_pearson(np.arange(draws + 1), draws, 0.05)

    def misses(fresh):
        for _ in range(repeats):
            draw = rng.uniform(size=(draws, len(widths) if fresh else 1))
            counts = np.sum(draw < law, axis=0)
            band = intervals.Band(counts / draws, low[counts], high[counts])
            found = intervals.width_interval(widths, band, 0.9)
            yield not (found.low or 0) <= 100 <= (found.high or np.inf)

    reach = intervals.hoeffding(repeats, 2 * ERROR_RATE)  # one-sided
    assert np.mean(list(misses(fresh=False))) <= 0.05 + reach
    assert np.mean(list(misses(fresh=True))) > 0.05 + 2 * reach


def test_power_law_of_exact_numbers():
    x = np.array([1.0, 2.0, 3.0, 7.0])
    law = intervals.power_law(x, 5 * x**1.7, 5 * x**1.7, 5 * x**1.7)
    np.testing.assert_allclose(law, [5.0, 1.7, 1.7, 1.7], rtol=1e-12)


def test_power_law_is_the_line_of_least_squares():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(1, 9, 6), rng.uniform(1, 9, 6)
    law = intervals.power_law(x, y, y, y)
    slope, intercept = np.polyfit(np.log(x), np.log(y), 1)
    np.testing.assert_allclose([law.exponent, np.log(law.scale)], [slope, intercept], rtol=1e-9)


def test_its_interval_is_the_range_over_all_values_within_theirs():
    # The slope is linear in ln y, so its range over a box is attained in corners: try all 2^4.
    x, low, high = [1, 2, 4, 16], np.array([2, 3, 9, 20.0]), np.array([4, 5, 11, 90.0])
    law = intervals.power_law(x, (low + high) / 2, low, high)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(4, -1)
    slopes = np.polyfit(np.log(x), np.log(corners), 1)[0]
    np.testing.assert_allclose([law.low, law.high], [slopes.min(), slopes.max()], rtol=1e-9)
    assert law.low < law.exponent < law.high


def test_one_place_has_no_exponent():
    assert np.isnan(intervals.power_law([3, 3], [2, 5], [1, 4], [3, 6])[1:]).all()


def test_an_open_interval_opens_that_of_the_exponent():
    # The middle one of three places does not tilt the line.
    open_end = intervals.power_law([1, 2, 4], [3, 4, 5], [3, 0, 5], [3, np.inf, 5])
    assert open_end.low == pytest.approx(open_end.exponent) == open_end.high
    beyond = intervals.power_law([1, 2, 4], [3, 4, np.nan], [2, 3, 5], [3, 4, np.inf])
    assert np.isnan(beyond.exponent)
    assert (beyond.low > 0, beyond.high) == (True, np.inf)
