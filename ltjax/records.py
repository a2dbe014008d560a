"""Counts on disk: append-only lines of JSON that survive a kill.

A record is one file: a header that holds the problem, then one line a batch. Each batch names the
trials it counts, so resuming is running what is missing. docs/record-format.md is the reference.

Only here are results read and written. One process writes a record at a time; any number
may read it meanwhile.
"""

import json
import os
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ltjax.files import OPENING, FilePath, check_regular, open_locked, sync_folder, write_atomic
from ltjax.problem import InputError, Problem
from ltjax.tally import Batch, Ledger, Memory, Tally, check_batch, to_csv

__all__ = ["Batch", "Log", "Tally", "load", "to_csv", "write_atomic"]

FORMAT = "ltjax-counts/1"
MAX_TRIALS = 2**53  # every reader of JSON holds integers up to here exactly


class Log(Memory):
    """One record, open for appending and locked. A context manager.

    Opening creates the file and its folder, or drops the torn end that a kill in mid-write has
    left, `dropped_bytes` long. It writes nothing else to a record that exists, and nothing at all
    to a file that it refuses.

    path: of the record.
    planned: the trials to run are 0, ..., `planned - 1`. A plan never falls: where the record holds
        a larger one, that one stands.
    environment: versions, platform, device kind: what repeating the run takes. JSON.

    Raises `InputError` where the file is no record, is damaged, holds another problem, is being
    written by another process or cannot be opened; `OSError` where a write fails.
    """

    def __init__(self, path: FilePath, problem: Problem, planned: int, environment: dict) -> None:
        self.path = Path(path)
        self._planned = _check_planned(planned)
        self._environment = json.loads(_dump(environment))
        self._ledger = Ledger(problem)
        self._file = open_locked(self.path)
        try:
            self.dropped_bytes = self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, batch: Batch) -> None:
        """Record a batch: on disk when this returns, not in the file when it raises."""
        planned = max(self._planned, self._ledger.planned)
        check_batch(batch, self._ledger.problem.shape, planned)
        if (other := self._ledger.overlap(batch)) is not None:
            raise InputError(f"trials {batch.start} to {batch.stop} are counted in {other.where}.")
        # With the first batch and not before: a run that finds nothing to do writes nothing.
        if planned > self._ledger.planned or self._environment != self._ledger.environment:
            self._write({"kind": "plan", "planned": planned, "environment": self._environment})
            self._ledger.extend(planned, self._environment)
        tables = {"certified": batch.certified.tolist(), "refuted": batch.refuted.tolist()}
        checksum = self._write({"kind": "batch", **batch._asdict(), **tables})
        self._ledger.add(batch, checksum, str(self.path))

    def close(self) -> None:
        """Give up the lock; again is harmless."""
        self._file.close()

    def _recover(self) -> int:
        """Read what is there, drop a torn end, begin an empty file; return the bytes dropped."""
        problem = self._ledger.problem
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as file:
            there = _problem_of(self.path, file)
            if there is not None and there != problem:
                name, theirs, ours = _difference(there, problem)
                raise InputError(
                    f"{self.path} holds another problem: {name} is {theirs} there and {ours} here; "
                    "choose another --out."
                )
            whole = _read(self._ledger, self.path, file)
        dropped = os.fstat(self._file.fileno()).st_size - whole
        if dropped:
            self._file.truncate(whole)
            os.fsync(self._file.fileno())
        if there is None:
            identity = {"problem": problem.to_json(), "digest": problem.digest()}
            plan = {"environment": self._environment, "planned": self._planned}
            self._write({"kind": "header", "format": FORMAT, **identity, **plan})
            sync_folder(self.path.parent)
            self._ledger.begin(self._planned, self._environment)
        return dropped

    def _write(self, row: dict) -> int:
        """Put one line on disk, or leave the file as it was; return the checksum."""
        line, checksum = _seal(_dump(row).encode())
        size = os.fstat(self._file.fileno()).st_size
        try:
            left = line
            while left:  # one turn, unless the disk is full: then the next one says so
                left = left[self._file.write(left) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        return checksum


def load(paths: Sequence[FilePath]) -> Tally:
    """Add up the records in `paths`, all of one problem.

    A line that several hold counts once. A torn end is passed over: it may be a line that is being
    written. `InputError` where a file is no record, is damaged, holds another problem than the
    first, or counts trials that another line counts too.
    """
    if not paths:
        raise InputError("at least one record must be named, got none.")
    ledger = None
    for path in map(Path, paths):
        try:
            check_regular(path)
            with path.open("rb") as file:
                there = _problem_of(path, file)
                if there is None:
                    raise InputError(f"{path} has no header yet: nothing is recorded in it.")
                ledger = ledger or Ledger(there)
                if there != ledger.problem:
                    name, *values = _difference(there, ledger.problem)
                    raise InputError(
                        f"{path} and {paths[0]} hold different problems: "
                        f"{name} is {' and '.join(values)}."
                    )
                _read(ledger, path, file)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}.") from None
    assert ledger is not None
    return ledger.tally()


def _dump(row: dict) -> str:
    return json.dumps(row, separators=(",", ":"), allow_nan=False)


def _seal(body: bytes) -> tuple[bytes, int]:
    """The line for a JSON object: its checksum, CRC-32 of `body`, becomes the last field."""
    checksum = zlib.crc32(body)
    return b'%s,"crc":%d}\n' % (body[:-1], checksum), checksum


def _unseal(line: bytes) -> tuple[dict, int]:
    """The object in a whole line, and its checksum; `InputError` where a byte is not as written."""
    body = line.rpartition(b',"crc":')[0] + b"}"
    sealed, checksum = _seal(body)
    if sealed != line:
        raise InputError("the line is damaged, its checksum does not fit.")
    return json.loads(body), checksum


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turn whatever a line can do to its reader into one `InputError` that says where."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except (KeyError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{where} is no line of a record: {error!r}.") from None


def _problem_of(path: Path, file: BinaryIO) -> Problem | None:
    """The problem in the header; None where that is not, or not wholly, written.

    `InputError` where the file, open at its start and left there, is no record of this format.
    """
    line = file.readline()
    file.seek(0)
    if not (line.startswith(OPENING) or OPENING.startswith(line)):
        raise InputError(f"{path} is not a record of ltjax: line 1 is no header.")
    if not line.endswith(b"\n"):
        return None
    with _reading(f"{path} line 1"):
        row, _ = _unseal(line)
        if row["format"] != FORMAT:
            raise InputError(f"the format is {row['format']}, only {FORMAT} can be read.")
        problem = Problem.from_json(row["problem"])
        if row["digest"] != problem.digest():
            raise InputError(f"digest {row['digest']} is not its problem's, {problem.digest()}.")
    return problem


def _read(ledger: Ledger, path: Path, file: BinaryIO) -> int:
    """Add the whole lines of a record to `ledger`; return how many bytes they are."""
    size = 0
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break
        where = f"{path} line {number}"
        with _reading(where):
            row, checksum = _unseal(line)
            kind = row["kind"]
            if kind == "batch":
                batch = _parse_batch(row)
                check_batch(batch, ledger.problem.shape, ledger.planned)
                ledger.add(batch, checksum, where)
            elif kind == ("header" if number == 1 else "plan"):
                if not isinstance(row["environment"], dict):
                    raise InputError(f"environment must be an object, got {row['environment']!r}.")
                turn = ledger.begin if number == 1 else ledger.extend
                turn(_check_planned(row["planned"]), row["environment"])
            else:
                raise InputError(f"kind must be batch or plan, got {kind}.")
        size += len(line)
    return size


def _parse_batch(row: dict) -> Batch:
    for name in ("start", "stop", "invalid", "settled"):
        if type(row[name]) is not int:
            raise InputError(f"{name} must be an integer, got {row[name]!r}.")
    tables = {name: np.array(row[name]) for name in ("certified", "refuted")}
    return Batch(**{name: row[name] for name in Batch._fields} | tables)


def _check_planned(planned: int) -> int:
    if type(planned) is not int or not 1 <= planned <= MAX_TRIALS:
        raise InputError(f"planned must be an integer from 1 to {MAX_TRIALS}, got {planned}.")
    return planned


def _difference(one: Problem, other: Problem) -> tuple[str, str, str]:
    """The first entry in which two problems differ, and its two values."""
    left, right = dict(_entries(one.to_json())), dict(_entries(other.to_json()))
    name = next(name for name in left | right if left.get(name) != right.get(name))
    show = lambda value: textwrap.shorten(json.dumps(value), 60, placeholder=" ...")
    return name, show(left.get(name)), show(right.get(name))


def _entries(data: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in data.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
