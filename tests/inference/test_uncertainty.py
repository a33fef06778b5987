import numpy as np
import pytest

import aetheory as ae
from aetheory.inference import uncertainty

TIMES = np.linspace(0, 1, 15)
JACOBIAN = np.stack([np.ones(15), TIMES], axis=-1)[None]


def draws(count, seed, scale=1.0):
    """Lines with random ends: noise that is common to all times."""
    ends = scale * np.random.default_rng(seed).standard_normal((count, 2))
    return (ends @ JACOBIAN[0].T)[:, None]


def test_noise_of_a_correction_is_added_to_that_of_the_repeats():
    # least squares of a line: both coordinates have the variance 1/12 of the repeats' mean and 1/24 of the simulations'
    weights, errors = np.ones((1, 15)), []
    for seed in range(200):
        observed = ae.Observations.of({"time": TIMES, "train": draws(12, seed)[:, 0]})
        residuals = observed.values - observed.values.mean()
        found = uncertainty(JACOBIAN, residuals, weights, observed, simulations=draws(24, 1000 + seed))
        plain = uncertainty(JACOBIAN, residuals, weights, observed)
        np.testing.assert_allclose(found.covariance - found.simulations, plain.covariance, atol=1e-12)
        errors.append((plain.covariance[0, 0], found.simulations[0, 0]))
        assert plain.degrees_of_freedom == 11
        assert 11 <= found.degrees_of_freedom <= 34
    # the mean of 200 χ² variances of 11 degrees of freedom is known to √(2/11/200) = 3 %
    np.testing.assert_allclose(np.mean(errors, axis=0), [1 / 12, 1 / 24], rtol=0.1)


def test_noise_of_a_correction_is_added_to_a_bound():
    spread = np.full((1, 15), 0.1)
    observed = ae.Observations(TIMES, ("train",), np.zeros((1, 15)), spread, None, 5)
    plain = uncertainty(JACOBIAN, spread, np.ones((1, 15)), observed)
    found = uncertainty(JACOBIAN, spread, np.ones((1, 15)), observed, simulations=draws(8, 0))
    for gradient in np.eye(2):
        added = gradient @ found.simulations @ gradient
        assert found.standard_error(gradient) ** 2 == pytest.approx(plain.standard_error(gradient) ** 2 + added)
