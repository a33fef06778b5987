"""Where one encoder step finds the active groups: probability of exact recovery over noise, sparsity and threshold.

Source of the guaranteed intervals: arXiv:2102.07003.
"""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory import group_sparse as recovery
from aetheory.group_sparse.dictionaries import orthonormal_groups_dictionary
from aetheory.group_sparse.network import group_relu
from aetheory.sources.group_sparse import GroupSparseSource


@dataclass(frozen=True)
class Phases:
    """What to sweep: random dictionaries with orthonormal groups, known to the encoder.

    Arguments:
        threshold: λ of the sweep over noise.
        num_active: the γ of both sweeps.
        signal_to_noise: in dB, of the sweep over noise.
        thresholds: the λ of the sweep over thresholds, without noise.
        num_samples: signals behind each probability.
    """

    input_dim: int = 950
    num_groups: int = 200
    group_size: int = 2
    min_norm: float = 4.0
    max_norm: float = 5.0
    threshold: float = 2.0
    num_active: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    signal_to_noise: tuple[float, ...] = tuple(np.linspace(-15, 15, 13).tolist())
    thresholds: tuple[float, ...] = tuple(np.linspace(0, 5, 51).tolist())
    num_samples: int = 400


def phase_diagrams(phases: Phases, key: PRNGKeyArray) -> xarray.Dataset:
    """The probability of exact recovery, against (γ, noise) at one threshold and against (γ, threshold) without noise.

    Returns:
        `recovery_noise` over (num_active, signal_to_noise), `recovery_threshold` over (num_active, threshold), and the
        ends of three intervals over (form, num_active, end): sound, published, and from this very dictionary.
    """
    dictionary_key, noise_key, threshold_key = jax.random.split(key, 3)
    dictionary = orthonormal_groups_dictionary(
        dictionary_key, phases.input_dim, phases.num_groups * phases.group_size, phases.group_size
    )
    decibels, thresholds = jnp.asarray(phases.signal_to_noise), jnp.asarray(phases.thresholds)
    size = phases.group_size
    block_coherence = recovery.block_coherence(dictionary, size)
    noise, silent, intervals = [], [], []
    for index, active in enumerate(phases.num_active):
        source = GroupSparseSource(dictionary, size, active, min_norm=phases.min_norm, max_norm=phases.max_norm)
        noise.append(_over_noise(source, decibels, phases, jax.random.fold_in(noise_key, index)))
        silent.append(_over_thresholds(source, thresholds, phases, jax.random.fold_in(threshold_key, index)))
        published, sound = (
            recovery.threshold_interval(
                block_coherence,
                0.0,
                group_size=size,
                num_active=active,
                min_norm=phases.min_norm,
                max_norm=phases.max_norm,
                form=form,
            )
            for form in ("published", "sound")
        )
        tight = recovery.support_guarantee(
            dictionary,
            dictionary,
            group_size=size,
            num_active=active,
            min_norm=phases.min_norm,
            max_norm=phases.max_norm,
        )
        intervals.append([[interval.lower, interval.upper] for interval in (sound, published, tight)])
    return xarray.Dataset(
        {
            "recovery_noise": (("num_active", "signal_to_noise"), np.asarray(jnp.stack(noise))),
            "recovery_threshold": (("num_active", "threshold"), np.asarray(jnp.stack(silent))),
            "interval": (("num_active", "form", "end"), np.asarray(intervals, np.float64)),
        },
        {
            "num_active": list(phases.num_active),
            "signal_to_noise": list(phases.signal_to_noise),
            "threshold": list(phases.thresholds),
            "form": ["sound", "published", "dictionary"],
            "end": ["lower", "upper"],
        },
        {
            "input_dim": phases.input_dim,
            "num_groups": phases.num_groups,
            "group_size": phases.group_size,
            "num_samples": phases.num_samples,
            "noise_threshold": phases.threshold,
            "block_coherence": float(block_coherence),
        },
    )


def interval_violations(diagrams: xarray.Dataset, form: str) -> int:
    """How many of the simulated thresholds inside the intervals of that form missed a support."""
    ends = diagrams.interval.sel(form=form)
    inside = (diagrams.threshold >= ends.sel(end="lower")) & (diagrams.threshold < ends.sel(end="upper"))
    return int((inside & (diagrams.recovery_threshold < 1)).sum())


@eqx.filter_jit
def _over_noise(
    source: GroupSparseSource, decibels: Float[Array, " noises"], phases: Phases, key: PRNGKeyArray
) -> Float[Array, " noises"]:
    def exact(level: Float[Array, ""]) -> Float[Array, ""]:
        noisy = eqx.tree_at(lambda one: one.signal_to_noise, source, level, is_leaf=lambda leaf: leaf is None)
        samples = noisy.draw(key, phases.num_samples)
        codes = group_relu(samples.observations @ source.dictionary, phases.threshold, phases.group_size)
        return recovery.support_recovery(recovery.active_groups(codes, phases.group_size), samples.active).exact

    # One noise at a time: its samples fill the cores, and memory does not grow with the sweep.
    shares: Float[Array, " noises"] = jax.lax.map(exact, decibels)
    return shares


@eqx.filter_jit
def _over_thresholds(
    source: GroupSparseSource, thresholds: Float[Array, " thresholds"], phases: Phases, key: PRNGKeyArray
) -> Float[Array, " thresholds"]:
    samples = source.draw(key, phases.num_samples)
    correlations = samples.observations @ source.dictionary

    def exact(threshold: Float[Array, ""]) -> Float[Array, ""]:
        found = recovery.active_groups(group_relu(correlations, threshold, phases.group_size), phases.group_size)
        return recovery.support_recovery(found, samples.active).exact

    shares: Float[Array, " thresholds"] = jax.lax.map(exact, thresholds)
    return shares
