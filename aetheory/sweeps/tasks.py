"""What a sweep computes in a cell: a program that is compiled, and the arrays that go into it."""

import abc
import hashlib
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from aetheory.core.checks import fail
from aetheory.core.curve import Curve
from aetheory.sweeps.grid import Grid, is_real

Cell = dict[str, Any]
"""The parameters of one cell, or of many as columns."""


class OverTime(NamedTuple):
    """Results of a cell: arrays with a leading axis of times, and others."""

    curves: dict[str, Any]
    others: dict[str, Any]


class Program(NamedTuple):
    """What is compiled: `function(fixed, shared, varied, key)`, a program of its own for each function and `fixed`."""

    function: Callable[..., Any]
    fixed: Any

    def __call__(self, shared: PyTree, varied: PyTree, key: PRNGKeyArray) -> Any:
        """The results of one cell and one draw: an `OverTime`, or any pytree of arrays."""
        return self.function(self.fixed, shared, varied, key)


class Group(NamedTuple):
    """Cells with a program and with inputs in common.

    Arguments:
        program: what they run.
        shared: inputs that are the same in all of them: what follows from these alone is computed once in a call.
        varied: the other inputs of some cells, from their parameters, with a leading axis of cells.
        size: the larger, the costlier an evaluation presumably is.
        compiler: options of XLA for the program on a CPU; left out by versions that do not know them.
    """

    program: Program
    shared: PyTree
    varied: Callable[[Cell], PyTree]
    size: float
    compiler: Mapping[str, Any] = MappingProxyType({})


Groups = tuple[list[Group], Int[np.ndarray, " cells"]]
"""The groups, and the number of the one that each cell belongs to."""


class Task(abc.ABC):
    """What a sweep computes. A plain function of (parameters, key) is made into one by `as_task`."""

    dims: Mapping[str, Sequence[str]] = {}
    """Names of the dimensions of results, where they are not the ones of a curve."""
    coordinates: Mapping[str, Any] = {}
    """Values along dimensions of the results."""
    is_own: bool = False
    """Whether settings and the package's version say all that it computes, so that no program need be read."""

    @abc.abstractmethod
    def groups(self, grid: Grid) -> Groups:
        """What cells have in common.

        Raises:
            ValueError: a grid that the task cannot be computed on.
        """

    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the results depend on besides grid, key and program, as JSON can hold it; "function" among it."""


class FunctionTask(Task):
    """A plain function of (parameters, key); see `aetheory.sweep` for the arguments."""

    def __init__(self, function: Callable[..., Any], static: Sequence[str] | None, dims: Any, coordinates: Any) -> None:
        self._function, self._static = function, static
        self.dims, self.coordinates = dict(dims or {}), dict(coordinates or {})

    def groups(self, grid: Grid) -> Groups:
        """One for each combination of the static parameters: all that are not real numbers where none are named."""
        static = [name for name, values in grid.parameters.items() if not any(map(is_real, values))]
        static = static if self._static is None else list(self._static)
        for name in set(static) - grid.parameters.keys():
            raise fail("static", f"made of the grid's parameters {list(grid.parameters)}", name)
        for name, values in grid.parameters.items():
            if isinstance(values[0], str) and name not in static:
                raise fail("static", f"inclusive of '{name}', which holds strings", static)
        combinations, number = grid.combinations(static)
        traced = [name for name in grid.parameters if name not in static]
        programs = [Program(self._call, tuple(sorted(own.items()))) for own in combinations]
        groups = [columns_group(program, grid, traced, dict(program.fixed)) for program in programs]
        return groups, number

    def _call(self, fixed: Any, shared: Cell, varied: Cell, key: PRNGKeyArray) -> Any:
        result = self._function({**shared, **varied, **dict(fixed)}, key)
        return measured(result) if isinstance(result, Curve) else result

    def settings(self) -> dict[str, Any]:
        """The function's name and the digest of its source."""
        target = inspect.unwrap(getattr(self._function, "func", self._function))
        kind = target if inspect.isroutine(target) else type(target)
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            source = repr(getattr(getattr(kind, "__code__", None), "co_code", b""))
        return {"function": f"{kind.__module__}.{kind.__qualname__}", "source": digest(source.encode())}


def measured(curve: Curve) -> OverTime:
    """A curve's values under the names that `Curve.to_xarray` gives them."""
    curves: dict[str, Any] = {"times": curve.times}
    for suffix in ("", "_std", "_lower", "_upper"):
        values = getattr(curve, suffix[1:] or "values")
        curves |= {} if values is None else {f"{name}{suffix}": array for name, array in values.items()}
    return OverTime(curves, outcome(curve.stats))


def outcome(stats: Any) -> dict[str, Any]:
    """Steps and success of the solver, of all repeats in one, where there is one."""
    return {} if stats is None else {"num_steps": stats.num_steps.max(), "succeeded": stats.succeeded.all()}


def columns_group(program: Program, grid: Grid, traced: Collection[str], own: Cell, kind: Any = None) -> Group:
    """The traced parameters as they are, or of this kind; those of one value in the whole grid are shared."""
    varying = [name for name in traced if len(set(grid.parameters[name])) > 1]
    shared = {name: np.asarray(grid.parameters[name][0], kind) for name in traced if name not in varying}

    def varied(columns: Cell) -> dict[str, Any]:
        return {name: columns[name].astype(kind or columns[name].dtype) for name in varying}

    return Group(program, shared, varied, size_of(own))


def size_of(numbers: Mapping[str, Any]) -> float:
    """The product of the whole numbers: the larger, the costlier."""
    return float(math.prod(value for value in numbers.values() if isinstance(value, int) and value > 0))


def described(value: Any) -> Any:
    """As JSON can hold it; an array by its digest."""
    if isinstance(value, np.ndarray | Array):
        return f"{value.dtype}{list(value.shape)} {digest(np.asarray(value).tobytes())}"
    if isinstance(value, tuple | list):
        return [described(one) for one in value]
    return value if isinstance(value, str | int | float | None) else str(value)


def digest(content: bytes) -> str:
    """What tells one content from another."""
    return hashlib.blake2b(content, digest_size=12).hexdigest()


def as_task(function: Any, static: Any = None, dims: Any = None, coordinates: Any = None) -> Task:
    """`function` itself where it is a task already, otherwise a `FunctionTask`.

    Raises:
        ValueError: not callable, or options for a task that knows them itself.
    """
    if not isinstance(function, Task):
        if not callable(function):
            raise fail("function", "a function of (parameters, key), a Simulation or a Prediction", function)
        return FunctionTask(function, static, dims, coordinates)
    for name, value in {"static": static, "dims": dims, "coordinates": coordinates}.items():
        if value is not None:
            raise fail(name, f"None for a {type(function).__name__}, which knows its own", value)
    return function
