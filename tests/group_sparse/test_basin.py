from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from refusals import refused

import aetheory as ae
from aetheory.group_sparse.order_parameters import MeanField

PROBLEM = ae.RecoveryProblem(optimizer="sgd")
STARTS = np.array([0.2, 0.25, 0.3, 0.4, 0.56, 0.95])


def test_the_time_is_that_of_the_flow_in_its_own_time(x64):
    """Which SciPy integrates until q/√N is .9."""
    found = ae.recovery.recovery_time(replace(PROBLEM, start_correlation=jnp.asarray(STARTS)))
    field, p = MeanField.of(PROBLEM.as_arrays()), 3 / 500
    drift = jax.jit(lambda q, excess: field.drift(q, excess)[:2])

    def velocity(_, state):
        alignment, growth = drift(jnp.asarray(state[0]), jnp.asarray(state[1] ** 2))
        return [(alignment + growth * state[0]) / p, growth * state[1] / p]

    def reached(_, state):
        return state[0] / np.hypot(*state) - 0.9

    reached.terminal = True
    for start, time in zip(STARTS[1:-1], found[1:-1], strict=True):
        solution = scipy.integrate.solve_ivp(
            velocity, (0, 5), [start, np.sqrt(1 - start**2)], "LSODA", events=reached, rtol=1e-6, atol=1e-8
        )
        assert float(time) == pytest.approx(solution.t_events[0][0], rel=2e-3)
    assert float(found[-1]) == 0
    # computed apart from this library, by a coarser quadrature
    np.testing.assert_allclose(found[:-1], [13.7, 1.73, 0.51, 0.23, 0.15], rtol=0.12)


def test_without_overlap_recovery_takes_for_ever():
    time = ae.recovery.recovery_time(
        replace(PROBLEM, threshold=jnp.array([3.0, 8.0]), start_correlation=jnp.full(2, 0.3))
    )
    assert time[0] > 400
    assert np.isinf(time[1])


def test_critical_values_are_where_the_time_is_the_budget():
    """Those of the check values: c₀ ≈ .24 at λ = 2, λ ≈ 3.5 at c₀ = .56."""
    thresholds = jnp.array([2.0, 3.0])
    starts = ae.recovery.critical_value(replace(PROBLEM, threshold=thresholds), "start_correlation")
    assert float(starts[0]) == pytest.approx(0.24, abs=0.01)
    times = ae.recovery.recovery_time(replace(PROBLEM, threshold=thresholds, start_correlation=starts))
    np.testing.assert_allclose(times, 2, rtol=0.01)
    near = replace(PROBLEM, start_correlation=jnp.array([0.56, 0.3]))
    highest = ae.recovery.critical_value(near, "threshold")
    assert float(highest[0]) == pytest.approx(3.5, abs=0.1)
    assert 2 < highest[1] < 2.5
    ends = ae.recovery.critical_value(replace(PROBLEM, start_correlation=jnp.array([0.95, 0.1])), "threshold", 1e-2)
    assert ends.tolist() == [10.0, -np.inf]


STARTS_APART = replace(PROBLEM, start_correlation=jnp.array([0.3, 0.4]))
test_a_bad_argument = refused(
    (lambda: ae.recovery.critical_value(PROBLEM, "learning_rate"), "`name` must be one of"),
    (lambda: ae.recovery.critical_value(PROBLEM, "threshold", -1.0), "`budget` must be finite and positive"),
    (lambda: ae.recovery.critical_value(PROBLEM, "threshold", np.nan), "`budget` must be finite and positive"),
    (lambda: ae.recovery.recovery_time(PROBLEM, 1.5), "`correlation` must be in"),
    (lambda: ae.recovery.recovery_time(replace(PROBLEM, network="relu")), "`network` must be with groups or the soft"),
    (lambda: ae.recovery.population_curve(STARTS_APART, [0]), "`problem` must be a single one"),
)


def test_groups_that_start_apart_enclose_a_simulation_near_the_critical_start():
    """At n = 475, 10 dB, c₀ = .25 its correlation was .848 at the time 2/p; check values [.718, .936]."""
    near = replace(PROBLEM, input_dim=475, num_groups=250, signal_to_noise=10.0, start_correlation=0.25)
    curve = ae.recovery.population_curve(replace(near, learning_rate=1.0, batch_size=2500), [0, 167])
    assert float(curve.lower.correlation[1]) < 0.848 < float(curve.upper.correlation[1])
    assert float(curve.lower.correlation[1]) == pytest.approx(0.718, abs=0.05)
    assert float(curve.upper.correlation[1]) == pytest.approx(0.936, abs=0.02)
    np.testing.assert_allclose(curve.correlation, (curve.lower.correlation + curve.upper.correlation) / 2, rtol=1e-6)
    assert float(curve.lower.correlation[0]) == pytest.approx(0.25, abs=0.01)
