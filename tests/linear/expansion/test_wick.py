from fractions import Fraction
from math import prod

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
