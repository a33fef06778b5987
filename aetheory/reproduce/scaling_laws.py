"""Scaling laws on a power-law spectrum: the risk over time, samples and latent units, and the exponents it follows.

Derived in this library; see `aetheory.scaling`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
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
from aetheory.reproduce.panel import Lines, Panel, Size

_DECAY = 2.0  # a; closer to 1 no dimension that can be simulated shows three decades
_STRENGTH = 0.01  # c = Hσ², small
_LARGE = 100_000  # the dimension of the lines, which are computed and not simulated
_WIDE = 1000  # H/p that stands for infinity
_DOTS = 5  # the most simulations of one law
_LAWS = {"time": r"$\tau_1t$", "samples": "$N$", "latents": "$H$"}
# The dimension of the simulations, the samples or latent units of each, and their repeats.
_SCALE: dict[Size, tuple[int, tuple[int, ...], int]] = {
    "default": (100, (8,), 2),
    "standard": (100, (5, 10), 6),
    "full": (200, (4, 8, 16, 32), 8),
}


def panel(size: Size, key: PRNGKeyArray, place: int) -> Panel:
    """The three laws in one pair of axes, the one at `place`."""
    compute, draw = partial(compare, size=size, key=key), partial(_draw, place=place)
    return Panel("scaling-laws", list(_LAWS), compute, {"figure": draw}, _summarise, _lines, dim="law")


def compare(law: str, _: Path, size: Size, key: PRNGKeyArray) -> xarray.Dataset:
    """The exact curve over three decades, its law and fitted exponent, and simulations; risks in units of τ₁/p.

    Over (law, point) and (law, dot); time is in units of 1/τ₁. One flow has five dots, all others have one.
    """
    dim, sizes, num_repeats = _SCALE[size]
    large, small = PowerLaw(_DECAY, _LARGE), PowerLaw(_DECAY, dim)
    x = np.unique(np.geomspace(5, 5000, 13).round())
    dots = np.geomspace(4, 100, _DOTS) if law == "time" else np.array(sizes, float)
    unit, line, curve = float(large.top) / _LARGE, _law(law, large, x), _exact(law, large, x)
    fitted = fit_exponent(x, curve)
    exact_there = np.asarray(_exact(law, small, dots))
    mean, error = _simulate(law, small, dots, jax.random.fold_in(key, list(_LAWS).index(law)), num_repeats)
    scale = float(small.top) / dim
    variables: dict[str, Any] = {
        "x": ("point", x),
        "exact": ("point", np.asarray(curve) / unit),
        "predicted": ("point", np.asarray(line) / unit),
        "dots": ("dot", dots),
        "simulated": ("dot", mean / scale),
        "standard_error": ("dot", error / scale),
        "exact_there": ("dot", exact_there / scale),
        "fitted_exponent": float(fitted.exponent),
        "exponent": float(large.time_exponent if law == "time" else large.size_exponent),
    }
    found = xarray.Dataset(variables).pad(dot=(0, _DOTS - len(dots)))
    return found.expand_dims(law=[law])


def _law(law: str, spectrum: PowerLaw, x: Any) -> Float[Array, " points"]:
    if law == "time":
        return spectrum.over_time(x / spectrum.top, _STRENGTH)
    return spectrum.over_samples(x, _STRENGTH) if law == "samples" else spectrum.over_latents(x)


def _exact(law: str, spectrum: PowerLaw, x: Any) -> Float[Array, " points"]:
    """What the law is the limit of: at N = H = ∞, at t = H = ∞ and at t = N = ∞."""
    variances = spectrum.variances
    if law == "time":
        ratios = ae.LinearRatios(_STRENGTH / _WIDE, float(_WIDE), 0.0, covariance=variances)
        risks: Float[Array, " points"] = ae.predict(ratios, x / spectrum.top, "mean-field").population
    elif law == "samples":
        risks = jax.jit(jax.vmap(lambda one: unseen_risk(variances, one, _STRENGTH)))(x)
    else:
        risks = jnp.stack([tail_risk(variances, int(one)) for one in x])
    return risks


def _simulate(
    law: str, spectrum: PowerLaw, dots: Any, key: PRNGKeyArray, num_repeats: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of the population risk: along one flow, or at the end of one for each size."""
    dim, top = spectrum.input_dim, spectrum.top
    ends: list[Any]
    if law == "time":
        wide = _WIDE * dim
        problem = ae.LinearProblem(dim, wide, jnp.inf, _STRENGTH / wide, covariance=spectrum.variances)
        ends = [ae.simulate(problem, dots / top, key, num_repeats=num_repeats)]
    else:
        ends = [_trained(law, spectrum, int(size), key, num_repeats) for size in dots]
    risks = np.concatenate([np.asarray(one.population) for one in ends])
    return risks, np.concatenate([np.asarray(one.standard_error.population) for one in ends])


def _trained(law: str, spectrum: PowerLaw, size: int, key: PRNGKeyArray, num_repeats: int) -> ae.Curve:
    """The end of a flow that runs for several times the crossover, when what can be learnt is."""
    dim, crossover = spectrum.input_dim, spectrum.crossover_time(size)
    latents, samples, late = (_WIDE * dim, size, 4) if law == "samples" else (size, jnp.inf, 12)
    problem = ae.LinearProblem(dim, latents, samples, _STRENGTH / latents, covariance=spectrum.variances)
    return ae.simulate(problem, late * crossover[None], key, num_repeats=num_repeats)


def _draw(axes: Sequence[Axes], data: xarray.Dataset, place: int) -> None:
    """Exact curves as lines, the laws as dashes; simulations with error bars, and dotted what is exact at their p."""
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


def _summarise(data: xarray.Dataset) -> dict[str, Any]:
    """By law the exponents, and by which shares simulations are off the exact curve of their own dimension."""
    told = {}
    for law in data.law.values:
        row = data.sel(law=law).dropna("dot")
        told[str(law)] = {
            "fitted_exponent": float(row.fitted_exponent),
            "exponent": float(row.exponent),
            "deviations": (row.simulated / row.exact_there - 1).values.tolist(),
            "standard_errors": (row.standard_error / row.exact_there).values.tolist(),
        }
    return told


def _lines(told: dict[str, Any]) -> Lines:
    shares = (f"{law} {one['fitted_exponent']:.3f} ({one['exponent']:g})" for law, one in told.items())
    yield "scaling laws: exponent over three decades, fitted (predicted)", ", ".join(shares)
