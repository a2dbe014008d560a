"""Constants of a graph: its tensors, and what nodes make of constants alone."""

import numpy as np

from ltjax.errors import InputError
from ltjax.networks.onnx_graph.moves import MOVES
from ltjax.networks.onnx_graph.node import Node
from ltjax.system.files import shown

MOST_CONSTANTS = 2**28  # numbers in all of them
MOST_STEPS = 2**29  # whole numbers below it times a float of 24 bits are exact in float64
FLOATS = ("float16", "bfloat16", "float32", "float64")
QUANTIZED = ("int8", "uint8", "int16", "uint16")


def tensor(proto, network: str) -> np.ndarray:
    """The numbers of a tensor that is all there in the file, of their own type."""
    from onnx import TensorProto, numpy_helper

    where = f"tensor {shown(proto.name)}"
    if proto.data_location == TensorProto.EXTERNAL or proto.external_data:
        raise InputError(f"{network} must hold all its numbers in the file, got others in {where}.")
    try:
        values = numpy_helper.to_array(proto)
    except Exception:  # whatever a damaged one can do to a parser
        raise InputError(f"{network} must hold whole tensors, got a damaged {where}.") from None
    if not _is_number(values.dtype):
        raise InputError(f"{network} must hold numbers, got {values.dtype} in {where}.")
    return values


def computed(node: Node) -> np.ndarray:
    """What a node makes of constants alone."""
    if node.operator == "Constant":
        return _constant(node)
    if node.given(0).size > MOST_CONSTANTS:
        node.refuse(f"hold at most {MOST_CONSTANTS:,} numbers", f"{node.given(0).size:,}")
    if node.operator in MOVES:
        return MOVES[node.operator](node, node.given(0)[None])[0]
    if node.operator not in OF_CONSTANTS:
        node.refuse("hold what is made of constants alone as a constant")
    return OF_CONSTANTS[node.operator](node)


def _constant(node: Node) -> np.ndarray:
    from onnx import TensorProto

    if "value_float" in node.attributes:
        return np.array(node.attribute("value_float", 0.0), np.float32)
    if "value_floats" in node.attributes:
        return np.array(node.attribute("value_floats", [0.0]), np.float32)
    if "value_int" in node.attributes:
        return np.array(node.attribute("value_int", 0))
    if "value_ints" in node.attributes:
        return np.array(node.attribute("value_ints", [0]), np.int64)
    return tensor(node.attribute("value", TensorProto()), node.network)


def _cast(node: Node) -> np.ndarray:
    from onnx import helper

    values, to = node.given(0), node.attribute("to", 0)
    node.attribute("saturate", 1)
    try:
        dtype = helper.tensor_dtype_to_np_dtype(to)
    except KeyError:
        node.refuse("name a type of ONNX", str(to))
    if not (dtype.name in FLOATS or (dtype.kind in "iu" and values.dtype.kind in "iub")):
        node.refuse("cast to floats of 16 bits or more, or whole numbers to others", str(dtype))
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(dtype)


def _dequantized(node: Node) -> np.ndarray:
    """(x - zero) * scale, exactly: in float64 nothing of it is rounded."""
    values = node.given(0)
    most = {"i": 4, "u": 4, "b": 0}.get(values.dtype.kind, 1)
    if values.dtype.itemsize > most:
        node.refuse("have whole numbers of 32 bits at most, or floats of 8", str(values.dtype))
    given = node.constant(2)
    if given is not None and given.dtype != values.dtype:
        node.refuse(f"have a zero point of {values.dtype}, as its steps are", str(given.dtype))
    scale, zero = _scale(node, values.shape)
    steps = values.astype(np.float64) - zero
    if not np.all(np.abs(steps) < MOST_STEPS):
        node.refuse(f"have steps below {MOST_STEPS:,}", f"{np.abs(steps).max():g}")
    return steps * scale.astype(np.float64)


def _quantized(node: Node) -> np.ndarray:
    """x / scale, rounded to even in the type of x, plus zero, cut to what the type holds."""
    values, given = node.given(0), node.constant(2)
    dtype = np.dtype(np.uint8) if given is None else given.dtype
    scale, zero = _scale(node, values.shape)
    if dtype.name not in QUANTIZED or {values.dtype, node.given(1).dtype} != {np.dtype("float32")}:
        node.refuse(f"quantise float32 to {', '.join(QUANTIZED)}", f"{values.dtype} to {dtype}")
    node.expect("saturate", 1)
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.rint(values / scale.astype(np.float32)).astype(np.float64) + zero
    if not np.all(np.isfinite(steps)):
        node.refuse("quantise finite numbers", "others")
    return np.clip(steps, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def _scale(node: Node, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Scale, a float of 24 bits at most, and zero point, for all of a tensor or along an axis."""
    scale, zero = node.weights(1), node.constant(2)
    zero = np.zeros_like(scale) if zero is None else zero.astype(np.float64)
    axis = node.attribute("axis", 1)
    node.expect("block_size", 0)
    if node.given(1).dtype.itemsize > 4 or zero.shape != scale.shape:
        node.refuse("have a scale of float32 at most, and as many zero points", str(zero.shape))
    if scale.size == 1:
        return scale.reshape(()), zero.reshape(())
    rank = len(shape)
    if scale.ndim != 1 or not -rank <= axis < rank or len(scale) != shape[axis]:
        node.refuse(
            "have one scale, or one along an axis", f"{list(scale.shape)} for {list(shape)}"
        )
    along = [-1 if i == axis % rank else 1 for i in range(rank)]
    return scale.reshape(along), zero.reshape(along)


def _is_number(dtype: np.dtype) -> bool:
    """Whether numpy, or ml_dtypes, knows the type as one of real numbers or truth values."""
    return dtype.kind in "fiub" or (dtype.kind == "V" and dtype.type is not np.void)


OF_CONSTANTS = {
    "Cast": _cast,
    "DequantizeLinear": _dequantized,
    "QuantizeLinear": _quantized,
}
