"""The memory of a process is what its machine and its container leave it."""

import os

import jax
import pytest

from aetheory.core import memory


def test_a_container_may_have_less_than_its_machine(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (limit, tmp_path / "absent"))
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    device = jax.devices("cpu")[0]
    for content, expected in (("max\n", machine), ("1000000\n", 1_000_000), (f"{2**62}\n", machine)):
        limit.write_text(content)
        assert memory.device_memory(device) == expected


def test_windows_has_no_sysconf(monkeypatch):
    class Kernel:
        @staticmethod
        def GetPhysicallyInstalledSystemMemory(reference):  # noqa: N802
            reference._obj.value = 3
            return True

    monkeypatch.setattr(memory.sys, "platform", "win32")
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(memory.ctypes, "windll", type("Windows", (), {"kernel32": Kernel}), raising=False)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", ())
    assert memory.device_memory(jax.devices("cpu")[0]) == 3072


def test_what_exceeds_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "device_memory", lambda: 10**9)
    memory.require_memory(9e8, "It", "Wait.")
    with pytest.raises(ValueError, match=r"It would take about 2 GB of memory, and the device has 1 GB. Try less"):
        memory.require_memory(2e9, "It", "Try less.")
