"""Explicit risk curves on the edges and vertices of the prism, where two or three regimes meet.

The intersection of two faces keeps only the monomials that dominate in both, and its flow is often solvable where those
of the faces are not. With x = pσ², y = H/p, z = p/N, c = Hσ² = xy, and τ = zt on the small-data face:

- (large-data or small-data) ∩ (mean-field, narrow-latent, both, or one of them and free): every direction follows a
  scalar equation;
- large-data ∩ free: λ → λ/(1 + 4λt) on the free Poisson law of M(0);
- mean-field ∩ narrow-latent: exponential growth c e^{4st} of each mode of S;
- mean-field ∩ free: μ_s = c/(1 + 4sct).

Not here: narrow-latent ∩ free, a scalar equation that its flow solves, and small-data ∩ free, for which no closed form
is known. The risks of an edge are those of its dominant monomials, together with the constants 1 of the target where
it matters; they are meant where those dominate.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335 (the faces, and large-data ∩ free); derived from the flow of
each face.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.curve import Risks
from aetheory.linear.parameters import LimitParameters
from aetheory.spectra.marchenko_pastur import Quadrature

Times = Float[Array, " times"]
Scalar = Float[Array, ""]


def _relaxed(start: Scalar, times: Times) -> Times:
    """m(t) of ṁ = −4m(m−1): m/(m + (1−m)e^{−4t}) of the start."""
    return start / (start + (1 - start) * jnp.exp(-4 * times))


def _decayed(start: Scalar, times: Times) -> Times:
    """m(t) of ṁ = −4m², the same without the target."""
    return start / (1 + 4 * start * times)


def _same(risk: Times) -> Risks:
    return Risks(risk, risk)


def large_data_mean_field(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """S = I and M(0) = cI: R = (m−1)², ṁ = −4m(m−1)."""
    return _same((_relaxed(parameters.init_strength, times) - 1) ** 2)


def large_data_narrow_latent(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """S = I and y columns of squared length x each: R = 1 + y(m² − 2m), ṁ = −4m(m−1)."""
    squared = _relaxed(parameters.init_scale, times)
    return _same(1 + parameters.latent_ratio * (squared - 2) * squared)


def large_data_free(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R = ∫ (λ/(1+4λt))² dμ(λ) on the free Poisson law of rate y and jump x, by its Stieltjes transform.

    m(a) = ∫ dμ/(1+aλ) solves (1−m)(1+axm) = axym, and R = −d/da ∫ λ dμ/(1+aλ) at a = 4t.
    """
    x, y, a = parameters.init_scale, parameters.latent_ratio, 4 * times
    linear = 1 + a * x * (y - 1)
    root = jnp.sqrt(linear**2 + 4 * a * x)
    transform = 2 / (linear + root)
    slope = -2 * (x * (y - 1) + x * (linear * (y - 1) + 2) / root) / (linear + root) ** 2
    return _same(x * y * (x * transform**2 - slope) / (1 + a * x * transform) ** 2)


def small_data_mean_field(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """M(0) = cI and each sample's own direction follows m' = −4m(m−1) in τ: R_tr = (m−1)²."""
    start = parameters.init_strength
    train = (_relaxed(start, parameters.sample_ratio * times) - 1) ** 2
    return Risks(train, (start - 1) ** 2 + (train - (start - 1) ** 2) / parameters.sample_ratio)


def small_data_narrow_latent(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """Columns of squared length x turn towards the samples: their share grows like e^{2(2−x)τ}.

    R_tr = 1 + xy(x−2) e^{2(2−x)τ};  R = 1 − 2xy + x²y − (8/z) xy(x−1)² ∫₀^τ e^{2(2−x)τ'} dτ'.
    """
    x, y, z = parameters.init_scale, parameters.latent_ratio, parameters.sample_ratio
    train = 1 + x * y * (x - 2) * jnp.exp(2 * (2 - x) * z * times)
    integral = _exponential_integral(2 * (2 - x), z * times)
    return Risks(train, 1 - 2 * x * y + x**2 * y - 8 / z * x * y * (x - 1) ** 2 * integral)


def mean_field_narrow_latent(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """Every mode of S grows freely, μ_s = c e^{4st}: R_tr = ∫ s(1 − 2μ_s) dμ, R = ∫ (1 − 2μ_s) dμ."""
    error = 1 - 2 * parameters.init_strength * jnp.exp(4 * jnp.outer(times, law.nodes))
    return Risks(error @ (law.weights * law.nodes), error @ law.weights)


def mean_field_free(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """μ_s = c/(1+4sct): R_tr = ∫ s μ_s² dμ, R = ∫ μ_s² dμ."""
    start = parameters.init_strength
    squared = (start / (1 + 4 * start * jnp.outer(times, law.nodes))) ** 2
    return Risks(squared @ (law.weights * law.nodes), squared @ law.weights)


def large_data_mean_field_narrow_latent(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R = 1 − 2c e^{4t}."""
    return _same(1 - 2 * parameters.init_strength * jnp.exp(4 * times))


def large_data_mean_field_free(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R = (c/(1+4ct))²."""
    return _same(_decayed(parameters.init_strength, times) ** 2)


def large_data_narrow_latent_free(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R = y (x/(1+4xt))²."""
    return _same(parameters.latent_ratio * _decayed(parameters.init_scale, times) ** 2)


def small_data_mean_field_narrow_latent(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R_tr = 1 − 2c e^{4τ};  R = 1 − 2c − (2c/z)(e^{4τ} − 1)."""
    start, z = parameters.init_strength, parameters.sample_ratio
    growth = jnp.expm1(4 * z * times)
    return Risks(1 - 2 * start * (1 + growth), 1 - 2 * start - 2 * start / z * growth)


def small_data_mean_field_free(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R_tr = m², m = c/(1+4cτ);  R = c² + (m² − c²)/z."""
    start, z = parameters.init_strength, parameters.sample_ratio
    train = _decayed(start, z * times) ** 2
    return Risks(train, start**2 + (train - start**2) / z)


def small_data_narrow_latent_free(times: Times, parameters: LimitParameters, law: Quadrature) -> Risks:
    """R_tr = x²y e^{−2xτ};  R = x²y − (4/z) x²y (1 − e^{−2xτ})."""
    x, y, z = parameters.init_scale, parameters.latent_ratio, parameters.sample_ratio
    loss = jnp.expm1(-2 * x * z * times)
    return Risks(x**2 * y * (1 + loss), x**2 * y * (1 + 4 / z * loss))


def _exponential_integral(rate: Scalar, times: Times) -> Times:
    """∫₀ᵗ e^{rate·t'} dt', also at rate 0."""
    safe = jnp.where(rate == 0, 1, rate)
    return jnp.where(rate == 0, times * (1 + rate * times / 2), jnp.expm1(safe * times) / safe)


CLOSED_FORMS: dict[frozenset[str], Callable[[Times, LimitParameters, Quadrature], Risks]] = {
    frozenset({"large-data", "mean-field"}): large_data_mean_field,
    frozenset({"large-data", "narrow-latent"}): large_data_narrow_latent,
    frozenset({"large-data", "free"}): large_data_free,
    frozenset({"small-data", "mean-field"}): small_data_mean_field,
    frozenset({"small-data", "narrow-latent"}): small_data_narrow_latent,
    frozenset({"mean-field", "narrow-latent"}): mean_field_narrow_latent,
    frozenset({"mean-field", "free"}): mean_field_free,
    frozenset({"large-data", "mean-field", "narrow-latent"}): large_data_mean_field_narrow_latent,
    frozenset({"large-data", "mean-field", "free"}): large_data_mean_field_free,
    frozenset({"large-data", "narrow-latent", "free"}): large_data_narrow_latent_free,
    frozenset({"small-data", "mean-field", "narrow-latent"}): small_data_mean_field_narrow_latent,
    frozenset({"small-data", "mean-field", "free"}): small_data_mean_field_free,
    frozenset({"small-data", "narrow-latent", "free"}): small_data_narrow_latent_free,
}
"""The curve of each edge and vertex that has a closed form, up to a quadrature of the spectrum of S."""
