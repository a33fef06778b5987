"""Image sets as sources of training samples: digits, MNIST, Fashion-MNIST, CIFAR-10, or local files."""

import http.client
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray
from jaxtyping import ArrayLike as AnyArrayLike

from aetheory.core.checks import check_real, check_samples, fail, is_concrete, static_integer
from aetheory.sources.readers import FORMATS, UNLABELLED, Images, bad_data, from_planes, read_images

DATA_FOLDER_VARIABLE = "AETHEORY_DATA"

# Whitening divides by a standard deviation, and so multiplies the rounding of a sample by the ratio of the largest
# standard deviation to it. Keeping variances above 10 machine epsilons of the largest leaves half of the digits.
NULL_VARIANCE_IN_EPSILONS = 10.0


class _OpenML(NamedTuple):
    data_id: int
    image_shape: tuple[int, ...]
    files: str


_OPENML = {
    "mnist": _OpenML(554, (28, 28), "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-… (plain or .gz)"),
    "fashion-mnist": _OpenML(
        40996, (28, 28), "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-… (plain or .gz)"
    ),
    "cifar-10": _OpenML(40927, (32, 32, 3), "data_batch_1.bin, …, data_batch_5.bin, test_batch.bin"),
}
_OPENML_NUM_TEST = 10_000
_NAMES = ("digits", *_OPENML)
_SPLITS = ("all", "train", "test")


class ImageSource(eqx.Module):
    """A finite set of images, as a source of samples.

    Arguments:
        samples: the images, shape (num_samples, input_dim); floating point and finite. Row-major, colour as
            height × width × 3; in [0, 1] unless whitened.
        labels: the classes, integers of shape (num_samples,); −1 where unknown.
        image_shape: the shape of one image, with product input_dim; (rank,) when whitened, for then an entry is a
            direction and not a pixel.
        name: where the images come from.

    Raises:
        ValueError: an argument is not as described.
    """

    samples: Float[Array, "num_samples input_dim"]
    labels: Int[Array, " num_samples"]
    image_shape: tuple[int, ...] = eqx.field(static=True)
    name: str = eqx.field(static=True)

    def __init__(
        self,
        samples: Num[AnyArrayLike, "..."],
        labels: Num[AnyArrayLike, "..."],
        image_shape: Sequence[int],
        name: str,
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
        """The covariance of a sample drawn from the set: that of the centred samples, divided by N."""
        centred = self.samples - jnp.mean(self.samples, axis=0, keepdims=True)
        # Accelerators round the factors of a product to ten bits unless told otherwise.
        return jnp.matmul(centred.T, centred, precision=jax.lax.Precision.HIGHEST) / self.num_samples

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_drawn input_dim"]:
        """Images drawn uniformly with replacement, shape (num_samples, input_dim).

        Raises:
            ValueError: `num_samples` is not a positive integer.
        """
        shape = (static_integer("num_samples", num_samples),)
        return self.samples[jax.random.randint(key, shape, 0, self.num_samples)]

    def select(self, indices: Int[AnyArrayLike, " num_selected"]) -> "ImageSource":
        """The images with these row numbers, in this order.

        Raises:
            ValueError: a row number is not in 0…num_samples − 1, or `indices` is no vector or empty.
        """
        rows = jnp.asarray(indices)
        if (
            rows.ndim != 1
            or rows.size == 0
            or (is_concrete(rows) and bool(jnp.any((rows < 0) | (rows >= self.num_samples))))
        ):
            raise fail("indices", f"a vector of row numbers in 0…{self.num_samples - 1}", indices)
        return ImageSource(self.samples[rows], self.labels[rows], self.image_shape, self.name)

    def split(self, num_held_out: int, key: PRNGKeyArray) -> tuple["ImageSource", "ImageSource"]:
        """Two disjoint random parts: the training images, and `num_held_out` held-out ones.

        Raises:
            ValueError: `num_held_out` is not in 1…num_samples − 1.
        """
        count = static_integer("num_held_out", num_held_out)
        if count >= self.num_samples:
            raise fail("num_held_out", f"below the number of images, {self.num_samples}", num_held_out)
        order = jax.random.permutation(key, self.num_samples)
        return self.select(order[count:]), self.select(order[:count])


class Whitening(eqx.Module):
    """The affine map x ↦ (x − mean) matrix that whitens one set of samples, to be used on others.

    Arguments:
        mean: shape (input_dim,).
        matrix: shape (input_dim, rank).
    """

    mean: Float[Array, " input_dim"]
    matrix: Float[Array, "input_dim rank"]

    def __call__(self, samples: Num[AnyArrayLike, "..."]) -> Float[Array, "num_samples rank"]:
        """The samples, shape (num_samples, input_dim), in whitened coordinates, shape (num_samples, rank).

        Raises:
            ValueError: `samples` has another shape, or entries that are not finite.
        """
        rows = check_samples("samples", samples)
        if rows.shape[1] != self.mean.shape[0]:
            wanted = f"of shape (num_samples, {self.mean.shape[0]}), as the whitened samples were"
            raise ValueError(f"Argument `samples` must be {wanted}, but got shape {rows.shape}.")
        return jnp.matmul(rows - self.mean[None, :], self.matrix, precision=jax.lax.Precision.HIGHEST)


def whiten(
    samples: Num[AnyArrayLike, "..."], *, smallest_variance: float = 0.0
) -> tuple[Float[Array, "num_samples rank"], Whitening]:
    """Centre samples and give them unit covariance (divisor N) in the directions in which they vary.

    The coordinates are the principal components, largest variance first, each divided by its standard deviation.
    Directions whose variance is at most `NULL_VARIANCE_IN_EPSILONS` machine epsilons (of the samples' type) of the
    largest carry no data and are dropped, so that the covariance is the identity and not a projection; `rank` is
    what is left. In float64 more directions are told from zero than in float32.

    The computation runs on the host in float64 and cannot be traced, for the data decide `rank`.

    Arguments:
        samples: shape (num_samples, input_dim), finite.
        smallest_variance: directions whose variance is at most this share of the largest are dropped too, in [0, 1).
            In directions that vary in few samples only, others have any variance, and whitening does not generalise.

    Returns:
        The whitened samples, shape (num_samples, rank), and the map that made them. Applied to `samples` the map
        gives them again, up to the rounding of their type.

    Raises:
        ValueError: `samples` is not a finite matrix, is traced, or all its rows are equal; or `smallest_variance` is
            not in [0, 1).
    """
    rows = check_samples("samples", samples)
    check_real("smallest_variance", smallest_variance, "in [0, 1)", minimum=0.0)
    if smallest_variance >= 1:
        raise fail("smallest_variance", "in [0, 1)", smallest_variance)
    if not is_concrete(rows):
        raise ValueError(
            "Argument `samples` must be known when the program is traced, because it decides the number of whitened "
            "coordinates, but got a traced value. Whiten before `jax.jit`, and use the map inside."
        )
    centred = np.array(rows, dtype=np.float64)
    if (centred == centred[0]).all():
        raise ValueError(f"Argument `samples` must have rows that differ, but all {len(centred)} are equal.")
    mean = centred.mean(axis=0)
    centred -= mean
    # Singular values of the samples, and not eigenvalues of their covariance, keep small variances accurate.
    _, scales, directions = np.linalg.svd(np.linalg.qr(centred, mode="r"), full_matrices=False)
    deviations = scales / math.sqrt(len(centred))
    share = max(smallest_variance, NULL_VARIANCE_IN_EPSILONS * float(np.finfo(rows.dtype).eps))
    kept = deviations**2 > share * deviations[0] ** 2
    matrix = directions[kept].T / deviations[kept]
    whitening = Whitening(jnp.asarray(mean, rows.dtype), jnp.asarray(matrix, rows.dtype))
    return jnp.asarray(centred @ matrix, rows.dtype), whitening


def load_images(
    name_or_path: str | os.PathLike[str],
    *,
    split: str = "all",
    classes: Sequence[int] | Int[AnyArrayLike, " classes"] | None = None,
    whiten: bool = False,
    data_home: str | os.PathLike[str] | None = None,
) -> ImageSource:
    """Images by name, or from a local file or folder.

    Names:
        `"digits"`: 1797 handwritten digits of 8×8 pixels, which come with scikit-learn; needs no network. The set
            has no official training and test parts, so only `split="all"` is valid; see `ImageSource.split`.
        `"mnist"`, `"fashion-mnist"` (28×28) and `"cifar-10"` (32×32×3): read from the folder of that name in the
            folder that the environment variable `AETHEORY_DATA` names; when there is none, downloaded from OpenML
            once, and kept in scikit-learn's cache. The last 10 000 rows of OpenML's table are taken as the test part.

    Local files (a folder is taken for the first of these formats that it has files of):
        IDX, plain or gzipped: `train-images-idx3-ubyte`, … (idx4 for colour, images × height × width × 3), unsigned
            bytes, with labels in `train-labels-idx1-ubyte` beside it; `t10k-` or `test-` for the test part.
        CIFAR-10's binary version: `data_batch_*.bin`, as many as there are, and `test_batch.bin`.
        NPZ: the keys `x_train`, `y_train`, `x_test`, `y_test`, or `train_images`, `train_labels`, `test_images`,
            `test_labels`, or for a set in one part `images` or `samples` with `labels`, or `x` with `y`. Images of
            shape (height, width), (height, width, 1 or 3) or flat; integers in 0…255, or floats in [0, 1].
        PNG sheets, each row one square image: side² greyscale or colour pixels, or 3·side² greyscale pixels that
            are its red, then its green, then its blue plane. A sheet whose name begins with `train` or `data_batch`
            is of the training part, with `test` of the test part. Labels, whole numbers separated by commas or
            white space, in a .txt, .csv or .json file with the sheet's name, or named `train_labels` or
            `test_labels` for all sheets of that part, or `labels` for all sheets (training part first, then by name).
    A set without labels gets the label −1 throughout.

    Arguments:
        name_or_path: a name from above, or a path (`"./mnist"` is a path).
        split: `"train"`, `"test"` or `"all"`, the training part followed by the test part.
        classes: the labels of the images to keep; all when None.
        whiten: centre the chosen images and give them unit covariance; see `whiten`, which also gives the map for
            use on held-out images.
        data_home: the folder of scikit-learn's download cache, when not its default.

    Returns:
        The images, in JAX's default floating-point type, scaled to [0, 1] unless whitened.

    Raises:
        ValueError: an unknown name, split or class, or files that are damaged or are no images.
        FileNotFoundError: a path where nothing is, or a named set that is neither local nor downloadable.

    Source: MNIST: Y. LeCun, C. Cortes, C. Burges. Fashion-MNIST: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747.
    CIFAR-10: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
    """
    if split not in _SPLITS:
        raise fail("split", f"one of {', '.join(map(repr, _SPLITS))}", split)
    images = _find(name_or_path, split, data_home)
    if classes is not None:
        images = _of_classes(images, classes)
    pixels = images.pixels.astype(jnp.result_type(float))
    if images.pixels.dtype.kind != "f":
        pixels /= 255
    source = ImageSource(pixels.reshape(len(pixels), -1), images.labels, pixels.shape[1:], str(os.fspath(name_or_path)))
    return _whitened(source) if whiten else source


def _whitened(source: ImageSource) -> ImageSource:
    samples, _ = whiten(source.samples)
    return ImageSource(samples, source.labels, samples.shape[1:], source.name)


def _of_classes(images: Images, classes: Sequence[int] | Int[AnyArrayLike, " classes"]) -> Images:
    present = np.unique(images.labels)
    wanted = np.unique(np.asarray(classes))
    if wanted.size == 0 or not np.isin(wanted, present).all():
        known = f"{present.tolist()} ({UNLABELLED}: unknown)"
        raise fail("classes", f"None, or one or more of the labels that the images have, {known}", classes)
    keep = np.isin(images.labels, wanted)
    return Images(images.part, images.pixels[keep], images.labels[keep])


def _find(name_or_path: str | os.PathLike[str], split: str, data_home: str | os.PathLike[str] | None) -> Images:
    if name_or_path == "digits":
        return _digits(split)
    if isinstance(name_or_path, str) and name_or_path in _OPENML:
        root = os.environ.get(DATA_FOLDER_VARIABLE)
        if root and (folder := Path(root) / name_or_path).exists():
            return read_images(folder, split)
        return _download(name_or_path, split, data_home)
    path = Path(name_or_path)
    if not path.exists():
        problem = f"one of {', '.join(map(repr, _NAMES))} or the path of a local file or folder ({FORMATS})"
        # A bare word was meant as a name, anything else as a path.
        error = ValueError if name_or_path == path.stem else FileNotFoundError
        raise error(f"Argument `name_or_path` must be {problem}, but got {str(name_or_path)!r}, where nothing is.")
    return read_images(path, split)


def _digits(split: str) -> Images:
    if split != "all":
        raise ValueError(
            f"Argument `split` must be 'all' for 'digits', which has no official training and test parts, but got "
            f"{split!r}. `ImageSource.split` divides it."
        )
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Images("undivided", digits.images / 16, digits.target)


def _download(name: str, split: str, data_home: str | os.PathLike[str] | None) -> Images:
    from sklearn.datasets import fetch_openml

    try:
        # The pandas parser, for pandas comes with xarray, and scikit-learn's own needs minutes for these tables.
        table = fetch_openml(
            data_id=_OPENML[name].data_id, as_frame=False, parser="pandas", data_home=data_home, cache=True
        )
    # OSError covers a network that is absent, ValueError an answer that is not the data.
    except (OSError, ValueError, http.client.HTTPException) as error:
        root = os.environ.get(DATA_FOLDER_VARIABLE)
        place = f"`{Path(root) / name}`, which does not exist" if root else "nowhere, for the variable is not set"
        raise FileNotFoundError(
            f"Argument `name_or_path` must be a data set that is at hand or can be downloaded, but got {name!r}: "
            f"looked for it in the folder of the environment variable {DATA_FOLDER_VARIABLE} ({place}), then asked "
            f"OpenML, which failed ({error}). Put the files {_OPENML[name].files} into ${DATA_FOLDER_VARIABLE}/{name}, "
            f"or give the path of a local file or folder."
        ) from error
    shape = _OPENML[name].image_shape
    rows, labels = np.asarray(table.data), np.asarray(table.target).astype(np.int64)
    if rows.ndim != 2 or rows.shape[1] != math.prod(shape) or len(rows) <= _OPENML_NUM_TEST:
        raise bad_data(Path(f"OpenML/{_OPENML[name].data_id}"), f"is a table of shape {rows.shape}, not {name}")
    chosen = {"all": slice(None), "train": slice(-_OPENML_NUM_TEST), "test": slice(-_OPENML_NUM_TEST, None)}[split]
    rows, labels = rows[chosen].astype(np.uint8), labels[chosen]
    return Images(split, from_planes(rows) if len(shape) == 3 else rows.reshape(-1, *shape), labels)
