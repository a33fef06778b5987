"""Scaling laws on inputs with a power-law spectrum: the risk over time, samples and latent units.

For variances τ_i ∝ i^{−a}, a > 1, the risk of a linear autoencoder falls as t^{−(a−1)/a} in time, as N^{−(a−1)} in the
number of samples and as H^{−(a−1)} in that of latent units, each where the other two are no limit. Exponents,
prefactors and crossovers are those of the limits of this library; no paper states them for this model.

Source: derived here from the mean-field regime of arXiv:2606.05335; the null space: O. Ledoit, S. Péché (2011).
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import as_float, check_array, check_real, check_times, fail, is_concrete, static_integer
from aetheory.linear.modes import relaxing_error
from aetheory.linear.parameters import Real
from aetheory.spectra.covariance import SampleCovariance

_NODES, _REACH = 160, 6.0
"""Of the double-exponential rule for the integral over one mode."""


class PowerLaw(eqx.Module):
    """Population variances τ_i = τ₁ i^{−a}, i = 1, …, p, of mean 1, and the laws that follow from a > 1.

    Prefactors are those of p → ∞ at the actual τ₁ = p/Σ i^{−a}; they are approached as (i/p)^{1−1/a} is small, slowly
    where a is close to 1. Everything is differentiable in a.

    Arguments:
        exponent: a, above 1.
        input_dim: p, a positive integer.

    Raises:
        ValueError: an argument is out of its range.
    """

    exponent: Real
    input_dim: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_real("exponent", self.exponent, "finite and above 1", minimum=1.0, strict=True)
        static_integer("input_dim", self.input_dim)

    @property
    def variances(self) -> Float[Array, " input_dim"]:
        """τ, in falling order; a `LinearProblem` takes them as its covariance."""
        a = as_float(self.exponent)
        powers: Float[Array, " input_dim"] = jnp.arange(1, self.input_dim + 1, dtype=a.dtype) ** -a
        return powers / jnp.mean(powers)

    @property
    def top(self) -> Float[Array, ""]:
        """τ₁."""
        return self.variances[0]

    @property
    def time_exponent(self) -> Float[Array, ""]:
        """(a−1)/a."""
        return 1 - 1 / as_float(self.exponent)

    @property
    def size_exponent(self) -> Float[Array, ""]:
        """a − 1, of N and of H."""
        return as_float(self.exponent) - 1

    def over_time(self, times: Any, init_strength: Real) -> Float[Array, " times"]:
        """R(t) → (τ₁/pa) (4τ₁t)^{−(a−1)/a} ∫₀^∞ u^{−1/a} e(u)² du, e(u) = (c−1)/(1+c(e^u−1)), where N, H = ∞.

        Between 1/τ₁ and 1/τ_p.

        Arguments:
            times: flow times, shape (times,), positive.
            init_strength: c = Hσ².

        Raises:
            ValueError: an argument is out of its range.
        """
        check_real("init_strength", init_strength, "finite and positive", minimum=0.0, strict=True)
        a, strength = as_float(self.exponent), as_float(init_strength)
        scaled = (4 * self.top * check_times(times)) ** -self.time_exponent
        return self.top / (self.input_dim * a) * scaled * _mode_integral(1 / a, strength)

    def over_samples(self, num_samples: Real, init_strength: Real) -> Float[Array, "..."]:
        """R(N) → (1−c)² (τ₁/p) [(π/a)/sin(π/a)]^a N^{−(a−1)} at late times, for H = ∞; see `unseen_risk`.

        [(π/a)/sin(π/a)]^a (a−1) times what the first N principal components leave.
        """
        a = as_float(self.exponent)
        factor = (jnp.pi / a / jnp.sin(jnp.pi / a)) ** a
        return (
            (1 - as_float(init_strength)) ** 2 * self.top / self.input_dim * factor * num_samples**-self.size_exponent
        )

    def over_latents(self, latent_dim: Real) -> Float[Array, "..."]:
        """R(H) → (τ₁/p) H^{−(a−1)}/(a−1) at late times, for N = ∞; see `tail_risk`."""
        return self.top / self.input_dim * latent_dim**-self.size_exponent / self.size_exponent

    def crossover_time(self, size: Real) -> Float[Array, "..."]:
        """N^a/τ₁ or H^a/τ₁, when the N samples or H latent units begin to limit the risk.

        The laws do not add up there: their sum is up to 63 % too large.
        """
        return as_float(size) ** as_float(self.exponent) / self.top


def unseen_risk(covariance: Any, num_samples: Real, init_strength: Real) -> Float[Array, ""]:
    """R(N) = (1−c)² Nκ/p, Σ_i τ_i/(τ_i+κ) = N: the population risk at t → ∞ for H = ∞; 0 for N ≥ p.

    It is exact as p and N grow. At p = 2000, a = 1.5, N = 10, 30, 100 and 300 within the error of 20 simulations, .2
    to 1 %; at p = 100, a = 2, N = 3, 6 and 10 it is 7, 5 and 4 % below the mean of 1500 draws of the samples.

    Arguments:
        covariance: the population variances τ, shape (p,).
        num_samples: N, positive; infinite for none left.
        init_strength: c = Hσ².

    Raises:
        ValueError: an argument is out of its range.

    Source: κ: O. Ledoit, S. Péché (2011); derived here for this model.
    """
    variances = check_array("covariance", covariance, "a vector of variances", 1)
    law = SampleCovariance(variances, as_float(len(variances) / num_samples))
    return (1 - as_float(init_strength)) ** 2 * law.atom * law.null_variance


def tail_risk(covariance: Any, latent_dim: int) -> Float[Array, ""]:
    """R(H) = Σ_{i>H} τ_i/p over the variances in falling order: what H principal components leave.

    The limit of the flow at N = ∞ and t → ∞; simulations at p = 1000, H = 4 to 32 end within .4 % of it.

    Raises:
        ValueError: `covariance` is no vector of variances, or `latent_dim` no positive integer.
    """
    variances = jnp.sort(check_array("covariance", covariance, "a vector of variances", 1))
    left = max(0, len(variances) - static_integer("latent_dim", latent_dim))
    return jnp.sum(variances[:left]) / len(variances)


class Exponent(NamedTuple):
    """value ≈ prefactor · x^{−exponent} over a window.

    Attributes:
        exponent: the negative slope in logarithms, by least squares.
        prefactor: of the power law.
        standard_error: of the exponent, from the scatter around the line; it says nothing about curvature.
    """

    exponent: Float[Array, ""]
    prefactor: Float[Array, ""]
    standard_error: Float[Array, ""]


def fit_exponent(x: Any, values: Any, window: tuple[Real, Real] | None = None) -> Exponent:
    """The power law that a curve follows in a window.

    Arguments:
        x: times, numbers of samples or latent units, shape (points,), positive where the window reaches.
        values: of the risk, shape (points,), positive there.
        window: the ends of the range of x, both included; all of it when omitted.

    Raises:
        ValueError: fewer than three points in the window, or one that is not positive (unless traced).
    """
    x, values = check_array("x", x, "a vector", 1), check_array("values", values, "a vector", 1)
    if x.shape != values.shape:
        raise fail("values", f"of the shape {x.shape} of `x`", values.shape)
    low, high = (-jnp.inf, jnp.inf) if window is None else window
    inside = (x >= low) & (x <= high)
    if all(map(is_concrete, (x, values, inside))):
        if int(inside.sum()) < 3:
            raise fail("window", "one with at least three points", window)
        if not bool(jnp.all(jnp.where(inside, (x > 0) & (values > 0), True))):
            raise fail("values", "positive in the window, with positive `x`", values)
    weights = inside.astype(values.dtype)
    count = jnp.sum(weights)
    log_x, log_value = (jnp.where(inside, jnp.log(jnp.where(inside, one, 1)), 0) for one in (x, values))
    centre, level = jnp.sum(log_x) / count, jnp.sum(log_value) / count
    moved = weights * (log_x - centre)
    spread = jnp.sum(moved**2)
    slope = jnp.sum(moved * log_value) / spread
    residual = jnp.sum(weights * (log_value - level - slope * (log_x - centre)) ** 2)
    error = jnp.sqrt(residual / jnp.maximum(count - 2, 1) / spread)
    return Exponent(-slope, jnp.exp(level - slope * centre), error)


def _mode_integral(power: Float[Array, ""], strength: Float[Array, ""]) -> Float[Array, ""]:
    """∫₀^∞ u^{−power} e(u)² du, by the trapezoidal rule in s for u = e^{(π/2) sinh s}.

    Source: H. Takahasi, M. Mori (1974).
    """
    nodes = jnp.linspace(-_REACH, _REACH, _NODES, dtype=power.dtype)
    logs = jnp.pi / 2 * jnp.sinh(nodes)
    error = relaxing_error(strength, jnp.exp(jnp.minimum(logs, 10.0)) / 4)
    slope = jnp.pi / 2 * jnp.cosh(nodes) * jnp.exp((1 - power) * jnp.minimum(logs, 10.0))
    return jnp.sum(slope * error**2) * (2 * _REACH / (_NODES - 1))
