"""A semidefinite upper bound on the supremum over the unit ball of ||g - f||, for a near pair.

Of the matrix X = p p' of `moments` two things are kept: it is positive semidefinite with its range
in that of p, and its entries obey their rules. `advance` takes steps of Douglas and Rachford (Lions
and Mercier, SIAM J. Numer. Anal. 16, 1979) between the two. **Any** symmetric matrix bounds the
objective C: cut down to an M that is normal to the rules,

    <C, X>  <=  M_11 + max_j M_jj  +  T max(0, lambda_max(Q'(C - M)Q)),       T >= tr X,

j among the rows of x (or 0 in place of the maximum, if that is less and the sum of the squares of x
may be less than 1), and columns of Q a basis of the range. So steps only look for M, in whatever
precision; `certify` bounds in float64, on the host, with all rounding added.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.networks.pairs import Pair
from ltjax.supnorm.moments import (
    OUTWARD,
    Basis,
    Lift,
    basis,
    known_bound,
    large_enough,
    lift,
    open_signs,
)
from ltjax.system import devices
from ltjax.system.stops import Stop, never

BATCH = 16  # problems on the device at once
STEPS = 400
TAU = 1.0, 0.3  # the weight of the objective in the first and the last step
RELAXED = 1.7  # omega, below 2
EMPTY = 0.5  # of the sum of the squares of x, where it can be 1
CUBE, CALL = 1e-9, 1e-4  # seconds of a step on columns [m, N]: CUBE N^3 + CALL, roughly
CHUNK = 0.25  # seconds on the device between two questions whether to stop
AHEAD = 0.0, 4.0, 32.0, 256.0  # in halves of a visit


def advance(problem, state, rules, falling, steps, tell):
    """Steps for ONE problem, on the device.

    Args:
        problem: C, [m, m], and Q, [m, N].
        state: Z, [m, m]: any matrix; zeros, or where the steps of a like problem ended. And tau.
        rules: low, high, slopes, square and least, as in `Lift`.
        falling: by what each step multiplies tau.
        steps: how many.
        tell: whether M and X are wanted; they are zeros otherwise.

    Returns:
        Z, [m, m], and tau, where more steps may start.
        M, [m, m], for `certify`.
        X, [m, m], positive semidefinite: near the moments of p where the bound is attained.
    """
    objective, columns = problem

    def halves(z, tau):
        x = _semidefinite(columns, z)
        y = 2.0 * x - z + tau * objective
        return x, y, _admissible(y, *rules)

    def step(_, state):
        z, tau = state
        x, _, admissible = halves(z, tau)
        # Z - X is tau times a multiplier, and the multiplier is what the next tau keeps.
        return x + falling * (z + RELAXED * (admissible - x) - x), falling * tau

    def told(z, tau):
        x, y, admissible = halves(z, tau)
        return (y - admissible) / tau, x

    z, tau = jax.lax.fori_loop(0, steps, step, state)
    silent = lambda z, tau: (jnp.zeros_like(z), jnp.zeros_like(z))
    return (z, tau), *jax.lax.cond(tell, told, silent, z, tau)


_advance_some = jax.jit(
    jax.vmap(
        advance,
        in_axes=(0, (0, None), (None, None, (None, 0), None, None), None, None, None),
        out_axes=((0, None), 0, 0),
    )
)


def _advance_all(problem, starts, rules, schedule, stop: Stop = never):
    """A visit to every problem of a batch, in as many parts as it takes to ask `stop` often.

    Args:
        schedule: tau of the first and of the last step, and the number of steps.

    Returns:
        Z, where more steps may start; M, for `certify`; how M moved in the second half of the
        steps; and X: each [b, m, m]. None where there was no time for all of it.
    """
    first, last, steps = schedule
    falling = (last / first) ** (1 / steps)
    b, _, n = problem[1].shape
    most = max(1, int(CHUNK / (b * (CUBE * n**3 + CALL))))
    state, told = (starts, first), []
    for half in (int(steps) // 2, int(steps) - int(steps) // 2):
        parts = [most] * (half // most) + [half % most]
        for k, part in enumerate(parts, 1):
            if stop():
                return None
            state, m, x = _advance_some(problem, state, rules, falling, part, k == len(parts))
            jax.block_until_ready(x)
        told.append(m)
    return state[0], told[1], told[1] - told[0], x


def _semidefinite(columns, z):
    """The nearest positive semidefinite matrix with its range in that of the columns."""
    values, vectors = jnp.linalg.eigh(columns.T @ z @ columns)
    root = columns @ (vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None])
    return root @ root.T


def _admissible(y, low, high, slopes, square, least):
    """The nearest symmetric matrix that obeys the rules on entries."""
    (i, j), scales = slopes
    bound = _on_slopes(*y[i, j], scales)
    x, diagonal = jnp.clip(y, low, high).at[i, j].set(bound).at[j, i].set(bound), jnp.diagonal(y)
    # The nearest point of a simplex: all lowered by one number, and cut at 0.
    falling = -jnp.sort(jnp.where(square, -diagonal, jnp.inf))
    total = jnp.cumsum(jnp.where(falling > -jnp.inf, falling, 0.0))
    shifts = (total - 1.0) / jnp.arange(1, len(falling) + 1, dtype=y.dtype)
    shift = jnp.maximum(shifts[jnp.sum(falling > shifts) - 1], least)
    share = jnp.maximum(diagonal - shift, 0.0)
    return x + jnp.diag(jnp.where(square, share - jnp.diagonal(x), 0.0))


def _on_slopes(rise, fall, product, s):
    """The nearest D (F - z) >= 0, E F >= 0 and D E <= 0 with D (F - z) + E F + s D E = 0.

    Given t = -D E, the two others share s t; either both of them are positive, or the larger is.
    """
    apart, larger = rise - fall, jnp.maximum(rise, fall)
    both = jnp.maximum((s * (rise + fall) / 2.0 - product) / (1.0 + s * s / 2.0), 0.0)
    one = jnp.maximum((s * larger - product) / (1.0 + s * s), 0.0)
    t = jnp.where(jnp.abs(apart) <= s * both, both, one)
    rise = jnp.clip((s * t + apart) / 2.0, 0.0, s * t)
    return jnp.stack([rise, s * t - rise, -t])


def certify(asked: Lift, which: int, node: Basis, multipliers) -> float:
    """The bound that any matrix gives: float64, on the host, rounded up.

    Args:
        which: of the objectives.
        node: what the signs that are known leave of p.
        multipliers: [m, m]; what is no multiplier of a rule on entries is cut off.

    Returns:
        An upper bound on the supremum over the node, of what the objective stands for.
    """
    m = np.asarray(multipliers, np.float64)
    if not np.isfinite(m).all():
        return asked.unit
    m = (m + m.T) / 2.0
    low, high = (np.where(np.isfinite(bound), np.inf, 0.0) for bound in (asked.low, asked.high))
    of_squares = np.diagonal(m)[asked.square]
    (i, j), scales = asked.slopes
    rise, fall, product = m[i, j]
    m = np.clip(m, -low, high)
    # Of t = -D E, at most: s t max(rise, fall) - t product, which may not be positive.
    least = scales * np.maximum(rise, fall)
    product = np.maximum(product, least + OUTWARD * np.abs(least))
    m[i, j] = m[j, i] = rise, fall, product
    m[asked.square, asked.square] = of_squares
    objective = asked.objective[which]
    try:
        top = np.linalg.eigvalsh(node.columns.T @ (objective - m) @ node.columns)[-1]
    except np.linalg.LinAlgError:  # did not converge: what is known without
        return asked.unit
    slack = node.error * (np.linalg.norm(m) + np.linalg.norm(objective))
    share = m[0, 0] + of_squares.max(initial=asked.least) + asked.trace * (max(top, 0.0) + slack)
    share = max(share, 0.0) ** (1.0 / asked.power)
    return min(asked.unit, float(asked.unit * share * (1.0 + OUTWARD)))


class Improved(NamedTuple):
    """A bound; Z, where `advance` may go on; and X, the moments."""

    bound: float
    start: np.ndarray
    moments: np.ndarray


def improve(
    asked: Sequence[Lift],
    which,
    signs,
    starts,
    steps: int,
    tau=TAU,
    kind=np.float32,
    stop: Stop = never,
) -> list[Improved] | None:
    """Steps for nodes of pairs of one shape, together on the device; and their bounds.

    Args:
        asked: the pair of each node; which: the objective of each.
        signs: of each node, as in `basis`; starts: Z, [m, m] each.
        steps, tau: how many, and the first and the last weight.
        kind: what the device computes in; a bound is valid for any.
        stop: asked before every node and every quarter of a second of steps.

    Returns:
        None where `stop` came to be true before the end.
    """
    nodes: list[Basis] = []
    for one, known in zip(asked, signs, strict=True):
        if stop():
            return None
        nodes.append(basis(one, known))
    objective = np.stack([a.objective[k] for a, k in zip(asked, which, strict=True)])
    problem = objective.astype(kind), np.stack([n.columns for n in nodes]).astype(kind)
    low, high, (places, _), square = asked[0].low, asked[0].high, asked[0].slopes, asked[0].square
    scales = np.stack([a.slopes[1] for a in asked]).astype(kind)
    rules = low.astype(kind), high.astype(kind), (places, scales), square, kind(asked[0].least)
    schedule = tuple(map(kind, (*tau, steps)))
    with devices.own_settings(), jax.enable_x64(True), jax.default_matmul_precision("highest"):
        found = _advance_all(problem, np.stack(starts).astype(kind), rules, schedule, stop)
        if found is None:
            return None
        z, m, drift, x = map(np.asarray, found)
    bounds: list[float] = []
    for of_node in zip(asked, which, nodes, m, drift, x, strict=True):
        if stop():
            return None
        bounds.append(_farthest(*of_node))
    return list(map(Improved, bounds, z, x))


def _farthest(asked, which, node, multipliers, drift, moments):
    """The bound; where a node seems empty, with multipliers ahead of the steps.

    Steps between sets without a common matrix go on along one line for ever, and so do multipliers;
    the sum of the squares of x stays below 1. (In a domain it may anyway.)
    """
    empty = np.trace(moments[np.ix_(asked.square, asked.square)]) < EMPTY
    ahead = AHEAD if empty else (0.0,)
    return min(certify(asked, which, node, multipliers + far * drift) for far in ahead)


def upper(pair: Pair, norm: str = "l2", steps: int = STEPS, batch: int = BATCH) -> np.ndarray:
    """Upper bounds on the suprema of b pairs: float64, on the host.

    Args:
        pair: errors [b, side, n_out, n_in]; weights [n_out, n_in], or [b, n_out, n_in].
        norm: of several outputs, "l2" or "max".
        batch: problems on the device at once; a pair has one, or in the maximum two an output.

    Returns:
        [b], no more than `certificate.upper`; NaN where an error is.
    """
    pairs = [_one(pair, k) for k in range(len(pair.errors[0]))]
    bounds = np.array([known_bound(one) for one in pairs])
    sound = np.flatnonzero(large_enough(bounds)).tolist()
    asked = {k: lift(pairs[k], bounds[k], norm) for k in sound}
    bounds[sound] = 0.0
    todo = [(k, which) for k in sound for which in range(len(asked[k].objective))]
    for n in range(0, len(todo), batch):
        part = todo[n : n + batch]
        # Some twice, so that there is one program for any number.
        of, which = zip(*(part[i % len(part)] for i in range(batch)), strict=True)
        lifts = [asked[k] for k in of]
        starts = [np.zeros_like(a.low) for a in lifts]
        found = improve(lifts, which, map(open_signs, lifts), starts, steps)
        assert found is not None  # as nothing stops it
        for k, one in zip(of, found, strict=True):
            bounds[k] = max(bounds[k], one.bound)
    return bounds


def _one(pair, k):
    own = tuple(w if w.ndim == 2 else w[k] for w in map(np.asarray, pair.weights))
    return Pair(own, tuple(e[k] for e in pair.errors), *pair[2:])
