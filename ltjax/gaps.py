"""How far two networks are apart over a ball: brackets that close, in the units of the networks.

ReLU is homogeneous, so layers may be divided by numbers that the bracket is multiplied with again:
those of a ticket are its scales, those of two networks bring their layers to norm 1, and the radius
of the ball is one more.
"""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.networks import Pair
from ltjax.stops import Stop, never

ULP = 2.0**-52
LEAST_GAP = 1e-6  # that float64, and some minutes, can certify
LEAST, MOST = 1e-300, 1e300  # scales with which a bracket keeps the precision of float64

Layers = Sequence[np.ndarray]  # weight matrices [n_out, n_in]


class Apart(NamedTuple):
    """A bracket on the supremum of ||g - f|| over the ball, proved at both ends; nodes visited."""

    lower: float
    upper: float
    nodes: int

    @property
    def ratio(self) -> float:
        """Upper over lower bound; 1 where both are 0."""
        return self.upper / self.lower if self.lower else 1.0 if self.upper == 0.0 else math.inf


@np.errstate(under="ignore")
def pair_of(
    first: Layers, second: Layers, last: str = "linear", radius: float = 1.0
) -> tuple[Pair, float]:
    """Two networks of one shape with layers of norm 1 at most, and the scale of their bracket.

    That is the number they were divided by, times the radius of the ball.

    Raises:
        InputError: of two shapes, or of a scale that float64 cannot hold.
    """
    shapes = [[list(w.shape) for w in layers] for layers in (first, second)]
    if shapes[0] != shapes[1]:
        raise InputError(f"networks must have one shape, got {shapes[0]} and {shapes[1]}.")
    with np.errstate(over="ignore"):
        norms = [[np.linalg.norm(w) for w in pair] for pair in zip(first, second, strict=True)]
    scales = [float(max(pair)) or 1.0 for pair in norms]
    if not LEAST <= (scale := math.prod(scales, start=radius)) <= MOST:
        raise InputError(
            f"networks must be of a size that float64 can hold, got layers of norm "
            f"{', '.join(f'{s:g}' for s in scales)} and radius {radius:g}."
        )
    weights = tuple(w / s for w, s in zip(first, scales, strict=True))
    others = tuple(w / s for w, s in zip(second, scales, strict=True))
    errors = tuple((b - a)[None] for a, b in zip(weights, others, strict=True))
    return Pair(weights, errors, last), scale


@np.errstate(under="ignore")
def outward(pair: Pair, scale: float, lower: float, upper: float) -> tuple[float, float]:
    """A bracket in the units of the networks, with what dividing and subtracting them rounded.

    Weights were rounded when they were divided, errors when they were subtracted: by half an ulp.
    """
    sizes = [(np.linalg.norm(w), np.linalg.norm(e)) for w, e in zip(*pair[:2], strict=True)]
    if not any(np.any(error) for error in pair.errors):
        return 0.0, 0.0  # what was equal is equal divided
    rounding = ULP * sum(map(sum, sizes)) * math.prod(1.0 + error for _, error in sizes)
    outwards = 1.0 + 2.0 * len(pair.weights) * ULP
    low, high = scale * (lower - rounding) / outwards, scale * (upper + rounding) * outwards
    return max(float(low), 0.0), float(high)


def check(gap: float | None, seconds: float, radius: float = 1.0) -> None:
    """`InputError` of what no search can reach, long before there is one."""
    if gap is not None and not LEAST_GAP <= gap < math.inf:
        found = decimals.exact(gap)
        raise InputError(
            f"gap must be at least {LEAST_GAP:g}, which float64 can certify, got {found}."
        )
    if not seconds >= 0.0:
        raise InputError(f"max-seconds must be at least 0, got {decimals.exact(seconds)}.")
    if not 0.0 < radius < math.inf:
        raise InputError(f"radius must be positive and finite, got {decimals.exact(radius)}.")


def closing(
    pair: Pair,
    scale: float,
    gap: float,
    epsilon: float | None = None,
    norm: str = "l2",
    stop: Stop = never,
) -> Iterator[Apart]:
    """Closer and closer brackets, of which each is valid; the first is there before any search.

    Args:
        pair: f and g divided, errors [side, n_out, n_in].
        scale: by what they were divided, times the radius of the ball.
        gap: upper <= (1 + gap) lower is close enough; at least `LEAST_GAP`.
        epsilon: in the units of the networks: to know on which side of it the supremum is, is
            close enough, too.
        norm: of several outputs, l2 or max.
        stop: asked before every step of the search.
    """
    from ltjax import machine
    from ltjax.supnorm import tree  # the way to jax

    inner = None if epsilon is None else epsilon / scale * (1.0 - 1e-9)  # what rounding adds
    for found in machine.quietly(tree.brackets(pair, gap, inner, norm, stop)):
        if math.isnan(found.upper):
            raise InputError("networks must be finite, got a NaN or an infinity.")
        yield Apart(*outward(pair, scale, found.lower, found.upper), found.nodes)


def report(start: Apart, found: Apart, gap: float) -> str:
    """The last bracket, what was asked of it, and what was known before the search, as text."""
    lower, upper = decimals.bracket(found.lower, found.upper)
    finite = found.lower > 0.0 and found.upper < math.inf
    ratio = Fraction(found.upper) / Fraction(found.lower) if finite else found.ratio
    rows = {
        "lower bound": lower,
        "upper bound": upper,
        "upper / lower": decimals.above(ratio),
        **shortfall(found.lower, found.upper, gap),
        "upper bound before the search": decimals.above(start.upper),
        "nodes": f"{found.nodes:,}",
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def shortfall(lower: float, upper: float, gap: float | None) -> dict[str, str]:
    """A row of a report where a bracket is not as close as was asked; none where nothing was."""
    if gap is None or upper == 0.0:
        return {}
    if upper < math.inf and Fraction(upper) <= (1 + Fraction(gap)) * Fraction(lower):
        return {}
    return {"gap": f"not reached (asked {decimals.exact(gap)})"}
