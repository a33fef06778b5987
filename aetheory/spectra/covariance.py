"""The spectrum of a sample covariance whose population covariance is any: Silverstein's law and its contour rule.

S = Σ^½ G Gᵀ Σ^½/N with p × N independent standard entries in G. As p and N grow at z = p/N, its spectral law F and the
variance δ(s) of the population along its eigenvectors depend on the eigenvalues τ of Σ alone, through the companion
Stieltjes transform m(ζ), the solution of ζ = −1/m + z·mean τ/(1 + τm). All integrals over F follow from m on a contour
around the support: the mass at 0, isolated bulks, hard edges (z = 1) and vanishing variances are no special cases.

Source: J. Silverstein (1995), "Strong convergence of the empirical distribution of eigenvalues of large dimensional
random matrices"; O. Ledoit, S. Péché (2011), "Eigenvectors of some large sample covariance matrix ensembles", for δ;
the contour rule is derived here.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Complex, Float

from aetheory.core.checks import as_float, check_array, check_real, fail, is_concrete, static_integer
from aetheory.spectra.marchenko_pastur import Real

_NEWTON, _START = 4, 80
"""Newton's steps at each point of a path, and those of the fixed point at its first, right of the support."""

_INWARD, _DOWNWARD = 40, 40
"""Steps of the path to a point of the real axis: inwards at a fixed angle, then down."""

_TABLE = 1000
"""Points at which the distribution function is tabulated for `atoms`."""


class ContourRule(eqx.Module):
    """Complex nodes and weights: ∫ f dF = Re Σ weights f(points), for f analytic between the contour and the support.

    Arguments:
        points: on the upper half of the contour, shape (num_nodes,).
        weights: those of F.
        seen: those of δ dF, so that (1/p) tr Σ f(S) = Re Σ seen f(points).
        correction: those of the first correction (1/p) E tr f(S) − ∫ f dF, times p, for real Gaussian samples.
    """

    points: Complex[Array, " nodes"]
    weights: Complex[Array, " nodes"]
    seen: Complex[Array, " nodes"]
    correction: Complex[Array, " nodes"]


class SampleCovariance(eqx.Module):
    """The limiting spectral law F of the sample covariance of `ratio` = p/N for population variances τ.

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
        """The mass at 0: what is left of 1 by the smaller of the share of positive variances and 1/z."""
        return 1 - jnp.minimum(self._positive_share, 1 / jnp.maximum(as_float(self.ratio), 1)).astype(
            self.variances.dtype
        )

    @property
    def top(self) -> Float[Array, ""]:
        """τ₁ (1 + √r)², r = z·mean(τ)/τ₁, which no point of the support exceeds; close to its upper edge."""
        largest = jnp.max(self.variances)
        return largest * (1 + jnp.sqrt(self._ratio * jnp.mean(self.variances) / largest)) ** 2

    @property
    def edges(self) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The ends of the positive part of the support; there may be gaps between them.

        The stationary points of ζ(m) outside the poles, with m = −1/(τ w): at the top τ the largest variance and
        w > 1, at the bottom the smallest positive one and w < 1.
        """
        return jnp.maximum(self._edge(self._smallest, -1), 0), self._edge(jnp.max(self.variances), 1)

    def _edge(self, pole: Float[Array, ""], sign: int) -> Float[Array, ""]:
        """ζ where it is stationary beside the pole m = −1/`pole`; the pole itself at z = 0."""
        ratio, positive = jnp.where(self._ratio > 0, self._ratio, 1), self.variances > 0

        def pulled(numerators: Float[Array, " dim"], shift: Float[Array, ""]) -> Float[Array, " dim"]:
            # variances of 0 pull at nothing, also where m is infinite
            return jnp.where(positive, numerators / jnp.where(positive, self.variances + shift, 1), 0)

        def excess(log: Float[Array, ""], _: None) -> Float[Array, ""]:
            # z·mean (τ/(τ − pole·w))² − 1 falls as |w − 1| = e^log grows
            return ratio * jnp.mean(pulled(self.variances, -pole * (1 + sign * jnp.exp(log))) ** 2) - 1

        farthest = 4 * (1 + ratio) * jnp.max(self.variances) / pole
        nearest = 0.9 * float(np.log(np.finfo(pole.dtype).eps))
        log = jax.lax.stop_gradient(_falling_root(excess, nearest, jnp.log(farthest)))
        inverse = -pole * (1 + sign * jnp.exp(log))  # 1/m; what moves it changes nothing to first order
        edge = -inverse + ratio * jnp.mean(pulled(self.variances * inverse, inverse))
        return jnp.where(self._ratio > 0, edge, pole)

    def density(self, points: Float[Array, " points"]) -> Float[Array, " points"]:
        """The density of the continuous part of F at positive points, Im m/(πz); z > 0."""
        return jnp.maximum(self.boundary(points).imag, 0) / (jnp.pi * self._ratio)

    def population_variance(self, points: Float[Array, " points"]) -> Float[Array, " points"]:
        """δ(s) = 1/(s |m|²): the population's variance along an eigenvector of S whose eigenvalue is s > 0.

        Source: O. Ledoit, S. Péché (2011).
        """
        return 1 / (points * jnp.abs(self.boundary(points)) ** 2)

    @property
    def null_variance(self) -> Float[Array, ""]:
        """δ(0) where no sample reaches: κ/(z·atom), κ the root of z·mean τ/(τ+κ) = 1; 0 where z leaves no such room."""
        unseen = self._ratio * self._positive_share > 1
        ratio = jnp.where(unseen, self._ratio, 2 / self._positive_share)

        def excess(log: Float[Array, ""], _: None) -> Float[Array, ""]:
            return ratio * jnp.mean(self.variances / (self.variances + jnp.exp(log))) - 1

        highest = jnp.log(ratio * jnp.max(self.variances))
        root = jnp.exp(_falling_root(excess, highest - 60, highest + 1))
        return jnp.where(unseen, root / (ratio * jnp.where(unseen, self.atom, 1)), 0)

    def distribution(self, points: Float[Array, " points"]) -> Float[Array, " points"]:
        """F(s) at positive points, the mass at 0 included; z > 0.

        In closed form from m: N (s Im m + arg m)/π − Σ arg(1 + τm)/π counts N eigenvalues, since log det is stationary.
        """
        return 1 - self._above(points, self.boundary(points))

    def rank(self, size: int) -> Float[Array, ""]:
        """How many of `size` atoms share the continuous part of F: a whole number of at least 1."""
        return jax.lax.stop_gradient(jnp.maximum(jnp.round(size * (1 - self.atom)), 1))

    @eqx.filter_jit
    def atoms(self, size: int, rank: Float[Array, ""]) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        """Diagonal matrices for S and, in its eigenbasis, for the population: equal shares of (F, δ dF).

        Arguments:
            size: number of entries.
            rank: how many of them share the continuous part, at most `size`; a whole number near size·(1 − atom). The
                others are 0 in S, and have what is left of the variance in the population.

        Returns:
            The means of s over each share, in increasing order before the zeros, and those of δ; both have mean τ̄. At
            z = 0 both are the shares of Σ, whatever the rank.
        """
        size, positive = static_integer("size", size), self._ratio > 0
        law = SampleCovariance(self.variances, jnp.where(positive, self._ratio, 1))
        spectrum, population = law._atoms(size, rank)
        shares = equal_shares(self.variances, size)  # at z = 0, where S = Σ
        return jnp.where(positive, spectrum, shares), jnp.where(positive, population, shares)

    def _atoms(self, size: int, rank: Float[Array, ""]) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        total = jnp.mean(self.variances) * size
        low = jnp.maximum(self.edges[0] / 2, 1e-8 * jnp.minimum(self._smallest, jnp.mean(self.variances)))
        # from the top, where float32 has to tell shares of 1/p apart
        points = jnp.geomspace(1.02 * self.top, low, _TABLE)
        m = self.boundary(points)
        levels = jax.lax.cummax(self._above(points, m))
        ends = levels[-1] * jnp.clip(1 - jnp.arange(size + 1, dtype=points.dtype) / rank, 0, 1)

        def means(values: Float[Array, " points"]) -> Float[Array, " size"]:
            between = jnp.sqrt(values * jnp.concatenate([values[:1], values[:-1]]))
            cumulative = jnp.cumsum(jnp.diff(levels, prepend=0) * between)
            return -size * jnp.diff(jnp.interp(ends, levels, cumulative))

        spectrum, seen = means(points), means(1 / (points * jnp.abs(m) ** 2))
        rest = jnp.maximum(total - jnp.sum(seen), 0) / jnp.maximum(size - rank, 1)
        outside = jnp.arange(size, dtype=points.dtype) >= rank
        seen = jnp.where(outside, rest, jnp.where(rank < size, seen, seen * total / jnp.sum(seen)))
        return spectrum * total / jnp.sum(spectrum), seen

    def moments(self, order: int) -> Float[Array, " order"]:
        """∫ sᵏ dF for k = 1, …, order, by a contour far from the support."""
        rule = self.contour(0.3 * self.top, jnp.asarray(1.1, self.variances.dtype), 64)
        powers = jnp.stack([rule.points**k for k in range(1, static_integer("order", order) + 1)])
        moments: Float[Array, " order"] = (powers @ rule.weights).real
        return moments

    @eqx.filter_jit
    def contour(self, offset: Float[Array, ""], height: Float[Array, ""], num_nodes: int = 96) -> ContourRule:
        """The trapezoidal rule on an ellipse around the support in log(ζ + offset).

        Arguments:
            offset: how far left of 0 the contour reaches; a function that is smooth on scale ℓ near 0 wants .3 ℓ.
            height: half the ellipse's height, below the angle of the nearest pole of the integrand; at most about 1.1.
            num_nodes: on the upper half.
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
            seen=-factor * jnp.mean(variances[None, :] * shrunk, axis=1) / points,
            correction=factor * self._bias(m),
        )

    @eqx.filter_jit
    def boundary(self, points: Float[Array, " points"]) -> Complex[Array, " points"]:
        """m(s + i0) at positive points, by continuation: inwards at a fixed angle, then down to the real axis."""
        start = jnp.maximum(10 * jnp.max(self.variances) * (1 + jnp.sqrt(self._ratio)) ** 2, 2 * jnp.max(points))
        # the fixed point alone is slow where s is far below all variances
        inward = start * (points / start)[:, None] ** jnp.linspace(0, 1, _INWARD + 1, dtype=points.dtype)[None, :]
        heights = jnp.geomspace(3, 1e-12 if points.dtype == jnp.float64 else 1e-5, _DOWNWARD, dtype=points.dtype)
        real = jnp.concatenate([inward, jnp.tile(points[:, None], (1, _DOWNWARD))], axis=1)
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
        """Of the positive variances."""
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
        """1 − F, without cancellation where it is small: near the top, where few eigenvalues carry the risk.

        For s Im m = z Im gm and −1/m = s − zg at the solution, g = mean τ/(1+τm).
        """
        variances = self.variances[None, :]
        real, imaginary = 1 + variances * m.real[:, None], variances * m.imag[:, None]
        scaled = variances / (real**2 + imaginary**2)
        pulled, turned = jnp.mean(scaled * real, axis=1), -jnp.mean(scaled * imaginary, axis=1)
        angles = jnp.mean(jnp.arctan2(imaginary, real), axis=1)
        phase = jnp.arctan2(self._ratio * turned, points - self._ratio * pulled) / self._ratio
        return jnp.clip((angles - m.imag * jnp.mean(scaled, axis=1) - phase) / jnp.pi, 0, 1)

    def _along(self, points: Complex[Array, " points"], safe: bool = False) -> Complex[Array, " points"]:
        """m along a path of neighbouring points that starts far from the support: Euler's predictor, then Newton.

        `safe` keeps each step of Newton in the upper half plane, which matters next to the real axis.
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
            m = jax.lax.fori_loop(0, _NEWTON, lambda _, m: newton(m, point), m)
            return (point, m), m

        def fixed_point(_: Any, m: Complex[Array, ""]) -> Complex[Array, ""]:
            return (m - 1 / (points[0] - self._sums(m)[0])) / 2

        start = jax.lax.stop_gradient(jax.lax.fori_loop(0, _START, fixed_point, -1 / points[0]))
        _, found = jax.lax.scan(step, (points[0], start), points)
        return found

    def _bias(self, m: Complex[Array, " points"]) -> Complex[Array, " points"]:
        """p times the first correction to the Stieltjes transform for real Gaussian samples.

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
    """Where a falling function is 0 between two numbers, differentiable by the implicit function theorem."""
    upper = jnp.asarray(high)
    eps, options = float(np.finfo(upper.dtype).eps), {"lower": jnp.asarray(low), "upper": upper, "flip": True}
    bisection: Any = optimistix.Bisection
    solver = bisection(rtol=4 * eps, atol=4 * eps)
    found: Any = optimistix.root_find(function, solver, upper, options=options, max_steps=200, throw=False)
    root: Float[Array, ""] = found.value
    return root


def _is_no_spectrum(variances: Float[np.ndarray, " dim"]) -> bool:
    """In NumPy: under a trace JAX would trace this as well."""
    return bool(variances.min() < 0 or variances.max() == 0)
