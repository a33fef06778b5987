"""The three training methods on isotropic inputs, as evolutions of the singular values b of B and a of c₁ A.

K = B Bᵀ has the eigenvalues λ = b² and f(K) ≈ c₁²(K + αI) for random rows in high dimension, so that the singular
vectors of B do not change in training. The unit length of the rows costs one multiplier, which keeps
⟨λ⟩ = (1/n) tr K = 1. At finite n there are terms of order 1/n: ε (see `kernel`), and multipliers that differ between
the rows (see `Spectrum.tangent`).
Source: derived for this library from the risk and the methods of arXiv:2212.13468.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.two_layer.trajectories.spectrum import Modes, Numbers, Spectrum, kernel


class SingularValues(NamedTuple):
    """Singular values of c₁ A, in the order of those of B, and of B."""

    decoder: Float[Array, "... modes"]
    encoder: Float[Array, "... modes"]


def tied_velocity(start: Spectrum, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """Velocity of b for A = β Bᵀ.

    λ̇ = −(4/D²)(1 + 6κ(m₂−1)/n) λ (λ − m₂) with D = m₂ + α + ε(m₂−1) and m₂ = ⟨λ²⟩.
    """
    second_moment = start.mean(lengths**4)
    cubic = 1 + 6 * numbers.cubic_share * (second_moment - 1) * start.inverse_units
    gradient = -2 * cubic / tied_denominator(start, numbers, second_moment) ** 2
    return start.tangent(lengths, gradient * lengths**3)


def tied_denominator(start: Spectrum, numbers: Numbers, second_moment: Float[Array, "..."]) -> Float[Array, "..."]:
    """tr(f(K) K)/(n c₁²) = m₂ + α + ε (m₂ − 1)."""
    slope, rest = kernel(start, numbers, second_moment)
    found: Float[Array, ...] = slope * second_moment + rest
    return found


def tied_risk(start: Spectrum, numbers: Numbers, lengths: Modes) -> Float[Array, "..."]:
    """R = 1 − r/(m₂+α)."""
    return 1 - numbers.rate / tied_denominator(start, numbers, start.mean(lengths**4))


def best_risk(start: Spectrum, numbers: Numbers, lengths: Modes) -> Float[Array, "..."]:
    """R = 1 − r ⟨λ/(λ+α)⟩ with the best decoder, a = b/(λ+α)."""
    slope, rest = kernel(start, numbers, start.mean(lengths**4))
    denominators = slope[..., None] * lengths**2 + rest[..., None]
    return 1 - numbers.rate * start.mean(lengths**2 / jnp.where(denominators > 0, denominators, 1))


def alternating_gradient(start: Spectrum, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """φ = α/(λ+α)² + ⟨λ/(λ+α)²⟩ of the gradient −2φb of d·R at the best decoder.

    The diagonal of f' is left out, as in training. With g = a² = λ/D², D = (1+ε)λ + α − ε, it is

        φ = 1/D − (1+ε)(g − ⟨g⟩) − (6κ/n) ⟨(λ−1) g⟩ (λ−1).
    """
    squares = lengths**2
    slope, rest = kernel(start, numbers, start.mean(squares**2))
    denominators = slope * squares + rest
    denominators = jnp.where(denominators > 0, denominators, 1)
    shares = squares / denominators**2
    cubic = 6 * numbers.cubic_share * start.inverse_units * start.mean((squares - 1) * shares)
    gradient: Float[Array, " modes"]
    gradient = 1 / denominators - slope * (shares - start.mean(shares)) - cubic * (squares - 1)
    return gradient


def alternating_step(start: Spectrum, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """b after one step of η: b ∝ b (1 + 2ηφ), rows scaled back to unit length."""
    gradient = alternating_gradient(start, numbers, lengths)
    return start.rescaled(lengths, lengths * (1 + 2 * numbers.step_size * gradient))


def alternating_velocity(start: Spectrum, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """Velocity of b for small steps, in t = 2η · (number of steps): ḃ = b (φ − ⟨λφ⟩)."""
    return start.tangent(lengths, lengths * alternating_gradient(start, numbers, lengths))


def joint_velocity(start: Spectrum, numbers: Numbers, state: SingularValues) -> SingularValues:
    """Velocity of the flow of L = (d/2) R: ȧ = c₁² [b − a(b²+α)], ḃ = a − a²b − νb, ν = ⟨ab − a²b²⟩.

    At finite n, ḃ also has the term −(6κ/n) ⟨a²(λ−1)⟩ b³, with its part in ν.
    """
    decoder, encoder = state
    squares = encoder**2
    slope, rest = kernel(start, numbers, start.mean(squares**2))
    cubic = 6 * numbers.cubic_share * start.inverse_units * start.mean(decoder**2 * (squares - 1))
    gradient = decoder - slope * decoder**2 * encoder - cubic * encoder**3
    decoder_velocity = numbers.linear_power * (encoder - decoder * (slope * squares + rest))
    return SingularValues(decoder_velocity, start.tangent(encoder, gradient))


def joint_step(start: Spectrum, numbers: Numbers, state: SingularValues) -> SingularValues:
    """Singular values after one step of η along the velocity, rows scaled back to unit length."""
    velocity = joint_velocity(start, numbers, state)
    decoder, encoder = (value + numbers.step_size * rate for value, rate in zip(state, velocity, strict=True))
    return SingularValues(decoder, start.rescaled(state.encoder, encoder))


def joint_risk(start: Spectrum, numbers: Numbers, state: SingularValues) -> Float[Array, "..."]:
    """R = 1 − r ⟨2ab − a²(b²+α)⟩."""
    decoder, encoder = state
    slope, rest = kernel(start, numbers, start.mean(encoder**4))
    kept = 2 * decoder * encoder - decoder**2 * (slope[..., None] * encoder**2 + rest[..., None])
    return 1 - numbers.rate * start.mean(kept)
