"""Gradient flow of the population risk, and stochastic gradient descent on samples.

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
from aetheory.two_layer.network import Covariance, Rows, TwoLayerAutoencoder, View, normalised
from aetheory.two_layer.training import Setting, steps_taken

BATCH_SIZE, _LEARNING_RATE = 256, 5e-3


class _Weights(eqx.Module):
    """B, and A unless it is tied to B."""

    encoder: Float[Array, "latent_dim input_dim"]
    decoder: Float[Array, "input_dim latent_dim"] | None

    def risk(self, view: View) -> Float[Array, ""]:
        """R(A, B), or R at the best multiple of Bᵀ."""
        return view.tied()[1] if self.decoder is None else view.risk(self.decoder)


class RiskFlow(AbstractExperiment):
    """dB/dt = −∂L/∂B with L = (d/2) R on the product of spheres, and dA/dt = −∂L/∂A or A = β Bᵀ with the best β.

    R depends on the directions of the rows of B alone, so that its gradient is tangent to the spheres and the rows keep
    their (unit) length: `gradient_flow` is the flow on the manifold. On isotropic inputs it reaches the limit: tied for
    n ≤ d, the joint one for every n.
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
        """Of a problem; A(0) of the joint flow is 0 where its start has none. The options are `gradient_flow`'s."""
        check_solver_options(rtol, max_steps)
        vector, setting = check_times(times), Setting.of(problem, times, rtol)
        vector, tolerance = vector.astype(setting.dtype), as_float(rtol).astype(setting.dtype)
        return cls(vector, setting, tolerance, adjoint, max_steps, tied=problem.method == "tied")

    def run(self, key: PRNGKeyArray) -> Outcome:
        """One draw, along its flow."""
        # unit length in the metric of the flow, whatever the scale of the covariance is
        encoder = normalised(self.setting.first(key), None)[0]
        decoder = jnp.zeros_like(encoder.T) if self.setting.decoder is None else self.setting.decoder
        run = gradient_flow(
            _Weights(encoder, None if self.tied else decoder),
            _loss,
            self.times,
            (self.setting, self.setting.view(encoder).rows),
            metrics=_measured,
            rtol=self.rtol,
            max_steps=self.max_steps,
            adjoint=self.adjoint,
            throw=False,
        )
        view = self.setting.view(run.module.encoder)
        decoder = view.tied()[0].T if self.tied else run.module.decoder
        return Outcome(run.values, run.stats, TwoLayerAutoencoder(view.rows, decoder, self.setting.activation))


class RiskDescent(AbstractExperiment):
    """A ← A − η ∂L/∂A and B ← B − η ∂L/∂B with L = (d/2) R, rows of B scaled back after each step.

    The fixed-step form of the joint `RiskFlow`, whose L it takes: of the directions of the rows alone.
    """

    times: Int[Array, " times"]
    setting: Setting
    step_size: Float[Array, ""]
    steps: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, times: Any) -> "RiskDescent":
        """Of a joint problem with a step size; A(0) is 0 where its start has none."""
        steps, setting = check_steps(times), Setting.of(problem, problem.step_size)
        return cls(jnp.asarray(steps), setting, as_float(problem.step_size).astype(setting.dtype), steps)

    def run(self, key: PRNGKeyArray) -> Outcome:
        """One draw and its descent."""
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
    view = data[0].view(weights.encoder)
    return weights.encoder.shape[1] / 2 * weights.risk(view)


def _measured(weights: Any, data: tuple[Setting, Rows]) -> Values:
    setting, start = data
    view = setting.view(weights.encoder)
    return setting.measured(view, weights.risk(view), start)


class SampleDescent(AbstractExperiment):
    """Stochastic gradient descent of A and B on fresh samples, rows of B projected back after every step.

    Each step draws a batch from the source, differentiates L = ½ mean ‖x − A σ(B x)‖² / d through the activation
    (through the surrogate, where it is the sign), and rescales the rows so that pre-activations keep unit variance.
    By default Adam with a learning rate that falls to 0 along a cosine over all steps: the last of `times` is where
    that schedule ends. With a step size η plain steps of d·η on that L, which are steps of η on ½ mean ‖x − x̂‖². The
    recorded risk is the exact one of Gaussian inputs with the source's covariance.
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
        """Of a problem: batches of 256 where it names no size; A(0) is (c₁/f(1)) Bᵀ without one."""
        steps, setting, source = check_steps(times), Setting.of(problem, problem.step_size), problem.source
        if source is None:
            variances = jnp.ones(setting.shape[1], setting.dtype)
            source = GaussianSource(variances if setting.covariance is None else setting.covariance)
        step = None if problem.step_size is None else as_float(problem.step_size).astype(setting.dtype)
        size = problem.batch_size or BATCH_SIZE
        return cls(jnp.asarray(steps), setting, source, step, problem.optimizer, size, steps)

    def run(self, key: PRNGKeyArray) -> Outcome:
        """One draw of the start and of all batches."""
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
    """After an optimiser: what it does to the encoder, up to the length of the rows."""

    def project(updates: Any, parameters: Any) -> Any:
        moved = normalised(parameters.encoder + updates.encoder, sigma)[0]
        return eqx.tree_at(lambda tree: tree.encoder, updates, moved - parameters.encoder)

    transformation: optax.GradientTransformation = optax.stateless(project)
    return transformation
