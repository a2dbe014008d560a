r"""What no features do better: one neuron in spherical harmonics, exactly.

A direction w on the sphere of R^d makes the neuron relu(w.x). By rotation invariance its energy E
y^2 is split over the degrees n of harmonics in shares that do not depend on w,

    s_n = 2 d a_n^2 N_n,   a_n = E relu(t) P_n(t),   sum_n s_n = 1,

with t one coordinate of a point of the sphere, P_n the Gegenbauer polynomial with P_n(1) = 1, N_n
the dimension of the harmonics of degree n (Funk and Hecke). Of odd degrees n = 1 alone has a share,
1/2; a_0 = Gamma(d/2) / (2 sqrt(pi) Gamma((d+1)/2)), and a_{n+2} / a_n = -(n - 1) / (n + d + 1) for
even n. As d grows the shares tend to those of Hermite polynomials, 1/pi, 1/2, 1/(2 pi), 1/(24 pi):
degrees up to 1 leave 0.18, up to 2 leave 0.022, up to 4 leave 0.009, and there are d, d^2 / 2,
d^4 / 24 harmonics of the degrees 1, 2, 4. So the least number of features that leaves a fixed part
is of the order of a power of d; for fixed d it grows with the part rho as rho^(-(d-1)/3).

Source: eigenvalues of the arc-cosine kernels are in Bach (2017, JMLR 18); the lower bound is the
one of Eckart and Young (Kolmogorov widths in the mean). The recurrence is checked by quadrature.
"""

import numpy as np
from scipy import special

from ltjax.errors import InputError
from ltjax.theory.product import Numbers

EVEN = np.arange(0, 20_001, 2)
LARGEST = 690.0  # ln of a count
SMALLEST = 1e-9  # residual: the sums are known to 1e-11


def shares(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """N_n and s_n for n = 0, 1, 2, 4, 6, ..., 20,000, shares of one harmonic falling."""
    if dim < 2:
        raise InputError(f"dim must be at least 2, got {dim}.")
    ratio = np.log(np.abs(EVEN[:-1] - 1.0) / (EVEN[:-1] + dim + 1.0))
    first = special.gammaln(0.5 * dim) - special.gammaln(0.5 * (dim + 1)) - np.log(2 * np.pi**0.5)
    even = first + np.append(0.0, np.cumsum(ratio))  # ln |a_n|
    n, log_a = np.insert(EVEN, 1, 1), np.insert(even, 1, -np.log(2.0 * dim))
    # N_n = (2n + d - 2) (n + d - 3)! / (n! (d - 2)!), and N_0 = 1.
    up = n[1:]
    log_many = np.log(2.0 * up + dim - 2) + special.gammaln(up + dim - 2.0)
    log_many = np.append(0.0, log_many - special.gammaln(up + 1.0) - special.gammaln(dim - 1.0))
    # Shares stay right where the counts, all but the smallest, leave the doubles.
    return np.exp(np.minimum(log_many, LARGEST)), 2.0 * dim * np.exp(log_many + 2.0 * log_a)


def least_residual(dim: int, features: Numbers) -> np.ndarray:
    """The relative squared loss that r functions, however chosen, leave at least in the mean.

    The mean is over targets uniform on the sphere, and over the functions where they are random. If
    these are features of a rotation-invariant law, it is that over features alone for any target.
    What r functions explain in the mean is at most the sum of the r largest eigenvalues of the
    kernel as an operator on the sphere, which are s_n / N_n, N_n times.

    Args:
        dim: d, at least 2.
        features: r, any shape.
    """
    used, left = _curve(dim)
    return np.asarray(np.interp(np.asarray(features, np.float64), used, left))


def least_features(dim: int, residual: float) -> float:
    """The smallest r, a broken number, at which `least_residual` has fallen to `residual`."""
    if not SMALLEST <= residual < 1.0:
        raise InputError(f"residual must lie between {SMALLEST:g} and 1, got {residual:g}.")
    used, left = _curve(dim)
    return float(np.interp(-residual, -left, used))


def _curve(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the residual over the number of functions: after 0, 1, 1 + d, ... of them."""
    count, share = shares(dim)
    return np.append(0.0, np.cumsum(count)), 1.0 - np.append(0.0, np.cumsum(share))
