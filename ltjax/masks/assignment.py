"""The ticket of a layer from one pool: to every slot a neuron of its own, exactly, on the host.

A slot (side, output, input) is served by a neuron of its side and then errs by |A W - t|, or it
stays empty and errs by |t|; no two slots keep the same neuron. Of all such tickets one with the
least largest error (the *bottleneck*), and of these, among the neurons listed, the one with the
least sum of squares.

The search lists for every slot the chunks of its nearest neurons. All neurons of these chunks are
drawn again, and their errors in float64 decide. A neuron of another chunk errs by at least the
slot's `floor`: so a list may be too short, and then a maximum matching at some tolerance may fall
short for that reason alone. By Hall's theorem it is the lists of one set of slots that are to blame
(those from which alternating paths lead on from a slot left over): where all of them are complete
up to the tolerance no ticket keeps to it, else the incomplete ones are drawn whole, and it is tried
again.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from ltjax.masks import matching
from ltjax.weights import draws
from ltjax.weights.redraw import weights_at

AT_ONCE = 2**16  # products that are drawn at once


class Pool(NamedTuple):
    """One layer of trial `trial` of a seed, `width` hidden neurons, and its target.

    target: t, float64 [n_out, n_in].
    sides: 1 where inputs are never negative.
    """

    seed: int
    trial: int
    layer: int
    width: int
    target: np.ndarray
    sides: int

    @property
    def empty(self) -> np.ndarray:
        """The errors of slots that stay empty, [slot]."""
        return np.tile(np.abs(self.target).ravel(), self.sides)

    def errors(self, slot, neuron) -> np.ndarray:
        """|A W - t| of neurons in slots, integers that broadcast; infinite on the other side."""
        side, output, inputs = np.unravel_index(slot, (self.sides, *self.target.shape))
        A, W = weights_at(self.seed, [self.trial], self.layer, neuron, output, inputs)
        return np.where((W > 0) == (side == 0), np.abs(A * W - self.target[output, inputs]), np.inf)


class Lists(NamedTuple):
    """Neurons that slots may keep, and by how much they err there: [n] each.

    floor: of each slot; no neuron that is not listed errs by less there.
    """

    slot: np.ndarray
    neuron: np.ndarray
    error: np.ndarray
    floor: np.ndarray


def assign(pool: Pool, error: np.ndarray, neuron: np.ndarray, lanes: int) -> np.ndarray:
    """The neuron that each slot keeps, [side, n_out, n_in]; -1 where it stays empty.

    Args:
        error, neuron: of one trial and width, [rank, side, n_out, n_in], as `layer_pool.search`
            reports them.
        lanes: neurons of a chunk of that search.
    """
    lists = listed(pool, error, neuron, lanes)
    while True:
        most, blamed = bottleneck(lists, pool.empty)
        short = blamed[lists.floor[blamed] < most]
        if not len(short):
            return least_squares(lists, pool.empty, most).reshape(pool.sides, *pool.target.shape)
        lists = _widened(pool, lists, short, most)


def listed(pool: Pool, error: np.ndarray, neuron: np.ndarray, lanes: int) -> Lists:
    """The neurons of all chunks found that err by no more than the floor; arguments of `assign`."""
    # Errors are cut downwards, and rounded; where the last is empty, none of the rest is below |t|.
    last = np.abs(error[-1].astype(np.float64)).ravel()
    neuron = neuron.reshape(len(neuron), -1)
    rank, slot = np.nonzero(neuron >= 0)
    first = neuron[rank, slot] // lanes * lanes
    return _near(pool, slot, first, lanes, last - draws.ROUNDING)


def _widened(pool: Pool, lists: Lists, slots, most) -> Lists:
    """The same with all neurons of the pool that err by at most so much in these slots."""
    floor = lists.floor.copy()
    floor[slots] = most
    whole = _near(pool, slots, np.zeros_like(slots), pool.width, floor)
    kept = ~np.isin(lists.slot, slots)
    slot, neuron, error = (
        np.concatenate([old[kept], new]) for old, new in zip(lists[:3], whole[:3], strict=True)
    )
    return Lists(slot, neuron, error, floor)


def _near(pool: Pool, slot, first, count: int, floor) -> Lists:
    """Of the `count` neurons from `first` on, those that err by at most the floor of their slot."""
    found = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
    rows, width = max(1, AT_ONCE // count), min(count, AT_ONCE)
    for row in range(0, len(slot), rows):
        some = slot[row : row + rows, None]
        for start in range(0, count, width):
            neuron = first[row : row + rows, None] + np.arange(start, min(start + width, count))
            error = pool.errors(some, neuron)
            at = np.nonzero((error <= floor[some]) & (neuron < pool.width))
            found.append((some[at[0], 0], neuron[at], error[at]))
    slots, neurons, errors = map(np.concatenate, zip(*found, strict=True))
    return Lists(slots, neurons, errors, floor)


def bottleneck(lists: Lists, empty) -> tuple[float, np.ndarray]:
    """The least largest error by these lists, and a set of slots that rules out a smaller one.

    Args:
        empty: |t| of each slot, by which it errs without a neuron.
    """
    best = empty.copy()
    np.minimum.at(best, lists.slot, lists.error)
    levels = np.unique(np.concatenate([lists.error, empty]))
    levels = levels[np.searchsorted(levels, best.max()) :]
    # At the last level every slot may stay empty. The first is the most likely, so it comes first.
    low, high, blamed = -1, len(levels) - 1, np.flatnonzero(best == levels[0])
    while high - low > 1:
        middle = 0 if low < 0 else (low + high) // 2
        if len(rivals := _rivals(lists, empty, levels[middle])):
            low, blamed = middle, rivals
        else:
            high = middle
    return levels[high], blamed


def _rivals(lists: Lists, empty, most) -> np.ndarray:
    """Slots that have too few neurons among them to err by at most so much; none if all can.

    They are those from which alternating paths of a maximum matching lead to a slot left over.
    """
    needy = np.flatnonzero(empty > most)
    use = (lists.error <= most) & (empty > most)[lists.slot]
    row = np.searchsorted(needy, lists.slot[use])
    _, column = np.unique(lists.neuron[use], return_inverse=True)
    matched = matching.maximum(row, column, len(needy))
    rivals, known = matched < 0, -1
    while known < (count := int(rivals.sum())):
        rivals, known = rivals | np.isin(matched, column[rivals[row]]), count
    return needy[rivals]


def least_squares(lists: Lists, empty, most) -> np.ndarray:
    """The neuron of each slot, -1 for none: the least sum of squared errors of at most `most`."""
    use, bare = lists.error <= most, np.flatnonzero(empty <= most)
    names, column = np.unique(lists.neuron[use], return_inverse=True)
    row = np.concatenate([lists.slot[use], bare])
    column = np.concatenate([column, len(names) + np.arange(len(bare))])
    error = np.concatenate([lists.error[use], empty[bare]])
    # Shifted by one: the solver takes a zero for no edge, and every slot has one edge.
    costs = 1.0 + (error / (most or 1.0)) ** 2
    graph = coo_array((costs, (row, column)), (len(empty), len(names) + len(bare)))
    _, chosen = min_weight_full_bipartite_matching(graph.tocsr())
    return np.append(names, np.full(len(bare), -1))[chosen]
