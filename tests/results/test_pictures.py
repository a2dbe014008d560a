"""Pictures do not depend on what matplotlib, or numpy, is told; nor does that on them."""

import contextlib
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import ltjax
from ltjax import api, results
from ltjax.cli.run import Run
from ltjax.counting.tally import Batch, Memory
from ltjax.errors import InputError
from ltjax.results import styles, success_figure


@pytest.mark.parametrize(("asked", "kept"), [("svg", "svg"), ("nonsense", "agg")])
def test_a_backend_is_not_read_and_stays_asked_for(monkeypatch, asked, kept):
    class Parameters(dict):
        def __setitem__(self, name, value):
            if value == "nonsense":
                raise ValueError
            super().__setitem__(name, value)

    module = SimpleNamespace(rcParams=Parameters(backend="agg"))
    monkeypatch.setenv("MPLBACKEND", asked)
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    with styles.importing_matplotlib():
        assert "MPLBACKEND" not in os.environ
        monkeypatch.setitem(sys.modules, "matplotlib", module)
    assert os.environ["MPLBACKEND"] == asked
    assert module.rcParams["backend"] == kept
    # Once it is imported, its backend is the caller's.
    module.rcParams["backend"] = "pdf"
    with styles.importing_matplotlib():
        pass
    assert module.rcParams["backend"] == "pdf"


def test_settings_that_matplotlib_cannot_read_are_one_line(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "svg")
    refused = pytest.raises(InputError, match="matplotlib must be able to read its settings")
    with refused, styles.importing_matplotlib():
        b"\xff".decode()
    assert os.environ["MPLBACKEND"] == "svg"


def test_what_cannot_be_drawn_is_refused_before_the_first_trial(monkeypatch, tmp_path):
    @contextlib.contextmanager
    def fail():
        raise InputError("cannot be drawn.")
        yield

    monkeypatch.setattr(styles, "importing_matplotlib", fail)
    monkeypatch.delitem(sys.modules, "ltjax.results.success_figure", raising=False)
    monkeypatch.delattr(results, "success_figure", raising=False)
    Run().check()
    with pytest.raises(InputError, match="cannot be drawn"):
        Run(figure=str(tmp_path / "a.svg")).check()


def test_pictures_do_not_depend_on_how_numpy_prints():
    problem = ltjax.neuron(dim=2, epsilons=(0.3,), widths=(40, 90), rules=("tight",))
    with Memory(problem, 48, None) as log:
        cells = np.full(problem.shape, 20)
        log.append(Batch(0, 48, cells, 48 - cells, 0, 0, 1.0))
    draw = lambda: success_figure.render(
        success_figure.figure([api.series(log.tally)], ["blocks/tight"], note="a"), ".svg"
    )
    before = draw()
    with np.printoptions(legacy="1.13", precision=2, sign="+", threshold=2):
        options = np.get_printoptions()
        assert draw() == before
        assert np.get_printoptions() == options
