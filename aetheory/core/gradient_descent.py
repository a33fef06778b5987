"""Gradient descent of any module with any Optax optimiser, on full, mini or fresh batches."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray, PyTree

from aetheory.core.checks import (
    check_instance,
    check_key,
    check_real,
    check_training,
    errors_of,
    fail,
    is_concrete,
    static_integer,
)
from aetheory.core.curve import Curve, named
from aetheory.core.precision import exact_products

Autoencoder = TypeVar("Autoencoder", bound=PyTree)


def gradient_descent(
    autoencoder: Autoencoder,
    loss: Callable[[Autoencoder, Any], Float[Array, ""]],
    optimizer: optax.GradientTransformation,
    num_steps: int,
    data: PyTree = None,
    *,
    sample: Callable[[PRNGKeyArray], PyTree] | None = None,
    batch_size: int | None = None,
    key: PRNGKeyArray | None = None,
    metrics: Callable[[Autoencoder, Any], PyTree] | None = None,
    record_at: Sequence[int] | Int[np.ndarray, " records"] | None = None,
    optimizer_state: PyTree = None,
    first_step: int | Num[Array, ""] = 0,
    throw: bool = True,
) -> Curve:
    """Minimise L by `num_steps` steps of `optimizer` over the floating-point arrays of `autoencoder`.

    Each step sees, in this order of precedence, `sample(step_key)` (fresh data), `batch_size` rows of `data` drawn
    uniformly with replacement, or all of `data`. The whole run is one compiled program; iterates are not kept.

    A run may be cut into pieces: one that starts from `run.module` and `run.optimizer_state` with `first_step`
    the number of steps behind it, and the same key, continues as if there had been no cut.

    Arguments:
        autoencoder: any Equinox module (or pytree). Leaves that are not floating-point arrays stay as they are.
        loss: a function of (module, batch) that returns the scalar L.
        optimizer: an Optax optimiser.
        num_steps: how many steps, a positive integer.
        data: a pytree of arrays with a common leading axis of samples (any pytree for full-batch training).
        sample: draws a fresh batch from a key; runs inside the compiled loop.
        batch_size: rows of `data` in a mini batch, a positive integer.
        key: the random key that `sample` and `batch_size` need.
        metrics: a function of (module, data) that returns a pytree of arrays; the loss when omitted. It sees `data`
            where given, otherwise the batch of the step.
        record_at: the step numbers after which to record, in increasing order; 0 is the start. By default 101
            (or all, when fewer) evenly spaced ones from 0 to `num_steps`. Counted from the start of this run.
        optimizer_state: the optimiser's state to continue from; a fresh one when omitted.
        first_step: how many steps came before this run; they number the batches, the records and the error.
        throw: raise when a loss leaves the finite numbers; otherwise the metrics show it.

    Returns:
        A `Curve`: the step numbers, what `metrics` named (a bare array is called loss or metric), the trained
        module and the optimiser's state.

    Raises:
        ValueError: an argument is out of its range, or contradicts another.
        FloatingPointError: the loss became NaN or infinite (with `throw`); the message names the step. Under an
            outer `jit`, a RuntimeError at run time instead.
    """
    num_steps = static_integer("num_steps", num_steps)
    check_instance("optimizer", optimizer, optax.GradientTransformation, "an Optax transformation")
    if key is not None:
        check_key(key)
    if sample is not None and batch_size is not None:
        raise fail("batch_size", "omitted when `sample` draws the batches", batch_size)
    if key is None and (sample is not None or batch_size is not None):
        raise fail("key", "a random key when `sample` or `batch_size` is given", key)
    if sample is None and data is None:
        raise fail("data", "given unless `sample` draws the batches", data)
    recorded_steps = _check_record_at(record_at, num_steps)
    check_real("first_step", first_step, "a nonnegative integer", minimum=0.0)
    if not jnp.issubdtype(jnp.result_type(first_step), jnp.integer):
        raise fail("first_step", "a nonnegative integer", first_step)
    if batch_size is not None:
        batch_size = static_integer("batch_size", batch_size)
        _check_common_axis(data)

    key = jax.random.key(0) if key is None else key  # full batch: never used
    measure = loss if metrics is None else metrics
    with check_training(autoencoder, loss):
        own = (sample, batch_size, num_steps, recorded_steps, optimizer_state, jnp.asarray(first_step))
        run, failed_step = _descend(autoencoder, loss, measure, optimizer, data, key, *own)
    if not throw:
        return run
    if is_concrete(failed_step):
        if failed_step >= 0:
            raise FloatingPointError(
                f"Training diverged: the loss is NaN or infinite at step {int(failed_step)} of "
                f"{int(first_step) + num_steps}. Try a "
                f"smaller learning rate; `throw=False` returns the metrics as they are."
            )
        return run
    checked: Curve = eqx.error_if(run, failed_step >= 0, "Training diverged: the loss became NaN or infinite.")
    return checked


@eqx.filter_jit
@exact_products
def _descend(
    autoencoder: Autoencoder,
    loss: Callable[[Autoencoder, Any], Float[Array, ""]],
    measure: Callable[[Autoencoder, Any], PyTree],
    optimizer: optax.GradientTransformation,
    data: PyTree,
    key: PRNGKeyArray,
    sample: Callable[[PRNGKeyArray], PyTree] | None,
    batch_size: int | None,
    num_steps: int,
    recorded_steps: tuple[int, ...],
    optimizer_state: PyTree,
    first_step: Int[Array, ""],
) -> tuple[Curve, Int[Array, ""]]:
    parameters, rest = eqx.partition(autoencoder, eqx.is_inexact_array)
    update = optax.with_extra_args_support(optimizer).update
    draw = functools.partial(_batch, key=key, data=data, sample=sample, batch_size=batch_size)

    def observe(parameters: PyTree, batch: PyTree) -> PyTree:
        with errors_of("loss" if measure is loss else "metrics", "take this `autoencoder` and `data`"):
            return measure(eqx.combine(parameters, rest), batch if data is None else data)

    def record(records: PyTree, slot: Int[Array, ""], parameters: PyTree, batch: PyTree) -> PyTree:
        return jax.lax.cond(
            slot >= 0,
            lambda: jax.tree.map(lambda all_, new: all_.at[slot].set(new), records, observe(parameters, batch)),
            lambda: records,
        )

    def step(carry: PyTree, inputs: tuple[Int[Array, ""], Int[Array, ""]]) -> tuple[PyTree, None]:
        parameters, state, records, failed_step = carry
        index, slot = inputs
        batch = draw(index)

        def objective(free: PyTree) -> Float[Array, ""]:
            return loss(eqx.combine(free, rest), batch)

        value, gradient = jax.value_and_grad(objective)(parameters)
        # line searches need the objective itself; other optimisers ignore the extra arguments
        updates, state = update(gradient, state, parameters, value=value, grad=gradient, value_fn=objective)
        parameters = eqx.apply_updates(parameters, updates)
        failed_step = jnp.where((failed_step < 0) & ~jnp.isfinite(value), index, failed_step)
        return (parameters, state, record(records, slot, parameters, batch), failed_step), None

    slots = np.full(num_steps + 1, -1)
    slots[list(recorded_steps)] = np.arange(len(recorded_steps))
    first_batch, numbers = draw(first_step), first_step + jnp.arange(num_steps, dtype=first_step.dtype)
    shapes = jax.eval_shape(observe, parameters, first_batch)
    records = jax.tree.map(lambda leaf: jnp.zeros((len(recorded_steps), *leaf.shape), leaf.dtype), shapes)
    records = record(records, jnp.asarray(slots[0]), parameters, first_batch)
    state = optimizer.init(parameters) if optimizer_state is None else optimizer_state
    start = (parameters, state, records, jnp.full_like(first_step, -1))
    (parameters, state, records, failed_step), _ = jax.lax.scan(step, start, (numbers, jnp.asarray(slots[1:])))
    module, last_step = eqx.combine(parameters, rest), first_step + num_steps
    failed_step = jnp.where((failed_step < 0) & ~jnp.isfinite(loss(module, draw(last_step))), last_step, failed_step)
    steps = first_step + jnp.asarray(recorded_steps, first_step.dtype)
    values = named(records, "loss" if measure is loss else "metric")
    return Curve(steps, values, module=module, optimizer_state=state, label="gradient descent"), failed_step


def _batch(
    step_number: Int[Array, ""],
    *,
    key: PRNGKeyArray,
    data: PyTree,
    sample: Callable[[PRNGKeyArray], PyTree] | None,
    batch_size: int | None,
) -> PyTree:
    """What one step sees: a fresh draw, some rows of the data, or all of them."""
    step_key = jax.random.fold_in(key, step_number)
    if sample is not None:
        return sample(step_key)
    if batch_size is None:
        return data
    rows = jax.random.randint(step_key, (batch_size,), 0, jax.tree.leaves(data)[0].shape[0])
    return jax.tree.map(lambda leaf: leaf[rows], data)


def _check_common_axis(data: PyTree) -> None:
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(data)]
    if len({shape[:1] for shape in shapes}) != 1 or shapes[0][:1] in ((), (0,)):
        requirement = "a pytree of arrays with a common, non-empty leading axis when `batch_size` is given"
        raise ValueError(f"Argument `data` must be {requirement}, but got shapes {shapes}.")


def _check_record_at(record_at: Any, num_steps: int) -> tuple[int, ...]:
    if record_at is None:
        return tuple(int(step) for step in np.unique(np.linspace(0, num_steps, 101).round()))
    steps = np.asarray(record_at)
    valid = steps.ndim == 1 and steps.size > 0 and np.issubdtype(steps.dtype, np.integer)
    if not (valid and steps[0] >= 0 and steps[-1] <= num_steps and (np.diff(steps) > 0).all()):
        raise fail("record_at", f"increasing step numbers between 0 and `num_steps` = {num_steps}", record_at)
    return tuple(int(step) for step in steps)
