import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import assert_rounded, rounding

from aetheory import GaussianSource
from aetheory.sources.source import Source

KEY = jax.random.key(2)


def covariance_of(samples):
    return np.asarray(samples).T @ np.asarray(samples) / len(samples)


def correlated(dim, rank=None):
    root = np.random.default_rng(0).normal(size=(dim, dim if rank is None else rank))
    return root @ root.T / dim


@pytest.mark.parametrize(
    "covariance",
    [np.array([2.0, 0.5, 0.0, 1.0]), correlated(4), correlated(4, rank=2)],
    ids=["diagonal", "full", "singular"],
)
def test_samples_have_the_covariance(covariance, precision):
    source = GaussianSource(jnp.asarray(covariance, precision))
    sigma = np.diag(covariance) if covariance.ndim == 1 else covariance
    assert isinstance(source, Source)
    assert source.covariance.dtype == precision
    rounded = rounding(precision, terms=4 * 4, size=np.linalg.norm(sigma))  # an eigendecomposition, and back
    np.testing.assert_allclose(source.covariance, sigma, atol=rounded)
    num_samples = 100_000
    samples = source.sample(KEY, num_samples)
    assert samples.shape == (num_samples, source.input_dim) == (num_samples, 4)
    assert samples.dtype == precision
    # the variance of an entry of a sample covariance is (Σ_ii Σ_jj + Σ_ij²)/N
    error = np.sqrt((np.outer(np.diag(sigma), np.diag(sigma)) + sigma**2) / num_samples)
    assert (np.abs(covariance_of(samples) - sigma) <= 4.5 * error + rounded).all()
    # Gaussian: the fourth moment of a standardised direction is 3
    direction = np.asarray(samples) @ np.array([0.3, -0.2, 0.9, 0.4])
    direction = direction / direction.std()
    assert abs((direction**4).mean() - 3) < 5 * math.sqrt(96 / num_samples)


def test_sources_of_one_covariance_decompose_it_once(monkeypatch):
    decomposed, eigh = [], jnp.linalg.eigh
    monkeypatch.setattr(jnp.linalg, "eigh", lambda matrix: decomposed.append(matrix.shape) or eigh(matrix))
    covariance = correlated(5)
    first, second = GaussianSource(covariance), GaussianSource(jnp.asarray(covariance))
    np.testing.assert_array_equal(first.sample(KEY, 3), second.sample(KEY, 3))
    other = jax.jit(GaussianSource)(jnp.asarray(2 * covariance))
    np.testing.assert_allclose(
        other.covariance, 2 * first.covariance, atol=rounding(other.variances.dtype, terms=100, size=10)
    )
    assert decomposed == [(5, 5), (5, 5)]


def test_isotropic_and_power_law(precision):
    np.testing.assert_array_equal(GaussianSource.isotropic(3).covariance, np.eye(3))
    source = GaussianSource.power_law(5, 1.5)
    assert source.variances.dtype == precision
    assert float(jnp.mean(source.variances)) == pytest.approx(1, rel=rounding(precision, terms=2 * 5))
    assert_rounded(
        source.variances / source.variances[0], np.arange(1, 6) ** -1.5, precision, terms=4, condition=1.5 * math.log(5)
    )
    np.testing.assert_array_equal(GaussianSource.power_law(4, 0.0).variances, np.ones(4))


def test_samples_are_a_function_of_the_key():
    source = GaussianSource.isotropic(3)
    assert (source.sample(KEY, 5) == source.sample(KEY, 5)).all()
    assert (source.sample(KEY, 5) != source.sample(jax.random.key(3), 5)).all()


def test_a_source_goes_through_jit(x64):
    def total(exponent):
        return jnp.sum(GaussianSource.power_law(4, exponent).sample(KEY, 7) ** 2)

    assert_rounded(jax.jit(total)(0.7), float(total(0.7)), jnp.float64, terms=4 * 7, condition=2)
    assert np.isfinite(jax.grad(total)(0.7))


test_a_bad_argument = refused(
    (lambda: GaussianSource([1.0, -1.0]), "`covariance` must be … smallest eigenvalue is -1."),
    (lambda: GaussianSource.isotropic(0), "`input_dim` must be a positive integer, but got 0."),
    (lambda: GaussianSource.power_law(3, -1.0), "`exponent` must be a finite, nonnegative number, but got -1.0."),
    (lambda: GaussianSource.isotropic(2).sample(KEY, 0), "`num_samples` must be a positive integer, but got 0."),
)
