"""Results kept on disk: only for the settings they were made with, with checksums, and written whole or not at all.

Everything that the library keeps follows these rules: the blocks of a sweep, the panels of `aetheory reproduce`, the
coefficients of high orders. A store is a Zarr folder. Its settings are all that its content depends on: arguments,
versions, and a digest of the program or of its source. Whoever opens it compares them with their own.
"""

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aetheory.core.checks import fail

if TYPE_CHECKING:
    import xarray  # which brings pandas: only once something is stored

SETTINGS = "aetheory_settings"
"""The attribute of a store that holds its settings, as JSON."""

CHECKSUM = "aetheory_checksum"


def save(path: Path, dataset: "xarray.Dataset", settings: Mapping[str, Any]) -> None:
    """Store a dataset as the Zarr folder `path`, in place of what was there.

    Arguments:
        path: of the folder; folders above it are made.
        dataset: with names that Zarr allows.
        settings: all that the dataset depends on, as JSON can hold it.

    Raises:
        OSError: it cannot be written there; what was there before is left.
    """
    strings = {name: values.astype(object) for name, values in dataset.variables.items() if values.dtype.kind == "U"}
    # Zarr's specification has Python's strings, but none of a fixed width
    dataset = dataset.drop_encoding().assign(strings)
    own = {SETTINGS: json.dumps(settings), CHECKSUM: _checksum(dataset)}
    with replacing(path) as draft:
        dataset.assign_attrs(own).to_zarr(draft, mode="w-", consolidated=False)


def load(path: Path, settings: Mapping[str, Any]) -> "xarray.Dataset | None":
    """The dataset that `save` stored with the same settings; `None` where it is missing, damaged, or of others."""
    import xarray

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # about folders that are no arrays any more
            dataset = xarray.load_dataset(path, engine="zarr", consolidated=False).drop_encoding()
        stored, checksum = json.loads(dataset.attrs.pop(SETTINGS)), dataset.attrs.pop(CHECKSUM)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, Warning):  # from Zarr or JSON
        return None
    return dataset if stored == as_json(settings) and checksum == _checksum(dataset) else None


def _checksum(dataset: "xarray.Dataset") -> str:
    contents: list[Any] = []
    for name in sorted(dataset.variables, key=str):
        values = dataset[name].values
        contents += [str(name), values.astype(object).astype(str) if values.dtype.kind in "OTU" else values]
    return content_digest(*contents)


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as a store gives them back: with lists in place of tuples."""
    restored: dict[str, Any] = json.loads(json.dumps(settings))
    return restored


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which takes the place of `path` when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / "new"
        yield draft
        if path.is_dir():  # which cannot be replaced unless it is empty
            os.rename(path, Path(folder) / "old")
        os.replace(draft, path)


def source_digest(*modules: str) -> str:
    """A digest of the source files of modules given by name; of a package, of all modules in it."""
    files = []
    for name in modules:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise fail("modules", "names of modules that have source files", name)
        file = Path(spec.origin)
        files += sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    return content_digest(*(file.read_bytes() for file in files))


def content_digest(*contents: Any) -> str:
    """A digest of bytes, texts and arrays, of which the shapes and types count too."""
    found = hashlib.blake2b(digest_size=12)
    for content in contents:
        if isinstance(content, str | bytes):
            found.update(content.encode() if isinstance(content, str) else content)
        else:
            array = np.asarray(content)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """The versions of the packages that results depend on."""
    return {name: version(name) for name in ("aetheory", "jax", "jaxlib", "diffrax")}
