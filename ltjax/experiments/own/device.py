"""Any law, any mask rule: a random network whose slots are filled one by one. The general road.

Weights have the addresses of every other experiment, and candidate t of input i is neuron
i + n_in t. A slot sees the products of its side, inf where a neuron is of the other side or beyond
the width; the rule is called for every slot and width by `vmap`, and what it keeps adds up. Slow,
and a definition: under U[-1, 1] the rule `nearest` is what `masks.nearest` finds with its draws
fused.

This is the device's part, in float32 with a slack that follows from the law; `host` draws what was
kept again and settles in float64.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.experiments.network.host import slot_rule
from ltjax.experiments.neuron.host import slot_scale
from ltjax.experiments.own.checks import DEVICE, check_law, check_rule
from ltjax.experiments.own.config import Own
from ltjax.experiments.own.host import at_hand, check, settle
from ltjax.networks.pairs import Pair
from ltjax.networks.pruned import slots
from ltjax.supnorm.bounds import glance
from ltjax.weights import draws, laws
from ltjax.weights.laws import Law

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the error achieved, float32 [criterion, width], slack included.
    kept: for every layer the neurons kept, bool [rule, width, side, n_out, n_in, block].
    errors: for every layer the slot errors, float32 [rule, width, side, n_out, n_in].
    points: where the largest error was found, float32 [rule, width, d].
    """

    lower: Any
    upper: Any
    kept: tuple
    errors: tuple
    points: Any


def trial(key, target, widths, config: Own) -> Outcome:
    """One random network, pruned by every rule at every width. Pure and jittable.

    Args:
        key: trial key, two uint32 words of shape [].
        target: W, a tuple of float32 [n_out, n_in]; of a neuron one row.
        widths: ascending int32 [n_widths].
        config: static.
    """
    law, rules = at_hand(config)
    products = [candidates(key, layer, w, config.block, law) for layer, w in enumerate(target)]
    sides = [n for n, _, _ in slots(config.sizes)]

    def at(width):
        """All rules at one width."""
        found = []
        for rule in rules:
            layers = zip(products, sides, target, strict=True)
            kept, errors, off = zip(
                *(_filled(rule, *layer, _open(width, config, layer[0]), law) for layer in layers),
                strict=True,
            )
            found.append((*_measured(target, errors, off, config), kept, errors))
        return jax.tree.map(lambda *each: jnp.stack(each), *found)

    # One width at a time: a rule may look at all pairs of neurons.
    lower, upper, points, kept, errors = jax.lax.map(at, widths)
    lower, upper = (jnp.moveaxis(x, 0, -1).reshape(-1, len(widths)) for x in (lower, upper))
    kept, errors, points = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), (kept, errors, points))
    return Outcome(lower, upper, kept, errors, points)


def candidates(key, layer: int, target, block: int, law: Law):
    """Products A W and the weights W of a layer's candidates: [n_out, n_in, block], [n_in, block].

    Args:
        target: whose shape [n_out, n_in] it is.
        block: candidates of an input, static.
    """
    n_out, n_in = target.shape
    neuron = np.arange(n_in, dtype=np.uint32)[:, None] + np.uint32(n_in) * np.arange(
        block, dtype=np.uint32
    )
    index = np.arange(n_in, dtype=np.uint32)[:, None], np.arange(n_out, dtype=np.uint32)
    hidden = draws.word(draws.stream(key, layer, draws.HIDDEN), neuron, index[0])
    output = draws.word(
        draws.stream(key, layer, draws.OUTPUT), neuron[None], index[1][:, None, None]
    )
    output, hidden = (laws.drawn(law, word, DEVICE) for word in (output, hidden))
    return output * hidden[None], hidden


def _open(width, config: Own, products):
    """Which candidates a width holds, bool [n_in, block]: of a neuron it counts all its neurons."""
    n_in, block = products[1].shape
    number = np.arange(n_in)[:, None] + n_in * np.arange(block)
    return number < (width if config.of == "neuron" else width * n_in)


def _filled(rule, products, sides: int, target, open_ones, law: Law):
    """What a rule keeps of one layer, the slot errors, and by how much these may be off.

    Returns:
        kept bool [side, n_out, n_in, block]; errors and off float32 [side, n_out, n_in].
    """
    product, hidden = products
    fill = jax.vmap(jax.vmap(rule))

    def side(sign):
        seen = jnp.where((sign * hidden > 0) & open_ones, product, jnp.inf)
        kept = fill(seen, target)
        sizes = jnp.where(kept, jnp.abs(seen), 0.0).sum(axis=-1)
        number = kept.sum(axis=-1).astype(jnp.float32)
        # Each product is off as the law says; a sum of n + 1 terms by n + 1 roundings of its size.
        off = number * np.float32(law.product_rounding * (1 + 2.0**-20))
        off += (number + 2) * np.float32(2.0**-23) * (sizes + jnp.abs(target))
        return kept, jnp.where(kept, seen, 0.0).sum(axis=-1) - target, off

    return jax.tree.map(lambda *each: jnp.stack(each), *(side(s) for s in (1.0, -1.0)[:sides]))


def _measured(target, errors, off, config: Own):
    """Brackets of the measures [measure], and the point [d] of the largest error found."""
    worst = [jnp.abs(error) for error in errors]
    least = [jnp.maximum(w - o, 0.0) for w, o in zip(worst, off, strict=True)]
    most = [w + o for w, o in zip(worst, off, strict=True)]
    rounding = (max(config.sizes) + 8) * 2.0**-22
    point = jnp.zeros(config.dim)
    if config.of == "neuron":
        bounds = {
            rule: (_neuron_rule(rule, least[0]), _neuron_rule(rule, most[0]))
            for rule in ("slides", "tight", "l2")
        }
        bounds["sup"] = jnp.zeros(()), bounds["l2"][1]  # |v - u| is at most the l2 value
    else:
        ends = [jnp.stack([jnp.max(x) for x in layers]) for layers in (least, most)]
        bounds = {
            rule: tuple(slot_rule(rule, config.shapes, end, jnp) for end in ends)
            for rule in ("slides", "tight")
        }
        if "sup" in config.measures:
            most_apart, point = glance(Pair(tuple(target), tuple(errors), config.last))
            bounds["sup"] = jnp.zeros(()), most_apart + _slack(errors, off)
    lower, upper = zip(*(bounds[measure] for measure in config.measures), strict=True)
    return jnp.stack(lower) * (1 - rounding), jnp.stack(upper) * (1 + rounding), point


def _neuron_rule(rule, errors):
    """slides, tight or l2 of one neuron from slot errors [side, 1, d]."""
    worse = errors.max(axis=0)[0]
    if rule == "l2":
        return jnp.sqrt(jnp.sum(worse**2))
    return np.float32(slot_scale(rule, len(worse))) * worse.max()


def _slack(errors, off):
    """By how much the supremum may differ from that of the errors reported: each layer's, times
    the norms of the others."""
    norms = jnp.stack([jnp.sqrt(jnp.sum(e**2)) for e in errors])
    moved = jnp.stack([jnp.sqrt(jnp.sum(o**2)) for o in off])
    return jnp.sum(moved) * jnp.prod(1.0 + norms + moved)


def lanes(config: Own) -> int:
    """Few trials side by side: a rule may hold all pairs of a slot's neurons.

    Asked before anything is compiled, so that a law or a rule that is none is refused here.
    """
    law, rules = at_hand(config)
    check_law(law)
    for rule in rules:
        check_rule(rule)
    slots_of_all = sum(2 * n_out * n_in for n_out, n_in in config.shapes)
    return int(min(max(2**22 // (slots_of_all * config.block**2), 1), 64))
