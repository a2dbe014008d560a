"""How wide, by input dimension: the success curve of one pruned neuron for d = 2 to 64.

    python scripts/width_curve.py                                 # draws figures/width.svg
    python scripts/width_curve.py --trials 500 --dims 2 4 --data runs --figure runs/width.svg

One record a dimension: a killed run goes on, and a finished one only draws.
"""

import argparse
from pathlib import Path

import ltjax
from ltjax.system import devices

FIGURES = Path(__file__).parent.parent / "figures"
EPSILON, SEED = 0.1, 0


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64])
    parser.add_argument("--trials", type=int, default=4000, help="random networks a dimension")
    parser.add_argument("--data", type=Path, default=FIGURES / "data", help="folder of records")
    parser.add_argument("--figure", type=Path, default=FIGURES / "width.svg")
    args = parser.parse_args(argv)
    devices.use_cores()
    tallies = []
    for dim in args.dims:
        problem = ltjax.neuron(dim=dim, epsilons=(EPSILON,), rules=("tight",), seed=SEED)
        out = args.data / f"width-d{dim}.jsonl"
        tallies.append(ltjax.run(problem, args.trials, out))
        print(f"d = {dim}: {tallies[-1].trials:,} trials in {tallies[-1].seconds:.1f} s")
    labels = [f"d = {dim}" for dim in args.dims]
    ltjax.plot(tallies, args.figure, "tight", labels)
    print(f"figure: {args.figure}")


if __name__ == "__main__":
    main()
