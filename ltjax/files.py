"""Files: opened under a lock, or replaced as a whole. What can go wrong is one line to the user."""

import fcntl
import io
import os
import zipfile
from collections.abc import Sequence
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from ltjax import streams
from ltjax.errors import PASSING, InputError

FilePath = str | os.PathLike[str]
PICTURES = (".pdf", ".svg", ".png")
OPENING = b'{"kind":"header","format":"'  # of every record, whatever its version


def open_locked(path: Path) -> FileIO:
    """Open for reading and appending, unbuffered; created, with its folder, where missing."""
    try:
        check_regular(path)
        _check_apart(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+b", buffering=0)  # noqa: SIM115  the caller closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            file.close()
            raise
    except BlockingIOError:
        raise InputError(f"{path} is being written by another process.") from None
    except OSError as error:
        raise _cannot_write(path, error) from None
    return file


def write_atomic(path: FilePath, data: bytes) -> None:
    """Put `data` in place of what `path` holds, whole or not at all, but never over a record."""
    path = Path(os.path.realpath(path))  # a link stays a link
    try:
        _check_replaceable(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from None


def read_array(path: FilePath, name: str) -> np.ndarray:
    """Numbers from a .npy file, as float64; `name` says what for. Nothing in it is executed."""
    path = Path(path)
    try:
        check_regular(path)
        with path.open("rb") as file:
            values = np.lib.format.read_array(file, allow_pickle=False)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{name} cannot be read from {path}: {error.strerror}.") from None
    except (ValueError, EOFError, MemoryError, SyntaxError, OverflowError):
        raise InputError(f"{name} must be a whole .npy file of numbers, got {path}.") from None
    if values.dtype.kind not in "fiu":
        raise InputError(f"{name} must be real numbers, got {values.dtype} in {path}.")
    return values.astype(np.float64)


def read_arrays(path: FilePath, name: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file in its order; `name` says what for. Nothing in it is executed."""
    path = Path(path)
    try:
        check_regular(path)
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read from {path}: {error.strerror}.") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            return {
                member.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(members.read(member)), allow_pickle=False
                )
                for member in members.namelist()
            }
    except Exception:  # whatever foreign bytes can do to a parser
        raise InputError(f"{name} must be a whole .npz file of plain arrays, got {path}.") from None


def read_network(path: FilePath, name: str) -> list[np.ndarray]:
    """Weight matrices [out, in] of a bias-free network, layer by layer, from a .npz file.

    Returns:
        float64, in the file's order; each takes as many inputs as the one before has outputs.
    """
    arrays = read_arrays(path, name)
    if not arrays:
        raise InputError(f"{name} must hold a weight matrix a layer, got no arrays in {path}.")
    layers = [_matrix(values, name, layer) for layer, values in arrays.items()]
    for (one, before), (two, after) in pairwise(zip(arrays, layers, strict=True)):
        if len(before) != after.shape[1]:
            raise InputError(
                f"{name} must chain, as matrices [out, in] do: {one} has {len(before)} outputs, "
                f"{two} has {after.shape[1]} inputs."
            )
    return layers


def _matrix(values: np.ndarray, name: str, layer: str) -> np.ndarray:
    """One layer as float64, or `InputError`."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"{name} must be real numbers, got {values.dtype} in {layer}.")
    if values.ndim == 1:
        raise InputError(
            f"{name} must have no biases, as the theorem has none, got the vector {layer}: leave "
            f"it out of the file if it is zero, otherwise train again without biases."
        )
    if values.ndim != 2 or not values.size:
        shape = list(values.shape)
        raise InputError(f"{name} must hold matrices [out, in], got shape {shape} in {layer}.")
    with np.errstate(over="ignore"):  # of longer floats, to inf
        values = values.astype(np.float64)
    if not np.all(np.isfinite(values)):
        found = values[~np.isfinite(values)][0]
        raise InputError(f"{name} must be finite, got {found} in {layer}.")
    return values


def check_output(path: FilePath, name: str, suffixes: Sequence[str] = PICTURES) -> None:
    """`InputError` unless a file may be put there, long before there is one to put."""
    if Path(path).suffix not in suffixes:
        raise InputError(f"{name} must end in {', '.join(suffixes)}, got {path}.")
    try:
        _check_replaceable(Path(path))
        folder = next(p for p in Path(os.path.realpath(path)).parents if p.exists())
    except OSError as error:
        raise _cannot_write(Path(path), error) from None
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{name} must lie in a folder that can be written, got {path}.")


def _check_replaceable(path: Path) -> None:
    """Counts are dear and pictures cheap: one never takes the place of the other."""
    check_regular(path)
    _check_apart(path)
    if path.exists():
        with path.open("rb") as file:
            if file.read(len(OPENING)) == OPENING:
                raise InputError(f"{path} is a record of ltjax; choose another name.")


def check_regular(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"{path} is a directory, not a file.")
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file.")


def _check_apart(path: Path) -> None:
    if streams.is_one(path):
        raise InputError(f"{path} is where the output of the command goes; choose another name.")


def sync_folder(folder: Path) -> None:
    """Make the names in a folder outlast a power cut, too."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _cannot_write(path: Path, error: OSError) -> InputError | OSError:
    """Of a full disk, say, the same file may be written later: that is no fault of the input."""
    if error.errno in PASSING:
        return OSError(error.errno, error.strerror, str(path))
    reason = error.strerror
    if isinstance(error, FileExistsError | NotADirectoryError):
        reason = f"{error.filename} is not a directory"
    return InputError(f"cannot write {path}: {reason}.")
