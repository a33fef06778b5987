import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae

GRID = 401


def counted(function):
    """The function, and how often its value or derivative was computed."""
    calls = []

    def counting(argument):
        jax.debug.callback(lambda _: calls.append(1), jax.lax.stop_gradient(argument))
        return function(argument)

    return counting, calls


def population(ratios, times, regime):
    return ae.predict(ratios, times, regime).population


def test_initial_scale_is_the_grids_in_a_tenth_of_the_evaluations(x64):
    @jax.jit
    def risk(scale):
        return population(ae.LinearRatios(scale, 0.5, 0.5), np.array([0.4]), "mean-field")[0]

    objective, calls = counted(risk)
    found = ae.optimise.minimise(objective, (1e-2, 10.0))
    jax.effects_barrier()
    assert len(calls) <= GRID / 10
    grid = np.geomspace(1e-2, 10, GRID)
    values = jax.jit(jax.vmap(risk))(jnp.asarray(grid))
    assert found.argument == pytest.approx(grid[values.argmin()], rel=10 ** (3 / GRID) - 1)
    assert found.value <= values.min() * (1 + rounding(jnp.float64, 103))
    # the derivative vanishes: the risk is a parabola there, whose height a step of 1e-4 in the logarithm shows
    beside = [objective(found.argument * np.exp(step)) - found.value for step in (-1e-4, 1e-4)]
    assert beside[0] == pytest.approx(float(beside[1]), rel=1e-3)
    named = ae.optimise.initial_scale(0.4, 0.5, 0.5, "mean-field")
    assert named.argument == pytest.approx(float(found.argument), rel=1e-9)
    assert not named.at_bound


@pytest.mark.slow
def test_initial_scale_through_a_flow(x64):
    found = ae.optimise.initial_scale(0.2, 0.01, 1.0, "narrow-latent")
    scales = np.geomspace(0.3, 3, 31) * float(found.argument)
    assert found.value <= population(ae.LinearRatios(scales, 0.01, 1.0), np.array([0.2]), "narrow-latent").min() + 1e-8
    assert not found.at_bound


def test_stopping_time_is_the_grids(x64):
    ratios, times = jnp.array([0.5, 1.0, 2.0]), np.geomspace(1e-2, 10, GRID)
    found = jax.jit(jax.vmap(lambda z: ae.optimise.stopping_time(2.0, 1.0, z, "mean-field")))(ratios)
    risks = population(ae.LinearRatios(2.0, 1.0, ratios), times, "mean-field")
    assert (found.value <= risks.min(axis=1) + rounding(jnp.float64, 103)).all()
    # the more data, the longer it pays to train, and the less is left
    assert found.value[0] < found.value[1] < found.value[2]
    late = ae.optimise.stopping_time(0.5, 2.0, 0.0, "large-data", bounds=(0.01, 2.0))
    assert late.at_bound
    assert late.argument == pytest.approx(2.0)


def test_derivative_of_a_minimiser_is_implicit(x64):
    # the least of cosh(log u − a²) lies at exp(a²); that far from the middle of the last interval cosh bends by 1e-5
    def argument(a):
        return ae.optimise.minimise(lambda u: jnp.cosh(jnp.log(u) - a**2), (0.1, 10.0)).argument

    assert argument(0.7) == pytest.approx(np.exp(0.49), rel=1e-9)
    assert jax.jit(jax.grad(argument))(0.7) == pytest.approx(1.4 * np.exp(0.49), rel=1e-5)


def test_a_kink_at_the_minimum_is_no_obstacle(precision):
    low, high = jnp.asarray(0.01, precision), jnp.asarray(10.0, precision)
    found = ae.optimise.minimise(lambda u: jnp.abs(u - 2) + u / 2, (low, high))
    assert found.argument.dtype == precision
    assert found.argument == pytest.approx(2, rel=1e-4)


SOURCES = {
    "one at its kink": ([np.linspace(1, 2, 10), np.linspace(0.2, 3, 20), np.full(15, 0.8)], 60.0),
    "flat ones": ([np.full(6, 1.0), np.full(8, 1.0), np.linspace(0.5, 1.0, 5)], 11.0),
    "flat and steep": ([np.ones(10), 1.5 / np.sqrt(np.arange(1, 21))], 12.0),
    "few": ([np.linspace(1, 2, 10), np.linspace(1.5, 3, 20)], 7.0),
}


@jax.jit
def risks(sources, units):
    return sum(one.size * ae.limits.water_filling(one, n).risk for one, n in zip(sources, units, strict=True))


@pytest.mark.parametrize("case", SOURCES)
def test_allocation_is_the_grids(x64, case):
    sources, total = SOURCES[case]
    found = ae.optimise.allocation(sources, total)
    grid = np.stack(np.meshgrid(*[np.linspace(total / 60, total, 60)] * (len(sources) - 1))).reshape(
        len(sources) - 1, -1
    )
    last = total - grid.sum(axis=0)
    units = np.vstack([grid, last])[:, last > 0]
    *others, own = np.asarray(risks(sources, list(np.column_stack([units, found.units]))))
    assert found.risk <= min(others) + rounding(jnp.float64, 45, size=60)
    assert float(found.units.sum()) == pytest.approx(total, rel=rounding(jnp.float64, 3, 9))
    assert found.risk == pytest.approx(own, rel=rounding(jnp.float64, 45))
    # what one more unit is worth, to the left and to the right
    more, less = (ae.optimise.allocation(sources, total + step).risk for step in (1e-4, -1e-4))
    assert (found.risk - more) / 1e-4 <= found.multiplier * (1 + 1e-4)
    assert (less - found.risk) / 1e-4 >= found.multiplier * (1 - 1e-4)


def test_allocation_of_more_units_than_directions_is_joint_water_filling(x64):
    sources = [np.linspace(1, 2, 10), np.linspace(1.5, 3, 20)]
    found = ae.optimise.allocation(sources, 60.0)
    joint = ae.limits.water_filling(np.concatenate(sources), 60.0)
    assert float(found.risk) == pytest.approx(30 * float(joint.risk), rel=1e-12)
    np.testing.assert_allclose(found.units, [joint.allocation[:10].sum(), joint.allocation[10:].sum()], rtol=1e-9)


def test_threshold_has_the_largest_margin(x64):
    interval = ae.recovery.threshold_interval(0.02, 0.03, group_size=2, num_active=2, min_norm=4.0, max_norm=5.0)
    found = ae.optimise.threshold(interval)
    grid = np.linspace(0, 5, GRID)
    margins = np.minimum(grid - float(interval.lower), float(interval.upper) - grid)
    assert found.threshold == pytest.approx(grid[margins.argmax()], abs=5 / GRID)
    assert found.margin >= margins.max()
    assert interval.contains(found.threshold)
    empty = ae.recovery.threshold_interval(0.5, 0.1, group_size=2, num_active=2, min_norm=1.0, max_norm=5.0)
    assert ae.optimise.threshold(empty).margin < 0 <= ae.optimise.threshold(empty).threshold


def test_bad_input(x64):
    for bounds in ((1.0, 0.5), (0.0, 1.0), (1.0, np.inf)):
        with pytest.raises(ValueError, match="`bounds` must be two finite, positive numbers in increasing order"):
            ae.optimise.minimise(lambda u: u, bounds)
    with pytest.raises(ValueError, match="`time` must be finite and positive"):
        ae.optimise.initial_scale(-1.0, 1.0, 1.0, "mean-field")
    with pytest.raises(ValueError, match="at least two sources"):
        ae.optimise.allocation([np.ones(3)], 2.0)
