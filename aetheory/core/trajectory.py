"""What a training run of any module leaves behind: recorded metrics and the trained module."""

from typing import Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from aetheory.core.solve import SolverStats

Autoencoder = TypeVar("Autoencoder")


class Trajectory(eqx.Module, Generic[Autoencoder]):
    """The record of one training run.

    Arguments:
        times: where the metrics were recorded, shape (num_records,): flow times, or numbers of descent steps.
        metrics: the recorded pytree, every array with a leading axis of num_records.
        autoencoder: the module at the end of training.
        stats: the cost of a gradient flow; `None` for gradient descent.
        optimizer_state: the optimiser's state at the end of gradient descent, to continue from; `None` for a flow.
        steps_taken: the steps until a stopping criterion held, or as many as were allowed; `None` where there is none.
    """

    times: Float[Array, " records"] | Int[Array, " records"]
    metrics: PyTree
    autoencoder: Autoencoder
    stats: SolverStats | None = None
    optimizer_state: PyTree = None
    steps_taken: Int[Array, "*batch"] | None = None

    def __repr__(self) -> str:
        kind = "gradient flow" if jnp.issubdtype(self.times.dtype, jnp.floating) else "gradient descent"
        return f"Trajectory({kind}, {self.times.shape[-1]} records, {type(self.autoencoder).__name__})"
