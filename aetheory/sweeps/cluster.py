"""Dask clusters: connecting to one, and running blocks on its workers."""

import sys
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from aetheory.core.checks import fail
from aetheory.core.store import versions
from aetheory.sweeps.blocks import Block, Plan, Region, run_block
from aetheory.sweeps.engine import POLL_SECONDS, Executors, LostError, Work, jax_settings, using
from aetheory.sweeps.identity import Environment, environment
from aetheory.sweeps.programs import Runner

TIMEOUT = "10s"
"""How long to wait for a scheduler to answer."""


@contextmanager
def connect(address: str) -> Generator[Any, None, None]:
    """A client of the cluster at `address`; on exit it is closed, with all processes that were started for it.

    Arguments:
        address: "local:N" to start N processes on this machine; otherwise a scheduler's address, as in
            "tcp://host:8786", or a path to its scheduler file ending in ".json".

    Raises:
        ValueError: an address of no known form.
        OSError: no scheduler answers there.
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


def cluster_environment(client: Any) -> Environment:
    """The environment of the workers of a cluster, after waiting for the first of them.

    Raises:
        ValueError: the client is not connected, or the workers have other versions of packages than this process.
    """
    if not hasattr(client, "get_executor") or client.status != "running":
        raise fail("client", "a distributed.Client that is connected", client)
    if not client.scheduler_info(n_workers=-1)["workers"]:
        print("Waiting for the first worker of the cluster.", file=sys.stderr, flush=True)
        client.wait_for_workers(1)
    found: Environment = client.submit(environment, pure=False).result()
    if found.versions != versions():
        raise fail("client", f"connected to workers with {versions()}, as in this process", found.versions)
    return found


@contextmanager
def workers(client: Any, runner: Runner, plan: Plan) -> Iterator[tuple[Executors, Work]]:
    """Executors that are the workers of a cluster, including those that join later, and the function they run."""
    import cloudpickle  # which comes with Dask

    key = np.asarray(jax.random.key_data(runner.key)), str(jax.random.key_impl(runner.key))
    try:
        job = cloudpickle.dumps((plan.task, plan.grid, plan.num_repeats, key, jax_settings(), runner.outputs))
    except Exception as error:
        raise fail("function", f"one that can be sent to other processes ({error})", plan.task) from error
    known: dict[str, Executor] = {}
    present: dict[str, Executor] = {}
    asked = -POLL_SECONDS

    def executors() -> Mapping[str, Executor]:
        nonlocal present, asked
        if client.status != "running":
            raise LostError("the cluster was lost (its client is closed)")
        if time.monotonic() > asked + POLL_SECONDS:
            for name in (names := client.scheduler_info(n_workers=-1)["workers"]):
                if name not in known:
                    known[name] = client.get_executor(workers=[name], allow_other_workers=True, pure=False)
            present, asked = {name: known[name] for name in names}, time.monotonic()
        return present

    try:
        yield executors, partial(_run_remotely, job)
    finally:
        for executor in known.values() if client.status == "running" else ():
            executor.shutdown(wait=False)


def _run_remotely(job: bytes, region: Region, wanted: Bool[np.ndarray, "..."]) -> Block:
    runner, plan, settings = _restored(job)
    with using(settings):
        return run_block(runner, plan.evaluations(region, wanted))


@lru_cache(maxsize=4)
def _restored(job: bytes) -> tuple[Runner, Plan, tuple[Any, ...]]:
    """The runner of a worker, which keeps the programs that it has compiled."""
    import cloudpickle

    task, grid, num_repeats, (key_data, kind), settings, outputs = cloudpickle.loads(job)
    with using(settings):
        plan = Plan(task, grid, num_repeats)
        runner = Runner(
            jax.random.wrap_key_data(key_data, impl=kind), grid.dtype, jax.devices(), plan.num_evaluations()
        )
        runner.outputs = outputs
        return runner, plan, settings
