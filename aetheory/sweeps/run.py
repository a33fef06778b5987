"""`sweep`: one function on every cell of a grid; `explain`: what that would take."""

import os
import time
import warnings
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from aetheory.core.checks import check_choice, check_instance, check_key, check_real, fail, static_integer
from aetheory.core.memory import device_memory
from aetheory.sweeps.blocks import Failure, Plan, Region, num_lanes, reason, regions
from aetheory.sweeps.engine import LostError, Queue, deferred_interrupt, progress_bar, run_blocks, threads, workers
from aetheory.sweeps.grid import make_grid
from aetheory.sweeps.identity import provenance, settings
from aetheory.sweeps.programs import Lanes, OutputError, Runner
from aetheory.sweeps.store import (
    Store,
    check_names,
    check_settings,
    check_writable,
    create_store,
    memory_store,
    zarr_store,
)
from aetheory.sweeps.tasks import Program, as_task

if TYPE_CHECKING:
    import xarray

_BLOCK_SECONDS = 2.0
"""How long a block should take at least: writing one takes a hundredth of a second."""

_BLOCKS_A_SLOT = 4

_WELL_MEASURED = 0.02
"""Seconds beside which starting a call, and what is computed once in it, do not count."""


class SweepError(RuntimeError):
    """A cell failed; the message names it. Whatever had finished is kept in the store."""


def sweep(
    function: Any,
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: PRNGKeyArray,
    num_repeats: int | None = None,
    store: str | os.PathLike[str] | None = None,
    *,
    static: Sequence[str] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    coordinates: Mapping[str, Any] | None = None,
    on_error: str = "raise",
    devices: Sequence[jax.Device] | None = None,
    memory: int | None = None,
    block_size: int | None = None,
    client: Any = None,
    progress: bool | None = None,
    version: str | None = None,
) -> "xarray.Dataset":
    """Evaluate `function` on every cell of a grid, several times where wanted, as one labelled dataset.

    Cells that compile to the same program share it, and what follows from parameters that are the same in the whole
    grid is computed once for many evaluations. Each result depends on its cell's parameters, its repeat, the key
    and the program only: not on the order of the axes, on the blocks, on threads, devices or workers, nor on whether
    the sweep was interrupted (to the last bit on one kind of device).

    With a `store` every block is written as it finishes. Calling again with the same arguments continues where the
    last call stopped, in another process too; a finished store is only opened.

    Arguments:
        function: pure, of (parameters, key) → a pytree of arrays, in which parameters is a dictionary of one cell; or
            `aetheory.sweeps.Simulation(times)` and `aetheory.sweeps.Prediction(times)`, which share programs among
            cells as the theory allows. A `Curve` becomes the variables train, population, …
        grid: a mapping from names to values spans the product of these axes. A value that is itself such a mapping
            makes one axis along which its members vary together. A list of mappings is a list of cells.
        key: a JAX random key; each cell and repeat draws from a key derived from it, the parameters and the repeat.
        num_repeats: evaluations of each cell with different keys, along a dimension "repeat"; `None` for one, without.
        store: a path for the results; in memory where `None`.
        static: the parameters that a plain function takes as Python values, each combination compiled by itself; by
            default those with integer, boolean or string values only. The others are traced real numbers.
        dims: names of the dimensions of each result of a plain function.
        coordinates: values along these dimensions.
        on_error: "raise" stops at a cell that raises, or whose result is not finite, or says that a flow did not
            finish (a result named succeeded); "record" goes on, leaves NaN there, and marks it in a variable "failed".
        devices: those to use; all of the default kind where `None`.
        memory: bytes that the evaluations under way and their results may take on a device; half of what there is
            where `None`.
        block_size: evaluations that are stored together; from the measured time of one where `None`.
        client: a `distributed.Client`: blocks run on its workers, and only the results come here.
        progress: show a bar; where `None`, on a terminal only, and a line every half minute elsewhere.
        version: a word for the content of functions of the host that `function` calls back (`jax.pure_callback`), of
            which a store cannot know when they change.

    Returns:
        A dataset over the grid's axes, repeat and the results' own dimensions. From a store it is read as it is used.

    Raises:
        ValueError: an argument is not what it must be; the store holds something else or was made with other settings;
            the results' shapes differ between cells.
        SweepError: a cell failed (with on_error="raise").
        MemoryError: one evaluation does not fit into `memory`.
        OSError: the store cannot be written to.
        KeyboardInterrupt: after the blocks under way were finished and kept.

    Warns:
        UserWarning: cells failed (with on_error="record").
    """
    check_choice("on_error", on_error, ("raise", "record"))
    block_size = None if block_size is None else static_integer("block_size", block_size)
    chosen: dict[str, Any] = {"static": static, "dims": dims, "coordinates": coordinates}
    run = prepare(function, grid, key, num_repeats, devices=devices, memory=memory, **chosen)
    run.find_outputs(on_error == "raise")
    results = run.store(None if store is None else Path(store), block_size, client is None, version)
    return run.fill(results, client, on_error == "raise", progress, "" if store is None else os.fspath(store))


def explain(
    function: Any,
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: PRNGKeyArray,
    num_repeats: int | None = None,
    **options: Any,
) -> str:
    """What a sweep would take: cells, programs, seconds and bytes, from a few evaluations of three of its programs.

    Arguments:
        function: as for `sweep`, and so all others.
        grid: where.
        key: of the draws.
        num_repeats: a cell.
        options: static, dims, coordinates, devices and memory, as for `sweep`.
    """
    return prepare(function, grid, key, num_repeats, **options).explained()


def prepare(
    function: Any,
    grid: Any,
    key: PRNGKeyArray,
    num_repeats: int | None = None,
    *,
    devices: Sequence[jax.Device] | None = None,
    memory: int | None = None,
    **options: Any,
) -> "Sweep":
    """A sweep whose arguments are checked; see `sweep`."""
    num_repeats = None if num_repeats is None else static_integer("num_repeats", num_repeats)
    if memory is not None:
        check_instance("memory", memory, int | float, "a positive number of bytes")
        check_real("memory", memory, "positive", minimum=0.0, strict=True)
    used = list(devices) if devices is not None else jax.devices()
    if not used or len({device.platform for device in used}) != 1:
        raise fail("devices", "devices of one kind", devices)
    check_key(key)
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    plan = Plan(as_task(function, **options), make_grid(grid), num_repeats)
    memory, slots = device_memory(used[0]) // 2 if memory is None else int(memory), _num_slots(used)
    runner = Runner(key, plan.grid.dtype, used, memory // (2 * -(-slots // len(used))), plan.evaluations())
    return Sweep(plan, runner, plan.programs(), slots, memory)


@dataclass
class Sweep:
    """What there is to compute, and what computes it in this process.

    Arguments:
        plan: cells and their programs.
        runner: compiles and runs the programs.
        programs: a few lanes of each, the costliest first.
        slots: how many blocks run at a time.
        memory: bytes that these and their results may take.
    """

    plan: Plan
    runner: Runner
    programs: dict[Program, Lanes]
    slots: int
    memory: int

    def find_outputs(self, stop_at_failure: bool) -> None:
        """Let the costliest program that does not raise decide names and shapes of the results, and begin with it."""
        for program, lanes in list(self.programs.items()):
            try:
                self.runner.check(lanes)
            except OutputError:
                raise
            except Exception as error:  # whatever the function raises
                failure = Failure(int(lanes.cell[0]), int(lanes.repeat[0]), reason(error))
                if stop_at_failure or len(self.programs) == 1:
                    raise SweepError(f"{self._named(failure)}.") from error
                self.programs[program] = self.programs.pop(program)  # behind the others
                continue
            return check_names(self.plan, self.runner.outputs)
        raise SweepError(f"Every cell failed. {self._named(failure)}.")

    def store(self, path: Path | None, block_size: int | None, here: bool, version: str | None) -> Store:
        """The store at `path` where there is one of this very sweep, otherwise a new one, there or in memory.

        Blocks that run `here` find the first programs compiled.
        """
        identity = settings(self.plan, self.runner, None if path is None else self.programs.values(), version)
        if path is not None and path.exists():
            check_settings(path, identity)
            return zarr_store(path)
        if path is not None:
            check_writable(path)
        if here and len(self.runner.devices) == 1:
            self._compile_first()
        shape = self.plan.block_shape(block_size or self._block_size())
        attributes = provenance(identity, self.runner.devices[0])
        if path is None:
            return memory_store(self.plan, self.runner.outputs, attributes, shape)
        return create_store(path, self.plan, self.runner.outputs, identity, attributes, shape)

    def fill(self, results: Store, client: Any, stop_at_failure: bool, progress: Any, where: str) -> "xarray.Dataset":
        """Compute what is missing."""
        plan, failures = self.plan, list[Failure]()
        missing = [region for region in regions(plan.shape, results.block_shape) if not results.done(region)]
        left = len(missing)
        kept = f" What had finished is kept in '{where}'; the same call continues from there." if where else ""
        queue = {program: deque[Region]() for program in self.programs}
        for region in missing:
            queue[plan.program(region)].append(region)
        slots = threads(self.runner, plan, self.slots, stop_at_failure)
        if client is not None:
            slots = workers(client, self.runner, plan, self.memory, stop_at_failure)
        bar = progress_bar(plan.size, plan.size - sum(map(num_lanes, missing)), progress)
        try:
            with bar, deferred_interrupt() as stop, slots as (pools, work):
                for region, block in run_blocks(pools, work, Queue(queue), stop):
                    failures += block.failures
                    if block.failures and stop_at_failure:
                        raise SweepError(f"{self._named(failures[0])}.{kept}")
                    results.write(region, block.results)
                    left -= 1
                    bar.update(num_lanes(region))
        except LostError as error:
            raise SweepError(
                f"The cluster was lost with {left} of {len(missing)} blocks left ({error}).{kept}"
            ) from error
        except OSError as error:
            raise OSError(f"The store could not be written to: {error.strerror or error}.{kept}") from error
        if left:
            raise KeyboardInterrupt(f"Stopped with {left} of {len(missing)} blocks left.{kept}")
        if failures:
            message = f"{len(failures)} evaluations failed, the first: {self._named(failures[0])}."
            warnings.warn(message, stacklevel=3)
        return results.dataset()

    def explained(self) -> str:
        """Cells, programs, seconds and bytes, as text."""
        programs = list(self.programs.values())
        chosen = sorted({round(place) for place in np.linspace(0, len(programs) - 1, 3)})
        for place in chosen:  # compiled before it is timed
            self.runner.compile(programs[place])
        times = [self._measured(programs[place], 1) for place in chosen]
        sizes = np.log([lanes.group.size for lanes in programs])
        each = np.exp(np.interp(-sizes, -sizes[chosen], np.log(times)))
        counts, compilation = self.plan.evaluations(), self.runner.compile_seconds / len(chosen)
        total = sum(one * counts[program] for one, program in zip(each, self.programs, strict=True))
        return (
            f"{self.plan.size} evaluations: {' x '.join(map(str, self.plan.shape))} ({', '.join(self.plan.dims)})\n"
            f"{len(programs)} programs, {compilation:.1f} s each to compile\n"
            f"about {(total + compilation * len(programs)) / self.slots:.3g} s in all, {self.slots} at a time\n"
            f"{self.plan.size * self.runner.bytes_each / 1e6:.3g} MB of results: {', '.join(self.runner.outputs)}"
        )

    def _compile_first(self) -> None:
        """The costliest programs, one for each slot, side by side; errors are found again when their turn comes."""
        x64 = jnp.result_type(float) == jnp.float64  # which is each thread's own

        def compile_one(lanes: Lanes) -> None:
            with suppress(Exception), jax.enable_x64(x64):
                self.runner.compile(lanes)

        first, *others = list(self.programs.values())[: self.slots]
        with ThreadPoolExecutor(self.slots) as pool:
            for lanes in others:
                pool.submit(compile_one, lanes)
            compile_one(first)  # here, where the caller's own settings of JAX hold

    def _block_size(self) -> int:
        """Evaluations a block, from the measured time of some of the costliest program and the size of a result."""
        costliest = next(iter(self.programs.values()))
        width = self.runner.compile(costliest).width
        shared = -(-self.plan.size // (_BLOCKS_A_SLOT * self.slots))
        # a block is held once as it is computed, once as it is put together and once as it is compressed
        most = max(1, min(shared, self.memory // (8 * self.slots * self.runner.bytes_each)))
        seconds = self._measured(costliest, most)
        size = min(max(1, int(_BLOCK_SECONDS / seconds)), most)
        return int(size if size < width else size // width * width)

    def _measured(self, lanes: Lanes, most: int) -> float:
        """Seconds that an evaluation takes: the mean of a call's width, and of more until it is well measured."""
        count = self.runner.compile(lanes).width
        while True:
            start = time.perf_counter()
            with suppress(RuntimeError):  # a cell that fails is found again when its turn comes
                self.runner.run(lanes.take(np.arange(count) % len(lanes.place)))
            seconds = time.perf_counter() - start
            if seconds > _WELL_MEASURED or count >= most:
                return seconds / count
            count = min(8 * count, most)

    def _named(self, failure: Failure) -> str:
        cell = ", ".join(f"{name} = {value}" for name, value in self.plan.grid.cell(failure.cell).items())
        repeat = "" if self.plan.num_repeats is None else f", repeat {failure.repeat}"
        return f"The cell {cell}{repeat} failed: {failure.reason.rstrip('.')}"


def _num_slots(devices: Sequence[jax.Device]) -> int:
    """One for each device, and on a CPU for each core that this process may use."""
    if devices[0].platform != "cpu":
        return len(devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores, len(devices))
