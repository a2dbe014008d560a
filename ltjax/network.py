"""Random two-layer networks and their tickets on the host, in float64, from seed and mask alone.

    g~(x) = relu(sum_j A_j relu((B * W)_j . x)),    B in {0, 1}^(k x d)

This is the other road to every claim of the search: it draws the whole network, applies a mask and
evaluates, and shares nothing with the kernels but the address of a word.
"""

import numpy as np

from ltjax import draws


def random_layer(seed: int, trials, neurons, dim: int, layer: int = 0):
    """Weights of the neurons asked for, in n trials: A [n, k] and W [n, k, dim], for one output."""
    neuron = np.asarray(neurons, np.uint32).reshape(1, -1, 1)
    inputs = np.arange(dim, dtype=np.uint32)
    output_key, hidden_key = _streams(seed, trials, layer)
    output = draws.word(output_key, neuron, inputs[:1])
    pairs = draws.word_pair(hidden_key, neuron, inputs[: -(-dim // 2)])
    hidden = np.stack(pairs, axis=-1).reshape(*output.shape[:2], -1)[..., :dim]
    return draws.uniform(output)[..., 0].astype(np.float64), draws.uniform(hidden).astype(float)


def _streams(seed: int, trials, layer: int):
    """Keys of the output and of the hidden weights, uint32 [n, 1, 1] each word."""
    trials = np.asarray(trials, np.uint32).reshape(-1, 1, 1)
    key = draws.trial_key(np.full_like(trials, seed), trials)
    return draws.stream(key, layer, draws.OUTPUT), draws.stream(key, layer, draws.HIDDEN)


def ticket_errors(seed: int, trials, neurons, target, layer: int = 0) -> np.ndarray:
    """Exact slot errors A W - w of tickets, each weight drawn again by its address.

    Args:
        trials: [n], the trial each ticket belongs to.
        neurons: [n, side, d], the neuron kept in each slot; -1 where it is empty.
        target: w, [d].

    Returns:
        float64 [n, side, d]; -w where the slot is empty.
    """
    neuron = np.maximum(neurons, 0).astype(np.uint32)
    inputs = np.arange(neuron.shape[-1], dtype=np.uint32)
    output, hidden = (
        draws.uniform(draws.word(stream, neuron, index)).astype(np.float64)
        for stream, index in zip(_streams(seed, trials, layer), (inputs[:1], inputs), strict=True)
    )
    target = np.asarray(target, np.float64)
    return np.where(neurons < 0, -target, output * hidden - target)


def mask(neurons, width: int) -> np.ndarray:
    """The ticket as a mask: kept neurons [side, d] to B, bool [width, d]."""
    neurons = np.asarray(neurons)
    keep = np.zeros((width, neurons.shape[-1]), bool)
    _, inputs = np.nonzero(neurons >= 0)
    keep[neurons[neurons >= 0], inputs] = True
    return keep


def evaluate(output, hidden, keep, x) -> np.ndarray:
    """g~ at the points x [n, d], from A [k], W [k, d] and the mask B [k, d]."""
    activations = np.maximum(np.asarray(x) @ np.where(keep, hidden, 0.0).T, 0.0)
    return np.maximum(activations @ output, 0.0)


def target_neuron(weights, x) -> np.ndarray:
    """f(x) = relu(w . x) at the points x [n, d]."""
    return np.maximum(np.asarray(x) @ np.asarray(weights, np.float64), 0.0)
