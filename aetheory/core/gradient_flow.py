"""Gradient flow dθ/dt = −∂L/∂θ of any module."""

from collections.abc import Callable
from typing import Any, TypeVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from aetheory.core.checks import as_float, check_times, check_training, common_float_dtype, errors_of
from aetheory.core.curve import Curve, named
from aetheory.core.precision import exact_products
from aetheory.core.solve import DEFAULT_MAX_STEPS, check_solver_options, require_finished, solve_flow, steps_needed

Autoencoder = TypeVar("Autoencoder", bound=PyTree)


def gradient_flow(
    autoencoder: Autoencoder,
    loss: Callable[[Autoencoder, Any], Float[Array, ""]],
    times: Any,
    data: PyTree = None,
    *,
    metrics: Callable[[Autoencoder, Any], PyTree] | None = None,
    step_size: float | int | Float[Array, ""] | None = None,
    rtol: float | Float[Array, ""] = 1e-6,
    max_steps: int = DEFAULT_MAX_STEPS,
    adjoint: diffrax.AbstractAdjoint | None = None,
    throw: bool = True,
) -> Curve:
    """Follow dθ/dt = −∂L/∂θ from time 0, with θ the floating-point arrays of `autoencoder`.

    Arguments:
        autoencoder: any Equinox module (or pytree). Leaves that are not floating-point arrays stay as they are.
        loss: a function of (module, data) that returns the scalar L.
        times: where to record, shape (num_times,), nonnegative and in increasing order, in units of flow time.
        data: passed to `loss` and `metrics`; any pytree.
        metrics: a function of (module, data) that returns a pytree of arrays, recorded at each time; the parameters
            along the way are not kept. The loss itself when omitted.
        step_size: `None` for the adaptive flow; otherwise plain gradient descent of this step, the explicit Euler
            scheme of the flow (recorded by linear interpolation between its steps).
        rtol: relative tolerance of the adaptive solver.
        max_steps: the most steps the adaptive solver may take.
        adjoint: how Diffrax differentiates through the solve; `diffrax.RecursiveCheckpointAdjoint()` (reverse mode)
            when omitted, `diffrax.ForwardMode()` for forward mode.
        throw: raise when the flow does not finish; otherwise `Curve.stats` says so.

    Returns:
        A `Curve`: the times, what `metrics` named (a bare array is called loss or metric), the trained module and
        statistics.

    Raises:
        ValueError: an argument is out of its range.
        RuntimeError: the flow ran out of steps or left the finite numbers (with `throw`).
    """
    vector = check_times(times)
    check_solver_options(rtol, max_steps)
    if step_size is not None:
        max_steps = steps_needed(times, step_size, max_steps)
    # in the precision of the parameters, which a wider time would promote
    dtype = common_float_dtype(*jax.tree.leaves(eqx.filter(autoencoder, eqx.is_inexact_array)))
    vector = vector.astype(dtype)
    step_size = None if step_size is None else as_float(step_size).astype(dtype)
    measure = loss if metrics is None else metrics
    with check_training(autoencoder, loss):
        run = _follow(autoencoder, loss, measure, vector, data, as_float(rtol), step_size, max_steps, adjoint)
    return require_finished(run, run.stats, (run.values, run.module)) if throw else run


@eqx.filter_jit
@exact_products
def _follow(
    autoencoder: Autoencoder,
    loss: Callable[[Autoencoder, Any], Float[Array, ""]],
    measure: Callable[[Autoencoder, Any], PyTree],
    times: Float[Array, " times"],
    data: PyTree,
    rtol: Float[Array, ""],
    step_size: Float[Array, ""] | None,
    max_steps: int,
    adjoint: diffrax.AbstractAdjoint | None,
) -> Curve:
    parameters, rest = eqx.partition(autoencoder, eqx.is_inexact_array)

    def vector_field(_: Any, parameters: PyTree, data: PyTree) -> PyTree:
        gradient = jax.grad(lambda free: loss(eqx.combine(free, rest), data))(parameters)
        return jax.tree.map(jnp.negative, gradient)

    def observe(_: Any, parameters: PyTree, data: PyTree) -> PyTree:
        with errors_of("loss" if measure is loss else "metrics", "take this `autoencoder` and `data`"):
            return measure(eqx.combine(parameters, rest), data)

    recorded, final, stats = solve_flow(
        vector_field,
        parameters,
        times,
        data,
        observe,
        rtol=rtol,
        step_size=step_size,
        max_steps=max_steps,
        adjoint=adjoint,
        keep_final_state=True,
    )
    name = "loss" if measure is loss else "metric"
    return Curve(times, named(recorded, name), stats=stats, module=eqx.combine(final, rest), label="gradient flow")
