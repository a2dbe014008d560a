"""Networks as named arrays, of .npz and .safetensors files and in memory, with biases."""

import json
import struct
import sys

import ml_dtypes
import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.networks import affine, arrays, reading

W1, B1 = np.arange(6.0).reshape(3, 2) - 2.5, np.array([1.0, -2.0, 0.5])
W2, B2 = np.array([[1.0, 2.0, -3.0], [4.0, 0.5, 6.0]]), np.array([-1.0, 3.0])
SQUARE = np.array([[1.0, 2.0], [3.0, 4.0]])


def npz(tmp_path, **named):
    np.savez(tmp_path / "net.npz", **named)
    return reading.read_network(tmp_path / "net.npz", "network")


def assert_is(network, *layers):
    assert len(network.weights) == len(network.biases) == len(layers)
    for found, (weights, biases) in zip(
        zip(network.weights, network.biases, strict=True), layers, strict=True
    ):
        np.testing.assert_array_equal(found[0], weights)
        np.testing.assert_array_equal(found[1], biases)
        assert [one.dtype for one in found] == [np.float64] * 2


@pytest.mark.parametrize(
    "names",
    [
        ("arr_0", "arr_1", "arr_2", "arr_3"),
        ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"),
        ("fc9.weight", "fc9.bias", "fc10.weight", "fc10.bias"),
        ("W1", "b1", "W2", "b2"),
        ("z", "y", "x", "w"),
        ("hidden", "hidden_bias", "out1", "outs"),
    ],
)
def test_a_vector_is_the_bias_of_the_matrix_before_it(tmp_path, names):
    network = npz(tmp_path, **dict(zip(names, (W1, B1, W2, B2), strict=True)))
    assert_is(network, (W1, B1), (W2, B2))
    assert network.has_biases
    x = np.random.default_rng(0).normal(size=(10, 2))
    by_hand = np.maximum(x @ W1.T + B1, 0.0) @ W2.T + B2
    np.testing.assert_allclose(affine.forward(network, x), by_hand, rtol=1e-13)


def test_any_layer_may_lack_biases(tmp_path):
    assert_is(npz(tmp_path, a=W1, b=W2, c=B2), (W1, np.zeros(3)), (W2, B2))
    assert_is(npz(tmp_path, a=W1, b=B1, c=W2), (W1, B1), (W2, np.zeros(2)))
    network = npz(tmp_path, a=W1, b=W2)
    assert not network.has_biases
    np.testing.assert_equal(arrays.matrices(network, "network"), [W1, W2])
    np.testing.assert_equal(reading.read_matrices(tmp_path / "net.npz", "network"), [W1, W2])


def test_biases_of_zeros_are_none(tmp_path):
    network = npz(tmp_path, a=W1, b=0.0 * B1, c=W2, d=-0.0 * B2)
    np.testing.assert_equal(arrays.matrices(network, "network"), [W1, W2])


def test_in_memory_it_is_the_same():
    assert_is(arrays.given([W1, B1, W2, B2], "first"), (W1, B1), (W2, B2))
    assert_is(arrays.given([W1.tolist(), W2], "first", "relu"), (W1, np.zeros(3)), (W2, [0, 0]))
    with pytest.raises(InputError, match=r"^first must have a bias .*, got 2 in array 2 for 3 in"):
        arrays.given([W1, B2, W2], "first")


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"b1": B1, "w1": W1}, "must begin with a matrix, got the vector b1"),
        ({"a": W1, "b": B1, "c": B1}, "one vector of biases a layer, got b and c behind a"),
        ({"a": W1, "b": B2, "c": W2}, "a bias for each output of a layer, got 2 in b for 3 in a"),
        ({"a": W1, "b": np.ones(0)}, "a bias for each output of a layer, got 0 in b for 3 in a"),
        ({"w1": W1, "b2": B1}, "biases of a layer behind its matrix, got b2 behind w1"),
        ({"f1.w": W1, "f1.b": B1, "f2.w": W2, "f1.c": B2}, "got f1.c behind f2.w"),
        ({"w10": W1, "b10": B1, "w9": W2}, "from the first to the last, got w10 before w9"),
        ({"a": W1, "b": np.array([1, np.nan, 0])}, "must be finite, got nan in b"),
        ({"a": W1, "b": np.array([1, np.inf, 0])}, "must be finite, got inf in b"),
        (
            {"a": W1, "b": np.array([2**53 + 1, 1, 1])},
            "float64 holds exactly, got 9007199254740993",
        ),
        ({"a": W1, "b": np.array(["1", "2", "3"])}, "must be real numbers, got <U1 in b"),
        ({"a": W1, "b": B1, "c": W1}, "must chain, .*: a has 3 outputs, c has 2 inputs"),
    ],
)
def test_biases_that_belong_to_no_layer(tmp_path, named, message):
    with pytest.raises(InputError, match=f"^network .*{message}") as caught:
        npz(tmp_path, **named)
    assert "\n" not in str(caught.value)


def test_what_the_theorem_has_not_is_refused_where_it_speaks(tmp_path):
    np.savez(tmp_path / "net.npz", W1, B1, W2)
    with pytest.raises(InputError, match=r"^target must have no biases, .*, got 1 in layer 1"):
        reading.read_matrices(tmp_path / "net.npz", "target")


# .safetensors, written here by the layout of the format: a header of JSON, then the numbers.

CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "int8": "I8", "bool": "BOOL",
}  # fmt: skip


def safetensors(tmp_path, **named):
    pytest.importorskip("safetensors")
    header, body = {}, b""
    for name, values in named.items():
        data = np.ascontiguousarray(values).tobytes()
        header[name] = {
            "dtype": CODES[values.dtype.name],
            "shape": values.shape,
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header).encode()
    path = tmp_path / "net.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return reading.read_network(path, "network")


def test_the_order_of_layers_is_that_of_their_numbers(tmp_path):
    deep = {f"layers.{2 * i}.weight": SQUARE + i for i in range(12)}
    deep |= {f"layers.{2 * i}.bias": B2 * i for i in range(12)}
    for names in (sorted(deep), sorted(deep, reverse=True), list(deep)):
        network = safetensors(tmp_path, **{name: deep[name] for name in names})
        assert_is(network, *((SQUARE + i, B2 * i) for i in range(12)))


DTYPES = [np.float64, np.float32, np.float16, ml_dtypes.bfloat16]
DTYPES += [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2]


@pytest.mark.parametrize("dtype", DTYPES)
def test_floats_of_any_size_are_read_as_they_are(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(3, 2)).astype(dtype)
    biases = np.array([0.1, -3.0, 0.0]).astype(dtype)
    network = safetensors(tmp_path, **{"0.weight": values, "0.bias": biases})
    assert_is(network, (values.astype(np.float64), biases.astype(np.float64)))


def test_a_kernel_is_turned_and_a_weight_is_not(tmp_path):
    named = {"Dense_0/kernel": W1.T, "Dense_0/bias": B1, "Dense_1/kernel": W2.T}
    assert_is(safetensors(tmp_path, **named), (W1, B1), (W2, np.zeros(2)))
    assert_is(safetensors(tmp_path, kernel=SQUARE), (SQUARE.T, np.zeros(2)))
    assert_is(safetensors(tmp_path, weight=SQUARE), (SQUARE, np.zeros(2)))


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({}, "must hold a weight matrix a layer, got no arrays"),
        ({"0.weight": W1, "1.running_mean": B1}, "weight, kernel or bias .*, got 1.running_mean"),
        ({"0.weight": W1, "0.weight_scale": B1}, "weight, kernel or bias .*, got 0.weight_scale"),
        ({"0.weight": W1, "out.weight": W2}, "differ in numbers alone, .*, got 0 and out"),
        ({"0.weight": W1, "1.bias": B1}, "must hold one weight or kernel a layer, got 1.bias"),
        ({"0.weight": W1, "0.kernel": W1}, "weight or kernel a layer, got 0.kernel, 0.weight"),
        ({"0.weight": W1.astype(np.int8)}, "got I8 in 0.weight: whole numbers need a scale"),
        ({"0.weight": W1 > 0}, "got BOOL in 0.weight"),
        ({"0.weight": W1, "0.bias": B2}, "got 2 in 0.bias for 3 in 0.weight"),
        ({"0.weight": W1 * np.nan}, "must be finite, got nan in 0.weight"),
        (
            {"0.weight": W1, "1.weight": W1},
            "must chain, .*: 0.weight has 3 outputs, 1.weight has 2",
        ),
        ({"0.weight": W1, "00.weight": W1}, "from the first to the last, got"),
        ({"0.weight": np.ones((2, 2, 3, 3))}, r"got shape \[2, 2, 3, 3\] in 0.weight"),
    ],
)
def test_tensors_that_make_no_network(tmp_path, named, message):
    with pytest.raises(InputError, match=f"^network .*{message}") as caught:
        safetensors(tmp_path, **named)
    assert "\n" not in str(caught.value)


def test_damaged_safetensors_are_one_line(tmp_path):
    safetensors(tmp_path, **{"0.weight": W1, "0.bias": B1})
    path = tmp_path / "net.safetensors"
    whole = path.read_bytes()
    huge = b'{"weight":{"dtype":"F64","shape":[1000000,1000000],"data_offsets":[0,8000000000000]}}'
    for data in (b"", whole[:-1], whole[1:], whole + b"\0", struct.pack("<Q", len(huge)) + huge):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"^network must be a whole \.safetensors file"):
            reading.read_network(path, "network")


def test_what_the_library_writes_is_read(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "net.safetensors"
    named = {"fc1.weight": W1, "fc1.bias": B1, "fc2.weight": W2, "fc2.bias": B2}
    numpy.save_file({name: values.astype(np.float32) for name, values in named.items()}, path)
    assert_is(reading.read_network(path, "network", "relu"), (W1, B1), (W2, B2))
    assert reading.read_network(path, "network", "relu").last == "relu"
    assert reading.read_network(path, "network").last == "linear"


@pytest.mark.parametrize(
    ("library", "suffix"), [("safetensors", ".safetensors"), ("onnx", ".onnx")]
)
def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch, library, suffix):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"whatever")
    monkeypatch.setitem(sys.modules, library, None)
    message = (
        rf"^network must be a \.npz file where {library} is missing \(pip install 'ltjax\[files\]'"
    )
    with pytest.raises(InputError, match=message):
        reading.read_network(path, "network")
