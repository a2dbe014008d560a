"""Does any mask do? All masks of tiny networks, each with the exact supremum of its error.

Two inputs, so that the supremum is known: over the unit disc the difference of two networks is
linear between angles at which some neuron switches.
"""

import numpy as np

from ltjax import decimals, theory
from ltjax.audits.algebra import all_masks, one_input_a_neuron, two_an_input
from ltjax.audits.claim import (
    LEVEL,
    Check,
    Claim,
    Count,
    Finding,
    Judgement,
    agrees,
    bounded,
    exact,
    judge,
    panel,
    rates,
)
from ltjax.counting.intervals import clopper_pearson
from ltjax.networks.pairs import Pair
from ltjax.supnorm.one_neuron import neuron_supremum
from ltjax.supnorm.plane import circle_supremum
from ltjax.weights import redraw

NEAR = 1e-7  # relative: two roads to one supremum end no further apart
ANGLES = 48  # at which masks are refuted before the exact supremum is asked for


def as_pair(w: np.ndarray, output: np.ndarray, hidden: np.ndarray) -> Pair:
    """f = relu(relu(w.x) - relu(-w.x)) and g~ = relu(A relu(W x)), as layers of one shape."""
    width = max(len(output), 2)
    weights = np.zeros((width, 2)), np.zeros((1, width))
    weights[0][:2], weights[1][0, :2] = (w, -w), (1.0, -1.0)
    pruned = np.zeros((width, 2)), np.zeros((1, width))
    pruned[0][: len(output)], pruned[1][0, : len(output)] = hidden, output
    errors = tuple((c - f)[None] for c, f in zip(pruned, weights, strict=True))
    return Pair(weights, errors, "relu")


def least_errors(w, output, hidden, masks) -> np.ndarray:
    """For each mask [n, k, 2], the largest |f - g~| at some angles: no supremum is smaller."""
    angle = np.arange(ANGLES) * (2.0 * np.pi / ANGLES)
    x = np.stack([np.cos(angle), np.sin(angle)])
    inner = np.maximum((masks * hidden) @ x, 0.0)
    g = np.maximum(np.einsum("j,mjx->mx", output, inner), 0.0)
    return np.abs(g - np.maximum(w @ x, 0.0)).max(axis=1)


def some_mask(w, output, hidden, masks, epsilon, supremum) -> bool:
    """Whether some mask [n, k, 2] keeps |f - g~| within epsilon over the unit disc."""
    least = least_errors(w, output, hidden, masks)
    return any(
        supremum(as_pair(w, output, masks[i] * hidden)) <= epsilon
        for i in np.argsort(least, kind="stable")
        if least[i] <= epsilon
    )


def _draws(seed: int, width: int, draws: int):
    """A [k] and W [k, 2] of random networks, one after the other."""
    A, W = redraw.random_layer(seed, np.arange(draws), np.arange(width), 2)
    return zip(A[:, 0], W, strict=True)


def _agreement(w, seed: int, width: int, draws: int, supremum) -> float:
    """How far two roads to the supremum are apart, over masks of the proof's form."""
    every = all_masks(width, 2)
    proof = every[one_input_a_neuron(every)]
    worst = 0.0
    for number, (A, W) in enumerate(_draws(seed, width, draws)):
        mask = proof[number % len(proof)]
        product = A[:, None] * W * mask
        errors = np.stack([np.sum(product * (s * W > 0), axis=0) - w for s in (1, -1)])[None]
        value = supremum(as_pair(w, A, W * mask))
        # Thresholds just beside the value make the other road exact where it would not be.
        low, high = neuron_supremum(w, errors, value * np.array([1 - NEAR, 1 + NEAR]))
        worst = max(worst, 1 - float(low[0]) / value, float(high[0]) / value - 1)
    return worst


def _known(lone, seed: int, supremum, alpha: float) -> Check:
    """One neuron and a weight of 0: some mask does just when A W is near the other weight."""
    w, masks = np.array([lone["weight"], 0.0]), all_masks(1, 2)
    found = [
        some_mask(w, A, W, masks, lone["epsilon"], supremum)
        for A, W in _draws(seed, 1, lone["draws"])
    ]
    exactly = float(theory.match_probability(lone["weight"], lone["epsilon"]))
    says = f"k = 1, w = ({lone['weight']:g}, 0), epsilon = {lone['epsilon']:g}: some mask does"
    return agrees(says, exactly, sum(found), len(found), alpha)


def _tiny(size, width: int, seed: int, supremum) -> np.ndarray:
    """Of each draw, whether some mask does and whether one of the proof's form: bool [draws, 2]."""
    every = all_masks(width, 2)
    proof = every[two_an_input(every) & one_input_a_neuron(every)]
    w, epsilon = np.array(size["target"]), size["epsilon"]
    return np.array(
        [
            [some_mask(w, A, W, masks, epsilon, supremum) for masks in (every, proof)]
            for A, W in _draws(seed, width, size["draws"])
        ]
    )


def _existence(size, seed: int, subject, count: Count) -> Finding:
    """Beside the proof's construction, on the same draws; and a case that is known exactly."""
    w, draws, widths = np.array(size["target"]), size["draws"], size["widths"]
    share = LEVEL / (2 * len(widths) + 1)
    required = [_known(size["lone"], seed, subject, share)]
    off = _agreement(w, seed, 4, size["compared"], subject)
    says = "two roads to the supremum, largest difference in parts"
    required.append(exact(says, f"at most {NEAR:g}", off, off <= NEAR))
    found, built, within, beyond = [], [], [], []
    for width in widths:
        some, proof = _tiny(size, width, seed, subject).T
        lost, more, less = int(np.sum(proof & ~some)), int(np.sum(some)), int(np.sum(proof))
        says = f"k = {width}: networks where only the construction finds a mask"
        within.append(exact(says, 0, lost, lost == 0))
        (low, high), (_, top) = (clopper_pearson(n, draws, share) for n in (more, less))
        says = f"k = {width}: some mask does, against the construction's {less} of {draws}"
        holds = True if low > top else None
        ends, most = (float(low), float(high), holds), decimals.above(float(top), 3)
        beyond.append(bounded(says, f"above {most}", more / draws, *ends))
        found.append(more)
        built.append(less)
    lines = [
        rates("some mask", widths, found, draws),
        rates("the construction", widths, built, draws),
    ]
    title = f"w = ({w[0]:g}, {w[1]:g}), epsilon = {size['epsilon']:g}"
    drawn = panel(title, "hidden neurons k", "within epsilon", lines, yscale="linear", apart=1.02)
    return judge(required, [*beyond, *within], alpha=LEVEL, panels=(drawn,))


CLAIMS = (
    Claim(
        name="existence",
        where="Theorem 1, there is a weight-subnetwork",
        statement="Masks of the proof's form are one way to a good subnetwork: where they do, one "
        "exists; where they do not, another may.",
        hypotheses="One neuron, two inputs, k up to five.",
        limits="Every mask is tried with its exact supremum, so the tiny cases are decided, draw "
        "by draw. A search that fails elsewhere says nothing about existence.",
        expected=Judgement.HOLDS,
        run=_existence,
        subject=circle_supremum,
        quick={
            "target": [0.6, -0.4],
            "epsilon": 0.35,
            "widths": [2, 3, 4],
            "draws": 4000,
            "lone": {"weight": 0.4, "epsilon": 0.1, "draws": 16_000},
            "compared": 100,
        },
        full={"widths": [2, 3, 4, 5], "draws": 20_000},
    ),
)
