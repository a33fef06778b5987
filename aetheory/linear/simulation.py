"""What gradient training of a linear autoencoder does from random weights on random or given data."""

import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import (
    as_float,
    check_dimension,
    check_times,
    common_float_dtype,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.core.problem import AbstractExperiment, Outcome
from aetheory.core.solve import check_solver_options, steps_needed
from aetheory.linear import ensembles
from aetheory.linear.data import DataCovariance, check_data
from aetheory.linear.flow import evolve


class LinearExperiment(AbstractExperiment):
    """dW/dt = −[(W Wᵀ−I) S + S (W Wᵀ−I)] W from Gaussian weights, S the covariance of the samples.

    The train risk is (1/p) tr[(M−I) S (M−I)], the population risk (1/p) tr[(M−I) Σ (M−I)], M = WWᵀ. Their law is exact,
    but neither the samples nor more than min(p, N + H) × min(p, H) weights are ever formed: S is drawn through its
    spectrum, the latent dimension is cut to p by an LQ decomposition, and the directions that no sample spans are
    replaced by an H × H factor. The cost depends on the smaller dimensions only.

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
        covariance = None if data is None else check_data(problem, data, held_out)
        dtype = common_float_dtype(vector, problem.init_variance, data, problem.covariance)
        init_variance = jnp.asarray(problem.init_variance).astype(dtype)
        if init_variance.ndim != 0:
            raise fail("init_variance", "a scalar (map over several with `jax.vmap`)", problem.init_variance)
        return cls(
            times=vector.astype(dtype),
            init_variance=init_variance,
            variances=None if problem.covariance is None else problem.covariance.astype(dtype),
            covariance=covariance,
            dimensions=ensembles.Dimensions(*(jnp.asarray(size, dtype) for size in (*dims, num_samples))),
            rtol=as_float(rtol).astype(dtype),
            step_size=None if step_size is None else as_float(step_size).astype(dtype),
            adjoint=adjoint,
            shapes=ensembles.reduction(*dims, num_samples, None if covariance is None else len(covariance.spectrum)),
            max_steps=max_steps,
        )

    def run(self, key: PRNGKeyArray) -> Outcome:
        """One draw, along its flow."""
        if self.variances is not None:
            ensemble = ensembles.general(key, self.variances, self.dimensions, self.shapes, self.init_variance)
        elif self.covariance is None:
            ensemble = ensembles.gaussian(key, self.dimensions, self.shapes, self.init_variance)
        else:
            ensemble = ensembles.gaussian_weights(
                key, self.covariance, self.dimensions, self.shapes, self.init_variance
            )
        values, stats = evolve(
            ensemble,
            self.times,
            rtol=self.rtol,
            step_size=self.step_size,
            max_steps=self.max_steps,
            adjoint=self.adjoint,
        )
        return Outcome(values, stats)

    def repeats_at_once(self, num_repeats: int) -> int | None:
        """How many to vectorise: on a CPU, batched products lose to single ones but for the smallest matrices."""
        limit = 1_000 if jax.default_backend() == "cpu" else 64_000_000
        at_once = min(num_repeats, max(1, limit // self.shapes.size))
        # a divisor, because a remainder would be a second program to compile
        at_once = max(divisor for divisor in range(1, at_once + 1) if num_repeats % divisor == 0)
        return None if at_once == 1 else at_once


def _static_num_samples(num_samples: Any) -> int | float:
    if is_concrete(num_samples):
        check_dimension("num_samples", num_samples, allow_infinity=True)
        if jnp.ndim(num_samples) == 0 and math.isinf(num_samples):
            return math.inf
    return static_integer("num_samples", num_samples)
