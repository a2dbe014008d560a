"""Tickets of a user's own network, found by their seed."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from ltjax import decimals, theory, validate
from ltjax.errors import InputError
from ltjax.experiments.network.config import Network
from ltjax.networks import hypotheses
from ltjax.networks.pruned import block_counts, slots
from ltjax.system import files
from ltjax.system.stops import Stop, never
from ltjax.tickets.archive import (
    MOST_SUBSET,
    TRIAL,
    Ticket,
    check_construction,
    digest,
    scale_of,
)
from ltjax.tickets.scales import Layers, check_divided, rescale
from ltjax.tickets.verifying import bracket
from ltjax.validate import MAX_WIDTH
from ltjax.weights import draws, redraw

DEFAULT_MAX_WIDTH = 2**24
HALVINGS = 12
LEAST_EPSILON = 1e-9  # in parts of the scale; neurons that come as near could not be numbered
SPARE = 3  # neurons of a pool for each slot that needs one: fewer, and slots compete for them
SLOT_BYTES, READING_BYTES = 768, 64  # of a slot: to search and assign it; at each width
POOL_LANES = 64  # of its search; what more would save is lost looking into chunks again


@np.errstate(under="ignore")
def prune(
    layers: Layers,
    last: str = "linear",
    *,
    epsilon: float,
    delta: float = 0.05,
    seed: int = 0,
    construction: str | None = None,
    rule: str = "nearest",
    max_width: int = DEFAULT_MAX_WIDTH,
    rescaling: bool = True,
    narrow: bool = False,
    stop: Stop = never,
) -> Ticket:
    """The ticket of a target in the random network of a seed.

    By rule nearest it is wide enough for success 1 - delta. By rule subset, for which no width is
    proved, it has the least block size that is certified, by bisection.

    Args:
        layers: weight matrices [n_out, n_in], as `reading.read_matrices` returns them.
        last: linear or relu.
        epsilon: error allowed over the unit ball, in the units of the target.
        construction: blocks, separate or pooled; by default pooled or blocks, whichever takes fewer
            hidden neurons in all, and blocks by rule subset.
        rule: nearest, for the nearest product of every slot; or subset, for the nearest sum of
            several products.
        max_width: hidden neurons that a random layer may have.
        rescaling: whether a target outside the theorem's hypotheses may be divided.
        narrow: whether to halve the random network, which contains the narrower ones, as often as
            the ticket is still certified; up to HALVINGS times.
        stop: asked before each of these is tried; once true, the narrowest certified so far is the
            ticket.

    Raises:
        InputError: of arguments that are none, and by rule subset of an epsilon that no block size
            is certified for.
    """
    layers = files.given(layers, "target")
    sizes = (layers[0].shape[1], *map(len, layers))
    config = Network(sizes=sizes, last=last)
    if construction is None and rule != "nearest":
        construction = "blocks"
    check_construction(construction or "blocks", rule)
    if narrow and rule == "subset":
        raise InputError("narrow must be left out by rule subset, whose block size is the least.")
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
    if construction is None:
        construction = _narrower(scaled, epsilon / scale, delta)
    # Block sizes, [network, layer], from the narrowest network to the whole one.
    if rule == "subset":
        most = min(MOST_SUBSET, max_width // max(sizes[:-1]))
        if most < 1:
            raise InputError(
                f"max-width must be at least {max(sizes[:-1])}, a neuron for each input, got "
                f"{max_width}."
            )
        nested = np.repeat(np.arange(1, most + 1)[:, None], len(layers), axis=1)
        search = _search_subsets(scaled, nested, seed)
    else:
        widths = lambda epsilon: layer_widths(construction, scaled, epsilon / scale, delta)
        _check_width(widths, epsilon, max_width)
        halvings = np.arange(HALVINGS * narrow, -1, -1)[:, None]
        blocks = block_sizes(construction, scaled, epsilon / scale, delta)
        nested = np.maximum(np.array(blocks) >> halvings, 1)
        search = _search(scaled, nested, seed, construction)
    ticket = partial(
        Ticket,
        seed=seed,
        sizes=sizes,
        last=last,
        construction=construction,
        rule=rule,
        scales=scales,
        target=digest(layers, last),
        epsilon=float(epsilon),
    )
    made = lambda n: ticket(blocks=tuple(nested[n].tolist()), ranks=search(n))
    found = _first_certified(made, len(nested), layers, stop)
    if rule == "subset" and found.blocks[0] == len(nested) and not stop():
        _check_certified(found, layers, stop)  # any other was certified when it was found
    return found


def _check(seed: int, epsilon: float, delta: float, max_width: int) -> None:
    validate.check_seed(seed)
    if not 0.0 < epsilon < math.inf:
        raise InputError(f"epsilon must be positive and finite, got {decimals.exact(epsilon)}.")
    validate.check_delta(delta)
    if not 1 <= max_width <= MAX_WIDTH:
        raise InputError(f"max-width must be between 1 and {MAX_WIDTH}, got {max_width}.")


def _first_certified(
    made: Callable[[int], Ticket], count: int, layers: Layers, stop: Stop
) -> Ticket:
    """By bisection, as certificates mostly improve with width; the last one if none is."""
    low, high, best = 0, count - 1, None
    while low < high and not stop():
        middle = (low + high) // 2
        one = made(middle)
        if bracket(one, layers, lower=False, stop=stop)[1] <= one.epsilon:
            high, best = middle, one
        else:
            low = middle + 1
    return best or made(high)


def _check_certified(ticket: Ticket, layers: Layers, stop: Stop) -> None:
    """`InputError` of a ticket of the widest network that there is, unless it is certified."""
    upper = bracket(ticket, layers, lower=False, stop=stop)[1]
    if not (upper <= ticket.epsilon or stop()):
        other = "rule nearest" if ticket.blocks[0] == MOST_SUBSET else "a larger max-width"
        raise InputError(
            f"epsilon must be at least {decimals.above(upper)}, which subset sums of blocks of "
            f"{ticket.blocks[0]} neurons are certified for, got {decimals.exact(ticket.epsilon)}; "
            f"another seed or {other} may do."
        )


def block_sizes(construction: str, layers: Layers, epsilon: float, delta: float) -> tuple[int, ...]:
    """Neurons a block with which every slot is met, but with probability delta, by rule tight.

    Of a pool that is when every slot has a neuron; that each has one of its own costs hardly more
    where there are `SPARE` for each slot that needs one.
    """
    etas = theory.slot_tolerance("tight", [layer.shape for layer in layers], epsilon)
    sizes = []
    for i, (layer, eta) in enumerate(zip(layers, etas, strict=True)):
        size = theory.layer_block_size(layer, eta, delta / len(layers), first=i == 0)
        if construction == "pooled":
            sides = 2 if i == 0 else 1
            size = max(size, SPARE * sides * int(np.sum(np.abs(layer) > eta)))
        sizes.append(size)
    return tuple(sizes)


def layer_widths(construction: str, layers: Layers, epsilon: float, delta: float) -> list[int]:
    """Hidden neurons of every layer in blocks of `block_sizes`."""
    counts = block_counts(construction, (layers[0].shape[1], *map(len, layers)))
    blocks = block_sizes(construction, layers, epsilon, delta)
    return [m * count for m, count in zip(blocks, counts, strict=True)]


def _narrower(layers: Layers, epsilon: float, delta: float) -> str:
    """Pooled where it takes fewer hidden neurons in all than blocks, else blocks."""
    return min(("blocks", "pooled"), key=lambda c: sum(layer_widths(c, layers, epsilon, delta)))


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


def _search(
    scaled: Layers, nested: np.ndarray, seed: int, construction: str
) -> Callable[[int], tuple[np.ndarray, ...]]:
    """What to keep in every layer, for each of some networks, of which the last holds the others.

    Args:
        nested: block sizes, [network, layer], ascending.

    Returns:
        The function from the number of a network to its ranks, [side, n_out, n_in] a layer.
    """
    import jax
    import jax.numpy as jnp

    from ltjax.masks import assignment, layer_pool, nearest
    from ltjax.system import devices

    sizes = (scaled[0].shape[1], *map(len, scaled))
    counts, sides = block_counts(construction, sizes), [shape[0] for shape in slots(sizes)]
    pooled = construction == "pooled"
    with devices.own_settings():
        if pooled:
            _check_slots(sizes, len(nested), devices.memory(jax.local_devices()))
        search = (
            partial(layer_pool.search, lanes=POOL_LANES)
            if pooled
            else getattr(nearest, construction)
        )
        find = jax.jit(search, static_argnums=(1, 4))
        trial = np.full(1, TRIAL, np.uint32)
        key = tuple(map(jnp.asarray, draws.trial_key(np.full_like(trial, seed), trial)))
        found = []
        for i, layer in enumerate(scaled):
            target = jnp.asarray(layer, jnp.float32)[..., None]
            widths = jnp.asarray(nested[:, i] * counts[i], jnp.int32)
            slots_of_all = find(key, i, target, widths, sides[i])
            found.append([np.asarray(x)[..., 0] for x in slots_of_all])

    def ranks(n: int) -> tuple[np.ndarray, ...]:
        kept = []
        for i, layer in enumerate(scaled):
            error, neuron = (x[n] for x in found[i])
            if pooled:
                pool = assignment.Pool(seed, TRIAL, i, int(nested[n, i]), layer, sides[i])
                neuron = assignment.assign(pool, error, neuron, POOL_LANES)
            else:
                [neuron] = neuron
            kept.append(np.where(neuron < 0, -1, neuron // counts[i]))
        return tuple(kept)

    return ranks


def _search_subsets(
    scaled: Layers, nested: np.ndarray, seed: int
) -> Callable[[int], tuple[np.ndarray, ...]]:
    """`_search` by rule subset: ranks [name, n_out, n_in] a layer.

    Products are those of float64, rounded, and the rest is integers: the same on every processor.
    """
    import jax
    import jax.numpy as jnp

    from ltjax.masks import rules
    from ltjax.system import devices

    shapes = slots((scaled[0].shape[1], *map(len, scaled)))
    ranks = np.arange(nested[-1].max())
    products, targets = [], []
    for i, (layer, (sides, n_out, n_in)) in enumerate(zip(scaled, shapes, strict=True)):
        neuron = ranks[:, None, None] * n_in + np.arange(n_in)
        output, hidden = redraw.weights_at(
            seed, [TRIAL], i, neuron, np.arange(n_out)[:, None], np.arange(n_in)
        )
        for sign in (1.0, -1.0)[:sides]:
            side = np.where(sign * hidden > 0.0, output * hidden, np.inf)
            products.append(side.astype(np.float32).reshape(len(ranks), -1).T)
            targets.append(layer.astype(np.float32).ravel())
    # Slots of all layers side by side: one program serves them, at every block size.
    with devices.own_settings():
        fill = jax.jit(jax.vmap(rules.subset, (0, 0)))
        of_all, target = jnp.asarray(np.concatenate(products)), jnp.asarray(np.concatenate(targets))

    def ranks_of(n: int) -> tuple[np.ndarray, ...]:
        [m] = set(nested[n].tolist())
        with devices.own_settings():
            kept = np.asarray(fill(jnp.where(ranks < m, of_all, jnp.inf), target))
        ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
        found = []
        for part, shape in zip(np.split(kept[:, :m], ends), shapes, strict=True):
            # A neuron is of one side, so that the bits of both go together.
            row = np.any(part.reshape(*shape, m), axis=0)
            found.append(np.where(row, ranks[:m], -1).transpose(2, 0, 1))
        return tuple(found)

    return ranks_of


def _check_slots(sizes: Sequence[int], networks: int, memory: float) -> None:
    """`InputError` where the slots of a layer are more than the search of a pool has memory for."""
    most = int(memory / (SLOT_BYTES + networks * READING_BYTES))
    for i, shape in enumerate(slots(sizes), 1):
        if math.prod(shape) > most:
            raise InputError(
                f"target must have at most {most:,} slots in a layer to be pruned from a pool, for "
                f"which there is memory, got {math.prod(shape):,} in layer {i}; blocks need less."
            )
