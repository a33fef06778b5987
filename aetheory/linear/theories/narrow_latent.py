"""Narrow latent, H/p → 0: the columns of W move alone."""

from typing import Any

import jax
import jax.numpy as jnp
import optimistix
from jaxtyping import Array, Float

from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats, solve_flow
from aetheory.core.theory import Citation
from aetheory.linear.flow import Ensemble
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.theory import Accuracy, Estimate, Face, LinearTheory, Solver, Times, solved
from aetheory.spectra.covariance import SampleCovariance
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, square_root

_MANY, _SHARES = 128, 1024
"""So many variances are a spectrum, a share of it for each; into how many shares at least fewer are divided."""


def isotropic_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, _: bool, solver: Solver, target: float = 1.0
) -> tuple[Estimate, SolverStats]:
    """One column w with w_i² = x·weights_i on S = diag(nodes): y such columns for each input dimension.

    Gives the two-dimensional equation Ȧ = 2 − a, Ḃ = b of the paper for (a, b) = (|w|², wᵀSw), over the
    Marchenko–Pastur law of ratio z = p/N by Gauss–Radau quadrature with a node at 0. With `target` 0, on the edge
    narrow-latent ∩ free, e^{−2B} = φ(A) = ∫ e^{2sA} dμ and one equation remains, Ȧ = −xφ(A)².

    Source: arXiv:2606.05335, narrow-latent regime.
    """
    law = MarchenkoPastur(ratios.sample_ratio).radau_quadrature(num_nodes)
    column = Ensemble(
        weights=(square_root(ratios.init_scale) * square_root(law.weights))[:, None],
        spectrum=law.nodes,
        scale=ratios.latent_ratio,
        train_offset=target * (law.weights @ law.nodes),
        population_offset=target * jnp.sum(law.weights),
        target_free=target == 0,
        penalty=ratios.penalty,
    )
    return solved(column, times, solver)


def general_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, solver: Solver
) -> tuple[Estimate, SolverStats]:
    """Ȧ = 2 − a, Ḃ = b + 2εa + γ, (a, b) = x∫(1, s) e^{2sA−2B} dF and b_Σ = x∫δ e^{2sA−2B} dF, for any covariance.

    R_tr = tr S/p − y(2−a)b and R = tr Σ/p − y(2−a)b_Σ. A contour around the spectrum gives the limit to many digits
    but cancels late, in float32 soon; from there on the integrals go over into sums over equal shares of (F, δ), as
    many as there are variances or at least `_SHARES`: a variance of its own is then one eigenvalue of S, not a bulk.

    Source: arXiv:2606.05335, narrow-latent regime, for (A, B); F and δ: J. Silverstein (1995), O. Ledoit, S. Péché
    (2011); derived here.
    """
    law = SampleCovariance(ratios.covariance, ratios.sample_ratio)
    early, height = (8.0, 0.7) if times.dtype == jnp.float64 else (1.0, 0.35)
    rule = law.contour(0.3 * jnp.minimum(law.top, 1), jnp.full((), height, times.dtype), num_nodes)
    dim = len(law.variances)
    size = dim if dim >= _MANY else dim * -(-_SHARES // dim)
    spectrum, variances = law.atoms(size, law.rank(size))
    mean, largest = jnp.mean(law.variances), jnp.max(spectrum)
    on_contour = jnp.stack([rule.weights, rule.weights * rule.points, rule.population])
    on_shares = jnp.stack([jnp.ones_like(spectrum), spectrum, variances]) / size

    def averages(state: tuple[Array, Array]) -> Float[Array, " three"]:
        growth, decline = state  # A and B − s₁A, for float32 to keep their digits
        late = jnp.clip(growth * law.top / early - 1, 0, 1)
        soon = jnp.minimum(growth, 2 * early / law.top)
        turned = jax.lax.complex((rule.points.real - largest) * soon - decline, rule.points.imag * soon)
        limit = (on_contour @ jnp.exp(2 * turned)).real
        shares = on_shares @ jnp.exp(2 * ((spectrum - largest) * growth - decline))
        found: Float[Array, " three"] = ratios.init_scale * (limit + late**2 * (3 - 2 * late) * (shares - limit))
        return found

    def field(_: Any, state: tuple[Array, Array], args: None) -> tuple[Array, Array]:
        length, energy, _ = averages(state)
        if ratios.penalty is not None:
            decay, noise = ratios.penalty
            energy = energy + 2 * noise * length + decay
        return 2 - length, energy - largest * (2 - length)

    def observe(_: Any, state: tuple[Array, Array], args: None) -> Values:
        length, energy, seen = averages(state)
        moved = ratios.latent_ratio * (2 - length)
        return Values(train=mean - moved * energy, population=mean - moved * seen)

    start = (jnp.zeros_like(mean), jnp.zeros_like(mean))
    values, _, stats = solve_flow(field, start, times, None, observe, **solver._asdict(), norm=optimistix.max_norm)
    return Estimate(values), stats


def _on_face(m: int, n: int, j: int, order: int, top: int) -> bool:
    return n == min(m, 1)


NARROW_LATENT = LinearTheory(
    name="narrow-latent",
    formula="R_tr ≃ tr S/p + 2y(−b + ½ab), R ≃ 1 + 2y(−a + ½a²), Ȧ = 2−a, Ḃ = b, (a, b) = x∫(1, s) e^{2sA−2B} dμ",
    citations=(Citation("golikov2026prism"),),
    tested="10⁻³ ≤ pσ² ≤ 10, p/N ≤ 50, t ≤ 20; simulations at p = 800",
    error="10⁻⁶ of max(1, R(0)) by quadrature, late with a covariance .1 to 1.5 % of what moved; fails late, when the "
    "columns align with the top edge of S",
    isotropic=isotropic_risks,
    general=general_risks,
    num_nodes=128,
    general_nodes=96,
    is_explicit=False,
    penalised=True,
    face=Face(
        _on_face,
        scaling="H/p → 0, σ² ≍ 1/p; N ≍ p",
        time_unit="1",
        error_per_share=4.6,
        error_power=1.0,
        share="signed",
    ),
    accuracy=Accuracy(("init_scale", 1e-3, 10.0), ("sample_ratio", 0.0, 50.0), 20.0),
)
"""H/p → 0."""
