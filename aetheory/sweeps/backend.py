"""Where blocks run: in threads of this process, or on the workers of a Dask cluster."""

import threading
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from aetheory.sweeps.block import Block, run_block
from aetheory.sweeps.execute import Executor
from aetheory.sweeps.plan import Plan, Region
from aetheory.sweeps.shares import Shares


@runtime_checkable
class Backend(Protocol):
    """Runs blocks and gives them back as they finish."""

    def run(
        self, regions: list[Region], stop: threading.Event, stop_at_failure: bool
    ) -> Generator[tuple[Region, Block], None, None]:
        """Each block with its region, in any order; once `stop` is set, only those under way."""


class Threads:
    """Blocks in threads of this process, as many at a time as there are threads, all on the same devices.

    On a CPU a thread for each core: the products of small matrices do not fill a core, let alone several. Each thread
    has a share of the blocks, so that one compiles its next program while others run theirs.
    """

    def __init__(self, executor: Executor, plan: Plan, num_threads: int) -> None:
        self._executor, self._plan, self._num_threads = executor, plan, num_threads

    def run(
        self, regions: list[Region], stop: threading.Event, stop_at_failure: bool
    ) -> Generator[tuple[Region, Block], None, None]:
        """Blocks as they finish; threads wait while more of them than there are threads have not been fetched."""
        x64 = jnp.result_type(float) == jnp.float64
        shares = Shares(regions, [self._plan.work(region) for region in regions], range(self._num_threads))
        room = threading.Semaphore(2 * self._num_threads)
        events = SimpleQueue[tuple[Region, Block] | Future[None]]()
        abandoned = threading.Event()

        def work(thread: int) -> None:
            with jax.enable_x64(x64):  # which is each thread's own
                while room.acquire() and not (stop.is_set() or abandoned.is_set()):
                    region = shares.take(thread)
                    if region is None:
                        return
                    events.put((region, run_block(self._executor, self._plan, region, stop_at_failure=stop_at_failure)))

        with ThreadPoolExecutor(self._num_threads, "sweep") as pool:
            try:
                for thread in range(self._num_threads):
                    pool.submit(work, thread).add_done_callback(events.put)
                at_work = self._num_threads
                while at_work:
                    event = events.get()
                    if isinstance(event, Future):
                        event.result()  # raises what its thread raised
                        at_work -= 1
                    else:
                        yield event
                        room.release()
            finally:
                abandoned.set()
                room.release(self._num_threads)
