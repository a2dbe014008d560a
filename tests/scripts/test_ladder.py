"""The ladder of widths, drawn again from its records, and what is said of it."""

import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

import ltjax
from ltjax import theory
from ltjax.counting import intervals

ROOT = Path(__file__).parents[2]
LADDER = runpy.run_path(str(ROOT / "scripts" / "ladder.py"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """What the script prints and the figure it draws, of copies of the records."""
    folder = tmp_path_factory.mktemp("ladder")
    for name in LADDER["EPSILONS"]:
        shutil.copy(ROOT / "figures" / "data" / f"ladder-{name}.jsonl", folder)
    figure = folder / "ladder.svg"
    with pytest.MonkeyPatch.context() as patch:
        said = []
        patch.setitem(LADDER["main"].__globals__, "print", said.append)
        LADDER["main"](["--data", str(folder), "--figure", str(figure)])
    return "\n".join(said), figure.read_bytes()


def test_the_figure_is_made_again_byte_for_byte(drawn):
    assert drawn[1] == (ROOT / "figures" / "ladder.svg").read_bytes()


def test_the_readme_says_what_is_printed(drawn):
    neuron, _ = drawn[0].split("network:")
    readme = (ROOT / "README.md").read_text()
    caption = readme[readme.index("*What a ticket was proved to need") :].split("Drawn by")[0]
    finding = readme[readme.index("- **Where subsets of products") :].split("\n- ")[0]
    at = {
        (label, epsilon): next(
            float(number.replace(",", ""))
            for line in neuron.splitlines()
            if line.strip().startswith(label)
            for number in re.findall(rf"([\d,]+) at {epsilon}\b|at {epsilon}: (\d+)", line)[:1]
            for number in number
            if number
        )
        for label in ("the paper's lemma", "nearest", "one pool", "any mask of", "subset sums")
        for epsilon in ("0.1", "0.01")
    }
    for (label, epsilon), width in at.items():
        if epsilon == "0.01":
            assert f"{width:,.0f}" in caption, label
        if label in ("one pool", "any mask of", "subset sums"):
            assert f"{width:,.0f}" in finding, (label, epsilon)


def test_no_ticket_of_blocks_is_found_below_what_is_needed():
    """The bound on success, at every width counted, is no lower than the counts allow."""
    tally = ltjax.load([ROOT / "figures" / "data" / "ladder-neuron.jsonl"])
    met = tally.certified[tally.criterion("subset/sup")]
    blocks = np.array(tally.problem.grid.widths) // 8
    refuted = 0
    for e, epsilon in enumerate(tally.problem.grid.epsilons):
        short = 8**-0.5 - epsilon
        if short <= 0.0:
            continue
        reached = (1.0 - theory.out_of_reach("side", blocks, short)) ** 8
        low, _ = intervals.clopper_pearson(met[:, e], tally.trials, 1e-6 / met.size)
        assert np.all(low <= reached)
        # A bound of a reach twice as long would be seen.
        farther = (1.0 - theory.out_of_reach("side", blocks, min(2.0 * short, 1.0))) ** 8
        refuted += np.any(low > farther)
    assert refuted
