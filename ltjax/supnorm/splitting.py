"""Brackets that close on the supremum over a domain of ||g - f||: its inputs are split.

Best-first branch and bound over cells of a box: the bound of a cell is that of `linear`, which is
the better the smaller the cell, and its points are lower bounds. So it closes for any two networks
of few inputs, however deep; of many inputs the first cell, the domain, says nearly all.
"""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

import numpy as np

from ltjax.networks import domains, pairs
from ltjax.networks.pairs import Pair, length
from ltjax.supnorm import linear
from ltjax.supnorm.branch_and_bound import Bracket
from ltjax.supnorm.linear import Cells
from ltjax.system.stops import Stop, never

AT_ONCE = 2**19  # numbers that the rows of a layer take, for all cells of a visit
MOST = 256  # cells of a visit
STARTS = 64  # points that the search begins from
STEPS, STEP = 30, 0.3  # uphill, and the first one's length, in the longest that there is
FURTHER = 6  # uphill from the points of cells
NOISE = 1e-13  # of the sizes of the networks: no bound can be lower than some of these
OUTSIDE = 1.0 + 1e-9  # radii from the centre: a cell as far has no point of the ball


class _Cell(NamedTuple):
    """A part of the domain, [d] each, and how much its entries bear on the bound."""

    middle: np.ndarray
    half: np.ndarray
    worth: np.ndarray


def brackets(
    pair: Pair,
    gap: float,
    epsilon: float | None = None,
    norm: str = "l2",
    stop: Stop = never,
) -> Iterator[Bracket]:
    """Closer and closer brackets; each is valid, so that any may be the last one taken.

    Args:
        pair: ONE pair with a domain, errors [1, n_out, n_in].
        gap: positive; upper <= (1 + gap) lower is close enough.
        epsilon: that the supremum is at most this, or above it, is close enough too.
        norm: of several outputs, "l2" or "max".
        stop: asked before every visit to some cells; true ends the work.
    """
    search = _Search(pair, gap, epsilon, norm)
    yield search.bracket()
    while search.heap and not search.done() and not stop():
        search.visit()
        yield search.bracket()


class _Search:
    """Cells, the largest bound first; a bound on those that are done with; and the best point."""

    def __init__(self, pair, gap, epsilon, norm):
        self.pair, self.gap, self.epsilon, self.norm = pair, gap, epsilon, norm
        dim = pair.weights[0].shape[1] - 1
        rows = 2 * max(map(len, pair.weights)) * max(w.size // len(w) for w in pair.weights)
        self.batch = int(min(max(2, AT_ONCE // rows), MOST))
        n = len(pair.weights[-1])
        apart = [[o] for o in range(n)] if norm == "max" else [range(n)]
        self.parts = [pairs.of_outputs(pair, outputs) for outputs in apart]
        self.lower, self.point, self.visited = 0.0, np.zeros(dim + 1), 0
        self.settled, self.heap, self.order = 0.0, [], count()
        x = np.random.default_rng(0).normal(size=(dim + 1, STARTS))
        x[:, 0] = 0.0
        self.reach = domains.reach(pair.domain, dim)
        sizes = [length(w) + length(e) for w, e in zip(*pair[:2], strict=True)]
        self.noise = NOISE * float(np.prod(sizes))
        self.look(x / np.maximum(length(x, 0), 1e-300) * self.reach, STEPS)
        self.enter(linear.whole(pair.domain, dim), np.full(1, np.inf))

    def bracket(self):
        upper = max(self.settled, -self.heap[0][0]) if self.heap else self.settled
        return Bracket(self.lower, float(upper), self.point, self.visited)

    def enough(self):
        """What a bound may be, and be done with."""
        level = max(self.lower * (1.0 + self.gap), self.noise)
        if self.epsilon is not None and self.lower <= self.epsilon:
            level = max(level, self.epsilon)
        return level

    def done(self):
        refuted = self.epsilon is not None and self.lower > self.epsilon
        return refuted or self.bracket().upper <= self.enough()

    def visit(self):
        """Halve the cells of the largest bounds."""
        taken = []
        while self.heap and 2 * len(taken) < self.batch:
            bound, _, cell = heapq.heappop(self.heap)
            if -bound <= self.enough():
                self.settled = max(self.settled, -bound)
                break
            taken.append((-bound, cell))
        if not taken:
            return
        bounds, cells = zip(*taken, strict=True)
        middle, half, worth = map(np.stack, zip(*cells, strict=True))
        at, here = np.argmax(worth * half, axis=1), np.arange(len(cells))
        half[here, at] /= 2.0
        low, high = middle.copy(), middle.copy()
        low[here, at] -= half[here, at]
        high[here, at] += half[here, at]
        # Halves that rounding has moved apart still meet.
        half[here, at] += 4.0 * pairs.ULP * (np.abs(middle[here, at]) + half[here, at])
        both = Cells(np.concatenate([low, high]), np.concatenate([half, half]))
        self.enter(both, np.array(bounds + bounds))

    def enter(self, cells, known):
        """Bound cells, raise the lower bound at points of theirs, and keep those that are open."""
        if self.pair.domain.shape == "ball":
            nearest = np.maximum(np.abs(cells.middle) - cells.half, 0.0)
            inside = length(nearest, 1) <= self.pair.domain.radius * OUTSIDE
            cells, known = Cells(*(x[inside] for x in cells)), known[inside]
        if len(known) == 0:
            return
        self.visited += len(known)
        found = linear.bounds(self.pair, cells, self.norm)
        bound = np.minimum(found.bound, known)
        best = cells.middle + np.sign(found.slope) * cells.half
        points = np.concatenate([cells.middle, best]).T
        self.look(np.concatenate([points, np.ones((1, points.shape[1]))]), 0)
        keep = bound > self.enough()
        self.settled = max(self.settled, float(bound[~keep].max(initial=0.0)))
        worth = length(self.pair.weights[0][:, :-1], 0)
        for k in np.flatnonzero(keep):
            cell = _Cell(cells.middle[k], cells.half[k], worth)
            heapq.heappush(self.heap, (-float(bound[k]), next(self.order), cell))

    def look(self, x, steps):
        """Raise the lower bound at the points nearest to any, [d + 1, n], and some steps uphill."""
        size = STEP * self.reach
        for step in range(steps + 1):
            x = domains.nearest(x, self.pair.domain)
            values = self.values(x)
            best = int(np.argmax(values))
            if values[best] > self.lower:
                self.lower, self.point = float(values[best]), x[:, best]
                if steps == 0:
                    self.look(x[:, best : best + 1], FURTHER)
            if step == steps:
                break
            uphill = pairs.slope(self.pair, x)
            uphill[-1] = 0.0
            norm = length(uphill, 0)
            x = x + size * uphill / np.where(norm > 0.0, norm, 1.0)
            size *= 0.8

    def values(self, x):
        """What ||g - f|| is at least, at points [d + 1, n]."""
        return np.max([pairs.reached(part, x)[0] for part in self.parts], axis=0)
