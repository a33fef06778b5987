import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tolerance import rounding

from aetheory import (
    GaussianSource,
    SparseSource,
    TwoLayerAutoencoder,
    limits,
    population_risk,
    sample_descent,
    tied_flow,
)
from aetheory.two_layer.activations import sign
from aetheory.two_layer.network import random_encoder, tied_risk

DIM, UNITS = 20, 16
KEY = jax.random.key(1)
TIMES = np.array([0.0, 0.5, 2.0, 500.0, 1000.0])


@pytest.fixture
def promoting():
    """Optax mixes Python numbers of two precisions."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def test_the_tied_flow_reaches_the_limit_on_the_spheres(precision):
    activation = "sign" if precision == jnp.float32 else "tanh"
    start = random_encoder(KEY, DIM, UNITS)
    run = tied_flow(3 * start, TIMES, activation=activation)
    limit = float(limits.gaussian(UNITS / DIM, activation))
    assert run.metrics.dtype == precision
    np.testing.assert_allclose(run.metrics[0], tied_risk(start, activation), rtol=rounding(precision, UNITS**2))
    assert float(run.metrics[-1]) == pytest.approx(limit, abs=2e-5)
    assert (np.asarray(run.metrics) > limit - 1e-5).all()
    assert run.metrics[-1] == run.metrics[-2]  # steady long before the end
    np.testing.assert_allclose(jnp.linalg.norm(run.autoencoder.encoder, axis=1), 1, rtol=rounding(precision, terms=DIM))
    assert float(population_risk(run.autoencoder)) == pytest.approx(float(run.metrics[-1]), abs=1e-5)


def test_the_tied_flow_is_the_projected_gradient(x64):
    """One explicit step of the Riemannian gradient of L, by hand, for a covariance that is not the identity."""
    variances, step = np.linspace(0.5, 1.5, DIM), 1e-4
    start = random_encoder(KEY, DIM, UNITS)
    gradient = jax.grad(lambda rows: DIM / 2 * tied_risk(rows, "sign", variances))(start)
    tangent = gradient - jnp.sum(gradient * start, axis=1, keepdims=True) * start
    error = rounding(jnp.float64, DIM + UNITS, size=jnp.linalg.norm(gradient))
    np.testing.assert_allclose(tangent, gradient, rtol=0, atol=error)
    run = tied_flow(start, [0.0, step], covariance=variances)
    expected = float(run.metrics[0]) - step * float(jnp.sum(gradient**2)) * 2 / DIM
    assert float(run.metrics[1]) == pytest.approx(expected, abs=1e-3 * step)


def test_sample_descent_learns_through_the_surrogate(promoting, precision):
    source = GaussianSource.isotropic(DIM)
    start = TwoLayerAutoencoder.initialise(KEY, DIM, UNITS, "sign")
    run = sample_descent(start, source, KEY, num_steps=600, batch_size=128, learning_rate=1e-2, record_at=[0, 300, 600])
    limit = float(limits.gaussian(UNITS / DIM))
    assert run.metrics.dtype == precision
    assert float(run.metrics[0]) == pytest.approx(float(population_risk(start)), rel=rounding(precision, UNITS**2))
    assert limit < float(run.metrics[-1]) < limit + 0.01
    assert float(population_risk(run.autoencoder)) == pytest.approx(
        float(run.metrics[-1]), rel=rounding(precision, UNITS**2)
    )
    np.testing.assert_allclose(jnp.linalg.norm(run.autoencoder.encoder, axis=1), 1, rtol=rounding(precision, terms=DIM))


def test_sample_descent_on_any_source_and_with_any_optimiser(promoting, x64):
    source = SparseSource(DIM, 0.5, "rademacher")
    start = TwoLayerAutoencoder.initialise(KEY, DIM, UNITS, sign(0.5))
    run = sample_descent(
        start,
        source,
        KEY,
        num_steps=20,
        batch_size=16,
        optimizer=optax.sgd(0.1),
        metrics=lambda model, batch: (jnp.mean(batch**2), model.encoder),
        record_at=range(21),
    )
    energies, encoders = run.metrics
    assert float(jnp.mean(energies)) == pytest.approx(1, abs=0.15)
    assert len(np.unique(energies)) > 10  # fresh samples
    np.testing.assert_allclose(jnp.linalg.norm(encoders, axis=2), 1, rtol=rounding(jnp.float64, terms=DIM))


def test_rows_keep_unit_variance_under_a_covariance(promoting, x64):
    source = GaussianSource(np.linspace(0.1, 2.0, DIM))
    start = TwoLayerAutoencoder.initialise(KEY, DIM, UNITS, "erf")
    run = sample_descent(start, source, KEY, num_steps=20, batch_size=16, record_at=[0, 20])
    rows = np.asarray(run.autoencoder.encoder)
    np.testing.assert_allclose((rows**2) @ np.asarray(source.variances), 1, rtol=rounding(jnp.float64, terms=DIM))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tied_flow(np.eye(3), [1.0, 0.0]), "`times` must be"),
        (lambda: tied_flow(np.eye(3), [0.0, 1.0], activation=jnp.cos), "`activation` must have a linear part"),
        (lambda: tied_flow(np.zeros((2, 3)), [0.0, 1.0]), "`encoder` must have rows"),
        (lambda: tied_flow(np.eye(3), [0.0, 1.0], steady_rate=0.0), "`steady_rate` must be finite and positive"),
        (lambda: descend(num_steps=0), "`num_steps` must be a positive integer, but got 0."),
        (lambda: descend(batch_size=-1), "`batch_size` must be a positive integer, but got -1."),
        (lambda: descend(source=GaussianSource.isotropic(4)), "`covariance` must have the dimension"),
    ],
)
def test_a_bad_argument(make, message):
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        make()


def descend(source=None, **options):
    source = GaussianSource.isotropic(3) if source is None else source
    return sample_descent(TwoLayerAutoencoder(np.eye(3), np.eye(3)), source, KEY, **options)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0])
def test_the_tied_flow_from_gaussian_rows_ends_at_the_limit(rate, x64):
    for seed in range(10):
        run = tied_flow(random_encoder(jax.random.key(seed), 100, int(100 * rate)), np.linspace(0, 20, 11))
        excess = np.asarray(run.metrics) - float(limits.gaussian(rate))
        assert excess.min() > -1e-12
        assert excess[-1] < 0.001


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 0.8, 1.0, 1.5, 2.0, 3.0])
def test_sample_descent_ends_at_the_limit(rate, promoting, x64):
    source = GaussianSource.isotropic(100)
    for seed in range(10):
        start = TwoLayerAutoencoder.initialise(jax.random.key(seed), 100, int(100 * rate))
        run = sample_descent(start, source, jax.random.key(seed), num_steps=1500, record_at=[0, 500, 1000, 1500])
        excess = np.asarray(run.metrics) - float(limits.gaussian(rate))
        assert excess.min() > -1e-12
        assert excess[-1] < 0.01
