"""Search of a whole layer in one pool: any hidden neuron may serve any one slot.

A slot (output o, input i, side s) looks for the product A_oj W_ji nearest to t_oi among all neurons
j with sign(W_ji) = s. So n_in + n_out random words of a neuron make n_in n_out candidates, where a
neuron of `nearest.blocks` has 1 + n_out words for n_out: comparing is all the work.

Neurons come in chunks, and of a chunk each slot lists its nearest neuron alone. One word holds an
error and the neuron within the chunk; where W < 0 all its bits are flipped, so that the least and
the greatest word of a chunk are the nearest neurons of the two sides, found in two operations. The
chunks listed first are those of the nearest neurons: whatever neuron is not in one of them is no
nearer than the last one listed. Who wants more looks into these chunks again (`masks.assignment`).

As in `nearest`, trials are the last axis, memory does not grow with width, and the loop is a
pipeline: what is carried is computed once. A step merges the nearest of a chunk into the best so
far, compares the next chunk, and draws the one after it.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.masks.nearest import INFINITE, LANES, NONE, Chunks, Slots, pack, rounded, unpack
from ltjax.weights import draws

RANKS = 4  # chunks that a slot lists
STAGES = 2  # of the pipeline, before a chunk is merged
UNROLLED = 8  # neurons that are compared without a loop, at most


def search(key, layer: int, target, widths, sides: int = 2, lanes: int = LANES) -> Slots:
    """The nearest product of every slot in each of the `RANKS` chunks that come nearest to it.

    The first is the nearest of all, up to the bits of an error that are given away. Two slots may
    list the same neuron.

    Args:
        key: trial keys, two uint32 words of shape [trial].
        layer: number of the layer in the address of its words; static.
        target: t, float32 [n_out, n_in, trial], or trial axis 1 for one target.
        widths: ascending int32 [n_widths], neurons of the pool; see `nearest.blocks`.
        sides: 1 where inputs are never negative: then side + is all.
        lanes: neurons of a chunk, a power of two; static. Few list more of the nearest, many are
            faster. An error gives away 1 + log2(lanes) bits: up to `LANES` that is in
            `nearest.slack`.

    Returns:
        Slots with `RANKS` ranks, nearest first.
    """
    n_out, n_in, _ = target.shape
    key = tuple(k.reshape(1, 1, -1) for k in key)  # [lane, weight, trial], as all below
    streams = [draws.stream(key, layer, role) for role in (draws.OUTPUT, draws.HIDDEN)]
    chunks = Chunks.of(widths, lanes)
    zero = widths[:1].reshape(1, 1, 1) >> np.int32(31)  # no width is negative

    def draw(chunk):
        first, width = chunks[chunk]
        neuron = first + np.arange(lanes, dtype=np.int32).reshape(-1, 1, 1)
        output, hidden = (
            _weights(stream, neuron.astype(jnp.uint32), size)
            for stream, size in zip(streams, (n_out, n_in), strict=True)
        )
        return output, hidden, (neuron >= 0) & (neuron < width)

    def compare(drawn):
        def group(number, ends):
            some = [jax.lax.dynamic_slice_in_dim(x, number * unrolled, unrolled) for x in drawn]
            output, hidden, inside = some
            # A neuron outside the network errs infinitely; no weight is 0, so inf never meets 0.
            hidden, ends = jnp.where(inside, hidden, jnp.inf), unpack(ends, sides)
            for i in range(unrolled):
                product = rounded(output[i][:, None] * hidden[i][None], zero)
                lane = (number * unrolled + i).astype(jnp.uint32)
                word = _word(product - target, lane, lanes)
                ends = _ends(ends, word, _bits(hidden[i][None], jnp.int32) >> np.int32(31))
            return pack(*ends)

        return jax.lax.fori_loop(0, lanes // unrolled, group, nothing)

    def merge(best, nearest, chunk, counts):
        positive, *negative = unpack(nearest, sides)
        word = jnp.stack([positive, *map(jnp.bitwise_not, negative)])
        return _merge(best, jnp.where(counts, word, NONE), chunks[chunk][0].astype(jnp.uint32))

    def read(carry, ends):
        begin, first, cut, end = ends

        def step(chunk, carry):
            best, nearest, drawn = carry
            best = merge(best, nearest, chunk, chunk >= first)
            return best, compare(drawn), draw(chunk + 2)

        best, nearest, drawn = jax.lax.fori_loop(begin, cut, step, carry)
        # A chunk that the width cuts is read and not kept, the next width has it whole.
        found = merge(best, nearest, cut, cut < end)
        return (best, nearest, drawn), _decode(found, target, lanes)

    trials, unrolled = key[0].shape[-1], min(lanes, UNROLLED)
    nothing = pack(*[jnp.full((n_out, n_in, trials), end) for end in (NONE, ~NONE)[:sides]])
    drawn = [jnp.full((lanes, size, trials), jnp.inf) for size in (n_out, n_in)]
    empty = jnp.full((sides, n_out, n_in, trials), NONE)
    start = [pack(empty, empty)] * RANKS, nothing, (*drawn, jnp.zeros((lanes, 1, 1), bool))
    # The first steps fill the pipeline. Later ones pass the chunk that the width before has cut.
    begin = jnp.concatenate([jnp.full(1, -STAGES), chunks.cut[:-1]])
    _, found = jax.lax.scan(read, start, (begin, chunks.begin, chunks.cut, chunks.end))
    return found


def _weights(stream, neuron, size):
    """The first `size` weights of the neurons [lane, 1, 1], [lane, size, trial]."""
    pairs = np.arange(-(-size // 2), dtype=np.uint32).reshape(1, -1, 1)
    words = jnp.stack(draws.word_pair(stream, neuron, pairs), axis=2)
    return draws.uniform(words.reshape(len(words), -1, words.shape[-1])[:, :size])


def _word(error, lane, lanes):
    """Size, lane and sign of an error in one word, in this order of weight."""
    bits = _bits(error, jnp.uint32)
    size = bits & np.uint32(2**31 - 2 * lanes)
    return size | lane << np.uint32(1) | bits >> np.uint32(31)


def _bits(x, kind):
    return jax.lax.bitcast_convert_type(x, kind)


def _ends(ends, word, negative):
    """The least word of the positive side, and the greatest of the other if it is asked for.

    negative: all bits set where W < 0, and none elsewhere.
    """
    negative = _bits(negative, jnp.uint32)
    if len(ends) == 1:
        return (jnp.minimum(ends[0], word | negative),)
    return jnp.minimum(ends[0], word ^ negative), jnp.maximum(ends[1], word ^ negative)


def _merge(best, word, first):
    """The best so far, ascending, and one more word of each slot; an element is (word, first)."""
    have = [unpack(element, 2) for element in best]
    merged = []
    for rank, mine in enumerate(have):
        chosen = [
            jnp.where(word < mine[0], *pair) for pair in zip((word, first), mine, strict=True)
        ]
        if rank:
            above = have[rank - 1]
            chosen = [jnp.where(word < above[0], *pair) for pair in zip(above, chosen, strict=True)]
        merged.append(pack(*chosen))
    return merged


def _decode(best, target, lanes) -> Slots:
    """From words to errors and neurons: [rank, side, n_out, n_in, trial]."""
    word, first = unpack(jnp.stack(best), 2)
    size = _bits(word & np.uint32(2**31 - 2 * lanes), jnp.float32)
    error = jnp.where(word & np.uint32(1) > 0, -size, size)
    lane = word >> np.uint32(1) & np.uint32(lanes - 1)
    # An empty slot errs by |t|: no neuron need do worse.
    target = target[None, None]
    empty = (word >= INFINITE) | (size >= jnp.abs(target))
    neuron = (first + lane).astype(jnp.int32)
    return Slots(jnp.where(empty, -target, error), jnp.where(empty, -1, neuron))
