"""The Python side: problems from a few words, and the verbs on them."""

import re
from pathlib import Path

import numpy as np
import pytest

import ltjax
from ltjax import api
from ltjax.counting import plans, tally
from ltjax.errors import InputError
from ltjax.results import tables

FEW = {"epsilons": (0.5,), "widths": (8, 20), "constructions": ("blocks",), "rules": ("tight",)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few():
    return ltjax.neuron(dim=2, **FEW)


def test_the_lines_of_the_package_docstring_run_as_they_stand(capsys):
    code = re.findall(r"^    (.*)$", ltjax.__doc__, re.M)
    assert len(code) == 4
    exec("\n".join(code), {"ltjax": ltjax})
    assert "width for success 1 - 0.05" in capsys.readouterr().out
    assert ltjax.load(["runs/neuron.jsonl"]).trials == 5000
    assert "<svg" in Path("runs/neuron.svg").read_text()


def test_public_names_are_there():
    for name in ltjax.__all__:
        assert getattr(ltjax, name) is not None
    assert set(ltjax.__all__) <= set(dir(ltjax))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ltjax.nonsense


def test_the_worst_target():
    target = ltjax.neuron(dim=3, **FEW).target
    np.testing.assert_allclose(np.abs(target), 3**-0.5, rtol=1e-15)
    assert np.sign(target).tolist() == [1, -1, 1]
    assert ltjax.neuron(**FEW).config.dim == 8


def test_a_random_target_is_one_by_seed():
    one, same, other = (ltjax.neuron(dim=400, target="random", seed=s, **FEW) for s in (1, 1, 2))
    assert one == same
    assert one.target != other.target
    # U[-1, 1] / sqrt(d): mean square 1/3, standard error sqrt(4/45 / 400) = 0.015
    scaled = np.array(one.target) * 20
    assert np.abs(scaled).max() <= 1
    assert abs(np.mean(scaled**2) - 1 / 3) < 5 * 0.015


def test_a_target_of_ones_own(here):
    weights = (0.5, -0.2, 0.05)
    np.save("w.npy", np.array(weights))
    np.save("w32.npy", np.array(weights, np.float32))
    asked = ltjax.neuron(target=weights, **FEW)
    assert asked.target == weights
    assert asked.config.dim == 3
    assert ltjax.neuron(target=np.array(weights), **FEW) == asked
    assert ltjax.neuron(target="w.npy", **FEW) == asked
    assert ltjax.neuron(target=here / "w.npy", **FEW) == asked
    assert ltjax.neuron(target="w32.npy", **FEW).target == tuple(
        float(np.float32(w)) for w in weights
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": (0.9, 0.1)}, "multiply the weights and epsilon by 0.785"),
        ({"target": (0.1, np.nan)}, "target must be finite, got nan at index 1"),
        ({"target": ()}, "target must be a list of d weights"),
        ({"target": (0.1, 0.2), "dim": 3}, r"target must hold 3 weights"),
        ({"widths": ()}, "widths must name at least one"),
        ({"epsilons": ()}, "epsilon must name at least one"),
        ({"epsilons": (0.5, 1e-10)}, "epsilon must be at least 1e-09, got 1e-10"),
        ({"seed": -1}, "seed must"),
        ({"dim": 0}, "dim must"),
    ],
)
def test_what_is_no_problem(change, message):
    with pytest.raises(InputError, match=message):
        ltjax.neuron(**{**FEW, **change})


def test_default_widths_cover_the_rise():
    asked = ltjax.neuron(dim=4, epsilons=(0.5, 0.2))
    assert 25 <= len(asked.grid.widths) <= 41
    tight = ltjax.predict(asked)["blocks/tight"].lower
    shared = ltjax.predict(asked)["shared/tight"].upper
    assert shared[0, 0] < 0.05
    assert tight[-1, -1] > 0.99


def test_predictions_are_those_of_theory_and_not_shared(few):
    predicted = ltjax.predict(few)
    assert list(predicted) == ["blocks/tight"]
    np.testing.assert_array_equal(
        predicted["blocks/tight"].lower, ltjax.predict(few)["blocks/tight"].lower
    )
    predicted.clear()
    assert list(ltjax.predict(few)) == ["blocks/tight"]


def test_run_in_memory_equals_run_on_disk(few):
    kept = ltjax.run(few, 40, out="runs/a.jsonl")
    memory = ltjax.run(few, 40)
    np.testing.assert_array_equal(kept.certified, memory.certified)
    np.testing.assert_array_equal(kept.refuted, memory.refuted)
    assert ltjax.load(["runs/a.jsonl"]).trials == memory.trials == 40
    assert np.all(memory.certified + memory.refuted + memory.undecided + memory.invalid == 40)


def test_run_goes_on_where_the_record_ends(few):
    ltjax.run(few, 15, out="a.jsonl")
    seen = []
    longer = ltjax.run(few, 40, out="a.jsonl", watch=lambda batch, _: seen.append(batch))
    assert seen[0] is None
    assert [(batch.start, batch.stop) for batch in seen[1:]] == [(15, 40)]
    np.testing.assert_array_equal(longer.certified, ltjax.run(few, 40).certified)
    assert longer.anytime


@pytest.mark.parametrize("trials", [0, -1, 2**32 + 1])
def test_trials_out_of_range_leave_no_record(few, here, trials):
    with pytest.raises(InputError, match=rf"trials must be between 1 and \d+, got {trials}"):
        ltjax.run(few, trials, out="a.jsonl")
    assert list(here.iterdir()) == []


def test_an_absent_device_leaves_no_record(few, here):
    with pytest.raises(InputError, match="device must be present, got tpu"):
        ltjax.run(few, 10, out="a.jsonl", device="tpu")
    assert list(here.iterdir()) == []


def test_another_problem_is_refused_and_the_record_kept(few):
    ltjax.run(few, 10, out="a.jsonl")
    before = Path("a.jsonl").read_bytes()
    with pytest.raises(InputError, match="seed is 0 there and 1 here; choose another --out"):
        ltjax.run(ltjax.neuron(dim=2, seed=1, **FEW), 10, out="a.jsonl")
    assert Path("a.jsonl").read_bytes() == before


def test_shares_cover_all(few):
    whole = ltjax.run(few, 9000)
    parts = [ltjax.run(few, 9000, shard=plans.Shard(k, 2)) for k in (1, 2)]
    assert [part.ranges for part in parts] == [((0, 4096), (8192, 9000)), ((4096, 8192),)]
    np.testing.assert_array_equal(sum(part.certified for part in parts), whole.certified)


def test_a_rule_is_kept_with_what_was_run_by_it(few):
    rule = ltjax.until(few, failures=100)
    stopped = ltjax.run(few, 10**6, out="a.jsonl", until=rule)
    assert 100 <= stopped.trials < 150
    assert rule.met(stopped)
    assert stopped.until == (rule.to_json(),)
    assert ltjax.load(["a.jsonl"]).until == stopped.until
    assert ltjax.run(few, 10**6, until=rule).trials == stopped.trials
    np.testing.assert_array_equal(ltjax.run(few, stopped.trials).certified, stopped.certified)
    assert ltjax.run(few, 30).until == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0.0}, "max-seconds must be above 0, got 0"),
        ({"memory": -1.0}, "memory must be a number of GiB above 0, got -1"),
        ({"shard": plans.Shard(1, 2), "seconds": 9.0}, "shard must have no stopping rule"),
    ],
)
def test_limits_that_are_none_leave_no_record(few, here, arguments, message):
    with pytest.raises(InputError, match=message):
        ltjax.run(few, 10, out="a.jsonl", **arguments)
    assert list(here.iterdir()) == []


def test_csv_holds_every_count(few):
    counted = ltjax.run(few, 25)
    header, *rows = tables.to_csv(counted).splitlines()
    columns = dict(
        zip(header.split(","), zip(*(r.split(",") for r in rows), strict=True), strict=True)
    )
    assert columns["criterion"] == ("blocks/tight",) * 2
    assert list(map(int, columns["width"])) == [8, 20]
    assert list(map(float, columns["epsilon"])) == [0.5, 0.5]
    for name in ("certified", "refuted", "undecided"):
        assert list(map(int, columns[name])) == getattr(counted, name).ravel().tolist()
    assert set(columns["trials"]) == {"25"}


def test_criteria_by_rule_or_name():
    both = ltjax.neuron(dim=2, **{**FEW, "constructions": ("blocks", "pooled")})
    assert api.chosen(both, "tight") == ["blocks/tight", "shared/tight", "pooled/tight"]
    assert api.chosen(both, "pooled/tight") == ["pooled/tight"]
    with pytest.raises(InputError, match=r"criterion must be one of tight, blocks/tight, .* got t"):
        api.chosen(both, "t")


def test_records_drawn_together_have_a_criterion_in_common(few):
    pooled = ltjax.neuron(dim=2, **{**FEW, "constructions": ("pooled",)})
    one, other = ltjax.run(few, 10), ltjax.run(pooled, 10)
    ltjax.plot([one, ltjax.run(few, 20)], "a/fig.png", labels=["ten", "twenty"])
    assert Path("a/fig.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="one that all records count, got blocks/tight"):
        ltjax.plot([one, other], "b.png")
    assert not Path("b.png").exists()


def test_a_record_without_trials_has_no_table(few):
    empty = tally.Memory(few, 10).tally
    with pytest.raises(InputError, match="the record must hold at least one trial"):
        ltjax.table(empty)


def test_a_rule_watches_where_success_is_one_half():
    problem = ltjax.neuron(dim=2, epsilons=(0.5, 0.2))
    rule = ltjax.until(problem, half_width=0.1)
    success = ltjax.predict(problem)["blocks/tight"].lower[:, -1]
    k = problem.grid.widths.index(rule.width)
    assert (rule.criterion, rule.epsilon) == ("blocks/tight", 0.2)
    assert abs(success[k] - 0.5) == np.min(abs(success - 0.5)) < 0.1
    assert ltjax.until(problem, failures=3, at=("blocks/sup", 20, 0.5)).width == 20
