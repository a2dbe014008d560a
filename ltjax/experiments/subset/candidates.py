"""Candidates and targets by their addresses, as integers of a unit. One text for numpy and for jax.

Candidate j has the weights of neuron j of a network with one input and one output: W of the address
(j, 0), and A of the same where it is a product. So what is counted here is what a slot of a neuron
meets. A target that is drawn has an address of its own.
"""

import numpy as np

from ltjax.experiments.subset.config import WEIGHTS, Subset
from ltjax.weights import draws, laws
from ltjax.weights.laws import Functions

FIRST = np.uint32(0)


def candidates(key, law: str, config: Subset, units: int, special: Functions, integer):
    """The candidates in units, rounded to the nearest, and which of them are usable.

    Args:
        key: trial key, two uint32 words of shape [] or [1].
        units: in 1; of integers M, whatever is asked.
        special: functions of the host or of a device; what precision a weight is drawn in.
        integer: type of the numbers.

    Returns:
        integers [most], 0 where a candidate is not usable; bool [most].
    """
    number = np.arange(config.most, dtype=np.uint32)
    hidden = draws.word(draws.stream(key, 0, draws.HIDDEN), number, FIRST)
    if law == "integer":
        return _spread(hidden, config.largest).astype(integer), hidden >= FIRST
    weights = WEIGHTS[law]
    value = laws.drawn(weights, hidden, special)
    usable = (value > 0.0) | (law != "side")
    if law in ("product", "side"):
        output = draws.word(draws.stream(key, 0, draws.OUTPUT), number, FIRST)
        value = value * laws.drawn(weights, output, special)
    rounded = special.rint(value * float(units)).astype(integer)
    return special.where(usable, rounded, integer(0)), usable


def target(key, law: str, config: Subset, units: int, special: Functions, integer):
    """The target in units, rounded to the nearest; of one that is drawn nothing is lost by that."""
    if config.target is not None:
        return integer(round(config.target * (config.largest if law == "integer" else units)))
    word = draws.word(draws.stream(key, 0, draws.TARGET), FIRST, FIRST)
    if law == "integer":
        return _spread(word, config.largest).astype(integer)
    value = laws.drawn(WEIGHTS["uniform"], word, special)
    return special.rint(value * float(units)).astype(integer)


def _spread(word, largest: int):
    """A word to -M, ..., M, of which each has the probability 1 / (2 M + 1) within 2^-32.

    It is the upper word of word (2 M + 1), less M.
    """
    values = np.uint32(2 * largest + 1)
    low = (word & np.uint32(0xFFFF)) * values >> np.uint32(16)
    high = (word >> np.uint32(16)) * values + low >> np.uint32(16)
    return high.astype(np.int32) - np.int32(largest)
