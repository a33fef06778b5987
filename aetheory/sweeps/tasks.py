"""Tasks: which cells of a grid share a compiled program, and which arrays go into it."""

import abc
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from aetheory.core.checks import fail
from aetheory.core.curve import Curve
from aetheory.core.store import content_digest
from aetheory.sweeps.grid import Grid, is_real

Cell = dict[str, Any]
"""The parameters of one cell, or of many cells as columns."""


class OverTime(NamedTuple):
    """Results of a cell: curves, which are arrays with a leading axis of times, and other arrays."""

    curves: dict[str, Any]
    others: dict[str, Any]


class Program(NamedTuple):
    """A function to compile: `function(fixed, inputs, key)`, with `fixed` known when it is compiled."""

    function: Callable[..., Any]
    fixed: Any

    def __call__(self, inputs: dict[str, Any], key: PRNGKeyArray) -> Any:
        """The results of one cell and one repeat: an `OverTime`, or any pytree of arrays."""
        return self.function(self.fixed, inputs, key)


class Group(NamedTuple):
    """Cells that share a program and some of its inputs.

    Arguments:
        label: the parameters that all cells have in common, as text.
        program: to run.
        shared: inputs that are the same in all cells. What follows from them alone is computed once in a call.
        varied: from the parameters of several cells, the other inputs, with a leading axis of cells.
        size: an estimate of the cost of an evaluation, up to a factor.
        cpu_batch: how many evaluations to vectorise on a CPU.
        compiler_options: of XLA on a CPU.
        preparation: what the inputs are made by before the program runs, for its digest.
    """

    label: str
    program: Program
    shared: dict[str, Any]
    varied: Callable[[Cell], dict[str, Any]]
    size: float
    cpu_batch: int = 1
    compiler_options: Mapping[str, Any] = MappingProxyType({})
    preparation: Callable[[], Any] = lambda: None


Groups = tuple[list[Group], Int[np.ndarray, " cells"]]
"""The groups, and the number of the group of each cell."""


class Task(abc.ABC):
    """A computation for every cell of a grid. `as_task` makes one of a function of (parameters, key)."""

    dims: Mapping[str, Sequence[str]] = {}
    """Names of the dimensions of results, where they differ from those of a curve."""
    coordinates: Mapping[str, Any] = {}
    """Values along dimensions of the results."""

    @abc.abstractmethod
    def groups(self, grid: Grid) -> Groups:
        """The groups of cells that share a program.

        Raises:
            ValueError: the task cannot be computed on this grid.
        """

    def groups_for_digest(self, grid: Grid) -> Groups:
        """Groups whose programs determine what is computed; by default those that run."""
        return self.groups(grid)

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the results depend on besides grid, key and programs, as JSON can hold it; "function" among it."""


class FunctionTask(Task):
    """A function of (parameters, key); see `aetheory.sweep` for the arguments."""

    def __init__(self, function: Callable[..., Any], static: Sequence[str] | None, dims: Any) -> None:
        self._function, self._static, self.dims = function, static, dict(dims or {})

    def groups(self, grid: Grid) -> Groups:
        """A group for each combination of the static parameters."""
        static = [name for name, values in grid.parameters.items() if not any(map(is_real, values))]
        if self._static is not None:
            static = list(self._static)
        for name in set(static) - grid.parameters.keys():
            raise fail("static", f"made of the grid's parameters {list(grid.parameters)}", name)
        for name, values in grid.parameters.items():
            if isinstance(values[0], str) and name not in static:
                raise fail("static", f"inclusive of '{name}', which holds strings", static)
        return self._grouped(grid, static)

    def _grouped(self, grid: Grid, static: Sequence[str]) -> Groups:
        combinations, number = grid.combinations(static)
        traced = [name for name in grid.parameters if name not in static]
        groups = []
        for fixed in combinations:
            program = Program(self._call, tuple(sorted(fixed.items())))
            groups.append(columns_group(program, grid, traced, fixed))
        return groups, number

    def groups_for_digest(self, grid: Grid) -> Groups:
        """The groups, without a group for each integer where the function can be traced for an unknown integer.

        Otherwise a long axis of integers would be traced once for every value, each time that a store is opened.
        """
        groups, number = self.groups(grid)
        fixed = dict(groups[0].program.fixed)
        integers = [name for name, value in fixed.items() if type(value) is int]
        if not integers:
            return groups, number
        first = grid.cell(0)
        traced = traceable(lambda cell: self._call((), cell, jax.random.key(0)), first, integers, int)
        return self._grouped(grid, [name for name in fixed if name not in traced])

    def _call(self, fixed: Any, inputs: dict[str, Any], key: PRNGKeyArray) -> Any:
        result = self._function({**inputs, **dict(fixed)}, key)
        return curve_results(result) if isinstance(result, Curve) else result

    def settings(self) -> dict[str, Any]:
        """The function's name; the digest of its program says what it computes."""
        target = inspect.unwrap(getattr(self._function, "func", self._function))
        kind = target if inspect.isroutine(target) else type(target)
        return {"function": f"{kind.__module__}.{kind.__qualname__}"}


def curve_results(curve: Curve) -> OverTime:
    """A curve's values under the names that `Curve.to_xarray` gives them."""
    curves: dict[str, Any] = {"times": curve.times}
    for suffix, values in (("", curve.values), ("_std", curve.std), ("_lower", curve.lower), ("_upper", curve.upper)):
        if values is not None:
            curves |= {f"{name}{suffix}": array for name, array in values.items()}
    return OverTime(curves, solver_results(curve.stats))


def solver_results(stats: Any) -> dict[str, Any]:
    """Steps and success of the solver over all repeats; empty where there was no solver."""
    return {} if stats is None else {"num_steps": stats.num_steps.max(), "succeeded": stats.succeeded.all()}


def columns_group(program: Program, grid: Grid, traced: Collection[str], fixed: Cell, dtype: Any = None) -> Group:
    """A group whose inputs are the traced parameters; those with one value in the whole grid are shared."""
    varying = [name for name in traced if len(set(grid.parameters[name])) > 1]
    shared = {name: np.asarray(grid.parameters[name][0], dtype) for name in traced if name not in varying}

    def varied(columns: Cell) -> dict[str, Any]:
        return {name: columns[name].astype(dtype or columns[name].dtype) for name in varying}

    return Group(label_of(fixed), program, shared, varied, size_of(fixed))


def label_of(fixed: Cell) -> str:
    """Parameters as text."""
    return ", ".join(f"{name} = {value}" for name, value in fixed.items()) or "all cells"


def size_of(numbers: Mapping[str, Any]) -> float:
    """The product of all integers: an estimate of the cost."""
    return float(math.prod(value for value in numbers.values() if isinstance(value, int) and value > 0))


def traceable(compute: Callable[[Cell], Any], cell: Cell, names: Sequence[str], kind: type = float) -> list[str]:
    """The parameters that may be traced in `compute`: all of them together, or else each that may be traced alone."""

    def works(chosen: Sequence[str]) -> bool:
        try:
            jax.eval_shape(lambda traced: compute({**cell, **traced}), {name: kind(cell[name]) for name in chosen})
        except Exception:  # whatever a user's function raises
            return False
        return True

    return list(names) if works(names) else [name for name in names if works([name])]


def described(value: Any) -> Any:
    """A value as JSON can hold it; an array by its digest."""
    if isinstance(value, np.ndarray | Array):
        return f"{value.dtype}{list(value.shape)} {content_digest(value)}"
    if isinstance(value, tuple | list):
        return [described(one) for one in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def as_task(function: Any, static: Any = None, dims: Any = None) -> Task:
    """`function` itself where it is a task already, otherwise a `FunctionTask`.

    Raises:
        ValueError: it cannot be called, or there are options for a task that has its own.
    """
    if not isinstance(function, Task):
        if not callable(function):
            raise fail("function", "a function of (parameters, key), a Simulation or a Prediction", function)
        return FunctionTask(function, static, dims)
    for name, value in {"static": static, "dims": dims}.items():
        if value is not None:
            raise fail(name, f"None for a {type(function).__name__}, which has its own", value)
    return function
