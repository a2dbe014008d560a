"""Bounds as text: an upper bound is rounded up, a lower one down, never to nearest.

What is printed is then true of the same number that was proved, and whoever reads it back as a
float gets no smaller upper bound, and no larger lower one, for rounding to nearest keeps the order.
"""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction

DIGITS = 6  # significant ones of a bound, at least
MOST_DIGITS = 17  # that tell any two floats apart
WIDE = Context(prec=2000)  # of any float, all digits

Number = float | Fraction


def above(value: Number, digits: int = DIGITS) -> str:
    """The least number of so many significant digits that is not below `value`."""
    return _significant(value, digits, ROUND_CEILING)


def below(value: Number, digits: int = DIGITS) -> str:
    """The largest number of so many significant digits that is not above `value`."""
    return _significant(value, digits, ROUND_FLOOR)


def bracket(lower: float, upper: float) -> tuple[str, str]:
    """Both ends rounded outwards, with digits enough for the distance that is between them."""
    apart = (upper - lower) / upper if 0.0 < lower <= upper < math.inf else 1.0
    needed = MOST_DIGITS if apart == 0.0 else 2 - math.floor(math.log10(apart))
    digits = min(max(needed, DIGITS), MOST_DIGITS)
    return below(lower, digits), above(upper, digits)


def fixed_above(value: Number, places: int) -> str:
    """The least number of so many decimal places that is not below `value`."""
    return _fixed(value, places, ROUND_CEILING)


def fixed_below(value: Number, places: int) -> str:
    """The largest number of so many decimal places that is not above `value`."""
    return _fixed(value, places, ROUND_FLOOR)


def exact(value: float) -> str:
    """A number that a verdict hangs on: the shortest text that reads back as it."""
    return repr(float(value)).removesuffix(".0")


def _ratio(value: Number) -> Fraction | None:
    """A number exactly; None of an infinity or a NaN."""
    if isinstance(value, Fraction):
        return value
    return Fraction(float(value)) if math.isfinite(value) else None


def _significant(value: Number, digits: int, rounding: str) -> str:
    if (ratio := _ratio(value)) is None:
        return f"{float(value):g}"
    context = Context(prec=digits, rounding=rounding)
    number = context.divide(Decimal(ratio.numerator), Decimal(ratio.denominator))
    number = WIDE.normalize(number)
    exponent = number.adjusted() if number else 0
    if -5 < exponent < digits:
        return f"{number:f}"
    return f"{number.scaleb(-exponent, WIDE):f}e{exponent:+03d}"


def _fixed(value: Number, places: int, rounding: str) -> str:
    if (ratio := _ratio(value)) is None:
        return f"{float(value):g}"
    whole = ratio * 10**places
    units = math.ceil(whole) if rounding == ROUND_CEILING else math.floor(whole)
    return f"{Decimal(units).scaleb(-places, WIDE):f}"
