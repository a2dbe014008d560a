"""The problem of a network pruned by copies, from what a user asks for."""

from collections.abc import Iterable, Sequence

from ltjax.errors import InputError
from ltjax.experiments.copies.config import Copies
from ltjax.experiments.network.config import Network
from ltjax.experiments.own.problems import named_rule
from ltjax.masks import rules as mask_rules
from ltjax.problem.problem import Grid, Problem, asked_grid
from ltjax.weights.laws import Law, is_paper

DEFAULT = (8, 12, 16, 20, 24, 28, 32, 36)


def copies(
    sizes: Sequence[int],
    last: str,
    target,
    epsilons: Sequence[float],
    widths: Sequence[int] | None,
    law: Law | str | None,
    rules: Iterable,
    constructions: Sequence[str],
    seed: int,
) -> Problem:
    """The problem of a target network pruned from a random one of depth l + 1.

    Args:
        target: matrices of a network, within the hypotheses.
        widths: block sizes m, each also a number of copies; by default 8 to 36.
        law: U[-1, 1], by name or as it is.
        rules: mask rules, by default subset; and sup, or all of `Network.rules`, its default.
        constructions: copies alone.
    """
    if tuple(constructions) != ("copies",):
        found = ", ".join(constructions)
        raise InputError(f"constructions must be copies alone, where it is asked, got {found}.")
    if not is_paper(law):
        raise InputError(f"law must be uniform with copies, got {getattr(law, 'name', law)}.")
    asked = tuple(rules)
    measures = tuple(rule for rule in asked if rule in (*Network.rules, "tree"))
    if not set(measures) <= {"sup"} and measures != Network.rules:
        raise InputError(f"rules must be sup with copies, got {', '.join(measures)}.")
    masks = tuple(named_rule(rule, "network") for rule in asked if rule not in measures)
    masks = masks or (mask_rules.subset,)
    grid = asked_grid(widths, epsilons)
    if widths is None:
        grid = Grid(widths=DEFAULT, epsilons=grid.epsilons)
    config = Copies(
        sizes=tuple(sizes),
        last=last,
        rules=tuple(rule.name for rule in masks),
        sources=tuple(rule.source for rule in masks),
        most=max(grid.widths),
    )
    checked = config.check_target(target)
    return Problem(config=config, target=checked, grid=grid, seed=seed, experiment="copies")
