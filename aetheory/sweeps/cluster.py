"""Connecting to a Dask cluster, or starting one of processes on this machine."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from aetheory.core.checks import fail

TIMEOUT = "10s"
"""How long to wait for a scheduler to answer."""


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
