"""What theory says of the recovery of a dictionary, each result in one object."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from aetheory.core.checks import check_steps, fail
from aetheory.core.curve import Curve, Values
from aetheory.core.theory import AbstractTheory, Citation
from aetheory.group_sparse.convergence import contraction_factor, fixed_point_norm, neighbourhood_drift

Steps = Int[Array, " times"]
Bracketed = tuple[Values, Values | None, Values | None]


@dataclass(frozen=True)
class RecoveryTheory(AbstractTheory):
    """One result on the dictionaries of group-sparse autoencoders of one iteration.

    Arguments:
        values: what is predicted of a problem with numbers in one precision at these steps, and the bracket around it.
    """

    values: Callable[[Any, Steps], Bracketed]

    def curve(self, problem: Any, times: Any) -> Curve:
        """The predicted values of this problem after these numbers of steps.

        Raises:
            ValueError: bad numbers of steps, or a network without groups or of several iterations.
        """
        steps = jnp.asarray(check_steps(times))
        plain = problem.given is None or (problem.given[1].num_iterations == 1 and jnp.ndim(problem.threshold) == 0)
        if problem.network != "group" or not plain:
            requirement = f"with groups, one iteration and one threshold for {self.name!r}"
            raise fail("network", requirement, problem.network if plain else problem.given[1])
        arrays = problem.as_arrays()
        numbers = jnp.broadcast_arrays(*(getattr(arrays, name) for name in problem.free_numbers))
        one = dataclasses.replace(arrays, **dict(zip(problem.free_numbers, numbers, strict=True)))
        values, lower, upper = self.values(one, steps)
        return Curve(steps, values, lower=lower, upper=upper, theory=self, problem_type=type(problem), label=self.name)


def resting_norms(problem: Any, steps: Steps) -> Bracketed:
    """The column norm s with s²(1 − λ/(s‖x‖)) = 1, at the middle norm ‖x‖ of a code and at its extremes."""

    def at(code_norm: Float[Array, "*batch"]) -> Values:
        norm = fixed_point_norm(problem.threshold, code_norm)
        return Values(column_norm=jnp.broadcast_to(norm[..., None], (*norm.shape, len(steps))))

    return at((problem.min_norm + problem.max_norm) / 2), at(problem.max_norm), at(problem.min_norm)


def contracted(problem: Any, steps: Steps) -> Bracketed:
    """Γ e_k of e ← (1 − ρ)e + log³n/Γ² from the start, where α = c, δ² = e = 2d(1−c) and ‖z‖ = c‖x‖ for each group.

    Those are the dictionaries of the problem for n → ∞: with groups all alike, ρ is at its largest.

    Source: arXiv:2102.07003, Theorem 2.
    """
    correlation, size = problem.start_correlation, problem.group_size
    start = 2 * size * (1 - correlation)
    heard = correlation * (problem.min_norm + problem.max_norm) / 2
    factor = contraction_factor(
        step_size=problem.learning_rate,
        shrinkage=jnp.clip(1 - problem.threshold / heard, 0, 1),
        active_probability=jnp.full_like(start, problem.num_active / problem.num_groups),
        alpha_min=correlation,
        alpha_max=correlation,
        group_size=size,
        closeness=jnp.sqrt(start),
    )
    factor, start = factor[..., None], start[..., None]
    count = steps.astype(start.dtype).reshape((1,) * (start.ndim - 1) + (-1,))
    # ρ ≤ 0, hence (1 − ρ)^k − 1 without cancellation
    growth = jnp.expm1(count * jnp.log1p(-factor))
    rests = jnp.where(factor == 0, count, growth / jnp.where(factor == 0, 1, -factor))
    drift = neighbourhood_drift(problem.input_dim, problem.num_groups)
    bound = Values(distance=problem.num_groups * (start * (1 + growth) + drift * rests))
    return bound, None, bound


_RESTING = RecoveryTheory(
    name="fixed-point norm",
    formula="column norm s = λ/(2‖x‖) + √(1 + λ²/(4‖x‖²)), where training ends: s²(1 − λ/(s‖x‖)) = 1",
    citations=(Citation("theodosis2021convergence", "of the encoder (11) and decoder (12)", derived=True),),
    tested="λ = 2, 4 ≤ ‖x‖ ≤ 5: n = 950 at 1 dB and n = 190 at 10 dB, one step of Adam an epoch",
    error="1.240 simulated at n = 950, 1.247 predicted at the middle norm; the end point only",
    values=resting_norms,
)
_BOUND = RecoveryTheory(
    name="published bound",
    formula="‖A_g − A*_g‖² ≤ (1 − ρ)‖A_g − A*_g‖² + log³n/Γ² a step of gradient descent, its constant set to 1",
    citations=(Citation("theodosis2021convergence", "Theorem 2"),),
    tested="against its recurrence; ρ against its formula at random arguments",
    error="ρ is never positive: the bound grows and never binds, where training contracts by .03 to .06 a step",
    values=contracted,
)
THEORIES = {one.name: one for one in (_RESTING, _BOUND)}
"""By name."""
