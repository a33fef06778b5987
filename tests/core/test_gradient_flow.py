import re
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tolerance import rounding

from aetheory.core.curve import Curve
from aetheory.core.gradient_flow import gradient_flow

START = np.array([1.0, -0.7, 0.4])
STIFFNESS = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.5]])
TIMES = np.array([0.0, 0.25, 0.8, 0.8, 2.0])
TRACES = []


class Particle(eqx.Module):
    """Two trained arrays, and leaves of every kind that training must leave alone."""

    position: jax.Array
    offset: jax.Array
    visits: jax.Array
    pinned: jax.Array
    strength: float
    nonlinearity: Callable
    name: str = eqx.field(static=True, default="particle")


def particle(dtype, start=START):
    position, offset = jnp.asarray(start[:2], dtype), jnp.asarray(start[2:], dtype)
    return Particle(position, offset, jnp.array([3, 1]), jnp.array([True, False]), 1.0, jnp.square)


def potential(particle, data):
    """L = ½ θᵀAθ + ¼ b Σθ⁴, θ the position and the offset together."""
    TRACES.append(type(particle))
    stiffness, quartic = data
    state = jnp.concatenate([particle.position, particle.offset])
    fourth = jnp.sum(particle.nonlinearity(state) ** 2)
    return particle.strength * (0.5 * state @ stiffness @ state + 0.25 * quartic * fourth)


def observe(particle, data):
    return {"state": jnp.concatenate([particle.position, particle.offset]), "energy": (potential(particle, data),)}


def follow(dtype, *, start=START, quartic=0.0, times=TIMES, metrics=observe, rtol=1e-6, **options):
    """One compiled program for each precision and set of options."""
    data = (jnp.asarray(STIFFNESS, dtype), jnp.asarray(quartic, dtype))
    rtol = jnp.asarray(rtol, dtype)
    times = jnp.asarray(times, dtype)
    return gradient_flow(particle(dtype, start), potential, times, data, metrics=metrics, rtol=rtol, **options)


def state_of(particle):
    return np.concatenate([particle.position, particle.offset])


def force(state, quartic):
    return -(STIFFNESS @ state + quartic * state**3)


def energy(states, quartic):
    return 0.5 * np.einsum("ti,ij,tj->t", states, STIFFNESS, states) + 0.25 * quartic * (states**4).sum(1)


def exponential_path(start=START, times=TIMES):
    rates, modes = np.linalg.eigh(STIFFNESS)
    return np.exp(-np.outer(times, rates)) * (modes.T @ start) @ modes.T


def nonlinear_path(start, quartic, times=TIMES):
    unique, places = np.unique(times, return_inverse=True)
    options = {"t_eval": unique, "rtol": 1e-12, "atol": 1e-13, "method": "DOP853"}
    return solve_ivp(lambda _, state: force(state, quartic), (0, unique[-1]), start, **options).y.T[places]


@pytest.mark.parametrize("quartic", [0.0, 2.5], ids=["quadratic", "quartic"])
def test_the_flow_agrees_with_closed_form_and_scipy(quartic, precision):
    path = nonlinear_path(START, quartic)
    if quartic == 0:
        np.testing.assert_allclose(path, exponential_path(), rtol=1e-9)
    rtol, tolerance = {"float32": (1e-6, 1e-5), "float64": (1e-10, 1e-9)}[precision.name]
    run = follow(precision, quartic=quartic, rtol=rtol)
    assert isinstance(run, Curve)
    assert repr(run).startswith("Curve(gradient flow, 5 times in [0, ")
    assert run.values["state"].dtype == run.times.dtype == precision
    np.testing.assert_array_equal(run.times, TIMES.astype(precision))
    np.testing.assert_allclose(run.values["state"], path, atol=tolerance)
    np.testing.assert_allclose(run.values["energy"][0], energy(path, quartic), atol=2 * tolerance)
    np.testing.assert_allclose(state_of(run.module), path[-1], atol=tolerance)
    assert run.stats.succeeded
    assert run.stats.num_steps > 1


def test_what_is_not_a_floating_point_array_is_left_alone(precision):
    before, after = particle(precision), follow(precision).module
    assert after.position.dtype == after.offset.dtype == precision
    assert (after.visits == before.visits).all()
    assert after.visits.dtype == before.visits.dtype
    assert (after.pinned == before.pinned).all()
    assert after.pinned.dtype == bool
    assert (after.strength, after.nonlinearity, after.name) == (1.0, jnp.square, "particle")
    assert jax.tree.structure(after) == jax.tree.structure(before)


def test_a_bare_array_is_a_module_and_data_and_metrics_may_be_left_out(x64):
    start = jnp.array([2.0, -1.0])
    run = gradient_flow(start, lambda theta, data: 0.5 * jnp.sum(theta**2), np.array([0.0, 1.0]), rtol=1e-10)
    np.testing.assert_allclose(run.module, start * np.exp(-1), rtol=1e-9)
    np.testing.assert_allclose(run.values.arrays[0], [2.5, 2.5 * np.exp(-2)], rtol=1e-9)  # the loss


@pytest.mark.parametrize("quartic", [0.0, 2.5], ids=["quadratic", "quartic"])
def test_a_step_size_is_plain_gradient_descent(quartic, precision):
    step = 0.125
    states = [START]
    for _ in range(16):
        states.append(states[-1] + step * force(states[-1], quartic))
    states = np.array(states)
    positions = TIMES / step  # 0.8 lies between two steps
    left = np.minimum(positions.astype(int), 15)
    fraction = (positions - left)[:, None]
    path = (1 - fraction) * states[left] + fraction * states[left + 1]

    run = follow(precision, quartic=quartic, step_size=step, max_steps=8)  # the limit of the adaptive flow only
    tolerance = rounding(precision, terms=16 * 4, size=np.abs(path).max())
    np.testing.assert_allclose(run.values["state"], path, atol=tolerance)
    np.testing.assert_allclose(state_of(run.module), states[-1], atol=tolerance)
    assert run.stats.num_steps == 16


@pytest.mark.parametrize("step_size", [None, 1e-6])
def test_a_flow_to_time_zero_is_the_start(step_size):
    run = follow(jnp.float32, times=np.zeros(len(TIMES)), step_size=step_size)
    np.testing.assert_array_equal(run.values["state"], np.tile(START.astype(np.float32), (len(TIMES), 1)))
    np.testing.assert_array_equal(state_of(run.module), START.astype(np.float32))


def test_nothing_is_compiled_again_for_new_numbers():
    options = {"start": 2 * START, "times": 2 * TIMES, "quartic": 1.0, "rtol": 1e-4}
    for step_size, other_step_size in [(None, None), (0.125, 0.25)]:
        follow(jnp.float32, step_size=step_size, max_steps=32)
        count = len(TRACES)
        follow(jnp.float32, step_size=other_step_size, max_steps=32, **options)
        assert len(TRACES) == count


def test_vmap_and_jit_over_starts_and_traced_times(x64):
    @eqx.filter_jit
    def paths(starts, times):
        def path(start):
            run = follow(jnp.float64, start=start, quartic=2.5, rtol=1e-9, times=times)
            return run.values["state"], run.stats.num_steps

        return jax.vmap(path)(starts)

    starts = np.array([START, -2 * START])
    states, num_steps = paths(jnp.asarray(starts), jnp.asarray(TIMES))
    assert num_steps.shape == (2,)
    for start, path in zip(starts, states, strict=True):
        np.testing.assert_allclose(path, nonlinear_path(start, 2.5), atol=1e-8)
    with pytest.raises(RuntimeError, match="Argument `times` must be a non-empty vector of finite, nonnegative times"):
        paths(jnp.asarray(starts), jnp.array([0.0, 0.5, 0.4, 0.8, 2.0]))


def test_running_out_of_steps():
    with pytest.raises(RuntimeError, match=r"did not reach the last time"):
        follow(jnp.float32, max_steps=3)
    run = follow(jnp.float32, max_steps=3, throw=False)
    assert not run.stats.succeeded
    assert run.stats.num_steps == 3
    assert run.stats.message.startswith("1 of 1 flows stopped early, out of steps")


def test_a_step_size_too_large_diverges():
    options = {"quartic": 2.5, "times": 50 * TIMES, "step_size": 4.0, "max_steps": 32}
    with pytest.raises(RuntimeError, match="Training diverged: a recorded value is NaN or infinite"):
        follow(jnp.float32, **options)
    assert not np.isfinite(follow(jnp.float32, **options, throw=False).values["energy"][0]).all()


def test_a_module_that_diverges_unseen_by_the_metrics_is_not_returned():
    with pytest.raises(RuntimeError, match="Training diverged"):
        follow(
            jnp.float32,
            quartic=2.5,
            times=50 * TIMES,
            step_size=4.0,
            max_steps=32,
            metrics=lambda particle, data: data[1],
        )


def test_a_flow_that_reaches_infinity_in_finite_time_raises():
    # θ' = θ³ from 1 is infinite at t = 1/2; the stiffness only delays it
    with pytest.raises(RuntimeError, match="did not reach the last time"):
        follow(jnp.float32, quartic=-10.0)


def test_a_start_that_is_not_a_number_raises():
    with pytest.raises(RuntimeError, match="The flow"):
        follow(jnp.float32, start=np.array([np.nan, 1.0, 1.0]))


@pytest.mark.parametrize(
    ("option", "value", "requirement"),
    [
        ("times", np.array([1.0, 0.5]), "a non-empty vector of finite, nonnegative times in increasing order"),
        ("rtol", 0.0, "finite and positive"),
        ("rtol", -1.0, "finite and positive"),
        ("max_steps", 0, "a positive integer"),
        ("step_size", 0.0, "finite and positive"),
        ("step_size", -0.5, "finite and positive"),
        ("step_size", np.nan, "finite and positive"),
    ],
)
def test_a_bad_argument(option, value, requirement):
    arguments = {"times": TIMES, "data": (STIFFNESS, 0.0)} | {option: value}
    message = f"Argument `{option}` must be {requirement}, but got {value}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        gradient_flow(particle(jnp.float32), potential, **arguments)


def test_a_loss_that_is_not_a_scalar_is_refused():
    with pytest.raises(ValueError, match="scalar-output"):
        gradient_flow(jnp.ones(2), lambda theta, data: theta, TIMES)
