"""How much of a short run XLA spends on compiling."""

import os
from importlib.metadata import version

_KNOWN_BY = "0.10."
_FLAGS = "--xla_backend_optimization_level={} --xla_cpu_use_fusion_emitters=false"


def compile_quickly(optimization: int = 0) -> None:
    """For a process that compiles longer than it computes: up to four times as fast, and programs that are slower.

    With an `optimization` of 1 it takes half the usual time, and programs are hardly slower.

    Only before anything is computed, and without effect where XLA_FLAGS is set already. An unknown flag ends the
    process, so that they are only set for versions of jaxlib that are known to have them.
    """
    if version("jaxlib").startswith(_KNOWN_BY):
        os.environ.setdefault("XLA_FLAGS", _FLAGS.format(optimization))
