"""Upper bounds of whole networks: never below an exact oracle, faults caught, and how tight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball, cones, distance, integer_program, supremum

from ltjax.networks.pairs import Pair
from ltjax.supnorm import ascent, certificate, plane

ORACLE = 1e-5  # relative: SCIP's tolerance of a constraint


def random_pair(sizes, eta, seed, sides=2, last="linear"):
    """Weights of norm 1 at most, errors up to eta: much smaller, or larger than many weights."""
    rng = np.random.default_rng([seed, *sizes])
    weights = [rng.normal(size=shape) for shape in zip(sizes[1:], sizes[:-1], strict=True)]
    weights = [w / np.linalg.norm(w, 2) * rng.uniform(0.5, 1.0) for w in weights]
    errors = [rng.uniform(-eta, eta, (1, *w.shape)) for w in weights]
    errors[0] = rng.uniform(-eta, eta, (sides, *weights[0].shape))
    return Pair(tuple(weights), tuple(errors), last)


def upper(pair):
    return certificate.upper(pair._replace(errors=tuple(e[None] for e in pair.errors)))[0]


compiled = jax.jit(lambda weights, errors: certificate.quick(Pair(weights, errors)))


def quick(pair):
    return float(compiled(*([jnp.asarray(x, jnp.float32) for x in part] for part in pair[:2])))


SMALL = [(2, 2, 1), (3, 2, 1), (2, 3, 1), (3, 3, 1), (2, 2, 2, 1), (3, 1, 2, 1)]
LARGER = [(4, 4, 1), (6, 4, 1), (4, 6, 1), (6, 6, 1), (3, 3, 3, 1), (4, 3, 4, 1), (3, 5, 4, 1)]
CIRCLE = [(2, 5, 1), (2, 7, 3), (2, 4, 4, 1), (2, 3, 4, 2), (2, 3, 3, 3, 1), (2, 4)]


# f = 0.1 relu(x) and g = -0.3 relu(1.5 x): opposed signs add up, to 0.55 at x = 1.
OPPOSED = Pair((np.eye(1), np.eye(1) * 0.1), (np.full((1, 1, 1), 0.5), np.full((1, 1, 1), -0.4)))


@pytest.fixture(scope="module")
def cases():
    """Networks, and bounds on their supremum that are equal but for the oracle's tolerance."""
    found = []
    for n, eta in enumerate((0.003, 0.05, 0.3, 0.05)):
        sides = 1 if n == 3 else 2
        for sizes in SMALL:
            pair = random_pair(sizes, eta, seed=n, sides=sides)
            found.append((pair, [cones(*pair[:2])] * 2))
        for sizes in CIRCLE:
            pair = random_pair(sizes, eta, n, sides, last="relu" if n == 2 else "linear")
            found.append((pair, [plane.circle_supremum(pair)] * 2))
    for n, sizes in enumerate(LARGER):
        pair = random_pair(sizes, (0.05, 0.3)[n % 2], seed=7, sides=1 + n % 2)
        found.append((pair, integer_program(*pair[:2])))
    found.append((OPPOSED, (0.55, 0.55)))
    # A network may be dead: then there is nothing to bound.
    return [(pair, bounds) for pair, bounds in found if bounds[0] > 1e-9]


def ratios(bound, cases):
    return np.array([bound(pair) / low for pair, (low, _) in cases])


def test_the_supremum_lies_between_points_and_bounds(cases):
    assert len(cases) >= 40
    for pair, (low, high) in cases:
        assert low <= high <= low * (1 + ORACLE)
        points = distance(*pair[:2], ball(pair.weights[0].shape[1], 20_000))
        assert pair.last == "relu" or points.max() <= high * (1 + ORACLE)
        # Random points come near in so few dimensions: the oracle is no idle upper bound.
        assert pair.last == "relu" or points.max() >= 0.9 * low


def test_no_bound_is_below_the_supremum(cases):
    found = ratios(upper, cases)
    assert found.min() >= 1 - 1e-12
    assert np.median(found) < 1.6
    # Shapes are few here, as each is compiled.
    one_hidden = [case for case in cases if [len(w) for w in case[0].weights[1:]] == [1]]
    assert ratios(quick, one_hidden[-5:]).min() >= 1 - 1e-6  # its networks are rounded


def both_sides(pair):
    first, *later = pair.errors
    return pair._replace(errors=(np.broadcast_to(first, (2, *first.shape[1:])), *later))


def lowers(cases):
    """`ascent.lower` over the exact value, networks of one shape together."""
    groups, found = {}, np.zeros(len(cases))
    for n, (pair, _) in enumerate(cases):
        groups.setdefault((tuple(w.shape for w in pair.weights), pair.last), []).append(n)
    for which in groups.values():
        pairs = [both_sides(cases[n][0]) for n in which]
        parts = zip(*(pair[:2] for pair in pairs), strict=True)
        layers = [tuple(map(np.stack, zip(*part, strict=True))) for part in parts]
        value, _ = ascent.lower(Pair(*layers, pairs[0].last), batch=4)
        found[which] = value / [cases[n][1][1] for n in which]
    return found


@pytest.mark.slow
def test_no_lower_bound_is_above_the_supremum_and_most_come_close(cases):
    # Of every shape more than one, as each shape is compiled.
    shapes = [[w.shape for w in pair.weights] for pair, _ in cases]
    some = [s for s in dict.fromkeys(map(tuple, shapes)) if shapes.count(list(s)) > 1][::2]
    found = lowers([case for case, s in zip(cases, shapes, strict=True) if tuple(s) in some])
    assert len(found) >= 20
    assert found.max() <= 1 + 1e-12
    assert np.median(found) > 1 - 1e-6
    assert np.mean(found > 0.95) > 0.8


@pytest.mark.slow
def test_a_planted_wrong_lower_bound_is_caught(cases, monkeypatch):
    some = [case for case in cases if len(case[0].weights) == 2][::6]
    reached = ascent.reached
    # A point that is believed to lie on the sphere, and lies outside.
    monkeypatch.setattr(ascent, "reached", lambda pair, x: 1.001 * np.array(reached(pair, x)))
    assert lowers(some).max() > 1 + 1e-4


def without_cost(layers, gain, xp, one_sign=certificate._one_sign):
    return one_sign(layers, gain, xp)[0], 0.0


def one_direction(layer, xp):
    up = np.maximum(np.maximum(layer[..., 0, :, :], -layer[..., -1, :, :]), 0.0)
    return np.linalg.norm(up, axis=-1)


def one_cut_too_many(layers, gain, xp, averaged=certificate.averaged):
    return averaged(layers, gain, xp) / (2 if len(layers) > 1 else 1)


FAULTS = {
    "the set bound forgets opposed signs": ("_one_sign", without_cost),
    "a row is bounded in one direction": ("_rows", one_direction),
    "2^l for 2^(l - 1)": ("averaged", one_cut_too_many),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_wrong_formula_is_caught(cases, fault, monkeypatch):
    monkeypatch.setattr(certificate, *fault)
    assert ratios(upper, cases).min() < 1 - 1e-6


def test_planted_wrong_errors_are_caught(cases):
    mirrored = lambda e: e * np.array([1.0, -1.0])[: len(e), None, None]
    for layer, wrong in ((0, mirrored), (0, np.zeros_like), (-1, np.zeros_like)):

        def planted(pair, layer=layer, wrong=wrong):
            errors = list(pair.errors)
            errors[layer] = wrong(errors[layer])
            return upper(pair._replace(errors=tuple(errors)))

        assert ratios(planted, cases).min() < 1 - 1e-3


def two_sided(errors):
    """The smallest of three bounds on sup ||E+ x+ - E- x-||, each by plain norms."""
    plus, minus = errors[0], errors[-1]
    both = np.linalg.norm(np.hstack([plus, minus]), 2)
    halves = (np.linalg.norm(plus + minus, 2) + np.linalg.norm(plus - minus, 2)) / 2
    columns = np.sqrt(np.maximum(np.sum(plus**2, axis=0), np.sum(minus**2, axis=0)).sum())
    return min(both, halves, columns)


def layerwise(pair):
    """Products of norms: ||C_l|| ... ||E_j|| ... ||W_1||, and with C and W exchanged."""
    f = [np.linalg.norm(w, 2) for w in pair.weights]
    g = [two_sided(w + e) for w, e in zip(*pair[:2], strict=True)]
    terms = [
        [np.prod(above[j + 1 :]) * two_sided(e) * np.prod(below[:j])]
        for above, below in ((f, g), (g, f))
        for j, e in enumerate(pair.errors)
    ]
    return np.sum(np.reshape(terms, (2, -1)), axis=1).min()


@pytest.mark.parametrize(
    "sizes", [(8, 8, 1), (16, 16, 1), (5, 7, 3), (8, 8, 8, 1), (4, 6, 5, 4, 2)]
)
def test_it_is_below_the_product_of_norms(sizes):
    found = []
    for seed in range(10):
        pair = random_pair(sizes, 0.01, seed)
        found.append(upper(pair) / layerwise(pair))
    assert np.max(found) <= 1 + 1e-9
    assert np.median(found) < (0.6 if sizes[-1] == 1 else 0.9)


@pytest.mark.parametrize("shape", [(1, 5), (6, 1), (3, 4), (8, 8), (20, 7)])
def test_the_two_sided_norm_holds(shape):
    rng = np.random.default_rng(shape)
    layer = rng.normal(size=(2, *shape)) * rng.choice([0.1, 1.0], shape)
    norm = lambda matrix: np.linalg.norm(matrix, 2, axis=(-2, -1))
    gain = certificate._gain(layer, norm, np)
    x = ball(shape[1], 20_000).T if shape[1] > 1 else np.array([[1.0, -1.0]])
    plus, minus = layer
    reached = np.linalg.norm(plus @ np.maximum(x, 0.0) - minus @ np.maximum(-x, 0.0), axis=0).max()
    assert reached <= gain <= two_sided(layer) * (1 + 1e-10)
    if shape[0] == 1 and shape[1] > 1:
        assert gain <= 1.02 * reached


def test_one_neuron_is_exact():
    rng = np.random.default_rng(3)
    weights = (rng.normal(size=(1, 4)),)
    errors = rng.uniform(-0.5, 0.5, (6, 2, 1, 4))
    # Linear: every input takes its better side, with one overall sign.
    sides = [np.maximum(s * errors[:, 0, 0], -s * errors[:, 1, 0]) for s in (1, -1)]
    sums = [np.linalg.norm(np.maximum(side, 0.0), axis=1) for side in sides]
    found = certificate.upper(Pair(weights, (errors,)))
    np.testing.assert_allclose(found, np.maximum(*sums), rtol=1e-9)
    expected = supremum(weights[0][0], errors[:, :, 0])
    found = certificate.upper(Pair(weights, (errors,), "relu"))
    assert np.all(expected * (1 - 1e-8) <= found)
    assert np.all(found <= 1.006 * expected)
    assert np.any(expected < 0.95 * np.maximum(*sums))


@pytest.mark.parametrize("sizes", [(3, 4, 1), (4, 3, 5, 2)])
def test_symmetries(sizes):
    pair = random_pair(sizes, 0.1, seed=5)
    (w, *weights), (e, *errors) = pair[:2]
    expected = upper(pair)
    scaled = Pair((4 * w, *weights), (4 * e, *errors))
    np.testing.assert_allclose(upper(scaled), 4 * expected, rtol=1e-12)
    order = np.random.default_rng(0).permutation(len(w))
    next_w, next_e = weights[0][:, order], errors[0][..., order]
    permuted = Pair((w[order], next_w, *weights[1:]), (e[:, order], next_e, *errors[1:]))
    np.testing.assert_allclose(upper(permuted), expected, rtol=1e-10)
    # Inputs may change their sign, and then the sides change places.
    mirrored = Pair((-w, *weights), (-e[::-1], *errors))
    np.testing.assert_allclose(upper(mirrored), expected, rtol=1e-10)
    # Half of a symmetry is none.
    assert abs(upper(Pair((-w, *weights), (e[::-1], *errors))) / expected - 1) > 1e-3


@pytest.mark.slow
def test_many_networks_are_bounded_as_one_is():
    weights, errors, *_ = random_pair((4, 5, 2), 0.05, seed=0)
    rng = np.random.default_rng(1)
    errors = tuple(rng.uniform(-0.05, 0.05, (200, *e.shape)) for e in errors)
    one = [upper(Pair(weights, tuple(e[n] for e in errors))) for n in range(200)]
    np.testing.assert_allclose(certificate.upper(Pair(weights, errors)), one, rtol=1e-12)
    many = jax.jit(jax.vmap(lambda w, e: certificate.quick(Pair(w, e)), (None, 0)))
    weights, errors = ([jnp.asarray(x, jnp.float32) for x in part] for part in (weights, errors))
    found = many(weights, errors)
    one = [quick(Pair(weights, [e[n] for e in errors])) for n in range(3)]
    np.testing.assert_allclose(found[:3], one, rtol=1e-5)
    assert certificate.upper(Pair(weights, [e[:0] for e in errors])).shape == (0,)


@pytest.mark.slow
@pytest.mark.parametrize("size", [1e-7, 1e-3, 0.1])
@pytest.mark.parametrize("sizes", [(8, 1), (8, 8, 1), (16, 16, 1), (5, 9, 3), (4, 6, 5, 1)])
def test_float32_is_above_its_own_formula(sizes, size):
    norm = lambda matrix: np.linalg.norm(matrix, 2, axis=(-2, -1))
    for seed in range(5):
        pair = random_pair(sizes, size, seed)
        weights, errors = ([np.float32(x).astype(float) for x in part] for part in pair[:2])
        own = certificate._bound(weights, errors, norm, np, certificate.BITS_ON_DEVICE)
        assert own <= quick(pair) <= 1.05 * own


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_the_norm_without_svd(scale):
    rng = np.random.default_rng(4)
    matrices = [rng.normal(size=shape) for shape in ((1, 1), (3, 7), (16, 16), (40, 8))]
    matrices += [np.eye(16), np.outer(rng.normal(size=9), rng.normal(size=4))]
    for matrix in matrices:
        matrix = np.float32(scale * matrix)
        found = float(certificate._gain(jnp.asarray(matrix)[None], certificate._schatten, jnp))
        expected = np.linalg.norm(matrix.astype(float), 2)
        assert expected <= found <= 1.05 * expected


@pytest.mark.slow
def test_equal_networks_and_broken_ones():
    pair = random_pair((4, 12, 3), 0.0, seed=1)
    assert 0 <= upper(pair) < 1e-100
    assert 0 <= quick(pair) < 1e-12
    for layer in range(2):
        errors = [e.copy() for e in pair.errors]
        errors[layer].flat[0] = np.nan
        broken = pair._replace(errors=tuple(errors))
        assert np.isnan(upper(broken))
        assert np.isnan(quick(broken))
