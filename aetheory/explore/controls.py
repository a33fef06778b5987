"""The controls of a page: the fields of a problem, with the values that the problem accepts."""

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from typing import Any, NamedTuple, get_args

import aetheory as ae
from aetheory.group_sparse.problem import NETWORKS, OPTIMIZERS
from aetheory.two_layer.problem import METHODS

_RECOVERY: dict[str, Any] = {"batch_size": 1000, "learning_rate": 0.002, "signal_to_noise": 10.0, "threshold": 2.5}
SYSTEMS: dict[str, tuple[Callable[[], Any], float]] = {
    "linear": (lambda: ae.LinearProblem(100, 2000, 200, 5e-5), 2.0),
    "two-layer": (lambda: ae.TwoLayerProblem(100, 50), 10.0),
    "recovery": (lambda: replace(ae.RecoveryProblem().scaled(5), **_RECOVERY), 40.0),
}
"""The first problem on the page of each system, and its last time."""

_GIVEN = {
    "activation": ae.two_layer.ACTIVATIONS, "method": METHODS, "network": NETWORKS, "optimizer": OPTIMIZERS,
    "covariance": (None, 0.5, 1.0, 1.5, 2.0),
}  # fmt: skip
"""Options of fields that are not numbers; for the covariance, exponents of power laws."""
_STEPS = 12
"""Steps of a slider in each direction."""


class Control(NamedTuple):
    """One field of a problem, its label, and the values that it may take."""

    name: str
    label: str
    values: tuple[Any, ...]
    value: Any


def made(start: Any, chosen: dict[str, Any]) -> Any:
    """The problem with other values of some fields; raises ValueError where it refuses them."""
    exponent, dim = chosen.get("covariance"), chosen.get("input_dim", start.input_dim)
    law = {} if exponent is None else {"covariance": ae.GaussianSource.power_law(dim, exponent)}
    return replace(start, **chosen | law)


def accepts(start: Any, chosen: dict[str, Any]) -> bool:
    """Whether the problem accepts these values."""
    try:
        made(start, chosen)
    except (TypeError, ValueError):
        return False
    return True


def controls(start: Any, chosen: dict[str, Any]) -> list[Control]:
    """A control for each field for which the problem accepts several values, given the other chosen ones."""
    found = []
    for field in fields(start):
        name, first = field.name, getattr(start, field.name)
        first = getattr(first, "name", first)  # an activation is known by its name
        value = chosen.get(name, first)
        values = tuple(one for one in _values(field, first) if one == value or accepts(start, chosen | {name: one}))
        if len(values) > 1:
            symbol = re.search(rf"^ +{name}: (\S{{1,2}})[,;:] ", inspect.getdoc(type(start)) or "", re.MULTILINE)
            found.append(Control(name, f"{name} ({symbol[1]})" if symbol else name, values, value))
    return found


def _values(field: Any, first: Any) -> tuple[Any, ...]:
    kinds = get_args(field.type) or (field.type,)
    if field.name in _GIVEN or isinstance(first, bool):
        return tuple(_GIVEN.get(field.name, (True, False)))
    if not {int, float} & {*kinds}:
        return ()
    if first is None:
        return (None, *ladder(0.1 if float in kinds else 100, 2))
    return (*(one for one in (None,) if type(None) in kinds), *ladder(first), math.inf)


def ladder(middle: float | int, decades: float | int = 1) -> list[Any]:
    """Numbers of three digits, evenly spaced on a logarithmic scale around one; integers around an integer."""
    around = (middle * 10 ** (decades * step / _STEPS) for step in range(-_STEPS, _STEPS + 1) if step)
    return sorted({middle, *(type(middle)(round(one, 2 - math.floor(math.log10(one)))) for one in around)})


def source(start: Any, chosen: dict[str, Any]) -> str:
    """The Python expression that makes the problem: all arguments that differ from their defaults."""
    given = []
    for field in fields(start):
        value = chosen.get(field.name, getattr(start, field.name))
        value = getattr(value, "name", value)
        if field.name == "covariance" and value is not None:
            given.append(f"covariance=ae.GaussianSource.power_law({made(start, chosen).input_dim}, {value})")
        elif field.default is MISSING or value != field.default:
            given.append(f"{field.name}={'np.inf' if value == math.inf else repr(value)}")
    return f"ae.{type(start).__name__}({', '.join(given)})"
