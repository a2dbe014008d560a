"""The problem of whole neurons, from what a user asks for."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ltjax.errors import InputError
from ltjax.experiments.features.config import DATA, MAX_FEATURES, SEARCHES, Features
from ltjax.networks.targets import neuron_target
from ltjax.problem.problem import Grid, Problem, asked_grid
from ltjax.system import files
from ltjax.system.files import FilePath
from ltjax.validate import check_seed


@np.errstate(under="ignore")
def features(
    dim: int | None = None,
    count: int = 20,
    epsilons: Sequence[float] = (0.1, 0.05, 0.02),
    widths: Sequence[int] | None = None,
    target: FilePath | Sequence[float] | np.ndarray = "worst",
    data: FilePath | tuple[np.ndarray, np.ndarray] = "gaussian",
    activation: str = "relu",
    law: str = "sphere",
    radius: float = 1.0,
    loss: str = "squared",
    cap: float | None = None,
    samples: int = 20_000,
    searches: Sequence[str] = SEARCHES,
    seed: int = 0,
) -> Problem:
    """The problem of keeping whole neurons so that the loss is that of `count` random features.

    Args:
        dim: input dimension d; by default that of the target or of the data, or 8.
        count: n, the random features that set the baseline, and the neurons of a group.
        epsilons: losses allowed beyond the baseline, in (0, 1).
        widths: hidden neurons k; by default twelve, from one group to 80.
        target: weights w of y = relu(w.x): worst (all of one size), random (one, by seed), a path
            to a .npy file, or d numbers with ||w|| <= 1.
        data: gaussian (N(0, I)), sphere, ball; or answers of one's own in place of a target: a
            path to a .npz file of x [n, d] and y [n], or the two.
        activation, law, radius, loss: as in `features.config.Features`.
        cap: bound C on the coefficients of the features; by default the median of the largest one
            that is best without a bound.
        samples: fresh inputs a trial, where the loss has no closed form.
        searches: groups and climb, or one of them.
        seed: 0 <= seed < 2^32.
    """
    from ltjax.experiments.features import host  # the way to jax

    check_seed(seed)
    answers: tuple[np.ndarray, np.ndarray] | np.ndarray
    if isinstance(data, str) and data in DATA[:-1]:
        law_of = data
        answers, _ = neuron_target(target, dim, seed)
        d = len(answers) if dim is None else dim
    else:
        law_of = "file"
        if not (isinstance(target, str) and target == "worst"):
            raise InputError(f"target must be left out where data holds the answers, got {target}.")
        answers = x, _ = _data(data)
        d = x.shape[1] if x.ndim == 2 else 0
        if dim is not None and dim != d:
            raise InputError(f"dim must be that of the data, {d}, got {dim}.")
    grid = asked_grid(widths, epsilons)
    if widths is None:
        rising = np.unique(np.geomspace(1, 80, 12).round().astype(int)) * count
        held = rising[rising <= MAX_FEATURES].tolist() or [count]
        grid = Grid(widths=tuple(held), epsilons=grid.epsilons)
    config = Features(
        dim=d, features=count, cap=1.0 if cap is None else cap, baseline=0.0,
        most=max(grid.widths), activation=activation, law=law, radius=radius, data=law_of,
        loss=loss, samples=0, searches=tuple(searches),
    )  # fmt: skip
    if not config.exact and law_of != "file":
        config = replace(config, samples=samples)
    checked = config.check_target(answers)
    cap, baseline = host.reference(config, config.arrays(checked), seed, cap)
    config = replace(config, cap=cap, baseline=baseline)
    return Problem(config=config, target=checked, grid=grid, seed=seed, experiment="features")


def _data(data) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and answers, from a file or as they are."""
    if not isinstance(data, str | os.PathLike):
        x, y = (files.as_float64(np.asarray(part), "data", "memory") for part in data)
        return x, y
    if not str(data).endswith(".npz"):
        raise InputError(f"data must be one of {', '.join(DATA[:-1])} or a .npz file, got {data}.")
    arrays = files.read_arrays(data, "data")
    if set(arrays) != {"x", "y"}:
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"data must hold the arrays x and y, got {found} in {data}.")
    return files.as_float64(arrays["x"], "data", "x"), files.as_float64(arrays["y"], "data", "y")
