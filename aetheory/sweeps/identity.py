"""What the results of a sweep depend on, and where they come from."""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aetheory.core.checks import fail
from aetheory.sweeps.blocks import Plan
from aetheory.sweeps.programs import Lanes, OutputError, Runner


def settings(plan: Plan, runner: Runner, programs: Iterable[Lanes] | None, version_of: str | None) -> dict[str, Any]:
    """All that the results depend on, as JSON gives it back; without `programs`, neither these nor the grid.

    Raises:
        ValueError: a program calls a function of the host, whose content cannot be known, and there is no `version_of`
            it.
    """
    found = {
        "versions": {name: version(name) for name in ("aetheory", "jax", "jaxlib", "diffrax")},
        "platform": runner.devices[0].platform,
        "dtype": runner.dtype.name,
        "task": plan.task.settings(),
        "key": [str(jax.random.key_impl(runner.key)), np.asarray(jax.random.key_data(runner.key)).tolist()],
        "num_repeats": plan.num_repeats,
    }
    if programs is not None:
        found["grid"] = [{"axis": axis, **members} for axis, members in plan.grid.axes.items()]
        found["version"] = version_of
        if not plan.task.is_own:
            found["program"] = _digest_of(runner, programs, version_of)
    restored: dict[str, Any] = json.loads(json.dumps(found))  # tuples are lists now, as in a store
    return restored


def _digest_of(runner: Runner, programs: Iterable[Lanes], version_of: str | None) -> str:
    """A digest of the traced programs with all their constants: what they compute, whatever they are called."""
    digest = hashlib.blake2b(digest_size=12)
    for lanes in programs:
        try:
            closed = runner.trace(lanes).jaxpr
        except OutputError:
            raise
        except Exception as error:  # of a function that raises, which is met again when its turn comes
            digest.update(repr(error).encode())
            continue
        digest.update(re.sub(r"0x[0-9a-f]+", "", str(closed)).encode())
        for part in _parts(closed):
            if callable(part) and version_of is None:
                raise fail("version", "a word for what the functions of the host that are called back compute", None)
            digest.update(b"" if callable(part) else np.asarray(part).tobytes())
    return digest.hexdigest()


def _parts(jaxpr: Any) -> Iterator[Any]:
    """The constants of a traced program and of all those inside it, and the functions of the host that it calls."""
    yield from map(_array, getattr(jaxpr, "consts", ()))
    for equation in jaxpr.eqns:
        yield from (_array(one.val) for one in equation.invars if hasattr(one, "val"))
        for name, inner in equation.params.items():
            if name == "callback" and equation.primitive.name != "debug_callback":
                called = getattr(inner, "callback_func", inner)
                # of the checks in compiled programs
                yield from () if getattr(called, "__module__", "").startswith("equinox") else (called,)
            for one in jax.tree.leaves(inner, is_leaf=lambda leaf: hasattr(leaf, "eqns")):
                if hasattr(one, "eqns"):
                    yield from _parts(one)
                elif isinstance(one, np.ndarray | jax.Array):
                    yield _array(one)


def _array(constant: Any) -> Any:
    is_key = jnp.issubdtype(getattr(constant, "dtype", np.dtype(object)), jax.dtypes.prng_key)
    return jax.random.key_data(constant) if is_key else constant


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
