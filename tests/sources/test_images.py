import gzip
import http.client
import json
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
from PIL import Image

from aetheory.sources import ImageSource, load_images, whiten

DATA_FOLDER = os.environ.get("AETHEORY_DATA")
needs_mnist = pytest.mark.skipif(
    DATA_FOLDER is None or not (Path(DATA_FOLDER) / "mnist").is_dir(), reason="$AETHEORY_DATA/mnist is not there"
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def draw_images(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def write_idx(path, array, *, code=8):
    header = bytes([0, 0, code, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(folder, rng, *, num_train=6, num_test=4, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in (("train", num_train), ("t10k", num_test)):
        images, labels = draw_images(rng, count, 5, 3), np.arange(count) % 3
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels)
        arrays[part] = images, labels
    return arrays


def write_cifar(path, images, labels):
    planes = np.moveaxis(images, -1, 1).reshape(len(images), -1)
    path.write_bytes(np.concatenate([np.asarray(labels, np.uint8)[:, None], planes], axis=1).tobytes())


def assert_holds(source, images, labels):
    assert source.image_shape == images.shape[1:]
    np.testing.assert_allclose(source.samples, images.reshape(len(images), -1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(source.labels, labels)


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
    np.testing.assert_allclose(source.covariance, expected, atol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda s: s.covariance)(source), expected, atol=1e-6)


def test_float64_is_followed():
    with jax.enable_x64(True):
        source = load_images("digits", whiten=True)
        assert source.samples.dtype == jnp.float64
        assert_white(source, 1e-10)


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
    assert_white(source, 1e-5)
    np.testing.assert_allclose(source.covariance, np.eye(61), atol=1e-5)
    np.testing.assert_allclose(source.samples.mean(0), np.zeros(61), atol=1e-5)


def test_whitening_map_is_affine_and_serves_held_out_data(rng):
    mixing = rng.normal(size=(3, 5))
    training, held_out = (rng.normal(size=(n, 3)) @ mixing + 7 for n in (400, 50))
    white, transform = whiten(training)
    assert white.shape == (400, 3)
    np.testing.assert_allclose(transform(training), white, atol=1e-4)
    inverse = np.linalg.pinv(np.cov(training.T, bias=True), 1e-9)
    centred = held_out - training.mean(0)
    expected = np.sum(centred @ inverse * centred, axis=1)
    np.testing.assert_allclose(np.sum(np.square(transform(held_out)), axis=1), expected, rtol=1e-3)
    np.testing.assert_allclose(jax.jit(lambda x: transform(x))(held_out), transform(held_out), atol=1e-4)


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
    np.testing.assert_allclose(white.T @ white / 10, np.eye(9), atol=1e-5)


def test_whitening_refuses_what_it_cannot_whiten():
    with pytest.raises(ValueError, match="`samples` must have rows that differ, but all 4 are equal"):
        whiten(np.full((4, 2), 0.1))
    with pytest.raises(ValueError, match="`samples` must be known when the program is traced"):
        jax.jit(lambda x: whiten(x)[0])(jnp.eye(3))
    _, transform = whiten(np.eye(3))
    with pytest.raises(ValueError, match=r"`samples` must be of shape \(num_samples, 3\).*got shape \(2, 4\)"):
        transform(np.ones((2, 4)))


# IDX.


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path, rng, suffix):
    arrays = write_mnist(tmp_path, rng, suffix=suffix)
    assert_holds(load_images(tmp_path, split="train"), *arrays["train"])
    assert_holds(load_images(str(tmp_path), split="test"), *arrays["t10k"])
    both = load_images(tmp_path)
    assert_holds(both, *(np.concatenate(pair) for pair in zip(arrays["train"], arrays["t10k"], strict=True)))
    assert_holds(load_images(tmp_path / f"t10k-images-idx3-ubyte{suffix}"), *arrays["t10k"])


def test_idx_twins_count_once_and_strays_not_at_all(tmp_path, rng):
    arrays = write_mnist(tmp_path, rng)
    write_mnist(tmp_path, rng, suffix=".gz")
    Image.fromarray(draw_images(rng, 3, 3)).save(tmp_path / "preview.png")
    assert_holds(load_images(tmp_path, split="train"), *arrays["train"])


def test_colour_idx_without_labels(tmp_path, rng):
    images = draw_images(rng, 4, 2, 5, 3)
    write_idx(tmp_path / "train-images.idx4-ubyte", images)
    assert_holds(load_images(tmp_path), images, np.full(4, -1))


def test_damaged_idx_files(tmp_path, rng):
    images = tmp_path / "train-images-idx3-ubyte"
    write_idx(images, draw_images(rng, 4, 2, 5))
    whole = images.read_bytes()
    cases = {
        "should be 56 bytes long by its header": whole[:-1],
        "has 57": whole + b"\0",
        "should be .* bytes long": whole[:9],
        "does not begin like an IDX file": b"\x01" + whole[1:],
        "does not begin like an IDX file of unsigned bytes": whole[:2] + b"\x0d" + whole[3:],
        "is not a whole gzip file": gzip.compress(whole)[:-10],
        r"is an IDX file of shape \(4,\)": bytes([0, 0, 8, 1, 0, 0, 0, 4, 1, 2, 3, 4]),
        "holds no images": bytes([0, 0, 8, 3, *[0] * 12]),
    }
    for message, data in cases.items():
        images.write_bytes(data)
        with pytest.raises(ValueError, match=f"`name_or_path` must .*{images.name}.*{message}"):
            load_images(tmp_path)


def test_idx_images_and_labels_must_agree(tmp_path, rng):
    write_mnist(tmp_path, rng)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(5))
    with pytest.raises(ValueError, match=r"has 6 images but labels of shape \(5,\)"):
        load_images(tmp_path)


# CIFAR-10's binary version.


def test_cifar_batches(tmp_path, rng):
    images, labels = draw_images(rng, 5, 32, 32, 3), np.array([3, 9, 0, 1, 3])
    write_cifar(tmp_path / "data_batch_2.bin", images[2:4], labels[2:4])
    write_cifar(tmp_path / "data_batch_1.bin", images[:2], labels[:2])
    write_cifar(tmp_path / "test_batch.bin", images[4:], labels[4:])
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    assert_holds(load_images(tmp_path), images, labels)
    assert_holds(load_images(tmp_path, split="train"), images[:4], labels[:4])
    assert_holds(load_images(tmp_path / "test_batch.bin", split="test"), images[4:], labels[4:])
    assert_holds(load_images(tmp_path, classes=[3]), images[[0, 4]], [3, 3])


def test_damaged_cifar_batches(tmp_path, rng):
    path = tmp_path / "data_batch_1.bin"
    write_cifar(path, draw_images(rng, 2, 32, 32, 3), [1, 12])
    with pytest.raises(ValueError, match=r"labels 0…9, but has label 12"):
        load_images(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"3073 bytes an image, but has 6145 bytes"):
        load_images(tmp_path)


# NPZ.


@pytest.mark.parametrize(
    "keys", [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")]
)
def test_npz_in_two_parts(tmp_path, rng, keys):
    train, test = draw_images(rng, 4, 3, 2), draw_images(rng, 2, 3, 2)
    path = tmp_path / "set.npz"
    np.savez_compressed(path, **dict(zip(keys, (train, np.arange(4)[:, None], test, np.arange(2)), strict=True)))
    for place in (path, tmp_path):
        assert_holds(load_images(place, split="train"), train, np.arange(4))
        assert_holds(load_images(place, split="test"), test, np.arange(2))
        assert load_images(place).num_samples == 6


@pytest.mark.parametrize("key", ["images", "samples", "x"])
def test_npz_in_one_part(tmp_path, rng, key):
    path = tmp_path / "set.npz"
    flat = draw_images(rng, 4, 6)
    np.savez(path, **{key: flat.astype(np.int64)})
    assert_holds(load_images(path), flat, np.full(4, -1))
    np.savez(path, **{key: flat.reshape(4, 2, 3, 1) / 255})
    assert_holds(load_images(path), flat.reshape(4, 2, 3), np.full(4, -1))
    with pytest.raises(ValueError, match=r"`split` must be 'all' or a part that .*\(undivided\), but got 'train'"):
        load_images(path, split="train")


def test_unusable_npz_files(tmp_path):
    path = tmp_path / "set.npz"
    images = np.ones((4, 2, 2))
    nan = images.copy()
    nan[1, 0, 0] = np.nan
    cases = [
        ("1 NaN or infinite values in `images`", {"images": nan}),
        (r"values from 0.0 to 2.0 in `images`, where integers in 0…255", {"images": images * [[0, 2]]}),
        (r"values from -1 to -1", {"images": -images.astype(int)}),
        (r"`images` of shape \(4,\)", {"images": np.ones(4)}),
        (r"`images` of shape \(4, 3, 8, 8\)", {"images": np.ones((4, 3, 8, 8))}),
        ("`images` of type bool", {"images": images > 0}),
        ("is not a readable NPZ file", {"images": images.astype(object)}),
        ("has 4 images but labels of shape", {"images": images, "labels": np.arange(3)}),
        ("`labels` of type float64", {"images": images, "labels": np.ones(4)}),
        (r"has the keys \['faces'\], and none of x_train", {"faces": images}),
        ("has images under more keys than one: images, x", {"images": images, "x": images}),
        ("has images under more keys than one: x_train, x", {"x_train": images, "x": images}),
        ("holds no images", {"images": images[:0]}),
        ("different shapes or number types", {"x_train": images, "x_test": images.astype(np.uint8)}),
    ]
    for message, arrays in cases:
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=f"`name_or_path` must .*set.npz.*{message}"):
            load_images(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="is not a readable NPZ file"):
        load_images(path)


# PNG sheets.


def test_colour_sheets_with_one_label_file_a_part(tmp_path, rng):
    images, labels = draw_images(rng, 6, 32, 32, 3), np.array([0, 1, 2, 3, 4, 5])
    for name, rows in {"data_batch_1": slice(2), "data_batch_2": slice(2, 4), "test_batch": slice(4, 6)}.items():
        picture = Image.fromarray(images[rows].reshape(2, 1024, 3))
        (picture.convert("RGBA") if name == "data_batch_2" else picture).save(tmp_path / f"{name}.png")
    assert_holds(load_images(tmp_path), images, np.full(6, -1))
    (tmp_path / "train_lables.json").write_text(json.dumps(labels[:4].tolist()))
    (tmp_path / "test_labels.csv").write_text("4\n5\n")
    assert_holds(load_images(tmp_path), images, labels)
    assert_holds(load_images(tmp_path, split="test"), images[4:], labels[4:])
    assert_holds(load_images(tmp_path / "data_batch_2.png"), images[2:4], labels[2:4])


def test_greyscale_sheets(tmp_path, rng):
    images = draw_images(rng, 3, 32, 32, 3)
    sheet = np.moveaxis(images, -1, 1).reshape(3, 3072)
    Image.fromarray(sheet).save(tmp_path / "cifar.png")
    (tmp_path / "labels.txt").write_text("7, 8\n9")
    assert_holds(load_images(tmp_path), images, [7, 8, 9])
    (tmp_path / "cifar.csv").write_text("1,2,3\n")
    assert_holds(load_images(tmp_path / "cifar.png"), images, [1, 2, 3])
    grey = draw_images(rng, 2, 5, 5)
    Image.fromarray(grey.reshape(2, 25)).save(tmp_path / "cifar.png")
    (tmp_path / "cifar.csv").write_text("1,2\n")
    assert_holds(load_images(tmp_path), grey, [1, 2])


def test_unusable_sheets(tmp_path, rng):
    path = tmp_path / "sheet.png"
    Image.fromarray(draw_images(rng, 2, 10)).save(path)
    with pytest.raises(ValueError, match=r"sheet.png` is 10 pixels wide; a sheet has one square image a row"):
        load_images(path)
    Image.fromarray(draw_images(rng, 2, 9)).convert("P").save(path)
    with pytest.raises(ValueError, match="is a picture of mode P"):
        load_images(path)
    Image.fromarray(draw_images(rng, 64, 1024)).save(path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="is not a whole PNG file"):
        load_images(path)
    path.write_text("no picture")
    with pytest.raises(ValueError, match="is not a PNG file"):
        load_images(path)
    Image.fromarray(draw_images(rng, 2, 9)).save(path)
    (tmp_path / "labels.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"labels.txt` has 3 labels for the 2 images of sheet.png"):
        load_images(path)
    (tmp_path / "labels.txt").write_text("label\n1\n2")
    with pytest.raises(ValueError, match="should hold one whole number per image"):
        load_images(path)


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
    assert_white(load_images("digits", classes=[3, 5], whiten=True), 1e-5)
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
    np.testing.assert_allclose(test.samples[:5], 17 / 255, rtol=1e-6)
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
    np.testing.assert_allclose(white.T @ white / len(white), np.eye(white.shape[1]), atol=1e-4)
    np.testing.assert_allclose(transform(train.samples), white, atol=1e-2)
    # Held-out images follow the same law in the leading directions, and only there does a finite set say so.
    leading = np.cov(np.asarray(transform(test.samples))[:, :20].T, bias=True)
    np.testing.assert_allclose(leading, np.eye(20), atol=0.2)


def test_whitening_leaves_out_directions_of_small_variance(x64):
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(400, 4)) * np.array([3.0, 1.0, 0.2, 0.05]) + 1
    white, whitening = whiten(samples, smallest_variance=1e-2)
    assert white.shape == (400, 2)
    np.testing.assert_allclose(white.T @ white / 400, np.eye(2), atol=1e-10)
    np.testing.assert_allclose(whitening(samples), white, atol=1e-12)
    np.testing.assert_allclose(white, whiten(samples)[0][:, :2], atol=1e-10)
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"^Argument `smallest_variance` must be in \[0, 1\)"):
            whiten(samples, smallest_variance=share)
