"""When a predicted training is recorded, and how it runs: a map that stands for a descent, or a flow."""

import math
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from aetheory.core.checks import as_float, check_times, fail, is_concrete
from aetheory.core.curve import Values
from aetheory.core.solve import DEFAULT_MAX_STEPS, SolverStats, check_solver_options, require_finished, solve_flow


class Schedule(eqx.Module):
    """The times, and what solves for them.

    Arguments:
        times: flow times or numbers of steps.
        rtol, adjoint, max_steps: of a flow; no tolerance for a descent.
        last: the last number of steps, where it is part of the program; derivatives in reverse mode need that.
    """

    times: Float[Array, " times"]
    rtol: Float[Array, ""] | None
    adjoint: diffrax.AbstractAdjoint | None
    max_steps: int = eqx.field(static=True)
    last: int | None = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        times: Any,
        stepwise: bool,
        dtype: Any,
        rtol: Any = 1e-8,
        max_steps: int = DEFAULT_MAX_STEPS,
        adjoint: diffrax.AbstractAdjoint | None = None,
    ) -> "Schedule":
        """The arguments of a `curve`, checked.

        Raises:
            ValueError: bad times or options.
        """
        check_solver_options(rtol, max_steps)
        vector, tolerance = check_times(times).astype(dtype), None if stepwise else as_float(rtol).astype(dtype)
        last = math.ceil(np.asarray(times)[-1]) if stepwise and is_concrete(times) else None
        return cls(vector, tolerance, adjoint, max_steps, last)

    def follow(
        self, velocity: Callable[[Any], Any], observe: Callable[[Any], Values], state: PyTree
    ) -> tuple[Values, SolverStats]:
        """What is observed along a flow."""
        values, _, stats = solve_flow(
            lambda _, one, __: velocity(one),
            *(state, self.times, None),
            lambda _, one, __: observe(one),
            rtol=jnp.asarray(self.rtol),
            max_steps=self.max_steps,
            adjoint=self.adjoint,
        )
        return values, stats

    def descend(
        self, step: Callable[[Any, Any], tuple[Values, Bool[Array, ""], Any]], state: PyTree
    ) -> tuple[Values, SolverStats]:
        """What is observed along a descent, between whole numbers of steps interpolated.

        Arguments:
            step: of a state and its number: the values there, whether they are within all bounds, and the next state.
            state: the first one.
        """
        end = jnp.asarray(jnp.ceil(self.times[-1]).astype(int) if self.last is None else self.last)
        shapes, count = jax.eval_shape(step, state, end)[0], len(self.times)
        empty = jax.tree.map(lambda one: jnp.zeros((count, *one.shape), one.dtype), shapes)

        def body(number: Any, carry: Any) -> Any:
            state, records, failed = carry
            values, fine, following = step(state, number)
            distance = jnp.abs(self.times - jnp.asarray(number, self.times.dtype))

            def added(record: Array, one: Array) -> Array:
                apart = distance.reshape(-1, *(1,) * one.ndim)
                # what is not near may be infinite; at the end of its reach a value has a derivative in the time
                return record + jnp.where(apart <= 1, jnp.maximum(1 - apart, 0) * one[None], 0)

            failed = jnp.where((failed < 0) & ~fine, jnp.asarray(number, failed.dtype), failed)
            return following, jax.tree.map(added, records, values), failed

        stop = end + 1 if self.last is None else self.last + 1
        _, records, failed = jax.lax.fori_loop(0, stop, body, (state, empty, jnp.full_like(end, -1)))
        steps = jnp.where(failed < 0, end, failed)
        return records, SolverStats(steps, jnp.zeros_like(steps), failed < 0)

    def require(self, values: Values, stats: SolverStats | None, name: str, given: Any) -> Values:
        """The values, or an error where a flow did not finish, or a descent diverged, for which `name` is blamed."""
        if stats is None or self.rtol is not None:
            checked: Values = require_finished(values, stats, values)
            return checked
        requirement = "small enough for training not to diverge"
        if not is_concrete(stats.succeeded):
            message = f"Argument `{name}` must be {requirement}; `throw=False` returns the values as they are."
            bounded: Values = eqx.error_if(values, ~stats.succeeded, message)
            return bounded
        if not (succeeded := np.asarray(stats.succeeded)).all():
            step = int(np.asarray(stats.num_steps)[~succeeded].min())
            raise fail(name, f"{requirement} (at step {step})", given)
        return values
