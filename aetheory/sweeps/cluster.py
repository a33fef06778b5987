"""A sweep on a Dask cluster: blocks are its tasks, and a worker may die."""

from collections.abc import Generator
from contextlib import contextmanager
from functools import lru_cache
from threading import Event
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from aetheory.core.checks import fail
from aetheory.sweeps.block import Block, run_block
from aetheory.sweeps.execute import Executor
from aetheory.sweeps.plan import Plan, Region
from aetheory.sweeps.shares import Shares

TIMEOUT = "10s"
"""How long to wait for a scheduler to answer."""

_AHEAD = 2
"""Blocks that a worker holds: one that runs, and one that it finds ready when that is done."""


class Cluster:
    """Blocks as the tasks of a Dask cluster, kept together by program so that few workers compile each.

    Each worker goes through its own share of the blocks, whose programs follow each other, and then helps others. A
    block whose worker dies is given to another; nothing else is computed twice.

    Arguments:
        client: a `distributed.Client`; every worker has JAX and this package, in the versions of this process.
        plan, key, dtype, memory, width: what the workers compute, as for `Executor`.
    """

    def __init__(
        self, client: Any, plan: Plan, key: PRNGKeyArray, dtype: str | None, memory: int, width: int | None
    ) -> None:
        if not hasattr(client, "submit") or not hasattr(client, "scheduler_info"):
            raise fail("client", "a distributed.Client", client)
        self._client, self._plan = client, plan
        key_data, key_kind = np.asarray(jax.random.key_data(key)), str(jax.random.key_impl(key))
        settings = (jnp.result_type(float) == jnp.float64, dtype, memory, width)
        self._job = cloudpickle.dumps((plan.task, plan.grid, plan.num_repeats, key_data, key_kind, settings))

    def run(
        self, regions: list[Region], stop: Event, stop_at_failure: bool
    ) -> Generator[tuple[Region, Block], None, None]:
        """Blocks as they finish."""
        from distributed import as_completed

        workers = self._workers()
        shares = Shares(regions, [self._plan.work(region) for region in regions], workers)
        futures: dict[Any, tuple[Region, str]] = {}
        finished = as_completed()  # type: ignore[no-untyped-call]

        def feed(worker: str) -> None:
            region = None if stop.is_set() else shares.take(worker)
            if region is None:
                return
            future = self._client.submit(
                _run_remotely,
                self._job,
                region,
                stop_at_failure,
                workers=[worker],
                allow_other_workers=True,
                pure=False,
            )
            futures[future] = (region, worker)
            finished.add(future)  # type: ignore[no-untyped-call]

        for worker in workers * _AHEAD:
            feed(worker)
        try:
            for future in finished:
                region, worker = futures.pop(future)
                yield region, future.result()
                future.release()
                feed(worker)
        finally:
            self._client.cancel(list(futures))

    def _workers(self) -> list[str]:
        workers = list(self._client.scheduler_info(n_workers=-1)["workers"])
        if not workers:
            raise fail("client", "connected to a scheduler that has workers", self._client)
        return workers


def _run_remotely(job: bytes, region: Region, stop_at_failure: bool) -> Block:
    executor, plan, x64 = _restored(job)
    with jax.enable_x64(x64):
        return run_block(executor, plan, region, stop_at_failure=stop_at_failure)


@lru_cache(maxsize=4)
def _restored(job: bytes) -> tuple[Executor, Plan, bool]:
    """The executor of a worker, with the programs that it has compiled."""
    task, grid, num_repeats, key_data, key_kind, (x64, dtype, memory, width) = cloudpickle.loads(job)
    with jax.enable_x64(x64):
        plan = Plan(task, grid, num_repeats)
        key = jax.random.wrap_key_data(key_data, impl=key_kind)
        devices = jax.devices()
        return Executor(task, key, dtype, devices, memory // 2, width, plan.num_evaluations), plan, x64


@contextmanager
def connect(address: str) -> Generator[Any, None, None]:
    """A client of the cluster at `address`, closed at the end with what was started for it.

    Arguments:
        address: "local:N" for N processes on this machine, started afresh; otherwise a scheduler's address, as in
            "tcp://host:8786", or a path to its scheduler file ending in ".json".

    Raises:
        ValueError: an address of no known form.
        OSError: nothing answers there.
    """
    from distributed import Client, LocalCluster

    kind, _, rest = address.partition(":")
    if kind == "local" and rest.isdigit() and int(rest) > 0:
        # separate processes, started afresh: JAX's threads do not survive a fork
        started = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=int(rest), threads_per_worker=1, processes=True, dashboard_address=None
        )
        with started as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
            yield client
        return
    if address.endswith(".json"):
        options = {"scheduler_file": address}
    elif kind in ("tcp", "tls", "ucx") and rest.startswith("//"):
        options = {"address": address}
    else:
        raise fail("cluster", "'local:N', 'tcp://HOST:PORT' or a scheduler file ending in .json", address)
    try:
        client = Client(timeout=TIMEOUT, **options)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise OSError(
            f"Argument `cluster` must be the address of a running scheduler, but nothing answers at '{address}'."
        ) from error
    with client:
        yield client
