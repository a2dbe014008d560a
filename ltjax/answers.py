"""What theory answers before anything is drawn, as text: widths, and facts of a problem."""

import math
from collections.abc import Sequence

from ltjax import decimals, networks, theory
from ltjax.configs import SUPREMA, Features, Network, Neuron, Training
from ltjax.errors import TooWideError
from ltjax.problem import MAX_WIDTH, Problem

FAMILIES = ("blocks", "shared", "pooled")
NONE = "-", "-"


def facts(problem: Problem) -> list[str]:
    """Lines on what success means here, beyond the grid."""
    config = problem.config
    if isinstance(config, Network):
        there = sum(n_out * n_in for n_out, n_in in config.shapes)
        reach = networks.reach(problem.weights, config.last)
        return [
            f"active weights: at most {theory.active_weights_bound(config.sizes):,} in a ticket, "
            f"{there:,} in the target",
            f"keeping nothing errs by at least {decimals.below(reach)}",
        ]
    if isinstance(config, Features):
        return [
            f"{config.features} random features ({config.law}, {config.activation}) with "
            f"coefficients within C = {config.cap:.4g} reach the {config.loss} loss "
            f"L0 = {config.baseline:.4g}; epsilon is what may come on top",
            f"inputs: {config.data}; the loss is "
            + (f"estimated from {config.samples:,} a trial" if config.samples else "exact"),
        ]
    if isinstance(config, Training):
        return [
            f"{config.data}, {config.hidden} hidden of a width, {config.steps} steps of "
            f"{config.batch} examples; epsilon is test accuracy lost against the dense network"
        ]
    return []


def widths(problem: Problem, name: str, epsilon: float, delta: float) -> tuple[str, str]:
    """Exact (or bracketed) smallest width or block, and the asymptotic one, as text; - for none."""
    config, (construction, rule) = problem.config, name.split("/")
    if isinstance(config, Neuron):
        return neuron_widths(problem.target, name, epsilon, delta)
    if not isinstance(config, Network) or rule in SUPREMA:
        return NONE
    block, exact = theory.block_size(construction, problem.target, rule, epsilon, delta)
    narrow = min(config.sizes[:-1]) < 2
    order = "-" if narrow else _told(theory.asymptotic_block(rule, config.sizes, epsilon, delta))
    return f"{block}" if exact else f"at most {block}", order


def neuron_widths(
    target: Sequence[float], name: str, epsilon: float, delta: float
) -> tuple[str, str]:
    """`widths` of one neuron with these weights."""
    family, rule = name.split("/")
    if rule not in ("slides", "tight"):
        return NONE
    eta = theory.tolerance(rule, len(target), epsilon)
    shared = theory.sharp_width(target, eta, delta)
    blocks = shared * len(target)
    sharp = _told(blocks if family == "blocks" else shared)
    try:
        if family == "blocks":
            return f"{theory.blocks_width(target, eta, delta)}", sharp
        if family == "shared":
            return f"{theory.shared_width(target, eta, delta)}", sharp
        low, high = theory.pooled_width(target, eta, delta)
        return f"{low} to {high}", sharp
    except TooWideError:
        return f"over {MAX_WIDTH}", sharp


def _told(width: float) -> str:
    """An asymptotic width, or - where it is none."""
    return "-" if math.isnan(width) else f"{width:.0f}"


def table(problem: Problem, delta: float) -> str:
    """What `ltjax width` answers: every construction and tolerance, without drawing anything."""
    dim, target = problem.config.dim, problem.target
    lines = [f"smallest width k for success 1 - {decimals.exact(delta)}, one neuron, d = {dim}"]
    for epsilon in problem.grid.epsilons:
        head = f"epsilon {decimals.exact(epsilon)}"
        lines += ["", f"{head:<20} {'exact':<23} {'asymptotic':<12} leading order, worst target"]
        for name in [f"{f}/{rule}" for rule in ("slides", "tight") for f in FAMILIES]:
            exact, sharp = neuron_widths(target, name, epsilon, delta)
            leading = _leading(name, dim, epsilon, delta)
            lines.append(f"  {name:<18} {exact:<23} {sharp:<12} {leading}")
        lines.append(f"  {'the paper: lemma':<18} {theory.lemma_width(dim, epsilon, delta)}")
    return "\n".join(lines)


def _leading(name: str, dim: int, epsilon: float, delta: float) -> str:
    if dim < 2:
        return "-"
    family, rule = name.split("/")
    width = theory.leading_width(rule, dim, epsilon, delta)
    return _told(width * (dim if family == "blocks" else 1))
