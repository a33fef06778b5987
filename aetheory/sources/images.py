"""Image sets as sources of samples: digits, MNIST, Fashion-MNIST, CIFAR-10, local files, or arrays."""

import http.client
import math
import os
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num, PRNGKeyArray

from aetheory.core.checks import (
    check_choice,
    check_instance,
    check_key,
    check_samples,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.sources.readers import FORMATS, PARTS, Images, bad_data, from_planes, read_images

DATA_FOLDER_VARIABLE = "AETHEORY_DATA"

_MIN_VARIANCE_IN_EPSILONS = 10.0
"""Least variance that is whitened, relative to the largest: whitening multiplies rounding by the ratio's root."""

_OPENML = {"mnist": (554, (28, 28)), "fashion-mnist": (40996, (28, 28)), "cifar-10": (40927, (32, 32, 3))}
"""OpenML's number of each named set, and the shape of its images."""
_OPENML_NUM_TEST = 10_000


class ImageSource(eqx.Module):
    """A finite set of images, as a source of samples.

    Arguments:
        samples: images, shape (num_samples, input_dim), finite; row-major, colour as height × width × 3; in [0, 1]
            unless whitened.
        labels: classes, integers of shape (num_samples,); −1 where unknown.
        image_shape: shape of one image, with product input_dim; (rank,) when whitened.
        name: name of the set.
    """

    samples: Float[Array, "num_samples input_dim"]
    labels: Int[Array, " num_samples"]
    image_shape: tuple[int, ...] = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def __init__(
        self, samples: Num[ArrayLike, "..."], labels: Num[ArrayLike, "..."], image_shape: Sequence[int], name: str
    ):
        self.samples = check_samples("samples", samples)
        self.labels = jnp.asarray(labels)
        if self.labels.shape != self.samples.shape[:1] or not jnp.issubdtype(self.labels.dtype, jnp.integer):
            raise fail("labels", f"{self.num_samples} integers, one a sample", labels)
        self.image_shape = tuple(image_shape)
        if math.prod(self.image_shape) != self.input_dim:
            raise fail("image_shape", f"a shape of {self.input_dim} pixels", image_shape)
        self.name = name

    @property
    def num_samples(self) -> int:
        """N, the number of images."""
        return self.samples.shape[0]

    @property
    def input_dim(self) -> int:
        """p, the number of entries of a sample."""
        return self.samples.shape[1]

    @property
    def covariance(self) -> Float[Array, "input_dim input_dim"]:
        """Covariance of a sample drawn from the set: of the centred samples, divided by N."""
        centred = self.samples - jnp.mean(self.samples, axis=0, keepdims=True)
        return jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / self.num_samples

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_drawn input_dim"]:
        """Images drawn uniformly with replacement, shape (num_samples, input_dim)."""
        check_key(key)
        shape = (static_integer("num_samples", num_samples),)
        return self.samples[jax.random.randint(key, shape, 0, self.num_samples)]

    def select(self, indices: Int[ArrayLike, " num_selected"]) -> "ImageSource":
        """Images with these row numbers, in this order.

        Raises:
            ValueError: a row number is not in 0…num_samples − 1, or `indices` is not a non-empty vector.
        """
        rows = jnp.asarray(indices)
        outside = is_concrete(rows) and bool(jnp.any((rows < 0) | (rows >= self.num_samples)))
        if rows.ndim != 1 or rows.size == 0 or outside:
            raise fail("indices", f"a vector of row numbers in 0…{self.num_samples - 1}", indices)
        return ImageSource(self.samples[rows], self.labels[rows], self.image_shape, self.name)

    def split(self, num_held_out: int, key: PRNGKeyArray) -> tuple["ImageSource", "ImageSource"]:
        """Two disjoint random parts, training images and `num_held_out` < num_samples held-out images."""
        count = static_integer("num_held_out", num_held_out)
        if count >= self.num_samples:
            raise fail("num_held_out", f"below the number of images, {self.num_samples}", num_held_out)
        order = jax.random.permutation(key, self.num_samples)
        return self.select(order[count:]), self.select(order[:count])


class Whitening(eqx.Module):
    """Affine map x ↦ (x − mean) matrix that whitens a set of samples and can be applied to others.

    Arguments:
        mean: shape (input_dim,).
        matrix: shape (input_dim, rank).
    """

    mean: Float[Array, " input_dim"]
    matrix: Float[Array, "input_dim rank"]

    def __call__(self, samples: Num[ArrayLike, "..."]) -> Float[Array, "num_samples rank"]:
        """Samples, shape (num_samples, input_dim), in whitened coordinates, shape (num_samples, rank)."""
        rows = check_samples("samples", samples, len(self.mean))
        return jnp.matmul(rows - self.mean[None, :], self.matrix, precision=jax.lax.Precision.HIGHEST)


def whiten(
    samples: Num[ArrayLike, "..."], *, smallest_variance: float = 0.0
) -> tuple[Float[Array, "num_samples rank"], Whitening]:
    """Centred samples with unit covariance (divisor N), and the whitening map.

    The coordinates are the principal components, largest variance first, each divided by its standard deviation.
    Directions without variance (at most 10 machine epsilons of the largest) are dropped; `rank` directions remain. Runs
    on the host in float64 and cannot be traced.

    Arguments:
        samples: shape (num_samples, input_dim), finite.
        smallest_variance: directions whose variance is at most this share of the largest are dropped too, in [0, 1).
            Whitening does not generalise in directions that vary in few samples only.

    Raises:
        ValueError: all rows of `samples` are equal.
    """
    rows = check_samples("samples", samples)
    if not 0 <= smallest_variance < 1:
        raise fail("smallest_variance", "in [0, 1)", smallest_variance)
    centred = np.array(rows, dtype=np.float64)
    if (centred == centred[0]).all():
        raise ValueError(f"Argument `samples` must have rows that differ, but all {len(centred)} are equal.")
    mean = centred.mean(axis=0)
    centred -= mean
    # singular values of the samples keep small variances accurate
    _, scales, directions = np.linalg.svd(np.linalg.qr(centred, mode="r"), full_matrices=False)
    deviations = scales / math.sqrt(len(centred))
    share = max(smallest_variance, _MIN_VARIANCE_IN_EPSILONS * float(np.finfo(rows.dtype).eps))
    kept = deviations**2 > share * deviations[0] ** 2
    matrix = directions[kept].T / deviations[kept]
    whitening = Whitening(jnp.asarray(mean, rows.dtype), jnp.asarray(matrix, rows.dtype))
    return jnp.asarray(centred @ matrix, rows.dtype), whitening


def load_images(name_or_path: str | os.PathLike[str], *, split: str = "all") -> ImageSource:
    """Images by name, or from a local file or folder, scaled to [0, 1].

    Names: `"digits"` (1797 of 8×8 pixels) come with scikit-learn. `"mnist"`, `"fashion-mnist"` (28×28) and `"cifar-10"`
    (32×32×3) are read from `$AETHEORY_DATA/<name>` where that environment variable is set; otherwise they are
    downloaded from OpenML once and kept in scikit-learn's cache, with the last 10 000 rows as the test part.

    Local files (a folder is read in the first of these formats that it contains; an NPY file only by its own path):
        IDX, plain or gzipped: `train-images-idx3-ubyte`, … (idx4 for colour), unsigned bytes, with labels in
            `train-labels-idx1-ubyte`; `t10k-` or `test-` for the test part.
        CIFAR-10's binary version: all `data_batch_*.bin`, and `test_batch.bin`.
        NPZ: the keys `x_train`, `y_train`, `x_test`, `y_test`, or `images` and `labels`, or `x` and `y`.
        NPY: one array of images.
    Arrays have the shape (images, height, width), (images, height, width, 1 or 3) or (images, pixels), with integers in
    0…255 or floats in [0, 1]. Images without labels get the label −1.

    Arguments:
        name_or_path: a name from above, or a path (`"./mnist"` is a path).
        split: `"train"`, `"test"` or `"all"`, the training part followed by the test part. An undivided set, such as
            the digits, has only `"all"`; `ImageSource.split` divides it.

    Raises:
        ValueError: an unknown name or split, or files that are damaged or are not images.
        FileNotFoundError: a path that does not exist, or a named set that is neither local nor downloadable.

    Source: MNIST: Y. LeCun, C. Cortes, C. Burges. Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
    CIFAR-10: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    check_instance("name_or_path", name_or_path, (str, os.PathLike), "a name or a path")
    check_choice("split", split, ("all", *PARTS[:2]))
    name, pieces = str(name_or_path), _find(name_or_path)
    chosen = sorted((piece for piece in pieces if split in ("all", piece.part)), key=lambda one: PARTS.index(one.part))
    if not chosen:
        parts = ", ".join(sorted({piece.part for piece in pieces}))
        raise fail("split", f"'all' or a part that `{name}` has ({parts})", split)
    if len({(piece.pixels.shape[1:], piece.pixels.dtype.kind == "f") for piece in chosen}) > 1:
        raise bad_data(Path(name), "holds images of different shapes or number types")
    pixels = np.concatenate([piece.pixels for piece in chosen])
    scaled = pixels.astype(jnp.result_type(float))
    if pixels.dtype.kind != "f":
        scaled /= 255
    labels = np.concatenate([piece.labels for piece in chosen])
    return ImageSource(scaled.reshape(len(scaled), -1), labels, scaled.shape[1:], name)


def _find(name_or_path: str | os.PathLike[str]) -> list[Images]:
    if name_or_path == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        return [Images("undivided", digits.images / 16, digits.target)]
    if isinstance(name_or_path, str) and name_or_path in _OPENML:
        root = os.environ.get(DATA_FOLDER_VARIABLE)
        folder = Path(root) / name_or_path if root else None
        return read_images(folder) if folder and folder.exists() else _download(name_or_path)
    path = Path(name_or_path)
    if path.exists():
        return read_images(path)
    names = ", ".join(map(repr, ("digits", *_OPENML)))
    wanted = f"one of {names} or the path of a local file or folder ({FORMATS})"
    # a bare word is meant as a name, anything else as a path
    error = ValueError if name_or_path == path.stem else FileNotFoundError
    raise error(f"Argument `name_or_path` must be {wanted}, but got {str(name_or_path)!r}, where nothing is.")


def _download(name: str) -> list[Images]:
    from sklearn.datasets import fetch_openml

    number, shape = _OPENML[name]
    try:
        # scikit-learn's own parser needs minutes for these tables
        table = fetch_openml(data_id=number, as_frame=False, parser="pandas")
    # an OSError without a network, a ValueError for an answer that is not the data
    except (OSError, ValueError, http.client.HTTPException) as error:
        root = os.environ.get(DATA_FOLDER_VARIABLE)
        raise FileNotFoundError(
            f"Argument `name_or_path` must be a set that is at hand or can be downloaded, but got {name!r}: it is not "
            f"in the folder of the environment variable {DATA_FOLDER_VARIABLE} ({root or 'not set'}), and OpenML "
            f"failed ({error}). Put its files into ${DATA_FOLDER_VARIABLE}/{name}, or give a local path: {FORMATS}."
        ) from error
    rows, labels = np.asarray(table.data), np.asarray(table.target).astype(np.int64)
    if rows.ndim != 2 or rows.shape[1] != math.prod(shape) or len(rows) <= _OPENML_NUM_TEST:
        raise bad_data(Path(f"OpenML/{number}"), f"is a table of shape {rows.shape}, not {name}")
    rows = rows.astype(np.uint8)
    pixels = from_planes(rows) if len(shape) == 3 else rows.reshape(-1, *shape)
    parts = {"train": slice(-_OPENML_NUM_TEST), "test": slice(-_OPENML_NUM_TEST, None)}
    return [Images(part, pixels[chosen], labels[chosen]) for part, chosen in parts.items()]
