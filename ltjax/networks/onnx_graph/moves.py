"""Operators that move numbers and change none, of an array [n, *shape] of tensors of a shape."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from ltjax.networks.onnx_graph.node import Node


def _reshape(node: Node, x: np.ndarray) -> np.ndarray:
    shape = node.whole(1)
    if not node.attribute("allowzero", 0):
        shape = [
            x.shape[i + 1] if size == 0 and i + 1 < x.ndim else size for i, size in enumerate(shape)
        ]
    return _shaped(node, x, shape)


def _flatten(node: Node, x: np.ndarray) -> np.ndarray:
    axis, rank = node.attribute("axis", 1), x.ndim - 1
    cut = 1 + (rank if axis == rank else _axis(node, axis, rank))
    return _shaped(node, x, [math.prod(x.shape[1:cut]), math.prod(x.shape[cut:])])


def _squeeze(node: Node, x: np.ndarray) -> np.ndarray:
    axes = _axes(node)
    if axes is None:
        axes = [i for i, size in enumerate(x.shape[1:]) if size == 1]
    gone = {_axis(node, axis, x.ndim - 1) for axis in axes}
    if any(x.shape[axis + 1] != 1 for axis in gone):
        node.refuse("squeeze axes of size 1", f"axes {axes} of shape {list(x.shape[1:])}")
    return _shaped(node, x, [s for i, s in enumerate(x.shape[1:]) if i not in gone])


def _unsqueeze(node: Node, x: np.ndarray) -> np.ndarray:
    axes = _axes(node) or []
    rank = x.ndim - 1 + len(axes)
    added = {_axis(node, axis, rank) for axis in axes}
    if len(added) < len(axes):
        node.refuse("add each axis once", f"axes {axes}")
    sizes = iter(x.shape[1:])
    return _shaped(node, x, [1 if i in added else next(sizes) for i in range(rank)])


def _transpose(node: Node, x: np.ndarray) -> np.ndarray:
    order = node.attribute("perm", list(range(x.ndim - 1))[::-1])
    if sorted(order) != list(range(x.ndim - 1)):
        node.refuse("permute the axes", f"perm {order} of shape {list(x.shape[1:])}")
    return np.transpose(x, [0, *(i + 1 for i in order)])


def _identity(node: Node, x: np.ndarray) -> np.ndarray:
    return x


def _dropout(node: Node, x: np.ndarray) -> np.ndarray:
    """Which drops nothing but in training."""
    for name, value in (("ratio", 0.5), ("seed", 0)):
        node.attribute(name, value)
    training = node.constant(2)
    if training is not None and np.any(training):
        node.refuse("be read for inference", "training_mode = 1")
    return x


def _shaped(node: Node, x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    try:
        if min(shape, default=0) < -1:
            raise ValueError
        return x.reshape(len(x), *shape)
    except (ValueError, OverflowError):
        node.refuse("keep the number of entries", f"{list(x.shape[1:])} to {list(shape)}")


def _axis(node: Node, axis: int, rank: int) -> int:
    """An axis counted from the front."""
    if not -rank <= axis < rank:
        node.refuse(f"have an axis of {rank}", str(axis))
    return axis % rank


def _axes(node: Node) -> list[int] | None:
    """An attribute before version 13 of the operators, and an input since; None where left out."""
    if "axes" in node.attributes:
        return node.attribute("axes", [0])
    return node.whole(1) if len(node.inputs) > 1 and node.inputs[1] else None


MOVES: dict[str, Callable[[Node, np.ndarray], np.ndarray]] = {
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Identity": _identity,
    "Dropout": _dropout,
}
