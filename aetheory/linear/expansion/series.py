"""Coefficients of the loss expansion as objects: exact at finite size, or leading in large dimension."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from aetheory.core.checks import as_float, common_float_dtype
from aetheory.linear.expansion.planar import VARIABLES as PLANAR_VARIABLES
from aetheory.linear.expansion.planar import leading_risk_derivative
from aetheory.linear.expansion.polynomial import Polynomial
from aetheory.linear.expansion.stored import cached
from aetheory.linear.expansion.wick import VARIABLES as EXACT_VARIABLES
from aetheory.linear.expansion.wick import expected_risk_derivative
from aetheory.linear.expansion.words import check_order_and_risk
from aetheory.linear.faces import check_faces, lies_on

if TYPE_CHECKING:
    import sympy


@runtime_checkable
class Problem(Protocol):
    """What an expansion reads of a problem: numbers or arrays whose shapes broadcast. `LinearProblem` is one."""

    @property
    def input_dim(self) -> Any:
        """Dimension p of an input."""

    @property
    def latent_dim(self) -> Any:
        """Number H of hidden units."""

    @property
    def num_samples(self) -> Any:
        """Number N of training samples, which may be infinite."""

    @property
    def init_variance(self) -> Any:
        """Variance σ² of a weight at initialisation."""


@dataclass(frozen=True)
class ExactCoefficient:
    """E R^{(s)}(0), the s-th time derivative of the expected risk at initialisation, at every p, H, N and σ².

    Arguments:
        order: s.
        risk: "train" or "population".
        polynomial: the derivative as a polynomial in p, H, σ² and 1/N with integer coefficients.
    """

    order: int
    risk: str
    polynomial: Polynomial

    @property
    def loss(self) -> Polynomial:
        """E L^{(s)}(0) of the loss L = pR/2 that the flow descends."""
        return self.polynomial.multiply(Fraction(1, 2), (1, 0, 0, 0))

    def evaluate(self, problem: Problem) -> Float[Array, "..."]:
        """E R^{(s)}(0) at a problem, of the shape that the problem's fields broadcast to.

        Raises:
            RuntimeError: the value exceeds the range of the floating-point type.
        """
        return _evaluate(self._tensor[None], problem)[..., 0]

    def to_sympy(self) -> "sympy.Expr":
        """The polynomial as a SymPy expression in p, H, sigma and N."""
        return self.polynomial.to_sympy()

    def __str__(self) -> str:
        return str(self.polynomial)

    def __repr__(self) -> str:
        return f"<exact coefficient of order {self.order}, {self.risk} risk: {len(self.polynomial.terms)} monomials>"

    @cached_property
    def _tensor(self) -> Float64[np.ndarray, "m n j e"]:
        # p^a H^b σ^{2m} N^{−c} = (pσ²)ᵐ (H/p)ᵇ (p/N)ᶜ (1/p)^e, where e ≥ 0 is the number of lost loops.
        return _dense({(m, b, c, m + c - a - b): float(value) for (a, b, m, c), value in self.polynomial.terms})


@dataclass(frozen=True)
class PlanarCoefficient:
    """The limit of E R^{(s)}(0) as p, H, N → ∞ at fixed x = pσ², y = H/p, z = p/N, or its part on some faces.

    Arguments:
        order: s.
        risk: "train" or "population".
        polynomial: the limit as a polynomial in x, y and z with integer coefficients.
        faces: the faces of the prism that the monomials lie on; empty for the whole prism.
    """

    order: int
    risk: str
    polynomial: Polynomial
    faces: tuple[str, ...] = ()

    def restrict(self, *faces: str) -> "PlanarCoefficient":
        """The monomials that lie on all of `faces`: one for a face, two for an edge, three for a vertex.

        Arguments:
            faces: among "large-data", "small-data", "mean-field", "narrow-latent" and "free".

        Raises:
            ValueError: an unknown face, or faces that do not meet.

        Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
        """
        together = tuple(dict.fromkeys(self.faces + faces))
        check_faces(together)
        kept = {m: c for m, c in self.polynomial.terms if lies_on(together, m, self.order, self.risk)}
        return PlanarCoefficient(
            self.order, self.risk, Polynomial.from_terms(self.polynomial.variables, kept), together
        )

    def evaluate(self, problem: Problem) -> Float[Array, "..."]:
        """The coefficient at a problem's x, y and z, of the shape that the problem's fields broadcast to.

        Raises:
            RuntimeError: the value exceeds the range of the floating-point type.
        """
        return _evaluate(self._tensor[None], problem)[..., 0]

    def time_unit(self, problem: Problem) -> Float[Array, "..."]:
        """T such that the faces' own time is T·t: z on the small-data face, x on the free face, 1 otherwise."""
        x, _, z, _ = _ratios(problem)
        return (x if "free" in self.faces else jnp.ones_like(x)) * (z if "small-data" in self.faces else 1.0)

    def to_sympy(self) -> "sympy.Expr":
        """The polynomial as a SymPy expression in x, y and z."""
        return self.polynomial.to_sympy()

    def __str__(self) -> str:
        return str(self.polynomial)

    def __repr__(self) -> str:
        where = f" on {' ∩ '.join(self.faces)}" if self.faces else ""
        terms = len(self.polynomial.terms)
        return f"<planar coefficient of order {self.order}, {self.risk} risk{where}: {terms} monomials>"

    @cached_property
    def _tensor(self) -> Float64[np.ndarray, "m n j e"]:
        return _dense({(*exponents, 0): float(value) for exponents, value in self.polynomial.terms})


def coefficients(order: int, risk: str = "train") -> ExactCoefficient:
    """The exact coefficient E R^{(s)}(0) of the formal expansion E R(t) ~ Σ_s E R^{(s)}(0) tˢ/s!.

    The result is kept on disk (environment variable AETHEORY_CACHE: where).

    Arguments:
        order: s, from 0 to 10. Orders up to 6 take a fraction of a second, order 10 about a minute.
        risk: "train" or "population".

    Raises:
        ValueError: an order outside this range, or another risk.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the method is that of arXiv:2602.04548.
    """
    check_order_and_risk(order, risk)
    return ExactCoefficient(order, risk, cached("exact", order, risk, EXACT_VARIABLES, expected_risk_derivative))


def planar(order: int, risk: str = "train") -> PlanarCoefficient:
    """The limit of E R^{(s)}(0) as p, H, N → ∞ at fixed x = pσ², y = H/p and z = p/N.

    The result is kept on disk (environment variable AETHEORY_CACHE: where).

    Arguments:
        order: s, from 0 to 10. Orders up to 8 take about a second, order 10 about ten.
        risk: "train" or "population".

    Raises:
        ValueError: an order outside this range, or another risk.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the method is that of arXiv:2602.04548.
    """
    check_order_and_risk(order, risk)
    return PlanarCoefficient(order, risk, cached("planar", order, risk, PLANAR_VARIABLES, leading_risk_derivative))


def taylor_series(
    coefficients: Sequence[ExactCoefficient | PlanarCoefficient], problem: Problem
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


def _dense(terms: dict[tuple[int, ...], float]) -> Float64[np.ndarray, "m n j e"]:
    """Coefficients of xᵐ yⁿ zʲ p^{−e} as an array."""
    tensor = np.zeros(np.max(list(terms), axis=0, initial=0) + 1 if terms else (1, 1, 1, 1))
    for monomial, value in terms.items():
        tensor[monomial] = value
    return tensor


def _ratios(problem: Problem) -> tuple[Float[Array, "..."], ...]:
    """x = pσ², xy = Hσ², z = p/N and 1/p, of one shape and type."""
    fields = (problem.input_dim, problem.latent_dim, problem.num_samples, problem.init_variance)
    dtype = common_float_dtype(*fields)
    p, H, N, variance = jnp.broadcast_arrays(*(as_float(field).astype(dtype) for field in fields))
    return p * variance, H * variance, p / N, 1 / p


def _evaluate(tensor: Float64[np.ndarray, "k m n j e"], problem: Problem) -> Float[Array, "... k"]:
    ratios = _ratios(problem)
    return _sum_monomials(jnp.asarray(tensor, ratios[0].dtype), *ratios)


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
    exact = jax.lax.Precision.HIGHEST
    by_z = jnp.einsum("kmnje,...e->...kmnj", tensor, _powers(inverse_p, e_size), precision=exact)
    by_xy = jnp.einsum("...kmnj,...j->...kmn", by_z, _powers(z, j_size), precision=exact)
    m, n = np.indices((m_size, n_size))
    weights = _powers(x, m_size)[..., np.maximum(m - n, 0)] * _powers(xy, n_size)[..., n]
    weights = jnp.where(jnp.broadcast_to(m >= n, weights.shape), weights, jnp.zeros_like(weights))
    value = jnp.einsum("...kmn,...mn->...km", by_xy, weights, precision=exact).sum(axis=-1)
    checked: Float[Array, "... k"] = eqx.error_if(
        value,
        ~jnp.isfinite(value),
        f"The coefficient exceeds the range of {value.dtype} at this problem; use float64, or rescale time.",
    )
    return checked


def _powers(base: Float[Array, "..."], size: int) -> Float[Array, "... size"]:
    """base⁰, base¹, …, along a new last axis, by multiplication: differentiable at 0."""
    powers = [jnp.ones_like(base)]
    for _ in range(size - 1):
        powers.append(powers[-1] * base)
    return jnp.stack(powers, axis=-1)
