"""The flow of one draw, against full matrices."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import TIMES, as_ensemble, covariance_matrix, draw, follow, followed
from oracles.prism import full_matrix_flow
from scipy.integrate import solve_ivp
from tolerance import rounding

import aetheory as ae
from aetheory.linear.flow import risks, vector_field


@pytest.mark.parametrize("dims", [(9, 4, 20), (9, 9, 20), (9, 4, 5)])
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


@pytest.mark.parametrize("num_samples", [20, 5])
def test_latent_dimensions_beyond_p_never_move(x64, num_samples):
    """W = L Q on the same draw: the flow of the p × p factor L has the same risks."""
    weights, _, covariance = draw(np.random.default_rng(1), 9, 25, num_samples)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    factor = np.linalg.qr((basis.T @ weights).T)[1].T
    rank = min(num_samples, 9)
    reduced = follow(as_ensemble(factor, spectrum[:rank], 9))
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


@pytest.mark.parametrize(
    ("dims", "covariance"), [((12, 5, 30), None), ((12, 20, 6), None), ((12, 5, 8), np.geomspace(1, 0.1, 12))]
)
def test_quantiles_are_those_of_the_map_by_small_steps(x64, dims, covariance):
    """W alone, M with directions that no sample spans, and a covariance: the eigenvalues that are not 0 for good."""
    problem, levels = ae.LinearProblem(*dims, 0.5 / dims[0], covariance=covariance), np.array([0.0, 0.3, 0.5, 1.0])
    key, times = jax.random.key(3), np.array([0.0, 0.1, 0.4, 1.5])
    curve = ae.simulate(problem, times, key, quantiles=levels)
    ensemble = eqx.filter_jit(problem.experiment(times).draw)(jax.random.split(key, 1)[0])
    rows, rank = ensemble.weights.shape[0], ensemble.spectrum.shape[0]
    seen = np.zeros((rows, rows))
    seen[:rank, :rank] = covariance_matrix(ensemble)
    start = np.asarray(ensemble.weights)

    def velocity(_, flat):
        weights = flat.reshape(start.shape)
        error = weights @ weights.T - np.eye(rows)
        return -((error @ seen + seen @ error) @ weights).ravel()

    found = solve_ivp(velocity, (0, times[-1]), start.ravel(), t_eval=times, rtol=1e-10, atol=1e-12).y.T
    for values, weights in zip(curve.spectrum, found.reshape(-1, *start.shape), strict=True):
        eigenvalues = np.linalg.svd(weights, compute_uv=False) ** 2
        assert len(eigenvalues) == min(dims[:2])
        np.testing.assert_allclose(values, np.quantile(eigenvalues, levels), rtol=1e-5, atol=1e-6)


def test_quantiles_of_explicit_modes_move_alone(precision):
    """Every eigenvalue obeys dλ/dt = −4 (λ−1) λ, and levels at the order statistics are eigenvalues themselves."""
    problem, times = ae.LinearProblem(9, 5, np.inf, 1.0), np.array([0.0, 0.2, 1.0], precision)
    first, *later = ae.simulate(problem, times, jax.random.key(0), quantiles=np.linspace(0, 1, 5)).spectrum
    for time, values in zip(times[1:], later, strict=True):
        np.testing.assert_allclose(values, first / (first + (1 - first) * np.exp(-4 * time)), rtol=2e-5)


@pytest.mark.parametrize(
    ("options", "levels", "message"),
    [
        ({}, [0.5, 1.5], "Argument `quantiles` must be a vector of levels between 0 and 1, but got"),
        ({"tied": False}, [0.5], "Argument `quantiles` must be None for untied weights"),
    ],
)
def test_quantiles_are_refused(options, levels, message):
    with pytest.raises(ValueError, match=message):
        ae.simulate(ae.LinearProblem(4, 2, 8, 0.1, **options), [0.0, 1.0], jax.random.key(0), quantiles=levels)
