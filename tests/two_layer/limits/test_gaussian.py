import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.two_layer import constrained_optimum
from refusals import refused
from scipy import optimize
from tolerance import assert_rounded, rounding

from aetheory import limits

ALPHA = math.pi / 2 - 1
BLOCKS_ERROR = rounding(jnp.float64, terms=100, condition=1 + 100 * ALPHA / 20)  # d/μ − α cancels at 20 units
BLOCKS = np.repeat([2.5, 0.7, 0.1], [30, 30, 40])
BLOCKS = BLOCKS / BLOCKS.mean()


def random_spectrum(index):
    """Deviations of 3 to 12 directions over one and a half decades, a unit count, and an activation's α."""
    rng = np.random.default_rng(index)
    deviations = rng.uniform(0.05, 2.0, size=rng.integers(3, 13))
    return deviations, int(rng.integers(1, 2 * len(deviations))), rng.choice(["sign", "tanh", "sine"])


def test_the_isotropic_limit(precision):
    rates = np.array([0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
    risks = limits.gaussian(jnp.asarray(rates, precision))
    assert risks.dtype == precision
    np.testing.assert_allclose(risks, [0.6817, 0.4907, 0.3634, 0.2756, 0.2220, 0.1599], atol=5e-5)
    np.testing.assert_allclose(risks[:3], 1 - 2 * rates[:3] / np.pi, rtol=rounding(precision, terms=8, condition=2))
    linear = limits.gaussian(jnp.asarray(rates, precision), "linear")
    np.testing.assert_allclose(linear, np.maximum(1 - rates, 0), rtol=0, atol=rounding(precision, terms=2))
    slope = jax.vmap(jax.grad(limits.gaussian))(jnp.asarray([0.5, 2.0], precision))
    assert_rounded(slope, [-2 / np.pi, -ALPHA / (2 + ALPHA) ** 2], precision, terms=8, condition=2)


def test_the_numbers_of_the_general_covariance(x64):
    units = jnp.asarray([20, 50, 100, 150, 200])
    solution = limits.water_filling(np.sqrt(BLOCKS), units)
    np.testing.assert_allclose(solution.risk, [0.6817, 0.4092, 0.2637, 0.2000, 0.1611], atol=5e-5)
    np.testing.assert_allclose(jnp.sum(solution.allocation, axis=-1), units, rtol=BLOCKS_ERROR)


@pytest.mark.parametrize("index", range(8))
def test_water_filling_agrees_with_a_constrained_optimiser(index, x64):
    deviations, num_units, activation = random_spectrum(index)
    alpha = limits.gaussian(1.0, activation)  # R*(1) = α/(1+α)
    alpha = float(alpha / (1 - alpha))
    risk, allocation, largest = constrained_optimum(deviations, num_units, alpha)
    solution = limits.water_filling(deviations, num_units, activation)
    assert float(solution.risk) == pytest.approx(risk, abs=1e-8)  # of the optimiser, as the allocation's
    mine = np.asarray(solution.allocation)[np.argsort(-deviations)][: len(largest)]
    np.testing.assert_allclose(mine, allocation, atol=1e-3)
    # and exactly: equal marginal gains where something is allocated, smaller ones elsewhere; s + α is of order α
    error = rounding(jnp.float64, 4 + len(mine), condition=2 * (1 + num_units / alpha))
    marginal = largest**2 * alpha / (mine + alpha) ** 2
    np.testing.assert_allclose(marginal[mine > 0], marginal.max(), rtol=error)
    assert_rounded(mine.sum(), num_units, jnp.float64, 4 + len(mine), condition=1 + alpha * len(mine) / num_units)


def test_water_filling_of_equal_deviations_is_the_isotropic_limit(x64):
    rates = jnp.asarray([0.25, 0.9, 1.0, 1.7, 4.0])
    solution = limits.water_filling(np.ones((5, 20)), 20 * rates)
    np.testing.assert_allclose(solution.risk, limits.gaussian(rates), rtol=rounding(jnp.float64, terms=20, condition=2))
    np.testing.assert_allclose(solution.allocation[3], 1.7, rtol=rounding(jnp.float64, terms=20, condition=2))


def test_water_filling_is_batched_and_keeps_precision(precision):
    deviations = jnp.asarray([[1.0, 0.5, 2.0], [1.0, 1.0, 0.0]], precision)
    batched = limits.water_filling(deviations, jnp.asarray([[1], [4]]))
    assert batched.risk.dtype == batched.allocation.dtype == precision
    assert batched.allocation.shape == (2, 2, 3)
    for row, units in enumerate((1, 4)):
        for column in range(2):
            one = jax.jit(limits.water_filling, static_argnums=2)(deviations[column], units, "sign")
            assert_rounded(batched.risk[row, column], one.risk, precision, terms=8, condition=2)
            np.testing.assert_allclose(
                batched.allocation[row, column], one.allocation, atol=rounding(precision, 8, size=4 + ALPHA)
            )
    # a direction without variance gets nothing
    assert float(batched.allocation[1, 1, 2]) == 0


def test_linear_water_filling_is_principal_components(x64):
    units = jnp.arange(1, 8)
    variances = np.random.default_rng(0).uniform(size=5)
    expected = [np.sort(variances)[: max(5 - n, 0)].sum() / 5 for n in range(1, 8)]
    assert_rounded(limits.principal_components(variances, units), expected, jnp.float64, terms=5, absolute=True)
    assert_rounded(
        limits.water_filling(np.sqrt(variances), units, "linear").risk, expected, jnp.float64, terms=5, absolute=True
    )


def test_rate_distortion_by_bisection(x64):
    variances = np.random.default_rng(1).uniform(0.01, 3.0, size=(4, 9))
    for rate in (0.05, 0.5, 2.0):
        distortions = limits.rate_distortion(variances, rate)
        for row, distortion in zip(variances, distortions, strict=True):

            def excess(level, row=row, rate=rate):
                return np.sum(np.maximum(0, 0.5 * np.log2(row / level))) - rate * 9

            level = optimize.brentq(excess, 1e-12, 3.0, xtol=1e-15)
            assert float(distortion) == pytest.approx(np.minimum(level, row).mean(), rel=rounding(jnp.float64, 9 * 9))
    np.testing.assert_allclose(limits.rate_distortion(np.full(7, 3.0), jnp.asarray([0.5, 1.0])), [1.5, 0.75])
    np.testing.assert_allclose(limits.rate_distortion([1.0, 0.0], 1.0), 0.5 * 2.0**-4)


def test_no_limit_is_below_shannon(x64):
    rates = jnp.linspace(0.05, 4, 80)
    deviations = np.sqrt(BLOCKS)
    risks = limits.water_filling(deviations, 100 * rates).risk
    bound = limits.rate_distortion(BLOCKS, rates)
    assert (np.asarray(risks) > np.asarray(bound)).all()
    assert (np.asarray(risks) >= np.asarray(limits.principal_components(BLOCKS, 100 * rates)) - BLOCKS_ERROR).all()
    assert (np.diff(risks) < 0).all()


test_a_bad_argument = refused(
    (lambda: limits.gaussian(0.0), "`rate` must be finite and positive, but got 0.0."),
    (lambda: limits.gaussian([1.0, -1.0]), "`rate` must be finite and positive"),
    (lambda: limits.gaussian(1.0, "relu"), "`activation` must be odd for the limit theorems … but got 'relu'"),
    (lambda: limits.gaussian(1.0, jnp.cos), "`activation` must have a linear part, but for 'cos'"),
    (lambda: limits.water_filling([1.0, 2.0], 0), "`num_units` must be finite and positive, but got 0."),
    (lambda: limits.water_filling([1.0, -2.0], 1), "`standard_deviations` must be finite and nonnegative"),
    (lambda: limits.water_filling([0.0, 0.0], 1), "`standard_deviations` must be not all 0"),
    (lambda: limits.water_filling(1.0, 1), "`standard_deviations` must be an array with a last axis"),
    (lambda: limits.rate_distortion([1.0], -0.5), "`rate` must be finite and positive, but got -0.5."),
    (lambda: limits.rate_distortion([math.nan], 1.0), "`variances` must be finite and nonnegative"),
    (lambda: limits.principal_components([1.0], 0.0), "`num_units` must be finite and positive, but got 0.0."),
)
