"""Small data, N/p → 0: each sample moves W alone, in time τ = t·p/N."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats
from aetheory.core.theory import Citation
from aetheory.linear.flow import Ensemble
from aetheory.linear.parameters import AbstractLinear, of_covariance
from aetheory.linear.theories.bracket import Estimate
from aetheory.linear.theories.theory import Accuracy, Face, LinearTheory, Solver, Times, solved
from aetheory.spectra.marchenko_pastur import free_poisson


def sample_ensemble(ratios: AbstractLinear, num_nodes: int, target: float = 1.0) -> Ensemble:
    """Each sample moves M on the Krylov space of its own direction e₀, where S = (p/N) e₀e₀ᵀ.

    M(0) is the Jacobi matrix of its spectral law and W(0) the bidiagonal factor of that, cut after a whole column. Each
    of the N samples adds 1/p of its own block's traces to both risks, that is N/p blocks' worth in all; the population
    risk starts from (1/p) E‖M(0) − I‖². With `target` 0 it is the edge small-data ∩ free.

    Source: arXiv:2606.05335, small-data regime; the finite form of its moment hierarchy is derived here.
    """
    weights = free_poisson(ratios.latent_ratio, ratios.init_scale).factor(num_nodes)
    initial_map = weights @ weights.T
    moved = jnp.sum(initial_map**2) - 2 * target * jnp.trace(initial_map)
    return Ensemble(
        weights=weights,
        spectrum=jnp.ones(1, weights.dtype) * ratios.sample_ratio,
        scale=1 / ratios.sample_ratio,
        train_offset=jnp.full((), target, weights.dtype),
        population_offset=ratios.initial_risk(target == 0) - moved / ratios.sample_ratio,
        target_free=target == 0,
    )


def isotropic_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, _: bool, solver: Solver, target: float = 1.0
) -> tuple[Estimate, SolverStats]:
    """Along the flow of one sample."""
    return solved(sample_ensemble(ratios, num_nodes, target), times, solver)


def general_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """τ̄ R̂_tr and τ̄ R̂ + (N/p)(κ₂ − τ̄)(R̂_tr − R̂_tr(0)): the isotropic curves R̂ at time t τ̄, κ₂ = tr Σ²/tr Σ.

    A sample's own direction feels vᵀΣv = κ₂, all later vectors of its Krylov space τ̄. Meant for N ≪ (tr Σ)²/tr Σ².

    Source: derived here from arXiv:2606.05335, small-data regime.
    """
    isotropic, warped = of_covariance(ratios, None), jnp.mean(ratios.covariance) * times
    (values, *_), stats = isotropic_risks(warped, isotropic, num_nodes, corrected, solver)
    return Estimate(seen(ratios, values, isotropic.initial_risk())), stats


def seen(ratios: AbstractLinear, isotropic: Values, start: Float[Array, ""]) -> Values:
    """Both risks on inputs of any covariance from the isotropic ones; `start` is their train risk at time 0."""
    mean, square = jnp.mean(ratios.covariance), jnp.mean(ratios.covariance**2)
    moved = (square / mean - mean) / ratios.sample_ratio * (isotropic.train - start)
    return Values(train=mean * isotropic.train, population=mean * isotropic.population + moved)


def _on_face(m: int, n: int, j: int, order: int, top: int) -> bool:
    return j == top


SMALL_DATA = LinearTheory(
    name="small-data",
    formula="R_tr = m₂ − 2m₁ + 1, R(t) − R(0) = −(8N/p) ∫₀^τ (m₃ − 2m₂ + m₁), m_k = e₀ᵀMᵏe₀ under S = e₀e₀ᵀ, τ = tp/N",
    citations=(Citation("golikov2026prism"),),
    tested="10⁻³ ≤ pσ² ≤ 10, .02 ≤ H/p ≤ 50, tp/N ≤ 100; simulations at p = 800",
    error="10⁻⁶ of max(1, R(0)) by truncation; the population risk moves at order N/p only",
    isotropic=isotropic_risks,
    general=general_risks,
    num_nodes=32,
    general_nodes=32,
    is_explicit=False,
    face=Face(
        _on_face,
        scaling="N/p → 0; H ≍ p, σ² ≍ 1/p",
        time_unit="p/N",
        error_per_share=0.065,
        share="with samples",
    ),
    accuracy=Accuracy(("init_scale", 1e-3, 10.0), ("latent_ratio", 0.02, 50.0), 100.0, in_samples=True),
)
"""N/p → 0."""
