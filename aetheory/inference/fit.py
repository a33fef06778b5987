"""`fit`: the hyperparameters behind an observed loss curve, and the regime that explains it best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, PRNGKeyArray
from scipy.stats import qmc

from aetheory.core.checks import fail, static_integer
from aetheory.core.curve import Curve
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
from aetheory.inference.arguments import check_bounds, check_candidates, check_finite_size, split_parameters
from aetheory.inference.finite_size import NUM_BATCHES, Correction, correction, has_formula
from aetheory.inference.least_squares import LeastSquares, Minimum, linearised, minimise, scan
from aetheory.inference.model import LINEAR, Bounds, Model, as_coordinate, from_coordinate
from aetheory.inference.observations import Observations
from aetheory.inference.result import Alternative, Estimate, Fit
from aetheory.inference.uncertainty import CovarianceMethod, Uncertainty, observation_weights, uncertainty
from aetheory.linear.problem import LinearRatios

_NUM_SCANNED = 128
"""Points that are tried for a limit that is a flow. With a free unit of time the good ones are a smaller share."""

_MORE_FOR_TIME = 4
_MORE_IN_CLOSED_FORM = 8
"""Where a curve costs next to nothing."""

_APART = 0.1
"""Starts are no closer than this share of the ranges, in one parameter at least: close ones find the same minimum."""

_SAME = 0.02
"""Minima no further apart than this, in the logarithms of the parameters, are one."""

_REACH = 10.0
"""Minima whose information criterion is not further above the best are reported: the usual "very strong evidence"."""

_MOST_CORRECTIONS = 6
_SETTLED = 0.25
"""A fit that a correction moves by no more than this share of its standard errors is corrected where it stands."""

_MAX_STEPS = 200
_MODEL_ACCURACY = 1e-6
"""Of the largest observed risk: residuals below it tell nothing, since limits are computed no better."""


def fit(
    curve: Observations | Curve | Sequence[Curve] | Mapping[str, Any] | str | Path,
    theories: str | Sequence[Any] | None = None,
    free: Sequence[str] | None = None,
    *,
    problem: AbstractProblem | None = None,
    fixed: Mapping[str, float | int] | None = None,
    start: Mapping[str, float | int] | None = None,
    bounds: Mapping[str, tuple[float | int, float | int]] | None = None,
    risks: Sequence[str] | None = None,
    input_dim: int | None = None,
    key: PRNGKeyArray | None = None,
    num_simulations: int | None = None,
    num_starts: int = 4,
    covariance: str | None = None,
) -> Fit:
    """Infer initial scale, H/p, p/N, the unit of time and a noise floor from an observed loss curve.

    Weighted least squares by Levenberg–Marquardt in the logarithms of the parameters, kept inside their bounds, from
    the best of a hundred points or more that fill the bounds evenly. Every candidate regime is fitted; the one with the
    smallest Bayesian information criterion is returned, with the others beside it. What a curve cannot tell, such as
    p/N in the large-data regime or pσ² and H/p beyond their product in the mean-field one, is reported as not
    identifiable.

    Arguments:
        curve: what was observed: a `Curve`; repeats of one, as a batch or a sequence of curves (the best grounds for
            intervals); a mapping from "time" and one or both of "train" and "population" to arrays; or the path of a
            CSV file with such columns.
        theories: one, or several to choose from: names, or tuples of names for an edge. Large-data, mean-field,
            narrow-latent and small-data when omitted, or all theories of another problem.
        free: what to infer, of "init_scale" (x = pσ²), "latent_ratio" (y = H/p), "sample_ratio" (z = p/N),
            "time_unit" (flow time for one recorded unit) and "noise_floor" (a constant added to both risks). The
            three ratios, but for `fixed` ones, when omitted.
        problem: what was trained, where it is no linear autoencoder: any problem whose theories are differentiable in
            its `free_numbers`, which then take the place of the three ratios; its other fields are as they were.
        fixed: values of those that are known; a time unit of 1 and no noise floor by default.
        start: where to start from, besides the points that are tried anyway.
        bounds: (lower, upper) of a parameter, positive but for the noise floor.
        risks: which of "train" and "population" to compare; all that were observed when omitted.
        input_dim: p, where known. The large-data and mean-field limits are then corrected to first order in 1/p by a
            formula. For other regimes, the best fit is repeated on the observations less the distance of simulations
            from the limit, at the fitted parameters with the nearest whole H and N, until it stays where it is; the
            noise of the simulations is part of the intervals. The regime is chosen before.
        key: a JAX random key for these simulations; needed where p is given and a candidate has no formula.
        num_simulations: how many draws they take, rounded up to a multiple of 4; four times as many as were
            observed, and at least 64, when omitted.
        num_starts: how many of the best points to start from, no two of them close together.
        covariance: how to take the correlations of the noise into account, see `ae.inference.uncertainty`: from the
            repeats where there are more than two, otherwise a bound from standard errors, otherwise Newey–West.

    Returns:
        A `Fit`. One that has not converged, that has run into its bounds, or beside which another minimum is nearly
        as good, says so.

    Raises:
        ValueError: NaN in the curve, fewer observations than parameters, bounds that exclude the start, an unknown
            regime or parameter, a ratio neither free nor fixed, a known p without a key for simulations.
        OSError: the CSV file cannot be read.

    Source: the curves: arXiv:2606.05335; K. Levenberg (1944), D. Marquardt (1963); G. Schwarz (1978) for the criterion.
    """
    observations = Observations.of(curve, risks)
    template = LinearRatios(1.0, 1.0, 1.0) if problem is None else problem.continuous()
    candidates = check_candidates(template, theories, observations.risks)
    names, values = split_parameters(template, free, fixed)
    limits = check_bounds(template, names, bounds, start, observations)
    num_starts = static_integer("num_starts", num_starts)
    num_simulations = check_finite_size(template, candidates, observations, input_dim, key, num_simulations)
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
    size = None if input_dim is None else static_integer("input_dim", input_dim)
    method = cast("CovarianceMethod | None", covariance)
    task = _Task(template, names, values, limits, start, observations, size, num_starts, method)
    fits = [_fit_one(theory, task) for theory in candidates]
    fits.sort(key=lambda one: one.bic if math.isfinite(one.bic) else math.inf)
    best = fits[0]
    if key is not None and best.correctable:
        best = _corrected(best, task, key, num_simulations)
    return best.beside(tuple(fits))


class _Task(NamedTuple):
    """What is asked of every candidate."""

    template: AbstractProblem
    names: tuple[str, ...]
    values: dict[str, float]
    limits: dict[str, tuple[float, float]]
    start: Mapping[str, float | int] | None
    observations: Observations
    input_dim: int | None
    num_starts: int
    method: CovarianceMethod | None

    @property
    def ends(self) -> Float64[np.ndarray, "two free"]:
        """Both ends of every free parameter's range, in the coordinates of the fit."""
        return np.array([[as_coordinate(name, end) for end in self.limits[name]] for name in self.names]).T

    def problem(self, theory: AbstractTheory) -> tuple[LeastSquares, Model]:
        """The least-squares problem of one candidate."""
        dtype = jnp.result_type(float)
        finite_size = self.input_dim is not None and has_formula(theory)
        weights = observation_weights(self.observations)
        # residuals of order one, for tolerances to mean the same whatever the weights
        scale = 1 / np.sqrt(np.mean((weights * self.observations.values) ** 2))
        squares = LeastSquares(
            jnp.asarray(self.observations.times, dtype),
            jnp.asarray(self.observations.values, dtype),
            jnp.asarray(weights * scale, dtype),
            {name: jnp.asarray(value, dtype) for name, value in self.values.items()},
            Bounds(*(jnp.asarray(end, dtype) for end in self.ends)),
        )
        template = self.template
        if isinstance(template, LinearRatios) and finite_size:
            template = replace(template, input_dim=float(self.input_dim or math.inf))
        return squares, Model(self.names, self.observations.risks, theory, template, finite_size)

    def starts(self, problem: LeastSquares, model: Model) -> Float64[np.ndarray, "starts free"]:
        """The best of the points that are tried, no two of them close together, and the start that was given."""
        ends = self.ends
        count = _NUM_SCANNED * (_MORE_FOR_TIME if "time_unit" in self.names else 1)
        if getattr(model.theory, "is_explicit", True):
            count = _NUM_SCANNED * _MORE_IN_CLOSED_FORM
        points = qmc.scale(qmc.Sobol(len(self.names), seed=0).random(count), *ends)
        costs = np.asarray(scan(jnp.asarray(points, problem.times.dtype), problem, model), np.float64)
        chosen: list[Float64[np.ndarray, " free"]] = []
        if self.start is not None:
            middle = dict(zip(self.names, ends.mean(axis=0), strict=True))
            given = {name: as_coordinate(name, value) for name, value in self.start.items()}
            chosen.append(np.array([(middle | given)[name] for name in self.names]))
        for point in points[np.argsort(costs, kind="stable")]:
            apart = [np.abs((point - other) / (ends[1] - ends[0])).max() > _APART for other in chosen]
            if len(chosen) < self.num_starts and all(apart):
                chosen.append(point)
        return np.array(chosen)


def _fit_one(theory: AbstractTheory, task: _Task) -> Fit:
    problem, model = task.problem(theory)
    starts = jnp.asarray(task.starts(problem, model), problem.times.dtype)
    minima = [minimise(start, problem, model, _MAX_STEPS) for start in starts]
    minima.sort(key=lambda one: float(one.cost) if math.isfinite(one.cost) else math.inf)
    return _result(theory, task, problem, model, minima)


def _corrected(found: Fit, task: _Task, key: PRNGKeyArray, num_simulations: int) -> Fit:
    """The fit to what remains of the observations when the distance of simulations from the limit is taken off."""
    theory = found.theory
    problem, model = task.problem(theory)
    coordinates = jnp.asarray([as_coordinate(name, found.values[name]) for name in task.names], problem.times.dtype)
    assert task.input_dim is not None
    batches = jax.random.split(key, (NUM_BATCHES, math.ceil(num_simulations / NUM_BATCHES)))
    result = found
    # rough corrections first, for those that count to be taken near the solution
    for num_batches in (1, NUM_BATCHES):
        for _ in range(_MOST_CORRECTIONS):
            corrected = correction(problem, model, coordinates, task.input_dim, list(batches[:num_batches]))
            values = jnp.asarray(task.observations.values - corrected.values, problem.times.dtype)
            shifted = eqx.tree_at(lambda one: one.values, problem, values)
            minimum = minimise(coordinates, shifted, model, _MAX_STEPS)
            result = _result(theory, task, shifted, model, [minimum], corrected)
            moved, coordinates = np.abs(np.asarray(minimum.coordinates - coordinates)), minimum.coordinates
            errors = np.sqrt(np.diag(result.uncertainty.covariance))
            settled = bool((moved <= (_SETTLED if num_batches == NUM_BATCHES else 1) * errors).all())
            if settled:
                break
    return replace(
        result,
        num_agreeing=found.num_agreeing,
        num_starts=found.num_starts,
        alternatives=found.alternatives,
        correction=corrected._replace(settled=settled),
    )


def _result(
    theory: AbstractTheory,
    task: _Task,
    problem: LeastSquares,
    model: Model,
    minima: Sequence[Minimum],
    corrected: Correction | None = None,
) -> Fit:
    """What is reported of the first of several minima, and which others are nearly as good."""
    observations, weights, ends = task.observations, observation_weights(task.observations), task.ends
    limit, jacobian = (np.asarray(part, np.float64) for part in linearised(minima[0].coordinates, problem, model))
    fitted = limit if corrected is None else limit + corrected.values
    residuals = observations.values - fitted
    simulations = None if corrected is None else corrected.repeats
    uncertain = uncertainty(jacobian, residuals, weights, observations, task.method, simulations)
    located = np.asarray(minima[0].coordinates, np.float64)
    near = np.minimum(located - ends[0], ends[1] - located) < 5e-3 * (ends[1] - ends[0])
    accuracy = _MODEL_ACCURACY if problem.times.dtype == jnp.float64 else 10 * _MODEL_ACCURACY
    floor = float(np.sum((accuracy * np.abs(observations.values).max() * weights) ** 2))
    unit = float(np.mean((weights * observations.values) ** 2))
    return Fit(
        theory=theory,
        problem=task.template,
        estimates=_estimates(task.names, located, uncertain, near),
        fixed=task.values,
        free=task.names,
        uncertainty=uncertain,
        observations=observations,
        fitted=fitted,
        weights=weights,
        deviance=float(np.sum((residuals * weights) ** 2)) + floor,
        converged=bool(minima[0].converged),
        num_steps=int(minima[0].num_steps),
        num_agreeing=sum(float(one.cost) <= 1.001 * float(minima[0].cost) + 1e-12 for one in minima),
        num_starts=len(minima),
        alternatives=_alternatives(task.names, minima, uncertain, observations.values.size, unit, floor),
        input_dim=task.input_dim,
        correction=corrected,
    )


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


def _alternatives(
    names: tuple[str, ...],
    minima: Sequence[Minimum],
    uncertain: Uncertainty,
    count: int,
    unit: float,
    floor: float,
) -> tuple[Alternative, ...]:
    """Other minima whose criterion is within reach of the best, each once; `unit` is the deviance of a unit of cost."""
    null = uncertain.null_space
    points = [np.asarray(one.coordinates, np.float64) for one in minima]
    # what the curve does not determine makes no difference
    seen, found = [points[0] - null.T @ (null @ points[0])], []
    for minimum, point in zip(minima[1:], points[1:], strict=True):
        determined = point - null.T @ (null @ point)
        if not math.isfinite(minimum.cost) or any(np.abs(determined - other).max() < _SAME for other in seen):
            continue
        excess = count * math.log((float(minimum.cost) * unit + floor) / (float(minima[0].cost) * unit + floor))
        if excess < _REACH:
            seen.append(determined)
            values = {name: from_coordinate(name, value) for name, value in zip(names, point, strict=True)}
            found.append(Alternative(values, excess))
    return tuple(found)
