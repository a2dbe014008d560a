"""ReLU networks from files: .npz, .safetensors and .onnx. Nothing in a file is executed."""

from pathlib import Path

import numpy as np

from ltjax.errors import InputError
from ltjax.networks import arrays, safetensors_file
from ltjax.networks.affine import ReluNetwork
from ltjax.networks.onnx_graph import walk
from ltjax.system import files
from ltjax.system.files import FilePath

FORMATS = (".npz", ".safetensors", ".onnx")


def read_network(path: FilePath, name: str, last: str | None = None) -> ReluNetwork:
    """The network of a file, by the end of its name; any other than `FORMATS` is read as .npz.

    Args:
        path: the file.
        name: what it is for, in messages.
        last: linear or relu, what the last layer ends with, where that is known beforehand; linear
            where neither `last` nor the file says.

    Raises:
        InputError: where the file holds no such network, or ends otherwise than `last` says.
    """
    suffix, data = Path(path).suffix, files.read_bytes(path, name)
    if suffix == ".safetensors":
        return arrays.paired(safetensors_file.tensors(data, name), name, last or "linear")
    if suffix == ".onnx":
        return _ending(walk.network(data, name), path, last)
    return arrays.paired(files.parse_arrays(data, path, name), name, last or "linear")


def read_matrices(path: FilePath, name: str, last: str = "linear") -> list[np.ndarray]:
    """The weight matrices [n_out, n_in] of a file that holds a network without biases."""
    return arrays.matrices(read_network(path, name, last), name)


def _ending(network: ReluNetwork, path: FilePath, last: str | None) -> ReluNetwork:
    """A network whose file says how it ends, or `InputError` where that is not `last`."""
    if last not in (None, network.last):
        raise InputError(f"last must be {network.last}, as {path} ends, got {last}.")
    return network
