"""Brackets that close on the supremum over the unit ball, or another one, of ||g - f||: near pairs.

Best-first branch and bound. A node is a set of known signs, of inputs and of pre-activations of f
and g. Its bound is that of `semidefinite`, whose steps go on from where the parent's ended; the
moments found tell which sign to split, and where to climb from for a higher value.

A first bracket is there at once, by lengths of layers and values at some points. Norms, ascent and
relaxation narrow it, one after the other, and an output whose bound says enough is left out of what
comes after. None of these steps takes more than about a second without asking whether to stop.
"""

import heapq
from collections.abc import Iterator
from itertools import chain, count
from typing import NamedTuple

import numpy as np

from ltjax.networks import domains
from ltjax.networks.pairs import Pair, difference, length, of_outputs, reached
from ltjax.supnorm import ascent, certificate, semidefinite
from ltjax.supnorm.moments import known_bound, large_enough, lift, open_signs, rows, size
from ltjax.system.stops import Stop, never

BATCH = 4  # nodes on the device at once
STEPS = 100  # of a visit to a node, but for the first to a root
TAU = 0.3, 0.3
LONGEST = 10.0  # by what a small supremum may lengthen tau
GLANCED = 64  # points looked at for the first bracket
FIRST = 8  # outputs that are ascended before any node, and others at their first one
LARGEST = 900  # entries of v: with more, one step of the relaxation takes a second
ALONE = 400  # rows of p from which a program of its own for fewer nodes costs less than filling up
INPUTS = 0.03  # worth of the sign of an input, for that of a neuron
SINGLE = 1e-3  # the least gap for which steps in float32 will do
SETTLED = 1e-3  # of the gap: what a node of known signs must gain to be gone on with


class Bracket(NamedTuple):
    """Bounds on the supremum, both proved; the point of the lower one, [d]; and nodes visited."""

    lower: float
    upper: float
    point: np.ndarray
    nodes: int


class _Node(NamedTuple):
    """Known signs, a bound on one objective there, and Z; `split` is -1 before the first visit."""

    which: int
    signs: np.ndarray
    bound: float
    start: np.ndarray
    split: int = -1

    def children(self):
        if self.split < 0 or self.signs[self.split]:
            return [self]
        known = np.where(np.arange(len(self.signs)) == self.split, [[1], [-1]], self.signs)
        return [self._replace(signs=signs) for signs in known.astype(np.int8)]


def brackets(
    pair: Pair,
    gap: float,
    epsilon: float | None = None,
    norm: str = "l2",
    stop: Stop = never,
    batch: int = BATCH,
) -> Iterator[Bracket]:
    """Closer and closer brackets; each is valid, so that any may be the last one taken.

    Args:
        pair: ONE pair, errors [side, n_out, n_in].
        gap: positive; upper <= (1 + gap) lower is close enough.
        epsilon: that the supremum is at most this, or above it, is close enough too.
        norm: of several outputs, "l2" or "max".
        stop: asked before every step of more than some tens of milliseconds; true ends the work.
        batch: nodes on the device at once, 2 at least.

    Yields:
        First, at once, what lengths of layers tell: NaN where an error is, 0 where f and g are the
        same. The last one is close enough, unless stopped; or unless v has more than LARGEST
        entries; or unless nodes remain whose signs are all known and whose relaxation is not exact:
        with several outputs in l2, or where its steps gain no more in floating point.
    """
    tree = _Tree(pair, gap, epsilon, norm, stop)
    yield tree.bracket()
    for _ in tree.prepare():
        yield tree.bracket()
    while not stop() and (nodes := tree.take(batch)) and tree.visit(nodes, batch):
        yield tree.bracket()


class _Tree:
    """Open nodes, the largest bound first; what bounds the others; and the best point."""

    def __init__(self, pair, gap, epsilon, norm, stop):
        double = lambda arrays: tuple(np.asarray(a, np.float64) for a in arrays)
        self.pair = pair = Pair(double(pair.weights), double(pair.errors), *pair[2:])
        self.gap, self.epsilon, self.norm, self.stop = gap, epsilon, norm, stop
        self.visited, self.order, self.open = 0, count(), []
        # Parts of which the largest supremum is asked for, and a bound on each.
        self.parts = [pair] if norm == "l2" else _Outputs(pair)
        self.bounds = _telescoped(pair, norm, lambda: True)
        self.bounded, self.ascended = np.zeros((2, len(self.bounds)), bool)
        self.settled = float(self.bounds.max())
        x = np.random.default_rng(0).normal(size=(pair.weights[0].shape[1], GLANCED))
        self.lower, self.point = -np.inf, None
        x /= np.linalg.norm(x, axis=0)
        if pair.domain is not None:
            x = domains.nearest(x * domains.reach(pair.domain, len(x) - 1), pair.domain)
        self.look(x)

    def bracket(self):
        # Never raised to the lower bound: were it below that, something would be wrong.
        upper = max(self.settled, -self.open[0][0]) if self.open else self.settled
        return Bracket(float(self.lower), float(upper), self.point, self.visited)

    def done(self):
        """Whether nothing more is to be found out, or there is no time for it."""
        told = self.epsilon is not None and self.lower > self.epsilon
        # NaN and infinity are no bounds to begin with.
        return told or not 0.0 < self.settled < np.inf or self.stop()

    def left(self):
        """Parts whose bound does not say enough, the largest first."""
        order = np.argsort(-self.bounds, kind="stable")
        return [k for k in order.tolist() if not self.close_enough(self.bounds[k])]

    def prepare(self):
        """What comes before any node, the cheapest first; a step for each change of the bracket."""
        first = self.ascend(1 if self.epsilon is None else 0)
        return chain(
            self.norms(), first, self.bound(FIRST), self.ascend(FIRST), self.bound(), self.plant()
        )

    def norms(self):
        """Bound all outputs by the same norms of layers."""
        if self.left() and not self.done():
            bounds = _telescoped(self.pair, self.norm, self.stop)
            self.bounds = np.minimum(self.bounds, bounds)
            self.settled = float(self.bounds.max())
            yield

    def bound(self, most=None):
        """Bound parts one by one."""
        for k in self.left()[:most]:
            if self.done():
                return
            if not self.bounded[k]:
                self.bounds[k] = min(self.bounds[k], known_bound(self.parts[k], self.stop))
                self.settled, self.bounded[k] = float(self.bounds.max()), True
                yield

    def ascend(self, most):
        """Look for points with a large error in some parts."""
        for k in self.left()[:most]:
            if self.done() or self.close_enough(self.bounds[k]):
                return
            self.look_from_below(k)
            yield

    def plant(self):
        """Make the roots, of the parts whose bound does not say enough."""
        left = self.left()
        if not left or self.done() or size(self.pair) > LARGEST:
            return
        if not large_enough(self.bounds[left].max()):
            return
        pair = self.pair if self.norm == "l2" else of_outputs(self.pair, left)
        asked = lift(pair, float(self.bounds[left].max()), self.norm, self.stop)
        if self.stop():
            return
        self.asked, self.worth, start = asked, _worth(pair, asked), np.zeros_like(asked.low)
        # Objectives are parts, and parts again on their other sign.
        self.part_of = (left * len(asked.objective))[: len(asked.objective)]
        for k, part in enumerate(self.part_of):
            self.put(_Node(k, open_signs(asked), float(self.bounds[part]), start))
        self.settled = float(np.delete(self.bounds, left).max(initial=0.0))
        yield

    def close_enough(self, bound):
        return bound <= max(self.lower * (1.0 + self.gap), self.epsilon or 0.0)

    def put(self, node):
        # Of equal bounds the first come first served: no heap compares two nodes.
        heapq.heappush(self.open, (-node.bound, next(self.order), node))

    def take(self, batch):
        """The children of the nodes of largest bound, `batch` at most; none if it is enough."""
        if self.epsilon is not None and self.lower > self.epsilon:
            return []
        nodes = []
        while self.open and len(nodes) + 2 <= batch:
            if self.close_enough(-self.open[0][0]):
                break
            nodes += heapq.heappop(self.open)[2].children()
        return nodes

    def visit(self, nodes, batch):
        """Bound nodes again, and keep open what is not close enough; false if there is no time."""
        new = nodes[0].split < 0
        if new and not all(self.look_from_below(self.part_of[n.which]) for n in nodes):
            return self.put_back(nodes)
        steps = semidefinite.STEPS if new else STEPS
        alone = len(self.asked.low) >= ALONE or self.pair.domain is not None
        batch = len(nodes) if alone else batch
        filled = [nodes[n % len(nodes)] for n in range(batch)]
        which, signs, _, starts, _ = zip(*filled, strict=True)
        kind = np.float32 if self.gap >= SINGLE else np.float64
        # In units of what is about to be the answer.
        longer = min(self.asked.unit / self.lower, LONGEST) if self.lower > 0.0 else LONGEST
        tau = [longer * t for t in (semidefinite.TAU if new else TAU)]
        asked = [self.asked] * batch
        found = semidefinite.improve(asked, which, signs, starts, steps, tau, kind, self.stop)
        if found is None:
            return self.put_back(nodes)
        self.visited += len(nodes)
        for node, (bound, start, moments) in zip(nodes, found, strict=False):
            bound = min(bound, node.bound)
            if not self.close_enough(bound):
                self.climb(moments)
            split = self.best_split(node, moments)
            stuck = node.signs[split] and bound > node.bound * (1.0 - SETTLED * self.gap)
            if stuck or self.close_enough(bound):
                self.settled = max(self.settled, bound)
            else:
                start = start.astype(np.float32)
                self.put(node._replace(bound=bound, start=start, split=split))
        return True

    def put_back(self, nodes):
        """Open again what could not be visited; false."""
        for node in nodes:
            self.put(node)
        return False

    def look_from_below(self, k):
        """Ascend in a part where that was not done; false if there is no time for it."""
        if not self.ascended[k]:
            if self.stop():
                return False
            _, x = ascent.lower(_alone(self.parts[k]), batch=1, stop=self.stop)
            self.ascended[k] = True
            self.look(x.T)
        return True

    def climb(self, moments):
        """Raise the lower bound, from the best of the points that the moments hold."""
        plus, minus = np.split(moments[:, self.asked.square], 2, axis=1)
        points = np.concatenate([plus - minus, minus - plus])
        if (within := self.pair.domain) is None:
            size = length(points, 1)[:, None]
            points = (points / np.where(size > 0.0, size, 1.0)).T
        else:  # rows are means of x times something positive, which the constant tells
            size = np.where(points[:, -1:] > 0.0, points[:, -1:], np.inf)
            points = domains.nearest((points * (within.constant / size)).T, within)
        values = self.values(points)
        part, at = np.unravel_index(np.argmax(values), np.shape(values))
        x = points[:, at]
        # A climb seldom adds much, and in large networks takes seconds.
        worth_it = within is None and len(self.worth) <= ascent.CLIMBED
        if worth_it and values[part][at] >= ascent.NEAR * self.lower:
            x = ascent.climb(self.parts[part], x, self.stop)
        self.look(x[:, None])

    def values(self, points):
        """||g - f|| of every part at points [d, n]: [part, n]."""
        h = difference(self.pair, points)
        return length(h, 0)[None] if self.norm == "l2" else np.abs(h)

    def look(self, points):
        """Raise the lower bound to the largest value at points, [d, n]."""
        values = self.values(points)
        part, at = np.unravel_index(np.argmax(values), np.shape(values))
        x = points[:, at]
        value = reached(self.parts[part], x[:, None])[0][0]
        if not value <= self.lower:  # NaN, too
            self.lower, self.point = value, x

    def best_split(self, node, moments):
        """The sign whose both sides are taken, times what the difference changes by across it."""
        positive, negative = _sides(self.asked)
        first = moments[0] if self.asked.power == 1 else np.sqrt(np.abs(np.diagonal(moments)))
        taken = np.maximum(np.minimum(first[positive], first[negative]), 0.0)
        return int(np.argmax(np.where(node.signs == 0, taken * self.worth, -1.0)))


def _alone(pair):
    return pair._replace(errors=tuple(e[None] for e in pair.errors))


def _telescoped(pair, norm, stop):
    """A bound on every part, layer by layer: [part]; 0 where f and g are the same."""
    outputs = 1 if norm == "l2" else len(pair.weights[-1])
    if not any(np.any(e) for e in pair.errors):
        return np.zeros(outputs)
    (bounds,) = certificate.telescoped(_alone(pair), stop)
    return certificate.together(bounds[None]) if norm == "l2" else bounds


class _Outputs:
    """The pairs of single outputs, made when asked for."""

    def __init__(self, pair):
        self.pair = pair

    def __getitem__(self, o):
        return of_outputs(self.pair, [o])


def _sides(asked):
    """Rows of p that are positive on either side of every sign, [sign] each."""
    sides = [np.flatnonzero(asked.square).reshape(2, -1)]
    for f, f_off, g, g_off, _, _ in rows(asked.layers):
        sides += [(f, f_off), (g, g_off)]
    return (np.concatenate(side) for side in zip(*sides, strict=True))


def _worth(pair, asked):
    """How far the outputs go with each activation that a sign governs, roughly, [sign].

    As if half the neurons above were active. A sign of x makes g - f bend at its wall where that of
    a neuron makes it jump, and is split last.
    """
    above = np.eye(len(pair.weights[-1])) if pair.last == "relu" else pair.weights[-1]
    found = []
    for w, _, _ in reversed(asked.layers):
        of_neurons = np.linalg.norm(above, axis=0)
        found, above = [of_neurons, of_neurons, *found], above @ w / 2.0
    return np.concatenate([INPUTS * np.linalg.norm(above, axis=0), *found])
