"""Sums of the loss expansion against the curve it expands, in the large-data regime, where that is known.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the exact curve: arXiv:2602.04548.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from aetheory.core.predict import predict
from aetheory.linear.expansion.resummation import resum
from aetheory.linear.expansion.series import planar, taylor_series
from aetheory.linear.problem import LinearProblem
from aetheory.plotting import COLOURS

ORDER = 8
"""Order of the expansion: the highest whose coefficients take about a second."""

_METHODS = {"taylor": "Taylor", "pade": "Padé in $t$", "conformal-pade": r"Padé in $1-e^{-4t}$"}


@dataclass(frozen=True)
class Sums:
    """The exact curve, and what finitely many of its Taylor coefficients make of it.

    Arguments:
        times: shape (times,).
        exact: the large-data risk.
        values: for each method, the sum of the first `ORDER` + 1 terms.
        radius: estimated radius of convergence of the series in t.
    """

    times: Float[Array, " times"]
    exact: Float[Array, " times"]
    values: dict[str, Float[Array, " times"]]
    radius: float

    def deviation(self, method: str, latest_time: float) -> float:
        """The largest |sum − exact| up to a time, as a share of the initial risk."""
        inside = self.times <= latest_time
        error = jnp.abs(self.values[method] - self.exact)
        return float(jnp.max(jnp.where(inside, error, 0)) / self.exact[0])


def compute() -> Sums:
    """All three sums at pσ² = 1, H/p = .5, for times up to 3."""
    times = jnp.linspace(0, 3, 121)
    dim = 10**6
    problem = LinearProblem(dim, dim // 2, float("inf"), 1 / dim)
    series = taylor_series([planar(order, "population") for order in range(ORDER + 1)], problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # beyond the radius is what the panel shows
        sums = {method: resum(series, times, method) for method in _METHODS}
    return Sums(
        times,
        predict(problem, times, "large-data").train,
        {method: result.values for method, result in sums.items()},
        float(sums["taylor"].radius),
    )


def draw(ax: Axes, sums: Sums) -> None:
    """The exact curve as a line, the sums as dashes, the radius of convergence as a dotted one."""
    ax.plot(sums.times, sums.exact, color="0.15", linewidth=3, alpha=0.5, label="exact")
    for colour, (method, label) in zip(COLOURS, _METHODS.items(), strict=False):
        ax.plot(sums.times, sums.values[method], color=colour, linestyle="--", linewidth=1.5, label=label)
    ax.axvline(sums.radius, color="0.5", linestyle=":", linewidth=1)
    exact = np.asarray(sums.exact)
    span = exact.max() - exact.min()
    ax.set_ylim(exact.min() - 0.15 * span, exact.max() + 0.15 * span)
    ax.set_xlabel(r"flow time $t$")
    ax.legend(frameon=False, fontsize=8)


def summarise(sums: Sums) -> dict[str, Any]:
    """Radius of convergence, and each sum's deviation inside it and up to the last time, ready for JSON."""
    within = float(sums.times[-1])
    return {
        "order": ORDER,
        "radius": sums.radius,
        "deviations": {
            method: {
                "half_radius": sums.deviation(method, sums.radius / 2),
                "radius": sums.deviation(method, sums.radius),
                "last_time": sums.deviation(method, within),
            }
            for method in _METHODS
        },
    }


def to_dataset(sums: Sums) -> xarray.Dataset:
    """The exact curve and the sums over time."""
    curves = {"exact": sums.exact, **{name.replace("-", "_"): values for name, values in sums.values.items()}}
    return xarray.Dataset(
        {name: ("time", np.asarray(values)) for name, values in curves.items()},
        coords={"time": np.asarray(sums.times)},
        attrs={"title": "sums of the loss expansion, large-data regime", "order": ORDER, "radius": sums.radius},
    )
