r"""The supremum of |g - f|, any number of hidden layers: the formula of `max_min`, layer in layer.

Over y = (x+, x-) >= 0, ||y|| = ||x||, let F_j and G_j be what neuron j of some layer of f and of g
gets, and g - f the sum over that layer of B_j relu(G_j) - A_j relu(F_j). At the last hidden layer B
and A are the output's weights, for f - g with the other sign; what follows goes on downwards.

For each j one *gate* s_j is given: whether w_j > 0, with w_j = G_j or F_j. What is left of neuron j
is -kappa_j relu(o_j) with o_j the other one of the two, kappa_j = A_j or -B_j, and

    -kappa relu(o) <= -kappa theta o                          kappa >= 0, any 0 <= theta <= 1
                   <= |kappa| (s o + ((2 s - 1) (w - o))_+)   kappa < 0

where ((2 s - 1) (w - o))_+ is at most a linear function of y, a *slab*: see `_Networks`. With any
mu_j >= 0 the product mu_j (2 s_j - 1) w_j >= 0 may be added. So g - f is at most linear in the G_j
and F_j, which are sums over the layer below: of the same form. At the first layer everything is
linear in y, and

    sup of g - f over y  <=  max over gates of min over theta and mu of ||q_+||

Any theta and mu bound the gates s from above, those of some s being their own, and the best y of
any s is a point. At the start theta = s and mu = 0: every neuron of f and its partner in g are on
together, or off. All choices of s of the upper layers are tried, and for each a tree over those of
the first, in which theta moves as it grows. What is open after some sweeps over theta and mu is
branched: see `_Gates.branched`.

The gate given is that of the piece that is convex: of g where A_j >= 0, of f where A_j and B_j < 0,
and where both are convex that of the larger coefficient. With one hidden layer this is `max_min`,
which is quicker for up to 16 neurons and has an end.

Rounding. Every coefficient is a sum of products along paths through a network, and the sign of
kappa_j may be wrong by as much as rounding: so q is off by some ulps of the sum of all these paths
in size, and of those from the multipliers down.

Source: derived here; for two networks of one shape with one output.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ltjax.networks import pairs
from ltjax.networks.pairs import ULP, Pair, length, linear_last
from ltjax.supnorm.branch_and_bound import Bracket
from ltjax.supnorm.max_min import SMALLEST, beyond, subsets
from ltjax.supnorm.sets import TINY
from ltjax.system.stops import Stop, never

MOST = 16  # neurons of all hidden layers but the first: all choices of their gates are tried
HELD = 2**26  # numbers that these make of the first layer
GROWN = 2**22  # numbers that the choices of a tree may take; a larger one is given up
MOVED = 3  # gates after which theta is moved, too
WIDEST = 20  # neurons of the first layer, of which a tree may still have an end
KEPT = 2**19  # choices of all gates that are looked at; others keep the bound they have
SCREEN = 2  # means for every choice that is open
SCHEDULE = (1, 2), *12 * [(2, 6)]  # sweeps and means for those open after that, between branches
POINTS = 8  # of the best, after each
BRANCHED = 2**12  # choices, of which more would not be settled by branches
ROOTS = 2**10  # choices of upper layers whose trees are grown together
AT_ONCE = 2**12  # choices that a cache holds
NOISE = 1e-9  # relative
STARTS, STEPS = 32, 24  # uphill, before anything
SCOUTS = 256  # choices of upper layers that go ahead
FURTHER = 3  # steps uphill from the points of choices


def applies(pair: Pair) -> bool:
    """Whether the formula speaks of pairs of this shape: small hidden layers, one output."""
    if len(pair.weights) == 1 or pair.domain is not None:
        return False
    first, *inner, last = linear_last(pair).weights
    upper = sum(map(len, inner))
    small = len(first) <= WIDEST and upper <= MOST and 4 * first.size << upper <= HELD
    return small and len(last) == 1


def decide(pair: Pair, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Brackets on the suprema of n pairs to which it `applies`, in float64: see `bounds.Bound`."""
    pair, found = linear_last(pair), []
    for k, epsilons in enumerate(wanted):
        one = pair._replace(errors=tuple(e[k] for e in pair.errors))
        # What choices must exceed to matter is the least epsilon that is open.
        level = lambda lower, some=epsilons: min((e for e in some if e >= lower), default=np.inf)
        found.append(_searched(one, level)[:2])
    lower, upper = np.reshape(found, (-1, 2)).T
    return lower, upper


def bracket(pair: Pair, gap: float, epsilon: float | None = None, stop: Stop = never) -> Bracket:
    """What the formula knows of ONE pair to which it `applies`: mostly upper <= (1 + gap) lower.

    Args:
        pair: errors [side, n_out, n_in].
        epsilon: that the supremum is at most this, or above it, is enough, too.
        stop: asked before every step of more than some tens of milliseconds; true ends the work.
    """

    def level(lower):
        if epsilon is None or lower <= epsilon:
            return max(lower * (1.0 + gap), epsilon or 0.0)
        return np.inf

    return _searched(linear_last(pair), level, stop)


class _Networks(NamedTuple):
    """One pair, with neurons of all hidden layers in a row, from the first layer on.

    u, v: rows of the first layer over y, [n, 2 d].
    of_f, of_g: W and C of each layer after the first, [n_out, n_in]; of the last, [n].
    up, down: slabs: G_j - F_j is at most up_j.y, and F_j - G_j at most down_j.y; [neuron, 2 d].
    sizes: what rounding is relative to: all paths from y to neuron j, in f and in g, in size. The
        last row is that of the output. [neuron + 1, 2 d].
    noise: squares of rows that small are rounding, and no direction for a multiplier; [neuron].
    at: where the neurons of each layer are.
    """

    u: np.ndarray
    v: np.ndarray
    of_f: list[np.ndarray]
    of_g: list[np.ndarray]
    up: np.ndarray
    down: np.ndarray
    sizes: np.ndarray
    noise: np.ndarray
    at: list[slice]


def _networks(pair: Pair) -> _Networks:
    first, *inner, (last,) = pair.weights
    e, *moved, ((off,),) = pair.errors
    u, apart = np.concatenate([first, -first], axis=1), np.concatenate([e[0], -e[-1]], axis=1)
    v = u + apart
    # relu(G_j) - relu(F_j) is at most (G_j - F_j)_+, and relu(G_j) at most most_j.y.
    most, up, down = np.maximum(v, 0.0), np.maximum(apart, 0.0), np.maximum(-apart, 0.0)
    sizes = np.abs(u) + np.abs(v)
    slabs, of_f, of_g = [(up, down, sizes)], [], []
    positive = lambda x: np.maximum(x, 0.0)
    for w, (change, *_) in zip(inner, moved, strict=True):
        c = w + change
        up, down = (
            positive(s * change) @ most + positive(w) @ this + positive(-w) @ that
            for s, this, that in ((1.0, up, down), (-1.0, down, up))
        )
        most, sizes = positive(c) @ most, (np.abs(w) + np.abs(c)) @ sizes
        slabs.append((up, down, sizes))
        of_f.append(w)
        of_g.append(c)
    whole = (np.abs(last) + np.abs(last + off)) @ sizes
    ups, downs, all_sizes = (np.concatenate(x) for x in zip(*slabs, strict=True))
    ends = np.cumsum([0, *(len(w) for w in pair.weights[:-1])])
    at = [slice(*ends) for ends in pairwise(ends)]
    return _Networks(
        u=u,
        v=v,
        of_f=[*of_f, last],
        of_g=[*of_g, last + off],
        up=ups,
        down=downs,
        sizes=np.vstack([all_sizes, whole]),
        noise=np.maximum((NOISE * length(all_sizes, -1)) ** 2, SMALLEST),
        at=at,
    )


class _Gates:
    """Choices of gates, a column each: s, theta and the multipliers of all neurons, [neuron, _].

    sign: 1 for g - f, -1 for f - g, [_].
    own: whether the gate given is that of g.
    known: whether the other gate is given, too; theta is then what it is.
    mask: 0 for the sign of an input that a branch leaves out, [2 d, _].
    bound: [_].
    """

    FIELDS = "sign", "given", "theta", "mu", "nu", "own", "known", "mask", "bound"

    def __init__(self, nets, sign, given, bound=np.inf):
        self.nets, self.sign, self.given = nets, sign, given
        self.theta, self.mu, self.nu = given.copy(), np.zeros_like(given), np.zeros_like(given)
        self.own, self.known = np.zeros(given.shape, bool), np.zeros(given.shape, bool)
        self.mask = np.ones((nets.u.shape[1], len(sign)))
        self.bound = np.broadcast_to(bound, len(sign))
        for _ in self.downwards(choosing=True):
            pass

    def __len__(self):
        return len(self.sign)

    def chosen(self, at) -> "_Gates":
        """Some of the columns."""
        other = object.__new__(_Gates)
        other.nets = self.nets
        for name in self.FIELDS:
            setattr(other, name, getattr(self, name)[..., at])
        return other

    def joined(self, others) -> "_Gates":
        """These columns and those of others."""
        other, parts = object.__new__(_Gates), [self, *others]
        other.nets = self.nets
        for name in self.FIELDS:
            setattr(other, name, np.concatenate([getattr(part, name) for part in parts], axis=-1))
        return other

    def downwards(self, theta=None, choosing=False) -> Iterator:
        """From the last hidden layer to the first: where it is, B and A, and what `linear` says.

        choosing: which gates are given is chosen on the way.
        """
        nets = self.nets
        b, a = (x[:, None] * self.sign for x in (nets.of_g[-1], nets.of_f[-1]))
        for number in reversed(range(len(nets.at))):
            layer = nets.at[number]
            if choosing:
                convex = np.maximum(-a, 0.0) <= np.maximum(b, 0.0)
                self.own[layer] = convex & ((a >= 0.0) | (b >= 0.0))
            on_g, on_f, slab = self.linear(layer, b, a, theta)
            yield layer, (b, a), (on_g, on_f, slab)
            if number > 0:
                b, a = nets.of_g[number - 1].T @ on_g, -nets.of_f[number - 1].T @ on_f

    def linear(self, layer, b, a, theta=None):
        """What G_j and F_j are multiplied with, and |kappa_j| where it is of a slab: [n, _]."""
        s, own, known = self.given[layer], self.own[layer], self.known[layer]
        theta = (self.theta if theta is None else theta)[layer]
        given, other = np.where(own, b, -a), np.where(own, -a, b)
        slab = ~known & (other > 0.0)
        given = given * s + self.mu[layer] * (2.0 * s - 1.0)
        beside, other = np.where(slab, other, 0.0), other * np.where(slab, s, theta)
        if np.any(known):
            other += known * self.nu[layer] * (2.0 * theta - 1.0)
        return np.where(own, given, other), np.where(own, other, given), beside

    def q(self, theta=None):
        """q of every column, [2 d, _], as it stands or with another theta."""
        nets, slabs = self.nets, np.empty(self.given.shape)
        for layer, _, linear in self.downwards(theta):
            slabs[layer] = linear[2]
        on_g, on_f, _ = linear
        return (nets.v.T @ on_g + nets.u.T @ on_f + self.beside(slabs)) * self.mask

    def beside(self, slabs):
        """The sum of slabs, each of a size: [2 d, _]."""
        up = self.own == (self.given > 0.0)
        return self.nets.up.T @ (slabs * up) + self.nets.down.T @ (slabs * ~up)

    def swept(self, q, sweeps, means):
        """Better theta and multipliers, one after the other, in place, and means; their q_+."""
        for _ in range(sweeps):
            coefficients = [both for _, both, _ in self.downwards()][::-1]
            f, g = (x[:, :, None] for x in (self.nets.u, self.nets.v))
            for number, layer in enumerate(self.nets.at):
                before = [x.copy() for x in (self.theta, self.mu, self.nu)]
                norm = _norm(q)
                b, a = coefficients[number]
                kappa = np.where(self.own[layer], a, -b)
                for j in range(layer.stop - layer.start):
                    q = self.gate(q, layer.start + j, kappa[j], f[j], g[j])
                if number > 0:  # some kappa below may have changed its sign
                    q = self.kept(before, norm)
                if number + 1 < len(self.nets.at):
                    f, g = self.upwards(number, kappa, f, g)
        q = np.maximum(self.mixed(self.q() if sweeps else q, means), 0.0)
        added = self.nets.sizes[:-1].T @ (self.mu + self.nu)
        self.bound = np.fmin(self.bound, _outwards(_norm(q), self.nets, added))
        return q

    def kept(self, before, norm):
        """q after steps that lessen its norm: whole ones, or a part of them, or none."""
        q = self.q()
        for share in (0.3, 0.0):
            worse = np.flatnonzero(_norm(q) > norm)
            if len(worse) == 0:
                break
            for now, then in zip((self.theta, self.mu, self.nu), before, strict=True):
                now[:, worse] = then[:, worse] + share * (now[:, worse] - then[:, worse])
            q[:, worse] = self.chosen(worse).q()
        return q

    def upwards(self, number, kappa, f, g):
        """How q changes with F_j and G_j of the next layer, [n, 2 d, _], from those of this."""
        nets, layer = self.nets, self.nets.at[number]
        column = lambda x: x[:, None]
        s, own = self.given[layer], self.own[layer]
        slab = ~self.known[layer] & (kappa < 0.0)
        theta = column(np.where(slab, s, self.theta[layer]))
        up = column(own == (s > 0.0))
        beside = column(slab) * np.where(up, nets.up[layer][..., None], nets.down[layer][..., None])
        of_f = np.where(column(own), theta * f + beside, column(s) * f)
        of_g = np.where(column(own), column(s) * g, theta * g + beside)
        next_ = lambda w, x: (w @ x.reshape(len(x), -1)).reshape(len(w), *x.shape[1:])
        return next_(nets.of_f[number], of_f), next_(nets.of_g[number], of_g)

    def gate(self, q, j, kappa, f, g):
        """q after steps of theta and both multipliers of neuron j, of which kappa, F and G are."""
        own, known = self.own[j], self.known[j]
        given, other = np.where(own, g, f) * self.mask, np.where(own, f, g) * self.mask
        side, before = 2.0 * self.given[j] - 1.0, self.theta[j].copy()
        kappa = np.where(~known & (kappa >= 0.0), kappa, 0.0)
        row = -kappa * other
        self.theta[j] = np.where(
            kappa > 0.0, np.clip(before + _least(q, row, SMALLEST), 0.0, 1.0), before
        )
        q = q + (self.theta[j] - before) * row
        for multipliers, row, counts in (
            (self.mu, side * given, True),
            (self.nu, (2.0 * self.theta[j] - 1.0) * other, known),
        ):
            if np.any(counts):
                before = multipliers[j].copy()
                more = np.maximum(before + _least(q, row, self.nets.noise[j]), 0.0)
                multipliers[j] = np.where(counts, more, before)
                q = q + (multipliers[j] - before) * row
        return q

    def mixed(self, q, means):
        """Means of q with those of the best y, again and again, as any mean of bounds is one."""
        for _ in range(means):
            more = self.q(self.theta_at(_unit(q))) - q
            q = q + _share(q, more) * more
        return q

    def theta_at(self, y):
        """theta with which q.y is least, at y [2 d, _]."""
        return np.where(self.known, self.theta, self.others_at(y) > 0.0)

    def others_at(self, y):
        """What the gates are of that are not given: [neuron, _]."""
        nets, others = self.nets, np.empty(self.given.shape)
        on_f, on_g = nets.u @ y, nets.v @ y
        for number, layer in enumerate(nets.at):
            if number > 0:
                on_f = nets.of_f[number - 1] @ np.maximum(on_f, 0.0)
                on_g = nets.of_g[number - 1] @ np.maximum(on_g, 0.0)
            others[layer] = np.where(self.own[layer], on_f, on_g)
        return others

    def branched(self, q):
        """Each in two, by what may be lost at the best y; those stay that lose nothing there.

        By an input that has both signs, or the other gate of a neuron with a slab; or else, by the
        other gate of the concave piece that is furthest below its bound.
        """
        d, y = len(q) // 2, _unit(q)
        both, other = np.minimum(y[:d], y[d:]), self.others_at(y)
        slab, below, kappas = (np.zeros(self.given.shape) for _ in range(3))
        # Where theta would go, kappa may be negative, though it is not yet.
        for theta in (self.theta_at(y), self.theta):
            for layer, (b, a), _ in self.downwards(theta):
                kappas[layer] = kappa = np.where(self.own[layer], a, -b)
                slab[layer] = np.maximum(slab[layer], -kappa)
                below[layer] = kappa * (np.maximum(other[layer], 0.0) - theta[layer] * other[layer])
        slab = np.where(self.known, 0.0, slab) * ((self.nets.up + self.nets.down) @ y)
        below = np.where(self.known | (kappas <= 0.0), 0.0, below)
        by_input = (both.max(axis=0) >= slab.max(axis=0)) & (both.max(axis=0) > 0.0)
        loss = np.where(slab.max(axis=0) > 0.0, slab, below)
        by_gate = ~by_input & (loss.max(axis=0) > 0.0)
        at, neuron, parts = both.argmax(axis=0), loss.argmax(axis=0), []
        for off in (at, at + d):
            half = self.chosen(by_input)
            half.mask[off[by_input], np.arange(len(half))] = 0.0
            parts.append(half)
        for gate in (0.0, 1.0):
            half, here = self.chosen(by_gate), (neuron[by_gate], np.arange(np.sum(by_gate)))
            # q stays what it is: what theta has done, the new multiplier does.
            moved = np.abs(gate - half.theta[here])
            half.nu[here] = np.maximum(kappas[:, by_gate][here], 0.0) * moved
            half.known[here], half.theta[here] = True, gate
            parts.append(half)
        return self.chosen(~(by_input | by_gate)).joined(parts)


def _outwards(norm, nets, added=None):
    """Computed norms of q, and all that rounding may have taken from them; inf for NaN."""
    neurons, width = nets.up.shape
    terms = 4.0 * (neurons + 12 * len(nets.at) + width + 16) * ULP
    size = 2.0 * length(nets.sizes[-1])
    size = size if added is None else size + 2.0 * np.sqrt(np.einsum("jr,jr->r", added, added))
    bound = norm * (1.0 + terms) + terms * size + TINY
    return np.where(np.isnan(bound), np.inf, bound)


def _unit(q):
    """The best y of every column."""
    return np.maximum(q, 0.0) / np.maximum(_norm(q), SMALLEST)


def _norm(q):
    positive = np.maximum(q, 0.0)
    return np.sqrt(np.einsum("jr,jr->r", positive, positive))


def _least(q, row, least):
    """How far along `row` q_+ is least, as far as its entries keep their signs: [_]."""
    active = row * (q > 0.0)
    slope = np.einsum("jr,jr->r", active, q)
    return -slope / np.maximum(np.einsum("jr,jr->r", active, active), least)


def _share(q, more):
    """How much of a step lessens the norm of q_+, from 0 to 1; 0 where none does: [_]."""
    share = np.zeros(q.shape[1])
    for _ in range(2):
        share = np.clip(share + _least(q + share * more, more, SMALLEST), 0.0, 1.0)
    return np.where(_norm(q + share * more) < _norm(q), share, 0.0)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def _searched(pair, level, stop=never) -> Bracket:
    """A bracket of which the upper end is valid, whatever the level is that choices must exceed."""
    found = _Found(pair, level, stop)
    if not all(np.all(np.isfinite(e)) for e in pair.errors):
        return Bracket(0.0, np.inf, found.point, 0)
    open_ = [found.narrowed(some, 0, SCREEN) for some in _every(_networks(pair), found)]
    if open_:
        gates = open_[0].joined(open_[1:])
        for sweeps, means in SCHEDULE:
            if found.over() or len(gates) == 0:
                break
            gates = found.narrowed(gates, sweeps, means)
            if len(gates) <= BRANCHED:
                gates = gates.branched(gates.q())
        found.above(gates.bound, done=True)
    upper = np.inf if found.over() else max(found.lower, found.known)
    return Bracket(found.lower, upper, found.point, found.seen)


class _Found:
    """What is known of one pair: the best point, and a bound on all choices that are done with."""

    def __init__(self, pair, level, stop):
        self.pair, self.of, self.stop, self.seen = pair, level, stop, 0
        self.lower, self.known, self.point = 0.0, 0.0, np.zeros(pair.weights[0].shape[1])
        x = np.random.default_rng(STARTS).normal(size=(len(self.point), STARTS))
        self.reach(x, STEPS)

    def level(self):
        """What the bound of a choice must exceed to matter."""
        return self.of(self.lower)

    def over(self):
        """Whether nothing matters any more, or there is no time."""
        return self.level() == np.inf or self.stop()

    def reach(self, x, steps):
        """Raise the lower bound at points [d, n], and some steps uphill from them."""
        for step in range(steps + 1):
            x = x[:, np.any(x != 0.0, axis=0)]
            if x.size == 0:
                break
            reached = pairs.reached(self.pair, x)[0]
            best = int(np.argmax(reached))
            if reached[best] > self.lower:
                self.lower, self.point = float(reached[best]), x[:, best] / length(x[:, best])
            if step == steps or self.level() == np.inf:
                break
            x = pairs.slope(self.pair, x / length(x, 0))

    def above(self, bound, done=False):
        """Which bounds matter, unless one is done with all; the others are noted."""
        keep = ~(bound <= self.level()) & (not done)
        self.known = max(self.known, float(bound[~keep].max(initial=0.0)))
        return keep

    def narrowed(self, gates, sweeps, means):
        """Choices after some sweeps and means, without those that are done with."""
        start = gates.q()
        q = gates.swept(start, sweeps, means)
        self.look(gates, q, start)
        return gates.chosen(self.above(gates.bound))

    def look(self, gates, q, start):
        """Raise the lower bound at the points of the best choices, and a little beyond walls."""
        best = np.argsort(-gates.bound)[:POINTS]
        y = np.concatenate([q[:, best], beyond(q[:, best], start[:, best])], axis=1)
        d, y = len(y) // 2, np.maximum(y, 0.0)
        self.reach(y[:d] - y[d:], FURTHER)


def _every(nets, found) -> Iterator[_Gates]:
    """The choices above the level of what is `found`, some at a time; the others are noted there.

    All choices of upper layers, the largest bounds first, and for each a tree over the gates of the
    first layer: what those that are not given yet add is at most the positive parts of their rows.
    """
    every = subsets(len(nets.up) - len(nets.u)).T
    sign, upper = np.repeat([1.0, -1.0], every.shape[1]), np.concatenate([every, every], axis=1)
    bounds = np.full(len(sign), np.inf)
    for start in range(0, len(sign), AT_ONCE):
        if found.over():
            return
        some = slice(start, start + AT_ONCE)
        bounds[some] = _Root(nets, sign[some], upper[:, some]).bound
    order, first, size = np.argsort(-bounds), 0, SCOUTS
    while first < len(order) and bounds[order[first]] > found.level():
        if found.seen > KEPT or found.over():
            break
        at = order[first : first + size]
        grown = _Root(nets, sign[at], upper[:, at]).grown(found)
        for start in range(0, len(grown), AT_ONCE):
            yield grown.chosen(slice(start, start + AT_ONCE))
        first, size, found.seen = first + size, ROOTS, found.seen + len(grown)
    found.above(bounds[order[first:]], done=True)


class _Root:
    """Choices of the upper layers, a column each: what they make of those of the first.

    base: q where all gates of the first layer are off, [2 d, _].
    pieces: what each of them adds where it is on, [n, 2 d, _].
    bound: whatever the gates of the first layer are, [_].
    """

    def __init__(self, nets, sign, upper):
        self.nets, self.sign, self.upper = nets, sign, upper
        first, off = nets.at[0], np.zeros((len(nets.u), len(sign)))
        gates = _Gates(nets, sign, np.concatenate([off, upper]))
        slabs = np.empty(gates.given.shape)
        layers = list(gates.downwards())
        for layer, _, linear in layers:
            slabs[layer] = linear[2]
        _, (b, a), _ = layers[-1]
        self.base = gates.beside(slabs)
        self.pieces = b[:, None] * nets.v[..., None] - a[:, None] * nets.u[..., None]
        if np.any(slabs[first]):  # a gate that is on takes the other slab
            other = (nets.up[first] - nets.down[first])[..., None]
            self.pieces += (slabs[first] * np.where(gates.own[first], 1.0, -1.0))[:, None] * other
        self.own = gates.own[first]
        self.kappa = np.maximum(np.where(self.own, a, -b), 0.0)  # 0 where there is a slab
        self.rest = np.maximum(self.pieces, 0.0).sum(axis=0)
        self.bound = _outwards(_norm(self.base + self.rest), nets)

    def grown(self, found):
        """All choices of the first layer, too, but for those that do not matter."""
        n = len(self.nets.u)
        plain, whose, rest = self.base, np.arange(len(self.sign)), self.rest
        q, given, bound = plain, np.zeros((n, len(whose))), self.bound
        order = np.argsort(-np.abs(self.pieces).sum(axis=(1, 2)))  # what adds most comes first
        for number, k in enumerate(order):
            rest, on = rest - np.maximum(self.pieces[k], 0.0), given.copy()
            on[k] = 1.0
            given, more = np.concatenate([given, on], axis=1), self.pieces[k][:, whose]
            plain, q = (np.concatenate([x, x + more], axis=1) for x in (plain, q))
            whose = np.concatenate([whose, whose])
            for moved in (False, True) if number >= MOVED else (False,):
                if moved:
                    q = self.moved(plain, q, rest[:, whose], given, whose, order[: number + 1])
                bound = _outwards(_norm(q + rest[:, whose]), self.nets)
                keep = found.above(bound, done=q.size > GROWN)
                given, plain, q = given[:, keep], plain[:, keep], q[:, keep]
                whose, bound = whose[keep], bound[keep]
        given = np.concatenate([given, self.upper[:, whose]])
        return _Gates(self.nets, self.sign[whose], given, bound)

    def moved(self, plain, q, rest, given, whose, known):
        """q after a step towards the theta that the best y asks for, of the gates given so far."""
        y, own = _unit(q + rest), self.own[known][:, whose]
        u, v = self.nets.u[known], self.nets.v[known]
        opened = np.where(own, u @ y, v @ y) > 0.0
        steps = (opened - given[known]) * self.kappa[known][:, whose]
        more = plain - u.T @ (steps * own) - v.T @ (steps * ~own) - q
        return q + _share(q + rest, more) * more
