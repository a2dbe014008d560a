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
