"""A whole network: from a random one of twice its depth to a bracket on the error of its ticket.

Theorem 1 of the paper: every layer is pruned by the construction of one neuron, once for each of
its outputs. A trial does so at every block size of the grid; the rules that turn slot errors into
an error over the unit ball are those of `network.config.Network`.

This is the device's part, in float32 with its slack; `host` settles in float64 what that
leaves open.

Source: Malach, Yehudai, Shalev-Shwartz, Shamir, "Proving the Lottery Ticket Hypothesis: Pruning is
All You Need", ICML 2020, arXiv:2002.00585, Theorem 2.1.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ltjax.experiments.network.config import SUPREMA, Network
from ltjax.experiments.network.host import check, settle, slot_rule
from ltjax.masks import batching, layer_pool, matching, nearest
from ltjax.networks.pairs import Pair
from ltjax.networks.pruned import slots
from ltjax.supnorm.bounds import glance
from ltjax.weights import draws

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the error achieved, float32 [criterion, width], slack included. Of a
        supremum the lower end is 0: what refutes is a point, and the host looks at it.
    neurons: the tickets, int32 [construction, width, slot]; -1 for an empty slot. Slots are those
        of `pruned.slots`: layer after layer, in each by side, output, input.
    points: where the largest error was found, float32 [construction, width, d].
    errors: slot errors of the tickets at the last width, float32 [construction, slot]; for the
        check.
    """

    lower: jax.Array
    upper: jax.Array
    neurons: jax.Array
    points: jax.Array
    errors: jax.Array


def trial(key, target, widths, config: Network) -> Outcome:
    """One random network, pruned at every block size. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: W, a tuple of float32 [n_out, n_in].
        widths: block sizes, or neurons of a layer (see `config`), ascending int32 [n_widths].
        config: static.
    """
    found = [prune(key, target, widths, name, config) for name in config.constructions]
    errors, neurons, least = jax.tree.map(lambda *each: jnp.stack(each), *found)
    rules = jax.vmap(jax.vmap(lambda errors, least: _rules(target, errors, least, config)))
    lower, upper, points = rules(errors, least)
    lower, upper = (jnp.swapaxes(x, 1, 2).reshape(-1, len(widths)) for x in (lower, upper))
    last = [error[:, -1].reshape(len(error), -1) for error in errors]
    return Outcome(lower, upper, neurons, points, jnp.concatenate(last, axis=1))


def prune(key, target, widths, construction, config):
    """One ticket of every layer and width.

    Returns:
        Slot errors [width, side, n_out, n_in] of every layer, the tickets [width, slot], and the
        least largest error that any ticket has, or a lower bound on it, [width, layer].
    """
    parts = zip(target, slots(config.sizes), config.neurons(construction, widths), strict=True)
    errors, neurons, least = [], [], []
    for i, (weights, (sides, _, _), each) in enumerate(parts):
        find = partial(_pool, i, sides)
        if construction != "pooled":
            find = partial(_search, getattr(nearest, construction), i, sides)
        error, neuron, worst = batching.one_of(find)(key, weights, each)
        errors.append(error)
        neurons.append(neuron.reshape(len(widths), -1))
        least.append(worst)
    return tuple(errors), jnp.concatenate(neurons, axis=1), jnp.stack(least, axis=1)


def _search(search, layer, sides, key, weights, widths):
    """Nearest products of one layer: errors and neurons [width, side, n_out, n_in, trial].

    And the largest error, [width, trial].
    """
    found = search(key, layer, weights, widths, sides)
    worst = jnp.max(jnp.abs(found.error[:, 0]), axis=(1, 2, 3))
    return found.error[:, 0], found.neuron[:, 0], worst


def _pool(layer, sides, key, weights, widths):
    """The same for a pool: near products, no two of one neuron; and the least largest error."""
    found = layer_pool.search(key, layer, weights, widths, sides)
    # One width at a time: all that a repair needs stays in the cache.
    return tuple(jax.lax.map(lambda x: matching.repair(x, weights, nearest_two=False), found))


def _rules(target, errors, least, config):
    """Brackets of the rules counted, each [rule], for slot errors [side, n_out, n_in] a layer.

    And the point [d] of the largest error that was found.
    """
    worst = jnp.stack([jnp.max(jnp.abs(error)) for error in errors])
    least = jnp.maximum(least * (1 - nearest.RELATIVE) - draws.ROUNDING, 0.0)
    most = worst * (1 + nearest.RELATIVE) + draws.ROUNDING
    rounding = (len(target) + 8) * 2.0**-22
    bounds = {
        rule: (
            slot_rule(rule, config.shapes, least, jnp) * (1 - rounding),
            slot_rule(rule, config.shapes, most, jnp) * (1 + rounding),
        )
        for rule in ("slides", "tight")
    }
    point = jnp.zeros(config.dim)
    if set(SUPREMA) & set(config.rules):
        upper, point = glance(Pair(target, errors, config.last))
        bounds |= dict.fromkeys(SUPREMA, (jnp.zeros(()), upper + _slack(errors)))
    lower, upper = zip(*(bounds[rule] for rule in config.rules), strict=True)
    return jnp.stack(lower), jnp.stack(upper), point


def _slack(errors):
    """By how much the supremum may differ from that of the errors as they are reported.

    An error E_i off by dE_i moves g by ||dE_i|| times the norms of the other layers, each at most
    1 + ||E||.
    """
    norms = jnp.stack([jnp.sqrt(jnp.sum(e**2)) for e in errors])  # of both sides, at least ||E||
    sizes = jnp.array([error.size**0.5 for error in errors], jnp.float32)
    off = nearest.RELATIVE * norms + 2 * draws.ROUNDING * sizes
    return jnp.sum(off) * jnp.prod(1.0 + norms)


def lanes(config: Network) -> int:
    """Trials that a device does best side by side: their working set stays in the cache."""
    slots = max(n_out * n_in for n_out, n_in in config.shapes)
    return min(max(2**13 // slots, 16), 512)
