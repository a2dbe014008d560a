"""What is counted, and what configurations share."""

from typing import NamedTuple

from ltjax.errors import InputError

MAX_DIM = 2048  # low bits of an error tell slots apart, twelve of its 23 at most
GRACE = 1 + 1e-12  # a bound computed elsewhere may differ from ours in its last bits


class Criterion(NamedTuple):
    """One event whose frequency is counted.

    A monotone criterion, once met at a width, is met at every larger width of the same draw: its
    curve is the distribution of a first-hit width, and a band over all widths at once holds.
    """

    name: str
    monotone: bool


def keep_known(config, name: str, known: tuple[str, ...]) -> None:
    """Put the names asked for in their order; `InputError` unless all are known."""
    asked = tuple(getattr(config, name))
    if not asked or not set(asked) <= set(known):
        found = ", ".join(map(str, asked)) or "none"
        raise InputError(f"{name} must be taken from {', '.join(known)}, got {found}.")
    object.__setattr__(config, name, tuple(one for one in known if one in asked))
