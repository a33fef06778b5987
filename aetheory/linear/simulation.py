"""`simulate`: what gradient training of a linear autoencoder does from random weights on random or given data."""

import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray, UInt32

from aetheory.core.checks import (
    as_float,
    check_dimension,
    check_times,
    common_float_dtype,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.core.curve import Curve, Risks
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, check_solver_options, require_finished, steps_needed
from aetheory.linear import ensembles
from aetheory.linear.flow import evolve
from aetheory.linear.problem import LinearProblem


def simulate(
    problem: LinearProblem,
    times: Any,
    key: PRNGKeyArray,
    *,
    num_repeats: int = 1,
    data: Any = None,
    held_out: Any = None,
    step_size: float | int | Float[Array, ""] | None = None,
    rtol: float | Float[Array, ""] = 1e-6,
    max_steps: int = DEFAULT_MAX_STEPS,
    adjoint: diffrax.AbstractAdjoint | None = None,
    throw: bool = True,
) -> Curve:
    """Train and population risk along the gradient flow of the train risk, averaged over random draws.

    dW/dt = −[(W Wᵀ−I) S + S (W Wᵀ−I)] W from Gaussian weights, S the covariance of the samples. The train risk is
    (1/p) tr[(M−I) S (M−I)] and the population risk (1/p) ‖M−I‖², M = W Wᵀ. The law of both is exact, but neither
    the samples nor more than min(p, N + H) × min(p, H) weights are ever formed: S is drawn through its spectrum,
    the latent dimension is cut to p by an LQ decomposition, and the directions that no sample spans are replaced
    by an H × H factor. Where H ≥ 3p/2 (and p ≥ 32) the flow is solved for M itself. The cost depends on the smaller
    dimensions only.

    Arguments:
        problem: dimensions that are known when the program is traced, and a scalar init_variance, which may be
            traced (`jax.vmap`, `jax.grad`; at 0, derivatives with respect to it are reported as 0).
        times: flow times, shape (num_times,), nonnegative and in increasing order.
        key: a JAX random key; the curve is a pure function of it.
        num_repeats: independent draws, a positive integer; mean and standard deviation are over them.
        data: samples to train on instead of Gaussian ones, shape (problem.num_samples, problem.input_dim). They are
            centred; only the weights are then drawn.
        held_out: other samples, shape (any, input_dim), centred by the mean of `data`; the population risk is
            then measured on them, otherwise on isotropic inputs of unit variance.
        step_size: `None` for the flow; otherwise plain gradient descent of this step, the explicit Euler scheme of
            the same vector field, recorded by linear interpolation of W between steps.
        rtol: tolerance of the adaptive solver: the train risk is off by that share of its initial value, give or take
            a factor of a few, and the population risk hardly more where rtol is 1e-5 or less. float32 raises it to
            2e-6, the tightest it can honour, and a flow of M lowers it to 2.5e-5.
        max_steps: the most steps the adaptive solver may take.
        adjoint: how Diffrax differentiates the flow; reverse mode when omitted, `diffrax.ForwardMode()` for forward.
        throw: raise when a flow does not finish; otherwise `Curve.stats` says which.

    Returns:
        A `Curve` of shape (num_times,), with `std` over the repeats when there are several, and solver statistics
        with a leading axis of repeats.

    Raises:
        ValueError: an argument is out of its range, or a dimension is an array or traced.
        RuntimeError: a flow ran out of steps or diverged (with `throw`).

    Source: E. Golikov, Y. Gusev, D. Yarotsky, arXiv:2606.05335, the experiments.
    """
    num_repeats = static_integer("num_repeats", num_repeats)
    dims = (static_integer("input_dim", problem.input_dim), static_integer("latent_dim", problem.latent_dim))
    num_samples = _static_num_samples(problem.num_samples)
    vector = check_times(times)
    check_solver_options(rtol, max_steps)
    if step_size is not None:
        max_steps = steps_needed(times, step_size, max_steps)
    if held_out is not None and data is None:
        raise ValueError("Argument `held_out` must be None without `data`, but got an array.")
    covariance = None if data is None else ensembles.check_data(problem, data, held_out)

    dtype = common_float_dtype(vector, problem.init_variance, data)
    rank = None if covariance is None else covariance.spectrum.shape[0]
    shapes = ensembles.reduction(*dims, num_samples, rank)
    dimensions = ensembles.Dimensions(*(jnp.asarray(size, dtype) for size in (*dims, num_samples)))
    init_variance = jnp.asarray(problem.init_variance).astype(dtype)
    if init_variance.ndim != 0:
        raise fail("init_variance", "a scalar (map over several with `jax.vmap`)", problem.init_variance)
    vector = vector.astype(dtype)
    risks, stats = _simulate(
        init_variance,
        vector,
        jax.random.split(key, num_repeats),
        covariance,
        as_float(rtol).astype(dtype),
        None if step_size is None else as_float(step_size).astype(dtype),
        dimensions,
        shapes,
        max_steps,
        adjoint,
    )
    if throw:
        risks = require_finished(risks, stats, risks, max_steps)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), risks)
    std = None if num_repeats == 1 else jax.tree.map(lambda leaf: jnp.std(leaf, axis=0, ddof=1), risks)
    return Curve(vector, mean.train, mean.population, std, stats=stats, label="simulation", num_repeats=num_repeats)


@eqx.filter_jit
def _simulate(
    init_variance: Float[Array, ""],
    times: Float[Array, " times"],
    keys: Key[Array, " repeats"] | UInt32[Array, "repeats key"],
    covariance: ensembles.DataCovariance | None,
    rtol: Float[Array, ""],
    step_size: Float[Array, ""] | None,
    dimensions: ensembles.Dimensions,
    shapes: ensembles.Reduction,
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint | None,
) -> tuple[Risks, SolverStats]:
    def one(key: PRNGKeyArray) -> tuple[Risks, SolverStats]:
        if covariance is None:
            ensemble = ensembles.gaussian(key, dimensions, shapes, init_variance)
        else:
            ensemble = ensembles.gaussian_weights(key, covariance, dimensions, shapes, init_variance)
        return evolve(ensemble, times, rtol=rtol, step_size=step_size, max_steps=max_steps, adjoint=adjoint)

    result: tuple[Risks, SolverStats] = jax.lax.map(one, keys, batch_size=_repeats_at_once(len(keys), shapes.size))
    return result


def _repeats_at_once(num_repeats: int, weights_size: int) -> int | None:
    """How many repeats to vectorise; `None` runs them one after the other, each matrix product at full size.

    On a CPU the batched products of XLA lose to a loop of single ones but for the smallest matrices.
    """
    limit = 1_000 if jax.default_backend() == "cpu" else 64_000_000
    at_once = min(num_repeats, max(1, limit // weights_size))
    # a divisor, because a remainder would be a second program to compile
    at_once = max(divisor for divisor in range(1, at_once + 1) if num_repeats % divisor == 0)
    return None if at_once == 1 else at_once


def _static_num_samples(num_samples: Any) -> int | float:
    if is_concrete(num_samples):
        check_dimension("num_samples", num_samples, allow_infinity=True)
        if jnp.ndim(num_samples) == 0 and math.isinf(num_samples):
            return math.inf
    return static_integer("num_samples", num_samples)
