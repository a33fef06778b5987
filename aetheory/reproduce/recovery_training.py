"""Runs of the recovery experiment that leave checkpoints, and continue from them.

Source: E. Theodosis, B. Tolooshams, P. Tankala, A. Tasissa, D. Ba, arXiv:2102.07003.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray

from aetheory import group_sparse as recovery
from aetheory.core.checks import fail
from aetheory.core.curve import Curve, Values
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.group_sparse.problem import RecoveryProblem
from aetheory.group_sparse.simulation import RecoveryExperiment


@dataclass(frozen=True)
class Experiment:
    """One run of a problem, one step of the optimiser an epoch.

    Arguments:
        problem: the published simulation when omitted.
        examples_per_pass: how many examples are held at a time; the gradient of an epoch is accumulated over passes.
    """

    problem: RecoveryProblem = dataclasses.field(default_factory=RecoveryProblem)
    num_epochs: int = 160
    examples_per_pass: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.problem.batch_size % self.examples_per_pass:
            divisor = f"a divisor of `batch_size` = {self.problem.batch_size}"
            raise fail("examples_per_pass", divisor, self.examples_per_pass)

    @property
    def decibels(self) -> float:
        """The signal-to-noise ratio as a number: infinity where there is no noise."""
        return math.inf if self.problem.signal_to_noise is None else float(self.problem.signal_to_noise)

    @property
    def settings(self) -> dict[str, Any]:
        """Every number and name in it."""
        fields = {name: value for name, value in vars(self.problem).items() if value is not None}
        return fields | {name: value for name, value in vars(self).items() if name != "problem"}

    def scaled(self, factor: int) -> "Experiment":
        """That of the scaled problem, an epoch in one pass."""
        problem = self.problem.scaled(factor)
        return dataclasses.replace(self, problem=problem, examples_per_pass=problem.batch_size)

    def epochs(self, number: int) -> RecoveryExperiment:
        """So many epochs of it, each recorded."""
        return self.problem.experiment(range(number + 1), examples_per_pass=self.examples_per_pass, metrics=measure)


def train(experiment: Experiment, checkpoint: Path | None = None, epochs_per_chunk: int = 10) -> Iterator[Curve]:
    """Run the experiment, from its checkpoint where there is one, and yield the curve so far after each chunk.

    Arguments:
        experiment: what to run.
        checkpoint: a file that is written after each chunk; one that another experiment has written is not used.
        epochs_per_chunk: how often to yield; divides the number of epochs.

    Raises:
        FloatingPointError: training diverged; the message names the step.
    """
    key = jax.random.key(experiment.seed)
    curve = None if checkpoint is None else _load(checkpoint, experiment)
    if curve is not None and curve.times[-1] == experiment.num_epochs:
        yield curve
    while (epoch := 0 if curve is None else int(curve.times[-1])) < experiment.num_epochs:
        chunk = experiment.epochs(min(epochs_per_chunk, experiment.num_epochs - epoch)).descend(key, curve)
        curve = chunk if curve is None else _joined(curve, chunk)
        if checkpoint is not None:
            _save(checkpoint, experiment, curve)
        yield curve


def measure(autoencoder: GroupSparseAutoencoder, data: Any) -> Values:
    """What a simulation records, and what the published contraction factor needs of the normalised columns."""
    truth, samples = data
    atoms = recovery.normalise_columns(autoencoder.dictionary)
    group_size = truth.shape[1] // samples.active.shape[1]  # of the source, for the baselines too
    alpha_min, alpha_max = recovery.alignment_range(atoms, truth, group_size)
    closeness = recovery.closeness(atoms, truth, group_size)
    recorded = dict(recovery.measure(autoencoder, data).items())
    return Values(**recorded, closeness=closeness, alpha_min=alpha_min, alpha_max=alpha_max)


def to_dataset(experiments: Sequence[Experiment], curves: Sequence[Curve]) -> xarray.Dataset:
    """The records over (run, epoch), with what differs between the runs as coordinates.

    Arguments:
        experiments: of equal numbers of epochs; what has not come yet is NaN.
        curves: of each experiment.
    """
    count = experiments[0].num_epochs + 1
    records = {name: np.full((len(curves), count), np.nan, array.dtype) for name, array in curves[0].values.items()}
    for run, curve in enumerate(curves):
        for name, array in curve.values.items():
            records[name][run, : len(array)] = array
    coordinates = {
        "epoch": np.arange(count),
        "network": ("run", [experiment.problem.network for experiment in experiments]),
        "signal_to_noise": ("run", [experiment.decibels for experiment in experiments]),
    }
    settings = {name: value for name, value in experiments[0].settings.items() if name not in coordinates}
    return xarray.Dataset({name: (("run", "epoch"), table) for name, table in records.items()}, coordinates, settings)


def _joined(curve: Curve, chunk: Curve) -> Curve:
    """One curve of both; the second begins where the first ends."""
    times = jnp.concatenate([curve.times, chunk.times[1:]])
    values = jax.tree.map(lambda before, after: jnp.concatenate([before, after[1:]]), curve.values, chunk.values)
    return dataclasses.replace(chunk, times=times, values=values)


def _save(path: Path, experiment: Experiment, curve: Curve) -> None:
    """A line with the epoch and the settings, then the arrays; complete or not there at all."""
    temporary = path.with_name(f".{path.name}")
    with open(temporary, "wb") as file:
        file.write((json.dumps([int(curve.times[-1]), _identity(experiment)]) + "\n").encode())
        eqx.tree_serialise_leaves(file, curve)
    os.replace(temporary, path)


def _load(path: Path, experiment: Experiment) -> Curve | None:
    if not path.exists():
        return None
    with open(path, "rb") as file:
        epoch, identity = json.loads(file.readline())
        if identity != _identity(experiment):
            return None
        like = eqx.filter_eval_shape(experiment.epochs(epoch).descend, jax.random.key(experiment.seed))
        curve: Curve = eqx.tree_deserialise_leaves(file, like)
    return curve


def _identity(experiment: Experiment) -> dict[str, Any]:
    return {**experiment.settings, "dtype": str(jnp.result_type(float)), "aetheory": version("aetheory")}
