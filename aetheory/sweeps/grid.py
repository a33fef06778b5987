"""Named axes of parameters, and the cells they span."""

import hashlib
import math
import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Shaped, UInt64

from aetheory.core.checks import fail

Value = int | float | bool | str

_REQUIREMENT = "a mapping from names to values (or, for axes that vary together, to mappings), or a list of cells"

LONG_NAMES = {
    "input_dim": "p, dimension of an input",
    "latent_dim": "H, number of hidden units",
    "num_samples": "N, size of the training set",
    "init_variance": "σ², variance of a weight at initialisation",
    "init_scale": "x = p σ², initial scale",
    "latent_ratio": "y = H/p, hidden units per input dimension",
    "sample_ratio": "z = p/N, input dimensions per sample",
    "repeat": "independent draw",
    "time": "flow time",
}


@dataclass(frozen=True)
class Axis:
    """One dimension of a grid: a parameter, or several that vary together.

    Arguments:
        name: the dimension's name.
        parameters: name of each parameter, and its values along the axis; all of one length.
    """

    name: str
    parameters: dict[str, tuple[Value, ...]]

    @cached_property
    def arrays(self) -> dict[str, Shaped[np.ndarray, " values"]]:
        """The values of each parameter as an array."""
        return {
            name: np.array(values, dtype=object if isinstance(values[0], str) else None)
            for name, values in self.parameters.items()
        }

    @cached_property
    def digests(self) -> UInt64[np.ndarray, " values"]:
        """A number for each place along the axis, from the names and values of its parameters."""
        total = np.zeros(self.size, np.uint64)
        for name, values in self.parameters.items():
            total += _digests(name, values)
        return total

    @property
    def size(self) -> int:
        """How many values the axis has."""
        return len(next(iter(self.parameters.values())))


class Grid(NamedTuple):
    """The product of some axes.

    Arguments:
        axes: at least one; a parameter's name appears once.
        dtype: the precision that the axes were given in ("float32", "float64"); `None` where they do not say.
    """

    axes: tuple[Axis, ...]
    dtype: str | None

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(axis.size for axis in self.axes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(name for axis in self.axes for name in axis.parameters)

    def columns(self, cells: Int[np.ndarray, " cells"]) -> dict[str, Shaped[np.ndarray, " cells"]]:
        """The parameters of some cells, given by their place in the flattened grid."""
        places = np.unravel_index(cells, self.shape)
        return {
            name: values[place]
            for axis, place in zip(self.axes, places, strict=True)
            for name, values in axis.arrays.items()
        }

    def cell(self, place: int) -> dict[str, Value]:
        """The parameters of one cell, given by its place in the flattened grid."""
        indices = np.unravel_index(place, self.shape)
        return {
            name: values[int(index)]
            for axis, index in zip(self.axes, indices, strict=True)
            for name, values in axis.parameters.items()
        }

    def identities(self, cells: Int[np.ndarray, " cells"]) -> UInt64[np.ndarray, " cells"]:
        """A number for each cell that depends on the names and values of its parameters and on nothing else.

        The sum of a 64-bit digest for each parameter: the same whatever the order of the axes and whatever other
        cells there are.
        """
        total = np.zeros(len(cells), np.uint64)
        for axis, place in zip(self.axes, np.unravel_index(cells, self.shape), strict=True):
            total += axis.digests[place]
        return total

    def static_names(self) -> tuple[str, ...]:
        """Parameters with integer (or infinite), boolean or string values only: those that decide shapes or choices."""
        return tuple(
            name
            for axis in self.axes
            for name, values in axis.parameters.items()
            if not any(isinstance(value, float) and not math.isinf(value) for value in values)
        )


def make_grid(grid: Any) -> Grid:
    """Check and normalise what a user gave as a grid.

    Arguments:
        grid: a mapping from an axis's name to its values; where these are themselves a mapping, its members vary
            together along the axis. Or a list of cells, each a mapping from parameter to value, along one axis "cell".

    Raises:
        ValueError: an empty axis, a name that appears twice or is reserved ("repeat"), members of different lengths,
            equal values on one axis, values that are not numbers, booleans or strings, or axes of different precision.
    """
    axes, dtypes = [], set()
    for name, members in _members(grid):
        parameters = {}
        for member, values in members.items():
            parameters[str(member)], dtype = _values(str(member), values)
            dtypes |= {dtype} - {None}
        sizes = {member: len(values) for member, values in parameters.items()}
        if len(set(sizes.values())) != 1:
            raise fail(f"grid[{name!r}]", "members of one length", sizes)
        rows = list(zip(*parameters.values(), strict=True))
        if len(set(rows)) < len(rows):
            twice = Counter(rows).most_common(1)[0][0]
            raise fail(f"grid[{name!r}]", "free of equal values (repeat a cell by `num_repeats`)", twice)
        axes.append(Axis(name, parameters))
    names = [name for axis in axes for name in {axis.name, *axis.parameters}]
    for name in names:
        if names.count(name) > 1:
            raise fail("grid", "axes and parameters of different names", name)
    if "repeat" in names:
        raise fail("grid", "free of the name 'repeat', which counts the draws", "repeat")
    if len(dtypes) > 1:
        raise fail("grid", "axes of one precision", sorted(dtypes))
    return Grid(tuple(axes), dtypes.pop() if dtypes else None)


def _members(grid: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if isinstance(grid, Mapping):
        if not grid:
            raise fail("grid", _REQUIREMENT, grid)
        for name, values in grid.items():
            if not isinstance(name, str):
                raise fail("grid", "keyed by strings", name)
            members = values if isinstance(values, Mapping) else {name: values}
            if not members:
                raise fail(f"grid[{name!r}]", "not empty", values)
            yield name, members
        return
    cells = list(grid) if isinstance(grid, Sequence) and not isinstance(grid, str) else []
    if not cells or not all(isinstance(cell, Mapping) and cell for cell in cells):
        raise fail("grid", _REQUIREMENT, grid)
    for cell in cells:
        if cell.keys() != cells[0].keys():
            raise fail("grid", f"a list of cells that all name {sorted(cells[0])}", dict(cell))
    yield "cell", {name: [cell[name] for cell in cells] for name in cells[0]}


def _values(name: str, values: Any) -> tuple[tuple[Value, ...], str | None]:
    requirement = "a non-empty vector of numbers, booleans or strings"
    if isinstance(values, str) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise fail(f"grid[{name!r}]", requirement, values)
    kind = np.dtype(getattr(values, "dtype", object)).kind
    if kind in "fiu" and (array := np.asarray(values)).size > 0:  # of one kind already
        if np.isnan(array).any():
            raise fail(f"grid[{name!r}]", "free of NaN", values)
        if kind != "f" or np.isfinite(array).any():
            return tuple(array.tolist()), str(array.dtype) if kind == "f" else None
    listed = [value.item() if hasattr(value, "item") else value for value in values]
    if not listed or not all(isinstance(value, bool | str | numbers.Real) for value in listed):
        raise fail(f"grid[{name!r}]", requirement, values)
    if any(isinstance(value, float) and math.isnan(value) for value in listed):
        raise fail(f"grid[{name!r}]", "free of NaN", values)
    kinds = {"string" if isinstance(v, str) else "boolean" if isinstance(v, bool) else "number" for v in listed}
    if len(kinds) > 1:
        raise fail(f"grid[{name!r}]", "values of one kind", values)
    # one finite real among integers makes them all real
    if any(isinstance(value, float) and not math.isinf(value) for value in listed):
        listed = [float(value) for value in listed]
    dtype = getattr(values, "dtype", None)
    return tuple(listed), str(dtype) if dtype is not None and np.dtype(dtype).kind == "f" else None


def _digests(name: str, values: Sequence[Value]) -> UInt64[np.ndarray, " values"]:
    """A number for each value of one parameter: a hash of its words, or of its name mixed with the bits of a number.

    Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014 (the mixing function).
    """
    if isinstance(values[0], str):
        return np.array([_hash(f"{name}={value}") for value in values], np.uint64)
    bits = (np.array(values, np.float64) + 0.0).view(np.uint64) + np.uint64(_hash(name))  # −0 is the number 0
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    mixed: UInt64[np.ndarray, " values"] = bits ^ (bits >> np.uint64(31))
    return mixed


def _hash(words: str) -> int:
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")
