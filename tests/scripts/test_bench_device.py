"""The check of a device: each step by itself, whatever becomes of the others."""

import json
import runpy
from pathlib import Path

import pytest

SCRIPT = str(Path(__file__).parents[2] / "scripts" / "bench_device.py")


@pytest.fixture
def bench(monkeypatch):
    return runpy.run_path(SCRIPT)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(bench, tmp_path, *argv):
    out = tmp_path / "folder" / "device.jsonl"
    bench["main"](["--quick", "--out", str(out), *argv])
    return rows(out)


def test_a_step_tells_its_results_and_how_it_ended(bench, tmp_path, capsys):
    found = run(bench, tmp_path, "--only", "words", "nearest")
    assert [row["step"] for row in found] == ["words", "words", "nearest", "nearest"]
    assert all(row["device"] == "cpu (cpu)" for row in found)
    assert found[0]["words_a_second"] > 0
    assert found[2]["trials_a_second"] == pytest.approx(64 / found[2]["seconds"])
    assert [row.get("ended") for row in found] == [None, "done", None, "done"]
    assert capsys.readouterr().out.splitlines()[-1].startswith("cpu (cpu): ")


@pytest.mark.slow
def test_every_step_runs_at_toy_size(bench, tmp_path):
    found = run(bench, tmp_path)
    assert [row["step"] for row in found if row.get("ended") == "done"] == list(bench["STEPS"])
    counts = [row["cells_unlike"] for row in found if row.get("what") == "counts"]
    assert counts == [0, 0]


def test_a_step_that_fails_hangs_or_has_no_time_left_costs_no_other(bench, tmp_path, monkeypatch):
    broken = tmp_path / "broken.py"
    broken.write_text("import sys, time\nif 'words' in sys.argv: time.sleep(60)\n1 / 0\n")
    names = bench["main"].__globals__
    monkeypatch.setitem(names, "__file__", str(broken))
    monkeypatch.setitem(names, "LEAST", 0.1)
    monkeypatch.setitem(names["STEPS"], "words", (0.5, None))
    found = run(bench, tmp_path, "--only", "device", "words", "--minutes", "1")
    assert found[0]["ended"] == "failed, 1"
    assert "ZeroDivisionError" in found[0]["said"]
    assert found[1]["ended"].startswith("stopped after")
    monkeypatch.setitem(names, "LEAST", 1e9)
    found = run(bench, tmp_path, "--only", "device")
    assert found == [{"device": "cpu (cpu)", "step": "device", "ended": "left out, no time"}]


@pytest.mark.parametrize("argv", [["--only", "nonsense"], ["--minutes", "0"], ["--minutes", "x"]])
def test_bad_input_ends_with_2(bench, argv, capsys, tmp_path):
    with pytest.raises(SystemExit, match="2"):
        bench["main"]([*argv, "--out", str(tmp_path / "a.jsonl")])
    assert not (tmp_path / "a.jsonl").exists()
