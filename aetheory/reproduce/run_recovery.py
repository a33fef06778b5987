"""Run the recovery system with progress, storing each result and figure as soon as it is done."""

import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray
from tqdm import tqdm

from aetheory.core.curve import Curve
from aetheory.reproduce import recovery, recovery_clustering, recovery_figures, recovery_phases, recovery_training
from aetheory.reproduce.prism import Size
from aetheory.sweeps.output import OutputFolder, provenance

_SECONDS_BETWEEN_VIEWS = 30.0


def run_recovery(size: Size, path: Path, seed: int) -> dict[str, Any]:
    """Reproduce the recovery experiments at `size` into `path`; returns the summary that is also written there.

    Writes figure (the curves), phases, and clusters and atoms for each set of images. The curves are drawn while they
    grow. At full size each run leaves a checkpoint after every few epochs, from which a run that died continues.

    Raises:
        OSError: `path` cannot be written to; raised before any work.
        FloatingPointError: a training run diverged; the message names the step.
    """
    start = time.perf_counter()
    folder = OutputFolder(path)
    job = recovery.job(size, seed)
    summary: dict[str, Any] = {"system": "recovery", "size": size, "seed": seed}
    tables = []

    summary["runs"] = _run_curves(job, folder, checkpoints=size == "full", start=start)
    tables.append(recovery.run_table(summary["runs"]))

    diagrams = recovery_phases.phase_diagrams(job.phases, jax.random.fold_in(jax.random.key(seed), 1))
    folder.write_dataset("phases", diagrams)
    folder.write_figure(recovery_figures.draw_phases(diagrams), "phases")
    summary["phases"] = recovery.summarise_phases(diagrams)
    _say("phases", start)

    summary["clusters"] = {}
    for setting in job.clusterings:
        try:
            images = recovery_clustering.load(setting)
        except FileNotFoundError as error:
            summary["clusters"][setting.data] = {"skipped": str(error)}
            _say(f"{setting.data} skipped, for it is neither here nor can it be downloaded", start)
            continue
        table = _run_clusters(setting, images, folder, start)
        summary["clusters"][setting.data] = recovery.summarise_clusters(table)
        tables.append(recovery.cluster_table(setting.data, summary["clusters"][setting.data]))

    summary |= {"seconds": round(time.perf_counter() - start, 1), **provenance()}
    folder.write_json("summary.json", summary)
    print("\n\n".join(tables))
    print(f"Wrote {path / 'figure.png'} and others, summary.json and curves.zarr in {summary['seconds']} s.")
    return summary


def _run_curves(job: recovery.Job, folder: OutputFolder, *, checkpoints: bool, start: float) -> list[dict[str, Any]]:
    """All training runs, the figure redrawn after each and now and then within one."""
    stored = recovery.stored_runs()
    done: list[Curve] = []
    viewed, first = time.perf_counter(), True
    runs = xarray.Dataset()
    if checkpoints:
        (folder.path / "checkpoints").mkdir(exist_ok=True)
    total = sum(one.num_epochs for one in job.experiments)
    with tqdm(total=total, unit="epoch", disable=not sys.stderr.isatty()) as progress:
        for index, experiment in enumerate(job.experiments):
            name = f"{experiment.problem.network}, {experiment.decibels:g} dB"
            progress.set_description(name)
            file = folder.path / "checkpoints" / f"{experiment.problem.network}_{experiment.decibels:g}.eqx"
            before = 0
            for current in recovery_training.train(experiment, file if checkpoints else None):
                progress.update(int(current.times[-1]) - before)
                before = int(current.times[-1])
                finished = before == experiment.num_epochs
                if finished or time.perf_counter() - viewed > _SECONDS_BETWEEN_VIEWS:
                    settings = job.experiments[: index + 1]
                    runs = recovery_training.to_dataset(settings, [*done, current])
                    folder.write_dataset("runs", runs)
                    early = not finished or index + 1 < len(job.experiments)
                    folder.write_figure(recovery_figures.draw_curves(settings, runs, stored), early=early)
                    if first:
                        print(f"First view after {time.perf_counter() - start:.0f} s: {folder.path / 'figure.png'}")
                    viewed, first = time.perf_counter(), False
            done.append(current)
            if progress.disable:
                _say(name, start)
    return recovery.summarise_runs(job.experiments, runs)


def _run_clusters(
    setting: recovery_clustering.Clustering, images: recovery_clustering.Images, folder: OutputFolder, start: float
) -> xarray.Dataset:
    """Choose the networks, then cluster seed by seed; what is done is stored after each."""
    choices, trials = {}, []
    clusters = recovery_clustering.find_clusters(setting, images, seed=0)
    for name in ("group", "group+"):
        choices[name], tried = recovery_clustering.choose(setting, images, clusters, nonnegative=name == "group+")
        trials += tried
    _say(f"{setting.data}: networks chosen", start)
    results: list[recovery_clustering.Result] = []
    labels = np.asarray(images.held_out.labels)
    for seed in tqdm(range(setting.num_seeds), desc=setting.data, unit="seed", disable=not sys.stderr.isatty()):
        if seed > 0:
            clusters = recovery_clustering.find_clusters(setting, images, seed)
        clustered = recovery_clustering.run_seed(setting, images, clusters, choices, seed)
        results += clustered.results
        table = recovery_clustering.to_dataset(setting, choices, trials, results)
        folder.write_dataset(f"clusters-{setting.data}", table)
        if seed == 0:
            distances = {
                name: recovery_clustering.sorted_distances(clustered.features[name], labels)
                for name in ("raw", "sparse", "group")
            }
            atoms = np.asarray(clustered.autoencoder.atoms)
            shape = images.train.image_shape
            folder.write_figure(recovery_figures.draw_atoms(atoms, setting.group_size, shape), f"atoms-{setting.data}")
        folder.write_figure(recovery_figures.draw_clusters(table, distances), f"clusters-{setting.data}")
    _say(f"{setting.data}: clustered", start)
    return table


def _say(what: str, start: float) -> None:
    print(f"{what}: done after {time.perf_counter() - start:.0f} s", flush=True)
