"""Copies, the host's part: tickets in exact integers, and brackets on what they err by.

The copies of a neuron err differently, and a ticket g has more neurons than its target f. But f can
be written with copies, too: f' is f with every neuron repeated, and with each outgoing weight split
over the copies into parts that add up to it. Any split will do. The parts of f' are what g keeps,
less the slot error in equal shares: then the pair (f', g) has small errors, and every bound on a
pair applies.

All of this is exact. Weights of U[-1, 1] are multiples of 2^-24, products of 2^-48, and those of f'
are multiples of 2^-48 below 32, as are the errors: float64 holds them. Only the weights of f are
rounded, to such multiples, and by what that may move f brackets are widened.
"""

import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.experiments.copies.config import Copies
from ltjax.networks.pairs import Pair, length
from ltjax.problem.problem import Problem
from ltjax.supnorm import ascent, certificate
from ltjax.weights import redraw

UNITS = 2**48  # in 1
CHECKED = 2  # trials whose slots a known-answer check draws again
SINGLE = 2.0**-16  # more than float32 rounds a slot error by: 16 sums, each below 16


def settle(problem: Problem[Copies], trials, lower, upper, kept, errors):
    """Brackets on the suprema in float64: by the certificate, and by points where that leaves one.

    Args:
        trials: trial numbers, [n].
        lower, upper, kept, errors: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width].
    """
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    epsilons, rounding = np.array(problem.grid.epsilons), split_rounding(problem)
    for r in range(len(problem.config.rules)):
        for k, width in enumerate(problem.grid.widths):
            found = [
                pair_of(problem, trial, width, [layer[n, r, k] for layer in kept])
                for n, trial in enumerate(trials)
            ]
            most = np.array([certificate.upper(_one(pair))[0] for pair in found]) + rounding
            upper[:, r, k] = np.nextafter(most, np.inf)
            still = np.flatnonzero(upper[:, r, k] > epsilons[-1])
            if len(still):
                pairs = _stacked([found[n] for n in still])
                least = ascent.lower(pairs, np.full(len(still), epsilons[-1]))[0] - rounding
                lower[still, r, k] = np.maximum(np.nextafter(least, -np.inf), 0.0)
    return lower, upper


def _one(pair: Pair) -> Pair:
    return pair._replace(errors=tuple(e[None] for e in pair.errors))


def _stacked(found) -> Pair:
    """Pairs of one shape side by side."""
    weights, errors = (
        tuple(map(np.stack, zip(*(pair[part] for pair in found), strict=True))) for part in (0, 1)
    )
    return Pair(weights, errors, found[0].last)


def pair_of(problem: Problem[Copies], trial, width: int, kept) -> Pair:
    """f' and the ticket of one trial: exact, but for f' being of weights that are rounded.

    Copies that nothing depends on are neurons without weights.

    Args:
        kept: for every layer bool [side, copy and output, n_in, candidate] as of `device.Outcome`.
    """
    layers, serves = [], None  # None: of every output there is one, and it counts
    parts = tuple(zip(problem.arrays, _met(problem, trial, width, kept), strict=True))
    for layer, (target, met) in reversed(tuple(enumerate(parts))):
        copies = problem.config.copies(layer, width)
        wanted = np.tile(_units(target), (copies, 1))
        live = np.ones(len(wanted), bool) if serves is None else serves.T.ravel()
        if layer == 0:
            error = (met.sum(axis=-1) - wanted) * live[:, None]
            layers.append((wanted * live[:, None], error))
            continue
        [plain] = met * live[:, None, None]
        serves = np.any(plain, axis=0)  # [n_in, copy]: no weight is 0
        serves[:, 0] |= ~serves.any(axis=1)  # something must stand for the neuron in f'
        error = _shared((plain.sum(axis=-1) - wanted) * live[:, None], serves)
        both = (plain - error, error)
        split, error = (np.swapaxes(x, 1, 2).reshape(len(wanted), -1) for x in both)
        layers.append((split, error[None]))
    weights, errors = (tuple(x / UNITS for x in part) for part in zip(*layers[::-1], strict=True))
    return Pair(weights, errors, problem.config.last)


def _shared(error, serves):
    """Slot errors [output, n_in], in parts as equal as integers can be: [output, n_in, copy].

    Args:
        serves: which copies have a part, bool [n_in, copy].
    """
    part, rest = np.divmod(error, serves.sum(axis=1))
    one_more = np.cumsum(serves, axis=1) <= rest[..., None]
    return (part[..., None] + one_more) * serves


def _met(problem: Problem[Copies], trial, width: int, kept):
    """What is kept, drawn again: for every layer int64 [side, copy and output, n_in, candidate]."""
    for layer, (keep, (n_out, n_in)) in enumerate(zip(kept, problem.config.shapes, strict=True)):
        rows = n_out * problem.config.copies(layer, width)
        number = np.arange(n_in * width)
        columns = n_in if layer == 0 else 1
        [output], [hidden] = redraw.random_layer(
            problem.seed, [trial], number, columns, rows, layer
        )
        weights = _units(output) if layer else _units(output * hidden[number, number % n_in])
        weights = np.swapaxes(weights.reshape(rows, width, n_in), 1, 2)
        yield np.where(keep[:, :rows, :, :width], weights, 0)


def _units(x):
    return np.rint(np.ldexp(x, 48)).astype(np.int64)


def split_rounding(problem: Problem[Copies]) -> float:
    """By how much rounding the weights of f to units may move it over the ball, at most.

    A weight moves by half a unit at most: a whole one covers what is rounded here.
    """
    moved, norm = 0.0, 1.0
    for w in problem.arrays:
        size, off = float(length(w)), w.size**0.5 / UNITS
        moved, norm = moved * (size + off) + norm * off, norm * size
    return moved


def check(problem: Problem[Copies], trials, lower, upper, kept, errors) -> None:
    """Known-answer check of the compiled kernel, on the first trials.

    Raises:
        WrongKernelError: a slot error is not that of the host, or what is kept is closed.
    """
    for n, trial in enumerate(trials[:CHECKED]):
        for r, rule in enumerate(problem.config.rules):
            for k, width in enumerate(problem.grid.widths):
                here = [layer[n, r, k] for layer in kept]
                found = [layer[n, r, k] for layer in errors]
                for layer, met in enumerate(_met(problem, trial, width, here)):
                    rows = met.shape[1]
                    wanted = problem.arrays[layer]
                    exact = met.sum(axis=-1) / UNITS - np.tile(wanted, (rows // len(wanted), 1))
                    if _closed(problem, trial, width, layer, here) or not np.all(
                        np.abs(exact - found[layer][:, :rows]) <= SINGLE
                    ):
                        raise WrongKernelError(
                            f"the compiled kernel is wrong at {rule}/sup, block size {width}: "
                            f"layer {layer + 1} is not what the host draws."
                        )


def _closed(problem: Problem[Copies], trial, width: int, layer: int, kept) -> bool:
    """Whether something is kept beyond the width, or of the other side."""
    (n_out, n_in), keep = problem.config.shapes[layer], kept[layer]
    keep = keep[:, : n_out * problem.config.copies(layer, width)]
    if np.any(keep[..., width:]):
        return True
    if layer:
        return False
    number = np.arange(n_in * width)
    _, [hidden] = redraw.random_layer(problem.seed, [trial], number, n_in, 1, layer)
    own = hidden[number, number % n_in].reshape(width, n_in).T
    return bool(np.any(keep[..., :width] & (np.array([1, -1])[:, None, None, None] * own < 0)))
