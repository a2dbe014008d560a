"""Weights drawn again by their addresses, on the host."""

import numpy as np

from ltjax.weights import draws, laws
from ltjax.weights.laws import HOST, Law


def random_layer(
    seed: int,
    trials,
    neurons,
    n_in: int,
    n_out: int = 1,
    layer: int = 0,
    law: Law = laws.SHIPPED["uniform"],
):
    """Weights of the hidden neurons asked for: A [n, n_out, k] and W [n, k, n_in], float64."""
    neuron = np.asarray(neurons, np.uint32).reshape(1, -1, 1)
    keys = _streams(seed, np.reshape(trials, (-1, 1, 1)), layer)
    words = [
        np.stack(draws.word_pair(key, neuron, np.arange(-(-size // 2), dtype=np.uint32)), axis=-1)
        for key, size in zip(keys, (n_out, n_in), strict=True)
    ]
    output, hidden = (
        laws.drawn(law, word.reshape(*word.shape[:2], -1)[..., :size], HOST)
        for word, size in zip(words, (n_out, n_in), strict=True)
    )
    return np.swapaxes(output, 1, 2), hidden


def _streams(seed: int, trials, layer: int):
    """Keys of the output and of the hidden weights, each word uint32 and shaped like `trials`."""
    trials = np.atleast_1d(np.asarray(trials, np.uint32))
    key = draws.trial_key(np.full_like(trials, seed), trials)
    return draws.stream(key, layer, draws.OUTPUT), draws.stream(key, layer, draws.HIDDEN)


def kept_weights(seed: int, trials, neurons, layer: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A and W of the neurons kept in each slot, drawn again by their addresses.

    Args:
        trials: [n], the trial each ticket belongs to.
        neurons: [n, side, n_out, n_in]; those of empty slots, -1, mean nothing.

    Returns:
        A_oj and W_ji, float64, shaped like `neurons`.
    """
    n_out, n_in = neurons.shape[2:]
    trials, neurons = np.reshape(trials, (-1, 1, 1, 1)), np.maximum(neurons, 0)
    return weights_at(seed, trials, layer, neurons, np.arange(n_out)[:, None], np.arange(n_in))


def weights_at(seed: int, trials, layer: int, neuron, output, inputs):
    """A_oj and W_ji of neurons j, outputs o and inputs i, integers that broadcast; float64."""
    neuron, *index = (np.asarray(n).astype(np.uint32) for n in (neuron, output, inputs))
    words = (
        draws.word(key, neuron, i)
        for key, i in zip(_streams(seed, trials, layer), index, strict=True)
    )
    output, hidden = (draws.uniform(word).astype(np.float64) for word in words)
    return output, hidden
