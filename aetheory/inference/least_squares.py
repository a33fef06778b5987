"""The least-squares problem of a fit: its cost, its minima from given starts, its linearisation there."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Bool, Float, Int

from aetheory.inference.model import Bounds, Model

_TOLERANCE = 1e-7


class LeastSquares(eqx.Module):
    """What one least-squares problem is made of, as arrays: one compiled program serves all of a regime."""

    times: Float[Array, " times"]
    values: Float[Array, "risks times"]
    weights: Float[Array, "risks times"]
    fixed: dict[str, Float[Array, ""]]
    box: Bounds

    def residuals(self, coordinates: Float[Array, " free"], model: Model) -> Float[Array, "risks times"]:
        """Weighted, observed minus predicted."""
        predicted = model.curve(coordinates, self.fixed, self.times)
        return (self.values - predicted) * self.weights


class Minimum(eqx.Module):
    """Where a minimisation ended."""

    coordinates: Float[Array, " free"]
    cost: Float[Array, ""]
    converged: Bool[Array, ""]
    num_steps: Int[Array, ""]


@eqx.filter_jit
def scan(points: Float[Array, "points free"], problem: LeastSquares, model: Model) -> Float[Array, " points"]:
    """The cost of each point."""

    def cost(point: Float[Array, " free"]) -> Float[Array, ""]:
        return jnp.sum(problem.residuals(point, model) ** 2)

    # one after the other: a batch of flows waits for its stiffest, measured to cost twenty times as much on a CPU
    found: Float[Array, " points"] = jax.lax.map(cost, points)
    return found


@eqx.filter_jit
def minimise(start: Float[Array, " free"], problem: LeastSquares, model: Model, max_steps: int) -> Minimum:
    """The minimum that Levenberg–Marquardt reaches from one start."""
    tolerance = max(_TOLERANCE, 30 * float(np.finfo(start.dtype).eps))
    solver: Any = optimistix.LevenbergMarquardt(rtol=tolerance, atol=tolerance)
    solution: Any = optimistix.least_squares(
        lambda unconstrained, _: problem.residuals(problem.box.inside(unconstrained), model),
        solver,
        problem.box.unconstrained(start),
        max_steps=max_steps,
        throw=False,
    )
    coordinates = problem.box.inside(solution.value)
    cost = jnp.sum(problem.residuals(coordinates, model) ** 2)
    done = jnp.asarray(solution.result == optimistix.RESULTS.successful)
    return Minimum(coordinates, cost, done, solution.stats["num_steps"])


@eqx.filter_jit
def linearised(
    coordinates: Float[Array, " free"], problem: LeastSquares, model: Model
) -> tuple[Float[Array, "risks times"], Float[Array, "risks times free"]]:
    """The predicted curve and its derivatives."""

    def curve(point: Float[Array, " free"]) -> Float[Array, "risks times"]:
        return model.curve(point, problem.fixed, problem.times)

    return curve(coordinates), jax.jacfwd(curve)(coordinates)
