"""Networks pruned by copies: the masked dense network of depth l + 1 against the pair it is in."""

from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ltjax
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.copies import device, host
from ltjax.experiments.copies.config import Copies
from ltjax.experiments.own import device as own
from ltjax.networks import pairs
from ltjax.supnorm import certificate
from ltjax.weights import draws, redraw

COPIES = {"constructions": ("copies",), "epsilons": (0.5, 0.2), "seed": 4}
TRIALS = 3


@ltjax.mask_rule
def few(products, target):
    """One neuron after the other of the target's sign, while their sum is no larger."""
    right = jnp.isfinite(products) & (products * target > 0.0)
    return right & (jnp.cumsum(jnp.where(right, jnp.abs(products), 0.0)) <= jnp.abs(target))


def problem_of(sizes, blocks=(5, 12), last="linear", **asked):
    random = np.random.default_rng(1)
    target = [random.uniform(-1.0, 1.0, (o, i)) / i for i, o in pairwise(sizes)]
    return ltjax.network(
        target=[w / max(1.0, np.linalg.norm(w, 2) * (1 + 1e-9)) for w in target],
        blocks=blocks, last=last, **COPIES | asked,
    )  # fmt: skip


def outcome(problem, measured=device):
    words = np.arange(TRIALS, dtype=np.uint32)
    key = draws.trial_key(np.full_like(words, problem.seed), words)
    target, widths = tuple(map(np.float32, problem.arrays)), np.int32(problem.grid.widths)
    run = jax.jit(jax.vmap(lambda key: measured.trial(key, target, widths, problem.config)))
    return jax.tree.map(np.array, run(key))


def dense(problem, trial, width, kept):
    """The masked random network of depth l + 1, as matrices."""
    d, layers = problem.config.dim, []
    for layer, (keep, (n_out, n_in)) in enumerate(zip(kept, problem.config.shapes, strict=True)):
        rows = n_out * (width if layer + 1 < len(kept) else 1)
        [a], [w] = redraw.random_layer(
            problem.seed, [trial], np.arange(n_in * width), d, rows, layer
        )
        if layer == 0:
            first = np.zeros_like(w)
            for j in range(d * width):
                if np.any(keep[:, :rows, j % d, j // d]):
                    first[j, j % d] = w[j, j % d]
            layers.append(first)
        mask = np.zeros_like(a)
        for j in range(n_in * width):
            mask[:, j] = np.any(keep[:, :rows, j % n_in, j // n_in], axis=0)
        layers.append(a * mask)
    return layers


def points(problem, number=200):
    x = np.random.default_rng(0).normal(size=(number, problem.config.dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


CASES = [((3, 3, 2), "linear"), ((3, 2, 2, 1), "linear"), ((2, 1), "relu")]


@pytest.fixture(scope="module", params=CASES, ids=str)
def pruned(request):
    problem = problem_of(request.param[0], last=request.param[1], rules=(few,))
    return problem, outcome(problem)


def test_the_pair_is_the_masked_network_of_depth_l_plus_1(pruned):
    problem, found = pruned
    x, last = points(problem), problem.config.last
    for trial in range(TRIALS):
        for k, width in enumerate(problem.grid.widths):
            kept = [layer[trial, 0, k] for layer in found.kept]
            layers = dense(problem, trial, width, kept)
            assert len(layers) == len(problem.arrays) + 1
            there = pairs.forward(layers, x, last) - pairs.forward(problem.arrays, x, last)
            pair = host.pair_of(problem, trial, width, kept)
            np.testing.assert_allclose(pairs.difference(pair, x.T).T, there, atol=1e-13)
            error = np.linalg.norm(there, axis=1)
            least, most = pairs.reached(pair, x.T)
            assert np.all((least - 1e-13 <= error) & (error <= most + 1e-13))
            assert error.max() <= certificate.upper(host._one(pair))[0]


def test_other_weights_are_seen(pruned):
    problem, found = pruned
    x, last = points(problem), problem.config.last
    kept = [layer[0, 0, -1].copy() for layer in found.kept]
    pair = host.pair_of(problem, 0, problem.grid.widths[-1], kept)
    kept[-1][0, 0] ^= True  # all that the first output keeps, and what it does not
    layers = dense(problem, 0, problem.grid.widths[-1], kept)
    there = pairs.forward(layers, x, last) - pairs.forward(problem.arrays, x, last)
    assert np.abs(pairs.difference(pair, x.T).T - there).max() > 1e-8


def test_the_target_with_copies_is_the_target_to_the_last_unit(pruned):
    problem, found = pruned
    for k, width in enumerate(problem.grid.widths):
        pair = host.pair_of(problem, 1, width, [layer[1, 0, k] for layer in found.kept])
        for split, target in zip(pair.weights[1:], problem.arrays[1:], strict=True):
            parts = np.ldexp(split, 48).reshape(len(split), width, -1)
            assert np.array_equal(parts, np.rint(parts))
            live = np.any(parts != 0.0, axis=(1, 2))
            whole = np.tile(np.rint(np.ldexp(target, 48)), (len(split) // len(target), 1))
            np.testing.assert_array_equal(parts.sum(axis=1)[live], whole[live])
            # Of each neuron there is a copy that all of this depends on.
            assert np.all(live.reshape(-1, len(target)).any(axis=0))


def test_without_a_second_layer_copies_are_blocks():
    problem = problem_of((3, 1), last="relu", rules=("nearest",))
    blocks = ltjax.network(
        target=problem.arrays, blocks=problem.grid.widths, last="relu", rules=("nearest", "sup"),
        **COPIES | {"constructions": ("blocks",)},
    )  # fmt: skip
    assert blocks.experiment == "own"
    one, other = outcome(problem), outcome(blocks, own)
    assert 0 < one.kept[0].sum() < one.kept[0].size
    np.testing.assert_array_equal(one.kept[0], other.kept[0])


@pytest.mark.slow
def test_counts_repeat_however_trials_are_cut(tmp_path):
    problem = problem_of((3, 3, 1), blocks=(8, 16))
    at_once, path = ltjax.run(problem, 24), tmp_path / "copies.jsonl"
    ltjax.run(problem, 7, path)
    in_parts = ltjax.run(problem, 24, path)
    np.testing.assert_array_equal(at_once.certified, in_parts.certified)
    np.testing.assert_array_equal(at_once.refuted, in_parts.refuted)
    assert at_once.certified[0, 0, 1] < at_once.certified[0, 1, 1]
    assert at_once.refuted.sum() > 0
    text = ltjax.table(at_once)
    assert "a random network of depth 3, whose hidden layers have 3 m, 3 m neurons" in text
    assert "nothing is proved of these curves" in text


def test_a_kernel_that_errs_is_seen():
    problem = problem_of((3, 2, 1), rules=(few,))
    found, trials = outcome(problem), np.arange(TRIALS)
    host.check(problem, trials, *found)
    errors = tuple(e + 1e-4 * (i == 1) for i, e in enumerate(found.errors))
    with pytest.raises(WrongKernelError, match=r"wrong at few/sup, block size 5: layer 2"):
        host.check(problem, trials, *found._replace(errors=errors))
    kept = tuple(~layer for layer in found.kept)
    with pytest.raises(WrongKernelError, match=r"wrong at few/sup, block size 5: layer 1"):
        host.check(problem, trials, *found._replace(kept=kept))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"constructions": ("copies", "blocks")}, r"constructions must be copies alone, .*blocks"),
        ({"law": "gaussian"}, r"law must be uniform with copies, got gaussian"),
        ({"rules": ("subset", "tight")}, r"rules must be sup with copies, got tight"),
        ({"rules": ("nonsense",)}, r"rules must be taken from .*, got nonsense"),
        ({"blocks": (8, 65)}, r"blocks must be of 1 to 64 with copies, got 65"),
    ],
)
def test_what_cannot_be_asked_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        problem_of((3, 2, 1), **asked)


def test_a_configuration_that_is_none_is_refused():
    config = problem_of((3, 2, 1)).config
    assert config.rules == ("subset",)
    for change, message in (
        ({"sizes": (3,)}, r"sizes must be those of a network, got \(3,\)"),
        ({"last": "tanh"}, r"last must be one of linear, relu, got tanh"),
        ({"rules": ()}, r"rules must name each mask rule once, got none"),
        ({"sources": ()}, r"sources must be one a rule, got 0"),
    ):
        with pytest.raises(InputError, match=message):
            replace(config, **change)
    assert isinstance(config, Copies)
