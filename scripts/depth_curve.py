"""How wide, by size: the block that a pruned network needs, over depth l, hidden width n and d.

    python scripts/depth_curve.py                                 # draws figures/depth.svg
    python scripts/depth_curve.py --trials 50 --depths 1 2 --data runs --figure runs/depth.svg

One size varies while the others keep their middle value; exponents are fitted to the points. By the
rule tight: measured, exact, in leading order, and what the paper's lemma asks for. By sup: the
blocks at which tickets are certified and at which they are not refuted, between which the true one
lies.

The target is `worst`: signs of a Hadamard matrix, norm 1, all weights as large as that lets them
be. |f| reaches 1 in the unit ball at every depth, 0.7 where layers widen. (The supremum of a random
target falls fast with its depth; below epsilon an empty ticket is enough.) One record a rule and
size: a killed run goes on, and a finished one only draws.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import ltjax
from ltjax import theory
from ltjax.counting import intervals
from ltjax.networks import targets
from ltjax.results import estimates, line_figure, success_figure
from ltjax.results.estimates import Series
from ltjax.results.words import sources
from ltjax.system import devices, files

FIGURES = Path(__file__).parent.parent / "figures"
EPSILON, DELTA, SEED = 0.2, 0.05, 0
# Where success is counted, over the block that should be enough for the rule tight.
AROUND = {"tight": np.geomspace(0.7, 1 / 0.7, 13), "sup": np.geomspace(1 / 64, 1 / 6, 11)}
CAPTION = (
    f"Block size at which a random network holds a ticket with probability {1 - DELTA:g}, epsilon "
    f"{EPSILON:g}, construction blocks, target with Hadamard signs. Each bar holds by itself. "
    "Exponents by least squares on logarithms, with intervals that hold wherever the bars do."
)


def exact_block(sizes):
    return theory.block_size("blocks", targets.worst_target(sizes), "tight", EPSILON, DELTA).neurons


def count(rule, sizes, args):
    problem = ltjax.network(
        epsilons=(EPSILON,),
        blocks=np.unique((exact_block(sizes) * AROUND[rule]).round().astype(int)).tolist(),
        target=targets.worst_target(sizes),
        constructions=("blocks",),
        rules=(rule,),
        seed=SEED,
    )
    title = problem.config.title
    tally = ltjax.run(problem, args.trials, args.data / f"depth-{rule}-{title}.jsonl")
    print(f"{rule}, {title}: {tally.trials:,} trials in {tally.seconds:.1f} s")
    return Series(label=f"{rule}, {title}", tally=tally)


def events(rule, one):
    """The counted events of a record, each with every trial decided."""
    tally = one.tally
    if rule == "tight":
        return {"tight": one}
    return {
        "sup, certified": replace(
            one, tally=replace(tally, refuted=tally.refuted + tally.undecided)
        ),
        "sup, not refuted": replace(
            one, tally=replace(tally, certified=tally.certified + tally.undecided)
        ),
    }


def lines(x, shapes, series):
    """Measured and fitted, then derived, in leading order and promised."""
    drawn = []
    for rule in AROUND:
        found = [events(rule, series[rule, sizes]) for sizes in shapes]
        for name in found[0]:
            widths = [estimates.needed(one[name], f"blocks/{rule}", DELTA)[0] for one in found]
            drawn.append(line_figure.measured(name, x, widths))
    derived = {
        "exact": [exact_block(sizes) for sizes in shapes],
        "asymptotic": [theory.asymptotic_block("tight", s, EPSILON, DELTA) for s in shapes],
        "lemma": [theory.network_lemma_block(sizes, EPSILON, DELTA) for sizes in shapes],
    }
    return drawn + [line_figure.derived("tight", kind, x, y) for kind, y in derived.items()]


def fitted(drawn):
    """Power laws through measured points, and the exponents of all lines in words."""
    laws, words = [], []
    for line in drawn:
        fit = intervals.power_law(line.x, line.y, line.low, line.high)
        if line.kind == "measured":
            words.append(f"{line.label} {fit.exponent:.2f} ({fit.low:.2f} to {fit.high:.2f})")
            laws.append(
                line_figure.derived(line.label, "fitted", line.x, fit.scale * line.x**fit.exponent)
            )
        else:
            words.append(f"{line_figure.LINE_STYLES[line.kind].meaning} {fit.exponent:.2f}")
    return laws, ", ".join(words)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 3, 4, 5])
    parser.add_argument("--hiddens", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--dims", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--trials", type=int, default=300, help="random networks a record")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of records")
    parser.add_argument("--figure", type=Path, default=FIGURES / "depth.svg")
    args = parser.parse_args(argv)
    devices.use_cores()
    d, n, depth = (given[(len(given) - 1) // 2] for given in (args.dims, args.hiddens, args.depths))
    sweeps = {  # what varies, what does not, and the sizes of the network at each place
        ("depth l", f"n = {n}, d = {d}"): {x: (d, *[n] * (x - 1), 1) for x in args.depths},
        ("hidden width n", f"l = {depth}, d = {d}"): {
            x: (d, *[x] * (depth - 1), 1) for x in args.hiddens
        },
        ("input dimension d", f"l = {depth}, n = {n}"): {
            x: (x, *[n] * (depth - 1), 1) for x in args.dims
        },
    }
    wanted = dict.fromkeys(sizes for sweep in sweeps.values() for sizes in sweep.values())
    series = {(rule, sizes): count(rule, sizes, args) for sizes in wanted for rule in AROUND}
    panels, exponents = [], []
    ylabel = f"block size m for success {1 - DELTA:g}"
    for (name, title), sweep in sweeps.items():
        drawn = lines(list(sweep), list(sweep.values()), series)
        laws, told = fitted(drawn)
        exponents.append(f"Exponent of {name}: {told}.")
        print(exponents[-1])
        drawn += laws
        panels.append(line_figure.Panel(title=title, xlabel=name, ylabel=ylabel, lines=drawn))
    caption = "\n".join([CAPTION, *exponents, sources(list(series.values()))])
    caption += f" ltjax {ltjax.__version__}"
    files.write_atomic(
        args.figure, success_figure.render(line_figure.chart(panels, caption), args.figure.suffix)
    )
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
