"""Laws and mask rules of one's own: the general road against the fused one, and against curves."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest
from mine import Gaussian, pairs

import ltjax
from ltjax.counting import intervals
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.own import device, host
from ltjax.experiments.own.config import Own
from ltjax.masks import rules
from ltjax.masks.rules import MaskRule
from ltjax.problem.experiment import experiment
from ltjax.problem.problem import Problem
from ltjax.weights import draws

ERROR_RATE = 1e-6
NEURON = {"dim": 3, "epsilons": (0.5, 0.2), "widths": (8, 20, 46), "seed": 3}
NETWORK = {"dim": 3, "hidden": 2, "depth": 2, "epsilons": (0.6, 0.4), "blocks": (14, 60), "seed": 3}
SLOTS = ("slides", "tight", "l2")


def equal(one, other):
    np.testing.assert_array_equal(one.certified, other.certified)
    np.testing.assert_array_equal(one.refuted, other.refuted)


# The general road is the fused one.


def test_nearest_is_the_search_of_a_neuron_to_the_integer():
    built_in = ltjax.run(ltjax.neuron(constructions=("blocks",), **NEURON), 600)
    own = ltjax.run(ltjax.neuron(rules=["nearest", *SLOTS, "sup"], **NEURON), 600)
    assert 0 < built_in.certified.sum() < built_in.certified.size * 600
    equal(own, built_in)


@pytest.mark.slow
def test_nearest_is_the_search_of_a_network_to_the_integer():
    built_in = ltjax.run(ltjax.network(constructions=("blocks",), **NETWORK), 200)
    own = ltjax.run(ltjax.network(rules=["nearest", "slides", "tight", "sup"], **NETWORK), 200)
    assert 0 < built_in.certified.sum() < built_in.certified.size * 200
    equal(own, built_in)


def test_the_law_of_the_paper_by_name_is_the_fused_road():
    plain = ltjax.neuron(**NEURON)
    assert ltjax.neuron(law="uniform", **NEURON) == ltjax.neuron(law=ltjax.Uniform(), **NEURON)
    assert ltjax.neuron(law="uniform", **NEURON) == plain
    assert plain.experiment == "neuron"
    assert ltjax.neuron(law=ltjax.Uniform(2.0), **NEURON).experiment == "own"


# Curves belong to a law, a rule and a measure.


@pytest.fixture(scope="module")
def gaussian():
    problem = ltjax.neuron(
        dim=2, epsilons=(0.5,), widths=(8, 16, 32), law=Gaussian(),
        rules=["nearest", pairs, "tight", "sup"], seed=5,
    )  # fmt: skip
    return ltjax.run(problem, 6000)


def outside(tally, name, curve):
    """Whether a curve leaves the band of the counts anywhere, at the error rate."""
    counts = tally.certified[tally.criterion(name), :, 0]
    alpha = ERROR_RATE / len(counts)
    low, high = intervals.clopper_pearson(counts, tally.trials, alpha)
    return bool(np.any((curve < low) | (curve > high)))


def test_gaussian_counts_are_on_the_gaussian_curve_and_not_on_that_of_the_paper(gaussian):
    right = ltjax.predict(gaussian.problem)["nearest/tight"]
    assert right.kind == "exact"
    assert not outside(gaussian, "nearest/tight", right.lower[:, 0])
    wrong = ltjax.predict(ltjax.neuron(dim=2, epsilons=(0.5,), widths=(8, 16, 32)))
    assert outside(gaussian, "nearest/tight", wrong["blocks/tight"].lower[:, 0])
    # So far apart that chance hides it with a probability below the error rate.
    assert np.max(np.abs(wrong["blocks/tight"].lower - right.lower)) > 0.1


def test_two_neurons_do_better_than_one_and_nothing_is_predicted_of_them(gaussian):
    one, two = (gaussian.certified[gaussian.criterion(f"{r}/tight")] for r in ("nearest", "pairs"))
    assert np.all(two >= one)
    assert np.any(two > one + 1000)
    assert not [name for name in ltjax.predict(gaussian.problem) if name.startswith("pairs")]
    text = ltjax.table(gaussian)
    assert "nothing is proved of these curves" in text
    widths = [line.split() for line in text.splitlines() if line.startswith("  pairs/tight ")]
    assert all(line[-3:] == ["-", "-", "-"] for line in widths)


def test_no_slot_rule_leaves_a_trial_open(gaussian):
    assert np.all(gaussian.undecided == 0)
    assert gaussian.invalid == 0


@pytest.mark.parametrize("known", ["law", "rule", "measure"])
def test_who_does_not_know_all_three_predicts_nothing(known):
    asked = {"law": Gaussian(), "rules": ["nearest", "tight"]}
    assert ltjax.predict(ltjax.neuron(**NEURON, **asked))["nearest/tight"].kind == "exact"
    if known == "law":

        class Unknown(Gaussian):
            product_cdf = None

        assert ltjax.predict(ltjax.neuron(**NEURON, **asked | {"law": Unknown()})) == {}
    elif known == "rule":
        assert ltjax.predict(ltjax.neuron(**NEURON, **asked | {"rules": [pairs, "tight"]})) == {}
    else:
        found = ltjax.predict(ltjax.neuron(**NEURON, **asked | {"rules": ["nearest", "l2"]}))
        assert found["nearest/l2"].kind == "lower"


# The subset with the nearest sum.


def slot_errors(problem, trials):
    """Slot errors of a neuron, float64 [trial, rule, width, side, d], of all that was kept."""
    words = np.arange(trials, dtype=np.uint32)
    key = draws.trial_key(np.full_like(words, problem.seed), words)
    target, widths = tuple(map(np.float32, problem.arrays)), np.int32(problem.grid.widths)
    run = jax.jit(jax.vmap(lambda key: device.trial(key, target, widths, problem.config)))
    [kept] = run(key).kept
    found = [
        [host.slot_errors(problem, words, (kept[:, r, w],))[0] for w in range(len(widths))]
        for r in range(len(problem.config.rules))
    ]
    return np.moveaxis(np.array(found), 2, 0)[..., 0, :]


def test_subset_succeeds_as_often_as_integrals_say():
    # P(some subset of the products on one side is within 0.1 of 0.5), of a block of 1, 2 or 3, by
    # Gauss-Legendre rules between kinks. One neuron alone succeeds with the first and no more.
    exact = np.array([0.03499477, 0.080546815, 0.13541384])
    trials, level = 40_000, ERROR_RATE / 3
    problem = ltjax.neuron(dim=1, target=(0.5,), widths=(1, 2, 3), rules=["subset", "tight"])
    won = np.sum(np.abs(slot_errors(problem, trials)[:, 0, :, 0, 0]) <= 0.1, axis=0)
    low, high = intervals.clopper_pearson(won, trials, level)
    assert np.all((low <= exact) & (exact <= high))
    nearest = 1.0 - (1.0 - exact[0]) ** np.arange(1, 4)
    assert exact[2] - nearest[2] > intervals.detectable_gap(trials, level, ERROR_RATE)
    assert nearest[2] < low[2]


def test_no_rule_errs_less_than_subset():
    rules = ["subset", "flips", "nearest"]
    problem = ltjax.neuron(dim=2, widths=(8, 16, 32), rules=[*rules, "tight"], seed=2)
    subset, *others = np.moveaxis(np.abs(slot_errors(problem, 200)), 1, 0)
    for other in others:
        # Float32, and steps of the grid: sixteen neurons in all.
        assert np.all(subset <= other + 16 * 2.0**-24)
        assert np.mean(subset < other - 1e-3) > 0.05
    tally = ltjax.run(problem, 200)
    won = [tally.certified[tally.criterion(f"{rule}/tight")] for rule in rules]
    assert np.all(won[0] >= np.maximum(*won[1:]))
    assert won[0].sum() > won[1].sum() > won[2].sum() > 0


def test_subset_is_shown_where_its_curve_rises():
    grid = {name: ltjax.neuron(dim=4, rules=[name]).grid.widths for name in ("subset", "nearest")}
    assert grid["subset"][-1] == 4 * 64
    assert grid["nearest"][-1] == 4 * 256


# Records: read without the code, gone on with by the same code alone.


def test_a_record_is_read_by_who_knows_neither_law_nor_rule(gaussian, monkeypatch, tmp_path):
    path = tmp_path / "mine.jsonl"
    problem = replace(gaussian.problem)
    first = ltjax.run(problem, 40, path)
    monkeypatch.setattr(rules, "_known", {"nearest": rules.nearest})
    monkeypatch.setattr("ltjax.weights.laws._own", {})
    read = ltjax.load([path])
    equal(read, first)
    assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem
    assert "pairs/tight" in ltjax.table(read)
    ltjax.plot(read, tmp_path / "mine.svg")
    assert ltjax.predict(replace(problem, seed=6)) == {}
    with pytest.raises(InputError, match=r"law gaussian must be at hand as it was recorded"):
        ltjax.run(problem, 80, path)
    equal(ltjax.load([path]), first)


def test_a_rule_with_another_text_goes_on_with_nothing(gaussian, monkeypatch):
    other = MaskRule("pairs", pairs.keep, "00000000")
    monkeypatch.setitem(rules._known, "pairs", other)
    with pytest.raises(InputError, match=r"rule pairs must be at hand .* got another text"):
        ltjax.run(gaussian.problem, 8)


# What is broken is told.


def test_a_law_that_is_further_off_than_it_says_is_refused(gaussian):
    class Careless(Gaussian):
        rounding = 1e-9

    problem = ltjax.neuron(law=Careless(), rules=["tight"], **NEURON)
    with pytest.raises(InputError, match=r"law careless must be off by at most its rounding 1e-09"):
        ltjax.run(problem, 8)


def test_a_rule_that_keeps_what_is_closed_is_refused(monkeypatch):
    greedy = MaskRule("greedy", lambda products, target: products == products, "0" * 8)
    monkeypatch.setitem(rules._known, "greedy", greedy)
    problem = ltjax.neuron(rules=[greedy, "tight"], **NEURON)
    with pytest.raises(InputError, match=r"rule greedy must keep open neurons alone"):
        ltjax.run(problem, 8)


def test_a_rule_that_raises_is_refused_in_one_line(monkeypatch):
    def raising(products, target):
        raise RuntimeError("first line\nsecond line")

    rule = MaskRule("raising", raising, "0" * 8)
    monkeypatch.setitem(rules._known, "raising", rule)
    problem = ltjax.neuron(rules=[rule, "tight"], **NEURON)
    with pytest.raises(InputError, match=r"jax can compile, got first line second line$"):
        ltjax.run(problem, 8)


def test_a_kernel_that_errs_is_seen(gaussian):
    problem = ltjax.neuron(rules=["nearest", "tight"], **NEURON)
    measured = experiment("own").measured
    config, trials = problem.config, np.arange(4)
    import jax

    from ltjax.weights import draws

    keys = draws.trial_key(np.full(4, 3, np.uint32), trials.astype(np.uint32))
    target = tuple(w.astype(np.float32) for w in problem.arrays)
    run = jax.jit(jax.vmap(lambda key: measured.trial(key, target, np.int32([8, 20, 46]), config)))
    found = jax.tree.map(np.asarray, run(keys))
    host.check(problem, trials, *found)
    with pytest.raises(WrongKernelError, match=r"wrong at nearest/tight, width 8"):
        host.check(problem, trials, *found._replace(upper=0.5 * found.lower))
    exact = host.slot_errors(problem, trials, tuple(kept[:, 0, -1] for kept in found.kept))
    np.testing.assert_allclose(found.errors[0][:, 0, -1], exact[0], atol=1e-6)


CONFIG = {
    "of": "neuron", "sizes": (2, 1), "last": "relu", "law": "gaussian", "law_source": "0" * 8,
    "rules": ("pairs",), "sources": ("0" * 8,), "measures": ("tight",), "most": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": "tree"}, r"of must be neuron or network, got tree"),
        ({"sizes": (2, 2)}, r"sizes must be those of a neuron, got \(2, 2\)"),
        ({"sizes": (0, 1)}, r"dim must be between 1"),
        ({"last": "tanh"}, r"last must be one of linear, relu, got tanh"),
        ({"rules": ()}, r"rules must name each mask rule once, got none"),
        ({"rules": ("a", "a"), "sources": ("", "")}, r"rules must name each mask rule once"),
        ({"sources": ()}, r"sources must be one a rule, got 0"),
        ({"law": "a b"}, r"law and rules must be names, got 'a b'"),
        ({"measures": ("tree",)}, r"measures must be taken from slides, tight, l2, sup, got tree"),
        ({"most": 2**16}, r"widths must make blocks of 1 to 16384, got 32768"),
    ],
)
def test_a_configuration_that_is_none_is_refused(change, message):
    Own(**CONFIG)
    with pytest.raises(InputError, match=message):
        Own(**CONFIG | change)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"rules": ["nonsense"]}, r"rules must be taken from slides.* nearest, .*got nonsense"),
        ({"law": "nonsense"}, r"law must be one of uniform, gaussian, .*got nonsense"),
        ({"law": "gaussian", "constructions": ("pooled",)}, r"constructions must be blocks beside"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        ltjax.neuron(**NEURON, **asked)
