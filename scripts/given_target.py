"""Four ways to a mask for a given target, at equal block size: brackets on the error, and a panel.

The target is 8-8-1 with weights all of one size. The proof keeps one neuron a slot; `flips` and
`scores` of `masks.local_search` search, and `subset` of `masks.rules` is the optimum of a slot. A
trial is one random network for all of them, and errors are bounded alike: above by the certificate,
below by ascent. `conjectures.py` draws it.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ltjax import decimals
from ltjax.masks import local_search, nearest, rules
from ltjax.networks import pruned, targets
from ltjax.networks.pairs import Pair
from ltjax.results import line_figure
from ltjax.supnorm import ascent, certificate
from ltjax.weights import draws

SIZES, SEED = (8, 8, 1), 0
WAYS = {
    "scores": local_search.scores,
    "flips": local_search.flips,
    "subset": partial(local_search.slot_by_slot, fill=rules.subset),
}
CAPTION = (
    "Right: masks of a random network for the target 8-8-1 with weights of one size, {trials} "
    "trials. proof: the nearest product of every slot. scores: by edge-popup, an input a neuron. "
    "flips: a subset of each slot, downhill. subset: that with the nearest sum. Points: upper "
    "bound on the error over the unit ball, certified. Lines: lower bound, the largest error that "
    "ascent has met, median. "
)


def target():
    return targets.worst_target(SIZES)


def proved(keys, block):
    """Slot errors of the proof's masks, float64 [trial, side, n_out, n_in] a layer."""
    find, errors = jax.jit(nearest.blocks, static_argnums=(1, 4)), []
    trials = np.arange(len(keys[0]))
    for i, (w, (sides, _, n_in)) in enumerate(zip(target(), pruned.slots(SIZES), strict=True)):
        widths = np.array([block * n_in], np.int32)
        neurons = find(keys, i, np.float32(w)[..., None], widths, sides).neuron
        kept = np.moveaxis(np.asarray(neurons)[0, 0], -1, 0)
        errors.append(pruned.ticket_errors(SEED, trials, kept, w, i))
    return errors


def searched(keys, block, way):
    """The same of a search."""
    layers, trials = tuple(map(np.float32, target())), np.arange(len(keys[0]))
    one = lambda key: local_search.search(key, layers, block, way)
    kept = jax.jit(jax.vmap(one))(jax.tree.map(jnp.asarray, keys))
    return [
        local_search.errors(SEED, trials, layer, w, i, sides)
        for i, (layer, w, (sides, _, _)) in enumerate(
            zip(kept, target(), pruned.slots(SIZES), strict=True)
        )
    ]


def brackets(block, trials):
    """Bounds from below and from above on the supremum of each trial, by the way to its mask."""
    numbers = np.arange(trials, dtype=np.uint32)
    keys = draws.trial_key(np.full_like(numbers, SEED), numbers)
    errors = {name: searched(keys, block, way) for name, way in WAYS.items()}
    found = {}
    for name, layers in ({"proof": proved(keys, block)} | errors).items():
        pair = Pair(tuple(target()), tuple(layers))
        found[name] = {
            "lower": ascent.lower(pair)[0].tolist(),
            "upper": certificate.upper(pair).tolist(),
        }
    return found


def panel(found):
    """Bounds against the block size, from those of each block."""
    blocks, lines = list(found), []
    for name in ("proof", *WAYS):
        low, high = (
            np.array([found[block][name][end] for block in blocks]) for end in ("lower", "upper")
        )
        lines += [
            line_figure.spread(name, blocks, high),
            line_figure.derived(name, "bound", blocks, np.median(low, axis=1)),
        ]
    axes = {"xlabel": "block size m", "ylabel": "error over the unit ball", "apart": 1.06}
    return line_figure.Panel(title="a given target 8-8-1", lines=lines, **axes)


def tell(found):
    """Print the medians of the bounds."""
    for block, ways in found.items():
        said = [
            f"{name} {decimals.below(np.median(ends['lower']), 3)} to "
            f"{decimals.above(np.median(ends['upper']), 3)}"
            for name, ends in ways.items()
        ]
        print(f"target 8-8-1, m = {block}, median bounds: {', '.join(said)}")
