r"""What no mask can do, by counting: b bits of a mask are 2^b functions at most.

Let w be uniform on the cube [-1/sqrt d, 1/sqrt d]^d and independent of the random network. A
function g that is within eps of w.x on the unit ball is within eps of other targets, too, but two
of them differ by |w - w'| there, so that |w - w'| <= 2 eps. Of all sets of that diameter a ball has
the largest volume: g serves at most the share V_d eps^d / (2/sqrt d)^d of the cube, V_d the volume
of the unit ball, and

    P(some mask serves w) <= min(1, 2^b V_d (eps sqrt(d) / 2)^d).

It holds of every way to choose the mask, and of whatever network. Of relu(w.x) it holds with 2 eps:
at x and -x, x along w - w', the two differ by |w - w'| together, so by half of it at one of them.
Where the error is the distance of slopes, as of hidden neurons that see one input each, it holds
with eps: then the set is a ball. For d x d weights, each met to within eta, it is a cube:
min(1, 2^b (eta sqrt d)^(d^2)).

A bound below 1 also says that some target is served by no mask, whatever is drawn: the sets do not
fill the cube.

Sources: Pensia et al. 2020, arXiv:2006.07990, bound the size of networks so, to constants; that
the ball is largest is Bieberbach's isodiametric inequality.
"""

import math

import numpy as np

from ltjax.theory.product import Numbers
from ltjax.validate import check_dim


def neuron_counting_bound(bits: Numbers, dim: int, eps: Numbers) -> np.ndarray:
    """The chance that some mask serves a random w.x is at most this; bits and eps broadcast.

    Args:
        bits: of a mask, at least 0.
        dim: d.
        eps: error on the unit ball, above 0; twice that of relu(w.x).
    """
    return _bound(np.asarray(bits) * math.log(2.0) + _log_share(check_dim(dim), eps))


def layer_counting_bound(bits: Numbers, dim: int, eta: Numbers) -> np.ndarray:
    """The chance that some mask serves d x d weights, each to within eta, is at most this."""
    share = np.log(np.asarray(eta, np.float64) * math.sqrt(check_dim(dim)))
    return _bound(np.asarray(bits) * math.log(2.0) + dim**2 * share)


def least_bits(dim: int, eps: Numbers, delta: Numbers = 0.0) -> np.ndarray:
    """The fewest bits with which some mask may serve a random w.x with a chance of 1 - delta.

    With fewer than those of delta = 0, some target is served by no mask. Arguments are those of
    `neuron_counting_bound`, with delta below 1.
    """
    bits = np.log1p(-np.asarray(delta, np.float64)) - _log_share(check_dim(dim), eps)
    return np.asarray(np.maximum(np.ceil(bits / math.log(2.0) - 1e-9), 0.0))


def _log_share(dim, eps):
    """ln of the share of the cube that one function serves at most."""
    volume = dim / 2 * math.log(math.pi) - math.lgamma(dim / 2 + 1)
    return volume + dim * np.log(np.asarray(eps, np.float64) * math.sqrt(dim) / 2.0)


def _bound(log):
    return np.asarray(np.exp(np.minimum(log, 0.0)))
