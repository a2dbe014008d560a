"""How the words of a command line become values, and what is said of those that do not.

Rules for the parser, by type: of whole numbers, numbers, text, several of one kind, and either of
these or nothing. Each error says what the value must be and what was found.
"""

import os
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, Union, get_args, get_origin

from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

MOST_DIGITS = 300
SHOWN = 60  # letters of a value

RULES = ConstructorRegistry()


def whole(word: str) -> int:
    """A whole number, also written as 1e6."""
    try:
        value = Decimal(word)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(f"must be a whole number, as 5000 or 5e3, got {_shown([word])}")
    if value.adjusted() >= MOST_DIGITS:
        raise ValueError(f"must have at most {MOST_DIGITS} digits, got {_shown([word])}")
    return int(value)


def number(word: str) -> float:
    """A number, NaN and infinities among them: what may be, is asked by whoever uses it."""
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"must be a number, as 0.5 or 1e-3, got {_shown([word])}") from None


def text(word: str) -> str:
    """Text as it is; ~ at the front is the home folder, which no shell writes out after --out=."""
    if not word.startswith("~"):
        return word
    path = os.path.expanduser(word)
    if path.startswith("~"):
        raise ValueError(f"must name a home folder that is known, or begin with ./~, got {word}")
    return path


READERS: dict[Any, Callable[[str], Any]] = {int: whole, float: number, str: text}


def _several(kind: Any, words: Sequence[str]) -> tuple:
    """The words as a tuple type asks: any number of one kind, or one of each kind."""
    kinds = get_args(kind)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(words)
    if len(words) != len(kinds):
        raise ValueError(f"must be {len(kinds)} values, got {_shown(words)}")
    if any("," in word for word, of in zip(words, kinds, strict=True) if of is not str):
        raise ValueError(f"must have spaces between numbers, no commas, got {_shown(words)}")
    return tuple(READERS[of](word) for word, of in zip(words, kinds, strict=True))


def _shown(words: Sequence[str]) -> str:
    """As it was typed, and short."""
    value = " ".join(words)
    return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}...")


@RULES.primitive_rule
def rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """How a type is read; None where that is left to the parser: choices, flags."""
    return _rule(info.type)


def _rule(kind: Any) -> PrimitiveConstructorSpec | None:
    parts = get_args(kind)
    if get_origin(kind) in (Union, types.UnionType) and types.NoneType in parts and len(parts) == 2:
        return _perhaps(_rule(next(part for part in parts if part is not types.NoneType)))
    if kind in READERS:
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar=kind.__name__.upper(),
            instance_from_str=lambda words: READERS[kind](words[0]),
            is_instance=lambda value: isinstance(value, (int, float) if kind is float else kind),
            str_from_instance=lambda value: [str(value)],
        )
    if get_origin(kind) is tuple and set(parts) - {Ellipsis} <= READERS.keys():
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar=" ".join(
                "..." if part is Ellipsis else part.__name__.upper() for part in parts
            ),
            instance_from_str=lambda words: _several(kind, words),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda values: [str(value) for value in values],
        )
    return None


def _perhaps(spec: PrimitiveConstructorSpec | None) -> PrimitiveConstructorSpec | None:
    """The same, where nothing need be given: a flag that is given has a value."""
    if spec is None:
        return None
    return replace(
        spec,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: [] if value is None else spec.str_from_instance(value),
    )
