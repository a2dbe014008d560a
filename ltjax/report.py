"""Counts as text: success by width beside its prediction, and the width that is needed.

Pure functions of a record; the command line prints what they return.
"""

from collections.abc import Sequence

import numpy as np

from ltjax import stats, theory
from ltjax.estimates import ALPHA, LEVEL, Estimate, Series, estimate, methods
from ltjax.problem import Problem

HANDFUL = 5  # widths shown of a curve
FAMILIES = ("blocks", "shared", "pooled")


def table(one: Series, criteria: Sequence[str], every: bool, delta: float) -> str:
    """The report of one record: a table a criterion, its bands tested, the widths for 1 - delta."""
    tally = one.tally
    curves = len(criteria) * len(one.epsilons)
    undecided = int(tally.undecided[[tally.criterion(name) for name in criteria]].max())
    lines = [
        f"{tally.problem.experiment}, d = {tally.problem.config.dim}, {tally.trials:,} trials, "
        f"seed {tally.problem.seed}, problem {tally.problem.digest()}",
        f"{tally.settled:,} trials settled in float64, {tally.invalid:,} broken, at most "
        f"{undecided:,} undecided in a cell shown"
        + (", extended after looking: anytime intervals" if tally.anytime else ""),
        f"{curves} curves tested together: bands hold at {LEVEL} for all of them at once",
    ]
    for name in criteria:
        seen = estimate(one, name, curves)
        lines += ["", *_success(one, name, seen, every), *_bands(one, name, seen, curves)]
    return "\n".join([*lines, "", *_widths(one, criteria, curves, delta)])


def _success(one: Series, name: str, seen: Estimate, every: bool) -> list[str]:
    """Successes, interval and prediction at each width shown."""
    counts = one.tally.certified[one.tally.criterion(name)]
    predicted = _prediction(one, name)
    interval = f"{LEVEL} {methods(one, name).bar}"
    lines = [f"{name:<14} width k   successes/trials      {interval:<24}  predicted"]
    for e, epsilon in enumerate(one.epsilons):
        for k in range(len(one.widths)) if every else _handful(seen.certified[:, e]):
            low, high = (end[k, e] for end in seen.bar)
            count = f"{counts[k, e]:,}/{one.tally.trials:,}"
            lines.append(
                f"  epsilon {epsilon:<7g}{one.widths[k]:>6} {count:>18}      "
                f"{low:.4f} to {high:.4f}         {_expected(predicted, k, e)}"
            )
    return lines


def _handful(success: np.ndarray) -> list[int]:
    """A few places over which a curve rises."""
    rising = np.flatnonzero((success > 0.005) & (success < 0.9995))
    if len(rising) == 0:
        return [int(np.argmax(success > 0.5))]
    return sorted({int(k) for k in np.linspace(rising[0], rising[-1], HANDFUL).round()})


def _prediction(one: Series, name: str):
    return next((p for p in one.predictions if p.criterion == name), None)


def _expected(predicted, k: int, e: int) -> str:
    if predicted is None:
        return "-"
    low, high = predicted.lower[k, e], predicted.upper[k, e]
    if predicted.kind == "exact":
        return f"{low:.4f}"
    if predicted.kind == "bracket":
        return f"{low:.4f} to {high:.4f}"
    return f">= {low:.4f}" if predicted.kind == "lower" else f"<= {high:.4f}"


def _bands(one: Series, name: str, seen: Estimate, curves: int) -> list[str]:
    """One line a curve: does the prediction lie in the band of the whole measured curve?"""
    predicted = _prediction(one, name)
    if predicted is None:
        return ["  no curve is proved for this criterion"]
    low, high = seen.band
    # A measured curve agrees with bounds if some curve between them lies in its band.
    outside = np.maximum(predicted.lower - high, low - predicted.upper)
    lines = []
    method = f"the {100 * (1 - ALPHA / curves):.2f} % {methods(one, name).band} band"
    for e, epsilon in enumerate(one.epsilons):
        distance = np.maximum(
            predicted.lower[:, e] - seen.possible[:, e],
            seen.certified[:, e] - predicted.upper[:, e],
        ).max()
        verdict = "inside" if np.all(outside[:, e] <= 0) else "OUTSIDE"
        lines.append(
            f"  epsilon {epsilon:<7g} whole curve {verdict} {method} of the {predicted.kind} one, "
            f"farthest {max(distance, 0.0):.4f}"
        )
    return lines


def _widths(one: Series, criteria: Sequence[str], curves: int, delta: float) -> list[str]:
    """The answer: width for success 1 - delta, measured and predicted."""
    problem = one.tally.problem
    head = f"width for success {1 - delta:g}"
    lines = [f"{head:<26}{'measured':>9}  {'interval':<18} {'exact':<16} {'asymptotic':<11} lemma"]
    for name in criteria:
        seen = estimate(one, name, curves)
        for e, epsilon in enumerate(one.epsilons):
            band = stats.Band(seen.certified[:, e], *(end[:, e] for end in seen.band))
            found = stats.width_interval(one.widths, band, 1 - delta)
            exact, asymptotic = predicted_widths(problem.target, name, epsilon, delta)
            reach = f"{found.low or 'below'} to {found.high or 'beyond'}"
            lines.append(
                f"  {name:<14}{f'epsilon {epsilon:g}':<12}{found.measured or '-':>7}  {reach:<18} "
                f"{exact:<16} {asymptotic:<11} {one.lemma[epsilon]:.3g}"
            )
    return lines


def predicted_widths(
    target: Sequence[float], name: str, epsilon: float, delta: float
) -> tuple[str, str]:
    """Exact (or bracketed) smallest width, and the sharp asymptotic one, as text; - for none."""
    family, rule = name.split("/")
    if rule not in ("slides", "tight"):
        return "-", "-"
    eta = theory.tolerance(rule, len(target), epsilon)
    sharp = theory.sharp_width(target, eta, delta) * (len(target) if family == "blocks" else 1)
    if family == "blocks":
        return f"{theory.blocks_width(target, eta, delta)}", f"{sharp:.0f}"
    if family == "shared":
        return f"{theory.shared_width(target, eta, delta)}", f"{sharp:.0f}"
    low, high = theory.pooled_width(target, eta, delta)
    return f"{low} to {high}", f"{sharp:.0f}"


def widths(problem: Problem, delta: float) -> str:
    """What `ltjax width` answers: every construction and tolerance, without drawing anything."""
    dim, target = problem.config.dim, problem.target
    lines = [f"smallest width k for success {1 - delta:g}, one neuron, d = {dim}"]
    for epsilon in problem.grid.epsilons:
        head = f"epsilon = {epsilon:g}"
        lines += ["", f"{head:<18} {'exact':<18} {'asymptotic':<11} leading order"]
        for name in [f"{f}/{rule}" for rule in ("slides", "tight") for f in FAMILIES]:
            exact, sharp = predicted_widths(target, name, epsilon, delta)
            leading = _leading(name, dim, epsilon, delta)
            lines.append(f"  {name:<16} {exact:<18} {sharp:<11} {leading}")
        lines.append(f"  the paper's lemma {theory.lemma_width(dim, epsilon, delta)}")
    return "\n".join(lines)


def _leading(name: str, dim: int, epsilon: float, delta: float) -> str:
    if dim < 2:
        return "-"
    family, rule = name.split("/")
    width = theory.leading_width(rule, dim, epsilon, delta)
    return f"{width * (dim if family == 'blocks' else 1):.0f}"
