"""The nearest subset sum of every size: exactly k numbers of n, for all k at once, in integers.

All sums of the first few numbers, ordered by how many they are of, are held against every sum of
the others: one pass over all 2^n subsets, without a list to sort. That is what a few numbers are
best served by; sorted lists by size would take n + 1 merges of each half.
"""

from functools import reduce
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.masks import every_subset
from ltjax.masks.batching import side_by_side
from ltjax.masks.subset_sums import LANES, NEVER, Found, order

FIRST = 6  # numbers of which all sums are in one loop body


def nearest_by_size(numbers, target) -> Found:
    """The nearest sum of exactly 0, 1, ..., n numbers of every problem: [n + 1, problem].

    Of subsets equally near, that one is found whose sum is below the target; then that of the
    lowest mask. The least size that is within a tolerance, and the best of any sizes, are read off.

    Args:
        numbers: int32 [n, problem]; sums of sizes with the target's below 2^29. Time is 2^n.
        target: int32 [problem].
    """
    return _nearest_by_size(numbers, target)


@side_by_side(LANES)
def _nearest_by_size(numbers, target):
    n, lanes = numbers.shape
    count = min(n, FIRST)
    mask, size = _by_size(count)
    ends = np.searchsorted(size, np.arange(count + 2)).tolist()
    first = every_subset.all_sums(numbers[:count], jnp)[mask]

    def step(best, other):
        chosen, sums, taken = other
        distance = order(first + (sums - target)[None])
        least = [reduce(jnp.minimum, distance[a:b]) for a, b in pairwise(ends)]
        return _better(best, jnp.stack(least), chosen, taken), None

    others = np.arange(2 ** (n - count), dtype=np.int32)
    best = jnp.full((n + 1, lanes), NEVER), jnp.zeros((n + 1, lanes), jnp.int32)
    rest = others, every_subset.all_sums(numbers[count:], jnp), every_subset.sizes(others)
    (least, chosen), _ = jax.lax.scan(step, best, rest)
    error = jnp.where(least & 1 > 0, least >> 1, -(least >> 1))
    # The numbers of the first few: those that give what is left, by as many as are left.
    left, size_left = target[None] + error, jnp.arange(n + 1, dtype=jnp.int32)[:, None]
    for i in range(n - count):
        bit = chosen >> i & 1
        left, size_left = left - bit * numbers[count + i][None], size_left - bit
    fits = (first[:, None] == left[None]) & (size.reshape(-1, 1, 1) == size_left[None])
    few = jnp.min(jnp.where(fits, mask.reshape(-1, 1, 1), NEVER), axis=0)
    return Found(error, (few | chosen << count).astype(jnp.uint32))


def _better(best, least, chosen, taken):
    """The best so far, and the least of each size with `taken` more numbers, the mask `chosen`."""
    rows = tuple(jax.lax.dynamic_slice_in_dim(x, taken, len(least)) for x in best)
    nearer = least < rows[0]
    rows = jnp.where(nearer, least, rows[0]), jnp.where(nearer, chosen, rows[1])
    return tuple(
        jax.lax.dynamic_update_slice_in_dim(x, row, taken, 0)
        for x, row in zip(best, rows, strict=True)
    )


def _by_size(count: int):
    """The masks of so many numbers, and their sizes, in the order of the sizes: int32 [2^count]."""
    masks = np.arange(2**count, dtype=np.int32)
    size = every_subset.sizes(masks)
    in_order = np.argsort(size, kind="stable")
    return masks[in_order], size[in_order]
