"""The prism of learning regimes: theory against simulation in each regime, and on real images.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335; the sums' exact curve: arXiv:2602.04548.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
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

from aetheory.core.curve import Curve, Values
from aetheory.core.predict import predict
from aetheory.core.simulate import simulate
from aetheory.linear.expansion import planar, resum, taylor_series
from aetheory.linear.locate import locate
from aetheory.linear.problem import LinearProblem
from aetheory.plotting import COLOURS, plot, plot_prism
from aetheory.reproduce.panel import Headline, Job, Panel, Sheet, Size
from aetheory.sources.images import load_images

# For each size of the job: the dimension of the panels where all of them are large, with their repeats, and the
# repeats of the panels where one dimension is small, which are cheaper and noisier.
_SCALE: dict[Size, tuple[int, int, int]] = {"quick": (100, 4, 8), "default": (400, 8, 16), "full": (2000, 2, 16)}
_SMALLEST_RISK = 1e-5  # smaller ones are of no use to a reader
_ORDER = 8  # of the sums: the highest whose coefficients take about a second
_SUMS = {"taylor": "Taylor", "pade": "Padé in $t$", "conformal-pade": r"Padé in $1-e^{-4t}$"}
_RISKS = ("train", "population")


class Setting(NamedTuple):
    """One problem with the theory that should describe it, how the legend names it, and the key of its draws."""

    label: str
    problem: LinearProblem
    regime: str
    key: PRNGKeyArray


def job(size: Size, seed: int) -> Job:
    """Six panels at one of three sizes, of dimensions deep in each regime, and the sums of the loss expansion."""
    dim, dense_repeats, cheap_repeats = _SCALE[size]
    wide = min(2 * dim, 2000)  # where one of the other dimensions is small, p costs little
    makers = (
        (_large_data, dim, dense_repeats),
        (_mean_field, dim, dense_repeats),
        (_narrow_latent, wide, cheap_repeats),
        (_small_data, max(wide, 400), cheap_repeats),
        (_free, max(dim, 200), dense_repeats),
        (_digits, 0, cheap_repeats),
    )
    key = jax.random.key(seed)
    panels = [
        make(n, repeats, place, jax.random.fold_in(key, place)) for place, (make, n, repeats) in enumerate(makers)
    ]
    sums = Panel("resummation", [None], _sums, {"figure": _draw_sums}, _summarise_sums, _sums_headlines)
    return Job("prism", [*panels, sums], {"figure": Sheet((2, 4), (16.5, 8.2), decorate=_decorate)})


def _large_data(dim: int, num_repeats: int, place: int, key: PRNGKeyArray) -> Panel:
    problems = {
        rf"$p\sigma^2={scale:g},\ H/p={ratio:g}$": LinearProblem(dim, round(ratio * dim), 200 * dim, scale / dim)
        for scale, ratio in ((1.0, 0.5), (0.1, 1.0), (1.0, 2.0))
    }
    title = rf"large data, $N/p=200$, $p={dim}$"
    return _panel("large-data", title, problems, _times(1e-2, 2.0), num_repeats, place, key, log_risk=True)


def _mean_field(dim: int, num_repeats: int, place: int, key: PRNGKeyArray) -> Panel:
    wide = 1000 * dim
    problems = {
        rf"$H\sigma^2={strength:g},\ p/N={ratio:g}$": LinearProblem(dim, wide, round(dim / ratio), strength / wide)
        for strength, ratio in ((0.1, 0.5), (0.5, 1.0), (2.0, 2.0))
    }
    title = rf"mean field, $H/p=1000$, $p={dim}$"
    return _panel("mean-field", title, problems, _times(1e-2, 10.0), num_repeats, place, key, log_risk=True)


def _narrow_latent(dim: int, num_repeats: int, place: int, key: PRNGKeyArray) -> Panel:
    latent_dim = max(1, dim // 200)
    problems = {
        rf"$p\sigma^2={scale:g},\ p/N={ratio:g}$": LinearProblem(dim, latent_dim, round(dim / ratio), scale / dim)
        for scale, ratio in ((0.1, 0.25), (0.4, 0.5), (2.0, 1.0))
    }
    title = rf"narrow latent, $H={latent_dim}$, $p={dim}$"
    return _panel("narrow-latent", title, problems, _times(1e-2, 2.0), num_repeats, place, key)


def _small_data(dim: int, num_repeats: int, place: int, key: PRNGKeyArray) -> Panel:
    num_samples = max(4, dim // 200)
    problems = {
        rf"$p\sigma^2={scale:g},\ H/p=0.5$": LinearProblem(dim, dim // 2, num_samples, scale / dim)
        for scale in (0.3, 1.0, 1.5)
    }
    title, times = rf"small data, $N={num_samples}$, $p={dim}$", num_samples / dim * _times(1e-2, 5.0)
    return _panel("small-data", title, problems, times, num_repeats, place, key)


def _free(dim: int, num_repeats: int, place: int, key: PRNGKeyArray) -> Panel:
    scale = 1e4  # the target is a relative perturbation of order 1/scale
    problems = {
        rf"$H/p={latent:g},\ p/N={sample:g}$": LinearProblem(dim, round(latent * dim), round(dim / sample), scale / dim)
        for latent, sample in ((0.5, 2.0), (0.7, 0.8), (1.6, 1.2))
    }
    title, times = rf"free, $p\sigma^2=10^4$, $p={dim}$", _times(2e-2 / scale, 1 / scale)
    return _panel("free", title, problems, times, num_repeats, place, key, log_risk=True, scale=scale)


def _digits(_: int, num_repeats: int, place: int, key: PRNGKeyArray) -> Panel:
    """Mean-field training on 1297 of scikit-learn's digits, scaled to unit mean variance; 500 held out."""
    training, held_out = load_images("digits").split(500, jax.random.key(0))
    unit = 1 / jnp.sqrt(jnp.trace(training.covariance) / training.input_dim)
    data = {"data": unit * training.samples, "held_out": unit * held_out.samples}
    (num_samples, dim), wide = training.samples.shape, 1000 * training.input_dim
    problems = {
        rf"$H\sigma^2={strength:g}$": LinearProblem(dim, wide, num_samples, strength / wide)
        for strength in (0.1, 0.5, 2.0)
    }
    title, times = rf"digits, $p={dim}$, $N={num_samples}$, $H/p=1000$", _times(1e-2, 10.0)
    return _panel("digits", title, problems, times, num_repeats, place, key, regime="mean-field", log_risk=True, **data)


def _times(first: float, last: float) -> Float[Array, " times"]:
    """0, for the deviation at the start, and evenly spread in log t after it."""
    return jnp.concatenate([jnp.zeros(1), jnp.geomspace(first, last, 33)])


def _panel(
    name: str,
    title: str,
    problems: Mapping[str, LinearProblem],
    times: Float[Array, " times"],
    num_repeats: int,
    place: int,
    key: PRNGKeyArray,
    *,
    regime: str = "",
    log_risk: bool = False,
    scale: float = 1.0,
    **data: Float[Array, "samples input_dim"],
) -> Panel:
    """Problems that share one pair of axes, and for images the options that hold them.

    Where the initial scale x is far from 1, `scale` = x: risks are drawn in units of x², times in units of 1/x.
    """
    settings = [
        Setting(label, problem, regime or name, jax.random.fold_in(key, index))
        for index, (label, problem) in enumerate(problems.items())
    ]
    return Panel(
        name,
        settings,
        partial(compare, times=times, num_repeats=num_repeats, **data),
        {"figure": partial(_draw, place=place, title=title, log_risk=log_risk, scale=scale)},
        partial(_summarise, settings, not data),
        partial(_headlines, name),
        dim="setting",
    )


def compare(
    setting: Setting, _: Path, *, times: Float[Array, " times"], num_repeats: int, **data: Any
) -> xarray.Dataset:
    """Theory and simulation of one setting, over (setting, time), with the problem as coordinates."""
    problem = setting.problem
    curves = {
        "theory": predict(problem, times, setting.regime, **data),
        "simulation": simulate(problem, times, setting.key, num_repeats=num_repeats, **data),
    }
    datasets = [curve.to_xarray() for curve in curves.values()]
    named = [
        dataset.rename({name: f"{source}_{name}" for name in dataset.data_vars})
        for source, dataset in zip(curves, datasets, strict=True)
    ]
    coordinates = {
        name: ("setting", [float(getattr(problem, name))])
        for name in ("input_dim", "latent_dim", "num_samples", "init_variance")
    }
    both = xarray.merge(named, combine_attrs="drop").expand_dims("setting")
    return both.assign_coords(label=("setting", [setting.label]), **coordinates).assign_attrs(num_repeats=num_repeats)


def _draw(axes: Sequence[Axes], data: xarray.Dataset, *, place: int, title: str, log_risk: bool, scale: float) -> None:
    """Theory as lines, simulation as dots with a band of one deviation."""
    ax = axes[place]
    handles = []
    for colour, index in zip(COLOURS, range(data.sizes["setting"]), strict=False):
        row = data.isel(setting=index)
        for source in ("theory", "simulation"):
            plot(_curve(row, source, scale), ax, colour=colour)
        handles.append(Line2D([], [], color=colour, linewidth=4, label=str(row.label.item())))
    ax.set_xscale("log")
    if log_risk:
        ax.set_yscale("log")
        ax.set_ylim(bottom=max(_SMALLEST_RISK, ax.get_ylim()[0]))
    if scale != 1:
        ax.set_xlabel(r"$p\sigma^2\, t$")
        ax.set_ylabel(r"risk $R/(p\sigma^2)^2$")
    ax.legend(handles=handles, frameon=False, fontsize=8)
    ax.set_title(title)


def _curve(row: xarray.Dataset, source: str, scale: float) -> Curve:
    """The curve again, in units of x² and 1/x."""

    def values(end: str) -> Values | None:
        names = {risk: f"{source}_{risk}{end}" for risk in _RISKS}
        found = {risk: jnp.asarray(row[name].values) / scale**2 for risk, name in names.items() if name in row}
        return Values(**found) if found else None

    repeats = row.attrs["num_repeats"] if source == "simulation" else 0
    times = jnp.asarray(row.time.values) * scale
    curve = values("")
    assert curve is not None
    return Curve(times, curve, values("_std"), values("_lower"), values("_upper"), num_repeats=repeats)


def _summarise(settings: Sequence[Setting], gaussian: bool, data: xarray.Dataset) -> dict[str, Any]:
    """Each setting's deviations, and the largest of them."""
    told = []
    for index, (label, problem, regime, _) in enumerate(settings):
        sizes = {name: int(getattr(problem, name)) for name in ("input_dim", "latent_dim", "num_samples")}
        told.append(
            {"label": label, "regime": regime, **sizes, "init_variance": float(problem.init_variance)}
            | {"num_repeats": data.attrs["num_repeats"], "located": _located(problem) if gaussian else None}
            | _deviations(data.isel(setting=index))
        )
    measured = [name for name in told[0] if name.startswith(_RISKS)]
    return {"settings": told} | {name: max(one[name] for one in told) for name in measured}


def _deviations(row: xarray.Dataset) -> dict[str, float]:
    """The largest |theory − simulation| over the times, its share of the initial risk, and what to measure it against."""
    told = {}
    for risk in _RISKS:
        theory, simulation = row[f"theory_{risk}"].values, row[f"simulation_{risk}"].values
        told[f"{risk}_deviation"] = float(np.abs(theory - simulation).max())
        told[f"{risk}_deviation_relative"] = told[f"{risk}_deviation"] / float(simulation[0])
        deviation = float(row[f"simulation_{risk}_std"].max())
        told[f"{risk}_standard_error"] = deviation / row.attrs["num_repeats"] ** 0.5
    return told


def _located(problem: LinearProblem) -> dict[str, Any]:
    """Where `locate` puts the problem; it knows Gaussian data only."""
    location = locate(problem)
    return {"kind": location.kind, "faces": list(location.faces), "error": location.error, "time": location.time}


def _headlines(name: str, told: dict[str, Any]) -> Iterator[Headline]:
    shares = ", ".join(f"{risk} {told[f'{risk}_deviation_relative']:.2%}" for risk in _RISKS)
    yield f"{name}: theory off simulation, share of the initial risk", shares


def _sums(_: None, __: Path) -> xarray.Dataset:
    """The exact large-data curve at pσ² = 1, H/p = .5, and what the first Taylor coefficients make of it."""
    times, dim = jnp.linspace(0, 3, 121), 10**6
    problem = LinearProblem(dim, dim // 2, float("inf"), 1 / dim)
    series = taylor_series([planar(order, "population") for order in range(_ORDER + 1)], problem)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # beyond the radius is what the panel shows
        sums = {method: resum(series, times, method) for method in _SUMS}
    curves = {"exact": predict(problem, times, "large-data").train} | {name: one.values for name, one in sums.items()}
    return xarray.Dataset(
        {name: ("time", np.asarray(values)) for name, values in curves.items()},
        coords={"time": np.asarray(times)},
        attrs={"order": _ORDER, "radius": float(sums["taylor"].radius)},
    )


def _draw_sums(axes: Sequence[Axes], data: xarray.Dataset) -> None:
    """The exact curve as a line, the sums as dashes, the radius of convergence as a dotted one."""
    ax = axes[6]
    ax.plot(data.time, data.exact, color="0.15", linewidth=3, alpha=0.5, label="exact")
    for colour, (method, label) in zip(COLOURS, _SUMS.items(), strict=False):
        ax.plot(data.time, data[method], color=colour, linestyle="--", linewidth=1.5, label=label)
    ax.axvline(data.radius, color="0.5", linestyle=":", linewidth=1)
    low, high = float(data.exact.min()), float(data.exact.max())
    ax.set_ylim(low - 0.15 * (high - low), high + 0.15 * (high - low))
    ax.set_xlabel(r"flow time $t$")
    ax.legend(frameon=False, fontsize=8)
    ax.set_title(rf"large data, {_ORDER + 1} terms of the expansion")


def _summarise_sums(data: xarray.Dataset) -> dict[str, Any]:
    """The largest |sum − exact| up to three times, as a share of the initial risk."""
    radius = data.attrs["radius"]
    ends = {"half_radius": radius / 2, "radius": radius, "last_time": float(data.time[-1])}
    shares = {method: abs(data[method] - data.exact) / data.exact[0] for method in _SUMS}
    deviations = {
        method: {name: float(share.sel(time=slice(0, end)).max()) for name, end in ends.items()}
        for method, share in shares.items()
    }
    return {"order": data.attrs["order"], "radius": radius, "deviations": deviations}


def _sums_headlines(told: dict[str, Any]) -> Iterator[Headline]:
    found = told["deviations"]["conformal-pade"]["last_time"]
    yield "sum of the loss expansion off the exact curve, up to t = 3", f"{found:.2%}"


def _decorate(axes: Sequence[Axes]) -> None:
    """The prism itself, and below all panels what lines and marks mean."""
    figure = axes[7].figure
    plot_prism(ax=figure.add_subplot(axes[7].get_subplotspec(), projection="3d"))
    axes[7].set_title("the prism of monomials")
    axes[7].set_axis_off()
    look: dict[str, Any] = {"color": "0.35"}
    dots: dict[str, Any] = look | {"linestyle": "none", "markersize": 4}
    handles = [
        Line2D([], [], **look, label="theory, train"),
        Line2D([], [], **look, linestyle="--", label="theory, population"),
        Line2D([], [], **dots, marker="o", label="simulation, train"),
        Line2D([], [], **dots, marker="s", markerfacecolor="none", label="simulation, population (digits: held out)"),
        Patch(facecolor="0.35", alpha=0.18, label="one standard deviation over draws; bracket of the theory in (e)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
