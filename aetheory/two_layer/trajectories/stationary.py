"""The stationary risk of stochastic gradient descent, with the excess that the noise of fresh batches leaves.

Source: derived for this library from the risk of arXiv:2212.13468.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from aetheory.core.checks import as_float, at_run_time, fail, is_concrete
from aetheory.two_layer.activations import Activation
from aetheory.two_layer.descent import BATCH_SIZE
from aetheory.two_layer.hermite import PANEL_WIDTH, gaussian_quadrature
from aetheory.two_layer.limits.gaussian import gaussian
from aetheory.two_layer.trajectories.theories import require_method

_SURROGATE_TOLERANCE = 1e-3
"""Largest relative distance of E σ'(g) from c₁; beyond it the derivative is a surrogate."""
_MIN_CURVATURE = 1e-9
"""Curvatures below this belong to rotations, which do not change the risk."""


class NoiseModes(NamedTuple):
    """Independent directions around the minimum: curvatures h and variances vᵀ 𝒞 v of the noise."""

    curvatures: Float64[np.ndarray, " modes"]
    noises: Float64[np.ndarray, " modes"]

    def spread(self, step: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """S = Σ (vᵀ 𝒞 v) · 2/(2 − ηh) for steps of η."""
        terms = [noise * 2 / (2 - step * curvature) for curvature, noise in zip(*self, strict=True)]
        return jnp.asarray(sum(terms))


def stationary_risk(problem: Any) -> Float[Array, "*batch"]:
    """Stationary risk of steps of η on ½ mean ‖x − x̂‖² over batches of b, to first order in τ = ηd/b.

    The minimum is A = (a/c₁) Bᵀ, a = 1/(1+α), with orthonormal rows of B. Around it three kinds of directions fluctuate
    independently: out of the span of the rows (o), and symmetric (s) and antisymmetric (a) ones within it,

        R − R* = (τ/2) [r(1−r) S_o + (r²/2)(S_s + S_a)],    S = Σ_{h>0} (vᵀ 𝒞 v) · 2/(2 − ηh),

    over the eigenpairs (h, v) of their curvature; see `noise_modes`. A given α changes R* alone.

    Raises:
        ValueError: another method, no step size, n > d, a step size at which it diverges, inputs that are not
            isotropic, or an activation that is trained by a surrogate of its derivative.
    """
    require_method("stationary", "sgd", problem)
    if problem.step_size is None:
        raise fail("step_size", "a positive number for the stationary risk, that of plain steps", None)
    if not problem.is_isotropic:
        raise fail("covariance", "None or the identity for the stationary risk", problem.covariance)
    rate, step = jnp.asarray(problem.rate), as_float(problem.step_size)
    outward, symmetric, antisymmetric = noise_modes(problem.activation)
    steepest = float(max(mode.curvatures.max() for mode in (outward, symmetric, antisymmetric)))
    for name, wrong, requirement in (
        ("step_size", step * steepest >= 2, f"below {2 / steepest:.3g}, where the noise grows"),
        ("num_units", rate > 1, f"at most `input_dim` = {problem.input_dim} for the stationary risk"),
    ):
        if is_concrete(wrong) and wrong.any():
            raise fail(name, requirement, getattr(problem, name))
        rate = at_run_time(rate, wrong, f"Argument `{name}` must be {requirement}.")
    scale = step * problem.input_dim / (BATCH_SIZE if problem.batch_size is None else problem.batch_size)
    inside = (symmetric.spread(step) + antisymmetric.spread(step)) / 2
    excess: Array = scale / 2 * (rate * (1 - rate) * outward.spread(step) + rate**2 * inside)
    return gaussian(rate, problem.nonlinearity) + excess


@functools.cache
def noise_modes(activation: Activation) -> tuple[NoiseModes, NoiseModes, NoiseModes]:
    """Noise modes out of the span of the rows, and the symmetric and antisymmetric ones within it.

    With ρ = g − (a/c₁) σ(g) and e = (a/c₁) ρ of a standard Gaussian g: C = E σ'²e², Q = E σσ'e, m = E σ'e g and
    X = E ρσ'e. In coordinates (A, B),

        H_o = H_a = [[c₁²(1+α), −c₁], [−c₁, a]],   H_s: c₁(2a−1) off the diagonal,
        𝒞_o = [[f(1), Q], [Q, C]],   𝒞_{s,a} = [[(1−a) f(1), (1−a) Q ± c₁X], [·, C ± m²]].

    Raises:
        ValueError: the activation's derivative is that of another function.
    """
    nodes, weights = gaussian_quadrature((), PANEL_WIDTH)
    with jax.ensure_compile_time_eval():
        inputs = jnp.asarray(nodes, jnp.result_type(float))
        pair = jax.jvp(activation.function, (inputs,), (jnp.ones_like(inputs),))
        values, slopes = (np.asarray(one, np.float64) for one in pair)
    c1, power = activation.linear_coefficient, activation.second_moment
    if abs(weights @ slopes - c1) > _SURROGATE_TOLERANCE * abs(c1):
        raise fail("activation", "one that is trained by its own derivative, not by a surrogate", activation.name)
    a = c1**2 / power
    residuals = nodes - a / c1 * values
    pulled = a / c1 * residuals * slopes
    products = (values * pulled, pulled**2, pulled * nodes, residuals * pulled)
    cross, square, turned, mixed = (float(weights @ product) for product in products)
    diagonal = (power, a)
    along = _modes(diagonal, -c1, (power, square), cross)
    within = [
        _modes(diagonal, bend, ((1 - a) * power, square + sign * turned**2), (1 - a) * cross + sign * c1 * mixed)
        for sign, bend in ((1, c1 * (2 * a - 1)), (-1, -c1))
    ]
    return along, within[0], within[1]


def _modes(diagonal: tuple[float, float], bend: float, noise: tuple[float, float], cross: float) -> NoiseModes:
    """Noise modes of two symmetric 2 × 2 matrices, the curvature and the noise."""
    curvatures, vectors = np.linalg.eigh(np.array([[diagonal[0], bend], [bend, diagonal[1]]]))
    noises = np.einsum("ik,ij,jk->k", vectors, np.array([[noise[0], cross], [cross, noise[1]]]), vectors)
    curved = curvatures > _MIN_CURVATURE
    return NoiseModes(curvatures[curved], noises[curved])
