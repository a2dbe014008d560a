"""All subset sums of some integers at once, as bits: how near to every target of an interval.

The sums of n + 1 numbers are those of n, and the same moved by the last: bits that are shifted and
joined, at a cost that does not know of the 2^n subsets. Numbers that lie on the grid, integers or
quantised weights, are answered exactly. Others are rounded to it first, by whoever calls: each is
off by half a unit at most, so that sums, and with them a radius, are off by n / 2 units.

Source: Bellman, "Notes on the theory of dynamic programming IV" (1956), on a grid; the words of 32
bits are Pisinger's, "Dynamic programming on the word RAM", Algorithmica 35 (2003), 128-145.
"""

import jax
import jax.numpy as jnp


def cover_radii(numbers, half_width: int, largest: int):
    """The cover radius of an interval by all subset sums of the first 0, 1, ..., n numbers.

    It is the largest distance, in units of the grid, of an integer of [-half_width, half_width] to
    the nearest sum; that of a real number is larger by less than one half. The empty subset counts,
    and so do sums beyond the interval.

    Args:
        numbers: int32 [n, problem].
        half_width: of the interval; static.
        largest: no number is larger in size; static.

    Returns:
        int32 [n + 1, problem].
    """
    return jax.vmap(lambda one: _radii(one, half_width, largest), -1, -1)(numbers)


def _radii(numbers, half_width, largest):
    most = len(numbers) * largest + half_width
    at = jnp.arange(-most, most + 1)
    reached, radii = at == 0, []
    for n in range(len(numbers) + 1):
        below = jax.lax.cummax(jnp.where(reached, at, -2 * most))
        above = jax.lax.cummin(jnp.where(reached, at, 2 * most), reverse=True)
        off = jnp.minimum(at - below, above - at)
        radii.append(jnp.max(jnp.where(jnp.abs(at) <= half_width, off, 0)))
        if n < len(numbers):
            reached |= jnp.roll(reached, numbers[n])
    return jnp.stack(radii)
