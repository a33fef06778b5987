import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

from aetheory.core.solve import (
    SolverStats,
    check_solver_options,
    effective_rtol,
    require_finished,
    solve_flow,
    steps_needed,
)

TIMES = np.array([0.0, 0.3, 0.3, 1.1, 2.0])


def driven(time, state, args):
    """y' = −rate·y + drive·cos t in each entry: depends on the time, the state and the arguments."""
    rate, drive, _ = args
    return {name: -rate * value + drive * jnp.cos(time) for name, value in state.items()}


def observe(time, state, args):
    return {"time": time, "state": state, "rate": args[0]}


def driven_solution(time, start, rate):
    particular = (rate * np.cos(time) + np.sin(time)) / (1 + rate**2)
    return particular + (start - rate / (1 + rate**2)) * np.exp(-rate * time)


def solve(
    dtype, *, rate=1.5, drive=1.0, weight=0.0, start=1.0, times=TIMES, rtol=1e-6, keep_final_state=True, **options
):
    """One program for each precision and set of options."""
    state = {"a": jnp.asarray([start, -2 * start], dtype), "b": jnp.asarray([[0.5 * start]], dtype)}
    rate, drive, weight, rtol, times = (jnp.asarray(value, dtype) for value in (rate, drive, weight, rtol, times))
    return solved(state, times, (rate, drive, weight), rtol=rtol, keep_final_state=keep_final_state, **options)


@eqx.filter_jit
def solved(state, times, args, **options):
    return solve_flow(driven, state, times, args, observe, **options)


def goal(state, velocity, error, args):
    return args[2] * (jnp.sum(error["a"]) + jnp.sum(error["b"]))


def stats_of(*successes):
    steps, success = jnp.arange(10, 10 + len(successes)), jnp.array(successes)
    return SolverStats(steps, jnp.zeros_like(steps), success)


def test_a_driven_flow_agrees_with_its_solution(precision):
    observed, final, stats = solve(precision)
    tolerance = {"float32": 2e-5, "float64": 1e-5}[precision.name]
    for name, start in [("a", np.array([1.0, -2.0])), ("b", np.array([[0.5]]))]:
        exact = np.stack([driven_solution(time, start, 1.5) for time in TIMES])
        assert observed["state"][name].dtype == precision
        np.testing.assert_allclose(observed["state"][name], exact, atol=tolerance)
        np.testing.assert_allclose(final[name], exact[-1], atol=tolerance)
    np.testing.assert_allclose(observed["time"], TIMES.astype(precision), rtol=rounding(precision, terms=4))
    assert observed["rate"].tolist() == [1.5] * len(TIMES)
    assert stats.succeeded
    assert 0 <= stats.num_rejected_steps < stats.num_steps < 100


def test_the_tolerance_buys_accuracy_with_steps(x64):
    exact = driven_solution(TIMES[-1], np.array([1.0, -2.0]), 1.5)
    errors, steps = [], []
    for rtol in (1e-4, 1e-7, 1e-10):
        _, final, stats = solve(jnp.float64, rtol=rtol)
        errors.append(np.abs(final["a"] - exact).max())
        steps.append(int(stats.num_steps))
    assert all(error < 10 * rtol for error, rtol in zip(errors, (1e-4, 1e-7, 1e-10), strict=True))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert steps[0] < steps[1] < steps[2]


def test_steps_answer_to_the_error_of_a_goal(x64):
    """One goal feels errors of the state a thousandfold, another not at all, a third is lost in an overflow."""

    def errors(rtol, **options):
        observed, _, stats = solve(jnp.float64, rtol=rtol, **options)
        exact = np.stack([driven_solution(time, np.array([1.0, -2.0, 0.5]), 1.5) for time in TIMES])
        found = np.concatenate([observed["state"]["a"], observed["state"]["b"][:, 0]], axis=1)
        return np.abs(found - exact).max(), 1e3 * np.abs((found - exact).sum(axis=1)).max(), int(stats.num_steps)

    options = {"goal_error": goal, "max_steps": 500}
    for rtol in (1e-5, 1e-7):
        state, felt, steps = errors(rtol, weight=1e3, **options)
        plain_state, plain_felt, plain_steps = errors(rtol)
        assert felt < 3 * rtol < plain_felt
        assert state < plain_state
        assert steps > plain_steps
        loose_state, _, loose_steps = errors(rtol, weight=0.0, **options)
        assert plain_state < loose_state < 10 * rtol
        assert loose_steps < plain_steps
    _, _, stats = solve(jnp.float64, weight=np.nan, **options)
    assert stats.num_rejected_steps == stats.num_steps == 500


def test_a_goal_is_given_the_step_it_judges(x64):
    """y' = −y: errors of a step of length h are those of its end, and the velocity is the mean one over h."""
    seen = []

    def goal(state, velocity, error, args):
        jax.debug.callback(lambda *numbers: seen.append([float(number) for number in numbers]), state, velocity, error)
        return error

    def decay(time, state, args):
        return -state

    times = jnp.asarray([0.0, 1.0])
    solve_flow(decay, jnp.asarray(1.0), times, None, lambda t, y, a: y, rtol=jnp.asarray(1e-6), goal_error=goal)
    assert len(seen) > 3
    start = 1.0
    for state, velocity, error in seen:
        step = (state - start) / velocity
        assert abs(error) < 1e-4
        if abs(state - start * np.exp(-step)) < 1e-6:  # accepted
            start = state
    assert start == pytest.approx(np.exp(-1), abs=1e-6)


def test_a_step_size_makes_it_the_explicit_euler_method(x64):
    step, rate = 0.25, 1.5
    path = [np.array([1.0, -2.0])]
    for k in range(8):
        path.append(path[-1] + step * (-rate * path[-1] + np.cos(k * step)))
    positions = TIMES / step
    left = np.minimum(positions.astype(int), 7)
    fraction = (positions - left)[:, None]
    expected = (1 - fraction) * np.array(path)[left] + fraction * np.array(path)[left + 1]

    observed, final, stats = solve(jnp.float64, rate=rate, step_size=jnp.asarray(step))
    error = rounding(jnp.float64, terms=8 * 4, size=2)
    np.testing.assert_allclose(observed["state"]["a"], expected, rtol=0, atol=error)
    np.testing.assert_allclose(final["a"], path[-1], rtol=0, atol=error)
    assert stats.num_steps == 8
    assert stats.num_rejected_steps == 0


def test_a_state_of_zeros_stays_zero():
    observed, final, stats = solve(jnp.float32, start=0.0, drive=0.0)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves((observed["state"], final)))
    assert stats.succeeded


@pytest.mark.parametrize("step_size", [None, 1e-6])
def test_a_flow_to_time_zero_goes_nowhere(step_size, x64):
    step_size = None if step_size is None else jnp.asarray(step_size)
    # a rate that no flow to a later time could follow
    observed, final, stats = solve(jnp.float64, rate=1e9, times=np.zeros(len(TIMES)), step_size=step_size)
    assert stats.succeeded
    assert observed["state"]["a"].tolist() == [[1, -2]] * len(TIMES)
    assert final["a"].tolist() == [1, -2]


def test_the_tolerance_is_raised_to_what_the_coarsest_leaf_can_honour(x64):
    single, double = jnp.ones(2, jnp.float32), jnp.ones(2)
    for state, smallest in [(double, 16 * 2.0**-52), ([double, single], 16 * 2.0**-23)]:
        assert effective_rtol(jnp.asarray(1e-20), state) == smallest
        assert effective_rtol(jnp.asarray(0.01), state) == 0.01


@pytest.mark.parametrize("rtol", [0, -1e-6, math.nan, math.inf, "1e-6"])
def test_a_bad_tolerance(rtol):
    message = f"Argument `rtol` must be finite and positive, but got {rtol!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_solver_options(rtol, 100)


@pytest.mark.parametrize("max_steps", [0, -1, 2.5, "100", None])
def test_a_bad_number_of_steps(max_steps):
    message = f"Argument `max_steps` must be a positive integer, but got {max_steps!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check_solver_options(1e-6, max_steps)


def test_good_solver_options_pass():
    check_solver_options(1e-6, 1)
    check_solver_options(jnp.asarray(1e-6), 16_384)


@pytest.mark.parametrize("step_size", [0.0, -0.1, math.nan, math.inf, "0.1"])
def test_a_bad_step_size(step_size):
    message = f"Argument `step_size` must be finite and positive, but got {step_size!r}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        steps_needed(jnp.array([1.0]), step_size, 100)


@pytest.mark.parametrize("count", [100, 126, 127, 1000, 65_537])
def test_the_step_limit_reaches_the_last_time(count):
    limit = steps_needed(jnp.array([0.0, float(count)]), 1.0, 100)
    assert limit >= count
    assert limit <= 2 * (count + 2)
    assert limit.bit_count() == 1  # few different programs
    assert steps_needed(jnp.array([0.0, float(count)]), jnp.asarray(1.0), 2**20) == 2**20


def test_the_step_limit_of_a_traced_flow_is_the_given_one():
    limits = []
    jax.jit(lambda times: limits.append(steps_needed(times, 0.001, 50)))(jnp.array([1.0]))
    jax.jit(lambda step: limits.append(steps_needed(jnp.array([1.0]), step, 50)))(0.001)
    assert limits == [50, 50]


def test_the_outcome_in_words():
    assert stats_of(True, True).message == "reached the last time"
    early = "flows stopped early, out of steps or with a vanishing step size"
    assert stats_of(False, True, False).message == f"2 of 3 {early}"
    single = jax.tree.map(lambda leaf: leaf[0], stats_of(False))
    assert single.message == f"1 of 1 {early}"


def test_a_finished_flow_is_returned_as_it_is():
    value = {"curve": jnp.arange(3.0), "name": "flow"}
    assert require_finished(value, stats_of(True, True), value)["curve"].tolist() == [0, 1, 2]
    assert require_finished(value, None, {"count": jnp.arange(3), "name": "flow"})["name"] == "flow"


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_value_that_is_not_finite_is_an_error(bad):
    with pytest.raises(RuntimeError, match="Training diverged: a recorded value is NaN or infinite"):
        require_finished(jnp.ones(2), None, {"risk": jnp.array([1.0, bad])})


def test_running_out_of_steps_is_an_error_that_names_the_limit():
    with pytest.raises(RuntimeError, match=r"did not reach the last time"):
        require_finished(jnp.ones(2), stats_of(True, False), jnp.ones(2))


def test_errors_are_raised_at_run_time_under_jit():
    finish = eqx.filter_jit(lambda value: require_finished(value, None, value))
    assert finish(jnp.ones(2)).tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="Training diverged"):
        finish(jnp.array([1.0, jnp.nan]))
