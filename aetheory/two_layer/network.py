"""The two-layer nonlinear autoencoder and its exact population risk under Gaussian inputs.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468. Here in the form for any covariance Σ of
the inputs: with pre-activations of unit variance, K = B Σ Bᵀ, f the kernel and c₁ the linear coefficient of σ,

    R(A, B) = (1/d) [tr Σ − 2 c₁ tr(A B Σ) + tr(A f(K) Aᵀ)].
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_covariance, check_samples, common_float_dtype, is_concrete, static_integer
from aetheory.two_layer.activations import Activation, ActivationLike, as_activation

Covariance = Float[Array, "input_dim input_dim"] | Float[Array, " input_dim"] | None


class TwoLayerAutoencoder(eqx.Module):
    """x̂ = A σ(B x). Takes one input; batch it with `jax.vmap`.

    The decoder is linear, without a bias. For an activation with a mean, `Activation.centred` says what a bias would
    change.

    Arguments:
        encoder: B, shape (latent_dim, input_dim). The theory speaks of rows that give pre-activations of unit
            variance: unit rows for isotropic inputs (`normalise_rows`).
        decoder: A, shape (input_dim, latent_dim).
        activation: σ: a name (see `aetheory.two_layer.ACTIVATIONS`), an `Activation`, or any function.

    Raises:
        ValueError: shapes that do not fit, entries that are not finite, or an unknown activation.

    Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
    """

    encoder: Float[Array, "latent_dim input_dim"]
    decoder: Float[Array, "input_dim latent_dim"]
    activation: Activation

    def __init__(self, encoder: Any, decoder: Any, activation: ActivationLike = "sign"):
        self.encoder = check_samples("encoder", encoder, shape="(latent_dim, input_dim)")
        self.decoder = check_samples("decoder", decoder, shape="(input_dim, latent_dim)")
        if self.decoder.shape != self.encoder.shape[::-1]:
            raise ValueError(
                f"Argument `decoder` must be of the shape of the transposed encoder, {self.encoder.shape[::-1]}, "
                f"but got shape {self.decoder.shape}."
            )
        self.activation = as_activation(activation)

    @classmethod
    def initialise(
        cls, key: PRNGKeyArray, input_dim: int, latent_dim: int, activation: ActivationLike = "sign"
    ) -> "TwoLayerAutoencoder":
        """Gaussian rows on the unit sphere, and the decoder (c₁/f(1)) Bᵀ, the best one where the rows are orthogonal.

        Raises:
            ValueError: a dimension that is not a positive integer, or an activation without a linear part.
        """
        resolved = with_linear_part(activation)
        encoder = random_encoder(key, input_dim, latent_dim)
        return cls(encoder, resolved.linear_coefficient / resolved.second_moment * encoder.T, resolved)

    def __call__(self, inputs: Float[Array, " input_dim"]) -> Float[Array, " input_dim"]:
        """The reconstruction x̂ of one input x."""
        return self.decoder @ self.activation(self.encoder @ inputs)


def random_encoder(key: PRNGKeyArray, input_dim: int, latent_dim: int) -> Float[Array, "latent_dim input_dim"]:
    """Independent rows, uniform on the unit sphere.

    Raises:
        ValueError: a dimension that is not a positive integer.
    """
    shape = (static_integer("latent_dim", latent_dim), static_integer("input_dim", input_dim))
    return _random_rows(key, shape)


@eqx.filter_jit
def _random_rows(key: PRNGKeyArray, shape: tuple[int, int]) -> Float[Array, "latent_dim input_dim"]:
    return normalised(jax.random.normal(key, shape), None)[0]


def normalise_rows(encoder: Any, covariance: Any = None) -> Float[Array, "latent_dim input_dim"]:
    """The encoder with every row scaled so that its pre-activation has unit variance, b Σ bᵀ = 1.

    Arguments:
        encoder: B, shape (latent_dim, input_dim).
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.

    Raises:
        ValueError: a row is zero (or sees no variance), or `covariance` is no covariance. Under `jit`, a zero row is
            a RuntimeError at run time.
    """
    rows, sigma = checked_encoder(encoder, covariance)
    return normalised(rows, sigma)[0]


def population_risk(autoencoder: TwoLayerAutoencoder, covariance: Any = None) -> Float[Array, ""]:
    """R(A, B) = (1/d) E‖x − A σ(B x)‖² for Gaussian x of mean 0, exactly and without sampling.

    Rows of the encoder count by their direction: they are normalised first (`normalise_rows`), which makes the risk
    constant along them and its gradient that on the product of spheres.

    For an activation that is not odd the kernel holds the even part too, and its constant c₀² stands for the mean that
    a decoder without bias cannot remove (`Activation.centred` removes it).

    Arguments:
        autoencoder: A, B and σ.
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.

    Raises:
        ValueError: as `normalise_rows`; or an activation without a linear part.
    """
    with_linear_part(autoencoder.activation)
    rows, sigma = checked_encoder(autoencoder.encoder, covariance)
    return population_risk_of(rows, sigma, autoencoder.decoder, autoencoder.activation)


@eqx.filter_jit
def population_risk_of(
    rows: Float[Array, "latent_dim input_dim"],
    sigma: Covariance,
    decoder: Float[Array, "input_dim latent_dim"],
    activation: Activation,
) -> Float[Array, ""]:
    """`population_risk` of arguments that are known to be good."""
    with jax.default_matmul_precision("highest"):
        unit, projected = normalised(rows, sigma)
        kernel = activation.kernel_matrix(unit @ projected.T)
        linear = jnp.sum(decoder.T * projected)
        quadratic = jnp.sum(decoder * (decoder @ kernel))
        return (_trace(rows, sigma) - 2 * activation.linear_coefficient * linear + quadratic) / rows.shape[1]


def optimal_decoder(
    encoder: Any, activation: ActivationLike = "sign", covariance: Any = None
) -> Float[Array, "input_dim latent_dim"]:
    """A* = c₁ Σ Bᵀ f(K)⁻¹, the decoder of least population risk; f(K) may be singular (`regularised_cholesky`).

    Arguments:
        encoder: B, shape (latent_dim, input_dim); its rows are normalised first.
        activation: σ.
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.

    Raises:
        ValueError: as `population_risk`.
    """
    resolved = with_linear_part(activation)
    return _optimal(*checked_encoder(encoder, covariance), resolved)[0]


def optimal_risk(encoder: Any, activation: ActivationLike = "sign", covariance: Any = None) -> Float[Array, ""]:
    """R(B) = (1/d) [tr Σ − c₁² tr(Σ Bᵀ f(K)⁻¹ B Σ)], the population risk with the best decoder.

    Arguments:
        encoder: B, shape (latent_dim, input_dim); its rows are normalised first.
        activation: σ.
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.

    Raises:
        ValueError: as `population_risk`.
    """
    resolved = with_linear_part(activation)
    return _optimal(*checked_encoder(encoder, covariance), resolved)[1]


def tied_autoencoder(encoder: Any, activation: ActivationLike = "sign", covariance: Any = None) -> TwoLayerAutoencoder:
    """The weight-tied autoencoder β Bᵀ σ(B x) with the best scalar, β = c₁ n / tr(f(K) B Bᵀ).

    Arguments:
        encoder: B, shape (latent_dim, input_dim); its rows are normalised first.
        activation: σ.
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.

    Raises:
        ValueError: as `population_risk`.
    """
    resolved = with_linear_part(activation)
    rows, sigma = checked_encoder(encoder, covariance)
    unit, decoder = _tied(rows, sigma, resolved)
    return TwoLayerAutoencoder(unit, decoder, resolved)


def tied_risk(encoder: Any, activation: ActivationLike = "sign", covariance: Any = None) -> Float[Array, ""]:
    """(1/d) [tr Σ − c₁² n² / tr(f(K) B Bᵀ)], the population risk of `tied_autoencoder`.

    Arguments:
        encoder: B, shape (latent_dim, input_dim); its rows are normalised first.
        activation: σ.
        covariance: Σ: `None` for the identity, a vector of variances, or a positive semidefinite matrix.

    Raises:
        ValueError: as `population_risk`.
    """
    resolved = with_linear_part(activation)
    return tied_risk_of(*checked_encoder(encoder, covariance), resolved)


@eqx.filter_jit
def tied_risk_of(
    rows: Float[Array, "latent_dim input_dim"], sigma: Covariance, activation: Activation
) -> Float[Array, ""]:
    """`tied_risk` of arguments that are known to be good."""
    with jax.default_matmul_precision("highest"):
        unit, projected = normalised(rows, sigma)
        gain = (activation.linear_coefficient * rows.shape[0]) ** 2 / _tied_power(unit, projected, activation)
        return (_trace(rows, sigma) - gain) / rows.shape[1]


class Estimate(NamedTuple):
    """A mean over samples with its standard error."""

    mean: Float[Array, ""]
    standard_error: Float[Array, ""]


def sampled_risk(autoencoder: Any, samples: Any) -> Estimate:
    """(1/d) mean ‖x − x̂‖² over samples of any source, for any autoencoder that takes one input.

    Arguments:
        autoencoder: a function of one input; its weights are taken as they are.
        samples: shape (num_samples, input_dim), for instance `source.sample(key, num_samples)`.

    Raises:
        ValueError: `samples` is no finite matrix.
    """
    return _sampled_risk(autoencoder, check_samples("samples", samples))


@eqx.filter_jit
def _sampled_risk(autoencoder: Any, rows: Float[Array, "num_samples input_dim"]) -> Estimate:
    errors = jnp.mean((rows - jax.vmap(autoencoder)(rows)) ** 2, axis=1)
    return Estimate(jnp.mean(errors), jnp.std(errors) / np.sqrt(len(rows)).astype(rows.dtype))


def regularised_cholesky(kernel: Float[Array, "n n"], scale: float) -> Float[Array, "n n"]:
    """The Cholesky factor of f(K) + ε f(1) I, with ε the least that keeps rounding from spoiling a singular f(K).

    f(K) is singular when two units are equal or opposite (an off-diagonal of K is ±1), or for a linear activation
    when n > d. The directions that ε touches are those that the decoder gains nothing from, since f(K) ⪰ c₁² K; the
    risk moves by at most its rounding, and upwards.

    Arguments:
        kernel: f(K), shape (n, n), symmetric up to rounding.
        scale: f(1).
    """
    size = kernel.shape[0]
    ridge = _RIDGE_IN_EPSILONS * size * float(np.finfo(kernel.dtype).eps) * scale
    return jax.lax.linalg.cholesky(kernel + ridge * jnp.eye(size, dtype=kernel.dtype), symmetrize_input=False)


_RIDGE_IN_EPSILONS = 2.0


def solve_decoder(
    kernel: Float[Array, "n n"], projected: Float[Array, "n input_dim"], activation: Activation
) -> Float[Array, "n input_dim"]:
    """A*ᵀ = c₁ f(K)⁻¹ B Σ from f(K) and B Σ, by one Cholesky factor."""
    factor = regularised_cholesky(kernel, activation.second_moment)
    return activation.linear_coefficient * jax.scipy.linalg.cho_solve((factor, True), projected)


def checked_encoder(encoder: Any, covariance: Any) -> tuple[Float[Array, "latent_dim input_dim"], Covariance]:
    """Both arguments in one precision, with every row of the encoder seeing some variance.

    Raises:
        ValueError: as `normalise_rows`. For a traced zero row, a RuntimeError at run time.
    """
    rows = check_samples("encoder", encoder, shape="(latent_dim, input_dim)")
    sigma = None if covariance is None else check_covariance("covariance", covariance)
    if sigma is not None and sigma.shape[0] != rows.shape[1]:
        raise ValueError(
            f"Argument `covariance` must have the dimension of the encoder's rows, {rows.shape[1]}, "
            f"but got shape {sigma.shape}."
        )
    dtype = common_float_dtype(rows, sigma)
    rows = rows.astype(dtype)
    sigma = None if sigma is None else sigma.astype(dtype)
    if is_concrete(rows) and is_concrete(sigma):
        # in NumPy, because JAX would compile every operation for every shape
        values = np.asarray(rows, np.float64)
        unseen = np.sum(values * _times(values, None if sigma is None else np.asarray(sigma)), axis=1) <= 0
        if unseen.any():
            raise ValueError(
                f"Argument `encoder` must have rows b with b Σ bᵀ > 0, but row {int(np.argmax(unseen))} is zero or "
                f"sees no variance, and cannot be normalised."
            )
        return rows, sigma
    message = "Argument `encoder` must have rows b with b Σ bᵀ > 0, but one is zero or sees no variance."
    blind = jnp.sum(rows * _times(rows, sigma), axis=1) <= 0
    checked: Float[Array, "latent_dim input_dim"] = eqx.error_if(rows, blind, message)
    return checked, sigma


def with_linear_part(activation: ActivationLike) -> Activation:
    """The activation, checked to have a linear part."""
    resolved = as_activation(activation)
    resolved.require_linear_part()
    return resolved


def _times(rows: Any, sigma: Any) -> Any:
    """B Σ, of arrays of JAX or of NumPy."""
    if sigma is None:
        return rows
    return rows * sigma[None, :] if sigma.ndim == 1 else rows @ sigma


@eqx.filter_jit
def normalised(
    rows: Float[Array, "latent_dim input_dim"], sigma: Covariance
) -> tuple[Float[Array, "latent_dim input_dim"], Float[Array, "latent_dim input_dim"]]:
    """The normalised rows B, and B Σ. Nothing is checked."""
    projected = _times(rows, sigma)
    scales = jax.lax.rsqrt(jnp.sum(rows * projected, axis=1, keepdims=True))
    return rows * scales, projected * scales


def _trace(rows: Float[Array, "latent_dim input_dim"], sigma: Covariance) -> Float[Array, ""]:
    if sigma is None:
        return jnp.asarray(rows.shape[1], rows.dtype)
    return jnp.sum(sigma) if sigma.ndim == 1 else jnp.trace(sigma)


@eqx.filter_jit
def _optimal(
    rows: Float[Array, "latent_dim input_dim"], sigma: Covariance, activation: Activation
) -> tuple[Float[Array, "input_dim latent_dim"], Float[Array, ""]]:
    """The best decoder and its risk."""
    with jax.default_matmul_precision("highest"):
        unit, projected = normalised(rows, sigma)
        decoder = solve_decoder(activation.kernel_matrix(unit @ projected.T), projected, activation)
        gain = activation.linear_coefficient * jnp.sum(decoder * projected)
        return decoder.T, (_trace(rows, sigma) - gain) / rows.shape[1]


@eqx.filter_jit
def _tied(
    rows: Float[Array, "latent_dim input_dim"], sigma: Covariance, activation: Activation
) -> tuple[Float[Array, "latent_dim input_dim"], Float[Array, "input_dim latent_dim"]]:
    """B at unit variance and β Bᵀ."""
    with jax.default_matmul_precision("highest"):
        unit, projected = normalised(rows, sigma)
        scale = activation.linear_coefficient * rows.shape[0] / _tied_power(unit, projected, activation)
        return unit, scale * unit.T


def _tied_power(
    unit: Float[Array, "latent_dim input_dim"],
    projected: Float[Array, "latent_dim input_dim"],
    activation: Activation,
) -> Float[Array, ""]:
    """tr(f(K) B Bᵀ), the power of Bᵀ σ(B x)."""
    return jnp.sum(activation.kernel_matrix(unit @ projected.T) * (unit @ unit.T))
