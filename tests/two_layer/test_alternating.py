import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aetheory import GaussianSource, alternating_descent, limits, population_risk
from aetheory.two_layer.network import optimal_risk, random_encoder

DIM, UNITS = 20, 16
BLOCKS = np.repeat([2.5, 0.7, 0.1], [6, 6, 8])
BLOCKS = BLOCKS / BLOCKS.mean()
LIMITS = {0.5: 0.6817, 0.8: 0.4907, 1.0: 0.3634, 1.5: 0.2756, 2.0: 0.2220, 3.0: 0.1599}
ACTIVATION_SAMPLE = ("sign", "tanh")


def encoder(units=UNITS, dim=DIM, seed=0):
    return random_encoder(jax.random.key(seed), dim, units)


def full_covariance(rank=DIM):
    root = np.random.default_rng(1).normal(size=(DIM, rank))
    return root @ root.T / DIM


def equations(jaxpr):
    """Every equation of a traced program, those of the programs inside it too."""
    for equation in jaxpr.eqns:
        yield equation
        for parameter in equation.params.values():
            for inner in parameter if isinstance(parameter, tuple) else (parameter,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from equations(inner)


def by_hand(rows, covariance, num_steps, step_size):
    """The published steps in NumPy, with a symmetric square root and explicit inverses."""
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    scaled, risks, c1 = rows @ root, [], math.sqrt(2 / math.pi)
    dim = len(covariance)
    for _ in range(num_steps + 1):
        scaled = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
        correlations = np.clip(scaled @ scaled.T, -1, 1)
        np.fill_diagonal(correlations, 1)
        decoder = c1 * root @ scaled.T @ np.linalg.inv(2 / math.pi * np.arcsin(correlations))
        risks.append((np.trace(covariance) - c1 * np.trace(decoder @ scaled @ root)) / dim)
        np.fill_diagonal(correlations, 0)
        slopes = 2 / math.pi / np.sqrt(1 - correlations**2)
        np.fill_diagonal(slopes, 0)
        gradient = -2 * c1 * (root @ decoder).T + 2 * (decoder.T @ decoder * slopes) @ scaled
        scaled = scaled - step_size * gradient / (np.trace(covariance) / dim)
    return np.array(risks)


@pytest.mark.parametrize("covariance", [np.eye(DIM), full_covariance()], ids=["isotropic", "full"])
def test_the_steps_are_those_of_the_paper(covariance, precision):
    source = GaussianSource(jnp.asarray(covariance, precision))
    start = encoder().astype(precision)
    run = alternating_descent(start, source, num_steps=20, tolerance=0.0)
    expected = by_hand(np.asarray(start, np.float64), covariance, 20, 0.1)
    assert run.metrics.dtype == precision
    np.testing.assert_allclose(run.metrics, expected, atol=1e-10 if precision == jnp.float64 else 1e-4)
    assert run.metrics.shape == run.times.shape == (21,)
    assert int(run.steps_taken) == 20


@pytest.mark.parametrize("covariance", [BLOCKS, full_covariance(rank=9)], ids=["blocks", "singular"])
@pytest.mark.parametrize("activation", ACTIVATION_SAMPLE)
def test_the_last_risk_is_that_of_the_autoencoder(covariance, activation, x64):
    source = GaussianSource(covariance)
    run = alternating_descent(encoder(), source, activation=activation, num_steps=20)
    last = float(run.metrics[-1])
    assert float(population_risk(run.autoencoder, source.covariance)) == pytest.approx(last, abs=1e-9)
    assert float(optimal_risk(run.autoencoder.encoder, activation, source.covariance)) == pytest.approx(last, abs=1e-9)
    rows = np.asarray(run.autoencoder.encoder)
    np.testing.assert_allclose(np.einsum("ij,jk,ik->i", rows, source.covariance, rows), 1, atol=1e-9)
    assert (np.diff(run.metrics) < 1e-12).all()


def test_it_reaches_the_limit_and_stops(x64):
    run = alternating_descent(encoder(), GaussianSource.isotropic(DIM), num_steps=400, tolerance=1e-9)
    limit = float(limits.gaussian(UNITS / DIM))
    steps = int(run.steps_taken)
    assert 20 < steps < 400
    assert float(run.metrics[-1]) == pytest.approx(limit, abs=1e-6)
    assert (run.metrics >= limit - 1e-12).all()
    # stopped where ten steps gained less than ten tolerances, and not before
    gains = np.asarray(run.metrics[:-10] - run.metrics[10:])
    assert gains[steps - 10] < 1e-8 <= gains[steps - 11]
    assert (run.metrics[steps:] == run.metrics[steps]).all()


def test_the_scale_of_the_covariance_does_not_matter(x64):
    runs = [
        alternating_descent(encoder(), GaussianSource(scale * BLOCKS), num_steps=20, tolerance=1e-6)
        for scale in (1.0, 100.0)
    ]
    np.testing.assert_allclose(100 * runs[0].metrics, runs[1].metrics, rtol=1e-10)
    assert int(runs[0].steps_taken) == int(runs[1].steps_taken)


def test_several_encoders_and_vmap(x64):
    source = GaussianSource(BLOCKS)
    starts = jnp.stack([encoder(seed=seed) for seed in range(3)])
    run = functools.partial(alternating_descent, num_steps=20)
    several = run(starts, source)
    mapped = jax.jit(jax.vmap(lambda start: run(start, source).metrics))(starts)
    assert several.autoencoder.encoder.shape == (3, UNITS, DIM)
    assert several.autoencoder.decoder.shape == (3, DIM, UNITS)
    assert several.steps_taken.shape == (3,)
    for index in range(3):
        one = run(starts[index], source)
        np.testing.assert_allclose(several.metrics[index], one.metrics, rtol=1e-12)
        np.testing.assert_allclose(mapped[index], one.metrics, rtol=1e-12)
        np.testing.assert_allclose(several.autoencoder.encoder[index], one.autoencoder.encoder, atol=1e-9)


def test_equal_units_are_no_obstacle(x64):
    start = encoder().at[3].set(-encoder()[4])
    run = alternating_descent(start, GaussianSource.isotropic(DIM), num_steps=20)
    assert np.isfinite(run.metrics).all()
    assert run.metrics[-1] < run.metrics[0]


def test_nothing_larger_than_the_matrices_is_formed(x64):
    """Counted in the traced program: one factorisation, and no array beyond n × n or n × d in the loop."""
    source = GaussianSource.isotropic(DIM)
    program = jax.make_jaxpr(lambda start: alternating_descent(start, source, num_steps=20).metrics)(encoder(11))
    (loop,) = (equation for equation in equations(program.jaxpr) if equation.primitive.name == "while")
    body = list(equations(loop.params["body_jaxpr"].jaxpr))
    assert sum(equation.primitive.name == "cholesky" for equation in body) == 1
    sizes = [math.prod(output.aval.shape) for equation in body for output in equation.outvars]
    assert max(sizes) == 11 * DIM


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": np.zeros((2, DIM))}, "`encoder` must have rows b with b Σ bᵀ > 0, but row 0"),
        ({"encoder": np.ones(DIM)}, "`encoder` must be of shape"),
        ({"encoder": np.ones((2, 3))}, "`covariance` must have the dimension"),
        ({"activation": "step"}, "`activation` must be one of"),
        ({"activation": jnp.cos}, "`activation` must have a linear part"),
        ({"num_steps": 0}, "`num_steps` must be a positive integer, but got 0."),
        ({"step_size": 0.0}, "`step_size` must be finite and positive, but got 0.0."),
        ({"tolerance": -1.0}, "`tolerance` must be finite and nonnegative, but got -1.0."),
    ],
)
def test_a_bad_argument(options, message):
    arguments = {"encoder": np.eye(DIM)} | options
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        alternating_descent(arguments.pop("encoder"), GaussianSource.isotropic(DIM), **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("rate", LIMITS)
def test_from_gaussian_rows_it_ends_at_the_limit(rate, x64):
    """d = 100, ten random instances: within .001 for r ≤ 1 and .002 beyond, never below."""
    starts = jnp.stack([encoder(int(100 * rate), 100, seed) for seed in range(10)])
    run = alternating_descent(starts, GaussianSource.isotropic(100), num_steps=500)
    excess = np.asarray(run.metrics) - float(limits.gaussian(rate))
    assert float(limits.gaussian(rate)) == pytest.approx(LIMITS[rate], abs=5e-5)
    assert excess.min() > -1e-12
    assert excess[:, -1].max() < (0.001 if rate <= 1 else 0.002)


@pytest.mark.slow
@pytest.mark.parametrize("num_units", [20, 50, 100, 150, 200])
def test_general_covariance_ends_at_water_filling(num_units, x64):
    variances = np.repeat([2.5, 0.7, 0.1], [30, 30, 40])
    variances = variances / variances.mean()
    starts = jnp.stack([encoder(num_units, 100, seed) for seed in range(10)])
    run = alternating_descent(starts, GaussianSource(variances), num_steps=1000)
    excess = np.asarray(run.metrics) - float(limits.water_filling(np.sqrt(variances), num_units).risk)
    assert excess.min() > -1e-12
    assert excess[:, -1].max() < 0.002


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["erf", "tanh", "hard_tanh", "sine"])
def test_other_activations_never_go_below_their_limit(activation, x64):
    for covariance in (np.ones(60), full_covariance()):
        dim = len(covariance)
        source = GaussianSource(covariance)
        deviations = np.sqrt(np.maximum(np.linalg.eigvalsh(source.covariance), 0))
        for units in (dim // 2, dim, 2 * dim):
            starts = jnp.stack([encoder(units, dim, seed) for seed in range(10)])
            run = alternating_descent(starts, source, activation=activation, num_steps=300)
            limit = float(limits.water_filling(deviations, units, activation).risk)
            assert float(run.metrics.min()) > limit - 1e-12
