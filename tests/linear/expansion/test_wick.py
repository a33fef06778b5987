from fractions import Fraction
from math import prod

import numpy as np
import pytest

from aetheory.linear import expansion
from aetheory.linear.expansion.wick import SAMPLES, WEIGHTS, expected_risk_derivative, integrate_out
from aetheory.linear.expansion.words import risk_derivative

RISKS = ("train", "population")


@pytest.mark.parametrize(
    ("risk", "values"),
    [("train", ("4.075", "-162.585", "19109.31075")), ("population", ("4.075", "-94.14", "8199.72"))],
)
def test_check_values_of_the_loss(risk, values):
    for order, value in enumerate(values):
        loss = expansion.coefficients(order, risk).loss
        assert loss(5, 3, Fraction(3, 10), Fraction(1, 4)) == Fraction(value)


@pytest.mark.parametrize(
    ("risk", "values"),
    [
        ("train", ("4.075", "-182.272275", "25886.534411", "-7068919.888586")),
        ("population", ("4.075", "-108.4761", "11595.555675", "-2565927.237999")),
    ],
)
def test_check_values_of_the_loss_for_any_covariance(risk, values):
    """At τ = (2, 1.2, .9, .6, .3), to the digits of an independent program; Monte Carlo of 4·10⁵ draws agrees."""
    variances = [Fraction(value, 10) for value in (20, 12, 9, 6, 3)]
    for order, value in enumerate(values):
        moments = [sum(variance**k for variance in variances) / 5 for k in range(1, order + 2)]
        loss = expansion.coefficients(order, risk, any_covariance=True).loss
        assert float(loss(5, 3, Fraction(3, 10), Fraction(1, 4), *moments)) == pytest.approx(float(value), abs=6e-7)


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("order", range(5))
def test_equal_variances_are_the_isotropic_coefficient(order, risk):
    merged = {}
    for exponents, value in expansion.coefficients(order, risk, any_covariance=True).polynomial.terms:
        merged[exponents[:4]] = merged.get(exponents[:4], 0) + value
    kept = {exponents: value for exponents, value in merged.items() if value}
    assert kept == dict(expansion.coefficients(order, risk).polynomial.terms)


def test_population_loss_at_initialisation():
    # ½p − pHσ² + ½(p²H + pH² + pH)σ⁴
    half = Fraction(1, 2)
    assert dict(expansion.coefficients(0, "population").loss.terms) == {
        (1, 0, 0, 0): half,
        (1, 1, 1, 0): -1,
        (2, 1, 2, 0): half,
        (1, 2, 2, 0): half,
        (1, 1, 2, 0): half,
    }


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("order", [0, 1, 2, 3, 5])
def test_one_input_dimension_exactly(order, risk):
    # p = 1: Ṁ = −4S(M² − M), and M/σ², NS are independent chi-squared variables of H and N degrees of freedom.
    H, N, variance = 3, 5, Fraction(2, 7)
    powers = {0: 1, 1: -2, 2: 1}  # (M − 1)²
    for _ in range(order):
        derivative = {}
        for m, c in powers.items():
            derivative[m + 1] = derivative.get(m + 1, 0) - 4 * m * c
            derivative[m] = derivative.get(m, 0) + 4 * m * c
        powers = derivative
    samples = order + (risk == "train")
    data = Fraction(prod(N + 2 * i for i in range(samples)), N**samples)
    exact = data * sum(c * variance**m * prod(H + 2 * i for i in range(m)) for m, c in powers.items())
    assert expected_risk_derivative(order, risk)(1, H, variance, Fraction(1, N)) == exact


@pytest.mark.parametrize("risk", RISKS)
def test_the_order_of_integration_does_not_matter(risk):
    expression = {(word,): {1: coefficient} for word, coefficient in risk_derivative(4, risk).items()}
    samples_first = integrate_out(integrate_out(expression, SAMPLES), WEIGHTS)
    assert integrate_out(integrate_out(expression, WEIGHTS), SAMPLES) == samples_first


@pytest.mark.parametrize(("p", "H", "N", "variance"), [(2, 4, 3, 0.15), (6, 2, 8, 0.1)])
def test_monte_carlo(p, H, N, variance, flow_series, quadratic_series):
    # The variances are small enough for averages of 2·10⁵ draws of these high powers to be near Gaussian.
    draws, order = 200_000, 3
    rng = np.random.default_rng(0)
    sums = np.zeros((2, 2, order + 1))
    for _ in range(10):
        W = rng.normal(0, np.sqrt(variance), (draws // 10, p, H))
        X = rng.normal(size=(draws // 10, p, N))
        S = X @ X.swapaxes(1, 2) / N
        terms = flow_series(W @ W.swapaxes(1, 2), S, order)
        for place, data in enumerate((S, np.eye(p))):
            for s, term in enumerate(quadratic_series(terms, data)):
                values = np.trace(term, axis1=1, axis2=2) / p * prod(range(1, s + 1))
                sums[0, place, s] += values.sum()
                sums[1, place, s] += (values**2).sum()
    mean = sums[0] / draws
    error = np.sqrt((sums[1] / draws - mean**2) / draws)
    exact = [
        [float(expansion.coefficients(s, risk).polynomial(p, H, variance, 1 / N)) for s in range(order + 1)]
        for risk in RISKS
    ]
    assert np.all(np.abs(mean - exact) < 4 * error)
    assert np.all(error[:, :2] < 0.05 * np.abs(np.array(exact)[:, :2]))
