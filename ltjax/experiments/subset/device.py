"""Subset sums of one weight: from random candidates to a bracket on the error, of every width.

Sums are taken in int32. Integers, and candidates of U[-1, 1], are multiples of the unit; others are
rounded to one, and the bracket is widened by what that may do to a sum. Nothing else widens it: the
search is exact.

This is the device's part; `host` settles in int64 what an epsilon splits.

Source: Pensia, Rajput, Nagle, Vishwakarma, Papailiopoulos, "Optimal Lottery Tickets via SubsetSum",
NeurIPS 2020, arXiv:2006.07990.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.experiments.own.checks import DEVICE
from ltjax.experiments.subset import candidates
from ltjax.experiments.subset.config import FINE, WEIGHTS, Subset
from ltjax.experiments.subset.host import check, settle
from ltjax.masks import every_subset, subset_sums
from ltjax.masks.reachable import cover_radii

__all__ = ["check", "lanes", "settle", "trial"]  # what the engine asks of an experiment

SINGLE = 2.0**-22  # relative: roundings of an error to float32, and of what is added to it
NEVER = np.int32(2**30)  # units: the error where there is no subset to choose


class Outcome(NamedTuple):
    """What one trial yields. Arrays over criteria in the order of `config.criteria`.

    lower, upper: bracket on the error, float32 [criterion, width].
    """

    lower: jax.Array
    upper: jax.Array


def trial(key, target, widths, config: Subset) -> Outcome:
    """One sequence of candidates, and what its first n do at every width. Pure and jittable.

    Args:
        key: trial key, two uint32 words of shape [].
        target: of no size; the configuration has the target.
        widths: ascending int32 [n_widths].
        config: static.
    """
    brackets = [EVENTS[event](key, config) for event in config.events]
    lower, upper = (jnp.stack(ends) for ends in zip(*brackets, strict=True))
    in_order = lambda x: jnp.transpose(x, (2, 0, 1)).reshape(len(config.criteria), -1)
    return Outcome(in_order(lower)[:, widths], in_order(upper)[:, widths])


# Brackets of an event, two float32 [n + 1, law], for the first 0, 1, ..., n candidates.


def _target(key, config):
    numbers, _, target = _drawn(key, config, config.laws, _units(config))
    found = subset_sums.nearest_of_prefixes(numbers, target)
    return _bracket(jnp.abs(found.error), config, config.laws, _units(config), 0.5)


def _listed(key, config, event):
    """Subsets tried one by one: those of one size, or those that may move."""
    units, least = _units(config), []
    numbers, usable, target = _drawn(key, config, config.laws, units)
    closed = (~usable).astype(jnp.int32)
    step = np.rint(config.moved * units).astype(np.int32)[None]
    for subsets in every_subset.of_prefixes(config.most):
        costs = jnp.abs(every_subset.sums(numbers, subsets) - target[None])
        sizes = every_subset.sizes(subsets)[:, None]
        chosen = every_subset.sums(closed, subsets) == 0
        if event == "size":
            chosen &= sizes == config.kept
        else:
            costs = jnp.maximum(costs - sizes * step, 0)
        least.append(jnp.min(jnp.where(chosen, costs, NEVER), axis=0))
    steps = 0.5 * config.most * (event == "moved")
    return _bracket(jax.lax.cummin(jnp.stack(least)), config, config.laws, units, 0.5, steps)


def _cover(key, config):
    ends = {}
    grids = {"integer": config.largest}, dict.fromkeys(WEIGHTS, 2**config.cover_bits)
    for grid in grids:
        laws = tuple(law for law in config.laws if law in grid)
        if not laws:
            continue
        units = np.array([grid[law] for law in laws])
        numbers, _, _ = _drawn(key, config, laws, units)
        largest = max(config.largest_candidate(law) for law in laws)
        radii = cover_radii(numbers, round(config.span * units[0]), int(largest * units[0]) + 1)
        # The ends of the interval are rounded; and the worst of all real targets is up to half a
        # unit worse than the worst integer.
        low, high = _bracket(radii, config, laws, units, 1.0)
        ends |= {law: (low[:, i], high[:, i]) for i, law in enumerate(laws)}
    lower, upper = zip(*(ends[law] for law in config.laws), strict=True)
    return jnp.stack(lower, axis=1), jnp.stack(upper, axis=1)


EVENTS: dict[str, Callable] = {
    "target": _target,
    "cover": _cover,
    "size": partial(_listed, event="size"),
    "moved": partial(_listed, event="moved"),
}


def _units(config):
    return np.array([config.units(law) for law in config.laws])


def _drawn(key, config, laws, units):
    """Candidates int32 [n, law], which are usable, bool, and targets int32 [law]."""
    drawn = [
        (
            *candidates.candidates(key, law, config, unit, DEVICE, np.int32),
            candidates.target(key, law, config, unit, DEVICE, np.int32),
        )
        for law, unit in zip(laws, units.tolist(), strict=True)
    ]
    return tuple(jnp.stack(each, axis=-1) for each in zip(*drawn, strict=True))


def _bracket(least, config, laws, units, beside, steps=0.0):
    """Ends of the errors in units, int32 [n + 1, law].

    Args:
        beside, steps: units by which an error may be off whatever the numbers, where the law is of
            integers in none but `steps`.
    """
    exact = np.array([law == "integer" for law in laws])
    whole = exact | np.array([law == "uniform" for law in laws]) & (units == 2**FINE)
    rounding = np.array([config.rounding(law) for law in laws])
    each = np.where(whole, 0.0, 0.5 / units + rounding)
    off = (
        np.arange(config.most + 1)[:, None] * each + (np.where(exact, 0.0, beside) + steps) / units
    )
    slack = np.float32(off * (1 + SINGLE))
    error = jnp.where(least < NEVER, least.astype(jnp.float32) / np.float32(units)[None], jnp.inf)
    return (
        jnp.maximum(error * np.float32(1 - SINGLE) - slack, 0.0),
        error * np.float32(1 + SINGLE) + slack,
    )


def lanes(config: Subset) -> int:
    """Trials that a device does best side by side; the lists of all subsets take memory."""
    return 64 if {"size", "moved"} & set(config.events) else 512
