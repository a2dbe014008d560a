"""Tickets of a user's own network, found by their seed."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ltjax import decimals, theory, validate
from ltjax.errors import InputError
from ltjax.experiments.network.config import Network
from ltjax.networks import hypotheses
from ltjax.networks.pruned import block_counts, slots
from ltjax.system import files
from ltjax.system.stops import Stop, never
from ltjax.tickets.archive import TRIAL, Ticket, digest, scale_of
from ltjax.tickets.scales import Layers, check_divided, rescale
from ltjax.tickets.verifying import bracket
from ltjax.validate import MAX_WIDTH
from ltjax.weights import draws

DEFAULT_MAX_WIDTH = 2**24
HALVINGS = 12
LEAST_EPSILON = 1e-9  # in parts of the scale; neurons that come as near could not be numbered


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
    config = Network(sizes=sizes, last=last, constructions=(construction,))
    _check(seed, epsilon, delta, max_width)
    if not rescaling:
        hypotheses.check_network(layers, config.shapes)
    scaled, scales = rescale(layers) if rescaling else (layers, (1.0,) * len(layers))
    check_divided(layers, scaled, scales)
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
    validate.check_seed(seed)
    if not 0.0 < epsilon < math.inf:
        raise InputError(f"epsilon must be positive and finite, got {decimals.exact(epsilon)}.")
    validate.check_delta(delta)
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

    from ltjax.masks import nearest
    from ltjax.system import devices

    with devices.own_settings():
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
