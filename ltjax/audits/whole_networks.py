"""Networks of several layers: what their tickets keep, and how the errors of layers add up."""

from itertools import pairwise

import numpy as np

from ltjax import decimals, theory
from ltjax.audits.claim import (
    LEVEL,
    Check,
    Claim,
    Count,
    Finding,
    Judgement,
    agrees,
    exact,
    judge,
    tally_counts,
)
from ltjax.experiments.network.problems import network
from ltjax.networks import pruned, targets
from ltjax.networks.pairs import Pair
from ltjax.supnorm.plane import circle_supremum
from ltjax.tickets import pruning

SLACK = 1e-9  # relative, of suprema that are compared for equality


def name_of(sizes) -> str:
    return "-".join(map(str, sizes))


# Active weights.


def _order(sizes) -> int:
    """d n + n^2 l."""
    dim, hidden, depth = sizes[0], sizes[1], len(sizes) - 1
    return dim * hidden + hidden**2 * depth


def _kept(sizes, epsilon: float, seed: int) -> int:
    """Ones in the masks of whole layers, of a ticket with a block for every weight."""
    target = targets.worst_target(sizes)
    ticket = pruning.prune(target, epsilon=epsilon, seed=seed, construction="separate")
    blocks = zip(pruned.block_counts("separate", sizes), ticket.blocks, strict=True)
    widths = [number * m for number, m in blocks]
    masks = [pruned.mask(kept, k) for kept, k in zip(ticket.neurons, widths, strict=True)]
    return sum(int(part.sum()) for both in masks for part in both)


def _active(size, seed: int, subject, count: Count) -> Finding:
    """Tickets made in full and counted; the formula for sizes beyond."""
    stated, required = [], []
    for sizes in size["networks"]:
        kept, formula = _kept(sizes, size["epsilon"], seed), subject(sizes)
        there = sum(a * b for a, b in pairwise(sizes))
        says = f"{name_of(sizes)}: weights kept, of {there:,} in f"
        required.append(exact(says, f"{formula:,}", f"{kept:,}", kept == formula))
        says = f"{name_of(sizes)}: kept weights over d n + n^2 l"
        stated.append(exact(says, "at most 4", kept / _order(sizes), kept <= 4 * _order(sizes)))
    for sizes in size["far"]:
        part = subject(sizes) / _order(sizes)
        says = f"{name_of(sizes)}: by the formula, over d n + n^2 l"
        stated.append(exact(says, "at most 4", part, part <= 4))
    return judge(required, stated)


# Composition.


def composed(errors) -> float:
    """What errors of the layers, in norm, may come to: 1 + D = prod (1 + e_i)."""
    return float(np.expm1(np.sum(np.log1p(errors))))


def _pair(rng, sizes, error: float) -> Pair:
    """A target within the hypotheses, and errors of the layers of this norm on any orthant."""
    weights, errors = [], []
    for n_in, n_out in pairwise(sizes):
        w = rng.normal(size=(n_out, n_in))
        weights.append(w / np.linalg.norm(w, 2))
        e = rng.normal(size=(n_out, n_in))
        errors.append((e * error / np.linalg.norm(e, 2))[None])
    return Pair(tuple(weights), tuple(errors), "relu")


def _chain(depth: int, error: float) -> Pair:
    """One neuron a layer, all weights 1 and all too large: errors add up as badly as they can."""
    layers = np.array([[1.0, 0.0], [0.0, 0.0]]), *[np.diag([1.0, 0.0])] * (depth - 1)
    return Pair(layers, tuple(error * w[None] for w in layers), "relu")


def _errors_add_up(size, seed: int, subject) -> tuple[list[Check], list[Check]]:
    """Exact suprema of networks of two inputs: below the bound, and one that reaches it."""
    rng, epsilon = np.random.default_rng(seed), size["epsilon"]
    below, reached = [], []
    for depth in size["depths"]:
        each, at = epsilon / (2 * depth), f"l = {depth}, layers within epsilon/2l"
        bound, sizes = subject(np.full(depth, each)), (2, *[size["hidden"]] * (depth - 1), 1)
        below.append(exact(f"{at}: the bound", f"at most {epsilon:g}", bound, bound <= epsilon))
        most = max(circle_supremum(_pair(rng, sizes, each)) for _ in range(size["pairs"]))
        says = f"{at}: largest sup |f - g~| of {size['pairs']} networks"
        below.append(
            exact(says, f"at most {decimals.above(bound)}", most, most <= bound * (1 + SLACK))
        )
        worst = circle_supremum(_chain(depth, each))
        says = f"{at}: sup |f - g~| at worst"
        equal = abs(worst - bound) <= SLACK * bound
        reached.append(exact(says, f"{bound:.6g}", f"{worst:.6g}", equal))
    return below, reached


def _chances_multiply(size, seed: int, count: Count) -> Check:
    """Success of a network against the product of the exact odds of its layers."""
    sizes, epsilon = size["network"], size["epsilon"]
    target = targets.worst_target(sizes)
    etas = theory.slot_tolerance("tight", [w.shape for w in target], epsilon)
    m = theory.block_size("blocks", target, "tight", epsilon, 0.5).neurons
    layers = [
        float(theory.layer_odds("blocks", w, eta, m, first=i == 0).success)
        for i, (w, eta) in enumerate(zip(target, etas, strict=True))
    ]
    problem = network(
        epsilons=(epsilon,),
        blocks=(m,),
        target=target,
        constructions=("blocks",),
        rules=("tight",),
        seed=seed,
    )
    won, _, trials = tally_counts(count(problem, size["trials"]), "blocks/tight", m, epsilon)
    says = f"{name_of(sizes)}, blocks of {m}: success, product over layers"
    return agrees(says, float(np.prod(layers)), won, trials, LEVEL)


def _composition(size, seed: int, subject, count: Count) -> Finding:
    """Errors, with exact suprema; chances, by counting."""
    below, reached = _errors_add_up(size, seed, subject)
    return judge([*reached, _chances_multiply(size, seed, count)], below, alpha=LEVEL)


CLAIMS = (
    Claim(
        name="active",
        where="Theorem 1, number of active weights",
        statement="The subnetwork keeps of the order of d n + n^2 l weights, as f has.",
        hypotheses="Those of Theorem 1.",
        limits="Counted exactly for the tickets made; for all sizes by the formula, one A and one "
        "W for each slot: 4 d n + 2 n^2 (l - 2) + 2 n, between two and four times those of f.",
        expected=Judgement.HOLDS,
        run=_active,
        subject=theory.active_weights_bound,
        quick={
            "networks": [[4, 4, 1], [3, 4, 4, 1]],
            "epsilon": 0.5,
            "far": [[784, 100, 100, 1], [2, *[64] * 7, 1]],
        },
        full={"networks": [[4, 4, 1], [3, 4, 4, 1], [8, 8, 8, 1], [16, 16, 1]], "epsilon": 0.2},
    ),
    Claim(
        name="composition",
        where="Theorem 1, proof",
        statement="Apply the construction of one neuron to every neuron of every layer, compose: "
        "the errors of the layers add up to no more than epsilon, their chances multiply.",
        hypotheses="||W|| <= 1; every layer within epsilon/2l in norm.",
        limits="Suprema are exact for the networks tried, and one of them reaches the bound, so "
        "that it is sharp; the bound itself is two lines of proof.",
        expected=Judgement.HOLDS,
        run=_composition,
        subject=composed,
        quick={
            "depths": [1, 2, 3, 5],
            "hidden": 6,
            "pairs": 40,
            "epsilon": 0.5,
            "network": [3, 3, 2],
            "trials": 4000,
        },
        full={"depths": [1, 2, 3, 5, 8], "pairs": 1000, "network": [8, 8, 8, 1], "trials": 20_000},
    ),
)
