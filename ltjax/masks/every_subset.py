"""All subsets of a few numbers, one by one: a definition, for events that no merge of sums decides.

Subset s holds the numbers whose bits are set in s, the first one lowest; so those of the first n
numbers are 0, ..., 2^n - 1. One text for numpy and for jax.
"""

from itertools import pairwise

import numpy as np


def sums(numbers, subsets):
    """Sums [subset, ...] of subsets, integers [subset] of numpy, of numbers [n, ...]."""
    column = subsets.reshape(-1, *(1,) * (numbers.ndim - 1)).astype(numbers.dtype)
    total = column * 0
    for i in range(len(numbers)):
        total = total + (column >> i & 1) * numbers[i][None]
    return total


def all_sums(numbers, xp=np):
    """Sums of all subsets in their order, [2^n, ...], of numbers [n, ...].

    Args:
        xp: numpy, or the module that speaks its language to jax.
    """
    found = xp.zeros((1, *numbers.shape[1:]), numbers.dtype)
    for number in numbers:
        found = xp.concatenate([found, found + number[None]])
    return found


def sizes(subsets) -> np.ndarray:
    """The number of elements of subsets, integers [subset]."""
    return np.bitwise_count(subsets).astype(subsets.dtype)


def of_prefixes(n: int) -> list[np.ndarray]:
    """Subsets of the first 0, 1, ..., n numbers that are none of fewer: int32."""
    ends = [0, *(2**i for i in range(n + 1))]
    return [np.arange(a, b, dtype=np.int32) for a, b in pairwise(ends)]
