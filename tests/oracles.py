"""Second routes to what the package computes: slow, by definition, sharing none of its lines."""

from itertools import product

import numpy as np
import pyscipopt
from scipy import optimize

from ltjax.supnorm import one_neuron


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
    low, high = one_neuron.neuron_supremum(weights, errors, np.array([]))
    low, high = low.copy(), high.copy()
    for n in range(len(errors)):
        # Each threshold inside the bracket is decided, so that bisection closes it.
        while high[n] - low[n] > tolerance * high[n] + 1e-300:
            middle = np.array([0.5 * (low[n] + high[n])])
            below, above = one_neuron.neuron_supremum(weights, errors[n : n + 1], middle)
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


def slopes(weights, errors):
    """The layers of f and of g as matrices of (x+, x-), then of the layer before: dense, float64.

    Args:
        weights: [n_out, n_in] each; errors: [side, n_out, n_in] each.
    """
    f = [np.hstack([weights[0], -weights[0]]), *weights[1:]]
    g = [weights[0] + errors[0][0], -weights[0] - errors[0][-1]]
    return f, [np.hstack(g), *(w + e[0] for w, e in zip(weights[1:], errors[1:], strict=True))]


def distance(weights, errors, x):
    """||f - g|| at points x [n, d], by definition."""
    ends = []
    for layers in slopes(weights, errors):
        h = np.maximum(np.hstack([x, -x]), 0.0)
        for layer in layers[:-1]:
            h = np.maximum(h @ layer.T, 0.0)
        ends.append(h @ layers[-1].T)
    return np.linalg.norm(ends[0] - ends[1], axis=1)


def integer_program(weights, errors, gap=1e-6):
    """Bounds on the supremum of |f - g| for one output, by SCIP: a point's value, and a proof.

    ReLU by a binary variable and big M from row norms; the sides of x likewise; both signs of the
    difference. Errors are scaled up to size 1 in the objective alone.
    """
    lower, upper = 0.0, 0.0
    dim = weights[0].shape[1]
    scale = max(np.abs(e).max() for e in errors)
    for sign in (1.0, -1.0):
        model = pyscipopt.Model()
        model.hideOutput()
        model.setParam("limits/gap", gap)
        model.setParam("numerics/feastol", 1e-7)
        sides = [model.addVar(lb=0.0, ub=1.0) for _ in range(2 * dim)]
        for plus, minus in zip(sides[:dim], sides[dim:], strict=True):
            positive = model.addVar(vtype="B")
            model.addCons(plus <= positive)
            model.addCons(minus <= 1 - positive)
        model.addCons(pyscipopt.quicksum(side * side for side in sides) <= 1)
        f, g = (_program(model, sides, layers) for layers in slopes(weights, errors))
        top = model.addVar(lb=None)
        model.addCons(top * scale == sign * (g - f))
        model.setObjective(top, "maximize")
        model.optimize()
        assert model.getStatus() in ("optimal", "gaplimit")
        plus, minus = np.array([model.getVal(side) for side in sides]).reshape(2, 1, dim)
        x = plus - minus
        length = max(np.linalg.norm(x), 1e-300)
        lower = max(lower, distance(weights, errors, x / length)[0])
        upper = max(upper, model.getDualbound() * scale)
    return lower, upper


def affine_program(first, second, region, gap=1e-6):
    """The same for networks with biases, over a ball or a box: big M from the ranges of neurons.

    Args:
        first, second: weights and biases, [n_out, n_in] and [n_out] a layer.
        region: middle and half the size, [d] each, of a shape.
    """
    lower, upper = 0.0, 0.0
    for sign in (1.0, -1.0):
        model = pyscipopt.Model()
        model.hideOutput()
        model.setParam("limits/gap", gap)
        model.setParam("numerics/feastol", 1e-8)
        s = [model.addVar(lb=-1.0, ub=1.0) for _ in region.middle]
        if region.shape == "ball":
            model.addCons(pyscipopt.quicksum(v * v for v in s) <= 1)
        x = [m + h * v for m, h, v in zip(region.middle, region.half, s, strict=True)]
        ranges = region.middle - region.half, region.middle + region.half
        f, g = (_affine_program(model, x, *ranges, net) for net in (first, second))
        top = model.addVar(lb=None)
        model.addCons(top == sign * (g - f))
        model.setObjective(top, "maximize")
        model.optimize()
        assert model.getStatus() in ("optimal", "gaplimit")
        lower, upper = max(lower, model.getObjVal()), max(upper, model.getDualbound())
    return lower, upper


def _affine_program(model, h, low, high, network):
    """The one output of a network of which every input is between `low` and `high`."""
    parts = [*zip(*network[:2], strict=True)]
    for weights, biases in parts[:-1]:
        up, down = np.maximum(weights, 0.0), np.minimum(weights, 0.0)
        low, high = up @ low + down @ high + biases, up @ high + down @ low + biases
        z = [
            pyscipopt.quicksum(c * x for c, x in zip(row, h, strict=True)) + b
            for row, b in zip(weights, biases, strict=True)
        ]
        h = []
        for before, least, most in zip(z, low, high, strict=True):
            out, active = model.addVar(lb=0.0, ub=max(most, 0.0)), model.addVar(vtype="B")
            model.addCons(out >= before)
            model.addCons(out <= before - min(least, 0.0) * (1 - active))
            model.addCons(out <= max(most, 0.0) * active)
            h.append(out)
        low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
    (row,), (b,) = parts[-1]
    return pyscipopt.quicksum(c * x for c, x in zip(row, h, strict=True)) + b


def _program(model, inputs, layers):
    """A network's output; no activation exceeds a product of the norms below it."""
    h, reach = inputs, 1.0
    for layer in layers[:-1]:
        big = reach * np.linalg.norm(layer, axis=1)
        z = [pyscipopt.quicksum(c * x for c, x in zip(row, h, strict=True)) for row in layer]
        h = [model.addVar(lb=0.0, ub=most) for most in big]
        for out, before, most in zip(h, z, big, strict=True):
            active = model.addVar(vtype="B")
            model.addCons(out >= before)
            model.addCons(out <= before + most * (1 - active))
            model.addCons(out <= most * active)
        reach *= np.linalg.norm(layer, 2)
    return pyscipopt.quicksum(c * x for c, x in zip(layers[-1][0], h, strict=True))


def cones(weights, errors):
    """The supremum of |f - g| for one output and tiny networks: every pattern of signs, by NNLS.

    Signs of x and of all hidden neurons of f and g fix a cone G y >= 0, y = |x| >= 0, with f - g =
    c.y on it. Its maximum over the ball is the length of the projection of c on the cone, which is
    min ||c + G' t|| over t >= 0.
    """
    nets, best = slopes(weights, errors), 0.0
    dim, hidden = weights[0].shape[1], sum(len(w) for w in weights[:-1])
    for sides in product((0, 1), repeat=dim):
        chosen = np.eye(2 * dim)[[q + dim * side for q, side in enumerate(sides)]].T
        for signs in product((0.0, 1.0), repeat=2 * hidden):
            c, walls, signs = np.zeros(dim), [np.eye(dim)], list(signs)
            for layers, of_net in zip(nets, (1.0, -1.0), strict=True):
                h = chosen
                for layer in layers[:-1]:
                    active = np.array([signs.pop() for _ in layer])[:, None]
                    walls.append((2.0 * active - 1.0) * (layer @ h))
                    h = active * (layer @ h)
                c = c + of_net * (layers[-1] @ h)[0]
            for side in (c, -c):
                if np.linalg.norm(side) > best:
                    best = max(best, optimize.nnls(np.concatenate(walls).T, -side)[1])
    return best
