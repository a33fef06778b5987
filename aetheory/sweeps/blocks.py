"""The pieces of a sweep: blocks of the grid that are computed and stored whole, and what fails in them."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from aetheory.sweeps.grid import Grid
from aetheory.sweeps.programs import Lanes, OutputError, Results, Runner
from aetheory.sweeps.tasks import Program, Task

FAILED = "failed"
_SUCCEEDED = "succeeded"

_MOST_BLOCKS = 20_000
"""More files than this in a folder are a nuisance to copy and to list."""

_Places = Int[np.ndarray, " lanes"]

Region = tuple[slice, ...]
"""A hyper-rectangle of the grid and its repeats."""


def num_lanes(region: Region) -> int:
    """How many evaluations a block has."""
    return math.prod(part.stop - part.start for part in region)


class Failure(NamedTuple):
    """An evaluation without a finite result: its cell, its repeat, and why."""

    cell: int
    repeat: int
    reason: str


class Block(NamedTuple):
    """The results of a block in the block's shape, `failed` among them, and the failures."""

    results: Results
    failures: list[Failure]


class Plan:
    """The groups of a sweep's cells, and its lanes: one for each cell and repeat.

    Arguments:
        task: what is computed.
        grid: where.
        num_repeats: draws a cell; `None` for one without an axis of its own.
    """

    def __init__(self, task: Task, grid: Grid, num_repeats: int | None) -> None:
        self.task, self.grid, self.num_repeats = task, grid, num_repeats
        repeats = () if num_repeats is None else (num_repeats,)
        self.dims = (*grid.axes, *["repeat"][: len(repeats)])
        self.shape = (*grid.shape, *repeats)
        self.groups, self._number = task.groups(grid)
        self.size = math.prod(self.shape)

    def programs(self) -> dict[Program, Lanes]:
        """A lane in the first and one in the last cell of each program, with the presumably costliest program first."""
        found: dict[Program, Lanes] = {}
        for number in sorted(range(len(self.groups)), key=lambda one: -self.groups[one].size):
            if self.groups[number].program not in found:
                cells = np.flatnonzero(self._number == number)[[0, -1]]
                found[self.groups[number].program] = self._lanes(np.zeros(2, int), cells, np.zeros(2, int), number)
        return found

    def evaluations(self) -> dict[Program, int]:
        """How many lanes each program has."""
        counts = dict.fromkeys((group.program for group in self.groups), 0)
        for group, cells in zip(self.groups, np.bincount(self._number, minlength=len(self.groups)), strict=True):
            counts[group.program] += int(cells) * (self.num_repeats or 1)
        return counts

    def block_shape(self, most_lanes: int) -> tuple[int, ...]:
        """Sizes of a block of at most `most_lanes` lanes: whole trailing axes first, one group where possible."""
        number = self._number.reshape(self.grid.shape)
        splits = [bool((number != number.take([0], axis)).any()) for axis in range(number.ndim)]
        splits += [False] * (len(self.shape) - number.ndim)
        sizes, room = [1] * len(self.shape), max(1, most_lanes)
        for axis in sorted(range(len(sizes)), key=lambda axis: (splits[axis], -axis)):
            count = math.prod(-(-whole // size) for whole, size in zip(self.shape, sizes, strict=True))
            if not splits[axis] or count > _MOST_BLOCKS:
                sizes[axis] = min(self.shape[axis], room)
                room = max(1, room // sizes[axis])
        return tuple(sizes)

    def program(self, region: Region) -> Program:
        """What the first cell of a block runs."""
        corner = [part.start for part in region[: len(self.grid.shape)]]
        return self.groups[int(self._number[np.ravel_multi_index(corner, self.grid.shape)])].program

    def lanes(self, region: Region) -> Iterator[Lanes]:
        """The evaluations of a block, by group."""
        shape = tuple(part.stop - part.start for part in region)
        places = np.unravel_index(np.arange(math.prod(shape)), shape)
        index = tuple(place + part.start for place, part in zip(places, region, strict=True))
        cells = np.ravel_multi_index(index[: len(self.grid.shape)], self.grid.shape)
        repeat = index[-1] if self.num_repeats is not None else np.zeros_like(cells)
        number = self._number[cells]
        for one in np.unique(number):
            chosen = np.flatnonzero(number == one)
            yield self._lanes(chosen, cells[chosen], repeat[chosen], int(one))

    def _lanes(self, place: _Places, cells: _Places, repeat: _Places, number: int) -> Lanes:
        group, words = self.groups[number], self.grid.words(cells)
        return Lanes(group, place, cells, words, repeat.astype(np.uint32), group.varied(self.grid.columns(cells)))


def regions(shape: tuple[int, ...], sizes: tuple[int, ...]) -> Iterator[Region]:
    """All blocks of these sizes; those at the far ends are smaller."""
    for corner in itertools.product(*(range(0, whole, size) for whole, size in zip(shape, sizes, strict=True))):
        ends = (min(start + size, whole) for start, size, whole in zip(corner, sizes, shape, strict=True))
        yield tuple(itertools.starmap(slice, zip(corner, ends, strict=True)))


def run_block(runner: Runner, plan: Plan, region: Region, stop_at_failure: bool) -> Block:
    """Run all evaluations of a block; with `stop_at_failure` return at the first that fails, without results."""
    shape = tuple(part.stop - part.start for part in region)
    flat: Results = {}
    failures: list[Failure] = []
    for lanes in plan.lanes(region):
        results, failed = _run(runner, lanes)
        failures += failed
        if failed and stop_at_failure:
            return Block({}, failures)
        for name, values in results.items():
            whole = flat.setdefault(name, np.empty((math.prod(shape), *values.shape[1:]), values.dtype))
            whole[lanes.place] = values
    return Block({name: values.reshape(*shape, *values.shape[1:]) for name, values in flat.items()}, failures)


def _run(runner: Runner, lanes: Lanes) -> tuple[Results, list[Failure]]:
    try:
        runner.compile(lanes)
    except (OutputError, MemoryError):
        raise
    except Exception as error:  # whatever the function raises while it is traced
        return _nothing(runner, lanes, error)
    try:
        results = runner.run(lanes)
    except RuntimeError as error:  # raised inside a call, it does not say where
        if len(lanes.place) == 1:
            return _nothing(runner, lanes, error)
        pieces = [_run(runner, lanes.take(slice(place, place + 1))) for place in range(len(lanes.place))]
        merged = {name: np.concatenate([results[name] for results, _ in pieces]) for name in pieces[0][0]}
        return merged, [failure for _, failed in pieces for failure in failed]
    bad = results[FAILED] = _unfinished(results)
    for values in results.values():
        if values.dtype.kind == "f":
            values[bad] = np.nan
    reason = "the flow stopped early or diverged" if _SUCCEEDED in results else "a result is NaN or infinite"
    return results, [Failure(int(lanes.cell[i]), int(lanes.repeat[i]), reason) for i in np.flatnonzero(bad)]


def _unfinished(results: Results) -> Bool[np.ndarray, " lanes"]:
    bad = np.zeros(len(next(iter(results.values()))), bool)
    for name, values in results.items():
        if values.dtype.kind == "f":
            bad |= ~np.isfinite(values).reshape(len(bad), -1).all(axis=1)
        elif name == _SUCCEEDED and values.dtype.kind == "b":
            bad |= ~values.reshape(len(bad), -1).all(axis=1)
    return bad


def _nothing(runner: Runner, lanes: Lanes, error: Exception) -> tuple[Results, list[Failure]]:
    count = len(lanes.place)
    empty = {
        name: np.full((count, *output.shape), np.nan if output.dtype.kind == "f" else 0, output.dtype)
        for name, output in runner.outputs.items()
    }
    why = reason(error)
    failures = [Failure(int(cell), int(draw), why) for cell, draw in zip(lanes.cell, lanes.repeat, strict=True)]
    return {**empty, FAILED: np.ones(count, bool)}, failures


def reason(error: Exception) -> str:
    """The line of an error that says what it is."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    # an error raised inside a compiled program comes with the traceback of its callback before it
    found = [line.partition("Error: ")[2] for line in lines if re.match(r"\w+Error: ", line)] or lines
    plain = found and isinstance(error, ValueError | RuntimeError)  # whose words are whole sentences
    return found[0] if plain else f"{type(error).__name__}: {error}"
