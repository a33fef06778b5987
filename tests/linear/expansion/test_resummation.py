import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aetheory.linear import expansion
from aetheory.linear.problem import LinearProblem

TIMES = np.array([0.0, 0.02, 0.05, 0.1, 0.3, 1.0])


def large_data_curve(x, y, times):
    """R = 1 + 2x Ψ(−t, y, x), Ψ(u, y, ζ) = ½ζe^{−8u} ∂₁h(a, y) − e^{−4u} h(a, y), as published in arXiv:2602.04548."""
    with jax.enable_x64(True):

        def h(a):
            root = jnp.sqrt(1 - 2 * a * (y + 1) + a**2 * (y - 1) ** 2)
            # The published fraction times its conjugate: no 0/0 at a = 0.
            return 2 * y / (1 - a * (y + 1) + root)

        def risk(t):
            a = x * (1 - jnp.exp(4 * t))
            return 1 + 2 * x * (x * jnp.exp(8 * t) * jax.grad(h)(a) / 2 - jnp.exp(4 * t) * h(a))

        return np.asarray(jax.jit(jax.vmap(risk))(jnp.asarray(times)))


def large_data_series(problem, order=8):
    return expansion.taylor_series([expansion.planar(s).restrict("large-data") for s in range(order + 1)], problem)


@pytest.mark.parametrize(("x", "y"), [(0.3, 0.5), (1.0, 0.5), (0.8, 1.5), (0.1, 1.0)])
def test_sums_agree_with_the_closed_form(x, y, precision):
    problem = LinearProblem(100, 100 * y, 400, x / 100)
    exact = large_data_curve(x, y, TIMES)
    series = large_data_series(problem)
    assert series.dtype == precision
    pade = expansion.resum(series, TIMES, "pade")
    conformal = expansion.resum(series, TIMES, "conformal-pade")
    taylor = expansion.resum(series, TIMES[:2], "taylor")
    for result in (pade, conformal, taylor):
        np.testing.assert_allclose(result.values[:2], exact[:2], rtol=3e-5)
    np.testing.assert_allclose(pade.values[2:5], exact[2:5], atol=0.02)
    np.testing.assert_allclose(conformal.values[2:5], exact[2:5], atol=0.03)
    np.testing.assert_allclose(conformal.values[5], exact[5], atol=0.1)


def test_accuracy_gained_by_resummation(x64):
    problem = LinearProblem(100, 50, 400, 0.003)
    exact = large_data_curve(0.3, 0.5, TIMES)
    series = large_data_series(problem)
    errors = {
        method: np.abs(expansion.resum(series, TIMES, method).values - exact) for method in ("pade", "conformal-pade")
    }
    assert errors["pade"][:5].max() < 1e-4
    assert errors["conformal-pade"].max() < 0.01


def test_pade_follows_a_free_flow(x64):
    # One mode: λ²/(1+4λt)².
    series = 0.49 * (-2.8) ** np.arange(7.0) * (np.arange(7) + 1)
    times = np.array([0.1, 1.0, 10.0])
    result = expansion.resum(series, times, "pade")
    np.testing.assert_allclose(result.values, 0.49 / (1 + 2.8 * times) ** 2, rtol=1e-9)
    np.testing.assert_allclose(result.radius, 1 / 2.8, rtol=0.05)


@pytest.mark.parametrize(
    ("series", "radius"),
    [
        (3.0 ** np.arange(9), 1 / 3),
        (np.cumprod([1.0, *(2 * (k - 0.5) / k for k in range(1, 11))]), 1 / 2),  # (1 − 2t)^{−1/2}
        (np.real((0.3 + 0.4j) ** np.arange(11)), 2.0),  # a pair of complex poles
        ([1.0, -2.0], 0.5),
        ([1.0, -2.0, 4.0], 0.5),
        ([1.0, 0.0, 9.0, 0.0, 81.0, 0.0, 729.0], 1 / 3),
        ([0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0], 1 / 2),
        ([3.0], np.inf),
        ([3.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0], np.inf),
        ([0.0, 0.0, 0.0], np.inf),
    ],
)
def test_radius_of_convergence(series, radius, precision):
    result = expansion.resum(jnp.asarray(series, precision), jnp.zeros(1, precision), "taylor")
    np.testing.assert_allclose(result.radius, radius, rtol=0.05)
    assert result.values[0] == series[0]


def test_taylor_beyond_the_radius_warns():
    series = jnp.asarray(2.0 ** np.arange(9), jnp.float32)
    with pytest.warns(RuntimeWarning, match=r"up to time 0.7, beyond its estimated radius of convergence 0.5"):
        expansion.resum(series, jnp.array([0.1, 0.7]), "taylor")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expansion.resum(series, jnp.array([0.1, 0.3]), "taylor")


def test_a_pole_in_the_range_of_times_is_avoided(x64):
    # Many approximants of these series have poles at positive times; the sums stay moderate.
    rng = np.random.default_rng(0)
    series = rng.normal(size=(50, 9))
    values = expansion.resum(series, np.linspace(0, 3, 50), "conformal-pade").values
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 200


def test_batches_and_transformations(x64):
    series = jnp.asarray(np.stack([2.0 ** np.arange(8), np.zeros(8), (-1.0) ** np.arange(8)])[None])
    times = jnp.array([0.1, 0.2])
    result = jax.jit(lambda c: expansion.resum(c, times, "pade"))(series)
    assert result.values.shape == (1, 3, 2)
    assert result.radius.shape == (1, 3)
    np.testing.assert_allclose(result.values[0], [1 / (1 - 2 * times), 0 * times, 1 / (1 + times)], rtol=1e-10)
    gradient = jax.jit(jax.grad(lambda c: expansion.resum(c, times, "pade").values.sum()))(series)
    assert jnp.isfinite(gradient).all()


def test_a_problem_is_differentiated_through_its_series(x64):
    def final(variance):
        series = large_data_series(LinearProblem(100, 50, 400, variance), order=6)
        return expansion.resum(series, jnp.array([0.1]), "conformal-pade").values[0]

    exact = (large_data_curve(0.3001, 0.5, [0.1])[0] - large_data_curve(0.2999, 0.5, [0.1])[0]) / 0.0002 * 100
    np.testing.assert_allclose(jax.jit(jax.grad(final))(0.003), exact, rtol=1e-3)


def test_bad_input():
    with pytest.raises(ValueError, match="Argument `method` must be one of"):
        expansion.resum([1.0, 2.0], [0.1], "borel")
    with pytest.raises(ValueError, match="Argument `series` must be a non-empty, finite array"):
        expansion.resum(np.array([1.0, np.nan]), np.array([0.1]))
    with pytest.raises(ValueError, match="Argument `series` must be a non-empty, finite array"):
        expansion.resum(np.array(1.0), np.array([0.1]))
    with pytest.raises(ValueError, match="Argument `times` must be"):
        expansion.resum(np.array([1.0, 2.0]), np.array([0.2, 0.1]))
