"""`ltjax curve subset`: what it refuses in a line, and what it writes and takes up again."""

import re

import numpy as np
import pytest

from ltjax.cli import program
from ltjax.counting import engine, records

SMALL = ["curve", "subset", "--widths", "2", "4", "--quiet"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*argv):
    """The exit code of a command."""
    try:
        return program.main(list(argv))
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--law", "sign"], "sign.*--law"),
        (["--law", "cauchy"], "cauchy.*--law"),
        (["--events", "size"], "size.*--events"),
        (["--widths", "0"], "widths must be between 1 and"),
        (["--widths", "40"], "widths must be between 1 and 31 candidates, .* got 40"),
        (["--widths", "20", "--kept", "3"], "widths must be at most 16 with size, .* got 20"),
        (["--kept", "5"], "kept must be at least 1 and at most the largest width, 4, got 5"),
        (["--moved", "-0.5"], "moved must be between 0 and 1, got -0.5"),
        (["--moved", "nan"], "moved must be between 0 and 1, got nan"),
        (["--target", "nan"], "target must be random or a finite number, got 'nan'"),
        (["--target", "half"], "target must be random or a finite number, got 'half'"),
        (["--span", "2"], r"span must be between 2\^-10 and 1, got 2"),
        (["--law", "integer", "--largest", "0"], "largest must be between 1 and 32767, got 0"),
        (["--epsilon", "0"], "epsilon must lie strictly between 0 and 1, got 0"),
        (["--criterion", "uniform/size"], "criterion must be one of .* got uniform/size"),
        (["--seed", "-1"], "seed must be at least 0"),
    ],
)
def test_flags_that_are_refused(here, capfd, monkeypatch, argv, message):
    def run(*_, **__):
        raise AssertionError("a trial was run")

    monkeypatch.setattr(engine, "run", run)
    code = call(*SMALL, *argv)
    said, told = capfd.readouterr()
    assert code == 2, told
    assert said == ""
    assert re.fullmatch(f"ltjax: .*{message}.*\n", told)
    assert not list(here.iterdir())


def test_a_run_is_written_drawn_and_taken_up_again(here, capfd):
    line = [*SMALL, "--law", "uniform", "--target", "-0.3", "--epsilon", "0.1"]
    assert call(*line, "--trials", "600", "--out", "runs/a.jsonl") == 0
    first, told = capfd.readouterr()
    assert told == ""
    assert "subset, t = -0.3, all of [-0.5, 0.5], 600 trials" in first
    assert "candidates n" in first
    assert first.endswith("record: runs/a.jsonl\n")
    more = [*line, "--trials", "900", "--figure", "runs/a.svg"]
    assert call(*more, "--out", "runs/a.jsonl") == 0
    assert (here / "runs" / "a.svg").read_bytes().startswith(b"<?xml")
    assert call(*more, "--out", "runs/b.jsonl") == 0
    one, other = records.load(["runs/a.jsonl"]), records.load(["runs/b.jsonl"])
    assert one.trials == other.trials == 900
    np.testing.assert_array_equal(one.certified, other.certified)
    np.testing.assert_array_equal(one.refuted, other.refuted)
