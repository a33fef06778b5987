"""A claim: a test that returns what is expected beside ours, and marks that say what is claimed and what we found."""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from aetheory.core.theory import Citation

Cost = Literal["quick", "default", "full"]
Verdict = Literal["holds", "holds approximately", "does not hold as printed", "not reproduced", "beyond the papers"]
OTHER_FILES = ("conftest.py", "definitions.py", "report.py")
DIFFERS: tuple[Verdict, ...] = ("does not hold as printed", "not reproduced")
"""The verdicts that stand as long as ours is *not* what was printed."""


def claim(name: str, *sources: Citation, **fields: Any) -> pytest.MarkDecorator:
    """A mark with the name of a claim, where it is claimed, and other fields of `Claim`."""
    return pytest.mark.claim(name=name, sources=sources, **fields)


def verdict(verdict: Verdict, tolerance: float, why: str, **fields: Any) -> pytest.MarkDecorator:
    """A mark with what we found, the tolerance of the largest deviation, its reason, and other fields of `Claim`."""
    return pytest.mark.claim(verdict=verdict, tolerance=tolerance, why=why, **fields)


detail = pytest.mark.claim
"""A mark with other fields of `Claim`."""


@dataclass(frozen=True)
class Claim:
    """A statement of a paper or of this library, and what is needed to judge it."""

    name: str  # "system/subject/statement"
    sources: tuple[Citation, ...]  # where it is claimed
    statement: str  # what is claimed, in one sentence of Markdown; the docstring of the test
    verdict: Verdict  # what we found; it stands while the deviation is within the tolerance, of `DIFFERS` beyond it
    tolerance: float  # of the largest deviation of all rows
    why: str  # the reason for this tolerance
    cost: Cost = "quick"  # seconds; "default": minutes; "full": as long as the paper took
    published: Mapping[str, float] | None = None  # printed values by label, with which ours of that label are compared
    relative: Literal["each", "largest"] | None = None  # deviations are shares of each expected value or the largest
    against: str = "0"  # what ours is compared with; "published" where published values are given
    axis: str = ""  # the name of the numbers in labels "series @ number", for a figure
    log: bool = False  # whether the values of the figure are on a logarithmic axis
    note: str = ""  # what a reader should know besides
    stored: str = ""  # the command that made stored values, where recomputing them takes hours

    @property
    def system(self) -> str:
        """The first part of the name."""
        return self.name.partition("/")[0]

    def rows(self, values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        """Pairs of an expected value and ours, of ours by label or of such pairs."""
        known = self.published or {}
        pairs = {label: (known[label], value) if label in known else value for label, value in values.items()}
        return {label: (float(expected), float(ours)) for label, (expected, ours) in pairs.items()}

    def deviations(self, rows: Mapping[str, tuple[float, float]]) -> dict[str, float]:
        """Deviations by label; infinite where ours is not a number."""
        largest, deviations = max(abs(expected) for expected, _ in rows.values()), {}
        for label, (expected, ours) in rows.items():
            scale = {"each": abs(expected), "largest": largest, None: 1.0}[self.relative]
            deviations[label] = float("inf") if math.isnan(ours) else abs(ours - expected) / scale
        return deviations

    def stands(self, deviation: float) -> bool:
        """Whether the verdict is right for the largest deviation; never where ours is not a number."""
        return math.isfinite(deviation) and bool(deviation <= self.tolerance) != (self.verdict in DIFFERS)


def as_claim(function: Callable[..., Any], marks: list[pytest.Mark]) -> Claim:
    """The claim of a test with these marks; those of a parameter come last and replace others."""
    fields: dict[str, Any] = {"statement": " ".join((function.__doc__ or "").split())}
    for mark in marks:
        if mark.name == "claim":
            fields |= mark.kwargs
    if "published" in fields:
        fields.setdefault("against", "published")
    return Claim(**fields)


def along(series: str, numbers: Any, expected: Any, ours: Any) -> dict[str, tuple[Any, Any]]:
    """Pairs of an expected value and ours, labelled by the series and a number of the axis."""
    return {f"{series} @ {number:.4g}": pair for number, *pair in zip(numbers, expected, ours, strict=True)}


def all_claims() -> dict[str, tuple[Claim, Callable[[], Mapping[str, Any]]]]:
    """By name every claim of this folder, with the test that computes its values."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.name in OTHER_FILES:
            continue
        for function in vars(importlib.import_module(f"benchmarks.claims.{path.stem}")).values():
            marks = getattr(function, "pytestmark", [])
            if marks and function.__module__.endswith(path.stem):
                claim = as_claim(function, marks)
                found[claim.name] = claim, function
    return found
