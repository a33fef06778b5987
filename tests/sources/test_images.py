import http.client
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
from oracles.image_files import assert_holds, draw_images, write_mnist
from tolerance import rounding

from aetheory.sources.images import ImageSource, load_images, whiten

DATA_FOLDER = os.environ.get("AETHEORY_DATA")
needs_mnist = pytest.mark.skipif(
    DATA_FOLDER is None or not (Path(DATA_FOLDER) / "mnist").is_dir(), reason="$AETHEORY_DATA/mnist is not there"
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def assert_white(source, tolerance):
    deviation = np.abs(np.cov(np.asarray(source.samples, np.float64).T, bias=True) - np.eye(source.input_dim))
    assert deviation.max() < tolerance


# The source itself.


def test_digits_are_the_default_set_and_scaled():
    source = load_images("digits")
    raw = sklearn.datasets.load_digits()
    assert (source.num_samples, source.input_dim, source.image_shape, source.name) == (1797, 64, (8, 8), "digits")
    assert source.samples.dtype == jnp.result_type(float)
    np.testing.assert_allclose(source.samples, raw.data / 16)
    np.testing.assert_array_equal(source.labels, raw.target)


def test_covariance_is_the_population_covariance_of_the_set():
    source = load_images("digits")
    expected = np.cov(np.asarray(source.samples, np.float64).T, bias=True)
    error = rounding(jnp.float32, terms=1797, size=expected.max())
    np.testing.assert_allclose(source.covariance, expected, atol=error)
    np.testing.assert_allclose(jax.jit(lambda s: s.covariance)(source), expected, atol=error)


def test_float64_is_followed():
    with jax.enable_x64(True):
        source = load_images("digits", whiten=True)
        assert source.samples.dtype == jnp.float64
        # the largest singular value is 659 times the smallest that is kept
        assert_white(source, rounding(jnp.float64, terms=1797, condition=659))


def test_sample_draws_uniformly_with_replacement():
    source = ImageSource(jnp.arange(5.0)[:, None], jnp.zeros(5, int), (1,), "five")
    drawn = source.sample(jax.random.key(0), 20_000)
    assert drawn.shape == (20_000, 1)
    counts = np.bincount(np.asarray(drawn[:, 0], int), minlength=5)
    # Six standard deviations of a binomial count.
    assert np.abs(counts - 4000).max() < 6 * math.sqrt(4000 * 0.8)
    jitted = eqx.filter_jit(lambda s, key: s.sample(key, 7))(source, jax.random.key(1))
    np.testing.assert_array_equal(jitted, source.sample(jax.random.key(1), 7))


def test_select_and_split_keep_labels_with_their_images():
    source = ImageSource(jnp.arange(10.0)[:, None], jnp.arange(10), (1,), "ten")
    chosen = source.select(jnp.array([7, 2]))
    np.testing.assert_array_equal(chosen.labels, [7, 2])
    np.testing.assert_array_equal(chosen.samples[:, 0], [7, 2])
    training, held_out = source.split(3, jax.random.key(0))
    assert (training.num_samples, held_out.num_samples) == (7, 3)
    assert sorted([*training.labels.tolist(), *held_out.labels.tolist()]) == list(range(10))
    np.testing.assert_array_equal(training.samples[:, 0], training.labels)
    assert held_out.labels.tolist() != source.split(3, jax.random.key(1))[1].labels.tolist()


def test_repr_is_short_and_no_dump():
    shown = repr(load_images("digits"))
    assert "1797,64" in shown
    assert "digits" in shown
    assert len(shown) < 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), np.zeros(3, int), (1,), "x"), "`samples` must be .* got shape"),
        ((np.array([[np.nan]]), np.zeros(1, int), (1,), "x"), "`samples` must be .* NaN"),
        ((np.ones((3, 2)), np.zeros(2, int), (2,), "x"), "`labels` must be 3 integers"),
        ((np.ones((3, 2)), np.zeros(3), (2,), "x"), "`labels` must be 3 integers"),
        ((np.ones((3, 2)), np.zeros(3, int), (3,), "x"), "`image_shape` must be a shape of 2 pixels"),
    ],
)
def test_a_source_refuses_arrays_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImageSource(*arguments)


def test_a_source_refuses_impossible_requests():
    source = load_images("digits")
    with pytest.raises(ValueError, match=r"`num_samples` must be a positive integer.*got 0"):
        source.sample(jax.random.key(0), 0)
    with pytest.raises(ValueError, match=r"`num_held_out` must be below .* 1797, but got 1797"):
        source.split(1797, jax.random.key(0))
    for indices in ([0, 1797], [-1]):
        with pytest.raises(ValueError, match=r"`indices` must be .*0…1796"):
            source.select(jnp.array(indices))


# Whitening.


def test_whitening_drops_directions_without_data():
    source = load_images("digits", whiten=True)
    # Three border pixels of the digits are never lit.
    assert source.image_shape == (61,)
    assert source.samples.shape == (1797, 61)
    assert_white(source, rounding(jnp.float32, terms=2))  # summed in float64
    error = rounding(jnp.float32, terms=1797)
    np.testing.assert_allclose(source.covariance, np.eye(61), atol=error)
    np.testing.assert_allclose(source.samples.mean(0), np.zeros(61), atol=error)


def test_whitening_map_is_affine_and_serves_held_out_data(rng):
    mixing = rng.normal(size=(3, 5))
    training, held_out = (rng.normal(size=(n, 3)) @ mixing + 7 for n in (400, 50))
    white, transform = whiten(training)
    assert white.shape == (400, 3)
    size = np.abs(training).max() * np.abs(transform.matrix).sum(0).max()
    error = rounding(jnp.float32, terms=5 + 2, size=size)  # the mean is subtracted first
    np.testing.assert_allclose(transform(training), white, atol=error)
    inverse = np.linalg.pinv(np.cov(training.T, bias=True), 1e-9)
    centred = held_out - training.mean(0)
    expected = np.sum(centred @ inverse * centred, axis=1)
    np.testing.assert_allclose(np.sum(np.square(transform(held_out)), axis=1), expected, rtol=1e-3)
    np.testing.assert_allclose(jax.jit(lambda x: transform(x))(held_out), transform(held_out), atol=error)


@pytest.mark.parametrize("double", [False, True])
def test_whitening_threshold_follows_the_type(rng, double):
    with jax.enable_x64(double):
        dtype = jnp.result_type(float)
        eps = float(jnp.finfo(dtype).eps)
        basis = np.linalg.qr(rng.normal(size=(200, 3)))[0]
        basis = np.linalg.qr(basis - basis.mean(0))[0]
        # The largest variance, one safely above and one safely below ten epsilons of it.
        samples = jnp.asarray(basis * np.sqrt([1.0, 40 * eps, 2 * eps]), dtype)
        white, _ = whiten(samples)
        assert white.dtype == dtype
        assert white.shape == (200, 2)


def test_whitening_with_fewer_samples_than_pixels(rng):
    white, _ = whiten(rng.normal(size=(10, 30)))
    assert white.shape == (10, 9)
    np.testing.assert_allclose(white.T @ white / 10, np.eye(9), atol=rounding(jnp.float32, terms=10 + 2))


def test_whitening_refuses_what_it_cannot_whiten():
    with pytest.raises(ValueError, match="`samples` must have rows that differ, but all 4 are equal"):
        whiten(np.full((4, 2), 0.1))
    with pytest.raises(ValueError, match="`samples` must be known when the program is traced"):
        jax.jit(lambda x: whiten(x)[0])(jnp.eye(3))
    _, transform = whiten(np.eye(3))
    with pytest.raises(ValueError, match=r"`samples` must be of shape \(num_samples, 3\).*got shape \(2, 4\)"):
        transform(np.ones((2, 4)))


# Finding a set.


def test_unknown_names_and_missing_paths(tmp_path):
    for name, error in [("minst", ValueError), (tmp_path / "none", FileNotFoundError), ("no/where", FileNotFoundError)]:
        with pytest.raises(error, match=r"`name_or_path` must be one of 'digits', 'mnist', .* or the path of a local"):
            load_images(name)
    with pytest.raises(ValueError, match="is a folder without any of IDX files"):
        load_images(tmp_path)
    (tmp_path / "notes.md").write_text("Not an image set.")
    with pytest.raises(ValueError, match=r"notes.md` does not begin like an IDX file .*; accepted are .*PNG"):
        load_images(tmp_path / "notes.md")


def test_splits_that_do_not_exist(tmp_path, rng):
    with pytest.raises(ValueError, match=r"`split` must be one of 'all', 'train', 'test', but got 'validation'"):
        load_images("digits", split="validation")
    with pytest.raises(ValueError, match=r"`split` must be 'all' for 'digits'.* but got 'test'"):
        load_images("digits", split="test")
    write_mnist(tmp_path, rng)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(ValueError, match=r"`split` must be 'all' or a part that .*\(train\), but got 'test'"):
        load_images(tmp_path, split="test")


def test_classes():
    kept = load_images("digits", classes=[3, 5])
    target = sklearn.datasets.load_digits().target
    np.testing.assert_array_equal(kept.labels, target[np.isin(target, [3, 5])])
    assert_white(load_images("digits", classes=[3, 5], whiten=True), rounding(jnp.float32, terms=2))
    for classes in ([], [3, 12]):
        with pytest.raises(
            ValueError, match=r"`classes` must be None, or .*\[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\].* but got"
        ):
            load_images("digits", classes=classes)


def test_named_sets_are_looked_for_locally_first(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **_: pytest.fail("went to the network"))
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    arrays = write_mnist(tmp_path / "fashion-mnist", rng)
    source = load_images("fashion-mnist", split="train")
    assert_holds(source, *arrays["train"])
    assert source.name == "fashion-mnist"


@pytest.mark.parametrize(
    ("name", "data_id", "shape"),
    [("mnist", 554, (28, 28)), ("fashion-mnist", 40996, (28, 28)), ("cifar-10", 40927, (32, 32, 3))],
)
def test_download(tmp_path, rng, monkeypatch, name, data_id, shape):
    images = draw_images(rng, 3, *shape)
    # OpenML has whole planes, and test images in the last ten thousand rows.
    rows = np.zeros((10_003, math.prod(shape)), np.uint8)
    rows[:3] = (np.moveaxis(images, -1, 1) if len(shape) == 3 else images).reshape(3, -1)
    rows[3:] = 17
    asked = {}

    def fetch_openml(**options):
        asked.update(options)
        return SimpleNamespace(data=rows.astype(np.float32), target=np.array(["4"] * 3 + ["6"] * 10_000, object))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    assert_holds(load_images(name, split="train", data_home=tmp_path / "cache"), images, [4, 4, 4])
    assert asked["data_id"] == data_id
    assert asked["data_home"] == tmp_path / "cache"
    assert asked["as_frame"] is False
    test = load_images(name, split="test", classes=[6])
    assert test.num_samples == 10_000
    np.testing.assert_allclose(test.samples[:5], 17 / 255, rtol=rounding(jnp.float32))
    rows = rows[:, 1:]
    with pytest.raises(ValueError, match=f"is a table of shape .*, not {name}"):
        load_images(name)


@pytest.mark.parametrize(
    "error",
    [URLError("unreachable"), TimeoutError("unreachable"), http.client.IncompleteRead(b""), ValueError("unreachable")],
)
def test_failed_download_says_where_to_put_the_data(tmp_path, monkeypatch, error):
    def fetch_openml(**_):
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    monkeypatch.delenv("AETHEORY_DATA", raising=False)
    with pytest.raises(
        FileNotFoundError, match=r"got 'mnist'.*AETHEORY_DATA .*not set.*train-images-idx3-ubyte.*local"
    ):
        load_images("mnist")
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"got 'cifar-10'.*cifar-10`, which does not exist.*data_batch_1.bin"):
        load_images("cifar-10")


def test_imports_are_lazy():
    program = "import sys, aetheory.sources; print([m for m in ('sklearn', 'PIL', 'pandas') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


@needs_mnist
def test_mnist():
    train, test = (load_images("mnist", split=split) for split in ("train", "test"))
    assert (train.samples.shape, test.samples.shape, train.image_shape) == ((60_000, 784), (10_000, 784), (28, 28))
    assert train.labels[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert test.labels[:4].tolist() == [7, 2, 1, 0]
    # The mean and standard deviation of the training pixels that everybody normalises with.
    assert float(train.samples.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(train.samples.std()) == pytest.approx(0.3081, abs=1e-4)


@needs_mnist
def test_whitened_mnist():
    train, test = (load_images("mnist", split=split, classes=[3, 8]) for split in ("train", "test"))
    white, transform = whiten(train.samples)
    assert white.shape[1] < 784
    np.testing.assert_allclose(
        white.T @ white / len(white), np.eye(white.shape[1]), atol=rounding(jnp.float32, terms=len(white))
    )
    np.testing.assert_allclose(transform(train.samples), white, atol=1e-2)
    # Held-out images follow the same law in the leading directions, and only there does a finite set say so.
    leading = np.cov(np.asarray(transform(test.samples))[:, :20].T, bias=True)
    np.testing.assert_allclose(leading, np.eye(20), atol=0.2)


def test_whitening_leaves_out_directions_of_small_variance(x64):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(400, 4)) * np.array([3.0, 1.0, 0.2, 0.05]) + 1
    white, whitening = whiten(samples, smallest_variance=1e-2)
    assert white.shape == (400, 2)
    error = rounding(jnp.float64, terms=400, condition=3)
    np.testing.assert_allclose(white.T @ white / 400, np.eye(2), rtol=0, atol=error)
    np.testing.assert_allclose(whitening(samples), white, rtol=0, atol=error)
    np.testing.assert_allclose(white, whiten(samples)[0][:, :2], rtol=0, atol=error)
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"^Argument `smallest_variance` must be in \[0, 1\)"):
            whiten(samples, smallest_variance=share)
