import gzip
import re
import tracemalloc
import zipfile

import numpy as np
import pytest
from oracles.image_files import assert_holds, draw_images, idx_bytes, write_cifar, write_mnist

from aetheory.sources.images import load_images

RNG = np.random.default_rng(0)
ONES = np.ones((4, 2, 2))
IDX = idx_bytes(draw_images(RNG, 4, 2, 5))


def refuses(path, message):
    return pytest.raises(ValueError, match=f"^Argument `name_or_path` must .*{re.escape(str(path))}.*{message}")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path, suffix):
    train, test = write_mnist(tmp_path, RNG, suffix=suffix)
    assert_holds(load_images(tmp_path, split="train"), *train)
    assert_holds(load_images(tmp_path / f"t10k-images-idx3-ubyte{suffix}"), *test)
    write_mnist(tmp_path, np.random.default_rng(1), suffix=".gz")  # twins count once, strays not at all
    (tmp_path / "preview.npz").write_bytes(b"no archive")
    if not suffix:
        assert_holds(load_images(str(tmp_path)), *(np.concatenate(pair) for pair in zip(train, test, strict=True)))


def test_colour_idx_without_labels(tmp_path):
    images = draw_images(RNG, 4, 2, 5, 3)
    (tmp_path / "train-images.idx4-ubyte").write_bytes(idx_bytes(images))
    assert_holds(load_images(tmp_path), images, np.full(4, -1))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (IDX[:-1], r"should hold 40 values by its header \(shape \[4, 2, 5\]\), but holds only 39"),
        (IDX + b"\0", "should hold 40 values .* but holds more"),
        (IDX[:9], r"has images of shape \(4, 0, 0\)"),
        (b"", "does not begin like an IDX file of unsigned bytes and rank 3 or 4; accepted are IDX .* NPY"),
        (b"\x01" + IDX[1:], "does not begin like"),
        (IDX[:2] + b"\x0d" + IDX[3:], "does not begin like"),
        (idx_bytes(np.arange(4)), "does not begin like"),
        (bytes([0, 0, 8, 255]), "does not begin like"),
        (idx_bytes(np.zeros((0, 2, 2))), r"has images of shape \(0, 2, 2\)"),
        (bytes([0, 0, 8, 3, *[255] * 12]), "cannot be read to the end that its header announces"),
        (bytes([0, 0, 8, 3, 0, 255, *[255] * 10]), "cannot be read to the end that its header announces"),
        (gzip.compress(IDX, mtime=0)[:-10], "cannot be read to the end"),
        (gzip.compress(IDX, mtime=0)[:10] + b"\xff" * 30, "cannot be read to the end"),
    ],
)
def test_damaged_idx_files(tmp_path, data, message):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with refuses(path, message):
        load_images(tmp_path)


def test_idx_images_and_labels_must_agree(tmp_path):
    write_mnist(tmp_path, RNG)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(5)))
    with refuses(tmp_path / "train-images-idx3-ubyte", r"has 6 images but labels of type uint8 and shape \(5,\)"):
        load_images(tmp_path)


def test_cifar_batches(tmp_path):
    images, labels = draw_images(RNG, 5, 32, 32, 3), np.array([3, 9, 0, 1, 3])
    for name, rows in {"data_batch_2": slice(2, 4), "data_batch_1": slice(2), "test_batch": slice(4, 5)}.items():
        write_cifar(tmp_path / f"{name}.bin", images[rows], labels[rows])
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    assert_holds(load_images(tmp_path), images, labels)
    assert_holds(load_images(tmp_path, split="train"), images[:4], labels[:4])
    path = tmp_path / "test_batch.bin"
    assert_holds(load_images(path, split="test"), images[4:], labels[4:])
    write_cifar(path, images[:2], [1, 12])
    with refuses(path, "labels 0…9, but has label 12"):
        load_images(path)
    path.write_bytes(path.read_bytes()[:-1])
    with refuses(path, "3073 bytes an image, but has 6145 bytes"):
        load_images(tmp_path)


def test_npz_and_npy_files(tmp_path):
    train, test, flat = draw_images(RNG, 4, 3, 2), draw_images(RNG, 2, 3, 2), draw_images(RNG, 4, 6)
    path = tmp_path / "set.npz"
    # no other key is read, which might unpack to anything
    junk = np.array([{}], object)
    np.savez(path, x_train=train, y_train=np.arange(4)[:, None], x_test=test, y_test=np.arange(2), junk=junk)
    for place in (path, tmp_path):
        assert_holds(load_images(place, split="train"), train, np.arange(4))
        assert_holds(load_images(place, split="test"), test, np.arange(2))
        assert load_images(place).num_samples == 6
    np.savez(path, images=flat.astype(np.int64), labels=np.arange(4))
    assert_holds(load_images(path), flat, np.arange(4))
    np.savez(path, x=flat.reshape(4, 2, 3, 1) / 255)
    assert_holds(load_images(path), flat.reshape(4, 2, 3), np.full(4, -1))
    np.save(tmp_path / "test.npy", train)
    assert_holds(load_images(tmp_path / "test.npy", split="test"), train, np.full(4, -1))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": ONES * [[0, np.nan]]}, r"has 8 pixels that are not integers in 0…255 or .* numbers in \[0, 1\]"),
        ({"images": ONES * [[0, 2]]}, "has 8 pixels that are not"),
        ({"images": -ONES.astype(int)}, "has 16 pixels that are not"),
        ({"images": np.ones(4)}, r"has images of shape \(4,\), where"),
        ({"images": np.ones((4, 3, 8, 8))}, r"has images of shape \(4, 3, 8, 8\)"),
        ({"images": ONES[:0]}, r"has images of shape \(0, 2, 2\)"),
        ({"images": ONES > 0}, "has images of type bool"),
        ({"images": ONES.astype(object)}, r"is not a readable NPZ or NPY file \(Object arrays"),
        ({"images": ONES, "labels": np.arange(3)}, r"has 4 images but labels of type int64 and shape \(3,\)"),
        ({"images": ONES, "labels": np.ones(4)}, "has 4 images but labels of type float64"),
        ({"faces": ONES}, "has images under none of the keys x_train, x_test, images, x"),
        ({"images": ONES, "x": ONES}, "has images under more keys than one: images, x"),
        ({"x_train": ONES, "x": ONES}, "has images under more keys than one: x_train, x"),
    ],
)
def test_damaged_npz_files(tmp_path, arrays, message):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    with refuses(path, message):
        load_images(path)
    path.write_bytes(path.read_bytes()[:-30])
    with refuses(path, "is not a readable NPZ or NPY file"):
        load_images(path)


@pytest.mark.parametrize("shape", [(2 * 10**11, 1), (10**30, 1), (-1, 2)])
def test_wrong_npy_headers(tmp_path, shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 6
    plain, archive = tmp_path / "one.npy", tmp_path / "set.npz"
    plain.write_bytes(data)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("images.npy", data)
    for path in (plain, archive):
        with refuses(path, "is not a readable NPZ or NPY file"):
            load_images(path)


def test_a_small_file_that_unpacks_to_much_costs_little(tmp_path):
    size = 2**25
    packed = tmp_path / "train-images-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(idx_bytes(np.zeros((1, 2, 2))) + bytes(size)))
    archive = tmp_path / "set.npz"
    np.savez_compressed(archive, junk=np.zeros(size, np.uint8))
    for path, message in [(packed, "should hold 4 values .* holds more"), (archive, "under none of the keys")]:
        tracemalloc.start()
        with refuses(path, message):
            load_images(path)
        assert tracemalloc.get_traced_memory()[1] < size / 8
        tracemalloc.stop()


def test_parts_of_different_shapes(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=ONES, x_test=ONES.astype(np.uint8))
    with refuses(tmp_path, "different shapes or number types"):
        load_images(tmp_path)
