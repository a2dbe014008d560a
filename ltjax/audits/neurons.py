"""Whole neurons kept or pruned: as good as random features, and no better."""

from functools import partial
from itertools import pairwise

import numpy as np

from ltjax import api, decimals, theory
from ltjax.audits.claim import (
    LEVEL,
    Check,
    Claim,
    Count,
    Finding,
    Judgement,
    at_least,
    averaged,
    bounded,
    derived,
    exact,
    judge,
    mean_reach,
    panel,
    tally_counts,
)
from ltjax.audits.one_neuron import worst
from ltjax.experiments.features import theory as features_theory
from ltjax.experiments.features.problems import features

ROUNDING = 1e-9  # of losses, which are computed to about 1e-13 of E y^2


def directions(rng, count: int, dim: int) -> np.ndarray:
    """Features of unit norm, uniform: [count, d]."""
    rows = rng.normal(size=(count, dim))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# The theorem on neuron-subnetworks.


def _subnetwork(size, seed: int, subject, count: Count) -> Finding:
    """At the width at which the explicit proof promises success, and at an eighth of it."""
    epsilon, delta, trials = size["epsilon"], size["delta"], size["trials"]
    ask = partial(
        features,
        size["dim"],
        size["features"],
        (epsilon,),
        target=worst(size["dim"]),
        seed=seed,
    )
    lemma = subject(ask((size["features"],)), epsilon, delta)
    narrow = max(lemma // 8, size["features"])
    problem = ask((narrow, lemma))
    tally = count(problem, trials)
    at = f"d = {size['dim']}, n = {size['features']}, loss within {epsilon:g} of L0"
    won, open_, _ = tally_counts(tally, "groups/squared", lemma, epsilon)
    says = f"{at}, k = {lemma:,} of the proof"
    stated = [at_least(says, 1 - delta, won, trials, LEVEL / 2, open_)]
    least = float(api.predict(problem)["groups/squared"].lower[0, 0])
    won, open_, _ = tally_counts(tally, "groups/squared", narrow, epsilon)
    says = f"{at}, k = {narrow:,}, where less is promised"
    required = [at_least(says, least, won, trials, LEVEL / 2, open_)]
    nothing = 0.5 * float(np.sum(problem.arrays**2))
    allowed = problem.config.baseline + epsilon
    says = "loss allowed, against that of keeping nothing"
    required.append(exact(says, f"below {decimals.below(nothing, 4)}", allowed, allowed < nothing))
    return judge(required, stated, best=Judgement.CONSISTENT, alpha=LEVEL)


# Equivalence with random features.


def keeps(v: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Whether a neuron with output weight v stays, where the coefficient a is wanted."""
    return (v * a > 0.0) & (np.abs(v) <= np.sqrt(np.abs(a)))


def _no_better(size, rng) -> Check:
    """Subnetworks with their best constant c, against the best coefficients of their features."""
    shortest, dim = np.inf, size["dim"]
    w = worst(dim)
    for _ in range(size["networks"]):
        hidden = directions(rng, size["neurons"], dim)
        v = rng.uniform(-1.0, 1.0, len(hidden))
        best = float(theory.residuals(hidden, w).loss[-1])
        # The loss is quadratic in c, so that three of its values name the best c.
        kept = np.where(rng.random(len(v)) < 0.5, v, 0.0)
        nothing, one, two = (theory.squared_loss(c * kept, hidden, w) for c in (0.0, 1.0, 2.0))
        square = 0.5 * (two - 2.0 * one + nothing)
        c = max(0.5 * (square + nothing - one) / square, 0.0) if square > 0.0 else 0.0
        shortest = min(shortest, theory.squared_loss(c * kept, hidden, w) - best)
    says = f"loss of c g~ less that of its features at best, least of {size['networks']} networks"
    return exact(says, "at least 0", shortest, shortest >= -ROUNDING)


def _equivalence(size, seed: int, subject, count: Count) -> Finding:
    """One way for every network drawn, the other by the two moments of what is kept."""
    rng = np.random.default_rng(seed)
    stated = [_no_better(size, rng)]
    share = LEVEL / (2 * len(size["coefficients"]))
    v = rng.uniform(-1.0, 1.0, size["draws"])
    for a in size["coefficients"]:
        kept, root = np.where(subject(v, np.full_like(v, a)), abs(v), 0.0), abs(a) ** 0.5
        says = f"coefficient {a:g}: mean of |v| where kept"
        # A rule that keeps too much is judged by what it keeps.
        stated.append(averaged(says, abs(a) / 4, kept, 1.0, share))
        says = f"coefficient {a:g}: mean of v^2 where kept"
        stated.append(averaged(says, root**3 / 6, kept**2, 1.0, share))
        wrong = int(np.sum((kept > 0) & (v * a < 0)))
        stated.append(exact(f"coefficient {a:g}: kept with the wrong sign", 0, wrong, wrong == 0))
    stated += _as_good(size, rng)
    return judge([], stated, alpha=LEVEL)


def _as_good(size, rng) -> list[Check]:
    """What pruning adds to the loss of features, for more and more groups of them."""
    checks, w, n = [], worst(size["dim"]), size["features"]
    added = []
    for groups in size["groups"]:
        hidden = [directions(rng, n, size["dim"]) for _ in range(groups)]
        u = np.array([theory.best_coefficients(h, w, size["cap"]).coefficients for h in hidden])
        added.append(theory.subnetwork_variance(u, size["cap"], np.full(u.shape, 0.5)))
        most = float(theory.variance_bound(size["cap"], n, 0.5, groups))
        says = f"{groups} groups of {n}: what pruning adds to the loss, in the mean"
        checks.append(
            exact(says, f"at most {decimals.above(most, 4)}", added[-1], added[-1] <= most)
        )
    falls = all(after < before for before, after in pairwise(added))
    says = f"the same falls with the groups, over {', '.join(map(str, size['groups']))}"
    return [*checks, exact(says, "falls", "falls" if falls else "does not", falls)]


# One neuron is hard for random features.


def promised_tolerance(dim: int, part: float) -> float:
    r"""eta, such that slots filled to eta leave at most `part` of E y^2 for Gaussian x.

    (relu(u) - relu(v))^2 <= (u - v)^2 <= eta^2 ||x||_1^2, of mean eta^2 (d + d (d - 1) 2/pi), and
    E y^2 = 1/2.
    """
    return float((part / 2 / (dim + dim * (dim - 1) * 2 / np.pi)) ** 0.5)


def _powers(dims, numbers) -> list[float]:
    """The power of d by which numbers grow, between neighbouring d."""
    return (np.diff(np.log(numbers)) / np.diff(np.log(dims))).tolist()


def _left_in_the_mean(dim: int, part: float, draws: int, rng, subject, alpha: float) -> Check:
    """Of fewer features than `part` asks for, what is left must be more."""
    r, w = max(int(subject(dim, part)), 1), worst(dim)
    rows = (directions(rng, r, dim) for _ in range(draws))
    losses = np.array([theory.residuals(h, w).relative[-1] for h in rows])
    mean, reach = float(np.mean(losses)), mean_reach(losses, 1.0, alpha)
    says = f"d = {dim}, {r} random features: mean loss over E y^2"
    ends = mean - reach, mean + reach
    return bounded(says, f"at least {part:g}", mean, *ends, mean + reach >= part)


def _features(size, seed: int, subject, count: Count) -> Finding:
    """The least number of features, against draws where they fit; its growth beyond them."""
    rng, dims, share = np.random.default_rng(seed), size["dims"], LEVEL / len(size["drawn"])
    required = [
        _left_in_the_mean(dim, part, size["draws"], rng, subject, share)
        for dim, part in size["drawn"]
    ]
    parts = [size["part"] / dim for dim in dims]
    needed = [subject(dim, part) for dim, part in zip(dims, parts, strict=True)]
    etas = [promised_tolerance(dim, part) for dim, part in zip(dims, parts, strict=True)]
    widths = [theory.blocks_width(worst(d), eta, 0.05) for d, eta in zip(dims, etas, strict=True)]
    growth, powers = _powers(dims, needed), _powers(dims, widths)
    rising = all(later > 1.3 * earlier for earlier, later in pairwise(growth))
    at = f"loss {size['part']:g}/d of E y^2, d = {', '.join(map(str, dims))}"
    spoken = [", ".join(f"{b:.1f}" for b in numbers) for numbers in (growth, powers)]
    stated = [
        exact(f"{at}: powers of d by which features grow", "rising", spoken[0], rising),
        exact(f"{at}: the same of pruned weights", "at most 4", spoken[1], max(powers) <= 4.0),
    ]
    lines = [
        derived("random features", "bound", dims, needed),
        derived("weights", "exact", dims, widths),
    ]
    title = f"for a loss of {size['part']:g}/d of E y\u00b2"
    drawn = panel(title, "input dimension d", "features or width needed", lines)
    return judge(required, stated, best=Judgement.CONSISTENT, alpha=LEVEL, panels=(drawn,))


CLAIMS = (
    Claim(
        name="subnetwork",
        where="Theorem (neuron-subnetwork, informal)",
        statement="If n random features with coefficients up to C reach a small loss, so does, "
        "with high probability and times a constant, what is left of a random two-layer network of "
        "polynomial width when whole neurons are pruned.",
        hypotheses="Lipschitz activation; features in the unit ball, by their law; here relu, "
        "uniform directions, Gaussian inputs, squared loss, y one neuron.",
        limits="The explicit version of the proof is tested at the width it asks for, by the loss "
        "that is known exactly. The theorem speaks of all laws of data.",
        expected=Judgement.CONSISTENT,
        run=_subnetwork,
        subject=features_theory.lemma,
        quick={"dim": 3, "features": 4, "epsilon": 0.25, "delta": 0.5, "trials": 60},
        full={"dim": 4, "features": 6, "epsilon": 0.2, "trials": 400},
    ),
    Claim(
        name="equivalence",
        where="Additional note",
        statement="Neuron-subnetworks and random features are equally strong.",
        hypotheses="As of the theorem before.",
        limits="One way is exact for every network drawn, whatever is kept. The other way is that "
        "the rule of the proof is right in the mean and its spread falls with the groups.",
        expected=Judgement.HOLDS,
        run=_equivalence,
        subject=keeps,
        quick={
            "dim": 4,
            "neurons": 40,
            "networks": 100,
            "draws": 1_000_000,
            "coefficients": [-1.0, -0.4, 0.1, 0.7],
            "features": 5,
            "cap": 1.0,
            "groups": [4, 16, 64],
        },
        full={"networks": 2000, "draws": 20_000_000, "groups": [4, 16, 64, 256]},
    ),
    Claim(
        name="features",
        where="Additional note, last line",
        statement="Random features cannot efficiently approximate a single relu neuron.",
        hypotheses="Gaussian inputs; features by a law without a preferred direction. (The theorem "
        "that is meant lets the target grow with d and have a bias.)",
        limits="A bound on what any r features leave, in the mean, is exact. A fixed part of E y^2 "
        "takes a power of d; a part that falls as 1/d takes more than any power seen. "
        "Exponential growth for all d is for the proof.",
        expected=Judgement.CONSISTENT,
        run=_features,
        subject=theory.least_features,
        quick={
            "drawn": [[3, 0.1], [5, 0.05]],
            "draws": 3000,
            "dims": [4, 8, 16, 32, 64],
            "part": 0.1,
        },
        full={"drawn": [[3, 0.02], [5, 0.05], [10, 0.05], [20, 0.1]], "draws": 20_000},
    ),
)
