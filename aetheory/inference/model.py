"""The question of a fit: what is free, within which bounds, and the least-squares problem that a theory makes of it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Bool, Float, Float64

from aetheory.core.checks import check_real, fail, keyword_only
from aetheory.core.curve import Curve
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
from aetheory.inference.observations import Observations

Numbers = Mapping[str, float | int]

RECORD = {"time_unit": 1.0, "noise_floor": 0.0}
"""What a record adds to the numbers of its problem, by default: flow time for one of its units; a constant on top."""

LINEAR = frozenset({"noise_floor"})
"""The parameters that may be 0 and are fitted as they are; the others by their logarithms."""

_REACH = 10**2.5
"""Up to which factor, either way, a number is looked for around that of the problem; a thousand for the flow time at
the end of a record, whatever its unit, around 1."""

_FLOW = {"rtol": 1e-7, "max_steps": 512}
"""A flow that needs more steps lies far from any curve that was observed; `_UNREACHED` stands for its values."""

_UNREACHED = 1e6
_TOLERANCE = 1e-7


def with_numbers(problem: AbstractProblem, numbers: Mapping[str, Any]) -> Any:
    """The problem with other values of some of its numbers, which may be traced."""
    return eqx.tree_at(lambda one: [getattr(one, name) for name in numbers], problem, list(numbers.values()))


def forward_curve(theory: AbstractTheory, problem: AbstractProblem, times: Any, **wanted: Any) -> Curve:
    """A theory's curve in forward mode, with those options that it has; infinite where a flow did not finish."""
    wanted |= {"adjoint": diffrax.ForwardMode(), "throw": False} | getattr(theory, "in_fits", {})
    known = keyword_only(theory.curve)
    curve: Curve = theory.curve(problem, times, **{name: value for name, value in wanted.items() if name in known})
    finished = True if curve.stats is None else curve.stats.succeeded
    return replace(curve, values=jax.tree.map(lambda value: jnp.where(finished, value, jnp.inf), curve.values))


def split_parameters(
    problem: AbstractProblem, free: Sequence[str] | None, fixed: Numbers
) -> tuple[tuple[str, ...], dict[str, float]]:
    """The free parameters in their order, and the values of the others."""
    parameters = (*problem.free_numbers, *RECORD)
    wanted = [name for name in problem.free_numbers if name not in fixed] if free is None else free
    if not wanted or not all(isinstance(name, str) and name in parameters for name in wanted):
        raise fail("free", f"one or several of {', '.join(map(repr, parameters))}", free)
    if not set(fixed) <= set(parameters) - set(wanted):
        raise fail("fixed", f"made of {', '.join(map(repr, parameters))}, but for the free ones", fixed)
    held, known = [name for name in parameters if name not in wanted], {**RECORD, **fixed}
    for name in held:
        if name not in known:
            raise ValueError(f"Parameter `{name}` must be either free or given in `fixed`.")
        check_real(name, known[name], "finite and nonnegative", minimum=0.0, strict=name == "time_unit")
    return tuple(name for name in parameters if name in wanted), {name: float(known[name]) for name in held}


def default_bounds(problem: AbstractProblem, name: str, observed: Observations) -> tuple[float, float]:
    """Between which a parameter is looked for."""
    if name == "noise_floor":
        return 0.0, max(float(observed.values.min()), 1e-12)
    unit = 1 / (float(observed.times.max()) or 1.0)
    middle, reach = (unit, 1e3) if name == "time_unit" else (float(getattr(problem, name)) or 1.0, _REACH)
    return middle / reach, middle * reach


class LeastSquares(eqx.Module):
    """The least-squares problem of a `Question` as arrays: one compiled program serves all of a theory.

    Residuals are of order one, for tolerances to mean the same whatever their weights.
    """

    free: tuple[str, ...] = eqx.field(static=True)
    risks: tuple[str, ...] = eqx.field(static=True)
    theory: AbstractTheory = eqx.field(static=True)
    finite_size: bool = eqx.field(static=True)
    problem: AbstractProblem
    fixed: dict[str, Float[Array, ""]]
    times: Float[Array, " times"]
    values: Float[Array, "risks times"]
    weights: Float[Array, "risks times"]
    lower: Float[Array, " free"]
    upper: Float[Array, " free"]

    def parameters(self, coordinates: Float[Array, " free"]) -> dict[str, Float[Array, ""]]:
        """The values of all at coordinates of the free ones: logarithms, but for those in `LINEAR`."""
        free = zip(self.free, coordinates, strict=True)
        return self.fixed | {name: one if name in LINEAR else jnp.exp(one) for name, one in free}

    @eqx.filter_jit
    def predicted(self, parameters: dict[str, Float[Array, ""]]) -> Float[Array, "risks times"]:
        """The values at the recorded times; differentiable in forward mode."""
        problem = with_numbers(self.problem, {name: parameters[name] for name in self.problem.free_numbers})
        times = parameters["time_unit"] * self.times
        found = forward_curve(self.theory, problem, times, finite_size=self.finite_size, **_FLOW).values
        if not set(self.risks) <= set(found):
            raise fail("curve", f"observations of {' or '.join(found)}, as {self.theory.name} has them", self.risks)
        stacked = jnp.stack([found[name] for name in self.risks]) + parameters["noise_floor"]
        return jnp.where(jnp.all(jnp.isfinite(stacked)), stacked, _UNREACHED)

    def residuals(self, coordinates: Float[Array, " free"]) -> Float[Array, "risks times"]:
        """Weighted, observed minus predicted."""
        return (self.values - self.predicted(self.parameters(coordinates))) * self.weights

    @eqx.filter_jit
    def costs(self, points: Float[Array, "points free"]) -> Float[Array, " points"]:
        """The sum of squared residuals at each point."""
        # one after the other: a batch of flows waits for its stiffest, measured to cost twenty times as much on a CPU
        found: Float[Array, " points"] = jax.lax.map(lambda point: jnp.sum(self.residuals(point) ** 2), points)
        return found

    @eqx.filter_jit
    def minimise(self, start: Float[Array, " free"], max_steps: int) -> "Minimum":
        """The minimum that Levenberg–Marquardt reaches from a start, in logits of the coordinates within the bounds."""

        def inside(logits: Float[Array, " free"]) -> Float[Array, " free"]:
            return self.lower + (self.upper - self.lower) * jax.nn.sigmoid(logits)

        tolerance = max(_TOLERANCE, 30 * float(np.finfo(start.dtype).eps))
        share = (start - self.lower) / (self.upper - self.lower)
        solution: Any = optimistix.least_squares(
            lambda logits, _: self.residuals(inside(logits)),
            optimistix.LevenbergMarquardt(rtol=tolerance, atol=tolerance),
            # away from the ends, where the logistic function is flat
            jax.scipy.special.logit(jnp.clip(share, 1e-3, 1 - 1e-3)),
            max_steps=max_steps,
            throw=False,
        )
        coordinates, converged = inside(solution.value), solution.result == optimistix.RESULTS.successful
        return Minimum(coordinates, jnp.sum(self.residuals(coordinates) ** 2), jnp.asarray(converged))

    @eqx.filter_jit
    def jacobian(self, coordinates: Float[Array, " free"]) -> Float[Array, "risks times free"]:
        """The derivatives of the predicted curve."""
        found: Float[Array, "risks times free"] = jax.jacfwd(lambda one: self.predicted(self.parameters(one)))(
            coordinates
        )
        return found


class Minimum(NamedTuple):
    """Where a minimisation ended."""

    coordinates: Float[Array, " free"]
    cost: Float[Array, ""]
    converged: Bool[Array, ""]


@dataclass(frozen=True)
class Question:
    """Which parameters of a theory are behind observations.

    Arguments:
        theory: the limit.
        problem: what its numbers are of.
        free: the free parameters, in their order.
        fixed: the values of the others.
        bounds: both ends of every free parameter's range.
        observations: what was observed.
        input_dim: p, where it was given.
    """

    theory: AbstractTheory
    problem: AbstractProblem
    free: tuple[str, ...]
    fixed: dict[str, float]
    bounds: dict[str, tuple[float | int, float | int]]
    observations: Observations
    input_dim: int | None

    @property
    def is_corrected(self) -> bool:
        """Whether the limit has a first correction in 1/p in closed form, and needs no simulations."""
        return bool(getattr(self.theory, "corrected", False))

    def point(self, values: Mapping[str, Any]) -> Float64[np.ndarray, " free"]:
        """The coordinates of free parameters with these values."""
        return np.array([float(values[name]) if name in LINEAR else math.log(values[name]) for name in self.free])

    @property
    def ends(self) -> tuple[Float64[np.ndarray, " free"], Float64[np.ndarray, " free"]]:
        """The coordinates of the lower and of the upper bounds."""
        lower, upper = ({name: both[end] for name, both in self.bounds.items()} for end in (0, 1))
        return self.point(lower), self.point(upper)

    def least_squares(self) -> LeastSquares:
        """In the present precision."""
        finite_size, observed = self.input_dim is not None and self.is_corrected, self.observations
        problem = with_numbers(self.problem, {"input_dim": float(self.input_dim or 0)}) if finite_size else self.problem
        weights = observed.weights / np.sqrt(np.mean((observed.weights * observed.values) ** 2))
        arrays = (self.fixed, observed.times, observed.values, weights, *self.ends)
        arrays = jax.tree.map(lambda one: jnp.asarray(one, jnp.result_type(float)), arrays)
        return LeastSquares(self.free, observed.risks, self.theory, finite_size, problem, *arrays)
