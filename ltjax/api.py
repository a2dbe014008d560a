"""What one does with a problem, from Python: `run`, `until`, `predict`, `table`, `plot`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

import ltjax
from ltjax.counting import plans
from ltjax.counting.records import Log
from ltjax.counting.tally import Batch, Memory, Tally
from ltjax.errors import InputError
from ltjax.problem.experiment import experiment
from ltjax.problem.problem import Problem
from ltjax.results import tables, words
from ltjax.results.estimates import Series
from ltjax.system import files
from ltjax.system.files import FilePath
from ltjax.theory.prediction import Prediction

Watch = Callable[[Batch | None, Memory], None]

DELTA = 0.05  # failure probability for which widths are answered, unless another is asked for


def run(
    problem: Problem,
    trials: int,
    out: FilePath | None = None,
    device: str = "auto",
    watch: Watch = lambda batch, log: None,
    shard: plans.Shard | None = None,
    until: plans.Until | None = None,
    seconds: float = math.inf,
    memory: float | None = None,
    team=None,
) -> Tally:
    """Run those of the trials 0, ..., `trials` - 1 that the record `out` does not hold yet.

    Args:
        problem: from `ltjax.neuron`, `ltjax.network` and the like.
        trials: number of random networks.
        out: record to begin or to go on with; None keeps the counts in memory.
        device: auto, cpu, gpu or tpu; never another than asked for. Of cores, those that jax has
            as devices: one, unless `devices.use_cores` is called before anything is asked of jax.
        watch: called with None at the start and with each batch, and the log.
        shard: the part of the trials to run, from `plans.Shard.parse`; None for all.
        until: the rule by which to stop earlier, from `ltjax.until`.
        seconds: after which no batch is begun. The one way to stop that cannot be repeated.
        memory: GiB to use at most, by default half of what there is. Changes no count.
        team: the processes that run this together, from `processes.join`; the first one writes.

    Returns:
        The counts of all trials recorded; in other processes than the first, of this run alone.
    """
    plans.check(problem, trials, shard, until, seconds)
    from ltjax.counting import (
        engine,
        processes,  # the ways to jax, which takes a second to import
    )
    from ltjax.system import devices

    team = team or processes.Alone()
    on = devices.devices(device)
    limit = devices.memory(on, memory)
    rule = {} if until is None else until.to_json()
    if seconds < math.inf:
        rule["seconds"] = seconds
    environment = devices.environment(on) | {"processes": team.number}
    if out is None or not team.leads:
        begin = Memory(problem, trials, rule or None)
    else:
        begin = Log(out, problem, trials, environment, rule or None)
    with begin as log:
        watch(None, log)
        ranges = plans.ranges(log, trials, problem.config.trials_per_shard, shard, until)
        first = list(islice(ranges, 1))
        if not first and team.number == 1:  # then there is nothing to compile for
            return log.tally
        measured = experiment(problem.experiment).measured
        program = engine.prepare(measured, problem, on, trials // team.number, memory=limit)
        for batch in engine.run(program, chain(first, ranges), team, seconds):
            log.append(batch)
            watch(batch, log)
        team.leave()
        return log.tally


def sweep(
    problems: Iterable[Problem],
    folder: FilePath | None = None,
    trials: int = 2_000,
    watch: Callable[[Problem, Tally], None] = lambda problem, tally: None,
    **options: Any,
) -> list[Tally]:
    """Run many problems, each into a record of its own; a killed sweep goes on where it was.

    Args:
        problems: as of `run`, in any number; all of them are made before the first is run.
        folder: of the records, named by experiment and problem; None keeps none.
        trials: number of random networks of each.
        watch: called with each problem and its counts, once it is run.
        options: of `run`: until, seconds, memory, device.

    Returns:
        Their counts, in the order of the problems. `plot` draws them as curves in one figure,
        `plot_widths` the widths they need against what tells them apart.
    """
    tallies = []
    for problem in list(problems):
        name = f"{problem.experiment}-{problem.digest()}.jsonl"
        out = None if folder is None else Path(folder) / name
        tallies.append(run(problem, trials, out, **options))
        watch(problem, tallies[-1])
    return tallies


@np.errstate(under="ignore")
def until(
    problem: Problem,
    half_width: float | None = None,
    failures: int | None = None,
    at: tuple[str, int, float] | None = None,
) -> plans.Until:
    """The rule that stops at whichever of the two comes first; see `plans.until`.

    Args:
        problem: whose trials are stopped.
        half_width: of the anytime 95 % interval, between 0 and 0.5.
        failures: trials refuted, at least 1.
        at: (criterion, width, epsilon) that is watched; by default the main criterion, the smallest
            epsilon and the width whose predicted success is nearest to 1/2, where intervals are
            widest.
    """
    if at is None:
        name, epsilon = chosen(problem, None)[0], problem.grid.epsilons[-1]
        if (predicted := predict(problem).get(name)) is not None:
            success = (predicted.lower + predicted.upper)[:, -1] / 2
            at = name, problem.grid.widths[int(np.argmin(abs(success - 0.5)))], epsilon
    return plans.until(problem, half_width, failures, at)


def predict(problem: Problem) -> dict[str, Prediction]:
    """What theory says of each criterion on the grid of the problem, where it says anything."""
    return dict(_predict(problem))


@lru_cache(maxsize=16)  # a table and a figure ask for the same, and it may take seconds
@np.errstate(under="ignore")
def _predict(problem: Problem) -> Mapping[str, Prediction]:
    return experiment(problem.experiment).theory.predict(problem)


def series(tally: Tally, label: str = "the record", delta: float = DELTA) -> Series:
    """A record with its predictions and the paper's widths, as tables and figures take it."""
    problem = tally.problem
    lemma = experiment(problem.experiment).theory.lemma
    promised = {e: lemma(problem, e, delta) for e in problem.grid.epsilons}
    return Series(
        label=label,
        tally=tally,
        predictions=tuple(predict(problem).values()),
        lemma={e: width for e, width in promised.items() if width is not None},
    )


@np.errstate(under="ignore")
def table(
    tally: Tally, criterion: str | None = None, every: bool = False, delta: float = DELTA
) -> str:
    """Success by width beside its prediction, and the width needed for 1 - delta, as text.

    Args:
        tally: from `run` or `load`.
        criterion: a rule (slides, tight, l2, sup) or one criterion, as blocks/tight; by default
            tight of a neuron, sup of a network.
        every: all widths instead of a readable handful.
        delta: failure probability for which the needed width is told.
    """
    return tables.table(series(tally, delta=delta), chosen(tally.problem, criterion), every, delta)


@np.errstate(under="ignore")
def plot(
    tallies: Tally | Sequence[Tally],
    out: FilePath,
    criterion: str | None = None,
    labels: Sequence[str] = (),
    delta: float = DELTA,
) -> None:
    """Draw success against width, a panel for each construction.

    Args:
        tallies: one or several, from `run` or `load`.
        out: .pdf, .svg or .png file.
        criterion: as of `table`; one that all of them count.
        labels: names of the records, where there are several; numbers by default.
        delta: failure probability of the lemma's widths.
    """
    tallies = [tallies] if isinstance(tallies, Tally) else list(tallies)
    labels = list(labels) or [str(i + 1) for i in range(len(tallies))]
    criteria = [chosen(tally.problem, criterion) for tally in tallies]
    common = [name for name in criteria[0] if all(name in names for names in criteria)]
    if not common:
        raise InputError(
            f"criterion must be one that all records count, got {', '.join(criteria[0])}."
        )
    from ltjax.results import success_figure  # the only way to matplotlib

    drawn = [series(*pair, delta) for pair in zip(tallies, labels, strict=True)]
    picture = success_figure.figure(drawn, common, delta=delta, note=f"ltjax {ltjax.__version__}")
    files.write_atomic(out, success_figure.render(picture, Path(out).suffix))


@np.errstate(under="ignore")
def plot_widths(
    tallies: Sequence[Tally],
    out: FilePath,
    x: str | Callable[[Problem], float] = "dim",
    group: str | Callable[[Problem], object] | None = None,
    criterion: str | None = None,
    delta: float = DELTA,
) -> None:
    """Draw the width needed for success 1 - delta against a number of the problem.

    Args:
        tallies: of many problems, from `sweep` or `load`.
        out: .pdf, .svg or .png file.
        x: what tells the problems apart: a field of their configurations, "epsilon" for each of
            their epsilons, or a function of a problem.
        group: what makes one line of several records: the same, and None for one line.
        criterion: as of `table`; one panel for each construction.
        delta: failure probability.
    """
    if not tallies:
        raise InputError("tallies must hold at least one record, got none.")
    from ltjax.results import line_figure, success_figure  # the only way to matplotlib

    names = chosen(tallies[0].problem, criterion)
    drawn = [series(tally, str(i + 1), delta) for i, tally in enumerate(tallies)]
    ylabel = f"{tallies[0].problem.config.width_label} for success {1 - delta:g}"
    xlabel = x if isinstance(x, str) else getattr(x, "__name__", "x")
    panels = [
        line_figure.Panel(
            title=name.split("/")[0],
            xlabel=xlabel,
            ylabel=ylabel,
            lines=line_figure.needed_lines(drawn, name, delta, _reader(x), _reader(group)),
        )
        for name in names
    ]
    caption = f"{words.sources(drawn)} ltjax {ltjax.__version__}"
    picture = line_figure.chart(panels, caption)
    files.write_atomic(out, success_figure.render(picture, Path(out).suffix))


def _reader(what: str | Callable | None) -> Callable[[Problem, float], Any]:
    """A function of a problem and one of its epsilons, from what `plot_widths` is told."""
    if what is None:
        return lambda problem, epsilon: ""
    if what == "epsilon":
        return lambda problem, epsilon: epsilon
    if isinstance(what, str):
        return lambda problem, epsilon: _field(problem, what)
    return lambda problem, epsilon: what(problem)


def _field(problem: Problem, name: str) -> Any:
    config = problem.config
    if not hasattr(config, name):
        raise InputError(f"x and group must be fields of the configuration, got {name}.")
    return getattr(config, name)


def chosen(problem: Problem, criterion: str | None) -> list[str]:
    """The criteria of a rule, or the one named; by default of the experiment's main rule."""
    names = [c.name for c in problem.criteria]
    rules = list(dict.fromkeys(c.rule for c in problem.criteria))
    if criterion is None:
        usual = problem.config.default_rule
        criterion = usual if usual in rules else rules[0]
    found = [c.name for c in problem.criteria if criterion in (c.name, c.rule)]
    if not found:
        raise InputError(
            f"criterion must be one of {', '.join([*rules, *names])}, got {criterion}."
        )
    return found
