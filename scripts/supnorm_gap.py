"""How tight: the bracket on sup |f - g| over the unit ball, by the size of the networks.

    python scripts/supnorm_gap.py                                 # draws figures/bracket.svg
    python scripts/supnorm_gap.py --pairs 3 --hiddens 4 8 --data runs --figure runs/bracket.svg

Pairs of near networks with one output: f of the target `random`, g with errors U[-eta, eta] on
every weight, those of the first layer apart for the two signs of its input. Drawn are upper bounds
against the best lower one: layer by layer, the certificate, the relaxation of all signs at once,
and the tree of NODES nodes at most that goes on from it. What was found is kept in --data.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import ltjax
from ltjax.networks import pruned, targets
from ltjax.networks.pairs import Pair
from ltjax.results import line_figure, success_figure
from ltjax.supnorm import branch_and_bound, certificate, semidefinite
from ltjax.system import files

FIGURES = Path(__file__).parent.parent / "figures"
ETA = 0.01
GAP, NODES = 0.01, 100  # where a tree ends
BOUNDS = ("layer by layer", "certificate", "relaxation", "tree")
LEAST = 1e-3  # excess that is told from none
PUBLIC = 19.3, 29.4  # bound over exact value, least and largest of the tools in the caption
CAPTION = (
    "By how much an upper bound on the supremum over the unit ball of |f - g| exceeds the best "
    f"lower one, as a share of that; d = n, random targets of one output, g with errors U[-eta, "
    f"eta] on every weight, eta = {ETA:g} where it is not the axis. A tree ends at {GAP:g} or "
    f"after {NODES} nodes; less than {LEAST:g} is drawn there. Public tools, a bar alone: bound "
    "over exact value of three pairs 8-8-1, errors N(0, 0.01^2), by "
    "alpha-CROWN 19.3 to 20.7, by CROWN 22.7 to 29.4 (auto_LiRPA 0.7.1, the "
    "two networks relaxed apart) and by LipSDP, its program for neurons in cvxpy, 21.4 to 26.5."
)


def pair(sizes, eta, seed):
    """One target and one neighbour, with a leading axis of one on its errors."""
    rng, weights = np.random.default_rng(seed), targets.random_target(seed, sizes)
    shapes = pruned.slots(sizes)
    return Pair(tuple(weights), tuple(rng.uniform(-eta, eta, (1, *shape)) for shape in shapes))


def layerwise(pair):
    """The error of each layer times the norms of the others: those of f below it, of g above."""
    norm = lambda plus, minus: (
        (np.linalg.norm(plus + minus, 2) + np.linalg.norm(plus - minus, 2)) / 2
    )
    total, below = 0.0, 1.0
    for weights, errors in zip(pair.weights, pair.errors, strict=True):
        plus, minus = errors[0, 0], errors[0, -1]
        total = norm(weights + plus, weights + minus) * total + norm(plus, minus) * below
        below *= np.linalg.norm(weights, 2)
    return total


def searched(pair):
    """The last bracket of the tree."""
    alone = pair._replace(errors=tuple(e[0] for e in pair.errors))
    for found in branch_and_bound.brackets(alone, GAP):
        if found.nodes >= NODES:
            break
    return found


def ratios(sizes, eta, pairs, folder):
    """The upper bounds over the lower one of the tree, [bound, pairs]."""
    name = "-".join(map(str, sizes))
    path = folder / f"bracket-{name}-{eta:g}.json"
    asked = {"sizes": list(sizes), "eta": eta, "pairs": pairs, "gap": GAP, "nodes": NODES}
    found = json.loads(path.read_text()) if path.exists() else {}
    if {name: found.get(name) for name in asked} != asked:
        found = asked | {"ratios": []}
        for seed in range(pairs):
            one = pair(sizes, eta, seed)
            last = searched(one)
            bounds = [layerwise(one), certificate.upper(one)[0]]
            bounds += [semidefinite.upper(one, batch=2)[0], last.upper]
            found["ratios"].append([bound / last.lower for bound in bounds])
        files.write_atomic(path, (json.dumps(found) + "\n").encode())
    medians = zip(BOUNDS, np.median(found["ratios"], axis=0), strict=True)
    told = ", ".join(f"{bound} {ratio:.3f}" for bound, ratio in medians)
    print(f"{name}, eta {eta:g}, medians: {told}", flush=True)
    return np.transpose(found["ratios"])


def quoted():
    """The figures of other tools: a bar without a point, as their median is not known."""
    x, y, low, high = np.array([[8.0], [np.nan], [PUBLIC[0] - 1], [PUBLIC[1] - 1]])
    return line_figure.Line(label="public tools", kind="spread", x=x, y=y, low=low, high=high)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hiddens", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--etas", type=float, nargs="+", default=[0.001, 0.01, 0.1])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--data", type=Path, default=FIGURES / "data")
    parser.add_argument("--figure", type=Path, default=FIGURES / "bracket.svg")
    args = parser.parse_args(argv)
    sweeps = {
        ("hidden width n", "l = 2", 1.1): [(n, (n, n, 1), ETA) for n in args.hiddens],
        ("depth l", "n = 8", 1.04): [(depth, (*[8] * depth, 1), ETA) for depth in args.depths],
        ("eta", "l = 2, n = 8", 1.2): [(eta, (8, 8, 1), eta) for eta in args.etas],
    }
    panels = []
    for (xlabel, title, apart), places in sweeps.items():
        x = [place for place, _, _ in places]
        found = [ratios(sizes, eta, args.pairs, args.data) for _, sizes, eta in places]
        found = np.stack(found, axis=1)
        excess = np.maximum(found - 1.0, LEAST)
        lines = [line_figure.spread(name, x, y) for name, y in zip(BOUNDS, excess, strict=True)]
        lines += [] if panels else [quoted()]
        axes = {"xlabel": xlabel, "ylabel": "upper / lower - 1", "apart": apart}
        panels.append(line_figure.Panel(title=title, lines=lines, **axes))
    picture = line_figure.chart(panels, f"{CAPTION}\n{args.pairs} pairs. ltjax {ltjax.__version__}")
    files.write_atomic(args.figure, success_figure.render(picture, args.figure.suffix))
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
