"""`fit`: hyperparameters of an observed loss curve, and the regime that explains it best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, PRNGKeyArray
from scipy.stats import qmc

from aetheory.core.checks import check_instance, check_key, fail, static_integer
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
from aetheory.inference.finite_size import Correction, correction
from aetheory.inference.fit_problem import (
    LINEAR,
    FitProblem,
    LeastSquares,
    Minimum,
    Numbers,
    default_bounds,
    split_parameters,
)
from aetheory.inference.observations import Observations
from aetheory.inference.result import Fit
from aetheory.inference.uncertainty import uncertainty
from aetheory.linear.problem import LinearRatios

_LINEAR = LinearRatios(0.1**0.5, 0.1**0.5, 10**0.5)
"""Ratios of a linear autoencoder in the middle of the default bounds."""


@dataclass(frozen=True)
class SearchSettings:
    """How the minimum of a least-squares problem is searched for.

    Arguments:
        num_points: points of a Sobol sequence that are tried for a limit that is a flow.
        factor_explicit: how many times more for a limit in closed form.
        factor_time_unit: how many times more for a flow with a free unit of time, for which few points are good.
        num_points_approximate: points that are tried for a limit that can only be approximated.
        num_starts_approximate: starts for such a limit.
        steps_per_round: evaluations from each start, before the best ones go on.
        num_finished: starts that go on after the first round; others creep along a valley, or end higher.
        num_rounds: rounds of the best start, until it converges.
        num_rounds_of_others: rounds of the others that go on.
        distance: starts are no closer than this share of the ranges, along a direction that the curve depends on.
        same: minima no further apart in the logarithms of the parameters are one.
        negligible: a direction whose derivatives are a smaller share of the largest does not change the curve.
        criterion: minima are reported whose information criterion is no further above the best, which is called very
            strong evidence.
        num_batches: batches of simulations for the correction for finite size; a first rough one takes a single batch.
        max_corrections: how often a fit is corrected again at its new parameters.
        settled: a fit that a correction moves by no more than this share of its standard errors is not corrected again.
    """

    num_points: int = 128
    factor_explicit: int = 8
    factor_time_unit: int = 4
    num_points_approximate: int = 64
    num_starts_approximate: int = 2
    steps_per_round: int = 20
    num_finished: int = 3
    num_rounds: int = 20
    num_rounds_of_others: int = 4
    distance: float = 0.1
    same: float = 0.02
    negligible: float = 1e-8
    criterion: float = 10.0
    num_batches: int = 4
    max_corrections: int = 6
    settled: float = 0.25

    def count(self, fit_problem: FitProblem) -> int:
        """Number of points that are tried."""
        if fit_problem.theory.is_approximate:
            return self.num_points_approximate
        if fit_problem.theory.is_explicit:
            return self.num_points * self.factor_explicit
        return self.num_points * (self.factor_time_unit if "time_unit" in fit_problem.free else 1)


SEARCH = SearchSettings()

_MODEL_ACCURACY = 1e-6
"""Accuracy of a limit, as a share of the largest observed risk: smaller residuals carry no information."""


def fit(
    curve: Any,
    theories: Any = None,
    free: Sequence[str] | None = None,
    *,
    problem: AbstractProblem | None = None,
    fixed: Numbers | None = None,
    bounds: Mapping[str, tuple[float | int, float | int]] | None = None,
    input_dim: int | None = None,
    key: PRNGKeyArray | None = None,
    num_simulations: int | None = None,
    num_starts: int = 8,
) -> Fit:
    """Infer initial scale, H/p, p/N, the unit of time and a noise floor from an observed loss curve.

    Weighted least squares by a trust-region method in the logarithms of the parameters, inside their bounds, from the
    best of a hundred points or more that fill these evenly. Of all candidates the fit of the smallest Bayesian
    information criterion is returned, with the others beside it. What a curve does not determine, such as p/N in the
    large-data regime or pσ² and H/p beyond their product in the mean-field one, is reported as not identifiable.

    Arguments:
        curve: `ae.Observations`, or what `ae.Observations.of` takes: a `Curve`, repeats of one (the best grounds for
            intervals), a mapping of arrays, the path of a CSV file.
        theories: one, or several to choose from: names, or tuples of names for an edge. When omitted, the regimes of
            linear autoencoders; the interior, whose curve is approximated (to about 1 % of the initial risk here), only
            where no face explains the curve. Of another `problem` its default theory.
        free: what to infer: "init_scale" (x = pσ²), "latent_ratio" (y = H/p) and "sample_ratio" (z = p/N), or the
            `free_numbers` of another problem; "time_unit" (flow time for one recorded unit) and "noise_floor" (a
            constant added to all risks). The problem's numbers, but for `fixed` ones, when omitted.
        problem: what was trained, where it is no linear autoencoder. By default its numbers are looked for within a
            factor of 300 of those that it has.
        fixed: values of those that are known; a time unit of 1 and no noise floor by default.
        bounds: (lower, upper) of a parameter, positive but for the noise floor.
        input_dim: p, where known, so that intervals of a single curve include how draws differ. The large-data and
            mean-field limits are then corrected to first order in 1/p. For other regimes, the best fit is repeated on
            the observations less the distance of simulations from the limit, at the fitted parameters with the nearest
            whole H and N, until it stays where it is; the noise of the simulations is part of the intervals. The regime
            is chosen before.
        key: a JAX random key for these simulations; needed where p is given and a candidate has no formula.
        num_simulations: how many draws, rounded up to a multiple of 4; by default four times as many as were
            observed, and at least 64.
        num_starts: how many of the best points to start from, no two of them close together.

    Returns:
        A `Fit`, whose `verdict` comes first: whether the theory explains the curve. It says so where it has not
        converged, has run into its bounds, or is not the only one.

    Raises:
        ValueError: NaN in the curve, fewer observations than parameters, an unknown
            regime or parameter, a number neither free nor fixed, a known p without a key for simulations.
        OSError: the CSV file cannot be read.

    Source: the curves: arXiv:2606.05335; M. Branch, T. Coleman, Y. Li (1999) for the method; G. Schwarz (1978) for the
    criterion.
    """
    for argument, given in {"fixed": fixed, "bounds": bounds}.items():
        check_instance(argument, given, Mapping | None, "a mapping from parameters to values")
    check_instance("free", free, Sequence | None, "a sequence of names of parameters")
    if problem is not None:
        check_instance("problem", problem, AbstractProblem, "a problem, such as an ae.LinearProblem")
    real, bounds = _LINEAR if problem is None else problem.continuous(), bounds or {}
    observations = curve if isinstance(curve, Observations) else Observations.of(curve, type(real))
    names, values = split_parameters(real, free, fixed or {})
    if not set(bounds) <= set(names):
        raise fail("bounds", f"given for free parameters only ({', '.join(names)})", sorted(bounds))
    if observations.values.size < len(names):
        raise fail("curve", f"of at least as many observations as free parameters, {len(names)}", observations.values)
    limits = {name: bounds.get(name, default_bounds(real, name, observations)) for name in names}
    for name, (lower, upper) in limits.items():
        if not (lower >= 0 if name in LINEAR else lower > 0) or not lower < upper < math.inf:
            raise fail("bounds", f"two finite, positive numbers in increasing order for `{name}`", (lower, upper))
    num_starts, listed = static_integer("num_starts", num_starts), _candidates(real, theories)
    fit_problems = [FitProblem(one, real, names, values, limits, observations, input_dim) for one in listed]
    batches = _keys(fit_problems, key, num_simulations)
    fits = _fits(fit_problems, num_starts, theories is not None)
    fits.sort(key=lambda one: one.bic if math.isfinite(one.bic) else math.inf)
    best = fits[0]
    if batches is not None and not best.is_corrected and best.converged and not best.not_identifiable:
        best = _corrected(best, batches)
    return replace(best, candidates=tuple(fits))


def _candidates(problem: AbstractProblem, theories: Any) -> tuple[AbstractTheory, ...]:
    """Every candidate once, in its order."""
    listed = problem.candidates if theories is None else theories
    listed = (listed,) if isinstance(listed, str | AbstractTheory) else listed
    check_instance("theories", listed, Sequence, "a theory, or a sequence of theories")
    found = tuple(dict.fromkeys(map(problem.find_theory, listed)))
    if not found:
        known = [one.name for one in problem.theories.values() if not one.is_special]
        raise fail("theories", f"one or several of {', '.join(map(repr, known))}, or tuples for edges", theories)
    return found


def _keys(fit_problems: Sequence[FitProblem], key: PRNGKeyArray | None, num_simulations: int | None) -> Any:
    """Keys of the simulations in batches, once they are known to fit the problem."""
    first = fit_problems[0]
    if first.input_dim is not None:
        first.problem.problem(static_integer("input_dim", first.input_dim))
        if key is None and (needing := [one.theory.name for one in fit_problems if not one.is_corrected]):
            raise fail("key", f"a JAX random key: with `input_dim`, {needing[0]} is corrected by simulations", key)
    elif key is not None or num_simulations is not None:
        raise ValueError("Arguments `key` and `num_simulations` must be None without `input_dim`, the simulated size.")
    if key is not None:
        check_key(key)
    number = max(64, 4 * first.observations.num_repeats) if num_simulations is None else num_simulations
    number = static_integer("num_simulations", number)
    return None if key is None else jax.random.split(key, (SEARCH.num_batches, math.ceil(number / SEARCH.num_batches)))


def _fits(fit_problems: Sequence[FitProblem], num_starts: int, every: bool) -> list[Fit]:
    """Best fit of each theory; of approximate theories only where no other explains the curve, or where `every`.

    Where no theory explains the curve, fits are repeated from twice as many starts: 2 of 200 exact curves need it.
    """
    exact = [one for one in fit_problems if not one.theory.is_approximate]
    fits = [_best(one, num_starts) for one in exact]
    if every or not any(one.verdict.answer == "explains" for one in fits):
        fits += [
            _best(one, min(num_starts, SEARCH.num_starts_approximate))
            for one in fit_problems
            if one.theory.is_approximate
        ]
    if all(one.verdict.answer == "does not explain" for one in fits):
        fits[: len(exact)] = [_best(one, 2 * num_starts) for one in exact]
    return fits


def _best(fit_problem: FitProblem, num_starts: int) -> Fit:
    """Best of the minima from several starts."""
    squares = fit_problem.least_squares()
    starts = _starts(fit_problem, squares, num_starts)
    first_round = [squares.minimise(one, SEARCH.steps_per_round) for one in starts]
    first_round.sort(key=_cost)
    minima = [_finished(squares, one, SEARCH.num_rounds_of_others) for one in first_round[: SEARCH.num_finished]]
    minima.sort(key=_cost)
    minima[0] = _finished(squares, minima[0], SEARCH.num_rounds)
    measured = _measured(fit_problem, squares, minima[0])
    alternatives = _alternatives(squares, minima, measured["uncertainty"].null_space)
    agreeing = sum(float(one.cost) <= 1.001 * float(minima[0].cost) + 1e-12 for one in minima)
    return Fit(
        **vars(fit_problem), **measured, num_agreeing=agreeing, num_starts=len(minima), alternatives=alternatives
    )


def _finished(squares: LeastSquares, minimum: Minimum, num_rounds: int) -> Minimum:
    """The minimum after further rounds, until it converges."""
    for _ in range(num_rounds):
        if minimum.converged:
            break
        minimum = squares.minimise(minimum.coordinates, SEARCH.steps_per_round)
    return minimum


def _cost(minimum: Minimum) -> float:
    return minimum.cost if math.isfinite(minimum.cost) else math.inf


def _starts(fit_problem: FitProblem, squares: LeastSquares, num_starts: int) -> Float64[np.ndarray, "starts free"]:
    """Best of the points that are tried, no two of them close together."""
    lower, upper = fit_problem.ends
    points = qmc.scale(qmc.Sobol(len(lower), seed=0).random(SEARCH.count(fit_problem)), lower, upper)
    costs = np.asarray(squares.costs(jnp.asarray(points, squares.times.dtype)))
    best_first = points[np.argsort(costs, kind="stable")]
    _, jacobian = squares.linearised(jnp.asarray(best_first[0], squares.times.dtype))
    slopes = np.asarray(jacobian, np.float64).reshape(-1, len(lower))
    _, sizes, directions = np.linalg.svd(slopes * (upper - lower), full_matrices=False)
    determined = directions[sizes >= SEARCH.negligible * sizes.max()]  # such as c = xy alone of x and y
    chosen: list[Float64[np.ndarray, " free"]] = []
    for point in best_first:
        distances = [np.abs(determined @ ((point - other) / (upper - lower))).max() for other in chosen]
        if len(chosen) < num_starts and all(distance > SEARCH.distance for distance in distances):
            chosen.append(point)
    return np.array(chosen)


def _corrected(found: Fit, batches: Any) -> Fit:
    """Fit to the observations minus the simulated correction for finite size."""
    squares = found.least_squares()
    coordinates = found.coordinates
    # rough corrections first, for those that count to be taken near the solution
    for num_batches, share in ((1, 1.0), (SEARCH.num_batches, SEARCH.settled)):
        for _ in range(SEARCH.max_corrections):
            point = jnp.asarray(coordinates, squares.times.dtype)
            corrected = correction(squares, point, int(found.input_dim or 0), batches[:num_batches])
            remaining = jnp.asarray(found.observations.values - corrected.values, squares.times.dtype)
            shifted = replace(squares, values=remaining)
            start = shifted.minimise(coordinates, SEARCH.steps_per_round)
            minimum = _finished(shifted, start, SEARCH.num_rounds)
            measured = _measured(found, squares, minimum, corrected)
            moved, coordinates = np.abs(minimum.coordinates - coordinates), minimum.coordinates
            settled = bool((moved <= share * np.sqrt(np.diag(measured["uncertainty"].covariance))).all())
            if settled:
                break
    return replace(found, **measured, correction=corrected._replace(settled=settled))


def _measured(
    fit_problem: FitProblem, squares: LeastSquares, minimum: Minimum, corrected: Correction | None = None
) -> dict[str, Any]:
    """Fields of a `Fit` that follow from a minimum."""
    observed = fit_problem.observations
    curve, slopes = squares.linearised(jnp.asarray(minimum.coordinates, squares.times.dtype))
    fitted, jacobian = np.asarray(curve, np.float64), np.asarray(slopes, np.float64)
    if corrected is not None:
        fitted = fitted + corrected.values
    residuals = observed.values - fitted
    return {
        "coordinates": minimum.coordinates,
        "uncertainty": uncertainty(jacobian, residuals, observed, None if corrected is None else corrected.repeats),
        "fitted": fitted,
        "deviance": float(np.sum((residuals * observed.weights) ** 2)) + _floor(observed.values, observed.weights),
        "converged": minimum.converged,
    }


def _floor(values: Any, weights: Any) -> float:
    """Deviance from the limited accuracy of the model; smaller differences between minima mean nothing."""
    accuracy = _MODEL_ACCURACY if jnp.result_type(float) == jnp.float64 else 10 * _MODEL_ACCURACY
    return float(np.sum((accuracy * np.abs(values).max() * weights) ** 2))


def _alternatives(
    squares: LeastSquares, minima: Sequence[Minimum], null: Float64[np.ndarray, "null free"]
) -> tuple[dict[str, float], ...]:
    """Free parameters at other minima whose information criterion is close to the best, each once."""
    floor = _floor(squares.values, squares.weights)
    seen: list[Float64[np.ndarray, " free"]] = []
    found = []
    for one in minima:
        point = one.coordinates
        # what the curve does not determine makes no difference
        determined = point - null.T @ (null @ point)
        excess = squares.values.size * math.log((float(one.cost) + floor) / (float(minima[0].cost) + floor))
        if excess < SEARCH.criterion and all(np.abs(determined - other).max() >= SEARCH.same for other in seen):
            seen.append(determined)
            values = squares.parameters(jnp.asarray(one.coordinates))
            found.append({name: float(values[name]) for name in squares.free})
    return tuple(found[1:])
