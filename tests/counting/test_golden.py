"""Golden counts: the same seed gives the same integers on every platform and version of jax.

A stream that moves must fail here loudly instead of moving every curve. To make them again after a
change of the address layout, which then needs a new name:  python tests/counting/test_golden.py
"""

import numpy as np
import pytest

from ltjax.cli import preflight
from ltjax.counting import engine
from ltjax.problem.experiment import experiment
from ltjax.system import devices

CASES = [
    (preflight.NEURON, preflight.GOLDEN),
    (preflight.NETWORK, preflight.GOLDEN_NETWORK),
]


def certified(problem):
    program = engine.prepare(
        experiment(problem.experiment).measured, problem, devices.devices("cpu")
    )
    batches = engine.run(program, [(0, preflight.TRIALS)])
    return np.sum([batch.certified for batch in batches], axis=0)


@pytest.mark.parametrize(("problem", "golden"), CASES)
def test_counts_are_the_golden_ones(problem, golden):
    np.testing.assert_array_equal(certified(problem), golden)


if __name__ == "__main__":
    for problem, _ in CASES:
        print(certified(problem).tolist())
