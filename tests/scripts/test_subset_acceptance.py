"""Published figures are judged, not printed alone: one that is wrong ends with exit code 1."""

import struct
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import subset_acceptance

    return subset_acceptance


def test_counts_of_one_law_agree_and_of_two_do_not(script):
    assert script.agree(404, 100_000, 420, 100_000)
    assert not script.agree(404, 100_000, 524, 100_000)
    assert not script.Line("", "", "", agrees=False).kept
    assert not script.Line("", "", "", agrees=True, must=False).kept


def test_stored_arrays_are_found_by_what_stands_before_them(script):
    first, second = np.arange(3, dtype="<f4"), np.float32([0.5, -7])
    data = (
        b"head" + struct.pack("<q", 3) + first.tobytes() + struct.pack("<q", 2) + second.tobytes()
    )
    found = script.stored_floats(data, [3, 2], lambda n: struct.pack("<q", n))
    assert found.tolist() == [0, 1, 2, 0.5, -7]


def test_sizes_of_first_hits_are_those_of_all_subsets(script):
    n, trials = 6, 40
    found = script.existence_of("product", trials, n)
    numbers = script.uniforms(script.draws.HIDDEN, trials, n)
    numbers = numbers * script.uniforms(script.draws.OUTPUT, trials, n)
    target = script.uniforms(script.draws.TARGET, trials, 1)[0] * script.UNIT
    for p in range(trials):
        off = script.exact_by_size(numbers[:, p], int(target[p]))[:n] / 2.0**48
        within = np.flatnonzero(off <= script.EPSILON)
        assert found.hit[p] == (len(within) > 0)
        assert found.size[p] == (within[0] if len(within) else np.argmin(off))
        assert abs(found.error[p] - off.min()) <= n * 2.0**-25
        low, high = numbers[:, p].clip(None, 0).sum(), numbers[:, p].clip(0).sum()
        beyond = max(low - target[p], target[p] - high) / 2.0**48
        assert found.reached[p] == (beyond <= script.EPSILON)


@pytest.mark.slow
def test_a_published_figure_that_is_wrong_is_seen(script, monkeypatch, capsys):
    script.main(["--quick", "--part", "existence"])
    assert "WRONG" not in capsys.readouterr().out
    monkeypatch.setitem(script.MISSES, "uniform", 3000)
    with pytest.raises(SystemExit) as ended:
        script.main(["--quick", "--part", "existence"])
    assert ended.value.code == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.endswith("WRONG")]
    assert wrong[0].startswith("uniform: missed")
    assert all("product" not in line for line in wrong)


@pytest.mark.slow
def test_the_other_parts_run_at_toy_size(script, capsys):
    script.main(["--quick", "--part", "pensia", "--part", "cnnslth"])
    assert "does not agree, and must not" in capsys.readouterr().out
