"""The prism of learning regimes: theory against simulation in each regime, and on real images.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the resummed series' exact curve: arXiv:2602.04548.
"""

import math
from collections.abc import Sequence
from functools import partial
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
from aetheory.reproduce.panel import Job, Panel, Rows, Sheet, Size

# For each size of the job: the dimension of the panels where all of them are large, with their repeats, and the
# repeats of the panels where one dimension is small, which are cheaper and noisier.
_SCALE: dict[Size, tuple[int, int, int]] = {"default": (100, 4, 8), "standard": (400, 8, 16), "full": (2000, 2, 16)}
# Of the panel of power laws: the dimension, that where few samples or latent units make it cheap, and how many regimes.
_GENERAL: dict[Size, tuple[int, int, int]] = {
    "default": (100, 500, 3),
    "standard": (160, 500, 4),
    "full": (400, 2000, 5),
}
_GENERAL_REPEATS = 8
_SMALLEST_RISK = 1e-5  # the lower end of a logarithmic axis of risks
_ORDER = 8  # the highest order of the expansion whose coefficients take about a second
_RESUMMATIONS = {"taylor": "Taylor", "pade": "Padé in $t$", "conformal-pade": r"Padé in $1-e^{-4t}$"}
_RISKS = ("train", "population")
_DEVIATIONS = tuple(
    f"{risk}_{kind}" for risk in _RISKS for kind in ("deviation", "relative_deviation", "standard_error")
)
_DIMENSIONS = ("input_dim", "latent_dim", "num_samples", "init_variance")
_SUMMARY = ("label", "regime", "time_unit", "located", "located_error", *_DIMENSIONS, *_DEVIATIONS)


class Case(NamedTuple):
    """A problem, its name in the legend, and its theory; `time_unit` multiplies the times of its chart."""

    label: str
    problem: ae.LinearProblem
    regime: str
    time_unit: float = 1.0


class Chart(NamedTuple):
    """Problems that share one pair of axes, their times, and the images of a simulation on real data.

    Where the initial scale x is far from 1, `scale` = x: risks are drawn in units of x², times in units of 1/x.
    """

    title: str
    cases: list[Case]
    times: Float[Array, " times"]
    num_repeats: int
    log_risk: bool = False
    scale: float = 1.0
    data: dict[str, Float[Array, "samples input_dim"]] | None = None


def job(size: Size, seed: int) -> Job:
    """Panels at one of three sizes, with dimensions deep in each regime; scaling laws; resummed expansions."""
    key, panels = jax.random.key(seed), []
    for place, (name, chart) in enumerate(charts(size).items()):
        compute = partial(compare_all, chart, jax.random.fold_in(key, place))
        draw = {"figure": partial(_draw, place=place, chart=chart)}
        panels.append(Panel(name, compute, draw, _SUMMARY, partial(_summary_rows, name)))
    panels.append(scaling_laws.panel(size, jax.random.fold_in(key, len(panels)), place=7))
    summary = ("end", *(f"{method}_deviation" for method in _RESUMMATIONS))
    panels.append(Panel("resummation", resummed, {"figure": _draw_resummed}, summary, _resummed_rows))
    return Job("prism", panels, {"figure": Sheet((2, 5), (20.5, 8.2), decorate=_decorate)})


def charts(size: Size) -> dict[str, Chart]:
    """The panels of regimes."""
    dim, dense, cheap = _SCALE[size]
    wide = min(2 * dim, 2000)  # where one of the other dimensions is small, p costs little
    return {
        "large-data": _large_data(dim, dense),
        "mean-field": _mean_field(dim, dense),
        "narrow-latent": _narrow_latent(wide, cheap),
        "small-data": _small_data(max(wide, 400), cheap),
        "free": _free(max(dim, 200), dense),
        "digits": _digits(cheap),
        "power-law": _power_law(*_GENERAL[size]),
    }


def _large_data(dim: int, num_repeats: int) -> Chart:
    cases = []
    for x, y in ((1.0, 0.5), (0.1, 1.0), (1.0, 2.0)):
        problem = ae.LinearProblem(dim, round(y * dim), 200 * dim, x / dim)
        cases.append(Case(rf"$p\sigma^2={x:g},\ H/p={y:g}$", problem, "large-data"))
    return Chart(rf"large data, $N/p=200$, $p={dim}$", cases, _times(1e-2, 2.0), num_repeats, log_risk=True)


def _mean_field(dim: int, num_repeats: int) -> Chart:
    cases = []
    for strength, z in ((0.1, 0.5), (0.5, 1.0), (2.0, 2.0)):
        problem = _wide(dim, round(dim / z), strength)
        cases.append(Case(rf"$H\sigma^2={strength:g},\ p/N={z:g}$", problem, "mean-field"))
    return Chart(rf"mean field, $H/p=1000$, $p={dim}$", cases, _times(1e-2, 10.0), num_repeats, log_risk=True)


def _wide(dim: int, num_samples: int, strength: float) -> ae.LinearProblem:
    """A problem of H/p = 1000 and Hσ² = `strength`."""
    return ae.LinearProblem(dim, 1000 * dim, num_samples, strength / (1000 * dim))


def _narrow_latent(dim: int, num_repeats: int) -> Chart:
    latent_dim, cases = max(1, dim // 200), []
    for x, z in ((0.1, 0.25), (0.4, 0.5), (2.0, 1.0)):
        problem = ae.LinearProblem(dim, latent_dim, round(dim / z), x / dim)
        cases.append(Case(rf"$p\sigma^2={x:g},\ p/N={z:g}$", problem, "narrow-latent"))
    return Chart(rf"narrow latent, $H={latent_dim}$, $p={dim}$", cases, _times(1e-2, 2.0), num_repeats)


def _small_data(dim: int, num_repeats: int) -> Chart:
    num_samples, cases = max(4, dim // 200), []
    for x in (0.3, 1.0, 1.5):
        problem = ae.LinearProblem(dim, dim // 2, num_samples, x / dim)
        cases.append(Case(rf"$p\sigma^2={x:g},\ H/p=0.5$", problem, "small-data"))
    z = dim / num_samples
    return Chart(rf"small data, $N={num_samples}$, $p={dim}$", cases, _times(1e-2 / z, 5.0 / z), num_repeats)


def _free(dim: int, num_repeats: int) -> Chart:
    x, cases = 1e4, []  # the target is a relative perturbation of order 1/x
    for y, z in ((0.5, 2.0), (0.7, 0.8), (1.6, 1.2)):
        problem = ae.LinearProblem(dim, round(y * dim), round(dim / z), x / dim)
        cases.append(Case(rf"$H/p={y:g},\ p/N={z:g}$", problem, "free"))
    times = _times(2e-2 / x, 1 / x)
    return Chart(rf"free, $p\sigma^2=10^4$, $p={dim}$", cases, times, num_repeats, log_risk=True, scale=x)


def _digits(num_repeats: int) -> Chart:
    """Mean-field training on 1297 of scikit-learn's digits, scaled to unit mean variance; 500 held out."""
    training, held_out = ae.load_images("digits").split(500, jax.random.key(0))
    unit = 1 / jnp.sqrt(jnp.trace(training.covariance) / training.input_dim)
    data = {"data": unit * training.samples, "held_out": unit * held_out.samples}
    num_samples, dim = training.samples.shape
    cases = []
    for strength in (0.1, 0.5, 2.0):
        cases.append(Case(rf"$H\sigma^2={strength:g}$", _wide(dim, num_samples, strength), "mean-field"))
    title = rf"digits, $p={dim}$, $N={num_samples}$, $H/p=1000$"
    return Chart(title, cases, _times(1e-2, 10.0), num_repeats, log_risk=True, data=data)


def _power_law(dim: int, wide: int, num_regimes: int) -> Chart:
    """Variances τ_i ∝ i^{−a}: a = .5, for which all regimes have theories, and a = 2, where the modes decouple."""
    few = max(2, wide // 250)
    shallow, steep, longer = _variances(dim, 0.5), _variances(dim, 2.0), _variances(wide, 0.5)
    rows = [
        ("mean-field", ".5", 1.0, _general(shallow, 1000 * dim, dim, 0.5 / 1000)),
        ("small-data", ".5", few / wide, _general(longer, wide // 8, few, 0.5)),
        ("decoupled-modes", "2", 1 / float(steep[0]), _general(steep, dim // 2, dim, 0.5)),
        ("narrow-latent", ".5", 1 / float(longer[0]), _general(longer, few, wide // 2, 0.5)),
        ("interior", ".5", 1.0, _general(shallow, dim // 2, dim, 0.5)),
    ]
    cases = [Case(f"{regime}, $a={a}$", problem, regime, unit) for regime, a, unit, problem in rows[:num_regimes]]
    return Chart(rf"$\tau_i\propto i^{{-a}}$, $p={dim}$ and ${wide}$", cases, _times(1e-2, 1.0), _GENERAL_REPEATS)


def _variances(dim: int, exponent: float) -> Float[Array, " dim"]:
    """Variances of a power law with mean 1."""
    variances = ae.GaussianSource.power_law(dim, exponent).variances
    return variances / jnp.mean(variances)


def _general(variances: Float[Array, " dim"], latent_dim: int, num_samples: int, scale: float) -> ae.LinearProblem:
    return ae.LinearProblem(len(variances), latent_dim, num_samples, scale / len(variances), covariance=variances)


def _times(first: float, last: float) -> Float[Array, " times"]:
    """0, for the deviation at the start, and 33 times evenly spaced in log t."""
    return jnp.concatenate([jnp.zeros(1), jnp.geomspace(first, last, 33)])


def compare_all(chart: Chart, key: PRNGKeyArray) -> xarray.Dataset:
    """Theory and simulation of all problems of a chart, over (setting, time)."""
    settings = [compare(case, chart, jax.random.fold_in(key, index)) for index, case in enumerate(chart.cases)]
    return xarray.concat(settings, "setting", join="override", combine_attrs="override")


def compare(case: Case, chart: Chart, key: PRNGKeyArray) -> xarray.Dataset:
    """Theory and simulation of one problem, over (setting, time), and the largest deviations between them.

    For each risk: the largest |theory − simulation| over the times, its share of the initial risk, and the largest
    standard error of the simulation.
    """
    problem, times = case.problem, case.time_unit * chart.times
    options: dict[str, Any] = chart.data or {}
    theory = ae.predict(problem, times, case.regime, **options)
    simulation: Any = ae.simulate(problem, times, key, num_repeats=chart.num_repeats, **options)
    variables: dict[str, Any] = {}
    for source, curve in (("theory", theory), ("simulation", simulation)):
        dataset = curve.to_xarray()
        variables |= {f"{source}_{name}": ("time", array.values) for name, array in dataset.data_vars.items()}
    for risk in _RISKS:
        simulated = np.asarray(simulation.values[risk])
        deviation = np.abs(np.asarray(theory.values[risk]) - simulated).max()
        variables[f"{risk}_deviation"] = deviation
        variables[f"{risk}_relative_deviation"] = deviation / simulated[0]
        variables[f"{risk}_standard_error"] = float(simulation.standard_error[risk].max())
    coordinates: dict[str, Any] = {name: float(getattr(problem, name)) for name in _DIMENSIONS}
    coordinates |= {"label": case.label, "regime": case.regime, "time_unit": case.time_unit}
    if not chart.data:  # `locate` describes Gaussian data
        place = ae.locate(problem)
        coordinates |= {"located": str(place.regime), "located_error": math.nan if place.error is None else place.error}
    data = xarray.Dataset(variables).expand_dims(setting=1)
    settings = {name: ("setting", [value]) for name, value in coordinates.items()}
    return data.assign_coords(settings | {"time": np.asarray(chart.times)}).assign_attrs(num_repeats=chart.num_repeats)


def _draw(axes: Sequence[Axes], data: xarray.Dataset, place: int, chart: Chart) -> None:
    """Theory as lines, simulation as dots with a band of one standard deviation."""
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
    if any(case.time_unit != 1 for case in chart.cases):
        ax.set_xlabel("flow time, in units of each regime")
    ax.legend(handles=handles, frameon=False, fontsize=8)
    ax.set_title(chart.title)


def _curve(row: xarray.Dataset, source: str, scale: float, num_repeats: int) -> ae.Curve:
    """The stored curve, with risks in units of `scale`² and times in units of 1/`scale`."""
    parts: list[Any] = []
    for suffix in ("", "_std", "_lower", "_upper"):
        names = {risk: f"{source}_{risk}{suffix}" for risk in _RISKS}
        values = {risk: jnp.asarray(row[name].values) / scale**2 for risk, name in names.items() if name in row}
        parts.append(ae.Values(**values) if values else None)
    values, std, lower, upper = parts
    return ae.Curve(jnp.asarray(row.time.values) * scale, values, std, lower, upper, num_repeats=num_repeats)


def _summary_rows(name: str, data: xarray.Dataset) -> Rows:
    shares = [f"{risk} {float(data[f'{risk}_relative_deviation'].max()):.2%}" for risk in _RISKS]
    yield f"{name}: deviation of theory from simulation, share of the initial risk", ", ".join(shares)


def resummed() -> xarray.Dataset:
    """The exact large-data curve at pσ² = 1, H/p = .5, and resummations of its first Taylor coefficients.

    The largest deviations, as shares of the initial risk, are given up to three times: half the radius of convergence,
    the radius, and the last time.
    """
    times, dim = jnp.linspace(0, 3, 121), 10**6
    problem = ae.LinearProblem(dim, dim // 2, float("inf"), 1 / dim)
    coefficients = [ae.expansion.planar(order, "population") for order in range(_ORDER + 1)]
    series = ae.expansion.taylor_series(coefficients, problem)
    sums = {method: ae.expansion.resum(series, times, method) for method in _RESUMMATIONS}
    radius = float(sums["taylor"].radius)
    exact, ends = ae.predict(problem, times, "large-data").train, (radius / 2, radius, float(times[-1]))
    variables = {"exact": ("time", np.asarray(exact))}
    for method, found in sums.items():
        share = np.asarray(jnp.abs(found.values - exact) / exact[0])
        variables[method] = ("time", np.asarray(found.values))
        variables[f"{method}_deviation"] = ("end", np.array([share[times <= end].max() for end in ends]))
    coordinates = {"time": np.asarray(times), "end": list(ends)}
    return xarray.Dataset(variables, coordinates, {"order": _ORDER, "radius": radius})


def _draw_resummed(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """The exact curve as a line, the resummations dashed, the radius of convergence dotted."""
    ax = axes[8]
    ax.plot(data.time, data.exact, color="0.15", linewidth=3, alpha=0.5, label="exact")
    for colour, (method, label) in zip(COLOURS, _RESUMMATIONS.items(), strict=False):
        ax.plot(data.time, data[method], color=colour, linestyle="--", linewidth=1.5, label=label)
    ax.axvline(data.radius, color="0.5", linestyle=":", linewidth=1)
    low, high = float(data.exact.min()), float(data.exact.max())
    ax.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    ax.set(xlabel=r"flow time $t$", title=rf"large data, {_ORDER + 1} terms of the expansion")


def _resummed_rows(data: xarray.Dataset) -> Rows:
    deviation = float(data["conformal-pade_deviation"][-1])
    yield "deviation of the resummed loss expansion from the exact curve, up to t = 3", f"{deviation:.2%}"


def _decorate(axes: Sequence[Axes]) -> None:
    """The prism itself, and a legend of lines and marks below all panels."""
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
