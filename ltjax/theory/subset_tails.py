r"""How often no subset sums to a target, far below what trials can count.

Failure is R_n(c) + P(miss, in reach), c = |t| - eps: what is out of reach is known exactly (see
`subset_sums`), and most of a rare failure. The rest is drawn where it is: a target that is in reach
is missed when the positive candidates barely come to it. With T = sum max(X, 0) and M(s) the mean
of exp(-s max(X, 0)), draws of the density exp(-s T) / M(s)^n in the plain one have a mean of T near
the target. A quarter of the draws are plain all the same, and

    P(miss, in reach) = E[1{miss, T >= c} / (1/4 + 3/4 exp(-s T) / M(s)^n)],

of values that are at most 4. A draw is kept with the chance exp(-s max(X, 0)), candidate by
candidate: more than half of them. A miss is settled by all subsets, the sums of one half of the
candidates sorted against what the others leave of the target.

Sources: exponential tilting is Siegmund's (1976, Ann. Statist. 4), and the plain part of the draws
the defensive mixture of Hesterberg (1995, Technometrics 37); what is tilted is chosen here.
"""

import math

import numpy as np
from scipy import optimize

from ltjax.errors import InputError
from ltjax.theory import candidate_sums, subset_sums
from ltjax.theory.candidate_sums import between
from ltjax.theory.partition import Odds
from ltjax.theory.product import Numbers

PLAIN = 0.25  # of the draws
BEYOND = 1.0  # the mean of T is |t| + this many eps: what is missed in reach lies a little above it


def subset_tail(
    law: str, ns: Numbers, t: float, eps: float, draws: int = 1000, seed: int = 0
) -> Odds:
    """P(no subset sums to t, to within eps) and its complement, without bias, however rare: [*ns].

    The standard error is that of the misses seen in reach, and of one more so that it is not 0
    where none is seen; of few misses it is itself uncertain. As n grows they vanish beside what
    is out of reach, and with them what is unknown.

    Args:
        law: uniform, product or side.
        ns: numbers of candidates, to 31; block sizes for side.
        t: the target; of size at most 1 + eps for products.
        eps: error allowed, below |t|.
        draws: of all candidates, for each of the ns; 2 ms each at 30 candidates.
        seed: with the number of candidates it fixes the draws.

    Raises:
        InputError: of another law, a target within eps of 0, or fewer than two draws.
    """
    t, ns = abs(t), np.asarray(ns)
    if not eps < t:
        raise InputError(
            f"eps must be below |t| = {t:g}, which the empty subset meets, got {eps:g}."
        )
    if draws < 2:
        raise InputError(f"draws must be at least 2 for a standard error, got {draws}.")
    reach = subset_sums.out_of_reach(law, ns, t - eps)
    found = np.empty((*ns.shape, 2))
    for at in np.ndindex(ns.shape):
        rng = np.random.default_rng([seed, int(ns[at])])
        values, one = _missed(law, int(ns[at]), t, eps, draws, rng)
        spread = np.std([*values, one], ddof=1)
        found[at] = np.mean(values), spread / math.sqrt(draws)
    failure = np.minimum(reach + found[..., 0], 1.0)
    return Odds(np.asarray(1.0 - failure), np.asarray(failure), np.asarray(found[..., 1]))


def _missed(law, n, t, eps, draws, rng):
    """Values whose mean is P(miss, in reach), [draws], and what one more would be at the median."""
    mean = _transform(law)
    wanted = (t + BEYOND * eps) / max(n, 1)  # of max(X, 0)
    drop = lambda s: mean(s, 1) / mean(s, 0) - wanted
    tilt = 0.0 if drop(0.0) <= 0.0 else float(optimize.brentq(drop, 0.0, 1e6))
    plain = rng.random(draws) < PLAIN
    numbers = _draw(law, (draws, n), np.where(plain, 0.0, tilt), rng)
    total = np.sum(np.maximum(numbers, 0.0), axis=1)
    density = PLAIN + (1.0 - PLAIN) * np.exp(-tilt * total - n * math.log(mean(tilt, 0)))
    reached = total >= t - eps
    missed = [bool(r) and not _hits(row, t, eps) for r, row in zip(reached, numbers, strict=True)]
    near = reached & ~plain
    one = np.median(1.0 / density[near]) if np.any(near) else 1.0 / PLAIN
    return np.where(missed, 1.0 / density, 0.0), one


def _transform(law):
    """E max(X, 0)^k exp(-s max(X, 0)) as a function of s and k."""
    x, w = between(np.array([0.0, *np.logspace(-6, 0, 7)]), crowded=True)
    w = w * (0.5 if law == "uniform" else candidate_sums.product_density(x))
    w = w * (0.5 if law == "side" else 1.0)  # a candidate that is not usable counts as 0
    rest = 1.0 - float(np.sum(w))
    return lambda s, k: float(w @ (x**k * np.exp(-s * x))) + (rest if k == 0 else 0.0)


def _draw(law, shape, tilt, rng):
    """Candidates whose density is exp(-tilt max(X, 0)) times the plain one, by rejection."""
    numbers = np.zeros(shape)
    left = np.ones(shape, bool)
    tilts = np.broadcast_to(tilt[:, None], shape)
    while np.any(left):
        many = np.count_nonzero(left)
        drawn = rng.uniform(-1.0, 1.0, many)
        if law != "uniform":
            drawn *= rng.uniform(-1.0, 1.0, many)
        if law == "side":
            drawn *= rng.random(many) < 0.5
        numbers[left] = drawn
        left[left] = rng.random(many) >= np.exp(-tilts[left] * np.maximum(drawn, 0.0))
    return numbers


def _hits(numbers, t, eps):
    """Whether some subset sums to t, to within eps."""
    half = len(numbers) // 2
    lower, wanted = np.sort(_sums(numbers[:half])), t - _sums(numbers[half:])
    at = np.minimum(np.searchsorted(lower, wanted - eps), len(lower) - 1)
    return bool(np.any(np.abs(lower[at] - wanted) <= eps))


def _sums(numbers):
    sums = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums, sums + number])
    return sums
