"""The two conjectures: what training does. Not of the theorem, and not provable by a run.

The subject of a row is a function (size, seed) -> `Event`: a problem of training, and the criterion
whose successes are counted.
"""

from importlib.util import find_spec
from typing import NamedTuple

from ltjax.audits.claim import (
    LEVEL,
    Claim,
    Count,
    Finding,
    Judgement,
    at_least,
    judge,
    tally_counts,
)
from ltjax.experiments.training.problems import imp, popup
from ltjax.problem.problem import Problem


class Event(NamedTuple):
    """A criterion of a problem of one width and one epsilon."""

    problem: Problem
    criterion: str


def winning(size, seed: int) -> Event:
    """Tickets by magnitude, rewound to their first weights and trained for as many steps."""
    keeps, margin = size["keeps"], size["margin"]
    problem = imp(size["data"], (size["width"],), keeps, (margin,), seed)
    return Event(problem, f"ticket/{min(keeps):g}")


def supermask(size, seed: int) -> Event:
    """Masks of random weights by edge-popup."""
    keep, margin = size["keep"], size["margin"]
    problem = popup(size["data"], (size["width"],), (keep,), (margin,), seed)
    return Event(problem, f"popup/{keep:g}")


def _conjecture(size, seed: int, subject, count: Count) -> Finding:
    """From how many starts the subnetwork is as accurate as the trained network, to a margin."""
    if find_spec("sklearn") is None:
        reason = "scikit-learn is missing: pip install 'ltjax[data]'"
        return Finding(Judgement.NOT_RUN, (), note=reason)
    problem, criterion = subject(size, seed)
    (width,), (margin,) = problem.grid.widths, problem.grid.epsilons
    won, undecided, _ = tally_counts(count(problem, size["starts"]), criterion, width, margin)
    says = f"{size['data']}, n = {width}, {criterion}: starts that lose at most {margin:g}"
    check = at_least(says, size["share"], won, size["starts"], LEVEL, undecided)
    return judge([], [check], best=Judgement.CONSISTENT, alpha=LEVEL)


DIGITS = "One data set and small networks: what is seen here may be so elsewhere, no more."

CLAIMS = (
    Claim(
        name="winning-ticket",
        where="Conjecture (Frankle, Carbin)",
        statement="A dense network holds a subnetwork that, trained alone from the same start, is "
        "as accurate as the whole in at most as many steps.",
        hypotheses="None stated.",
        limits=DIGITS,
        expected=Judgement.CONSISTENT,
        run=_conjecture,
        subject=winning,
        quick={
            "data": "digits",
            "width": 128,
            "keeps": [0.5, 0.2],
            "margin": 0.03,
            "share": 0.5,
            "starts": 40,
        },
        full={"keeps": [0.8, 0.5, 0.2, 0.1], "width": 256, "starts": 100},
    ),
    Claim(
        name="supermask",
        where="Conjecture (Ramanujan et al.)",
        statement="A wide enough random network holds, without any training of weights, a "
        "subnetwork of competitive accuracy.",
        hypotheses="Wide enough.",
        limits=DIGITS,
        expected=Judgement.CONSISTENT,
        run=_conjecture,
        subject=supermask,
        quick={
            "data": "digits",
            "width": 256,
            "keep": 0.5,
            "margin": 0.03,
            "share": 0.5,
            "starts": 40,
        },
        full={"width": 512, "starts": 100},
    ),
)
