"""Alternating descent of a two-layer autoencoder: the best decoder, one gradient step of the encoder, and again.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468, the alternating gradient method; for any
covariance in the coordinates in which the rows that matter, those of B Σ^{1/2}, lie on the unit sphere.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from aetheory.core.checks import as_float, check_real, check_steps
from aetheory.core.curve import Values
from aetheory.core.problem import AbstractExperiment, Outcome
from aetheory.two_layer.network import Covariance, Rows, TwoLayerAutoencoder, View, normalised
from aetheory.two_layer.training import Setting, recorded, steps_taken

_WINDOW = 10
"""Steps over which the stopping criterion measures the fall of the risk."""
_STEP_SIZE = 0.1


class _Progress(eqx.Module):
    """The loop's state: B̃, the best Aᵀ for the last B̃ but one, the records so far, the number of the last of them."""

    rows: Float[Array, "latent_dim input_dim"]
    decoder: Float[Array, "latent_dim input_dim"]
    records: Values
    step: Int[Array, ""]
    stopped: Bool[Array, ""]


class AlternatingDescent(AbstractExperiment):
    """Steps of the encoder on d·R, each after the best decoder.

    One step, with B̃ = B D the encoder in the coordinates where Σ = D² is diagonal, K = B̃ B̃ᵀ and A = c₁ D B̃ᵀ f(K)⁻¹
    the best decoder for B̃:

        B̃ ← B̃ − step_size · ∇,   ∇ = −2 c₁ (D A)ᵀ + 2 [(AᵀA) ∘ f'(K)] B̃,   and rows back to unit length.

    ∇ is the gradient of d·R at fixed A in units of the mean variance, without the diagonal of f', whose part of it is
    radial (and infinite for the sign). A step costs one Cholesky factor of an n × n matrix and a few products of that
    size; nothing larger is formed.
    """

    times: Int[Array, " times"]
    setting: Setting
    deviations: Float[Array, " input_dim"]
    directions: Float[Array, "input_dim input_dim"] | None
    step_size: Float[Array, ""]
    tolerance: Float[Array, ""]
    num_steps: int = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, times: Any, *, tolerance: float | int | Float[Array, ""] = 1e-7) -> "AlternatingDescent":
        """Of a problem.

        Arguments:
            problem: a `TwoLayerProblem`; its step size is .1 when omitted, which serves for every rate and spectrum
                tried.
            times: numbers of steps.
            tolerance: stop once the risk has fallen by less than this times the mean variance per step, on average
                over the last 10 steps; what is recorded later is constant. 0 never stops early.
        """
        check_real("tolerance", tolerance, "finite and nonnegative", minimum=0.0)
        steps = np.asarray(check_steps(times))
        step_size = _STEP_SIZE if problem.step_size is None else problem.step_size
        setting = Setting.of(problem, step_size, tolerance)
        deviations, directions = _axes(setting.covariance, setting.shape[1], setting.dtype)
        step, smallest = (as_float(number).astype(setting.dtype) for number in (step_size, tolerance))
        return cls(jnp.asarray(steps), setting, deviations, directions, step, smallest, int(steps[-1]))

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Alternating descent of the rows B̃ until the criterion holds."""
        with jax.default_matmul_precision("highest"):
            encoder = self.setting.first(key)
            turned = encoder if self.directions is None else encoder @ self.directions
            final = self._descend(normalised(turned * self.deviations[None, :], None)[0])
            places = jnp.minimum(self.times, final.step)
            values = jax.tree.map(lambda record: record[places], final.records)
            return Outcome(values, steps_taken(final.step), self._autoencoder(final))

    def _descend(self, start: Rows) -> _Progress:
        def advance(progress: _Progress) -> _Progress:
            rows, step = progress.rows, progress.step + 1
            view = self._view(rows)
            decoder, risk = view.best()
            measured = recorded(view, risk, jnp.sum(rows * start))
            records = jax.tree.map(lambda record, one: record.at[step].set(one), progress.records, measured)
            stopped = self._settled(records.risk, step) | (step == self.num_steps) | ~jnp.isfinite(risk)
            moved = normalised(rows - self.step_size * self._gradient(view, decoder), None)[0]
            return _Progress(jnp.where(stopped, rows, moved), decoder, records, step, stopped)

        empty = jnp.zeros(self.num_steps + 1, start.dtype)
        records = Values(risk=empty, second_moment=empty, overlap=empty)
        first = _Progress(start, jnp.zeros_like(start), records, jnp.asarray(-1), jnp.asarray(False))
        final: _Progress = jax.lax.while_loop(lambda progress: ~progress.stopped, advance, first)
        return final

    def _view(self, rows: Rows) -> View:
        """In the axes of Σ, where B Σ is B̃ D; `rows` are not those of B, but only a tied decoder asks for them."""
        projected = rows * self.deviations[None, :]
        return View(rows, projected, rows @ rows.T, jnp.sum(self.deviations**2), self.setting.activation)

    def _settled(self, risks: Float[Array, " records"], step: Int[Array, ""]) -> Bool[Array, ""]:
        fall = risks[jnp.maximum(step - _WINDOW, 0)] - risks[step]
        return (step >= _WINDOW) & (fall < _WINDOW * self.tolerance * jnp.mean(self.deviations**2))

    def _gradient(self, view: View, decoder: Rows) -> Rows:
        """−2 c₁ (D A)ᵀ + 2 [(AᵀA) ∘ f'(K)] B̃, without the diagonal of f', over the mean variance."""
        diagonal = jnp.eye(len(decoder), dtype=bool)
        slopes = view.activation.kernel_derivative(view.correlations)
        coupling = jnp.where(diagonal, 0, (decoder @ decoder.T) * slopes)
        linear = view.activation.linear_coefficient * decoder * self.deviations[None, :]
        return 2 * (coupling @ view.rows - linear) / jnp.mean(self.deviations**2)

    def _autoencoder(self, final: _Progress) -> TwoLayerAutoencoder:
        """In the original coordinates; a direction without variance gets no weight."""
        seen = self.deviations > 0
        encoder = final.rows * jnp.where(seen, 1 / jnp.where(seen, self.deviations, 1), 0)[None, :]
        decoder = final.decoder
        if self.directions is not None:
            encoder, decoder = encoder @ self.directions.T, decoder @ self.directions.T
        return TwoLayerAutoencoder(encoder, decoder.T, self.setting.activation)


@eqx.filter_jit
def _axes(
    covariance: Covariance, input_dim: int, dtype: Any
) -> tuple[Float[Array, " input_dim"], Float[Array, "input_dim input_dim"] | None]:
    """The deviations D along the axes of Σ, and the axes where they are not those of the coordinates."""
    if covariance is None:
        return jnp.ones(input_dim, dtype), None
    if covariance.ndim == 1:
        return jnp.sqrt(covariance), None
    variances, directions = jnp.linalg.eigh(covariance)
    # rounding leaves a little variance, of either sign, in directions that have none
    floor = input_dim * float(np.finfo(dtype).eps) * variances[-1]
    return jnp.sqrt(jnp.where(variances > floor, variances, 0)), directions
