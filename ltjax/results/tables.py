"""Counts as text: success by width beside its prediction, and the width that is needed.

Pure functions of a record; the command line prints what they return.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from ltjax import decimals
from ltjax.counting import intervals
from ltjax.counting.tally import Tally
from ltjax.problem.experiment import experiment
from ltjax.results.estimates import ALPHA, LEVEL, Estimate, Predicted, Series, estimate, methods
from ltjax.results.words import doubt, goal, missing

HANDFUL = 5  # widths shown of a curve
CALLED = {
    "exact": "the exact curve",
    "bracket": "the proved bounds",
    "lower": "the proved lower bound",
    "upper": "the proved upper bound",
}


def table(one: Series, criteria: Sequence[str], every: bool, delta: float) -> str:
    """The report of one record: a table a criterion, its bands tested, the widths for 1 - delta."""
    tally = one.tally
    curves, config = len(criteria) * len(one.epsilons), tally.problem.config
    undecided = int(tally.undecided[[tally.criterion(name) for name in criteria]].max())
    lines = [
        f"{tally.problem.experiment}, {config.title}, {tally.trials:,} trials, "
        f"seed {tally.problem.seed}, problem {tally.problem.digest()}",
        f"{tally.settled:,} trials settled in float64, {tally.invalid:,} broken, at most "
        f"{undecided:,} undecided in a cell shown",
    ]
    lines += [
        *experiment(tally.problem.experiment).theory.facts(tally.problem),
        *_stopping(one, curves),
    ]
    lines.append(f"{curves} curves tested together: all bands hold at once at {LEVEL}")
    estimates = {name: estimate(one, name, curves) for name in criteria}
    for name, seen in estimates.items():
        lines += ["", *_success(one, name, seen, every), *_bands(one, name, seen, curves)]
    return "\n".join([*lines, "", *_widths(one, estimates, delta)])


def _stopping(one: Series, curves: int) -> list[str]:
    """Why there are as many trials as there are, and what that makes of the intervals."""
    tally = one.tally
    lines = [missing(tally)] if tally.missing else []
    for rule in tally.until:
        cell = ""
        if "cell" in rule:
            name, width, epsilon = rule["cell"]
            cell = f" for {name} at {tally.problem.config.width_label} = {width}, epsilon {epsilon}"
        lines.append(f"stopping rule{cell}: {goal(rule)}")
    if not tally.anytime:
        return [*lines, "fixed intervals, for the number of trials planned before the first"]
    why = f"{doubt(tally)}: " if doubt(tally) else ""
    lines.append(f"{why}anytime intervals, valid whenever one stops")
    cells = f"{len(one.widths)} widths x {curves} curves"
    lines.append(f"each interval holds at {LEVEL}; bands split {100 * ALPHA:g} % over {cells}")
    return lines


def _success(one: Series, name: str, seen: Estimate, every: bool) -> list[str]:
    """Successes, interval and prediction at each width shown."""
    counts = one.tally.certified[one.tally.criterion(name)]
    predicted = _prediction(one, name)
    interval = f"{LEVEL} {_plain(methods(one, name).bar)}"
    axis = one.tally.problem.config.width_label
    lines = [f"{name:<15}{axis:>14}{'successes/trials':>22}   {interval:<22}   predicted"]
    for e, epsilon in enumerate(one.epsilons):
        for k in range(len(one.widths)) if every else _handful(seen.certified[:, e]):
            low, high = (end[k, e] for end in seen.bar)
            count = f"{counts[k, e]:,}/{one.tally.trials:,}"
            reach = f"{decimals.fixed_below(low, 4)} to {decimals.fixed_above(high, 4)}"
            lines.append(
                f"  epsilon {decimals.exact(epsilon):<10}{one.widths[k]:>14}{count:>22}   "
                f"{reach:<22}   {_expected(predicted, k, e)}"
            )
    return lines


def _plain(words: str) -> str:
    """In ASCII: not every terminal has a dash."""
    return words.replace("\u2013", "-")


def _handful(success: np.ndarray) -> list[int]:
    """A few places over which a curve rises; where it does in one step or not at all, one."""
    rising = np.flatnonzero((success > 0.005) & (success < 0.9995))
    if len(rising) == 0:
        return [min(int(np.sum(success < 0.5)), len(success) - 1)]
    return sorted({int(k) for k in np.linspace(rising[0], rising[-1], HANDFUL).round()})


def _prediction(one: Series, name: str) -> Predicted | None:
    return next((p for p in one.predictions if p.criterion == name), None)


def _expected(predicted: Predicted | None, k: int, e: int) -> str:
    if predicted is None:
        return "-"
    if predicted.kind == "exact":
        return f"{predicted.lower[k, e]:.4f}"
    low = decimals.fixed_below(predicted.lower[k, e], 4)
    high = decimals.fixed_above(predicted.upper[k, e], 4)
    if predicted.kind == "bracket":
        return f"{low} to {high}"
    return f">= {low}" if predicted.kind == "lower" else f"<= {high}"


def _bands(one: Series, name: str, seen: Estimate, curves: int) -> list[str]:
    """One line a curve: does the prediction lie in the band of the whole measured curve?"""
    predicted = _prediction(one, name)
    if predicted is None:
        return ["  nothing is proved of these curves"]
    level = f"{decimals.below(100 * (1 - Fraction(str(ALPHA)) / curves), 4)} %"
    lines = [
        f"  whole curves against {CALLED[predicted.kind]}, "
        f"{level} bands ({_plain(methods(one, name).band)}):"
    ]
    low, high = seen.band
    # A measured curve agrees with bounds if some curve between them lies in its band.
    outside = np.maximum(predicted.lower - high, low - predicted.upper)
    distance = np.maximum(predicted.lower - seen.possible, seen.certified - predicted.upper)
    for e, epsilon in enumerate(one.epsilons):
        verdict = "inside" if np.all(outside[:, e] <= 0) else "OUTSIDE"
        farthest = max(distance[:, e].max(), 0.0)
        lines.append(
            f"  epsilon {decimals.exact(epsilon):<10}{verdict:>9}   farthest {farthest:.4f}"
        )
    return lines


def _widths(one: Series, estimates: Mapping[str, Estimate], delta: float) -> list[str]:
    """The answer: width for success 1 - delta, measured and predicted."""
    head = f"{one.tally.problem.config.width_label[:-2]} for success 1 - {decimals.exact(delta)}"
    lines = [f"{head:<31}{'measured':>9}   {'interval':<17} {'exact':<16} {'asymptotic':<11} lemma"]
    problem, known = one.tally.problem, experiment(one.tally.problem.experiment).theory
    for name, seen in estimates.items():
        criterion = problem.criteria[one.tally.criterion(name)]
        for e, epsilon in enumerate(one.epsilons):
            band = intervals.Band(seen.certified[:, e], *(end[:, e] for end in seen.band))
            found = intervals.width_interval(one.widths, band, 1 - delta)
            exact, asymptotic = known.widths(problem, criterion, epsilon, delta)
            reach = f"{found.low or 'below'} to {found.high or 'beyond'}"
            promised = f"{one.lemma[epsilon]}" if epsilon in one.lemma else "-"
            lines.append(
                f"  {name:<15} epsilon {decimals.exact(epsilon):<6}{found.measured or '-':>8}   "
                f"{reach:<17} {exact:<16} {asymptotic:<11} {promised}"
            )
    return lines


def to_csv(tally: Tally) -> str:
    """One row for each criterion, width and epsilon, under a line of names.

    The last column is the kind of interval that the counts allow: fixed or anytime.
    """
    lines = ["criterion,width,epsilon,certified,refuted,undecided,invalid,trials,intervals"]
    grid, undecided = tally.problem.grid, tally.undecided
    kind = "anytime" if tally.anytime else "fixed"
    for cell in np.ndindex(*tally.problem.shape):
        criterion, width, epsilon = cell
        names = tally.problem.criteria[criterion].name, grid.widths[width], grid.epsilons[epsilon]
        counts = tally.certified[cell], tally.refuted[cell], undecided[cell]
        ends = tally.invalid, tally.trials, kind
        lines.append(",".join(map(str, (*names, *counts, *ends))))
    return "\n".join(lines) + "\n"
