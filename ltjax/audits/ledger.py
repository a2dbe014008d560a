"""The audit: claims put to the test one after the other, and what was found kept in a file.

The file has one JSON line a finished claim. A line that answers to the same claim, sizes, seed and
version is not earned again: a killed audit goes on with the claim in which it was, and counts of
networks within that claim are records of their own, in a folder beside the file.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import ltjax
from ltjax import api
from ltjax.audits.claim import Claim, Count, Finding
from ltjax.audits.claims import CLAIMS
from ltjax.errors import InputError
from ltjax.system import files
from ltjax.system.files import FilePath
from ltjax.validate import check_seed

FORMAT = "ltjax-audit/1"
OPENING = f'{{"format":"{FORMAT}"'.encode()  # of every line

Watching = Callable[[int, str, bool], Any]  # trials, criterion, quiet: a context with a watch


class Entry(NamedTuple):
    """One claim and what was found.

    size: of the experiment.
    environment: in which it ran: versions, platform.
    seconds: wall clock.
    """

    claim: Claim
    size: dict
    seed: int
    finding: Finding
    environment: dict
    seconds: float

    @property
    def as_expected(self) -> bool:
        return self.claim.as_expected(self.finding)


def audit(
    claims: Sequence[str] = (),
    full: bool = False,
    seed: int = 0,
    out: FilePath | None = None,
    device: str = "auto",
    watching: Watching = lambda *_: nullcontext(lambda batch, log: None),
    quiet: bool = False,
) -> Iterator[Entry]:
    """Put claims of the source to the test; an entry each, as it is finished.

    Args:
        claims: names, keys of `audits.claims.CLAIMS`; all of them where none is named.
        full: the large sizes instead of those of a minute or two.
        seed: 0 <= seed < 2^32.
        out: file to begin or to go on with; None keeps nothing.
        device: auto, cpu, gpu or tpu; of what counts whole networks.
        watching: makes the watch of a count from its trials, criterion and `quiet`.

    Raises:
        InputError: before anything is run, of an unknown name, a bad seed or a file that is no
            audit's.
    """
    check_seed(seed)
    unknown = [name for name in claims if name not in CLAIMS]
    if unknown:
        raise InputError(f"claim must be one of {', '.join(CLAIMS)}, got {unknown[0]}.")
    chosen = [claim for name, claim in CLAIMS.items() if not claims or name in claims]

    def count(problem, trials):
        record = None
        if out is not None:  # a plan of its own for each number of trials
            record = Path(f"{out}.counts") / f"{problem.digest()}-{trials}.jsonl"
        with watching(trials, problem.criteria[0].name, quiet) as watch:
            return api.run(problem, trials, record, device, watch)

    return _entries(chosen, full, seed, out, device, count)


def _entries(chosen, full, seed, out, device, count: Count) -> Iterator[Entry]:
    from ltjax.system import devices  # the way to jax

    here = devices.environment(devices.devices(device))
    with Finished(out) as finished:
        for claim in chosen:
            size = claim.size(full)
            key = {"claim": claim.name, "size": size, "seed": seed, "version": ltjax.__version__}
            row = finished.find(key)
            if row is None:
                begun = time.monotonic()
                finding = claim(full, seed, count).to_json()
                seconds = round(time.monotonic() - begun, 3)
                row = key | {"environment": here, "finding": finding, "seconds": seconds}
                finished.append(row)
            finding = Finding.from_json(row["finding"])
            yield Entry(claim, size, seed, finding, row["environment"], row["seconds"])


class Finished:
    """Lines of finished claims: in a file, under a lock, or in memory where no path is given.

    A line is on disk when `append` returns. A torn end, of a process that was killed, is dropped.
    """

    def __init__(self, path: FilePath | None) -> None:
        self._path = path
        self._rows: list[dict] = []
        self._file = None if path is None else files.open_locked(Path(path))
        if self._file is not None:
            try:
                self._read(self._file)
            except BaseException:
                self._file.close()
                raise

    def _read(self, file: FileIO) -> None:
        """`InputError` unless every whole line is an audit's."""
        file.seek(0)
        data = file.readall()
        whole = data[: data.rfind(b"\n") + 1]
        try:
            self._rows = [json.loads(line) for line in whole.splitlines()]
            ours = all(row["format"] == FORMAT for row in self._rows)
        except (ValueError, TypeError, KeyError):
            ours = False
        if not ours or not OPENING.startswith(data[: len(OPENING)]):
            raise InputError(f"out must be a new file or one of an audit, got {self._path}.")
        file.truncate(len(whole))

    def find(self, key: dict) -> dict | None:
        """The line with these entries."""
        matches = (row for row in self._rows if {name: row[name] for name in key} == key)
        return next(matches, None)

    def append(self, row: dict) -> None:
        if self._file is not None:
            text = json.dumps({"format": FORMAT, **row}, separators=(",", ":"), allow_nan=False)
            line = text.encode() + b"\n"
            while line:  # one turn, unless the disk is full: then the next one says so
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())

    def __enter__(self) -> "Finished":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
