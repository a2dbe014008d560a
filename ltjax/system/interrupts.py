"""Signals that ask the program to stop: a mark that the work reads, so that none is ever lost.

Python runs a signal's handler wherever the main thread happens to be. Where that is a callback of
the garbage collector or a `__del__`, an exception raised by the handler is printed and dropped, and
the work runs on. So the first SIGINT or SIGTERM leaves a mark, and whoever works asks for it:

    with interrupts.caught():           # the command line does this; a library user need not
        for step in steps:
            interrupts.check()          # raises KeyboardInterrupt once a signal has come
            ...
    closing(..., stop=interrupts.asked) # or: end well, with the best that is there

Who ends well on `asked` calls `check` once its results are told: the run was interrupted. A mark
that nobody reads within `GRACE` seconds becomes a KeyboardInterrupt, again and again until it is
heard. A second signal is one at once.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGINT, signal.SIGTERM)
GRACE = 1.0  # seconds in which work that asks at all has asked
PAUSE = 0.05  # seconds at most between two questions while something is waited for

_marked = False
_timer = 0.0, 0.0  # what the caller's own alarm clock had left


@contextmanager
def caught() -> Iterator[None]:
    """Within, SIGINT and SIGTERM leave the mark; afterwards handlers and timer are as before.

    A signal that is ignored stays ignored, as in the background of a shell or under nohup. Outside
    the main thread, which alone may handle signals, nothing is changed.
    """
    global _marked
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _marked = False
    before = {number: signal.getsignal(number) for number in (*STOPPING, signal.SIGALRM)}
    for number in STOPPING:
        # None: not installed from Python, and so not to be put back.
        if before[number] not in (signal.SIG_IGN, None):
            signal.signal(number, _mark)
    try:
        yield
    finally:
        if _marked:
            signal.setitimer(signal.ITIMER_REAL, *_timer)
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        _marked = False


def asked() -> bool:
    """Whether a signal has asked to stop since `caught` was entered; who asks has heard it."""
    if _marked:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
    return _marked


def check() -> None:
    """`KeyboardInterrupt` once a signal has asked to stop."""
    if asked():
        raise KeyboardInterrupt


def wait(done: Callable[[], bool]) -> None:
    """Return once `done()`; `KeyboardInterrupt` where a signal asks to stop before.

    Libraries that wait in compiled code let no handler run meanwhile.
    """
    begun = time.monotonic()
    while not done():
        check()
        time.sleep(min((time.monotonic() - begun) / 32, PAUSE))


def _mark(number: int, frame: object) -> None:
    global _marked, _timer
    if _marked:
        raise KeyboardInterrupt
    _marked = True
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    _timer = signal.setitimer(signal.ITIMER_REAL, GRACE, GRACE)
