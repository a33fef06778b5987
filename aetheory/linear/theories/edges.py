"""The edges and vertices of the prism, where two or three regimes meet.

The intersection of two faces keeps only the monomials that dominate in both, and its flow is often solvable where those
of the faces are not. With x = pσ², y = H/p, z = p/N, c = Hσ² = xy, and τ = zt. The risks are those of the dominant
monomials, together with the constants 1 of the target where it matters; they are meant where those dominate.

For inputs of any covariance mean-field edges are integrals over F and δ dF (`SampleCovariance`), or at N = ∞ over Σ;
small-data ones follow from the isotropic curves as on the face; the others are flows, or not known and say so.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335 (the faces, and large-data ∩ free); derived from the flow of
each face.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Inexact

from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats
from aetheory.core.theory import Citation
from aetheory.linear.modes import decayed, exponential_integral, relaxed, relaxing_error
from aetheory.linear.parameters import AbstractLinear, of_covariance, on_population
from aetheory.linear.theories.large_data import LARGE_DATA
from aetheory.linear.theories.large_data import general_risks as large_data_risks
from aetheory.linear.theories.narrow_latent import NARROW_LATENT
from aetheory.linear.theories.narrow_latent import general_risks as narrow_latent_risks
from aetheory.linear.theories.narrow_latent import isotropic_risks as columns
from aetheory.linear.theories.small_data import SMALL_DATA, OneSample, seen
from aetheory.linear.theories.small_data import isotropic_risks as along_one_sample
from aetheory.linear.theories.theory import Estimate, Limit, LinearTheory, Solver, Times, same
from aetheory.spectra.covariance import SampleCovariance
from aetheory.spectra.marchenko_pastur import MarchenkoPastur

Mode = Inexact[Array, "..."]
Squared = Callable[[Any, Any], Any]
"""The squared error of a mode, from its start c and s·t."""


def relaxing(start: Mode, warped: Mode) -> Mode:
    """(μ−1)² of a mode that relaxes to the target."""
    return relaxing_error(start, warped) ** 2


def growing(start: Mode, warped: Mode) -> Mode:
    """1 − 2μ of a mode that grows freely, μ = c e^{4st}."""
    return 1 - 2 * start * jnp.exp(4 * warped)


def falling(start: Mode, warped: Mode) -> Mode:
    """μ² of a mode without the target, μ = c/(1 + 4cst)."""
    return decayed(start, warped) ** 2


def over_population(squared: Squared, times: Times, ratios: AbstractLinear, *_: Any) -> tuple[Estimate, None]:
    """R = (1/p) Σ_i τ_i f(τ_i t): with N = ∞ the modes are those of Σ itself."""
    variances = jnp.ones(1, times.dtype) if ratios.covariance is None else ratios.covariance
    values = squared(ratios.init_strength, jnp.outer(times, variances))
    return Estimate(same(values @ variances / len(variances))), None


def over_samples(
    squared: Squared, times: Times, ratios: AbstractLinear, num_nodes: int, *_: Any
) -> tuple[Estimate, None]:
    """R_tr = ∫ s f dμ and R = ∫ f dμ over the Marchenko–Pastur law of S, by a rule that bounds no time."""
    law = MarchenkoPastur(ratios.sample_ratio).edge_quadrature(num_nodes)
    values = squared(ratios.init_strength, jnp.outer(times, law.nodes))
    return Estimate(Values(train=values @ (law.weights * law.nodes), population=values @ law.weights)), None


def over_any_samples(
    squared: Squared,
    share: float,
    height: float,
    times: Times,
    ratios: AbstractLinear,
    num_nodes: int,
    *_: Any,
) -> tuple[Estimate, None]:
    """R_tr = ∫ s f dF and R = ∫ f δ dF over the spectrum of S for any covariance, by a contour around it.

    It reaches `share`/(4t) left of 0 at the last time t, `share`/(4ct) where c > 1, and its `height` keeps below the
    poles of f.
    """
    law, start = SampleCovariance(ratios.covariance, ratios.sample_ratio), ratios.init_strength
    latest = jnp.maximum(times[-1], float(np.finfo(times.dtype).tiny)) * 4 * jnp.maximum(start, 1)
    rule = law.contour(jnp.minimum(share / latest, law.top), jnp.asarray(height, times.dtype), num_nodes)
    kind = rule.points.dtype
    values = squared(start.astype(kind), jnp.outer(times.astype(kind), rule.points))
    train, population = ((values @ weights).real for weights in (rule.weights * rule.points, rule.population))
    return Estimate(Values(train=train, population=population)), None


def closed(
    form: Callable[[Times, AbstractLinear], Values], times: Times, ratios: AbstractLinear, *_: Any
) -> tuple[Estimate, None]:
    """A closed form, known for isotropic inputs."""
    return Estimate(form(times, ratios)), None


def of_sample(
    form: Callable[[Times, AbstractLinear], OneSample], times: Times, ratios: AbstractLinear, *_: Any
) -> tuple[Estimate, None]:
    """A small-data edge for isotropic inputs."""
    return Estimate(form(times, ratios).values), None


def of_samples(
    form: Callable[[Times, AbstractLinear], OneSample], times: Times, ratios: AbstractLinear, *_: Any
) -> tuple[Estimate, None]:
    """The same for any covariance: its isotropic curve in time t τ̄, as on the face."""
    isotropic = form(jnp.mean(ratios.covariance) * times, of_covariance(ratios, None))
    return Estimate(seen(ratios, isotropic)), None


def large_data_narrow_latent(times: Times, ratios: AbstractLinear) -> Values:
    """S = I and y columns of squared length x each: R = 1 + y(m² − 2m), ṁ = −4m(m−1)."""
    squared = relaxed(ratios.init_scale, times)
    return same(1 + ratios.latent_ratio * (squared - 2) * squared)


def large_data_free(times: Times, ratios: AbstractLinear) -> Values:
    """R = ∫ (λ/(1+4λt))² dμ(λ) on the free Poisson law of rate y and jump x, by its Stieltjes transform.

    m(a) = ∫ dμ/(1+aλ) solves (1−m)(1+axm) = axym, and R = −d/da ∫ λ dμ/(1+aλ) at a = 4t.
    """
    x, y, a = ratios.init_scale, ratios.latent_ratio, 4 * times
    linear = 1 + a * x * (y - 1)
    root = jnp.sqrt(linear**2 + 4 * a * x)
    # linear + root, where they nearly cancel too
    total = jnp.where(linear > 0, linear + root, 4 * a * x / jnp.where(linear > 0, 1, root - linear))
    transform = 2 / total
    slope = -2 * x * ((y - 1) * total + 2) / (root * total**2)
    return same(x * y * (x * transform**2 - slope) / (1 + a * x * transform) ** 2)


def large_data_narrow_latent_free(times: Times, ratios: AbstractLinear) -> Values:
    """R = y (x/(1+4xt))²."""
    return same(ratios.latent_ratio * decayed(ratios.init_scale, times) ** 2)


def small_data_mean_field(times: Times, ratios: AbstractLinear) -> OneSample:
    """M(0) = cI and each sample's own direction follows m' = −4m(m−1) in τ: R_tr = (m−1)²."""
    start, z = ratios.init_strength, ratios.sample_ratio
    learnt = relaxed(start, z * times)
    # m − c = (1−q)(1−c) m, so that nothing cancels in (m−1)² − (c−1)² where z is small
    moved = -jnp.expm1(-4 * z * times) / z * (1 - start) * learnt * (learnt + start - 2)
    values = Values(train=relaxing_error(start, z * times) ** 2, population=(start - 1) ** 2 + moved)
    return OneSample(values, moved)


def small_data_narrow_latent(times: Times, ratios: AbstractLinear) -> OneSample:
    """Columns of squared length x turn towards the samples: their share grows like e^{2(2−x)τ}.

    R_tr = 1 + xy(x−2) e^{2(2−x)τ};  R = 1 − 2xy + x²y − (8/z) xy(x−1)² ∫₀^τ e^{2(2−x)τ'} dτ'.
    """
    x, y, z = ratios.init_scale, ratios.latent_ratio, ratios.sample_ratio
    train = 1 + x * y * (x - 2) * jnp.exp(2 * (2 - x) * z * times)
    moved = -2 * x * y * exponential_integral(2 * (2 - x), z * times) / z
    population = 1 - 2 * x * y + x**2 * y + 4 * (x - 1) ** 2 * moved
    return OneSample(Values(train=train, population=population), (x - 2) ** 2 * moved)


def small_data_mean_field_narrow_latent(times: Times, ratios: AbstractLinear) -> OneSample:
    """R_tr = 1 − 2c e^{4τ};  R = 1 − 2c − (2c/z)(e^{4τ} − 1)."""
    start, z = ratios.init_strength, ratios.sample_ratio
    growth = jnp.expm1(4 * z * times)
    moved = -2 * start / z * growth
    return OneSample(Values(train=1 - 2 * start * (1 + growth), population=1 - 2 * start + moved), moved)


def small_data_mean_field_free(times: Times, ratios: AbstractLinear) -> OneSample:
    """R_tr = m², m = c/(1+4cτ);  R = c² + (m² − c²)/z."""
    start, z = ratios.init_strength, ratios.sample_ratio
    learnt = decayed(start, z * times)
    # m − c = −4cτm, so that nothing cancels in m² − c² where z is small
    moved = -4 * times * start * learnt * (learnt + start)
    return OneSample(Values(train=learnt**2, population=start**2 + moved), moved)


def small_data_narrow_latent_free(times: Times, ratios: AbstractLinear) -> OneSample:
    """R_tr = x²y e^{−2xτ};  R = x²y − (4/z) x²y (1 − e^{−2xτ})."""
    x, y, z = ratios.init_scale, ratios.latent_ratio, ratios.sample_ratio
    loss = jnp.expm1(-2 * x * z * times)
    values = Values(train=x**2 * y * (1 + loss), population=x**2 * y * (1 + 4 / z * loss))
    return OneSample(values, x**2 * y * loss / z)


def population_columns(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """large-data ∩ narrow-latent: the narrow-latent curve at N = ∞."""
    return narrow_latent_risks(times, on_population(ratios), num_nodes, corrected, solver)


def population_free(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """large-data ∩ free: rotations of M(0) against Σ without the target."""
    return large_data_risks(times, ratios, num_nodes, corrected, solver, target_free=True)


def _where_faces_meet(
    name: str, formula: str, isotropic: Limit, general: Limit | None = None, **made: Any
) -> LinearTheory:
    is_explicit = made.get("is_explicit", True)
    return LinearTheory(
        name=name,
        formula=formula,
        citations=(Citation("golikov2026prism"), Citation("yarotsky2026gradient", "Table 2 (App. E)", derived=True)),
        tested="orders 0 to 5 of the loss expansion at the start, and flows of the faces deep in the corner",
        error="rounding, up to a quadrature of the spectrum of S" if is_explicit else "10⁻⁶ by truncation of a flow",
        isotropic=isotropic,
        general=general,
        **made,
    )


def _one_sample(name: str, formula: str, form: Callable[[Times, AbstractLinear], OneSample]) -> LinearTheory:
    """Of the small-data side, with a closed form."""
    return _where_faces_meet(name, formula, partial(of_sample, form), partial(of_samples, form))


def _population(name: str, formula: str, squared: Squared) -> LinearTheory:
    """Of large data and mean field: modes of Σ itself."""
    limit = partial(over_population, squared)
    return _where_faces_meet(name, formula, limit, limit)


EDGES = (
    _population("large-data ∩ mean-field", "R = (m−1)², ṁ = −4m(m−1), m(0) = Hσ²", relaxing),
    _where_faces_meet(
        "large-data ∩ narrow-latent",
        "R = 1 + y(m² − 2m), ṁ = −4m(m−1), m(0) = pσ²",
        partial(closed, large_data_narrow_latent),
        population_columns,
        general_nodes=NARROW_LATENT.general_nodes,
    ),
    _where_faces_meet(
        "large-data ∩ free",
        "R = ∫ (λ/(1+4λt))² dμ(λ), μ free Poisson of rate y and jump x",
        partial(closed, large_data_free),
        population_free,
        general_nodes=LARGE_DATA.general_nodes,
    ),
    _one_sample("small-data ∩ mean-field", "R_tr = (m−1)², m' = −4m(m−1) in τ = tp/N", small_data_mean_field),
    _one_sample("small-data ∩ narrow-latent", "R_tr = 1 + xy(x−2) e^{2(2−x)τ}", small_data_narrow_latent),
    _where_faces_meet(
        "small-data ∩ free",
        "the flow of one sample's Krylov space without the target",
        partial(along_one_sample, target=0.0),
        num_nodes=SMALL_DATA.num_nodes,
        is_explicit=False,
    ),
    _where_faces_meet(
        "mean-field ∩ narrow-latent",
        "R = ∫ (1 − 2c e^{4st}) dμ",
        partial(over_samples, growing),
        partial(over_any_samples, growing, 0.3, 0.7),
        num_nodes=192,
        general_nodes=128,
    ),
    _where_faces_meet(
        "mean-field ∩ free",
        "R = ∫ (c/(1+4sct))² dμ",
        partial(over_samples, falling),
        partial(over_any_samples, falling, 0.5, 1.1),
        num_nodes=192,
        general_nodes=128,
    ),
    _where_faces_meet(
        "narrow-latent ∩ free",
        "Ȧ = −xφ(A)², φ(A) = ∫ e^{2sA} dμ",
        partial(columns, target=0.0),
        num_nodes=NARROW_LATENT.num_nodes,
        is_explicit=False,
    ),
)
"""Where two faces meet."""

VERTICES = (
    _population("large-data ∩ mean-field ∩ narrow-latent", "R = 1 − 2c e^{4t}", growing),
    _population("large-data ∩ mean-field ∩ free", "R = (c/(1+4ct))²", falling),
    _where_faces_meet(
        "large-data ∩ narrow-latent ∩ free", "R = y (x/(1+4xt))²", partial(closed, large_data_narrow_latent_free)
    ),
    _one_sample("small-data ∩ mean-field ∩ narrow-latent", "R_tr = 1 − 2c e^{4τ}", small_data_mean_field_narrow_latent),
    _one_sample("small-data ∩ mean-field ∩ free", "R_tr = (c/(1+4cτ))²", small_data_mean_field_free),
    _one_sample("small-data ∩ narrow-latent ∩ free", "R_tr = x²y e^{−2xτ}", small_data_narrow_latent_free),
)
"""Where three faces meet."""
