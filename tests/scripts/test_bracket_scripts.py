"""The scripts about brackets run at toy size, on the pairs of the tests, and print their goals."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from test_ascent import near_pairs, one
from test_gaps import near

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench():
    return runpy.run_path(str(SCRIPTS / "bench_bracket.py"))


def test_pairs_are_those_of_the_tests(bench):
    pairs = near_pairs((3, 4, 2), 2)
    stacked = bench["stacked"]([bench["near_pair"]((3, 4, 2), k) for k in range(2)])
    for mine, theirs in zip(stacked[:2], pairs[:2], strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_array_equal(a, b)
    assert bench["near_pair"]((3, 4, 2), 1).last == one(pairs, 1).last


def test_every_figure_stands_beside_its_goal(bench, capsys, tmp_path):
    bench["main"](["--quick", "--digits", str(tmp_path / "none.npz")])
    said = capsys.readouterr().out
    assert re.search(r"root over exact: median 1\.0\d+   <= 1\.05", said)
    assert re.search(r"one by one: \d+\.\d+   >= 3", said)
    assert re.search(r"within 1e-4 of exact: \d+ %   >= 70, .* ms   <= 10", said)
    assert re.search(r"\(4, 4, 2\) +3 of 3 within 1\.0001: .* s, worst .*   <= 1\.2", said)
    assert re.search(r"\(4, 4, 2\) +median \d+\.\d+, all agree", said)
    assert "digits: left out, as there is no " in said
    assert re.search(r"\(4, 4, 1\): \d+\.\d, \d+\.\d, ratio \d+\.\d+   <= 2", said)


def test_a_small_network_stands_for_the_digits(bench, capsys, tmp_path):
    path = tmp_path / "net.npz"
    np.savez(path, *near((3, 4, 2))[0])
    bench["bench_digits"](path)
    low, high, lower, upper = map(float, re.findall(r"\d\.\d{6}", capsys.readouterr().out))
    assert 0 < low <= lower <= upper <= high  # in the six digits that are printed


WORDS = "--hiddens 8 --depths 2 --etas 0.01 --pairs 2"


def test_the_figure_is_drawn_and_the_same_again(tmp_path, capsys):
    main = runpy.run_path(str(SCRIPTS / "supnorm_gap.py"))["main"]
    drawn, told = [], []
    for name in ("a.svg", "b.svg"):
        main([*WORDS.split(), "--data", str(tmp_path), "--figure", str(tmp_path / name)])
        drawn.append((tmp_path / name).read_bytes())
        told.append(capsys.readouterr().out.replace(name, ""))
    assert drawn[0] == drawn[1]
    assert told[0] == told[1]
    assert b"public tools" in drawn[0]
    # Every bound is one, and each is closer than the one before.
    layerwise, *closer = re.findall(r"\d\.\d{3}", told[0].splitlines()[0])
    assert float(layerwise) > 2.0
    assert sorted(closer, reverse=True) == closer
    # What is kept is used, but not for other pairs.
    kept = next(tmp_path.glob("bracket-8-8-1-*.json"))
    found = json.loads(kept.read_text())
    kept.write_text(json.dumps(found | {"ratios": [[9.0, 8.0, 7.0, 6.0]] * 2}))
    main([*WORDS.split(), "--data", str(tmp_path), "--figure", str(tmp_path / "c.svg")])
    assert "layer by layer 9.000, certificate 8.000" in capsys.readouterr().out
    assert (tmp_path / "c.svg").read_bytes() != drawn[0]
    main([*WORDS.split()[:-1], "1", "--data", str(tmp_path), "--figure", str(tmp_path / "d.svg")])
    assert "layer by layer 9.000" not in capsys.readouterr().out
