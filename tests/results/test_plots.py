"""Figures: what is drawn equals what was counted, and equal figures are equal bytes."""

import hashlib
import math
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from ltjax.counting import intervals
from ltjax.counting.tally import Tally
from ltjax.errors import InputError
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.results import styles
from ltjax.results.estimates import Series, estimate
from ltjax.results.success_figure import curve, figure, render

WIDTHS = (16, 64, 128, 1024, 4096)
SUFFIXES = (".pdf", ".svg", ".png")
TWO_PLANS = {"planned": (200, 300), "anytime": True}


def tally(
    widths=WIDTHS, epsilons=(0.5, 0.2, 0.1), trials=1000, undecided=0, invalid=0, anytime=False, **k
):
    """Counts that rise with width and epsilon, at another pace for every criterion."""
    problem = Problem(
        config=Neuron(dim=2),
        target=(0.6, -0.3),
        grid=Grid(widths=widths, epsilons=epsilons),
        seed=k.pop("seed", 7),
    )
    pace = np.arange(1, len(problem.criteria) + 1)[:, None, None]
    grid = np.asarray(problem.grid.widths)[:, None] * np.asarray(problem.grid.epsilons)
    certified = np.int64((trials - undecided - invalid) * (1 - np.exp(-pace * grid / 300)))
    counts = {"certified": certified, "refuted": trials - undecided - invalid - certified}
    rest = {"settled": 0, "seconds": 1.0, "planned": (trials,), "environments": ()}
    ranges = ((0, trials),) if trials else ()
    return Tally(problem, ranges, invalid=invalid, anytime=anytime, **{**counts, **rest, **k})


def series(label="a record", predictions=(), lemma=None, **k):
    return Series(label=label, tally=tally(**k), predictions=predictions, lemma=lemma or {})


def prediction(one, criterion="blocks/tight", kind="exact"):
    lower = np.linspace(0.1, 0.7, one.tally.certified[0].size).reshape(one.tally.certified[0].shape)
    return SimpleNamespace(
        criterion=criterion, kind=kind, lower=lower, upper=lower + 0.2 * (kind == "bracket")
    )


def drawn(series, criterion="blocks/tight", **k):
    return curve(Figure().add_subplot(), series, criterion, **k)


def points(axes):
    return [
        line for line in axes.lines if line.get_linestyle() == "None" and len(line.get_xdata()) > 1
    ]


def lines(axes, style):
    """Dashed and the like; the level of the lemma spans the Axes and is none of them."""
    return [x for x in axes.lines if x.get_linestyle() == style and x.get_color() != styles.GREY]


def bands(axes):
    return [c for c in axes.collections if isinstance(c, PolyCollection)]


def gaps(axes):
    width = styles.gap("k")["linewidth"]
    return [
        c
        for c in axes.collections
        if isinstance(c, LineCollection) and c.get_linewidth()[0] == width
    ]


def words(picture):
    legends = [text.get_text() for legend in picture.legends for text in legend.get_texts()]
    return "\n".join([*legends, picture.get_supxlabel()])


def ordinary():
    """A figure with something of everything: records, panels, gaps, lemmas, all kinds of lines."""
    one, other = tally(undecided=90), tally(widths=(50, 500), trials=300, seed=8, **TWO_PLANS)
    kinds = (("exact", "blocks/tight"), ("bracket", "blocks/sup"), ("lower", "blocks/sup"))
    first = Series(
        label="one",
        tally=one,
        predictions=[prediction(SimpleNamespace(tally=one), c, kind) for kind, c in kinds],
        lemma={0.5: 200, 0.2: 2, 0.1: 42_000_000},
    )
    second = Series(label="other", tally=other)
    return figure([first, second], ["blocks/tight", "blocks/sup"], note="Versions.")


def digests():
    picture = ordinary()
    return [hashlib.sha256(render(picture, suffix)).hexdigest() for suffix in SUFFIXES]


def test_points_are_the_counts():
    one = series(undecided=90)
    axes = drawn([one], "blocks/sup")
    index = one.tally.criterion("blocks/sup")
    assert len(points(axes)) == 3
    for column, line in enumerate(points(axes)):
        np.testing.assert_array_equal(line.get_xdata(), WIDTHS)
        np.testing.assert_array_equal(
            line.get_ydata(), one.tally.certified[index, :, column] / one.tally.trials
        )


def test_exact_curve_is_the_prediction_in_the_colour_of_its_points():
    one = series()
    exact, foreign = prediction(one), prediction(one, "blocks/sup")
    axes = drawn([Series(label="a", tally=one.tally, predictions=(exact, foreign))])
    dashed = lines(axes, "--")
    assert [line.get_color() for line in dashed] == [line.get_color() for line in points(axes)]
    np.testing.assert_array_equal(np.stack([x.get_ydata() for x in dashed], axis=1), exact.lower)


@pytest.mark.parametrize(("kind", "style", "sides"), [("lower", "-.", 1), ("bracket", "--", 2)])
def test_bounds_have_a_line_for_each_side(kind, style, sides):
    one = series()
    axes = drawn([Series(label="a", tally=one.tally, predictions=(prediction(one, kind=kind),))])
    assert len(lines(axes, style)) == 3 * sides


def test_where_two_sides_meet_one_line_is_drawn():
    one = series(epsilons=(0.5,))
    bounds = prediction(one, kind="bracket")
    bounds.upper[:, 0] = bounds.lower[:, 0] + (0.1, 0.1, 0.001, 0.001, 0.001)
    axes = drawn([Series(label="a", tally=one.tally, predictions=(bounds,))])
    low, high = (line.get_ydata() for line in lines(axes, "--"))
    np.testing.assert_array_equal(high, bounds.upper[:, 0])
    # The lower one ends where it reaches the other, at the first width where they meet.
    np.testing.assert_array_equal(low[:3], bounds.lower[:3, 0])
    assert np.isnan(low[3:]).all()


def test_dkw_band_is_shared_by_all_curves():
    # 12 curves at 5 % together, 1000 trials: half width sqrt(ln(2 * 12 / 0.05) / 2000) = 0.05556.
    one = series()
    low, high = estimate(one, "blocks/tight", 12).band
    fraction = one.tally.certified[one.tally.criterion("blocks/tight")] / 1000
    half = math.sqrt(math.log(480) / 2000)
    np.testing.assert_allclose(low, np.clip(fraction - half, 0, 1), atol=1e-15)
    np.testing.assert_allclose(high, np.clip(fraction + half, 0, 1), atol=1e-15)
    axes = drawn([one], curves=12)
    for column, band in enumerate(bands(axes)):
        heights = band.get_paths()[0].vertices[:, 1]
        assert {*low[:, column], *high[:, column]} <= set(heights)


@pytest.mark.parametrize(
    ("criterion", "anytime", "interval"),
    [("blocks/sup", False, "clopper_pearson"), ("blocks/tight", True, "anytime")],
)
def test_without_dkw_the_band_is_a_union_bound(criterion, anytime, interval):
    one = series(anytime=anytime)
    counts = one.tally.certified[one.tally.criterion(criterion)]
    seen = estimate(one, criterion, 3)
    for got, alpha in ((seen.bar, 0.05), (seen.band, 0.05 / 15)):
        low, high = getattr(intervals, interval)(counts, 1000, alpha)
        np.testing.assert_array_equal(got[0], low)
        np.testing.assert_array_equal(got[1], high)


def test_undecided_and_broken_trials_show():
    one = series(undecided=90, invalid=20)
    seen = estimate(one, "blocks/tight", 3)
    np.testing.assert_allclose(seen.possible - seen.certified, 0.09)
    # Intervals hold whichever way the undecided trials would have gone.
    for low, high in (seen.bar, seen.band):
        assert np.all(low <= seen.certified)
        assert np.all(high >= seen.possible)
    shown = gaps(drawn([one]))
    assert len(shown) == 3
    ends = np.array(shown[0].get_segments())[:, :, 1]
    np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 0.09)
    text = words(figure([one], ["blocks/tight"]))
    assert "undecided" in text
    assert "20 broken and counted as failures" in text
    assert not gaps(drawn([series()]))
    assert "undecided" not in words(figure([series()], ["blocks/tight"]))


@pytest.mark.parametrize("count", [1, 3, 8, 11, 20])
@pytest.mark.parametrize("records", [1, 2, 3])
def test_no_two_curves_share_colour_and_marker(count, records):
    epsilons = tuple(np.linspace(0.9, 0.05, count))
    picture = figure([series(str(i), epsilons=epsilons) for i in range(records)], ["blocks/tight"])
    pairs = [(line.get_color(), line.get_marker()) for line in points(picture.axes[0])]
    assert len(pairs) == count * records
    assert len(set(pairs)) == len(pairs)
    if records == 1 and count <= 8:
        assert len({colour for colour, _ in pairs}) == len({mark for _, mark in pairs}) == count
    assert len(render(picture, ".png")) > 1000


def test_legend_names_methods_lines_and_records_once():
    text = words(ordinary())
    for phrase in (
        *("95 % Clopper\u2013Pearson or anytime, one point", "95 % band, all widths: DKW"),
        *("all widths: Clopper\u2013Pearson, Bonferroni", "all widths: anytime, Bonferroni"),
        *("exact probability\n", "exact: on one of these or between two", "proved: at least"),
        *("\u03b5 = 0.5 (lemma: k = 200)", "(lemma: k = 4.2\u00d710\u2077)", "lemma: success 0.95"),
        *("record one", "record other"),
    ):
        assert text.count(phrase) == 1, phrase
    for phrase in (
        "one: d = 2, 1,000 trials, seed 7",
        "300 trials, run by more than one plan, anytime intervals, seed 8",
    ):
        assert phrase in text
    # 2 panels, 3 epsilons, 2 records.
    assert "95 % for the 12 curves together" in text
    assert "Versions." in text


def test_lemma_points_at_its_width_or_off_the_axis():
    axes = drawn([series(lemma={0.5: 200, 0.2: 2, 0.1: 42_000_000})], delta=0.1)
    marks = {line.get_marker(): line for line in axes.lines if len(line.get_xdata()) == 1}
    left, right = axes.get_xlim()
    assert {mark: float(line.get_xdata()[0]) for mark, line in marks.items()} == {
        "^": 200.0,
        "<": left,
        ">": right,
    }
    assert all(line.get_ydata()[0] == 0.9 for line in marks.values())


@pytest.mark.parametrize("widths", [(1300,), (512, 1024), (40, 50, 60), (1, 2**30)])
def test_few_or_far_widths_have_ticks(widths):
    picture = figure([series(widths=widths)], ["blocks/tight", "blocks/sup"])
    render(picture, ".png")
    for axes in picture.axes:
        left, right = axes.get_xlim()
        labels = [t for t in axes.get_xticklabels() if left <= t.get_position()[0] <= right]
        assert any(label.get_text() for label in labels)


@pytest.mark.parametrize("certain", [0, 1])
def test_success_never_and_always(certain):
    none = np.zeros_like(tally().certified)
    counts = {"certified": none + 1000 * certain, "refuted": none + 1000 * (1 - certain)}
    picture = figure([series(**counts)], ["blocks/tight", "blocks/sup"])
    for axes in picture.axes:
        assert all(set(line.get_ydata()) == {float(certain)} for line in points(axes))
    assert len(render(picture, ".svg")) > 1000


@pytest.mark.parametrize("label", ["runs/a$b_$.jsonl", "_hidden", "x" * 300])
def test_any_label_is_shown_within_the_figure(label):
    picture = figure([series(label), series("b")], ["blocks/tight"])
    render(picture, ".png")
    assert "record b" in words(picture)
    assert label[-50:] in words(picture)
    page = picture.bbox
    for artist in (*picture.legends, *picture.texts):
        box = artist.get_window_extent()
        assert page.x0 <= box.x0
        assert box.x1 <= page.x1
        assert page.y0 <= box.y0


def test_nothing_below_the_panels_overlaps():
    picture = ordinary()
    render(picture, ".png")
    # From above: the axis, three legends, the caption.
    stack = [picture.axes[0].xaxis.label, *picture.legends, picture.texts[-1]]
    boxes = [artist.get_window_extent() for artist in stack]
    assert len(boxes) == 5
    for above, below in pairwise(boxes):
        assert below.y1 <= above.y0


def test_equal_figures_are_equal_bytes_and_settings_do_not_matter():
    before = digests()
    with matplotlib.rc_context({"font.size": 30, "font.family": "serif", "axes.grid": False}):
        settings = dict(matplotlib.rcParams)
        assert digests() == before
        assert dict(matplotlib.rcParams) == settings


def test_equal_bytes_in_every_process(tmp_path):
    odd = tmp_path / "matplotlibrc"
    odd.write_text(
        "font.size: 23\nsvg.hashsalt: other\nlines.linewidth: 9\nsavefig.dpi: 30\n"
        "text.usetex: True\nsavefig.bbox: tight\nfont.family: serif\n"
    )
    here = Path(__file__).parent
    code = "import ltjax.results.success_figure, test_plots; print(*test_plots.digests())"
    for extra in (
        {"PYTHONHASHSEED": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
        {"PYTHONHASHSEED": "2", "MPLBACKEND": "nonsense", "MATPLOTLIBRC": str(odd)},
    ):
        path = os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, **extra}
        command = [sys.executable, "-c", code]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert out.stdout.split() == digests()


def test_files_carry_problem_and_seed():
    one = series()
    picture = figure([one], ["blocks/tight"])
    digest = one.tally.problem.digest().encode()
    for suffix, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        data = render(picture, suffix)
        assert data.startswith(start)
        for text in (b"seed 7, problem " + digest, b"blocks/tight"):
            assert text in data
    assert b"CreationDate" not in render(picture, ".pdf")


@pytest.mark.parametrize("suffix", [".jpg", "png", "", ".PNG"])
def test_render_names_the_suffixes_it_knows(suffix):
    picture = figure([series()], ["blocks/tight"])
    with pytest.raises(InputError, match=r"one of \.pdf, \.svg, \.png, got"):
        render(picture, suffix)


def test_unusable_input_is_refused():
    with pytest.raises(InputError, match="a record must hold at least one trial"):
        series(trials=0)
    with pytest.raises(InputError, match="criterion must be one of blocks/slides"):
        figure([series()], ["blocks/loose"])
    with pytest.raises(InputError, match="criteria must name at least one"):
        figure([series()], [])
    with pytest.raises(InputError, match="series must hold at least one"):
        figure([], ["blocks/tight"])


def test_records_of_one_epsilon_differ_in_colour_and_marker():
    axes = drawn([series(str(i), epsilons=(0.2,)) for i in range(4)])
    assert len({line.get_color() for line in points(axes)}) == 4
    assert len({line.get_marker() for line in points(axes)}) == 4
