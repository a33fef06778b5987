from fractions import Fraction
from math import factorial

import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

from aetheory.linear import expansion

RISKS = ("train", "population")


def evaluate(coefficient, x, y, z):
    return float(coefficient.polynomial(x, y, z))


def allowed(coefficient, x, y, z):
    """What rounding may put between two sums of these monomials, or of the words of 24 × 24 matrices behind them."""
    terms = coefficient.polynomial.terms
    size = sum(abs(value) * x**m * y**n * z**j for (m, n, j), value in terms)
    return rounding(jnp.float64, terms=24 * 8 * max(len(terms), 1), size=size)


@pytest.mark.parametrize("risk", RISKS)
@pytest.mark.parametrize("order", range(6))
def test_planar_limit_is_the_leading_part_of_the_exact_coefficient(order, risk):
    # p^a H^b σ^{2m} N^{−c} = xᵐ yᵇ zᶜ p^{a+b−m−c}
    exact = expansion.coefficients(order, risk).polynomial.terms
    assert all(a + b <= m + c for (a, b, m, c), _ in exact)
    leading = {(m, b, c): value for (a, b, m, c), value in exact if a + b == m + c}
    assert leading == dict(expansion.planar(order, risk).polynomial.terms)


@pytest.mark.slow
@pytest.mark.parametrize(("order", "risk"), [(9, "train"), (10, "population")])
def test_planar_limit_at_the_highest_orders(order, risk):
    exact = expansion.coefficients(order, risk).polynomial.terms
    leading = {(m, b, c): value for (a, b, m, c), value in exact if a + b == m + c}
    assert leading == dict(expansion.planar(order, risk).polynomial.terms)


@pytest.mark.parametrize("risk", RISKS)
def test_large_data_face_is_the_flow_without_noise(risk, flow_series, quadratic_series, free_poisson):
    x, y, order = 0.6, 0.7, 7
    M = free_poisson(y, x, 24)
    terms = quadratic_series(flow_series(M, np.eye(24), order), np.eye(24))
    for s, term in enumerate(terms):
        coefficient = expansion.planar(s, risk).restrict("large-data")
        assert evaluate(coefficient, x, y, 123.0) == pytest.approx(
            term[0, 0] * factorial(s), abs=allowed(coefficient, x, y, 123.0)
        )


@pytest.mark.parametrize("risk", RISKS)
def test_mean_field_face_is_the_flow_from_a_multiple_of_the_identity(risk, flow_series, quadratic_series, free_poisson):
    c, z, order, size = 0.6, 1.3, 6, 24
    S = free_poisson(1 / z, z, size)
    terms = quadratic_series(flow_series(c * np.eye(size), S, order), S if risk == "train" else np.eye(size))
    for s, term in enumerate(terms):
        coefficient = expansion.planar(s, risk).restrict("mean-field")
        assert evaluate(coefficient, c / 5, 5.0, z) == pytest.approx(
            term[0, 0] * factorial(s), abs=allowed(coefficient, c / 5, 5.0, z)
        )


@pytest.mark.parametrize("risk", RISKS)
def test_narrow_latent_face_is_the_flow_of_one_column(risk, flow_series, free_poisson):
    x, z, order = 0.6, 0.8, 6
    nodes, vectors = np.linalg.eigh(free_poisson(1 / z, z, 24))
    column = np.sqrt(x) * np.abs(vectors[0])
    S = np.diag(nodes)
    M = flow_series(np.outer(column, column), S, order)
    A = S if risk == "train" else np.eye(24)
    for s in range(order + 1):
        moment = np.trace(sum(M[i] @ A @ M[s - i] for i in range(s + 1))) - 2 * np.trace(A @ M[s])
        coefficient = expansion.planar(s, risk).restrict("narrow-latent")
        constant = 1.0 if s == 0 else 0.0
        assert evaluate(coefficient, x, 0.25, z) == pytest.approx(
            constant + 0.25 * moment * factorial(s), abs=allowed(coefficient, x, 0.25, z)
        )


def test_small_data_face_is_the_flow_of_one_sample(flow_series, quadratic_series, free_poisson):
    x, y, z, order, size = 0.6, 0.7, 50.0, 6, 24
    S = np.zeros((size, size))
    S[0, 0] = 1.0
    M = flow_series(free_poisson(y, x, size), S, order + 1)
    train = [term[0, 0] * factorial(s) for s, term in enumerate(quadratic_series(M, np.eye(size)))]
    # R(τ) − R(0) = −(8/z)∫₀^τ (m₃ − 2m₂ + m₁) = −(8/z)∫₀^τ vᵀ(M − I)M(M − I)v
    target = [M[0] - np.eye(size), *M[1:]]
    for s in range(order + 1):
        face = expansion.planar(s, "train").restrict("small-data")
        assert evaluate(face, x, y, z) == pytest.approx(train[s] * z**s, abs=allowed(face, x, y, z))
        integrand = sum(
            (target[i] @ M[j] @ target[s - i - j])[0, 0] for i in range(s + 1) for j in range(s + 1 - i)
        ) * factorial(s)
        face = expansion.planar(s + 1, "population").restrict("small-data")
        assert evaluate(face, x, y, z) == pytest.approx(-8 * integrand * z**s, abs=allowed(face, x, y, z))


def test_vertices_and_edges_in_closed_form(free_poisson):
    x, y, z = 0.4, 0.6, 0.9
    s_nodes, s_vectors = np.linalg.eigh(free_poisson(1 / z, z, 24))
    s_weights = s_vectors[0] ** 2
    m_nodes, m_vectors = np.linalg.eigh(free_poisson(y, x, 24))
    for k in range(6):
        # Free and large-data: λ → λ/(1+4λt) on the law of M(0).
        edge = expansion.planar(k).restrict("free", "large-data")
        exact = np.sum(m_vectors[0] ** 2 * m_nodes**2 * (-4 * m_nodes) ** k) * (k + 1) * factorial(k)
        assert evaluate(edge, x, y, z) == pytest.approx(exact, abs=allowed(edge, x, y, z))
        # Free and mean-field: μ_s = c/(1+4sct).
        edge = expansion.planar(k).restrict("free").restrict("mean-field")
        exact = np.sum(s_weights * s_nodes * (x * y) ** 2 * (-4 * s_nodes * x * y) ** k) * (k + 1) * factorial(k)
        assert evaluate(edge, x, y, z) == pytest.approx(exact, abs=allowed(edge, x, y, z))
        # Mean-field and narrow-latent, small weights: every mode grows as e^{4st}.
        edge = expansion.planar(k).restrict("mean-field", "narrow-latent")
        exact = -2 * x * y * np.sum(s_weights * s_nodes * (4 * s_nodes) ** k) + (k == 0)
        assert evaluate(edge, x, y, z) == pytest.approx(exact, abs=allowed(edge, x, y, z))


def test_a_vertex_of_the_prism_is_one_monomial():
    for sides in (("free", "mean-field"), ("free", "narrow-latent"), ("mean-field", "narrow-latent")):
        for end in ("large-data", "small-data"):
            assert len(expansion.planar(4, "population").restrict(*sides, end).polynomial.terms) == 1


def test_restriction_rejects_faces_that_do_not_meet():
    coefficient = expansion.planar(2)
    with pytest.raises(ValueError, match="Argument `faces` must be among"):
        coefficient.restrict("rich")
    with pytest.raises(ValueError, match="faces that meet"):
        coefficient.restrict("large-data").restrict("small-data")
    with pytest.raises(ValueError, match="faces that meet"):
        coefficient.restrict("free", "mean-field", "narrow-latent")


def test_leading_terms_print_and_are_exact():
    coefficient = expansion.planar(0, "population")
    assert str(coefficient) == "1 − 2 xy + x²y + x²y²"
    assert coefficient.polynomial(Fraction(1, 2), 3, 7) == 1 - 3 + Fraction(3, 4) + Fraction(9, 4)
