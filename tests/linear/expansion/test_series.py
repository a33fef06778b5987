import math
import os
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

from aetheory.core.store import load, source_digest
from aetheory.linear import expansion
from aetheory.linear.expansion import stored
from aetheory.linear.expansion.stored import cached
from aetheory.linear.expansion.wick import expected_risk_derivative
from aetheory.linear.problem import LinearProblem

RISKS = ("train", "population")


def exact_value(coefficient, p, H, N, variance):
    """The value in rational arithmetic, and the sum of absolute terms that its rounding errors scale with."""
    inverse = 0 if math.isinf(N) else Fraction(1, N)
    point = (p, H, Fraction(variance), inverse)
    size = sum(
        abs(v) * math.prod(b**e for b, e in zip(point, exponents, strict=True))
        for exponents, v in coefficient.polynomial.terms
    )
    return coefficient.polynomial(*point), size


@pytest.mark.parametrize(("order", "risk"), [(0, "population"), (1, "train"), (3, "population"), (5, "train")])
def test_evaluation_agrees_with_rational_arithmetic(order, risk, precision):
    coefficient = expansion.coefficients(order, risk)
    problems = [
        (5, 3, 4, 0.25),
        (1, 1, 1, 2.0),
        (1000, 2, 10, 2**-12),
        (4, 3000, math.inf, 2**-11),
        (300, 150, 600, 0.0),
    ]
    p, H, N, variance = (jnp.asarray(column, precision) for column in zip(*problems, strict=True))
    values = coefficient.evaluate(LinearProblem(p, H, N, variance))
    assert values.dtype == precision
    for value, problem in zip(values, problems, strict=True):
        exact, size = exact_value(coefficient, *problem)
        # each monomial has a dozen factors
        allowed = rounding(precision, terms=12 * len(coefficient.polynomial.terms), size=size)
        assert abs(float(value) - exact) <= allowed
        single = coefficient.evaluate(LinearProblem(*problem))
        assert single.shape == ()
        np.testing.assert_allclose(single, value, atol=allowed)


def test_evaluation_for_any_covariance(precision):
    variances = np.array([2, 1.2, 0.9, 0.6, 0.3])
    problem = LinearProblem(5, 3, jnp.asarray([4.0, 7.0], precision), 0.3, jnp.asarray(variances, precision))
    coefficients = [expansion.coefficients(order, "train", any_covariance=True) for order in range(3)]
    series = expansion.taylor_series(coefficients, problem)
    assert series.dtype == precision
    for order, coefficient in enumerate(coefficients):
        moments = [float(np.mean(variances**k)) for k in range(1, order + 2)]
        for place, num_samples in enumerate((4, 7)):
            point = (5, 3, 0.3, 1 / num_samples, *moments)
            exact = float(coefficient.polynomial(*point)) / math.factorial(order)
            size = sum(
                abs(float(v)) * math.prod(b**e for b, e in zip(point, exponents, strict=True))
                for exponents, v in coefficient.polynomial.terms
            )
            allowed = rounding(precision, terms=16 * len(coefficient.polynomial.terms), size=size)
            assert abs(float(series[place, order]) - exact) < allowed
    with pytest.raises(ValueError, match="`problem` must have isotropic inputs for this coefficient"):
        expansion.coefficients(1).evaluate(problem)
    with pytest.raises(ValueError, match="`problem` must be without weight_decay"):
        expansion.coefficients(1).evaluate(LinearProblem(5, 3, 4, 0.3, weight_decay=0.1))
    with pytest.raises(ValueError, match="`order` must be at most 6 for any covariance, but got 7"):
        expansion.coefficients(7, any_covariance=True)
    assert str(expansion.coefficients(0, "train", any_covariance=True)).startswith("τ1 − 2 Hσ²τ1")


def test_evaluation_broadcasts_and_transforms(x64):
    coefficient = expansion.coefficients(2)
    p, H = jnp.array([5.0, 6.0, 7.0]), jnp.array([[3.0], [4.0]])
    table = coefficient.evaluate(LinearProblem(p, H, 4, 0.3))
    assert table.shape == (2, 3)
    single = jax.jit(jax.vmap(lambda p: coefficient.evaluate(LinearProblem(p, 4.0, 4.0, 0.3))))(p)
    allowed = rounding(
        jnp.float64, terms=12 * len(coefficient.polynomial.terms), size=exact_value(coefficient, 7, 4, 4, 0.3)[1]
    )
    np.testing.assert_allclose(table[1], single, rtol=0, atol=float(allowed))


def test_gradient_agrees_with_rational_differences(x64):
    coefficient, step = expansion.coefficients(3, "population"), Fraction(1, 10**9)
    point = (Fraction(5), Fraction(3), Fraction(3, 10), Fraction(1, 4))
    slopes = jax.grad(lambda p, H, v, r: coefficient.evaluate(LinearProblem(p, H, 1 / r, v)), argnums=tuple(range(4)))(
        *map(float, point)
    )
    for place, slope in enumerate(slopes):
        ends = [(*point[:place], point[place] + sign * step, *point[place + 1 :]) for sign in (1, -1)]
        difference = (coefficient.polynomial(*ends[0]) - coefficient.polynomial(*ends[1])) / (2 * step)
        size = (
            12
            * sum(
                abs(v) * math.prod(b**e for b, e in zip(map(float, point), exponents, strict=True))
                for exponents, v in coefficient.polynomial.terms
            )
            / float(point[place])
        )
        allowed = rounding(jnp.float64, terms=12 * len(coefficient.polynomial.terms), size=size)
        np.testing.assert_allclose(slope, float(difference), rtol=0, atol=allowed)


def test_gradient_is_finite_at_the_ends_of_the_range(x64):
    gradient = jax.grad(lambda v, N: expansion.coefficients(2).evaluate(LinearProblem(5.0, 3.0, N, v)), argnums=(0, 1))
    assert all(jnp.isfinite(g) for g in gradient(0.0, math.inf))


def test_a_value_out_of_range_is_not_returned():
    with pytest.raises(Exception, match="exceeds the range of float32"):
        expansion.coefficients(5).evaluate(LinearProblem(10, 10, 10, 1e7))


@pytest.mark.parametrize("kind", [expansion.coefficients, expansion.planar])
def test_bad_input(kind):
    with pytest.raises(ValueError, match="Argument `order` must be a nonnegative integer, but got -1"):
        kind(-1)
    with pytest.raises(ValueError, match=r"at most 10 \(which takes about a minute.*but got 12"):
        kind(12)
    with pytest.raises(ValueError, match="Argument `risk` must be 'train' or 'population', but got 'test'"):
        kind(1, "test")


def test_polynomial_prints_and_is_immutable():
    coefficient = expansion.coefficients(1, "population")
    assert str(coefficient).startswith("−8 Hσ² + 16 Hσ⁴ − 32 Hσ⁶")
    assert "8 Hσ²/N" in str(expansion.coefficients(1))
    assert str(expansion.coefficients(0, "population").loss).startswith("1/2 p − pHσ²")
    assert str(expansion.planar(2).restrict("free", "narrow-latent", "small-data")).count("x") == 1
    assert repr(coefficient) == "<ExactCoefficient, order 1, population risk: 10 monomials>"
    with pytest.raises(ValueError, match="one value for each"):
        coefficient.polynomial(1, 2)
    with pytest.raises(AttributeError):
        coefficient.order = 3


def test_taylor_series(x64):
    problem = LinearProblem(300, jnp.array([150, 600]), 600, 1 / 300)
    orders = [expansion.planar(s).restrict("free") for s in range(4)]
    series = expansion.taylor_series(orders, problem)
    assert series.shape == (2, 4)
    np.testing.assert_allclose(series[:, 3], orders[3].evaluate(problem) / 6, rtol=rounding(jnp.float64, terms=2))
    with pytest.raises(ValueError, match="orders 0, 1, 2"):
        expansion.taylor_series(orders[1:], problem)


def test_planar_limit_is_approached_as_the_problem_grows(x64):
    def difference(p):
        problem = LinearProblem(p, 2 * p, p / 2, 0.5 / p)
        return abs(expansion.coefficients(3).evaluate(problem) / expansion.planar(3).evaluate(problem) - 1)

    assert difference(4000) < 0.01
    np.testing.assert_allclose(difference(4000) / difference(8000), 2, rtol=0.05)


def test_the_stored_polynomials_are_used_and_survive_damage(tmp_path, monkeypatch):
    monkeypatch.setenv("AETHEORY_CACHE", str(tmp_path))
    polynomial = expansion.coefficients(6).polynomial
    [folder] = (tmp_path / "expansion").iterdir()

    with monkeypatch.context() as patched:
        patched.setattr("aetheory.linear.expansion.wick.integrate_out", None)  # whoever computes now fails
        assert cached(expected_risk_derivative, 6, "train") == polynomial
        # other code computes again
        patched.setattr("aetheory.linear.expansion.stored.source_digest", lambda *names: "other")
        with pytest.raises(TypeError):
            cached(expected_risk_derivative, 6, "train")
    (folder / "zarr.json").write_text("{}")
    assert expansion.coefficients(6).polynomial == polynomial
    assert load(folder, {"source": source_digest(*stored._SOURCES)}) is not None


def test_a_cache_that_cannot_be_written_does_not_matter(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    monkeypatch.setenv("AETHEORY_CACHE", str(blocked))
    assert len(expansion.planar(6).polynomial.terms) == 252
    monkeypatch.delenv("AETHEORY_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", _no_home)
    assert len(expansion.planar(6).polynomial.terms) == 252
    assert os.listdir(tmp_path) == ["file"]


def _no_home():
    raise RuntimeError("Could not determine home directory.")
