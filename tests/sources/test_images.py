import http.client
import math
import re
import subprocess
import sys
from types import SimpleNamespace
from urllib.error import URLError

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.datasets
from oracles.image_files import assert_holds, draw_images, write_mnist
from refusals import refused
from tolerance import rounding

from aetheory.sources.images import ImageSource, load_images, whiten

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)


def ten():
    return ImageSource(jnp.arange(10.0)[:, None], jnp.arange(10), (1,), "ten")


def test_digits_and_their_covariance(precision):
    source, raw = load_images("digits"), sklearn.datasets.load_digits()
    assert (source.num_samples, source.input_dim, source.image_shape, source.name) == (1797, 64, (8, 8), "digits")
    assert source.samples.dtype == precision
    np.testing.assert_array_equal(source.samples, raw.data / 16)
    np.testing.assert_array_equal(source.labels, raw.target)
    expected = np.cov(raw.data.T / 16, bias=True)
    error = rounding(precision, terms=source.num_samples, size=expected.max())
    np.testing.assert_allclose(source.covariance, expected, atol=error, rtol=0)
    np.testing.assert_allclose(jax.jit(lambda s: s.covariance)(source), expected, atol=error, rtol=0)
    assert len(repr(source)) < 200


def test_sample_draws_uniformly_with_replacement():
    drawn = ten().sample(KEY, 20_000)
    assert drawn.shape == (20_000, 1)
    counts = np.bincount(np.asarray(drawn[:, 0], int), minlength=10)
    # Six standard deviations of a binomial count.
    assert np.abs(counts - 2000).max() < 6 * math.sqrt(2000 * 0.9)
    np.testing.assert_array_equal(eqx.filter_jit(lambda s, key: s.sample(key, 7))(ten(), KEY), ten().sample(KEY, 7))


def test_select_and_split_keep_labels_with_their_images():
    chosen = ten().select(np.array([7, 2]))
    np.testing.assert_array_equal(chosen.labels, [7, 2])
    np.testing.assert_array_equal(chosen.samples[:, 0], [7, 2])
    training, held_out = ten().split(3, KEY)
    assert (training.num_samples, held_out.num_samples) == (7, 3)
    assert sorted([*training.labels.tolist(), *held_out.labels.tolist()]) == list(range(10))
    np.testing.assert_array_equal(training.samples[:, 0], training.labels)
    assert held_out.labels.tolist() != ten().split(3, jax.random.key(1))[1].labels.tolist()


test_a_bad_argument = refused(
    (lambda: ImageSource(np.ones(3), np.zeros(3, int), (1,), "x"), "`samples` must be … got shape"),
    (lambda: ImageSource(np.array([[np.nan]]), np.zeros(1, int), (1,), "x"), "`samples` must be … NaN"),
    (lambda: ImageSource(np.ones((3, 2)), np.zeros(2, int), (2,), "x"), "`labels` must be 3 integers"),
    (lambda: ImageSource(np.ones((3, 2)), np.zeros(3), (2,), "x"), "`labels` must be 3 integers"),
    (lambda: ImageSource(np.ones((3, 2)), np.zeros(3, int), (3,), "x"), "`image_shape` must be a shape of 2"),
    (lambda: ten().sample(KEY, 0), "`num_samples` must be a positive integer, but got 0"),
    (lambda: ten().split(10, KEY), "`num_held_out` must be below the number of images, 10, but got 10"),
    (lambda: ten().select(jnp.array([0, 10])), "`indices` must be …0…9"),
    (lambda: ten().select(jnp.array([-1])), "`indices` must be …0…9"),
    (lambda: whiten(np.full((4, 2), 0.1)), "`samples` must have rows that differ, but all 4 are equal"),
    (lambda: whiten(np.eye(3), smallest_variance=-0.1), "`smallest_variance` must be in [0, 1)"),
    (lambda: whiten(np.eye(3), smallest_variance=1.0), "`smallest_variance` must be in [0, 1)"),
    (lambda: whiten(np.eye(3))[1](np.ones((2, 4))), "`samples` must have 3 columns, but got shape (2, 4)"),
    (lambda: load_images("digits", split="validation"), "`split` must be one of 'all', 'train', 'test', but got"),
    (lambda: load_images("digits", split="test"), "`split` must be 'all' or …`digits` has (undivided)"),
)


def test_whitening_drops_directions_without_data(precision):
    # three border pixels of the digits are never lit
    white, _ = whiten(load_images("digits").samples)
    assert white.shape == (1797, 61)
    assert white.dtype == precision
    # made in float64, where the largest singular value is 659 times the smallest that is kept, and rounded
    tolerance = rounding(precision, terms=2) + rounding(jnp.float64, terms=1797, condition=659)
    np.testing.assert_allclose(np.cov(np.asarray(white, np.float64).T, bias=True), np.eye(61), atol=tolerance)
    np.testing.assert_allclose(white.mean(0), np.zeros(61), atol=rounding(precision, terms=1797) + tolerance)
    few, _ = whiten(RNG.normal(size=(10, 30)))
    assert few.shape == (10, 9)
    # the largest variance, one safely above and one safely below ten epsilons of it
    eps = float(jnp.finfo(precision).eps)
    basis = np.linalg.qr(np.linalg.qr(np.eye(200, 3))[0] - 1 / 200 * np.eye(200, 3).sum(0))[0]
    assert whiten(jnp.asarray(basis * np.sqrt([1.0, 40 * eps, 2 * eps]), precision))[0].shape == (200, 2)


def test_whitening_map_is_affine_and_serves_held_out_data(x64):
    mixing = RNG.normal(size=(3, 5))
    training, held_out = (RNG.normal(size=(n, 3)) @ mixing + 7 for n in (400, 50))
    white, transform = whiten(training)
    assert white.shape == (400, 3)
    size = np.abs(training).max() * np.abs(transform.matrix).sum(0).max()
    error = rounding(jnp.float64, terms=400, size=size)
    np.testing.assert_allclose(transform(training), white, rtol=0, atol=error)
    inverse = np.linalg.pinv(np.cov(training.T, bias=True), 1e-9)
    centred = held_out - training.mean(0)
    expected = np.sum(centred @ inverse * centred, axis=1)
    np.testing.assert_allclose(np.sum(np.square(transform(held_out)), axis=1), expected, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(lambda x: transform(x))(held_out), transform(held_out), rtol=0, atol=error)
    variances = np.linalg.eigvalsh(np.cov(training.T, bias=True))[::-1]
    fewer, _ = whiten(training, smallest_variance=(variances[1] + variances[2]) / 2 / variances[0])
    np.testing.assert_allclose(fewer, white[:, :2], rtol=0, atol=error)


def test_unknown_names_and_missing_paths(tmp_path):
    for name, error in [("minst", ValueError), (tmp_path / "none", FileNotFoundError), ("no/where", FileNotFoundError)]:
        with pytest.raises(error, match=r"`name_or_path` must be one of 'digits', 'mnist', .* or the path of a local"):
            load_images(name)
    with pytest.raises(ValueError, match="is a folder without any of IDX files"):
        load_images(tmp_path)


def test_named_sets_are_looked_for_locally_first(tmp_path, monkeypatch):
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", lambda **_: pytest.fail("went to the network"))
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    train, _ = write_mnist(tmp_path / "fashion-mnist", RNG)
    source = load_images("fashion-mnist", split="train")
    assert_holds(source, *train)
    assert source.name == "fashion-mnist"
    (tmp_path / "fashion-mnist" / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(ValueError, match=r"`split` must be 'all' or a part that .*\(train\), but got 'test'"):
        load_images("fashion-mnist", split="test")


@pytest.mark.parametrize(
    ("name", "data_id", "shape"),
    [("mnist", 554, (28, 28)), ("fashion-mnist", 40996, (28, 28)), ("cifar-10", 40927, (32, 32, 3))],
)
def test_download(tmp_path, monkeypatch, name, data_id, shape):
    images = draw_images(RNG, 3, *shape)
    # OpenML has whole planes, and test images in the last ten thousand rows.
    rows = np.full((10_003, math.prod(shape)), 17, np.uint8)
    rows[:3] = (np.moveaxis(images, -1, 1) if len(shape) == 3 else images).reshape(3, -1)

    def fetch_openml(**options):
        assert (options["data_id"], options["as_frame"]) == (data_id, False)
        return SimpleNamespace(data=rows.astype(np.float32), target=np.array(["4"] * 3 + ["6"] * 10_000, object))

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    assert_holds(load_images(name, split="train"), images, [4, 4, 4])
    test = load_images(name, split="test")
    assert_holds(test.select(np.arange(5)), np.full((5, *shape), 17), np.full(5, 6))
    assert test.num_samples == 10_000
    rows = rows[:, 1:]
    with pytest.raises(ValueError, match=f"is a table of shape .*, not {name}"):
        load_images(name)


@pytest.mark.parametrize("error", [URLError("unreachable"), http.client.IncompleteRead(b""), ValueError("unreachable")])
def test_failed_download_says_where_to_put_the_data(tmp_path, monkeypatch, error):
    def fetch_openml(**_):
        raise error

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    monkeypatch.delenv("AETHEORY_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"got 'mnist'.*AETHEORY_DATA \(not set\).*train-images-idx3-ubyte"):
        load_images("mnist")
    monkeypatch.setenv("AETHEORY_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"got 'cifar-10'.*{re.escape(str(tmp_path))}.*data_batch_1.bin"):
        load_images("cifar-10")


def test_imports_are_lazy():
    program = "import sys, aetheory.sources; print([m for m in ('sklearn', 'pandas') if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_mnist(mnist_folder):
    train, test = (load_images("mnist", split=split) for split in ("train", "test"))
    assert (train.samples.shape, test.samples.shape, train.image_shape) == ((60_000, 784), (10_000, 784), (28, 28))
    assert train.labels[:6].tolist() == [5, 0, 4, 1, 9, 2]
    assert test.labels[:4].tolist() == [7, 2, 1, 0]
    # The mean and standard deviation of the training pixels that everybody normalises with.
    assert float(train.samples.mean()) == pytest.approx(0.1307, abs=1e-4)
    assert float(train.samples.std()) == pytest.approx(0.3081, abs=1e-4)
    # Held-out images follow the law of the whitened ones in the leading directions, and only there.
    _, transform = whiten(train.samples[:6000], smallest_variance=1e-3)
    leading = np.cov(np.asarray(transform(test.samples))[:, :20].T, bias=True)
    np.testing.assert_allclose(leading, np.eye(20), atol=0.2)
