"""Mask rules on one slot: the definition of nearest, and rules that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltjax.errors import InputError
from ltjax.masks import rules
from ltjax.masks.rules import OPEN, MaskRule, flips, nearest, subset
from ltjax.testing import check_rule

# The compiler takes numbers below 2^-126 for 0: no value is so small, and no difference of values.
SIZES = st.floats(2.0**-100, 1, width=32)
VALUES = st.just(0.0) | SIZES | SIZES.map(lambda size: -size)
PRODUCTS = st.lists(VALUES, min_size=1, max_size=6)


def rule(keep):
    """A rule that nobody else gets to know."""
    return MaskRule(keep.__name__, keep, "0" * 8)


@given(PRODUCTS, VALUES)
@settings(max_examples=60, deadline=None)
def test_nearest_keeps_the_nearest_if_that_is_better_than_none(products, target):
    kept = np.asarray(nearest(jnp.float32(products), jnp.float32(target)))
    off = np.abs(np.float32(products) - np.float32(target))
    assert kept.sum() == (off.min() < abs(np.float32(target)))
    if kept.any():
        assert off[kept] == off.min()


@given(PRODUCTS, VALUES)
@settings(max_examples=30, deadline=None)
def test_flips_err_no_more_than_nearest(products, target):
    products, target = np.float32(products), np.float32(target)
    off = lambda one: abs(products[np.asarray(one(products, target))].sum() - target)
    assert off(flips) <= off(nearest) + 1e-6


def slots_of(m, count, seed, sizes):
    """Products [count, m], some of them closed, and targets: of sizes drawn by their exponent."""
    random = np.random.default_rng(seed)
    draw = lambda *shape: random.uniform(-1.0, 1.0, shape) * 2.0 ** random.uniform(*sizes, shape)
    products, target = draw(count, m), draw(count)
    products[random.random(products.shape) < 0.3] = np.inf
    return np.float32(products), np.float32(target)


def kept_by(one, products, target):
    return np.asarray(jax.jit(jax.vmap(one))(products, target))


def missed(one, products, target):
    """By how much a rule misses the targets, in float64."""
    kept = kept_by(one, products, target)
    return np.abs(np.where(kept, products, 0.0).sum(axis=1, dtype=np.float64) - target)


@pytest.mark.parametrize("sizes", [(0, 0), (-40, 0), (-110, -90)])
def test_subset_is_nearest_of_all_subsets(sizes):
    products, target = slots_of(8, 500, 1, sizes)
    values = np.where(np.isfinite(products), products, 0.0).astype(np.float64)
    masks = np.arange(2**8)[:, None] >> np.arange(8) & 1
    best = np.abs(values @ masks.T - target[:, None]).min(axis=1)
    # Two sums are each off by half a step for every neuron and the target.
    step = 2.0**-28 * (np.abs(values).sum(axis=1) + np.abs(target)) + 2.0**-126
    off = missed(subset, products, target)
    assert np.all(off <= best + 9 * step)
    # So no other rule errs by less; where sizes are alike, the others often err by more.
    for one in (nearest, flips):
        other = missed(one, products, target)
        assert np.all(off <= other + 9 * step)
        assert sizes != (0, 0) or np.mean(off < other - 9 * step) > 0.2


def test_subset_of_many_open_neurons_chooses_from_the_largest():
    products, target = slots_of(3 * OPEN, 50, 2, (0, 0))
    sizes = np.where(np.isfinite(products), np.abs(products), 0.0)
    least = np.sort(sizes)[:, -OPEN, None]
    kept = kept_by(subset, products, target)
    assert np.all(sizes[kept] >= np.broadcast_to(least, kept.shape)[kept])
    assert missed(subset, products, target).max() < 1e-4
    # A target as far as these reach takes all of its sign, and none of the others.
    positive = (sizes >= least) & (products > 0)
    reach = np.where(positive, sizes, 0.0).sum(axis=1)
    np.testing.assert_array_equal(kept_by(subset, products, reach), positive)


@pytest.mark.parametrize("one", [nearest, flips, subset])
def test_rules_of_ours_keep_the_contract(one):
    check_rule(one)


def everything(products, target):
    return jnp.ones(len(products), bool)


def floats(products, target):
    return jnp.where(products > 0, 1.0, 0.0)


def short(products, target):
    return jnp.zeros(1, bool)


def python(products, target):
    return jnp.array([p < target for p in products.tolist()])


def branching(products, target):
    return products > 0 if target > 0 else products < 0


calls = []


def moody(products, target):
    calls.append(None)
    return nearest(products, target) & (len(calls) % 3 != 1)


@pytest.mark.parametrize(
    ("keep", "reason"),
    [
        (everything, "keep open neurons alone"),
        (floats, "give bool"),
        (short, "give bool"),
        (python, "that jax can compile"),
        (branching, "that jax can compile"),
        (moody, "depend on its slot alone"),
    ],
)
def test_a_rule_that_is_none_is_refused_in_one_line(keep, reason):
    with pytest.raises(InputError, match=rf"rule {keep.__name__} must .*{reason}") as caught:
        check_rule(rule(keep))
    assert "\n" not in str(caught.value)


def test_two_texts_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(rules, "_known", {})

    @rules.mask_rule
    def mine(products, target):
        return products < target

    assert rules.known() == {"mine": mine}
    rules.register(mine)
    with pytest.raises(InputError, match=r"rule mine must be defined once"):

        @rules.mask_rule
        def mine(products, target):
            return products > target
