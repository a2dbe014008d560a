"""Any law, any mask rule, the host's part: known answers, and verdicts settled in float64.

The ticket is what the device kept. Its products are drawn again from their addresses, by numpy and
by the law's own text in float64, so that a rule decides what is kept and nothing else.
"""

import numpy as np

from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.network.host import bracket, slot_rule
from ltjax.experiments.neuron.host import slot_rules, suprema
from ltjax.experiments.own.config import Own
from ltjax.masks import rules
from ltjax.masks.rules import MaskRule
from ltjax.networks.pairs import Pair
from ltjax.networks.pruned import slots
from ltjax.problem.problem import Problem
from ltjax.supnorm.one_neuron import holds_inside
from ltjax.weights import laws, redraw
from ltjax.weights.laws import Law

CHECKED = 16  # trials whose slot errors a known-answer check draws again


def at_hand(config: Own) -> tuple[Law, tuple[MaskRule, ...]]:
    """The law and the rules that a configuration names; `InputError` where one is not at hand."""
    law = laws.found(config.law, config.law_source)
    if law is None:
        raise InputError(_missing("law", config.law, laws.known()))
    return law, rules_at_hand(config)


def rules_at_hand(config) -> tuple[MaskRule, ...]:
    """The mask rules that a configuration names, by `rules` and `sources`; or `InputError`."""
    found = []
    for name, source in zip(config.rules, config.sources, strict=True):
        rule = rules.known().get(name)
        if rule is None or rule.source != source:
            raise InputError(_missing("rule", name, rules.known()))
        found.append(rule)
    return tuple(found)


def _missing(kind: str, name: str, known) -> str:
    got = "another text of that name" if name in known else "none"
    return f"{kind} {name} must be at hand as it was recorded (--plugin, or import it), got {got}."


def slot_errors(problem: Problem[Own], trials, kept) -> tuple[np.ndarray, ...]:
    """Exact slot errors of what was kept, layer by layer: float64 [n, side, n_out, n_in].

    Args:
        trials: [n].
        kept: for every layer bool [n, side, n_out, n_in, block].
    """
    law, _ = at_hand(problem.config)
    errors = []
    for layer, (keep, target) in enumerate(zip(kept, problem.arrays, strict=True)):
        n_out, n_in = target.shape
        block = keep.shape[-1]
        neurons = np.arange(n_in * block)
        output, hidden = redraw.random_layer(
            problem.seed, trials, neurons, n_in, n_out, layer, law=law
        )
        own = hidden[:, neurons, neurons % n_in].reshape(-1, block, n_in)
        product = output.reshape(len(own), n_out, block, n_in) * own[:, None]
        product = np.moveaxis(product, 2, 3)[:, None]  # [n, 1, n_out, n_in, block]
        errors.append(np.where(keep, product, 0.0).sum(axis=-1) - target)
    return tuple(errors)


def _closed(problem: Problem[Own], trials, kept, width: int) -> bool:
    """Whether a neuron is kept that is of the other side, or beyond the width."""
    config = problem.config
    law, _ = at_hand(config)
    for layer, (keep, (sides, n_out, n_in)) in enumerate(
        zip(kept, slots(config.sizes), strict=True)
    ):
        block = keep.shape[-1]
        neurons = np.arange(n_in * block)
        _, hidden = redraw.random_layer(problem.seed, trials, neurons, n_in, n_out, layer, law=law)
        own = np.moveaxis(hidden[:, neurons, neurons % n_in].reshape(-1, block, n_in), 1, 2)
        there = (width if config.of == "neuron" else width * n_in) > neurons.reshape(block, n_in).T
        signs = np.array([1.0, -1.0])[:sides, None, None, None]
        open_ones = (signs * own[:, None, None] > 0) & there
        if np.any(keep & ~open_ones):
            return True
    return False


def check(problem: Problem[Own], trials, lower, upper, kept, errors, points) -> None:
    """Known-answer check of the rules and the compiled kernel, on the first trials.

    Raises:
        InputError: a rule keeps a neuron that is closed to its slot.
        WrongKernelError: a bracket misses the float64 value.
    """
    some, config = trials[:CHECKED], problem.config
    law, _ = at_hand(config)
    for r, rule in enumerate(config.rules):
        for w, width in enumerate(problem.grid.widths):
            here = tuple(layer[: len(some), r, w] for layer in kept)
            if _closed(problem, some, here, width):
                raise InputError(f"rule {rule} must keep open neurons alone, got a closed one.")
            exact = slot_errors(problem, some, here)
            for c, criterion in enumerate(problem.criteria):
                if criterion.family != rule or criterion.rule == "sup":
                    continue
                value = _values(problem, exact, criterion.rule)
                low, high = (x[: len(some), c, w].astype(np.float64) for x in (lower, upper))
                sound = np.isfinite(low) & np.isfinite(high)
                if np.any(sound & ~((low <= value) & (value <= high))):
                    raise WrongKernelError(
                        f"the compiled kernel is wrong at {criterion.name}, width {width}: its "
                        "bracket misses the value drawn on the host; or the law is further off in "
                        f"float32 than its rounding, {law.rounding:g}."
                    )


def _values(problem: Problem[Own], errors, measure: str) -> np.ndarray:
    """slides, tight or l2 of slot errors a layer, float64 [n]."""
    if problem.config.of == "neuron":
        return slot_rules(errors[0][:, :, 0])[measure]
    worst = np.stack([np.abs(error).max(axis=(1, 2, 3)) for error in errors])
    return np.array([slot_rule(measure, problem.config.shapes, each) for each in worst.T])


def settle(problem: Problem[Own], trials, lower, upper, kept, errors, points):
    """Narrow the brackets in float64, as far as an epsilon lies inside one.

    Args:
        trials: trial numbers, [n].
        lower, upper, kept, errors, points: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width].
    """
    trials, config = np.asarray(trials), problem.config
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    epsilons = np.array(problem.grid.epsilons)
    inside = holds_inside(lower, upper, epsilons).any(axis=-1)
    for c, criterion in enumerate(problem.criteria):
        r = config.rules.index(criterion.family)
        for k in np.flatnonzero(inside[:, c].any(axis=0)):
            n = np.flatnonzero(inside[:, c, k])
            exact = slot_errors(problem, trials[n], tuple(layer[n, r, k] for layer in kept))
            if criterion.rule != "sup":
                ends = (_values(problem, exact, criterion.rule),) * 2
            elif config.of == "neuron":
                ends = suprema(problem.target, exact[0][:, :, 0], epsilons)
            else:
                pair = Pair(problem.arrays, exact, config.last)
                ends = bracket(pair, points[n, r, k], upper[n, c, k], epsilons, "sup")
            lower[n, c, k], upper[n, c, k] = ends
    return lower, upper
