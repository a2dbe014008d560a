"""The standard streams as a shell may give them: closed, full, left by the reader, of few letters.

Where a stream is closed, the next file that is opened gets its number, and what a library writes
straight to standard output or error would end in it. So a closed stream is opened, on nothing.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Within, all three streams are there and none fails on a letter that it cannot encode.

    Afterwards `sys.stdout` and `sys.stderr` are as before.
    """
    _fill()
    before = sys.stdout, sys.stderr
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    changed = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    errors = [stream.errors for stream in changed]
    try:
        for stream in changed:
            stream.reconfigure(errors="backslashreplace")
        yield
    finally:
        for stream, known in zip(changed, errors, strict=True):
            with contextlib.suppress(OSError):
                stream.reconfigure(errors=known)  # and flushes
        sys.stdout, sys.stderr = before


def _fill() -> None:
    """Open what is closed of the three; in this order each gets the lowest free number, its own."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def printable(name: str) -> str:
    """The name of a file as text that can be encoded: a byte that is none in UTF-8 as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def silence(stream: Any) -> None:
    """Point a stream that fails at nothing: what it holds is let go, here and at exit."""
    with contextlib.suppress(io.UnsupportedOperation, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def dispensable(stream: Any) -> Iterator[None]:
    """What is written to a stream within may be lost: a failure silences it from then on."""
    try:
        yield
        stream.flush()
    except OSError:
        silence(stream)


def is_one(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to where output goes: /dev/stdout, or the file a shell sends it to."""
    try:
        there = os.stat(path)
    except (OSError, ValueError):
        return False
    return _by_number(Path(path)) or any(os.path.samestat(there, os.fstat(n)) for n in (1, 2))


def _by_number(path: Path) -> bool:
    """Whether a path, or a link that it follows, names an open file by its number."""
    for _ in range(40):  # links, as the system itself allows
        folder = os.path.realpath(path.parent)
        if folder == "/dev/fd" or (folder.startswith("/proc/") and folder.endswith("/fd")):
            return True
        if not path.is_symlink():
            return False
        path = Path(folder, os.readlink(path))
    return False
