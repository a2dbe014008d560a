"""The chance that a subset of one to three candidates sums to a target: exact, by quadrature.

The last candidate is integrated out in closed form: where the others miss, it must fall within eps
of one of the differences between the target and their sums, which are windows that may overlap.
What is left has kinks on lines that are known, and is smooth, or a logarithm, between them.

Derived here.
"""

import numpy as np
from scipy import special

from ltjax.errors import InputError
from ltjax.theory import candidate_sums, product
from ltjax.theory.candidate_sums import between

MOST = 3
NODES = {"uniform": 4, "product": 24}  # polynomials of degree 4, and logarithms
ROWS = 256  # of the outer rule at a time


def exact_success(law: str, n: int, t: float, eps: float) -> float:
    """P(some subset of n candidates sums to t, to within eps), to 1e-9; the empty one counts.

    Args:
        law: uniform, product or side.
        n: candidates, or the block size of side, at most 3.
        t: the target.
        eps: error allowed, at least 0.

    Raises:
        InputError: of another law, or more candidates.
    """
    if law not in ("uniform", "product", "side"):
        raise InputError(f"law must be uniform, product or side, got {law}.")
    if not 0 <= n <= MOST:
        raise InputError(f"n must be between 0 and {MOST}, got {n}.")
    if law != "side":
        return _success(law, n, abs(t), eps)
    chance = special.comb(n, np.arange(n + 1)) * 0.5**n
    return float(chance @ [_success("product", k, abs(t), eps) for k in range(n + 1)])


def _success(law, n, t, eps):
    """What the first n - 1 do not hit, and the last then does, summed over n."""
    if t <= eps:
        return 1.0
    return sum(_newly(law, k, t, eps) for k in range(1, n + 1))


def _newly(law, n, t, eps):
    """P(the first n - 1 candidates miss, and n do not)."""
    ends = [t + side - edge for side in (-eps, eps) for edge in (-1.0, 0.0, 1.0)]
    moved = np.array([-2.0 * eps, 0.0, 2.0 * eps])  # of a difference: windows touch, or coincide
    lines = np.append(ends, moved)  # of one number, or of a sum of two
    alone = np.append(lines, [-1.0, 1.0])
    if n == 1:
        return float(_union(law, np.array([[t]]), eps)[0])
    if n == 2:
        x, w = _rule(law, alone)
        return float(np.sum(w * _chance(law, [x], t, eps)))
    crossings = [lines[:, None] - alone, alone[:, None] - moved, (lines[:, None] - moved) / 2.0]
    x, w = _rule(law, np.concatenate([alone, *map(np.ravel, crossings)]))
    found = 0.0
    for rows in np.split(np.arange(len(x)), range(ROWS, len(x), ROWS)):
        one = x[rows, None]
        kinks = [np.broadcast_to(alone, (len(rows), len(alone))), lines - one, moved + one]
        two, v = _rule(law, np.concatenate(kinks, axis=1))
        one = np.broadcast_to(one, two.shape)
        found += float(np.sum(w[rows, None] * v * _chance(law, [one, two], t, eps)))
    return found


def _rule(law, kinks):
    """Nodes and weights, times the density, between kinks on [-1, 1]."""
    edges = np.sort(np.clip(kinks, -1.0, 1.0), axis=-1)
    x, w = between(edges, law == "product", NODES[law])
    return x, w * (0.5 if law == "uniform" else candidate_sums.product_density(x))


def _chance(law, numbers, t, eps):
    """P(one more hits), where no sum of some numbers does, and otherwise 0."""
    sums = [np.zeros_like(numbers[0])]
    for number in numbers:
        sums += [each + number for each in sums]
    centers = t - np.stack(sums, axis=-1)
    return np.where(np.all(np.abs(centers) > eps, axis=-1), _union(law, centers, eps), 0.0)


def _union(law, centers, eps):
    """P(a candidate is within eps of some center)."""
    centers = np.sort(centers, axis=-1)
    low, high = centers - eps, centers + eps
    low[..., 1:] = np.maximum(low[..., 1:], high[..., :-1])
    cdf = (
        (lambda x: np.clip((1.0 + x) / 2.0, 0.0, 1.0)) if law == "uniform" else product.product_cdf
    )
    return np.sum(cdf(high) - cdf(low), axis=-1)
