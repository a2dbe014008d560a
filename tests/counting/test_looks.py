"""Fixed intervals are for what was planned before the first trial; all others hold at any time."""

import runpy
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from test_charts import COUNTS, series
from test_records import ELSEWHERE, HERE, LINE, PROBLEM, SHORT, batch, record, rows, sealed
from test_report import problem as asked
from test_report import tally as told

from ltjax import api
from ltjax.cli import program
from ltjax.counting import intervals, plans, records, tally
from ltjax.counting.plans import Shard
from ltjax.results import tables
from ltjax.results.estimates import Series, needed
from ltjax.results.words import caption

ROOT = Path(__file__).parents[2]
HUGE = 4_000_000_000
BLOCK = 10  # trials that stay together in a share here


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.jsonl"


def run(path, trials, shard=None, until=None, batches=None, environment=HERE):
    """Run what a record lacks, in batches of ten, or so many of them; return what is counted."""
    with records.Log(path, PROBLEM, trials, environment, until) as log:
        for start, stop in islice(pieces(log, trials, shard), batches):
            log.append(batch(start, stop))
        assert records.load([path]).anytime == log.tally.anytime
        return log.tally


def pieces(log, trials, shard):
    for first, stop in plans.ranges(log, trials, BLOCK, shard):
        yield from ((n, min(n + BLOCK, stop)) for n in range(first, stop, BLOCK))


def test_one_plan_run_to_its_end_is_fixed_and_no_part_of_it_is(path):
    looks = [run(path, 100, batches=3, environment=at) for at in (HERE, ELSEWHERE, HERE, HERE)]
    assert [(t.trials, t.anytime) for t in looks] == [
        (30, True),
        (60, True),
        (90, True),
        (100, False),
    ]


def test_a_record_without_trials_promises_nothing(path):
    assert run(path, 100, batches=0).anytime


@pytest.mark.parametrize("spans", [[(0, 99)], [(1, 100)], [(0, 40), (50, 100)]])
def test_a_plan_that_lacks_trials_is_not_run_to_its_end(path, spans):
    assert record(path, *spans).anytime


def test_a_huge_plan_does_not_cover_for_smaller_ones(path):
    """Once all of them were called one plan, and every look had a fixed interval."""
    assert run(path, HUGE, Shard(1, 900_000), batches=1).anytime
    for trials in (50, 60, 70):
        assert run(path, trials).anytime
    assert [row.get("planned") for row in rows(path)] == [
        *(HUGE, None),
        *(50, *[None] * 4),
        *(60, None),
        *(70, None),
    ]
    assert records.load([path]).planned == (HUGE, 50, 60, 70)


def test_a_record_that_kept_silent_about_smaller_plans_is_part_of_the_huge_one(path):
    run(path, HUGE, batches=1)
    lines = (sealed(LINE | {"start": n, "stop": n + 10}) for n in range(10, 70, 10))
    path.write_bytes(path.read_bytes() + b"".join(lines))
    old = records.load([path])
    assert (old.trials, old.planned, old.anytime) == (70, (HUGE,), True)


def test_a_smaller_plan_is_remembered_when_the_first_one_is_reached(path):
    run(path, 100, batches=1)
    assert [run(path, trials).anytime for trials in (50, 100)] == [True, True]
    assert [row.get("planned") for row in rows(path) if row["kind"] != "batch"] == [100, 50, 100]


def test_fewer_trials_than_are_counted_change_nothing(path):
    run(path, 100, batches=5)
    before = path.read_bytes()
    part = run(path, 30)
    assert (part.trials, part.anytime, part.missing) == (50, True, ((50, 100),))
    assert path.read_bytes() == before


def test_a_raised_plan_is_an_extension_for_good(path):
    assert not run(path, 20).anytime
    raised = run(path, 50)
    assert (raised.planned, raised.anytime, raised.missing) == ((20, 50), True, ())
    assert run(path, 60).anytime


@pytest.mark.parametrize("plan", [30, 80])
def test_a_plan_changed_before_the_first_trial_is_no_look(path, plan):
    run(path, 50, batches=0)
    changed = run(path, plan)
    assert (changed.planned, changed.missing, changed.anytime) == ((plan,), (), False)


def test_a_plan_raised_and_not_yet_run_by_is_no_extension(path):
    """What is counted was planned before; the line is what a kill before the first batch leaves."""
    run(path, 10)
    row = {"kind": "plan", "planned": 50, "environment": HERE}
    path.write_bytes(path.read_bytes() + sealed(row))
    assert not records.load([path]).anytime
    assert run(path, 50, batches=1).anytime
    assert [row["kind"] for row in rows(path)] == ["header", "batch", "plan", "batch"]


def test_a_rule_is_one_even_where_all_that_was_planned_is_counted(path):
    run(path, 50, until=SHORT, batches=2)
    assert run(path, 50).anytime
    assert records.load([path]).missing == ()


@pytest.mark.parametrize("apart", [False, True])
def test_shares_are_parts_until_the_last_is_there(tmp_path, apart):
    looks = []
    for k in range(1, 5):
        name = f"{k}.jsonl" if apart else "all.jsonl"
        looks.append(run(tmp_path / name, 95, Shard(k, 4)).anytime)
        if apart:
            looks[-1] = records.merge([tmp_path / name], tmp_path / "all.jsonl").anytime
            several = records.load([tmp_path / f"{n}.jsonl" for n in range(k, 0, -1)])
            assert several.anytime == looks[-1]
    assert looks == [True, True, True, False]
    assert records.load([tmp_path / "all.jsonl"]).trials == 95


def test_all_shares_of_plans_that_differ_are_no_plan(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    run(a, 80, Shard(1, 2))
    assert run(b, 100, Shard(2, 2)).anytime
    run(a, 80)
    merged = records.merge([a, b], tmp_path / "c")
    assert (merged.ranges, merged.anytime) == (((0, 80), (90, 100)), True)
    run(tmp_path / "c", 90)
    assert records.load([tmp_path / "c"]).ranges == ((0, 100),)
    assert records.load([tmp_path / "c"]).anytime


ASKED = st.tuples(
    st.sampled_from([40, 60, 65, 90]),
    st.sampled_from([None, None, Shard(1, 2), Shard(2, 2), Shard(2, 3)]),
    st.sampled_from([0, 1, 2, None]),
)


@settings(deadline=None, max_examples=40)
@given(st.lists(ASKED, max_size=6))
def test_whatever_is_asked_fixed_is_what_the_first_trial_was_run_for(lives):
    with tempfile.TemporaryDirectory() as folder:
        path, first, asked = Path(folder) / "a", None, set()
        run(path, 90, batches=0)
        for trials, shard, batches in lives:
            before = records.load([path]).trials
            now = run(path, trials, shard, None, batches)
            if now.trials > before:
                first = first or trials
                asked.add(trials)
            if not now.anytime:
                assert now.ranges == ((0, first),)
                assert not now.missing
            if len(asked) == 1:  # and of one plan it is not forgotten
                assert now.anytime == (now.ranges != ((0, first),))


def test_the_records_of_the_figures_are_whole_plans():
    found = []
    for path in sorted((ROOT / "figures" / "data").glob("*.jsonl")):
        if b'"kind":"header"' in path.read_bytes()[:20]:
            found.append(records.load([path]))
    assert len(found) > 30
    assert not any(one.anytime or one.missing for one in found)


def test_memory_knows_a_part_of_its_plan():
    log = records.Memory(PROBLEM, 30)
    looks = []
    for start in range(0, 30, 10):
        log.append(batch(start, start + 10))
        looks.append(log.tally.anytime)
    assert looks == [True, True, False]


WHY = {
    "part": ({"ranges": ((0, 1000),), "planned": (3000,)}, "part of what was planned"),
    "plans": ({"planned": (500, 1000)}, "run by more than one plan"),
}


@pytest.mark.parametrize(("fields", "why"), WHY.values(), ids=WHY)
def test_the_kind_of_interval_and_its_reason_are_told(fields, why):
    one = told(asked(), anytime=True, **fields)
    assert f"\n{why}: anytime intervals, valid whenever one stops\n" in api.table(one)
    below = caption([Series(label="one", tally=one)], [], "")
    assert f"1,000 trials, {why}, anytime intervals, seed 7" in below
    assert {row.split(",")[-1] for row in tables.to_csv(one).splitlines()} == {
        "intervals",
        "anytime",
    }
    fixed = told(asked())
    assert "\nfixed intervals, for the number of trials planned before the" in api.table(fixed)
    assert "1,000 trials, seed 7" in caption([Series(label="one", tally=fixed)], [], "")


def test_a_command_after_the_other_is_told_which_intervals_it_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = "curve neuron --dim 2 --epsilon 0.5 --widths 8 20 --constructions blocks --rules tight"

    def said(more):
        assert program.main([*line.split(), *more.split(), "--out", "a.jsonl"]) == 0
        return capsys.readouterr().out

    first = said(f"--trials {HUGE} --shard 1/900000")
    assert "\npart of what was planned: anytime intervals" in first
    for more in ("--trials 5000", "--trials 9000"):
        text = said(more)
        assert "\nrun by more than one plan: anytime intervals" in text
        assert "95 % anytime" in text
        assert "Clopper" not in text


def test_the_needed_width_of_anytime_intervals_halves_their_error():
    """All the error of an anytime interval may be at one end, and two ends are at stake."""
    assert COUNTS[2] == 184
    six, half, whole = (float(intervals.anytime(184, 200, a)[0]) for a in (0.05 / 6, 0.025, 0.05))
    assert six < 0.83 < half < 0.835 < whole
    high = lambda counts, delta: needed(series(counts, anytime=True), "blocks/tight", delta)[0].high
    assert (high(COUNTS, 0.17), high(COUNTS, 0.165)) == (30, 40)
    assert high([184], 0.165) == 10  # of a lone width, one end is at stake


# The simulation, at toy size.

PATHS = ["--paths", "600", "--ruled", "30"]


@pytest.fixture(scope="module")
def looks():
    return runpy.run_path(str(ROOT / "scripts" / "looks.py"))


def ever_missed(p, looks):
    """P(a fixed interval misses p at some look), exactly: the law of the successes so far."""
    law, missed, before = np.ones(1), 0.0, 0
    for n in looks:
        law = np.convolve(law, binom.pmf(np.arange(n - before + 1), n - before, p))
        low, high = intervals.clopper_pearson(np.arange(n + 1), n, 0.05)
        out = (low > p) | (high < p)
        missed, law, before = missed + law[out].sum(), np.where(out, 0.0, law), n
    return missed


def test_the_simulation_can_see_a_fixed_interval_at_every_look(looks):
    rate = np.mean([ever_missed(p, looks["LOOKS"]) for p in looks["SUCCESS"]])
    assert rate > looks["told_apart"](600)


def test_a_share_and_its_whole_may_not_both_have_fixed_intervals(looks):
    """Why a share counts as a part, though its size was fixed as well."""
    assert max(ever_missed(p, [1000]) for p in looks["SUCCESS"]) <= 0.05
    assert min(ever_missed(p, [500, 1000]) for p in looks["SUCCESS"]) > 0.06


def test_all_ways_of_running_cover(looks, capsys):
    assert looks["main"](PATHS) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 3 + len(looks["WAYS"]) + len(looks["RULES"])
    assert said.endswith("all intervals cover as stated\n")


def plans_alone(ledger):
    """Fixed intervals wherever plans do not differ, as a record once said."""
    found = LEDGER(ledger)
    return replace(found, anytime=bool(found.until) or len(found.planned) > 1)


LEDGER = tally.Ledger.tally


@pytest.fixture
def only(looks, monkeypatch):
    """Of all ways of running these alone."""

    def keep(*names):
        for name in {*looks["WAYS"]} - {*names}:
            monkeypatch.delitem(looks["WAYS"], name)
        return looks["main"](PATHS)

    return keep


def test_the_simulation_catches_fixed_intervals_of_part_of_a_plan(only, capsys, monkeypatch):
    monkeypatch.setattr(tally.Ledger, "tally", plans_alone)
    assert only("one plan", "shares in turn, in one record") == 1
    plain, caught = capsys.readouterr().out.splitlines()[2:4]
    assert "fixed intervals MISS TOO OFTEN" in caught
    assert "MISS" not in plain


def test_the_simulation_catches_a_control_that_is_none(only, capsys, monkeypatch):
    monkeypatch.setattr(intervals, "clopper_pearson", intervals.anytime)
    assert only("one plan", "larger and larger plans") == 1
    plain, caught = capsys.readouterr().out.splitlines()[2:4]
    assert "the control is NOT CAUGHT" in caught
    assert "NOT" not in plain
