"""How blocks run: on executors, which are threads of this process or workers of a Dask cluster.

A sweep is a grid of cells, each computed for several repeats, cut into *blocks* (`blocks.Plan`); a block is one chunk
of the store. A *task* (`tasks`, `problems`) says which cells share a compiled *program* and which arrays go into it.
The `programs.Runner` of a process compiles each program once and runs it over a block's evaluations. The key of an
evaluation follows from the sweep's key, the values of its parameters and its repeat, so that it does not matter where
or when it runs.

An executor gets two blocks, one to run and one to have ready, which bounds the memory. Results are written by this
process as blocks come back, in any order.
"""

import signal
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool
from tqdm import tqdm

from aetheory.sweeps.blocks import Block, Plan, Region, run_block
from aetheory.sweeps.programs import Runner

BLOCKS_AHEAD = 2
LOG_SECONDS = 30.0
POLL_SECONDS = 1.0

Executors = Callable[[], Mapping[str, Executor]]
"""Returns the executors that there are now, by name."""

Work = Callable[[Region, Bool[np.ndarray, "..."]], Block]
"""Computes the wanted evaluations of a block."""


class LostError(RuntimeError):
    """A block did not come back, because the cluster or its workers ended."""


class BlockQueue:
    """The blocks that are left, by program.

    Arguments:
        blocks: of each program, with the costliest program first.
    """

    def __init__(self, blocks: Mapping[Any, Any]) -> None:
        self._blocks = {program: deque(own) for program, own in blocks.items()}
        self._current: dict[str, Any] = {}

    def take(self, executor: str) -> Any:
        """The next block of the program that an executor ran last, or else of the program with most blocks left."""
        if not self._blocks.get(self._current.get(executor)):
            if not any(self._blocks.values()):
                return None
            self._current[executor] = max(self._blocks, key=lambda program: len(self._blocks[program]))
        return self._blocks[self._current[executor]].popleft()

    def __len__(self) -> int:
        return sum(map(len, self._blocks.values()))


def run_blocks(executors: Executors, work: Any, queue: BlockQueue, stop: threading.Event) -> Iterator[tuple[Any, Any]]:
    """Pairs of a block of the queue and its result, as they finish; once `stop` is set, only of blocks under way."""
    under_way: dict[Future[Any], tuple[str, Any]] = {}
    while under_way or (queue and not stop.is_set()):
        if queue and not stop.is_set():
            busy = Counter(name for name, _ in under_way.values())
            for _ in range(BLOCKS_AHEAD):
                for name, executor in executors().items():
                    if busy[name] < BLOCKS_AHEAD and (block := queue.take(name)) is not None:
                        busy[name] += 1
                        under_way[_submit(executor, work, block)] = name, block
        if not under_way:  # no worker at present
            time.sleep(POLL_SECONDS)
            continue
        # new executors may appear meanwhile
        for future in wait(under_way, POLL_SECONDS, FIRST_COMPLETED).done:
            _, block = under_way.pop(future)
            if stop.is_set() and future.cancelled():
                continue
            yield block, _result(future)
        if stop.is_set():
            for future in under_way:
                future.cancel()


def _submit(executor: Executor, work: Any, block: Any) -> Future[Any]:
    try:
        return executor.submit(work, *block)
    except Exception as error:  # of a client that is closed
        raise LostError(f"the cluster was lost ({error})") from error


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except (CancelledError, OSError) as error:  # which no block raises
        raise LostError(f"the cluster was lost ({error or type(error).__name__})") from error
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # of Dask, which need not be installed
            raise LostError(
                f"workers of the cluster were killed, probably since they need more memory than they have ({error})"
            ) from error
        raise


def jax_settings() -> tuple[Any, ...]:
    """JAX's settings that results depend on. Other threads and processes do not see those of a `with` block."""
    config: Any = jax.config
    return config.jax_enable_x64, config.jax_numpy_dtype_promotion, config.jax_default_matmul_precision


@contextmanager
def using(settings: tuple[Any, ...]) -> Iterator[None]:
    """Apply what `jax_settings` returned elsewhere in this thread."""
    x64, promotion, precision = settings
    with jax.enable_x64(x64), jax.numpy_dtype_promotion(promotion), jax.default_matmul_precision(precision):
        yield


@contextmanager
def threads(runner: Runner, plan: Plan, count: int) -> Iterator[tuple[Executors, Work]]:
    """Executors that are threads of this process, and the function that they run."""
    settings = jax_settings()

    def work(region: Region, wanted: Bool[np.ndarray, "..."]) -> Block:
        with using(settings):
            return run_block(runner, plan.evaluations(region, wanted))

    with ExitStack() as stack:
        pools = {f"thread {number}": ThreadPoolExecutor(1, "sweep") for number in range(count)}
        for pool in pools.values():
            stack.callback(pool.shutdown, cancel_futures=True)
        yield lambda: pools, work


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second interrupts at once.

    Where the signal is ignored, as in a job that a shell has put into the background, it stays ignored.
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


def progress_bar(total: int, initial: int, wanted: bool | None) -> Any:
    """A progress bar on standard error, which is updated every half minute where no terminal shows it."""
    options: Any = {}
    if wanted is None and not sys.stderr.isatty():
        options = {"delay": LOG_SECONDS, "mininterval": LOG_SECONDS}
    return tqdm(total=total, initial=initial, unit=" cells", disable=wanted is False, **options)
