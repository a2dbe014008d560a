"""What `ltjax show` says of a network: each line from the network itself."""

import numpy as np
import pytest

from ltjax.cli import program
from ltjax.networks import affine
from ltjax.networks.affine import ReluNetwork
from ltjax.tickets import network_report
from ltjax.tickets.scales import rescale

RNG = np.random.default_rng(0)
W = [RNG.normal(size=shape) for shape in ((3, 3), (3, 3), (2, 3))]
B = [RNG.normal(size=len(w)) for w in W]


def rows(network, suffix=".npz"):
    lines = network_report.report(network, suffix).splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_a_network_without_biases():
    said = rows(ReluNetwork(tuple(W), tuple(0.0 * b for b in B)))
    assert said["network"] == "3 -> 3 -> 3 -> 2, ending linear"
    assert said["weights"] == "24"
    assert said["biases"] == "none"
    assert said["kernels"] == "[out, in], also of layers 1, 2, where the shape does not tell"
    assert said["rounded by reading"] == "nothing"
    total, parts = said["scale"].split(" = ")
    assert [float(s) for s in parts.split(" x ")] == pytest.approx(rescale(W)[1], rel=1e-5)
    assert float(total) == pytest.approx(np.prod(rescale(W)[1]), rel=1e-5)
    for i, w in enumerate(W, 1):
        norm, largest = said[f"layer {i}"].split(", ")[1:]
        assert float(norm.removeprefix("||W|| = ")) == pytest.approx(np.linalg.norm(w, 2), rel=1e-5)
        assert np.abs(w).max() <= float(largest.removeprefix("|w| <= ")) < 1.0001 * np.abs(w).max()


def test_biases_and_what_was_rounded():
    first = B[0] * [1.0, 0.0, 0.0]
    network = ReluNetwork(tuple(W), (first, *B[1:]), "relu", (0.0, 1e-15, 0.0))
    said = rows(network, ".onnx")
    assert said["network"].endswith("ending relu")
    assert said["biases"] == "8, 2 of them 0"
    assert said["kernels"] == "as each operator has them"
    moved = said["rounded by reading"].removeprefix("layer 2, by which f moves ")
    assert float(moved.split()[0]) >= affine.misread(network, 1.0) > 0.0
    assert "scale" not in said
    scales = rescale(affine.homogeneous(network))[1]
    parts = said["scale, with a constant input"].split(" = ")[1].split(" x ")
    assert [float(s) for s in parts] == pytest.approx(scales, rel=1e-5)
    huge = network._replace(weights=tuple(1e200 * w for w in W))
    assert rows(huge)["scale, with a constant input"] == "none that float64 can hold"


def test_a_layer_that_is_not_square_needs_no_word():
    said = rows(ReluNetwork((W[2],), (B[2],)))
    assert said["kernels"] == "[out, in]"
    one = rows(ReluNetwork((W[0], W[2]), (B[0], B[2])))
    assert one["kernels"] == "[out, in], also of layer 1, where the shape does not tell"


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("net.npz", W[0], B[0], W[2])
    assert program.main(["show", "net.npz"]) == 0
    network = ReluNetwork((W[0], W[2]), (B[0], np.zeros(2)))
    assert capsys.readouterr().out == network_report.report(network, ".npz") + "\n"
    np.savez("bad.npz", W[0], B[2], W[2])
    for argv, message in (
        (["net.npz", "--csv"], "csv must be asked of a record, got net.npz, a network."),
        (["net.npz", "--all"], "all must be asked of a record"),
        (["net.npz", "--criterion", "sup"], "criterion must be asked of a record"),
        (["bad.npz"], "network must have a bias for each output of a layer, got 2 in arr_1"),
        (["none.onnx"], "network cannot be read from none.onnx: No such file"),
        (["none.safetensors"], "network cannot be read from none.safetensors"),
    ):
        assert program.main(["show", *argv]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert message in said.err
        assert said.err.count("\n") == 1
