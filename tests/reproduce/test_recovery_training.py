import dataclasses

import jax
import numpy as np
import pytest

from aetheory import recovery
from aetheory.reproduce import recovery as job
from aetheory.reproduce.recovery_training import Experiment, to_dataset, train

TINY = Experiment(
    signal_to_noise=20.0,
    input_dim=60,
    num_groups=12,
    num_active=1,
    num_epochs=6,
    examples_per_epoch=60,
    examples_per_pass=20,
    learning_rate=0.01,
)


def last(experiment, checkpoint=None):
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        *_, progress = train(experiment, checkpoint, epochs_per_chunk=2)
    return progress


@pytest.fixture(scope="module")
def tiny():
    return last(TINY)


def test_the_records_are_those_of_the_network(tiny):
    source = TINY.source()
    first = TINY.autoencoder(source)
    correlation = np.sum(np.asarray(first.dictionary) * np.asarray(source.dictionary), axis=0)
    assert correlation.mean() == pytest.approx(0.56, abs=0.03)
    assert tiny.epoch == 6
    for name, values in tiny.records.items():
        assert values.shape == (7,), name
        assert np.isfinite(values).all(), name
    distances = np.asarray(tiny.records["squared_distance"])
    assert distances[0] == pytest.approx(float(recovery.squared_distance(first.dictionary, source.dictionary)))
    learnt = tiny.autoencoder.dictionary
    assert distances[-1] == pytest.approx(float(recovery.squared_distance(learnt, source.dictionary)), rel=1e-5)
    assert distances[-1] < 0.95 * distances[0]
    assert np.mean(np.linalg.norm(learnt, axis=0)) == pytest.approx(float(tiny.records["column_norm"][-1]), rel=1e-5)


def test_a_run_continues_from_its_checkpoint(tiny, tmp_path):
    file = tmp_path / "run.eqx"
    with jax.numpy_dtype_promotion("standard"):
        running = train(TINY, file, epochs_per_chunk=2)
        next(running)
        running.close()  # it dies after two epochs
        continued = list(train(TINY, file, epochs_per_chunk=2))
    assert [int(progress.epoch) for progress in continued] == [4, 6]
    np.testing.assert_array_equal(continued[-1].autoencoder.dictionary, tiny.autoencoder.dictionary)
    for name, values in tiny.records.items():
        np.testing.assert_array_equal(continued[-1].records[name], values)
    (finished,) = list(train(TINY, file))
    np.testing.assert_array_equal(finished.autoencoder.dictionary, tiny.autoencoder.dictionary)
    assert [path.name for path in tmp_path.iterdir()] == ["run.eqx"]
    other = dataclasses.replace(TINY, seed=1)
    with jax.numpy_dtype_promotion("standard"):
        assert next(train(other, file, epochs_per_chunk=2)).epoch == 2  # the file is another's


def test_the_dataset_holds_the_runs(tiny):
    dataset = to_dataset([TINY, dataclasses.replace(TINY, signal_to_noise=None)], [tiny, tiny])
    assert dataset.sizes == {"run": 2, "epoch": 7}
    assert dataset.signal_to_noise.values.tolist() == [20.0, np.inf]
    np.testing.assert_array_equal(dataset.squared_distance[1], tiny.records["squared_distance"])


def test_the_stored_run_of_the_published_size_is_the_published_curve():
    """The re-measured distances within 15 %, and the published rates of the supports."""
    stored = job.stored_runs()
    settings = dataclasses.asdict(Experiment())
    assert {name: stored.attrs[name] for name in settings if name in stored.attrs} == {
        name: value for name, value in settings.items() if name in stored.attrs
    }
    group, sparse = (stored.isel(run=index) for index in (0, 1))
    assert (group.network, sparse.network) == ("group", "sparse")
    np.testing.assert_allclose(group.squared_distance[:101:20], [877, 443, 191, 59, 19, 8], rtol=0.15)
    assert group.squared_distance[160] < 6
    assert group.true_positive_rate[-1] > 0.99
    assert 0.70 < sparse.true_positive_rate[-1] < 0.85
    assert float(group.column_norm[-1]) == pytest.approx(float(recovery.fixed_point_norm(2.0, 4.5)), rel=0.02)


@pytest.fixture(scope="module")
def scaled():
    """A fifth of the published size, to which the curves of an idle two-core machine come in seconds."""
    return {
        network: last(dataclasses.replace(Experiment(signal_to_noise=10.0).scaled(5), network=network, num_epochs=100))
        for network in ("group", "sparse")
    }


def test_the_scaled_version_has_the_shape_of_the_published_curve(scaled):
    """It starts at the same distance per column, never turns back, and falls by orders of magnitude."""
    distances = np.asarray(scaled["group"].records["squared_distance"]) / 200
    stored = job.stored_runs().squared_distance[0].values / 1000
    assert distances[0] == pytest.approx(stored[0], rel=0.05)
    assert (np.diff(distances) < 0).mean() > 0.97
    epochs = [20, 40, 60, 80]
    np.testing.assert_allclose(np.log(distances[epochs]), np.log(stored[epochs]), atol=0.5)
    assert distances[100] < 0.02
    rates = {name: float(progress.records["true_positive_rate"][-1]) for name, progress in scaled.items()}
    assert rates["group"] > 0.99
    assert 0.7 < rates["sparse"] < 0.85
    middle = float(recovery.fixed_point_norm(2.0, 4.5))
    assert float(scaled["group"].records["column_norm"][-1]) == pytest.approx(middle, rel=0.04)


@pytest.mark.slow
def test_the_published_simulation():
    """The full size, one seed, in float32: minutes."""
    progress = last(Experiment())
    distances = np.asarray(progress.records["squared_distance"])
    np.testing.assert_allclose(distances[:101:20], [877, 443, 191, 59, 19, 8], rtol=0.15)
    assert distances[160] < 6
    assert progress.records["true_positive_rate"][-1] > 0.99


def test_a_run_that_diverges_names_the_step():
    with jax.numpy_dtype_promotion("standard"), pytest.raises(FloatingPointError, match="is NaN or infinite at step"):
        list(train(dataclasses.replace(TINY, learning_rate=1e18)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "tanh"}, "`network` must be one of 'group', 'sparse', 'relu', but got 'tanh'."),
        ({"examples_per_pass": 7}, "`examples_per_pass` must be a divisor of `examples_per_epoch` = 60, but got 7."),
    ],
)
def test_a_bad_argument(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)
