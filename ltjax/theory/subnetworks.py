r"""Neuron-subnetworks: whole neurons kept or pruned, by a rule that is right in the mean.

Pruning the neurons of a random two-layer network leaves random features, with coefficients among 0
and v_i: never better than the best coefficients of all of them. And some are nearly as good as the
best of a few. Split the neurons into B groups of n, of which group b has good coefficients u^b,
none larger than C. Neuron (b, i), with output weight v ~ U[-1, 1], is wanted at a = u_i^b / C, and

    kept iff sign(v) = sign(a) and |v| <= sqrt|a|.

Then c g, the sum of the kept neurons times c = 4 C / B, has the mean (1/B) sum_b sum_i u_i^b
sigma(w_i^b.x) over v, and a variance of order 1 / B. Groups without good coefficients are dropped.

Source: the theorem is 3.2 of Malach et al. 2020 (arXiv:2002.00585); rule and constants are derived
here.
"""

import numpy as np

from ltjax.errors import InputError
from ltjax.theory.product import Numbers
from ltjax.validate import check_delta


def keep_moments(a: Numbers) -> tuple[np.ndarray, np.ndarray]:
    r"""E v 1{kept} = a / 4 and E v^2 1{kept} = |a|^{3/2} / 6, for v ~ U[-1, 1] and |a| <= 1.

    Both are the integral of v or v^2 over an interval of length sqrt|a|, with density 1/2.
    """
    wanted = np.asarray(a, np.float64)
    if not np.all(np.abs(wanted) <= 1.0):
        raise InputError(f"a must lie between -1 and 1, got {np.max(np.abs(wanted)):g} in size.")
    return wanted / 4.0, np.abs(wanted) ** 1.5 / 6.0


def subnetwork_variance(coefficients: Numbers, cap: float, moments: Numbers) -> float:
    r"""What c g loses beyond the mean of its groups, in squared loss and in the mean over v.

    Given the features, E c g = (1/B) sum_b f_b with f_b = sum_i u_i^b sigma(w_i^b.x), and neurons
    are kept independently. So the squared loss of c g is in the mean that of (1/B) sum_b f_b, which
    by convexity is at most the mean of theirs, plus

    .. math:: \frac{16 C^2}{B^2} \sum_{b,i}
        \left(\tfrac16 |a|^{3/2} - \tfrac1{16} a^2\right) E \sigma(w_i^b.x)^2.

    Args:
        coefficients: u, [B, n], none larger than C.
        cap: C.
        moments: E sigma(w.x)^2, against [B, n]; for relu half of ||w||^2, times the scale of data.
    """
    wanted = np.asarray(coefficients, np.float64)
    mean, square = keep_moments(wanted / cap)
    spread = np.sum((square - mean**2) * np.asarray(moments, np.float64))
    return float(16.0 * cap**2 / len(wanted) ** 2 * spread)


def variance_bound(cap: float, features: int, moment: float, groups: Numbers) -> np.ndarray:
    """`subnetwork_variance` is at most 8 C^2 n M^2 / (3 B), as |a|^{3/2} / 6 <= 1/6.

    Args:
        cap: C.
        features: n, of one group.
        moment: M^2, the largest E sigma(w_i.x)^2. The largest sigma^2 will do, where it is finite;
            it bounds the variance at each x besides, not needed for a loss that is a mean over x.
        groups: B, any shape.
    """
    return np.asarray(8.0 * cap**2 * features * moment / (3.0 * np.asarray(groups, np.float64)))


def groups_needed(
    cap: float,
    features: int,
    moment: float,
    excess: float,
    delta: float = 0.05,
    loss: str = "squared",
    best: float = 0.0,
) -> int:
    r"""Groups B at which the loss of c g is at most L0 + excess with probability 1 - delta.

    L0 is the loss of the mean of the groups: at most the mean of theirs. With D = c g - mean, whose
    mean square is at most V of `variance_bound`, E_x D^2 <= V / delta with probability 1 - delta
    (Markov). The absolute loss grows by at most E|D| <= sqrt(V / delta), and any loss L-Lipschitz
    in the output by L times that. The squared loss is not Lipschitz; its root grows by at most
    sqrt(V / delta) (triangle inequality in L2). Hence B is such that V / delta is

        excess^2 (absolute),   (sqrt(L0 + excess) - sqrt(L0))^2 (squared).

    All groups must be good; the width is n B.

    Args:
        cap: C.
        features: n, of one group.
        moment: M^2, as in `variance_bound`.
        excess: epsilon', in units of the loss.
        delta: failure probability over the output weights.
        loss: squared or absolute.
        best: L0; without effect on the absolute loss.
    """
    check_delta(delta)
    if loss not in ("squared", "absolute"):
        raise InputError(f"loss must be squared or absolute, got {loss}.")
    if not (cap > 0.0 and moment > 0.0 and excess > 0.0 and best >= 0.0 and features >= 1):
        raise InputError(
            "cap, features, moment and excess must be positive and best not negative, "
            f"got {cap:g}, {features}, {moment:g}, {excess:g}, {best:g}."
        )
    # excess / (sqrt(L0 + excess) + sqrt(L0)) is the difference of roots, without cancellation.
    root = excess if loss == "absolute" else excess / ((best + excess) ** 0.5 + best**0.5)
    return int(np.ceil(float(variance_bound(cap, features, moment, 1)) / (delta * root**2)))
