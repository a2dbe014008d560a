"""How far two networks are apart, as text."""

import math
from fractions import Fraction

from ltjax import decimals
from ltjax.networks import domains
from ltjax.networks.domains import Region
from ltjax.supnorm.brackets import Apart


def report(start: Apart, found: Apart, gap: float, region: Region) -> str:
    """The last bracket, what was asked of it, and what was known before the search, as text."""
    lower, upper = decimals.bracket(found.lower, found.upper)
    finite = found.lower > 0.0 and found.upper < math.inf
    ratio = Fraction(found.upper) / Fraction(found.lower) if finite else found.ratio
    rows = {
        "inputs": domains.words(region),
        "lower bound": lower,
        "upper bound": upper,
        "upper / lower": decimals.above(ratio),
        **shortfall(found.lower, found.upper, gap),
        "upper bound before the search": decimals.above(start.upper),
        "nodes": f"{found.nodes:,}",
    }
    return "\n".join(f"{name}: {value}" for name, value in rows.items())


def shortfall(lower: float, upper: float, gap: float | None) -> dict[str, str]:
    """A row of a report where a bracket is not as close as was asked; none where nothing was."""
    if gap is None or upper == 0.0:
        return {}
    if upper < math.inf and Fraction(upper) <= (1 + Fraction(gap)) * Fraction(lower):
        return {}
    return {"gap": f"not reached (asked {decimals.exact(gap)})"}
