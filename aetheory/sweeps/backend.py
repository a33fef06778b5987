"""Where blocks run: in threads of this process, or on the workers of a Dask cluster."""

import threading
from collections.abc import Generator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import takewhile
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from aetheory.sweeps.block import Block, run_block
from aetheory.sweeps.execute import Executor
from aetheory.sweeps.plan import Plan, Region


class Backend(Protocol):
    """Runs blocks and gives them back as they finish."""

    def run(
        self, regions: list[Region], stop: threading.Event, stop_at_failure: bool
    ) -> Generator[tuple[Region, Block], None, None]:
        """Each block with its region, in any order; once `stop` is set, only those under way."""


class Threads:
    """Blocks in threads of this process, as many at a time as there are threads, all on the same devices.

    On a CPU a thread for each core: the products of small matrices do not fill a core, let alone several.
    """

    def __init__(self, executor: Executor, plan: Plan, num_threads: int) -> None:
        self._executor, self._plan, self._num_threads = executor, plan, num_threads

    def run(
        self, regions: list[Region], stop: threading.Event, stop_at_failure: bool
    ) -> Generator[tuple[Region, Block], None, None]:
        """Blocks as they finish; one more than there are threads is under way, so that none waits."""
        x64 = jnp.result_type(float) == jnp.float64

        def one(region: Region) -> Block:
            with jax.enable_x64(x64):  # which is each thread's own
                return run_block(self._executor, self._plan, region, stop_at_failure=stop_at_failure)

        waiting = takewhile(lambda _: not stop.is_set(), regions)
        under_way: dict[Future[Block], Region] = {}
        with ThreadPoolExecutor(self._num_threads, "sweep") as pool:
            try:
                while True:
                    while len(under_way) <= self._num_threads and (region := next(waiting, None)) is not None:
                        under_way[pool.submit(one, region)] = region
                    if not under_way:
                        return
                    for future in _finished(under_way):
                        yield under_way.pop(future), future.result()
            finally:
                for future in under_way:
                    future.cancel()


def _finished(futures: dict[Future[Any], Any]) -> list[Future[Any]]:
    return list(wait(futures, return_when=FIRST_COMPLETED).done)
