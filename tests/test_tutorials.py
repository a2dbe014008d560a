"""The tutorials, executed: what is defined stands in a file, as a user's does."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

from ltjax.masks import rules
from ltjax.weights import laws

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))


def test_there_are_tutorials():
    assert len(TUTORIALS) >= 2


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_as_it_stands(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_known", {"nearest": rules.nearest, "flips": rules.flips})
    monkeypatch.setattr(laws, "_own", {})
    first, *rest = re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL)
    Path("mine.py").write_text(first)
    name = f"mine_{path.stem.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, "mine.py")
    mine = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, mine)
    spec.loader.exec_module(mine)
    for code in rest:
        exec(compile(code, str(path), "exec"), vars(mine))
    for line in re.findall(r"^    (ltjax .*)$", path.read_text(), re.MULTILINE):
        from ltjax.cli import program

        assert program.parse(line.split()[1:]) is not None
