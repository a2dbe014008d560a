"""Pruned layers: which slots there are, what a ticket keeps in them, by how much it errs.

A slot (side, output, input) keeps a neuron of its *block*, and the constructions differ in what
makes a block: the slots of one input (blocks), of one weight (separate), or all of a layer, which
is then one pool (pooled). Of b blocks, block j mod b holds neuron j at rank j div b.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ltjax.weights.redraw import kept_weights


def slots(sizes: Sequence[int]) -> list[tuple[int, int, int]]:
    """(side, n_out, n_in) of every layer: only the first one sees negative inputs."""
    return [(2 if i == 0 else 1, n_out, n_in) for i, (n_in, n_out) in enumerate(pairwise(sizes))]


def block_counts(construction: str, sizes: Sequence[int]) -> list[int]:
    """Blocks of every layer."""
    of_shape = {
        "blocks": lambda n_out, n_in: n_in,
        "separate": lambda n_out, n_in: n_in * n_out,
        "pooled": lambda n_out, n_in: 1,
    }[construction]
    return [of_shape(n_out, n_in) for n_in, n_out in pairwise(sizes)]


def block_numbers(construction: str, n_out: int, n_in: int) -> np.ndarray:
    """The block of every weight of a layer, [n_out, n_in]."""
    output, inputs = np.indices((n_out, n_in))
    return {"blocks": inputs, "separate": output * n_in + inputs, "pooled": 0 * inputs}[
        construction
    ]


def ticket_errors(seed: int, trials, neurons, target, layer: int = 0) -> np.ndarray:
    """Exact slot errors A W - w of tickets.

    Args:
        trials: [n], the trial each ticket belongs to.
        neurons: [n, side, n_out, n_in], the neuron kept in each slot; -1 where it is empty.
        target: w, [n_out, n_in]. For one output both may lack that axis.

    Returns:
        float64, shaped like `neurons`; -w where the slot is empty.
    """
    target = np.asarray(target, np.float64)
    layered = neurons.reshape(len(neurons), -1, *np.atleast_2d(target).shape)
    output, hidden = kept_weights(seed, trials, layered, layer)
    return np.where(neurons < 0, -target, (output * hidden).reshape(neurons.shape) - target)


def mask(neurons, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The ticket of a layer as masks of A and W: bool [n_out, width] and [width, n_in].

    Args:
        neurons: kept neurons, [name, n_out, n_in], where a name is a side or whatever else the
            neurons of a weight are told apart by; -1 for none.
    """
    neurons = np.asarray(neurons)
    _, output, inputs = np.nonzero(neurons >= 0)
    kept = neurons[neurons >= 0]
    keep_output = np.zeros((neurons.shape[1], width), bool)
    keep_hidden = np.zeros((width, neurons.shape[2]), bool)
    keep_output[output, kept] = keep_hidden[kept, inputs] = True
    return keep_output, keep_hidden


def active_weights(neurons: Sequence) -> int:
    """Weights that a ticket keeps, exactly; one W that serves several outputs counts once.

    Args:
        neurons: of each layer, [name, n_out, n_in] as of `mask`; -1 for none.
    """
    count = 0
    for layer in map(np.asarray, neurons):
        (_, *ends), kept = np.nonzero(layer >= 0), layer[layer >= 0].astype(np.int64)
        # A kept A is named by neuron and output, a kept W by neuron and input.
        for end, size in zip(ends, layer.shape[1:], strict=True):
            count += len(np.unique(kept * size + end))
    return count
