"""How far two networks are apart: brackets hold closed forms, in any units, and close."""

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from oracles import ball
from test_ticket_commands import call, said

from ltjax import decimals
from ltjax.errors import InputError
from ltjax.networks import pairs, targets
from ltjax.networks.pairs import forward
from ltjax.supnorm import brackets, semidefinite
from ltjax.supnorm.moments import known_bound
from ltjax.supnorm.plane import circle_supremum
from ltjax.tickets import archive, pruning, verifying

UNITS = (3.0, 0.02, 40.0)  # layers of no size in particular


def near(sizes, seed=0, eta=0.05):
    """Two networks in units of their own, the second with errors of relative size eta."""
    rng = np.random.default_rng([seed, *sizes])
    first = [u * w for u, w in zip(UNITS, targets.random_target(seed, sizes), strict=False)]
    return first, [w + eta * np.abs(w).max() * rng.uniform(-1, 1, w.shape) for w in first]


def closed(first, second, last="linear", gap=1e-2, radius=1.0, **options):
    """The first bracket and the last."""
    pair = brackets.pair_of(first, second, last, radius)
    found = list(brackets.closing(*pair, gap, divided=False, **options))
    return found[0], found[-1]


def holds(found, value, slack=1e-9):
    return found.lower <= value * (1 + slack) and value <= found.upper * (1 + slack)


def apart(first, second, x, last="linear"):
    """g - f at points [n, d]: [n, outputs]."""
    return forward(second, x, last) - forward(first, x, last)


@pytest.mark.parametrize("norm", ["l2", "max"])
def test_one_input_is_decided_by_two_points(norm):
    for seed in range(3):
        pair = near((1, 3, 2), seed)
        ends = apart(*pair, np.array([[1.0], [-1.0]]))
        value = np.linalg.norm(ends, 2 if norm == "l2" else np.inf, axis=1).max()
        _, found = closed(*pair, norm=norm)
        assert holds(found, value)
        assert found.ratio <= 1.01


def test_one_layer_is_the_norm_of_the_difference():
    first, second = near((4, 3))
    change = second[0] - first[0]
    for norm, value in (
        ("l2", np.linalg.norm(change, 2)),
        ("max", np.linalg.norm(change, axis=1).max()),
    ):
        _, found = closed(first, second, norm=norm)
        assert holds(found, value)
        assert found.ratio <= 1.01


@pytest.mark.parametrize("last", ["linear", "relu"])
def test_the_plane_holds_no_farther_point(last):
    for seed in range(3):
        both = near((2, 4, 2), seed)
        pair, scale = brackets.pair_of(*both, last)
        value = scale * circle_supremum(pair)
        start, found = closed(*both, last)
        assert holds(start, value)
        assert holds(found, value)
        assert found.ratio <= 1.01
        # By definition, too: the networks themselves, on a circle of points.
        reached = np.linalg.norm(apart(*both, ball(2, 20_000), last), axis=1).max()
        assert 0.999 * value <= reached <= value * (1 + 1e-9)
        assert found.upper < 0.9 * start.upper


def test_the_units_of_layers_and_the_radius_are_a_factor():
    first, second = near((2, 4, 2))
    _, found = closed(first, second)
    doubled = [[4.0 * w[0], 0.5 * w[1]] for w in (first, second)]
    # Powers of two are exact: the search is the same.
    for other, factor in ((closed(*doubled), 2.0), (closed(first, second, radius=8.0), 8.0)):
        assert other[1] == found._replace(lower=factor * found.lower, upper=factor * found.upper)
    thirds = [[w[0] / 3.0, w[1] / 7.0] for w in (first, second)]
    np.testing.assert_allclose(closed(*thirds)[1][:2], np.array(found[:2]) / 21.0, rtol=1e-2)


def test_which_is_first_does_not_matter():
    pair = near((2, 4, 2), eta=0.5)
    (_, there), (_, back) = closed(*pair), closed(*pair[::-1])
    assert max(there.lower, back.lower) <= min(there.upper, back.upper)


def test_equal_networks_are_not_apart_at_all():
    first, _ = near((2, 4, 2))
    second = [w.copy() for w in first]
    for found in closed(first, second):
        assert found[:2] == (0.0, 0.0)
        assert found.ratio == 1.0
    zero = [0.0 * w for w in first]
    assert closed(zero, zero)[1][:2] == (0.0, 0.0)


def misses():
    """How often a bracket misses the exact distance of two numbers that are hardly apart."""
    rng, missed = np.random.default_rng(5), 0
    for a in rng.uniform(1.0, 2.0, 200):
        b = a * (1.0 + 2.0**-30 * rng.uniform(0.5, 1.0))
        w, c = a / 3.0, b / 3.0
        error = c - w
        pair = pairs.Pair((np.array([[w]]),), (np.array([[[error]]]),))
        low, high = brackets.outward(pair, 3.0, abs(error), abs(error))
        # What is bounded is how far 3 c, as it is, lies from the target before it was divided.
        missed += not low <= abs(3 * Fraction(c) - Fraction(a)) <= high
    return missed


def test_what_dividing_rounds_is_added(monkeypatch):
    assert misses() == 0
    monkeypatch.setattr(brackets, "ULP", 0.0)
    assert misses() > 100


def test_a_time_that_is_over_leaves_what_is_there_at_once():
    first, second = near((2, 4, 2))
    pair, scale = brackets.pair_of(first, second)
    (only,) = brackets.closing(pair, scale, 0.01, stop=lambda: True)
    assert only.nodes == 0
    assert only.upper > scale * known_bound(pair)
    assert 0.0 < only.lower < scale * circle_supremum(pair) < only.upper


def last_of(first, second, **options):
    pair, scale = brackets.pair_of(first, second, options.pop("last", "linear"))
    *_, found = brackets.closing(pair, scale, 1e-4, divided=False, **options)
    return found


@pytest.mark.parametrize("sizes", [(2, 5, 1), (2, 4, 3, 2)])
def test_a_neuron_that_does_nothing_may_be_missing(sizes):
    first, second = near(sizes)
    second[0][3], second[1][:, 3] = 0.0, 0.0
    fewer = [np.delete(second[0], 3, axis=0), np.delete(second[1], 3, axis=1), *second[2:]]
    whole, pruned = last_of(first, second), last_of(first, fewer)
    assert pruned.lower <= whole.upper
    assert whole.lower <= pruned.upper
    assert pruned.upper <= 1.01 * pruned.lower
    if len(sizes) == 3:  # the formula sees that the order of neurons is no part of a network
        assert last_of(fewer, [fewer[0][::-1], fewer[1][:, ::-1]]).upper < 1e-9


def test_networks_that_cannot_be_compared():
    first, second = near((2, 4, 2))
    with pytest.raises(
        InputError, match=r"one depth.* got layers \[\[4, 2\], \[2, 4\]\] and \[\[4, 2\]\]"
    ):
        brackets.pair_of(first, second[:1])
    with pytest.raises(InputError, match="size that float64 can hold"):
        brackets.pair_of(first, [1e300 * w for w in second])
    with pytest.raises(InputError, match="second must be finite, got nan in layer 2"):
        brackets.pair_of(first, [second[0], np.nan * second[1]])
    pair, scale = brackets.pair_of(first, second)
    broken = pair._replace(errors=(pair.errors[0], np.nan * pair.errors[1]))
    with pytest.raises(InputError, match="finite"):
        list(brackets.closing(broken, scale, 0.01))


# The commands.


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of networks: two that are near, and some that no other one can be compared with."""
    path = tmp_path_factory.mktemp("gaps")
    first, second = near((2, 4, 2))
    np.savez(path / "a.npz", *first)
    np.savez(path / "b.npz", *second)
    np.savez(path / "other.npz", first[0])
    np.savez(path / "bias.npz", first[0], np.ones(4), first[1])
    np.savez(path / "bias2.npz", second[0], np.ones(4), second[1])
    np.save(path / "point.npy", [0.5, -0.2])
    np.save(path / "long.npy", [0.5, -0.2, 0.1])
    np.save(path / "nan.npy", [0.5, np.nan])
    np.save(path / "ends.npy", [[-1.0, 0.0], [1.0, 0.5]])
    np.savez(path / "nan.npz", first[0], np.full((2, 4), np.nan))
    np.savez(path / "large.npz", first[0], 1e308 * first[1])
    return path


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_the_command_tells_the_bracket(here, capfd):
    assert call("gap", "a.npz", "b.npz", "--radius", "3") == 0
    shown, told = said(capfd)
    assert told == ""
    _, found = closed(*near((2, 4, 2)), radius=3.0)
    ends = decimals.bracket(found.lower, found.upper)
    assert (shown["lower bound"], shown["upper bound"]) == ends
    assert "gap" not in shown
    assert float(shown["upper / lower"]) <= 1.01
    assert float(shown["upper bound before the search"]) > found.upper
    assert int(shown["nodes"]) == found.nodes > 0
    assert call("gap", "a.npz", "a.npz") == 0
    shown, _ = said(capfd)
    assert shown["upper bound"] == shown["lower bound"] == "0"
    assert call("gap", "a.npz", "b.npz", "--max-seconds", "0") == 0
    shown, _ = said(capfd)
    assert shown["nodes"] == "0"
    assert shown["gap"] == "not reached (asked 0.01)"


def test_an_interrupt_still_tells_the_bracket(here, capfd, monkeypatch):
    """In the middle of a visit: what was known before it stands."""
    improve, calls = semidefinite.improve, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return improve(*args)

    monkeypatch.setattr(semidefinite, "improve", interrupted)
    assert call("gap", "a.npz", "b.npz", "--gap", "1e-5") == 75
    shown, told = said(capfd)
    assert told == "ltjax: interrupted.\n"
    assert int(shown["nodes"]) > 0
    pair, scale = brackets.pair_of(*near((2, 4, 2)))
    value = scale * circle_supremum(pair)
    assert float(shown["lower bound"]) <= value * (1 + 1e-5)
    assert value <= float(shown["upper bound"]) * (1 + 1e-5)
    assert float(shown["upper bound"]) < float(shown["upper bound before the search"])


GAP = ["gap", "a.npz", "b.npz"]
TICKET = ["ticket", "a.npz", "--out", "t.npz"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["gap", "a.npz"], "Missing from ltjax gap"),
        (["gap", "a.npz", "none.npz"], "second cannot be read from none.npz"),
        (["gap", "none.npz", "a.npz"], "first cannot be read from none.npz"),
        (
            ["gap", "a.npz", "other.npz"],
            r"one depth.* got layers \[\[4, 2\], \[2, 4\]\] and \[\[4, 2\]\]",
        ),
        (["ticket", "bias.npz", "--out", "t.npz"], "network must have no biases"),
        ([*GAP, "--center", "none.npy"], "center cannot be read from none.npy"),
        ([*GAP, "--center", "long.npy"], "center must have 2 inputs, got 3"),
        ([*GAP, "--center", "nan.npy"], "center must be finite, got nan"),
        ([*GAP, "--center", "ends.npy"], r"center must be one row of numbers, got shape \[2, 2\]"),
        ([*GAP, "--center", "point.npy", "--radius", "-1"], "radius must be 0 or positive"),
        ([*GAP, "--center", "point.npy", "--radius", "inf"], "radius must be .* finite, got inf"),
        ([*GAP, "--box", "1", "0"], "box must have no lower end above the upper one, got 1 and 0"),
        ([*GAP, "--box", "0", "nan"], "box must be finite, got nan"),
        ([*GAP, "--box", "0", "inf"], "box must be finite, got inf"),
        ([*GAP, "--box", "0", "x"], "box must be two numbers or one .npy file, got 0 x"),
        ([*GAP, "--box", "0", "1", "2"], "box must be two numbers or one .npy file, got 0 1 2"),
        ([*GAP, "--box", "long.npy"], r"box must be two numbers or \[2, 2\], got shape \[3\]"),
        ([*GAP, "--box", "0", "1", "--radius", "2"], "box must stand alone"),
        (["gap", "nan.npz", "a.npz"], "first must be finite, got nan"),
        (["gap", "large.npz", "large.npz"], "size that float64 can hold"),
        ([*GAP, "--radius", "0"], "radius must be positive and finite, got 0"),
        ([*GAP, "--radius", "-1"], "radius must be positive and finite, got -1"),
        ([*GAP, "--radius", "inf"], "radius must be positive and finite, got inf"),
        ([*GAP, "--radius", "nan"], "radius must be positive and finite, got nan"),
        ([*GAP, "--radius", "1e-310"], "size that float64 can hold, got .* and radius 1e-310"),
        ([*GAP, "--gap", "0"], "gap must be at least 1e-06, which float64 can certify, got 0"),
        ([*GAP, "--gap", "1e-9"], "gap must be at least 1e-06, which float64 can certify"),
        ([*GAP, "--gap", "nan"], "gap must be at least 1e-06"),
        ([*GAP, "--gap", "inf"], "gap must be at least 1e-06"),
        ([*GAP, "--max-seconds", "-1"], "max-seconds must be at least 0, got -1"),
        ([*GAP, "--max-seconds", "nan"], "max-seconds must be at least 0, got nan"),
        ([*GAP, "--norm", "l1"], "l1"),
        ([*TICKET, "--gap", "1e-9"], "gap must be at least 1e-06"),
        ([*TICKET, "--max-seconds", "-1"], "max-seconds must be at least 0, got -1"),
        (["verify", "t.npz", "a.npz", "--gap", "0"], "gap must be at least 1e-06"),
    ],
)
def test_bad_input_is_one_line(here, capfd, argv, message):
    before = sorted(here.iterdir())
    assert call(*argv) == 2
    out, told = capfd.readouterr()
    assert out == ""
    assert told.startswith("ltjax: ")
    assert told.count("\n") == 1
    assert re.search(message, told), told
    assert sorted(here.iterdir()) == before


# Tickets.


@pytest.fixture(scope="module")
def undecided():
    """A target, and a ticket whose supremum is between what ascent and certificate know of it."""
    layers = near((3, 4, 2))[0]
    ticket = pruning.prune(layers, epsilon=0.5, seed=3)
    low, high = verifying.bracket(ticket, layers)
    found = verifying.verify(ticket, layers, lower=True, gap=0.01)
    assert low <= found.lower <= found.upper <= 1.01 * found.lower
    assert found.upper < 0.95 * high
    between = float(np.sqrt(found.upper * high))
    return layers, archive.Ticket(**vars(ticket) | {"epsilon": between})


def test_the_tree_decides_what_norms_leave_open(undecided):
    layers, ticket = undecided
    assert verifying.verify(ticket, layers, stop=lambda: True).word == "NOT CERTIFIED"
    found = verifying.verify(ticket, layers)
    assert found.word == "HOLDS"
    lower = archive.Ticket(**vars(ticket) | {"epsilon": 0.98 * found.lower})
    assert verifying.verify(lower, layers).word == "REFUTED"


def test_the_commands_decide_it_too(here, undecided, capfd):
    layers, ticket = undecided
    np.savez("net.npz", *layers)
    Path("open.npz").write_bytes(archive.to_bytes(ticket))
    assert call("verify", "open.npz", "net.npz", "--max-seconds", "0") == 1
    shown, told = said(capfd)
    assert shown["verdict"] == "NOT CERTIFIED"
    assert "open.npz is not certified at" in told
    assert call("verify", "open.npz", "net.npz") == 0
    assert said(capfd)[0]["verdict"] == "HOLDS"
    assert call("verify", "open.npz", "net.npz", "--gap", "0.01") == 0
    shown, _ = said(capfd)
    assert float(shown["upper bound"]) <= 1.0101 * float(shown["lower bound"])
