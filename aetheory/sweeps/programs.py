"""Compiling the programs of a sweep and running their evaluations on the devices of one process."""

import itertools
import math
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array, Int, PRNGKeyArray, PyTree, Shaped, UInt32

from aetheory.core.checks import fail
from aetheory.sweeps.batching import batch_width
from aetheory.sweeps.grid import derive_key
from aetheory.sweeps.tasks import Group, OverTime, Program

_MOST_RESULTS, _RESULT_BYTES = 4096, 32_000_000
"""A call returns at most this many results and bytes: it is started again for the rest."""

Results = dict[str, Shaped[np.ndarray, "lanes ..."]]


class Output(NamedTuple):
    """Shape and type of one result of a cell, and the names of its dimensions where it is one of a curve."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dims: tuple[str, ...] | None = None


class Lanes(NamedTuple):
    """Some evaluations of one group; a lane is one cell and one repeat.

    Arguments:
        group: of the cells.
        place: where each result goes in the flattened block.
        cell: the number of the cell.
        words: two 32-bit numbers that name the cell, from which its key is derived.
        repeat: which draw of the cell.
        varied: the group's varied inputs.
    """

    group: Group
    place: Int[np.ndarray, " lanes"]
    cell: Int[np.ndarray, " lanes"]
    words: UInt32[np.ndarray, "lanes 2"]
    repeat: UInt32[np.ndarray, " lanes"]
    varied: PyTree

    def take(self, which: slice | Int[np.ndarray, " some"]) -> "Lanes":
        """Some of these evaluations."""
        return Lanes(self.group, *jax.tree.map(lambda array: array[which], tuple(self[1:])))


class _Compiled(NamedTuple):
    """A program for up to `capacity` evaluations, `width` of them side by side."""

    call: Any
    width: int
    capacity: int
    num_bytes: int


class OutputError(ValueError):
    """Results that are no arrays, or of another shape or type than in other cells."""


class Runner:
    """Runs evaluations of programs, each compiled once for a device, on the devices of this process.

    On a device, a loop runs over batches of a fixed width, so that a result does not depend on what else is in its
    call. Each thread that calls has a device of its own, in turn: the devices run the same program, each at its own
    pace, and exchange nothing. (One program over all of them, by `shard_map`, waits for the slowest in every call, and
    XLA's partitioner orders its arithmetic differently: results then differ in the last bit from those of one device.)

    Arguments:
        key: the sweep's key.
        dtype: precision of the real numbers that go in; `None` leaves them as they are.
        devices: those of one kind to use.
        memory: bytes that a call may take.
        num_lanes: how many there are of each program, which bounds how many run side by side.
    """

    def __init__(
        self, key: PRNGKeyArray, dtype: Any, devices: list[jax.Device], memory: int, num_lanes: Mapping[Program, int]
    ) -> None:
        self.key, self.devices, self._memory = key, devices, memory
        self._num_lanes = num_lanes
        self.dtype = np.dtype(jax.dtypes.canonicalize_dtype(dtype or float))
        self._one: dict[Program, Any] = {}
        self._compiled: dict[Any, _Compiled] = {}
        self._locks: dict[Any, threading.Lock] = {}
        self._lock, self._thread, self._turn = threading.Lock(), threading.local(), itertools.count()
        self.outputs: dict[str, Output] = {}
        self.compile_seconds = 0.0

    @property
    def bytes_each(self) -> int:
        """Bytes of one cell's results."""
        return max(1, sum(math.prod(one.shape) * one.dtype.itemsize for one in self.outputs.values()))

    def trace(self, lanes: Lanes) -> Any:
        """The program of one evaluation, traced: what it computes, and the shapes of its results."""
        shared, *rest = self._arguments(lanes.take(slice(0, 1)))
        return self._single(lanes.group.program).trace(self.key, shared, *jax.tree.map(lambda array: array[0], rest))

    def check(self, lanes: Lanes) -> None:
        """Find out the shapes and types of the results without compiling.

        Raises:
            ValueError: they are others than those of the programs before.
        """
        curves, others = self.trace(lanes).out_info
        outputs = {}
        for results, over_time in ((curves, True), (others, False)):
            for name, leaf in results.items():
                dims = ("time", *(f"{name}_{axis}" for axis in range(len(leaf.shape) - 1))) if over_time else None
                outputs[name] = Output(leaf.shape, np.dtype(leaf.dtype), dims)
        if not outputs:
            raise OutputError(str(fail("function", "a function that returns arrays", lanes.group.program.fixed)))
        with self._lock:
            self.outputs = self.outputs or outputs
        if outputs != self.outputs:
            raise OutputError(
                f"Argument `function` must return arrays of one shape and type in all cells, but returns "
                f"{_worded(self.outputs)} in the first and {_worded(outputs)} for {lanes.group.program.fixed}."
            )

    def compile(self, lanes: Lanes) -> _Compiled:
        """The compiled program of these evaluations; each is compiled once.

        Raises:
            ValueError: results of another shape or type than those of the programs before.
            MemoryError: a single evaluation does not fit into the memory allowed.
        """
        if not hasattr(self._thread, "device"):
            self._thread.device = self.devices[next(self._turn) % len(self.devices)]
        name = (lanes.group.program, self._thread.device)
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._compiled:
                start = time.perf_counter()
                self._compiled[name] = self._build(lanes)
                with self._lock:
                    self.compile_seconds += time.perf_counter() - start
            return self._compiled[name]

    def run(self, lanes: Lanes) -> Results:
        """The results of some evaluations, in their order; raises what `compile` does."""
        compiled = self.compile(lanes)
        starts = range(0, len(lanes.place), compiled.capacity)
        pieces = [self._call(compiled, lanes.take(slice(start, start + compiled.capacity))) for start in starts]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _call(self, compiled: _Compiled, lanes: Lanes) -> Results:
        count = len(lanes.place)
        # the last evaluation fills up what is left over; of those, only the rest of its batch is computed again
        filled = lanes.take(np.minimum(np.arange(compiled.capacity), count - 1))
        calls = np.int32(-(-count // compiled.width))
        arguments = jax.device_put((self.key, calls, *self._arguments(filled)), self._thread.device)
        results = compiled.call(*arguments)
        return {name: np.array(values)[:count] for name, values in results.items()}

    def _arguments(self, lanes: Lanes) -> tuple[Any, ...]:
        """What goes in: shared inputs; and words, repeat and varied inputs of each evaluation."""

        def cast(leaf: Any) -> Any:
            if not isinstance(leaf, np.ndarray | np.generic):
                return leaf.astype(self.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
            return leaf.astype({"f": self.dtype, "i": jnp.result_type(int)}.get(leaf.dtype.kind, leaf.dtype))

        shared, varied = jax.tree.map(cast, (lanes.group.shared, lanes.varied))
        return shared, lanes.words, lanes.repeat, varied

    def _single(self, program: Program) -> Any:
        """One evaluation as a compiled function; kept, because JAX remembers the trace of a function it has seen."""

        def single(key: Any, shared: Any, words: Any, repeat: Any, varied: Any) -> OverTime:
            results = program(shared, varied, derive_key(key, words, repeat))
            if not isinstance(results, OverTime):
                results = OverTime({}, results)
            return OverTime(*(_named_leaves(part) for part in results))

        with self._lock:
            return self._one.setdefault(program, jax.jit(single))

    def _build(self, lanes: Lanes) -> _Compiled:
        self.check(lanes)
        width = batch_width(self.trace(lanes).jaxpr.jaxpr, self.devices[0].platform)
        width = min(width, 1 << (self._num_lanes[lanes.group.program] - 1).bit_length())
        capacity = max(1, min(_MOST_RESULTS, _RESULT_BYTES // self.bytes_each) // width) * width
        while True:
            call = _compiled_by_xla(self._lower(lanes, width, capacity), self._options(lanes.group))
            sizes = call.memory_analysis()  # which not every platform knows
            names = ("temp_size_in_bytes", "output_size_in_bytes", "argument_size_in_bytes")
            needed = sum(int(getattr(sizes, name, 0)) for name in names)
            if needed <= self._memory:
                return _Compiled(call, width, capacity, needed)
            if capacity == 1:
                raise MemoryError(
                    f"Argument `memory` must allow {needed / 1e6:.1f} MB a call, which one evaluation takes, "
                    f"but allows {self._memory / 1e6:.1f} MB."
                )
            # what would fit if all of the need were proportional, and half of it at most
            capacity = max(1, min(capacity // 2, int(capacity * self._memory / needed)))
            width = min(width, 1 << capacity.bit_length() - 1)
            capacity = capacity // width * width

    def _options(self, group: Group) -> dict[str, Any]:
        return dict(group.compiler) if self.devices[0].platform == "cpu" else {}

    def _lower(self, lanes: Lanes, width: int, capacity: int) -> Any:
        """`calls` batches of `width` evaluations, one after the other, into arrays of `capacity` results."""
        single, outputs = self._single(lanes.group.program), self.outputs

        def run(key: Any, calls: Any, shared: Any, *rest: Any) -> dict[str, Array]:
            def one(*arguments: Any) -> dict[str, Array]:
                curves, others = single(key, shared, *arguments)
                return {**curves, **others}

            def body(number: Any, results: dict[str, Array]) -> dict[str, Array]:
                start = number * width
                some = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, width), rest)
                new = jax.vmap(one)(*some) if width > 1 else _added(one(*jax.tree.map(lambda leaf: leaf[0], some)))
                place = jax.lax.dynamic_update_slice_in_dim
                return {name: place(values, new[name], start, 0) for name, values in results.items()}

            empty = {name: jnp.zeros((capacity, *output.shape), output.dtype) for name, output in outputs.items()}
            results: dict[str, Array] = jax.lax.fori_loop(0, calls, body, empty)
            return results

        placed = SingleDeviceSharding(self._thread.device)
        arguments = (self.key, np.int32(0), *self._arguments(lanes.take(np.zeros(capacity, int))))
        shapes = jax.tree.map(
            lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=placed),  # type: ignore[no-untyped-call]
            jax.eval_shape(lambda *leaves: leaves, *arguments),
        )
        return jax.jit(run).lower(*shapes)


def _compiled_by_xla(lowered: Any, options: dict[str, Any]) -> Any:
    try:
        return lowered.compile(options)
    except jax.errors.JaxRuntimeError:
        if not options:
            raise
    return lowered.compile()  # by a version that does not know an option


def _added(results: dict[str, Array]) -> dict[str, Array]:
    return {name: leaf[None] for name, leaf in results.items()}


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


def _worded(outputs: dict[str, Output]) -> str:
    return ", ".join(f"{name} {output.dtype}{list(output.shape)}" for name, output in outputs.items())
