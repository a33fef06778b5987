"""Alternating descent of a two-layer autoencoder: the best decoder, then one gradient step of the encoder, repeated.

Source: A. Shevchenko, K. Kögler, H. Hassani, M. Mondelli, arXiv:2212.13468, the alternating gradient method; here for
any covariance, in coordinates in which the rows of B Σ^{1/2} lie on the unit sphere.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from aetheory.core.checks import as_float, check_real, check_steps
from aetheory.core.curve import Values
from aetheory.core.problem import AbstractExperiment, Outcome
from aetheory.two_layer.network import EncoderStatistics, Rows, TwoLayerAutoencoder
from aetheory.two_layer.training import Setting, steps_taken

_WINDOW = 10
"""Steps over which the stopping criterion measures the decrease of the risk."""
STEP_SIZE = 0.1
"""Default step size, which serves for every rate and spectrum tried."""


class _Progress(eqx.Module):
    """State of the loop: B, the best Aᵀ for the previous B, the records and the number of the last record."""

    rows: Rows
    decoder: Rows
    records: Values
    step: Int[Array, ""]
    stopped: Bool[Array, ""]


class AlternatingDescent(AbstractExperiment):
    """Gradient steps of the encoder on d·R, each at the best decoder.

    One step, with K = B Σ Bᵀ and A = c₁ Σ Bᵀ f(K)⁻¹ the best decoder for B:

        B ← B − step_size · ∇,   ∇ = −2 c₁ Aᵀ + 2 [(AᵀA) ∘ f'(K)] B,   and rows back to unit variance, b Σ bᵀ = 1.

    In the coordinates B̃ = B Σ^{1/2}, ∇ is the gradient of d·R at fixed A in units of the mean variance, without the
    diagonal of f', whose contribution is radial (and infinite for the sign). A step costs one Cholesky factor of an
    n × n matrix and a few products of that size.
    """

    times: Int[Array, " times"]
    setting: Setting
    step_size: Float[Array, ""]
    tolerance: Float[Array, ""]
    num_steps: int = eqx.field(static=True)

    @classmethod
    def of(cls, problem: Any, times: Any, *, tolerance: float | int | Float[Array, ""] = 1e-7) -> "AlternatingDescent":
        """Alternating descent of a problem.

        Arguments:
            problem: a `TwoLayerProblem`; its step size is .1 when omitted.
            times: numbers of steps.
            tolerance: stop once the risk decreases by less than this times the mean variance per step, on average over
                the last 10 steps; later records are constant. 0 never stops early.
        """
        check_real("tolerance", tolerance, "finite and nonnegative", minimum=0.0)
        steps = check_steps(times)
        step_size = STEP_SIZE if problem.step_size is None else problem.step_size
        setting = Setting.of(problem, step_size, tolerance)
        step, smallest = (as_float(number).astype(setting.dtype) for number in (step_size, tolerance))
        return cls(jnp.asarray(steps), setting, step, smallest, steps[-1])

    def run(self, key: PRNGKeyArray) -> Outcome:
        """Draw the start and descend until the criterion holds."""
        final = self._descend(self.setting.statistics(self.setting.first(key)).rows)
        places = jnp.minimum(self.times, final.step)
        values = jax.tree.map(lambda record: record[places], final.records)
        module = TwoLayerAutoencoder(final.rows, final.decoder.T, self.setting.activation)
        return Outcome(values, steps_taken(final.step), module)

    def _descend(self, start: Rows) -> _Progress:
        def advance(progress: _Progress) -> _Progress:
            statistics, step = self.setting.statistics(progress.rows), progress.step + 1
            decoder, risk = statistics.best()
            measured = self.setting.measured(statistics, risk, start)
            records = jax.tree.map(lambda record, one: record.at[step].set(one), progress.records, measured)
            mean_variance = statistics.power / start.shape[1]
            decrease = records.risk[jnp.maximum(step - _WINDOW, 0)] - risk
            settled = (step >= _WINDOW) & (decrease < _WINDOW * self.tolerance * mean_variance)
            stopped = settled | (step == self.num_steps) | ~jnp.isfinite(risk)
            moved = statistics.rows - self.step_size / mean_variance * _gradient(statistics, decoder)
            return _Progress(jnp.where(stopped, statistics.rows, moved), decoder, records, step, stopped)

        empty = jnp.zeros(self.num_steps + 1, start.dtype)
        records = Values(risk=empty, second_moment=empty, overlap=empty)
        first = _Progress(start, jnp.zeros_like(start), records, jnp.asarray(-1), jnp.asarray(False))
        final: _Progress = jax.lax.while_loop(lambda progress: ~progress.stopped, advance, first)
        return final


def _gradient(statistics: EncoderStatistics, decoder: Rows) -> Rows:
    """−2 c₁ Aᵀ + 2 [(AᵀA) ∘ f'(K)] B, without the diagonal of f'."""
    slopes = statistics.activation.kernel_derivative(statistics.correlations)
    coupling = jnp.where(jnp.eye(len(decoder), dtype=bool), 0, (decoder @ decoder.T) * slopes)
    return 2 * (coupling @ statistics.rows - statistics.activation.linear_coefficient * decoder)
