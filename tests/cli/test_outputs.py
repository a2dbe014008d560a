"""No output takes the place of an input, by whatever name it goes; and none is lost to another."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from test_ticket_commands import call

import ltjax
from ltjax.errors import InputError
from ltjax.networks import targets
from ltjax.system import files

RECORD = Path(__file__).parents[2] / "figures" / "data" / "epsilon-blocks-d2.jsonl"
NEURON = ["curve", "neuron", "--trials", "50", "--widths", "8", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of inputs, each of which must be as it was after every command."""
    monkeypatch.chdir(tmp_path)
    layers = targets.random_target(3, (2, 3, 1))
    np.savez("net.npz", *layers)
    np.save("w.npy", np.array([0.5, -0.5]))
    np.savez("data.npz", x=np.eye(3), y=np.ones(3))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), np.arange(20) % 2
    np.savez("classes.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    (tmp_path / "sub").mkdir()
    return tmp_path


def disguises(name, suffix):
    """Names of one file: its own, spelled otherwise, and through links of every kind."""
    os.symlink(name, f"soft{suffix}")
    os.link(name, f"hard{suffix}")
    os.symlink("..", "sub/up")
    os.symlink(f"soft{suffix}", f"twice{suffix}")
    absolute = os.path.abspath(name)
    same = [f"soft{suffix}", f"hard{suffix}", f"twice{suffix}", f"sub/up/soft{suffix}"]
    spelled = [name, f"./{name}", f"sub/../{name}", f"sub/up/{name}", absolute]
    return same + spelled * name.endswith(suffix)


@pytest.mark.parametrize(
    ("argv", "flag", "name", "suffix"),
    [
        (["ticket", "net.npz"], "out", "net.npz", ".npz"),
        ([*NEURON, "--target", "w.npy"], "out", "w.npy", ".npy"),
        ([*NEURON, "--target", "w.npy"], "figure", "w.npy", ".svg"),
        (["curve", "network", "--target", "net.npz"], "out", "net.npz", ".npz"),
        (["curve", "network", "--target", "net.npz"], "figure", "net.npz", ".png"),
        (["curve", "features", "--data", "data.npz"], "out", "data.npz", ".npz"),
        (["curve", "features", "--target", "w.npy"], "figure", "w.npy", ".pdf"),
        (["curve", "imp", "--data", "classes.npz"], "out", "classes.npz", ".npz"),
        (["curve", "popup", "--data", "classes.npz"], "figure", "classes.npz", ".svg"),
    ],
)
def test_an_input_is_never_written_over(here, capfd, argv, flag, name, suffix):
    before = (here / name).read_bytes()
    for out in disguises(name, suffix):
        assert call(*argv, f"--{flag}", out) == 2, out
        printed, told = capfd.readouterr()
        assert printed == ""
        assert told.startswith(f"ltjax: {flag} must not take the place of ")
        assert told.count("\n") == 1
        assert (here / name).read_bytes() == before


@pytest.fixture
def record(here):
    return Path(shutil.copy(RECORD, here / "r.jsonl"))


def test_a_record_is_never_drawn_over(record, capfd):
    before = record.read_bytes()
    for out in disguises("r.jsonl", ".svg"):
        assert call("plot", "r.jsonl", "--out", out) == 2
        printed, told = capfd.readouterr()
        assert printed == ""
        assert told.count("\n") == 1
        assert record.read_bytes() == before
    # Merged into itself, a record is what it was: `merge` adds lines and replaces none.
    for out in ("r.jsonl", "hard.svg", "soft.svg"):
        assert call("merge", "r.jsonl", "--out", out) == 0
        assert record.read_bytes() == before


def test_other_files_may_be_written(here):
    # A name that is no file is no input either, and neither is a file that is called as a target.
    files.check_no_input("new.npz", "out", ["missing.npz", "worst", ""])
    (here / "copy.npz").write_bytes((here / "net.npz").read_bytes())
    files.check_no_input("copy.npz", "out", ["net.npz"])


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        ([*NEURON, "--out", "A.svg", "--figure", "a.svg"], "figure and out"),
        ([*NEURON, "--out", "sub/../a.svg", "--figure", "a.svg"], "figure and out"),
        ([*NEURON, "--out", "sub/up/a.svg", "--figure", "./a.svg"], "figure and out"),
        (["audit", "--out", "A.html", "--report", "a.html"], "report and out"),
    ],
)
def test_two_outputs_are_two_files(here, capfd, argv, names):
    os.symlink("..", "sub/up")
    assert call(*argv) == 2
    printed, told = capfd.readouterr()
    assert printed == ""
    assert told.startswith(f"ltjax: {names} must be two files, got ")
    assert told.count("\n") == 1


def test_outputs_that_are_linked_are_one_file(here):
    (here / "a.svg").write_bytes(b"a picture")
    os.link("a.svg", "b.jsonl")
    with pytest.raises(InputError, match="figure and out must be two files, got a"):
        files.check_two_files("a.svg", "b.jsonl", "figure and out")


def test_a_target_of_minus_zero_is_the_problem_of_zero(here):
    problems = [
        ltjax.neuron(target=np.array([0.5, zero]), widths=(8,)).digest() for zero in (0.0, -0.0)
    ]
    assert problems[0] == problems[1]
