"""The prism of learning regimes: theory against simulation in each regime, and on real images.

Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import xarray
from jaxtyping import Array, Float, PRNGKeyArray
from matplotlib.figure import Figure

from aetheory.plotting import COLOURS, plot_curve
from aetheory.sources import load_images
from aetheory.theory.prism.predict import Regime, predict
from aetheory.theory.prism.problem import LinearProblem
from aetheory.theory.prism.simulation import simulate
from aetheory.training.curve import Curve

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
    regime: Regime
    label: str
    data: Any = field(default=None, repr=False)
    held_out: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class Panel:
    """The settings that share one pair of axes."""

    name: str
    title: str
    settings: tuple[Setting, ...]
    times: Float[Array, " times"]
    num_repeats: int
    log_risk: bool = False


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
    """The five panels at one of three sizes; dimensions deep in each regime, where the limits should hold."""
    dim, dense_repeats, cheap_repeats = _SCALE[size]
    wide = min(2 * dim, 2000)  # where one of the other dimensions is small, p costs little
    return (
        _large_data(dim, dense_repeats),
        _mean_field(dim, dense_repeats),
        _narrow_latent(wide, cheap_repeats),
        _small_data(max(wide, 400), cheap_repeats),
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


def draw(results: dict[str, tuple[Panel, list[Result]]]) -> Figure:
    """The figure: a pair of axes for each panel, theory as lines, simulation as dots with a band of one deviation."""
    figure = Figure(figsize=(12.5, 7.2), layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    for letter, ax, (panel, panel_results) in zip("abcde", axes, results.values(), strict=False):
        for colour, result in zip(COLOURS, panel_results, strict=False):
            plot_curve(result.theory, ax, colour=colour)
            plot_curve(result.simulation, ax, colour=colour)
            ax.plot([], [], color=colour, linewidth=4, label=result.setting.label)
        ax.set_xscale("log")
        if panel.log_risk:
            ax.set_yscale("log")
            ax.set_ylim(bottom=max(_SMALLEST_RISK, ax.get_ylim()[0]))
        handles, labels = ax.get_legend_handles_labels()
        chosen = [index for index, label in enumerate(labels) if not label.endswith((", train", ", population"))]
        ax.legend([handles[index] for index in chosen], [labels[index] for index in chosen], frameon=False, fontsize=8)
        ax.set_title(f"({letter}) {panel.title}", loc="left", fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    _draw_key(axes[-1])
    return figure


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


def _draw_key(ax: Any) -> None:
    """What lines and marks mean, once for all panels, in place of a sixth panel."""
    grey = "0.35"
    ax.plot([], [], color=grey, label="theory, train")
    ax.plot([], [], color=grey, linestyle="--", label="theory, population")
    ax.plot([], [], color=grey, linestyle="none", marker="o", markersize=4, label="simulation, train")
    ax.plot(
        [], [], color=grey, linestyle="none", marker="s", markersize=4, markerfacecolor="none",
        label="simulation, population (digits: held out)",
    )  # fmt: skip
    ax.fill_between([], [], [], color=grey, alpha=0.18, linewidth=0, label="one standard deviation over draws")
    ax.legend(loc="center", frameon=False, fontsize=10)
    ax.set_axis_off()
