r"""The supremum of |g - f| for one hidden layer: a maximum over sets of a minimum over a box.

f(x) = a.relu(W x) and g(x) = b.relu(V+ x+ - V- x-). Over y = (x+, x-) >= 0, ||y|| = ||x||, neuron
i of f is the row u_i = (W_i, -W_i) and that of g the row v_i = (V+_i, -V-_i). By the sign of what a
neuron is multiplied with,

    h = g - f = sum over C of relu(c.y) - sum over K of relu(k.y)

with the *convex* pieces |b_i| v_i of b_i > 0 and |a_i| u_i of a_i < 0, and the *concave* ones the
others; f - g swaps C and K. Then, over y >= 0 in the unit ball,

    sup h = max over S within C of min over theta in [0, 1]^K of ||(sum_S c - sum_K theta_k k)_+||

For relu(c.y) is the maximum of s c.y over s in {0, 1}, so that h is the maximum over S of functions
that are concave in y, each the minimum over theta of linear ones; and the supremum of q.y is
||q_+||. Supremum and minimum commute (Sion), as both sets are convex and compact.

- Any theta bounds its S from above, in whatever way it was found: the computed norm, plus what it
  may be off by rounding.
- The minimiser points at y, and x = y+ - y- is a lower bound, evaluated by `pairs.reached`.
- y >= 0 forgets that x_q is not positive and negative at once. Where the best y has both, the set
  is branched: once without each. Where V+ = V-, no y is needed: over x in the ball the norm is
  ||q||, and the formula is exact without branching.

Over a domain, a ball or a box with a constant c beside (see `networks.domains`), the supremum of
q.x is radius ||q|| + c q_0, q_0 being the entry of the constant and ||q|| the L2 or the L1 norm of
the others. So the formula is exact there, too: convex in theta, and for a box a linear program. Its
maximiser is the point; no y is needed, as both sides are alike.

Every set is covered by a bound, those put aside early by the one they had then.

Rounding. Near pairs have near pieces, c = k + D with D small, and D is taken from the errors, not
from a difference: q = sum_S D - tau K with tau = theta - 1 for the partners k of S, which is small
where D is. An entry of D or K is a sum of at most three products, off by four ulps of their sizes;
q is off by as many ulps more as it has terms, of the sum of |D| and |tau| |K|; and its norm by
2 d + 4 ulps of itself. Twice that is added to every bound.

Source: derived here; the formula holds for any two networks with one hidden layer.
"""

import heapq
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog, lsq_linear, minimize

from ltjax.networks import domains, pairs
from ltjax.networks.domains import Domain
from ltjax.networks.pairs import ULP, Pair, length
from ltjax.supnorm.branch_and_bound import Bracket
from ltjax.system.stops import Stop, never

MOST = 16  # convex pieces: 2^MOST sets are tried
HELD = 2**23  # numbers that the sums of all sets may take
CHEAP, DEAR = 2, 16  # sweeps for every set that is open, and for those open after that
AT_ONCE = 512  # sets that are swept together
LOOKED = 16  # points of the best sets
TAKEN = 32  # nodes at a time
NODES = 100_000  # at most
ASIDE = 1e-9  # relative: where rounding is no question, and next to nothing is lost
LEAST_UNIT = 1e-100  # of errors, whose inverse has a square
SMALLEST = float(np.finfo(np.float64).tiny)
TINY = 1e-300  # more than products lose that underflow, in networks of entries about 1


class _Part(NamedTuple):
    """One output and one sign: the pieces over y (or over x, where both sides are alike).

    difference: D for a convex piece whose neuron has a concave one, too; else the piece, [C, _].
    concave: K.
    partner: for each convex piece the concave one of the same neuron, if there is one, as a 1.
    sizes: the sum of |D|, with the products that it is made of, [_].
    domain: of the pair.
    sets: S that are to be tried, [_, C]: a piece that is never 0 over the domain is in each of
        them, and one that is nothing else in none.
    """

    difference: np.ndarray
    concave: np.ndarray
    partner: np.ndarray
    sizes: np.ndarray
    domain: Domain | None
    sets: np.ndarray

    def certified(self, q, tau):
        """The supremum of q.x and all that rounding may have taken from it: rows of q and tau."""
        terms = 2.0 * (len(self.difference) + len(self.concave) + len(self.sizes) + 12) * ULP
        moved = self.sizes + np.abs(tau) @ np.abs(self.concave)
        size, off = length(q, -1), terms * length(moved, -1) + TINY
        if self.domain is None:
            return size * (1.0 + terms) + off
        # No point is longer than 1, and no product with one than q.
        return domains.support(q, self.domain) + 2.0 * terms * size + off


class _Node(NamedTuple):
    """A set with signs of some inputs: sum of its D, partners, a tau, and q as it stands."""

    part: int
    sums: np.ndarray
    taken: np.ndarray
    tau: np.ndarray
    mask: np.ndarray
    q: np.ndarray
    solved: bool = False


def applies(pair: Pair, norm: str = "l2") -> bool:
    """Whether the formula settles a pair: one hidden layer, linear last, and not too many pieces.

    Several outputs are scalar problems in the maximum norm alone. Errors may have a leading axis,
    of pairs that are all to be settled.
    """
    if len(pair.weights) != 2 or pair.last != "linear":
        return False
    (w, a), b = pair.weights, pair.weights[1] + pair.errors[1][..., 0, :, :]
    rises, falls = (np.sum((s * b > 0.0) + (s * a < 0.0) * 1, axis=-1) for s in (1.0, -1.0))
    pieces = int(max(np.max(rises), np.max(falls)))
    inputs = w.shape[1] * pair.errors[0].shape[-3]
    return (len(a) == 1 or norm == "max") and pieces <= MOST and inputs << pieces <= HELD


def brackets(
    pair: Pair, gap: float, epsilon: float | None = None, stop: Stop = never
) -> Iterator[Bracket]:
    """Closer and closer brackets on the supremum of the largest output; each is valid.

    Args:
        pair: ONE pair to which the formula `applies`, errors [side, n_out, n_in].
        gap: positive; upper <= (1 + gap) lower is close enough.
        epsilon: that the supremum is at most this, or above it, is close enough too.
        stop: asked before every step of more than some milliseconds; true ends the work.

    Yields:
        The first after one matrix product a part; the last is close enough, unless stopped.
    """
    found = _Search(pair, gap, epsilon, stop)
    yield found.bracket()
    for _ in found.steps():
        yield found.bracket()


class _Search:
    """The parts of a pair, a bound on every set of every part, and the best point so far."""

    def __init__(self, pair, gap, epsilon, stop):
        self.gap, self.epsilon, self.stop = gap, epsilon, stop
        self.outputs = [pairs.of_outputs(pair, [k]) for k in range(len(pair.weights[1]))]
        self.split, self.domain = is_split(pair), pair.domain
        self.parts = [part for one in self.outputs for part in parts(one)]
        self.lower, self.upper = 0.0, np.inf
        self.point = np.zeros(pair.weights[0].shape[1])
        self.nodes, self.order, self.heap = 0, count(), []
        self.sets, self.bounds = [], []
        for number, part in enumerate(self.parts):
            sets = part.sets
            q = self.positive(sets @ part.difference)
            bounds = part.certified(q, np.zeros((1, len(part.concave))))
            self.look(number, q[np.argsort(-bounds)[:LOOKED]])
            self.sets.append(sets)
            self.bounds.append(bounds)

    def positive(self, q):
        return np.maximum(q, 0.0) if self.split else q

    def look(self, number, q):
        """Raise the lower bound at the points that rows q over y, or over x, stand for."""
        d = len(self.point)
        x = (q[:, :d] - q[:, d:] if self.split else q).T
        x = x[:, np.any(x != 0.0, axis=0)]
        if x.size == 0:
            return
        if self.domain is not None:
            x = domains.highest(x, self.domain)
        self.reach(number, x)

    def reach(self, number, x):
        """Raise the lower bound at points, [d, n]."""
        reached = pairs.reached(self.outputs[number // 2], x)[0]
        if np.max(reached) > self.lower:
            best = int(np.argmax(reached))
            norm = 1.0 if self.domain is not None else length(x[:, best])
            self.lower, self.point = float(reached[best]), x[:, best] / norm

    def enough(self):
        """What a bound may be, and be done with."""
        level = self.lower * (1.0 + self.gap)
        if self.epsilon is not None and self.lower <= self.epsilon:
            level = max(level, self.epsilon)
        return level

    def done(self):
        """Whether the bracket is close enough, or the epsilon refuted."""
        refuted = self.epsilon is not None and self.lower > self.epsilon
        return refuted or self.bracket().upper <= self.enough()

    def bracket(self):
        upper = max(float(np.max(bounds, initial=0.0)) for bounds in self.bounds)
        if self.heap:  # the first of the heap has the largest bound
            upper = max(upper, -self.heap[0][0])
        self.upper = np.fmin(self.upper, max(upper, self.lower)) if upper == upper else np.nan
        return Bracket(self.lower, float(self.upper), self.point, self.nodes)

    def steps(self):
        """Narrow, a turn at a time."""
        for number in range(len(self.parts)):
            for _ in self.descend(number):
                yield
                if self.stop() or self.done():
                    return
        for number in range(len(self.parts)):
            self.enter(number)
        while self.heap and not self.stop() and not self.done() and self.nodes < NODES:
            self.visit()
            yield

    def descend(self, number):
        """Better theta for the sets of a part that are open, some at a time."""
        part, bounds = self.parts[number], self.bounds[number]
        at = np.flatnonzero(bounds > self.enough())
        at = at[np.argsort(-bounds[at])]
        for first in range(0, len(at), AT_ONCE):
            some = at[first : first + AT_ONCE]
            some = some[bounds[some] > self.enough()]
            sets = self.sets[number][some]
            sums, taken, tau = sets @ part.difference, sets @ part.partner, 0.0
            for steps in (CHEAP, DEAR):
                if len(some) == 0:
                    break
                q, tau = self.minimised(part, sums, taken, tau, 1.0, steps)
                bounds[some] = np.minimum(bounds[some], part.certified(q, tau))
                self.look(number, beyond(q, sums))
                keep = bounds[some] > self.enough()
                some, sums, taken, tau = some[keep], sums[keep], taken[keep], tau[keep]
            yield

    def minimised(self, part, sums, taken, tau, mask, sweeps):
        """Smaller ||mask (sums - tau K)_+||: q and tau.

        Args:
            sums, taken: the sum of D, and the partners, of each set: [n, _] and [n, K].
            tau: theta less `taken`, from where to go.
            mask: [n, _], or 1.
        """
        # Over a domain no set leaves out an input, and all have the same pieces.
        mask = np.broadcast_to(mask, sums.shape).T if self.domain is None else np.ones((1, 1))
        pieces, start = part.concave[:, :, None] * mask, np.zeros_like(taken) + tau
        asked = self.split, self.domain
        q, tau = descended(sums.T * mask, taken.T, start.T, pieces, sweeps, *asked)
        return q.T, tau.T

    def enter(self, number):
        """Put the open sets of a part among the nodes; the others are done with."""
        part, bounds = self.parts[number], self.bounds[number]
        at = np.flatnonzero(bounds > self.enough())
        for first in range(0, len(at), AT_ONCE):
            some = at[first : first + AT_ONCE]
            sets = self.sets[number][some]
            sums, taken = sets @ part.difference, sets @ part.partner
            self.push(number, sums, taken, np.zeros_like(taken), np.ones_like(sums), bounds[some])
        bounds[at] = 0.0

    def push(self, number, sums, taken, tau, mask, known):
        """Nodes of one part, after some steps each."""
        part = self.parts[number]
        q, tau = self.minimised(part, sums, taken, tau, mask, DEAR)
        self.look(number, beyond(q, sums))
        for n, bound in enumerate(np.minimum(known, part.certified(q, tau))):
            node = _Node(number, sums[n], taken[n], tau[n], mask[n], q[n])
            heapq.heappush(self.heap, (-float(bound), next(self.order), node))

    def visit(self):
        """The nodes of the largest bounds: branched where an input has both signs, or solved."""
        taken = [heapq.heappop(self.heap) for _ in range(min(TAKEN, len(self.heap)))]
        children: dict[int, list] = {}
        for bound, order, node in taken:
            if -bound <= self.enough():
                self.close(node, -bound)
                continue
            self.nodes += 1
            d = len(self.point)
            both = np.minimum(node.q[:d], node.q[d:]) if self.split else np.zeros(1)
            if both.max() > 0.0:
                at = int(np.argmax(both))
                for off in (at, at + d):
                    mask = node.mask.copy()
                    mask[off] = 0.0
                    child = node.sums, node.taken, node.tau, mask, -bound
                    children.setdefault(node.part, []).append(child)
            elif node.solved:  # as close as floating point gets
                self.close(node, -bound)
            else:
                part = self.parts[node.part]
                q, tau = self.exactly(part, node)
                self.look(node.part, beyond(q, node.sums)[None])
                better = node._replace(q=q, tau=tau, solved=True)
                known = max(bound, -float(part.certified(q, tau)))
                heapq.heappush(self.heap, (known, order, better))
        for part, some in children.items():
            self.push(part, *(np.array(column) for column in zip(*some, strict=True)))

    def close(self, node, bound):
        """Done with a node, whose bound stays."""
        self.bounds[node.part][0] = max(self.bounds[node.part][0], bound)

    def exactly(self, part, node):
        """q and tau of the least ||(mask (sums - tau K))_+||: least squares with bounds.

        ||z_+|| is the least ||z + p|| over p >= 0, so that one more variable an entry makes the
        problem linear. It is solved in units of the errors, as the solver has a tolerance of its
        own; whatever it gives is clipped, and bounds all the same.
        """
        if self.domain is not None:
            return self.exactly_over(part, node)
        rows, sums = part.concave * node.mask, node.sums * node.mask
        unit = max(float(np.max(np.abs(sums), initial=0.0)), LEAST_UNIT)
        matrix, low, high = rows.T, -node.taken / unit, (1.0 - node.taken) / unit
        if self.split:
            matrix = np.concatenate([matrix, -np.eye(len(sums))], axis=1)
            low = np.append(low, np.zeros(len(sums)))
            high = np.append(high, np.full(len(sums), np.inf))
        if matrix.shape[1] == 0:
            return self.positive(sums), node.tau
        solved = lsq_linear(matrix, sums / unit, (low, high), method="bvls", tol=1e-13).x
        tau = np.clip(solved[: len(rows)] * unit, -node.taken, 1.0 - node.taken)
        return self.positive(sums - tau @ rows), tau

    def exactly_over(self, part, node):
        """The same over a domain: by a linear program; for a ball by quasi-Newton steps, too.

        The program is that of the box, and of the ball where its maximiser is inside. Elsewhere the
        norm of q is smooth.
        """
        low, high = -node.taken, 1.0 - node.taken
        unit = max(float(np.max(np.abs(node.sums), initial=0.0)), LEAST_UNIT)
        rows, sums, within = part.concave / unit, node.sums / unit, part.domain
        tau, x = _programmed(rows, sums, within, low, high, node.tau)
        self.reach(node.part, domains.nearest(x, within))
        q = sums - tau @ rows
        if within.shape == "ball":

            def value(tau):
                q = sums - tau @ rows
                size = max(float(length(q[:-1])), SMALLEST)
                slope = within.radius * (rows[:, :-1] @ q[:-1]) / size
                return domains.support(q, within), -slope - within.constant * rows[:, -1]

            tight = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 1000}
            box = [*zip(low, high, strict=True)]
            found = minimize(value, node.tau, jac=True, bounds=box, options=tight)
            if found.fun < domains.support(q, within):
                tau = np.clip(found.x, low, high)
        return node.sums - tau @ part.concave, tau


def _programmed(rows, sums, within, low, high, start):
    """tau with the least supremum of (sums - tau rows).x over a box, and the x of that, [d + 1, 1].

    Entries of q lie between -v and v, and the sum of v is least: x is what those ends are worth.
    """
    k, d = rows.shape[0], rows.shape[1] - 1
    sides = np.concatenate([-rows[:, :d].T, rows[:, :d].T])
    sides = np.hstack([sides, -np.concatenate([np.eye(d), np.eye(d)])])
    cost = np.append(-rows[:, d] * within.constant, np.full(d, within.radius))
    box = [*zip(low, high, strict=True), *[(0.0, None)] * d]
    solved = linprog(cost, sides, np.concatenate([-sums[:d], sums[:d]]), bounds=box)
    if solved.x is None:
        return start, np.zeros((d + 1, 1))
    down, up = solved.ineqlin.marginals.reshape(2, -1)
    return np.clip(solved.x[:k], low, high), np.append(up - down, 0.0)[:, None]


def beyond(q, sums):
    """The points of sets, a little beyond the walls k.y = 0 that they lie on.

    With 0 < theta < 1 the best y has k.y = 0, where rounding decides whether a piece acts. A step
    further along tau it acts as in the set, and errors may be as small as rounding.

    Args:
        q: sum D - tau K; an entry at 0 or below stays.
        sums: sum D, and so where tau is 0.
    """
    return q + ASIDE * (q > 0.0) * (q - sums)


@cache
def subsets(n: int) -> np.ndarray:
    """All subsets of n pieces, as rows of ones and zeros: [2^n, n]; not to be written to."""
    return ((np.arange(2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)


@np.errstate(over="ignore", under="ignore", invalid="ignore")
def descended(sums, taken, tau, pieces, sweeps, split=True, domain=None):
    """Coordinate descent on ||(sums - sum_k tau_k K_k)_+||, for many sets side by side.

    One tau_k after the other goes to where the norm is least, as far as entries keep their signs,
    and stays within the box: theta = taken + tau in [0, 1]. Whatever comes out is a bound.

    Args:
        sums, taken: the sum of D, and the partners, of each set: [_, row], [K, row].
        tau: from where to go, [K, row].
        pieces: K_k of each set, [K, _, row], or [K, _, 1] where all are alike.
        split: whether q_+ counts, or q itself.
        domain: over which the supremum of q.x counts; for a box that over a ball around it.

    Returns:
        q [_, row], q_+ where `split`, and tau [K, row].
    """
    low, high, tau = -taken, 1.0 - taken, np.array(tau)
    q = sums - np.einsum("kr,kjr->jr", tau, pieces)
    active, step = np.empty_like(q), np.empty_like(q)
    for _ in range(sweeps):
        for k, row in enumerate(pieces):
            if domain is None:
                np.multiply(row, q > 0.0 if split else 1.0, out=active)
                slope = np.einsum("jr,jr->r", active, q)
                least = slope / np.maximum(np.einsum("jr,jr->r", active, active), SMALLEST)
            else:
                least = _least_over(row, q, domain)
            moved = np.minimum(np.maximum(tau[k] + least, low[k]), high[k])
            q -= np.multiply(moved - tau[k], row, out=step)
            tau[k] = moved
    q = sums - np.einsum("kr,kjr->jr", tau, pieces)
    return (np.maximum(q, 0.0) if split else q), tau


def _least_over(row, q, domain):
    """t with the least supremum of (q - t row).x over a domain, a ball: [row].

    Along the row R ||q - t k|| is R sqrt(a + c (t - t0)^2), which meets the slope of the constant.
    """
    k, u, reach = row[:-1], q[:-1], domains.reach(domain, len(row) - 1)
    square = np.maximum(np.einsum("jr,jr->r", k, k), SMALLEST)
    nearest = np.einsum("jr,jr->r", k, u) / square
    apart = np.sqrt(np.maximum(np.einsum("jr,jr->r", u, u) - nearest**2 * square, 0.0))
    tilt = domain.constant * row[-1] / (reach * np.sqrt(square))
    inside = np.sqrt(np.maximum(1.0 - tilt**2, 0.0))
    shift = tilt * apart / np.maximum(inside * np.sqrt(square), SMALLEST)
    return np.where(np.abs(tilt) < 1.0, nearest + shift, np.sign(tilt) * np.inf)


def is_split(pair: Pair) -> bool:
    """Whether g has weights of its own for either sign of an input."""
    return pair.errors[0].shape[0] == 2 and not np.array_equal(*pair.errors[0])


def parts(pair: Pair) -> tuple[_Part, _Part]:
    """The pieces of g - f and of f - g, for one output."""
    (w, (a,)), (e, (last, *_)) = pair.weights, pair.errors
    f, sided = last[0], lambda plus, minus: np.concatenate([plus, -minus], axis=1)
    if not is_split(pair):
        sided = lambda plus, minus: plus
    b, u, v, moved = a + f, sided(w, w), sided(w + e[0], w + e[-1]), sided(e[0], e[-1])
    apart = a[:, None] * moved + f[:, None] * v  # b v - a u, as accurate as the errors
    sizes = np.abs(a)[:, None] * np.abs(moved) + np.abs(f)[:, None] * np.abs(v)
    of_f, of_g, neuron = np.abs(a)[:, None] * u, np.abs(b)[:, None] * v, np.arange(len(a))
    rises = np.concatenate([of_g[b > 0], of_f[a < 0]]), np.append(neuron[b > 0], neuron[a < 0])
    falls = np.concatenate([of_f[a > 0], of_g[b < 0]]), np.append(neuron[a > 0], neuron[b < 0])
    up, down = (rises, falls, apart, sizes), (falls, rises, -apart, sizes)
    return _part(*up, pair.domain), _part(*down, pair.domain)


def _part(convex, concave, apart, sizes, domain) -> _Part:
    """Pieces and the neurons they are of, and what is apart in each neuron."""
    (rows, of), (others, of_others) = convex, concave
    partner = (of[:, None] == of_others).astype(np.float64)
    paired = partner.any(axis=1)[:, None]
    whole = np.where(paired, sizes[of], np.abs(rows)).sum(axis=0)
    if not (np.all(np.isfinite(sizes)) and np.all(np.isfinite(others))):
        whole = np.full_like(whole, np.nan)
    difference = np.where(paired, apart[of], rows)
    return _Part(difference, others, partner, whole, domain, _sets(rows, domain))


def _sets(rows, domain) -> np.ndarray:
    """The sets of convex pieces that are to be tried, as rows of ones and zeros."""
    if domain is None:
        return subsets(len(rows))
    off = 64.0 * rows.shape[1] * ULP * length(rows, -1)
    always, never = (domains.support(sign * rows, domain) < -off for sign in (-1.0, 1.0))
    free = ~(always | never)
    sets = np.tile(always.astype(np.float64), (2 ** int(free.sum()), 1))
    sets[:, free] = subsets(int(free.sum()))
    return sets
