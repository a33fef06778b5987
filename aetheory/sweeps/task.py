"""What a sweep computes in a cell."""

import hashlib
import inspect
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from aetheory.core.checks import fail
from aetheory.core.curve import Curve
from aetheory.sweeps.grid import Grid, Value

_CURVE_NAMES = tuple(
    f"{name}{end}"
    for name in ("times", "train", "population", "risk", "distance", "correlation")
    for end in ("", "_lower", "_upper", "_std")
)

Columns = dict[str, Shaped[np.ndarray, " cells"]]
"""The parameters of some cells, one array for each."""


@runtime_checkable
class Task(Protocol):
    """What a sweep computes in a cell, split into a program that is compiled and the numbers that go in.

    A plain function of (parameters, key) is made into one by `as_task`; `Simulation` and `Prediction` are others.
    """

    def check(self, grid: Grid) -> None:
        """Raise ValueError for a grid that the task cannot be computed on."""

    def static_names(self, grid: Grid) -> tuple[str, ...]:
        """The parameters that decide which program a cell runs."""

    def program(self, parameters: Mapping[str, Value]) -> Hashable:
        """All that the program of a cell is compiled for, from its static parameters."""

    def inputs(self, columns: Columns) -> Columns:
        """The real numbers that go into the programs of some cells, computed from their parameters."""

    def work(self, columns: Columns) -> Float[np.ndarray, " cells"]:
        """The expected cost of some cells in any unit: neighbours in this order take about as many solver steps."""

    def evaluate(self, program: Hashable, inputs: Mapping[str, Shaped[Array, ""]], key: PRNGKeyArray) -> PyTree:
        """The result of one cell and one draw: pure and traceable."""

    def compiler_options(self, platform: str) -> dict[str, Any]:
        """Options of XLA for the task's programs on "cpu", "gpu", …; left out by versions that do not know them."""

    def settings(self) -> dict[str, Any]:
        """What the results depend on besides grid and key, in words and numbers that JSON can hold."""

    def dims(self) -> Mapping[str, Sequence[str]]:
        """Names of the dimensions of each result."""

    def coordinates(self) -> Mapping[str, Any]:
        """The values along these dimensions, where they have any."""


class FunctionTask:
    """A plain function of (parameters, key); see `aetheory.sweep` for the arguments."""

    def __init__(
        self,
        function: Any,
        static: Sequence[str] | None,
        dims: Mapping[str, Sequence[str]] | None,
        coordinates: Mapping[str, Any] | None,
    ) -> None:
        if not callable(function):
            raise fail("function", "a function of (parameters, key), a Simulation or a Prediction", function)
        self._function = function
        self._static = static
        self._dims = dict(dims or {})
        self._coordinates = dict(coordinates or {})

    def check(self, grid: Grid) -> None:
        """Raise ValueError where `static` names no parameter, or a parameter that is no number is not static."""
        names = self.static_names(grid)
        for name in names:
            if name not in grid.names:
                raise fail("static", f"made of the grid's parameters {list(grid.names)}", name)
        for axis in grid.axes:
            for name, values in axis.parameters.items():
                if name not in names and isinstance(values[0], str):
                    raise fail("static", f"inclusive of '{name}', which holds strings", list(names))

    def static_names(self, grid: Grid) -> tuple[str, ...]:
        """Those named at construction, or those that hold integers, booleans or strings only."""
        return grid.static_names() if self._static is None else tuple(self._static)

    def program(self, parameters: Mapping[str, Value]) -> Hashable:
        """The static parameters themselves."""
        return tuple(sorted(parameters.items()))

    def inputs(self, columns: Columns) -> Columns:
        """The parameters as they are."""
        return {name: values for name, values in columns.items() if values.dtype.kind in "fiub"}

    def work(self, columns: Columns) -> Float[np.ndarray, " cells"]:
        """All alike: nothing is known."""
        return np.ones(len(next(iter(columns.values()))))

    def evaluate(self, program: Hashable, inputs: Mapping[str, Shaped[Array, ""]], key: PRNGKeyArray) -> PyTree:
        """Call the function."""
        static = dict(program)  # type: ignore[call-overload]
        result = self._function({**inputs, **static}, key)
        return _curve_results(result) if isinstance(result, Curve) else result

    def compiler_options(self, platform: str) -> dict[str, Any]:
        """None."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The function's name and the digest of its source."""
        target = inspect.unwrap(getattr(self._function, "func", self._function))
        kind = target if inspect.isroutine(target) else type(target)
        try:
            source = inspect.getsource(kind)
        except (OSError, TypeError):
            source = repr(getattr(getattr(kind, "__code__", None), "co_code", b""))
        return {
            "function": f"{kind.__module__}.{kind.__qualname__}",
            "source": hashlib.blake2b(source.encode(), digest_size=12).hexdigest(),
        }

    def dims(self) -> Mapping[str, Sequence[str]]:
        """Those given at construction; those of a `Curve`."""
        return {**dict.fromkeys(_CURVE_NAMES, ("time",)), **self._dims}

    def coordinates(self) -> Mapping[str, Any]:
        """Those given at construction."""
        return self._coordinates


def _curve_results(curve: Curve) -> dict[str, Any]:
    """A curve's values under the names that `Curve.to_xarray` gives them."""
    results: dict[str, Any] = {"times": curve.times}
    for suffix in ("", "_std", "_lower", "_upper"):
        values = getattr(curve, suffix[1:] or "values")
        results |= {} if values is None else {f"{name}{suffix}": array for name, array in values.items()}
    if curve.stats is not None:
        results |= {"num_steps": curve.stats.num_steps.max(), "succeeded": curve.stats.succeeded.all()}
    return results


def as_task(
    function: Any,
    static: Sequence[str] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    coordinates: Mapping[str, Any] | None = None,
) -> Task:
    """`function` itself where it is a task already, otherwise a `FunctionTask`.

    Raises:
        ValueError: not callable, or options for a task that knows them itself.
    """
    if isinstance(function, Task):
        for name, value in {"static": static, "dims": dims, "coordinates": coordinates}.items():
            if value is not None:
                raise fail(name, f"None for a {type(function).__name__}, which knows its own", value)
        return function
    return FunctionTask(function, static, dims, coordinates)


def program_digest(closed: Any) -> str:
    """A digest of a traced program, its constants included: what a function computes, whatever it is called."""
    digest = hashlib.blake2b(re.sub(r"0x[0-9a-f]+", "", str(closed)).encode(), digest_size=12)
    for constant in closed.consts:
        if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
            constant = jax.random.key_data(constant)
        digest.update(np.asarray(constant).tobytes())
    return digest.hexdigest()
