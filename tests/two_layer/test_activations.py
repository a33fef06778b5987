import itertools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special
from tolerance import rounding

from aetheory.two_layer.activations import ACTIVATIONS, as_activation, from_function, leaky_relu, polynomial, sign

CORRELATIONS = np.array([-1.0, -0.8, -0.25, 0.0, 0.4, 0.95, 1.0])
CUBIC = polynomial((0.0, 1.0, 0.0, -0.3))
SHRINK = (lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.5, 0), "shrink", (-0.5, 0.5))

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
    "polynomial": lambda x: x - 0.3 * x**3,
    "shrink": lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.5, 0),
}


def activation(name):
    if name == "polynomial":
        return CUBIC
    if name == "shrink":
        return from_function(SHRINK[0], name, breakpoints=SHRINK[2])
    return as_activation(name)


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
    breakpoints = sigma.breakpoints
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
    tolerance = 1e-9 if not sigma.breakpoints else 1e-2 if name == "sign" else 2e-4
    for index in (1, 2, 4):
        assert kernel[index] == pytest.approx(double_expectation(function, CORRELATIONS[index]), abs=tolerance)
    assert kernel[3] == pytest.approx(sigma.mean**2, abs=1e-12)
    assert kernel[-1] == pytest.approx(sigma.second_moment, abs=1e-12)
    opposite = expectation(lambda x: function(np.asarray(x)) * function(-np.asarray(x)), sigma.breakpoints)
    if name != "sign":  # at the one point 0 it is not odd
        assert kernel[0] == pytest.approx(opposite, abs=1e-11)


@pytest.mark.parametrize("name", NUMPY)
def test_the_kernel_is_the_series_of_the_hermite_coefficients(name, x64):
    sigma = activation(name)
    coefficients = np.array(sigma.hermite_coefficients(128))
    correlations = np.array([-0.5, 0.1, 0.7])
    series = (coefficients**2) @ correlations[None, :] ** np.arange(129)[:, None]
    np.testing.assert_allclose(sigma.kernel(jnp.asarray(correlations)), series, atol=1e-12)
    assert coefficients[1] == pytest.approx(sigma.linear_coefficient, abs=1e-13)


def test_hermite_coefficients_in_closed_form(x64):
    sines = as_activation("sine").hermite_coefficients(7)
    exact = [
        0 if order % 2 == 0 else (-1) ** (order // 2) * math.exp(-0.5) / math.sqrt(math.factorial(order))
        for order in range(8)
    ]
    np.testing.assert_allclose(sines, exact, rtol=0, atol=rounding(jnp.float64, terms=128))
    # x³ = He_3 + 3 He_1
    np.testing.assert_allclose(polynomial((0, 0, 0, 1)).hermite_coefficients(4), [0, 3, 0, math.sqrt(6), 0], atol=1e-12)
    signs = sign().hermite_coefficients(5)  # c_3² = (2/π)/6, c_5² = (2/π) 3/40
    np.testing.assert_allclose(
        np.square(signs),
        2 / math.pi * np.array([0, 1, 0, 1 / 6, 0, 3 / 40]),
        rtol=0,
        atol=rounding(jnp.float64, terms=128),
    )


@pytest.mark.parametrize("name", NUMPY)
def test_derivatives_of_the_kernel(name, x64):
    sigma, inside = activation(name), jnp.asarray(CORRELATIONS[1:-1])
    slopes = sigma.kernel_derivative(inside)
    differences = (sigma.kernel(inside + 1e-5) - sigma.kernel(inside - 1e-5)) / 2e-5
    np.testing.assert_allclose(slopes, differences, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(jax.vmap(jax.grad(sigma.kernel))(inside), slopes, rtol=rounding(jnp.float64, terms=128))
    assert np.isfinite(sigma.kernel_derivative(jnp.asarray([-1.0, 1.0, 1 + 1e-12]))).all()
    assert np.isfinite(jax.vmap(jax.grad(sigma.kernel))(jnp.asarray([-1.0, 1.0]))).all()


def test_the_slope_at_zero_is_the_square_of_the_linear_coefficient(x64):
    for name in NUMPY:
        sigma = activation(name)
        assert float(sigma.kernel_derivative(jnp.asarray(0.0))) == pytest.approx(sigma.linear_coefficient**2, rel=1e-12)


def test_known_alphas(x64):
    assert sign().alpha == pytest.approx(math.pi / 2 - 1, rel=rounding(jnp.float64, terms=3, condition=3))
    assert as_activation("linear").alpha == 0
    assert as_activation("erf").alpha == pytest.approx(1.5 * math.asin(2 / 3) - 1, rel=1e-12)


def test_the_kernel_matrix_is_exact_on_the_diagonal_and_at_equal_units(precision):
    epsilon = float(jnp.finfo(precision).eps)
    correlations = jnp.asarray([[1 - epsilon, 1 - 3 * epsilon], [1 - 3 * epsilon, 1 + epsilon]], precision)
    np.testing.assert_array_equal(sign().kernel_matrix(correlations), np.ones((2, 2)))
    np.testing.assert_array_equal(sign().kernel_matrix(-correlations)[0, 1], -1)
    gradient = jax.grad(lambda matrix: sign().kernel_matrix(matrix)[0, 0])(correlations)
    assert (gradient == 0).all()


def test_the_sign_of_zero_is_one_and_nan_stays(precision):
    outputs = sign()(jnp.asarray([0.0, -0.0, -1e-30, 1e-30, jnp.nan], precision))
    assert outputs[:4].tolist() == [1, 1, -1, 1]
    assert bool(jnp.isnan(outputs[4]))


@pytest.mark.parametrize("width", [0.3, 2.0])
def test_the_surrogate_of_the_sign_has_the_chosen_width(width, x64):
    points = np.array([-1.0, 0.0, 0.2])
    slopes = jax.vmap(jax.grad(sign(width)))(jnp.asarray(points))
    np.testing.assert_allclose(slopes, 1 / np.cosh(points / width) ** 2 / width, rtol=1e-12)
    _, tangents = jax.jvp(sign(width), (jnp.asarray(points),), (jnp.ones(3),))
    np.testing.assert_allclose(tangents, slopes, rtol=rounding(jnp.float64, terms=16))


def test_centring_removes_the_constant_part(x64):
    relu = as_activation("relu")
    centred = relu.centred()
    assert centred.mean == 0
    assert centred.alpha == pytest.approx(relu.alpha, rel=rounding(jnp.float64, terms=64))
    assert centred.second_moment == pytest.approx(0.5 - 1 / (2 * math.pi), rel=rounding(jnp.float64, terms=64))
    np.testing.assert_allclose(
        centred.kernel(jnp.zeros(1)), [0], atol=rounding(jnp.float64, terms=2, size=relu.mean**2)
    )
    np.testing.assert_allclose(centred(jnp.asarray([2.0])), [2 - 1 / math.sqrt(2 * math.pi)])
    assert expectation(lambda x: float(centred(jnp.asarray(x))), (0.0,)) == pytest.approx(0, abs=1e-10)
    odd = sign()
    assert odd.centred() is odd


def test_activations_made_alike_share_one_program(x64):
    traces = []

    @jax.jit
    def kernel(sigma, point):
        traces.append(sigma.name)
        return sigma.kernel(point)

    for make in (sign, leaky_relu, lambda: as_activation("tanh"), lambda: as_activation("hard_tanh")):
        kernel(make(), jnp.asarray(0.3))
        kernel(make(), jnp.asarray(0.4))
    assert traces == ["sign", "leaky_relu", "tanh", "hard_tanh"]


def test_functions_become_activations_inside_jit(x64):
    inside = jax.jit(lambda x: as_activation(jnp.tanh).kernel(x))(jnp.asarray(0.4))
    assert float(inside) == pytest.approx(float(as_activation("tanh").kernel(jnp.asarray(0.4))), rel=1e-13)


def test_a_missing_breakpoint_is_noticed():
    with pytest.warns(UserWarning, match=r"only known to \de-\d\d: .* `breakpoints`"):
        from_function(lambda x: jnp.where(jnp.abs(x) > 0.7, x, 0), "gap")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_activation("signum"), "`activation` must be one of 'sign', "),
        (lambda: sign(0.0), "`surrogate_width` must be finite and positive, but got 0.0."),
        (lambda: leaky_relu(math.nan), "`slope` must be finite, but got nan."),
        (lambda: polynomial((0.0, 0.0)), "`coefficients` must be a sequence of finite numbers that are not all 0"),
        (lambda: polynomial((0.0, math.inf)), "`coefficients` must be a sequence of finite numbers"),
        (lambda: from_function(lambda x: x + jnp.inf, "pole"), "`function` must be finite where |x| ≤ 13"),
        (lambda: from_function(jnp.sum, "total"), "`function` must return an array of the shape of its input"),
        (lambda: from_function(jnp.tanh, order=400), "`order` must be a positive integer of at most 128"),
        (lambda: from_function(jnp.tanh, breakpoints=[math.nan]), "`breakpoints` must be finite numbers"),
        (lambda: sign().hermite_coefficients(0), "`order` must be a positive integer"),
        (lambda: polynomial((0.0, 0.0, 1.0)).alpha, "`activation` must have a linear part, but for 'polynomial'"),
        (lambda: leaky_relu(-1.0).alpha, "`activation` must have a linear part"),
    ],
)
def test_a_bad_argument(make, message):
    with pytest.raises(ValueError, match=f"^Argument {re.escape(message)}"):
        make()
