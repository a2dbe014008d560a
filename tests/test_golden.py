"""Golden counts: the same seed gives the same integers on every platform and version of jax.

A stream that moves must fail here loudly instead of moving every curve. To make them again after a
change of the address layout, which then needs a new name:  python tests/test_golden.py
"""

import numpy as np

from ltjax import engine
from ltjax.experiments import neuron
from ltjax.problem import Grid, Neuron, Problem

PROBLEM = Problem(
    config=Neuron(dim=3),
    target=(0.5, -0.31, 0.02),
    grid=Grid(widths=(10, 30, 90, 270), epsilons=(0.4, 0.15)),
    seed=2026,
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


def certified():
    batches = engine.run(neuron, PROBLEM, [(0, TRIALS)], engine.devices("cpu"))
    return np.sum([batch.certified for batch in batches], axis=0)


def test_counts_are_the_golden_ones():
    np.testing.assert_array_equal(certified(), GOLDEN)


if __name__ == "__main__":
    print(certified().tolist())
