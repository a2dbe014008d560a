"""One weight by a subset sum of random candidates: the sequels to the source, at finite n.

Their widths are orders without constants, which no finite run refutes. What is tested is what is
certain at every n: exact probabilities of few candidates, bounds, and how many subsets there are.
"""

import math

import numpy as np

from ltjax import decimals
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
    judge,
    tally_counts,
)
from ltjax.counting.intervals import clopper_pearson
from ltjax.experiments.subset.problems import subset
from ltjax.theory import subset_exact, subset_sums


def _between(says: str, lower: float, upper: float, hits: int, trials: int, share: float) -> Check:
    """Does the interval of a count meet the bounds that are proved?"""
    low, high = (float(end) for end in clopper_pearson(hits, trials, share))
    told = f"{decimals.below(lower, 3)} to {decimals.above(upper, 3)}"
    return bounded(says, told, hits / trials, low, high, bool(low <= upper and high >= lower))


def _target(size, seed: int, subject, count: Count) -> Finding:
    """Success by number of candidates within proved bounds, and as it is exactly of few."""
    t, epsilon, trials = size["target"], size["epsilon"], size["trials"]
    cells = [(law, n) for law in size["laws"] for n in size["widths"]]
    share = LEVEL / len(cells)
    problem = subset(size["laws"], (epsilon,), size["widths"], t, events=("target",), seed=seed)
    tally = count(problem, trials)
    required, stated = [], []
    for law, n in cells:
        hits, _, _ = tally_counts(tally, f"{law}/target", n, epsilon)
        says = f"{law}, n = {n}: some subset sum within {epsilon:g} of {t:g}"
        if n <= subset_exact.MOST:
            known = subset_exact.exact_success(law, n, t, epsilon)
            required.append(agrees(says, known, hits, trials, share))
        else:
            (lower,), (upper,) = subject(law, np.array([n]), t, epsilon)
            stated.append(_between(says, lower, upper, hits, trials, share))
    return judge(required, stated, best=Judgement.CONSISTENT, alpha=LEVEL)


def expected_of_size(law: str, n: int, k: int, t: float, epsilon: float) -> float:
    """C(n, k) P(|S_k - t| <= epsilon), S_k a sum of k candidates: an upper bound on success.

    The window follows from E N of 0, ..., k candidates by binomial inversion; k is small.
    """
    j = np.arange(k + 1)
    signs = (-1.0) ** (k - j) * [math.comb(k, i) for i in j]
    return math.comb(n, k) * float(signs @ subset_sums.first_moment(law, j, t, epsilon))


def _size(size, seed: int, subject, count: Count) -> Finding:
    """With exactly k of n candidates: at most as many hits as expected, and of k as many."""
    t, epsilon, trials, k = size["target"], size["epsilon"], size["trials"], size["kept"]
    share = LEVEL / len(size["widths"])
    asked = {"target": t, "events": ("target",), "kept": k, "seed": seed}
    tally = count(subset((size["law"],), (epsilon,), size["widths"], **asked), trials)
    required, stated = [], []
    for n in size["widths"]:
        hits, _, _ = tally_counts(tally, f"{size['law']}/size", n, epsilon)
        says = f"{k} of {n} candidates within {epsilon:g} of {t:g}"
        most = min(1.0, subject(size["law"], n, k, t, epsilon))
        if n == k:
            required.append(agrees(says, most, hits, trials, share))
        else:
            stated.append(_between(says, 0.0, most, hits, trials, share))
    return judge(required, stated, best=Judgement.CONSISTENT, alpha=LEVEL)


def fewest_integers(largest: int) -> int:
    """Candidates without which there are fewer subsets than integers of -M, ..., M."""
    return math.ceil(math.log2(2 * largest + 1))


def _integers(size, seed: int, subject, count: Count) -> Finding:
    """All integers of -M, ..., M are hit exactly: by none of fewer candidates, by more often."""
    M, trials, enough = size["largest"], size["trials"], size["enough"]
    few, epsilon = subject(M) - 1, 0.5 / M
    asked = {"events": ("cover",), "span": 1.0, "largest": M, "seed": seed}
    tally = count(subset(("integer",), (epsilon,), (few, enough), **asked), trials)
    hits, _, _ = tally_counts(tally, "integer/cover", few, epsilon)
    says = f"n = {few}, M = {M}: all integers to M are subset sums"
    required = [_between(says, 0.0, 0.0, hits, trials, LEVEL / 2)]
    hits, open_, _ = tally_counts(tally, "integer/cover", enough, epsilon)
    says = f"n = {enough}, M = {M}: all integers to M are subset sums"
    stated = [at_least(says, size["level"], hits, trials, LEVEL / 2, open_)]
    return judge(required, stated, best=Judgement.CONSISTENT, alpha=LEVEL)


CLAIMS = (
    Claim(
        name="subset-target",
        where="Lueker 1998; Pensia et al. 2020, theorem 1; Burkholz 2022",
        statement="A number of random candidates of the order of log(1/epsilon) has, with high "
        "probability, a subset that sums to the weight within epsilon.",
        hypotheses="Candidates uniform on [-1, 1], or products of two such, or those of one side.",
        limits="An order without a constant is refuted by no count. Tested is what is certain at "
        "every n: the exact probabilities to three candidates, and bounds beyond.",
        expected=Judgement.CONSISTENT,
        run=_target,
        subject=subset_sums.target_bounds,
        quick={
            "laws": ["uniform", "product", "side"],
            "target": 0.5,
            "epsilon": 0.1,
            "widths": [1, 2, 3, 4, 8],
            "trials": 20_000,
        },
        full={"widths": [1, 2, 3, 4, 8, 12, 16, 20], "trials": 200_000},
    ),
    Claim(
        name="subset-size",
        where="Natale et al. 2024",
        statement="Of exactly k of n candidates some sum to the weight within epsilon once n is of "
        "the order of log(k/epsilon) divided by the entropy of k/n.",
        hypotheses="One weight; candidates uniform on [-1, 1].",
        limits="The constant is not explicit. Tested is that no more subsets of a size are hits "
        "than are expected, and of k candidates exactly as many.",
        expected=Judgement.CONSISTENT,
        run=_size,
        subject=expected_of_size,
        quick={
            "law": "uniform",
            "target": 0.5,
            "epsilon": 0.05,
            "kept": 3,
            "widths": [3, 4, 6],
            "trials": 20_000,
        },
        full={"widths": [3, 4, 5, 6, 8, 12, 16], "trials": 200_000},
    ),
    Claim(
        name="subset-exact",
        where="Kumar and Natale 2025; Borgs, Chayes, Pittel 2001",
        statement="Random integers of -M, ..., M have subsets that sum exactly to every target of "
        "that size, with high probability, where log2(M) / n stays below 1.",
        hypotheses="Candidates uniform on -M, ..., M.",
        limits="At one M: that fewer candidates than the targets have bits never do is certain; "
        "how soon more of them do is counted, at one n.",
        expected=Judgement.CONSISTENT,
        run=_integers,
        subject=fewest_integers,
        quick={"largest": 15, "enough": 16, "level": 0.5, "trials": 2000},
        full={"largest": 1023, "enough": 24, "trials": 20_000},
    ),
)
