"""The tensors of a .safetensors file as layers in order.

Such a file has no order of its own: tensors are sorted by size and name when it is written. What
says the order is the number in the name of a layer, and what a tensor is says the end of its name:

    weight   [n_out, n_in], as PyTorch names and holds it
    kernel   [n_in, n_out], as Flax and Keras do
    bias     [n_out]
"""

import re

import numpy as np

from ltjax.errors import InputError
from ltjax.networks.arrays import numbers, pattern
from ltjax.system.files import shown

NAME = re.compile(r"(?:(?P<layer>.*)[./])?(?P<role>weight|kernel|bias)", re.DOTALL)
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16"}
SMALL = {"BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2"}  # of ml_dtypes


def tensors(data: bytes, name: str) -> dict[str, np.ndarray]:
    """Matrices [n_out, n_in] by layer, each with its biases, if it has any, behind it.

    Args:
        data: all of the file.
        name: what it is for, in messages.

    Raises:
        InputError: where the file is damaged, has another tensor or type, or no order of layers.
    """
    try:
        from safetensors import deserialize
    except ImportError:
        raise InputError(
            f"{name} must be a .npz file where safetensors is missing (pip install 'ltjax[files]')."
        ) from None
    try:
        parts = dict(sorted(deserialize(data), key=lambda part: part[0]))
    except Exception:  # whatever foreign bytes can do to a parser
        raise InputError(f"{name} must be a whole .safetensors file.") from None
    layers: dict[str, dict[str, str]] = {}  # by layer, the name of each role
    for tensor in parts:
        found = NAME.fullmatch(tensor)
        if found is None:
            raise InputError(
                f"{name} must hold tensors named weight, kernel or bias of a layer, as in "
                f"layers.0.weight, got {shown(tensor)}."
            )
        layers.setdefault(found["layer"] or "", {})[found["role"]] = tensor
    ordered = {}
    for layer in _in_order(list(layers), name):
        roles = layers[layer]
        if ("weight" in roles) == ("kernel" in roles):
            held = ", ".join(map(shown, roles.values()))
            raise InputError(f"{name} must hold one weight or kernel a layer, got {held}.")
        for role in ("weight", "kernel", "bias"):
            if role in roles:
                values = _values(parts[roles[role]], name, roles[role])
                ordered[roles[role]] = values.T if role == "kernel" else values
    return ordered


def _in_order(layers: list[str], name: str) -> list[str]:
    """Layers by the numbers in their names, or `InputError` where those do not tell."""
    if other := [layer for layer in layers if pattern(layer) != pattern(layers[0])]:
        raise InputError(
            f"{name} must have layers whose names differ in numbers alone, which say their order, "
            f"got {shown(layers[0])} and {shown(other[0])}: rename them, or save a .npz file."
        )
    return sorted(layers, key=numbers)


def _values(part: dict, name: str, tensor: str) -> np.ndarray:
    """One tensor, of a float type: whole numbers have a scale that the file does not hold."""
    import ml_dtypes

    known = {code: np.dtype(dtype) for code, dtype in DTYPES.items()}
    known |= {code: np.dtype(getattr(ml_dtypes, dtype)) for code, dtype in SMALL.items()}
    if part["dtype"] not in known:
        raise InputError(
            f"{name} must hold tensors of {', '.join(known)}, got {part['dtype']} in "
            f"{shown(tensor)}: whole numbers need a scale, which is not in the file."
        )
    little = known[part["dtype"]].newbyteorder("<")  # on any machine
    return np.frombuffer(part["data"], little).reshape(part["shape"])
