"""Small sets of images, written as the published files are."""

import gzip

import numpy as np
from tolerance import rounding


def draw_images(rng, *shape):
    return rng.integers(0, 256, shape, dtype=np.uint8)


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_mnist(folder, rng, *, suffix=""):
    """Six training and four test images; returns both with their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {}
    for part, count in (("train", 6), ("t10k", 4)):
        arrays[part] = draw_images(rng, count, 5, 3), np.arange(count) % 3
        for name, array in zip(("images-idx3", "labels-idx1"), arrays[part], strict=True):
            data = idx_bytes(array)
            path = folder / f"{part}-{name}-ubyte{suffix}"
            path.write_bytes(gzip.compress(data) if suffix else data)
    return arrays["train"], arrays["t10k"]


def write_cifar(path, images, labels):
    planes = np.moveaxis(images, -1, 1).reshape(len(images), -1)
    path.write_bytes(np.concatenate([np.asarray(labels, np.uint8)[:, None], planes], axis=1).tobytes())


def assert_holds(source, images, labels):
    assert source.image_shape == images.shape[1:]
    np.testing.assert_allclose(
        source.samples, images.reshape(len(images), -1) / 255, rtol=rounding(source.samples.dtype)
    )
    np.testing.assert_array_equal(source.labels, labels)
