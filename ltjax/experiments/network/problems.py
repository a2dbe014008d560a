"""The problem of a network, from what a user asks for."""

import os
from collections.abc import Sequence

import numpy as np

from ltjax import theory
from ltjax.errors import InputError
from ltjax.experiments.network import pilot
from ltjax.experiments.network.config import (
    NETWORK_RULES,
    PARTITIONS,
    SUPREMA,
    Network,
)
from ltjax.networks import reading
from ltjax.networks.targets import random_target, worst_target
from ltjax.problem.problem import Grid, Problem, asked_grid
from ltjax.system import files
from ltjax.system.files import FilePath
from ltjax.validate import check_seed
from ltjax.weights.laws import Law, is_paper


@np.errstate(under="ignore")
def network(
    dim: int | None = None,
    hidden: int | None = None,
    depth: int | None = None,
    epsilons: Sequence[float] = (0.5, 0.2),
    blocks: Sequence[int] | None = None,
    target: FilePath | Sequence[np.ndarray] = "worst",
    last: str = "linear",
    constructions: Sequence[str] = PARTITIONS,
    rules: Sequence = Network.rules,
    seed: int = 0,
    law: Law | str | None = None,
    widths: Sequence[int] | None = None,
) -> Problem:
    """The problem of pruning a random network of depth 2 l to a network of l layers.

    Args:
        dim, hidden, depth: d, n and l of a target by name, which has one output; 8, 8 and 2 by
            default. Of another target they must be what they are said to be.
        epsilons: errors allowed, in (0, 1).
        blocks: block sizes m; by default some 16 to 30, over which the curves rise, as a pilot of a
            few trials finds (see `pilot`).
        target: worst (weights all of one size), random (one target, drawn from the seed), a path
            to a .npz file, or the weight matrices [n_out, n_in].
        last: linear or relu, what the last layer ends with.
        constructions: of blocks, separate and pooled; by default the first two. Or copies alone,
            by a mask rule, from a random network of depth l + 1 (`experiments.copies`).
        rules: of slides, tight, sup and tree, each more expensive than the one before. And mask
            rules, by name or as they are, which are then counted in place of the constructions.
        seed: 0 <= seed < 2^32.
        law: of all random weights, by name or as it is; U[-1, 1] by default.
        widths: in place of blocks where pooled is among the constructions, hidden neurons k of each
            random layer; by default as many.
    """
    check_seed(seed)
    if isinstance(target, str) and target in ("worst", "random"):
        asked = zip((dim, hidden, depth), (8, 8, 2), strict=True)
        d, n, depth = (usual if one is None else one for one, usual in asked)
        if depth < 1:
            raise InputError(f"depth must be at least 1, got {depth}.")
        sizes = Network(sizes=(d, *[n] * (depth - 1), 1)).sizes
        layers = worst_target(sizes) if target == "worst" else random_target(seed, sizes)
    else:
        layers = _layers(target, dim, hidden, depth, last)
        sizes = (layers[0].shape[1], *(len(layer) for layer in layers))
    if "copies" in constructions:
        from ltjax.experiments.copies.problems import copies  # the way to jax

        return copies(sizes, last, layers, epsilons, blocks, law, rules, constructions, seed)
    pooled = "pooled" in constructions
    if not is_paper(law) or not set(rules) <= set(NETWORK_RULES):
        if pooled:
            raise InputError("constructions must be blocks beside a law or mask rule, got pooled.")
        from ltjax.experiments.own.problems import own  # the way to jax

        return own(
            "network", sizes, last, layers, epsilons, blocks, law, rules, constructions, seed
        )
    config = Network(sizes=sizes, last=last, constructions=tuple(constructions), rules=tuple(rules))
    given, other = (widths, blocks) if pooled else (blocks, widths)
    if other is not None:
        named = ("widths", "blocks") if pooled else ("blocks", "widths")
        raise InputError(
            "{} must be given in place of {} {} pooled among the constructions, got {}.".format(
                *named, "with" if pooled else "without", ", ".join(map(str, other))
            )
        )
    checked, grid = config.check_target(layers), asked_grid(given, epsilons)
    if given is None:
        grid = Grid(widths=_rising(config, layers, grid.epsilons), epsilons=grid.epsilons)
    return Problem(config=config, target=checked, grid=grid, seed=seed, experiment="network")


def _rising(config: Network, layers, epsilons) -> tuple[int, ...]:
    """Widths over which the curves rise, of the supremum by a pilot."""
    units = dict.fromkeys(config.constructions, 1)
    if config.of_layers:
        units = {name: max(config.counts(name)) for name in config.constructions}
        proved = theory.default_layer_widths(layers, epsilons, units)
    else:
        proved = theory.default_block_sizes(layers, epsilons)
    if not set(SUPREMA) & set(config.rules):
        return proved
    return pilot.rising(layers, config.last, units, epsilons, max(proved)) or proved


def _layers(target, dim, hidden, depth, last) -> list[np.ndarray]:
    """The matrices of a file, or those given, with the shape that was asked for."""
    if isinstance(target, str | os.PathLike):
        layers = reading.read_matrices(target, "target", last)
    else:
        given = enumerate(map(np.asarray, target), 1)
        layers = [files.as_float64(layer, "target", f"layer {i}") for i, layer in given]
    hiddens = {len(layer) for layer in layers[:-1]}
    for name, asked, there in (
        ("dim", dim, {layers[0].shape[1]}),
        ("hidden", hidden, hiddens),
        ("depth", depth, {len(layers)}),
    ):
        if asked is not None and there != {asked}:
            found = ", ".join(map(str, sorted(there))) or "none"
            raise InputError(f"{name} must be that of the target, {found}, got {asked}.")
    return layers
