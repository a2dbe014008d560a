"""The scripts about training run at toy size, and draw and tell the same again."""

import json
from pathlib import Path

import numpy as np
import pytest

from ltjax.counting.records import load
from ltjax.networks.pairs import reach

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.slow

WORDS = ["--set", "wine", "--widths", "4", "--strong-widths", "4", "--blocks", "5"]
WORDS += ["--steps", "40", "--seeds", "3"]


@pytest.fixture(scope="module")
def scripts():
    """Makes them importable, as they import one another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        yield


@pytest.fixture(scope="module")
def drawn(scripts, tmp_path_factory):
    """The folder of a run at toy size."""
    import conjectures

    folder = tmp_path_factory.mktemp("runs")
    conjectures.main([*WORDS, "--data", str(folder), "--figures", str(folder)])
    return folder


def test_a_finished_run_only_draws_and_draws_the_same(drawn, tmp_path, monkeypatch, capsys):
    import conjectures

    monkeypatch.setattr(conjectures, "KERNELS", None)
    monkeypatch.setattr(conjectures.given_target, "brackets", None)
    before = {path.name: path.read_bytes() for path in drawn.iterdir()}
    conjectures.main([*WORDS, "--data", str(drawn), "--figures", str(tmp_path)])
    figures = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(figures) == {"winning_tickets.svg", "winning_steps.svg", "strong_tickets.svg"}
    assert figures.items() <= before.items()
    assert {path.name: path.read_bytes() for path in drawn.iterdir()} == before
    said = capsys.readouterr().out
    for words in ("error, ticket - random:", "success: winning", "m = 5, median bounds: proof"):
        assert words in said


def test_what_is_kept_is_what_the_record_counts(drawn):
    for experiment, pairs in (
        ("imp", (("ticket", 2), ("random", 0), ("reinit", 4))),
        ("popup", (("popup", 0),)),
    ):
        found = json.loads((drawn / f"{experiment}-wine-n4.json").read_text())
        tally = load([drawn / f"{experiment}-wine.jsonl"])
        right = {kind: np.array(counts) for kind, counts in found["right"].items()}
        for kind, share in pairs:
            keep = tally.problem.config.keeps[share]
            of_kind = right[kind].reshape(3, -1)[:, share]
            wanted = np.sum((right["dense"] - of_kind) / found["inputs"] <= 0.02)
            assert tally.certified[tally.criterion(f"{kind}/{keep:g}"), 0, 0] == wanted


def test_another_question_is_measured_anew(drawn, tmp_path):
    import conjectures

    kept = {"asked": 1, "answer": 2}
    assert conjectures.stored(tmp_path / "a.json", {"asked": 1}, lambda: {"answer": 2}) == kept
    assert conjectures.stored(tmp_path / "a.json", {"asked": 1}, None) == kept
    again = conjectures.stored(tmp_path / "a.json", {"asked": 3}, lambda: {"answer": 4})
    assert again == json.loads((tmp_path / "a.json").read_text()) == {"asked": 3, "answer": 4}


def test_intervals_are_those_of_student(scripts):
    import conjectures

    # Of 1, 2, 6: mean 3, standard deviation sqrt 7, and t of two degrees at 0.975 is 4.30265.
    middle, low, high = conjectures.mean(np.array([[1.0], [2.0], [6.0]]))
    reach = 4.30265 * (7 / 3) ** 0.5
    np.testing.assert_allclose([middle[0], low[0], high[0]], [3.0, 3 - reach, 3 + reach], rtol=1e-5)


def test_brackets_are_ordered_and_no_empty_mask_is_near(drawn, scripts):
    import given_target

    bounds = json.loads((drawn / "given-target-m5.json").read_text())["bounds"]
    assert set(bounds) == {"proof", "scores", "flips", "subset"}
    for ends in bounds.values():
        assert (np.array(ends["lower"]) <= ends["upper"]).all()
    for way in ("flips", "subset"):
        assert np.median(bounds[way]["upper"]) < np.median(bounds["proof"]["upper"])
    reached = reach(given_target.target())
    assert reached == pytest.approx(1.0, abs=1e-6)  # what keeping nothing errs by


def test_the_bench_prints_its_ratios(scripts, capsys):
    import bench_training

    words = ["--widths", "8", "--steps", "20", "--rounds", "1", "--passes", "2", "--without-imp"]
    bench_training.main(words)
    said = capsys.readouterr().out
    for line in (
        "one after another, over that",
        "a loop in Python, over that",
        "360 inputs, sparse",
    ):
        assert line in said


def test_bytes_are_counted_as_they_would_be_stored(scripts):
    import bench_training
    from scipy import sparse

    layers = bench_training.ticket(64)
    kept = sum(int(np.sum(layer != 0.0)) for layer in layers)
    assert kept == pytest.approx(0.2 * (64 * 65 + 10 * 64), rel=0.1)
    stored = bench_training.sizes(layers, [sparse.csr_array(layer) for layer in layers])
    # Values and columns of 4 bytes each, and where each of the 74 rows begins and the last ends.
    assert stored["sparse rows"] == 8 * kept + 4 * (65 + 11)
    assert stored["mask and trained weights"] == 4 * kept + 64 * 65 // 8 + 64 * 10 // 8
    assert stored["mask and seed"] == 600 + 8
