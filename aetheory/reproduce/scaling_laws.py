"""Scaling laws on a power-law spectrum: risk against time, samples and latent units, with fitted exponents.

Derived in this library; see `aetheory.scaling`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes

import aetheory as ae
from aetheory.linear.scaling import PowerLaw, fit_exponent, tail_risk, unseen_risk
from aetheory.plotting import COLOURS
from aetheory.reproduce.panel import Panel, Rows, Size

_DECAY = 2.0  # a; closer to 1 no dimension that can be simulated shows three decades
_STRENGTH = 0.01  # c = Hσ², small
_LINE_DIM = 100_000  # the dimension of the exact curves, which is too large for simulations
_WIDE = 1000  # H/p that stands for infinity
_NUM_DOTS = 5  # the largest number of simulations of one law
_LAWS = {"time": r"$\tau_1t$", "samples": "$N$", "latents": "$H$"}
# The dimension of the simulations, their numbers of samples or latent units, and their repeats.
_SCALE: dict[Size, tuple[int, tuple[int, ...], int]] = {
    "default": (100, (8,), 2),
    "standard": (100, (5, 10), 6),
    "full": (200, (4, 8, 16, 32), 8),
}
_SUMMARY = ("law", "fitted_exponent", "exponent", "dots", "relative_deviation", "relative_standard_error")


def panel(size: Size, key: PRNGKeyArray, place: int) -> Panel:
    """The three laws in the axes at `place`."""

    def compute() -> xarray.Dataset:
        return xarray.concat([compare(law, size, key) for law in _LAWS], "law")

    return Panel("scaling-laws", compute, {"figure": partial(_draw, place=place)}, _SUMMARY, _summary_rows)


def compare(law: str, size: Size, key: PRNGKeyArray) -> xarray.Dataset:
    """Exact curve over three decades, its law and fitted exponent, and simulations; risks in units of τ₁/p.

    Over (law, point) and (law, dot); time is in units of 1/τ₁. The law over time has five dots, of one flow.
    """
    dim, sizes, num_repeats = _SCALE[size]
    large, small = PowerLaw(_DECAY, _LINE_DIM), PowerLaw(_DECAY, dim)
    x = np.unique(np.geomspace(5, 5000, 13).round())
    dots = np.geomspace(4, 100, _NUM_DOTS) if law == "time" else np.array(sizes, float)
    exact = np.asarray(_exact(law, large, x))
    exact_there = np.asarray(_exact(law, small, dots))
    mean, error = _simulate(law, small, dots, jax.random.fold_in(key, list(_LAWS).index(law)), num_repeats)
    unit, small_unit = float(large.top) / _LINE_DIM, float(small.top) / dim
    variables: dict[str, Any] = {
        "x": ("point", x),
        "exact": ("point", exact / unit),
        "predicted": ("point", np.asarray(_law(law, large, x)) / unit),
        "dots": ("dot", dots),
        "simulated": ("dot", mean / small_unit),
        "standard_error": ("dot", error / small_unit),
        "exact_there": ("dot", exact_there / small_unit),
        "relative_deviation": ("dot", mean / exact_there - 1),
        "relative_standard_error": ("dot", error / exact_there),
        "fitted_exponent": float(fit_exponent(x, exact).exponent),
        "exponent": float(large.time_exponent if law == "time" else large.size_exponent),
    }
    return xarray.Dataset(variables).pad(dot=(0, _NUM_DOTS - len(dots))).expand_dims(law=[law])


def _law(law: str, spectrum: PowerLaw, x: Any) -> Float[Array, " points"]:
    """The asymptotic power law."""
    if law == "time":
        return spectrum.over_time(x / spectrum.top, _STRENGTH)
    return spectrum.over_samples(x, _STRENGTH) if law == "samples" else spectrum.over_latents(x)


def _exact(law: str, spectrum: PowerLaw, x: Any) -> Float[Array, " points"]:
    """The risk whose limit the law is: at N = H = ∞, at t = H = ∞ and at t = N = ∞."""
    variances = spectrum.variances
    if law == "samples":
        risk: Float[Array, " points"] = jax.jit(jax.vmap(lambda one: unseen_risk(variances, one, _STRENGTH)))(x)
    elif law == "latents":
        risk = jnp.stack([tail_risk(variances, int(one)) for one in x])
    else:
        ratios = ae.LinearRatios(_STRENGTH / _WIDE, float(_WIDE), 0.0, covariance=variances)
        risk = ae.predict(ratios, x / spectrum.top, "mean-field").population
    return risk


def _simulate(
    law: str, spectrum: PowerLaw, dots: Any, key: PRNGKeyArray, num_repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of the population risk: along one flow, or at the end of one flow for each size."""
    dim = spectrum.input_dim
    if law == "time":
        runs = [(_WIDE * dim, jnp.inf, dots / spectrum.top)]
    elif law == "samples":  # the flows run for several times the crossover
        runs = [(_WIDE * dim, int(size), 4 * spectrum.crossover_time(int(size))[None]) for size in dots]
    else:
        runs = [(int(size), jnp.inf, 12 * spectrum.crossover_time(int(size))[None]) for size in dots]
    means, errors = [], []
    for latents, samples, times in runs:
        problem = ae.LinearProblem(dim, latents, samples, _STRENGTH / latents, covariance=spectrum.variances)
        curve: Any = ae.simulate(problem, times, key, num_repeats=num_repeats)
        means.append(np.asarray(curve.population))
        errors.append(np.asarray(curve.standard_error.population))
    return np.concatenate(means), np.concatenate(errors)


def _draw(axes: Sequence[Axes], data: xarray.Dataset, place: int) -> None:
    """Exact curves as lines, the laws dashed, simulations with error bars, exact values at their p dotted."""
    ax = axes[place]
    for law, colour in zip(data.law.values, COLOURS, strict=False):
        row = data.sel(law=law)
        look: dict[str, Any] = {"color": colour}
        label = f"over {_LAWS[law]}: exponent {float(row.fitted_exponent):.3f} (predicted {float(row.exponent):g})"
        ax.plot(row.x, row.exact, **look, linewidth=1.5, label=label)
        ax.plot(row.x, row.predicted, **look, linestyle="--", linewidth=1)
        ax.plot(row.dots, row.exact_there, **look, linestyle=":", linewidth=1)
        ax.errorbar(row.dots, row.simulated, row.standard_error, **look, linestyle="none", marker="o", markersize=4)
    ax.set(xscale="log", yscale="log", xlabel=r"$\tau_1t$, $N$ or $H$", ylabel=r"population risk $R\,/\,(\tau_1/p)$")
    ax.set_title(rf"scaling laws, $\tau_i\propto i^{{-{_DECAY:g}}}$")


def _summary_rows(data: xarray.Dataset) -> Rows:
    rows = [data.sel(law=law) for law in data.law.values]
    exponents = [f"{row.law.item()} {row.fitted_exponent.item():.3f} ({row.exponent.item():g})" for row in rows]
    yield "scaling laws: exponent over three decades, fitted (predicted)", ", ".join(exponents)
