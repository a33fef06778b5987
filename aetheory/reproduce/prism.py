"""The prism of learning regimes: theory against simulation in each regime, and on real images.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the sums' exact curve: arXiv:2602.04548.
"""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

import aetheory as ae
from aetheory.plotting import COLOURS, plot, plot_prism
from aetheory.reproduce import scaling_laws
from aetheory.reproduce.panel import Job, Lines, Panel, Sheet, Size

# For each size of the job: the dimension of the panels where all of them are large, with their repeats, and the
# repeats of the panels where one dimension is small, which are cheaper and noisier.
_SCALE: dict[Size, tuple[int, int, int]] = {"default": (100, 4, 8), "standard": (400, 8, 16), "full": (2000, 2, 16)}
# Of the panel of power laws: the dimension, that where few samples or latent units make it cheap, and how many regimes.
_GENERAL: dict[Size, tuple[int, int, int]] = {
    "default": (100, 500, 3),
    "standard": (160, 500, 4),
    "full": (400, 2000, 5),
}
_SMALLEST_RISK = 1e-5  # smaller ones are of no use to a reader
_ORDER = 8  # of the sums: the highest whose coefficients take about a second
_SUMS = {"taylor": "Taylor", "pade": "Padé in $t$", "conformal-pade": r"Padé in $1-e^{-4t}$"}
_RISKS = ("train", "population")


class Setting(NamedTuple):
    """One problem with the theory that should describe it, how the legend names it, and the key of its draws.

    The times of its chart are in units of its `unit`.
    """

    label: str
    problem: ae.LinearProblem
    regime: str
    key: PRNGKeyArray
    unit: float = 1.0


class Chart(NamedTuple):
    """Problems that share one pair of axes, their times, and for images the options of a simulation that hold them.

    Where the initial scale x is far from 1, `scale` = x: risks are drawn in units of x², times in units of 1/x.
    Where problems lie in several regimes, `own` has the regime and the unit of time of each.
    """

    title: str
    problems: dict[str, ae.LinearProblem]
    times: Float[Array, " times"]
    log_risk: bool = False
    scale: float = 1.0
    data: dict[str, Float[Array, "samples input_dim"]] | None = None
    own: dict[str, tuple[str, float]] = {}  # noqa: RUF012  (never changed)


def job(size: Size, seed: int) -> Job:
    """Panels at one of three sizes, of dimensions deep in each regime; scaling laws, and sums of the expansion."""
    panels = []
    for place, (name, (chart, num_repeats)) in enumerate(charts(size).items()):
        key, regime = jax.random.fold_in(jax.random.key(seed), place), "mean-field" if chart.data else name
        settings = []
        for index, (label, problem) in enumerate(chart.problems.items()):
            own, unit = chart.own.get(label, (regime, 1.0))
            settings.append(Setting(label, problem, own, jax.random.fold_in(key, index), unit))
        draw, compute = partial(_draw, place=place, chart=chart), partial(compare, chart=chart, num_repeats=num_repeats)
        summarise, lines = partial(_summarise, settings, not chart.data), partial(_lines, name)
        panels.append(Panel(name, settings, compute, {"figure": draw}, summarise, lines, dim="setting"))
    panels.append(scaling_laws.panel(size, jax.random.fold_in(jax.random.key(seed), len(panels)), place=7))
    panels.append(Panel("resummation", [None], _sums, {"figure": _draw_sums}, _summarise_sums, _sums_lines))
    return Job("prism", panels, {"figure": Sheet((2, 5), (20.5, 8.2), decorate=_decorate)})


def charts(size: Size) -> dict[str, tuple[Chart, int]]:
    """What the panels of regimes show, and the repeats of their simulations."""
    dim, dense, cheap = _SCALE[size]
    wide = min(2 * dim, 2000)  # where one of the other dimensions is small, p costs little
    return {
        "large-data": (_large_data(dim), dense),
        "mean-field": (_mean_field(dim), dense),
        "narrow-latent": (_narrow_latent(wide), cheap),
        "small-data": (_small_data(max(wide, 400)), cheap),
        "free": (_free(max(dim, 200)), dense),
        "digits": (_digits(), cheap),
        "power-law": (_power_law(*_GENERAL[size]), 8),
    }


def _large_data(dim: int) -> Chart:
    problems = {
        rf"$p\sigma^2={x:g},\ H/p={y:g}$": ae.LinearProblem(dim, round(y * dim), 200 * dim, x / dim)
        for x, y in ((1.0, 0.5), (0.1, 1.0), (1.0, 2.0))
    }
    return Chart(rf"large data, $N/p=200$, $p={dim}$", problems, _times(1e-2, 2.0), log_risk=True)


def _mean_field(dim: int) -> Chart:
    problems = {
        rf"$H\sigma^2={strength:g},\ p/N={z:g}$": _wide(dim, round(dim / z), strength)
        for strength, z in ((0.1, 0.5), (0.5, 1.0), (2.0, 2.0))
    }
    return Chart(rf"mean field, $H/p=1000$, $p={dim}$", problems, _times(1e-2, 10.0), log_risk=True)


def _wide(dim: int, num_samples: int, strength: float) -> ae.LinearProblem:
    return ae.LinearProblem(dim, 1000 * dim, num_samples, strength / (1000 * dim))


def _narrow_latent(dim: int) -> Chart:
    latent_dim = max(1, dim // 200)
    problems = {
        rf"$p\sigma^2={x:g},\ p/N={z:g}$": ae.LinearProblem(dim, latent_dim, round(dim / z), x / dim)
        for x, z in ((0.1, 0.25), (0.4, 0.5), (2.0, 1.0))
    }
    return Chart(rf"narrow latent, $H={latent_dim}$, $p={dim}$", problems, _times(1e-2, 2.0))


def _small_data(dim: int) -> Chart:
    num_samples = max(4, dim // 200)
    z, scales = dim / num_samples, (0.3, 1.0, 1.5)
    problems = {rf"$p\sigma^2={x:g},\ H/p=0.5$": ae.LinearProblem(dim, dim // 2, num_samples, x / dim) for x in scales}
    return Chart(rf"small data, $N={num_samples}$, $p={dim}$", problems, _times(1e-2 / z, 5.0 / z))


def _free(dim: int) -> Chart:
    x = 1e4  # the target is a relative perturbation of order 1/x
    problems = {
        rf"$H/p={y:g},\ p/N={z:g}$": ae.LinearProblem(dim, round(y * dim), round(dim / z), x / dim)
        for y, z in ((0.5, 2.0), (0.7, 0.8), (1.6, 1.2))
    }
    title, times = rf"free, $p\sigma^2=10^4$, $p={dim}$", _times(2e-2 / x, 1 / x)
    return Chart(title, problems, times, log_risk=True, scale=x)


def _digits() -> Chart:
    """Mean-field training on 1297 of scikit-learn's digits, scaled to unit mean variance; 500 held out."""
    training, held_out = ae.load_images("digits").split(500, jax.random.key(0))
    unit = 1 / jnp.sqrt(jnp.trace(training.covariance) / training.input_dim)
    data = {"data": unit * training.samples, "held_out": unit * held_out.samples}
    num_samples, dim = training.samples.shape
    problems = {rf"$H\sigma^2={strength:g}$": _wide(dim, num_samples, strength) for strength in (0.1, 0.5, 2.0)}
    title = rf"digits, $p={dim}$, $N={num_samples}$, $H/p=1000$"
    return Chart(title, problems, _times(1e-2, 10.0), log_risk=True, data=data)


def _power_law(dim: int, wide: int, num_regimes: int) -> Chart:
    """Variances τ_i ∝ i^{−a}: a = .5, which all regimes know, and a = 2, where the modes decouple."""
    few = max(2, wide // 250)
    shallow, steep, longer = _variances(dim, 0.5), _variances(dim, 2.0), _variances(wide, 0.5)
    rows = [
        ("mean-field, $a=.5$", 1.0, _general(shallow, 1000 * dim, dim, 0.5 / 1000)),
        ("small-data, $a=.5$", few / wide, _general(longer, wide // 8, few, 0.5)),
        ("decoupled-modes, $a=2$", 1 / float(steep[0]), _general(steep, dim // 2, dim, 0.5)),
        ("narrow-latent, $a=.5$", 1 / float(longer[0]), _general(longer, few, wide // 2, 0.5)),
        ("interior, $a=.5$", 1.0, _general(shallow, dim // 2, dim, 0.5)),
    ][:num_regimes]
    problems = {label: problem for label, _, problem in rows}
    own = {label: (label.split(",")[0], unit) for label, unit, _ in rows}
    return Chart(rf"$\tau_i\propto i^{{-a}}$, $p={dim}$ and ${wide}$", problems, _times(1e-2, 1.0), own=own)


def _variances(dim: int, exponent: float) -> Float[Array, " dim"]:
    """Of mean 1."""
    variances = ae.GaussianSource.power_law(dim, exponent).variances
    return variances / jnp.mean(variances)


def _general(variances: Float[Array, " dim"], latent_dim: int, num_samples: int, scale: float) -> ae.LinearProblem:
    return ae.LinearProblem(len(variances), latent_dim, num_samples, scale / len(variances), covariance=variances)


def _times(first: float, last: float) -> Float[Array, " times"]:
    """0, for the deviation at the start, and evenly spread in log t after it."""
    return jnp.concatenate([jnp.zeros(1), jnp.geomspace(first, last, 33)])


def compare(setting: Setting, _: Path, chart: Chart, num_repeats: int) -> xarray.Dataset:
    """Theory and simulation of one setting, over (setting, time), with the problem as coordinates."""
    label, problem, regime, key, unit = setting
    data: dict[str, Any] = chart.data or {}
    theory = ae.predict(problem, unit * chart.times, regime, **data)
    curves = {
        "theory": theory,
        "simulation": ae.simulate(problem, unit * chart.times, key, num_repeats=num_repeats, **data),
    }
    datasets = []
    for source, curve in curves.items():
        dataset = curve.to_xarray()
        datasets.append(dataset.rename({name: f"{source}_{name}" for name in dataset.data_vars}))
    both = xarray.merge(datasets, combine_attrs="drop").expand_dims(setting=1)
    both = both.assign_coords(time=np.asarray(chart.times))  # of which all settings have the same
    names = ("input_dim", "latent_dim", "num_samples", "init_variance")
    coordinates = {name: ("setting", [float(getattr(problem, name))]) for name in names}
    return both.assign_coords({"label": ("setting", [label])} | coordinates).assign_attrs(num_repeats=num_repeats)


def _draw(axes: Sequence[Axes], data: xarray.Dataset, place: int, chart: Chart) -> None:
    """Theory as lines, simulation as dots with a band of one deviation."""
    ax, handles = axes[place], []
    for index, colour in zip(range(data.sizes["setting"]), COLOURS, strict=False):
        row = data.isel(setting=index)
        for source, count in (("theory", 0), ("simulation", data.attrs["num_repeats"])):
            plot(_curve(row, source, chart.scale, count), ax, colour=colour)
        handles.append(Line2D([], [], color=colour, linewidth=4, label=str(row.label.item())))
    ax.set_xscale("log")
    if chart.log_risk:
        ax.set_yscale("log")
        ax.set_ylim(bottom=max(_SMALLEST_RISK, ax.get_ylim()[0]))
    if chart.scale != 1:
        ax.set(xlabel=r"$p\sigma^2\, t$", ylabel=r"risk $R/(p\sigma^2)^2$")
    if chart.own:
        ax.set_xlabel("flow time, in units of each regime")
    ax.legend(handles=handles, frameon=False, fontsize=8)
    ax.set_title(chart.title)


def _curve(row: xarray.Dataset, source: str, scale: float, num_repeats: int) -> ae.Curve:
    """The curve again, in units of x² and 1/x."""
    parts: list[Any] = []
    for end in ("", "_std", "_lower", "_upper"):
        found = {risk: row[f"{source}_{risk}{end}"] for risk in _RISKS if f"{source}_{risk}{end}" in row}
        named = {risk: jnp.asarray(array.values) / scale**2 for risk, array in found.items()}
        parts.append(ae.Values(**named) if named else None)
    values, std, lower, upper = parts
    times = jnp.asarray(row.time.values) * scale
    return ae.Curve(times, values, std, lower, upper, num_repeats=num_repeats)


def _summarise(settings: Sequence[Setting], gaussian: bool, data: xarray.Dataset) -> dict[str, Any]:
    """Each setting's deviations, and the largest of them."""
    told, count = [], data.attrs["num_repeats"]
    for index, (label, problem, regime, _, unit) in enumerate(settings):
        one = {
            "label": label,
            "regime": regime,
            "num_repeats": count,
            "time_unit": unit,
            "init_variance": float(problem.init_variance),
        }
        one |= {name: int(getattr(problem, name)) for name in ("input_dim", "latent_dim", "num_samples")}
        one["located"] = None
        if gaussian:  # which is all that `locate` knows
            where = ae.locate(problem)
            one["located"] = {"kind": where.kind, "faces": [*where.faces], "error": where.error, "time": where.time}
        told.append(one | _deviations(data.isel(setting=index), count))
    return {"settings": told} | {name: max(one[name] for one in told) for name in told[0] if name.startswith(_RISKS)}


def _deviations(row: xarray.Dataset, num_repeats: int) -> dict[str, float]:
    """The largest |theory − simulation| over the times, its share of the initial risk, and the noise."""
    told = {}
    for risk in _RISKS:
        theory, simulation = row[f"theory_{risk}"].values, row[f"simulation_{risk}"].values
        told[f"{risk}_deviation"] = deviation = float(np.abs(theory - simulation).max())
        told[f"{risk}_deviation_relative"] = deviation / float(simulation[0])
        told[f"{risk}_standard_error"] = float(row[f"simulation_{risk}_std"].max()) / math.sqrt(num_repeats)
    return told


def _lines(name: str, told: dict[str, Any]) -> Lines:
    shares = (f"{risk} {told[f'{risk}_deviation_relative']:.2%}" for risk in _RISKS)
    yield f"{name}: theory off simulation, share of the initial risk", ", ".join(shares)


def _sums(_: None, __: Path) -> xarray.Dataset:
    """The exact large-data curve at pσ² = 1, H/p = .5, and what the first Taylor coefficients make of it."""
    times, dim = jnp.linspace(0, 3, 121), 10**6
    problem = ae.LinearProblem(dim, dim // 2, float("inf"), 1 / dim)
    coefficients = [ae.expansion.planar(order, "population") for order in range(_ORDER + 1)]
    series = ae.expansion.taylor_series(coefficients, problem)
    sums = {method: ae.expansion.resum(series, times, method) for method in _SUMS}
    curves = {"exact": ae.predict(problem, times, "large-data").train}
    curves |= {method: found.values for method, found in sums.items()}
    variables = {name: ("time", np.asarray(values)) for name, values in curves.items()}
    attributes = {"order": _ORDER, "radius": float(sums["taylor"].radius)}
    return xarray.Dataset(variables, {"time": np.asarray(times)}, attributes)


def _draw_sums(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """The exact curve as a line, the sums as dashes, the radius of convergence as a dotted one."""
    ax = axes[8]
    ax.plot(data.time, data.exact, color="0.15", linewidth=3, alpha=0.5, label="exact")
    for colour, (method, label) in zip(COLOURS, _SUMS.items(), strict=False):
        ax.plot(data.time, data[method], color=colour, linestyle="--", linewidth=1.5, label=label)
    ax.axvline(data.radius, color="0.5", linestyle=":", linewidth=1)
    low, high = float(data.exact.min()), float(data.exact.max())
    ax.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    ax.set(xlabel=r"flow time $t$", title=rf"large data, {_ORDER + 1} terms of the expansion")


def _summarise_sums(data: xarray.Dataset) -> dict[str, Any]:
    """The largest |sum − exact| up to three times, as a share of the initial risk."""
    radius = data.attrs["radius"]
    ends = {"half_radius": radius / 2, "radius": radius, "last_time": float(data.time[-1])}
    deviations = {}
    for method in _SUMS:
        share = abs(data[method] - data.exact) / data.exact[0]
        deviations[method] = {name: float(share.sel(time=slice(0, end)).max()) for name, end in ends.items()}
    return {"order": data.attrs["order"], "radius": radius, "deviations": deviations}


def _sums_lines(told: dict[str, Any]) -> Lines:
    found = told["deviations"]["conformal-pade"]["last_time"]
    yield "sum of the loss expansion off the exact curve, up to t = 3", f"{found:.2%}"


def _decorate(axes: Sequence[Axes]) -> None:
    """The prism itself, and below all panels what lines and marks mean."""
    figure = axes[9].figure
    plot_prism(ax=figure.add_subplot(axes[9].get_subplotspec(), projection="3d"))
    axes[9].set_title("the prism of monomials")
    axes[9].set_axis_off()
    look: dict[str, Any] = {"color": "0.35"}
    dots: dict[str, Any] = look | {"linestyle": "none", "markersize": 4}
    handles = [
        Line2D([], [], **look, label="theory, train"),
        Line2D([], [], **look, linestyle="--", label="theory, population"),
        Line2D([], [], **dots, marker="o", label="simulation, train"),
        Line2D([], [], **dots, marker="s", markerfacecolor="none", label="simulation, population (digits: held out)"),
        Patch(
            facecolor="0.35",
            alpha=0.18,
            label="one standard deviation over draws; bracket of the theory in (e), interior of (g)",
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
