"""Recovery by group-sparse autoencoders: trainings, phase diagrams, and (in `clustering`) clusters of images.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray
from jaxtyping import PRNGKeyArray
from matplotlib.axes import Axes

import aetheory as ae
from aetheory.group_sparse.problem import NETWORKS
from aetheory.plotting import COLOURS, plot_phases
from aetheory.reproduce.clustering import clustering_panel, sheets, tables
from aetheory.reproduce.panel import Job, Lines, Panel, Sheet, Size
from aetheory.reproduce.recovery_theory import (
    PUBLISHED_DISTANCES,
    basin_panel,
    predictions,
    published_panel,
)

_LEVELS = (1.0, 5.0, 10.0)
_SILENCE = 1e4  # dB: noise of exactly no size, in the program that also takes noise
_RECORDS = ("distance", "correlation", "column_norm", "found", "invented", "exact", "loss")
_ENDS = ["lower", "upper"]
LINES = {"group": "-", "sparse": "--", "relu": ":"}
NAMES = {"group": "group ReLU", "sparse": "soft threshold", "relu": "ReLU"}


class Phases(NamedTuple):
    """Random dictionaries with orthonormal groups, known to the encoder."""

    input_dim: int = 950
    num_groups: int = 200
    num_active: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16)
    signal_to_noise: Sequence[float] = np.linspace(-15, 15, 13).tolist()  # in dB, at threshold 2
    thresholds: Sequence[float] = np.linspace(0, 5, 51).tolist()  # without noise
    num_samples: int = 400  # signals behind each probability


def job(size: Size, seed: int) -> Job:
    """The published sizes for `"full"`; dimension, groups and examples a fifth of them otherwise."""
    problem = ae.RecoveryProblem() if size == "full" else ae.RecoveryProblem().scaled(5)
    few = 1 if size == "default" else 3
    phases, num_epochs = Phases(), 60 if size == "default" else 160
    if size == "default":
        axes = (np.linspace(-15, 15, 7).tolist(), np.linspace(0, 5, 26).tolist())
        phases = Phases(400, 60, (1, 3), *axes, num_samples=200)
    if size == "full":
        phases = Phases(num_groups=500, num_samples=2000)
    key = jax.random.key(seed)
    panels = [
        training_panel(problem, NETWORKS[: few + 1], _LEVELS[:few], num_epochs, key),
        phase_panel(phases, jax.random.fold_in(key, 1)),
        published_panel(("group", "sparse"), _LEVELS[:few]),
        basin_panel(ae.RecoveryProblem(), 12 if size == "default" else 20),
    ]
    figures = {"figure": Sheet((2, 3), (16.5, 7.6)), "phases": Sheet((1, 2), (11.5, 4.6))}
    for table in tables(size):
        panels.append(clustering_panel(table))
        figures |= sheets(table)
    return Job("recovery", panels, figures)


def training_panel(
    problem: ae.RecoveryProblem, networks: Sequence[str], levels: Sequence[float], num_epochs: int, key: PRNGKeyArray
) -> Panel:
    """Each network at each noise, one step of the optimiser an epoch."""
    compute = partial(_train, problem=problem, levels=levels, num_epochs=num_epochs, key=key)
    draw, summarise = partial(_draw_trainings, problem=problem), partial(_summarise_trainings, problem)
    return Panel("runs", networks, compute, {"figure": draw}, summarise, _lines, dim="network")


def _train(
    network: str, store: Path, problem: ae.RecoveryProblem, levels: Sequence[float], num_epochs: int, key: PRNGKeyArray
) -> xarray.Dataset:
    """The records of one network over (network, signal_to_noise, epoch); the sweep's store keeps each run."""
    epochs, passes = range(num_epochs + 1), problem.batch_size if problem.batch_size <= 2000 else 1000

    def trained(parameters: dict[str, Any], _: PRNGKeyArray) -> dict[str, Any]:
        """Of the same key in every cell, so that all networks see the same dictionary, start and signals."""
        one = dataclasses.replace(problem, network=network, **parameters)
        return dict(one.experiment(epochs, examples_per_pass=passes).outcome(key).values.items())

    runs = ae.sweep(
        trained, {"signal_to_noise": list(levels)}, key, store=store / network, block_size=1,
        dims=dict.fromkeys(_RECORDS, ("epoch",)),
    )[list(_RECORDS)].assign_coords(epoch=list(epochs)).load()  # fmt: skip
    theory = predictions(problem, network, levels, epochs)
    runs = runs.merge(theory.rename({name: f"predicted_{name}" for name in theory.data_vars}), join="exact")
    sizes = {name: value for name, value in vars(problem).items() if isinstance(value, int | float)}
    return runs.drop_attrs().expand_dims(network=[network]).assign_attrs(sizes)


def resting_norm(problem: ae.RecoveryProblem) -> Any:
    """The column norm at which the group network of a problem comes to rest, with its bracket."""
    return ae.predict(dataclasses.replace(problem, network="group"), [0], "fixed-point norm")


def _each(runs: xarray.Dataset) -> Iterator[tuple[str, float, xarray.Dataset]]:
    """Every run with its network and its noise."""
    for network, level in itertools.product(runs.network.values.tolist(), runs.signal_to_noise.values.tolist()):
        yield network, level, runs.sel(network=network, signal_to_noise=level)


def _summarise_trainings(problem: ae.RecoveryProblem, runs: xarray.Dataset) -> dict[str, Any]:
    """The end of each run, its distances at the published epochs, and how far theory is from them."""
    told = []
    for network, level, records in _each(runs):
        distances, predicted = records.distance.values, records.predicted_distance.values
        published = PUBLISHED_DISTANCES.get(level, PUBLISHED_DISTANCES[1.0])
        known = {str(epoch): value for epoch, value in published.items() if epoch < len(distances)}
        one = {"network": network, "signal_to_noise": level}
        one |= {"input_dim": problem.input_dim, "num_groups": problem.num_groups}
        one["squared_distance_at"] = {epoch: float(distances[int(epoch)]) for epoch in known}
        one["published_1000_columns"] = known
        if network != "relu":
            one["largest_gap_to_theory"] = float(np.abs(predicted - distances).max() / distances[0])
            one["predicted_false_positives"] = float(records.predicted_false_positives.max())
            one["largest_predicted_contraction"] = float(ae.recovery.measured_contraction(predicted).max())
        one |= {name: float(records[name][-1]) for name in ("found", "invented", "exact", "column_norm")}
        one["fixed_point_norm"] = float(resting_norm(problem).column_norm[0])
        one["largest_measured_contraction"] = float(ae.recovery.measured_contraction(distances).max())
        told.append(one)
    return {"runs": told}


def _lines(told: dict[str, Any]) -> Lines:
    for run in told["runs"]:
        first, *_, last = run["squared_distance_at"].values()
        what = f"{run['network']}, {run['signal_to_noise']:g} dB: squared distance of the dictionary; support found"
        yield what, f"{first:.1f} -> {last:.2f}; {run['found']:.1%}"


def _draw_trainings(axes: Sequence[Axes], runs: xarray.Dataset, problem: ae.RecoveryProblem) -> None:
    """Distance, support, contraction and column norms against epochs, with what theory says of each."""
    distance, support, contraction, norms = axes[:4]
    colours = dict(zip(runs.signal_to_noise.values.tolist(), COLOURS, strict=False))
    worst, columns = min(colours), problem.num_groups * problem.group_size
    for network, level, records in _each(runs):
        colour, line, epochs = colours[level], LINES[network], records.epoch
        distance.plot(epochs, records.distance / columns, line, color=colour, linewidth=1.5)
        distance.plot(epochs, records.predicted_distance / columns, line, color="0.2", linewidth=0.8)
        if level == worst:  # where it is hardest
            look = COLOURS[3 + list(LINES).index(network)]
            support.plot(epochs, records.found, color=look, label=f"{NAMES[network]}: found")
            support.plot(epochs, records.invented, "--", color=look, label=f"{NAMES[network]}: invented")
        if network == "group":
            measured = ae.recovery.measured_contraction(records.distance.values)
            contraction.plot(epochs[1:], measured, color=colour, linewidth=1)
            predicted = ae.recovery.measured_contraction(records.predicted_distance.values)
            contraction.plot(epochs[1:], predicted, "--", color=colour, linewidth=1.5)
            norms.plot(epochs, records.column_norm, line, color=colour, linewidth=1.5)
            norms.plot(epochs, records.predicted_column_norm, line, color="0.2", linewidth=0.8)
    _finish_distances(distance, runs, colours, columns)
    support.axhline(0.78, color="0.6", linewidth=1, linestyle=":", label="published: soft threshold, found")
    support.set(ylim=(-0.03, 1.03), ylabel="share of active / inactive units")
    support.set_title(f"support of held-out signals, {worst:g} dB")
    support.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.38), ncols=2)
    contraction.plot([], [], color="0.35", label=r"measured, $1-e_{k+1}/e_k$")
    contraction.plot([], [], "--", color="0.35", label="theory")
    contraction.axhline(0, color="0.6", linewidth=0.8)
    contraction.set(ylabel="contraction per step", title="contraction of the squared distance, group ReLU")
    rest, middle = resting_norm(problem), (problem.min_norm + problem.max_norm) / 2
    low, high = (float(end.column_norm[0]) for end in (rest.lower, rest.upper))
    norms.axhspan(low, high, color="0.5", alpha=0.15, linewidth=0)
    label = rf"$s^2(1-\lambda/s\|x_g\|)=1$ at $\|x_g\|={middle:g}$ (band: extremes)"
    norms.axhline(float(rest.column_norm[0]), color="0.35", linewidth=1, label=label)
    norms.set(ylabel="mean norm of the columns", title="column norms, group ReLU")
    for ax in axes[:4]:
        ax.set_xlabel("epoch")


def _finish_distances(ax: Axes, runs: xarray.Dataset, colours: dict[float, str], columns: int) -> None:
    """The key to all panels; the published values where the size is theirs."""
    if runs.attrs["input_dim"] == 950:
        for level, colour in colours.items():
            published = PUBLISHED_DISTANCES.get(level, {})
            ax.plot(list(published), np.asarray(list(published.values())) / columns, "+", color=colour, markersize=9)
        ax.plot([], [], "k+", label="published")
    most = float(runs.predicted_false_positives.max())
    reach = f" (too fast: up to {most:.1f} false positives)" if most > 1 else ""
    ax.plot([], [], color="0.2", linewidth=0.8, label=f"theory{reach}")
    for level, colour in colours.items():
        ax.plot([], [], color=colour, linewidth=4, label=f"{level:g} dB")
    for network in runs.network.values.tolist():
        ax.plot([], [], color="0.35", linestyle=LINES[network], label=NAMES[network])
    ax.set(yscale="log", ylabel=r"$\|A-A^*\|_F^2$ per column (normalised)")
    ax.set_ylim(bottom=ax.get_ylim()[0] / 12)  # room for the legend
    sizes = rf"$n={runs.attrs['input_dim']}$, $\Gamma={runs.attrs['num_groups']}$"
    ax.set_title(f"distance to the true dictionary, {sizes}")
    ax.legend(frameon=False, fontsize=8, ncols=2, loc="lower left")


def phase_panel(phases: Phases, key: PRNGKeyArray) -> Panel:
    """Where one step of an encoder that knows the dictionary finds the active groups."""
    compute = partial(_phases, key=key)
    return Panel("phases", [phases], compute, {"phases": _draw_phases}, _summarise_phases)


def _phases(phases: Phases, _: Path, key: PRNGKeyArray) -> xarray.Dataset:
    """The probability of exact recovery over (γ, noise) and over (γ, threshold), and the ends of three intervals.

    These thresholds are over (γ, form, end): sound ones, published ones, and those from this very dictionary.
    """
    dictionary_key, noise_key, threshold_key = jax.random.split(key, 3)
    dictionary = ae.orthonormal_groups_dictionary(dictionary_key, phases.input_dim, 2 * phases.num_groups, 2)
    norms = {"min_norm": 4.0, "max_norm": 5.0}

    @partial(jax.jit, static_argnums=0)
    def recovered(active: int, key: PRNGKeyArray, level: Any, threshold: Any) -> Any:
        source = ae.GroupSparseSource(dictionary, 2, active, signal_to_noise=level, **norms)
        samples = source.draw(key, phases.num_samples)
        codes = ae.group_relu(samples.observations @ dictionary, threshold, 2)
        return ae.recovery.support_recovery(ae.recovery.active_groups(codes, 2), samples.active).exact

    def shares(key: PRNGKeyArray, cells: Sequence[tuple[float, float]]) -> Any:
        """With equal signals for equal γ, so that the noise or the threshold alone differs."""
        keys = [(active, jax.random.fold_in(key, place)) for place, active in enumerate(phases.num_active)]
        return np.array([[recovered(*own, *cell) for cell in cells] for own in keys], float)

    coherence, intervals = ae.recovery.block_coherence(dictionary, 2), []
    for active in phases.num_active:
        codes: dict[str, Any] = {"group_size": 2, "num_active": active, **norms}
        three = [ae.recovery.threshold_interval(coherence, 0.0, form=form, **codes) for form in ("sound", "published")]
        three.append(ae.recovery.support_guarantee(dictionary, dictionary, **codes))
        intervals.append([[float(one.lower), float(one.upper)] for one in three])
    axes = {"signal_to_noise": [*phases.signal_to_noise], "threshold": [*phases.thresholds]}
    noise = shares(noise_key, [(level, 2.0) for level in axes["signal_to_noise"]])
    threshold = shares(threshold_key, [(_SILENCE, threshold) for threshold in axes["threshold"]])
    return xarray.Dataset(
        {
            "recovery_noise": (("num_active", "signal_to_noise"), noise),
            "recovery_threshold": (("num_active", "threshold"), threshold),
            "interval": (("num_active", "form", "end"), intervals),
        },
        {**axes, "num_active": [*phases.num_active], "form": ["sound", "published", "dictionary"], "end": _ENDS},
        {"input_dim": phases.input_dim, "num_groups": phases.num_groups, "block_coherence": float(coherence)},
    )


def _summarise_phases(diagrams: xarray.Dataset) -> dict[str, Any]:
    """For which γ each kind of interval is empty, and how many simulated thresholds inside missed a support."""
    told = {}
    for form in diagrams.form.values.tolist():
        ends = diagrams.interval.sel(form=form)
        inside = (diagrams.threshold >= ends.sel(end="lower")) & (diagrams.threshold < ends.sel(end="upper"))
        pairs = zip(diagrams.num_active.values.tolist(), ends.values.tolist(), strict=True)
        told[form] = {
            "intervals": {str(active): pair if pair[0] < pair[1] else "empty" for active, pair in pairs},
            "thresholds_inside_that_failed": int((inside & (diagrams.recovery_threshold < 1)).sum()),
        }
    return told


def _draw_phases(axes: Sequence[Axes], diagrams: xarray.Dataset) -> None:
    """Recovery probability over (γ, noise), and over the threshold with the guaranteed intervals under each curve."""
    left, right = axes
    rows = np.arange(len(diagrams.num_active))
    plot_phases(diagrams.signal_to_noise, rows, diagrams.recovery_noise, left, limits=(0, 1))
    left.set_yticks(rows, [str(active) for active in diagrams.num_active.values])
    left.set(xlabel="signal-to-noise ratio in dB", ylabel=r"active groups $\gamma$")
    left.set_title(r"probability of exact recovery, $\lambda=2$")
    count = min(4, len(rows))
    for index, colour in zip(range(count), COLOURS, strict=False):
        one = diagrams.isel(num_active=index)
        for offset, (form, width) in enumerate({"dictionary": 5, "sound": 2.5, "published": 1}.items()):
            lower, upper = one.interval.sel(form=form).values
            height = -0.06 - 0.12 * index - 0.035 * offset
            if lower < upper:
                look: dict[str, Any] = {"linestyle": ":" if form == "published" else "-", "solid_capstyle": "butt"}
                right.plot([lower, upper], [height, height], color=colour, linewidth=width, **look)
        lower, upper = one.interval.sel(form="sound").values
        label = rf"$\gamma={int(one.num_active)}$" + ("" if lower < upper else ", sound interval empty")
        right.plot(diagrams.threshold, one.recovery_threshold, color=colour, label=label)
    for form, width in (("guaranteed for this dictionary", 5), ("sound interval", 2.5)):
        right.plot([], [], color="0.35", linewidth=width, label=form)
    right.plot([], [], ":", color="0.35", linewidth=1, label="published interval (may fail)")
    right.axhline(0, color="0.6", linewidth=0.8)
    right.set(ylim=(-0.06 - 0.12 * count, 1.5), yticks=np.linspace(0, 1, 6), xlabel=r"threshold $\lambda$")
    right.set_ylabel("probability of exact recovery, no noise")
    sizes = rf"$n={diagrams.attrs['input_dim']}$, $\Gamma={diagrams.attrs['num_groups']}$"
    right.set_title(f"threshold and its guarantees, {sizes}")
    right.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
