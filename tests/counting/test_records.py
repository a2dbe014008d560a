"""Nothing acknowledged is lost, nothing counts twice, nothing unusable is read."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltjax.counting import records, tally
from ltjax.errors import InputError
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.results import tables
from ltjax.system import files

PROBLEM = Problem(
    config=Neuron(dim=2, constructions=("blocks",)),
    target=(0.5, -0.2),
    grid=Grid(widths=(8, 16), epsilons=(0.2, 0.1)),
    seed=7,
)
ROOT = Path(records.__file__).parents[2]
HERE = {"jax": "0.10.1", "device": "cpu"}
ELSEWHERE = {"jax": "0.12", "device": "gpu"}
NARROW = {"half_width": 0.005, "cell": ["blocks/tight", 16, 0.1]}
SHORT = {"seconds": 3600.0}


def batch(start, stop, settled=1):
    """A batch that depends on its range alone, as a real one does."""
    cell = np.arange(np.prod(PROBLEM.shape)).reshape(PROBLEM.shape)
    certified = (cell * 7 + start) % (stop - start)
    refuted = (stop - start - certified) // 2
    return tally.Batch(start, stop, certified, refuted, 0, settled, 0.25)


def record(path, *ranges, planned=100, environment=HERE, problem=PROBLEM, until=None):
    """Append the batches over `ranges`, and return the tally."""
    with records.Log(path, problem, planned, environment, until) as log:
        for start, stop in ranges:
            log.append(batch(start, stop))
        return log.tally


def same(one, other):
    """Two tallies agree in every field and every count."""
    for name in vars(one):
        np.testing.assert_equal(getattr(one, name), getattr(other, name), err_msg=name)


def sealed(row):
    """A line as the format page describes it, written without the code under test."""
    return stamped(json.dumps(row, separators=(",", ":")).encode())


def stamped(body):
    """Any bytes with a checksum that fits."""
    return body[:-1] + b',"crc":%d}\n' % zlib.crc32(body)


def rows(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "neuron.jsonl"


@pytest.fixture
def lines(path):
    """The lines of a record of trials 0 to 30 in three batches."""
    record(path, (0, 10), (10, 20), (20, 30))
    return path.read_bytes().splitlines(keepends=True)


def test_round_trip(path):
    written = record(path, (0, 10), (10, 25), (40, 50))
    read = records.load([path])
    same(read, written)
    parts = [batch(0, 10), batch(10, 25), batch(40, 50)]
    np.testing.assert_array_equal(read.certified, sum(part.certified for part in parts))
    np.testing.assert_array_equal(read.refuted, sum(part.refuted for part in parts))
    assert (read.ranges, read.trials) == (((0, 25), (40, 50)), 35)
    assert read.missing == ((25, 40), (50, 100))
    assert (read.settled, read.seconds, read.problem) == (3, 0.75, PROBLEM)
    assert (read.planned, read.environments) == ((100,), (HERE,))
    assert (read.anytime, read.until) == (True, ())  # as part of a plan
    assert np.all(read.certified + read.refuted + read.undecided + read.invalid == read.trials)


def test_lines_are_those_of_the_format_page(path):
    record(path, (0, 10))
    identity = {"problem": PROBLEM.to_json(), "digest": PROBLEM.digest()}
    header = {"kind": "header", "format": "ltjax-counts/1", **identity, "environment": HERE}
    counted = batch(0, 10)
    tables = {"certified": counted.certified.tolist(), "refuted": counted.refuted.tolist()}
    line = {"kind": "batch", "start": 0, "stop": 10, **tables, "invalid": 0, "settled": 1}
    expected = sealed({**header, "planned": 100}) + sealed({**line, "seconds": 0.25})
    assert path.read_bytes() == expected


def test_resume_runs_what_is_missing(path, tmp_path):
    record(path, (0, 10), (30, 40))
    with records.Log(path, PROBLEM, 100, HERE) as log:
        assert log.missing(100) == [(10, 30), (40, 100)]
        assert log.missing(35) == [(10, 30)]
        assert log.dropped_bytes == 0
        for start, stop in log.missing(100):
            log.append(batch(start, stop))
        assert log.missing(100) == []
    at_once = record(tmp_path / "other.jsonl", (0, 10), (10, 30), (30, 40), (40, 100))
    same(records.load([path]), at_once)


@pytest.mark.parametrize(("planned", "environment"), [(30, HERE), (20, HERE), (30, ELSEWHERE)])
def test_a_run_that_finds_nothing_to_do_writes_nothing(path, planned, environment):
    assert not record(path, (0, 30), planned=30).anytime
    before = path.read_bytes(), path.stat().st_mtime_ns
    with records.Log(path, PROBLEM, planned, environment) as log:
        assert log.missing(planned) == []
        assert not log.tally.anytime
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_a_lower_plan_in_a_file_is_the_one_its_batches_were_run_by(path):
    """As merging leaves it: two plans, whichever comes first."""
    record(path, (0, 10))
    lower = sealed({"kind": "plan", "planned": 30, "environment": HERE})
    path.write_bytes(path.read_bytes() + lower)
    assert records.load([path]).planned == (100,)  # as nothing was run by the other yet
    path.write_bytes(path.read_bytes() + sealed(LINE | {"start": 20, "stop": 30}))
    read = records.load([path])
    assert (read.planned, read.anytime, read.missing) == ((100, 30), True, ((10, 20), (30, 100)))
    record(path, (30, 40), planned=50)
    assert [row.get("planned") for row in rows(path)] == [100, None, 30, None, 50, None]
    path.write_bytes(path.read_bytes() + lower + sealed(LINE | {"start": 50, "stop": 60}))
    with pytest.raises(InputError, match="line 8: trials must be a range within 0 to 30, the plan"):
        records.load([path])


def test_every_rule_is_written_and_stays_in_force_until_the_next(path):
    first = record(path, (0, 10), until=NARROW)
    assert (first.until, first.anytime) == ((NARROW,), True)
    record(path, (10, 20), until=NARROW)
    record(path, (20, 30))
    record(path, (30, 40), until=SHORT)
    last = record(path, (40, 50), until=NARROW)
    said = [(row["kind"], row.get("until")) for row in rows(path)]
    ran = ("batch", None)
    assert said[:3] == [("header", NARROW), ran, ran]
    changes = [("plan", None), ran, ("plan", SHORT), ran, ("plan", NARROW), ran]
    assert said[3:] == changes
    assert [("until" in row) for row in rows(path)[3::2]] == [False, True, True]
    assert (last.until, last.planned, last.anytime) == ((NARROW, SHORT), (100,), True)
    same(records.load([path]), last)


def test_a_rule_once_run_by_is_never_forgotten(path):
    record(path, (0, 10), until=SHORT)
    assert record(path, (10, 100)).anytime
    assert records.load([path]).until == (SHORT,)


def test_a_rule_under_which_nothing_was_run_changes_nothing(path):
    record(path, until=NARROW)
    fixed = record(path, (0, 100))
    assert (fixed.until, fixed.anytime) == ((), False)
    before = path.read_bytes()
    assert not record(path, until=SHORT).anytime
    assert path.read_bytes() == before


def test_memory_knows_its_rule_as_a_record_does(path):
    with records.Memory(PROBLEM, 100, NARROW) as log:
        assert log.tally.until == ()
        log.append(batch(0, 10))
        in_memory = log.tally
    same(replace(in_memory, environments=(HERE,)), record(path, (0, 10), until=NARROW))


def test_a_share_is_run_alone(path):
    with records.Log(path, PROBLEM, 100, HERE) as log:
        share = [(0, 10), (30, 40), (60, 70), (90, 120)]
        assert log.missing(100, share) == [(0, 10), (30, 40), (60, 70), (90, 100)]
        log.append(batch(0, 10))
        log.append(batch(35, 65))
        assert log.missing(100, share) == [(30, 35), (65, 70), (90, 100)]
        assert log.missing(32, share) == [(30, 32)]
        assert log.missing(100, []) == []


def test_every_change_of_environment_is_written(path):
    record(path, (0, 10))
    record(path, (10, 20), environment=ELSEWHERE)
    last = record(path, (20, 30), (30, 40), environment=HERE)
    kinds = [(row["kind"], row.get("environment")) for row in rows(path)]
    changes = [("plan", ELSEWHERE), ("batch", None), ("plan", HERE), ("batch", None)]
    assert kinds[2:] == [*changes, ("batch", None)]
    assert (last.environments, last.planned) == ((HERE, ELSEWHERE), (100,))
    same(records.load([path]), last)
    assert not record(path, (40, 100), environment=ELSEWHERE).anytime


def test_a_torn_end_is_dropped_wherever_it_is_cut(path, lines):
    kept, last = b"".join(lines[:-1]), lines[-1]
    for cut in range(len(last)):
        path.write_bytes(kept + last[:cut])
        assert records.load([path]).ranges == ((0, 20),)
        assert path.read_bytes() == kept + last[:cut]
        with records.Log(path, PROBLEM, 100, HERE) as log:
            assert log.dropped_bytes == cut
            assert log.missing(30) == [(20, 30)]
            log.append(batch(20, 30))
        assert path.read_bytes() == kept + last


def test_a_torn_header_counts_as_new(path, lines):
    for cut in range(len(lines[0])):
        path.write_bytes(lines[0][:cut])
        with pytest.raises(InputError, match=r"jsonl has no header yet"):
            records.load([path])
        with records.Log(path, replace(PROBLEM, seed=8), 100, HERE) as log:
            assert log.dropped_bytes == cut
        assert records.load([path]).problem.seed == 8


def test_damage_is_never_read(path, lines):
    whole, rng = b"".join(lines), random.Random(3)
    for at in rng.sample(range(len(whole) - 1), 300):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        for use in (lambda: records.load([path]), lambda: record(path)):
            with pytest.raises(InputError, match=r"neuron\.jsonl.* line \d") as caught:
                use()
            assert "\n" not in str(caught.value)
        assert path.read_bytes() == damaged


def test_the_damaged_line_is_named(path, lines):
    lines[2] = lines[2].replace(b'"start":10', b'"start":11')
    path.write_bytes(b"".join(lines))
    with pytest.raises(InputError, match=r"jsonl line 3: the line is damaged"):
        records.load([path])


def test_files_of_one_problem_add_up(tmp_path):
    a, b, c = (tmp_path / name for name in ("a", "b", "c"))
    record(a, (0, 10), (20, 30))
    record(b, (10, 20), environment=ELSEWHERE)
    both = records.load([a, b])
    in_one = record(c, (0, 10), (10, 20), (20, 30))
    np.testing.assert_array_equal(both.certified, in_one.certified)
    np.testing.assert_array_equal(both.refuted, in_one.refuted)
    assert (both.ranges, both.missing, both.planned) == (((0, 30),), ((30, 100),), (100,))
    assert (both.environments, both.anytime) == ((HERE, ELSEWHERE), True)
    same(records.load([a, b, a, b]), both)


def test_files_of_different_plans_are_an_extension(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    record(a, (0, 10), planned=10)
    record(b, (10, 20), planned=20)
    assert records.load([a, b]).anytime


def test_a_look_at_one_file_is_no_look_at_the_next(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    record(a, (0, 10), planned=20)
    record(b, planned=10)
    record(b, (10, 20), planned=20)
    assert not records.load([a, b]).anytime


def test_a_line_read_twice_counts_once(path, lines):
    expected = records.load([path])
    path.write_bytes(b"".join([*lines, *lines[1:]]))
    same(records.load([path]), expected)


@pytest.mark.parametrize("span", [(0, 10), (5, 8), (9, 11), (15, 40), (0, 90)])
def test_trials_counted_twice_are_refused(path, lines, tmp_path, span):
    other = tmp_path / "other"
    with records.Log(other, PROBLEM, 100, HERE) as log:
        log.append(batch(*span, settled=0))
    with pytest.raises(
        InputError, match=rf"other line 2: trials {span[0]} to {span[1]} are counted"
    ):
        records.load([path, other])
    with (
        records.Log(path, PROBLEM, 100, HERE) as log,
        pytest.raises(InputError, match="counted in"),
    ):
        log.append(batch(*span))
    assert path.read_bytes() == b"".join(lines)


def test_a_second_writer_is_refused(path):
    with records.Log(path, PROBLEM, 100, HERE) as log:
        with pytest.raises(InputError, match=r"neuron\.jsonl is being written by another process"):
            records.Log(path, PROBLEM, 100, HERE)
        log.append(batch(0, 10))
        assert records.load([path]).trials == 10
    record(path, (10, 20))
    log.close()


BAD_BATCHES = {
    "empty": ({"stop": 0}, "trials must be a range within 0 to 100"),
    "backwards": ({"start": 20, "stop": 10}, "got 20 to 10"),
    "negative": ({"start": -5}, "got -5 to 10"),
    "beyond the plan": ({"stop": 101}, "got 0 to 101"),
    "huge": ({"stop": 10**30}, "trials must be a range"),
    "shape": ({"certified": np.zeros((4, 2, 3), np.int64)}, r"shape \[4, 2, 2\], got int64 of"),
    "type": ({"refuted": np.zeros((4, 2, 2))}, "refuted must be int64 .* got float64"),
    "negative count": ({"refuted": np.full((4, 2, 2), -1)}, "refuted must count .* got -1"),
    "too many": ({"certified": np.full((4, 2, 2), 11)}, "certified must count .* got 11"),
    "wraps": (
        {"certified": np.full((4, 2, 2), 2**63 - 1)},
        "certified must count between 0 and 10",
    ),
    "verdicts": ({"invalid": 10}, "must sum to at most 10 trials, got 20"),
    "invalid": ({"invalid": -1}, "invalid must count"),
    "settled": ({"settled": 11}, "settled must count .* got 11"),
    "nan": ({"seconds": float("nan")}, "seconds must be finite"),
}


@pytest.mark.parametrize(("change", "message"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_an_impossible_batch_is_not_written(path, change, message):
    full = batch(0, 10)._replace(
        certified=np.full(PROBLEM.shape, 10), refuted=np.zeros_like(batch(0, 10).refuted)
    )
    with records.Log(path, PROBLEM, 100, ELSEWHERE) as log:
        before = path.read_bytes()
        with pytest.raises(InputError, match=message):
            log.append(full._replace(**change))
        assert path.read_bytes() == before
        log.append(full)


HEADER = {
    "kind": "header",
    "format": "ltjax-counts/1",
    "problem": PROBLEM.to_json(),
    "digest": PROBLEM.digest(),
    "environment": HERE,
    "planned": 100,
}
ZEROS = np.zeros(PROBLEM.shape, int).tolist()
LINE = {"kind": "batch", "start": 0, "stop": 10, "certified": ZEROS, "refuted": ZEROS}
LINE |= {"invalid": 0, "settled": 0, "seconds": 0.5}


def forged(header=None, line=None):
    return sealed(HEADER | (header or {})) + sealed(LINE | (line or {}))


def foreign_problem(**change):
    return {"problem": PROBLEM.to_json() | change}


def test_the_forger_of_these_tests_can_forge(path):
    path.parent.mkdir()
    path.write_bytes(forged())
    assert records.load([path]).trials == 10


# Lines whose checksums fit, so that what they say must be checked.
BAD_FILES = {
    "text": (b"width,successes\n8,3\n", "is not a record of ltjax: line 1 is no header"),
    "binary": (bytes(range(256)) * 40, "is not a record of ltjax"),
    "text without an end": (b"notes", "is not a record of ltjax"),
    "another json": (b'{"kind":"notes"}\n', "is not a record of ltjax"),
    "truncated json": (forged()[:-20] + b"\n", "line 2: the line is damaged"),
    "junk": (sealed(HEADER) + stamped(b"{[}"), "line 2 is no line of a record: JSONDecodeError"),
    "deep": (sealed(HEADER) + stamped(b"[" * 99999 + b"}"), "line 2 is no .* RecursionError"),
    "format": (forged({"format": "ltjax-counts/9"}), "line 1: the format is ltjax-counts/9, only"),
    "digest": (forged({"digest": "0" * 16}), "line 1: digest 0000000000000000 is not"),
    "no seed": (forged(foreign_problem(seed=None)), "line 1"),
    "endless width": (
        stamped(json.dumps(HEADER, separators=(",", ":")).replace("[8,16]", "[8,1e999]").encode()),
        "line 1",
    ),
    "nan target": (forged(foreign_problem(target=[float("nan"), 0.1])), "line 1: target must be"),
    "plan of none": (forged({"planned": 0}), "line 1: planned must be an integer from 1"),
    "plan too long": (forged({"planned": 2**60}), "line 1: planned must be"),
    "environment": (forged({"environment": 3}), "line 1: environment must be an object"),
    "rule": (forged({"until": 3}), "line 1: until must be an object of numbers and their cell"),
    "no rule": (forged({"until": None}), "line 1: until must be .*, got None"),
    "empty rule": (forged({"until": {"cell": ["a", 8, 0.1]}}), "line 1: until must be"),
    "rule of words": (forged({"until": {"failures": "many"}}), "line 1: until must be"),
    "rule of no cell": (forged({"until": NARROW | {"cell": 3}}), "line 1: until must be"),
    "endless rule": (forged({"until": {"seconds": float("inf")}}), "line 1 is no line of a"),
    "endless environment": (forged({"environment": {"x": float("nan")}}), "line 1 is no line"),
    "kind": (forged(line={"kind": "note"}), "line 2: kind must be batch or plan, got note"),
    "second header": (sealed(HEADER) * 2, "line 2: kind must be batch or plan, got header"),
    "no field": (
        sealed(HEADER) + sealed({"kind": "batch"}),
        r"line 2 is no .* KeyError\('start'\)",
    ),
    "fraction": (forged(line={"stop": 9.5}), "line 2: stop must be an integer, got 9.5"),
    "truth": (forged(line={"invalid": True}), "line 2: invalid must be an integer, got True"),
    "empty range": (forged(line={"stop": 0}), "line 2: trials must be a range"),
    "negative range": (forged(line={"start": -1}), "line 2: trials must be a range"),
    "shape": (forged(line={"certified": ZEROS[:-1]}), r"line 2: certified must be int64 of shape"),
    "ragged": (forged(line={"certified": [[1], [1, 2]]}), "line 2 is no line of a record"),
    "huge count": (forged(line={"refuted": [[[10**30] * 2] * 2] * 4}), "got object"),
    "nan count": (forged(line={"refuted": [[[float("nan")] * 2] * 2] * 4}), "got float64"),
    "negative count": (
        forged(line={"refuted": [[[-1] * 2] * 2] * 4}),
        "line 2: refuted must count",
    ),
    "too many": (
        forged(line={"refuted": [[[6] * 2] * 2] * 4, "invalid": 5}),
        "line 2: certified, refuted and invalid must sum to at most 10 trials, got 11",
    ),
    "endless": (forged(line={"seconds": float("inf")}), "line 2: seconds must be finite"),
    "word": (forged(line={"seconds": "long"}), "line 2 is no line of a record"),
}


@pytest.mark.parametrize(("data", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_an_unusable_file_is_refused_and_left_alone(path, data, message):
    path.parent.mkdir()
    path.write_bytes(data)
    for use in (lambda: records.load([path]), lambda: record(path, (50, 60))):
        with pytest.raises(InputError, match=message) as caught:
            use()
        assert "neuron.jsonl" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 9}, "seed is 7 there and 9 here; choose another --out"),
        (
            {"grid": Grid(widths=(8, 16), epsilons=(0.2,))},
            r"grid.epsilons is \[0.2, 0.1\] there and",
        ),
        ({"config": Neuron(dim=2)}, "config.constructions is"),
        ({"target": (0.5, 0.2)}, "target is"),
    ],
)
def test_another_problem_is_refused(path, lines, tmp_path, change, message):
    other = replace(PROBLEM, **change)
    with pytest.raises(InputError, match=message):
        records.Log(path, other, 100, HERE)
    assert path.read_bytes() == b"".join(lines)
    record(tmp_path / "b", problem=other)
    with pytest.raises(InputError, match=r"b and .*neuron\.jsonl hold different problems"):
        records.load([path, tmp_path / "b"])


def test_places_where_no_record_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for place, message in {
        "": "is a directory",
        "pipe": "is not a regular file",
        "file/a.jsonl": "file is not a directory",
        "a" * 300: "File name too long",
    }.items():
        with pytest.raises(InputError, match=message):
            records.Log(tmp_path / place, PROBLEM, 100, HERE)
    for place, message in {"": "directory", "pipe": "regular", "none": "No such file"}.items():
        with pytest.raises(InputError, match=message):
            records.load([tmp_path / place])
    with pytest.raises(InputError, match="at least one record"):
        records.load([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match=r"cannot write .*: Permission denied"):
        records.Log(tmp_path / "a.jsonl", PROBLEM, 100, HERE)


@pytest.mark.parametrize("planned", [0, -1, 2**53 + 1])
def test_an_unusable_plan_creates_no_file(path, planned):
    with pytest.raises(InputError, match="planned must be an integer from 1"):
        records.Log(path, PROBLEM, planned, HERE)
    assert not path.exists()


# A process of its own that appends batches of ten trials and acknowledges each by its end.
WRITER = """
import sys
import numpy as np
from ltjax.counting import records
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem

problem = Problem(
    config=Neuron(dim=2, constructions=("blocks",)),
    target=(0.5, -0.2),
    grid=Grid(widths=(8, 16), epsilons=(0.2, 0.1)),
    seed=7,
)
zeros = np.zeros(problem.shape, np.int64)
with records.Log(sys.argv[1], problem, 10**6, {}) as log:
    print("open", flush=True)
    (start, _), = log.missing(10**6)
    while True:
        log.append(records.Batch(start, start + 10, zeros + start % 11, zeros, 0, 0, 0.0))
        start += 10
        print(start, flush=True)
"""


def writer(path, before="", **options):
    command = [sys.executable, "-c", before + WRITER, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)


def test_no_acknowledged_batch_is_lost_to_a_kill(path):
    rng, acknowledged = random.Random(11), 0
    for _ in range(10):
        with writer(path) as process:
            assert process.stdout.readline() == "open\n"
            heard = [process.stdout.readline() for _ in range(rng.randrange(20))]
            time.sleep(0.003 * rng.random())
            process.send_signal(signal.SIGKILL)
            said = "".join([*heard, process.stdout.read()]).split("\n")[:-1]
        acknowledged = int(said[-1]) if said else acknowledged
        read = records.load([path])
        ((start, stop),) = read.ranges or ((0, 0),)
        # One batch may be on disk and unsaid; none may be said and not on disk.
        assert start == 0
        assert acknowledged <= stop <= acknowledged + 10
        assert read.certified.max() == sum(first % 11 for first in range(0, stop, 10))
        acknowledged = stop
    assert acknowledged > 100


def test_a_full_disk_leaves_the_record_whole(path):
    # Python ignores the signal of this limit: a write then fails, as on a full disk.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
    with writer(path, before=limit, stderr=subprocess.PIPE) as process:
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert complaint.strip().endswith(f"File too large: '{path}'")
    assert path.read_bytes().endswith(b"\n")
    assert path.stat().st_size <= 5000
    assert records.load([path]).ranges == ((0, int(said.split()[-1])),)


def test_a_batch_that_cannot_be_synchronised_is_taken_back(path, monkeypatch):
    with records.Log(path, PROBLEM, 100, HERE) as log:
        before = path.read_bytes()
        with monkeypatch.context() as broken:
            broken.setattr(records.os, "fsync", failing_fsync)
            with pytest.raises(OSError, match=r"No space left on device: .*neuron\.jsonl"):
                log.append(batch(0, 10))
        assert path.read_bytes() == before
        assert log.missing(10) == [(0, 10)]
        log.append(batch(0, 10))
        same(records.load([path]), log.tally)


def failing_fsync(fd):
    raise OSError(28, "No space left on device")


def test_reading_a_record_does_not_import_jax():
    code = "import sys, ltjax.counting.records; sys.exit(bool({'jax', 'scipy'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# Some of the ranges between neighbouring cuts, so that some touch.
SPANS = st.tuples(st.sets(st.integers(0, 40)), st.integers(0, 2**40 - 1)).map(
    lambda drawn: tuple(
        span for i, span in enumerate(itertools.pairwise(sorted(drawn[0]))) if drawn[1] >> i & 1
    )
)


@given(spans=SPANS, end=st.integers(0, 50))
def test_ranges_are_the_sets_they_stand_for(spans, end):
    members = lambda ranges: [i for start, stop in ranges for i in range(start, stop)]
    left_out = tally.complement(tally.coalesce(spans), end)
    assert members(tally.coalesce(spans)) == members(spans)
    assert members(left_out) == sorted(set(range(end)) - set(members(spans)))
    for ranges in (tally.coalesce(spans), left_out):
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
        assert all(start < stop for start, stop in ranges)


@given(SPANS, SPANS)
def test_what_two_lists_of_ranges_share(one, other):
    members = lambda ranges: {i for start, stop in ranges for i in range(start, stop)}
    shared = tally.intersect(one, other)
    assert members(shared) == members(one) & members(other)
    assert shared == tally.coalesce(shared) == tally.intersect(other, one)
    assert all(start < stop for start, stop in shared)


@given(st.permutations(range(8)))
def test_the_order_of_batches_does_not_matter(order):
    ledger = tally.Ledger(PROBLEM)
    ledger.turn(tally.Plan(100, HERE, None))
    for i in order:
        ledger.add(batch(10 * i, 10 * i + 10), i, "here")
    total = ledger.tally()
    assert total.ranges == ((0, 80),)
    np.testing.assert_array_equal(
        total.certified, sum(batch(10 * i, 10 * i + 10).certified for i in range(8))
    )


def test_criteria_by_name(path):
    read = record(path, (0, 10))
    assert read.criterion("blocks/sup") == 3
    with pytest.raises(InputError, match=r"one of blocks/slides, .*, got pooled/l2"):
        read.criterion("pooled/l2")


def test_csv(path):
    read = record(path, (0, 10))
    header, *table = tables.to_csv(read).splitlines()
    assert header == "criterion,width,epsilon,certified,refuted,undecided,invalid,trials,intervals"
    assert len(table) == 16
    counted = batch(0, 10)
    c, r = counted.certified[1, 1, 0], counted.refuted[1, 1, 0]
    assert table[6] == f"blocks/tight,16,0.2,{c},{r},{10 - c - r},0,10,anytime"
    whole = tables.to_csv(record(path, (10, 100)))
    assert all(row.endswith(",0,100,fixed") for row in whole.splitlines()[1:])


def test_write_atomic(path, tmp_path):
    figure = tmp_path / "figures" / "width.png"
    files.write_atomic(figure, b"one")
    files.write_atomic(figure, b"two")
    assert figure.read_bytes() == b"two"
    assert [file.name for file in figure.parent.iterdir()] == ["width.png"]
    link = tmp_path / "link"
    link.symlink_to(figure)
    files.write_atomic(link, b"three")
    assert (link.is_symlink(), figure.read_bytes()) == (True, b"three")

    record(path, (0, 10))
    for place, message in {
        path: "is a record of ltjax",
        tmp_path: "is a directory",
        figure / "a.png": "is not a directory",
    }.items():
        with pytest.raises(InputError, match=message):
            files.write_atomic(place, b"")
    assert records.load([path]).trials == 10


def test_a_failed_replacement_leaves_the_old_file(tmp_path, monkeypatch):
    figure = tmp_path / "width.png"
    files.write_atomic(figure, b"old")
    monkeypatch.setattr(files.os, "fsync", failing_fsync)
    with pytest.raises(OSError, match="No space left on device"):
        files.write_atomic(figure, b"new")
    assert figure.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [figure]
