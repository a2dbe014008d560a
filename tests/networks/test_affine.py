"""Networks with biases: the type, its value, and the same without biases and with a constant."""

from itertools import pairwise

import numpy as np
import pytest

from ltjax.networks import affine, pairs
from ltjax.networks.affine import ReluNetwork


def random_network(sizes, last="linear", seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(n_out, n_in) for n_in, n_out in pairwise(sizes)]
    return ReluNetwork(
        tuple(rng.normal(size=shape) for shape in shapes),
        tuple(rng.normal(size=n_out) for n_out, _ in shapes),
        last,
    )


@pytest.mark.parametrize("last", ["linear", "relu"])
@pytest.mark.parametrize("sizes", [(3, 2), (2, 5, 3), (4, 3, 6, 2)])
def test_the_value_is_that_of_the_formula(sizes, last):
    network = random_network(sizes, last)
    x = np.random.default_rng(1).normal(size=(20, sizes[0]))
    for point, found in zip(x, affine.forward(network, x), strict=True):
        h = point
        for i, (weights, biases) in enumerate(zip(network.weights, network.biases, strict=True)):
            h = np.array([sum(w * v for w, v in zip(row, h, strict=True)) for row in weights])
            h = h + biases
            if i + 2 < len(sizes) or last == "relu":
                h = np.where(h > 0.0, h, 0.0)
        np.testing.assert_allclose(found, h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("last", ["linear", "relu"])
@pytest.mark.parametrize("sizes", [(3, 2), (2, 5, 3), (4, 3, 6, 2)])
def test_with_a_constant_input_there_are_no_biases(sizes, last):
    network = random_network(sizes, last)
    x = np.random.default_rng(1).normal(size=(20, sizes[0]))
    layers = affine.homogeneous(network)
    assert [layer.shape for layer in layers[:-1]] == [
        (n_out + 1, n_in + 1) for n_in, n_out in pairwise(sizes[:-1])
    ]
    constant = np.column_stack([x, np.ones(len(x))])
    np.testing.assert_allclose(
        pairs.forward(layers, constant, last), affine.forward(network, x), rtol=1e-12, atol=1e-12
    )
    dropped = network._replace(biases=tuple(np.zeros_like(b) for b in network.biases))
    assert network.has_biases
    assert not dropped.has_biases
    assert np.abs(affine.forward(network, x) - affine.forward(dropped, x)).max() > 0.1
