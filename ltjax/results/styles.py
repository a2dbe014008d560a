"""How each thing in a picture looks, on the Axes and in the legend alike.

Plain data, no matplotlib: the functions after `look` return the keywords of an artist. And how to
import matplotlib, whatever it finds.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from ltjax.errors import InputError

Keywords = dict[str, Any]

# Okabe and Ito's eight colours, yellow last: it is the faintest on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = "os^DvPXp<>h*d"  # thirteen, prime to eight: 104 pairs before one returns
GREY = "0.35"

HOUSE: Keywords = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.borderpad": 0.0,
    "legend.borderaxespad": 0.0,
    "legend.labelspacing": 0.35,
    "legend.columnspacing": 1.4,
    "figure.dpi": 200,
    "pdf.fonttype": 42,  # journals refuse type 3, which is matplotlib's default
    "svg.hashsalt": "ltjax",  # without it the identifiers in an SVG are random
}
# Of arrays: names within a picture are hashes of what is printed.
PRINTED: Keywords = {
    "precision": 8,
    "threshold": 1000,
    "edgeitems": 3,
    "linewidth": 75,
    "suppress": False,
    "nanstr": "nan",
    "infstr": "inf",
    "formatter": None,
    "sign": "-",
    "floatmode": "maxprec",
    "legacy": False,
}
CAPTION: Keywords = {
    "ha": "left",
    "va": "bottom",
    "fontsize": 7,
    "color": GREY,
    "linespacing": 1.3,
    "parse_math": False,
}


class CurveStyle(NamedTuple):
    """A kind of prediction: the sides that are drawn, how, and what the line means."""

    sides: tuple[str, ...]
    style: str
    weight: float
    meaning: str


CURVE_STYLES = {
    "exact": CurveStyle(("lower",), "--", 1.1, "exact probability"),
    "bracket": CurveStyle(("lower", "upper"), "--", 0.6, "exact: on one of these or between two"),
    "lower": CurveStyle(("lower",), "-.", 1.0, "proved: at least"),
    "upper": CurveStyle(("upper",), ":", 1.3, "proved: at most"),
}


@contextlib.contextmanager
def importing_matplotlib() -> Iterator[None]:
    """In whose scope matplotlib is imported first: it reads settings, and fails where it cannot.

    Pictures need no backend, so none that MPLBACKEND names is in the way; where it is a backend,
    it stays the one of this process. `InputError` where other settings stop matplotlib.
    """
    first, asked = "matplotlib" not in sys.modules, os.environ.pop("MPLBACKEND", None)
    try:
        yield
    except (ValueError, OSError) as error:
        raise InputError(
            f"matplotlib must be able to read its settings (MATPLOTLIBRC): {error}"
        ) from None
    finally:
        if asked is not None:
            os.environ["MPLBACKEND"] = asked
    if first and asked:
        with contextlib.suppress(ValueError):  # no backend
            sys.modules["matplotlib"].rcParams["backend"] = asked


def look(rank: int, at: int, records: int) -> tuple[str, str]:
    """Colour and marker of a curve: epsilon number `rank`, record number `at` of `records`.

    The colour tells the epsilon. So does the marker in a lone record; among several it tells the
    record, and moves on once the colours have come round.
    """
    turn = at + records * (rank // len(COLOURS)) if records > 1 else rank
    return COLOURS[rank % len(COLOURS)], MARKERS[turn % len(MARKERS)]


def point(colour: str, marker: str) -> Keywords:
    edge = {"markeredgecolor": "white", "markeredgewidth": 0.4}
    return {"color": colour, "marker": marker, "markersize": 4.5, "ls": "", "zorder": 4, **edge}


def bar(colour: str) -> Keywords:
    return {"color": colour, "linewidth": 0.8, "zorder": 3}


def gap(colour: str) -> Keywords:
    return {"color": colour, "linewidth": 3.5, "alpha": 0.4, "zorder": 2}


def band(colour: str, union: bool) -> Keywords:
    """A union bound holds at the points drawn only: paler, within dotted lines."""
    if union:
        edge = {"edgecolor": colour, "linestyle": ":", "linewidth": 0.7}
        return {"facecolor": (colour, 0.08), "zorder": 1, **edge}
    return {"facecolor": (colour, 0.18), "zorder": 1, "linewidth": 0}


def line(colour: str, kind: CurveStyle) -> Keywords:
    return {"color": colour, "linestyle": kind.style, "linewidth": kind.weight, "zorder": 5}


def caret(colour: str, side: str) -> Keywords:
    """Hollow, unlike any point; it points where the promise is."""
    face = {"markerfacecolor": "white", "markersize": 6}
    marker = {"left": "<", "right": ">", "up": "^"}[side]
    return {"color": colour, "marker": marker, "ls": "", "zorder": 6, **face}
