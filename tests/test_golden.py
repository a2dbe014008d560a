"""Golden counts: the same seed gives the same integers on every platform and version of jax.

A stream that moves must fail here loudly instead of moving every curve. To make them again after a
change of the address layout, which then needs a new name:  python tests/test_golden.py
"""

import numpy as np
import pytest

from ltjax import engine, machine, preflight
from ltjax.experiments import network, neuron

CASES = [
    (neuron, preflight.NEURON, preflight.GOLDEN),
    (network, preflight.NETWORK, preflight.GOLDEN_NETWORK),
]


def certified(experiment, problem):
    program = engine.prepare(experiment, problem, machine.devices("cpu"))
    batches = engine.run(program, [(0, preflight.TRIALS)])
    return np.sum([batch.certified for batch in batches], axis=0)


@pytest.mark.parametrize(("experiment", "problem", "golden"), CASES)
def test_counts_are_the_golden_ones(experiment, problem, golden):
    np.testing.assert_array_equal(certified(experiment, problem), golden)


if __name__ == "__main__":
    for experiment, problem, _ in CASES:
        print(certified(experiment, problem).tolist())
