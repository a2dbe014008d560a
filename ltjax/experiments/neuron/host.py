"""One neuron, the host's part: known answers, and verdicts settled in float64.

Whole networks are drawn again from their seed, by numpy, for the cells where an epsilon lies inside
the slack of float32, inside the bracket of a repaired matching, or inside the bounds on a supremum.
"""

import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.experiments.neuron.config import Neuron
from ltjax.masks import matching, nearest
from ltjax.networks import pruned
from ltjax.networks.pairs import Pair
from ltjax.problem.problem import Problem
from ltjax.supnorm import bounds, one_neuron, sets
from ltjax.weights import redraw

CHECKED_WIDTH = 2**14  # the widest network that a known-answer check draws
DRAWN_AT_ONCE = 2**17  # hidden weights that the host holds


def check(problem: Problem[Neuron], trials, lower, upper, neurons, errors) -> None:
    """Known-answer check of the compiled kernel against the host.

    Brackets and tickets of the first of these trials, and thousands of slot errors.

    Raises:
        WrongKernelError: a bracket or a slot error misses the float64 value, or a ticket is none.
    """
    names = [(criterion.family, criterion.rule) for criterion in problem.criteria]
    widths, dim = np.array(problem.grid.widths), problem.config.dim
    k = max(int(np.searchsorted(widths, CHECKED_WIDTH)) - 1, 0)
    scales = [0.0 if rule == "sup" else 1.0 / slot_scale(rule, dim) for _, rule in names]
    known = _nearest(
        problem, trials[0], int(widths[k]), 1.001 * np.fmax.reduce(scales * upper[0, :, k])
    )
    tickets = pruned.ticket_errors(
        problem.seed, np.repeat(trials[:1], len(neurons[0])), neurons[0, :, k], problem.target
    )
    for (family, rule), low, high in zip(names, lower[0, :, k], upper[0, :, k], strict=True):
        if family == "pooled" or rule == "sup":
            # `upper` speaks of the ticket in hand, `lower` of none that is worse.
            ticket = tickets[problem.config.constructions.index(family)][None]
            bound = least = most = slot_rules(ticket)["l2" if rule == "sup" else rule][0]
            if rule == "sup":
                ends = np.array([low, high], np.float64)
                [least], [most] = one_neuron.neuron_supremum(problem.target, ticket, ends)
            holds = low <= most and least <= high <= 1.001 * bound + 1e-5
        else:
            holds = low <= known[family, rule] <= high
        if not holds:
            raise WrongKernelError(
                f"the compiled kernel is wrong at {family}/{rule}, width {widths[k]}: its bracket "
                f"[{low:.8g}, {high:.8g}] misses the value drawn on the host."
            )
    some = slice(max(1, nearest.CHECKED // errors[0].size))
    for at in range(errors.shape[1]):
        kept = neurons[some, at, -1]
        drawn = pruned.ticket_errors(problem.seed, trials[some], kept, problem.target)
        nearest.compare(drawn, errors[some, at])


def settle(problem: Problem[Neuron], trials, lower, upper, neurons, errors):
    """Narrow the brackets in float64 until no epsilon lies inside one.

    Args:
        trials: trial numbers, [n].
        lower, upper, neurons, errors: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width].
    """
    trials = np.asarray(trials)
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    epsilons = np.array(problem.grid.epsilons)
    inside = one_neuron.holds_inside(lower, upper, epsilons)
    for c, criterion in enumerate(problem.criteria):
        family, rule, _ = criterion
        n, k = np.nonzero(inside[:, c].any(axis=-1))
        if len(n) == 0:
            continue
        if rule == "sup" or (family, rule) == ("pooled", "l2"):
            ticket = neurons[n, problem.config.constructions.index(family), k]
            errors = pruned.ticket_errors(problem.seed, trials[n], ticket, problem.target)
            if rule == "sup":
                ends = suprema(problem.target, errors, epsilons)
            else:
                ends = (slot_rules(errors)[rule],) * 2
            lower[n, c, k], upper[n, c, k] = ends
        elif family == "pooled":
            _match(problem, trials, rule, inside[:, c], lower[:, c], upper[:, c])
        else:
            for i, j in zip(n, k, strict=True):
                limit = upper[i, c, j] / slot_scale(rule, problem.config.dim)
                values = _nearest(problem, trials[i], problem.grid.widths[j], limit)
                lower[i, c, j] = upper[i, c, j] = values[family, rule]
    return lower, upper


def suprema(weights, errors, epsilons) -> tuple[np.ndarray, np.ndarray]:
    """Brackets [n] on the suprema of tickets of one neuron, until no epsilon lies inside.

    Tickets with more sides than can be tried are networks with one hidden neuron to `sets`.

    Args:
        weights: w, [d].
        errors: slot errors, [n, side, d].
        epsilons: the thresholds that matter, [epsilon].
    """
    lower, upper = one_neuron.neuron_supremum(weights, errors, epsilons)
    layers = np.array([weights], np.float64), np.ones((1, 1))
    pair = Pair(layers, (errors[:, :, None], np.zeros((len(errors), 1, 1, 1))))
    return bounds.narrow(pair, lower, upper, epsilons, (sets.decide,))


def slot_scale(rule: str, dim: int) -> float:
    """An error allowed over the ball, divided by this, is allowed in every slot."""
    return {"slides": 2.0 * dim, "tight": dim**0.5, "l2": 1.0}[rule]


def slot_rules(errors) -> dict[str, np.ndarray]:
    """slides, tight and l2 in float64, each [n], for slot errors [n, side, d]."""
    worst = np.abs(errors).max(axis=1)
    largest = {r: slot_scale(r, worst.shape[1]) * worst.max(axis=1) for r in ("slides", "tight")}
    return {**largest, "l2": np.linalg.norm(worst, axis=1)}


def _edges(problem, trials, width, limit):
    """All products within `limit` of their weight, of whole networks drawn again: float64.

    Returns:
        trial (index into `trials`), slot (side d + input), neuron and error, each [n_edges]; only
        products nearer than the empty slot.
    """
    target = np.array(problem.target)
    found = []
    step = max(1, DRAWN_AT_ONCE // (len(trials) * len(target)))
    for start in range(0, width, step):
        neurons = np.arange(start, min(start + step, width))
        output, hidden = redraw.random_layer(problem.seed, trials, neurons, len(target))
        error = np.abs(output[:, 0, :, None] * hidden - target)
        n, j, i = np.nonzero((error <= limit) & (error < np.abs(target)))
        slot = i + len(target) * (hidden[n, j, i] < 0)
        found.append((n, slot, neurons[j], error[n, j, i]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _nearest(problem, trial, width, limit) -> dict[tuple[str, str], float]:
    """Exact slot rules of one trial without a matching, where no slot errs by more than `limit`."""
    target = np.array(problem.target)
    _, slot, neuron, error = _edges(problem, np.array([trial]), width, limit)
    values: dict[tuple[str, str], float] = {}
    for family, own in (("blocks", neuron % len(target) == slot % len(target)), ("shared", ...)):
        nearest_error = np.tile(np.abs(target), 2)
        np.minimum.at(nearest_error, slot[own], error[own])
        rules = slot_rules(nearest_error.reshape(1, 2, -1))
        values |= {(family, rule): float(value[0]) for rule, value in rules.items()}
    return values


def _match(problem, trials, rule, inside, lower, upper):
    """Decide by matching, in place, where a bottleneck's bracket holds an epsilon.

    Args:
        inside: bool [n, width, epsilon]; lower, upper: [n, width] of one criterion.
    """
    size, scale = np.tile(np.abs(problem.target), 2), slot_scale(rule, problem.config.dim)
    widths = np.array(problem.grid.widths)
    for e, epsilon in enumerate(problem.grid.epsilons):
        open_at = inside[..., e]
        widest = np.max(np.where(open_at, widths, 0), axis=1)
        order = np.argsort(widest, kind="stable")[np.sum(widest == 0) :]
        cost = np.cumsum(widest[order] * problem.config.dim) // DRAWN_AT_ONCE
        groups = np.split(order, np.flatnonzero(np.diff(cost)) + 1)
        for group in groups if len(order) else []:
            n, k = np.nonzero(open_at[group])
            limit = (1 + 2.0**-50) * epsilon / scale
            edges = _edges(problem, trials[group], int(widest[group].max()), limit)
            near = scale * edges[3] <= epsilon
            edges = tuple(x[near] for x in edges)
            solved = _solve(n, widths[k], edges, scale * size > epsilon)
            at = group[n[solved]], k[solved]
            upper[at] = np.minimum(upper[at], epsilon)
            at = group[n[~solved]], k[~solved]
            lower[at] = np.maximum(lower[at], np.nextafter(epsilon, 1.0))


def _solve(trial, width, edges, asked):
    """Whether each of these (trial, width) has a ticket of the edges; all as one matching.

    Args:
        asked: bool [slot], the slots that may not stay empty.
    """
    order = np.argsort(edges[0], kind="stable")
    of_trial, slot, neuron, _ = (x[order] for x in edges)
    first, last = (np.searchsorted(of_trial, trial, side) for side in ("left", "right"))
    # The edges of each cell's trial, one cell after the other.
    cell = np.repeat(np.arange(len(trial)), last - first)
    edge = np.arange(len(cell)) - np.repeat(np.cumsum(last - first) - last, last - first)
    # A slot that may stay empty does, or a matching might give it the only neuron of another.
    use = (neuron[edge] < width[cell]) & asked[slot[edge]]
    row = cell * len(asked) + slot[edge]
    column = cell * int(width.max()) + neuron[edge]
    covered = matching.perfect(row[use], column[use], len(trial) * len(asked))
    return np.all(covered.reshape(-1, len(asked)) | ~asked, axis=1)
