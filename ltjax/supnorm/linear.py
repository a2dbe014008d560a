"""Upper bounds on ||g - f|| over cells of a domain, for networks of any depth, by linear functions.

Between bounds on z, a pre-activation of f, and on its difference to z' of g,

    a z <= relu(z) <= s z + k,           b (z' - z) - j' <= relu(z') - relu(z) <= t (z' - z) + j,

as relu rises with slopes in [0, 1]: its change is z' - z where both are surely positive, 0 where
neither is, between 0 and z' - z otherwise. The two are not bounded apart, so that the bound is of
the size of the errors; where signs are known the lines of relu(z') less those of relu(z) are
closer, and taken. With z_i = W h and z'_i - z_i = C dh + E h a row of a layer is bounded by going
back through the layers below, coefficient by coefficient, to a linear function of x: its supremum
over a cell, plus the constants that were met, each times what it was multiplied with. The ranges of
the layers come from the same bound, from the first layer on.

(Backward linear relaxations: Zhang, Weng, Chen, Hsieh, Daniel, NeurIPS 2018, arXiv:1811.00866;
differences of two networks over a box: Paulsen, Wang, Wang, ICSE 2020, arXiv:2001.03662. The
bounds for a ball, and for the L2 norm of the outputs, are derived here.)

Rounding. Slopes may be any, so that only what they are multiplied with counts: a computed
coefficient of h is off by n ulps of the sum of the products that it is made of, which |h| and |dh|,
at most, turn into an error of the bound. It is added layer by layer.
"""

from typing import NamedTuple

import numpy as np

from ltjax.networks.domains import Domain
from ltjax.networks.pairs import ULP, Pair, length, linear_last
from ltjax.supnorm.certificate import together

OUTWARD = 1.0 + 8.0 * ULP
TINY = 1e-290  # more than products lose that underflow, in networks of entries about 1
OF_NORMS = 1.0 + 1e-10  # more than rounding does to the norm of a matrix


class Cells(NamedTuple):
    """Parts of a domain: |u - middle| <= half, entry by entry; [cell, d] each."""

    middle: np.ndarray
    half: np.ndarray


class Found(NamedTuple):
    """Of every cell a bound, [cell]; and the linear function above the worst output, [cell, d]."""

    bound: np.ndarray
    slope: np.ndarray


class _Lines(NamedTuple):
    """Lines above and below the relus of a layer, [cell, n] each, and what sizes are at most.

    above: s and k; below: a.
    change_above, change_below: slopes on z' - z and on z, and constants, of relu(z') - relu(z).
    before: |z|, at most; size, change: the same of relu(z) and of relu(z') - relu(z).
    """

    above: tuple
    below: np.ndarray
    change_above: tuple
    change_below: tuple
    before: np.ndarray
    size: np.ndarray
    change: np.ndarray


def whole(domain: Domain, dim: int) -> Cells:
    """The domain as one cell."""
    return Cells(np.zeros((1, dim)), np.full((1, dim), domain.radius))


def bounds(pair: Pair, cells: Cells, norm: str = "l2") -> Found:
    """Bounds on sup ||g - f|| over cells, in float64, rounded up; inf where float64 is too small.

    Args:
        pair: ONE pair with a domain, errors [1, n_out, n_in].
        norm: of several outputs, "l2" or "max".
    """
    back = _Back(linear_last(pair), cells)
    with np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore"):
        for layer in range(len(back.layers) - 1):
            back.lines.append(back.lines_of(layer))
        slopes, cuts, tops = back.rows(len(back.layers) - 1, changes=True)
        n = tops.shape[1] // 2
        worst = np.argmax(tops, axis=1)
        both = np.maximum(tops[:, :n], tops[:, n:])
        if norm == "max" or n == 1:
            bound = both.max(axis=1)
        else:
            bound = np.minimum(together(np.maximum(both, 0.0)), back.in_l2(slopes, cuts))
    bound = np.where(np.isnan(bound), np.inf, np.maximum(bound, 0.0))
    return Found(bound, slopes[np.arange(len(worst)), worst, :-1])


class _Back:
    """The layers of a pair, and the lines of those that are known: from any layer back to x."""

    def __init__(self, pair, cells):
        self.domain, (self.middle, self.half) = pair.domain, cells
        self.layers = [
            (w, e[0], w + e[0], np.abs(w), np.abs(e[0]))
            for w, e in zip(pair.weights, pair.errors, strict=True)
        ]
        self.lines: list[_Lines] = []
        self.terms = 4.0 * (sum(map(len, pair.weights)) + 8 * len(pair.weights))
        size = (np.abs(self.middle) + self.half) * OUTWARD
        constant = np.full((len(size), 1), self.domain.constant)
        self.input_size = np.concatenate([size, constant], axis=1)

    def lines_of(self, layer):
        """The lines above and below the relus of a layer, from the ranges that it has."""
        n = len(self.layers[layer][0])
        *_, tops = self.rows(layer, changes=False)
        low, high = -tops[:, n:], tops[:, :n]
        *_, tops = self.rows(layer, changes=True)
        fall, rise = -tops[:, n:], tops[:, :n]
        return _lines(low, high, fall, rise)

    def rows(self, layer, changes):
        """Linear functions above every z of a layer, or every z' - z, and above its negative.

        Returns:
            slopes [cell, 2 n, d + 1], constants [cell, 2 n] and the suprema of both, [cell, 2 n].
        """
        n = len(self.layers[layer][0])
        signs = np.concatenate([np.eye(n), -np.eye(n)])
        on_z, on_change = (None, signs) if changes else (signs, None)
        cut = np.zeros((len(self.middle), 2 * n))
        for below in range(layer, -1, -1):
            w, e, c, *sizes = self.layers[below]
            cut += self.rounding(below, on_z, on_change, sizes)
            on_h = 0.0 if on_z is None else on_z @ w
            if on_change is not None:
                on_h = on_h + on_change @ e
            if below == 0:
                break
            lines = self.lines[below - 1]
            (on_z,), more = _replaced(on_h, lines.above, (lines.below, 0.0))
            cut += more
            if on_change is not None:
                on_dh = on_change @ c
                (on_change, too), more = _replaced(on_dh, lines.change_above, lines.change_below)
                cut += more + 4.0 * ULP * _dotted(np.abs(on_z) + np.abs(too), lines.before)
                on_z = on_z + too
        slopes = np.broadcast_to(on_h, (*cut.shape, on_h.shape[-1]))
        cut = cut * (1.0 + self.terms * ULP)
        return slopes, cut, self.suprema(slopes) + cut

    def rounding(self, below, on_z, on_change, sizes):
        """What rounding may do to the coefficients that come out of a layer, [cell, rows]."""
        of_w, of_e = sizes
        lines = self.lines[below - 1] if below else None
        size = lines.size if lines else self.input_size
        of_z, off = size @ of_w.T, 0.0
        if on_z is not None:
            off = _dotted(np.abs(on_z), of_z)
        if on_change is not None:
            moved = size @ of_e.T
            if lines:
                moved = moved + lines.change @ (of_w + of_e).T
            off = off + _dotted(np.abs(on_change), moved)
        return 2.0 * (of_w.shape[1] + of_w.shape[0] + 12) * ULP * off + TINY

    def suprema(self, slopes):
        """sup of slopes . x over each cell, from above: [cell, rows]."""
        u, constant = slopes[..., :-1], slopes[..., -1] * self.domain.constant
        tops = np.einsum("crd,cd->cr", u, self.middle) + np.einsum(
            "crd,cd->cr", np.abs(u), self.half
        )
        if self.domain.shape == "ball":
            tops = np.minimum(tops, self.domain.radius * length(u, -1))
        sizes = np.einsum("crd,cd->cr", np.abs(slopes), self.input_size)
        return tops + constant + (slopes.shape[-1] + 12) * ULP * 2.0 * sizes

    def in_l2(self, slopes, cuts):
        """A bound on ||g - f|| from the linear functions above all outputs and their negatives.

        Each output is the mean of two of them, and half their distance apart at most.
        """
        n = cuts.shape[1] // 2
        mean, mean_cut = (slopes[:, :n] - slopes[:, n:]) / 2.0, (cuts[:, :n] - cuts[:, n:]) / 2.0
        wide, wide_cut = (slopes[:, :n] + slopes[:, n:]) / 2.0, (cuts[:, :n] + cuts[:, n:]) / 2.0
        apart = length(np.maximum(self.suprema(wide) + wide_cut, 0.0), -1)
        u, constant = mean[..., :-1], mean[..., -1] * self.domain.constant + mean_cut
        gain, reach = np.linalg.norm(u, 2, axis=(1, 2)), length(self.half, -1)
        at_middle = length(np.einsum("crd,cd->cr", u, self.middle) + constant, -1)
        moved = length(np.einsum("crd,cd->cr", np.abs(u), self.half), -1)
        bound = at_middle + np.minimum(gain * reach, moved)
        if self.domain.shape == "ball":
            bound = np.minimum(bound, length(constant, -1) + gain * self.domain.radius)
        sizes = length(np.einsum("crd,cd->cr", np.abs(mean), self.input_size), -1)
        off = (slopes.shape[-1] + 12) * ULP * 4.0 * (sizes + length(mean_cut, -1))
        return (bound + apart) * OF_NORMS + off


def _dotted(coefficients, sizes):
    """Sums over neurons of |coefficients| [(cell,) row, n] and sizes [cell, n]: [cell, row]."""
    return (coefficients @ sizes[..., None])[..., 0]


def _replaced(coefficients, above, below):
    """Coefficients of what lines are above and below turned into those of the lines.

    Args:
        coefficients: [cell, row, n]; above, below: slopes, then the constant, [cell, n] each.

    Returns:
        Coefficients of what each slope is on, [cell, row, n], and what is added, [cell, row].
    """
    up = coefficients > 0.0
    chosen = [
        coefficients * np.where(up, one[:, None], other[:, None] if np.ndim(other) else other)
        for one, other in zip(above, below, strict=True)
    ]
    return chosen[:-1], chosen[-1].sum(axis=-1)


def _lines(low, high, fall, rise):
    """The lines of relus whose z is in [low, high], and that rises by what is in [fall, rise]."""
    g_low, g_high = low + fall, high + rise
    g_low, g_high = g_low - ULP * np.abs(g_low), g_high + ULP * np.abs(g_high)
    (s, k, a), (g_s, g_k, g_a) = _relu(low, high), _relu(g_low, g_high)
    near = _near(low, high, g_low, g_high, fall, rise)
    # Each network by itself: the lines of g less those of f.
    other = (g_s, g_s - a, g_k), (g_a, g_a - s, -k)
    gap = lambda above, below, z: (
        np.maximum((above[0] - below[0]) * fall, (above[0] - below[0]) * rise)
        + np.maximum((above[1] - below[1]) * z[0], (above[1] - below[1]) * z[1])
        + above[2]
        - below[2]
    )
    better = gap(*other, (low, high)) < gap(*near, (low, high))
    above, below = (
        tuple(np.where(better, x, y) for x, y in zip(*both, strict=True))
        for both in zip(other, near, strict=True)
    )
    before = np.maximum(np.abs(low), np.abs(high))
    change = np.maximum(np.abs(fall), np.abs(rise))
    return _Lines((s, k), a, above, below, before, np.maximum(high, 0.0), change)


def _relu(low, high):
    """s, k and a of a z <= relu(z) <= s z + k on [low, high]."""
    on, off = low >= 0.0, high <= 0.0
    slope, constant = _chord(low, high)
    slope, constant = np.select([on, off], [1.0, 0.0], slope), np.where(on | off, 0.0, constant)
    return slope, constant, np.where(on | (~off & (high > -low)), 1.0, 0.0)


def _near(low, high, g_low, g_high, fall, rise):
    """Lines above and below relu(z') - relu(z) that depend on z' - z alone."""
    falls, rises, nothing = rise <= 0.0, fall >= 0.0, np.zeros_like(low)
    # It is <= z' - z where z' >= 0, and <= 0 where z' <= 0.
    known = [g_low >= 0.0, g_high <= 0.0, rises, falls]
    t, j = _chord(fall, rise)
    t, j = np.select(known, [1.0, 0.0, 1.0, 0.0], t), np.select(known, [0.0] * 4, j)
    # It is >= z' - z where z >= 0, and >= 0 where z <= 0.
    known = [low >= 0.0, high <= 0.0, falls, rises]
    b, down = _chord(-rise, -fall)
    b, down = np.select(known, [1.0, 0.0, 1.0, 0.0], b), np.select(known, [0.0] * 4, down)
    return (t, nothing, j), (b, nothing, -down)


def _chord(low, high):
    """The line above relu on [low, high], where it bends there: slope, and constant rounded up."""
    slope = np.clip(high / (high - low), 0.0, 1.0)
    slope = np.where(np.isnan(slope), 1.0, slope)
    return slope, np.maximum(np.maximum(-slope * low, (1.0 - slope) * high), 0.0) * OUTWARD
