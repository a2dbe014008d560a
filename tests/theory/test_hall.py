"""What distinct neurons cost: exact arithmetic, quadrature, largest matchings of drawn graphs."""

from decimal import Decimal, localcontext
from itertools import combinations, pairwise
from math import comb
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

import ltjax
from ltjax import theory
from ltjax.counting import intervals
from ltjax.theory import hall, prediction

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
DATA = Path(__file__).parents[2] / "figures" / "data"


def worst(dim):
    return np.full(dim, dim**-0.5)


# By definition, in decimals.


def integral(factors, cuts):
    """Integral over a of a product of c_0 + c_1 / a, by pieces; `factors` of a piece's middle."""
    total = Decimal(0)
    for low, high in pairwise(cuts):
        powers = [Decimal(1)]
        for first, second in factors((low + high) / 2):
            longer = [first * c for c in powers] + [Decimal(0)]
            powers = [c + second * p for c, p in zip(longer, [0, *powers], strict=True)]
        areas = [high - low, (high / low).ln()]
        areas += [(low ** (1 - j) - high ** (1 - j)) / (j - 1) for j in range(2, len(powers))]
        total += sum(c * area for c, area in zip(powers, areas, strict=False))
    return total


def chances(ts, eta, stands=Decimal("0.5")):
    """r_1 and r_2 of the slots `ts`: q is 1/2 - (t - eta)/(2a) for a below t + eta, then eta/a."""

    def hits(a):
        for t in ts:
            low, high = t - eta, t + eta
            yield (0, 0) if a < low else (Decimal("0.5"), -low / 2) if a < high else (0, eta)

    misses = lambda a: [(1 - first, -second) for first, second in hits(a)]
    one = lambda i: (
        lambda a: [
            hit if j == i else miss
            for j, (hit, miss) in enumerate(zip(hits(a), misses(a), strict=True))
        ]
    )
    ends = {end for t in ts for end in (t - eta, t + eta) if end < 1}
    cuts = [*sorted(ends), Decimal(1)]
    never = cuts[0]  # below the first cut nothing is met
    none = never + integral(misses, cuts)
    alone = sum(integral(one(i), cuts) for i in range(len(ts)))
    return stands * (1 - none), stands * (1 - none - alone)


def below(m, trials, p):
    """P(binomial(trials, p) < m); Decimal knows no 0^0."""
    return (
        Decimal(m > 0)
        if p == 0
        else sum(
            comb(trials, j) * p**j * (1 - p) ** (trials - j) for j in range(min(m, trials + 1))
        )
    )


def definition(weights, eta, k):
    """The bounds of `hall`, from below and above, set by set."""
    ts, eta = [Decimal(abs(float(w))) for w in weights], Decimal(eta)
    n, sets = len(ts), {}
    for s in range(1, n + 1):
        sets[s] = [chances(chosen, eta) for chosen in combinations(ts, s)]
    [(every, _)] = sets[n]
    plain, cut = Decimal(0), [below(m, k, every) for m in range(n, n + 4)]
    for s in range(2, min(n, k + 1) + 1):
        rarest = min(r_1 for r_1, _ in sets[s])
        other, left = (every - rarest) / (1 - rarest), k - s + 1
        terms = sum(comb(k, s - 1) * r_2 ** (s - 1) * (1 - r_1) ** left for r_1, r_2 in sets[s])
        plain += terms
        cut = [c + terms * (1 - below(n + i - s + 1, left, other)) for i, c in enumerate(cut)]
    short = below(n, k, every)
    empty = sum(
        (1 - r) ** k * (below(n, k, (every - r) / (1 - r)) + below(n, k, every / (1 - r)))
        for r, _ in sets[1]
    )
    least = max(2 * (short - empty) - short**2, 0)
    return float(least), float(min(1, 2 * min(plain, *cut)))


@pytest.mark.parametrize(
    ("weights", "eta"),
    [
        ((0.5, -0.3, 0.2), 0.05),
        ((0.5, -0.3, 0.2), 0.19),
        ((0.4, 0.4, -0.3, 0.4), 0.29),
        ((0.5, 0.5, 0.5, -0.5), 0.25),
        ((0.7, -0.7), 0.01),
        ((0.97, 0.99), 0.2),
    ],
)
@pytest.mark.parametrize("k", [1, 2, 5, 12, 60, 400])
def test_every_set_is_counted_as_the_definition_has_it(weights, eta, k):
    found = theory.unmatched(weights, eta, k)
    with localcontext(prec=60):
        least, most = definition(weights, eta, k)
    np.testing.assert_allclose(found.most, most, rtol=1e-12)
    np.testing.assert_allclose(found.least, least, rtol=0, atol=1e-13)


@pytest.mark.parametrize("k", [10**5, 10**6, 2 * 10**7])
def test_a_small_sum_of_a_wide_network_keeps_its_digits(k):
    weights, eta = (0.7, -0.6), 1e-4
    with localcontext(prec=60):
        r_1, r_2 = chances([Decimal(abs(w)) for w in weights], Decimal(eta))
        expected = float(2 * k * r_2 * (1 - r_1) ** (k - 1))
    np.testing.assert_allclose(theory.unmatched(weights, eta, k).most, expected, rtol=1e-12)


def test_chances_of_many_equal_slots_match_quadrature():
    t, eta = 0.125, 0.0125
    sets, (low, high) = hall._sets(np.full(64, t), eta)
    np.testing.assert_array_equal(sets.size, np.arange(2, 65))
    assert low == high == sets.met[-1]
    for s in (2, 5, 30, 64):
        given = lambda a, least, s=s: stats.binom.sf(
            least - 1, s, float(theory.hit_probability(a, np.array([t]), eta)[0])
        )
        for least, found in ((1, sets.met), (2, sets.twice)):
            pieces = pairwise((t - eta, t + eta, 1.0))
            expected = sum(
                integrate.quad(given, *ends, (least,), epsabs=0, epsrel=1e-12)[0] for ends in pieces
            )
            np.testing.assert_allclose(found[s - 2], expected / 2, rtol=1e-11)
    np.testing.assert_allclose(sets.log_number[[0, 30]], np.log([comb(64, 2), comb(64, 32)]))


def test_classes_of_neighbours_bound_what_every_set_would_give(monkeypatch):
    weights, eta, ks = np.linspace(0.2, 0.3, 10), 0.05, np.array([30, 60, 90, 200])
    every = theory.unmatched(weights, eta, ks)
    monkeypatch.setattr(hall, "MOST_TERMS", 100)
    coarse = theory.unmatched(weights, eta, ks)
    assert len(hall._classes(weights)) == 3
    assert np.all(coarse.most >= every.most)
    assert np.all(coarse.least <= every.least)
    assert np.all(coarse.most[1:] < 10 * every.most[1:])
    assert np.all(every.most[1:] < 1)


@pytest.mark.parametrize("count", [17, 40, 700])
def test_many_uneven_weights_are_few_classes(count):
    sizes = np.linspace(0.1, 0.2, count)
    classes = hall._classes(sizes)
    np.testing.assert_array_equal(np.concatenate(classes), sizes)
    assert np.prod([len(members) + 1.0 for members in classes]) <= hall.MOST_TERMS
    found = theory.unmatched(sizes, 0.05, [[3 * count, 200 * count]])
    assert found.most.shape == (1, 2)
    assert found.most[0, 0] > found.most[0, 1]
    assert found.most[0, 1] < 1e-3


def test_nothing_is_lost_where_nothing_can_be():
    for weights in ((0.01, -0.02), (0.7,)):
        found = theory.unmatched(weights, 0.05, [1, 9, 300])
        np.testing.assert_array_equal(found.least, 0.0)
        np.testing.assert_array_equal(found.most, 0.0)


def test_a_sum_beyond_the_doubles_says_nothing():
    found = theory.unmatched(worst(2048), theory.tolerance("tight", 2048, 0.1), [5000, 20_000])
    np.testing.assert_array_equal(found.most > 1e-60, [True, False])
    assert found.most[0] == 1.0


# Against maximum matchings.


def unmatched_graphs(weights, eta, k, trials, at_once=500):
    """In how many networks every slot is met and yet the largest matching leaves one out."""
    rng, weights, lost = np.random.default_rng(7), np.asarray(weights), 0
    active = np.abs(weights) > eta
    for _ in range(trials // at_once):
        output = rng.uniform(-1, 1, (at_once, k, 1))
        hidden = rng.uniform(-1, 1, (at_once, k, len(weights)))
        near = (np.abs(output * hidden - weights) <= eta)[..., active]
        side = hidden[..., active] > 0
        # Many networks are one graph of as many parts.
        n, j, slot = np.nonzero(np.concatenate([near & side, near & ~side], axis=-1))
        slots = 2 * int(active.sum())
        edges = np.ones(len(n), np.int8), (n * slots + slot, n * k + j)
        graph = csr_array(edges, (at_once * slots, at_once * k))
        met = (np.diff(graph.indptr) > 0).reshape(at_once, slots).all(axis=1)
        matched = (maximum_bipartite_matching(graph, "column") >= 0).reshape(at_once, slots)
        lost += int(np.sum(met & ~matched.all(axis=1)))
    return lost


def without_its_factor(ts, eta, k):
    """Hall's sum, were it known which neurons serve."""
    found = [
        (s, *chances(chosen, eta)) for s in range(2, len(ts) + 1) for chosen in combinations(ts, s)
    ]
    return 2 * sum(r_2 ** (s - 1) * (1 - r_1) ** (k - s + 1) for s, r_1, r_2 in found)


def halves_joined(ts, eta, k):
    """Hall's sum, were all 2n slots open to every neuron."""
    both = [*ts, *ts]
    return sum(
        comb(k, s - 1) * r_2 ** (s - 1) * (1 - r_1) ** (k - s + 1)
        for s in range(2, len(both) + 1)
        for r_1, r_2 in [chances(chosen, eta, Decimal(1)) for chosen in combinations(both, s)]
    )


@pytest.mark.parametrize(
    ("weights", "eta", "k", "about"),
    [
        ((0.7, -0.6), 0.4, 16, 0.039),
        ((0.5, -0.4, 0.3), 0.25, 16, 0.058),
        ((0.5, -0.5, 0.5, 0.5), 0.25, 20, 0.098),
    ],
)
def test_few_slots_are_left_unmatched_as_rarely_as_promised(weights, eta, k, about):
    trials = 60_000
    bounds = theory.unmatched(weights, eta, k)
    with localcontext(prec=30):
        asked = [Decimal(abs(w)) for w in weights], Decimal(eta), k
        wrong = [float(f(*asked)) for f in (without_its_factor, halves_joined)]
    # The design first: what is to be told apart from the rate that is seen.
    assert about - max(wrong) > intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    count = unmatched_graphs(weights, eta, k, trials)
    low, high = intervals.clopper_pearson(count, trials, ERROR_RATE)
    assert low <= about <= high
    assert low <= bounds.most
    assert high >= bounds.least
    assert low > max(wrong)


@pytest.mark.parametrize(("dim", "k"), [(32, 80), (64, 150)])
def test_a_crowd_is_left_unmatched_as_often_as_promised(dim, k):
    trials, eta = 3000, theory.tolerance("tight", dim, 0.5)
    bounds = theory.unmatched(worst(dim), eta, k)
    gap = intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    # Where two inputs may share a neuron nothing is lost; and one half alone would lose half.
    assert bounds.least > gap
    assert bounds.least - 0.5 * bounds.most > 0.5 * gap
    count = unmatched_graphs(worst(dim), eta, k, trials)
    low, high = intervals.clopper_pearson(count, trials, ERROR_RATE)
    assert low <= bounds.most
    assert high >= bounds.least
    assert low > 0.5 * bounds.most


# Against what was counted.


@pytest.mark.parametrize("dim", [2, 4, 8, 16, 32, 64])
def test_counted_curves_lie_between_both_ends(dim):
    tally = ltjax.load([DATA / f"width-d{dim}.jsonl"])
    cell = tally.criterion("pooled/tight"), slice(None), 0
    band = intervals.dkw_band(tally.certified[cell], tally.trials, ERROR_RATE)
    ends = ltjax.predict(tally.problem)["pooled/tight"]
    lower, upper = ends.lower[:, 0], ends.upper[:, 0]
    assert np.all(lower <= band.high)
    assert np.all(band.low <= upper)
    # Where success is above a half the ends meet; blocks, a ticket too, are far below.
    assert np.all(upper[upper > 0.5] - lower[upper > 0.5] < 0.03)
    ks = np.array(tally.problem.grid.widths)
    blocks = theory.blocks_odds(worst(dim), theory.tolerance("tight", dim, 0.1), ks).success
    gap = intervals.detectable_gap(tally.trials, ERROR_RATE, ERROR_RATE)
    assert np.max(lower - blocks) > gap
    assert not np.all(band.low <= blocks)


# Widths and curves.


@pytest.mark.parametrize("dim", [2, 3, 8, 16, 32, 40, 64])
@pytest.mark.parametrize("rule", ["slides", "tight"])
def test_the_width_of_a_pool_is_known_to_two_neurons(dim, rule):
    for epsilon in (0.5, 0.3, 0.1, 0.01):
        eta = theory.tolerance(rule, dim, epsilon)
        low, high = theory.pooled_width(worst(dim), eta, 0.05)
        assert 0 <= high - low <= 2
        lost = theory.unmatched(worst(dim), eta, [low - 1, low, high - 1, high])
        failure = theory.shared_odds(worst(dim), eta, [low - 1, low, high - 1, high]).failure
        assert (failure + lost.least)[0] > 0.05 >= (failure + lost.least)[1]
        assert (failure + lost.most)[2] > 0.05 >= (failure + lost.most)[3]


def test_pooled_bounds_are_those_of_shared_less_what_is_lost():
    weights, eta, ks = np.array([0.5, -0.3, 0.2]), 0.05, np.array([3, 60, 300])
    shared = prediction.shared_bounds(weights, eta, ks)
    lower, upper = prediction.pooled_bounds(weights, eta, ks, shared)
    lost, blocks = theory.unmatched(weights, eta, ks), theory.blocks_odds(weights, eta, ks).success
    np.testing.assert_array_equal(upper, np.maximum(blocks, shared[1] - lost.least))
    # Three neurons serve no six slots; then the sum says nothing, and then it says nearly all.
    np.testing.assert_array_equal(lower[[0, 1]] == blocks[[0, 1]], [True, False])
    np.testing.assert_allclose(lower[2], shared[0][2] - lost.most[2], rtol=1e-15)
    assert lower[2] > blocks[2] + 0.05
