"""`sweep`: one function on every cell of a grid."""

import json
import os
import platform
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray
from tqdm import tqdm

from aetheory.core.checks import check_real, fail, static_integer
from aetheory.sweeps.backend import Backend, Threads
from aetheory.sweeps.block import FAILED, Failure
from aetheory.sweeps.execute import Executor, Output
from aetheory.sweeps.grid import make_grid
from aetheory.sweeps.plan import Lanes, Plan, Region, num_lanes
from aetheory.sweeps.store import MemoryStore, ResultStore, ZarrStore, check_settings, check_writable, create_store
from aetheory.sweeps.task import FunctionTask, Task, as_task, program_digest

if TYPE_CHECKING:
    import xarray

_BLOCK_SECONDS = 2.0
"""How long a block should take at least: writing one takes a hundredth of a second."""

_BLOCKS_A_THREAD = 4

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
    width: int | None = None,
    client: Any = None,
    progress: bool | None = None,
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
        width: evaluations side by side on a device; decided for each program where `None`.
        client: a `distributed.Client`: blocks run on its workers, and only the results come here.
        progress: show a bar; where `None`, on a terminal only.

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
    if on_error not in ("raise", "record"):
        raise fail("on_error", "'raise' or 'record'", on_error)
    num_repeats = None if num_repeats is None else static_integer("num_repeats", num_repeats)
    for name, number in {"memory": memory, "block_size": block_size, "width": width}.items():
        if number is not None:
            check_real(name, number, "positive", minimum=0.0, strict=True)
    used = list(devices) if devices is not None else jax.devices()
    if not used or len({device.platform for device in used}) != 1:
        raise fail("devices", "devices of one kind", devices)
    task = as_task(function, static, dims, coordinates)
    parameters = make_grid(grid)
    task.check(parameters)
    plan = Plan(task, parameters, num_repeats)
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    memory = _default_memory(used[0]) if memory is None else int(memory)
    threads = _num_threads(used)
    executor = Executor(
        task, key, parameters.dtype, used, memory // (2 * -(-threads // len(used))), width, plan.num_evaluations
    )

    settings = _settings(task, plan, key, executor) | {"width": width}
    path = None if store is None else Path(store)
    identity = {} if path is None else _identity(settings, plan, executor)
    results = _open(path, plan, identity)
    if results is None:
        # other devices, and the workers of a cluster, compile for themselves
        _prepare_first(executor, plan, threads if client is None and len(used) == 1 else 1)
        outputs = {**(executor.outputs or {}), FAILED: Output((), np.dtype(bool))}
        shape = plan.block_shape(block_size or _block_size(executor, plan, memory, threads))
        attributes = _provenance(settings, used[0])
        if path is None:
            results = MemoryStore(plan, outputs, attributes, shape)
        else:
            create_store(path, plan, outputs, identity, attributes, shape)
            results = ZarrStore(path, plan)
    regions = [region for region in plan.blocks(results.block_shape) if not results.done(region)]
    if regions:
        backend: Backend = Threads(executor, plan, threads)
        if client is not None:
            from aetheory.sweeps.cluster import Cluster

            backend = Cluster(client, plan, key, parameters.dtype, memory, width)
        _run(backend, plan, regions, results, executor, on_error == "raise", path, progress)
    return results.dataset()


def _run(
    backend: Backend,
    plan: Plan,
    regions: list[Region],
    results: ResultStore,
    executor: Executor,
    stop_at_failure: bool,
    path: Path | None,
    progress: bool | None,
) -> None:
    total, failures = sum(num_lanes(region) for region in regions), list[Failure]()
    kept = "" if path is None else f" What had finished is kept in '{path}'; the same call continues from there."
    hidden = None if progress is None else not progress
    left = len(regions)
    with (
        tqdm(total=plan.num_lanes, initial=plan.num_lanes - total, unit=" cells", disable=hidden) as bar,
        _deferred_interrupt() as stop,
        closing(backend.run(regions, stop, stop_at_failure)) as blocks,
    ):
        for region, block in blocks:
            failures += block.failures
            if block.failures and stop_at_failure:
                raise SweepError(f"{_named(plan, failures[0])}.{kept}")
            try:
                results.write(region, block.results)
            except OSError as error:
                raise OSError(f"The store could not be written to: {error.strerror or error}.{kept}") from error
            left -= 1
            bar.set_postfix_str(f"compilation {executor.compile_seconds:.0f} s", refresh=False)
            bar.update(num_lanes(region))
    if left:
        raise KeyboardInterrupt(f"Stopped with {left} of {len(regions)} blocks left.{kept}")
    if failures:
        warnings.warn(f"{len(failures)} evaluations failed, the first: {_named(plan, failures[0])}.", stacklevel=3)


@contextmanager
def _deferred_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second interrupts at once.

    Where the signal is ignored, as in a job that a shell has put into the background, it stays so.
    """
    stop = threading.Event()
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield stop
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, handle)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)


def _named(plan: Plan, failure: Failure) -> str:
    cell = ", ".join(f"{name} = {value}" for name, value in plan.grid.cell(failure.cell).items())
    repeat = "" if plan.num_repeats is None else f", repeat {failure.repeat}"
    return f"The cell {cell}{repeat} failed: {failure.reason.rstrip('.')}"


def _settings(task: Task, plan: Plan, key: PRNGKeyArray, executor: Executor) -> dict[str, Any]:
    """What the results depend on, besides the grid and what a plain function computes."""
    return {
        "versions": {name: version(name) for name in ("aetheory", "jax", "jaxlib", "diffrax")},
        "platform": executor.platform,
        "dtype": executor.dtype.name,
        "task": task.settings(),
        "key": [str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()],
        "num_repeats": plan.num_repeats,
    }


def _identity(settings: Mapping[str, Any], plan: Plan, executor: Executor) -> dict[str, Any]:
    """All that the results depend on, as JSON gives it back."""
    whole = {**settings, "grid": [{"axis": axis.name, **axis.parameters} for axis in plan.grid.axes]}
    if isinstance(plan.task, FunctionTask):
        whole["program"] = program_digest(executor.trace(plan.costliest()[0]).jaxpr)
    restored: dict[str, Any] = json.loads(json.dumps(whole))
    return restored


def _open(path: Path | None, plan: Plan, settings: Mapping[str, Any]) -> ResultStore | None:
    """The store at `path`, if there is one; otherwise `None`, once it is known that one can be made."""
    if path is None:
        return None
    if path.exists():
        check_settings(path, settings)
        return ZarrStore(path, plan)
    check_writable(path)
    return None


def _provenance(settings: Mapping[str, Any], device: jax.Device) -> dict[str, Any]:
    versions = {f"version_{name}": value for name, value in settings["versions"].items()}
    seed = " ".join(str(part) for part in settings["key"])
    task = settings["task"]
    return {
        **versions,
        "version_python": platform.python_version(),
        "commit": _commit(),
        "function": task["function"],
        "key": seed,
        "dtype": settings["dtype"],
        "device": device.device_kind,
    }


def _commit() -> str:
    """The commit of the package's checkout; empty where it is installed without one."""
    folder = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        )
        tracked = subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", __file__], capture_output=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if tracked.returncode == 0 else ""


def _default_memory(device: jax.Device) -> int:
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"]) // 2
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _num_threads(devices: Sequence[jax.Device]) -> int:
    """One for each device, and on a CPU for each core that this process may use."""
    if devices[0].platform != "cpu":
        return len(devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores, len(devices))


def _prepare_first(executor: Executor, plan: Plan, num_programs: int) -> None:
    """Compile the costliest program, and beside it the next: errors of these are found again when their turn comes."""
    first, *others = plan.costliest(num_programs)
    executor.check(first)  # so that it decides the shapes of the results
    x64 = jnp.result_type(float) == jnp.float64

    def prepare(lanes: Lanes) -> None:
        with suppress(Exception), jax.enable_x64(x64):
            executor.prepare(lanes)

    with ThreadPoolExecutor(num_programs) as pool:
        for lanes in others:
            pool.submit(prepare, lanes)
        executor.prepare(first)


def _block_size(executor: Executor, plan: Plan, memory: int, threads: int) -> int:
    """Evaluations a block, from the measured time of some like the costliest one and the size of a result."""
    costliest = plan.costliest()[0]
    width = executor.width(costliest)
    num_bytes = sum(output.num_bytes for output in (executor.outputs or {}).values())
    shared = -(-plan.num_lanes // (_BLOCKS_A_THREAD * threads))
    # a block is held once as it is computed, once as it is put together and once as it is compressed
    fitting = memory // (8 * threads * max(num_bytes, 1))
    most = max(1, min(shared, fitting))

    def measured(count: int) -> float:
        start = time.perf_counter()
        with suppress(RuntimeError):  # a cell that fails is found again when its turn comes
            executor.run(costliest.take(np.zeros(count, int)))
        return time.perf_counter() - start

    count, seconds = width, measured(width)
    while seconds < _WELL_MEASURED and count < most:
        count = min(8 * count, most)
        seconds = measured(count)
    size = min(max(1, int(_BLOCK_SECONDS * count / seconds)), most)
    return size if size < width else size // width * width
