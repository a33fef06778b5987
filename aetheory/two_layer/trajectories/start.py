"""What a predicted training starts from: the spectrum of K = B Bᵀ of random rows, or that of one encoder.

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

_DIVERGED, _COLLAPSED = 1e3, 0.5
"""A risk of more than this many times that of the zero map; a second moment that no spectrum of mean 1 has."""

Modes = Float[Array, "... modes"]


class Start(eqx.Module):
    """The eigenvalues of K at the start that are not 0; the others never move and count in no average.

    Arguments:
        lengths: their square roots, the singular values of B(0).
        weights: their shares of all n eigenvalues; negative ones too, where the law is corrected for its size.
        inverse_units: 1/n, or 0 in the limit.
    """

    lengths: Float[Array, " modes"]
    weights: Float[Array, " modes"]
    inverse_units: Float[Array, ""]

    @classmethod
    def random_rows(cls, rate: Float[Array, ""], num_units: Float[Array, ""] | None, num_nodes: int) -> "Start":
        """Of independent rows, uniform on the sphere; with the correction of order 1/n where n is given.

        In the limit the Marchenko–Pastur law of ratio r and mean 1.
        """
        law = MarchenkoPastur(rate).edge_quadrature(num_nodes, num_units, unit_rows=num_units is not None)
        inverse = jnp.zeros_like(rate) if num_units is None else 1 / num_units
        # the first node stands at 0
        return cls(jnp.sqrt(law.nodes[1:]), law.weights[1:], inverse)

    @classmethod
    def encoder(cls, encoder: Rows) -> "Start":
        """Of these rows, scaled to unit length."""
        lengths = jnp.linalg.svd(normalised(encoder, None)[0], compute_uv=False)
        # what rounding leaves of a 0 would grow along the training
        rounding = max(encoder.shape) * float(np.finfo(lengths.dtype).eps) * jnp.max(lengths)
        share = jnp.full_like(lengths, 1 / len(encoder))
        return cls(jnp.where(lengths > rounding, lengths, 0), share, share[0])

    def mean(self, values: Modes) -> Float[Array, "..."]:
        """⟨g⟩ = (1/n) tr g(K), from the values of a g with g(0) = 0."""
        # as a sum and not a product of matrices: XLA does not form the values then
        return jnp.sum(values * jnp.expand_dims(self.weights, range(values.ndim - 1)), axis=-1)

    def normalised(self, lengths: Modes) -> Modes:
        """The lengths with ⟨λ⟩ = 1: the trace of K stays n, for its rows stay of unit length."""
        return lengths / jnp.sqrt(self.mean(lengths**2))[..., None]

    def tangent(self, lengths: Float[Array, " modes"], velocity: Float[Array, " modes"]) -> Float[Array, " modes"]:
        """The velocity of b under one multiplier for each row, which keeps its length."""
        squares, change = lengths**2, lengths * velocity
        # not ⟨h⟩ alone, under which an error of ⟨λ⟩ = 1 may grow
        common = self.mean(change) / self.mean(squares)
        return velocity - (common + self._uneven(squares, change)) * lengths

    def rescaled(self, lengths: Float[Array, " modes"], moved: Float[Array, " modes"]) -> Float[Array, " modes"]:
        """b after a step from `lengths` to `moved`, each row scaled back to its length."""
        common = self.normalised(moved)
        return self.normalised(common * (1 - self._uneven(lengths**2, common**2) / 2))

    def _uneven(self, squares: Float[Array, " modes"], change: Float[Array, " modes"]) -> Float[Array, " modes"]:
        """What the multipliers of rows that differ do to λ, as a share of it: (2/n) (h − ⟨h⟩ − β(λ−1)).

        That of row i is h(K)_ii. The singular vectors are random but for K_ii = 1: over the rows g(K)_ii and h(K)_ii
        have 2/n times the covariance of g and h over the spectrum, without the parts along λ, β = cov(h, λ)/var λ.
        """
        variance = self.mean(squares**2) - 1
        spread = variance > 100 * float(np.finfo(squares.dtype).eps)
        slope = (self.mean(squares * change) - self.mean(change)) / jnp.where(spread, variance, 1)
        slope = jnp.where(spread, slope, 0)
        return 2 * self.inverse_units * (change - self.mean(change) - slope * (squares - 1))

    def quantiles(self, lengths: Float[Array, " modes"], levels: Float[Array, " levels"]) -> Float[Array, " levels"]:
        """Those of all eigenvalues of K, zeros included."""
        order = jnp.argsort(lengths)
        shares = self.weights[order]
        below = 1 - jnp.sum(shares)
        middles = below + jnp.cumsum(shares) - shares / 2
        return jnp.where(levels <= below, 0, jnp.interp(levels, middles, lengths[order] ** 2))


class Numbers(eqx.Module):
    """The numbers that a training depends on, of one shape: of a problem, or of each in a batch.

    Arguments:
        rate: r = n/d.
        num_units: n.
        alpha: α.
        step_size: η, of a descent; 0 for a flow.
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
        """Those of a problem in one precision, broadcast against each other; checked also where they are traced."""
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
    """A step for `Schedule.descend`, within bounds as long as ⟨λ²⟩ and the risk are those of a spectrum of mean 1."""

    def step(state: Any, _: Any) -> tuple[Values, Bool[Array, ""], Any]:
        values = observe(state)
        # ⟨λ⟩ = 1, and so ⟨λ²⟩ ≥ 1, but where the scale of a step has overflown
        return values, (values.risk <= _DIVERGED) & (values.second_moment > _COLLAPSED), advance(state)

    return step


def kernel(start: Start, numbers: Numbers, second_moment: Float[Array, "..."]) -> tuple[Any, Any]:
    """1 + ε and α − ε of f(K) ≈ c₁² [(1+ε) K + (α−ε) I].

    Off the diagonal an entry x of K has the variance s² = (m₂−1)/n, and x³ ≈ 3 s² x beside a part that is noise to K:
    ε = 3 κ s². It vanishes in the limit.
    """
    excess = 3 * numbers.cubic_share * (second_moment - 1) * start.inverse_units
    return 1 + excess, numbers.alpha - excess
