"""The loss of every autoencoder."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.precision import exact_products


@exact_products
def reconstruction_loss(
    autoencoder: Callable[[Float[Array, " input_dim"]], Float[Array, " input_dim"]],
    samples: Float[Array, "num_samples input_dim"],
) -> Float[Array, ""]:
    """L = ½ mean over samples of ‖x − x̂‖²: a sum over coordinates, so that the normalised risk is R = 2L/p."""
    errors = samples - jax.vmap(autoencoder)(samples)
    return 0.5 * jnp.mean(jnp.sum(errors**2, axis=-1))
