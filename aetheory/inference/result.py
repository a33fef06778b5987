"""`Fit`, the result of `fit`: estimates, their intervals, the verdict and warnings."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64
from scipy.stats import t as student

from aetheory.core.curve import Curve
from aetheory.core.meaning import meaning
from aetheory.core.predict import predict
from aetheory.core.problem import AbstractProblem
from aetheory.inference.finite_size import Correction
from aetheory.inference.fit_problem import LINEAR, FitProblem, with_numbers
from aetheory.inference.uncertainty import Uncertainty
from aetheory.inference.verdict import Verdict, judge

_LARGEST_ERROR = 1.0
"""Standard error of a logarithm above which the parameter is called not identifiable: a factor e."""

_METHODS = {
    "repeats": "scatter of the repeats",
    "bound": "bound from standard errors",
    "simulations": "scatter of simulated draws",
    "newey-west": "Newey–West",
}


class Estimate(NamedTuple):
    """One parameter.

    Attributes:
        value: the estimate.
        standard_error: relative, that of the logarithm; absolute for a noise floor. Infinite where not determined.
        interval: the 95 % confidence interval.
        identifiable: whether the curve determines it, at least to within a factor e.
        at_bound: whether it ran into an end of its range, so that interval and standard error mean little.
    """

    value: float
    standard_error: float
    interval: tuple[float, float]
    identifiable: bool
    at_bound: bool


@dataclass(frozen=True)
class Fit(FitProblem):
    """The hyperparameters inferred from a curve, in the regime that explains it best: the answer to a `FitProblem`.

    Arguments:
        coordinates: of the free parameters: logarithms, but for a noise floor.
        uncertainty: their covariance, and what is not determined.
        fitted: the fitted risks, shape (num_risks, num_times).
        deviance: the weighted sum of squared residuals, no less than the accuracy of the model itself allows.
        converged: whether the least-squares solver did.
        num_agreeing: how many of the starts found the same minimum.
        num_starts: of how many.
        alternatives: the free parameters at other minima whose information criterion is within 10 of this one's.
        correction: the distance of simulations from the limit, which `fitted` includes; `None` without it.
        candidates: the fits of all regimes that were tried, best first, none of them corrected by simulations.

    Source: M. Branch, T. Coleman, Y. Li (1999); G. Schwarz (1978) for the criterion.
    """

    coordinates: Float64[np.ndarray, " free"]
    uncertainty: Uncertainty
    fitted: Float64[np.ndarray, "risks times"]
    deviance: float
    converged: bool
    num_agreeing: int
    num_starts: int
    alternatives: tuple[dict[str, float], ...]
    correction: Correction | None = field(default=None, repr=False)
    candidates: tuple["Fit", ...] = field(default=(), repr=False)

    @property
    def regime(self) -> str:
        """The theory's name."""
        return self.theory.name

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the theory explains the curve; where it does not, no interval is given."""
        return judge(self.observations, self.fitted, self.uncertainty.rank)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Estimates of every free parameter, and of the problem's `products` of them, such as c = Hσ² = xy."""
        gradients, (lower, upper) = dict(zip(self.free, np.eye(len(self.free)), strict=True)), self.ends
        for product, factors in self.problem.products.items():
            if set(factors) <= set(gradients):
                gradients[product] = np.sum([gradients[factor] for factor in factors], axis=0)
        near = np.minimum(self.coordinates - lower, upper - self.coordinates) < 5e-3 * (upper - lower)
        quantile, found = float(student.ppf(0.975, self.uncertainty.degrees_of_freedom)), {}
        for name, gradient in gradients.items():
            error, middle = self.uncertainty.standard_error(gradient), float(gradient @ self.coordinates)
            ends = np.array([middle - quantile * error, middle, middle + quantile * error])
            with np.errstate(over="ignore", invalid="ignore"):
                low, value, high = map(float, np.maximum(ends, 0) if name in LINEAR else np.exp(ends))
            known = math.isfinite(error) if name in LINEAR else error < _LARGEST_ERROR
            if self.verdict.answer != "explains":
                error, low, high = math.inf, 0.0, math.inf
            at_bound = name in self.free and bool(near[self.free.index(name)])
            found[name] = Estimate(value, error, (low, high), known, at_bound)
        return found

    @property
    def values(self) -> dict[str, float]:
        """Every parameter's value, fitted or fixed."""
        return self.fixed | {name: self.estimates[name].value for name in self.free}

    @property
    def bic(self) -> float:
        """Schwarz's Bayesian information criterion, n log(deviance/n) + k log n for the k that are determined."""
        count = self.fitted.size
        return count * math.log(self.deviance / count) + (self.uncertainty.rank + 1) * math.log(count)

    @property
    def not_identifiable(self) -> tuple[str, ...]:
        """The free parameters that the curve does not determine."""
        return tuple(name for name in self.free if not self.estimates[name].identifiable)

    @property
    def diagnostics(self) -> dict[str, float]:
        """Of the residuals: root mean square, and the correlation of (weighted) neighbours in time.

        A correlation near 1 means a poor model, or noise that is drawn once for all times.
        """
        residuals = self.observations.values - self.fitted
        weighted = residuals * self.observations.weights
        lagged = float(np.sum(weighted[:, 1:] * weighted[:, :-1]) / max(np.sum(weighted**2), np.finfo(float).tiny))
        return {"root_mean_square": float(np.sqrt(np.mean(residuals**2))), "lag_correlation": lagged}

    @property
    def messages(self) -> tuple[str, ...]:
        """Warnings to read before the estimates are used."""
        return tuple(self._messages())

    def _messages(self) -> Iterator[str]:
        if self.verdict.answer != "explains":
            yield f"The {self.regime} limit {self.verdict.answer}: {self.verdict.reason}"
        if self.verdict.answer == "does not explain" and "time_unit" not in self.free and self._counts_steps:
            yield "The times look like numbers of steps: make `time_unit` free, or convert them by `ae.flow_time`."
        if self.uncertainty.method == "newey-west" and self.input_dim is None and self.verdict.answer == "explains":
            simulated = ", or `input_dim` to simulate how draws differ" if self.problem.takes_input_dim else ""
            yield f"The intervals are of this one draw: give repeats{simulated}."
        if not self.converged:
            yield "The solver did not converge. Try other `bounds`, more `num_starts` or fewer parameters."
        for name in self.free:
            if not self.estimates[name].identifiable:
                yield f"`{name}` is not identifiable from this curve in the {self.regime} regime."
            elif self.estimates[name].at_bound:
                yield f"`{name}` ran into an end of its `bounds`."
        if self.input_dim is not None and not self.is_corrected and self.correction is None:
            why = "only the best candidate is, and only where every parameter is determined"
            yield f"The {self.regime} limit was not corrected for the finite size: {why}."
        if self.input_dim is not None and self.theory.left_out and self.verdict.answer == "explains":
            yield f"The {self.regime} limit leaves out {self.theory.left_out}, and the intervals do not include that."
        if self.correction is not None and not self.correction.settled:
            yield "The fit still moved when it was corrected again for the finite size. Try more `num_simulations`."
        sufficient = self.theory.is_approximate and self.verdict.answer == "explains"  # it has few starts
        if self.num_agreeing == 1 < self.num_starts and not sufficient:
            found = f"Only 1 of {self.num_starts} starts came to this minimum, and there may be a better one."
            yield f"{found} Try more `num_starts` or narrower `bounds`."
        for other in self.alternatives:
            yield f"Another minimum is nearly as good: {', '.join(f'{name} {one:.4g}' for name, one in other.items())}."

    @property
    def _counts_steps(self) -> bool:
        times = self.observations.times
        return bool((times == np.round(times)).all() and times[-1] > 20)

    def curve(self, times: Any = None) -> Curve:
        """The fitted limit of infinite size, with the noise floor.

        Arguments:
            times: in the recorded unit; those of the observations when omitted.
        """
        values = self.values
        recorded = jnp.asarray(self.observations.times if times is None else times, jnp.result_type(float))
        there = with_numbers(self.problem, {name: values[name] for name in self.problem.free_numbers})
        limit = predict(there, recorded * values["time_unit"], self.theory)
        risks = jax.tree.map(lambda risk: risk + values["noise_floor"], limit.values)
        return replace(limit, times=recorded, values=risks, stats=None, label=f"fit, {self.regime}")

    def to_dict(self) -> dict[str, Any]:
        """Results as JSON takes them, without the arrays; numbers that are not finite become `None`."""
        found = {
            "regime": self.regime,
            "verdict": self.verdict.answer,
            "estimates": {name: one._asdict() for name, one in self.estimates.items()},
            "fixed": self.fixed,
            "converged": self.converged,
            "messages": self.messages,
            "covariance_method": self.uncertainty.method,
            "num_simulations": 0 if self.correction is None else len(self.correction.repeats),
            "alternatives": self.alternatives,
            "diagnostics": self.diagnostics,
            "bic": {one.regime: one.bic for one in self.candidates or (self,)},
        }
        return {name: _as_json(one) for name, one in found.items()}

    def __str__(self) -> str:
        lines = [f"{self.regime} regime, {self.fitted.size} observations: {self.verdict.answer}", ""]
        lines.append(f"{'parameter':<15}{'estimate':>12}{'error':>10}   95 % interval")
        for name, one in self.estimates.items():
            error = f"{one.standard_error:.2g}" if name in LINEAR else f"{100 * one.standard_error:.2g} %"
            ends = f"[{one.interval[0]:.4g}, {one.interval[1]:.4g}]{' (at its bound)' * one.at_bound}"
            if self.verdict.answer != "explains":
                error, ends = "withheld", ""
            known = f"{one.value:>12.5g}{error:>10}   {ends}" if one.identifiable else "not identifiable".rjust(22)
            lines.append(f"{name:<15}{known}")
        lines += [f"{name:<15}{value:>12.5g}{'fixed':>10}" for name, value in self.fixed.items()]
        typical, lagged = self.diagnostics.values()
        residuals = f"root mean square {typical:.2g}, correlation of neighbours {lagged:.2f}"
        lines.append(f"\nintervals: {_METHODS[self.uncertainty.method]}; residuals: {residuals}")
        if self.correction is not None:
            sizes = _sizes(self.correction.problem)
            lines.append(f"corrected for finite size by {len(self.correction.repeats)} simulations of {sizes}")
        if len(self.candidates) > 1:
            above = (f"{one.regime} {one.bic - self.candidates[0].bic:.1f}" for one in self.candidates)
            lines.append(f"information criterion (BIC) above the best: {', '.join(above)}")
        return "\n".join([*lines, *self.messages])


def _sizes(problem: AbstractProblem) -> str:
    """Whole and infinite dimensions of a problem, each with its symbol."""
    sizes = []
    for one in dataclasses.fields(problem):
        value, symbol = getattr(problem, one.name), meaning(type(problem), one.name).symbol
        if symbol and (isinstance(value, int) or value == math.inf):
            sizes.append(f"{symbol} = {value}")
    return ", ".join(sizes)


def _as_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_json(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_as_json(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
