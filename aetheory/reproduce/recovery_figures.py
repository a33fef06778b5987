"""The figures of the recovery experiment: curves, phase diagrams, clusters and atoms."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from jaxtyping import Float
from matplotlib.figure import Figure

from aetheory import group_sparse as recovery
from aetheory.core.predict import predict
from aetheory.group_sparse.problem import RecoveryProblem
from aetheory.plotting import COLOURS, plot_atoms, plot_distances, plot_phases
from aetheory.reproduce.recovery_training import Experiment

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PUBLISHED_EPOCHS = (0, 20, 40, 60, 80, 100, 160)
PUBLISHED_DISTANCES = (879.0, 452.0, 200.0, 71.0, 26.0, 12.0, 6.6)
"""‖A − A*‖_F² of 1000 columns at 1 dB, arXiv:2102.07003."""

_LINES = {"group": "-", "sparse": "--", "relu": ":"}
_NAMES = {"group": "group ReLU", "sparse": "soft threshold", "relu": "ReLU"}


def draw_curves(experiments: Sequence[Experiment], runs: xarray.Dataset, stored: xarray.Dataset) -> Figure:
    """Distance, support, contraction and column norms against epochs, with what theory says of each.

    Arguments:
        experiments: the settings of the runs, in their order.
        runs: see `recovery_training.to_dataset`; NaN where a run has not come yet.
        stored: the runs of the published size that the package holds.
    """
    figure = Figure(figsize=(11.5, 7.6), layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    levels = sorted({float(level) for level in runs.signal_to_noise.values})
    colours = dict(zip(levels, COLOURS, strict=False))
    styles = [(_LINES[one.problem.network], colours[one.decibels]) for one in experiments]
    columns = experiments[0].problem.num_groups * experiments[0].problem.group_size
    _draw_distances(axes[0], runs, styles, columns, stored)
    _draw_support(axes[1], experiments, runs)
    _draw_contraction(axes[2], experiments, runs, colours)
    _draw_norms(axes[3], experiments, runs, styles)
    for level, colour in colours.items():
        axes[0].plot([], [], color=colour, linewidth=4, label="no noise" if math.isinf(level) else f"{level:g} dB")
    for network in dict.fromkeys(one.problem.network for one in experiments):
        axes[0].plot([], [], color="0.35", linestyle=_LINES[network], label=_NAMES[network])
    axes[0].legend(frameon=False, fontsize=8, ncols=2, loc="lower left")
    for letter, ax in zip("abcd", axes, strict=True):
        ax.set_title(f"({letter}) {ax.get_title()}", loc="left", fontsize=10)
        ax.set_title("")
        ax.set_xlabel("epoch")
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_distances(
    ax: "Axes", runs: xarray.Dataset, styles: list[tuple[str, str]], columns: int, stored: xarray.Dataset
) -> None:
    for index, (line, colour) in enumerate(styles):
        ax.plot(runs.epoch, runs.distance[index] / columns, line, color=colour, linewidth=1.5)
    if columns != 1000:
        ax.plot(
            stored.epoch, stored.distance[0] / 1000, color="0.6", linewidth=3, zorder=0,
            label="group ReLU, 1 dB, n = 950 (stored)",
        )  # fmt: skip
    ax.plot(
        PUBLISHED_EPOCHS, np.asarray(PUBLISHED_DISTANCES) / 1000, "k+", markersize=9,
        label="published, 1 dB, n = 950",
    )  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(bottom=ax.get_ylim()[0] / 12)  # room for the legend
    ax.set_ylabel(r"$\|A-A^*\|_F^2$ per column (normalised)")
    ax.set_title(
        rf"distance to the true dictionary, $n={runs.attrs['input_dim']}$, $\Gamma={runs.attrs['num_groups']}$"
    )


def _draw_support(ax: "Axes", experiments: Sequence[Experiment], runs: xarray.Dataset) -> None:
    """At the strongest noise, where it is hardest."""
    worst = min(one.decibels for one in experiments)
    for colour, (index, one) in zip(
        COLOURS[3:], ((i, one) for i, one in enumerate(experiments) if one.decibels == worst), strict=False
    ):
        ax.plot(runs.epoch, runs.found[index], color=colour, label=f"{_NAMES[one.problem.network]}: found")
        ax.plot(
            runs.epoch, runs.invented[index], color=colour, linestyle="--",
            label=f"{_NAMES[one.problem.network]}: invented",
        )  # fmt: skip
    ax.axhline(0.78, color="0.6", linewidth=1, linestyle=":", label="published: soft threshold, found")
    ax.set_ylim(-0.03, 1.03)
    ax.set_ylabel("share of active / inactive units")
    ax.set_title(f"support of held-out signals, {worst:g} dB")
    ax.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.56), ncols=2)


def _draw_contraction(
    ax: "Axes", experiments: Sequence[Experiment], runs: xarray.Dataset, colours: dict[float, str]
) -> None:
    """Per update of the dictionary; the published factor with that update's step size."""
    for index, one in enumerate(experiments):
        if one.problem.network == "group":
            distances = runs.distance[index].values
            done = np.isfinite(distances)
            ax.plot(runs.epoch[done][1:], measured(distances[done]), color=colours[one.decibels], linewidth=1)
            ax.plot(runs.epoch[done], published(one, runs, index)[done], "--", color=colours[one.decibels], linewidth=1)
    ax.plot([], [], color="0.35", label=r"measured, $1-e_{k+1}/e_k$")
    ax.plot([], [], "--", color="0.35", label=r"published factor $\rho$ (never positive)")
    ax.axhline(0, color="0.6", linewidth=0.8)
    ax.set_yscale("symlog", linthresh=1e-5)
    ax.set_ylabel("contraction per step")
    ax.set_title("contraction of the squared distance, group ReLU")
    ax.legend(frameon=False, fontsize=8)


def _draw_norms(
    ax: "Axes", experiments: Sequence[Experiment], runs: xarray.Dataset, styles: list[tuple[str, str]]
) -> None:
    for index, (line, colour) in enumerate(styles):
        if experiments[index].problem.network == "group":
            ax.plot(runs.epoch, runs.column_norm[index], line, color=colour, linewidth=1.5)
    one = experiments[0].problem
    rest, middle = resting_norm(one), (one.min_norm + one.max_norm) / 2
    ax.axhspan(float(rest.lower.column_norm[0]), float(rest.upper.column_norm[0]), color="0.5", alpha=0.15, linewidth=0)
    ax.axhline(
        float(rest.column_norm[0]), color="0.35", linewidth=1,
        label=rf"$s^2(1-\lambda/s\|x_g\|)=1$ at $\|x_g\|={middle:g}$ (band: extremes)",
    )  # fmt: skip
    ax.set_ylabel("mean norm of the columns")
    ax.set_title("column norms, group ReLU")
    ax.legend(frameon=False, fontsize=8)


def resting_norm(problem: RecoveryProblem) -> Any:
    """The column norm at which the group network of a problem comes to rest, with its bracket."""
    return predict(dataclasses.replace(problem, network="group"), [0], "fixed-point norm")


def measured(distances: Float[np.ndarray, " epochs"]) -> Float[np.ndarray, " intervals"]:
    """The measured contraction between epochs, each of which is one update."""
    return np.asarray(recovery.measured_contraction(distances)) if len(distances) > 1 else np.zeros(0)


def published(one: Experiment, runs: xarray.Dataset, index: int) -> Float[np.ndarray, " epochs"]:
    """The published contraction factor along a run, with τ at the middle norm and the learning rate as step size."""
    records, problem = runs.isel(run=index), one.problem
    middle = (problem.min_norm + problem.max_norm) / 2
    norm = 0.5 * (records.alpha_min + records.alpha_max) * middle * records.column_norm
    done = np.isfinite(norm.values)
    rho = recovery.contraction_factor(
        step_size=problem.learning_rate,
        shrinkage=np.clip(1 - problem.threshold / norm.values[done], 0, 1),
        active_probability=problem.num_active / problem.num_groups,
        alpha_min=records.alpha_min.values[done],
        alpha_max=records.alpha_max.values[done],
        group_size=problem.group_size,
        closeness=records.closeness.values[done],
    )
    full = np.full(len(done), np.nan)
    full[done] = rho
    return full


def draw_phases(diagrams: xarray.Dataset) -> Figure:
    """Recovery probability over (γ, noise), and over the threshold with the guaranteed intervals under each curve."""
    figure = Figure(figsize=(11.5, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = np.arange(len(diagrams.num_active))
    plot_phases(diagrams.signal_to_noise, rows, diagrams.recovery_noise, left, limits=(0, 1))
    left.set_yticks(rows, [str(active) for active in diagrams.num_active.values])
    left.set_xlabel("signal-to-noise ratio in dB")
    left.set_ylabel(r"active groups $\gamma$")
    threshold = diagrams.attrs["noise_threshold"]
    left.set_title(rf"(a) probability of exact recovery, $\lambda={threshold:g}$", loc="left", fontsize=10)
    count = min(4, len(rows))
    for index in range(count):
        colour = COLOURS[index]
        lower, upper = diagrams.interval.sel(form="sound").values[index]
        label = rf"$\gamma={int(diagrams.num_active[index])}$" + ("" if lower < upper else ", sound interval empty")
        right.plot(diagrams.threshold, diagrams.recovery_threshold[index], color=colour, label=label)
        for offset, (form, width) in enumerate({"dictionary": 5, "sound": 2.5, "published": 1}.items()):
            lower, upper = diagrams.interval.sel(form=form).values[index]
            height = -0.06 - 0.12 * index - 0.035 * offset
            if lower < upper:
                look = {"linestyle": ":" if form == "published" else "-", "solid_capstyle": "butt"}
                right.plot([lower, upper], [height, height], color=colour, linewidth=width, **look)
    for form, width in (("guaranteed for this dictionary", 5), ("sound interval", 2.5)):
        right.plot([], [], color="0.35", linewidth=width, label=form)
    right.plot([], [], ":", color="0.35", linewidth=1, label="published interval (may fail)")
    right.axhline(0, color="0.6", linewidth=0.8)
    right.set_ylim(-0.06 - 0.12 * count, 1.5)
    right.set_yticks(np.linspace(0, 1, 6))
    right.set_xlabel(r"threshold $\lambda$")
    right.set_ylabel("probability of exact recovery, no noise")
    sizes = rf"$n={diagrams.attrs['input_dim']}$, $\Gamma={diagrams.attrs['num_groups']}$"
    right.set_title(rf"(b) threshold and its guarantees, {sizes}", loc="left", fontsize=10)
    right.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
    right.spines[["top", "right"]].set_visible(False)
    return figure


def draw_clusters(table: xarray.Dataset, distances: dict[str, Float[np.ndarray, "images images"]]) -> Figure:
    """Clustering accuracy of each kind of feature, and pairwise distances of held-out images sorted by class.

    Arguments:
        table: see `recovery_clustering.to_dataset`.
        distances: matrices by title, rows sorted by class.
    """
    figure = Figure(figsize=(4.2 + 3.1 * len(distances), 3.9), layout="constrained")
    axes = figure.subplots(1, 1 + len(distances), width_ratios=[1.5, *[1] * len(distances)])
    bars = axes[0]
    places = np.arange(len(table.feature))
    methods = [str(method) for method in table.algorithm.values]
    height = 0.8 / len(methods)
    for index, method in enumerate(methods):
        scores = table.accuracy.sel(algorithm=method)
        bars.barh(
            places + (index - (len(methods) - 1) / 2) * height, scores.mean("seed"), height,
            xerr=scores.std("seed"), color=COLOURS[index], label=method, error_kw={"linewidth": 1},
        )  # fmt: skip
    bars.set_yticks(places, [str(feature) for feature in table.feature.values])
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_xlabel("clustering accuracy on held-out images")
    count = table.sizes["seed"]
    bars.set_title(f"(a) {table.attrs['data']}, {count} seed{'s' * (count > 1)}", loc="left", fontsize=10, pad=18)
    bars.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=3)
    bars.spines[["top", "right"]].set_visible(False)
    for letter, ax, (title, matrix) in zip("bcdefg", axes[1:], distances.items(), strict=False):
        plot_distances(matrix, ax)
        ax.set_title(f"({letter}) distances, {title}", loc="left", fontsize=10)
    return figure


def draw_atoms(
    dictionary: Float[np.ndarray, "pixels latent_dim"], group_size: int, image_shape: tuple[int, ...]
) -> Figure:
    """Each group's atoms in a row, each scaled to its own largest entry, with the sign of which the sum is positive."""
    num_groups = dictionary.shape[1] // group_size
    height, width = image_shape[:2]
    rows, columns = num_groups * (height + 1) - 1, group_size * (width + 1) - 1
    longest = 9 / max(rows, columns)
    figure = Figure(figsize=(max(longest * columns, 2.5) + 0.6, longest * rows + 0.5), layout="constrained")
    ax = plot_atoms(dictionary, image_shape[:2], figure.subplots(), group_size=group_size)
    ax.set_title("atoms, group by group", loc="left", fontsize=10)
    return figure
