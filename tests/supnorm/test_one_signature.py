"""Bounds of one signature, the driver that asks them, and a verifier of one's own."""

import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.networks import pairs
from ltjax.supnorm import Pair, bounds, ladder, narrow
from ltjax.testing import check_bound


def some(sizes, n=4, seed=0):
    random = np.random.default_rng(seed)
    shapes = list(zip(sizes[1:], sizes[:-1], strict=True))
    weights = tuple(random.normal(size=shape) / max(shape) for shape in shapes)
    errors = tuple(
        0.05 * random.normal(size=(n, 2 if i == 0 else 1, *shape)) for i, shape in enumerate(shapes)
    )
    return Pair(weights, errors)


def sampled(pair, wanted):
    """A user's verifier: points of the ball, and what is always true."""
    x = np.random.default_rng(1).normal(size=(pair.weights[0].shape[1], 200))
    return pairs.reached(pair, x)[0].max(axis=1), np.inf


SLOW = [pytest.param(b, marks=pytest.mark.slow) for b in (bounds.climb, bounds.relaxation)]


@pytest.mark.parametrize(
    "bound", [sampled, bounds.norms, *SLOW], ids=["sampled", "norms", "climb", "relaxation"]
)
def test_every_bound_keeps_the_contract(bound):
    check_bound(bound)


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (lambda pair, wanted: (0.0, 0.99 * bounds.circle(pair, wanted)[0]), "above the supremum"),
        (lambda pair, wanted: (1.01 * sampled(pair, wanted)[0] + 1e-3, np.inf), "below the"),
        (lambda pair, wanted: (0.0, np.nan), "above the supremum, got nan"),
        (lambda pair, wanted: 0.0, "give a lower and an upper bound"),
        (lambda pair, wanted: (np.zeros(3), np.inf), "give a lower and an upper bound"),
    ],
)
def test_a_bound_that_lies_is_caught(bound, message):
    with pytest.raises(InputError, match=message):
        check_bound(bound)


def test_only_open_pairs_are_asked_for_and_only_while_an_epsilon_is_open():
    pair, epsilons, asked = some((3, 4, 1)), np.array([0.5, 0.1]), []

    def told(lower, upper):
        def bound(part, wanted):
            asked.append((len(part.errors[0]), wanted.tolist()))
            return lower, upper

        return bound

    lower, upper = narrow(
        pair,
        [0.0, 0.2, 0.6, 0.0],
        [1.0, 0.4, 0.7, 0.6],
        epsilons,
        [told(0.0, 0.3), told(0.0, 0.05), told(0.0, 0.0)],
    )
    inf = float("inf")
    assert asked == [(2, [[0.5, 0.1], [0.5, 0.1]]), (2, [[inf, 0.1], [inf, 0.1]])]
    assert lower.tolist() == [0.0, 0.2, 0.6, 0.0]
    assert upper.tolist() == [0.05, 0.4, 0.7, 0.05]


def test_a_verifier_of_ones_own_enters_as_one_more_bound():
    pair = some((4, 5, 1), n=6)
    least, _ = sampled(pair, None)
    epsilon = 0.99 * least.min()
    lower, upper = narrow(pair, np.zeros(6), np.full(6, np.inf), [epsilon], (sampled, bounds.norms))
    assert np.all(lower > epsilon)
    assert np.all(np.isinf(upper))  # all were refuted before the norms were asked


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_few_inputs_and_one_hidden_layer_are_settled_at_once(dim):
    pair = some((dim, 3, 1))
    epsilons = np.array([0.05, 0.02])
    lower, upper = narrow(pair, np.zeros(4), np.full(4, np.inf), epsilons, ladder(pair))
    assert not np.any((lower[:, None] <= epsilons) & (epsilons < upper[:, None]))
