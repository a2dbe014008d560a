"""Tickets of a pooled layer against all assignments, and against all neurons."""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from ltjax.masks import assignment, layer_pool, matching
from ltjax.weights import draws, redraw

TOY = np.array([[0.5, -0.2], [0.11, 0.6]])
WIDE = np.random.default_rng(0).uniform(-0.4, 0.4, (4, 5))
LANES = 4


@cache
def compiled():
    return jax.jit(layer_pool.search, static_argnums=(1, 4, 5))


def found(pool, ranks=layer_pool.RANKS):
    """What the search reports of a pool, as if it listed so many ranks."""
    trial = np.array([pool.trial], np.uint32)
    key = tuple(map(jnp.asarray, draws.trial_key(np.full_like(trial, pool.seed), trial)))
    target = jnp.asarray(pool.target, jnp.float32)[..., None]
    widths = jnp.array([pool.width], jnp.int32)
    slots = compiled()(key, pool.layer, target, widths, pool.sides, LANES)
    return [np.asarray(x)[0, :ranks, ..., 0] for x in slots]


def all_errors(pool):
    """|A W - t| of slots and neurons, from the whole layer: [slot, neuron]; inf off its side."""
    n_out, n_in = pool.target.shape
    [output], [hidden] = redraw.random_layer(
        pool.seed, [pool.trial], np.arange(pool.width), n_in, n_out, pool.layer
    )
    error = np.abs(output[:, None] * hidden.T - pool.target[..., None])
    sides = [np.where(sign * hidden.T > 0, error, np.inf) for sign in (1, -1)]
    return np.stack(sides[: pool.sides]).reshape(-1, pool.width)


def errors_of(pool, kept):
    """The error of every slot, [slot], of neurons that are distinct and on their side."""
    some = kept[kept >= 0]
    assert len(np.unique(some)) == len(some)
    at = np.arange(kept.size), np.maximum(kept.ravel(), 0)
    error = np.where(kept.ravel() < 0, pool.empty, all_errors(pool)[at])
    assert np.all(np.isfinite(error))
    return error


def best_of_all(pool):
    """The least largest error, and then the least sum of squares, of all assignments there are."""
    table = np.column_stack([pool.empty, all_errors(pool)])  # column 0 stays empty
    best = np.inf, np.inf
    for columns in product(*(np.flatnonzero(np.isfinite(row)) for row in table)):
        kept = [c for c in columns if c]
        if len(set(kept)) == len(kept):
            error = table[np.arange(len(table)), list(columns)]
            best = min(best, (error.max(), np.sum(error**2)))
    return best


@pytest.mark.parametrize("width", [1, 2, 4, 6])
def test_of_all_assignments_it_is_the_best(width):
    for trial in range(20):
        pool = assignment.Pool(5, trial, 1, width, TOY, sides=1)
        error = errors_of(pool, assignment.assign(pool, *found(pool), LANES))
        most, squares = best_of_all(pool)
        assert error.max() == most
        assert np.sum(error**2) == pytest.approx(squares, rel=1e-12)


def test_both_sides_of_a_weight_are_slots():
    for trial in range(20):
        pool = assignment.Pool(5, trial, 0, 6, TOY[:1], sides=2)
        error = errors_of(pool, assignment.assign(pool, *found(pool), LANES))
        most, squares = best_of_all(pool)
        assert error.max() == most
        assert np.sum(error**2) == pytest.approx(squares, rel=1e-12)


def bottleneck(pool):
    """The least largest error from all neurons at once: thresholds tried in order."""
    table = np.column_stack([all_errors(pool), np.diag(pool.empty) + _off_diagonal(pool)])
    levels = np.unique(table[np.isfinite(table)])
    holds = lambda level: matching.perfect(*np.nonzero(table <= level), len(table)).all()
    low, high = -1, len(levels) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(levels[middle]) else (middle, high)
    return levels[high]


def _off_diagonal(pool):
    return np.where(np.eye(pool.empty.size) > 0, 0.0, np.inf)


@pytest.mark.parametrize("width", [10, 40, 90, 400])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_lists_too_short_are_made_longer(ranks, width):
    # 40 slots; with few neurons they compete, and lists of one neuron hold no good ticket.
    worse = 0
    for trial in range(10):
        pool = assignment.Pool(7, trial, 0, width, WIDE, sides=2)
        slots = found(pool, ranks)
        error = errors_of(pool, assignment.assign(pool, *slots, LANES))
        assert error.max() == bottleneck(pool)
        short = assignment.bottleneck(assignment.listed(pool, *slots, LANES), pool.empty)[0]
        assert short >= error.max()
        worse += short > error.max()
    assert worse > 0 or ranks > 1 or width == 400


def test_no_neuron_below_the_floor_is_left_out_of_a_list():
    pool = assignment.Pool(7, 0, 0, 90, WIDE, sides=2)
    lists = assignment.listed(pool, *found(pool), LANES)
    table = all_errors(pool)
    below = table <= np.minimum(lists.floor, pool.empty)[:, None]
    assert np.sum(below) > 50
    kept = np.zeros_like(below)
    kept[lists.slot, lists.neuron] = True
    np.testing.assert_array_equal(kept & below, below)
    np.testing.assert_array_equal(table[lists.slot, lists.neuron], lists.error)


def test_with_room_for_all_the_sum_of_squares_is_that_of_all_neurons():
    # Some slots compete, and then keep one of their next: the lists are enough.
    competing = 0
    for trial in range(8):
        pool = assignment.Pool(7, trial, 0, 600, WIDE, sides=2)
        error = errors_of(pool, assignment.assign(pool, *found(pool), LANES))
        table = all_errors(pool)
        cost = np.where(table <= error.max(), table**2, 1e6)
        row, column = linear_sum_assignment(cost)
        assert np.sum(error**2) == pytest.approx(cost[row, column].sum(), rel=1e-12)
        competing += len(table) - len(np.unique(table.argmin(axis=1)))
    assert competing > 0


def test_nothing_is_kept_for_weights_that_are_zero():
    pool = assignment.Pool(7, 1, 0, 50, np.zeros((2, 3)), sides=2)
    assert np.all(assignment.assign(pool, *found(pool), LANES) == -1)
