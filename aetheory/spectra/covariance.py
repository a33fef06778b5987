"""The limiting spectrum of a sample covariance for any population covariance, and a contour rule for its integrals.

S = Σ^½ G Gᵀ Σ^½/N with p × N independent standard entries in G. As p and N grow at z = p/N, its spectral law F and the
variance δ(s) of the population along its eigenvectors depend on the eigenvalues τ of Σ alone, through the companion
Stieltjes transform m(ζ), the solution of ζ = −1/m + z·mean τ/(1 + τm). All integrals over F follow from m on a contour
around the support, also with mass at 0, isolated bulks, hard edges (z = 1) and vanishing variances.
Source: J. Silverstein (1995), "Strong convergence of the empirical distribution of eigenvalues of large dimensional
random matrices"; O. Ledoit, S. Péché (2011), "Eigenvectors of some large sample covariance matrix ensembles", for δ;
the contour rule is derived here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Complex, Float

from aetheory.core.checks import as_float, check_array, check_real, fail, is_concrete, static_integer
from aetheory.spectra.marchenko_pastur import Real

_NUM_NEWTON, _NUM_FIXED_POINT = 4, 80
"""Newton steps at each point of a path, and fixed-point steps at its first point, right of the support."""
_NUM_INWARD, _NUM_DOWNWARD = 40, 40
"""Points of the path to the real axis, inwards at a fixed angle and then down."""
_NUM_TABULATED = 1000
"""Points at which the distribution function is tabulated for `atoms`."""


class ContourRule(eqx.Module):
    """Complex quadrature ∫ f dF = Re Σ weights f(points) for f analytic around the support.

    Arguments:
        points: nodes on the upper half of the contour, shape (num_nodes,).
        weights: weights of F.
        population: weights of δ dF, so that (1/p) tr Σ f(S) = Re Σ population f(points).
        correction: weights of p times the first correction (1/p) E tr f(S) − ∫ f dF, for real Gaussian samples.
    """

    points: Complex[Array, " nodes"]
    weights: Complex[Array, " nodes"]
    population: Complex[Array, " nodes"]
    correction: Complex[Array, " nodes"]


class SpectrumTable(NamedTuple):
    """A law F of S on a grid.

    Arguments:
        points: eigenvalues s, in falling order, shape (points,).
        levels: 1 − F(s).
        variances: δ(s), the population's variance along eigenvectors of eigenvalue s.
    """

    points: Float[Array, " points"]
    levels: Float[Array, " points"]
    variances: Float[Array, " points"]


class SampleCovariance(eqx.Module):
    """Limiting spectral law F of the sample covariance of `ratio` = p/N for population variances τ.

    Everything is differentiable in τ and z, and accepts z = 0, where S = Σ. `MarchenkoPastur` is the case of equal
    variances, in closed form.

    Arguments:
        variances: τ, the eigenvalues of Σ, shape (p,), in any order; nonnegative, not all 0.
        ratio: z = p/N ≥ 0, finite.

    Source: J. Silverstein (1995).
    """

    variances: Float[Array, " dim"]
    ratio: Real

    def __init__(self, variances: Float[Array, " dim"] | Float[np.ndarray, " dim"], ratio: Real):
        self.variances = check_array("variances", variances, "a non-empty vector of nonnegative numbers, not all 0", 1)
        if is_concrete(self.variances) and _is_no_spectrum(np.asarray(self.variances)):
            raise fail("variances", "nonnegative and not all 0", variances)
        check_real("ratio", ratio, "finite and nonnegative", minimum=0.0)
        self.ratio = ratio

    @property
    def atom(self) -> Float[Array, ""]:
        """Mass at 0: 1 minus the smaller of the share of positive variances and 1/z."""
        return 1 - jnp.minimum(self._positive_share, 1 / jnp.maximum(as_float(self.ratio), 1)).astype(
            self.variances.dtype
        )

    @property
    def top(self) -> Float[Array, ""]:
        """Upper bound τ₁ (1 + √r)² of the support, r = z·mean(τ)/τ₁, close to its upper edge."""
        largest = jnp.max(self.variances)
        return largest * (1 + jnp.sqrt(self._ratio * jnp.mean(self.variances) / largest)) ** 2

    @property
    def edges(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Ends of the positive part of the support, which may have gaps.

        The stationary points of ζ(m) outside the poles, with m = −1/(τ w): at the top τ the largest variance and
        w > 1, at the bottom the smallest positive one and w < 1.
        """
        return jnp.maximum(self._edge(self._smallest, -1), 0), self._edge(jnp.max(self.variances), 1)

    def _edge(self, pole: Float[Array, ""], sign: int) -> Float[Array, ""]:
        """Stationary value of ζ next to the pole m = −1/`pole`; the pole itself at z = 0."""
        ratio, positive = jnp.where(self._ratio > 0, self._ratio, 1), self.variances > 0

        def divided(numerators: Float[Array, " dim"], shift: Float[Array, ""]) -> Float[Array, " dim"]:
            # variances of 0 contribute nothing, also where m is infinite
            return jnp.where(positive, numerators / jnp.where(positive, self.variances + shift, 1), 0)

        def excess(log: Float[Array, ""], _: None) -> Float[Array, ""]:
            # z·mean (τ/(τ − pole·w))² − 1 falls as |w − 1| = e^log grows
            return ratio * jnp.mean(divided(self.variances, -pole * (1 + sign * jnp.exp(log))) ** 2) - 1

        farthest = 4 * (1 + ratio) * jnp.max(self.variances) / pole
        nearest = 0.9 * float(np.log(np.finfo(pole.dtype).eps))
        log = jax.lax.stop_gradient(_falling_root(excess, nearest, jnp.log(farthest)))
        inverse = -pole * (1 + sign * jnp.exp(log))  # 1/m; the edge is stationary in it
        edge = -inverse + ratio * jnp.mean(divided(self.variances * inverse, inverse))
        return jnp.where(self._ratio > 0, edge, pole)

    def density(self, points: Float[Array, " points"]) -> Float[Array, " points"]:
        """Density of the continuous part of F at positive points, Im m/(πz); z > 0."""
        return jnp.maximum(self.boundary(points).imag, 0) / (jnp.pi * self._ratio)

    def population_variance(self, points: Float[Array, " points"]) -> Float[Array, " points"]:
        """Population variance δ(s) = 1/(s |m|²) along an eigenvector of S of eigenvalue s > 0.

        Source: O. Ledoit, S. Péché (2011).
        """
        return 1 / (points * jnp.abs(self.boundary(points)) ** 2)

    @property
    def null_variance(self) -> Float[Array, ""]:
        """Population variance κ/(z·atom) in the null space of S, z·mean τ/(τ+κ) = 1; 0 without one."""
        singular = self._ratio * self._positive_share > 1
        ratio = jnp.where(singular, self._ratio, 2 / self._positive_share)

        def excess(log: Float[Array, ""], _: None) -> Float[Array, ""]:
            return ratio * jnp.mean(self.variances / (self.variances + jnp.exp(log))) - 1

        highest = jnp.log(ratio * jnp.max(self.variances))
        root = jnp.exp(_falling_root(excess, highest - 60, highest + 1))
        return jnp.where(singular, root / (ratio * jnp.where(singular, self.atom, 1)), 0)

    def distribution(self, points: Float[Array, " points"]) -> Float[Array, " points"]:
        """Distribution function F(s) at positive points, the mass at 0 included; z > 0.

        In closed form from m: N (s Im m + arg m)/π − Σ arg(1 + τm)/π counts N eigenvalues, since log det is stationary.
        """
        return 1 - self._above(points, self.boundary(points))

    def rank(self, size: int) -> Float[Array, ""]:
        """Number of the `size` atoms that share the continuous part of F, an integer of at least 1."""
        return jax.lax.stop_gradient(jnp.maximum(jnp.round(size * (1 - self.atom)), 1))

    @eqx.filter_jit
    def tabulate(self) -> SpectrumTable:
        """The distribution function of F and δ on a grid of points, which `atoms` of any size are computed from."""
        law = SampleCovariance(self.variances, jnp.where(self._ratio > 0, self._ratio, 1))
        low = jnp.maximum(law.edges[0] / 2, 1e-8 * jnp.minimum(law._smallest, jnp.mean(law.variances)))
        # from the top, where float32 has to resolve shares of 1/p
        points = jnp.geomspace(1.02 * law.top, low, _NUM_TABULATED)
        m = law.boundary(points)
        return SpectrumTable(points, jax.lax.cummax(law._above(points, m)), 1 / (points * jnp.abs(m) ** 2))

    @eqx.filter_jit
    def atoms(
        self, size: int, rank: Float[Array, ""], table: SpectrumTable | None = None
    ) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        """Eigenvalues of S and population variances along its eigenvectors, as means over equal shares of F.

        Arguments:
            size: number of entries.
            rank: number of entries that share the continuous part, at most `size`; an integer near size·(1 − atom). The
                others are 0 in S, and share the rest of the variance in the population.
            table: of `tabulate`, which takes nearly all of the time; computed where omitted.

        Returns:
            The means of s over each share, in increasing order before the zeros, and the means of δ; both have mean τ̄.
            At z = 0 both are the shares of Σ, for any rank.
        """
        size, positive = static_integer("size", size), self._ratio > 0
        spectrum, population = self._atoms(size, rank, self.tabulate() if table is None else table)
        shares = equal_shares(self.variances, size)  # at z = 0, where S = Σ
        return jnp.where(positive, spectrum, shares), jnp.where(positive, population, shares)

    def _atoms(
        self, size: int, rank: Float[Array, ""], table: SpectrumTable
    ) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        total = jnp.mean(self.variances) * size
        points, levels, variances = table
        ends = levels[-1] * jnp.clip(1 - jnp.arange(size + 1, dtype=points.dtype) / rank, 0, 1)

        def means(values: Float[Array, " points"]) -> Float[Array, " size"]:
            between = jnp.sqrt(values * jnp.concatenate([values[:1], values[:-1]]))
            cumulative = jnp.cumsum(jnp.diff(levels, prepend=0) * between)
            return -size * jnp.diff(jnp.interp(ends, levels, cumulative))

        spectrum, population = means(points), means(variances)
        rest = jnp.maximum(total - jnp.sum(population), 0) / jnp.maximum(size - rank, 1)
        outside = jnp.arange(size, dtype=points.dtype) >= rank
        inside = jnp.where(rank < size, population, population * total / jnp.sum(population))
        return spectrum * total / jnp.sum(spectrum), jnp.where(outside, rest, inside)

    def moments(self, order: int) -> Float[Array, " order"]:
        """Moments ∫ sᵏ dF for k = 1, …, order, by a contour far from the support."""
        rule = self.contour(0.3 * self.top, jnp.asarray(1.1, self.variances.dtype), 64)
        powers = jnp.stack([rule.points**k for k in range(1, static_integer("order", order) + 1)])
        moments: Float[Array, " order"] = (powers @ rule.weights).real
        return moments

    @eqx.filter_jit
    def contour(self, offset: Float[Array, ""], height: Float[Array, ""], num_nodes: int = 96) -> ContourRule:
        """Trapezoidal rule on an ellipse around the support in log(ζ + offset).

        Arguments:
            offset: distance of the contour to the left of 0; .3 ℓ for functions that are smooth on scale ℓ near 0.
            height: half the height of the ellipse, below the angle of the nearest pole of the integrand; at most about
                1.1.
            num_nodes: number of nodes on the upper half.
        """
        num_nodes = static_integer("num_nodes", num_nodes)
        low, high = jnp.log(offset), jnp.log(self.top + offset)
        width = jnp.hypot((high - low) / 2, height)
        angles = (jnp.arange(num_nodes, dtype=self.variances.dtype) + 0.5) * (jnp.pi / num_nodes)
        moved = jnp.exp(jax.lax.complex((low + high) / 2 + width * jnp.cos(angles), height * jnp.sin(angles)))
        slope = jax.lax.complex(-width * jnp.sin(angles), height * jnp.cos(angles))
        points = moved - offset.astype(moved.dtype)
        m = self._along(points)
        variances, _ = self._like(m)
        shrunk = 1 / (1 + variances[None, :] * m[:, None])
        # −(1/2πi) ∮, the upper half and its conjugate
        factor = 1j * moved * slope / num_nodes
        return ContourRule(
            points,
            weights=-factor * jnp.mean(shrunk, axis=1) / points,
            population=-factor * jnp.mean(variances[None, :] * shrunk, axis=1) / points,
            correction=factor * self._bias(m),
        )

    @eqx.filter_jit
    def boundary(self, points: Float[Array, " points"]) -> Complex[Array, " points"]:
        """Transform m(s + i0) at positive points, continued along a path to the real axis."""
        start = jnp.maximum(10 * jnp.max(self.variances) * (1 + jnp.sqrt(self._ratio)) ** 2, 2 * jnp.max(points))
        # the fixed point converges slowly where s is far below all variances
        inward = start * (points / start)[:, None] ** jnp.linspace(0, 1, _NUM_INWARD + 1, dtype=points.dtype)[None, :]
        heights = jnp.geomspace(3, 1e-12 if points.dtype == jnp.float64 else 1e-5, _NUM_DOWNWARD, dtype=points.dtype)
        real = jnp.concatenate([inward, jnp.tile(points[:, None], (1, _NUM_DOWNWARD))], axis=1)
        imaginary = jnp.concatenate([3 * inward, points[:, None] * heights[None, :]], axis=1)

        def one(path: Complex[Array, " path"]) -> Complex[Array, ""]:
            return self._along(path, safe=True)[-1]

        found: Complex[Array, " points"] = jax.lax.map(one, jax.lax.complex(real, imaginary), batch_size=64)
        return found

    @property
    def _ratio(self) -> Float[Array, ""]:
        return as_float(self.ratio).astype(self.variances.dtype)

    @property
    def _positive_share(self) -> Float[Array, ""]:
        return jnp.mean((self.variances > 0).astype(self.variances.dtype))

    @property
    def _smallest(self) -> Float[Array, ""]:
        """Smallest positive variance."""
        return jnp.min(jnp.where(self.variances > 0, self.variances, jnp.inf))

    def _like(self, m: Complex[Array, "..."]) -> tuple[Complex[Array, " dim"], Complex[Array, ""]]:
        return self.variances.astype(m.dtype), self._ratio.astype(m.dtype)

    def _sums(self, m: Complex[Array, ""]) -> tuple[Complex[Array, ""], Complex[Array, ""]]:
        """z·mean τ/(1+τm) and z·mean (τ/(1+τm))², in real numbers: XLA divides complex ones many times slower."""
        real, imaginary = 1 + self.variances * m.real, self.variances * m.imag
        scaled = self.variances / (real**2 + imaginary**2)
        real, imaginary = scaled * real, -scaled * imaginary
        first = jax.lax.complex(jnp.mean(real), jnp.mean(imaginary))
        second = jax.lax.complex(jnp.mean(real**2 - imaginary**2), 2 * jnp.mean(real * imaginary))
        ratio = self._ratio.astype(first.dtype)
        return ratio * first, ratio * second

    def _above(self, points: Float[Array, " points"], m: Complex[Array, " points"]) -> Float[Array, " points"]:
        """1 − F at points, without cancellation near the top.

        For s Im m = z Im gm and −1/m = s − zg at the solution, g = mean τ/(1+τm).
        """
        variances = self.variances[None, :]
        real, imaginary = 1 + variances * m.real[:, None], variances * m.imag[:, None]
        scaled = variances / (real**2 + imaginary**2)
        real_mean, imaginary_mean = jnp.mean(scaled * real, axis=1), -jnp.mean(scaled * imaginary, axis=1)
        angles = jnp.mean(jnp.arctan2(imaginary, real), axis=1)
        phase = jnp.arctan2(self._ratio * imaginary_mean, points - self._ratio * real_mean) / self._ratio
        return jnp.clip((angles - m.imag * jnp.mean(scaled, axis=1) - phase) / jnp.pi, 0, 1)

    def _along(self, points: Complex[Array, " points"], safe: bool = False) -> Complex[Array, " points"]:
        """m along a path of close points that starts far from the support, by Euler's predictor and Newton.

        `safe` keeps each Newton step in the upper half plane, which matters next to the real axis.
        """

        def newton(m: Complex[Array, ""], point: Complex[Array, ""]) -> Complex[Array, ""]:
            shift, curvature = self._sums(m)
            moved = m - (shift - 1 / m - point) / (1 / m**2 - curvature)
            if not safe:
                return moved
            near = (moved.imag > 0) & (jnp.abs(moved - m) < 2 * jnp.abs(m))
            return jnp.where(near, moved, (m - 1 / (point - shift)) / 2)

        def step(carry: tuple[Array, Array], point: Complex[Array, ""]) -> tuple[tuple[Array, Array], Array]:
            before, m = carry
            m = m + (point - before) / (1 / m**2 - self._sums(m)[1])
            m = jax.lax.fori_loop(0, _NUM_NEWTON, lambda _, m: newton(m, point), m)
            return (point, m), m

        def fixed_point(_: Any, m: Complex[Array, ""]) -> Complex[Array, ""]:
            return (m - 1 / (points[0] - self._sums(m)[0])) / 2

        start = jax.lax.stop_gradient(jax.lax.fori_loop(0, _NUM_FIXED_POINT, fixed_point, -1 / points[0]))
        _, found = jax.lax.scan(step, (points[0], start), points)
        return found

    def _bias(self, m: Complex[Array, " points"]) -> Complex[Array, " points"]:
        """First correction to the Stieltjes transform for real Gaussian samples, times p.

        Source: Z. Bai, J. Silverstein (2004), "CLT for linear spectral statistics of large-dimensional sample
        covariance matrices".
        """
        variances, ratio = self._like(m)
        shrunk = 1 / (1 + variances[None, :] * m[:, None])
        scaled = variances[None, :] * m[:, None] * shrunk
        cubic = ratio * m * jnp.mean(scaled**2 * shrunk, axis=1)
        return cubic / (1 - ratio * jnp.mean(scaled**2, axis=1)) ** 2


def equal_shares(variances: Float[Array, " dim"], size: int) -> Float[Array, " size"]:
    """Means of the sorted variances over `size` equal shares of them, in increasing order."""
    ordered = jnp.sort(variances)
    cumulative = jnp.concatenate([jnp.zeros_like(ordered[:1]), jnp.cumsum(ordered)]) * size / len(ordered)
    places, ends = (jnp.linspace(0, 1, number + 1, dtype=ordered.dtype) for number in (len(ordered), size))
    return jnp.diff(jnp.interp(ends, places, cumulative))


def _falling_root(function: Callable[[Any, Any], Any], low: Real, high: Real) -> Float[Array, ""]:
    """Root of a decreasing function between two numbers, differentiable by the implicit function theorem."""
    upper = jnp.asarray(high)
    eps, options = float(np.finfo(upper.dtype).eps), {"lower": jnp.asarray(low), "upper": upper, "flip": True}
    bisection: Any = optimistix.Bisection
    solver = bisection(rtol=4 * eps, atol=4 * eps)
    found: Any = optimistix.root_find(function, solver, upper, options=options, max_steps=200, throw=False)
    root: Float[Array, ""] = found.value
    return root


def _is_no_spectrum(variances: Float[np.ndarray, " dim"]) -> bool:
    """In NumPy, because JAX would trace the test of a constant."""
    return bool(variances.min() < 0 or variances.max() == 0)
