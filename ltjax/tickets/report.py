"""A ticket as text, in lines `name: value`: its verdict, and what it takes beside other ways.

Pure functions; the command line prints what they return.
"""

from itertools import pairwise

import numpy as np

from ltjax import decimals, theory
from ltjax.networks.pairs import Pair, reach
from ltjax.networks.pruned import active_weights
from ltjax.supnorm import brackets, certificate
from ltjax.system.stops import Stop, never
from ltjax.tickets import gap_report
from ltjax.tickets.archive import Ticket, to_bytes
from ltjax.tickets.verifying import Layers, Verdict

FLOAT32 = 4  # bytes of a weight
MAX_BITS = 52  # of a weight on a grid


def report(
    ticket: Ticket,
    layers: Layers,
    verdict: Verdict,
    gap: float | None = None,
    stop: Stop = never,
) -> str:
    """The short report of a ticket and the target that it belongs to.

    Args:
        gap: what the bracket was to be closed to, if that was asked for.
        stop: asked before every step of what is found out for the report alone.
    """
    shapes = list(zip(pairwise(ticket.sizes), ticket.widths, ticket.blocks, strict=True))
    block = ", one pool" if ticket.construction == "pooled" else ", block size {:,}"
    subset = ticket.rule == "subset"
    random = f"seed {ticket.seed}, {ticket.construction}"
    size = sum(layer.size for layer in layers)
    bits = coarsest_grid(ticket, layers, stop)
    lower, upper = decimals.bracket(verdict.lower, verdict.upper)
    rows = {
        "verdict": verdict.word,
        "lower bound": lower,
        "upper bound": upper,
        **gap_report.shortfall(verdict.lower, verdict.upper, gap),
        "epsilon": decimals.exact(ticket.epsilon),
        "scale": f"{ticket.scale:.6g} = {' x '.join(f'{s:.6g}' for s in ticket.scales)}",
        "epsilon / scale": f"{ticket.epsilon / ticket.scale:.6g}",
        "keeping nothing errs by at least": decimals.below(_nothing(ticket, layers, stop)),
        "random network": f"{random}, subset sums" if subset else random,
        **{
            f"layer {i}": f"{n_in} -> {width:,} -> {n_out}{block.format(m)}"
            for i, ((n_in, n_out), width, m) in enumerate(shapes, 1)
        },
        "random weights": f"{sum(width * (a + b) for (a, b), width, _ in shapes):,}",
        "active weights": f"{active_weights(ticket.neurons):,}",
        "active weights, at most": f"{_most_active(ticket):,}",
        "weights of the target": f"{sum(map(np.count_nonzero, layers)):,}",
        "bytes": f"{len(to_bytes(ticket)):,}",
        "bytes of the target in float32": f"{FLOAT32 * size:,}",
        "bytes of the target on a grid": _grid(bits, size),
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def _most_active(ticket: Ticket) -> int:
    """Weights that a ticket of these blocks may keep; by rule subset A of every output, and W."""
    if ticket.rule == "nearest":
        return theory.active_weights_bound(ticket.sizes)
    return sum(k * (n_out + 1) for k, n_out in zip(ticket.widths, ticket.sizes[1:], strict=True))


def _nothing(ticket: Ticket, layers: Layers, stop: Stop) -> float:
    """A lower bound on the error of an empty ticket, in the units of the target."""
    weights = tuple(layer / s for layer, s in zip(layers, ticket.scales, strict=True))
    pair = Pair(weights, tuple(-w[None] for w in weights), ticket.last)
    return brackets.outward(pair, ticket.scale, reach(weights, ticket.last, stop), 0.0)[0]


def _grid(bits: int | None, size: int) -> str:
    if bits is None:
        return "none is within epsilon"
    if bits == 0:
        return "not found in the time there was"
    return f"{-(-bits * size // 8):,} (within epsilon, {bits} bits)"


def coarsest_grid(ticket: Ticket, layers: Layers, stop: Stop = never) -> int | None:
    """Bits a weight with which the target, rounded, is still certified to the ticket's epsilon.

    Each layer has a uniform grid about 0, of 2^bits - 1 points and as wide as its weights. None
    where no grid is certified; 0 where `stop` came to be true before that was known.
    """
    weights = tuple(layer / s for layer, s in zip(layers, ticket.scales, strict=True))
    for bits in range(2, MAX_BITS + 1):
        if stop():
            return 0
        errors = tuple((_rounded(w, 2 ** (bits - 1) - 1) - w)[None, None] for w in weights)
        pair = Pair(weights, errors, ticket.last)
        upper = float(certificate.upper(pair, stop)[0])
        if brackets.outward(pair, ticket.scale, 0.0, upper)[1] <= ticket.epsilon:
            return bits
    return 0 if stop() else None


def _rounded(weights: np.ndarray, steps: int) -> np.ndarray:
    step = np.abs(weights).max() / steps or 1.0
    return np.round(weights / step) * step
