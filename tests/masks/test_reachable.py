"""How near all subset sums come to an interval: bits against all sums, listed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ltjax.masks import reachable, subset_host

# Half widths beside the ends of words, and numbers that reach far beyond the interval or hardly.
CASES = [(1, 3, 6), (5, 100, 9), (32, 31, 12), (33, 32, 12), (500, 4000, 11)]


def radii(numbers, half_width, largest):
    compiled = jax.jit(reachable.cover_radii, static_argnums=(1, 2))
    return np.asarray(compiled(jnp.asarray(numbers, jnp.int32), half_width, largest))


def by_definition(numbers, half_width):
    """Of every prefix: the worst distance of an integer of the interval, over all sums."""
    at, sums, found = np.arange(-half_width, half_width + 1), np.zeros(1, np.int64), []
    for n in range(len(numbers) + 1):
        found.append(np.abs(at[:, None] - sums).min(axis=1).max())
        if n < len(numbers):
            sums = np.unique(np.concatenate([sums, sums + numbers[n]]))
    return found


def drawn(largest, n, count, seed=0):
    rng = np.random.default_rng([seed, largest, n])
    # Some problems with few distinct numbers, and some of one sign.
    numbers = rng.integers(-largest, largest + 1, (n, count))
    numbers[:, 0], numbers[:, 1] = np.abs(numbers[:, 0]), -np.abs(numbers[:, 1])
    numbers[:, 2], numbers[0, 3], numbers[:, 4] = largest, 0, -largest
    return numbers


@pytest.mark.parametrize(("half_width", "largest", "n"), CASES)
def test_every_prefix_covers_as_its_sums_do(half_width, largest, n):
    numbers = drawn(largest, n, reachable.PROBLEMS + 3)
    found = radii(numbers, half_width, largest)
    assert found.shape == (n + 1, reachable.PROBLEMS + 3)
    assert found.dtype == np.int32
    for p in range(found.shape[1]):
        assert found[:, p].tolist() == by_definition(numbers[:, p], half_width)


@pytest.mark.parametrize(("half_width", "largest", "n"), CASES)
def test_the_host_gives_the_radius_of_all_real_numbers(half_width, largest, n):
    for numbers in drawn(largest, n, 12, seed=1).T:
        found = subset_host.twice_cover_radius(numbers, half_width)
        halves = by_definition(2 * numbers, 2 * half_width)  # a grid twice as fine has the middles
        assert found == halves[-1]
        assert found // 2 == by_definition(numbers, half_width)[-1]


def test_rounding_to_the_grid_moves_a_radius_by_no_more_than_it_may():
    rng, n, fine = np.random.default_rng(2), 12, 2**8
    numbers = rng.integers(-(2**10) * fine, 2**10 * fine + 1, (n, 40))
    found = radii(np.rint(numbers / fine), 2**9, 2**10)[n]
    exact = [subset_host.twice_cover_radius(one, 2**9 * fine) / 2 / fine for one in numbers.T]
    off = np.abs(found - exact)
    assert (off <= n / 2 + 0.5).all()
    # Negative control: one unit does not bound it, although half of one is what a number is off by.
    assert off.max() > 1


def test_integers_are_all_hit_or_not():
    # The integer law: every target of the interval is a sum, or one is not.
    numbers = np.array([[1, 1, -1], [2, 2, 2], [4, 5, -4], [-8, -8, 8]])
    assert radii(numbers, 7, 8)[-1].tolist() == [0, 1, 2]
    assert radii(numbers, 5, 8)[-1].tolist() == [0, 1, 0]
    assert radii(numbers[:, :1], 8, 8)[-1].tolist() == [1]


def test_a_crowd_covers_as_one_does_alone():
    numbers = drawn(60, 8, reachable.PROBLEMS + 3)
    crowd = radii(numbers, 50, 60)
    for p in (0, reachable.PROBLEMS + 2):
        np.testing.assert_array_equal(radii(numbers[:, p : p + 1], 50, 60)[:, 0], crowd[:, p])


def test_a_number_changed_is_noticed():
    numbers = drawn(4000, 11, 40)[:, 5:]
    changed = numbers.copy()
    changed[3] -= np.sign(changed[3]) * 100
    before, after = (radii(x, 500, 4000) for x in (numbers, changed))
    np.testing.assert_array_equal(before[:4], after[:4])
    assert (before[-1] != after[-1]).mean() > 0.5


@pytest.mark.slow
def test_eighteen_numbers_on_a_fine_grid():
    numbers = drawn(2**14, 18, 100)
    found = radii(numbers, 2**13, 2**14)
    for p in range(100):
        for n in range(19):
            exact = subset_host.twice_cover_radius(numbers[:n, p], 2**13)
            assert found[n, p] == exact // 2
