"""Bounds on ||g - f||, for the numbers given: against exact arithmetic, and numbers of any size."""

import math
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball
from test_certificate import random_pair
from test_relaxation import point as lifted

from ltjax.errors import InputError
from ltjax.networks.pairs import Pair, difference, length, reach, reached
from ltjax.supnorm import (
    ascent,
    bounds,
    brackets,
    branch_and_bound,
    certificate,
    moments,
    one_neuron,
    plane,
    semidefinite,
)

exactly = np.vectorize(Fraction, otypes=[object])


def square(pair, x):
    """||g(x) - f(x)||^2 / ||x||^2 at one point [d], exactly."""
    f = g = x = exactly(x)
    positive = lambda z: np.maximum(z, Fraction(0))
    for i, (w, e) in enumerate(zip(pair.weights, pair.errors, strict=True)):
        w, plus, minus = exactly(w), exactly(e[0]), exactly(e[-1])
        f = w @ f
        g = (w + plus) @ positive(g) - (w + minus) @ positive(-g)  # no -g after a relu
        if i + 1 < len(pair.weights) or pair.last == "relu":
            f, g = positive(f), positive(g)
    return ((g - f) @ (g - f)) / (x @ x)


def drawn(sizes, eta, seed, last="linear", sides=1):
    rng = np.random.default_rng([seed, *sizes])
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = tuple(rng.uniform(-1.0, 1.0, shape) for shape in shapes)
    errors = [eta * rng.uniform(-1.0, 1.0, (1, *shape)) for shape in shapes]
    errors[0] = eta * rng.uniform(-1.0, 1.0, (sides, *shapes[0]))
    return Pair(weights, tuple(errors), last)


def alone(pair):
    return pair._replace(errors=tuple(e[None] for e in pair.errors))


SHAPES = [(1, 3, 2), (2, 4, 1), (3, 5, 4, 2), (4, 1)]


@pytest.mark.parametrize("last", ["linear", "relu"])
@pytest.mark.parametrize("sizes", SHAPES)
def test_what_is_reached_is_between_its_bounds(sizes, last):
    rng, wide, missed, cases = np.random.default_rng(sizes), [], 0, 0
    for seed, eta in enumerate((1e-200, 1e-15, 1e-10, 1e-3, 1.0) * 4):
        pair = drawn(sizes, eta, seed, last, sides=2)
        x = rng.normal(size=(sizes[0], 3)) * 10.0 ** rng.uniform(-3, 3, 3)
        # A point at which f of the first neuron vanishes but for rounding, too.
        if sizes[0] > 1:
            x[0, 0] = -(pair.weights[0][0, 1:] @ x[1:, 0]) / pair.weights[0][0, 0]
        low, high = reached(pair, x)
        plain = length(difference(pair, x), 0) / length(x, 0)
        for n, point in enumerate(x.T):
            value = square(pair, point)
            assert Fraction(low[n]) ** 2 <= value <= Fraction(high[n]) ** 2
            missed += value != 0 and Fraction(plain[n]) ** 2 > value
            cases += 1
            wide.append((high[n] - low[n]) / max(high[n], 1e-320))
    # What is not rounded down is no lower bound; and most is known to some digits.
    assert last == "relu" or missed > cases / 10
    assert last == "relu" or np.median(wide) < 1e-11


def test_a_lower_bound_is_no_higher_than_its_point():
    pairs = [drawn((3, 4, 2), 1e-2, seed) for seed in range(12)]
    layers = [
        tuple(map(np.stack, zip(*x, strict=True)))
        for x in zip(*(p[:2] for p in pairs), strict=True)
    ]
    value, x = ascent.lower(Pair(*layers), batch=4)
    for pair, low, point in zip(pairs, value, x, strict=True):
        there = square(pair, point)
        assert Fraction(low) ** 2 <= there
        assert Fraction(low * (1 + 1e-11)) ** 2 >= there


@pytest.mark.parametrize("power", [-1060, -600, -300, 0, 300, 500])
def test_a_norm_is_that_of_its_numbers_whatever_their_size(power):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, 5))
    scaled = np.ldexp(x, power)
    with np.errstate(over="raise"):
        found = length(scaled, 1)
    np.testing.assert_allclose(np.ldexp(found, -power), np.linalg.norm(x, axis=1), rtol=1e-3)
    assert length(np.zeros((2, 3)), 1).tolist() == [0.0, 0.0]
    assert length(np.array([0.0, 2.0**-1074])) > 0.0
    assert np.isnan(length(np.array([1.0, np.nan, 1e-200])))
    assert length(np.array([np.inf, 1.0])) == np.inf


# Two networks, as given.


def bracket(first, second, last="linear", gap=0.01, most=40):
    """The first and the last bracket of two networks."""
    pair, scale = brackets.pair_of(
        *([np.asarray(w, float) for w in net] for net in (first, second))
    )
    pair = pair._replace(last=last)
    found = list(brackets.closing(pair, scale, gap, divided=False))
    return found[0], found[-1]


UP = math.nextafter(0.75, 9.0)
WILD = [[1e150, 0.0], [0.0, 1e-200]]
TINY = 5e-324

CASES = {
    "one ulp apart": ([[[0.75, 2.75]]], [[[UP, 2.75]]], UP - 0.75),
    "one ulp apart, divided by 3": ([[[0.1, 0.3]]], [[[0.1, math.nextafter(0.3, 0.0)]]], None),
    "small rows": ([WILD, [[0.0, 1.0]]], [[WILD[0], [0.0, 9e-200]], [[0.0, 1.0]]], 8e-200),
    "small columns": (
        [WILD, [[0.0, 1e200]]],
        [[WILD[0], [0.0, 3e-200]], [[0.0, 1e200]]],
        2.0,
    ),
    "small errors": ([[[1.0, 1e-200]]], [[[1.0, 3e-200]]], 2e-200),
    "large": ([[[1e290]]], [[[3e290]]], 2e290),
    "small": ([[[1e-290]]], [[[3e-290]]], 2e-290),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_networks_that_differ_are_apart(case):
    first, second, value = case
    if value is None:
        change = np.array(second[0]) - np.array(first[0])
        value = float(np.abs(change).max())
    for a, b in ((first, second), (second, first)):
        start, found = bracket(a, b)
        for one in (start, found):
            assert 0.0 <= one.lower <= value * (1 + 1e-15)
            assert value * (1 - 1e-15) <= one.upper
        assert found.lower > 0.0
        assert found.upper <= 1.02 * found.lower


def test_a_change_that_no_input_can_see_is_none():
    # The first neuron of the hidden layer is read by nothing, and the second has no weights.
    first = [np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 3.0]])]
    second = [np.array([[5.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 7.0]])]
    assert bracket(first, second)[1][:2] == (0.0, 0.0)
    alive = [first[0], np.array([[1e-9, 7.0]])]
    assert bracket(first, alive)[0].upper > 0.0


def test_dividing_two_networks_rounds_nothing():
    rng = np.random.default_rng(0)
    for _ in range(50):
        first = [rng.normal(size=s) * 10.0 ** rng.uniform(-60, 60, s) for s in ((4, 3), (2, 4))]
        second = [w * (1 + 2.0**-52 * rng.integers(0, 3, w.shape)) for w in first]
        pair, scale = brackets.pair_of(first, second)
        assert math.frexp(scale)[0] == 0.5
        x = exactly(rng.normal(size=3))
        for net, layers in ((first, pair.weights),):
            given, divided = x, x
            for w, v in zip(net, layers, strict=True):
                given, divided = exactly(w) @ given, exactly(v) @ divided
                if len(w) == 4:
                    given, divided = (np.maximum(h, Fraction(0)) for h in (given, divided))
            assert np.all(given == Fraction(scale) * divided)
        assert all(
            np.array_equal(e[0] != 0, a != b)
            for e, a, b in zip(pair.errors, first, second, strict=True)
        )


def test_weights_that_no_power_of_two_brings_together_are_refused():
    with pytest.raises(InputError, match="size that float64 can hold"):
        brackets.pair_of([np.array([[1e300, 3e-320]])], [np.array([[1e300, 4e-320]])])
    with pytest.raises(InputError, match="size that float64 can hold"):
        brackets.pair_of([np.eye(1) * 1e200] * 2, [np.eye(1) * 1e200] * 2)


def test_what_dividing_rounds_is_added_for_tickets():
    # A target divided by a scale, of which one error is 0 as it was rounded, and none other is.
    w, s = 0.7, 3.0
    divided = w / s
    pair = Pair((np.array([[divided]]),), (np.zeros((1, 1, 1)),), "linear")
    low, high = brackets.outward(pair, s, 0.0, 0.0)
    assert low == 0.0
    assert abs(Fraction(w) - Fraction(s) * Fraction(divided)) > 0
    assert Fraction(high) >= abs(Fraction(w) - Fraction(s) * Fraction(divided))
    # Even if all of it is lost to a scale too large.
    lost = Pair((np.zeros((1, 1)),), (np.zeros((1, 1, 1)),), "linear")
    assert brackets.outward(lost, 1e170, 0.0, 0.0)[1] > 0.0


def test_bounds_below_full_precision_are_moved_outwards():
    pair = Pair((np.eye(1),), (np.full((1, 1, 1), 1e-200),), "linear")
    low, high = brackets.outward(pair, 1e-200, 1e-200, 1e-200, divided=False)
    assert low == 0.0
    assert high > 0.0
    assert brackets.outward(pair, 1e300, 1e200, 1e200, divided=False)[1] == math.inf
    assert np.isnan(brackets.outward(pair, 1.0, 0.0, math.nan, divided=False)[1])


# Exact values.


def cancelling(k):
    """relu(a x) b against relu((a + 2^-k) x) (b - c), where the errors of two layers cancel."""
    rng = np.random.default_rng(k)
    a, b = rng.uniform(0.5, 1.0, 2)
    e = 1e-10 * rng.uniform(0.5, 1.0)
    c = b - b * a / (a + e)
    return Pair(
        (np.array([[a]]), np.array([[b]])),
        (np.full((1, 1, 1), e), np.full((1, 1, 1), -c)),
        "linear",
    )


def test_in_one_dimension_a_verdict_is_that_of_exact_arithmetic():
    wrong = 0
    for k in range(100):
        pair = cancelling(k)
        [low], [high] = bounds.line(alone(pair), None)
        value = max(square(pair, np.array([side])) for side in (1.0, -1.0))
        assert Fraction(low) ** 2 <= value <= Fraction(high) ** 2
        plain = length(difference(pair, np.ones((1, 1))))
        wrong += Fraction(plain * (1 + 1e-12)) ** 2 < value
    assert wrong > 20  # with an outward rounding relative to the result


def walls(pair):
    """Angles [n] at which a neuron of f or g of the first layer vanishes, on any side."""
    (w, *_), (e, *_) = pair.weights, pair.errors
    rows = np.concatenate([w, w + e[0], w + e[-1]])
    mixed = [np.stack([(w + e[s])[:, 0], (w + e[t])[:, 1]], 1) for s in (0, -1) for t in (0, -1)]
    rows = np.concatenate([rows, *mixed])
    angle = np.arctan2(-rows[:, 0], rows[:, 1])
    return np.concatenate([angle, angle + np.pi])


@pytest.mark.parametrize("eta", [1e-10, 1e-7, 1e-2])
def test_in_the_plane_no_exact_point_is_outside(eta):
    beyond = 0
    for seed in range(40):
        pair = drawn((2, 3, 1), eta, seed, sides=2)
        low, high = plane.circle_bounds(pair)
        value = plane.circle_supremum(pair)
        angles = walls(pair)[:, None] + 2.0**-53 * np.arange(-12, 13)
        x = np.stack([np.cos(angles.ravel()), np.sin(angles.ravel())])
        values = length(difference(pair, x), 0)
        for point in x.T[np.argsort(-values)[:3]]:
            there = square(pair, point)
            assert there <= Fraction(high) ** 2
            beyond += there > Fraction(value * (1 + 1e-12)) ** 2
        assert low <= value <= high <= value + 1e-11
    # With an outward rounding relative to the result some would be.
    assert beyond > 0 or eta > 1e-9


def test_one_neuron_is_bounded_where_rounding_is_that_of_its_weights():
    rng = np.random.default_rng(2)
    for _ in range(40):
        w = rng.uniform(0.5, 1.0, 1)
        e = 1e-12 * rng.uniform(-1.0, 1.0, (1, 2, 1))
        [low], [high] = one_neuron.neuron_supremum(w, e, np.array([1e-13, 5e-13]))
        pair = Pair((w[None],), (e[0][:, None],), "relu")
        value = max(square(pair, np.array([side])) for side in (1.0, -1.0))
        assert Fraction(low) ** 2 <= value <= Fraction(high) ** 2


@pytest.mark.parametrize("size", [1e-200, 1e-170, 1e-160, 1e-100])
def test_no_error_is_too_small_to_be_seen(size):
    w, e = np.array([0.5, -0.3]), np.array([[[size, 0.0], [0.0, size]]])
    low, high = one_neuron.neuron_supremum(w, e, np.array([size / 2]))
    assert low <= size <= high <= 1.5 * size
    for last in ("linear", "relu"):
        pair = Pair((w[None],), (e[:, :, None],), last)
        assert size <= certificate.upper(pair)[0] <= 1.6 * size
    deep = drawn((2, 3, 2), size, 0)
    [high] = certificate.upper(alone(deep))
    value = reached(deep, np.array([[0.6], [0.8]]))[0][0]
    assert 0.0 < value <= high < 100 * size
    assert plane.circle_bounds(deep)[1] >= value


# Factors that are only there for rounding, or for a case that is rare.


def test_a_norm_without_svd_is_rounded_up():
    rng, below = np.random.default_rng(1), 0
    for _ in range(60):
        # Of rank one: squaring repeats no singular value, and the formula is exact.
        matrix = np.float32(np.outer(rng.normal(size=4), 2.0 ** rng.integers(-3, 3, 3)))
        expected = np.linalg.norm(matrix.astype(float), 2)
        below += float(certificate._schatten(jnp.asarray(matrix))) < expected
        found = float(certificate._gain(jnp.asarray(matrix)[None], certificate._schatten, jnp))
        assert expected <= found <= 1.001 * expected
    assert below > 10


@pytest.mark.parametrize("below", [1.0, 4.0])
def test_opposed_weights_cost_what_the_layers_below_let_through(below):
    # f = 0.1 relu(below x) and g = -0.3 relu(1.5 below x) on the positive side.
    scaled = np.array([[below]]), np.eye(1), np.array([[0.1]])
    errors = np.zeros((1, 1, 1)), np.full((1, 1, 1), 0.5), np.full((1, 1, 1), -0.4)
    for weights, changes in ((scaled, errors), ((below * np.eye(1), scaled[2]), None)):
        changes = changes or (np.full((1, 1, 1), 0.5 * below), errors[2])
        pair = Pair(weights, changes, "linear")
        found = certificate.upper(alone(pair))[0]
        np.testing.assert_allclose(found, 0.55 * below, rtol=1e-9)
        assert found >= 0.55 * below


@pytest.fixture(scope="module")
def tight():
    """A pair, its lift and basis, and multipliers whose bound is close to its supremum."""
    pair = drawn((2, 3, 1), 0.2, 3, sides=2)
    asked = moments.lift(pair, moments.known_bound(pair))
    node = moments.basis(asked, moments.open_signs(asked))
    problem, rules = (asked.objective[0], node.columns), (asked.low, asked.high)
    return pair, asked, node, problem, rules


def test_what_a_basis_is_off_by_is_paid_for(tight):
    _, asked, node, *_ = tight
    asked = asked._replace(objective=[1e-3 * asked.objective[0]])
    m = np.random.default_rng(0).normal(size=asked.low.shape) * 1e-4
    at = [semidefinite.certify(asked, 0, node._replace(error=e), m) for e in (0.0, 1e-9, 2e-9)]
    # Linear in what it is off by, and at least ||C|| T of it.
    np.testing.assert_allclose(at[2] - at[0], 2.0 * (at[1] - at[0]), rtol=1e-3)
    least = asked.unit * asked.trace * np.linalg.norm(asked.objective[0]) * 1e-9
    assert at[1] - at[0] >= least


def test_whatever_is_left_of_a_matrix_is_normal_to_the_rules(tight, monkeypatch):
    # <M, p p'> <= M_11 + max M_jj at the lifted point p of every x.
    _, asked, node, *_ = tight
    kept, rng, (i, j) = [], np.random.default_rng(4), asked.slopes[0]
    seen = lambda cut: kept.append(cut) or np.zeros(1)
    monkeypatch.setattr(np.linalg, "eigvalsh", seen)
    points = np.array([lifted(asked, x)[0] for x in ball(2, 400)])
    # Of some the signs of f and g differ in a neuron: D E < 0.
    assert np.any(points[:, i[2]] * points[:, j[2]] < -1e-3)
    for n in range(20):
        m = rng.normal(size=asked.low.shape) * (n % 2) / 10.0
        m[i[2], j[2]] = m[j[2], i[2]] = -1.0
        semidefinite.certify(asked, 0, node, m)
        of_cut = np.einsum("ni,ij,nj->n", points @ node.columns, kept[-1], points @ node.columns)
        of_all = np.einsum("ni,ij,nj->n", points, asked.objective[0], points)
        m = (m + m.T) / 2.0
        most = m[0, 0] + np.diagonal(m)[asked.square].max()
        assert np.all(of_all - of_cut <= most + 1e-9)


def test_signs_that_are_all_known_keep_their_bound(monkeypatch):
    """A node that cannot be split, and whose bound no longer falls, is part of the answer."""
    pair = drawn((2, 2, 2), 0.2, 1)

    def unmoved(asked, which, signs, starts, *_):
        return [
            semidefinite.Improved(a.unit, z, np.zeros_like(z))
            for a, z in zip(asked, starts, strict=True)
        ]

    monkeypatch.setattr(semidefinite, "improve", unmoved)
    *_, last = branch_and_bound.brackets(pair, 1e-4)
    assert last.nodes > 4
    assert last.upper == moments.known_bound(pair)


def test_a_decomposition_that_does_not_converge_leaves_a_bound(monkeypatch, tight):
    pair, asked, node, *_ = tight

    def fails(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    norm = np.linalg.norm
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "eigvalsh", fails)
        patch.setattr(np.linalg, "svd", fails)
        signs = np.ones_like(moments.open_signs(asked))
        np.testing.assert_array_equal(moments.basis(asked, signs).columns, node.columns)
        assert semidefinite.certify(asked, 0, node, np.zeros_like(asked.low)) == asked.unit
    with monkeypatch.context() as patch:
        patch.setattr(np.linalg, "norm", lambda x, *a, **k: fails() if a else norm(x, **k))
        wide = certificate.upper(alone(pair))
    assert wide[0] >= certificate.upper(alone(pair))[0]


def test_what_a_target_reaches_is_told_in_any_units():
    weights = [np.array([[3.0, 4.0]]), np.array([[2.0]])]
    assert 9.9 < reach(weights) <= 10.0
    assert 9.9e200 < reach([1e100 * w for w in weights]) <= 10.0001e200
    assert 9.9e-200 < reach([1e-100 * w for w in weights]) <= 10.0001e-200
    assert reach([1e160 * w for w in weights]) < math.inf


def test_what_next_to_nothing_bounds_is_left_as_it_is():
    """Of layers of zeros: the supremum is 0, and what underflow adds is no unit to divide by."""
    first = np.array([[0.25, -0.5], [0.125, 0.25]])
    weights = (first, np.zeros((2, 2)), np.zeros((1, 2)))
    errors = (1e-13 * first[None], np.zeros((1, 2, 2)), np.full((1, 1, 2), 1e-13))
    pair = Pair(weights, errors, "relu")
    many = pair._replace(errors=tuple(e[None] for e in errors))
    assert 0.0 <= semidefinite.upper(many, steps=4, batch=2)[0] < 1e-200
    *_, last = branch_and_bound.brackets(pair, 0.01)
    assert last.lower == 0.0
    assert last.upper < 1e-200


def test_neurons_beyond_the_sets_that_are_tried_are_paid_for(monkeypatch):
    monkeypatch.setattr(certificate, "BITS_ON_HOST", 2)
    for seed in range(4):
        pair = random_pair((2, 30, 1), 0.003, seed)
        upper = certificate.upper(pair._replace(errors=tuple(e[None] for e in pair.errors)))[0]
        supremum = plane.circle_supremum(pair)
        assert supremum <= upper < 5.0 * supremum
