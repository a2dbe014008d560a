"""ReLU networks from .onnx files: the graph is walked node by node, in numpy, and not executed.

The graph must be a chain, in which each node takes the output of the one before, and constants.
Between two Relus all of its nodes are affine: together they are one layer, composed in float64,
with a bound on what that rounds. Whatever else there is, is refused by the name and operator of its
node.

By the specification of the format (https://onnx.ai/onnx/repo-docs/IR.html). A first axis is that of
the points of a batch, where a tensor has two or more: the network is that of one point.
"""

import math
from collections.abc import Iterable

import numpy as np

from ltjax.errors import InputError
from ltjax.networks import coefficients
from ltjax.networks.affine import ReluNetwork
from ltjax.networks.coefficients import Coefficients
from ltjax.networks.onnx_graph import constants
from ltjax.networks.onnx_graph.constants import MOST_CONSTANTS
from ltjax.networks.onnx_graph.node import MOST_NUMBERS, Node
from ltjax.networks.onnx_graph.operators import AFFINE, TWO_SIDED
from ltjax.system.files import shown

OLDEST, NEWEST = 7, 28  # versions of the operators: broadcasting is numpy's since 7
CHAIN = "be a chain, in which a node takes the output of the one before it and constants"


def network(data: bytes, name: str) -> ReluNetwork:
    """The network of a model.

    Args:
        data: all of the file.
        name: what it is for, in messages.

    Raises:
        InputError: where the file is damaged, or no chain of affine operators and Relu.
    """
    graph = _graph(data, name)
    held = {one.name: constants.tensor(one, name) for one in graph.initializer}
    if len(held) < len(graph.initializer) or "" in held:
        raise InputError(f"{name} must name each tensor once, got one twice, or without a name.")
    begin = _one((one for one in graph.input if one.name not in held), "input", name)
    output = _one(graph.output, "output", name)
    walk = _Walk(name, held, begin)
    for node in graph.node if output.name != begin.name else ():
        walk.step(node)
        if walk.at == output.name:
            return walk.end()
    raise InputError(f"{name} must compute its output from its input, got no {shown(output.name)}.")


def _graph(data: bytes, name: str):
    """The graph of a model of a version that is known here."""
    try:
        import onnx
    except ImportError:
        raise InputError(
            f"{name} must be a .npz file where onnx is missing (pip install 'ltjax[files]')."
        ) from None
    try:
        model = onnx.ModelProto.FromString(data)
        _check_text(model.graph)
    except Exception:  # whatever foreign bytes can do to a parser
        raise InputError(f"{name} must be a whole .onnx file.") from None
    versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    if len(versions) != 1 or not OLDEST <= versions[0] <= NEWEST:
        found = ", ".join(map(str, versions)) or "none"
        raise InputError(
            f"{name} must be an .onnx file of version {OLDEST} to {NEWEST} of the operators, got "
            f"{found}."
        )
    for part, found in (("functions", model.functions), ("sparse", model.graph.sparse_initializer)):
        if found:
            raise InputError(
                f"{name} must have no functions and no sparse tensors, got {part} in the file."
            )
    return model.graph


def _check_text(graph) -> None:
    """`TypeError` where a name is no text: the parser gives what is not UTF-8 as bytes."""
    for tensor in (*graph.initializer, *graph.input, *graph.output):
        "".join([tensor.name])
    for node in graph.node:
        "".join([node.name, node.op_type, node.domain, *node.input, *node.output])
        "".join(one.name for one in node.attribute)


class _Walk:
    """Where a walk through the graph stands.

    constants: tensors by name.
    at: name of the tensor that flows; x is that tensor, in terms of the inputs of the layer.
    before: names of those that flowed.
    layers: those that a Relu has ended: weights, biases, and the norm of what both are off by.
    """

    def __init__(self, name: str, held: dict[str, np.ndarray], begin) -> None:
        self.name, self.constants = name, held
        self.at, self.before = begin.name, {begin.name}
        self.layers: list[tuple[np.ndarray, np.ndarray, float]] = []
        self.x = self._unit(_shape(begin, name))

    def step(self, proto) -> None:
        """Take one node."""
        node = self._node(proto)
        if node.flowing < 0:
            self.constants[proto.output[0]] = constants.computed(node)
            if sum(values.size for values in self.constants.values()) > MOST_CONSTANTS:
                node.refuse(f"hold at most {MOST_CONSTANTS:,} numbers", "more")
        else:
            self.x, self.at = self._next(node), proto.output[0]
            self.before.add(self.at)
        node.check_attributes()

    def end(self) -> ReluNetwork:
        """The network up to here."""
        last = "relu" if self.layers and coefficients.is_unit(self.x) else "linear"
        if last == "linear":
            self._close(self.at)
        weights, biases, rounding = zip(*self.layers, strict=True)
        return ReluNetwork(weights, biases, last, rounding if any(rounding) else ())

    def _node(self, proto) -> Node:
        from onnx import helper

        try:
            attributes = {one.name: helper.get_attribute_value(one) for one in proto.attribute}
        except ValueError:  # of a reference to what is in no file
            attributes = {"unknown": None}
        flowing = [i for i, name in enumerate(proto.input) if name == self.at]
        node = Node(
            self.name,
            proto.name or ", ".join(proto.output),
            proto.op_type,
            list(proto.input),
            [self.constants.get(name) for name in proto.input],
            flowing[0] if flowing else -1,
            attributes,
        )
        if proto.domain not in ("", "ai.onnx"):
            node.refuse("use operators of ONNX alone", f"domain {shown(proto.domain)}")
        known = {self.at, "", *self.constants}
        if len(flowing) > 1 or any(name not in known for name in proto.input):
            node.refuse(CHAIN, f"inputs {', '.join(map(shown, proto.input))}")
        first, *more = proto.output or [""]
        if not first or (any(more) and node.operator != "Dropout"):
            node.refuse("have one output a node", ", ".join(map(shown, proto.output)) or "none")
        if first in self.before or first in self.constants:
            node.refuse("name each tensor once", shown(first))
        return node

    def _next(self, node: Node) -> Coefficients:
        """What the node makes of the tensor that flows into it."""
        if node.operator == "Relu":
            self._close(node.name)
            return self._unit(self.x.shape)
        if node.operator not in AFFINE:
            node.refuse("be made of Relu and affine operators")
        if node.flowing > 0 and node.operator not in TWO_SIDED:
            node.refuse(CHAIN, f"what flows as input {node.flowing}")
        with np.errstate(over="ignore", invalid="ignore"):
            return AFFINE[node.operator](node, self.x)

    def _unit(self, shape: tuple[int, ...]) -> Coefficients:
        size = math.prod(shape)
        if size * (size + 1) > MOST_NUMBERS:
            raise InputError(
                f"{self.name} must have at most {math.isqrt(MOST_NUMBERS) - 1:,} inputs, and "
                f"neurons a layer, got {size:,} in {shown(self.at)}."
            )
        return coefficients.unit(shape)

    def _close(self, where: str) -> None:
        """End a layer at a node or tensor."""
        weights, biases, off = coefficients.layer(self.x)
        if not (np.all(np.isfinite(weights)) and np.all(np.isfinite(biases)) and off < np.inf):
            raise InputError(
                f"{self.name} must have layers that float64 can hold, got one that overflows at "
                f"{shown(where)}."
            )
        self.layers.append((weights, biases, off))


def _one(tensors: Iterable, what: str, name: str):
    """The only input or output."""
    found = list(tensors)
    if len(found) != 1 or not found[0].name:
        names = ", ".join(shown(one.name) for one in found[:3]) or "none"
        raise InputError(f"{name} must have one {what}, got {names}.")
    return found[0]


def _shape(tensor, name: str) -> tuple[int, ...]:
    """Of the input, for one point."""
    from onnx import TensorProto

    kind = tensor.type.tensor_type
    if kind.elem_type not in (
        TensorProto.FLOAT,
        TensorProto.DOUBLE,
        TensorProto.FLOAT16,
        TensorProto.BFLOAT16,
    ):
        raise InputError(f"{name} must take floats, got another type of {shown(tensor.name)}.")
    sizes = [size.dim_value for size in kind.shape.dim]  # 0 where it is free
    if len(sizes) > 1:
        if sizes[0] > 1:
            raise InputError(
                f"{name} must take a batch of one point or of any number, got {sizes[0]} in "
                f"{shown(tensor.name)}."
            )
        sizes[0] = 1
    if not sizes or min(sizes) < 1:
        found = [size.dim_value or size.dim_param or "?" for size in kind.shape.dim]
        raise InputError(f"{name} must have a fixed shape, got {found} in {shown(tensor.name)}.")
    return tuple(sizes)
