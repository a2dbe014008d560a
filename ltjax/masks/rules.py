"""Mask rules: which neurons of one slot to keep, whatever the law of the weights.

A slot (output, input, side) sees the products A W of the neurons that may serve it, and the weight
that they are to meet. A rule is a function of one slot, in jax:

    @ltjax.mask_rule
    def nearest(products, target):          # [m], inf where a neuron is closed to the slot
        off = jnp.abs(products - target)
        best = jnp.argmin(off)
        return (jnp.arange(len(products)) == best) & (off[best] < jnp.abs(target))

and gives the neurons kept, bool [m]; nothing kept leaves an error of |target|. It is pure, and is
made a function of all slots, widths and trials by `vmap`. `nearest` is the rule of the paper:
`masks.nearest` is the same, fused with the draws of U[-1, 1], and a test holds the two equal.

A rule is found by its name; a record holds the name and a digest of its text, as of a law.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.errors import InputError
from ltjax.masks import local_search, subset_sums
from ltjax.weights import laws

OPEN = 24  # neurons that `subset` chooses from: it lists the sums of either half of them


@dataclass(frozen=True)
class MaskRule:
    """A function of one slot and its name.

    keep: products [m] and target [] to bool [m].
    source: digest of its text.
    """

    name: str
    keep: Callable
    source: str

    def __call__(self, products, target):
        return self.keep(products, target)


_known: dict[str, MaskRule] = {}


def mask_rule(keep: Callable) -> MaskRule:
    """Make a function of one slot a mask rule, known by its name."""
    return register(MaskRule(keep.__name__, keep, laws.digest(keep)))


def register(rule: MaskRule) -> MaskRule:
    """Make a rule known by its name; `InputError` where another text has taken that already."""
    other = _known.get(rule.name)
    if other is not None and other.source != rule.source:
        raise InputError(f"rule {rule.name} must be defined once, got two that differ.")
    _known[rule.name] = rule
    return rule


def known() -> dict[str, MaskRule]:
    """All rules at hand, by name."""
    return dict(_known)


@mask_rule
def nearest(products, target):
    """The paper's: the neuron nearest to the target, if that is better than none."""
    off = jnp.abs(products - target)
    best = jnp.argmin(off)
    return (jnp.arange(len(products)) == best) & (off[best] < jnp.abs(target))


@mask_rule
def flips(products, target):
    """One or two neurons kept or dropped at a time, downhill, until none would gain."""
    return local_search.flipped(jnp.where(jnp.isfinite(products), products, 0.0), target)


@mask_rule
def subset(products, target):
    """The subset with the nearest sum, of the `OPEN` open neurons with the largest products.

    Nearest on a grid of 2^-28 of the sizes in all: a sum is off by half a step for each neuron.
    With more neurons open the error is one of a subset still, and the largest reach farthest.
    """
    products = jnp.where(jnp.isfinite(products), products, 0.0)
    chosen = jnp.argsort(-jnp.abs(products))[:OPEN]
    sizes = jnp.sum(jnp.abs(products[chosen])) + jnp.abs(target)
    # A power of two by its bits: `pow` may be off by the last of them.
    exponent = jnp.minimum(28 - jnp.frexp(sizes)[1], 126)
    scale = jax.lax.bitcast_convert_type((exponent + 127) << 23, jnp.float32)
    steps = lambda x: jnp.round(x * scale).astype(jnp.int32)
    found = subset_sums.nearest(steps(products[chosen])[:, None], steps(target)[None])
    bits = (found.mask >> np.arange(len(chosen), dtype=np.uint32)) & np.uint32(1)
    return jnp.zeros(len(products), bool).at[chosen].set(bits > 0) & (products != 0.0)
