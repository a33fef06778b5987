"""Whether a fitted theory explains the observations, before any number of the fit is trusted."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.stats import f as fisher
from scipy.stats import norm

from aetheory.inference.observations import Observations

Answer = Literal["explains", "does not explain", "cannot tell"]

_CHANCE = 1e-3
"""Significance level of the two tests: noise is taken for a curve, or systematic residuals for noise."""

_VISIBLE = 0.02
"""Residual that is accepted whatever the noise, as a share of the observed range: no size is infinite."""

_DEVIATIONS = 3.0
"""Residual that is accepted, in standard deviations of the noise."""


class Verdict(NamedTuple):
    """Whether a theory explains a curve, with the reason.

    Attributes:
        answer: whether the theory "explains" the curve, "does not explain" it, or the curve "cannot tell".
        reason: a sentence.
    """

    answer: Answer
    reason: str


def judge(observations: Observations, fitted: Float64[np.ndarray, "risks times"], rank: int) -> Verdict:
    """Verdict on a fitted theory: its residuals are compared with a constant, with the noise and with chance.

    Noise around a constant carries no information; a curve for which the theory does no more than a constant, by the
    F test, is not explained. Otherwise the theory does not explain the curve where its residuals are larger than the
    noise and than a fiftieth of the curve's range, and keep their sign for longer than chance allows. The noise is the
    standard error where it is known; for a single curve it is the median of its second differences, which smooth curves
    leave small.

    Arguments:
        observations: what was observed.
        fitted: the theory there.
        rank: how many parameters were determined.

    Source: R. Fisher (1925) for the F test; A. Wald, J. Wolfowitz (1940) for that of runs.
    """
    residuals, values = observations.values - fitted, observations.values
    spread = values - values.mean(axis=1, keepdims=True)
    left = values.size - len(values) - rank
    if left < 1:
        return Verdict("cannot tell", f"{values.size} observations are too few to test {rank} parameters.")
    explained, missed = float(np.sum(spread**2) - np.sum(residuals**2)), float(np.sum(residuals**2))
    noise = _noise(observations)
    if explained / max(rank, 1) < fisher.ppf(1 - _CHANCE, max(rank, 1), left) * missed / left:
        if (np.sqrt(np.mean(spread**2, axis=1)) < 2 * noise).all():
            return Verdict("cannot tell", "a constant explains the curve as well.")
        return Verdict("does not explain", "the theory comes no closer to the curve than a constant.")
    for name, row, missing, errors in zip(observations.risks, values, residuals, noise, strict=True):
        size, extent = float(np.sqrt(np.mean(missing**2))), float(np.ptp(row))
        if size > max(_DEVIATIONS * errors, _VISIBLE * extent) and _too_few_runs(missing):
            found = (
                f"misses its {name} risk by {size:.2g}, where that varies by {extent:.2g} with a noise of {errors:.2g}"
            )
            return Verdict("does not explain", f"the theory {found}.")
    return Verdict("explains", "what is left of the curve is no larger than its noise, or a fiftieth of its range.")


def _noise(observations: Observations) -> Float64[np.ndarray, " risks"]:
    """Standard deviation of the noise of each risk."""
    if observations.errors is not None:
        known: Float64[np.ndarray, " risks"] = np.sqrt(np.mean(observations.errors**2, axis=1))
        return known
    if observations.times.size < 3:
        return np.zeros(len(observations.values))
    bends = np.abs(np.diff(observations.values, 2, axis=1))
    # the median of |g| is .67, and a second difference has the variance of 1 + 4 + 1 terms
    found: Float64[np.ndarray, " risks"] = np.median(bends, axis=1) / (float(norm.ppf(0.75)) * 6**0.5)
    return found


def _too_few_runs(residuals: Float64[np.ndarray, " times"]) -> bool:
    """Whether residuals have so few runs of one sign that independent noise is unlikely."""
    above = int(np.sum(residuals > 0))
    below, count = residuals.size - above, residuals.size
    if min(above, below) == 0:
        return 0.5 ** (count - 1) < _CHANCE
    runs, mean = 1 + int(np.sum(np.diff(residuals > 0))), 2 * above * below / count
    deviation = (mean * (mean - 1) / (count - 1)) ** 0.5 if count > 1 else 0.0
    return bool(runs < 1 + mean + float(norm.ppf(_CHANCE)) * deviation)
