"""Tickets of a network of one's own: whatever a file claims is met by the network it masks."""

import contextlib
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache, partial
from itertools import islice
from pathlib import Path

import jax
import numpy as np
import pytest
from oracles import ball
from scipy import stats

from ltjax import theory
from ltjax.errors import InputError
from ltjax.networks import hypotheses, pruned, reading
from ltjax.networks.pairs import forward
from ltjax.system import devices
from ltjax.tickets import archive, pruning, report, verifying
from ltjax.tickets.scales import rescale
from ltjax.weights import redraw

ROOT = Path(__file__).parents[2]
SIZES, EPSILON = (3, 5, 4, 2), 0.3
CASES = [
    ("blocks", "nearest", "linear"),
    ("separate", "nearest", "relu"),
    ("pooled", "nearest", "linear"),
    ("blocks", "subset", "linear"),
]


def target(sizes=SIZES, seed=0):
    """Layers far outside the hypotheses, and one far inside; one weight is 0."""
    rng = np.random.default_rng(seed)
    pairs = zip(sizes, sizes[1:], (3.0, 0.2, 1.5), strict=False)
    layers = [size * rng.uniform(-1, 1, (n_out, n_in)) for n_in, n_out, size in pairs]
    layers[0][1, 0] = 0.0
    return layers


@cache
def ticket_of(construction, rule, last):
    """A ticket and its target."""
    layers, options = target(), {"construction": construction, "rule": rule}
    return pruning.prune(layers, last, epsilon=EPSILON, seed=5, **options), layers


@pytest.fixture(params=CASES, ids="/".join)
def made(request):
    return ticket_of(*request.param)


@pytest.fixture(params=CASES[:3], ids="/".join)
def one_a_slot(request):
    """Of the rule that keeps one neuron a slot."""
    return ticket_of(*request.param)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.npz"


def saved(path, ticket):
    path.write_bytes(archive.to_bytes(ticket))
    return path


def dense(ticket):
    """The masked random network, drawn whole, as its layers; without neurons that keep nothing."""
    layers = []
    for i, (kept, width) in enumerate(zip(ticket.neurons, ticket.widths, strict=True)):
        _, n_out, n_in = kept.shape
        draw = redraw.random_layer(ticket.seed, [0], np.arange(width), n_in, n_out, i)
        keep_output, keep_hidden = pruned.mask(kept, width)
        hidden, output = draw[1][0] * keep_hidden, draw[0][0] * keep_output
        some = keep_hidden.any(axis=1)
        layers += [hidden[some], output[:, some]]
    return layers


def ranks_of(bits):
    """Ranks of rule subset, from bits [m, n_out, n_in]."""
    return np.where(bits, np.arange(len(bits))[:, None, None], -1)


def scattered(ticket, seed):
    """A ticket of positions drawn at random: on either side, some of them empty or named twice.

    Of a pool none is named twice.
    """
    rng = np.random.default_rng(seed)
    parts = zip(ticket.ranks, ticket.blocks, strict=True)
    if ticket.rule == "subset":
        bits = [rng.random(kept.shape) < 0.3 for kept in ticket.ranks]
        return replace(ticket, ranks=tuple(map(ranks_of, bits)))
    if ticket.construction == "pooled":
        draw = lambda kept, m: rng.choice(m, kept.shape, replace=False) - 10
        return replace(ticket, ranks=tuple(np.maximum(draw(*part), -1) for part in parts))
    ranks = [rng.integers(-1, m, kept.shape) for kept, m in parts]
    ranks[0][1, :2] = ranks[0][0, :2]
    return replace(ticket, ranks=tuple(ranks))


# Scales and block sizes.


def test_rescaling_fills_the_hypotheses_and_keeps_the_function():
    layers = target()
    scaled, scales = rescale(layers)
    assert max(scales) > 2.0
    assert min(scales) < 0.5
    for layer in scaled:
        assert max(hypotheses.factors(layer)) == pytest.approx(1.0, rel=1e-12)
    x = ball(3, 100)
    expected = forward(layers, x)
    np.testing.assert_allclose(np.prod(scales) * forward(scaled, x), expected, rtol=1e-12)
    zeros = rescale([np.zeros((2, 3)), np.ones((1, 2))])
    np.testing.assert_array_equal(zeros[0][0], 0.0)
    assert zeros[1] == (1.0, pytest.approx(2**0.5))


def test_small_layers_are_blown_up_because_their_blocks_shrink():
    # The last layer is of size 0.2. Divided by 1 instead of its own scale it wastes tolerance.
    layers = target((6, 8, 3), seed=1)
    (scaled, scales), epsilon = rescale(layers), 0.1
    assert scales[1] < 0.6
    capped = [layer / max(1.0, s) for layer, s in zip(layers, scales, strict=True)]
    total = np.prod([max(1.0, s) for s in scales])
    fewer = pruning.block_sizes("blocks", scaled, epsilon / np.prod(scales), 0.05)
    more = pruning.block_sizes("blocks", capped, epsilon / total, 0.05)
    assert all(a < b for a, b in zip(fewer, more, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("construction", archive.CONSTRUCTIONS)
def test_blocks_are_wide_enough_for_the_success_asked(construction):
    # Each seed fails with probability at most delta: more than `most` failures come with 1e-6.
    # With four times the epsilon blocks are a quarter, and 9 of 10 fail: `most` or fewer failures
    # come with less than 1e-6.
    layers, delta, seeds = target((3, 4, 2), seed=2), 0.2, 50
    most = stats.binom.isf(1e-6, seeds, delta)
    assert stats.binom.cdf(most, seeds, 0.9) < 1e-6
    _, scales = rescale(layers)
    etas = theory.slot_tolerance("tight", [w.shape for w in layers], 0.2 / np.prod(scales))

    def failures(epsilon):
        options = {"epsilon": epsilon, "delta": delta, "construction": construction}
        made = [pruning.prune(layers, seed=seed, **options) for seed in range(seeds)]
        worst = np.array(
            [[np.abs(e).max() for e in verifying.errors(t, layers).errors] for t in made]
        )
        return np.sum(np.any(worst > etas, axis=1))

    assert failures(0.2) <= most < failures(0.8)


@pytest.mark.slow
def test_the_width_that_would_do_and_the_epsilon_are_told():
    layers = target()
    prune = partial(pruning.prune, construction="blocks")
    with pytest.raises(InputError) as caught:
        prune(layers, epsilon=0.1, max_width=1000)
    said = re.fullmatch(
        r"max-width must be at least (\d+) for epsilon 0.1, the hidden neurons that layer 2 needs, "
        r"got 1000; it would do for epsilon (\S+)\.",
        str(caught.value),
    )
    needed, larger = int(said[1]), float(said[2])
    assert max(prune(layers, epsilon=larger, max_width=1000).widths) <= 1000
    assert max(prune(layers, epsilon=0.1, max_width=needed).widths) == needed
    with pytest.raises(InputError, match=f"max-width must be at least {needed}"):
        prune(layers, epsilon=0.1, max_width=needed - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rescaling": False}, r"\|\|W\|\| <= 1, got .* in layer 1; relu is homogeneous"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, got 0"),
        ({"epsilon": np.nan}, "epsilon must be positive and finite, got nan"),
        ({"delta": 1.0}, "delta must"),
        ({"seed": -1}, "seed must"),
        ({"last": "tanh"}, "last must be one of linear, relu, got tanh"),
        ({"construction": "pool"}, "construction must be one of blocks, separate, pooled, got"),
        ({"rule": "flips"}, "rule must be one of nearest, subset, got 'flips'"),
        (
            {"rule": "subset", "construction": "pooled"},
            "construction must be blocks by rule subset, got pooled",
        ),
        ({"rule": "subset", "narrow": True}, "narrow must be left out by rule subset"),
        ({"rule": "subset", "max_width": 4}, "max-width must be at least 5, .*, got 4"),
        ({"rule": "subset", "epsilon": 0.0}, "epsilon must be positive and finite, got 0"),
        ({"max_width": 0}, "max-width must be between"),
        ({"layers": [np.full((2, 2), 1e300), np.full((1, 2), 1e300)]}, "that float64 can hold"),
        ({"layers": [np.ones((1, 3000))]}, "dim must be between 1 and 2048, got 3000"),
    ],
)
def test_unusable_requests(options, message):
    with pytest.raises(InputError, match=message) as caught:
        pruning.prune(**{"layers": target(), "epsilon": EPSILON, **options})
    assert "\n" not in str(caught.value)


def test_a_target_within_the_hypotheses_may_stay_as_it_is():
    layers, _ = rescale(target())
    ticket = pruning.prune(layers, epsilon=0.5, rescaling=False)
    assert ticket.scales == (1.0,) * 3
    assert verifying.verify(ticket, layers).holds


# What a ticket says, and the network it masks.


def test_a_ticket_is_a_mask_of_the_construction(made):
    ticket, _ = made
    for i, (kept, width) in enumerate(zip(ticket.neurons, ticket.widths, strict=True)):
        _, n_out, n_in = kept.shape
        _, [hidden] = redraw.random_layer(ticket.seed, [0], np.arange(width), n_in, n_out, i)
        assert ticket.rule == "subset" or np.mean(kept >= 0) > 0.8
        if ticket.construction == "pooled":
            assert np.all(np.unique(kept[kept >= 0], return_counts=True)[1] == 1)
        for (name, o, q), j in np.ndenumerate(kept):
            if j >= 0:
                if ticket.rule == "subset":
                    assert j // n_in == name
                    assert i == 0 or hidden[j, q] > 0
                else:
                    assert np.sign(hidden[j, q]) == (1, -1)[name]
                assert ticket.construction == "pooled" or j % n_in == q
                assert ticket.construction != "separate" or j // n_in % n_out == o


@pytest.mark.parametrize(
    "change", [lambda t: t, lambda t: scattered(t, 1), lambda t: scattered(t, 2)]
)
def test_it_evaluates_as_the_masked_random_network(made, change):
    ticket = change(made[0])
    x = ball(3, 300)
    expected = ticket.scale * forward(dense(ticket), x, ticket.last)
    size = np.abs(expected).max()
    assert size > 1e-5
    np.testing.assert_allclose(verifying.evaluate(ticket, x), expected, atol=1e-14 * size)


def test_slots_that_lie_about_their_side_are_seen_through(one_a_slot):
    # Slot by slot, as if each neuron acted on the side that names it, is another network.
    ticket = scattered(one_a_slot[0], 1)
    for i, matrix in enumerate(verifying.effective(ticket)):
        kept = ticket.neurons[i]
        [believed] = pruned.ticket_errors(ticket.seed, [0], kept[None], 0 * matrix[0], i)
        assert np.mean(believed != matrix) > 0.2


def test_its_errors_are_those_of_its_slots(one_a_slot):
    ticket, layers = one_a_slot
    pair = verifying.errors(ticket, layers)
    for i, kept in enumerate(ticket.neurons):
        expected = pruned.ticket_errors(ticket.seed, [0], kept[None], pair.weights[i], i)
        np.testing.assert_array_equal(pair.errors[i], expected)


def gap(ticket, layers, n=20_000):
    """The largest error of the masked network at n points of the sphere."""
    x = ball(3, n)
    found = ticket.scale * forward(dense(ticket), x, ticket.last)
    return np.linalg.norm(found - forward(layers, x, ticket.last), axis=1).max()


def test_the_bracket_holds_the_error_of_the_masked_network(made):
    ticket, layers = made
    lower, upper = verifying.bracket(ticket, layers)
    assert gap(ticket, layers) <= upper <= EPSILON
    # Bounds of a third of the size, and bounds of another ticket, would be caught; where few slots
    # err, and by much, norms tell less.
    assert upper / (10.0 if ticket.rule == "subset" else 3.0) < gap(ticket, layers)
    assert gap(scattered(ticket, 9), layers) > upper
    assert 0.5 * gap(ticket, layers) <= lower <= upper
    assert verifying.bracket(ticket, layers, lower=False) == (0.0, upper)


def test_whatever_positions_a_ticket_claims_they_are_certified_as_they_act(made):
    for seed in range(5):
        ticket = scattered(made[0], seed)
        lower, upper = verifying.bracket(ticket, made[1])
        assert gap(ticket, made[1], 2000) <= upper
        assert lower <= upper


def test_a_neuron_acts_on_its_own_side_whichever_slot_names_it(one_a_slot):
    ticket, _ = one_a_slot
    turned = replace(ticket, ranks=(ticket.ranks[0][::-1], *ticket.ranks[1:]))
    for one, other in zip(verifying.effective(turned), verifying.effective(ticket), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_ticket_holds(made):
    ticket, layers = made
    verdict = verifying.verify(ticket, layers)
    assert (verdict.belongs, verdict.holds, verdict.word) == (True, True, "HOLDS")
    assert (verdict.lower, verdict.epsilon) == (0.0, EPSILON)
    assert verifying.verify(ticket, layers, lower=True).lower > 0.0


def test_an_epsilon_inside_the_bracket_is_not_certified_without_a_search(made):
    ticket, layers = made
    low, high = verifying.bracket(ticket, layers)
    for epsilon, word in (
        (0.9 * low, "REFUTED"),
        ((low + high) / 2, "NOT CERTIFIED"),
        (high, "HOLDS"),
    ):
        claimed = replace(ticket, epsilon=epsilon)
        # At once, by norms, from below; a search would come then.
        *_, verdict = islice(verifying.verdicts(claimed, layers, lower=True), 3)
        assert (verdict.word, verdict.holds) == (word, word == "HOLDS")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {"seed": t.seed + 1},
        lambda t: {"ranks": scattered(t, 3).ranks},
        lambda t: {"ranks": (*t.ranks[:2], np.full_like(t.ranks[2], -1))},
        lambda t: {"epsilon": 1e-3 * t.epsilon},
    ],
    ids=["seed", "positions", "emptied", "epsilon"],
)
def test_a_changed_ticket_is_refuted_even_if_it_is_sealed_again(made, path, change):
    ticket, layers = made
    verdict = verifying.verify(archive.read(saved(path, replace(ticket, **change(ticket)))), layers)
    assert verdict.belongs
    assert verdict.word == "REFUTED"
    assert not verdict.holds


def test_a_ticket_of_another_construction_is_refuted(one_a_slot):
    ticket, layers = one_a_slot
    other = "separate" if ticket.construction == "blocks" else "blocks"
    assert verifying.verify(replace(ticket, construction=other), layers).word == "REFUTED"


def test_a_ticket_belongs_to_one_target(made):
    ticket, layers = made
    others = {
        "weight": [*layers[:2], np.nextafter(layers[2], 9.0)],
        "shape": [*layers[:2], layers[2][:1]],
        "depth": layers[:2],
    }
    for other in others.values():
        verdict = verifying.verify(ticket, other)
        assert (verdict.belongs, verdict.holds, verdict.upper) == (False, False, np.inf)
    ending = {"linear": "relu", "relu": "linear"}[ticket.last]
    assert not verifying.verify(replace(ticket, last=ending), layers).belongs
    assert verifying.verify(ticket, [layer.copy(order="F") for layer in layers]).holds


def test_scales_that_are_none_of_the_target_are_refused(made):
    ticket, layers = made
    first, second, third = ticket.scales
    for scales, message in {
        (1e-308, 1e8, 1e300): "target / scales must be finite",
        (0.5 * first, second, third): "target / scales must satisfy",
        (2.0 * first, second, third): f"scales must be at most 1, .* in layer 1, got {2.0 * first}",
        (first, 1.0 + 1e-9, third): r"scales must be at most 1, .* in layer 2, got 1\.000000001",
    }.items():
        with pytest.raises(InputError, match=message):
            verifying.verify(replace(ticket, scales=scales), layers)
    # Up to 1 a small layer may keep its size.
    assert verifying.verify(replace(ticket, scales=(first, 1.0, third)), layers).belongs


def test_the_format_is_that_of_the_construction(made, path):
    ticket, _ = made
    header = json.loads(np.load(saved(path, ticket))["header"].tobytes())
    number = {"blocks": 1, "separate": 1, "pooled": 2}[ticket.construction]
    number = 3 if ticket.rule == "subset" else number
    assert header["format"] == f"ltjax-ticket/{number}"
    assert ("rule" in header) == (number == 3)
    for other in {1, 2, 3} - {number}:
        with pytest.raises(InputError, match="must be the bytes that ltjax writes for it"):
            archive.read(forge(path, ticket, format=f"ltjax-ticket/{other}"))


# A pool.


@pytest.fixture(scope="module")
def pooled():
    """A ticket from pools and its target."""
    layers = target()
    return pruning.prune(layers, epsilon=EPSILON, seed=5, construction="pooled"), layers


@pytest.mark.parametrize("slots", [(0, 1), (2, 15), (0, 29)])
def test_a_neuron_that_two_slots_of_a_pool_name_is_refused(pooled, path, slots):
    # Of one input, of two sides, of two inputs: none.
    ticket, _ = pooled
    ranks = [kept.copy() for kept in ticket.ranks]
    one, other = slots
    twice = ranks[0].flat[one] = ranks[0].flat[other]
    assert twice >= 0
    bits = "".join(
        format(rank + 1, f"0{m.bit_length()}b")[::-1]
        for layer, m in zip(ranks, ticket.blocks, strict=True)
        for rank in layer.ravel()
    )
    bits += "0" * (-len(bits) % 8)
    kept = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    message = f"ranks must name a neuron of a pool once, got neuron {twice} in two slots"
    with pytest.raises(InputError, match=message) as caught:
        archive.read(forge(path, ticket, kept=kept))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        replace(ticket, ranks=tuple(ranks))


def test_by_default_a_ticket_is_from_whichever_takes_fewer_neurons(pooled):
    ticket, layers = pooled
    assert archive.to_bytes(pruning.prune(layers, epsilon=EPSILON, seed=5)) == archive.to_bytes(
        ticket
    )
    blocks = pruning.prune(layers, epsilon=EPSILON, seed=5, construction="blocks")
    assert 3 * sum(ticket.widths) < sum(blocks.widths)
    # With one input the two are as wide; with a wide tolerance slots compete for a pool.
    wide = 0.2 * np.random.default_rng(0).uniform(0.5, 1.0, (30, 2))
    for some, epsilon, more in (([np.array([[0.4], [0.3]])], 0.1, False), ([wide], 0.5, True)):
        chosen, forced = (
            pruning.prune(some, epsilon=epsilon, construction=c) for c in (None, "pooled")
        )
        assert chosen.construction == "blocks"
        assert (sum(chosen.widths) < sum(forced.widths)) == more


def test_a_pool_has_neurons_to_spare_for_its_slots():
    layers = [np.full((4, 4), 0.25)]
    wide, fine = (pruning.block_sizes("pooled", layers, epsilon, 0.05)[0] for epsilon in (0.9, 0.1))
    assert wide == pruning.SPARE * 32
    assert (fine,) == pruning.block_sizes("blocks", layers, 0.1, 0.05)


def test_a_pool_is_halved_as_often_as_it_is_certified(pooled):
    whole, layers = pooled
    narrow = pruning.prune(layers, epsilon=EPSILON, seed=5, construction="pooled", narrow=True)
    assert verifying.verify(narrow, layers).holds
    (halvings,) = {
        int(np.log2(a / b) + 0.5) for a, b in zip(whole.blocks, narrow.blocks, strict=True)
    }
    assert halvings > 1
    scaled, _ = rescale(layers)
    for more, holds in ((0, True), (1, False)):
        blocks = tuple(m >> halvings + more for m in whole.blocks)
        ranks = pruning._search(scaled, np.array([blocks]), 5, "pooled")(0)
        one = replace(whole, blocks=blocks, ranks=ranks)
        assert (verifying.bracket(one, layers, lower=False)[1] <= EPSILON) == holds


def test_a_pool_smaller_than_its_slots_leaves_some_empty(pooled):
    whole, layers = pooled
    scaled, _ = rescale(layers)
    ranks = pruning._search(scaled, np.array([(3, 2, 1)]), 5, "pooled")(0)
    one = replace(whole, blocks=(3, 2, 1), ranks=ranks)
    assert [int(np.sum(kept >= 0)) for kept in ranks] <= [3, 2, 1]
    assert verifying.verify(one, layers, lower=True).word == "REFUTED"


def test_slots_beyond_memory_are_one_line(monkeypatch):
    monkeypatch.setattr(devices, "memory", lambda on: 28 * (768 + 64.0))
    message = "target must have at most 28 slots in a layer .* got 30 in layer 1; blocks"
    with pytest.raises(InputError, match=message) as caught:
        pruning.prune(target(), epsilon=EPSILON, construction="pooled")
    assert "\n" not in str(caught.value)
    pruning.prune(target(), epsilon=EPSILON, construction="blocks")


# Rows of bits.


@pytest.fixture
def rows():
    """A ticket of rule subset and its target."""
    return ticket_of("blocks", "subset", "linear")


def test_a_subset_ticket_has_the_least_block_size_that_is_certified(rows):
    ticket, layers = rows
    assert set(ticket.blocks) == {ticket.blocks[0]}
    scaled, _ = rescale(layers)
    nested = np.array([[ticket.blocks[0] - less] * 3 for less in (1, 0)])
    ranks = pruning._search_subsets(scaled, nested, 5)
    for n, holds in enumerate((False, True)):
        one = replace(ticket, blocks=tuple(nested[n].tolist()), ranks=ranks(n))
        assert (verifying.bracket(one, layers, lower=False)[1] <= EPSILON) == holds
    # Blocks of nearest products are a hundred times as large.
    assert 50 * sum(ticket.widths) < sum(ticket_of("blocks", "nearest", "linear")[0].widths)


def test_its_rows_have_the_nearest_sums(rows):
    # All subsets of every slot, in integers: products are multiples of 2^-48.
    ticket, layers = rows
    m, (scaled, _) = 9, rescale(layers)
    ranks = pruning._search_subsets(scaled, np.array([[m] * 3]), 5)(0)
    one = replace(ticket, blocks=(m,) * 3, ranks=ranks)
    missed = 0
    for i, (weights, matrix) in enumerate(zip(scaled, verifying.effective(one), strict=True)):
        n_out, n_in = weights.shape
        output, hidden = redraw.random_layer(5, [0], np.arange(m * n_in), n_in, n_out, i)
        for (side, o, q), found in np.ndenumerate(matrix):
            own = hidden[0, q::n_in, q]
            products = (output[0, o, q::n_in] * own)[(own > 0) == (side == 0)]
            units = np.ldexp(products, 48).astype(np.int64)
            masks = np.arange(2 ** len(units))[:, None] >> np.arange(len(units)) & 1
            target = int(np.round(np.ldexp(weights[o, q], 48)))
            best = np.abs(masks @ units - target).min() * 2.0**-48
            # A product is rounded to float32 and to the grid, of which 2^-24 is a step at most.
            assert best <= abs(found - weights[o, q]) + 1e-14
            assert abs(found - weights[o, q]) <= best + len(units) * 2.0**-22
            missed += best > 0.01
    assert 0 < missed < sum(matrix.size for matrix in verifying.effective(one))


def test_sums_are_exact(rows):
    one = scattered(rows[0], 7)
    for i, (kept, matrix) in enumerate(zip(one.neurons, verifying.effective(one), strict=True)):
        output, hidden = redraw.kept_weights(one.seed, [0], kept[None], i)
        for (side, o, q), found in np.ndenumerate(matrix):
            there = (kept[:, o, q] >= 0) & ((hidden[0, :, o, q] > 0) == (side == 0))
            pairs = zip(output[0, :, o, q][there], hidden[0, :, o, q][there], strict=True)
            assert Fraction(found) == sum(Fraction(a) * Fraction(w) for a, w in pairs)


def test_an_epsilon_that_no_block_is_certified_for_is_one_line():
    layers = target()
    few = {"epsilon": 0.01, "rule": "subset", "max_width": 60}
    message = r"epsilon must be at least (\S+), which subset sums of blocks of 12 neurons are "
    message += r"certified for, got 0.01; another seed or a larger max-width may do\.$"
    with pytest.raises(InputError, match=message) as caught:
        pruning.prune(layers, **few)
    enough = float(re.match(message, str(caught.value))[1])
    assert pruning.prune(layers, **few | {"epsilon": enough}).blocks[0] <= 12


def test_rows_that_are_none_are_refused(rows, path):
    ticket, _ = rows
    bits = sum(r.size for r in ticket.ranks)
    kept = np.load(forge(path, ticket))["kept"].tobytes()
    padding = -bits % 8
    assert padding > 0
    forged = {
        "must be the bytes that ltjax writes for it": kept[:-1] + bytes([kept[-1] | 1]),
        f"positions must be {len(kept)} bytes, got {len(kept) + 1}": kept + b"\0",
        f"positions must be {len(kept)} bytes, got {len(kept) - 1}": kept[:-1],
    }
    for message, data in forged.items():
        with pytest.raises(InputError, match=message):
            archive.read(forge(path, ticket, kept=data))
    m = ticket.blocks[0]
    for blocks in ([m + 1, m, m], [m, m, m - 1]):
        with pytest.raises(InputError, match="positions must be"):
            archive.read(forge(path, ticket, blocks=blocks, kept=kept))
    with pytest.raises(InputError, match="blocks must be 1 to 64 neurons by rule subset, got 65"):
        archive.read(forge(path, ticket, blocks=[65, m, m]))
    with pytest.raises(InputError, match="rule must be one of nearest, subset, got 'flips'"):
        archive.read(forge(path, ticket, rule="flips"))
    wrong = (ticket.ranks[0][::-1], *ticket.ranks[1:])
    with pytest.raises(InputError, match="ranks must be r or -1 at the name r"):
        replace(ticket, ranks=wrong)


def test_any_bit_of_a_row_changes_the_network(rows, path):
    ticket, layers = rows
    x, rng = ball(3, 50), np.random.default_rng(0)
    kept = np.load(saved(path, ticket))["kept"].tobytes()
    before, seen = verifying.evaluate(ticket, x), []
    for at in rng.choice(sum(r.size for r in ticket.ranks), 20, replace=False):
        changed = bytearray(kept)
        changed[at // 8] ^= 128 >> at % 8
        one = archive.read(forge(path, ticket, kept=bytes(changed)))
        # Its verdict is that of its own network, whatever the seal says.
        assert gap(one, layers, 2000) <= verifying.bracket(one, layers)[1]
        seen.append(np.any(verifying.evaluate(one, x) != before))
    # In later layers half of the neurons are of the side that is never there.
    assert sum(seen) >= 8


# The report.


def test_the_report(made):
    ticket, layers = made
    verdict = verifying.verify(ticket, layers, lower=True)
    text = report.report(ticket, layers, verdict)
    said = dict(line.split(": ", 1) for line in text.splitlines())
    number = lambda name: float(said[name].split()[0].replace(",", ""))
    assert text.isascii()
    assert said["verdict"] == "HOLDS"
    assert number("lower bound") == pytest.approx(verdict.lower, rel=1e-5)
    assert number("upper bound") == pytest.approx(verdict.upper, rel=1e-5)
    assert number("epsilon / scale") == pytest.approx(EPSILON / np.prod(ticket.scales), rel=1e-5)
    pairs = zip(SIZES, SIZES[1:], ticket.widths, strict=False)
    assert number("random weights") == sum(width * (a + b) for a, b, width in pairs)
    assert number("active weights") == sum(map(np.count_nonzero, dense(ticket)))
    most = 4 * 15 + 2 * (20 + 8)
    if ticket.rule == "subset":
        most = sum(k * (n + 1) for k, n in zip(ticket.widths, SIZES[1:], strict=True))
        assert said["random network"] == "seed 5, blocks, subset sums"
    assert number("active weights") <= number("active weights, at most") == most
    assert number("weights of the target") == 15 + 20 + 8 - 1
    assert number("bytes") == len(archive.to_bytes(ticket))
    assert number("bytes of the target in float32") == 4 * 43
    bits = report.coarsest_grid(ticket, layers)
    assert number("bytes of the target on a grid") == np.ceil(bits * 43 / 8)
    empty = replace(ticket, ranks=tuple(np.full_like(r, -1) for r in ticket.ranks))
    refuted = verifying.verify(empty, layers)
    assert report.report(empty, layers, refuted).startswith("verdict: REFUTED\n")


def test_a_grid_of_fewer_bits_is_not_certified():
    # One layer of one output: the error of the grid is the length of the rounding errors.
    layers = [np.array([[1.0, 0.4, -0.3]])]
    ticket = pruning.prune(layers, epsilon=0.12)
    # 2 bits, steps of 1:   (0, 0.4, 0.3), length 0.5
    # 3 bits, steps of 1/3: (0, 0.0667, 0.0333), length 0.0745
    assert report.coarsest_grid(ticket, layers) == 3
    assert report.coarsest_grid(replace(ticket, epsilon=0.0745), layers) > 3
    assert report.coarsest_grid(replace(ticket, epsilon=0.51), layers) == 2
    assert report.coarsest_grid(replace(ticket, epsilon=1e-30), layers) is None


# The file.


def forge(path, ticket, kept=None, **changes):
    """A file as the format page describes it, written without the code under test, resealed."""
    subset = ticket.rule == "subset"
    unsaid = {"ranks"} if subset else {"ranks", "rule"}
    names = {f.name: getattr(ticket, f.name) for f in fields(ticket) if f.name not in unsaid}
    names = {name: value for name, value in (names | changes).items() if value is not None}
    if kept is None:
        if subset:
            rows = [ranks.reshape(len(ranks), -1).T for ranks in ticket.ranks]
            bits = "".join(str(int(rank >= 0)) for layer in rows for row in layer for rank in row)
        else:
            bits = "".join(
                format(rank + 1, f"0{m.bit_length()}b")[::-1]
                for ranks, m in zip(ticket.ranks, ticket.blocks, strict=True)
                for rank in ranks.ravel()
            )
        bits += "0" * (-len(bits) % 8)
        kept = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    version = 3 if subset else 2 if ticket.construction == "pooled" else 1
    version = names.pop("format", f"ltjax-ticket/{version}")
    seal = hashlib.sha256(json.dumps(names).encode() + kept).hexdigest()
    header = {"format": version, **names, "digest": seal}
    text = json.dumps(header, separators=(",", ":")).encode()
    np.savez(path, header=np.frombuffer(text, np.uint8), kept=np.frombuffer(kept, np.uint8))
    return path


def test_round_trip(made, path):
    ticket, _ = made
    read = archive.read(saved(path, ticket))
    for field in fields(ticket):
        np.testing.assert_equal(getattr(read, field.name), getattr(ticket, field.name))
    for one, other in zip(read.neurons, ticket.neurons, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_is_that_of_the_format_page(made, path):
    ticket, _ = made
    assert forge(path, ticket).read_bytes() == archive.to_bytes(ticket)
    # Of 15 x 2, 20 and 8 slots, each in as many bits as its block size has; or a bit a neuron.
    bits = sum(n * m.bit_length() for n, m in zip((30, 20, 8), ticket.blocks, strict=True))
    if ticket.rule == "subset":
        bits = sum(n * m for n, m in zip((15, 20, 8), ticket.blocks, strict=True))
    assert len(np.load(path)["kept"]) == -(-bits // 8)


def test_an_edited_file_is_refused(made, path):
    whole = archive.to_bytes(made[0])
    for old, new in ((b'"seed":5', b'"seed":6'), (b'"epsilon":0.3', b'"epsilon":0.4')):
        parts = dict(np.load(io.BytesIO(whole)))
        parts["header"] = np.frombuffer(parts["header"].tobytes().replace(old, new), np.uint8)
        np.savez(path, **parts)
        with pytest.raises(InputError, match="was edited or damaged, its digest does not fit"):
            archive.read(path)
    parts = dict(np.load(io.BytesIO(whole)))
    parts["kept"][3] ^= 4
    np.savez(path, **parts)
    with pytest.raises(InputError, match="was edited or damaged, its digest does not fit"):
        archive.read(path)


def test_damage_is_never_read(made, path):
    ticket, _ = made
    whole, rng = archive.to_bytes(ticket), np.random.default_rng(4)
    for at in rng.choice(len(whole), 300, replace=False):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            # What can be read still is of the archive, and not of the ticket.
            assert archive.to_bytes(archive.read(path)) == whole
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r"whole \.npz file"):
            archive.read(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"seed": 2**32}, "seed must be at least 0"),
        ({"seed": 1.5}, "seed must be of type int, got 1.5"),
        ({"seed": True}, "seed must be of type int, got True"),
        ({"seed": None}, "holds no ticket"),
        ({"sizes": []}, "holds no ticket"),
        ({"sizes": [3, 5, 4, 0]}, "outputs must be between"),
        ({"sizes": [3, 5, 4]}, "holds no ticket"),
        ({"sizes": [4, 5, 4, 2]}, "holds no ticket"),
        ({"sizes": "3542"}, "holds no ticket"),
        ({"last": "tanh"}, "last must be one of"),
        ({"construction": "pool"}, "construction must be one of"),
        ({"scales": [1.0, 1.0]}, "scales and blocks must be 3 numbers each"),
        ({"scales": [-1.0, -1.0, 1.0]}, "scales must be positive and finite"),
        ({"scales": [1.0, 1.0, np.nan]}, "scales must be positive and finite"),
        ({"scales": [1e300, 1e300, 1.0]}, "scales must have a product between 1e-300"),
        ({"scales": ["1", 1.0, 1.0]}, "holds no ticket"),
        ({"blocks": [2**40] * 3}, "holds no ticket"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, got 0"),
        ({"epsilon": np.inf}, "epsilon must be positive and finite, got inf"),
        ({"epsilon": "1"}, "epsilon must be of type float"),
        ({"target": 5}, "target must be of type str"),
        ({"extra": 1}, "holds no ticket"),
        ({"kept": b""}, "holds no ticket"),
        (
            {"format": "ltjax-ticket/4"},
            "must be a file of format ltjax-ticket/1, ltjax-ticket/2 or ltjax-ticket/3,",
        ),
    ],
)
def test_values_that_no_ticket_has(made, path, changes, message):
    with pytest.raises(InputError, match=message) as caught:
        archive.read(forge(path, made[0], **changes))
    assert "\n" not in str(caught.value)


def test_positions_beyond_their_block_are_refused(one_a_slot, path):
    ticket, _ = one_a_slot
    last = int(max(ranks.max() for ranks in ticket.ranks[:1]))
    fewer = (last, *ticket.blocks[1:])
    assert last.bit_length() == ticket.blocks[0].bit_length()
    with pytest.raises(InputError, match=f"ranks must lie below the block size {last}, got {last}"):
        archive.read(forge(path, ticket, blocks=fewer))


def test_more_bytes_than_a_ticket_has_are_refused(made, path):
    parts = np.load(forge(path, made[0]))
    longer = parts["kept"].tobytes() + b"\0"
    with pytest.raises(InputError, match="holds no ticket"):
        archive.read(forge(path, made[0], kept=longer))


def test_files_that_are_no_ticket(made, path, tmp_path):
    for place, message in {"": "is a directory", "none": "No such file"}.items():
        with pytest.raises(InputError, match=message):
            archive.read(tmp_path / place)
    np.savez(path, *made[1])
    with pytest.raises(InputError, match=r"format ltjax-ticket/1, .*, got .*file\.npz"):
        archive.read(path)
    for text in (b"", b"[]", b"[" * 10**5, b'{"format":"ltjax-ticket/1"}', b"\xff"):
        np.savez(path, header=np.frombuffer(text, np.uint8), kept=np.zeros(3, np.uint8))
        with pytest.raises(InputError, match="format ltjax-ticket/1"):
            archive.read(path)


def test_reading_a_ticket_does_not_import_jax():
    code = "import sys, ltjax.tickets.archive; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# Networks from a file.


def test_a_network_is_read_in_the_order_of_its_file(path):
    first, second = np.arange(6, dtype=np.float32).reshape(2, 3) / 7, np.array([[1, -2]])
    np.savez_compressed(path, z=first, a=second)
    layers = reading.read_matrices(path, "target")
    assert [layer.dtype for layer in layers] == [np.float64] * 2
    np.testing.assert_array_equal(layers[0], first.astype(np.float64))
    np.testing.assert_array_equal(layers[1], second)
    np.savez(path, *layers)
    np.testing.assert_equal(reading.read_matrices(path, "target"), layers)


GOOD = np.ones((2, 3))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "must hold a weight matrix a layer, got no arrays"),
        ({"a": np.zeros((0, 3))}, r"must hold matrices \[out, in\], got shape \[0, 3\] in a"),
        ({"a": np.ones((2, 3, 3))}, r"got shape \[2, 3, 3\] in a"),
        ({"a": np.float64(3)}, r"got shape \[\] in a"),
        ({"a": GOOD, "b": np.ones(2)}, "must have no biases, .*, got 1 in layer 1: train again"),
        ({"a": GOOD, "b": GOOD}, "must chain, .*: a has 2 outputs, b has 3 inputs"),
        ({"a": GOOD, "b": np.array([[1, np.nan]])}, "must be finite, got nan in b"),
        ({"a": -np.inf * GOOD}, "must be finite, got -inf in a"),
        ({"a": GOOD + 1j}, "must be real numbers, got complex128 in a"),
        ({"a": np.array([["1.5", "2"]])}, "must be real numbers, got <U3 in a"),
        ({"a": GOOD > 0}, "must be real numbers, got bool in a"),
    ],
)
def test_arrays_that_make_no_network(path, arrays, message):
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=f"^target .*{message}") as caught:
        reading.read_matrices(path, "target")
    assert "\n" not in str(caught.value)


class Payload:
    """Whoever unpickles this, creates a file."""

    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_nothing_in_a_file_is_executed(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(path, a=np.array([[Payload()]], object))
    with pytest.raises(InputError, match=r"must be a whole \.npz file of plain arrays"):
        reading.read_matrices(path, "target")
    assert not Path("executed").exists()
    with np.load(path, allow_pickle=True) as loose:
        assert loose["a"] is not None  # the payload works
    assert Path("executed").exists()


def test_torn_and_foreign_files_are_no_network(path, tmp_path):
    np.savez(path, GOOD, np.ones((1, 2)))
    whole = path.read_bytes()
    foreign = [b"", b"no zip", whole[:-1], whole[1:], whole[: len(whole) // 2]]
    buffer = io.BytesIO()
    np.save(buffer, GOOD)
    for data in [*foreign, buffer.getvalue(), whole.replace(b"\x93NUMPY", b"\x94NUMPY")]:
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"must be a whole \.npz file of plain arrays"):
            reading.read_matrices(path, "target")
    for place, message in {"": "is a directory", "none": "No such file"}.items():
        with pytest.raises(InputError, match=message):
            reading.read_matrices(tmp_path / place, "target")


# The target that comes with the package.


@pytest.mark.slow
def test_the_digits(path, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import digits_target

    monkeypatch.setattr(digits_target, "STEPS", 300)
    with jax.numpy_dtype_promotion("standard"):  # Adam counts its steps in integers
        digits_target.main(["--out", str(tmp_path / "digits.npz")])
    layers = reading.read_matrices(tmp_path / "digits.npz", "target")
    assert [layer.shape for layer in layers] == [(32, 64), (10, 32)]
    saved(path, pruning.prune(layers, epsilon=1.0))
    capsys.readouterr()
    digits_target.main(["--out", str(tmp_path / "digits.npz"), "--check", str(path)])
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    target, ticket = (float(words[-1]) for words in said[:2])
    assert target > 0.9
    assert abs(target - ticket) < 0.01
    # The ticket is within 1 of the target, and much nearer as it turns out.
    assert int(said[2][3]) >= 355
