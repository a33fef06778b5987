import numpy as np
import pytest
import scipy.stats
from scipy.stats import t as student
from tolerance import rounding

import aetheory as ae
from aetheory.inference import uncertainty

TIMES = np.linspace(0, 1, 15)
JACOBIAN = np.stack([np.ones(15), TIMES], axis=-1)[None]


def draws(count, seed, scale=1.0):
    """Lines with random ends: noise that is common to all times."""
    ends = scale * np.random.default_rng(seed).standard_normal((count, 2))
    return (ends @ JACOBIAN[0].T)[:, None]


def few_repeats(seed):
    """Four draws of six independent modes at 15 times."""
    modes = np.stack([np.sin((3 * mode + 3) * TIMES + mode) for mode in range(6)])
    return np.random.default_rng(seed).standard_normal((4, 6)) @ modes


def test_intervals_from_few_repeats_count_the_noise_of_the_weights():
    # the weights are made of the same four repeats: with them taken as given, four in five cover
    covered, taken_as_given = [], []
    quantile = student.ppf(0.975, 3)
    for seed in range(1000):
        observed = ae.Observations.of({"time": TIMES, "train": few_repeats(seed)})
        weighted = (JACOBIAN * observed.weights[..., None])[0]
        solve = np.linalg.pinv(weighted) * observed.weights
        estimate, each = solve @ observed.values[0], (observed.repeats[:, 0] - observed.values[0]) @ solve.T
        found = uncertainty(JACOBIAN, observed.values - JACOBIAN @ estimate, observed)
        assert found.degrees_of_freedom == 3
        covered.append(np.abs(estimate) <= quantile * np.sqrt(np.diag(found.covariance)))
        taken_as_given.append(np.abs(estimate) <= quantile * np.sqrt(np.sum(each**2, axis=0) / 12))
    # 1000 trials know a share of .95 to .7 %
    np.testing.assert_allclose(np.mean(covered, axis=0), 0.95, atol=0.02)
    assert (np.mean(taken_as_given, axis=0) < 0.9).all()


def test_where_weights_do_not_matter_the_jackknife_is_the_scatter_of_the_repeats():
    repeats = draws(9, 3) + 2.0
    observed = ae.Observations.of({"time": TIMES, "train": repeats[:, 0]})
    # weights make no difference to repeats that are lines themselves
    each = np.array([np.linalg.lstsq(JACOBIAN[0], one, rcond=None)[0] for one in repeats[:, 0]])
    residuals = observed.values - JACOBIAN @ each.mean(axis=0)
    found = uncertainty(JACOBIAN, residuals, observed)
    np.testing.assert_allclose(found.covariance, np.cov(each.T) / 9, rtol=rounding(float, 9 * 15, 1e3))


def test_noise_of_a_correction_is_added_to_that_of_the_repeats():
    # least squares of a line: both coordinates have the variance 1/12 of the repeats' mean and 1/24 of the simulations'
    errors = []
    for seed in range(200):
        observed = ae.Observations.of({"time": TIMES, "train": draws(12, seed)[:, 0]})
        residuals = observed.values - observed.values.mean()
        found = uncertainty(JACOBIAN, residuals, observed, simulations=draws(24, 1000 + seed))
        plain = uncertainty(JACOBIAN, residuals, observed)
        np.testing.assert_allclose(found.covariance - found.simulations, plain.covariance, atol=rounding(float, 24))
        errors.append((plain.covariance[0, 0], found.simulations[0, 0]))
        assert plain.degrees_of_freedom == 11
        assert 11 <= found.degrees_of_freedom <= 34
    # the mean of 200 χ² variances of 11 degrees of freedom is known to √(2/11/200) = 3 %
    np.testing.assert_allclose(np.mean(errors, axis=0), [1 / 12, 1 / 24], rtol=0.1)


def test_noise_of_a_correction_is_added_to_a_bound():
    spread = np.full((1, 15), 0.1)
    observed = ae.Observations(TIMES, ("train",), np.zeros((1, 15)), spread, None, 5)
    plain = uncertainty(JACOBIAN, spread, observed)
    found = uncertainty(JACOBIAN, spread, observed, simulations=draws(8, 0))
    for gradient in np.eye(2):
        added = gradient @ found.simulations @ gradient
        assert found.standard_error(gradient) ** 2 == pytest.approx(plain.standard_error(gradient) ** 2 + added)


def test_a_single_curve_has_the_larger_of_two_covariances():
    """That of noise correlated over ⌈√15⌉ = 4 times, of residuals over 1 − leverage, and that of independent noise."""
    residuals = np.random.default_rng(0).standard_normal((1, 15))
    found = uncertainty(JACOBIAN, residuals, ae.Observations(TIMES, ("train",), np.zeros((1, 15)))).covariance
    solve, lags = np.linalg.pinv(JACOBIAN[0]), np.abs(np.subtract.outer(np.arange(15), np.arange(15)))
    away = residuals[0] / (1 - np.diag(JACOBIAN[0] @ solve))
    correlated = solve @ (np.outer(away, away) * np.maximum(0, 1 - lags / 5)) @ solve.T
    independent = np.linalg.inv(JACOBIAN[0].T @ JACOBIAN[0]) * np.sum(residuals**2) / 13
    for other in (correlated, independent):
        assert np.linalg.eigvalsh(found - other).min() > -1e-12
    # no larger than it need be: in one direction each is attained
    assert np.abs(np.linalg.eigvalsh(found - correlated)).min() < 1e-12


@pytest.mark.parametrize("num_times", [12, 30, 200])
def test_independent_noise_is_covered_where_few_times_decide(num_times):
    """A parameter that is seen at the first times only, of which a fit follows the noise."""
    times, rng = np.linspace(0, 1, num_times), np.random.default_rng(0)
    jacobian = np.stack([np.exp(-30 * times), 1 - times], axis=1)
    observed = ae.Observations(times, ("train",), np.zeros((1, num_times)))
    solve, hits = np.linalg.pinv(jacobian), np.zeros(2)
    for _ in range(400):
        noise = rng.standard_normal(num_times)
        off = solve @ noise
        found = uncertainty(jacobian[None], (noise - jacobian @ off)[None], observed)
        quantile = scipy.stats.t.ppf(0.975, found.degrees_of_freedom)
        hits += [abs(one) < quantile * found.standard_error(row) for one, row in zip(off, np.eye(2), strict=True)]
    assert (hits / 400 > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)).all()
