"""One neuron, pruned by neurons and by weights: loss by the number of either, and the number by d.

    python scripts/weights_against_neurons.py         # draws figures/weights_against_neurons.svg
    python scripts/weights_against_neurons.py --dims 3 4 5 --features 300 --draws 5 --data runs

The target is y = relu(w.x), ||w|| = 1, x standard Gaussian; losses are squared, over E y^2 = 1/2.
Pruned neurons are random features, whose best coefficients are found exactly, and below which no
features can be in the mean: `theory.least_features`. Pruned weights meet a loss for certain once
every slot is filled to the tolerance `promised_tolerance`. The number of features that a loss needs
is fitted by three laws in d. One file a dimension: a killed run goes on, a finished one only draws.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import optimize, special

import ltjax
from ltjax import theory
from ltjax.counting import intervals
from ltjax.results import line_figure, success_figure
from ltjax.system import files

FIGURES = Path(__file__).parent.parent / "figures"
PLACES = (10, 30, 100, 300, 1000, 3000)  # numbers of features at which the loss is kept
PARTS = (0.1, 0.01, 0.003)  # relative losses whose number of features is sought
DRAWN = (0.1, 0.003)
LOSSES = np.geomspace(0.3, 1e-4, 12)  # promised by weights
DELTA, MISS, SEED = 0.05, 0.05, 0  # MISS: chance that some interval of a fit does not hold
UNBOUNDED = 3  # status of a linear programme
# The logarithm of the number needed is a line in what each makes of d.
LAWS = {"d^b": np.log, "exp(b sqrt d)": np.sqrt, "exp(b d)": np.asarray}
CAPTION = (
    "One neuron relu(w.x), x standard Gaussian, squared loss over E y\u00b2. Features: random "
    "directions, best coefficients of any size, every number of them by one exact factorisation. "
    "An arrow: more than were drawn. Their bound holds for any features, in the mean over draws. "
    f"Weights: width at which every slot is filled with probability {1 - DELTA:g}, to a tolerance "
    "that promises the loss whatever the signs of errors, all |w| = 1/\u221ad. Exact: blocks. "
    "Bound: one pool, where two inputs may share a neuron."
)


def promised_tolerance(dim, part):
    r"""eta, such that slots filled to eta leave at most `part` of E y^2 for Gaussian x.

    As relu is 1-Lipschitz, (relu(u) - relu(v))^2 <= (u - v)^2 <= eta^2 ||x||_1^2, of which the mean
    is eta^2 (d + d (d - 1) 2/pi). It is reached: errors of opposite signs on the two sides of an
    input add up as eta |x_i|, which has a mean. E y^2 = 1/2.
    """
    return float((part / 2 / (dim + dim * (dim - 1) * 2 / np.pi)) ** 0.5)


def widths(dim, part):
    """Of blocks, and of the pool whose inputs share neurons."""
    weights, eta = np.full(dim, dim**-0.5), promised_tolerance(dim, part)
    return [
        smallest(weights, eta, DELTA) for smallest in (theory.blocks_width, theory.shared_width)
    ]


def first_below(curve, part):
    """Number of features with which a residual curve is down to `part`; None if it never is."""
    return int(np.argmax(curve <= part)) + 1 if curve[-1] <= part else None


def measure(dim, args):
    """Losses [draws, places] and numbers needed [draws, parts], inf if too many."""
    path = args.data / f"features-d{dim}.json"
    asked = {"dim": dim, "features": args.features, "draws": args.draws, "seed": SEED}
    asked |= {"places": [r for r in PLACES if r <= args.features], "parts": list(PARTS)}
    found = json.loads(path.read_text()) if path.exists() else {}
    if {name: found.get(name) for name in asked} != asked:
        found = asked | {"losses": [], "needed": []}
        for draw in range(args.draws):
            rows = np.random.default_rng([SEED, dim, draw]).normal(size=(args.features, dim))
            curve = theory.residuals(rows, np.eye(dim)[0]).relative
            found["losses"].append([curve[r - 1] for r in asked["places"]])
            found["needed"].append([first_below(curve, part) for part in PARTS])
        files.write_atomic(path, (json.dumps(found) + "\n").encode())
    print(
        f"d = {dim}: loss {np.median(found['losses'], axis=0)[-1]:.3g} of {args.features} features"
    )
    needed = np.array(found["needed"], np.float64)  # None is nan
    return np.array(found["losses"]), np.where(np.isnan(needed), np.inf, needed)


def interval(samples, miss):
    """Order statistics between which the median lies, but with probability `miss`."""
    ranks = np.arange(len(samples) // 2)
    certain = np.flatnonzero(2 * special.bdtr(ranks, len(samples), 0.5) <= miss)
    if not len(certain):
        return 1.0, np.inf  # the samples are too few to say more
    ordered = np.sort(samples)
    return ordered[certain[-1]], ordered[len(samples) - 1 - certain[-1]]


class Fit(NamedTuple):
    """A law of growth in its parameter b.

    least, largest: b of the curves that pass through the intervals of all medians; nan if none do.
    closest: b by least squares on logarithms, where the medians are known.
    misfit: root mean square of ln(median / closest curve).
    """

    least: float
    largest: float
    closest: float
    misfit: float


def slopes(u, low, high):
    """Least and largest slope of the lines that lie within [low, high] at all u; nan if none do."""
    above, below = np.isfinite(high), np.isfinite(low)
    lines = np.stack([u, np.ones(len(u))], axis=1)
    rows = np.concatenate([lines[above], -lines[below]])
    most = np.concatenate([high[above], -low[below]])
    found = []
    for sign in (1.0, -1.0):
        solved = optimize.linprog([sign, 0.0], rows, most, bounds=(None, None))
        beyond = -sign * np.inf if solved.status == UNBOUNDED else np.nan
        found.append(float(solved.x[0]) if solved.success else beyond)
    return found


def fit_laws(dims, needed, most):
    """The laws of growth through the medians over draws of the numbers needed, [d, draws].

    A law is refuted where none of its curves passes through all intervals, which hold together with
    probability 1 - MISS; of a median beyond `most` the interval is open above.
    """
    d, middle = np.array(dims, np.float64), np.median(needed, axis=1)
    low, high = np.transpose([interval(row, MISS / len(d)) for row in needed])
    low, high, known = np.log(np.minimum(low, most)), np.log(high), np.isfinite(middle)
    fits = {}
    for name, law in LAWS.items():
        u, y = law(d), np.log(middle[known])
        closest = misfit = np.nan
        if len(y) > 1:
            line = np.polyfit(u[known], y, 1)
            closest, misfit = line[0], np.sqrt(np.mean((y - np.polyval(line, u[known])) ** 2))
        fits[name] = Fit(*slopes(u, low, high), float(closest), float(misfit))
    return fits


def tell(dims, part, needed, fits):
    """Print what a loss needs, by dimension, and the laws that were fitted."""
    medians = np.median(needed, axis=1)
    derived = {"features, bound": [theory.least_features(d, part) for d in dims]}
    for name, at in (("blocks", 0), ("shared", 1)):
        derived[name] = [widths(d, part)[at] for d in dims]
    print(f"loss {part:g}, d = {', '.join(map(str, dims))}")
    print(f"  features, median: {', '.join(f'{m:g}' for m in medians)}")
    for name, fit in fits.items():
        passes = f"{fit.least:.2f} to {fit.largest:.2f}" if fit.least <= fit.largest else "refuted"
        print(f"    {name}: b {passes}; closest {fit.closest:.2f}, misfit {fit.misfit:.3f}")
    for name, y in derived.items():
        slope = intervals.power_law(dims, y, y, y).exponent
        print(f"  {name}: {', '.join(f'{v:.0f}' for v in y)}, about d^{slope:.2f}")


def loss_panels(dims, measured):
    """Loss by the number of features, and by the width of weights."""
    found, promised = [], []
    for dim in dims:
        losses = measured[dim][0]
        found.append(line_figure.spread(f"d = {dim}", PLACES[: losses.shape[1]], losses.T))
        ks = np.transpose([widths(dim, part) for part in LOSSES])
        for kind, k in zip(("exact", "bound"), ks, strict=True):
            promised.append(line_figure.derived(f"d = {dim}", kind, k, LOSSES))
    axes = {"ylabel": "squared loss / E y\u00b2", "apart": 1.08}
    yield line_figure.Panel(title="neurons", xlabel="random features r", lines=found, **axes)
    yield line_figure.Panel(title="weights", xlabel="width k", lines=promised, **axes)


def growth_panel(dims, part, needed, most):
    """Features and widths that a loss needs, by dimension."""
    ordered = np.sort(needed, axis=1)
    middle = np.median(needed, axis=1)
    points = line_figure.Line(
        label="random features",
        kind="spread",
        x=np.array(dims, np.float64),
        y=np.where(np.isfinite(middle), middle, np.nan),
        low=np.minimum(ordered[:, 0], most),
        high=ordered[:, -1],
    )
    least = [theory.least_features(dim, part) for dim in dims]
    lines = [points, line_figure.derived("random features", "bound", dims, least)]
    for kind, k in zip(
        ("exact", "bound"), np.transpose([widths(d, part) for d in dims]), strict=True
    ):
        lines.append(line_figure.derived("weights", kind, dims, k))
    axes = {"xlabel": "input dimension d", "ylabel": "features or width needed"}
    return line_figure.Panel(title=f"for a loss of {part:g}", lines=lines, **axes)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    dims = [2, 3, 4, 5, 7, 10, 14, 20, 28, 40]
    parser.add_argument("--dims", type=int, nargs="+", default=dims)
    parser.add_argument("--features", type=int, default=PLACES[-1], help="drawn, at most counted")
    parser.add_argument("--draws", type=int, default=25, help="sets of features a dimension")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of results")
    parser.add_argument("--figure", type=Path, default=FIGURES / "weights_against_neurons.svg")
    args = parser.parse_args(argv)
    measured = {dim: measure(dim, args) for dim in args.dims}
    needed = np.stack([measured[dim][1] for dim in args.dims])
    panels, words = list(loss_panels(args.dims[1::2], measured)), []
    for at, part in enumerate(PARTS):
        fits = fit_laws(args.dims, needed[..., at], args.features)
        tell(args.dims, part, needed[..., at], fits)
        if part in DRAWN:
            panels.append(growth_panel(args.dims, part, needed[..., at], args.features))
            left = [
                f"{name}, b = {fit.least:.2f} to {fit.largest:.2f}"
                for name, fit in fits.items()
                if fit.least <= fit.largest
            ]
            words.append(f"for {part:g} {' or '.join(left) or 'none'}")
    caption = f"{CAPTION} Of the laws {', '.join(LAWS)} those that pass through the intervals of "
    caption += f"all medians ({1 - MISS:.0%}): {'; '.join(words)}.\n"
    caption += f"{args.draws} draws a dimension, seed {SEED}."
    caption += f" ltjax {ltjax.__version__}"
    files.write_atomic(
        args.figure, success_figure.render(line_figure.chart(panels, caption), args.figure.suffix)
    )
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
