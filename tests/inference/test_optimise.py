import jax
import jax.numpy as jnp
import numpy as np
import pytest

import aetheory as ae

GRID = 401


def counted(function):
    """The function, and how often its value or derivative was computed."""
    calls = []

    def counting(argument):
        jax.debug.callback(lambda _: calls.append(1), jax.lax.stop_gradient(argument))
        return function(argument)

    return counting, calls


def on_grid(function, bounds):
    grid = np.geomspace(*bounds, GRID)
    values = np.asarray(jax.lax.map(function, jnp.asarray(grid)))
    return grid[values.argmin()], values.min()


def test_initial_scale_is_the_grids_in_a_tenth_of_the_evaluations(x64):
    def risk(scale):
        return ae.predict(ae.LinearRatios(scale, 0.5, 0.5), jnp.array([0.4]), "mean-field").population[0]

    objective, calls = counted(risk)
    found = ae.optimise.minimise(objective, (1e-2, 10.0))
    jax.effects_barrier()
    assert len(calls) == found.num_evaluations <= GRID / 10
    argument, value = on_grid(risk, (1e-2, 10.0))
    assert found.argument == pytest.approx(argument, rel=10 ** (3 / GRID))
    assert found.value <= value + 1e-9
    named = ae.optimise.initial_scale(0.4, 0.5, 0.5, "mean-field")
    assert named.argument == pytest.approx(float(found.argument), rel=1e-9)
    assert not named.at_bound


def test_initial_scale_through_a_flow(x64):
    found = ae.optimise.initial_scale(0.2, 0.01, 1.0, "narrow-latent", num_scanned=5)
    scales = np.geomspace(0.3, 3, 31) * float(found.argument)
    values = [
        float(ae.predict(ae.LinearRatios(scale, 0.01, 1.0), np.array([0.2]), "narrow-latent").population[0])
        for scale in scales
    ]
    assert found.value <= min(values) + 1e-8
    assert not found.at_bound


def test_stopping_time_is_the_grids_in_a_tenth_of_the_evaluations(x64):
    ratios = jnp.array([0.5, 1.0, 2.0])
    found = jax.vmap(lambda z: ae.optimise.stopping_time(2.0, 1.0, z, "mean-field", bounds=(1e-2, 10.0)))(ratios)
    for index, ratio in enumerate(ratios):
        times = np.geomspace(1e-2, 10, GRID)
        risks = ae.predict(ae.LinearRatios(2.0, 1.0, float(ratio)), times, "mean-field").population
        assert found.num_evaluations[index] <= GRID / 10
        assert found.value[index] <= risks.min() + 1e-9
    # the more data, the longer it pays to train, and the less is left
    assert found.value[0] < found.value[1] < found.value[2]


def test_late_stopping_runs_into_its_bound(x64):
    found = ae.optimise.stopping_time(0.5, 2.0, 0.0, "large-data", bounds=(0.01, 2.0))
    assert found.at_bound
    assert found.argument == pytest.approx(2.0)


def test_derivative_of_a_minimiser_is_implicit(x64):
    # the least of (log u − a²)² lies at exp(a²)
    def argument(a):
        return ae.optimise.minimise(lambda u: (jnp.log(u) - a**2) ** 2, (0.1, 10.0), rtol=1e-9).argument

    assert argument(0.7) == pytest.approx(np.exp(0.49), rel=1e-8)
    assert jax.grad(argument)(0.7) == pytest.approx(1.4 * np.exp(0.49), rel=1e-6)


def test_allocation_is_the_grids_in_a_tenth_of_the_evaluations(x64):
    sources = [np.linspace(1, 2, 10), np.linspace(0.2, 3, 20), np.full(15, 0.8)]
    found = ae.optimise.allocation(sources, 60.0)
    best, count = np.inf, 0
    for first in np.linspace(1, 59, 40):
        for second in np.linspace(1, 59, 40):
            if (third := 60 - first - second) > 0:
                count += 1
                parts = zip(sources, (first, second, third), strict=True)
                best = min(best, sum(one.size * float(ae.limits.water_filling(one, n).risk) for one, n in parts))
    assert found.converged
    assert float(found.units.sum()) == pytest.approx(60)
    assert found.risk <= best + 1e-6
    assert found.num_evaluations <= count / 10
    # the third source is at its kink, with a unit for every direction; the others are worth the same at the margin
    assert found.units[2] == 15
    assert float(found.multipliers[0]) == pytest.approx(float(found.multipliers[1]), rel=1e-3)


def test_allocation_of_more_units_than_directions_is_joint_water_filling(x64):
    sources = [np.linspace(1, 2, 10), np.linspace(1.5, 3, 20)]
    found = ae.optimise.allocation(sources, 60.0)
    joint = ae.limits.water_filling(np.concatenate(sources), 60.0)
    assert float(found.risk) == pytest.approx(30 * float(joint.risk), rel=1e-5)
    np.testing.assert_allclose(found.units, [joint.allocation[:10].sum(), joint.allocation[10:].sum()], rtol=1e-2)


def test_threshold_has_the_largest_margin(x64):
    interval = ae.recovery.threshold_interval(0.02, 0.03, group_size=2, num_active=2, min_norm=4.0, max_norm=5.0)
    found = ae.optimise.threshold(interval)
    grid = np.linspace(0, 5, GRID)
    margins = np.minimum(grid - float(interval.lower), float(interval.upper) - grid)
    assert found.threshold == pytest.approx(grid[margins.argmax()], abs=5 / GRID)
    assert found.margin >= margins.max() - 1e-12
    assert interval.contains(found.threshold)


def test_an_empty_interval_has_a_negative_margin(x64):
    interval = ae.recovery.threshold_interval(0.5, 0.1, group_size=2, num_active=2, min_norm=1.0, max_norm=5.0)
    assert interval.is_empty
    found = ae.optimise.threshold(interval)
    assert found.margin < 0
    assert found.threshold >= 0


def test_both_precisions(precision):
    low, high = jnp.asarray(0.01, precision), jnp.asarray(10.0, precision)
    found = ae.optimise.minimise(lambda u: (u - 2) ** 2, (low, high))
    assert found.argument.dtype == precision
    assert found.argument == pytest.approx(2, rel=2e-3)


def test_bad_input(x64):
    for bounds in ((1.0, 0.5), (0.0, 1.0), (1.0, np.inf)):
        with pytest.raises(ValueError, match="`bounds` must be two finite, positive numbers in increasing order"):
            ae.optimise.minimise(lambda u: u, bounds)
    with pytest.raises(ValueError, match="`num_scanned` must be at least 3"):
        ae.optimise.minimise(lambda u: u, (0.1, 1.0), num_scanned=2)
    with pytest.raises(ValueError, match="`time` must be finite and positive"):
        ae.optimise.initial_scale(-1.0, 1.0, 1.0, "mean-field")
    with pytest.raises(ValueError, match="at least two sources"):
        ae.optimise.allocation([np.ones(3)], 2.0)
    with pytest.raises(ValueError, match=r"`weights` must be of shape \(2,\)"):
        ae.optimise.allocation([np.ones(3), np.ones(3)], 2.0, weights=[1.0])
