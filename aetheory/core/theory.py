"""What a theory is: one limit with its formula, its source, its range and its error, and the curve that it predicts."""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Citation:
    """Where a formula stands.

    Arguments:
        key: of an entry in `references.bib`.
        place: theorem, equation, section or figure there; empty where its number is not known to us.
        derived: derived for this library from what stands there; no theorem of that work.
    """

    key: str
    place: str = ""
    derived: bool = False


@dataclass(frozen=True)
class AbstractTheory(abc.ABC):
    """One limit of one system. Subclasses are final; their instances are constants of the library.

    Arguments:
        name: what `predict` is asked for.
        formula: the result, in one line.
        citations: where it stands.
        tested: the range of parameters over which it was compared with simulations or independent numerics.
        error: how far off it was there.
    """

    name: str
    formula: str
    citations: tuple[Citation, ...]
    tested: str
    error: str

    is_approximate: ClassVar[bool] = False
    """Whether its curves come with a bracket."""

    in_fits: ClassVar[Mapping[str, Any]] = {}
    """Options of `curve` in a fit, which asks for hundreds of curves."""

    @property
    def is_explicit(self) -> bool:
        """Whether a curve is a closed form or a quadrature, without a flow or a descent to solve."""
        return False

    @property
    def left_out(self) -> str:
        """What neither the limit nor its correction for finite size contains, for the messages of a fit."""
        return ""

    @property
    def corrected(self) -> bool:
        """Whether a first correction for finite size is known in closed form."""
        return False

    @property
    def is_special(self) -> bool:
        """Whether other theories of its problem meet in it, and say all that it says."""
        return False

    @abc.abstractmethod
    def curve(self, *problem_and_times: Any, **options: Any) -> Any:
        """`curve(problem, times, **options)`: the `Curve` of this problem; subclasses say which options they take."""

    def __str__(self) -> str:
        return f"{self.name}: {self.formula}\n  tested: {self.tested}\n  error: {self.error}"
