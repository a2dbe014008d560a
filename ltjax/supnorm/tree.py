"""Brackets that close on the supremum over the unit ball of ||g - f||, for a near pair.

Best-first branch and bound. A node is a set of known signs, of inputs and of pre-activations of f
and g. Its bound is that of `relaxation`, whose steps go on from where the parent's ended; the
moments found tell which sign to split, and where to climb from for a higher value.
"""

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import NamedTuple

import numpy as np

from ltjax.networks import Pair, difference, length, reached
from ltjax.supnorm import ascent, relaxation
from ltjax.supnorm.lift import known_bound, lift, open_signs, rows

BATCH = 4  # nodes on the device at once
STEPS = 100  # of a visit to a node, but for the first to a root
TAU = 0.3, 0.3
LONGEST = 10.0  # by what a small supremum may lengthen tau
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
    stop: Callable[[], bool] = lambda: False,
    batch: int = BATCH,
) -> Iterator[Bracket]:
    """Closer and closer brackets; each is valid, so that any may be the last one taken.

    Args:
        pair: ONE pair, errors [side, n_out, n_in].
        gap: positive; upper <= (1 + gap) lower is close enough.
        epsilon: that the supremum is at most this, or above it, is close enough too.
        norm: of several outputs, "l2" or "max".
        stop: asked before every batch of nodes; true ends the work.
        batch: nodes on the device at once, 2 at least.

    Yields:
        First the bracket before any node: NaN where an error is, 0 where f and g are the same. The
        last one is close enough, unless stopped; or, with several outputs in l2, unless nodes
        remain whose signs are all known and whose relaxation is not exact.
    """
    tree = _Tree(pair, gap, epsilon, norm)
    yield tree.bracket()
    while (nodes := tree.take(batch)) and not stop():
        tree.visit(nodes, batch)
        yield tree.bracket()


class _Tree:
    """Open nodes, the largest bound first; what bounds the others; and the best point."""

    def __init__(self, pair, gap, epsilon, norm):
        double = lambda arrays: tuple(np.asarray(a, np.float64) for a in arrays)
        self.pair = pair = Pair(double(pair.weights), double(pair.errors), pair.last)
        self.gap, self.epsilon, self.visited, self.order = gap, epsilon, 0, count()
        outputs = range(len(pair.weights[-1]))
        self.parts = [pair] if norm == "l2" else [_output(pair, o) for o in outputs]
        starts = [ascent.lower(_alone(part), batch=1) for part in self.parts]
        self.lower, self.point = max(((value[0], x[0]) for value, x in starts), key=lambda s: s[0])
        self.open, self.settled = [], known_bound(pair)
        if 0.0 < self.settled < np.inf:
            self.asked = asked = lift(pair, self.settled, norm)
            self.worth, self.settled = _worth(pair, asked), 0.0
            for k in range(len(asked.objective)):
                self.put(_Node(k, open_signs(asked), asked.unit, np.zeros_like(asked.low)))

    def bracket(self):
        # Never raised to the lower bound: were it below that, something would be wrong.
        upper = max(self.settled, -self.open[0][0]) if self.open else self.settled
        return Bracket(float(self.lower), float(upper), self.point, self.visited)

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
        """Bound nodes again, and keep open what is not close enough."""
        new = nodes[0].split < 0
        steps = relaxation.STEPS if new else STEPS
        filled = [nodes[n % len(nodes)] for n in range(batch)]
        which, signs, _, starts, _ = zip(*filled, strict=True)
        kind = np.float32 if self.gap >= SINGLE else np.float64
        # In units of what is about to be the answer.
        longer = min(self.asked.unit / self.lower, LONGEST) if self.lower > 0.0 else LONGEST
        tau = [longer * t for t in (relaxation.TAU if new else TAU)]
        asked = [self.asked] * batch
        found = relaxation.improve(asked, which, signs, starts, steps, tau, kind)
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

    def climb(self, moments):
        """Raise the lower bound, from the best of the points that the moments hold."""
        plus, minus = np.split(moments[:, self.asked.square], 2, axis=1)
        points = np.concatenate([plus - minus, minus - plus])
        size = length(points, 1)[:, None]
        points = (points / np.where(size > 0.0, size, 1.0)).T
        values = [length(difference(part, points), 0) for part in self.parts]
        part, at = np.unravel_index(np.argmax(values), np.shape(values))
        x = points[:, at]
        # A climb seldom adds much, and in large networks takes seconds.
        if len(self.worth) <= ascent.CLIMBED and values[part][at] >= ascent.NEAR * self.lower:
            x = ascent.climb(self.parts[part], x)
        value = reached(self.parts[part], x[:, None])[0][0]
        if value > self.lower:
            self.lower, self.point = value, x

    def best_split(self, node, moments):
        """The sign whose both sides are taken, times what the difference changes by across it."""
        positive, negative = _sides(self.asked)
        first = moments[0] if self.asked.power == 1 else np.sqrt(np.abs(np.diagonal(moments)))
        taken = np.maximum(np.minimum(first[positive], first[negative]), 0.0)
        return int(np.argmax(np.where(node.signs == 0, taken * self.worth, -1.0)))


def _alone(pair):
    return pair._replace(errors=tuple(e[None] for e in pair.errors))


def _output(pair, o):
    """The pair of one output."""
    *weights, last = pair.weights
    *errors, last_errors = pair.errors
    return Pair((*weights, last[[o]]), (*errors, last_errors[:, [o]]), pair.last)


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
