"""Shares partition the trials; where a rule stops is a matter of the counts alone."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ltjax.counting import intervals, plans
from ltjax.counting.plans import Shard
from ltjax.counting.tally import Batch, Memory
from ltjax.errors import InputError
from ltjax.experiments.network.config import Network
from ltjax.experiments.neuron.config import Neuron
from ltjax.problem.problem import Grid, Problem
from ltjax.results import estimates

PROBLEM = Problem(
    config=Neuron(dim=2, constructions=("blocks",)),
    target=(0.5, -0.2),
    grid=Grid(widths=(8, 16, 24, 40), epsilons=(0.3, 0.2, 0.1)),
    seed=7,
)
MATRIX = Problem(
    config=Network(sizes=(2, 1), rules=("slides", "tight")),
    target=(((0.5, -0.2),),),
    grid=Grid(widths=(5,), epsilons=(0.3, 0.05)),
    seed=7,
    experiment="network",
)
AT = ("blocks/l2", 16, 0.2)
CELL = (2, 1, 1)  # of AT
CERTIFIED, REFUTED, UNDECIDED, BROKEN = range(4)
ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
RUNS = 400


def stream(seed, rates, trials=2000):
    """Verdicts on one cell, independent, each at its rate."""
    return np.random.default_rng(seed).choice(4, trials, p=rates)


def batch(verdicts, start, stop):
    """All other cells are certified wherever a trial does not break."""
    here = verdicts[start:stop]
    broken = int(np.sum(here == BROKEN))
    certified = np.full(PROBLEM.shape, stop - start - broken)
    refuted = np.zeros(PROBLEM.shape, np.int64)
    certified[CELL], refuted[CELL] = np.sum(here == CERTIFIED), np.sum(here == REFUTED)
    return Batch(start, stop, certified, refuted, broken, 0, 0.0)


def counted(verdicts, *spans):
    """A log that holds some ranges of a stream."""
    log = Memory(PROBLEM, len(verdicts))
    for start, stop in spans:
        log.append(batch(verdicts, start, stop))
    return log


def go_on(log, verdicts, rule, size, batches=None, trials=None):
    """Run by a rule in batches of `size`, killed after so many; return all that is counted."""
    drawn = plans.ranges(log, trials or len(verdicts), 4, until=rule)
    pieces = chain.from_iterable(
        [(first, min(first + size, stop)) for first in range(start, stop, size)]
        for start, stop in drawn
    )
    for piece in islice(pieces, batches):
        log.append(batch(verdicts, *piece))
    return log.tally


def looks(trials):
    """m 2^e below `trials`, by definition, and `trials`."""
    points = {m << e for m in range(8, 16) for e in range(3, trials.bit_length())}
    return [*sorted(n for n in points if n < trials), trials]


def stopping_point(verdicts, half_width, failures):
    """From the stream itself: the first look at which either rule is met."""
    for n in looks(len(verdicts)):
        numbers = np.bincount(verdicts[:n], minlength=4)
        low, _ = intervals.anytime(numbers[CERTIFIED], n, 0.05)
        _, high = intervals.anytime(numbers[CERTIFIED] + numbers[UNDECIDED], n, 0.05)
        failed = numbers[REFUTED] + numbers[BROKEN]
        if (failures and failed >= failures) or (half_width and (high - low) / 2 <= half_width):
            return n
    return len(verdicts)


@pytest.mark.parametrize("trials", [1, 63, 64, 65, 72, 1000, 1024, 5000])
def test_the_lattice_is_fixed(trials):
    assert list(plans.lattice(0, trials)) == looks(trials)


def test_the_lattice_goes_on_from_any_number_of_trials():
    for start in range(1, 600):
        assert list(plans.lattice(start, 600)) == [n for n in looks(600) if n >= start]
    assert list(plans.lattice(900, 600)) == [600]


def test_the_lattice_costs_at_most_an_eighth():
    trials = np.arange(64, 10_000)
    over = np.array([next(plans.lattice(n, 2**32)) for n in trials.tolist()]) / trials - 1
    assert 0.1 < over.max() <= 1 / 8
    assert sum(1 for _ in plans.lattice(0, 2**32)) < 250


@given(of=st.integers(1, 7), block=st.integers(1, 9), sizes=st.tuples(*[st.integers(0, 150)] * 2))
def test_shares_partition_extend_and_balance(of, block, sizes):
    trials, more = sorted(sizes)
    spread = lambda spans: [trial for span in spans for trial in range(*span)]
    at = lambda trials: [spread(plans.share(Shard(k + 1, of), block, trials)) for k in range(of)]
    assert sorted(chain(*at(trials))) == list(range(trials))
    for short, long in zip(at(trials), at(more), strict=True):
        assert short == [trial for trial in long if trial < trials]
    assert max(map(len, at(more))) - min(map(len, at(more))) <= block


def test_a_share_by_hand():
    assert plans.share(Shard(2, 3), 4, 30) == ((4, 8), (16, 20), (28, 30))
    assert plans.share(Shard(1, 1), 4, 30) == ((0, 30),)
    assert plans.share(Shard(3, 3), 4, 8) == ()


def test_all_is_run_where_nothing_else_is_asked():
    log = counted(stream(0, [1, 0, 0, 0], 30), (3, 5), (20, 30))
    assert list(plans.ranges(log, 30, 4)) == [(0, 3), (5, 20)]
    assert list(plans.ranges(log, 10, 4)) == [(0, 3), (5, 10)]


def test_a_shard_runs_what_is_missing_of_its_share():
    log = counted(stream(0, [1, 0, 0, 0], 30), (4, 9), (17, 20))
    assert list(plans.ranges(log, 30, 4, Shard(2, 3))) == [(16, 17), (28, 30)]
    assert list(plans.ranges(log, 30, 4, Shard(3, 3))) == [(9, 12), (20, 24)]
    assert list(plans.ranges(log, 8, 4, Shard(3, 3))) == []  # a share of nothing is not all


@pytest.mark.parametrize("config", [Neuron, Network])
def test_blocks_are_few_and_soon_run(config):
    # At most 2^24 lines for 2^32 trials; at most some seconds for a block.
    assert 256 <= config.trials_per_shard <= 4096


RULES = [(0.08, None), (None, 23), (0.08, 23), (0.05, 120), (None, 2001)]
RATES = [0.75, 0.12, 0.08, 0.05]


@pytest.mark.parametrize(("half_width", "failures"), RULES)
@pytest.mark.parametrize("size", [7, 100])
def test_the_stopping_point_is_that_of_the_counts(half_width, failures, size):
    rule = plans.until(PROBLEM, half_width, failures, AT)
    found = set()
    for seed in range(4):
        verdicts = stream(seed, RATES)
        ended = go_on(counted(verdicts), verdicts, rule, size)
        assert ended.ranges == ((0, stopping_point(verdicts, half_width, failures)),)
        assert rule.met(ended) == (failures != 2001)
        found.add(ended.trials)
    assert (found == {2000}) == (failures == 2001)


def test_batches_of_one_trial_stop_there_too():
    verdicts, rule = stream(5, RATES), plans.until(PROBLEM, failures=23, at=AT)
    ended = go_on(counted(verdicts), verdicts, rule, 1)
    assert ended.trials == stopping_point(verdicts, None, 23)


def test_a_rule_tried_after_each_batch_would_stop_elsewhere():
    verdicts, rule, stops = stream(5, RATES), plans.until(PROBLEM, failures=23, at=AT), set()
    for size in (1, 7, 100):
        log = counted(verdicts)
        while not rule.met(log.tally):
            log.append(batch(verdicts, log.tally.trials, log.tally.trials + size))
        stops.add(log.tally.trials)
    assert len(stops) == 3


@given(st.lists(st.tuples(st.sampled_from([1, 7, 100]), st.integers(0, 9)), max_size=6))
@pytest.mark.slow
def test_kills_do_not_move_the_stopping_point(killed):
    verdicts, rule = stream(6, RATES), plans.until(PROBLEM, failures=40, at=AT)
    log = counted(verdicts)
    for size, batches in killed:
        go_on(log, verdicts, rule, size, batches)
    ended = go_on(log, verdicts, rule, 64)
    assert ended.ranges == ((0, stopping_point(verdicts, None, 40)),)


def test_more_trials_do_not_move_it_either():
    # 200 is no point of the lattice: what is met there is not seen on the way to 2000.
    verdicts, rule = stream(5, RATES), plans.until(PROBLEM, failures=50, at=AT)
    log = counted(verdicts)
    assert go_on(log, verdicts, rule, 7, trials=200).trials == 200
    assert go_on(log, verdicts, rule, 7).trials == stopping_point(verdicts, None, 50) > 200


@pytest.mark.parametrize("trials", [2000, 130])
def test_a_finished_run_has_nothing_left(trials):
    # Stopped by its rule, then by the number of trials.
    verdicts, rule = stream(5, RATES), plans.until(PROBLEM, failures=30, at=AT)
    log = counted(verdicts)
    ended = go_on(log, verdicts, rule, 7, trials=trials)
    assert rule.met(ended) == (trials == 2000)
    assert list(plans.ranges(log, trials, 4, until=rule)) == []
    assert list(plans.ranges(log, 100, 4, until=rule)) == []


def test_a_record_of_more_goes_on_to_the_next_look():
    verdicts, rule = stream(5, RATES), plans.until(PROBLEM, failures=5, at=AT)
    drawn = lambda *spans: next(plans.ranges(counted(verdicts, *spans), 2000, 4, until=rule), None)
    assert drawn((0, 80)) is None
    assert drawn((0, 81)) == (81, 88)
    assert drawn((0, 10), (40, 90)) == (10, 40)
    # Trials beyond the look would count with those below it.
    assert drawn((0, 64), (100, 101)) == (64, 72)


def test_gaps_are_filled_before_anything_is_looked_at():
    verdicts, rule = stream(5, RATES), plans.until(PROBLEM, failures=5, at=AT)
    ended = go_on(counted(verdicts, (3, 5), (90, 101)), verdicts, rule, 7)
    assert ended.ranges == ((0, 104),)


def test_a_half_width_is_that_of_the_bar():
    verdicts = stream(8, RATES, 300)
    tally = replace(counted(verdicts, (0, 300)).tally, anytime=True)
    low, high = estimates.estimate(estimates.Series(label="", tally=tally), AT[0], 1).bar
    half = float(high[CELL[1:]] - low[CELL[1:]]) / 2
    assert plans.until(PROBLEM, half * (1 + 1e-9), at=AT).met(tally)
    assert not plans.until(PROBLEM, half * (1 - 1e-9), at=AT).met(tally)


def test_an_undecided_trial_is_no_failure_and_a_broken_one_is():
    verdicts = np.repeat([CERTIFIED, REFUTED, UNDECIDED, BROKEN], [50, 3, 11, 4])
    tally = counted(verdicts, (0, 68)).tally
    assert plans.until(PROBLEM, failures=7, at=AT).met(tally)
    assert not plans.until(PROBLEM, failures=8, at=AT).met(tally)
    # Elsewhere only the broken ones fail.
    assert plans.until(PROBLEM, failures=4).met(tally)
    assert not plans.until(PROBLEM, failures=5).met(tally)


def test_either_rule_is_enough():
    verdicts = np.repeat([CERTIFIED, REFUTED], [90, 10])
    tally = counted(verdicts, (0, 100)).tally
    met = lambda *rule: plans.until(PROBLEM, *rule, AT).met(tally)
    assert (met(0.01, 10), met(0.2, 11), met(0.01, 11)) == (True, True, False)


P = 0.4
ALARM = int(binom.isf(ERROR_RATE, RUNS, 0.05)) + 1  # misses that hardly ever occur at 5 %


def misses(rule, interval, trials):
    """In how many runs by a rule, of at most so many trials, the interval ends without P."""
    missed = 0
    for seed in range(RUNS):
        verdicts = stream(seed, [P, 1 - P, 0, 0], trials)
        tally = go_on(counted(verdicts), verdicts, rule, trials)
        low, high = interval(int(tally.certified[CELL]), tally.trials, 0.05)
        missed += not low <= P <= high
    return missed


@dataclass(frozen=True)
class Peek(plans.Until):
    """Knows the truth, and stops where an interval misses it: the worst of all rules."""

    interval: object

    def met(self, tally):
        low, high = self.interval(int(tally.certified[CELL]), tally.trials, 0.05)
        return not low <= P <= high


def ever_missed(interval, trials):
    """P(some look finds P outside the interval), exactly: the law of the successes so far."""
    law, missed, before = np.ones(1), 0.0, 0
    for n in looks(trials):
        law = np.convolve(law, binom.pmf(np.arange(n - before + 1), n - before, P))
        low, high = interval(np.arange(n + 1), n, 0.05)
        out = (low > P) | (high < P)
        missed, law, before = missed + law[out].sum(), np.where(out, 0.0, law), n
    return missed


@pytest.mark.slow
@pytest.mark.parametrize("rule", [(0.14, None), (None, 100), (0.14, 70)])
def test_the_anytime_interval_survives_the_rule(rule):
    assert misses(plans.until(PROBLEM, *rule, AT), intervals.anytime, 300) < ALARM


@pytest.mark.slow
def test_the_anytime_interval_survives_any_rule_and_the_fixed_one_does_not():
    # The design first: the fixed interval hardly ever escapes the alarm.
    trials = 700
    assert binom.cdf(ALARM - 1, RUNS, ever_missed(intervals.clopper_pearson, trials)) <= ERROR_RATE
    assert ever_missed(intervals.anytime, trials) <= 0.05
    for interval, alarm in ((intervals.anytime, False), (intervals.clopper_pearson, True)):
        cached = lru_cache(None)(interval)
        assert (misses(Peek(*AT, None, None, cached), cached, trials) >= ALARM) == alarm


def test_a_rule_is_kept_as_given():
    half, least = plans.until(PROBLEM, 0.005), plans.until(PROBLEM, failures=200, at=AT)
    assert half.to_json() == {"half_width": 0.005, "cell": ["blocks/tight", 24, 0.1]}
    assert least.to_json() == {"failures": 200, "cell": list(AT)}
    both = plans.until(MATRIX, 0.3, 9).to_json()
    # Its main rule is not counted.
    assert both == {"half_width": 0.3, "failures": 9, "cell": ["blocks/slides", 5, 0.05]}


@pytest.mark.parametrize("text", ["1/1", "3/16", "16/16"])
def test_a_shard_is_read_and_written(text):
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "33", "0/4", "5/4", "1/0", "-1/4", "1/4/", " 1/4", "1/4\n", "1.0/4", "²/4", "a/b"]
)
def test_an_unusable_shard_is_named(text):
    with pytest.raises(InputError, match="must be k/K with 1 <= k <= K, as 3/16, got ") as caught:
        Shard.parse(text)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "until must be told a half width or a number of failures, got neither"),
        ({"half_width": 0.0}, "half_width must lie strictly between 0 and 0.5, got 0.0"),
        ({"half_width": 0.5}, "half_width must lie strictly between 0 and 0.5, got 0.5"),
        ({"half_width": float("nan")}, "half_width must lie .*, got nan"),
        ({"failures": 0}, "failures must be at least 1, got 0"),
        (
            {"failures": 3, "at": ("shared/l2", 16, 0.2)},
            "criterion must be one of blocks/slides, .* got shared",
        ),
        (
            {"failures": 3, "at": ("blocks/l2", 17, 0.2)},
            "width must be one of 8, 16, 24, 40, got 17",
        ),
        (
            {"failures": 3, "at": ("blocks/l2", 16, 0.15)},
            "epsilon must be one of 0.3, 0.2, 0.1, got 0.15",
        ),
    ],
)
def test_an_unusable_rule_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        plans.until(PROBLEM, **arguments)


@pytest.mark.parametrize("rule", [{"until": plans.until(PROBLEM, 0.1)}, {"seconds": 60.0}])
def test_a_shard_has_no_rule(rule):
    plans.check(PROBLEM, 100, **rule)
    with pytest.raises(InputError, match=r"shard must have no stopping rule .*, got 3/16"):
        plans.check(PROBLEM, 10**6, Shard(3, 16), **rule)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan])
def test_time_must_pass(seconds):
    with pytest.raises(InputError, match="max-seconds must be above 0, got"):
        plans.check(PROBLEM, 100, seconds=seconds)


def test_a_shard_holds_trials():
    plans.check(PROBLEM, 2 * 4096 + 1, Shard(3, 3))
    with pytest.raises(InputError, match=r"some of the 8192 trials, .* blocks of 4096, got 3/3"):
        plans.check(PROBLEM, 2 * 4096, Shard(3, 3))
