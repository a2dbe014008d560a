r"""Shared: every neuron is open to every input, without asking that two slots take two neurons.

A necessary event for a ticket that pools its neurons, and an upper curve for it. In the side form
a coordinate with |w_i| > eta is served on side sign(w_i) by neurons with A > 0, on the other by
neurons with A < 0, and given A the columns of W are independent. So the slots split into two
halves that share nothing but the number r of neurons with A > 0:

    P = sum_r C(k, r) 2^-k  Phi_r Phi_(k-r),   Phi_r = P(r neurons fill all n active slots).

A neuron with |A| = a fills slot i with probability q_i(a) = P(|a W - w_i| <= eta), independently
over i given a. Two ways to Phi_r, and a third to P:

    chain    r steps of a Markov chain on which slots are filled; every term is positive, both
             tails are accurate to rounding; for few states, that is few distinct |w_i|
    subsets  Phi_r = sum_T (-1)^|T| M_T^r, M_T the chance that a neuron misses all of T; success
             to about 1e-10, failure to 1e-7 of itself down to 1e-60
    sample   the average over networks A of the exact probability given A, with a standard error
             (see `tails`)

With one side asked for (`sides` = 1) the other drops out, and each of the k neurons stands on it
with chance 1/2: P = sum_r C(k, r) 2^-k Phi_r is Phi_k of neurons that fill half as often.

All derived here; the construction relaxes that of Malach et al. 2020, arXiv:2002.00585.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

from ltjax.theory import product, tails
from ltjax.theory.partition import Odds, exact_odds
from ltjax.theory.product import Numbers

Law = Callable[[int], tuple[float, float]]  # width -> success, failure
OddsLaw = Callable[[Numbers], Odds]  # the same for widths of any shape

NODES = 48  # Gauss-Legendre nodes between two breakpoints of q
STRIDE_BITS = 7  # the chain advances by 2^7 neurons at a time
BINOMIAL_NODES = 24  # Gauss nodes that stand for the binomial law of r
# Above these the chain's matrix, or the 2^n subsets, cost more than they are worth.
MANY_STATES, MOST_STATES, MOST_SUBSETS = 256, 512, 16
NETWORKS, SEED = 128, 2020  # of the sample


def shared_odds(weights: Numbers, eta: float, width: Numbers, sides: int = 2) -> Odds:
    """P(every slot is met by some neuron, two slots perhaps by the same).

    Exact for up to 16 active weights, and for up to 511 of equal size; otherwise a sample mean with
    its standard error, the same at every call.

    Args:
        weights: target, shape [d].
        eta: tolerance per weight.
        width: hidden neurons k, any shape.
        sides: 2, or 1 where the slots of one side are all.
    """
    return shared_law(weights, eta, sides)(width)


def shared_law(weights: Numbers, eta: float, sides: int = 2) -> OddsLaw:
    """`shared` as a function of the widths, prepared once."""
    t = active(weights, eta)
    if not is_exact(t, eta):
        return lambda width: sample(t, eta, np.asarray(width, np.int64), sides)
    if not len(t):
        law: Law = lambda width: (1.0, 0.0)
    else:
        chain = _states(t) <= (MANY_STATES if len(t) <= MOST_SUBSETS else MOST_STATES)
        law = (chain_law if chain else subset_law)(t, eta, sides)

    def odds(width: Numbers) -> Odds:
        widths = np.asarray(width, np.int64)
        values = np.array([law(int(k)) for k in widths.ravel()]).reshape(*widths.shape, 2)
        return exact_odds(values[..., 0], values[..., 1])

    return odds


def is_exact(weights: Numbers, eta: float) -> bool:
    """Whether `shared` is exact; elsewhere only the sample is left."""
    t = active(weights, eta)
    return len(t) <= MOST_SUBSETS or _states(t) <= MOST_STATES


def _states(t: np.ndarray) -> float:
    return float(np.prod(np.unique(t, return_counts=True)[1] + 1.0))


def _combine(binomial: np.ndarray, unfilled: np.ndarray, filled: np.ndarray) -> tuple[float, float]:
    """Success and failure of both sides, from one side's at r and, read backwards, at k - r."""
    success = binomial @ (filled * filled[::-1])
    failure = binomial @ (unfilled + filled * unfilled[::-1])
    return min(float(success), 1.0), min(float(failure), 1.0)


def active(weights: Numbers, eta: float) -> np.ndarray:
    t = np.abs(np.asarray(weights, np.float64))
    return t[t > eta]


def quadrature(t: np.ndarray, eta: float, sides: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of da where some q > 0: Gauss-Legendre in ln a between breakpoints.

    Half of da for one side, on which a neuron stands with chance 1/2.
    """
    edges = np.log(np.unique(np.minimum(np.concatenate([t - eta, t + eta, [1.0]]), 1.0)))
    x, w = np.polynomial.legendre.leggauss(NODES)
    half = np.diff(edges)[:, None] / 2.0
    a = np.exp(edges[:-1, None] + half * (1.0 + x))
    return a.ravel(), (a * half * w * (sides / 2.0)).ravel()


# The chain.


def _transition(values: np.ndarray, counts: np.ndarray, eta: float, sides: int) -> np.ndarray:
    """One neuron's step on states (c_1, c_2, ...), c_v slots of size `values[v]` filled."""
    a, weight = quadrature(values, eta, sides)
    q, half = product.hit_probability(a, values, eta), len(values) // 2
    left = _filling(q[:, :half], counts[:half])
    right = _filling(q[:, half:], counts[half:])
    n, m = left.shape[1], right.shape[1]
    # The sum over nodes of Kronecker products is one matrix product.
    step = (left.reshape(len(a), -1).T * weight) @ right.reshape(len(a), -1)
    step = step.reshape(n, n, m, m).transpose(0, 2, 1, 3).reshape(n * m, n * m)
    # The diagonal is what is left: rows that sum to 1 stay so over many powers.
    np.fill_diagonal(step, 0.0)
    np.fill_diagonal(step, 1.0 - step.sum(axis=1))
    return step


def _filling(q: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Kronecker product over v of C(n-c, c'-c) q^(c'-c) (1-q)^(n-c'), shape [nodes, s, s]."""
    table = np.ones((len(q), 1, 1))
    for column, n in zip(q.T[:, :, None, None], counts, strict=True):
        before, after = np.ogrid[: n + 1, : n + 1]
        gain = after - before
        step = special.comb(n - before, gain) * column ** np.maximum(gain, 0)
        step = step * (1.0 - column) ** (n - after)
        size = table.shape[1] * (n + 1)
        table = table[:, :, None, :, None] * step[:, None, :, None, :]
        table = table.reshape(len(q), size, size)
    return table


def chain_law(t: np.ndarray, eta: float, sides: int = 2) -> Law:
    """The law by powers of the chain: Phi_r is the mass in the last state after r steps."""
    step = _transition(*np.unique(t, return_counts=True), eta, sides)
    powers = [step]
    while len(powers) <= STRIDE_BITS:
        powers.append(powers[-1] @ powers[-1])
    ends = np.zeros((len(step), 2))
    ends[:-1, 0] = ends[-1, 1] = 1.0  # some slot open; all filled
    within = [ends]
    for _ in range(2**STRIDE_BITS - 1):
        within.append(step @ within[-1])
    columns = np.concatenate(within, axis=1)

    def masses(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        row = np.eye(1, len(step))[0]
        for bit in range(start.bit_length()):
            if bit == len(powers):
                powers.append(powers[-1] @ powers[-1])
            if start >> bit & 1:
                row = row @ powers[bit]
        rows = [row]
        for _ in range((count - 1) >> STRIDE_BITS):
            rows.append(rows[-1] @ powers[STRIDE_BITS])
        both = (np.stack(rows) @ columns).reshape(-1, 2)[:count]
        return both[:, 0], both[:, 1]

    def law(width: int) -> tuple[float, float]:
        if sides == 1:
            unfilled, filled = masses(width, 1)
            return min(float(filled[0]), 1.0), min(float(unfilled[0]), 1.0)
        start, binomial = _binomial(width)
        unfilled, filled = masses(start, len(binomial))
        return _combine(binomial, unfilled, filled)

    return law


def _binomial(k: int) -> tuple[int, np.ndarray]:
    """C(k, r) 2^-k for r = start, ..., k - start; outside it is below the smallest double."""
    start = max(0, k // 2 - 19 * (int(np.sqrt(k)) + 1))  # Hoeffding: 2 exp(-2 * 19^2)
    r = np.arange(start, k - start, dtype=np.float64)
    log = np.cumsum(np.concatenate([[0.0], np.log((k - r) / (r + 1.0))]))
    mass = np.exp(log - log.max())
    return start, mass / mass.sum()


# The subsets.


def subset_law(t: np.ndarray, eta: float, sides: int = 2) -> Law:
    """The law by inclusion and exclusion; M_T^r for real r, so that Gauss nodes can serve."""
    a, weight = quadrature(t, eta, sides)
    q, half = product.hit_probability(a, t, eta), len(t) // 2
    left, left_sign = _subset_hits(q[:, :half])
    right, right_sign = _subset_hits(q[:, half:])
    # 1 - M_T directly: 1 - (1-x)(1-y) = x + (1-x) y.
    hit = (weight @ left)[:, None] + ((1.0 - left).T * weight) @ right
    log_miss = np.log1p(-hit.ravel())[1:]
    sign = np.outer(left_sign, right_sign).ravel()[1:]

    def unfilled_after(r: np.ndarray) -> np.ndarray:
        return np.clip(-(np.exp(np.outer(r, log_miss)) @ sign), 0.0, 1.0)

    def law(width: int) -> tuple[float, float]:
        if sides == 1:
            failure = float(unfilled_after(np.array([width]))[0])
            return 1.0 - failure, failure
        r, binomial = _binomial_gauss(width)
        unfilled = unfilled_after(r)
        return _combine(binomial, unfilled, 1.0 - unfilled)

    return law


def _subset_hits(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P(some slot of T is hit | a) and (-1)^|T| for every T, shape [nodes, 2^n] and [2^n]."""
    hits, sign = np.zeros((len(q), 1)), np.ones(1)
    for column in q.T[:, :, None]:
        hits = np.concatenate([hits, hits + (1.0 - hits) * column], axis=1)
        sign = np.concatenate([sign, -sign])
    return hits, sign


def _binomial_gauss(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes and weights of the binomial(k, 1/2) law (Krawtchouk polynomials).

    Exact for polynomials of degree 47, and all of the law for k < 24.
    """
    n = np.arange(1, min(BINOMIAL_NODES, k + 1))
    off = np.sqrt(n * (k + 1.0 - n)) / 2.0
    nodes, vectors = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
    return k / 2.0 + nodes, vectors[0] ** 2


# The sample.


def sample(t: np.ndarray, eta: float, widths: np.ndarray, sides: int = 2) -> Odds:
    """`tail` of the draws that make every call the same."""
    return tails.tail("shared", t, eta, widths, sides, NETWORKS, SEED)
