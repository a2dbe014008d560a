"""Which weights of a random network to keep so that it is a given target: search, not construction.

Each layer w of the target is met by a random pair v(h) = A relu(W h) of k hidden neurons. Neuron j
keeps one input i(j), as in the proof, so that on the side of the sign of its weight W,

    v(h) = C+ h+  -  C- h-,     C_oi = sum over j with i(j) = i and A_oj kept of  A_oj W_ji,

and the layerwise certificate of E = C - w applies. The proof keeps the one neuron nearest to w_oi
(`masks.nearest.blocks`). Two searches keep as many as they like:

    flips   i(j) = j mod n_in, as in the proof. In each slot (side, output, input), from nothing,
            the one or two neurons that lower |E| most are kept or dropped, as long as that lowers
            it. The first step is as good as the proof's neuron, so that no slot errs by more.
            `slot_by_slot` does the same by any rule, as one that finds the nearest sum of all.
    scores  edge-popup: neuron j keeps its input of the highest score, and A_oj while its score is
            positive; scores follow the gradient of sum E^2 straight through, and the masks of the
            lowest sum are those found.

No data is seen and nothing is trained: the weights are those of `experiments.network.device`.

Sources: for scores, Ramanujan et al., CVPR 2020, arXiv:1911.13299. That sums of several products
need a logarithm of the proof's width, Pensia, Rajput, Nagle, Vishwakarma, Papailiopoulos, NeurIPS
2020, arXiv:2006.07990.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax.masks.largest import straight_through
from ltjax.networks import pruned
from ltjax.weights import draws, redraw

RATE, STEPS = 0.03, 600  # of the descent of scores, which start from U[-1, 1]


class Kept(NamedTuple):
    """What is kept of a layer's random pair.

    inputs: the one input of each hidden neuron, int32 [k].
    outputs: which A are kept, bool [n_out, k].
    """

    inputs: jax.Array
    outputs: jax.Array


def search(key, target: Sequence, block: int, strategy: Callable) -> tuple[Kept, ...]:
    """Masks of every layer at one block size. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: float32 [n_out, n_in] for each layer.
        block: m, static; a layer has k = m n_in hidden neurons. `flips` looks at m^2 pairs a slot.
        strategy: `flips` or `scores`.
    """
    sizes = (target[0].shape[1], *map(len, target))
    found = []
    for layer, (weights, (sides, _, _)) in enumerate(zip(target, pruned.slots(sizes), strict=True)):
        output, hidden = random_pair(key, layer, weights.shape, block)
        found.append(strategy(output, hidden, weights, sides))
    return tuple(found)


def random_pair(key, layer: int, shape, block: int):
    """A [n_out, k] and W [k, n_in] of a layer, float32."""
    n_out, n_in = shape
    neuron = np.arange(block * n_in, dtype=np.uint32)[:, None]
    output, hidden = (
        draws.uniform(
            draws.word(draws.stream(key, layer, role), neuron, np.arange(n, dtype=np.uint32)[None])
        )
        for role, n in ((draws.OUTPUT, n_out), (draws.HIDDEN, n_in))
    )
    return output.T, hidden


def on_sides(hidden, sides: int):
    """W where it is of each side, 0 elsewhere: [side, ...]."""
    return jnp.stack([jnp.maximum(hidden, 0.0), jnp.minimum(hidden, 0.0)][:sides])


def flips(output, hidden, target, sides: int) -> Kept:
    """Keep or drop one or two neurons of every slot at a time, downhill, until none would gain.

    Arguments are those of `slot_by_slot`.
    """
    return slot_by_slot(output, hidden, target, sides, flipped)


def slot_by_slot(output, hidden, target, sides: int, fill: Callable) -> Kept:
    """Fill each slot of the proof's blocks on its own.

    Args:
        output, hidden: A [n_out, k] and W [k, n_in].
        target: w, [n_out, n_in].
        sides: 1 where inputs are never negative; static.
        fill: products [m] of a slot, 0 of the other side, and target [] to the mask bool [m], as
            `flipped` and the mask rule `subset` are.
    """
    n_out, n_in = target.shape
    inputs = jnp.arange(len(hidden), dtype=jnp.int32) % n_in
    own = on_sides(jnp.take_along_axis(hidden, inputs[:, None], axis=1)[:, 0], sides)
    blocks = (output[None] * own[:, None]).reshape(sides, n_out, -1, n_in)
    slots = jax.vmap(jax.vmap(jax.vmap(fill, (1, 0), 1)), (0, None))
    kept = slots(blocks, target).reshape(sides, n_out, -1)
    return Kept(inputs, jnp.any(kept, axis=0))


def flipped(products, target):
    """`flips` of one slot: products [m] and target [] to the mask [m]."""
    m = len(products)
    here = jnp.arange(m)

    def flip(state):
        kept, error, _ = state
        change = jnp.where(kept, -products, products)
        # On the diagonal one neuron changes alone.
        pairs = change[:, None] + jnp.where(here[:, None] == here[None], 0.0, change[None])
        best = jnp.argmin(jnp.abs(error + pairs))
        i, j = best // m, best % m
        after = error + pairs[i, j]
        better = jnp.abs(after) < jnp.abs(error)
        kept = kept ^ (better & ((here == i) | (here == j)))
        return kept, jnp.where(better, after, error), better

    start = jnp.zeros(m, bool), -target, jnp.array(True)
    kept, _, _ = jax.lax.while_loop(lambda state: state[-1], flip, start)
    return kept & (products != 0.0)  # neurons of the other side come along for nothing


def scores(output, hidden, target, sides: int) -> Kept:
    """Descend on scores of all weights, and return the best masks passed.

    Arguments are those of `slot_by_slot`.
    """
    n_in = hidden.shape[1]

    def masks(scores):
        inputs, outputs = scores
        chosen = jax.nn.one_hot(jnp.argmax(inputs, axis=1), n_in)
        return straight_through(chosen, inputs), straight_through(outputs > 0.0, outputs)

    def square(scores):
        chosen, kept = masks(scores)
        return jnp.sum(
            ((output * kept)[None] @ on_sides(hidden * chosen, sides) - target[None]) ** 2
        )

    def step(state, _):
        now, memory, best, least = state
        value, slope = jax.value_and_grad(square)(now)
        best = jax.tree.map(lambda new, old: jnp.where(value < least, new, old), now, best)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
            change, memory = rule.update(slope, memory)
        return (optax.apply_updates(now, change), memory, best, jnp.fmin(value, least)), None

    rule = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))
    random = np.random.default_rng(0)
    start = tuple(
        jnp.asarray(random.uniform(-1.0, 1.0, x.shape), jnp.float32) for x in (hidden, output)
    )
    state = start, rule.init(start), start, jnp.float32(jnp.inf)
    (_, _, (inputs, outputs), _), _ = jax.lax.scan(step, state, length=STEPS)
    return Kept(jnp.argmax(inputs, axis=1).astype(jnp.int32), outputs > 0.0)


def errors(seed: int, trials, kept: Kept, target, layer: int = 0, sides: int = 2) -> np.ndarray:
    """E = C - w of masks, on the host, from the random pair drawn again by its address.

    Args:
        trials: [n], the trial each mask belongs to.
        kept: with n as first axis.
        target: w, [n_out, n_in].

    Returns:
        float64 [n, side, n_out, n_in], as `supnorm.certificate` wants them.
    """
    inputs, outputs = map(np.asarray, kept)
    n_out, n_in = np.shape(target)
    output, hidden = redraw.random_layer(
        seed, trials, np.arange(inputs.shape[1]), n_in, n_out, layer
    )
    hidden = hidden * (inputs[..., None] == np.arange(n_in))
    matrices = [(output * outputs) @ side for side in (hidden.clip(min=0.0), hidden.clip(max=0.0))]
    return np.stack(matrices[:sides], axis=1) - target
