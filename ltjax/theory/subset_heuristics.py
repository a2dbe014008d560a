"""What a Poisson law in place of the true one predicts of subset sums. None of it is a bound.

If the subsets that hit were a Poisson number, a target would be missed with chance exp(-E N). If
the sums were a Poisson process, an interval would be covered with chance exp(-G), G the mean number
of gaps above 2 eps.
"""

import math

import numpy as np
from scipy import optimize

from ltjax.errors import InputError
from ltjax.theory import subset_sums
from ltjax.theory.candidate_sums import NODES


def poisson_heuristic(law: str, t: float, eps: float) -> float:
    """Candidates at which a Poisson law says that t is hit half the time: E N = ln 2.

    A real number, between those of `first_moment`, in which ln E N is taken to be linear.

    Args:
        law, t, eps: as for `first_moment`, with |t| > eps > 0.
    """
    ns = np.arange(1, subset_sums.MAX_CANDIDATES + 1)
    with np.errstate(divide="ignore"):  # windows that rounding closes
        means = np.log(subset_sums.first_moment(law, ns, t, eps))
    return _crossing(ns, means, math.log(math.log(2.0)))


def poisson_cover_heuristic(law: str, a: float, eps: float) -> float:
    """Candidates at which a Poisson law says that [-a, a] is covered half the time.

    Of points of density m(z) / 2 eps on the line, m(z) the mean number of sums within eps of z, the
    gaps above 2 eps number the integral of m exp(-m) / 2 eps, which is to be ln 2.

    Args:
        law: as for `first_moment`.
        a: half width of the interval.
        eps: error allowed.
    """
    ns = np.arange(1, subset_sums.MAX_CANDIDATES + 1)
    x, w = np.polynomial.legendre.leggauss(NODES)
    targets = a * (1.0 + x) / 2.0
    zero = targets <= eps  # where the empty subset is no part of the density
    means = (
        np.stack([subset_sums.first_moment(law, ns, float(t), eps) for t in targets])
        - zero[:, None]
    )
    log = lambda n: np.stack([np.interp(n, ns, np.log(row)) for row in means])
    gaps = lambda n: float(a * w @ (np.exp(log(n)) * np.exp(-np.exp(log(n))))) / (2.0 * eps)
    least = next((n for n in ns[::-1] if gaps(n) > math.log(2.0)), None)
    if least is None or least == ns[-1]:
        raise InputError(f"eps must be one that {ns[-1]} candidates can meet, got {eps:g}.")
    return float(optimize.brentq(lambda n: gaps(n) - math.log(2.0), least, least + 1))


def _crossing(ns, values, level):
    """Where increasing values, linear between the ns, come to a level."""
    if not values[0] <= level <= values[-1]:
        raise InputError(f"eps must be one that {ns[0]} to {ns[-1]} candidates can meet.")
    return float(np.interp(level, values, ns))
