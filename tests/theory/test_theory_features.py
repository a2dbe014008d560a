"""Random features: the kernel, what the best coefficients leave, and the law of the keep rule."""

import numpy as np
import pytest
from scipy import integrate, linalg, special

from ltjax import theory
from ltjax.counting import intervals
from ltjax.errors import InputError
from ltjax.theory import features, harmonics, subnetworks

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
ERRORS = 5.0  # standard errors that normal tails leave at one side of that rate: 3e-7


def relu(x):
    return np.maximum(x, 0.0)


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def inputs(data, n, d, seed):
    """Points [n, d] of a law by its definition."""
    x = draw(seed, n, d)
    if data == "gaussian":
        return x
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    radius = np.random.default_rng(seed + 1).random((n, 1)) ** (1 / d) if data == "ball" else 1.0
    return x * radius


def told_apart(samples, right, wrong):
    """The mean is `right` within its error, and so well known that `wrong` is ruled out."""
    error = np.std(samples, axis=0, ddof=1) / len(samples) ** 0.5
    mean = np.mean(samples, axis=0)
    # The design first: a false `right` at `wrong` would lie as far from it as from the truth.
    assert np.all(np.abs(wrong - right) > 2 * ERRORS * error)
    assert np.all(np.abs(mean - right) < ERRORS * error)
    assert np.all(np.abs(mean - wrong) > ERRORS * error)


def plane(theta):
    """Pairs of unit vectors of the plane at an angle, none along an axis."""
    ends = np.array([0.3, 0.3 + theta])
    return np.stack([np.cos(ends), np.sin(ends)], axis=1)


@pytest.mark.parametrize("theta", [0.0, 0.4, 1.3, np.pi / 2, 2.6, 3.1])
def test_the_kernel_is_the_integral_over_the_angle(theta):
    # In the plane E rho^2 = 2, and both are positive for directions between theta - pi/2 and pi/2.
    value, _ = integrate.quad(
        lambda t: np.cos(t) * np.cos(t - theta) / np.pi, theta - np.pi / 2, np.pi / 2
    )
    u, v = plane(theta)
    found = features.kernel([2.0 * u], [3.0 * v, u])
    np.testing.assert_allclose(found, [[6.0 * value, 1.0]], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("data", features.SCALES)
def test_the_kernel_is_the_mean_over_inputs(data):
    d = 3
    u, v = np.array([0.4, -1.0, 0.3]), np.array([1.0, 0.5, -0.7])
    x = inputs(data, 400_000, d, seed=5)
    scale = features.kernel([u], [u], data)[0, 0] / (u @ u) * 2.0
    theta = np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    size = np.linalg.norm(u) * np.linalg.norm(v) / (2 * np.pi)
    right = features.kernel([u], [v], data)[0, 0]
    # Controls: without the term of the angle; the step in place of relu, degree 0; a law mistaken.
    controls = [scale * size * np.sin(theta), scale * size * (np.pi - theta)]
    controls.append(right * (d + 2) / d if data == "ball" else right * d / (d + 2))
    for wrong in controls:
        told_apart(relu(x @ u) * relu(x @ v), right, wrong)


def test_the_kernel_of_nearly_opposite_and_nearly_parallel_features():
    for gap in (1e-2, 1e-5, 1e-9, 1e-14):
        u, v = plane(0.0)[0], gap * np.array([-0.8, 0.6])  # |v| = gap
        # sin(phi) - phi cos(phi) = phi^3 (1/3 - phi^2/30 + phi^4/840), phi = 2 arcsin(chord / 2).
        other = -u + v
        opposite = features.kernel([u], [other])[0, 0]
        along = u @ v
        across = u[0] * v[1] - u[1] * v[0]
        phi = np.arctan2(abs(across), 1.0 - along)
        size = np.hypot(across, 1.0 - along) / (2 * np.pi)
        series = size * phi**3 * (1 / 3 - phi**2 / 30 + phi**4 / 840)
        # What the addition -u + v has rounded away is no fault of the kernel.
        np.testing.assert_allclose(opposite, series, rtol=1e-12 + 1e-15 / gap)
        assert opposite > 0.0
        parallel = features.kernel([u], [u + v])[0, 0]
        theta, size = np.arctan2(abs(across), 1.0 + along), np.hypot(across, 1.0 + along)
        right = size * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2 * np.pi)
        assert abs(parallel - right) < 1e-15
    assert features.kernel([u], [-u, 0.0 * u, 3.0 * u])[0].tolist() == [0.0, 0.0, 1.5]


def gram(rows, columns, data="gaussian"):
    """The kernel by its first form."""
    norms = np.outer(np.linalg.norm(rows, axis=1), np.linalg.norm(columns, axis=1))
    cosine = np.clip(rows @ columns.T / norms, -1.0, 1.0)
    theta = np.arccos(cosine)
    scale = features.SCALES[data](rows.shape[1])
    return scale * norms * (np.sin(theta) + (np.pi - theta) * cosine) / (2 * np.pi)


@pytest.mark.parametrize("data", features.SCALES)
@pytest.mark.parametrize("d", [2, 5, 20])
def test_residuals_are_those_of_separate_solves(d, data):
    w, rows = draw(1, d), draw(2, 60, d) * np.linspace(0.2, 3.0, 60)[:, None]
    found = theory.residuals(rows, w, data)
    energy = gram(w[None], w[None], data)[0, 0]
    for r in (1, 2, 7, 31, 60):
        # The loss is the norm of what is left of the last column of a root of the joint matrix.
        matrix = gram(np.vstack([rows[:r], w]), np.vstack([rows[:r], w]), data)
        values, vectors = np.linalg.eigh(matrix)
        root = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        u = linalg.lstsq(root[:, :r], root[:, r])[0]
        best = np.sum((root[:, :r] @ u - root[:, r]) ** 2)
        np.testing.assert_allclose(found.loss[r - 1], best, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.loss, energy * found.relative, rtol=1e-14)
    assert np.all(np.diff(found.relative) <= 0.0)
    assert found.jitter < 1e-12


def test_residuals_of_the_first_features_are_those_of_all():
    w, rows = draw(3, 6), draw(4, 90, 6)
    whole, part = theory.residuals(rows, w), theory.residuals(rows[:40], w)
    np.testing.assert_allclose(whole.relative[:40], part.relative, rtol=0, atol=1e-11)
    # The order of features counts, and the last residual does not know it.
    turned = theory.residuals(rows[::-1], w).relative
    assert abs(turned[0] - whole.relative[0]) > 1e-3
    np.testing.assert_allclose(turned[-1], whole.relative[-1], rtol=0, atol=1e-11)


def test_rotations_and_sizes_do_not_matter():
    w, rows = draw(5, 5), draw(6, 50, 5)
    turn = linalg.qr(draw(7, 5, 5))[0]
    right = theory.residuals(rows, w)
    sizes = np.geomspace(1e-3, 1e3, 50)[:, None]
    for other in (
        theory.residuals(rows @ turn, w @ turn),
        theory.residuals(sizes * rows, w),
        theory.residuals(rows, 7.0 * w, "sphere"),
    ):
        np.testing.assert_allclose(other.relative, right.relative, rtol=0, atol=1e-11)
    seven = theory.residuals(rows, 7.0 * w, "sphere")
    np.testing.assert_allclose(seven.loss, 49.0 / 5.0 * right.loss, rtol=0, atol=1e-9)
    # The other side is another neuron; a turn of the target alone is seen.
    assert np.max(np.abs(theory.residuals(rows, -w).relative - right.relative)) > 1e-2
    assert np.max(np.abs(theory.residuals(rows, w @ turn).relative - right.relative)) > 1e-2


def test_features_that_hold_the_target_or_its_opposite_or_one_another():
    w = np.array([0.3, -1.0, 0.7])
    rows = np.vstack([draw(8, 3, 3), 2.0 * w, draw(9, 4, 3)])
    found = theory.residuals(rows, w).relative
    assert np.all(found[:3] > 1e-3)
    # Its coefficient is 1, which costs the jitter.
    jitter = theory.residuals(rows, w).jitter
    assert np.all(np.abs(found[3:] - jitter) < 1e-15)
    assert jitter < 2e-14
    # relu(w.x) and relu(-w.x) are orthogonal, as one of them is 0.
    assert theory.residuals([-w], w).relative == pytest.approx([1.0], abs=1e-15)
    # Equal features explain no more than one does, and no less.
    same = theory.residuals(np.repeat(rows[:1], 200, axis=0), w).relative
    np.testing.assert_allclose(same, same[0], rtol=0, atol=1e-13)


def test_best_coefficients_reach_the_residual_or_stop_at_the_cap():
    w, rows = draw(10, 4), draw(11, 30, 4) * np.linspace(0.3, 2.0, 30)[:, None]
    free, least = theory.best_coefficients(rows, w, data="ball"), theory.residuals(rows, w, "ball")
    assert free.loss == pytest.approx(least.loss[-1], rel=1e-6)
    largest = np.max(np.abs(free.coefficients))
    losses = [theory.best_coefficients(rows, w, largest * c, "ball").loss for c in (1, 0.3, 0.03)]
    assert losses[0] == pytest.approx(free.loss, rel=1e-9)
    assert np.all(np.diff(losses) > 0.0)
    for cap in (0.03 * largest, 0.3 * largest):
        u = theory.best_coefficients(rows, w, cap, "ball").coefficients
        # Where it stops the slope points out of the box; inside there is none.
        slope = gram(rows, rows) @ u - gram(rows, w[None])[:, 0]
        at = np.abs(u) >= cap * (1 - 1e-9)
        assert 0 < np.sum(at) < 30
        assert np.max(np.abs(u)) <= cap
        assert np.all(slope[at] * u[at] < 0.0)
        assert np.max(np.abs(slope[~at])) < 1e-9 * np.max(np.abs(slope))


@pytest.mark.parametrize("data", features.SCALES)
def test_the_loss_on_fresh_inputs_is_the_one_foretold(data):
    w, rows = draw(12, 5), draw(13, 12, 5)
    fit = theory.best_coefficients(rows, w, data=data)
    x = inputs(data, 200_000, 5, seed=21)
    errors = (relu(x @ rows.T) @ fit.coefficients - relu(x @ w)) ** 2
    # The control is fitted and told by the wrong kernel, without the term of the angle.
    every = np.vstack([rows, w])
    norms = np.linalg.norm(every, axis=1)
    sines = np.sqrt(np.maximum(1 - (every @ every.T / np.outer(norms, norms)) ** 2, 0.0))
    wrong = np.outer(norms, norms) * sines / (2 * np.pi) + np.diag(norms**2 / 2)
    weights = np.append(fit.coefficients, -1.0)
    control = features.SCALES[data](5) * weights @ wrong @ weights
    told_apart(errors, fit.loss, control)


def test_medians_are_those_of_the_reference():
    # THEORY 1.4, each the median of three draws only, which scatter more in low dimension.
    reference = {5: (0.031, 0.0047, 0.0038), 20: (0.32, 0.16, 0.051)}
    for d, near in ((5, 2.0), (20, 1.25)):
        curves = [theory.residuals(draw([d, s], 300, d), np.eye(d)[0]).relative for s in range(21)]
        ratio = np.median(curves, axis=0)[[29, 99, 299]] / reference[d]
        assert np.all((ratio > 1 / near) & (ratio < near))


# Spherical harmonics.


def energy(angle, d, n):
    """t P_n(t) at t = cos(angle), whose density on [0, pi] is sin^(d - 2) over its integral."""
    density = np.sin(angle) ** (d - 2) / special.beta((d - 1) / 2, 0.5)
    if d == 2:
        return np.cos(angle) * np.cos(n * angle) * density
    polynomial = special.eval_gegenbauer(n, d / 2 - 1, np.array([np.cos(angle), 1.0]))
    return np.cos(angle) * polynomial[0] / polynomial[1] * density


@pytest.mark.parametrize("d", [2, 3, 6, 20])
def test_shares_are_integrals_against_gegenbauer_polynomials(d):
    count, share = harmonics.shares(d)
    for at, n in enumerate((0, 1, 2, 4, 6, 8)):
        first = integrate.quad(energy, 0, np.pi / 2, args=(d, n))[0]
        harmonic = special.comb(n + d - 1, n) - (special.comb(n + d - 3, n - 2) if n > 1 else 0)
        np.testing.assert_allclose(count[at], harmonic, rtol=1e-10)
        np.testing.assert_allclose(share[at], 2 * d * first**2 * harmonic, rtol=1e-8)
    assert np.sum(share) == pytest.approx(1.0, abs=1e-11)
    assert np.all(np.diff(share / count) < 0.0)


def test_random_features_leave_more_than_the_least():
    # In the mean over draws; 40 of them know it well enough to tell it from half of the bound.
    for d in (3, 8, 20):
        curves = np.array(
            [theory.residuals(draw([d, s], 120, d), np.eye(d)[1]).relative for s in range(40)]
        )
        r = np.array([1, 5, 20, 60, 120])
        found, least = curves[:, r - 1], theory.least_residual(d, r)
        error = np.std(found, axis=0, ddof=1) / 40**0.5
        mean = np.mean(found, axis=0)
        assert np.all(mean > least)
        # The bound says something: a fourfold one would be refuted in places.
        assert np.any(4.0 * least > mean + ERRORS * error)
        for residual in (0.7, 0.1, 0.01):
            needed = theory.least_features(d, residual)
            assert theory.least_residual(d, needed) == pytest.approx(residual, rel=1e-9)


def test_the_residual_after_whole_degrees_in_high_dimension():
    # Hermite shares 1/pi, 1/2, 1/(2 pi), 1/(24 pi) are the limit of large d.
    d = 2000
    after = np.cumsum([1, d, (d + 2) * (d - 1) // 2])
    np.testing.assert_allclose(
        theory.least_residual(d, after), 1 - np.cumsum([1 / np.pi, 0.5, 1 / (2 * np.pi)]), atol=1e-3
    )


# The keep rule.


def kept(rng, a, n, root=0.5):
    """v 1{kept} of n networks, [n, *shape of a], by its definition."""
    v = rng.uniform(-1.0, 1.0, (n, *np.shape(a)))
    return np.where((np.sign(v) == np.sign(a)) & (np.abs(v) <= np.abs(a) ** root), v, 0.0)


def test_the_moments_of_kept_weights():
    a, n = np.array([-1.0, -0.3, 0.0, 0.05, 0.6]), 2_000_000
    values = kept(np.random.default_rng(31), a, n)
    mean, square = subnetworks.keep_moments(a)
    # Both lie within [-1, 1] with range 1, for all five: Hoeffding at both rates.
    alpha = ERROR_RATE / (2 * len(a))
    reach = float(intervals.hoeffding(n, alpha))
    gap = float(intervals.detectable_gap(n, alpha, alpha))
    assert np.all(np.abs(np.mean(values, axis=0) - mean) < reach)
    assert np.all(np.abs(np.mean(values**2, axis=0) - square) < reach)
    # Kept to |a| without the root, the rule is another wherever 0 < |a| < 1.
    for at in (1, 4):
        size = abs(a[at])
        assert min((size - size**2) / 4, (size**1.5 - size**3) / 6) > gap
    wrong = kept(np.random.default_rng(32), a, n, root=1.0)[:, [1, 4]]
    assert np.all(np.abs(np.mean(wrong, axis=0) - mean[[1, 4]]) > reach)
    assert np.all(np.abs(np.mean(wrong**2, axis=0) - square[[1, 4]]) > reach)
    assert np.all(square <= 1 / 6)


def pruned(seed, root=0.5):
    """Losses of c g over draws of v, with what is foretold: B = 3 groups of n = 4 features."""
    w, rows = draw(41, 3), draw(42, 3, 4, 3) * np.linspace(0.5, 1.5, 4)[:, None]
    u = np.array([theory.best_coefficients(group, w, 1.5).coefficients for group in rows])
    every = np.vstack([rows.reshape(12, 3), w])
    values = kept(np.random.default_rng(seed), u / 1.5, 100_000, root).reshape(-1, 12)
    weights = np.append(4 * 1.5 / 3 * values, -np.ones((len(values), 1)), axis=1)
    losses = np.einsum("si,ij,sj->s", weights, gram(every, every), weights, optimize=True)
    moments = np.sum(rows**2, axis=-1) / 2.0
    mean = theory.squared_loss(u.ravel() / 3, every[:-1], w)
    return losses, mean, u, moments


def test_the_loss_of_a_subnetwork_is_that_of_the_mean_and_the_variance():
    losses, mean, u, moments = pruned(43)
    variance = theory.subnetwork_variance(u, 1.5, moments)
    # Controls: the square in place of the variance, and half of the factor 16.
    square = 16 * 1.5**2 / 9 * np.sum(np.abs(u / 1.5) ** 1.5 / 6 * moments)
    for wrong in (square, variance / 2):
        told_apart(losses, mean + variance, mean + wrong)
    # The rule without its root is caught by the same numbers.
    other = pruned(43, root=1.0)[0]
    assert abs(np.mean(other) - mean - variance) > 2 * ERRORS * np.std(other) / len(other) ** 0.5
    bound = theory.variance_bound(1.5, 4, np.max(moments), 3)
    assert variance < bound
    # Were all coefficients at the cap, only -a^2/16 and unequal norms would be left to lose.
    full = theory.subnetwork_variance(np.full((3, 4), 1.5), 1.5, np.max(moments))
    assert full == pytest.approx(bound * (1 - 6 / 16))
    # Groups agree no worse in the mean than each alone (convexity).
    alone = [theory.squared_loss(one, rows, draw(41, 3)) for one, rows in groups_of(u)]
    assert mean < np.mean(alone)


def groups_of(u):
    return zip(u, draw(42, 3, 4, 3) * np.linspace(0.5, 1.5, 4)[:, None], strict=True)


def test_groups_needed_is_the_first_number_that_is_enough():
    asked = {"cap": 1.5, "features": 4, "moment": 0.8, "excess": 0.1, "delta": 0.2}
    for loss, best, allowed in (
        ("absolute", 0.3, 0.1**2),
        ("squared", 0.0, 0.1),
        ("squared", 0.3, (0.4**0.5 - 0.3**0.5) ** 2),
    ):
        groups = theory.groups_needed(**asked, loss=loss, best=best)
        spread = theory.variance_bound(1.5, 4, 0.8, np.array([groups - 1, groups])) / 0.2
        assert spread[1] <= allowed < spread[0]


def test_the_promised_groups_keep_the_promise():
    w, rows, cap, delta, excess, n = draw(41, 3), draw(46, 4, 3), 1.5, 0.25, 0.2, 300
    fit = theory.best_coefficients(rows, w, cap)
    moment = np.max(np.sum(rows**2, axis=1)) / 2
    groups = theory.groups_needed(cap, 4, moment, excess, delta, best=fit.loss)

    def failed(groups):
        # All groups have the features of one, which is the mean of all.
        rng, every = np.random.default_rng(47), np.vstack([rows, w])
        a = np.broadcast_to(fit.coefficients / cap, (groups, 4))
        sums = [4 * cap / groups * np.sum(kept(rng, a, 1)[0], axis=0) for _ in range(n)]
        weights = np.append(np.array(sums), -np.ones((n, 1)), axis=1)
        losses = np.einsum("si,ij,sj->s", weights, gram(every, every), weights)
        return np.mean(losses > fit.loss + excess)

    reach = float(intervals.hoeffding(n, ERROR_RATE))
    assert failed(groups) + reach < delta
    assert failed(2) - reach > delta


ROWS, W = draw(51, 3, 2), draw(52, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: features.kernel(ROWS, ROWS[:, :1]), "one dimension, got 2 and 1"),
        (lambda: features.kernel(W, ROWS), r"u must be rows of one length, got shape \(2,\)"),
        (lambda: features.kernel(ROWS, ROWS[:0]), r"v must be rows .* \(0, 2\)"),
        (lambda: features.kernel(ROWS, [[np.nan, 1.0]]), "v must be finite, got nan"),
        (lambda: features.kernel(ROWS, ROWS, "cube"), "data must be one of gaussian, .* got cube"),
        (lambda: theory.residuals(ROWS, np.ones(3)), "one dimension, got 2 and 3"),
        (lambda: theory.residuals(ROWS, 0.0 * W), "must not be zero"),
        (lambda: theory.residuals(ROWS * [[1.0], [0.0], [1.0]], W), "must not be zero"),
        (lambda: theory.best_coefficients(ROWS, W, 0.0), "cap must be positive, got 0"),
        (lambda: theory.best_coefficients(ROWS, W, np.nan), "cap must be positive, got nan"),
        (lambda: theory.squared_loss([1.0], ROWS, W), r"one a feature, 3, got shape \(1,\)"),
        (lambda: theory.subnetwork_variance([[2.0]], 1.0, 0.5), "between -1 and 1, got 2"),
        (lambda: theory.groups_needed(1.0, 3, 0.5, 0.0), "excess must be positive"),
        (lambda: theory.groups_needed(1.0, 3, 0.5, 0.1, 1.0), "delta must lie"),
        (lambda: theory.groups_needed(1.0, 3, 0.5, 0.1, loss="hinge"), "got hinge"),
        (lambda: theory.least_residual(1, 3), "dim must be at least 2, got 1"),
        (lambda: theory.least_features(4, 0.0), "residual must lie between 1e-09 and 1, got 0"),
    ],
)
def test_unusable_input_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
