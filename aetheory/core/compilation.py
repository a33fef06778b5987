"""How much of a short run XLA spends on compiling, in time and in memory."""

import contextlib
import ctypes
import os
from importlib.metadata import version

_KNOWN_BY = "0.10."
_ARENA_MAX = -8  # M_ARENA_MAX of glibc's malloc.h
_FLAGS = "--xla_backend_optimization_level={} --xla_cpu_use_fusion_emitters=false"


def compile_quickly(optimization: int = 0) -> None:
    """For a process that compiles longer than it computes: up to four times as fast, and programs that are slower.

    With an `optimization` of 1 it takes half the usual time, and programs are hardly slower.

    Only before anything is computed, and without effect where XLA_FLAGS is set already. An unknown flag ends the
    process, so that they are only set for versions of jaxlib that are known to have them.
    """
    if version("jaxlib").startswith(_KNOWN_BY):
        os.environ.setdefault("XLA_FLAGS", _FLAGS.format(optimization))


def share_memory() -> None:
    """Threads that compile take memory from two pools: one of its own for each keeps what was freed in it.

    For a process of its own, where the allocator is glibc's: 1.3 GB instead of 2.4 for all figures of the papers.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another allocator
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 2)
