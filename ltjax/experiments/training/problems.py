"""The problems of tickets found by training, from what a user asks for."""

import os
from collections.abc import Sequence

import numpy as np

from ltjax.experiments.training import datasets
from ltjax.experiments.training.config import Imp, Popup
from ltjax.problem.problem import Problem, asked_grid
from ltjax.system.files import FilePath


def imp(
    data: FilePath | Sequence[np.ndarray] = "digits",
    widths: Sequence[int] = (64, 128, 256),
    keeps: Sequence[float] = (0.8, 0.5, 0.2, 0.1, 0.05),
    within: Sequence[float] = (0.05, 0.02, 0.01),
    seed: int = 0,
    **settings,
) -> Problem:
    """The problem of finding winning tickets by training.

    Args:
        data: digits, breast_cancer or wine (of scikit-learn); a path to a .npz file of x_train,
            y_train, x_test, y_test, or the four.
        widths: hidden neurons of a layer.
        keeps: shares of the weights kept.
        within: test accuracy that may be lost against the dense network, in (0, 1).
        seed: 0 <= seed < 2^32.
        settings: rewind, hidden, steps, batch, rate, as in `training.config.Imp`.
    """
    return _trained("imp", Imp, data, widths, keeps, within, seed, settings)


def popup(
    data: FilePath | Sequence[np.ndarray] = "digits",
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    keeps: Sequence[float] = (0.5,),
    within: Sequence[float] = (0.05, 0.02, 0.01),
    seed: int = 0,
    **settings,
) -> Problem:
    """The problem of finding strong tickets without training; arguments as of `imp`.

    Args:
        settings: score_rate, hidden, steps, batch, rate, as in `training.config.Popup`.
    """
    return _trained("popup", Popup, data, widths, keeps, within, seed, settings)


def _trained(experiment, config, data, widths, keeps, within, seed, settings) -> Problem:
    named = isinstance(data, str | os.PathLike)
    arrays = datasets.load(data) if named else data
    bundled = named and str(data) in datasets.BUNDLED
    known = str(data) if bundled else "file"
    asked = config(data=known, widths=tuple(widths), keeps=tuple(keeps), **settings)
    target = (datasets.digest(arrays),) if bundled else asked.check_target(arrays)
    grid = asked_grid(asked.widths, within)
    return Problem(config=asked, target=target, grid=grid, seed=seed, experiment=experiment)
