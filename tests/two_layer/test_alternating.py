import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import assert_rounded, rounding

from aetheory import GaussianSource, TwoLayerProblem, limits, population_risk, predict, simulate
from aetheory.two_layer.network import optimal_risk, random_encoder

DIM, UNITS = 20, 16
KEY = jax.random.key(0)
BLOCKS = np.repeat([2.5, 0.7, 0.1], [6, 6, 8])
BLOCKS = BLOCKS / BLOCKS.mean()
BELOW = rounding(jnp.float64, terms=100**2)
"""A limit that nothing goes below, but by the rounding of a risk."""
LIMITS = {0.5: 0.6817, 0.8: 0.4907, 1.0: 0.3634, 1.5: 0.2756, 2.0: 0.2220, 3.0: 0.1599}


def encoder(units=UNITS, dim=DIM, seed=0):
    return random_encoder(jax.random.key(seed), dim, units)


def descend(start, covariance, num_steps=20, activation="sign", **options):
    problem = TwoLayerProblem(start.shape[1], len(start), activation, "alternating", covariance, start=start)
    return simulate(problem, np.arange(num_steps + 1), KEY, return_module=True, **options)


def full_covariance(rank=DIM):
    root = np.random.default_rng(1).normal(size=(DIM, rank))
    return root @ root.T / DIM


def by_hand(rows, covariance, num_steps, step_size):
    """The published steps in NumPy, with a symmetric square root and explicit inverses: R, tr K²/n and the overlap."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    scaled, records, c1 = rows @ root, [], math.sqrt(2 / math.pi)
    dim = len(covariance)
    start = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    for _ in range(num_steps + 1):
        scaled = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        correlations = np.clip(scaled @ scaled.T, -1, 1)
        np.fill_diagonal(correlations, 1)
        decoder = c1 * root @ scaled.T @ np.linalg.inv(2 / math.pi * np.arcsin(correlations))
        risk = (np.trace(covariance) - c1 * np.trace(decoder @ scaled @ root)) / dim
        records.append((risk, np.sum(correlations**2) / len(rows), np.sum(scaled * start) / len(rows)))
        np.fill_diagonal(correlations, 0)
        slopes = 2 / math.pi / np.sqrt(1 - correlations**2)
        np.fill_diagonal(slopes, 0)
        gradient = -2 * c1 * (root @ decoder).T + 2 * (decoder.T @ decoder * slopes) @ scaled
        scaled = scaled - step_size * gradient / (np.trace(covariance) / dim)
    return np.array(records).T


@pytest.mark.parametrize("covariance", [None, BLOCKS, full_covariance()], ids=["isotropic", "blocks", "full"])
def test_the_steps_are_those_of_the_paper(covariance, precision):
    start = encoder().astype(precision)
    run = descend(start, None if covariance is None else jnp.asarray(covariance, precision), tolerance=0.0)
    sigma = np.eye(DIM) if covariance is None else np.diag(covariance) if covariance.ndim == 1 else covariance
    expected = by_hand(np.asarray(start, np.float64), sigma, 20, 0.1)
    for name, values in zip(("risk", "second_moment", "overlap"), expected, strict=True):
        assert getattr(run, name).dtype == precision
        # 20 steps of a factor and a few products of matrices, with kernels that bend by up to 40
        error = rounding(precision, terms=20 * UNITS**2, condition=4, size=max(1, values.max()))
        np.testing.assert_allclose(getattr(run, name), values, rtol=0, atol=error)
    assert int(run.stats.num_steps[0]) == 20


@pytest.mark.parametrize("covariance", [BLOCKS, full_covariance(rank=9)], ids=["blocks", "singular"])
@pytest.mark.parametrize("activation", ["sign", "tanh"])
def test_the_last_risk_is_that_of_the_autoencoder(covariance, activation, x64):
    run = descend(encoder(), covariance, activation=activation)
    last, error = float(run.risk[-1]), rounding(jnp.float64, terms=UNITS**2 * DIM, condition=100)
    assert float(population_risk(run.module, covariance)) == pytest.approx(last, abs=error)
    assert float(optimal_risk(run.module.encoder, activation, covariance)) == pytest.approx(last, abs=error)
    rows = np.asarray(run.module.encoder)
    sigma = np.diag(covariance) if covariance.ndim == 1 else covariance
    np.testing.assert_allclose(np.einsum("ij,jk,ik->i", rows, sigma, rows), 1, atol=error)
    assert (np.diff(run.risk) < error).all()


def test_it_reaches_the_limit_and_stops(x64):
    run = descend(encoder(), None, num_steps=400, tolerance=1e-9)
    limit = float(limits.gaussian(UNITS / DIM))
    steps = int(run.stats.num_steps[0])
    assert 20 < steps < 400
    assert float(run.risk[-1]) == pytest.approx(limit, abs=1e-6)  # where the criterion stops it
    assert (run.risk >= limit - BELOW).all()
    # stopped where ten steps gained less than ten tolerances, and not before
    gains = np.asarray(run.risk[:-10] - run.risk[10:])
    assert gains[steps - 10] < 1e-8 <= gains[steps - 11]
    assert (run.risk[steps:] == run.risk[steps]).all()


def test_the_scale_of_the_covariance_does_not_matter(x64):
    one, other = (descend(encoder(), scale * BLOCKS, tolerance=1e-6) for scale in (1.0, 100.0))
    np.testing.assert_allclose(100 * one.risk, other.risk, rtol=rounding(jnp.float64, 20 * UNITS**2))
    assert int(one.stats.num_steps[0]) == int(other.stats.num_steps[0])


def test_starts_are_mapped_over(x64):
    starts = jnp.stack([encoder(seed=seed) for seed in range(3)])
    mapped = jax.jit(jax.vmap(lambda start: descend(start, BLOCKS, activation="tanh").risk))(starts)
    for risks, start in zip(mapped, starts, strict=True):
        assert_rounded(risks, descend(start, BLOCKS, activation="tanh").risk, jnp.float64, 20 * UNITS**2)


def test_equal_units_are_no_obstacle(x64):
    run = descend(encoder().at[3].set(-encoder()[4]), None)
    assert np.isfinite(run.risk).all()
    assert run.risk[-1] < run.risk[0]


def test_a_bad_tolerance():
    with pytest.raises(ValueError, match=r"^Argument `tolerance` must be finite and nonnegative, but got -1\.0\."):
        descend(encoder(), None, tolerance=-1.0)


def ends(problem, num_steps):
    """Of ten random starts: the least risk of any step and the largest last one, less the limit."""
    limit = float(predict(problem, [num_steps], "gaussian" if problem.is_isotropic else "water-filling").risk[0])
    runs = [simulate(problem, np.arange(num_steps + 1), jax.random.key(seed)) for seed in range(10)]
    return min(float(run.risk.min()) for run in runs) - limit, max(float(run.risk[-1]) for run in runs) - limit


@pytest.mark.slow
@pytest.mark.parametrize("rate", LIMITS)
def test_from_gaussian_rows_it_ends_at_the_limit(rate, x64):
    """d = 100, ten random instances: within .001 for r ≤ 1 and .002 beyond, never below."""
    lowest, last = ends(TwoLayerProblem(100, int(100 * rate), method="alternating"), 500)
    assert float(limits.gaussian(rate)) == pytest.approx(LIMITS[rate], abs=5e-5)
    assert lowest > -BELOW
    assert last < (0.001 if rate <= 1 else 0.002)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["erf", "tanh", "hard_tanh", "sine"])
def test_other_activations_never_go_below_their_limit(activation, x64):
    for covariance in (np.ones(60), GaussianSource(full_covariance())):
        dim = len(covariance) if isinstance(covariance, np.ndarray) else covariance.input_dim
        for units in (dim // 2, dim, 2 * dim):
            lowest, _ = ends(TwoLayerProblem(dim, units, activation, "alternating", covariance), 300)
            assert lowest > -BELOW
