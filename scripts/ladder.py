"""The ladder: what width a ticket was proved to need, takes, and cannot do without, by epsilon.

    python scripts/ladder.py                          # draws figures/ladder.svg
    python scripts/ladder.py --trials 100 --data runs --figure runs/ladder.svg

Left one neuron, right a network, from the top: the paper's lemma; its construction with its own
tolerance, exactly; one pool of neurons with the tolerance that suffices, proved to a neuron or two;
the best subset of every block, measured by the supremum over the ball; and the width below which no
mask of blocks, or no mask whatever, succeeds as often. One record a panel: a killed run goes on,
and a finished one only draws.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import ltjax
from ltjax import theory
from ltjax.networks.pairs import forward
from ltjax.networks.targets import worst_target
from ltjax.problem.problem import Problem
from ltjax.results import estimates, line_figure, success_figure, words
from ltjax.results.estimates import Series
from ltjax.system import devices, files

FIGURES = Path(__file__).parent.parent / "figures"
DIM, SIZES, DELTA, SEED = 8, (8, 8, 1), 0.05, 0
EPSILONS = {"neuron": (0.5, 0.2, 0.1, 0.05, 0.02, 0.01), "network": (0.5, 0.2, 0.1, 0.05, 0.02)}
BLOCKS = {"neuron": (*range(10, 50, 2),), "network": (*range(8, 56, 2),)}
TARGET = np.full(DIM, DIM**-0.5)
MOST = 64  # neurons up to which it is known how often a target is out of reach
CAPTION = (
    f"Hidden neurons (of a layer, where there are several) for success {1 - DELTA:g}. Targets have "
    "weights all of one size. Nearest product: with the proof's tolerance, exact. One pool: with "
    "the tolerance that suffices, by Hall's theorem. Subset sums: blocks, the best subset of each, "
    "judged by the supremum over the ball. Bounds: with fewer neurons the target is too often "
    "more than epsilon above all that a mask can give, at some unit vector; or, of a random "
    "target, masks of blocks are too few, a bit a neuron."
)


class Panel(NamedTuple):
    """What is asked of one panel.

    problem: of subset sums, for epsilons and block sizes.
    derived: by label, the kind of line and the width for an epsilon; None where there is none.
    """

    title: str
    problem: Callable[..., Problem]
    derived: dict


def least(chance):
    """The least width at which an upper bound on success, a function of widths, is 1 - DELTA."""
    widths = np.arange(1, MOST + 1)
    return int(widths[chance(widths) >= 1.0 - DELTA][0])


def neuron_in_reach(epsilon, blocks):
    r"""The least width with which all that is kept can reach w_i - epsilon at every unit vector.

    f(sign(w_i) e_i) = |w_i|, and g there is at most the sum of the products A_j W_ji that are
    positive, over the neurons whose W_ji has the sign of w_i. Blocks have neurons of their own for
    each i, and are independent; of any mask one input is looked at.
    """
    short = TARGET[0] - epsilon
    if short <= 0.0:
        return None
    there = lambda k: 1.0 - theory.out_of_reach("side", k, short)
    return DIM * least(lambda m: there(m) ** DIM) if blocks else least(there)


def counted(epsilon):
    """The fewest neurons of blocks whose masks, a bit each, can serve a random relu(w.x)."""
    return int(theory.least_bits(DIM, 2.0 * epsilon, DELTA)) or None


def network_in_reach(epsilon, blocks):
    r"""The least width with which something positive passes the first pair wherever it must.

    f is above epsilon at some of +e_i and -e_i. A hidden neuron passes e_i on if W_ji > 0 and
    A_hj > 0 for some h of n, and -e_i if W_ji < 0: each with chance (1 - 2^-n) / 2. Without one
    g is at most 0 there. Blocks have neurons of their own for each i, and are independent; of any
    mask one vector is looked at.
    """
    ends = np.concatenate([np.eye(SIZES[0]), -np.eye(SIZES[0])])
    asked = np.sum((forward(worst_target(SIZES), ends)[:, 0] > epsilon).reshape(2, -1), axis=0)
    none, idle = 0.5 + 0.5 ** (SIZES[1] + 1), 0.5 ** SIZES[1]
    some = [np.ones_like, lambda m: 1.0 - none**m, lambda m: 1.0 - 2.0 * none**m + idle**m]
    if not np.any(asked):
        return None
    if not blocks:
        return least(some[1])
    return SIZES[0] * least(lambda m: np.prod([some[n](m) for n in asked], axis=0))


def lowered(width):
    """The same line for both kinds of masks."""
    return {
        "any mask of blocks": ("bound", lambda epsilon: width(epsilon, True)),
        "any mask": ("bound", lambda epsilon: width(epsilon, False)),
    }


def neuron_panel():
    eta = lambda rule, epsilon: theory.tolerance(rule, DIM, epsilon)
    return Panel(
        f"one neuron, d = {DIM}",
        lambda epsilons, blocks: ltjax.neuron(
            DIM, epsilons, [DIM * m for m in blocks], rules=("subset", "sup"), seed=SEED
        ),
        {
            "the paper's lemma": ("lemma", lambda e: theory.lemma_width(DIM, e, DELTA)),
            "nearest product": (
                "exact",
                lambda e: theory.blocks_width(TARGET, eta("slides", e), DELTA),
            ),
            "one pool": ("exact", lambda e: theory.pooled_width(TARGET, eta("tight", e), DELTA)[1]),
            **lowered(neuron_in_reach),
            "counting, a random target": ("bound", counted),
        },
    )


def network_panel():
    target = worst_target(SIZES)
    block = lambda e: theory.block_size("blocks", target, "slides", e, DELTA).neurons
    return Panel(
        "-".join(map(str, SIZES)),
        lambda epsilons, blocks: ltjax.network(
            *SIZES[:2], len(SIZES) - 1, epsilons, blocks, rules=("subset", "sup"), seed=SEED
        ),
        {
            "the paper's lemma": ("lemma", lambda e: theory.network_lemma_width(SIZES, e, DELTA)),
            "nearest product": ("exact", lambda e: SIZES[0] * block(e)),
            "one pool": (
                "exact",
                lambda e: theory.network_pool_width(target, "tight", e, DELTA)[1],
            ),
            **lowered(network_in_reach),
        },
    )


def count(name, panel, args):
    problem = panel.problem(EPSILONS[name], BLOCKS[name])
    tally = ltjax.run(problem, args.trials[name], args.data / f"ladder-{name}.jsonl")
    print(f"{name}: {tally.trials:,} trials in {tally.seconds:.1f} s")
    return Series(label=panel.title, tally=tally)


def lines(name, panel, one):
    """Derived and measured widths, from the top of the ladder."""
    epsilons, drawn = np.array(EPSILONS[name]), []
    for label, (kind, width) in panel.derived.items():
        found = [(e, k) for e in epsilons if (k := width(e)) is not None]
        drawn.append(line_figure.derived(label, kind, *zip(*found, strict=True)))
        print(f"  {label}: {', '.join(f'{k:,} at {e:g}' for e, k in found)}")
    needed = estimates.needed(one, "subset/sup", DELTA)
    measured = line_figure.measured("subset sums", epsilons, needed)
    if name == "network":  # widths of its grid are those of a block
        measured = measured.over(1.0 / SIZES[0])
    for e, *ends in zip(epsilons, measured.y, measured.low, measured.high, strict=True):
        print("  subset sums at {:g}: {:g} ({:g} to {:g})".format(e, *ends))
    return [*drawn[:3], measured, *drawn[3:]]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=None, help="random networks a record")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of records")
    parser.add_argument("--figure", type=Path, default=FIGURES / "ladder.svg")
    args = parser.parse_args(argv)
    args.trials = {name: args.trials or n for name, n in {"neuron": 1000, "network": 400}.items()}
    devices.use_cores()
    panels, series = [], []
    for name, panel in {"neuron": neuron_panel(), "network": network_panel()}.items():
        series.append(count(name, panel, args))
        axes = {"xlabel": "epsilon", "ylabel": f"width k for success {1 - DELTA:g}"}
        drawn = lines(name, panel, series[-1])
        panels.append(line_figure.Panel(title=panel.title, lines=drawn, **axes))
    caption = f"{CAPTION}\n{words.sources(series)} ltjax {ltjax.__version__}"
    files.write_atomic(
        args.figure, success_figure.render(line_figure.chart(panels, caption), args.figure.suffix)
    )
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
