"""A whole network, the host's part: known answers, and verdicts settled in float64.

The kept weights of a ticket are drawn again from their addresses, by numpy; whole layers are, where
an epsilon lies inside the slack of a slot rule.
"""

import math

import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.experiments.network.config import SUPREMA, Network
from ltjax.masks import nearest
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
        worst: one number a layer, [layer].
        xp: numpy, or the module that speaks its language to jax.
    """
    depth, sizes = len(shapes), np.array(shapes, float)
    n_out, n_in = (xp.asarray(x, worst.dtype) for x in sizes.T)
    if rule == "slides":
        return xp.max(4.0 * depth * n_in * xp.sqrt(n_out) * worst)
    return xp.expm1(depth * xp.log1p(xp.max(xp.sqrt(n_in * n_out) * worst)))


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
        most = max(pruned.block_counts(construction, problem.config.sizes))
        k = max(int(np.searchsorted(widths * most, CHECKED_WIDTH)) - 1, 0)
        low, high = lower[0, c, k], upper[0, c, k]
        if rule in SUPREMA:
            at = problem.config.constructions.index(construction)
            pair = pair_of(problem, trials[:1], neurons[:1, at, k])
            x = np.random.default_rng(0).normal(size=(problem.config.dim, POINTS))
            x /= np.linalg.norm(x, axis=0)
            x = np.append(x, points[0, at, k, :, None], axis=1)
            least = np.linalg.norm(pairs.difference(pair, x)[0], axis=0).max()
            holds = least <= high and low == 0.0
        else:
            least = _slots(problem, trials[0], construction, rule, int(widths[k]))
            holds = low <= least <= high
        if not holds:
            raise WrongKernelError(
                f"the compiled kernel is wrong at {criterion.name}, block size {widths[k]}: its "
                f"bracket [{low:.8g}, {high:.8g}] misses the value {least:.8g} of the host."
            )
    some = slice(max(1, nearest.CHECKED // errors[0].size))
    for at in range(errors.shape[1]):
        layered = pair_of(problem, trials[some], neurons[some, at, -1]).errors
        exact = np.concatenate([error.reshape(len(error), -1) for error in layered], axis=1)
        nearest.compare(exact, errors[some, at])


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
        if rule in SUPREMA and len(n):
            at = problem.config.constructions.index(construction)
            pair = pair_of(problem, trials[n], neurons[n, at, k])
            ends = bracket(pair, points[n, at, k], upper[n, c, k], epsilons, rule)
            lower[n, c, k], upper[n, c, k] = ends
        elif rule not in SUPREMA:
            for i, j in zip(n, k, strict=True):
                value = _slots(problem, trials[i], construction, rule, problem.grid.widths[j])
                lower[i, c, j] = upper[i, c, j] = value
    return lower, upper


def bracket(pair, points, upper, epsilons, rule):
    """Bounds [n] on suprema, narrowed as long as an epsilon is open: first the points in hand."""
    lower = pairs.reached(pair, points[..., None].astype(np.float64))[0][:, 0]
    ladder = bounds.ladder(pair, closing=rule == "tree")
    return bounds.narrow(pair, lower, upper, epsilons, ladder)


def _slots(problem: Problem[Network], trial, construction, rule, block: int) -> float:
    """A slot rule of one trial by its definition, from whole layers drawn again."""
    sizes = problem.config.sizes
    shapes, counts = pruned.slots(sizes), pruned.block_counts(construction, sizes)
    worst = np.zeros(len(counts))
    for i, (target, shape, count) in enumerate(zip(problem.arrays, shapes, counts, strict=True)):
        nearest = np.broadcast_to(np.abs(target), shape).copy()
        step = max(1, DRAWN_AT_ONCE // (count * sum(target.shape)))
        for first in range(0, block, step):
            neurons = np.arange(first * count, min(first + step, block) * count)
            found = _nearest(problem.seed, trial, i, neurons, target, construction)
            nearest = np.minimum(nearest, found[: len(nearest)])
        worst[i] = nearest.max()
    return float(slot_rule(rule, problem.config.shapes, worst))


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
