"""Subset sums of one weight: brackets against all subsets, counts against known values."""

from functools import cache
from itertools import combinations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ltjax import api
from ltjax.counting import intervals
from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.subset import candidates, device, host
from ltjax.experiments.subset import theory as subset_theory
from ltjax.experiments.subset.config import LAWS
from ltjax.experiments.subset.problems import subset
from ltjax.weights import draws, redraw

ERROR_RATE = 1e-6  # of a false alarm, and of a missed one, in each statistical test
TRIALS = np.array([0, 3, 77, 2**31, 2**32 - 1], np.uint32)
SEED = 2027


@cache
def compiled(config):
    one = lambda key, widths: device.trial(key, jnp.zeros(0), widths, config)
    return jax.jit(jax.vmap(one, (0, None)))


def brackets(asked, trials):
    """Lower and upper ends of some trials side by side: each [trial, criterion, width]."""
    numbers = jnp.asarray(trials, jnp.uint32)
    keys = draws.trial_key(jnp.full(len(numbers), asked.seed, jnp.uint32), numbers)
    found = compiled(asked.config)(keys, jnp.asarray(asked.grid.widths, jnp.int32))
    return tuple(np.asarray(x, np.float64) for x in found)


def weights(law, trial, width):
    """Candidates as the definition has them, from the weights of a network with one input."""
    if law == "integer":
        key = draws.trial_key(np.full(1, SEED, np.uint32), np.full(1, trial, np.uint32))
        number = np.arange(width, dtype=np.uint32)
        words = draws.word(draws.stream(key, 0, draws.HIDDEN), number, np.uint32(0))
        return [((int(word) * 255 >> 32) - 127) / 127 for word in words]
    of = device.WEIGHTS[law]
    output, hidden = redraw.random_layer(SEED, trial, np.arange(width), 1, law=of)
    output, hidden = output[0, 0], hidden[0, :, 0]
    if law == "side":
        return list((output * hidden)[hidden > 0])
    return list(output * hidden if law == "product" else hidden)


def by_definition(numbers, event, target=0.3, span=0.4, kept=2, moved=0.015, step=None):
    """The error of an event over all subsets, one after the other, in float64."""
    every = [s for k in range(len(numbers) + 1) for s in combinations(numbers, k)]
    if event == "cover":
        sums = np.array([sum(s) for s in every])
        at = np.linspace(-span, span, 4001) if step is None else np.arange(-51, 52) * step
        return max(np.abs(sums[:, None] - at[None]).min(axis=0))
    errors = [
        max(abs(sum(s) - target) - (moved * len(s) if event == "moved" else 0.0), 0.0)
        for s in every
        if event != "size" or len(s) == kept
    ]
    return min(errors, default=np.inf)


@pytest.mark.slow
def test_brackets_hold_the_best_of_all_subsets():
    widths = (1, 2, 6)
    asked = subset(LAWS, (0.1,), widths, 0.3, span=0.4, kept=2, moved=0.015, largest=127, seed=SEED)
    lower, upper = brackets(asked, TRIALS)
    for (t, trial), (c, criterion), (w, width) in product(
        enumerate(TRIALS), enumerate(asked.criteria), enumerate(widths)
    ):
        law, event, _ = criterion
        step, target = (1 / 127, 38 / 127) if law == "integer" else (None, 0.3)
        error = by_definition(weights(law, trial, width), event, target, step=step)
        # What a cover is at points is up to half their distance below what it is.
        off = 1e-12 + (event == "cover" and step is None) * 1e-4
        low, high = lower[t, c, w], upper[t, c, w]
        assert low <= error + off
        assert error <= high + 1e-12
        assert high == np.inf or high - low < {"cover": 2e-2, "moved": 6e-2}.get(event, 1e-3)
        least, most = host.bracket(asked, trial, criterion, width)
        assert least - off - 1e-12 <= error <= most + 1e-12
        assert low <= most
        assert least <= high


@pytest.mark.parametrize("most", [6, pytest.param(17, marks=pytest.mark.slow)])
def test_one_search_gives_every_width_and_the_host_agrees(most):
    asked = subset(LAWS, (0.01,), range(1, most + 1), "random", events=["target"], seed=SEED)
    lower, upper = brackets(asked, TRIALS)
    assert np.all(np.diff(lower) <= 1e-5)  # the slack of one candidate more
    alone = subset(LAWS, (0.01,), [most], "random", events=["target"], seed=SEED)
    np.testing.assert_array_equal(lower[..., -1:], brackets(alone, TRIALS)[0])
    for (t, trial), (c, criterion) in product(enumerate(TRIALS), enumerate(asked.criteria)):
        for w, width in enumerate(asked.grid.widths):
            low, high = host.bracket(asked, trial, criterion, width)
            assert low <= upper[t, c, w]
            assert lower[t, c, w] <= high
            assert high - low < 1e-13


def test_integers_are_uniform_and_drawn_alike_by_both():
    config = subset(["integer"], (0.1,), [16], largest=3, events=["target"]).config
    key = draws.trial_key(np.full(1, SEED, np.uint32), np.full(1, 5, np.uint32))
    one = tuple(jnp.asarray(k[0]) for k in key)
    for on, special in ((one, device.DEVICE), (key, host.HOST)):
        drawn, usable = candidates.candidates(on, "integer", config, 1, special, np.int32)
        words = draws.word(
            draws.stream(key, 0, draws.HIDDEN), np.arange(16, dtype=np.uint32), np.uint32(0)
        )
        assert drawn.tolist() == [(int(word) * 7 >> 32) - 3 for word in words]
        assert np.all(usable)
    words = np.random.default_rng(0).integers(0, 2**32, 70_000, dtype=np.uint32)
    for largest in (1, 3, 2**15 - 1):
        found = candidates._spread(words, largest)
        exactly = (words.astype(np.uint64) * np.uint64(2 * largest + 1) >> np.uint64(32)).astype(
            int
        )
        np.testing.assert_array_equal(found, exactly - largest)


# Counts. Known: by integration (n = 1, 2, 3, to all digits shown) and by other draws.

EXACT = {
    "uniform": {0.1: (0.1, 0.245, 0.432166667), 0.01: (0.01, 0.0272, 0.057525917)},
    "product": {
        0.1: (0.069989541, 0.182208178, 0.32671755),
        0.01: (0.006932139, 0.022106051, 0.0524967),
    },
    "side": {
        0.1: (0.034994770, 0.080546815, 0.13541384),
        0.01: (0.003466069, 0.008992582, 0.0174514),
    },
}
RUN = 70_000


@pytest.fixture(scope="module")
def few():
    """Counts of up to three candidates."""
    return api.run(subset(tuple(EXACT), widths=(1, 2, 3), events=["target"], seed=SEED), RUN)


def holds(successes, probability):
    low, high = intervals.clopper_pearson(successes, RUN, ERROR_RATE)
    return low <= probability <= high


@pytest.mark.parametrize("law", EXACT)
def test_counts_of_few_candidates_are_exact(few, law):
    for e, epsilon in enumerate((0.1, 0.01)):
        for n, known in enumerate(EXACT[law][epsilon]):
            successes = few.certified[few.criterion(f"{law}/target"), n, e]
            assert holds(successes, known), (epsilon, n + 1)
    # By design a probability that is off by 5 % is refused where candidates are plain, and that of
    # another law anywhere.
    gap = intervals.detectable_gap(RUN, ERROR_RATE, ERROR_RATE)
    known, wrong = EXACT[law][0.1][2], EXACT["product" if law != "product" else "side"][0.1][2]
    successes = few.certified[few.criterion(f"{law}/target"), 2, 0]
    assert gap < abs(known - wrong)
    assert not holds(successes, wrong)
    if law == "uniform":
        assert gap < 0.05 * known
        assert not holds(successes, 0.95 * known)
        assert not holds(successes, 1.05 * known)


# Of 200,000 draws by other means: target 0.5 and cover of [-1/2, 1/2], within 0.1.
KNOWN = {
    "uniform": {5: (0.78173, 0.33298), 8: (0.96491, 0.89395)},
    "product": {5: (0.61007, 0.22753), 8: (0.85326, 0.69670)},
    "side": {5: (0.26231, 0.02016), 8: (0.46309, 0.13649)},
}
KNOWN_TRIALS, TOLD_APART = 200_000, 25_000


def test_counts_are_those_of_other_draws():
    tally = api.run(subset(tuple(KNOWN), (0.1,), (5, 8), seed=SEED), TOLD_APART)
    tails = -float(stats.norm.ppf(ERROR_RATE / 2))  # standard errors
    for law, by_width in KNOWN.items():
        for w, pair in enumerate(by_width.values()):
            for event, known, other in zip(("target", "cover"), pair, pair[::-1], strict=True):
                error = (known * (1 - known) * (1 / KNOWN_TRIALS + 1 / TOLD_APART)) ** 0.5
                found = tally.certified[tally.criterion(f"{law}/{event}"), w, 0] / TOLD_APART
                assert abs(found - known) < tails * error, (law, event, w)
                assert abs(other - known) > 2 * tails * error  # by design
                assert abs(found - other) > tails * error


def test_predictions_hold_what_is_known():
    asked = subset(tuple(KNOWN), (0.1,), (5, 8), kept=3, moved=0.01)
    curves = api.predict(asked)
    for law, by_width in KNOWN.items():
        target, cover = np.array(list(by_width.values())).T
        for event, values in (("target", target), ("cover", cover)):
            found = curves[f"{law}/{event}"]
            assert np.all(found.lower[:, 0] <= values)
            assert np.all(values <= found.upper[:, 0])
        # Other sizes than three are no help, and what may move is.
        assert np.all(curves[f"{law}/size"].upper <= curves[f"{law}/target"].upper)
        assert np.all(curves[f"{law}/moved"].upper >= curves[f"{law}/target"].upper)
    few = api.predict(subset(("uniform",), (0.1,), (1, 2, 3), events=["target"]))
    assert few["uniform/target"].kind == "exact"
    np.testing.assert_allclose(few["uniform/target"].lower[:, 0], EXACT["uniform"][0.1], rtol=1e-8)


def test_facts_say_how_often_a_target_is_out_of_reach():
    told = "\n".join(subset_theory.facts(subset(("uniform",), (0.1,), (10,))))
    assert "out of reach at epsilon 0.1 of the largest width, 10, with probability 0.009889" in told
    told = "\n".join(subset_theory.facts(subset(("product",), (0.1,), (2,), target=3.0)))
    assert "with probability 1" in told
    assert "no width is promised" in told
    problem = subset(("uniform",), (0.1,), (2,))
    assert subset_theory.lemma(problem, 0.1, 0.05) is None


def test_integers_have_as_many_subsets_as_targets():
    asked = subset(("integer",), (0.001,), (6, 7, 8), span=1.0, largest=63, events=["cover"])
    [curve] = api.predict(asked).values()
    assert curve.upper[0, 0] == 0.0  # 64 subsets, 127 targets
    assert curve.upper[1, 0] > 0.0


def test_a_random_target_is_uniform_and_has_its_own_address():
    config = subset(["uniform"], (0.1,), [1], "random", events=["target"]).config
    numbers = np.arange(20_000, dtype=np.uint32)
    key = draws.trial_key(np.full_like(numbers, SEED), numbers)
    found = candidates.target(key, "uniform", config, 2**24, host.HOST, np.int64) / 2**24
    ranks, x = np.arange(len(found) + 1) / len(found), np.sort(found)
    distance = lambda cdf: max(np.max(ranks[1:] - cdf(x)), np.max(cdf(x) - ranks[:-1]))
    assert distance(lambda t: (t + 1) / 2) < float(intervals.dkw(len(x), ERROR_RATE))
    assert distance(lambda t: (t + 1.1) / 2.2) > float(intervals.dkw(len(x), ERROR_RATE))
    first = draws.uniform(draws.word(draws.stream(key, 0, draws.HIDDEN), *2 * [np.uint32(0)]))
    assert abs(np.corrcoef(found, first)[0, 1]) < 5 / len(found) ** 0.5


# What must not pass.


def known(asked):
    """Errors of some trials as the host has them: [trial, criterion, width]."""
    found = [
        [[host.bracket(asked, t, c, n)[0] for n in asked.grid.widths] for c in asked.criteria]
        for t in TRIALS
    ]
    host.check(asked, TRIALS, np.array(found), np.array(found))
    return np.array(found)


def refused(asked, errors):
    with pytest.raises(WrongKernelError, match="the compiled kernel is wrong at uniform/"):
        host.check(asked, TRIALS, errors, errors)


def test_sums_in_float32_are_refused():
    asked = subset(["uniform"], (1e-6,), [11, 12], "random", events=["target"], seed=SEED)
    wrong = known(asked)
    for (t, trial), (w, width) in product(enumerate(TRIALS), enumerate(asked.grid.widths)):
        _, target = host.drawn(asked, trial, "uniform", width)
        sums = np.zeros(1, np.float32)
        for number in weights("uniform", trial, width):
            sums = np.concatenate([sums, sums + np.float32(number)])
        wrong[t, 0, w] = np.abs(sums - np.float32(target / 2**48)).min()
    refused(asked, wrong)


def test_a_forgotten_empty_subset_is_refused():
    asked = subset(["uniform"], (0.1,), [1], 0.01, events=["target"], seed=SEED)
    nonempty = [[[abs(weights("uniform", trial, 1)[0] - 0.01)]] for trial in TRIALS]
    refused(asked, np.maximum(known(asked), nonempty))


def test_candidates_of_another_trial_are_refused():
    asked = subset(["uniform"], (0.1,), [2, 4], seed=SEED)
    refused(asked, np.roll(known(asked), 1, axis=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"laws": ["sign"]}, "laws must be such as approximate a weight, got sign: sums of"),
        ({"laws": ["cauchy"]}, "laws must be taken from uniform, product, side, .*, got cauchy"),
        ({"laws": []}, "laws must be taken from .*, got none"),
        ({"events": ["best"]}, "events must be taken from target, cover, .*, got best"),
        ({"widths": [0]}, "widths must be between 1 and"),
        ({"widths": [32]}, "widths must be between 1 and 31 candidates, .* got 32"),
        ({"widths": [17], "kept": 2}, "widths must be at most 16 with size, .* got 17"),
        ({"widths": [4], "kept": 5}, "kept must be at least 1 and at most .*, 4, got 5"),
        ({"widths": [4], "kept": 0}, "kept must be at least 1"),
        ({"moved": -0.1}, "moved must be between 0 and 1, got -0.1"),
        ({"moved": np.nan}, "moved must be between 0 and 1, got nan"),
        ({"target": np.nan}, "target must be random or a finite number, got nan"),
        ({"target": "mine.npy"}, "target must be random or a finite number, got 'mine.npy'"),
        ({"target": 33.0}, "target must be random or a number of size at most 32, got 33"),
        ({"span": 0.0}, "span must be between 2\\^-10 and 1, got 0"),
        ({"laws": ["integer"], "largest": 0}, "largest must be between 1 and 32767, got 0"),
        ({"laws": ["integer"], "largest": 2**15}, "largest must be between 1 and 32767"),
        ({"laws": ["integer"], "largest": 1, "span": 0.25}, "span must hold a multiple of 1/1"),
        ({"epsilons": [0.0]}, "epsilon must lie strictly between 0 and 1, got 0"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_what_cannot_be_asked(change, message):
    with pytest.raises(InputError, match=message):
        subset(**change)


def test_a_record_is_gone_on_with(tmp_path):
    asked = subset(widths=(3, 6), epsilons=(0.1,), seed=SEED)
    api.run(asked, 600, tmp_path / "a.jsonl")
    again = api.run(asked, 1500, tmp_path / "a.jsonl")
    whole = api.run(asked, 1500)
    np.testing.assert_array_equal(again.certified, whole.certified)
    np.testing.assert_array_equal(again.refuted, whole.refuted)
    assert again.trials == whole.trials == 1500
    assert not np.any(whole.undecided)
