"""Tickets of a user's own network: found by its seed, bounded from both sides, checked again.

A target f of depth l, without biases, is divided layer by layer by scales s_i until it meets the
theorem's hypotheses. ReLU is homogeneous, so f = S f' with S = prod s_i, and

    sup ||f - S g~|| <= epsilon    exactly when    sup ||f' - g~|| <= epsilon / S

for a pruned random network g~. The scales are the least that do, below 1 where a layer is small:
in block sizes the tolerance gained on every layer is worth more than the larger weights cost.

A verdict needs the ticket and the target alone: the kept weights are drawn again by numpy, and
certified in float64 on the host. The search, in float32, only chose the neurons. Kept products are
exact in float64; what dividing the target, subtracting it and multiplying the scales round is in
the bracket (`gaps.outward`). It has no floor, so neither may the layers: a scale is at most what
the hypotheses ask for, or 1, and a divided layer is of norm LEAST_NORM at least, or all zeros.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ltjax import configs, decimals, draws, files, gaps, problem, theory
from ltjax.errors import InputError
from ltjax.networks import Pair, block_counts, forward, kept_weights, slots
from ltjax.problem import MAX_WIDTH
from ltjax.stops import Stop, never
from ltjax.ticket_files import (
    LEAST_SCALE,
    MOST_SCALE,
    Ticket,
    digest,
    read,
    scale_of,
    to_bytes,
)

__all__ = [
    "Ticket",
    "Verdict",
    "bracket",
    "effective",
    "errors",
    "evaluate",
    "prune",
    "read",
    "rescale",
    "to_bytes",
    "verdicts",
    "verify",
]

DEFAULT_MAX_WIDTH = 2**24
HALVINGS = 12
LEAST_EPSILON = 1e-9  # in parts of the scale; neurons that come as near could not be numbered
LEAST_NORM = 1e-150  # of a divided layer: far above where numbers, and their squares, underflow
SPLIT = 2.0**27 + 1.0
TRIAL = 0  # of the seed: the random network that every ticket is cut from

Layers = Sequence[np.ndarray]  # weight matrices [n_out, n_in]


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


def rescale(layers: Layers) -> tuple[list[np.ndarray], tuple[float, ...]]:
    """A network that fills the hypotheses, ||W|| <= 1 and |w| <= 1/sqrt(n_in), and the scales."""
    scales = tuple(_even(max(configs.hypotheses(layer)) or 1.0) for layer in layers)
    if not (max(scales) < math.inf and LEAST_SCALE <= scale_of(scales) <= MOST_SCALE):
        raise InputError(f"target must be of a size that float64 can hold, got scales {scales}.")
    return [layer / s for layer, s in zip(layers, scales, strict=True)], scales


def _even(scale: float) -> float:
    """A scale rounded up to 41 bits, as the last ones of a norm depend on the processor."""
    if not math.isfinite(scale):
        return scale
    fraction, exponent = math.frexp(scale)
    return math.ldexp(math.ceil(fraction * (1 - 2.0**-49) * 2**41), exponent - 41)


@np.errstate(under="ignore")
def prune(
    layers: Layers,
    last: str = "linear",
    *,
    epsilon: float,
    delta: float = 0.05,
    seed: int = 0,
    construction: str = "blocks",
    max_width: int = DEFAULT_MAX_WIDTH,
    rescaling: bool = True,
    narrow: bool = False,
    stop: Stop = never,
) -> Ticket:
    """The ticket of a target in the random network of a seed, wide enough for success 1 - delta.

    Args:
        layers: weight matrices [n_out, n_in], as `files.read_network` returns them.
        last: linear or relu.
        epsilon: error allowed over the unit ball, in the units of the target.
        construction: blocks or separate.
        max_width: hidden neurons that a random layer may have.
        rescaling: whether a target outside the theorem's hypotheses may be divided.
        narrow: whether to halve the random network, which contains the narrower ones, as often as
            the ticket is still certified; up to HALVINGS times.
        stop: asked before each of these is tried; once true, the narrowest certified so far is the
            ticket.
    """
    layers = files.given(layers, "target")
    sizes = (layers[0].shape[1], *map(len, layers))
    config = configs.Network(sizes=sizes, last=last, constructions=(construction,))
    _check(seed, epsilon, delta, max_width)
    if not rescaling:
        configs.check_network(layers, config.shapes)
    scaled, scales = rescale(layers) if rescaling else (layers, (1.0,) * len(layers))
    _check_divided(layers, scaled, scales)
    scale = scale_of(scales)
    if not epsilon / scale >= LEAST_EPSILON:
        least = decimals.above(LEAST_EPSILON * scale)
        raise InputError(
            f"epsilon must be at least {least} for a target of scale {scale:.6g}, got "
            f"{decimals.exact(epsilon)}."
        )
    counts = np.array(block_counts(construction, sizes))
    enough = lambda epsilon: np.array(block_sizes(scaled, epsilon / scale, delta))
    _check_width(lambda epsilon: enough(epsilon) * counts, epsilon, max_width)
    # Block sizes of each halving, from the narrowest network to the whole one.
    halvings = np.arange(HALVINGS * narrow, -1, -1)[:, None]
    nested = np.maximum(enough(epsilon) >> halvings, 1)
    made_for = digest(layers, last)
    made = [
        Ticket(
            seed=seed,
            sizes=sizes,
            last=last,
            construction=construction,
            scales=scales,
            blocks=tuple(blocks.tolist()),
            ranks=ranks,
            target=made_for,
            epsilon=float(epsilon),
        )
        for blocks, ranks in zip(nested, _search(scaled, nested, seed, construction), strict=True)
    ]
    return made[_first_certified(made, layers, stop)]


def _check(seed: int, epsilon: float, delta: float, max_width: int) -> None:
    problem.check_seed(seed)
    if not 0.0 < epsilon < math.inf:
        raise InputError(f"epsilon must be positive and finite, got {decimals.exact(epsilon)}.")
    problem.check_delta(delta)
    if not 1 <= max_width <= MAX_WIDTH:
        raise InputError(f"max-width must be between 1 and {MAX_WIDTH}, got {max_width}.")


def _first_certified(made: Sequence[Ticket], layers: Layers, stop: Stop) -> int:
    """By bisection, as certificates mostly improve with width; the last one if none is."""
    low, high = 0, len(made) - 1
    while low < high and not stop():
        middle = (low + high) // 2
        certified = bracket(made[middle], layers, lower=False, stop=stop)[1] <= made[middle].epsilon
        low, high = (low, middle) if certified else (middle + 1, high)
    return high


def block_sizes(layers: Layers, epsilon: float, delta: float) -> tuple[int, ...]:
    """Neurons a block with which every slot is met, but with probability delta, by rule tight."""
    etas = theory.slot_tolerance("tight", [layer.shape for layer in layers], epsilon)
    return tuple(
        theory.layer_block_size(layer, eta, delta / len(layers), first=i == 0)
        for i, (layer, eta) in enumerate(zip(layers, etas, strict=True))
    )


def _check_width(widths: Callable, epsilon: float, max_width: int) -> None:
    """`InputError` where a layer must be wider, with the error that this width allows."""
    width, layer = max((width, i) for i, width in enumerate(widths(epsilon), 1))
    if width <= max_width:
        return
    tried = (float(f"{epsilon * 1.2**step:.2g}") for step in range(1, 100))
    enough = next((larger for larger in tried if max(widths(larger)) <= max_width), None)
    raise InputError(
        f"max-width must be at least {width} for epsilon {decimals.exact(epsilon)}, the "
        f"hidden neurons that layer {layer} needs, got {max_width}"
        + ("." if enough is None else f"; it would do for epsilon {decimals.exact(enough)}.")
    )


def _search(scaled, nested, seed, construction) -> list[tuple[np.ndarray, ...]]:
    """Ranks [side, n_out, n_in] of the nearest products in every layer's blocks.

    Args:
        nested: block sizes, [size, layer], ascending.

    Returns:
        For each size, the ranks of each layer.
    """
    import jax
    import jax.numpy as jnp

    from ltjax import machine
    from ltjax.search import nearest

    with machine.own_settings():
        find = jax.jit(getattr(nearest, construction), static_argnums=(1, 4))
        trial = np.full(1, TRIAL, np.uint32)
        key = tuple(map(jnp.asarray, draws.trial_key(np.full_like(trial, seed), trial)))
        sizes = (scaled[0].shape[1], *map(len, scaled))
        parts = zip(scaled, nested.T, block_counts(construction, sizes), slots(sizes), strict=True)
        ranks = []
        for i, (layer, blocks, count, (sides, _, _)) in enumerate(parts):
            target = jnp.asarray(layer, jnp.float32)[..., None]
            found = find(key, i, target, jnp.asarray(blocks * count, jnp.int32), sides)
            kept = np.asarray(found.neuron)[:, 0, ..., 0]
            ranks.append(np.where(kept < 0, -1, kept // count))
        return list(zip(*ranks, strict=True))


def effective(ticket: Ticket) -> list[np.ndarray]:
    """The matrices C of g~, [side, n_out, n_in] a layer, from the kept weights alone.

    A kept neuron acts on the side of its weight W, whichever slot names it: whatever positions a
    file holds, these are the matrices of the network that it masks.
    """
    matrices = []
    for i, kept in enumerate(ticket.neurons):
        output, hidden = (x[0] for x in kept_weights(ticket.seed, [TRIAL], kept[None], i))
        counted = kept >= 0
        counted[1:] &= kept[1:] != kept[:-1]  # a neuron that both sides name is one neuron
        there = [(hidden > 0) == (side == 0) for side in range(len(kept))]
        matrices.append(
            np.stack([np.sum(output * hidden * (counted & on), axis=0) for on in there])
        )
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
    configs.check_network(weights, shapes, "target / scales")
    _check_divided(layers, weights, ticket.scales)
    parts = zip(effective(ticket), layers, weights, ticket.scales, strict=True)
    return Pair(weights, tuple(_apart(*part)[None] for part in parts), ticket.last)


def _apart(kept: np.ndarray, layer: np.ndarray, weights: np.ndarray, scale: float) -> np.ndarray:
    """C - W / s, [side, n_out, n_in]: 0 only where the two are equal and not just as rounded.

    Where they are equal as rounded, s C - W is the rounding of a product, of few bits: with s and W
    divided by a power of two it is exact, as the sum of p - W and what p = s C has lost. That is by
    halves of 27 bits: T. J. Dekker, Numer. Math. 18 (1971), 224-242.

    Args:
        kept: C, of 49 bits or fewer.
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


def _check_divided(layers: Layers, divided: Layers, scales: Sequence[float]) -> None:
    """`InputError` unless each layer was divided by no more than it takes, and has not vanished.

    That is 1, or what the hypotheses ask for, which the last bits of a norm may tell otherwise.
    """
    parts = zip(layers, divided, scales, strict=True)
    for i, (layer, weights, scale) in enumerate(parts, 1):
        most = max(1.0, _even(max(configs.hypotheses(layer)))) * configs.GRACE
        if scale > most:
            raise InputError(
                f"scales must be at most 1, or what ||W|| <= 1 and |w| <= 1/sqrt(n_in) ask for, "
                f"{decimals.below(most)} in layer {i}, got {decimals.exact(scale)}."
            )
        norm = configs.hypotheses(weights)[0]
        if norm < LEAST_NORM and np.any(layer):
            raise InputError(
                f"target / scales must have layers of norm {LEAST_NORM:g} to 1, or all zeros, got "
                f"{decimals.above(norm)} in layer {i}."
            )


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
    return gaps.outward(pair, scale, low, high)


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
    for found in gaps.closing(pair, ticket.scale, gap or gaps.LEAST_GAP, epsilon, stop=stop):
        low, high = _narrower((low, high), found[:2])
        yield Verdict(True, low, high, ticket.epsilon)
