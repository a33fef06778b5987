"""What a claim is: a statement of a paper or of this library, with all that it takes to recompute and to judge it."""

import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from aetheory.core.theory import Citation

System = Literal["linear", "two-layer", "recovery", "library"]
Cost = Literal["quick", "default", "full"]
Verdict = Literal["holds", "holds approximately", "does not hold as printed", "not reproduced", "beyond the papers"]
DIFFERS: tuple[Verdict, ...] = ("does not hold as printed", "not reproduced")
"""The verdicts that stand as long as ours is *not* what was printed."""


class Row(NamedTuple):
    """One number: what is expected of it, and ours."""

    expected: float
    ours: float


@dataclass(frozen=True)
class Claim:
    """One claim. `compute` takes seconds (`cost` "quick"), up to minutes ("default") or as long as the paper took.

    Arguments:
        name: where it belongs, "system/subject/statement".
        statement: what is claimed, in one sentence of Markdown.
        sources: where it is claimed.
        compute: our values by label, or pairs of what is expected and ours; where `published` has the label, ours.
        verdict: what we found. It stands as long as the deviation is within the tolerance; of `DIFFERS`, beyond it.
        tolerance: of the deviation, the largest of all rows.
        why: this tolerance and no other.
        published: values that were printed, by label.
        relative: deviations are shares of each expected value, of the largest one, or absolute.
        against: what the expected values are.
        axis: what labels "series @ number" count, for a figure.
        log: whether the figure's values are on a logarithmic axis.
        note: what a reader should know besides.
        stored: the command that made stored values, and when, where recomputing them takes hours.
    """

    name: str
    statement: str
    sources: tuple[Citation, ...]
    compute: Callable[[], Mapping[str, Any]]
    verdict: Verdict
    tolerance: float | int
    why: str
    cost: Cost = "quick"
    published: Mapping[str, float | int] | None = None
    relative: Literal["each", "largest"] | None = None
    against: str = "published"
    axis: str = ""
    log: bool = False
    note: str = ""
    stored: str = ""

    @property
    def system(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]

    def rows(self) -> dict[str, Row]:
        """What is expected beside what is computed now."""
        known = self.published or {}
        pairs = {label: (known[label], found) if label in known else found for label, found in self.compute().items()}
        return {label: Row(*(float(value) for value in pair)) for label, pair in pairs.items()}

    def deviations(self, rows: Mapping[str, Row]) -> dict[str, float]:
        """By label; infinite where ours is not a number."""
        largest = max(abs(row.expected) for row in rows.values())
        scales = {
            label: abs(row.expected) if self.relative == "each" else largest if self.relative == "largest" else 1.0
            for label, row in rows.items()
        }
        found = {label: abs(row.ours - row.expected) / scales[label] for label, row in rows.items()}
        return {label: value if value == value else float("inf") for label, value in found.items()}

    def stands(self, deviation: float) -> bool:
        """Whether the verdict is the right one for the largest deviation."""
        return bool(deviation <= self.tolerance) != (self.verdict in DIFFERS)

    @property
    def digest(self) -> str:
        """Of the definition: all fields, and the source of `compute` with the functions of its module that it calls."""
        told = [repr(value) for name, value in vars(self).items() if name != "compute"]
        return hashlib.blake2b("\n".join([*told, *_sources(self.compute, set())]).encode(), digest_size=8).hexdigest()


def claim(name: str, statement: str, *sources: Citation, **fields: Any) -> Callable[[Callable[[], Any]], Claim]:
    """Make the decorated function a claim; `fields` are those of `Claim`."""
    return lambda compute: Claim(name, statement, sources, compute, **fields)


def claims_among(namespace: Mapping[str, Any]) -> tuple[Claim, ...]:
    """The claims of a module, in their order."""
    return tuple(value for value in namespace.values() if isinstance(value, Claim))


def _sources(function: Any, seen: set[str]) -> list[str]:
    plain = inspect.unwrap(function)  # a type checker wraps it
    found = [inspect.getsource(plain)]
    for name in plain.__code__.co_names:
        called = inspect.unwrap(plain.__globals__.get(name))
        if inspect.isfunction(called) and called.__module__ == plain.__module__ and name not in seen:
            seen.add(name)
            found += _sources(called, seen)
    return found
