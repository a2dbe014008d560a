"""A law of weights and a mask rule of one's own: all that a user writes."""

import jax.numpy as jnp
import numpy as np
import scipy.special

import ltjax


class Gaussian(ltjax.Law):
    """N(0, 1/3): of the variance of U[-1, 1]."""

    rounding = 2e-5

    def quantile(self, u, special):
        return (2 / 3) ** 0.5 * special.erfinv(u)

    def product_cdf(self, z):
        return 0.5 + np.sign(z) * scipy.special.iti0k0(3 * np.abs(z))[1] / np.pi


@ltjax.mask_rule
def pairs(products, target):
    """The one or two neurons whose sum is nearest to the target."""
    two = products[:, None] + jnp.where(jnp.eye(len(products)) > 0, 0.0, products)
    i, j = jnp.unravel_index(jnp.argmin(jnp.abs(two - target)), two.shape)
    at = jnp.arange(len(products))
    return ((at == i) | (at == j)) & (jnp.abs(two[i, j] - target) < jnp.abs(target))
