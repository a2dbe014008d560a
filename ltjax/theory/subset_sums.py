r"""Whether some of n random candidates sum to a target, to within eps: moments, reach and bounds.

X_1, ..., X_n are i.i.d. and S ranges over the subsets, the empty one with the sum 0 among them. N
counts those with |X(S) - t| <= eps, and success is N >= 1. With S_k the sum of k candidates

    E N   = sum_k C(n, k) P(|S_k - t| <= eps)
    E N^2 = sum n! / (a! b! c! (n-a-b-c)!) int f_c(u) H_a(t - u) H_b(t - u) du

where c elements are common to two subsets, f_c is the density of their sum and H_a the chance of a
window. Divided by factorials these are coefficients of products of power series.

    above   E N, and reach: no subset comes to t > eps where sum max(X, 0) < t - eps
    below   Dawson and Sankoff, 2 S_1 / (k+1) - 2 S_2 / (k (k+1)), k = 1 + floor(2 S_2 / S_1), with
            S_1 = E N and S_2 = E N (N-1) / 2

Both are sharper given the number of positive candidates, and then averaged. Candidates of the law

    uniform     X ~ U[-1, 1]
    product     X = A W, both U[-1, 1]
    side        X = A W of those neurons of a block of n that have W > 0: some number of products
    gaussian    X ~ N(0, 1/3): the first moment alone
    hyperbolic  density 1 / (2 |x| ln 100) on 1/100 <= |x| <= 1: nothing is known here
    integer     M X uniform on -M, ..., M: the first moment alone, by exact counts

Sources: Dawson and Sankoff, Proc. AMS 18 (1967); the rest is derived here, for the question of
Lueker, Random Structures and Algorithms 12 (1998).
"""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
from scipy import special

from ltjax.errors import InputError
from ltjax.theory import candidate_sums
from ltjax.theory.candidate_sums import between
from ltjax.theory.product import Numbers

LAWS = ("uniform", "product", "side", "gaussian", "hyperbolic", "integer")
MAX_CANDIDATES = 31  # to which the Gauss rules are exact
MAX_REACH = 64  # of products, whose reach is a closed form
# Relative errors: of first moments, of second ones, and of reach.
FIRST = {"uniform": 1e-11, "product": 1e-6, "gaussian": 1e-9, "integer": 1e-12}
SECOND = {"uniform": 1e-9, "product": 1e-5}
REACH = 1e-12
MOST_PAIRED = 16  # candidates whose second moments are taken: what bounds them, bounds more
# Random targets come in parts, each with its own bound from the means over its nodes: parts whose
# ends have this ratio, beyond 2 eps. Second moments have few nodes, and these relative errors.
RATIO, PART_NODES = 4.0, 4
PART_ERROR = {"uniform": 3e-5, "product": 1e-3}


def first_moment(
    law: str, ns: Numbers, t: float | None, eps: float, largest: int = 0
) -> np.ndarray:
    """E N, the empty subset counted: [*ns].

    Relative errors are at most 1e-11 (uniform), 1e-6 (product, side), 1e-9 (gaussian), 1e-12
    (integer).

    Args:
        law: of the candidates, any but hyperbolic.
        ns: numbers of candidates, to 31; block sizes for side.
        t: the target; None for one of U[-1, 1], or of the integers -M, ..., M over M.
        eps: error allowed, at least 0.
        largest: M of integers.

    Raises:
        InputError: of an unknown law or a number out of range.
    """
    ns = _check(law, ns, t, eps, largest)
    if law == "hyperbolic":
        raise InputError("law must be one whose sums are known here, got hyperbolic.")
    one, n = of_side(law), _most(ns)
    if law in ("gaussian", "integer"):
        return np.asarray(_plain_moment(law, n, t, eps, largest)[ns])
    x, w = (part.ravel() for part in _targets(t, eps))
    return mix(law, _mean(one, n, _first(one, n, x, w, eps)), ns)


def second_moment(law: str, ns: Numbers, t: float, eps: float) -> np.ndarray:
    """E N^2, the empty subset counted: [*ns]. Relative errors are at most 1e-9, of products 1e-5.

    Args:
        law: uniform, product or side.
        ns: as for `first_moment`.
        t: the target.
        eps: error allowed, above 0.
    """
    ns = _check(law, ns, t, eps)
    one, n = _of_known(law), _most(ns)
    return mix(law, _mean(one, n, _second(one, n, np.array([t]), np.ones(1), eps)), ns)


def dawson_sankoff(first: Numbers, second: Numbers) -> np.ndarray:
    """The best lower bound on P(N >= 1) that E N and E N^2 give, at least E[N]^2 / E[N^2]."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    twice = np.maximum(second - first, 0.0)  # 2 S_2
    k = 1.0 + np.floor(twice / np.where(first > 0.0, first, 1.0))
    return np.asarray(np.clip(2.0 * first / (k + 1.0) - twice / (k * (k + 1.0)), 0.0, 1.0))


def out_of_reach(law: str, ns: Numbers, c: float) -> np.ndarray:
    """R_n(c) = P(sum max(X, 0) < c): [*ns]. All terms are positive: relative errors of 1e-12.

    At least so often no subset sums to a target t = c + eps to within eps.

    Args:
        law: uniform, product or side.
        ns: as for `first_moment`; of products to 64.
        c: any real for uniform, at most 1 for products.
    """
    one = _of_known(law)
    ns = _check(law, ns, c, 0.0, most=MAX_REACH if one == "product" else MAX_CANDIDATES)
    n = _most(ns)
    if one == "product" and c > 1.0:
        raise InputError(f"c must be at most 1 for products, got {c:g}.")
    return mix(law, binomial(n) @ positive_cdf(one, n, c), ns)


def target_bounds(
    law: str, ns: Numbers, t: float | None, eps: float, largest: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Proved bounds on P(some subset sums to t, to within eps): lower and upper, [*ns] each.

    Each is rounded outward by the error of what it is made of; 0 and 1 where nothing is known.
    Arguments are those of `first_moment`, of any law.
    """
    ns = _check(law, ns, t, eps, largest)
    one, n = of_side(law), _most(ns)
    lower, upper = np.zeros(n + 1), np.ones(n + 1)
    if t is not None and abs(t) <= eps:  # the empty subset serves
        lower = np.ones(n + 1)
    elif one in ("gaussian", "integer"):
        upper = _plain_moment(one, n, t, eps, largest) * (1.0 + FIRST[one])
    elif one in ("uniform", "product"):
        fine, few = _targets(t, eps), _targets(t, eps, PART_NODES)
        found = [_bounds(one, n, eps, *part) for part in zip(*fine, *few, strict=True)]
        lower, upper = np.sum(found, axis=0)
    # A candidate more is never worse.
    lower = np.maximum.accumulate(np.maximum(lower, 0.0))
    upper = np.minimum.accumulate(np.minimum(upper, 1.0)[::-1])[::-1]
    return mix(law, lower, ns), mix(law, upper, ns)


def cover_bounds(law: str, ns: Numbers, a: float, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """Proved bounds on P(every t of [-a, a] is within eps of a subset sum): [*ns] each.

    Above: both ends must be in reach, the windows of the sums must fill the interval in the mean,
    and there must be enough of them. Below nothing is known unless the empty subset suffices.

    Args:
        law: as for `target_bounds`.
        ns: as for `first_moment`.
        a: half width of the interval, above 0 and at most 1.
        eps: error allowed, at least 0.
    """
    ns = _check(law, ns, a, eps)
    if not 0.0 < a <= 1.0:
        raise InputError(f"a must be above 0 and at most 1, got {a:g}.")
    one, n = of_side(law), _most(ns)
    if a <= eps:
        return np.ones(ns.shape), np.ones(ns.shape)
    upper = np.where(2.0 ** np.arange(n + 1) * eps >= a * (1.0 - 1e-12), 1.0, 0.0)
    if one in ("uniform", "product"):
        edges = np.unique(np.clip([0.0, eps, 1.0 - eps, a], 0.0, a))
        x, w = between(edges, crowded=True)
        filled = _mean(one, n, _first(one, n, x, w / a, eps)) * (1.0 + FIRST[one])
        inside = 1.0 - positive_cdf(one, n, a - eps) * (1.0 - REACH)
        ends = [chance @ (inside[: k + 1] * inside[k::-1]) for k, chance in _signs(n)]
        upper = np.min([upper, filled, np.array(ends) * (1.0 + REACH)], axis=0)
    return np.zeros(ns.shape), mix(law, np.minimum(upper, 1.0), ns)


# Bounds for 0, ..., n candidates at once, on one or several conditions: p positive of k candidates
# where the law is uniform, none of products. A table of moments has the factorials divided out.


def _bounds(law, n, eps, x, w, few, shares):
    """Bounds for targets in one part, times its chance: lower and upper, [n + 1] each.

    Its targets are x in the shares w, and again `few` of them for second moments.
    """
    part, many = np.sum(w), min(n, MOST_PAIRED)
    if np.all(x <= eps):
        return np.full(n + 1, part), np.full(n + 1, part)
    error = SECOND[law] + (PART_ERROR[law] if len(x) > 1 else 0.0)
    first = _given(law, n, _first(law, n, x, w / part, eps))
    second = _given(law, many, _second(law, many, few, shares / part, eps))
    reach = [
        share / part * positive_cdf(law, n, min(t - eps, 1.0))
        for t, share in zip(x, w, strict=True)
    ]
    reach = np.sum(reach, axis=0) * (1.0 - REACH)
    lower, upper = np.zeros(n + 1), np.zeros(n + 1)
    for k, signs in _signs(n):
        if law == "uniform":
            chance, missed = signs, reach[: k + 1]
        else:
            chance, missed = np.ones(1), signs @ reach[: k + 1]
        upper[k] = chance @ np.minimum(first[k] * (1.0 + FIRST[law]), 1.0 - missed)
        if k <= many:
            least, most = first[k] * (1.0 - FIRST[law]), second[k] * (1.0 + error)
            lower[k] = chance @ dawson_sankoff(least, most)
    return part * lower, part * upper


def _first(law, n, x, w, eps):
    """Mean over targets x, in the shares w, of E N: a table [p, q], or [k, 1]."""
    period = _period(n, np.max(x), eps)
    if law == "uniform":
        windows = candidate_sums.signed(candidate_sums.magnitude_windows(n, x, eps, period))
    else:
        windows = candidate_sums.windows(law, n, x, eps, period)[:, None]
    return _divide(windows)[..., 0] @ w


def _second(law, n, x, w, eps):
    """Mean over targets x, in the shares w, of E N^2: a table [p, q], or [k, 1]."""
    return sum(share * _paired(law, n, t, eps) for t, share in zip(x, w, strict=True))


def _paired(law, n, t, eps):
    period = _period(n, t, eps)
    edges = np.unique([0.0, *np.mod([t - eps, t + eps], 1.0), 1.0])
    u, w = between(edges, crowded=law == "product")
    back = -np.arange(period)  # t - u - m
    points = np.append(t - u, t)
    if law == "uniform":
        common = candidate_sums.signed(candidate_sums.magnitudes(n, u, period))
        hits = candidate_sums.signed(candidate_sums.magnitude_windows(n, points, eps, period))
    else:
        common = candidate_sums.densities(law, n, u, period)[:, None]
        hits = candidate_sums.windows(law, n, points, eps, period)[:, None]
    hits = _divide(hits)
    both = _multiply(hits, hits)
    shared = _multiply(_divide(common), both[..., :-1, back])
    return np.einsum("pqrm,r->pq", shared, w) + both[..., -1, 0]  # no element is common


def _divide(table):
    """By the factorials of what the first two axes count."""
    p, q = (special.factorial(np.arange(size)) for size in table.shape[:2])
    return table / np.outer(p, q).reshape(*table.shape[:2], *[1] * (table.ndim - 2))


def _multiply(a, b):
    """Product of power series in two variables, to the total degree of the first."""
    found = np.zeros_like(a)
    size, width = a.shape[:2]
    for i in range(size):
        for j in range(min(width, size - i)):
            found[i:, j:] += a[i, j] * b[: size - i, : width - j]
    return found


def _given(law, n, table):
    """Moments of k = 0, ..., n candidates from their table, on every condition: n + 1 vectors."""
    fall = special.poch(np.arange(n + 1)[:, None] - np.arange(n + 1) + 1.0, np.arange(n + 1))
    fall = np.tril(fall)  # k! / (k - s)!
    if law == "product":
        return list(fall @ table)
    moments = fall @ table @ fall.T
    return [moments[np.arange(k + 1), np.arange(k, -1, -1)] for k in range(n + 1)]


def _mean(law, n, table):
    """Moments of 0, ..., n candidates, the mean over conditions: [n + 1]."""
    chances = [signs if law == "uniform" else np.ones(1) for _, signs in _signs(n)]
    given = _given(law, n, table)
    return np.array([c @ moments for c, moments in zip(chances, given, strict=True)])


def positive_cdf(law, n, c):
    """P(sum of k positive candidates < c), k = 0, ..., n: [n + 1]."""
    if law == "uniform" or c <= 0.0:
        return candidate_sums.magnitude_cdf(n, c)
    powers = np.arange(n + 1)
    return c**powers * (_log_polynomials(n) @ (-math.log(c)) ** powers)


@lru_cache
def _log_polynomials(n):
    """P(sum of k |A W| < c) = c^k p_k(-ln c) for c <= 1: coefficients of p_0, ..., p_n, a row each.

    On [0, 1] the density -ln x has the Laplace transform (ln s + gamma) / s, and ln s is -d/da of
    the inverse of s^-a, which is c^(a-1) / Gamma(a). At a = k + 1 what is derived i times is 1/k!
    times the complete Bell polynomial of H_k and -(j-1)! zeta(j, k+1), j = 2, ..., i.
    """
    rows = np.zeros((n + 1, n + 1))
    for k in range(n + 1):
        harmonic = np.sum(1.0 / np.arange(1, k + 1))
        slopes = np.append(harmonic, -special.zeta(np.arange(2, max(k, 1) + 1), k + 1.0))
        bell = np.append(1.0, np.zeros(k))  # over i!
        for i in range(1, k + 1):
            bell[i] = slopes[:i] @ bell[i - 1 :: -1][:i] / i
        rows[k, k::-1] = bell / special.factorial(np.arange(k, -1, -1))
    return rows


# Laws of which the first moment alone is known.


def _plain_moment(law, n, t, eps, largest):
    """E N of gaussian or integer candidates: [n + 1]."""
    if law == "integer":
        windows = [_integer_window(k, t, eps, largest) for k in range(n + 1)]
    else:
        x, w = (part.ravel() for part in _targets(t, eps, candidate_sums.NODES))
        scale = np.sqrt(np.arange(1, n + 1) / 3.0)[:, None]
        # Both ends in the lower tail, or on two sides of 0.
        low, high = special.ndtr((-x - eps) / scale), special.ndtr((eps - x) / scale)
        windows = np.append(np.sum(w[x <= eps]), (high - low) @ w)
    return np.array([special.comb(k, np.arange(k + 1)) @ windows[: k + 1] for k in range(n + 1)])


def _integer_window(k, t, eps, largest):
    """P(|S_k - t| <= eps), M S_k a sum of k integers of -M, ..., M, by exact counts."""
    if t is None:  # M t is one of them
        return _integer_window(k + 1, 0.0, eps, largest)
    low = math.ceil((t - eps) * largest - 1e-9)
    high = math.floor((t + eps) * largest + 1e-9)
    if k == 0:
        return float(low <= 0 <= high)
    sizes, ways = 2 * largest + 1, 0
    for end, sign in ((high, 1), (low - 1, -1)):
        for j in range(k + 1):  # sums of k of 0, ..., 2 M to end + k M
            top = end + k * largest - j * sizes
            ways += sign * (-1) ** j * math.comb(k, j) * (math.comb(top + k, k) if top >= 0 else 0)
    return float(Fraction(ways, sizes**k))


# Arguments and averages.


def _check(law, ns, t, eps, largest=1, most=MAX_CANDIDATES) -> np.ndarray:
    """The numbers of candidates as an array, of arguments that are in range."""
    if law not in LAWS:
        raise InputError(f"law must be one of {', '.join(LAWS)}, got {law}.")
    ns = np.asarray(ns)
    if ns.dtype.kind not in "iu":
        raise InputError(f"ns must be integers, got {ns.dtype}.")
    if np.any(off := (ns < 0) | (ns > most)):
        raise InputError(f"ns must be between 0 and {most}, got {ns[off][0]}.")
    if t is not None and not math.isfinite(t):
        raise InputError(f"t must be finite, or None for a random one, got {t:g}.")
    if not 0.0 <= eps < math.inf:
        raise InputError(f"eps must be at least 0 and finite, got {eps:g}.")
    if law == "integer" and largest < 1:
        raise InputError(f"largest must be at least 1 for integers, got {largest}.")
    return ns


def of_side(law):
    """The law of a candidate that is usable; in the side form that of products."""
    return "product" if law == "side" else law


def _of_known(law):
    if law not in ("uniform", "product", "side"):
        raise InputError(f"law must be uniform, product or side, got {law}.")
    return of_side(law)


def _most(ns):
    return int(np.max(ns, initial=0))


def _period(n, t, eps):
    """Cells of a circle on which no sum, nor the window of a target, meets itself."""
    return n + math.ceil(abs(t) + 2.0 * eps) + 2


def _targets(t, eps, nodes=None):
    """Sizes of targets and their chances, in parts between the kinks: [part, node] each."""
    if t is not None:
        return np.array([[abs(t)]]), np.ones((1, 1))
    steps = math.ceil(math.log(0.5 / eps, RATIO)) if 0.0 < eps < 0.5 else 0
    graded = 2.0 * eps * RATIO ** np.arange(steps)
    edges = np.unique(np.clip([0.0, eps, *graded, 1.0 - eps, 1.0], 0.0, 1.0))
    return between(np.stack([edges[:-1], edges[1:]], axis=1), nodes is None, nodes)


def binomial(n):
    """C(k, p) 2^-k: [k, p], for k, p = 0, ..., n."""
    k = np.arange(n + 1)
    return special.comb(k[:, None], k) * 0.5 ** k[:, None]


def _signs(n):
    """k and the chances that 0, ..., k of k candidates are positive, for k = 0, ..., n."""
    return [(k, row[: k + 1]) for k, row in enumerate(binomial(n))]


def mix(law, values, ns):
    """Values at ns candidates; in the side form half of them are usable, in the mean."""
    return np.asarray((binomial(len(values) - 1) @ values if law == "side" else values)[ns])
