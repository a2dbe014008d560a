"""Before a run: known answers that a wrong kernel does not give, and figures that add up."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_cli import call

import ltjax
from ltjax import api
from ltjax.cli import preflight
from ltjax.counting import engine, plans
from ltjax.counting.tally import Batch
from ltjax.errors import InputError
from ltjax.system import devices

FEW = {"epsilons": (0.5,), "widths": (8, 20), "constructions": ("blocks",), "rules": ("tight",)}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def few():
    return ltjax.neuron(dim=2, **FEW)


# The machine.


@pytest.fixture
def soon(monkeypatch, few):
    """Speed is measured on a problem that is soon compiled, and not for long."""
    monkeypatch.setattr(preflight, "SECONDS", 0.1)
    monkeypatch.setattr(preflight, "neuron", lambda: few)


@pytest.mark.slow
def test_the_machine_is_told(capfd, soon, here):
    assert call("check", "--device", "cpu") == 0
    said, told = capfd.readouterr()
    assert told == ""
    versions, where, neuron, network, speed, kept = said.splitlines()
    found = devices.environment(devices.devices("cpu"))
    names = ("ltjax", "python", "jax", "jaxlib", "numpy")
    assert versions.split(", ") == [f"{name} {found[name]}" for name in names]
    assert re.fullmatch(r"devices: \d+ x cpu \(cpu\), [\d.]+ GiB for a step on each", where)
    assert neuron == "known answers of a neuron: as everywhere"
    assert network == "known answers of a network: as everywhere"
    match = re.fullmatch(r"speed: ([\d,]+) trials a second of .*, (\S+) weights drawn", speed)
    rate, weights = (float(text.replace(",", "")) for text in match.groups())
    # A trial of 20 neurons draws three weights for each.
    assert weights == pytest.approx(60 * rate, rel=0.01)
    assert kept.startswith("compiled programs: /")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("place", [(0, 0, 0), (10, 3, 1)])
def test_a_count_that_is_off_by_one_is_told(capfd, monkeypatch, soon, place):
    wrong = np.array(preflight.GOLDEN)
    wrong[place] += 1
    monkeypatch.setattr(preflight, "GOLDEN", wrong.tolist())
    assert call("check", "--compile-cache", "none") == 70
    said, told = capfd.readouterr()
    assert "known answers" not in said
    message = "ltjax: the compiled kernel of a neuron is wrong: 300 trials give other counts .*\n"
    assert re.fullmatch(message, told)


# The run.


@pytest.fixture
def steady(monkeypatch):
    """A thousand trials a second."""
    monkeypatch.setattr(preflight, "_rate", lambda *_: 1000.0)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "time: 20 s at 1,000 trials a second"),
        ({"processes": 4}, "time: 5 s at 4,000 trials a second"),
        ({"seconds": 7.0}, "time: 7 s at 1,000 trials a second"),
        ({"seconds": 99.0}, "time: 20 s at 1,000 trials a second"),
        # Blocks 1 and 4 of 4096 trials, the last of them cut off.
        ({"shard": plans.Shard(2, 3)}, "time: 8 s at 1,000 trials a second"),
    ],
)
def test_the_time_is_that_of_the_trials_to_run(few, steady, arguments, told):
    assert preflight.dry_run(few, 20_000, **arguments).splitlines()[-1] == told


def test_a_rule_may_end_it_sooner(few, steady):
    rule = plans.until(few, failures=3000)
    line = preflight.dry_run(few, 20_000, until=rule).splitlines()[-1]
    assert line.startswith("time: 20 s at 1,000 trials a second, less if stopped: ")
    assert "3000" in line


def test_what_is_recorded_is_not_run_again(few, steady):
    api.run(few, 300, "a.jsonl")
    before = Path("a.jsonl").read_bytes()
    lines = preflight.dry_run(few, 5300, "a.jsonl").splitlines()
    assert lines[2] == "trials: 5,000 to run, 5,300 planned, 300 recorded"
    assert lines[-1].startswith("time: 5 s")
    lines = preflight.dry_run(few, 200, "a.jsonl").splitlines()
    assert lines[2].startswith("trials: 0 to run")
    assert Path("a.jsonl").read_bytes() == before
    with pytest.raises(InputError, match=r"a\.jsonl holds another problem; choose another --out"):
        preflight.dry_run(ltjax.neuron(dim=2, seed=1, **FEW), 300, "a.jsonl")
    assert Path("a.jsonl").read_bytes() == before


def test_memory_is_what_the_program_is_given(few, steady):
    full = preflight.dry_run(few, 20_000, memory=2.0).splitlines()
    room = f"{2048 // len(devices.devices()):,}"
    assert re.fullmatch(rf"memory: \d MiB of {room} for a step on each", full[4])
    lanes = re.compile(r"devices: .*, (\d+) trials abreast on each")
    some = preflight.dry_run(few, 20_000, memory=2e-5).splitlines()
    before, after = (int(lanes.fullmatch(lines[3])[1]) for lines in (full, some))
    assert after < before
    with pytest.raises(InputError, match="memory must be at least"):
        preflight.dry_run(few, 20_000, memory=1e-9)


def test_nothing_is_rehearsed_that_could_not_be_run(few):
    with pytest.raises(InputError, match="trials must be between 1 and"):
        preflight.dry_run(few, 0)
    with pytest.raises(InputError, match="device must be present, got tpu"):
        preflight.dry_run(few, 10, device="tpu")


def test_the_first_batch_is_not_timed(monkeypatch):
    # It checks the kernel and warms up; where there is no other, it must do.
    table = np.zeros((1, 1, 1), np.int64)
    batches = [Batch(0, 10, table, table, 0, 0, 5.0), Batch(10, 40, table, table, 0, 0, 0.5)]
    batches.append(Batch(40, 100, table, table, 0, 0, 1.0))
    monkeypatch.setattr(engine, "run", lambda *_, **__: iter(batches))
    program = engine.Program(preflight, ltjax.neuron(**FEW), None, 1, 1, 0)
    assert preflight._rate(program, [(0, 100)]) == 60.0
    del batches[1:]
    assert preflight._rate(program, [(0, 100)]) == 2.0
