import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

import aetheory as ae
from aetheory import recovery
from aetheory.reproduce import recovery as job
from aetheory.reproduce.recovery_training import Experiment, to_dataset, train

PROBLEM = ae.RecoveryProblem(60, 12, num_active=1, signal_to_noise=20.0, batch_size=60, learning_rate=0.01)
TINY = Experiment(PROBLEM, num_epochs=6, examples_per_pass=20)


def changed(experiment, **fields):
    return dataclasses.replace(experiment, problem=dataclasses.replace(experiment.problem, **fields))


def last(experiment, epochs_per_chunk=2):
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        *_, curve = train(experiment, epochs_per_chunk=epochs_per_chunk)
    return curve


@pytest.fixture(scope="module")
def tiny():
    return last(TINY)


def test_the_records_have_what_the_published_factor_needs(tiny):
    source, _ = TINY.epochs(1).draw(jax.random.key(0))
    assert tiny.times.tolist() == list(range(7))
    atoms = recovery.normalise_columns(tiny.module.dictionary)
    assert float(tiny.closeness[-1]) == pytest.approx(float(recovery.closeness(atoms, source.dictionary, 2)), rel=1e-5)
    ends = recovery.alignment_range(atoms, source.dictionary, 2)
    np.testing.assert_allclose([tiny.alpha_min[-1], tiny.alpha_max[-1]], ends, rtol=1e-5)


def test_a_run_continues_from_its_checkpoint(tiny, tmp_path):
    file = tmp_path / "run.eqx"
    with jax.numpy_dtype_promotion("standard"):
        running = train(TINY, file, epochs_per_chunk=2)
        next(running)
        running.close()  # it dies after two epochs
        continued = list(train(TINY, file, epochs_per_chunk=2))
        (finished,) = list(train(TINY, file))
    assert [int(curve.times[-1]) for curve in continued] == [4, 6]
    for found in (continued[-1], finished):
        jax.tree.map(np.testing.assert_array_equal, eqx.filter(found, eqx.is_array), eqx.filter(tiny, eqx.is_array))
    assert [path.name for path in tmp_path.iterdir()] == ["run.eqx"]
    other = dataclasses.replace(TINY, seed=1)
    with jax.numpy_dtype_promotion("standard"):
        assert next(train(other, file, epochs_per_chunk=2)).times[-1] == 2  # the file is another's


def test_the_dataset_holds_the_runs(tiny):
    dataset = to_dataset([TINY, changed(TINY, signal_to_noise=None)], [tiny, tiny])
    assert dataset.sizes == {"run": 2, "epoch": 7}
    assert dataset.signal_to_noise.values.tolist() == [20.0, np.inf]
    np.testing.assert_array_equal(dataset.distance[1], tiny.distance)


def test_the_stored_run_of_the_published_size_is_the_published_curve():
    """The re-measured distances within 15 %, and the published rates of the supports."""
    stored = job.stored_runs()
    settings = Experiment().settings
    shared = settings.keys() & stored.attrs.keys()
    assert len(shared) >= 12
    assert {name: stored.attrs[name] for name in shared} == {name: settings[name] for name in shared}
    group, sparse = (stored.isel(run=index) for index in (0, 1))
    assert (group.network, sparse.network) == ("group", "sparse")
    np.testing.assert_allclose(group.distance[:101:20], [877, 443, 191, 59, 19, 8], rtol=0.15)
    assert group.distance[160] < 6
    assert group.found[-1] > 0.99
    assert 0.70 < sparse.found[-1] < 0.85
    assert float(group.column_norm[-1]) == pytest.approx(float(recovery.fixed_point_norm(2.0, 4.5)), rel=0.02)


@pytest.mark.slow
def test_the_published_simulation():
    """The full size, one seed, in float32: minutes."""
    curve = last(Experiment(), 10)
    distances = np.asarray(curve.distance)
    np.testing.assert_allclose(distances[:101:20], [877, 443, 191, 59, 19, 8], rtol=0.15)
    assert distances[160] < 6
    assert curve.found[-1] > 0.99


def test_a_run_that_diverges_names_the_step():
    with jax.numpy_dtype_promotion("standard"), pytest.raises(FloatingPointError, match="is NaN or infinite at step"):
        list(train(changed(TINY, learning_rate=1e18)))


def test_a_bad_argument():
    with pytest.raises(ValueError, match="`examples_per_pass` must be a divisor of `batch_size` = 60, but got 7"):
        dataclasses.replace(TINY, examples_per_pass=7)
