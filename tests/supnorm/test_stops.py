"""A limit is obeyed at every stage: when it comes, the bracket holds, and nothing more is begun."""

import signal
import time
from functools import partial
from itertools import count

import numpy as np
import pytest
from test_ascent import near_pairs, one
from test_gaps import holds, near
from test_relaxation import largest
from test_ticket_commands import call, said

from ltjax.networks.pairs import Pair, difference, forward
from ltjax.supnorm import ascent, brackets, branch_and_bound, certificate, moments, semidefinite
from ltjax.supnorm.plane import circle_supremum
from ltjax.system import interrupts, stops
from ltjax.tickets import archive, pruning, report, verifying

DEAR = (
    (certificate, "_spectral"),
    (certificate, "_single"),
    (certificate, "_schatten"),
    (ascent, "_search_all"),
    (ascent, "_peak"),
    (semidefinite, "basis"),
    (semidefinite, "_advance_some"),
    (semidefinite, "certify"),
)
WHENEVER = (0, 1, 2, 3, 5, 7, 9, 12, 15, 20, 27, 40, 60, 90)


class Clock:
    """True from the n-th question on; and what was begun after that."""

    def __init__(self, n, monkeypatch):
        self.n, self.asked, self.over, self.begun, self.late = n, 0, False, [], []
        for module, name in DEAR:
            monkeypatch.setattr(module, name, partial(self.watched, getattr(module, name), name))

    def __call__(self):
        self.over = self.asked >= self.n
        self.asked += 1
        return self.over

    def watched(self, work, name, *args, **options):
        (self.late if self.over else self.begun).append(name)
        return work(*args, **options)


def equal_or_narrower(found):
    lower, upper, *_ = zip(*found, strict=True)
    return np.all(np.diff(lower) >= 0.0) and np.all(np.diff(upper) <= 0.0)


@pytest.mark.parametrize(
    ("sizes", "last", "norm"),
    [((2, 4, 3), "linear", "max"), ((2, 4, 2), "relu", "l2"), ((2, 3, 4, 1), "linear", "l2")],
)
def test_a_bracket_holds_whenever_the_time_is_over(sizes, last, norm, monkeypatch):
    pair = one(near_pairs(sizes, 1, eta=0.1, last=last), 0)
    value, widths = largest(pair, norm), []
    for n in WHENEVER:
        with monkeypatch.context() as patched:
            clock = Clock(n, patched)
            found = list(branch_and_bound.brackets(pair, 1e-3, norm=norm, stop=clock))
        assert clock.late == []
        assert all(holds(b, value) for b in found)
        assert equal_or_narrower(found)
        widths.append(found[-1].upper / found[-1].lower)
    # A later limit is of use, from the first stage to the last.
    assert np.all(np.diff(widths) <= 0.0)
    assert len(set(widths)) > 4
    assert set(clock.begun) >= {"_spectral", "_search_all", "_peak", "basis", "_advance_some"}


def test_a_stage_that_does_not_ask_is_noticed(monkeypatch):
    """Control: norms that no question interrupts are begun after the limit."""
    monkeypatch.setattr(certificate, "_within", lambda stop: certificate._spectral)
    monkeypatch.setattr(branch_and_bound._Tree, "done", lambda tree: False)
    pair = one(near_pairs((2, 4, 2), 1, eta=0.1), 0)
    clock = Clock(1, monkeypatch)
    clock()
    list(branch_and_bound.brackets(pair, 1e-3, stop=clock))
    assert "_spectral" in clock.late


def large(sizes=(40, 300, 280, 5)):
    """A pair for which everything but the first bracket would take long."""
    pairs = near_pairs(sizes, 1, eta=0.05)
    return one(pairs, 0)


def test_the_first_bracket_needs_nothing_dear(monkeypatch):
    pair = large()
    clock = Clock(10**6, monkeypatch)
    for norm in ("l2", "max"):
        found = next(branch_and_bound.brackets(pair, 1e-2, norm=norm, stop=clock))
        h = difference(pair, found.point[:, None])[:, 0]
        reached = np.linalg.norm(h) if norm == "l2" else np.abs(h).max()
        np.testing.assert_allclose(found.lower, reached, rtol=1e-9)
        assert 0.0 < found.lower < found.upper < np.inf
        assert (clock.begun, clock.asked, found.nodes) == ([], 0, 0)


def test_networks_too_large_for_the_relaxation_end_with_what_there_is(monkeypatch):
    monkeypatch.setattr(branch_and_bound, "LARGEST", 10)
    pair = one(near_pairs((2, 4, 2), 1, eta=0.1), 0)
    monkeypatch.setattr(branch_and_bound, "lift", None)
    *_, last = branch_and_bound.brackets(pair, 1e-3)
    assert last.nodes == 0
    assert holds(last, largest(pair))
    assert last.upper == moments.known_bound(pair)


@pytest.mark.parametrize("shape", [(7, 5), (5, 9), (6, 6)])
def test_powers_stand_for_an_svd_whenever_they_end(shape, monkeypatch):
    monkeypatch.setattr(certificate, "BY_SVD", 2)
    matrix = np.random.default_rng(1).normal(size=(3, *shape))
    exact, before = np.linalg.norm(matrix, 2, axis=(-2, -1)), np.inf
    for n in range(14):
        asked = count()
        norm = certificate._within(lambda n=n, asked=asked: next(asked) >= n)(matrix)
        assert np.all(exact <= norm * (1 + 1e-12))
        assert np.all(norm <= before)
        before = norm * (1 + 1e-12)
    assert np.all(norm <= 1.005 * exact)
    zero = certificate._within(lambda: False)(np.stack([0.0 * matrix[0], matrix[1]]))
    np.testing.assert_allclose(zero, [0.0, exact[1]], rtol=0.005)


def test_bounds_by_the_second_line_hold_whatever_is_left_out(monkeypatch):
    """Few sets, some outputs at a time, some sets at a time, or none for want of time."""
    pair = one(near_pairs((2, 5, 3), 1, eta=0.2), 0)
    pairs = pair._replace(errors=tuple(np.stack([e, 2.0 * e, 0.1 * e]) for e in pair.errors))
    values = [largest(pair._replace(errors=es)) for es in zip(*pairs.errors, strict=True)]
    whole = certificate.upper(pairs)
    for name, few in (("AT_ONCE", 1), ("SETS_AT_ONCE", 40), ("WORK", 1e3), ("WORK", 0.0)):
        with monkeypatch.context() as patched:
            patched.setattr(certificate, name, few)
            bounds = certificate.upper(pairs)
        assert np.all(values <= bounds)
        if name != "WORK":
            np.testing.assert_allclose(bounds, whole, rtol=1e-12)
    assert np.all(whole < bounds)  # sets are worth their time
    assert np.all(bounds < np.linalg.norm(certificate.telescoped(pairs), axis=1))


def test_steps_in_parts_are_the_same_steps(monkeypatch):
    pair = one(near_pairs((2, 4, 1), 1, eta=0.1), 0)
    asked = moments.lift(pair, moments.known_bound(pair))
    signs, start = moments.open_signs(asked), np.zeros_like(asked.low)
    bounds = lambda: semidefinite.improve([asked] * 2, (0, 1), [signs] * 2, [start] * 2, 41)
    whole = bounds()
    monkeypatch.setattr(semidefinite, "CHUNK", 0.0)
    for one_by_one, at_once in zip(bounds(), whole, strict=True):
        np.testing.assert_allclose(one_by_one.bound, at_once.bound, rtol=1e-6)
        np.testing.assert_allclose(one_by_one.start, at_once.start, atol=1e-5)


def test_starts_in_groups_are_the_same_starts(monkeypatch):
    pairs = near_pairs((5, 6, 1), 2, eta=0.1)
    whole = ascent.lower(pairs, np.zeros(2), batch=2)[0]  # without a climb
    assert ascent._groups(pairs.weights, 2) == 1
    monkeypatch.setattr(ascent, "AT_ONCE", 6 * 96 * 61 * 36 / 7.9)
    assert ascent._groups(pairs.weights, 2) == 8
    np.testing.assert_allclose(ascent.lower(pairs, np.zeros(2), batch=2)[0], whole, rtol=1e-4)


def test_outputs_that_cannot_be_the_largest_are_left_out(monkeypatch):
    pair = one(near_pairs((2, 4, 1), 1, eta=0.1), 0)
    small = lambda layer, axis: np.concatenate([layer] + [1e-3 * layer] * 60, axis=axis)
    many = Pair(
        (pair.weights[0], small(pair.weights[1], 0)), (pair.errors[0], small(pair.errors[1], 1))
    )
    bounded, objectives = [], []
    known_bound, made = branch_and_bound.known_bound, branch_and_bound.lift
    monkeypatch.setattr(
        branch_and_bound, "known_bound", lambda *args: bounded.append(1) or known_bound(*args)
    )
    monkeypatch.setattr(
        branch_and_bound,
        "lift",
        lambda *args: objectives.append(len(made(*args).objective)) or made(*args),
    )
    *_, last = branch_and_bound.brackets(many, 1e-3, norm="max")
    assert holds(last, largest(pair))
    assert last.upper <= 1.001 * last.lower
    assert (len(bounded), objectives) == (1, [2])


# Tickets.


@pytest.fixture(scope="module")
def made():
    """A target of two inputs, a ticket, and how far the two are apart."""
    layers = near((2, 4, 2))[0]
    ticket = pruning.prune(layers, epsilon=0.5, seed=3)
    pair = verifying.errors(ticket, layers)
    alone = pair._replace(errors=tuple(e[0] for e in pair.errors))
    return layers, ticket, ticket.scale * circle_supremum(alone)


@pytest.mark.parametrize("gap", [None, 1e-3])
def test_a_verdict_is_true_whenever_the_time_is_over(made, gap, monkeypatch):
    layers, ticket, value = made
    for factor in (0.9, 1.1):  # refuted, and true
        claim = archive.Ticket(**vars(ticket) | {"epsilon": factor * value})
        words = set()
        for n in (0, 1, 2, 5, 10, 20, 40, 80, 10**6):
            with monkeypatch.context() as patched:
                clock = Clock(n, patched)
                found = list(verifying.verdicts(claim, layers, lower=True, gap=gap, stop=clock))
                grid = report.coarsest_grid(claim, layers, clock)
            assert clock.late == []
            assert all(v.lower <= value * (1 + 1e-9) <= v.upper * (1 + 2e-9) for v in found)
            words.add(found[-1].word)
            if clock.over:
                assert grid == 0
        assert words <= {"NOT CERTIFIED", "HOLDS" if factor > 1 else "REFUTED"}
        assert len(words) == 2
        assert grid is None or grid > 1


def test_a_narrow_ticket_is_the_narrowest_that_was_certified_in_time(made):
    layers, *_ = made
    widths = []
    for n in (0, 1, 10**6):
        asked = count()
        stop = lambda n=n, asked=asked: next(asked) >= n
        ticket = pruning.prune(layers, epsilon=0.01, seed=3, narrow=True, stop=stop)
        assert verifying.verify(ticket, layers).holds
        widths.append(ticket.widths)
    assert widths[0] >= widths[1] >= widths[2]
    assert widths[0] > widths[2]


def test_a_report_says_that_there_was_no_time_for_a_grid(made):
    layers, ticket, _ = made
    verdict = verifying.verify(ticket, layers)
    told = report.report(ticket, layers, verdict, stop=lambda: True)
    assert "bytes of the target on a grid: not found in the time there was" in told
    assert "keeping nothing errs by at least: 0\n" not in told


# The commands, and signals.


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layers, ticket, _ = made
    np.savez("a.npz", *layers)
    np.savez("b.npz", *near((2, 4, 2))[1])
    (tmp_path / "t.npz").write_bytes(archive.to_bytes(ticket))


def signalled(monkeypatch, module, name):
    """A signal that comes just before a step, and is answered after it."""
    work = getattr(module, name)

    def step(*args, **options):
        signal.raise_signal(signal.SIGINT)
        return work(*args, **options)

    monkeypatch.setattr(module, name, step)


@pytest.mark.parametrize(
    ("module", "name"),
    [(certificate, "_spectral"), (ascent, "_search_all"), (semidefinite, "_advance_some")],
)
@pytest.mark.parametrize("command", ["gap", "verify", "ticket"])
def test_a_signal_at_any_stage_leaves_the_bracket(
    here, made, command, module, name, monkeypatch, capfd
):
    signalled(monkeypatch, module, name)
    argv = {
        "gap": ["gap", "a.npz", "b.npz"],
        "verify": ["verify", "t.npz", "a.npz", "--gap", "1e-3"],
        "ticket": ["ticket", "a.npz", "--epsilon", "0.5", "--out", "new.npz", "--gap", "1e-3"],
    }[command]
    with interrupts.caught():
        assert call(*argv) == 75
    shown, told = said(capfd)
    assert told == "ltjax: interrupted.\n"
    low, high = float(shown["lower bound"]), float(shown["upper bound"])
    assert 0.0 < low < high < np.inf
    if command == "verify":
        assert low <= made[2] * (1 + 1e-5)
        assert made[2] <= high * (1 + 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "norm"),
    [
        ((784, 128, 10), "l2"),
        ((16, 32, 300), "max"),
        ((16, 32, 1000), "max"),
        ((784, 1024, 1024, 10), "l2"),
    ],
)
def test_five_seconds_are_five_seconds(sizes, norm):
    first, second = near(sizes)
    for _ in range(2):  # the second time nothing is compiled
        begun = time.monotonic()
        pair, scale = brackets.pair_of(first, second)
        stop = stops.deadline(5.0)
        found = []
        for bracket in brackets.closing(pair, scale, 0.01, norm=norm, stop=stop):
            found.append((time.monotonic() - begun, bracket))
        took = time.monotonic() - begun
    assert took < 5.0 + 3.0
    assert found[0][0] < 1.0
    x = np.random.default_rng(0).normal(size=(100, sizes[0]))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    apart = forward(second, x) - forward(first, x)
    reached = np.linalg.norm(apart, 2 if norm == "l2" else np.inf, axis=1).max()
    assert reached <= found[-1][1].upper
    assert found[-1][1].upper < 0.9 * found[0][1].upper


@pytest.mark.parametrize("times", [0, 1, 3])
def test_no_steps_begin_after_the_time(monkeypatch, times):
    """A large relaxation takes its steps in parts, here of one step each."""
    begun = []
    monkeypatch.setattr(semidefinite, "CHUNK", 0.0)
    state = np.zeros(1), np.float32(1.0)
    monkeypatch.setattr(
        semidefinite, "_advance_some", lambda *_: begun.append(1) or (state, 0.0, 0.0)
    )
    problem, schedule = (None, np.zeros((1, 3, 2))), (np.float32(1.0), np.float32(0.5), 8)
    found = semidefinite._advance_all(
        problem, np.zeros(1), (), schedule, stop=lambda: len(begun) >= times
    )
    assert found is None
    assert len(begun) == times
