"""How a sweep runs: blocks go to slots as they free up, and come back to this process, which keeps them.

A sweep is a grid of cells, each computed for some repeats, cut into *blocks* (`blocks.Plan`); a block is one chunk of
the store. A *task* (`tasks`, `problems`) says which cells share a compiled *program* and which arrays go into it;
the `programs.Runner` of a process compiles each program once and runs it over a block's evaluations. The key of an
evaluation follows from the sweep's key, the values of its parameters and its repeat, so that it matters neither
where nor when it runs.

A *slot* is an executor that runs a block at a time: a thread of this process, one for each core of a CPU or for each
accelerator, or a worker of a Dask cluster. It holds two blocks, one that runs and one that it finds ready then, and
no more, which bounds the memory. It stays with a program as long as that has blocks left, and then turns to the one
that the fewest others are at: so slots compile different programs at the same time, and each compiles few.

Results are written here, as blocks come back and in any order; what has been written survives whatever comes. A block
whose worker dies is given to another by Dask.
"""

import signal
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from types import FrameType
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from aetheory.core.checks import fail
from aetheory.sweeps.blocks import Block, Plan, Region, run_block
from aetheory.sweeps.programs import Runner

_AHEAD = 2
_LOG_SECONDS = 30.0


class LostError(RuntimeError):
    """A block did not come back: its cluster is gone."""


class Queue:
    """Blocks by program, in the order in which programs are to be begun.

    Arguments:
        blocks: of each program.
    """

    def __init__(self, blocks: dict[Any, deque[Any]]) -> None:
        self._left, self._at = blocks, dict[int, Any]()

    def take(self, slot: int) -> Any:
        """The next block for a slot; `None` once all are taken."""
        left = [program for program, blocks in self._left.items() if blocks]
        if not left:
            return None
        crowd = Counter(program for other, program in self._at.items() if other != slot)
        self._at[slot] = min(left, key=lambda program: (program != self._at.get(slot), crowd[program]))
        return self._left[self._at[slot]].popleft()


def run_blocks(slots: Sequence[Executor], work: Any, queue: Queue, stop: threading.Event) -> Iterator[tuple[Any, Any]]:
    """Each block of the queue, as `work` of its region comes back; once `stop` is set, only those under way."""
    under_way: dict[Future[Any], tuple[int, Any]] = {}

    def feed(slot: int) -> None:
        region = None if stop.is_set() else queue.take(slot)
        if region is not None:
            try:
                under_way[slots[slot].submit(work, region)] = slot, region
            except Exception as error:  # of a client that is closed
                raise LostError(str(error)) from error

    for slot in [*range(len(slots))] * _AHEAD:
        feed(slot)
    while under_way:
        for future in wait(under_way, return_when=FIRST_COMPLETED).done:
            slot, region = under_way.pop(future)
            if stop.is_set() and future.cancelled():
                continue
            try:
                block = future.result()
            except (CancelledError, OSError) as error:  # which no block raises
                raise LostError(str(error) or type(error).__name__) from error
            yield region, block
            feed(slot)
        if stop.is_set():
            for future in under_way:
                future.cancel()


@contextmanager
def threads(runner: Runner, plan: Plan, count: int, stop_at_failure: bool) -> Iterator[tuple[list[Executor], Any]]:
    """Slots that are threads of this process, and what they run."""
    x64 = jnp.result_type(float) == jnp.float64  # which is each thread's own

    def work(region: Region) -> Block:
        with jax.enable_x64(x64):
            return run_block(runner, plan, region, stop_at_failure)

    with ExitStack() as stack:
        pools: list[Executor] = [ThreadPoolExecutor(1, "sweep") for _ in range(count)]
        for pool in pools:
            stack.callback(pool.shutdown, cancel_futures=True)
        yield pools, work


@contextmanager
def workers(
    client: Any, runner: Runner, plan: Plan, memory: int, stop_at_failure: bool
) -> Iterator[tuple[list[Executor], Any]]:
    """Slots that are the workers of a Dask cluster, each with JAX and this package in the versions of this process."""
    if not hasattr(client, "get_executor") or client.status != "running":
        raise fail("client", "a distributed.Client that is connected", client)
    names = list(client.scheduler_info(n_workers=-1)["workers"])
    if not names:
        raise fail("client", "connected to a scheduler that has workers", client)
    key = np.asarray(jax.random.key_data(runner.key)), str(jax.random.key_impl(runner.key))
    x64 = jnp.result_type(float) == jnp.float64
    try:
        job = cloudpickle.dumps((plan.task, plan.grid, plan.num_repeats, key, x64, memory, runner.outputs))
    except Exception as error:
        raise fail("function", f"one that can be sent to other processes ({error})", plan.task) from error
    slots = [client.get_executor(workers=[name], allow_other_workers=True, pure=False) for name in names]
    try:
        yield slots, partial(_run_remotely, job, stop_at_failure)
    finally:
        for slot in slots if client.status == "running" else ():
            slot.shutdown(wait=False)


def _run_remotely(job: bytes, stop_at_failure: bool, region: Region) -> Block:
    runner, plan, x64 = _restored(job)
    with jax.enable_x64(x64):
        return run_block(runner, plan, region, stop_at_failure)


@lru_cache(maxsize=4)
def _restored(job: bytes) -> tuple[Runner, Plan, bool]:
    """The runner of a worker, with the programs that it has compiled."""
    task, grid, num_repeats, (data, kind), x64, memory, outputs = cloudpickle.loads(job)
    with jax.enable_x64(x64):
        plan = Plan(task, grid, num_repeats)
        key = jax.random.wrap_key_data(data, impl=kind)
        runner = Runner(key, grid.dtype, jax.devices(), memory // 2, plan.evaluations())
        runner.outputs = outputs
        return runner, plan, x64


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second interrupts at once.

    Where the signal is ignored, as in a job that a shell has put into the background, it stays so.
    """
    stop, previous = threading.Event(), signal.getsignal(signal.SIGINT)
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


class _Lines:
    """Standard error, to which each state of a bar goes as a line of its own."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(total: int, there: int, wanted: bool | None) -> Any:
    """A bar on a terminal, or where it is `wanted`; elsewhere a line every half minute unless it is not."""
    lines = wanted is None and not sys.stderr.isatty()
    slowly: Any = {"delay": _LOG_SECONDS, "mininterval": _LOG_SECONDS, "file": _Lines()} if lines else {}
    return tqdm(total=total, initial=there, unit=" cells", disable=wanted is False, **slowly)
