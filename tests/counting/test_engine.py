"""The trial axis: counts that agree with theory, and with themselves however they are cut."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from types import ModuleType, SimpleNamespace

import jax
import numpy as np
import pytest

import ltjax
from ltjax import theory
from ltjax.counting import engine, intervals
from ltjax.counting.processes import Alone
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.neuron import device
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem

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
SMALL = replace(PROBLEM, config=Neuron(dim=3, constructions=("blocks",), rules=("tight",)))
NAMES = [criterion.name for criterion in PROBLEM.criteria]


def counts(problem, *ranges, on=CPU[:1], lanes=256, experiment=device):
    """Certified and refuted [criterion, width, epsilon] and broken trials, of all ranges."""
    program = engine.prepare(experiment, problem, on, lanes=lanes)
    batches = list(engine.run(program, ranges))
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
    return intervals.clopper_pearson(successes, TRIALS, ERROR_RATE / cells)


CURVES = ["blocks/slides", "blocks/tight", "blocks/l2", "shared/slides", "shared/tight"]


@pytest.mark.parametrize("name", CURVES)
def test_success_is_the_curve_of_theory(measured, name):
    right = ltjax.predict(PROBLEM)[name]
    assert np.max(right.upper - right.lower) < 2e-3  # exact, but for l2
    grid = replace(PROBLEM.grid, epsilons=tuple(1.1 * e for e in PROBLEM.grid.epsilons))
    wrong = ltjax.predict(replace(PROBLEM, grid=grid))[name]
    rate = ERROR_RATE / right.lower.size
    # The design first: of every curve, a tolerance 10 % off is a gap that this sample can see.
    seen = wrong.lower - right.upper > intervals.detectable_gap(TRIALS, rate, rate)
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
    right = ltjax.predict(PROBLEM)["blocks/tight"].lower[:, 0]
    rate = ERROR_RATE / len(widths)
    seen = right - wrong > intervals.detectable_gap(TRIALS, rate, rate)
    assert seen.any()
    low, _ = interval(measured["blocks/tight"][:, 0], len(widths))
    assert np.all(wrong[seen] < low[seen])


def test_success_keeps_every_proved_bound(measured):
    predictions = ltjax.predict(PROBLEM)
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


def test_counts_do_not_depend_on_the_lanes():
    expected = counts(SMALL, (0, 256))
    for lanes in (37, None):
        same(counts(SMALL, (0, 256), lanes=lanes), expected)


def test_counts_do_not_depend_on_the_ranges(whole):
    same(counts(PROBLEM, (0, 100), (100, 256)), whole)
    same(counts(PROBLEM, (131, 256), (0, 1), (1, 131)), whole)


def test_counts_do_not_depend_on_the_devices(whole):
    assert len(CPU) >= 2
    same(counts(PROBLEM, (0, 256), on=CPU[:2], lanes=100), whole)


EIGHT = """
import json, sys
import jax
from ltjax.counting import engine
from ltjax.experiments.neuron import device as neuron
from ltjax.problem.problem import Problem
problem, trials = Problem.from_json(json.loads(sys.argv[1])), int(sys.argv[2])
for number in (3, 8):
    program = engine.prepare(neuron, problem, jax.devices("cpu")[:number], lanes=37)
    batches = list(engine.run(program, [(0, trials)]))
    tables = (sum(getattr(b, name) for b in batches) for name in ("certified", "refuted"))
    print(json.dumps([program.size, *(table.tolist() for table in tables)]))
"""


@pytest.mark.slow
def test_counts_do_not_depend_on_more_devices_than_cores():
    command = [sys.executable, "-c", EIGHT, json.dumps(SMALL.to_json()), "256"]
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    expected = counts(SMALL, (0, 256))[:2]
    for number, line in zip((3, 8), shown.splitlines(), strict=True):
        size, *tables = json.loads(line)
        assert size == 37 * number
        same(tables, expected)


@pytest.mark.slow
def test_counts_do_not_depend_on_the_other_widths(whole):
    some = replace(PROBLEM, grid=replace(PROBLEM.grid, widths=(20, 180)))
    for got, expected in zip(counts(some, (0, 256))[:2], whole[:2], strict=True):
        np.testing.assert_array_equal(got, expected[:, [1, 4]])


@pytest.mark.slow
def test_counts_do_not_depend_on_the_other_epsilons(whole):
    certified, refuted, invalid = whole
    for e, epsilon in enumerate(PROBLEM.grid.epsilons):
        one = replace(PROBLEM, grid=replace(PROBLEM.grid, epsilons=(epsilon,)))
        same(counts(one, (0, 256)), (certified[..., [e]], refuted[..., [e]], invalid))


def test_another_seed_and_other_trials_count_otherwise(whole):
    for other in (counts(replace(PROBLEM, seed=12), (0, 256)), counts(PROBLEM, (256, 512))):
        assert np.any(other[0] != whole[0])


@pytest.mark.slow
def test_constructions_count_the_same_alone(whole):
    for construction, rows in (("blocks", slice(0, 4)), ("pooled", slice(4, None))):
        alone = replace(PROBLEM, config=Neuron(dim=3, constructions=(construction,)))
        certified, refuted, invalid = counts(alone, (0, 256))
        same((certified, refuted, invalid), (whole[0][rows], whole[1][rows], whole[2]))


def test_batches_cover_the_ranges_in_order():
    program = engine.prepare(device, PROBLEM, CPU[:1], lanes=256)
    batches = list(engine.run(program, [(5, 300), (300, 301), (900, 1000)]))
    spans = [(batch.start, batch.stop) for batch in batches]
    assert spans[0][0] == 5
    assert spans[-1] == (900, 1000)
    assert {(300, 301)} < set(spans)
    assert sum(stop - start for start, stop in spans) == 295 + 1 + 100
    assert all(b.seconds > 0.0 and 0 <= b.settled <= b.stop - b.start for b in batches)


# Lanes.


def lanes(on=CPU[:1], **limits):
    return engine.prepare(device, SMALL, on, **limits).lanes


@pytest.mark.slow
def test_few_trials_are_given_few_lanes():
    most = device.lanes(SMALL.config)
    assert lanes() == lanes(trials=2**32) == most > 64
    assert lanes(trials=1) == lanes(trials=7) == engine.LEAST_LANES
    assert lanes(trials=40) == 64
    assert lanes(trials=40, on=CPU[:2]) == 32  # side by side on two devices


@pytest.mark.slow
def test_memory_takes_lanes_and_no_count():
    program = engine.prepare(device, SMALL, CPU[:1], lanes=256)
    assert program.memory > 256 * np.prod(SMALL.shape[:2]) * 8  # two float32 a cell come out
    assert lanes(lanes=256, memory=float(program.memory)) == 256
    less = engine.prepare(device, SMALL, CPU[:1], lanes=256, memory=program.memory - 1.0)
    assert less.lanes == 128
    assert less.memory < program.memory
    # Far too little is met at once, not by halving again and again.
    least = engine.prepare(device, SMALL, CPU[:1], lanes=256, memory=program.memory / 8)
    assert 8 <= least.lanes <= 32
    assert least.memory <= program.memory / 8
    expected = counts(SMALL, (0, 500))
    assert 0 < expected[0].sum() < 500 * expected[0].size
    for fewer in (less, least):
        batches = list(engine.run(fewer, [(0, 500)]))
        same([sum(b.certified for b in batches), sum(b.refuted for b in batches)], expected[:2])


def test_memory_that_holds_not_even_one_trial():
    with pytest.raises(
        InputError, match=r"memory must be at least \S+ GiB a device .*, got 9.31e-10"
    ):
        lanes(lanes=4, memory=1.0)


# Pieces.


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    clock = SimpleNamespace(now=100.0)
    clock.perf_counter = lambda: clock.now
    monkeypatch.setattr(engine, "time", clock)
    return clock


def steady(clock, size, cost):
    """A program that takes `cost(trial)` seconds a trial and certifies the even ones."""
    cells = len(PROBLEM.criteria), len(PROBLEM.grid.widths)

    def step(first):
        clock.now += size * cost(first)
        odd = np.broadcast_to(np.arange(first, first + size)[:, None, None] % 2, (size, *cells))
        outcome = odd.astype(np.float32), odd.astype(np.float32)
        return outcome, engine.verdicts(*outcome, PROBLEM.grid.epsilons)

    experiment, _ = counted()
    experiment.check = lambda problem, trials, *outcome: None
    return engine.Program(experiment, PROBLEM, step, size, size, 0)


def spans(batches):
    return [(batch.start, batch.stop) for batch in batches]


def test_a_batch_takes_about_a_second(clock):
    # A thousand trials a second, and a fifth of that from trial 2500 on.
    program = steady(clock, 100, lambda first: 1e-3 if first < 2500 else 5e-3)
    batches = list(engine.run(program, [(0, 4050)]))
    # It grows fourfold until it takes a second, shrinks when it takes longer, and ends with the
    # range.
    stops = [100, 500, 1500, 2500, 3500, 3700, 3900, 4050]
    assert spans(batches) == list(pairwise([0, *stops]))
    seconds = [0.1, 0.4, 1.0, 1.0, 5.0, 1.0, 1.0, 1.0]
    assert [b.seconds for b in batches] == pytest.approx(seconds)
    for batch in batches:
        assert np.all(batch.certified == (batch.stop - batch.start) / 2)
        assert np.all(batch.refuted == (batch.stop - batch.start) / 2)


def test_a_step_of_many_seconds_is_a_batch(clock):
    program = steady(clock, 100, lambda first: 0.5)
    assert spans(engine.run(program, [(0, 250)])) == [(0, 100), (100, 200), (200, 250)]


def test_no_batch_begins_after_the_seconds_given(clock):
    # They begin at 0, 0.1, 0.5, 1.5, ... seconds.
    for seconds, stop in ((1.2, 1500), (0.49, 500), (0.01, 100), (np.inf, 2000)):
        program = steady(clock, 100, lambda first: 1e-3)
        batches = spans(engine.run(program, [(0, 1700), (1700, 2000)], seconds=seconds))
        assert batches[0][0] == 0
        assert batches[-1][1] == stop


def test_a_range_is_drawn_when_all_before_it_is_counted(clock):
    program, seen, drawn = steady(clock, 100, lambda first: 1e-3), [], []

    def ranges():
        for piece in ((0, 650), (650, 651), (700, 800)):
            drawn.append(sum(stop - start for start, stop in seen))
            yield piece

    for batch in engine.run(program, ranges()):
        seen.append((batch.start, batch.stop))
    assert drawn == [0, 650, 651]
    # Who draws them all beforehand has seen nothing.
    drawn.clear()
    seen.clear()
    for batch in engine.run(program, list(ranges())):
        seen.append((batch.start, batch.stop))
    assert drawn == [0, 0, 0]


class Half(Alone):
    """The second of two processes of which the first runs elsewhere."""

    number, index = 2, 1

    def __init__(self, pieces):
        self.pieces = iter(pieces)

    def agree(self, piece):
        assert piece is None  # it has no say
        return next(self.pieces, None)

    def share(self, piece):
        return sum(piece) // 2, piece[1]

    def total(self, batch):
        return batch._replace(certified=2 * batch.certified)


def test_another_process_runs_its_share_of_what_the_first_says(clock):
    program = steady(clock, 100, lambda first: 1e-3)
    batches = list(engine.run(program, [(5, 50)], Half([(0, 800), (800, 801), (802, 804)])))
    assert spans(batches) == [(0, 800), (800, 801), (802, 804)]
    assert [b.certified.max() for b in batches] == [400, 2, 0]  # of 400 to 799, of 800, of 803


# Compilations.


def counted(trial=device.trial):
    """The experiment under another name, with a trial that notes when it is traced."""
    traces, module = [], ModuleType("counted")
    vars(module).update(vars(device))

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
    outcome = lower, upper, neurons, np.zeros(neurons[:, :, 0].shape, np.float32)
    batch = engine.count(device, PROBLEM, np.arange(10, 14), outcome, ends)
    assert (batch.start, batch.stop, batch.invalid) == (10, 14, 2)
    assert batch.certified.shape == batch.refuted.shape == PROBLEM.shape
    assert np.all(batch.certified == 1)
    assert np.all(batch.refuted == 1)


def test_a_bracket_that_stays_open_is_undecided():
    # A settled bracket [0.15, 0.25] says nothing of epsilon = 0.2: the verdicts fall short there.
    stub, _ = counted()
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
        outcome = device.trial(*arguments)
        return outcome._replace(upper=0.9 * outcome.upper)

    experiment, _ = counted(wrong)
    one = replace(PROBLEM, grid=replace(PROBLEM.grid, widths=(20,)))
    with pytest.raises(WrongKernelError, match="width 20"):
        counts(one, (0, 1), lanes=32, experiment=experiment)


# Memory.

LARGE = """
import re, sys
from ltjax.counting import engine
from ltjax.experiments.neuron import device as neuron
from ltjax.experiments.neuron.config import Neuron
from ltjax.system import devices
from ltjax.problem.problem import Grid, Problem
trials, *widths = map(int, sys.argv[1:])
for width in widths:
    problem = Problem(config=Neuron(dim=16), target=tuple(0.25 - 0.03 * i for i in range(16)),
                      grid=Grid(widths=(width,), epsilons=(0.1,)), seed=1)
    program = engine.prepare(neuron, problem, devices.devices("cpu")[:1], lanes=trials)
    list(engine.run(program, [(0, trials)]))
    # Not the peak by `getrusage`, which begins with that of whoever started the process.
    print(int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def peaks(trials, *widths):
    """MiB that a process of its own has needed after each width."""
    command = [sys.executable, "-c", LARGE, *map(str, (trials, *widths))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return [int(line) for line in shown.stdout.splitlines()]


@pytest.mark.slow
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
