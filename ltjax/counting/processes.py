"""Several processes on one problem, through jax's own runtime: gloo on CPU, NCCL, ICI on TPU.

Trials need no communication. So each process runs a share of every piece on its own devices, and
all of them meet twice a piece: to hear from the first process which trials come next, and to add
up their counts. The first process alone decides and writes. No process outlives another by much:
who finds a partner gone raises `LostProcessError`.
"""

import contextlib
import os
import sys
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from ltjax.counting.tally import Batch
from ltjax.errors import InputError, LostProcessError
from ltjax.system import devices

HEARTBEAT = 10  # seconds of silence after which a process counts as lost
START = 120  # seconds that the processes may start apart
Piece = tuple[int, int]


class Alone:
    """One process. What `engine` asks of a team, answered without asking anybody."""

    number, index = 1, 0

    def agree(self, piece: Piece | None) -> Piece | None:
        """The first process's piece, in all of them; None ends the run."""
        return piece

    def share(self, piece: Piece) -> Piece:
        """The part of a piece that this process runs: consecutive trials, perhaps none."""
        return piece

    def total(self, batch: Batch) -> Batch:
        """The sum over all processes of their batches of one piece."""
        return batch

    def leave(self) -> None:
        """Part from the others, when all is done."""

    @property
    def leads(self) -> bool:
        """Whether this process decides and writes."""
        return self.index == 0


class Team(Alone):
    """The processes that `jax.distributed` has joined."""

    def __init__(self) -> None:
        devices.start()
        self.number, self.index = jax.process_count(), jax.process_index()
        self._pieces = 0
        with _silent_stdout(), _watching():
            # The first exchange of each kind sets up connections, and gloo tells of them.
            multihost_utils.broadcast_one_to_all(np.zeros(2, np.uint32))
            multihost_utils.process_allgather(np.zeros(2, np.int32))

    def agree(self, piece: Piece | None) -> Piece | None:
        """As `Alone.agree`; `KeyboardInterrupt` in all at once where one is to be preempted."""
        # 2^32 is a stop and no uint32: a piece travels as its start and its length.
        first, stop = piece or (0, 0)
        with _watching():
            words = np.array([first, stop - first], np.uint32)
            words = multihost_utils.broadcast_one_to_all(words)
            preempted = multihost_utils.reached_preemption_sync_point(self._pieces)
        self._pieces += 1
        if preempted:
            raise KeyboardInterrupt
        first, length = map(int, words)
        return (first, first + length) if length else None

    def share(self, piece: Piece) -> Piece:
        first, stop = piece
        begin, end = ((stop - first) * i // self.number for i in (self.index, self.index + 1))
        return first + begin, first + end

    def total(self, batch: Batch) -> Batch:
        tables = np.stack([batch.certified, batch.refuted])
        words = np.append(tables.ravel(), [batch.invalid, batch.settled]).astype(np.int32)
        with _watching():
            words = multihost_utils.process_allgather(words).sum(axis=0, dtype=np.int64)
        certified, refuted = words[:-2].reshape(tables.shape)
        invalid, settled = map(int, words[-2:])
        return batch._replace(
            certified=certified, refuted=refuted, invalid=invalid, settled=settled
        )

    def leave(self) -> None:
        with _watching():
            jax.distributed.shutdown()


def join(where: str, process: str | None = None) -> Team:
    """Join the other processes of a run; before anything else is asked of jax.

    Args:
        where: auto (TPU pods, Slurm, Open MPI: what jax finds), or HOST:PORT of the first process,
            which listens there and nowhere else.
        process: which of how many, as 2/4, for HOST:PORT.
    """
    asked: dict = {}
    if where == "auto":
        if process is not None:
            raise InputError(f"process must be left out where distributed is auto, got {process}.")
    else:
        asked = _addressed(where, process)
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[name]  # jax's processes speak to each other directly
    try:
        jax.distributed.initialize(
            **asked,
            initialization_timeout=START,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        if where == "auto" and isinstance(error, ValueError):
            raise InputError(
                "distributed must find a TPU pod, Slurm or Open MPI, got auto and none of them; "
                "name HOST:PORT of the first process, and --process."
            ) from None
        reason = str(error).splitlines()[0]
        raise InputError(f"distributed must reach all processes, got {where}: {reason}") from None
    return Team()


def _addressed(where: str, process: str | None) -> dict:
    """The arguments of jax for an address and a place among the processes."""
    host, _, port = where.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"distributed must be auto or HOST:PORT, got {where}.")
    number, _, of = (process or "").partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise InputError(f"process must be k/K with 1 <= k <= K, as 2/4, got {process}.")
    return {
        "coordinator_address": where,
        "coordinator_bind_address": where,  # jax would listen on every interface
        "process_id": int(number) - 1,
        "num_processes": int(of),
        "cluster_detection_method": "deactivate",
    }


@contextlib.contextmanager
def _watching() -> Iterator[None]:
    """Turn the failure of an exchange into one error: some other process is gone."""
    try:
        with devices.own_settings():
            yield
    except InputError:
        raise
    except Exception as error:  # a kind of its own for every way to lose a connection
        reason = str(error).splitlines()[0]
        raise LostProcessError(f"another process of the run was lost: {reason[:100]}") from None


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """What a library writes straight to file descriptor 1 is no result."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
