"""How well a least-squares fit determines its parameters: covariance, identifiability, diagnostics of residuals."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from aetheory.inference.observations import Observations

CovarianceMethod = Literal["repeats", "bound", "newey-west", "gauss-newton"]

_SMALLEST_SINGULAR_VALUE = 1e-5
"""Relative to the largest: a direction in the parameters below it moves the curve by no more than its own accuracy."""


class Uncertainty(NamedTuple):
    """The covariance of a fit in its coordinates, and what it does not determine.

    Arguments:
        covariance: shape (num_free, num_free), on the determined directions; those of `null_space` have none.
        degrees_of_freedom: of Student's t law for intervals.
        method: how the residuals' covariance was found.
        null_space: orthonormal directions that do not move the curve, shape (num_null, num_free).
        singular_values: of the weighted Jacobian, largest first.
        shifts: for "bound", how far one standard error of each observation moves each coordinate, shape
            (num_free, num_observations). The covariance is then diagonal, for correlations are not known.
        simulations: the part of the covariance that is the noise of a simulated correction; `None` without one.
    """

    covariance: Float64[np.ndarray, "free free"]
    degrees_of_freedom: int
    method: CovarianceMethod
    null_space: Float64[np.ndarray, "null free"]
    singular_values: Float64[np.ndarray, " singular"]
    shifts: Float64[np.ndarray, "free observations"] | None = None
    simulations: Float64[np.ndarray, "free free"] | None = None

    @property
    def rank(self) -> int:
        """How many directions in the parameters are determined."""
        return len(self.covariance) - len(self.null_space)

    def standard_error(self, gradient: Float64[np.ndarray, " free"]) -> float:
        """That of a function of the coordinates with this gradient; infinite where it is not determined."""
        if np.linalg.norm(self.null_space @ gradient) > 1e-2 * np.linalg.norm(gradient):
            return float("inf")
        if self.shifts is not None:
            of_simulations = 0.0 if self.simulations is None else gradient @ self.simulations @ gradient
            return float(np.hypot(np.abs(gradient @ self.shifts).sum(), np.sqrt(of_simulations)))
        return float(np.sqrt(gradient @ self.covariance @ gradient))


def observation_weights(observations: Observations) -> Float64[np.ndarray, "risks times"]:
    """One over the standard errors, from below by a quarter of their root mean square; 1 where they are not known.

    From few repeats the errors are noisy, and where all draws start alike they vanish: neither may rule the fit.
    """
    if observations.errors is None or not observations.errors.any():
        return np.ones_like(observations.values)
    typical = np.sqrt(np.mean(observations.errors**2))
    weights: Float64[np.ndarray, "risks times"] = 1 / np.hypot(observations.errors, typical / 4)
    return weights


def uncertainty(
    jacobian: Float64[np.ndarray, "risks times free"],
    residuals: Float64[np.ndarray, "risks times"],
    weights: Float64[np.ndarray, "risks times"],
    observations: Observations,
    method: CovarianceMethod | None = None,
    simulations: Float64[np.ndarray, "simulations risks times"] | None = None,
) -> Uncertainty:
    """The sandwich (JᵀJ)⁻¹ [JᵀCJ] (JᵀJ)⁻¹ of the weighted Jacobian J, with an estimate of the residuals' covariance C.

    Noise of a simulated curve comes from a few random numbers drawn at time 0, so that its residuals are correlated
    over all times, and the Gauss–Newton covariance, which takes them to be independent, is far too small. Estimates:

    - ``"repeats"``: the jackknife instead, how far one step of Gauss–Newton goes when each repeat in turn is left
      out, of the mean and of the errors behind the weights: these are part of the noise where repeats are few.
    - ``"bound"``: standard errors are known but not their correlations: the largest variance that any could give.
    - ``"newey-west"``: correlations of the residuals themselves, with a window of ⌈n^{1/2}⌉ times.
    - ``"gauss-newton"``: independent residuals of equal weighted variance.

    Arguments:
        jacobian: derivatives of the curve in the coordinates of the fit.
        residuals: observed minus fitted.
        weights: of the residuals.
        observations: what was observed.
        method: one of the above; the first that the observations allow when omitted ("gauss-newton" never is).
        simulations: those whose mean has been taken off the observations: its noise is added.

    Source: H. White (1980), W. Newey, K. West (1987) for the sandwich; M. Quenouille (1956), J. Tukey (1958) for the
    jackknife.
    """
    if method is None:
        method = _default_method(observations)
    num_risks, num_times, num_free = jacobian.shape
    weighted = jacobian * weights[..., None]
    flat = weighted.reshape(-1, num_free)
    _, singular, directions = np.linalg.svd(flat, full_matrices=flat.shape[0] < num_free)
    singular = np.append(singular, np.zeros(num_free - len(singular)))
    kept = singular > _SMALLEST_SINGULAR_VALUE * max(singular[0], np.finfo(float).tiny)
    inverse = directions[kept].T / singular[kept] ** 2 @ directions[kept]
    rank, count = int(kept.sum()), num_risks * num_times
    freedom = max(count - rank, 1)
    scores = np.einsum("ktf,kt->tf", weighted, residuals * weights)
    moved = None
    if method == "repeats":
        assert observations.repeats is not None
        freedom = len(observations.repeats) - 1
        covariance = _jackknife(jacobian, residuals, observations, directions[kept])
    elif method == "bound":
        assert observations.errors is not None
        moved = (inverse @ flat.T) * (observations.errors * weights).ravel()
        covariance = np.diag(np.sum(np.abs(moved), axis=1) ** 2)
        freedom = max(observations.num_repeats - 1, 1)
    elif method == "newey-west":
        middle = _newey_west(scores) * count / freedom
        covariance = inverse @ middle @ inverse
    else:
        covariance = inverse * float(np.sum((residuals * weights) ** 2)) / freedom
    added = None
    if simulations is not None:
        added = inverse @ _scatter(weighted, (simulations - simulations.mean(axis=0)) * weights) @ inverse
        freedom = _pooled_freedom(np.trace(covariance), freedom, np.trace(added), len(simulations) - 1)
        covariance = covariance + added
    return Uncertainty(covariance, freedom, method, directions[~kept], singular, moved, added)


def _jackknife(
    jacobian: Float64[np.ndarray, "risks times free"],
    residuals: Float64[np.ndarray, "risks times"],
    observations: Observations,
    determined: Float64[np.ndarray, "rank free"],
) -> Float64[np.ndarray, "free free"]:
    """(R − 1)/R times the scatter of the steps, along the determined directions, that all repeats but one ask for."""
    assert observations.repeats is not None
    steps = []
    for index in range(len(observations.repeats)):
        others = observations.without_repeat(index)
        weights = observation_weights(others).ravel()
        moved = (residuals + others.values - observations.values).ravel()
        along = jacobian.reshape(-1, jacobian.shape[-1]) @ determined.T
        steps.append(np.linalg.lstsq(along * weights[:, None], moved * weights)[0] @ determined)
    deviations = np.asarray(steps) - np.mean(steps, axis=0)
    covariance: Float64[np.ndarray, "free free"] = deviations.T @ deviations * (len(steps) - 1) / len(steps)
    return covariance


def _scatter(
    weighted: Float64[np.ndarray, "risks times free"], deviations: Float64[np.ndarray, "clusters risks times"]
) -> Float64[np.ndarray, "free free"]:
    """The covariance of Jᵀr for the mean r of clusters, from their weighted deviations from it."""
    each = np.einsum("ktf,rkt->rf", weighted, deviations)
    found: Float64[np.ndarray, "free free"] = each.T @ each / (len(each) * (len(each) - 1))
    return found


def _pooled_freedom(first: float, first_freedom: int, second: float, second_freedom: int) -> int:
    """Degrees of freedom of the sum of two variances, by F. Satterthwaite (1946) and B. Welch (1947)."""
    total = first**2 / first_freedom + second**2 / second_freedom
    return first_freedom if total == 0 else max(1, int((first + second) ** 2 / total))


def _default_method(observations: Observations) -> CovarianceMethod:
    if observations.repeats is not None and len(observations.repeats) > 2:
        return "repeats"
    return "newey-west" if observations.errors is None else "bound"


def _newey_west(scores: Float64[np.ndarray, "times free"]) -> Float64[np.ndarray, "free free"]:
    window = int(np.ceil(len(scores) ** 0.5))
    middle: Float64[np.ndarray, "free free"] = scores.T @ scores
    for lag in range(1, min(window, len(scores) - 1) + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        middle = middle + (1 - lag / (window + 1)) * (shifted + shifted.T)
    return middle


def lag_correlation(residuals: Float64[np.ndarray, "risks times"]) -> float:
    """The correlation of residuals at neighbouring times, over both risks; 0 where there are none."""
    total = float(np.sum(residuals**2))
    return float(np.sum(residuals[:, 1:] * residuals[:, :-1])) / total if total > 0 else 0.0
