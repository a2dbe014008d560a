"""The supremum over the unit ball of |relu(u) - relu(v)|, for one neuron and its ticket.

u(x) = w.x is the target and v the pre-activation of a ticket with one input a neuron, so that v
has a slope of its own on either side of every coordinate, and v - u has the slopes e = slot error:

    v(x) - u(x) = sum_i e_i+ x_i+  -  e_i- x_i-

Both differences (relu(v) - relu(u))+ = min(v, v - u)+ and (relu(u) - relu(v))+ = min(u, u - v)+
have one form: choose a side of every coordinate, and y = |x| >= 0 with ||y|| <= 1, to maximise
min(alpha.y, beta.y). For chosen sides that is, by minimax (derived here; the objective is concave
in y and linear in lam),

    min over 0 <= lam <= 1 of ||(lam alpha + (1 - lam) beta)+||,

one-dimensional and convex. lam = 0 with the better side everywhere is the supremum of |v - u|,
always an upper bound; any y is a lower bound. Sides are numbered 0 for +, 1 for -.
"""

import jax.numpy as jnp
import numpy as np

from ltjax.networks.pairs import ULP, length

MAX_SIDES = 16  # coordinates whose side is a real choice: 2^16 orthants are still tried
LAMBDAS = np.linspace(0.0, 1.0, 33)
UNDERFLOW = 2.0**-530  # more than squares lose of a norm where they underflow, by dimension


def neuron_bounds(weights, errors):
    """Cheap bounds on the device: `lower` from four points, `upper` = sup |v - u|.

    Args:
        weights: w, [d, trial]; errors: slot errors of the tickets, [side, d, trial].

    Returns:
        lower, upper: [trial]; valid for the given errors but for float32 rounding.
    """
    target, ticket, difference = _signed(weights[None], errors, jnp)
    bounds = []
    for alpha, beta in ((ticket, difference), (target, -difference)):
        norm, point = _point_at(alpha, beta, beta)
        bounds.append((jnp.maximum(point, _point_at(alpha, beta, alpha)[1]), norm))
    lower, upper = (jnp.maximum(*both) for both in zip(*bounds, strict=True))
    return lower, upper


def _signed(weights, errors, xp):
    """Slopes of u, v and v - u in |x| on either side: [side, d, ...], by the side's sign."""
    sign = xp.asarray([1.0, -1.0], errors.dtype).reshape(2, *[1] * (errors.ndim - 1))
    return sign * weights, sign * (weights + errors), sign * errors


def _point_at(alpha, beta, prefer):
    """||beta+|| and min(alpha.y, beta.y)+ at y = beta+ / ||beta+||, where `prefer` is larger."""
    minus = prefer[1] > prefer[0]
    alpha, beta = (jnp.where(minus, x[1], x[0]) for x in (alpha, beta))
    y = jnp.maximum(beta, 0.0)
    norm = jnp.sqrt(jnp.sum(y * y, axis=0))  # which is beta.y / ||y||
    along = jnp.sum(alpha * y, axis=0) / jnp.where(norm > 0, norm, 1.0)
    return norm, jnp.maximum(jnp.minimum(along, norm), 0.0)


def neuron_supremum(weights, errors, epsilons):
    """Bracket the supremum in float64 until no epsilon lies inside; exact where it had to be.

    Args:
        weights: w, [d].
        errors: slot errors of n tickets, [n, side, d].
        epsilons: the thresholds that matter, [n_epsilons].

    Returns:
        lower, upper: [n]. They straddle an epsilon only where it equals the supremum to some ulps
        of the norms of w and e, as an empty slot can make it equal some |w_i|, or where more than
        MAX_SIDES coordinates have two sides worth trying.
    """
    n, _, dim = errors.shape
    target, ticket, difference = _signed(
        np.asarray(weights, np.float64), np.moveaxis(errors, 1, 0)[:, :, None], np
    )
    # Both directions of every ticket, one after the other: [2 n, side, d].
    alpha = np.concatenate([ticket, np.broadcast_to(target, ticket.shape)], axis=2)
    beta = np.concatenate([difference, -difference], axis=2)
    alpha, beta = (np.moveaxis(x, 0, 2).reshape(2 * n, 2, dim) for x in (alpha, beta))
    # lam = 0 on the better sides bounds each direction above; no point is needed to start below.
    upper = cheap = length(np.maximum(beta, 0.0).max(axis=1), -1)
    lower, off = np.zeros_like(upper), _off(weights, errors)
    cheap = cheap.reshape(-1, 2).max(axis=1) * (1.0 + (dim + 4) * ULP)
    for refine in (_relax, _enumerate):
        low, high = _rounded(lower, upper, off, cheap)
        open_at = holds_inside(low, high, epsilons).any(axis=1)
        at = np.flatnonzero(np.repeat(open_at, 2) & (upper > np.repeat(low, 2)))
        lower[at], upper[at] = refine(alpha[at], beta[at], lower[at], upper[at])
    return _rounded(lower, upper, off, cheap)


def _off(weights, errors):
    """What rounding may do to a value, [n]: relative to w and e, which may cancel.

    Slopes w + e are rounded, a mean of slopes three times, a dot product d times; no value moves by
    more than its slopes do. 0 where no error is.
    """
    sizes, dim = length(errors, (1, 2)), errors.shape[-1]
    off = (dim + 8) * ULP * 2.0 * (length(weights) + sizes) + dim * UNDERFLOW
    return np.where(sizes == 0.0, 0.0, off)


def holds_inside(lower, upper, epsilons):
    """Which epsilons a bracket leaves undecided: bool [..., epsilon]."""
    return (lower[..., None] <= epsilons) & (epsilons < upper[..., None])


def _rounded(lower, upper, off, cheap):
    """The larger of both directions, outwards; `cheap` is rounded relative to the errors alone."""
    low, high = (x.reshape(-1, 2).max(axis=1) for x in (lower, upper))
    return np.maximum(low - off, 0.0), np.minimum(high + off, cheap)


def _relax(alpha, beta, lower, upper):
    """Let every lam choose its own sides: a convex upper bound, and points on either side."""
    value, left, right = _minimise(alpha, beta, 16)
    upper = np.minimum(upper, value)
    for lam in (left, right):
        mixed = _at(lam[:, None], alpha, beta)
        minus = mixed[:, 1] > mixed[:, 0]
        a, b = (np.where(minus, x[:, 1], x[:, 0]) for x in (alpha, beta))
        _, low, high = _minimise(a[:, None], b[:, None], 16)
        lower = np.maximum(lower, np.maximum(_point(low, a, b), _point(high, a, b)))
    return np.minimum(lower, upper), upper


def _enumerate(alpha, beta, lower, upper):
    """Try every choice of sides, where a coordinate has two sides worth trying."""
    plus_wins, minus_wins = (
        (alpha[:, s] >= alpha[:, 1 - s]) & (beta[:, s] >= beta[:, 1 - s]) for s in (0, 1)
    )
    counts = np.sum(~(plus_wins | minus_wins), axis=1)
    lower, upper = lower.copy(), upper.copy()
    for count in np.unique(counts[counts <= MAX_SIDES]):
        rows = np.flatnonzero(counts == count)
        step = max(1, 2**21 // (len(LAMBDAS) << int(count)))
        for part in np.split(rows, range(step, len(rows), step)):
            choice = np.where(plus_wins[part], 0, np.where(minus_wins[part], 1, 2))
            lower[part] = upper[part] = _best_sides(alpha[part], beta[part], choice, int(count))
    return lower, upper


def _best_sides(alpha, beta, choice, count):
    """Exact value of n problems with `count` free coordinates each (choice 2; else the side)."""
    squares = np.square(np.maximum(_at(LAMBDAS[:, None, None, None], alpha, beta), 0.0))
    fixed = np.take_along_axis(squares, np.minimum(choice, 1)[None, :, None], axis=2)[:, :, 0]
    total = np.sum(np.where(choice == 2, 0.0, fixed), axis=-1)[..., None]  # [lam, n, choices]
    free = np.argsort(choice != 2, axis=1, kind="stable")[:, :count]
    for column in free.T:
        pair = np.take_along_axis(squares, column[None, :, None, None], axis=3)[..., 0]
        total = np.concatenate([total + pair[..., :1], total + pair[..., 1:]], axis=-1)
    bound = np.sqrt(total.min(axis=0))

    def exact(row, code):
        sides = choice[row]
        bits = (code[:, None] >> np.arange(count)[None, :]) & 1
        np.put_along_axis(sides, free[row], bits, axis=1)
        a, b = (np.take_along_axis(x[row], sides[:, None], axis=1) for x in (alpha, beta))
        return _minimise(a, b, 60)[0]

    rows = np.arange(len(alpha))
    best = exact(rows, bound.argmax(axis=1))
    row, code = np.nonzero(bound > best[:, None])
    np.maximum.at(best, row, exact(row, code))
    return best


def _at(lam, alpha, beta):
    return beta + lam * (alpha - beta)


def _minimise(alpha, beta, steps):
    """Least norm over lam by bisection on its slope, with the interval that holds its place.

    Every lam takes the better side of each coordinate. Arrays [n, sides, d]; results [n], [n, 1].
    """
    left, right = np.zeros((len(alpha), 1)), np.ones((len(alpha), 1))
    ends = [np.maximum(x.max(axis=1), 0.0) for x in (alpha, beta)]
    least = np.minimum(*(np.einsum("nd,nd->n", x, x) for x in ends))
    (first, *second), change = np.moveaxis(beta, 1, 0), alpha - beta
    for _ in range(steps):
        middle = 0.5 * (left + right)
        y, slope = first + middle * change[:, 0], change[:, 0]
        if second:
            other = second[0] + middle * change[:, 1]
            y, slope = np.maximum(y, other), np.where(other > y, change[:, 1], slope)
        y = np.maximum(y, 0.0)
        least = np.minimum(least, np.einsum("nd,nd->n", y, y))
        rising = np.einsum("nd,nd->n", y, slope)[:, None] > 0
        left, right = np.where(rising, left, middle), np.where(rising, middle, right)
    return np.sqrt(least), left, right


def _point(lam, alpha, beta):
    """min(alpha.y, beta.y) / ||y|| at y = (lam alpha + (1 - lam) beta)+, on chosen sides."""
    y = np.maximum(_at(lam, alpha, beta), 0.0)
    norm = np.linalg.norm(y, axis=-1)
    value = np.minimum(np.einsum("nd,nd->n", alpha, y), np.einsum("nd,nd->n", beta, y))
    return np.where(norm > 0, np.maximum(value, 0.0) / np.where(norm > 0, norm, 1.0), 0.0)
