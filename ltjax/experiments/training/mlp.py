"""Bias-free ReLU classifiers under masks, and their descent by minibatches.

    h_0 = (x, 1),   h_i = relu((M_i * W_i) h_{i-1}),   logits = (M_l * W_l) h_{l-1}

The constant 1 among the inputs stands for a bias. Weights are U[-1, 1] sqrt(6 / n_in) at first (He
et al.), drawn by address, and so is the minibatch of every step: a run is a function of its key.

Everything is written for ONE network; its weights are a tuple of float32 [n_out, n_in], masks the
same with ones and zeros.

Source: He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", ICCV 2015, arXiv:1502.01852.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ltjax.experiments.training.config import EVERY, Training
from ltjax.experiments.training.datasets import Data
from ltjax.weights import draws

FIRST, AGAIN, LOTS = range(3)  # draws: initial weights, others, and what decides by lot


class Trained(NamedTuple):
    """A descent, early-stopped where the held-out loss was lowest.

    last: parameters after the last step.
    best: parameters where it was stopped; those of the start, should the loss never be a number.
    stop: steps until then, int32 [].
    accuracy: of the network stopped there, on the test data, float32 [].
    """

    last: Any
    best: Any
    stop: jax.Array
    accuracy: jax.Array


def layer_sizes(data: Data, width: int, hidden: int) -> tuple[int, ...]:
    """Inputs, `hidden` times `width`, classes."""
    return data.x_train.shape[1], *[width] * hidden, data.y_train.shape[1]


def uniform(key, sizes, draw: int):
    """U[-1, 1] for every weight, float32 [n_out, n_in] a layer; other numbers for another `draw`.

    Args:
        key: trial key, two uint32 words of shape [].
        sizes: static, as `layer_sizes` has them.
    """
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes), draw * (len(sizes) - 1)):
        neuron = np.arange(n_out, dtype=np.uint32)[:, None]
        index = np.arange(n_in, dtype=np.uint32)[None]
        layers.append(draws.uniform(draws.word(draws.stream(key, i, draws.HIDDEN), neuron, index)))
    return tuple(layers)


def initial(key, sizes, draw: int, share: float = 1.0):
    """Random weights at which activations keep their size, if a `share` of them is kept."""
    scale = lambda layer: np.float32((6.0 / (share * layer.shape[1])) ** 0.5)
    return tuple(scale(layer) * layer for layer in uniform(key, sizes, draw))


def masked(layers, masks):
    return tuple(weights * mask for weights, mask in zip(layers, masks, strict=True))


def logits(layers, x):
    """x [n, d + 1] to [n, classes]."""
    for weights in layers[:-1]:
        x = jax.nn.relu(x @ weights.T)
    return x @ layers[-1].T


def loss(layers, x, y):
    """Mean cross-entropy."""
    return jnp.mean(optax.losses.softmax_cross_entropy(logits(layers, x), y))


def accuracy(layers, x, y):
    """Share of inputs whose largest logit is that of their class."""
    right = jnp.argmax(logits(layers, x), axis=1) == jnp.argmax(y, axis=1)
    return jnp.mean(right, dtype=jnp.float32)


def minibatch(key, step, x, y, size: int):
    """Examples of one step, drawn with replacement."""
    position = np.arange(size, dtype=np.uint32)
    words = draws.word(draws.stream(key, 0, draws.INPUT), step.astype(jnp.uint32), position)
    at = (words % np.uint32(len(x))).astype(jnp.int32)
    return x[at], y[at]


def dense(key, data: Data, width: int, config: Training) -> Trained:
    """The whole network of this hidden width, trained by Adam from its first weights."""
    start = initial(key, layer_sizes(data, width, config.hidden), FIRST)
    steps = range(config.steps)
    return descend(start, tuple, optax.adam(config.rate), key, data, config.batch, steps)


def descend(start, network, rule, key, data: Data, batch: int, steps: range) -> Trained:
    """Lower the cross-entropy of network(parameters) from `start`, by stochastic gradients.

    Args:
        start: parameters, a tree of float32 arrays.
        network: maps parameters to the layers that act; differentiable.
        rule: the optimiser, of optax.
        steps: numbers of the steps, whose minibatches they name; begin and end at multiples of
            EVERY. Without any, `last` and `best` are the start.
    """
    data = jax.tree.map(jnp.asarray, data)

    def step(state, number):
        parameters, memory = state
        x, y = minibatch(key, number, data.x_train, data.y_train, batch)
        slope = jax.grad(lambda p: loss(network(p), x, y))(parameters)
        with jax.numpy_dtype_promotion("standard"):  # optax counts steps in integers
            change, memory = rule.update(slope, memory, parameters)
        return (optax.apply_updates(parameters, change), memory), None

    def stretch(state, begin):
        now, best, lowest, stop = state
        now, _ = jax.lax.scan(step, now, begin + jnp.arange(EVERY))
        held = loss(network(now[0]), data.x_held, data.y_held)
        best = jax.tree.map(lambda new, old: jnp.where(held < lowest, new, old), now[0], best)
        stop = jnp.where(held < lowest, begin + EVERY, stop)
        return (now, best, jnp.fmin(held, lowest), stop), None

    state = (start, rule.init(start)), start, jnp.float32(jnp.inf), jnp.int32(steps.start)
    begins = jnp.arange(steps.start, steps.stop, EVERY, dtype=jnp.int32)
    ((last, _), best, _, stop), _ = jax.lax.scan(stretch, state, begins)
    return Trained(last, best, stop, accuracy(network(best), data.x_test, data.y_test))
