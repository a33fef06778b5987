"""Gaussian sources: isotropic, diagonal, of any covariance, and with power-law spectra."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_covariance, check_key, fail, is_concrete, real_array, static_integer

Eigenvectors = tuple[Float[Array, " input_dim"], Float[Array, "input_dim input_dim"]]


class GaussianSource(eqx.Module):
    """Gaussian samples x ~ N(0, Σ).

    Arguments:
        covariance: Σ, shape (input_dim, input_dim), positive semidefinite; or a vector of variances, nonnegative.
    """

    variances: Float[Array, " input_dim"]
    directions: Float[Array, "input_dim input_dim"] | None

    def __init__(self, covariance: Any):
        sigma = check_covariance("covariance", covariance)
        if sigma.ndim == 1:
            self.variances, self.directions = sigma, None
        else:
            # eigenvectors give a square root of a singular Σ too
            variances, self.directions = _eigenvectors(sigma)
            self.variances = jnp.maximum(variances, 0)

    @classmethod
    def isotropic(cls, input_dim: int) -> "GaussianSource":
        """Source with Σ = I."""
        return cls(jnp.ones(static_integer("input_dim", input_dim)))

    @classmethod
    def power_law(cls, input_dim: int, exponent: float | Float[Array, ""]) -> "GaussianSource":
        """Source with variances proportional to j^(−exponent), j = 1, …, input_dim, of mean 1; exponent ≥ 0."""
        exponent = real_array("exponent", exponent, "a finite, nonnegative number", minimum=0.0)
        if exponent.ndim:
            raise fail("exponent", "a finite, nonnegative number", exponent)
        variances = jnp.arange(1, static_integer("input_dim", input_dim) + 1, dtype=jnp.result_type(float)) ** -exponent
        return cls(variances / jnp.mean(variances))

    @property
    def input_dim(self) -> int:
        """d, the number of entries of a sample."""
        return self.variances.shape[-1]

    @property
    def covariance(self) -> Float[Array, "input_dim input_dim"]:
        """Σ."""
        if self.directions is None:
            return jnp.diag(self.variances)
        scaled = self.directions * self.variances[None, :]
        return jnp.matmul(scaled, self.directions.T, precision=jax.lax.Precision.HIGHEST)

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_samples input_dim"]:
        """Independent samples, shape (num_samples, input_dim)."""
        check_key(key)
        shape = (static_integer("num_samples", num_samples), self.input_dim)
        scaled = jnp.sqrt(self.variances)[None, :] * jax.random.normal(key, shape, self.variances.dtype)
        if self.directions is None:
            return scaled
        return jnp.matmul(scaled, self.directions.T, precision=jax.lax.Precision.HIGHEST)


def _eigenvectors(covariance: Float[Array, "input_dim input_dim"]) -> Eigenvectors:
    """Eigenvalues and eigenvectors of Σ, computed once for sources made several times of the same matrix."""
    if not is_concrete(covariance):
        return tuple(jnp.linalg.eigh(covariance))
    entries = np.asarray(covariance)
    return _known_eigenvectors(entries.tobytes(), len(entries), entries.dtype)


@functools.lru_cache(maxsize=4)
def _known_eigenvectors(entries: bytes, input_dim: int, dtype: Any) -> Eigenvectors:
    matrix = np.frombuffer(entries, dtype).reshape(input_dim, input_dim)
    with jax.ensure_compile_time_eval():
        return tuple(jnp.linalg.eigh(jnp.asarray(matrix)))
