"""A ticket cannot be forged: what `verify` says holds, holds, whoever wrote the file."""

import io
import json
import re
from dataclasses import fields, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from test_ticket_commands import call, said
from test_tickets import forge

from ltjax.errors import InputError
from ltjax.networks import hypotheses, pruned, targets
from ltjax.tickets import archive, pruning, verifying
from ltjax.tickets.archive import Ticket, digest, from_bytes, to_bytes
from ltjax.tickets.scales import rescale
from ltjax.weights import redraw

LAYER = np.array([[0.6, -0.5, 0.3], [0.2, 0.4, -0.7]])


BEFORE_THE_SEARCH = 3  # verdicts: at once, by norms, from below


def empty(layers, scales, epsilon, **changes):
    """A ticket that keeps nothing of one neuron a block, with these scales and this claim."""
    sizes = (layers[0].shape[1], *map(len, layers))
    parts = {
        "seed": 0,
        "sizes": sizes,
        "last": "linear",
        "construction": "blocks",
        "scales": scales,
        "blocks": (4,) * len(layers),
        "ranks": tuple(np.full(shape, -1) for shape in pruned.slots(sizes)),
        "target": digest(layers, "linear"),
        "epsilon": epsilon,
    }
    return Ticket(**parts | changes)


def outcome(make, layers):
    """The word of a verdict, or "refused" by an error of one line."""
    try:
        *_, last = islice(verifying.verdicts(make(), layers, lower=True), BEFORE_THE_SEARCH)
        return last.word
    except InputError:
        return "refused"


MADE = [("blocks", "nearest"), ("pooled", "nearest"), ("blocks", "subset")]


@pytest.fixture(scope="module", params=MADE, ids="/".join)
def made(request):
    """A ticket of some 900 bytes that holds, and its target."""
    layers = [2.0 * w for w in targets.random_target(1, (2, 2, 1))]
    construction, rule = request.param
    ticket = pruning.prune(layers, epsilon=0.5, seed=3, construction=construction, rule=rule)
    assert verifying.verify(ticket, layers).word == "HOLDS"
    return ticket, layers


# Scales.


@pytest.mark.parametrize("scale", [1e3, 1e158, 1e159, 1e161, 1e162, 1e170, 1e200, 1e290])
def test_a_scale_in_which_the_error_underflows(scale):
    # The error of keeping nothing is the norm of the layer, 0.9925.
    make = lambda: empty([LAYER], (scale,), 1e-9)
    assert outcome(make, [LAYER]) == "refused"
    # Blown up by the layer after it, the product is of no size in particular.
    layers = [LAYER, np.array([[0.5, 0.5]])]
    make = lambda: empty(layers, (scale, 1.0 / scale), 1e-9)
    assert outcome(make, layers) == "refused"


def test_the_forged_ticket_by_the_command(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    np.savez("t1.npz", LAYER)
    Path("forged.npz").write_bytes(to_bytes(empty([LAYER], (1e170,), 1e-9)))
    assert call("verify", "forged.npz", "t1.npz") == 2
    out, told = capfd.readouterr()
    assert out == ""
    assert told.startswith("ltjax: scales must be at most 1, or what")
    Path("honest.npz").write_bytes(to_bytes(empty([LAYER], (1.0,), 1e-9)))
    assert call("verify", "honest.npz", "t1.npz") == 2  # its norm is below 1, but not its entries
    capfd.readouterr()
    (scale,) = rescale([LAYER])[1]
    Path("honest.npz").write_bytes(to_bytes(empty([LAYER], (scale,), 1e-9)))
    assert call("verify", "honest.npz", "t1.npz") == 1
    shown, _ = said(capfd)
    assert shown["verdict"] == "REFUTED"
    assert float(shown["lower bound"]) > 0.99


def test_what_is_within_the_hypotheses_may_be_divided_by_one_at_most():
    (needed,) = rescale([LAYER])[1]
    assert 1.0 < needed < 1.3
    for scale, word in {
        needed: "REFUTED",
        needed * (1 + 1e-13): "REFUTED",  # the last bits of a norm are another machine's
        needed * (1 + 1e-9): "refused",
        needed * (1 - 1e-9): "refused",
    }.items():
        assert outcome(lambda scale=scale: empty([LAYER], (scale,), 0.1), [LAYER]) == word
    small = [LAYER / 8.0]
    for scale, word in {0.2: "REFUTED", 1.0: "REFUTED", 1.0 + 1e-9: "refused"}.items():
        assert outcome(lambda scale=scale: empty(small, (scale,), 0.01), small) == word


def test_layers_that_vanish_are_refused_and_layers_of_zeros_are_not():
    for size in (1e-160, 1e-200, 1e-308, 5e-324):
        layers = [np.full((2, 2), size), np.ones((1, 2))]
        make = lambda layers=layers: empty(layers, (1.0, np.sqrt(2.0).item()), 1e-9)
        assert outcome(make, layers) == "refused"
        with pytest.raises(InputError, match="norm 1e-150 to 1, or all zeros, got"):
            pruning.prune([np.full((2, 2), size)], epsilon=0.1, rescaling=False)
    zeros = [np.zeros((2, 2)), 0.5 * np.ones((1, 2))]
    assert outcome(lambda: empty(zeros, (1.0, 1.0), 1e-9), zeros) == "HOLDS"


def test_scales_are_multiplied_without_loss_whatever_their_order():
    # In order, the product passes through numbers that have two digits left.
    scales = (1e-161, 1e-161, 1e200, 1e122)
    exact = np.prod([Fraction(s) for s in scales])
    for some in (scales, scales[::-1]):
        assert abs(Fraction(archive.scale_of(some)) - exact) <= exact / 2**53
    assert archive.scale_of((1e300, 1e300)) == np.inf
    layers = [np.full((2, 2), 1e-161)] * 2 + [np.full((2, 2), 1e161)] * 2
    _, scales = rescale(layers)
    ticket = empty(layers, scales, 1.0)
    assert ticket.scale == pytest.approx(16.0, rel=4e-12)
    low, high = verifying.bracket(ticket, layers)
    assert 15.9 < low <= 16.0 <= high < 16.1


def test_what_dividing_by_no_power_of_two_rounds_is_in_the_bracket():
    # One weight, one kept neuron: the error is |w - s A W|, rational.
    rng, low_misses, high_misses = np.random.default_rng(3), 0, 0
    for seed in range(60):
        w = rng.uniform(0.3, 0.9)
        scale = rng.uniform(w, 1.0)
        layers = [np.array([[w]])]
        one = empty(layers, (scale,), 0.5, seed=seed, ranks=(np.array([[[0]], [[-1]]]),))
        [output], [hidden] = redraw.random_layer(seed, [0], [0], 1)
        kept = Fraction(float(output[0, 0])) * Fraction(float(hidden[0, 0]))
        # It acts on one side of x alone; on the other the ticket is 0.
        value = max(abs(Fraction(w) - Fraction(scale) * kept), Fraction(w))
        low, high = verifying.bracket(one, layers)
        low_misses += Fraction(low) > value
        high_misses += Fraction(high) < value
    assert (low_misses, high_misses) == (0, 0)


def test_a_target_that_is_met_but_for_rounding_is_not_met():
    # Neurons of either sign with one product, found by trying 2^23 of each of a few seeds. Divided
    # by its scale the target is that product, as rounded.
    seed, ranks, product = 1, (3940109, 3442868), float.fromhex("-0x1.8ba2e25b5a800p-7")
    scale = next(s for s in np.linspace(0.5, 0.6, 99).tolist() if _lost(s, product))
    layers = [np.array([[scale * product]])]
    one = empty(
        layers, (scale,), 1e-300, seed=seed, blocks=(2**22,), ranks=(np.reshape(ranks, (2, 1, 1)),)
    )
    pair = verifying.errors(one, layers)
    assert np.all(verifying.effective(one)[0] == pair.weights[0])
    missed = Fraction(product) - Fraction(layers[0].item()) / Fraction(scale)
    assert abs(Fraction(pair.errors[0].ravel()[0]) - missed) <= abs(missed) / 2**52
    error = abs(Fraction(layers[0].item()) - Fraction(scale) * Fraction(product))
    low, high = verifying.bracket(one, layers)
    assert Fraction(low) <= error <= Fraction(high)
    assert outcome(lambda: one, layers) in ("NOT CERTIFIED", "REFUTED")


def test_what_a_ticket_misses_by_is_zero_only_where_it_is():
    rng = np.random.default_rng(2)
    kept = np.round(rng.uniform(-1, 1, (1, 60, 60)) * 2.0**48) / 2.0**48
    for scale in (0.7, 0.25, 1.0, 3e-300, 1.7e290, float(np.nextafter(1.0, 0.0))):
        layer = scale * kept[0]
        found = verifying._apart(kept, layer, layer / scale, scale)
        for c, w, error in zip(kept.ravel(), layer.ravel(), found.ravel(), strict=True):
            missed = Fraction(c) - Fraction(w) / Fraction(scale)
            # Where the two are not equal as rounded, it is their difference, to a rounding of each.
            slack = 0 if w / scale == c else Fraction(abs(c)) / 2**53
            assert abs(Fraction(error) - missed) <= slack + abs(missed) / 2**52
            assert (error == 0.0) == (missed == 0) or slack
    tiny = verifying._apart(np.zeros((2, 1, 1)), np.array([[5e-324]]), np.array([[0.0]]), 3.0)
    assert np.all(tiny != 0.0)


def _lost(scale, product):
    """Whether a product of the two is rounded, and comes back as it was when divided."""
    rounded = scale * product
    return rounded / scale == product and Fraction(rounded) != Fraction(scale) * Fraction(product)


# Every field, by type and by range.


HUGE = 10**400
FORGERIES = [
    *[("seed", v) for v in (-1, 2**32, 1.0, True, "3", None, HUGE, [3])],
    *[("sizes", v) for v in ([2, 2], [2, 2, 2], [3, 2, 1], [2, 2, True], [2, 2.0, 1], [], [2])],
    *[("sizes", v) for v in ([2, 2, HUGE], [2, 0, 1], [2, -2, 1], "221", 221, None, [[2], 2, 1])],
    *[("last", v) for v in ("tanh", 1, None, ["linear"], "")],
    *[("construction", v) for v in ("pool", 1, None, ["blocks"], "blocks ")],
    *[("scales", [v, 1.0]) for v in (HUGE, True, 1, "1", None, 0.0, -1.0, np.nan, np.inf)],
    *[
        ("scales", v)
        for v in (
            [1e300, 1e10],
            [1e-300, 1e-10],
            [1.0],
            [1.0, 1.0, 1.0],
            [],
            1.0,
            {"0": 1.0},
            [[1.0], 1.0],
        )
    ],
    *[("blocks", [v, 4]) for v in (HUGE, True, 1.5, "4", None, 0, -4, 2**31, 2**40)],
    *[("blocks", v) for v in ([4], [4, 4, 4], [], 4, None)],
    *[("target", v) for v in (5, "", "0" * 63, "0" * 65, "G" * 64, None, "A" * 64)],
    *[("epsilon", v) for v in (HUGE, True, 1, "0.5", None, 0.0, -0.5, np.nan, np.inf, [0.5])],
]


@pytest.mark.parametrize(("name", "value"), FORGERIES, ids=lambda x: repr(x)[:20])
def test_a_value_that_no_ticket_has_is_one_line(made, tmp_path, name, value):
    # `forge` leaves a None out, which a reader may not take for a default.
    path = forge(tmp_path / "forged.npz", made[0], **{name: value})
    with pytest.raises(InputError) as caught:
        archive.read(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    words = {
        "sizes": "sizes|dim|hidden|outputs|depth|scales and blocks|positions",
    }.get(name, name)
    assert value is None or re.search(rf"\b({words})( and blocks)? must ", str(caught.value))


def test_a_ticket_made_in_memory_is_held_to_the_same(made):
    parts = {f.name: getattr(made[0], f.name) for f in fields(made[0])}
    for changes, message in (
        ({"seed": True}, "seed must be of type int, got True of type bool"),
        ({"sizes": (2, 2, True)}, "sizes must be of type int, got True"),
        ({"blocks": (4, HUGE)}, r"blocks must be 1 to .*, got 1000\S*0000"),
        ({"target": "x" * 64}, "target must be 64 hex digits"),
        ({"scales": (1e-200, 1e-200)}, "product between 1e-300 and 1e.300"),
        ({"epsilon": np.float64(0.5)}, "epsilon must be of type float, got .* of type float64"),
        ({"ranks": tuple(r.astype(float) for r in parts["ranks"])}, "ranks must be integers"),
    ):
        with pytest.raises(InputError, match=message):
            Ticket(**parts | changes)


def test_no_claim_of_another_ticket_holds(made):
    """Each field replaced by another value of its kind: refused, refuted or another target."""
    ticket, layers = made
    low, _ = verifying.bracket(ticket, layers)
    subset = ticket.rule == "subset"
    places = (np.arange(len(r))[:, None, None] if subset else _numbered(r) for r in ticket.ranks)
    ranks = [np.where(r < 0, j, -1) for r, j in zip(ticket.ranks, places, strict=True)]
    cases = {
        "seed": {"seed": ticket.seed + 1},
        "construction": {"construction": "separate"},
        "last": {"last": "relu"},
        "first scale": {"scales": (ticket.scales[0] / 2, ticket.scales[1])},
        "scales": {"scales": (ticket.scales[0] * 2, ticket.scales[1] / 2)},
        "positions": {"ranks": tuple(ranks)},
        "target": {"target": "0" * 64},
        "epsilon": {"epsilon": low * (1 - 1e-6)},
    }
    said = {name: outcome(lambda c=c: replace(ticket, **c), layers) for name, c in cases.items()}
    assert said == {
        "seed": "REFUTED",
        "construction": "refused" if subset else "REFUTED",
        "last": "ANOTHER TARGET",
        "first scale": "refused",
        "scales": "refused",
        "positions": "REFUTED",
        "target": "ANOTHER TARGET",
        "epsilon": "REFUTED",
    }


def _numbered(array):
    return np.arange(array.size).reshape(array.shape)


def test_a_digest_of_other_shapes_makes_no_ticket_of_them(made):
    # The digest of this target, in a ticket of other shapes: neither a traceback nor a verdict.
    _, layers = made
    others = [layers[0], np.vstack([layers[1], layers[1]])]
    target = digest(layers, "linear")
    for some in (others, layers[:1], [layers[0].T.copy(), layers[1]][:1]):
        scales = rescale(some)[1]
        one = empty(some, scales, 0.5, target=target)
        if one.sizes != made[0].sizes:
            assert verifying.verify(one, layers).word == "ANOTHER TARGET"


# The bytes.


def test_every_single_bit_counts(made):
    whole = to_bytes(made[0])
    assert to_bytes(from_bytes(whole, "whole")) == whole
    read = []
    for at in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        try:
            from_bytes(bytes(damaged), "damaged")
        except InputError:
            continue
        read.append(at)
    assert read == []


def test_other_bytes_of_the_same_ticket_are_refused(made, tmp_path):
    whole = to_bytes(made[0])
    parts = dict(np.load(io.BytesIO(whole)))
    others = {"after": whole + b"\0", "before": b"\0" + whole}
    for name, save in {"compressed": np.savez_compressed, "reversed": _reversed}.items():
        file = io.BytesIO()
        save(file, **parts)
        others[name] = file.getvalue()
    file = io.BytesIO()
    np.savez(file, **parts, more=np.zeros(1))
    others["more"] = file.getvalue()
    for name, data in others.items():
        assert data != whole
        with pytest.raises(InputError, match="ticket must be "):
            from_bytes(data, name)


def _reversed(file, **parts):
    np.savez(file, **dict(reversed(parts.items())))


def test_headers_that_say_the_same_in_other_words_are_refused(made, tmp_path):
    ticket, _ = made
    parts = dict(np.load(io.BytesIO(to_bytes(ticket))))
    header = parts["header"].tobytes()
    for old, new in (
        (b'"seed":3', b'"seed":3,"seed":3'),
        (b'"seed":3', b'"seed": 3'),
        (b'"epsilon":0.5', b'"epsilon":0.50'),
        (b'"epsilon":0.5', b'"epsilon":5e-1'),
        (b'"linear"', b'"l\\u0069near"'),
    ):
        assert old in header
        assert json.loads(header.replace(old, new)) == json.loads(header)
        parts["header"] = np.frombuffer(header.replace(old, new), np.uint8)
        np.savez(tmp_path / "file.npz", **parts)
        with pytest.raises(InputError, match="must be the bytes that ltjax writes for it"):
            archive.read(tmp_path / "file.npz")


def test_the_bytes_are_those_of_numpy(made):
    # With another Python they may not be: then what is here stays, for the tickets that there are.
    header, kept = archive._parts(made[0])
    for parts in ((header, kept), (b"x" * 10**5, b""), (b"", b"y")):
        file = io.BytesIO()
        arrays = [np.frombuffer(part, np.uint8) for part in parts]
        np.savez(file, header=arrays[0], kept=arrays[1])
        names = ("header.npy", "kept.npy")
        ours = dict(zip(names, map(archive._npy, parts), strict=True))
        assert archive._archive(ours) == file.getvalue()


def test_a_zero_has_no_sign(made):
    layers = [np.array([[0.5, 0.0], [-0.0, 0.3]]), np.array([[-0.0, 0.5]])]
    plain = [np.where(w == 0.0, 0.0, w) for w in layers]
    minus = [np.where(w == 0.0, -0.0, w) for w in layers]
    assert len({digest(some, "linear") for some in (layers, plain, minus)}) == 1
    assert digest([plain[0], plain[1] + 0.1], "linear") != digest(plain, "linear")
    ticket = pruning.prune(minus, epsilon=0.5)
    assert verifying.verify(ticket, plain).belongs
    assert to_bytes(ticket) == to_bytes(pruning.prune(plain, epsilon=0.5))


def test_the_norm_of_a_layer_of_any_size():
    for size in (1e-320, 1e-200, 1.0, 1e200, 1e307):
        norm, entry = hypotheses.factors(size * np.array([[3.0, 0.0], [0.0, 4.0]]))
        rounding = 5e-324 / size + 1e-15
        assert norm == pytest.approx(4.0 * size, rel=2 * rounding)
        assert entry == pytest.approx(4.0 * 2**0.5 * size, rel=2 * rounding)
    assert hypotheses.factors(np.full((2, 2), 1.7e308)) == (np.inf, np.inf)
    # Rows of sizes that have nothing to do with each other.
    assert hypotheses.factors(np.array([[1e150, 0.0], [0.0, 1e-200]]))[0] == 1e150


def test_an_epsilon_that_no_numbered_neuron_meets_is_one_line():
    for epsilon in (1e-14, 1e-40, 1e-290):
        with pytest.raises(InputError, match=f"epsilon must be at least .*, got {epsilon}"):
            pruning.prune([np.full((3, 3), 0.2)] * 3, epsilon=epsilon)
