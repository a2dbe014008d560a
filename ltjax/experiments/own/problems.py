"""The problem of a law and mask rules of one's own, from what a user asks for."""

from collections.abc import Iterable, Sequence

import numpy as np

from ltjax.errors import InputError
from ltjax.experiments.own.config import MEASURES, Own
from ltjax.masks import rules as mask_rules
from ltjax.masks.rules import MaskRule
from ltjax.problem.problem import Grid, Problem, asked_grid
from ltjax.weights import laws
from ltjax.weights.laws import Law


def own(
    of: str,
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
    """The problem of a target under a law and mask rules, by blocks.

    Args:
        of: neuron or network.
        target: weights of a neuron, or matrices of a network, within the hypotheses.
        widths: neurons k of a neuron, block sizes m of a network; by default twelve, rising from
            4 to 256 neurons a slot, or to 64 where `subset` is the only mask rule and needs no
            more: those where exact curves rise would be a prediction.
        law: of all random weights; U[-1, 1] by default.
        rules: mask rules and error measures, in one list; `nearest` where no mask rule is among
            them, and all measures where no measure is.
        constructions: those asked for, blocks among them.
    """
    if "blocks" not in constructions:
        found = ", ".join(constructions) or "none"
        raise InputError(f"constructions must be blocks beside a law or mask rule, got {found}.")
    asked = list(rules)
    measures = tuple(rule for rule in asked if rule in MEASURES[of])
    masks = tuple(named_rule(rule, of) for rule in asked if rule not in MEASURES[of])
    masks = masks or (mask_rules.nearest,)
    chosen = _law(law)
    grid = asked_grid(widths, epsilons)
    if widths is None:
        most = 64 if masks == (mask_rules.subset,) else 256
        blocks = np.unique(np.geomspace(4, most, 12).round().astype(int))
        rising = tuple((blocks * (sizes[0] if of == "neuron" else 1)).tolist())
        grid = Grid(widths=rising, epsilons=grid.epsilons)
    config = Own(
        of=of,
        sizes=tuple(sizes),
        last=last,
        law=chosen.name,
        law_source=chosen.source,
        rules=tuple(rule.name for rule in masks),
        sources=tuple(rule.source for rule in masks),
        measures=measures or MEASURES[of],
        most=max(grid.widths),
    )
    checked = config.check_target(target)
    return Problem(config=config, target=checked, grid=grid, seed=seed, experiment="own")


def _law(law: Law | str | None) -> Law:
    if law is None or isinstance(law, str):
        return laws.named(law or "uniform")
    return laws.register(law)


def named_rule(rule: MaskRule | str, of: str) -> MaskRule:
    """A mask rule by its name, or as it is; `InputError` of none, among the measures of `of`."""
    if isinstance(rule, MaskRule):
        return mask_rules.register(rule)
    known = mask_rules.known()
    if not isinstance(rule, str) or rule not in known:
        raise InputError(
            f"rules must be taken from {', '.join(MEASURES[of])} and, as mask rules, "
            f"{', '.join(known)}, got {rule}."
        )
    return known[rule]
