"""What theory says of the recovery of dictionaries, beside the published simulation of the same size.

Source of the published numbers: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003.
"""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray
from matplotlib.axes import Axes

import aetheory as ae
from aetheory.plotting import COLOURS
from aetheory.reproduce.panel import Lines, Panel

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
"""The same of the soft threshold, at 1 dB."""

PUBLISHED_EPOCHS = range(0, 301, 5)
"""As many as those of a quick training, so that both are predicted by one compiled program."""

_NAMES = ("distance", "column_norm", "found", "false_positives")
_THRESHOLDS, _NOISES, _BUDGET = (2.0, 3.0), (1.0, 10.0), 2.0


def predictions(
    problem: ae.RecoveryProblem, network: str, levels: Sequence[float], epochs: Sequence[int]
) -> xarray.Dataset:
    """The predicted curves of one network over (signal_to_noise, epoch); NaN for the one that has none.

    What they leave out is among them, `false_positives`, in place of a warning.
    """
    axes = {"signal_to_noise": list(levels), "epoch": list(epochs)}
    if network == "relu":
        values = dict.fromkeys(_NAMES, np.full((len(levels), len(epochs)), np.nan))
    else:
        # one level after the other, which share a program
        problems = [dataclasses.replace(problem, network=network, signal_to_noise=level) for level in levels]
        curves = [ae.predict(one, epochs) for one in problems]
        values = {name: np.stack([curve.values[name] for curve in curves]) for name in _NAMES}
    return xarray.Dataset({name: (tuple(axes), value) for name, value in values.items()}, axes)


def stored_runs() -> xarray.Dataset:
    """Runs of the published size over (run, epoch), first groups, then the soft threshold: 1 dB, float32, seed 0."""
    text = (files("aetheory.reproduce") / "recovery_published_size.json").read_text()
    return xarray.Dataset.from_dict(json.loads(text))


def published_panel(networks: Sequence[str], levels: Sequence[float]) -> Panel:
    """The theory at the published size, and what was published."""

    def compute(problem: ae.RecoveryProblem, _: Path) -> xarray.Dataset:
        curves = [predictions(problem, network, levels, PUBLISHED_EPOCHS) for network in networks]
        return xarray.concat(
            [one.expand_dims(network=[name]) for one, name in zip(curves, networks, strict=True)], "network"
        )

    return Panel("published", [ae.RecoveryProblem()], compute, {"figure": _draw_published}, _compare, _lines)


def _published(network: str, level: float) -> dict[int, float]:
    """By epoch."""
    if network == "sparse":
        return PUBLISHED_SPARSE if level == 1 else {}
    return PUBLISHED_DISTANCES.get(level, {}) if network == "group" else {}


def _compare(curves: xarray.Dataset) -> dict[str, Any]:
    """Predicted and published distances, and the largest difference as a share of the start."""
    told = []
    for network, level in itertools.product(curves.network.values.tolist(), curves.signal_to_noise.values.tolist()):
        one = curves.sel(network=network, signal_to_noise=level)
        published = {str(epoch): value for epoch, value in _published(network, level).items()}
        predicted = {epoch: float(one.distance.sel(epoch=int(epoch))) for epoch in published}
        gaps = [abs(predicted[epoch] - value) for epoch, value in published.items()]
        entry = {"network": network, "signal_to_noise": level, "predicted": predicted, "published": published}
        if published:
            share = max(gaps) / float(one.distance[0])
            told.append(entry | {"largest_difference": share, "found": float(one.found[-1])})
    return {"curves": told}


def _lines(told: dict[str, Any]) -> Lines:
    for one in told["curves"]:
        what = f"{one['network']}, {one['signal_to_noise']:g} dB: theory from the published distances, of the start"
        yield what, f"{one['largest_difference']:.1%}"


def _draw_published(axes: Sequence[Axes], curves: xarray.Dataset) -> None:
    ax = axes[4]
    for network, line in (("group", "-"), ("sparse", "--")):
        for level, colour in zip(curves.signal_to_noise.values.tolist(), COLOURS, strict=False):
            one = curves.distance.sel(network=network, signal_to_noise=level)
            ax.plot(one.epoch, one, line, color=colour, linewidth=1.3)
            if published := _published(network, level):
                marks = "+" if network == "group" else "x"
                ax.plot(list(published), list(published.values()), marks, color=colour, markersize=8)
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
    """How long recovery takes from which start, by the flow of the order parameters."""
    compute = partial(_basin, num_starts=num_starts)
    return Panel("basin", [problem], compute, {"figure": _draw_basin}, _tell_basin)


def _basin(problem: ae.RecoveryProblem, _: Path, num_starts: int) -> xarray.Dataset:
    """Times in units of 1/p over (threshold, signal_to_noise, start)."""
    starts = np.linspace(0.12, 0.88, num_starts)
    axes = {"threshold": list(_THRESHOLDS), "signal_to_noise": list(_NOISES), "start": starts.tolist()}
    threshold, level, start = map(jnp.asarray, np.meshgrid(*axes.values(), indexing="ij"))
    grid = dataclasses.replace(
        problem, network="group", threshold=threshold, signal_to_noise=level, start_correlation=start
    )
    times = np.asarray(ae.recovery.recovery_time(grid))
    return xarray.Dataset({"time": (tuple(axes), times)}, axes, {"input_dim": problem.input_dim})


def _tell_basin(basin: xarray.Dataset) -> dict[str, Any]:
    """The least start on the grid from which recovery takes no more than the budget."""
    told = []
    for threshold, level in itertools.product(basin.threshold.values.tolist(), basin.signal_to_noise.values.tolist()):
        enough = basin.start.values[basin.time.sel(threshold=threshold, signal_to_noise=level) <= _BUDGET]
        least = float(enough.min()) if enough.size else None
        told.append({"threshold": threshold, "signal_to_noise": level, "least_start": least})
    return {"budget": _BUDGET, "starts": told}


def _draw_basin(axes: Sequence[Axes], basin: xarray.Dataset) -> None:
    ax = axes[5]
    for threshold, colour in zip(basin.threshold.values.tolist(), COLOURS[3:], strict=False):
        for level, line in zip(basin.signal_to_noise.values.tolist(), ("-", "--"), strict=True):
            time = basin.time.sel(threshold=threshold, signal_to_noise=level)
            label = rf"$\lambda={threshold:g}$, {level:g} dB"
            ax.plot(basin.start, time.where(np.isfinite(time)), line, color=colour, label=label)
    ax.axhline(_BUDGET, color="0.6", linewidth=0.8, linestyle=":")
    ax.set(yscale="log", ylim=(0.05, 1e4), xlabel=r"start correlation $c_0$")
    ax.set_ylabel(r"time to correlation .9, in units of $\Gamma/\gamma$")
    ax.set_title(rf"basin, flow of the order parameters, $n={basin.attrs['input_dim']}$")
    ax.legend(frameon=False, fontsize=8)
