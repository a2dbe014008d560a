"""Many networks side by side, behind the function of one.

The search wants its trials on the last axis, where they are the lanes of the vector unit; a kernel
is written for one network all the same. A test holds the two equal bit for bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap


def one_of(many: Callable) -> Callable:
    """The function of one network, of which `vmap` makes `many` again.

    Args:
        many: maps trial keys (two uint32 words of shape [trial]), a target [..., trial] or [..., 1]
            and widths to a tree of arrays [..., trial].

    Returns:
        A function of one key (words of shape []), one target and the widths, to a tree without the
        trial axis. Under `vmap` that axis comes first; the widths are one grid for all.
    """

    @custom_vmap
    def one(key, target, widths) -> Any:
        found = many(tuple(k[None] for k in key), target[..., None], widths)
        return jax.tree.map(lambda x: x[..., 0], found)

    @one.def_vmap
    def crowd(size, batched, key, target, widths):
        if batched[2]:
            raise NotImplementedError("widths are one grid for all trials.")
        key = tuple(jnp.broadcast_to(k, (size,)) for k in key)
        target = jnp.moveaxis(target, 0, -1) if batched[1] else target[..., None]
        found = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), many(key, target, widths))
        return found, jax.tree.map(lambda _: True, found)

    return one


def side_by_side(lanes: int) -> Callable[[Callable], Callable]:
    """A function of many problems, taken `lanes` of them at once; a decorator.

    It maps arrays [..., problem] to a tree of such. What is last are always single problems, also
    behind `vmap`, whose axis joins theirs: no two of them share anything.
    """

    def decorate(many: Callable) -> Callable:
        @custom_vmap
        def chunked(*arrays):
            problems = arrays[0].shape[-1]
            across = max(1, min(lanes, problems))
            count = -(-problems // across)

            def chunks(x):
                x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, count * across - problems)])
                return jnp.moveaxis(x.reshape(*x.shape[:-1], count, across), -2, 0)

            def whole(x):
                x = jnp.moveaxis(x, 0, -2)
                return x.reshape(*x.shape[:-2], count * across)[..., :problems]

            found = jax.lax.map(lambda some: many(*some), tuple(map(chunks, arrays)))
            return jax.tree.map(whole, found)

        @chunked.def_vmap
        def crowd(size, batched, *arrays):
            joined = [
                jnp.moveaxis(x if own else jnp.broadcast_to(x, (size, *x.shape)), 0, -1)
                for x, own in zip(arrays, batched, strict=True)
            ]
            problems = joined[0].shape[-2]
            found = chunked(*(x.reshape(*x.shape[:-2], problems * size) for x in joined))
            apart = lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], problems, size), -1, 0)
            return jax.tree.map(apart, found), jax.tree.map(lambda _: True, found)

        return chunked

    return decorate
