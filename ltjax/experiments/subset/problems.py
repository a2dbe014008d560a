"""The problem of one weight met by a subset sum, from what a user asks for."""

import math
from collections.abc import Sequence

from ltjax.errors import InputError
from ltjax.experiments.subset.config import FINE, MAX_CANDIDATES, MAX_LISTED, Subset
from ltjax.problem.problem import Grid, Problem, asked_grid

COARSE = 10  # bits of the coarsest grid on which targets are covered


def subset(
    laws: Sequence[str] = ("uniform", "product"),
    epsilons: Sequence[float] = (0.1, 0.01),
    widths: Sequence[int] | None = None,
    target: float | str = 0.5,
    events: Sequence[str] = ("target", "cover"),
    span: float = 0.5,
    kept: int | None = None,
    moved: float | None = None,
    largest: int = 1024,
    seed: int = 0,
) -> Problem:
    """The problem of meeting one weight by the sum of a subset of n random candidates.

    Args:
        laws: of the candidates: uniform (U[-1, 1]), product (of two such), side (those products of
            a block of n whose hidden weight is positive), gaussian (N(0, 1/3)), hyperbolic,
            integer (-M, ..., M over M).
        epsilons: errors allowed, in (0, 1).
        widths: numbers n of candidates, at most 31; by default from 1 to where covers are found,
            or to 16 with `kept` or `moved`.
        target: a number, or random for one of U[-1, 1] in every trial.
        events: target (a subset sum within epsilon of the target) and cover (of every target of an
            interval), or one of them.
        span: a, of the interval [-a, a] to be covered.
        kept: count as well subsets of exactly so many elements.
        moved: count as well subsets whose elements may each move by so much.
        largest: M of integers.
        seed: 0 <= seed < 2^32.
    """
    if "sign" in laws:
        raise InputError(
            "laws must be such as approximate a weight, got sign: sums of +1 and -1 are integers."
        )
    fixed = None if target == "random" else _number(target)
    more = (("size", kept), ("moved", moved))
    events = (*events, *(event for event, value in more if value is not None))
    grid = asked_grid(widths, epsilons)
    if widths is None:
        most = MAX_LISTED if {"size", "moved"} & set(events) else _default(laws, grid.epsilons[-1])
        grid = Grid(widths=tuple(range(1, most + 1)), epsilons=grid.epsilons)
    most = max(grid.widths)
    # On this grid the rounding of n numbers is a sixteenth of the least epsilon.
    bits = math.ceil(math.log2(8 * most / grid.epsilons[-1]))
    config = Subset(
        laws=tuple(laws),
        events=events,
        target=fixed,
        span=span,
        kept=0 if kept is None else kept,
        moved=0.0 if moved is None else moved,
        largest=largest if "integer" in laws else 0,
        most=most,
        cover_bits=min(max(bits, COARSE), FINE - 6),
    )
    return Problem(config=config, target=(), grid=grid, seed=seed, experiment="subset")


def _default(laws: Sequence[str], epsilon: float) -> int:
    """Candidates beyond those that an interval takes in the median, about 1.2 log2(1/epsilon)."""
    most = 10 + math.ceil(1.25 * math.log2(1.0 / epsilon))
    return min(MAX_CANDIDATES, 2 * most if "side" in laws else most)


def _number(target) -> float:
    try:
        value = float(target)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"target must be random or a finite number, got {target!r}.")
    return value
