"""A problem is valid or refused, the same after a round trip, and named by its digest."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltjax.errors import InputError
from ltjax.experiments.network.config import Network
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.validate import MAX_DIM, MAX_WIDTH

PROBLEM = Problem(
    config=Neuron(dim=3),
    target=(0.5, -0.25, 0.0625),
    grid=Grid(widths=(100, 8, 30, 8), epsilons=(0.1, 0.25, 0.1)),
    seed=7,
)


@st.composite
def fields(draw):
    """Of a problem: config, grid, and the rest."""
    dim = draw(st.integers(1, 5))
    weight = st.floats(-(dim**-0.5), dim**-0.5)
    several = lambda values: st.lists(values, min_size=1, max_size=4).map(tuple)
    constructions = several(st.sampled_from(["pooled", "blocks"]))
    config = {"dim": dim, "constructions": draw(constructions)}
    widths, epsilons = several(st.integers(1, MAX_WIDTH)), several(st.floats(1e-9, 0.999))
    grid = {"widths": draw(widths), "epsilons": draw(epsilons)}
    target = tuple(draw(st.lists(weight, min_size=dim, max_size=dim)))
    return config, grid, {"target": target, "seed": draw(st.integers(0, 2**32 - 1))}


def test_a_grid_is_sorted_without_repeats():
    assert PROBLEM.grid == Grid(widths=(8, 30, 100), epsilons=(0.25, 0.1))
    assert PROBLEM.shape == (11, 3, 2)


def test_constructions_have_one_order():
    assert Neuron(dim=2, constructions=("pooled", "blocks")) == Neuron(dim=2)


def test_rules_choose_criteria_in_one_order():
    names = [c.name for c in Neuron(dim=2, rules=("sup", "tight")).criteria]
    assert names == ["blocks/tight", "blocks/sup", "shared/tight", "pooled/tight", "pooled/sup"]


def test_slot_criteria_alone_are_monotone():
    monotone = {c.name for c in Neuron(dim=2).criteria if c.monotone}
    slots = {f"{f}/{r}" for f in ("blocks", "shared") for r in ("slides", "tight", "l2")}
    assert monotone == slots | {"pooled/slides", "pooled/tight"}


@given(fields())
def test_json_and_back_is_the_same_problem(fields):
    config, grid, rest = fields
    problem = Problem(config=Neuron(**config), grid=Grid(**grid), **rest)
    again = Problem.from_json(json.loads(json.dumps(problem.to_json())))
    assert again == problem
    assert again.digest() == problem.digest()


def test_the_digest_of_a_problem_never_changes():
    # Records on disk are found by it. It changes with the identity alone: a new field in it needs
    # a new format of the record.
    assert PROBLEM.digest() == "5bac982cd85ddd88"


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"target": (0.5, -0.25, 0.0626)},
        {"target": (-0.25, 0.5, 0.0625)},
        {"config": Neuron(dim=3, constructions=("blocks",))},
        {"config": Neuron(dim=3, rules=("tight", "l2"))},
        {"grid": Grid(widths=(8, 30, 101), epsilons=(0.25, 0.1))},
        {"grid": Grid(widths=(8, 30, 100), epsilons=(0.25,))},
        {"layout": "ltjax-draws/2"},
    ],
)
def test_whatever_changes_a_count_changes_the_digest(change):
    assert replace(PROBLEM, **change).digest() != PROBLEM.digest()


GRID = {"widths": (8,), "epsilons": (0.1,)}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grid(**GRID | {"widths": ()}), "widths must name at least one width, got none"),
        (lambda: Grid(**GRID | {"widths": (8, 0)}), "widths must be between 1 and .*, got 0"),
        (lambda: Grid(**GRID | {"widths": (MAX_WIDTH + 1,)}), f"got {MAX_WIDTH + 1}"),
        (lambda: Grid(**GRID | {"epsilons": ()}), "epsilon must name at least one value, got none"),
        (lambda: Grid(**GRID | {"epsilons": (0.1, 1.0)}), "epsilon must lie strictly .*, got 1"),
        (lambda: Grid(**GRID | {"epsilons": (0.0,)}), "epsilon must lie strictly .*, got 0"),
        (lambda: Grid(**GRID | {"epsilons": (float("nan"),)}), "epsilon must lie .*, got nan"),
        (lambda: Neuron(dim=0), "dim must be between 1 and .*, got 0"),
        (lambda: Neuron(dim=MAX_DIM + 1), f"dim must be .*, got {MAX_DIM + 1}"),
        (lambda: Neuron(dim=2, rules=("tight", "loose")), "rules must be .*, got tight, loose"),
        (lambda: Neuron(dim=2, constructions=()), "constructions must be .*, got none"),
        (lambda: Neuron(dim=2, constructions=("pooled", "all")), "got pooled, all"),
        (lambda: replace(PROBLEM, seed=-1), "seed must be at least 0 and below .*, got -1"),
        (lambda: replace(PROBLEM, seed=2**32), f"seed must be .*, got {2**32}"),
        (lambda: replace(PROBLEM, target=(0.5, 0.2)), r"target must hold 3 weights .*shape \[2\]"),
        (lambda: replace(PROBLEM, target=(0.5, np.nan, 0.1)), "target must be finite, got nan at"),
        (lambda: replace(PROBLEM, target=(0.5, -0.6, 0.1)), "got -0.6 at index 1"),
    ],
)  # fmt: skip
def test_unusable_input_names_argument_rule_and_value(make, message):
    with pytest.raises(InputError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_target_out_of_range_is_told_its_scale():
    # relu(c w . x) = c relu(w . x): at the factor it names, the largest weight is just allowed.
    with pytest.raises(InputError, match=r"weights and epsilon by 0\.25\.$"):
        replace(PROBLEM, config=Neuron(dim=1), target=(-4.0,))


def test_the_bound_on_a_weight_forgives_its_last_bits():
    for dim in range(1, 200):
        target = (np.nextafter(dim**-0.5, 1.0),) * dim
        assert replace(PROBLEM, config=Neuron(dim=dim), target=target).target == target


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "telescope"},
        {"config": {"dim": 3, "colour": "red"}},
        {"config": {"dim": "three"}},
        {"grid": {"widths": [8]}},
        {"grid": None},
        {"target": "abc"},
        {"seed": None},
        {"extra": 1},
    ],
)
def test_foreign_json_is_refused(change):
    with pytest.raises(InputError):
        Problem.from_json(PROBLEM.to_json() | change)


@pytest.mark.parametrize("field", ["config", "experiment", "grid", "seed", "target"])
def test_json_with_a_field_missing_is_refused(field):
    data = PROBLEM.to_json()
    del data[field]
    with pytest.raises(InputError):
        Problem.from_json(data)


# Networks.

DEEP = Problem(
    config=Network(sizes=(2, 3, 1)),
    target=(((0.6, -0.3), (0.3, 0.5), (-0.2, 0.02)), ((0.4, -0.5, 0.25),)),
    grid=Grid(widths=(100, 8), epsilons=(0.1,)),
    seed=7,
    experiment="network",
)


def test_a_network_is_the_same_after_a_round_trip():
    again = Problem.from_json(json.loads(json.dumps(DEEP.to_json())))
    assert again == DEEP
    assert again.digest() == DEEP.digest() == "c65c10f5f9d6110f"
    assert [w.tolist() for w in again.arrays] == [[list(r) for r in w] for w in DEEP.target]
    assert DEEP.shape == (6, 2, 1)
    assert DEEP.config.shapes == ((3, 2), (1, 3))


def test_the_supremum_alone_is_not_monotone():
    assert {c.name for c in DEEP.criteria if not c.monotone} == {"blocks/sup", "separate/sup"}


WIDE = ((0.6, -0.3), (0.3, 0.5), (-0.2, np.inf)), DEEP.target[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": DEEP.target[:1]}, r"target must hold 2 layers \(depth\), got 1"),
        (
            {"target": DEEP.target[::-1]},
            r"target must have layer 1 of shape \[3, 2\], got \[1, 3\]",
        ),
        ({"target": WIDE}, "target must be finite, got inf"),
        ({"target": (np.eye(3, 2) * 0.71, DEEP.target[1])}, r"1.0041 times that in layer 1; relu"),
        ({"target": (np.full((3, 2), 0.5), DEEP.target[1])}, r"\|\|W\|\| <= 1, got 1.22475 times"),
        ({"experiment": "neuron"}, "config must be that of a neuron"),
        ({"grid": Grid(widths=(2**28,), epsilons=(0.1,))}, "blocks must make at most"),
    ],
)
def test_an_unusable_network_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(DEEP, **{k: tuple(v) if k == "target" else v for k, v in change.items()})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sizes": (3,)}, "depth must be at least 1, got 0"),
        ({"sizes": (0, 2)}, "dim must be between 1 and .*, got 0"),
        ({"sizes": (2, 0, 1)}, "hidden must be between 1 and .*, got 0"),
        ({"sizes": (2, 3, MAX_DIM + 1)}, f"outputs must be between 1 and .*, got {MAX_DIM + 1}"),
        ({"sizes": (2, 1), "last": "tanh"}, "last must be one of linear, relu, got tanh"),
        (
            {"sizes": (2, 1), "rules": ("l2",)},
            "rules must be taken from slides, tight, sup, tree, got l2",
        ),
        ({"sizes": (2, 1), "constructions": ("shared",)}, "separate, pooled, got shared"),
    ],
)
def test_an_unusable_configuration_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Network(**fields)
