"""Strong tickets: from a seed to the accuracy that a mask of random weights loses.

A trial draws a network of every width, trains it, and searches a mask of it as it was drawn;
`edge_popup` says how.
"""

import jax.numpy as jnp

from ltjax.experiments.training import edge_popup, mlp
from ltjax.experiments.training.config import Popup
from ltjax.experiments.training.host import Outcome, check, outcome, right, settle

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment


def trial(key, target, widths, config: Popup) -> Outcome:
    """One network of every width. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: `datasets.Data` in float32.
        widths: not looked at: shapes are static, those of the configuration.
        config: static.
    """
    inputs = len(target.y_test)
    columns, shown = [], []
    for width in config.widths:
        dense = mlp.dense(key, target, width, config)
        found = [edge_popup.search(key, target, width, keep, config) for keep in config.keeps]
        whole = right(dense, inputs)
        columns.append(jnp.stack([whole - right(one, inputs) for one in found]))
        shown.append((dense, found[0]))
    dense, first = shown[0]
    return outcome(
        jnp.stack(columns, axis=1),
        inputs,
        dense.best,
        first.layers,
        first.masks,
        jnp.stack([right(dense, inputs), right(first, inputs)]),
    )


def lanes(config: Popup) -> int:
    """Seeds trained side by side."""
    return 5
