import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused

import aetheory as ae


def noisy(units, activation="erf", **fields):
    return ae.TwoLayerProblem(50, units, activation, "sgd", **{"step_size": 0.2, "batch_size": 100} | fields)


@pytest.mark.parametrize(("units", "expected"), [(25, 0.0444), (50, 0.0366)])
def test_the_excess_of_the_derivation(units, expected, x64):
    curve = ae.predict(noisy(units), [0, 100])
    assert curve.theory.name == "stationary"
    excess = curve.risk - ae.limits.gaussian(units / 50, "erf")
    np.testing.assert_allclose(excess, expected * 0.1, atol=5e-6)  # τ = ηd/b = .1
    half = ae.predict(noisy(units, batch_size=200), [0]).risk[0] - ae.limits.gaussian(units / 50, "erf")
    assert float(half) == pytest.approx(float(excess[0]) / 2, rel=1e-10)


test_what_it_does_not_cover = refused(
    (noisy(80), "`num_units` must be at most `input_dim` = 50"),
    (noisy(25, "sign"), "`activation` must be one that is trained by its own derivative"),
    (noisy(25, step_size=10.0), "`step_size` must be below"),
    (noisy(25, step_size=None), "`step_size` must be a positive number"),
    (noisy(25, covariance=np.arange(1.0, 51)), "`covariance` must be None or the identity"),
    (ae.TwoLayerProblem(50, 25, "erf"), "`theory` must be one of the method 'tied'"),
    by=lambda problem: ae.predict(problem, [0], "stationary"),
)


@pytest.mark.slow
@pytest.mark.parametrize("units", [25, 50])
def test_descent_on_samples_stays_there(units, x64):
    """τ = .1: the mean of late steps, in eight windows that hardly know of each other."""
    times = np.arange(1500, 5500, 10)
    with jax.numpy_dtype_promotion("standard"):
        run = ae.simulate(noisy(units), times, jax.random.key(0))
    windows = np.asarray(run.risk).reshape(8, -1).mean(axis=1) - float(ae.limits.gaussian(units / 50, "erf"))
    predicted = float(ae.predict(noisy(units), [0]).risk[0] - ae.limits.gaussian(jnp.asarray(units / 50), "erf"))
    error = windows.std(ddof=1) / 8**0.5
    assert windows.mean() == pytest.approx(predicted, rel=0.15, abs=2 * error)
