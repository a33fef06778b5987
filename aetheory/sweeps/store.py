"""Where the results of a sweep are kept: a labelled Zarr store, written block by block, or memory."""

import json
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from aetheory.sweeps.block import FAILED
from aetheory.sweeps.execute import Output, Results
from aetheory.sweeps.grid import LONG_NAMES
from aetheory.sweeps.plan import Plan, Region

if TYPE_CHECKING:
    import xarray  # which brings pandas: only once a sweep is run

_SETTINGS = "aetheory_sweep"
_DONE = "done"


@runtime_checkable
class ResultStore(Protocol):
    """Takes blocks as they finish, and gives the dataset."""

    block_shape: tuple[int, ...]

    def done(self, region: Region) -> bool:
        """Whether a block is there already."""

    def write(self, region: Region, results: Results) -> None:
        """Keep a block; once this returns, it survives."""

    def dataset(self) -> "xarray.Dataset":
        """Everything so far; blocks that are missing are NaN (0 where integer)."""


class MemoryStore:
    """The results in this process's memory."""

    def __init__(
        self, plan: Plan, outputs: Mapping[str, Output], attributes: dict[str, Any], block_shape: tuple[int, ...]
    ) -> None:
        self.block_shape = block_shape
        self._plan, self._attributes = plan, attributes
        # not filled: every block is written before anyone reads, and memory is first touched while others compute
        self._arrays = {name: np.empty((*plan.shape, *output.shape), output.dtype) for name, output in outputs.items()}

    def done(self, region: Region) -> bool:
        """Nothing is there before it is computed."""
        return False

    def write(self, region: Region, results: Results) -> None:
        """Copy a block to its place."""
        for name, values in results.items():
            self._arrays[name][region] = values

    def dataset(self) -> "xarray.Dataset":
        """The arrays, labelled."""
        import xarray

        described = {name: (_dims(self._plan, name, values.ndim), values) for name, values in self._arrays.items()}
        return _without_trivial(xarray.Dataset(described, coords=_coordinates(self._plan), attrs=self._attributes))


class ZarrStore:
    """The results in a Zarr folder that xarray opens: a chunk for each block, and a mask of those that are done.

    Each chunk is a file that appears whole. A block's mask is written after its results, so that a process that is
    killed at any moment leaves nothing half written that counts as done.

    Arguments:
        path: the folder, which is there already.
        plan: what it holds.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        import zarr

        self._path, self._plan = path, plan
        self._group = zarr.open_group(path, mode="r+", use_consolidated=False)
        done = self._group[_DONE]
        assert isinstance(done, zarr.Array)
        self.block_shape = done.chunks
        self._done: Bool[np.ndarray, ...] = np.asarray(done[...], bool)

    def done(self, region: Region) -> bool:
        """Whether the mask says so."""
        return bool(self._done[region].all())

    def write(self, region: Region, results: Results) -> None:
        """Write the chunks of a block, and its mask last."""
        for name, values in results.items():
            self._array(name)[region] = values
        self._array(_DONE)[region] = True
        self._done[region] = True

    def dataset(self) -> "xarray.Dataset":
        """The store, read from disk as it is used."""
        return open_store(self._path)

    def _array(self, name: str) -> Any:
        return self._group[name]


def open_store(path: str | os.PathLike[str]) -> "xarray.Dataset":
    """The dataset in a sweep's store, finished or not; values are read from disk as they are used.

    Cells that are still missing are NaN (0 where integer); the variable `done` says which are there, as long as some
    are missing.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: what is there is no store of a sweep.
    """
    import xarray

    stored_settings(Path(path))
    dataset = xarray.open_zarr(path, consolidated=False, chunks=None)
    return _without_trivial(dataset)


def _without_trivial(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """Without the mask of what is there where all is, and that of what failed where nothing did."""
    usual = {_DONE: True, FAILED: False}
    return dataset.drop_vars([name for name in usual if name in dataset and bool((dataset[name] == usual[name]).all())])


def stored_settings(path: Path) -> dict[str, Any]:
    """What the store at `path` was made with.

    Raises:
        FileNotFoundError: there is nothing there.
        ValueError: what is there is no store of a sweep.
    """
    import zarr

    if not path.exists():
        raise FileNotFoundError(f"There is no store at '{path}'.")
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        settings: dict[str, Any] = json.loads(str(group.attrs[_SETTINGS]))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"Argument `store` must be a new path or a sweep's own store, but '{path}' holds something else, "
            f"which is left as it is."
        ) from error
    return settings


def check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError, naming the differences, unless the store at `path` was made with these settings."""
    stored = stored_settings(path)
    differences = [
        f"{name} is {_short(stored.get(name))} there and {_short(settings.get(name))} here"
        for name in sorted(stored.keys() | settings.keys())
        if stored.get(name) != settings.get(name)
    ]
    if differences:
        raise ValueError(
            f"Argument `store` must be a new path or a store of the same sweep, but in '{path}' "
            f"{'; '.join(differences)}. Nothing was changed."
        )


def check_writable(path: Path) -> None:
    """Raise OSError unless a folder can be made at `path`, before anything is computed for it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> OSError:
    return OSError(
        f"Argument `store` must be a path that can be written to, but got '{path}': {error.strerror or error}."
    )


def create_store(
    path: Path,
    plan: Plan,
    outputs: Mapping[str, Output],
    settings: Mapping[str, Any],
    attributes: Mapping[str, Any],
    block_shape: tuple[int, ...],
) -> None:
    """Make an empty store, which appears at `path` complete.

    Raises:
        OSError: it cannot be written there.
    """
    import xarray
    import zarr

    try:
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
        try:
            labels = xarray.Dataset(coords=_coordinates(plan), attrs={**attributes, _SETTINGS: json.dumps(settings)})
            labels.to_zarr(temporary, mode="w-", consolidated=False)
            group = zarr.open_group(temporary, mode="r+", use_consolidated=False)
            for name, output in {**outputs, _DONE: Output((), np.dtype(bool))}.items():
                group.create_array(
                    name,
                    shape=(*plan.shape, *output.shape),
                    chunks=(*block_shape, *(max(size, 1) for size in output.shape)),
                    dtype=output.dtype,
                    fill_value=_missing(output.dtype),
                    dimension_names=_dims(plan, name, len(plan.shape) + len(output.shape)),
                )
            os.rename(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise _unwritable(path, error) from error


def _coordinates(plan: Plan) -> dict[str, Any]:
    coordinates: dict[str, Any] = {}
    for axis in plan.grid.axes:
        for name, values in axis.arrays.items():
            coordinates[name] = (axis.name, values, _described(name))
    if plan.num_repeats is not None:
        coordinates["repeat"] = ("repeat", np.arange(plan.num_repeats), _described("repeat"))
    for name, values in plan.task.coordinates().items():
        coordinates[name] = (name, np.asarray(values), _described(name))
    return coordinates


def _described(name: str) -> dict[str, str]:
    return {"long_name": LONG_NAMES[name], "units": "1"} if name in LONG_NAMES else {}


def _dims(plan: Plan, name: str, num_dims: int) -> tuple[str, ...]:
    own = tuple(plan.task.dims().get(name, ())) if name != _DONE else ()
    count = num_dims - len(plan.dims)
    if len(own) != count:
        own = tuple(f"{name}_{axis}" for axis in range(count))
    return plan.dims + own


def _missing(dtype: np.dtype[Any]) -> Any:
    return dtype.type(math.nan) if dtype.kind == "f" else dtype.type(0)


def _short(value: Any) -> str:
    written = json.dumps(value)
    return written if len(written) <= 120 else f"{written[:80]} … {written[-30:]}"
