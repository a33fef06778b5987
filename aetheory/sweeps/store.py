"""Where the results of a sweep are kept: a labelled Zarr store, written block by block, or memory."""

import json
import math
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from aetheory.core.checks import check_instance, fail
from aetheory.core.meaning import meaning
from aetheory.core.store import SETTINGS
from aetheory.sweeps.blocks import FAILED, Plan, Region, regions
from aetheory.sweeps.programs import Output, Results

if TYPE_CHECKING:
    import xarray  # which brings pandas: only once a sweep is run

_RESULTS = "aetheory_results"
_DONE = "done"
_MASKS = {_DONE: Output((), np.dtype(bool)), FAILED: Output((), np.dtype(bool))}
_LONG_NAMES = {
    "time": "flow time, or number of steps",
    "repeat": "independent draw",
    "num_steps": "steps of the solver",
    _DONE: "whether the cell is computed",
    FAILED: "whether the cell failed",
}


@dataclass
class Store:
    """The results of a sweep, to which blocks are written as they finish.

    A block's mask is written after its results, and each chunk of a Zarr store is a file that appears whole. So a
    process that is killed at any moment leaves nothing half written that counts as done.

    Arguments:
        arrays: of NumPy or Zarr, by name; the mask "done" among them.
        block_shape: of the blocks.
        done: which cells are computed and undamaged.
        dataset: returns all results; missing cells are NaN (0 where integer).
    """

    arrays: Mapping[str, Any]
    block_shape: tuple[int, ...]
    done: Bool[np.ndarray, "..."]
    dataset: Callable[[], "xarray.Dataset"]

    def write(self, region: Region, results: Results) -> None:
        """Keep the results of all missing evaluations of a block. Once this returns, they survive."""
        missing = ~self.done[region]
        for name, values in results.items():
            block = np.empty((*missing.shape, *values.shape[1:]), values.dtype)
            if not missing.all():
                block[...] = self.arrays[name][region]
            block[missing] = values
            self.arrays[name][region] = block
        self.arrays[_DONE][region] = True
        self.done[region] = True


class Layout(NamedTuple):
    """Names, shapes and labels of the results of a sweep.

    Arguments:
        plan: of the cells and repeats.
        outputs: of each cell.
        attributes: of the dataset.
        block_shape: of the blocks.
    """

    plan: Plan
    outputs: Mapping[str, Output]
    attributes: Mapping[str, Any]
    block_shape: tuple[int, ...]

    def variables(self) -> Iterator[tuple[str, Output, tuple[str, ...]]]:
        """Name, output and dimensions of each result, and of the masks."""
        for name, output in {**self.outputs, **_MASKS}.items():
            own = tuple(self.plan.task.dims.get(name, output.dims or ()))
            if len(own) != len(output.shape):
                own = tuple(f"{name}_{axis}" for axis in range(len(output.shape)))
            yield name, output, self.plan.dims + own

    def labels(self) -> "xarray.Dataset":
        """A dataset of the coordinates and attributes."""
        import xarray

        plan, coordinates = self.plan, {}
        for axis, members in plan.grid.axes.items():
            for name in members:
                coordinates[name] = (axis, plan.grid.arrays[name], _described(name))
        if plan.num_repeats is not None:
            coordinates["repeat"] = ("repeat", np.arange(plan.num_repeats), _described("repeat"))
        for name, values in plan.task.coordinates.items():
            coordinates[name] = (name, np.asarray(values), _described(name))
        return xarray.Dataset(coords=coordinates, attrs=dict(self.attributes))


def _described(name: str) -> dict[str, Any]:
    """Long name and units of a variable."""
    return {"long_name": _LONG_NAMES[name], "units": "1"} if name in _LONG_NAMES else meaning(None, name).attributes


def check_names(plan: Plan, outputs: Mapping[str, Output]) -> None:
    """Raise ValueError where a result has the name of something else in the dataset."""
    taken = {*_MASKS, "repeat", *plan.grid.axes, *plan.grid.parameters, *plan.task.coordinates}
    for name in outputs:
        if name in taken or "/" in name:
            raise fail("function", f"one whose results have names without '/' other than {sorted(taken)}", name)


def memory_store(layout: Layout) -> Store:
    """A store in the memory of this process."""
    arrays = {name: np.empty((*layout.plan.shape, *one.shape), one.dtype) for name, one, _ in layout.variables()}
    arrays[_DONE][...] = False

    def dataset() -> "xarray.Dataset":
        variables = {name: (dims, arrays[name], _described(name)) for name, _, dims in layout.variables()}
        return _without_trivial(layout.labels().assign(variables))

    return Store(arrays, layout.block_shape, arrays[_DONE].copy(), dataset)


def _without_trivial(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """The dataset without `done` where all cells are done, and without `failed` where none failed."""
    usual = {_DONE: True, FAILED: False}
    return dataset.drop_vars([name for name in usual if bool((dataset[name] == usual[name]).all())])


def zarr_store(path: Path) -> Store:
    """The store in a Zarr folder with a chunk for each block.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is no store of a sweep, or its metadata cannot be read.

    Warns:
        UserWarning: blocks are damaged, and will be computed again.
    """
    arrays, _ = _open(path, "r+")
    masks, damaged = arrays[_DONE], set()
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
            if corner in files[_DONE]:  # the block was done once
                damaged.add(corner)
    if damaged:
        start = [index * size for index, size in zip(min(damaged), masks.chunks, strict=True)]
        found = f"{len(damaged)} blocks in '{path}' are damaged, the first at {start}, and are computed again."
        warnings.warn(found, stacklevel=5)
    return Store(arrays, masks.chunks, done, lambda: open_store(path))


def open_store(path: str | os.PathLike[str]) -> "xarray.Dataset":
    """The dataset in a sweep's store, finished or not; values are read from disk as they are used.

    Missing cells are NaN (0 where integer). As long as cells are missing, the variable `done` says which are there.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: it is no store of a sweep, or files of the store are missing.
    """
    import xarray

    check_instance("path", path, (str, os.PathLike), "the path of a sweep's store")
    recover(Path(path))
    arrays, _ = _open(Path(path), "r")
    masks = arrays[_DONE]
    done = _chunk_files(masks, masks.ndim)
    for name, array in arrays.items():
        for corner in sorted(done.keys() - _chunk_files(array, masks.ndim).keys()):
            start = [index * size for index, size in zip(corner, masks.chunks, strict=True)]
            found = f"its block at {start} is done, but its '{name}' cannot be found"
            raise ValueError(f"The store in '{path}' is damaged: {found}. The same sweep computes it again.")
    return _without_trivial(xarray.open_zarr(path, chunks=None))


def _open(path: Path, mode: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of a store that are cut into blocks, by name; and its settings."""
    import zarr

    if not path.exists():
        raise FileNotFoundError(f"There is no store at '{path}'.")
    is_sweep = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # about folders that are no arrays any more
            group = zarr.open_group(path, mode=mode, use_consolidated=False)
            is_sweep = SETTINGS in group.attrs
            settings = json.loads(str(group.attrs[SETTINGS]))
            names = json.loads(str(group.attrs[_RESULTS]))
            arrays: dict[str, Any] = {name: group[name] for name in names}
    except (LookupError, ValueError, TypeError, OSError, Warning) as error:
        if not is_sweep and not isinstance(error, json.JSONDecodeError):
            requirement = f"a new path or a sweep's own store, but '{path}' holds something else"
            raise ValueError(f"Argument `store` must be {requirement}, which is left as it is.") from error
        raise ValueError(
            f"The store in '{path}' is damaged: its metadata cannot be read ({type(error).__name__}: {error}). "
            f"Move it away, and the same sweep computes everything again."
        ) from error
    return {name: array.with_config({"write_empty_chunks": True}) for name, array in arrays.items()}, settings


def _chunk_files(array: Any, num_axes: int) -> dict[tuple[int, ...], Path]:
    """The files of an array's blocks, by the position of a block along each axis of the grid."""
    root, found = Path(array.store.root, array.path, "c"), {}
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            index = file.relative_to(root).parts
            if all(part.isdigit() for part in index):  # and so no file that Zarr had not finished
                found[tuple(int(part) for part in index[:num_axes])] = file
    return found


def _is_whole(file: Path) -> bool:
    """Whether a file has the checksum that was written with it; Zarr would take ten times as long to read it."""
    import google_crc32c

    content = file.read_bytes()
    return len(content) > 4 and content[-4:] == google_crc32c.value(content[:-4]).to_bytes(4, "little")


def can_extend(path: Path, settings: Mapping[str, Any]) -> bool:
    """Whether the store at `path` has these settings but for cells or repeats that it lacks.

    Raises:
        ValueError: it was made with other settings, which the message names.
    """
    _, stored = _open(path, "r")
    has_more = _positions(stored, settings) is not None
    differences = []
    for name in sorted(stored.keys() | settings.keys()):
        is_new = name in ("grid", "num_repeats") or name not in stored
        if stored.get(name) != settings.get(name) and not (has_more and is_new):
            differences.append(f"{name} is {_short(stored.get(name))} there and {_short(settings.get(name))} here")
    if differences:
        raise ValueError(
            f"Argument `store` must be a new path or a store of the same sweep, but in '{path}' "
            f"{'; '.join(differences)}. Nothing was changed."
        )
    return stored != settings


def _short(value: Any) -> str:
    written = json.dumps(value)
    return written if len(written) <= 120 else f"{written[:80]} … {written[-30:]}"


def _positions(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> list[np.ndarray] | None:
    """For each axis of the cells and repeats, the position of each value in the store, or −1 where it is new.

    `None` where the store has other axes, or a value that is not wanted.
    """
    old_axes, new_axes = _axes(stored), _axes(settings)
    if [(axis, *members) for axis, members in old_axes] != [(axis, *members) for axis, members in new_axes]:
        return None
    positions = []
    for (_, old), (_, new) in zip(old_axes, new_axes, strict=True):
        index = {row: number for number, row in enumerate(zip(*old.values(), strict=True))}
        rows = list(zip(*new.values(), strict=True))
        if not index.keys() <= set(rows):
            return None
        positions.append(np.array([index.get(row, -1) for row in rows]))
    return positions


def _axes(settings: Mapping[str, Any]) -> list[Any]:
    """The axes of the grid with the values of their members, and the axis of repeats."""
    axes: list[Any] = list(settings["grid"])
    if settings["num_repeats"] is not None:
        axes.append(["repeat", {"repeat": list(range(settings["num_repeats"]))}])
    return axes


def create_store(path: Path, layout: Layout, settings: Mapping[str, Any]) -> Store:
    """Make a store, which appears at `path` complete: empty, or with the results of the store that it extends.

    Raises:
        OSError: it cannot be written there.
    """
    draft = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_empty(draft, layout, settings)
        if path.exists():
            _copy_results(zarr_store(path), _open(draft, "r+")[0], _positions(_open(path, "r")[1], settings))
            os.rename(path, _superseded(path))
        os.rename(draft, path)
        shutil.rmtree(_superseded(path), ignore_errors=True)
    except OSError as error:
        recover(path)
        # where another process was faster, there is a store that need not be extended
        if not path.exists() or can_extend(path, settings):
            requirement = "a path that can be written to"
            raise OSError(f"Argument `store` must be {requirement}, but got '{path}': {error}.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return zarr_store(path)


def _superseded(path: Path) -> Path:
    return path.with_name(f".{path.name}.superseded")


def recover(path: Path) -> None:
    """Put a store back that a process moved away while it extended the store, if it was killed then."""
    if not path.exists() and _superseded(path).exists():
        os.rename(_superseded(path), path)


def _make_empty(path: Path, layout: Layout, settings: Mapping[str, Any]) -> None:
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    own = {SETTINGS: json.dumps(settings), _RESULTS: json.dumps([*layout.outputs, *_MASKS])}
    layout.labels().assign_attrs(own).to_zarr(path, mode="w-", consolidated=False)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    for name, output, dims in layout.variables():
        group.create_array(
            name,
            shape=(*layout.plan.shape, *output.shape),
            chunks=(*layout.block_shape, *(max(size, 1) for size in output.shape)),
            dtype=output.dtype,
            compressors=(ZstdCodec(), Crc32cCodec()),  # a flipped bit is an error, not another number
            config={"write_empty_chunks": True},  # a chunk that is missing is one that was lost
            fill_value=output.dtype.type(math.nan if output.dtype.kind == "f" else 0),
            dimension_names=dims,
            attributes=_described(name),
        )
    with warnings.catch_warnings():  # that readers look for metadata which Zarr's third format has not adopted yet
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)


def _copy_results(old: Store, new: Mapping[str, Any], positions: list[np.ndarray] | None) -> None:
    """Copy the results of a store into the larger arrays of a new one, block by block."""
    for region in regions(new[_DONE].shape, new[_DONE].chunks):
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
