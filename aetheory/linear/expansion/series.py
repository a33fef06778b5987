"""Coefficients of the loss expansion as objects: exact at finite size, or leading in large dimension."""

import abc
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from aetheory.core.checks import as_float, common_float_dtype, fail
from aetheory.linear.expansion.planar import leading_risk_derivative
from aetheory.linear.expansion.polynomial import Polynomial
from aetheory.linear.expansion.stored import cached
from aetheory.linear.expansion.wick import expected_risk_derivative, expected_risk_derivative_of_any_covariance
from aetheory.linear.expansion.words import HIGHEST_ORDER_OF_ANY_COVARIANCE, check_order_and_risk
from aetheory.linear.faces import check_faces, lies_on


@dataclass(frozen=True)
class AbstractCoefficient(abc.ABC):
    """E R^{(s)}(0), the s-th time derivative of the expected risk at initialisation, or a part of it.

    Arguments:
        order: s.
        risk: "train" or "population".
        polynomial: the derivative as a polynomial with integer coefficients.
    """

    order: int
    risk: str
    polynomial: Polynomial

    @property
    @abc.abstractmethod
    def monomials(self) -> dict[tuple[int, ...], Fraction]:
        """The exponents (m, n, j, e) of xᵐ yⁿ zʲ p^{−e}, those of τ₁, τ₂, … after them, and their coefficients."""

    def evaluate(self, problem: Any) -> Float[Array, "..."]:
        """The value at a problem's p, H, N and σ² (and Σ), of the shape that these broadcast to.

        Raises:
            ValueError: a problem with a covariance of its own, for a coefficient of isotropic inputs.
            RuntimeError: the value exceeds the range of the floating-point type.
        """
        return _evaluate([self._table], problem)[..., 0]

    def __str__(self) -> str:
        return str(self.polynomial)

    def __repr__(self) -> str:
        where, size = f"order {self.order}, {self.risk} risk", len(self.polynomial.terms)
        return f"<{type(self).__name__}, {where}: {size} monomials>"

    @cached_property
    def _table(self) -> "_Table":
        """The monomials as arrays; one of coefficient 0 where there is none."""
        monomials = self.monomials or {(0, 0, 0, 0): Fraction(0)}
        return _Table(np.array([*monomials]), np.array([float(value) for value in monomials.values()]))


@dataclass(frozen=True, repr=False)
class ExactCoefficient(AbstractCoefficient):
    """E R^{(s)}(0) at every p, H, N and σ², a polynomial in p, H, σ² and 1/N, for any Σ also in τ_k = tr Σᵏ/p."""

    @property
    def loss(self) -> Polynomial:
        """E L^{(s)}(0) of the loss L = pR/2 that the flow descends."""
        halves = {(p + 1, *others): value / 2 for (p, *others), value in self.polynomial.terms}
        return Polynomial.from_terms(self.polynomial.variables, halves)

    @property
    def monomials(self) -> dict[tuple[int, ...], Fraction]:
        """As p^a H^b σ^{2m} N^{−c} = (pσ²)ᵐ (H/p)ᵇ (p/N)ᶜ (1/p)^e, where e ≥ 0 is the number of lost loops."""
        terms = self.polynomial.terms
        return {(m, b, c, m + c - a - b, *moments): value for (a, b, m, c, *moments), value in terms}


@dataclass(frozen=True, repr=False)
class PlanarCoefficient(AbstractCoefficient):
    """The limit of E R^{(s)}(0) as p, H, N → ∞ at fixed x = pσ², y = H/p, z = p/N, or its part on some faces.

    Arguments:
        faces: the faces of the prism that the monomials lie on; empty for the whole prism.
    """

    faces: tuple[str, ...] = ()

    @property
    def monomials(self) -> dict[tuple[int, ...], Fraction]:
        """Without powers of 1/p."""
        return {(*exponents, 0): value for exponents, value in self.polynomial.terms}

    def restrict(self, *faces: str) -> "PlanarCoefficient":
        """The monomials that lie on all of `faces`: one for a face, two for an edge, three for a vertex.

        Arguments:
            faces: among "large-data", "small-data", "mean-field", "narrow-latent" and "free".

        Raises:
            ValueError: an unknown face, or faces that do not meet.

        Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the scalings: arXiv:2602.04548, Table 2, App. E.
        """
        together = tuple(dict.fromkeys(self.faces + faces))
        check_faces(together)
        kept = {m: c for m, c in self.polynomial.terms if lies_on(together, m, self.order, self.risk)}
        polynomial = Polynomial.from_terms(self.polynomial.variables, kept)
        return PlanarCoefficient(self.order, self.risk, polynomial, together)


def coefficients(order: int, risk: str = "train", any_covariance: bool = False) -> ExactCoefficient:
    """The exact coefficient E R^{(s)}(0) of the formal expansion E R(t) ~ Σ_s E R^{(s)}(0) tˢ/s!.

    The result is kept on disk (environment variable AETHEORY_CACHE: where).

    Arguments:
        order: s, from 0 to 10. Orders up to 6 take a fraction of a second, order 10 about a minute.
        risk: "train" or "population".
        any_covariance: for inputs of any covariance Σ, also in the variables τ_k = tr Σᵏ/p (all of them 1 where Σ = I;
            derived for this library). Orders go up to 6 then, which takes a few seconds.

    Raises:
        ValueError: an order outside this range, or another risk.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the method is that of arXiv:2602.04548, Theorem 3.1.
    """
    check_order_and_risk(order, risk)
    if any_covariance:
        if order > HIGHEST_ORDER_OF_ANY_COVARIANCE:
            raise fail("order", f"at most {HIGHEST_ORDER_OF_ANY_COVARIANCE} for any covariance", order)
        return ExactCoefficient(order, risk, cached(expected_risk_derivative_of_any_covariance, order, risk))
    return ExactCoefficient(order, risk, cached(expected_risk_derivative, order, risk))


def planar(order: int, risk: str = "train") -> PlanarCoefficient:
    """The limit of E R^{(s)}(0) as p, H, N → ∞ at fixed x = pσ², y = H/p and z = p/N, kept on disk as `coefficients`.

    Arguments:
        order: s, from 0 to 10. Orders up to 8 take about a second, order 10 about ten.
        risk: "train" or "population".

    Raises:
        ValueError: an order outside this range, or another risk.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the method is that of arXiv:2602.04548, Section 4.
    """
    check_order_and_risk(order, risk)
    return PlanarCoefficient(order, risk, cached(leading_risk_derivative, order, risk))


def taylor_series(
    coefficients: Sequence[ExactCoefficient | PlanarCoefficient], problem: Any
) -> Float[Array, "*batch order_plus_one"]:
    """Taylor coefficients R^{(s)}(0)/s! at a problem, along the last axis, from coefficients of orders 0, 1, 2, ….

    Raises:
        ValueError: the coefficients are not those of consecutive orders from 0, or not of any covariance where the
            problem has one; or its weights are not tied, or penalised.
    """
    kinds = ExactCoefficient | PlanarCoefficient
    if not (isinstance(coefficients, Sequence) and all(isinstance(one, kinds) for one in coefficients)):
        raise fail(
            "coefficients", "a sequence of coefficients, as `planar` and `coefficients` return them", coefficients
        )
    orders = [coefficient.order for coefficient in coefficients]
    if not orders or orders != list(range(len(orders))):
        raise ValueError(f"Argument `coefficients` must be of orders 0, 1, 2, …, but got orders {orders}.")
    tables = [one._table._replace(values=one._table.values / math.factorial(one.order)) for one in coefficients]
    return _evaluate(tables, problem)


class _Table(NamedTuple):
    """A sum of monomials.

    Arguments:
        exponents: (m, n, j, e) and those of τ₁, τ₂, …, a row for each monomial.
        values: the coefficients.
    """

    exponents: Int[np.ndarray, "terms variables"]
    values: Float64[np.ndarray, " terms"]


def _evaluate(tables: Sequence[_Table], problem: Any) -> Float[Array, "... k"]:
    """Σ c xᵐ yⁿ zʲ p^{−e} ∏ τ_k^{n_k} for each table at a `LinearProblem`, or at what carries its numbers."""
    if not all(hasattr(problem, name) for name in ("input_dim", "latent_dim", "num_samples", "init_variance")):
        raise fail("problem", "a LinearProblem, or what carries its numbers", problem)
    covariance = getattr(problem, "covariance", None)
    if not getattr(problem, "tied", True):
        raise fail("problem", "of tied weights, which are expanded here", problem)
    if any(getattr(problem, name, None) is not None for name in ("weight_decay", "input_noise")):
        raise fail("problem", "without weight_decay and input_noise, which are not expanded here", problem)
    if covariance is not None and any(table.exponents.shape[1] == 4 for table in tables):
        raise ValueError(
            "Argument `problem` must have isotropic inputs for this coefficient; those of any covariance are "
            "`coefficients(order, risk, any_covariance=True)`."
        )
    fields = (problem.input_dim, problem.latent_dim, problem.num_samples, problem.init_variance)
    dtype = common_float_dtype(*fields, covariance)
    p, H, N, variance = jnp.broadcast_arrays(*(as_float(field).astype(dtype) for field in fields))
    width = max(table.exponents.shape[1] for table in tables)
    exponents = np.concatenate([np.pad(one.exponents, ((0, 0), (0, width - one.exponents.shape[1]))) for one in tables])
    m, shape = exponents[:, 0].copy(), (len(tables), int(exponents[:, 0].max()) + 1)
    places = np.repeat(np.arange(len(tables)), [len(one.values) for one in tables]) * shape[1] + m
    # xᵐ yⁿ as (pσ²)^{m−n} (Hσ²)ⁿ, which stay of order one when H and p are far apart
    exponents[:, 0] -= exponents[:, 1]
    moments = jnp.ones(width - 4, dtype)
    if covariance is not None:
        moments = jnp.mean(_powers(covariance.astype(dtype), width - 3)[:, 1:], axis=0)
    bases = (p * variance, H * variance, p / N, 1 / p, *(jnp.broadcast_to(moment, p.shape) for moment in moments))
    values = jnp.asarray(np.concatenate([one.values for one in tables]), dtype)
    sizes = tuple((exponents.max(axis=0) + 1).tolist())
    return _sum_monomials(jnp.asarray(exponents), values, jnp.asarray(places), bases, sizes, shape)


@eqx.filter_jit
def _sum_monomials(
    exponents: Int[Array, "terms variables"],
    values: Float[Array, " terms"],
    places: Int[Array, " terms"],
    bases: tuple[Float[Array, "..."], ...],
    sizes: tuple[int, ...],
    shape: tuple[int, int],
) -> Float[Array, "... k"]:
    """Σ c ∏ base^exponent over the monomials of each place (k, m).

    All monomials of one k and m have the same sign: only the last sum, over m, cancels.
    """
    product = jnp.broadcast_to(values, (*bases[0].shape, len(values)))
    for column, (base, size) in enumerate(zip(bases, sizes, strict=True)):
        if size > 1:
            product = product * _powers(base, size)[..., exponents[:, column]]
    total = jnp.zeros((*bases[0].shape, shape[0] * shape[1]), values.dtype).at[..., places].add(product)
    value = jnp.sum(total.reshape(*bases[0].shape, *shape), axis=-1)
    checked: Float[Array, "... k"] = eqx.error_if(
        value,
        ~jnp.isfinite(value),
        f"The coefficient exceeds the range of {value.dtype} at this problem; use float64, or rescale time.",
    )
    return checked


def _powers(base: Float[Array, "..."], size: int) -> Float[Array, "... size"]:
    """base⁰, base¹, …, along a new last axis, by multiplication: differentiable at 0."""
    return jnp.stack(list(accumulate([base] * (size - 1), operator.mul, initial=jnp.ones_like(base))), axis=-1)
