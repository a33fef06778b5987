"""The theory of autoencoders, computed, simulated, swept and differentiated in JAX.

The public names are listed in `__init__.pyi`, where type checkers and editors find them; each is imported when it is
first asked for, so that `import aetheory` takes no time.
"""

import ast
import importlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

__version__ = version("aetheory")

_HOMES = {
    alias.asname or alias.name: (line.module, alias.name)
    for line in ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")).body
    if isinstance(line, ast.ImportFrom)
    for alias in line.names
}
_HOMES["recovery"] = ("aetheory", "group_sparse")  # guarantees, convergence and metrics: the room of arXiv:2102.07003
_KNOW_THEORIES = ("LinearProblem", "TwoLayerProblem", "RecoveryProblem")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aetheory' has no attribute {name!r}")
    if name == "citation":  # of a theory by its name: the systems must be known
        for system in _KNOW_THEORIES:
            __getattr__(system)
    module, attribute = _HOMES[name]
    home = importlib.import_module(str(module))
    is_room = attribute not in vars(home)
    value = importlib.import_module(f"{module}.{attribute}") if is_room else getattr(home, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOMES)
