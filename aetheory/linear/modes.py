"""One mode of M = W Wᵀ that moves alone: the scalar equations that all explicit curves are made of."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact


class Penalty(NamedTuple):
    """What is trained against besides the reconstruction: the flow of ½ E‖x − W Wᵀ(x+ξ)‖² + (γ/2) ‖W‖².

    Averaged over the noise ξ ~ N(0, εI) the first term is ½ tr (M−I)S(M−I) + (ε/2) tr M². The risks stay those of
    clean inputs.

    Arguments:
        weight_decay: γ.
        input_noise: ε, its variance in each coordinate.
    """

    weight_decay: Float[Array, "*batch"]
    input_noise: Float[Array, "*batch"]


def mode_error(
    start: Inexact[Array, "..."],
    variance: Inexact[Array, "..."],
    times: Inexact[Array, "..."],
    penalty: Penalty | None = None,
) -> Inexact[Array, "..."]:
    """μ(t) − 1 of μ̇ = −4sμ((1 + ε/s)μ − 1) − 2γμ, the mode of M along an eigenvector of S of variance s.

    With b = s − γ/2 it is μ̇ = 4μ(b − (s+ε)μ), hence μ = μ(0)/(e^{−4bt} + 4(s+ε) μ(0) ∫₀ᵗ e^{−4bt'} dt').

    Source: arXiv:2606.05335, mean-field regime, for γ = ε = 0; with them derived here.
    """
    if penalty is None:
        return relaxing_error(start, variance * times)
    balance = variance - penalty.weight_decay / 2
    falls = jnp.real(balance) < 0
    # of the two equal forms the one whose exponential cannot overflow
    rate = 4 * jnp.where(falls, balance, -balance)
    decay, integral = jnp.exp(rate * times), exponential_integral(rate, times)
    taken = 4 * (variance + penalty.input_noise) * start * integral
    spread = jnp.where(falls, 1, decay) + taken
    grown = start * jnp.where(falls, decay, 1)
    return jnp.where(spread == 0, 0, grown / jnp.where(spread == 0, 1, spread)) - 1


def relaxing_error(start: Inexact[Array, "..."], times: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """m(t) − 1 of ṁ = −4m(m−1): (m−1)q/(q + m(1−q)) of the start, q = e^{−4t}, without cancellation; −1 for m = 0."""
    decay = jnp.exp(-4 * times)
    spread = decay - start * jnp.expm1(-4 * times)
    # 0 where m is, and the exponential has underflown
    return jnp.where(spread == 0, -1, (start - 1) * decay / jnp.where(spread == 0, 1, spread))


def relaxed(start: Float[Array, ""], times: Float[Array, " times"]) -> Float[Array, " times"]:
    """m(t) itself, for a finite start: m/(q + m(1−q)), to full relative accuracy where it is small."""
    spread = jnp.exp(-4 * times) - start * jnp.expm1(-4 * times)
    return jnp.where(spread == 0, 0, start / jnp.where(spread == 0, 1, spread))


def decayed(start: Inexact[Array, "..."], times: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """m(t) of ṁ = −4m², the same without the target."""
    return start / (1 + 4 * start * times)


def exponential_integral(rate: Inexact[Array, "..."], times: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
    """∫₀ᵗ e^{rate·t'} dt', also at rate 0."""
    safe = jnp.where(rate == 0, 1, rate)
    return jnp.where(rate == 0, times * (1 + rate * times / 2), jnp.expm1(safe * times) / safe)
