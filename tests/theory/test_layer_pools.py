"""One pool for a whole layer: sums against their definition, both ends against drawn layers."""

from itertools import combinations, product
from math import comb

import numpy as np
import pytest
from scipy import integrate
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from ltjax import theory
from ltjax.counting import intervals
from ltjax.networks.targets import worst_target
from ltjax.theory import layer_pools, layers

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test

# Signs mixed, in rows and in columns; one weight falls under the zero rule.
UNEVEN = np.array([[0.5, -0.3], [0.2, 0.4], [-0.35, 0.07]])
ETA = 0.1


def slots_of(weights, eta, first):
    """(o, q, s) of every active slot."""
    sides = (1, -1) if first else (1,)
    return [(o, q, s) for (o, q), t in np.ndenumerate(weights) for s in sides if abs(t) > eta]


def together(weights, eta, one, other):
    """P(a neuron serves both slots), by adaptive quadrature over the weight that they share."""
    (o, q, s), (o2, q2, s2) = one, other
    t, t2 = weights[o, q], weights[o2, q2]
    p, p2 = theory.match_probability([t, t2], eta)
    if (o, q) == (o2, q2):
        return 0.0
    if o != o2 and q != q2:
        return p * p2

    def reach(shared, t, side):
        """P(a weight of this side brings the product of the two near t); of any side for None."""
        low, high = sorted(((t - eta) / shared, (t + eta) / shared))
        ends = (-1.0, 1.0) if side is None else (0.0, 1.0) if side > 0 else (-1.0, 0.0)
        return max(min(high, ends[1]) - max(low, ends[0]), 0.0) / 2.0

    def density(shared):
        if o == o2:  # A, and each W has its side
            return reach(shared, t, s) * reach(shared, t2, s2) / 2.0
        if shared * s < 0 or shared * s2 < 0:  # W, which has the side itself
            return 0.0
        return reach(shared, t, None) * reach(shared, t2, None) / 2.0

    cuts = sorted({abs(abs(x) + e) for x in (t, t2) for e in (-eta, eta)})
    halves = ((-1.0, 0.0, [-c for c in cuts]), (0.0, 1.0, cuts))
    return sum(
        integrate.quad(density, a, b, points=points, epsabs=1e-13, limit=200)[0]
        for a, b, points in halves
    )


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("k", [5, 40, 200])
def test_sums_over_slots_and_pairs_are_their_definition(first, k):
    slots = slots_of(UNEVEN, ETA, first)
    chance = {slot: float(theory.match_probability(UNEVEN[slot[:2]], ETA)) for slot in slots}
    one = sum((1 - p) ** k for p in chance.values())
    two = cost = wrong = 0.0
    for i, j in combinations(slots, 2):
        both = together(UNEVEN, ETA, i, j)
        neither = 1 - chance[i] - chance[j] + both
        two += neither**k
        cost += k * both * neither ** (k - 1)
        wrong += ((1 - chance[i]) * (1 - chance[j])) ** k
    sums = layer_pools._Sums(UNEVEN, ETA, first)
    np.testing.assert_allclose(sums.empty(k), (one, two), rtol=1e-9)
    np.testing.assert_allclose(sums.cost(k), cost, rtol=1e-9)
    assert layer_pools.matching_cost(UNEVEN, ETA, k, first) == sums.cost(k)
    # Pairs that share a weight are not independent, as this sum would have it.
    assert abs(wrong / two - 1) > 1e-4


def hits(weights, eta, set_):
    """Law of how many slots of a set a neuron serves, [0, 1, 2 or more]: one side, two inputs.

    By the midpoint rule over W; given W the outputs are independent.
    """
    w = (np.arange(800) + 0.5) / 800
    law = np.zeros((3, 800, 800))
    law[0] = 1.0
    for o in range(len(weights)):
        low, high = np.zeros((2, 800, 800)), np.zeros((2, 800, 800))
        for q, shared in enumerate((w[:, None], w[None])):
            if (o, q, 1) in set_:
                ends = (weights[o, q] + eta * np.array([[[-1]], [[1]]])) / shared
                low[q], high[q] = np.clip(ends, -1.0, 1.0)
        length = high - low
        both = np.maximum(np.minimum(*high) - np.maximum(*low), 0.0)
        two = np.where((length > 0).all(axis=0), both, 0.0) / 2.0
        some = length.sum(axis=0) / 2.0 - two
        none, once = 1.0 - some, some - two
        law = np.stack(
            [law[0] * none, law[1] * none + law[0] * once, law[2] + law[1] * some + law[0] * two]
        )
    # A quarter of all W have both signs right; where one has, only its own slots count.
    return law.mean(axis=(1, 2))


def signed_hits(weights, eta, set_):
    """The same over both signs of each W."""
    pick = lambda signs: [x for x in set_ if signs[x[1]]]
    cases = product((True, False), repeat=2)
    return np.mean([hits(weights, eta, pick(signs)) for signs in cases], axis=0)


def test_larger_sets_cost_no_more_than_their_bound():
    weights = np.array([[0.5, -0.3], [0.25, 0.4]])
    slots = slots_of(weights, ETA, first=False)
    laws = {
        set_: signed_hits(weights, ETA, set_) for n in (2, 3, 4) for set_ in combinations(slots, n)
    }
    sums = layer_pools._Sums(weights, ETA, first=False)
    for k in (40, 100, 300):
        exact = dict.fromkeys((2, 3, 4), 0.0)
        for set_, (none, _, more) in laws.items():
            s = len(set_)
            exact[s] += comb(k, s - 1) * more ** (s - 1) * none ** (k - s + 1)
        np.testing.assert_allclose(sums.cost(k), exact[2], rtol=2e-3)
        larger = exact[3] + exact[4]
        assert larger < sums.larger(k)
        # Nor is the bound so large that it says nothing.
        assert k < 100 or sums.larger(k) < 0.01


# Both ends, against layers that are drawn.


def drawn(weights, eta, k, first, trials, seed=5):
    """How many layers meet every slot, and how many give each a neuron of its own."""
    rng, met, own = np.random.default_rng(seed), 0, 0
    active = np.abs(weights) > eta
    n_out, n_in = weights.shape
    for batch in (trials // 20,) * 20:
        hidden = rng.uniform(-1, 1, (batch, 1, n_in, k))
        output = rng.uniform(-1, 1, (batch, n_out, 1, k))
        near = np.abs(output * hidden - weights[..., None]) <= eta
        sides = [near & (sign * hidden > 0) for sign in ((1, -1) if first else (1,))]
        serves = np.concatenate([side[:, active] for side in sides], axis=1)
        serves = serves[serves.any(axis=2).all(axis=1)]
        n, slots, _ = serves.shape
        at, slot, neuron = np.nonzero(serves)
        graph = (np.ones(len(at), np.int8), (at * slots + slot, at * k + neuron))
        matched = maximum_bipartite_matching(
            coo_array(graph, (n * slots, n * k)).tocsr(), perm_type="column"
        )
        met += n
        own += int((matched.reshape(n, slots) >= 0).all(axis=1).sum())
    return met, own


@pytest.mark.parametrize(("first", "k"), [(True, 300), (False, 300), (False, 200)])
def test_layers_drawn_succeed_between_the_two_ends(first, k):
    trials, eta = 20_000, 0.03
    ends = layer_pools.layer_pool_law(UNEVEN, eta, first)(k)
    lower, upper = float(ends.lower.success), float(ends.upper.success)
    wider, narrower = (
        layer_pools.layer_pool_law(UNEVEN, factor * eta, first)(k) for factor in (1.25, 0.8)
    )
    # The design first: tolerances off by a quarter are beyond the other end.
    gap = intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    assert lower - float(narrower.upper.success) > gap
    assert float(wider.lower.success) - upper > gap
    _, own = drawn(UNEVEN, eta, k, first, trials)
    low, high = intervals.clopper_pearson(own, trials, ERROR_RATE)
    assert lower <= high
    assert low <= upper
    assert float(narrower.upper.success) < low
    assert high < float(wider.lower.success)


@pytest.mark.parametrize(
    ("weights", "first", "eta", "k"),
    [
        ([[0.45, 0.6]], False, 0.3, 9),  # one output: A is shared
        ([[0.45], [-0.6]], False, 0.3, 9),  # one input: W is shared
        ([[0.45]], True, 0.4, 6),  # two sides of one weight
        ([[0.45, -0.6]], False, 0.3, 9),  # one output, and signs of A that exclude each other
    ],
)
def test_of_two_slots_both_sums_are_exact(weights, first, eta, k):
    weights, trials = np.array(weights), 400_000
    sums = layer_pools._Sums(weights, eta, first)
    one, two = sums.empty(k)
    p = np.repeat(theory.match_probability(weights, eta).ravel(), 1 + first)
    apart = one - np.prod((1 - p) ** k)  # as if the two were independent
    right, gap = 1 - (one - two), intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    assert abs(right - (1 - apart)) > gap
    met, own = drawn(weights, eta, k, first, trials)
    low, high = intervals.clopper_pearson(met, trials, ERROR_RATE)
    assert low <= right <= high
    assert not low <= 1 - apart <= high
    # Of two slots Hall's sum has one term, and it is no bound but the value.
    low, high = intervals.clopper_pearson(met - own, trials, ERROR_RATE)
    assert low <= sums.cost(k) <= high
    if sums.cost(k) > 0:
        assert sums.cost(k) > gap
        assert not low <= sums.cost(k) / 2 <= high


def test_matching_costs_what_it_does_in_leading_order():
    trials, k = 400_000, 60
    met, own = drawn(UNEVEN, ETA, k, True, trials)
    low, high = intervals.clopper_pearson(met - own, trials, ERROR_RATE)
    leading = layer_pools.matching_cost(UNEVEN, ETA, k, True)
    # A miss of one pair counts even where other slots are empty: more than the cost, up to twice.
    assert leading > intervals.detectable_gap(trials, ERROR_RATE, ERROR_RATE)
    assert low <= leading
    assert leading / 2 <= high
    assert not low <= leading / 2 <= high


# Limits.


def test_fewer_neurons_than_slots_make_no_ticket():
    ends = layer_pools.layer_pool_law(np.full((2, 3), 0.4), 0.3, True)([11, 12])
    np.testing.assert_array_equal(ends.upper.success > 0, [False, True])
    np.testing.assert_array_equal(ends.lower.failure[:1], 1.0)


def test_weights_within_eta_ask_for_nothing():
    ends = layer_pools.layer_pool_law([[0.02, -0.05]], 0.05, True)(np.array([0, 3]))
    for end in ends:
        np.testing.assert_array_equal(end.success, 1.0)
        np.testing.assert_array_equal(end.failure, 0.0)


def test_a_layer_of_one_weight_is_known():
    k, eta = np.array([20, 90, 400]), 0.05
    lower, upper = layer_pools.layer_pool_law([[0.6]], eta, True)(k)
    exact = theory.blocks_odds([0.6], eta, k)
    np.testing.assert_allclose(lower.success, exact.success, rtol=1e-9)
    np.testing.assert_allclose(upper.failure, exact.failure, rtol=1e-9)


@pytest.mark.parametrize("sizes", [(3, 2, 1), (4, 4, 4, 1)])
def test_ends_are_ordered_rise_and_hold_separate_blocks(sizes):
    target, k = worst_target(sizes), np.unique(np.geomspace(4, 20_000, 25).astype(int))
    etas = layers.slot_tolerance("tight", layers.shapes(target), 0.3)
    lower, upper = layer_pools.network_pool_law(target, etas)(k)
    counts = [weights.size for weights in target]
    separate = layers.network_law("separate", target, etas, counts)(k)
    assert np.all(separate.success <= lower.success * (1 + 1e-9))
    assert np.all(lower.success <= upper.success + 1e-12)
    assert np.all(upper.failure <= lower.failure * (1 + 1e-9))
    for end in (lower, upper):
        np.testing.assert_allclose(end.success + end.failure, 1.0, rtol=1e-9)
        assert np.all(np.diff(end.success) >= -1e-12)
    # Failure down to 1e-30, where the two are one.
    assert upper.failure[-1] < 1e-9
    np.testing.assert_allclose(lower.failure[-1], upper.failure[-1], rtol=1e-2)


def test_networks_are_layers_that_fail_independently():
    target, k = worst_target((3, 2, 1)), np.array([400, 900])
    etas = layers.slot_tolerance("tight", layers.shapes(target), 0.3)
    whole = layer_pools.network_pool_law(target, etas)(k)
    parts = [
        layer_pools.layer_pool_law(w, eta, i == 0)(k)
        for i, (w, eta) in enumerate(zip(target, etas, strict=True))
    ]
    for at, end in enumerate(whole):
        product = np.prod([part[at].success for part in parts], axis=0)
        np.testing.assert_allclose(end.success, product, rtol=1e-12)


def test_of_too_many_pairs_the_hardest_slot_and_separate_blocks_are_left(monkeypatch):
    k = np.array([50, 200, 800])
    full = layer_pools.layer_pool_law(UNEVEN, ETA, True)(k)
    monkeypatch.setattr(layer_pools, "MOST_PAIRS", 10)
    lower, upper = layer_pools.layer_pool_law(UNEVEN, ETA, True)(k)
    assert np.all(lower.success <= full.lower.success)
    assert np.all(full.upper.success <= upper.success)
    separate = layers.layer_law("separate", UNEVEN, ETA, True)(k // 6)
    np.testing.assert_allclose(lower.failure, separate.failure, rtol=1e-12)
    hardest = (1 - theory.match_probability(0.5, ETA)) ** k
    np.testing.assert_allclose(upper.failure, hardest, rtol=1e-9)


# Widths.


@pytest.mark.parametrize(("epsilon", "within"), [(0.2, 1.01), (0.05, 1.01)])
def test_the_width_from_one_pool_is_known_within_a_hundredth(epsilon, within):
    target = worst_target((8, 8, 1))
    low, high = theory.network_pool_width(target, "tight", epsilon, 0.05)
    assert low <= high <= within * low
    # Eight times narrower than blocks, whose size it has.
    block = theory.block_size("blocks", target, "tight", epsilon, 0.05).neurons
    assert 0.98 * block < low <= high < 1.02 * block
    etas = layers.slot_tolerance("tight", layers.shapes(target), epsilon)
    law = layer_pools.network_pool_law(target, etas)
    assert law(low).upper.failure <= 0.05 < law(low - 1).upper.failure
    assert law(high).lower.failure <= 0.05 < law(high - 1).lower.failure


def test_blocks_make_a_ticket_that_is_none_of_a_pool():
    """One neuron may meet the slots of two outputs in its block, and of a pool but one slot."""
    weights, eta, k = np.full((4, 1), 0.3), 0.25, 3
    blocks = layers.layer_law("blocks", weights, eta, False)(k)
    ends = layer_pools.layer_pool_law(weights, eta, False)(k)
    assert ends.upper.success == 0.0 < blocks.success


def test_blocks_of_a_layer_are_those_of_their_size():
    target = worst_target((3, 2, 1))
    etas = layers.slot_tolerance("tight", layers.shapes(target), 0.3)
    law = layers.network_law("blocks", target, etas, counts=(3, 2))
    parts = [
        layers.layer_law("blocks", w, eta, i == 0)(m)
        for i, (w, eta, m) in enumerate(zip(target, etas, (133, 200), strict=True))
    ]
    assert law(401).success == pytest.approx(float(parts[0].success * parts[1].success), rel=1e-12)
    empty = sum(
        sides * np.sum((1 - theory.match_probability(w, eta)) ** m)
        for w, eta, m, sides in zip(target, etas, (133, 200), (2, 1), strict=True)
    )
    found = layers.mean_empty(target, etas, np.array([401]), (3, 2))
    np.testing.assert_allclose(found, empty, rtol=1e-9)
