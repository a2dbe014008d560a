"""The formula for many pairs at once: against the circle, against pairs one by one, and faults."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.networks import pairs
from ltjax.networks.pairs import Pair
from ltjax.supnorm import max_min, plane, sets

NEAR = np.array([0.9, 0.999, 1.001, 1.1])


def some(n_pairs, d, n, seed, size=0.3):
    """Pairs of one target with output weights of one sign each, as a mask rule leaves them."""
    random = np.random.default_rng(seed)
    w, a = random.normal(size=(n, d)), random.normal(size=(1, n))
    kept = -a * random.uniform(0.0, 2.0 * size, (n_pairs, 1, 1, n)).clip(max=1.0)
    return Pair((w, a), (size * random.normal(size=(n_pairs, 2, n, d)), kept))


def each(pair):
    return [pair._replace(errors=errors) for errors in zip(*pair.errors, strict=True)]


def circles(pair):
    return np.array([plane.circle_bounds(one) for one in each(pair)]).T


@pytest.mark.parametrize("size", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("n", [1, 3, 7])
def test_in_the_plane_it_is_what_the_circle_says(n, size):
    pair = some(30, 2, n, n, size)
    low, high = circles(pair)
    wanted = low[:, None] * NEAR
    lower, upper = sets.decide(pair, wanted)
    assert np.all((lower <= high) & (low <= upper))
    decided = (wanted < lower[:, None]) | (wanted >= upper[:, None])
    assert decided.mean() > 0.99


@pytest.mark.parametrize(("d", "n"), [(4, 5), (8, 8)])
def test_it_decides_what_the_search_of_one_pair_does(d, n):
    pair = some(12, d, n, 5, 0.05)
    last = [list(max_min.brackets(one, 1e-6))[-1] for one in each(pair)]
    low, high = np.array([(b.lower, b.upper) for b in last]).T
    wanted = low[:, None] * NEAR
    lower, upper = sets.decide(pair, wanted)
    assert np.all((lower <= high) & (low <= upper))
    decided = (wanted < lower[:, None]) | (wanted >= upper[:, None])
    assert decided.mean() > 0.95


def test_a_pair_is_bounded_alike_alone_and_among_others():
    pair = some(40, 3, 4, 2, 0.2)
    wanted = np.full((40, 2), [0.4, 0.9])
    lower, upper = sets.decide(pair, wanted)
    for k in (0, 17, 39):
        one = pair._replace(errors=tuple(e[k : k + 1] for e in pair.errors))
        low, high = sets.decide(one, wanted[k : k + 1])
        assert (low[0], high[0]) == pytest.approx((lower[k], upper[k]), rel=1e-12)


def test_nothing_is_said_of_output_weights_of_two_signs_and_nan_stays_nan():
    pair = some(3, 3, 4, 0)
    (e, last), (_, a) = pair.errors, pair.weights
    last[0, 0, 0, 2] = -1.5 * a[0, 2]
    e[1, 0, 0, 0] = np.nan
    lower, upper = sets.decide(pair, np.full((3, 1), 0.5))
    assert upper[0] == np.inf
    assert lower[0] == 0.0
    assert np.isnan([lower[1], upper[1]]).all()
    assert np.isfinite([lower[2], upper[2]]).all()
    quick = jax.vmap(lambda e, last: sets.quick(Pair(pair.weights, (e, last))))
    found, _ = quick(*(jnp.asarray(x, jnp.float32) for x in pair.errors))
    assert found[0] == np.inf
    assert np.isnan(found[1])
    assert found[2] >= lower[2]


@pytest.mark.parametrize("size", [1e-30, 1e-12, 0.01, 0.3])
def test_the_first_look_is_a_bound_and_its_point_is_far_apart(size):
    pair = some(50, 4, 6, 3, size)
    weights, errors = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), pair[:2])
    upper, x = jax.vmap(lambda *errors: sets.quick(Pair(weights, errors)))(*errors)
    exactly = Pair(*jax.tree.map(lambda x: np.asarray(x, np.float64), (weights, errors)))
    low = np.array([list(max_min.brackets(one, 1e-3))[-1].lower for one in each(exactly)])
    assert np.all(upper >= low)
    if size > 1e-20:  # whose squares float32 holds
        assert np.median(upper / low) < 1.5
        reached = pairs.reached(exactly, np.asarray(x, np.float64)[..., None])[0][:, 0]
        assert np.median(reached / low) > 0.5


def test_the_device_tries_all_sets_of_small_networks_alone():
    pair = some(1, 3, 4, 0)
    assert sets.applies(pair)
    assert not sets.applies(pair._replace(last="relu"))
    assert not sets.applies(some(1, 3, 11, 0))
    assert not sets.applies(some(1, 200, 8, 0))


def test_a_gap_is_closed_for_many_pairs_at_once():
    pair = some(20, 4, 5, 1, 0.2)
    lower, upper = sets.close(pair, 1e-4)
    assert np.all(upper <= (1 + 1e-4) * lower)
    for one, low, high in zip(each(pair), lower, upper, strict=True):
        *_, last = max_min.brackets(one, 1e-6)
        assert low <= last.upper
        assert last.lower <= high


# Planted faults.


def wrong(pair):
    """Whether some bracket misses what the circle says."""
    low, high = circles(pair)
    found = (sets.decide(pair, low[:, None] * near) for near in NEAR)
    return not all(np.all((lower <= high) & (low <= upper)) for lower, upper in found)


def faulty(monkeypatch, fault):
    if fault == "a set skipped":
        whole = sets._rows
        monkeypatch.setattr(sets, "_rows", lambda *all: whole(*all).chosen(slice(1, None)))
    elif fault == "theta beyond 1":
        whole = max_min.descended
        loose = lambda sums, taken, tau, *others: whole(sums, taken - 1.0, tau, *others)
        monkeypatch.setattr(max_min, "descended", loose)
    elif fault == "a branch forgotten":
        whole = sets._branched

        def half(rows, q):
            rows = whole(rows, q)
            return rows.chosen(np.all(rows.mask == 1.0, axis=0) | (np.arange(rows.pair.size) % 2))

        monkeypatch.setattr(sets, "_branched", half)
    elif fault == "pieces of f turned round":
        whole_pieces = sets.pieces
        turned = lambda *pair: (p := whole_pieces(*pair))._replace(of_f=-p.of_f)
        monkeypatch.setattr(sets, "pieces", turned)
    elif fault == "a point not normalised":
        reached = pairs.reached
        longer = lambda pair, x: tuple(1.5 * end for end in reached(pair, x))
        monkeypatch.setattr(sets.pairs, "reached", longer)


@pytest.mark.parametrize(
    "fault",
    [
        "a set skipped",
        "theta beyond 1",
        "a branch forgotten",
        "pieces of f turned round",
        "a point not normalised",
    ],
)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    cases = [some(12, 2, n, seed, 0.5) for n in (2, 4, 6) for seed in range(4)]
    assert not any(map(wrong, cases))
    faulty(monkeypatch, fault)
    assert any(map(wrong, cases))
