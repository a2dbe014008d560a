"""One neuron: from a random two-layer network to a bracket on the error of its ticket.

The proof's construction, at every width of the grid: for each input i keep one neuron with
W_ji > 0 and one with W_ji < 0 whose path products A_j W_ji come nearest to w_i. The rules that turn
slot errors into an error over the unit ball are those of `neuron.config.Neuron.criteria`.

This is the device's part, in float32 with its slack; `host` settles in float64 what that
leaves open.

Source: Malach, Yehudai, Shalev-Shwartz, Shamir, "Proving the Lottery Ticket Hypothesis: Pruning is
All You Need", ICML 2020, arXiv:2002.00585, Lemma for one neuron.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.experiments.neuron.config import Neuron
from ltjax.experiments.neuron.host import check, settle, slot_scale
from ltjax.masks import batching, matching, nearest
from ltjax.supnorm import one_neuron
from ltjax.weights import draws

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the error achieved, float32 [criterion, width], slack included.
    neurons: the tickets, int32 [ticket, width, side, d]; -1 for an empty slot. One ticket a
        construction, in the order of `config.constructions`.
    errors: slot errors of the tickets at the last width, float32 [ticket, side, d]; for the check.
    """

    lower: jax.Array
    upper: jax.Array
    neurons: jax.Array
    errors: jax.Array


def trial(key, target, widths, config: Neuron) -> Outcome:
    """One random network, pruned at every width. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: w, float32 [d].
        widths: ascending int32 [n_widths].
        config: static.
    """
    return batching.one_of(partial(_trials, config=config))(key, target, widths)


def _trials(key, target, widths, config) -> Outcome:
    """Trials side by side: keys [trial], target [d, trial] or [d, 1]."""
    counted = [criterion in config.criteria for criterion in config.all_criteria]
    found = {
        construction: getattr(nearest, construction)(key, 0, target[None], widths)
        for construction in config.constructions
    }

    def read(found):
        """Brackets and tickets, with their slot errors, at one width."""
        bounds, tickets, errors = [], [], []
        if "blocks" in found:
            error, neuron = found["blocks"].error[0, :, 0], found["blocks"].neuron[0, :, 0]
            bounds.append(_ticket_rules(target, error))
            tickets.append(neuron)
            errors.append(error)
        if "pooled" in found:
            ticket = matching.repair(found["pooled"], target[None])
            bounds.append(_slot_rules(found["pooled"].error[0, :, 0]))
            bounds.append(_pooled_rules(target, ticket))
            tickets.append(ticket.neuron[:, 0])
            errors.append(ticket.error[:, 0])
        lower, upper = (
            jnp.stack([x for x, keep in zip(jnp.concatenate(rules), counted, strict=True) if keep])
            for rules in zip(*bounds, strict=True)
        )
        return lower, upper, jnp.stack(tickets), jnp.stack(errors)

    # One width at a time: all that a reading needs stays in the cache.
    *grid, errors = jax.lax.map(read, found)
    lower, upper, neurons = (jnp.swapaxes(x, 0, 1) for x in grid)
    return Outcome(lower, upper, neurons, errors[-1])


def _box_scales(dim):
    """What slides and tight multiply the largest slot error by: [2, 1]."""
    return np.array([[slot_scale(rule, dim)] for rule in ("slides", "tight")], np.float32)


def _rules(worst):
    """slides, tight and l2 from the worse slot error of each input, [d, trial]: [3, trial]."""
    box = _box_scales(len(worst)) * jnp.max(worst, axis=0, keepdims=True)
    return jnp.append(box, jnp.sqrt(jnp.sum(worst**2, axis=0, keepdims=True)), axis=0)


def _widened(rules, dim):
    """Brackets of the exact rules: the slack of a slot error, and the rounding of d terms."""
    # l2 moves no more than tight does.
    slack = _box_scales(dim)[[0, 1, 1]][: len(rules)] * np.float32(draws.ROUNDING)
    rounding = nearest.RELATIVE + (dim + 8) * 2.0**-23
    return jnp.maximum(rules * (1 - rounding) - slack, 0.0), rules * (1 + rounding) + slack


def _slot_rules(error):
    """Brackets of slides, tight and l2 for slot errors [side, d, trial]: each [3, trial]."""
    return _widened(_rules(jnp.max(jnp.abs(error), axis=0)), error.shape[1])


def _ticket_rules(target, error):
    """The same and the supremum of the tickets with these slot errors: each [4, trial]."""
    dim = error.shape[1]
    rules = _rules(jnp.max(jnp.abs(error), axis=0))
    lower, upper = one_neuron.neuron_bounds(target, error)
    # The supremum moves by no more than the slot errors do, in l2; and path sums are of size
    # ||w|| <= 1, so that their rounding is absolute.
    slack = nearest.RELATIVE * rules[2] + draws.ROUNDING * dim**0.5 + (dim + 8) * 2.0**-22
    supremum = jnp.maximum(lower - slack, 0.0), upper + slack
    slots = _widened(rules, dim)
    return tuple(jnp.append(a, b[None], axis=0) for a, b in zip(slots, supremum, strict=True))


def _pooled_rules(target, ticket):
    """`least` bounds a bottleneck below, the ticket in hand above; l2 and sup are the ticket's."""
    lower, upper = _ticket_rules(target, ticket.error[:, 0])
    dim = len(target)
    least, _ = _widened(_box_scales(dim) * ticket.least[None], dim)
    return jnp.concatenate([least, lower[2:]]), upper


def lanes(config: Neuron) -> int:
    """Trials that a device does best side by side: their working set stays in the cache."""
    return min(max(2**11 // config.dim, 32), 1024)
