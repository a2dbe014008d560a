"""Mask selection: for every weight of a layer, the nearest random products, at every width at once.

A *slot* (output o, input i, side s) looks among the hidden neurons with sign(W_ji) = s for the
path product A_oj W_ji nearest to the target weight t_oi. That is the side form of the proof: a
neuron with W > 0 acts where x_i > 0, one with W < 0 where x_i < 0, so the two kept neurons of a
weight always sit on the two sides. A slot may stay empty and then errs by |t_oi|.

    blocks    neuron j belongs to input j mod n_in; its W_ji is shared by all outputs
    separate  neuron j belongs to one weight, to output j div n_in mod n_out of input j mod n_in
    pooled    any neuron may serve any one input (a layer with one output)

Trials lie side by side on the last axis of every array: they are the lanes of the vector unit.
Nothing is stored but the nearest products seen so far: memory does not grow with width, and a
reading is taken at each width of the grid, because a wider network contains the narrower one.

Where the time goes, and why the loop is a pipeline. Drawing is nine tenths of the work, and a CPU
compiler that fuses element-wise code computes a shared value once for every result that uses it:
two words of one cipher block, compared on two sides, would cost four blocks. A loop carry is the
one thing that is never fused away. So each step of the loop runs one stage on each of four chunks:
draw the shared weight; draw the fan and pack two errors into one complex number (the only 64-bit
element that needs no x64); reduce the lanes of a chunk; merge the chunk into the best so far.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.errors import WrongKernelError
from ltjax.weights import draws

LANES = 16  # neurons of one slot in a chunk, at most
STAGES = 3  # of the pipeline, before a chunk is merged
POOLED_RANKS = 4  # what a slot can fall back on when others want its neuron
SIGN_SHIFT = 4  # an error's word: its float32 bits, the lowest five given to sign and lane
LANE_BITS, SIGN_BIT = np.uint32(LANES - 1), np.uint32(1 << SIGN_SHIFT)
ERROR_BITS = np.uint32(0x7FFFFFE0)
INFINITE = np.uint32(0x7F800000)  # the bits of inf, above every error
NONE = np.uint32(0xFFFFFFFF)
CHECKED = 2**14  # slots that a known-answer check compares
RELATIVE = 2.0**-17  # of an error, above what the bits given away are worth


class Slots(NamedTuple):
    """The nearest products of every slot, at every width, nearest first.

    error: A W - t, float32 [width, rank, side, n_out, n_in, trial]; -t where the slot is empty.
    neuron: int32, same shape; -1 where the slot is empty.
    """

    error: jax.Array
    neuron: jax.Array


def slack(error):
    """By how much a reported error may differ from the exact one: bits given away, and rounding."""
    return RELATIVE * abs(error) + draws.ROUNDING


def compare(exact, reported) -> None:
    """Hold reported slot errors against exact ones, float64 of the same shape.

    Raises:
        WrongKernelError: one is off by more than its slack.
    """
    beyond = ~(abs(reported - exact) <= slack(exact))
    if beyond.any():
        raise WrongKernelError(
            f"the compiled kernel is wrong: {beyond.sum():,} of {beyond.size:,} slot errors are "
            "off by more than rounding may do."
        )


def blocks(key, layer: int, target, widths, sides: int = 2) -> Slots:
    """Nearest product of every slot among the neurons of its input's block.

    Args:
        key: trial keys, two uint32 words of shape [trial].
        layer: number of the layer in the address of its words; static.
        target: t, float32 [n_out, n_in, trial], or trial axis 1 for one target.
        widths: ascending int32 [n_widths]; neurons counted over all blocks. An argument of the
            compiled program and no constant of it, for the sake of `rounded`.
        sides: 1 where inputs are never negative: then side + is all.

    Returns:
        Slots with one rank.
    """
    n_out, n_in, _ = target.shape
    return _search(_Layout(layer, n_out, n_in, sides), key, target, widths)


def separate(key, layer: int, target, widths, sides: int = 2) -> Slots:
    """Nearest product of every slot among the neurons of its weight's own block.

    Arguments and result are those of `blocks`.
    """
    n_out, n_in, trials = target.shape
    layout = _Layout(layer, 1, n_out * n_in, sides, separate=n_in)
    found = _search(layout, key, target.reshape(1, -1, trials), widths)
    return Slots(*(x.reshape(*x.shape[:3], n_out, n_in, x.shape[-1]) for x in found))


def pooled(key, layer: int, target, widths) -> Slots:
    """The nearest products of each slot among all neurons; `target` is [1, n_in, trial].

    Two slots may name the same neuron: `masks.matching` makes a ticket of them. The first two of
    the POOLED_RANKS are the nearest two. The others are near, not always the next: of a chunk of
    LANES neurons no more than two are listed.
    """
    _, n_in, _ = target.shape
    return _search(_Layout(layer, 1, n_in, 2, pooled=True), key, target, widths)


class _Layout(NamedTuple):
    """Which neurons a slot may use and which of its two weights is drawn once for many slots."""

    layer: int
    n_out: int
    n_in: int
    sides: int
    pooled: bool = False
    separate: int = 0  # inputs of the layer, where "inputs" here are its weights, row by row

    @property
    def ranks(self) -> int:
        return POOLED_RANKS if self.pooled else 1

    @property
    def lanes(self) -> int:
        """Neurons of one slot in a chunk."""
        return LANES if self.pooled else LANES // 4

    @property
    def span(self) -> int:
        """Neurons of one chunk."""
        return self.lanes if self.pooled else self.lanes * self.n_in

    @property
    def fan(self) -> int:
        """Weights drawn for each shared weight: W of all inputs, or A of all outputs."""
        return self.n_in if self.pooled else self.n_out

    def inputs(self):
        """The inputs that have neurons of their own in a chunk: int32 [1, 1, shared, 1]."""
        return np.arange(1 if self.pooled else self.n_in, dtype=np.int32).reshape(1, 1, -1, 1)

    def neurons(self):
        """Numbers of a chunk's neurons, from its first: int32 [lane, 1, shared, 1]."""
        return np.arange(self.span, dtype=np.int32).reshape(self.lanes, 1, -1, 1)

    def slots(self, target):
        """The targets as [plane, pair, shared, trial]: plane h of pair p is fan weight 2 p + h."""
        rows = jnp.swapaxes(target, 0, 1) if self.pooled else target
        planes = min(self.fan, 2)
        rows = jnp.pad(rows, ((0, -self.fan % planes), (0, 0), (0, 0)))
        return jnp.moveaxis(rows.reshape(-1, planes, *rows.shape[1:]), 1, 0)

    def rows(self, slots):
        """Back from [..., plane, pair, shared, trial] to [..., n_out, n_in, trial]."""
        rows = jnp.moveaxis(slots, -4, -3)
        rows = rows.reshape(*rows.shape[:-4], -1, *rows.shape[-2:])[..., : self.fan, :, :]
        return jnp.swapaxes(rows, -3, -2) if self.pooled else rows


def _search(layout: _Layout, key, target, widths) -> Slots:
    """The pipeline over chunks, read at every width."""
    shared_role, fan_role = (draws.HIDDEN, draws.OUTPUT)[:: -1 if layout.pooled else 1]
    key = tuple(k.reshape(1, 1, 1, -1) for k in key)  # [lane, pair, shared, trial], as all below
    shared_key = draws.stream(key, layout.layer, shared_role)
    fan_key = draws.stream(key, layout.layer, fan_role)
    inputs = layout.inputs().astype(np.uint32)
    shared_index = inputs % np.uint32(layout.separate) if layout.separate else inputs
    slots, chunks = layout.slots(target), Chunks.of(widths, layout.span)
    pairs = np.arange(slots.shape[1], dtype=np.uint32).reshape(1, -1, 1, 1)
    zero = widths[:1].reshape(1, 1, 1, 1) >> np.int32(31)  # no width is negative

    def draw_shared(chunk):
        first, width = chunks[chunk]
        neuron = first + layout.neurons()
        weight = draws.uniform(draws.word(shared_key, neuron.astype(jnp.uint32), shared_index))
        # A neuron outside the network errs infinitely; no weight is 0, so inf never meets 0.
        return jnp.where((neuron >= 0) & (neuron < width), weight, jnp.inf)

    def draw_fan(chunk, shared):
        neuron = (chunks[chunk][0] + layout.neurons()).astype(jnp.uint32)
        if layout.separate:
            words = (draws.word(fan_key, neuron, inputs // np.uint32(layout.separate)),)
        else:
            words = draws.word_pair(fan_key, neuron, pairs)[: len(slots)]
        weights = [draws.uniform(word) for word in words]
        hidden = weights if layout.pooled else [shared] * len(words)
        products = (rounded(shared * w, zero) for w in weights)
        errors = [p - t[None] for p, t in zip(products, slots, strict=True)]
        return pack(*map(_record, hidden, errors))

    def body(chunk, carry):
        best, reduced, packed, shared = carry
        best = _merge(best, reduced, chunks[chunk][0])
        reduced = _reduce(unpack(packed, len(slots)), layout)
        return best, reduced, draw_fan(chunk + 2, shared), draw_shared(chunk + 3)

    def read(carry, ends):
        begin, cut, end = ends
        carry = jax.lax.fori_loop(begin, cut, body, carry)
        # A chunk that the width cuts is read and not kept, the next width has it whole: so a
        # reading depends on its own width alone.
        best, *ahead = jax.lax.cond(cut < end, body, lambda _, carry: carry, cut, carry)
        return (carry[0], *ahead), _decode(layout, best, target)

    trials = key[0].shape[-1]
    shape = (layout.lanes, *slots.shape[1:-1], trials)
    packed = pack(*[jnp.full(shape, INFINITE)] * len(slots))
    reduced = _reduce(unpack(packed, len(slots)), layout)
    nothing = jnp.full((layout.sides, *shape[1:]), NONE)
    best = [[pack(nothing, nothing)] * layout.ranks for _ in slots]
    shared = jnp.full((layout.lanes, 1, slots.shape[2], trials), jnp.inf)
    # The first steps find nothing: they fill the pipeline.
    begin = chunks.begin.at[0].add(-STAGES)
    ends = begin, chunks.cut, chunks.end
    _, found = jax.lax.scan(read, (best, reduced, packed, shared), ends)
    return found


class Chunks(NamedTuple):
    """Chunks of `span` neurons in the order they are searched. All int32 [n_widths].

    For each width, the whole chunks that it has and the one before has not, and then the chunk that
    the width cuts, if it cuts one.
    """

    begin: jax.Array  # number of the first chunk of each width
    cut: jax.Array  # one past the last whole chunk
    end: jax.Array  # one past the last chunk
    first: jax.Array  # first neuron of the first chunk
    widths: jax.Array
    span: int

    @classmethod
    def of(cls, widths, span):
        whole = widths // span
        before = jnp.concatenate([jnp.zeros(1, jnp.int32), whole[:-1]])
        cut = (widths % span > 0).astype(jnp.int32)
        end = jnp.cumsum(whole - before + cut)
        return cls(end - cut - (whole - before), end - cut, end, before * span, widths, span)

    def __getitem__(self, chunk):
        """First neuron of a chunk, and the width at which it is cut."""
        at = jnp.minimum(jnp.sum(self.end <= chunk, dtype=jnp.int32), len(self.end) - 1)
        return self.first[at] + (chunk - self.begin[at]) * self.span, self.widths[at]


def rounded(product, zero):
    """A product as a float32, whatever is done with it next.

    A compiler may fuse a product and a difference to one operation that rounds once, and does so in
    one program and not in another. It cannot where the bits between the two meet a number that it
    does not know: `zero` must be computed from an argument of the program.
    """
    bits = jax.lax.bitcast_convert_type(product, jnp.int32)
    return jax.lax.bitcast_convert_type(bits ^ zero, jnp.float32)


def _record(hidden, error):
    """Error, its sign and its lane in one word; all bits flipped where the hidden weight is < 0.

    Words of the positive side order as their errors do and lie below every word of the other.
    """
    bits = jax.lax.bitcast_convert_type(error, jnp.uint32)
    lanes = np.arange(len(error), dtype=np.uint32).reshape(-1, 1, 1, 1)
    word = (bits & ERROR_BITS) | ((bits >> np.uint32(31 - SIGN_SHIFT)) & SIGN_BIT) | lanes
    negative = jax.lax.bitcast_convert_type(hidden, jnp.int32) >> np.int32(31)
    return word ^ jax.lax.bitcast_convert_type(negative, jnp.uint32)


def pack(*words):
    """One or two uint32 as one array element."""
    if len(words) == 1:
        return words[0]
    return jax.lax.complex(*(jax.lax.bitcast_convert_type(w, jnp.float32) for w in words))


def unpack(packed, planes):
    if planes == 1:
        return [packed]
    parts = jax.lax.real(packed), jax.lax.imag(packed)
    return [jax.lax.bitcast_convert_type(part, jnp.uint32) for part in parts]


def _reduce(planes, layout):
    """The smallest word of each side over the lanes, or the two smallest as one element."""
    flip = np.array([0, NONE], np.uint32)[: layout.sides].reshape(-1, 1, 1, 1)
    reduced = []
    for plane in planes:
        smallest = second = jnp.full((layout.sides, *plane.shape[1:]), NONE)
        for lane in range(len(plane)):
            word = plane[lane][None] ^ flip
            second = jnp.minimum(second, jnp.maximum(smallest, word))
            smallest = jnp.minimum(smallest, word)
        reduced.append(pack(*[smallest, second][: layout.ranks]))
    return reduced


def _merge(best, reduced, first):
    """Best so far and a chunk's best, two ascending lists, to one; an element is (word, first)."""
    merged = []
    for elements, new in zip(best, reduced, strict=True):
        have = [unpack(element, 2) for element in elements]
        new = unpack(new, min(len(have), 2))
        merged.append([_merge_rank(rank, have, new, first) for rank in range(len(have))])
    return merged


def _merge_rank(rank, have, new, first):
    """The element of a rank: least, over how many come from the chunk, of the last one taken."""
    word = have[rank][0]
    for taken in range(1, min(rank, len(new)) + 1):
        word = jnp.minimum(word, jnp.maximum(have[rank - taken][0], new[taken - 1]))
    if rank < len(new):
        word = jnp.minimum(word, new[rank])
    origin = first.astype(jnp.uint32)
    for old_word, old_origin in have[max(0, rank - len(new)) : rank + 1]:
        origin = jnp.where(word == old_word, old_origin, origin)
    return pack(word, origin)


def _decode(layout, best, target) -> Slots:
    """From words to errors and neurons: [rank, side, n_out, n_in, trial]."""
    packed = jnp.stack([jnp.stack(plane) for plane in best], axis=2)
    word, first = unpack(layout.rows(packed), 2)
    size = jax.lax.bitcast_convert_type(word & ERROR_BITS, jnp.float32)
    error = jnp.where((word & SIGN_BIT) > 0, -size, size)
    lane = (word & LANE_BITS).astype(jnp.int32)
    inputs = np.arange(layout.n_in, dtype=np.int32).reshape(1, 1, 1, -1, 1)
    neuron = first.astype(jnp.int32) + (lane if layout.pooled else lane * layout.n_in + inputs)
    # Words from INFINITE up are not errors. An empty slot errs by |t|: no neuron need do worse.
    target = target[None, None]
    empty = (word >= INFINITE) | (size >= jnp.abs(target))
    return Slots(jnp.where(empty, -target, error), jnp.where(empty, -1, neuron))
