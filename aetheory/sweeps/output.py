"""Where results go: checked before any work, written whole or not at all."""

import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import xarray
from matplotlib.figure import Figure

_PACKAGES = ("aetheory", "jax", "jaxlib", "equinox", "diffrax", "numpy")


class OutputFolder:
    """A folder of results. Files appear under their final name only once they are complete.

    Arguments:
        path: created, parents included, if it is not there.

    Raises:
        OSError: the folder cannot be made or written to; nothing has been computed yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path):
                pass
        except OSError as error:
            raise OSError(
                f"Argument `out` must be a folder that can be written to, but got '{path}': {error.strerror}."
            ) from error

    def write_dataset(self, name: str, dataset: xarray.Dataset) -> None:
        """Store `dataset` as the group `name` of `curves.zarr`, replacing it."""
        # Words of a fixed width have no place in Zarr's specification; Python's own strings do.
        words = {key: values.astype(object) for key, values in dataset.coords.items() if values.dtype.kind == "U"}
        dataset = dataset.assign_coords(words)
        dataset.to_zarr(self.path / "curves.zarr", group=name, mode="w", consolidated=False)

    def read_dataset(self, name: str) -> xarray.Dataset:
        """What `write_dataset` has stored; raises FileNotFoundError where it has not."""
        return xarray.load_dataset(self.path / "curves.zarr", group=name, engine="zarr", consolidated=False)

    def write_figure(self, figure: Figure, name: str = "figure") -> None:
        """Write `name`.png and `name`.svg."""
        for suffix in ("png", "svg"):
            temporary = self.path / f".{name}.{suffix}"
            figure.savefig(temporary, format=suffix, dpi=200)
            os.replace(temporary, self.path / f"{name}.{suffix}")
            figure.set_layout_engine("none")  # computed for the first file, which is half the cost of a figure

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """`content` as a readable JSON file."""
        temporary = self.path / f".{name}"
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(temporary, self.path / name)


def provenance() -> dict[str, Any]:
    """Versions, precision and device: what a result depends on besides its settings."""
    return {
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "dtype": str(jax.numpy.result_type(float)),
    }
