"""Random words by address: counter-mode Threefry-2x32 with 20 rounds, on numpy and on jax alike.

Every random number of a trial has an address (seed, trial, layer, role, neuron, index) and is a
pure function of it. Nothing depends on batch, device, process, platform or resumption, and any
single weight can be drawn again without its neighbours. The random network is never stored.

    trial key    Threefry(key = (0, seed), counter = (0, trial)),
                 which is jax.random.fold_in(jax.random.key(seed), trial)
    stream key   Threefry(key = trial key, counter = (layer, role))
    words        Threefry(key = stream key, counter = (neuron, p)) = words 2p and 2p + 1

The functions use operators only, so that one text serves two compilers: jax's on the device,
numpy's on the host, where what a verdict rests on is drawn again. Arrays are uint32 and broadcast.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

import numpy as np

HIDDEN, OUTPUT, TARGET, INPUT = range(4)  # roles: W[neuron, input], A[output, neuron], w, x
PARITY = 0x1BD11BDA  # of the key schedule
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(key, counter):
    """The block cipher: two key words and two counter words to two random words."""
    (k0, k1), (x0, x1) = key, counter
    schedule = (k0, k1, k0 ^ k1 ^ np.uint32(PARITY))
    x0, x1 = x0 + k0, x1 + k1
    for i in range(5):
        for r in ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = (x1 << np.uint32(r)) | (x1 >> np.uint32(32 - r))
            x1 = x1 ^ x0
        x0 = x0 + schedule[(i + 1) % 3]
        x1 = x1 + (schedule[(i + 2) % 3] + np.uint32(i + 1))
    return x0, x1


def trial_key(seed, trial):
    """Key of one trial. Arguments and results are uint32 arrays."""
    return threefry2x32((seed & np.uint32(0), seed), (trial & np.uint32(0), trial))


def stream(key, layer: int, role: int):
    """Key of the weights of one role in one layer."""
    zero = key[0] & np.uint32(0)
    return threefry2x32(key, (zero + np.uint32(layer), zero + np.uint32(role)))


def word_pair(stream_key, neuron, pair):
    """Words 2 `pair` and 2 `pair` + 1 of `neuron`."""
    return threefry2x32(stream_key, (neuron, pair))


def word(stream_key, neuron, index):
    """Word `index` of `neuron`: the address of a single weight."""
    even, odd = word_pair(stream_key, neuron, index >> np.uint32(1))
    take_odd = np.uint32(0) - (index & np.uint32(1))  # all bits set where index is odd
    return (even & ~take_odd) | (odd & take_odd)


# By how much A W - t in float32 may be off where A and W come from `uniform` and |t| <= 1: both
# weights are exact, rounding moves |A W| < 1 and |t| by 2^-25 at most, and their difference, which
# is below 2, by 2^-24. A law whose weights are themselves rounded has another slack.
ROUNDING = 2.0**-23


def uniform(word):
    """U[-1, 1] from a word: the odd multiples of 2^-24, float32, exact.

    The grid is symmetric and has no zero, so that a weight always has a sign: that of the word's
    top bit, set for positive.
    """
    odd = ((word >> np.uint32(7)) | np.uint32(1)).astype(np.int32) - np.int32(2**24)
    return odd.astype(np.float32) * np.float32(2**-24)
