"""How wide, by epsilon: the width that one pruned neuron needs, for d = 2 to 16.

    python scripts/epsilon_curve.py                               # draws figures/epsilon.svg
    python scripts/epsilon_curve.py --trials 500 --dims 2 4 --data runs --figure runs/epsilon.svg

A panel for each construction: measured, exact, in leading order, and what the paper's lemma asks
for. A third has blocks again, over the exact width. One record a dimension and construction: a
killed run goes on, and a finished one only draws.
"""

import argparse
from pathlib import Path

import numpy as np

import ltjax
from ltjax import theory
from ltjax.results import estimates, line_figure, success_figure, words
from ltjax.results.estimates import Series
from ltjax.system import devices, files

FIGURES = Path(__file__).parent.parent / "figures"
EPSILONS, DELTA, SEED = (0.5, 0.2, 0.1, 0.05, 0.02), 0.05, 0
# Where success is counted, over the width that should be enough; a pooled width is the dearer.
AROUND = {c: np.geomspace(0.85, 1 / 0.85, n) for c, n in {"blocks": 31, "pooled": 11}.items()}
CAPTION = (
    f"Width at which a random network holds a ticket with probability {1 - DELTA:g}, by the rule "
    "tight, for the target with all |w| = 1/\u221ad. Every bar holds by itself. Blocks: the exact "
    "law. Pooled: the width at which Hall's theorem proves it; two neurons fewer are not enough."
)


def exact_widths(construction, dim):
    """By epsilon, the least width that may be enough and one that is: [epsilon, 2]."""
    blocks = lambda *asked: (theory.blocks_width(*asked),) * 2
    ends = {"blocks": blocks, "pooled": theory.pooled_width}[construction]
    etas = [theory.tolerance("tight", dim, epsilon) for epsilon in EPSILONS]
    return np.array([ends(np.full(dim, dim**-0.5), eta, DELTA) for eta in etas])


def count(construction, dim, args):
    least = exact_widths(construction, dim)[:, 0]
    widths = np.outer(least, AROUND[construction]).round().astype(int)
    which = {"constructions": (construction,), "rules": ("tight",)}
    problem = ltjax.neuron(dim, EPSILONS, np.unique(widths).tolist(), **which, seed=SEED)
    tally = ltjax.run(problem, args.trials, args.data / f"epsilon-{construction}-d{dim}.jsonl")
    print(f"{construction}, d = {dim}: {tally.trials:,} trials in {tally.seconds:.1f} s")
    return Series(label=f"{construction}, d = {dim}", tally=tally)


def lines(construction, dim, one):
    """Measured, derived, in leading order and promised: the widths of one record."""
    many = {"blocks": dim, "pooled": 1}[construction]
    found = estimates.needed(one, f"{construction}/tight", DELTA)
    derived = {
        "exact": exact_widths(construction, dim)[:, 1],
        "asymptotic": [many * theory.leading_width("tight", dim, e, DELTA) for e in EPSILONS],
        "lemma": [theory.lemma_width(dim, e, DELTA) for e in EPSILONS],
    }
    laws = [line_figure.derived(f"d = {dim}", name, EPSILONS, y) for name, y in derived.items()]
    return [line_figure.measured(f"d = {dim}", EPSILONS, found), *laws]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--trials", type=int, default=4000, help="random networks a record")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of records")
    parser.add_argument("--figure", type=Path, default=FIGURES / "epsilon.svg")
    args = parser.parse_args(argv)
    devices.use_cores()
    panels, ratios, series = [], [], []
    widths = {"xlabel": "epsilon", "ylabel": f"width k for success {1 - DELTA:g}"}
    over = {"xlabel": "epsilon", "ylabel": "width / exact width"}
    for construction in AROUND:
        drawn = []
        for dim in args.dims:
            series.append(count(construction, dim, args))
            found, exact, leading, lemma = lines(construction, dim, series[-1])
            drawn += [found, exact, leading, lemma]
            if construction == "blocks":
                ratios += [found.over(exact.y), leading.over(exact.y)]
        panels.append(line_figure.Panel(title=construction, lines=drawn, **widths))
    panels.append(
        line_figure.Panel(title="blocks", lines=ratios, **over, yscale="linear", apart=1.1)
    )
    caption = f"{CAPTION}\n{words.sources(series)} ltjax {ltjax.__version__}"
    files.write_atomic(
        args.figure, success_figure.render(line_figure.chart(panels, caption), args.figure.suffix)
    )
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
