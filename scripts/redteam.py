"""Try to make a bound lie: random and adversarial pairs against exact arithmetic, forged tickets.

Draws networks that are hard on floats (scales from 1e-300 to 1e300 within and across layers;
copies, opposite, dead and permuted neurons; changes of one ulp; zeros, integers, all types), puts
them to every bound of the package, and holds what it says against `rationals`: no upper bound below
the supremum, no lower bound above it, or above the value at the point that it reports. Forges
tickets, too, field by field and bit by bit: `verify` may hold only where the claim is true.

A refusal is one line, and counted. A warning, a traceback or a wrong number ends the run: exit code
1, with the input as code to be pasted.

    python scripts/redteam.py                          # a minute
    python scripts/redteam.py --seconds 600 --seed 7
    python scripts/redteam.py --only certificate tickets
"""

import argparse
import contextlib
import io
import itertools
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache, partial
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # as `cli` sets it, before jax

import forgeries
import jax
import numpy as np
import pairs
import rationals

from ltjax import networks, supnorm
from ltjax.cli import program
from ltjax.errors import InputError
from ltjax.experiments.neuron import device
from ltjax.networks import arrays, domains
from ltjax.networks.pairs import Pair
from ltjax.supnorm import (
    ascent,
    bounds,
    brackets,
    branch_and_bound,
    certificate,
    layered,
    max_min,
    plane,
    posing,
    semidefinite,
    sets,
)
from ltjax.system import devices

DONE, FALSE, UNUSABLE = 0, 1, 2  # exit codes of the command line
# Sizes d, n_1, ..., outputs. Programs are compiled for the first ones alone, which end in one way.
COMPILED = {
    (2, 1): ("relu", "l2"),
    (2, 3, 2): ("linear", "l2"),
    (4, 3, 1): ("linear", "l2"),
    (2, 2, 2, 1): ("relu", "l2"),
    (3, 4, 2): ("linear", "max"),
}
HONEST = (
    ((2, 2), "linear", "blocks", 15),
    ((2, 2, 1), "linear", "separate", 15),
    ((2, 2), "linear", "pooled", 63),
    ((2, 2, 1), "linear", "blocks", 15, "subset"),
)
WITH_NORM = ("relaxation", "tree", "gap", "printed", "biases")
SIZES = [*COMPILED, (1, 1), (2, 2), (3, 1), (5, 3), (1, 3, 2), (2, 4, 1), (2, 3, 3, 2),
         (2, 2, 2, 2, 2, 1), (6, 3, 1), (5, 6, 3), (3, 2, 2, 2, 1), (12, 24, 8)]  # fmt: skip


class Case(NamedTuple):
    """What a bound is given.

    first, second: layers of both networks; or those of one, and errors [side, n_out, n_in].
    """

    bound: str
    first: list
    second: list
    last: str = "linear"
    norm: str = "l2"
    radius: float = 1.0
    region: tuple = ()  # shape, then two rows of numbers: center and radius, or the ends of a box


class Forged(NamedTuple):
    """A file that says it is a ticket, and the network that it is said to be of."""

    data: bytes
    layers: list


class Claim(NamedTuple):
    """What a bound says, of the supremum or of the value at a point."""

    side: str
    value: Any
    point: Any = None


class BrokenError(Exception):
    """What was said is not true."""


# Bounds: a case to what is claimed of it.


def pair_of(case, lead=True):
    errors = tuple(e[None] if lead else e for e in case.second)
    return Pair(tuple(case.first), errors, case.last)


def two_ends(found):
    return [c for b in found for c in (Claim("lower", b.lower), Claim("upper", b.upper))]


def certified(case):
    return [Claim("upper", certificate.upper(pair_of(case))[0])]


def quick(case):
    return [Claim("upper", float(_quick(tuple(case.first), tuple(case.second), case.last)))]


@partial(jax.jit, static_argnums=2)
def _quick(weights, errors, last):
    return certificate.quick(Pair(weights, errors, last))


def relaxed(case):
    return [Claim("upper", semidefinite.upper(pair_of(case), case.norm, steps=100, batch=2)[0])]


def ascent_lower(case):
    (value,), (x,) = ascent.lower(pair_of(case), batch=1)
    return [Claim("lower", value, x)]


def searched(case):
    found = branch_and_bound.brackets(pair_of(case, lead=False), 0.01, norm=case.norm)
    return [
        claim
        for bracket in islice(found, 3)
        for claim in (Claim("upper", bracket.upper), Claim("lower", bracket.lower, bracket.point))
    ]


def settled(case):
    """One hidden layer by the formula, to 1e-6."""
    pair = pair_of(case, lead=False)
    if not max_min.applies(pair, "l2"):
        return []
    return [
        claim
        for bracket in max_min.brackets(pair, 1e-6)
        for claim in (Claim("upper", bracket.upper), Claim("lower", bracket.lower, bracket.point))
    ]


def many(case):
    """The same, one of many pairs: to decide some epsilons about the supremum."""
    if not max_min.applies(pair := pair_of(case), "l2"):
        return []
    _, (high,) = sets.decide(pair, np.array([[0.0]]))
    wanted = high * np.array([[0.5, 0.9, 0.99]]) if high < inf else np.array([[0.5]])
    return [
        Claim(side, float(value))
        for levels in (wanted, wanted[:, ::-1], wanted[:, :1])
        for side, (value,) in zip(("lower", "upper"), sets.decide(pair, levels), strict=True)
    ]


def layers(case):
    """Several hidden layers by the formula within itself: to close, and to decide some epsilons."""
    if not layered.applies(pair := pair_of(case)):
        return []
    found = [layered.bracket(pair_of(case, lead=False), gap) for gap in (0.5, 1e-3)]
    high = found[-1].upper
    levels = high * np.array([1.0, 0.9, 0.5]) if high < inf else np.array([0.5])
    return two_ends(found) + [
        Claim(side, float(value))
        for level in levels
        for side, (value,) in zip(
            ("lower", "upper"), layered.decide(pair, np.array([[level]])), strict=True
        )
    ]


def glanced(case):
    found = _glanced(tuple(case.first), tuple(case.second), case.last)
    return [Claim("upper", float(found))]


@partial(jax.jit, static_argnums=2)
def _glanced(weights, errors, last):
    return bounds.glance(Pair(weights, errors, last))[0]


def circle(case):
    lower, upper = plane.circle_bounds(pair_of(case, lead=False))
    return [Claim("lower", lower), Claim("upper", upper)]


def at_points(case):
    """What is said of points of any length, and not of the supremum."""
    x = np.random.default_rng(0).normal(size=(case.first[0].shape[1], 3)) * [1e-9, 1.0, 1e9]
    ends = zip(
        ("lower", "upper"), networks.pairs.reached(pair_of(case, lead=False), x), strict=True
    )
    return [Claim(side, v, p) for side, values in ends for v, p in zip(values, x.T, strict=True)]


def one_neuron(case):
    (w,), errors = case.first[0], _slots(case)
    levels = np.linalg.norm(errors) * np.geomspace(1.0, 1e-3, 50)
    (lower,), (upper,) = supnorm.one_neuron.neuron_supremum(w, errors[None], levels)
    return [Claim("lower", lower), Claim("upper", upper)]


def one_trial(case):
    """What the device says of a ticket: the last of its rules is the supremum."""
    lower, upper = _rules(case.first[0][0][:, None], _slots(case)[..., None])
    return [Claim("lower", float(lower[-1, 0])), Claim("upper", float(upper[-1, 0]))]


_rules = jax.jit(device._ticket_rules)


def _slots(case):
    """Slot errors [side, d]."""
    errors = case.second[0][:, 0]
    return np.array(np.broadcast_to(errors, (2, errors.shape[1])))


def reached(case):
    """How far the first network is from the second, of zeros."""
    return [Claim("lower", networks.pairs.reach(case.first, case.last))]


def closed(case):
    pair, scale = brackets.pair_of(case.first, case.second, case.last, case.radius)
    return two_ends(islice(brackets.closing(pair, scale, 0.01, norm=case.norm, divided=False), 3))


def printed(case):
    """The decimals that the command line prints."""
    with tempfile.TemporaryDirectory() as folder:
        names = [str(Path(folder, f"{name}.npz")) for name in ("first", "second")]
        for name, layers in zip(names, (case.first, case.second), strict=True):
            np.savez(name, *layers)
        flags = {"last": case.last, "norm": case.norm, "radius": case.radius, "max-seconds": 0}
        words = [word for name, value in flags.items() for word in (f"--{name}", f"{value}")]
        code, out = command("gap", *names, *words)
    check(code == DONE, f"gap ends with {code}.")
    return [Claim(side, Fraction(rows(out)[f"{side} bound"])) for side in ("lower", "upper")]


def with_biases(case):
    """Networks with biases over a ball or a box: what is said at once, and what is found."""
    shape, *ends = case.region
    if shape == "ball":
        region = domains.region(len(ends[0]), ends[0], float(ends[1][0]))
    else:
        region = domains.region(len(ends[0]), box=ends)
    split = lambda layers: [part for w in layers for part in (w[:, :-1], w[:, -1])]
    nets = (arrays.given(split(n), "network", case.last) for n in (case.first, case.second))
    return two_ends(islice(posing.posed(*nets, region).closing(1e-3, case.norm), 4))


def command(*words):
    """The exit code of the command line, and what it prints; `InputError` where that is 2."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        code = program.main(list(words))
    if code == UNUSABLE:
        check(not out.getvalue(), f"refused, and yet it prints {out.getvalue()!r}.")
        raise InputError(err.getvalue().removesuffix("\n"))
    return code, out.getvalue()


def rows(text):
    return dict(line.split(": ", 1) for line in text.splitlines())


class Bound(NamedTuple):
    """What says something, of what it is asked, and in how many draws of a turn.

    of: networks, errors, or one network and zeros; or networks with biases.
    """

    says: Callable
    of: str = "errors"
    sizes: Sequence = tuple(COMPILED)
    turns: int = 3
    kind: type = np.float64


BOUNDS = {
    "certificate": Bound(certified, sizes=SIZES, turns=20),
    "quick": Bound(quick, kind=np.float32),
    "relaxation": Bound(relaxed),
    "ascent": Bound(ascent_lower),
    "tree": Bound(searched),
    "formula": Bound(settled, sizes=[s for s in SIZES if len(s) == 3 and s[2] == 1], turns=10),
    "many": Bound(many, sizes=[s for s in SIZES if len(s) == 3 and s[2] == 1], turns=10),
    "layered": Bound(
        layers,
        sizes=[s for s in SIZES if len(s) == 4 and s[3] == 1] + [(2, 3, 3, 1), (2, 2, 3, 2, 1)],
    ),
    "glance": Bound(glanced, sizes=[(4, 3, 1)], turns=10, kind=np.float32),
    "circle": Bound(circle, sizes=[s for s in SIZES if s[0] == 2], turns=20),
    "points": Bound(at_points, sizes=SIZES, turns=20),
    "neuron": Bound(one_neuron, sizes=[(1, 1), (2, 1), (3, 1), (6, 1)], turns=20),
    "trial": Bound(one_trial, sizes=[(2, 1)], kind=np.float32),
    "reach": Bound(reached, "zeros", SIZES, 5),
    "gap": Bound(closed, "networks"),
    "printed": Bound(printed, "networks", turns=1),
    "biases": Bound(with_biases, "biases", [(1, 4, 1), (1, 3, 2), (1, 3, 3, 1), (2, 3, 2)], 20),
}
NEURONS = ("neuron", "trial")  # one output, behind a relu


def draw(rng, name):
    """A structure, and a case of it for the bound of this name."""
    bound, structure = BOUNDS[name], pairs.STRUCTURES[rng.integers(len(pairs.STRUCTURES))]
    sizes = bound.sizes[rng.integers(len(bound.sizes))]
    last, norm = COMPILED.get(sizes, (rng.choice(["linear", "relu"]), "l2"))
    summed = sizes[0] in (4, 6) and rng.random() < 0.7  # inputs that act by two sums alone
    with np.errstate(all="ignore"):
        found = structure(rng, (2, *sizes[1:]) if summed else sizes)
        finite = lambda w: w if w.dtype.kind in "iu" else np.nan_to_num(w)
        first, second = ([finite(w) for w in net] for net in found)
        if summed:
            for net in (first, second):
                net[0] = np.repeat(net[0], sizes[0] // 2, axis=1)
        if bound.of == "biases":
            return structure.__name__, biased(rng, name, structure, first, second)
        if bound.of != "networks":
            first, second = pairs.as_errors(rng, first, second, bound.kind)
    if bound.of == "zeros":
        second = [np.zeros_like(w) for w in first]
    last = "relu" if name in NEURONS else str(last)
    norm = norm if name in WITH_NORM else "l2"
    radius = 10.0 ** rng.uniform(-3, 3) if bound.of == "networks" else 1.0
    return structure.__name__, Case(name, first, second, last, norm, radius)


def biased(rng, name, structure, first, second):
    """A case of networks with biases, as hard as their weights, over a ball or a box."""
    dim, region = first[0].shape[1], rng.choice(["ball", "box"])
    nets = [], []
    for w, v in zip(first, second, strict=True):
        both = structure(rng, (1, len(w)))
        for net, matrix, (bias, *_) in zip(nets, (w, v), both, strict=True):
            net.append(np.column_stack([matrix, np.nan_to_num(np.float64(bias))]).astype(float))
    middle, size = rng.normal(size=dim), 10.0 ** rng.uniform(-3, 1, dim)
    ends = (middle, size[:1]) if region == "ball" else (middle - size, middle + size)
    last, norm = rng.choice(["linear", "relu"]), rng.choice(["l2", "max"])
    return Case(name, *nets, str(last), str(norm), 1.0, (str(region), *ends))


# Verdicts.


def check(holds, otherwise):
    if not holds:
        raise BrokenError(otherwise)


def hold(case):
    """Hold all that is claimed of a case against the truth: `exact`, `points` or `refused`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            claims = BOUNDS[case.bound].says(case)
    except InputError as error:
        check(len(str(error).splitlines()) == 1, f"a refusal is not one line: {error!r}.")
        return "refused"
    if case.region:
        return hold_region(case, claims)
    if case.second[0].ndim == 3:
        two = rationals.of_errors(case.first, case.second, case.last, case.norm)
    else:
        two = rationals.of_networks(case.first, case.second, case.last, case.norm, case.radius)
    found = rationals.supremum(two)
    for claim in claims:
        check_claim(claim, found, two)
    return "points" if found.high is None else "exact"


def hold_region(case, claims):
    """The same of networks with biases."""
    shape, *rows = case.region
    a, b = map(rationals.rational, rows)
    low, high = (a - b, a + b) if shape == "ball" else (a, b)
    s = np.random.default_rng(0).uniform(-1.0, 1.0, (len(a), 200))
    if shape == "ball":
        s /= np.maximum(np.linalg.norm(s, axis=0), 1.0) * (1.0 + 1e-12)
    middle, half = (low + high) / 2, (high - low) / 2
    points = middle[:, None] + half[:, None] * rationals.rational(s)
    ends = (low[0], high[0]) if len(a) == 1 else None
    networks = case.first, case.second, case.last, case.norm
    found = rationals.affine_supremum(*networks, points, ends)
    for claim in claims:
        check_claim(claim, found)
    return "points" if found.high is None else "exact"


def check_claim(claim, found, two=None):
    """`BrokenError` unless a bound is one of a supremum whose square is `found`."""
    said = f"{claim.side} bound {claim.value!r}"
    check(claim.value >= 0, f"{said} is no number, or negative.")
    if claim.value == inf:
        check(claim.side == "upper", f"{said}.")
        return
    value, where = Fraction(*claim.value.as_integer_ratio()) ** 2, ""
    if claim.point is not None:
        found, where = rationals.Square(*[rationals.at(two, claim.point)] * 2), ", at its point"
    if claim.side == "upper":
        check(value >= found.low, f"{said} is below {root(found.low)}{where}.")
    elif found.high is not None:
        check(value <= found.high, f"{said} is above {root(found.high)}{where}.")


def root(square):
    """A square root to 20 digits, whatever its size."""
    with localcontext(prec=20, Emin=-99999, Emax=99999):
        return (Decimal(square.numerator) / Decimal(square.denominator)).sqrt()


# Tickets.


@cache
def honest(kind):
    """A small network, and the fields and positions of a ticket of it."""
    sizes, *words = HONEST[kind]
    layers = pairs.normal(np.random.default_rng(kind), sizes)
    return layers, *forgeries.honest(layers, *words)


def forge(rng):
    """The names of one forgery or two, and the file that they make."""
    layers, names, kept = honest(int(rng.integers(len(HONEST))))
    made = []
    for _ in range(rng.integers(1, 3)):
        change = forgeries.OF_FIELDS[rng.integers(len(forgeries.OF_FIELDS))]
        with contextlib.suppress(Exception):  # what the first has made may be beyond the second
            names, kept = change(rng, names, kept, layers)
            made.append(change.__name__)
    header, kept = forgeries.sealed(names, kept)
    if rng.random() < 0.1:
        header["digest"] = forgeries.sealed(honest(0)[1], kept)[0]["digest"]
    data = forgeries.written(header, kept)
    if rng.random() < 0.3:
        data = forgeries.written(*forgeries.sealed(*honest(0)[1:]))
        layers, change = honest(0)[0], forgeries.OF_FILES[rng.integers(len(forgeries.OF_FILES))]
        data, made = change(rng, data), [change.__name__]
    return " ".join(made), Forged(data, layers)


def hold_ticket(forged):
    """Hold a verdict against the truth: `exact`, `points` or `refused`."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        file, network = Path(folder, "ticket.npz"), Path(folder, "network.npz")
        file.write_bytes(forged.data)
        np.savez(network, *forged.layers)
        try:
            code, out = command("verify", str(file), str(network), "--max-seconds", "1")
        except InputError as error:
            check(len(str(error).splitlines()) == 1, f"a refusal is not one line: {error!r}.")
            return "refused"
    check(code in (DONE, FALSE), f"verify ends with {code}.")
    if code == FALSE and not out:
        return "of another network"
    names, kept = forgeries.parsed(forged.data)
    check(names is not None, "a file is read that is not as one is written.")
    found, said = forgeries.error(names, kept, forged.layers), rows(out)
    for side in ("lower", "upper"):
        check_claim(Claim(side, Fraction(said[f"{side} bound"])), found)
    allowed = Fraction(names["epsilon"]) ** 2
    if code == DONE:
        check(found.low <= allowed, f"it HOLDS, and errs by {root(found.low)}.")
    if said["verdict"] == "REFUTED" and found.high is not None:
        check(found.high > allowed, f"it is REFUTED, and errs by {root(found.high)} at most.")
    return said["verdict"]


# The run.


def code_of(value):
    """A case as an expression that makes it again, bit for bit."""
    if isinstance(value, np.ndarray):
        order = "" if value.flags.c_contiguous else ", order='F'"
        return f"np.array({value.tolist()!r}, {value.dtype.str!r}{order})"
    if isinstance(value, list | tuple):
        parts = ", ".join(map(code_of, value))
        named = f"redteam.{type(value).__name__}({parts})"
        return named if hasattr(value, "_fields") else f"[{parts}]"
    return repr(value)


def report(case, error):
    """A violation, and the code that shows it again."""
    holds = "hold_ticket" if isinstance(case, Forged) else "hold"
    return (
        f"{error}\n\nimport sys; sys.path.insert(0, 'scripts')\nimport numpy as np, redteam\n"
        f"redteam.{holds}({code_of(case)})"
    )


def outcome_of(name, structure, case):
    """What became of a case; `BrokenError` of whatever may not."""
    try:
        if name == "tickets":
            return hold_ticket(case)
        outcome = hold(case)
        check(outcome != "refused" or structure in pairs.UNUSUAL, "refused without a reason.")
        return outcome
    except BrokenError as error:
        raise BrokenError(f"{name}, {structure}: {report(case, error)}") from None
    except Exception:  # a warning, too
        text = f"{name}, {structure}: {report(case, traceback.format_exc())}"
        raise BrokenError(text) from None


def run(seconds, seed, names):
    """Draw until the time is over, or something does not hold: yields structures and outcomes."""
    end = time.monotonic() + seconds
    turns = [name for name in names for _ in range(1 if name == "tickets" else BOUNDS[name].turns)]
    for number, name in enumerate(itertools.cycle(turns)):
        if time.monotonic() >= end:
            return
        rng = np.random.default_rng([seed, number])
        structure, case = forge(rng) if name == "tickets" else draw(rng, name)
        outcome = outcome_of(name, structure, case)
        yield structure if name != "tickets" else f"ticket: {structure}", outcome


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=[*BOUNDS, "tickets"], metavar="BOUND")
    args = parser.parse_args(argv)
    devices.keep_programs()
    counts, broken = Counter(), None
    try:
        for found in run(args.seconds, args.seed, args.only or [*BOUNDS, "tickets"]):
            counts[found] += 1
    except BrokenError as error:
        broken = error
    for structure, outcomes in itertools.groupby(sorted(counts), key=lambda found: found[0]):
        parts = [f"{counts[found]:,} {found[1]}" for found in outcomes]
        print(f"{structure}: {', '.join(parts)}")
    number = f"{counts.total():,}"
    print(f"all {number} hold" if broken is None else f"FAILED after {number}: {broken}")
    return int(broken is not None)


if __name__ == "__main__":
    sys.exit(main())
