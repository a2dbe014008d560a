"""A near pair of networks as one vector p, in which all that is asked and known is quadratic.

x, the activations F of f and their differences D to those G of g are written under each other,

    p = (1, x+, x-,  then of every relu  F, F - z, G, G - z', D, E),    G = F + s D,
    E = D - (z' - z) / s,

z and z' being the pre-activations of f and g, and s >= sup ||z' - z|| a number for each layer: the
answer lives in D and E, which the division brings to the size of 1. p is linear in a vector v about
half as long. Of X = p p' the entries are

    >= 0   products of any two of 1, x+, x-, F, F - z, G, G - z', as none is negative,
    = 0    x+ x-, F (F - z) and G (G - z'), of one coordinate or neuron,
    D (F - z) >= 0,  E F >= 0,  D E <= 0 of one neuron, as relu rises with slopes in [0, 1], and
           D (F - z) + E F + s D E = 0, which is G (G - z') = 0 on the scale of the answer,
    1      that of 1, and the sum of the squares of x+ and x-.

Over a domain x+ is x, of any sign, and x- is 0; the last of x is a multiple of the 1 in p, and the
sum of the squares is 1 at most. So v is shorter. (Of a box this knows the ball around it.)

(Products of constraints of f with those of g: derived here. Without D and E the lift is that of
Raghunathan, Steinhardt, Liang, NeurIPS 2018, arXiv:1811.01057.) The known sign of a coordinate or
of a pre-activation makes v shorter, and changes nothing else.

g - f = h is A p. Each |h_o| is linear in X, by its row of 1: two objectives for each output. And
||h||^2 = <A'A, X> is linear in X, too: one objective for all outputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ltjax.networks.domains import Domain
from ltjax.networks.pairs import Pair, length
from ltjax.supnorm import certificate, linear
from ltjax.system.stops import Stop, never

OUTWARD = 1e-12  # relative: more than rounding does to the norm of a matrix
LEAST = 2.0**-200  # what a bound adds for products that underflow is less; its square is a number
SLACK = 8  # how often the rounding of QR, m N epsilon, is added


class Lift(NamedTuple):
    """What is asked of one pair, and what is known of X.

    layers: W [n_out, n_in], E [side, n_out, n_in] and s, of every relu.
    of_v: L of p = L v, [m, N].
    objective: a sequence of C, [m, m] each: <C, X> is (supremum / unit)^power, at most.
    low, high: what entries of X are between, [m, m].
    slopes: where D (F - z), E F and D E of every neuron are, [3, neuron] of rows and of columns;
        and s, [neuron].
    square: which rows are x+ and x-, bool [m]: the sum of their squares is 1, or less in a domain.
    least: the least multiplier of that rule, -inf or 0.
    trace: T >= tr X.
    unit: a bound on the supremum.
    """

    layers: tuple
    of_v: np.ndarray
    objective: Sequence
    low: np.ndarray
    high: np.ndarray
    slopes: tuple
    square: np.ndarray
    trace: float
    unit: float
    power: int
    least: float = -np.inf
    domain: Domain | None = None


class Basis(NamedTuple):
    """What p may be in a node, where some signs are known.

    columns: Q, [m, N]: orthonormal, and zeros for what the signs leave no choice of.
    error: how far rounding may move <G, p p'> through Q, in units of ||G|| T.
    """

    columns: np.ndarray
    error: float


def size(pair: Pair) -> int:
    """Entries of v that the lift of a pair would have: N."""
    hidden = sum(map(len, pair.weights[: len(pair.weights) - (pair.last != "relu")]))
    return 1 + 2 * (pair.weights[0].shape[1] + hidden)


def lift(pair: Pair, unit: float, norm: str = "l2", stop: Stop = never) -> Lift:
    """What is asked of ONE pair, finite.

    Args:
        pair: errors [side, n_out, n_in].
        unit: a bound on the supremum, finite, and no less than LEAST: see `large_enough`.
        norm: of several outputs, "l2" or "max".
        stop: as of `known_bound`, which the scales of the layers are.
    """
    domain = pair.domain
    weights = [np.asarray(w, np.float64) for w in pair.weights]
    errors = [np.asarray(e, np.float64) for e in pair.errors]
    errors[0] = np.broadcast_to(errors[0], (2, *weights[0].shape))
    if pair.last == "relu":
        # After the last relu the outputs are its own.
        outputs = len(weights[-1])
        weights.append(np.eye(outputs))
        errors.append(np.zeros((1, outputs, outputs)))
    below = (
        Pair(tuple(weights[:n]), tuple(errors[:n]), domain=pair.domain)
        for n in range(1, len(weights))
    )
    layers = [
        (w, e, _scale(known_bound(pair, stop), unit))
        for w, e, pair in zip(weights[:-1], errors[:-1], below, strict=True)
    ]
    top = _top(layers, weights[-1], errors[-1])
    square = np.zeros(top.shape[1], bool)
    square[1 : 1 + 2 * weights[0].shape[1]] = True
    low, high = _entries(layers, square)
    if domain is not None:
        x = np.flatnonzero(square)[: weights[0].shape[1]]
        low[x], low[:, x] = -np.inf, -np.inf
    asked, power = _objectives(top / unit, norm)
    slopes = _slopes(layers)
    of_v = _map(layers, weights[0].shape[1])
    least = -np.inf if domain is None else 0.0
    rules = low, high, slopes, square, _trace(layers)
    return Lift(tuple(layers), of_v, asked, *rules, unit, power, least, domain)


def large_enough(unit):
    """Which bounds, of pairs of norms about 1, can be made closer: in units of them squares are."""
    return (unit > LEAST) & (unit < np.inf)


def _scale(bound: float, unit: float) -> float:
    """s >= sup ||z' - z|| of a layer; where next to nothing differs, a short one.

    So D does not weigh in, nor is what is divided by s beyond the numbers there are.
    """
    return bound if not bound < LEAST * unit else unit / 100


def known_bound(pair: Pair, stop: Stop = never) -> float:
    """A bound on the supremum of ONE pair; 0 where no errors are, NaN where one is.

    Args:
        stop: as of `certificate.upper`.
    """
    if not any(np.any(e) for e in pair.errors):
        return 0.0
    alone = pair._replace(errors=tuple(e[None] for e in pair.errors))
    bound = float(certificate.upper(alone, stop)[0])
    if pair.domain is None or stop():
        return bound
    one_sided = pair._replace(errors=tuple(e[:1] for e in pair.errors))
    whole = linear.whole(pair.domain, pair.weights[0].shape[1] - 1)
    return float(np.fmin(bound, linear.bounds(one_sided, whole).bound[0]))


def _top(layers, weights, errors):
    """A of h = A p, [outputs, m]."""
    if not layers:
        return np.concatenate([np.zeros((len(weights), 1)), errors[0], -errors[1]], axis=1)
    f, _, _, _, change, _ = rows(layers)[-1]
    top = np.zeros((len(weights), change[-1] + 1 + len(f)))
    top[:, f] = errors[0]
    top[:, change] = layers[-1][2] * (weights + errors[0])
    return top


def rows(layers: Sequence) -> list[np.ndarray]:
    """Where F, F - z, G, G - z', D and E are in p, of every relu: [6, neurons]."""
    first = 1 + 2 * layers[0][0].shape[1] if layers else 0
    ends = np.cumsum([first, *(6 * len(w) for w, *_ in layers)])
    return [
        end + np.arange(6 * len(w)).reshape(6, -1)
        for end, (w, *_) in zip(ends[:-1], layers, strict=True)
    ]


def _objectives(top, norm):
    """C of every objective, and the power."""
    if norm == "l2" and len(top) > 1:
        return (top.T @ top)[None], 2
    return _Signed(np.concatenate([top, -top]) / 2.0), 1


class _Signed(Sequence):
    """C of each row of A, on either sign: made when asked for, as together they may be many."""

    def __init__(self, halves):
        self.halves = halves

    def __len__(self):
        return len(self.halves)

    def __getitem__(self, k):
        asked = np.zeros((self.halves.shape[1],) * 2)
        asked[0] += self.halves[k]
        asked[:, 0] += self.halves[k]
        return asked


def _entries(layers, square):
    """The least and the largest that entries of X may be, [m, m]."""
    low, high = np.zeros((2, len(square), len(square)))
    high += np.inf

    def between(i, j, least, most):
        low[i, j] = low[j, i] = least
        high[i, j] = high[j, i] = most

    plus, minus = np.flatnonzero(square).reshape(2, -1)
    between(0, 0, 1.0, 1.0)
    between(plus, minus, 0.0, 0.0)
    for f, f_off, g, g_off, change, rest in rows(layers):
        of_both = np.concatenate([change, rest])
        low[of_both] = low[:, of_both] = -np.inf
        between(f, f_off, 0.0, 0.0)
        between(g, g_off, 0.0, 0.0)
    return low, high


def _slopes(layers):
    """Where the products are that the slopes of relu bind, and s: see `Lift`."""
    if not layers:
        return np.zeros((2, 3, 0), int), np.zeros(0)
    places = [
        ((change, rest, change), (f_off, f, rest)) for f, f_off, _, _, change, rest in rows(layers)
    ]
    return np.concatenate(places, axis=-1), np.concatenate(
        [np.full(len(w), s) for w, _, s in layers]
    )


def _trace(layers):
    """T: 1 and ||x||^2, then ||z||^2 + ||z'||^2 + 2 of every relu.

    F (F - z) = 0 makes ||F||^2 + ||F - z||^2 the square of their difference z, and so for G; D E <=
    0 makes ||D||^2 + ||E||^2 at most the square of theirs, at most 1, and `short` may repeat them.
    """
    total, f, g = 2.0, 1.0, 1.0
    for i, (w, e, _) in enumerate(layers):
        c = w + e[0] if i else np.concatenate([w + e[0], -w - e[1]], axis=1)
        f, g = f * np.linalg.norm(w, 2), g * np.linalg.norm(c, 2)
        total += f * f + g * g + 2.0
    return float(total * (1.0 + OUTWARD))


def open_signs(asked: Lift) -> np.ndarray:
    """The signs of the root: all open, but for x over a domain, where nothing is negative."""
    hidden, d = sum(len(w) for w, *_ in asked.layers), asked.square.sum() // 2
    signs = np.zeros(d + 2 * hidden, np.int8)
    signs[:d] = asked.domain is not None
    return signs


def basis(asked: Lift, signs) -> Basis:
    """What p may be in a node.

    Args:
        signs: of x, and then of the pre-activations of f and g, layer by layer: 1, -1, or 0 where
            it is open.
    """
    signs = np.asarray(signs)
    zero = _vanishing(asked, signs)
    sizes, kept = np.ones(0), np.eye(asked.of_v.shape[1])
    if len(zero):
        try:
            _, sizes, turned = np.linalg.svd(zero / length(zero, 1)[:, None])
        except np.linalg.LinAlgError:  # did not converge: what holds of the root holds of any node
            return basis(asked, open_signs(asked))
        kept = turned[len(zero) :].T
    # Without x- and the constant there are as many columns less.
    fixed = 0 if asked.domain is None else asked.square.sum() // 2 + 1
    columns = np.zeros((len(asked.of_v), asked.of_v.shape[1] - fixed))
    of_v = short(asked, signs, asked.of_v)
    columns[:, : kept.shape[1]] = np.linalg.qr(of_v @ kept)[0]
    # SVD and QR are those of matrices m N epsilon off, and ||v||^2 <= T as v is a part of p. What
    # that is to v grows as the rows that vanish are less independent.
    loss = 1.0 / min(1.0, *sizes) if len(sizes) else 1.0
    rounding = SLACK * asked.of_v.size * np.finfo(float).eps
    return Basis(columns, float(rounding * loss * length(of_v)))


def short(asked: Lift, signs, p) -> np.ndarray:
    """p, [m, ...], where G = s D if f is off and G - z' = s E if it is on: D and E stand for them.

    They have the same sign, at the scale of the answer.
    """
    p, at = p.copy(), asked.square.sum() // 2
    for _, _, g, g_off, change, rest in rows(asked.layers):
        of_f = signs[at : at + len(g)]
        p[g[of_f < 0]], p[g_off[of_f > 0]] = p[change[of_f < 0]], p[rest[of_f > 0]]
        at += 2 * len(g)
    return p


def _vanishing(asked, signs):
    """Combinations of v that are 0 where the signs are known, as rows.

    Of x+ and x-, of F and F - z, of G and G - z' one is 0. Where it is known for F, the row of G is
    taken less that of F, which is short, and accurate only as made here from D or E. A constant is
    as many times the 1 in p as it is large.
    """
    of_v, d = asked.of_v, asked.square.sum() // 2
    plus, minus = np.flatnonzero(asked.square).reshape(2, d)
    found, at = [of_v[minus[signs[:d] > 0]], of_v[plus[signs[:d] < 0]]], d
    if asked.domain is not None:
        found.append(of_v[plus[-1:]] - asked.domain.constant * of_v[:1])
    for (_, _, s), of_layer in zip(asked.layers, rows(asked.layers), strict=True):
        f, f_off, g, g_off, change, rest = of_v[of_layer]
        of_f, of_g = signs[at : at + 2 * len(f)].reshape(2, -1, 1)
        at += 2 * len(f)
        f_zero, g_zero = np.where(of_f > 0, f_off, f), np.where(of_g > 0, g_off, g)
        apart = s * np.where(of_g > 0, rest, change) + (of_f - of_g) / 2 * (f - f_off)
        g_zero = np.where(of_f == 0, g_zero, apart)
        found += [f_zero[of_f[:, 0] != 0], g_zero[of_g[:, 0] != 0]]
    return np.concatenate(found)


def _map(layers, d):
    """L of p = L v, v = (1, x+, x-, then F and D of every relu): [m, N]."""
    unit = np.eye(1 + 2 * d + 2 * sum(len(w) for w, *_ in layers))
    plus, minus = unit[1 : 1 + d], unit[1 + d : 1 + 2 * d]
    found, at, h, change, before = [unit[: 1 + 2 * d]], 1 + 2 * d, None, None, None
    for w, e, s in layers:
        if h is None:
            z, dz = w @ (plus - minus), (e[0] @ plus - e[1] @ minus) / s
        else:
            z, dz = w @ h, ((w + e[0]) @ change * before + e[0] @ h) / s
        h, change = unit[at : at + 2 * len(w)].reshape(2, len(w), -1)
        rest = change - dz
        found += [h, h - z, h + s * change, h - z + s * rest, change, rest]
        at, before = at + 2 * len(w), s
    return np.concatenate(found)
