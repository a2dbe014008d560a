"""The formula of `max_min` for many pairs at once, without its branches.

`quick` is for the device, for ONE pair and to be batched: theta = 1 on the partners of every set by
one matrix product, in float32 with its rounding, and the point of the best set of either sign.
`decide` is for the host, in float64: where an epsilon is inside a bracket, better theta for the
sets above it, those of all pairs in one list.

Here a neuron has one convex and one concave piece, a_i and b_i being of one sign: what a rule keeps
that errs by less than the weight itself. Of other pairs nothing is said, and `max_min` settles them
as it does those whose best y has an input of both signs.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.networks import pairs
from ltjax.networks.pairs import ULP, Pair, length
from ltjax.supnorm import max_min

MOST = 10  # hidden neurons of which the device tries all sets
AT_ONCE = 2**17  # numbers that the sets of some pairs take, which a cache still holds
SWEEPS = (1, 2, 4)  # for the sets that are open, then for those open after that
BRANCHES = 12  # on the sign of an input, of what is open then
POINTS = 3  # of each pair and sign, after each of these
FLUSHED = 1e-30  # more than the device loses of numbers too small for float32
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
    shape = pair.weights[-1].shape
    return len(pair.weights) == 2 and pair.last == "linear" and shape[0] == 1 and shape[1] <= MOST


def quick(pair: Pair):
    """An upper bound for ONE pair, and a unit vector [d] where it is far apart; in float32."""
    with jax.default_matmul_precision("highest"):
        found = pieces(pair, jnp)
        q = jnp.asarray(subsets(len(found.apart)), jnp.float32) @ found.apart
    signed = jnp.stack([q, -q])
    squares = jnp.sum(jnp.maximum(signed, 0.0) ** 2, axis=-1)
    # On the device a square too small counts as the least number.
    (n, width), tiny = found.apart.shape, float(jnp.finfo(q.dtype).tiny)
    long = lambda square: jnp.sqrt(square + width * tiny)
    norm, sizes = long(jnp.max(squares)), long(jnp.sum(found.sizes**2))
    terms = _terms(n, width, float(jnp.finfo(q.dtype).eps))
    bound = norm * (1.0 + terms) + terms * sizes + FLUSHED
    best = jnp.argmax(squares, axis=-1)
    y = jnp.maximum(jnp.stack([q[best[0]], -q[best[1]]]), 0.0)
    x = y[:, : width // 2] - y[:, width // 2 :]
    x = x / long(jnp.sum(x * x, axis=-1))[:, None]
    values = jnp.abs(pairs.difference(pair, x.T, xp=jnp)[0])
    sure = found.agree & (sizes < jnp.inf)
    upper = jnp.where(jnp.isnan(sizes), jnp.nan, jnp.where(sure, bound, jnp.inf))
    return upper, x[jnp.argmax(values)]


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def decide(pair: Pair, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brackets on the suprema of n pairs, in float64: see `bounds.Bound`.

    Args:
        pair: one hidden layer and one output; errors [n, side, n_out, n_in].
        wanted: the epsilons that are open, [n, epsilon]; inf for others.
    """
    n, width = len(wanted), pair.weights[0].shape[1] * 2 << len(pair.weights[0])
    step = max(1, AT_ONCE // width)
    parts = (np.arange(n)[first : first + step] for first in range(0, n, step))
    found = [
        _decided(pair._replace(errors=tuple(e[some] for e in pair.errors)), wanted[some])
        for some in parts
    ]
    lower, upper = (np.concatenate([np.zeros(0), *ends]) for ends in zip(*found, strict=True))
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


def _decided(pair, wanted):
    found = pieces(pair, np)
    size = length(found.sizes, -1)
    sure = found.agree & (size < np.inf)
    every, y = _every_set(found, size)
    every[~sure] = 0.0
    lower = _reached(pair, np.repeat(np.arange(len(y)), len(y[0])), y.reshape(-1, y.shape[-1]).T)
    level = _level(wanted, lower)
    rows = _rows(found, every, level)
    known = np.where(every <= level[:, None, None], every, 0.0).max(axis=(1, 2))
    concave = np.stack([found.of_f, found.of_g], axis=1)
    for sweeps in SWEEPS + BRANCHES * SWEEPS[-1:]:
        if len(rows.pair) == 0:
            break
        rows, q = _narrowed(rows, found, concave, sweeps)
        lower = np.fmax(lower, _reached(pair, *_best(rows, q)))
        level = _level(wanted, lower)
        keep = rows.bound > level[rows.pair]
        np.maximum.at(known, rows.pair[~keep], rows.bound[~keep])
        rows = rows.chosen(keep)
        if sweeps == SWEEPS[-1]:
            rows = _branched(rows, q[:, keep])
    np.maximum.at(known, rows.pair, rows.bound)
    upper = np.where(sure, np.maximum(known, lower), np.inf)
    return tuple(np.where(np.isnan(size), np.nan, end) for end in (lower, upper))


def _level(wanted, lower):
    """The least epsilon that is open of each pair, which sets must exceed to matter: [pair]."""
    return np.where(wanted >= lower[:, None], wanted, np.inf).min(axis=1)


def _every_set(found, size):
    """Bounds of all sets, theta = 1 on their partners, [pair, sign, set]; y of the best of them."""
    n, width = found.apart.shape[-2:]
    q = subsets(n) @ found.apart
    bounds, points = [], []
    whose = np.arange(len(q))[:, None]
    for signed in (q, -q):
        positive = np.maximum(signed, 0.0)
        bounds.append(np.sqrt(np.einsum("psj,psj->ps", positive, positive)))
        best = np.argpartition(-bounds[-1], min(POINTS, 2**n - 1), axis=-1)[:, :POINTS]
        points.append(positive[whose, best])
    terms, norm = _terms(n, width), np.stack(bounds, axis=1)
    every = norm * (1.0 + terms) + terms * size[:, None, None] + TINY
    return every, np.concatenate(points, axis=1)


def _rows(found, every, level):
    """The sets that exceed what matters."""
    pair, sign, number = np.nonzero(every > level[:, None, None])
    taken = subsets(found.apart.shape[-2])[number]
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
    bound = np.minimum(rows.bound, norm * (1.0 + terms) + terms * moved + TINY)
    return rows._replace(tau=tau, bound=bound), q


def _best(rows, q):
    """y of the sets with the largest bounds of each pair, and whose they are."""
    order = np.lexsort((-rows.bound, rows.pair))
    whose = rows.pair[order]
    best = order[np.arange(len(order)) - np.searchsorted(whose, whose) < POINTS]
    return rows.pair[best], q[:, best]


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


@cache
def subsets(n: int) -> np.ndarray:
    """All subsets of n pieces, as rows of ones and zeros: [2^n, n]."""
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
