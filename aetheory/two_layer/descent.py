"""Gradient methods for two-layer autoencoders through the generic paths: the weight-tied flow, and SGD on samples.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from aetheory.core.checks import static_integer
from aetheory.core.curve import Curve
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.gradient_flow import gradient_flow
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.core.solve import DEFAULT_MAX_STEPS
from aetheory.sources.source import Source
from aetheory.two_layer.activations import Activation, ActivationLike
from aetheory.two_layer.network import (
    Covariance,
    TwoLayerAutoencoder,
    checked_encoder,
    normalised,
    population_risk_of,
    tied_autoencoder,
    tied_risk_of,
    with_linear_part,
)


class _TiedEncoder(eqx.Module):
    encoder: Float[Array, "latent_dim input_dim"]
    activation: Activation


def tied_flow(
    encoder: Any,
    times: Any,
    *,
    activation: ActivationLike = "sign",
    covariance: Any = None,
    steady_rate: float | Float[Array, ""] | None = 1e-6,
    rtol: float | Float[Array, ""] = 1e-6,
    max_steps: int = DEFAULT_MAX_STEPS,
    throw: bool = True,
) -> Curve:
    """Riemannian gradient flow of the weight-tied autoencoder β Bᵀ σ(B x) on the product of spheres.

    dB/dt = −∂L/∂B with L = (d/2) R(B), R the population risk at the best β for each B (`tied_risk`). R depends on the
    directions of the rows alone, so that its gradient is tangent to the spheres and the rows keep their length: the
    generic `gradient_flow` is the flow on the manifold. On isotropic inputs it reaches the limit for n ≤ d.

    Arguments:
        encoder: B at time 0, shape (latent_dim, input_dim); its rows are normalised first.
        times: where to record the risk, shape (num_times,), nonnegative and in increasing order.
        activation: σ.
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.
        steady_rate: stop once the root mean square of dB/dt is below it; `None` goes on to the last time.
        rtol: relative tolerance of the adaptive solver.
        max_steps: the most steps the solver may take.
        throw: raise when the flow does not finish; otherwise `Curve.stats` says so.

    Returns:
        A `Curve`: the times, the risk at each (constant after it stopped), the tied autoencoder, statistics.

    Raises:
        ValueError: an argument is out of its range, or the activation has no linear part.
        RuntimeError: the flow ran out of steps (with `throw`).
    """
    resolved = with_linear_part(activation)
    rows, sigma = checked_encoder(encoder, covariance)
    # unit length in the metric of the flow, whatever the scale of the covariance is
    rows = normalised(rows, None)[0]
    run = gradient_flow(
        _TiedEncoder(rows, resolved),
        _tied_loss,
        times,
        sigma,
        metrics=_tied_metric,
        rtol=rtol,
        max_steps=max_steps,
        throw=throw,
        steady_rate=steady_rate,
    )
    autoencoder = tied_autoencoder(run.module.encoder, resolved, sigma)
    return replace(run, module=autoencoder)


def sample_descent(
    autoencoder: TwoLayerAutoencoder,
    source: Source,
    key: PRNGKeyArray,
    *,
    num_steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 5e-3,
    optimizer: optax.GradientTransformation | None = None,
    metrics: Callable[[TwoLayerAutoencoder, Any], PyTree] | None = None,
    record_at: Sequence[int] | Int[np.ndarray, " records"] | None = None,
    throw: bool = True,
) -> Curve:
    """Stochastic gradient descent of A and B on fresh samples, with the rows of B projected back after every step.

    Each step draws a batch from the source, differentiates L = ½ mean ‖x − A σ(B x)‖² / d through the activation
    (through the surrogate, where it is the sign), and rescales the rows so that pre-activations keep unit variance.
    By default Adam with a learning rate that falls to 0 along a cosine over `num_steps`: the end of that schedule is
    where it stops.

    Arguments:
        autoencoder: where to start; `TwoLayerAutoencoder.initialise`.
        source: anything with `sample` and `covariance`, of mean 0.
        key: a random key for the batches.
        num_steps: how many steps, a positive integer.
        batch_size: samples in a batch, a positive integer.
        learning_rate: of the default optimiser at the start.
        optimizer: any Optax optimiser instead of the default one.
        metrics: a function of (autoencoder, batch), recorded along the way; when omitted the exact population risk of
            Gaussian inputs with the source's covariance.
        record_at: the step numbers after which to record; see `gradient_descent`.
        throw: raise when the loss leaves the finite numbers.

    Returns:
        A `Curve`: the step numbers, the risk at each, the trained autoencoder.

    Raises:
        ValueError: an argument is out of its range, or the activation has no linear part.
        FloatingPointError: training diverged (with `throw`).
    """
    resolved = with_linear_part(autoencoder.activation)
    num_steps, batch_size = static_integer("num_steps", num_steps), static_integer("batch_size", batch_size)
    encoder, sigma = checked_encoder(autoencoder.encoder, source.covariance)
    if optimizer is None:
        optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, num_steps))

    def default_metric(model: TwoLayerAutoencoder, _: Any) -> Float[Array, ""]:
        return population_risk_of(model.encoder, sigma, model.decoder, model.activation)

    return gradient_descent(
        TwoLayerAutoencoder(normalised(encoder, sigma)[0], autoencoder.decoder, resolved),
        _sample_loss,
        optax.chain(optimizer, _project_rows(sigma)),
        num_steps,
        sample=lambda step_key: source.sample(step_key, batch_size),
        key=key,
        metrics=default_metric if metrics is None else metrics,
        record_at=record_at,
        throw=throw,
    )


def _tied_loss(model: _TiedEncoder, sigma: Covariance) -> Float[Array, ""]:
    return model.encoder.shape[1] / 2 * _tied_metric(model, sigma)


def _tied_metric(model: _TiedEncoder, sigma: Covariance) -> Float[Array, ""]:
    return tied_risk_of(model.encoder, sigma, model.activation)


def _sample_loss(autoencoder: TwoLayerAutoencoder, batch: Float[Array, "batch input_dim"]) -> Float[Array, ""]:
    return reconstruction_loss(autoencoder, batch) / batch.shape[1]


def _project_rows(sigma: Covariance) -> optax.GradientTransformation:
    """After an optimiser: what it does to the encoder, up to the length of the rows."""

    def project(updates: Any, parameters: Any) -> Any:
        moved = normalised(parameters.encoder + updates.encoder, sigma)[0]
        return eqx.tree_at(lambda tree: tree.encoder, updates, moved - parameters.encoder)

    transformation: optax.GradientTransformation = optax.stateless(project)
    return transformation
