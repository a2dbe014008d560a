"""The supremum over the ball: against its definition, closed forms and symmetries."""

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ball, brute_force, cones, difference, distance, slopes, supremum

from ltjax.networks.pairs import Pair
from ltjax.supnorm import one_neuron, plane

NOWHERE = np.array([])  # no threshold to decide
ROUNDING = 1e-9  # relative, of the references


def cases(dim, n, seed):
    """A random target, and errors of mixed size: large, small, with empty slots among them."""
    rng = np.random.default_rng([seed, dim])
    weights = rng.uniform(-1.0, 1.0, dim) * dim**-0.5
    errors = rng.uniform(-1.0, 1.0, (n, 2, dim)) * 10.0 ** rng.uniform(-3.0, -0.3, (n, 1, 1))
    return weights, np.where(rng.random(errors.shape) < 0.15, -weights, errors)


@pytest.mark.parametrize("dim", [1, 2, 3, 4, 5])
def test_it_is_the_best_of_all_orthants(dim):
    weights, errors = cases(dim, 25, seed=1)
    expected = [brute_force(weights, e) for e in errors]
    np.testing.assert_allclose(supremum(weights, errors), expected, rtol=2e-9)


@pytest.mark.parametrize("dim", [2, 4])
def test_a_planted_sign_error_is_caught(dim):
    # The comparison above has power: errors of the wrong sign on one side are caught.
    weights, errors = cases(dim, 25, seed=1)
    planted = errors * np.array([1.0, -1.0])[:, None]
    expected = np.array([brute_force(weights, e) for e in errors])
    assert np.mean(np.abs(supremum(weights, planted) - expected) > 1e-2 * expected) > 0.5


def test_in_one_dimension_there_are_two_points():
    # f = relu(w x), and g~ has slope w + e+ where x > 0 and w + e- where x < 0; the ball's ends are
    # x = 1 and x = -1, and both functions are linear in between.
    weights, errors = cases(1, 200, seed=2)
    relu = lambda z: np.maximum(z, 0.0)
    right = np.abs(relu(weights[0]) - relu(weights[0] + errors[:, 0, 0]))
    left = np.abs(relu(-weights[0]) - relu(-weights[0] - errors[:, 1, 0]))
    np.testing.assert_allclose(supremum(weights, errors), np.maximum(right, left), rtol=2e-9)


def test_in_two_dimensions_it_is_the_best_of_the_circle():
    weights, errors = cases(2, 25, seed=3)
    expected = np.array([difference(weights, e, ball(2, 400_000)).max() for e in errors])
    # Between two points of the circle the difference moves by at most its slope times half a step.
    slope = np.linalg.norm(weights) + np.linalg.norm(errors, axis=(1, 2))
    found = supremum(weights, errors)
    assert np.all(expected <= found * (1 + ROUNDING))
    assert np.all(found <= expected + slope * np.pi / 400_000)


@pytest.mark.parametrize("dim", [3, 9, 20])
def test_no_point_of_the_ball_is_worse(dim):
    weights, errors = cases(dim, 10, seed=4)
    x = ball(dim, 20_000)
    low, high = one_neuron.neuron_supremum(weights, errors, np.array([0.3, 0.1, 0.03, 0.01]))
    worst = np.array([difference(weights, e, x).max() for e in errors])
    assert np.all(low <= high)
    assert np.all(worst <= high)


def test_opposite_errors_do_not_add_up():
    # e+ = (a, -a), e- = 0: v - u = a (x_1+ - x_2+), between -a and a on the ball, although the
    # root of the sum of the worse squares is a sqrt 2. With x = (1, 0) both u and v are positive.
    weights, errors = np.array([0.6, 0.3]), np.array([[[0.1, -0.1], [0.0, 0.0]]])
    np.testing.assert_allclose(supremum(weights, errors), 0.1, rtol=2e-9)
    # With one sign they do: x = (1, 1) / sqrt 2.
    same = np.array([[[0.1, 0.1], [0.0, 0.0]]])
    np.testing.assert_allclose(supremum(weights, same), 0.1 * 2**0.5, rtol=2e-9)


def test_where_both_are_negative_the_relu_forgives_everything():
    # On the minus side of one input of weight 0.5 both functions vanish while w + e- >= 0.
    errors = np.array([[[0.01], [-0.4]], [[0.01], [-0.55]]])
    # In the second ticket v(-1) = 0.05.
    np.testing.assert_allclose(supremum([0.5], errors), [0.01, 0.05], rtol=2e-9)


def test_a_wrong_sign_near_zero():
    # w = 0.02 met by A W = -0.03 at W > 0: the slot error is -0.05, but at x = 1 f = 0.02 and
    # g~ = 0. The empty minus side has v = 0 there, as f has.
    errors = np.array([[[-0.05], [-0.02]]])
    np.testing.assert_allclose(supremum([0.02], errors), 0.02, rtol=2e-9)


def test_an_empty_ticket_errs_by_the_norm_of_the_target():
    weights = np.array([0.4, -0.2, 0.1])
    errors = np.broadcast_to(-weights, (1, 2, 3))
    np.testing.assert_allclose(supremum(weights, errors), np.linalg.norm(weights), rtol=2e-9)


def test_a_perfect_ticket_errs_by_nothing():
    low, high = one_neuron.neuron_supremum(
        np.array([0.4, -0.2]), np.zeros((1, 2, 2)), np.array([0.1])
    )
    assert low == high == 0.0


@pytest.mark.parametrize("dim", [2, 4])
def test_symmetries(dim):
    weights, errors = cases(dim, 20, seed=5)
    expected = supremum(weights, errors)
    order = np.random.default_rng(dim).permutation(dim)
    # With x_i for -x_i, w_i and its errors change sign and the sides change places.
    flipped, mirrored = weights.copy(), errors.copy()
    flipped[0], mirrored[:, :, 0] = -flipped[0], -errors[:, ::-1, 0]
    np.testing.assert_allclose(supremum(weights[order], errors[:, :, order]), expected, rtol=4e-9)
    np.testing.assert_allclose(supremum(flipped, mirrored), expected, rtol=4e-9)
    np.testing.assert_allclose(supremum(0.25 * weights, 0.25 * errors), 0.25 * expected, rtol=4e-9)
    # Half of a symmetry is none.
    assert not np.allclose(supremum(flipped, errors), expected, rtol=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_thresholds_about_the_supremum_are_decided_right(dim):
    weights, errors = cases(dim, 25, seed=6)
    expected = np.array([brute_force(weights, e) for e in errors])
    epsilons = np.outer(expected, [1 - 1e-6, 1 + 1e-6])
    low, high = one_neuron.neuron_supremum(weights, errors, np.sort(epsilons.ravel())[::-1])
    assert np.all(low > epsilons[:, 0])
    assert np.all(high <= epsilons[:, 1])


def test_a_threshold_at_the_cheap_bound_is_decided():
    # sup (v - u) = e_2+ = 0.2 is where u < 0, so that the relu forgives a part of it.
    weights = np.array([0.5, -0.2, 0.03])
    errors = np.array([[[-0.1, 0.2, -0.03], [0.01, -0.06, 0.01]]])
    assert brute_force(weights, errors[0]) < 0.16
    low, high = one_neuron.neuron_supremum(weights, errors, np.array([0.2]))
    assert low <= high <= 0.2


def test_a_supremum_equal_to_the_threshold_is_known_to_rounding():
    # The second weight is given up where x_2 < 0: there f = 0.2 |x_2| and g~ = 0.
    weights, errors = np.array([0.5, -0.2]), np.array([[[0.0, 0.0], [0.0, 0.2]]])
    low, high = one_neuron.neuron_supremum(weights, errors, np.array([0.2]))
    assert low <= 0.2 <= high <= low * (1 + 1e-11)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 16])
def test_bounds_of_the_device_hold(dim):
    weights, errors = cases(dim, 50, seed=7)
    device = jnp.asarray(np.moveaxis(errors, 0, -1), jnp.float32)
    column = jnp.asarray(weights, jnp.float32)[:, None]
    low, high = (np.asarray(x, np.float64) for x in one_neuron.neuron_bounds(column, device))
    size = 2.0**-20  # sums of 16 float32 terms of size 1
    below, above = one_neuron.neuron_supremum(weights, errors, NOWHERE)
    assert np.all(low <= above + size)
    assert np.all(high >= below - size)
    # The upper one is the supremum of |v - u|, chosen side by side with one overall sign.
    signed = np.array([1.0, -1.0])[:, None] * errors
    sides = [np.linalg.norm(np.maximum(s * signed, 0.0).max(axis=1), axis=1) for s in (1, -1)]
    np.testing.assert_allclose(high, np.maximum(*sides), rtol=1e-5)


def plane_pair(sizes, seed, sides=2, eta=0.05, last="linear"):
    rng = np.random.default_rng([seed, *sizes])
    shapes = list(zip(sizes, (2, *sizes[:-1]), strict=True))
    weights = tuple(rng.normal(size=shape) * shape[1] ** -0.5 for shape in shapes)
    errors = [rng.uniform(-eta, eta, (1, *shape)) for shape in shapes]
    errors[0] = rng.uniform(-eta, eta, (sides, *shapes[0]))
    return Pair(weights, tuple(errors), last)


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("sizes", [(1,), (2, 1), (3, 1), (2, 2, 1)])
def test_the_circle_agrees_with_every_pattern(sizes, sides):
    for seed in range(3):
        pair = plane_pair(sizes, seed, sides)
        expected = cones(*pair[:2])
        np.testing.assert_allclose(plane.circle_supremum(pair), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("last", ["linear", "relu"])
@pytest.mark.parametrize("sizes", [(3,), (8, 1), (6, 3), (5, 4, 2), (4, 3, 5, 4, 1)])
def test_the_circle_is_the_best_of_its_points(sizes, last):
    n, x = 20_000, ball(2, 20_000)
    for seed in range(5):
        pair = plane_pair(sizes, seed, last=last)
        found = plane.circle_supremum(pair)
        clip = (lambda z: np.maximum(z, 0.0)) if last == "relu" else (lambda z: z)
        outputs = [clip(plain(layers, x)) for layers in slopes(*pair[:2])]
        reached = np.linalg.norm(outputs[0] - outputs[1], axis=1).max()
        # Between two points f and g move by at most their slopes times half a step.
        slope = sum(np.prod([np.linalg.norm(w, 2) for w in net]) for net in slopes(*pair[:2]))
        assert reached <= found * (1 + 1e-12)
        assert found <= reached + 2**0.5 * slope * np.pi / n


def plain(layers, x):
    h = np.maximum(np.hstack([x, -x]), 0.0)
    for layer in layers[:-1]:
        h = np.maximum(h @ layer.T, 0.0)
    return h @ layers[-1].T


def test_a_planted_fault_on_the_circle_is_caught():
    wrong = 0
    for seed in range(10):
        pair = plane_pair((3, 1), seed)
        first, *errors = pair.errors
        planted = pair._replace(errors=(first * np.array([1.0, -1.0])[:, None, None], *errors))
        expected = distance(*pair[:2], ball(2, 20_000)).max()
        wrong += abs(plane.circle_supremum(planted) - expected) > 1e-2 * expected
    assert wrong > 5


def test_the_circle_finds_a_corner_and_a_singular_vector():
    # g - f = 0.3 relu(x_1) is largest on an axis; with three outputs E = diag(3, 1) R on one side
    # of no wall at all, it is the largest singular value, wherever R turns it.
    corner = Pair((np.eye(2), np.ones((1, 2))), (np.zeros((2, 2, 2)), np.array([[[0.3, 0.0]]])))
    np.testing.assert_allclose(plane.circle_supremum(corner), 0.3, rtol=1e-14)
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    linear = Pair((np.ones((3, 2)),), ((np.array([[3.0, 0], [0, 1], [0, 0]]) @ turn)[None],))
    np.testing.assert_allclose(plane.circle_supremum(linear), 3.0, rtol=1e-14)
