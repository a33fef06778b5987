"""The numbers that a limit depends on, as arrays of one precision."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.linear.problem import LinearProblem, LinearRatios


class LimitParameters(NamedTuple):
    """x, y and z of a problem, or of a batch, and p for a correction in 1/p.

    Arguments:
        init_scale: x = pσ².
        latent_ratio: y = H/p.
        sample_ratio: z = p/N.
        input_dim: p.
    """

    init_scale: Float[Array, "*batch"]
    latent_ratio: Float[Array, "*batch"]
    sample_ratio: Float[Array, "*batch"]
    input_dim: Float[Array, "*batch"]

    @classmethod
    def of(cls, problem: LinearProblem | LinearRatios, dtype: jnp.dtype) -> "LimitParameters":
        """Those of a problem, broadcast to one shape."""
        fields = (problem.init_scale, problem.latent_ratio, problem.sample_ratio, problem.input_dim)
        return cls(*jnp.broadcast_arrays(*(jnp.asarray(field).astype(dtype) for field in fields)))

    @property
    def init_strength(self) -> Float[Array, "*batch"]:
        """c = Hσ² = xy, the mean of an eigenvalue of W Wᵀ at the start."""
        return self.init_scale * self.latent_ratio

    def initial_risk(self, target_free: bool = False) -> Float[Array, "*batch"]:
        """(1/p) E‖M(0) − I‖² = 1 − 2xy + x²y(1+y), of both risks at the start; x²y(1+y) without the target."""
        spread = self.init_scale**2 * self.latent_ratio * (1 + self.latent_ratio)
        return spread if target_free else 1 - 2 * self.init_strength + spread
