"""Training of a group-sparse autoencoder, measured against the dictionary of its source."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from aetheory.core.checks import is_concrete
from aetheory.core.curve import Values
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.problem import AbstractExperiment, Outcome
from aetheory.group_sparse.dictionaries import Dictionary, gaussian_dictionary, perturbed_dictionary
from aetheory.group_sparse.kernels import sparse_reconstruction_loss
from aetheory.group_sparse.metrics import active_groups, squared_distance, support_recovery
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.sources.group_sparse import GroupSparseSamples, GroupSparseSource

_NUM_HELD_OUT = 1000


class RecoveryExperiment(AbstractExperiment):
    """Training with one optimiser step on ½‖y − ŷ‖² for each batch, in passes of bounded memory.

    Source: arXiv:2102.07003, update (14) and the simulation of Fig. 3.
    """

    times: Int[Array, " times"]
    problem: Any
    steps: tuple[int, ...] = eqx.field(static=True)
    examples_per_pass: int = eqx.field(static=True)
    metrics: Callable[..., Any] = eqx.field(static=True)

    def draw(self, key: PRNGKeyArray) -> tuple[GroupSparseSource, GroupSparseAutoencoder]:
        """Random source and network, whose dictionary at the start is A* plus noise, with columns of norm 1."""
        one = self.problem
        norms = {"min_norm": one.min_norm, "max_norm": one.max_norm, "signal_to_noise": one.signal_to_noise}
        if one.given is not None:
            source, network = one.given
            return _replaced(source, **norms), _replaced(network, threshold=one.threshold)
        truth = gaussian_dictionary(jax.random.fold_in(key, 0), one.input_dim, one.num_groups * one.group_size)
        source = GroupSparseSource(truth.astype(one.threshold.dtype), one.group_size, one.num_active, **norms)
        noise_scale = jnp.sqrt((one.start_correlation**-2 - 1) / one.input_dim)
        start = perturbed_dictionary(jax.random.fold_in(key, 1), source.dictionary, noise_scale)
        group_size = one.group_size if one.network == "group" else 1
        return source, GroupSparseAutoencoder(start, one.threshold, group_size, nonnegative=one.network == "relu")

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Draw a source and a network and train; values that are not finite are returned as they are."""
        source, start = self.draw(key)
        rate, passes = self.problem.learning_rate, self.problem.batch_size // self.examples_per_pass
        make = _kept if is_concrete(rate) else _optimizer
        run = gradient_descent(
            start,
            sparse_reconstruction_loss,
            make(self.problem.optimizer, float(rate) if is_concrete(rate) else rate, passes, rate.dtype),
            self.steps[-1] * passes,
            (source.dictionary, source.draw(jax.random.fold_in(key, 2), _NUM_HELD_OUT)),
            sample=eqx.Partial(source.sample, num_samples=self.examples_per_pass),
            key=jax.random.fold_in(key, 3),
            metrics=self.metrics,
            record_at=[step * passes for step in self.steps],
            throw=False,
        )
        return Outcome(run.values, module=run.module)


def _replaced(module: Any, **fields: Any) -> Any:
    """A module with other values in these fields."""

    def old(module: Any) -> list[Any]:
        return [getattr(module, name) for name in fields]

    return eqx.tree_at(old, module, [*fields.values()], is_leaf=lambda leaf: leaf is None)


def measure(network: GroupSparseAutoencoder, data: tuple[Dictionary, GroupSparseSamples]) -> Values:
    """Values that a simulation records, against the true dictionary and on held-out samples.

    Returns:
        `distance`, ‖A − A*‖_F² of columns scaled to norm 1; `correlation`, the mean of a_iᵀa*_i of these columns;
        `column_norm`, the mean norm of the unscaled columns; `found`, `invented` and `exact`, the true- and
        false-positive rates and the share of exact supports of `support_recovery`; and the `loss`.
    """
    truth, samples = data
    codes = network.encode(samples.observations)
    errors = samples.observations - network.decode(codes)
    found, active = (active_groups(one, network.group_size) for one in (codes, samples.codes))
    rates = (rate.astype(errors.dtype) for rate in support_recovery(found, active))
    distance = squared_distance(network.dictionary, truth)
    return Values(
        distance=distance,
        correlation=1 - distance / (2 * network.latent_dim),
        column_norm=jnp.mean(jnp.linalg.norm(network.atoms, axis=0)),
        **dict(zip(("found", "invented", "exact"), rates, strict=True)),
        loss=0.5 * jnp.mean(jnp.sum(errors**2, axis=-1)),
    )


def transformation(optimizer: str | optax.GradientTransformation, rate: Any) -> optax.GradientTransformation:
    """Optax transformation of an optimiser; a name takes this learning rate."""
    made: optax.GradientTransformation = getattr(optax, optimizer)(rate) if isinstance(optimizer, str) else optimizer
    return made


def _optimizer(
    optimizer: str | optax.GradientTransformation, rate: Any, passes: int, dtype: Any
) -> optax.GradientTransformation:
    """One step for all passes of a batch, whose gradients Optax would otherwise add up in float32."""
    return optax.MultiSteps(transformation(optimizer, rate), passes, accumulator_dtype=dtype).gradient_transformation()


_kept = functools.cache(_optimizer)
"""The same object for equal settings, so that programs are compiled once."""
