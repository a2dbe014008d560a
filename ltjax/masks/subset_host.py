"""Subset sums of one problem on the host, in int64: what settles a verdict.

A product of two weights of U[-1, 1] is a multiple of 2^-48, and 2^14 of them are exact in int64.
"""

import numpy as np

from ltjax.masks.every_subset import all_sums

CAN_COVER = 20  # numbers whose sums are listed whole


def nearest(numbers, target: int) -> tuple[int, int]:
    """The nearest subset sum less the target, and its mask, the first number lowest.

    Of subsets equally near it is that of `subset_sums.nearest`.

    Args:
        numbers: int64 [n], n <= 31; sums of sizes with the target's below 2^61.
    """
    numbers, half = np.asarray(numbers, np.int64), len(numbers) // 2
    # Of equal sums the first is kept: that of the lowest mask.
    left, left_mask = np.unique(all_sums(numbers[: 2 * half : 2]), return_index=True)
    right, right_mask = np.unique(all_sums(numbers[1 : 2 * half : 2]), return_index=True)
    found = []
    for last in ((), (2 * half,)) if len(numbers) % 2 else ((),):
        wanted = target - sum(int(numbers[i]) for i in last) - right
        above = np.searchsorted(left, wanted, side="right")
        at = np.concatenate([np.maximum(above - 1, 0), np.minimum(above, len(left) - 1)])
        error = left[at] - np.tile(wanted, 2)
        order = 2 * np.abs(error) + (error > 0)
        best = int(np.lexsort((at, order))[0])
        kept = [2 * i for i in _bits(left_mask[at[best]])]
        kept += [2 * i + 1 for i in _bits(right_mask[best % len(right)])]
        mask = sum(1 << i for i in (*kept, *last))
        found.append((int(order[best]), len(last), int(error[best]), mask))
    _, _, off, mask = min(found)
    return off, mask


def twice_cover_radius(numbers, half_width: int) -> int:
    """Twice the largest distance of a real number of an interval to the nearest subset sum.

    It is the largest gap between sums, where both ends count: that part of a gap beyond an end of
    [-half_width, half_width] does not. Half of it, rounded down, is the radius of
    `reachable.cover_radii`.

    Args:
        numbers: int64 [n], n <= CAN_COVER; sums of sizes with the half width below 2^61.
    """
    every = np.unique(all_sums(np.asarray(numbers, np.int64)))
    low, high = every[:-1], every[1:]
    # The worst point of a gap: its middle, or the end of the interval next to that.
    worst = np.clip(low + high, -2 * half_width, 2 * half_width)
    off = np.minimum(worst - 2 * low, 2 * high - worst)
    ends = [2 * (every[0] + half_width), 2 * (half_width - every[-1])]
    return int(np.concatenate([off, ends]).max(initial=0))


def _bits(mask) -> list[int]:
    """Numbers of the bits that are set."""
    return [i for i in range(int(mask).bit_length()) if int(mask) >> i & 1]
