"""The script on slopes of subset sums: covers by bits are those by lists, and a toy run prints."""

from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        import subset_slopes

        yield subset_slopes


def test_covers_by_bits_are_those_by_lists(script):
    rng = np.random.default_rng(0)
    half, seen = 200, set()
    targets = np.arange(-half, half + 1)
    for _ in range(60):
        numbers = rng.integers(-400, 401, 7)
        sums = np.zeros(1, np.int64)
        expected = []
        for number in [0, *numbers]:
            sums = np.union1d(sums, sums + number)
            near = np.min(np.abs(sums[:, None] - targets), axis=0)
            expected.append(bool(np.max(near) <= script.FINE))
        assert script.covers(numbers.tolist(), half) == expected
        seen |= set(expected)
    assert seen == {True, False}


@pytest.mark.slow
def test_it_runs_at_toy_size(script, capsys):
    script.main(["--trials", "60", "--covers", "30", "--bits", "3", "5"])
    assert len(capsys.readouterr().out.splitlines()) == len(script.LAWS) * len(script.EVENTS)
