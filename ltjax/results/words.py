"""What a reader is told of counts: captions, goals, doubts. Prose for figures and tables."""

from collections.abc import Mapping, Sequence

from ltjax.counting.tally import Tally
from ltjax.results.estimates import LEVEL, Series, count_curves


def caption(series: Sequence[Series], criteria: Sequence[str], note: str) -> str:
    """What a figure rests on: a line for each record, one on the bands, then the note."""
    lines = []
    for one in series:
        problem, tally = one.tally.problem, one.tally
        title = problem.config.title
        name = f"{one.label}: " if len(series) > 1 and one.label != title else ""
        lines.append(f"{name}{title}, {_counted(tally)}, problem {problem.digest()}.")
    curves = len(criteria) * count_curves(series)
    joint = f" for the {curves} curves together, each at all its widths" if curves > 1 else ""
    lines.append(f"Success: {' | '.join(criteria)}. Bands hold at {LEVEL}{joint}.")
    return "\n".join([*lines, note]).strip()


def goal(rule: Mapping) -> str:
    """What a stopping rule of a record waits for, in words; its cell is left out."""
    numbers = {name: f"{value:,}" for name, value in rule.items() if name != "cell"}
    return " or ".join(
        f"half width {number}" if name == "half_width" else f"{number.removesuffix('.0')} {name}"
        for name, number in numbers.items()
    )


def missing(tally: Tally) -> str:
    """The trials planned and not counted, in a line; empty where there are none."""
    ranges = [f"{start:,} to {stop:,}" for start, stop in tally.missing]
    if not ranges:
        return ""
    if len(ranges) > 3:
        ranges[2:] = [f"{len(ranges) - 2:,} more ranges"]
    *first, last = ranges
    named = f"{', '.join(first)} and {last}" if first else last
    return f"{tally.trials:,} of {max(tally.planned):,} planned trials; missing: {named}"


def doubt(tally: Tally) -> str:
    """Why the number of trials may depend on the counts, where no rule does; empty where not."""
    if tally.until or not tally.anytime:
        return ""
    return "run by more than one plan" if len(tally.planned) > 1 else "part of what was planned"


def _counted(tally: Tally) -> str:
    """Trials and seed, what went on with them, and intervals of which kind that leaves."""
    rule = f"stopping rule {' and '.join(map(goal, tally.until))}" if tally.until else doubt(tally)
    looked = f", {rule}, anytime intervals" if tally.anytime else ""
    broken = f", {tally.invalid:,} broken and counted as failures" if tally.invalid else ""
    return f"{tally.trials:,} trials{looked}{broken}, seed {tally.problem.seed}"


def sources(series: Sequence[Series]) -> str:
    """What the measured points rest on, for the caption."""
    counted: dict[str, list[str]] = {}
    for one in series:
        record = f"{one.label} (problem {one.tally.problem.digest()})"
        counted.setdefault(_counted(one.tally), []).append(record)
    return " ".join(f"{run}: {'; '.join(records)}." for run, records in counted.items())
