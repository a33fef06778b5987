"""The settings of a sweep, which its results depend on, and the description of their origin."""

import platform
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aetheory.core.checks import fail
from aetheory.core.store import as_json, content_digest, versions
from aetheory.sweeps.blocks import Plan
from aetheory.sweeps.programs import OutputError, Runner, inner_programs


class Environment(NamedTuple):
    """Where evaluations run: the kind of device, and the versions of packages."""

    platform: str
    device_kind: str
    versions: dict[str, str]


def environment(device: jax.Device | None = None) -> Environment:
    """The environment of this process, on a device or the default one."""
    device = jax.devices()[0] if device is None else device
    return Environment(device.platform, device.device_kind, versions())


def settings(plan: Plan, runner: Runner, where: Environment) -> dict[str, Any]:
    """Everything that the results depend on except the programs, as JSON gives it back."""
    found = {
        "versions": where.versions,
        "platform": where.platform,
        "dtype": runner.dtype.name,
        "task": plan.task.settings(),
        "key": [str(jax.random.key_impl(runner.key)), np.asarray(jax.random.key_data(runner.key)).tolist()],
        "num_repeats": plan.num_repeats,
        "grid": list(plan.grid.axes.items()),
    }
    return as_json(found)


def program_digests(plan: Plan, runner: Runner, version: str | None) -> dict[str, str]:
    """A digest of the traced program of each group, with all its constants, by name for the settings.

    Raises:
        ValueError: a program calls a function of the host, whose content cannot be known, and `version` is `None`.
    """
    groups, number = plan.task.groups_for_digest(plan.grid)
    traced: dict[Any, str] = {}
    digests = {}
    for group, cell in zip(groups, np.unique(number, return_index=True)[1], strict=True):
        if group.program not in traced:
            try:
                program: Any = runner.trace(plan.evaluations_of(group, np.array([cell]))).jaxpr
            except OutputError:
                raise
            except Exception as error:  # of a function that raises; it will raise again when its turn comes
                program = np.frombuffer(repr(error).encode(), np.uint8)
            traced[group.program] = content_digest(*_contents(program, version))
        digests[f"program of {group.label}"] = content_digest(
            traced[group.program], *_contents(group.preparation(), version)
        )
    return digests


def _contents(program: Any, version: str | None) -> Iterator[Any]:
    """The text and all constants of a traced program, or arrays as they are."""
    if not hasattr(program, "eqns"):
        yield from map(_array, jax.tree.leaves(program))
        return
    yield re.sub(r"0x[0-9a-f]+", "", str(program))
    for inner in inner_programs(program):
        yield from map(_array, getattr(inner, "consts", ()))
        for equation in inner.eqns:
            yield from (_array(operand.val) for operand in equation.invars if hasattr(operand, "val"))
            parameters = jax.tree.leaves(list(equation.params.values()))
            yield from (_array(one) for one in parameters if isinstance(one, np.ndarray | jax.Array))
            called = equation.params.get("callback")
            if called is None or equation.primitive.name == "debug_callback" or version is not None:
                continue
            module = getattr(getattr(called, "callback_func", called), "__module__", "")
            if not module.startswith("equinox"):  # whose checks are known
                raise fail("version", "a label for the content of the functions of the host that are called back", None)


def _array(constant: Any) -> Any:
    is_key = jnp.issubdtype(getattr(constant, "dtype", np.dtype(object)), jax.dtypes.prng_key)
    return jax.random.key_data(constant) if is_key else constant


def provenance(settings: Mapping[str, Any], where: Environment) -> dict[str, Any]:
    """The origin of a dataset, for its attributes."""
    return {
        **{f"version_{name}": value for name, value in settings["versions"].items()},
        "version_python": platform.python_version(),
        "commit": _commit(),
        "function": settings["task"]["function"],
        "key": " ".join(str(part) for part in settings["key"]),
        "dtype": settings["dtype"],
        "device": where.device_kind,
    }


def _commit() -> str:
    """The commit of the package's checkout; empty where it is installed without one."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=True, timeout=10)
        return subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
