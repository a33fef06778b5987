"""Where the results of a sweep are kept: a labelled Zarr store, written block by block, or memory."""

import json
import math
import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool

from aetheory.core.checks import check_instance, fail
from aetheory.sweeps.blocks import FAILED, Plan, Region, regions
from aetheory.sweeps.programs import Output, Results

if TYPE_CHECKING:
    import xarray  # which brings pandas: only once a sweep is run

_SETTINGS, _RESULTS = "aetheory_sweep", "aetheory_results"
_DONE = "done"
_OWN = {_DONE: Output((), np.dtype(bool)), FAILED: Output((), np.dtype(bool))}

_LONG_NAMES = {
    "input_dim": "p, dimension of an input",
    "latent_dim": "H, number of hidden units",
    "num_samples": "N, size of the training set",
    "init_variance": "σ², variance of a weight at initialisation",
    "init_scale": "x = p σ², initial scale",
    "latent_ratio": "y = H/p, hidden units per input dimension",
    "sample_ratio": "z = p/N, input dimensions per sample",
    "weight_decay": "γ, weight decay",
    "input_noise": "ε, variance of the noise on inputs",
    "repeat": "independent draw",
    "train": "train risk",
    "population": "population risk",
    "num_steps": "steps of the solver",
    _DONE: "whether the cell is computed",
    FAILED: "whether the cell failed",
}


class Store:
    """Takes blocks as they finish, and gives the dataset.

    A block's mask is written after its results, and each of a Zarr store's chunks is a file that appears whole, so
    that a process that is killed at any moment leaves nothing half written that counts as done.

    Arguments:
        arrays: of NumPy or Zarr, by name; the mask "done" among them.
        block_shape: sizes of the blocks.
        dataset: what makes the dataset of all this.
        done: which cells are there, and whole.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        block_shape: tuple[int, ...],
        dataset: Callable[[], "xarray.Dataset"],
        done: Bool[np.ndarray, "..."],
    ) -> None:
        self._arrays, self.block_shape, self._dataset, self._done = arrays, block_shape, dataset, done

    def done(self, region: Region) -> bool:
        """Whether a block is there already."""
        return bool(self._done[region].all())

    def write(self, region: Region, results: Results) -> None:
        """Keep a block; once this returns, it survives."""
        for name, values in results.items():
            self._arrays[name][region] = values
        self._arrays[_DONE][region] = True

    def dataset(self) -> "xarray.Dataset":
        """Everything so far; blocks that are missing are NaN (0 where integer)."""
        return self._dataset()


def memory_store(
    plan: Plan, outputs: Mapping[str, Output], attributes: Mapping[str, Any], block_shape: tuple[int, ...]
) -> Store:
    """The results in this process's memory, which is not touched before others compute."""
    import xarray

    arrays = {name: np.empty((*plan.shape, *one.shape), one.dtype) for name, one in {**outputs, **_OWN}.items()}
    arrays[_DONE][...] = False

    def dataset() -> xarray.Dataset:
        described = {
            name: (_dims(plan, name, one), arrays[name], described_as(name))
            for name, one in {**outputs, **_OWN}.items()
        }
        return _without_trivial(xarray.Dataset(described, coords=_coordinates(plan), attrs=dict(attributes)))

    return Store(arrays, block_shape, dataset, np.zeros(plan.shape, bool))


def zarr_store(path: Path) -> Store:
    """The results in a Zarr folder that xarray opens: a chunk for each block, and a mask of those that are done.

    Raises:
        ValueError: what the folder says of itself cannot be read.

    Warns:
        UserWarning: some blocks that were done are damaged, and are to be computed again.
    """
    arrays = _results(path, "r+")
    done = np.zeros(arrays[_DONE].shape, bool)
    damaged = []
    for region in regions(arrays[_DONE].shape, arrays[_DONE].chunks):
        whole = all(_is_whole(array, region) for array in arrays.values())
        done[region] = whole and arrays[_DONE][region]
        if not whole and _chunk(arrays[_DONE], region).exists():
            damaged.append([part.start for part in region])
    if damaged:
        found = f"{len(damaged)} blocks in '{path}' are damaged, the first at {damaged[0]}, and are computed again."
        warnings.warn(found, stacklevel=5)
    return Store(arrays, arrays[_DONE].chunks, lambda: open_store(path), done)


def _results(path: Path, mode: Literal["r", "r+"]) -> dict[str, Any]:
    """The arrays of a sweep's store along its blocks."""
    import zarr

    stored_settings(path)
    try:
        group = zarr.open_group(path, mode=mode, use_consolidated=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of folders that are no arrays any more
            arrays = {name: array.with_config({"write_empty_chunks": True}) for name, array in group.arrays()}
        results = {name: arrays[name] for name in json.loads(str(group.attrs[_RESULTS]))}
    except (KeyError, ValueError, TypeError, OSError, Warning) as error:
        raise _damaged(path, error) from error
    return results


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"The store in '{path}' is damaged: what it says of itself cannot be read ({type(error).__name__}: {error}). "
        f"Move it away, and the same sweep computes everything again."
    )


def _chunk(array: Any, region: Region) -> Path:
    """The file of a block."""
    corner = [part.start // size for part, size in zip(region, array.chunks, strict=False)]
    key = array.metadata.encode_chunk_key((*corner, *[0] * (len(array.shape) - len(corner))))
    return Path(array.store.root, array.path, key)


def _is_whole(array: Any, region: Region) -> bool:
    """Whether a block is there and has the checksum that was written with it."""
    try:
        return _chunk(array, region).exists() and array[region] is not None
    except (ValueError, RuntimeError, OSError):  # of the checksum, or of what unpacks it
        return False


def open_store(path: str | os.PathLike[str]) -> "xarray.Dataset":
    """The dataset in a sweep's store, finished or not; values are read from disk as they are used.

    Cells that are still missing are NaN (0 where integer); the variable `done` says which are there, as long as some
    are missing.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: what is there is no store of a sweep.
    """
    import xarray

    check_instance("path", path, (str, os.PathLike), "the path of a sweep's store")
    arrays = _results(Path(path), "r")
    for region in regions(arrays[_DONE].shape, arrays[_DONE].chunks):
        missing = [name for name, array in arrays.items() if not _chunk(array, region).exists()]
        if missing and _DONE not in missing:
            start = [part.start for part in region]
            found = f"its block at {start} is done, but its {', '.join(map(repr, missing))} cannot be found"
            raise ValueError(f"The store in '{path}' is damaged: {found}. The same sweep computes it again.")
    return _without_trivial(xarray.open_zarr(path, chunks=None))


def _without_trivial(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """Without the mask of what is there where all is, and that of what failed where nothing did."""
    usual = {_DONE: True, FAILED: False}
    return dataset.drop_vars([name for name in usual if bool((dataset[name] == usual[name]).all())])


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
    except json.JSONDecodeError as error:
        raise _damaged(path, error) from error
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"Argument `store` must be a new path or a sweep's own store, but '{path}' holds something else, "
            f"which is left as it is."
        ) from error
    return settings


def check_names(plan: Plan, outputs: Mapping[str, Output]) -> None:
    """Raise ValueError where a result has a name that something else in the dataset has."""
    taken = {*_OWN, "repeat", *plan.grid.axes, *plan.grid.parameters, *plan.task.coordinates}
    for name in outputs:
        if name in taken or "/" in name:
            raise fail("function", f"one whose results have names without '/' other than {sorted(taken)}", name)


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
) -> Store:
    """Make an empty store, which appears at `path` complete.

    Raises:
        OSError: it cannot be written there.
    """
    import xarray
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        own = {_SETTINGS: json.dumps(settings), _RESULTS: json.dumps([*outputs, *_OWN])}
        labels = xarray.Dataset(coords=_coordinates(plan), attrs={**attributes, **own})
        labels.to_zarr(temporary, mode="w-", consolidated=False)
        group = zarr.open_group(temporary, mode="r+", use_consolidated=False)
        for name, output in {**outputs, **_OWN}.items():
            group.create_array(
                name,
                shape=(*plan.shape, *output.shape),
                chunks=(*block_shape, *(max(size, 1) for size in output.shape)),
                dtype=output.dtype,
                compressors=(ZstdCodec(), Crc32cCodec()),  # a flipped bit is an error, not another number
                config={"write_empty_chunks": True},  # a chunk that is missing is one that was lost
                fill_value=output.dtype.type(math.nan if output.dtype.kind == "f" else 0),
                dimension_names=_dims(plan, name, output),
                attributes=described_as(name),
            )
        with warnings.catch_warnings():  # that Zarr's third format has not adopted yet what readers look for
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(temporary)
        os.rename(temporary, path)
    except OSError as error:
        if not path.exists():
            raise _unwritable(path, error) from error
        check_settings(path, settings)  # another process was faster
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return zarr_store(path)


def _coordinates(plan: Plan) -> dict[str, Any]:
    grid = plan.grid
    along = [(name, axis, grid.arrays[name]) for axis, members in grid.axes.items() for name in members]
    if plan.num_repeats is not None:
        along.append(("repeat", "repeat", np.arange(plan.num_repeats)))
    along += [(name, name, np.asarray(values)) for name, values in plan.task.coordinates.items()]
    coordinates = {name: (dim, values, described_as(name)) for name, dim, values in along}
    if "time" in coordinates:
        kind = "flow time" if coordinates["time"][1].dtype.kind == "f" else "number of steps"
        coordinates["time"][2]["long_name"] = kind
    return coordinates


def described_as(name: str) -> dict[str, Any]:
    """Long name and units of a variable; every number of the theory is without a unit."""
    return {"long_name": _LONG_NAMES.get(name, name.replace("_", " ")), "units": "1"}


def _dims(plan: Plan, name: str, output: Output) -> tuple[str, ...]:
    own = tuple(plan.task.dims.get(name, output.dims or ()))
    if len(own) != len(output.shape):
        own = tuple(f"{name}_{axis}" for axis in range(len(output.shape)))
    return plan.dims + own


def _short(value: Any) -> str:
    written = json.dumps(value)
    return written if len(written) <= 120 else f"{written[:80]} … {written[-30:]}"
