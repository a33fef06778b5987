"""One figure of all three systems, from what their jobs left: theory as lines, simulation as dots."""

from pathlib import Path
from typing import Any

import xarray
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aetheory.linear.faces import FACES
from aetheory.plotting import COLOURS
from aetheory.reproduce.recovery import LINES, NAMES
from aetheory.sweeps.output import OutputFolder

_DOTS: dict[str, Any] = {"linestyle": "none", "markersize": 4}
_SPECTRA = {"isotropic": "isotropic", "blocks": "blocks", "power-law": "power law $1/j$"}
_MARKS = {"group": "o", "sparse": "s"}
_NUM_DOTS = 20


def draw(folder: Path) -> Figure:
    """The figure, from the results of `prism`, `limits` and `recovery` in `folder`, of any size.

    Raises:
        FileNotFoundError: one of them is missing.
    """
    figure = Figure((11.0, 3.7), layout="constrained")
    regimes, limits, recovery = figure.subplots(1, 3)
    _draw_regimes(regimes, OutputFolder(folder / "prism"))
    _draw_limits(limits, OutputFolder(folder / "limits"))
    _draw_recovery(recovery, OutputFolder(folder / "recovery"))
    for ax in figure.axes:
        ax.set_title(ax.get_title(), fontsize=10)
        ax.legend(frameon=False, fontsize=8, ncols=1 + (ax is recovery), columnspacing=1, handlelength=1.5)
        ax.spines[["top", "right"]].set_visible(False)
    look: dict[str, Any] = {"color": "0.35"}
    handles = [Line2D([], [], **look, label="theory"), Line2D([], [], **look, **_DOTS, marker="o", label="simulation")]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_regimes(ax: Axes, folder: OutputFolder) -> None:
    """One problem of each regime: how much of its fall the train risk has before it, over its own time."""
    for name, colour in zip(FACES, COLOURS, strict=False):
        one = folder.read_dataset(name).isel(setting=0, time=slice(1, None))
        theory, time = one.theory_train, one.time / one.time[-1]

        def left(risk: xarray.DataArray, theory: xarray.DataArray = theory) -> xarray.DataArray:
            return (risk - theory[-1]) / (theory[0] - theory[-1])

        ax.plot(time, left(theory), color=colour, linewidth=1.5, label=name)
        ax.plot(time, left(one.simulation_train), "o", color=colour, **_DOTS)
    ax.set(xscale="log", xlabel="flow time / last time", ylabel="train risk, share of its fall")
    ax.set_title("linear: a problem of each regime")


def _draw_limits(ax: Axes, folder: OutputFolder) -> None:
    """What alternating descent reaches, beside the limit, over the rate."""
    for (name, label), colour in zip(_SPECTRA.items(), COLOURS, strict=False):
        one = folder.read_dataset(name)
        ax.plot(one.curve_rate, one.limit_curve, color=colour, linewidth=1.5, label=label)
        ax.plot(one.rate, one.alternating.isel(step=-1).mean("seed"), "o", color=colour, **_DOTS)
    ax.set(xlabel="rate, bits per input dimension", ylabel="risk at the end of training", ylim=(0, None))
    ax.set_title(f"1-bit codes of Gaussian inputs, $d={one.attrs['input_dim']}$")


def _draw_recovery(ax: Axes, folder: OutputFolder) -> None:
    """Distances to the dictionary of two networks at every noise, over the epochs."""
    runs = folder.read_dataset("runs")
    every = slice(None, None, max(1, runs.sizes["epoch"] // _NUM_DOTS))
    for level, colour in zip(runs.signal_to_noise.values.tolist(), COLOURS, strict=False):
        for network, mark in _MARKS.items():
            one = runs.sel(network=network, signal_to_noise=level)
            filled = colour if mark == "o" else "none"
            ax.plot(one.epoch, one.predicted_distance / one.distance[0], LINES[network], color=colour, linewidth=1.5)
            shown = (one.distance / one.distance[0])[every]
            ax.plot(shown.epoch, shown, mark, color=colour, markerfacecolor=filled, **_DOTS)
            look: dict[str, Any] = {"color": colour, "markerfacecolor": filled, "markersize": 4}
            ax.plot([], [], LINES[network] + mark, **look, label=f"{NAMES[network]}, {level:g} dB")
    ax.set(yscale="log", xlabel="epoch", ylabel="squared distance, share of the first")
    ax.set_ylim(top=6)  # room for the legend
    ax.set_title(f"group-sparse recovery, $n={runs.attrs['input_dim']}$")
