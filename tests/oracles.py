"""Second routes to what the package computes: slow, by definition, sharing none of its lines."""

from itertools import product

import numpy as np
from scipy import optimize

from ltjax.supnorm import exact


def ball(dim, n):
    """Unit vectors [_, d]: the axes, and n points of the circle in order or n at random."""
    if dim == 2:
        angle = np.linspace(0.0, 2.0 * np.pi, n + 1)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    x = np.random.default_rng(dim).normal(size=(n, dim))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.concatenate([x, np.eye(dim), -np.eye(dim)])


def supremum(weights, errors, tolerance=1e-9):
    """The exact supremum [n]: thresholds thickly sown about it force the bracket to close."""
    weights, errors = np.asarray(weights, np.float64), np.asarray(errors, np.float64)
    low, high = exact.neuron_supremum(weights, errors, np.array([]))
    low, high = low.copy(), high.copy()
    for n in range(len(errors)):
        # Each threshold inside the bracket is decided, so that bisection closes it.
        while high[n] - low[n] > tolerance * high[n] + 1e-300:
            middle = np.array([0.5 * (low[n] + high[n])])
            below, above = exact.neuron_supremum(weights, errors[n : n + 1], middle)
            assert not below[0] <= middle[0] < above[0]
            low[n], high[n] = max(low[n], below[0]), min(high[n], above[0])
    return 0.5 * (low + high)


def difference(weights, errors, x):
    """|relu(u) - relu(v)| at points x [n, d], by the definition of u and v."""
    u = x @ weights
    v = np.maximum(x, 0.0) @ (weights + errors[0]) - np.maximum(-x, 0.0) @ (weights + errors[1])
    return np.abs(np.maximum(u, 0.0) - np.maximum(v, 0.0))


def orthant(alpha, beta):
    """max of min(alpha.y, beta.y) over y >= 0 in the ball: least norm over lam, convex."""
    norm = lambda lam: np.linalg.norm(np.maximum(beta + lam * (alpha - beta), 0.0))
    grid = np.linspace(0.0, 1.0, 65)
    at = int(np.argmin([norm(lam) for lam in grid]))
    ends = grid[max(at - 1, 0)], grid[min(at + 1, 64)]
    found = optimize.minimize_scalar(norm, bounds=ends, method="bounded", options={"xatol": 1e-12})
    return min(found.fun, norm(grid[at]))


def brute_force(weights, errors):
    """The supremum by trying all 2^d orthants, in both directions."""
    values = [0.0]
    for sides in product((0, 1), repeat=len(weights)):
        sign, e = 1.0 - 2.0 * np.array(sides), errors[sides, range(len(weights))]
        u, v = sign * weights, sign * (weights + e)
        values += [orthant(v, v - u), orthant(u, u - v)]
    return max(values)


def bottleneck(size, empty):
    """The smallest largest error of all valid tickets.

    An assignment of slots to neurons, or to an empty place of their own, is possible within a
    limit iff the cheapest one forbids nothing, where what lies beyond the limit costs 1.

    Args:
        size: slot errors [side, d, neuron], inf where a neuron does not serve.
        empty: error of the empty slot, [d].
    """
    slots = 2 * len(empty)
    places = np.where(np.eye(slots, dtype=bool), np.tile(empty, 2), np.inf)
    size = np.concatenate([size.reshape(slots, -1), places], axis=1)
    limits = np.unique(size[np.isfinite(size)])
    low, high = 0, len(limits) - 1
    while low < high:
        middle = (low + high) // 2
        beyond = size > limits[middle]
        possible = not beyond[optimize.linear_sum_assignment(beyond)].any()
        low, high = (low, middle) if possible else (middle + 1, high)
    return limits[low]
