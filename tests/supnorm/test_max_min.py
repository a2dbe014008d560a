"""The formula for one hidden layer, against the circle, the tree, mixed integers, and faults."""

import numpy as np
import pytest
from oracles import integer_program

from ltjax.networks import pairs
from ltjax.networks.pairs import Pair, difference
from ltjax.supnorm import branch_and_bound, max_min, plane

SIZES = [(2, 1), (2, 5), (3, 4), (5, 6)]


def some(d, n, seed, sides=2, size=0.3, outputs=1):
    """A pair whose output weights change their signs now and then."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(n, d)), random.normal(size=(outputs, n))
    errors = size * random.normal(size=(sides, n, d)), size * random.normal(size=(1, outputs, n))
    return Pair(weights, errors)


def settled(pair, gap=1e-6, **options):
    """All brackets."""
    assert max_min.applies(pair, "max")
    return list(max_min.brackets(pair, gap, **options))


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_in_the_plane_it_is_what_the_circle_says(seed, sides):
    pair = some(2, 1 + seed % 7, seed, sides, (0.01, 0.3, 1.0)[seed % 3])
    low, high = plane.circle_bounds(pair)
    found = settled(pair)
    assert all(b.lower <= high and low <= b.upper for b in found)
    assert np.all(np.diff([b.lower for b in found]) >= 0.0)
    assert np.all(np.diff([b.upper for b in found]) <= 0.0)
    last = found[-1]
    assert last.upper <= last.lower * (1 + 2e-6)
    value = np.abs(difference(pair, last.point[:, None])[0, 0])
    assert last.lower <= value <= last.upper
    assert np.linalg.norm(last.point) == pytest.approx(1.0)


@pytest.mark.slow
@pytest.mark.parametrize(("d", "n"), [(3, 4), (5, 6)])
def test_it_agrees_with_the_tree_and_with_points(d, n):
    for seed in range(4):
        pair = some(d, n, seed, 1 + seed % 2, 0.1)
        last = settled(pair)[-1]
        assert last.upper <= last.lower * (1 + 2e-6)
        for known in branch_and_bound.brackets(pair, 1e-2):
            assert known.lower <= last.upper
            assert last.lower <= known.upper
        x = np.random.default_rng(seed).normal(size=(d, 20_000))
        assert pairs.reached(pair, x)[0].max() <= last.upper


@pytest.mark.slow
def test_it_agrees_with_mixed_integer_optimisation():
    for seed in range(12):
        pair = some(3, 4, seed, 2, 0.1)
        last = settled(pair)[-1]
        low, high = integer_program(pair.weights, pair.errors, 1e-4)
        assert low <= last.upper
        assert last.lower <= high


def test_the_largest_of_several_outputs():
    pair = some(3, 4, 1, outputs=3)
    each = [settled(Pair((w, a[k : k + 1]), (e, f[:, k : k + 1])))[-1]
            for (w, a), (e, f) in [(pair.weights, pair.errors)] for k in range(3)]  # fmt: skip
    last = settled(pair)[-1]
    assert last.lower == pytest.approx(max(one.lower for one in each), rel=1e-5)
    assert not max_min.applies(pair, "l2")


def test_an_epsilon_is_decided_with_less_than_the_supremum_takes():
    pair = some(4, 8, 3, size=0.05)
    value = settled(pair)[-1].upper
    for epsilon in (0.8 * value, 0.98 * value, 1.02 * value, 1.3 * value):
        found = settled(pair, epsilon=epsilon)
        if epsilon < value:
            assert found[-1].lower > epsilon
        else:
            assert found[-1].upper <= epsilon
        assert found[-1].nodes <= settled(pair)[-1].nodes


def test_it_stops_when_told_with_a_valid_bracket():
    pair, left = some(6, 10, 5), 3
    value = settled(pair)[-1].upper

    def stop():
        nonlocal left
        left -= 1
        return left < 0

    found = settled(pair, stop=stop)
    assert len(found) <= 5
    assert found[-1].lower <= value <= found[-1].upper * (1 + 1e-6)


@pytest.mark.parametrize("size", [1e-3, 1e-9, 1e-14, 1e-60])
@pytest.mark.parametrize("sides", [1, 2])
def test_small_errors_are_bounded_to_their_own_accuracy(size, sides):
    pair = some(4, 5, 2, sides, size)
    last = settled(pair)[-1]
    assert last.upper <= last.lower * (1 + 1e-5)
    assert 0.1 * size < last.lower < 100 * size


def test_equal_networks_are_apart_by_nothing_but_rounding():
    pair = some(3, 4, 1)
    same = pair._replace(errors=tuple(0.0 * e for e in pair.errors))
    last = settled(same)[-1]
    assert last.lower == 0.0
    assert last.upper < 1e-12
    broken = pair._replace(errors=(pair.errors[0] * np.nan, pair.errors[1]))
    assert np.isnan(next(max_min.brackets(broken, 1e-3)).upper)


@pytest.mark.parametrize(
    ("pair", "norm"),
    [
        (some(3, 17, 0), "l2"),
        (some(3, 4, 0)._replace(last="relu"), "l2"),
        (some(3, 4, 0, outputs=2), "l2"),
        (Pair((np.eye(2),) * 3, (np.zeros((1, 2, 2)),) * 3), "max"),
    ],
)
def test_what_it_does_not_speak_of(pair, norm):
    assert not max_min.applies(pair, norm)


# Planted faults.


def wrong(pair):
    """Whether some bracket misses what the circle says."""
    low, high = plane.circle_bounds(pair)
    return not all(b.lower <= high and low <= b.upper for b in settled(pair))


def faulty(monkeypatch, fault):
    if fault == "a set skipped":
        whole = max_min.subsets
        monkeypatch.setattr(max_min, "subsets", lambda n: whole(n)[: 2**n - 1])
    elif fault == "theta beyond 1":
        whole = max_min.descended
        loose = lambda sums, taken, tau, *others: whole(sums, taken - 1.0, tau, *others)
        monkeypatch.setattr(max_min, "descended", loose)
    elif fault == "the sign of the positive part":
        monkeypatch.setattr(max_min._Search, "positive", lambda self, q: np.minimum(q, 0.0))
    elif fault == "a branch forgotten":
        push = max_min._Search.push

        def half(self, number, sums, taken, tau, mask, known):
            keep = slice(None) if np.all(mask == 1.0) else slice(0, 1)
            push(self, number, sums[keep], taken[keep], tau[keep], mask[keep], known[keep])

        monkeypatch.setattr(max_min._Search, "push", half)
    elif fault == "a point not normalised":
        reached = pairs.reached
        longer = lambda pair, x: tuple(1.5 * end for end in reached(pair, x))
        monkeypatch.setattr(max_min.pairs, "reached", longer)


@pytest.mark.parametrize(
    "fault",
    [
        "a set skipped",
        "theta beyond 1",
        "the sign of the positive part",
        "a branch forgotten",
        "a point not normalised",
    ],
)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    cases = [some(2, n, seed, 2, 0.5) for n in (2, 4, 6) for seed in range(12)]
    assert not any(map(wrong, cases))
    faulty(monkeypatch, fault)
    assert any(map(wrong, cases))
