"""Which neurons are kept: the law of the keep rule, least squares in a box, ascents, by hand."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize

from ltjax import theory
from ltjax.masks import neurons

SOLVE, CLIMB = jax.jit(neurons.best_coefficients), jax.jit(neurons.climb, static_argnums=3)
GROUPS = jax.jit(neurons.groups, static_argnums=3)
ERRORS = 5.0  # standard errors that normal tails leave at one side of a rate of 1e-6: 3e-7


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def single(x):
    return jnp.asarray(x, jnp.float32)


def made(seed, k, rows=3):
    """Second moments (H, b, E y^2) of relu features of inputs [50, rows], uncentred; float64."""
    x = draw(seed, 50, rows) + 0.3
    phi = np.maximum(x @ draw(seed + 1, rows, k), 0.0)
    y = np.tanh(x[:, 0])
    return phi.T @ phi / 50, phi.T @ y / 50, y @ y / 50


def on_device(moments):
    return neurons.Moments(*map(single, moments))


def loss(moments, u):
    """Squared losses of coefficients [..., k] in float64."""
    H, b, square = moments
    u = np.asarray(u, np.float64)
    return square - 2 * u @ b + np.einsum("...i,ij,...j->...", u, H, u)


def boxed(moments, cap):
    """Best coefficients within a cap, by an active-set method."""
    H, b, _ = moments
    root = np.linalg.cholesky(H + 1e-14 * np.trace(H) * np.eye(len(b)))
    along = np.linalg.solve(root, b)
    return optimize.lsq_linear(root.T, along, (-cap, cap), "bvls", max_iter=100 * len(b)).x


# Coefficients of a group.


@pytest.mark.parametrize(("k", "rows"), [(1, 2), (7, 2), (20, 3), (40, 9)])
@pytest.mark.parametrize("cap", [0.003, 0.1, 0.4, 2.0])
def test_best_coefficients_are_those_of_an_active_set_method(k, rows, cap):
    moments = made(10 * k, k, rows)
    found = np.asarray(SOLVE(on_device(moments), single(cap)))
    best = boxed(moments, cap)
    assert np.max(np.abs(found)) <= np.float32(cap)
    gap = loss(moments, found) - loss(moments, best)
    assert -1e-6 * moments[2] < gap < 2e-4 * moments[2]
    # Were the box to come second, this gap would be seen.
    H, b, _ = moments
    free = np.clip(np.linalg.lstsq(H, b, rcond=1e-13)[0], -cap, cap)
    if 1 < np.sum(np.abs(best) < cap * (1 - 1e-6)) < k:
        assert loss(moments, free) - loss(moments, best) > 2e-3 * moments[2]


def test_every_regime_of_the_box_was_tried():
    at = [np.mean(np.abs(boxed(made(200, 20), cap)) >= cap * (1 - 1e-9)) for cap in (0.003, 0.1, 2)]
    assert at[0] == 1.0
    assert 0.0 < at[1] < 1.0
    assert at[2] < 0.2


def test_features_that_nothing_activates_do_no_harm():
    H, b, square = made(3, 7)
    alive = np.array([True, False, True, True, False, True, True])
    dead = on_device((H * np.outer(alive, alive), b * alive, square))
    found = np.asarray(SOLVE(dead, single(0.5)))
    np.testing.assert_array_equal(found[~alive], 0.0)
    rest = H[np.ix_(alive, alive)], b[alive], square
    assert loss(rest, found[alive]) - loss(rest, boxed(rest, 0.5)) < 1e-4 * square
    np.testing.assert_array_equal(SOLVE(on_device((0 * H, 0 * b, square)), single(0.5)), 0.0)


# The proof's choice.


def test_groups_by_hand():
    # Orthonormal features: the best coefficients are b itself, clipped to C = 1/2, and a = 2 b.
    b = np.array([0.125, -0.18, 0.9, -0.02, 0.08, 0.3, 0.3])
    #   sqrt|a|    0.5     0.6   1.0   0.2   0.4  of whole groups: the last neuron has none
    v = np.array([0.49, -0.61, 0.99, 0.1, 0.39, -0.1, 0.1])
    #             kept    no    kept sign   kept sign  none
    moments = on_device((np.eye(7), b, 1.0))
    widths = jnp.array([1, 2, 3, 4, 5, 6, 7], jnp.int32)
    found = GROUPS(moments, single(v), widths, 2, 0.5)
    kept = np.asarray(found.neurons)
    np.testing.assert_array_equal(np.flatnonzero(kept[-1]), [0, 2, 4])
    assert [np.flatnonzero(row).tolist() for row in kept] == [
        [], [0], [0], [0, 2], [0, 2], [0, 2, 4], [0, 2, 4],
    ]  # fmt: skip
    # c = 4 C / B, with B = 1, 1, 2, 2, 3, 3 from the second on.
    np.testing.assert_allclose(found.scale[1:], 2.0 / np.array([1, 1, 2, 2, 3, 3]), rtol=1e-6)


def coefficients(found, v):
    """theta = c v 1{kept}, [..., k]."""
    kept, scale = map(np.asarray, found)
    return np.where(kept, v, 0.0) * np.float64(scale)[..., None]


def kept_many(moments, n, count, cap, seed):
    """theta of n networks that share their features but not their output weights."""
    k = len(moments[1])
    v = np.random.default_rng(seed).uniform(-1, 1, (n, k)).astype(np.float32)
    widths = jnp.array([k], jnp.int32)
    one = lambda v: neurons.groups(on_device(moments), v, widths, count, cap)
    found = jax.jit(jax.vmap(one))(single(v))
    return coefficients(neurons.Kept(found.neurons[:, 0], found.scale[:, 0]), v), v


def told_apart(samples, right, wrong):
    """The mean is `right` within its error, and so well known that `wrong` is ruled out."""
    error = np.std(samples, axis=0, ddof=1) / len(samples) ** 0.5
    mean = np.mean(samples, axis=0)
    assert np.all(np.abs(wrong - right) > 2 * ERRORS * error)  # by design
    assert np.all(np.abs(mean - right) < ERRORS * error)
    assert np.all(np.abs(mean - wrong) > ERRORS * error)


def test_kept_neurons_are_the_best_coefficients_in_the_mean():
    count, cap, groups = 3, 0.25, 2
    moments = made(21, groups * count, 4)
    H, b, square = moments
    u = np.array([
        boxed((H[g : g + count, g : g + count], b[g : g + count], square), cap)
        for g in range(0, groups * count, count)
    ])  # fmt: skip
    assert 0 < np.sum(np.abs(u) > 0.999 * cap) < u.size
    assert np.min(u) < -0.05
    theta, v = kept_many(moments, 400_000, count, cap, seed=5)
    # E c v 1{kept} = u / B. Control: keep if |v| <= |a| makes a |a| / 4 of a / 4.
    mean, control = u.ravel() / groups, u.ravel() * np.abs(u.ravel()) / cap / groups
    differs = np.abs(np.abs(u.ravel()) / cap - 0.5) < 0.45
    assert np.sum(differs) > 1
    told_apart(theta[:, differs], mean[differs], control[differs])
    told_apart(theta, mean, 1.1 * mean)
    # The loss: that of the mean, and the variance. Controls: without it, and the wrong rule.
    variance = theory.subnetwork_variance(u, cap, np.diagonal(H).reshape(groups, count))
    told_apart(loss(moments, theta), loss(moments, mean) + variance, loss(moments, mean))
    wrong = np.where(
        (np.sign(v) == np.sign(u.ravel())) & (np.abs(v) <= np.abs(u.ravel()) / cap), v, 0
    )
    losses = loss(moments, 4 * cap / groups * wrong)
    away = abs(np.mean(losses) - loss(moments, mean) - variance)
    assert away > 2 * ERRORS * np.std(losses) / len(losses) ** 0.5


def test_a_width_between_two_multiples_is_the_lower_one():
    moments, v = on_device(made(31, 23)), single(np.random.default_rng(32).uniform(-1, 1, 23))
    widths = jnp.array([4, 5, 9, 10, 14, 15, 23], jnp.int32)
    kept, scale = map(np.asarray, GROUPS(moments, v, widths, 5, 0.3))
    assert not kept[0].any()
    for one, other in ((1, 2), (3, 4)):
        np.testing.assert_array_equal(kept[one], kept[other])
        assert scale[one] == scale[other]
    assert kept[5, :15].any()
    np.testing.assert_array_equal(kept[6, :15], kept[5, :15])
    assert kept[6, 15:20].any()
    assert not kept[6, 20:].any()
    # Nor does a wider network change what narrower ones keep.
    alone = GROUPS(
        neurons.Moments(moments.features[:14, :14], moments.target[:14], moments.square),
        v[:14], widths[:5], 5, 0.3,
    )  # fmt: skip
    np.testing.assert_array_equal(np.asarray(alone.neurons), kept[:5, :14])


# The practical one.

NETWORKS = 150


def climbed(k, widths, count=2, cap=0.4):
    """Moments, theta of `climb` and of `groups` [width, k] and v, of many networks."""
    step = jax.jit(
        lambda m, v: [
            search(m, v, jnp.asarray(widths, jnp.int32), count, cap)
            for search in (neurons.climb, neurons.groups)
        ]
    )
    for seed in range(NETWORKS):
        moments = made(1000 + 2 * seed, k)
        v = np.random.default_rng(seed).uniform(-1, 1, k).astype(np.float32)
        found, proved = step(on_device(moments), single(v))
        yield moments, v, found, coefficients(found, v), coefficients(proved, v)


def gains(moments, v, masks):
    """What the best c > 0 takes off E y^2, for masks [m, k]."""
    H, b, _ = moments
    theta = np.where(masks, np.float64(v), 0.0)
    along, square = theta @ b, np.einsum("mi,ij,mj->m", theta, H, theta)
    return np.where((along > 0) & (square > 0), along, 0.0) ** 2 / np.where(square > 0, square, 1.0)


def test_climb_is_no_worse_than_groups_and_seldom_worse_than_all_masks():
    k, best = 9, []
    masks = np.array(list(product((False, True), repeat=k)))
    for moments, v, found, theta, proved in climbed(k, (3, k)):
        tolerance = 1e-5 * moments[2]
        assert np.all(loss(moments, theta) <= loss(moments, proved) + tolerance)
        assert not theta[0, 3:].any()
        for width, ours in zip((3, k), theta, strict=True):
            least = moments[2] - np.max(gains(moments, v, masks & (np.arange(k) < width)))
            assert loss(moments, ours) >= least - tolerance
            best.append(loss(moments, ours) <= least + tolerance)
        assert np.all(np.asarray(found.scale) >= 0.0)
    assert np.mean(best[::2]) > 0.9
    assert 0.6 < np.mean(best[1::2]) < 1.0  # a local search, and sometimes seen to be one


def improvable(moments, v, kept):
    """Whether one neuron more or less would gain more than rounding hides."""
    masks = np.vstack([kept, kept ^ np.eye(len(v), dtype=bool)])
    gain = gains(moments, v, masks)
    return np.max(gain) > gain[0] * (1 + 1e-4) + 1e-7


def test_climb_ends_where_no_single_neuron_helps_with_the_best_scale():
    planted = 0
    for moments, v, found, _theta, _ in climbed(40, (40,)):
        kept = np.asarray(found.neurons)[0]
        assert 0 < np.sum(kept) < 40
        assert not improvable(moments, v, kept)
        H, b, _ = moments
        at = np.where(kept, np.float64(v), 0.0)
        np.testing.assert_allclose(found.scale[0], at @ b / (at @ H @ at), rtol=1e-4)
        planted += improvable(moments, v, kept ^ (np.arange(40) == np.argmax(kept)))
    assert planted > 0.9 * NETWORKS


@pytest.mark.parametrize("fault", ["no own square", "sign of the field", "another target"])
def test_a_planted_fault_ends_elsewhere(fault):
    caught = 0
    for seed in range(20):
        H, b, square = moments = made(1000 + 2 * seed, 40)
        wrong = {
            "no own square": (H - np.diag(np.diagonal(H)), b, square),
            "sign of the field": (2 * np.diag(np.diagonal(H)) - H, b, square),
            "another target": (H, b[::-1].copy(), square),
        }[fault]
        v = np.random.default_rng(seed).uniform(-1, 1, 40).astype(np.float32)
        found = CLIMB(on_device(wrong), single(v), jnp.array([40], jnp.int32), 2, 0.4)
        caught += improvable(moments, v, np.asarray(found.neurons)[0])
    assert caught == 20


def test_a_network_that_is_of_no_use_is_dropped():
    # Every feature with its output weight points away from the answers.
    H, b, square = made(77, 6)
    v = -np.sign(b) * np.array([0.2, 0.9, 0.5, 0.7, 0.3, 0.8])
    widths = jnp.array([2, 6], jnp.int32)
    found = CLIMB(on_device((H, b, square)), single(v), widths, 2, 0.4)
    assert not np.asarray(found.neurons).any()
    np.testing.assert_array_equal(found.scale, [0.0, 0.0])
    np.testing.assert_allclose(neurons.loss(on_device((H, b, square)), jnp.zeros(6)), square, 1e-6)
