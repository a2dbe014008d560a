"""What a law and a mask rule must keep to, tried: before every run, and by `ltjax.testing`."""

import math

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np

from ltjax.errors import InputError
from ltjax.masks.rules import MaskRule
from ltjax.system import devices
from ltjax.weights.laws import HOST, Functions, Law

DEVICE = Functions(jnp, jax.scipy.special)  # in float32
DRAWS = 2**16  # of a law; of products half as many
ERROR_RATE = 1e-6  # with which a right product law is refused
ENDS = 2**12  # where quantiles are steep
SIZES = (1, 2, 5, 16)  # neurons of a slot


@devices.own_settings()
def check_law(law: Law) -> None:
    """Hold a law to its promises over DRAWS words, and the ENDS largest and smallest.

    Raises:
        InputError: `rounding` is no bound, or `quantile` is not odd, rising, finite and without 0,
            or further off in float32 than `rounding`, or `product_cdf` is not that of a product.
    """
    named = f"law {law.name} must"
    if not 0.0 <= float(getattr(law, "rounding", math.nan)) < 1.0:
        raise InputError(f"{named} have a rounding of at least 0 and below 1, got none such.")
    random = np.random.default_rng(0)
    number = np.append(random.integers(0, 2**23, DRAWS), np.arange(ENDS))
    u = np.sort(2 * np.append(number, 2**23 - 1 - np.arange(ENDS)) + 1) / 2.0**24
    with np.errstate(all="ignore"):  # what is not finite is told below
        host = np.asarray(law.quantile(u, HOST), np.float64)
    if host.shape != u.shape or not np.all(np.isfinite(host)):
        raise InputError(f"{named} have a finite quantile at every u in (-1, 1), got another.")
    if not np.all(host > 0.0):
        at = u[np.argmin(host > 0.0)]
        raise InputError(f"{named} give a weight the sign of u, got {host.min():g} at u = {at:g}.")
    if np.any(np.diff(host) < 0.0):
        raise InputError(f"{named} have a quantile that rises, got one that falls.")
    mirrored = np.asarray(law.quantile(-u, HOST), np.float64)
    if not np.allclose(mirrored, -host, rtol=1e-12, atol=0.0):
        raise InputError(f"{named} be symmetric about 0: quantile(-u) = -quantile(u), got another.")
    both = np.concatenate([-u[::-1], u])
    device = np.asarray(jax.jit(lambda u: law.quantile(u, DEVICE))(np.float32(both)))
    exact = np.concatenate([mirrored[::-1], host])
    off = np.max(np.abs(device.astype(np.float64) - exact))
    if device.dtype != np.float32 or not off <= law.rounding:
        raise InputError(
            f"{named} be off by at most its rounding {law.rounding:g} in float32, got {off:.3g}."
        )
    if not np.all(np.sign(device) == np.sign(both)):
        raise InputError(f"{named} give a weight the sign of u in float32, got another.")
    if law.product_cdf is not None:
        _check_product(law, random, named)


def _check_product(law: Law, random, named: str) -> None:
    """Products of draws against their law, by the inequality of Dvoretzky, Kiefer and Wolfowitz."""
    words = (2 * random.integers(-(2**23), 2**23, (2, DRAWS)) + 1) / 2.0**24
    a, w = np.asarray(law.quantile(words, HOST), np.float64)
    z = np.sort(a * w)
    values, first = np.unique(z, return_index=True)
    assert law.product_cdf is not None
    cdf = np.asarray(law.product_cdf(values), np.float64)
    through = np.append(first[1:], len(z)) / len(z)
    below = np.asarray(law.product_cdf(np.nextafter(values, -np.inf)), np.float64)
    off = max(np.max(np.abs(cdf - through)), np.max(np.abs(below - first / len(z))))
    most = math.sqrt(math.log(2.0 / ERROR_RATE) / (2.0 * len(z)))
    if not off <= most:
        raise InputError(
            f"{named} have the product_cdf of its products, got one that is off by {off:.3g}, "
            f"more than {most:.3g} over {len(z):,} draws."
        )


@devices.own_settings()
def check_rule(rule: MaskRule) -> None:
    """Hold a mask rule to its contract on slots of SIZES, open, closed in part and closed.

    Raises:
        InputError: it cannot be compiled, gives anything but bool [m], keeps a closed neuron, or
            keeps something else beside other slots, or another time.
    """
    named, crowd = f"rule {rule.name} must", jax.vmap(rule)
    random = np.random.default_rng(1)
    for m in SIZES:
        products = random.uniform(-1.0, 1.0, (24, m)).astype(np.float32)
        products[random.random((24, m)) < 0.3] = np.inf
        products[0] = np.inf
        targets = random.uniform(-1.0, 1.0, 24).astype(np.float32)
        many = _called(crowd, products, targets, named)
        if many.dtype != bool or many.shape != products.shape:
            raise InputError(
                f"{named} give bool [m], got {many.dtype} of shape {list(many.shape[1:])}."
            )
        if np.any(many & np.isinf(products)):
            raise InputError(f"{named} keep open neurons alone, got one that is closed.")
        alone = [_called(rule, products[n], targets[n], named) for n in range(len(targets))]
        again = _called(crowd, products[::-1], targets[::-1], named)[::-1]
        if not (np.array_equal(many, alone) and np.array_equal(many, again)):
            raise InputError(f"{named} depend on its slot alone, got another mask beside others.")


def _called(function, products, targets, named: str) -> np.ndarray:
    """What a rule gives, compiled; `InputError` where it cannot be."""
    try:
        return np.asarray(jax.jit(function)(jnp.asarray(products), jnp.asarray(targets)))
    except Exception as error:  # whatever a user's function may do
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{named} be a function that jax can compile, got {reason}") from None
