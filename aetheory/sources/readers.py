"""The file formats image sets come in: IDX, NPZ, CIFAR-10's binary batches and PNG sheets.

Every reader takes a path and returns the image sets of that file, each with the part it belongs to.
"""

import gzip
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Num, Shaped

PARTS = ("train", "test", "undivided")
FORMATS = (
    "IDX files (train-images-idx3-ubyte, …, plain or gzipped), CIFAR-10's binary batches (data_batch_1.bin, …), "
    "NPZ files (.npz) or PNG sheets with one image a row (.png)"
)
UNLABELLED = -1

# The first pattern with a match decides what a folder is, so that a stray preview.png does not count as data.
_FOLDER_PATTERNS = (r".*images[-.]idx[34]-ubyte(\.gz)?", r"(data_batch_\d+|test_batch)\.bin", r".*\.npz", r".*\.png")
_NPZ_SPLIT_KEYS = (("x_{}", "y_{}"), ("{}_images", "{}_labels"))
_NPZ_UNDIVIDED_KEYS = (("images", "labels"), ("samples", "labels"), ("x", "y"))
_LABEL_SUFFIXES = (".txt", ".csv", ".json")

_IDX_UBYTE = 8
_CIFAR_SIDE = 32
_CIFAR_CLASSES = 10


class Images(NamedTuple):
    """Images as stored: integers 0…255 or floats in [0, 1], each of shape (height, width[, 3]) or flat."""

    part: str
    pixels: Num[np.ndarray, "num_samples ..."]
    labels: Int[np.ndarray, " num_samples"]


def read_images(path: Path, split: str) -> Images:
    """The images of `split` ("train", "test" or "all") in a file or folder; "all" puts the training part first."""
    files = _image_files(path) if path.is_dir() else [path]
    pieces = [piece for file in files for piece in _reader(file)(file)]
    chosen = [piece for piece in pieces if split in ("all", piece.part)]
    if not chosen:
        parts = sorted({piece.part for piece in pieces}, key=PARTS.index)
        raise ValueError(
            f"Argument `split` must be 'all' or a part that `{path}` has ({', '.join(parts)}), but got {split!r}. "
            f"`ImageSource.split` divides an undivided set."
        )
    if len({(piece.pixels.shape[1:], piece.pixels.dtype.kind == "f") for piece in chosen}) > 1:
        raise bad_data(path, "holds images of different shapes or number types")
    chosen.sort(key=lambda piece: PARTS.index(piece.part))
    if len(chosen) == 1:
        return chosen[0]
    return Images(split, np.concatenate([c.pixels for c in chosen]), np.concatenate([c.labels for c in chosen]))


def bad_data(path: Path, problem: str) -> ValueError:
    """The error for a file that exists but is not what it should be; the caller raises it."""
    return ValueError(f"Argument `name_or_path` must lead to a readable set of images, but `{path}` {problem}.")


def from_planes(rows: Shaped[np.ndarray, "num_samples input_dim"]) -> Shaped[np.ndarray, "num_samples side side 3"]:
    """Flat images stored as a red, a green and a blue plane (as CIFAR-10 is), with the colours moved last."""
    side = math.isqrt(rows.shape[1] // 3)
    return np.moveaxis(rows.reshape(-1, 3, side, side), 1, -1)


def _image_files(folder: Path) -> list[Path]:
    for pattern in _FOLDER_PATTERNS:
        found = [file for file in folder.iterdir() if re.fullmatch(pattern, file.name, re.IGNORECASE)]
        # A plain file and its gzipped twin are one set.
        found = [file for file in found if file.suffix != ".gz" or file.with_suffix("") not in found]
        if found:
            return sorted(found, key=_order)
    raise bad_data(folder, f"is a folder without any of {FORMATS}")


def _reader(file: Path) -> Callable[[Path], list[Images]]:
    readers = {".npz": _read_npz, ".png": _read_png, ".bin": _read_cifar}
    return readers.get(file.suffix.lower(), _read_idx)


def _part(file: Path) -> str:
    if file.name.startswith(("train", "data_batch")):
        return "train"
    return "test" if file.name.startswith(("test", "t10k")) else "undivided"


def _order(file: Path) -> tuple[int, str]:
    return PARTS.index(_part(file)), file.name


def _checked(path: Path, part: str, pixels: np.ndarray, labels: np.ndarray | None) -> Images:
    if pixels.size == 0:
        raise bad_data(path, f"holds no images (shape {pixels.shape})")
    if labels is None:
        labels = np.full(len(pixels), UNLABELLED)
    if labels.shape != pixels.shape[:1]:
        raise bad_data(path, f"has {len(pixels)} images but labels of shape {labels.shape}")
    return Images(part, pixels, labels.astype(np.int64))


# IDX: two zero bytes, a type code, the rank, the big-endian dimensions, the values.


def _read_idx(path: Path) -> list[Images]:
    pixels = _idx_array(path)
    colour = pixels.ndim == 4 and pixels.shape[3] == 3
    if pixels.ndim != 3 and not colour:
        wanted = "(images, height, width) or (images, height, width, 3)"
        raise bad_data(path, f"is an IDX file of shape {pixels.shape}, where {wanted} was expected")
    name = re.sub(r"idx[34]", "idx1", path.name.removesuffix(".gz").replace("images", "labels"))
    sidecars = [path.with_name(name + suffix) for suffix in ("", ".gz")]
    # A file not named by the convention would be its own sidecar.
    labels = next((_idx_array(file) for file in sidecars if file.exists() and file != path), None)
    return [_checked(path, _part(path), pixels, labels)]


def _idx_array(path: Path) -> np.ndarray:
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise bad_data(path, f"is not a whole gzip file ({error})") from error
    if len(data) < 4 or data[:3] != bytes([0, 0, _IDX_UBYTE]):
        raise bad_data(path, f"does not begin like an IDX file of unsigned bytes; accepted are {FORMATS}")
    start = 4 + 4 * data[3]
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    if len(data) != start + math.prod(shape):
        raise bad_data(
            path,
            f"should be {start + math.prod(shape)} bytes long by its header (shape {shape}), but has {len(data)}",
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


# CIFAR-10's binary version: records of a label byte and a red, a green and a blue plane.


def _read_cifar(path: Path) -> list[Images]:
    data = np.frombuffer(path.read_bytes(), np.uint8)
    record = 1 + 3 * _CIFAR_SIDE**2
    if data.size == 0 or data.size % record:
        raise bad_data(path, f"should be a CIFAR-10 batch of {record} bytes an image, but has {data.size} bytes")
    records = data.reshape(-1, record)
    if (largest := records[:, 0].max()) >= _CIFAR_CLASSES:
        raise bad_data(path, f"should be a CIFAR-10 batch with labels 0…{_CIFAR_CLASSES - 1}, but has label {largest}")
    return [_checked(path, _part(path), from_planes(records[:, 1:]), records[:, 0])]


# NPZ.


def _read_npz(path: Path) -> list[Images]:
    try:
        # Not np.load, which leaves a damaged file open.
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise bad_data(path, f"is not a readable NPZ file ({error})") from error
    found = [keys for keys in _npz_keys(path) if keys[1] in arrays]
    if not found:
        known = ", ".join(images for _, images, _ in _npz_keys(path))
        raise bad_data(path, f"has the keys {sorted(arrays)}, and none of {known}")
    parts = [part for part, _, _ in found]
    if len(set(parts)) < len(parts) or ("undivided" in parts and len(parts) > 1):
        raise bad_data(path, f"has images under more keys than one: {', '.join(images for _, images, _ in found)}")
    return [
        _checked(path, part, _npz_pixels(path, images, arrays[images]), _npz_labels(path, labels, arrays.get(labels)))
        for part, images, labels in found
    ]


def _npz_keys(path: Path) -> Iterator[tuple[str, str, str]]:
    for part in ("train", "test"):
        for images, labels in _NPZ_SPLIT_KEYS:
            yield part, images.format(part), labels.format(part)
    for images, labels in _NPZ_UNDIVIDED_KEYS:
        yield _part(path), images, labels


def _npz_pixels(path: Path, key: str, pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 4 and pixels.shape[3] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) and not (pixels.ndim == 4 and pixels.shape[3] == 3):
        wanted = "(images, pixels), (images, height, width) or (images, height, width, 1 or 3)"
        raise bad_data(path, f"has `{key}` of shape {pixels.shape}, where {wanted} was expected")
    if pixels.dtype.kind not in "iuf":
        raise bad_data(path, f"has `{key}` of type {pixels.dtype}, where numbers were expected")
    if not np.isfinite(pixels).all():
        raise bad_data(path, f"has {np.sum(~np.isfinite(pixels))} NaN or infinite values in `{key}`")
    largest = 1 if pixels.dtype.kind == "f" else 255
    if pixels.size and (pixels.min() < 0 or pixels.max() > largest):
        raise bad_data(
            path,
            f"has values from {pixels.min()} to {pixels.max()} in `{key}`, where integers in 0…255 or "
            f"floating-point numbers in [0, 1] were expected",
        )
    return pixels


def _npz_labels(path: Path, key: str, labels: np.ndarray | None) -> np.ndarray | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "iu":
        raise bad_data(path, f"has `{key}` of type {labels.dtype}, where integers were expected")
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


# PNG sheets: one image a row of the picture.


def _read_png(path: Path) -> list[Images]:
    with _sheet(path) as sheet:
        if sheet.mode not in ("L", "RGB", "RGBA"):
            raise bad_data(path, f"is a picture of mode {sheet.mode}, where 8-bit greyscale or colour was expected")
        try:
            # Opacity carries no data.
            rows = np.asarray(sheet.convert("RGB") if sheet.mode == "RGBA" else sheet)
        except (OSError, SyntaxError, ValueError, zlib.error) as error:
            raise bad_data(path, f"is not a whole PNG file ({error})") from error
    width = rows.shape[1]
    side = math.isqrt(width)
    colour_side = math.isqrt(width // 3)
    if side**2 == width:
        pixels = rows.reshape(len(rows), side, side, *rows.shape[2:])
    elif 3 * colour_side**2 == width and rows.ndim == 2:
        pixels = from_planes(rows)
    else:
        raise bad_data(
            path,
            f"is {width} pixels wide; a sheet has one square image a row, so side² pixels, or 3·side² greyscale ones "
            f"for the three colours",
        )
    return [_checked(path, _part(path), pixels, _sheet_labels(path))]


def _sheet(path: Path) -> Any:
    from PIL.PngImagePlugin import PngImageFile

    # Not Image.open: a sheet of a whole data set is larger than any picture that function takes for harmless.
    try:
        return PngImageFile(path)
    except (OSError, SyntaxError, ValueError) as error:
        raise bad_data(path, f"is not a PNG file ({error})") from error


def _sheet_labels(path: Path) -> np.ndarray | None:
    """The labels of one sheet, from a file of its own or its share of a file for several sheets."""
    sheets = sorted((file for file in path.parent.iterdir() if file.suffix.lower() == ".png"), key=_order)
    fellows = [file for file in sheets if _part(file) == _part(path)]
    # "lables" is how a widespread PNG version of CIFAR-10 spells it.
    covered = {path.stem: [path], f"{_part(path)}_labels": fellows, f"{_part(path)}_lables": fellows, "labels": sheets}
    for stem, group in covered.items():
        for suffix in _LABEL_SUFFIXES:
            file = path.with_name(stem + suffix)
            if file.exists():
                return _share(file, group, path)
    return None


def _share(file: Path, sheets: list[Path], wanted: Path) -> np.ndarray:
    words = re.split(r"[\s,\[\]]+", file.read_text())
    try:
        labels = np.array([int(word) for word in words if word])
    except ValueError as error:
        raise bad_data(
            file, f"should hold one whole number per image, separated by commas or spaces ({error})"
        ) from error
    heights = []
    for sheet in sheets:
        with _sheet(sheet) as picture:
            heights.append(picture.height)
    if labels.size != sum(heights):
        names = ", ".join(sheet.name for sheet in sheets)
        raise bad_data(file, f"has {labels.size} labels for the {sum(heights)} images of {names}")
    return np.split(labels, np.cumsum(heights)[:-1])[sheets.index(wanted)]
