"""Whole neurons, the host's part: laws and activations, known answers, losses in float64."""

from dataclasses import replace

import numpy as np
from scipy import linalg, optimize, special

from ltjax.errors import InputError, WrongKernelError
from ltjax.experiments.features.config import Features
from ltjax.problem.problem import Problem
from ltjax.supnorm.one_neuron import holds_inside
from ltjax.weights import draws

LEVEL = 0.999  # of the interval for a loss that is estimated
NEAR = 16  # part of its half width within which the host must meet its centre
LEAK = 0.1  # slope of leaky_relu below 0
CHECKED_WIDTH = 2**10  # the widest network of which a known-answer check takes the loss
HELD = 2**22  # activations, or values of the kernel, that the host holds
JITTER = 8.0 * float(np.finfo(np.float64).eps)  # times the number of features, whose norms are 1
# Samples of a trial, as what is judged was not searched on; and of a draw for the baseline, whose
# features have a place of their own.
SEARCHED, JUDGED, REFERENCE, REFERENCE_JUDGED = range(4)
REFERENCES = 64  # draws that set the baseline


def check(problem: Problem[Features], trials, lower, upper, kept, scale) -> None:
    """Known-answer check of the compiled kernel: the first of these trials against the host.

    An estimate is a mean over inputs that the host draws again, so its centre must be met.

    Raises:
        WrongKernelError: a bracket misses the loss of its subnetwork, or a neuron beyond the width
            is kept.
    """
    widths, answers = np.array(problem.grid.widths), problem.arrays
    k = max(int(np.searchsorted(widths, CHECKED_WIDTH, side="right")) - 1, 0)
    for c, criterion in enumerate(problem.criteria):
        low, high = float(lower[0, c, k]), float(upper[0, c, k])
        if problem.config.samples:
            centre, near = (low + high) / 2.0, (high - low) / (2.0 * NEAR)
            low, high = centre - near, centre + near
        value = excess(problem, answers, trials[0], kept[0, c, k], scale[0, c, k])
        if not low <= value <= high or kept[0, c, k, widths[k] :].any():
            raise WrongKernelError(
                f"the compiled kernel is wrong at {criterion.name}, width {widths[k]}: its bracket "
                f"[{low:.8g}, {high:.8g}] misses the value {value:.8g} of the host."
            )


def settle(problem: Problem[Features], trials, lower, upper, kept, scale):
    """Narrow the brackets in float64 where an epsilon lies inside one.

    Args:
        trials: trial numbers, [n].
        lower, upper, kept, scale: outcomes of these trials, with n as first axis.

    Returns:
        lower, upper: float64 [n, criterion, width]. An estimate from fresh inputs stays as it is.
    """
    lower, upper = np.array(lower, np.float64), np.array(upper, np.float64)
    if problem.config.samples:
        return lower, upper
    answers = problem.arrays
    inside = holds_inside(lower, upper, np.array(problem.grid.epsilons)).any(axis=-1)
    for cell in zip(*np.nonzero(inside), strict=True):
        value = excess(problem, answers, trials[cell[0]], kept[cell], scale[cell])
        lower[cell] = upper[cell] = value
    return lower, upper


def excess(problem: Problem[Features], answers, trial, kept, scale) -> float:
    """Loss beyond the baseline of a subnetwork, in float64.

    Args:
        answers: `problem.arrays`, which take a while to read where they are data.
        kept: bool [most].
        scale: c.
    """
    config = problem.config
    hidden, output = network(problem.seed, trial, config)
    if config.samples:
        answers = fresh(problem, trial, JUDGED)
    theta = np.float64(scale) * output[kept]
    return mean_loss(hidden[kept], theta, answers, config) - config.baseline


def mean_loss(hidden, theta, answers, config: Features) -> float:
    """Loss of sum_j theta_j sigma(w_j.x), in float64 and bounded memory.

    Args:
        hidden, theta: [k, d] and [k].
        answers: w [d] where the loss is exact, else x [n, d] and y [n].
    """
    if config.exact:
        w = answers
        cross = sum(
            theta[part] @ (kernel(hidden[part], hidden) @ theta)
            for part in _parts(len(hidden), len(hidden))
        )
        along = theta @ kernel(hidden, w[None])[:, 0]
        return float(second_moment(config.data, config.dim) * (0.5 * w @ w - 2.0 * along + cross))
    x, y = answers
    sums = 0.0
    for part in _parts(len(x), len(hidden)):
        off = activate(config.activation, x[part] @ hidden.T) @ theta - y[part]
        sums += np.sum(off**2 if config.loss == "squared" else np.abs(off))
    return float(sums / len(x))


def _parts(rows: int, columns: int) -> list[slice]:
    """Slices of so many rows that `HELD` values of this many columns are held at a time."""
    step = max(1, HELD // max(columns, 1))
    return [slice(i, i + step) for i in range(0, rows, step)]


def reference(config: Features, target, seed: int, cap: float | None) -> tuple[float, float]:
    """What n random features reach: the bound C on their coefficients, and their mean loss L0.

    Over `REFERENCES` draws that no trial makes. C is `cap`, or where that is None the median of the
    largest coefficient that is best without a bound. Coefficients are those of least squared loss,
    as in a trial, and are judged on inputs that they have not seen, as there.

    Raises:
        InputError: of a cap left open, where most draws are best with no feature at all.
    """
    draws_of = [_best(config, target, seed, i) for i in range(REFERENCES)]
    if cap is None:
        cap = float(np.median([np.max(np.abs(solve(np.inf))) for solve, _ in draws_of]))
        if cap == 0.0:
            raise InputError("cap must be named where random features explain nothing, got none.")
    baseline = float(np.mean([loss(solve(cap)) for solve, loss in draws_of]))
    return cap, max(baseline, 0.0)  # where the loss is 0, rounding may take it below


def _best(config: Features, target, seed: int, number: int):
    """Of one draw of n features: best coefficients within a cap, and the loss of coefficients.

    Features and target are brought to norm 1 (one of norm 0 stays), so that a jitter of one size
    makes the second moments definite.
    """
    key = _key(seed, number)
    hidden, _ = layer(key, replace(config, most=config.features), np, special, REFERENCE)
    draw = lambda place: inputs(key, target, config, place, np, special)
    H, b, square = moments(hidden, draw(REFERENCE) if config.samples else target, config)
    size, length = (np.where(x > 0.0, x, 1.0) ** 0.5 for x in (np.diagonal(H), square))
    unit = H / size / size[:, None] + JITTER * len(b) * np.eye(len(b))
    root = np.linalg.cholesky(unit)
    along = linalg.solve_triangular(root, b / size / length, lower=True)

    def solve(cap):
        bound = cap * size / length
        found = optimize.lsq_linear(root.T, along, (-bound, bound), "bvls", max_iter=100 * len(b))
        return found.x * length / size

    def loss(u):
        return mean_loss(hidden, u, draw(REFERENCE_JUDGED) if config.samples else target, config)

    return solve, loss


def moments(hidden, answers, config: Features):
    """E phi phi' [k, k], E phi y [k] and E y^2 for phi = sigma(hidden x), in float64."""
    if config.exact:
        w, factor = answers, second_moment(config.data, config.dim)
        return (
            factor * kernel(hidden, hidden),
            factor * kernel(hidden, w[None])[:, 0],
            factor * 0.5 * w @ w,
        )
    x, y = answers
    H, b = np.zeros((len(hidden), len(hidden))), np.zeros(len(hidden))
    for part in _parts(len(x), len(hidden)):
        phi = activate(config.activation, x[part] @ hidden.T)
        H += phi.T @ phi
        b += phi.T @ y[part]
    return H / len(x), b / len(x), y @ y / len(x)


def half_widths(samples: int) -> float:
    """Standard errors to either side of an estimate: an interval at `LEVEL` (Student)."""
    return float(special.stdtrit(samples - 1, (1.0 + LEVEL) / 2.0))


def _key(seed: int, trial):
    return draws.trial_key(np.array([seed], np.uint32), np.array([trial], np.uint32))


def network(seed: int, trial, config: Features) -> tuple[np.ndarray, np.ndarray]:
    """Hidden weights [most, d] and output weights [most] of one network, drawn again."""
    key = _key(seed, trial)
    return layer(key, config, np, special)


def layer(key, config: Features, xp, special, place: int = 0):
    """`network` from a trial key, or another in its place; one text for numpy and for jax."""
    number = xp.arange(config.most, dtype=np.uint32)[:, None]
    index = xp.arange(config.dim + 1, dtype=np.uint32)[None]
    words = draws.word(draws.stream(key, place, draws.HIDDEN), number, index)
    output = draws.uniform(draws.word(draws.stream(key, place, draws.OUTPUT), number, index[:, :1]))
    return directions(words, config.law, config.radius, xp, special), output[:, 0]


def fresh(problem: Problem[Features], trial, sample: int) -> tuple[np.ndarray, np.ndarray]:
    """The inputs [samples, d] of a trial and their answers [samples], drawn again."""
    key = _key(problem.seed, trial)
    return inputs(key, problem.arrays, problem.config, sample, np, special)


def inputs(key, target, config: Features, sample: int, xp, special):
    """Inputs from the law of the data, and relu(w.x), for a trial key; for numpy and for jax."""
    number = xp.arange(config.samples, dtype=np.uint32)[:, None]
    index = xp.arange(config.dim + 1, dtype=np.uint32)[None]
    words = draws.word(draws.stream(key, sample, draws.INPUT), number, index)
    x = directions(words, config.data, None if config.data == "gaussian" else 1.0, xp, special)
    return x, xp.maximum(x @ target, 0.0)


def kernel(u, v, xp=np):
    """E relu(u.x) relu(v.x) for x ~ N(0, I): rows u [m, d] and v [n, d] to [m, n].

    The arc-cosine kernel of degree 1 (Cho and Saul, NIPS 2009). Its derivative by the cosine is
    bounded, so that the rounding of the angle near 0 and pi does no harm.
    """
    lengths = xp.linalg.norm(u, axis=1)[:, None] * xp.linalg.norm(v, axis=1)[None]
    tiny = np.finfo(u.dtype).tiny
    cosine = xp.clip(u @ v.T / xp.maximum(lengths, tiny), -1.0, 1.0)
    angle = xp.arccos(cosine)
    return lengths * (xp.sin(angle) + (np.pi - angle) * cosine) / (2.0 * np.pi)


def second_moment(data: str, dim: int) -> float:
    """E||x||^2 / d: by what relu's moments differ from those of N(0, I), as it is homogeneous."""
    return {"gaussian": 1.0, "sphere": 1.0 / dim, "ball": 1.0 / (dim + 2)}[data]


def activate(name: str, z, xp=np, special=special):
    """sigma(z) by name; one text for numpy and for jax."""
    functions = {
        "relu": lambda: xp.maximum(z, 0.0),
        "leaky_relu": lambda: xp.where(z > 0.0, z, LEAK * z),
        "abs": lambda: xp.abs(z),
        "tanh": lambda: xp.tanh(z),
        "erf": lambda: special.erf(z),
    }
    return functions[name]()


def directions(words, law: str, radius: float | None, xp=np, special=special):
    """Random vectors [..., d] from random words [..., d + 1]; one text for numpy and for jax.

    Normal coordinates by the inverse of their distribution function; a word more for the length.

    Args:
        law: ball or sphere, of this radius; gaussian: N(0, I), or N(0, radius^2 / d) with what is
            longer than the radius drawn in to it.
        radius: None for N(0, I).
    """
    uniform = draws.uniform(words)
    if xp is np:
        uniform = uniform.astype(np.float64)
    normal = 2.0**0.5 * special.erfinv(uniform[..., :-1])
    if radius is None:
        return normal
    dim = normal.shape[-1]
    length = xp.sqrt(xp.sum(normal**2, axis=-1, keepdims=True))
    if law == "gaussian":
        return radius * normal / xp.maximum(dim**0.5, length)
    unit = normal / length
    if law == "sphere":
        return radius * unit
    return radius * unit * (0.5 + 0.5 * uniform[..., -1:]) ** (1.0 / dim)
