"""A lower bound on the supremum of ||g(x) - f(x)||, for a near pair of networks.

Both are positively homogeneous, so that over the unit ball the supremum is on the sphere. To first
order in the errors E the difference is linear on each cone where no pre-activation of f changes
sign, and between cones it jumps, through slabs of relative width E. The gradient says nothing of
the jumps, and maxima sit on several walls at once. Hence two tools.

`search` is gradient ascent with falling steps from many starts, half of them by homotopy: the
errors are larger at first, and with them the slabs, so that the gradient sees the jumps. `climb` is
exact where all signs are given: on that cone the difference is c.y with y = |x|, and by duality

    max of c.y over G y >= 0, ||y|| <= 1   =   min over u >= 0 of ||c + G'u||,

attained where y is along c + G'u. It moves to a neighbouring cone while that maximum rises, and
any u >= 0 excludes most neighbours beforehand.

In another domain every step ends at the nearest point of it, and there is no climb.

Every value is that of a point in hand: a lower bound, and never to be read as the supremum, which
even many starts can miss by some percent.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import optimize

from ltjax.networks import domains
from ltjax.networks.pairs import Pair, difference, length, reached
from ltjax.system import devices
from ltjax.system.stops import Stop, never

BOOST = 16.0  # of the errors when a homotopy begins
SHRINK = 2.0 / 3.0  # share of the steps after which the errors are their own size
STEP, LAST_STEP = 0.5, 1e-3
STARTS, STEPS = 96, 60
AT_ONCE = 4e9  # multiplications of a search, about a second: with more, fewer starts at a time
GROUPS = 8  # of starts that are searched from: of networks so large not all of them
BATCH = 64  # pairs on the device at once, which its cache still holds
CLIMBED = 160  # signs of x, f and g with which a climb takes seconds at most
NEAR = 0.8  # of what is wanted: a climb seldom adds a quarter
RISE = 1e-9  # relative, that makes a move worth it


def search(pair: Pair, starts, steps: int = STEPS):
    """Ascend from many starts, on the device; the best point met, starts included.

    Args:
        pair: ONE pair, errors [side, n_out, n_in].
        starts: unit vectors, [start, d]; an even number, of which the first half sees BOOST.

    Returns:
        A unit vector [d], or a point of the domain, and ||g - f|| there: a lower bound but for
        rounding, no supremum.
    """
    # A GPU would multiply in TF32, too coarse for networks that are near.
    if pair.domain is not None:
        starts = _inside(starts * domains.reach(pair.domain, starts.shape[-1]), pair)
    with jax.default_matmul_precision("highest"):
        # Starts that share their errors share one matrix product.
        half = lambda starts, boost: jax.vmap(lambda x: _ascend(pair, x, boost, steps))(starts)
        halves = starts.reshape(2, -1, starts.shape[-1])
        points, values = jax.vmap(half)(halves, jnp.array([BOOST, 1.0], jnp.float32))
    best = jnp.argmax(values)
    return points.reshape(starts.shape)[best], values.reshape(-1)[best]


def _ascend(pair, start, boost, steps):
    """The best point met from one start, [d], and its value."""
    reach = 1.0 if pair.domain is None else domains.reach(pair.domain, len(start))
    size = optax.exponential_decay(STEP * reach, steps, LAST_STEP / STEP)
    larger = optax.linear_schedule(1.0, 0.0, SHRINK * steps)

    def step(state, now):
        (x, *best), (size, scale) = state, now
        value, slope = _value_and_slope(pair, x, scale)
        # Under larger errors the value is that of another pair.
        best = _better(best, x, jnp.where(scale > 1.0, -jnp.inf, value))
        return (_inside(x + size * slope, pair), *best), None

    count = jnp.arange(steps, dtype=jnp.float32)
    state = start, start, _value_and_slope(pair, start, 1.0)[0]
    (x, *best), _ = jax.lax.scan(step, state, (size(count), boost ** larger(count)))
    return _better(best, x, _value_and_slope(pair, x, 1.0)[0])


def _value_and_slope(pair, x, scale):
    """||g(x) - f(x)|| with larger errors, and the unit vector along which it rises; 0 if flat."""
    larger = pair._replace(errors=tuple(scale * e for e in pair.errors))
    gap, pull = jax.vjp(lambda x: difference(larger, x[:, None], xp=jnp)[:, 0], x)
    value, direction = _norm_and_unit(gap)
    (slope,) = pull(direction)
    if pair.domain is not None:  # the constant does not move
        slope = slope.at[-1].set(0.0)
    return value, _norm_and_unit(slope)[1]


def _inside(x, pair):
    """The nearest points of the sphere, or of another domain, to points [..., d]."""
    if pair.domain is None:
        return optax.projections.projection_l2_sphere(x)
    return domains.nearest(x[..., None], pair.domain, xp=jnp)[..., 0]


def _norm_and_unit(x):
    norm = jnp.linalg.norm(x)
    return norm, x / jnp.where(norm > 0.0, norm, 1.0)


def _better(best, x, value):
    return jnp.where(value > best[1], x, best[0]), jnp.maximum(value, best[1])


def lower(pair: Pair, wanted=None, batch: int = BATCH, stop: Stop = never):
    """A lower bound for each of b >= 1 pairs, and the point that shows it: float64, on the host.

    Args:
        pair: errors [b, side, n_out, n_in]; weights [n_out, n_in], or [b, n_out, n_in].
        wanted: [b], what the value is to exceed. A climb is spared where the search does, or is so
            far below (NEAR) that no climb would; by default all climb.
        batch: pairs on the device at once. A value depends on it in the last digits, and on no
            other pair.
        stop: asked between starts and climbs; once true, a start is the point.

    Returns:
        value, [b]: ||g(x) - f(x)|| at x, less all that rounding may have added: not the
            supremum, and with a relu last 0 where no start meets a point at which f or g is
            positive. NaN if an error is.
        x: unit vectors, [b, d], or points of the domain.
    """
    weights, errors = (tuple(np.asarray(a, np.float64) for a in layers) for layers in pair[:2])
    found = []
    for part in np.split(np.arange(n := len(errors[0])), range(batch, n, batch)):
        points = _searched(weights, errors, part, batch, pair[2:], stop)
        for i, x in zip(part, points, strict=False):
            own = tuple(w if w.ndim == 2 else w[i] for w in weights)
            one = Pair(own, tuple(e[i] for e in errors), *pair[2:])
            found.append(_climbed(one, x, None if wanted is None else wanted[i], stop))
    value, x = (np.stack(both) for both in zip(*found, strict=True))
    return value, x


@devices.own_settings()
def _searched(weights, errors, part, batch, kind, stop):
    """The best points of a part, [b, d]: a few starts at a time where all would take seconds."""
    groups = _groups(weights, batch)
    best = np.full((batch, weights[0].shape[-1]), 1.0), np.full(batch, -np.inf)
    filled = None
    for group in range(min(groups, GROUPS)):
        if stop():
            break
        filled = filled or _filled(weights, errors, part, batch)
        points, values = map(np.asarray, _search_all(*filled, group, groups, *kind))
        higher = ~(values <= best[1])
        best = np.where(higher[:, None], points, best[0]), np.where(higher, values, best[1])
    return best[0].astype(np.float64)


def _groups(weights, batch):
    """In how many groups to search from the starts, each of an even number of them."""
    work = 6.0 * STARTS * (STEPS + 1) * batch * sum(w.shape[-2] * w.shape[-1] for w in weights)
    pairs = STARTS // 2
    enough = (n for n in range(1, pairs + 1) if pairs % n == 0 and work / n <= AT_ONCE * batch)
    return next(enough, pairs)


def _filled(weights, errors, part, batch):
    """Weights and errors of a part, in float32; repeated to fill the batch: one program for all."""
    part = np.resize(part, batch)
    weights = (w if w.ndim == 2 else w[part] for w in weights)
    single = lambda layers: tuple(jnp.asarray(a, jnp.float32) for a in layers)
    return single(weights), single(e[part] for e in errors)


@partial(jax.jit, static_argnums=(3, 4, 5))
def _search_all(weights, errors, group, groups, last, domain):
    """The point of `search` for each pair from one group of starts, [b, d]; and its value, [b]."""
    # Key 0, which no offset of seeds moves.
    key = jax.random.wrap_key_data(jnp.zeros(2, jnp.uint32), impl="threefry2x32")
    starts = jax.random.normal(key, (STARTS, weights[0].shape[-1]), jnp.float32)
    starts /= jnp.linalg.norm(starts, axis=1, keepdims=True)
    # Of either half, which sees the larger errors or does not, a group has its share.
    starts = starts.reshape(2, groups, -1, starts.shape[1])[:, group].reshape(-1, starts.shape[1])
    axes = tuple(None if w.ndim == 2 else 0 for w in weights)
    one = lambda weights, errors: search(Pair(weights, errors, last, domain), starts)
    return jax.vmap(one, in_axes=(axes, 0))(weights, errors)


def _climbed(pair, x, wanted, stop):
    """What ||g - f|| is at least at a point, and the point, after a climb where one is worth it.

    Only networks of up to CLIMBED signs climb: a step looks at every sign on every neighbour.
    """
    if pair.domain is not None:
        x = domains.nearest(x[:, None], pair.domain)
        return reached(pair, x)[0][0], x[:, 0]
    x = x / length(x)
    value, _ = _gap(pair, x)
    signs = pair.weights[0].shape[1] + 2 * sum(_hidden(pair))
    if signs <= CLIMBED and (wanted is None or NEAR * wanted <= value <= wanted):
        x = climb(pair, x, stop)
    return reached(pair, x[:, None])[0][0], x


class _Peak(NamedTuple):
    """The maximum on the cone of `signs`, its multipliers u, and g - f there: value * direction."""

    signs: np.ndarray
    x: np.ndarray
    u: np.ndarray
    value: float
    direction: np.ndarray


def climb(pair: Pair, x, stop: Stop = never) -> np.ndarray:
    """Go from the maximum on the cone of x to that on a neighbour, as long as it rises.

    Neighbours have another sign of one x_i, of one neuron in f and g alike, or of one wall on which
    the maximum sits. With several outputs ||g - f|| is not linear on a cone: what is maximised is
    the component of g - f along its direction at the last maximum, which the norm only exceeds.

    Args:
        pair: ONE pair, float64, on the host.
        x: a unit vector, [d]; made one again in float64.
        stop: asked before every cone that is tried.

    Returns:
        A unit vector, [d], where ||g - f|| is no lower than at x.
    """
    x = np.asarray(x, np.float64)
    x = x / (length(x) or 1.0)  # 0, where nothing rises, stays
    value, direction = _gap(pair, x)
    if not 0.0 < value < np.inf or stop():
        return x
    signs = _signs(pair, x)
    peak, moves = _peak(pair, signs, direction, 0.0, *_cone(pair, signs)), _moves(pair)
    while higher := _higher(pair, peak, stop, *moves):
        peak = higher
    return peak.x if peak.value > value else x


def _gap(pair, x):
    """||g(x) - f(x)||, and the unit vector along g(x) - f(x)."""
    gap = difference(pair, x[:, None])[:, 0]
    value = length(gap)
    return value, gap / (value or 1.0)


def _higher(pair, peak, stop, flips, at):
    """A neighbour with a higher maximum, the most promising tried first; None if there is none."""
    if stop():
        return None
    # A neuron changes its sign in f alone or g alone only where the maximum sits on that wall.
    alone = (at[:, 0] == at[:, 1]) & (at[:, 0] >= len(peak.x))
    worth = ~alone | (peak.u[at[:, 0]] > 0.0)
    flips, at = flips[worth], at[worth]
    signs = peak.signs ^ flips
    slopes, rows = _cone(pair, signs)
    bounds = _bounds(peak.direction @ slopes, rows, np.where(flips, 0.0, peak.u), at)
    enough = peak.value * (1.0 + RISE)
    for k in np.argsort(-bounds)[: np.count_nonzero(bounds > enough)]:
        if stop():
            return None
        found = _peak(pair, signs[k], peak.direction, enough, slopes[k], rows[k])
        if found.value > enough:
            return found
    return None


def _bounds(c, rows, u, at):
    """||c + G'u||, which no value on the cone exceeds, after two rounds of descent in few u_i.

    Shapes: c [move, d], rows G [move, sign, d], u >= 0 [move, sign], at the signs i [move, 2].
    """
    r = c + (u[:, None] @ rows)[:, 0]
    move = np.arange(len(at))
    for i in (*at.T, *at.T):
        row = rows[move, i]
        square = np.einsum("md,md->m", row, row)
        fall = np.einsum("md,md->m", row, r) / np.where(square > 0.0, square, 1.0)
        change = np.maximum(-fall, -u[move, i])
        u[move, i] += change
        r += change[:, None] * row
    return np.linalg.norm(r, axis=1)


def _peak(pair, signs, direction, enough, slopes, rows):
    """Where direction . slopes y is largest on a cone; of value 0 if that is not enough."""
    c = direction @ slopes
    try:
        u, _ = optimize.nnls(rows.T, -c)
    except RuntimeError:  # out of iterations: any y may stand for the largest in a lower bound
        u = np.zeros(len(rows))
    y = c + u @ rows
    size = length(y)
    x = np.where(signs[: len(y)], y, -y) / (size or 1.0)
    # On a cone without inside y is rounding alone: what counts is the value at x, wherever it is.
    return _Peak(signs, x, u, *(_gap(pair, x) if size > enough else (0.0, direction)))


def _hidden(pair):
    """Outputs of the layers that a relu follows."""
    return [len(w) for w in pair.weights[: len(pair.weights) - (pair.last != "relu")]]


def _moves(pair):
    """Moves to a neighbour: which signs change, bool [move, sign], and where, [move, 2]."""
    first = pair.weights[0].shape[1]
    at = [(0, 0)]  # changes none: with several outputs the same cone may have more to give
    for n in _hidden(pair):
        at += [(first + i, first + n + i) for i in range(n)]
        first += 2 * n
    at = np.array(at + [(i, i) for i in range(first)])
    flips = np.zeros((len(at), first), bool)
    flips[np.arange(1, len(at))[:, None], at[1:]] = True
    return flips, at


def _signs(pair, x):
    """Which of x, and then of the pre-activations of f and g, layer by layer, are positive."""
    h, dh, signs = x, np.zeros_like(x), [x > 0.0]
    for i, _ in enumerate(_hidden(pair)):
        weights, errors = pair.weights[i], pair.errors[i]
        sided = np.where(h > 0.0, errors[0], errors[-1])
        z, dz = weights @ h, weights @ dh + sided @ (h + dh)
        signs += [z > 0.0, z + dz > 0.0]
        h = np.maximum(z, 0.0)
        dh = np.maximum(z + dz, 0.0) - h
    return np.concatenate(signs)


def _cone(pair, signs):
    """g - f on the cone of these signs, linear in y = |x|, and that cone, G y >= 0.

    Args:
        signs: as in `_signs`, bool [..., sign].

    Returns:
        The slopes of g - f, [..., outputs, d], and G, [..., sign, d].
    """
    weights, errors = pair.weights, pair.errors
    d = weights[0].shape[1]
    side = signs[..., None, :d]
    z, dz = np.where(side, weights[0], -weights[0]), np.where(side, errors[0][0], -errors[0][-1])
    rows = [np.broadcast_to(np.eye(d), (*signs.shape[:-1], d, d))]
    active, first = signs[..., None].astype(np.float64), d
    for i, n in enumerate(_hidden(pair), start=1):
        f, g = active[..., first : first + n, :], active[..., first + n : first + 2 * n, :]
        first += 2 * n
        rows += [(2.0 * f - 1.0) * z, (2.0 * g - 1.0) * (z + dz)]
        h, dh = f * z, g * dz + (g - f) * z
        if i == len(weights):
            return dh, np.concatenate(rows, axis=-2)
        z, dz = weights[i] @ h, weights[i] @ dh + errors[i][0] @ (h + dh)
    return dz, np.concatenate(rows, axis=-2)
