"""Named axes of parameters, and the cells they span."""

import hashlib
import math
import numbers
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, Shaped, UInt32, UInt64

from aetheory.core.checks import fail

Value = int | float | bool | str

_REQUIREMENT = "a mapping from names to values (or, for axes that vary together, to mappings), or a list of cells"


@dataclass(frozen=True)
class Grid:
    """The product of several axes. Its cells are numbered with the last axis fastest.

    Arguments:
        axes: for each axis by name, the parameters that vary along it, with their values.
        dtype: the precision of the axes ("float32", "float64"); `None` where they are not arrays of real numbers.
    """

    axes: dict[str, dict[str, tuple[Value, ...]]]
    dtype: str | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return tuple(len(next(iter(members.values()))) for members in self.axes.values())

    @property
    def parameters(self) -> dict[str, tuple[Value, ...]]:
        """The values of every parameter along its axis."""
        return {name: values for members in self.axes.values() for name, values in members.items()}

    @cached_property
    def arrays(self) -> dict[str, Shaped[np.ndarray, " values"]]:
        """The values of every parameter as an array; strings as Python's own, which Zarr can hold."""
        kinds = {name: object if isinstance(values[0], str) else None for name, values in self.parameters.items()}
        return {name: np.array(values, kinds[name]) for name, values in self.parameters.items()}

    @cached_property
    def _digests(self) -> dict[str, UInt64[np.ndarray, " values"]]:
        return {name: _value_digests(name, values) for name, values in self.parameters.items()}

    def columns(self, cells: Int[np.ndarray, " cells"]) -> dict[str, Shaped[np.ndarray, " cells"]]:
        """The parameters of some cells."""
        columns = {}
        for members, index in zip(self.axes.values(), np.unravel_index(cells, self.shape), strict=True):
            for name in members:
                columns[name] = self.arrays[name][index]
        return columns

    def cell(self, number: int) -> dict[str, Value]:
        """The parameters of one cell."""
        parameters = {}
        for members, index in zip(self.axes.values(), np.unravel_index(number, self.shape), strict=True):
            for name, values in members.items():
                parameters[name] = values[int(index)]
        return parameters

    def key_data(self, cells: Int[np.ndarray, " cells"]) -> UInt32[np.ndarray, "cells 2"]:
        """Two integers for each cell, from which its random key is derived.

        They are the halves of the sum of a 64-bit digest of each parameter's name and value. So they do not depend on
        the order of the axes or on the other cells of the grid.
        """
        total = np.zeros(len(cells), np.uint64)
        for members, index in zip(self.axes.values(), np.unravel_index(cells, self.shape), strict=True):
            for name in members:
                total += self._digests[name][index]
        return np.stack([total & 0xFFFFFFFF, total >> np.uint64(32)], axis=1).astype(np.uint32)

    def combinations(self, names: Collection[str]) -> tuple[list[dict[str, Value]], Int[np.ndarray, " cells"]]:
        """All combinations of values of these parameters, and the number of the combination in each cell."""
        found, number = [dict[str, Value]()], np.zeros(self.shape, int)
        for dim, members in enumerate(self.axes.values()):
            own = [name for name in members if name in names]
            rows = list(zip(*(members[name] for name in own), strict=True))
            codes = {row: code for code, row in enumerate(dict.fromkeys(rows))}
            if codes:
                along = np.array([codes[row] for row in rows]).reshape(-1, *[1] * (len(self.axes) - dim - 1))
                number = number * len(codes) + along
                found = [{**one, **dict(zip(own, row, strict=True))} for one in found for row in codes]
        return found, number.ravel()


def make_grid(grid: Any) -> Grid:
    """The grid of the argument `grid` of `aetheory.sweep`, checked.

    Raises:
        ValueError: an empty axis, a name that appears twice or is reserved ("repeat"), members of different lengths,
            equal values on one axis, values that are not numbers, booleans or strings, or axes of different precision.
    """
    axes, names, dtypes = {}, Counter(["repeat"]), set()
    for name, members in _members(grid):
        axes[name] = {str(member): _values(str(member), values) for member, values in members.items()}
        sizes = {member: len(values) for member, values in axes[name].items()}
        if len(set(sizes.values())) != 1:
            raise fail(f"grid[{name!r}]", "members of one length", sizes)
        twice, count = Counter(zip(*axes[name].values(), strict=True)).most_common(1)[0]
        if count > 1:
            raise fail(f"grid[{name!r}]", "free of equal values (repeat a cell by `num_repeats`)", twice)
        names.update({name, *axes[name]})
        dtypes |= {str(values.dtype) for values in members.values() if _kind(values) == "f"}
    if names["repeat"] > 1:
        raise fail("grid", "free of the name 'repeat', which counts the draws", "repeat")
    if names.most_common(1)[0][1] > 1:
        raise fail("grid", "axes and parameters of different names", names.most_common(1)[0][0])
    if len(dtypes) > 1:
        raise fail("grid", "axes of one precision", sorted(dtypes))
    return Grid(axes, dtypes.pop() if dtypes else None)


def _members(grid: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if isinstance(grid, Mapping) and grid:
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


def _kind(values: Any) -> str:
    return np.dtype(getattr(values, "dtype", object)).kind


def _values(name: str, values: Any) -> tuple[Value, ...]:
    requirement = "a non-empty vector of numbers, booleans or strings"
    if isinstance(values, str) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) != 1:
        raise fail(f"grid[{name!r}]", requirement, values)
    if _kind(values) in "fiu" and (array := np.asarray(values)).size and np.isfinite(array).all():
        return tuple(array.tolist())  # at once, for axes may be long
    listed = [value.item() if hasattr(value, "item") else value for value in values]
    if not listed or not all(isinstance(value, bool | str | numbers.Real) for value in listed):
        raise fail(f"grid[{name!r}]", requirement, values)
    if any(isinstance(value, float) and math.isnan(value) for value in listed):
        raise fail(f"grid[{name!r}]", "free of NaN", values)
    if len({type(value) if isinstance(value, bool | str) else float for value in listed}) > 1:
        raise fail(f"grid[{name!r}]", "values of one kind", values)
    # one finite real among integers makes them all real
    return tuple(float(value) for value in listed) if any(map(is_real, listed)) else tuple(listed)


def is_real(value: Value) -> bool:
    """Whether a value is a real number, rather than an integer (or infinity), a boolean or a string."""
    return isinstance(value, float) and not math.isinf(value)


def _value_digests(name: str, values: tuple[Value, ...]) -> UInt64[np.ndarray, " values"]:
    """A 64-bit digest of a parameter's name with each of its values.

    Source: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number generators", 2014 (the mixing function).
    """
    if isinstance(values[0], str):
        return np.array([_hash(f"{name}={value}") for value in values], np.uint64)
    real = np.array(values, np.float64)
    bits = (real + 0.0).view(np.uint64) + np.uint64(_hash(name))  # −0 is the number 0
    for index in np.flatnonzero(np.abs(real) >= 2**53):  # where a real number need not be the integer itself
        if isinstance(values[index], int) and int(real[index]) != values[index]:
            bits[index] = _hash(f"{name}={values[index]}")
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    mixed: UInt64[np.ndarray, " values"] = bits ^ (bits >> np.uint64(31))
    return mixed


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def cell_key(key: PRNGKeyArray, parameters: Mapping[str, Any], repeat: int = 0) -> PRNGKeyArray:
    """The random key that `aetheory.sweep` passes to its function in one cell.

    Arguments:
        key: the sweep's key.
        parameters: all parameters of the cell, including those that the function does not use.
        repeat: the number of the repeat, from 0.

    Raises:
        ValueError: parameters that are not those of a cell.
    """
    return derive_key(key, make_grid([dict(parameters)]).key_data(np.zeros(1, int))[0], np.uint32(repeat))


def derive_key(key: PRNGKeyArray, key_data: Shaped[Array | np.ndarray, "2"], repeat: Any) -> PRNGKeyArray:
    """The random key of one cell, given by its `key_data`, and one repeat."""
    for number in (key_data[0], key_data[1], repeat):
        key = jax.random.fold_in(key, number)
    return key
