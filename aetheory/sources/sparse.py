"""Sparse sources: independent entries, most of which are 0.

Source: K. Kögler, A. Shevchenko, H. Hassani, M. Mondelli, arXiv:2402.05013 (ICML 2024).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_key, fail, real_array, static_integer
from aetheory.sources.amplitudes import AbstractAmplitude, as_amplitude


class SparseSource(eqx.Module):
    """Independent entries x_i = b_i u_i / √q, b_i ~ Bernoulli(q), u_i of mean 0 and variance 1.

    Arguments:
        input_dim: d, a positive integer.
        sparsity: q in (0, 1], the share of entries that are not 0; may be traced.
        amplitude: distribution of u: `"gaussian"`, `"rademacher"`, `"uniform"`, `"laplace"`, or an object such as
            `aetheory.sources.DensityAmplitude` for any density.
    """

    input_dim: int = eqx.field(static=True)
    sparsity: Float[Array, ""]
    amplitude: AbstractAmplitude

    def __init__(
        self, input_dim: int, sparsity: float | Float[Array, ""], amplitude: AbstractAmplitude | str = "gaussian"
    ):
        self.input_dim = static_integer("input_dim", input_dim)
        requirement = "in (0, 1]"
        self.sparsity = real_array("sparsity", sparsity, requirement, minimum=0.0, maximum=1.0, strict=True)
        if self.sparsity.ndim:
            raise fail("sparsity", requirement, sparsity)
        self.amplitude = as_amplitude(amplitude)

    @property
    def covariance(self) -> Float[Array, "input_dim input_dim"]:
        """I."""
        return jnp.eye(self.input_dim, dtype=self.sparsity.dtype)

    @property
    def mean_absolute(self) -> Float[Array, ""]:
        """E |x_1| = √q E |u|."""
        return jnp.sqrt(self.sparsity) * self.amplitude.mean_absolute

    def sample(self, key: PRNGKeyArray, num_samples: int) -> Float[Array, "num_samples input_dim"]:
        """Independent samples, shape (num_samples, input_dim)."""
        check_key(key)
        shape = (static_integer("num_samples", num_samples), self.input_dim)
        key_present, key_amplitude = jax.random.split(key)
        present = jax.random.bernoulli(key_present, self.sparsity, shape)
        amplitudes = self.amplitude.sample(key_amplitude, shape).astype(self.sparsity.dtype)
        return jnp.where(present, amplitudes / jnp.sqrt(self.sparsity), 0)
