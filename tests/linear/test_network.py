import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles.draws import weights_on_data
from oracles.prism import full_matrix_flow
from tolerance import rounding

from aetheory import LinearAutoencoder, LinearProblem, gradient_descent, gradient_flow, reconstruction_loss, simulate
from aetheory.linear.data import data_covariance

INPUT_DIM, LATENT_DIM, VARIANCE = 9, 4, 0.08
TIMES = np.array([0.0, 0.125, 0.25, 0.625, 1.5, 3.0])
KEY = jax.random.key(11)


def inputs(num_samples, seed=0):
    """Correlated, off-centre samples."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_samples, INPUT_DIM)) * np.linspace(0.4, 1.3, INPUT_DIM) + rng.normal(size=INPUT_DIM)


def centred(samples):
    return samples - samples.mean(axis=0)


def eigenbasis(samples):
    """The eigenvectors of the covariance, by ascending eigenvalue."""
    return np.linalg.eigh(centred(samples).T @ centred(samples) / len(samples))[1]


def drawn_autoencoder(samples, basis, dtype, held_out=None):
    """The very weights that `simulate` draws from `KEY`, turned back from the eigenbasis of the covariance."""
    covariance = data_covariance(
        *(None if array is None else jnp.asarray(array, dtype) for array in (samples, held_out))
    )
    repeat_key = jax.random.split(KEY, 1)[0]
    draw = weights_on_data(repeat_key, covariance, (INPUT_DIM, LATENT_DIM, len(samples)), VARIANCE, dtype)
    return LinearAutoencoder(jnp.asarray(np.asarray(basis, dtype) @ np.asarray(draw.weights)))


def simulated(samples, dtype, held_out=None, **options):
    data, held_out = (None if array is None else jnp.asarray(array, dtype) for array in (samples, held_out))
    problem = LinearProblem(INPUT_DIM, LATENT_DIM, len(samples), VARIANCE)
    return simulate(problem, jnp.asarray(TIMES, dtype), KEY, data=data, held_out=held_out, **options)


def both_risks(autoencoder, data):
    """2L/p on the training samples, and on the rows of the square root of another covariance."""
    samples, root = data
    dim = samples.shape[1]
    residual = root - autoencoder.weights @ (autoencoder.weights.T @ root)
    return 2 * reconstruction_loss(autoencoder, samples) / dim, jnp.sum(residual**2) / dim


def train_loss(autoencoder, data):
    return reconstruction_loss(autoencoder, data[0])


def flow(autoencoder, samples, root, dtype, rtol):
    data = jnp.asarray(centred(samples), dtype), jnp.asarray(root, dtype)
    times, rtol = jnp.asarray(TIMES, dtype), jnp.asarray(rtol, dtype)
    return gradient_flow(autoencoder, train_loss, times, data, metrics=both_risks, rtol=rtol)


def test_the_reconstruction_is_the_product(precision):
    rng = np.random.default_rng(1)
    weights, sample = rng.normal(size=(5, 2)), rng.normal(size=5)
    autoencoder = LinearAutoencoder(jnp.asarray(weights, precision))
    outputs = autoencoder(jnp.asarray(sample, precision))
    assert outputs.dtype == precision
    size = np.max(np.abs(weights) @ np.abs(weights).T @ np.abs(sample))
    np.testing.assert_allclose(outputs, weights @ weights.T @ sample, atol=rounding(precision, terms=5 + 2, size=size))
    many = jax.vmap(autoencoder)(jnp.asarray(np.stack([sample, 2 * sample, -sample]), precision))
    np.testing.assert_allclose(
        many, np.outer([1, 2, -1], weights @ weights.T @ sample), atol=rounding(precision, terms=5 + 2, size=2 * size)
    )


def test_orthonormal_weights_project():
    weights = jnp.eye(4)[:, :2]
    assert LinearAutoencoder(weights)(jnp.array([1.0, 2.0, 3.0, 4.0])).tolist() == [1, 2, 0, 0]


def test_the_loss_is_half_the_mean_of_a_sum_over_coordinates(precision):
    zero_map = LinearAutoencoder(jnp.zeros((2, 1), precision))
    samples = jnp.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]], precision)
    assert reconstruction_loss(zero_map, samples) == (25 + 1 + 0 + 4) / 4 / 2
    assert reconstruction_loss(lambda x: x + 1, samples) == 1  # any autoencoder; ½ · 2 coordinates · 1²
    assert reconstruction_loss(zero_map, samples).dtype == precision


def test_the_gradient_of_the_loss_is_the_vector_field_of_the_theory(x64):
    rng = np.random.default_rng(2)
    samples, weights = rng.normal(size=(7, 5)), rng.normal(size=(5, 3))
    S, error = samples.T @ samples / 7, weights @ weights.T - np.eye(5)
    gradient = jax.grad(reconstruction_loss)(LinearAutoencoder(jnp.asarray(weights)), jnp.asarray(samples))
    norm = np.linalg.norm
    residual = norm(weights) ** 2 + norm(np.eye(5))  # of x − WWᵀx, before the terms cancel
    size = 2 * residual * norm(S) * norm(weights)
    error_size = rounding(jnp.float64, terms=5 + 3 + 7 + 5, size=size)
    np.testing.assert_allclose(gradient.weights, (error @ S + S @ error) @ weights, rtol=0, atol=error_size)
    loss = reconstruction_loss(LinearAutoencoder(jnp.asarray(weights)), jnp.asarray(samples))
    allowed = rounding(jnp.float64, terms=7 * 5, condition=2 * residual / norm(error))
    np.testing.assert_allclose(2 * loss, np.trace(error @ S @ error), rtol=allowed)


def test_initial_weights_are_independent_and_normal(precision):
    variance = 0.3
    weights = np.asarray(LinearAutoencoder.initialise(jax.random.key(0), 300, 200, variance).weights)
    assert weights.shape == (300, 200)
    assert weights.dtype == precision
    # within four standard errors: of the mean, the variance, the kurtosis, and the lag-one correlations
    size, standard = weights.size, weights / math.sqrt(variance)
    assert abs(standard.mean()) < 4 / math.sqrt(size)
    assert abs((standard**2).mean() - 1) < 4 * math.sqrt(2 / size)
    assert abs((standard**4).mean() - 3) < 4 * math.sqrt(96 / size)
    assert abs((standard[1:] * standard[:-1]).mean()) < 4 / math.sqrt(size)
    assert abs((standard[:, 1:] * standard[:, :-1]).mean()) < 4 / math.sqrt(size)


def test_initial_weights_are_a_function_of_the_key():
    first, again, other = (LinearAutoencoder.initialise(jax.random.key(seed), 3, 2, 1).weights for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).all()


def test_the_variance_scales_the_weights_and_may_be_traced(x64):
    def weights(variance):
        return LinearAutoencoder.initialise(KEY, 3, 2, variance).weights

    several = jax.jit(jax.vmap(weights))(jnp.array([0.0, 1.0, 4.0]))
    np.testing.assert_array_equal(several[0], np.zeros((3, 2)))
    rtol = rounding(jnp.float64, terms=16)  # the polynomial that makes a normal number, and a root
    np.testing.assert_allclose(several[2], 2 * several[1], rtol=rtol)
    np.testing.assert_allclose(several[1], weights(1.0), rtol=rtol)
    assert weights(jnp.asarray(1.0, jnp.float32)).dtype == jnp.float32
    np.testing.assert_allclose(jax.jacobian(weights)(4.0), several[1] / 4, rtol=rtol)  # d√v/dv = 1/(2√v)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 2, 0.1), "`input_dim` must be a positive integer, but got 0."),
        ((3, -2, 0.1), "`latent_dim` must be a positive integer, but got -2."),
        ((True, 2, 0.1), "`input_dim` must be a positive integer, but got True."),
        ((3, 2, -0.1), "`init_variance` must be finite and nonnegative, but got -0.1."),
        ((3, 2, math.nan), "`init_variance` must be finite and nonnegative, but got nan."),
        ((3, 2, math.inf), "`init_variance` must be finite and nonnegative, but got inf."),
    ],
)
def test_a_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=f"^Argument {re.escape(message)}$"):
        LinearAutoencoder.initialise(KEY, *arguments)


@pytest.mark.parametrize("repeated", [1, 3])
def test_gradient_flow_of_the_module_follows_the_simulation(repeated, x64):
    samples = np.repeat(inputs(15 // repeated), repeated, axis=0)  # five different ones leave directions unseen
    autoencoder = drawn_autoencoder(samples, eigenbasis(samples), jnp.float64)
    run = flow(autoencoder, samples, np.eye(INPUT_DIM), jnp.float64, 1e-9)
    curve = simulated(samples, jnp.float64, rtol=1e-9)
    train, population = run.values.arrays[0]
    assert float(train[0]) > 1.5 * float(train[-1])  # something was learnt
    np.testing.assert_allclose(train, curve.train, rtol=1e-7)
    np.testing.assert_allclose(population, curve.population, rtol=1e-7)


def test_gradient_flow_of_the_module_follows_the_simulation_on_held_out_samples(x64):
    samples, others = inputs(15), inputs(INPUT_DIM, seed=1)
    away = others - samples.mean(axis=0)
    # the eigenvectors' signs matter here: they must be those of the simulation
    basis = np.asarray(jnp.linalg.eigh(jnp.asarray(centred(samples).T @ centred(samples) / 15))[1])
    autoencoder = drawn_autoencoder(samples, basis, jnp.float64, held_out=others)
    run = flow(autoencoder, samples, away.T / math.sqrt(len(others)), jnp.float64, 1e-9)
    curve = simulated(samples, jnp.float64, held_out=others, rtol=1e-9)
    np.testing.assert_allclose(run.values.arrays[0][0], curve.train, rtol=1e-6)
    np.testing.assert_allclose(run.values.arrays[0][1], curve.population, rtol=1e-6)


def test_gradient_descent_of_the_module_is_the_simulation_with_a_step_size(precision):
    samples, step_size = inputs(15), 0.03125
    autoencoder = drawn_autoencoder(samples, eigenbasis(samples), precision)
    data = jnp.asarray(centred(samples), precision), jnp.eye(INPUT_DIM, dtype=precision)
    steps = (TIMES / step_size).astype(int)
    assert (steps * step_size == TIMES).all()
    run = gradient_descent(
        autoencoder, train_loss, optax.sgd(step_size), int(steps[-1]), data, metrics=both_risks, record_at=steps
    )
    curve = simulated(samples, precision, step_size=step_size)
    train, population = run.values.arrays[0]
    np.testing.assert_array_equal(run.times, steps)
    tolerance = rounding(precision, terms=int(steps[-1]) * (INPUT_DIM + LATENT_DIM + 15))
    np.testing.assert_allclose(train, curve.train, rtol=tolerance)
    np.testing.assert_allclose(population, curve.population, rtol=tolerance)
    # and it is not the flow: one step of this size moves the risk by far more than the tolerance
    flowing, _ = full_matrix_flow(
        np.asarray(autoencoder.weights, float), centred(samples).T @ centred(samples) / 15, TIMES
    )
    assert abs(float(train[1]) - flowing[1]) > 1e-4


def test_on_white_samples_every_eigenvalue_moves_alone(precision):
    """On S = I the eigenvalues of W Wᵀ obey λ' = −4λ(λ−1), and the null space is never learnt."""
    white = np.linalg.qr(centred(inputs(15)))[0] * math.sqrt(15)
    weights = 0.4 * np.random.default_rng(3).normal(size=(INPUT_DIM, LATENT_DIM))
    start = np.linalg.svd(weights, compute_uv=False) ** 2
    rtol, tolerance = {"float32": (1e-6, 1e-4), "float64": (1e-9, 1e-7)}[precision.name]
    run = flow(LinearAutoencoder(jnp.asarray(weights, precision)), white, np.eye(INPUT_DIM), precision, rtol)
    growth = np.exp(4 * TIMES)[:, None]
    eigenvalues = start * growth / (1 + start * (growth - 1))
    risk = (((eigenvalues - 1) ** 2).sum(axis=1) + INPUT_DIM - LATENT_DIM) / INPUT_DIM
    np.testing.assert_allclose(run.values.arrays[0][0], risk, rtol=tolerance)
    np.testing.assert_allclose(run.values.arrays[0][1], risk, rtol=tolerance)
    learnt = np.linalg.svd(run.module.weights, compute_uv=False) ** 2
    np.testing.assert_allclose(np.sort(learnt), np.sort(eigenvalues[-1]), rtol=tolerance)
