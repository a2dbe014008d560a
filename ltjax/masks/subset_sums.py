"""The subset of some numbers whose sum is nearest to a target: exactly, in integers.

Weights of U[-1, 1] are odd multiples of 2^-24, so that sums of up to 31 of them are exact in int32;
other numbers are rounded to a grid first, by whoever calls. The empty subset counts: its sum is 0.

Meet in the middle: the sums of the numbers 0, 2, 4, ... and what is left of the target after those
of the numbers 1, 3, 5, ... are two sorted lists, and the nearest pair is one of neighbours in the
two merged. Lists are born sorted: the sums with one number more are a list and the same list moved
by it, which one merge joins. So the lists of all prefixes come by the way. An odd number out moves
the target.

Merges are bitonic, in a geometry that is the same for every stage: what is N / 2 apart is compared
and comes out side by side. So two stages are one loop body, small enough to stay in vector
registers, and one pass over memory. No masks are carried: the two sums found are looked up among
those in the order of their masks.

Of subsets equally near, that one is found whose sum is below the target; then one without the last
number, if n is odd; then that with the least sum of the numbers 0, 2, 4, ...; and of equal sums of
either half the one whose mask is the lowest.

Sources: Horowitz and Sahni, J. ACM 21 (1974), 277-292; Batcher, AFIPS 32 (1968), 307-314; Stone,
IEEE Trans. Computers C-20 (1971), 153-161.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.errors import InputError
from ltjax.masks.batching import side_by_side

MOST = 31  # numbers of a problem: their subsets are bits of one word
LANES = 64  # problems at once; half or twice as many cost a fifth more, or above
NEVER = np.int32(2**31 - 1)  # above every distance


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
        numbers: int32 [n, problem], n <= MOST; sums of sizes with the target's below 2^29. Under
            `vmap` every problem is still one lane.
        target: int32 [problem].

    Raises:
        InputError: there are more numbers than a mask has bits for.
    """
    return _nearest(numbers, target)


def nearest_of_prefixes(numbers, target) -> Found:
    """The nearest subset sum of the first 0, 1, ..., n numbers: [n + 1, problem].

    Arguments are those of `nearest`, and row n is what it finds.
    """
    return _nearest_of_prefixes(numbers, target)


@side_by_side(LANES)
def _nearest(numbers, target):
    [found] = _pairs(numbers, target, from_half=len(numbers) // 2)
    return found[-1]


@side_by_side(LANES)
def _nearest_of_prefixes(numbers, target):
    found = [one for pair in _pairs(numbers, target, from_half=0) for one in pair]
    return jax.tree.map(lambda *each: jnp.stack(each), *found[: len(numbers) + 1])


def _pairs(numbers, target, from_half):
    """What the first 2 h numbers give, and the first 2 h + 1, for h from `from_half` on."""
    if len(numbers) > MOST:
        raise InputError(f"numbers must be {MOST} at most, got {len(numbers)}.")
    in_order = by_mask = jnp.zeros((1, 2, numbers.shape[1]), jnp.int32)
    for half in range(len(numbers) // 2 + 1):
        if half:
            both = numbers[None, 2 * half - 2 : 2 * half]  # one for either list
            in_order = merged(in_order, in_order + both)
            by_mask = jnp.concatenate([by_mask, by_mask + both])
        if half >= from_half:
            last = numbers[2 * half : 2 * half + 1]
            targets = jnp.concatenate([target[None], target[None] - last])
            found = _meet(in_order, by_mask, targets)
            alone, *moved = (Found(*each) for each in zip(*found, strict=True))
            yield alone, *(_nearer(alone, m, np.uint32(1 << 2 * half)) for m in moved)


def _nearer(alone, moved, bit):
    better = order(moved.error) < order(alone.error)
    return jax.tree.map(
        lambda m, a: jnp.where(better, m, a), moved._replace(mask=moved.mask | bit), alone
    )


def order(error):
    """By which the nearest is least: a sum below the target comes before one as far above it."""
    return 2 * jnp.abs(error) + (error > 0).astype(jnp.int32)


def _meet(in_order, by_mask, targets):
    """The nearest pair for each target: Found of [targets, problem].

    Args:
        in_order: sums of the two lists in ascending order, [sum, 2, problem].
        by_mask: the same in the order of their masks.
    """
    left, right = in_order[:, :1], targets[None] - in_order[:, 1:]
    # The lowest bit names the list. `right` descends: so as to ascend, it is turned.
    left = jnp.broadcast_to(2 * left, right.shape)
    joined = merged(left, 2 * right[::-1] + 1)
    low, high = joined[:-1], joined[1:]
    above = low & 1  # the sum is above the target where the lower one is of the right list
    distance = jnp.where(above != high & 1, high - low - 1 + 3 * above, NEVER)  # = order(error)
    least = jnp.min(distance, axis=0)
    first = jnp.min(jnp.where(distance == least[None], low, NEVER), axis=0)
    error = jnp.where(least & 1 > 0, least >> 1, -(least >> 1))
    own = (first >> 1) + jnp.maximum(error, 0)
    masks = (_place(by_mask[:, :1], own), _place(by_mask[:, 1:], targets + error - own))
    return Found(error, _spread(masks[0]) | _spread(masks[1]) << np.uint32(1))


def merged(one, other):
    """Two ascending lists of as many elements, a power of two, to one: [element, ...]."""
    bitonic = jnp.concatenate([one, other[::-1]])
    stages = len(bitonic).bit_length() - 1
    if stages % 2:
        bitonic = _interleaved(*_compared(*_parts(bitonic, 2)))
    if stages < 2:
        return bitonic
    return jax.lax.fori_loop(0, stages // 2, lambda _, x: _two_stages(x), bitonic)


def _two_stages(x):
    a, b, c, d = _parts(x, 4)
    (low, high), (lower, higher) = _compared(a, c), _compared(b, d)
    return _interleaved(*_compared(low, lower), *_compared(high, higher))


def _parts(x, count):
    return x.reshape(count, -1, *x.shape[1:])


def _compared(a, b):
    return jnp.minimum(a, b), jnp.maximum(a, b)


def _interleaved(*parts):
    return jnp.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def _place(sums, wanted):
    """The first place of each number wanted: uint32."""
    places = np.arange(len(sums), dtype=np.int32).reshape(-1, 1, 1)
    return jnp.min(jnp.where(sums == wanted[None], places, NEVER), axis=0).astype(jnp.uint32)


def _spread(mask):
    """The bits of a mask of 16 to the places 0, 2, 4, ..."""
    for shift, kept in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        mask = (mask | mask << np.uint32(shift)) & np.uint32(kept)
    return mask
