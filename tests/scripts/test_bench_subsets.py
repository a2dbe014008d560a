"""The speed table of subset sums, at toy size: its baselines find what the kernel finds."""

from pathlib import Path

import numpy as np
import pytest

from ltjax.masks import subset_host

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import bench_subsets

    return bench_subsets


def test_the_numpy_loop_finds_the_optimum(script):
    numbers, target = script.problems(9, 12)
    errors, masks, _ = script.by_numpy(numbers, target)
    for p, (error, mask) in enumerate(zip(errors, masks, strict=True)):
        exact, _ = subset_host.nearest(numbers[:, p].astype(np.int64), int(target[p]))
        assert abs(error) == abs(exact)
        assert (
            sum(int(x) for i, x in enumerate(numbers[:, p]) if mask >> i & 1) - target[p] == error
        )


@pytest.mark.slow
def test_every_line_is_printed(script, capsys):
    script.main(["--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert lines[-1].startswith("12,406 optima of 21 on ")
