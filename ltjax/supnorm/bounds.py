"""One signature for every bound on a supremum, and the driver: cheap before expensive.

A `Bound` looks at n pairs of one target and bounds sup ||g - f|| over the domain of each:

    lower, upper = bound(pair, wanted)

    pair     errors [n, side, n_out, n_in] for each layer
    wanted   float64 [n, epsilon], the epsilons that are still inside the bracket; inf for others.
             They say where an effort pays; the bounds are valid whatever they are.
    lower, upper  float64 [n], or one number for all; 0 and inf say nothing.

`glance` is the device's first look, at every pair. `narrow` asks one bound after the other, each
only of the pairs of which an epsilon is still open. A verifier of a user's own enters as one more
function.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.networks import pairs
from ltjax.networks.pairs import Pair
from ltjax.supnorm import (
    ascent,
    branch_and_bound,
    certificate,
    layered,
    linear,
    max_min,
    semidefinite,
    sets,
    splitting,
)
from ltjax.supnorm.one_neuron import holds_inside
from ltjax.supnorm.plane import circle_bounds

Bound = Callable[[Pair, np.ndarray], tuple[Any, Any]]

STARTS, CLIMBS = 4, 8  # and steps of the ascent that every pair gets
STEPS = 200  # of a relaxation, before any tree
NODES = 64  # of a tree: a number, as seconds would make counts depend on the machine
TIE = 1e-10  # relative: an epsilon as near to the supremum stays inside
GAP = branch_and_bound.SINGLE  # where an epsilon this near to the supremum may stay inside


def glance(pair: Pair) -> tuple[jax.Array, jax.Array]:
    """An upper bound for ONE pair, and a unit vector where it is far apart: on the device.

    Args:
        pair: errors [side, n_out, n_in], float32; batch it with `vmap`.
    """
    if sets.applies(pair):
        return sets.quick(pair)
    starts = np.random.default_rng(STARTS).normal(size=(STARTS, pair.weights[0].shape[1]))
    starts /= np.linalg.norm(starts, axis=1, keepdims=True)
    point, _ = ascent.search(pair, jnp.asarray(starts, jnp.float32), CLIMBS)
    return certificate.quick(pair), point


def narrow(pair: Pair, lower, upper, epsilons, bounds: Sequence[Bound]):
    """Brackets [n] narrowed by one bound after the other, while an epsilon is inside one.

    Args:
        lower, upper: what is known, float64 [n].
        epsilons: the thresholds that matter, [epsilon].
        bounds: from the cheapest to the most expensive.

    Returns:
        lower, upper: float64 [n].
    """
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    for bound in bounds:
        inside = holds_inside(lower, upper, epsilons)
        at = np.flatnonzero(inside.any(axis=-1))
        if len(at) == 0:
            break
        some = pair._replace(errors=tuple(e[at] for e in pair.errors))
        low, high = bound(some, np.where(inside[at], epsilons, np.inf))
        lower[at], upper[at] = np.maximum(lower[at], low), np.minimum(upper[at], high)
    return lower, upper


def ladder(pair: Pair, closing: bool = False) -> tuple[Bound, ...]:
    """The bounds for these networks, cheap before expensive; `closing` adds those that close.

    Of one or two inputs, and of one small hidden layer, the supremum over the unit ball is known
    exactly; of several small ones nearly. Over another domain that of one small hidden layer is
    known, and otherwise cells of it are bounded.
    """
    if pair.domain is not None:
        if max_min.applies(pair):
            return (formula,)
        return (lines, climb, cells) if closing else (lines, climb)
    exact = {1: (line,), 2: (circle,)}
    if (dim := pair.weights[0].shape[1]) in exact:
        return exact[dim]
    if max_min.applies(pair):
        return (sets.decide, formula) if len(pair.weights[1]) == 1 else (formula,)
    closing_ones = (relaxation, tree) if closing else ()
    if layered.applies(pair):
        return (layered.decide, climb, *closing_ones)
    return (norms, climb, *closing_ones)


def line(pair: Pair, wanted) -> tuple[Any, Any]:
    """One input and the unit ball: the supremum is at 1 or at -1."""
    if pair.domain is not None:
        return 0.0, np.inf
    return tuple(ends.max(axis=1) for ends in pairs.reached(pair, np.array([[1.0, -1.0]])))


def circle(pair: Pair, wanted) -> tuple[Any, Any]:
    """Two inputs: the edge of the ball, arc by arc; see `plane`."""
    return tuple(np.array([circle_bounds(one) for one in _each(pair)]).T)


def lines(pair: Pair, wanted) -> tuple[Any, Any]:
    """From above, over a domain, by linear functions; see `linear`."""
    if pair.domain is None:
        return 0.0, np.inf
    whole = linear.whole(pair.domain, pair.weights[0].shape[1] - 1)
    return 0.0, np.array([linear.bounds(one, whole).bound[0] for one in _each(pair)])


def cells(pair: Pair, wanted) -> tuple[Any, Any]:
    """From both sides, over a domain, by cells of it for each epsilon; see `splitting`."""
    if pair.domain is None:
        return 0.0, np.inf
    return _closed(splitting.brackets, pair, wanted)


def norms(pair: Pair, wanted) -> tuple[Any, Any]:
    """From above, by the norms of the layers; see `certificate`."""
    return 0.0, certificate.upper(pair)


def climb(pair: Pair, wanted) -> tuple[Any, Any]:
    """From below, by points; see `ascent`. The least epsilon is the one to be exceeded."""
    return ascent.lower(pair, wanted.min(axis=1))[0], np.inf


def formula(pair: Pair, wanted) -> tuple[Any, Any]:
    """One small hidden layer: on which side of each epsilon the supremum is; see `max_min`."""
    found = []
    for one, epsilons in zip(_each(pair), wanted, strict=True):
        low, high = 0.0, np.inf
        for epsilon in epsilons[np.isfinite(epsilons)]:
            if low <= epsilon < high:
                *_, last = max_min.brackets(one, TIE, float(epsilon))
                low, high = max(low, last.lower), min(high, last.upper)
        found.append((low, high))
    return tuple(np.array(found).T)


def relaxation(pair: Pair, wanted) -> tuple[Any, Any]:
    """From above, by a doubly nonnegative relaxation; see `semidefinite`."""
    return 0.0, semidefinite.upper(pair, steps=STEPS)


def tree(pair: Pair, wanted) -> tuple[Any, Any]:
    """From both sides, by a tree for each epsilon in turn; see `branch_and_bound`."""
    return _closed(branch_and_bound.brackets, pair, wanted)


def _closed(brackets, pair, wanted):
    """What a search of NODES tells of every epsilon that is open."""
    found = []
    for one, epsilons in zip(_each(pair), wanted, strict=True):
        low, high = 0.0, np.inf
        for epsilon in epsilons[np.isfinite(epsilons)]:
            if not low <= epsilon < high:  # the search for another epsilon has told
                continue
            for known in brackets(one, GAP, float(epsilon)):
                low, high = max(low, known.lower), min(high, known.upper)
                if known.nodes >= NODES:
                    break
        found.append((low, high))
    return tuple(np.array(found).T)


def _each(pair: Pair):
    """The pairs one by one, without their leading axis."""
    return (pair._replace(errors=errors) for errors in zip(*pair.errors, strict=True))
