"""`Meaning`: name, symbol, unit and range of a number of a problem, or of a value of its curves."""

import dataclasses
import math
from typing import Any, get_args

from aetheory.core.checks import check_real


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a number of a problem or a value of its curves stands for.

    Arguments:
        long_name: the words for it, as they stand in tables and labels.
        symbol: LaTeX, without dollar signs; empty where it has none.
        unit: "1" for a number without a unit.
        minimum, maximum: the range of a number.
        strict: whether the minimum itself is not allowed.
        axis: the label of an axis that shows a value; values with the same label are drawn together.
    """

    long_name: str
    symbol: str = ""
    unit: str = "1"
    minimum: float = -math.inf
    maximum: float = math.inf
    strict: bool = False
    axis: str = ""

    @property
    def allowed(self) -> str:
        """The range in words, as messages name it."""
        if self.minimum == -math.inf:
            return "finite"
        if self.maximum < math.inf:
            return f"in {'(' if self.strict else '['}{self.minimum:g}, {self.maximum:g}]"
        return "finite and positive" if self.strict else "finite and nonnegative"

    @property
    def label(self) -> str:
        """The symbol between dollar signs, or the long name where there is no symbol."""
        return f"${self.symbol}$" if self.symbol else self.long_name

    @property
    def attributes(self) -> dict[str, str]:
        """`long_name` and `units`, the attributes of a labelled array."""
        return {"long_name": self.long_name, "units": self.unit}


def described(long_name: str, symbol: str = "", **more: Any) -> dict[str, Meaning]:
    r"""Metadata of a field with this meaning: `eqx.field(metadata=described("initial scale", r"p\sigma^2"))`."""
    return {"meaning": Meaning(long_name, symbol, **more)}


PROBLEM_TYPES: list[Any] = []
"""All classes of problems, in the order of their definition."""

POSITIVE: dict[str, Any] = {"minimum": 0.0, "strict": True}
NONNEGATIVE: dict[str, Any] = {"minimum": 0.0}


def meaning(problem_type: type | None, name: str) -> Meaning:
    """Meaning of a field, of a value of the curves, or of another declared number of a class of problems.

    Without a class, the first class that declares the name is asked. Where none does, the long name is the name itself
    with spaces for underscores.
    """
    for one in PROBLEM_TYPES if problem_type is None else [problem_type]:
        declared: dict[str, Meaning] = {**getattr(one, "meanings", {}), **getattr(one, "number_meanings", {})}
        if name in declared:
            return declared[name]
        for field in dataclasses.fields(one):
            if field.name == name and "meaning" in field.metadata:
                return field.metadata["meaning"]  # type: ignore[no-any-return]
    return Meaning(name.replace("_", " "))


def value_names(problem_type: type | None = None) -> tuple[str, ...]:
    """Declared names of the values of a problem's curves; of all problems where no class is given."""
    names: dict[str, None] = {}
    for one in PROBLEM_TYPES if problem_type is None else [problem_type]:
        names |= dict.fromkeys(getattr(one, "meanings", {}))
    return tuple(names)


def check_fields(problem: Any, *names: str) -> None:
    """Raise ValueError where a field is outside the range that its metadata declares, or `None` but not optional."""
    types = {field.name: field.type for field in dataclasses.fields(problem)}
    for name in names:
        value, range_ = getattr(problem, name), meaning(type(problem), name)
        if value is not None or type(None) not in get_args(types[name]):
            limits = {"minimum": range_.minimum, "maximum": range_.maximum}
            check_real(name, value, range_.allowed, strict=range_.strict, **limits)
