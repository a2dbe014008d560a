"""The experiments by name: what is asked, how it is measured, what is predicted.

One table joins configuration, experiment and prediction. The command line and the scripts read it;
a new experiment is a new row. Below it, the verbs: `run`, `predict`, `table`, `plot`.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import ltjax
from ltjax import draws, files, report, theory
from ltjax.estimates import Series
from ltjax.files import FilePath
from ltjax.problem import (
    CONSTRUCTIONS,
    RULES,
    Grid,
    InputError,
    Neuron,
    Problem,
    check_seed,
    check_target,
)
from ltjax.records import Log
from ltjax.tally import Batch, Memory, Tally

Watch = Callable[[Batch | None, Memory], None]

MAX_TRIALS = 2**32  # a trial number is one word of an address
MIN_EPSILON = 1e-9  # no network whose neurons can be numbered comes as near to a hard target
DELTA = 0.05  # failure probability for which widths are answered, unless another is asked for


class Curve(NamedTuple):
    """One row: the module of the experiment, imported with jax only when run, and its theory."""

    experiment: str
    predict: Callable[[Problem], Mapping[str, theory.Prediction]]
    lemma: Callable[[int, float, float], int]  # width promised for dim, epsilon, delta


CURVES = {"neuron": Curve("ltjax.experiments.neuron", theory.predict, theory.lemma_width)}


def neuron(
    dim: int | None = None,
    epsilons: Sequence[float] = (0.5, 0.2, 0.1),
    widths: Sequence[int] | None = None,
    target: FilePath | Sequence[float] | np.ndarray = "worst",
    constructions: Sequence[str] = CONSTRUCTIONS,
    rules: Sequence[str] = RULES,
    seed: int = 0,
) -> Problem:
    """The problem of pruning a random two-layer network to one neuron f(x) = relu(w.x).

    Args:
        dim: input dimension d; by default that of the target, or 8.
        epsilons: errors allowed, in (0, 1).
        widths: hidden neurons k of the random network; by default about 40, over which the exact
            curves rise from 1 % to 99.9 %.
        target: worst (all |w_i| = 1/sqrt(d), signs alternating), random (one target, drawn from
            the seed), a path to a .npy file, or the weights themselves.
        constructions: blocks and pooled, or one of them.
        rules: of slides, tight, l2 and sup; sup is the dearest.
        seed: 0 <= seed < 2^32.
    """
    weights = _target(target, dim, check_seed(seed))
    config = Neuron(dim=len(weights), constructions=tuple(constructions), rules=tuple(rules))
    grid = Grid(widths=(1,) if widths is None else tuple(widths), epsilons=tuple(epsilons))
    if min(grid.epsilons) < MIN_EPSILON:
        raise InputError(f"epsilon must be at least {MIN_EPSILON:g}, got {min(grid.epsilons):g}.")
    if widths is None:
        rising = theory.default_widths(weights, grid.epsilons, config.constructions)
        grid = Grid(widths=rising, epsilons=grid.epsilons)
    return Problem(config=config, target=weights, grid=grid, seed=seed)


def _target(target, dim: int | None, seed: int) -> tuple[float, ...]:
    """Resolve a name, a file or numbers to the d weights."""
    if not isinstance(target, str | os.PathLike):
        values, name = np.asarray(target, np.float64), "target"
    elif target in ("worst", "random"):
        dim = Neuron(dim=8 if dim is None else dim).dim
        if target == "worst":
            return tuple(dim**-0.5 * (-1) ** i for i in range(dim))
        key = draws.trial_key(np.array([seed], np.uint32), np.zeros(1, np.uint32))
        words = draws.word(
            draws.stream(key, 0, draws.TARGET),
            np.zeros(1, np.uint32),
            np.arange(dim, dtype=np.uint32),
        )
        return tuple((draws.uniform(words).astype(np.float64) * dim**-0.5).tolist())
    else:
        values, name = files.read_array(target, "target"), f"target {target}"
    if values.ndim != 1 or values.size < 1:
        raise InputError(f"{name} must be a list of d weights, got shape {list(values.shape)}.")
    return check_target(values, len(values) if dim is None else dim, name)


def run(
    problem: Problem,
    trials: int,
    out: FilePath | None = None,
    device: str = "auto",
    watch: Watch = lambda batch, log: None,
) -> Tally:
    """Run those of the trials 0, ..., `trials` - 1 that the record `out` does not hold yet.

    Args:
        problem: from `ltjax.neuron`.
        trials: number of random networks.
        out: record to begin or to go on with; None keeps the counts in memory.
        device: auto, cpu, gpu or tpu; never another than asked for.
        watch: called with None at the start and with each batch, and the log.

    Returns:
        The counts of all trials recorded.
    """
    if not 1 <= trials <= MAX_TRIALS:
        raise InputError(f"trials must be between 1 and {MAX_TRIALS}, got {trials}.")
    from ltjax import engine  # the only way to jax, which takes a second to import

    on = engine.devices(device)
    experiment = importlib.import_module(CURVES[problem.experiment].experiment)
    environment = engine.environment(on)
    begin = Memory(problem, trials) if out is None else Log(out, problem, trials, environment)
    with begin as log:
        watch(None, log)
        for batch in engine.run(experiment, problem, log.missing(trials), on):
            log.append(batch)
            watch(batch, log)
        return log.tally


def predict(problem: Problem) -> dict[str, theory.Prediction]:
    """What theory says of each criterion on the grid of the problem, where it says anything."""
    return dict(_predict(problem))


@lru_cache(maxsize=16)  # a table and a figure ask for the same, and it may take seconds
def _predict(problem: Problem) -> Mapping[str, theory.Prediction]:
    return CURVES[problem.experiment].predict(problem)


def series(tally: Tally, label: str = "the record", delta: float = DELTA) -> Series:
    """A record with its predictions and the paper's widths, as tables and figures take it."""
    problem = tally.problem
    lemma = CURVES[problem.experiment].lemma
    return Series(
        label=label,
        tally=tally,
        predictions=tuple(predict(problem).values()),
        lemma={e: lemma(problem.config.dim, e, delta) for e in problem.grid.epsilons},
    )


def table(tally: Tally, criterion: str = "tight", every: bool = False, delta: float = DELTA) -> str:
    """Success by width beside its prediction, and the width needed for 1 - delta, as text.

    Args:
        criterion: a rule (slides, tight, l2, sup) or one criterion, as blocks/tight.
        every: all widths instead of a readable handful.
    """
    return report.table(series(tally, delta=delta), chosen(tally.problem, criterion), every, delta)


def plot(
    tallies: Tally | Sequence[Tally],
    out: FilePath,
    criterion: str = "tight",
    labels: Sequence[str] = (),
    delta: float = DELTA,
) -> None:
    """Draw success against width, a panel for each construction, to a .pdf, .svg or .png file."""
    tallies = [tallies] if isinstance(tallies, Tally) else list(tallies)
    labels = list(labels) or [str(i + 1) for i in range(len(tallies))]
    criteria = [chosen(tally.problem, criterion) for tally in tallies]
    common = [name for name in criteria[0] if all(name in names for names in criteria)]
    if not common:
        raise InputError(f"criterion must be one that all records count, got {criterion}.")
    from ltjax import plots  # the only way to matplotlib

    drawn = [series(*pair, delta) for pair in zip(tallies, labels, strict=True)]
    picture = plots.figure(drawn, common, delta=delta, note=f"ltjax {ltjax.__version__}")
    files.write_atomic(out, plots.render(picture, Path(out).suffix))


def chosen(problem: Problem, criterion: str) -> list[str]:
    """The criteria of a rule, or the one named."""
    names = [c.name for c in problem.criteria]
    found = [name for name in names if criterion in (name, name.split("/")[1])]
    if not found:
        rules = dict.fromkeys(name.split("/")[1] for name in names)
        raise InputError(
            f"criterion must be one of {', '.join([*rules, *names])}, got {criterion}."
        )
    return found
