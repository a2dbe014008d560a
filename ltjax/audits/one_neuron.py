"""One neuron: how near is near enough, how likely a match, how wide is wide enough, and for all."""

from functools import partial

import numpy as np

from ltjax import api, decimals, theory
from ltjax.audits.claim import (
    LEVEL,
    Check,
    Claim,
    Count,
    Finding,
    Judgement,
    agrees,
    at_least,
    bounded,
    derived,
    exact,
    judge,
    panel,
    rates,
    tally_counts,
)
from ltjax.counting import intervals
from ltjax.experiments.neuron.problems import neuron
from ltjax.supnorm.one_neuron import neuron_supremum
from ltjax.weights import redraw

BAR = float(np.log(2)) / 16  # half of p d/epsilon by the exact law at d = 2, where it is least
SLACK = 1e-9  # relative, of suprema that are compared for equality


def worst(dim: int) -> np.ndarray:
    """The hardest weights that the hypotheses allow, all 1/sqrt(d) in size, signs mixed."""
    return np.array(neuron(dim, (0.5,), (1,)).target)


# Tolerance: how near a product must come to its weight.


def slopes(w: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Errors of the slopes of v, [n, side, d], from products A W of the neurons with A > 0, A < 0.

    A neuron acts on the side of its W. Where both stand on one side they add up, and the other side
    is empty.
    """
    plus = np.where(one > 0, one, 0.0) + np.where(other < 0, other, 0.0)
    minus = np.where(one < 0, one, 0.0) + np.where(other > 0, other, 0.0)
    # Of w < 0 as of w > 0: with A > 0 the product has the sign of W, with A < 0 the other one.
    return np.stack([plus, minus], axis=1) - w


def _slot_products(w: np.ndarray, eta: float, size, rng) -> tuple[np.ndarray, np.ndarray]:
    """Products within eta of w: at random, and at the ends in all combinations if they are few."""
    off = rng.uniform(-eta, eta, (2, size["tickets"], len(w)))
    off[:, ::2] = eta * rng.choice([-1.0, 1.0], off[:, ::2].shape)
    off[:, 0] = eta * np.sign(w)  # errors that all push one way, where w.x > 0
    return w + off[0], w + off[1]


def _largest(w: np.ndarray, eta: float, asked: float, size, rng) -> tuple[float, float]:
    """Bounds on the largest supremum of |f - g~| over tickets whose every slot is within eta.

    They are apart by no more than rounding where `asked` lies between them.
    """
    errors = slopes(w, *_slot_products(w, eta, size, rng))
    low, high = neuron_supremum(w, errors, np.array([asked]))
    return float(np.max(low)), float(np.max(high))


def _tolerance(size, seed: int, subject, count: Count) -> Finding:
    """Tickets whose products are all within eta, some of them as bad as can be."""
    rng, epsilon = np.random.default_rng(seed), size["epsilon"]
    enough, sharp = [], []
    for dim in size["dims"]:
        eta = subject("slides", dim, epsilon)
        targets_of = {
            "|w| = 1/sqrt(d)": worst(dim),
            "|w| <= 2 eta": 2.0 * eta * rng.uniform(-1.0, 1.0, dim),
        }
        for name, w in targets_of.items():
            _, most = _largest(w, eta, epsilon, size, rng)
            says = f"d = {dim}, {name}: largest sup |f - g~| at eta = epsilon/(2d)"
            found = decimals.above(most, 4)
            enough.append(exact(says, f"at most {epsilon:g}", found, most <= epsilon))
        for rule, part in (("slides", 0.5 * dim**-0.5), ("tight", 1.0)):
            value, eta = part * epsilon, subject(rule, dim, epsilon)
            low, high = _largest(worst(dim), eta, value * (1 - SLACK), size, rng)
            equal = value * (1 - SLACK) <= low <= high <= value * (1 + SLACK)
            where = {"slides": "epsilon/(2d)", "tight": "epsilon/sqrt(d)"}[rule]
            says = f"d = {dim}: largest sup |f - g~| at eta = {where}"
            sharp.append(exact(says, f"{value:.6g}", f"{low:.6g}", equal))
    return judge(sharp, enough)


# Probability of a match.


def _sample(seed: int, pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """A and W of so many hidden neurons."""
    A, W = redraw.random_layer(seed, [0], np.arange(pairs), 1)
    return A[0, 0], W[0, :, 0]


def _slope(epsilons, hits, pairs: int, alpha: float) -> intervals.PowerLaw:
    """The exponent of epsilon in a probability, and an interval: `alpha` for each point."""
    low, high = intervals.clopper_pearson(hits, pairs, alpha)
    return intervals.power_law(epsilons, np.asarray(hits) / pairs, low, high)


def _probability(size, seed: int, subject, count: Count) -> Finding:
    """Count how often one neuron serves one weight, as the slides ask for it."""
    pairs, dims, epsilons = size["pairs"], size["dims"], size["epsilons"]
    A, W = _sample(seed, pairs)
    share = LEVEL / (2 * len(dims) + 2 * len(epsilons))
    near = lambda dim, e: int(np.sum((A > 0) & (abs(A * W - dim**-0.5) <= e / (2 * dim))))
    cells = [(dim, size["epsilon"]) for dim in dims] + [(1, e) for e in epsilons]
    hits = [near(*cell) for cell in cells]
    law_of = [float(subject(dim**-0.5, e / (2 * dim))) for dim, e in cells]
    required = [
        agrees(f"d = {dim}, |w| = 1/sqrt(d), epsilon = {e:g}: one slot", p, n, pairs, share)
        for (dim, e), p, n in zip(cells, law_of, hits, strict=True)
    ]
    above = [
        at_least(f"d = {dim}: at least (ln 2)/16 epsilon/d", BAR * e / dim, n, pairs, share)
        for (dim, e), n in zip(cells[: len(dims)], hits, strict=False)
    ]
    tilt = _slope(epsilons, hits[len(dims) :], pairs, share)
    linear = True if tilt.high <= 1.0 else False if tilt.low > 1.0 else None
    says = "d = 1, |w| = 1: power of epsilon in the probability"
    stated = [bounded(says, "at most 1", tilt.exponent, tilt.low, tilt.high, linear)]
    scale = np.array(dims) / size["epsilon"]
    lines = [
        rates("one slot", dims, hits[: len(dims)], pairs, scale),
        derived("one slot", "exact", dims, scale * law_of[: len(dims)]),
        derived("ln(d) / 8", "asymptotic", dims, np.log(dims) / 8),
    ]
    title, axis = f"epsilon = {size['epsilon']:g}", "probability times d/epsilon"
    drawn = panel(title, "input dimension d", axis, lines, yscale="linear")
    return judge(required, stated, above, alpha=LEVEL, panels=(drawn,))


# Width.


def slides_width(dim: int, epsilon: float, much: float) -> int:
    """k much larger than d/epsilon."""
    return int(np.ceil(much * dim / epsilon))


def _width(size, seed: int, subject, count: Count) -> Finding:
    """One width for blocks and for a pool, counted and proved, and d times that for blocks."""
    epsilon, trials, dims = size["epsilon"], size["trials"], size["dims"]
    share, level = LEVEL / (3 * len(dims)), 1 - size["delta"]
    won: dict[str, list[int]] = {"blocks": [], "pooled": [], "blocks, d times as many": []}
    checks: dict[str, list[Check]] = {name: [] for name in won}
    proved = []
    ask = partial(neuron, epsilons=(epsilon,), rules=("slides",), seed=seed)
    for dim in dims:
        k = subject(dim, epsilon, size["much"])
        pool = count(ask(dim, widths=(k,), constructions=("pooled",)), trials)
        own = count(ask(dim, widths=(k, k * dim), constructions=("blocks",)), trials)
        cells = (own, "blocks", k), (pool, "pooled", k), (own, "blocks", k * dim)
        for name, (tally, construction, width) in zip(won, cells, strict=True):
            found, _, _ = tally_counts(tally, f"{construction}/slides", width, epsilon)
            says = f"d = {dim}, {name}, k = {width:,}: success"
            checks[name].append(at_least(says, level, found, trials, share))
            won[name].append(found)
        least = float(api.predict(pool.problem)["pooled/slides"].lower[0, 0])
        says = f"d = {dim}, pooled, k = {k:,}: success that is proved"
        proved.append(exact(says, f"at least {level:g}", decimals.below(least, 4), least >= level))
    stated, *mended = checks.values()
    lines = [rates(name, dims, counts, trials) for name, counts in won.items()]
    title = f"k = {size['much']:g} d/epsilon, epsilon = {epsilon:g}"
    drawn = panel(title, "input dimension d", "success", lines, yscale="linear", apart=1.03)
    corrected = [*mended[0], *proved, *mended[1]]
    return judge([], stated, corrected, alpha=LEVEL, panels=(drawn,))


# Distinct neurons.


def _matching(size, seed: int, subject, count: Count) -> Finding:
    """Of the same networks, those with every slot met less those with a ticket from the pool."""
    trials, share = size["trials"], LEVEL / (2 * len(size["cells"]))
    ask = partial(neuron, rules=("tight",), constructions=("pooled",), seed=seed)
    within, near = [], []
    for dim, epsilon, k in size["cells"]:
        tally = count(ask(dim, (epsilon,), (k,)), trials)
        families = ("shared/tight", "pooled/tight")
        met, won = (tally_counts(tally, name, k, epsilon)[0] for name in families)
        least, most = map(float, subject(worst(dim), theory.tolerance("tight", dim, epsilon), k))
        low, high = map(float, intervals.clopper_pearson(met - won, trials, share))
        says = f"d = {dim}, k = {k}: every slot met, and no ticket"
        between = f"{decimals.below(least, 3)} to {decimals.above(most, 3)}"
        holds = low <= most and high >= least
        within.append(bounded(says, between, (met - won) / trials, low, high, holds))
        near.append(at_least(f"{says}: a quarter of the bound", most / 4, met - won, trials, share))
    return judge(near, within, best=Judgement.CONSISTENT, alpha=LEVEL)


CLAIMS = (
    Claim(
        name="tolerance",
        where="Proof idea, two conditions on A and w",
        statement="If every kept product is within epsilon/(2d) of its weight, by sign and size of "
        "A as asked, then sup |f - g~| < epsilon over the unit ball.",
        hypotheses="One neuron, mask as meant.",
        limits="The supremum is exact for each ticket tried, among them the worst there are, so "
        "that the constant is decided. It is stricter than needed by 2 sqrt(d): epsilon/sqrt(d) "
        "is enough, and nothing larger is.",
        expected=Judgement.HOLDS,
        run=_tolerance,
        subject=theory.tolerance,
        quick={"dims": [1, 2, 4, 12], "epsilon": 0.2, "tickets": 200},
        full={"dims": [1, 2, 4, 8, 12, 16], "tickets": 2000},
    ),
    Claim(
        name="probability",
        where="Proof idea, random initialization",
        statement="A random neuron serves one weight and one sign with probability of order at "
        "least epsilon/d.",
        hypotheses="|w_i| <= 1/sqrt(d); A and w uniform on [-1, 1]; tolerance epsilon/(2d).",
        limits="Counts decide each d that is tried, and the power of epsilon at d = 1 over the "
        "epsilons tried; for all d the exact law says it, epsilon ln(d)/(8d) at least.",
        expected=Judgement.CORRECTED,
        run=_probability,
        subject=theory.match_probability,
        quick={
            "pairs": 2_000_000,
            "dims": [2, 4, 8, 16, 64],
            "epsilon": 0.4,
            "epsilons": [0.8, 0.4, 0.2],
        },
        full={
            "pairs": 10_000_000,
            "dims": [2, 4, 8, 16, 64, 256],
            "epsilons": [0.4, 0.2, 0.1, 0.05],
        },
    ),
    Claim(
        name="width",
        where="Proof idea, k >> d/epsilon",
        statement="With k much larger than d/epsilon every input finds its two neurons with high "
        "probability.",
        hypotheses="|w_i| <= 1/sqrt(d); tolerance epsilon/(2d).",
        limits="One multiple of d/epsilon, at the dimensions tried, counted and proved. From one "
        "pool it is a theorem with constants: (8 d/epsilon)(1 + ln(2/delta)/ln d) neurons leave "
        "some slot empty with probability delta at most, and that each takes a neuron of its own "
        "costs no more than Hall's sum. The proof's fixed blocks need d times as many.",
        expected=Judgement.CORRECTED,
        run=_width,
        subject=slides_width,
        quick={"dims": [4, 16], "epsilon": 0.2, "delta": 0.1, "much": 100.0, "trials": 400},
        full={"dims": [2, 4, 8, 16, 32], "trials": 2000},
    ),
    Claim(
        name="matching",
        where="Proof idea, k >> d/epsilon",
        statement="Every input finds its two neurons: each slot one of its own, though all choose "
        "from one pool.",
        hypotheses="|w_i| = 1/sqrt(d); tolerance epsilon/sqrt(d); every slot is met.",
        limits="How often two slots must share is bounded from both sides by Hall's theorem, for "
        "any weights and width. Counted are cells in which it is frequent; there the upper bound "
        "is at most four times too large. It falls faster in k than the chance of an empty slot.",
        expected=Judgement.CONSISTENT,
        run=_matching,
        subject=theory.unmatched,
        quick={"cells": [[4, 0.5, 24], [32, 0.5, 80]], "trials": 10_000},
        full={
            "cells": [[2, 0.5, 24], [4, 0.5, 24], [8, 0.5, 36], [32, 0.5, 80], [64, 0.5, 150]],
            "trials": 20_000,
        },
    ),
)
