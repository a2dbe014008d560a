"""What one does with a problem, from Python: `run`, `until`, `predict`, `table`, `plot`."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

import numpy as np

import ltjax
from ltjax.counting import plans
from ltjax.counting.records import Log
from ltjax.counting.tally import Batch, Memory, Tally
from ltjax.errors import InputError
from ltjax.problem.experiment import experiment
from ltjax.problem.problem import Problem
from ltjax.results import tables
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


@np.errstate(under="ignore")
def until(
    problem: Problem,
    half_width: float | None = None,
    failures: int | None = None,
    at: tuple[str, int, float] | None = None,
) -> plans.Until:
    """The rule that stops at whichever of the two comes first; see `plans.until`.

    By default it watches the main criterion at the smallest epsilon and the width whose predicted
    success is nearest to 1/2, where intervals are widest.
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
        criterion: a rule (slides, tight, l2, sup) or one criterion, as blocks/tight; by default
            tight of a neuron, sup of a network.
        every: all widths instead of a readable handful.
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
    """Draw success against width, a panel for each construction, to a .pdf, .svg or .png file."""
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
