"""The two-layer nonlinear autoencoder and its exact population risk under Gaussian inputs.

For inputs of covariance Σ, pre-activations of unit variance, K = B Σ Bᵀ, f the kernel and c₁ the linear coefficient of
σ, the risk is

    R(A, B) = (1/d) [tr Σ − 2 c₁ tr(A B Σ) + tr(A f(K) Aᵀ)].

An argument `covariance` is `None` for the identity, a vector of variances, or a positive semidefinite matrix.
Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import (
    check_covariance,
    check_key,
    check_samples,
    common_float_dtype,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.core.precision import exact_products
from aetheory.two_layer.activations import Activation, ActivationLike, as_activation

Rows = Float[Array, "latent_dim input_dim"]
Covariance = Float[Array, "input_dim input_dim"] | Float[Array, " input_dim"] | None

_RIDGE_IN_EPSILONS, _ENTRY_ERROR_IN_EPSILONS = 2.0, 1.0
"""Ridge of the Cholesky factor over √n, and relative error of an entry of K, in machine epsilons."""


class TwoLayerAutoencoder(eqx.Module):
    """Autoencoder x̂ = A σ(B x) of one input, its decoder linear without bias; batch by `jax.vmap`.

    Arguments:
        encoder: B, shape (latent_dim, input_dim). The theory assumes pre-activations of unit variance: unit rows for
            isotropic inputs.
        decoder: A, shape (input_dim, latent_dim).
        activation: σ: a name (see `aetheory.two_layer.ACTIVATIONS`), an `Activation`, or any function.

    Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468, eq. (1.1).
    """

    encoder: Float[Array, "latent_dim input_dim"]
    decoder: Float[Array, "input_dim latent_dim"]
    activation: Activation

    def __init__(self, encoder: Any, decoder: Any, activation: ActivationLike = "sign"):
        self.encoder = check_samples("encoder", encoder, shape="(latent_dim, input_dim)")
        self.decoder = check_samples("decoder", decoder, shape="(input_dim, latent_dim)")
        if self.decoder.shape != self.encoder.shape[::-1]:
            shape = f"of the shape of the transposed encoder, {self.encoder.shape[::-1]}"
            raise fail("decoder", shape, self.decoder.shape)
        self.activation = as_activation(activation)

    @exact_products
    def __call__(self, inputs: Float[Array, " input_dim"]) -> Float[Array, " input_dim"]:
        """Reconstruction x̂ of one input x."""
        return self.decoder @ self.activation(self.encoder @ inputs)


def random_encoder(key: PRNGKeyArray, input_dim: int, latent_dim: int) -> Rows:
    """Encoder with independent rows, uniform on the unit sphere."""
    check_key(key)
    shape = (static_integer("latent_dim", latent_dim), static_integer("input_dim", input_dim))
    return random_rows(key, shape, jnp.result_type(float))


@eqx.filter_jit
def random_rows(key: PRNGKeyArray, shape: tuple[int, int], dtype: Any) -> Rows:
    """`random_encoder` without checks, in one precision."""
    return normalised(jax.random.normal(key, shape, dtype), None)[0]


def population_risk(autoencoder: TwoLayerAutoencoder, covariance: Any = None) -> Float[Array, ""]:
    """Exact risk R(A, B) = (1/d) E‖x − A σ(B x)‖² for Gaussian x of mean 0 and this covariance.

    Rows of the encoder are normalised first, so that the risk depends on their directions alone and its gradient is the
    gradient on the product of spheres. For an activation that is not odd the kernel contains the even part too; its
    constant c₀² is the mean of the outputs, which a decoder without bias cannot remove.

    Raises:
        ValueError: a row b has b Σ bᵀ = 0 (a RuntimeError at run time under `jit`), or the activation has no linear
            part.
    """
    checked = _checked(autoencoder.encoder, autoencoder.activation, covariance)
    risk: Float[Array, ""] = _computed(EncoderStatistics.risk, *checked, autoencoder.decoder)
    return risk


def optimal_decoder(
    encoder: Any, activation: ActivationLike = "sign", covariance: Any = None
) -> Float[Array, "input_dim latent_dim"]:
    """Decoder of least population risk, A* = c₁ Σ Bᵀ f(K)⁻¹; f(K) may be singular."""
    decoder: Rows = _computed(EncoderStatistics.best, *_checked(encoder, activation, covariance))[0]
    return decoder.T


def optimal_risk(encoder: Any, activation: ActivationLike = "sign", covariance: Any = None) -> Float[Array, ""]:
    """Population risk with the best decoder, R(B) = (1/d) [tr Σ − c₁² tr(Σ Bᵀ f(K)⁻¹ B Σ)]."""
    risk: Float[Array, ""] = _computed(EncoderStatistics.best, *_checked(encoder, activation, covariance))[1]
    return risk


def tied_autoencoder(encoder: Any, activation: ActivationLike = "sign", covariance: Any = None) -> TwoLayerAutoencoder:
    """Weight-tied autoencoder β Bᵀ σ(B x) with the best scalar, β = c₁ n / tr(f(K) B Bᵀ)."""
    rows, sigma, resolved = _checked(encoder, activation, covariance)
    decoder = _computed(EncoderStatistics.tied, rows, sigma, resolved)[0].T
    return TwoLayerAutoencoder(normalised(rows, sigma)[0], decoder, resolved)


class Estimate(NamedTuple):
    """A mean over samples with its standard error."""

    mean: Float[Array, ""]
    standard_error: Float[Array, ""]


def sampled_risk(autoencoder: Any, samples: Any) -> Estimate:
    """Risk (1/d) mean ‖x − x̂‖² over the rows of `samples`, for any autoencoder that takes one input."""
    return _sampled_risk(autoencoder, check_samples("samples", samples))


@eqx.filter_jit
def _sampled_risk(autoencoder: Any, rows: Float[Array, "num_samples input_dim"]) -> Estimate:
    errors = jnp.mean((rows - jax.vmap(autoencoder)(rows)) ** 2, axis=1)
    return Estimate(jnp.mean(errors), jnp.std(errors) / np.sqrt(len(rows)).astype(rows.dtype))


class EncoderStatistics(eqx.Module):
    """Second-order statistics of an encoder under Gaussian inputs, which determine its risks.

    Arguments:
        rows, projected, correlations: B with normalised rows, B Σ and K = B Σ Bᵀ.
        power: tr Σ.
        activation: σ.
    """

    rows: Float[Array, "latent_dim input_dim"]
    projected: Float[Array, "latent_dim input_dim"]
    correlations: Float[Array, "latent_dim latent_dim"]
    power: Float[Array, ""]
    activation: Activation

    @classmethod
    def of(cls, encoder: Rows, covariance: Covariance, activation: Activation) -> "EncoderStatistics":
        """Statistics of rows of any length, without checks."""
        rows, projected = normalised(encoder, covariance)
        variances = jnp.ones_like(rows[0]) if covariance is None else covariance
        power = jnp.sum(variances) if variances.ndim == 1 else jnp.trace(variances)
        return cls(rows, projected, rows @ projected.T, power, activation)

    @property
    def kernel(self) -> Float[Array, "latent_dim latent_dim"]:
        """f(K)."""
        return self.activation.kernel_matrix(self.correlations)

    def risk(self, decoder: Float[Array, "input_dim latent_dim"]) -> Float[Array, ""]:
        """(1/d) [tr Σ − 2 c₁ tr(A B Σ) + tr(A f(K) Aᵀ)]."""
        linear = jnp.sum(decoder.T * self.projected)
        quadratic = jnp.sum(decoder * (decoder @ self.kernel))
        return (self.power - 2 * self.activation.linear_coefficient * linear + quadratic) / self.rows.shape[1]

    def best(self) -> tuple[Rows, Float[Array, ""]]:
        """A*ᵀ = c₁ f(K)⁻¹ B Σ by one Cholesky factor, and its risk.

        The risk must not become too small by rounding. A unit that equals an earlier one up to rounding is left out.
        The diagonal of f(K) gains its possible error: the change of its rows when K changes in the last digits
        (Gershgorin's bound), and ε f(1) for the factor itself.
        """
        dtype, total = self.correlations.dtype, self.activation.second_moment
        epsilon, kernel = float(np.finfo(dtype).eps), self.kernel
        distinct = ~jnp.tril(jnp.abs(kernel) >= total, -1).any(axis=1)
        moved = self.activation.kernel_matrix(self.correlations * (1 - _ENTRY_ERROR_IN_EPSILONS * epsilon)) - kernel
        error = 2 * jnp.sqrt(jnp.sum(moved**2, axis=1))
        ridge = jax.lax.stop_gradient(error) + _RIDGE_IN_EPSILONS * len(kernel) ** 0.5 * epsilon * total
        pairs = distinct[:, None] & distinct[None, :]
        kernel = jnp.where(pairs, kernel, 0) + jnp.diag(jnp.where(distinct, ridge, total))
        factor = jax.lax.linalg.cholesky(kernel, symmetrize_input=False)
        right = self.activation.linear_coefficient * jnp.where(distinct[:, None], self.projected, 0)
        decoder = jax.scipy.linalg.cho_solve((factor, True), right)
        return decoder, (self.power - jnp.sum(decoder * right)) / self.rows.shape[1]

    def tied(self) -> tuple[Rows, Float[Array, ""]]:
        """β B with β = c₁ n / tr(f(K) B Bᵀ), the best multiple of B for Aᵀ, and its risk (tr Σ − c₁ n β)/d."""
        gain = self.activation.linear_coefficient * self.rows.shape[0]
        scale = gain / jnp.sum(self.kernel * (self.rows @ self.rows.T))
        return scale * self.rows, (self.power - gain * scale) / self.rows.shape[1]


@eqx.filter_jit
@exact_products
def _computed(formula: Callable[..., Any], rows: Rows, sigma: Covariance, activation: Activation, *more: Any) -> Any:
    """A method of `EncoderStatistics`, applied to checked arguments."""
    return formula(EncoderStatistics.of(rows, sigma, activation), *more)


def _checked(encoder: Any, activation: ActivationLike, covariance: Any) -> tuple[Rows, Covariance, Activation]:
    resolved = as_activation(activation)
    resolved.require_linear_part()
    return *checked_encoder(encoder, covariance), resolved


def checked_encoder(encoder: Any, covariance: Any, name: str = "encoder") -> tuple[Rows, Covariance]:
    """Both arguments in one precision, checked to give every pre-activation some variance."""
    rows = check_samples(name, encoder, shape="(latent_dim, input_dim)")
    sigma = None if covariance is None else check_covariance("covariance", covariance)
    if sigma is not None and sigma.shape[0] != rows.shape[1]:
        raise fail("covariance", f"of the dimension of the encoder's rows, {rows.shape[1]}", sigma.shape)
    dtype = common_float_dtype(rows, sigma)
    rows, sigma = rows.astype(dtype), None if sigma is None else sigma.astype(dtype)
    # scaled, because squares of large entries overflow
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(rows), axis=1, keepdims=True))
    rows = rows / jnp.where(largest > 0, largest, 1)
    message = f"Argument `{name}` must have rows b with b Σ bᵀ > 0, but {{}} is zero or has no variance."
    degenerate = jnp.sum(rows * _times(rows, sigma), axis=1) <= 0
    if not is_concrete(degenerate):
        return eqx.error_if(rows, degenerate, message.format("one")), sigma
    if degenerate.any():
        raise ValueError(message.format(f"row {int(jnp.argmax(degenerate))}"))
    return rows, sigma


def _times(rows: Rows, sigma: Covariance) -> Rows:
    """B Σ."""
    if sigma is None:
        return rows
    return rows * sigma[None, :] if sigma.ndim == 1 else rows @ sigma


@eqx.filter_jit
def normalised(rows: Rows, sigma: Covariance) -> tuple[Rows, Rows]:
    """Rows B scaled to unit variance, and B Σ, without checks."""
    projected = _times(rows, sigma)
    scales = jax.lax.rsqrt(jnp.sum(rows * projected, axis=1, keepdims=True))
    return rows * scales, projected * scales
