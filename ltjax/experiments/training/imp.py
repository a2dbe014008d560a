"""Winning tickets: from a seed to the accuracy that tickets lose against their dense network.

A trial draws a network of every width, trains it, prunes it step by step, and trains what is left;
`magnitude_pruning` says how, and what tickets are held against.
"""

import jax.numpy as jnp

from ltjax.experiments.training import magnitude_pruning
from ltjax.experiments.training.config import Imp
from ltjax.experiments.training.host import Outcome, check, outcome, right, settle

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment


def trial(key, target, widths, config: Imp) -> Outcome:
    """One network of every width. Pure and jittable; batch it with `vmap`.

    Args:
        key: trial key, two uint32 words of shape [].
        target: `datasets.Data` in float32.
        widths: not looked at: shapes are static, those of the configuration.
        config: static.
    """
    inputs = len(target.y_test)
    found = [magnitude_pruning.train(key, target, width, config) for width in config.widths]
    columns = []
    for one in found:
        families = [one.ticket, one.random, one.reinit]
        whole = right(one.dense, inputs)
        lost = jnp.stack([whole - right(family, inputs, config.rewind) for family in families])
        sooner = one.ticket.stop <= one.dense.stop
        winning = jnp.where(sooner, lost[0], inputs)
        columns.append(jnp.concatenate([winning[None], lost]).ravel())
    first = found[0]
    ticket, mask = ([part[0] for part in tree] for tree in (first.ticket.best, first.masks))
    return outcome(
        jnp.stack(columns, axis=1),
        inputs,
        first.dense.best,
        tuple(w * m for w, m in zip(ticket, mask, strict=True)),
        tuple(mask),
        jnp.stack([right(first.dense, inputs), right(first.ticket, inputs, config.rewind)[0]]),
    )


def lanes(config: Imp) -> int:
    """Seeds trained side by side."""
    return 5
