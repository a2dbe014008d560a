"""The nearest sum of every size, against all subsets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_subset_sums import CROWD, LAWS, all_sums, device, faults, problems

from ltjax.masks import subset_sizes, subset_sums


def by_definition(numbers, target):
    """Errors and masks of each size: the least by |error|, then error, then mask."""
    errors = all_sums(numbers) - target
    order = 2 * np.abs(errors) + (errors > 0)
    sizes = np.bitwise_count(np.arange(len(errors)))
    best = [
        of_size[np.argmin(order[of_size], axis=0)]
        for of_size in (np.flatnonzero(sizes == size) for size in range(len(numbers) + 1))
    ]
    return np.take_along_axis(errors, np.array(best), axis=0), np.array(best)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [0, 1, subset_sizes.FIRST, 11])
def test_every_size_finds_what_the_definition_finds(law, n):
    numbers, target = problems(law, n, CROWD)
    found = device(subset_sizes.nearest_by_size, numbers, target)
    error, mask = by_definition(numbers, target)
    np.testing.assert_array_equal(found.error, error)
    np.testing.assert_array_equal(found.mask, mask)
    assert (np.bitwise_count(found.mask) == np.arange(n + 1)[:, None]).all()


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_sixteen_numbers_find_the_optimum_of_every_size(law):
    numbers, target = problems(law, 16, 1000)
    found = device(subset_sizes.nearest_by_size, numbers, target)
    for some in np.array_split(np.arange(1000), 20):
        error, mask = by_definition(numbers[:, some], target[some])
        np.testing.assert_array_equal(found.error[:, some], error)
        np.testing.assert_array_equal(found.mask[:, some], mask)


@pytest.mark.parametrize("law", ["uniform", "few values"])
def test_the_best_of_all_sizes_is_the_nearest_of_all(law):
    numbers, target = problems(law, 11, CROWD)
    sized = device(subset_sizes.nearest_by_size, numbers, target)
    best = np.argmin(subset_sums.order(jnp.asarray(sized.error)), axis=0)
    nearest = device(subset_sums.nearest, numbers, target)
    np.testing.assert_array_equal(sized.error[best, range(CROWD)], nearest.error)


def test_a_crowd_finds_what_one_finds_alone():
    numbers, target = problems("product", 11, CROWD)
    crowd = device(subset_sizes.nearest_by_size, numbers, target)
    alone = device(subset_sizes.nearest_by_size, numbers[:, -1:], target[-1:])
    for one, many in zip(alone, crowd, strict=True):
        np.testing.assert_array_equal(one[:, 0], many[:, -1])


def test_a_planted_fault_is_noticed():
    numbers, target = problems("uniform", 11, CROWD)
    found = device(subset_sizes.nearest_by_size, numbers, target)
    for row in range(12):
        one = jax.tree.map(lambda x, row=row: x[row], found)
        assert not faults(numbers, target, one).any()
        assert faults(numbers, target, one._replace(mask=one.mask ^ np.uint32(1 << 10))).all()
