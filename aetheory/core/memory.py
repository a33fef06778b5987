"""What the device holds, and the refusal of what it cannot."""

import os

import jax


def device_memory(device: jax.Device | None = None) -> int:
    """Bytes of memory of a device, the default one when omitted; on a CPU those of the machine."""
    device = jax.devices()[0] if device is None else device
    statistics = device.memory_stats() if device.platform != "cpu" else None
    if statistics and "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def require_memory(needed: float, what: str, advice: str) -> None:
    """Raise ValueError where `what` takes more bytes than the default device has."""
    if needed > (present := device_memory()):
        sizes = f"about {needed / 1e9:.3g} GB of memory, and the device has {present / 1e9:.3g} GB"
        raise ValueError(f"{what} would take {sizes}. {advice}")
