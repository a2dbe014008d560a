"""What is pruned to: targets by name, from a file or as numbers, and the problems they make."""

import os
from collections.abc import Sequence

import numpy as np

from ltjax import files, networks, theory
from ltjax.files import FilePath
from ltjax.problem import (
    CONSTRUCTIONS,
    NETWORK_CONSTRUCTIONS,
    NETWORK_RULES,
    RULES,
    Grid,
    InputError,
    Network,
    Neuron,
    Problem,
    check_seed,
    check_target,
)

MIN_EPSILON = 1e-9  # no network whose neurons can be numbered comes as near to a hard target


def neuron(
    dim: int | None = None,
    epsilons: Sequence[float] = (0.5, 0.2, 0.1),
    widths: Sequence[int] | None = None,
    target: FilePath | Sequence[float] | np.ndarray = "worst",
    constructions: Sequence[str] = CONSTRUCTIONS,
    rules: Sequence[str] = RULES,
    seed: int = 0,
) -> Problem:
    """The problem of pruning a random two-layer network to one neuron f(x) = relu(w.x).

    Args:
        dim: input dimension d; by default that of the target, or 8.
        epsilons: errors allowed, in (0, 1).
        widths: hidden neurons k of the random network; by default about 40, over which the exact
            curves rise from 1 % to 99.9 %.
        target: worst (all |w_i| = 1/sqrt(d), signs alternating), random (one target, drawn from
            the seed), a path to a .npy file, or the weights themselves.
        constructions: blocks and pooled, or one of them.
        rules: of slides, tight, l2 and sup; sup is the dearest.
        seed: 0 <= seed < 2^32.
    """
    weights = _target(target, dim, check_seed(seed))
    config = Neuron(dim=len(weights), constructions=tuple(constructions), rules=tuple(rules))
    grid = _grid(widths, epsilons)
    if widths is None:
        rising = theory.default_widths(weights, grid.epsilons, config.constructions)
        grid = Grid(widths=rising, epsilons=grid.epsilons)
    return Problem(config=config, target=weights, grid=grid, seed=seed)


def network(
    dim: int | None = None,
    hidden: int | None = None,
    depth: int | None = None,
    epsilons: Sequence[float] = (0.5, 0.2),
    blocks: Sequence[int] | None = None,
    target: FilePath | Sequence[np.ndarray] = "worst",
    last: str = "linear",
    constructions: Sequence[str] = NETWORK_CONSTRUCTIONS,
    rules: Sequence[str] = NETWORK_RULES,
    seed: int = 0,
) -> Problem:
    """The problem of pruning a random network of depth 2 l to a network of l layers.

    Args:
        dim, hidden, depth: d, n and l of a target by name, which has one output; 8, 8 and 2 by
            default. Of another target they must be what they are said to be.
        epsilons: errors allowed, in (0, 1).
        blocks: block sizes m; by default about 16, over which the curves rise.
        target: worst (weights all of one size), random (one target, drawn from the seed), a path
            to a .npz file, or the weight matrices [n_out, n_in].
        last: linear or relu, what the last layer ends with.
        constructions: blocks and separate, or one of them.
        rules: of slides, tight and sup; sup is the dearest.
        seed: 0 <= seed < 2^32.
    """
    check_seed(seed)
    if isinstance(target, str) and target in ("worst", "random"):
        asked = zip((dim, hidden, depth), (8, 8, 2), strict=True)
        d, n, depth = (usual if one is None else one for one, usual in asked)
        if depth < 1:
            raise InputError(f"depth must be at least 1, got {depth}.")
        sizes = Network(sizes=(d, *[n] * (depth - 1), 1)).sizes
        layers = (
            networks.worst_target(sizes)
            if target == "worst"
            else networks.random_target(seed, sizes)
        )
    else:
        layers = _layers(target, dim, hidden, depth)
        sizes = (layers[0].shape[1], *(len(layer) for layer in layers))
    config = Network(sizes=sizes, last=last, constructions=tuple(constructions), rules=tuple(rules))
    checked, grid = config.check_target(layers), _grid(blocks, epsilons)
    if blocks is None:
        rising = theory.default_block_sizes(layers, grid.epsilons)
        grid = Grid(widths=rising, epsilons=grid.epsilons)
    return Problem(config=config, target=checked, grid=grid, seed=seed, experiment="network")


def _layers(target, dim, hidden, depth) -> list[np.ndarray]:
    """The matrices of a file, or those given, with the shape that was asked for."""
    if isinstance(target, str | os.PathLike):
        layers = files.read_network(target, "target")
    else:
        layers = [np.asarray(layer, np.float64) for layer in target]
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


def _grid(widths: Sequence[int] | None, epsilons: Sequence[float]) -> Grid:
    """The grid asked for; with one width where none is."""
    grid = Grid(widths=(1,) if widths is None else tuple(widths), epsilons=tuple(epsilons))
    if min(grid.epsilons) < MIN_EPSILON:
        raise InputError(f"epsilon must be at least {MIN_EPSILON:g}, got {min(grid.epsilons):g}.")
    return grid


def _target(target, dim: int | None, seed: int) -> tuple[float, ...]:
    """Resolve a name, a file or numbers to the d weights."""
    if not isinstance(target, str | os.PathLike):
        values, name = np.asarray(target, np.float64), "target"
    elif target in ("worst", "random"):
        dim = Neuron(dim=8 if dim is None else dim).dim
        if target == "worst":
            return tuple(dim**-0.5 * (-1) ** i for i in range(dim))
        return tuple(networks.random_target(seed, (dim, 1))[0][0].tolist())
    else:
        values, name = files.read_array(target, "target"), f"target {target}"
    if values.ndim != 1 or values.size < 1:
        raise InputError(f"{name} must be a list of d weights, got shape {list(values.shape)}.")
    return check_target(values, len(values) if dim is None else dim, name)
