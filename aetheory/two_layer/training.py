"""The inputs and the start of every training of a two-layer autoencoder, and the values measured along it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import common_float_dtype, static_integer
from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats
from aetheory.two_layer.activations import Activation
from aetheory.two_layer.network import Covariance, EncoderStatistics, Rows, random_rows


class Setting(eqx.Module):
    """Inputs, activation and start of one training, in one precision.

    Arguments:
        covariance: Σ: `None` for the identity, variances, or a matrix.
        activation: σ.
        encoder: B(0); `None` where it is drawn.
        decoder: A(0); `None` where the method has its own.
        shape: shape of B.
        dtype: the precision.
    """

    covariance: Covariance
    activation: Activation
    encoder: Float[Array, "latent_dim input_dim"] | None
    decoder: Float[Array, "input_dim latent_dim"] | None
    shape: tuple[int, int] = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, *numbers: Any) -> "Setting":
        """Setting of a problem, in the widest precision of its arrays and of these numbers."""
        shape = static_integer("num_units", problem.num_units), static_integer("input_dim", problem.input_dim)
        given = (problem.covariance, problem.encoder, problem.decoder)
        dtype = common_float_dtype(*given, *numbers)
        covariance, encoder, decoder = (None if array is None else array.astype(dtype) for array in given)
        return cls(covariance, problem.activation, encoder, decoder, shape, dtype)

    def first(self, key: PRNGKeyArray) -> Rows:
        """B(0), drawn where it is not given."""
        return random_rows(key, self.shape, self.dtype) if self.encoder is None else self.encoder

    def statistics(self, encoder: Rows) -> EncoderStatistics:
        """Statistics of an encoder under these inputs."""
        return EncoderStatistics.of(encoder, self.covariance, self.activation)

    def measured(self, statistics: EncoderStatistics, risk: Float[Array, ""], start: Rows) -> Values:
        """R, tr K²/n and (1/n) tr B Σ B(0)ᵀ at one time; `start` are the normalised rows of B(0)."""
        moment, overlap = jnp.sum(statistics.correlations**2), jnp.sum(statistics.projected * start)
        return Values(risk=risk, second_moment=moment / self.shape[0], overlap=overlap / self.shape[0])


def steps_taken(num_steps: Any) -> SolverStats:
    """Solver statistics of a descent of this many steps."""
    steps = jnp.asarray(num_steps)
    return SolverStats(steps, jnp.zeros_like(steps), jnp.ones_like(steps, bool))
