"""Pictures of numbers against a parameter: what was measured beside what is derived.

`chart` puts panels side by side above legends and a caption, in the looks of `success_figure`,
whose `render` turns it into bytes. Nothing here touches the disk.

How to read a chart. Colour and marker tell the curve, the same in every panel; the line tells where
its numbers come from. A filled point is measured, its bar an interval; a bar that ends in an arrow
is open there, because the grid of widths ended first, or because a logarithm has no zero. A hollow
point is estimated.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from ltjax.counting import intervals
from ltjax.counting.intervals import Numbers
from ltjax.errors import InputError
from ltjax.problem.problem import Problem
from ltjax.results import estimates, styles
from ltjax.results.estimates import LEVEL, Series
from ltjax.results.success_figure import EDGE, LEAST_WIDTH, LEFT, PANEL_WIDTH, Key, compose, house

POINTS = ("measured", "spread", "estimated")  # kinds that are points, and no lines
BEYOND = 1.3  # times the last number known: how far an open bar is drawn
OWN_SCALE = 0.3  # panel widths between panels, where one has a scale of its own


class LineStyle(NamedTuple):
    """Where the numbers of a line come from: how it is drawn, and what the legend says."""

    style: Any  # a dash pattern of matplotlib
    weight: float
    meaning: str


LINE_STYLES = {
    "measured": LineStyle("", 0.0, f"measured, {LEVEL} interval"),
    "spread": LineStyle("", 0.0, "median of a sample, bar from least to largest"),
    "estimated": LineStyle("", 0.0, "estimated, bar of two standard errors"),
    "exact": LineStyle("-", 0.9, "exact"),
    "bound": LineStyle((0, (7, 1.5, 1, 1.5, 1, 1.5)), 0.9, "exact bound from below"),
    "fitted": LineStyle("-.", 0.9, "fitted power law"),
    "asymptotic": LineStyle("--", 0.8, "leading order"),
    "lemma": LineStyle(":", 1.2, "the paper's lemma"),
    "counting": LineStyle((0, (1, 1.5)), 0.9, "standard error of counting"),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """Numbers `y` at the places `x`, both [points].

    label: the curve, told by colour and marker.
    kind: one of `LINE_STYLES`.
    low, high: intervals for `y`, [points]; 0 and inf where they are open, and `y` is nan where it
        was not reached. Of derived numbers they are `y`.
    """

    label: str
    kind: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __post_init__(self):
        if self.kind not in LINE_STYLES:
            raise InputError(f"kind must be one of {', '.join(LINE_STYLES)}, got {self.kind}.")
        lengths = [np.shape(values) for values in (self.x, self.y, self.low, self.high)]
        if len(lengths[0]) != 1 or len(set(lengths)) > 1:
            raise InputError(f"x, y, low and high must be of one length, got shapes {lengths}.")

    def over(self, other: Numbers) -> "Line":
        """The line as a ratio to positive numbers at the same places."""
        y, low, high = (values / np.asarray(other) for values in (self.y, self.low, self.high))
        return Line(label=self.label, kind=self.kind, x=self.x, y=y, low=low, high=high)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Lines over one parameter. Equal `ylabel`s share a scale.

    xscale, yscale: log or linear. A logarithmic x has its ticks at the points.
    apart: factor in x by which the points of successive curves are set apart, to be told apart.
    """

    title: str
    xlabel: str
    ylabel: str
    lines: Sequence[Line]
    xscale: str = "log"
    yscale: str = "log"
    apart: float = 1.0


def spread(label: str, x: Numbers, samples: Numbers) -> Line:
    """A line of samples [points, n]: their median, and a bar from the least to the largest."""
    y, low, high = (take(samples, axis=1) for take in (np.median, np.min, np.max))
    return Line(label=label, kind="spread", x=np.asarray(x, np.float64), y=y, low=low, high=high)


def derived(label: str, kind: str, x: Numbers, y: Numbers) -> Line:
    """A line of derived numbers."""
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return Line(label=label, kind=kind, x=places, y=values, low=values, high=values)


def estimated(label: str, x: Numbers, y: Numbers, error: Numbers) -> Line:
    """A line of estimates with their standard errors."""
    places, values, bar = (np.asarray(v, np.float64) for v in (x, y, 2.0 * np.asarray(error)))
    ends = {"low": values - bar, "high": values + bar}
    return Line(label=label, kind="estimated", x=places, y=values, **ends)


def measured(label: str, x: Numbers, found: Sequence[intervals.WidthInterval]) -> Line:
    """A line of measured widths, one at each place `x`."""
    y, low, high = np.array(
        [
            [np.nan if w.measured is None else w.measured, w.low or 0, w.high or np.inf]
            for w in found
        ],
        np.float64,
    ).T
    return Line(label=label, kind="measured", x=np.asarray(x, np.float64), y=y, low=low, high=high)


def needed_lines(
    series: Sequence[Series],
    criterion: str,
    delta: float,
    x: Callable[[Problem, float], float],
    group: Callable[[Problem, float], object],
) -> list[Line]:
    """The width that is needed, one line a group and epsilon, as measured and as the lemma has it.

    Args:
        x, group: functions of a problem and one of its epsilons; where x is the epsilon, all
            epsilons make one line.
    """
    points: dict[str, list[tuple[float, intervals.WidthInterval, float | None]]] = {}
    for one in series:
        problem = one.tally.problem
        needed = estimates.needed(one, criterion, delta)
        for epsilon, width in zip(one.epsilons, needed, strict=True):
            place, label = x(problem, epsilon), f"{group(problem, epsilon)}"
            if place != epsilon:
                label = f"{label}, epsilon {epsilon:g}".removeprefix(", ")
            points.setdefault(label, []).append((place, width, one.lemma.get(epsilon)))
    lines = []
    for label, found in points.items():
        ascending = sorted(found, key=lambda point: point[0])
        places = [place for place, _, _ in ascending]
        lines.append(measured(label, places, [width for _, width, _ in ascending]))
        promised = [width for _, _, width in ascending if width is not None]
        if len(promised) == len(places):
            lines.append(derived(label, "lemma", places, promised))
    return lines


def chart(panels: Sequence[Panel], caption: str) -> Figure:
    """Panels side by side, with legend and caption.

    Returns:
        The figure, for `success_figure.render`. Its label and its caption become the metadata of
        the file.
    """
    lines = [line for panel in panels for line in panel.lines]
    if not lines or not all(panel.lines for panel in panels):
        raise InputError("panels must hold at least one line each.")
    labels = list(dict.fromkeys(line.label for line in lines))
    shown = {label: styles.look(rank, 0, 1) for rank, label in enumerate(labels)}
    with house():
        picture = Figure(figsize=(max(LEAST_WIDTH, LEFT + len(panels) * PANEL_WIDTH), 1.0))
        titles = ", ".join(panel.title for panel in panels)
        picture.set_label(f"ltjax: {panels[0].ylabel} against {panels[0].xlabel}, {titles}")
        every = picture.subplots(1, len(panels), squeeze=False)[0]
        first: dict[str, Axes] = {}
        for axes, panel in zip(every, panels, strict=True):
            _draw(axes, panel, shown, first.setdefault(panel.ylabel, axes))
        compose(picture, _keys(lines, shown), caption, 0.1 if len(first) == 1 else OWN_SCALE)
        _keep_on_page(picture)
    return picture


def _keep_on_page(picture: Figure) -> None:
    """Long numbers on the first axis may push its label off; the panels make room."""
    taken = picture.axes[0].get_tightbbox()
    if taken is not None and taken.x0 < 0.0:
        room = EDGE - taken.x0 / picture.dpi
        picture.subplots_adjust(left=picture.subplotpars.left + room / picture.get_figwidth())


def _draw(axes: Axes, panel: Panel, shown: dict[str, tuple[str, str]], first: Axes) -> None:
    """One panel, on the scale of the first of its kind."""
    axes.set_xscale(panel.xscale)
    axes.set_yscale(panel.yscale)
    if first is axes:
        axes.set_ylabel(panel.ylabel)
    else:
        axes.sharey(first)
        axes.tick_params(labelleft=False)
    for line in panel.lines:
        if line.kind in POINTS:
            turn = list(shown).index(line.label) - (len(shown) - 1) / 2
            _draw_points(axes, line, *shown[line.label], shift=panel.apart**turn)
        else:
            axes.plot(line.x, line.y, **_law(*shown[line.label], line.kind))
    ticks = sorted({x for line in panel.lines if line.kind in POINTS for x in line.x})
    if ticks and panel.xscale == "log":
        axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(panel.title)
    axes.set_xlabel(panel.xlabel)
    axes.grid(True)


def _draw_points(axes: Axes, line: Line, colour: str, marker: str, shift: float) -> None:
    x, low, high = line.x * shift, line.low, line.high
    known = np.where(np.isfinite(line.y), line.y, np.where(low > 0, low, high))
    ends = (
        np.where(low > 0, low, np.minimum(known, high) / BEYOND),
        np.where(np.isfinite(high), high, np.maximum(known, low) * BEYOND),
    )
    axes.vlines(x, *ends, **styles.bar(colour))
    for end, where, side in ((ends[0], low <= 0, "down"), (ends[1], np.isinf(high), "up")):
        if where.any():
            shape = f"$\\{side}arrow$"
            axes.plot(x[where], end[where], color=colour, marker=shape, linestyle="", markersize=7)
    axes.plot(x, line.y, **_point(colour, marker, line.kind))


def _point(colour: str, marker: str, kind: str) -> dict[str, Any]:
    """Filled; hollow where it is estimated, and large enough to be seen around a filled one."""
    hollow = {"markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": 0.8}
    look = styles.point(colour, marker)
    return look | hollow | {"markersize": 6.5} if kind == "estimated" else look


def _law(colour: str, marker: str, kind: str) -> dict[str, Any]:
    """Of a line without points; the marker of its curve stands hollow at its first place."""
    style, weight, _ = LINE_STYLES[kind]
    ring = {"marker": marker, "markevery": [0], "markersize": 3.5, "markerfacecolor": "white"}
    return {"color": colour, "linestyle": style, "linewidth": weight, "zorder": 2, **ring}


def _keys(lines: Sequence[Line], shown: dict[str, tuple[str, str]]) -> list[Key]:
    """Two legends: curves, and the kinds of line that occur."""
    curves: Key = [(Line2D([], [], **styles.point(*look)), label) for label, look in shown.items()]
    used, kinds = {line.kind for line in lines}, []
    for name in (name for name in LINE_STYLES if name in used):
        if name in POINTS:
            handle = Line2D([], [], **_point(styles.GREY, "o", name))
        else:
            handle = Line2D([], [], **_law(styles.GREY, "", name))
        kinds.append((handle, LINE_STYLES[name].meaning))
    return [curves, kinds]
