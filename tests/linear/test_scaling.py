"""Scaling laws against the curves that they are limits of, and published check values of this project."""

from itertools import pairwise

import jax
import numpy as np
import pytest
from oracles.spectra import power_law
from scipy.integrate import quad

import aetheory as ae
from aetheory.linear.scaling import PowerLaw, fit_exponent, tail_risk, unseen_risk


@pytest.mark.parametrize(("exponent", "low", "high", "digit"), [(2.0, 0.998, 1.018, 1e-3), (1.5, 0.88, 0.99, 1e-2)])
def test_risk_over_time_is_that_of_mean_field(x64, exponent, low, high, digit):
    """Four decades of t, p = 2·10⁵, c = 10⁻⁴: risk by a sum over all modes."""
    law = PowerLaw(exponent, 200_000)
    variances = np.asarray(law.variances)
    times = np.geomspace(30, 3e5, 9) / variances[0]
    decay = np.exp(-4 * times[:, None] * variances[None, :])
    error = (1e-4 - 1) * decay / (1e-4 + (1 - 1e-4) * decay)
    risk = np.mean(variances * error**2, axis=1)
    ratio = risk / np.asarray(law.over_time(times, 1e-4))
    # to the digits that were printed
    assert low - digit < ratio.min()
    assert ratio.max() < high + digit
    fitted = fit_exponent(times, risk)
    assert float(fitted.exponent) == pytest.approx(float(law.time_exponent), abs=0.012)


def test_the_integral_over_one_mode(x64):
    for exponent, strength in ((1.1, 0.01), (2.0, 0.3), (3.0, 2.0)):
        law = PowerLaw(exponent, 1000)

        def squared(v, exponent=exponent, strength=strength):
            u = v ** (exponent / (exponent - 1))  # u^{−1/a} du without the singularity
            return ((strength - 1) / (1 + strength * np.expm1(u))) ** 2 if u < 600 else 0.0

        pieces = [0, 0.5, 1, 2, 4, 8]
        total = sum(quad(squared, a, b, epsabs=1e-12)[0] for a, b in pairwise(pieces))
        expected = float(law.top) / 1000 / (exponent - 1) * total * (4 * float(law.top) * 0.2) ** -(1 - 1 / exponent)
        assert float(law.over_time(np.array([0.2]), strength)[0]) == pytest.approx(expected, rel=1e-8)


def test_risk_over_samples(x64):
    """Exact values, which twenty simulations met: .40785 ± .0039, .23535 ± .0013, .11888 ± .0002, .05652 ± .0001."""
    unseen = jax.jit(unseen_risk)  # a program for each spectrum, and not for each call
    exact = [float(unseen(power_law(2000, 1.5), size, 0.0)) for size in (10.0, 30.0, 100.0, 300.0)]
    np.testing.assert_allclose(exact, [0.40553, 0.23472, 0.11849, 0.05653], atol=5.1e-6)
    for exponent, slope in ((1.5, 0.515), (2.0, 0.996), (3.0, 1.990)):
        law = PowerLaw(exponent, 20_000)
        values = np.array([float(unseen(law.variances, size, 0.3)) for size in (20.0, 60.0, 200.0, 600.0)])
        fitted = fit_exponent(np.array([20.0, 60, 200, 600]), values)
        assert float(fitted.exponent) == pytest.approx(slope, abs=0.02)
        np.testing.assert_allclose(values[1:3], law.over_samples(np.array([60.0, 200.0]), 0.3), rtol=0.12)
        share = float(law.over_samples(50.0, 0.0) / law.over_latents(50.0))
        known = {1.5: 1.880, 2.0: 2.467}
        assert share == pytest.approx(known.get(exponent, share), abs=5.1e-4)
    several = jax.jit(jax.vmap(lambda size: unseen_risk(power_law(2000, 1.5), size, 0.0)))(np.array([10.0, 300.0]))
    np.testing.assert_allclose(several, [exact[0], exact[-1]], rtol=1e-9)
    np.testing.assert_allclose(unseen_risk(power_law(2000, 1.5), 10, 0.0), exact[0], rtol=1e-9)
    assert float(unseen_risk(power_law(50, 1.5), 60, 0.0)) == 0
    assert float(unseen_risk(power_law(50, 1.5), np.inf, 0.0)) == 0


def test_risk_over_latents(x64):
    """Simulations at N = ∞ ended at .34580 .24427 .16857 .11312."""
    tails = [float(tail_risk(power_law(1000, 1.5), size)) for size in (4, 8, 16, 32)]
    np.testing.assert_allclose(tails, [0.34448, 0.24419, 0.16832, 0.11282], atol=5.1e-6)
    law = PowerLaw(1.5, 10**6)
    assert float(law.over_latents(32.0)) == pytest.approx(float(tail_risk(law.variances, 32)), rel=0.03)
    assert float(tail_risk(np.ones(4), 7)) == 0
    assert float(law.crossover_time(100.0) * law.top) == pytest.approx(1000)


def test_mean_field_ends_at_the_unseen_risk(x64):
    problem = ae.LinearRatios(0.001, 300.0, 2.0, covariance=power_law(60, 1.5))
    curve = ae.predict(problem, [100.0], "mean-field")
    assert float(curve.population[0]) == pytest.approx(float(unseen_risk(power_law(60, 1.5), 30, 0.3)), abs=1e-6)


def test_a_fitted_exponent_is_that_of_its_window(x64):
    x = np.geomspace(1, 1e4, 40)
    values = np.where(x < 100, 7 * x**-0.5, 70 * x**-1.0)
    early, late = fit_exponent(x, values, (0, 90)), fit_exponent(x, values, (110, np.inf))
    assert float(early.exponent) == pytest.approx(0.5)
    assert float(early.prefactor) == pytest.approx(7)
    assert float(late.exponent) == pytest.approx(1.0)
    assert float(early.standard_error) < 1e-7
    noisy = fit_exponent(x, values * np.exp(0.1 * np.cos(7 * x)), (0, 90))
    assert 1e-3 < float(noisy.standard_error) < 0.1
    slope = jax.grad(lambda a: PowerLaw(a, 100).over_time(np.array([1.0]), 0.1)[0])(1.5)
    step = 1e-6
    ends = [float(PowerLaw(1.5 + sign * step, 100).over_time(np.array([1.0]), 0.1)[0]) for sign in (1, -1)]
    assert float(slope) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_bad_input():
    with pytest.raises(ValueError, match=r"`exponent` must be finite and above 1, but got 1\.0"):
        PowerLaw(1.0, 10)
    with pytest.raises(ValueError, match="`window` must be one with at least three points"):
        fit_exponent(np.arange(1.0, 9), np.ones(8), (2, 3))
    with pytest.raises(ValueError, match="`values` must be positive in the window"):
        fit_exponent(np.arange(1.0, 9), -np.ones(8))
    with pytest.raises(ValueError, match="`values` must be of the shape"):
        fit_exponent(np.arange(1.0, 9), np.ones(7))
