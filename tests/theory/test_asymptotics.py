"""Asymptotic widths are told where they are near the exact ones, and not elsewhere."""

import math

import numpy as np
import pytest

import ltjax
from ltjax import theory
from ltjax.cli import program
from ltjax.errors import InputError
from ltjax.experiments.neuron.theory import FAMILIES, needed_widths
from ltjax.networks.targets import worst_target
from ltjax.problem.criterion import Criterion
from ltjax.problem.experiment import experiment
from ltjax.validate import MAX_WIDTH

DELTAS = (1e-9, 1e-3, 0.05, theory.RARE)
OFTEN = (np.nextafter(theory.RARE, 1.0), 0.3, 0.9, 0.999)


def spread(dim):
    """The worst target, and one with a weight that outweighs the others."""
    lone = np.full(dim, 1e-3)
    lone[0] = 0.99
    return np.full(dim, dim**-0.5), lone


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("dim", [1, 2, 4, 16])
def test_the_law_of_rare_failures_is_near(dim, delta):
    for weights in spread(dim):
        for epsilon in (0.99, 0.5, 0.1):
            eta = theory.tolerance("tight", dim, epsilon)
            sharp = theory.sharp_width(weights, eta, delta)
            shared = theory.shared_width(weights, eta, delta)
            blocks = theory.blocks_width(weights, eta, delta)
            assert abs(sharp - shared) <= 1 + 0.02 * shared
            assert abs(dim * sharp - blocks) <= dim + 0.02 * blocks


@pytest.mark.parametrize("delta", DELTAS)
@pytest.mark.parametrize("rule", ["tight", "slides"])
def test_the_leading_order_is_enough_and_near(rule, delta):
    for dim in (2, 4, 16):
        for epsilon in (0.5, 0.1):
            eta = theory.tolerance(rule, dim, epsilon)
            shared = theory.shared_width(np.full(dim, dim**-0.5), eta, delta)
            assert shared <= theory.leading_width(rule, dim, epsilon, delta) <= 1.25 * shared


@pytest.mark.parametrize("delta", OFTEN)
def test_where_failures_are_frequent_nothing_is_told(delta):
    worst = np.full(2, 0.5**0.5)
    assert math.isnan(theory.sharp_width(worst, 0.07, delta))
    assert math.isnan(theory.leading_width("tight", 2, 0.1, delta))
    assert math.isnan(theory.asymptotic_block("tight", (2, 3, 1), 0.1, delta))
    # There the equation solved for them is wrong by as much as is needed.
    assert theory.poisson_width(worst, 0.07, 0.99) < 0.1 * theory.shared_width(worst, 0.07, 0.99)


def test_nor_for_errors_as_large_as_the_target():
    assert math.isnan(theory.leading_width("tight", 2, 0.6, 0.05))
    # Beside exactly 16 neurons it would have been 36.
    assert theory.shared_width(np.full(2, 0.5**0.5), 0.99 / 2**0.5, 0.05) == 16


@pytest.mark.parametrize("delta", [0.0, 1.0, 2.0, math.nan])
def test_a_delta_that_is_none_is_refused(delta):
    for ask in (
        lambda: theory.sharp_width([0.5], 0.1, delta),
        lambda: theory.leading_width("tight", 2, 0.1, delta),
        lambda: theory.asymptotic_block("tight", (2, 2), 0.1, delta),
    ):
        with pytest.raises(InputError, match="delta must lie strictly between 0 and 1"):
            ask()


@pytest.mark.parametrize(("delta", "told"), [("0.1", True), ("0.11", False), ("0.9", False)])
def test_a_dash_stands_where_there_is_no_asymptotic_width(capfd, delta, told):
    assert program.main(["width", "--dim", "4", "--epsilon", "0.1", "--delta", delta]) == 0
    rows = [line.split() for line in capfd.readouterr().out.splitlines() if "/" in line]
    assert len(rows) == 6
    for row in rows:
        assert row[1].isdigit()
        assert [word == "-" for word in row[-2:]] == [not told] * 2


@pytest.mark.parametrize(("delta", "told"), [(0.1, True), (0.9, False)])
def test_a_table_of_a_run_has_the_same_dash(delta, told):
    neuron = ltjax.neuron(2, (0.5,), (8,), "worst", ("blocks",), ("tight",))
    network = ltjax.network(2, 2, 2, (0.5,), (8,), "worst")
    for problem in (neuron, network):
        known = experiment(problem.experiment).theory
        exact, order = known.widths(problem, Criterion("blocks", "tight", True), 0.5, delta)
        assert exact.removeprefix("at most ").isdigit()
        assert (order != "-") == told


def test_a_width_beyond_all_numbers_is_told_at_any_delta():
    for delta in (0.05, 0.9):
        for family in FAMILIES:
            told = needed_widths((1.0,), family, "tight", 1e-6, delta)
            assert told[0] == f"over {MAX_WIDTH}"


def test_the_block_of_a_network_is_enough():
    for delta in DELTAS:
        block = theory.block_size("separate", worst_target((4, 4, 2)), "tight", 0.5, delta).neurons
        assert block <= theory.asymptotic_block("tight", (4, 4, 2), 0.5, delta) <= 1.25 * block
