"""How much of a short run XLA spends on compiling, in time and in memory."""

import contextlib
import ctypes
import os
from importlib.metadata import version

_LEVEL = "--xla_backend_optimization_level={}"
_FLAGS = {
    "0.10.": f"{_LEVEL} --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
    "0.11.": _LEVEL,
    "0.12.": _LEVEL,
}
"""Those that a version of jaxlib knows, by its beginning: one that is unknown ends the process."""


def compile_quickly(optimization: int = 0) -> None:
    """For a process that compiles longer than it computes: up to four times as fast, and programs that are slower.

    With an `optimization` of 1 it takes half the usual time, and programs are hardly slower. (By jaxlib 0.11 and 0.12
    half and three quarters.)

    Only before anything is computed, and without effect where XLA_FLAGS is set already or the version is another one.
    """
    for beginning, flags in _FLAGS.items():
        if version("jaxlib").startswith(beginning):
            os.environ.setdefault("XLA_FLAGS", flags.format(optimization))


def forget_programs() -> None:
    """Between jobs of one process, whose programs would stay, and exhaust its memory maps when there are thousands.

    The allocator, where it is glibc's, then gives back what it keeps for each thread that compiled: 1.2 GB instead of
    2.4 at the peak of all figures of the papers.
    """
    import jax

    jax.clear_caches()  # type: ignore[no-untyped-call]
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another allocator
        ctypes.CDLL(None).malloc_trim(0)
