"""What is run, and in which pieces: programs, and blocks of the grid that are stored whole."""

import itertools
import math
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped, UInt32

from aetheory.sweeps.grid import Grid
from aetheory.sweeps.keys import identity_words
from aetheory.sweeps.task import Task

_MOST_BLOCKS = 20_000
"""More files than this in a folder are a nuisance to copy and to list."""


Region = tuple[slice, ...]
"""A hyper-rectangle of the grid and its repeats."""


def num_lanes(region: Region) -> int:
    """How many evaluations a block has."""
    return math.prod(part.stop - part.start for part in region)


class Lanes(NamedTuple):
    """Some evaluations of one program; a lane is one cell and one repeat.

    Arguments:
        program: which program.
        place: where each result goes in the flattened block.
        cell: the cell of each, by its place in the flattened grid.
        words: two 32-bit numbers for each that name its cell, from which its key is derived.
        repeat: which draw of the cell each is.
        inputs: the real numbers that go into the program, one of each for each evaluation.
        constant: the names of those that are the same in all cells of the grid.
    """

    program: Hashable
    place: Int[np.ndarray, " lanes"]
    cell: Int[np.ndarray, " lanes"]
    words: UInt32[np.ndarray, "lanes 2"]
    repeat: UInt32[np.ndarray, " lanes"]
    inputs: dict[str, Shaped[np.ndarray, " lanes"]]
    constant: frozenset[str]

    def take(self, which: slice | Int[np.ndarray, " some"]) -> "Lanes":
        """Some of these evaluations."""
        inputs = {name: values[which] for name, values in self.inputs.items()}
        place, cell, words, repeat = (array[which] for array in (self.place, self.cell, self.words, self.repeat))
        return Lanes(self.program, place, cell, words, repeat, inputs, self.constant)


class Plan:
    """The programs of a sweep, and its lanes: one for each cell and repeat.

    Arguments:
        task: what is computed.
        grid: where.
        num_repeats: draws a cell; `None` for one without an axis of its own.
    """

    def __init__(self, task: Task, grid: Grid, num_repeats: int | None) -> None:
        self.task, self.grid, self.num_repeats = task, grid, num_repeats
        self.dims = grid.dims + (("repeat",) if num_repeats is not None else ())
        self.shape = grid.shape + ((num_repeats,) if num_repeats is not None else ())
        self.num_lanes = math.prod(self.shape)
        inputs = task.inputs(grid.columns(np.arange(math.prod(grid.shape))))
        self._constant = frozenset(name for name, values in inputs.items() if np.all(values == values[0]))
        self._static = set(task.static_names(grid))
        self._static_axes = [any(name in self._static for name in axis.parameters) for axis in grid.axes]
        combinations = [
            range(size) if static else range(1) for size, static in zip(grid.shape, self._static_axes, strict=True)
        ]
        own = {}
        for index in itertools.product(*combinations):
            cell = grid.cell(int(np.ravel_multi_index(index, grid.shape)))
            own[index] = task.program({name: value for name, value in cell.items() if name in self._static})
        self._programs = list(dict.fromkeys(own.values()))
        numbers = {program: number for number, program in enumerate(self._programs)}
        self._program_number = np.array([numbers[program] for program in own.values()]).reshape(
            [len(combination) for combination in combinations]
        )

    def program_of(self, cells: Int[np.ndarray, " cells"]) -> Int[np.ndarray, " cells"]:
        """The number of the program of some cells."""
        places = np.unravel_index(cells, self.grid.shape)
        index = tuple(
            place if static else np.zeros_like(place) for place, static in zip(places, self._static_axes, strict=True)
        )
        numbers: Int[np.ndarray, " cells"] = self._program_number[index]
        return numbers

    def costliest(self, num_programs: int = 1) -> list[Lanes]:
        """The lane that is expected to take longest in each program, those of the costliest programs first."""
        cells = np.arange(math.prod(self.grid.shape))
        program = self.program_of(cells)
        order = np.argsort(-self.task.work(self.grid.columns(cells)), kind="stable")
        _, first = np.unique(program[order], return_index=True)
        chosen = cells[order[np.sort(first)[:num_programs]]]
        return [
            self._lanes(np.zeros(1, int), cell, np.zeros(1, np.uint32), int(program[cell[0]]))
            for cell in chosen[:, None]
        ]

    def block_shape(self, most_lanes: int) -> tuple[int, ...]:
        """Sizes of a block of at most `most_lanes` lanes: whole trailing axes first, one program where possible."""
        sizes = [1] * len(self.shape)
        static = [*self._static_axes, False][: len(self.shape)]
        room = max(1, most_lanes)
        for last_resort in (False, True):
            for axis in reversed(range(len(self.shape))):
                if static[axis] != last_resort:
                    continue
                if last_resort and self._num_blocks(sizes) <= _MOST_BLOCKS:
                    continue
                sizes[axis] = min(self.shape[axis], room)
                room = max(1, room // sizes[axis])
        return tuple(sizes)

    def _num_blocks(self, sizes: list[int]) -> int:
        return math.prod(-(-whole // size) for whole, size in zip(self.shape, sizes, strict=True))

    def blocks(self, sizes: tuple[int, ...]) -> list[Region]:
        """The regions of all blocks, the costliest first, those that share a program together."""
        starts = [range(0, whole, size) for whole, size in zip(self.shape, sizes, strict=True)]
        regions = [
            tuple(
                slice(start, min(start + size, whole))
                for start, size, whole in zip(begin, sizes, self.shape, strict=True)
            )
            for begin in itertools.product(*starts)
        ]
        corners = np.ravel_multi_index(
            tuple(np.array([region[axis].start for region in regions]) for axis in range(len(self.grid.shape))),
            self.grid.shape,
        )
        work = self.task.work(self.grid.columns(corners))
        program = self.program_of(corners)
        heaviest = {number: work[program == number].max() for number in np.unique(program)}
        order = sorted(range(len(regions)), key=lambda i: (-heaviest[program[i]], program[i], -work[i]))
        return [regions[i] for i in order]

    def lanes(self, region: Region) -> Iterator[Lanes]:
        """The evaluations of a block, by program, neighbours alike in their number of solver steps."""
        shape = tuple(part.stop - part.start for part in region)
        places = np.unravel_index(np.arange(math.prod(shape)), shape)
        index = tuple(place + part.start for place, part in zip(places, region, strict=True))
        cells = np.ravel_multi_index(index[: len(self.grid.shape)], self.grid.shape)
        repeat = (index[-1] if self.num_repeats is not None else np.zeros_like(cells)).astype(np.uint32)
        order = np.argsort(-self.task.work(self.grid.columns(cells)), kind="stable")
        program = self.program_of(cells)[order]
        for number in np.unique(program):
            chosen = order[program == number]
            yield self._lanes(chosen, cells[chosen], repeat[chosen], int(number))

    def _lanes(
        self,
        place: Int[np.ndarray, " lanes"],
        cells: Int[np.ndarray, " lanes"],
        repeat: UInt32[np.ndarray, " lanes"],
        number: int,
    ) -> Lanes:
        words = identity_words(self.grid.identities(cells))
        inputs = self.task.inputs(self.grid.columns(cells))
        return Lanes(self._programs[number], place, cells, words, repeat, inputs, self._constant)

    def work(self, region: Region) -> float:
        """The expected cost of a block, in any unit."""
        cells = np.arange(math.prod(self.grid.shape)).reshape(self.grid.shape)[region[: len(self.grid.shape)]].ravel()
        repeats = region[-1].stop - region[-1].start if self.num_repeats is not None else 1
        return float(self.task.work(self.grid.columns(cells)).sum()) * repeats

    @property
    def num_evaluations(self) -> dict[Hashable, int]:
        """How many evaluations each program has."""
        cells = np.arange(math.prod(self.grid.shape))
        counts = np.bincount(self.program_of(cells), minlength=len(self._programs))
        return {
            program: int(count) * (self.num_repeats or 1) for program, count in zip(self._programs, counts, strict=True)
        }
