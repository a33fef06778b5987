"""Untied modes: separate encoder and decoder weights from a small start, each direction of S learnt alone."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.curve import Values
from aetheory.core.theory import Citation
from aetheory.linear.modes import Penalty, mode_error
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.theory import Estimate, LinearTheory, Times
from aetheory.spectra.covariance import SampleCovariance


def untied_mode_error(
    start: Float[Array, "..."], variance: Float[Array, "..."], times: Float[Array, "..."], penalty: Penalty | None
) -> Float[Array, "..."]:
    """u(t) − 1 of u = bE/[(s+ε)(E−1) + b/u(0)], E = e^{2bt}, b = s − γ: u̇ = 2u(b − (s+ε)u), the gain of one direction.

    That is a mode of tied weights at half the speed and under twice the decay, which each factor has of its own.

    Source: A. Pretorius, S. Kroon, H. Kamper, arXiv:1806.05413; its λ is Ns, its γ and ε those here, its flow N/τ as
    fast.
    """
    tied = None if penalty is None else Penalty(2 * penalty.weight_decay, penalty.input_noise)
    return mode_error(start, variance, times / 2, tied)


def small_starts(ratios: AbstractLinear, size: int) -> Float[Array, " size"]:
    """u(0) = (H − n + 1) σ²/2 of the n-th largest variance, 0 beyond the H-th; `size` modes stand for p.

    Of the two vectors of a direction, its column of W₁ and its row of W₂, the mean grows and the difference decays
    while M ≪ 1. The squared mean is σ²/2 for each hidden unit, and n − 1 hidden directions are taken by then.

    Source: derived here.
    """
    taken = ratios.init_scale * jnp.arange(size, dtype=ratios.init_scale.dtype) / size
    return jnp.maximum(ratios.init_strength - taken, 0) / 2


def untied_risks(times: Times, ratios: AbstractLinear, num_nodes: int, *_: Any) -> tuple[Estimate, None]:
    """Both risks ∫ s (u−1)² dF and ∫ δ (u−1)² dF, and the objective, the first with ε u² + 2γ u for each direction."""
    size = min(num_nodes, len(ratios.covariance))
    law = SampleCovariance(ratios.covariance, ratios.sample_ratio)
    spectrum, seen = law.atoms(size, law.rank(size))
    order = jnp.argsort(-spectrum)
    starts, variances = small_starts(ratios, size)[None, :], spectrum[order][None, :]
    error = untied_mode_error(starts, variances, times[:, None], ratios.penalty)
    train, population = (error**2 @ weights[order] / size for weights in (spectrum, seen))
    objective = train
    if ratios.penalty is not None:
        decay, noise = ratios.penalty
        objective = train + jnp.mean(noise * (1 + error) ** 2 + 2 * decay * (1 + error), axis=-1)
    return Estimate(Values(train=train, population=population, objective=objective)), None


UNTIED_MODES = LinearTheory(
    name="untied-modes",
    formula="R = ∫ s (u−1)² dF, u = bE/[(s+ε)(E−1) + b/u(0)], E = e^{2bt}, b = s − γ",
    citations=(Citation("pretorius2018learning"),),
    tested="MNIST's second moment, H = 256, σ = 10⁻⁴, γ, ε = 0 and .5, published descents of 4900 steps; power laws "
    "i^(−a), a = .5 and 1.5, p = 100, H = 40 and 150, Hσ² = 10⁻⁶ to .5, means of four simulations",
    error="within .45 % of the published MNIST losses; power laws, Hσ² ≤ .01, N = ∞: within 1 % of R(0) at H = 150, "
    "4 % at H = 40, whose own times vary; off by Hσ² beyond. At N = 2p and a = 1.5 by 10 %, as top eigenvalues vary",
    general=untied_risks,
    # all of them: which are learnt is decided one by one
    general_nodes=2**20,
    is_explicit=False,
    penalised=True,
    tied=False,
)
"""Untied weights, Hσ² ≪ 1."""
