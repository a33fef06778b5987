"""Compiling the programs of a sweep and running their evaluations on the devices of one process."""

import itertools
import math
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array, Int, PRNGKeyArray, PyTree, Shaped, UInt32

from aetheory.core.checks import fail
from aetheory.core.memory import device_memory
from aetheory.sweeps.grid import derive_key
from aetheory.sweeps.tasks import Group, OverTime, Program

MAX_EVALUATIONS, MAX_BYTES = 1024, 64_000_000
"""Evaluations and bytes of results that a block has at most, and a call of a compiled program returns at most."""

_COPIES = 32
"""Arrays as large as the largest that an evaluation on an accelerator is assumed to need."""

Results = dict[str, Shaped[np.ndarray, "evaluations ..."]]


class Output(NamedTuple):
    """Shape and type of one result of a cell, and the names of its dimensions where it belongs to a curve."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: tuple[str, ...] | None = None


class Evaluations(NamedTuple):
    """Evaluations of one group: a cell and a repeat each.

    Arguments:
        group: of the cells.
        cell: the number of the cell.
        key_data: two integers for each cell, from which its random key is derived.
        repeat: the number of the repeat.
        cell_inputs: the group's varied inputs.
    """

    group: Group
    cell: Int[np.ndarray, " evaluations"]
    key_data: UInt32[np.ndarray, "evaluations 2"]
    repeat: UInt32[np.ndarray, " evaluations"]
    cell_inputs: dict[str, Any]

    def take(self, which: slice | Int[np.ndarray, " some"]) -> "Evaluations":
        """Some of these evaluations."""
        return Evaluations(self.group, *jax.tree.map(lambda array: array[which], tuple(self[1:])))


class _Compiled(NamedTuple):
    """A program for up to `capacity` evaluations, `width` of them vectorised."""

    call: Any
    width: int
    capacity: int


class OutputError(ValueError):
    """Results that are no arrays, or have other shapes or types than in other cells."""


class Runner:
    """Compiles each program once for a device and runs evaluations on the devices of this process.

    On a device, a loop runs over batches of a fixed width, so that a result does not depend on the other evaluations of
    its call. Each thread that calls has a device of its own, in turn.

    Arguments:
        key: the sweep's key.
        dtype: precision of the real inputs; `None` for JAX's default.
        devices: devices of one kind.
        num_evaluations: of each program, which bounds how many an accelerator vectorises.
    """

    def __init__(
        self, key: PRNGKeyArray, dtype: Any, devices: list[jax.Device], num_evaluations: Mapping[Program, int]
    ) -> None:
        self.key, self.devices, self._num_evaluations = key, devices, num_evaluations
        self.dtype = np.dtype(jax.dtypes.canonicalize_dtype(dtype or float))
        self._single_programs: dict[Program, Any] = {}
        self._compiled: dict[Any, _Compiled] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock, self._thread, self._turn = threading.Lock(), threading.local(), itertools.count()
        self.outputs: dict[str, Output] = {}
        self.compile_seconds = 0.0

    @property
    def bytes_each(self) -> int:
        """Bytes of one cell's results."""
        return max(1, sum(math.prod(output.shape) * output.dtype.itemsize for output in self.outputs.values()))

    def trace(self, evaluations: Evaluations) -> Any:
        """The traced program of one evaluation."""
        shared, key_data, repeat, varied = self._arguments(evaluations.take(slice(0, 1)))
        inputs = {**shared, **{name: leaf[0] for name, leaf in varied.items()}}
        return self._single(evaluations.group.program).trace(self.key, inputs, key_data[0], repeat[0])

    def check(self, evaluations: Evaluations) -> None:
        """Find the shapes and types of the results without compiling.

        Raises:
            ValueError: they differ from those of other programs.
        """
        curves, others = self.trace(evaluations).out_info
        outputs = {}
        for name, leaf in curves.items():
            dims = ("time", *(f"{name}_{axis}" for axis in range(len(leaf.shape) - 1)))
            outputs[name] = Output(leaf.shape, np.dtype(leaf.dtype), dims)
        for name, leaf in others.items():
            outputs[name] = Output(leaf.shape, np.dtype(leaf.dtype))
        label = evaluations.group.label
        if not outputs:
            raise OutputError(str(fail("function", "a function that returns arrays", label)))
        with self._lock:
            self.outputs = self.outputs or outputs
        if outputs != self.outputs:
            raise OutputError(
                f"Argument `function` must return arrays of one shape and type in all cells, but returns "
                f"{_as_text(self.outputs)} in the first and {_as_text(outputs)} for {label}."
            )

    def compile(self, evaluations: Evaluations) -> _Compiled:
        """The compiled program of these evaluations; each is compiled once for each device.

        Raises:
            ValueError: the results have other shapes or types than those of other programs.
        """
        if not hasattr(self._thread, "device"):
            self._thread.device = self.devices[next(self._turn) % len(self.devices)]
        name = (evaluations.group.program, self._thread.device)
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._compiled:
                start = time.perf_counter()
                self._compiled[name] = self._build(evaluations)
                with self._lock:
                    self.compile_seconds += time.perf_counter() - start
            return self._compiled[name]

    def run(self, evaluations: Evaluations) -> Results:
        """The results of evaluations, in their order; raises the errors of `compile`."""
        compiled = self.compile(evaluations)
        starts = range(0, len(evaluations.cell), compiled.capacity)
        pieces = [self._call(compiled, evaluations.take(slice(start, start + compiled.capacity))) for start in starts]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _call(self, compiled: _Compiled, evaluations: Evaluations) -> Results:
        count = len(evaluations.cell)
        # the last evaluation fills up what is left over; of those, only the rest of its batch is computed again
        filled = evaluations.take(np.minimum(np.arange(compiled.capacity), count - 1))
        num_batches = np.int32(-(-count // compiled.width))
        arguments = jax.device_put((self.key, num_batches, *self._arguments(filled)), self._thread.device)
        results = compiled.call(*arguments)
        return {name: np.array(values)[:count] for name, values in results.items()}

    def _arguments(self, evaluations: Evaluations) -> tuple[Any, ...]:
        """Shared inputs; and key data, repeat and varied inputs of each evaluation."""

        def cast(leaf: Any) -> Any:
            return leaf.astype(self.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

        shared, varied = jax.tree.map(cast, (evaluations.group.shared, evaluations.cell_inputs))
        return shared, evaluations.key_data, evaluations.repeat, varied

    def _single(self, program: Program) -> Any:
        """One evaluation as a compiled function; kept, because JAX remembers the trace of a function it has seen."""

        def single(key: Any, inputs: Any, key_data: Any, repeat: Any) -> OverTime:
            results = program(inputs, derive_key(key, key_data, repeat))
            if not isinstance(results, OverTime):
                results = OverTime({}, results)
            return OverTime(_named_leaves(results.curves), _named_leaves(results.others))

        with self._lock:
            return self._single_programs.setdefault(program, jax.jit(single))

    def _build(self, evaluations: Evaluations) -> _Compiled:
        self.check(evaluations)
        group = evaluations.group
        is_cpu = self.devices[0].platform == "cpu"
        width = group.cpu_batch if is_cpu else self._accelerator_width(evaluations)
        capacity = max(1, min(MAX_EVALUATIONS, MAX_BYTES // self.bytes_each) // width) * width
        lowered = self._lower(evaluations, width, capacity)
        try:
            return _Compiled(lowered.compile(dict(group.compiler_options) if is_cpu else {}), width, capacity)
        except jax.errors.JaxRuntimeError:  # of a version of XLA that does not know an option
            return _Compiled(lowered.compile(), width, capacity)

    def _accelerator_width(self, evaluations: Evaluations) -> int:
        """How many evaluations are estimated to fit into half of the memory of an accelerator; a power of two."""
        sizes = [1]
        for program in inner_programs(self.trace(evaluations).jaxpr):
            for equation in program.eqns:
                arrays = [variable.aval for variable in equation.outvars]
                sizes += [array.size * getattr(array.dtype, "itemsize", 8) for array in arrays]
        fitting = device_memory(self.devices[0]) // (2 * _COPIES * max(sizes))
        width = max(1, min(MAX_EVALUATIONS, fitting, self._num_evaluations[evaluations.group.program]))
        return int(1 << width.bit_length() - 1)

    def _lower(self, evaluations: Evaluations, width: int, capacity: int) -> Any:
        """A loop over batches of `width` evaluations, which returns arrays of `capacity` results."""
        single, outputs = self._single(evaluations.group.program), self.outputs

        def run(key: Any, num_batches: Any, shared: Any, *rest: Any) -> dict[str, Array]:
            def one(key_data: Any, repeat: Any, varied: Any) -> dict[str, Array]:
                curves, others = single(key, {**shared, **varied}, key_data, repeat)
                return {**curves, **others}

            def body(number: Any, results: dict[str, Array]) -> dict[str, Array]:
                start = number * width
                batch = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, width), rest)
                if width > 1:
                    new = jax.vmap(one)(*batch)
                else:
                    new = jax.tree.map(lambda leaf: leaf[None], one(*jax.tree.map(lambda leaf: leaf[0], batch)))
                write = jax.lax.dynamic_update_slice_in_dim
                return {name: write(values, new[name], start, 0) for name, values in results.items()}

            empty = {name: jnp.zeros((capacity, *output.shape), output.dtype) for name, output in outputs.items()}
            results: dict[str, Array] = jax.lax.fori_loop(0, num_batches, body, empty)
            return results

        placed = SingleDeviceSharding(self._thread.device)
        arguments = (self.key, np.int32(0), *self._arguments(evaluations.take(np.zeros(capacity, int))))
        shapes = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=placed),  # type: ignore[no-untyped-call]
            jax.eval_shape(lambda *leaves: leaves, *arguments),
        )
        return jax.jit(run).lower(*shapes)


def inner_programs(traced: Any) -> Iterator[Any]:
    """A traced program and all programs inside its loops, branches and calls."""
    yield traced
    for equation in traced.eqns:
        for part in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda one: hasattr(one, "eqns")):
            if hasattr(part, "eqns"):
                yield from inner_programs(part)


def _named_leaves(results: PyTree) -> dict[str, Array]:
    """The arrays of a pytree under the names of their paths; a single array is "value"."""
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(results):
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        try:
            named[name] = jnp.asarray(leaf)
        except TypeError as error:
            found = fail("function", f"a function that returns arrays only, also as '{name}'", leaf)
            raise OutputError(str(found)) from error
    return named


def _as_text(outputs: dict[str, Output]) -> str:
    return ", ".join(f"{name} {output.dtype}{list(output.shape)}" for name, output in outputs.items())
