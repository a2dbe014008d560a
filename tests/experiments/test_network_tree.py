"""The rule tree: what sup leaves undecided it decides, and as the exact value has it."""

import jax
import numpy as np
import pytest
from test_ascent import near_pairs, one

import ltjax
from ltjax.cli import program
from ltjax.counting import engine, intervals
from ltjax.errors import WrongKernelError
from ltjax.experiments.network import device
from ltjax.supnorm import bounds, branch_and_bound, certificate, layered
from ltjax.supnorm.one_neuron import holds_inside
from ltjax.supnorm.plane import circle_supremum

TRIALS = 48
RULES = ("sup", "tree")
ASKED = ltjax.network(
    dim=6, hidden=6, blocks=(6, 12, 34), epsilons=(0.5, 0.3), constructions=("blocks",),
    rules=RULES, last="relu",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_formula():
    """Of networks as small as these, which trees close fast, a formula knows nearly all, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layered, "applies", lambda pair: False)
        yield


@pytest.fixture(scope="module")
def settled():
    """The outcome of the device, and the brackets of the host."""
    program = engine.prepare(device, ASKED, jax.devices("cpu")[:1], lanes=TRIALS)
    outcome = [np.asarray(x) for x in program.step(0)[0]]
    return outcome, device.settle(ASKED, np.arange(TRIALS), *outcome)


@pytest.mark.slow
def test_the_tree_decides_what_the_ascent_leaves_open(settled):
    lower, upper = settled[1]
    inside = holds_inside(lower, upper, np.array(ASKED.grid.epsilons))
    sup, searched = np.moveaxis(inside, 1, 0)
    # Of the steepest cell a fifth of the trials and more.
    assert sup.mean(axis=0).max() > 1 / 5
    assert not searched.any()


@pytest.mark.slow
def test_a_verdict_of_sup_stands(settled):
    lower, upper = settled[1]
    assert np.all(lower[:, 1] >= lower[:, 0])
    assert np.all(upper[:, 1] <= upper[:, 0])
    assert np.all(lower <= upper)
    decided = ~holds_inside(lower, upper, np.array(ASKED.grid.epsilons)).any(axis=-1)[:, 0]
    # And costs nothing more.
    np.testing.assert_array_equal(lower[:, 1][decided], lower[:, 0][decided])
    np.testing.assert_array_equal(upper[:, 1][decided], upper[:, 0][decided])


@pytest.mark.slow
def test_verdicts_do_not_depend_on_the_trials_beside(settled):
    outcome, (lower, upper) = settled
    some = np.array([3, 30, 47])
    alone = device.settle(ASKED, some, *(x[some] for x in outcome))
    np.testing.assert_allclose(alone[0], lower[some], rtol=1e-4)
    np.testing.assert_allclose(alone[1], upper[some], rtol=1e-4)
    for epsilon in ASKED.grid.epsilons:
        np.testing.assert_array_equal(alone[1] <= epsilon, upper[some] <= epsilon)


def exactly(count=12):
    """Pairs of two inputs, their suprema, and brackets as wide as a certificate's."""
    pairs = near_pairs((2, 5, 1), count, eta=0.1)
    # One target for all, as in an experiment.
    pairs = pairs._replace(weights=tuple(w[0] for w in pairs.weights))
    parts = [pairs._replace(errors=tuple(e[k] for e in pairs.errors)) for k in range(count)]
    values = np.array([circle_supremum(part) for part in parts])
    return pairs, values, np.zeros(count), certificate.upper(pairs)


def misjudged(share):
    """Verdicts at a share of the supremum that are wrong, and that there are none."""
    pairs, values, lower, upper = exactly()
    epsilons = np.sort(share * values)[::-1]
    low, high = bounds.narrow(pairs, lower, upper, epsilons, [bounds.tree])
    certified, refuted = high[:, None] <= epsilons, low[:, None] > epsilons
    truth = values[:, None] <= epsilons
    wrong = (certified & ~truth) | (refuted & truth)
    return wrong.sum(), (~certified & ~refuted).sum()


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_verdicts_are_those_of_the_exact_value(share):
    assert misjudged(share) == (0, 0)


def test_a_tree_that_bounds_too_low_is_caught(monkeypatch):
    brackets = branch_and_bound.brackets

    def wrong(*args):
        for found in brackets(*args):
            yield found._replace(upper=0.95 * found.upper)

    monkeypatch.setattr(branch_and_bound, "brackets", wrong)
    assert misjudged(0.99)[0] > 0


@pytest.mark.slow
def test_no_more_nodes_are_visited_than_there_may_be(monkeypatch):
    monkeypatch.setattr(bounds, "NODES", 2)
    pairs = near_pairs((2, 3, 4, 1), 6, eta=0.3)
    visits = []
    visit = branch_and_bound._Tree.visit
    monkeypatch.setattr(
        branch_and_bound._Tree, "visit", lambda *args: visits.append(len(args[1])) or visit(*args)
    )
    for k in range(6):
        part = one(pairs, k)
        alone = part._replace(errors=tuple(e[None] for e in part.errors))
        value = np.array([circle_supremum(part)])
        visits.clear()
        high = certificate.upper(alone)
        low, high = bounds.narrow(alone, np.zeros(1), high, 1.01 * value, [bounds.tree])
        assert sum(visits) <= 2 + branch_and_bound.BATCH
        assert low[0] <= value * (1 + 1e-9)
        assert value <= high[0] * (1 + 1e-9)


@pytest.mark.slow
def test_the_known_answer_check_looks_at_the_tree(settled):
    outcome, trials = settled[0], np.arange(TRIALS)
    device.check(ASKED, trials, *outcome)
    for low, high in ((0.0, 0.3), (0.1, 3.0)):
        lower, upper, *rest = (x.copy() for x in outcome)
        lower[:, 1], upper[:, 1] = low * upper[:, 1], high * upper[:, 1]
        with pytest.raises(WrongKernelError, match="blocks/tree"):
            device.check(ASKED, trials, lower, upper, *rest)


WORDS = "--dim 6 --hidden 6 --blocks 6 12 34 --epsilon 0.5 0.3 --constructions separate"


@pytest.mark.slow
def test_a_curve_of_the_tree_alone_is_told_and_keeps_its_proved_bound(tmp_path, capsys):
    out = tmp_path / "tree.jsonl"
    words = f"curve network {WORDS} --rules tree --trials {TRIALS} --quiet --out {out}"
    assert program.main(words.split()) == 0
    assert "separate/tree" in capsys.readouterr().out
    tally = ltjax.load([out])
    (criterion,), ((name, bound),) = tally.problem.criteria, ltjax.predict(tally.problem).items()
    assert criterion.name == name == "separate/tree"
    assert not criterion.monotone
    np.testing.assert_array_equal(tally.certified + tally.refuted, TRIALS)
    assert bound.kind == "lower"
    _, high = intervals.clopper_pearson(tally.certified[0], TRIALS, 1e-6)
    assert np.all(bound.lower <= high)
    both = ltjax.predict(ASKED)
    np.testing.assert_array_equal(both["blocks/sup"].lower, both["blocks/tree"].lower)


def test_records_of_the_usual_rules_keep_their_digest():
    usual = ltjax.network(dim=6, hidden=6, blocks=(6, 12), epsilons=(0.5,))
    assert usual.config.rules == ("slides", "tight", "sup")
    assert usual.digest() != ASKED.digest()
