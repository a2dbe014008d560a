"""Classification data by name, or from a file of the user's, and as kernels want it.

The names are sets that come with scikit-learn; nothing is downloaded.
"""

import hashlib
from typing import Any, NamedTuple

import numpy as np

from ltjax.errors import InputError
from ltjax.system import files
from ltjax.system.files import FilePath

BUNDLED = ("digits", "breast_cancer", "wine")
PARTS = ("x_train", "y_train", "x_test", "y_test")
TEST = 0.2  # share of a bundled set that tests
HELD_OUT = 0.2  # of the training data, by which a run is stopped
SHUFFLE = 0  # seed of which these are
LEAST = 10  # rows of training data
MAX_NUMBERS = 2**20  # of a user's file: a record holds them all


class Data(NamedTuple):
    """A classification problem, as `prepare` makes it.

    x_*: inputs [n, d + 1], standardised, the last one 1.
    y_*: labels [n, classes], one-hot.
    """

    x_train: Any
    y_train: Any
    x_held: Any
    y_held: Any
    x_test: Any
    y_test: Any


def load(data: FilePath) -> tuple[np.ndarray, ...]:
    """x_train [n, d], y_train [n], x_test and y_test of a name or of a .npz file that holds them.

    Raises:
        InputError: of an unknown name, a file that cannot be read or lacks an array, or where
            scikit-learn is missing. What the arrays hold is for `check`.
    """
    if data in BUNDLED:
        return bundled(str(data))
    if not str(data).endswith(".npz"):
        raise InputError(f"data must be one of {', '.join(BUNDLED)} or a .npz file, got {data}.")
    arrays = files.read_arrays(data, "data")
    if set(arrays) != set(PARTS):
        found = ", ".join(arrays) or "nothing"
        raise InputError(f"data must hold the arrays {', '.join(PARTS)}, got {found} in {data}.")
    return tuple(arrays[name] for name in PARTS)


def bundled(name: str) -> tuple[np.ndarray, ...]:
    """One of `BUNDLED`, shuffled once and for all; a fifth of it tests."""
    try:
        from sklearn import datasets
    except ImportError:
        raise InputError(
            f"data must be a .npz file where scikit-learn is missing (pip install 'ltjax[data]'), "
            f"got {name}."
        ) from None
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    order = np.random.default_rng(SHUFFLE).permutation(len(y))
    test, train = np.split(order, [round(TEST * len(y))])
    return x[train], y[train], x[test], y[test]


def digest(arrays) -> str:
    """Sixteen hex digits of what the arrays hold, whatever their precision."""
    seen = hashlib.sha256()
    for values in arrays:
        values = np.asarray(values, np.float64)
        seen.update(repr(values.shape).encode() + values.tobytes())
    return seen.hexdigest()[:16]


def check(arrays) -> tuple:
    """The four arrays of `PARTS` as rows of finite floats and labels from 0, or `InputError`."""
    if len(arrays) != len(PARTS):
        raise InputError(f"data must be the arrays {', '.join(PARTS)}, got {len(arrays)} arrays.")
    x_train, y_train, x_test, y_test = map(_numbers, PARTS, arrays)
    for name, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
            raise InputError(
                f"data must hold x_{name} [n, d] and y_{name} [n], got shapes {list(x.shape)} and "
                f"{list(y.shape)}."
            )
    if len(x_train) < LEAST or len(x_test) < 1:
        raise InputError(
            f"data must hold at least {LEAST} rows to train and 1 to test, got {len(x_train)} and "
            f"{len(x_test)}."
        )
    if not 1 <= x_train.shape[1] == x_test.shape[1]:
        found = f"{x_train.shape[1]} and {x_test.shape[1]}"
        raise InputError(f"data must have inputs of one dimension, got {found}.")
    numbers = sum(part.size for part in (x_train, y_train, x_test, y_test))
    if numbers > MAX_NUMBERS:
        raise InputError(f"data must hold at most {MAX_NUMBERS} numbers, got {numbers}.")
    classes = np.unique(y_train)
    if len(classes) < 2 or not np.array_equal(classes, np.arange(len(classes))):
        found = ", ".join(f"{label:g}" for label in classes[:4])
        raise InputError(f"data must have labels 0, 1, ..., every one trained on, got {found}.")
    if not np.all(np.isin(y_test, classes)):
        found = y_test[~np.isin(y_test, classes)][0]
        raise InputError(f"data must be tested on labels that it trains on, got {found:g}.")
    with np.errstate(over="ignore", invalid="ignore"):
        made = x_train.std(axis=0), *prepare(x_train, y_train, x_test, y_test)
    if not all(np.all(np.isfinite(part)) for part in made):
        raise InputError(
            "data must be finite, and standardised fit float32, got a NaN, an infinity or a number "
            "far beyond those trained on."
        )
    rows = tuple(map(tuple, x_train.tolist())), tuple(map(tuple, x_test.tolist()))
    return rows[0], tuple(y_train.tolist()), rows[1], tuple(y_test.tolist())


def _numbers(name: str, values) -> np.ndarray:
    """An array of real numbers in float64, or `InputError`."""
    try:
        values = np.asarray(values)
    except ValueError:  # rows of different lengths
        raise InputError(f"data must have rows of one length, got others in {name}.") from None
    return files.as_float64(values, "data", name)


def prepare(x_train, y_train, x_test, y_test) -> Data:
    """Standardise inputs by the training data, append the 1 and split off what is held out.

    That choice is by lot, and the same for every trial.

    Args:
        x_train, x_test: [n, d]; inputs that never vary are left out of the scaling.
        y_train, y_test: classes as whole numbers from 0, [n].
    """
    x_train, x_test = np.asarray(x_train, np.float64), np.asarray(x_test, np.float64)
    y_train, y_test = np.asarray(y_train, int), np.asarray(y_test, int)
    mean, spread = x_train.mean(axis=0), x_train.std(axis=0)
    spread = np.where(spread > 0.0, spread, 1.0)
    one_hot = np.eye(1 + np.max(y_train), dtype=np.float32)

    def inputs(x):
        return np.append((x - mean) / spread, np.ones((len(x), 1)), axis=1).astype(np.float32)

    order = np.random.default_rng(SHUFFLE).permutation(len(x_train))
    held, train = np.split(order, [round(HELD_OUT * len(x_train))])
    x, y = inputs(x_train), one_hot[y_train]
    return Data(x[train], y[train], x[held], y[held], inputs(x_test), one_hot[y_test])
