"""The trial axis: counts that agree with theory, and with themselves however they are cut."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from types import ModuleType

import jax
import jaxlib
import numpy as np
import pytest

from ltjax import engine, stats, theory
from ltjax.experiments import neuron
from ltjax.problem import Grid, InputError, Neuron, Problem, WrongKernelError

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
CPU = jax.devices("cpu")
# The last weight is below the tolerance of some curves and above that of others; none equals an
# epsilon, for an empty slot may make that the very supremum, and no rounding decides such a tie.
PROBLEM = Problem(
    config=Neuron(dim=3),
    target=(0.4, -0.23, 0.17),
    grid=Grid(widths=(7, 20, 46, 90, 180, 400), epsilons=(0.3, 0.2, 0.1)),
    seed=11,
)
NAMES = [criterion.name for criterion in PROBLEM.criteria]


def counts(problem, *ranges, on=CPU[:1], lanes=256, experiment=neuron):
    """Certified and refuted [criterion, width, epsilon] and broken trials, of all ranges."""
    batches = list(engine.run(experiment, problem, ranges, on, lanes))
    return tuple(
        sum(getattr(b, name) for b in batches) for name in ("certified", "refuted", "invalid")
    )


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


# Against theory.

TRIALS = 60_000


@pytest.fixture(scope="module")
def measured():
    """Successes by criterion, [width, epsilon], of TRIALS trials."""
    certified, refuted, invalid = counts(PROBLEM, (0, TRIALS))
    assert invalid == 0
    np.testing.assert_array_equal(certified + refuted, TRIALS)
    return dict(zip(NAMES, certified, strict=True))


def interval(successes, cells):
    """Holds in all cells at once, but for ERROR_RATE."""
    return stats.clopper_pearson(successes, TRIALS, ERROR_RATE / cells)


CURVES = ["blocks/slides", "blocks/tight", "blocks/l2", "shared/slides", "shared/tight"]


@pytest.mark.parametrize("name", CURVES)
def test_success_is_the_curve_of_theory(measured, name):
    right = theory.predict(PROBLEM)[name]
    assert np.max(right.upper - right.lower) < 2e-3  # exact, but for l2
    grid = replace(PROBLEM.grid, epsilons=tuple(1.1 * e for e in PROBLEM.grid.epsilons))
    wrong = theory.predict(replace(PROBLEM, grid=grid))[name]
    rate = ERROR_RATE / right.lower.size
    # The design first: of every curve, a tolerance 10 % off is a gap that this sample can see.
    seen = wrong.lower - right.upper > stats.detectable_gap(TRIALS, rate, rate)
    assert seen.any(axis=0).all()
    low, high = interval(measured[name], right.lower.size)
    assert np.all((right.lower <= high) & (low <= right.upper))
    assert np.all(wrong.lower[seen] > high[seen])


def test_success_is_not_that_without_the_zero_rule(measured):
    # The formula over all weights, as if one below the tolerance needed its two neurons too.
    eta, widths = theory.tolerance("tight", 3, 0.3), np.array(PROBLEM.grid.widths)
    assert np.sum(np.abs(PROBLEM.target) < eta) == 1
    p = theory.match_probability(np.array(PROBLEM.target), eta)
    wrong = theory.both_slots(p, theory.block_sizes(3, widths))[0].prod(axis=1)
    right = theory.predict(PROBLEM)["blocks/tight"].lower[:, 0]
    rate = ERROR_RATE / len(widths)
    seen = right - wrong > stats.detectable_gap(TRIALS, rate, rate)
    assert seen.any()
    low, _ = interval(measured["blocks/tight"][:, 0], len(widths))
    assert np.all(wrong[seen] < low[seen])


def test_success_keeps_every_proved_bound(measured):
    predictions = theory.predict(PROBLEM)
    for name, bound in predictions.items():
        low, high = interval(measured[name], len(predictions) * bound.lower.size)
        assert np.all((bound.lower <= high) & (low <= bound.upper)), name


def test_success_by_criterion_is_ordered(measured):
    # Draw by draw, so in every count: a bound holds, then all looser events do.
    for family, rules in (
        ("blocks", ("slides", "tight", "l2", "sup")),
        ("shared", ("slides", "tight", "l2")),
        ("pooled", ("slides", "tight")),
        ("pooled", ("l2", "sup")),
    ):
        for strict, loose in pairwise(rules):
            assert np.all(measured[f"{family}/{strict}"] <= measured[f"{family}/{loose}"])
    for rule in ("slides", "tight"):
        assert np.all(measured[f"blocks/{rule}"] <= measured[f"pooled/{rule}"])
        assert np.all(measured[f"pooled/{rule}"] <= measured[f"shared/{rule}"])


# Against itself.


@pytest.fixture(scope="module")
def whole():
    return counts(PROBLEM, (0, 256))


@pytest.mark.parametrize("lanes", [32, 100])
def test_counts_do_not_depend_on_the_batch(whole, lanes):
    same(counts(PROBLEM, (0, 256), lanes=lanes), whole)


def test_counts_do_not_depend_on_the_ranges(whole):
    same(counts(PROBLEM, (0, 100), (100, 256)), whole)
    same(counts(PROBLEM, (131, 256), (0, 1), (1, 131)), whole)


def test_counts_do_not_depend_on_the_devices(whole):
    assert len(CPU) >= 2
    same(counts(PROBLEM, (0, 256), on=CPU[:2], lanes=100), whole)


def test_counts_do_not_depend_on_the_other_widths(whole):
    some = replace(PROBLEM, grid=replace(PROBLEM.grid, widths=(20, 180)))
    for got, expected in zip(counts(some, (0, 256))[:2], whole[:2], strict=True):
        np.testing.assert_array_equal(got, expected[:, [1, 4]])


def test_counts_do_not_depend_on_the_other_epsilons(whole):
    certified, refuted, invalid = whole
    for e, epsilon in enumerate(PROBLEM.grid.epsilons):
        one = replace(PROBLEM, grid=replace(PROBLEM.grid, epsilons=(epsilon,)))
        same(counts(one, (0, 256)), (certified[..., [e]], refuted[..., [e]], invalid))


def test_another_seed_and_other_trials_count_otherwise(whole):
    for other in (counts(replace(PROBLEM, seed=12), (0, 256)), counts(PROBLEM, (256, 512))):
        assert np.any(other[0] != whole[0])


def test_constructions_count_the_same_alone(whole):
    for construction, rows in (("blocks", slice(0, 4)), ("pooled", slice(4, None))):
        alone = replace(PROBLEM, config=Neuron(dim=3, constructions=(construction,)))
        certified, refuted, invalid = counts(alone, (0, 256))
        same((certified, refuted, invalid), (whole[0][rows], whole[1][rows], whole[2]))


def test_batches_cover_the_ranges_in_order():
    batches = list(engine.run(neuron, PROBLEM, [(5, 300), (300, 301), (900, 1000)], CPU[:1], 256))
    spans = [(batch.start, batch.stop) for batch in batches]
    assert spans[0][0] == 5
    assert spans[-1] == (900, 1000)
    assert {(300, 301)} < set(spans)
    assert sum(stop - start for start, stop in spans) == 295 + 1 + 100
    assert all(b.seconds > 0.0 and 0 <= b.settled <= b.stop - b.start for b in batches)


# Compilations.


def counted(trial=neuron.trial):
    """The experiment under another name, with a trial that notes when it is traced."""
    traces, module = [], ModuleType("counted")
    vars(module).update(vars(neuron))

    def noted(*arguments):
        traces.append(None)
        return trial(*arguments)

    module.trial = noted
    return module, traces


def test_a_sweep_compiles_once():
    experiment, traces = counted()
    problem = replace(PROBLEM, grid=Grid(widths=(7, 20), epsilons=(0.3,)))
    swept = [
        problem,
        replace(problem, seed=12),
        replace(problem, target=(0.1, 0.3, -0.4)),
        replace(problem, grid=replace(problem.grid, epsilons=(0.2,))),
        replace(problem, grid=replace(problem.grid, widths=(11, 3000))),
    ]
    for one in swept:
        counts(one, (0, 40), lanes=32, experiment=experiment)
        assert len(traces) == 1
    # What changes the program: configuration, numbers of widths and epsilons, lanes.
    blocks = replace(problem, config=Neuron(dim=3, constructions=("blocks",)))
    counts(blocks, (0, 40), lanes=32, experiment=experiment)
    assert len(traces) == 2


# Broken trials and broken kernels.


def test_a_trial_with_a_nan_is_invalid_and_counts_nowhere():
    cells = 4, len(NAMES), len(PROBLEM.grid.widths)
    lower, upper = np.zeros(cells), np.full(cells, 0.05)  # certified at every epsilon
    upper[1, 2, 3], lower[2, 0, 0] = np.nan, np.nan
    lower[3], upper[3] = 0.5, 0.6  # refuted at every epsilon
    neurons = np.full((4, 2, len(PROBLEM.grid.widths), 2, 3), -1, np.int32)
    ends = engine.verdicts(lower, upper, PROBLEM.grid.epsilons)
    batch = engine.count(neuron, PROBLEM, np.arange(10, 14), (lower, upper, neurons), ends)
    assert (batch.start, batch.stop, batch.invalid) == (10, 14, 2)
    assert batch.certified.shape == batch.refuted.shape == PROBLEM.shape
    assert np.all(batch.certified == 1)
    assert np.all(batch.refuted == 1)


def test_a_bracket_that_stays_open_is_undecided():
    # A settled bracket [0.15, 0.25] says nothing of epsilon = 0.2: the verdicts fall short there.
    stub = ModuleType("stub")
    stub.settle = lambda problem, trials, lower, upper: (lower, upper)
    cells = 1, len(NAMES), len(PROBLEM.grid.widths)
    outcome = np.full(cells, 0.15), np.full(cells, 0.25)
    ends = engine.verdicts(*outcome, PROBLEM.grid.epsilons)
    batch = engine.count(stub, PROBLEM, np.array([7]), outcome, ends)
    assert batch.certified[0, 0].tolist() == [1, 0, 0]
    assert batch.refuted[0, 0].tolist() == [0, 0, 1]
    assert (batch.invalid, batch.settled) == (0, 1)


def test_a_wrong_kernel_stops_the_run():
    def wrong(*arguments):
        outcome = neuron.trial(*arguments)
        return outcome._replace(upper=0.9 * outcome.upper)

    experiment, _ = counted(wrong)
    one = replace(PROBLEM, grid=replace(PROBLEM.grid, widths=(20,)))
    with pytest.raises(WrongKernelError, match="width 20"):
        counts(one, (0, 1), lanes=32, experiment=experiment)


# Devices.


def test_the_devices_of_this_machine():
    assert engine.devices("cpu") == CPU
    assert engine.devices() == jax.local_devices()


@pytest.mark.parametrize("kind", ["tpu", "abacus"])
def test_an_absent_device_is_refused(kind):
    with pytest.raises(InputError, match=f"device must be present, got {kind}: ") as error:
        engine.devices(kind)
    assert "\n" not in str(error.value)


def test_the_broken_compiler_is_refused(monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", "0.10.2")
    with pytest.raises(InputError, match=r"jaxlib must not be 0\.10\.2"):
        engine.devices("cpu")


def test_the_environment_is_json_and_names_what_ran():
    found = engine.environment(CPU[:1])
    assert json.loads(json.dumps(found)) == found
    assert (found["jax"], found["platform"], found["x64"]) == (jax.__version__, "cpu", False)


# Memory.

LARGE = """
import resource, sys
from ltjax import engine
from ltjax.experiments import neuron
from ltjax.problem import Grid, Neuron, Problem
trials, *widths = map(int, sys.argv[1:])
for width in widths:
    problem = Problem(config=Neuron(dim=16), target=tuple(0.25 - 0.03 * i for i in range(16)),
                      grid=Grid(widths=(width,), epsilons=(0.1,)), seed=1)
    list(engine.run(neuron, problem, [(0, trials)], engine.devices("cpu")[:1], lanes=trials))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peaks(trials, *widths):
    """MiB that a process of its own has needed after each width."""
    command = [sys.executable, "-c", LARGE, *map(str, (trials, *widths))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in shown.stdout.splitlines()]


def test_memory_does_not_grow_with_width():
    # Stored, 300,000 neurons more in 32 networks would be 32 x 17 x 300,000 float32: 620 MiB.
    before, after = peaks(32, 100_000, 400_000)
    assert after - before < 100


@pytest.mark.slow
def test_ten_million_neurons_fit():
    # Stored, this one network would be 650 MiB, and its products 610 more.
    before, after = peaks(1, 100_000, 10_000_000)
    assert after - before < 100
    assert after < 1024
