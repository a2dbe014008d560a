"""The slack of float32: every bracket needs it, and a law of weights that breaks it is refused."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from ltjax.counting import engine
from ltjax.errors import WrongKernelError
from ltjax.experiments.network import device as network
from ltjax.experiments.network import host
from ltjax.experiments.network.config import Network
from ltjax.experiments.neuron import device as neuron
from ltjax.experiments.neuron.config import Neuron
from ltjax.masks import nearest
from ltjax.networks import pairs, pruned
from ltjax.problem.problem import Grid, Problem
from ltjax.supnorm import one_neuron
from ltjax.weights import draws

CPU = jax.devices("cpu")[:1]
NEURON = Problem(
    config=Neuron(dim=2, constructions=("blocks",)),
    target=(0.5, -0.4),
    grid=Grid(widths=(20_000,), epsilons=(0.5,)),
    seed=8,
)
NETWORK = Problem(
    config=Network(sizes=(1, 1, 1), constructions=("blocks",), rules=("slides", "tight", "sup")),
    target=(((0.7,),), ((-0.6,),)),
    grid=Grid(widths=(20_000,), epsilons=(0.5,)),
    seed=8,
    experiment="network",
)
TRIALS = np.arange(256)


def outcome(experiment, problem):
    """What a device gives of TRIALS, compiled anew."""
    program = engine._compiled.__wrapped__  # the law of weights is no key of its cache
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_compiled", program)
        return jax.tree.map(
            np.asarray, engine.prepare(experiment, problem, CPU, lanes=len(TRIALS)).step(0)[0]
        )


@pytest.fixture(scope="module")
def one():
    return outcome(neuron, NEURON)


@pytest.fixture(scope="module")
def whole():
    return outcome(network, NETWORK)


def errors_of(found):
    [tickets] = np.moveaxis(found.neurons[:, :, 0], 1, 0)
    return pruned.ticket_errors(NEURON.seed, TRIALS, tickets, NEURON.target)


def test_the_brackets_of_one_neuron_need_their_absolute_slack_and_have_it(one):
    # Errors so small that what is relative to them says nothing of how the target was rounded.
    exact = errors_of(one)
    worst = np.abs(exact).max(axis=1)
    tight, l2 = 2**0.5 * worst.max(axis=1), np.linalg.norm(worst, axis=1)
    values = np.stack([4.0 * worst.max(axis=1), tight, l2])
    lower, upper = (np.float64(x[:, :, 0].T) for x in one[:2])
    assert np.all(lower[:3] <= values)
    assert np.all(values <= upper[:3])
    low, high = one_neuron.neuron_supremum(NEURON.target, exact, np.array([]))
    assert np.all(lower[3] <= high)
    assert np.all(low <= upper[3])
    bare = np.abs(one.errors[:, 0]).max(axis=1)
    off = np.abs(2**0.5 * bare.max(axis=1) - tight) / tight
    assert np.mean(off > nearest.RELATIVE + 10 * 2.0**-23) > 0.05  # design: slack has work to do


def test_the_brackets_of_a_network_need_theirs_and_have_it(whole):
    pair = host.pair_of(NETWORK, TRIALS, whole.neurons[:, 0, 0])
    worst = np.stack([np.abs(e).reshape(len(e), -1).max(axis=1) for e in pair.errors])
    lower, upper = (np.float64(x[:, :, 0].T) for x in whole[:2])
    for c, rule in enumerate(("slides", "tight")):
        values = [host.slot_rule(rule, [(1, 1)] * 2, w) for w in worst.T]
        assert np.all(lower[c] <= values)
        assert np.all(values <= upper[c])
    ends = np.abs(pairs.difference(pair, np.array([[1.0, -1.0]]))).max(axis=(1, 2))
    assert np.all(ends <= upper[2])


def test_slot_errors_keep_within_the_slack_that_is_derived_and_use_much_of_it(one):
    off, exact = np.abs(one.errors[:, 0] - errors_of(one)), np.abs(errors_of(one))
    assert np.all(off <= nearest.RELATIVE * exact + draws.ROUNDING)
    assert off.max() > draws.ROUNDING / 8


def test_a_right_kernel_passes_in_a_moment(one, whole):
    neuron.check(NEURON, TRIALS, *one)
    network.check(NETWORK, TRIALS, *whole)


def noisy(word, uniform=draws.uniform):
    """Weights that a device draws a millionth beside those of the host."""
    weight = uniform(word)
    if isinstance(word, np.ndarray):
        return weight
    return weight * (1.0 + 1e-6 * jnp.sin(weight * 1e4))


def normal(word, uniform=draws.uniform):
    """A normal law, 4 sigma to 1, by an inverse that is rounded on either side."""
    inverse = special if isinstance(word, np.ndarray) else jax.scipy.special
    return (inverse.erfinv(uniform(word)) * np.float32(0.35)).astype(np.float32)


SLOTS = replace(NETWORK, seed=9, config=replace(NETWORK.config, rules=("tight",)))


@pytest.mark.parametrize(
    ("law", "experiment", "problem"),
    [(noisy, neuron, NEURON), (normal, neuron, NEURON), (noisy, network, SLOTS)],
)
def test_a_law_that_is_not_exact_in_float32_is_refused(monkeypatch, law, experiment, problem):
    monkeypatch.setattr(draws, "uniform", law)
    with pytest.raises(WrongKernelError, match=r"[\d,]+ of [\d,]+ slot errors are off"):
        experiment.check(problem, TRIALS, *outcome(experiment, problem))


@pytest.mark.parametrize("place", [(0, 0), (255, 1), (100, 0)])
def test_one_slot_error_beyond_its_slack_is_refused(one, place):
    wrong, (trial, slot) = one.errors.copy(), place
    wrong[trial, 0, 0, slot] += 2 * nearest.slack(wrong[trial, 0, 0, slot])
    with pytest.raises(WrongKernelError, match=r"1 of 1,024 slot errors are off"):
        neuron.check(NEURON, TRIALS, *one._replace(errors=wrong))
    wrong[trial, 0, 0, slot] = np.nan
    with pytest.raises(WrongKernelError, match="1 of 1,024"):
        neuron.check(NEURON, TRIALS, *one._replace(errors=wrong))


def test_an_epsilon_is_rounded_down_to_float32():
    # To the nearest, half of all epsilons would be certified by an upper bound above them.
    epsilons = np.random.default_rng(0).uniform(1e-6, 1.0, 1000)
    single = engine._rounded_down(epsilons)
    assert single.dtype == np.float32
    assert np.all(np.float64(single) <= epsilons)
    assert np.all(np.float64(np.nextafter(single, np.float32(2.0))) > epsilons)
    above = np.float32(0.1)
    assert np.float64(above) > 0.1
    assert engine.verdicts(above, above, engine._rounded_down([0.1])) == (0, 1)


def test_points_count_at_the_length_they_have():
    pair = pairs.Pair(
        (np.eye(3), np.full((1, 3), 0.5)),
        (np.full((1, 2, 3, 3), 0.01), np.full((1, 1, 1, 3), 0.02)),
    )
    point = np.full((1, 3), 3**-0.5, np.float32)
    upper = np.array([10.0])
    bracket = partial(host.bracket, pair, upper=upper, epsilons=np.array([11.0]), rule="sup")
    [exact] = np.linalg.norm(pairs.difference(pair, np.float64(point[0, :, None])), axis=0)
    for length in (0.5, 1.0, 3.0):
        [lower], _ = bracket(np.float32(length) * point)
        assert lower == pytest.approx(exact, rel=1e-6)
