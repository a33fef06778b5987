"""Maps that stand for a descent, iterated and recorded, with the step at which they diverge."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from aetheory.core.checks import check_steps, check_times, is_concrete
from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats

State = TypeVar("State", bound=PyTree)

_DIVERGED = 1e3
"""A risk of more than this many times that of the zero map."""


def whole_steps(times: Any) -> tuple[Float[Array, " times"], int | None]:
    """Numbers of steps as floating-point numbers, and the last of them where it is known.

    Raises:
        ValueError: as `check_steps`, but for traced times.
    """
    if not is_concrete(times):
        return check_times(times), None
    last = check_steps(times)[-1]
    return check_times(times), last


def descend(
    advance: Callable[[State], State],
    observe: Callable[[State], Values],
    state: State,
    times: Float[Array, " times"],
    last: int | None,
    power: float | Float[Array, ""] = 1.0,
) -> tuple[Values, SolverStats]:
    """What is observed after these numbers of steps; in between, interpolated.

    Where the last of them is known the loop has a known length, and is differentiated in both modes; otherwise in
    forward mode. The risk is that of the zero map at `power`.
    """
    shapes = jax.eval_shape(observe, state)
    empty = jax.tree.map(lambda one: jnp.zeros((len(times), *one.shape), one.dtype), shapes)
    end = jnp.ceil(times[-1]).astype(int) if last is None else last

    def step(number: Any, carry: Any) -> Any:
        state, records, failed = carry
        values, distance = observe(state), jnp.abs(times - jnp.asarray(number, times.dtype))
        share = jnp.maximum(1 - distance, 0)

        def added(record: Array, one: Array) -> Array:
            shape = (-1,) + (1,) * one.ndim
            # what is not near may be infinite; what is at the end of reach has a derivative in the time
            return record + jnp.where(distance.reshape(shape) <= 1, share.reshape(shape) * one[None], 0)

        bad = ~(values.risk <= _DIVERGED * power)
        failed = jnp.where(bad & (failed < 0), jnp.asarray(number, failed.dtype), failed)
        return advance(state), jax.tree.map(added, records, values), failed

    _, records, failed = jax.lax.fori_loop(0, end + 1, step, (state, empty, jnp.asarray(-1)))
    steps = jnp.where(failed < 0, jnp.asarray(end, failed.dtype), failed)
    return records, SolverStats(steps, jnp.zeros_like(steps), failed < 0)


def require_bounded(value: PyTree, stats: SolverStats, _: Any) -> PyTree:
    """`value`, or an error where a descent diverged."""
    requirement = "Argument `step_size` must be small enough for the descent not to diverge"
    if not is_concrete(stats.succeeded):
        return eqx.error_if(value, ~stats.succeeded, f"{requirement}; `throw=False` returns the values as they are.")
    if not (succeeded := np.asarray(stats.succeeded)).all():
        step = int(np.asarray(stats.num_steps)[~succeeded].min())
        raise ValueError(f"{requirement}, but its predicted risk leaves all bounds at step {step}.")
    return value
