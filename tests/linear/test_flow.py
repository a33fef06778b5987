"""The flow of one draw, against full matrices."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import TIMES, as_ensemble, draw, follow, followed
from oracles.prism import full_matrix_flow
from tolerance import rounding

from aetheory.linear.flow import risks, vector_field


@pytest.mark.parametrize("dims", [(9, 4, 20), (9, 9, 20), (9, 4, 5), (12, 8, 3)])
def test_eigenbasis_flow_is_the_full_matrix_flow(x64, dims):
    """Same draw, rotated to the eigenbasis of S with its zero eigenvalues last: nothing changes."""
    input_dim, _, num_samples = dims
    weights, _, covariance = draw(np.random.default_rng(0), *dims)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    rank = min(num_samples, input_dim)
    reduced = follow(as_ensemble(basis.T @ weights, spectrum[:rank], input_dim))
    expected = full_matrix_flow(weights, covariance, TIMES)
    np.testing.assert_allclose(reduced, expected, atol=1e-7)


@pytest.mark.parametrize("scale", [0.05, 1.0, 2.0, 100.0])
@pytest.mark.parametrize("dims", [(50, 25, 100), (30, 20, 12), (40, 80, 60)])
def test_the_tolerance_bounds_the_error_of_the_risks(x64, dims, scale):
    """As shares of the initial risks, against SciPy on full matrices, whether the flow follows W or M."""
    input_dim, latent_dim, num_samples = dims
    times = TIMES / (1 + scale)
    weights, _, covariance = draw(np.random.default_rng(0), *dims, scale)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    ensemble = as_ensemble(basis.T @ weights, spectrum[: min(num_samples, input_dim)], input_dim)
    ensemble = replace(ensemble, follow_map=latent_dim > input_dim)
    exact = np.stack(full_matrix_flow(weights, covariance, times))
    for rtol in (1e-4, 1e-5, 1e-6):
        curves, _ = followed(ensemble, jnp.asarray(times), rtol=jnp.asarray(rtol), max_steps=4096)
        errors = np.abs(np.stack([curves.train, curves.population]) - exact) / exact[:, :1]
        assert errors[0].max() < 3 * rtol
        assert errors[1].max() < 10 * rtol


def test_large_blocks_use_symmetry_and_change_nothing(x64):
    """One velocity and both risks at a size where products are split, against full matrices."""
    weights, _, covariance = draw(np.random.default_rng(8), 600, 270, 1000)
    spectrum, basis = np.linalg.eigh(covariance)
    ensemble = as_ensemble(basis.T @ weights, spectrum, 600)
    rotated, diagonal = np.asarray(ensemble.weights), np.diag(spectrum)
    error = rotated @ rotated.T - np.eye(600)
    measured = vector_field(0.0, ensemble.weights.mT, ensemble).mT
    allowed = rounding(jnp.float64, terms=270 + 600, size=2 * spectrum.max() * np.linalg.norm(rotated, 2) ** 3)
    np.testing.assert_allclose(measured, -(error @ diagonal + diagonal @ error) @ rotated, rtol=0, atol=allowed)
    values = risks(0.0, ensemble.weights.mT, ensemble)
    allowed = rounding(jnp.float64, terms=270 + 600**2)
    assert float(values.train) == pytest.approx(np.sum(error * (error @ diagonal)) / 600, rel=allowed)
    assert float(values.population) == pytest.approx(np.sum(error**2) / 600, rel=allowed)


@pytest.mark.parametrize("num_samples", [12, 3])
def test_latent_dimensions_beyond_p_never_move(x64, num_samples):
    """W = L Q on the same draw: the flow of the p × p factor L has the same risks."""
    weights, _, covariance = draw(np.random.default_rng(1), 6, 25, num_samples)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    factor = np.linalg.qr((basis.T @ weights).T)[1].T
    rank = min(num_samples, 6)
    reduced = follow(as_ensemble(factor, spectrum[:rank], 6))
    np.testing.assert_allclose(reduced, full_matrix_flow(weights, covariance, TIMES), atol=1e-7)


def test_directions_without_data_enter_through_their_gram_matrix(x64):
    """Rows of W outside the data's span replaced by an H × H factor of the same BᵀB on the same draw."""
    input_dim, latent_dim, num_samples = 30, 4, 5
    weights, _, covariance = draw(np.random.default_rng(2), input_dim, latent_dim, num_samples)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    rotated = basis.T @ weights
    factor = np.linalg.qr(rotated[num_samples:])[1]
    reduced = np.concatenate([rotated[:num_samples], factor])
    assert reduced.shape == (num_samples + latent_dim, latent_dim)
    measured = follow(as_ensemble(reduced, spectrum[:num_samples], input_dim))
    np.testing.assert_allclose(measured, full_matrix_flow(weights, covariance, TIMES), atol=1e-7)


def test_float32_follows_float64_on_the_same_draw(x64):
    weights, _, covariance = draw(np.random.default_rng(0), 9, 4, 20)
    spectrum, basis = np.linalg.eigh(covariance)
    double = as_ensemble(basis.T @ weights, spectrum, 9)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), double)
    curves, stats = followed(single, jnp.asarray(TIMES, jnp.float32), rtol=jnp.float32(1e-6), max_steps=4096)
    assert curves.train.dtype == jnp.float32
    assert bool(stats.succeeded)
    # what the solver honours in float32 is 16 eps; the population risk is within ten times that
    allowed = 10 * 16 * float(jnp.finfo(jnp.float32).eps)
    np.testing.assert_allclose(np.stack([curves.train, curves.population]), follow(double), rtol=0, atol=allowed)
