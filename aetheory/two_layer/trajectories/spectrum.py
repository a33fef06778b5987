"""The spectrum of K = B Bᵀ at the start of a predicted training, of random rows or of one encoder.

Source: V. Marchenko, L. Pastur (1967) for the law; Z. Bai, J. Silverstein (2004), "CLT for linear spectral statistics
of large-dimensional sample covariance matrices", for its correction, completed here for rows of unit length.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from aetheory.core.curve import Values
from aetheory.spectra.marchenko_pastur import MarchenkoPastur
from aetheory.two_layer.network import Rows, normalised

_MAX_RISK, _MIN_SECOND_MOMENT = 1e3, 0.5
"""Bounds beyond which a descent is taken to diverge: risk relative to the zero map, and ⟨λ²⟩, at least 1 by ⟨λ⟩ = 1."""

Modes = Float[Array, "... modes"]


class Spectrum(eqx.Module):
    """Nonzero eigenvalues λ of K at the start; eigenvalues 0 stay 0 and count in no average.

    Arguments:
        lengths: √λ, the singular values of B(0).
        weights: their shares of all n eigenvalues; some are negative where the law is corrected for its size.
        inverse_units: 1/n, or 0 in the limit.
    """

    lengths: Float[Array, " modes"]
    weights: Float[Array, " modes"]
    inverse_units: Float[Array, ""]

    @classmethod
    def random_rows(cls, rate: Float[Array, ""], num_units: Float[Array, ""] | None, num_nodes: int) -> "Spectrum":
        """Marchenko–Pastur law of ratio r, of random unit rows; with terms of order 1/n where n is given."""
        law = MarchenkoPastur(rate).edge_quadrature(num_nodes, num_units, unit_rows=num_units is not None)
        inverse = jnp.zeros_like(rate) if num_units is None else 1 / num_units
        # the first node is at 0
        return cls(jnp.sqrt(law.nodes[1:]), law.weights[1:], inverse)

    @classmethod
    def encoder(cls, encoder: Rows) -> "Spectrum":
        """Spectrum of these rows, scaled to unit length."""
        lengths = jnp.linalg.svd(normalised(encoder, None)[0], compute_uv=False)
        # singular values that are 0 up to rounding would grow in training
        rounding = max(encoder.shape) * float(np.finfo(lengths.dtype).eps) * jnp.max(lengths)
        share = jnp.full_like(lengths, 1 / len(encoder))
        return cls(jnp.where(lengths > rounding, lengths, 0), share, share[0])

    def mean(self, values: Modes) -> Float[Array, "..."]:
        """Average ⟨g⟩ = (1/n) tr g(K) of a function with g(0) = 0, from its values."""
        # as a sum and not a matrix product, so that XLA does not store the values
        return jnp.sum(values * jnp.expand_dims(self.weights, range(values.ndim - 1)), axis=-1)

    def normalised(self, lengths: Modes) -> Modes:
        """Singular values scaled to ⟨λ⟩ = 1, the trace of K for rows of unit length."""
        return lengths / jnp.sqrt(self.mean(lengths**2))[..., None]

    def tangent(self, lengths: Float[Array, " modes"], velocity: Float[Array, " modes"]) -> Float[Array, " modes"]:
        """Velocity of b with one multiplier for each row, which keeps its length."""
        squares, change = lengths**2, lengths * velocity
        # divided by ⟨λ⟩ = 1, so that errors of it do not grow
        common = self.mean(change) / self.mean(squares)
        return velocity - (common + self._multiplier_spread(squares, change)) * lengths

    def rescaled(self, lengths: Float[Array, " modes"], moved: Float[Array, " modes"]) -> Float[Array, " modes"]:
        """b after a step from `lengths` to `moved`, with each row scaled back to its length."""
        common = self.normalised(moved)
        return self.normalised(common * (1 - self._multiplier_spread(lengths**2, common**2) / 2))

    def _multiplier_spread(self, squares: Float[Array, " modes"], change: Float[Array, " modes"]) -> Array:
        """Relative change of λ by multipliers that differ between rows, (2/n) (h − ⟨h⟩ − β(λ−1)).

        The multiplier of row i is h(K)_ii. The singular vectors are random but for K_ii = 1: over the rows g(K)_ii and
        h(K)_ii have 2/n times the covariance of g and h over the spectrum, without the parts along λ,
        β = cov(h, λ)/var λ.
        """
        variance = self.mean(squares**2) - 1
        spread = variance > 100 * float(np.finfo(squares.dtype).eps)
        slope = (self.mean(squares * change) - self.mean(change)) / jnp.where(spread, variance, 1)
        slope = jnp.where(spread, slope, 0)
        return 2 * self.inverse_units * (change - self.mean(change) - slope * (squares - 1))

    def quantiles(self, lengths: Float[Array, " modes"], levels: Float[Array, " levels"]) -> Float[Array, " levels"]:
        """Quantiles of all eigenvalues of K, zeros included."""
        order = jnp.argsort(lengths)
        shares = self.weights[order]
        below = 1 - jnp.sum(shares)
        middles = below + jnp.cumsum(shares) - shares / 2
        return jnp.where(levels <= below, 0, jnp.interp(levels, middles, lengths[order] ** 2))


class Numbers(eqx.Module):
    """Numbers of a training, of one shape: of a problem, or of each problem in a batch.

    Arguments:
        rate: r = n/d.
        num_units: n.
        alpha: α.
        step_size: η of a descent; 0 for a flow.
        linear_power: c₁².
        cubic_share: κ = c₃²/c₁².
    """

    rate: Float[Array, "*batch"]
    num_units: Float[Array, "*batch"]
    alpha: Float[Array, "*batch"]
    step_size: Float[Array, "*batch"]
    linear_power: float = eqx.field(static=True)
    cubic_share: float = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, dtype: Any) -> "Numbers":
        """Numbers of a problem in one precision and shape; traced ones are checked at run time."""
        real = problem.continuous()
        step = 0.0 if real.step_size is None else real.step_size
        numbers = (jnp.asarray(one, dtype) for one in (real.rate, real.num_units, real.alpha, step))
        rate, num_units, alpha, step = jnp.broadcast_arrays(*numbers)
        good = (rate > 0) & jnp.isfinite(rate) & (alpha >= 0) & jnp.isfinite(alpha) & (step >= 0) & jnp.isfinite(step)
        message = "Arguments `num_units`, `input_dim`, `step_size` must be finite and positive, `alpha` nonnegative."
        rate = eqx.error_if(rate, ~good, message)
        power = problem.activation.linear_coefficient**2
        return cls(rate, num_units, alpha, step, power, problem.activation.cubic_power / power)


def checked_step(advance: Callable[[Any], Any], observe: Callable[[Any], Values]) -> Callable[[Any, Any], Any]:
    """A step for `Schedule.descend`, which diverges where the risk or ⟨λ²⟩ leaves its bounds."""

    def step(state: Any, _: Any) -> tuple[Values, Bool[Array, ""], Any]:
        values = observe(state)
        return values, (values.risk <= _MAX_RISK) & (values.second_moment > _MIN_SECOND_MOMENT), advance(state)

    return step


def kernel(start: Spectrum, numbers: Numbers, second_moment: Float[Array, "..."]) -> tuple[Any, Any]:
    """Coefficients 1 + ε and α − ε of f(K) ≈ c₁² [(1+ε) K + (α−ε) I].

    Off the diagonal an entry x of K has the variance s² = (m₂−1)/n, and x³ ≈ 3 s² x plus a part that is uncorrelated
    with K: ε = 3 κ s². It vanishes in the limit.
    """
    excess = 3 * numbers.cubic_share * (second_moment - 1) * start.inverse_units
    return 1 + excess, numbers.alpha - excess
