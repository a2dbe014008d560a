"""Which hidden neurons to keep, whole: what is left is c sum over kept j of v_j sigma(w_j.x).

Two strategies with one signature. Both see a network by its second moments alone,

    H_ij = E sigma(w_i.x) sigma(w_j.x),   b_j = E sigma(w_j.x) y,

so that the squared loss of coefficients theta is E y^2 - 2 b.theta + theta.H theta, and both answer
at every width of a grid, of which the network of that width has the first neurons.

    groups   the proof's: every n consecutive neurons are a group and imitate, on average, their
             best coefficients u, |u_j| <= C. With a_j = u_j / C neuron j stays iff v_j has the sign
             of a_j and |v_j| <= sqrt|a_j|. Then E v_j 1{kept} = a_j / 4, and c = 4 C / B with B
             groups makes the mean of their best predictors. Data enters through u alone.
    climb    the practical one: keeps or drops, one after the other, the neuron that lowers the loss
             most under the best c, as long as one does; from nothing and from the proof's choice,
             and the better end counts. Its squared loss is never above that of the proof's choice,
             and nothing more is proved.

Source: Malach, Yehudai, Shalev-Shwartz, Shamir, ICML 2020, arXiv:2002.00585, section 3; the keep
rule and its constants are derived anew (see `theory.features`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

SPLITS = 300  # steps towards the coefficients of a group
STEPS = 160  # neurons that a greedy search keeps or drops, at most


class Moments(NamedTuple):
    """Second moments of k features and the target: [k, k], [k] and []."""

    features: jax.Array
    target: jax.Array
    square: jax.Array


class Kept(NamedTuple):
    """Subnetworks of one network, one a width.

    neurons: whether each is kept, bool [width, k].
    scale: the constant c, [width].
    """

    neurons: jax.Array
    scale: jax.Array


def loss(moments: Moments, theta):
    """Squared loss of coefficients theta [..., k], [...]."""
    H, b, square = moments
    return square - 2.0 * theta @ b + jnp.sum((theta @ H) * theta, axis=-1)


def best_coefficients(moments: Moments, cap):
    r"""argmin of the squared loss over |u_i| <= cap, [n], by the method of multipliers.

    The quadratic form sees one copy of u and the box another, z, and a force s holds them together:

        u = (H + rho)^-1 (b + rho (z - s)),   z = clip(u + s),   s <- s + u - z.

    z converges to a minimum for every rho. One far below the mean of H_ii makes large steps where H
    is nearly singular, and max |b_i| / cap is how fast s must grow where the box is what counts.
    Stopped early, z is as good as any for the proof, only with a larger loss.

    Source: Boyd, Parikh, Chu, Peleato, Eckstein, Foundations and Trends in Machine Learning 2011,
    section 5.2 (quadratic programming).
    """
    H, b, _ = moments
    rho = 0.005 * jnp.mean(jnp.diagonal(H)) + 0.02 * jnp.max(jnp.abs(b)) / cap
    rho = jnp.maximum(rho, jnp.finfo(H.dtype).tiny)  # of a group that nothing activates
    inverse = _inverse(H + rho * jnp.eye(len(b), dtype=H.dtype))

    def split(_, state):
        z, s = state
        u = inverse @ (b + rho * (z - s))
        z = jnp.clip(u + s, -cap, cap)
        return z, s + u - z

    zeros = jnp.zeros_like(b)
    return jax.lax.fori_loop(0, SPLITS, split, (zeros, zeros))[0]


def _inverse(matrix):
    """The inverse of a positive definite [n, n], by Gauss and Jordan.

    Not by LAPACK: calls of it from two devices of one processor may wait for each other for ever.
    """

    def sweep(i, state):
        row, column = state[i] / state[i, i], state[:, i].at[i].set(0.0)
        swept = state - column[:, None] * row[None]
        swept = swept.at[:, i].set(-column / state[i, i])
        return swept.at[i].set(row.at[i].set(1.0 / state[i, i]))

    return jax.lax.fori_loop(0, len(matrix), sweep, matrix)


def groups(moments: Moments, output, widths, count: int, cap) -> Kept:
    """The proof's choice: every group of `count` neurons imitates its own best coefficients.

    Args:
        output: v, [k].
        widths: int [width], each at most k; neurons beyond the last whole group are dropped.
        count: n, neurons of a group.
        cap: C, bound on the coefficients.
    """
    whole = len(output) // count
    here = jnp.arange(whole)
    blocks = moments.features[: whole * count, : whole * count]
    blocks = blocks.reshape(whole, count, whole, count)[here, :, here, :]
    along = moments.target[: whole * count].reshape(whole, count)
    solve = lambda H, b: best_coefficients(Moments(H, b, moments.square), cap)
    wanted = jax.vmap(solve)(blocks, along).ravel() / cap
    wanted = jnp.pad(wanted, (0, len(output) - whole * count))
    kept = (output * wanted > 0.0) & (jnp.abs(output) <= jnp.sqrt(jnp.abs(wanted)))
    complete = widths // count
    first = jnp.arange(len(output))[None] < (complete * count)[:, None]
    return Kept(first & kept[None], 4.0 * cap / jnp.maximum(complete, 1).astype(output.dtype))


def climb(moments: Moments, output, widths, count: int, cap) -> Kept:
    """The better of two ascents, from nothing and from `groups`; arguments as there.

    Of kept neurons with along = theta.b and square = theta.H theta, theta = v where kept, the best
    c is along / square, and the loss is E y^2 - along^2 / square.
    """
    proved = groups(moments, output, widths, count, cap).neurons
    starts = jnp.stack([jnp.zeros_like(proved), proved])
    open_to = jnp.arange(len(output))[None] < widths[:, None]
    one = lambda start, open_to: _ascend(moments, output, start, open_to)
    kept, scale, gain = jax.vmap(jax.vmap(one), (0, None))(starts, open_to)
    best = jnp.argmax(gain, axis=0), jnp.arange(len(widths))
    return Kept(kept[best], scale[best])


def _ascend(moments, output, start, open_to):
    """Neurons kept, c and gain along^2 / square at a local maximum, or after `STEPS` steps."""
    H, b, _ = moments
    own, here = output**2 * jnp.diagonal(H), jnp.arange(len(b))
    tiny = jnp.finfo(H.dtype).eps * jnp.max(own)  # a smaller square is rounding

    def gain(along, square):
        return jnp.where((along > 0.0) & (square > tiny), along**2 / jnp.maximum(square, tiny), 0.0)

    def toggle(_, state):
        kept, field, along, square = state  # field = H theta
        change = jnp.where(kept, -output, output)
        alongs = along + change * b
        squares = square + 2.0 * change * field + own
        gains = jnp.where(open_to, gain(alongs, squares), 0.0)
        best = jnp.argmax(gains)
        better = gains[best] > gain(along, square) * (1.0 + 1e-5)
        return (
            kept ^ (better & (here == best)),
            field + jnp.where(better, change[best], 0.0) * H[best],
            jnp.where(better, alongs[best], along),
            jnp.where(better, squares[best], square),
        )

    theta = jnp.where(start, output, 0.0)
    field = H @ theta
    kept, _, along, square = jax.lax.fori_loop(
        0, STEPS, toggle, (start, field, theta @ b, theta @ field)
    )
    return (
        kept,
        jnp.where(square > tiny, along / jnp.maximum(square, tiny), 0.0),
        gain(along, square),
    )
