import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refused
from tolerance import rounding

import aetheory as ae
from aetheory.two_layer.network import random_encoder

DIM, UNITS = 8, 6
KEY = jax.random.key(2)
VARIANCES = np.linspace(0.5, 1.5, DIM)
FLOW, STEPS = np.array([0.0, 0.5, 1.0]), np.array([0, 3, 9])
TIMES = {"tied": FLOW, "joint": FLOW, "alternating": STEPS, "sgd": STEPS}
RATE = {"sgd": {"optimizer": optax.sgd(0.05)}}  # Optax's schedules mix precisions


def problem(method, **fields):
    return ae.TwoLayerProblem(DIM, UNITS, method=method, **{"covariance": VARIANCES} | RATE.get(method, {}) | fields)


# of the flows the one with the larger state
@pytest.mark.parametrize(
    ("method", "precision"),
    [*((name, 64) for name in TIMES if name != "tied"), ("alternating", 32)],
    indirect=["precision"],
)
def test_repeats_modules_and_precision(method, precision):
    run = ae.simulate(problem(method), TIMES[method], KEY, num_repeats=3, return_module=True)
    assert run.times.shape == run.risk.shape == run.std.overlap.shape == run.stats.num_steps.shape == (3,)
    assert run.risk.dtype == run.module.encoder.dtype == precision
    assert run.module.encoder.shape == (3, UNITS, DIM)
    assert run.module.decoder.shape == (3, DIM, UNITS)
    # the module of a repeat has the risk of its curve
    modules = [jax.tree.map(lambda leaf, index=index: leaf[index], run.module) for index in range(3)]
    risks = [ae.population_risk(module, VARIANCES) for module in modules]
    # a factor of n × n and products of d entries, with the rows and decoders that the run has rounded
    tolerance = rounding(precision, terms=UNITS**2 * DIM, condition=2)
    assert float(np.mean(risks)) == pytest.approx(float(run.risk[-1]), abs=tolerance)
    assert float(np.std(risks, ddof=1)) == pytest.approx(float(run.std.risk[-1]), abs=tolerance)


@pytest.mark.parametrize("method", [pytest.param("joint", marks=pytest.mark.slow), "alternating", "sgd"])
def test_under_jit_and_vmap(method, x64):
    def risks(start, variances):
        return ae.simulate(problem(method, start=start, covariance=variances), TIMES[method], KEY).risk

    starts = jnp.stack([random_encoder(key, DIM, UNITS) for key in jax.random.split(KEY)])
    variances = jnp.stack([jnp.asarray(VARIANCES), jnp.ones(DIM)])
    mapped = jax.jit(jax.vmap(risks))(starts, variances)
    for index in range(2):
        expected = risks(starts[index], variances[index])
        np.testing.assert_allclose(mapped[index], expected, rtol=1e-6)  # of the flow's own tolerance
    assert not np.allclose(mapped[0], mapped[1])


@pytest.mark.parametrize("method", [pytest.param("joint", marks=pytest.mark.slow), "sgd"])
def test_gradients_in_the_start(method, x64):
    """Reverse mode; alternating descent stops by itself and knows forward mode only."""
    start = random_encoder(KEY, DIM, UNITS)
    direction = jnp.asarray(np.random.default_rng(0).normal(size=start.shape))

    def last(step):
        moved = problem(method, activation="erf", start=start + step * direction)
        return ae.simulate(moved, TIMES[method], KEY, **({} if method == "sgd" else {"rtol": 1e-10})).risk[-1]

    difference = (last(1e-5) - last(-1e-5)) / 2e-5
    assert float(jax.jit(jax.grad(last))(0.0)) == pytest.approx(float(difference), rel=1e-5)  # of the differences


def test_the_step_size_is_differentiable_in_forward_mode(x64):
    def last(step_size):
        return ae.simulate(problem("alternating", step_size=step_size), STEPS, KEY, tolerance=0.0).risk[-1]

    difference = (last(0.1 + 1e-6) - last(0.1 - 1e-6)) / 2e-6
    assert float(jax.jit(jax.jacfwd(last))(0.1)) == pytest.approx(float(difference), rel=1e-6)  # of the differences


def test_a_source_brings_its_covariance():
    source = ae.GaussianSource(np.array([[1.0, 0.5], [0.5, 1.0]]))
    for one in (ae.TwoLayerProblem(2, 1, covariance=source), ae.TwoLayerProblem(2, 1, source=source)):
        assert one.source is source
        np.testing.assert_allclose(one.deviations, np.sqrt([0.5, 1.5]), rtol=rounding(jnp.float32, 8))
        assert not one.is_isotropic
    assert ae.TwoLayerProblem(2, 1, source=ae.SparseSource(2, 0.3)).is_isotropic


AUTOENCODER = ae.TwoLayerAutoencoder(np.eye(DIM)[:UNITS], np.zeros((DIM, UNITS)), "erf")


test_a_bad_field = refused(
    ({"input_dim": 0}, "`input_dim` must be finite and positive, but got 0."),
    ({"num_units": math.nan}, "`num_units` must be finite and positive, but got nan."),
    ({"activation": "step"}, "`activation` must be one of"),
    ({"activation": jnp.cos}, "`activation` must have a linear part"),
    ({"method": "newton"}, "`method` must be one of 'tied', 'joint', 'alternating', 'sgd', but got 'newton'."),
    ({"covariance": np.ones(3)}, "`input_dim` must be 3, the dimension of the covariance, but got 8."),
    ({"covariance": -np.ones(DIM)}, "`covariance` must be a non-empty vector of variances"),
    ({"covariance": np.ones(DIM), "source": ae.SparseSource(DIM, 0.3)}, "`covariance` must be None beside `source`"),
    ({"start": np.zeros((UNITS, DIM))}, "`start` must have rows b with b Σ bᵀ > 0, but row 0"),
    ({"start": np.ones((2, DIM))}, "`start` must be of num_units 6"),
    ({"start": np.ones(DIM)}, "`start` must be a finite array of shape (num_units, input_dim)"),
    ({"start": AUTOENCODER}, "`start` must be an encoder alone for the method 'tied'"),
    ({"start": AUTOENCODER, "method": "joint"}, "`activation` must be the activation of `start`, but got 'sign'."),
    ({"step_size": 0.1}, "`step_size` must be None for the method 'tied', but got 0.1."),
    ({"alpha": -0.1}, "`alpha` must be finite and nonnegative, but got -0.1."),
    ({"step_size": 0.0, "method": "alternating"}, "`step_size` must be finite and positive, but got 0.0."),
    ({"batch_size": -1, "method": "sgd"}, "`batch_size` must be a positive integer, but got -1."),
    ({"optimizer": optax.sgd(1.0), "step_size": 0.1, "method": "sgd"}, "`optimizer` must be None beside"),
    by=lambda fields: ae.TwoLayerProblem(**{"input_dim": DIM, "num_units": UNITS} | fields),
)


@pytest.mark.parametrize(
    ("method", "times", "message"),
    [
        ("tied", [1.0, 0.0], "`times` must be a non-empty vector"),
        ("alternating", [0.0, 0.5], "`times` must be a non-empty vector of whole, nonnegative numbers"),
        ("sgd", [3, 3], "`times` must be a non-empty vector of whole, nonnegative numbers"),
    ],
)
def test_bad_times(method, times, message):
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        ae.simulate(problem(method), np.asarray(times), KEY)


def test_dimensions_of_a_simulation_are_whole_and_known():
    with pytest.raises(ValueError, match=r"^Argument `num_units` must be a positive integer, but got 2\.5\."):
        ae.simulate(ae.TwoLayerProblem(4, 2.5), FLOW, KEY)
    with pytest.raises(ValueError, match=r"^Argument `num_units` must be known when the program is traced"):
        jax.jit(lambda n: ae.simulate(ae.TwoLayerProblem(4, n), FLOW, KEY).risk)(3)


def test_a_step_that_is_too_large_says_so(x64):
    with pytest.raises(RuntimeError, match=r"Training diverged: .* Try a smaller step size, learning rate"):
        ae.simulate(problem("alternating", step_size=1e300), STEPS, KEY)
