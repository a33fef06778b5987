"""What every training of a two-layer autoencoder starts from, and what is measured along it."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from aetheory.core.checks import common_float_dtype, fail, is_concrete, static_integer
from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats
from aetheory.two_layer.activations import Activation
from aetheory.two_layer.network import Covariance, Rows, View, random_rows


class Setting(eqx.Module):
    """Inputs, activation and start of one training, in one precision.

    Arguments:
        covariance: Σ: `None` for the identity, variances, or a matrix.
        activation: σ.
        encoder: B(0), `None` where it is drawn.
        decoder: A(0), `None` where the method has its own.
        shape: of B.
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
        """That of a problem; further numbers have a say in the precision."""
        shape = static_integer("num_units", problem.num_units), static_integer("input_dim", problem.input_dim)
        given = (problem.covariance, problem.encoder, problem.decoder)
        dtype = common_float_dtype(*given, *numbers)
        covariance, encoder, decoder = (None if array is None else array.astype(dtype) for array in given)
        return cls(covariance, problem.activation, encoder, decoder, shape, dtype)

    def first(self, key: PRNGKeyArray) -> Rows:
        """B(0)."""
        return random_rows(key, self.shape, self.dtype) if self.encoder is None else self.encoder

    def view(self, encoder: Rows) -> View:
        """How the inputs see an encoder."""
        return View.of(encoder, self.covariance, self.activation)

    def measured(self, view: View, risk: Float[Array, ""], start: Rows) -> Values:
        """What is recorded at one time; `start` are the normalised rows of B(0)."""
        return recorded(view, risk, jnp.sum(view.projected * start))


def recorded(view: View, risk: Float[Array, ""], overlap: Float[Array, ""]) -> Values:
    """R, tr K²/n, and from tr B Σ B(0)ᵀ its share of n."""
    num_units = view.correlations.shape[0]
    return Values(risk=risk, second_moment=jnp.sum(view.correlations**2) / num_units, overlap=overlap / num_units)


def step_numbers(times: Any) -> Int[np.ndarray, " times"]:
    """Numbers of steps, which decide how long the program runs.

    Raises:
        ValueError: they are traced, or not nonnegative whole numbers in increasing order.
    """
    requirement = "a non-empty vector of whole step numbers in increasing order, known when the program is traced"
    steps = np.asarray(times if is_concrete(times) else [])
    whole = steps.ndim == 1 and steps.size > 0 and np.issubdtype(steps.dtype, np.integer)
    if not whole or steps[0] < 0 or (np.diff(steps) <= 0).any():
        raise fail("times", requirement, times)
    return steps


def steps_taken(num_steps: Any) -> SolverStats:
    """The statistics of a descent."""
    steps = jnp.asarray(num_steps)
    return SolverStats(steps, jnp.zeros_like(steps), jnp.ones_like(steps, bool))
