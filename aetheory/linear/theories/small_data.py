"""Small data, N/p → 0: each sample moves W alone, in time τ = t·p/N."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Float

from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats, solve_flow
from aetheory.core.theory import Citation
from aetheory.linear.flow import Ensemble, risks, vector_field
from aetheory.linear.parameters import AbstractLinear, of_covariance
from aetheory.linear.theories.theory import Accuracy, Estimate, Face, LinearTheory, Solver, Times
from aetheory.spectra.marchenko_pastur import free_poisson

State = tuple[Float[Array, "columns rows"], Float[Array, " two"]]
"""Wᵀ of one sample's Krylov space; how far the population and the train risk (over p/N) fell, in shares of R(0)."""


def sample_ensemble(ratios: AbstractLinear, num_nodes: int, target: float = 1.0) -> Ensemble:
    """Each sample moves M on the Krylov space of its own direction e₀, where S = (p/N) e₀e₀ᵀ.

    M(0) is the Jacobi matrix of its spectral law and W(0) the bidiagonal factor of that, cut after a whole column. Each
    of the N samples adds 1/p of its own block's traces to both risks, that is N/p blocks' worth in all. Of the
    population risk these are what moves, up to a constant. With `target` 0 it is the edge small-data ∩ free.

    Source: arXiv:2606.05335, small-data regime; the finite form of its moment hierarchy is derived here.
    """
    weights = free_poisson(ratios.latent_ratio, ratios.init_scale).factor(num_nodes)
    return Ensemble(
        weights=weights,
        spectrum=jnp.ones(1, weights.dtype) * ratios.sample_ratio,
        scale=1 / ratios.sample_ratio,
        train_offset=jnp.full((), target, weights.dtype),
        population_offset=jnp.zeros((), weights.dtype),
        target_free=target == 0,
    )


class OneSample(NamedTuple):
    """Both isotropic risks, and by how much the train risk has moved as a share of z = p/N: (R_tr(t) − R_tr(0))/z."""

    values: Values
    moved: Times


def one_sample(
    times: Times, ratios: AbstractLinear, num_nodes: int, solver: Solver, target: float = 1.0
) -> tuple[OneSample, SolverStats]:
    """Along the flow of one sample, by the integrals of their rates, for neither is a difference of large terms.

    R(t) = R(0) − 8 ∫₀ᵗ |(M−I)Wᵀe₀|² dt' with WᵀW in place of M, and a gradient flow descends by its own square,
    R_tr(t) = R_tr(0) − (2/z) ∫₀ᵗ |dW/dt|² dt'.
    """
    ensemble, start = sample_ensemble(ratios, num_nodes, target), ratios.initial_risk(target == 0)
    # in units in which the integrals outgrow the entries of W, for the solver to keep their own relative accuracy
    largest = jnp.maximum(1, ratios.init_scale * (1 + ratios.latent_ratio))
    size, unit = jax.lax.stop_gradient(jnp.maximum(1, start) / largest), ratios.sample_ratio
    speed = jnp.max(jnp.abs(jax.lax.stop_gradient(vector_field(0, ensemble.weights.T, ensemble) / unit)))
    speed = jnp.where(speed > 0, speed, 1)

    def field(time: Any, state: State, ensemble: Ensemble) -> State:
        transposed, _ = state
        own, velocity = transposed[:, 0], vector_field(time, transposed, ensemble)
        error = transposed @ (own @ transposed) - target * own
        # the square itself leaves the range of float32 at large starts
        descent = jnp.sum((velocity / unit / speed) ** 2) * speed * (speed / size)
        return velocity, jnp.stack([8 * jnp.sum(error**2) / size, 2 * descent])

    def observe(time: Any, state: State, ensemble: Ensemble) -> OneSample:
        transposed, fallen = state
        population = start - size * fallen[0]
        values = Values(train=risks(time, transposed, ensemble).train, population=population)
        return OneSample(values, -size * fallen[1])

    state = (ensemble.weights.T, jnp.zeros(2, times.dtype))
    found, _, stats = solve_flow(field, state, times, ensemble, observe, **solver._asdict(), norm=optimistix.max_norm)
    return found, stats


def isotropic_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, _: bool, solver: Solver, target: float = 1.0
) -> tuple[Estimate, SolverStats]:
    """Along the flow of one sample."""
    found, stats = one_sample(times, ratios, num_nodes, solver, target)
    return Estimate(found.values), stats


def general_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """τ̄ R̂_tr and τ̄ R̂ + (N/p)(κ₂ − τ̄)(R̂_tr − R̂_tr(0)): the isotropic curves R̂ at time t τ̄, κ₂ = tr Σ²/tr Σ.

    A sample's own direction feels vᵀΣv = κ₂, all later vectors of its Krylov space τ̄. Meant for N ≪ (tr Σ)²/tr Σ².

    Source: derived here from arXiv:2606.05335, small-data regime.
    """
    warped = jnp.mean(ratios.covariance) * times
    found, stats = one_sample(warped, of_covariance(ratios, None), num_nodes, solver)
    return Estimate(seen(ratios, found)), stats


def seen(ratios: AbstractLinear, isotropic: OneSample) -> Values:
    """Both risks on inputs of any covariance from the isotropic ones."""
    mean, square = jnp.mean(ratios.covariance), jnp.mean(ratios.covariance**2)
    values = isotropic.values
    moved = (square / mean - mean) * isotropic.moved
    return Values(train=mean * values.train, population=mean * values.population + moved)


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
