r"""How often no subset sums to a target, far below what trials can count.

Failure is R_n(|t| - eps) + P(miss, in reach). What is out of reach is known exactly (see
`subset_sums`) and is most of a rare failure. The rest is the mean of P(miss, in reach | sizes).

Given the sizes x_i = |X_i|, let A be the set of their subset sums. The sum T of the positive
candidates is any of the 2^n with equal chance, and what the subsets of all candidates leave of T is
A again. So a target t > eps is missed in reach where T > t + eps and no point of A is within eps of
T - t: where T - t lies in a gap of A. There is none wider than 2 eps unless some size exceeds the
sum of all that are smaller by more than 2 eps (a *jump*). All other gaps are near the ends of A:

    if some of the candidates have sums without a gap on [L, s - L], s the sum of all of them, and
    every other size is at most s - 2L + 2 eps, A has no gap farther than L from its ends,

as adding such a size y joins [L, s - L] to its shift by y. Hence the sums below L + t decide, and
P(miss, in reach | x) is counted without error at the cost of these.

Where jumps are rare, they are drawn. With H(y) = P(|X| > y), G_k the distribution of a sum of k
sizes and J(x) the number of jumps,

    E J = sum_k C(n, k) int H(2 eps + s)^(n-k) dG_k(s)    k sizes of the sum s lie below a jump
    P(miss, in reach) = E J times the mean of P(miss, in reach | x) / J(x)

where the mean is over the law of x weighted by J(x): k is drawn by its term of E J, then the k
sizes, then the others given that they exceed 2 eps + s. Uniform terms are (1 - 2 eps)^n / k!.

Two bounds on P(miss, in reach) are proved: P(T > t + eps), and E J. Where the smaller is nothing
beside what is out of reach, and where too few draws contain a miss for a standard error, it stands
for the error.

Sources: derived here, for the question of Lueker, Random Structures and Algorithms 12 (1998).
"""

import math

import numpy as np
from scipy import special

from ltjax.errors import InputError
from ltjax.theory import candidate_sums, subset_sums
from ltjax.theory.candidate_sums import between
from ltjax.theory.partition import Odds
from ltjax.theory.product import Numbers

ENOUGH = 30  # draws with a miss that count as one each, from which on their spread is an error
NOTHING = 1e-3  # of what is out of reach: what is proved to be less is not drawn
LEAST, MOST = 6, 22  # candidates of which all sums are listed


def subset_tail(
    law: str, ns: Numbers, t: float, eps: float, draws: int = 1000, seed: int = 0
) -> Odds:
    """P(no subset sums to t, to within eps) and its complement, however rare: [*ns].

    The error is the standard error of what is in reach, if the draws with a miss count as 30 or
    more (the square of the sum of their values over that of their squares: of fewer, two errors
    cover too seldom). Else, and where that part is proved to be below 1e-3 of the rest, it is a
    proved bound on that part: the estimate is off by no more.

    Args:
        law: uniform, product or side.
        ns: numbers of candidates, to 31; block sizes for side.
        t: the target; of size at most 1 + eps for products.
        eps: error allowed, below |t|. What a draw costs grows as it falls.
        draws: of all sizes, for each of the ns; for side, of each number of usable candidates.
        seed: with the number of candidates it fixes the draws.

    Raises:
        InputError: of another law, a target within eps of 0, fewer than two draws, or an eps at
            which all sums of 22 candidates do not show where the gaps are.
    """
    t, ns = abs(t), np.asarray(ns)
    if not 0.0 < eps < t:
        raise InputError(
            f"eps must be above 0 and below |t| = {t:g}, which the empty subset meets, got {eps:g}."
        )
    if draws < 2:
        raise InputError(f"draws must be at least 2 for a standard error, got {draws}.")
    one, most = subset_sums.of_side(law), int(np.max(ns, initial=0))
    out = subset_sums.out_of_reach(one, np.arange(most + 1), t - eps)
    missed, variance, bound = np.zeros((3, most + 1))
    for n in range(most + 1) if law == "side" else map(int, np.unique(ns)):
        bound[n] = _bound(one, n, t, eps)
        if bound[n] < NOTHING * out[n]:
            continue
        values = _missed(one, n, t, eps, draws, np.random.default_rng([seed, n]))
        missed[n] = min(np.mean(values), bound[n])
        if np.sum(values) ** 2 >= ENOUGH * np.sum(values**2) > 0.0:
            variance[n], bound[n] = np.var(values, ddof=1) / draws, 0.0
    found = [subset_sums.mix(law, part, ns) for part in (out + missed, bound)]
    shares = subset_sums.binomial(most) if law == "side" else np.eye(most + 1)
    failure, error = np.minimum(found[0], 1.0), np.sqrt(shares**2 @ variance)[ns] + found[1]
    return Odds(np.asarray(1.0 - failure), np.asarray(failure), np.asarray(error))


def _missed(law, n, t, eps, draws, rng):
    """Values whose mean is P(miss, in reach): [draws]."""
    terms = _jumps(law, n, eps)
    expected = np.sum(terms)
    if expected == 0.0:
        return np.zeros(draws)
    x = np.concatenate(
        [
            _with_jump(law, n, k, eps, many, rng)
            for k, many in enumerate(rng.multinomial(draws, terms / expected))
        ]
    )
    ascending = np.sort(x, axis=1)
    below = np.cumsum(ascending, axis=1) - ascending
    # At least the one that was drawn, whatever the rounding.
    jumps = np.maximum(np.sum(ascending > below + 2.0 * eps, axis=1), 1)
    return expected * np.array([_chance(row, t, eps) for row in x]) / jumps


def _jumps(law, n, eps):
    """The terms of E J, of k = 0, ..., n - 1 sizes below a jump: [n]."""
    room = 1.0 - 2.0 * eps
    if room <= 0.0:
        return np.zeros(n)
    s, w = between(room * np.array([0.0, *np.logspace(-6, 0, 13)]), crowded=True)
    k = np.arange(n)
    below = np.array([subset_sums.positive_cdf(law, n, c)[:n] for c in s])
    # By parts: the derivative of -H^(n-k) is (n - k) H^(n-k-1) times the density.
    slope = (n - k) * _above(law, 2.0 * eps + s)[:, None] ** (n - k - 1)
    return special.comb(n, k) * ((w * _density(law, 2.0 * eps + s)) @ (below * slope))


def _with_jump(law, n, k, eps, draws, rng):
    """Sizes of which the first k lie below a jump and the others above: [draws, n].

    By rejection: where the hazard rate of a size beyond 2 eps is at least r, H(2 eps + s) is at
    most H(2 eps) exp(-r s), and sizes with the factor exp(-r (n - k) x) each are tried.
    """
    edge = 2.0 * eps
    y = np.linspace(edge, 1.0, 1001)[:-1]
    rate = 0.99 * (n - k) * np.min(_density(law, y) / _above(law, y))  # a little below the least
    low = np.zeros((draws, k))
    left = np.arange(draws)
    while len(left):
        tried = _tilted(law, (len(left), k), rate, rng)
        s = np.sum(tried, axis=1)
        share = _above(law, np.minimum(edge + s, 1.0)) / _above(law, y[:1])
        kept = rng.random(len(left)) < share ** (n - k) * np.exp(rate * s)
        low[left[kept]] = tried[kept]
        left = left[~kept]
    start = 1.0 - _above(law, edge + np.sum(low, axis=1))[:, None]
    high = _size(law, start + (1.0 - start) * rng.random((draws, n - k)))
    return np.concatenate([low, high], axis=1)


def _tilted(law, shape, rate, rng):
    """Sizes whose density is exp(-rate x) times the plain one, by rejection."""
    found, left = np.zeros(shape), np.ones(shape, bool)
    while many := np.count_nonzero(left):
        found[left] = tried = _size(law, rng.random(many))
        left[left] = rng.random(many) >= np.exp(-rate * tried)
    return found


def _density(law, x):
    """Of |X|."""
    return np.ones_like(x) if law == "uniform" else 2.0 * candidate_sums.product_density(x)


def _above(law, y):
    """P(|X| > y), y of [0, 1]."""
    return 1.0 - (y if law == "uniform" else y * (1.0 + _density(law, y)))


def _size(law, u):
    """|X| of which a share of u is smaller."""
    if law == "uniform":
        return u
    # u = x (1 - ln x), so that ln x - 1 is the lower branch of Lambert's function.
    return np.exp(1.0 + np.real(special.lambertw(-u / math.e, -1)))


def _chance(x, t, eps):
    """P(miss, in reach | the sizes x)."""
    edge, total = _edge(x, eps), np.sum(x)
    low = _sums(np.sort(x), edge + t + eps)
    sources = [low[low > t + eps] - t]
    if edge < total:
        sources = [sources[0][sources[0] < edge], low[low < edge - t] + t]  # both ends of A
    missed = 0
    for points in sources:
        above = np.searchsorted(low, points)
        after = np.append(low, np.inf)[above]
        missed += np.count_nonzero((points - low[above - 1] > eps) & (after - points > eps))
    return missed * 0.5 ** len(x)


def _edge(x, eps):
    """How far from its ends the sums of x may have gaps wider than 2 eps, at most."""
    for k in range(min(LEAST, len(x)), min(MOST, len(x)) + 1):
        sums = _sums(x[:k])
        ends = sums[1:][(np.diff(sums) > 2.0 * eps) & (sums[:-1] < sums[-1] / 2.0)]
        edge = ends[-1] if len(ends) else 0.0
        free = sums[-1] - 2.0 * edge
        if free >= 0.0 and np.max(x[k:], initial=0.0) <= free + 2.0 * eps:
            return edge
    if len(x) > MOST:
        raise InputError(
            f"eps must be larger for {len(x)} candidates, as all sums of {MOST} of them do not "
            f"show where the gaps are, got {eps:g}."
        )
    return np.sum(x)


def _sums(x, most=math.inf):
    """All subset sums of x up to `most`, ascending."""
    found = np.zeros(1)
    for number in x:
        found = np.concatenate(
            [found, found[: np.searchsorted(found, most - number, "right")] + number]
        )
        found.sort(kind="stable")  # merges two runs
    return found


def _bound(law, n, t, eps):
    """A proved bound on P(miss, in reach)."""
    signs = subset_sums.binomial(n)[n]
    over = 1.0 - signs @ subset_sums.positive_cdf(law, n, min(t + eps, 1.0))
    return min(float(np.sum(_jumps(law, n, eps))), float(over))
