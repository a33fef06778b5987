from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae

pytestmark = pytest.mark.usefixtures("standard_promotion")
KEY = jax.random.key(0)
SCALED = ae.RecoveryProblem(signal_to_noise=10.0).scaled(5)
DISTANCES = [174.179, 90.383, 41.266]
"""Of the group network after 0, 20 and 40 steps, as the first version of the library trained it."""


@pytest.fixture(scope="module")
def scaled():
    """A fifth of the published size."""
    with jax.numpy_dtype_promotion("standard"):
        return SCALED.experiment(range(0, 41, 10), examples_per_pass=2000).run(KEY).values


def test_a_fifth_of_the_published_simulation(scaled):
    """The same numbers as ever; the norms rest where they do.

    Later distances are sensitive to the order of sums.
    """
    run = scaled
    np.testing.assert_allclose(run.distance[::2], DISTANCES, rtol=0.01)  # as printed, and of another order of sums
    assert run.found[-1] > 0.99
    rest = ae.predict(SCALED, [40], "fixed-point norm")
    assert rest.lower.column_norm[-1] < rest.column_norm[-1] < rest.upper.column_norm[-1]
    assert float(run.column_norm[-1]) == pytest.approx(float(rest.column_norm[-1]), rel=0.04)  # noise, and n finite
    bound = ae.predict(SCALED, [0, 40], "published bound")
    assert float(bound.distance[0]) == pytest.approx(DISTANCES[0], rel=0.05)  # n finite
    assert run.distance[-1] < DISTANCES[0] < bound.distance[-1]


def test_the_start_is_as_near_as_asked_and_the_same_for_each_network(scaled):
    starts = [replace(SCALED, network=kind).experiment([1]).draw(KEY) for kind in ("group", "relu")]
    for source, network in starts:
        np.testing.assert_array_equal(network.dictionary, starts[0][1].dictionary)
        correlations = np.sum(np.asarray(network.dictionary) * np.asarray(source.dictionary), axis=0)
        assert correlations.mean() == pytest.approx(0.56, abs=0.01)  # of 200 columns
        assert float(scaled.correlation[0]) == pytest.approx(correlations.mean(), rel=rounding(jnp.float32, 400))
    assert [(network.group_size, network.nonnegative) for _, network in starts] == [(2, False), (1, True)]


def test_what_is_recorded_agrees_with_its_definition(precision):
    rng = np.random.default_rng(0)
    truth, A = (rng.normal(size=(8, 6)) for _ in range(2))
    y, x = rng.normal(size=(50, 8)), rng.normal(size=(50, 3, 2)) * (rng.random((50, 3, 1)) < 0.5)
    samples = ae.sources.group_sparse.GroupSparseSamples(
        *(np.asarray(one, precision) for one in (y, x.reshape(50, 6))), x.any(axis=2)
    )
    samples = jax.tree.map(jnp.asarray, samples)
    network = ae.GroupSparseAutoencoder(A.astype(precision), 3.0, 2)
    values = eqx.filter_jit(ae.recovery.measure)(network, (jnp.asarray(truth, precision), samples))
    z = (y @ A).reshape(50, 3, 2)
    norms = np.linalg.norm(z, axis=2, keepdims=True)
    codes, found, active = np.maximum(1 - 3 / norms, 0) * z, norms[..., 0] > 3, x.any(axis=2)
    unit, true = (matrix / np.linalg.norm(matrix, axis=0) for matrix in (A, truth))
    expected = {
        "distance": np.sum((unit - true) ** 2),
        "correlation": np.mean(np.sum(unit * true, axis=0)),
        "column_norm": np.mean(np.linalg.norm(A, axis=0)),
        "found": found[active].mean(),
        "invented": found[~active].mean(),
        "exact": (found == active).all(axis=1).mean(),
        "loss": 0.5 * np.mean(np.sum((y - codes.reshape(50, 6) @ A.T) ** 2, axis=1)),
    }
    assert list(values) == list(expected)
    for name, value in expected.items():
        assert values[name].dtype == precision
        error = rounding(precision, terms=50 * 8, condition=2)
        assert float(values[name]) == pytest.approx(value, rel=error, abs=error)


def test_a_training_that_diverges_says_so(x64):
    wild = ae.RecoveryProblem(20, 6, num_active=1, batch_size=40, learning_rate=1e200)
    with pytest.raises(RuntimeError, match="NaN or infinite"):
        ae.simulate(wild, [0, 2, 5], KEY)
