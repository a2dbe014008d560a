"""Widths where the curves of a network rise, from a few trials on the host.

What is proved of a supremum says little of where it falls below an epsilon: the block size that
suffices is ten times what is needed. So some tickets are drawn, at growing block sizes, and how far
each is from the target is estimated by steps uphill. Nothing of that is counted: it places a grid.

The trials are those of a seed of their own, as many for every problem: a grid is a function of the
target and of what is asked, and does not depend on the trials that are counted on it.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ltjax.networks import pairs, pruned
from ltjax.networks.pairs import Pair
from ltjax.weights import redraw

SEED, TRIALS = 2002_00585, 32
STARTS, STEPS = 32, 12  # uphill
MISSED = 1.16  # supremum over what these steps meet, in the mean: 1.18 and 1.15 at 8-8-1
RATIO = 2.0**0.5  # of the block sizes that are tried
WORK = 2**25  # weights that are drawn: some seconds
FEWEST = 64  # block sizes that a pilot would see, or it is not begun
DEVIATIONS = -2.05, 2.5  # of a normal law: 2 % are below, and with what a pilot misses above
EACH, DEEPER = 14, 9  # block sizes where a curve rises, and of more layers, which take longer
STEEPER = 4  # more of a pool, whose curves rise faster
RANKS = 4  # choices of a slot of a pool
BEYOND = 8  # and from there to where the rule `tight` has succeeded


def rising(
    target: Sequence[np.ndarray],
    last: str,
    units: Mapping[str, int],
    epsilons: Sequence[float],
    high: int,
) -> tuple[int, ...] | None:
    """Widths, ascending; None where to find them would take minutes.

    Args:
        target: weight matrices [n_out, n_in].
        last: linear or relu.
        units: of each construction, how much of a width is one neuron a block; of pooled one.
        epsilons: in (0, 1).
        high: the largest width of the grid.
    """
    spans = []
    for construction, unit in units.items():
        found = _errors(target, last, construction, min(epsilons), high // unit)
        if found is None:
            return None
        sizes, errors = found
        spans.append([_span(unit * sizes, errors, epsilon) for epsilon in epsilons])
    each = (EACH if len(target) <= 2 else DEEPER) + STEEPER * ("pooled" in units)
    widths: set[float] = set()
    for lows, highs in np.array(spans).transpose(1, 2, 0):  # an epsilon, all constructions
        widths.update(np.geomspace(lows.min(), highs.max(), each))
    first, end = min(widths), max(widths)
    widths.update((first / 2.0, first / 1.3))
    if high > end:
        widths.update(np.geomspace(end, high, BEYOND + 1))
    return tuple(sorted({min(max(round(m), 1), high) for m in widths}))


def _errors(target, last, construction, epsilon, high):
    """Block sizes, and how far the tickets of all trials are from the target there: [size, trial].

    Up to where all are within epsilon. A pool is one block.
    """
    trials, sizes, worst = np.arange(TRIALS), [], []
    slots = pruned.slots((target[0].shape[1], *map(len, target)))
    errors = [np.broadcast_to(-w, (TRIALS, *slot)) for w, slot in zip(target, slots, strict=True)]
    lists = [_nothing(w, slot) for w, slot in zip(target, slots, strict=True)]
    drawn, size, each = 0, 0, 2 * TRIALS * sum(w.size for w in target)
    if each * FEWEST > WORK:
        return None
    while size < high:
        before, size = size, min(max(size + 1, math.ceil(size * RATIO)), high)
        drawn += (size - before) * each
        if drawn > WORK:
            return None
        blocks = np.arange(before, size)
        if construction == "pooled":
            lists = [
                _listed(*near, trials, blocks, w, i)
                for i, (near, w) in enumerate(zip(lists, target, strict=True))
            ]
            errors = [_apart(*near) for near in lists]
        else:
            errors = [
                _nearer(error, _candidates(trials, blocks, w, construction, i))
                for i, (error, w) in enumerate(zip(errors, target, strict=True))
            ]
        sizes.append(size)
        worst.append(_far(Pair(tuple(target), tuple(errors), last)))
        if np.all(worst[-1] <= epsilon):
            break
    return np.array(sizes), np.array(worst)


def _candidates(trials, blocks, target, construction, layer):
    """Errors of the products of some blocks, inf on the other side: [trial, side, block, ...]."""
    n_out, n_in = target.shape
    output, input_ = np.arange(n_out)[:, None], np.arange(n_in)
    blocks = blocks[:, None, None]
    neurons = {
        "blocks": input_ + n_in * blocks,
        "separate": input_ + n_in * (output + n_out * blocks),
    }[construction]
    neurons = np.broadcast_to(neurons, (len(trials), len(blocks), n_out, n_in))
    a, w = redraw.kept_weights(SEED, trials, neurons, layer)
    return _by_side(a * w - target, w, layer)


def _by_side(error, w, layer):
    """The errors of each side, inf on the other: [trial, side, ...]."""
    sides = (1.0, -1.0) if layer == 0 else (1.0,)
    return np.stack([np.where(sign * w > 0.0, error, np.inf) for sign in sides], axis=1)


def _nearer(error, candidates):
    """The errors least in size, of those so far and of the candidates."""
    every = np.concatenate([error[:, :, None], candidates], axis=2)
    best = np.argmin(np.abs(every), axis=2, keepdims=True)
    return np.take_along_axis(every, best, axis=2)[:, :, 0]


def _nothing(target, slot):
    """Choices of every slot of a pool, nearest first, before any neuron is seen: to stay empty.

    Errors and neurons, [trial, side, n_out, n_in, rank]; the last rank is the empty slot.
    """
    shape = (TRIALS, *slot, RANKS + 1)
    return np.broadcast_to(-target[..., None], shape), np.full(shape, -1)


def _listed(error, neuron, trials, neurons, target, layer):
    """The choices among those so far and more neurons of a pool."""
    a, w = redraw.random_layer(SEED, trials, neurons, *target.shape[::-1], layer)
    w = np.swapaxes(w, 1, 2)[:, None]
    found = _by_side(a[:, :, None] * w - target[..., None], w, layer)
    every = np.concatenate([error[..., :-1], found], axis=-1)
    names = np.concatenate([neuron[..., :-1], np.broadcast_to(neurons, found.shape)], axis=-1)
    best = np.argpartition(np.abs(every), RANKS - 1, axis=-1)[..., :RANKS]
    best = np.take_along_axis(best, np.argsort(np.abs(np.take_along_axis(every, best, -1))), -1)
    pick = lambda x, last: np.concatenate([np.take_along_axis(x, best, -1), last[..., -1:]], -1)
    return pick(every, error), pick(names, neuron)


def _apart(error, neuron):
    """Errors where no two slots keep one neuron: the nearer has it, the other its next choice."""
    shape, ranks = error.shape[:-1], error.shape[-1]
    error, neuron = (x.reshape(len(x), -1, ranks) for x in (error, neuron))
    trial = np.broadcast_to(np.arange(len(error))[:, None], error.shape[:-1])
    free, kept = np.ones((len(error), neuron.max() + 2), bool), error[..., -1].copy()
    waits = np.ones(kept.shape, bool)
    for rank in range(ranks - 1):
        size, wanted = np.abs(error[..., rank]), neuron[..., rank]
        waits &= wanted >= 0
        asks = waits & free[trial, wanted]
        nearest = np.full(free.shape, np.inf)
        np.minimum.at(nearest, (trial[asks], wanted[asks]), size[asks])
        wins = asks & (size == nearest[trial, wanted])
        kept[wins] = error[wins, rank]
        free[trial[wins], wanted[wins]], waits = False, waits & ~wins
    return kept.reshape(shape)


def _far(pair):
    """How far from the target each network is at the best points that some steps meet: [trial]."""
    x = np.random.default_rng(0).normal(size=(pair.weights[0].shape[1], STARTS))
    x, best = np.broadcast_to(x, (len(pair.errors[0]), *x.shape)), 0.0
    for _ in range(STEPS):
        x = x / np.maximum(pairs.length(x, -2), np.finfo(float).tiny)[:, None]
        best = np.maximum(best, pairs.length(pairs.difference(pair, x), -2).max(axis=-1))
        x = pairs.slope(pair, x)
    return MISSED * best


def _span(sizes, errors, epsilon):
    """Where some 2 % and where some 98 % of the tickets are within epsilon, as block sizes.

    The logarithms of errors are taken for normal, at each size.
    """
    logs = np.log(np.maximum(errors, 1e-300))
    passed = (math.log(epsilon) - logs.mean(axis=1)) / np.maximum(logs.std(axis=1), 1e-3)
    rising = np.maximum.accumulate(passed) + 1e-9 * np.arange(len(passed))
    ends = np.interp(DEVIATIONS, rising, np.log(sizes))
    return np.exp(ends)
