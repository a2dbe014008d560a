"""A whole network, the host's part: known answers, and verdicts settled in float64.

The kept weights of a ticket are drawn again from their addresses, by numpy; whole layers are, where
an epsilon lies inside the slack of a slot rule.
"""

import math

import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.experiments.network.config import SUPREMA, Network
from ltjax.masks import assignment, nearest
from ltjax.masks.assignment import Lists
from ltjax.networks import pairs, pruned
from ltjax.networks.pairs import Pair
from ltjax.problem.problem import Problem
from ltjax.supnorm import bounds
from ltjax.supnorm.one_neuron import holds_inside
from ltjax.weights import redraw

CHECKED_WIDTH = 2**14  # the widest layer that a known-answer check draws
DRAWN_AT_ONCE = 2**20  # weights that the host holds
POINTS = 64  # of the ball, at which a known-answer check evaluates


def layers(neurons, sizes) -> list[np.ndarray]:
    """Tickets [n, slot] taken apart: [n, side, n_out, n_in] for each layer."""
    shapes = pruned.slots(sizes)
    parts = np.split(neurons, np.cumsum([math.prod(shape) for shape in shapes])[:-1], axis=1)
    return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes, strict=True)]


def slot_rule(rule: str, shapes, worst, xp=np):
    """The error over the ball that a rule reads off the worst slot error of each layer.

    Args:
        rule: slides or tight; `network.config.Network` says what they are.
        worst: one number a layer, [..., layer].
        xp: numpy, or the module that speaks its language to jax.
    """
    depth, sizes = len(shapes), np.array(shapes, float)
    n_out, n_in = (xp.asarray(x, worst.dtype) for x in sizes.T)
    if rule == "slides":
        return xp.max(4.0 * depth * n_in * xp.sqrt(n_out) * worst, axis=-1)
    return xp.expm1(depth * xp.log1p(xp.max(xp.sqrt(n_in * n_out) * worst, axis=-1)))


def pair_of(problem: Problem[Network], trials, neurons) -> Pair:
    """The target and these tickets [n, slot] of it, in float64."""
    weights = problem.arrays
    errors = tuple(
        pruned.ticket_errors(problem.seed, trials, kept, target, i)
        for i, (kept, target) in enumerate(
            zip(layers(neurons, problem.config.sizes), weights, strict=True)
        )
    )
    return Pair(weights, errors, problem.config.last)


def check(problem: Problem[Network], trials, lower, upper, neurons, points, errors) -> None:
    """Known-answer check of the compiled kernel against the host.

    Brackets and tickets of the first of these trials, and thousands of slot errors.

    Raises:
        WrongKernelError: a bracket or a slot error misses the float64 value, or a ticket is none.
    """
    widths = np.array(problem.grid.widths)
    for c, criterion in enumerate(problem.criteria):
        construction, rule, _ = criterion
        widest = np.max(problem.config.neurons(construction, widths), axis=0)
        k = max(int(np.searchsorted(widest, CHECKED_WIDTH)) - 1, 0)
        low, high = lower[0, c, k], upper[0, c, k]
        at = problem.config.constructions.index(construction)
        if rule in SUPREMA:
            pair = pair_of(problem, trials[:1], neurons[:1, at, k])
            x = np.random.default_rng(0).normal(size=(problem.config.dim, POINTS))
            x /= np.linalg.norm(x, axis=0)
            x = np.append(x, points[0, at, k, :, None], axis=1)
            least = np.linalg.norm(pairs.difference(pair, x)[0], axis=0).max()
            holds = least <= high and low == 0.0
        else:
            width, ticket = int(widths[k]), neurons[0, at, k]
            least = _value(problem, trials[0], construction, rule, width, ticket)
            holds = low <= least <= high
        if not holds:
            raise WrongKernelError(
                f"the compiled kernel is wrong at {criterion.name}, {problem.config.width_label} = "
                f"{widths[k]}: its bracket [{low:.8g}, {high:.8g}] misses the value {least:.8g} of "
                "the host."
            )
    _check_pools(problem, neurons)
    some = slice(max(1, nearest.CHECKED // errors[0].size))
    for at in range(errors.shape[1]):
        layered = pair_of(problem, trials[some], neurons[some, at, -1]).errors
        exact = np.concatenate([error.reshape(len(error), -1) for error in layered], axis=1)
        nearest.compare(exact, errors[some, at])


def _check_pools(problem: Problem[Network], neurons) -> None:
    """`WrongKernelError` where two slots of a pool keep one neuron."""
    for at, construction in enumerate(problem.config.constructions):
        tickets = neurons[:, at].reshape(-1, neurons.shape[-1])
        for kept in layers(tickets, problem.config.sizes) if construction == "pooled" else ():
            kept = np.sort(kept.reshape(len(kept), -1), axis=1)
            twice = np.sum((kept[:, 1:] == kept[:, :-1]) & (kept[:, 1:] >= 0))
            if twice:
                raise WrongKernelError(
                    f"the compiled kernel is wrong: {twice:,} slots of a pool keep a neuron that "
                    "another one keeps."
                )


def settle(problem: Problem[Network], trials, lower, upper, neurons, points, errors):
    """Narrow the brackets in float64, as far as an epsilon lies inside one.

    Args:
        trials: trial numbers, [n].
        lower, upper, neurons, points, errors: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width]. A bracket on a supremum stays open where
        neither the certificate nor the ascent reaches an epsilon; by rule tree, where NODES of a
        search do not tell on which side of it the supremum is.
    """
    trials = np.asarray(trials)
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    epsilons = np.array(problem.grid.epsilons)
    inside = holds_inside(lower, upper, epsilons).any(axis=-1)
    for c, criterion in enumerate(problem.criteria):
        construction, rule, _ = criterion
        n, k = np.nonzero(inside[:, c])
        at = problem.config.constructions.index(construction)
        if rule in SUPREMA and len(n):
            pair = pair_of(problem, trials[n], neurons[n, at, k])
            ends = bracket(pair, points[n, at, k], upper[n, c, k], epsilons, rule)
            lower[n, c, k], upper[n, c, k] = ends
        elif rule not in SUPREMA:
            for i, j in zip(n, k, strict=True):
                width, ticket = problem.grid.widths[j], neurons[i, at, j]
                value = _value(problem, trials[i], construction, rule, width, ticket)
                lower[i, c, j] = upper[i, c, j] = value
    return lower, upper


def bracket(pair, points, upper, epsilons, rule):
    """Bounds [n] on suprema, narrowed as long as an epsilon is open: first the points in hand."""
    lower = pairs.reached(pair, points[..., None].astype(np.float64))[0][:, 0]
    ladder = bounds.ladder(pair, closing=rule == "tree")
    return bounds.narrow(pair, lower, upper, epsilons, ladder)


def _value(problem: Problem[Network], trial, construction, rule, width: int, ticket) -> float:
    """A slot rule of one trial by its definition.

    Args:
        width: of the grid.
        ticket: that the device has found, [slot]: of a pool no worse is asked for.
    """
    if construction != "pooled":
        return _slots(problem, trial, construction, rule, width)
    kept = pair_of(problem, [trial], ticket[None]).errors
    most = [float(np.abs(error).max()) for error in kept]
    least = [_bottleneck(problem, trial, i, width, each) for i, each in enumerate(most)]
    return float(slot_rule(rule, problem.config.shapes, np.array(least)))


def _slots(problem: Problem[Network], trial, construction, rule, width: int) -> float:
    """A slot rule of blocks of one trial, from whole layers drawn again."""
    config = problem.config
    shapes, counts = pruned.slots(config.sizes), config.counts(construction)
    worst = np.zeros(len(counts))
    widths = config.neurons(construction, width)
    parts = zip(problem.arrays, shapes, counts, widths, strict=True)
    for i, (target, shape, count, last) in enumerate(parts):
        nearest = np.broadcast_to(np.abs(target), shape).copy()
        step = max(1, DRAWN_AT_ONCE // (count * sum(target.shape))) * count
        for first in range(0, last, step):
            neurons = np.arange(first, min(first + step, last))
            found = _nearest(problem.seed, trial, i, neurons, target, construction)
            nearest = np.minimum(nearest, found[: len(nearest)])
        worst[i] = nearest.max()
    return float(slot_rule(rule, config.shapes, worst))


def _bottleneck(problem: Problem[Network], trial, layer: int, width: int, most: float) -> float:
    """The least largest error of a pool's tickets in one layer, where one errs by `most`."""
    target, sides = problem.arrays[layer], 2 if layer == 0 else 1
    empty = np.tile(np.abs(target).ravel(), sides)
    slot, neuron, error = _edges(problem.seed, trial, layer, width, target, sides, most)
    lists = Lists(slot, neuron, error, np.full(len(empty), most))
    return float(assignment.bottleneck(lists, empty)[0])


def _edges(seed, trial, layer, width, target, sides, most):
    """All products of a layer within `most` of a weight: slot, neuron and error, [n_edges] each."""
    n_out, n_in = target.shape
    found, step = [], max(1, DRAWN_AT_ONCE // target.size)
    for first in range(0, width, step):
        neurons = np.arange(first, min(first + step, width))
        [output], [hidden] = redraw.random_layer(seed, [trial], neurons, n_in, n_out, layer)
        error = np.abs(output[:, None] * hidden.T - target[:, :, None])  # [n_out, n_in, neuron]
        for side, right in enumerate((hidden.T > 0, hidden.T < 0)[:sides]):
            o, q, j = np.nonzero((error <= most) & right)
            found.append(((side * n_out + o) * n_in + q, neurons[j], error[o, q, j]))
    return tuple(np.concatenate(part) for part in zip(*found, strict=True))


def _nearest(seed, trial, layer, neurons, target, construction) -> np.ndarray:
    """The least errors [side, n_out, n_in] that whole blocks of a layer's neurons offer."""
    n_out, n_in = target.shape
    [output], [hidden] = redraw.random_layer(seed, [trial], neurons, n_in, n_out, layer)
    weight = hidden[np.arange(len(neurons)), neurons % n_in]
    error = np.abs(output * weight - target[:, neurons % n_in])  # [n_out, neuron]
    if construction == "separate":
        error[neurons // n_in % n_out != np.arange(n_out)[:, None]] = np.inf
    sides = (np.where(sign * weight > 0, error, np.inf) for sign in (1, -1))
    return np.stack([side.reshape(n_out, -1, n_in).min(axis=1) for side in sides])
