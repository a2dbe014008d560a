"""Networks as named arrays: weight matrices in order, and behind each its biases, if it has any.

So numpy saves what PyTorch calls the parameters of a model, and so a list in memory is read.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from ltjax.errors import InputError
from ltjax.networks.affine import ReluNetwork
from ltjax.system.files import as_finite, as_network, shown

NUMBER = re.compile(r"0*([0-9]+)")  # in the name of an array


def paired(arrays: Mapping[str, np.ndarray], name: str, last: str = "linear") -> ReluNetwork:
    """The network of matrices [n_out, n_in] and of the vectors [n_out] behind them.

    Args:
        arrays: in order. Of names that differ in numbers alone the numbers must rise, and a bias
            whose name has as many numbers as that of its matrix must have the same ones, unless
            both names differ in numbers alone.
        name: what the network is for, in messages.
        last: linear or relu, what the last layer ends with.

    Returns:
        A network none of whose numbers is rounded; biases are zeros where there are none.

    Raises:
        InputError: where a layer does not fit the one before, or a bias its matrix.
    """
    if not arrays:
        raise InputError(f"{name} must hold a weight matrix a layer, got no arrays.")
    _check_order(list(arrays), name)
    behind = _vectors(arrays, name)
    weights = as_network({matrix: arrays[matrix] for matrix in behind}, name)
    biases = []
    for layer, (matrix, vector) in zip(weights, behind.items(), strict=True):
        if vector is None:
            biases.append(np.zeros(len(layer)))
            continue
        biases.append(as_finite(arrays[vector], name, shown(vector)))
        if len(biases[-1]) != len(layer):
            raise InputError(
                f"{name} must have a bias for each output of a layer, got {len(biases[-1])} in "
                f"{shown(vector)} for {len(layer)} in {shown(matrix)}."
            )
    return ReluNetwork(tuple(weights), tuple(biases), last)


def given(layers: Sequence, name: str, last: str = "linear") -> ReluNetwork:
    """A network in memory, matrices [n_out, n_in] and vectors [n_out] behind them, as `paired`."""
    return paired({f"array {i}": np.asarray(one) for i, one in enumerate(layers, 1)}, name, last)


def matrices(network: ReluNetwork, name: str) -> list[np.ndarray]:
    """The weights [n_out, n_in] of a network without biases, read exactly, or `InputError`."""
    for i, biases in enumerate(network.biases, 1):
        if np.any(biases):
            found = biases[np.flatnonzero(biases)[0]]
            raise InputError(
                f"{name} must have no biases, as the theorem has none, got {found:g} in layer {i}: "
                f"train again without biases."
            )
    if any(network.rounding):
        i = int(np.flatnonzero(network.rounding)[0]) + 1
        raise InputError(
            f"{name} must have layers that float64 holds exactly, got a rounded one, layer {i}: "
            f"compose the operators of the layer yourself, and save what that gives."
        )
    return list(network.weights)


def numbers(array: str) -> list[tuple[int, str]]:
    """The numbers in a name, of any length, as they compare."""
    return [(len(digits), digits) for digits in NUMBER.findall(array)]


def pattern(array: str) -> str:
    """A name without its numbers."""
    return NUMBER.sub("\0", array)


def _vectors(arrays: Mapping[str, np.ndarray], name: str) -> dict[str, str | None]:
    """The name of the vector behind each matrix, if there is one."""
    behind: dict[str, str | None] = {}
    for array, values in arrays.items():
        if values.ndim != 1:
            behind[array] = None
            continue
        if not behind:
            raise InputError(f"{name} must begin with a matrix, got the vector {shown(array)}.")
        matrix, before = list(behind.items())[-1]
        if before is not None:
            raise InputError(
                f"{name} must hold one vector of biases a layer, got {shown(before)} and "
                f"{shown(array)} behind {shown(matrix)}."
            )
        _check_names(matrix, array, name)
        behind[matrix] = array
    return behind


def _check_order(names: list[str], name: str) -> None:
    """`InputError` where names that differ in numbers alone do not rise, as when sorted as text."""
    before: dict[str, str] = {}
    for array in names:
        alike = pattern(array)
        if alike in before and numbers(before[alike]) >= numbers(array):
            raise InputError(
                f"{name} must hold its layers from the first to the last, got "
                f"{shown(before[alike])} before {shown(array)}: save them in order, or under names "
                f"whose numbers rise."
            )
        before[alike] = array


def _check_names(matrix: str, vector: str, name: str) -> None:
    """`InputError` where the numbers in two names say that a bias is another layer's."""
    of_matrix, of_vector = numbers(matrix), numbers(vector)
    comparable = len(of_matrix) == len(of_vector) and pattern(matrix) != pattern(vector)
    if comparable and of_matrix != of_vector:
        raise InputError(
            f"{name} must hold the biases of a layer behind its matrix, got {shown(vector)} behind "
            f"{shown(matrix)}."
        )
