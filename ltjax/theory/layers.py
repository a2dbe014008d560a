r"""Whole networks: a layer of weights t_oq is met when every slot (o, q, side) is.

Each layer has a random pair W [k, n_in], A [n_out, k] of its own. Slot (o, q, s) is met by a neuron
of its block with sign(W_jq) = s and |A_oj W_jq - t_oq| <= eta, or, under the zero rule, by none
where |t_oq| <= eta. The first layer asks for both sides; after it inputs are >= 0 and side + is
all. With p = p(|t_oq|, eta) the chance that one neuron serves one slot, m neurons a block:

    separate  a block for each weight: independent, S(m) = 1 - 2 (1-p)^m + (1-2p)^m in the first
              layer and 1 - (1-p)^m afterwards.
    blocks    a block for each input, its W shared by the outputs. Given W the slots of the outputs
              are independent, and A and W have one law: input q has the probability of
              `pool.shared_odds` with the weights (t_oq)_o for m neurons, on two sides or on one.

Inputs are independent of each other in both, and so are layers.

Source: the construction follows Malach et al. 2020, arXiv:2002.00585, whose blocks are separate;
the formulas are derived here.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ltjax.errors import InputError
from ltjax.theory import partition, pool, product
from ltjax.theory.partition import Odds
from ltjax.theory.pool import OddsLaw
from ltjax.theory.product import Numbers

Target = Sequence[Numbers]  # a matrix [n_out, n_in] for each layer


def slot_tolerance(
    rule: str, shapes: Sequence[tuple[int, ...]], epsilon: float
) -> tuple[float, ...]:
    r"""eta of each layer for the rule `slides` or `tight`; each keeps the supremum below epsilon.

    slides: epsilon / (4 l n_in sqrt(n_out)).
    tight: ((1 + epsilon)^(1/l) - 1) / sqrt(n_in n_out).

    Why tight is enough: let ||W_i|| <= 1 and slot errors be at most eta_i. On an orthant of inputs
    the first layer acts as W_1 + E_1, each column of E_1 that of one side, so that every layer has
    ||E_i|| <= eta_i sqrt(n_in n_out) = (1 + epsilon)^(1/l) - 1. Activations h of the target have
    norm <= 1 in the unit ball. ReLU is 1-Lipschitz, so the error D_i after layer i obeys D_i <=
    ||W_i|| D_(i-1) + ||E_i|| (1 + D_(i-1)), hence 1 + D_i <= (1 + ||E_i||) (1 + D_(i-1)) and
    1 + D_l <= prod_i (1 + ||E_i||) <= 1 + epsilon. Slides asks for less than tight allows, as
    (1 + epsilon)^(1/l) - 1 >= ln(1 + epsilon) / l >= epsilon / 2l for epsilon <= 1.

    Args:
        shapes: (n_out, n_in) of every layer.
    """
    if rule not in ("slides", "tight"):
        raise InputError(f"rule must be slides or tight, got {rule}.")
    depth = len(shapes)
    if rule == "slides":
        return tuple(epsilon / (4.0 * depth * n_in * n_out**0.5) for n_out, n_in in shapes)
    norm = float(np.expm1(np.log1p(epsilon) / depth))
    return tuple(norm / (n_in * n_out) ** 0.5 for n_out, n_in in shapes)


def layer_odds(construction: str, weights: Numbers, eta: float, m: Numbers, first: bool) -> Odds:
    """P(every slot of one layer is met).

    Args:
        construction: blocks or separate.
        weights: target, [n_out, n_in].
        eta: tolerance per weight.
        m: neurons of a block, any shape.
        first: whether both sides are asked for.

    Returns:
        Shaped like `m`. Exact but for blocks of more than 16 unequal weights to an input (see
        `pool.shared_odds`), which are sampled.
    """
    return layer_law(construction, weights, eta, first)(m)


def layer_law(construction: str, weights: Numbers, eta: float, first: bool) -> OddsLaw:
    """`layer_odds` as a function of the block size, prepared once."""
    if construction not in ("blocks", "separate"):
        raise InputError(f"construction must be blocks or separate, got {construction}.")
    t = active(weights, eta)
    if construction == "separate" or len(t) == 1:  # one output has none to share with
        p = product.match_probability(t[t > 0.0], eta)
        return lambda m: _separate(p, np.asarray(m)[..., None], first)
    columns, counts = np.unique(np.sort(t, axis=0), axis=1, return_counts=True)
    laws = [pool.shared_law(column, eta, sides=2 if first else 1) for column in columns.T]
    return lambda m: independent([law(m) for law in laws], counts)


def _separate(p: np.ndarray, m: np.ndarray, first: bool) -> Odds:
    """Slots in the last axis of `p`; `m` has one there."""
    if first:
        success, failure = partition.both_slots(p, m)
    else:
        log = m * np.log1p(-p)
        success, failure = -np.expm1(log), np.exp(log)
    log = np.sum(partition.log_success(success, failure), axis=-1)
    return partition.exact_odds(np.exp(log), 0.0 - np.expm1(log))


def independent(parts: Sequence[Odds], counts: Numbers = 1) -> Odds:
    """All of some independent events, each taken `counts` times.

    Standard errors add up, each as if all others were off in its direction: enough however the
    samples depend on each other.
    """
    success, failure, error = (np.stack(values, axis=-1) for values in zip(*parts, strict=True))
    log = np.sum(counts * partition.log_success(success, failure), axis=-1)
    raised = np.sum(counts * partition.log_success(success + error, failure - error), axis=-1)
    return Odds(np.exp(log), 0.0 - np.expm1(log), np.exp(raised) - np.exp(log))


def network_odds(construction: str, target: Target, rule: str, epsilon: float, m: Numbers) -> Odds:
    """P(every slot of every layer is met within the tolerance of `rule`), shaped like `m`."""
    return network_law(construction, target, slot_tolerance(rule, shapes(target), epsilon))(m)


def network_law(
    construction: str,
    target: Target,
    etas: Sequence[float],
    counts: Sequence[int] | None = None,
) -> OddsLaw:
    """The same as a function of the block size, prepared once for a tolerance of each layer.

    Args:
        counts: blocks of each layer, to ask for a function of k instead, the neurons of each layer,
            of which a block has floor(k / count).
    """
    laws = [
        layer_law(construction, weights, eta, first=i == 0)
        for i, (weights, eta) in enumerate(zip(target, etas, strict=True))
    ]
    parts = list(zip(laws, counts or [1] * len(laws), strict=True))
    return lambda m: independent([law(np.asarray(m) // count) for law, count in parts])


def is_exact(construction: str, target: Target, etas: Sequence[float]) -> bool:
    """Whether `network_law` is exact; elsewhere some layer is sampled."""
    return construction == "separate" or all(
        pool.is_exact(column, eta)
        for weights, eta in zip(target, etas, strict=True)
        for column in np.asarray(weights, np.float64).T
    )


def log_misses(weights: Numbers, eta: float, first: bool) -> np.ndarray:
    """ln(1 - p) of each slot of a layer that may fail, flat: m neurons leave it empty e^m times.

    By the union bound the layer fails with probability at most the sum of (1-p)^m, whatever its
    slots share; so do networks, over all their slots.
    """
    t = active(weights, eta)
    misses = np.log1p(-product.match_probability(t[t > 0.0], eta))
    if np.any(misses == 0.0):
        raise InputError(f"eta must leave every weight some chance of a match, got {eta:g}.")
    return np.tile(misses, 2 if first else 1)


def network_misses(target: Target, etas: Sequence[float]) -> np.ndarray:
    """`log_misses` of all layers, flat."""
    parts = zip(target, etas, strict=True)
    return np.concatenate([log_misses(w, eta, first=i == 0) for i, (w, eta) in enumerate(parts)])


def mean_empty(
    target: Target, etas: Sequence[float], m: np.ndarray, counts: Sequence[int] | None = None
) -> np.ndarray:
    """Slots left empty in the mean, no less than the chance that some is; shaped like `m`.

    Arguments are those of `network_law`.
    """
    parts = enumerate(zip(target, etas, counts or [1] * len(target), strict=True))
    return sum(
        np.sum(np.exp((m // count)[..., None] * log_misses(w, eta, first=i == 0)), axis=-1)
        for i, (w, eta, count) in parts
    )


def active(weights: Numbers, eta: float) -> np.ndarray:
    """|t|, with 0 for the weights that need no neuron, |t| <= eta."""
    t = np.abs(np.asarray(weights, np.float64))
    return np.where(t > eta, t, 0.0)


def shapes(target: Target) -> tuple[tuple[int, ...], ...]:
    return tuple(np.shape(weights) for weights in target)


def active_weights_bound(sizes: Sequence[int]) -> int:
    """Weights a ticket keeps at most: one W and one A for each slot, of two sides in layer one.

    4 n_1 d + 2 (n_2 n_1 + ... ), that is 4dn + 2n^2(l-2) + 2n for one output and hidden layers of
    n. Fewer where a weight is left out under the zero rule, or a W serves several outputs.

    Args:
        sizes: d, n_1, ..., outputs.
    """
    first, *rest = (n_in * n_out for n_in, n_out in pairwise(sizes))
    return 4 * first + 2 * sum(rest)
