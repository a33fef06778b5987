"""What a problem is: what is trained, on which data, from which start."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from aetheory.core.checks import did_you_mean, fail, keyword_only
from aetheory.core.curve import Values
from aetheory.core.meaning import PROBLEM_TYPES, Meaning
from aetheory.core.precision import exact_products
from aetheory.core.solve import SolverStats
from aetheory.core.theory import AbstractTheory, Citation


class Outcome(NamedTuple):
    """What one run leaves behind.

    Attributes:
        values: what was measured, with a leading axis of times.
        stats: cost and outcome of the solver; `None` where there is none.
        module: what was trained.
    """

    values: Values
    stats: SolverStats | None = None
    module: PyTree = None


class AbstractExperiment(eqx.Module):
    """A problem made ready to run: its law-exact reduction, the times and how it is solved.

    Its static part (`eqx.partition(experiment, eqx.is_array)`) is all that a compiled program depends on; the arrays
    are the program's inputs, so that experiments with equal static parts share a program.
    """

    times: eqx.AbstractVar[Float[Array, " times"] | Int[Array, " times"]]

    @abc.abstractmethod
    def run(self, key: PRNGKeyArray) -> Outcome:
        """One random draw and its training: a pure function of the key, to be compiled."""

    @exact_products
    def outcome(self, key: PRNGKeyArray) -> Outcome:
        """`run` as everything of the library runs it."""
        return self.run(key)

    def repeats_at_once(self, num_repeats: int) -> int | None:
        """How many repeats to vectorise; `None` runs them one after the other."""
        return None


class AbstractProblem(eqx.Module):
    """What is trained, on which data, from which start. Final subclasses are the systems of the library, and yours.

    Fields that decide shapes are static or Python numbers; all others are arrays, which may be traced and batched.
    """

    theories: eqx.AbstractClassVar[Mapping[str, AbstractTheory]]
    """The theories that speak of such a problem, by name."""
    citations: eqx.AbstractClassVar[tuple[Citation, ...]]
    """Where the system comes from."""
    free_numbers: eqx.AbstractClassVar[tuple[str, ...]]
    """The numbers of `continuous()` that its theories are differentiable in."""
    meanings: ClassVar[Mapping[str, Meaning]] = {}
    """Meaning of the values of its curves, by name; fields declare theirs by `described` metadata."""
    number_meanings: ClassVar[Mapping[str, Meaning]] = {}
    """Meaning of its numbers that are not fields of every class, such as ratios and `products`."""
    products: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Products of `free_numbers` that a fit reports too, such as c = xy, by name."""
    takes_input_dim: ClassVar[bool] = False
    """Whether `problem(input_dim)` makes problems of several dimensions, so that a fit can be corrected for size."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        PROBLEM_TYPES.append(cls)

    @abc.abstractmethod
    def default_theory(self) -> AbstractTheory:
        """The theory that is meant where none is named.

        Raises:
            ValueError: the problem's values are traced or a batch, and decide it.
        """

    @property
    def is_descent(self) -> bool:
        """Whether its times are numbers of steps."""
        return False

    @property
    def candidates(self) -> Sequence[AbstractTheory]:
        """The theories that a fit chooses from where none is named: by default the one that is meant then."""
        return (self.default_theory(),)

    def caveat(self, theory: AbstractTheory, options: Mapping[str, Any]) -> str | None:
        """Reason why a theory is inaccurate for this problem, of which `predict` warns; `None` where there is none."""
        return None

    @abc.abstractmethod
    def experiment(self, *times: Any, **options: Any) -> AbstractExperiment:
        """`experiment(times, **options)`: the problem made ready to be simulated; every argument is checked here.

        Raises:
            ValueError: an argument is out of its range, or a number that decides shapes is traced.
        """

    @property
    def options(self) -> tuple[str, ...]:
        """The options that `experiment`, and so `simulate`, takes."""
        return keyword_only(self.experiment)

    def continuous(self) -> "AbstractProblem":
        """The problem as its theories see it, with real numbers in place of whole dimensions where they allow it."""
        return self

    def problem(self, input_dim: int) -> "AbstractProblem":
        """The inverse of `continuous`: the nearest problem with whole dimensions, of this input dimension.

        Raises:
            ValueError: the problem has whole dimensions of its own.
        """
        raise fail("input_dim", f"None for a {type(self).__name__}, which has dimensions of its own", input_dim)

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any], *, continuous: bool = False) -> "AbstractProblem":
        """The problem that the parameters of a cell of a sweep describe: by default its own arguments.

        Arguments:
            parameters: by name; arrays of one shape and traced numbers too, where the problem takes them.
            continuous: as its theories see it.

        Raises:
            ValueError: a parameter is missing, unknown or out of its range.
        """
        problem = cls(**parameters)
        return problem.continuous() if continuous else problem

    def find_theory(self, name: Any) -> AbstractTheory:
        """The theory of that name, or the one itself.

        Raises:
            ValueError: an unknown name.
        """
        if isinstance(name, AbstractTheory):
            return name
        if isinstance(name, str) and name in self.theories:
            return self.theories[name]
        known, meant = ", ".join(map(repr, self.theories)), did_you_mean(name, self.theories)
        raise fail("theory", f"one of {known} for a {type(self).__name__}, or None{meant}", name)
