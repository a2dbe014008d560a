"""The theorem itself: success at the width that a lemma promises, and at how much less.

One neuron stands for the informal statement, networks of several layers for the formal one. The
lemma's own width is run where it fits; beyond, the exact law of the construction speaks for it.
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

from ltjax import theory
from ltjax.audits.claim import (
    LEVEL,
    Check,
    Claim,
    Count,
    Finding,
    Judgement,
    agrees,
    at_least,
    derived,
    exact,
    judge,
    panel,
    tally_counts,
)
from ltjax.audits.one_neuron import worst
from ltjax.audits.whole_networks import name_of
from ltjax.experiments.network.problems import network
from ltjax.experiments.neuron.problems import neuron
from ltjax.networks import targets
from ltjax.problem.problem import Problem


class Case(NamedTuple):
    """One target and its random networks.

    problem: counts blocks/tight and blocks/sup at the widths `narrow` and `lemma`, one epsilon.
    success: exact, by the tight rule at `narrow`.
    """

    name: str
    problem: Problem
    lemma: int
    narrow: int
    success: float


def _run(cases: Sequence[Case], size, count: Count) -> tuple[list[Check], list[Check]]:
    """Success at the lemma's width, and agreement with the exact law where little suffices."""
    trials, share = size["trials"], LEVEL / (2 * len(cases))
    promised, agreed = [], []
    for name, problem, lemma, narrow, success in cases:
        tally, (epsilon,) = count(problem, trials), problem.grid.epsilons
        letter, at = problem.config.width_label.split()[-1], f"{name}, epsilon = {epsilon:g}"
        won, undecided, _ = tally_counts(tally, "blocks/sup", lemma, epsilon)
        says = f"{at}, {letter} = {lemma:,} of the lemma: sup |f - g~| <= epsilon"
        promised.append(at_least(says, 1 - size["delta"], won, trials, share, undecided))
        won, _, _ = tally_counts(tally, "blocks/tight", narrow, epsilon)
        says = f"{at}, {letter} = {narrow:,}, {lemma / narrow:,.0f} times narrower: tight rule"
        agreed.append(agrees(says, success, won, trials, share))
    return promised, agreed


def _beyond(at: str, failure: float, delta: float) -> Check:
    says = f"{at} of the lemma: failure by the exact law"
    return exact(says, f"at most {delta:g}", failure, failure <= delta)


def _neuron_odds(dim: int, epsilon: float, width: int) -> theory.Odds:
    return theory.blocks_odds(worst(dim), theory.tolerance("tight", dim, epsilon), width)


def _informal(size, seed: int, subject, count: Count) -> Finding:
    """One neuron of the hardest weights."""
    epsilon, delta, far = size["epsilon"], size["delta"], size["far"]
    enough = lambda d: theory.blocks_width(worst(d), theory.tolerance("tight", d, epsilon), delta)
    ask = partial(neuron, epsilons=(epsilon,), constructions=("blocks",), seed=seed)
    cases = []
    for dim in size["dims"]:
        lemma, narrow = subject(dim, epsilon, delta), enough(dim)
        problem = ask(dim, widths=(narrow, lemma), rules=("tight", "sup"))
        success = float(_neuron_odds(dim, epsilon, narrow).success)
        cases.append(Case(f"d = {dim}", problem, lemma, narrow, success))
    stated, agreed = _run(cases, size, count)
    for dim, e in product(far["dims"], far["epsilons"]):
        k = subject(dim, e, delta)
        failure = float(_neuron_odds(dim, e, k).failure)
        stated.append(_beyond(f"d = {dim}, epsilon = {e:g}, k = {k:.3g}", failure, delta))
    lines = [
        derived(
            "promised", "lemma", far["dims"], [subject(d, epsilon, delta) for d in far["dims"]]
        ),
        derived("enough", "exact", far["dims"], [enough(d) for d in far["dims"]]),
    ]
    title = f"one neuron, epsilon = {epsilon:g}, delta = {delta:g}"
    drawn = panel(title, "input dimension d", "hidden neurons k", lines)
    return judge(agreed, stated, best=Judgement.CONSISTENT, alpha=LEVEL, panels=(drawn,))


def _formal(size, seed: int, subject, count: Count) -> Finding:
    """Networks of weights all of one size, the hardest that the hypotheses allow."""
    epsilon, delta, far = size["epsilon"], size["delta"], size["far"]
    ask = partial(network, last="relu", constructions=("blocks",), seed=seed)
    cases = []
    for sizes in size["networks"]:
        target = targets.worst_target(sizes)
        lemma = subject(sizes, epsilon, delta)
        narrow = theory.block_size("blocks", target, "tight", epsilon, delta).neurons
        problem = ask(
            epsilons=(epsilon,), blocks=(narrow, lemma), target=target, rules=("tight", "sup")
        )
        success = float(theory.network_odds("blocks", target, "tight", epsilon, narrow).success)
        cases.append(Case(name_of(sizes), problem, lemma, narrow, success))
    stated, agreed = _run(cases, size, count)
    for sizes, e in product(far["networks"], far["epsilons"]):
        m, target = subject(sizes, e, delta), targets.worst_target(sizes)
        failure = float(theory.network_odds("separate", target, "tight", e, m).failure)
        stated.append(_beyond(f"{name_of(sizes)}, epsilon = {e:g}, m = {m:.3g}", failure, delta))
    return judge(agreed, stated, best=Judgement.CONSISTENT, alpha=LEVEL)


CLAIMS = (
    Claim(
        name="informal",
        where="Theorem (weight-subnetwork, informal)",
        statement="A random network of twice the depth, of width polynomial in the sizes, "
        "1/epsilon and log(1/delta), holds with probability 1 - delta a weight-subnetwork within "
        "epsilon of f over the unit ball. Here at depth 1, one neuron.",
        hypotheses="Mild conditions on f: |w_i| <= 1/sqrt(d).",
        limits="A promise at an explicit width is tested at that width where it fits, and by the "
        "exact law beyond, for the hardest weights. That it holds at all sizes is for the proof.",
        expected=Judgement.CONSISTENT,
        run=_informal,
        subject=theory.lemma_width,
        quick={
            "dims": [2, 4],
            "epsilon": 0.5,
            "delta": 0.1,
            "trials": 250,
            "far": {"dims": [2, 8, 32, 128], "epsilons": [0.1, 0.01]},
        },
        full={"dims": [2, 4, 8, 16], "epsilon": 0.3, "delta": 0.05, "trials": 1000},
    ),
    Claim(
        name="formal",
        where="Theorem 1",
        statement="A random network of depth 2 l and polynomial width holds with probability "
        "1 - delta a weight-subnetwork within epsilon of f, of depth l, over the unit ball.",
        hypotheses="||W|| <= 1 in the spectral norm and |w| <= 1/sqrt(n_in) for every entry (the "
        "second norm is printed without a name); weights of g uniform on [-1, 1].",
        limits="As of the informal one: two instances run at the lemma's own width, others by the "
        "exact law, all for weights of the hardest size; no finite number of them proves it.",
        expected=Judgement.CONSISTENT,
        run=_formal,
        subject=theory.network_lemma_block,
        quick={
            "networks": [[2, 2, 1], [2, 2, 2, 1]],
            "epsilon": 0.5,
            "delta": 0.2,
            "trials": 100,
            "far": {"networks": [[8, 8, 1], [64, 64, 64, 1]], "epsilons": [0.1, 0.01]},
        },
        full={
            "networks": [[2, 2, 1], [3, 3, 1], [2, 2, 2, 1], [4, 4, 1], [2, 2, 2, 2, 1]],
            "trials": 400,
        },
    ),
)
