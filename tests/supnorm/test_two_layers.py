"""Two hidden layers, layer within layer: against the circle, the tree, points, and faults."""

import numpy as np
import pytest

import ltjax
from ltjax.experiments.network.problems import network
from ltjax.networks import pairs
from ltjax.networks.pairs import Pair
from ltjax.supnorm import branch_and_bound, plane, two_layers
from ltjax.system.stops import deadline

NEAR = np.array([0.9, 0.98, 1.02, 1.1])


def some(n_pairs, sizes, seed, size=0.3):
    """Pairs of one target whose output weights keep their signs, all errors of a size."""
    random = np.random.default_rng(seed)
    d, n, m = sizes
    weights = random.normal(size=(n, d)), random.normal(size=(m, n)), random.normal(size=(1, m))
    errors = [size * random.normal(size=(n_pairs, 1 + (i == 0), *w.shape))
              for i, w in enumerate(weights)]  # fmt: skip
    errors[2] = -weights[2] * random.uniform(0.0, 2.0 * size, (n_pairs, 1, 1, m)).clip(max=1.0)
    return Pair(weights, tuple(errors))


def each(pair):
    return [pair._replace(errors=errors) for errors in zip(*pair.errors, strict=True)]


def circles(pair):
    return np.array([plane.circle_bounds(one) for one in each(pair)]).T


def misses(pair, low, high, near=NEAR):
    """Whether a bracket misses a supremum between `low` and `high`."""
    found = [two_layers.decide(pair, wanted) for wanted in low[:, None] * near[:, None, None]]
    return not all(np.all((lower <= high) & (low <= upper)) for lower, upper in found)


@pytest.mark.parametrize("size", [0.02, 0.2, 0.6])
@pytest.mark.parametrize("sizes", [(2, 1, 1), (2, 3, 4), (2, 5, 3)])
def test_in_the_plane_it_is_what_the_circle_says(sizes, size):
    pair = some(8, sizes, sum(sizes), size)
    assert not misses(pair, *circles(pair))


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(3, 4, 4), (5, 6, 6)])
def test_it_agrees_with_the_tree_and_with_points(sizes):
    pair = some(3, sizes, 1, 0.1)
    found = [
        list(branch_and_bound.brackets(one, 5e-2, stop=deadline(10.0)))[-1] for one in each(pair)
    ]
    low, high = np.array([(b.lower, b.upper) for b in found]).T
    assert not misses(pair, low, high)
    _, upper = two_layers.decide(pair, low[:, None])
    for one, bound in zip(each(pair), upper, strict=True):
        x = np.random.default_rng(0).normal(size=(sizes[0], 20_000))
        assert pairs.reached(one, x)[0].max() <= bound


def test_trials_of_two_hidden_layers_are_decided():
    """Where success rises, and all but a few of a hundred were left open before."""
    problem = network(dim=4, hidden=4, depth=3, blocks=(16, 32), epsilons=(0.5, 0.2))
    tally = ltjax.run(problem, trials=32)
    for criterion, *ends in zip(problem.criteria, tally.certified, tally.refuted, strict=True):
        if criterion.rule == "sup":
            assert np.sum(32 - sum(ends)) <= 3  # of 128


def test_nothing_is_said_of_output_weights_of_two_signs_or_of_nan():
    pair = some(3, (3, 4, 4), 0)
    (e, _, last), (_, _, a) = pair.errors, pair.weights
    last[0, 0, 0, 2] = -1.5 * a[0, 2]
    e[1, 0, 0, 0] = np.nan
    lower, upper = two_layers.decide(pair, np.full((3, 1), 0.5))
    assert lower[:2].tolist() == [0.0, 0.0]
    assert upper[:2].tolist() == [np.inf, np.inf]
    assert np.isfinite(upper[2])


@pytest.mark.parametrize("size", [1e-20, 1e-30, 1e-150, 1e30, 1e120])
def test_pairs_of_any_size_are_bounded(size):
    """Far below and above what float32 holds, in which all pairs of sets are looked at first."""
    (w, *others), errors = some(4, (2, 3, 3), 0, 0.2)[:2]
    for pair in (
        Pair((size * w, *others), (size * errors[0], *errors[1:])),
        Pair((w, *others), tuple(size * e for e in errors)) if size < 1.0 else None,
    ):
        if pair:
            low, _ = circles(pair)
            assert np.all(two_layers.decide(pair, low[:, None])[1] >= low)


def test_which_pairs_it_speaks_of():
    pair = some(1, (3, 8, 8), 0)
    assert two_layers.applies(pair)
    assert not two_layers.applies(pair._replace(last="relu"))
    assert not two_layers.applies(some(1, (3, 9, 8), 0))
    assert not two_layers.applies(some(1, (200, 8, 8), 0))
    assert not two_layers.applies(Pair(pair.weights[:2], pair.errors[:2]))


# Planted faults.


def faulty(monkeypatch, fault):
    if fault == "pairs of sets skipped":
        whole = two_layers._sets

        def fewer(*asked):
            return (rows.chosen(slice(len(rows) // 2, None)) for rows in whole(*asked))

        monkeypatch.setattr(two_layers, "_sets", fewer)
    elif fault == "theta beyond 1":
        clip = np.clip
        monkeypatch.setattr(two_layers.np, "clip", lambda x, low, high: clip(x, low, high + 0.5))
    elif fault == "a branch forgotten":
        whole_branched = two_layers._Sets.branched

        def half(rows, q):
            rows = whole_branched(rows, q)
            split = np.any(rows.mask == 0.0, axis=1) | np.any(rows.known, axis=1)
            return rows.chosen(~split | (np.arange(len(rows)) % 2 == 0))

        monkeypatch.setattr(two_layers._Sets, "branched", half)
    elif fault == "no slab":
        whole_loose = two_layers._Sets.loose

        def none(rows, *asked):
            kappa, moved, extra = whole_loose(rows, *asked)
            return kappa, moved, 0.0 * extra

        monkeypatch.setattr(two_layers._Sets, "loose", none)


@pytest.mark.parametrize(
    "fault",
    ["pairs of sets skipped", "theta beyond 1", "a branch forgotten", "no slab"],
)
def test_a_planted_fault_is_caught(monkeypatch, fault):
    cases = [some(6, (2, n, 3), seed, 0.6) for n in (2, 4) for seed in range(3)]
    truth = [circles(pair) for pair in cases]
    ask = lambda: [misses(p, *ends, NEAR[:1]) for p, ends in zip(cases, truth, strict=True)]
    assert not any(ask())
    faulty(monkeypatch, fault)
    assert any(ask())
