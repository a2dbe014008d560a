"""What is predicted of a network, whose widths are block sizes, or neurons of a layer.

*/sup, */tree  >= */tight, whose slots keep the supremum below epsilon: the proof is that of
               `theory.layers.slot_tolerance`, and holds for every ticket within the tolerance.

pooled/sup and pooled/tree have none: a ticket repaired in a few rounds need not be the best, so
that nothing is proved of it.
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
    pool_bounds,
    predictions,
    stack,
)


def predict(problem: Problem[Network]) -> dict[str, Prediction]:
    """Curves and bounds by criterion, in the order of `problem.criteria`."""
    config, target = problem.config, problem.target
    asked, shapes = config.rules, layers.shapes(target)
    m = np.asarray(problem.grid.widths)
    curves: Curves = {}
    for construction in config.constructions:
        counts = config.counts(construction) if config.of_layers else None
        for rule in box_rules(asked, bounded=SUPREMA):
            etas = [layers.slot_tolerance(rule, shapes, e) for e in problem.grid.epsilons]
            if construction == "pooled":
                bounds = stack([pool_bounds(target, eta, m) for eta in etas])
            else:
                bounds = stack(
                    [network_bounds(construction, target, eta, m, counts) for eta in etas]
                )
            curves[f"{construction}/{rule}"] = kind_of(*bounds), *bounds
        for rule in set(SUPREMA) & set(asked) if construction != "pooled" else ():
            lower = curves[f"{construction}/tight"][1]
            curves[f"{construction}/{rule}"] = "lower", lower, np.ones_like(lower)
    return predictions(problem.criteria, curves)


def lemma(problem: Problem[Network], epsilon: float, delta: float) -> int:
    """The block size of the paper's lemma, or its layer's width: with a block for each weight."""
    if problem.config.of_layers:
        return theory.network_lemma_width(problem.config.sizes, epsilon, delta)
    return theory.network_lemma_block(problem.config.sizes, epsilon, delta)


def facts(problem: Problem[Network]) -> list[str]:
    """How many weights a ticket keeps, and which error is no achievement."""
    config = problem.config
    there = sum(n_out * n_in for n_out, n_in in config.shapes)
    reach = pairs.reach(problem.arrays, config.last)
    blocks = {"blocks": "floor(k / n_in) an input", "separate": "floor(k / (n_in n_out)) a weight"}
    shares = [f"{name} keeps {blocks[name]}" for name in config.constructions if name in blocks]
    axis = f"of k neurons a layer pooled opens all to every weight, {', '.join(shares)}"
    return [
        *([axis] if config.of_layers and shares else []),
        f"active weights: at most {theory.active_weights_bound(config.sizes):,} in a ticket, "
        f"{there:,} in the target",
        f"keeping nothing errs by at least {decimals.below(reach)}",
    ]


def widths(
    problem: Problem[Network], criterion: Criterion, epsilon: float, delta: float
) -> tuple[str, str]:
    """Smallest width, exact, one that suffices or two bounds, and the asymptotic one, as text."""
    if criterion.rule in SUPREMA:
        return UNKNOWN
    config, asked = problem.config, (problem.target, criterion.rule, epsilon, delta)
    sizes = config.sizes
    counts = config.counts(criterion.family) if config.of_layers else [1]
    unit, order = max(counts), "-"
    if min(sizes[:-1]) >= 2:
        order = as_text(unit * theory.asymptotic_block(criterion.rule, sizes, epsilon, delta))
    if criterion.family == "pooled":
        low, high = theory.network_pool_width(*asked)
        return f"{low} to {high}", order
    block, exact = theory.block_size(criterion.family, *asked)
    # Layers of fewer blocks could do with fewer neurons, and have as many.
    exact = exact and min(counts) == unit
    return f"{unit * block}" if exact else f"at most {unit * block}", order
