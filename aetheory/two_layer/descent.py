"""Gradient flow and descent of the population risk, and stochastic gradient descent on samples.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from aetheory.core.checks import as_float, check_steps, check_times
from aetheory.core.curve import Values
from aetheory.core.gradient_descent import gradient_descent
from aetheory.core.gradient_flow import gradient_flow
from aetheory.core.problem import AbstractExperiment, Outcome
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.core.solve import DEFAULT_MAX_STEPS, check_solver_options
from aetheory.sources.gaussian import GaussianSource
from aetheory.two_layer.network import Covariance, EncoderStatistics, Rows, TwoLayerAutoencoder, normalised
from aetheory.two_layer.training import Setting, steps_taken

BATCH_SIZE, _LEARNING_RATE = 256, 5e-3


class _Weights(eqx.Module):
    """B and A; no A where it is tied to B."""

    encoder: Float[Array, "latent_dim input_dim"]
    decoder: Float[Array, "input_dim latent_dim"] | None

    def risk(self, statistics: EncoderStatistics) -> Float[Array, ""]:
        """R(A, B), or R at the best multiple of Bᵀ."""
        return statistics.tied()[1] if self.decoder is None else statistics.risk(self.decoder)


class RiskFlow(AbstractExperiment):
    """Gradient flow of L = (d/2) R in B on spheres, and in A or with the best tied decoder A = β Bᵀ.

    R depends on the directions of the rows of B alone, so that its gradient is tangent to the spheres and the rows keep
    their unit length. On isotropic inputs the flow reaches the limit: the tied one for n ≤ d, the joint one for every
    n.
    """

    times: Float[Array, " times"]
    setting: Setting
    rtol: Float[Array, ""]
    adjoint: diffrax.AbstractAdjoint | None
    max_steps: int = eqx.field(static=True)
    tied: bool = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        problem: Any,
        times: Any,
        *,
        rtol: float | Float[Array, ""] = 1e-6,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> "RiskFlow":
        """Flow of a problem, with A(0) = 0 where its start has none; options as for `gradient_flow`."""
        check_solver_options(rtol, max_steps)
        vector, setting = check_times(times), Setting.of(problem, times, rtol)
        vector, tolerance = vector.astype(setting.dtype), as_float(rtol).astype(setting.dtype)
        return cls(vector, setting, tolerance, adjoint, max_steps, tied=problem.method == "tied")

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Draw the start and follow the flow."""
        # unit length in the metric of the flow, for any scale of the covariance
        encoder = normalised(self.setting.first(key), None)[0]
        decoder = jnp.zeros_like(encoder.T) if self.setting.decoder is None else self.setting.decoder
        run = gradient_flow(
            _Weights(encoder, None if self.tied else decoder),
            _loss,
            self.times,
            (self.setting, self.setting.statistics(encoder).rows),
            metrics=_measured,
            rtol=self.rtol,
            max_steps=self.max_steps,
            adjoint=self.adjoint,
            throw=False,
        )
        final = self.setting.statistics(run.module.encoder)
        decoder = final.tied()[0].T if self.tied else run.module.decoder
        return Outcome(run.values, run.stats, TwoLayerAutoencoder(final.rows, decoder, self.setting.activation))


class RiskDescent(AbstractExperiment):
    """Gradient descent of A and B on the L of `RiskFlow`, rows of B scaled back after each step."""

    times: Int[Array, " times"]
    setting: Setting
    step_size: Float[Array, ""]
    steps: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, times: Any) -> "RiskDescent":
        """Descent of a joint problem with a step size, with A(0) = 0 where its start has none."""
        steps, setting = check_steps(times), Setting.of(problem, problem.step_size)
        return cls(jnp.asarray(steps), setting, as_float(problem.step_size).astype(setting.dtype), steps)

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Draw the start and descend."""
        setting, num_steps = self.setting, max(1, self.steps[-1])
        rows = normalised(setting.first(key), setting.covariance)[0]
        decoder = jnp.zeros_like(rows.T) if setting.decoder is None else setting.decoder
        run = gradient_descent(
            _Weights(rows, decoder),
            _loss,
            optax.chain(optax.sgd(self.step_size), _project_rows(setting.covariance)),
            num_steps,
            (setting, rows),
            metrics=_measured,
            record_at=self.steps,
            throw=False,
        )
        trained = TwoLayerAutoencoder(run.module.encoder, run.module.decoder, setting.activation)
        return Outcome(run.values, steps_taken(num_steps), trained)


def _loss(weights: _Weights, data: tuple[Setting, Rows]) -> Float[Array, ""]:
    """L = (d/2) R."""
    return weights.encoder.shape[1] / 2 * weights.risk(data[0].statistics(weights.encoder))


def _measured(weights: Any, data: tuple[Setting, Rows]) -> Values:
    setting, start = data
    statistics = setting.statistics(weights.encoder)
    return setting.measured(statistics, weights.risk(statistics), start)


class SampleDescent(AbstractExperiment):
    """Stochastic gradient descent of A and B on fresh samples, rows of B scaled back after every step.

    Each step draws a batch from the source, differentiates L = ½ mean ‖x − A σ(B x)‖² / d through the activation (for
    the sign through its surrogate), and rescales the rows so that pre-activations keep unit variance. By default Adam,
    with a learning rate that decreases to 0 along a cosine until the last of `times`. With a step size η plain steps of
    d·η on L, which are steps of η on ½ mean ‖x − x̂‖². The recorded risk is the exact risk of Gaussian inputs with the
    source's covariance.
    """

    times: Int[Array, " times"]
    setting: Setting
    source: Any
    step_size: Float[Array, ""] | None
    optimizer: optax.GradientTransformation | None = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    steps: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, times: Any) -> "SampleDescent":
        """Descent of a problem, with batches of 256 and A(0) = (c₁/f(1)) Bᵀ where it gives none."""
        steps, setting, source = check_steps(times), Setting.of(problem, problem.step_size), problem.source
        if source is None:
            variances = jnp.ones(setting.shape[1], setting.dtype)
            source = GaussianSource(variances if setting.covariance is None else setting.covariance)
        step = None if problem.step_size is None else as_float(problem.step_size).astype(setting.dtype)
        size = problem.batch_size or BATCH_SIZE
        return cls(jnp.asarray(steps), setting, source, step, problem.optimizer, size, steps)

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Draw the start and descend on fresh batches."""
        setting, num_steps = self.setting, max(1, self.steps[-1])
        activation = setting.activation
        key_start, key_batches = jax.random.split(key)

        def measured(model: TwoLayerAutoencoder, _: Any) -> Values:
            return _measured(_Weights(model.encoder, model.decoder), (setting, rows))

        rows = normalised(setting.first(key_start), setting.covariance)[0]
        tied = activation.linear_coefficient / activation.second_moment * rows.T
        optimizer = self._optimizer(num_steps)
        run = gradient_descent(
            TwoLayerAutoencoder(rows, tied if setting.decoder is None else setting.decoder, activation),
            _sample_loss,
            optax.chain(optimizer, _project_rows(setting.covariance)),
            num_steps,
            sample=lambda step_key: self.source.sample(step_key, self.batch_size).astype(setting.dtype),
            key=key_batches,
            metrics=measured,
            record_at=self.steps,
            throw=False,
        )
        return Outcome(run.values, steps_taken(num_steps), run.module)

    def _optimizer(self, num_steps: int) -> optax.GradientTransformation:
        if self.step_size is not None:
            return optax.sgd(self.setting.shape[1] * self.step_size)
        return self.optimizer or optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))


def _sample_loss(autoencoder: TwoLayerAutoencoder, batch: Float[Array, "batch input_dim"]) -> Float[Array, ""]:
    return reconstruction_loss(autoencoder, batch) / batch.shape[1]


def _project_rows(sigma: Covariance) -> optax.GradientTransformation:
    """Transformation after an optimiser that scales the rows of the updated encoder to unit variance."""

    def project(updates: Any, parameters: Any) -> Any:
        moved = normalised(parameters.encoder + updates.encoder, sigma)[0]
        return eqx.tree_at(lambda tree: tree.encoder, updates, moved - parameters.encoder)

    transformation: optax.GradientTransformation = optax.stateless(project)
    return transformation
