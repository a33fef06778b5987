import functools
import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy import integrate, special
from tolerance import assert_rounded, rounding

from aetheory.two_layer.activations import ACTIVATIONS, as_activation, from_function, leaky_relu
from aetheory.two_layer.hermite import hermite_coefficients

CORRELATIONS = np.array([-1.0, -0.8, -0.25, 0.0, 0.4, 0.95, 1.0])
BREAKPOINTS = {"sign": (0.0,), "relu": (0.0,), "leaky_relu": (0.0,), "hard_tanh": (-1.0, 1.0), "shrink": (-0.5, 0.5)}
SIGN = as_activation("sign")


MANY = rounding(jnp.float64, terms=800, size=15)
"""A sum over the 800 nodes of the quadrature, E |x³ He_4(x)| at most."""


def cubic(x):
    return x - 0.3 * x**3


def shrink(x):
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0)


NUMPY = {
    "sign": lambda x: np.where(x >= 0, 1.0, -1.0),
    "erf": special.erf,
    "tanh": np.tanh,
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "sine": np.sin,
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x >= 0, x, 0.01 * x),
    "softplus": lambda x: np.logaddexp(0, x),
    "gelu": lambda x: x * special.ndtr(x),
    "cubic": cubic,
    "shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
}


def activation(name):
    made = {"cubic": cubic, "shrink": shrink}.get(name)
    return as_activation(name) if made is None else from_function(made, breakpoints=BREAKPOINTS.get(name, ()))


def expectation(function, breakpoints=()):
    """E function(g) by SciPy's adaptive quadrature."""
    cuts = sorted({-12.0, 12.0, *breakpoints})
    return sum(
        integrate.quad(
            lambda x: function(x) * math.exp(-x * x / 2) / math.sqrt(2 * math.pi), *ends, epsabs=1e-13, limit=200
        )[0]
        for ends in itertools.pairwise(cuts)
    )


def double_expectation(function, correlation):
    """E σ(g) σ(g') by the trapezoidal rule in the plane, exponentially accurate where σ is smooth."""
    grid = np.linspace(-9, 9, 1201)
    weights = np.exp(-(grid**2) / 2) * (grid[1] - grid[0]) / math.sqrt(2 * math.pi)
    second = correlation * grid[:, None] + math.sqrt(1 - correlation**2) * grid[None, :]
    return (weights * function(grid)) @ function(second) @ weights


def test_the_table_covers_every_name():
    assert set(ACTIVATIONS) <= set(NUMPY)


@pytest.mark.parametrize("name", NUMPY)
def test_values_and_moments(name, precision):
    sigma = activation(name)
    points = np.linspace(-3, 3, 13)
    outputs = sigma(jnp.asarray(points, precision))
    assert outputs.dtype == precision
    tolerance = rounding(precision, terms=4, size=3**3)  # the largest value is that of a cubic
    np.testing.assert_allclose(outputs, NUMPY[name](points), atol=tolerance)
    function = NUMPY[name]
    breakpoints = BREAKPOINTS.get(name, ())
    assert sigma.mean == pytest.approx(expectation(function, breakpoints), abs=tolerance)
    assert sigma.linear_coefficient == pytest.approx(expectation(lambda x: x * function(x), breakpoints), abs=tolerance)
    second = expectation(lambda x: function(x) ** 2, breakpoints)
    assert sigma.second_moment == pytest.approx(second, abs=10 * tolerance)
    linear, mean = sigma.linear_coefficient, sigma.mean
    assert sigma.alpha == pytest.approx((second - mean**2) / linear**2 - 1, abs=1e3 * tolerance)
    assert sigma.is_odd == bool(np.allclose(function(points + 0.1), -function(-points - 0.1)))


@pytest.mark.parametrize("name", NUMPY)
def test_the_kernel_is_the_expectation(name, x64):
    sigma, function = activation(name), NUMPY[name]
    kernel = np.asarray(sigma.kernel(jnp.asarray(CORRELATIONS)))
    tolerance = 1e-2 if name == "sign" else 2e-4 if name in BREAKPOINTS else 1e-9  # of the rule at kinks, of the series
    for index in (1, 2, 4):
        assert kernel[index] == pytest.approx(double_expectation(function, CORRELATIONS[index]), abs=tolerance)
    assert kernel[3] == pytest.approx(sigma.mean**2, abs=rounding(jnp.float64, 64))
    assert kernel[-1] == pytest.approx(sigma.second_moment, abs=rounding(jnp.float64, 64, size=3))
    opposite = expectation(lambda x: function(np.asarray(x)) * function(-np.asarray(x)), BREAKPOINTS.get(name, ()))
    if name != "sign":  # at the one point 0 it is not odd
        assert kernel[0] == pytest.approx(opposite, abs=1e-11)  # of the quadratures


@pytest.mark.parametrize("name", NUMPY)
def test_the_kernel_is_the_series_of_the_hermite_coefficients(name, x64):
    sigma = activation(name)
    coefficients = np.array(hermite_coefficients(sigma.function, BREAKPOINTS.get(name, ()), 128)[0])
    correlations = np.array([-0.5, 0.1, 0.7])
    series = (coefficients**2) @ correlations[None, :] ** np.arange(129)[:, None]
    np.testing.assert_allclose(sigma.kernel(jnp.asarray(correlations)), series, atol=rounding(jnp.float64, terms=800))
    assert coefficients[1] == pytest.approx(sigma.linear_coefficient, abs=rounding(jnp.float64, terms=800))


@pytest.mark.parametrize("correlation", [-0.9, 0.9, 0.95, 0.99, 0.999])
def test_the_kernel_of_the_hard_tanh_has_all_digits(correlation, precision):
    """Against E σ(g) E[σ(g') | g], the inner mean in closed form and the outer one by SciPy's adaptive quadrature."""
    scale = math.sqrt(1 - correlation**2)

    def density(x):
        return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    def given(x):
        low, high = ((end - correlation * x) / scale for end in (-1, 1))
        inside = special.ndtr(high) - special.ndtr(low)
        outside = special.ndtr(-high) - special.ndtr(low)
        return correlation * x * inside + scale * (density(low) - density(high)) + outside

    expected = expectation(lambda x: min(max(x, -1), 1) * given(x), (-1.0, 1.0))
    found = as_activation("hard_tanh").kernel(jnp.asarray(correlation, precision))
    # in float32 the correlation itself is rounded, and f' ≤ c₁² + … < .7
    assert float(found) == pytest.approx(expected, abs=rounding(precision, terms=40))


def test_hermite_coefficients_in_closed_form(x64):
    sines, second_moment = hermite_coefficients(jnp.sin, (), 7)
    exact = [
        0 if order % 2 == 0 else (-1) ** (order // 2) * math.exp(-0.5) / math.sqrt(math.factorial(order))
        for order in range(8)
    ]
    np.testing.assert_allclose(sines, exact, rtol=0, atol=rounding(jnp.float64, terms=128))
    assert second_moment == pytest.approx(math.sinh(1) / math.e, rel=rounding(jnp.float64, terms=128))
    # x³ = He_3 + 3 He_1
    np.testing.assert_allclose(hermite_coefficients(lambda x: x**3, (), 4)[0], [0, 3, 0, math.sqrt(6), 0], atol=MANY)
    signs = hermite_coefficients(jnp.sign, (0.0,), 5)[0]  # c_3² = (2/π)/6, c_5² = (2/π) 3/40
    assert_rounded(
        np.square(signs), 2 / math.pi * np.array([0, 1, 0, 1 / 6, 0, 3 / 40]), jnp.float64, terms=128, absolute=True
    )


@pytest.mark.parametrize("name", NUMPY)
def test_derivatives_of_the_kernel(name, x64):
    sigma, inside = activation(name), jnp.asarray(CORRELATIONS[1:-1])
    kernel, derivative = (eqx.filter_jit(one) for one in (sigma.kernel, sigma.kernel_derivative))
    slopes = derivative(inside)
    differences = (kernel(inside + 1e-5) - kernel(inside - 1e-5)) / 2e-5
    np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)  # of the differences
    assert_rounded(derivative(jnp.zeros(5))[0], sigma.linear_coefficient**2, jnp.float64, terms=8)
    assert np.isfinite(derivative(jnp.asarray([-1.0, 1.0, 1 + 1e-12, 1.0, 1.0]))).all()


def test_known_alphas(x64):
    assert SIGN.alpha == pytest.approx(math.pi / 2 - 1, rel=rounding(jnp.float64, terms=3, condition=3))
    assert as_activation("linear").alpha == 0
    assert leaky_relu(1.0).is_odd
    assert_rounded(as_activation("erf").alpha, 1.5 * math.asin(2 / 3) - 1, jnp.float64, 8, condition=12)


def test_the_kernel_matrix_is_exact_on_the_diagonal_and_at_equal_units(precision):
    epsilon = float(jnp.finfo(precision).eps)
    correlations = jnp.asarray([[1 - epsilon, 1 - 3 * epsilon], [1 - 3 * epsilon, 1 + epsilon]], precision)
    np.testing.assert_array_equal(SIGN.kernel_matrix(correlations), np.ones((2, 2)))
    np.testing.assert_array_equal(SIGN.kernel_matrix(-correlations)[0, 1], -1)
    gradient = jax.grad(lambda matrix: SIGN.kernel_matrix(matrix)[0, 0])(correlations)
    assert (gradient == 0).all()


def test_the_sign_of_zero_is_one_and_nan_stays(precision):
    outputs = SIGN(jnp.asarray([0.0, -0.0, -1e-30, 1e-30, jnp.nan], precision))
    assert outputs[:4].tolist() == [1, 1, -1, 1]
    assert bool(jnp.isnan(outputs[4]))


def test_the_surrogate_of_the_sign(x64):
    points = np.array([-1.0, 0.0, 0.2])
    slopes = jax.vmap(jax.grad(SIGN))(jnp.asarray(points))
    np.testing.assert_allclose(slopes, 1 / np.cosh(points) ** 2, rtol=rounding(jnp.float64, terms=8))


def test_activations_made_alike_share_one_program(x64):
    traces = []

    @jax.jit
    def kernel(sigma, point):
        traces.append(sigma.name)
        return sigma.kernel(point)

    for make in (leaky_relu, *(functools.partial(as_activation, name) for name in ("sign", "tanh", "hard_tanh"))):
        kernel(make(), jnp.asarray(0.3))
        kernel(make(), jnp.asarray(0.4))
    assert traces == ["leaky_relu", "sign", "tanh", "hard_tanh"]


def test_functions_become_activations_inside_jit(x64):
    inside = jax.jit(lambda x: as_activation(jnp.tanh).kernel(x))(jnp.asarray(0.4))
    assert_rounded(inside, float(as_activation("tanh").kernel(jnp.asarray(0.4))), jnp.float64, 64)


def test_a_missing_breakpoint_is_noticed():
    with pytest.warns(UserWarning, match=r"only known to \de-\d\d: .* `breakpoints`"):
        from_function(lambda x: jnp.where(jnp.abs(x) > 0.7, x, 0), "gap")


test_a_bad_argument = refused(
    (lambda: as_activation("signum"), "`activation` must be one of 'sign', "),
    (lambda: leaky_relu(math.nan), "`slope` must be finite, but got nan."),
    (lambda: from_function(lambda x: x + jnp.inf, "pole"), "`function` must be finite where |x| ≤ 13"),
    (lambda: from_function(jnp.sum, "total"), "`function` must return an array of the shape of its input"),
    (lambda: from_function(jnp.tanh, breakpoints=[math.nan]), "`breakpoints` must be finite numbers"),
    (lambda: from_function(jnp.cos).alpha, "`activation` must have a linear part, but for 'cos'"),
    (lambda: leaky_relu(-1.0).alpha, "`activation` must have a linear part"),
)
