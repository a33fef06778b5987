"""`fit`: the hyperparameters behind an observed loss curve, and the regime that explains it best."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Bool, Float, Float64, Int
from scipy.stats import qmc

from aetheory._checks import check_dimension, check_real, fail, static_integer
from aetheory.inference.model import LINEAR, PARAMETERS, Bounds, Model
from aetheory.inference.observations import Observations
from aetheory.inference.result import Estimate, Fit
from aetheory.inference.uncertainty import CovarianceMethod, Uncertainty, observation_weights, uncertainty
from aetheory.theory.expansion.faces import FACES, check_faces
from aetheory.theory.prism import regimes
from aetheory.training.curve import Curve

CANDIDATES = ("large-data", "mean-field", "narrow-latent", "small-data")
"""The regimes that are tried when none is named."""

_RATIOS = ("init_scale", "latent_ratio", "sample_ratio")
_DEFAULTS = {"time_unit": 1.0, "noise_floor": 0.0}
_BOUNDS = {
    "init_scale": (1e-3, 100.0),
    "latent_ratio": (1e-3, 100.0),
    "sample_ratio": (1e-2, 1e3),
    "time_unit": (1e-4, 1e4),
}
_NUM_SCANNED = 128
_MAX_STEPS = 200
_TOLERANCE = 1e-7
_MODEL_ACCURACY = 1e-6
"""Of the largest observed risk: residuals below it tell nothing, since limits are computed no better."""


def fit(
    curve: Observations | Curve | Sequence[Curve] | Mapping[str, Any] | str | Path,
    model: str | Sequence[Any] | None = None,
    free: Sequence[str] | None = None,
    *,
    fixed: Mapping[str, float | int] | None = None,
    start: Mapping[str, float | int] | None = None,
    bounds: Mapping[str, tuple[float | int, float | int]] | None = None,
    risks: Sequence[str] | None = None,
    input_dim: int | None = None,
    num_starts: int = 4,
    covariance: str | None = None,
) -> Fit:
    """Infer initial scale, H/p, p/N, the unit of time and a noise floor from an observed loss curve.

    Weighted least squares by Levenberg–Marquardt in the logarithms of the parameters, kept inside their bounds, from
    the best of 128 points that fill the bounds evenly. Every candidate regime is fitted; the one with the smallest
    Bayesian information criterion is returned, with the others beside it. What a curve cannot tell, such as p/N in the
    large-data regime or pσ² and H/p beyond their product in the mean-field one, is reported as not identifiable.

    Arguments:
        curve: what was observed: a `Curve`; repeats of one, as a batch or a sequence of curves (the best grounds for
            intervals); a mapping from "time" and one or both of "train" and "population" to arrays; or the path of a
            CSV file with such columns.
        model: a regime, or several to choose from: names, or tuples of names for an edge. Large-data, mean-field,
            narrow-latent and small-data when omitted.
        free: what to infer, of "init_scale" (x = pσ²), "latent_ratio" (y = H/p), "sample_ratio" (z = p/N),
            "time_unit" (flow time for one recorded unit) and "noise_floor" (a constant added to both risks). The
            three ratios, but for `fixed` ones, when omitted.
        fixed: values of those that are known; a time unit of 1 and no noise floor by default.
        start: where to start from, besides the points that are tried anyway.
        bounds: (lower, upper) of a parameter, positive but for the noise floor.
        risks: which of "train" and "population" to compare; all that were observed when omitted.
        input_dim: p, where known: the large-data and mean-field limits are then corrected to first order in 1/p.
        num_starts: how many of the best points to start from.
        covariance: how to take the correlations of the noise into account, see `ae.inference.uncertainty`: from the
            repeats where there are more than two, otherwise a bound from standard errors, otherwise Newey–West.

    Returns:
        A `Fit`. One that has not converged, or that has run into its bounds, says so.

    Raises:
        ValueError: NaN in the curve, fewer observations than parameters, bounds that exclude the start, an unknown
            regime or parameter, a ratio neither free nor fixed.
        OSError: the CSV file cannot be read.

    Source: the curves: arXiv:2606.05335; K. Levenberg (1944), D. Marquardt (1963); G. Schwarz (1978) for the criterion.
    """
    observations = Observations.of(curve, risks)
    candidates = _candidates(model)
    names, values = _split(free, fixed)
    limits = _check_bounds(names, bounds, start, observations)
    num_starts = static_integer("num_starts", num_starts)
    if input_dim is not None:
        check_dimension("input_dim", input_dim)
    if covariance not in (None, *get_args(CovarianceMethod)):
        raise fail("covariance", f"None or one of {', '.join(map(repr, get_args(CovarianceMethod)))}", covariance)
    if covariance == "repeats" and (observations.repeats is None or len(observations.repeats) < 3):
        raise fail("covariance", "another method than 'repeats' where there are fewer than three of them", covariance)
    if covariance == "bound" and observations.errors is None:
        raise fail("covariance", "another method than 'bound' where no standard errors are known", covariance)
    if observations.values.size < len(names):
        raise ValueError(
            f"Argument `curve` must have at least as many observations as there are free parameters, {len(names)}, "
            f"but has {observations.values.size}."
        )
    method = cast("CovarianceMethod | None", covariance)
    fits = [
        _fit_one(faces, names, values, limits, start, observations, input_dim, num_starts, method)
        for faces in candidates
    ]
    fits.sort(key=lambda one: one.bic if math.isfinite(one.bic) else math.inf)
    return fits[0].beside(tuple(fits))


def _fit_one(
    faces: tuple[str, ...],
    names: tuple[str, ...],
    values: dict[str, float],
    limits: dict[str, tuple[float, float]],
    start: Mapping[str, float | int] | None,
    observations: Observations,
    input_dim: int | None,
    num_starts: int,
    method: CovarianceMethod | None,
) -> Fit:
    dtype = jnp.result_type(float)
    finite_size = input_dim is not None and len(faces) == 1 and faces[0] in regimes.FINITE_SIZE
    options = regimes.LimitOptions(faces, regimes.num_nodes_of(faces), finite_size)
    model = Model(names, observations.risks, options)
    ends = np.array([[_coordinate(name, end) for end in limits[name]] for name in names]).T
    box = Bounds(jnp.asarray(ends[0], dtype), jnp.asarray(ends[1], dtype))
    weights = observation_weights(observations)
    points = qmc.scale(qmc.Sobol(len(names), seed=0).random(_NUM_SCANNED), *ends)
    if start is not None:
        middle = {name: float(ends.mean(axis=0)[index]) for index, name in enumerate(names)}
        given = [_coordinate(name, start[name]) if name in start else middle[name] for name in names]
        points = np.concatenate([[given], points])
    # residuals of order one, for tolerances to mean the same whatever the weights
    scale = 1 / np.sqrt(np.mean((weights * observations.values) ** 2))
    problem = _Problem(
        jnp.asarray(observations.times, dtype),
        jnp.asarray(observations.values, dtype),
        jnp.asarray(weights * scale, dtype),
        {name: jnp.asarray(value, dtype) for name, value in values.items()},
        jnp.asarray(math.inf if input_dim is None else input_dim, dtype),
        box,
    )
    scanned = np.asarray(_scan(jnp.asarray(points, dtype), problem, model))
    order = np.argsort(scanned, kind="stable")[:num_starts]
    if start is not None and 0 not in order:
        order = np.append(order[:-1] if len(order) > 1 else order, 0)
    found = _solve(jnp.asarray(points[order], dtype), problem, model, _MAX_STEPS)
    best = int(np.nanargmin(np.where(np.isfinite(found.cost), np.asarray(found.cost), np.inf)))
    coordinates = found.coordinates[best]
    fitted, jacobian = (np.asarray(part, np.float64) for part in _linearised(coordinates, problem, model))
    residuals = observations.values - fitted
    uncertain = uncertainty(jacobian, residuals, weights, observations, method)
    located = np.asarray(coordinates, np.float64)
    near = np.minimum(located - ends[0], ends[1] - located) < 5e-3 * (ends[1] - ends[0])
    estimates = _estimates(names, located, uncertain, near)
    accuracy = _MODEL_ACCURACY if dtype == jnp.float64 else 10 * _MODEL_ACCURACY
    floor = (accuracy * np.abs(observations.values).max() * weights) ** 2
    return Fit(
        regime=faces[0] if len(faces) == 1 else faces,
        estimates=estimates,
        fixed=values,
        free=names,
        uncertainty=uncertain,
        observations=observations,
        fitted=fitted,
        weights=weights,
        deviance=float(np.sum((residuals * weights) ** 2 + floor)),
        converged=bool(found.converged[best]),
        num_steps=int(found.num_steps[best]),
        num_agreeing=_agreement(np.asarray(found.cost, np.float64)),
        num_starts=len(order),
    )


class _Problem(eqx.Module):
    """What one least-squares problem is made of, as arrays: one compiled program serves all of a regime."""

    times: Float[Array, " times"]
    values: Float[Array, "risks times"]
    weights: Float[Array, "risks times"]
    fixed: dict[str, Float[Array, ""]]
    input_dim: Float[Array, ""]
    box: Bounds

    def residuals(self, coordinates: Float[Array, " free"], model: Model) -> Float[Array, "risks times"]:
        """Weighted, observed minus predicted."""
        predicted = model.curve(coordinates, self.fixed, self.times, self.input_dim)
        return (self.values - predicted) * self.weights


class _Minima(eqx.Module):
    coordinates: Float[Array, "*starts free"]
    cost: Float[Array, "*starts"]
    converged: Bool[Array, "*starts"]
    num_steps: Int[Array, "*starts"]


@eqx.filter_jit
def _scan(points: Float[Array, "points free"], problem: _Problem, model: Model) -> Float[Array, " points"]:
    def cost(point: Float[Array, " free"]) -> Float[Array, ""]:
        return jnp.sum(problem.residuals(point, model) ** 2)

    # one after the other: a batch of flows waits for its stiffest, measured to cost twenty times as much on a CPU
    found: Float[Array, " points"] = jax.lax.map(cost, points)
    return found


@eqx.filter_jit
def _solve(starts: Float[Array, "starts free"], problem: _Problem, model: Model, max_steps: int) -> _Minima:
    tolerance = max(_TOLERANCE, 30 * float(np.finfo(starts.dtype).eps))
    solver: Any = optimistix.LevenbergMarquardt(rtol=tolerance, atol=tolerance)

    def one(start: Float[Array, " free"]) -> _Minima:
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
        return _Minima(coordinates, cost, done, solution.stats["num_steps"])

    minima: _Minima = jax.lax.map(one, starts)
    return minima


@eqx.filter_jit
def _linearised(
    coordinates: Float[Array, " free"], problem: _Problem, model: Model
) -> tuple[Float[Array, "risks times"], Float[Array, "risks times free"]]:
    def curve(point: Float[Array, " free"]) -> Float[Array, "risks times"]:
        return model.curve(point, problem.fixed, problem.times, problem.input_dim)

    return curve(coordinates), jax.jacfwd(curve)(coordinates)


def _candidates(model: str | Sequence[Any] | None) -> tuple[tuple[str, ...], ...]:
    named = CANDIDATES if model is None else (model,) if isinstance(model, str) else tuple(model)
    found = []
    for one in named:
        faces = (one,) if isinstance(one, str) else tuple(one)
        known = bool(faces) and all(face in FACES for face in faces)
        if known:
            check_faces(faces)
        if not known or faces == ("free",):
            allowed = ", ".join(map(repr, CANDIDATES))
            raise fail("model", f"one or several of {allowed}, or tuples of names for edges", model)
        found.append(tuple(face for face in FACES if face in faces))
    if not found:
        raise fail("model", "at least one regime", model)
    return tuple(dict.fromkeys(found))


def _split(
    free: Sequence[str] | None, fixed: Mapping[str, float | int] | None
) -> tuple[tuple[str, ...], dict[str, float]]:
    """The free parameters in their order, and the values of the others."""
    given = dict(fixed or {})
    wanted = [name for name in _RATIOS if name not in given] if free is None else list(free)
    for argument, named in (("free", wanted), ("fixed", list(given))):
        if isinstance(free, str) or any(name not in PARAMETERS for name in named):
            raise fail(argument, f"made of {', '.join(map(repr, PARAMETERS))}", free if argument == "free" else fixed)
    if both := sorted(set(wanted) & set(given)):
        raise fail("fixed", "without the parameters that are free", both)
    if not wanted:
        raise fail("free", "at least one parameter", free)
    values = {}
    for name in PARAMETERS:
        if name in wanted:
            continue
        if name not in given and name not in _DEFAULTS:
            raise ValueError(f"Parameter `{name}` must be either free or given in `fixed`.")
        values[name] = given.get(name, _DEFAULTS.get(name, math.nan))
        check_real(name, values[name], "finite and nonnegative", minimum=0.0, strict=name == "time_unit")
    return tuple(name for name in PARAMETERS if name in wanted), {name: float(value) for name, value in values.items()}


def _check_bounds(
    names: tuple[str, ...],
    bounds: Mapping[str, tuple[float | int, float | int]] | None,
    start: Mapping[str, float | int] | None,
    observations: Observations,
) -> dict[str, tuple[float, float]]:
    defaults = {**_BOUNDS, "noise_floor": (0.0, max(float(observations.values.min()), 1e-12))}
    given = dict(bounds or {})
    for argument, named in (("bounds", given), ("start", dict(start or {}))):
        if unknown := sorted(set(named) - set(names)):
            raise fail(argument, f"given for free parameters only ({', '.join(names)})", unknown)
    limits = {}
    for name in names:
        ends = given.get(name, defaults[name])
        smallest = 0.0 if name in LINEAR else math.nextafter(0.0, 1.0)
        if len(ends) != 2 or not smallest <= ends[0] < ends[1] < math.inf:
            wanted = "nonnegative" if name in LINEAR else "positive"
            raise fail("bounds", f"two finite, {wanted} numbers in increasing order for `{name}`", ends)
        limits[name] = (float(ends[0]), float(ends[1]))
        if start is not None and name in start and not ends[0] <= start[name] <= ends[1]:
            raise fail("start", f"within the bounds {ends} for `{name}`", start[name])
    return limits


def _coordinate(name: str, value: float) -> float:
    return float(value) if name in LINEAR else math.log(value)


def _estimates(
    names: tuple[str, ...],
    coordinates: Float64[np.ndarray, " free"],
    uncertain: Uncertainty,
    near: np.ndarray,
) -> dict[str, Estimate]:
    """Estimates of the free parameters, and of c = Hσ² where it is made of them."""
    units = np.eye(len(names))
    estimates = {
        name: Estimate.of(coordinates[index], units[index], uncertain, name in LINEAR, bool(near[index]))
        for index, name in enumerate(names)
    }
    if {"init_scale", "latent_ratio"} <= set(names):
        both = units[names.index("init_scale")] + units[names.index("latent_ratio")]
        estimates["init_strength"] = Estimate.of(float(both @ coordinates), both, uncertain, False, False)
    return estimates


def _agreement(costs: Float64[np.ndarray, " starts"]) -> int:
    """How many starts came within a thousandth of the least cost."""
    return int(np.sum(costs <= 1.001 * np.nanmin(costs) + 1e-12))
