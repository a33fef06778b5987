"""The one ODE solve behind every flow of the library."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
from jaxtyping import Array, Bool, Float, Int, PyTree

from aetheory.core.checks import check_real, fail, is_concrete
from aetheory.core.control import GoalController, GoalError
from aetheory.core.stabilised import RungeKuttaChebyshev

DEFAULT_MAX_STEPS = 16_384

_LOOSEST = 0.1

_PROPORTIONAL, _INTEGRAL = 0.1, 0.7
"""Some memory of the last error: a flow whose fastest rate limits the step then has fewer of them rejected."""


class Stiffness(NamedTuple):
    """Where a flow's fastest rate would limit the step long after its modes of that rate are at rest.

    Arguments:
        turn: the time from which on the stabilised method is used, before the last time.
        rate: an upper bound of the spectral radius of the Jacobian from the state and the flow's arguments.
    """

    turn: Float[Array, ""]
    rate: Callable[[PyTree, Any], Float[Array, ""]]


class SolverStats(eqx.Module):
    """What a flow cost and how it ended. Fields gain leading axes under `jax.vmap` and over repeats.

    Arguments:
        num_steps: steps taken, rejected ones included.
        num_rejected_steps: steps the error control threw away.
        succeeded: whether the solver reached the last time.
    """

    num_steps: Int[Array, "*batch"]
    num_rejected_steps: Int[Array, "*batch"]
    succeeded: Bool[Array, "*batch"]

    @property
    def message(self) -> str:
        """How the flow ended, in words; for a batch, how many of its flows stopped early."""
        failures = int(jnp.sum(~self.succeeded))
        if failures == 0:
            return "reached the last time"
        return f"{failures} of {self.succeeded.size} flows stopped early, out of steps or with a vanishing step size"


_UNFINISHED = (
    "The flow did not reach the last time: it ran out of steps (`max_steps`) or its step size vanished. An explicit "
    "solver needs about 2·rate·time steps; a linear autoencoder relaxes at 4 times the largest eigenvalue of the "
    "covariance. Try earlier times, a larger `max_steps` or a larger `rtol`; `throw=False` returns the curve as it is, "
    "with the reason in `stats`."
)
_DIVERGED = (
    "Training diverged: a recorded value is NaN or infinite. Try a smaller step size, learning rate or initial scale; "
    "`throw=False` returns the values as they are."
)


def solve_flow(
    vector_field: Callable[[Any, PyTree, Any], PyTree],
    state: PyTree,
    times: Float[Array, " times"],
    args: Any,
    observe: Callable[[Any, PyTree, Any], PyTree],
    *,
    rtol: Float[Array, ""],
    step_size: Float[Array, ""] | None = None,
    max_steps: int = DEFAULT_MAX_STEPS,
    adjoint: diffrax.AbstractAdjoint | None = None,
    norm: Callable[[PyTree], Float[Array, ""]] = optimistix.rms_norm,
    goal_error: GoalError | None = None,
    keep_final_state: bool = False,
    stiffness: Stiffness | None = None,
) -> tuple[PyTree, PyTree, SolverStats]:
    """Integrate `vector_field(t, state, args)` from time 0 and record `observe(t, state, args)` at `times`.

    The state is never stored along the way. Without `step_size` the step is adaptive (Tsitouras' 5(4) method) with
    the error of each entry measured against rtol · (its own size + the initial root mean square of all entries);
    with it, the scheme is the explicit Euler method of that step, recorded by linear interpolation between steps.
    `norm` gathers the scaled errors of all entries into the one number that the adaptive step keeps below 1.
    `goal_error` is that of a number that the flow is solved for, as a share of its size: that decides on the steps
    first, and the state is given more room (see `GoalController`). With `stiffness` an adaptive flow goes on by a
    Runge–Kutta–Chebyshev method from its turn on.

    Returns:
        The observations with a leading time axis, the last state (or `None`), and the statistics. Nothing is raised
        when the solve stops early: the statistics say so.
    """
    # where only the start is asked for, a step too short to move anything
    end = jnp.where(times[-1] > 0, times[-1], float(np.finfo(times.dtype).tiny)).astype(times.dtype)
    adaptive = step_size is None

    def march(solver: Any, start: Any, stop: Any, state: PyTree, ts: Any, controller: Any, keep: bool) -> Any:
        last = [diffrax.SubSaveAt(t1=True)] if keep else []
        return diffrax.diffeqsolve(
            diffrax.ODETerm(vector_field),
            solver,
            t0=start,
            t1=stop,
            dt0=step_size,
            y0=state,
            args=args,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=ts, fn=observe), *last]),
            stepsize_controller=controller if adaptive else diffrax.ConstantStepSize(),
            max_steps=max_steps,
            adjoint=diffrax.RecursiveCheckpointAdjoint() if adjoint is None else adjoint,
            throw=False,
        )

    solver: Any = diffrax.Tsit5() if adaptive else diffrax.Euler()
    zero = jnp.zeros_like(end)
    controller = _controller(rtol, state, norm, goal_error)
    if stiffness is None or not adaptive:
        solution = march(solver, zero, end, state, times, controller, keep_final_state)
        observed, stats = solution.ys[0], _statistics(solution)
    else:
        turn = jnp.minimum(stiffness.turn, end / 2)
        early = march(solver, zero, turn, state, jnp.minimum(times, turn), controller, True)
        state = jax.tree.map(lambda leaf: leaf[0], early.ys[1])
        solver = RungeKuttaChebyshev(jax.lax.stop_gradient(stiffness.rate(state, args)))
        controller = _controller(rtol, state, norm, goal_error, solver.longest)
        solution = march(solver, turn, end, state, jnp.maximum(times, turn), controller, keep_final_state)
        observed = jax.tree.map(partial(_before_and_after, times <= turn), early.ys[0], solution.ys[0])
        stats = combine_stats(_statistics(early), _statistics(solution))
    final = jax.tree.map(lambda leaf: leaf[0], solution.ys[1]) if keep_final_state else None
    return observed, final, stats


def _statistics(solution: diffrax.Solution) -> SolverStats:
    succeeded = jnp.asarray(solution.result == diffrax.RESULTS.successful)
    return SolverStats(solution.stats["num_steps"], solution.stats["num_rejected_steps"], succeeded)


def combine_stats(*stats: SolverStats) -> SolverStats:
    """Total steps of several solves, also along leading axes; succeeded if all did."""
    every = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stats)
    return SolverStats(jnp.sum(every.num_steps), jnp.sum(every.num_rejected_steps), jnp.all(every.succeeded))


def _before_and_after(before: Bool[Array, " times"], early: Array, late: Array) -> Array:
    return jnp.where(before.reshape(-1, *(1,) * (early.ndim - 1)), early, late)


def _controller(
    rtol: Float[Array, ""],
    state: PyTree,
    norm: Callable[[PyTree], Float[Array, ""]],
    goal_error: GoalError | None,
    longest: Float[Array, ""] | None = None,
) -> diffrax.AbstractStepSizeController[Any, Any]:
    """The error control of an adaptive flow, with steps no longer than `longest`."""

    def finite_or_infinite(error: PyTree) -> Float[Array, ""]:
        # what may have overflowed: a step of infinite error is shortened, one of NaN would be repeated
        found = norm(error)
        return jnp.where(jnp.isnan(found), jnp.inf, found)

    tolerance = effective_rtol(rtol, state)
    controller = diffrax.PIDController(
        rtol=tolerance,
        atol=tolerance * _root_mean_square(state),
        pcoeff=_PROPORTIONAL,
        icoeff=_INTEGRAL,
        norm=finite_or_infinite,
        dtmax=longest,
    )
    return controller if goal_error is None else GoalController(controller, goal_error)


def effective_rtol(rtol: Float[Array, ""], state: PyTree) -> Float[Array, ""]:
    """The relative tolerance, raised to 16 units of rounding: the tightest that a float32 flow can honour."""
    epsilon = max(float(np.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(state))
    return jnp.maximum(rtol, 16 * epsilon)


def check_solver_options(rtol: Any, max_steps: Any) -> None:
    """Raise unless the tolerance is positive and finite and the number of steps a positive integer."""
    check_real("rtol", rtol, "finite and positive", minimum=0.0, strict=True)
    if is_concrete(rtol) and np.any(np.asarray(rtol) > _LOOSEST):
        raise fail("rtol", f"at most {_LOOSEST:g}, beyond which an error estimate means nothing", rtol)
    if not isinstance(max_steps, int) or max_steps < 1:
        raise fail("max_steps", "a positive integer", max_steps)


def steps_needed(times: Any, step_size: Any, max_steps: int) -> int:
    """The step limit for Euler's method: the number of steps that reaches the last time, when it can be computed now.

    Rounded up to a power of two, so that few different programs are compiled.
    """
    check_real("step_size", step_size, "finite and positive", minimum=0.0, strict=True)
    if not (is_concrete(times) and is_concrete(step_size)):
        return max_steps
    # in NumPy, because JAX would trace constants inside `jit`
    steps = math.ceil(float(np.max(times)) / float(np.min(step_size))) + 2
    return max(max_steps, 1 << math.ceil(math.log2(steps)))


def require_finished(value: PyTree, stats: SolverStats | None, observed: PyTree) -> PyTree:
    """`value`, or an error (at run time, under `jit`) if a flow stopped early or `observed` is not finite."""
    leaves = [leaf for leaf in jax.tree.leaves(observed) if eqx.is_inexact_array(leaf)]
    finished = True if stats is None else stats.succeeded
    if is_concrete(finished) and all(map(is_concrete, leaves)):
        # in NumPy, for JAX would compile each operation
        if not np.all(finished):
            raise RuntimeError(_UNFINISHED)
        if not all(map(_all_finite, leaves)):
            raise RuntimeError(_DIVERGED)
        return value
    diverged = ~jnp.all(jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves])) if leaves else jnp.asarray(False)
    return eqx.error_if(eqx.error_if(value, ~jnp.asarray(finished), _UNFINISHED), diverged, _DIVERGED)


def _all_finite(leaf: Any) -> bool:
    """Found where the array is: its way from an accelerator would take ten times as long as a closed form there."""
    here = isinstance(leaf, jax.Array) and any(device.platform != "cpu" for device in leaf.devices())
    return bool((jnp if here else np).isfinite(leaf).all())


def _root_mean_square(state: PyTree) -> Float[Array, ""]:
    leaves = jax.tree.leaves(state)
    total = sum(jnp.sum(jax.lax.stop_gradient(leaf) ** 2) for leaf in leaves)
    mean = jnp.asarray(total / sum(leaf.size for leaf in leaves))
    # a state that starts at zero stays there; the floor keeps 0/0 out of its error norm
    return jnp.sqrt(jnp.maximum(mean, np.finfo(mean.dtype).tiny))
