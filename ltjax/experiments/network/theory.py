"""What is predicted of a network, whose widths are block sizes.

*/sup, */tree  >= */tight, whose slots keep the supremum below epsilon: the proof is that of
               `theory.layers.slot_tolerance`, and holds for every ticket within the tolerance.
"""

import numpy as np

from ltjax import decimals, theory
from ltjax.experiments.network.config import SUPREMA, Network
from ltjax.networks import pairs
from ltjax.problem.criterion import Criterion
from ltjax.problem.problem import Problem
from ltjax.theory import layers
from ltjax.theory.prediction import (
    UNKNOWN,
    Curves,
    Prediction,
    as_text,
    box_rules,
    kind_of,
    network_bounds,
    predictions,
    stack,
)


def predict(problem: Problem[Network]) -> dict[str, Prediction]:
    """Curves and bounds by criterion, in the order of `problem.criteria`."""
    asked, shapes = problem.config.rules, layers.shapes(problem.target)
    m = np.asarray(problem.grid.widths)
    curves: Curves = {}
    for construction in problem.config.constructions:
        for rule in box_rules(asked, bounded=SUPREMA):
            etas = [layers.slot_tolerance(rule, shapes, e) for e in problem.grid.epsilons]
            bounds = stack([network_bounds(construction, problem.target, eta, m) for eta in etas])
            curves[f"{construction}/{rule}"] = kind_of(*bounds), *bounds
        for rule in set(SUPREMA) & set(asked):
            lower = curves[f"{construction}/tight"][1]
            curves[f"{construction}/{rule}"] = "lower", lower, np.ones_like(lower)
    return predictions(problem.criteria, curves)


def lemma(problem: Problem[Network], epsilon: float, delta: float) -> int:
    """The block size of the paper's lemma."""
    return theory.network_lemma_block(problem.config.sizes, epsilon, delta)


def facts(problem: Problem[Network]) -> list[str]:
    """How many weights a ticket keeps, and which error is no achievement."""
    config = problem.config
    there = sum(n_out * n_in for n_out, n_in in config.shapes)
    reach = pairs.reach(problem.arrays, config.last)
    return [
        f"active weights: at most {theory.active_weights_bound(config.sizes):,} in a ticket, "
        f"{there:,} in the target",
        f"keeping nothing errs by at least {decimals.below(reach)}",
    ]


def widths(
    problem: Problem[Network], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """Smallest block, exact or one that suffices, and the asymptotic one, as text; - for none."""
    if criterion.rule in SUPREMA:
        return UNKNOWN
    sizes, rule = problem.config.sizes, criterion.rule
    block, exact = theory.block_size(criterion.family, problem.target, rule, epsilon, delta)
    narrow = min(sizes[:-1]) < 2
    order = "-" if narrow else as_text(theory.asymptotic_block(rule, sizes, epsilon, delta))
    return f"{block}" if exact else f"at most {block}", order
