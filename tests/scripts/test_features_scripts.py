"""The scripts about random features run at toy size, and draw and tell the same again."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ltjax import theory

SCRIPTS = Path(__file__).parents[2] / "scripts"
WORDS = ["--dims", "3", "4", "5", "9", "--features", "60", "--draws", "3"]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPTS / "weights_against_neurons.py"))


@pytest.mark.slow
def test_the_figure_is_drawn_and_the_same_again(script, tmp_path, capsys):
    drawn, told = [], []
    for name in ("a.svg", "b.svg"):
        script["main"]([*WORDS, "--data", str(tmp_path), "--figure", str(tmp_path / name)])
        drawn.append((tmp_path / name).read_bytes())
        told.append(capsys.readouterr().out.replace(name, ""))
    assert drawn[0] == drawn[1]
    assert told[0] == told[1]
    assert len(drawn[0]) > 10_000
    assert "exp(b sqrt d): b -inf to inf" in told[0]


@pytest.mark.slow
def test_what_is_kept_is_used_if_it_answers_the_question(script, tmp_path, capsys):
    path = tmp_path / "features-d3.json"
    ask = ["--dims", "3", "4", "--draws", "2", "--data", str(tmp_path)]
    ask += ["--figure", str(tmp_path / "a.svg"), "--features"]
    script["main"]([*ask, "30"])
    kept = json.loads(path.read_text())
    rows = np.random.default_rng([0, 3, 1]).normal(size=(30, 3))
    curve = theory.residuals(rows, np.eye(3)[0]).relative
    assert kept["losses"][1] == [curve[r - 1] for r in (10, 30)]
    first = [int(np.sum(curve > part)) + 1 for part in (0.1, 0.01, 0.003)]
    assert kept["needed"][1] == [r if r <= 30 else None for r in first]
    # A planted loss is taken over, but not for another number of features.
    kept["losses"][0][-1] = kept["losses"][1][-1] = 0.5
    path.write_text(json.dumps(kept))
    script["main"]([*ask, "30"])
    assert "d = 3: loss 0.5 of 30" in capsys.readouterr().out
    script["main"]([*ask, "40"])
    assert "d = 3: loss 0.5" not in capsys.readouterr().out


def test_the_promised_tolerance_is_reached_and_not_exceeded(script):
    d, part = 5, 0.02
    eta = script["promised_tolerance"](d, part)
    x = np.random.default_rng(1).normal(size=(400_000, d))
    w, e = np.full(d, d**-0.5), np.full(d, eta)
    # All slots err as far as they may, and so that errors add up: E (u - v)^2 is E y^2 times part.
    u, v = x @ w, np.maximum(x, 0) @ (w + e) - np.maximum(-x, 0) @ (w - e)
    squares = (u - v) ** 2 / 0.5
    error = np.std(squares) / len(squares) ** 0.5
    assert abs(np.mean(squares) - part) < 5 * error
    # One tolerance a weight, the same on both sides, would take the loss for eta^2 d: too small.
    assert np.mean(squares) > eta**2 * d / 0.5 + 10 * error
    loss = np.mean((np.maximum(u, 0) - np.maximum(v, 0)) ** 2) / 0.5
    assert 0.4 * part < loss < part
    # In that case the naive tolerance breaks its promise, and not by a little.
    naive = e * (part / 2 / d) ** 0.5 / eta
    v = np.maximum(x, 0) @ (w + naive) - np.maximum(-x, 0) @ (w - naive)
    assert np.mean((np.maximum(u, 0) - np.maximum(v, 0)) ** 2) / 0.5 > 1.5 * part


def test_a_law_is_told_from_another(script):
    dims, rng = [2, 3, 4, 5, 7, 10, 14, 20], np.random.default_rng(2)
    laws = {"d^b": (np.log, 1.5), "exp(b sqrt d)": (np.sqrt, 1.2), "exp(b d)": (np.array, 0.2)}
    for name, (law, b) in laws.items():
        truth = 3.0 * np.exp(b * law(np.array(dims, np.float64)))[:, None]
        needed = truth * rng.uniform(0.9, 1.1, (len(dims), 25))
        needed[-1] = np.inf  # the largest is censored
        fits = script["fit_laws"](dims, needed, 0.9 * truth[-1, 0])
        assert fits[name].least < b < fits[name].largest
        assert fits[name].largest - fits[name].least < 0.2 * b
        assert fits[name].closest == pytest.approx(b, rel=0.05)
        for other in set(laws) - {name}:
            assert np.isnan(fits[other].least)
            assert fits[other].misfit > 2 * fits[name].misfit
    # A censored point speaks too: it refutes what would have come down.
    late = script["fit_laws"](dims, needed, 9 * truth[-1, 0])
    assert np.isnan(late["exp(b d)"].least)


def test_slopes_of_lines_through_intervals(script):
    u = np.array([0.0, 1.0, 3.0])
    # Steepest from (0, 0) to (3, 9), flattest from (1, 3) to (3, 5).
    low, high = np.array([0.0, 0.0, 5.0]), np.array([2.0, 3.0, 9.0])
    assert script["slopes"](u, low, high) == pytest.approx([1.0, 3.0])
    high[2] = np.inf
    assert script["slopes"](u, low, high) == pytest.approx([1.0, 3.0])
    assert script["slopes"](u, low - np.inf, high + np.inf) == [-np.inf, np.inf]
    high[0] = low[0] = 2.5
    assert script["slopes"](u, low, high)[1] == pytest.approx(np.nan, nan_ok=True)


def test_the_interval_is_of_order_statistics(script):
    # Of 15 coins 2 P(at most 1 head) = 2 * 16 / 2^15 = 0.00098, and with 2 heads 0.0074.
    samples = np.random.default_rng(3).permutation(15).astype(float)
    assert script["interval"](samples, 0.0009) == (0.0, 14.0)
    assert script["interval"](samples, 1e-9) == (1.0, np.inf)
    assert script["interval"](samples, 0.001) == (1.0, 13.0)
    assert script["interval"](samples, 0.0074) == (2.0, 12.0)


@pytest.mark.slow
def test_the_bench_runs_and_agrees_with_separate_solves(capsys):
    main = runpy.run_path(str(SCRIPTS / "bench_features.py"))["main"]
    main(["--features", "120", "--solves", "3", "--rounds", "1"])
    assert "one curve against 3 solves" in capsys.readouterr().out
