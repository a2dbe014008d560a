"""The subset of some numbers whose sum is nearest to a target: exactly, in integers.

Weights of U[-1, 1] are odd multiples of 2^-24, so that sums of up to 31 of them are exact in int32;
other numbers are rounded to a grid first, by whoever calls. The empty subset counts: its sum is 0.

Meet in the middle: the sums of one half of the numbers, and what is left of the target after those
of the other half, are sorted, and the nearest pair is one of neighbours.

Source: Horowitz and Sahni, J. ACM 21 (1974), 277-292.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

MOST = 31  # numbers of a problem: their subsets are bits of one word


class Found(NamedTuple):
    """The nearest subset of each problem.

    error: its sum less the target, int32.
    mask: its numbers as bits, the first one lowest; uint32.
    """

    error: jax.Array
    mask: jax.Array


def nearest(numbers, target) -> Found:
    """The nearest subset sum of every problem: [problem].

    Args:
        numbers: int32 [n, problem], n <= MOST; sums of sizes with the target's below 2^29.
        target: int32 [problem].
    """
    return jax.tree.map(lambda x: x[-1], nearest_of_prefixes(numbers, target))


def nearest_of_prefixes(numbers, target) -> Found:
    """The nearest subset sum of the first 0, 1, ..., n numbers: [n + 1, problem].

    Arguments are those of `nearest`.
    """
    one = lambda numbers, target: jax.tree.map(
        lambda *each: jnp.stack(each),
        *(_nearest(numbers[:n], target) for n in range(len(numbers) + 1)),
    )
    return jax.vmap(one, (-1, -1), -1)(numbers, target)


def _nearest(numbers, target):
    half = len(numbers) // 2
    lower, upper = _sums(numbers[:half]), _sums(numbers[half:])
    order = jnp.argsort(lower)
    wanted = target - upper
    at = jnp.searchsorted(lower[order], wanted)
    errors, masks = [], []
    for beside in (jnp.maximum(at - 1, 0), jnp.minimum(at, len(lower) - 1)):
        errors.append(lower[order[beside]] - wanted)
        own = jnp.arange(len(upper), dtype=jnp.uint32) << half
        masks.append(own | order[beside].astype(jnp.uint32))
    error, mask = jnp.concatenate(errors), jnp.concatenate(masks)
    best = jnp.argmin(jnp.abs(error))
    return Found(error[best], mask[best])


def _sums(numbers):
    """All subset sums, by mask: [2^n]."""
    sums = jnp.zeros(1, jnp.int32)
    for number in numbers:
        sums = jnp.concatenate([sums, sums + number])
    return sums
