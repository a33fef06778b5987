"""Readers of image files: IDX, CIFAR-10's binary batches, NPZ and NPY.

A reader returns the parts of the set that a file contains. A damaged file raises a ValueError with its name, and takes
no more memory than its header announces or the file contains, whichever is less.
"""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Num, Shaped

FORMATS = (
    "IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-…; plain or .gz), CIFAR-10's binary batches "
    "(data_batch_1.bin, …, test_batch.bin), an NPZ or an NPY file"
)
PARTS = ("train", "test", "undivided")
UNLABELLED = -1

# the first pattern with a match decides the format of a folder
_FOLDER_PATTERNS = (r".*images[-.]idx[34]-ubyte(\.gz)?", r"(data_batch_\d+|test_batch)\.bin", r".*\.npz")
# keys of images and labels, and the part; None where the name of the file determines it
_NPZ_KEYS = (
    ("x_train", "y_train", "train"),
    ("x_test", "y_test", "test"),
    ("images", "labels", None),
    ("x", "y", None),
)
_CIFAR_RECORD_BYTES, _CIFAR_NUM_CLASSES = 1 + 3 * 32**2, 10


class Images(NamedTuple):
    """Images as stored: integers 0…255 or floats in [0, 1], each of shape (height, width[, 3]) or flat."""

    part: str
    pixels: Num[np.ndarray, "num_samples ..."]
    labels: Int[np.ndarray, " num_samples"]


def read_images(path: Path) -> list[Images]:
    """All sets of images in a file, or in the files of a folder."""
    if not path.is_dir():
        return _read(path)
    for pattern in _FOLDER_PATTERNS:
        found = sorted(file for file in path.iterdir() if re.fullmatch(pattern, file.name, re.IGNORECASE))
        # a plain file and its gzipped copy are one set
        found = [file for file in found if file.suffix != ".gz" or file.with_suffix("") not in found]
        if found:
            return [images for file in found for images in _read(file)]
    raise bad_data(path, f"is a folder without any of {FORMATS}")


def bad_data(path: Path, problem: str) -> ValueError:
    """Error for a file with a problem; the caller raises it."""
    return ValueError(f"Argument `name_or_path` must lead to a readable set of images, but `{path}` {problem}.")


def from_planes(rows: Shaped[np.ndarray, "num_samples input_dim"]) -> Shaped[np.ndarray, "num_samples side side 3"]:
    """Images of shape (…, side, side, 3) from flat ones stored as a red, a green and a blue plane."""
    side = math.isqrt(rows.shape[1] // 3)
    return np.moveaxis(rows.reshape(-1, 3, side, side), 1, -1)


def _read(file: Path) -> list[Images]:
    readers = {".npz": _read_numpy, ".npy": _read_numpy, ".bin": _read_cifar}
    return readers.get(file.suffix.lower(), _read_idx)(file)


def _part(file: Path) -> str:
    if file.name.startswith(("train", "data_batch")):
        return "train"
    return "test" if file.name.startswith(("test", "t10k")) else "undivided"


def _checked(path: Path, part: str, pixels: np.ndarray, labels: np.ndarray | None) -> Images:
    if pixels.shape[3:] == (1,):
        pixels = pixels[..., 0]
    if pixels.size == 0 or (pixels.ndim not in (2, 3) and pixels.shape[3:] != (3,)):
        wanted = "(images, pixels), (images, height, width) or (images, height, width, 1 or 3)"
        raise bad_data(path, f"has images of shape {pixels.shape}, where {wanted} was expected")
    if pixels.dtype.kind not in "iuf":
        raise bad_data(path, f"has images of type {pixels.dtype}, where numbers were expected")
    # a comparison with NaN is false
    valid = (pixels >= 0) & (pixels <= (1 if pixels.dtype.kind == "f" else 255))
    if count := np.sum(~valid):
        raise bad_data(path, f"has {count} pixels that are not integers in 0…255 or floating-point numbers in [0, 1]")
    labels = np.full(len(pixels), UNLABELLED) if labels is None else labels
    labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
    if labels.shape != pixels.shape[:1] or labels.dtype.kind not in "iu":
        shown = f"labels of type {labels.dtype} and shape {labels.shape}"
        raise bad_data(path, f"has {len(pixels)} images but {shown}, where one integer an image was expected")
    return Images(part, pixels, labels.astype(np.int64))


def _read_idx(path: Path) -> list[Images]:
    name = re.sub(r"idx[34]", "idx1", path.name.removesuffix(".gz").replace("images", "labels"))
    sidecars = [path.with_name(name + suffix) for suffix in ("", ".gz")]
    # a file not named by the convention would be its own label file
    labels = next((_idx_array(file, 1) for file in sidecars if file.exists() and file != path), None)
    return [_checked(path, _part(path), _idx_array(path, 3, 4), labels)]


def _idx_array(path: Path, *ranks: int) -> np.ndarray:
    """Array of an IDX file: two zero bytes, the code 8 of bytes, the rank, big-endian dimensions, the values."""
    try:
        with path.open("rb") as stored, gzip.open(stored) if _is_gzipped(path) else stored as file:
            header = file.read(4)
            if header not in [bytes([0, 0, 8, rank]) for rank in ranks]:
                wanted = " or ".join(map(str, ranks))
                raise bad_data(
                    path, f"does not begin like an IDX file of unsigned bytes and rank {wanted}; accepted are {FORMATS}"
                )
            shape = np.frombuffer(file.read(4 * header[3]).ljust(4 * header[3], b"\0"), ">u4").tolist()
            # one byte more than announced shows that the file is longer
            data = file.read(math.prod(shape) + 1)
    except (EOFError, MemoryError, OSError, OverflowError, zlib.error) as error:
        raise bad_data(path, f"cannot be read to the end that its header announces ({error!r})") from error
    if len(data) != math.prod(shape):
        held = "more" if len(data) > math.prod(shape) else f"only {len(data)}"
        raise bad_data(path, f"should hold {math.prod(shape)} values by its header (shape {shape}), but holds {held}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _is_gzipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _read_cifar(path: Path) -> list[Images]:
    """Images and labels of records of a label byte and a red, a green and a blue plane."""
    data = np.fromfile(path, np.uint8)
    if data.size == 0 or data.size % _CIFAR_RECORD_BYTES:
        raise bad_data(
            path, f"should be a CIFAR-10 batch of {_CIFAR_RECORD_BYTES} bytes an image, but has {data.size} bytes"
        )
    records = data.reshape(-1, _CIFAR_RECORD_BYTES)
    if (largest := records[:, 0].max()) >= _CIFAR_NUM_CLASSES:
        raise bad_data(
            path, f"should be a CIFAR-10 batch with labels 0…{_CIFAR_NUM_CLASSES - 1}, but has label {largest}"
        )
    return [_checked(path, _part(path), from_planes(records[:, 1:]), records[:, 0])]


def _read_numpy(path: Path) -> list[Images]:
    known = [key for images, labels, _ in _NPZ_KEYS for key in (images, labels)]
    try:
        # given a path, `np.load` leaves a damaged file open
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            stored = {"images": stored} if isinstance(stored, np.ndarray) else stored
            # other keys may unpack to more than the memory
            arrays = {key: stored[key] for key in known if key in stored}
    except Exception as error:  # NumPy and zipfile raise many kinds of errors for a damaged file
        raise bad_data(path, f"is not a readable NPZ or NPY file ({error})") from error
    found = [keys for keys in _NPZ_KEYS if keys[0] in arrays]
    names = ", ".join(images for images, _, _ in found or _NPZ_KEYS)
    if not found:
        raise bad_data(path, f"has images under none of the keys {names}")
    if len(found) > 1 and any(part is None for _, _, part in found):
        raise bad_data(path, f"has images under more keys than one: {names}")
    return [_checked(path, part or _part(path), arrays[images], arrays.get(labels)) for images, labels, part in found]
