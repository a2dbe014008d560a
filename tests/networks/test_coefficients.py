"""Affine maps composed in float64, and the bounds on what that rounds, against exact arithmetic."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from ltjax.networks import affine, coefficients
from ltjax.networks.affine import ReluNetwork

exactly = np.vectorize(Fraction, otypes=[object])
KINDS = ["products", "scaled", "shifted", "turned", "long"]
RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_draws():
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = START


def chain(kind, size=4, terms=5):
    """Random affine maps in float64 and in fractions, one after the other: coefficients of both."""
    x = coefficients.unit((1, size))
    exact = exactly(x.values)
    for _ in range(terms):
        spread = 10.0 ** RNG.integers(-6, 6, (size, size)) if kind == "long" else 1.0
        w, b = RNG.normal(size=(size, size)) * spread, RNG.normal(size=(1, size))
        if kind != "shifted":
            x = coefficients.mapped(x, np.matmul, w)
            exact = exact @ exactly(w)
        if kind == "scaled":
            x = coefficients.times(x, b)
            exact = exact * exactly(b)
        if kind == "turned":
            x, exact = coefficients.negative(x), -exact
        x = coefficients.plus(x, b)
        exact[-1] = exact[-1] + exactly(b)
    return x, exact


def exceeded(values, exact, off):
    """Whether some value is further from the exact one than its bound says."""
    return bool(np.any(np.abs(exactly(values) - exact) > exactly(off)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_rounded_is_bounded(kind):
    for _ in range(5):
        x, exact = chain(kind)
        assert not exceeded(x.values, exact, x.off)
        assert 0.0 < x.off.max() < 1e-12 * np.abs(x.values).max()
        # A number that is off by a little more than a bound is noticed.
        at = np.unravel_index(np.argmax(x.off), x.off.shape)
        wrong = x.values.copy()
        wrong[at] += 4.0 * x.off[at]
        assert exceeded(wrong, exact, x.off)


def test_what_a_layer_is_off_by_is_the_norm_of_all():
    x, exact = chain("products")
    weights, biases, off = coefficients.layer(x)
    apart = exactly(np.column_stack([weights, biases])) - exact.reshape(len(exact), -1).T
    assert np.sum(apart * apart) <= Fraction(off) ** 2
    assert off < 1e-12 * np.linalg.norm(weights)
    tiny = x._replace(off=x.off * 1e-300)
    assert coefficients.layer(tiny)[2] > 0.0


def test_an_operator_on_the_units_is_its_matrix_and_nothing_is_rounded():
    w, b = RNG.normal(size=(5, 3)), RNG.normal(size=3)
    x = coefficients.plus(coefficients.mapped(coefficients.unit((5,)), np.matmul, w), b)
    weights, biases, off = coefficients.layer(x)
    np.testing.assert_array_equal(weights, w.T)
    np.testing.assert_array_equal(biases, b)
    assert off == 0.0
    assert not coefficients.is_unit(x)
    assert coefficients.is_unit(coefficients.unit((5,)))
    assert not coefficients.is_unit(coefficients.plus(coefficients.unit((5,)), np.ones(5)))
    back = coefficients.times(coefficients.unit((5,)), np.full(5, 3.0))
    back = coefficients.times(back, np.full(5, 1.0 / 3.0), 1e-17)
    np.testing.assert_array_equal(back.values, coefficients.unit((5,)).values)
    assert not coefficients.is_unit(back)


def test_a_factor_that_is_itself_off():
    x, factor = coefficients.unit((1, 3)), np.array([[0.1, -0.3, 1.0 / 3.0]])
    scaled = coefficients.times(x, factor, 1e-10 * np.abs(factor))
    nearby = np.eye(4, 3).reshape(4, 1, 3) * factor * (1.0 + 1e-10)
    assert not exceeded(scaled.values, exactly(nearby), scaled.off + 1e-16)
    assert exceeded(scaled.values, exactly(nearby), 0.9 * scaled.off)


@pytest.mark.parametrize("last", ["linear", "relu"])
def test_what_layers_are_off_by_bounds_what_the_network_is(last):
    sizes, radius, rho = (3, 6, 5, 2), 2.0, (1e-3, 2e-3, 1e-3)
    largest = 0.0
    for _ in range(20):
        layers = [RNG.normal(size=(n, m + 1)) for m, n in pairwise(sizes)]
        errors = [RNG.normal(size=layer.shape) for layer in layers]
        errors = [r * e / np.linalg.norm(e) for r, e in zip(rho, errors, strict=True)]
        said = [layer + error for layer, error in zip(layers, errors, strict=True)]
        read, of_file = (
            ReluNetwork(tuple(a[:, :-1] for a in one), tuple(a[:, -1] for a in one), last, rho)
            for one in (layers, said)
        )
        x = RNG.normal(size=(2000, 3))
        x *= radius / np.linalg.norm(x, axis=1, keepdims=True)
        apart = np.linalg.norm(affine.forward(read, x) - affine.forward(of_file, x), axis=1)
        assert apart.max() <= affine.misread(read, radius)
        largest = max(largest, apart.max())
    assert largest > max(rho)


def test_of_one_layer_the_bound_is_nearly_reached():
    weights, biases, rho = np.zeros((1, 3)), np.zeros(1), 1e-3
    network = ReluNetwork((weights,), (biases,), "linear", (rho,))
    # The error rho (x, 1) / |(x, 1)|, at a point of norm 1.
    worst = rho * np.sqrt(2.0)
    assert worst <= affine.misread(network, 1.0) <= 1.5 * worst
    assert affine.misread(network._replace(rounding=()), 1.0) == 0.0


def test_what_a_layer_is_off_by_grows_in_those_behind_it():
    one, steep, none = np.ones((1, 1)), np.full((1, 1), 100.0), np.zeros(1)
    read = ReluNetwork((one, steep), (none, none), "linear", (1e-3, 0.0))
    of_file = read._replace(weights=(one + 1e-3, steep))
    x = np.full((1, 1), 2.0)
    apart = np.abs(affine.forward(read, x) - affine.forward(of_file, x)).item()
    assert apart <= affine.misread(read, 2.0) <= 1.6 * apart
    # Where layers are too large for float64 to say, there is no bound.
    huge = (np.full((1, 1), 1e200),) * 3
    large = ReluNetwork(huge, (none,) * 3, "linear", (1e-3, 0.0, 0.0))
    assert affine.misread(large, 1e300) == np.inf


def test_what_underflows_is_bounded_too():
    tiny = RNG.normal(size=(3, 3)) * 1e-160
    x, exact = coefficients.unit((1, 3)), exactly(np.eye(4, 3).reshape(4, 1, 3))
    for _ in range(2):
        x, exact = coefficients.mapped(x, np.matmul, tiny), exact @ exactly(tiny)
        x, exact = coefficients.times(x, tiny[:1]), exact * exactly(tiny[:1])
    assert not np.any(x.values)
    assert not exceeded(x.values, exact, x.off)
    assert np.all(x.off[:-1] > 0.0)
