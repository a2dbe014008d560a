"""Targets: the hardest, random ones, and a neuron by name, from a file or as it is."""

import os
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.linalg import hadamard

from ltjax.errors import InputError
from ltjax.system import files
from ltjax.validate import check_dim
from ltjax.weights import draws


def random_target(seed: int, sizes: Sequence[int]) -> list[np.ndarray]:
    """A target within the theorem's hypotheses: U[-1, 1] / sqrt(n_in), with norms cut to 1.

    Args:
        sizes: d, n_1, ..., outputs.
    """
    zero = np.zeros(1, np.uint32)
    key = draws.trial_key(np.full_like(zero, seed), zero)
    layers = []
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        neuron = np.arange(n_out, dtype=np.uint32)[:, None]
        words = draws.word(
            draws.stream(key, i, draws.TARGET), neuron, np.arange(n_in, dtype=np.uint32)
        )
        layer = draws.uniform(words).astype(np.float64) * n_in**-0.5
        layers.append(layer / _rounded_norm(layer))
    return layers


def worst_target(sizes: Sequence[int]) -> list[np.ndarray]:
    """A target of the hardest weights: all of one size, 1/sqrt(n_in) where that leaves norms <= 1.

    Signs are those of a Hadamard matrix, orthogonal where sizes are powers of two. Then |f| reaches
    1 in the unit ball at any depth; that of a random target falls fast with depth.
    """
    layers = []
    for n_in, n_out in pairwise(sizes):
        signs = hadamard(1 << (max(n_in, n_out) - 1).bit_length(), float)
        layer = signs[:n_out, :n_in] * n_in**-0.5
        layers.append(layer / _rounded_norm(layer))
    return layers


def _rounded_norm(layer: np.ndarray) -> float:
    """The norm where it is above 1, rounded up so coarsely that it is the same on any machine."""
    return max(1.0, float(np.ceil(np.linalg.norm(layer, 2) * (1 - 1e-12) * 2**20) / 2**20))


def neuron_target(target, dim: int | None, seed: int) -> tuple[np.ndarray, str]:
    """The d weights by a name, from a file or as they are; and what to call them."""
    if not isinstance(target, str | os.PathLike):
        values, name = files.as_float64(np.asarray(target), "target", "memory"), "target"
    elif target in ("worst", "random"):
        dim = check_dim(8 if dim is None else dim)
        if target == "worst":
            values = np.array([dim**-0.5 * (-1) ** i for i in range(dim)])
        else:
            values = random_target(seed, (dim, 1))[0][0]
        name = "target"
    else:
        values, name = files.read_array(target, "target"), f"target {target}"
    if values.ndim != 1 or values.size < 1:
        raise InputError(f"{name} must be a list of d weights, got shape {list(values.shape)}.")
    return values, name
