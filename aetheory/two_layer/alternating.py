"""Alternating descent of a two-layer autoencoder: the best decoder, one gradient step of the encoder, and again.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468, Algorithm 1; for any covariance in the
coordinates in which the rows that matter, those of B Σ^{1/2}, lie on the unit sphere.
"""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from aetheory.core.checks import as_float, check_real, fail, static_integer
from aetheory.core.curve import Curve, Values
from aetheory.core.solve import SolverStats
from aetheory.sources.source import Source
from aetheory.two_layer.activations import Activation, ActivationLike
from aetheory.two_layer.network import (
    TwoLayerAutoencoder,
    checked_encoder,
    normalised,
    solve_decoder,
    with_linear_part,
)

_WINDOW = 10
"""Steps over which the stopping criterion measures the fall of the risk."""


class _Options(eqx.Module):
    step_size: Float[Array, ""]
    tolerance: Float[Array, ""]
    activation: Activation
    num_steps: int = eqx.field(static=True)


class _Progress(eqx.Module):
    """The loop's state: B̃, the best Aᵀ for the last B̃ but one, the risks so far, the number of the last of them."""

    rows: Float[Array, "latent_dim input_dim"]
    decoder: Float[Array, "latent_dim input_dim"]
    risks: Float[Array, " records"]
    step: Int[Array, ""]
    stopped: Bool[Array, ""]


def alternating_descent(
    encoder: Any,
    source: Source,
    *,
    activation: ActivationLike = "sign",
    num_steps: int = 1000,
    step_size: float | Float[Array, ""] = 0.1,
    tolerance: float | Float[Array, ""] = 1e-7,
) -> Curve:
    """Minimise the population risk under Gaussian inputs of the source's covariance, from a given encoder.

    One step, with B̃ = B D the encoder in the coordinates where Σ = D² is diagonal, K = B̃ B̃ᵀ and A = c₁ D B̃ᵀ f(K)⁻¹
    the best decoder for B̃:

        B̃ ← B̃ − step_size · ∇,   ∇ = −2 c₁ (D A)ᵀ + 2 [(AᵀA) ∘ f'(K)] B̃,   and rows back to unit length.

    ∇ is the gradient of d·R at fixed A in units of the mean variance, without the diagonal of f', whose part of it is
    radial (and infinite for the sign). A step costs one Cholesky factor of an n × n matrix and a few products of that
    size; nothing larger is formed.

    It stops once the risk has fallen by less than `tolerance` times the mean variance per step, on average over the
    last 10 steps, or after `num_steps`.

    Arguments:
        encoder: B, shape (latent_dim, input_dim), no zero row (`random_encoder` draws one); or several of them, shape
            (num_seeds, latent_dim, input_dim). Several, and `jax.vmap` over this function, run one after the other in
            one compiled program on a CPU, which is faster there than batched products, and batched elsewhere.
        source: anything with a `covariance` of shape (input_dim, input_dim), which may be singular.
        activation: σ; see `aetheory.two_layer.as_activation`.
        num_steps: the most steps, a positive integer.
        step_size: positive; .1 serves for every rate and spectrum tried.
        tolerance: nonnegative; 0 never stops early.

    Returns:
        A `Curve`: steps 0…num_steps; the risk after each, with the best decoder, constant once stopped; the
        autoencoder with normalised rows and the best decoder; the number of steps taken. With several encoders, the
        risks and the autoencoder have that leading axis.

    Raises:
        ValueError: an argument is out of its range, or the activation has no linear part.
        RuntimeError: the risk left the finite numbers (the step is too large).
    """
    resolved = with_linear_part(activation)
    num_steps = static_integer("num_steps", num_steps)
    check_real("step_size", step_size, "finite and positive", minimum=0.0, strict=True)
    check_real("tolerance", tolerance, "finite and nonnegative", minimum=0.0)
    requirement = "of shape (latent_dim, input_dim), or (num_seeds, latent_dim, input_dim)"
    try:
        encoder = as_float(encoder)
    except (TypeError, ValueError) as error:
        raise fail("encoder", requirement, encoder) from error
    if encoder.ndim not in (2, 3):
        raise fail("encoder", requirement, encoder)
    flat = encoder.reshape(-1, encoder.shape[-1])
    covariance = source.covariance
    rows, _ = checked_encoder(flat, covariance)
    covariance, rows = covariance.astype(rows.dtype), rows.reshape(encoder.shape)
    options = _Options(jnp.asarray(step_size, rows.dtype), jnp.asarray(tolerance, rows.dtype), resolved, num_steps)
    encoder, decoder, risks, steps = _descend(rows, covariance, options)
    risks = eqx.error_if(
        risks,
        ~jnp.all(jnp.isfinite(risks)),
        "Alternating descent diverged: the risk became NaN or infinite. Try a smaller `step_size`.",
    )
    make = functools.partial(TwoLayerAutoencoder, activation=resolved)
    autoencoder = (jax.vmap(make) if rows.ndim == 3 else make)(encoder, decoder)
    stats = SolverStats(steps, jnp.zeros_like(steps), jnp.ones_like(steps, bool))
    return Curve(jnp.arange(num_steps + 1), Values(risk=risks), stats=stats, module=autoencoder, label="alternating")


@eqx.filter_jit
def _descend(
    encoder: Float[Array, "*seeds latent_dim input_dim"],
    covariance: Float[Array, "input_dim input_dim"],
    options: _Options,
) -> tuple[Array, Array, Array, Array]:
    """Normalised encoder, best decoder, risks and steps taken, each with the leading axis of seeds, if any."""
    with jax.default_matmul_precision("highest"):
        variances, directions = jnp.linalg.eigh(covariance)
        # rounding leaves a little variance, of either sign, in directions that have none
        floor = covariance.shape[0] * float(np.finfo(variances.dtype).eps) * variances[-1]
        deviations = jnp.sqrt(jnp.where(variances > floor, variances, 0))
        # on a CPU one after the other, which beats batched products there
        run = jax.custom_batching.sequential_vmap(_run) if jax.default_backend() == "cpu" else _run  # type: ignore[no-untyped-call]
        if encoder.ndim == 3:
            run = jax.vmap(run, in_axes=(0, None, None, None))
        results: tuple[Array, Array, Array, Array] = run(encoder, deviations, directions, options)
        return results


def _run(
    encoder: Float[Array, "latent_dim input_dim"],
    deviations: Float[Array, " input_dim"],
    directions: Float[Array, "input_dim input_dim"],
    options: _Options,
) -> tuple[Array, Array, Array, Array]:
    rows = normalised(encoder @ directions * deviations[None, :], None)[0]
    final = _loop(rows, deviations, options)
    recorded = jnp.where(jnp.arange(options.num_steps + 1) < final.step, final.risks, final.risks[final.step])
    inverse = jnp.where(deviations > 0, 1 / jnp.where(deviations > 0, deviations, 1), 0)
    return final.rows * inverse[None, :] @ directions.T, directions @ final.decoder.T, recorded, final.step


def _loop(
    rows: Float[Array, "latent_dim input_dim"], deviations: Float[Array, " input_dim"], options: _Options
) -> _Progress:
    """Alternating descent of the rows B̃ until the criterion holds."""
    mean_variance = jnp.mean(deviations**2)
    last = jnp.asarray(options.num_steps)

    def advance(progress: _Progress) -> _Progress:
        rows, step = progress.rows, progress.step + 1
        correlations = rows @ rows.T
        decoder = solve_decoder(
            options.activation.kernel_matrix(correlations), rows * deviations[None, :], options.activation
        )
        risk = _risk(rows, decoder, deviations, options.activation)
        fall = progress.risks[jnp.maximum(step - _WINDOW, 0)] - risk
        settled = (step >= _WINDOW) & (fall < _WINDOW * options.tolerance * mean_variance)
        stopped = settled | (step == last) | ~jnp.isfinite(risk)
        gradient = _gradient(rows, correlations, decoder, deviations, options.activation) / mean_variance
        moved = jnp.where(stopped, rows, normalised(rows - options.step_size * gradient, None)[0])
        return _Progress(moved, decoder, progress.risks.at[step].set(risk), step, stopped)

    start = _Progress(
        rows,
        jnp.zeros_like(rows),
        jnp.zeros(options.num_steps + 1, rows.dtype),
        jnp.asarray(-1),
        jnp.asarray(False),
    )
    final: _Progress = jax.lax.while_loop(lambda progress: ~progress.stopped, advance, start)
    return final


def _risk(
    rows: Float[Array, "latent_dim input_dim"],
    decoder: Float[Array, "latent_dim input_dim"],
    deviations: Float[Array, " input_dim"],
    activation: Activation,
) -> Float[Array, ""]:
    """(1/d) [tr D² − c₁ tr(A B̃ D)], the risk with the best decoder."""
    gain = activation.linear_coefficient * jnp.sum(decoder * rows * deviations[None, :])
    return jnp.mean(deviations**2) - gain / deviations.shape[0]


def _gradient(
    rows: Float[Array, "latent_dim input_dim"],
    correlations: Float[Array, "latent_dim latent_dim"],
    decoder: Float[Array, "latent_dim input_dim"],
    deviations: Float[Array, " input_dim"],
    activation: Activation,
) -> Float[Array, "latent_dim input_dim"]:
    """−2 c₁ (D A)ᵀ + 2 [(AᵀA) ∘ f'(K)] B̃, without the diagonal of f'."""
    diagonal = jnp.eye(rows.shape[0], dtype=bool)
    coupling = jnp.where(diagonal, 0, (decoder @ decoder.T) * activation.kernel_derivative(correlations))
    return 2 * (coupling @ rows - activation.linear_coefficient * decoder * deviations[None, :])
