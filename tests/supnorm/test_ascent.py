"""The lower bound on the difference of two networks, against explicit matrices and exact values."""

from itertools import combinations, pairwise, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball

from ltjax.networks.pairs import Pair, forward
from ltjax.supnorm import ascent

# Input, hidden and output sizes, and what follows the last layer.
SHAPES = [
    ((3, 5, 1), "linear"),
    ((4, 3, 1), "relu"),
    ((3, 4, 3), "linear"),
    ((3, 5, 4, 2), "relu"),
    ((4, 1), "linear"),
]
shapes = pytest.mark.parametrize(("sizes", "last"), SHAPES)


def near_pairs(sizes, n, seed=0, eta=0.01, last="linear"):
    """n pairs: normal weights of spectral norm <= 1, errors U[-eta, eta], the first two-sided.

    Pair k is the same however many are asked for.
    """
    pairs = []
    for k in range(n):
        rng = np.random.default_rng([seed, k, *sizes])
        weights, errors = [], []
        for i, (n_in, n_out) in enumerate(pairwise(sizes)):
            w = rng.normal(size=(n_out, n_in))
            weights.append(w / max(1.0, np.linalg.norm(w, 2)))
            errors.append(rng.uniform(-eta, eta, (2 if i == 0 else 1, n_out, n_in)))
        pairs.append((weights, errors))
    weights, errors = (tuple(map(np.stack, zip(*x, strict=True))) for x in zip(*pairs, strict=True))
    return Pair(weights, errors, last)


def one(pairs, k):
    return Pair(*(tuple(a[k] for a in layers) for layers in pairs[:2]), pairs.last)


def single(pair):
    """Weights and errors as the device holds them."""
    return (tuple(jnp.asarray(a, jnp.float32) for a in layers) for layers in pair[:2])


def norms(pair, x):
    """||g(x) - f(x)|| at points [n, d], by explicit matrices: g sees (x+, x-)."""
    first, *later = ((w, w + e) for w, e in zip(pair.weights, pair.errors, strict=True))
    sides = np.concatenate([first[1][0], -first[1][-1]], axis=1)
    halves = np.concatenate([np.maximum(x, 0.0), np.maximum(-x, 0.0)], axis=1)
    g = forward([sides, *(c[0] for _, c in later)], halves, pair.last)
    f = forward([first[0], *(w for w, _ in later)], x, pair.last)
    return np.linalg.norm(g - f, axis=1)


def brute_force(pair):
    """The supremum of a pair of shape (3, n, 1): every maximiser on every cone of every pattern.

    On the sphere a linear function on a polyhedral cone of three dimensions is largest along its
    own slope, along the slope within a wall, or on two walls. No point is too high, so that which
    of them lie in their cones need not be asked.
    """
    (first, last), (e_first, [e_last]) = pair.weights, pair.errors
    points = []
    for sides in product((0, 1), repeat=3):
        ticket = first + e_first[list(sides), :, range(3)].T
        walls = np.concatenate([np.eye(3), first, ticket])
        walls /= np.linalg.norm(walls, axis=1, keepdims=True)
        points += [np.cross(a, b) for a, b in combinations(walls, 2)]
        for on in product((0.0, 1.0), repeat=2 * len(first)):
            f_on, g_on = np.split(np.array(on), 2)
            slope = ((last + e_last) * g_on @ ticket - last * f_on @ first)[0]
            points += [slope, *(slope - np.outer(walls @ slope, np.ones(3)) * walls)]
    points = np.array(points)
    size = np.linalg.norm(points, axis=1, keepdims=True)
    points = (points / np.where(size > 1e-12, size, 1.0))[size[:, 0] > 1e-12]
    return norms(pair, np.concatenate([points, -points])).max()


@shapes
def test_the_value_is_that_of_the_point(sizes, last):
    pairs = near_pairs(sizes, 4, eta=0.1, last=last)
    value, x = ascent.lower(pairs)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0, rtol=1e-14)
    there = np.concatenate([norms(one(pairs, k), x[k : k + 1]) for k in range(4)])
    np.testing.assert_allclose(value, there, rtol=1e-11)
    # Not far below the best of many random points, if at all.
    for k in range(4):
        assert value[k] >= 0.95 * norms(one(pairs, k), ball(sizes[0], 20_000)).max()


@shapes
def test_the_value_of_other_errors_is_caught(sizes, last):
    # The comparison above has power: errors of the wrong sign on one side, or scaled, are seen.
    pairs = near_pairs(sizes, 4, eta=0.1, last=last)
    for planted in (
        (pairs.errors[0] * np.array([1.0, -1.0])[:, None, None], *pairs.errors[1:]),
        (*pairs.errors[:-1], 1.01 * pairs.errors[-1]),
    ):
        value, x = ascent.lower(pairs._replace(errors=planted))
        there = np.concatenate([norms(one(pairs, k), x[k : k + 1]) for k in range(4)])
        assert np.mean(np.abs(value / there - 1.0) > 1e-4) > 0.25


@pytest.mark.parametrize(
    ("sizes", "last"), [((2, 6, 1), "linear"), ((2, 5, 3), "relu"), ((2, 4, 4, 1), "linear")]
)
def test_on_the_circle_it_is_the_best_of_a_sweep(sizes, last):
    pairs, count = near_pairs(sizes, 6, eta=0.1, last=last), 50_000
    value, _ = ascent.lower(pairs)
    swept = np.array([norms(one(pairs, k), ball(2, count)).max() for k in range(6)])
    # Slopes are below (1 + 0.1 * size of a layer)^layers + 1 in all.
    assert np.all(value <= swept + 10.0 * np.pi / count)
    assert np.all(value >= swept * (1 - 1e-3))


def test_it_is_the_best_of_all_patterns():
    for k in range(4):
        pairs = near_pairs((3, 3, 1), 4, seed=1, eta=(0.3, 0.01)[k % 2])
        pair = one(pairs, k)
        expected = brute_force(pair)
        ends = [ascent.climb(pair, x) for x in ball(3, 40)]
        reached = norms(pair, np.array(ends))
        assert np.all(reached <= expected * (1 + 1e-10))
        np.testing.assert_allclose(reached.max(), expected, rtol=1e-10)


def test_a_climb_on_other_errors_misses_the_best_of_all_patterns():
    pair = one(near_pairs((3, 3, 1), 1, seed=1, eta=0.3), 0)
    planted = pair._replace(errors=(pair.errors[0][::-1], pair.errors[1]))
    ends = np.array([ascent.climb(planted, x) for x in ball(3, 40)])
    assert norms(planted, ends).max() != pytest.approx(brute_force(pair), rel=1e-3)


@shapes
def test_a_climb_never_descends_and_mostly_rises(sizes, last):
    pairs, x = near_pairs(sizes, 4, last=last), ball(sizes[0], 10)
    shares = []
    for k in range(4):
        pair = one(pairs, k)
        before, after = norms(pair, x), norms(pair, np.array([ascent.climb(pair, y) for y in x]))
        assert np.all(after >= before * (1 - 1e-9))
        shares.append(after[before > 0.0] > 1.01 * before[before > 0.0])
    assert np.mean(np.concatenate(shares)) > 0.5


def test_the_best_point_is_no_worse_than_any_start():
    pairs = near_pairs((3, 5, 4, 2), 3, last="relu")
    search = jax.jit(
        lambda weights, errors, starts: ascent.search(Pair(weights, errors, "relu"), starts)
    )
    for k in range(3):
        pair, x = one(pairs, k), ball(3, 29)
        # The last start is where a climb ends, so that the steps leave it for the worse.
        starts = np.concatenate([x, [ascent.climb(pair, x[norms(pair, x).argmax()])]])
        point, value = search(*single(pair), jnp.asarray(starts, jnp.float32))
        assert value >= norms(pair, starts).max() * (1 - 1e-5)
        np.testing.assert_allclose(value, norms(pair, np.float64(point)[None])[0], rtol=1e-4)


# Suprema of near_pairs((8, 8, 1), 20), by mixed-integer optimisation (SCIP 10, gap 1e-6): big-M for
# every relu, one binary a coordinate for its side, both signs of the difference.
EXACT = np.array(
    [
        0.018157212,
        0.018398551,
        0.017519545,
        0.022954969,
        0.020551286,
        0.018920466,
        0.022107775,
        0.017928898,
        0.019122855,
        0.019988480,
        0.012404154,
        0.014641702,
        0.014890773,
        0.017957071,
        0.015247254,
        0.020522198,
        0.015856364,
        0.019038583,
        0.012576112,
        0.020302298,
    ]
)


@pytest.mark.slow
def test_eight_inputs_against_mixed_integer_optimisation():
    pairs = near_pairs((8, 8, 1), len(EXACT))
    share = ascent.lower(pairs)[0] / EXACT
    assert np.all(share <= 1 + 2e-6)
    assert np.mean(share >= 1 - 1e-4) >= 0.8
    assert share.mean() >= 0.995
    # A search alone reaches less, so that there was something to find; its starts much less.
    axes = ball(8, 48)
    search = lambda w, e: ascent.search(Pair(w, e), jnp.asarray(axes, jnp.float32))[1]
    alone = np.asarray(jax.jit(jax.vmap(search))(*single(pairs))) / EXACT
    assert np.mean(alone >= 1 - 1e-4) < 0.5
    random = np.array([norms(one(pairs, k), axes).max() for k in range(len(EXACT))]) / EXACT
    assert np.mean(alone) > 0.9 > 0.7 > np.mean(random)


@shapes
def test_layers_scaled_by_powers_of_two_scale_the_value(sizes, last):
    pairs = near_pairs(sizes, 4, last=last)
    value, x = ascent.lower(pairs)
    scales = 2.0 ** np.array([-9, 7, 3][: len(sizes) - 1])
    scaled = (tuple(s * a for s, a in zip(scales, m, strict=True)) for m in pairs[:2])
    again, same = ascent.lower(Pair(*scaled, last))
    np.testing.assert_allclose(again, scales.prod() * value, rtol=1e-12)
    np.testing.assert_allclose(same, x, atol=1e-12)


def test_errors_may_be_small():
    # To first order the supremum is linear in the errors.
    pairs = near_pairs((3, 5, 1), 4)
    scaled = lambda t: ascent.lower(pairs._replace(errors=tuple(t * e for e in pairs.errors)))[0]
    expected = scaled(1e-4)
    np.testing.assert_allclose(scaled(1e-10), 1e-6 * expected, rtol=1e-3)
    np.testing.assert_allclose(scaled(1e-13), 1e-9 * expected, rtol=1e-3)


def test_equal_networks_and_broken_ones():
    pairs = near_pairs((3, 4, 3), 4)
    errors = tuple(e.copy() for e in pairs.errors)
    for e in errors:
        e[1] = 0.0
    errors[0][2, 1, 0, 0] = np.nan
    value, x = ascent.lower(pairs._replace(errors=errors))
    assert value[1] == 0.0
    assert np.isnan(value[2])
    assert np.all(np.isfinite(x))
    whole = ascent.lower(pairs)[0]
    np.testing.assert_allclose(value[[0, 3]], whole[[0, 3]], rtol=1e-9)


def test_one_pair_is_the_same_among_many():
    pairs = near_pairs((3, 5, 1), 4)
    shared = pairs._replace(weights=tuple(w[0] for w in pairs.weights))
    value, _ = ascent.lower(shared)
    copied = tuple(np.stack([w] * 4) for w in shared.weights)
    np.testing.assert_allclose(ascent.lower(shared._replace(weights=copied))[0], value, rtol=1e-9)
    alone = shared._replace(errors=tuple(e[2:3] for e in shared.errors))
    np.testing.assert_allclose(ascent.lower(alone)[0], value[2], rtol=1e-9)
    # Another one it is not.
    assert abs(value[0] / value[3] - 1.0) > 1e-3


def some(pairs, which):
    return Pair(*(tuple(a[which] for a in layers) for layers in pairs[:2]), pairs.last)


def test_any_number_of_pairs_is_one_program_and_none_depends_on_its_company():
    pairs = near_pairs((5, 2, 1), 7)
    before = ascent._search_all._cache_size()
    whole, x = ascent.lower(pairs, batch=4)
    for which in ([0, 1, 2], [6, 5, 4, 3, 2], [3]):
        value, points = ascent.lower(some(pairs, which), batch=4)
        np.testing.assert_array_equal(value, whole[which])
        np.testing.assert_array_equal(points, x[which])
    assert ascent._search_all._cache_size() == before + 1


def test_a_climb_is_spared_where_it_cannot_matter():
    pairs = near_pairs((8, 8, 1), 20)
    climbed, found = ascent.lower(pairs)[0], ascent.lower(pairs, np.zeros(20))[0]
    assert np.any(climbed > 1.001 * found)
    far = ascent.lower(pairs, 1.01 * found / ascent.NEAR)[0]
    np.testing.assert_array_equal(far, found)
    near = ascent.lower(pairs, 1.01 * found)[0]
    np.testing.assert_array_equal(near, climbed)
