"""The numbers that decide how a weight-tied linear autoencoder learns, whatever carries them."""

import math
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from jaxtyping import Real as Real_

from aetheory.core.checks import as_float, check_real, fail
from aetheory.core.problem import AbstractProblem
from aetheory.linear.modes import Penalty
from aetheory.spectra.covariance import SampleCovariance

Real = float | int | np.number | Real_[Array, "..."] | Real_[np.ndarray, "..."]


class AbstractLinear(AbstractProblem):
    """`init_scale` x = pσ², `latent_ratio` y = H/p and `sample_ratio` z = p/N of one problem or of a batch.

    Beside them `input_dim` p, for corrections in 1/p, `covariance`, `weight_decay`, `input_noise` and `tied`.
    """

    if TYPE_CHECKING:  # of both: fields of one subclass are properties of the other

        def __getattr__(self, name: str) -> Any: ...

    @property
    def penalty(self) -> Penalty | None:
        """Weight decay γ and input noise ε, `None` where neither is given."""
        if self.weight_decay is None and self.input_noise is None:
            return None
        given = as_float(self.input_noise if self.weight_decay is None else self.weight_decay)
        both = (self.weight_decay, self.input_noise)
        return Penalty(*(jnp.zeros_like(given) if value is None else as_float(value) for value in both))

    def check_loss(self) -> None:
        """Raise ValueError unless γ and ε are `None`, or finite and nonnegative, and `tied` is a truth value."""
        if not isinstance(self.tied, bool):
            raise fail("tied", "True or False", self.tied)
        for name in ("weight_decay", "input_noise"):
            if (value := getattr(self, name)) is not None:
                check_real(name, value, "finite and nonnegative, or None", minimum=0.0)

    @property
    def init_strength(self) -> Float[Array, "*batch"]:
        """c = Hσ² = xy, the mean of an eigenvalue of W Wᵀ at the start."""
        return jnp.asarray(self.init_scale * self.latent_ratio)

    def initial_risk(self, target_free: bool = False) -> Float[Array, "*batch"]:
        """τ̄ (1 − 2xy + x²y(1+y)), of both risks at the start, τ̄ = tr Σ/p; τ̄ x²y(1+y) without the target.

        Untied, τ̄ (1 + x²y): the mean of W₂ W₁ is 0.
        """
        mean = self.init_strength if self.tied else 0.0
        spread = jnp.asarray(self.init_scale**2 * self.latent_ratio) + mean**2
        isotropic = spread if target_free else 1 - 2 * mean + spread
        return isotropic if self.covariance is None else jnp.mean(self.covariance) * isotropic


def top_of_samples(problem: AbstractLinear) -> float:
    """The largest eigenvalue of S, or a little more: (1 + √z)², for inputs of any covariance τ₁(1+√(z τ̄/τ₁))²."""
    ratio = float(problem.sample_ratio)
    if problem.covariance is None:
        return float((1 + math.sqrt(ratio)) ** 2)
    return float(SampleCovariance(problem.covariance, ratio).top)


def on_population(problem: AbstractLinear) -> AbstractLinear:
    """The same numbers with N = ∞."""
    changed: AbstractLinear = eqx.tree_at(lambda one: one.sample_ratio, problem, jnp.zeros_like(problem.sample_ratio))
    return changed


def of_covariance(problem: AbstractLinear, covariance: Float[Array, " input_dim"] | None) -> AbstractLinear:
    """The same numbers on other inputs."""
    changed: AbstractLinear = eqx.tree_at(
        lambda one: one.covariance, problem, covariance, is_leaf=lambda leaf: leaf is None
    )
    return changed
