"""The operators of ONNX that keep a tensor affine in its inputs, as numpy computes them.

By the specification of the operators of the default domain, versions 7 to 28
(https://onnx.ai/onnx/operators). Each takes a node, all of whose inputs but one are constants, and
the tensor that flows into it; an attribute that is not named here is refused.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from ltjax.networks import coefficients
from ltjax.networks.coefficients import Coefficients
from ltjax.networks.onnx_graph.moves import MOVES
from ltjax.networks.onnx_graph.node import Node
from ltjax.networks.pairs import SUBNORMAL, ULP
from ltjax.system.files import shown


def _moving(node: Node, x: Coefficients) -> Coefficients:
    return coefficients.moved(x, partial(MOVES[node.operator], node))


def _cast(node: Node, x: Coefficients) -> Coefficients:
    """To another float type: the same real numbers."""
    from onnx import TensorProto

    if node.attribute("to", 0) not in (TensorProto.FLOAT, TensorProto.DOUBLE):
        node.refuse("keep what flows in float32 or float64", f"type {node.attribute('to', 0)}")
    node.attribute("saturate", 1)
    return x


def _gemm(node: Node, x: Coefficients) -> Coefficients:
    """alpha A' B' + beta C, where A' is A or its transpose."""
    turned = [node.attribute("transA", 0), node.attribute("transB", 0)]
    if len(x.shape) != 2 or node.flowing == 2:
        node.refuse("multiply what flows, a matrix", f"shape {list(x.shape)}")
    if turned[node.flowing]:
        x = coefficients.moved(x, lambda values: np.swapaxes(values, 1, 2))
    other = node.weights(1 - node.flowing)
    x = _product(node, x, other.T if turned[1 - node.flowing] else other)
    x = coefficients.times(x, np.full(x.shape, node.attribute("alpha", 1.0)))
    beta = node.attribute("beta", 1.0)
    if node.constant(2) is None:
        return x
    addend = node.weights(2)
    return _added(node, x, beta * addend, 0.0 if beta == 1.0 else _off(beta * addend, 1))


def _matmul(node: Node, x: Coefficients) -> Coefficients:
    return _product(node, x, node.weights(1 - node.flowing))


def _product(node: Node, x: Coefficients, weights: np.ndarray) -> Coefficients:
    """The matrix product of x and constant weights, in the order in which the node has them."""
    if weights.ndim != 2:
        node.refuse("multiply by a matrix", f"shape {list(weights.shape)} of weights")
    if node.flowing == 1 and len(x.shape) == 1:
        weights = weights.T
    left = node.flowing == 1 and len(x.shape) > 1
    inner, outer = (weights.shape[1], weights.shape[0]) if left else weights.shape
    if not x.shape or x.shape[-2 if left else -1] != inner:
        node.refuse(
            "multiply matrices that fit", f"{list(x.shape)} and {list(weights.shape)} of weights"
        )
    shape = (*x.shape[:-2], outer, x.shape[-1]) if left else (*x.shape[:-1], outer)
    node.check_size(len(x.values), shape)
    return coefficients.mapped(x, _from_the_left if left else _from_the_right, weights)


def _from_the_right(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[..., k] times [k, m]."""
    return np.tensordot(x, weights, 1)


def _from_the_left(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[m, k] times each [k, p] of [..., k, p]."""
    return np.swapaxes(np.tensordot(x, weights, (-2, 1)), -2, -1)


def _add(node: Node, x: Coefficients) -> Coefficients:
    return _added(node, x, node.weights(1 - node.flowing))


def _subtract(node: Node, x: Coefficients) -> Coefficients:
    constant = node.weights(1 - node.flowing)
    if node.flowing == 1:
        return _added(node, coefficients.negative(x), constant)
    return _added(node, x, -constant)


def _added(node: Node, x: Coefficients, constant: np.ndarray, off=0.0) -> Coefficients:
    return coefficients.plus(x, _spread(node, constant, x.shape), off)


def _spread(node: Node, constant: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A constant for every entry of a tensor, of which it may not change the shape."""
    try:
        return np.broadcast_to(constant, shape)
    except ValueError:
        node.refuse("have constants that fit a tensor", f"{list(constant.shape)} for {list(shape)}")


def _multiply(node: Node, x: Coefficients) -> Coefficients:
    return coefficients.times(x, _spread(node, node.weights(1 - node.flowing), x.shape))


def _divide(node: Node, x: Coefficients) -> Coefficients:
    divisor = _spread(node, node.weights(1), x.shape)
    if not np.all(divisor):
        node.refuse("divide by numbers", "0")
    factor = 1.0 / divisor
    return coefficients.times(x, factor, np.where(np.abs(divisor) == 1.0, 0.0, _off(factor, 1)))


def _batch_normalization(node: Node, x: Coefficients) -> Coefficients:
    """scale (x - mean) / sqrt(var + epsilon) + B, of each channel, which is axis 1."""
    node.expect("training_mode", 0)
    node.expect("spatial", 1)
    node.attribute("momentum", 0.9)
    scale, shift, mean, variance = (node.weights(i) for i in (1, 2, 3, 4))
    if len(x.shape) < 2 or {one.shape for one in (scale, shift, mean, variance)} != {x.shape[1:2]}:
        node.refuse("have a number a channel", f"{list(scale.shape)} for {list(x.shape)}")
    variance = variance + float(np.float32(node.attribute("epsilon", 1e-5)))
    if not np.all(variance > 0.0):
        node.refuse("have a positive variance", f"{variance.min():g}")
    factor = scale / np.sqrt(variance)
    channel = (-1, *[1] * (len(x.shape) - 2))
    factor, shift, mean = (one.reshape(channel) for one in (factor, shift, mean))
    x = coefficients.times(_added(node, x, -mean), factor, _off(factor, 3))
    return _added(node, x, shift)


def _off(values: np.ndarray, operations: int) -> np.ndarray:
    """What numbers are off by at most after so many operations, none of which cancels."""
    return operations * (ULP * np.abs(values) + SUBNORMAL)


def _conv(node: Node, x: Coefficients) -> Coefficients:
    weights, groups = node.weights(1), node.attribute("group", 1)
    rank = weights.ndim - 2
    if rank < 1 or len(x.shape) != rank + 2 or x.shape[1] != weights.shape[1] * groups:
        node.refuse(
            "have kernels that fit", f"{list(weights.shape)}, group {groups} for {list(x.shape)}"
        )
    if groups < 1 or weights.shape[0] % groups or x.shape[0] != 1:
        node.refuse("have kernels in groups, for one point", f"{len(weights)} in {groups}")
    strides = node.attribute("strides", [1] * rank)
    dilations = node.attribute("dilations", [1] * rank)
    if node.attribute("kernel_shape", list(weights.shape[2:])) != list(weights.shape[2:]):
        node.refuse("have the kernel_shape of its weights", str(list(weights.shape)))
    pads = _pads(node, x.shape[2:], weights.shape[2:], strides, dilations)
    spans = [(k - 1) * step + 1 for k, step in zip(weights.shape[2:], dilations, strict=True)]
    padded = [size + sum(pad) for size, pad in zip(x.shape[2:], pads, strict=True)]
    outs = [(size - span) // s + 1 for size, span, s in zip(padded, spans, strides, strict=True)]
    if min(outs) < 1:
        node.refuse("have kernels no larger than its input", f"{spans} for {padded}")
    for shape in ((x.shape[1], *padded), (len(weights), *outs)):
        node.check_size(len(x.values), shape)
    convolve = partial(
        _convolved, groups=groups, pads=pads, strides=strides, dilations=dilations, outs=outs
    )
    x = coefficients.mapped(x, convolve, weights)
    if node.constant(2) is None:
        return x
    return _added(node, x, node.weights(2).reshape(-1, *[1] * rank))


def _convolved(x, weights, groups, pads, strides, dilations, outs) -> np.ndarray:
    """y[m] = sum over channels c and places k of w[m, c, k] x[c, stride i + dilation k].

    Args:
        x: [n, 1, channels, *sizes].
        weights: [kernels, channels of a group, *places].

    Returns:
        [n, 1, kernels, *outs].
    """
    x = np.pad(x[:, 0], [(0, 0), (0, 0), *pads])
    x = x.reshape(len(x), groups, -1, *x.shape[2:])
    kernels = weights.reshape(groups, -1, *weights.shape[1:])
    y = np.zeros((len(x), groups, kernels.shape[1], *outs))
    for place in np.ndindex(*weights.shape[2:]):
        seen = tuple(
            slice(k * step, k * step + (out - 1) * stride + 1, stride)
            for k, step, out, stride in zip(place, dilations, outs, strides, strict=True)
        )
        y += np.einsum("ngc...,gmc->ngm...", x[(..., *seen)], kernels[(..., *place)])
    return y.reshape(len(x), 1, len(weights), *outs)


def _pads(node: Node, sizes, kernel, strides, dilations) -> list[tuple[int, int]]:
    """Zeros before and after each axis."""
    given = node.attribute("pads", [0] * 2 * len(sizes))
    auto = node.attribute("auto_pad", b"NOTSET").decode(errors="replace")
    if not len(strides) == len(dilations) == len(given) / 2 == len(sizes):
        node.refuse("have strides, dilations and pads for each axis", f"{len(sizes)} axes")
    if min(*strides, *dilations) < 1 or min(given) < 0:
        node.refuse("have positive strides and dilations, and pads of 0 or more", str(given))
    if auto in ("NOTSET", "VALID"):
        whole = given if auto == "NOTSET" else [0] * 2 * len(sizes)
        return list(zip(whole[: len(sizes)], whole[len(sizes) :], strict=True))
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        node.refuse("have an auto_pad of the specification", shown(auto))
    pads = []
    for size, k, stride, step in zip(sizes, kernel, strides, dilations, strict=True):
        more = max((-(-size // stride) - 1) * stride + (k - 1) * step + 1 - size, 0)
        small, large = more // 2, more - more // 2
        pads.append((small, large) if auto == "SAME_UPPER" else (large, small))
    return pads


AFFINE: dict[str, Callable[[Node, Coefficients], Coefficients]] = {
    **dict.fromkeys(MOVES, _moving),
    "Cast": _cast,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _add,
    "Sub": _subtract,
    "Mul": _multiply,
    "Div": _divide,
    "BatchNormalization": _batch_normalization,
    "Conv": _conv,
}
TWO_SIDED = ("Gemm", "MatMul", "Add", "Sub", "Mul")  # where what flows need not come first
