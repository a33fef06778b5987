import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import assert_rounded, rounding

from aetheory import (
    GroupSparseAutoencoder,
    GroupSparseSource,
    orthonormal_groups_dictionary,
    perturbed_dictionary,
    reconstruction_loss,
    recovery,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def problem():
    """A dictionary of eight orthonormal pairs, one near it, and signals of one active group of norm 4."""
    truth = orthonormal_groups_dictionary(KEY, 60, 16, 2)
    learnt = perturbed_dictionary(jax.random.key(1), truth, 0.06)
    return learnt, GroupSparseSource(truth, 2, 1, min_norm=4, max_norm=4)


def test_the_average_is_the_gradient_on_all_samples_together(problem):
    learnt, source = problem
    autoencoder = GroupSparseAutoencoder(learnt, 2.0, 2)
    estimate = recovery.expected_gradient(autoencoder, source, KEY, num_batches=5, batch_size=20)
    batches = [source.sample(key, 20) for key in jax.random.split(KEY, 5)]
    gradient = eqx.filter_jit(jax.grad(reconstruction_loss))
    single = np.stack([gradient(autoencoder, batch).dictionary for batch in batches])
    together = gradient(autoencoder, jnp.concatenate(batches)).dictionary
    error = rounding(jnp.float32, terms=100, size=np.abs(single).max())
    np.testing.assert_allclose(estimate.mean, together, rtol=0, atol=error)
    np.testing.assert_allclose(estimate.standard_error, single.std(axis=0, ddof=1) / math.sqrt(5), rtol=0, atol=error)


def test_the_standard_error_is_that_of_repetitions(problem):
    learnt, source = problem
    autoencoder = GroupSparseAutoencoder(learnt, 2.0, 2)
    keys = jax.random.split(jax.random.key(4), 40)

    @jax.jit
    @jax.vmap
    def repeat(key):
        return recovery.expected_gradient(autoencoder, source, key, num_batches=10, batch_size=20)

    means, errors = repeat(keys)
    ratio = np.mean(np.var(means, axis=0, ddof=1)) / np.mean(np.asarray(errors) ** 2)
    assert ratio == pytest.approx(1, abs=0.2)  # of 40 repetitions


def test_the_published_gradient_is_its_formula_group_by_group(precision):
    learnt, truth = (np.random.default_rng(seed).normal(size=(9, 6)) for seed in (0, 1))
    shrinkage = np.array([0.5, 0.6, 0.7])
    result = recovery.published_gradient(
        jnp.asarray(learnt, precision),
        jnp.asarray(truth, precision),
        group_size=2,
        active_probability=0.3,
        shrinkage=jnp.asarray(shrinkage, precision),
    )
    assert result.dtype == precision
    for g, tau in enumerate(shrinkage):
        mine, own = learnt[:, 2 * g : 2 * g + 2], truth[:, 2 * g : 2 * g + 2]
        expected = tau * 0.3 * (2 - tau) * (mine - own) @ own.T @ mine
        size = (np.abs(mine - own) @ np.abs(own).T @ np.abs(mine)).max()
        assert_rounded(result[:, 2 * g : 2 * g + 2], expected, precision, terms=11, size=size, absolute=True)


def test_the_published_contraction_agrees_with_its_formula_and_is_never_positive(x64):
    rng = np.random.default_rng(0)
    low = rng.uniform(0.01, 1, 2000)
    high = low * rng.uniform(1, 3, 2000)
    tau, probability, delta = rng.uniform(0, 1, (3, 2000))
    for size in (1, 2, 5):
        rho = recovery.contraction_factor(
            step_size=0.1, shrinkage=tau, active_probability=probability, alpha_min=low, alpha_max=high,
            group_size=size, closeness=delta,
        )  # fmt: skip
        bracket = low - size * (high * np.sqrt(size**2 + 1) + delta) ** 2 / low
        assert_rounded(rho, 0.1 * tau * probability * (2 - tau) * bracket, jnp.float64, terms=16)
        assert (rho <= 0).all()


def test_the_alignment_is_the_range_of_singular_values(problem):
    learnt, source = problem
    low, high = recovery.alignment_range(learnt, source.dictionary, 2)
    values = [
        np.linalg.svd(np.asarray(source.dictionary)[:, k : k + 2].T @ np.asarray(learnt)[:, k : k + 2])[1]
        for k in range(0, 16, 2)
    ]
    np.testing.assert_allclose([low, high], [np.min(values), np.max(values)], rtol=rounding(jnp.float32, terms=60))


def test_measured_contraction_and_radius(x64):
    np.testing.assert_allclose(recovery.measured_contraction(np.array([8.0, 4.0, 3.0, 6.0])), [0.5, 0.25, -1])
    rho = jnp.array([0.1, 0.0, -0.5])
    radius = recovery.neighbourhood_radius(950, 500, rho)
    np.testing.assert_allclose(radius[0], math.log(950) ** 3 / 500**2 / 0.1)
    assert np.isposinf(radius[1:]).all()
    e = 1.0
    for _ in range(500):  # e ← (1 − ρ)e + log³n/Γ² rests there
        e = 0.9 * e + math.log(950) ** 3 / 500**2
    assert float(radius[0]) == pytest.approx(e)


def test_the_fixed_point_of_the_column_norm(precision):
    norms = jnp.asarray([0.5, 4.5, 100.0], precision)
    s = recovery.fixed_point_norm(2.0, norms)
    assert s.dtype == precision
    np.testing.assert_allclose(s**2 * (1 - 2 / (s * norms)), 1, rtol=rounding(precision, terms=8, size=np.max(s) ** 2))
    assert float(s[1]) == pytest.approx(1.2466, abs=5e-5)  # as printed
    # one step with orthogonal columns of that norm reconstructs codes of that norm exactly
    code = np.zeros(6)
    code[2:4] = 4.5 * np.array([0.6, -0.8])
    autoencoder = GroupSparseAutoencoder(s[1] * jnp.eye(6, dtype=precision), 2.0, 2)
    np.testing.assert_allclose(
        autoencoder(jnp.asarray(code, precision)), code, atol=rounding(precision, terms=4, size=4.5)
    )


test_a_bad_argument = refused(
    (lambda: recovery.fixed_point_norm(-1, 4.5), "`threshold` must be finite and nonnegative, but got -1."),
    (lambda: recovery.measured_contraction(np.ones(1)), "`squared_distances` must be a vector of at least two"),
    (lambda: recovery.measured_contraction(np.zeros(3)), "`squared_distances` must be finite and positive"),
    (lambda: recovery.neighbourhood_radius(0, 5, 0.1), "`input_dim` must be a positive integer, but got 0."),
    (
        lambda: recovery.contraction_factor(
            step_size=0.1, shrinkage=1.5, active_probability=0.1, alpha_min=1.0, alpha_max=1.0, group_size=2
        ),
        "`shrinkage` must be in [0, 1], but got 1.5.",
    ),
    (
        lambda: recovery.expected_gradient(
            GroupSparseAutoencoder(np.eye(4), 1.0), GroupSparseSource(np.eye(3), 1, 1), KEY
        ),
        "`source` must be of the autoencoder's input dimension, 4, but got 3.",
    ),
    (
        lambda: recovery.expected_gradient(
            GroupSparseAutoencoder(np.eye(4), 1.0), GroupSparseSource(np.eye(4), 1, 1), KEY, num_batches=1
        ),
        "`num_batches` must be at least 2, for the standard error, but got 1.",
    ),
)
