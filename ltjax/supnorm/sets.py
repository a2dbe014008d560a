"""The formula of `max_min` for many pairs at once.

`quick` is for the device, for ONE pair and to be batched: theta = 1 on the partners of every set by
one matrix product, in float32 with its rounding, and the point of the best set of either sign.
`decide` is for the host, in float64: where an epsilon is inside a bracket, better theta for the
sets above it, and branches on the signs of inputs, those of all pairs in one list.

Here a neuron has one convex and one concave piece, a_i and b_i being of one sign: what a rule keeps
that errs by less than the weight itself. Of other pairs nothing is said, and `max_min` settles them
as it does what so many branches leave open.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.networks import pairs
from ltjax.networks.pairs import ULP, Pair, length
from ltjax.supnorm import max_min

MOST = 10  # hidden neurons of which the device tries all sets
HELD = 2**15  # numbers that all sets of a pair take there
AT_ONCE = 2**19  # numbers that the sets of some pairs take
SWEEPS = (1, 2)  # for the sets that are open, then for those open after that
BRANCHES = 24  # on the sign of an input, of what is open then
POINTS = 4  # of each pair, after each of these
SCOUTS = 16, 1024  # sets of each pair
FLUSHED = 1e-30  # more than float32 loses of numbers too small for it
ASIDE = 1e-3  # relative, in float32: how far from a wall rounding is no question
TINY = 1e-150  # more than a norm loses of squares that underflow


class Pieces(NamedTuple):
    """The pieces of g - f over y = (x+, x-), by neuron; those of f - g are those of g and f.

    apart: D = b v - a u, [..., n, 2 d].
    of_f, of_g: the concave piece of g - f, and that of f - g.
    sizes: the sum over neurons of the products that D is made of, [..., 2 d].
    agree: whether a_i and b_i are of one sign for every i, or 0: [...].
    """

    apart: jax.Array | np.ndarray
    of_f: jax.Array | np.ndarray
    of_g: jax.Array | np.ndarray
    sizes: jax.Array | np.ndarray
    agree: jax.Array | np.ndarray


def pieces(pair: Pair, xp) -> Pieces:
    """Of one output; errors may have leading axes, [..., side, n_out, n_in]."""
    (w, (a,)), (e, last) = pair.weights, pair.errors
    f = last[..., 0, 0, :]
    u, b = xp.concatenate([w, -w], axis=-1), a + f
    moved = xp.concatenate([e[..., 0, :, :], -e[..., -1, :, :]], axis=-1)
    v, column = u + moved, lambda x: x[..., None]
    apart = column(a) * moved + column(f) * v
    sizes = column(xp.abs(a)) * xp.abs(moved) + column(xp.abs(f)) * xp.abs(v)
    up = column((a > 0.0) | (b > 0.0))
    f_part, g_part = xp.broadcast_to(column(a) * u, apart.shape), column(b) * v
    return Pieces(
        apart=apart,
        of_f=xp.where(up, f_part, -g_part),
        of_g=xp.where(up, g_part, -f_part),
        sizes=xp.sum(sizes, axis=-2),
        agree=~xp.any(((a > 0.0) & (b < 0.0)) | ((a < 0.0) & (b > 0.0)), axis=-1),
    )


def applies(pair: Pair) -> bool:
    """Whether the device tries all sets: one hidden layer, not large, and one linear output."""
    outputs, hidden = pair.weights[-1].shape
    one = len(pair.weights) == 2 and pair.last == "linear" and outputs == 1 and pair.domain is None
    return one and hidden <= MOST and 2 * pair.weights[0].shape[1] << hidden <= HELD


def quick(pair: Pair):
    """An upper bound for ONE pair, and a unit vector [d] where it is far apart; in float32."""
    with jax.default_matmul_precision("highest"):
        found = pieces(pair, jnp)
        sets = jnp.asarray(max_min.subsets(len(found.apart)), jnp.float32)
        q = sets @ found.apart
    signed = jnp.stack([q, -q])
    squares = jnp.sum(jnp.maximum(signed, 0.0) ** 2, axis=-1)
    # On the device a square too small counts as the least number.
    (n, width), tiny = found.apart.shape, float(jnp.finfo(q.dtype).tiny)
    long = lambda square: jnp.sqrt(square + width * tiny)
    norm, sizes = long(jnp.max(squares)), long(jnp.sum(found.sizes**2))
    terms = _terms(n, width, float(jnp.finfo(q.dtype).eps))
    bound = norm * (1.0 + terms) + terms * sizes + FLUSHED
    best = jnp.argmax(squares, axis=-1)
    tops = signed[0, best[0]], signed[1, best[1]]
    better = [
        _lowered(q, sets[at], concave)
        for q, at, concave in zip(tops, best, (found.of_f, found.of_g), strict=True)
    ]
    y = jnp.maximum(jnp.stack([*tops, *better]), 0.0)
    x = y[:, : width // 2] - y[:, width // 2 :]
    x = x / long(jnp.sum(x * x, axis=-1))[:, None]
    values = jnp.abs(pairs.difference(pair, x.T, xp=jnp)[0])
    sure = found.agree & (sizes < jnp.inf)
    upper = jnp.where(jnp.isnan(sizes), jnp.nan, jnp.where(sure, bound, jnp.inf))
    return upper, x[jnp.argmax(values)]


def _lowered(q, taken, concave):
    """q_+ of ONE set with better theta: `max_min.descended` on the device."""
    start, tau = q, [jnp.zeros(())] * len(concave)
    for k in 2 * [*range(len(concave))]:
        active = jnp.where(q > 0.0, concave[k], 0.0)
        slope, bend = jnp.sum(active * q), jnp.sum(active * active)
        moved = jnp.clip(tau[k] + slope / (bend + FLUSHED), -taken[k], 1.0 - taken[k])
        q, tau[k] = q - (moved - tau[k]) * concave[k], moved
    # A little beyond the walls: see `max_min.beyond`.
    return jnp.maximum(jnp.where(q > 0.0, q + ASIDE * (q - start), 0.0), 0.0)


def decide(pair: Pair, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brackets on the suprema of n pairs, in float64: see `bounds.Bound`.

    Args:
        pair: one hidden layer and one output; errors [n, side, n_out, n_in].
        wanted: the epsilons that are open, [n, epsilon]; inf for others.
    """

    def level(some, lower):
        """The least epsilon that is open of each pair."""
        inside = wanted[some] >= lower[:, None]
        return np.where(inside, wanted[some], np.inf).min(axis=1)

    return _brackets(pair, level)


def close(pair: Pair, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """The same, until upper <= (1 + gap) lower or no branch is left that helps."""
    return _brackets(pair, lambda _, lower: lower * (1.0 + gap))


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _brackets(pair, level):
    """Brackets [n]; sets matter above `level`, of pairs (a slice) and their lower bounds."""
    n, width = len(pair.errors[0]), pair.weights[0].shape[1] * 2 << len(pair.weights[0])
    step = max(1, AT_ONCE // width)
    ends = [(np.zeros(0), np.zeros(0))]
    for some in (slice(first, first + step) for first in range(0, n, step)):
        part = pair._replace(errors=tuple(e[some] for e in pair.errors))
        ends.append(_bracketed(part, partial(level, some)))
    lower, upper = map(np.concatenate, zip(*ends, strict=True))
    return lower, upper


class _Rows(NamedTuple):
    """Sets of some pairs, a column each: whose, of g - f (0) or f - g (1), and how far it got.

    sums: the sum of D over the set, 0 where `mask` is, [2 d, row].
    taken, tau: the partners, and theta less them, [n, row].
    mask: 0 for the sign of an input that a branch leaves out, [2 d, row].
    bound: [row].
    """

    pair: np.ndarray
    sign: np.ndarray
    sums: np.ndarray
    taken: np.ndarray
    tau: np.ndarray
    mask: np.ndarray
    bound: np.ndarray

    def chosen(self, at) -> "_Rows":
        return _Rows(*(x[..., at] for x in self))


def _bracketed(pair, level):
    found = pieces(pair, np)
    size = length(found.sizes, -1)
    sure = found.agree & (size < np.inf)
    every = _every_set(found, size)
    every[~sure] = 0.0
    concave = np.stack([found.of_f, found.of_g], axis=1)
    lower = np.zeros(len(size))
    # The sets of the largest bounds go ahead: their points spare most others a second look.
    for ahead in (n for n in SCOUTS if n == SCOUTS[0] or 8 * n < every[0].size):
        ahead = min(ahead, every[0].size)
        least = np.partition(every.reshape(len(size), -1), -ahead, axis=1)[:, -ahead]
        scouts, q = _narrowed(_rows(found, every, least), found, concave, SWEEPS[-1])
        lower = np.fmax(lower, _reached(pair, *_best(scouts, q)))
    known = np.where(every <= level(lower)[:, None, None], every, 0.0).max(axis=(1, 2))
    rows = _rows(found, every, level(lower))
    for sweeps in SWEEPS + BRANCHES * SWEEPS[-1:]:
        if len(rows.pair) == 0:
            break
        rows, q = _narrowed(rows, found, concave, sweeps)
        lower = np.fmax(lower, _reached(pair, *_best(rows, q)))
        keep = rows.bound > level(lower)[rows.pair]
        np.maximum.at(known, rows.pair[~keep], rows.bound[~keep])
        rows = rows.chosen(keep)
        if sweeps == SWEEPS[-1]:
            rows = _branched(rows, q[:, keep])
    np.maximum.at(known, rows.pair, rows.bound)
    upper = np.where(sure, np.maximum(known, lower), np.inf)
    return tuple(np.where(np.isnan(size), np.nan, end) for end in (lower, upper))


def _every_set(found, size):
    """Bounds of all sets, theta = 1 on their partners: [pair, sign, set]."""
    n, width = found.apart.shape[-2:]
    q = max_min.subsets(n) @ found.apart
    norm = np.empty((len(q), 2, 2**n))
    for sign, signed in enumerate((q, -q)):
        positive = np.maximum(signed, 0.0, out=signed)
        norm[:, sign] = np.sqrt(np.einsum("psj,psj->ps", positive, positive))
    terms = _terms(n, width)
    return norm * (1.0 + terms) + terms * size[:, None, None] + TINY


def _rows(found, every, level):
    """The sets that exceed what matters."""
    pair, sign, number = np.nonzero(every > level[:, None, None])
    taken = max_min.subsets(found.apart.shape[-2])[number]
    signed = taken * (1.0 - 2.0 * sign)[:, None]
    sums = np.einsum("rn,rnj->jr", signed, found.apart[pair])
    taken = np.ascontiguousarray(taken.T)
    nothing, whole = np.zeros_like(taken), np.ones_like(sums)
    return _Rows(pair, sign, sums, taken, nothing, whole, every[pair, sign, number])


def _narrowed(rows, found, concave, sweeps):
    """The same sets with better theta, and their q."""
    pieces = np.ascontiguousarray(np.moveaxis(concave[rows.pair, rows.sign], 0, -1)) * rows.mask
    q, tau = max_min.descended(rows.sums, rows.taken, rows.tau, pieces, sweeps)
    moved = found.sizes[rows.pair].T + np.einsum("kr,kjr->jr", np.abs(tau), np.abs(pieces))
    terms = _terms(len(tau), len(q))
    norm, moved = (np.sqrt(np.einsum("jr,jr->r", x, x)) for x in (q, moved))
    bound = np.fmin(rows.bound, norm * (1.0 + terms) + terms * moved + TINY)
    return rows._replace(tau=tau, bound=bound), q


def _best(rows, q):
    """Points of the sets with the largest bounds of each pair, and whose they are."""
    order = np.lexsort((-rows.bound, rows.pair))
    whose = rows.pair[order]
    best = order[np.arange(len(order)) - np.searchsorted(whose, whose) < POINTS]
    return rows.pair[best], np.maximum(max_min.beyond(q[:, best], rows.sums[:, best]), 0.0)


def _branched(rows, q):
    """Sets whose y has an input of both signs become two, one without each; others stay."""
    d = len(q) // 2
    both = np.minimum(q[:d], q[d:])
    at, split = both.argmax(axis=0), both.max(axis=0) > 0.0
    parts = [rows.chosen(~split)]
    for off in (at, at + d):
        half = rows.chosen(split)
        mask = half.mask * (np.arange(2 * d)[:, None] != off[split])
        parts.append(half._replace(mask=mask, sums=half.sums * mask))
    return _Rows(*(np.concatenate(x, axis=-1) for x in zip(*parts, strict=True)))


def _reached(pair, whose, y):
    """What points y [2 d, row] show of the pairs they belong to: [pair]."""
    d, n = len(y) // 2, len(pair.errors[0])
    x = y[:d] - y[d:]
    seen = np.any(x != 0.0, axis=0) & np.all(np.isfinite(x), axis=0)
    whose, x = whose[seen], x[:, seen]
    # As many points a pair as the one that has most of them.
    order = np.argsort(whose, kind="stable")
    number = np.arange(len(order)) - np.searchsorted(whose[order], whose[order])
    points = np.zeros((n, d, int(number.max(initial=0)) + 1))
    points[whose[order], :, number] = x[:, order].T
    return pairs.reached(pair, points)[0].max(axis=-1)


def _terms(n, width, ulp=ULP):
    """What an entry of q and a norm may be off by, relative to all they are sums of; twice that."""
    return 2.0 * (2 * n + width + 12) * ulp
