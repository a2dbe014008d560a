r"""One pool for a whole layer: each of its k neurons may serve any one slot.

A slot is (output o, input q, side s), as in `layers`; neuron j serves it, with chance p =
p(|t_oq|), where sign(W_jq) = s and |A_oj W_jq - t_oq| <= eta. A ticket gives each of the n active
slots a neuron of its own. Write x = (1-p)^k for the chance that a slot is empty, S1 for the sum of
x over all slots, S2 for the sum over all pairs of the chance that both are.

**Above.** A ticket needs n neurons, and one that serves each slot. Some slot is empty with chance
S1 - S2 at least (Bonferroni), and 2 S1 / (r+1) - 2 S2 / (r (r+1)) with r = 1 + floor(2 S2 / S1),
which is the same for r = 1 and still says something where S1 is large (Dawson and Sankoff 1967).
Two slots are both empty with chance (1 - p_i - p_j + b_ij)^k, where b_ij = P(a neuron serves both)
is

    two sides of a weight   0: W_jq has one sign
    one output              J where both ask for one sign of A_oj, which is s sign(t); else 0
    one input               J where both sides are one; else 0
    neither                 p_i p_j: four weights, independent

with J = int_0^1 q_i(a) q_j(a) da / 2. The 1/2: the shared weight has the sign asked for, and given
its size a the other two weights serve with the chances q of `product.hit_probability`. After the
first layer all sides are +. Pairs of the last kind are summed as a polynomial in the x; the others
one by one, or together where their numbers are equal.

**Below.** A block of floor(k / (n_in n_out)) neurons for each weight, `separate`, is a special
ticket. (`blocks` is none: there one neuron may serve several outputs of its input.) And Hall's
theorem: where there is no ticket, some set S of slots has fewer neighbours than its s = |S| slots;
take one with s least. One slot alone is empty. Otherwise S without any of its slots has s - 1
neighbours at least, and so S has s - 1 exactly, of which each serves two slots of S or more:
without the only slot of one there would be s - 2. As neurons are i.i.d.,

    P(no ticket) <= S1 + sum_(s >= 2) C(k, s-1) sum_(|S| = s) r2(S)^(s-1) (1 - r1(S))^(k-s+1),

where a neuron serves one slot of S or more with chance r1, two or more with r2. For pairs r2 = b
and 1 - r1 = 1 - p_i - p_j + b: that sum is exact, and is what matching costs *in leading order*, no
bound by itself. Larger sets are bounded. Let G_i and g_i be the sum and the largest of the b_ij
over the slots that share a weight with slot i, P_s the sum of the s largest p. Within a set of s
slots

    sum_(j != i) b_ij <= c_i p_i with c_i = min(G_i, (s-1) g_i) / p_i + P_s.

Hence r2 <= (min(sum of the s largest G, (s-1) times that of g) + P_s^2) / 2, and r1 >= sum of u_i =
p_i / (1 + c_i) (de Caen 1997), so that 1 - r1 <= prod of exp(-h u_i) with h = -ln(1-v) / v at v = s
min u, as h rises with v. With y_i = exp(-(k-s+1) h u_i) the sum over the sets of one size is at
most that of all products of s of the y, and this at most (sum y)^s / s! and C(n, s) (max y)^s.

Layers are independent. Derived here but for two inequalities: Dawson and Sankoff, Proc. American
Mathematical Society 18, 1967; de Caen, Discrete Mathematics 169, 1997.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from ltjax.theory import layers, pool, product
from ltjax.theory.layers import Target
from ltjax.theory.partition import Odds, exact_odds
from ltjax.theory.product import Numbers

MOST_PAIRS = 2**20  # that share a weight; beyond, `separate` and the hardest slot bound a layer
RATIO = 1.01  # larger sets take p for the power of it below


class Ends(NamedTuple):
    """Between these lie success and failure of one event."""

    lower: Odds
    upper: Odds


EndsLaw = Callable[[Numbers], Ends]  # widths of any shape


def network_pool_law(target: Target, etas: Sequence[float]) -> EndsLaw:
    """Bounds on P(every layer has a ticket within its eta), from k neurons in each."""
    laws = [
        layer_pool_law(weights, eta, first=i == 0)
        for i, (weights, eta) in enumerate(zip(target, etas, strict=True))
    ]

    def law(width: Numbers) -> Ends:
        lower, upper = zip(*(law(width) for law in laws), strict=True)
        return Ends(layers.independent(lower), layers.independent(upper))

    return law


def layer_pool_law(weights: Numbers, eta: float, first: bool) -> EndsLaw:
    """Bounds on P(one layer has a ticket within eta), prepared once for all widths.

    Args:
        weights: target, [n_out, n_in].
        eta: tolerance per weight.
        first: whether both sides are asked for.
    """
    t = np.atleast_2d(np.asarray(weights, np.float64))
    separate = layers.layer_law("separate", t, eta, first)
    if not np.any(np.abs(t) > eta):
        return lambda width: Ends(separate(width), separate(width))
    few = t.size * sum(t.shape) <= 2 * MOST_PAIRS
    failure = (_Sums(t, eta, first) if few else _Hardest(t, eta)).failure

    def law(width: Numbers) -> Ends:
        k = np.asarray(width, np.int64)
        least, most = np.array([failure(int(one)) for one in k.ravel()]).T.reshape(2, *k.shape)
        own = separate(k // t.size)
        lower = np.maximum(1.0 - most, own.success), np.minimum(most, own.failure)
        return Ends(exact_odds(*lower), exact_odds(1.0 - least, least))

    return law


def matching_cost(weights: Numbers, eta: float, width: int, first: bool) -> float:
    """P(every slot is met) less P(there is a ticket), of one layer, in leading order; no bound.

    The mean number of pairs of slots that one and the same neuron serves, and no other either.
    """
    return _Sums(np.atleast_2d(np.asarray(weights, np.float64)), eta, first).cost(width)


class _Hardest:
    """Of a layer with too many pairs: failure is no less than that of one slot."""

    def __init__(self, t: np.ndarray, eta: float):
        self.miss = np.log1p(-product.match_probability(np.max(np.abs(t)), eta))

    def failure(self, k: int) -> tuple[float, float]:
        return float(np.exp(k * self.miss)), 1.0


class _Sums:
    """The sums over slots, pairs and larger sets of one layer, at any width k."""

    def __init__(self, t: np.ndarray, eta: float, first: bool):
        self.sides = 2 if first else 1
        self.p = np.where(np.abs(t) > eta, product.match_probability(t, eta), 0.0)
        self.slots = self.sides * int(np.sum(self.p > 0.0))
        self.pairs = _pairs(t, self.p, eta, first)
        self.larger = _larger_sets(self.p, self.pairs, self.sides)

    def failure(self, k: int) -> tuple[float, float]:
        """Bounds on the chance of no ticket."""
        if k < self.slots:
            return 1.0, 1.0
        one, two = self.empty(k)
        return _some(one, two), min(one + self.cost(k) + self.larger(k), 1.0)

    def empty(self, k: int) -> tuple[float, float]:
        """S1 and S2."""
        x = np.where(self.p > 0.0, np.exp(k * np.log1p(-self.p)), 0.0)
        close = self.pairs.often @ np.exp(k * np.log1p(-self.pairs.either))
        return self.sides * float(x.sum()), self._apart(x) + float(close)

    def cost(self, k: int) -> float:
        """Hall's sum over pairs."""
        close = self.pairs.both * np.exp((k - 1) * np.log1p(-self.pairs.either))
        apart = self._apart(self.p * np.exp((k - 1) * np.log1p(-self.p)))
        return k * (apart + float(self.pairs.often @ close))

    def _apart(self, x: np.ndarray) -> float:
        """Sum of x_i x_j over the pairs of slots that share nothing."""
        rows, columns = np.sum(x.sum(axis=1) ** 2), np.sum(x.sum(axis=0) ** 2)
        apart = float(x.sum() ** 2 - rows - columns + np.sum(x**2))
        return self.sides**2 * max(apart, 0.0) / 2.0


class _Pairs(NamedTuple):
    """Pairs of slots that share a weight, or are two sides of one.

    either, both: chances that a neuron serves one of them at least, or both, [group].
    often: pairs of each group.
    total, largest: G and g of the slots of each weight, [n_out, n_in].
    """

    either: np.ndarray
    both: np.ndarray
    often: np.ndarray
    total: np.ndarray
    largest: np.ndarray


def _pairs(t: np.ndarray, p: np.ndarray, eta: float, first: bool) -> _Pairs:
    used, sides = p > 0.0, 2.0 if first else 1.0
    total, largest, nothing = np.zeros_like(t), np.zeros_like(t), np.zeros(used.sum())
    # p_i + p_j, b_ij and how often: two sides of each weight, where there are two.
    found = [(2.0 * p[used], nothing, nothing + sides - 1.0)]
    for by_input in (False, True):
        lines = [x.T if by_input else x for x in (t, p, used, total, largest)]
        for weights, chance, active, sums, most in zip(*lines, strict=True):
            b = _both(weights[active], eta, one_sign=not (first or by_input))
            sums[active] += b.sum(axis=1)
            most[active] = np.maximum(most[active], b.max(axis=1, initial=0.0))
            i, j = np.triu_indices(len(b), 1)
            added, no = chance[active][i] + chance[active][j], np.zeros(len(i))
            # Of the four pairs of sides two ask for one sign of the shared weight.
            found += [(added, b[i, j], no + sides), (added, no, no + 2.0 * (sides - 1.0))]
    added, both, often = map(np.concatenate, zip(*found, strict=True))
    kinds, at = np.unique(np.stack([added, both]), axis=1, return_inverse=True)
    often = np.bincount(at.ravel(), often)
    return _Pairs(kinds[0] - kinds[1], kinds[1], often, total, largest)


def _both(weights: np.ndarray, eta: float, one_sign: bool) -> np.ndarray:
    """J for the weights of one row or column, [n, n], with 0 on the diagonal.

    Args:
        one_sign: whether weights of two signs ask for two signs of the one they share.
    """
    if len(weights) == 0:
        return np.zeros((0, 0))
    t, at = np.unique(np.abs(weights), return_inverse=True)
    a, mass = pool.quadrature(t, eta, sides=1)
    q = product.hit_probability(a, t, eta)
    both = ((q.T * mass) @ q)[np.ix_(at, at)]
    if one_sign:
        both = np.where(np.outer(weights, weights) > 0.0, both, 0.0)
    np.fill_diagonal(both, 0.0)
    return both


def _some(one: float, two: float) -> float:
    """P(some event) is at least this, from S1 and S2."""
    if one == 0.0:
        return 0.0
    r = 1.0 + np.floor(2.0 * two / one)
    return min(float(2.0 * one / (r + 1.0) - 2.0 * two / (r * (r + 1.0))), 1.0)


def _larger_sets(p: np.ndarray, pairs: _Pairs, sides: int) -> Callable[[int], float]:
    """Hall's sum over the sets of three slots and more, bounded from above."""
    total, largest, p = (x[p > 0.0] for x in (pairs.total, pairs.largest, p))
    n = sides * len(p)
    s = np.arange(3.0, n + 1.0)
    if not len(s):
        return lambda k: 0.0
    top = lambda x: np.cumsum(np.repeat(np.sort(x)[::-1], sides))[2:]  # s largest of all slots
    two = np.minimum(top(total), (s - 1.0) * top(largest)) + top(p) ** 2
    log_two = np.log(np.minimum(two / 2.0, 1.0))
    # Slots of nearly one p in a class, with the least p and the most that it shares.
    power, at = np.unique(np.floor(np.log(p) / np.log(RATIO)), return_inverse=True)
    share, most = np.zeros_like(power), np.zeros_like(power)
    np.maximum.at(share, at, total / p)
    np.maximum.at(most, at, largest / p)
    count = sides * np.bincount(at)
    crowd = np.minimum(share, (s[:, None] - 1.0) * most) + top(p)[:, None]
    u = RATIO**power / (1.0 + crowd)
    v = s * u.min(axis=1)
    log_y = u * (np.log1p(-v) / v)[:, None]  # of one neuron

    def law(k: int) -> float:
        """For k >= n."""
        y = (k + 1.0 - s)[:, None] * log_y
        products = np.minimum(
            s * special.logsumexp(y, axis=1, b=count) - special.gammaln(s + 1.0),
            s * y.max(axis=1) + _log_choose(n, s),
        )
        log = products + (s - 1.0) * log_two + _log_choose(k, s - 1.0)
        return float(np.exp(min(special.logsumexp(log), 0.0)))

    return law


def _log_choose(n: int, r: np.ndarray) -> np.ndarray:
    return special.gammaln(n + 1.0) - special.gammaln(r + 1.0) - special.gammaln(n - r + 1.0)
