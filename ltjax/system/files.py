"""Files: opened under a lock, or replaced as a whole. What can go wrong is one line to the user."""

import fcntl
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from io import FileIO
from itertools import pairwise
from pathlib import Path

import numpy as np

from ltjax.errors import PASSING, InputError
from ltjax.system import streams

FilePath = str | os.PathLike[str]
PICTURES = (".pdf", ".svg", ".png")
UNNAMED = (
    ". So numpy writes bfloat16 and other types of ml_dtypes, whose names are lost in the file: "
    "save as float32, which holds each of their numbers"
)
LONGEST_NAME = 60  # of an array, in a message
MOST_BYTES = 2**31  # of a file that is read, packed or not
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


def read_bytes(path: FilePath, name: str) -> bytes:
    """All of a regular file; `name` says what for."""
    path = Path(path)
    try:
        check_regular(path)
        if (size := path.stat().st_size) > MOST_BYTES:
            raise InputError(
                f"{name} must be at most {MOST_BYTES:,} bytes, got {size:,} in {path}."
            )
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read from {path}: {error.strerror}.") from None


def read_array(path: FilePath, name: str) -> np.ndarray:
    """Numbers from a .npy file, as float64; `name` says what for. Nothing in it is executed."""
    data = read_bytes(path, name)
    try:
        values = _plain(data, name, str(path))
    except InputError:
        raise
    except Exception:  # whatever foreign bytes can do to a parser
        raise InputError(f"{name} must be a whole .npy file of numbers, got {path}.") from None
    return as_float64(values, name, str(path))


def read_arrays(path: FilePath, name: str) -> dict[str, np.ndarray]:
    """The arrays of a .npz file in its order; `name` says what for. Nothing in it is executed."""
    return parse_arrays(read_bytes(path, name), path, name)


def parse_arrays(data: bytes, path: FilePath, name: str) -> dict[str, np.ndarray]:
    """`read_arrays` of the bytes of a file that `path` names."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as members:
            names = [member.removesuffix(".npy") for member in members.namelist()]
            if (size := sum(member.file_size for member in members.infolist())) > MOST_BYTES:
                raise InputError(
                    f"{name} must be at most {MOST_BYTES:,} bytes unpacked, got {size:,} in {path}."
                )
            arrays = {
                one: _plain(members.read(member), name, one)
                for one, member in zip(names, members.infolist(), strict=True)
            }
    except InputError:
        raise
    except Exception:  # whatever foreign bytes can do to a parser
        raise InputError(f"{name} must be a whole .npz file of plain arrays, got {path}.") from None
    if twice := [one for one in arrays if names.count(one) > 1]:
        raise InputError(
            f"{name} must hold each array once, got {shown(twice[0])} twice in {path}."
        )
    return arrays


def _plain(data: bytes, name: str, member: str) -> np.ndarray:
    """An array of the bytes of a .npy file, of a type that numpy knows; any error of theirs."""
    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except ValueError as error:
        if "dtype descriptor" not in str(error):
            raise
        found = f"a type that numpy cannot read in {shown(member)}"
        raise InputError(f"{name} must be real numbers, got {found}{UNNAMED}.") from None


def write_network(path: FilePath, layers: Sequence[np.ndarray]) -> None:
    """Weight matrices [n_out, n_in] as a .npz file."""
    data = io.BytesIO()
    np.savez(data, *layers)
    write_atomic(path, data.getvalue())


def as_network(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Weight matrices in float64, none of them rounded, each a layer that fits the one before."""
    layers = [_matrix(values, name, shown(layer)) for layer, values in arrays.items()]
    for (one, before), (two, after) in pairwise(zip(arrays, layers, strict=True)):
        if len(before) != after.shape[1]:
            raise InputError(
                f"{name} must chain, as matrices [out, in] do: {shown(one)} has {len(before)} "
                f"outputs, {shown(two)} has {after.shape[1]} inputs."
            )
    return layers


def given(layers: Sequence[np.ndarray], name: str) -> list[np.ndarray]:
    """Matrices in memory as `as_network` takes them: float64, with not one number rounded."""
    arrays = {f"layer {i}": np.asarray(layer) for i, layer in enumerate(layers, 1)}
    return as_network(arrays, name)


def _matrix(values: np.ndarray, name: str, layer: str) -> np.ndarray:
    """One layer as float64, or `InputError`."""
    check_real(values, name, layer)
    if values.ndim == 1:
        raise InputError(
            f"{name} must have no biases, as the theorem has none, got the vector {layer}: leave "
            f"it out of the file if it is zero, otherwise train again without biases."
        )
    if values.ndim != 2 or not values.size:
        shape = list(values.shape)
        raise InputError(f"{name} must hold matrices [out, in], got shape {shape} in {layer}.")
    return as_finite(values, name, layer)


def check_real(values: np.ndarray, name: str, where: str) -> None:
    """`InputError` unless an array holds real numbers of a type that says which."""
    if values.dtype.kind in "fiu" or _is_small(values.dtype):
        return
    found = f"{values.dtype} in {where}"
    if values.dtype.type is np.void and values.dtype.names is None:
        found = f"raw values of {values.dtype.itemsize} bytes in {where}{UNNAMED}"
    raise InputError(f"{name} must be real numbers, got {found}.")


def _is_small(dtype: np.dtype) -> bool:
    """Whether this is one of the number types of ml_dtypes, of which float64 holds every value."""
    return dtype.kind == "V" and dtype.type is not np.void


def as_float64(values: np.ndarray, name: str, where: str) -> np.ndarray:
    """Real numbers in float64, or `InputError`: none is rounded, and -0.0 is 0.0.

    Args:
        values: of any real type and byte order; a longer float or integer may hold what float64
            cannot.
        name, where: what they are for and where they stand, in words.
    """
    check_real(values, name, where)
    with np.errstate(over="ignore", invalid="ignore"):  # longer floats to infinity; NaN of a kind
        converted = values.astype(np.float64, order="C")
    lost = _differs(values, converted)
    if np.any(lost):
        raise InputError(
            f"{name} must be numbers that float64 holds exactly, got {values[lost][0]} of type "
            f"{values.dtype} in {where}: round them yourself."
        )
    return np.asarray(converted + 0.0)  # -0.0 is the same number


def as_finite(values: np.ndarray, name: str, where: str) -> np.ndarray:
    """`as_float64` of numbers among which there is neither NaN nor infinity, or `InputError`."""
    values = as_float64(values, name, where)
    if not np.all(np.isfinite(values)):
        found = values[~np.isfinite(values)][0]
        raise InputError(f"{name} must be finite, got {found} in {where}.")
    return values


def _differs(values: np.ndarray, converted: np.ndarray) -> np.ndarray:
    """Where a conversion to float64 has rounded: bool, of the shape of both."""
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        return (values != converted.astype(values.dtype)) & ~np.isnan(values)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        # Both halves are exact in float64, and so is what the upper one leaves of the whole.
        upper, lower = values >> 32, values & 0xFFFFFFFF
        return converted - upper.astype(np.float64) * 2.0**32 != lower.astype(np.float64)
    return np.zeros(values.shape, bool)


def shown(member: str) -> str:
    """The name of an array for a message: one short line, whatever a file calls it."""
    short = member if len(member) <= LONGEST_NAME else member[:LONGEST_NAME] + "..."
    return short if short.isascii() and short.isprintable() and short else ascii(short)


def check_no_input(out: FilePath, name: str, inputs: Sequence[FilePath]) -> None:
    """`InputError` where what is to be written is one of the files read, by whatever name.

    Links, hard links and other spellings of a file are that file.
    """
    for path in inputs:
        if same_file(out, path):
            raise InputError(f"{name} must not take the place of {path}, which is read, got {out}.")


def check_two_files(one: FilePath, other: FilePath, names: str) -> None:
    """`InputError` where two outputs are one file; names that differ in case alone may be."""
    first, second = (os.path.realpath(path).casefold() for path in (one, other))
    if first == second or same_file(one, other):
        raise InputError(f"{names} must be two files, got {one} and {other}.")


def same_file(one: FilePath, other: FilePath) -> bool:
    """Whether two names are of one file that there is."""
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


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
