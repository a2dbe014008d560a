"""`ltjax curve features`: what it refuses in a line, and what it writes and takes up again."""

import re

import numpy as np
import pytest

from ltjax.cli import program
from ltjax.counting import engine, records

SMALL = ["curve", "features", "--features", "3", "--widths", "3", "12", "--quiet"]


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


def contents(folder):
    return {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def unusable(folder, capfd, *argv):
    """Assert that a command is refused in one line and without a trace; return the line."""
    before = contents(folder)
    code = call(*argv)
    said, told = capfd.readouterr()
    assert code == 2, told
    assert said == ""
    assert told.startswith("ltjax: ")
    assert told.endswith("\n")
    assert told.count("\n") == 1, told
    assert contents(folder) == before
    return told.removeprefix("ltjax: ").rstrip("\n")


@pytest.fixture
def no_trial(monkeypatch):
    """Bad input is refused before anything is drawn."""

    def run(*_, **__):
        raise AssertionError("a trial was run")

    monkeypatch.setattr(engine, "run", run)


@pytest.fixture
def data(here):
    """Files of x and y, most of them no data."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    y = np.tanh(x[:, 0] - x[:, 2])
    hole = np.where(np.arange(120).reshape(40, 3) == 7, np.nan, x)
    files = {
        "good": {"x": x, "y": y},
        "nan": {"x": hole, "y": y},
        "inf": {"x": np.where(np.isnan(hole), np.inf, x), "y": y},
        "nan-answer": {"x": x, "y": np.where(y > 0.5, np.nan, y)},
        "row": {"x": x[:1], "y": y[:1]},
        "mismatch": {"x": x, "y": y[:-1]},
        "column": {"x": x, "y": y[:, None]},
        "names": {"a": x, "b": y},
        "more": {"x": x, "y": y, "z": y},
        "text": {"x": np.array([["1", "2", "3"]] * 40), "y": y},
        "text-answers": {"x": x, "y": np.array(["1"] * 40)},
        "complex": {"x": x + 1j, "y": y},
        "truth": {"x": x > 0, "y": y},
        "objects": {"x": x.astype(object), "y": y},
        "beyond": {"x": x, "y": 1.5 * y / np.max(np.abs(y))},
        "huge": {"x": 1e9 * x, "y": y},
        "many": {"x": np.zeros((2**19, 2), np.int8), "y": np.zeros(2**19, np.int8)},
        "silent": {"x": 0 * x, "y": y},
        "no-answers": {"x": x, "y": 0 * y},
    }
    for name, arrays in files.items():
        np.savez(here / f"{name}.npz", **arrays)
    (here / "torn.npz").write_bytes((here / "good.npz").read_bytes()[:-50])
    (here / "words.npz").write_text("x y\n")
    (here / "folder.npz").mkdir()
    np.save(here / "array.npy", x)
    return here


BAD_DATA = {
    "nan": "data must be finite, got a NaN or an infinity",
    "inf": "data must be finite",
    "nan-answer": "data must be finite",
    "row": r"data must hold at least 2 rows of dim 3, got \[1, 3\]",
    "mismatch": r"data must hold x \[n, d\] and y \[n\], got shapes \[40, 3\] and \[39\]",
    "column": r"got shapes \[40, 3\] and \[40, 1\]",
    "names": "data must hold the arrays x and y, got a, b in names.npz",
    "more": "data must hold the arrays x and y, got x, y, z",
    "text": "data must be real numbers, got <U1 in x",
    "text-answers": "data must be real numbers, got <U1 in y",
    "complex": "data must be real numbers, got complex128 in x",
    "truth": "data must be real numbers, got bool in x",
    "objects": "data must be a whole .npz file of plain arrays",
    "beyond": "data must have answers within -1 and 1, got 1.5",
    "huge": "data must have inputs of size at most 1e.06, got 2325030774[.]",
    "many": "data must hold at most 1048576 numbers, got 1572864",
    "silent": "cap must be named where random features explain nothing",
    "no-answers": "cap must be named where random features explain nothing",
    "torn": "data must be a whole .npz file of plain arrays, got torn.npz",
    "words": "data must be a whole .npz file",
    "folder": "folder.npz is a directory",
    "missing": "data cannot be read from missing.npz: No such file",
}


@pytest.mark.parametrize(("name", "message"), BAD_DATA.items())
def test_data_that_is_none(data, capfd, no_trial, name, message):
    assert re.search(message, unusable(data, capfd, *SMALL, "--data", f"{name}.npz"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--data", "array.npy"],
            "data must be one of gaussian, .* or a .npz file, got array.npy",
        ),
        (["--data", "good.npz", "--dim", "4"], "dim must be that of the data, 3, got 4"),
        (["--dim", "0"], "dim must be between 1 and 2048, got 0"),
        (["--dim", "2", "--target", "missing.npy"], "target cannot be read from missing.npy"),
        (["--activation", "gelu"], "gelu.*--activation"),
        (["--law", "cube"], "cube.*--law"),
        (["--loss", "hinge"], "hinge.*--loss"),
        (["--searches", "magic"], "magic.*--searches"),
        (["--searches"], "searches must be taken from groups, climb, got none"),
        *[
            (["--radius", v], "radius must be above 0 and at most 1, .* got")
            for v in ("1.1", "0", "-0.5", "nan", "inf")
        ],
        *[
            (["--cap", v], r"cap must be above 0 and at most 1e\+06, got")
            for v in ("0", "-1", "nan", "inf", "1e300")
        ],
        *[
            (["--loss", "absolute", "--samples", v], "samples must be between 2 and 1048576, got")
            for v in ("1", "-5", str(10**12))
        ],
        (["--loss", "absolute", "--samples", "0"], "samples must be at least 2 here, got 0"),
        *[
            (["--epsilon", v], "epsilon must lie strictly between 0 and 1, got")
            for v in ("0", "1", "nan", "-0.1", "inf")
        ],
        (["--epsilon", "1e-300"], "epsilon must be at least 1e-09"),
        (["--widths", "3", "16385"], "widths must be between 1 and 16384, got 16385"),
        (["--widths", "0"], "widths must be between 1 and"),
        (["--features", "0"], "features must be between 1 and 16384, got 0"),
        (["--features", "16385"], "features must be between 1 and 16384, got 16385"),
        (["--criterion", "groups/absolute"], "criterion must be one of .* got groups/absolute"),
        (["--seed", "-1"], "seed must be at least 0"),
    ],
)
def test_flags_that_are_refused(data, capfd, no_trial, argv, message):
    assert re.search(message, unusable(data, capfd, *SMALL, *argv))


@pytest.mark.slow
def test_a_data_file_is_measured_and_taken_up_again(data, capfd):
    line = [*SMALL, "--data", "good.npz", "--activation", "tanh", "--loss", "absolute"]
    line += ["--searches", "groups", "--epsilon", "0.3", "0.1", "--out", "runs/a.jsonl"]
    assert call(*line, "--trials", "6") == 0
    first, told = capfd.readouterr()
    assert told == ""
    assert "groups/absolute" in first
    assert re.search("L0 = 0.[0-9]+; epsilon is what may come on top", first)
    assert "the loss is exact" in first
    assert first.endswith("record: runs/a.jsonl\n")
    assert call(*line, "--trials", "14", "--figure", "runs/a.svg") == 0
    assert (data / "runs" / "a.svg").read_bytes().startswith(b"<?xml")
    whole = [word.replace("a.jsonl", "b.jsonl") for word in line]
    assert call(*whole, "--trials", "14") == 0
    one, other = records.load(["runs/a.jsonl"]), records.load(["runs/b.jsonl"])
    assert one.trials == other.trials == 14
    np.testing.assert_array_equal(one.certified, other.certified)
    np.testing.assert_array_equal(one.refuted, other.refuted)
    # The data belong to the problem: others are another record.
    capfd.readouterr()
    x = np.load("good.npz")["x"]
    np.savez("good.npz", x=x, y=np.tanh(x[:, 1]))
    assert re.search("holds another problem", unusable(data, capfd, *line, "--trials", "20"))


def test_an_estimate_says_so(here, capfd):
    line = [*SMALL, "--dim", "5", "--loss", "absolute", "--samples", "300", "--trials", "5"]
    assert call(*line, "--searches", "groups") == 0
    assert "the loss is estimated from 300 a trial" in capfd.readouterr().out
