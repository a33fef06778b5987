"""Recovery by group-sparse autoencoders at three sizes: what is computed, and what is said about it.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import xarray

from aetheory import group_sparse as recovery
from aetheory.group_sparse.problem import NETWORKS
from aetheory.reproduce.prism import Size
from aetheory.reproduce.recovery_clustering import PUBLISHED, Clustering, Network
from aetheory.reproduce.recovery_figures import PUBLISHED_DISTANCES, PUBLISHED_EPOCHS, measured, published, resting_norm
from aetheory.reproduce.recovery_phases import Phases, interval_violations
from aetheory.reproduce.recovery_training import Experiment

STORED_RUNS = "recovery_published_size.json"
_LEVELS = (1.0, 5.0, 10.0)


@dataclass(frozen=True)
class Job:
    """Everything one size computes."""

    experiments: tuple[Experiment, ...]
    phases: Phases
    clusterings: tuple[Clustering, ...]


def job(size: Size, seed: int) -> Job:
    """The published sizes for `"full"`; dimension, groups and examples a fifth of them otherwise."""
    base = Experiment(seed=seed)
    if size == "quick":
        scaled = dataclasses.replace(base.scaled(5), num_epochs=60)
        digits = Clustering(
            group_networks=(Network(1, 2.2),), initialisations=("clusters",), num_epochs=30, num_trial_epochs=30,
            num_seeds=1,
        )  # fmt: skip
        phases = Phases(
            input_dim=400, num_groups=60, num_active=(1, 3), num_samples=200,
            signal_to_noise=tuple(np.linspace(-15, 15, 7).tolist()), thresholds=tuple(np.linspace(0, 5, 26).tolist()),
        )  # fmt: skip
        runs = tuple(_changed(scaled, network=network) for network in NETWORKS[:2])
        return Job(runs, phases, (digits,))
    scaled = base if size == "full" else base.scaled(5)
    runs = tuple(_changed(scaled, network=network, signal_to_noise=level) for network in NETWORKS for level in _LEVELS)
    if size == "default":
        return Job(runs, Phases(), (Clustering(),))
    images = Clustering(
        group_size=16, batch_size=200, num_epochs=40, num_trial_epochs=3, num_held_out=10_000, num_neighbours=1000
    )
    sets = (Clustering(), *(dataclasses.replace(images, data=name) for name in ("mnist", "fashion-mnist")))
    return Job(runs, Phases(num_groups=500, num_samples=2000), sets)


def _changed(experiment: Experiment, **fields: Any) -> Experiment:
    return dataclasses.replace(experiment, problem=dataclasses.replace(experiment.problem, **fields))


def stored_runs() -> xarray.Dataset:
    """The runs of the published size that come with the package: 1 dB first, float32, seed 0, as `train` records."""
    text = (files("aetheory.reproduce") / STORED_RUNS).read_text()
    return xarray.Dataset.from_dict(json.loads(text))


def summarise_runs(experiments: Sequence[Experiment], runs: xarray.Dataset) -> list[dict[str, Any]]:
    """The end of each run, its distances at the published epochs, and its contraction beside the published one."""
    summaries = []
    for index, one in enumerate(experiments):
        records = runs.isel(run=index)
        distances, problem = records.distance.values, one.problem
        rate = measured(distances)
        theory = published(one, runs, index)
        epochs = [epoch for epoch in PUBLISHED_EPOCHS if epoch <= one.num_epochs]
        summaries.append(
            {
                "network": problem.network,
                "signal_to_noise": problem.signal_to_noise,
                "input_dim": problem.input_dim,
                "num_groups": problem.num_groups,
                "squared_distance_at": {str(epoch): float(distances[epoch]) for epoch in epochs},
                "published_at_1_dB_1000_columns": dict(zip(map(str, epochs), PUBLISHED_DISTANCES, strict=False)),
                **{name: float(records[name][-1]) for name in ("found", "invented", "exact", "column_norm")},
                "fixed_point_norm": float(resting_norm(problem).column_norm[0]),
                "largest_measured_contraction": float(rate.max()),
                "largest_published_contraction": float(np.nanmax(theory)),
                "published_neighbourhood": _finite(
                    recovery.neighbourhood_radius(problem.input_dim, problem.num_groups, float(np.nanmax(theory)))
                ),
            }
        )
    return summaries


def summarise_phases(diagrams: xarray.Dataset) -> dict[str, Any]:
    """For which γ each kind of interval is empty, and whether any threshold inside failed."""
    return {
        form: {
            "intervals": {
                str(active): ends if ends[0] < ends[1] else "empty"
                for active, ends in zip(
                    diagrams.num_active.values.tolist(), diagrams.interval.sel(form=form).values.tolist(), strict=True
                )
            },
            "thresholds_inside_that_failed": interval_violations(diagrams, form),
        }
        for form in diagrams.form.values.tolist()
    }


def summarise_clusters(table: xarray.Dataset) -> dict[str, Any]:
    """Mean and deviation over seeds of each accuracy, beside the published one on MNIST."""
    summary: dict[str, Any] = {}
    for feature in table.feature.values.tolist():
        scores = {}
        for method in table.algorithm.values.tolist():
            values = table.sel(feature=feature, algorithm=method)
            if np.isfinite(values.accuracy).all():
                scores[method] = {
                    name: {"mean": float(values[name].mean()), "std": float(values[name].std())}
                    for name in recovery.ClusteringScores._fields
                }
        active = _finite(table.num_active.sel(feature=feature).mean())
        summary[feature] = {"scores": scores, "mean_active": active, "published_mnist": PUBLISHED.get(feature)}
    return summary | {"settings": table.attrs}


def run_table(summaries: list[dict[str, Any]]) -> str:
    """The recovery runs, a line each."""
    lines = [
        "Recovery: squared distance of normalised columns at the start and the end, and support of held-out signals:",
        f"{'network':<10}{'SNR':>6}{'start':>9}{'end':>9}{'found':>8}{'invented':>10}{'exact':>8}{'norm':>7}{'theory':>8}",
    ]
    for one in summaries:
        distances = list(one["squared_distance_at"].values())
        level = "none" if one["signal_to_noise"] is None else f"{one['signal_to_noise']:g}"
        lines.append(
            f"{one['network']:<10}{level:>6}{distances[0]:>9.1f}{distances[-1]:>9.2f}{one['found']:>8.3f}"
            f"{one['invented']:>10.4f}{one['exact']:>8.3f}{one['column_norm']:>7.3f}"
            f"{one['fixed_point_norm']:>8.3f}"
        )
    return "\n".join(lines)


def cluster_table(name: str, summary: dict[str, Any]) -> str:
    """The clustering accuracies, a line for each kind of feature."""
    lines = [
        f"Clustering accuracy on held-out {name}, mean ± deviation over seeds (published: k-means, spectral):",
        f"{'feature':<26}{'k-means':>16}{'spectral':>16}{'largest group':>16}{'active':>8}{'published':>14}",
    ]
    for feature, entry in summary.items():
        if feature == "settings":
            continue
        cells = ""
        for method in ("k-means", "spectral", "largest group"):
            score = entry["scores"].get(method)
            cells += f"{'' if score is None else _percent(score['accuracy']):>16}"
        active = "" if entry["mean_active"] is None else f"{entry['mean_active']:.1f}"
        pair = (
            "" if entry["published_mnist"] is None else " / ".join(f"{100 * v:.1f}" for v in entry["published_mnist"])
        )
        lines.append(f"{feature:<26}{cells}{active:>8}{pair:>14}")
    return "\n".join(lines)


def _percent(score: dict[str, float]) -> str:
    return f"{100 * score['mean']:.1f} ± {100 * score['std']:.1f}"


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(float(value)) else None
