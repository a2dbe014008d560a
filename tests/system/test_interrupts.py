"""Signals: none is lost, the work ends soon, and the caller's handlers come back."""

import gc
import os
import signal
import threading
import time

import pytest

from ltjax.system import interrupts


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


class Interrupting:
    """Its end is a signal."""

    def __del__(self):
        send()


def in_a_collection():
    callback = lambda phase, info: phase == "start" and send()
    gc.callbacks.append(callback)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(callback)


@pytest.fixture(autouse=True)
def handlers():
    """Signals as a shell gives them, and afterwards as before."""
    before = {n: signal.getsignal(n) for n in (*interrupts.STOPPING, signal.SIGALRM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def now():
    return [signal.getsignal(n) for n in (*interrupts.STOPPING, signal.SIGALRM)]


@pytest.mark.parametrize(
    "where", [send, lambda: send(signal.SIGINT), Interrupting, in_a_collection]
)
def test_no_signal_is_lost(where):
    before = now()
    with interrupts.caught():
        assert not interrupts.asked()
        interrupts.check()
        where()
        assert interrupts.asked()
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert now() == before
    assert not interrupts.asked()
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_second_signal_acts_at_once():
    with interrupts.caught():
        send()
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_mark_that_nobody_reads_is_raised_until_it_is_heard(monkeypatch):
    monkeypatch.setattr(interrupts, "GRACE", 0.02)
    with interrupts.caught():
        send()
        for _ in range(2):  # the first may have been lost
            with pytest.raises(KeyboardInterrupt):
                time.sleep(5)
        assert interrupts.asked()
        time.sleep(0.05)


def test_the_alarm_clock_of_the_caller_goes_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, 30.0)
    try:
        with interrupts.caught():
            send()
        assert 0.0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 30.0
        signal.raise_signal(signal.SIGALRM)
        assert rung == [True]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("number", interrupts.STOPPING)
def test_what_is_ignored_stays_ignored(number):
    signal.signal(number, signal.SIG_IGN)
    with interrupts.caught():
        send(number)
        assert not interrupts.asked()
    assert signal.getsignal(number) is signal.SIG_IGN


def test_another_thread_changes_no_handler():
    seen = []

    def work():
        with interrupts.caught():
            seen.append(now() == before)

    before = now()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_waiting_ends_with_the_work_or_with_a_signal():
    end = time.monotonic() + 0.05
    with interrupts.caught():
        interrupts.wait(lambda: time.monotonic() >= end)
        assert time.monotonic() < end + 1.0
        send()
        with pytest.raises(KeyboardInterrupt):
            interrupts.wait(lambda: False)
