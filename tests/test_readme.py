"""What the README says, done: its Python lines run, its commands parse, its numbers are right."""

import re
import runpy
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

from ltjax import theory
from ltjax.audits import claims
from ltjax.cli import program
from ltjax.networks import targets

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_lines_run_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        exec(compile(code, "README.md", "exec"), names)
    kind, distance = capsys.readouterr().out.split()[:2]
    assert kind == "exact"
    # A band that misses once in a million: sqrt(ln(2e6) / (2 * 5000)) = 0.0381.
    assert float(distance) < 0.0381
    assert (tmp_path / "runs" / "four.svg").stat().st_size > 10_000


LINES = re.findall(r"^ {4}(.*?)(?: {2,}#.*)?$", README, re.MULTILINE)
COMMANDS = [part for line in LINES for part in line.split(" && ") if part.startswith("ltjax ")]


def test_the_commands_are_found():
    asked = {"audit", "check", "curve", "gap", "merge", "plot", "show", "ticket", "verify"}
    asked |= {"prove", "width"}
    assert {line.split()[1] for line in COMMANDS} == asked


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_understood(line):
    assert program.parse(shlex.split(line)[1:])


def test_the_audit_is_current(tmp_path, monkeypatch, capsys):
    """The table is what is printed of the findings kept, none of which is of another version."""
    kept = tmp_path / "audit.jsonl"
    kept.write_bytes((ROOT / "figures" / "data" / "audit.jsonl").read_bytes())
    monkeypatch.setattr(claims.Claim, "__call__", None)  # nothing is tried again
    assert program.main(["audit", "--out", str(kept), "--quiet"]) == 0
    (table,) = re.findall(r"```\n(claim +verdict .*?)```", README, re.DOTALL)
    assert capsys.readouterr().out == table


@pytest.mark.slow
def test_the_digits_ticket_is_what_is_said_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    script = runpy.run_path(str(ROOT / "scripts" / "digits_target.py"))["main"]
    with jax.numpy_dtype_promotion("standard"):  # optax counts steps by an integer
        script([])
    for line in COMMANDS:
        if "runs/ticket.npz" in line:
            assert program.main(shlex.split(line)[1:]) == 0
    script(["--check", "runs/ticket.npz"])
    said = dict(
        line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if ": " in line
    )
    (quoted,) = re.findall(r"```\n(verdict: .*?)```", README, re.DOTALL)
    told = dict(line.split(": ", 1) for line in quoted.splitlines() if ": " in line)
    assert set(told) <= set(said)
    assert said["verdict"] == told["verdict"] == "HOLDS"
    # Training is the same to rounding on one machine, and to a few images on another.
    for name in ("held-out accuracy of the target", "held-out accuracy of the ticket"):
        assert abs(float(said[name]) - float(told[name])) < 0.02
    for name in ("upper bound", "lower bound"):
        assert 0.5 < float(said[name]) / float(told[name]) < 2.0


def test_the_findings_are_what_theory_says():
    target = tuple(0.25 * (-1) ** i for i in range(16))
    slides, tight = (theory.tolerance(rule, 16, 0.1) for rule in ("slides", "tight"))
    numbers = [
        theory.lemma_width(16, 0.1, 0.05),
        theory.blocks_width(target, slides, 0.05),
        theory.blocks_width(target, tight, 0.05),
        *theory.pooled_width(target, tight, 0.05),
        *theory.pooled_width(target, slides, 0.05),
        *theory.pooled_width(np.full(64, 0.125), theory.tolerance("tight", 64, 0.5), 0.05),
        theory.shared_width(np.full(64, 0.125), theory.tolerance("tight", 64, 0.5), 0.05),
        int(theory.leading_width("slides", 16, 0.1, 0.05)),
    ]
    hadamard = targets.worst_target((8, 8, 1))
    numbers += [
        theory.network_lemma_block((8, 8, 1), 0.2, 0.05),
        theory.block_size("blocks", hadamard, "tight", 0.2, 0.05).neurons,
    ]
    finding = README[README.index("The lemma's width is far") :]
    for number in numbers:
        assert f"{number:,}" in finding


@pytest.mark.slow
def test_scripts_draw_at_toy_size(tmp_path, capsys):
    for name, words in {"width_curve.py": ["--trials", "40", "--dims", "2"]}.items():
        main = runpy.run_path(str(ROOT / "scripts" / name))["main"]
        figure = tmp_path / f"{name}.svg"
        main([*words, "--data", str(tmp_path), "--figure", str(figure)])
        assert figure.stat().st_size > 10_000
