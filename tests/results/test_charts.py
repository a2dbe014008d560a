"""Charts: what is drawn equals the numbers given, and equal charts are equal bytes."""

import hashlib
import runpy
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from scipy import stats as laws

from ltjax.counting.intervals import WidthInterval
from ltjax.counting.tally import Tally
from ltjax.errors import InputError
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.results import styles
from ltjax.results.estimates import Series, needed
from ltjax.results.line_figure import (
    LINE_STYLES,
    POINTS,
    Line,
    Panel,
    chart,
    derived,
    estimated,
    measured,
)
from ltjax.results.success_figure import render
from ltjax.results.words import sources

ROOT = Path(__file__).parents[2]
X = (0.5, 0.1, 0.02)
FOUND = [WidthInterval(30, 28, 33), WidthInterval(200, None, 210), WidthInterval(None, 900, None)]


def panel(lines, title="blocks", ylabel="width k", **k):
    return Panel(title=title, xlabel="epsilon", ylabel=ylabel, lines=lines, **k)


def ordinary():
    """Panels on one scale and on another, curves with and without points, every kind of line."""
    first = [measured("d = 2", X, FOUND), derived("d = 2", "exact", X, (29, 190, 950))]
    second = [derived("d = 4", kind, X, (3, 40, 900)) for kind in LINE_STYLES if kind != "measured"]
    ratios = [line.over(np.array([29, 190, 950])) for line in first]
    panels = [
        panel(first),
        panel([*first, *second], title="pooled"),
        panel(ratios, ylabel="ratio", yscale="linear", apart=1.1),
    ]
    return chart(panels, "What it rests on. " * 20)


def bars(axes):
    (found,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    return np.array(found.get_segments())


def lines(axes, style):
    return [line for line in axes.lines if line.get_linestyle() == style]


def points(axes):
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def words(picture):
    return [text.get_text() for legend in picture.legends for text in legend.get_texts()]


def digests():
    picture = ordinary()
    return [hashlib.sha256(render(picture, s)).hexdigest() for s in (".pdf", ".svg", ".png")]


def test_points_and_bars_are_the_numbers():
    axes = chart([panel([measured("d = 2", X, FOUND)])], "").axes[0]
    (shown,) = [line for line in points(axes) if line.get_marker() == "o"]
    np.testing.assert_array_equal(shown.get_xdata(), X)
    np.testing.assert_array_equal(shown.get_ydata(), [30, 200, np.nan])
    np.testing.assert_array_equal(bars(axes)[0], [[0.5, 28], [0.5, 33]])


def test_an_open_bar_ends_in_an_arrow_beyond_all_that_is_known():
    axes = chart([panel([measured("d = 2", X, FOUND)])], "").axes[0]
    arrows = {line.get_marker(): line for line in points(axes) if "arrow" in line.get_marker()}
    below, above = arrows[r"$\downarrow$"], arrows[r"$\uparrow$"]
    (down,), (up,) = below.get_ydata(), above.get_ydata()
    assert (*below.get_xdata(), *above.get_xdata()) == (0.1, 0.02)
    assert 0 < down < 200
    assert 900 < up < np.inf
    np.testing.assert_array_equal(bars(axes)[1:, :, 1], [[down, 210], [900, up]])
    closed = chart([panel([measured("d = 2", X[:1], FOUND[:1])])], "").axes[0]
    assert len(points(closed)) == 1


def test_an_estimate_is_hollow_around_what_was_counted():
    guess = estimated("a", X, (30.0, 210.0, 950.0), (2.0, 0.0, 40.0))
    np.testing.assert_array_equal([guess.low, guess.high], [[26, 210, 870], [34, 210, 1030]])
    axes = chart([panel([guess, measured("a", X, FOUND[:1] * 3)])], "").axes[0]
    hollow, filled = points(axes)
    assert (hollow.get_markerfacecolor(), filled.get_markerfacecolor()) == (
        "none",
        styles.COLOURS[0],
    )
    assert hollow.get_markeredgecolor() == styles.COLOURS[0]
    assert hollow.get_markersize() > filled.get_markersize()
    np.testing.assert_array_equal(hollow.get_ydata(), [30, 210, 950])


def test_a_linear_axis_chooses_its_own_ticks():
    line = estimated("a", (130.0, 977.0), (0.5, 1e-10), (0.0, 0.0))
    picture = chart([panel([line], ylabel="failure probability", xscale="linear")], "")
    render(picture, ".png")
    axes = picture.axes[0]
    assert axes.get_xscale() == "linear"
    assert "130" not in {tick.get_text() for tick in axes.get_xticklabels()}
    # The numbers are long, and the label beside them is still on the page.
    assert axes.get_tightbbox().x0 >= -1e-6
    assert picture.subplotpars.left > 0.6 / picture.get_figwidth()


def test_nothing_known_draws_nothing_there():
    picture = chart([panel([measured("a", X, [*FOUND[:2], WidthInterval(None, None, None)])])], "")
    assert len(render(picture, ".png")) > 1000


def test_the_kind_tells_the_line_and_the_curve_its_colour():
    left, right, _ = ordinary().axes
    (solid,) = lines(left, "-")
    np.testing.assert_array_equal(solid.get_ydata(), [29, 190, 950])
    marks = {line.get_marker() for line in points(left) if "arrow" not in line.get_marker()}
    assert {solid.get_marker()} == marks
    assert {line.get_color() for line in left.lines} == {styles.COLOURS[0]}
    other = [line for line in right.lines if line.get_color() == styles.COLOURS[1]]
    assert len({str(line._unscaled_dash_pattern) for line in other}) == len(LINE_STYLES) - len(
        POINTS
    )
    assert {line.get_marker() for line in other}.isdisjoint(marks)


def test_a_ratio_divides_points_and_bars_alike():
    line = measured("a", X, FOUND).over(np.array([10.0, 100.0, 1000.0]))
    np.testing.assert_array_equal(line.y, [3.0, 2.0, np.nan])
    np.testing.assert_array_equal(line.low, [2.8, 0.0, 0.9])
    np.testing.assert_array_equal(line.high, [3.3, 2.1, np.inf])


def test_points_set_apart_keep_their_order_and_their_ticks():
    three = [measured(name, (1, 2), FOUND[:2]) for name in "abc"]
    axes = chart([panel(three, apart=1.2)], "").axes[0]
    shown = [line.get_xdata()[0] for line in points(axes) if line.get_marker() in "os^"]
    np.testing.assert_allclose(sorted({*shown}), [1 / 1.2, 1, 1.2])
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1", "2"]


def test_panels_of_one_quantity_share_a_scale():
    picture = ordinary()
    render(picture, ".png")
    left, right, ratio = picture.axes
    assert left.get_ylim() == right.get_ylim() != ratio.get_ylim()
    labelled = [
        any(t.label1.get_visible() for t in axes.yaxis.get_major_ticks()) for axes in picture.axes
    ]
    assert labelled == [True, False, True]
    assert [axes.get_yscale() for axes in picture.axes] == ["log", "log", "linear"]


def test_legend_names_curves_and_kinds_once():
    assert words(ordinary()) == ["d = 2", "d = 4", *(kind.meaning for kind in LINE_STYLES.values())]
    assert words(chart([panel([derived("a", "exact", X, X)])], "")) == ["a", "exact"]


def test_nothing_overlaps_or_leaves_the_page():
    picture = ordinary()
    render(picture, ".png")
    stack = [picture.axes[0].xaxis.label, *picture.legends, picture.texts[-1]]
    boxes = [artist.get_window_extent() for artist in stack]
    for above, below in pairwise(boxes):
        assert below.y1 <= above.y0
    sides = [axes.get_tightbbox() for axes in picture.axes]
    for left, right in pairwise(sides):
        assert left.x1 <= right.x0
    for box in (*boxes, *sides):
        assert picture.bbox.x0 <= box.x0
        assert box.x1 <= picture.bbox.x1
        assert picture.bbox.y0 <= box.y0
        assert box.y1 <= picture.bbox.y1


def test_equal_charts_are_equal_bytes_and_settings_do_not_matter():
    before = digests()
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "axes.grid": False}):
        assert digests() == before


def test_unusable_input_is_refused():
    with pytest.raises(
        InputError, match=r"kind must be one of measured, spread, estimated, .*, got guess"
    ):
        derived("a", "guess", X, X)
    with pytest.raises(InputError, match=r"of one length, got shapes \[\(3,\), \(2,\),"):
        derived("a", "exact", X, X[:2])
    with pytest.raises(InputError, match="of one length"):
        Line(
            label="a", kind="measured", x=np.ones(2), y=np.ones(2), low=np.ones(2), high=np.ones(1)
        )
    for panels in ([], [panel([])], [panel([derived("a", "exact", X, X)]), panel([])]):
        with pytest.raises(InputError, match="at least one line"):
            chart(panels, "")


def series(certified, undecided=0, trials=200, anytime=False, rules=("tight",), planned=None):
    """A record of blocks with so many successes at each width, at two epsilons."""
    widths = tuple(range(10, 10 + 10 * len(certified), 10))
    problem = Problem(
        config=Neuron(dim=2, constructions=("blocks",), rules=rules),
        target=(0.6, -0.3),
        grid=Grid(widths=widths, epsilons=(0.5, 0.2)),
        seed=7,
    )
    counts = np.array([certified, np.array(certified) // 2]).T[None]
    tally = Tally(
        problem,
        ((0, trials),),
        certified=counts,
        refuted=trials - counts - undecided,
        planned=planned or (trials,),
        **{"invalid": 0, "settled": 0, "seconds": 1.0, "environments": ()},
        anytime=anytime,
    )
    return Series(label="one", tally=tally)


COUNTS = [100, 183, 184, 190, 197, 199]  # of 200, at widths 10, 20, ..., 60


def upper(successes, alpha):
    """By the definition of Clopper and Pearson, from the beta law."""
    return laws.beta.ppf(1 - alpha / 2, successes + 1, 200 - successes)


def test_the_needed_width_of_a_monotone_criterion_rests_on_single_widths():
    assert upper(183, 0.05) < 0.95 < upper(184, 0.05)
    assert laws.beta.ppf(0.025, 190, 11) < 0.95 < laws.beta.ppf(0.025, 197, 4)
    found, hopeless = needed(series(COUNTS), "blocks/tight", 0.05)
    assert found == (40, 21, 50)
    assert hopeless == (None, 61, None)


def test_the_needed_width_of_another_criterion_rests_on_the_band():
    # Six widths share the error rate: 183 may be enough, and 197 may not.
    assert upper(183, 0.05 / 6) > 0.95
    assert laws.beta.ppf(0.025 / 6, 197, 4) < 0.95 < laws.beta.ppf(0.025 / 6, 199, 2)
    assert needed(series(COUNTS, rules=("sup",)), "blocks/sup", 0.05)[0] == (40, 11, 60)


def test_undecided_trials_widen_the_needed_width_downwards():
    counts = [100, 176, 186, 188]
    assert upper(176, 0.05 / 4) < 0.95 < upper(188, 0.05 / 4)
    assert needed(series(counts, rules=("sup",)), "blocks/sup", 0.05)[0].low == 21
    assert needed(series(counts, undecided=12, rules=("sup",)), "blocks/sup", 0.05)[0].low == 11


def test_sources_tell_trials_seed_and_problem():
    one = series([100], planned=(100, 200), anytime=True)
    digest = one.tally.problem.digest()
    other = series([100], trials=150)
    assert other.tally.problem.digest() == digest
    assert sources([one, other, one]) == (
        "200 trials, run by more than one plan, anytime intervals, seed 7: "
        f"one (problem {digest}); one (problem {digest}). "
        f"150 trials, seed 7: one (problem {digest})."
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("epsilon_curve.py", "--trials 40 --dims 2"),
        ("depth_curve.py", "--trials 8 --depths 1 2 --hiddens 2 --dims 2"),
        ("tail_curve.py", "--trials 40 --draws 4 --dims 2"),
    ],
)
def test_scripts_draw_at_toy_size_and_the_same_again(tmp_path, capsys, script, words):
    main = runpy.run_path(str(ROOT / "scripts" / script))["main"]
    drawn = []
    for name in ("a.svg", "b.svg"):
        main([*words.split(), "--data", str(tmp_path), "--figure", str(tmp_path / name)])
        drawn.append((tmp_path / name).read_bytes())
    assert drawn[0] == drawn[1]
    assert len(drawn[0]) > 10_000
