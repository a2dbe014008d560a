"""What was read of a network, as text, in lines `name: value`."""

from itertools import pairwise

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.networks import affine, hypotheses
from ltjax.networks.affine import ReluNetwork
from ltjax.tickets.scales import rescale

KERNELS = {
    ".safetensors": "weight [out, in], kernel [in, out]",
    ".onnx": "as each operator has them",
}


def report(network: ReluNetwork, suffix: str) -> str:
    """Layers, biases, norms, what was rounded, and the scale for the hypotheses of the theorem.

    Args:
        suffix: the end of the name of the file, which says how it holds kernels.
    """
    sizes = [network.weights[0].shape[1], *map(len, network.weights)]
    rows = {
        "network": f"{' -> '.join(f'{n:,}' for n in sizes)}, ending {network.last}",
        "weights": _count(network.weights),
        "biases": _count(network.biases) if network.has_biases else "none",
        **{
            f"layer {i}": _layer(weights, biases)
            for i, (weights, biases) in enumerate(zip(*network[:2], strict=True), 1)
        },
        "kernels": KERNELS.get(suffix) or _kernels(sizes),
        "rounded by reading": _rounded(network),
        **_scale(network),
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def _count(arrays) -> str:
    size, zeros = sum(a.size for a in arrays), sum(int(np.sum(a == 0.0)) for a in arrays)
    return f"{size:,}" + (f", {zeros:,} of them 0" if zeros else "")


def _layer(weights: np.ndarray, biases: np.ndarray) -> str:
    norm, _ = hypotheses.factors(weights)
    said = f"{weights.shape[1]:,} -> {len(weights):,}, ||W|| = {norm:.6g}"
    said += f", |w| <= {decimals.above(np.abs(weights).max())}"
    return said + (f", |b| <= {decimals.above(np.abs(biases).max())}" if np.any(biases) else "")


def _kernels(sizes: list[int]) -> str:
    """How a .npz file is read: where a layer is square, nothing else would have told."""
    square = [str(i) for i, (n_in, n_out) in enumerate(pairwise(sizes), 1) if n_in == n_out > 1]
    if not square:
        return "[out, in]"
    which = "layer" if len(square) == 1 else "layers"
    return f"[out, in], also of {which} {', '.join(square)}, where the shape does not tell"


def _rounded(network: ReluNetwork) -> str:
    if not network.rounding:
        return "nothing"
    layers = [str(i) for i, off in enumerate(network.rounding, 1) if off > 0.0]
    which = "layer" if len(layers) == 1 else "layers"
    moved = decimals.above(affine.misread(network, 1.0))
    return f"{which} {', '.join(layers)}, by which f moves {moved} at most on the unit ball"


def _scale(network: ReluNetwork) -> dict[str, str]:
    """Of the network without biases, or with a constant input in their place."""
    name = "scale, with a constant input" if network.has_biases else "scale"
    layers = affine.homogeneous(network) if network.has_biases else list(network.weights)
    try:
        scales = rescale(layers)[1]
    except InputError:
        return {name: "none that float64 can hold"}
    return {name: f"{np.prod(scales):.6g} = {' x '.join(f'{s:.6g}' for s in scales)}"}
