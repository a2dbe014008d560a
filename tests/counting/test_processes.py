"""Several processes count what one counts; whichever is lost, none hangs and nothing is."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.experimental import multihost_utils
from test_cli import SMALL, call, counts, shell, unusable

import ltjax
from ltjax.counting import processes, records
from ltjax.counting.tally import Batch
from ltjax.errors import LostProcessError

SECONDS = 60.0  # within which a handful of processes starts, on a busy machine
NEVER = ["--trials", "4000000000"]  # what is stopped before its end
LATER = "the same command goes on from its record."


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def start(number, *argv):
    """One command in several processes of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    # A proxy that leads nowhere: the processes must speak to each other directly.
    proxies = {"http_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    flags = [["--distributed", where, "--process", f"{i}/{number}"] for i in range(1, number + 1)]
    command = [sys.executable, "-m", "ltjax.cli.program", *argv]
    return [subprocess.Popen([*command, *some], env=shell(**proxies), **pipes) for some in flags]


def ended(team, seconds=SECONDS):
    """Exit code, standard output and standard error of each; a process that hangs fails."""
    last = time.monotonic() + seconds
    try:
        said = [p.communicate(timeout=max(last - time.monotonic(), 0.1)) for p in team]
    finally:
        for process in team:
            process.kill()
            process.wait()
    return [(process.returncode, *text) for process, text in zip(team, said, strict=True)]


def under_way(team, path, batches=2):
    """Wait until the record holds some batches."""
    last = time.monotonic() + SECONDS
    while not (Path(path).exists() and Path(path).read_bytes().count(b'"batch"') >= batches):
        assert all(process.poll() is None for process in team), ended(team)
        assert time.monotonic() < last, ended(team)
        time.sleep(0.02)


# Equal to one process.


def assert_as_one(capfd, number, *argv):
    """Several processes leave the record and say the words of one."""
    (code, table, told), *others = ended(start(number, *argv, "--out", "a.jsonl"))
    assert (code, told) == (0, "")
    assert others == [(0, "", "")] * (number - 1)
    assert call(*argv, "--out", "b.jsonl") == 0
    assert table.replace("a.jsonl", "b.jsonl") == capfd.readouterr().out
    assert counts("a.jsonl") == counts("b.jsonl")
    several, one = records.load(["a.jsonl"]), records.load(["b.jsonl"])
    assert several.ranges == one.ranges
    assert several.settled == one.settled
    assert [e["processes"] for e in several.environments] == [number]
    assert [e["processes"] for e in one.environments] == [1]
    return several


def test_two_processes_are_as_one(capfd):
    assert assert_as_one(capfd, 2, *SMALL, "--trials", "30011").trials == 30011


@pytest.mark.slow
def test_four_processes_are_as_one(capfd):
    assert assert_as_one(capfd, 4, *SMALL, "--trials", "30011").trials == 30011


@pytest.mark.slow
def test_a_rule_stops_two_processes_where_it_stops_one(capfd):
    line = [*SMALL, "--until-failures", "5000", *NEVER]
    # 5000 failures at a success of 0.063 take 5,338 trials; the next look is at 5,632.
    assert 5000 < assert_as_one(capfd, 2, *line).trials < 6500


@pytest.mark.slow
def test_two_processes_stop_together_after_some_seconds():
    first, second = ended(
        start(2, *SMALL, *NEVER, "--max-seconds", "2", "--out", "a.jsonl"), 2 * SECONDS
    )
    assert (first[0], first[2]) == (0, "")
    assert second == (0, "", "")
    ((begin, end),) = records.load(["a.jsonl"]).ranges
    assert begin == 0
    assert end > 0


@pytest.mark.slow
def test_a_rehearsal_of_two_processes_is_told_once(here):
    (code, said, told), other = ended(start(2, *SMALL, "--dry-run", "--out", "a.jsonl"))
    assert (code, told) == (0, "")
    assert "20,000 to run" in said
    assert f"devices: {len(os.sched_getaffinity(0))} x cpu" in said  # every core of each
    assert other == (0, "", "")
    assert list(here.iterdir()) == []


# Losses.


def assert_completed(capfd):
    """One process completes the record to the counts of a run that nothing has stopped."""
    ((begin, end),) = records.load(["a.jsonl"]).ranges
    assert begin == 0
    capfd.readouterr()
    line = [*SMALL, "--trials", str(end + 1000)]
    assert call(*line, "--out", "a.jsonl") == 0
    assert "torn" not in capfd.readouterr().err
    assert call(*line, "--out", "b.jsonl") == 0
    assert counts("a.jsonl") == counts("b.jsonl")


@pytest.fixture
def pair():
    """Two processes in the middle of a long run."""
    team = start(2, *SMALL, *NEVER, "--out", "a.jsonl")
    under_way(team, "a.jsonl")
    yield team
    ended(team)


@pytest.mark.slow
def test_a_worker_killed_ends_the_run_and_loses_nothing(pair, capfd):
    pair[1].kill()
    (code, said, told), (killed, *_) = ended(pair, 20)
    assert (code, said, killed) == (75, "", -signal.SIGKILL)
    assert re.fullmatch(f"ltjax: another process of the run was lost: .*; {LATER}\n", told)
    assert_completed(capfd)


def test_the_first_process_killed_ends_the_run_and_loses_nothing(pair, capfd):
    pair[0].kill()
    (killed, *_), (code, said, told) = ended(pair, 20)
    assert (said, killed) == ("", -signal.SIGKILL)
    # Whichever notices first: the exchange that failed, or jax, which aborts without its service.
    assert code in (75, -signal.SIGABRT), told
    assert_completed(capfd)


@pytest.mark.parametrize("notified", [pytest.param(n, marks=pytest.mark.slow) for n in range(2)])
def test_a_notice_of_preemption_ends_all_in_order(pair, capfd, notified):
    pair[notified].send_signal(signal.SIGTERM)
    told = f"ltjax: interrupted; {LATER}\n"
    assert ended(pair, 20) == [(75, "", told)] * 2
    assert_completed(capfd)


# What the first process refuses.


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        ("1", "holds another problem: .* choose another --out"),
        pytest.param("0", "is being written by another process", marks=pytest.mark.slow),
    ],
)
def test_a_record_that_is_refused_ends_all(seed, message):
    problem = ltjax.neuron(2, (0.5,), (8, 20), "worst", ("blocks",), ("tight",), seed=int(seed))
    with records.Log("a.jsonl", problem, 10, {}) as writer:
        before = Path("a.jsonl").read_bytes()
        if seed == "1":
            writer.close()
        (code, said, told), (other, printed, _) = ended(start(2, *SMALL, "--out", "a.jsonl"))
    assert (code, said) == (2, "")
    assert re.fullmatch(f"ltjax: .*{message}.*\n", told)
    assert (printed, other != 0) == ("", True)
    assert Path("a.jsonl").read_bytes() == before


AT = ["--distributed", "127.0.0.1:9999"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--distributed", "nonsense"], "distributed must be auto or HOST:PORT, got nonsense"),
        (["--distributed", "127.0.0.1"], "distributed must be auto or HOST:PORT, got 127.0.0.1"),
        (["--distributed", ":9999"], "distributed must be auto or HOST:PORT, got :9999"),
        (["--distributed", "host:"], "distributed must be auto or HOST:PORT, got host:"),
        (["--distributed", "host:65536"], "distributed must be auto or HOST:PORT"),
        (["--process", "1/2"], "process must have --distributed beside it, got 1/2"),
        (AT, "process must be k/K with 1 <= k <= K, as 2/4, got None"),
        *[
            ([*AT, "--process", text], f"process must be k/K .* got {text}")
            for text in ("5/4", "0/2", "2", "a/b", "1/-2", "1/2/3", "")
        ],
        (
            ["--distributed", "auto", "--process", "1/2"],
            "process must be left out where distributed is auto, got 1/2",
        ),
    ],
)
def test_places_that_are_none(here, capfd, monkeypatch, flags, message):
    monkeypatch.setattr(os, "_exit", sys.exit)  # by which a process of several ends
    assert re.search(message, unusable(here, capfd, *SMALL, "--out", "a.jsonl", *flags))


def test_no_cluster_to_be_found(here):
    command = [
        sys.executable,
        "-m",
        "ltjax.cli.program",
        *SMALL,
        "--distributed",
        "auto",
        "--out",
        "a",
    ]
    done = subprocess.run(command, env=shell(), capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("ltjax: distributed must find .*, got auto and none .*\n", done.stderr)
    assert list(here.iterdir()) == []


# The arithmetic, without a second process.


def member(index, number):
    """A place in a team that nobody has joined."""
    team = object.__new__(processes.Team)
    team.index, team.number, team._pieces = index, number, 0
    return team


@given(st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(1, 10**6))
def test_shares_partition_a_piece(number, first, length):
    stop = min(first + length, 2**32)
    shares = [member(i, number).share((first, stop)) for i in range(number)]
    assert [begin for begin, _ in shares] == [first, *(end for _, end in shares[:-1])]
    assert shares[-1][1] == stop
    lengths = [end - begin for begin, end in shares]
    assert max(lengths) - min(lengths) <= 1


def test_a_total_is_the_sum_over_all(monkeypatch):
    shape, billion = (2, 3, 2), 10**9
    tables = np.arange(3 * 12).reshape(3, *shape) * 20_000_000
    batches = [Batch(5, 50, t, billion - t, i, 10 * i, 0.5) for i, t in enumerate(tables)]
    sent = []
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda w: sent.append(w) or w[None])
    for i, batch in enumerate(batches):
        member(i, 3).total(batch)
    # What every process hears: the words of all. The sums are past 32 bits.
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda _: np.stack(sent))
    found = member(1, 3).total(batches[1])
    np.testing.assert_array_equal(found.certified, tables.sum(axis=0))
    np.testing.assert_array_equal(found.refuted, 3 * billion - tables.sum(axis=0))
    assert found.refuted.max() > 2**31
    assert (found.start, found.stop, found.invalid, found.settled) == (5, 50, 3, 30)


@pytest.fixture
def exchanged(monkeypatch):
    """One process hears itself; the numbers of the exchanges at which preemption was asked for."""
    asked = []
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", np.array)
    monkeypatch.setattr(
        multihost_utils, "reached_preemption_sync_point", lambda n: asked.append(n) or n == 3
    )
    return asked


def test_pieces_travel_whole(exchanged):
    team = member(0, 2)
    for piece in [(0, 1), (2**31 - 7, 2**31 + 7), (2**32 - 5, 2**32)]:
        assert team.agree(piece) == piece
    assert exchanged == [0, 1, 2]
    with pytest.raises(KeyboardInterrupt):
        team.agree((0, 1))
    assert team.agree(None) is None


def test_a_failed_exchange_is_a_lost_process(monkeypatch):
    def lost(*_):
        raise ValueError("UNKNOWN: Connection closed by peer\nand a long trace")

    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", lost)
    monkeypatch.setattr(multihost_utils, "process_allgather", lost)
    zeros, words = np.zeros((1, 1, 1), np.int64), "another process of the run was lost: .* peer$"
    for exchange in (
        lambda: member(1, 2).agree(None),
        lambda: member(0, 2).total(Batch(0, 1, zeros, zeros, 0, 0, 0.0)),
    ):
        with pytest.raises(LostProcessError, match=words) as caught:
            exchange()
        assert "\n" not in str(caught.value)


def test_one_process_asks_nobody():
    alone, zeros = processes.Alone(), np.zeros((1, 1, 1), np.int64)
    batch = Batch(3, 9, zeros, zeros, 0, 0, 0.0)
    assert (alone.agree((3, 9)), alone.agree(None), alone.share((3, 9))) == ((3, 9), None, (3, 9))
    assert alone.total(batch) is batch
    assert (alone.leads, member(0, 2).leads, member(1, 2).leads) == (True, True, False)


def test_what_a_library_prints_is_no_result(capfd):
    with processes._silent_stdout():
        os.write(1, b"[Gloo] Rank 0 is connected\n")
    print("the table")
    assert capfd.readouterr().out == "the table\n"
