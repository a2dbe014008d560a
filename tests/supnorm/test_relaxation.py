"""The relaxation: true points obey it, any matrix bounds, planted faults are caught, how tight."""

import jax
import numpy as np
import pytest
from oracles import ball, supremum
from test_ascent import EXACT, near_pairs, one

from ltjax.networks.pairs import Pair, difference
from ltjax.supnorm import certificate, moments, plane, semidefinite

# Input, hidden and output sizes, and what follows the last layer.
SHAPES = [
    ((2, 5, 1), "linear"),
    ((2, 4, 2), "relu"),
    ((2, 3, 4, 1), "linear"),
    ((2, 4, 3), "linear"),
]
shapes = pytest.mark.parametrize(("sizes", "last"), SHAPES)


def lifted(pair, norm="l2"):
    unit = certificate.upper(pair._replace(errors=tuple(e[None] for e in pair.errors)))[0]
    return moments.lift(pair, unit, norm)


def point(asked, x):
    """p at x, and the signs there, by their definitions."""
    plus, minus = np.maximum(x, 0.0), np.maximum(-x, 0.0)
    parts, signs, f, g = [np.ones(1), plus, minus], [np.sign(x)], None, None
    for w, e, s in asked.layers:
        if f is None:
            z, z_g = w @ x, (w + e[0]) @ plus - (w + e[1]) @ minus
        else:
            z, z_g = w @ f, (w + e[0]) @ g
        f, g = np.maximum(z, 0.0), np.maximum(z_g, 0.0)
        parts += [f, f - z, g, g - z_g, (g - f) / s, (g - f - z_g + z) / s]
        signs += [np.sign(z), np.sign(z_g)]
    return np.concatenate(parts), np.concatenate(signs)


def faults(asked, node, p):
    """How far p p' is from what the lift says of it: entries, sum of squares, trace, range."""
    x = np.outer(p, p)
    low, high = np.maximum(asked.low - x, 0.0).max(), np.maximum(x - asked.high, 0.0).max()
    (i, j), s = asked.slopes
    rise, fall, product = x[i, j]
    slopes = np.array([-rise, -fall, product, abs(rise + fall + s * product)]).max()
    squares = abs(p[asked.square] @ p[asked.square] - 1.0)
    outside = np.linalg.norm(p - node.columns @ (node.columns.T @ p))
    return np.array([low, high, slopes, squares, max(p @ p - asked.trace, 0.0), outside])


@shapes
def test_every_point_obeys_the_rules_of_its_node(sizes, last):
    pairs, rng = near_pairs(sizes, 3, eta=0.1, last=last), np.random.default_rng(0)
    seen = []
    for k in range(3):
        asked = lifted(one(pairs, k))
        for x in rng.normal(size=(20, sizes[0])):
            p, signs = point(asked, x / np.linalg.norm(x))
            for known in (0.0 * signs, signs, signs * rng.integers(0, 2, len(signs))):
                there = moments.short(asked, known, p)
                assert faults(asked, moments.basis(asked, known), there).max() < 1e-12
            # A false sign puts p outside, unless all that it concerns is 0.
            signs[rng.integers(len(signs))] *= -1
            p = moments.short(asked, signs, p)
            seen.append(faults(asked, moments.basis(asked, signs), p)[-1] > 1e-9)
    assert np.mean(seen) > 0.8


@pytest.mark.parametrize("norm", ["l2", "max"])
@shapes
def test_the_objective_is_the_difference(sizes, last, norm):
    pair = one(near_pairs(sizes, 1, eta=0.1, last=last), 0)
    asked = lifted(pair, norm)
    for x in ball(2, 7):
        p, _ = point(asked, x)
        shares = np.einsum("kij,i,j->k", asked.objective, p, p)
        there = asked.unit * shares.max() ** (1.0 / asked.power)
        h = difference(pair, x[:, None])[:, 0]
        expected = np.linalg.norm(h) if norm == "l2" else np.abs(h).max()
        np.testing.assert_allclose(there, expected, rtol=1e-10)


def output(pair, o):
    *weights, last = pair.weights
    *errors, last_errors = pair.errors
    return Pair((*weights, last[[o]]), (*errors, last_errors[:, [o]]), pair.last)


def largest(pair, norm="l2"):
    """The exact supremum, of two inputs."""
    parts = [pair] if norm == "l2" else [output(pair, o) for o in range(len(pair.weights[-1]))]
    return max(map(plane.circle_supremum, parts))


def some_matrices(asked, steps, rng):
    """What to bound with: nothing, noise, and where steps from noise ended."""
    m = len(asked.low)
    noise = rng.normal(size=(m, m))
    yield from (np.zeros((m, m)), noise, 1e-3 * noise, np.nan * noise)
    schedule = tuple(map(np.float32, (*semidefinite.TAU, steps)))
    node = moments.basis(asked, moments.open_signs(asked))
    # As many as `semidefinite.upper` has on the device, which saves a program.
    many = lambda x: np.repeat(np.float32(x)[None], semidefinite.BATCH, axis=0)
    (places, scales), problem = asked.slopes, (many(asked.objective[0]), many(node.columns))
    limits = np.float32(asked.low), np.float32(asked.high)
    rules = *limits, (places, many(scales)), asked.square, np.float32(asked.least)
    starts = np.linspace(0.0, 10.0, semidefinite.BATCH)[:, None, None] * (noise + noise.T)
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        found = semidefinite._advance_all(problem, np.float32(starts), rules, schedule)[1]
    yield from np.asarray(found)


@shapes
def test_any_matrix_gives_a_bound(sizes, last):
    pairs, rng = near_pairs(sizes, 2, eta=0.1, last=last), np.random.default_rng(1)
    better = []
    for k in range(2):
        pair = one(pairs, k)
        # Of a linear scalar difference the first objective is one of its two signs.
        asked = lifted(pair, "l2")
        p = np.array([point(asked, x)[0] for x in ball(2, 1000)])
        reached = max(np.einsum("ni,ij,nj->n", p, asked.objective[0], p).max(), 0.0)
        reached = asked.unit * reached ** (1.0 / asked.power)
        node = moments.basis(asked, moments.open_signs(asked))
        for steps in (3, 400):
            bounds = [
                semidefinite.certify(asked, 0, node, m) for m in some_matrices(asked, steps, rng)
            ]
            assert min(bounds) >= reached * (1 - 1e-12)
            assert max(bounds) <= asked.unit
        better.append(bounds[4] < 0.9 * asked.unit)
    # Were all bounds idle, nothing would have been tested.
    assert any(better)


@pytest.mark.parametrize("norm", ["l2", "max"])
@shapes
def test_no_bound_is_below_the_supremum(sizes, last, norm):
    pairs = near_pairs(sizes, 8, eta=0.1, last=last)
    bounds = semidefinite.upper(pairs, norm)
    ratios = bounds / [largest(one(pairs, k), norm) for k in range(8)]
    assert ratios.min() >= 1 - 1e-12
    assert np.median(ratios) < 1.4
    alone = pairs._replace(
        weights=tuple(w[2] for w in pairs.weights), errors=tuple(e[2:3] for e in pairs.errors)
    )
    np.testing.assert_allclose(semidefinite.upper(alone, norm), bounds[2:3], rtol=1e-4)
    assert bounds[2] <= certificate.upper(alone)[0]


def planted(fault):
    """A lift with one rule too many or another sign."""
    true = moments.lift

    def wrong(*asked_for):
        asked = true(*asked_for)
        low, high = asked.low.copy(), asked.high.copy()
        f, f_off, g, g_off, *_ = moments.rows(asked.layers)[0]
        (i, j), scales = asked.slopes
        if fault == "slope":  # D F and E (F - z), as if relu were active where it is not
            j = np.stack([j[1], j[0], j[2]])
        elif fault == "rise":  # D (F - z) + E F = - s D E / 4
            scales = scales / 4.0
        elif fault == "other":  # F of one neuron excludes that of the next
            high[f[:-1], f[1:]] = high[f[1:], f[:-1]] = 0.0
        elif fault == "alike":  # G (F - z) = 0, as if f and g had one pattern
            high[g, f_off] = high[f_off, g] = 0.0
            high[f, g_off] = high[g_off, f] = 0.0
        return asked._replace(low=low, high=high, slopes=((i, j), scales))

    return wrong


@pytest.mark.parametrize("fault", ["slope", "rise", "other", "alike"])
def test_a_planted_wrong_rule_is_caught(fault, monkeypatch):
    pairs = near_pairs((2, 5, 1), 16, eta=0.3)
    suprema = np.array([largest(one(pairs, k)) for k in range(16)])
    assert np.all(semidefinite.upper(pairs) >= suprema)
    monkeypatch.setattr(semidefinite, "lift", planted(fault))
    assert np.any(semidefinite.upper(pairs) < suprema * (1 - 1e-2))


def test_a_trace_or_a_sum_of_squares_too_small_is_caught(monkeypatch):
    # The bound of steps not yet converged rests on the trace.
    pairs = near_pairs((2, 5, 1), 8, eta=0.1)
    suprema = np.array([largest(one(pairs, k)) for k in range(8)])
    true = moments.lift
    cut = lambda *args: true(*args)._replace(trace=0.0)
    monkeypatch.setattr(semidefinite, "lift", cut)
    assert np.any(semidefinite.upper(pairs, steps=4) < suprema)


def test_no_hidden_neuron_and_one_neuron_are_exact():
    # h = E+ x+ - E- x-: each x_j has a better side, for either sign of h.
    pairs = near_pairs((5, 1), 4, eta=0.1)
    plus, minus = pairs.errors[0][:, 0, 0], pairs.errors[0][:, 1, 0]
    sides = [np.maximum(np.maximum(s * plus, -s * minus), 0.0) for s in (1.0, -1.0)]
    expected = np.linalg.norm(sides, axis=-1).max(axis=0)
    np.testing.assert_allclose(semidefinite.upper(pairs), expected, rtol=1e-5)
    pairs = near_pairs((4, 1), 4, eta=0.3, last="relu")
    expected = [
        supremum(pairs.weights[0][k, 0], pairs.errors[0][k : k + 1, :, 0])[0] for k in range(4)
    ]
    np.testing.assert_allclose(semidefinite.upper(pairs), expected, rtol=1e-3)
    assert np.all(semidefinite.upper(pairs) >= expected)


def test_one_input():
    pairs = near_pairs((1, 3, 2), 4, eta=0.3)
    ends = [
        np.linalg.norm(difference(one(pairs, k), np.array([[1.0, -1.0]])), axis=0).max()
        for k in range(4)
    ]
    bounds = semidefinite.upper(pairs)
    np.testing.assert_allclose(bounds, ends, rtol=0.1)
    assert np.all(bounds >= ends)


@pytest.mark.slow
def test_eight_inputs_against_mixed_integer_optimisation():
    pairs = near_pairs((8, 8, 1), len(EXACT))
    ratios = semidefinite.upper(pairs) / EXACT
    assert ratios.min() >= 1 - 1e-6
    assert np.median(ratios) < 1.07
    assert ratios.max() < 1.25
    # Hardly begun it bounds, too.
    assert np.all(semidefinite.upper(pairs, steps=10) / EXACT >= 1 - 1e-6)
    norms = [
        certificate.upper(one(pairs, k)._replace(errors=tuple(e[k : k + 1] for e in pairs.errors)))[
            0
        ]
        for k in range(20)
    ]
    assert np.median(norms / EXACT) > 1.15


def test_a_node_bounds_what_its_signs_allow():
    pairs, rng = near_pairs((2, 3, 4, 1), 6, eta=0.1), np.random.default_rng(3)
    below = []
    for k in range(6):
        asked = lifted(one(pairs, k))
        points = [point(asked, x) for x in ball(2, 1000)]
        p, signs = (np.array(part) for part in zip(*points, strict=True))
        values = asked.unit * np.einsum("ni,kij,nj->nk", p, asked.objective, p)
        known = signs[rng.integers(len(signs))] * rng.integers(0, 2, signs.shape[1])
        inside = np.all((known == 0) | (signs == known), axis=1)
        n = semidefinite.BATCH
        nodes = [asked] * n, [0, 1] * (n // 2), [known] * n, [np.zeros_like(asked.low)] * n
        for kind in (np.float32, np.float64):
            found = semidefinite.improve(*nodes, 400, kind=kind)
            bounds = np.array([one.bound for one in found[:2]])
            assert np.all(bounds >= values[inside].max(axis=0))
        below.append(bounds.max() < values.max())
    # Signs that exclude the maximum are used.
    assert any(below)


def test_scaled_layers_scale_the_bound():
    pairs = near_pairs((2, 5, 1), 4)
    scales = 2.0 ** np.array([-9, 7])
    scaled = (tuple(s * a for s, a in zip(scales, m, strict=True)) for m in pairs[:2])
    again = semidefinite.upper(Pair(*scaled, pairs.last))
    # Small errors stay accurate: to first order the supremum is linear in them.
    assert np.all(again >= [scales.prod() * largest(one(pairs, k)) for k in range(4)])
    tiny = pairs._replace(errors=tuple(1e-8 * e for e in pairs.errors))
    ratios = semidefinite.upper(tiny) / [largest(one(tiny, k)) for k in range(4)]
    assert np.all((ratios >= 1 - 1e-6) & (ratios < 1.3))


def test_equal_networks_and_broken_ones():
    pairs = near_pairs((2, 5, 1), 4)
    errors = tuple(e.copy() for e in pairs.errors)
    for e in errors:
        e[1] = 0.0
    errors[0][2, 1, 0, 0] = np.nan
    errors[0][3] = 0.0
    bounds = semidefinite.upper(pairs._replace(errors=errors))
    assert bounds[1] == 0.0
    assert np.isnan(bounds[2])
    rest = Pair(pairs.weights, errors)
    for k in (0, 3):
        assert largest(one(rest, k)) * (1 - 1e-12) <= bounds[k] < 1.3 * largest(one(rest, k))
