"""When to leave work that gets better with time: a question that the work asks between its steps.

Whoever works asks before every step of more than some tens of milliseconds, and begins none once
the answer is yes; what it then returns is valid, and only wider than it might have been.
"""

import time
from collections.abc import Callable

Stop = Callable[[], bool]  # no arguments; once true, true for ever


def never() -> bool:
    """Work to the end."""
    return False


def either(*stops: Stop) -> Stop:
    """True as soon as one of them is: a deadline, or a signal."""
    return lambda: any(stop() for stop in stops)


def deadline(seconds: float) -> Callable[[], bool]:
    """A question whether so many seconds have passed since now."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end
