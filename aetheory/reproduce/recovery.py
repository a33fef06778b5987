"""Recovery by group-sparse autoencoders: training, phase diagrams, and clusters of images (in `clustering`).

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from functools import partial
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
from aetheory.reproduce.panel import Job, Panel, Rows, Sheet, Size
from aetheory.reproduce.recovery_theory import basin_panel, predictions, published_panel

_LEVELS = (1.0, 5.0, 10.0)
_NOISELESS = 1e4  # dB: the noise is exactly zero in floating point
_RECORDS = ("distance", "correlation", "column_norm", "found", "invented", "exact", "loss")
_LAST = ("found", "invented", "exact", "column_norm")  # records whose last values are in the summary
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

    def compute() -> xarray.Dataset:
        runs = [train(problem, network, levels, range(num_epochs + 1), key) for network in networks]
        data = xarray.concat(runs, "network").assign_coords(network=list(networks))
        gap = abs(data.predicted_distance - data.distance).max("epoch", skipna=False)
        data["largest_gap_to_theory"] = gap / data.distance.isel(epoch=0, drop=True)
        data["fixed_point_norm"] = float(resting_norm(problem).column_norm[0])
        for name in _LAST:
            data[f"last_{name}"] = data[name].isel(epoch=-1, drop=True)
        sizes = {name: value for name, value in vars(problem).items() if isinstance(value, int | float)}
        return data.assign_attrs(sizes)

    results = (*(f"last_{name}" for name in _LAST), "distance", "largest_gap_to_theory", "fixed_point_norm")
    draw = {"figure": partial(_draw_trainings, problem=problem)}
    return Panel("runs", compute, draw, ("network", "signal_to_noise", "epoch", *results), _summary_rows)


def train(
    problem: ae.RecoveryProblem, network: str, levels: Sequence[float], epochs: Sequence[int], key: PRNGKeyArray
) -> xarray.Dataset:
    """Records of one network and its predictions over (signal_to_noise, epoch).

    All networks and levels of noise have the same dictionary, start and signals.
    """
    passes = problem.batch_size if problem.batch_size <= 2000 else 1000
    curves = []
    for level in levels:
        one = dataclasses.replace(problem, network=network, signal_to_noise=level)
        curves.append(ae.simulate(one, epochs, key, examples_per_pass=passes))
    records = {name: np.stack([curve.values[name] for curve in curves]) for name in _RECORDS}
    data = predictions(problem, network, levels, epochs)
    data = data.rename({name: f"predicted_{name}" for name in data.data_vars if name != "published"})
    return data.assign({name: (("signal_to_noise", "epoch"), values) for name, values in records.items()})


def resting_norm(problem: ae.RecoveryProblem) -> Any:
    """The column norm at the fixed point of a problem's group network, with its bracket."""
    return ae.predict(dataclasses.replace(problem, network="group"), [0], "fixed-point norm")


def _each(runs: xarray.Dataset) -> Iterator[tuple[str, float, xarray.Dataset]]:
    """Every run with its network and its noise."""
    for network, level in itertools.product(runs.network.values.tolist(), runs.signal_to_noise.values.tolist()):
        yield network, level, runs.sel(network=network, signal_to_noise=level)


def _summary_rows(runs: xarray.Dataset) -> Rows:
    for network, level, one in _each(runs):
        first, last = float(one.distance[0]), float(one.distance[-1])
        text = f"{network}, {level:g} dB: squared distance of the dictionary; support found"
        yield text, f"{first:.1f} -> {last:.2f}; {float(one.last_found):.1%}"


def _draw_trainings(axes: Sequence[Axes], runs: xarray.Dataset, problem: ae.RecoveryProblem) -> None:
    """Distance, support, contraction and column norms against epochs, with theory for each."""
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
    """Legend of all panels, and the published values at the published size."""
    if runs.attrs["input_dim"] == 950:
        for level, colour in colours.items():
            published = runs.published.sel(network="group", signal_to_noise=level)
            ax.plot(runs.epoch, published / columns, "+", color=colour, markersize=9)
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
    summary = ("form", "num_active", "interval", "num_failures_inside")
    return Panel("phases", partial(phase_diagrams, phases, key), {"phases": _draw_phases}, summary)


def phase_diagrams(phases: Phases, key: PRNGKeyArray) -> xarray.Dataset:
    """Probability of exact recovery over (γ, noise) and over (γ, threshold), and the ends of three intervals.

    The intervals of thresholds, over (γ, form, end), are the sound ones, the published ones, and those computed from
    this dictionary; with each form stands how many simulated thresholds inside its intervals missed a support.
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

    coherence = ae.recovery.block_coherence(dictionary, 2)
    noise, threshold, intervals = [], [], []
    for place, active in enumerate(phases.num_active):
        # signals are equal for equal γ, so that only the noise or the threshold differs
        keys = [jax.random.fold_in(one, place) for one in (noise_key, threshold_key)]
        noise.append([float(recovered(active, keys[0], level, 2.0)) for level in phases.signal_to_noise])
        threshold.append([float(recovered(active, keys[1], _NOISELESS, one)) for one in phases.thresholds])
        codes: dict[str, Any] = {"group_size": 2, "num_active": active, **norms}
        three = [ae.recovery.threshold_interval(coherence, 0.0, form=form, **codes) for form in ("sound", "published")]
        three.append(ae.recovery.support_guarantee(dictionary, dictionary, **codes))
        intervals.append([[float(one.lower), float(one.upper)] for one in three])
    axes = {name: list(getattr(phases, name)) for name in ("num_active", "signal_to_noise")}
    axes |= {
        "threshold": list(phases.thresholds),
        "form": ["sound", "published", "dictionary"],
        "end": ["lower", "upper"],
    }
    variables = {
        "recovery_noise": (("num_active", "signal_to_noise"), noise),
        "recovery_threshold": (("num_active", "threshold"), threshold),
        "interval": (("num_active", "form", "end"), intervals),
    }
    attributes = {"input_dim": phases.input_dim, "num_groups": phases.num_groups, "block_coherence": float(coherence)}
    return count_failures(xarray.Dataset(variables, axes, attributes))


def count_failures(data: xarray.Dataset) -> xarray.Dataset:
    """The diagrams with the number of simulated thresholds inside each form's intervals that missed a support."""
    lower, upper = data.interval.sel(end="lower"), data.interval.sel(end="upper")
    inside = (data.threshold >= lower) & (data.threshold < upper)
    return data.assign(num_failures_inside=(inside & (data.recovery_threshold < 1)).sum(("num_active", "threshold")))


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
