"""What one group of an encoder hears of a noisy code: z = s u + τ g with a unit vector u, by quadrature over ‖z‖ > λ.

At a given R = ‖z‖ the direction of z has a von Mises–Fisher law around u of concentration κ = R s/τ², so that averages
over z of dimension d need only R, E cos and E cos², with ratios of Bessel functions for the last two.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.scipy.special import i0e
from jaxtyping import Array, Float, Float64

Scalar = Float[Array, ""]
Norms = Float[Array, " norms"]
Nodes = Float[Array, "norms radii"]

_RADII, _ANGLES = 40, 96
_REACH = 8.0
"""In deviations τ; beyond lies less than 10⁻¹⁴ of a Gaussian."""

_LEVELS = 24
"""Of the continued fraction: both numbers are then right to 2·10⁻⁶ at any κ, measured for d ≤ 16."""


class Heard(NamedTuple):
    """Nodes of R for each norm of the code, their weights, and the mean of cos and cos² between z and u there."""

    radius: Nodes
    weight: Nodes
    cosine: Nodes
    squared_cosine: Nodes

    def integral(self, values: Nodes) -> Norms:
        """The average over z for each norm of the code, of what is zero for R ≤ λ."""
        return jnp.sum(self.weight * values, axis=1)


def heard(signals: Norms, deviations: Norms, threshold: Scalar, dimension: int) -> Heard:
    """The law of ‖z‖ > λ for signals s with these deviations τ.

    Gauss–Legendre nodes between λ, or where the law begins, and where it ends: they move with all arguments, so that
    averages are differentiable in the threshold too, at which the Jacobian of the group ReLU jumps.
    """
    d, signal, deviation = dimension, signals[:, None], deviations[:, None]
    reach = (_REACH + math.sqrt(d)) * deviation
    low = jnp.maximum(threshold, signal - reach)
    high = signal + jnp.sqrt(jnp.maximum(threshold - signal, 0) ** 2 + reach**2)
    points, point_weights = (
        jnp.asarray(one, signals.dtype)[None, :] for one in np.polynomial.legendre.leggauss(_RADII)
    )
    radius = low + (high - low) * (points + 1) / 2
    concentration = radius * signal / deviation**2
    ratio, spread = sphere(concentration, d)
    constant = 2 ** (d / 2 - 1) * math.gamma(d / 2)
    density = (radius / deviation) ** (d - 1) * jnp.exp(-(((radius - signal) / deviation) ** 2) / 2) * spread
    weight = point_weights * (high - low) / 2 * density / (constant * deviation)
    return Heard(radius, weight, concentration * ratio, 1 - (d - 1) * ratio)


def sphere(concentration: Nodes, dimension: int) -> tuple[Nodes, Nodes]:
    """E cos/κ and e^{−κ} E₀ e^{κ cos}: the von Mises–Fisher mean in d dimensions, and its scaled normalisation.

    With ν = d/2 − 1 they are I_{ν+1}(κ)/(κ I_ν(κ)) and e^{−κ} Γ(ν+1)(2/κ)^ν I_ν(κ), regular at κ = 0. The first is
    g_d = 1/(d + κ² g_{d+2}), Gauss's continued fraction, from the asymptotic g_D ≈ 1/(ν + ½ + √(κ² + (ν+½)(ν+3/2))).
    """
    squares, first = concentration**2, 1 if dimension % 2 else 2
    half = (dimension + 2 * _LEVELS - 1) / 2
    asymptotic = 1 / (half + jnp.sqrt(squares + half * (half + 1)))

    def below(number: Any, ratio: Nodes) -> Nodes:
        level = jnp.asarray(dimension + 2 * (_LEVELS - 1 - number), ratio.dtype)
        return 1 / (level + squares * ratio)

    ratio = jax.lax.fori_loop(0, _LEVELS, below, asymptotic)
    lower, spread = ratio, (1 + jnp.exp(-2 * concentration)) / 2 if first == 1 else i0e(concentration)
    for level in range(dimension - 2, first - 1, -2):
        lower = 1 / (level + squares * lower)
        spread = spread * level * lower
    return ratio, spread


def coordinates(dimension: int) -> tuple[Float64[np.ndarray, " nodes"], Float64[np.ndarray, " nodes"]]:
    """A quadrature of |u₁| for a uniformly random unit vector u of d ≥ 2 dimensions, and its weights."""
    points, weights = scipy.special.roots_jacobi(_ANGLES, (dimension - 3) / 2, (dimension - 3) / 2)
    positive = points > 0
    return points[positive], weights[positive] / weights[positive].sum()
