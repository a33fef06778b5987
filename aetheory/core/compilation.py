"""How much of a short run XLA spends on compilation."""

import os
from importlib.metadata import version


def compile_quickly(optimization: int = 0) -> None:
    """Let XLA optimise less, for a process that compiles longer than it computes.

    At level 0 compilation takes 2.5 times less, and programs run slower; at level 1 they are hardly slower. This has an
    effect only before anything is computed, and not where XLA_FLAGS is set already.

    Arguments:
        optimization: the level of XLA's backend, 0 to 3.
    """
    flags = f"--xla_backend_optimization_level={optimization}"
    if version("jaxlib").startswith("0.10."):  # 1.8 times less once more; later versions end the process at this flag
        flags += " --xla_cpu_use_fusion_emitters=false"
    os.environ.setdefault("XLA_FLAGS", flags)


def forget_programs() -> None:
    """Free all compiled programs: thousands of them exhaust the memory maps that a process may have."""
    import jax

    jax.clear_caches()  # type: ignore[no-untyped-call]
