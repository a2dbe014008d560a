"""What `import ltjax` gives: its names, nothing else, and each at toy size."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ltjax
from ltjax.errors import InputError
from ltjax.tickets import archive

PUBLIC = sorted([
    "neuron", "network", "features", "subset", "imp", "popup", "Problem", "Grid",
    "Law", "Uniform", "Gaussian", "mask_rule", "Experiment",
    "run", "sweep", "until", "load", "merge", "Tally",
    "predict", "table", "plot", "plot_widths", "Prediction",
    "prune", "verify", "gap", "read_ticket", "Ticket", "audit", "Claim", "InputError",
    "supnorm", "testing", "theory",
])  # fmt: skip
LAYERS = [np.array([[0.5, -0.3], [0.2, 0.4]]), np.array([[0.6, -0.5]])]


def test_the_names_are_these_and_no_others():
    assert dir(ltjax) == ltjax.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(ltjax, name).__doc__, name
    with pytest.raises(AttributeError, match=r"has no attribute 'importlib'"):
        ltjax.importlib  # noqa: B018


@pytest.mark.parametrize("name", [n for n in PUBLIC if n.islower() and n not in ltjax._MODULES])
def test_every_argument_of_a_function_is_told(name):
    function = getattr(ltjax, name)
    told = inspect.getdoc(function)
    parameters = list(inspect.signature(function).parameters)
    if len(parameters) > 1 and name not in ("merge", "load", "popup"):
        assert "Args:" in told
        for parameter in parameters:
            assert parameter in told, parameter


def test_importing_is_light():
    code = """
import sys, time
begun = time.perf_counter(); import ltjax; took = time.perf_counter() - begun
heavy = {"jax", "numpy", "scipy", "matplotlib", "tyro"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
ltjax.Problem, ltjax.InputError, ltjax.load, ltjax.predict, ltjax.neuron, ltjax.Law
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_says_that_it_is_typed():
    assert (Path(ltjax.__file__).parent / "py.typed").is_file()


def test_a_ticket_is_made_written_read_and_verified(tmp_path):
    ticket = ltjax.prune(LAYERS, 0.5, tmp_path / "t.npz", seed=3)
    read = ltjax.read_ticket(tmp_path / "t.npz")
    assert archive.to_bytes(read) == archive.to_bytes(ticket)
    np.savez(tmp_path / "net.npz", *LAYERS)
    for one, network in ((ticket, LAYERS), (tmp_path / "t.npz", tmp_path / "net.npz")):
        verdict = ltjax.verify(one, network)
        assert verdict.holds
        assert 0.0 < verdict.lower <= verdict.upper <= 0.5
    assert not ltjax.verify(ticket, [2.0 * LAYERS[0], LAYERS[1]]).belongs


def test_a_gap_is_certified(tmp_path):
    other = [LAYERS[0] + 0.01, LAYERS[1]]
    lower, upper = ltjax.gap(LAYERS, other, 0.001)
    assert 0.0 < lower <= upper <= 1.001 * lower
    x = np.random.default_rng(0).normal(size=(500, 2))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    f, g = (np.maximum(x @ a.T, 0.0) @ b.T for a, b in (LAYERS, other))
    assert np.abs(f - g).max() <= upper
    twice = ltjax.gap(LAYERS, other, 0.001, radius=2.0)
    assert twice[0] == pytest.approx(2 * lower, rel=1e-3)
    with pytest.raises(InputError, match=r"norm must be one of l2, max, got l1"):
        ltjax.gap(LAYERS, other, norm="l1")
    with pytest.raises(InputError, match=r"gap must be at least"):
        ltjax.gap(LAYERS, other, 0.0)


@pytest.fixture
def swept(tmp_path):
    problems = (
        ltjax.neuron(dim=d, epsilons=(0.5, 0.4), widths=(8, 32, 128), rules=("tight",), seed=1)
        for d in (2, 3)
    )
    return ltjax.sweep(problems, tmp_path / "dims", trials=200)


def test_a_sweep_is_one_folder_that_goes_on(tmp_path, swept):
    records = sorted((tmp_path / "dims").iterdir())
    assert len(records) == 2
    assert all(record.name.startswith("neuron-") for record in records)
    before = [record.read_bytes() for record in records]
    again = ltjax.sweep([tally.problem for tally in swept], tmp_path / "dims", trials=200)
    assert [record.read_bytes() for record in records] == before
    for one, other in zip(swept, again, strict=True):
        np.testing.assert_array_equal(one.certified, other.certified)
    seen = []
    more = ltjax.sweep(
        [swept[1].problem], tmp_path / "dims", 300, lambda problem, tally: seen.append(problem)
    )
    assert (more[0].trials, seen) == (300, [swept[1].problem])


def test_needed_widths_are_drawn_against_what_tells_the_problems_apart(tmp_path, swept):
    for x in ("dim", "epsilon", lambda problem: 10 * problem.config.dim):
        ltjax.plot_widths(swept, tmp_path / "a.svg", x=x)
        assert (tmp_path / "a.svg").stat().st_size > 10_000
    first = (tmp_path / "a.svg").read_bytes()
    ltjax.plot_widths(swept, tmp_path / "b.svg", x=lambda problem: 10 * problem.config.dim)
    assert (tmp_path / "b.svg").read_bytes() == first
    ltjax.plot_widths(swept, tmp_path / "c.svg", x="epsilon", group="title")
    with pytest.raises(InputError, match=r"x and group must be fields .* got depth"):
        ltjax.plot_widths(swept, tmp_path / "d.svg", x="depth")
    with pytest.raises(InputError, match=r"tallies must hold at least one record"):
        ltjax.plot_widths([], tmp_path / "d.svg")
    assert not (tmp_path / "d.svg").exists()


def test_type_checkers_see_every_name_where_it_is():
    stub = Path(ltjax.__file__).with_suffix(".pyi")
    imports = [n for n in ast.parse(stub.read_text()).body if isinstance(n, ast.ImportFrom)]
    seen = {alias.asname: node.module for node in imports for alias in node.names}
    homes = {name: f"ltjax.{home}" for name, home in ltjax._HOMES.items()}
    assert seen == homes | dict.fromkeys(ltjax._MODULES, "ltjax")
