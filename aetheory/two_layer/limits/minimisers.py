"""Autoencoders that attain the limits, or approach them as the dimension grows.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468 (ICML 2023).
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_covariance, check_key, static_integer
from aetheory.core.precision import exact_products
from aetheory.two_layer.activations import ActivationLike
from aetheory.two_layer.limits.gaussian import limit_alpha, water_filling
from aetheory.two_layer.network import TwoLayerAutoencoder, normalised, optimal_decoder

_NUM_ITERATIONS = 50
_MIN_SHARE = 1e-12
"""Variances below this share of the largest, and allocations below this share of n, count as 0."""


def minimiser(
    key: PRNGKeyArray, covariance: Any, num_units: int, activation: ActivationLike = "sign"
) -> TwoLayerAutoencoder:
    """Random autoencoder whose risk is the limit, or approaches it as d grows, with the best decoder.

    With s the allocation of `water_filling` and Σ = Q D² Qᵀ, its rows B̃ = B Q D satisfy B̃ᵀB̃ = diag(s), have unit
    length and are otherwise random: K = B̃ B̃ᵀ has incoherent entries of order d^{−1/2} off the diagonal and
    f(K)/c₁² ≈ K + αI. Isotropic, n ≤ d: orthonormal rows, whose risk is the limit exactly. Isotropic, n > d: a
    unit-norm tight frame. Otherwise the rows of a frame with squared singular values s. In the last two cases the
    risk exceeds the limit by O(1/d). The frame comes from alternating projections between matrices with unit rows and
    matrices with these singular values, from a Haar orthonormal start.

    Arguments:
        key: a random key.
        covariance: Σ: a vector of variances, or a positive semidefinite matrix; not traced.
        num_units: n, a positive integer.
        activation: σ, odd, with a linear part.

    Source: arXiv:2212.13468; alternating projections: J. Tropp, I. Dhillon, R. Heath, T. Strohmer (2005),
    "Designing structured tight frames via an alternating projection method".
    """
    limit_alpha(activation)
    check_key(key)
    num_units, sigma = static_integer("num_units", num_units), check_covariance("covariance", covariance)
    variances, directions = (sigma, None) if sigma.ndim == 1 else jnp.linalg.eigh(sigma)
    spectrum = np.asarray(variances)
    deviations = np.sqrt(np.where(spectrum > _MIN_SHARE * spectrum.max(), spectrum, 0))
    allocation = np.asarray(water_filling(deviations, num_units, activation).allocation)
    used = np.flatnonzero(allocation > _MIN_SHARE * num_units)
    frame = _frame(key, jnp.asarray(allocation[used]), num_units)
    encoder = jnp.zeros((num_units, len(deviations)), frame.dtype).at[:, used].set(frame / deviations[None, used])
    if directions is not None:
        encoder = encoder @ directions.T
    return TwoLayerAutoencoder(encoder, optimal_decoder(encoder, activation, sigma), activation)


@eqx.filter_jit
@exact_products
def _frame(key: PRNGKeyArray, squares: Float[Array, " used"], num_units: int) -> Float[Array, "num_units used"]:
    """Rows of unit length whose columns are orthogonal with these squared lengths, of sum `num_units`."""

    def iterate(_: Any, frame: Float[Array, "num_units used"]) -> Float[Array, "num_units used"]:
        # nearest matrix with orthogonal columns of these lengths, by M (MᵀM)^{−1/2}
        scaled = normalised(frame, None)[0] * lengths[None, :]
        squares, axes = jnp.linalg.eigh(scaled.T @ scaled)
        nearest: Float[Array, "num_units used"] = scaled @ (axes * jax.lax.rsqrt(squares)[None, :]) @ axes.T
        return nearest * lengths[None, :]

    lengths = jnp.sqrt(squares)
    gaussian = jax.random.normal(key, (num_units, squares.shape[0]), squares.dtype)
    start = jnp.linalg.qr(gaussian)[0] * lengths[None, :]
    return normalised(jax.lax.fori_loop(0, _NUM_ITERATIONS, iterate, start), None)[0]
