"""All subset sums of some integers at once, as bits: how near they come to a whole interval.

The sums of n + 1 numbers are those of n, and the same moved by the last: bits that are shifted and
joined, at a cost that does not know of the 2^n subsets. Numbers that lie on the grid, integers or
quantised weights, are answered exactly. Others are rounded to it first, by whoever calls: each is
off by half a unit at most, so that sums, and with them a radius, are off by n / 2 units.

Bits only ever move up: the sums of |x_1|, ..., |x_n| are those of x_1, ..., x_n less the sum of
the negative ones. So what moves out of the words never comes back, and is dropped. All signs are
changed where that makes less of the words.

Source: Bellman, "Notes on the theory of dynamic programming IV" (1956), on a grid; the words of 32
bits are Pisinger's, "Dynamic programming on the word RAM", Algorithmica 35 (2003), 128-145.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.masks.batching import side_by_side

WORD = 32
PROBLEMS = 32  # whose bits are kept at once
FAR = np.int32(2**28)  # beyond every place
ONE = np.uint32(1)


def cover_radii(numbers, half_width: int, largest: int):
    """The cover radius of an interval by all subset sums of the first 0, 1, ..., n numbers.

    It is the largest distance, in units of the grid, of an integer of [-half_width, half_width] to
    the nearest sum; that of a real number is larger by one half at most. The empty subset counts,
    and so do sums beyond the interval.

    Args:
        numbers: int32 [n, problem].
        half_width: of the interval, positive; static.
        largest: no number is larger in size; static, and n + 8 times this and the half width
            together below 2^28.

    Returns:
        int32 [n + 1, problem].
    """

    @side_by_side(PROBLEMS)
    def many(numbers):
        one = lambda numbers: _windows(numbers, half_width, largest)
        windows = jax.lax.map(one, jnp.swapaxes(numbers, 0, 1))  # [problem, prefix, word]
        rows = windows.reshape(-1, windows.shape[-1])
        return _radii(rows, half_width).reshape(windows.shape[:2]).T

    return many(numbers)


def _windows(numbers, half_width, largest):
    """The sums in [-2 w, 2 w] of every prefix, w the half width: [prefix, word].

    The bit of -2 w is the first. The sum of none is 0: so no other that is nearest to a target lies
    beyond.
    """
    numbers = jnp.where(jnp.sum(numbers) < 0, -numbers, numbers)  # more is positive than negative
    span, front = 4 * half_width // WORD + 1, largest // WORD + 2
    count = len(numbers) * largest // 2 // WORD + span + 3
    zero = 2 * half_width  # the place of the sum 0, after words that are read and never set

    def step(carry, number):
        words, place = carry
        by = jnp.abs(number)
        moved = _read(words, WORD * front - by, count)
        words = jnp.concatenate([words[:front], words[front:] | moved])
        place -= jnp.minimum(number, 0)
        return (words, place), window(words, place)

    def window(words, place):
        return _read(words, WORD * front + place - zero, span)

    words = jnp.zeros(front + count, jnp.uint32)
    words = words.at[front + zero // WORD].set(ONE << np.uint32(zero % WORD))
    start = words, jnp.int32(zero)
    _, windows = jax.lax.scan(step, start, numbers)
    return jnp.concatenate([window(*start)[None], windows])


def _read(words, place, count: int):
    """`count` words, from the bit at a place on."""
    whole, part = place // WORD, jnp.uint32(place % WORD)
    low, high = (jax.lax.dynamic_slice(words, (whole + i,), (count,)) for i in (0, 1))
    return low >> part | high << ONE << np.uint32(WORD - 1) - part


def _radii(windows, half_width):
    """The radius of each window: rows of words, as all below."""
    first, last, gap = _gaps(_bits(windows, half_width, 2 * half_width))
    bottom, top = first, 2 * half_width - last
    # Beyond an end a gap counts as far as it does on this side.
    below = half_width - jnp.max(_last(_bits(windows, 0, half_width)), axis=1)
    above = jnp.min(_first(_bits(windows, 3 * half_width, half_width + 1)), axis=1)
    ends = jnp.maximum(bottom + jnp.minimum(bottom, below), top + jnp.minimum(top, above))
    return jnp.maximum(gap, ends) // 2


def _bits(words, place: int, count: int):
    """`count` bits from a place on."""
    size, whole, part = -(-count // WORD), place // WORD, np.uint32(place % WORD)
    words = jnp.pad(words, ((0, 0), (0, 2)))
    low, high = (words[:, whole + i : whole + i + size] for i in (0, 1))
    kept = np.full((1, size), 2**WORD - 1, np.uint32)
    kept[0, -1] >>= np.uint32(-count % WORD)
    return (low >> part | high << ONE << np.uint32(WORD - 1) - part) & kept


def _first(words):
    """The place of the first bit of each word; FAR where none is set."""
    below = jax.lax.population_count((words & (~words + ONE)) - ONE)
    return jnp.where(words > 0, _places(words) + below.astype(jnp.int32), FAR)


def _last(words):
    """The place of the last bit of each word; -FAR where none is set."""
    above = jax.lax.clz(words).astype(jnp.int32)
    return jnp.where(words > 0, _places(words) + WORD - 1 - above, -FAR)


def _places(words):
    return WORD * jax.lax.broadcasted_iota(jnp.int32, words.shape, 1)


def _gaps(words):
    """The first and last place, and the largest gap between neighbours, of rows that have a bit."""
    columns = _first(words), _last(words), _gap_within(words)
    while columns[0].shape[1] > 1:
        first, last, gap = map(_in_pairs, columns, (FAR, -FAR, 0))
        between = first[..., 1] - last[..., 0]
        gap = jnp.maximum(jnp.max(gap, axis=2), jnp.where(between < FAR // 2, between, 0))
        columns = jnp.min(first, axis=2), jnp.max(last, axis=2), gap
    return (x[:, 0] for x in columns)


def _in_pairs(x, absent):
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2)), constant_values=absent)
    return x.reshape(len(x), x.shape[1] // 2, 2)


def _gap_within(words):
    """The largest gap between bits of one word; 0 where there is none above 1."""
    spread = words
    for by in (1, 2, 4, 8, 16):
        spread = spread | spread >> np.uint32(by)
    runs = [spread & ~words & ~((words & (~words + ONE)) - ONE)]
    for by in (1, 2, 4, 8):  # places where twice as many unset bits begin
        runs.append(runs[-1] & runs[-1] >> np.uint32(by))
    begin, length = ~jnp.zeros_like(words), jnp.zeros_like(words)
    for power, run in reversed(list(enumerate(runs))):
        longer = begin & run >> length
        begin = jnp.where(longer > 0, longer, begin)
        length = jnp.where(longer > 0, length + np.uint32(2**power), length)
    return jnp.where(length > 0, length + ONE, length).astype(jnp.int32)
