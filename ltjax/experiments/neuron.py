"""One neuron: from a random two-layer network to a bracket on the error of its ticket.

The proof's construction, at every width of the grid: for each input i keep one neuron with
W_ji > 0 and one with W_ji < 0 whose path products A_j W_ji come nearest to w_i. The rules that turn
slot errors into an error over the unit ball are those of `problem.Neuron.criteria`.

`trial` is the device's part, in float32 with its slack; `settle` the host's, in float64, for the
cells where an epsilon lies inside the slack, inside the bracket of a repaired matching, or inside
the bounds on the supremum.

Source: Malach, Yehudai, Shalev-Shwartz, Shamir, "Proving the Lottery Ticket Hypothesis: Pruning is
All You Need", ICML 2020, arXiv:2002.00585, Lemma for one neuron.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

from ltjax import network
from ltjax.problem import Neuron, Problem, WrongKernelError
from ltjax.search import matching, nearest
from ltjax.supnorm import exact

CHECKED_WIDTH = 2**14  # the widest network that a known-answer check draws on the host
DRAWN_AT_ONCE = 2**17  # hidden weights that the host holds


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the error achieved, float32 [criterion, width], slack included.
    neurons: the tickets, int32 [ticket, width, side, d]; -1 for an empty slot. One ticket a
        construction, in the order of `config.constructions`.
    """

    lower: jax.Array
    upper: jax.Array
    neurons: jax.Array


def trial(key, target, widths, config: Neuron) -> Outcome:
    """One random network, pruned at every width. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: w, float32 [d].
        widths: ascending int32 [n_widths].
        config: static.
    """

    # Under `vmap` the trials lie on the last axis, where they are the lanes of the vector unit.
    @custom_vmap
    def one(k0, k1, target, widths):
        outcome = _trials((k0[None], k1[None]), target[:, None], widths, config)
        return Outcome(*(x[..., 0] for x in outcome))

    @one.def_vmap
    def many(size, batched, k0, k1, target, widths):
        if batched[3]:
            raise NotImplementedError("widths are one grid for all trials.")
        key = tuple(jnp.broadcast_to(k, (size,)) for k in (k0, k1))
        target = jnp.moveaxis(target, 0, -1) if batched[2] else target[:, None]
        outcome = _trials(key, target, widths, config)
        return Outcome(*(jnp.moveaxis(x, -1, 0) for x in outcome)), Outcome(True, True, True)

    return one(*key, target, widths)


def _trials(key, target, widths, config) -> Outcome:
    """Trials side by side: keys [trial], target [d, trial] or [d, 1]."""
    counted = [criterion in config.criteria for criterion in config.all_criteria]
    found = {
        construction: getattr(nearest, construction)(key, 0, target[None], widths)
        for construction in config.constructions
    }

    def read(found):
        """Brackets and tickets at one width."""
        bounds, tickets = [], []
        if "blocks" in found:
            error, neuron = found["blocks"].error[0, :, 0], found["blocks"].neuron[0, :, 0]
            bounds.append(_ticket_rules(target, error))
            tickets.append(neuron)
        if "pooled" in found:
            ticket = matching.repair(found["pooled"], target[None])
            bounds.append(_slot_rules(found["pooled"].error[0, :, 0]))
            bounds.append(_pooled_rules(target, ticket))
            tickets.append(ticket.neuron)
        lower, upper = (
            jnp.stack([x for x, keep in zip(jnp.concatenate(rules), counted, strict=True) if keep])
            for rules in zip(*bounds, strict=True)
        )
        return lower, upper, jnp.stack(tickets)

    # One width at a time: all that a reading needs stays in the cache.
    return Outcome(*(jnp.swapaxes(x, 0, 1) for x in jax.lax.map(read, found)))


def _rules(worst):
    """slides, tight and l2 from the worse slot error of each input, [d, trial]: [3, trial]."""
    dim, largest = len(worst), jnp.max(worst, axis=0)
    return jnp.stack([2 * dim * largest, dim**0.5 * largest, jnp.sqrt(jnp.sum(worst**2, axis=0))])


def _widened(rules, dim):
    """Brackets of the exact rules: the slack of a slot error, and the rounding of d terms."""
    slack = np.array([[2 * dim], [dim**0.5], [dim**0.5]], np.float32)[: len(rules)]
    slack, rounding = slack * nearest.ABSOLUTE, nearest.RELATIVE + (dim + 8) * 2.0**-23
    return jnp.maximum(rules * (1 - rounding) - slack, 0.0), rules * (1 + rounding) + slack


def _slot_rules(error):
    """Brackets of slides, tight and l2 for slot errors [side, d, trial]: each [3, trial]."""
    return _widened(_rules(jnp.max(jnp.abs(error), axis=0)), error.shape[1])


def _ticket_rules(target, error):
    """The same and the supremum of the tickets with these slot errors: each [4, trial]."""
    dim = error.shape[1]
    rules = _rules(jnp.max(jnp.abs(error), axis=0))
    lower, upper = exact.neuron_bounds(target, error)
    # The supremum moves by no more than the slot errors do, in l2; and path sums are of size
    # ||w|| <= 1, so that their rounding is absolute.
    slack = nearest.RELATIVE * rules[2] + nearest.ABSOLUTE * dim**0.5 + (dim + 8) * 2.0**-22
    supremum = jnp.maximum(lower - slack, 0.0), upper + slack
    slots = _widened(rules, dim)
    return tuple(jnp.append(a, b[None], axis=0) for a, b in zip(slots, supremum, strict=True))


def _pooled_rules(target, ticket):
    """`least` bounds a bottleneck below, the ticket in hand above; l2 and sup are the ticket's."""
    lower, upper = _ticket_rules(target, ticket.error)
    dim = len(target)
    scales = np.array([[2 * dim], [dim**0.5]], np.float32)
    least, _ = _widened(scales * ticket.least[None], dim)
    return jnp.concatenate([least, lower[2:]]), upper


def lanes(config: Neuron) -> int:
    """Trials that a device does best side by side: their working set stays in the cache."""
    return min(max(2**12 // config.dim, 32), 1024)


def check(problem: Problem, trials, lower, upper, neurons) -> None:
    """Known-answer check of the compiled kernel: the first of these trials against the host.

    Raises:
        WrongKernelError: a bracket misses the float64 value, or a ticket is none.
    """
    widths = np.array(problem.grid.widths)
    k = max(int(np.searchsorted(widths, CHECKED_WIDTH)) - 1, 0)
    tickets = network.ticket_errors(
        problem.seed, np.repeat(trials[:1], len(neurons[0])), neurons[0, :, k], problem.target
    )
    for c, criterion in enumerate(problem.criteria):
        family, rule = criterion.name.split("/")
        if family == "pooled" or rule == "sup":
            ticket = tickets[problem.config.constructions.index(family)][None]
            slots = slot_rules(ticket)
            low, high = (0.0, slots[rule][0]) if rule in slots else (0.0, slots["l2"][0])
            holds = lower[0, c, k] <= high and low <= upper[0, c, k] <= 1.001 * high + 1e-5
        else:
            value = _nearest(problem, trials[0], k, family, rule, 1.001 * upper[0, c, k])
            holds = lower[0, c, k] <= value <= upper[0, c, k]
        if not holds:
            raise WrongKernelError(
                f"the compiled kernel is wrong at {criterion.name}, width {widths[k]}: its bracket "
                f"[{lower[0, c, k]:.8g}, {upper[0, c, k]:.8g}] misses the value drawn on the host."
            )


def settle(problem: Problem, trials, lower, upper, neurons):
    """Narrow the brackets in float64 until no epsilon lies inside one.

    Args:
        trials: trial numbers, [n].
        lower, upper, neurons: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width]; touched: bool [n], the trials that needed it.
        A bracket on a supremum may stay open where `supnorm.exact` says so.
    """
    trials = np.asarray(trials)
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    inside = _inside(problem, lower, upper)
    for c, criterion in enumerate(problem.criteria):
        family, rule = criterion.name.split("/")
        n, k = np.nonzero(inside[:, c].any(axis=-1))
        if len(n) == 0:
            continue
        if rule == "sup" or (family, rule) == ("pooled", "l2"):
            ticket = neurons[n, problem.config.constructions.index(family), k]
            errors = network.ticket_errors(problem.seed, trials[n], ticket, problem.target)
            lower[n, c, k], upper[n, c, k] = _of_ticket(problem, rule, errors)
        elif family == "pooled":
            _match(problem, trials, rule, inside[:, c], lower[:, c], upper[:, c])
        else:
            for i, j in zip(n, k, strict=True):
                value = _nearest(problem, trials[i], j, family, rule, upper[i, c, j])
                lower[i, c, j] = upper[i, c, j] = value
    return lower, upper, inside.any(axis=(1, 2, 3))


def _inside(problem, lower, upper):
    """Cells whose bracket holds an epsilon: bool [n, criterion, width, epsilon]."""
    epsilons = np.array(problem.grid.epsilons)
    return (lower[..., None] <= epsilons) & (epsilons < upper[..., None])


def _of_ticket(problem, rule, errors):
    if rule == "sup":
        return exact.neuron_supremum(problem.target, errors, np.array(problem.grid.epsilons))
    value = slot_rules(errors)[rule]
    return value, value


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
        output, hidden = network.random_layer(problem.seed, trials, neurons, len(target))
        error = np.abs(output[..., None] * hidden - target)
        n, j, i = np.nonzero((error <= limit) & (error < np.abs(target)))
        slot = i + len(target) * (hidden[n, j, i] < 0)
        found.append((n, slot, neurons[j], error[n, j, i]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _nearest(problem, trial, width_index, family, rule, limit):
    """Exact value of a slot rule of one trial, for a slot criterion without a matching."""
    target = np.array(problem.target)
    dim, width = len(target), problem.grid.widths[width_index]
    limit = limit / slot_scale(rule, dim)
    _, slot, neuron, error = _edges(problem, np.array([trial]), width, limit)
    if family == "blocks":
        own = neuron % dim == slot % dim
        slot, error = slot[own], error[own]
    nearest_error = np.tile(np.abs(target), 2)
    np.minimum.at(nearest_error, slot, error)
    return slot_rules(nearest_error.reshape(1, 2, dim))[rule][0]


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
            eta = epsilon / scale
            edges = _edges(problem, trials[group], int(widest[group].max()), eta)
            solved = _solve(n, widths[k], edges, size > eta)
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
    use = neuron[edge] < width[cell]
    row = cell * len(asked) + slot[edge]
    column = cell * int(width.max()) + neuron[edge]
    covered = matching.perfect(row[use], column[use], len(trial) * len(asked))
    return np.all(covered.reshape(-1, len(asked)) | ~asked, axis=1)
