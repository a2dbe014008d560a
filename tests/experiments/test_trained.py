"""Trials of training, through the engine: counts are those of the kernels, seed by seed."""

import json
from dataclasses import replace
from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax import api
from ltjax.counting import engine
from ltjax.counting.records import Log, load
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.training import (
    edge_popup,
    host,
    imp,
    magnitude_pruning,
    mlp,
    popup,
    problems,
)
from ltjax.networks.pairs import forward
from ltjax.system import devices
from ltjax.weights import draws

SEED, TRIALS = 3, 8
EXPERIMENTS = {"imp": imp, "popup": popup}
BOTH = ["popup", pytest.param("imp", marks=pytest.mark.slow)]


def toy():
    """Three classes in the plane, by angle; twenty inputs test, so that losses are twentieths."""
    x = np.random.default_rng(0).normal(size=(120, 2)) * [1.0, 5.0] + [3.0, -1.0]
    y = ((x - [3.0, -1.0]) @ [[1.0, -1.0, 0.3], [0.2, 0.2, -0.5]]).argmax(axis=1)
    return x[:100], y[:100], x[100:], y[100:]


@cache
def problem(experiment):
    """All epsilons are twentieths: a trial may lie on any of them."""
    widths, keeps = {"imp": ((4, 9), (0.6, 0.3)), "popup": ((9,), (0.5,))}[experiment]
    make, within = getattr(problems, experiment), (0.4, 0.3, 0.2, 0.15, 0.1, 0.05)
    return make(toy(), widths, keeps, within, seed=SEED, steps=80, batch=8, rate=0.03)


@cache
def program(experiment):
    """As `api.run` compiles it."""
    asked = EXPERIMENTS[experiment], problem(experiment), devices.devices("cpu"), TRIALS
    return engine.prepare(*asked)


def counts(experiment, *ranges):
    batches = list(engine.run(program(experiment), ranges))
    return [sum(getattr(batch, name) for batch in batches) for name in ("certified", "refuted")]


def keys(trials):
    seed = np.full(trials, SEED, np.uint32)
    return tuple(map(jnp.asarray, draws.trial_key(seed, np.arange(trials, dtype=np.uint32))))


def right(layers, masks=None):
    """Test inputs that networks [trial, ...] have right, by numpy alone."""
    data = problem("imp").arrays
    acting = [np.asarray(w, np.float64) for w in layers]
    if masks is not None:
        acting = [w * np.asarray(m) for w, m in zip(acting, masks, strict=True)]
    logits = [forward([w[n] for w in acting], data.x_test) for n in range(len(acting[0]))]
    return np.sum(np.argmax(logits, axis=2) == data.y_test.argmax(axis=1), axis=1)


@cache
def kernels(experiment):
    """Of each width what the kernels find, all trials side by side."""
    config, data = problem(experiment).config, problem(experiment).arrays
    data = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), data)

    def both(key, width):
        if experiment == "imp":
            return magnitude_pruning.train(key, data, width, config)
        dense = mlp.dense(key, data, width, config)
        return dense, edge_popup.search(key, data, width, config.keeps[0], config)

    return [jax.jit(jax.vmap(partial(both, width=width)))(keys(TRIALS)) for width in config.widths]


@cache
def lost(experiment):
    """Test inputs lost, int [trial, criterion, width], from the kernels' networks."""
    if experiment == "imp":
        return np.stack([imp_lost(found) for found in kernels("imp")], axis=2)
    losses = [right(dense.best) - right(found.layers) for dense, found in kernels("popup")]
    return np.stack(losses, axis=1)[:, None]


def imp_lost(found):
    at = lambda tree, i: [np.asarray(layer)[:, i] for layer in tree]
    whole, families = right(found.dense.best), []
    for kind in (found.ticket, found.random, found.reinit):
        # A network by lot is 0 where it is not kept, from its start to its end.
        masks = (lambda i: None) if kind is found.random else (lambda i: at(found.masks, i))
        keeps = range(len(problem("imp").config.keeps))
        families.append([whole - right(at(kind.best, i), masks(i)) for i in keeps])
    sooner = np.asarray(found.ticket.stop).T <= np.asarray(found.dense.stop)  # noqa: SIM300
    winners = np.where(sooner, families[0], len(problem("imp").arrays.y_test))
    return np.concatenate([winners, *families]).T


def verdicts(experiment, within):
    """Certified by hand, in fractions of whole numbers: [criterion, width, epsilon]."""
    epsilons = np.rint(20 * np.array(problem(experiment).grid.epsilons))
    return np.sum(within(lost(experiment)[..., None], epsilons), axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", BOTH)
def test_counts_are_those_of_the_kernels_and_a_tie_is_certified(experiment):
    certified, refuted = counts(experiment, (0, TRIALS))
    np.testing.assert_array_equal(certified, verdicts(experiment, np.less_equal))
    np.testing.assert_array_equal(certified + refuted, TRIALS)
    assert 0 < certified.sum() < certified.size * TRIALS, "trials of both kinds"
    # Ties occur, and would be seen if they were refuted.
    assert (certified != verdicts(experiment, np.less)).any()


@pytest.mark.slow
def test_a_ticket_that_stops_later_is_no_winner():
    tickets, winners = lost("imp")[:, 2:4], lost("imp")[:, :2]
    assert (winners >= tickets).all()
    assert (winners > tickets).any()


def test_accuracy_lost_is_divided_in_float64():
    inputs = np.float32([[[1, 3, 7, -2, np.nan, 20]]])
    share, _ = host.settle(problem("popup"), [0], None, None, inputs)
    np.testing.assert_array_equal(share, [[[0.05, 0.15, 0.35, -0.1, np.nan, 1.0]]])


@pytest.mark.slow
@pytest.mark.parametrize("experiment", BOTH)
def test_counts_do_not_depend_on_the_ranges(experiment):
    whole, cut = counts(experiment, (0, TRIALS)), counts(experiment, (5, TRIALS), (0, 1), (1, 5))
    np.testing.assert_array_equal(whole, cut)
    assert (np.array(whole) != counts(experiment, (TRIALS, 2 * TRIALS))).any()


@pytest.mark.slow
@pytest.mark.parametrize("experiment", BOTH)
def test_networks_do_not_depend_on_how_many_are_trained_beside_them(experiment):
    assert program(experiment).lanes != TRIALS
    found, _ = program(experiment).step(0)
    if experiment == "imp":
        one = kernels("imp")[0]
        first = lambda tree: [layer[:, 0] for layer in tree]
        masks = first(one.masks)
        wanted = (
            one.dense.best,
            [w * m for w, m in zip(first(one.ticket.best), masks, strict=True)],
            masks,
        )
    else:
        dense, one = kernels("popup")[0]
        wanted = dense.best, one.layers, one.masks
    for ours, theirs in zip((found.dense, found.ticket, found.mask), wanted, strict=True):
        for layer, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(layer[:TRIALS], other)


@pytest.mark.slow
def test_a_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "popup.jsonl"
    api.run(problem("popup"), 3, path, device="cpu")
    api.run(problem("popup"), TRIALS, path, device="cpu")
    before = path.read_bytes()
    tally = api.run(problem("popup"), TRIALS, path, device="cpu")
    assert path.read_bytes() == before
    assert (tally.ranges, tally.anytime) == (((0, TRIALS),), True)
    np.testing.assert_array_equal([tally.certified, tally.refuted], counts("popup", (0, TRIALS)))
    # The record alone says what it was made of.
    again = load([path])
    assert again.problem == problem("popup")
    np.testing.assert_array_equal(again.problem.arrays.x_test, problem("popup").arrays.x_test)


# What is wrong, is found


@pytest.fixture(params=EXPERIMENTS)
def outcome(request):
    """The known-answer check, and what it is to check."""
    found, _ = jax.tree.map(np.array, program(request.param).step(0))
    check = partial(host.check, problem(request.param), np.arange(len(found.lower)))
    return lambda **parts: check(*found._replace(**parts)), found


@pytest.mark.slow
def test_a_sound_kernel_passes(outcome):
    check, found = outcome
    check()
    check(right=found.right + host.TIES)


@pytest.mark.slow
@pytest.mark.parametrize("network", [0, 1])
def test_a_wrong_accuracy_is_found(outcome, network):
    check, found = outcome
    name = ["dense", "ticket"][network]
    wrong = found.right.copy()
    wrong[0, network] += host.TIES + 1
    with pytest.raises(WrongKernelError, match=f"the {name} network has .* right, not"):
        check(right=wrong)
    first, second = getattr(found, name)
    with pytest.raises(WrongKernelError, match=f"the {name} network has"):
        check(**{name: (first, np.roll(second, 1, axis=1))})  # every class taken for the next


@pytest.mark.slow
def test_a_wrong_mask_is_found(outcome):
    check, found = outcome
    first, second = found.mask
    acting = np.where(found.ticket[0] == 0.0, 1e-12, found.ticket[0])
    for wrong in (
        {"mask": (0.999 * first, second)},
        {"mask": (np.ones_like(first), second)},
        {"mask": (first * 0.0, second)},
        {"ticket": (acting, found.ticket[1])},
    ):
        with pytest.raises(WrongKernelError, match="its mask keeps"):
            check(**wrong)


@pytest.mark.slow
def test_a_broken_trial_is_not_the_one_that_is_checked(outcome):
    check, found = outcome
    broken = found.right.copy()
    broken[0] = np.nan
    check(right=broken)
    broken[1] += host.TIES + 1
    with pytest.raises(WrongKernelError, match="network has"):
        check(right=broken)
    check(right=np.full_like(broken, np.nan))


def test_a_network_that_never_had_a_loss_is_no_network_to_be_held_against():
    found = SimpleNamespace(stop=jnp.array([20, 40, 60]), accuracy=jnp.array([0.5, 0.55, 0.7]))
    np.testing.assert_array_equal(host.right(found, 20, begin=20), [np.nan, 11.0, 14.0])
    np.testing.assert_array_equal(host.right(found, 20), [10.0, 11.0, 14.0])


@pytest.mark.slow
def test_a_trial_that_leaves_the_numbers_is_invalid():
    """Without it both networks would be their starts, and lose nothing against one another."""
    wild = problems.popup(toy(), (2,), (1.0,), (0.4, 0.05), SEED, steps=20, batch=4, rate=1e38)
    data = jax.tree.map(np.float32, wild.arrays)
    run = jax.vmap(lambda key: popup.trial(key, data, None, wild.config))
    quick = {"xla_backend_optimization_level": 0}
    outcome = jax.tree.map(np.asarray, jax.jit(run, compiler_options=quick)(keys(3)))
    ends = engine.verdicts(outcome.lower, outcome.upper, wild.grid.epsilons)
    host.check(wild, np.arange(3), *outcome)
    batch = engine.count(popup, wild, np.arange(3), outcome, ends)
    assert batch.invalid == 3
    assert not batch.certified.any()
    assert not batch.refuted.any()


def test_another_version_of_a_bundled_set_is_refused(tmp_path, monkeypatch):
    here = problems.popup("wine", (4,), (0.5,), (0.1,))
    other = replace(here, target=("0123456789abcdef",))
    path = tmp_path / "wine.jsonl"
    with Log(path, other, 5, {}):
        pass
    monkeypatch.setattr(engine, "prepare", None)
    with pytest.raises(InputError, match='target is \\["0123456789abcdef"\\] there and'):
        api.run(here, 5, path)
    monkeypatch.undo()
    before = path.read_bytes()
    found = here.target[0]
    message = f"data must be the wine of this record, 0123456789abcdef, got another .* {found}"
    with pytest.raises(InputError, match=message):
        api.run(other, 5, path)
    assert path.read_bytes() == before
    # What was counted can still be read where the set is another.
    assert load([path]).problem == other
    assert json.loads(before)["problem"]["target"] == ["0123456789abcdef"]
