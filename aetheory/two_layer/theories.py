"""All theories of two-layer autoencoders; those of where training ends are defined here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import check_times, common_float_dtype, fail
from aetheory.core.curve import Curve, Values
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.two_layer.limits import denoised_risk, gaussian, rotation_risk, water_filling
from aetheory.two_layer.limits.sparse import check_source
from aetheory.two_layer.trajectories.covariance import MATRIX
from aetheory.two_layer.trajectories.stationary import stationary_risk
from aetheory.two_layer.trajectories.theories import ALTERNATING, DERIVED, JOINT, TIED

_SHEVCHENKO, _KOGLER = Citation("shevchenko2023fundamental"), Citation("kogler2024compression")


@dataclass(frozen=True)
class EndPoint(AbstractTheory):
    """A theory of where training ends, and not of the way there.

    Arguments:
        risk: the risk of a problem at the end, shape (*batch).
    """

    risk: Callable[[Any], Float[Array, "*batch"]]

    @property
    def is_explicit(self) -> bool:
        """True: no flow is solved."""
        return True

    def curve(self, problem: Any, times: Any) -> Curve:
        """Risk at the end, at all times; numbers of units and dimensions may be real, traced or arrays.

        Raises:
            ValueError: the theory does not describe such a problem, or bad times.
        """
        check_times(times)
        dtype = common_float_dtype(times, problem.covariance)
        risk = jnp.asarray(self.risk(problem)).astype(dtype)
        times = jnp.asarray(times)
        values = Values(risk=jnp.broadcast_to(risk[..., None], (*risk.shape, len(times))))
        return Curve.predicted(self, problem, times, values)


def _isotropic(problem: Any) -> Float[Array, "*batch"]:
    if not problem.is_isotropic:
        raise fail("covariance", "None or the identity for the gaussian limit; see water-filling", problem.covariance)
    return gaussian(problem.rate, problem.nonlinearity)


GAUSSIAN = EndPoint(
    name="gaussian",
    formula="R* = 1 − r/(1+α) for r = n/d ≤ 1 and 1 − r/(r+α) for r > 1, α = f(1)/c₁² − 1",
    citations=(_SHEVCHENKO,),
    tested="odd activations, r ≤ 3, d = 100, ten random starts of each descent; flows: r ≤ 1, joint at d = 200",
    error="never above what was reached; after convergence below it by < .001 (r ≤ 1), < .002 (r ≤ 3), SGD by < .01",
    risk=_isotropic,
)
"""Isotropic Gaussian inputs."""

WATER_FILLING = EndPoint(
    name="water-filling",
    formula="R* = (1/d) [Σ D_j² − Σ D_j² s_j/(s_j+α)], s_j = (μ D_j − α)₊, Σ s_j = n, on the min(n, d) largest D_j",
    citations=(_SHEVCHENKO,),
    tested="three blocks of variances, d = 100, n/d from .2 to 2, alternating descent, ten random starts",
    error="never above what was reached, below it by < .002; tied weights end .01 to .02 above it (d = 50)",
    risk=lambda problem: water_filling(problem.deviations, problem.num_units, problem.nonlinearity).risk,
)
"""Gaussian inputs of any covariance."""

ROTATION = EndPoint(
    name="rotation",
    formula="R* of isotropic Gaussian inputs, whatever the sparsity q",
    citations=(_KOGLER,),
    tested="Rademacher and Gaussian amplitudes, .1 ≤ q ≤ .9, r = 1, a random rotation and 4000 samples",
    error="of order 1/(qd): < .02 at d = 300, q = .1",
    risk=lambda problem: rotation_risk(check_source(problem.source), problem.rate, problem.nonlinearity),
)
"""Sparse inputs through a random rotation, with a linear decoder."""

DENOISED = EndPoint(
    name="denoised",
    formula="R = 1 − E (E[x₁|z])², z = μx₁ + τg, μ = rc₁, τ² = c₁² r (α + (1−r)₊)",
    citations=(_KOGLER,),
    tested="four amplitude laws, .1 ≤ q ≤ 1, r ≤ 2; a random rotation at r = 1, q = .1",
    error="10⁻¹⁰ by quadrature; below a rotation's samples by < .02 at d = 500",
    risk=lambda problem: denoised_risk(check_source(problem.source), problem.rate, problem.nonlinearity),
)
"""Sparse inputs through a random rotation, with the posterior mean of each entry in place of the linear decoder."""

STATIONARY = EndPoint(
    name="stationary",
    formula="R = R* + (τ/2)[r(1−r) S_o + (r²/2)(S_s + S_a)], τ = ηd/b: what the noise of fresh batches leaves, r ≤ 1",
    citations=DERIVED,
    tested="erf, r = .5 and 1, η = .2, τ from .05 to .2, d = 50 and 100",
    error="excess .0444 τ (r = .5) and .0366 τ (r = 1) against .045 to .050 τ and .038 to .041 τ for τ ≤ .1",
    risk=stationary_risk,
)
"""Plain stochastic gradient descent of one step size after a long time."""

_ALL = (GAUSSIAN, WATER_FILLING, ROTATION, DENOISED, TIED, ALTERNATING, JOINT, MATRIX, STATIONARY)
THEORIES: dict[str, AbstractTheory] = {theory.name: theory for theory in _ALL}
"""The theories of the two-layer system by name."""
