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
from aetheory.core.store import SETTINGS
from aetheory.sweeps.blocks import FAILED, Plan, Region, regions
from aetheory.sweeps.programs import Output, Results

if TYPE_CHECKING:
    import xarray  # which brings pandas: only once a sweep is run

_RESULTS = "aetheory_results"
_DONE = "done"
_MASKS = {_DONE: Output((), np.dtype(bool)), FAILED: Output((), np.dtype(bool))}

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

    A block's mask is written after its results, and each chunk of a Zarr store is a file that appears whole. So a
    process that is killed at any moment leaves nothing half written that counts as done.

    Arguments:
        arrays: of NumPy or Zarr, by name; the mask "done" among them.
        block_shape: of the blocks.
        dataset: returns the dataset of all arrays; missing cells are NaN (0 where integer).
        done: which cells are computed and undamaged.
    """

    def __init__(
        self,
        arrays: Mapping[str, Any],
        block_shape: tuple[int, ...],
        dataset: Callable[[], "xarray.Dataset"],
        done: Bool[np.ndarray, "..."],
    ) -> None:
        self.arrays, self.block_shape, self.dataset, self.done = arrays, block_shape, dataset, done

    def write(self, region: Region, results: Results) -> None:
        """Keep results of all evaluations of a block that were missing; once this returns, they survive."""
        missing = ~self.done[region]
        for name, values in results.items():
            block = np.empty((*missing.shape, *values.shape[1:]), values.dtype)
            if not missing.all():
                block[...] = self.arrays[name][region]
            block[missing] = values
            self.arrays[name][region] = block
        self.arrays[_DONE][region] = True
        self.done[region] = True


def memory_store(
    plan: Plan, outputs: Mapping[str, Output], attributes: Mapping[str, Any], block_shape: tuple[int, ...]
) -> Store:
    """The results in the memory of this process."""
    import xarray

    every = {**outputs, **_MASKS}
    arrays = {name: np.empty((*plan.shape, *one.shape), one.dtype) for name, one in every.items()}
    arrays[_DONE][...] = False

    def dataset() -> xarray.Dataset:
        variables = {name: (_dims(plan, name, one), arrays[name], described_as(name)) for name, one in every.items()}
        return _without_trivial(xarray.Dataset(variables, coords=_coordinates(plan), attrs=dict(attributes)))

    return Store(arrays, block_shape, dataset, arrays[_DONE].copy())


def zarr_store(path: Path) -> Store:
    """The results in a Zarr folder that xarray opens: a chunk for each block, and a mask of the cells that are done.

    Raises:
        ValueError: the metadata of the folder cannot be read.

    Warns:
        UserWarning: blocks are damaged, and will be computed again.
    """
    arrays = _open_arrays(path, "r+")
    masks = arrays[_DONE]
    damaged = set()
    files = {name: _chunk_files(array, masks.ndim) for name, array in arrays.items()}
    for own in files.values():
        for corner, file in list(own.items()):
            if not _is_whole(file):
                file.unlink()
                del own[corner]
                damaged.add(corner)
    done = np.array(masks[...])
    for region in regions(masks.shape, masks.chunks):
        corner = tuple(part.start // size for part, size in zip(region, masks.chunks, strict=True))
        if not all(corner in own for own in files.values()):
            done[region] = False
            if corner in files[_DONE]:  # and so the block was done once
                damaged.add(corner)
    if damaged:
        start = [index * size for index, size in zip(min(damaged), masks.chunks, strict=True)]
        found = f"{len(damaged)} blocks in '{path}' are damaged, the first at {start}, and are computed again."
        warnings.warn(found, stacklevel=5)
    return Store(arrays, masks.chunks, lambda: open_store(path), done)


def _open_arrays(path: Path, mode: Literal["r", "r+"]) -> dict[str, Any]:
    """The arrays of a sweep's store that are cut into blocks, by name."""
    import zarr

    stored_settings(path)
    try:
        group = zarr.open_group(path, mode=mode, use_consolidated=False)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # about folders that are no arrays any more
            arrays = {name: array.with_config({"write_empty_chunks": True}) for name, array in group.arrays()}
        results = {name: arrays[name] for name in json.loads(str(group.attrs[_RESULTS]))}
    except (KeyError, ValueError, TypeError, OSError, Warning) as error:
        raise _damaged(path, error) from error
    return results


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"The store in '{path}' is damaged: its metadata cannot be read ({type(error).__name__}: {error}). "
        f"Move it away, and the same sweep computes everything again."
    )


def _chunk_files(array: Any, num_axes: int) -> dict[tuple[int, ...], Path]:
    """The files of an array's blocks, by the position of a block along each axis of the grid."""
    root = Path(array.store.root, array.path, "c")
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            index = file.relative_to(root).parts
            if all(part.isdigit() for part in index):  # and so no file that Zarr had not finished
                found[tuple(int(part) for part in index[:num_axes])] = file
    return found


def _is_whole(file: Path) -> bool:
    """Whether a file has the checksum that was written with it; ten times as fast as reading it through Zarr."""
    import google_crc32c

    content = file.read_bytes()
    return len(content) > 4 and content[-4:] == google_crc32c.value(content[:-4]).to_bytes(4, "little")


def open_store(path: str | os.PathLike[str]) -> "xarray.Dataset":
    """The dataset in a sweep's store, finished or not; values are read from disk as they are used.

    Missing cells are NaN (0 where integer). As long as cells are missing, the variable `done` says which are there.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: there is no store of a sweep, or files of the store are missing.
    """
    import xarray

    check_instance("path", path, (str, os.PathLike), "the path of a sweep's store")
    recover(Path(path))
    arrays = _open_arrays(Path(path), "r")
    masks = arrays[_DONE]
    done = _chunk_files(masks, masks.ndim)
    for name, array in arrays.items():
        for corner in sorted(done.keys() - _chunk_files(array, masks.ndim).keys()):
            start = [index * size for index, size in zip(corner, masks.chunks, strict=True)]
            found = f"its block at {start} is done, but its '{name}' cannot be found"
            raise ValueError(f"The store in '{path}' is damaged: {found}. The same sweep computes it again.")
    return _without_trivial(xarray.open_zarr(path, chunks=None))


def _without_trivial(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """The dataset without `done` where all cells are done, and without `failed` where none failed."""
    usual = {_DONE: True, FAILED: False}
    return dataset.drop_vars([name for name in usual if bool((dataset[name] == usual[name]).all())])


def stored_settings(path: Path) -> dict[str, Any]:
    """The settings that the store at `path` was made with.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is no store of a sweep.
    """
    import zarr

    if not path.exists():
        raise FileNotFoundError(f"There is no store at '{path}'.")
    try:
        group = zarr.open_group(path, mode="r", use_consolidated=False)
        settings: dict[str, Any] = json.loads(str(group.attrs[SETTINGS]))
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
    taken = {*_MASKS, "repeat", *plan.grid.axes, *plan.grid.parameters, *plan.task.coordinates}
    for name in outputs:
        if name in taken or "/" in name:
            raise fail("function", f"one whose results have names without '/' other than {sorted(taken)}", name)


def check_settings(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the store at `path` lacks cells or repeats of these settings, by which it can be extended.

    Raises:
        ValueError: it was made with other settings, which the message names.
    """
    stored = stored_settings(path)
    can_extend = _positions(stored, settings) is not None
    differences = []
    for name in sorted(stored.keys() | settings.keys()):
        is_new = name in ("grid", "num_repeats") or name not in stored
        if stored.get(name) != settings.get(name) and not (can_extend and is_new):
            differences.append(f"{name} is {_short(stored.get(name))} there and {_short(settings.get(name))} here")
    if differences:
        raise ValueError(
            f"Argument `store` must be a new path or a store of the same sweep, but in '{path}' "
            f"{'; '.join(differences)}. Nothing was changed."
        )
    return stored != settings


def _positions(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> list[np.ndarray] | None:
    """For each axis of a grid that contains the stored grid, the position of each value in the store, or −1.

    `None` where the grid lacks a stored value or repeat, or has other axes.
    """
    old_repeats, new_repeats = stored["num_repeats"], settings["num_repeats"]
    positions = []
    for old, new in zip(stored["grid"], settings["grid"], strict=False):
        if old["axis"] != new["axis"] or list(old) != list(new):
            return None
        members = [name for name in old if name != "axis"]
        numbers = {row: number for number, row in enumerate(zip(*(old[name] for name in members), strict=True))}
        wanted = list(zip(*(new[name] for name in members), strict=True))
        if not numbers.keys() <= set(wanted):
            return None
        positions.append(np.array([numbers.get(row, -1) for row in wanted]))
    if len(stored["grid"]) != len(settings["grid"]) or (old_repeats is None) != (new_repeats is None):
        return None
    if old_repeats is not None and new_repeats is not None:
        if old_repeats > new_repeats:
            return None
        every = np.arange(new_repeats)
        positions.append(np.where(every < old_repeats, every, -1))
    return positions


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
    """Make a store, which appears at `path` complete: empty, or with the results of the store that it extends.

    Raises:
        OSError: it cannot be written there.
    """
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        _make_empty(draft, plan, outputs, settings, attributes, block_shape)
        if path.exists():
            _copy_results(zarr_store(path), _open_arrays(draft, "r+"), _positions(stored_settings(path), settings))
            os.rename(path, _superseded(path))
        os.rename(draft, path)
        shutil.rmtree(_superseded(path), ignore_errors=True)
    except OSError as error:
        recover(path)
        if not path.exists():
            raise _unwritable(path, error) from error
        check_settings(path, settings)  # another process was faster
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return zarr_store(path)


def _superseded(path: Path) -> Path:
    return path.with_name(f".{path.name}.superseded")


def recover(path: Path) -> None:
    """Put a store back that a process moved away before it was killed, while it was extending the store."""
    if not path.exists() and _superseded(path).exists():
        os.rename(_superseded(path), path)


def _make_empty(
    path: Path,
    plan: Plan,
    outputs: Mapping[str, Output],
    settings: Mapping[str, Any],
    attributes: Mapping[str, Any],
    block_shape: tuple[int, ...],
) -> None:
    import xarray
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    own = {SETTINGS: json.dumps(settings), _RESULTS: json.dumps([*outputs, *_MASKS])}
    labels = xarray.Dataset(coords=_coordinates(plan), attrs={**attributes, **own})
    labels.to_zarr(path, mode="w-", consolidated=False)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, output in {**outputs, **_MASKS}.items():
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
    with warnings.catch_warnings():  # that readers look for metadata which Zarr's third format has not adopted yet
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)


def _copy_results(old: Store, new: Mapping[str, Any], positions: list[np.ndarray] | None) -> None:
    """Copy what an old store has into the larger arrays of a new one, block by block."""
    shape, block_shape = new[_DONE].shape, new[_DONE].chunks
    for region in regions(shape, block_shape):
        sources = [where[part] for where, part in zip(positions or [], region, strict=True)]
        stored = tuple(source[source >= 0] for source in sources)
        done = old.done[np.ix_(*stored)]
        if not done.any():
            continue
        target = np.ix_(*(np.flatnonzero(source >= 0) for source in sources))
        for name, array in old.arrays.items():
            block = np.array(new[name][region])
            block[target] = done if name == _DONE else array.oindex[stored]
            new[name][region] = block


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
