"""From nearest products to a ticket: no two slots of a pooled search may keep the same neuron.

`repair` runs on the device: a valid ticket, and a bracket on the *bottleneck*, the smallest
possible largest slot error over all valid tickets. `perfect` decides exactly, on the host, whether
a valid ticket exists within a tolerance, where that bracket does not.

A slot is (side, output, input); the two of a weight never meet, a neuron has one sign of W.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from ltjax.masks.nearest import LANES, Slots

ROUNDS = 4  # of giving way


class Ticket(NamedTuple):
    """One kept neuron a slot, all different.

    error: A W - w, float32 [side, n_out, n_in, trial]; -w where the slot is empty.
    neuron: int32 [side, n_out, n_in, trial]; -1 where the slot is empty.
    least: float32 [trial]; no valid ticket has a smaller largest error, up to the errors' slack.
    """

    error: jax.Array
    neuron: jax.Array
    least: jax.Array


def repair(slots: Slots, target, nearest_two: bool = True) -> Ticket:
    """A ticket from the nearest products of each slot, at one width.

    Where slots want the same neuron, the one whose next choice is worst keeps it and the others
    move on to theirs; after the last of their choices, or of the rounds, to the empty slot.

    Args:
        slots: [rank, side, n_out, n_in, trial], as `nearest.pooled` gives for one width.
        target: w, [n_out, n_in, trial].
        nearest_two: whether the first two choices are the nearest two of all, which makes `least`
            sharper. `layer_pool.search` lists no second of a chunk; static.
    """
    ranks, *shape, trials = slots.error.shape
    rows = ranks, math.prod(shape), trials
    empty = jnp.broadcast_to(-target, (*shape, trials)).reshape(1, *rows[1:])
    error = jnp.concatenate([slots.error.reshape(rows), empty])
    neuron = jnp.concatenate([slots.neuron.reshape(rows), jnp.full_like(empty, -1, jnp.int32)])
    at = np.arange(rows[1], dtype=np.int32).reshape(-1, 1)
    neuron = jnp.where(neuron < 0, -1 - at[None], neuron)  # an empty slot shares with nobody
    # Bits of sizes compare as sizes do; the index replaces the lowest for a strict order.
    low_bits = (1 << (len(at) - 1).bit_length()) - 1
    size = jax.lax.bitcast_convert_type(jnp.abs(error), jnp.int32) & ~low_bits

    def contest(choice, following):
        """Each slot's next choice, and the worst next choice of those that want its neuron."""
        wanted, following = _take(neuron, choice), following | at
        return choice, following, _worst_rival(wanted, wanted, following)

    def goes_on(state):
        rounds, (_, following, worst) = state
        return (rounds < ROUNDS) & jnp.any(worst > following)

    def give_way(state):
        rounds, (choice, following, worst) = state
        choice = jnp.where(worst > following, choice + 1, choice)
        return rounds + 1, contest(choice, _take(size, choice + 1))

    bears, least = size[1], size[0]
    if nearest_two:
        # What a slot must bear at least without its nearest neuron: the second nearest, and then
        # the slots that have that for their nearest must move too; or the third, which is listed
        # unless the first two came out of one chunk.
        displaced = _worst_rival(neuron[1], neuron[0], size[1])
        listed = neuron[0] // LANES != neuron[1] // LANES
        third = jnp.where(listed, size[2], size[1])
        bears = jnp.minimum(jnp.maximum(size[1], displaced), third)
    start = contest(jnp.zeros(rows[1:], jnp.int32), bears)
    if nearest_two:
        # Of two slots that want one neuron, one must do without.
        forced = jnp.maximum(jnp.minimum(*start[1:]), 0) & ~low_bits
        least = jnp.maximum(least, forced)
    least = jnp.max(least, axis=0)
    _, (choice, following, worst) = jax.lax.while_loop(goes_on, give_way, (0, start))
    choice = jnp.where(worst > following, ranks, choice)
    error, neuron = _take(error, choice), jnp.maximum(_take(neuron, choice), -1)
    least = jax.lax.bitcast_convert_type(least, jnp.float32)
    return Ticket(error.reshape(*shape, -1), neuron.reshape(*shape, -1), least)


def _worst_rival(wanted, claimed, following):
    """The largest `following` among the other slots that claim the wanted neuron; -1 for none.

    A loop over slots, because a compiler makes no vector code of a table of pairs.
    """
    slots = len(wanted)
    block = math.gcd(slots, 16)
    at = np.arange(slots, dtype=np.int32).reshape(-1, 1)

    def against(number, worst):
        first = number * block
        theirs = [jax.lax.dynamic_slice_in_dim(x, first, block) for x in (claimed, following)]
        for i in range(block):
            claim, bears = (x[i : i + 1] for x in theirs)
            worst = jnp.maximum(worst, jnp.where((claim == wanted) & (at != first + i), bears, -1))
        return worst

    return jax.lax.fori_loop(0, slots // block, against, jnp.full(wanted.shape, -1))


def _take(rows, choice):
    """rows[choice[i], i], by selection: gathers are slow where it matters."""
    taken = rows[-1]
    for rank in range(len(rows) - 1):
        taken = jnp.where(choice == rank, rows[rank], taken)
    return taken


def perfect(row, column, n_rows: int) -> np.ndarray:
    """Which rows a maximum matching covers: bool [n_rows]; arguments as of `maximum`.

    Many problems are one graph with disjoint rows and columns: each is solved iff all its rows are
    covered.
    """
    return maximum(row, column, n_rows) >= 0


def maximum(row, column, n_rows: int) -> np.ndarray:
    """The column of each row in a maximum matching, by Hopcroft and Karp: int [n_rows].

    Args:
        row, column: the edges, int [n_edges]; any integers name the columns.

    Returns:
        Places of columns among those that are named, in order; -1 for none.
    """
    if len(row) == 0:
        return np.full(n_rows, -1)
    names, column = np.unique(column, return_inverse=True)
    graph = coo_array((np.ones(len(row), np.int8), (row, column)), (n_rows, len(names)))
    return maximum_bipartite_matching(graph.tocsr(), perm_type="column")
