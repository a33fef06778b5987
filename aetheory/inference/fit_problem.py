"""A theory, its free parameters and the observations to fit, as a least-squares problem."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Array, Float, Float64

from aetheory.core.checks import check_real, fail, keyword_only
from aetheory.core.curve import Curve
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
from aetheory.inference.observations import Observations

Numbers = Mapping[str, float | int]

RECORD = {"time_unit": 1.0, "noise_floor": 0.0}
"""Default parameters of the record: flow time per recorded unit, and a constant that is added to all values."""

LINEAR = frozenset({"noise_floor"})
"""The parameters that may be 0 and are fitted as they are; the others by their logarithms."""

_REACH = 10**2.5
"""Default bounds are the problem's number divided and multiplied by this factor (1000 for the flow time at the end)."""

_MAX_FLOW_STEPS = 512
"""A flow that needs more steps lies far from any curve that was observed; `_UNREACHED` stands for its values."""

_UNREACHED = 1e6

_RTOL, _RTOL_OF_SCAN = 1e-7, 1e-3
"""Relative tolerance of flows in a minimisation, and in the scan for starting points."""

_TOLERANCE, _TOLERANCE_OF_APPROXIMATE = 1e-7, 1e-4
"""Relative change of coordinates and residuals at which a minimisation ends; looser for an approximate limit."""


def with_numbers(problem: AbstractProblem, numbers: Mapping[str, Any]) -> Any:
    """The problem with other values of some of its numbers, which may be traced."""
    return eqx.tree_at(lambda one: [getattr(one, name) for name in numbers], problem, list(numbers.values()))


def forward_curve(theory: AbstractTheory, problem: AbstractProblem, times: Any, **wanted: Any) -> Curve:
    """A theory's curve in forward mode, with those options that it has; infinite where a flow did not finish."""
    wanted |= {"adjoint": diffrax.ForwardMode(), "throw": False} | dict(theory.in_fits)
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
    """Default bounds of a parameter."""
    if name == "noise_floor":
        return 0.0, max(float(observed.values.min()), 1e-12)
    unit = 1 / (float(observed.times.max()) or 1.0)
    middle, reach = (unit, 1e3) if name == "time_unit" else (float(getattr(problem, name)) or 1.0, _REACH)
    return middle / reach, middle * reach


class LeastSquares(eqx.Module):
    """The least-squares problem of a `FitProblem` as arrays: one compiled program serves all problems of a theory.

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
    def predicted(self, parameters: dict[str, Float[Array, ""]], rtol: float = _RTOL) -> Float[Array, "risks times"]:
        """The values at the recorded times; differentiable in forward mode."""
        problem = with_numbers(self.problem, {name: parameters[name] for name in self.problem.free_numbers})
        times = parameters["time_unit"] * self.times
        options = {"finite_size": self.finite_size, "rtol": rtol, "max_steps": _MAX_FLOW_STEPS}
        found = forward_curve(self.theory, problem, times, **options).values
        if not set(self.risks) <= set(found):
            raise fail("curve", f"observations of {' or '.join(found)}, as {self.theory.name} has them", self.risks)
        stacked = jnp.stack([found[name] for name in self.risks]) + parameters["noise_floor"]
        return jnp.where(jnp.all(jnp.isfinite(stacked)), stacked, _UNREACHED)

    def residuals(self, coordinates: Float[Array, " free"], rtol: float = _RTOL) -> Float[Array, "risks times"]:
        """Weighted differences, observed minus predicted."""
        return (self.values - self.predicted(self.parameters(coordinates), rtol)) * self.weights

    @eqx.filter_jit
    def costs(self, points: Float[Array, "points free"]) -> Float[Array, " points"]:
        """The sum of squared residuals at each point."""

        # one after the other: a batch of flows waits for its stiffest, measured to cost twenty times as much on a CPU
        def cost(point: Float[Array, " free"]) -> Float[Array, ""]:
            return jnp.sum(self.residuals(point, _RTOL_OF_SCAN) ** 2)

        found: Float[Array, " points"] = jax.lax.map(cost, points)
        return found

    def minimise(self, start: Float64[np.ndarray, " free"], max_steps: int) -> "Minimum":
        """The point that a trust-region method reaches from a start within the bounds.

        Everything but the curve and its derivatives is SciPy's: only these are compiled.

        Source: M. Branch, T. Coleman, Y. Li (1999), as `scipy.optimize.least_squares` has it.
        """
        smallest = _TOLERANCE_OF_APPROXIMATE if self.theory.is_approximate else _TOLERANCE
        tolerance = max(smallest, 30 * float(np.finfo(self.times.dtype).eps))
        lower, upper = np.asarray(self.lower, np.float64), np.asarray(self.upper, np.float64)
        weights = np.asarray(self.weights, np.float64).ravel()
        observed = np.asarray(self.values, np.float64).ravel()
        evaluated: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}

        def evaluate(point: Float64[np.ndarray, " free"]) -> tuple[np.ndarray, np.ndarray]:
            if point.tobytes() not in evaluated:
                curve, slopes = self.linearised(jnp.asarray(point, self.times.dtype))
                jacobian = np.nan_to_num(np.asarray(slopes, np.float64).reshape(-1, len(point)))
                residuals = (observed - np.asarray(curve, np.float64).ravel()) * weights
                evaluated[point.tobytes()] = residuals, -jacobian * weights[:, None]
            return evaluated[point.tobytes()]

        margin = 1e-3 * (upper - lower)  # a start at a bound would stay there
        solution = scipy.optimize.least_squares(
            lambda point: evaluate(point)[0],
            np.clip(start, lower + margin, upper - margin),
            jac=lambda point: evaluate(point)[1],
            bounds=(lower, upper),
            x_scale="jac",
            xtol=tolerance,
            ftol=tolerance,
            gtol=tolerance**2,  # of exact curves the gradient vanishes long before the coordinates settle
            max_nfev=max_steps,
        )
        return Minimum(solution.x, 2 * float(solution.cost), bool(solution.status > 0))

    @eqx.filter_jit
    def linearised(
        self, coordinates: Float[Array, " free"]
    ) -> tuple[Float[Array, "risks times"], Float[Array, "risks times free"]]:
        """The predicted curve and its derivatives in the coordinates."""

        def twice(point: Float[Array, " free"]) -> tuple[Array, Array]:
            curve = self.predicted(self.parameters(point))
            return curve, curve

        jacobian, curve = jax.jacfwd(twice, has_aux=True)(coordinates)
        return curve, jacobian


class Minimum(NamedTuple):
    """Where a minimisation ended, or stopped for the time being."""

    coordinates: Float64[np.ndarray, " free"]
    cost: float
    converged: bool


@dataclass(frozen=True)
class FitProblem:
    """A theory, its free parameters and the observations to fit.

    Arguments:
        theory: the limit.
        problem: the problem, with the free numbers at any values.
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
        return self.theory.corrected

    def point(self, values: Mapping[str, Any]) -> Float64[np.ndarray, " free"]:
        """The coordinates of free parameters with these values."""
        return np.array([float(values[name]) if name in LINEAR else math.log(values[name]) for name in self.free])

    @property
    def ends(self) -> tuple[Float64[np.ndarray, " free"], Float64[np.ndarray, " free"]]:
        """The coordinates of the lower and of the upper bounds."""
        lower, upper = ({name: both[end] for name, both in self.bounds.items()} for end in (0, 1))
        return self.point(lower), self.point(upper)

    def least_squares(self) -> LeastSquares:
        """The least-squares problem as arrays of the present precision."""
        finite_size, observed = self.input_dim is not None and self.is_corrected, self.observations
        problem = with_numbers(self.problem, {"input_dim": float(self.input_dim or 0)}) if finite_size else self.problem
        weights = observed.weights / np.sqrt(np.mean((observed.weights * observed.values) ** 2))
        arrays = (self.fixed, observed.times, observed.values, weights, *self.ends)
        arrays = jax.tree.map(lambda one: jnp.asarray(one, jnp.result_type(float)), arrays)
        return LeastSquares(self.free, observed.risks, self.theory, finite_size, problem, *arrays)
