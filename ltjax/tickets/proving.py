"""Proofs of bounds, which `check_proof.py` checks in exact integers: see docs/proof-format.md.

Floating point proposes a norm, a theta or a point, rounded to a short fraction with a little slack.
Nothing here has to be right for a proof to be: a proof is handed out only once the checker, a
program of its own that shares no line with ltjax, has accepted it.
"""

import importlib.util
import json
import math
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltjax import decimals
from ltjax.errors import UnprovedError
from ltjax.networks import pairs
from ltjax.networks.pairs import Pair, length
from ltjax.supnorm import brackets, certificate, max_min
from ltjax.system import files
from ltjax.system.files import FilePath
from ltjax.system.stops import Stop, never
from ltjax.tickets import archive, verifying
from ltjax.tickets.archive import TRIAL, Ticket
from ltjax.tickets.scales import Layers

FORMAT = "ltjax-proof/1"
SLACK = 1e-9  # relative: far above what float64 loses
ROOM = 1e-4  # relative: what a bound may give away to be a short fraction
OVER = 1e3, 1e6, 1e9  # denominators of theta, times the size of the pieces over that of the level
SWEEPS = 64  # over the theta of one set
AT_ONCE = 512  # sets that are swept together
LONG = 4096  # where these do not suffice
POINTS = 10**9, 10**15  # denominators of a point
ROOT = 80  # bits of a root
TINY = 1e-300


class Problem(NamedTuple):
    """Two networks f and g, and what their distance over the unit ball is measured in.

    f, g: layers of Fractions: of f [n_out, n_in], of g [side, n_out, n_in], as in `pairs.Pair`; one
        side where both are alike.
    pair: the same in float64, each layer divided by a power of two, errors [side, n_out, n_in].
    units: these powers.
    norm: l2 or max.
    room: relative: what a bound may give away to be a short fraction.
    """

    f: list[np.ndarray]
    g: list[np.ndarray]
    pair: Pair
    units: list[Fraction]
    norm: str
    room: float = ROOM

    @property
    def unit(self) -> Fraction:
        """What the outputs of the pair are worth."""
        return math.prod(self.units, start=Fraction(1))


def of_ticket(ticket: Ticket, layers: Layers, trial: int = TRIAL, stop: Stop = never) -> bytes:
    """A proof that a ticket holds, or that it is refuted.

    Args:
        layers: the target that the ticket belongs to.
        trial: of the seed: the random network whose neurons the ticket names.
        stop: asked at every step of a search; once true, what was found must do.

    Raises:
        UnprovedError: neither is proved, and what float64 has found.
    """
    problem = _ticket_problem(ticket, layers, trial)
    epsilon = Fraction(ticket.epsilon)
    proof: dict[str, Any] = {"trial": trial}
    upper = _upper(problem, epsilon, stop)
    if isinstance(upper, dict):
        proof["upper"] = upper
    else:
        inner = float(epsilon / problem.unit) * (1.0 - SLACK)
        found = _searched(problem, brackets.LEAST_GAP, inner, stop)
        lower = _lower(problem, found.point, epsilon)
        if lower is None:
            least, most = (float(problem.unit) * end for end in (found.lower, found.upper))
            raise UnprovedError(
                f"{upper}; in float64 the error is between {decimals.below(least)} and "
                f"{decimals.above(most)}"
            )
        proof["lower"] = lower
    return _bytes(proof, archive.digest(layers, ticket.last), archive.seal(ticket))


def of_gap(
    first: Layers,
    second: Layers,
    gap: float,
    *,
    last: str = "linear",
    radius: float = 1.0,
    norm: str = "l2",
    stop: Stop = never,
) -> bytes:
    """A proof of both ends of a bracket on the distance of two networks; of 0 there is no point.

    Where no theta prove the bracket of float64, the upper end is that of norms.

    Args:
        first, second, gap, last, radius, norm: as of `ltjax.gap`.
        stop: as of `of_ticket`.
    """
    problem = _gap_problem(first, second, last, norm)._replace(room=min(gap / 8.0, ROOM))
    found = _searched(problem, gap / 2.0, None, stop)
    least = Fraction(found.upper * (1.0 + SLACK)) * problem.unit
    level = simplest(least * (1 + Fraction(problem.room) / 2), least * (1 + Fraction(problem.room)))
    upper, lower = _upper(problem, level, stop), _lower(problem, found.point)
    if isinstance(upper, str):
        upper = _norms(problem, None)
    proof: dict[str, Any] = {"last": last, "norm": norm, "radius": _text(Fraction(radius))}
    proof |= {"upper": upper} | ({"lower": lower} if lower else {})
    return _bytes(proof, *(archive.digest(layers, last) for layers in (first, second)))


def check(first: FilePath, second: FilePath, proof: bytes) -> str:
    """What the checker says of a proof about two files: the sentence that is proved.

    Raises:
        UnprovedError: the checker has not accepted it.
    """
    checker = importlib.util.find_spec("check_proof")
    if checker is None or checker.origin is None:
        raise UnprovedError("check_proof.py, which comes with ltjax, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.proof")
        files.write_atomic(path, proof)
        command = [sys.executable, "-I", "-S", checker.origin, *map(str, (first, second, path))]
        done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout.strip()
    if done.returncode:
        raise UnprovedError(f"the checker says {said or 'nothing'}")
    return said.removeprefix("PROVED: ")


def _ticket_problem(ticket, layers, trial):
    """The target as f, and as g what the ticket masks, times its scales."""
    masked = verifying.effective(ticket, trial)
    g = [Fraction(s) * _fractions(c) for s, c in zip(ticket.scales, masked, strict=True)]
    return _problem(list(map(_fractions, layers)), g, ticket.last, "l2")


def _gap_problem(first, second, last, norm):
    """Two networks of the same hidden sizes, neurons without weights filling up the smaller."""
    wide = [np.maximum(np.shape(a), np.shape(b)) for a, b in zip(first, second, strict=True)]
    f, g = (
        [
            _fractions(np.pad(w, [(0, n - m) for n, m in zip(shape, w.shape, strict=True)]))
            for w, shape in zip(layers, wide, strict=True)
        ]
        for layers in (first, second)
    )
    return _problem(f, [w[None] for w in g], last, norm)


def _fractions(array):
    return np.vectorize(Fraction, otypes=[object])(array)


def _problem(f, g, last, norm):
    """The problem of layers of Fractions; of the pair no weight is above 1."""
    weights, errors, units = [], [], []
    for w, c in zip(f, g, strict=True):
        top = max(float(abs(v)) for v in (*w.flat, *c.flat)) or 1.0
        units.append(Fraction(2) ** math.frexp(top)[1])
        weights.append((w / units[-1]).astype(np.float64))
        errors.append(((c - w) / units[-1]).astype(np.float64))
    return Problem(f, g, Pair(tuple(weights), tuple(errors), last), units, norm)


# Upper bounds.


def _upper(problem: Problem, level: Fraction, stop: Stop) -> dict | str:
    """A proof that the distance is at most `level`; or why there is none.

    What costs least is tried first: slots, norms, then theta.
    """
    reasons = []
    for rule in (_slots, _norms, _max_min):
        if stop():
            return "there was no time for a proof"
        found = rule(problem, level)
        if isinstance(found, dict):
            return found
        reasons += [found]
    return ", ".join(reasons)


def _slots(problem, level):
    """Norms that need no proof: Frobenius norms of every run, of the worse side of each slot."""
    gain = lambda sides: float(length(np.abs(sides).max(axis=0)))
    return _composed(problem, level, gain, {})


def _norms(problem, level):
    """The norm of every run of layers."""
    listed = {}
    for i, j, runs in _runs(problem.pair):
        for which, sides in zip("fgd", runs, strict=True):
            bounds = [b * math.prod(problem.units[i:j]) for b in _bounds(sides)]
            # The first layer of f has two sides to the checker, which are alike: P + N = 0.
            alike = i == 0 and len(sides) == 1
            bounds = [2 * bounds[0], Fraction(0)] if alike else bounds
            listed[f"{which} {i} {j}"] = list(map(_text, bounds))
    gain = lambda sides: float(sum(_bounds(sides))) / len(_bounds(sides))
    return _composed(problem, level, gain, listed)


def _runs(pair):
    """(i, j, products of layers i + 1 to j: of f, of g, and what is between them)."""
    layers = [(w[None], w + e, e) for w, e in zip(*pair[:2], strict=True)]
    for i, runs in enumerate(layers):
        yield i, i + 1, runs
        for j, (w, c, e) in enumerate(layers[i + 1 :], i + 2):
            f, g, change = runs
            runs = w @ f, c @ g, c @ change + e @ f
            yield i, j, runs


def _bounds(sides):
    """Of a layer the norm, [bound]; or of both sides those of its halves, if they are less."""
    norm = lambda m: float(np.linalg.norm(m, 2))
    plus, minus = sides[0], sides[-1]
    ways = [[norm(plus)]]
    if len(sides) == 2:
        both = norm(np.concatenate([plus, minus], axis=1))
        ways = [[both], [norm(plus + minus), norm(plus - minus)]]
    least = [Fraction(b * (1.0 + SLACK)) for b in min(ways, key=lambda way: sum(way) / len(way))]
    return [simplest(b, b * (1 + Fraction(ROOM) / 10)) for b in least]


def _composed(problem, level, gain, norms):
    """The rule compose, in its averaged form, with what stands for the norm of a run.

    Args:
        level: that is to be proved; None for whatever there is.
    """
    layers = [(w[None], e) for w, e in zip(*problem.pair[:2], strict=True)]
    bound = float(certificate.averaged(layers, gain, np))
    least = Fraction(bound * (1.0 + SLACK)) * problem.unit
    if level is not None and least > level:
        return f"{'norms' if norms else 'slots'} give {decimals.above(least)}"
    most = least * (1 + Fraction(problem.room))
    most = most if level is None else min(level, most)
    return {"by": "compose", "bound": _text(simplest(least, most)), "norms": norms}


def _max_min(problem, level):
    """The rule maxmin: a theta for every set of convex pieces that needs one, output by output."""
    pair = problem.pair
    if not max_min.applies(pair, "max"):
        return "theta are for one small hidden layer"
    of_outputs = [pairs.of_outputs(pair, [o]) for o in range(len(pair.weights[1]))]
    levels = [level] * len(of_outputs)
    if problem.norm == "l2" and len(of_outputs) > 1:
        tops = [_supremum(one) for one in of_outputs]
        share = float(level / problem.unit) / max(float(length(tops)), TINY) * (1.0 - SLACK)
        if share < 1.0:
            return f"theta give {decimals.above(level / Fraction(share))}"
        most = [Fraction(top * min(share, 1.0 + ROOM)) * problem.unit for top in tops]
        levels = [simplest(b * (1 - Fraction(ROOM) / 2), b) for b in most]
    outputs = []
    for one, bound in zip(of_outputs, levels, strict=True):
        found = _theta(one, float(bound / problem.unit) * (1.0 - SLACK))
        if found is None:
            return f"theta do not give {decimals.below(level)}"
        outputs.append({"bound": _text(bound), **found})
    return {"by": "maxmin", "bound": _text(level), "outputs": outputs}


def _supremum(pair):
    *_, last = max_min.brackets(pair, ROOM / 4)
    return last.upper * (1.0 + ROOM / 4)


def _theta(pair, level):
    """Trees of theta for both signs of the difference, with the least denominator that will do."""
    split, parts = max_min.is_split(pair), max_min.parts(pair)
    sizes = max(float(np.sum(length(part.concave, 1))) for part in parts)
    for factor in OVER:
        over = 10 ** max(1, math.ceil(math.log10(max(factor * sizes / max(level, TINY), 1.0))))
        found = [_trees(part, level, over, split) for part in parts]
        if all(trees is not None for trees in found):
            return dict(zip(("rises", "falls"), found, strict=True), over=over)
    return None


def _trees(part, level, over, split):
    """{set: tree} for the sets that theta = partner leaves above a level; None where one fails."""
    sets = max_min.subsets(len(part.difference))
    sums, taken = sets @ part.difference, sets @ part.partner
    at = np.flatnonzero(length(np.maximum(sums, 0.0) if split else sums, 1) > level)
    trees = {}
    for first in range(0, len(at), AT_ONCE):
        some = at[first : first + AT_ONCE]
        mask = np.ones_like(sums[some])
        tau = _swept(part, sums[some], taken[some], np.zeros_like(taken[some]), mask, split)
        for n, code in enumerate(some):
            tree = _tree(part, level, over, split, (sums[code], taken[code], tau[n], mask[n]))
            if tree is None:
                return None
            trees[str(code)] = tree
    return trees


def _swept(part, sums, taken, tau, mask, split, sweeps=SWEEPS):
    """Better tau for sets side by side, rows of all: see `max_min.descended`."""
    pieces = part.concave[:, :, None] * mask.T
    start = (sums * mask).T, taken.T, tau.T, pieces
    return max_min.descended(*start, sweeps, split)[1].T


def _tree(part, level, over, split, node):
    """tau in units of 1 / over, or one for either sign of an input; None where there is none."""
    sums, taken, tau, mask = node
    for sweeps in (0, SWEEPS, LONG):
        if sweeps:
            [tau] = _swept(part, *(x[None] for x in node), split, sweeps)
        whole = np.clip(np.rint(tau * over), -taken * over, (1.0 - taken) * over)
        q = (sums - whole / over @ part.concave) * mask
        q = np.maximum(q, 0.0) if split else q
        if length(q) <= level:
            return [int(t) for t in whole]
        both = np.minimum(*np.split(q, 2)) if split else np.zeros(1)
        if both.max() > 0.0:
            break
        node = sums, taken, tau, mask
    else:
        return None
    at = int(np.argmax(both))
    children = []
    for off in (at + len(both), at):
        less = mask * (np.arange(len(mask)) != off)
        [better] = _swept(part, sums[None], taken[None], tau[None], less[None], split)
        children.append(_tree(part, level, over, split, (sums, taken, better, less)))
    if any(child is None for child in children):
        return None
    return {"input": at, "plus": children[0], "minus": children[1]}


# Lower bounds.


def _searched(problem: Problem, gap: float, epsilon: float | None, stop: Stop):
    """The last bracket of a search, with the best of its points, in the units of the pair."""
    from ltjax.system import devices

    best = None
    for found in devices.quietly(brackets.searches(problem.pair, gap, epsilon, problem.norm, stop)):
        if best is None or found.lower > best.lower:
            best = found
        known = best._replace(upper=found.upper)
        told = epsilon is not None and not best.lower <= epsilon < found.upper
        if told or found.upper <= best.lower * (1.0 + gap):
            break
    return known


def _lower(problem: Problem, x: np.ndarray, above: Fraction | None = None) -> dict | None:
    """A bound by a point near x; None where it is 0, or not above a number."""
    found = []
    for over in POINTS:
        size = float(length(x)) * (1.0 + SLACK)
        point = [int(v) for v in np.trunc(x / size * over)] if size else [0] * len(x)
        found.append((_root_below(_square(problem, point) / over**2), point, over))
    # The coarsest point that will do: near a wall of a linear region it may be far off.
    enough = max(found)[0] * (1 - Fraction(problem.room)) if above is None else above
    for most, point, over in found:
        if most > enough:
            least = (enough + most) / 2
            return {"bound": _text(simplest(least, most)), "point": point, "over": over}
    return None


def _square(problem, point):
    """||g - f||^2 at a point, exactly; in the maximum norm that of the largest output."""
    x = np.array(point, object)
    ends = []
    for layers in (problem.f, problem.g):
        h = np.maximum(x, 0), np.maximum(-x, 0)
        for n, layer in enumerate(layers, 1):
            # The first layer of f, and of g where sides are alike, is the same for both.
            plus, minus = (layer, layer) if layer.ndim == 2 else (layer[0], layer[-1])
            z = plus @ h[0] - minus @ h[1]
            last = n == len(layers) and problem.pair.last == "linear"
            h = (z if last else np.maximum(z, 0)), 0 * z
        ends.append(h[0])
    squares = (ends[1] - ends[0]) ** 2
    return Fraction(np.sum(squares) if problem.norm == "l2" else np.max(squares))


def _root_below(square: Fraction) -> Fraction:
    """The root rounded down, to ROOT bits or more."""
    shift = max(0, ROOT - (square.numerator.bit_length() - square.denominator.bit_length()) // 2)
    return Fraction(math.isqrt(int(square * 4**shift)), 2**shift)


# Numbers and bytes.


def simplest(least: Fraction, most: Fraction) -> Fraction:
    """The fraction of the least denominator between two that are not negative."""
    whole = math.ceil(least)
    if whole <= most:
        return Fraction(whole)
    return whole - 1 + 1 / simplest(1 / (most - whole + 1), 1 / (least - whole + 1))


def _text(value: Fraction) -> str:
    return str(Fraction(value))


def _bytes(proof: dict[str, Any], *of: str) -> bytes:
    return json.dumps({"format": FORMAT, "of": of, **proof}, separators=(",", ":")).encode()
