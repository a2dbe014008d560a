"""How many candidates a bit of accuracy costs, where subsets of them may be summed.

    python scripts/subset_slopes.py                              # minutes
    python scripts/subset_slopes.py --trials 200 --covers 50 --bits 4 8

The number of candidates with which half of the trials succeed, for epsilon = 2^-b, and its slope in
b: for one target, 1/2, and for all of [-1/2, 1/2]. Every epsilon has draws of its own, so that the
points are independent; the standard error of a slope is that of fits to resampled trials. Beside
them stands what a Poisson law in place of the true one predicts, which is no bound.
"""

import argparse

import jax.numpy as jnp
import numpy as np

from ltjax import theory
from ltjax.masks import subset_sums
from ltjax.system import devices

LAWS = ("uniform", "product", "gaussian")
TARGET, HALF_WIDTH = 0.5, 0.5
BEYOND = {"target": 6, "cover": 9}  # candidates above the bits: enough for most trials
UNIT = 2.0**-22  # of sums in int32
FINE = 64  # grid steps in an epsilon, of the sums that are to cover
RESAMPLED = 1000
EVENTS = ("target", "cover")


def draw(law, shape, rng):
    if law == "gaussian":
        return rng.normal(0.0, 3**-0.5, shape)
    x = rng.uniform(-1.0, 1.0, shape)
    return x * rng.uniform(-1.0, 1.0, shape) if law == "product" else x


def target_met(numbers, eps):
    """Whether the first 0, 1, ..., n candidates meet the target: [n + 1, trial]."""
    units = jnp.asarray(np.rint(numbers / UNIT), jnp.int32)
    target = jnp.full(numbers.shape[1], round(TARGET / UNIT), jnp.int32)
    return np.abs(np.asarray(subset_sums.nearest_of_prefixes(units, target).error)) <= eps / UNIT


def cover_met(numbers, eps):
    """Whether the first 0, 1, ..., n candidates cover the interval: [n + 1, trial]."""
    units = np.rint(numbers * FINE / eps).astype(np.int64)
    half = round(HALF_WIDTH * FINE / eps)
    return np.stack([covers(column.tolist(), half) for column in units.T], axis=1)


def covers(numbers, half):
    """Whether every integer of [-half, half] is within FINE of a sum of the first 0, 1, ..., n.

    All subset sums are the bits of one number. Those of the sizes are the sums less that of the
    negative numbers: so bits move up only, and what is beyond the last window is dropped.
    """
    most = -sum(min(number, 0) for number in numbers) + 2 * half + 2 * FINE
    keep, window = (1 << most + 1) - 1, (1 << 2 * half + 1) - 1
    bits, zero, found = 1 << half + FINE, half + FINE, []
    for number in [0, *numbers]:
        bits |= bits << abs(number) & keep
        zero -= min(number, 0)
        near, reach = bits >> zero - half - FINE & (1 << 2 * (half + FINE) + 1) - 1, 1
        while reach < 2 * FINE + 1:  # bit i: a sum of i, ..., i + reach - 1
            step = min(reach, 2 * FINE + 1 - reach)
            near, reach = near | near >> step, reach + step
        found.append(near & window == window)
    return found


def median(met):
    """Where the share of successes, linear between numbers of candidates, is one half."""
    return float(np.interp(0.5, met, np.arange(len(met))))


def measure(law, event, bits, trials, seed):
    """Medians, one for each b, and those of resampled trials: [b] and [RESAMPLED, b]."""
    medians, resampled = [], []
    for b in bits:
        place = [seed, LAWS.index(law), EVENTS.index(event), b]
        rng = np.random.default_rng(place)
        numbers = draw(law, (b + BEYOND[event], trials), rng)
        met = {"target": target_met, "cover": cover_met}[event](numbers, 2.0**-b)
        first = np.bincount(np.argmax(met, axis=0)[met[-1]], minlength=len(met))
        assert np.sum(first) > trials / 2, "more candidates are needed for a median"
        chance = np.append(first, trials - np.sum(first)) / trials
        medians.append(median(np.cumsum(first) / trials))
        again = rng.multinomial(trials, chance, RESAMPLED)[:, :-1]
        resampled.append([median(row) for row in np.cumsum(again, axis=1) / trials])
    return np.array(medians), np.array(resampled).T


def line(law, event, bits, trials, seed):
    found, resampled = measure(law, event, bits, trials, seed)
    weights = 1.0 / np.maximum(np.std(resampled, axis=0), 0.5 / np.sqrt(trials))
    slope = lambda y: np.polyfit(bits, y, 1, w=weights)[0]
    error = np.std([slope(row) for row in resampled], ddof=1)
    predicted = [
        theory.poisson_heuristic(law, TARGET, 2.0**-b)
        if event == "target"
        else theory.poisson_cover_heuristic(law, HALF_WIDTH, 2.0**-b)
        for b in bits
    ]
    last, spread = found[-1], np.std(resampled[:, -1])
    slopes = f"{slope(found):.3f} +- {error:.3f} (Poisson {slope(predicted):.3f})"
    numbers = f"{last:.2f} +- {spread:.2f} (Poisson {predicted[-1]:.2f})"
    return f"{law:9} {event:7} slope {slopes}   n at 2^-{bits[-1]}: {numbers}"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bits", type=int, nargs=2, default=[4, 14], help="first and last b")
    parser.add_argument("--trials", type=int, default=4000, help="trials an epsilon, of one target")
    parser.add_argument("--covers", type=int, default=400, help="trials an epsilon, of all targets")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    devices.use_cores()
    bits = np.arange(args.bits[0], args.bits[1] + 1).tolist()
    for event, trials in (("target", args.trials), ("cover", args.covers)):
        for law in LAWS:
            print(line(law, event, bits, trials, args.seed), flush=True)


if __name__ == "__main__":
    main()
