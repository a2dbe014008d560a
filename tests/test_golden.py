"""Golden counts: the same seed gives the same integers on every platform and version of jax.

A stream that moves must fail here loudly instead of moving every curve. To make them again after a
change of the address layout, which then needs a new name:  python tests/test_golden.py
"""

import numpy as np

from ltjax import engine
from ltjax.experiments import network, neuron
from ltjax.problem import Grid, Network, Neuron, Problem

PROBLEM = Problem(
    config=Neuron(dim=3),
    target=(0.5, -0.31, 0.02),
    grid=Grid(widths=(10, 30, 90, 270), epsilons=(0.4, 0.15)),
    seed=2026,
)
# Slot rules alone: where an ascent ends is no matter of integers.
NETWORK = Problem(
    config=Network(sizes=(2, 3, 1), rules=("slides", "tight")),
    target=(((0.6, -0.3), (0.45, 0.55), (-0.2, 0.02)), ((0.4, -0.57, 0.25),)),
    grid=Grid(widths=(30, 150, 600), epsilons=(0.5, 0.3)),
    seed=2026,
    experiment="network",
)
TRIALS = 300
# Certified trials, [criterion][width][epsilon].
GOLDEN = [
    [[0, 0], [1, 0], [32, 0], [215, 41]],
    [[1, 0], [67, 5], [250, 75], [300, 254]],
    [[27, 0], [166, 9], [299, 148], [300, 297]],
    [[132, 2], [243, 32], [300, 196], [300, 299]],
    [[2, 0], [44, 1], [227, 49], [300, 238]],
    [[69, 7], [259, 79], [300, 266], [300, 300]],
    [[164, 21], [298, 155], [300, 294], [300, 300]],
    [[1, 0], [35, 0], [226, 47], [300, 238]],
    [[60, 4], [256, 69], [300, 265], [300, 300]],
    [[158, 17], [298, 146], [300, 294], [300, 300]],
    [[231, 37], [299, 204], [300, 296], [300, 300]],
]


GOLDEN_NETWORK = [
    [[0, 0], [2, 0], [233, 91]],
    [[6, 0], [276, 191], [300, 300]],
    [[0, 0], [1, 0], [230, 98]],
    [[3, 1], [277, 196], [300, 300]],
]


def certified(experiment, problem):
    batches = engine.run(experiment, problem, [(0, TRIALS)], engine.devices("cpu"))
    return np.sum([batch.certified for batch in batches], axis=0)


def test_counts_are_the_golden_ones():
    np.testing.assert_array_equal(certified(neuron, PROBLEM), GOLDEN)


def test_counts_of_networks_are_the_golden_ones():
    np.testing.assert_array_equal(certified(network, NETWORK), GOLDEN_NETWORK)


if __name__ == "__main__":
    print(certified(neuron, PROBLEM).tolist())
    print(certified(network, NETWORK).tolist())
