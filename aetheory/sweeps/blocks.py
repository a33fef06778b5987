"""Blocks: the parts of a grid that are computed and stored together, and the evaluations that fail in them."""

import itertools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from aetheory.sweeps.grid import Grid
from aetheory.sweeps.programs import MAX_BYTES, MAX_EVALUATIONS, Evaluations, OutputError, Results, Runner
from aetheory.sweeps.tasks import Group, Program, Task

FAILED = "failed"
_SUCCEEDED = "succeeded"

MIN_BLOCKS = 64
"""A sweep of flows on a CPU has at least this many blocks, so that cores share them and a stop loses little."""

Region = tuple[slice, ...]
"""A hyper-rectangle of the grid and its repeats."""


class Failure(NamedTuple):
    """An evaluation without a finite result: its cell, its repeat, and the reason."""

    cell: int
    repeat: int
    reason: str


class Block(NamedTuple):
    """Results of the evaluations of a block, `failed` among them, and the failures."""

    results: Results
    failures: list[Failure]


class Plan:
    """The groups of a sweep's cells, and its evaluations: one for each cell and repeat.

    Arguments:
        task: the computation.
        grid: of the cells.
        num_repeats: of each cell; `None` for one repeat without an axis of its own.
    """

    def __init__(self, task: Task, grid: Grid, num_repeats: int | None) -> None:
        self.task, self.grid, self.num_repeats = task, grid, num_repeats
        repeats = () if num_repeats is None else (num_repeats,)
        self.dims = (*grid.axes, *["repeat"][: len(repeats)])
        self.shape = (*grid.shape, *repeats)
        self.groups, self._number = task.groups(grid)
        self.size = math.prod(self.shape)

    def programs(self) -> dict[Program, Evaluations]:
        """Evaluations in the first and in the last cell of each program, with the costliest program first."""
        found: dict[Program, Evaluations] = {}
        for number in sorted(range(len(self.groups)), key=lambda number: -self.groups[number].size):
            if self.groups[number].program not in found:
                cells = np.flatnonzero(self._number == number)[[0, -1]]
                found[self.groups[number].program] = self.evaluations_of(self.groups[number], cells)
        return found

    def num_evaluations(self) -> dict[Program, int]:
        """How many evaluations each program has."""
        counts = {group.program: 0 for group in self.groups}
        for group, cells in zip(self.groups, np.bincount(self._number, minlength=len(self.groups)), strict=True):
            counts[group.program] += int(cells) * (self.num_repeats or 1)
        return counts

    def block_size(self, bytes_each: int, platform: str) -> int:
        """How many evaluations a block has: about 1000, and fewer where results are large or flows are few."""
        size = min(MAX_EVALUATIONS, MAX_BYTES // bytes_each)
        if platform == "cpu" and all(group.cpu_batch == 1 for group in self.groups):
            size = min(size, -(-self.size // MIN_BLOCKS))
        return max(1, size)

    def block_shape(self, block_size: int) -> tuple[int, ...]:
        """The shape of a block of at most `block_size` evaluations, which belong to one group."""
        number = self._number.reshape(self.grid.shape)
        splits = [bool((number != number.take([0], axis)).any()) for axis in range(number.ndim)]
        splits += [False] * (len(self.shape) - number.ndim)
        sizes, left = [1] * len(self.shape), block_size
        for axis in reversed(range(len(self.shape))):
            if not splits[axis]:
                sizes[axis] = min(self.shape[axis], left)
                left = max(1, left // sizes[axis])
        return tuple(sizes)

    def program(self, region: Region) -> Program:
        """The program of the first cell of a block."""
        corner = [part.start for part in region[: len(self.grid.shape)]]
        return self.groups[int(self._number[np.ravel_multi_index(corner, self.grid.shape)])].program

    def evaluations(self, region: Region, wanted: Bool[np.ndarray, "..."]) -> Evaluations:
        """The wanted evaluations of a block, which are of one group; `wanted` has the block's shape."""
        index = [within + part.start for within, part in zip(np.nonzero(wanted), region, strict=True)]
        cells = np.ravel_multi_index(index[: len(self.grid.shape)], self.grid.shape)
        repeat = index[-1] if self.num_repeats is not None else np.zeros_like(cells)
        return self.evaluations_of(self.groups[self._number[cells[0]]], cells, repeat)

    def evaluations_of(
        self, group: Group, cells: Int[np.ndarray, " cells"], repeat: Int[np.ndarray, " cells"] | None = None
    ) -> Evaluations:
        """Evaluations of cells of one group, the first repeat of each where no others are given."""
        repeat = np.zeros(len(cells)) if repeat is None else repeat
        cell_inputs = group.varied(self.grid.columns(cells))
        key_data = self.grid.key_data(cells)
        return Evaluations(group, cells, key_data, repeat.astype(np.uint32), cell_inputs)


def regions(shape: tuple[int, ...], sizes: tuple[int, ...]) -> Iterator[Region]:
    """All blocks of these sizes; the last along each axis may be smaller."""
    axes = []
    for whole, size in zip(shape, sizes, strict=True):
        axes.append([slice(start, min(start + size, whole)) for start in range(0, whole, size)])
    yield from itertools.product(*axes)


def run_block(runner: Runner, evaluations: Evaluations) -> Block:
    """Run evaluations, and find out which of them fail and why."""
    try:
        runner.compile(evaluations)
    except OutputError:
        raise
    except Exception as error:  # whatever the function raises while it is traced
        return _all_failed(runner, evaluations, error)
    try:
        results = runner.run(evaluations)
    except RuntimeError as error:  # raised inside a call, it does not say by which evaluation
        half = len(evaluations.cell) // 2
        if half == 0:
            return _all_failed(runner, evaluations, error)
        first = run_block(runner, evaluations.take(slice(None, half)))
        second = run_block(runner, evaluations.take(slice(half, None)))
        both = {name: np.concatenate([values, second.results[name]]) for name, values in first.results.items()}
        return Block(both, first.failures + second.failures)
    bad = results[FAILED] = _unfinished(results)
    for values in results.values():
        if values.dtype.kind == "f":
            values[bad] = np.nan
    reason = "the flow stopped early or diverged" if _SUCCEEDED in results else "a result is NaN or infinite"
    failures = [Failure(int(evaluations.cell[i]), int(evaluations.repeat[i]), reason) for i in np.flatnonzero(bad)]
    return Block(results, failures)


def _unfinished(results: Results) -> Bool[np.ndarray, " evaluations"]:
    """Whether a result of an evaluation is not finite, or says that a flow did not finish."""
    bad = np.zeros(len(next(iter(results.values()))), bool)
    for name, values in results.items():
        if values.dtype.kind == "f":
            bad |= ~np.isfinite(values).reshape(len(bad), -1).all(axis=1)
        elif name == _SUCCEEDED and values.dtype.kind == "b":
            bad |= ~values.reshape(len(bad), -1).all(axis=1)
    return bad


def _all_failed(runner: Runner, evaluations: Evaluations, error: Exception) -> Block:
    count = len(evaluations.cell)
    results: Results = {FAILED: np.ones(count, bool)}
    for name, output in runner.outputs.items():
        fill = np.nan if output.dtype.kind == "f" else 0
        results[name] = np.full((count, *output.shape), fill, output.dtype)
    why = reason(error)
    cells, repeats = evaluations.cell.tolist(), evaluations.repeat.tolist()
    return Block(results, [Failure(cell, repeat, why) for cell, repeat in zip(cells, repeats, strict=True)])


def reason(error: Exception) -> str:
    """The line of an error's message that says what happened."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    # an error raised inside a compiled program comes after the traceback of its callback
    found = [line.partition("Error: ")[2] for line in lines if re.match(r"\w+Error: ", line)] or lines
    is_sentence = found and isinstance(error, ValueError | RuntimeError)
    return found[0] if is_sentence else f"{type(error).__name__}: {error}"
