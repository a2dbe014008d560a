"""What docs/reproducibility.md promises of records: old ones are read, and never gone on with."""

from dataclasses import replace
from pathlib import Path

import pytest

import ltjax
from ltjax import api
from ltjax.cli import preflight
from ltjax.counting import plans, records
from ltjax.counting.tally import Batch
from ltjax.errors import InputError
from ltjax.problem.problem import LAYOUT

COMMITTED = Path(__file__).parents[2] / "figures" / "data"
KEPT = [path for path in sorted(COMMITTED.glob("*.jsonl")) if path.name != "audit.jsonl"]
HERE = ltjax.neuron(dim=2, epsilons=(0.3,), widths=(4, 8), rules=("tight",))
ELSEWHERE = replace(HERE, layout="ltjax-draws/0")


def test_there_are_committed_records():
    assert len(KEPT) > 30


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_every_committed_record_is_read_and_could_be_gone_on_with(path):
    tally = records.load([path])
    assert tally.problem.layout == LAYOUT
    assert 0 < (tally.certified + tally.refuted).max() <= tally.trials
    plans.check(tally.problem, tally.trials + 1)


def test_a_problem_of_another_layout_is_counted_nowhere(tmp_path):
    for go in (api.run, preflight.dry_run):
        with pytest.raises(InputError, match=f"layout must be {LAYOUT}.*, got ltjax-draws/0; .*"):
            go(ELSEWHERE, 10, tmp_path / "a.jsonl")
    assert not list(tmp_path.iterdir())


def test_a_record_of_another_layout_is_read_and_merged_and_not_gone_on_with(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    tally = api.run(HERE, 30)
    for path in paths:
        with records.Log(path, ELSEWHERE, 30, {"jax": "0"}) as log:
            log.append(Batch(0, 30, tally.certified, tally.refuted, 0, 0, 1.0))
    before = paths[0].read_bytes()
    merged = records.load(paths)
    assert (merged.problem, merged.trials) == (ELSEWHERE, 30)
    assert "4" in api.table(merged)
    with pytest.raises(InputError, match=r"layout is .*draws/0.* there and .*draws/1.* here"):
        api.run(HERE, 60, paths[0])
    assert paths[0].read_bytes() == before
