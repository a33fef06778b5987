"""Risks on sparse sources: of the identity, of a random rotation, and of a denoiser in place of a linear decoder.

Everywhere `source` is a `SparseSource` and `rate` is r = n/d, positive; `activation` is σ, odd, with a linear part.
Source: K. Kögler, A. Shevchenko, H. Hassani, M. Mondelli, arXiv:2402.05013 (ICML 2024).
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import fail, is_concrete, real_array
from aetheory.sources.amplitudes import AbstractAmplitude
from aetheory.sources.sparse import SparseSource
from aetheory.two_layer.activations import ActivationLike, as_activation
from aetheory.two_layer.limits.gaussian import Alpha, gaussian, limit_alpha

_NUM_NODES = 2049
_REACH_IN_DEVIATIONS = 10.0
"""Standard deviations of the channel noise beyond which its density is below rounding."""


def critical_sparsity(source: SparseSource) -> Float[Array, ""]:
    """Critical sparsity (2/π)/(E|u|)², above which the identity beats a random rotation at rate 1.

    With the sign, E|x_1| = √q E|u| competes with √(2/π). The sparsity of the source does not matter. Where it exceeds 1
    (Laplace: 4/π), the rotation is better at every sparsity.
    """
    check_source(source)
    return jnp.asarray(2 / math.pi / source.amplitude.mean_absolute**2, source.sparsity.dtype)


def identity_risk(source: SparseSource, rate: Any = 1.0) -> Float[Array, "*shape"]:
    """Risk 1 − r (E|x_1|)² of the signs of the first r d entries with the decoder E|x_1| Bᵀ, 0 < r ≤ 1.

    The sign of an entry 0 is +1, so that signs have the mean 1 − q. A decoder that mixes units or has a bias can remove
    it and gains r (E|x_1|)²/(1 − (1−q)²) instead; this function and `critical_sparsity` follow the paper.
    """
    check_source(source)
    requirement = "in (0, 1] for the identity"
    rates = real_array("rate", rate, requirement, minimum=0.0, maximum=1.0, strict=True)
    return 1 - rates * source.mean_absolute.astype(rates.dtype) ** 2


def rotation_risk(
    source: SparseSource, rate: Any = 1.0, activation: ActivationLike | Alpha = "sign"
) -> Float[Array, "*shape"]:
    """Risk of a random rotation with the best linear decoder, as d → ∞: that of Gaussian inputs.

    A rotation makes pre-activations Gaussian; for r > 1 the encoder is an incoherent tight frame.
    """
    check_source(source)
    return gaussian(rate, activation)


class Denoiser(eqx.Module):
    """Posterior mean E[x_1 | z] in the channel z = gain · x_1 + noise · g after a random rotation.

    It replaces the linear decoder: x̂ = denoiser(z) entry by entry, for z = Bᵀ σ(B x).

    Arguments:
        gain, noise: μ = r c₁, and τ with τ² = m₂ − μ² and m₂ = r f(1) for r ≤ 1, c₁²(r² + αr) for r > 1.
        sparsity: q, the share of entries that are not 0.
        amplitude: the law of u = √q x_1, where x_1 is not 0.
    """

    gain: Float[Array, ""]
    noise: Float[Array, ""]
    sparsity: Float[Array, ""]
    amplitude: AbstractAmplitude

    @eqx.filter_jit
    def __call__(self, outputs: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """E[x_1 | z] of every entry."""
        return self.log_evidence_and_mean(outputs)[1]

    def log_evidence_and_mean(
        self, outputs: Float[Array, "*shape"]
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """log p(z) and E[x_1 | z] of every entry."""
        root = jnp.sqrt(self.sparsity)
        posterior = self.amplitude.posterior(outputs, self.gain / root, self.noise)
        scaled = outputs / self.noise
        absent = -0.5 * scaled**2 - jnp.log(self.noise) - 0.5 * math.log(2 * math.pi) + jnp.log1p(-self.sparsity)
        present = posterior.log_evidence + jnp.log(self.sparsity)
        return jnp.logaddexp(absent, present), jax.nn.sigmoid(present - absent) * posterior.mean / root


def denoiser(source: SparseSource, rate: Any = 1.0, activation: ActivationLike = "sign") -> Denoiser:
    """Denoiser after a random rotation (r ≤ 1) or an incoherent tight frame (r > 1), as d → ∞.

    The rate is a single number, which may be traced.

    Raises:
        ValueError: the channel has no noise (a linear activation at rate ≥ 1).
    """
    resolved = as_activation(activation)
    return _denoiser(source, rate, limit_alpha(resolved), resolved.linear_coefficient)


def _denoiser(source: SparseSource, rate: Any, alpha: Any, linear: float) -> Denoiser:
    check_source(source)
    rates = real_array("rate", rate, "positive, at most 1e15", minimum=0.0, maximum=1e15, strict=True)
    rates = rates.astype(source.sparsity.dtype)
    if rates.ndim != 0:
        raise fail("rate", "a single number (map over several with `jax.vmap`)", rate)
    # τ² = c₁² r (1 + α − r) for r ≤ 1 and c₁² r α beyond, without the cancellation of m₂ − μ²
    share = alpha + jnp.maximum(1 - rates, 0)
    if is_concrete(alpha) and alpha == 0 and is_concrete(rates) and bool(rates >= 1):
        raise fail("rate", "below 1 for a linear activation, whose risk is 0 from 1 on", rate)
    noise = linear * jnp.sqrt(rates * share)
    return Denoiser(rates * linear, noise, source.sparsity, source.amplitude)


def denoised_risk(
    source: SparseSource, rate: Any = 1.0, activation: ActivationLike | Alpha = "sign"
) -> Float[Array, ""]:
    """Risk 1 − E (E[x_1 | z])² of the `denoiser`.

    By the trapezoidal rule in asinh(z/τ), accurate to 1e-10 in float64. Differentiable in the rate, the sparsity and α.
    """
    # the risk does not depend on c₁
    return _mean_square_error(_denoiser(source, rate, limit_alpha(activation), 1.0))


@eqx.filter_jit
def _mean_square_error(channel: Denoiser) -> Float[Array, ""]:
    largest = channel.gain / jnp.sqrt(channel.sparsity) * channel.amplitude.reach / channel.noise + _REACH_IN_DEVIATIONS
    nodes = jnp.linspace(-1, 1, _NUM_NODES, dtype=channel.noise.dtype) * jnp.arcsinh(largest)
    spacing = nodes[1] - nodes[0]
    outputs = channel.noise * jnp.sinh(nodes)
    log_evidence, means = channel.log_evidence_and_mean(outputs)
    density = jnp.exp(log_evidence) * channel.noise * jnp.cosh(nodes)
    return 1 - spacing * jnp.sum(density * means**2)


def check_source(source: Any) -> SparseSource:
    """The source, checked to be a `SparseSource`."""
    if not isinstance(source, SparseSource):
        raise fail("source", "a `SparseSource`", source)
    return source
