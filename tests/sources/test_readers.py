import gzip
import json

import numpy as np
import pytest
from oracles.image_files import assert_holds, draw_images, write_cifar, write_idx, write_mnist
from PIL import Image

from aetheory.sources.images import load_images


@pytest.fixture
def rng():
    return np.random.default_rng(0)


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
