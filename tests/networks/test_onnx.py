"""Networks from graphs of ONNX, held against the reference evaluator of its library."""

import re
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from onnx.reference import ReferenceEvaluator  # noqa: E402

from ltjax.errors import InputError  # noqa: E402
from ltjax.networks import affine, reading  # noqa: E402
from ltjax.networks.onnx_graph import constants, node, operators, walk  # noqa: E402

REAL = Path(__file__).parents[2] / "../shared/data/networks"  # where it is there
VERSION = 20  # of the operators, unless a test says
RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def same_draws():
    """Each test draws the same numbers, whichever ran before it."""
    RNG.bit_generator.state = START


def random(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def graph(nodes, inputs, version=VERSION, at="x", to="y", **constants):
    """A model of nodes ("Operator", inputs, outputs, attributes) and constants by name."""
    made = [
        helper.make_node(one, *rest[:2], name=f"{one}_{i}", **(rest[2] if rest[2:] else {}))
        for i, (one, *rest) in enumerate(nodes)
    ]
    body = helper.make_graph(
        made,
        "graph",
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, inputs)],
        [helper.make_tensor_value_info(to, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", version)])


def read(model, **options):
    return walk.network(model.SerializeToString(), "network", **options)


def in_double(model):
    """The same model with its floats in float64, so that the reference rounds next to nothing."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    tensors = [*model.graph.initializer]
    tensors += [a.t for one in model.graph.node for a in one.attribute if a.name == "value"]
    for tensor in tensors:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float64), tensor.name))
    return model


def points_of(model, count=200, seed=1):
    held = {one.name for one in model.graph.initializer}
    [at] = [one for one in model.graph.input if one.name not in held]
    shape = [size.dim_value or 1 for size in at.type.tensor_type.shape.dim]
    return at.name, shape, np.random.default_rng(seed).normal(size=(count, int(np.prod(shape))))


def reference(model, count=200):
    """Points [n, d] and what the reference evaluator makes of each, one by one, [n, outputs]."""
    at, shape, x = points_of(model, count)
    evaluator = ReferenceEvaluator(in_double(model))
    return x, np.array([np.ravel(evaluator.run(None, {at: p.reshape(shape)})[0]) for p in x])


def distance(network, x, y):
    """By how much the network misses y, of the largest of them."""
    found = affine.forward(network, x)
    assert found.shape == y.shape
    return np.abs(found - y).max() / np.abs(y).max()


CLOSE, FAR = 1e-12, 1e-4  # of the largest value: float64, and what no fault keeps below


def held(model, layers=None, last=None):
    """The network of a model, which the reference evaluator confirms; each fault would show."""
    network = read(model)
    x, y = reference(model)
    assert distance(network, x, y) < CLOSE
    for fault in faults(network):
        assert distance(fault, x, y) > FAR
    if layers is not None:
        assert [w.shape for w in network.weights] == layers
    if last is not None:
        assert network.last == last
    return network


def faults(network):
    """The network with a bias dropped, or the kernel of a square layer turned."""
    for i, (weights, biases) in enumerate(zip(*network[:2], strict=True)):
        if np.any(biases):
            yield network._replace(biases=replaced(network.biases, i, 0.0 * biases))
        if weights.shape[0] == weights.shape[1] and not np.array_equal(weights, weights.T):
            yield network._replace(weights=replaced(network.weights, i, weights.T))


def replaced(items, i, item):
    return (*items[:i], item, *items[i + 1 :])


# Operators.

W, SQUARE, B = random(3, 4), random(4, 4), random(4)
OUT = {"v": random(4, 2)}  # of a second layer, so that signs and scales of the first one matter
TAIL = [("Relu", ["h"], ["r"]), ("MatMul", ["r", "v"], ["y"])]
AFFINE = {
    "Gemm": ([("Gemm", ["x", "w", "b"], ["h"])], [1, 3], {"w": W, "b": B}),
    "Gemm turned": (
        [("Gemm", ["x", "w", "b"], ["h"], {"transB": 1})], ["N", 3], {"w": W.T, "b": B}
    ),
    "Gemm square": (
        [("Gemm", ["x", "w", "b"], ["h"], {"transB": 1})], [1, 4], {"w": SQUARE, "b": B}
    ),
    "Gemm scaled": (
        [("Gemm", ["x", "w", "b"], ["h"], {"alpha": 0.3, "beta": -2.7})], [1, 3], {"w": W, "b": B}
    ),
    "Gemm without C": ([("Gemm", ["x", "w"], ["h"])], [1, 3], {"w": W}),
    "Gemm of a scalar": ([("Gemm", ["x", "w", "b"], ["h"])], [1, 3], {"w": W, "b": B[:1]}),
    "Gemm, all turned, on the right": (
        [("Gemm", ["w", "x", "b"], ["t"], {"transA": 1, "transB": 1}),
         ("Transpose", ["t"], ["h"])], [1, 3], {"w": W, "b": B[:, None]}
    ),
    "MatMul": (
        [("MatMul", ["x", "w"], ["z"]), ("Add", ["z", "b"], ["h"])], [1, 3], {"w": W, "b": B}
    ),
    "MatMul square": (
        [("MatMul", ["x", "w"], ["z"]), ("Add", ["b", "z"], ["h"])], [1, 4], {"w": SQUARE, "b": B}
    ),
    "MatMul on the right": (
        [("MatMul", ["w", "x"], ["z"]), ("Transpose", ["z"], ["h"], {"perm": [1, 0]})],
        [1, 1], {"w": random(4, 1)},
    ),
    "MatMul of a vector": ([("MatMul", ["x", "w"], ["h"])], [3], {"w": W}),
    "MatMul of a vector on the right": ([("MatMul", ["w", "x"], ["h"])], [3], {"w": W.T}),
    "MatMul of rows": (
        [("MatMul", ["x", "w"], ["z"]), ("Add", ["z", "b"], ["s"]), ("Flatten", ["s"], ["h"])],
        [1, 2, 3], {"w": random(3, 2), "b": random(2, 2)},
    ),
    "Sub": (
        [("Sub", ["x", "b"], ["z"]), ("MatMul", ["z", "w"], ["h"])], [1, 4], {"w": SQUARE, "b": B}
    ),
    "Sub from": (
        [("Sub", ["b", "x"], ["z"]), ("MatMul", ["z", "w"], ["h"])], [1, 4], {"w": SQUARE, "b": B}
    ),
    "Mul and Div": (
        [("Sub", ["x", "b"], ["t"]), ("Div", ["t", "s"], ["u"]), ("Mul", ["s", "u"], ["z"]),
         ("Mul", ["z", "c"], ["q"]), ("Gemm", ["q", "w", "b"], ["h"])],
        [1, 4], {"w": SQUARE, "b": B, "s": random(4), "c": np.float32(0.7)},
    ),
    "BatchNormalization": (
        [("Gemm", ["x", "w", "b"], ["z"]),
         ("BatchNormalization", ["z", "s", "t", "m", "q"], ["h"], {"epsilon": 1e-3})],
        [1, 3],
        {"w": W, "b": B, "s": random(4), "t": random(4), "m": random(4), "q": random(4) ** 2},
    ),
    "BatchNormalization first": (
        [("BatchNormalization", ["x", "s", "t", "m", "q"], ["z"]), ("MatMul", ["z", "w"], ["h"])],
        [1, 4], {"w": SQUARE, "s": B, "t": random(4), "m": random(4), "q": random(4) ** 2},
    ),
    "Identity, Dropout, Cast": (
        [("Identity", ["x"], ["i"]), ("Dropout", ["i"], ["d", "mask"]),
         ("Cast", ["d"], ["c"], {"to": TensorProto.DOUBLE}), ("MatMul", ["c", "w"], ["h"])],
        [1, 4], {"w": SQUARE},
    ),
    "Flatten": (
        [("Flatten", ["x"], ["f"]), ("MatMul", ["f", "w"], ["h"])], [1, 2, 2], {"w": SQUARE}
    ),
    "Flatten, axis -2": (
        [("Flatten", ["x"], ["f"], {"axis": -2}), ("MatMul", ["f", "w"], ["h"])],
        [1, 2, 2], {"w": SQUARE},
    ),
    "Flatten to a column": (
        [("Flatten", ["x"], ["f"], {"axis": 2}), ("MatMul", ["w", "f"], ["z"]),
         ("Flatten", ["z"], ["h"], {"axis": 0})], [1, 4], {"w": SQUARE},
    ),
    "Reshape": (
        [("Reshape", ["x", "shape"], ["f"]), ("MatMul", ["f", "w"], ["h"])],
        [1, 2, 2], {"w": SQUARE, "shape": [0, -1]},
    ),
    "Squeeze and Unsqueeze": (
        [("Squeeze", ["x", "axes"], ["s"]), ("Unsqueeze", ["s", "more"], ["u"]),
         ("Squeeze", ["u"], ["t"]), ("MatMul", ["t", "w"], ["h"])],
        [1, 1, 4], {"w": SQUARE, "axes": [1], "more": [0, -1]},
    ),
    "Transpose": (
        [("Transpose", ["x"], ["t"], {"perm": [0, 2, 1]}), ("Flatten", ["t"], ["f"]),
         ("MatMul", ["f", "w"], ["h"])], [1, 2, 2], {"w": SQUARE},
    ),
    "Constant": (
        [("Constant", [], ["w"], {"value": numpy_helper.from_array(SQUARE)}),
         ("Constant", [], ["b"], {"value_floats": [0.5, -1.0, 2.0, 0.25]}),
         ("Gemm", ["x", "w", "b"], ["h"])], [1, 4], {},
    ),
    "constants of constants": (
        [("Transpose", ["w"], ["t"]), ("Reshape", ["b", "shape"], ["c"]),
         ("Gemm", ["x", "t", "c"], ["h"])],
        [1, 4], {"w": SQUARE, "b": B[:, None], "shape": [1, 4]},
    ),
    "two layers without Relu": (
        [("Gemm", ["x", "w", "b"], ["z"]), ("Gemm", ["z", "u", "b"], ["h"])],
        [1, 3], {"w": W, "b": B, "u": SQUARE},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AFFINE)
def test_affine_operators(name):
    nodes, inputs, constants = AFFINE[name]
    network = held(graph([*nodes, *TAIL], inputs, **constants, **OUT), last="linear")
    assert len(network.weights) == 2
    assert network.weights[0].shape[1] == int(np.prod([n for n in inputs if n != "N"]))


CONVOLUTIONS = [
    ([1, 2, 5, 6], [3, 2, 2, 3], {}),
    ([1, 2, 5, 6], [3, 2, 3, 3], {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ([1, 2, 7, 8], [4, 1, 2, 3], {"group": 2, "dilations": [3, 2]}),
    ([1, 4, 5, 5], [4, 1, 3, 3], {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ([1, 2, 5, 6], [3, 2, 2, 3], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ([1, 2, 5, 6], [3, 2, 2, 2], {"auto_pad": "SAME_LOWER"}),
    ([1, 2, 5, 6], [3, 2, 2, 3], {"auto_pad": "VALID", "kernel_shape": [2, 3]}),
    ([1, 3, 9], [2, 3, 4], {"strides": [2], "pads": [1, 2]}),
    ([1, 1, 3, 4, 3], [2, 1, 2, 2, 2], {}),
]


@pytest.mark.parametrize(("inputs", "kernel", "attributes"), CONVOLUTIONS)
def test_convolutions_are_matrices(inputs, kernel, attributes):
    nodes = [("Conv", ["x", "k", "b"], ["c"], attributes), ("Relu", ["c"], ["r"])]
    constants = {"k": random(*kernel), "b": random(kernel[0])}
    flat = read(graph(nodes, inputs, to="r", **constants))
    assert not flat.rounding
    assert flat.last == "relu"
    nodes += [("Flatten", ["r"], ["f"]), ("MatMul", ["f", "v"], ["y"])]
    constants["v"] = random(len(flat.biases[0]), 3)
    network = held(graph(nodes, inputs, **constants))
    # A kernel turned in its channels, or in its places, is another one.
    x, y = reference(graph(nodes, inputs, **constants))
    for turned in (constants["k"][..., ::-1], constants["k"][::-1]):
        fault = read(graph(nodes, inputs, **{**constants, "k": turned}))
        assert distance(fault, x, y) > FAR
    assert [w.shape[0] for w in network.weights] == [len(flat.biases[0]), 3]


def test_weights_of_whole_numbers_and_a_scale_are_exact():
    steps = RNG.integers(-128, 128, (4, 4)).astype(np.int8)
    scale, zero = random(4) ** 2, RNG.integers(-5, 5, 4).astype(np.int8)
    biases = RNG.integers(-(2**20), 2**20, 4).astype(np.int32)
    nodes = [
        ("DequantizeLinear", ["q", "s", "z"], ["w"], {"axis": 0}),
        ("DequantizeLinear", ["p", "t"], ["b"]),
        ("Gemm", ["x", "w", "b"], ["h"]),
        *TAIL,
    ]
    constants = {"q": steps, "s": scale, "z": zero, "p": biases, "t": np.float32(1e-6)}
    network = read(graph(nodes, [1, 4], **constants, **OUT))
    exact = (steps.astype(float) - zero[:, None]) * scale[:, None].astype(float)
    np.testing.assert_array_equal(network.weights[0], exact.T)
    np.testing.assert_array_equal(network.biases[0], biases * float(np.float32(1e-6)))
    assert not network.rounding
    # The reference rounds each weight to float32.
    x, y = reference(graph(nodes, [1, 4], **constants, **OUT))
    assert distance(network, x, y) < 1e-6
    other = {**constants, "z": 0 * zero}
    assert distance(read(graph(nodes, [1, 4], **other, **OUT)), x, y) > FAR


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_weights_that_are_quantised_in_the_graph(dtype):
    w, scale, zero = 3.0 * random(4, 4), np.float32(0.02), dtype(7)
    nodes = [
        ("QuantizeLinear", ["w", "s", "z"], ["q"]),
        ("DequantizeLinear", ["q", "s", "z"], ["d"]),
        ("MatMul", ["x", "d"], ["h"]),
        *TAIL,
    ]
    network = read(graph(nodes, [1, 4], w=w, s=scale, z=zero, **OUT))
    steps = np.clip(np.rint(w / scale) + 7, np.iinfo(dtype).min, np.iinfo(dtype).max) - 7
    np.testing.assert_array_equal(network.weights[0], (steps.astype(float) * float(scale)).T)
    x, y = reference(graph(nodes, [1, 4], w=w, s=scale, z=zero, **OUT))
    assert distance(network, x, y) < 1e-6


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_floats_of_any_size(dtype):
    w = random(4, 4).astype(dtype)
    network = read(graph([("MatMul", ["x", "w"], ["h"]), *TAIL], [1, 4], w=w, **OUT))
    np.testing.assert_array_equal(network.weights[0], w.astype(np.float64).T)


def test_axes_of_older_versions_are_attributes():
    nodes = [
        ("Squeeze", ["x"], ["s"], {"axes": [1]}),
        ("Unsqueeze", ["s"], ["u"], {"axes": [0]}),
        ("Flatten", ["u"], ["f"]),
        ("MatMul", ["f", "w"], ["h"]),
        *TAIL,
    ]
    held(graph(nodes, [1, 1, 4], version=9, w=SQUARE, **OUT))


# Ends, and what is rounded.


def test_how_a_network_ends():
    gemm = ("Gemm", ["x", "w", "b"], ["h"])
    constants = {"w": SQUARE, "b": B}
    assert held(graph([gemm], [1, 4], to="h", **constants)).last == "linear"
    ending = graph([gemm, ("Relu", ["h"], ["y"])], [1, 4], **constants)
    assert held(ending, [(4, 4)]).last == "relu"
    moved = graph(
        [gemm, ("Relu", ["h"], ["r"]), ("Reshape", ["r", "shape"], ["y"])], [1, 4], to="y",
        **constants, shape=np.array([2, 2]),
    )  # fmt: skip
    assert held(moved, [(4, 4)]).last == "relu"
    turned = graph(
        [gemm, ("Relu", ["h"], ["r"]), ("Reshape", ["r", "shape"], ["s"]),
         ("Transpose", ["s"], ["y"])],
        [1, 4], **constants, shape=np.array([2, 2]),
    )  # fmt: skip
    assert held(turned, [(4, 4), (4, 4)]).last == "linear"
    # What comes after the output is not the network's.
    beyond = graph([gemm, ("Sigmoid", ["h"], ["z"])], [1, 4], to="h", **constants)
    held(beyond, [(4, 4)])


def test_a_layer_of_one_affine_node_is_exact():
    nodes = [("MatMul", ["x", "w"], ["z"]), ("Add", ["z", "b"], ["h"]), *TAIL]
    network = read(graph(nodes, [1, 3], w=W, b=B, **OUT))
    assert network.rounding == ()
    assert affine.misread(network, 1e9) == 0.0
    np.testing.assert_array_equal(network.weights[0], W.T.astype(np.float64))
    np.testing.assert_array_equal(network.biases[0], B.astype(np.float64))
    # So is an input less zeros, and a mean that costs one rounding only where it does.
    nodes = [("Sub", ["x", "m"], ["z"]), ("Gemm", ["z", "w", "b"], ["h"]), *TAIL]
    assert read(graph(nodes, [1, 3], m=np.zeros(3, np.float32), w=W, b=B, **OUT)).rounding == ()
    rounded = read(graph(nodes, [1, 3], m=random(3), w=W, b=B, **OUT)).rounding
    assert 0.0 < rounded[0] < 1e-14
    assert rounded[1] == 0.0


def test_a_rounded_layer_is_no_target_of_a_ticket(tmp_path):
    nodes = [("Gemm", ["x", "w"], ["z"]), ("Gemm", ["z", "w"], ["h"]), *TAIL]
    path = tmp_path / "net.onnx"
    path.write_bytes(graph(nodes, [1, 4], w=SQUARE, **OUT).SerializeToString())
    with pytest.raises(InputError, match=r"^target must have layers that float64 holds .* layer 1"):
        reading.read_matrices(path, "target")


# Real files.


@pytest.mark.skipif(not REAL.is_dir(), reason="no networks at hand")
@pytest.mark.parametrize(
    ("file", "sizes"),
    [
        ("ACASXU_experimental_v2a_1_1.onnx", [5, 50, 50, 50, 50, 50, 50, 5]),
        ("KJ_TinyTaxiNet.onnx", [128, 16, 8, 8, 2]),
        ("fc1.onnx", [2, 25, 25, 25, 2]),
        ("fc_2-2-3.onnx", [2, 2, 3]),
        ("linear2-3_bn1-linear3-1.onnx", [2, 1]),
    ],
)
def test_real_networks(file, sizes):
    model = onnx.load(REAL / file)
    network = reading.read_network(REAL / file, "network")
    assert [network.weights[0].shape[1], *map(len, network.weights)] == sizes
    if any(one.op_type == "BatchNormalization" for one in model.graph.node):
        # With one output it does not train; the evaluator knows that from version 14 on only.
        model.opset_import[0].version = 15
    x, y = reference(model, 1000)
    assert distance(network, x, y) < CLOSE
    assert all(distance(fault, x, y) > FAR for fault in faults(network))
    assert (network.rounding == ()) == ("bn1" not in file)
    assert affine.misread(network, 1.0) < 1e-13


# Bad input.

GEMM = ("Gemm", ["x", "w", "b"], ["h"])
GOOD = {"w": SQUARE, "b": B}


def refused(model, message):
    with pytest.raises(InputError, match=f"^network must {message}") as caught:
        read(model)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize(
    "operator",
    ["Sigmoid", "Tanh", "Softmax", "LeakyRelu", "Clip", "Abs", "Erf", "QuantizeLinear", "Shape"],
)
def test_other_operators_are_refused_by_name(operator):
    model = graph([GEMM, (operator, ["h"], ["y"])], [1, 4], **GOOD)
    refused(
        model,
        rf"be made of Relu and affine operators, got node {operator}_1 of operator {operator}",
    )


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool", "GlobalAveragePool", "ReduceMean"])
def test_pooling_is_refused(operator):
    model = graph([(operator, ["x"], ["y"], {"kernel_shape": [2, 2]})], [1, 1, 4, 4])
    refused(model, f"be made of .*, got node {operator}_0 of operator {operator}")


CHAINS = {
    "residual": [GEMM, ("Add", ["h", "x"], ["y"])],
    "residual over a Relu": [GEMM, ("Relu", ["h"], ["r"]), ("Add", ["r", "h"], ["y"])],
    "doubled": [GEMM, ("Add", ["h", "h"], ["y"])],
    "attention": [GEMM, ("MatMul", ["h", "h"], ["y"])],
    "branch": [GEMM, ("Identity", ["x"], ["z"]), ("Add", ["h", "z"], ["y"])],
    "nothing there": [("Gemm", ["x", "w", "nowhere"], ["y"])],
}


@pytest.mark.parametrize("name", CHAINS)
def test_graphs_that_are_no_chain(name):
    at = CHAINS[name][-1] if name != "branch" else CHAINS[name][1]
    i = CHAINS[name].index(at)
    refused(
        graph(CHAINS[name], [1, 4], **GOOD),
        rf"be a chain, .*, got inputs .* in node {at[0]}_{i} of operator {at[0]}\.",
    )


NAN, INF = B * np.nan, B + np.inf
BN = ["x", "s", "t", "m", "q"]
ONES = {name: np.ones(4, np.float32) for name in "stmq"}
BAD = {
    "int8 weights": ([GEMM], {"w": np.ones((4, 4), np.int8), "b": B},
                     "have a scale for .*, got int8 in w in node Gemm_0 of operator Gemm"),
    "int4 weights": ([GEMM], {"w": np.ones((4, 4), ml_dtypes.int4), "b": B},
                     "have a scale for .*, got int4 in w"),
    "int32 bias": ([GEMM], {"w": SQUARE, "b": np.ones(4, np.int32)}, "have a scale .* int32 in b"),
    "NaN": ([GEMM], {"w": SQUARE, "b": NAN}, "be finite, got nan in tensor b"),
    "infinity": ([GEMM], {"w": SQUARE, "b": INF}, "be finite, got inf in tensor b"),
    "bias too long": ([GEMM], {"w": SQUARE, "b": random(5)},
                      r"have constants that fit a tensor, got \[5\] for \[1, 4\] in node Gemm_0"),
    "bias that spreads": ([GEMM], {"w": SQUARE, "b": random(3, 4)},
                          r"have .* got \[3, 4\] for \[1, 4\]"),
    "kernel too large": ([GEMM], {"w": random(5, 4), "b": B},
                         r"multiply matrices that fit, got \[1, 4\] and \[5, 4\] of weights"),
    "kernel of three axes": ([GEMM], {"w": random(1, 4, 4), "b": B},
                             r"multiply by a matrix, got shape"),
    "C flows": ([("Gemm", ["w", "w", "x"], ["h"])], {"w": SQUARE}, "multiply what flows"),
    "strings": (
        [GEMM], {"w": np.array([["a"]], object), "b": B}, "hold numbers, got .* in tensor w"
    ),
    "unknown attribute": ([("Relu", ["x"], ["h"], {"slope": 1})], {},
                          "have no attributes unknown here, got slope in node Relu_0"),
    "attribute of another type": ([(*GEMM, {"alpha": 2})], GOOD, "have alpha of the type of 1.0"),
    "list of floats": ([("Transpose", ["x"], ["h"], {"perm": [0.0, 1.0]})], {}, "have perm of the"),
    "divided by 0": ([("Div", ["x", "b"], ["h"])], {"b": 0 * B}, "divide by numbers, got 0 in"),
    "what flows divides": ([("Div", ["b", "x"], ["h"])], GOOD,
                           "be a chain, .*got what flows as input 1 in node Div_0"),
    "training": ([("BatchNormalization", BN, ["h"], {"training_mode": 1})], ONES,
                 "have training_mode = 0, got 1 in node BatchNormalization_0"),
    "training outputs": ([("BatchNormalization", BN, ["h", "i", "j"])], ONES, "have one output a"),
    "negative variance": ([("BatchNormalization", BN, ["h"])], {**ONES, "q": -B * B},
                          "have a positive variance, got -"),
    "channels": ([("BatchNormalization", BN, ["h"])], {**ONES, "q": np.ones(3, np.float32)},
                 r"have a number a channel, got \[4\] for \[1, 4\]"),
    "dropout that trains": ([("Dropout", ["x", "", "t"], ["h"])], {"t": np.array(True)},
                            "be read for inference, got training_mode = 1"),
    "reshape": ([("Reshape", ["x", "shape"], ["h"])], {"shape": [3, 2]},
                r"keep the number of entries, got \[1, 4\] to \[3, 2\] in node Reshape_0"),
    "reshape by -3": ([("Reshape", ["x", "shape"], ["h"])], {"shape": [-3, 4]}, "keep the number"),
    "reshape by floats": ([("Reshape", ["x", "b"], ["h"])], GOOD,
                          "have a list of whole numbers, got b in node Reshape_0"),
    "squeeze": ([("Squeeze", ["x", "a"], ["h"])], {"a": [1]},
                r"squeeze axes of size 1, got axes \[1\] of shape \[1, 4\] in node Squeeze_0"),
    "axis": ([("Flatten", ["x"], ["h"], {"axis": 3})], {},
             "have an axis of 2, got 3 in node Flatten_0"),
    "cast": ([("Cast", ["x"], ["h"], {"to": TensorProto.FLOAT16})], {},
             "keep what flows in float32 or float64, got type 10"),
    "cast to float8": ([("Cast", ["b"], ["c"], {"to": TensorProto.FLOAT8E5M2}), GEMM], GOOD,
                       "cast to floats of 16 bits or more"),
    "cast to whole numbers": ([("Cast", ["b"], ["c"], {"to": TensorProto.INT32}), GEMM], GOOD,
                              "cast to floats of 16 bits or more"),
    "dequantised floats": ([("DequantizeLinear", ["w", "s"], ["q"]), GEMM],
                           {**GOOD, "s": np.float32(1)}, "have whole numbers of 32 bits at most"),
    "another node of constants": ([("Add", ["b", "b"], ["c"]), GEMM], GOOD,
                                  "hold what is made of constants alone as a constant"),
    "name twice": ([("Relu", ["x"], ["w"])], GOOD, "name each tensor once, got w in node Relu_0"),
    "overflow": ([("Mul", ["x", "c"], ["z"]), ("Mul", ["z", "c"], ["h"])], {"c": np.array([1e200])},
                 "have layers that float64 can hold, got one that overflows at h"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_nodes(name):
    nodes, constants, message = BAD[name]
    refused(graph(nodes, [1, 4], to="h", **constants), message)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"group": 3}, r"have kernels that fit, got \[2, 1, 2, 2\], group 3 for \[1, 2, 3, 3\]"),
        ({"group": 2, "strides": [0, 1]}, "have positive strides"),
        ({"group": 2, "pads": [-1, 0, 0, 0]}, "have positive strides and dilations, and pads"),
        ({"group": 2, "pads": [1, 1]}, "have strides, dilations and pads for each axis"),
        (
            {"group": 2, "dilations": [4, 1]},
            r"have kernels no larger than its input, got \[5, 2\] for \[3, 3\]",
        ),
        ({"group": 2, "kernel_shape": [3, 3]}, "have the kernel_shape of its weights"),
        ({"group": 2, "auto_pad": "OTHER"}, "have an auto_pad of the specification, got OTHER"),
        ({"group": 2, "pads": [2**40] * 4}, "unroll to matrices of 1 to 33,554,432 numbers, got"),
        ({"group": 2, "pads": [2**62, 0, 2**62, 0]}, "unroll to matrices"),
    ],
)
def test_bad_convolutions(attributes, message):
    refused(
        graph([("Conv", ["x", "k"], ["y"], attributes)], [1, 2, 3, 3], k=random(2, 1, 2, 2)),
        f"{message}.* in node Conv_0 of operator Conv",
    )


def test_quantised_tensors_that_are_not_exact():
    nodes = [("DequantizeLinear", ["q", "s"], ["w"]), ("MatMul", ["x", "w"], ["y"])]
    steps = np.full((4, 4), 2**30, np.int32)
    refused(graph(nodes, [1, 4], q=steps, s=np.float32(1)), "have steps below 536,870,912, got")
    refused(graph(nodes, [1, 4], q=steps, s=np.float64(1)), "have a scale of float32 at most")
    refused(
        graph(nodes, [1, 4], q=steps // 2**9, s=random(3)),
        r"have one scale, or one along an axis, got \[3\]",
    )
    nodes[0] = ("DequantizeLinear", ["q", "s", "z"], ["w"])
    refused(
        graph(nodes, [1, 4], q=steps // 2**9, s=random(4), z=np.zeros(4, np.int8)),
        "have a zero point of int32, as its steps are, got int8",
    )
    halves = {"s": np.float16(0.1), "z": np.int8(0)}
    nodes = [("QuantizeLinear", ["w", "s", "z"], ["q"]), ("MatMul", ["x", "q"], ["y"])]
    refused(graph(nodes, [1, 4], w=SQUARE, **halves), "quantise float32 to int8, uint8")


SHAPES = {
    (2, 4): "take a batch of one point or of any number, got 2 in x",
    (1, "N"): r"have a fixed shape, got \[1, 'N'\] in x",
    ("N",): "have a fixed shape",
    (): r"have a fixed shape, got \[\] in x",
    (1, 6000): "have at most 5,791 inputs, and neurons a layer, got 6,000 in x",
    (1, 2**40, 2**40): "have at most 5,791 inputs",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_the_input(shape):
    refused(graph([("Relu", ["x"], ["y"])], list(shape)), SHAPES[shape])


def test_bad_models():
    good = graph([GEMM, *TAIL], [1, 4], **GOOD, **OUT)

    def changed(change):
        model = onnx.ModelProto.FromString(good.SerializeToString())
        change(model, model.graph)
        return model

    def external(model, graph):
        tensor = graph.initializer[0]
        onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")

    def sparse(model, graph):
        graph.sparse_initializer.add()

    changes = {
        r"hold all its numbers in the file, got others in tensor w\.": external,
        "have no functions and no sparse tensors, got sparse": sparse,
        "have no functions and no sparse tensors, got functions": (
            lambda model, graph: model.functions.add()
        ),
        "be an .onnx file of version 7 to .* got 6": (
            lambda model, graph: setattr(model.opset_import[0], "version", 6)
        ),
        "be an .onnx file of version 7 to .* got 999": (
            lambda model, graph: setattr(model.opset_import[0], "version", 999)
        ),
        "be an .onnx file .* got none": lambda model, graph: model.ClearField("opset_import"),
        "have one input, got x, z": lambda model, graph: graph.input.append(
            helper.make_tensor_value_info("z", TensorProto.FLOAT, [1])
        ),
        "have one input, got none": lambda model, graph: graph.ClearField("input"),
        "have one output, got y, r": lambda model, graph: graph.output.append(
            helper.make_tensor_value_info("r", TensorProto.FLOAT, [1])
        ),
        "compute its output from its input, got no never": (
            lambda model, graph: setattr(graph.output[0], "name", "never")
        ),
        "compute its output from its input, got no x": (
            lambda model, graph: setattr(graph.output[0], "name", "x")
        ),
        "take floats, got another type of x": lambda model, graph: setattr(
            graph.input[0].type.tensor_type, "elem_type", TensorProto.UINT8
        ),
        "hold whole tensors, got a damaged tensor w": (
            lambda model, graph: graph.initializer[0].dims.__setitem__(0, 2**40)
        ),
        "name each tensor once, got one twice, or": (
            lambda model, graph: graph.initializer.append(graph.initializer[0])
        ),
        "name each tensor once, got one twice, or without a name": (
            lambda model, graph: setattr(graph.initializer[0], "name", "")
        ),
        "have one input, got ''": lambda model, graph: setattr(graph.input[0], "name", ""),
        "have one output a node, got '' in node Gemm_0": (
            lambda model, graph: graph.node[0].output.__setitem__(0, "")
        ),
        "use operators of ONNX alone, got domain com.microsoft in node Gemm_0": (
            lambda model, graph: setattr(graph.node[0], "domain", "com.microsoft")
        ),
    }
    read(changed(lambda model, graph: None))
    for message, change in changes.items():
        refused(changed(change), message)


def test_matrices_that_would_fill_the_memory():
    shape = np.array([1, 1000, 1])
    nodes = [("Reshape", ["x", "shape"], ["z"]), ("MatMul", ["z", "w"], ["y"])]
    model = graph(nodes, [1, 1000], shape=shape, w=random(1, 1000))
    refused(model, rf"unroll to matrices of 1 to {node.MOST_NUMBERS:,} numbers, got 1,001,000,000")


def test_damaged_files_are_one_line(tmp_path):
    """Whatever is in a file, it is read, or refused in a line: no other error, and no network."""
    path = tmp_path / "net.onnx"
    for data in (b"", b"no protobuf", bytes(100), b"\xff" * 50):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"^network must (be|have) "):
            reading.read_network(path, "network")
    whole = graph([GEMM, *TAIL], [1, 4], **GOOD, **OUT).SerializeToString()
    for size in range(len(whole)):
        with pytest.raises(InputError):
            walk.network(whole[:size], "network")


def test_a_graph_with_bytes_changed_is_refused_or_read_as_the_reference_does():
    rng, refused, agreed = np.random.default_rng(0), 0, 0
    wholes = [
        graph([*nodes, *TAIL], inputs, **constants, **OUT).SerializeToString()
        for nodes, inputs, constants in AFFINE.values()
    ]
    for _ in range(2000):
        data = bytearray(wholes[rng.integers(len(wholes))])
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            data[at] = rng.integers(0, 256)
        try:
            network = walk.network(bytes(data), "network")
        except InputError:
            refused += 1
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numbers that overflow
                x, y = reference(onnx.ModelProto.FromString(bytes(data)), 3)
        except Exception:  # a node behind the output, say, which the network does not have
            continue
        if np.all(np.isfinite(y)) and np.any(y):
            agreed += 1
            assert distance(network, x, y) < 1e-6
    assert refused > 1000
    assert agreed > 200


def test_the_end_of_a_file_is_held_against_what_is_asked(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(graph([GEMM, ("Relu", ["h"], ["y"])], [1, 4], **GOOD).SerializeToString())
    assert reading.read_network(path, "network").last == "relu"
    assert reading.read_network(path, "network", "relu").last == "relu"
    with pytest.raises(InputError, match=r"^last must be relu, as .*net\.onnx ends, got linear"):
        reading.read_network(path, "network", "linear")


def test_what_the_page_says_is_read_is_read():
    page = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
    table = page[page.index("| operators |") :].split("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    named = {name for row in rows for name in re.findall(r"[A-Z]\w+", row)}
    assert named == {*operators.AFFINE, *constants.OF_CONSTANTS, "Relu", "Constant"}
    assert f"{int(node.MOST_NUMBERS**0.5) - 1:,}" in page
