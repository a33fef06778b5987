"""Large data, N/p → ∞: every eigenvalue of M = W Wᵀ moves alone."""

import math
from typing import Any

import jax.numpy as jnp

from aetheory.core.checks import fail
from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats
from aetheory.core.theory import Citation
from aetheory.linear.modes import mode_error
from aetheory.linear.parameters import AbstractLinear, on_population
from aetheory.linear.theories.rotations import Rotations, rotated_risks
from aetheory.linear.theories.theory import Accuracy, Estimate, Face, LinearTheory, Solver, Times, same
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, Quadrature


def narayana(times: Times, ratios: AbstractLinear) -> Values:
    """The risk (train = population) by the Narayana generating function.

    R(t) = 1 + 2x Ψ(−t), Ψ(u) = ½ x e^{−8u} ∂₁h(a, y) − e^{−4u} h(a, y), a = x (1 − e^{−4u}) and
    h(a, y) = [1 − a(y+1) − √(1 − 2a(y+1) + a²(y−1)²)] / (2a²), with x = pσ² and y = H/p. Written with q = e^{−4t} and
    b = q a ∈ [−x, 0], both divided by the larger of q and |b|, so that nothing overflows, underflows or cancels.

    Source: arXiv:2602.04548, Section 9 and App. J, as cited for the large-data face in arXiv:2606.05335.
    """
    x, y = ratios.init_scale, ratios.latent_ratio
    decay, shift, total = jnp.exp(-4 * times), x * jnp.expm1(-4 * times), y + 1
    unit = jnp.maximum(decay, -shift)
    unit = jnp.where(unit > 0, unit, 1)  # it is 0 where x is, and the exponential has underflown: nothing moves
    decay, shift, x = decay / unit, shift / unit, x / unit
    discriminant = decay**2 - 2 * shift * decay * total + (shift * (y - 1)) ** 2
    # It vanishes only where decay underflows and y = 1; there its contribution does too.
    positive = discriminant > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, discriminant, 1)), 0)
    slope = jnp.where(positive, (shift * (y - 1) ** 2 - total * decay) / jnp.where(positive, root, 1), y - 1)
    denominator = decay - shift * total + root
    denominator = jnp.where(denominator > 0, denominator, 1)
    generating = 2 * y / denominator
    derivative = 2 * y * (total - slope) / denominator**2
    return same(1 + x * (x * derivative - 2 * generating))


def spectral(times: Times, ratios: AbstractLinear, eigenvalues: Quadrature) -> Values:
    """The same risk as an integral over the law of the eigenvalues λ of M(0): ∫ ((λ−1)/(1+λ(e^{4t}−1)))² dμ(λ).

    Source: arXiv:2606.05335, large-data regime: λ̇ = −4λ(λ−1).
    """
    one = jnp.ones((), times.dtype)
    error = mode_error(eigenvalues.nodes[None, :], one, times[:, None], ratios.penalty)
    return same(eigenvalues.integrate(error**2))


def isotropic_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, *_: Any
) -> tuple[Estimate, None]:
    """In closed form; with a penalty or a correction in 1/p over the law of the eigenvalues of M(0) = W Wᵀ.

    That is free Poisson of rate y and jump x. Source of the correction: Z. Bai, J. Silverstein (2004).
    """
    if ratios.penalty is None and not corrected:
        return Estimate(narayana(times, ratios)), None
    law = MarchenkoPastur(1 / ratios.latent_ratio, ratios.init_strength)
    eigenvalues = law.edge_quadrature(num_nodes, ratios.input_dim if corrected else None)
    return Estimate(spectral(times, ratios, eigenvalues)), None


def general_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver, target_free: bool = False
) -> tuple[Estimate, SolverStats]:
    """M(0) rotated at random against Σ itself: no closed form is known, for M(0) and Σ do not commute.

    The curve comes with a bracket. It is the interior's at N = ∞; explicit where H/p → ∞ (mean-field).
    """
    if corrected:
        raise fail("finite_size", "False for inputs with a covariance of their own", corrected)
    rotations = jnp.asarray(Rotations(num_nodes, 8).matrices(), times.dtype)
    return rotated_risks(on_population(ratios), rotations, times, target_free, solver)


def _on_face(m: int, n: int, j: int, order: int, top: int) -> bool:
    return j == 0


LARGE_DATA = LinearTheory(
    name="large-data",
    formula="R = ∫ ((λ−1)/(1+λ(e^{4t}−1)))² dμ(λ), μ the free Poisson law of rate H/p and jump pσ²",
    citations=(
        Citation("golikov2026prism"),
        Citation("yarotsky2026gradient", "Section 9, App. J"),
        Citation("bai2004clt", "for the correction in 1/p", derived=True),
    ),
    tested="10⁻³ ≤ pσ² ≤ 10, .02 ≤ H/p ≤ 50, all times; simulations at p = 300 and p = 20 with the correction",
    error="10⁻⁶ of max(1, R(0)) by quadrature; of order 1/p at finite size, 5·10⁻⁴ at p = 20 when corrected",
    isotropic=isotropic_risks,
    general=general_risks,
    num_nodes=64,
    general_nodes=96,
    corrected=True,
    penalised=True,
    face=Face(
        _on_face,
        scaling="N/p → ∞; H ≍ p, σ² ≍ 1/p",
        time_unit="1",
        error_per_share=0.04,
        share="with samples",
    ),
    accuracy=Accuracy(("init_scale", 1e-3, 10.0), ("latent_ratio", 0.02, 50.0), math.inf),
)
"""N/p → ∞."""
