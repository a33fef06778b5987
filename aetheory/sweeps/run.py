"""`sweep`: one function on every cell of a grid; `explain`: how long that would take."""

import os
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from aetheory.core.checks import check_choice, check_key, fail, static_integer
from aetheory.sweeps.blocks import Failure, Plan, reason, regions
from aetheory.sweeps.cluster import cluster_environment, workers
from aetheory.sweeps.engine import BlockQueue, LostError, deferred_interrupt, progress_bar, run_blocks, threads
from aetheory.sweeps.grid import make_grid
from aetheory.sweeps.identity import Environment, environment, program_digests, provenance, settings
from aetheory.sweeps.programs import Evaluations, OutputError, Runner
from aetheory.sweeps.store import (
    Layout,
    Store,
    can_extend,
    check_names,
    create_store,
    memory_store,
    recover,
    zarr_store,
)
from aetheory.sweeps.tasks import Program, as_task

if TYPE_CHECKING:
    import xarray

_MEASURED_SECONDS, _MAX_MEASURED = 0.02, 512
"""An evaluation is timed by a call that takes at least as long, or has at least as many evaluations."""


class SweepError(RuntimeError):
    """A cell failed, or the cluster was lost. The store keeps all blocks that had finished."""


def sweep(
    function: Any,
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: PRNGKeyArray,
    num_repeats: int | None = None,
    store: str | os.PathLike[str] | None = None,
    *,
    static: Sequence[str] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    on_error: str = "raise",
    devices: Sequence[jax.Device] | None = None,
    block_size: int | None = None,
    client: Any = None,
    progress: bool | None = None,
    version: str | None = None,
) -> "xarray.Dataset":
    """Evaluate a function on every cell of a grid, in several repeats if wanted, as one labelled dataset.

    Cells that compile to the same program share it. Each result depends on its cell's parameters, its repeat, the key
    and the program only: not on the order of the axes, on blocks, threads, devices or workers, nor on whether the sweep
    was interrupted (to the last bit on one kind of device).

    With a `store` every block is written as it finishes. Calling again with the same arguments continues where the
    last call stopped, in another process too; a finished store is only opened. With further values on an axis, or
    more repeats, only the new cells are computed, and the store is extended.

    Arguments:
        function: a pure function of (parameters, key) that returns a pytree of arrays, where parameters is a dictionary
            of one cell; or `aetheory.sweeps.Simulation(times)` and `aetheory.sweeps.Prediction(times)`, which share
            programs among cells as the theory allows. A `Curve` becomes the variables train, population, …
        grid: a mapping from names to values spans the product of these axes. A value that is itself such a mapping
            makes one axis along which its members vary together. A list of mappings is a list of cells.
        key: a JAX random key. The key of each cell and repeat is derived from it, the parameters and the repeat.
        num_repeats: evaluations of each cell with different keys, along a dimension "repeat"; `None` for one
            evaluation without that dimension.
        store: a path for the results; they stay in memory where `None`.
        static: the parameters that a function receives as Python values, with a compiled program for each of their
            combinations; by default those with integer, boolean or string values only. The others are traced.
        dims: names of the dimensions of each result of a function.
        on_error: "raise" stops at a cell that raises, or whose result is not finite, or says that a flow did not
            finish (a result named succeeded); "record" continues, leaves NaN there, and marks it in a variable
            "failed".
        devices: the devices to use; all of the default kind where `None`.
        block_size: evaluations that are stored together; about 1000 where `None`, and fewer where results are large or
            flows are few.
        client: a `distributed.Client`: blocks run on its workers, including those that join later, and only the
            results come here.
        progress: show a bar; where `None`, it is updated every half minute only unless a terminal shows it.
        version: a label for the content of functions of the host that `function` calls back
            (`jax.pure_callback`), since a store cannot find out when they change.

    Returns:
        A dataset over the grid's axes, repeat and the results' own dimensions. From a store it is read as it is used.

    Raises:
        ValueError: an argument is not what it must be; the store holds something else or was made with other settings;
            the results' shapes differ between cells.
        SweepError: a cell failed (with on_error="raise"), or the cluster was lost.
        OSError: the store cannot be written to.
        KeyboardInterrupt: after the blocks under way were finished and kept.

    Warns:
        UserWarning: cells failed (with on_error="record").
    """
    check_choice("on_error", on_error, ("raise", "record"))
    block_size = None if block_size is None else static_integer("block_size", block_size)
    run = Sweep(function, grid, key, num_repeats, devices, static=static, dims=dims)
    where = environment(run.runner.devices[0]) if client is None else cluster_environment(client)
    run.find_outputs(on_error == "raise")
    results = run.open_store(None if store is None else Path(store), block_size, where, version)
    return run.fill(results, client, on_error == "raise", progress, "" if store is None else os.fspath(store))


def explain(
    function: Any,
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    key: PRNGKeyArray,
    num_repeats: int | None = None,
    **options: Any,
) -> str:
    """How many programs, seconds and bytes a sweep would take, from a few evaluations of three of its programs.

    The arguments are as for `sweep`; the options are static, dims and devices.
    """
    return Sweep(function, grid, key, num_repeats, **options).explanation()


class Sweep:
    """The evaluations of a sweep, and what computes them in this process.

    The arguments are as for `sweep`.

    Attributes:
        plan: cells and their programs.
        runner: compiles and runs the programs.
        programs: a few evaluations of each, with the costliest program first.
    """

    def __init__(
        self, function: Any, grid: Any, key: PRNGKeyArray, num_repeats: Any = None, devices: Any = None, **options: Any
    ) -> None:
        num_repeats = None if num_repeats is None else static_integer("num_repeats", num_repeats)
        used = list(devices) if devices is not None else jax.devices()
        if not used or len({device.platform for device in used}) != 1:
            raise fail("devices", "devices of one kind", devices)
        check_key(key)
        key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
        self.plan = Plan(as_task(function, **options), make_grid(grid), num_repeats)
        self.runner = Runner(key, self.plan.grid.dtype, used, self.plan.num_evaluations())
        self.programs = self.plan.programs()
        self.num_threads = _num_threads(used)

    def find_outputs(self, stop_at_failure: bool) -> None:
        """Determine names and shapes of the results by the costliest program that does not raise."""
        for program, evaluations in list(self.programs.items()):
            try:
                self.runner.check(evaluations)
            except OutputError:
                raise
            except Exception as error:  # whatever the function raises
                failure = Failure(int(evaluations.cell[0]), int(evaluations.repeat[0]), reason(error))
                if stop_at_failure or len(self.programs) == 1:
                    raise SweepError(f"{self._named(failure)}.") from error
                self.programs[program] = self.programs.pop(program)  # behind the others
                continue
            return check_names(self.plan, self.runner.outputs)
        raise SweepError(f"Every cell failed. {self._named(failure)}.")

    def open_store(self, path: Path | None, block_size: int | None, where: Environment, version: str | None) -> Store:
        """The store at `path` where it is of this sweep; otherwise a new one, at `path` or in memory."""
        plan, outputs = self.plan, self.runner.outputs
        identity = settings(plan, self.runner, where)
        shape = plan.block_shape(block_size or plan.block_size(self.runner.bytes_each, where.platform))
        layout = Layout(plan, outputs, provenance(identity, where), shape)
        if path is None:
            return memory_store(layout)
        identity |= {"version": version, **program_digests(plan, self.runner, version)}
        recover(path)
        if path.exists() and not can_extend(path, identity):
            return zarr_store(path)
        return create_store(path, layout, identity)

    def fill(self, results: Store, client: Any, stop_at_failure: bool, progress: Any, where: str) -> "xarray.Dataset":
        """Compute the missing cells."""
        plan, failures = self.plan, list[Failure]()
        blocks: dict[Program, list[Any]] = {program: [] for program in self.programs}
        for region in regions(plan.shape, results.block_shape):
            wanted = ~results.done[region]
            if wanted.any():
                blocks[plan.program(region)].append((region, wanted))
        total = left = sum(map(len, blocks.values()))
        kept = f" What had finished is kept in '{where}'; the same call continues from there." if where else ""
        executors = threads(self.runner, plan, self.num_threads)
        if client is not None:
            executors = workers(client, self.runner, plan)
        bar = progress_bar(plan.size, int(results.done.sum()), progress)
        try:
            with bar, deferred_interrupt() as stop, executors as (available, work):
                for (region, wanted), block in run_blocks(available, work, BlockQueue(blocks), stop):
                    failures += block.failures
                    if block.failures and stop_at_failure:
                        raise SweepError(f"{self._named(failures[0])}.{kept}")
                    results.write(region, block.results)
                    left -= 1
                    bar.update(int(wanted.sum()))
        except LostError as error:
            raise SweepError(f"With {left} of {total} blocks left, {error}.{kept}") from error
        except OSError as error:
            raise OSError(f"The store could not be written to: {error.strerror or error}.{kept}") from error
        if left:
            raise KeyboardInterrupt(f"Stopped with {left} of {total} blocks left.{kept}")
        if failures:
            message = f"{len(failures)} evaluations failed, the first: {self._named(failures[0])}."
            warnings.warn(message, stacklevel=3)
        return results.dataset()

    def explanation(self) -> str:
        """Cells, programs, seconds and bytes, as text."""
        programs = list(self.programs.values())
        chosen = sorted({round(place) for place in np.linspace(0, len(programs) - 1, 3)})
        times = [self._measured_seconds(programs[index]) for index in chosen]
        sizes = np.log([evaluations.group.size for evaluations in programs])
        each = np.exp(np.interp(-sizes, -sizes[chosen], np.log(times)))
        counts, compilation = self.plan.num_evaluations(), self.runner.compile_seconds / len(chosen)
        total = sum(seconds * counts[program] for seconds, program in zip(each, self.programs, strict=True))
        return (
            f"{self.plan.size} evaluations: {' x '.join(map(str, self.plan.shape))} ({', '.join(self.plan.dims)})\n"
            f"{len(programs)} programs, {compilation:.1f} s each to compile\n"
            f"about {(total + compilation * len(programs)) / self.num_threads:.3g} s in all, "
            f"{self.num_threads} at a time\n"
            f"{self.plan.size * self.runner.bytes_each / 1e6:.3g} MB of results: {', '.join(self.runner.outputs)}"
        )

    def _measured_seconds(self, evaluations: Evaluations) -> float:
        """Seconds that an evaluation takes: the mean over one batch, or over more until the time is long enough."""
        count = self.runner.compile(evaluations).width
        while True:
            start = time.perf_counter()
            with suppress(RuntimeError):  # a cell that fails
                self.runner.run(evaluations.take(np.arange(count) % len(evaluations.cell)))
            seconds = time.perf_counter() - start
            if seconds > _MEASURED_SECONDS or count >= _MAX_MEASURED:
                return seconds / count
            count *= 8

    def _named(self, failure: Failure) -> str:
        cell = ", ".join(f"{name} = {value}" for name, value in self.plan.grid.cell(failure.cell).items())
        repeat = "" if self.plan.num_repeats is None else f", repeat {failure.repeat}"
        return f"The cell {cell}{repeat} failed: {failure.reason.rstrip('.')}"


def _num_threads(devices: Sequence[jax.Device]) -> int:
    """One for each device, and on a CPU for each core that this process may use."""
    if devices[0].platform != "cpu":
        return len(devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores, len(devices))
