"""Strong tickets by edge-popup: the weights stay as drawn, and what is learned is the mask.

Every weight has a score; a layer keeps its best, and the gradient passes to all scores as if the
mask were they (straight-through). Weights are U[-1, 1] sqrt(6 / (keep n_in)), so that activations
keep their size under the mask. Scores are U[-1, 1] at first and follow stochastic gradients with
momentum, at a rate that falls along a cosine to 0.

Source: Ramanujan, Wortsman, Kembhavi, Farhadi, Rastegari, "What's Hidden in a Randomly Weighted
Neural Network?", CVPR 2020, arXiv:1911.13299.
"""

from typing import NamedTuple

import jax
import optax

from ltjax.experiments.training import mlp
from ltjax.experiments.training.config import Popup
from ltjax.experiments.training.datasets import Data
from ltjax.masks import largest

MOMENTUM = 0.9


class Supermask(NamedTuple):
    """The subnetwork at the step where the held-out loss was lowest.

    layers: the weights that act, a tuple of float32 [n_out, n_in], 0 where one is not kept.
    masks: the same with ones and zeros.
    stop, accuracy: as in `mlp.Trained`.
    """

    layers: tuple
    masks: tuple
    stop: jax.Array
    accuracy: jax.Array


def search(key, data: Data, width: int, keep: float, config: Popup) -> Supermask:
    """Search one random network of this hidden width. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        data: as `datasets.prepare` makes it.
        width: neurons of a hidden layer; static.
        keep: share of the weights of every layer that is kept, in (0, 1]; static.
        config: static.
    """
    sizes = mlp.layer_sizes(data, width, config.hidden)
    weights = mlp.initial(key, sizes, mlp.FIRST, share=keep)
    network = lambda scores: mlp.masked(weights, mask_of(scores, keep))
    rule = optax.sgd(optax.cosine_decay_schedule(config.score_rate, config.steps), MOMENTUM)
    steps = range(config.steps)
    start = mlp.uniform(key, sizes, mlp.LOTS)
    found = mlp.descend(start, network, rule, key, data, config.batch, steps)
    kept = mask_of(found.best, keep)
    return Supermask(network(found.best), kept, found.stop, found.accuracy)


def mask_of(scores, keep: float):
    """The best of each layer's scores, and to the gradient the scores themselves."""
    best = lambda layer: largest.largest(layer, largest.kept(keep, layer))
    return tuple(largest.straight_through(best(layer), layer) for layer in scores)
