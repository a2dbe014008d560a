r"""The supremum of |g - f| for two hidden layers: the formula of `max_min`, layer within layer.

f(x) = sum_i a_i relu(F_i), F_i = sum_j W_ij relu(u_j.y), and g likewise with b, C and v, over
y = (x+, x-) >= 0. As in `max_min`, with S the set of the convex pieces of g - f that count, and
0 <= theta <= 1 for the concave ones,

    g - f  =  max over S of min over theta of  sum_j B_j relu(v_j.y) - A_j relu(u_j.y)

where B_j = sum of b_i C_ij over S and A_j = sum_i theta_i a_i W_ij, if all a_i, b_i > 0. (Where
they are negative, and for f - g, what is said of S and theta changes places.)

For each j one *gate* is given, by another set T: whether w_j.y > 0, with w_j = v_j or u_j. What is
left of neuron j is -kappa_j relu(o_j.y) with o_j the other row of the two, and for y >= 0

    -kappa relu(o.y) <= -kappa vartheta o.y                                 kappa >= 0
                     <= |kappa| (t o + ((2 t - 1) (w - o))_+).y             kappa < 0, t = [w.y > 0]

with any 0 <= vartheta <= 1; and mu_j (2 t_j - 1) w_j.y >= 0 may be added with any mu_j >= 0. So
everything is linear in y, and

    sup of g - f over y  <=  max over S and T of min over theta, vartheta, mu of ||q_+||

Any theta, vartheta and mu bound S and T from above, those of one S and T being their own, and the
best y of the pair of sets is a point. At the start theta = 1 on S, vartheta = 1 on T and mu = 0,
so that q is the sum of E_ij = b_i C_ij v_j - a_i W_ij u_j over i in S and j in T: two matrix
products for all sets. What is open after some sweeps over theta, vartheta and mu is branched: on
an input that y has with both signs, or on the other gate of a neuron with kappa < 0.

The gate given is that of the piece that is convex: v_j where A_j >= 0, u_j where A_j and B_j < 0,
and where both are convex the one of the larger coefficient.

Rounding. Every coefficient is a sum of products no larger than K_j = sum_i |a_i W_ij| + |b_i C_ij|,
and the sign of kappa_j may be wrong by as much as rounding: so q is off by some ulps of the sum of
K_j (|u_j| + |v_j|), and of what the multipliers add.

Source: derived here; for two networks with two hidden layers and one output.
"""

from typing import NamedTuple

import numpy as np

from ltjax.networks import pairs
from ltjax.networks.pairs import ULP, Pair, length
from ltjax.supnorm.max_min import SMALLEST, beyond, subsets
from ltjax.supnorm.sets import FLUSHED, TINY

MOST = 16  # neurons of both layers: 2^MOST pairs of sets are tried, for either sign
HELD = 2**24  # numbers that all of them take
SWEEPS = (1, 2)  # over those that are open, then over those open after that
BRANCHES = 12  # and for each branch as many as the last
MIXED = 6  # means taken after each branch
POINTS = 8  # of the best, after each
AT_ONCE = 2**12  # pairs of sets that a cache holds


def applies(pair: Pair) -> bool:
    """Whether the formula speaks of pairs of this shape: two small hidden layers, one output."""
    hidden = sum(len(w) for w in pair.weights[:-1])
    one = len(pair.weights) == 3 and len(pair.weights[-1]) == 1 and pair.last == "linear"
    return one and hidden <= MOST and 2 * pair.weights[0].shape[1] << hidden <= HELD


def decide(pair: Pair, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brackets on the suprema of n pairs to which it `applies`, in float64: see `bounds.Bound`.

    Nothing is said of pairs with a_i b_i < 0 for some i: 0 and inf.
    """
    found = [(0.0, np.inf)] * len(wanted)
    for k, epsilons in enumerate(wanted):
        one = pair._replace(errors=tuple(e[k] for e in pair.errors))
        if all(np.all(np.isfinite(e)) for e in one.errors):
            found[k] = _decided(one, epsilons)
    lower, upper = np.reshape(found, (-1, 2)).T
    return lower, upper


class _Networks(NamedTuple):
    """One pair: rows u, v [n, 2 d]; a W and b C [m, n]; E [m, n, 2 d]; a sign for each i, [m]."""

    u: np.ndarray
    v: np.ndarray
    of_f: np.ndarray
    of_g: np.ndarray
    apart: np.ndarray
    sign: np.ndarray


class _Sets:
    """Pairs of sets, a row each: theta - S, vartheta - T, and the multipliers.

    sign: 1 for g - f, -1 for f - g, [row, 1].
    outer, inner: S and T, as ones and zeros, [row, m] and [row, n].
    own: whether the gate given is that of v, [row, n].
    known: whether the other gate is given, too; `vartheta - T` is then what it is, [row, n].
    mask: 0 for the sign of an input that a branch leaves out, [row, 2 d].
    """

    FIELDS = (
        *("outer", "inner", "theta", "vartheta", "mu", "nu"),
        *("sign", "by_g", "own", "known", "mask", "base", "bound"),
    )

    def __init__(self, nets, sign, outer, inner, bound):
        self.nets, self.sign, self.outer, self.inner, self.bound = nets, sign, outer, inner, bound
        self.theta = np.zeros_like(outer)
        self.vartheta, self.mu, self.nu = (np.zeros_like(inner) for _ in range(3))
        self.known = np.zeros(inner.shape, bool)
        self.mask = np.ones((len(outer), nets.u.shape[1]))
        self.by_g = sign * nets.sign > 0.0  # whether the convex piece of neuron i is that of g
        b, a = self.coefficients()
        self.own = (np.maximum(-a, 0.0) <= np.maximum(b, 0.0)) & ~((a < 0.0) & (b < 0.0))
        both = (outer[:, :, None] * inner[:, None, :]).reshape(len(outer), -1)
        self.base = sign * (both @ nets.apart.reshape(both.shape[1], -1))

    def __len__(self):
        return len(self.outer)

    def chosen(self, at) -> "_Sets":
        """Some of the rows."""
        other = object.__new__(_Sets)
        other.__dict__.update(self.__dict__)
        other.__dict__.update({name: getattr(self, name)[at] for name in self.FIELDS})
        return other

    def joined(self, others) -> "_Sets":
        """These rows and those of others."""
        other = self.chosen(slice(None))
        parts = self, *others
        for name in self.FIELDS:
            setattr(other, name, np.concatenate([getattr(part, name) for part in parts]))
        return other

    def coefficients(self, theta=None):
        """B_j and A_j, [row, n]."""
        theta = self.outer + (self.theta if theta is None else theta)
        of_g = np.where(self.by_g, self.outer, theta)
        of_f = np.where(self.by_g, theta, self.outer)
        return self.sign * (of_g @ self.nets.of_g), self.sign * (of_f @ self.nets.of_f)

    def loose(self, theta=None, vartheta=None):
        """kappa_j; vartheta - T where it counts; |kappa| where the second line is taken."""
        b, a = self.coefficients(theta)
        kappa = np.where(self.own, a, -b)
        counts = self.known | (kappa >= 0.0)
        moved = self.vartheta if vartheta is None else vartheta
        return kappa, np.where(counts, moved, 0.0), np.where(counts, 0.0, -kappa)

    def q(self, theta=None, vartheta=None):
        """q of every row, [row, 2 d], as they stand or with another theta and vartheta."""
        u, v, of_f, of_g, _, _ = self.nets
        kappa, moved, extra = self.loose(theta, vartheta)
        theta = self.theta if theta is None else theta
        side, other_side = 2.0 * self.inner - 1.0, 2.0 * (self.inner + self.vartheta) - 1.0
        given = self.mu * side
        other = np.where(self.known, self.nu * other_side, 0.0) - kappa * moved
        on_u = -self.sign * self.inner * ((theta * self.by_g) @ of_f)
        on_v = self.sign * self.inner * ((theta * ~self.by_g) @ of_g)
        on_u += np.where(self.own, other, given)
        on_v += np.where(self.own, given, other)
        slabs = self.slabs(extra)
        return (self.base + on_u @ u + on_v @ v + slabs) * self.mask

    def slabs(self, sizes):
        """The sum over j of a size times ((2 t - 1) (w - o))_+, [row, 2 d]."""
        u, v, up = self.nets.u, self.nets.v, self.own == (self.inner > 0.0)
        return (sizes * up) @ np.maximum(v - u, 0.0) + (sizes * ~up) @ np.maximum(u - v, 0.0)

    def gates_at(self, y):
        """theta and vartheta, less S and T, with which q.y is least, at y [row, 2 d]."""
        u, v, of_f, of_g, _, _ = self.nets
        on_u, on_v = y @ u.T, y @ v.T
        of_f, of_g = (np.maximum(on_u, 0.0) @ of_f.T, np.maximum(on_v, 0.0) @ of_g.T)
        counts = self.sign * np.where(self.by_g, of_f, -of_g) > 0.0
        vartheta = np.where(np.where(self.own, on_u, on_v) > 0.0, 1.0, 0.0) - self.inner
        return counts - self.outer, np.where(self.known, self.vartheta, vartheta)

    def mixed(self, q):
        """Means of q with those of the best y, again and again, as any mean of bounds is one."""
        for _ in range(MIXED):
            more = self.q(*self.gates_at(_unit(q))) - q
            share = np.zeros(len(q))
            for _ in range(2):
                step = _least(q + share[:, None] * more, more)
                share = np.clip(share + step, 0.0, 1.0)
            new = q + share[:, None] * more
            q = np.where((_norm(new) < _norm(q))[:, None], new, q)
        return q

    def swept(self, sweeps, mix=False):
        """Better theta, vartheta and multipliers, one after the other, in place; their q_+."""
        q = self.q()
        for _ in range(sweeps):
            kappa = self.loose()[0]
            for j in range(self.inner.shape[1]):
                q = self.gates(q, j, kappa[:, j])
            for i in range(self.outer.shape[1]):
                q = self.outwards(q, i)
        q = self.q()
        q = np.maximum(self.mixed(q) if mix else q, 0.0)
        added = (self.mu + self.nu) @ (np.abs(self.nets.u) + np.abs(self.nets.v))
        self.bound = np.fmin(self.bound, _outwards(_norm(q), self.nets, added))
        return q

    def gates(self, q, j, kappa):
        """vartheta_j and both multipliers of neuron j, of which kappa is given."""
        u, v = self.nets.u[j] * self.mask, self.nets.v[j] * self.mask
        own = self.own[:, j, None]
        given, other = np.where(own, v, u), np.where(own, u, v)
        side, t = 2.0 * self.inner[:, j] - 1.0, self.inner[:, j]
        free = ~self.known[:, j] & (kappa >= 0.0)
        step = _least(q, np.where(free, -kappa, 0.0)[:, None] * other)
        moved = np.where(
            free, np.clip(self.vartheta[:, j] + step, -t, 1.0 - t), self.vartheta[:, j]
        )
        q = q - ((moved - self.vartheta[:, j]) * kappa)[:, None] * other
        self.vartheta[:, j] = moved
        for multipliers, row, counts in (
            (self.mu, side[:, None] * given, True),
            (self.nu, (2.0 * (t + moved) - 1.0)[:, None] * other, self.known[:, j]),
        ):
            if not np.any(counts):
                continue
            more = np.maximum(multipliers[:, j] + _least(q, row), 0.0)
            more = np.where(counts, more, multipliers[:, j])
            q = q + (more - multipliers[:, j])[:, None] * row
            multipliers[:, j] = more
        return q

    def outwards(self, q, i):
        """theta_i: where some kappa changes its sign on the way, only a q that is less is taken."""
        u, v, of_f, of_g, _, _ = self.nets
        kappa, moved, extra = self.loose()
        by_g = self.by_g[:, i, None]
        slope = self.sign * np.where(by_g, of_f[i], -of_g[i])
        changes = np.where(self.own == by_g, slope, 0.0)  # of kappa
        both, other = -self.inner * slope, -changes * moved
        on_u = np.where(by_g, both, 0.0) + np.where(self.own, other, 0.0)
        on_v = np.where(by_g, 0.0, both) + np.where(self.own, 0.0, other)
        slabs = self.slabs(-changes * (extra > 0.0))
        row = (on_u @ u + on_v @ v + slabs) * self.mask
        before, s = self.theta[:, i].copy(), self.outer[:, i]
        step = np.clip(before + _least(q, row), -s, 1.0 - s) - before
        self.theta[:, i] += step
        new, after = q + step[:, None] * row, kappa + step[:, None] * changes
        turned = np.any(((kappa < 0.0) != (after < 0.0)) & ~self.known, axis=1)
        if np.any(turned):
            at = np.flatnonzero(turned)
            some = self.chosen(at).q()
            worse = _norm(some) > _norm(q[at])
            self.theta[at[worse], i] = before[at[worse]]
            new[at] = np.where(worse[:, None], q[at], some)
        return new

    def branched(self, q):
        """Rows in two: by an input that y has with both signs, or by the other gate of a neuron."""
        d, y = q.shape[1] // 2, _unit(q)
        both = np.minimum(y[:, :d], y[:, d:])
        # Where theta would go, kappa may be negative, though it is not yet.
        theta, _ = self.gates_at(y)
        kappa = np.minimum(self.loose()[0], self.loose(theta)[0])
        loss = np.where(self.known, 0.0, np.maximum(-kappa, 0.0))
        loss = loss * (y @ np.abs(self.nets.v - self.nets.u).T)
        at, neuron = both.argmax(axis=1), loss.argmax(axis=1)
        number = np.arange(len(self))
        by_input = (both[number, at] >= loss[number, neuron]) & (both[number, at] > 0.0)
        by_gate = ~by_input & (loss[number, neuron] > 0.0)
        parts = []
        for off in (at, at + d):
            half = self.chosen(by_input)
            half.mask[np.arange(len(half)), off[by_input]] = 0.0
            parts.append(half)
        for gate in (0.0, 1.0):
            half, k = self.chosen(by_gate), neuron[by_gate]
            rows = np.arange(len(half))
            half.known[rows, k], half.nu[rows, k] = True, 0.0
            half.vartheta[rows, k] = gate - half.inner[rows, k]
            parts.append(half)
        return self.chosen(~(by_input | by_gate)).joined(parts)


def _outwards(norm, nets, added=None, ulp=ULP):
    """Computed norms of q, and all that rounding may have taken from them."""
    u, v, of_f, of_g, _, _ = nets
    (m, n), width = of_f.shape, u.shape[1]
    terms = 4.0 * (m * n + 4 * m + 4 * n + width + 16) * ulp
    size = 2.0 * length((np.abs(of_f) + np.abs(of_g)).sum(axis=0) @ (np.abs(u) + np.abs(v)))
    size = size if added is None else size + np.sqrt(np.einsum("rj,rj->r", added, added))
    return norm * (1.0 + terms) + terms * size + TINY


def _unit(q):
    """The best y of every row."""
    return np.maximum(q, 0.0) / np.maximum(_norm(q), SMALLEST)[:, None]


def _norm(q):
    positive = np.maximum(q, 0.0)
    return np.sqrt(np.einsum("rj,rj->r", positive, positive))


def _least(q, row):
    """How far along `row` q_+ is least, as far as its entries keep their signs: [row]."""
    active = row * (q > 0.0)
    slope = np.einsum("rj,rj->r", active, q)
    return -slope / np.maximum(np.einsum("rj,rj->r", active, active), SMALLEST)


def _networks(pair):
    (w, inner, (a,)), (e, moved, (last, *_)) = pair.weights, pair.errors
    f, moved = last[0], moved[0]
    u, apart = np.concatenate([w, -w], axis=1), np.concatenate([e[0], -e[-1]], axis=1)
    v, b, c = u + apart, a + f, inner + moved
    more = f[:, None] * c + a[:, None] * moved  # b C - a W
    errors = more[..., None] * v + (a[:, None] * inner)[..., None] * apart
    sign = np.where(a != 0.0, np.sign(a), np.sign(b))
    if np.any(np.sign(a) * np.sign(b) < 0.0):
        return None
    return _Networks(u, v, a[:, None] * inner, b[:, None] * c, errors, sign)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _decided(pair, epsilons):
    nets = _networks(pair)
    if nets is None:
        return 0.0, np.inf
    found = _Found(pair, epsilons)
    every = np.stack([_every_set(nets, sign) for sign in (1.0, -1.0)])
    found.known = float(np.where(every <= found.level(), every, 0.0).max())
    parts = []
    for rows in _sets(nets, every, found.level()):
        if found.level() == np.inf:  # no epsilon is open any more
            return found.lower, float(every.max())
        parts.append(found.narrowed(rows, SWEEPS[0]))
    if parts:
        rows = parts[0].joined(parts[1:])
        for sweeps in SWEEPS[1:] + BRANCHES * SWEEPS[-1:]:
            if len(rows):
                rows = found.narrowed(rows, sweeps, branch=True)
        found.known = max(found.known, float(rows.bound.max(initial=0.0)))
    return found.lower, max(found.lower, found.known)


class _Found:
    """What is known of one pair: the best point, and a bound on all sets that are done with."""

    def __init__(self, pair, epsilons):
        self.pair, self.epsilons, self.lower, self.known = pair, epsilons, 0.0, 0.0

    def level(self):
        """The least epsilon that is open: what sets must exceed to matter."""
        return min((e for e in self.epsilons if e >= self.lower), default=np.inf)

    def narrowed(self, rows, sweeps, branch=False):
        """Rows after some sweeps, without those that are done with, and branched."""
        q = rows.swept(sweeps, branch)
        self.look(rows, q)
        keep = rows.bound > self.level()
        self.known = max(self.known, float(rows.bound[~keep].max(initial=0.0)))
        rows = rows.chosen(keep)
        return rows.branched(q[keep]) if branch else rows

    def look(self, rows, q):
        """Raise the lower bound at the best points of the best rows, and a little beyond walls."""
        best = np.argsort(-rows.bound)[:POINTS]
        y = np.concatenate([q[best], beyond(q[best], rows.base[best])])
        y = np.maximum(y, 0.0)
        d = y.shape[1] // 2
        x = (y[:, :d] - y[:, d:]).T
        x = x[:, np.any(x != 0.0, axis=0)]
        if x.size:
            self.lower = max(self.lower, float(pairs.reached(self.pair, x)[0].max()))


def _every_set(nets, sign):
    """Bounds of all pairs of sets at the start, in float32 with its rounding: [2^m, 2^n]."""
    m, n = nets.of_f.shape
    outer, inner = subsets(m), subsets(n)
    b, a = sign * outer @ nets.of_g, sign * outer @ nets.of_f
    # Both rows of a neuron convex: whichever gate is given, the slab is part of this.
    extra = np.where((b > 0.0) & (a < 0.0), np.minimum(b, -a), 0.0) @ np.abs(nets.v - nets.u)
    half = (sign * outer @ nets.apart.reshape(m, -1)).reshape(2**m, n, -1)
    q = inner.astype(np.float32) @ half.astype(np.float32)
    q += extra[:, None].astype(np.float32)
    np.maximum(q, 0.0, out=q)
    squares = np.einsum("stj,stj->st", q, q).astype(np.float64)
    # A square below the numbers of float32 counts as the least one, and what overflows as inf.
    single = np.finfo(np.float32)
    norm = np.sqrt(squares + q.shape[-1] * float(single.tiny))
    bound = _outwards(norm, nets, ulp=float(single.eps)) + FLUSHED
    return np.where(np.isnan(bound), np.inf, bound)


def _sets(nets, every, level):
    """Those above a level, some at a time, the largest bounds first."""
    (m, n), above = nets.of_f.shape, np.flatnonzero(every > level)
    above = above[np.argsort(-every.ravel()[above])]
    for first in range(0, len(above), AT_ONCE):
        at = np.unravel_index(above[first : first + AT_ONCE], every.shape)
        sign = 1.0 - 2.0 * at[0][:, None]
        yield _Sets(nets, sign, subsets(m)[at[1]], subsets(n)[at[2]], every[at])
