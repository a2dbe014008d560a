"""Verdicts of a record, drawn at random: each as the ticket that it is about.

A record holds counts, and a trial is a function of its number. So it is run again, and what it
keeps in a cell is a ticket of that trial, whose weights no file needs.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ltjax.counting import engine
from ltjax.counting.tally import Tally
from ltjax.errors import InputError
from ltjax.experiments.network import host
from ltjax.experiments.network.config import SUPREMA
from ltjax.problem.experiment import experiment
from ltjax.system import devices
from ltjax.tickets import archive
from ltjax.tickets.archive import Ticket

MOST = 10_000


class Cell(NamedTuple):
    """One verdict, and the ticket of its trial; the ticket's epsilon is that of the cell.

    word: HOLDS, REFUTED or UNDECIDED.
    """

    trial: int
    criterion: str
    width: int
    word: str
    ticket: Ticket


def check(tally: Tally, number: int) -> None:
    """`InputError` unless so many verdicts on suprema can be drawn of a record."""
    problem = tally.problem
    if problem.experiment != "network" or not set(SUPREMA) & set(problem.config.rules):
        raise InputError(
            f"record must be of networks by rule {' or '.join(SUPREMA)}, whose verdicts are about "
            f"suprema, got {problem.experiment}."
        )
    if not 1 <= number <= MOST:
        raise InputError(f"cells must be between 1 and {MOST:,}, got {number}.")
    if tally.trials == 0:
        raise InputError("record must hold trials, got none.")


def drawn(tally: Tally, number: int, seed: int) -> Iterator[Cell]:
    """Cells of a record of networks, each of a trial, a criterion, a width and an epsilon by lot.

    Args:
        tally, number: that pass `check`.
        seed: of the lot.
    """
    problem = tally.problem
    measured = experiment(problem.experiment).measured
    program = engine.prepare(measured, problem, devices.devices()[:1], lanes=1)
    rng = np.random.default_rng(seed)
    judged = [c for c, one in enumerate(problem.criteria) if one.rule in SUPREMA]
    counted = np.cumsum([stop - start for start, stop in tally.ranges])
    for _ in range(number):
        place = int(rng.integers(tally.trials))
        part = int(np.searchsorted(counted, place, side="right"))
        trial = tally.ranges[part][1] - int(counted[part]) + place
        c, k = int(rng.choice(judged)), int(rng.integers(len(problem.grid.widths)))
        epsilon = float(rng.choice(problem.grid.epsilons))
        with devices.own_settings():
            outcome = [np.array(x) for x in program.step(trial)[0]]
        yield _cell(problem, trial, c, k, epsilon, outcome)


def _cell(problem, trial, c, k, epsilon, outcome):
    """A verdict as a run gives it: by the device, and by the host where that leaves it open."""
    lower, upper, neurons, points, errors = outcome
    others = np.ones(lower.shape, bool)
    others[0, c, k] = False
    lower[others] = upper[others] = 0.0  # not to be settled
    lower, upper = host.settle(problem, [trial], lower, upper, neurons, points, errors)
    low, high = lower[0, c, k], upper[0, c, k]
    config, (construction, *_) = problem.config, problem.criteria[c]
    width, kept = problem.grid.widths[k], neurons[0, config.constructions.index(construction), k]
    counts = config.counts(construction)
    parts = zip(host.layers(kept[None], config.sizes), counts, strict=True)
    ticket = Ticket(
        seed=problem.seed,
        sizes=config.sizes,
        last=config.last,
        construction=construction,
        scales=(1.0,) * len(counts),
        blocks=tuple(
            max(n // count, 1)
            for n, count in zip(config.neurons(construction, width), counts, strict=True)
        ),
        ranks=tuple(np.where(one < 0, -1, one // count)[0] for one, count in parts),
        target=archive.digest(problem.arrays, config.last),
        epsilon=epsilon,
    )
    word = "HOLDS" if high <= epsilon else "REFUTED" if low > epsilon else "UNDECIDED"
    return Cell(trial, problem.criteria[c].name, width, word, ticket)
