"""What is pruned to: targets by name, from a file or as numbers, and the problems they make."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ltjax import datasets, decimals, files, networks, theory
from ltjax.configs import (
    CONSTRUCTIONS,
    DATA,
    MAX_FEATURES,
    NETWORK_CONSTRUCTIONS,
    RULES,
    SEARCHES,
    Features,
    Imp,
    Network,
    Neuron,
    Popup,
    check_target,
)
from ltjax.errors import InputError
from ltjax.files import FilePath
from ltjax.problem import Grid, Problem, check_seed

MIN_EPSILON = 1e-9  # no network whose neurons can be numbered comes as near to a hard target


@np.errstate(under="ignore")
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


@np.errstate(under="ignore")
def network(
    dim: int | None = None,
    hidden: int | None = None,
    depth: int | None = None,
    epsilons: Sequence[float] = (0.5, 0.2),
    blocks: Sequence[int] | None = None,
    target: FilePath | Sequence[np.ndarray] = "worst",
    last: str = "linear",
    constructions: Sequence[str] = NETWORK_CONSTRUCTIONS,
    rules: Sequence[str] = Network.rules,
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
        rules: of slides, tight, sup and tree, each dearer than the one before.
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


@np.errstate(under="ignore")
def features(
    dim: int | None = None,
    count: int = 20,
    epsilons: Sequence[float] = (0.1, 0.05, 0.02),
    widths: Sequence[int] | None = None,
    target: FilePath | Sequence[float] | np.ndarray = "worst",
    data: FilePath | tuple[np.ndarray, np.ndarray] = "gaussian",
    activation: str = "relu",
    law: str = "sphere",
    radius: float = 1.0,
    loss: str = "squared",
    cap: float | None = None,
    samples: int = 20_000,
    searches: Sequence[str] = SEARCHES,
    seed: int = 0,
) -> Problem:
    """The problem of keeping whole neurons so that the loss is that of `count` random features.

    Args:
        dim: input dimension d; by default that of the target or of the data, or 8.
        count: n, the random features that set the baseline, and the neurons of a group.
        epsilons: losses allowed beyond the baseline, in (0, 1).
        widths: hidden neurons k; by default twelve, from one group to 80.
        target: weights w of y = relu(w.x): worst (all of one size), random (one, by seed), a path
            to a .npy file, or d numbers with ||w|| <= 1.
        data: gaussian (N(0, I)), sphere, ball; or answers of one's own in place of a target: a
            path to a .npz file of x [n, d] and y [n], or the two.
        activation, law, radius, loss: as in `configs.Features`.
        cap: bound C on the coefficients of the features; by default the median of the largest one
            that is best without a bound.
        samples: fresh inputs a trial, where the loss has no closed form.
        searches: groups and climb, or one of them.
        seed: 0 <= seed < 2^32.
    """
    from ltjax.experiments import features_host  # the way to jax

    check_seed(seed)
    answers: tuple[np.ndarray, np.ndarray] | np.ndarray
    if isinstance(data, str) and data in DATA[:-1]:
        law_of = data
        answers, _ = _weights(target, dim, seed)
        d = len(answers) if dim is None else dim
    else:
        law_of = "file"
        if not (isinstance(target, str) and target == "worst"):
            raise InputError(f"target must be left out where data holds the answers, got {target}.")
        answers = x, _ = _data(data)
        d = x.shape[1] if x.ndim == 2 else 0
        if dim is not None and dim != d:
            raise InputError(f"dim must be that of the data, {d}, got {dim}.")
    grid = _grid(widths, epsilons)
    if widths is None:
        rising = np.unique(np.geomspace(1, 80, 12).round().astype(int)) * count
        held = rising[rising <= MAX_FEATURES].tolist() or [count]
        grid = Grid(widths=tuple(held), epsilons=grid.epsilons)
    config = Features(
        dim=d, features=count, cap=1.0 if cap is None else cap, baseline=0.0,
        most=max(grid.widths), activation=activation, law=law, radius=radius, data=law_of,
        loss=loss, samples=0, searches=tuple(searches),
    )  # fmt: skip
    if not config.exact and law_of != "file":
        config = replace(config, samples=samples)
    checked = config.check_target(answers)
    cap, baseline = features_host.reference(config, config.arrays(checked), seed, cap)
    config = replace(config, cap=cap, baseline=baseline)
    return Problem(config=config, target=checked, grid=grid, seed=seed, experiment="features")


def imp(
    data: FilePath | Sequence[np.ndarray] = "digits",
    widths: Sequence[int] = (64, 128, 256),
    keeps: Sequence[float] = (0.8, 0.5, 0.2, 0.1, 0.05),
    within: Sequence[float] = (0.05, 0.02, 0.01),
    seed: int = 0,
    **settings,
) -> Problem:
    """The problem of finding winning tickets by training.

    Args:
        data: digits, breast_cancer or wine (of scikit-learn); a path to a .npz file of x_train,
            y_train, x_test, y_test, or the four.
        widths: hidden neurons of a layer.
        keeps: shares of the weights kept.
        within: test accuracy that may be lost against the dense network, in (0, 1).
        seed: 0 <= seed < 2^32.
        settings: rewind, hidden, steps, batch, rate, as in `configs.Imp`.
    """
    return _trained("imp", Imp, data, widths, keeps, within, seed, settings)


def popup(
    data: FilePath | Sequence[np.ndarray] = "digits",
    widths: Sequence[int] = (64, 128, 256, 512, 1024),
    keeps: Sequence[float] = (0.5,),
    within: Sequence[float] = (0.05, 0.02, 0.01),
    seed: int = 0,
    **settings,
) -> Problem:
    """The problem of finding strong tickets without training; arguments as of `imp`.

    Args:
        settings: score_rate, hidden, steps, batch, rate, as in `configs.Popup`.
    """
    return _trained("popup", Popup, data, widths, keeps, within, seed, settings)


def _trained(experiment, config, data, widths, keeps, within, seed, settings) -> Problem:
    named = isinstance(data, str | os.PathLike)
    arrays = datasets.load(data) if named else data
    bundled = named and str(data) in datasets.BUNDLED
    known = str(data) if bundled else "file"
    asked = config(data=known, widths=tuple(widths), keeps=tuple(keeps), **settings)
    target = (datasets.digest(arrays),) if bundled else asked.check_target(arrays)
    grid = _grid(asked.widths, within)
    return Problem(config=asked, target=target, grid=grid, seed=seed, experiment=experiment)


def _data(data) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and answers, from a file or as they are."""
    if not isinstance(data, str | os.PathLike):
        x, y = (files.as_float64(np.asarray(part), "data", "memory") for part in data)
        return x, y
    if not str(data).endswith(".npz"):
        raise InputError(f"data must be one of {', '.join(DATA[:-1])} or a .npz file, got {data}.")
    arrays = files.read_arrays(data, "data")
    if set(arrays) != {"x", "y"}:
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"data must hold the arrays x and y, got {found} in {data}.")
    return files.as_float64(arrays["x"], "data", "x"), files.as_float64(arrays["y"], "data", "y")


def _layers(target, dim, hidden, depth) -> list[np.ndarray]:
    """The matrices of a file, or those given, with the shape that was asked for."""
    if isinstance(target, str | os.PathLike):
        layers = files.read_network(target, "target")
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


def _grid(widths: Sequence[int] | None, epsilons: Sequence[float]) -> Grid:
    """The grid asked for; with one width where none is."""
    grid = Grid(widths=(1,) if widths is None else tuple(widths), epsilons=tuple(epsilons))
    if min(grid.epsilons) < MIN_EPSILON:
        found = decimals.exact(min(grid.epsilons))
        raise InputError(f"epsilon must be at least {MIN_EPSILON:g}, got {found}.")
    return grid


def _target(target, dim: int | None, seed: int) -> tuple[float, ...]:
    """Resolve a name, a file or numbers to the d weights of a neuron."""
    values, name = _weights(target, dim, seed)
    return check_target(values, len(values) if dim is None else dim, name)


def _weights(target, dim: int | None, seed: int) -> tuple[np.ndarray, str]:
    """The d weights by a name, from a file or as they are; and what to call them."""
    if not isinstance(target, str | os.PathLike):
        values, name = files.as_float64(np.asarray(target), "target", "memory"), "target"
    elif target in ("worst", "random"):
        dim = Neuron(dim=8 if dim is None else dim).dim
        if target == "worst":
            values = np.array([dim**-0.5 * (-1) ** i for i in range(dim)])
        else:
            values = networks.random_target(seed, (dim, 1))[0][0]
        name = "target"
    else:
        values, name = files.read_array(target, "target"), f"target {target}"
    if values.ndim != 1 or values.size < 1:
        raise InputError(f"{name} must be a list of d weights, got shape {list(values.shape)}.")
    return values, name
