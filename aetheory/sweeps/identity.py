"""What the results of a sweep depend on, and where they come from."""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aetheory.sweeps.blocks import Plan
from aetheory.sweeps.programs import Lanes, Runner
from aetheory.sweeps.tasks import FunctionTask


def settings(plan: Plan, runner: Runner, first: Lanes | None) -> dict[str, Any]:
    """All that the results depend on, as JSON gives it back; without `first`, not the grid and a function's program."""
    found = {
        "versions": {name: version(name) for name in ("aetheory", "jax", "jaxlib", "diffrax")},
        "platform": runner.devices[0].platform,
        "dtype": runner.dtype.name,
        "task": plan.task.settings(),
        "key": [str(jax.random.key_impl(runner.key)), np.asarray(jax.random.key_data(runner.key)).tolist()],
        "num_repeats": plan.num_repeats,
    }
    if first is not None:
        found["grid"] = [{"axis": axis, **members} for axis, members in plan.grid.axes.items()]
        if isinstance(plan.task, FunctionTask):
            found["program"] = _program_digest(runner.trace(first).jaxpr)
    restored: dict[str, Any] = json.loads(json.dumps(found))  # tuples are lists now, as in a store
    return restored


def _program_digest(closed: Any) -> str:
    """A digest of a traced program, its constants included: what a function computes, whatever it is called."""
    digest = hashlib.blake2b(re.sub(r"0x[0-9a-f]+", "", str(closed)).encode(), digest_size=12)
    for constant in closed.consts:
        if jnp.issubdtype(constant.dtype, jax.dtypes.prng_key):
            constant = jax.random.key_data(constant)
        digest.update(np.asarray(constant).tobytes())
    return digest.hexdigest()


def provenance(settings: Mapping[str, Any], device: jax.Device) -> dict[str, Any]:
    """What a dataset says of its origin."""
    return {
        **{f"version_{name}": value for name, value in settings["versions"].items()},
        "version_python": platform.python_version(),
        "commit": _commit(),
        "function": settings["task"]["function"],
        "key": " ".join(str(part) for part in settings["key"]),
        "dtype": settings["dtype"],
        "device": device.device_kind,
    }


def _commit() -> str:
    """The commit of the package's checkout; empty where it is installed without one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True, timeout=10)
        return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
