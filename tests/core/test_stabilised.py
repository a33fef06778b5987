"""The stabilised method: its order, its interval of stability, and its choice of stages."""

import diffrax
import jax.numpy as jnp
import numpy as np
import pytest

from aetheory.core.stabilised import STAGES, RungeKuttaChebyshev, chebyshev_coefficients


def growth(stages, z):
    """The factor of one step of y' = λy at z = hλ."""
    slope, rows, _ = chebyshev_coefficients(stages)
    before, last = 1.0, 1 + slope * z
    for mu, nu, moved, gone, _ in rows:
        before, last = last, 1 - mu - nu + mu * last + nu * before + moved * z * last + gone * z
    return last


@pytest.mark.parametrize("stages", STAGES)
def test_the_method_is_of_second_order_and_stable_on_its_interval(stages):
    for z in (-1e-2, -2e-2):
        assert abs(growth(stages, z) - np.exp(z)) < abs(z) ** 3
    _, _, stable = chebyshev_coefficients(stages)
    assert stable == pytest.approx(2 / 3 * (stages**2 - 1) * (1 - 2 / 15 * 2 / 13), rel=2e-3)
    inside = np.linspace(-stable, -0.5, 400)
    assert (np.abs(growth(stages, inside)) < 1).all()
    assert abs(growth(stages, -1.1 * stable)) > 1


def field(time, state, rates):
    return -rates * (state - jnp.cos(time))


@pytest.mark.parametrize("rate", [10.0, 1000.0])
def test_steps_converge_whatever_the_stages(x64, rate):
    """y' = −λ(y − cos t): errors fall fourfold when steps are halved, with few stages and with many."""
    rates = jnp.asarray([1.0, rate])
    exact = rates * (rates * np.cos(1) + np.sin(1)) / (1 + rates**2)
    exact += (1 - rates**2 / (1 + rates**2)) * jnp.exp(-rates)
    errors = []
    for steps in (4, 8, 16):
        solver, step = RungeKuttaChebyshev(jnp.asarray(rate)), jnp.asarray(1 / steps)
        solution = diffrax.diffeqsolve(diffrax.ODETerm(field), solver, 0.0, 1.0, step, jnp.ones(2), args=rates)
        errors.append(float(jnp.max(jnp.abs(solution.ys[-1] - exact))))
    assert errors[0] < 3e-3
    assert errors[0] / errors[1] > 3
    assert errors[1] / errors[2] > 3
