"""How fast, and in how much memory, as ratios within one run: residual curves, measured losses.

    python scripts/bench_features.py                              # about two minutes, on one core
    python scripts/bench_features.py --features 300 --solves 5    # a first look

Residuals of every number of features come by one factorisation. The baseline solves anew for each
of a few numbers, on leading parts of one matrix of the kernel, as one would who did not know that
Cholesky factors are nested. Both take turns, and medians of processor time are compared: with the
matrix in both, and without. The first round warms up.

A loss over inputs is measured in processes of their own, at a tenth of the inputs and at all.
"""

import argparse
import statistics
import subprocess
import sys
import time

import numpy as np
from scipy import linalg

from ltjax import theory
from ltjax.theory import features

DIM, SEED = 20, 0
NEURONS = 2000  # of which a loss is measured, or as many as features if those are fewer
MEMORY = f"""
import resource, sys
import jax, numpy as np
from ltjax.experiments.features import device as features
from ltjax.experiments.features.config import Features
samples, neurons = map(int, sys.argv[1:])
rng = np.random.default_rng({SEED})
x, hidden, theta = (
    rng.normal(size=shape).astype(np.float32)
    for shape in ((samples, {DIM}), (neurons, {DIM}), (2, 3, neurons))
)
config = Features(
    dim={DIM}, features=1, cap=1.0, baseline=0.0, most=neurons, activation="tanh", samples=samples
)
for measure in (
    lambda x, y: features.measured_moments(hidden, x, y, config),
    lambda x, y: features.measured_loss(hidden, x, y, theta, config),
):
    jax.block_until_ready(jax.jit(measure)(x, np.tanh(x[:, 0])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def separate(rows, w, numbers):
    """Relative losses of the first r features, a solve each, and the time of the solves."""
    matrix, right = 2 * features.kernel(rows, rows), 2 * features.kernel(rows, w[None])[:, 0]
    begun = time.process_time()
    matrix[np.diag_indices(len(rows))] += features.JITTER * len(rows)
    found = []
    for r in numbers:
        factor = linalg.cho_factor(matrix[:r, :r], lower=True, check_finite=False)
        found.append(1 - right[:r] @ linalg.cho_solve(factor, right[:r], check_finite=False))
    return np.array(found), time.process_time() - begun


def seconds(work):
    begun = time.process_time()
    found = work()
    return found, time.process_time() - begun


def peak(samples, neurons):
    """MiB that a process needs at most for moments and losses of these neurons."""
    command = [sys.executable, "-c", MEMORY, str(samples), str(neurons)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(shown.stdout)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--features", type=int, default=3000)
    parser.add_argument("--solves", type=int, default=30, help="numbers of features solved for")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=100_000, help="inputs of a measured loss")
    args = parser.parse_args(argv)
    rows = np.random.default_rng(SEED).normal(size=(args.features, DIM))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    w, numbers = np.eye(DIM)[0], np.linspace(0, args.features, args.solves + 1).astype(int)[1:]
    ours, kernels, theirs, solves = [], [], [], []
    for _ in range(args.rounds + 1):
        curve, taken = seconds(lambda: theory.residuals(rows, w).relative)
        ours.append(taken)
        kernels.append(seconds(lambda: features.kernel(rows, rows))[1])
        (found, solving), taken = seconds(lambda: separate(rows, w, numbers))
        theirs.append(taken)
        solves.append(solving)
        np.testing.assert_allclose(curve[numbers - 1], found, rtol=0, atol=1e-9)
    medians = (statistics.median(taken[1:]) for taken in (ours, kernels, theirs, solves))
    one, matrix, many, solving = medians
    every = solving * np.sum(np.arange(1, args.features + 1.0) ** 3) / np.sum(numbers**3.0)
    print(f"to {args.features} features, d = {DIM}, one curve against {args.solves} solves:")
    print(f"  without the kernel's matrix {solving / (one - matrix):.1f} times as fast")
    print(f"  with it                     {many / one:.1f}")
    print(f"  against a solve for every r, time taken as r^3: {(matrix + every) / one:.0f}")
    neurons = min(NEURONS, args.features)
    few, all_of = peak(args.samples // 10, neurons), peak(args.samples, neurons)
    held = args.samples * neurons * 4 / 2**20
    print(f"moments and losses of {neurons} neurons over {args.samples} inputs:")
    print(f"  {all_of:.0f} MiB at most, {all_of / few:.2f} times as at a tenth of the inputs")
    print(f"  (activations held all at once would be {held:.0f} MiB more)")


if __name__ == "__main__":
    main()
