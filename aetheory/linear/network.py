"""The weight-tied linear autoencoder as a module."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_real, static_integer
from aetheory.core.precision import exact_products


class LinearAutoencoder(eqx.Module):
    """x̂ = W Wᵀ x. Takes one input; batch it with `jax.vmap`.

    Arguments:
        weights: W, shape (input_dim, latent_dim).

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
    """

    weights: Float[Array, "input_dim latent_dim"]

    @classmethod
    def initialise(
        cls, key: PRNGKeyArray, input_dim: int, latent_dim: int, init_variance: float | int | Float[Array, ""]
    ) -> "LinearAutoencoder":
        """Independent N(0, init_variance) weights.

        Raises:
            ValueError: a dimension that is not a positive integer, or a negative variance.
        """
        shape = (static_integer("input_dim", input_dim), static_integer("latent_dim", latent_dim))
        check_real("init_variance", init_variance, "finite and nonnegative", minimum=0.0)
        scale = jnp.sqrt(jnp.asarray(init_variance))
        return cls(scale * jax.random.normal(key, shape, scale.dtype))

    @exact_products
    def __call__(self, inputs: Float[Array, " input_dim"]) -> Float[Array, " input_dim"]:
        """The reconstruction x̂ of one input x."""
        return self.weights @ (self.weights.T @ inputs)
