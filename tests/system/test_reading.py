"""What a file holds is what is computed with: nothing rounded, guessed, dropped or executed."""

import io
import zipfile
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

import ltjax
from ltjax.errors import InputError
from ltjax.experiments.features.problems import features
from ltjax.experiments.training import datasets
from ltjax.networks import reading
from ltjax.supnorm import brackets
from ltjax.system import files
from ltjax.tickets import pruning, verifying
from ltjax.tickets.scales import rescale


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.npz"


def read(path, **arrays):
    np.savez(path, **arrays)
    return reading.read_matrices(path, "network")


# Numbers.

LOST = [
    (np.int64, [[2**53 + 1, 1]], 2**53 + 1),
    (np.int64, [[-(2**53) - 1, 1]], -(2**53) - 1),
    (np.int64, [[2**63 - 1, 1]], 2**63 - 1),
    (np.uint64, [[2**64 - 1, 1]], 2**64 - 1),
    (np.uint64, [[1, 2**60 + 1]], 2**60 + 1),
    (">i8", [[2**53 + 1, 1]], 2**53 + 1),
]


@pytest.mark.parametrize(("dtype", "values", "found"), LOST)
def test_whole_numbers_that_float64_rounds_are_one_line(path, dtype, values, found):
    with pytest.raises(InputError, match=f"that float64 holds exactly, got {found} of type"):
        read(path, a=np.array(values, dtype))


KEPT = [2**53, -(2**53), 2**53 + 2, 2**62, -(2**63), 3 * 2**61, 2**62 + 2**10, 12345, -1, 0]


def test_whole_numbers_that_float64_holds_are_read_as_they_are(path):
    rng = np.random.default_rng(0)
    some = [*KEPT, *(int(m) * 2**9 for m in rng.integers(-(2**52), 2**52, 200))]
    [layer] = read(path, a=np.array([some], np.int64))
    assert list(map(int, layer[0])) == some
    some = [2**63, 2**64 - 2**11, *(2**11 * int(m) for m in rng.integers(0, 2**53, 200))]
    [layer] = read(path, a=np.array([some], np.uint64))
    assert list(map(int, layer[0])) == some
    # Of numbers at random hardly one is held; whether it is, is decided for each.
    for value in rng.integers(-(2**62), 2**62, 100):
        exact = int(float(value)) == int(value)
        assert files._differs(np.array([value]), np.array([float(value)]))[0] == (not exact)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant <= 52, reason="long doubles are float64 here")
def test_longer_floats_are_read_where_float64_holds_them(path):
    third, held = np.longdouble(1) / 3, np.longdouble(0.1)
    [layer] = read(path, a=np.array([[held, 2.0]], np.longdouble))
    np.testing.assert_array_equal(layer, [[0.1, 2.0]])
    for value in (third, np.longdouble("1e400"), np.longdouble("1e-400")):
        with pytest.raises(InputError, match=r"that float64 holds exactly, got \S+ of type"):
            read(path, a=np.array([[value, 2.0]], np.longdouble))
    for value in (np.nan, np.inf):
        with pytest.raises(InputError, match="must be finite, got"):
            read(path, a=np.array([[value, 2.0]], np.longdouble))


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8", ">i2", "u1", "i8"])
def test_types_and_orders_of_bytes(path, dtype):
    values = np.array([[1.5, 2.25, 3.0], [0.0, 4.0, 65.0]]).astype(dtype)
    for array in (values, np.asfortranarray(values), values[::-1], values[:, ::-1]):
        [layer] = read(path, a=array)
        assert layer.dtype == np.dtype("=f8")
        assert layer.flags.c_contiguous
        assert [list(map(Fraction, row)) for row in layer.tolist()] == [
            [Fraction(float(v)) for v in row] for row in array
        ]


def test_a_zero_has_no_sign(path):
    [layer] = read(path, a=np.array([[-0.0, 1.0]]))
    assert not np.signbit(layer).any()


SMALL = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.int4]


@pytest.mark.parametrize("dtype", SMALL)
def test_small_types_are_named_in_a_file_and_read_in_memory(path, dtype):
    layer = np.array([[1.5, -0.5], [2.0, 1.0]]).astype(dtype)
    found = r"(raw values of [12] bytes|a type that numpy cannot read) in a\."
    with pytest.raises(InputError, match=found + r".*bfloat16.*as float32"):
        read(path, a=layer)
    np.testing.assert_array_equal(
        files.as_network({"a": layer}, "network")[0], layer.astype(np.float64)
    )
    _, scales = rescale(files.as_network({"a": layer}, "network"))
    ticket = pruning.prune([layer], epsilon=0.9 * scales[0], max_width=2**20)
    assert verifying.verify(ticket, [layer.astype(np.float64)]).belongs


def test_what_is_given_in_memory_is_not_rounded_either():
    wide = [np.array([[2**53 + 1, 1]])]
    for read in (
        lambda: pruning.prune(wide, epsilon=1e15),
        lambda: ltjax.network(target=wide),
        lambda: ltjax.neuron(target=wide[0][0]),
        lambda: features(data=(np.array(wide[0]), np.ones(1))),
    ):
        with pytest.raises(InputError, match="that float64 holds exactly, got 9007199254740993"):
            read()


def test_neighbours_of_which_one_is_rounded_are_not_read_as_equal(path):
    # 2^53 + 1 against 2^53: once 0 to 0, which is false.
    first = read(path, a=np.array([[2**53]]))
    with pytest.raises(InputError):
        read(path, a=np.array([[2**53 + 1]]))
    second = read(path, a=np.array([[2**53 + 2]]))
    (found,) = brackets.closing(*brackets.pair_of(first, second), 0.01, stop=lambda: True)
    assert found.lower <= 2.0 <= found.upper


def test_targets_and_data_of_a_file(tmp_path):
    np.save(tmp_path / "w.npy", np.array([2**53 + 1, 1]))
    with pytest.raises(InputError, match="that float64 holds exactly"):
        files.read_array(tmp_path / "w.npy", "target")
    np.save(tmp_path / "w.npy", np.array([1.0, 2.0]).astype(ml_dtypes.bfloat16))
    with pytest.raises(InputError, match="raw values of 2 bytes"):
        files.read_array(tmp_path / "w.npy", "target")
    parts = {name: np.arange(20.0).reshape(10, 2) for name in ("x_train", "x_test")}
    parts |= {name: np.arange(10) % 2 for name in ("y_train", "y_test")}
    parts["x_train"] = np.full((10, 2), 2**53 + 1)
    with pytest.raises(InputError, match=r"that float64 holds exactly, got .* in x_train"):
        datasets.check([parts[name] for name in datasets.PARTS])


# Names and the order of layers.


def squares(*names):
    """Layers that fit in any order."""
    return {name: np.full((2, 2), float(i)) for i, name in enumerate(names, 1)}


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["arr_0", "arr_1", "arr_10", "arr_2"], "arr_10 before arr_2"),
        (["fc1.weight", "fc10.weight", "fc2.weight"], "fc10.weight before fc2.weight"),
        (["w3", "w2", "w1"], "w3 before w2"),
        (["a", "w2", "b", "w1"], "w2 before w1"),
        (["w1", "w01"], "w1 before w01"),
        (["b1.fc1", "b1.fc2", "b10.fc1", "b2.fc1"], "b10.fc1 before b2.fc1"),
        (["w1" + 5000 * "0", "w9"], r"w1000\S+\.\.\. before w9"),
    ],
)
def test_numbers_that_do_not_rise_are_refused(path, names, found):
    with pytest.raises(InputError, match=f"from the first to the last, got {found}: save"):
        read(path, **squares(*names))


@pytest.mark.parametrize(
    "names",
    [
        [f"arr_{i}" for i in range(12)],
        ["w08", "w9", "w10"],
        ["fc1.weight", "fc2.weight", "fc10.weight"],
        ["z", "a"],
        ["hidden2", "out1"],
        ["b1.fc1", "b1.fc2", "b2.fc1"],
        ["1", "2"],
    ],
)
def test_layers_whose_numbers_rise_or_have_none_are_read_in_order(path, names):
    assert [layer[0, 0] for layer in read(path, **squares(*names))] == list(
        map(float, range(1, len(names) + 1))
    )


def member(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["a.npy", "a"])
def test_an_array_that_is_there_twice_is_refused(path, twin):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", member(np.ones((2, 2))))
        archive.writestr(twin, member(np.zeros((2, 2))))
    with pytest.raises(InputError, match="must hold each array once, got a twice in"):
        reading.read_matrices(path, "network")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u00e9", "x" * 500, "", "\u202e"])
def test_an_array_of_any_name_is_told_in_one_short_line(path, name):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name + ".npy", member(np.ones(3)))
    with pytest.raises(InputError, match="must begin with a matrix, got the vector") as caught:
        reading.read_matrices(path, "network")
    text = str(caught.value)
    assert text.isascii()
    assert text.isprintable()
    assert len(text) < 300


def test_a_name_that_is_no_utf_8(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\u00e9\u00e9.npy", member(np.ones((2, 2))))
    data = path.read_bytes()
    path.write_bytes(data.replace("\u00e9\u00e9".encode(), b"\xff\xfe\xfd\xfc"))
    with pytest.raises(InputError, match=r"must be a whole \.npz file of plain arrays"):
        reading.read_matrices(path, "network")


def test_a_file_that_would_fill_the_memory(path, monkeypatch):
    np.savez_compressed(path, a=np.zeros((100, 100)))
    size = path.stat().st_size
    assert size < 2000
    monkeypatch.setattr(files, "MOST_BYTES", 2000)
    with pytest.raises(InputError, match=r"at most 2,000 bytes unpacked, got 80,\d+ in"):
        reading.read_matrices(path, "network")
    monkeypatch.setattr(files, "MOST_BYTES", size - 1)
    with pytest.raises(
        InputError, match=rf"^network must be at most {size - 1} bytes, got {size} in"
    ):
        reading.read_matrices(path, "network")


# Nothing is executed, and nothing but one line is said.


def header(text):
    data = text.encode()
    return b"\x93NUMPY\x01\x00" + len(data).to_bytes(2, "little") + data


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }\n",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 2), }\n",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n",
        "__import__('os').system('touch executed')\n",
        "[" * 900 + "]" * 900 + "\n",
        "{}\n",
    ],
    ids=range(7),
)
def test_headers_that_are_none(path, tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npy").write_bytes(header(text) + b"\0" * 16)
    with pytest.raises(InputError, match=r"must be a whole \.npy file of numbers"):
        files.read_array(tmp_path / "a.npy", "target")
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(tmp_path / "a.npy", "a.npy")
    with pytest.raises(InputError, match=r"must be a whole \.npz file of plain arrays"):
        reading.read_matrices(path, "network")
    assert not (tmp_path / "executed").exists()
