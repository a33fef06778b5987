"""Exact polynomials in several variables: printing, and exact arithmetic at a point."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Polynomial:
    """A polynomial with rational coefficients, immutable and hashable.

    Arguments:
        variables: names of the variables; a name may itself be a power such as `sigma^2` or `1/N`.
        terms: pairs (exponents, coefficient), one exponent a variable, in increasing order of exponents.
    """

    variables: tuple[str, ...]
    terms: tuple[tuple[tuple[int, ...], Fraction], ...]

    @staticmethod
    def from_terms(variables: tuple[str, ...], terms: Mapping[tuple[int, ...], int | Fraction]) -> "Polynomial":
        """The polynomial Σ c · ∏ variable^exponent over `terms`, a map from exponents to coefficients."""
        ordered = sorted((exponents, Fraction(value)) for exponents, value in terms.items() if value)
        return Polynomial(variables, tuple(ordered))

    def __call__(self, *values: Any) -> Any:
        """The value at a point, one number a variable: exact for integers and `fractions.Fraction`."""
        if len(values) != len(self.variables):
            raise ValueError(f"Argument `values` must be one value for each of {self.variables}, but got {values!r}.")
        total: Any = 0
        for exponents, coefficient in self.terms:
            monomial: Any = coefficient
            for value, exponent in zip(values, exponents, strict=True):
                monomial = monomial * value**exponent
            total = total + monomial
        return total

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        text = " ".join(_term(self.variables, exponents, value) for exponents, value in self.terms)
        return text.removeprefix("+ ") if text.startswith("+ ") else "−" + text.removeprefix("− ")


def _term(variables: tuple[str, ...], exponents: tuple[int, ...], coefficient: Fraction) -> str:
    factors = "".join(_power(name, exponent) for name, exponent in zip(variables, exponents, strict=True) if exponent)
    sign, size = "−" if coefficient < 0 else "+", str(abs(coefficient))
    if not factors:
        return f"{sign} {size}"
    if factors.startswith("/"):
        return f"{sign} {size}{factors}"
    return f"{sign} {factors}" if size == "1" else f"{sign} {size} {factors}"


def _power(name: str, exponent: int) -> str:
    """A variable to a power: p³, σ⁴ for (sigma^2)², /N² for (1/N)²."""
    base, _, inner = name.partition("^")
    prefix, base = ("/", base.removeprefix("1/")) if base.startswith("1/") else ("", base)
    power = exponent * int(inner or 1)
    return (
        prefix
        + base.replace("sigma", "σ").replace("tau", "τ")
        + ("" if power == 1 else str(power).translate(_SUPERSCRIPTS))
    )
