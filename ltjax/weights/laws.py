r"""Laws of weights: how a uniform word becomes a weight, and what is known of a product of two.

A law is symmetric about 0 and is drawn by its quantile function: the word of an address gives u, an
odd multiple of 2^-24 in (-1, 1), and the weight is quantile(u), on the device in float32 and on the
host in float64. So every weight keeps its address, and there is a largest one.

    class Laplace(ltjax.Law):
        rounding = 1e-5
        def quantile(self, u, special):
            return -0.4 * special.sign(u) * special.log1p(-special.abs(u))

A user's own law is found by its name, which is that of the class in small letters; it takes the
place of one of ours. A record holds the name and `source`, a digest of the text of the class: what
is counted under one text is never gone on with under another.
"""

import hashlib
import inspect
import math
import textwrap
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from scipy import special as scipy_special

from ltjax.errors import InputError
from ltjax.weights import draws

LARGEST_WORD = 1.0 - 2.0**-24  # of u
SINGLE = 2.0**-24  # what float32 rounds by, relative


class Law:
    """The law of one weight. Subclass it, and define `quantile`.

    rounding: by how much a weight of the device may be off, absolutely; checked before every run,
        and by `ltjax.testing.check_law` over many thousands of draws.
    """

    rounding: ClassVar[float]

    def quantile(self, u, special):
        """The weight of u in (-1, 1): odd, increasing and finite.

        Args:
            u: odd multiples of 2^-24, any shape; float32 on the device, float64 on the host.
            special: functions of arrays by their names in numpy and scipy.special: `abs`, `sign`,
                `exp`, `log1p`, `erfinv`, `ndtri` and the like, in numpy or in jax.
        """
        raise NotImplementedError

    product_cdf: Callable[[Any], np.ndarray] | None = None
    # P(A W <= z) for independent A and W of this law, where it is known: a method of z, float64.

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def source(self) -> str:
        """A digest of the text of the class, and of the parameters of this law."""
        parameters = ",".join(f"{name}={value!r}" for name, value in sorted(vars(self).items()))
        return digest(type(self), parameters)

    @property
    def largest(self) -> float:
        """The largest weight that can be drawn."""
        return float(self.quantile(np.float64(LARGEST_WORD), HOST)) + self.rounding

    @property
    def product_rounding(self) -> float:
        """By how much a product of two weights of the device, in float32, may be off.

        With weights a and w off by r at most and M the largest, a w is off by 2 M r + r^2, and the
        product is rounded once.
        """
        size, r = self.largest, self.rounding
        return 2.0 * size * r + r * r + SINGLE * size * size

    def match_probability(self, weight, eta) -> np.ndarray:
        """P(sign W = s, |A W - t| <= eta), t = |weight|: the same for both sides s, by symmetry."""
        assert self.product_cdf is not None, "a law without a product law matches nothing"
        t, eta = np.abs(np.asarray(weight, np.float64)), np.asarray(eta, np.float64)
        return np.asarray(0.5 * (self.product_cdf(t + eta) - self.product_cdf(t - eta)))


class Functions:
    """What `quantile` may use: each function is that of the first module which has it."""

    def __init__(self, *modules: Any) -> None:
        self._modules = modules

    def __getattr__(self, name: str) -> Callable:
        for module in self._modules:
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"no function {name} of arrays is known.")


HOST = Functions(np, scipy_special)  # in float64


class Uniform(Law):
    """U[-a, a]; with a = 1, the law of the paper. Density -ln|z / a^2| / (2 a^2) of a product.

    Only powers of two scale without rounding; of others a weight is off by an ulp at most.
    """

    def __init__(self, a: float = 1.0) -> None:
        if not 0.0 < a <= 16.0:
            raise InputError(f"a must be above 0 and at most 16, got {a:g}.")
        self.a = float(a)

    @property
    def rounding(self) -> float:  # type: ignore[override]
        return 0.0 if math.frexp(self.a)[0] == 0.5 else self.a * 2.0**-23

    @property
    def name(self) -> str:
        return "uniform" if self.a == 1.0 else f"uniform_{self.a:g}"

    def quantile(self, u, special):
        return self.a * u

    def product_cdf(self, z):
        z = np.clip(np.asarray(z, np.float64) / self.a**2, -1.0, 1.0)
        return 0.5 + 0.5 * (z - scipy_special.xlogy(z, np.abs(z)))


class Gaussian(Law):
    """N(0, 1/3), of the variance of U[-1, 1]. Density 3 K_0(3 |z|) / pi of a product."""

    rounding = 2e-5  # erfinv of jax in float32, at the largest words

    def quantile(self, u, special):
        return (2.0 / 3.0) ** 0.5 * special.erfinv(u)

    def product_cdf(self, z):
        z = np.asarray(z, np.float64)
        # iti0k0 integrates K_0 from 0; beyond 700 nothing is left of it.
        reached = scipy_special.iti0k0(np.minimum(3.0 * np.abs(z), 700.0))[1]
        return 0.5 + np.sign(z) * reached / np.pi


class Sign(Law):
    """+1 or -1: only products +1 and -1 occur."""

    rounding = 0.0

    def quantile(self, u, special):
        return special.sign(u)

    def product_cdf(self, z):
        z = np.asarray(z, np.float64)
        return 0.5 * (z >= -1.0) + 0.5 * (z >= 1.0)


class Hyperbolic(Law):
    r"""Density 1 / (2 |w| ln(1 / c)) on c <= |w| <= 1, c = 1/100: log-uniform in size.

    Used in the literature on subset sums, as a product of two is then nearly hyperbolic again: with
    S = -ln|A| - ln|W|, a sum of two uniforms on [0, L], L = ln(1 / c), the triangular law gives
    P(|Z| <= z) = 1 - F_S(-ln z).
    """

    rounding = 1e-6

    def quantile(self, u, special):
        return special.sign(u) * special.exp((special.abs(u) - 1.0) * math.log(100.0))

    def product_cdf(self, z):
        z, size = np.asarray(z, np.float64), math.log(100.0)
        with np.errstate(divide="ignore"):
            s = np.clip(-np.log(np.abs(z)), 0.0, 2.0 * size) / size
        smaller = np.where(s < 1.0, 1.0 - s * s / 2.0, (2.0 - s) ** 2 / 2.0)
        return 0.5 + 0.5 * np.sign(z) * smaller


SHIPPED: dict[str, Law] = {law.name: law for law in (Uniform(), Gaussian(), Sign(), Hyperbolic())}
_own: dict[str, Law] = {}


def register(law: Law) -> Law:
    """Make a law known by its name; `InputError` where another text has taken that already."""
    known = _own.get(law.name)
    if known is not None and known.source != law.source:
        raise InputError(f"law {law.name} must be defined once, got two that differ.")
    if found(law.name, law.source) is None:
        _own[law.name] = law
    return law


def known() -> dict[str, Law]:
    """All laws at hand, by name; a user's before ours."""
    return SHIPPED | _own


def is_paper(law: Law | str | None) -> bool:
    """Whether this is U[-1, 1], of which the search is fused with the draws."""
    if isinstance(law, str):
        return law == "uniform" and "uniform" not in _own
    return law is None or (type(law) is Uniform and law.a == 1.0)


def named(name: str) -> Law:
    """The law of a name, or `InputError`."""
    if name not in known():
        raise InputError(f"law must be one of {', '.join(known())}, got {name}.")
    return known()[name]


def found(name: str, source: str) -> Law | None:
    """The law of this name and text; None where it is not at hand."""
    for laws in (_own, SHIPPED):
        if name in laws and laws[name].source == source:
            return laws[name]
    return None


def digest(thing: type | Callable, parameters: str = "") -> str:
    """Eight hex digits for the text of a class or function, and for parameters."""
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError):
        raise InputError(
            f"{thing.__name__} must be defined in a file or a cell, whose text a record names."
        ) from None
    lines = (line.rstrip() for line in textwrap.dedent(text).splitlines())
    whole = "\n".join([*filter(None, lines), parameters])
    return hashlib.sha256(whole.encode()).hexdigest()[:8]


def drawn(law: Law, word, special: Functions):
    """Weights of words: in float64 by the functions of `HOST`, in float32 by those of a device."""
    u = draws.uniform(word)
    return law.quantile(u.astype(np.float64) if special is HOST else u, special)
