"""Mean field, H/p → ∞: M stays a function of the sample covariance S."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aetheory.core.curve import Values
from aetheory.core.theory import Citation
from aetheory.linear.modes import mode_error
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.theory import Accuracy, Estimate, Face, LinearTheory, Times
from aetheory.spectra.covariance import SampleCovariance
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, Quadrature

_REACH = 1.7
"""Of the quadrature: e^{−4st} is constant closer to an edge, up to t = 100. With the node at 0, its nodes fill whole
vectors of the processor."""

_FINER = 4
"""Times as many nodes where weight decay divides the spectrum in modes that grow and modes that die out."""


def risks(times: Times, ratios: AbstractLinear, spectrum: Quadrature, held_out: Any = None) -> Values:
    """∫ s (μ_s−1)² dμ and ∫ (μ_s−1)² dμ over the spectrum of S, μ_s − 1 = (c−1)/(1 + c(e^{4st}−1)), c = Hσ².

    With `held_out`, the variance of other samples along each eigenvector of S, in place of 1 in the population risk.

    Source: arXiv:2606.05335, mean-field regime.
    """
    seen = spectrum.weights if held_out is None else spectrum.weights * held_out
    error = mode_error(ratios.init_strength, spectrum.nodes[None, :], times[:, None], ratios.penalty)
    return Values(train=error**2 @ (spectrum.weights * spectrum.nodes), population=error**2 @ seen)


def isotropic_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, *_: Any
) -> tuple[Estimate, None]:
    """Over the Marchenko–Pastur law of ratio z = p/N, corrected in 1/p where wanted (H still infinite).

    Source of the correction: Z. Bai, J. Silverstein (2004).
    """
    num_nodes *= 1 if ratios.penalty is None else _FINER
    dim = ratios.input_dim if corrected else None
    return Estimate(
        risks(times, ratios, MarchenkoPastur(ratios.sample_ratio).edge_quadrature(num_nodes, dim, _REACH))
    ), None


def general_risks(
    times: Times, ratios: AbstractLinear, num_nodes: int, corrected: bool, *_: Any
) -> tuple[Estimate, None]:
    """∫ s e² dF and ∫ δ(s) e² dF for any population covariance, over a contour around the spectrum of S.

    e² has its nearest pole at the same angle, atan2(π, log|1/c − 1|), at all times: the contour keeps below it. Weight
    decay moves the poles from 0 to γ/2, which lowers the angle that they are seen at. The train risk of finitely many
    real Gaussian samples is corrected to first order in 1/p where wanted; the correction of the population risk is not
    known.

    Source: F and δ: J. Silverstein (1995), O. Ledoit, S. Péché (2011); derived here from arXiv:2606.05335, mean-field.
    """
    strength, latest = ratios.init_strength, jnp.maximum(times[-1], float(np.finfo(times.dtype).tiny))
    # of 1/c − 1, which is 0 at c = 1, where the error vanishes, and infinite at c = 0, where it is constant
    ratio = jnp.clip(jnp.abs(1 - strength) / jnp.maximum(strength, 1e-12), 1e-12, 1e12)
    farthest, penalty = jnp.log(ratio), ratios.penalty
    if penalty is not None:
        farthest = jnp.maximum(farthest, 0) + 2 * penalty.weight_decay * latest
        num_nodes *= _FINER
    height = jnp.minimum(0.55 * jnp.arctan2(jnp.asarray(jnp.pi, ratio.dtype), farthest), 1.1)
    reach = jnp.where(strength < 1, jnp.pi, -jnp.log1p(-1 / jnp.maximum(strength, 1 + 1e-6)))
    law = SampleCovariance(ratios.covariance, ratios.sample_ratio)
    rule = law.contour(jnp.minimum(0.3 * jnp.minimum(reach, 1) / (4 * latest), law.top), height, num_nodes)
    kind = rule.points.dtype
    penalty = jax.tree.map(lambda number: number.astype(kind), penalty)
    squared = mode_error(strength.astype(kind), rule.points[None, :], times.astype(kind)[:, None], penalty) ** 2
    weights = rule.weights + rule.correction / ratios.input_dim.astype(kind) if corrected else rule.weights
    values = Values(train=(squared @ (weights * rule.points)).real, population=(squared @ rule.population).real)
    return Estimate(values), None


def _on_face(m: int, n: int, j: int, order: int, top: int) -> bool:
    return n == m


MEAN_FIELD = LinearTheory(
    name="mean-field",
    formula="R_tr = ∫ s e² dμ, R = ∫ e² dμ, e = (c−1)/(1+c(e^{4st}−1)), μ the Marchenko–Pastur law of ratio p/N",
    citations=(Citation("golikov2026prism"), Citation("bai2004clt", "for the correction in 1/p", derived=True)),
    tested=".01 ≤ Hσ² ≤ 10, p/N ≤ 50, t ≤ 100; simulations at p = 400 and on the covariance of digits",
    error="10⁻⁶ of max(1, R(0)) by quadrature; of order p/H and 1/p at finite size, the latter corrected on request",
    isotropic=isotropic_risks,
    general=general_risks,
    num_nodes=103,
    general_nodes=192,
    of_spectrum=risks,
    corrected=True,
    left_out="that H is finite, which adds (Hσ²)² p/H to the risks at the start",
    penalised=True,
    face=Face(
        _on_face,
        scaling="H/p → ∞, σ² ≍ 1/H; N ≍ p",
        time_unit="1",
        error_per_share=0.22,
    ),
    accuracy=Accuracy(("init_strength", 1e-2, 10.0), ("sample_ratio", 0.0, 50.0), 100.0, latest_decay=20.0),
)
"""H/p → ∞."""
