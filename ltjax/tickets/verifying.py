"""Verdicts on a ticket, from the ticket and its target alone.

The kept weights are drawn again by numpy, and certified in float64 on the host. The search, in
float32, only chose the neurons. Kept products are exact in float64; what dividing the target,
subtracting it and multiplying the scales round is in the bracket (`brackets.outward`). It has no
floor, so neither may the layers: `scales` says what they must be.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from ltjax.networks import hypotheses
from ltjax.networks.pairs import Pair, forward
from ltjax.networks.pruned import slots
from ltjax.supnorm import brackets
from ltjax.system import files
from ltjax.system.stops import Stop, never
from ltjax.tickets.archive import TRIAL, Ticket, digest
from ltjax.tickets.scales import Layers, check_divided
from ltjax.weights.redraw import kept_weights

SPLIT = 2.0**27 + 1.0


class Verdict(NamedTuple):
    """What a ticket is worth.

    belongs: whether it was made for this target.
    lower, upper: bracket on the supremum over the unit ball of ||f - S g~||; [0, inf] where the
        ticket does not belong, and lower is 0 where the upper bound says enough.
    epsilon: the error that the ticket claims to stay below.
    """

    belongs: bool
    lower: float
    upper: float
    epsilon: float

    @property
    def holds(self) -> bool:
        return self.belongs and self.upper <= self.epsilon

    @property
    def word(self) -> str:
        if not self.belongs:
            return "ANOTHER TARGET"
        return (
            "HOLDS" if self.holds else "REFUTED" if self.lower > self.epsilon else "NOT CERTIFIED"
        )


def effective(ticket: Ticket, trial: int = TRIAL) -> list[np.ndarray]:
    """The matrices C of g~, [side, n_out, n_in] a layer, from the kept weights alone.

    A kept neuron acts on the side of its weight W, whichever slot names it: whatever positions a
    file holds, these are the matrices of the network that it masks. Products are multiples of
    2^-48, and added up as integers.
    """
    matrices = []
    for i, (kept, shape) in enumerate(zip(ticket.neurons, slots(ticket.sizes), strict=True)):
        counted = kept >= 0
        counted[1:] &= kept[1:] != kept[:-1]  # a neuron that both sides name is one neuron
        matrix = np.zeros(shape, np.int64)
        for named, there in zip(kept, counted, strict=True):
            one = kept_weights(ticket.seed, [trial], named[None, None], i)
            output, hidden = (x[0, 0] for x in one)
            product = np.ldexp(output * hidden, 48).astype(np.int64)
            for side, positive in enumerate((True, False)[: len(matrix)]):
                matrix[side] += np.where(there & ((hidden > 0.0) == positive), product, 0)
        matrices.append(np.ldexp(matrix.astype(np.float64), -48))
    return matrices


def evaluate(ticket: Ticket, x: np.ndarray) -> np.ndarray:
    """S g~ at the points x [n, d], from seed and kept positions alone: [n, outputs], float64."""
    (plus, minus), *later = effective(ticket)
    layers = [np.hstack([plus, -minus]), *(side for (side,) in later)]
    halves = np.hstack([np.maximum(x, 0.0), np.maximum(-x, 0.0)])
    return ticket.scale * forward(layers, halves, ticket.last)


@np.errstate(under="ignore")
def errors(ticket: Ticket, layers: Layers) -> Pair:
    """The target divided by the scales, and the ticket as its one neighbour, in float64.

    Raises:
        InputError: of a target that is not of the ticket's shapes, and where the scales are none
            that the theorem has for this target.
    """
    with np.errstate(over="ignore"):
        weights = tuple(layer / s for layer, s in zip(layers, ticket.scales, strict=True))
    shapes = [shape[1:] for shape in slots(ticket.sizes)]
    hypotheses.check_network(weights, shapes, "target / scales")
    check_divided(layers, weights, ticket.scales)
    parts = zip(effective(ticket), layers, weights, ticket.scales, strict=True)
    return Pair(weights, tuple(_apart(*part)[None] for part in parts), ticket.last)


def _apart(kept: np.ndarray, layer: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """C - W / s, [side, n_out, n_in]: 0 only where the two are equal and not just as rounded.

    Where they are equal as rounded, s C - W is the rounding of a product, of few bits: with s and W
    divided by a power of two it is exact, as the sum of p - W and what p = s C has lost. That is by
    halves of 27 bits: T. J. Dekker, Numer. Math. 18 (1971), 224-242.

    Args:
        kept: C, of 49 bits or fewer where it is at most 1.
        weights: W / s, rounded.
    """
    error = kept - weights
    at = np.nonzero((error == 0.0) & (kept != 0.0))
    m, exponent = math.frexp(scale)
    c, w = kept[at], np.ldexp(np.broadcast_to(layer, kept.shape)[at], -exponent)
    (m1, m2), (c1, c2), product = _halves(m), _halves(c), m * c
    lost = ((m1 * c1 - product) + m1 * c2 + m2 * c1) + m2 * c2
    error[at] = ((product - w) + lost) / m
    # What was divided until it vanished is no 0 either, of whatever size.
    vanished = np.broadcast_to((weights == 0.0) & (layer != 0.0), kept.shape) & (error == 0.0)
    return np.where(vanished, math.ulp(0.0), error)


def _halves(x):
    """A number of 53 bits as a sum of two of 27 at most."""
    upper = SPLIT * x - (SPLIT * x - x)
    return upper, x - upper


def bracket(
    ticket: Ticket,
    layers: Layers,
    lower: bool = True,
    stop: Stop = never,
) -> tuple[float, float]:
    """Bounds on the supremum over the unit ball of ||f - S g~||, in the units of the target.

    Args:
        layers: the target as given, of the ticket's shapes.
        lower: whether to look for a point with a large error; 0 is the lower bound otherwise.
        stop: asked between the steps; once true, what is there at once is the bracket.
    """
    return _bounded(errors(ticket, layers), ticket.scale, lower, stop)


@np.errstate(under="ignore")
def _bounded(
    pair: Pair, scale: float, lower: bool, stop: Stop, upper: bool = True
) -> tuple[float, float]:
    """`bracket` of a target and its ticket as `errors` gives them.

    Args:
        upper: whether to bound from above; infinity is the upper bound otherwise.
    """
    from ltjax.supnorm import ascent, certificate

    high = float(certificate.upper(pair, stop)[0]) if upper else math.inf
    low = float(ascent.lower(pair, batch=1, stop=stop)[0][0]) if lower else 0.0
    return brackets.outward(pair, scale, low, high)


def _narrower(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return max(one[0], other[0]), min(one[1], other[1])


@np.errstate(under="ignore")
def verify(
    ticket: Ticket,
    layers: Layers,
    lower: bool = False,
    gap: float | None = None,
    stop: Stop = never,
) -> Verdict:
    """Decide whether a ticket is one of this target, from the two alone: the last of `verdicts`."""
    *_, last = verdicts(ticket, layers, lower, gap, stop)
    return last


def verdicts(
    ticket: Ticket,
    layers: Layers,
    lower: bool = False,
    gap: float | None = None,
    stop: Stop = never,
) -> Iterator[Verdict]:
    """Better and better verdicts, of which any may be the last one taken; the first at once.

    Args:
        lower: whether to look for a point with a large error even where the ticket holds.
        gap: to close the bracket to upper <= (1 + gap) lower; by default only as far as it takes
            to know on which side of epsilon the supremum is.
        stop: asked at every step; once true, what is there is the verdict.
    """
    layers = files.given(layers, "target")
    sizes = (layers[0].shape[1], *map(len, layers))
    if sizes != ticket.sizes or digest(layers, ticket.last) != ticket.target:
        yield Verdict(False, 0.0, math.inf, ticket.epsilon)
        return
    pair, low, high = errors(ticket, layers), 0.0, math.inf
    bounded = partial(_bounded, pair, ticket.scale)
    # At once, then by norms, then from below, then closed.
    steps = [
        lambda: bounded(lower, lambda: True),
        lambda: bounded(False, stop),
        lambda: bounded(True, stop, upper=False),
    ]
    for n, step in enumerate(steps[: 2 + lower]):
        if n and stop():
            return
        low, high = _narrower((low, high), step())
        yield Verdict(True, low, high, ticket.epsilon)
    if gap is None and high <= ticket.epsilon:
        return
    pair = pair._replace(errors=tuple(e[0] for e in pair.errors))
    epsilon = ticket.epsilon if gap is None else None
    for found in brackets.closing(
        pair, ticket.scale, gap or brackets.LEAST_GAP, epsilon, stop=stop
    ):
        low, high = _narrower((low, high), found[:2])
        yield Verdict(True, low, high, ticket.epsilon)
