"""Data that can be trained on is taken as it is; any other is one line, and nothing is written."""

import re
import sys

import numpy as np
import pytest

from ltjax.cli import program
from ltjax.counting import engine
from ltjax.errors import InputError
from ltjax.experiments.training import datasets
from ltjax.experiments.training.problems import popup

RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(50, 3)) * [1.0, 100.0, 0.0] + [0.0, 1e3, 7.0], np.arange(50) % 4
GOOD = {"x_train": X[:40], "y_train": Y[:40], "x_test": X[40:], "y_test": Y[40:]}


def but(**parts):
    return GOOD | parts


def planted(x, value):
    """The same with one number exchanged."""
    x = x.copy()
    x[2, 1] = value
    return x


def test_data_is_standardised_and_split_without_loss():
    data = datasets.prepare(**GOOD)
    x, y = GOOD["x_train"], GOOD["y_train"]
    seen = np.concatenate([data.x_train, data.x_held])
    assert (len(data.x_train), len(data.x_held)) == (32, 8)
    np.testing.assert_allclose(seen[:, :2].mean(axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(seen[:, :2].std(axis=0), 1.0, atol=1e-6)
    np.testing.assert_array_equal(seen[:, 2], 0.0)  # it never varies
    np.testing.assert_array_equal(seen[:, 3], 1.0)
    at = np.argmin(abs(seen[:, None, 1] - (x[:, 1] - x[:, 1].mean()) / x[:, 1].std()), axis=1)
    assert sorted(at) == list(range(40))
    labels = np.concatenate([data.y_train, data.y_held])
    np.testing.assert_array_equal(labels.argmax(axis=1), y[at])
    np.testing.assert_array_equal(data.y_test.argmax(axis=1), GOOD["y_test"])
    # Test data is scaled as training data is, and not by itself.
    scaled = (GOOD["x_test"][:, 1] - x[:, 1].mean()) / x[:, 1].std()
    np.testing.assert_allclose(data.x_test[:, 1], scaled, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "shape"), [("digits", (1797, 64)), ("wine", (178, 13))])
def test_a_bundled_set_is_whole_and_the_same_again(name, shape):
    x_train, y_train, x_test, y_test = datasets.load(name)
    assert len(x_test) == len(y_test) == round(0.2 * shape[0])
    assert (len(x_train) + len(x_test), x_train.shape[1]) == shape
    assert datasets.digest(datasets.load(name)) == datasets.digest(datasets.bundled(name))
    # In the order of the set, wine would be tested on one class.
    assert set(y_train) == set(y_test)


def test_a_file_is_loaded_by_name_in_any_order(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **dict(reversed(GOOD.items())))
    for found, wanted in zip(datasets.load(path), GOOD.values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
    rows = datasets.check(datasets.load(path))
    assert rows[0][3] == tuple(X[3])
    # A record holds the rows, and they stand for the same data.
    assert datasets.digest(rows) == datasets.digest(GOOD.values())
    assert datasets.check(rows) == rows


def test_a_digest_tells_numbers_apart_and_not_their_precision():
    whole = [np.arange(6).reshape(3, 2), np.arange(3)]
    digest = datasets.digest(whole)
    assert digest == datasets.digest([part.astype(np.float32) for part in whole])
    assert len(digest) == 16
    others = [
        [whole[0].T, whole[1]],
        [whole[0].reshape(2, 3), whole[1]],
        [whole[0] + 1e-9, whole[1]],
    ]
    assert len({datasets.digest(part) for part in others} | {digest}) == 4


BAD = {
    "nan": (but(x_train=planted(X[:40], np.nan)), "must be finite, and standardised fit float32"),
    "inf in test": (but(x_test=planted(X[40:], np.inf)), "must be finite, and"),
    "too far": (but(x_test=planted(X[40:], 1e300)), "must be finite, and"),
    "spread": (but(x_train=planted(X[:40], 1e308)), "must be finite, and"),
    "one row": (
        but(x_train=X[:1], y_train=Y[:1]),
        "at least 10 rows to train and 1 to test, got 1",
    ),
    "no test": (but(x_test=X[:0], y_test=Y[:0]), "and 1 to test, got 40 and 0"),
    "lengths": (but(y_train=Y[:39]), r"got shapes \[40, 3\] and \[39\]"),
    "axes": (but(x_test=X[40:, 0]), r"x_test \[n, d\] and y_test \[n\], got shapes \[10\]"),
    "one-hot": (but(y_test=np.eye(4)[Y[40:]]), r"got shapes \[10, 3\] and \[10, 4\]"),
    "dimensions": (but(x_test=X[40:, :2]), "inputs of one dimension, got 3 and 2"),
    "no inputs": (but(x_train=X[:40, :0], x_test=X[40:, :0]), "one dimension, got 0 and 0"),
    "strings": (but(y_train=np.array(["a", "b"] * 20)), "real numbers, got <U1 in y_train"),
    "digits as text": (but(x_train=X[:40].astype(str)), "real numbers, got <U32 in x_train"),
    "complex": (but(x_test=X[40:] * 1j), "real numbers, got complex128 in x_test"),
    "from 1": (but(y_train=Y[:40] + 1), r"labels 0, 1, \.\.\., every one trained on, got 1, 2, 3"),
    "a gap": (but(y_train=Y[:40] % 2 * 2), "every one trained on, got 0, 2"),
    "a half": (but(y_train=Y[:40] / 2), "every one trained on, got 0, 0.5"),
    "nan label": (but(y_train=Y[:40] * np.nan), "every one trained on, got nan"),
    "one class": (but(y_train=Y[:40] * 0), "every one trained on, got 0"),
    "unseen": (but(y_test=Y[40:] + 3), "tested on labels that it trains on, got 4"),
}
NAMES = {
    "wrong names": ({"x": X, "y": Y}, "must hold the arrays x_train, .*, got x, y in"),
    "one missing": ({n: GOOD[n] for n in list(GOOD)[:3]}, "got x_train, y_train, x_test in"),
    "one more": (but(x_held=X), "got x_train, y_train, x_test, y_test, x_held in"),
    "nothing": ({}, "got nothing in"),
}


@pytest.mark.parametrize("name", BAD)
def test_unusable_data_is_named(name):
    arrays, message = BAD[name]
    with pytest.raises(InputError, match=message) as raised:
        popup(tuple(arrays.values()), widths=(4,))
    assert "\n" not in str(raised.value)


def test_another_number_of_arrays_and_ragged_ones_are_named():
    with pytest.raises(InputError, match="x_train, y_train, x_test, y_test, got 3 arrays"):
        datasets.check(tuple(GOOD.values())[:3])
    with pytest.raises(InputError, match="rows of one length, got others in x_train"):
        datasets.check(([[1.0], [1.0, 2.0]], *tuple(GOOD.values())[1:]))
    with pytest.raises(InputError, match=f"at most {datasets.MAX_NUMBERS} numbers, got"):
        datasets.check((np.zeros((2**19, 3)), np.zeros(2**19), X, Y))


def refused(capsys, *argv):
    """The one line with which the command line refuses."""
    words = ["curve", *argv, "--out", "runs/a.jsonl", "--figure", "a.svg"]
    assert program.main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, where no trial is run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "prepare", None)
    return tmp_path


@pytest.mark.parametrize("name", [*BAD, *NAMES])
def test_the_command_line_refuses_in_one_line_and_writes_nothing(name, here, capsys):
    arrays, message = (BAD | NAMES)[name]
    np.savez(here / "mine.npz", **arrays)
    line = refused(capsys, "imp", "--data", "mine.npz")
    assert re.search(message, line), line
    assert [path.name for path in here.iterdir()] == ["mine.npz"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("iris", "data must be one of digits, breast_cancer, wine or a .npz file, got iris"),
        ("gone.npz", "data cannot be read from gone.npz: No such file"),
        ("text.npz", "data must be a whole .npz file of plain arrays, got text.npz"),
        (".", "data must be one of"),
    ],
)
def test_what_is_no_data_is_named(data, message, here, capsys):
    (here / "text.npz").write_text("x_train")
    assert message in refused(capsys, "popup", "--data", data)
    assert [path.name for path in here.iterdir()] == ["text.npz"]


def test_without_scikit_learn_the_extra_is_named(monkeypatch, here, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    line = refused(capsys, "imp", "--data", "wine")
    assert "a .npz file where scikit-learn is missing (pip install 'ltjax[data]'), got wine" in line
    assert not list(here.iterdir())
