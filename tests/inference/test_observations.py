import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae

TIMES = np.array([0.0, 1.0, 2.0])


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def curve(train, times=TIMES, **more):
    train = jnp.asarray(train)
    return ae.Curve(jnp.asarray(times), ae.Values(train=train, population=2 * train), **more)


def test_columns_of_a_file(tmp_path):
    path = write(tmp_path / "losses.csv", "time, train,population\n0,1,2\n1,.5,1\n")
    found = ae.Observations.of(path)
    assert found.risks == ("train", "population")
    np.testing.assert_array_equal(found.values, [[1, 0.5], [2, 1]])
    other = write(tmp_path / "named.csv", "epoch,loss\n0,1\n1,.5\n")
    found = ae.Observations.read_csv(other, {"time": "epoch", "train": "loss"})
    assert found.risks == ("train",)
    np.testing.assert_array_equal(found.times, [0, 1])
    steps = write(tmp_path / "steps.csv", "time,risk,train\n0,1,3\n1,.5,3\n")
    assert ae.Observations.of(steps, ae.TwoLayerProblem).risks == ("risk",)
    assert ae.Observations.of(steps, ae.LinearProblem).risks == ("train",)


def test_files_without_what_is_needed(tmp_path):
    path = write(tmp_path / "losses.csv", "epoch,loss\n0,1\n1,x\n")
    for columns, message in (
        ({}, "has no column 'time'; its columns are 'epoch', 'loss'"),
        ({"time": "epoch"}, "has no column 'train' or 'population'"),
        ({"time": "epoch", "train": "error"}, "has no column 'error'"),
        ({"time": "epoch", "train": "loss"}, "must hold numbers in its columns 'epoch', 'loss': .* 'x'"),
        ({"date": "epoch"}, "`columns` must be a mapping"),
    ):
        with pytest.raises(ValueError, match=message):
            ae.Observations.read_csv(path, columns, ae.LinearProblem)
    with pytest.raises(OSError, match="missing"):
        ae.Observations.of(tmp_path / "missing.csv")


def test_repeats_from_a_batch_a_sequence_and_arrays(x64):
    train = np.array([[1.0, 0.5, 0.2], [1.2, 0.4, 0.3], [0.9, 0.7, 0.1]])
    curves = [curve(row) for row in train]
    batch = jax.tree.map(lambda *rows: jnp.stack(rows), *curves)
    arrays = {"time": TIMES, "train": train, "population": 2 * train}
    for observed in (curves, batch, arrays):
        found = ae.Observations.of(observed)
        np.testing.assert_allclose(found.values, [train.mean(axis=0), 2 * train.mean(axis=0)])
        np.testing.assert_allclose(found.errors[0], train.std(axis=0, ddof=1) / 3**0.5)
        assert found.repeats.shape == (3, 2, 3)
        assert found.num_repeats == 3


def test_errors_of_an_averaged_curve(x64):
    spread = ae.Values(train=jnp.full(3, 0.2), population=jnp.full(3, 0.4))
    found = ae.Observations.of(curve(np.ones(3), std=spread, num_repeats=4))
    np.testing.assert_allclose(found.errors, [[0.1] * 3, [0.2] * 3])
    assert found.repeats is None


def test_bad_input():
    for observed, message in (
        (3.0, "`curve` must be a Curve"),
        ({"train": TIMES}, "`curve` must be a mapping from 'time'"),
        ({"time": TIMES[::-1], "train": TIMES}, "`time` must be .* in increasing order"),
        ({"time": [0.0, np.nan], "train": [1, 2]}, "`time` must be finite"),
        ({"time": TIMES, "train": TIMES[:2]}, r"`train` must have shape \(3,\)"),
        ({"time": TIMES, "train": [1.0, np.inf, 1.0]}, "`train` must be finite, but 1 of 3"),
    ):
        with pytest.raises(ValueError, match=message):
            ae.Observations.of(observed)
    with pytest.raises(ValueError, match="its times differ"):
        ae.Observations.of([curve(np.ones(3)), curve(np.ones(3), 2 * TIMES)])
