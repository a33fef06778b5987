"""Explicit risk curves, where mathematics offers them, beside the flow that computes every regime.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the large-data formula also arXiv:2602.04548.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.curve import Risks
from aetheory.spectra.marchenko_pastur import Quadrature


def large_data(
    times: Float[Array, " times"], init_scale: Float[Array, ""], latent_ratio: Float[Array, ""]
) -> Float[Array, " times"]:
    """The risk (train = population) of the large-data regime, by the Narayana generating function.

    R(t) = 1 + 2x Ψ(−t), Ψ(u) = ½ x e^{−8u} ∂₁h(a, y) − e^{−4u} h(a, y), a = x (1 − e^{−4u}) and
    h(a, y) = [1 − a(y+1) − √(1 − 2a(y+1) + a²(y−1)²)] / (2a²), with x = pσ² and y = H/p. Written with
    q = e^{−4t} and b = q a ∈ [−x, 0] so that nothing overflows at late times or cancels at early ones.

    Arguments:
        times: flow times, shape (num_times,).
        init_scale: x.
        latent_ratio: y.

    Source: arXiv:2602.04548, as cited for the large-data edge in arXiv:2606.05335.
    """
    decay = jnp.exp(-4 * times)
    shift = init_scale * jnp.expm1(-4 * times)
    total = latent_ratio + 1
    discriminant = decay**2 - 2 * shift * decay * total + (shift * (latent_ratio - 1)) ** 2
    # It vanishes only where decay underflows and y = 1; there its contribution does too.
    positive = discriminant > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, discriminant, 1)), 0)
    slope = jnp.where(
        positive, (shift * (latent_ratio - 1) ** 2 - total * decay) / jnp.where(positive, root, 1), latent_ratio - 1
    )
    denominator = decay - shift * total + root
    generating = 2 * latent_ratio / denominator
    derivative = 2 * latent_ratio * (total - slope) / denominator**2
    return 1 + init_scale * (init_scale * derivative - 2 * generating)


def large_data_spectral(times: Float[Array, " times"], eigenvalues: Quadrature) -> Float[Array, " times"]:
    """The same risk as an integral over the law of the eigenvalues λ of M(0): ∫ ((λ−1)/(1+λ(e^{4t}−1)))² dμ(λ).

    Arguments:
        times: flow times, shape (num_times,).
        eigenvalues: a quadrature of μ, with its finite-size correction where wanted.

    Source: arXiv:2606.05335, large-data regime: λ̇ = −4λ(λ−1).
    """
    decay, nodes = jnp.exp(-4 * times)[:, None], eigenvalues.nodes[None, :]
    error = (nodes - 1) * decay / (nodes + (1 - nodes) * decay)
    return eigenvalues.integrate(error**2)


def mean_field(
    times: Float[Array, " times"],
    init_strength: Float[Array, ""],
    law: Quadrature,
    held_out: Float[Array, " nodes"] | None = None,
) -> Risks:
    """Both risks of the mean-field regime: ∫ s (μ_s−1)² dμ and ∫ (μ_s−1)² dμ over the spectrum of S.

    μ_s(t) − 1 = (c−1)/(1 + c(e^{4st}−1)), c = Hσ².

    Arguments:
        times: flow times, shape (num_times,).
        init_strength: c.
        law: the spectrum of S as a quadrature.
        held_out: variance of other samples along each eigenvector of S, in place of 1 in the population risk.

    Source: arXiv:2606.05335, mean-field regime.
    """
    decay = jnp.exp(-4 * jnp.outer(times, law.nodes))
    error = (init_strength - 1) * decay / (init_strength + (1 - init_strength) * decay)
    population = law.weights if held_out is None else law.weights * held_out
    return Risks(error**2 @ (law.weights * law.nodes), error**2 @ population)
