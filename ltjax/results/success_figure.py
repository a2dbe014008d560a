"""Pictures of success against width: what was counted beside what is predicted.

`curve` draws one criterion on given Axes; `figure` puts one panel per criterion above a legend and
a caption; `render` turns it into bytes, the same bytes whatever the caller's matplotlib settings,
the clock and the process. Nothing here touches the disk or the global state of pyplot.

How to read a curve. A filled point is the fraction of trials certified, its bar an interval for
that point alone; the shaded band covers all curves of the figure, at all their widths, at once.
A pale column rises from a point to the fraction not refuted: the undecided trials.
"""

import contextlib
import io
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from ltjax.results import styles

with styles.importing_matplotlib():
    import matplotlib.style

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from ltjax.errors import InputError
from ltjax.results.estimates import (
    LEVEL,
    Estimate,
    Predicted,
    Series,
    all_epsilons,
    count_curves,
    estimate,
    methods,
)
from ltjax.results.words import caption

Key = list[tuple[Any, str]]  # of a legend: handles and what they mean

# Inches. The panels keep their size; a longer legend or caption makes the figure higher.
LEFT, RIGHT, TOP, BOTTOM, EDGE = 0.6, 0.15, 0.28, 0.46, 0.08
PANEL_WIDTH, PANEL_HEIGHT, LEAST_WIDTH = 2.8, 2.6, 6.5
LETTERS = 17  # of the caption, to an inch
LONGEST = 60  # name of a record in the legend; the caption has it in full


@contextlib.contextmanager
def house() -> Iterator[None]:
    """A scope in which matplotlib and numpy are as every picture finds them."""
    with (
        matplotlib.style.context(["default", styles.HOUSE]),
        np.printoptions(**styles.PRINTED),
        np.errstate(under="ignore"),
    ):
        yield


def curve(
    axes: Axes,
    series: Sequence[Series],
    criterion: str,
    *,
    delta: float = 0.05,
    curves: int | None = None,
) -> Axes:
    """Draw success probability against width, one curve for each epsilon of each record.

    Args:
        axes: where to draw.
        series: the records.
        criterion: name of the event whose frequency is drawn.
        delta: failure probability at which the lemma widths of the series hold.
        curves: how many curves share the error rate of the bands; those drawn here if None.
    """
    _scales(axes, series)
    for at, one in enumerate(series):
        seen = estimate(one, criterion, curves or count_curves(series))
        union = methods(one, criterion).band != "DKW"
        widths = np.asarray(one.widths, np.float64)
        for column, epsilon in enumerate(one.epsilons):
            colour, marker = _look(series, at, epsilon)
            _draw_counts(axes, widths, seen, column, colour, marker, union)
            for prediction in one.predictions:
                if prediction.criterion == criterion:
                    _draw_prediction(axes, widths, prediction, column, colour)
            if epsilon in one.lemma:
                _draw_lemma(axes, one.lemma[epsilon], 1 - delta, colour)
    return axes


def figure(
    series: Sequence[Series], criteria: Sequence[str], *, delta: float = 0.05, note: str = ""
) -> Figure:
    """One panel for each criterion, side by side on one scale of success, with legend and caption.

    Args:
        series: the records; every one must hold every criterion.
        criteria: names, one panel each.
        delta: failure probability at which the lemma widths of the series hold.
        note: ends the caption: versions and platform, say.

    Returns:
        The figure, for `render`. Its label and its caption become the metadata of the file.
    """
    if not series:
        raise InputError("series must hold at least one record, got none.")
    if not criteria:
        raise InputError("criteria must name at least one criterion, got none.")
    with house():
        picture = Figure(figsize=(max(LEAST_WIDTH, LEFT + len(criteria) * PANEL_WIDTH), 1.0))
        picture.set_label(f"ltjax: success probability against width, {', '.join(criteria)}")
        panels = picture.subplots(1, len(criteria), sharey=True, squeeze=False)[0]
        for axes, criterion in zip(panels, criteria, strict=True):
            curve(axes, series, criterion, delta=delta, curves=len(criteria) * count_curves(series))
            axes.set_title(criterion)
            axes.label_outer()
        compose(picture, _keys(series, criteria, delta), caption(series, criteria, note))
    return picture


def render(picture: Figure, suffix: str) -> bytes:
    """The figure as a file: .pdf, .svg or .png. Equal figures give equal bytes."""
    title, about = picture.get_label(), picture.get_supxlabel().replace("\n", " ")
    # None leaves out the time of writing.
    metadata: dict[str, dict[str, Any]] = {
        ".pdf": {"Title": title, "Subject": about, "CreationDate": None},
        ".svg": {"Title": title, "Description": about, "Date": None},
        ".png": {"Title": title, "Description": about},
    }
    if suffix not in metadata:
        raise InputError(f"suffix of a figure must be one of {', '.join(metadata)}, got {suffix}.")
    file = io.BytesIO()
    with house():
        picture.savefig(file, format=suffix[1:], metadata=metadata[suffix])
    return file.getvalue()


def _look(series: Sequence[Series], at: int, epsilon: float) -> tuple[str, str]:
    epsilons = all_epsilons(series)
    # Where there is one epsilon, colour and marker both tell the record.
    if len(epsilons) == 1:
        return styles.look(at, 0, 1)
    return styles.look(epsilons.index(epsilon), at, len(series))


def _scales(axes: Axes, series: Sequence[Series]) -> None:
    widths = [k for one in series for k in one.widths]
    least, most = min(widths), max(widths)
    pad = max(1.15, (most / least) ** 0.03)
    axes.set_xscale("log")
    axes.set_xlim(least / pad, most * pad)
    if most < 100 * least:  # decades alone would leave one tick or none
        ticks = [d * 10**e for e in range(10) for d in (1, 3) if least <= d * 10**e <= most]
        ends = [least, most] if most > 1.5 * least else [least]
        ticks = ticks if len(ticks) > 1 else ends
        axes.set_xticks(ticks, [_number(tick) for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel(
        " | ".join(dict.fromkeys(one.tally.problem.config.width_label for one in series))
    )
    axes.set_ylabel("success probability")
    axes.grid(True)


def _draw_counts(axes, widths, seen: Estimate, column, colour, marker, union) -> None:
    # A lone width is given a little breadth: an area needs two sides.
    breadth = widths if len(widths) > 1 else widths * np.array([0.98, 1.02])
    low, high = (np.broadcast_to(side[:, column], breadth.shape) for side in seen.band)
    axes.fill_between(breadth, low, high, **styles.band(colour, union))
    certified, possible = seen.certified[:, column], seen.possible[:, column]
    gap = possible > certified
    if gap.any():
        axes.vlines(widths[gap], certified[gap], possible[gap], **styles.gap(colour))
    axes.vlines(widths, *(side[:, column] for side in seen.bar), **styles.bar(colour))
    axes.plot(widths, certified, clip_on=False, **styles.point(colour, marker))


def _draw_prediction(axes, widths, prediction: Predicted, column, colour) -> None:
    kind = styles.CURVE_STYLES[prediction.kind]
    for side in kind.sides:
        drawn = getattr(prediction, side)[:, column]
        if side != kind.sides[-1]:  # where two sides are within a line of each other, one is enough
            drawn = np.where(_apart(prediction, column, kind.weight), drawn, np.nan)
        axes.plot(widths, drawn, **styles.line(colour, kind))


def _apart(prediction: Predicted, column: int, weight: float) -> np.ndarray:
    """Where the sides, here or at the next width, are farther apart than the line is broad."""
    far = (prediction.upper - prediction.lower)[:, column] > weight / 72 / PANEL_HEIGHT
    near = np.pad(far, 1)
    return far | near[:-2] | near[2:]


def _draw_lemma(axes, width, success, colour) -> None:
    """A caret at the promised point, or at the edge of the Axes beyond which it lies."""
    left, right = axes.get_xlim()
    side = "left" if width < left else "right" if width > right else "up"
    at = min(max(width, left), right)
    tint = colour if side == "up" else styles.GREY
    axes.axhline(success, color=styles.GREY, linewidth=0.5, linestyle=":", zorder=1)
    axes.plot([at], [success], clip_on=False, **styles.caret(tint, side))


def _keys(series: Sequence[Series], criteria: Sequence[str], delta: float) -> list[Key]:
    """The legends of a figure: epsilons, records if several, and once each style that occurs."""
    drawn = _measured(series, criteria) + _predicted(series, criteria, delta)
    epsilons = all_epsilons(series)
    if len(epsilons) == 1:
        names = [f"{_name(one)}: " if len(series) > 1 else "" for one in series]
        each = [_epsilon(series, [i], epsilons[0]) for i in range(len(series))]
        return [[(k, name + text) for name, (k, text) in zip(names, each, strict=True)], drawn]
    having = {e: [i for i, one in enumerate(series) if e in one.epsilons] for e in epsilons}
    colours: Key = [_epsilon(series, at, epsilon) for epsilon, at in having.items()]
    records: Key = []
    for i, one in enumerate(series):
        marks = dict.fromkeys(_look(series, i, epsilon)[1] for epsilon in one.epsilons)
        points = tuple(Line2D([], [], **styles.point(styles.GREY, mark)) for mark in marks)
        records.append((points, f"record {_name(one)}"))
    return [colours, records, drawn] if len(series) > 1 else [colours, drawn]


def _epsilon(series: Sequence[Series], at: Sequence[int], epsilon: float):
    """Points of one epsilon in the records `at`, and the widths that the lemma promises them."""
    points = tuple(Line2D([], [], **styles.point(*_look(series, i, epsilon))) for i in at)
    letter = series[at[0]].tally.problem.config.width_label.split()[-1]
    lemmas = [series[i].lemma[epsilon] for i in at if epsilon in series[i].lemma]
    widths = ", ".join(dict.fromkeys(_number(width) for width in lemmas))
    return points, f"\u03b5 = {epsilon:g}" + f" (lemma: {letter} = {widths})" * bool(lemmas)


def _name(one: Series) -> str:
    return one.label if len(one.label) <= LONGEST else f"\u2026{one.label[1 - LONGEST :]}"


def _measured(series: Sequence[Series], criteria: Sequence[str]) -> Key:
    made = [methods(one, criterion) for criterion in criteria for one in series]
    bars = " or ".join(dict.fromkeys(method.bar for method in made))
    key: Key = [(Line2D([], [], **styles.bar(styles.GREY)), f"{LEVEL} {bars}, one point")]
    for band in dict.fromkeys(method.band for method in made):
        patch = Patch(**styles.band(styles.GREY, band != "DKW"))
        key.append((patch, f"{LEVEL} band, all widths: {band}"))
    counts = [one.tally.undecided[one.tally.criterion(c)] for c in criteria for one in series]
    if any(count.any() for count in counts):
        key.append((Line2D([], [], **styles.gap(styles.GREY)), "undecided: not refuted"))
    return key


def _predicted(series: Sequence[Series], criteria: Sequence[str], delta: float) -> Key:
    drawn = {p.kind for one in series for p in one.predictions if p.criterion in criteria}
    key: Key = []
    for name, kind in styles.CURVE_STYLES.items():
        if name in drawn:
            key.append((Line2D([], [], **styles.line(styles.GREY, kind)), kind.meaning))
    if any(epsilon in one.lemma for one in series for epsilon in one.epsilons):
        caret = Line2D([], [], **styles.caret(styles.GREY, "up"))
        key.append((caret, f"lemma: success {1 - delta:g} from here (\u25b7 off the axis)"))
    return key


def _number(width: float | int) -> str:
    """In full below a million, then two digits and a power of ten."""
    if width < 1e6:
        return f"{width:,.0f}"
    digits, power = f"{width:.1e}".split("e")
    raised = str(int(power)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{digits}\u00d710{raised}"


def _legend(picture: Figure, key: Key, columns: int) -> Legend:
    handles, labels = zip(*key, strict=True)
    legend = picture.legend(
        handles,
        labels,
        ncols=columns,
        loc="lower left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.3)},
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar in the name of a file is a dollar
    return legend


def compose(picture: Figure, keys: list[Key], text: str, gap: float = 0.1) -> None:
    """Stack caption, legends and panels from below; the figure becomes as high as that takes.

    Args:
        keys: a legend each.
        text: the caption.
        gap: between two panels, in panel widths.
    """
    renderer, width = FigureCanvasAgg(picture).get_renderer(), picture.get_figwidth()

    def inches(artist: Artist) -> np.ndarray:
        return np.asarray(artist.get_window_extent(renderer).size) / picture.dpi

    def fit(key: Key) -> Legend:
        for columns in range(len(key), 1, -1):
            legend = _legend(picture, key, columns)
            if inches(legend)[0] < width - 2 * EDGE:
                return legend
            legend.remove()
        return _legend(picture, key, 1)

    lines = [textwrap.fill(line, int(width * LETTERS)) for line in text.splitlines()]
    below = picture.supxlabel("\n".join(lines), x=EDGE / width, y=0.0, **styles.CAPTION)
    legends = [fit(key) for key in keys]
    heights = [inches(artist)[1] + EDGE for artist in (below, *reversed(legends))]
    bottom = EDGE + sum(heights) + BOTTOM
    height = bottom + PANEL_HEIGHT + TOP
    picture.set_figheight(height)
    below.set_y(EDGE / height)
    for legend, base in zip(reversed(legends), EDGE + np.cumsum(heights), strict=False):
        legend.set_bbox_to_anchor((EDGE / width, base / height), picture.transFigure)
    picture.subplots_adjust(
        **{"left": LEFT / width, "right": 1 - RIGHT / width, "wspace": gap},
        **{"bottom": bottom / height, "top": 1 - TOP / height},
    )
