"""`simulate`: what training does, of any problem."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PRNGKeyArray, UInt32

from aetheory.core.checks import check_instance, check_key, check_options, static_integer
from aetheory.core.curve import Curve
from aetheory.core.problem import AbstractExperiment, AbstractProblem, Outcome
from aetheory.core.solve import require_finished


def simulate(
    problem: AbstractProblem,
    times: Any,
    key: PRNGKeyArray,
    *,
    num_repeats: int = 1,
    return_module: bool = False,
    throw: bool = True,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> Curve:
    """Draw the problem's randomness, train, and measure; the mean over independent repeats.

    Arguments:
        problem: what is trained. Values that decide shapes must be known when the program is traced; all others may
            be traced (`jax.vmap`, `jax.grad`).
        times: flow times, shape (num_times,), nonnegative and in increasing order; for a descent, numbers of steps.
        key: a JAX random key; the curve is a pure function of it.
        num_repeats: independent draws, a positive integer; mean and standard deviation are over them.
        return_module: keep what was trained in `Curve.module`, with a leading axis for several repeats.
        throw: raise when a training does not finish; otherwise `Curve.stats` says which.
        progress: called with the number of repeats that are done, after each; they then run one after the other.
        options: of the problem's own training; see its `experiment`.

    Returns:
        A `Curve` of shape (num_times,), with `std` over the repeats when there are several, and solver statistics
        with a leading axis of repeats.

    Raises:
        ValueError: an argument is out of its range, or a dimension is an array or traced.
        RuntimeError: a training ran out of steps or diverged (with `throw`).
    """
    check_instance("problem", problem, AbstractProblem, "a problem, such as an ae.LinearProblem")
    check_key(key)
    num_repeats = static_integer("num_repeats", num_repeats)
    check_options(problem.options, options, type(problem).__name__)
    experiment = problem.experiment(times, **options)
    keys = jax.random.split(key, num_repeats)
    if progress is None:
        values, stats, module = run_repeats(experiment, keys, return_module)
    else:
        values, stats, module = _one_by_one(experiment, keys, return_module, progress)
    if throw:
        values = require_finished(values, stats, values)
    mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), values)
    std = None if num_repeats == 1 else jax.tree.map(lambda leaf: jnp.std(leaf, axis=0, ddof=1), values)
    if num_repeats == 1:
        module = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, module)
    return Curve(
        experiment.times,
        mean,
        std,
        stats=stats,
        module=module,
        problem_type=type(problem),
        label="simulation",
        num_repeats=num_repeats,
    )


def _one_by_one(
    experiment: AbstractExperiment, keys: Any, return_module: bool, progress: Callable[[int], None]
) -> Outcome:
    """Every repeat's outcome, from the program of a single one."""
    outcomes = []
    for index in range(len(keys)):
        one = run_repeats(experiment, keys[index : index + 1], return_module)
        outcomes.append(jax.block_until_ready(one))  # type: ignore[no-untyped-call]
        progress(len(outcomes))
    arrays, rest = eqx.partition(outcomes, eqx.is_array)
    joined: Outcome = eqx.combine(jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *arrays), rest[0])
    return joined


@eqx.filter_jit
def run_repeats(
    experiment: AbstractExperiment, keys: Key[Array, " repeats"] | UInt32[Array, "repeats key"], return_module: bool
) -> Outcome:
    """Every repeat's outcome, with a leading axis: one compiled program for each static part of the experiment."""

    def one(key: PRNGKeyArray) -> Outcome:
        outcome = experiment.outcome(key)
        arrays, rest = eqx.partition(outcome.module if return_module else None, eqx.is_array)
        static.append(rest)
        return outcome._replace(module=arrays)

    static: list[Any] = []
    outcomes: Outcome = jax.lax.map(one, keys, batch_size=experiment.repeats_at_once(len(keys)))
    return outcomes._replace(module=eqx.combine(outcomes.module, static[0]))
