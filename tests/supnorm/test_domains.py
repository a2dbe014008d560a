"""Networks with biases over balls and boxes: against points, mixed integers, and planted faults."""

from itertools import pairwise, product

import numpy as np
import pytest
from oracles import affine_program
from test_relaxation import faults, point
from test_ticket_commands import call, said

import ltjax
from ltjax import supnorm
from ltjax.errors import InputError
from ltjax.networks import affine, domains, pairs
from ltjax.networks.affine import ReluNetwork
from ltjax.supnorm import (
    ascent,
    bounds,
    branch_and_bound,
    layered,
    linear,
    max_min,
    moments,
    posing,
    sets,
    splitting,
)
from ltjax.supnorm.linear import Cells
from ltjax.system import stops

SIZES = [(1, 4, 2), (2, 5, 1), (2, 4, 3, 2), (3, 4, 1), (3, 3, 3, 1)]
SHAPES = ("ball", "box")


def some(sizes, seed, eta=0.1, last="linear"):
    """Two networks with biases, the second near the first."""
    rng = np.random.default_rng([seed, *sizes])
    draw = lambda *shape: rng.normal(size=shape)
    first = [(draw(b, a) / a**0.5, 0.3 * draw(b)) for a, b in pairwise(sizes)]
    second = [(w + eta * draw(*w.shape), b + eta * draw(len(b))) for w, b in first]
    return tuple(ReluNetwork(*map(tuple, zip(*n, strict=True)), last) for n in (first, second))


def about(dim, seed, shape):
    """A ball or a box that is nowhere in particular."""
    rng = np.random.default_rng([seed, dim])
    center, size = rng.normal(size=dim), rng.uniform(0.1, 1.0, size=dim)
    if shape == "ball":
        return domains.region(dim, center, float(size[0]))
    return domains.region(dim, box=[center - size, center + size])


def sampled(region, count=20_000):
    """Points of a region, [n, d]: many on its edge."""
    d = len(region.middle)
    s = np.random.default_rng(d).normal(size=(count, d))
    if region.shape == "ball":
        s /= np.maximum(np.linalg.norm(s, axis=1, keepdims=True), 1.0)
    else:
        s = np.concatenate([np.clip(s, -1.0, 1.0), [*product((-1.0, 1.0), repeat=d)]])
    return region.middle + region.half * s


def apart(first, second, x, norm="l2"):
    """||g - f|| at points [n, d], by definition: [n]."""
    change = affine.forward(second, x) - affine.forward(first, x)
    return np.linalg.norm(change, 2 if norm == "l2" else np.inf, axis=1)


def closed(first, second, region, gap=1e-2, norm="l2", seconds=20.0):
    *_, found = posing.posed(first, second, region).closing(gap, norm, stops.deadline(seconds))
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_no_point_is_above_the_bracket_and_it_closes(sizes, shape):
    for seed in range(4):
        both = some(sizes, seed, (0.01, 1.0)[seed % 2], ("linear", "relu")[seed // 2])
        region, norm = about(sizes[0], seed, shape), ("l2", "max")[seed % 2]
        found = closed(*both, region, norm=norm)
        values = apart(*both, sampled(region), norm)
        assert values.max() <= found.upper * (1 + 1e-12) + 1e-12
        assert found.lower <= found.upper
        assert found.ratio <= 1.01 or found.upper < 1e-9
        # Many points of one, two or three inputs hold the supremum to some per cent.
        assert values.max() >= 0.9 * found.lower


@pytest.mark.parametrize("shape", SHAPES)
def test_it_agrees_with_mixed_integer_optimisation(shape):
    pytest.importorskip("pyscipopt")
    for seed in range(3):
        sizes = ((2, 3, 1), (2, 2, 2, 1), (3, 3, 1))[seed]
        both, region = some(sizes, seed), about(sizes[0], seed, shape)
        found, (low, high) = closed(*both, region, 1e-3), affine_program(*both, region)
        assert found.lower <= high * (1 + 1e-5) + 1e-9
        assert low <= found.upper * (1 + 1e-5) + 1e-9
        assert high - low <= 1e-4 * high


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", [(2, 4, 1), (3, 5, 1), (2, 3, 3, 1)])
def test_ten_more_of_every_shape_agree_with_it(sizes, shape):
    pytest.importorskip("pyscipopt")
    for seed in range(10, 20):
        both, region = some(sizes, seed, (0.02, 0.3)[seed % 2]), about(sizes[0], seed, shape)
        found, (low, high) = closed(*both, region, 1e-3), affine_program(*both, region)
        assert found.lower <= high * (1 + 1e-5) + 1e-9
        assert low <= found.upper * (1 + 1e-5) + 1e-9
        assert found.ratio <= 1.001


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", [(1, 4, 1), (2, 6, 1), (3, 5, 2), (9, 7, 1)])
def test_one_hidden_layer_is_settled_by_the_formula(sizes, shape):
    """To 1e-6, and within the bracket that splitting finds on its own."""
    for seed in range(5):
        both = some(sizes, seed, (0.01, 0.3, 2.0)[seed % 3])
        region = about(sizes[0], seed, shape)
        pair, *_ = posed = posing.posed(*both, region)
        assert max_min.applies(pair, "max")
        found = list(max_min.brackets(pair, 1e-6))
        assert all(one.lower <= found[-1].upper and found[-1].lower <= one.upper for one in found)
        assert found[-1].upper <= found[-1].lower * (1 + 2e-6)
        assert domains.holds(found[-1].point[:, None], pair.domain).all()
        at_point = np.abs(pairs.difference(pair, found[-1].point[:, None])).max()
        assert found[-1].lower == pytest.approx(at_point, rel=1e-9)
        values = apart(*both, sampled(region), "max")
        assert values.max() <= posed.scale * found[-1].upper * (1 + 1e-12)
        if sizes[0] < 4:
            *_, other = splitting.brackets(pair, 1e-2, norm="max")
            assert other.lower <= found[-1].upper
            assert found[-1].lower <= other.upper


def test_a_formula_that_leaves_the_constant_free_is_noticed(monkeypatch):
    """As if a bias might be taken with any sign, and as if there were none."""
    support, differ = domains.support, np.zeros(2)
    for fault, sign in enumerate((lambda q: np.abs(q), lambda q: 0.0 * q)):
        for seed in range(6):
            pair, *_ = posing.posed(*some((2, 4, 1), seed), about(2, seed, "ball"))
            *_, right = max_min.brackets(pair, 1e-6)
            wrong = lambda q, within, sign=sign: support(
                np.concatenate([q[..., :-1], sign(q[..., -1:])], axis=-1), within
            )
            monkeypatch.setattr(domains, "support", wrong)
            *_, other = max_min.brackets(pair, 1e-6, stop=stops.deadline(2.0))
            monkeypatch.setattr(domains, "support", support)
            differ[fault] += abs(other.upper - right.upper) > 1e-3 * right.upper
    assert np.all(differ >= 3)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_point_of_a_domain_obeys_the_rules_of_its_node(shape):
    """And what is no point of it does not, be it that the constant is another one."""
    for seed, sizes in enumerate([(2, 4, 1), (3, 3, 2), (2, 3, 3, 2)]):
        pair, *_ = posing.posed(*some(sizes, seed), about(sizes[0], seed, shape))
        asked, rng = moments.lift(pair, moments.known_bound(pair)), np.random.default_rng(seed)
        x = domains.nearest(rng.normal(size=(sizes[0] + 1, 12)) * pair.domain.radius, pair.domain)
        for n, one in enumerate(x.T):
            p, signs = point(asked, one)
            p[asked.square] = np.append(one, 0.0 * one)
            signs[: len(one)] = 1.0
            for known in (moments.open_signs(asked), signs, np.where(rng.random() < 0.5, signs, 0)):
                known[: len(one)] = 1
                there = moments.short(asked, known, p)
                found = faults(asked, moments.basis(asked, known), there)
                assert np.delete(found, 3).max() < 1e-11
                assert p[asked.square] @ p[asked.square] <= 1.0
            if n == 0:
                p[asked.square] *= 1.5
                assert faults(asked, moments.basis(asked, moments.open_signs(asked)), p)[-1] > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["l2", "max"])
def test_the_tree_closes_over_a_ball_too(norm):
    for seed in range(3):
        pair, *_ = posing.posed(*some((3, 4, 2), seed), about(3, seed, "ball"))
        *_, known = splitting.brackets(pair, 1e-3, norm=norm)
        found = list(branch_and_bound.brackets(pair, 1e-2, norm=norm, stop=stops.deadline(60.0)))
        assert all(b.lower <= known.upper and known.lower <= b.upper for b in found)
        assert found[-1].upper <= 1.02 * found[-1].lower
        assert domains.holds(found[-1].point[:, None], pair.domain).all()


@pytest.mark.slow
def test_of_many_inputs_the_tree_takes_over():
    both, region = some((12, 6, 3), 0, 0.02), about(12, 0, "ball")
    found = list(posing.posed(*both, region).closing(0.05, stop=stops.deadline(60.0)))
    assert found[0].ratio > 1.1
    assert found[-1].ratio <= 1.05
    assert apart(*both, sampled(region)).max() <= found[-1].upper


# Planted faults: a bracket that a fault makes is no bracket of what was asked.


def without_bias(first, second, region):
    less = second.biases[-1] * 0.0
    return first, second._replace(biases=(*second.biases[:-1], less)), region


def without_hidden_bias(first, second, region):
    return first, second._replace(biases=(0.0 * second.biases[0], *second.biases[1:])), region


def without_center(first, second, region):
    return first, second, region._replace(middle=0.0 * region.middle)


def of_another_size(first, second, region):
    return first, second, region._replace(half=1.5 * region.half)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "fault", [without_bias, without_hidden_bias, without_center, of_another_size]
)
def test_planted_faults_make_another_bracket(fault, shape):
    both, region = some((2, 5, 1), 3, 0.3), about(2, 3, shape)
    right, wrong = closed(*both, region), closed(*fault(*both, region))
    assert wrong.upper < right.lower or right.upper < wrong.lower


def test_a_constant_that_is_left_free_is_no_point_of_the_domain():
    """And bounds over the whole ball, which hold over the domain, are well above."""
    posed = posing.posed(*some((2, 4, 1), 0), about(2, 0, "ball"))
    within, constant = posed.pair.domain, posed.pair.domain.constant
    x = np.zeros((3, 3))
    x[2] = constant, np.nextafter(constant, 0.0), 1.0
    assert domains.holds(x, within).tolist() == [True, False, False]
    low, high = pairs.reached(posed.pair, x)
    assert 0.0 < low[0] <= high[0] < 1.0
    assert low[1:].tolist() == [0.0, 0.0]
    assert high[1:].tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dim", [1, 2, 50])
def test_a_domain_lies_in_the_unit_ball(shape, dim):
    for share in (0.0, 0.3, 1.0):
        within = domains.domain(shape, dim, share)
        corner = np.full((dim + 1, 1), within.radius / (dim**0.5 if shape == "ball" else 1.0))
        corner[-1] = within.constant
        assert 0.999 <= np.linalg.norm(corner) <= 1.0
        x = domains.nearest(np.random.default_rng(0).normal(size=(dim + 1, 20)), within)
        assert domains.holds(x, within).all()
        assert not domains.holds(1.01 * corner, within).any()


QUICK = [bounds.line, bounds.circle, bounds.norms, bounds.lines, bounds.cells, bounds.formula]
QUICK += [layered.decide, sets.decide]
SLOW = [bounds.climb, bounds.relaxation, bounds.tree]


def hold(asked, sizes, shape):
    """Each bound, of one pair over a domain: whether it holds, and how many say anything."""
    both, region = some(sizes, 1), about(sizes[0], 1, shape)
    pair = posing.posed(*both, region).pair
    *_, known = splitting.brackets(pair, 1e-3)
    many, wanted = pair._replace(errors=tuple(e[None] for e in pair.errors)), np.full((1, 1), 0.01)
    said_something = 0
    for bound in asked:
        low, high = (float(np.squeeze(end)) for end in bound(many, wanted))
        assert low <= known.upper * (1 + 1e-9)
        assert known.lower <= high * (1 + 1e-9)
        said_something += low > 0.0 or high < np.inf
    return said_something


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sizes", [(1, 3, 1), (2, 3, 1), (2, 2, 2, 1)])
def test_all_bounds_hold_in_a_domain_or_say_nothing(sizes, shape):
    assert hold(QUICK if len(sizes) == 3 else QUICK[:5], sizes, shape) >= 3


@pytest.mark.slow
def test_those_that_are_compiled_do_so_too():
    everything = {name for name in supnorm.__all__ if callable(getattr(bounds, name, None))}
    everything -= {"Bound", "ladder", "narrow", "Pair"}
    assert everything <= {bound.__name__ for bound in QUICK + SLOW}
    for shape in SHAPES:
        assert hold(SLOW, (2, 3, 1), shape) == 3


@pytest.mark.parametrize("shape", SHAPES)
def test_points_of_the_ascent_are_in_the_domain(shape):
    both, region = some((3, 4, 2), 0), about(3, 0, shape)
    pair = posing.posed(*both, region).pair
    (value,), (x,) = ascent.lower(
        pair._replace(errors=tuple(e[None] for e in pair.errors)), batch=1
    )
    assert domains.holds(x[:, None], pair.domain).all()
    *_, known = splitting.brackets(pair, 1e-2)
    assert 0.9 * known.lower <= value <= known.upper


def test_a_cell_is_bounded_by_more_than_its_points():
    """Random cells, of networks near and far apart."""
    rng = np.random.default_rng(0)
    for seed, shape in product(range(4), SHAPES):
        pair = posing.posed(*some((2, 4, 3, 2), seed, (0.01, 1.0)[seed % 2]), about(2, seed, shape))
        pair, radius = pair.pair, pair.pair.domain.radius
        middle, half = radius * rng.uniform(-0.7, 0.7, (6, 2)), radius * rng.uniform(0, 0.4, (6, 2))
        for norm in ("l2", "max"):
            found = linear.bounds(pair, Cells(middle, half), norm)
            for m, h, bound in zip(middle, half, found.bound, strict=True):
                u = m + h * rng.uniform(-1.0, 1.0, (400, 2))
                x = np.concatenate([u.T, np.full((1, 400), pair.domain.constant)])
                x = x[:, domains.holds(x, pair.domain)]
                change = pairs.difference(pair, x)
                size = np.linalg.norm(change, 2 if norm == "l2" else np.inf, axis=0)
                assert size.max(initial=0.0) <= bound


def test_without_biases_about_0_nothing_is_changed():
    first, second = (
        n._replace(biases=tuple(0.0 * b for b in n.biases)) for n in some((2, 4, 1), 0)
    )
    posed = posing.posed(first, second, domains.region(2, radius=3.0))
    assert posed.pair.domain is None
    assert posed.moved == posed.misread == 0.0
    # A bias of 0 everywhere but for one bit is a bias.
    second = second._replace(biases=(second.biases[0], np.array([5e-324])))
    other = posing.posed(first, second, domains.region(2, radius=3.0))
    assert other.pair.domain is not None
    same = [closed(first, second, domains.region(2)), closed(first, first, domains.region(2))]
    assert same[0].upper > 0.0 == same[1].upper


def test_a_radius_of_0_is_the_difference_at_the_center():
    both = some((3, 4, 2), 0)
    center = np.array([0.3, -0.2, 0.7])
    value = apart(*both, center[None])[0]
    found = closed(*both, domains.region(3, center, 0.0))
    assert found.lower <= value <= found.upper
    assert found.ratio == pytest.approx(1.0, abs=1e-9)


def test_widths_may_differ_and_order_says_nothing():
    first, second = some((2, 5, 1), 0)
    region = about(2, 0, "ball")
    order = [3, 1, 0, 2, 4]
    turned = ReluNetwork(
        (first.weights[0][order], first.weights[1][:, order]),
        (first.biases[0][order], first.biases[1]),
    )
    assert closed(first, turned, region).upper < 1e-9
    fewer = ReluNetwork(
        (first.weights[0][:3], first.weights[1][:, :3]), (first.biases[0][:3], first.biases[1])
    )
    found = closed(first, fewer, region)
    assert apart(first, fewer, sampled(region)).max() <= found.upper
    assert found.ratio <= 1.01
    assert second is not first


def test_what_reading_rounds_is_in_the_bracket():
    both, region = some((2, 4, 1), 0), about(2, 0, "ball")
    rounded = both[1]._replace(rounding=(1e-3, 0.0))
    exact, wide = closed(*both, region), closed(both[0], rounded, region)
    added = affine.misread(rounded, domains.farthest(region))
    assert wide.upper == pytest.approx(exact.upper + added)
    assert wide.lower == pytest.approx(exact.lower - added)


def test_networks_and_regions_that_do_not_fit():
    first, second = some((2, 4, 1), 0)
    with pytest.raises(InputError, match=r"end with one kind of layer, got linear and relu"):
        posing.posed(first, second._replace(last="relu"), domains.region(2))
    with pytest.raises(InputError, match=r"box must have 2 inputs, got 3"):
        posing.posed(first, second, domains.region(3, box=(0, 1)))
    with pytest.raises(InputError, match=r"got 2 and 1 of input 2"):
        domains.region(2, box=[[0.0, 2.0], [0.0, 1.0]])


def test_from_python_and_from_the_command_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (first, second), center = some((2, 4, 2), 0), [0.5, -0.2]
    arrays = [
        [x for both in zip(n.weights, n.biases, strict=True) for x in both] for n in (first, second)
    ]
    for name, network in zip("ab", arrays, strict=True):
        np.savez(f"{name}.npz", *network)
    np.save("x0.npy", center)
    np.save("ends.npy", [[0.0, -1.0], [0.5, 1.0]])
    asked = [
        (["--center", "x0.npy", "--radius", "0.5"], {"center": center, "radius": 0.5},
         "||x - center|| <= 0.5"),
        (["--box", "0", "1", "--norm", "max"], {"box": (0, 1), "norm": "max"}, "0 <= x_i <= 1"),
        (["--box", "ends.npy"], {"box": [[0, -1], [0.5, 1]]}, "a box of 2 inputs, 2 wide at most"),
        ([], {}, "||x|| <= 1"),
    ]  # fmt: skip
    for flags, options, words in asked:
        assert call("gap", "a.npz", "b.npz", *flags) == 0
        shown, _ = said(capfd)
        assert shown["inputs"] == words
        low, high = ltjax.gap("a.npz", "b.npz", **options)
        assert ltjax.gap(*arrays, **options) == (low, high)
        assert float(shown["lower bound"]) == pytest.approx(low, rel=1e-4)
        assert float(shown["upper bound"]) == pytest.approx(high, rel=1e-4)
