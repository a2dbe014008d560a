"""The two conjectures on real data: winning tickets found by training, strong ones found without.

    python scripts/conjectures.py          # figures/winning_tickets, winning_steps, strong_tickets
    python scripts/conjectures.py --set wine --steps 40 --seeds 3 --data runs --figures runs

Winning tickets: test error, and the step of the early stop, of what magnitude pruning finds, beside
a mask by lot, the mask found with new weights, and the dense network. Strong tickets: test error of
masks of frozen weights beside the trained network, how often it is near, and ways to a mask for a
given target (`given_target.py`). Success is counted in a record; test inputs right, steps and
brackets are kept in a file a width. A killed run goes on, and a finished one only draws.
"""

import argparse
import json
from pathlib import Path

import given_target
import jax
import numpy as np
from matplotlib.ticker import NullLocator
from scipy import special

import ltjax
from ltjax import decimals
from ltjax.experiments.training import edge_popup, magnitude_pruning, mlp
from ltjax.experiments.training.problems import imp, popup
from ltjax.results import estimates, line_figure, success_figure, words
from ltjax.results.estimates import ALPHA, Series
from ltjax.system import devices, files
from ltjax.weights import draws

FIGURES = Path(__file__).parent.parent / "figures"
SEED, WITHIN = 0, 0.02
ERROR, TICKS = "test error, 1 \u2212 accuracy", (0.02, 0.05, 0.1, 0.2)
KEEPS = {"imp": (0.8, 0.5, 0.2, 0.1, 0.05), "popup": (0.5,)}
TRAINED = (
    "{data}, one hidden layer of n neurons: at most {steps} steps of {batch} examples, stopped "
    "where the loss held out is lowest. Means over {seeds} seeds, with intervals by Student's t. "
)
WINNING = (
    "ticket: pruned by magnitude, share by share, each time rewound to its first weights and "
    "trained again. random: as many weights of each layer by lot, the same first weights. reinit: "
    "the mask of the ticket, new first weights. dense: the whole network, drawn at every share. "
)
STRONG = (
    "popup: {keep:g} of the weights of each layer, frozen as drawn, chosen by edge-popup. dense: "
    "the whole network, trained. Middle: share of seeds whose popup loses at most {within:g} of "
    "the accuracy of dense, Clopper\u2013Pearson. "
)


def winning(key, data, width, config):
    return magnitude_pruning.train(key, data, width, config)._asdict()


def strong(key, data, width, config):
    dense = mlp.dense(key, data, width, config)
    return {"dense": dense, "popup": edge_popup.search(key, data, width, config.keeps[0], config)}


KERNELS = {"imp": winning, "popup": strong}
KINDS = {"imp": ("dense", "ticket", "random", "reinit"), "popup": ("dense", "popup")}


def problem_of(experiment, widths, args):
    make = {"imp": imp, "popup": popup}[experiment]
    return make(args.set, widths, KEEPS[experiment], (WITHIN,), SEED, steps=args.steps)


def stored(path, asked, measure):
    """What was measured, from its file if that answers the question, else anew."""
    found = json.loads(path.read_text()) if path.exists() else {}
    if {name: found.get(name) for name in asked} != asked:
        found = asked | measure()
        files.write_atomic(path, (json.dumps(found) + "\n").encode())
    print(path, flush=True)
    return found


def networks_of(experiment, width, args):
    """Test error and step of the early stop of each kind of network: [seed], or [seed, share]."""
    problem, kinds = problem_of(experiment, (width,), args), KINDS[experiment]

    def measure():
        data = jax.tree.map(np.float32, problem.arrays)
        one = lambda key: KERNELS[experiment](key, data, width, problem.config)
        trials = np.arange(args.seeds, dtype=np.uint32)
        nets = jax.jit(jax.vmap(one))(draws.trial_key(np.full_like(trials, SEED), trials))
        right = lambda net: np.rint(np.float64(net.accuracy) * len(data.y_test)).astype(int)
        return {
            "inputs": len(data.y_test),
            "right": {kind: right(nets[kind]).tolist() for kind in kinds},
            "stop": {kind: np.asarray(nets[kind].stop).tolist() for kind in kinds},
        }

    path = args.data / f"{experiment}-{args.set}-n{width}.json"
    found = stored(path, {"problem": problem.digest(), "seeds": args.seeds}, measure)
    return {
        "error": {kind: 1 - np.array(found["right"][kind]) / found["inputs"] for kind in kinds},
        "stop": {kind: np.array(found["stop"][kind], np.float64) for kind in kinds},
    }


def success(experiment, widths, args):
    """The record of the trials that succeed, of all widths."""
    path = args.data / f"{experiment}-{args.set}.jsonl"
    tally = ltjax.run(problem_of(experiment, widths, args), args.seeds, path)
    print(f"{path}: {tally.trials} seeds in {tally.seconds:.1f} s", flush=True)
    return Series(label=experiment, tally=tally)


def mean(samples):
    """Mean over seeds of [seed, ...], and the ends of its interval."""
    middle, n = np.mean(samples, axis=0), len(samples)
    reach = special.stdtrit(n - 1, 1 - ALPHA / 2) * np.std(samples, axis=0, ddof=1) / n**0.5
    return middle, middle - reach, middle + reach


def points(label, x, y, low, high):
    # A chart takes 0 for an end that is open.
    ends = {"low": np.maximum(low, np.finfo(float).tiny), "high": high}
    return line_figure.Line(label=label, kind="measured", x=np.array(x, np.float64), y=y, **ends)


def tell(width, found, near, keep):
    """Print what seeds gain by their tickets at one share."""
    print(f"n = {width}, {keep:g} kept, means of differences and their intervals:")
    for quantity, kinds in found.items():
        for other in ("dense", "random", "reinit"):
            there = kinds[other] if other == "dense" else kinds[other][:, near]
            middle, low, high = mean(kinds["ticket"][:, near] - there)
            low, high = decimals.below(low, 4), decimals.above(high, 4)
            print(f"  {quantity}, ticket - {other}: {middle:.4g} ({low} to {high})")


def draw_winning(args):
    found = {width: networks_of("imp", width, args) for width in args.widths}
    one = success("imp", args.widths, args)
    config = one.tally.problem.config
    near, keep = config.keeps.index(float(config.default_rule)), float(config.default_rule)
    for width, kinds in found.items():
        tell(width, kinds, near, keep)
    names = [f"{family}/{keep:g}" for family in config.families]
    counts = [one.tally.certified[one.tally.criterion(name), :, 0].tolist() for name in names]
    said = [
        f"{family} {', '.join(map(str, count))}"
        for family, count in zip(config.families, counts, strict=True)
    ]
    print(f"success: {'; '.join(said)}")
    caption = (
        f"{WINNING}Seeds that lose at most {WITHIN:g} of accuracy, {keep:g} of weights kept, by "
    )
    caption += f"n: {'; '.join(said)} (winning: a ticket that also stops no later than dense). "
    shares = np.zeros(len(config.keeps))
    for name, quantity, ylabel, yscale in (
        ("winning_tickets", "error", ERROR, "log"),
        ("winning_steps", "stop", "step of the early stop", "linear"),
    ):
        panels = []
        for width, measured in found.items():
            kinds = {
                kind: v.reshape(args.seeds, -1) + shares for kind, v in measured[quantity].items()
            }
            lines = [points(kind, config.keeps, *mean(values)) for kind, values in kinds.items()]
            axes = {"xlabel": "share of weights kept", "ylabel": ylabel, "yscale": yscale}
            panels.append(line_figure.Panel(title=f"n = {width}", lines=lines, apart=1.06, **axes))
        write(name, panels, caption, [one], args)


def draw_strong(args):
    widths, blocks = args.strong_widths, args.blocks
    found = {width: networks_of("popup", width, args)["error"] for width in widths}
    one = success("popup", widths, args)
    bounds = {}
    for block in blocks:
        asked = {"sizes": list(given_target.SIZES), "block": block, "trials": args.seeds}
        measure = lambda block=block: {"bounds": given_target.brackets(block, args.seeds)}
        path = args.data / f"given-target-m{block}.json"
        bounds[block] = stored(path, asked, measure)["bounds"]
    lines = []
    for kind in ("dense", "popup"):
        values = np.stack([found[width][kind] for width in widths], axis=1)
        lines.append(points(kind, widths, *mean(values)))
        print(f"error, {kind}: {', '.join(f'{m:.4f}' for m in mean(values)[0])} at n = {widths}")
    (criterion,) = one.tally.problem.criteria
    seen = estimates.estimate(one, criterion.name, 1)
    near = points("popup", widths, seen.certified[:, 0], *(end[:, 0] for end in seen.bar))
    given_target.tell(bounds)
    axes = {"xlabel": "hidden width n", "apart": 1.06}
    within = {"title": f"within {WITHIN:g} of accuracy", "ylabel": "share of seeds"}
    panels = [
        line_figure.Panel(title="masks of frozen weights", ylabel=ERROR, lines=lines, **axes),
        line_figure.Panel(lines=[near], yscale="linear", **within, **axes),
        given_target.panel(bounds),
    ]
    caption = STRONG.format(keep=KEEPS["popup"][0], within=WITHIN)
    caption += given_target.CAPTION.format(trials=args.seeds)
    write("strong_tickets", panels, caption, [one], args)


def write(name, panels, caption, series, args):
    config = series[0].tally.problem.config
    asked = {"data": args.set, "steps": config.steps, "batch": config.batch, "seeds": args.seeds}
    caption = f"{TRAINED.format(**asked)}{caption}\n{words.sources(series)}"
    picture = line_figure.chart(panels, f"{caption} ltjax {ltjax.__version__}")
    first = picture.axes[0]
    if first.get_ylabel() == ERROR:  # about one decade: powers of ten alone would be one tick
        first.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
        first.yaxis.set_minor_locator(NullLocator())
    path = args.figures / f"{name}.svg"
    files.write_atomic(path, success_figure.render(picture, ".svg"))
    print(f"figure: {path}")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="digits", help="data, by name")
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 128, 256])
    strong_widths = [8, 16, 32, 64, 128, 256, 512, 1024]
    parser.add_argument("--strong-widths", type=int, nargs="+", default=strong_widths)
    parser.add_argument("--blocks", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=10, help="at least two")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of results")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="folder of figures")
    args = parser.parse_args(argv)
    devices.use_cores()
    draw_winning(args)
    draw_strong(args)


if __name__ == "__main__":
    main()
