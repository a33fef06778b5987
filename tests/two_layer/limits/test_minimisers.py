import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import assert_rounded, rounding

from aetheory import limits, population_risk

KEY = jax.random.key(8)
BLOCKS = np.repeat([2.5, 0.7, 0.1], [12, 12, 16])
BLOCKS = BLOCKS / BLOCKS.mean()


def excess(covariance, num_units, activation="sign"):
    """The risk over the limit, and the autoencoder."""
    variances = covariance if np.ndim(covariance) == 1 else np.maximum(np.linalg.eigvalsh(covariance), 0)
    autoencoder = limits.minimiser(KEY, covariance, num_units, activation)
    gap = above(autoencoder, jnp.asarray(covariance), jnp.asarray(variances), num_units, activation)
    return float(gap), autoencoder


@eqx.filter_jit
def above(autoencoder, covariance, variances, num_units, activation):
    limit = limits.water_filling(jnp.sqrt(variances), num_units, activation).risk
    return population_risk(autoencoder, covariance) - limit


@pytest.mark.parametrize("activation", ["sign", "tanh"])
def test_orthonormal_rows_attain_the_limit(activation, precision):
    gap, autoencoder = excess(jnp.ones(40, precision), 25, activation)
    error = rounding(precision, terms=25 * 25)  # 25 equations are solved
    assert autoencoder.encoder.dtype == precision
    assert gap == pytest.approx(0, abs=error)
    rows = np.asarray(autoencoder.encoder)
    np.testing.assert_allclose(rows @ rows.T, np.eye(25), atol=rounding(precision, terms=40))
    sigma = autoencoder.activation
    scale = sigma.linear_coefficient / sigma.second_moment
    np.testing.assert_allclose(autoencoder.decoder, scale * autoencoder.encoder.T, atol=scale * error)


def test_more_units_than_dimensions_are_a_tight_frame(x64):
    gap, autoencoder = excess(np.ones(40), 60)
    # after 50 alternating projections, here and below
    np.testing.assert_allclose(autoencoder.encoder.T @ autoencoder.encoder, 1.5 * np.eye(40), atol=1e-6)
    assert_rounded(jnp.linalg.norm(autoencoder.encoder, axis=1), 1, jnp.float64, terms=40, absolute=True)
    assert 0 < gap < 0.002
    larger, _ = excess(np.ones(80), 120)
    assert 0 < larger < 0.7 * gap  # O(1/d)


@pytest.mark.parametrize("num_units", [8, 20, 40, 60])
def test_general_covariance_follows_the_water_filling_allocation(num_units, x64):
    gap, autoencoder = excess(BLOCKS, num_units)
    rows = np.asarray(autoencoder.encoder) * np.sqrt(BLOCKS)
    allocation = np.asarray(limits.water_filling(np.sqrt(BLOCKS), num_units).allocation)
    np.testing.assert_allclose(rows.T @ rows, np.diag(allocation), atol=5e-3)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=0, atol=rounding(jnp.float64, terms=40))
    assert -rounding(jnp.float64, terms=num_units**2) < gap < 0.006


def test_a_singular_full_covariance(x64):
    root = np.random.default_rng(0).normal(size=(20, 12))
    gap, autoencoder = excess(root @ root.T / 20, 15)
    assert np.isfinite(autoencoder.encoder).all()
    assert 0 < gap < 0.02


test_a_bad_argument = refused(
    (lambda: limits.minimiser(KEY, np.ones(3), 0), "`num_units` must be a positive integer, but got 0."),
    (lambda: limits.minimiser(KEY, np.ones(3), 2, "relu"), "`activation` must be odd"),
    (lambda: limits.minimiser(KEY, [1.0, -1.0], 2), "`covariance` must be a non-empty vector of variances"),
)
