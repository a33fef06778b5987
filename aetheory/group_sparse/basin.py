"""Recovery times, and the starts and thresholds from which training recovers a dictionary in a given time.

No barrier surrounds the true dictionary: q/e grows wherever active groups are found at all. But the time to recovery
explodes where they are found rarely, so that a bound on the time divides the starts in two.
Source: derived for this library; no paper has it, and nothing is proved. See `order_parameters`.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float64, Num

from aetheory.core.checks import as_float, check_real, fail
from aetheory.core.curve import Curve
from aetheory.core.predict import predict
from aetheory.core.solve import solve_flow
from aetheory.group_sparse.order_parameters import MeanField
from aetheory.group_sparse.preactivation import Scalar
from aetheory.group_sparse.theories import check_network

_MAX_TIME, _MIN_RATE = 1e5, 1e-7
"""Longest time in units of 1/p, and smallest growth rate of log q/e in units of p, below which time is not resolved."""
_RTOL, _MAX_STEPS, _NUM_HALVINGS = 1e-4, 500, 20
_NUM_DRAWS, _NUM_STARTS = 8192, 12
"""Random matrices from which `population_curve` takes its quantiles, and the number of these."""


def recovery_time(problem: Any, correlation: Num[ArrayLike, ""] = 0.9) -> Float[Array, "*batch"]:
    """Time p t until the order parameters reach a correlation; infinite where it exceeds 10⁵.

    In units of 1/p = Γ/γ: plain descent takes pt · Γ/(γη) steps. From columns of norm 1, without the noise of batches.
    With log q/e as the independent variable, d(pt) = p q/(pY) and d log e = h q/(pY). Too short where false positives
    outnumber active groups.

    Arguments:
        problem: a `RecoveryProblem`; its numbers may be arrays (a batch) or traced. The optimiser is ignored.
        correlation: c = q/√N to be reached, in (0, 1).

    Raises:
        ValueError: a network without a theory, or a correlation out of its range.

    Source: derived for this library, on the loss and the group ReLU of arXiv:2102.07003.
    """
    check_network(problem, "recovery_time", ("group", "sparse"))
    for name, value in (("correlation", correlation), ("start_correlation", problem.start_correlation)):
        check_real(name, value, "in (0, 1)", minimum=0.0, maximum=1.0, strict=True)
    arrays = dataclasses.replace(problem, given=None).as_arrays()
    return _times(arrays, as_float(correlation).astype(arrays.threshold.dtype))


@eqx.filter_jit
def _times(problem: Any, target: Scalar) -> Float[Array, "*batch"]:
    leaves, tree = jax.tree.flatten(problem)
    leaves = jnp.broadcast_arrays(*leaves)
    # one after the other, because a vectorised solve takes as many steps as its slowest one
    found = jax.lax.map(lambda one: _time(jax.tree.unflatten(tree, one), target), [leaf.ravel() for leaf in leaves])
    return jnp.reshape(found, leaves[0].shape)


def _time(problem: Any, target: Scalar) -> Scalar:
    field = MeanField.of(problem)
    p, first = field.num_active / field.num_groups, problem.start_correlation
    start, end = (jnp.log(one) - jnp.log1p(-(one**2)) / 2 for one in (first, target))

    def velocity(log_ratio: Scalar, state: tuple[Scalar, Scalar], _: Any) -> tuple[Scalar, Scalar]:
        log_excess = state[0]
        overlap = jnp.exp(start + log_ratio + log_excess)
        drift = field.drift(overlap, jnp.exp(2 * log_excess))
        rate = jnp.maximum(drift.alignment / overlap, _MIN_RATE * p)
        return drift.growth / rate, p / rate

    state, span = (jnp.log1p(-(first**2)) / 2, jnp.zeros_like(start)), jnp.maximum(end - start, 0)[None]
    rtol = jnp.asarray(_RTOL, start.dtype)
    times, _, stats = solve_flow(
        velocity, state, span, None, lambda _, now, __: now[1], rtol=rtol, max_steps=_MAX_STEPS
    )
    finished = stats.succeeded & (times[0] < _MAX_TIME)
    return jnp.where(start >= end, 0, jnp.where(finished, times[0], jnp.inf))


def critical_value(
    problem: Any, name: str, budget: Num[ArrayLike, ""] = 2.0, correlation: Num[ArrayLike, ""] = 0.9
) -> Float[Array, "*batch"]:
    """Least start correlation, or largest threshold, for which recovery takes at most a given time.

    By bisection of `recovery_time`: the end of the range where all values suffice, −∞ where no threshold does. The
    other numbers may be arrays (a batch). The noise has no critical value, because it also helps: where the mean of z
    is below the threshold, noise lifts z above it.

    Arguments:
        problem: as for `recovery_time`.
        name: "start_correlation" between .01 and .99, or "threshold" up to twice the largest norm of a code.
        budget: p t > 0, in units of 1/p.
        correlation: correlation to be reached, in (0, 1).

    Source: derived for this library, on the loss and the group ReLU of arXiv:2102.07003.
    """
    # from the value at which training does not recover to the value at which it does
    ranges = {"start_correlation": (0.01, 0.99), "threshold": (2 * problem.max_norm, 0.0)}
    if name not in ranges:
        raise fail("name", f"one of {', '.join(map(repr, ranges))}", name)
    check_real("budget", budget, "finite and positive", minimum=0.0, strict=True)
    check_network(problem, "critical_value", ("group", "sparse"))
    arrays = dataclasses.replace(problem, given=None).as_arrays()
    shape = jnp.broadcast_shapes(*(jnp.shape(leaf) for leaf in jax.tree.leaves(arrays)))
    worse, better = (jnp.full(shape, end, arrays.threshold.dtype) for end in ranges[name])

    def recovered(value: Array) -> Array:
        return recovery_time(dataclasses.replace(arrays, **{name: value}), correlation) <= budget

    always, never = recovered(worse), ~recovered(better)
    low, high = worse, better
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        enough = recovered(middle)
        low, high = jnp.where(enough, low, middle), jnp.where(enough, middle, high)
    return jnp.where(always, worse, jnp.where(never, -jnp.inf, high))


def population_curve(problem: Any, times: Any) -> Curve:
    """Predicted training averaged over groups with different starts, with a bracket.

    At finite n the matrix A*_gᵀA_g of the start is c₀ I + √((1−c₀²)/n) G with Gaussian entries in G. A mean over groups
    by the mean of the diagonal, tr G/d, learns too late, and one by the largest eigenvalue of the symmetric part learns
    too early. `lower` and `upper` are these two means, and the values their midpoint.

    Arguments:
        problem: a single `RecoveryProblem`, not traced.
        times: as for `predict`.

    Raises:
        ValueError: what `predict` refuses, or a batch of problems.

    Source: derived for this library, on the loss and the group ReLU of arXiv:2102.07003. At n = 475 the bracket
    contained the correlation of simulations at c₀ = .2, .25 and .3; at c₀ = .4, and at λ = 3.5, it missed it by .0004
    and by .010.
    """
    correlation = problem.start_correlation
    if np.ndim(correlation):
        raise fail("problem", "a single one", problem)
    deviation = np.sqrt((1 - float(correlation) ** 2) / problem.input_dim)
    means = []
    for shifts in _start_shifts(problem.group_size if problem.network == "group" else 1):
        starts = np.clip(float(correlation) + deviation * shifts, 1e-3, 1 - 1e-6)
        curve = predict(dataclasses.replace(problem, start_correlation=jnp.asarray(starts)), times)
        means.append(jax.tree.map(lambda value: jnp.mean(value, axis=0), curve.values))
    lower, upper = (jax.tree.map(end, *means) for end in (jnp.minimum, jnp.maximum))
    middle = jax.tree.map(lambda one, other: (one + other) / 2, *means)
    return dataclasses.replace(curve, values=middle, lower=lower, upper=upper, label=f"{curve.label}, groups apart")


def _start_shifts(group_size: int) -> list[Float64[np.ndarray, " starts"]]:
    """Equally likely values of tr G/d and of the largest eigenvalue of (G + Gᵀ)/2 for a Gaussian G, d × d."""
    gaussian = np.random.default_rng(0).standard_normal((_NUM_DRAWS, group_size, group_size))
    means = np.trace(gaussian, axis1=1, axis2=2) / group_size
    largest = np.linalg.eigvalsh((gaussian + np.swapaxes(gaussian, 1, 2)) / 2)[:, -1]
    parts = [np.array_split(np.sort(shifts), _NUM_STARTS) for shifts in (means, largest)]
    return [np.array([part.mean() for part in pair]) for pair in parts]
