"""How much memory a device has, and the refusal of what exceeds it."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

import jax


def device_memory(device: jax.Device | None = None) -> int:
    """Bytes of memory of a device, the default one when omitted; on a CPU those that this process may use."""
    device = jax.devices()[0] if device is None else device
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    return min([_machine_memory(), *_container_limits()])


def _machine_memory() -> int:
    """Bytes of memory of this machine."""
    if sys.platform == "win32":  # which has no os.sysconf
        kilobytes = ctypes.c_ulonglong()
        ctypes.windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
        return 1024 * kilobytes.value
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files in which Linux states the memory limit of a container, by versions 2 and 1 of control groups."""


def _container_limits() -> list[int]:
    """Bytes that the container of this process may use; empty where there is no such limit."""
    limits = []
    for file in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # no such file; "max"
            limits.append(int(file.read_text()))
    return limits


def require_memory(needed: float, what: str, advice: str) -> None:
    """Raise ValueError where `what` takes more bytes than the default device has."""
    if needed > (present := device_memory()):
        sizes = f"about {needed / 1e9:.3g} GB of memory, and the device has {present / 1e9:.3g} GB"
        raise ValueError(f"{what} would take {sizes}. {advice}")
