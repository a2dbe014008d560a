"""What the README says, done: its Python lines run, its commands parse, its numbers are right."""

import re
import shlex
from pathlib import Path

import pytest

from ltjax import cli, theory

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_lines_run_as_they_stand(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    kind, distance = capsys.readouterr().out.split()[:2]
    assert kind == "exact"
    # A band that misses once in a million: sqrt(ln(2e6) / (2 * 5000)) = 0.0381.
    assert float(distance) < 0.0381
    assert (tmp_path / "runs" / "four.svg").stat().st_size > 10_000


@pytest.mark.parametrize(
    "line", re.findall(r"^ {4}.*?(ltjax [a-z]+ .*?)(?: {2,}#.*)?$", README, re.M)
)
def test_every_command_line_is_understood(line):
    assert cli.parse(shlex.split(line)[1:])


def test_the_findings_are_what_theory_says():
    target = tuple(0.25 * (-1) ** i for i in range(16))
    slides, tight = (theory.tolerance(rule, 16, 0.1) for rule in ("slides", "tight"))
    numbers = [
        theory.lemma_width(16, 0.1, 0.05),
        theory.blocks_width(target, slides, 0.05),
        theory.blocks_width(target, tight, 0.05),
        theory.shared_width(target, tight, 0.05),
    ]
    finding = README[README.index("The lemma's width is far") :]
    for number in numbers:
        assert f"{number:,}" in finding


def test_scripts_draw_at_toy_size(tmp_path, capsys):
    import runpy

    for name, words in {"width_curve.py": ["--trials", "40", "--dims", "2"]}.items():
        main = runpy.run_path(str(ROOT / "scripts" / name))["main"]
        figure = tmp_path / f"{name}.svg"
        main([*words, "--data", str(tmp_path), "--figure", str(figure)])
        assert figure.stat().st_size > 10_000
