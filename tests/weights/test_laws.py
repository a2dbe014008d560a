"""Laws of weights: what is drawn, what is known of products, and laws that are none."""

import numpy as np
import pytest
from scipy import integrate, special, stats

import ltjax
from ltjax.errors import InputError
from ltjax.experiments.own.checks import DRAWS, ERROR_RATE
from ltjax.testing import check_law
from ltjax.theory import product
from ltjax.weights import draws, laws, redraw
from ltjax.weights.laws import HOST, Gaussian, Hyperbolic, Law, Sign, Uniform

LAWS = (Uniform(), Uniform(2.0), Uniform(1.7), Gaussian(), Sign(), Hyperbolic())
WORDS = np.arange(0, 2**32, 2**20 + 7, dtype=np.uint32)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_every_law_that_is_shipped_keeps_its_promises(law):
    check_law(law)


def test_uniform_weights_are_those_of_every_other_experiment():
    np.testing.assert_array_equal(laws.drawn(Uniform(), WORDS, HOST), draws.uniform(WORDS))
    neurons = np.arange(50)
    plain = redraw.random_layer(3, [0, 5], neurons, 4, 2)
    scaled = redraw.random_layer(3, [0, 5], neurons, 4, 2, law=Uniform(2.0))
    for one, other in zip(plain, scaled, strict=True):
        np.testing.assert_array_equal(2.0 * one, other)


@pytest.mark.parametrize(
    ("law", "cdf"),
    [
        (Uniform(), stats.uniform(-1, 2).cdf),
        (Uniform(1.7), stats.uniform(-1.7, 3.4).cdf),
        (Gaussian(), stats.norm(0, 3**-0.5).cdf),
        (Hyperbolic(), lambda w: 0.5 + 0.5 * np.sign(w) * (1 + np.log(np.abs(w)) / np.log(100))),
    ],
    ids=lambda case: getattr(case, "name", ""),
)
def test_weights_have_the_law_they_are_said_to_have(law, cdf):
    u = (np.arange(-(2**12), 2**12) + 0.5) / 2**12
    np.testing.assert_allclose(cdf(law.quantile(u, HOST)), 0.5 + 0.5 * u, atol=1e-12)


@pytest.mark.parametrize("z", [1e-6, 0.01, 0.3, 0.9])
@pytest.mark.parametrize(
    ("law", "density"),
    [
        (Uniform(), lambda z: -np.log(z) / 2),
        (Uniform(1.7), lambda z: -np.log(z / 1.7**2) / 2 / 1.7**2),
        (Gaussian(), lambda z: 3 * special.k0(3 * z) / np.pi),
    ],
    ids=lambda case: getattr(case, "name", ""),
)
def test_product_laws_are_integrals_of_their_densities(law, density, z):
    found, _ = integrate.quad(density, 0.0, z, limit=200)
    assert law.product_cdf(z) == pytest.approx(0.5 + found, rel=1e-8)
    assert law.product_cdf(-z) == pytest.approx(0.5 - found, abs=1e-9)


def test_the_match_probability_of_the_paper_is_that_of_theory():
    t, eta = np.array([0.05, 0.3, 0.9, 1.0])[:, None], np.array([0.01, 0.2])
    np.testing.assert_allclose(
        Uniform().match_probability(t, eta), product.match_probability(t, eta), rtol=1e-9
    )


def test_a_product_is_off_by_no_more_than_is_said():
    for law in LAWS:
        w = np.asarray(law.quantile(draws.uniform(WORDS).astype(np.float64), HOST))
        off = np.random.default_rng(0).uniform(-1, 1, (2, len(w))) * law.rounding
        a, b = (w + off[0]).astype(np.float32), (w[::-1] + off[1]).astype(np.float32)
        products = (a * b).astype(np.float64)
        # Casting to float32 may double the rounding of a weight that is exact in no float32.
        slack = law.product_rounding + 2 * law.largest**2 * 2.0**-24
        assert np.max(np.abs(products - w * w[::-1])) <= slack


# Laws that are none.


class Lopsided(Law):
    rounding = 0.0

    def quantile(self, u, special):
        return special.where(u > 0, u, 2.0 * u)


class Falling(Law):
    rounding = 1e-3

    def quantile(self, u, special):
        return special.sign(u) * (1.5 - special.abs(u))


class Endless(Law):
    rounding = 1e-3

    def quantile(self, u, special):
        return u / (1.0 - special.abs(u) - 2.0**-24)


class Shifted(Law):
    rounding = 0.0

    def quantile(self, u, special):
        return u - 0.1 * special.sign(u) * (special.abs(u) < 0.3)


class Careless(Gaussian):
    rounding = 1e-5


class Unsaid(Law):
    def quantile(self, u, special):
        return u


class Believed(Gaussian):
    """Claims the product law of another."""

    def product_cdf(self, z):
        return Uniform().product_cdf(z)


@pytest.mark.parametrize(
    ("law", "reason"),
    [
        (Lopsided(), r"be symmetric about 0"),
        (Falling(), r"quantile that rises"),
        (Endless(), r"finite quantile"),
        (Shifted(), r"sign of u, got -0\.09+ at u"),
        (Careless(), r"at most its rounding 1e-05 in float32, got 1\.\d+e-05"),
        (Unsaid(), r"rounding of at least 0"),
        (Believed(), r"product_cdf of its products, got one that is off by 0\.\d+"),
    ],
    ids=lambda case: getattr(case, "name", ""),
)
def test_a_law_that_is_none_is_refused_in_one_line(law, reason):
    with pytest.raises(InputError, match=reason) as caught:
        check_law(law)
    assert "\n" not in str(caught.value)


def test_a_wrong_product_law_is_seen():
    # At U[-1, 1] against U[-1.1, 1.1] the check has power: their laws differ by more than twice
    # what it allows, so that a miss has a probability below the error rate, too.
    z = np.linspace(-1, 1, 2001)
    apart = np.max(np.abs(Uniform().product_cdf(z) - Uniform(1.1).product_cdf(z)))
    allowed = (np.log(2 / ERROR_RATE) / (2 * DRAWS)) ** 0.5
    assert apart > 2 * allowed


# Names and texts.


def test_a_parameter_makes_another_law():
    assert Uniform(2.0).source != Uniform().source != Gaussian().source
    assert (Uniform().name, Uniform(2.0).name) == ("uniform", "uniform_2")
    assert laws.is_paper(Uniform())
    assert laws.is_paper("uniform")
    assert not laws.is_paper(Uniform(2.0))
    assert not laws.is_paper(Gaussian())


def test_two_texts_of_one_name_are_refused(monkeypatch):
    monkeypatch.setattr(laws, "_own", {})

    class Mine(Law):
        rounding = 0.0

        def quantile(self, u, special):
            return u

    class Other(Law):
        rounding = 0.0

        def quantile(self, u, special):
            return 0.5 * u

    Other.__name__ = "Mine"
    laws.register(Mine())
    laws.register(Mine())
    with pytest.raises(InputError, match=r"law mine must be defined once"):
        laws.register(Other())


@pytest.mark.parametrize("a", [0.0, -1.0, np.nan, 17.0])
def test_a_support_is_positive(a):
    with pytest.raises(InputError, match=r"a must be above 0"):
        ltjax.Uniform(a)
