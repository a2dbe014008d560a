"""Upper bounds on the supremum over the unit ball of ||f(x) - g(x)||, for networks of any depth.

ReLU acts as a diagonal matrix with entries in [0, 1]: relu(z) = L z, and relu(z') - relu(z) =
L (z' - z) with another L. Each is (I + S)/2, S diagonal and ||S|| <= 1, so that a network is a sum
over all ways of cutting its layers into runs,

    f(x) = W_l L ... L W_1 x = 2^(1 - l) sum over cuts of  W_run S W_run' S ... W_run'' x,

where I joins two layers and S cuts between them; W_run is a plain product. (Averaged activations:
Combettes and Pesquet, SIAM J. Math. Data Sci. 2 (2020), arXiv:1903.01014. What follows is derived
here.) A difference telescopes, dz_j = C_j dh_{j-1} + E_j h_{j-1}: the layers above E_j are those
of g, the layers below are those of f. In one cut the E_j of one run lie between the same S, where
they add up to the difference of two linear networks:

    ||f - g|| <= 2^(1 - l) sum over cuts, over runs of
                 prod ||C_run above||  ||C_run - W_run||  prod ||W_run below||,

or with C and W exchanged. Norms being submultiplicative, this is at most the bound layer by layer
(all runs cut); errors and weights know nothing of each other, so that a joined run is much smaller.

One output a.relu(u) of f, and b.relu(v) of g: where a_i and b_i have one sign, b_i relu(v_i) -
a_i relu(u_i) = L_i D_i with one L_i in [0, 1] and D_i = b_i v_i - a_i u_i. Convex in each L_i,

    |f - g| <= max over sets of neurons of |sum of their D_i|
            <= (|sum D_i| + ||r|| ||D / r||) / 2        for any r > 0,

and sums of D_i are differences of networks with a layer less; with one layer left the supremum of
a set is known exactly.

Layers are pairs (W, E), [..., side, n_out, n_in]; two sides in a first layer that has its own E
for either sign of x_i. Leading axes are those of many networks. Rounding is bounded beforehand, by
the standard model of floating-point arithmetic, and added: the bounds hold for the numbers given.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ltjax.networks.pairs import Pair, length
from ltjax.supnorm import one_neuron
from ltjax.system.stops import Stop, never

BITS_ON_HOST = 12  # 2^bits sets of neurons are tried
AT_ONCE = 2**20  # numbers that the sets of some outputs take
SETS_AT_ONCE = 2**25  # multiplications by one matrix for some sets of neurons
WORK = 4e9  # multiplications for one output, some seconds: with more, fewer sets are tried
BY_SVD = 256  # rows, or columns, of a matrix whose norm is taken by SVD; of others by powers
BITS_ON_DEVICE = 8
SQUARINGS = 4
MORE_SQUARINGS = 8  # on the host: 1 per cent above the norm at most, for 4096 rows
UNDERFLOW = 2.0**-1000  # more than products lose that underflow, times the norms of the layers
SLACK = 4  # how often the rounding of a plain sum of n terms, n epsilon, is added
F, G, CHANGE = range(3)


def upper(pair: Pair, stop: Stop = never) -> np.ndarray:
    """Upper bounds in float64, on the host.

    Args:
        pair: weights without, errors with one leading axis b: that of many networks g.
        stop: asked before every norm, and between outputs; once true, lengths stand for norms.

    Returns:
        [b]; for one neuron the supremum itself, to half a per cent if it is a ReLU.
    """
    weights, errors = _double(pair)
    if stop():
        return together(telescoped(pair, stop))
    if len(weights) == len(weights[0]) == 1 and pair.last == "relu":
        return _neuron(weights[0][0], errors[0][:, :, 0])
    # Networks at a time: so many that their sets fit into a cache.
    step = 2 ** max(0, BITS_ON_HOST - weights[-1].shape[1])
    parts = ([e[n : n + step] for e in errors] for n in range(0, len(errors[0]), step))
    bounds = (_on_host(weights, part, stop) for part in parts)
    return np.concatenate([np.zeros(0), *bounds])


def telescoped(pair: Pair, stop: Stop = never) -> np.ndarray:
    """Upper bounds for every output, layer by layer: [b, n_out]; there at once if `stop()`.

    Args:
        stop: asked before every norm; once true, lengths stand for norms.
    """
    return _telescoped(_layers(*_double(pair)), partial(_gain, norm=_within(stop), xp=np))


def together(bounds: np.ndarray) -> np.ndarray:
    """The bound that bounds on each output make: [b, n_out] to [b]."""
    return length(bounds, -1) * (1.0 + bounds.shape[-1] * np.finfo(float).eps)


def _double(pair):
    return tuple([np.asarray(a, np.float64) for a in layers] for layers in pair[:2])


def quick(pair: Pair):
    """An upper bound for ONE pair, on the device: without an SVD, and fewer sets are tried."""
    with jax.default_matmul_precision("highest"):
        return _bound(pair.weights, pair.errors, _schatten, jnp, BITS_ON_DEVICE)


def _neuron(weights, errors):
    """The supremum for one neuron; levels half a per cent apart force its bracket to close."""
    errors = np.broadcast_to(errors, (len(errors), 2, len(weights)))
    _, cheap = one_neuron.neuron_supremum(weights, errors, np.zeros(0))
    levels = np.max(cheap, initial=0.0) * np.geomspace(1.0, 1e-3, 1400)
    return one_neuron.neuron_supremum(weights, errors, levels)[1]


def _spectral(matrix):
    """The norm by SVD, which one NaN among many networks must not stop."""
    sound = np.isfinite(matrix).all(axis=(-2, -1))
    matrix = np.where(sound[..., None, None], matrix, 0.0)
    try:
        norm = np.linalg.norm(matrix, 2, axis=(-2, -1))
    except np.linalg.LinAlgError:  # did not converge
        norm = _frobenius(matrix)
    return np.where(sound, norm, np.nan)


def _frobenius(matrix):
    """No less than the norm: what stands for it where there is no time, or no convergence."""
    return length(matrix, (-2, -1))


def _within(stop):
    """The norm on the host, as long as there is time: by SVD, or of large matrices by powers."""

    def norm(matrix):
        if stop():
            return _frobenius(matrix)
        if min(matrix.shape[-2:]) <= BY_SVD:
            return _spectral(matrix)
        # Of zeros there are no powers.
        some = np.any(matrix, axis=(-2, -1))
        matrix = np.where(some[..., None, None], matrix, 1.0)
        return np.where(some, _schatten(matrix, np, MORE_SQUARINGS, stop), 0.0)

    return norm


def _schatten(matrix, xp=jnp, squarings=SQUARINGS, stop: Stop = never):
    """||M|| <= ||(M M')^(2^p)||_F^(1/2^(p+1)): above the norm by n^(1/2^(p+2)) at most.

    Args:
        stop: asked before every squaring; once true, those done count.
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = xp.swapaxes(matrix, -2, -1)
    sizes = [_length(matrix, (-2, -1), xp)]
    # Each square is M M', never M M: ||M M'|| = ||M||^2 even for what rounding has left of M.
    for _ in range(squarings + 1):
        if stop():
            break
        matrix = matrix / sizes[-1][..., None, None]
        matrix = matrix @ xp.swapaxes(matrix, -2, -1)
        sizes.append(_length(matrix, (-2, -1), xp))
    norm = sizes.pop()
    while sizes:
        norm = sizes.pop() * xp.sqrt(norm)
    return norm


def _length(x, axis, xp):
    """Euclidean norm over `axis`; on the device a square too small counts as the least number."""
    if xp is np:
        return length(x, axis)
    squares = x * x + float(xp.finfo(x.dtype).tiny)
    return xp.sqrt(xp.sum(squares, axis=axis))


def _rows(layer, xp):
    """sup |m+.x+ - m-.x-| over the unit ball, exactly, for every row: [..., n_out]."""
    plus, minus = layer[..., 0, :, :], layer[..., -1, :, :]
    up = xp.maximum(xp.maximum(plus, -minus), 0.0)
    down = xp.maximum(xp.maximum(-plus, minus), 0.0)
    return xp.maximum(_length(up, -1, xp), _length(down, -1, xp))


def _gain(layer, norm, xp):
    """sup ||M+ x+ - M- x-|| over the unit ball, from above."""
    plus, minus = layer[..., 0, :, :], layer[..., -1, :, :]
    rows = _rows(layer, xp)
    if plus.shape[-2] == 1:
        gain = rows[..., 0]
    elif layer.shape[-3] == 1:
        gain = norm(plus)
    else:
        # x = x+ - x- and |x| = x+ + x- are as long as the pair (x+, x-).
        zero = xp.zeros_like(plus + minus)
        blocks = (plus, minus), (plus + minus, zero), (plus - minus, zero)
        both, *halves = norm(xp.stack([xp.concatenate(block, axis=-1) for block in blocks]))
        columns = xp.maximum(_length(plus, -2, xp), _length(minus, -2, xp))
        gain = xp.minimum(both, sum(halves) / 2)
        for parts in (rows, columns):
            gain = xp.minimum(gain, _length(parts, -1, xp))
    # Squaring n x n matrices of Frobenius norm 1 loses n^2 u of a norm of 1 / sqrt(n) at least.
    return gain * (1 + SLACK * max(plus.shape[-2:]) ** 2 * float(xp.finfo(layer.dtype).eps))


def _layers(weights, errors):
    """Pairs (W, E) with as many axes, for errors [..., side, n_out, n_in]."""
    like = lambda w, e: w.reshape(*[1] * (e.ndim - 2), *w.shape)
    return [(like(w, e), e) for w, e in zip(weights, errors, strict=True)]


def _on_host(weights, errors, stop):
    """`_bound`, some outputs at a time, as far as there is time: [b]."""
    layers, outputs = _layers(weights, errors), len(weights[-1])
    gain = partial(_gain, norm=_within(stop), xp=np)
    bounds = _telescoped(layers, partial(_gain, norm=_frobenius, xp=np))
    *below, last = _apart(layers, np)
    sizes = weights[0].shape[1], *map(len, weights[:-1])
    bits = next((b for b in range(BITS_ON_HOST, 0, -1) if _work(sizes, b) <= WORK), 0)
    sets = 2 ** _tried(bits, len(sizes) - 1, sizes[-1])
    step = max(1, AT_ONCE // (len(errors[0]) * max(sizes) * sets))
    for first in range(0, outputs, step):
        if stop():
            break
        part = np.s_[:, first : first + step]
        some = [*below, tuple(x[part] for x in last)]
        single = _single(some, gain, np, bits, stop) if bits else averaged(some, gain, np)
        bounds[part] = np.minimum(bounds[part], single + _rounding(some, np))
    bound = together(bounds)
    if outputs > 1 and not stop():
        bound = np.minimum(bound, averaged(layers, gain, np) + _rounding(layers, np))
    return bound


def _tried(bits, hidden, neurons):
    """Neurons of the last hidden layer whose sets are tried: every layer has its share of bits.

    Args:
        hidden: layers.
    """
    return min(-(-bits // hidden), neurons) if hidden else 0


def _work(sizes, bits):
    """Multiplications that one output takes in `_single`, roughly.

    Args:
        sizes: inputs and hidden neurons.
    """
    *below, neurons = sizes
    if not below:
        return neurons
    tried = _tried(bits, len(below), neurons)
    sets = 2**tried
    others = 20 * neurons * below[-1] * min(neurons, below[-1])
    return 6 * (sets + neurons) * neurons * below[-1] + others + sets * _work(below, bits - tried)


def _telescoped(layers, gain):
    """||dh_j|| <= ||C_j|| ||dh_{j-1}|| + ||E_j|| ||h_{j-1}||, and rows in the last: [b, n_out]."""
    size, change = 1.0, 0.0  # of h and dh, [b, 1]
    for w, e in layers[:-1]:
        change = gain(w + e)[..., None] * change + gain(e)[..., None] * size
        size = gain(w)[..., None] * size
    w, e = layers[-1]
    bound = _rows(w + e, np) * change + _rows(e, np) * size
    return bound + _rounding(layers, np)[..., None]


def _bound(weights, errors, norm, xp, bits):
    """The least of the bounds: [...], for errors [..., side, n_out, n_in]."""
    layers = _layers(weights, errors)
    gain = partial(_gain, norm=norm, xp=xp)
    bound = _length(_single(_apart(layers, xp), gain, xp, bits), -1, xp)
    if len(weights[-1]) > 1:
        bound = xp.minimum(bound, averaged(layers, gain, xp))
    return bound + _rounding(layers, xp)


def _rounding(layers, xp):
    """What rounding can do to a bound, the norms apart, that is relative to its terms.

    A bound is a sum of products of one E_j and of W_i or C_i for each other i, some matrices being
    multiplied first. A computed product of l of them is off by about l n u times the product of
    their Frobenius norms.
    """
    product, error, lost, differ = 1.0, 0.0, 1.0, False
    for weights, errors in layers:
        w, e = (_length(x, (-3, -2, -1), xp) for x in (weights, errors))
        error = error * (w + e) + product * e
        product, lost, differ = product * (w + e), lost * (1.0 + w + e), differ | (e > 0.0)
    size = max(max(w.shape[-2:]) for w, _ in layers)
    rounding = error * (SLACK * len(layers) * size * float(xp.finfo(errors.dtype).eps))
    if xp is jnp:
        return rounding  # no length is 0 there, nor is any product
    return rounding + np.where(differ, UNDERFLOW * size ** len(layers) * lost, 0.0)


def averaged(layers, gain, xp):
    """The sum over cuts and over runs, by where the last run starts: the module's first bound.

    A run (i, j] multiplies the layers after i, up to j.
    """

    @cache
    def products(i, j):
        """W, C and C - W of a run."""
        weights, errors = layers[j - 1]
        if i == j - 1:
            return weights, weights + errors, errors
        f, g, change = products(i, j - 1)
        return weights @ f, (weights + errors) @ g, (weights + errors) @ change + errors @ f

    @cache
    def run(which, i, j):
        return gain(products(i, j)[which])

    @cache
    def size(which, j):
        return sum(run(which, i, j) * size(which, i) for i in range(j)) if j else 1.0

    @cache
    def change(above, below, j):
        new = sum(run(CHANGE, i, j) * size(below, i) for i in range(j))
        return new + sum(run(above, i, j) * change(above, below, i) for i in range(1, j))

    depth = len(layers)
    return xp.minimum(change(F, G, depth), change(G, F, depth)) / 2 ** (depth - 1)


def _single(layers, gain, xp, bits, stop: Stop = never):
    """Bounds for one output, by the second line of the module: [...]; if `stop()`, by the first.

    2^bits sets are tried, of the largest D_i; half the sum of the others belongs to every set.
    """
    known = averaged(layers, gain, xp)
    if len(layers) == 1:
        return known
    layers, opposed = _one_sign(layers, gain, xp)
    neurons, lead = layers[-1][0].shape[-1], [1] * (layers[-1][0].ndim - 2)
    table = lambda x: xp.asarray(np.reshape(x, [*lead, *np.shape(x)]), known.dtype)
    whole, changes = (_rows(x, xp) for x in _absorb(layers, table(np.eye(neurons)))[-1])
    # They only set the order and the balance of the neurons, which may not be infinite.
    limits = xp.finfo(known.dtype)
    sizes = changes + whole * float(limits.eps) ** 2 + float(limits.tiny)
    order = xp.argsort(-sizes, axis=-1)
    falling = xp.take(xp.asarray(np.eye(neurons), known.dtype), order, axis=0)[..., None, :, :]

    tried = _tried(bits, len(layers) - 1, neurons)
    codes = np.arange(2**tried)[:, None] >> np.arange(tried) & 1
    sets = np.concatenate([codes, np.full((2**tried, neurons - tried), 0.5)], axis=1)
    bound, step = -xp.inf, max(1, SETS_AT_ONCE // layers[-2][0][..., 0, :, :].size)
    for first in range(0, len(sets), step):
        if stop():
            return known
        some = table(sets[first : first + step])
        apart = _apart(_absorb(layers, some @ falling), xp)
        single = _single(apart, gain, xp, bits - tried, stop)
        bound = xp.maximum(bound, xp.max(single, axis=-1))
    if tried < neurons:
        r = xp.take_along_axis(sizes, order, -1)[..., tried:]
        r = r + xp.mean(r, axis=-1, keepdims=True)
        others = _absorb(layers, falling[..., tried:, :] / r[..., None, :, None])
        scaled = averaged(others, gain, xp) + _rounding(others, xp)
        bound = bound + _length(r, -1, xp) * scaled / 2
    return xp.minimum(known, bound + opposed)


def _one_sign(layers, gain, xp):
    """Make a_i b_i >= 0 by giving up the smaller one where it is not; and what that costs."""
    *below, (inner, inner_errors), (a, errors) = layers
    b = a + errors
    opposed, larger = xp.sign(a) * xp.sign(b) < 0, abs(a) > abs(b)
    kept = xp.where(opposed & ~larger, 0.0, a)
    kept_errors = xp.where(opposed, xp.where(larger, -a, b), errors)
    size = xp.maximum(_rows(inner, xp), _rows(inner + inner_errors, xp))
    for w, e in below:
        size = size * xp.maximum(gain(w), gain(w + e))[..., None]
    smaller = xp.where(opposed, xp.minimum(abs(a), abs(b)), 0.0)[..., 0, 0, :]
    cost = xp.sum(smaller * size, axis=-1)
    return [*below, (inner, inner_errors), (kept, kept_errors)], cost


def _absorb(layers, coefficients):
    """A layer less: sums of the D_i with the coefficients [..., n_out, n], as the outputs."""
    *below, (inner, inner_errors), (a, errors) = layers
    f, g, change = (coefficients * x for x in (a, a + errors, errors))
    return [*below, (f @ inner, g @ inner_errors + change @ inner)]


def _apart(layers, xp):
    """Each output as a network of its own, on a new leading axis: [..., n_out, side, 1, n_in]."""
    *below, last = layers
    wide = [tuple(x[..., None, :, :, :] for x in layer) for layer in below]
    return [*wide, tuple(xp.swapaxes(x, -3, -2)[..., None, :] for x in last)]
