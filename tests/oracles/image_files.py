"""Small sets of images, written as the published files are."""

import gzip

import numpy as np
from tolerance import rounding


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
    np.testing.assert_allclose(
        source.samples, images.reshape(len(images), -1) / 255, rtol=rounding(source.samples.dtype)
    )
    np.testing.assert_array_equal(source.labels, labels)
