"""Winning tickets by iterative magnitude pruning, beside the networks that they must beat.

The dense network is trained; the weights that are smallest beside their layer's initial size are
pruned, over all layers; those kept go back to where they started, or to an early step, and are
trained again; and so on. For every share kept, on the same minibatches and for as many steps:

    ticket   the mask found, and the weights it was found with, rewound
    random   a mask by lot with as many weights in each layer, and the same weights
    reinit   the mask found, and new random weights

That the first beats the others, and matches the dense network in at most as many steps, is the
lottery ticket hypothesis.

Source: Frankle, Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv:1803.03635. Rewinding to
an early step: Frankle, Dziugaite, Roy, Carbin, ICML 2020, arXiv:1912.05671.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax.experiments.training import mlp
from ltjax.experiments.training.config import Imp
from ltjax.experiments.training.datasets import Data
from ltjax.experiments.training.mlp import Trained
from ltjax.masks import largest


class Rounds(NamedTuple):
    """What became of one dense network and of what was pruned from it.

    dense: the network itself.
    ticket, random, reinit: at every share kept, with a leading axis [keep].
    masks: of ticket and reinit, a tuple of float32 [keep, n_out, n_in].
    """

    dense: Trained
    ticket: Trained
    random: Trained
    reinit: Trained
    masks: tuple


def train(key, data: Data, width: int, config: Imp) -> Rounds:
    """Prune one network of this hidden width, again and again. Pure; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        data: as `datasets.prepare` makes it.
        width: neurons of a hidden layer; static.
        config: static.
    """
    sizes = mlp.layer_sizes(data, width, config.hidden)
    first, again = mlp.initial(key, sizes, mlp.FIRST), mlp.initial(key, sizes, mlp.AGAIN)
    lots = mlp.uniform(key, sizes, mlp.LOTS)
    rule, after = optax.adam(config.rate), range(config.rewind, config.steps)

    def fit(start, mask, steps):
        network = lambda layers: mlp.masked(layers, mask)
        return mlp.descend(network(start), network, rule, key, data, config.batch, steps)

    def prune(state, count):
        mask, trained = state
        sizes = tuple(magnitude(*layer) for layer in zip(trained, mask, strict=True))
        mask = largest.largest_of_all(sizes, count)
        full = (jnp.sum(layer).astype(jnp.int32) for layer in mask)
        by_lot = tuple(largest.largest(*layer) for layer in zip(lots, full, strict=True))
        starts = (early, mask), (early, by_lot), (again, mask)
        starts = jax.tree.map(lambda *each: jnp.stack(each), *starts)
        fits = jax.lax.map(lambda start: fit(*start, after), starts)
        return (mask, jax.tree.map(lambda x: x[0], fits.last)), (fits, mask)

    whole = jax.tree.map(jnp.ones_like, first)
    early = fit(first, whole, range(config.rewind)).last
    dense = mlp.dense(key, data, width, config)
    counts = np.array([largest.kept(keep, first) for keep in config.keeps], np.int32)
    _, (fits, found) = jax.lax.scan(prune, (whole, dense.last), counts)
    ticket, random, reinit = (jax.tree.map(lambda x, i=i: x[:, i], fits) for i in range(3))
    return Rounds(dense, ticket, random, reinit, found)


def magnitude(weights, mask):
    """|W| in units of the layer's initial size, which is 1 / sqrt(n_in); below all where pruned.

    In other units a wide layer, whose weights are small, is pruned away whole.
    """
    return jnp.where(mask > 0.0, jnp.abs(weights) * np.float32(weights.shape[1] ** 0.5), -1.0)
