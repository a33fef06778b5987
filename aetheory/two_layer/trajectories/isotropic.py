"""The three trainings on isotropic inputs, as evolutions of the singular values b of B and a of A.

K = B Bᵀ has the eigenvalues λ = b² and f(K) ≈ c₁²(K + αI) for random rows in high dimension, so that along each
training the singular vectors of B stay where they are. The rows' unit length costs one multiplier, which keeps
⟨λ⟩ = (1/n) tr K = 1. At finite n there are terms of order 1/n: ε (see `kernel`), and multipliers that differ between
the rows (see `Start.tangent`).

Source: derived for this library from the risk and the methods of arXiv:2212.13468.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.two_layer.trajectories.start import Modes, Numbers, Start, kernel

_AGES = 256
"""Places at which the clock of the tied flow is tabulated: 1e-7 of the curve."""


class Lengths(NamedTuple):
    """The singular values of c₁ A, in the order of those of B, and of B."""

    decoder: Float[Array, "... modes"]
    encoder: Float[Array, "... modes"]


def tied_lengths(start: Start, numbers: Numbers, times: Float[Array, " times"]) -> Float[Array, "times modes"]:
    """In the limit, b along the flow of B with the best A = β Bᵀ: λ̇ = −(4/(m₂+α)²) λ (λ − m₂), m₂ = ⟨λ²⟩.

    A Riccati equation: the logistic flow of the linear autoencoder on a clock of its own, with a target that keeps
    ⟨λ⟩ = 1. With the age s, e = e^{−s} and x = λ₀/(e + (1−e)λ₀):

        λ = x/⟨x⟩,    dt/ds = (m₂+α)² ⟨x⟩/4.
    """
    speed, top = _clock(start, numbers), _oldest(start, numbers, times[-1])
    ages = top * jnp.linspace(0, 1, _AGES, dtype=top.dtype) ** 2
    speeds, slopes = jax.jvp(speed, (ages,), (jnp.ones_like(ages),))
    gaps = jnp.diff(ages)
    # the trapezoidal rule with its end correction
    gained = gaps * (speeds[1:] + speeds[:-1]) / 2 - gaps**2 / 12 * jnp.diff(slopes)
    clock = jnp.concatenate([jnp.zeros_like(ages[:1]), jnp.cumsum(gained)])
    return _aged(start, _inverse(clock, ages, 1 / speeds, times))


def _aged(start: Start, ages: Float[Array, " ages"]) -> Float[Array, "ages modes"]:
    left, squares = jnp.exp(-ages)[:, None], (start.lengths**2)[None, :]
    mixed = left + (1 - left) * squares
    return start.normalised(start.lengths[None, :] / jnp.sqrt(jnp.where(mixed > 0, mixed, 1)))


def _clock(start: Start, numbers: Numbers) -> Callable[[Array], Array]:
    """dt/ds of ages, shape (ages,)."""

    def speed(ages: Float[Array, " ages"]) -> Float[Array, " ages"]:
        left, squares = jnp.exp(-ages)[:, None], (start.lengths**2)[None, :]
        mixed = left + (1 - left) * squares
        moved = squares / jnp.where(mixed > 0, mixed, 1)
        mean = start.mean(moved)
        return (start.mean(moved**2) / mean**2 + numbers.alpha) ** 2 * mean / 4

    return speed


def _oldest(start: Start, numbers: Numbers, time: Float[Array, ""]) -> Float[Array, ""]:
    """An age that is not reached by then, for m₂ ≥ 1/(the share of λ ≠ 0) and x ≥ min(λ₀, 1)."""
    squares = jax.lax.stop_gradient(start.lengths) ** 2
    occupied = start.mean((squares > 0).astype(squares.dtype))
    slowest = (1 / occupied + numbers.alpha) ** 2 * start.mean(jnp.minimum(squares, 1)) / 4
    return jax.lax.stop_gradient(1.1 * time / slowest + 1)


def _inverse(
    clock: Float[Array, " ages"],
    ages: Float[Array, " ages"],
    rates: Float[Array, " ages"],
    times: Float[Array, " times"],
) -> Float[Array, " times"]:
    """The ages at some times, by the cubic through values and derivatives of the table."""
    place = jnp.clip(jnp.searchsorted(clock, times, side="right") - 1, 0, len(clock) - 2)
    gap = clock[place + 1] - clock[place]
    share = (times - clock[place]) / gap
    first, last = rates[place] * gap, rates[place + 1] * gap
    step = ages[place + 1] - ages[place]
    bend = share * (1 - share) * (first * (1 - share) - last * share)
    return ages[place] + step * share**2 * (3 - 2 * share) + bend


def tied_velocity(start: Start, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """The same flow with its terms of order 1/n: λ̇ = −(4/D²)(1 + 6κ(m₂−1)/n) λ (λ − m₂), D = m₂ + α + ε(m₂−1)."""
    second_moment = start.mean(lengths**4)
    bend = 1 + 6 * numbers.cubic_share * (second_moment - 1) * start.inverse_units
    pull = -2 * bend / tied_denominator(start, numbers, second_moment) ** 2
    return start.tangent(lengths, pull * lengths**3)


def tied_denominator(start: Start, numbers: Numbers, second_moment: Float[Array, "..."]) -> Float[Array, "..."]:
    """tr(f(K) K)/(n c₁²) = m₂ + α + ε (m₂ − 1)."""
    slope, rest = kernel(start, numbers, second_moment)
    found: Float[Array, ...] = slope * second_moment + rest
    return found


def tied_risk(start: Start, numbers: Numbers, lengths: Modes) -> Float[Array, "..."]:
    """R = 1 − r/(m₂+α)."""
    return 1 - numbers.rate / tied_denominator(start, numbers, start.mean(lengths**4))


def best_risk(start: Start, numbers: Numbers, lengths: Modes) -> Float[Array, "..."]:
    """R = 1 − r ⟨λ/(λ+α)⟩, of the best decoder."""
    return 1 - numbers.rate * start.mean(lengths * _best(start, numbers, lengths))


def _best(start: Start, numbers: Numbers, lengths: Modes) -> Modes:
    """a = b/(λ+α) of the best decoder."""
    slope, rest = kernel(start, numbers, start.mean(lengths**4))
    denominators = slope[..., None] * lengths**2 + rest[..., None]
    return lengths / jnp.where(denominators > 0, denominators, 1)


def alternating_pull(start: Start, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """φ = α/(λ+α)² + ⟨λ/(λ+α)²⟩: the gradient of d·R at the best decoder is −2φb.

    With the diagonal of f' left out as in the training. In its parts, with g = a² = λ/D², D = (1+ε)λ + α − ε:

        φ = 1/D − (1+ε)(g − ⟨g⟩) − (6κ/n) ⟨(λ−1) g⟩ (λ−1).
    """
    squares = lengths**2
    slope, rest = kernel(start, numbers, start.mean(squares**2))
    denominators = slope * squares + rest
    denominators = jnp.where(denominators > 0, denominators, 1)
    shares = squares / denominators**2
    bend = 6 * numbers.cubic_share * start.inverse_units * start.mean((squares - 1) * shares)
    pull: Float[Array, " modes"] = 1 / denominators - slope * (shares - start.mean(shares)) - bend * (squares - 1)
    return pull


def alternating_step(start: Start, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """b after one step of η: b ∝ b (1 + 2ηφ), rows scaled back to unit length."""
    pull = alternating_pull(start, numbers, lengths)
    return start.rescaled(lengths, lengths * (1 + 2 * numbers.step_size * pull))


def alternating_velocity(start: Start, numbers: Numbers, lengths: Float[Array, " modes"]) -> Float[Array, " modes"]:
    """Of the flow that small steps follow, in t = 2η · (number of steps), that of L = (d/2) R: ḃ = b (φ − ⟨λφ⟩)."""
    return start.tangent(lengths, lengths * alternating_pull(start, numbers, lengths))


def joint_velocity(start: Start, numbers: Numbers, lengths: Lengths) -> Lengths:
    """Of the flow of L = (d/2) R in A and B: ȧ = c₁² [b − a(b²+α)], ḃ = a − a²b − νb, ν = ⟨ab − a²b²⟩.

    At finite n also −(6κ/n) ⟨a²(λ−1)⟩ b³ in ḃ, with its part in ν.
    """
    decoder, encoder = lengths
    squares = encoder**2
    slope, rest = kernel(start, numbers, start.mean(squares**2))
    bend = 6 * numbers.cubic_share * start.inverse_units * start.mean(decoder**2 * (squares - 1))
    pull = decoder - slope * decoder**2 * encoder - bend * encoder**3
    moved = numbers.linear_power * (encoder - decoder * (slope * squares + rest))
    return Lengths(moved, start.tangent(encoder, pull))


def joint_step(start: Start, numbers: Numbers, lengths: Lengths) -> Lengths:
    """Of the descent by steps of that gradient, rows scaled back to unit length after each."""
    velocity = joint_velocity(start, numbers, lengths)
    decoder, encoder = (one + numbers.step_size * its for one, its in zip(lengths, velocity, strict=True))
    return Lengths(decoder, start.rescaled(lengths.encoder, encoder))


def joint_risk(start: Start, numbers: Numbers, lengths: Lengths) -> Float[Array, "..."]:
    """R = 1 − r ⟨2ab − a²(b²+α)⟩."""
    decoder, encoder = lengths
    slope, rest = kernel(start, numbers, start.mean(encoder**4))
    kept = 2 * decoder * encoder - decoder**2 * (slope[..., None] * encoder**2 + rest[..., None])
    return 1 - numbers.rate * start.mean(kept)
