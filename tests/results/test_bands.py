"""Bands hold for all curves shown at once: each has its share of the error, and no more."""

import math

import numpy as np
import pytest
from test_plots import bands, series
from test_report import TRIALS, expected, problem, tally

from ltjax import api
from ltjax.counting import intervals
from ltjax.results.estimates import Series, estimate
from ltjax.results.success_figure import figure


def reach(count, trials=1000):
    """Half of the height of a band of Dvoretzky, Kiefer, Wolfowitz that is one of `count`."""
    return math.sqrt(math.log(2 * count / 0.05) / (2 * trials))


@pytest.mark.parametrize(
    ("epsilons", "constructions", "count"),
    [((0.2,), ("blocks",), 1), ((0.5, 0.2), ("blocks",), 2), ((0.2,), ("blocks", "pooled"), 3)],
)
def test_a_table_tests_its_curves_together(epsilons, constructions, count):
    """A point as far off as the band of one curve more would allow, or of one curve fewer."""
    asked = problem(epsilons=epsilons, constructions=constructions)
    for off, verdict in ((count - 0.5, "inside"), (count + 0.5, "OUTSIDE")):
        certified = expected(asked)
        exact = float(api.predict(asked)["blocks/tight"].lower[2, -1])
        certified[0, 2, -1] = round(TRIALS * (exact + reach(off)))
        text = api.table(tally(asked, certified))
        assert f"{count} curves tested together" in text
        first = text.split("whole curves against")[1].splitlines()[len(epsilons)]
        assert first.split()[2] == verdict


def test_the_needed_width_of_a_table_rests_on_its_bands():
    asked = problem(epsilons=(0.5, 0.2))
    # Of two curves, 997 of 1,000 at the last width do for 0.95, and 993 do not.
    assert 0.993 - reach(2) < 0.95 < 0.997 - reach(2)
    assert 0.993 - reach(1) > 0.95
    for count, end in ((997, "128"), (993, "beyond")):
        certified = np.full(asked.shape, count)
        certified[:, :4] = 0
        row = api.table(tally(asked, certified)).splitlines()[-1].split()
        assert row[0] == "blocks/tight"
        assert row[6] == end


@pytest.mark.parametrize(("criteria", "records"), [(1, 1), (2, 1), (1, 2), (2, 3)])
def test_a_figure_shares_its_error_among_all_curves(criteria, records):
    names = ["blocks/tight", "shared/tight"][:criteria]
    shown = [series(str(number), seed=number) for number in range(records)]
    picture = figure(shown, names)
    count = criteria * records * 3  # epsilons
    for axes, name in zip(picture.axes, names, strict=True):
        assert len(bands(axes)) == records * 3
        for column, band in enumerate(bands(axes)):
            fraction = curve_of(shown[column // 3], name)[:, column % 3]
            heights = band.get_paths()[0].vertices[:, 1]
            for value in fraction:
                for end in (value - reach(count), value + reach(count)):
                    assert np.min(np.abs(heights - np.clip(end, 0, 1))) < 1e-12


def curve_of(one, name):
    return one.tally.certified[one.tally.criterion(name)] / one.tally.trials


@pytest.mark.parametrize("anytime", [False, True])
def test_a_union_bound_counts_every_width_of_every_curve(anytime):
    one = Series(label="", tally=tally(problem(rules=("sup",)), anytime=anytime))
    interval = intervals.anytime if anytime else intervals.clopper_pearson
    counts = one.tally.certified[0]
    for curves_shown in (1, 7):
        low, high = interval(counts, TRIALS, 0.05 / (curves_shown * 5))
        np.testing.assert_array_equal(estimate(one, "blocks/sup", curves_shown).band, [low, high])
