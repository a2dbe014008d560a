"""Masks of a random network of depth l + 1, by copies: the device's part, which chooses.

Neuron j of the random layers has the address of every other experiment. In the first pair it serves
input j mod d, and has the weights W_j of role HIDDEN and A_oj of role OUTPUT in layer 0. A later
layer i has its weights in role OUTPUT of layer i. Copy c of neuron o of n is neuron o + n c.

A mask is all that is asked of the device: what it errs by is measured on the host, of every trial.

Source: Burkholz, "Most Activation Functions Can Win the Lottery Without Excessive Depth", NeurIPS
2022, arXiv:2205.02321.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.experiments.copies.config import CANDIDATES, Copies
from ltjax.experiments.copies.host import check, settle
from ltjax.experiments.own.checks import DEVICE, check_rule
from ltjax.experiments.own.device import candidates
from ltjax.experiments.own.host import rules_at_hand
from ltjax.weights import draws, laws

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment

LAW = laws.SHIPPED["uniform"]


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: 0 and infinity, float32 [criterion, width]: the host brackets every ticket.
    kept: for every layer what each copy of an output keeps of each input's candidates,
        bool [rule, width, side, copy and output, n_in, candidate]; candidates are neurons of a
        block in the first layer, and copies of the input afterwards.
    errors: for every layer the slot errors, float32 [rule, width, side, copy and output, n_in];
        for the check.
    """

    lower: jax.Array
    upper: jax.Array
    kept: tuple
    errors: tuple


def trial(key, target, widths, config: Copies) -> Outcome:
    """One random network, pruned by every rule at every width. Pure and jittable.

    Args:
        key: trial key, two uint32 words of shape [].
        target: W, a tuple of float32 [n_out, n_in].
        widths: ascending int32 [n_widths].
        config: static.
    """
    rows = [jnp.tile(w, (config.copies(i, config.most), 1)) for i, w in enumerate(target)]
    products, hidden = candidates(key, 0, rows[0], config.most, LAW)
    number = jnp.arange(config.most)[None, None]
    plain = [_weights(key, i, w, config.most) for i, w in enumerate(rows) if i]

    def at(width):
        """All rules at one width."""
        found = []
        for rule in rules_at_hand(config):
            sides = jnp.stack([hidden > 0, hidden < 0]) & (number < width)
            filled = [_filled(rule, products, sides, rows[0])]
            for weights, w in zip(plain, rows[1:], strict=True):
                better = _better(filled[-1][1], width, config.most)
                filled.append(_filled(rule, weights, better[None], w))
            found.append(tuple(zip(*filled, strict=True)))
        return jax.tree.map(lambda *each: jnp.stack(each), *found)

    # One width at a time, for memory.
    found = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), jax.lax.map(at, widths))
    nothing = jnp.zeros((len(config.rules), len(widths)), jnp.float32)
    return Outcome(nothing, nothing + jnp.inf, *found)


def _weights(key, layer: int, rows, copies: int):
    """Weights of a later layer: [copy and output, n_in, copy of the input]."""
    n_rows, n_in = rows.shape
    neuron = np.arange(n_in)[:, None] + n_in * np.arange(copies)
    word = draws.word(
        draws.stream(key, layer, draws.OUTPUT),
        neuron[None].astype(np.uint32),
        np.arange(n_rows, dtype=np.uint32)[:, None, None],
    )
    return laws.drawn(LAW, word, DEVICE)


def _filled(rule, numbers, open_ones, rows):
    """What a rule keeps of the largest open candidates of every slot, and the slot errors.

    Args:
        numbers: candidates, [copy and output, n_in, candidate].
        open_ones: bool [side, n_in, candidate].
        rows: what is to be met, [copy and output, n_in].
    """

    def fill(seen, wanted):
        sizes = jnp.where(jnp.isfinite(seen), jnp.abs(seen), -1.0)
        _, largest = jax.lax.top_k(sizes, min(CANDIDATES, len(seen)))
        kept = jnp.zeros(len(seen), bool).at[largest].set(rule(seen[largest], wanted))
        return kept, jnp.where(kept, seen, 0.0).sum() - wanted

    def side(open_ones):
        return jax.vmap(jax.vmap(fill))(jnp.where(open_ones[None], numbers, jnp.inf), rows)

    return jax.vmap(side)(open_ones)


def _better(errors, width, copies: int):
    """The better half of the copies of every neuron: bool [output, copy].

    Args:
        errors: of the slots of each copy, [side, copy and output, n_in].
    """
    worst = jnp.max(jnp.abs(errors), axis=(0, 2)).reshape(copies, -1).T
    worst = jnp.where(jnp.arange(copies)[None] < width, worst, jnp.inf)
    rank = jnp.argsort(jnp.argsort(worst, axis=1), axis=1)
    return rank < (width + 1) // 2


def lanes(config: Copies) -> int:
    """Few trials side by side: a trial holds every candidate of every copy.

    Asked before anything is compiled, so that a rule that is none is refused here.
    """
    for rule in rules_at_hand(config):
        check_rule(rule)
    shapes = (n_out * n_in * config.most**2 for n_out, n_in in config.shapes)
    return int(min(max(2**22 // max(shapes), 1), 16))
