"""Theory of the recovery of dictionaries, beside the published simulation of the same size.

Source of the published numbers: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003.
"""

import dataclasses
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib.axes import Axes

import aetheory as ae
from aetheory.plotting import COLOURS
from aetheory.reproduce.panel import Panel, Rows

PUBLISHED_DISTANCES = {
    level: dict(zip((0, 20, 40, 60, 80, 100, 120, 140, 160, 200, 300), distances, strict=True))
    for level, distances in {
        1.0: (878.9, 452.0, 199.6, 71.4, 26.5, 12.4, 8.2, 7.0, 6.6, 6.4, 6.6),
        5.0: (877.2, 443.0, 188.2, 64.9, 23.0, 10.4, 6.6, 5.5, 5.2, 5.1, 5.2),
        10.0: (880.6, 441.6, 184.3, 62.2, 21.3, 9.3, 5.8, 4.7, 4.4, 4.3, 4.3),
    }.items()
}
"""‖A − A*‖_F² of 1000 columns with groups by noise in dB and by epoch, arXiv:2102.07003."""

PUBLISHED_SPARSE = {60: 85.5, 80: 38.0, 100: 23.3, 120: 19.7, 140: 19.6, 160: 20.7, 200: 24.1, 300: 33.2}
"""‖A − A*‖_F² with the soft threshold, at 1 dB."""

PUBLISHED_EPOCHS = range(0, 301, 5)
"""The same number of epochs as in a quick training, so that one compiled program predicts both."""

_NAMES = ("distance", "column_norm", "found", "false_positives")
_BASIN_THRESHOLDS, _BASIN_NOISES = (2.0, 3.0), (1.0, 10.0)
_BASIN_BUDGET = 2.0  # time in units of 1/p within which recovery counts as fast


def predictions(
    problem: ae.RecoveryProblem, network: str, levels: Sequence[float], epochs: Sequence[int]
) -> xarray.Dataset:
    """Predicted and published curves of one network over (signal_to_noise, epoch), with NaN where there are none.

    The neglected false positives are one of the variables, in place of a warning.
    """
    values: dict[str, Any] = dict.fromkeys(_NAMES, np.full((len(levels), len(epochs)), np.nan))
    if network != "relu":  # has no theory
        problems = [dataclasses.replace(problem, network=network, signal_to_noise=level) for level in levels]
        curves = [ae.predict(one, epochs) for one in problems]  # by one program
        values = {name: np.stack([curve.values[name] for curve in curves]) for name in _NAMES}
    values["published"] = np.array(
        [[_published(network, level).get(epoch, np.nan) for epoch in epochs] for level in levels]
    )
    axes = {"signal_to_noise": list(levels), "epoch": list(epochs)}
    return xarray.Dataset({name: (tuple(axes), value) for name, value in values.items()}, axes)


def _published(network: str, level: float) -> dict[int, float]:
    """The published distances by epoch."""
    if network == "group":
        return PUBLISHED_DISTANCES.get(level, {})
    return PUBLISHED_SPARSE if (network, level) == ("sparse", 1.0) else {}


def stored_runs() -> xarray.Dataset:
    """Runs of the published size over (run, epoch), first groups, then the soft threshold: 1 dB, float32, seed 0."""
    text = (files("aetheory.reproduce") / "recovery_published_size.json").read_text()
    return xarray.Dataset.from_dict(json.loads(text))


def published_panel(networks: Sequence[str], levels: Sequence[float]) -> Panel:
    """Theory at the published size beside the published simulations."""

    def compute() -> xarray.Dataset:
        curves = [predictions(ae.RecoveryProblem(), network, levels, PUBLISHED_EPOCHS) for network in networks]
        data = xarray.concat(curves, "network").assign_coords(network=list(networks))
        difference = abs(data.distance - data.published).max("epoch") / data.distance.isel(epoch=0, drop=True)
        return data.assign(largest_difference=difference, found_at_end=data.found.isel(epoch=-1, drop=True))

    summary = ("network", "signal_to_noise", "largest_difference", "found_at_end")
    return Panel("published", compute, {"figure": _draw_published}, summary, _published_rows)


def _published_rows(data: xarray.Dataset) -> Rows:
    for one in data.largest_difference.stack(case=("network", "signal_to_noise")).dropna("case"):
        curve = f"{one.network.item()}, {one.signal_to_noise.item():g} dB"
        yield (
            f"{curve}: largest deviation of theory from the published distances, share of the start",
            f"{one.item():.1%}",
        )


def _draw_published(axes: Sequence[Axes], curves: xarray.Dataset) -> None:
    ax = axes[4]
    for network, line, mark in (("group", "-", "+"), ("sparse", "--", "x")):
        for level, colour in zip(curves.signal_to_noise.values.tolist(), COLOURS, strict=False):
            one = curves.sel(network=network, signal_to_noise=level)
            ax.plot(one.epoch, one.distance, line, color=colour, linewidth=1.3)
            ax.plot(one.epoch, one.published, mark, color=colour, markersize=8)
    stored = stored_runs()
    for run, line in ((0, "-"), (1, "--")):
        ax.plot(stored.epoch, stored.distance[run], line, color="0.75", linewidth=3, zorder=0)
    for line, label in (("-", "theory, groups"), ("--", "theory, soft threshold")):
        ax.plot([], [], line, color="0.35", label=label)
    ax.plot([], [], "k+", label="published, groups")
    ax.plot([], [], "kx", label="published, soft threshold")
    ax.plot([], [], color="0.75", linewidth=3, label="simulated here, 1 dB (stored)")
    ax.set(yscale="log", xlabel="epoch", ylabel=r"$\|A-A^*\|_F^2$")
    ax.set_title(r"theory at the published size, $n=950$")
    ax.legend(frameon=False, fontsize=8)


def basin_panel(problem: ae.RecoveryProblem, num_starts: int = 20) -> Panel:
    """Time of recovery against the start, by the flow of the order parameters."""
    starts = np.linspace(0.12, 0.88, num_starts)

    def compute() -> xarray.Dataset:
        """Times in units of 1/p over (threshold, signal_to_noise, start), and the least start within the budget."""
        axes: dict[str, Any] = {"threshold": _BASIN_THRESHOLDS, "signal_to_noise": _BASIN_NOISES, "start": starts}
        threshold, level, start = map(jnp.asarray, np.meshgrid(*axes.values(), indexing="ij"))
        grid = dataclasses.replace(
            problem, network="group", threshold=threshold, signal_to_noise=level, start_correlation=start
        )
        data = xarray.Dataset(coords={name: list(values) for name, values in axes.items()})
        data["time"] = (tuple(axes), np.asarray(ae.recovery.recovery_time(grid)))
        data["least_start"] = data.start.where(data.time <= _BASIN_BUDGET).min("start")
        return data.assign_attrs(input_dim=problem.input_dim, budget=_BASIN_BUDGET)

    return Panel("basin", compute, {"figure": _draw_basin}, ("threshold", "signal_to_noise", "least_start"))


def _draw_basin(axes: Sequence[Axes], basin: xarray.Dataset) -> None:
    ax = axes[5]
    for threshold, colour in zip(basin.threshold.values.tolist(), COLOURS[3:], strict=False):
        for level, line in zip(basin.signal_to_noise.values.tolist(), ("-", "--"), strict=True):
            time = basin.time.sel(threshold=threshold, signal_to_noise=level)
            label = rf"$\lambda={threshold:g}$, {level:g} dB"
            ax.plot(basin.start, time.where(np.isfinite(time)), line, color=colour, label=label)
    ax.axhline(_BASIN_BUDGET, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(yscale="log", ylim=(0.05, 1e4), xlabel=r"start correlation $c_0$")
    ax.set_ylabel(r"time to correlation .9, in units of $\Gamma/\gamma$")
    ax.set_title(rf"basin, flow of the order parameters, $n={basin.attrs['input_dim']}$")
    ax.legend(frameon=False, fontsize=8)
