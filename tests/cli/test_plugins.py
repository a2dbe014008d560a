"""A file of one's own on the command line: run, merged, shown, drawn; and files that are none."""

from pathlib import Path

import pytest
from test_ticket_commands import call

import ltjax
from ltjax.cli import plugins
from ltjax.masks import rules
from ltjax.weights import laws

MINE = Path(__file__).parents[1] / "experiments" / "mine.py"
ASKED = [
    *("curve", "neuron", "--plugin", "mine.py", "--law", "gaussian", "--rule", "pairs"),
    *("--dim", "2", "--epsilon", "0.5"),
]
GRID = ["--widths", "8", "32", "--rules", "tight", "--quiet"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with nothing but mine.py, in a process that knows nothing of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rules, "_known", {"nearest": rules.nearest, "flips": rules.flips})
    monkeypatch.setattr(laws, "_own", {})
    Path("mine.py").write_text(MINE.read_text())
    return tmp_path


def test_the_file_is_short():
    assert len(MINE.read_text().splitlines()) <= 40


def test_a_file_of_ones_own_is_run_resumed_merged_shown_and_drawn(here, capsys, monkeypatch):
    assert call(*ASKED, *GRID, "--trials", "40", "--out", "a.jsonl", "--figure", "a.svg") == 0
    assert "pairs/tight" in capsys.readouterr().out
    assert call(*ASKED, *GRID, "--trials", "60", "--out", "a.jsonl") == 0
    assert "60 trials" in capsys.readouterr().out
    # From here on nobody knows the law or the rule.
    monkeypatch.setattr(rules, "_known", {"nearest": rules.nearest})
    monkeypatch.setattr(laws, "_own", {})
    Path("mine.py").unlink()
    assert call("merge", "a.jsonl", "--out", "b.jsonl") == 0
    assert call("show", "b.jsonl") == 0
    assert call("plot", "a.jsonl", "b.jsonl", "--out", "both.svg") == 0
    assert ltjax.load(["b.jsonl"]).trials == 60
    assert Path("both.svg").stat().st_size > 10_000
    capsys.readouterr()
    assert call("curve", "neuron", "--law", "gaussian", "--rule", "pairs") == 2
    assert "mask rules, nearest, got pairs." in capsys.readouterr().err


def test_another_text_goes_on_with_no_record(here, capsys):
    assert call(*ASKED, *GRID, "--trials", "20", "--out", "a.jsonl") == 0
    before = Path("a.jsonl").read_bytes()
    rules._known.pop("pairs")
    Path("mine.py").write_text(MINE.read_text().replace("< jnp.abs(target)", "<= jnp.abs(target)"))
    assert call(*ASKED, *GRID, "--trials", "40", "--out", "a.jsonl") == 2
    assert "holds another problem: config.sources is" in capsys.readouterr().err
    assert Path("a.jsonl").read_bytes() == before


LAW = "import ltjax\nclass Mine(ltjax.Law):\n    rounding = 0.0\n"
BODY = "    def quantile(self, u, special):\n        return {} * u\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "plugin a.py must be executable, got ZeroDivisionError('division by zero')."),
        ("def", "plugin a.py must be executable, got SyntaxError"),
        (LAW + "    def __init__(self, a):\n        pass\n", "law Mine must be made without arg"),
    ],
)
def test_a_file_that_is_no_plugin_is_one_line(here, capsys, text, message):
    Path("a.py").write_text(text)
    assert call("curve", "neuron", "--plugin", "a.py", "--law", "mine") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"ltjax: {message}")
    assert said.err.count("\n") == 1
    assert call("curve", "neuron", "--plugin", "none.py") == 2
    assert capsys.readouterr().err == "ltjax: plugin must be a Python file, got none.py.\n"


def test_two_files_of_one_name_are_refused(here, capsys):
    Path("a.py").write_text(LAW + BODY.format(0.5))
    Path("b.py").write_text(LAW + BODY.format(0.25))
    assert call("curve", "neuron", "--plugin", "a.py", "b.py", "--law", "mine") == 2
    assert capsys.readouterr().err == "ltjax: law mine must be defined once, got two that differ.\n"


def test_an_entry_point_of_a_package_is_known(here, monkeypatch):
    class Point:
        value = "package:Found"

        def load(self):
            return ltjax.Uniform(0.5)

    monkeypatch.setattr(plugins.importlib.metadata, "entry_points", lambda group: [Point()])
    plugins.learn(())
    assert laws.named("uniform_0.5").source == ltjax.Uniform(0.5).source
    monkeypatch.setattr(Point, "load", lambda self: 1 / 0)
    with pytest.raises(ltjax.InputError, match=r"plugin package:Found must be importable"):
        plugins.learn(())
