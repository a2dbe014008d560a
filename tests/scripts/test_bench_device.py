"""The device check at toy size; a step that fails or hangs costs itself alone and is told."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ltjax.errors import WrongKernelError
from ltjax.masks.nearest import Slots

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(autouse=True)
def _machine(monkeypatch, tmp_path):
    """One without tyro, as those with accelerators are; the scripts can be imported."""
    (tmp_path / "tyro.py").write_text("raise ImportError('not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(SCRIPTS)


def results(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def check(tmp_path, capsys, *words):
    """The records of a run at toy size, each with a line in the table, and what was printed."""
    import bench_device

    out = tmp_path / "device.jsonl"
    assert bench_device.main(["--quick", "--out", str(out), *words]) == 0
    records, said = results(out), capsys.readouterr().out
    assert {record["device"] for record in records} == {"cpu"}
    assert len({record["jax"] for record in records}) == 1
    assert {record.get("ended", "done") for record in records} == {"done"}
    found = [record for record in records if "what" in record]
    _, table = said.split("\n\n")
    for record, line in zip(found, table.splitlines()[1:], strict=True):
        assert line.split()[0] == record["step"]
        assert record["what"] in line
    return found, said


@pytest.mark.slow
def test_two_steps_at_toy_size(tmp_path, capsys):
    found, said = check(tmp_path, capsys, "--only", "words", "nearest")
    assert [record["step"] for record in found] == ["words", "nearest", "nearest"]
    for record in found:
        assert record["value"] > 0
        assert record["first_s"] > record["median_s"] > 0
        assert record["calls"] >= 3
    assert [line.split()[0] for line in said.splitlines()[:2]] == ["words", "nearest"]


@pytest.mark.slow
def test_every_step_at_toy_size(tmp_path, capsys):
    import bench_device

    found, _ = check(tmp_path, capsys, "--minutes", "30")
    assert list(dict.fromkeys(record["step"] for record in found)) == list(bench_device.STEPS)
    equal = [record["value"] for record in found if record["step"] == "equal"]
    assert equal == [0] * 8
    shares = {r["what"]: r["value"] for r in found if r["what"].endswith("settled")}
    assert list(shares) == ["pooled, settled", "default, settled"]
    assert 0 < shares["default, settled"] <= 1
    whole = [r for r in found if r["step"] in ("current", "features", "network") and "memory" in r]
    assert len(whole) == 6
    assert all(record["memory"] > 0 for record in whole)
    assert {"known answers", "copy, reads and writes"} <= {record["what"] for record in found}


PLANTED = """
import sys, time
import bench_device
from bench_device import Step, result

def fails(sizes):
    yield result("before", 1, "of 2")
    raise ValueError("planted")

def hangs(sizes):
    yield result("before", 2, "of 2")
    print('{"what": "half a li', end="", flush=True)
    time.sleep(60)

def works(sizes):
    print("a library speaks")
    yield result("all", sizes.dim, "of 16")

bench_device.__file__ = __file__
bench_device.ROOM = 0.5
bench_device.card = lambda: {"device": "planted", "jax": "0"}
bench_device.STEPS = {
    "fails": Step(60, fails), "hangs": Step(HANGS, hangs), "works": Step(60, works)
}
sys.exit(bench_device.main())
"""


def planted(monkeypatch, tmp_path, hangs, minutes):
    """Exit code, records and words of a run over planted steps."""
    script, out = tmp_path / "planted.py", tmp_path / "device.jsonl"
    script.write_text(PLANTED.replace("HANGS", str(hangs)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{SCRIPTS}")
    command = [sys.executable, str(script), "--out", str(out), "--minutes", str(minutes)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return run.returncode, results(out), run.stdout


def test_a_step_that_fails_or_hangs_is_told_and_the_others_run(monkeypatch, tmp_path):
    code, records, said = planted(monkeypatch, tmp_path, hangs=2, minutes=5)
    assert code == 1
    assert {(record["device"], record["jax"]) for record in records} == {("planted", "0")}
    told = [(r["step"], r.get("what", r.get("ended")), r.get("value")) for r in records]
    assert told == [
        ("fails", "before", 1),
        ("fails", "failed", None),
        ("hangs", "before", 2),
        ("hangs", "stopped at its limit", None),
        ("works", "all", 16),
        ("works", "done", None),
    ]
    assert records[1]["said"].endswith("ValueError: planted")
    assert 2 <= records[3]["seconds"] < 10
    assert "fails      failed: ValueError: planted\n" in said
    assert "hangs      stopped at its limit\n" in said


def test_steps_are_left_out_when_time_is_up(monkeypatch, tmp_path):
    code, records, said = planted(monkeypatch, tmp_path, hangs=60, minutes=0.05)
    assert code == 1
    hung, last = records[-2:]
    assert (hung["step"], hung["ended"]) == ("hangs", "stopped at its limit")
    assert hung["seconds"] < 4
    assert (last["step"], last["ended"], last["device"]) == ("works", "left out", "planted")
    assert "works      left out\n" in said


def test_results_are_appended(monkeypatch, tmp_path):
    import bench_device

    out = tmp_path / "device.jsonl"
    out.write_text('{"kept": 1}\n')
    monkeypatch.setattr(bench_device, "ROOM", 1e9)
    assert bench_device.main(["--only", "words", "--out", str(out)]) == 0
    kept, left = results(out)
    assert kept == {"kept": 1}
    assert (left["step"], left["device"], left["ended"]) == ("words", None, "left out")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--minutes", "0"], "minutes must be above 0 and finite, got 0."),
        (["--minutes", "inf"], "minutes must be above 0 and finite, got inf."),
        (["--minutes", "nan"], "minutes must be above 0 and finite, got nan."),
        (["--minutes", "soon"], "argument --minutes: invalid float value: 'soon'"),
        (["--only", "fused"], "argument --only: invalid choice: 'fused'"),
        (["--out", "/"], "out must be a file that can be written, got /: Is a directory."),
    ],
)
def test_bad_input_is_one_line(words, message, capsys, monkeypatch, tmp_path):
    import bench_device

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        bench_device.main(words)
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert message in said.err
    assert (said.err.count("\n"), said.out) == (1, "")
    assert not (tmp_path / "device.jsonl").exists()


def test_one_that_counts_or_finds_otherwise_is_seen():
    import bench_device

    counts = np.zeros((2, 3, 4), int)
    other = counts.copy()
    other[0, 1, 2] = other[1, 1, 2] = other[1, 0, 0] = 1
    assert [r["value"] for r in bench_device.unlike_counts("a", counts, counts)] == [0]
    assert [r["value"] for r in bench_device.unlike_counts("a", other, counts)] == [2]

    slots = Slots(np.full((2, 5), 0.5, np.float32), np.ones((2, 5), np.int32))
    error, neuron = slots.error.copy(), slots.neuron.copy()
    error[0, :3] += 2.0**-20
    neuron[1, 1] = 7
    cases = [(slots, [0, 0, 0.0]), (Slots(error, neuron), [1, 3, 2.0**-20])]
    for found, expected in cases:
        assert [r["value"] for r in bench_device.unlike_slots("a", found, slots)] == expected
    zero, negative = (Slots(slots.error * np.float32(x), slots.neuron) for x in (0.0, -0.0))
    unlike = bench_device.unlike_slots("a", negative, zero)  # bit for bit
    assert [r["value"] for r in unlike] == [0, 10, 0.0]


def test_a_wrong_kernel_ends_the_step(monkeypatch):
    import bench_device

    def wrong(*_):
        raise WrongKernelError("planted")

    made = SimpleNamespace(
        step=lambda _: ((), ()), experiment=SimpleNamespace(check=wrong), problem=None
    )
    monkeypatch.setattr(bench_device, "program", lambda problem, lanes: made)
    found = bench_device.step_device(bench_device.QUICK)
    assert next(found)["what"] == "copy, reads and writes"
    with pytest.raises(WrongKernelError, match="planted"):
        next(found)


def test_speed_is_of_the_median_call_after_the_first():
    import bench_device

    seconds = [0.3, 0.02, 0.2, *[0.02] * 50]
    found = bench_device.speed(
        bench_device.QUICK, "a", lambda i: time.sleep(seconds[i]), 10, "things/s"
    )
    assert found["first_s"] >= 0.3
    assert found["calls"] == 3
    assert 0.02 <= found["median_s"] < 0.1
    assert found["value"] == pytest.approx(10 / found["median_s"])
