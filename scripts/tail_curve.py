"""How rarely a neuron has no ticket: failure far below what trials can count, to 1e-10.

    python scripts/tail_curve.py                                  # draws figures/tail.svg
    python scripts/tail_curve.py --trials 500 --draws 50 --dims 4 --data runs --figure runs/tail.svg

A panel for each construction: estimated by `theory.tail`, exact where there is a law, and counted
where counting reaches. A third has the standard errors of estimating and of counting. One record a
target and construction: a killed run goes on, and a finished one is only estimated and drawn.
"""

import argparse
from itertools import chain
from pathlib import Path

import numpy as np

import ltjax
from ltjax import theory
from ltjax.results import estimates, line_figure, success_figure, words
from ltjax.results.estimates import Series
from ltjax.system import devices, files

FIGURES = Path(__file__).parent.parent / "figures"
EPSILON, SEED = 0.1, 0
FAILURES = (0.5, *(10.0**-n for n in range(1, 11)))  # where a width is placed
COUNTED = 5  # of them, from the first
RANDOM = 32  # the dimension whose weights are random; there shared has no exact law
CAPTION = (
    f"One neuron, error {EPSILON:g}, rule tight. Estimated: the exact probability given the output "
    "weights A, averaged over draws of A that mostly leave a slot empty on purpose, and weighted "
    "for it. Bars that cannot be seen are smaller than their point; every bar holds by itself. "
    "Shared is necessary for a ticket from one pool."
)


def problem(construction, dim):
    """The target and the widths at which it is to fail as often as `FAILURES` say."""
    target = "random" if dim == RANDOM else "worst"
    weights = ltjax.neuron(dim=dim, target=target, widths=(1,), seed=SEED).arrays
    eta, many = theory.tolerance("tight", dim, EPSILON), dim if construction == "blocks" else 1
    widths = [round(many * theory.poisson_width(weights, eta, delta)) for delta in FAILURES]
    searched = {"blocks": "blocks", "shared": "pooled"}[construction]
    asked = {"constructions": (searched,), "rules": ("tight",), "seed": SEED, "target": target}
    return weights, eta, np.array(widths), ltjax.neuron(dim, (EPSILON,), widths[:COUNTED], **asked)


def lines(construction, dim, args):
    """Failure estimated, exact and counted; then the relative standard errors."""
    weights, eta, widths, counted = problem(construction, dim)
    x = widths / dim if construction == "blocks" else widths
    odds = theory.tail(construction, weights, eta, widths, draws=args.draws, seed=SEED)
    label = f"d = {dim}, " + ("random weights" if dim == RANDOM else "all |w| = 1/\u221ad")
    tally = ltjax.run(counted, args.trials, args.data / f"tail-{construction}-d{dim}.jsonl")
    print(f"{construction}, d = {dim}: {tally.trials:,} trials in {tally.seconds:.1f} s")
    one = Series(label=f"{construction}, {label}", tally=tally)
    seen = estimates.estimate(one, f"{construction}/tight", 1)
    failed, high, low = (1 - side[:, 0] for side in (seen.certified, *seen.bar))
    points = {"x": x[:COUNTED], "y": np.where(failed > 0, failed, np.nan), "low": low, "high": high}
    drawn = [line_figure.Line(label=label, kind="measured", **points)]
    drawn.append(line_figure.estimated(label, x, odds.failure, odds.error))
    if construction == "blocks" or dim != RANDOM:
        law = {"blocks": theory.blocks_odds, "shared": theory.shared_odds}[construction]
        drawn.append(line_figure.derived(label, "exact", x, law(weights, eta, widths).failure))
    chance = np.sqrt(odds.success / odds.failure / tally.trials)
    error = line_figure.estimated(label, x, odds.error / odds.failure, 0 * x)
    return one, drawn, [error, line_figure.derived(label, "counting", x, chance)]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[4, 16, RANDOM])
    parser.add_argument("--trials", type=int, default=200_000, help="random networks counted")
    parser.add_argument("--draws", type=int, default=1000, help="networks A a width")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of records")
    parser.add_argument("--figure", type=Path, default=FIGURES / "tail.svg")
    args = parser.parse_args(argv)
    devices.use_cores()
    panels, series = [], []
    for construction, xlabel in (("blocks", "width k / d"), ("shared", "width k")):
        ones, drawn, errors = zip(*(lines(construction, d, args) for d in args.dims), strict=True)
        series += ones
        axes = {"title": construction, "xlabel": xlabel, "ylabel": "failure probability"}
        panels.append(line_figure.Panel(lines=[*chain(*drawn)], xscale="linear", **axes))
    axes = {"title": "shared, precision", "xlabel": xlabel, "ylabel": "standard error / failure"}
    panels.append(line_figure.Panel(lines=[*chain(*errors)], xscale="linear", **axes))
    caption = f"{CAPTION} {args.draws:,} draws of A a width, seed {SEED}.\n"
    caption += f"{words.sources(series)} ltjax {ltjax.__version__}"
    files.write_atomic(
        args.figure, success_figure.render(line_figure.chart(panels, caption), args.figure.suffix)
    )
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
