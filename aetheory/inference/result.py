"""What a fit returns."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64
from scipy.stats import t as student

from aetheory.core.curve import Curve
from aetheory.core.predict import predict
from aetheory.core.problem import AbstractProblem
from aetheory.core.theory import AbstractTheory
from aetheory.inference.finite_size import Correction, has_formula
from aetheory.inference.observations import Observations
from aetheory.inference.uncertainty import Uncertainty, lag_correlation

_LARGEST_ERROR = 1.0
"""In a logarithm: a parameter that is only known to within a factor e is not identified by the data."""


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

    @classmethod
    def of(
        cls,
        coordinate: float,
        gradient: Float64[np.ndarray, " free"],
        uncertain: Uncertainty,
        linear: bool,
        at_bound: bool,
    ) -> "Estimate":
        """From a coordinate of the fit and its gradient in all of them."""
        error = uncertain.standard_error(gradient)
        reach = float(student.ppf(0.975, uncertain.degrees_of_freedom)) * error
        if linear:
            ends = (max(0.0, float(coordinate) - reach), float(coordinate) + reach)
            return cls(float(coordinate), error, ends, math.isfinite(error), at_bound)
        largest = math.log(np.finfo(float).max)
        lower, upper = math.exp(max(coordinate - reach, -largest)), math.exp(min(coordinate + reach, largest))
        ends = (lower, upper) if math.isfinite(error) else (0.0, math.inf)
        return cls(math.exp(coordinate), error, ends, error < _LARGEST_ERROR, at_bound)


class Alternative(NamedTuple):
    """Another minimum that explains the curve nearly as well.

    Attributes:
        values: of the free parameters.
        excess: of its information criterion over that of the fit, before any correction by simulations.
    """

    values: dict[str, float]
    excess: float


@dataclass(frozen=True)
class Fit:
    """The hyperparameters inferred from a curve, in the regime that explains it best.

    Arguments:
        theory: the limit.
        problem: what its numbers are of.
        estimates: of every free parameter and of "init_strength" c = Hσ² = xy.
        fixed: the values of the others.
        free: the names of the free parameters, as in the rows of `uncertainty.covariance`.
        uncertainty: the covariance in the logarithms of the parameters and what is not determined.
        observations: what was fitted.
        fitted: the fitted risks, shape (num_risks, num_times).
        weights: of the residuals.
        deviance: the weighted sum of squared residuals, no less than the accuracy of the model itself allows.
        converged: whether the least-squares solver did.
        num_steps: its steps.
        num_agreeing, num_starts: how many of the starts found the same minimum.
        alternatives: other minima whose information criterion is within 10 of this one's.
        input_dim: p, where it was given.
        correction: the distance of simulations from the limit, which `fitted` includes; `None` without it.
        candidates: the fits of all regimes that were tried, best first, none of them corrected by simulations.

    Source: K. Levenberg (1944), D. Marquardt (1963); G. Schwarz (1978) for the criterion.
    """

    theory: AbstractTheory
    problem: AbstractProblem
    estimates: dict[str, Estimate]
    fixed: dict[str, float]
    free: tuple[str, ...]
    uncertainty: Uncertainty
    observations: Observations
    fitted: Float64[np.ndarray, "risks times"]
    weights: Float64[np.ndarray, "risks times"]
    deviance: float
    converged: bool
    num_steps: int
    num_agreeing: int
    num_starts: int
    alternatives: tuple[Alternative, ...] = ()
    input_dim: int | None = None
    correction: Correction | None = field(default=None, repr=False)
    candidates: tuple["Fit", ...] = field(default=(), repr=False)

    def beside(self, candidates: tuple["Fit", ...]) -> "Fit":
        """This fit with the others that were tried."""
        return replace(self, candidates=candidates)

    @property
    def name(self) -> str:
        """The theory's name."""
        return self.theory.name

    @property
    def regime(self) -> str:
        """The same, as it is called for linear problems."""
        return self.theory.name

    @property
    def values(self) -> dict[str, float]:
        """Every parameter's value, fitted or fixed."""
        return self.fixed | {name: self.estimates[name].value for name in self.free}

    @property
    def residuals(self) -> Float64[np.ndarray, "risks times"]:
        """Observed minus fitted."""
        left: Float64[np.ndarray, "risks times"] = self.observations.values - self.fitted
        return left

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
    def correctable(self) -> bool:
        """Whether simulations at this fit can tell how far problems of the known size are from the limit.

        They need every parameter; and a correction that is known in closed form is in the limit already.
        """
        return self._limit_is_infinite and self.converged and not self.not_identifiable

    @property
    def _limit_is_infinite(self) -> bool:
        """Whether p is known but plays no part in the limit."""
        return self.input_dim is not None and not has_formula(self.theory)

    @property
    def diagnostics(self) -> dict[str, float]:
        """Of the residuals: root mean square, largest, correlation of neighbours; of the Jacobian: condition number.

        A correlation near 1 means a poor model, or noise that is drawn once for all times.
        """
        residuals, singular = self.residuals, self.uncertainty.singular_values
        rank = max(self.uncertainty.rank, 1)
        return {
            "root_mean_square": float(np.sqrt(np.mean(residuals**2))),
            "largest": float(np.abs(residuals).max()),
            "lag_correlation": lag_correlation(residuals * self.weights),
            "condition_number": float(singular[0] / singular[rank - 1]) if singular[rank - 1] > 0 else math.inf,
        }

    @property
    def messages(self) -> tuple[str, ...]:
        """What is to be known before the numbers are trusted."""
        found = []
        if not self.converged:
            found.append(
                f"The least-squares solver did not converge in {self.num_steps} steps. Try other `bounds`, a `start`, "
                "more `num_starts` or fewer free parameters."
            )
        for name in self.free:
            if name in self.not_identifiable:
                found.append(f"`{name}` is not identifiable from this curve in the {self.name} regime.")
            elif self.estimates[name].at_bound:
                found.append(f"`{name}` ran into an end of its `bounds`.")
        if self._limit_is_infinite and self.correction is None:
            reason = "only the best candidate is" if self.correctable else "simulations need every parameter"
            found.append(f"The {self.name} limit was not corrected for the finite size: {reason}.")
        if self.correction is not None and not self.correction.settled:
            found.append(
                "The fit still moved when it was corrected again for the finite size. Try more `num_simulations`, or "
                "fewer free parameters."
            )
        if self.num_starts > 1 and self.num_agreeing == 1:
            found.append(
                f"Only 1 of {self.num_starts} starts came to this minimum, and there may be a better one. Try more "
                "`num_starts`, narrower `bounds` or a `start`."
            )
        for other in self.alternatives:
            values = ", ".join(f"{name} {value:.4g}" for name, value in other.values.items())
            found.append(f"Another minimum is nearly as good (BIC {other.excess:+.1f}): {values}.")
        if self.observations.errors is None and self._misses:
            found.append(
                f"The residuals keep their sign over neighbouring times (correlation "
                f"{self.diagnostics['lag_correlation']:.2f}): the limit misses the curve, or its noise is common to "
                "all times."
            )
        return tuple(found)

    @property
    def _misses(self) -> bool:
        """Whether residuals that are not a matter of rounding go together."""
        found = self.diagnostics
        visible = found["root_mean_square"] > 1e-4 * np.abs(self.observations.values).max()
        return bool(visible) and found["lag_correlation"] > 0.7

    def curve(self, times: Any = None) -> Curve:
        """The fitted limit of infinite size, with the noise floor.

        Arguments:
            times: in the recorded unit; those of the observations when omitted.
        """
        values = self.values
        recorded = jnp.asarray(self.observations.times if times is None else times, jnp.result_type(float))
        there = replace(self.problem, **{name: values[name] for name in self.problem.free_numbers})
        limit = predict(there, recorded * values["time_unit"], self.theory)
        floor = values["noise_floor"]
        values = jax.tree.map(lambda risk: risk + floor, limit.values)
        return replace(limit, times=recorded, values=values, stats=None, label=f"fit, {self.name}")

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON takes it: numbers that are not finite become `None`."""
        estimates = {
            name: {
                "value": one.value,
                "standard_error": _finite(one.standard_error),
                "interval": [_finite(end) for end in one.interval],
                "identifiable": one.identifiable,
                "at_bound": one.at_bound,
            }
            for name, one in self.estimates.items()
        }
        return {
            "regime": self.name,
            "estimates": estimates,
            "fixed": self.fixed,
            "converged": self.converged,
            "messages": list(self.messages),
            "covariance_method": self.uncertainty.method,
            "num_simulations": 0 if self.correction is None else len(self.correction.repeats),
            "alternatives": [{"values": one.values, "bic_excess": one.excess} for one in self.alternatives],
            "diagnostics": {name: _finite(value) for name, value in self.diagnostics.items()},
            "bic": {one.name: _finite(one.bic) for one in self.candidates or (self,)},
        }

    def __str__(self) -> str:
        lines = [f"{self.name} regime, {self.fitted.size} observations", ""]
        lines.append(f"{'parameter':<15}{'estimate':>12}{'error':>10}   95 % interval")
        for name, one in self.estimates.items():
            if not one.identifiable:
                lines.append(f"{name:<15}{'not identifiable':>22}")
                continue
            error = f"{one.standard_error:.2g}" if name == "noise_floor" else f"{100 * one.standard_error:.2g} %"
            ends = f"[{one.interval[0]:.4g}, {one.interval[1]:.4g}]"
            lines.append(f"{name:<15}{one.value:>12.5g}{error:>10}   {ends}{' (at its bound)' * one.at_bound}")
        lines += [f"{name:<15}{value:>12.5g}{'fixed':>10}" for name, value in self.fixed.items()]
        kinds = {
            "repeats": "scatter of the repeats",
            "bound": "bound from standard errors",
            "newey-west": "Newey–West",
            "gauss-newton": "Gauss–Newton, independent noise",
        }
        found = self.diagnostics
        lines.append("")
        lines.append(
            f"intervals: {kinds[self.uncertainty.method]}; residuals: root mean square "
            f"{found['root_mean_square']:.2g}, correlation of neighbours {found['lag_correlation']:.2f}"
        )
        if self.correction is not None:
            problem = self.correction.problem
            lines.append(
                f"corrected for finite size by {len(self.correction.repeats)} simulations of p = "
                f"{problem.input_dim}, H = {problem.latent_dim}, N = {problem.num_samples}"
            )
        if len(self.candidates) > 1:
            best = self.candidates[0].bic
            lines.append("information criterion (BIC) above the best: ")
            lines[-1] += ", ".join(f"{one.name} {one.bic - best:.1f}" for one in self.candidates)
        lines += list(self.messages)
        return "\n".join(lines)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
