"""The numbers that decide how a weight-tied linear autoencoder learns, whatever carries them."""

import abc
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jaxtyping import Real as Real_

from aetheory.core.problem import AbstractProblem

Real = float | int | np.number | Real_[Array, "..."] | Real_[np.ndarray, "..."]


class AbstractLinear(AbstractProblem):
    """x = pσ², y = H/p and z = p/N of one problem or of a batch, and p for a correction in 1/p."""

    if TYPE_CHECKING:  # fields of one subclass, properties of the other

        @property
        def input_dim(self) -> Any: ...  # noqa: D102
        @property
        def init_scale(self) -> Any: ...  # noqa: D102
        @property
        def latent_ratio(self) -> Any: ...  # noqa: D102
        @property
        def sample_ratio(self) -> Any: ...  # noqa: D102
        @property
        def covariance(self) -> Any: ...  # noqa: D102

    @abc.abstractmethod
    def ratios(self, dtype: Any) -> "AbstractLinear":
        """The same numbers as arrays of one precision and one shape."""

    @property
    def init_strength(self) -> Float[Array, "*batch"]:
        """c = Hσ² = xy, the mean of an eigenvalue of W Wᵀ at the start."""
        return jnp.asarray(self.init_scale * self.latent_ratio)

    def initial_risk(self, target_free: bool = False) -> Float[Array, "*batch"]:
        """τ̄ (1 − 2xy + x²y(1+y)), of both risks at the start, τ̄ = tr Σ/p; τ̄ x²y(1+y) without the target."""
        spread = jnp.asarray(self.init_scale**2 * self.latent_ratio * (1 + self.latent_ratio))
        isotropic = spread if target_free else 1 - 2 * self.init_strength + spread
        return isotropic if self.covariance is None else jnp.mean(self.covariance) * isotropic


def of_covariance(problem: AbstractLinear, covariance: Float[Array, " input_dim"] | None) -> AbstractLinear:
    """The same numbers on other inputs."""
    changed: AbstractLinear = eqx.tree_at(
        lambda one: one.covariance, problem, covariance, is_leaf=lambda leaf: leaf is None
    )
    return changed
