"""Bounds as text: whatever the number, what is printed is true of it."""

import math
import re
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from test_report import problem, tally
from test_ticket_commands import call, said

import ltjax
from ltjax import api, decimals
from ltjax.audits import claim
from ltjax.counting import intervals
from ltjax.errors import InputError
from ltjax.experiments.features.problems import features
from ltjax.networks import domains, pairs, targets
from ltjax.supnorm import brackets
from ltjax.supnorm.brackets import Apart
from ltjax.system import stops
from ltjax.tickets import gap_report, pruning, report, verifying

BALL = domains.region(1)
# Halves of the last digit, carries, powers of ten, the ends of float64, and floats of other kinds.
NUMBERS = [
    1.2345649, 1.23456, 9.999999, 0.1, 1 / 3, 2.0, 123456.5, 999999.5, 1234567.0, 1e22, 1e-4,
    9.9e-5, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, float(np.float32(0.1)),
    np.float64(2 / 3),
]  # fmt: skip


def told(text):
    """What a decimal number says, exactly."""
    return Fraction(Decimal(text))


@pytest.mark.parametrize("value", NUMBERS)
def test_both_ends_are_true_and_near(value):
    exact = Fraction(float(value))
    for digits in (3, 6, 17):
        low, high = decimals.below(value, digits), decimals.above(value, digits)
        assert told(low) <= exact <= told(high)
        assert told(high) - told(low) <= exact * Fraction(10) ** (1 - digits)
        assert max(len(Decimal(text).as_tuple().digits) for text in (low, high)) <= digits
    low, high = decimals.fixed_below(value, 4), decimals.fixed_above(value, 4)
    assert told(low) <= exact <= told(high) <= told(low) + Fraction(1, 10**4)
    assert float(decimals.exact(value)) == float(value)


def test_random_numbers_of_every_size():
    rng = np.random.default_rng(0)
    for value in rng.uniform(1, 10, 300) * 10.0 ** rng.integers(-300, 300, 300):
        assert told(decimals.below(value)) <= Fraction(value) <= told(decimals.above(value))
    # To nearest, half of them would be false.
    nearest = [told(f"{v:.6g}") >= Fraction(v) for v in rng.uniform(1, 10, 300)]
    assert 100 < sum(nearest) < 200


def test_numbers_that_need_no_rounding_are_told_as_they_are():
    for value, text in ((0.0, "0"), (-0.0, "0"), (0.5, "0.5"), (2.0, "2"), (1e6, "1e+06")):
        assert decimals.below(value) == decimals.above(value) == text
    assert decimals.above(math.inf) == decimals.fixed_above(math.inf, 4) == "inf"
    assert decimals.below(Fraction(1, 3)) == "0.333333"
    assert decimals.above(Fraction(10) ** 600) == "1e+600"
    assert (decimals.fixed_below(0.5, 4), decimals.fixed_above(1.0, 4)) == ("0.5000", "1.0000")
    assert (decimals.exact(1e-9), decimals.exact(np.float64(0.3))) == ("1e-09", "0.3")


@pytest.mark.parametrize("apart", [1e-2, 1e-6, 1e-9, 2.0**-52, 0.0])
def test_a_bracket_has_the_digits_that_its_distance_asks_for(apart):
    lower = 1.2345649
    upper = lower * (1.0 + apart)
    low, high = decimals.bracket(lower, upper)
    assert told(low) <= Fraction(lower) <= Fraction(upper) <= told(high)
    # A fiftieth more than the distance, or one step of the last of 17 digits at either end.
    assert told(high) - told(low) <= Fraction(upper - lower) * Fraction(51, 50) + Fraction(
        2, 10**16
    )
    assert decimals.bracket(0.0, 0.0) == ("0", "0")
    assert decimals.bracket(0.0, 1.2345649) == ("0", "1.23457")
    assert decimals.bracket(1.0, math.inf) == ("1", "inf")


# Every report.


def rows(text):
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_the_report_of_two_networks():
    found = rows(
        gap_report.report(Apart(0.0, 1.2345649, 0), Apart(1.2345649, 1.2345659, 7), 1e-6, BALL)
    )
    assert found["upper bound before the search"] == "1.23457"
    assert told(found["upper bound"]) >= Fraction(1.2345659)
    assert told(found["lower bound"]) <= Fraction(1.2345649)
    assert told(found["upper bound"]) < Fraction(1.2345660)
    assert told(found["upper / lower"]) >= Fraction(1.2345659) / Fraction(1.2345649)
    # The distance of one number from 0, as a reader would try it.
    first, second = [np.array([[1.2345649]])], [np.array([[0.0]])]
    (start,) = brackets.closing(*brackets.pair_of(first, second), 0.01, stop=lambda: True)
    found = rows(gap_report.report(start, start, 0.01, BALL))
    assert told(found["lower bound"]) <= Fraction(1.2345649) <= told(found["upper bound"])


def test_the_command_prints_bounds_that_are_true(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    np.savez("zero.npz", np.array([[0.0]]))
    for value in (1.2345649, 0.1, 7.77777749e-5):
        np.savez("one.npz", np.array([[value]]))
        assert call("gap", "one.npz", "zero.npz", "--max-seconds", "0") == 0
        found, _ = said(capfd)
        assert told(found["lower bound"]) <= Fraction(value) <= told(found["upper bound"])
        assert Fraction(value) <= told(found["upper bound before the search"])


@pytest.mark.parametrize(
    ("ends", "gap", "reached"),
    [
        ((1.0, 1.01), 0.01, False),  # by less than float64 can tell: 1.01 is above 1 + 0.01
        ((1.0, 1.0099999), 0.01, True),
        ((1.0, 1.02), 0.01, False),
        ((0.0, 1.0), 0.01, False),
        ((0.0, 0.0), 0.01, True),
        ((1.0, math.inf), 0.01, False),
        ((1.0, 1.000001), 9.9999e-7, False),
    ],
)
def test_a_gap_that_is_not_reached_is_told(ends, gap, reached):
    assert reached == _reached(*ends, gap)
    found = rows(gap_report.report(Apart(0.0, 2.0, 0), Apart(*ends, 1), gap, BALL))
    assert ("gap" in found) is not reached
    if not reached:
        assert found["gap"] == f"not reached (asked {decimals.exact(gap)})"


def _reached(lower, upper, gap):
    return upper < math.inf and Fraction(upper) <= (1 + Fraction(gap)) * Fraction(lower)


def test_the_report_of_a_ticket():
    layers = [2.5 * w for w in targets.random_target(3, (3, 4, 2))]
    ticket = pruning.prune(layers, epsilon=0.123456799, seed=3)
    verdict = verifying.Verdict(True, 0.12345649, 0.12345679, ticket.epsilon)
    found = rows(report.report(ticket, layers, verdict, gap=1e-6))
    assert told(found["lower bound"]) <= Fraction(verdict.lower)
    assert Fraction(verdict.upper) <= told(found["upper bound"])
    # To six digits the error and what it must stay below would look alike.
    assert float(found["epsilon"]) == ticket.epsilon
    assert found["upper bound"] < found["epsilon"] == "0.123456799"
    assert found["gap"] == "not reached (asked 1e-06)"
    assert "gap" not in rows(report.report(ticket, layers, verdict))
    nothing = told(found["keeping nothing errs by at least"])
    assert 0.99 * pairs.reach(layers) < nothing <= (1 + 1e-9) * pairs.reach(layers)


def test_no_bound_of_doing_nothing_is_above_the_truth():
    # Of one layer the supremum is its norm: 5 and, with scales in the way, 5 again.
    for scale in (1.0, 1e200, 1e-200):
        layers = [scale * np.array([[0.3, 0.4]]), np.array([[1.0 / scale]])]
        ticket = pruning.prune(layers, epsilon=0.1)
        assert 0.4999 < report._nothing(ticket, layers, stops.never) <= 0.5
    # Two layers that cancel: what is left of their product is rounding, and no proof of anything.
    first = np.array([[0.1, 0.3], [0.1, 0.3]])
    assert pairs.reach([first, np.array([[1.0, -1.0]]) / 3.0]) == 0.0


@pytest.mark.parametrize(
    ("refused", "found"),
    [
        (
            lambda: brackets.check(9.9999999e-7, 1.0),
            "gap must be at least 1e-06, .* got 9.9999999e-07",
        ),
        (lambda: ltjax.neuron(epsilons=(9.9999999e-10,)), "at least 1e-09, got 9.9999999e-10"),
        (lambda: features(radius=1.00000001), "at most 1, .* got 1.00000001"),
        (lambda: ltjax.neuron(target=[1.0000001]), "1/sqrt.1. = 1, got 1.0000001 at .* 0.999999"),
        (
            lambda: ltjax.network(target=[np.array([[1.0000001]])]),
            "got 1.00001 times that .* by 1.00001",
        ),
    ],
)
def test_a_value_is_not_refused_in_the_words_of_one_that_is_not(refused, found):
    with pytest.raises(InputError, match=found):
        refused()


def test_the_table_of_a_curve_is_true_of_its_numbers():
    asked = problem(epsilons=(0.12345679, 0.12345671))
    counts, ranges = np.full(asked.shape, 3), ((0, 7),)
    text = api.table(tally(asked, counts, ranges=ranges, planned=(7,)), every=True)
    low, high = (float(end) for end in intervals.clopper_pearson(3, 7, 0.05))
    rows = re.findall(r"epsilon (\S+) +\d+ +3/7 +(\S+) to (\S+)", text)
    assert {float(epsilon) for epsilon, _, _ in rows} == {0.12345679, 0.12345671}
    for _, start, end in rows:
        assert told(start) <= Fraction(low) <= Fraction(high) <= told(end)
        assert told(end) - told(start) <= Fraction(high) - Fraction(low) + Fraction(2, 10**4)


def test_intervals_of_an_audit_are_rounded_outwards():
    low, high = claim._ends(995, 995, 1000, 1e-6)
    check = claim.at_least("says", 0.9876543, 995, 1000, 1e-6)
    start, end = check.interval.split(" to ")
    assert told(start) <= Fraction(low) <= Fraction(high) <= told(end)
    assert check.predicted == "at least 0.9876"
    assert claim.at_least("says", 0.95, 995, 1000, 1e-6).predicted == "at least 0.95"
