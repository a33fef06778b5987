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


class Descent(AbstractExperiment):
    """Gradient descent of A and B, on the risk or on fresh samples, rows of B scaled back after every step.

    The method "joint" takes plain steps of η on the L of `RiskFlow`. The method "sgd" draws a batch from the source for
    each step and differentiates L = ½ mean ‖x − A σ(B x)‖² / d through the activation (for the sign through its
    surrogate): by default with Adam, whose learning rate decreases to 0 along a cosine until the last of `times`; with
    a step size η by plain steps of d·η on L, which are steps of η on ½ mean ‖x − x̂‖². Rows are rescaled so that
    pre-activations keep unit variance. The recorded risk is that of Gaussian inputs with the source's covariance.
    """

    times: Int[Array, " times"]
    setting: Setting
    source: Any
    step_size: Float[Array, ""] | None
    optimizer: optax.GradientTransformation | None = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    steps: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, times: Any) -> "Descent":
        """Descent of a problem; without a given decoder, A(0) is 0 ("joint") or (c₁/f(1)) Bᵀ ("sgd")."""
        steps, setting, source = check_steps(times), Setting.of(problem, problem.step_size), problem.source
        if problem.method == "joint":
            source = None
        elif source is None:
            variances = jnp.ones(setting.shape[1], setting.dtype)
            source = GaussianSource(variances if setting.covariance is None else setting.covariance)
        step = None if problem.step_size is None else as_float(problem.step_size).astype(setting.dtype)
        size = problem.batch_size or BATCH_SIZE
        return cls(jnp.asarray(steps), setting, source, step, problem.optimizer, size, steps)

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Draw the start and descend."""
        setting, activation, num_steps = self.setting, self.setting.activation, max(1, self.steps[-1])
        by_samples = self.source is not None
        key_start, key_batches = jax.random.split(key) if by_samples else (key, None)
        rows = normalised(setting.first(key_start), setting.covariance)[0]
        scale = activation.linear_coefficient / activation.second_moment if by_samples else 0.0
        decoder = scale * rows.T if setting.decoder is None else setting.decoder

        def sample(step_key: PRNGKeyArray) -> Float[Array, "batch input_dim"]:
            drawn: Float[Array, "batch input_dim"] = self.source.sample(step_key, self.batch_size)
            return drawn.astype(setting.dtype)

        run = gradient_descent(
            TwoLayerAutoencoder(rows, decoder, activation),
            _sample_loss if by_samples else _loss,
            optax.chain(self._optimizer(num_steps), _project_rows(setting.covariance)),
            num_steps,
            None if by_samples else (setting, rows),
            sample=sample if by_samples else None,
            key=key_batches,
            metrics=lambda model, _: _measured(model, (setting, rows)),
            record_at=self.steps,
            throw=False,
        )
        return Outcome(run.values, steps_taken(num_steps), run.module)

    def _optimizer(self, num_steps: int) -> optax.GradientTransformation:
        if self.step_size is not None:
            return optax.sgd(self.step_size if self.source is None else self.setting.shape[1] * self.step_size)
        return self.optimizer or optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, num_steps))


def _loss(model: Any, data: tuple[Setting, Rows]) -> Float[Array, ""]:
    """L = (d/2) R."""
    half: Float[Array, ""] = model.encoder.shape[1] / 2 * _risk(model, data[0].statistics(model.encoder))
    return half


def _sample_loss(autoencoder: TwoLayerAutoencoder, batch: Float[Array, "batch input_dim"]) -> Float[Array, ""]:
    return reconstruction_loss(autoencoder, batch) / batch.shape[1]


def _risk(model: Any, statistics: EncoderStatistics) -> Float[Array, ""]:
    """R(A, B), or R at the best multiple of Bᵀ where there is no decoder."""
    return statistics.tied()[1] if model.decoder is None else statistics.risk(model.decoder)


def _measured(model: Any, data: tuple[Setting, Rows]) -> Values:
    setting, start = data
    statistics = setting.statistics(model.encoder)
    return setting.measured(statistics, _risk(model, statistics), start)


def _project_rows(sigma: Covariance) -> optax.GradientTransformation:
    """Transformation after an optimiser that scales the rows of the updated encoder to unit variance."""

    def project(updates: Any, parameters: Any) -> Any:
        moved = normalised(parameters.encoder + updates.encoder, sigma)[0]
        return eqx.tree_at(lambda tree: tree.encoder, updates, moved - parameters.encoder)

    transformation: optax.GradientTransformation = optax.stateless(project)
    return transformation
