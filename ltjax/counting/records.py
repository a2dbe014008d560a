"""Counts on disk: append-only lines of JSON that survive a kill.

A record is one file: a header that holds the problem, then one line a batch. Each batch names the
trials it counts, so resuming is running what is missing, and merging is appending it.
docs/record-format.md is the reference.

Only here are results read and written. One process writes a record at a time; any number
may read it meanwhile.
"""

import codecs
import json
import os
import textwrap
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ltjax.counting.tally import Batch, Ledger, Memory, Plan, Tally, check_batch
from ltjax.errors import InputError
from ltjax.problem.problem import Problem
from ltjax.system.files import (
    OPENING,
    FilePath,
    check_regular,
    open_locked,
    sync_folder,
)

FORMAT = "ltjax-counts/1"
MARKS = codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
MAX_TRIALS = 2**53  # every reader of JSON holds integers up to here exactly


class Log(Memory):
    """One record, open for appending and locked. A context manager.

    Opening creates the file and its folder, or drops the torn end that a kill in mid-write has
    left, `dropped_bytes` long. It writes nothing else to a record that exists, and nothing at all
    to a file that it refuses.

    path: of the record.
    planned: the trials to run are 0, ..., `planned - 1`; fewer or more than the record was begun
        with, it is written down before the first batch.
    environment, until: as in `Plan`.

    Raises `InputError` where the file is no record, is damaged, holds another problem, is being
    written by another process or cannot be opened; `OSError` where a write fails.
    """

    def __init__(
        self,
        path: FilePath,
        problem: Problem,
        planned: int,
        environment: dict,
        until: dict | None = None,
    ) -> None:
        self.path = Path(path)
        # As it will be read: equal plans are the same plan.
        self._plan = _parse_plan(json.loads(_dump(_row(Plan(planned, environment, until)))))
        self._ledger = Ledger(problem)
        self._file = open_locked(self.path)
        try:
            self.dropped_bytes = self._recover()
        except BaseException:
            self.close()
            raise

    def append(self, batch: Batch) -> None:
        """Record a batch: on disk when this returns, not in the file when it raises."""
        check_batch(batch, self._ledger.problem.shape, self._plan.planned)
        if (other := self._ledger.overlap(batch)) is not None:
            raise InputError(f"trials {batch.start} to {batch.stop} are counted in {other.where}.")
        # With the first batch and not before: a run that finds nothing to do writes nothing.
        if self._plan != self._ledger.plan:
            self._write(_plan_line(self._plan))
            self._ledger.turn(self._plan)
        tables = {"certified": batch.certified.tolist(), "refuted": batch.refuted.tolist()}
        line, checksum = _line({"kind": "batch", **batch._asdict(), **tables})
        self._write(line)
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
            whole = sum(len(line) for _, line, _ in _read(self._ledger, self.path, file))
        dropped = os.fstat(self._file.fileno()).st_size - whole
        if dropped:
            self._file.truncate(whole)
            os.fsync(self._file.fileno())
        if there is None:
            identity = {"problem": problem.to_json(), "digest": problem.digest()}
            plan = {"environment": self._plan.environment} | _row(self._plan)
            self._write(_line({"kind": "header", "format": FORMAT, **identity, **plan})[0])
            sync_folder(self.path.parent)
            self._ledger.turn(self._plan)
        return dropped

    def _take(self, paths: Sequence[FilePath]) -> None:
        """Append every line of `paths` that changes the sum, all in one write."""
        lines, in_force = [], self._ledger.plan
        for path in map(Path, paths):
            with _opened(path) as (_, file):
                for kind, line, changes in _read(self._ledger, path, file):
                    if changes and self._ledger.plan != in_force:
                        in_force = self._ledger.plan
                        lines.append(_plan_line(in_force))
                    if changes and kind == "batch":
                        lines.append(line)
        self._write(b"".join(lines))

    def _write(self, lines: bytes) -> None:
        """Put whole lines on disk, or leave the file as it was."""
        size = os.fstat(self._file.fileno()).st_size
        try:
            while lines:  # one turn, unless the disk is full: then the next one says so
                lines = lines[self._file.write(lines) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(size)
            raise OSError(error.errno, error.strerror, str(self.path)) from error


def load(paths: Sequence[FilePath]) -> Tally:
    """Add up the records in `paths`, all of one problem.

    A line that several hold counts once. A torn end is passed over: it may be a line that is being
    written. `InputError` where a file is no record, is damaged, holds another problem than the
    first, or counts trials that another line counts too.
    """
    return _add_up(paths).tally()


def merge(paths: Sequence[FilePath], out: FilePath) -> Tally:
    """Append to `out` what the records in `paths` hold beyond it, and add up the whole.

    The lines are copied as they are, each under the plan it was run by, so `load([out])` is then
    what `load([out, *paths])` was. Again changes nothing, and completes what a kill has cut short.

    paths: of one problem; `out` may be among them.
    out: a record of this problem, or a new one.

    Raises what `load` and `Log` raise, before the first line is appended.
    """
    ledger = _add_up(paths)  # what cannot be merged creates no file
    log = Log(out, ledger.problem, *ledger.plans[0])
    with log:
        log._take(paths)
    return log.tally


def _add_up(paths: Sequence[FilePath]) -> Ledger:
    if not paths:
        raise InputError("at least one record must be named, got none.")
    ledger = None
    for path in map(Path, paths):
        with _opened(path) as (problem, file):
            ledger = ledger or Ledger(problem)
            if problem != ledger.problem:
                name, *values = _difference(problem, ledger.problem)
                raise InputError(
                    f"{path} and {paths[0]} hold different problems: "
                    f"{name} is {' and '.join(values)}."
                )
            for _ in _read(ledger, path, file):
                pass
    assert ledger is not None
    return ledger


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Problem, BinaryIO]]:
    """The problem of a record, and the file at its start."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            problem = _problem_of(path, file)
            if problem is None:
                raise InputError(f"{path} has no header yet: nothing is recorded in it.")
            yield problem, file
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from None


def _dump(row: dict) -> str:
    return json.dumps(row, separators=(",", ":"), allow_nan=False)


def _line(row: dict) -> tuple[bytes, int]:
    return _seal(_dump(row).encode())


def _plan_line(plan: Plan) -> bytes:
    return _line({"kind": "plan"} | _row(plan))[0]


def _row(plan: Plan) -> dict:
    """The fields of a plan; a rule only where there is one."""
    row = plan._asdict()
    return row if plan.until is not None else {k: v for k, v in row.items() if k != "until"}


def _seal(body: bytes) -> tuple[bytes, int]:
    """The line for a JSON object: its checksum, CRC-32 of `body`, becomes the last field."""
    checksum = zlib.crc32(body)
    return b'%s,"crc":%d}\n' % (body[:-1], checksum), checksum


def _unseal(line: bytes) -> tuple[dict, int]:
    """The object in a whole line, and its checksum; `InputError` where a byte is not as written."""
    body = line.rpartition(b',"crc":')[0] + b"}"
    sealed, checksum = _seal(body)
    if line.endswith(b"\r\n") and sealed == line[:-2] + b"\n":
        raise InputError(
            "the line ends are those of Windows, to which Git or an editor may have changed them; "
            "sed -i 's/\\r$//' FILE changes them back."
        )
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
    if line.startswith(MARKS):
        raise InputError(
            f"{path} begins with a byte order mark, which an editor or a shell has put there; "
            "saved again as UTF-8 without one, it is a record."
        )
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


def _read(ledger: Ledger, path: Path, file: BinaryIO) -> Iterator[tuple[str, bytes, bool]]:
    """Add a record to `ledger`; yield each whole line: kind, bytes, whether it changed the sum."""
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            return
        where = f"{path} line {number}"
        with _reading(where):
            row, checksum = _unseal(line)
            kind = row["kind"]
            if kind == "batch":
                batch = _parse_batch(row)
                check_batch(batch, ledger.problem.shape, ledger.plan.planned)
                changes = ledger.add(batch, checksum, where)
            elif kind == ("header" if number == 1 else "plan"):
                changes = ledger.turn(_parse_plan(row))
            else:
                raise InputError(f"kind must be batch or plan, got {kind}.")
        yield kind, line, changes


def _parse_plan(row: dict) -> Plan:
    planned, environment, until = row["planned"], row["environment"], row.get("until")
    if type(planned) is not int or not 1 <= planned <= MAX_TRIALS:
        raise InputError(f"planned must be an integer from 1 to {MAX_TRIALS}, got {planned}.")
    if not isinstance(environment, dict):
        raise InputError(f"environment must be an object, got {environment!r}.")
    if "until" in row and not _is_rule(until):
        raise InputError(f"until must be an object of numbers and their cell, got {until!r}.")
    plan = Plan(planned, environment, until)
    _dump(_row(plan))  # what is read can be written: NaN is no JSON
    return plan


def _is_rule(until: object) -> bool:
    if not isinstance(until, dict):
        return False
    cell = until.get("cell", [None] * 3)
    numbers = [value for name, value in until.items() if name != "cell"]
    is_cell = isinstance(cell, list) and len(cell) == 3
    return bool(numbers) and is_cell and all(isinstance(n, int | float) for n in numbers)


def _parse_batch(row: dict) -> Batch:
    for name in ("start", "stop", "invalid", "settled"):
        if type(row[name]) is not int:
            raise InputError(f"{name} must be an integer, got {row[name]!r}.")
    tables = {name: np.array(row[name]) for name in ("certified", "refuted")}
    return Batch(**{name: row[name] for name in Batch._fields} | tables)


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
