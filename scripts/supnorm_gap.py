"""How tight: the bracket on sup |f - g| over the unit ball, by the size of the networks.

    python scripts/supnorm_gap.py                                 # draws figures/bracket.svg
    python scripts/supnorm_gap.py --pairs 3 --hiddens 4 8 --figure runs/bracket.svg

Pairs of near networks with one output: f of the target `random`, g with errors U[-eta, eta] on
every weight, those of the first layer apart for the two signs of its input. Above: the certificate,
and the bound layer by layer that it replaces. Below: the ascent. Drawn is above over below.
"""

import argparse
from pathlib import Path

import numpy as np

import ltjax
from ltjax import charts, files, networks, plots
from ltjax.networks import Pair
from ltjax.supnorm import ascent, certificate

FIGURES = Path(__file__).parent.parent / "figures"
ETA = 0.01
CAPTION = (
    f"Upper bound over lower bound on the supremum over the unit ball of |f - g|, d = n; random "
    f"targets of one output, g with errors U[-eta, eta] on every weight, eta = {ETA:g} where it is "
    "not the axis. The lower bound is that of the ascent, climbed: no supremum, so the certificate "
    "is closer than it seems."
)


def pair(sizes, eta, seed):
    """One target and one neighbour, with a leading axis of one on its errors."""
    rng, weights = np.random.default_rng(seed), networks.random_target(seed, sizes)
    shapes = networks.slots(sizes)
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


def ratios(sizes, eta, pairs):
    """Both upper bounds over the lower one, [2, pairs]."""
    found = []
    for seed in range(pairs):
        one = pair(sizes, eta, seed)
        lower = ascent.lower(one, batch=1)[0][0]
        found.append((layerwise(one) / lower, certificate.upper(one)[0] / lower))
    print(f"{'-'.join(map(str, sizes))}, eta {eta:g}: median {np.median(found, axis=0).round(3)}")
    return np.transpose(found)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hiddens", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--depths", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--etas", type=float, nargs="+", default=[0.001, 0.01, 0.1])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--figure", type=Path, default=FIGURES / "bracket.svg")
    args = parser.parse_args(argv)
    sweeps = {
        ("hidden width n", "l = 2"): [(n, (n, n, 1), ETA) for n in args.hiddens],
        ("depth l", "n = 8"): [(depth, (*[8] * depth, 1), ETA) for depth in args.depths],
        ("eta", "l = 2, n = 8"): [(eta, (8, 8, 1), eta) for eta in args.etas],
    }
    panels = []
    for (xlabel, title), places in sweeps.items():
        x = [place for place, _, _ in places]
        found = np.stack([ratios(sizes, eta, args.pairs) for _, sizes, eta in places], axis=1)
        names = ("layer by layer", "certificate")
        lines = [charts.spread(name, x, y) for name, y in zip(names, found, strict=True)]
        panels.append(
            charts.Panel(title=title, xlabel=xlabel, ylabel="upper / lower", lines=lines, apart=1.1)
        )
    picture = charts.chart(panels, f"{CAPTION}\n{args.pairs} pairs. ltjax {ltjax.__version__}")
    files.write_atomic(args.figure, plots.render(picture, ".svg"))
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
