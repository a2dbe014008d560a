"""How far two networks are apart over a ball: brackets that close, in the units of the networks.

ReLU is homogeneous, so layers may be divided by numbers that the bracket is multiplied with again:
those of a ticket are its scales, those of two networks are powers of two, which round nothing, and
the radius of the ball is one more.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.networks.pairs import SUBNORMAL, ULP, Pair, length
from ltjax.system import files
from ltjax.system.stops import Stop, never

LEAST_GAP = 1e-6  # that float64, and some minutes, can certify
LEAST, MOST = 1e-300, 1e300  # scales with which a bracket keeps the precision of float64
WITHIN = 64  # binary digits between the neurons of a layer that are left as they are
FEW = 8  # inputs with which cells of a ball are smaller soon enough
NEVER = 2**20  # below all exponents: that of 0

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
    """Two networks with entries below 1, as one pair, and the scale of their bracket.

    That is the number they were divided by, a power of two, times the radius of the ball. Nothing
    is rounded but E = g - f, entry by entry, and that is 0 only where two entries are equal. They
    have one depth, and the same inputs and outputs; where hidden layers differ, the narrower one
    gets neurons without weights.

    Raises:
        InputError: of two depths, of other inputs or outputs, or of a scale or weights that float64
            cannot hold.
    """
    first, second = files.given(first, "first"), files.given(second, "second")
    layers, scale = divided_by_powers(widened(first, second), radius, first)
    errors = tuple((b - a)[None] for a, b in layers)
    return Pair(tuple(a for a, _ in layers), errors, last), scale


def divided_by_powers(layers, radius, first):
    """Layers [2, n_out, n_in] or more with entries below 1, and the scale of their bracket.

    Args:
        radius: of the ball; first: one of the networks as it was given.
    """
    layers, exponent, exact = _balanced(_alive(layers))
    with np.errstate(over="ignore"):
        scale = float(np.ldexp(radius, exponent))
    if not (exact and LEAST <= scale <= MOST):
        sizes = ", ".join(f"{np.abs(a).max():g}" for a in first)
        raise InputError(
            f"networks must be of a size that float64 can hold, got layers of weights up to "
            f"{sizes} and radius {radius:g}."
        )
    return layers, scale


def widened(first, second):
    """The layers of both networks side by side, [2, n_out, n_in], with zeros for what one lacks."""
    shapes = [[list(w.shape) for w in layers] for layers in (first, second)]
    one, other = ((len(s), s[0][1], s[-1][0]) for s in shapes)
    if one != other:
        raise InputError(
            "networks must have one depth, and the same inputs and outputs, got layers "
            f"{shapes[0]} and {shapes[1]}."
        )
    both = []
    for a, b in zip(first, second, strict=True):
        layer = np.zeros((2, *np.maximum(a.shape, b.shape)))
        for part, w in zip(layer, (a, b), strict=True):
            part[: w.shape[0], : w.shape[1]] = w
        both.append(layer)
    return both


def _alive(layers):
    """Layers [2, n_out, n_in] with 0 for the weights of neurons that in both networks do nothing.

    They have no weights in, or none out, and leave f and g as they are.
    """
    layers = [layer.copy() for layer in layers]
    for below, above in pairwise(layers):
        above[:, :, ~np.any(below, axis=(0, 2))] = 0.0
    for below, above in reversed(list(pairwise(layers))):
        below[:, ~np.any(above, axis=(0, 1))] = 0.0
    return layers


def _balanced(layers):
    """Layers divided by powers of two, so that their largest weight is between 1/2 and 1.

    Neurons smaller than the others by 2^WITHIN or more are made as large: what a neuron is
    multiplied with, all that it is read by is divided by, as relu is homogeneous.

    Args:
        layers: those of both networks, [2, n_out, n_in] each.

    Returns:
        layers; the exponent of the power of two they were divided by in all; and whether each
        weight is still what it was.
    """
    found, shift, total, exact = [], 0, 0, True
    for n, layer in enumerate(layers):
        mantissa, exponent = np.frexp(layer)
        exponent = np.where(mantissa == 0.0, -NEVER, exponent + shift)
        rows = exponent.max(axis=(0, 2))
        top = int(rows.max()) if rows.max() > -NEVER else 0
        small = (rows > -NEVER) & (rows < top - WITHIN) & (n + 1 < len(layers))
        shift = np.where(small, rows - top, 0)
        scaled = np.ldexp(mantissa, exponent - shift[:, None] - top)
        exact &= np.array_equal(np.frexp(scaled)[0], mantissa, equal_nan=True)
        found.append(scaled)
        total += top
    return found, total, exact


@np.errstate(under="ignore")
def outward(
    pair: Pair,
    scale: float,
    lower: float,
    upper: float,
    divided: bool = True,
    moved: float = 0.0,
) -> tuple[float, float]:
    """A bracket in the units of the networks, with what dividing and subtracting them rounded.

    With u half an ulp, E = C - W is off by u |E| entry by entry, and by no more where it is below
    the numbers of full precision, as differences there are exact. So g is off by e_i = u ||E_i||
    in layer i. Where weights were divided, f is off by u ||W_i|| there, or by half the least
    number an entry. What one layer is off by moves the outputs by the product of that and of
    ||W_j|| + ||E_j|| of the others j. Frobenius norms, and ulps in place of their halves, are more.

    Args:
        divided: whether weights were divided by numbers that are no powers of two.
        moved: what the first layers of f and g are off by in all, beside that.
    """
    if not divided and not moved and not any(np.any(e) for e in pair.errors):
        return 0.0, 0.0
    rounding, product = 0.0, 1.0
    for weights, errors in zip(*pair[:2], strict=True):
        w, e = float(length(weights)), float(length(errors))
        off = ULP * (e + w) + SUBNORMAL * weights.size if divided else ULP * e
        off, moved = off + moved, 0.0  # of the first layer alone
        rounding = rounding * (w + e) + product * off
        product = product * (w + e + off)
    outwards = 1.0 + 8.0 * len(pair.weights) * ULP
    low, high = scale * ((lower - rounding) / outwards), scale * ((upper + rounding) * outwards)
    # Products below the numbers of full precision are off by half the least one.
    return _up(low, 0.0), _up(high, math.inf)


def _up(value, towards):
    """A bound, moved on by the least step; a lower one is no less than 0, and NaN is kept."""
    return math.nextafter(value if value > 0.0 or math.isnan(value) else 0.0, towards)


def check(gap: float | None, seconds: float) -> None:
    """`InputError` of what no search can reach, long before there is one."""
    if gap is not None and not LEAST_GAP <= gap < math.inf:
        found = decimals.exact(gap)
        raise InputError(
            f"gap must be at least {LEAST_GAP:g}, which float64 can certify, got {found}."
        )
    if not seconds >= 0.0:
        raise InputError(f"max-seconds must be at least 0, got {decimals.exact(seconds)}.")


def closing(
    pair: Pair,
    scale: float,
    gap: float,
    epsilon: float | None = None,
    norm: str = "l2",
    stop: Stop = never,
    divided: bool = True,
    moved: float = 0.0,
    misread: float = 0.0,
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
        divided, moved: see `outward`; divided is false for what `pair_of` returns.
        misread: by how much f and g differ from what is asked about, in all and in their own units.
    """
    from ltjax.system import devices

    inner = None if epsilon is None else epsilon / scale * (1.0 - 1e-9)  # what rounding adds
    lower, upper = 0.0, math.inf
    for found in devices.quietly(searches(pair, gap, inner, norm, stop)):
        if math.isnan(found.upper):
            raise InputError("networks must be finite, got a NaN or an infinity.")
        lower, upper = max(lower, found.lower), min(upper, found.upper)
        low, high = outward(pair, scale, lower, upper, divided, moved)
        if misread:
            low, high = max(_up(low - misread, 0.0), 0.0), _up(high + misread, math.inf)
        yield Apart(low, high, found.nodes)
        told = inner is not None and not lower <= inner < upper
        if told or upper <= lower * (1.0 + gap):
            break


def searches(pair, gap, epsilon, norm, stop):
    """Brackets by the formula, where it applies, or by a tree; of deep networks by both."""
    from ltjax.supnorm import branch_and_bound, layered, max_min, splitting  # the way to jax

    if max_min.applies(pair, norm):
        yield from max_min.brackets(pair, gap, epsilon, stop)
        return
    if pair.domain is not None:
        cells = splitting.brackets(pair, gap, epsilon, norm, stop)
        if pair.domain.shape == "ball" and pair.weights[0].shape[1] > FEW:
            yield next(cells)
            yield from branch_and_bound.brackets(pair, gap, epsilon, norm, stop)
        yield from cells
        return
    tree = branch_and_bound.brackets(pair, gap, epsilon, norm, stop)
    yield next(tree)
    if layered.applies(pair) and not stop():
        yield layered.bracket(pair, gap, epsilon, stop)
    yield from tree
