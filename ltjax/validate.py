"""Bounds and checks that many share."""

import reprlib

from ltjax.errors import InputError

MAX_DIM = 2048  # low bits of an error tell slots apart, twelve of its 23 at most
MAX_WIDTH = 2**30  # neurons are numbered by non-negative int32, with room for the last chunk
GRACE = 1 + 1e-12  # a bound computed elsewhere may differ from ours in its last bits


def keep_known(config, name: str, known: tuple[str, ...]) -> None:
    """Put the names asked for in their order; `InputError` unless all are known."""
    asked = tuple(getattr(config, name))
    if not asked or not set(asked) <= set(known):
        found = ", ".join(map(str, asked)) or "none"
        raise InputError(f"{name} must be taken from {', '.join(known)}, got {found}.")
    object.__setattr__(config, name, tuple(one for one in known if one in asked))


def check_seed(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise InputError(f"seed must be at least 0 and below 2^32, got {reprlib.repr(seed)}.")
    return seed


def check_delta(delta: float) -> float:
    if not 0.0 < delta < 1.0:
        raise InputError(f"delta must lie strictly between 0 and 1, got {delta:g}.")
    return delta


def check_dim(dim: int) -> int:
    if not 1 <= dim <= MAX_DIM:
        raise InputError(f"dim must be between 1 and {MAX_DIM}, got {dim}.")
    return dim
