"""The prism of learning regimes: theory against simulation in each regime, and on real images.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import xarray
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from aetheory.core.curve import Curve
from aetheory.core.predict import predict
from aetheory.core.simulate import simulate
from aetheory.linear.locate import locate
from aetheory.linear.problem import LinearProblem
from aetheory.plotting import COLOURS, plot, plot_prism
from aetheory.reproduce import resummation
from aetheory.sources.images import load_images

Size = Literal["quick", "default", "full"]

# For each size of the job: the dimension of the panels where all of them are large, with their repeats, and the
# repeats of the panels where one dimension is small, which are cheaper and noisier.
_SCALE: dict[Size, tuple[int, int, int]] = {"quick": (100, 4, 8), "default": (400, 8, 16), "full": (2000, 2, 16)}
_NUM_TIMES = 33
_SMALLEST_RISK = 1e-5  # smaller ones are of no use to a reader


@dataclass(frozen=True)
class Setting:
    """One problem, the theory that should describe it, and how the legend names it."""

    problem: LinearProblem
    regime: str
    label: str
    data: Any = field(default=None, repr=False)
    held_out: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Panel:
    """The settings that share one pair of axes.

    Where the initial scale x is far from 1, `scale` = x: risks are drawn in units of x², times in units of 1/x.
    """

    name: str
    title: str
    settings: tuple[Setting, ...]
    times: Float[Array, " times"]
    num_repeats: int
    log_risk: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Result:
    """Theory and simulation of one setting."""

    setting: Setting
    theory: Curve
    simulation: Curve

    def deviation(self, risk: str) -> float:
        """The largest |theory − simulation| over the times, in units of risk."""
        return float(jnp.max(jnp.abs(getattr(self.theory, risk) - getattr(self.simulation, risk))))

    def relative_deviation(self, risk: str) -> float:
        """The same over the simulated risk at the start."""
        return self.deviation(risk) / float(getattr(self.simulation, risk)[0])

    def noise(self, risk: str) -> float:
        """The largest standard error of the simulated mean: what a deviation is to be measured against."""
        return float(jnp.max(getattr(self.simulation.standard_error, risk)))


def panels(size: Size) -> tuple[Panel, ...]:
    """The six panels at one of three sizes; dimensions deep in each regime, where the limits should hold."""
    dim, dense_repeats, cheap_repeats = _SCALE[size]
    wide = min(2 * dim, 2000)  # where one of the other dimensions is small, p costs little
    return (
        _large_data(dim, dense_repeats),
        _mean_field(dim, dense_repeats),
        _narrow_latent(wide, cheap_repeats),
        _small_data(max(wide, 400), cheap_repeats),
        _free(max(dim, 200), dense_repeats),
        _digits(cheap_repeats),
    )


def run_panel(panel: Panel, key: PRNGKeyArray) -> Iterator[Result]:
    """Theory and simulation of each setting in turn."""
    for index, setting in enumerate(panel.settings):
        theory = predict(setting.problem, panel.times, setting.regime, data=setting.data, held_out=setting.held_out)
        simulation = simulate(
            setting.problem,
            panel.times,
            jax.random.fold_in(key, index),
            num_repeats=panel.num_repeats,
            data=setting.data,
            held_out=setting.held_out,
        )
        yield Result(setting, theory, simulation)


def to_dataset(panel: Panel, results: list[Result]) -> xarray.Dataset:
    """The curves of one panel over (setting, time), with the problems as coordinates."""
    sources = (
        xarray.concat([getattr(result, source).to_xarray() for result in results], "setting", combine_attrs="drop")
        for source in ("theory", "simulation")
    )
    theory, simulation = (
        dataset.rename({name: f"{prefix}_{name}" for name in dataset.data_vars})
        for prefix, dataset in zip(("theory", "simulation"), sources, strict=True)
    )
    parameters = {
        name: ("setting", [float(getattr(result.setting.problem, name)) for result in results])
        for name in ("input_dim", "latent_dim", "num_samples", "init_variance")
    }
    attributes = {
        "title": panel.title,
        "labels": [result.setting.label for result in results],
        "num_repeats": results[0].simulation.num_repeats,
    }
    dataset: xarray.Dataset = xarray.merge([theory, simulation])
    return dataset.assign_coords(parameters).assign_attrs(attributes)


def draw(results: dict[str, tuple[Panel, list[Result]]], sums: resummation.Sums) -> Figure:
    """The figure: theory as lines, simulation as dots with a band of one deviation, the sums, and the prism itself."""
    figure = Figure(figsize=(16.5, 8.2), layout="constrained")
    for index, (panel, panel_results) in enumerate(results.values()):
        ax = figure.add_subplot(2, 4, index + 1)
        for colour, result in zip(COLOURS, panel_results, strict=False):
            plot(_in_units(result.theory, panel.scale), ax, colour=colour)
            plot(_in_units(result.simulation, panel.scale), ax, colour=colour)
            ax.plot([], [], color=colour, linewidth=4, label=result.setting.label)
        ax.set_xscale("log")
        if panel.log_risk:
            ax.set_yscale("log")
            ax.set_ylim(bottom=max(_SMALLEST_RISK, ax.get_ylim()[0]))
        if panel.scale != 1:
            ax.set_xlabel(r"$p\sigma^2\, t$")
            ax.set_ylabel(r"risk $R/(p\sigma^2)^2$")
        handles, labels = ax.get_legend_handles_labels()
        chosen = [index for index, label in enumerate(labels) if not label.endswith((", train", ", population"))]
        ax.legend([handles[index] for index in chosen], [labels[index] for index in chosen], frameon=False, fontsize=8)
        _finish(ax, index, panel.title)
    ax = figure.add_subplot(2, 4, 7)
    resummation.draw(ax, sums)
    _finish(ax, 6, rf"large data, {resummation.ORDER + 1} terms of the expansion")
    solid = figure.add_subplot(2, 4, 8, projection="3d")
    plot_prism(ax=solid)
    solid.set_title("(h) the prism of monomials", loc="left", fontsize=10)
    _draw_key(figure)
    return figure


def _in_units(curve: Curve, scale: float) -> Curve:
    """The curve in units of x² and 1/x."""
    if scale == 1:
        return curve
    values = (curve.values, curve.std, curve.lower, curve.upper)
    values, std, lower, upper = jax.tree.map(lambda risk: risk / scale**2, values)
    return replace(curve, times=curve.times * scale, values=values, std=std, lower=lower, upper=upper)


def _finish(ax: Axes, index: int, title: str) -> None:
    ax.set_title(f"({'abcdefgh'[index]}) {title}", loc="left", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)


def summarise(results: dict[str, tuple[Panel, list[Result]]]) -> dict[str, Any]:
    """The largest deviation of each panel, and each setting's own, ready for JSON."""
    summary: dict[str, Any] = {}
    for name, (_, panel_results) in results.items():
        settings: list[dict[str, Any]] = [
            {
                "label": result.setting.label,
                "regime": result.setting.regime,
                "input_dim": int(result.setting.problem.input_dim),
                "latent_dim": int(result.setting.problem.latent_dim),
                "num_samples": int(result.setting.problem.num_samples),
                "init_variance": float(result.setting.problem.init_variance),
                "num_repeats": result.simulation.num_repeats,
                "located": _located(result.setting),
                **{
                    f"{risk}_{name}": measure(risk)
                    for risk in ("train", "population")
                    for name, measure in (
                        ("deviation", result.deviation),
                        ("deviation_relative", result.relative_deviation),
                        ("standard_error", result.noise),
                    )
                },
            }
            for result in panel_results
        ]
        worst = {
            entry: max(setting[entry] for setting in settings)
            for entry in settings[0]
            if entry.startswith(("train_", "population_"))
        }
        summary[name] = {"settings": settings, **worst}
    return summary


def _located(setting: Setting) -> dict[str, Any] | None:
    """Where `locate` puts the problem; it knows Gaussian data only."""
    if setting.data is not None:
        return None
    location = locate(setting.problem)
    return {"kind": location.kind, "faces": list(location.faces), "error": location.error, "time": location.time}


def _large_data(dim: int, num_repeats: int) -> Panel:
    settings = tuple(
        Setting(
            LinearProblem(dim, round(ratio * dim), 200 * dim, scale / dim),
            "large-data",
            rf"$p\sigma^2={scale:g},\ H/p={ratio:g}$",
        )
        for scale, ratio in ((1.0, 0.5), (0.1, 1.0), (1.0, 2.0))
    )
    return Panel(
        "large-data", rf"large data, $N/p=200$, $p={dim}$", settings, _times(1e-2, 2.0), num_repeats, log_risk=True
    )


def _mean_field(dim: int, num_repeats: int) -> Panel:
    settings = tuple(
        Setting(
            LinearProblem(dim, 1000 * dim, round(dim / ratio), strength / (1000 * dim)),
            "mean-field",
            rf"$H\sigma^2={strength:g},\ p/N={ratio:g}$",
        )
        for strength, ratio in ((0.1, 0.5), (0.5, 1.0), (2.0, 2.0))
    )
    return Panel(
        "mean-field", rf"mean field, $H/p=1000$, $p={dim}$", settings, _times(1e-2, 10.0), num_repeats, log_risk=True
    )


def _narrow_latent(dim: int, num_repeats: int) -> Panel:
    latent_dim = max(1, dim // 200)
    settings = tuple(
        Setting(
            LinearProblem(dim, latent_dim, round(dim / ratio), scale / dim),
            "narrow-latent",
            rf"$p\sigma^2={scale:g},\ p/N={ratio:g}$",
        )
        for scale, ratio in ((0.1, 0.25), (0.4, 0.5), (2.0, 1.0))
    )
    title = rf"narrow latent, $H={latent_dim}$, $p={dim}$"
    return Panel("narrow-latent", title, settings, _times(1e-2, 2.0), num_repeats)


def _small_data(dim: int, num_repeats: int) -> Panel:
    num_samples = max(4, dim // 200)
    settings = tuple(
        Setting(
            LinearProblem(dim, dim // 2, num_samples, scale / dim),
            "small-data",
            rf"$p\sigma^2={scale:g},\ H/p=0.5$",
        )
        for scale in (0.3, 1.0, 1.5)
    )
    ratio = dim / num_samples
    title = rf"small data, $N={num_samples}$, $p={dim}$"
    return Panel("small-data", title, settings, _times(1e-2 / ratio, 5.0 / ratio), num_repeats)


def _free(dim: int, num_repeats: int) -> Panel:
    scale = 1e4  # the target is a relative perturbation of order 1/scale
    settings = tuple(
        Setting(
            LinearProblem(dim, round(latent_ratio * dim), round(dim / sample_ratio), scale / dim),
            "free",
            rf"$H/p={latent_ratio:g},\ p/N={sample_ratio:g}$",
        )
        for latent_ratio, sample_ratio in ((0.5, 2.0), (0.7, 0.8), (1.6, 1.2))
    )
    title = rf"free, $p\sigma^2=10^4$, $p={dim}$"
    times = _times(2e-2 / scale, 1 / scale)
    return Panel("free", title, settings, times, num_repeats, log_risk=True, scale=scale)


def _digits(num_repeats: int) -> Panel:
    """Mean-field training on 1297 of scikit-learn's digits, scaled to unit mean variance; 500 held out."""
    training, held_out = load_images("digits").split(500, jax.random.key(0))
    scale = 1 / jnp.sqrt(jnp.trace(training.covariance) / training.input_dim)
    data, rest = scale * training.samples, scale * held_out.samples
    num_samples, dim = data.shape
    latent_dim = 1000 * dim
    settings = tuple(
        Setting(
            LinearProblem(dim, latent_dim, num_samples, strength / latent_dim),
            "mean-field",
            rf"$H\sigma^2={strength:g}$",
            data,
            rest,
        )
        for strength in (0.1, 0.5, 2.0)
    )
    title = rf"digits, $p={dim}$, $N={num_samples}$, $H/p=1000$"
    return Panel("digits", title, settings, _times(1e-2, 10.0), num_repeats, log_risk=True)


def _times(first: float, last: float) -> Float[Array, " times"]:
    """0, for the deviation at the start, and evenly spread in log t after it."""
    return jnp.concatenate([jnp.zeros(1), jnp.geomspace(first, last, _NUM_TIMES)])


def _draw_key(figure: Figure) -> None:
    """What lines and marks mean, once for all panels, below them."""
    look: dict[str, Any] = {"color": "0.35"}
    handles = [
        Line2D([], [], **look, label="theory, train"),
        Line2D([], [], **look, linestyle="--", label="theory, population"),
        Line2D([], [], **look, linestyle="none", marker="o", markersize=4, label="simulation, train"),
        Line2D(
            [], [], **look, linestyle="none", marker="s", markersize=4, markerfacecolor="none",
            label="simulation, population (digits: held out)",
        ),
        Patch(facecolor="0.35", alpha=0.18, label="one standard deviation over draws; bracket of the theory in (e)"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
