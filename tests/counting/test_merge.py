"""Merging keeps every line, adds none twice, and leaves `out` whole whatever happens."""

import itertools
import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_records import (
    ELSEWHERE,
    HERE,
    NARROW,
    PROBLEM,
    ROOT,
    SHORT,
    batch,
    failing_fsync,
    record,
    rows,
    same,
)

from ltjax.counting import records
from ltjax.errors import InputError

TORN = b'{"kind":"batch","start":70,"st'


@pytest.fixture
def out(tmp_path):
    return tmp_path / "runs" / "all.jsonl"


@pytest.fixture
def shares(tmp_path):
    """Three records of one plan: two of the first machine, one of another."""
    a, b, c = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    record(a, (0, 10), (30, 40))
    record(b, (10, 20), (40, 50), environment=ELSEWHERE)
    record(c, (20, 30), (50, 65))
    return [a, b, c]


def lines(path, kind=b"batch"):
    return [line for line in path.read_bytes().splitlines() if b'"kind":"%s"' % kind in line]


def test_a_merged_record_holds_the_lines_of_all(shares, out):
    merged = records.merge(shares, out)
    assert lines(out) == [line for share in shares for line in lines(share)]
    assert out.read_bytes().startswith(shares[0].read_bytes())
    same(merged, records.load(shares))
    same(records.load([out]), merged)
    assert (merged.ranges, merged.missing) == (((0, 65),), ((65, 100),))
    assert (merged.anytime, merged.environments) == (True, (HERE, ELSEWHERE))
    # Each batch lies under the environment that it was run in.
    said = [(row["kind"], row.get("environment")) for row in rows(out)]
    ran = ("batch", None)
    assert (
        said
        == [("header", HERE), ran, ran, ("plan", ELSEWHERE), ran, ran, ("plan", HERE)] + [ran] * 2
    )


def test_merging_again_changes_not_a_byte(shares, out):
    first = records.merge(shares, out)
    before = out.read_bytes(), out.stat().st_mtime_ns
    for again in itertools.chain(
        [[out], [out, *shares], shares[1:]], itertools.permutations(shares)
    ):
        same(records.merge(again, out), first)
        assert (out.read_bytes(), out.stat().st_mtime_ns) == before


def test_a_record_is_added_to_and_nothing_of_it_lost(shares, out):
    record(out, (65, 70), (80, 90), environment=ELSEWHERE)
    before, expected = out.read_bytes(), records.load([out, *shares])
    same(records.merge(shares, out), expected)
    assert out.read_bytes().startswith(before)
    same(records.load([out]), expected)
    assert record(out, (70, 80), (90, 100)).missing == ()  # a record like any other


def test_the_order_of_the_inputs_does_not_change_the_sums(shares, tmp_path):
    for number, order in enumerate(itertools.permutations(shares)):
        merged = records.merge(order, tmp_path / f"{number}.jsonl")
        # By hand: the sum over the ranges, each a function of its start.
        spans = [(0, 10), (10, 20), (20, 30), (30, 40), (40, 50), (50, 65)]
        expected = sum(batch(*span).certified for span in spans)
        np.testing.assert_array_equal(merged.certified, expected)
        assert (merged.trials, merged.settled, merged.seconds) == (65, 6, 1.5)


@pytest.mark.parametrize("span", [(5, 8), (9, 11), (0, 70), (30, 40)])
@pytest.mark.parametrize("exists", [True, False])
def test_other_overlap_is_refused_before_the_first_byte(shares, out, tmp_path, span, exists):
    if exists:
        record(out, (90, 100))
    before = out.read_bytes() if exists else None
    other = tmp_path / "other.jsonl"
    with records.Log(other, PROBLEM, 100, HERE) as log:
        log.append(batch(70, 80))
        log.append(batch(*span, settled=0))
    words = rf"other\.jsonl line 3: trials {span[0]} to {span[1]} are counted in .*\.jsonl line \d"
    for paths in ([*shares, other], [shares[0], other]):
        with pytest.raises(InputError, match=words) as caught:
            records.merge(paths, out)
        assert "\n" not in str(caught.value)
        assert (out.read_bytes() if out.exists() else None) == before


def test_overlap_with_out_alone_is_refused(shares, out):
    record(out, (50, 60))
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"c\.jsonl line 3: trials 50 to 65 .*all\.jsonl line 2"):
        records.merge(shares, out)
    assert out.read_bytes() == before


def test_torn_ends_are_passed_over(shares, out):
    expected = records.load(shares)
    for share in shares[:2]:
        share.write_bytes(share.read_bytes() + TORN)
    same(records.merge(shares, out), expected)
    assert all(share.read_bytes().endswith(TORN) for share in shares[:2])
    whole = out.read_bytes()
    out.write_bytes(whole + TORN)
    same(records.merge([out, *shares], out), expected)
    assert out.read_bytes() == whole


def test_a_merge_cut_short_anywhere_is_completed_by_the_same_line(shares, out):
    record(shares[1], (65, 70), until=NARROW)
    records.merge(shares, out)
    whole = out.read_bytes()
    for cut in range(0, len(whole), 31):
        out.write_bytes(whole[:cut])
        records.merge(shares, out)
        assert out.read_bytes() == whole


# Writes past so many bytes fail as on a full disk; or, by the signal's own default, kill.
LIMITED = """
import resource, signal, sys
from ltjax.counting import records
out, limit, action, *paths = sys.argv[1:]
signal.signal(signal.SIGXFSZ, getattr(signal, action))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
records.merge(paths, out)
"""


def limited(shares, out, action):
    """Merge where the file cannot grow by more than 1000 bytes; return code and complaint."""
    limit = out.stat().st_size + 1000
    arguments = [str(x) for x in (out, limit, action, *shares)]
    ran = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    return ran.returncode, ran.stderr.strip()


def test_a_full_disk_leaves_out_whole(shares, out):
    record(out, (70, 80))
    before = out.read_bytes()
    code, complaint = limited(shares, out, "SIG_IGN")
    assert (code, complaint.endswith(f"File too large: '{out}'")) == (1, True)
    assert out.read_bytes() == before


def test_a_killed_merge_is_completed(shares, out):
    record(out, (70, 80))
    before, expected = out.read_bytes(), records.load([out, *shares])
    code, _ = limited(shares, out, "SIG_DFL")
    assert code == -signal.SIGXFSZ
    assert len(before) < out.stat().st_size == len(before) + 1000
    part = records.load([out])
    assert 10 < part.trials < expected.trials
    same(records.merge(shares, out), expected)
    assert out.read_bytes().startswith(before)


def test_a_merge_that_cannot_be_synchronised_is_taken_back(shares, out, monkeypatch):
    record(out, (70, 80))
    before = out.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr(records.os, "fsync", failing_fsync)
        with pytest.raises(OSError, match=r"No space left on device: .*all\.jsonl"):
            records.merge(shares, out)
    assert out.read_bytes() == before


def test_the_disk_is_synchronised_once_for_all_lines(tmp_path, out, monkeypatch):
    share, synced = tmp_path / "a.jsonl", []
    record(share, *[(start, start + 1) for start in range(100)])
    real = records.os.fsync
    monkeypatch.setattr(records.os, "fsync", lambda fd: synced.append(real(fd)))
    assert records.merge([share], out).trials == 100
    assert len(synced) <= 3  # the header, its folder, and everything else


def test_a_writer_of_out_is_not_disturbed(shares, out):
    with records.Log(out, PROBLEM, 100, HERE) as log:
        before = out.read_bytes()
        with pytest.raises(InputError, match=r"all\.jsonl is being written by another process"):
            records.merge(shares, out)
        log.append(batch(90, 100))
    assert out.read_bytes() == before + lines(out)[0] + b"\n"


def test_what_cannot_be_read_creates_nothing(shares, out, tmp_path):
    damaged = tmp_path / "d.jsonl"
    damaged.write_bytes(shares[1].read_bytes().replace(b'"start":40', b'"start":41'))
    record(tmp_path / "seed.jsonl", (0, 10), problem=replace(PROBLEM, seed=8))
    (tmp_path / "empty.jsonl").write_bytes(b"")
    for name, message in {
        "d.jsonl": "d.jsonl line 3: the line is damaged",
        "seed.jsonl": "seed.jsonl and .*a.jsonl hold different problems: seed is 8 and 7",
        "empty.jsonl": "empty.jsonl has no header yet",
        "none.jsonl": "cannot read .*none.jsonl: No such file",
    }.items():
        with pytest.raises(InputError, match=message):
            records.merge([*shares, tmp_path / name], out)
        assert not out.parent.exists()
    with pytest.raises(InputError, match="at least one record"):
        records.merge([], out)


def test_out_of_another_problem_is_refused_and_left_alone(shares, out):
    record(out, (0, 10), problem=replace(PROBLEM, seed=8))
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"all\.jsonl holds another problem: seed is 8 there"):
        records.merge(shares, out)
    assert out.read_bytes() == before


@pytest.mark.parametrize("plans", [(100, 30), (30, 100)])
def test_plans_that_differ_stay_different(tmp_path, out, plans):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, start, planned in zip(paths, (0, 10), plans, strict=True):
        record(path, (start, start + 10), planned=planned)
    merged = records.merge(paths, out)
    assert (merged.anytime, merged.planned) == (True, plans)
    same(records.load([out]), merged)
    same(records.merge(paths[::-1], out), merged)


def test_a_plan_without_batches_is_kept_and_is_no_look(tmp_path, out):
    a, b = tmp_path / "a", tmp_path / "b"
    record(a, (0, 30), planned=30)
    record(b, planned=100, until=NARROW)
    merged = records.merge([a, b], out)
    assert (merged.anytime, merged.until, merged.planned) == (False, (), (30,))
    assert [row.get("planned") for row in rows(out)] == [30, None, 100]
    same(records.load([out]), merged)
    before = out.read_bytes()
    records.merge([b, a], out)
    assert out.read_bytes() == before


def test_rules_are_kept_with_the_batches_run_under_them(tmp_path, out):
    a, b = tmp_path / "a", tmp_path / "b"
    record(a, (0, 10))
    record(b, (10, 20), until=SHORT)
    record(b, (20, 30))
    merged = records.merge([a, b], out)
    assert (merged.anytime, merged.until) == (True, (SHORT,))
    assert [row.get("until") for row in rows(out) if row["kind"] == "plan"] == [SHORT, None]
    # The control: of the other trials alone all intervals are fixed ones.
    assert record(out, (30, 100)).anytime
    assert not record(tmp_path / "c", (0, 100)).anytime


def test_a_line_that_two_files_hold_under_two_plans_was_run_under_both(tmp_path, out):
    """One may be a copy that was cut out of its record: neither plan is to be lost."""
    a, b = tmp_path / "a", tmp_path / "b"
    record(a, (0, 10), planned=10)
    record(b, (0, 10), planned=30, until=SHORT)
    assert not records.load([a]).anytime
    for paths in ([a, b], [b, a]):
        assert (records.load(paths).anytime, records.load(paths).until) == (True, (SHORT,))
    merged = records.merge([a, b], out)
    assert (merged.trials, merged.anytime, merged.until) == (10, True, (SHORT,))
    same(records.load([out]), merged)
    before = out.read_bytes()
    records.merge([b, out, a], out)
    assert out.read_bytes() == before


PLANS = st.tuples(
    st.sampled_from([80, 100]),
    st.sampled_from([HERE, ELSEWHERE]),
    st.sampled_from([None, NARROW, SHORT]),
)
# Of each of eight ranges of ten trials: the file that it is in, and how it was run.
RUNS = st.lists(st.tuples(st.integers(0, 2), PLANS), min_size=8, max_size=8)


@settings(deadline=None, max_examples=60)
@given(runs=RUNS, copies=st.sets(st.integers(0, 7)), kept=st.integers(0, 3))
def test_a_merged_record_is_the_sum_of_its_inputs(runs, copies, kept):
    """Whatever plans, rules and machines: what is loaded from `out` is what all files say."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.jsonl" for name in range(3)]
        for number, (file, plan) in enumerate(runs):
            span = (10 * number, 10 * number + 10)
            twice = [paths[file], paths[(file + 1) % 3]]  # the same line in two files
            for path in twice if number in copies else twice[:1]:
                with records.Log(path, PROBLEM, *plan) as log:
                    log.append(batch(*span))
        paths = [path for path in paths if path.exists()]
        out = paths[0] if kept < 2 else Path(folder) / "out.jsonl"
        expected = records.load([out, *paths] if out.exists() else paths)
        merged = records.merge(paths, out)
        same(merged, expected)
        same(records.load([out]), expected)
        backwards = records.load(paths[::-1])
        assert (backwards.anytime, backwards.trials) == (merged.anytime, merged.trials)
        before = out.read_bytes()
        records.merge(paths[::-1], out)
        assert out.read_bytes() == before


def test_a_line_is_copied_as_it_is(tmp_path, out):
    """Fields in an order of another writer, whose checksum fits: not one byte is changed."""
    share = tmp_path / "a.jsonl"
    record(share, (0, 10))
    header, line = share.read_bytes().splitlines(keepends=True)
    row = {key: value for key, value in reversed(json.loads(line).items()) if key != "crc"}
    line, _ = records._seal(json.dumps(row).encode())
    share.write_bytes(header + line)
    records.merge([share], out)
    assert out.read_bytes() == header + line
