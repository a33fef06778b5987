"""Covariance of the parameters of a least-squares fit, and the directions that are not identifiable."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from aetheory.inference.observations import Observations

_SMALLEST_SINGULAR_VALUE = 1e-5
"""Relative to the largest; a direction in the parameters below it changes the curve by less than its accuracy."""

Method = Literal["repeats", "bound", "simulations", "newey-west"]
Risks = Float64[np.ndarray, "risks times"]
Square = Float64[np.ndarray, "free free"]


class Uncertainty(NamedTuple):
    """Covariance of a fit in its coordinates, and the directions that the fit does not determine.

    Arguments:
        covariance: shape (num_free, num_free), on the determined directions; those of `null_space` have none.
        degrees_of_freedom: of Student's t law for intervals.
        method: how the residuals' covariance was found.
        null_space: orthonormal directions that do not move the curve, shape (num_null, num_free).
        shifts: for "bound", how far one standard error of each observation moves each coordinate. The covariance is
            then diagonal, for correlations are not known.
        simulations: the part of the covariance that is the noise of a simulated correction.
    """

    covariance: Square
    degrees_of_freedom: int
    method: Method
    null_space: Float64[np.ndarray, "null free"]
    shifts: Float64[np.ndarray, "free observations"] | None = None
    simulations: Square | None = None

    @property
    def rank(self) -> int:
        """Number of determined directions in the parameters."""
        return len(self.covariance) - len(self.null_space)

    def standard_error(self, gradient: Float64[np.ndarray, " free"]) -> float:
        """Standard error of a function of the coordinates with this gradient; infinite where it is not determined."""
        if np.linalg.norm(self.null_space @ gradient) > 1e-2 * np.linalg.norm(gradient):
            return float("inf")
        if self.shifts is None:
            return float(np.sqrt(gradient @ self.covariance @ gradient))
        of_simulations = 0.0 if self.simulations is None else gradient @ self.simulations @ gradient
        return float(np.hypot(np.abs(gradient @ self.shifts).sum(), np.sqrt(of_simulations)))


def uncertainty(
    jacobian: Float64[np.ndarray, "risks times free"],
    residuals: Risks,
    observations: Observations,
    simulations: Float64[np.ndarray, "simulations risks times"] | None = None,
) -> Uncertainty:
    """The covariance of least squares whose residuals are observed minus fitted, at this Jacobian of the fitted curve.

    Noise of a simulated curve comes from a few random numbers drawn at time 0, so that it is correlated over all times,
    and the Gauss–Newton covariance far too small. The first of these that the observations allow:

    - ``"repeats"``, of three or more: the jackknife. How far one step of Gauss–Newton goes when each repeat in turn is
      left out, of the mean and of the errors behind the weights, which are part of the noise where repeats are few.
    - ``"bound"``: standard errors are known but not their correlations: the largest variance that any could give.
    - ``"simulations"``: of a single curve, how far the fits of simulated draws of the same problem lie apart.
    - ``"newey-west"``: (JᵀJ)⁻¹ [JᵀCJ] (JᵀJ)⁻¹ with correlations of the residuals over ⌈√n⌉ times, and in no direction
      less than s²(JᵀJ)⁻¹, which is exact for independent noise.

    The noise of `simulations`, whose mean has been taken off the observations, is added.

    Source: H. White (1980), W. Newey, K. West (1987) for the sandwich, J. MacKinnon, H. White (1985) for the leverage
    in it; M. Quenouille (1956), J. Tukey (1958) for the jackknife; F. Satterthwaite (1946), B. Welch (1947) for the
    degrees of freedom of a sum.
    """
    num_free, weights = jacobian.shape[-1], observations.weights
    weighted = jacobian * weights[..., None]
    flat = weighted.reshape(-1, num_free)
    _, singular, directions = np.linalg.svd(flat, full_matrices=len(flat) < num_free)
    singular = np.append(singular, np.zeros(num_free - len(singular)))
    kept = singular > _SMALLEST_SINGULAR_VALUE * max(singular[0], np.finfo(float).tiny)
    inverse = directions[kept].T / singular[kept] ** 2 @ directions[kept]
    method: Method = "newey-west"
    freedom, shifts, added = max(len(flat) - int(kept.sum()), 1), None, None
    if observations.repeats is not None and len(observations.repeats) > 2:
        method, freedom = "repeats", observations.num_repeats - 1
        covariance = _jackknife(jacobian @ directions[kept].T, residuals, observations, directions[kept])
    elif observations.errors is not None:
        method, freedom = "bound", max(observations.num_repeats - 1, 1)
        shifts = (inverse @ flat.T) * (observations.errors * weights).ravel()
        covariance = np.diag(np.sum(np.abs(shifts), axis=1) ** 2)
    elif simulations is not None:
        method, covariance = "simulations", np.zeros((num_free, num_free))
    else:
        covariance = _sandwich(weighted, residuals * weights, inverse, freedom)
    if simulations is not None:
        each = np.einsum("ktf,rkt->rf", weighted, (simulations - simulations.mean(axis=0)) * weights) @ inverse
        added = each.T @ each / (len(each) * (len(each) - 1))
        if method == "simulations":
            covariance, freedom = added * len(each), len(each) - 1
        first, second = np.trace(covariance), np.trace(added)
        if first + second > 0:
            freedom = max(1, int((first + second) ** 2 / (first**2 / freedom + second**2 / (len(each) - 1))))
        covariance = covariance + added
    return Uncertainty(covariance, freedom, method, directions[~kept], shifts, added)


def _jackknife(
    along: Float64[np.ndarray, "risks times rank"],
    residuals: Risks,
    observations: Observations,
    determined: Float64[np.ndarray, "rank free"],
) -> Square:
    """Jackknife covariance: (R − 1)/R times the scatter of the Gauss–Newton steps of all repeats but one."""
    steps = []
    for index in range(observations.num_repeats):
        others = observations.with_repeats(np.delete(np.asarray(observations.repeats), index, axis=0))
        moved = (residuals + others.values - observations.values) * others.weights
        weighted = (along * others.weights[..., None]).reshape(-1, len(determined))
        steps.append(np.linalg.lstsq(weighted, moved.ravel())[0] @ determined)
    deviations = np.asarray(steps) - np.mean(steps, axis=0)
    covariance: Square = deviations.T @ deviations * (len(steps) - 1) / len(steps)
    return covariance


def _sandwich(
    weighted: Float64[np.ndarray, "risks times free"], residuals: Risks, inverse: Square, freedom: int
) -> Square:
    """Covariance of correlated or of independent noise, in every direction the larger one.

    Residuals are divided by 1 − leverage: where few times decide on a parameter, the fit passes close to them.
    """
    leverage = np.einsum("ktf,fg,ktg->kt", weighted, inverse, weighted)
    scores = np.einsum("ktf,kt->tf", weighted, residuals / np.maximum(1 - leverage, 0.5 / residuals.size))
    correlated = inverse @ _newey_west(scores) @ inverse
    size, axes = np.linalg.eigh(inverse * np.sum(residuals**2) / freedom - correlated)
    larger: Square = correlated + axes * np.maximum(size, 0) @ axes.T
    return larger


def _newey_west(scores: Float64[np.ndarray, "times free"]) -> Square:
    """Σ_{s,t} (1 − |s−t|/(L+1))₊ of scores at s and t, L = ⌈√n⌉."""
    window = int(np.ceil(len(scores) ** 0.5))
    middle: Square = scores.T @ scores
    for lag in range(1, min(window, len(scores) - 1) + 1):
        shifted = scores[lag:].T @ scores[:-lag]
        middle = middle + (1 - lag / (window + 1)) * (shifted + shifted.T)
    return middle
