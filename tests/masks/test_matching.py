"""Tickets: always valid, between proven bounds; maximum matchings against trying everything."""

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import bottleneck

from ltjax.masks import matching, nearest
from ltjax.masks.nearest import Slots

RANKS, DIM, TRIALS = nearest.POOLED_RANKS, 4, 300
TARGET = np.float32([0.45, -0.3, 0.12, 0.02])


def tables(neurons, seed):
    """Random errors of every neuron in every slot: float32 [trial, side, input, neuron].

    A neuron serves one side alone; elsewhere it errs infinitely.
    """
    rng = np.random.default_rng(seed)
    error = rng.uniform(-0.5, 0.5, (TRIALS, 2, DIM, neurons)) * rng.random((TRIALS, 1, 1, neurons))
    mine = np.arange(neurons) % 2 == np.arange(2)[:, None, None]
    return np.where(mine, error, np.inf).astype(np.float32)


def listed(table):
    """What a search reports of a table: the nearest RANKS neurons of a slot, where any are."""
    neuron = np.argsort(np.abs(table), axis=-1, kind="stable")[..., :RANKS].astype(np.int32)
    neuron = np.pad(neuron, [(0, 0)] * 3 + [(0, RANKS - neuron.shape[-1])])
    error = np.take_along_axis(table, neuron, axis=-1)
    absent = np.abs(error) >= np.abs(TARGET)[:, None]
    absent |= np.arange(RANKS) >= table.shape[-1]
    error = np.where(absent, -TARGET[:, None], error)
    error, neuron = (
        np.moveaxis(x, (0, -1), (-1, 0)) for x in (error, np.where(absent, -1, neuron))
    )
    return Slots(jnp.asarray(error[:, :, None]), jnp.asarray(neuron[:, :, None]))


@jax.jit
def repair(slots):
    ticket = matching.repair(slots, jnp.asarray(TARGET)[None, :, None])
    return ticket._replace(error=ticket.error[:, 0], neuron=ticket.neuron[:, 0])


@pytest.fixture(scope="module", params=[1, 3, 6, 12, 40, 400], ids="{} neurons".format)
def repaired(request):
    table = tables(request.param, seed=request.param)
    slots = listed(table)
    return table, slots, jax.tree.map(np.asarray, repair(slots))


def test_a_ticket_is_valid(repaired):
    table, _, ticket = repaired
    for trial in range(TRIALS):
        error, neuron = ticket.error[..., trial], ticket.neuron[..., trial]
        side, i = np.nonzero(neuron >= 0)
        kept = neuron[side, i]
        assert len(set(kept)) == len(kept)
        np.testing.assert_array_equal(error[side, i], table[trial, side, i, kept])
        side, i = np.nonzero(neuron < 0)
        np.testing.assert_array_equal(error[side, i], -TARGET[i])
        assert np.all(np.abs(error) <= np.abs(TARGET))


def test_the_bottleneck_lies_between_least_and_the_ticket(repaired):
    table, _, ticket = repaired
    exact = np.array([bottleneck(np.abs(trial), np.abs(TARGET)) for trial in table])
    assert np.all(ticket.least <= exact)
    assert np.all(exact <= np.abs(ticket.error).max(axis=(0, 1)))


def test_without_rivals_every_slot_keeps_its_nearest(repaired):
    _, slots, ticket = repaired
    nearest_neuron = np.asarray(slots.neuron)[0, :, 0]
    flat = nearest_neuron.reshape(2 * DIM, TRIALS)
    free = np.array([len(set(col[col >= 0])) == np.sum(col >= 0) for col in flat.T])
    np.testing.assert_array_equal(ticket.neuron[..., free], nearest_neuron[..., free])
    # The bracket is then closed but for the bits that order the slots.
    largest = np.abs(ticket.error[..., free]).max(axis=(0, 1))
    np.testing.assert_allclose(ticket.least[free], largest, rtol=2.0**-11)


def test_few_rivals_leave_the_bracket_closed():
    # The purpose of a repair: where neurons abound, hardly a trial is left to the host.
    table = tables(400, seed=7)
    ticket = jax.tree.map(np.asarray, repair(listed(table)))
    largest = np.abs(ticket.error).max(axis=(0, 1))
    assert np.mean(largest <= ticket.least * (1 + 2.0**-11)) > 0.9


def test_who_has_the_worse_next_choice_stays():
    # Inputs 0 and 1 want neuron 7. Input 1, although farther from it, has nothing else below 0.2;
    # input 0 moves on to neuron 8, and no ticket does better than 0.03.
    choices = {(0, 0): [(7, 0.01), (8, 0.02)], (0, 1): [(7, 0.03), (9, 0.2)]}
    error = np.broadcast_to(-TARGET[:, None], (RANKS, 2, 1, DIM, 1)).copy()
    neuron = np.full(error.shape, -1, np.int32)
    error[:, :, 0, 2:], neuron[0, :, 0, 2:, 0] = 0.001, [[20, 22], [21, 23]]
    neuron[0, 1, 0, :2, 0], error[0, 1, 0, :2] = [25, 27], 0.002
    for (side, i), ranked in choices.items():
        for rank, (j, e) in enumerate(ranked):
            neuron[rank, side, 0, i], error[rank, side, 0, i] = j, e
    ticket = repair(Slots(jnp.asarray(error), jnp.asarray(neuron)))
    assert ticket.neuron[..., 0].tolist() == [[8, 7, 20, 22], [25, 27, 21, 23]]
    np.testing.assert_allclose(ticket.least, 0.03, rtol=2.0**-11)


# Maximum matchings.


def most_rows(edges, rows, columns):
    """The size of a maximum matching, by trying every order of the columns."""
    has = np.zeros((rows, columns + rows), bool)
    has[tuple(zip(*edges, strict=True)) if edges else ([], [])] = True
    return max(sum(has[range(rows), order]) for order in permutations(range(columns + rows), rows))


graphs = st.sets(st.tuples(st.integers(0, 2), st.integers(0, 2)))


def perfect(edges, rows):
    row, column = np.array(sorted(edges), np.int64).reshape(-1, 2).T
    return matching.perfect(row, column, rows)


@given(graphs)
def test_a_maximum_matching_covers_as_many_rows_as_can_be(edges):
    covered = perfect(edges, 3)
    assert covered.shape == (3,)
    assert covered.sum() == most_rows(list(edges), 3, 3)
    # A row without an edge is never covered.
    assert all(row in {r for r, _ in edges} for row in np.flatnonzero(covered))


@given(st.lists(graphs, min_size=1, max_size=5))
def test_disjoint_problems_are_solved_as_if_alone(parts):
    # Columns may have any names, as long as no two problems share one.
    together = {(3 * p + r, 1000 * p - c) for p, edges in enumerate(parts) for r, c in edges}
    covered = perfect(together, 3 * len(parts)).reshape(-1, 3)
    assert covered.all(axis=1).tolist() == [bool(perfect(edges, 3).all()) for edges in parts]
    assert covered.sum(axis=1).tolist() == [int(perfect(edges, 3).sum()) for edges in parts]


def test_without_edges_no_row_is_covered():
    assert perfect(set(), 3).tolist() == [False] * 3


def test_a_row_moves_aside_for_another():
    # Row 0 may take column 5 or 9, row 1 column 5 alone, row 2 nothing.
    assert perfect({(0, 5), (0, 9), (1, 5)}, 3).tolist() == [True, True, False]
