"""Compiling the programs of a sweep and running their evaluations on the devices of one process."""

import itertools
import threading
import time
from collections.abc import Hashable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding
from jaxtyping import Array, PRNGKeyArray, Shaped

from aetheory.core.checks import fail
from aetheory.sweeps.batching import batch_width
from aetheory.sweeps.keys import derive_key
from aetheory.sweeps.plan import Lanes
from aetheory.sweeps.task import Task

_MOST_RESULTS = 4096
_RESULT_BYTES = 32_000_000
"""A call returns at most this many results and bytes: it is started again for the rest."""

Results = dict[str, Shaped[np.ndarray, "lanes ..."]]


class Output(NamedTuple):
    """The shape and type of one result of a cell."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def num_bytes(self) -> int:
        """Bytes of one cell's result."""
        return int(np.prod(self.shape, dtype=int)) * self.dtype.itemsize


class _Compiled(NamedTuple):
    """A program for up to `capacity` evaluations a device, `width` of them side by side."""

    call: Any
    width: int
    capacity: int


class OutputError(ValueError):
    """Results of another shape or type than in other cells."""


class Executor:
    """Runs evaluations of a task's programs, each compiled once for a device, on the devices of this process.

    On a device, a loop runs over batches of a fixed width, so that a result does not depend on what else is in its
    call. Each thread that calls has a device of its own, in turn: the devices run the same program, each at its own
    pace, and exchange nothing. (One program over all of them, by `shard_map`, waits for the slowest in every call, and
    XLA's partitioner orders its arithmetic differently: results then differ in the last bit from those of one device.)

    Arguments:
        task: what is computed.
        key: the sweep's key.
        dtype: precision of the real numbers that go in; JAX's default where `None`.
        devices: those of one kind to use.
        memory: bytes that a call may take.
        width: evaluations side by side on a device; chosen for each program where `None`.
        num_lanes: how often each program is run in all, which bounds the width.
    """

    def __init__(
        self,
        task: Task,
        key: PRNGKeyArray,
        dtype: str | None,
        devices: list[jax.Device],
        memory: int,
        width: int | None,
        num_lanes: Mapping[Hashable, int],
    ) -> None:
        self._task, self._key, self._devices, self._memory, self._width = task, key, devices, memory, width
        self._num_lanes = num_lanes
        self._dtype = np.dtype(jnp.result_type(float if dtype is None else dtype))
        self._lane_programs: dict[Hashable, Any] = {}
        self._compiled: dict[Hashable, _Compiled] = {}
        self._locks: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self._thread = threading.local()
        self.outputs: dict[str, Output] | None = None
        self.compile_seconds = 0.0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Precision of the real numbers that go in."""
        return self._dtype

    @property
    def platform(self) -> str:
        """Kind of the devices, such as "cpu" or "gpu"."""
        return str(self._devices[0].platform)

    def _device(self) -> jax.Device:
        """The device of this thread."""
        if not hasattr(self._thread, "device"):
            self._thread.device = self._devices[next(self._turn) % len(self._devices)]
        device: jax.Device = self._thread.device
        return device

    def width(self, lanes: Lanes) -> int:
        """How many evaluations of this program run side by side on a device."""
        return self._compile(lanes).width

    def bytes_needed(self, lanes: Lanes) -> int:
        """What the compiled program of these evaluations takes on a device: its arguments, results and workspace."""
        return _bytes_needed(self._compile(lanes).call)

    def compiled_text(self, lanes: Lanes) -> str:
        """The compiled program of some evaluations, as the compiler prints it."""
        return str(self._compile(lanes).call.as_text())

    def trace(self, lanes: Lanes) -> Any:
        """The program of one evaluation, traced: what it computes, and the shapes of its results."""
        one = jax.tree.map(lambda array: array[0], self._arguments(lanes, 1))
        # kept, because JAX remembers the trace of a function that it has seen
        program = self._lane_programs.setdefault(lanes.program, jax.jit(partial(self._lane, lanes.program)))
        return program.trace(self._key, *one)

    def check(self, lanes: Lanes) -> None:
        """Find out the shapes and types of results without compiling; raises what `prepare` does because of them."""
        self._check_outputs(self._outputs(lanes), lanes)

    def prepare(self, lanes: Lanes) -> None:
        """Compile the program of some evaluations, unless it is.

        Raises:
            ValueError: results of another shape or type than those of the programs before.
            MemoryError: a single evaluation does not fit into the memory allowed.
        """
        self._compile(lanes)

    def run(self, lanes: Lanes) -> Results:
        """The results of some evaluations of one program, in their order; raises what `prepare` does."""
        pieces: list[Results] = []
        start, total = 0, len(lanes.place)
        while start < total:
            compiled = self._compile(lanes)
            call = lanes.take(slice(start, start + compiled.capacity))
            pieces.append(self._call(compiled, call))
            start += len(call.place)
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _call(self, compiled: _Compiled, lanes: Lanes) -> Results:
        count = len(lanes.place)
        # the last evaluation fills up what is left over; of those, only the rest of its batch is computed again
        room = np.minimum(np.arange(compiled.capacity), count - 1)
        filled = jax.tree.map(lambda array: array[room], self._arguments(lanes, count))
        arguments = jax.device_put((self._key, np.int32(-(-count // compiled.width)), *filled), self._device())
        results = compiled.call(*arguments)
        return {name: np.array(values)[:count] for name, values in results.items()}

    def _arguments(self, lanes: Lanes, count: int) -> tuple[Any, ...]:
        inputs = {name: values[:count].astype(self._input_dtype(values)) for name, values in lanes.inputs.items()}
        return lanes.words[:count], lanes.repeat[:count], inputs

    def _input_dtype(self, values: Shaped[np.ndarray, " lanes"]) -> np.dtype[Any]:
        if values.dtype.kind == "f":
            return self._dtype
        return np.dtype(bool if values.dtype.kind == "b" else jnp.result_type(int))

    def _lane(
        self,
        program: Hashable,
        key: PRNGKeyArray,
        words: Shaped[Array, "2"],
        repeat: Shaped[Array, ""],
        inputs: Mapping[str, Shaped[Array, ""]],
    ) -> dict[str, Array]:
        return named_leaves(self._task.evaluate(program, inputs, derive_key(key, words, repeat)))

    def _compile(self, lanes: Lanes) -> _Compiled:
        name = (lanes.program, self._device())
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._compiled:
                start = time.perf_counter()
                self._compiled[name] = self._build(lanes)
                with self._lock:
                    self.compile_seconds += time.perf_counter() - start
            return self._compiled[name]

    def _build(self, lanes: Lanes) -> _Compiled:
        outputs = self._outputs(lanes)
        self._check_outputs(outputs, lanes)
        width = self._width or batch_width(self.trace(lanes).jaxpr.jaxpr, self._devices[0].platform)
        width = min(width, 1 << (self._num_lanes[lanes.program] - 1).bit_length())
        num_bytes = sum(output.num_bytes for output in outputs.values())
        capacity = max(1, min(_MOST_RESULTS, _RESULT_BYTES // max(num_bytes, 1)) // width) * width
        while True:
            call = self._compiled_by_xla(self._lower(lanes, width, capacity))
            needed = _bytes_needed(call)
            if needed <= self._memory:
                return _Compiled(call, width, capacity)
            if capacity == 1:
                raise MemoryError(
                    f"Argument `memory` must allow {needed / 1e6:.1f} MB a call, which one evaluation takes, "
                    f"but allows {self._memory / 1e6:.1f} MB."
                )
            # what would fit if all of the need were proportional, and half of it at most
            capacity = max(1, min(capacity // 2, int(capacity * self._memory / needed)))
            width = min(width, 1 << capacity.bit_length() - 1)
            capacity = capacity // width * width

    def _compiled_by_xla(self, lowered: Any) -> Any:
        options = self._task.compiler_options(self.platform)
        try:
            return lowered.compile(options)
        except jax.errors.JaxRuntimeError:
            if not options:
                raise
        return lowered.compile()  # by a version that does not know an option

    def _lower(self, lanes: Lanes, width: int, capacity: int) -> Any:
        placed = SingleDeviceSharding(self._device())

        def run(key: PRNGKeyArray, calls: Shaped[Array, ""], *arguments: Any) -> dict[str, Array]:
            return self._loop(lanes, key, calls, arguments, width, capacity)

        def shape(array: Any, *sizes: int) -> Any:
            return jax.ShapeDtypeStruct(sizes, array.dtype, sharding=placed)  # type: ignore[no-untyped-call]

        arguments = jax.tree.map(lambda array: shape(array, capacity, *array.shape[1:]), self._arguments(lanes, 1))
        return jax.jit(run).lower(shape(self._key, *self._key.shape), shape(np.int32(0)), *arguments)

    def _loop(
        self, lanes: Lanes, key: PRNGKeyArray, calls: Shaped[Array, ""], arguments: Any, width: int, capacity: int
    ) -> dict[str, Array]:
        """`calls` batches of `width` evaluations, one after the other, into arrays of `capacity` results."""
        lane = partial(self._lane_programs[lanes.program], key)

        words, repeat, inputs = arguments
        # outside the loop: what follows from these alone is computed once, not for each evaluation
        alike = {name: inputs[name][0] for name in lanes.constant}
        varied = words, repeat, {name: values for name, values in inputs.items() if name not in alike}

        def one(words: Any, repeat: Any, varied: dict[str, Any]) -> dict[str, Array]:
            results: dict[str, Array] = lane(words, repeat, {**alike, **varied})
            return results

        def batch(start: Any) -> dict[str, Array]:
            some = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, width), varied)
            if width > 1:
                return jax.vmap(one)(*some)
            return {name: leaf[None] for name, leaf in one(*jax.tree.map(lambda leaf: leaf[0], some)).items()}

        def body(number: Any, results: dict[str, Array]) -> dict[str, Array]:
            start, new = number * width, batch(number * width)
            place = jax.lax.dynamic_update_slice_in_dim
            return {name: place(values, new[name], start, 0) for name, values in results.items()}

        assert self.outputs is not None
        empty = {name: jnp.zeros((capacity, *output.shape), output.dtype) for name, output in self.outputs.items()}
        results: dict[str, Array] = jax.lax.fori_loop(0, calls, body, empty)
        return results

    def _outputs(self, lanes: Lanes) -> dict[str, Output]:
        results = self.trace(lanes).out_info
        return {name: Output(leaf.shape, np.dtype(leaf.dtype)) for name, leaf in results.items()}

    def _check_outputs(self, outputs: dict[str, Output], lanes: Lanes) -> None:
        with self._lock:
            if self.outputs is None:
                self.outputs = outputs
        if outputs != self.outputs:
            raise OutputError(
                f"Argument `function` must return arrays of one shape and type in all cells, but returns "
                f"{_described(self.outputs)} in the first and {_described(outputs)} for {lanes.program}."
            )


def named_leaves(results: Any) -> dict[str, Array]:
    """The arrays of a pytree under the names of their paths; a single array is "value".

    Raises:
        ValueError: no arrays, or something that is none.
    """
    leaves = jax.tree_util.tree_leaves_with_path(results)
    if not leaves:
        raise fail("function", "a function that returns arrays", results)
    named = {}
    for path, leaf in leaves:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        try:
            named[name] = jnp.asarray(leaf)
        except TypeError as error:
            raise fail("function", f"a function that returns arrays only, also as '{name}'", leaf) from error
    return named


def _described(outputs: Mapping[str, Output]) -> str:
    return ", ".join(f"{name} {output.dtype}{list(output.shape)}" for name, output in outputs.items())


def _bytes_needed(program: Any) -> int:
    sizes = program.memory_analysis()
    if sizes is None:  # not every backend knows
        return 0
    return int(sizes.temp_size_in_bytes + sizes.output_size_in_bytes + sizes.argument_size_in_bytes)
