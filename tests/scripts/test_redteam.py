"""The fuzzer finds what is planted, and its oracle knows what can be computed by hand."""

import math
import warnings
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ltjax.errors import InputError
from ltjax.experiments.neuron import device
from ltjax.networks import pairs
from ltjax.supnorm import certificate
from ltjax.tickets import archive, verifying

SCRIPTS = Path(__file__).parents[2] / "scripts"
HOST = ["certificate", "circle", "points", "neuron", "reach"]  # nothing is compiled for these


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    """Makes them importable, as they import one another."""
    monkeypatch.syspath_prepend(SCRIPTS)


def fuzz(capsys, *names, seconds=30, seed=0):
    """The exit code, and what is said."""
    import redteam

    code = redteam.main(["--seconds", f"{seconds}", "--seed", f"{seed}", "--only", *names])
    return code, capsys.readouterr().out


def drawn(said):
    """Draws before a violation."""
    (line,) = [line for line in said.splitlines() if line.startswith("FAILED after ")]
    return int(line.split()[2].rstrip(":"))


# All holds.


def test_no_bound_of_the_host_lies(capsys):
    code, said = fuzz(capsys, *HOST, seconds=3)
    assert code == 0, said
    assert int(said.splitlines()[-1].split()[1].replace(",", "")) >= 20


def test_no_ticket_is_forged(capsys):
    code, said = fuzz(capsys, "tickets", seconds=3)
    assert code == 0, said
    assert "refused" in said


@pytest.mark.parametrize("kind", [0, 1, 3])
@pytest.mark.parametrize("scale", [1e158, 1e160, 1e170])
def test_nothing_kept_at_a_scale_beyond_squares_is_no_ticket(kind, scale):
    import forgeries
    import redteam

    layers, names, kept = redteam.honest(kind)
    names = names | {"scales": [scale, *names["scales"][1:]], "epsilon": 1e-9}
    data = forgeries.written(*forgeries.sealed(names, bytes(len(kept))))
    assert redteam.hold_ticket(redteam.Forged(data, layers)) in ("refused", "REFUTED")


@pytest.mark.slow
def test_nothing_lies_for_a_minute(capsys):
    import redteam

    code, said = fuzz(capsys, *redteam.BOUNDS, "tickets", seconds=60, seed=1)
    assert code == 0, said


# The oracle, against what is known without it.


def whole(*layers):
    return [np.array(layer, float) for layer in layers]


def found(first, second, **how):
    import rationals

    return rationals.supremum(rationals.of_networks(first, second, **how))


@pytest.mark.parametrize(
    ("first", "second", "how", "square"),
    [
        (whole([[2]]), whole([[3]]), {}, 1),
        (whole([[2], [1]]), whole([[-1], [5]]), {}, 25),
        (whole([[2], [1]]), whole([[-1], [5]]), {"norm": "max"}, 16),
        (whole([[2], [1]]), whole([[-1], [5]]), {"last": "relu", "radius": 0.5}, 5),
        (whole([[1, 2, 3]]), whole([[1, 5, -1]]), {}, 25),
        (whole([[1], [-1]], [[1, 1]]), whole([[0], [0]], [[1, 1]]), {}, 1),
        # |x1| - |x2| and relu(x1 + x2) - relu(x1 - x2), the latter at (1, 1) / sqrt(2).
        (whole([[1, 0], [-1, 0]], [[1, 1]]), whole([[0, 1], [0, -1]], [[1, 1]]), {}, 1),
        (whole([[1, 1]], [[1]]), whole([[1, -1]], [[1]]), {}, 2),
        # A golden ratio: no rational number, and so between two.
        (whole([[0, 0], [0, 0]]), whole([[1, 1], [0, 1]]), {}, (3 + math.sqrt(5)) / 2),
        # Four inputs that act by two sums.
        (whole([[1, 1, 1, 1]], [[1]]), whole([[1, 1, -1, -1]], [[1]]), {}, 4),
        ([np.array([[2**53 + 1]])], whole([[2**53]]), {}, 1),
        (whole([[1e300]], [[1e300]]), whole([[1e300]], [[0]]), {}, Fraction(1e300) ** 4),
    ],
)
def test_suprema_known_by_hand(first, second, how, square):
    low, high = found(first, second, **how)
    if isinstance(square, float):
        assert 0 < high - low < Fraction(1, 2**100)
        assert float(low) == pytest.approx(square, rel=1e-15)
    else:
        assert low <= square <= high < square * (1 + Fraction(1, 2**100))


def test_a_change_of_one_ulp_is_seen_exactly():
    step = Fraction(math.nextafter(0.75, 9)) - Fraction(0.75)
    assert found(whole([[0.75, 2.75]]), whole([[math.nextafter(0.75, 9), 2.75]])).low == step**2
    first, second = (whole([[1e150, 0], [0, tiny]], [[0, 1]]) for tiny in (1e-200, 9e-200))
    assert float(found(first, second).high) == 0.0 < found(first, second).low


def test_errors_have_two_sides():
    import rationals

    two = rationals.of_errors(whole([[1, 1]]), [np.array([[[3.0, 0]], [[0, 4]]])])
    # 3 x1+ - 4 x2-, squared: 25 at most, where x1 > 0 > x2.
    assert rationals.supremum(two) == (16, 16)
    assert rationals.at(two, [3, -4]) == Fraction((9 - 16) ** 2, 25)


def test_the_plane_is_cut_everywhere():
    import rationals

    rng = np.random.default_rng(5)
    x = rng.normal(size=(2, 4000))
    x /= np.linalg.norm(x, axis=0)
    for sizes in [(2, 3, 1), (2, 3, 3, 2)] * 5:
        ends = [[rng.normal(size=s[::-1]) for s in pairwise(sizes)] for _ in range(2)]
        change = pairs.forward(ends[0], x.T) - pairs.forward(ends[1], x.T)
        seen = np.linalg.norm(change, axis=1).max()
        low, high = found(*ends)
        assert seen <= math.sqrt(high) * (1 + 1e-12)
        assert math.sqrt(low) <= seen * 1.01
        points = rationals.of_networks(*ends)
        far = max(rationals.at(points, p) for p in rationals._far(points).T)
        assert 0.98 * low <= far <= high


# Tickets by the page alone, against the package.


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_a_ticket_by_the_page_is_one_of_the_package(tmp_path, kind):
    import forgeries
    import redteam

    layers, names, kept = redteam.honest(kind)
    data = forgeries.written(*forgeries.sealed(names, kept))
    (tmp_path / "ticket.npz").write_bytes(data)
    ticket = archive.read(tmp_path / "ticket.npz")
    assert archive.to_bytes(ticket) == data
    assert forgeries.parsed(data) == (names, kept)
    (plus, minus), *later = verifying.effective(ticket)
    expected = [np.concatenate([plus, -minus], axis=1), *(side for (side,) in later)]
    scaled = [c * s for c, s in zip(expected, ticket.scales, strict=True)]
    for mine, theirs in zip(forgeries.network(names, kept), scaled, strict=True):
        np.testing.assert_allclose(mine.astype(float), theirs, rtol=1e-15)
    error = math.sqrt(forgeries.error(names, kept, layers).high)
    assert 0.0 < error < 1.0


@pytest.mark.parametrize("kind", [1, 3])
@pytest.mark.parametrize("which", range(9))
def test_every_forgery_of_a_field_makes_another_file(which, kind):
    import forgeries
    import redteam

    layers, names, kept = redteam.honest(kind)
    forge = lambda seed: forgeries.OF_FIELDS[which](
        np.random.default_rng(seed), names, kept, layers
    )
    files = {forgeries.written(*forgeries.sealed(*forge(seed))) for seed in range(20)}
    files.discard(forgeries.written(*forgeries.sealed(names, kept)))
    assert len(files) > 1


@pytest.mark.parametrize("which", range(4))
def test_every_forgery_of_a_file_is_no_ticket(which):
    import forgeries
    import redteam

    data = forgeries.written(*forgeries.sealed(*redteam.honest(0)[1:]))
    for seed in range(9):
        forged = forgeries.OF_FILES[which](np.random.default_rng(seed), data)
        assert forged != data
        assert forgeries.parsed(forged) == (None, None)


# What is planted is found, soon.

SHRUNK, RAISED = 1.0 - 1e-9, 1.0 + 1e-9


def test_an_upper_bound_a_billionth_too_low(capsys, monkeypatch):
    upper = certificate.upper
    monkeypatch.setattr(certificate, "upper", lambda pair: upper(pair) * SHRUNK)
    code, said = fuzz(capsys, "certificate")
    assert code == 1
    assert drawn(said) < 100
    assert "upper bound" in said
    assert "is below" in said


def test_a_lower_bound_a_billionth_too_high(capsys, monkeypatch):
    reach = pairs.reach
    monkeypatch.setattr(pairs, "reach", lambda *a: reach(*a) * RAISED)
    code, said = fuzz(capsys, "reach")
    assert code == 1
    assert drawn(said) < 100
    assert "is above" in said


def test_a_point_that_does_not_show_what_it_is_said_to(monkeypatch):
    import redteam

    case = redteam.Case("planted", whole([[1, 0, 0, 0], [0, 1, 0, 0]]), whole([[0] * 4] * 2))
    says = lambda value: lambda case: [redteam.Claim("lower", value, np.array([3.0, 4, 0, 12]))]
    for value, holds in ((5 / 13 * SHRUNK, True), (5 / 13 * RAISED, False)):
        monkeypatch.setitem(redteam.BOUNDS, "planted", redteam.Bound(says(value)))
        if holds:
            assert redteam.hold(case) == "points"
        else:
            with pytest.raises(redteam.BrokenError, match="at its point"):
                redteam.hold(case)


def test_the_code_printed_shows_the_violation_again(capsys, monkeypatch):
    import redteam

    reach = pairs.reach
    monkeypatch.setattr(pairs, "reach", lambda *a: reach(*a) * RAISED)
    code, said = fuzz(capsys, "reach")
    assert code == 1
    text = said[said.index("import sys") :]
    with pytest.raises(redteam.BrokenError, match="is above"):
        exec(text, {})
    monkeypatch.undo()
    monkeypatch.syspath_prepend(SCRIPTS)
    exec(text, {})


@pytest.mark.parametrize(
    "array",
    [
        np.array([[0.1, -0.0, 5e-324]]),
        np.array([[0.1], [1e300]], ">f8"),
        np.array([[2**62 + 1]]),
        np.array([[1]], np.longdouble) / 3,
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array([[0.1]], np.float16),
    ],
)
def test_code_makes_an_array_again_bit_for_bit(array):
    import redteam

    again = eval(redteam.code_of(array), {"np": np})
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    # (Not the bytes: of a long double some mean nothing.)
    assert [str(v) for v in again.flat] == [str(v) for v in array.flat]
    assert again.flags.f_contiguous == array.flags.f_contiguous


def test_warnings_tracebacks_and_refusals_without_reason_are_violations(capsys, monkeypatch):
    def warned(*_):
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)

    def refused(*_):
        raise InputError("networks must be of another size.")

    for planted, word in ((warned, "RuntimeWarning"), (refused, "refused"), (None, "Traceback")):
        monkeypatch.setattr(pairs, "reach", planted)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as a user may have it
            code, said = fuzz(capsys, "reach")
        assert code == 1
        assert drawn(said) < 30
        assert word in said, said


def test_a_wrong_verdict(capsys, monkeypatch):
    def holds(ticket, layers, *_, **__):
        verifying.errors(ticket, layers)  # refuses what the theorem does not speak of
        yield verifying.Verdict(True, 0.0, ticket.epsilon, ticket.epsilon)

    monkeypatch.setattr(verifying, "verdicts", holds)
    code, said = fuzz(capsys, "tickets")
    assert code == 1
    assert drawn(said) < 100
    assert "is below" in said or "HOLDS" in said


def test_a_reader_that_takes_any_bytes(capsys, monkeypatch, tmp_path):
    import forgeries
    import redteam

    path = tmp_path / "honest.npz"
    layers, *honest = redteam.honest(0)
    path.write_bytes(forgeries.written(*forgeries.sealed(*honest)))
    ticket = archive.read(path)
    monkeypatch.setattr(archive, "read", lambda path: ticket)
    monkeypatch.setattr(
        verifying, "verify", lambda *_, **__: verifying.Verdict(True, 0.0, 1e9, ticket.epsilon)
    )
    with pytest.raises(redteam.BrokenError, match="not as one is written"):
        redteam.hold_ticket(redteam.Forged(path.read_bytes() + b"\0", layers))


def test_a_device_bound_without_slack(monkeypatch):
    import redteam

    case = redteam.Case(
        "trial",
        [np.array([[0.5, 0.25]], np.float32)],
        [np.array([[[0.1, 0.2]], [[0.1, 0.2]]], np.float32)],
        "relu",
    )
    assert redteam.hold(case) == "exact"
    monkeypatch.setattr(device, "_ticket_rules", None)
    low = lambda *_: (np.zeros((4, 1)), np.full((4, 1), 0.2236))
    monkeypatch.setattr(redteam, "_rules", low)
    with pytest.raises(redteam.BrokenError, match=r"below 0\.223606"):
        redteam.hold(case)
