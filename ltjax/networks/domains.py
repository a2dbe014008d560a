"""Where two networks are compared: a ball, or a box; and the same about 0, beside a constant input.

A bias is a weight on an input that is constant. So points are x = (u, c) with u in a ball or a box
about 0, and **every domain lies in the unit ball**: a bound from above over the ball is one over
the domain, too, whoever knows of it. From below it takes points of the domain, and `holds` says in
float64 what is one.
"""

from typing import NamedTuple

import numpy as np

from ltjax import decimals
from ltjax.errors import InputError

ULP = 2.0**-52
SHARES = 1e-4, 1.0 - 1e-4  # of the unit ball that u may have


class Region(NamedTuple):
    """The inputs asked about: middle + half s, entry by entry, with s in the unit ball or box.

    shape: "ball" or "box".
    middle, half: [d] each.
    """

    shape: str
    middle: np.ndarray
    half: np.ndarray


def region(dim: int, center=None, radius: float | None = None, box=None) -> Region:
    """What is asked about in d inputs: a ball, by default the unit ball, or a box.

    Args:
        center: of the ball, [d]; 0 by default.
        radius: of the ball, 1 by default.
        box: the lower and the upper ends, two numbers or [2, d].
    """
    if box is None:
        radius = 1.0 if radius is None else radius
        if center is None and not 0.0 < radius < np.inf:  # at 0 itself there is little to ask
            raise InputError(f"radius must be positive and finite, got {decimals.exact(radius)}.")
        return ball(np.zeros(dim) if center is None else center, radius)
    if center is not None or radius is not None:
        raise InputError("box must stand alone, got a center or a radius beside it.")
    ends = np.asarray(box, np.float64)
    if ends.shape not in ((2,), (2, dim)):
        raise InputError(f"box must be two numbers or [2, {dim}], got shape {list(ends.shape)}.")
    return between(*np.broadcast_to(ends.reshape(2, -1), (2, dim)))


def ball(center, radius: float) -> Region:
    """The ball of a radius, 0 or more, about a point [d]."""
    center = _vector(center, "center")
    if not 0.0 <= radius < np.inf:
        raise InputError(f"radius must be 0 or positive, and finite, got {decimals.exact(radius)}.")
    return Region("ball", center, np.full(len(center), float(radius)))


def between(low, high) -> Region:
    """The box between two corners, [d] each."""
    low, high = _vector(low, "box"), _vector(high, "box")
    if np.any(low > high):
        at = int(np.argmax(low > high))
        ends = f"{decimals.exact(low[at])} and {decimals.exact(high[at])}"
        raise InputError(
            f"box must have no lower end above the upper one, got {ends} of input {at + 1}."
        )
    return Region("box", low / 2.0 + high / 2.0, high / 2.0 - low / 2.0)


def _vector(values, name):
    found = np.asarray(values, np.float64)
    if found.ndim != 1:
        raise InputError(f"{name} must be one row of numbers, got shape {list(found.shape)}.")
    if not np.all(np.isfinite(found)):
        raise InputError(f"{name} must be finite, got {found[~np.isfinite(found)][0]}.")
    return found


def farthest(asked: Region) -> float:
    """A bound on ||x|| of all inputs asked about, rounded up."""
    half = np.max(asked.half) if asked.shape == "ball" else np.linalg.norm(asked.half)
    return float(np.linalg.norm(asked.middle) + half) * (1.0 + (len(asked.middle) + 8) * ULP)


def words(asked: Region) -> str:
    """A region as text."""
    if asked.shape == "ball":
        point = "x - center" if np.any(asked.middle) else "x"
        return f"||{point}|| <= {decimals.exact(asked.half[0])}"
    low, high = asked.middle - asked.half, asked.middle + asked.half
    if np.ptp(low) == np.ptp(high) == 0.0:
        return f"{decimals.exact(low[0])} <= x_i <= {decimals.exact(high[0])}"
    return f"a box of {len(low)} inputs, {decimals.exact(2.0 * asked.half.max())} wide at most"


class Domain(NamedTuple):
    """The points (u, constant) of the unit ball with ||u|| <= radius, or |u_i| <= radius.

    shape: "ball" or "box".
    """

    shape: str
    radius: float
    constant: float


def domain(shape: str, dim: int, share: float) -> Domain:
    """The one in d inputs whose u has this share of the square of 1, and the constant the rest."""
    share = float(min(max(share, SHARES[0]), SHARES[1]))
    inwards = 1.0 - (dim + 8) * ULP
    longest = (share if shape == "ball" else share / dim) ** 0.5
    return Domain(shape, longest * inwards, (1.0 - share) ** 0.5 * inwards)


def holds(x, within: Domain) -> np.ndarray:
    """Which points [..., d + 1, n] are surely in the domain: bool [..., n]."""
    u = np.abs(x[..., :-1, :])
    if within.shape == "ball":
        outwards = 1.0 + (u.shape[-2] + 8) * ULP
        inside = np.sqrt(np.sum(u * u, axis=-2)) * outwards <= within.radius
    else:
        inside = np.max(u, axis=-2, initial=0.0) <= within.radius
    return inside & (x[..., -1, :] == within.constant)


def nearest(x, within: Domain, xp=np):
    """The nearest points of the domain to any points [..., d + 1, n].

    Args:
        xp: numpy, or the module that speaks its language to jax.
    """
    u = x[..., :-1, :]
    if within.shape == "ball":
        norm = xp.sqrt(xp.sum(u * u, axis=-2, keepdims=True))
        inwards = 1.0 - (2 * u.shape[-2] + 32) * float(xp.finfo(x.dtype).eps)
        u = u * (within.radius / xp.maximum(norm, within.radius)) * inwards
    else:
        u = xp.clip(u, -within.radius, within.radius)
    return xp.concatenate([u, xp.full_like(x[..., -1:, :], within.constant)], axis=-2)


def reach(within: Domain, dim: int) -> float:
    """The length of the longest u of d inputs."""
    return within.radius * (1.0 if within.shape == "ball" else dim**0.5)


def highest(q, within: Domain) -> np.ndarray:
    """The points at which q.x is largest, of q [d + 1, n]; u is 0 where all are alike."""
    u = q[:-1]
    norm = np.max(np.abs(u), axis=0, initial=0.0)
    u = u / np.where(norm > 0.0, norm, 1.0)
    if within.shape == "ball":  # from outside to the nearest point
        u = u / np.maximum(np.sqrt(np.sum(u * u, axis=0)), 0.5)
    u = 2.0 * within.radius * (u if within.shape == "ball" else np.sign(u))
    return nearest(np.concatenate([u, q[-1:]]), within)


def support(q, within: Domain) -> np.ndarray | np.floating:
    """sup of q.x over the domain, but for rounding: q [..., d + 1] to [...]."""
    u, constant = np.abs(q[..., :-1]), q[..., -1] * within.constant
    size = np.sqrt(np.sum(u * u, axis=-1)) if within.shape == "ball" else np.sum(u, axis=-1)
    return within.radius * size + constant
