"""Coefficients of the loss expansion as objects: exact at finite size, or leading in large dimension."""

import abc
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from aetheory.core.checks import as_float, common_float_dtype
from aetheory.linear.expansion.planar import leading_risk_derivative
from aetheory.linear.expansion.polynomial import Polynomial
from aetheory.linear.expansion.stored import cached
from aetheory.linear.expansion.wick import expected_risk_derivative
from aetheory.linear.expansion.words import check_order_and_risk
from aetheory.linear.faces import check_faces, lies_on

if TYPE_CHECKING:
    import sympy


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
        """The exponents (m, n, j, e) of xᵐ yⁿ zʲ p^{−e} and their coefficients."""

    def evaluate(self, problem: Any) -> Float[Array, "..."]:
        """The value at a problem's p, H, N and σ², of the shape that these broadcast to.

        Raises:
            RuntimeError: the value exceeds the range of the floating-point type.
        """
        return _evaluate(self._tensor[None], problem)[..., 0]

    def to_sympy(self) -> "sympy.Expr":
        """The polynomial as a SymPy expression; see `Polynomial.to_sympy`."""
        return self.polynomial.to_sympy()

    def __str__(self) -> str:
        return str(self.polynomial)

    def __repr__(self) -> str:
        where, size = f"order {self.order}, {self.risk} risk", len(self.polynomial.terms)
        return f"<{type(self).__name__}, {where}: {size} monomials>"

    @cached_property
    def _tensor(self) -> Float64[np.ndarray, "m n j e"]:
        """The coefficients by exponents."""
        tensor = np.zeros(np.max([*self.monomials, (0, 0, 0, 0)], axis=0) + 1)
        for exponents, value in self.monomials.items():
            tensor[exponents] = value
        return tensor


@dataclass(frozen=True, repr=False)
class ExactCoefficient(AbstractCoefficient):
    """E R^{(s)}(0) at every p, H, N and σ², a polynomial in p, H, σ² and 1/N."""

    @property
    def loss(self) -> Polynomial:
        """E L^{(s)}(0) of the loss L = pR/2 that the flow descends."""
        halves = {(p + 1, *others): value / 2 for (p, *others), value in self.polynomial.terms}
        return Polynomial.from_terms(self.polynomial.variables, halves)

    @property
    def monomials(self) -> dict[tuple[int, ...], Fraction]:
        """As p^a H^b σ^{2m} N^{−c} = (pσ²)ᵐ (H/p)ᵇ (p/N)ᶜ (1/p)^e, where e ≥ 0 is the number of lost loops."""
        return {(m, b, c, m + c - a - b): value for (a, b, m, c), value in self.polynomial.terms}


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


def coefficients(order: int, risk: str = "train") -> ExactCoefficient:
    """The exact coefficient E R^{(s)}(0) of the formal expansion E R(t) ~ Σ_s E R^{(s)}(0) tˢ/s!.

    The result is kept on disk (environment variable AETHEORY_CACHE: where).

    Arguments:
        order: s, from 0 to 10. Orders up to 6 take a fraction of a second, order 10 about a minute.
        risk: "train" or "population".

    Raises:
        ValueError: an order outside this range, or another risk.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the method is that of arXiv:2602.04548, Theorem 3.1.
    """
    check_order_and_risk(order, risk)
    return ExactCoefficient(order, risk, cached(expected_risk_derivative, order, risk))


def planar(order: int, risk: str = "train") -> PlanarCoefficient:
    """The limit of E R^{(s)}(0) as p, H, N → ∞ at fixed x = pσ², y = H/p and z = p/N.

    The result is kept on disk (environment variable AETHEORY_CACHE: where).

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
        ValueError: the coefficients are not those of consecutive orders from 0.
    """
    orders = [coefficient.order for coefficient in coefficients]
    if not orders or orders != list(range(len(orders))):
        raise ValueError(f"Argument `coefficients` must be of orders 0, 1, 2, …, but got orders {orders}.")
    tensors = [coefficient._tensor / math.factorial(coefficient.order) for coefficient in coefficients]
    shape = np.max([tensor.shape for tensor in tensors], axis=0)
    padded = [np.pad(tensor, [(0, missing) for missing in shape - tensor.shape]) for tensor in tensors]
    return _evaluate(np.stack(padded), problem)


def _evaluate(tensor: Float64[np.ndarray, "k m n j e"], problem: Any) -> Float[Array, "... k"]:
    """Σ c xᵐ yⁿ zʲ p^{−e} at a `LinearProblem`, or at anything that carries its four numbers."""
    fields = (problem.input_dim, problem.latent_dim, problem.num_samples, problem.init_variance)
    dtype = common_float_dtype(*fields)
    p, H, N, variance = jnp.broadcast_arrays(*(as_float(field).astype(dtype) for field in fields))
    return _sum_monomials(jnp.asarray(tensor, dtype), p * variance, H * variance, p / N, 1 / p)


@eqx.filter_jit
def _sum_monomials(
    tensor: Float[Array, "k m n j e"],
    x: Float[Array, "..."],
    xy: Float[Array, "..."],
    z: Float[Array, "..."],
    inverse_p: Float[Array, "..."],
) -> Float[Array, "... k"]:
    """Σ c xᵐ yⁿ zʲ p^{−e}.

    As n ≤ m, the first two factors are (Hσ²)ⁿ (pσ²)^{m−n}, which stay of order one when H and p are far apart. All
    monomials of one m have the same sign: only the last sum, over m, cancels.
    """
    _, m_size, n_size, j_size, e_size = tensor.shape
    m, n = np.indices((m_size, n_size))
    weights = _powers(x, m_size)[..., np.maximum(m - n, 0)] * _powers(xy, n_size)[..., n]
    factors = (weights, _powers(z, j_size), _powers(inverse_p, e_size))
    value = jnp.einsum("kmnje,...mn,...j,...e->...km", tensor, *factors, precision="highest").sum(axis=-1)
    checked: Float[Array, "... k"] = eqx.error_if(
        value,
        ~jnp.isfinite(value),
        f"The coefficient exceeds the range of {value.dtype} at this problem; use float64, or rescale time.",
    )
    return checked


def _powers(base: Float[Array, "..."], size: int) -> Float[Array, "... size"]:
    """base⁰, base¹, …, along a new last axis, by multiplication: differentiable at 0."""
    return jnp.stack(list(accumulate([base] * (size - 1), operator.mul, initial=jnp.ones_like(base))), axis=-1)
