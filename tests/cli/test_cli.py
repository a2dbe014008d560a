"""The command line: what it refuses, what it resumes, what it imports and what it says."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import ltjax
from ltjax import api
from ltjax.cli import preflight, program
from ltjax.counting import engine, records
from ltjax.system import files

ROOT = Path(program.__file__).parents[2]
SMALL = ["curve", "neuron", "--dim", "2", "--epsilon", "0.5", "--widths", "8", "20"]
SMALL += ["--constructions", "blocks", "--rules", "tight"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Every test in a folder of its own, with signals as a shell gives them, and then as before."""
    monkeypatch.chdir(tmp_path)
    # In the background of a shell interrupts are ignored, here and in every process begun here.
    before = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield tmp_path
    for name, handler in before.items():
        signal.signal(name, handler)


def call(*argv):
    """The exit code of a command."""
    try:
        return program.main(list(argv))
    except SystemExit as stop:
        return stop.code


def contents(folder):
    return {p: p.is_file() and p.read_bytes() for p in folder.rglob("*")}


def counts(path):
    tally = records.load([path])
    return tally.trials, tally.certified.tolist(), tally.refuted.tolist(), tally.invalid


@pytest.fixture
def no_trial(monkeypatch):
    """Bad input is refused before anything is drawn."""

    def run(*_, **__):
        raise AssertionError("a trial was run")

    monkeypatch.setattr(engine, "run", run)


@pytest.fixture
def inputs(here):
    """Files that are no targets and places that are no records."""
    arrays = {
        "nan": [0.1, np.nan],
        "inf": [0.1, np.inf],
        "over": [0.9, -0.2],
        "huge": [1e308, 0.0],
        "square": np.zeros((2, 2)),
        "scalar": np.float64(0.5),
        "none": np.zeros(0),
        "three": [0.1, -0.2, 0.3],
        "complex": np.array([0.1, 0.2j]),
        "text": np.array(["0.1", "0.2"]),
        "pickle": np.array([Bomb(), 0.1], object),
    }
    for name, values in arrays.items():
        np.save(here / f"{name}.npy", values)
    whole = (here / "three.npy").read_bytes()
    (here / "empty.npy").touch()
    (here / "torn.npy").write_bytes(whole[:-5])
    (here / "zip.npy").write_bytes(b"PK\x03\x04" + whole)
    giant = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**15,), }".replace(
        b"10**15", b"1" + b"0" * 15
    )
    (here / "giant.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + giant.ljust(117) + b"\n")
    (here / "words.txt").write_text("0.1 0.2\n")
    (here / "folder.npy").mkdir()
    (here / "folder.svg").mkdir()
    with records.Log(here / "other.svg", ltjax.neuron(dim=3), 10, {}):
        pass
    return here


class Bomb:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


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
    assert not re.search(r"[\u2500-\u257f]|----", told), told
    assert contents(folder) == before
    return told.removeprefix("ltjax: ").rstrip("\n")


EPSILONS = ["nan", "inf", "-inf", "0", "1", "-0.1", "2", "1e-400", "1e-300"]
NUMBERS = [
    *[("--epsilon", v, "epsilon must") for v in EPSILONS],
    ("--epsilon", "abc", "abc"),
    *[("--dim", v, "dim must be between 1 and ") for v in ("0", "-1", str(10**9), str(10**20))],
    *[("--dim", v, v) for v in ("abc", "1.5", "nan")],
    *[("--delta", v, "delta must lie strictly between") for v in ("0", "1", "nan", "-1", "inf")],
    ("--delta", "abc", "abc"),
    *[("--seed", v, "seed must be at least 0 and below") for v in ("-1", str(2**32))],
    *[("--seed", v, v) for v in ("abc", "0.5")],
]
OF_CURVE = [
    *[("--trials", v, "trials must be between 1 and ") for v in ("0", "-5", str(10**20))],
    *[("--trials", v, v) for v in ("abc", "1e-3", "nan")],
    *[("--widths", v, "widths must be between 1 and ") for v in ("0", "-3", str(10**20))],
    ("--widths", "abc", "abc"),
    ("--criterion", "best", "criterion must be one of .* got best"),
    ("--criterion", "blocks/", "criterion must be one of .* got blocks/"),
    ("--criterion", "pooled/tight", "criterion must be one of .* got pooled/tight"),
    ("--criterion", "sup", "criterion must be one of .* got sup"),
    ("--constructions", "towers", "towers.*--constructions"),
    ("--rules", "loose", "loose.*--rules"),
    ("--device", "quantum", "quantum.*--device"),
    ("--device", "gpu", "device must be present, got gpu"),
    ("--device", "tpu", "device must be present, got tpu"),
    ("--figure", "a.gif", "figure must end in .*, got a.gif"),
    ("--figure", "a", "figure must end in .*, got a"),
    ("--figure", "words.txt/a.svg", "figure must lie in a folder .*, got words.txt/a.svg"),
    ("--figure", "folder.svg", "folder.svg is a directory"),
    ("--figure", "other.svg", "other.svg is a record"),
    ("--figure", "n" * 300 + ".svg", "cannot write n+.svg: File name too long"),
    ("--out", "words.txt", "words.txt is not a record"),
    ("--out", "folder.npy", "folder.npy is a directory"),
    ("--out", "words.txt/a.jsonl", "cannot write .*: words.txt is not a directory"),
    ("--out", "other.svg", "holds another problem: .* choose another --out"),
    ("--out", "", "is a directory"),
]
OF_TARGET = [
    ("missing.npy", "target cannot be read from missing.npy: No such file"),
    ("new\nline", "target cannot be read from new line"),
    ("n" * 300, "target cannot be read from n+: File name too long"),
    ("folder.npy", "folder.npy is a directory"),
    ("nan.npy", "target nan.npy must be finite, got nan at index 1"),
    ("inf.npy", "target inf.npy must be finite, got inf at index 1"),
    ("over.npy", r"target over.npy must .* got 0.9 .* multiply the weights and epsilon by 0.785"),
    ("huge.npy", "target huge.npy must .* multiply"),
    ("square.npy", r"target square.npy must be a list of d weights, got shape \[2, 2\]"),
    ("scalar.npy", r"target scalar.npy must be a list of d weights, got shape \[\]"),
    ("none.npy", r"target none.npy must be a list of d weights, got shape \[0\]"),
    ("three.npy", r"target three.npy must hold 2 weights \(dim\), got shape \[3\]"),
    ("complex.npy", "target must be real numbers, got complex128 in complex.npy"),
    ("text.npy", "target must be real numbers, got <U3 in text.npy"),
    *[
        (f"{name}.npy", f"target must be a whole .npy file of numbers, got {name}.npy")
        for name in ("pickle", "empty", "torn", "zip", "giant")
    ],
    ("words.txt", "target must be a whole .npy file of numbers, got words.txt"),
]


@pytest.mark.parametrize(("flag", "value", "message"), NUMBERS + OF_CURVE)
def test_curve_refuses(inputs, capfd, no_trial, flag, value, message):
    assert re.search(message, unusable(inputs, capfd, *SMALL, flag, value))


@pytest.mark.parametrize(("flag", "value", "message"), NUMBERS)
def test_width_refuses(inputs, capfd, flag, value, message):
    assert re.search(message, unusable(inputs, capfd, "width", "--dim", "2", flag, value))


@pytest.mark.parametrize(("target", "message"), OF_TARGET)
@pytest.mark.parametrize("command", [SMALL, ["width", "--dim", "2"]], ids=["curve", "width"])
def test_targets_that_are_none(inputs, capfd, no_trial, command, target, message):
    assert re.search(message, unusable(inputs, capfd, *command, "--target", target))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            [],
            "Expected one of {curve, width, show, plot, merge, check, audit, ticket, verify, gap, "
            "prove}",
        ),
        (["carve"], "carve.*curve, width, show, plot"),
        (["curve"], "Expected one of {neuron, network, features, subset, imp, popup}"),
        (["curve", "neurons"], "neurons.*neuron, network"),
        ([*SMALL, "--nope"], "--nope"),
        ([*SMALL, "--trails", "7"], "--trails.*Perhaps you meant: --trials"),
        ([*SMALL, "--seed"], "Missing value for argument '--seed'"),
        ([*SMALL, "--widths"], "widths must name at least one width, got none"),
        ([*SMALL, "--epsilon"], "epsilon must name at least one value, got none"),
        ([*SMALL, "--constructions"], "constructions must be taken from .*, got none"),
        ([*SMALL, "--rules"], "rules must be taken from .*, got none"),
        ([*SMALL, "--out", "a.svg", "--figure", "./a.svg"], "figure and out must be two files"),
        (["width", "7"], "7"),
        (["width", "--epsilon"], "epsilon must name at least one value, got none"),
        (["show"], "Missing from ltjax show: FILE"),
        (["show", "a", "b"], "b"),
        (["show", "missing"], "cannot read missing: No such file"),
        (["show", "words.txt"], "words.txt is not a record"),
        (["show", "empty.npy"], "no header yet"),
        (["show", "folder.npy"], "folder.npy is a directory"),
        (["show", "other.svg"], "the record must hold at least one trial"),
        (["show", "other.svg", "--delta", "2"], "delta must lie strictly between 0 and 1, got 2"),
        (["plot"], "Missing from ltjax plot: --out"),
        (["plot", "--out", "a.svg"], "records must name at least one file, got none"),
        (["plot", "other.svg", "--out", "a.gif"], "out must end in .*, got a.gif"),
        (["plot", "other.svg", "--out", "other.svg"], "other.svg is a record"),
        (["plot", "other.svg", "--out", "a.svg"], "other.svg must hold at least one trial"),
        (["plot", "words.txt", "--out", "a.svg"], "words.txt is not a record"),
        (["merge"], "Missing from ltjax merge: --out"),
        (["merge", "--out", "a.jsonl"], "at least one record must be named, got none"),
        (["merge", "words.txt", "--out", "a.jsonl"], "words.txt is not a record"),
        (["merge", "other.svg", "--out", "words.txt"], "words.txt is not a record"),
        (["check", "--device", "tpu"], "device must be present, got tpu"),
        (["check", "--compile-cache", "words.txt/a"], "compile-cache must be a folder"),
    ],
)
def test_lines_that_cannot_be_understood(inputs, capfd, no_trial, argv, message):
    assert re.search(message, unusable(inputs, capfd, *argv))


def test_more_neurons_than_can_be_numbered(capfd, here, no_trial):
    argv = ["curve", "neuron", "--dim", "2", "--epsilon", "1e-9"]
    assert f"more than {2**30} neurons" in unusable(here, capfd, *argv)
    assert call("width", "--dim", "2", "--epsilon", "1e-9") == 0
    assert f"blocks/tight       over {2**30} " in capfd.readouterr().out


def test_a_folder_that_cannot_be_written(capfd, here, no_trial, monkeypatch):
    monkeypatch.setattr(files.os, "access", lambda *_: False)  # root may write anywhere
    assert "folder" in unusable(here, capfd, *SMALL, "--figure", "a.svg")


def test_the_same_line_again_does_nothing(capfd, here):
    line = [*SMALL, "--trials", "30", "--out", "runs/a.jsonl", "--figure", "runs/a.svg"]
    assert call(*line) == 0
    first, _ = capfd.readouterr()
    before = contents(here)
    assert set(map(str, before)) >= {str(here / "runs" / n) for n in ("a.jsonl", "a.svg")}
    assert call(*line) == 0
    again, told = capfd.readouterr()
    assert again == first
    assert told == "nothing to do: 30 trials are recorded.\n"
    assert contents(here) == before
    assert first.endswith("figure: runs/a.svg\nrecord: runs/a.jsonl\n")


def test_fewer_trials_are_nothing_to_do_either(capfd, here):
    call(*SMALL, "--trials", "30", "--out", "a.jsonl")
    before = contents(here)
    assert call(*SMALL, "--trials", "10", "--out", "a.jsonl") == 0
    assert "nothing to do: 30 trials" in capfd.readouterr().err
    assert contents(here) == before


def test_more_trials_go_on_and_the_table_says_so(capfd, here):
    call(*SMALL, "--trials", "30", "--out", "a.jsonl")
    assert "anytime" not in capfd.readouterr().out
    assert call(*SMALL, "--trials", "50", "--out", "a.jsonl") == 0
    assert "95 % anytime" in capfd.readouterr().out
    call(*SMALL, "--trials", "50", "--out", "b.jsonl")
    assert counts("a.jsonl") == counts("b.jsonl")
    assert records.load(["a.jsonl"]).anytime


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_run_goes_on_where_it_was(capfd, here, monkeypatch, stop):
    # A batch for every ten trials, where a second's work would be one.
    whole = engine.run
    cut = lambda ranges: [(i, min(i + 10, b)) for a, b in ranges for i in range(a, b, 10)]
    monkeypatch.setattr(engine, "run", lambda p, ranges, *etc: whole(p, cut(ranges), *etc))
    append, seen = records.Log.append, []

    def broken(log, batch):
        if len(seen) == 2:
            raise stop
        append(log, batch)
        seen.append(batch)

    line = [*SMALL, "--trials", "50", "--out", "a.jsonl"]
    with monkeypatch.context() as during:
        during.setattr(records.Log, "append", broken)
        assert call(*line) == 75
    said, told = capfd.readouterr()
    assert said == ""
    assert told.count("\n") == 1
    assert told.endswith("the same command goes on from its record.\n")
    assert records.load(["a.jsonl"]).ranges == ((0, 20),)

    assert call(*line) == 0
    call(*SMALL, "--trials", "50", "--out", "b.jsonl")
    assert counts("a.jsonl") == counts("b.jsonl")
    assert not records.load(["a.jsonl"]).anytime


def test_without_a_record_nothing_is_promised(capfd, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "run", stop)
    assert call(*SMALL) == 75
    assert capfd.readouterr().err == "ltjax: interrupted.\n"


def shell(**more):
    """The environment of a user's shell: without what jax and these tests have set in it."""
    ours = "XLA_FLAGS", "TF_CPP_MIN_LOG_LEVEL"
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"PYTHONPATH": str(ROOT)} | more


def python(*argv, **k):
    return subprocess.Popen([sys.executable, *argv], env=shell(), text=True, **k)


def killed(line, number):
    """The end of a command that a signal has met after its first batch: code and last words."""
    process = python("-m", "ltjax.cli.program", *line, "--out", "a.jsonl", stderr=subprocess.PIPE)
    try:
        last = time.monotonic() + 60
        while not (Path("a.jsonl").exists() and b'"batch"' in Path("a.jsonl").read_bytes()):
            assert process.poll() is None
            assert time.monotonic() < last
            time.sleep(0.02)
    finally:
        process.send_signal(number)
        _, told = process.communicate()
    return process.returncode, told


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_process_resumes_to_the_same_counts(here, capfd, number):
    line = ["curve", "neuron", "--dim", "2", "--epsilon", "0.5", "--rules", "tight"]
    line += ["--constructions", "blocks", "--widths", "8"]
    code, told = killed([*line, "--trials", "4000000000"], number)
    if number == signal.SIGKILL:
        assert code == -number
    else:
        assert code == 75
        assert told == "ltjax: interrupted; the same command goes on from its record.\n"

    ((start, stop),) = records.load(["a.jsonl"]).ranges
    assert start == 0
    for out in ("a.jsonl", "b.jsonl"):
        assert call(*line, "--trials", str(stop + 100), "--out", out) == 0
    assert counts("a.jsonl") == counts("b.jsonl")


# Shares.

NETWORK = ["curve", "network", "--dim", "2", "--hidden", "2", "--epsilon", "0.5", "--blocks", "8"]
NETWORK += ["40", "--constructions", "blocks", "--rules", "tight"]


def shares(of, *argv):
    """Run all shares of a command; the records."""
    names = [f"share-{k}.jsonl" for k in range(1, of + 1)]
    for k, name in enumerate(names, 1):
        assert call(*argv, "--shard", f"{k}/{of}", "--out", name) == 0
    return names


@pytest.mark.parametrize(("line", "trials", "block"), [(SMALL, 13000, 4096), (NETWORK, 700, 256)])
def test_shares_merged_are_one_run(capfd, line, trials, block):
    line = [*line, "--trials", str(trials)]
    names = shares(3, *line)
    assert records.load(names[1:2]).ranges == ((block, 2 * block),)
    assert call(*line, "--out", "one.jsonl") == 0
    capfd.readouterr()

    # Not all of them yet: what is missing is said by whoever reads it.
    assert call("merge", names[0], names[2], "--out", "all.jsonl") == 0
    gap = f"{trials - block:,} of {trials:,} planned trials; missing: {block:,} to {2 * block:,}"
    merged = f"{trials - block:,} trials from 2 records\n{gap}\nrecord: all.jsonl\n"
    assert capfd.readouterr() == (merged, "")
    assert call("show", "all.jsonl") == 0
    assert f"\n{gap}\n" in capfd.readouterr().out

    assert call("merge", *names, "--out", "all.jsonl") == 0
    assert capfd.readouterr().out == f"{trials:,} trials from 3 records\nrecord: all.jsonl\n"
    assert counts("all.jsonl") == counts("one.jsonl")
    before = contents(Path.cwd())
    assert call("merge", *names, "all.jsonl", "--out", "all.jsonl") == 0
    assert contents(Path.cwd()) == before
    assert not records.load(["all.jsonl"]).anytime
    # The table is that of the one run.
    capfd.readouterr()
    tables = [(call("show", name), capfd.readouterr().out) for name in ("all.jsonl", "one.jsonl")]
    assert tables[0] == tables[1]


def test_shares_with_more_trials_go_on(capfd):
    shares(3, *SMALL, "--trials", "9000")
    names = shares(3, *SMALL, "--trials", "21000")
    capfd.readouterr()
    assert records.load(names[:1]).ranges == ((0, 4096), (3 * 4096, 4 * 4096))
    assert call("merge", *names, "--out", "all.jsonl") == 0
    assert call(*SMALL, "--trials", "21000", "--out", "one.jsonl") == 0
    assert counts("all.jsonl") == counts("one.jsonl")
    assert records.load(["all.jsonl"]).anytime
    assert "missing" not in capfd.readouterr().out


def test_a_share_again_does_nothing(capfd, here):
    line = [*SMALL, "--trials", "9000", "--shard", "2/3", "--out", "a.jsonl"]
    call(*line)
    first, before = capfd.readouterr().out, contents(here)
    assert call(*line) == 0
    assert capfd.readouterr().out == first
    assert contents(here) == before


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "1/3/5", "-1/3", "1.5/3", ""])
def test_a_share_that_is_none(here, capfd, no_trial, text):
    told = unusable(here, capfd, *SMALL, "--out", "a.jsonl", f"--shard={text}")
    assert told.startswith(f"shard must be k/K with 1 <= k <= K, as 3/16, got '{text}'")


# Stopping rules.

RULES = [
    (["--until-half-width", "0.01"], "half width"),
    (["--until-failures", "3000"], "failures"),
]
NEVER = ["--trials", "4000000000"]


@pytest.mark.parametrize(("rule", "name"), RULES)
def test_a_rule_stops_the_run_and_is_named(capfd, here, monkeypatch, rule, name):
    line = [*SMALL, *NEVER, *rule]
    assert call(*line, "--out", "a.jsonl") == 0
    first, told = capfd.readouterr()
    assert told == ""
    (said,) = re.findall("^stopping rule.*$", first, re.M)
    assert "for blocks/tight at width k = 20, epsilon 0.5: " in said
    assert "anytime intervals" in first
    tally, before = records.load(["a.jsonl"]), contents(here)
    # About 0.063 of them succeed: 0.01 to either side and 3,000 failures take thousands.
    assert 3000 < tally.trials < 20_000
    assert tally.anytime

    # The same line again has nothing to do.
    assert call(*line, "--out", "a.jsonl") == 0
    assert capfd.readouterr().out == first
    assert contents(here) == before
    # In batches of any other size it stops at the same trial.
    monkeypatch.setattr(engine, "BATCH_SECONDS", 1e-4)
    assert call(*line, "--out", "b.jsonl") == 0
    assert counts("b.jsonl") == counts("a.jsonl")


def test_a_rule_of_another_cell_stops_elsewhere(capfd):
    line = [*SMALL, *NEVER, "--until-failures", "3000"]
    for out, at in (("a", ["20", "0.5"]), ("b", ["8", "0.5"])):
        assert call(*line, "--at", "blocks/tight", *at, "--out", out) == 0
    assert records.load(["a"]).trials > records.load(["b"]).trials >= 3000
    assert "blocks/tight at width k = 8, epsilon 0.5" in capfd.readouterr().out


def test_seconds_stop_the_run(capfd, monkeypatch):
    monkeypatch.setattr(engine, "BATCH_SECONDS", 0.05)
    assert call(*SMALL, *NEVER, "--max-seconds", "0.3", "--out", "a.jsonl") == 0
    said, told = capfd.readouterr()
    assert told == ""
    assert "stopping rule" in said
    tally = records.load(["a.jsonl"])
    assert tally.until == ({"seconds": 0.3},)
    assert tally.anytime
    # The same line goes on, for as long again.
    assert call(*SMALL, *NEVER, "--max-seconds", "0.3", "--out", "a.jsonl") == 0
    assert records.load(["a.jsonl"]).trials > tally.trials


@pytest.mark.slow
def test_a_kill_does_not_move_the_stopping_point(here):
    line = [*SMALL, *NEVER, "--until-failures", "1500000"]
    assert killed(line, signal.SIGKILL)[0] == -signal.SIGKILL
    assert records.load(["a.jsonl"]).trials < 1_500_000
    assert call(*line, "--out", "a.jsonl") == 0
    assert call(*line, "--out", "b.jsonl") == 0
    assert counts("a.jsonl") == counts("b.jsonl")
    assert records.load(["a.jsonl"]).until == records.load(["b.jsonl"]).until


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        *[
            (["--shard", "1/3", *rule], "shard must have no stopping rule beside it, .* got 1/3")
            for rule in (*(rule for rule, _ in RULES), ["--max-seconds", "9"])
        ],
        *[
            (["--until-half-width", v], f"half_width must lie strictly between 0 and 0.5, got {v}")
            for v in ("0.5", "0.0", "nan")
        ],
        (["--until-half-width=-0.1"], "half_width must lie strictly between 0 and 0.5"),
        (["--until-failures", "0"], "failures must be at least 1, got 0"),
        (["--until-failures", "1.5"], "1.5"),
        *[(["--max-seconds", v], f"max-seconds must be above 0, got {v}") for v in ("0", "nan")],
        (["--at", "blocks/tight", "20", "0.5"], "at must have a rule beside it"),
        *[
            (["--until-failures", "9", "--at", *cell], message)
            for cell, message in (
                (["blocks/sup", "20", "0.5"], "criterion must be one of blocks/tight, got block"),
                (["blocks/tight", "21", "0.5"], "width must be one of 8, 20, got 21"),
                (["blocks/tight", "20", "0.4"], "epsilon must be one of 0.5, got 0.4"),
                (["blocks/tight", "20"], "at must be 3 values, got 'blocks/tight 20'"),
                (["blocks/tight", "wide", "0.5"], "wide"),
            )
        ],
        (["--memory", "0"], "memory must be a number of GiB above 0, got 0"),
        (["--memory", "nan"], "memory must be a number of GiB above 0, got nan"),
        (["--compile-cache", "words.txt/a"], "compile-cache must be a folder .* got words.txt/a"),
    ],
)
@pytest.mark.parametrize("rehearsed", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_rules_and_limits_that_are_none(inputs, capfd, no_trial, flags, message, rehearsed):
    line = [*SMALL, "--out", "a.jsonl", *flags, *rehearsed]
    assert re.search(message, unusable(inputs, capfd, *line))


def test_memory_for_not_one_trial(capfd):
    assert call(*SMALL, "--memory", "1e-9", "--out", "a.jsonl") == 2
    said, told = capfd.readouterr()
    assert said == ""
    assert re.fullmatch(r"ltjax: memory must be at least \S+ GiB a device .*\n", told)
    assert call(*SMALL, "--trials", "20", "--memory", "1", "--out", "a.jsonl") == 0


# Before a run.


@pytest.fixture
def soon(monkeypatch):
    """Speed is not measured for long."""
    monkeypatch.setattr(preflight, "SECONDS", 0.1)


def test_a_rehearsal_writes_nothing(capfd, here, soon):
    line = [*SMALL, "--trials", "30", "--out", "runs/a.jsonl", "--figure", "runs/a.svg"]
    assert call(*line, "--dry-run") == 0
    said, told = capfd.readouterr()
    assert list(here.iterdir()) == []
    assert told == ""
    lines = said.splitlines()
    problem = ltjax.neuron(2, (0.5,), (8, 20), "worst", ("blocks",), ("tight",))
    assert lines[0].endswith(f"d = 2, seed 0, problem {problem.digest()}")
    assert lines[1:3] == [
        "points: 1 criteria x 2 widths x 1 epsilons",
        "trials: 30 to run, 30 planned, 0 recorded",
    ]
    assert [line.split(":")[0] for line in lines[3:]] == ["devices", "memory", "time"]
    assert re.fullmatch(r"time: [\d,]+ s at [\d,]+ trials a second", lines[-1])


def test_a_rehearsal_tells_what_is_left(capfd, here, soon):
    call(*SMALL, "--trials", "5000", "--shard", "1/2", "--out", "a.jsonl")
    before = contents(here)
    for flags, left in {
        (): "904 to run, 5,000 planned, 4,096 recorded",
        ("--shard", "2/2"): "904 to run of shard 2/2, 5,000 planned",
        ("--shard", "1/2"): "0 to run of shard 1/2, 5,000 planned",
    }.items():
        capfd.readouterr()
        assert call(*SMALL, "--trials", "5000", "--out", "a.jsonl", "--dry-run", *flags) == 0
        assert f"trials: {left}" in capfd.readouterr().out
    assert contents(here) == before
    told = unusable(here, capfd, *SMALL, "--seed", "1", "--out", "a.jsonl", "--dry-run")
    assert re.search("holds another problem.*; choose another --out", told)


SCALE = [
    *("--shard", "--until-half-width", "--until-failures", "--at", "--max-seconds", "--memory"),
    *("--distributed", "--process", "--compile-cache", "--dry-run", "--device"),
]


@pytest.mark.parametrize("experiment", ["neuron", "network"])
def test_help_names_every_flag(capfd, experiment):
    assert call("curve", experiment, "--help") == 0
    said = capfd.readouterr().out
    assert [flag for flag in SCALE if not re.search(rf"{flag}\b", said)] == []


def loaded(*argv):
    """The exit code of a command and the heavy libraries that it brought."""
    code = (
        "import sys\nfrom ltjax.cli import program\n"
        "try: code = program.main(sys.argv[1:])\n"
        "except SystemExit as stop: code = stop.code\n"
        "heavy = {'jax', 'numpy', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "print(code, *sorted(heavy), file=sys.stderr)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with python("-c", code, *argv, **pipes) as process:
        said, told = process.communicate()
    return said, told.split()


@pytest.mark.parametrize("argv", [["--help"], ["curve", "--help"], ["plot", "-h"]])
def test_help_is_light(argv):
    said, told = loaded(*argv)
    assert told == ["0"]
    assert "usage: ltjax" in said


def test_width_imports_no_jax():
    said, told = loaded("width", "--dim", "16", "--epsilon", "0.1", "--delta", "0.05")
    assert told == ["0", "numpy", "scipy"]
    assert "smallest width k for success 1 - 0.05, one neuron, d = 16" in said


@pytest.fixture
def two_records(capfd):
    for name, seed in {"a.jsonl": "0", "b.jsonl": "1"}.items():
        call(*SMALL, "--trials", "20", "--out", name, "--seed", seed)
    capfd.readouterr()


def test_show_imports_no_jax_and_no_matplotlib(two_records):
    said, told = loaded("show", "a.jsonl")
    assert told == ["0", "numpy", "scipy"]
    assert "blocks/tight" in said
    assert loaded("show", "a.jsonl", "--csv")[1][0] == "0"


def test_plot_imports_no_jax(two_records):
    said, told = loaded("plot", "a.jsonl", "b.jsonl", "--out", "figures/fig.pdf")
    assert told == ["0", "matplotlib", "numpy", "scipy"]
    assert said == "figure: figures/fig.pdf\n"
    assert Path("figures/fig.pdf").read_bytes().startswith(b"%PDF")


def test_show_prints_the_table_of_the_run(capfd):
    call(*SMALL, "--trials", "20", "--out", "a.jsonl")
    run, _ = capfd.readouterr()
    assert call("show", "a.jsonl") == 0
    assert capfd.readouterr().out + "record: a.jsonl\n" == run


def test_csv(two_records, capfd):
    assert call("show", "a.jsonl", "--csv") == 0
    header, *rows = capfd.readouterr().out.splitlines()
    assert header.split(",")[:4] == ["criterion", "width", "epsilon", "certified"]
    tally = records.load(["a.jsonl"])
    found = [int(row.split(",")[3]) for row in rows]
    assert found == tally.certified.ravel().tolist()


def test_a_reader_that_has_seen_enough(two_records):
    read, write = os.pipe()
    os.close(read)
    with python(
        "-m", "ltjax.cli.program", "show", "a.jsonl", stdout=write, stderr=subprocess.PIPE
    ) as show:
        os.close(write)
        assert show.communicate()[1] == ""
    assert show.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
def test_output_that_cannot_be_written():
    with open("/dev/full", "w") as full:
        width = python(
            "-m", "ltjax.cli.program", "width", "--dim", "2", stdout=full, stderr=subprocess.PIPE
        )
        _, told = width.communicate()
    assert width.returncode == 75
    assert told == "ltjax: standard output cannot be written: No space left on device.\n"


def test_a_torn_end_is_dropped_and_told(capfd):
    call(*SMALL, "--trials", "20", "--out", "a.jsonl")
    whole = Path("a.jsonl").read_bytes()
    Path("a.jsonl").write_bytes(whole + b'{"kind":"ba')
    capfd.readouterr()
    assert call(*SMALL, "--trials", "20", "--out", "a.jsonl") == 0
    assert "dropped a torn end of 11 bytes" in capfd.readouterr().err
    assert Path("a.jsonl").read_bytes() == whole


def test_progress_is_plain_lines_off_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr(program, "LOG_SECONDS", 0.0)
    call(*SMALL, "--trials", "20")
    told = capfd.readouterr().err
    line = r"20 of 20 trials, [\d,]+ a second, 0 s left, "
    line += r"blocks/tight \d\.\d{4} at width k = 20, epsilon 0.5"
    assert re.fullmatch(line + "\n", told)
    call(*SMALL, "--trials", "20", "--quiet")
    assert capfd.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(capfd, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    call(*SMALL, "--trials", "20")
    told = capfd.readouterr().err
    assert "100%" in told
    assert "blocks/tight" in told


def test_flags_reach_the_problem(two_records):
    header = json.loads(Path("b.jsonl").read_text().splitlines()[0])["problem"]
    assert header["seed"] == 1
    assert header["grid"] == {"widths": [8, 20], "epsilons": [0.5]}
    assert header["config"] == {"dim": 2, "constructions": ["blocks"], "rules": ["tight"]}
