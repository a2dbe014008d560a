"""The scripts that measure scale, at toy size; and each of them sees what it is there to see."""

import random
import re
import resource
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import ltjax
from ltjax.counting import plans
from ltjax.counting.records import Log
from ltjax.errors import InputError

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    """Makes them importable, as they import one another."""
    monkeypatch.syspath_prepend(SCRIPTS)


# Layouts.


def test_every_layout_counts_the_same(capsys):
    import layouts

    assert layouts.main(["--quick"]) == 0
    said = capsys.readouterr().out.splitlines()
    lines = [line for line in said if " trials  " in line]
    assert len({line.split()[-1] for line in lines[1:4]} | {"same"}) == 1
    assert len(lines) == 7
    assert [line.count(" 6,000 trials ") for line in lines] == [1] * 7
    *_, plain, older, told, last = said
    assert re.fullmatch(r"  2 devices +[\d,]+ bytes   [0-9a-f]{16}  all others.*", plain)
    assert re.fullmatch(r"  up to AVX2 +[\d,]+ bytes   [0-9a-f]{16}  same", older)
    assert told == "another jax: not compared, as no --other interpreter was named"
    assert last == "the same in every layout"


def test_a_layout_that_counts_otherwise_is_seen(capsys, monkeypatch):
    import layouts

    def fewer(words, out):
        layouts.plain([*words[:-4], 5999, *words[-3:]], out)

    def reseeded(words, out):
        layouts.plain([*words, "--seed", 1], out)

    planted = {"fewer": fewer, "reseeded": reseeded, "1 device": partial(layouts.plain, devices=1)}
    monkeypatch.setattr(layouts, "layouts", lambda quick, other: planted)
    assert layouts.main(["--quick", "--part", "neuron", "--other", "python"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in said[2:5]] == ["DIFFERENT", "DIFFERENT", "same"]
    assert "5,999" in said[2]
    assert said[-1] == "2 layouts DIFFER"


def test_the_digest_sees_every_count():
    import layouts

    problem = ltjax.neuron(dim=2, epsilons=(0.3,), widths=(4, 8), rules=("tight",))
    tally = ltjax.run(problem, 50)
    one = np.zeros(problem.shape, np.int64)
    one[-1, 0, 0] = 1
    others = [
        replace(tally, certified=tally.certified + one),
        replace(tally, refuted=tally.refuted - one),
        replace(tally, certified=tally.refuted, refuted=tally.certified),
        replace(tally, invalid=1),
    ]
    assert len({layouts.digest(other) for other in [tally, *others]}) == 5
    assert layouts.digest(replace(tally, settled=7, seconds=9.0)) == layouts.digest(tally)


# Crashes.


def test_a_record_survives(capsys):
    import crashes

    assert crashes.main(["--kills", "3"]) == 0
    said = capsys.readouterr().out.splitlines()
    names = ["full disk", "two writers", "torn ends"]
    assert [line.split(":")[0].split(",")[0] for line in said[1:]] == names
    assert said[0].startswith("3 kills over ")
    assert "0 lost, 0 counted twice, 6 readings" in said[0]


TOO_EARLY = """
import resource
import time
from ltjax.counting.records import Log
append = Log.append
Log.append = lambda log, batch: (print(batch.stop, flush=True), time.sleep(9), append(log, batch))
"""
TWICE = """
from ltjax.counting import records
append = records.Log.append
def append_twice(log, batch):
    append(log, batch)
    print(batch.stop, flush=True)
    line, _ = records._line({"kind": "batch", **batch._asdict(), "seconds": 0.0, **{
        name: getattr(batch, name).tolist() for name in ("certified", "refuted")
    }})
    log._write(line)
records.Log.append = append_twice
"""


@pytest.mark.parametrize(
    ("speaking", "message"),
    [(TOO_EARLY, r"16 trials said .* are not in the file|has no header"), (TWICE, "counted in")],
    ids=["too early", "twice"],
)
def test_kills_find_a_log_that(monkeypatch, tmp_path, speaking, message):
    import crashes

    monkeypatch.setattr(crashes, "SPEAKING", speaking)
    with pytest.raises((crashes.BrokenError, InputError), match=message):
        crashes.kills(tmp_path, 1)


CARELESS = """
import io
from ltjax.counting import records
class Careless(io.FileIO):
    def truncate(self, size=None):
        return size
def unlocked(path):
    path.parent.mkdir(exist_ok=True)
    return Careless(path, "a+b")
records.open_locked = unlocked
"""


@pytest.mark.parametrize(
    ("prove", "message"),
    [
        ("full_disk", "tears a line"),
        ("two_writers", "second writer ends with 0|counted in|gaps|damaged"),
        ("torn_ends", "damaged|no line of a record|a run ended with 2"),
    ],
)
def test_a_log_that_neither_locks_nor_truncates_is_seen(monkeypatch, tmp_path, prove, message):
    import crashes

    monkeypatch.setattr(crashes, "SPEAKING", CARELESS + crashes.SPEAKING)
    failures = (crashes.BrokenError, InputError, SystemExit)
    with pytest.raises(failures, match=message):
        getattr(crashes, prove)(tmp_path)


# Scale.


def test_no_rule_runs_far_beyond_what_it_takes(monkeypatch):
    import bench_scale

    monkeypatch.setattr(bench_scale, "RULES", ({"half_width": 0.1}, {"failures": 150}))
    found = bench_scale.overshoot()
    assert list(found) == ["half_width 0.1", "failures 150"]
    assert all(1.0 <= ratio <= 1.125 for ratio in found.values())
    # Looked at only where trials quadruple, the same rules run farther, and it shows.
    coarse = lambda start, trials: (64 * 4**e for e in range(12) if 64 * 4**e >= start)
    monkeypatch.setattr(plans, "lattice", coarse)
    assert max(bench_scale.overshoot().values()) > 1.125


def test_runs_are_timed_and_weighed_through_the_command_line(monkeypatch):
    import bench_scale

    small = "curve neuron --dim 2 --epsilon 0.3 --constructions blocks --rules tight --quiet"
    monkeypatch.setattr(bench_scale, "CURVE", small.split())
    monkeypatch.setattr(bench_scale, "DIM", 2)
    monkeypatch.setattr(bench_scale, "SECONDS", 2.0)
    assert bench_scale.processes(1)["rate"] > 1000
    found = bench_scale.long_run(trials=100, wider=2)
    assert found["rate"] * found["seconds"] == pytest.approx(100)
    ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # with which a child begins
    assert 50 < found["peak"] < max(4000, ours + 500)  # jax alone takes a hundred


def test_durability_is_the_part_of_appends(monkeypatch):
    import bench_scale

    monkeypatch.setattr(bench_scale, "DIM", 2)
    monkeypatch.setattr(bench_scale, "SECONDS", 2.0)
    monkeypatch.setattr(Log, "append", Log.append)  # the part leaves its own behind
    found = bench_scale.durability()
    assert 0.0 < found["seconds"] < 1.0
    assert found["share"] == pytest.approx(found["seconds"], rel=0.9)


def test_ratios_are_the_right_way_up(monkeypatch, capsys):
    import bench_scale

    found = {
        "2 devices": {"rate": 100.0},
        "8 devices": {"rate": 95.0},
        "2 devices, other": {"rate": 70.0},
        "durability": {"share": 0.004, "seconds": 0.003},
        "starts": {"cold": 8.0, "warm": 2.0},
        "1 process": {"rate": 50.0},
        "2 processes": {"rate": 45.0},
        "overshoot": {"failures 30": 1.05},
    }
    monkeypatch.setattr(
        bench_scale, "measure", lambda name, *python: found[name + ", other" * len(python)]
    )
    monkeypatch.setattr(bench_scale.layouts, "version", lambda python: "9.9")
    bench_scale.main(["--rounds", "2", "--other", "python"])
    lines = capsys.readouterr().out.splitlines()[1:]
    values = {line[:40].strip(): line[40:].split() for line in lines}
    assert values["8 devices over 2"] == ["0.950", ">=", "0.9"]
    assert values["the other jax over this one"] == ["0.700", ">=", "0.8"]
    assert values["durability, % of a run"] == ["0.400", "<", "1"]
    assert values["second start over first"] == ["0.250"]
    assert values["2 processes over 1, the same cores"] == ["0.900"]
    assert values["overshoot, failures 30"] == ["1.050", "<=", "1.125"]


def test_a_million_is_weighed_against_few(monkeypatch, capsys):
    import bench_scale

    peaks = random.Random(5).sample(range(300, 900), 3)
    found = {
        name: {"seconds": 10.0 + i, "rate": 7.0 - i, "peak": peaks[i]}
        for i, name in enumerate(bench_scale.MILLION_PARTS)
    }
    monkeypatch.setattr(bench_scale, "measure", found.get)
    bench_scale.main(["--million"])
    values = [float(line[40:].split()[0]) for line in capsys.readouterr().out.splitlines()[1:]]
    few, wide, million = peaks
    expected = [12.0, 5.0, million, million / few, wide / few]
    assert values == pytest.approx(expected, abs=1e-3)
