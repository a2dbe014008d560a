"""Whole neurons: laws, moments and losses against their definitions, brackets, claims, counts."""

from dataclasses import replace
from functools import cache
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import special as jax_special
from scipy import special
from scipy import stats as laws

from ltjax import api, theory
from ltjax.counting import engine, intervals, records
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.features import device, host
from ltjax.experiments.features.config import ACTIVATIONS
from ltjax.experiments.features.problems import features
from ltjax.experiments.features.theory import subnetwork_success
from ltjax.masks import neurons
from ltjax.weights import draws

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
ERRORS = 5.0  # standard errors that normal tails leave at one side of that rate: 3e-7
CPU = jax.devices("cpu")
W = (0.6, -0.5, 0.3)
TRIALS = np.array([0, 3, 77, 2**31, 2**32 - 1], np.uint32)


def problem(**change):
    asked = {"count": 4, "widths": (3, 4, 11, 40), "epsilons": (0.2, 0.08, 0.02), "seed": 5}
    if not isinstance(change.get("data"), tuple):  # which has its own answers
        asked["target"] = W
    return features(**{**asked, **change})


def answers(n=700, seed=1):
    """Data of one's own, more than one chunk, in three dimensions and off centre."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * (1.0, 0.5, 2.0) + (0.4, 0.0, -0.3)
    return x, np.tanh(x[:, 0] - 0.5 * x[:, 2] ** 2 + 0.1 * rng.normal(size=n))


@pytest.fixture(scope="module")
def exact():
    return problem()


@cache
def compiled(config, module):
    one = lambda key, target, widths: module.trial(key, target, widths, config)
    return jax.jit(jax.vmap(one, (0, None, None)))


def pruned(asked, trials, module=device):
    """Outcomes of some trials, side by side."""
    numbers = jnp.asarray(trials, jnp.uint32)
    keys = draws.trial_key(jnp.full(len(numbers), asked.seed, jnp.uint32), numbers)
    target = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), asked.arrays)
    widths = jnp.asarray(asked.grid.widths, jnp.int32)
    found = compiled(asked.config, module)(keys, target, widths)
    return module.Outcome(*map(np.array, found))


def subnetworks(asked, trials, found):
    """Place in the outcome, hidden weights and coefficients of all that was found, in float64."""
    for n, trial in enumerate(trials):
        hidden, output = host.network(asked.seed, trial, asked.config)
        for c, k in np.ndindex(found.kept.shape[1:3]):
            theta = np.where(found.kept[n, c, k], np.float64(found.scale[n, c, k]) * output, 0.0)
            yield (n, c, k), hidden, theta


def told_apart(samples, right, wrong):
    """The mean is `right` within its error, and so well known that `wrong` is ruled out."""
    error = np.std(samples, axis=0, ddof=1) / len(samples) ** 0.5
    mean = np.mean(samples, axis=0)
    assert np.all(np.abs(wrong - right) > 2 * ERRORS * error)  # by design
    assert np.all(np.abs(mean - right) < ERRORS * error)
    assert np.all(np.abs(mean - wrong) > ERRORS * error)


# Laws.

DRAWN = 200_000


def vectors(law, radius, dim, seed=0):
    """DRAWN vectors of a law on the device, as float64."""
    key = draws.trial_key(jnp.uint32(seed), jnp.uint32(1))
    number = jnp.arange(DRAWN, dtype=jnp.uint32)[:, None]
    index = jnp.arange(dim + 1, dtype=jnp.uint32)[None]
    words = draws.word(draws.stream(key, 0, draws.HIDDEN), number, index)
    found = host.directions(words, law, radius, jnp, jax_special)
    again = host.directions(np.asarray(words), law, radius)
    np.testing.assert_allclose(found, again, rtol=2e-6, atol=2e-6)
    return np.asarray(found, np.float64)


def follows(samples, law):
    """Whether a sample stays within the band about its distribution function at the error rate."""
    x = np.sort(samples)
    ranks = np.arange(len(x) + 1) / len(x)
    distance = max(np.max(ranks[1:] - law(x)), np.max(law(x) - ranks[:-1]))
    return distance < float(intervals.dkw(len(x), ERROR_RATE))


def length_laws(law, dim):
    """Of ||w|| / radius where it is below 1: its distribution function, up to a factor."""
    if law == "ball":
        return lambda r: r**dim
    return lambda r: laws.chi2.cdf(r**2 * dim, dim)


@pytest.mark.parametrize("dim", [1, 2, 7])
@pytest.mark.parametrize("law", ["ball", "sphere", "gaussian"])
def test_weights_follow_their_law_and_stay_in_the_radius(law, dim):
    radius = 0.7
    w = vectors(law, radius, dim)
    length = np.linalg.norm(w, axis=1) / radius
    assert np.max(length) < 1 + 1e-6
    shorter = length[length < 1 - 1e-6]
    if law == "sphere":
        assert len(shorter) == 0
    else:
        right, wrong = length_laws(law, dim), length_laws(law, dim + 1)
        reach = intervals.hoeffding(DRAWN, ERROR_RATE)
        assert abs(len(shorter) / DRAWN - right(1.0)) < reach
        assert follows(shorter, lambda r: right(r) / right(1.0))
        assert not follows(shorter, lambda r: wrong(r) / wrong(1.0))
    # Directions: (1 + u_1) / 2 of a uniform unit vector is Beta((d - 1)/2, (d - 1)/2).
    unit = w / np.linalg.norm(w, axis=1, keepdims=True)
    if dim == 1:
        assert abs(np.mean(unit)) < 2 * intervals.hoeffding(DRAWN, ERROR_RATE)
        return
    angle = lambda d: lambda t: laws.beta.cdf((1 + t) / 2, (d - 1) / 2, (d - 1) / 2)
    for axis in (0, dim - 1):
        assert follows(unit[:, axis], angle(dim))
        assert not follows(unit[:, axis], angle(dim + 1))
    assert np.max(np.abs(np.mean(unit[:, :1] * unit[:, 1:], axis=0))) < ERRORS / DRAWN**0.5


def test_networks_do_not_share_weights_inputs_or_references():
    asked = problem(loss="absolute", samples=50)
    sets = [host.network(5, trial, asked.config)[0] for trial in (1, 2)]
    sets += [host.network(6, 1, asked.config)[0]]
    sets += [host.fresh(asked, trial, sample)[0] for trial in (1, 2) for sample in range(4)]
    key = draws.trial_key(np.array([5], np.uint32), np.array([1], np.uint32))
    sets += [host.layer(key, asked.config, np, special, host.REFERENCE)[0]]
    every = np.concatenate(sets)
    assert len(np.unique(every[:, 0])) == len(every)
    # Nor are output weights a function of hidden ones.
    hidden, output = host.network(5, 1, replace(asked.config, most=16_000))
    assert follows(output, lambda v: (v + 1) / 2)
    agree = np.mean(np.sign(hidden * output[:, None]), axis=0)
    assert np.max(np.abs(agree)) < ERRORS / len(output) ** 0.5
    narrow = replace(asked.config, most=7)
    np.testing.assert_array_equal(host.network(5, 1, narrow)[0], sets[0][:7])


# Moments and losses.


def sampled(data, n, dim, seed):
    """Points of a law by its definition."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim))
    if data == "gaussian":
        return x
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x * rng.random((n, 1)) ** (1 / dim) if data == "ball" else x


@pytest.mark.parametrize("data", ["gaussian", "sphere", "ball"])
def test_exact_moments_are_means_over_fresh_inputs(data):
    asked = problem(data=data, widths=(4,), law="ball")
    hidden, _ = host.network(5, 9, asked.config)
    hidden32, w = jnp.asarray(hidden, jnp.float32), jnp.asarray(W, jnp.float32)
    H, b, square = map(np.asarray, device.exact_moments(hidden32, w, asked.config))
    x = sampled(data, 400_000, 3, 8)
    phi, y = np.maximum(x @ hidden.T, 0.0), np.maximum(x @ np.array(W), 0.0)
    every = np.vstack([hidden, W])
    size = np.outer(*2 * [np.linalg.norm(every, axis=1)])
    cosine = np.clip(every @ every.T / size, -1, 1)
    sines = host.second_moment(data, 3) * size * np.sqrt(1 - cosine**2) / (2 * np.pi)
    for i, j in ((0, 1), (1, 3), (2, 0)):
        # Controls: without the term of the angle; another law of the inputs.
        told_apart(phi[:, i] * phi[:, j], H[i, j], sines[i, j])
        told_apart(phi[:, i] * phi[:, j], H[i, j], H[i, j] * 5 / 3)
        told_apart(phi[:, j] * y, b[j], sines[j, -1])
    told_apart(phi**2, np.diagonal(H), np.diagonal(H) * 5 / 3)
    told_apart(y**2, square, square * 5 / 3)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_their_definition_and_lipschitz(name):
    z = np.linspace(-6, 6, 100_001)
    right = {
        "relu": np.where(z > 0, z, 0),
        "leaky_relu": z * np.where(z > 0, 1.0, 0.1),
        "abs": np.sqrt(z * z),
        "tanh": 1 - 2 / (np.exp(2 * z) + 1),
        "erf": 2 * laws.norm.cdf(z * 2**0.5) - 1,
    }[name]
    np.testing.assert_allclose(host.activate(name, z), right, atol=1e-14)
    assert host.activate(name, np.zeros(1)) == 0.0  # what fills up a chunk counts for nothing
    single = host.activate(name, jnp.asarray(z, jnp.float32), jnp, jax_special)
    np.testing.assert_allclose(single, right, atol=1e-6)
    steepest = np.max(np.abs(np.diff(right))) / (z[1] - z[0])
    assert ACTIVATIONS[name] / 1.01 < steepest < ACTIVATIONS[name] * (1 + 1e-9)


def loss_of(asked, hidden, theta, x, y):
    """Mean loss over inputs by its definition, one input after the other."""
    total = 0.0
    for row, wanted in zip(x, y, strict=True):
        z = hidden @ row
        sigma = {"relu": np.maximum(z, 0), "abs": np.abs(z)}
        off = sigma[asked.config.activation] @ theta - wanted
        total += off**2 if asked.config.loss == "squared" else abs(off)
    return total / len(x)


@pytest.mark.slow
@pytest.mark.parametrize(("activation", "loss"), [("relu", "squared"), ("abs", "absolute")])
def test_of_a_data_file_the_loss_is_the_mean_over_its_rows(activation, loss):
    x, y = answers()
    asked = problem(data=(x, y), activation=activation, loss=loss)
    found = pruned(asked, TRIALS[:3])
    inside = 0
    for at, hidden, theta in subnetworks(asked, TRIALS[:3], found):
        value = loss_of(asked, hidden, theta, x, y) - asked.config.baseline
        assert found.lower[at] <= value <= found.upper[at]
        assert found.upper[at] - found.lower[at] < 1e-3 * (1 + value)
        again = host.excess(asked, (x, y), TRIALS[at[0]], found.kept[at], found.scale[at])
        np.testing.assert_allclose(again, value, rtol=1e-10, atol=1e-12)
        # Without its last row it is another loss: padded rows are left out, and no others.
        short = loss_of(asked, hidden, theta, x[:-1], y[:-1]) - asked.config.baseline
        inside += found.lower[at] <= short <= found.upper[at]
    assert inside < 6
    device.check(asked, TRIALS[:3], *found)


def doubled(hidden, theta):
    """|z| = relu(z) + relu(-z): what is exact for relu is so for abs."""
    return np.vstack([hidden, -hidden]), np.concatenate([theta, theta])


@pytest.mark.slow
def test_a_bracket_from_fresh_inputs_holds_at_its_level():
    trials = np.arange(1000)
    asked = problem(activation="abs", samples=1000, widths=(12,), searches=("groups",))
    found = pruned(asked, trials)
    value = np.empty(len(trials))
    for (n, *_), hidden, theta in subnetworks(asked, trials, found):
        value[n] = theory.squared_loss(*reversed(doubled(hidden, theta)), W)
    ends = np.stack([found.lower, found.upper])[..., 0, 0].astype(np.float64)
    off = np.abs(value - asked.config.baseline - ends.mean(axis=0))
    half = (ends[1] - ends[0]) / 2
    # Half as wide it is an interval at 90 %, and is caught by the number of misses allowed.
    allowed = laws.binom.isf(ERROR_RATE, len(trials), 1 - host.LEVEL)
    assert laws.binom.cdf(allowed, len(trials), 0.05) < ERROR_RATE
    assert np.sum(off > half) <= allowed
    assert np.sum(off > half / 2) > allowed
    # Nor is it far too wide: a third of it misses as often as a normal law does, or nearly so.
    assert 0.2 < np.mean(off > half / 3) < 0.4
    assert host.half_widths(1000) == pytest.approx(laws.norm.isf((1 - host.LEVEL) / 2), rel=5e-3)
    assert host.half_widths(2) > 100
    device.check(asked, trials, *found)


def test_settling_closes_what_holds_an_epsilon_and_nothing_else(exact):
    found = pruned(exact, TRIALS)
    # One epsilon inside a bracket, by design; at the others nothing is open.
    middle = (np.float64(found.lower) + found.upper) / 2
    at = (1, *np.argwhere(middle[1] > 0.05)[-1])
    epsilon = float(middle[at])
    assert found.lower[at] < found.upper[at]
    inside = replace(exact, grid=replace(exact.grid, epsilons=(epsilon,)))
    lower, upper = device.settle(inside, TRIALS, *found)
    assert lower.dtype == upper.dtype == np.float64
    closed = lower == upper
    assert closed[at]
    np.testing.assert_array_equal(lower[~closed], found.lower[~closed])
    np.testing.assert_array_equal(upper[~closed], found.upper[~closed])
    assert np.sum(closed) < closed.size / 2
    for place, hidden, theta in subnetworks(exact, TRIALS, found):
        value = theory.squared_loss(theta, hidden, W) - exact.config.baseline
        assert found.lower[place] <= value <= found.upper[place]
        if closed[place]:
            assert abs(lower[place] - value) < 1e-13
        # In float32 the last digits are others: the verdict rests on the host.
    assert abs(middle[at] - lower[at]) > 1e-12


@pytest.mark.slow
def test_an_estimate_is_not_narrowed():
    # An epsilon within the reach of chance.
    estimated = problem(
        loss="absolute", samples=600, law="gaussian", epsilons=(0.15,), searches=("groups",)
    )
    found = pruned(estimated, TRIALS)
    lower, upper = device.settle(estimated, TRIALS, *found)
    np.testing.assert_array_equal(lower, found.lower)
    np.testing.assert_array_equal(upper, found.upper)
    certified, refuted = engine.verdicts(found.lower, found.upper, (0.15,))
    assert 0 < np.sum(certified + refuted == 0) < certified.size


@pytest.mark.slow
def test_one_network_equals_the_same_one_in_a_crowd(exact):
    crowd = pruned(exact, TRIALS)
    for n in (1, 4):
        alone = pruned(exact, TRIALS[n : n + 1])
        np.testing.assert_array_equal(alone.kept[0], crowd.kept[n])
        for a, b in zip(alone, crowd, strict=True):
            np.testing.assert_allclose(a[0], b[n], rtol=1e-4, atol=1e-5)


# The known-answer check.


def test_the_check_passes_what_is_right_and_refuses_what_is_not(exact):
    found = pruned(exact, TRIALS)
    device.check(exact, TRIALS, *found)
    gap = found.upper - found.lower
    beyond = found.kept.copy()
    beyond[0, :, :-1] |= np.arange(40) == 39
    beyond[0, :, -1] ^= np.arange(40) == 39
    for wrong in (
        found._replace(lower=found.lower + gap, upper=found.upper + gap),
        found._replace(lower=found.lower - gap, upper=found.upper - gap),
        found._replace(scale=1.01 * found.scale),
        found._replace(upper=np.full_like(found.upper, np.nan)),
        found._replace(kept=beyond),
    ):
        with pytest.raises(WrongKernelError, match="squared, width 40"):
            device.check(exact, TRIALS, *wrong)
    # At a narrower last width, a neuron beyond it.
    narrow = replace(exact, grid=replace(exact.grid, widths=(3, 4, 11)))
    found = device.Outcome(*(part[:, :, :3] for part in found))
    device.check(narrow, TRIALS, *found)
    found.kept[0, 1, 2, 39] = True
    with pytest.raises(WrongKernelError, match="climb/squared, width 11"):
        device.check(narrow, TRIALS, *found)


def planted(**changes):
    """The experiment with some of its functions replaced."""
    module = ModuleType("planted")
    source = device.__spec__.loader.get_source(device.__name__)
    exec(compile(source, device.__file__, "exec"), vars(module))
    vars(module).update(changes)
    return module


def flat_kernel(u, v, xp=np):
    lengths = xp.linalg.norm(u, axis=1)[:, None] * xp.linalg.norm(v, axis=1)[None]
    cosine = xp.clip(u @ v.T / lengths, -1.0, 1.0)
    return lengths * (xp.sqrt(1.0 - cosine**2) + 0.5 * np.pi * cosine) / (2.0 * np.pi)


FAULTS = {
    "kernel": ({}, {"kernel": lambda u, v, xp: 1.01 * host.kernel(u, v, xp)}),
    "activation": (
        {"activation": "tanh", "samples": 2000},
        {"activate": lambda name, z, *_: 1.1 * jnp.tanh(z)},
    ),
    "rows": (
        {"data": answers(), "activation": "tanh", "loss": "absolute"},
        {"measured_loss": lambda h, x, y, t, c: device.measured_loss(h, x[1:], y[1:], t, c)},
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("change", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_wrong_kernel_stops_the_run(change, fault):
    asked = problem(widths=(40,), searches=("groups",), **change)
    with pytest.raises(WrongKernelError, match="width 40"):
        counts(asked, (0, 1), lanes=1, module=planted(**fault))


@pytest.mark.slow
def test_neurons_beyond_the_width_are_seen(exact):
    def groups(moments, output, widths, *given):
        return neurons.groups(moments, output, 0 * widths + len(output), *given)

    config = replace(exact.config, searches=("groups",))
    asked = replace(exact, config=config, grid=replace(exact.grid, widths=(11,)))
    module = planted(neurons=SimpleNamespace(groups=groups, loss=neurons.loss))
    with pytest.raises(WrongKernelError, match="groups/squared, width 11"):
        counts(asked, (0, 1), lanes=1, module=module)


# The equivalence, both ways, as claims that can fail.


def losses_and_residuals(asked, module=device):
    """Upper ends of the losses found, and the least that any coefficients leave; both [...]."""
    found, trials = pruned(asked, np.arange(40), module), np.arange(40)
    least = np.empty(found.upper.shape)
    for trial in trials:
        hidden, _ = host.network(asked.seed, trial, asked.config)
        curve = theory.residuals(hidden, W, asked.config.data).loss
        least[trial] = curve[np.array(asked.grid.widths) - 1]  # of every search
    return found.upper + asked.config.baseline, least


@pytest.mark.slow
def test_no_subnetwork_is_better_than_the_best_coefficients_of_its_features():
    data = "ball"
    asked = problem(data=data, widths=(1, 2, 4, 8), law="ball")
    losses, least = losses_and_residuals(asked)
    assert np.all(least <= losses)
    # With one feature a kept neuron and the best scale are the best coefficient, or nothing is.
    alone, best = losses[:, 1, 0], least[:, 1, 0]
    energy = theory.squared_loss([0.0], [W], W, data)
    assert 0.1 < np.mean(alone < best + 1e-5) < 0.9
    assert np.all((alone < best + 1e-5) | (alone > energy - 1e-5))
    # A kernel without half of its angle sees losses that no coefficients have.
    climb = replace(asked, config=replace(asked.config, searches=("climb",)))
    wrong, least = losses_and_residuals(climb, planted(kernel=flat_kernel))
    assert np.any(least > wrong + 1e-3)


def test_what_groups_lose_in_the_mean_is_the_variance():
    cap, count, groups, n = 0.3, 4, 5, 40_000
    asked = problem(widths=(count * groups,), cap=cap, law="ball")
    hidden, _ = host.network(5, 2, asked.config)
    moments = device.exact_moments(
        jnp.asarray(hidden, jnp.float32), jnp.asarray(W, jnp.float32), asked.config
    )
    v = np.random.default_rng(3).uniform(-1, 1, (n, len(hidden)))
    widths = jnp.array([len(hidden)], jnp.int32)
    kept, scale = jax.jit(
        jax.vmap(lambda v: neurons.groups(moments, v, widths, count, cap))
    )(jnp.asarray(v, jnp.float32))  # fmt: skip
    theta = np.where(kept[:, 0], v, 0.0) * np.float64(scale)
    every = np.vstack([hidden, W])
    form = host.kernel(every, every)
    signed = np.append(theta, -np.ones((n, 1)), axis=1)
    losses = np.einsum("ni,ij,nj->n", signed, form, signed, optimize=True)
    u = np.array([
        theory.best_coefficients(group, W, cap).coefficients
        for group in hidden.reshape(groups, count, 3)
    ])  # fmt: skip
    energy = np.sum(hidden**2, axis=1).reshape(groups, count) / 2
    mean = theory.squared_loss(u.ravel() / groups, hidden, W)
    variance = theory.subnetwork_variance(u, cap, energy)
    told_apart(losses, mean + variance, mean + 0.8 * variance)
    told_apart(losses, mean + variance, mean)
    bound = theory.variance_bound(cap, count, np.max(energy), groups)
    assert np.mean(losses) + ERRORS * np.std(losses) / n**0.5 < mean + bound
    # The mean of good predictors is no worse than they are in the mean.
    alone = [theory.squared_loss(*pair, W) for pair in zip(u, hidden.reshape(5, 4, 3), strict=True)]
    assert mean < np.mean(alone)


# The baseline.


def test_the_baseline_is_the_mean_loss_of_the_best_coefficients(exact):
    config = exact.config
    caps, losses = [], []
    for number in range(host.REFERENCES):
        key = draws.trial_key(np.array([5], np.uint32), np.array([number], np.uint32))
        rows, _ = host.layer(key, replace(config, most=4), np, special, host.REFERENCE)
        caps.append(np.max(np.abs(theory.best_coefficients(rows, W).coefficients)))
        losses.append(theory.best_coefficients(rows, W, config.cap).loss)
    assert config.cap == pytest.approx(np.median(caps), rel=1e-6)
    assert config.baseline == pytest.approx(np.mean(losses), rel=1e-6)
    assert min(caps) < config.cap < max(caps)
    capped = problem(cap=0.2)
    assert capped.config.cap == 0.2
    assert capped.config.baseline > config.baseline


def test_a_sampled_baseline_is_judged_on_inputs_not_seen():
    # 30 inputs for 10 features: on those that were fitted the loss is far too small.
    asked = problem(count=10, activation="abs", samples=30, widths=(10,), cap=3.0)
    config, off, fitted = asked.config, [], []
    for number in range(200):
        solve, loss = host._best(config, np.array(W), 5, number)
        u = solve(config.cap)
        key = draws.trial_key(np.array([5], np.uint32), np.array([number], np.uint32))
        hidden, _ = host.layer(key, replace(config, most=10), np, special, host.REFERENCE)
        true = theory.squared_loss(*reversed(doubled(hidden, u)), W)
        seen = host.inputs(key, np.array(W), config, host.REFERENCE, np, special)
        off.append(loss(u) - true)
        fitted.append(host.mean_loss(hidden, u, seen, config) - true)
    error = np.std(off) / len(off) ** 0.5
    assert abs(np.mean(off)) < ERRORS * error
    assert np.mean(fitted) < -2 * ERRORS * np.std(fitted) / len(off) ** 0.5


@pytest.mark.slow
def test_features_that_nothing_activates_set_no_baseline_of_their_own():
    # In one dimension half of the features see nothing of data on one side.
    x = np.linspace(0.1, 1.0, 50)[:, None]
    asked = features(count=1, data=(x, x[:, 0] ** 2), widths=(2, 6), cap=2.0, searches=("climb",))
    best = np.mean(x[:, 0] ** 4) - np.mean(x[:, 0] ** 3) ** 2 / np.mean(x[:, 0] ** 2)
    silent = np.mean(x[:, 0] ** 4)
    share = (asked.config.baseline - best) / (silent - best)
    assert share * host.REFERENCES == pytest.approx(round(share * host.REFERENCES), abs=1e-6)
    assert 0.2 < share < 0.8
    found = pruned(asked, np.arange(8))
    assert np.all(np.isfinite(found.lower) & np.isfinite(found.upper))
    with pytest.raises(InputError, match="cap must be named where random features explain nothing"):
        features(count=3, data=(x, 0 * x[:, 0]), widths=(3,))
    assert features(data=(0 * x, x[:, 0]), cap=1.0).config.baseline == pytest.approx(np.mean(x**2))


# Counts.


def counts(asked, *ranges, on=CPU[:1], lanes=8, module=device):
    program = engine.prepare(module, asked, on, lanes=lanes)
    batches = list(engine.run(program, ranges))
    return [sum(getattr(b, name) for b in batches) for name in ("certified", "refuted", "invalid")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{}, {"loss": "absolute", "samples": 400, "searches": ("groups",)}]
)
def test_counts_do_not_depend_on_lanes_ranges_and_devices(change):
    asked = problem(**change)
    whole = counts(asked, (0, 60))
    assert whole[2] == 0
    assert np.any(whole[0] > 0)
    assert np.any(whole[1] > 0)
    cut = counts(asked, (0, 7), (7, 8), (8, 60), on=CPU, lanes=3)
    for a, b in zip(whole, cut, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(counts(replace(asked, seed=6), (0, 60))[0] != whole[0])


@pytest.mark.slow
def test_a_record_goes_on_where_it_was(tmp_path):
    asked, path = problem(searches=("groups",)), tmp_path / "a.jsonl"
    api.run(asked, 11, path, device="cpu")
    api.run(asked, 30, path, device="cpu")
    read, whole = records.load([path]), api.run(asked, 30, device="cpu")
    assert (read.trials, read.problem) == (30, asked)
    np.testing.assert_array_equal(read.certified, whole.certified)
    np.testing.assert_array_equal(read.refuted, whole.refuted)


def test_success_keeps_the_promise_of_theory():
    # A small cap and many groups: the bound says something.
    asked = problem(target=(0.5, -0.4, 0.2), cap=0.25, widths=(80, 160), epsilons=(0.5, 0.2))
    trials = 400
    promised, reach = (
        subnetwork_success(asked),
        float(intervals.hoeffding(trials, ERROR_RATE)),
    )
    assert np.all(promised[1] > 0.5)
    for predicted in api.predict(asked).values():
        np.testing.assert_array_equal(predicted.lower, promised)
    alone = replace(asked, config=replace(asked.config, searches=("groups",)))
    certified, refuted, invalid = counts(alone, (0, trials), lanes=16)
    assert invalid == 0
    np.testing.assert_array_equal(certified + refuted, trials)
    assert np.all(certified[0] / trials > promised - reach)
    # A scale ten times as large breaks the promise, by more than chance can.
    groups = neurons.groups
    large = lambda *given: groups(*given)._replace(scale=10 * groups(*given).scale)
    fault = planted(neurons=SimpleNamespace(groups=large, loss=neurons.loss))
    broken = counts(alone, (0, trials), lanes=16, module=fault)[0] / trials
    assert np.all(broken[0] < promised - 2 * reach)


# Memory.


@pytest.mark.parametrize("measured", ["moments", "loss"])
def test_activations_are_never_held_all_at_once(measured):
    config = replace(problem(activation="tanh", samples=100, widths=(4,)).config, most=2000)
    measure = {
        "moments": lambda h, x, y, t: device.measured_moments(h, x, y, config),
        "loss": lambda h, x, y, t: device.measured_loss(h, x, y, t, config),
    }[measured]

    def needed(n):
        shapes = (2000, 3), (n, 3), (n,), (2, 3, 2000)
        given = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        return jax.jit(measure).lower(*given).compile().memory_analysis().temp_size_in_bytes

    few, many = needed(10_000), needed(100_000)
    assert 0 < many - few < 90_000 * 4 * 10  # inputs, and no activation of any of 2000 neurons


def test_lanes_fit_what_a_trial_holds():
    config = problem(loss="absolute", samples=400).config
    assert device.lanes(config) == 64
    assert device.lanes(replace(config, most=2**14)) == 1
    assert 1 <= device.lanes(replace(config, samples=2**20)) < 16
