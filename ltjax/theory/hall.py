r"""Pooled: what it costs that two slots must take two neurons, by Hall's theorem.

Where every slot is met (`pool`), a ticket is a matching of slots to neurons. In each of the two
halves n active slots, |w_i| > eta, are open to the neurons of one sign of A, and a neuron of
|A| = a meets slot i with probability q_i(a), independently given a ~ U[0, 1]. For a set S of s
slots of one half,

    r_1(S) = P(a neuron stands on that half and meets some slot of S),
    r_2(S) = the same, two or more of them.

**Claim.** P(every slot is met, and there is no matching) is at most the sum, over both halves and
over all S with s >= 2, of

    T(S) = C(k, s-1) r_2(S)^(s-1) (1 - r_1(S))^(k-s+1).

Proof. By Hall's theorem some set of slots has fewer neighbours than slots; a smallest one, S, lies
in one half, and s >= 2, as every slot is met. A smaller set has no fewer neighbours than slots, so
S has s - 1. Each of these meets two or more slots of S: were slot i the only one of some neuron, S
without i would be left with s - 2. So some s - 1 neurons meet two or more slots of S each, all
others none; neurons are independent and alike, and the union bound is over S and over neurons.

Where there are hardly more neurons than slots, sets of all sizes fail at once, and that sum is
idle. Let X be the number of neurons that meet some slot of the half, binomial(k, rho) with
rho = r_1(all n). Once X < m is set aside, S matters where X >= m only: of the k - s + 1 neurons
that meet no slot of S each meets another with chance x(S) = (rho - r_1(S)) / (1 - r_1(S)). So half
the sum may be replaced, for any m, by

    P(X < m) + sum_S T(S) P(s - 1 + binomial(k - s + 1, x(S)) >= m),

and the smallest is taken, of m = 0 and of a few from n on; the largest x(S) of each size serves all
of it. From below: where X < n there is no matching. With Y the X of the other half, P(every slot is
met, and X < n or Y < n) is at least

    2 [P(X < n) - sum over all 2n slots of P(X < n, the slot is empty)] - P(X < n)^2,

since P(X < n, Y < n) <= P(X < n) P(Y < n): given X, Y is binomial(k - X, rho / (1 - rho)), so that
P(Y < n | X) rises in X.

Derived here. Equal |w_i| have one term a size, C(n, s) times; others have one for every number of
slots taken from each class of equal |w_i|, which for 16 different ones is every set. Where those
are too many, neighbours in size make a class: r_2 rises in q, hence falls in each |w_i|, and so
does r_1; the least |w_i| of a class bounds the one from above, the largest the other from below.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from ltjax.theory import pool, product
from ltjax.theory.product import Numbers

MOST_TERMS = 2**16
FLOORS = 4  # n, n + 1, ..., to be tried for m
SMALLEST = 1e-300  # below it a tail is no longer told from 0, which would lose the term it cuts


class Unmatched(NamedTuple):
    """Bounds on P(every slot is met, and there is no matching), shaped like the widths."""

    least: np.ndarray
    most: np.ndarray


class _Sets(NamedTuple):
    """Sets of slots of one half, as many as `multiplicity` at a time.

    size: s, [term]; log_number: ln of how many sets there are, [term].
    met, twice: r_1 from below and r_2 from above, [term].
    """

    size: np.ndarray
    log_number: np.ndarray
    met: np.ndarray
    twice: np.ndarray


class _Chances(NamedTuple):
    """Of the sets of some classes: how many slots a neuron of |A| = a meets, each [node, set]."""

    none: np.ndarray
    one: np.ndarray
    more: np.ndarray


def unmatched(weights: Numbers, eta: float, width: Numbers) -> Unmatched:
    """Bounds on P(every slot is met by some neuron, but two must share): shared less pooled.

    Args:
        weights: target, shape [d].
        eta: tolerance per weight.
        width: hidden neurons k, any shape.
    """
    return unmatched_law(weights, eta)(width)


def unmatched_law(weights: Numbers, eta: float) -> Callable[[Numbers], Unmatched]:
    """`unmatched` as a function of the widths, prepared once."""
    t = pool.active(weights, eta)
    n = len(t)
    if not n:
        return lambda width: Unmatched(np.zeros(np.shape(width)), np.zeros(np.shape(width)))
    sets, (low, high) = _sets(t, eta)
    single = product.match_probability(t, eta)
    sizes, floors = np.arange(2, n + 1), n + np.arange(FLOORS)
    rarest = np.array([np.min(sets.met[sets.size == s]) for s in sizes])
    others = np.clip((high - rarest) / (1.0 - rarest), 0.0, 1.0)

    def law(width: Numbers) -> Unmatched:
        ks = np.asarray(width, np.int64).ravel()
        terms = np.array([_terms(sets, int(k), n) for k in ks])
        # [width, floor, size]; where k is below a floor, X is too, and nothing else counts.
        left = np.maximum(ks[:, None, None], floors[-1]) - sizes + 1
        enough = special.bdtrc(floors[:, None] - sizes, left, others)
        with np.errstate(over="ignore"):
            plain = np.sum(terms, axis=-1)
            cut = np.sum(terms[:, None] * np.maximum(enough, SMALLEST), axis=-1)
        cut += _binomial_below(floors, ks[:, None], low)
        most = 2.0 * np.minimum(plain, np.min(cut, axis=-1))
        short = _binomial_below(n, ks, high)
        least = 2.0 * (short - _short_and_empty(n, ks, low, single)) - short**2
        shape = np.shape(width)
        return Unmatched(
            np.maximum(least, 0.0).reshape(shape), np.minimum(most, 1.0).reshape(shape)
        )

    return law


def _binomial_below(m: int | np.ndarray, trials: np.ndarray, p: Numbers) -> np.ndarray:
    return special.bdtr(np.minimum(m - 1, trials), trials, p)


def _short_and_empty(n: int, k: np.ndarray, every: float, single: np.ndarray) -> np.ndarray:
    """The sum over all slots of P(X < n, the slot is empty); `single` is r_1 of each slot."""
    k = k[:, None]
    own = np.maximum((every - single) / (1.0 - single), 0.0)
    other = every / (1.0 - single)
    both = _binomial_below(n, k, own) + _binomial_below(n, k, other)
    return np.sum(np.exp(k * np.log1p(-single)) * both, axis=-1)


def _terms(sets: _Sets, k: int, n: int) -> np.ndarray:
    """Sum of T(S) by size s = 2, ..., n of one half; inf where it leaves the doubles."""
    s = sets.size
    with np.errstate(divide="ignore", over="ignore"):  # no neuron meets two; more than a double
        log = sets.log_number + _log_choose(k, n)[s - 1] + (s - 1) * np.log(sets.twice)
        terms = np.exp(log + np.maximum(k - s + 1, 0) * np.log1p(-sets.met))
    return np.bincount(s, terms, n + 1)[2:]


def _log_choose(k: int, most: int) -> np.ndarray:
    """ln C(k, j) for j = 0, ..., most: no large logarithms that cancel, and -inf for j > k."""
    j = np.arange(most)
    with np.errstate(divide="ignore"):
        return np.concatenate([[0.0], np.cumsum(np.log(np.maximum(k - j, 0.0) / (j + 1.0)))])


def _sets(t: np.ndarray, eta: float) -> tuple[_Sets, tuple[float, float]]:
    """All sets of two or more slots of one half; and rho from below and above."""
    classes = _classes(t)
    counts = [len(members) for members in classes]
    ends = np.array([[members[-1], members[0]] for members in classes]).T
    a, weight = pool.quadrature(ends.ravel(), eta, 1)
    size, log_number = np.zeros(1, np.int64), np.zeros(1)
    for count in counts:
        size = np.add.outer(size, np.arange(count + 1)).ravel()
        log_number = np.add.outer(log_number, _log_choose(count, count)).ravel()
    (low, _), (high, twice) = (
        _averages(weight, product.hit_probability(a, end, eta), counts) for end in ends
    )
    many = size >= 2
    sets = _Sets(size[many], log_number[many], low[many], twice[many])
    return sets, (float(low[-1]), float(high[-1]))


def _classes(t: np.ndarray) -> list[np.ndarray]:
    """Sizes in order, equal ones together; or neighbours, in as many classes as make few terms."""
    t = np.sort(t)
    classes = np.split(t, np.flatnonzero(np.diff(t)) + 1)
    many = min(len(classes), MOST_TERMS.bit_length())
    while np.prod([len(members) + 1.0 for members in classes]) > MOST_TERMS:
        classes = np.array_split(t, many)
        many -= 1
    return classes


def _averages(
    weight: np.ndarray, q: np.ndarray, counts: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """r_1 and r_2 of all sets: P(some slot is met) and P(two or more are), averaged over a.

    Every term is positive, so that both are accurate relative to themselves.
    """
    half = len(counts) // 2
    left, right = _chances(q[:, :half], counts[:half]), _chances(q[:, half:], counts[half:])
    outer = lambda x, y: (x.T * weight) @ y
    ones = np.ones_like(right.none)
    twice = outer(left.more, ones) + outer(left.none + left.one, right.more)
    twice += outer(left.one, right.one)
    met = outer(left.one + left.more, ones) + outer(left.none, right.one + right.more)
    return met.ravel(), twice.ravel()


def _chances(q: np.ndarray, counts: list[int]) -> _Chances:
    """Those of all sets of these classes, in the order of `_sets`."""
    chances = _Chances(np.ones((len(q), 1)), *np.zeros((2, len(q), 1)))
    for hit, count in zip(q.T[:, :, None], counts, strict=True):
        rows = [chances]
        for _ in range(count):
            none, one, more = rows[-1]
            rows.append(
                _Chances(none * (1.0 - hit), one * (1.0 - hit) + none * hit, more + one * hit)
            )
        stacked = (np.stack(part, axis=-1).reshape(len(q), -1) for part in zip(*rows, strict=True))
        chances = _Chances(*stacked)
    return chances
