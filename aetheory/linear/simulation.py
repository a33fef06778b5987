"""What gradient training of a linear autoencoder does from random weights on random or given data."""

import math
from dataclasses import replace
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import (
    as_float,
    check_dimension,
    check_levels,
    check_times,
    common_float_dtype,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.core.curve import Values
from aetheory.core.memory import require_memory
from aetheory.core.problem import AbstractExperiment, Outcome
from aetheory.core.solve import SolverStats, check_solver_options, steps_needed
from aetheory.linear import ensembles
from aetheory.linear.data import DataCovariance, check_data
from aetheory.linear.flow import Ensemble, evolve
from aetheory.linear.modes import Penalty, mode_error
from aetheory.linear.parameters import top_of_samples
from aetheory.spectra.sampling import sample_laguerre_spectrum

_COPIES, _SQUARES = 12, 3
"""Arrays of the size of the weights that the solver holds, and matrices that a draw of S for any covariance takes."""

_AT_REST, _MUCH_LATER = 20, 15
"""When the fastest modes are at rest, in units of 1/s_max, and how many times later a stiff flow ends."""


class LinearExperiment(AbstractExperiment):
    """dW/dt = −[(W Wᵀ−I) S + S (W Wᵀ−I)] W from Gaussian weights, S the covariance of the samples.

    The train risk is (1/p) tr[(M−I) S (M−I)], the population risk (1/p) tr[(M−I) Σ (M−I)], M = WWᵀ. Their law is exact,
    but neither the samples nor more than min(p, N + H) × min(p, H) weights are ever formed: S is drawn through its
    spectrum, the latent dimension is cut to p by an LQ decomposition, and the directions that no sample spans are
    replaced by an H × H factor. The cost depends on the smaller dimensions only.

    On the population itself (N = ∞) and isotropic inputs no flow is solved: every eigenvalue of M(0), drawn without W,
    moves alone and explicitly, and the curve's statistics count 0 steps. Late times of few samples in many dimensions
    are stiff, and crossed by a stabilised method.

    Of an untied problem both factors of M = W₂ W₁ are drawn and followed, without these reductions but that of the
    samples; see `untied_vector_field`. Its curve also has the `objective`, the train risk with the penalties.

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335, the experiments.
    """

    times: Float[Array, " times"]
    init_variance: Float[Array, ""]
    variances: Float[Array, " input_dim"] | None
    covariance: DataCovariance | None
    dimensions: ensembles.Dimensions
    rtol: Float[Array, ""]
    step_size: Float[Array, ""] | None
    adjoint: diffrax.AbstractAdjoint | None
    penalty: Penalty | None
    turn: Float[Array, ""] | None
    levels: Float[Array, " levels"] | None
    shapes: ensembles.Reduction = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        problem: Any,
        times: Any,
        data: Any,
        held_out: Any,
        step_size: Any,
        rtol: Any,
        max_steps: int,
        adjoint: diffrax.AbstractAdjoint | None,
        quantiles: Any,
    ) -> "LinearExperiment":
        """Of checked arguments; see `LinearProblem.experiment`."""
        dims = (static_integer("input_dim", problem.input_dim), static_integer("latent_dim", problem.latent_dim))
        num_samples = _static_num_samples(problem.num_samples)
        vector = check_times(times)
        check_solver_options(rtol, max_steps)
        if step_size is not None:
            max_steps = steps_needed(times, step_size, max_steps)
        if held_out is not None and data is None:
            raise ValueError("Argument `held_out` must be None without `data`, but got an array.")
        if data is not None and problem.covariance is not None:
            raise ValueError("Argument `data` must be None for a problem with a covariance of its own.")
        if quantiles is not None and not problem.tied:
            raise fail("quantiles", "None for untied weights, whose W₂ W₁ has no real spectrum", quantiles)
        covariance = None if data is None else check_data(problem, data, held_out)
        numbers = (problem.init_variance, problem.weight_decay, problem.input_noise)
        for name, value in zip(("init_variance", "weight_decay", "input_noise"), numbers, strict=True):
            if value is not None and jnp.ndim(value) != 0:
                raise fail(name, "a scalar (map over several with `jax.vmap`)", value)
        dtype = common_float_dtype(vector, *numbers, data, problem.covariance)
        rank = None if covariance is None else len(covariance.spectrum)
        shapes = ensembles.reduction(*dims, num_samples, rank, problem.tied)
        experiment = cls(
            times=vector,
            init_variance=as_float(problem.init_variance),
            variances=problem.covariance,
            covariance=covariance,
            dimensions=ensembles.Dimensions(*map(as_float, (*dims, num_samples))),
            rtol=as_float(rtol),
            step_size=None if step_size is None else as_float(step_size),
            adjoint=adjoint,
            penalty=problem.penalty,
            turn=None if step_size is not None else _turn(problem, vector),
            levels=None if quantiles is None else check_levels(quantiles),
            shapes=shapes,
            max_steps=max_steps,
        )
        cast: LinearExperiment = jax.tree.map(
            lambda leaf: leaf.astype(dtype) if eqx.is_inexact_array(leaf) else leaf, experiment
        )
        return cast._checked()

    def _checked(self) -> "LinearExperiment":
        """Itself, if the device has room for it."""
        if not self.is_explicit:
            entries = _COPIES * self.shapes.size
            if self.variances is not None:
                entries += _SQUARES * len(self.variances) * (self.shapes.rank + self.shapes.outside)
            size = f"{self.shapes.rank + self.shapes.outside} × {self.shapes.columns}"
            require_memory(
                float(entries * self.times.dtype.itemsize),
                f"A simulation with weights of {size} entries (after all reductions)",
                "Lower `input_dim`, `latent_dim` or `num_samples`: two of them may be large where the third is small.",
            )
        return self

    def run(self, key: PRNGKeyArray) -> Outcome:
        """One draw, along its flow."""
        if self.is_explicit:
            return self._modes(key)
        values, stats = evolve(
            self.draw(key),
            self.times,
            rtol=self.rtol,
            step_size=self.step_size,
            max_steps=self.max_steps,
            adjoint=self.adjoint,
            turn=self.turn,
            levels=self.levels,
        )
        return Outcome(values, stats)

    def draw(self, key: PRNGKeyArray) -> Ensemble:
        """Weights and S at the start, with the penalty."""
        rest = (self.dimensions, self.shapes, self.init_variance)
        if self.variances is not None:
            ensemble = ensembles.general(key, self.variances, *rest)
        elif self.covariance is None:
            ensemble = ensembles.gaussian(key, *rest)
        else:
            ensemble = ensembles.gaussian_weights(key, self.covariance, *rest)
        return replace(ensemble, penalty=self.penalty)

    @property
    def is_explicit(self) -> bool:
        """Whether the eigenvalues of M(0) are all that is drawn, and none of them needs a solver."""
        isotropic = self.shapes.population and self.variances is None and self.covariance is None
        return isotropic and self.step_size is None and self.shapes.tied

    def _modes(self, key: PRNGKeyArray) -> Outcome:
        """R = (1/p) [Σ (λ−1)² + p − n] over the n = min(p, H) eigenvalues λ(t) of M that are not 0 for good.

        Those of M(0) = W Wᵀ are σ² times those of a Wishart matrix, drawn through its bidiagonal factor.

        Source: how each eigenvalue relaxes: arXiv:2606.05335, large-data regime; the draw: I. Dumitriu, A. Edelman
        (2002), arXiv:math-ph/0206043.
        """
        input_dim, latent_dim, _ = self.dimensions
        size = self.shapes.columns
        drawn = sample_laguerre_spectrum(key, size, jnp.maximum(input_dim, latent_dim))
        unit = jnp.ones_like(self.init_variance)
        error = mode_error(self.init_variance * drawn[:, None], unit, self.times[None, :], self.penalty)
        risk = (jnp.sum(error**2, axis=0) + (input_dim - size)) / input_dim
        found = {"train": risk, "population": risk}
        if self.levels is not None:
            found["spectrum"] = jnp.quantile(1 + error, self.levels, axis=0).T
        none = jnp.zeros((), int)
        return Outcome(Values(**found), SolverStats(none, none, jnp.asarray(True)))

    def repeats_at_once(self, num_repeats: int) -> int | None:
        """How many to vectorise: on a CPU, batched products lose to single ones but for the smallest matrices."""
        limit = 1_000 if jax.default_backend() == "cpu" else 64_000_000
        at_once = min(num_repeats, max(1, limit // self.shapes.size))
        # a divisor, because a remainder would be a second program to compile
        at_once = max(divisor for divisor in range(1, at_once + 1) if num_repeats % divisor == 0)
        return None if at_once == 1 else at_once


def _turn(problem: Any, times: Float[Array, " times"]) -> Float[Array, ""] | None:
    """When the fastest modes of a stiff flow are at rest; `None` for one that is not, or is not known to be.

    Stiff is a flow whose fastest rate, 4 s_max once M = I there, would cost the usual method hundreds of steps.
    """
    known = all(map(is_concrete, (times, problem.sample_ratio, problem.covariance)))
    if problem.penalty is not None or not known or not problem.tied:
        return None
    turn = _AT_REST / top_of_samples(problem)
    return jnp.asarray(turn) if float(np.asarray(times)[-1]) > _MUCH_LATER * turn else None


def _static_num_samples(num_samples: Any) -> int | float:
    if is_concrete(num_samples):
        check_dimension("num_samples", num_samples, allow_infinity=True)
        if jnp.ndim(num_samples) == 0 and math.isinf(num_samples):
            return math.inf
    return static_integer("num_samples", num_samples)
