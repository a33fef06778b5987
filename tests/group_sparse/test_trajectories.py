import dataclasses
import re

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refused

import aetheory as ae
from aetheory.group_sparse.order_parameters import MeanField
from aetheory.group_sparse.trajectories import distance_floor, entry_grid

DESCENT = ae.RecoveryProblem(optimizer="sgd", learning_rate=2.0, batch_size=2500)
SMALL = ae.RecoveryProblem(475, 250, 2, signal_to_noise=10.0, optimizer="sgd", learning_rate=1.0, batch_size=2500)


def test_the_optimiser_of_a_problem_chooses_its_theory():
    for optimizer, name in (("sgd", "order-parameter map"), ("adam", "single-entry process")):
        assert dataclasses.replace(DESCENT, optimizer=optimizer).default_theory().name == name
    own = dataclasses.replace(DESCENT, optimizer=optax.rmsprop(1e-3))
    assert own.default_theory().name == "single-entry process"


def test_plain_descent_at_the_published_size():
    """Squared distances computed apart from this library by another quadrature, which have no floors (2) and (3)."""
    curve = ae.predict(DESCENT, [0, 12, 24, 38, 50, 100])
    expected = [880.6, 225.1, 52.6, 18.5, 14.9, 14.3]
    floor = float(distance_floor(MeanField.of(DESCENT.as_arrays())))
    assert floor == pytest.approx(0.34 + 0.15, abs=0.01)
    # the floors rise from 0; that quadrature was converged to 7·10⁻⁵ of the start
    assert float(curve.distance[0]) == pytest.approx(expected[0], abs=0.06)
    np.testing.assert_allclose(curve.distance[2:] - floor, expected[2:], rtol=0, atol=0.3)
    np.testing.assert_allclose(curve.distance[1], expected[1], rtol=0, atol=0.3)
    np.testing.assert_allclose(curve.correlation, 1 - curve.distance / 2000, rtol=1e-6)
    assert float(curve.column_norm[-1]) == pytest.approx(float(ae.recovery.fixed_point_norm(2.0, 4.5)), rel=0.01)
    assert float(jnp.max(curve.false_positives)) < 0.1
    np.testing.assert_allclose(curve.false_positives, curve.invented * 497 / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "changes", "rest"),
    [
        ((475, 250, 2), {"signal_to_noise": 1.0, "learning_rate": 1.0}, 5.19),
        ((475, 125, 4), {"signal_to_noise": 10.0, "learning_rate": 0.5}, 5.54),
        ((475, 500, 1), {"signal_to_noise": 10.0, "learning_rate": 1.5}, 0.87),
    ],
)
def test_where_descent_comes_to_rest(sizes, changes, rest):
    """The floors and the noise of batches; simulations at 1 dB and 10 dB came to rest at 5.31, 5.20 and .98."""
    problem = ae.RecoveryProblem(*sizes, optimizer="sgd", batch_size=2500, **changes)
    assert float(ae.predict(problem, [600]).distance[0]) == pytest.approx(rest, rel=0.03)


def test_adam_in_the_published_setting():
    """Check values of another sample of entries, without floors (2) and (3); published: 879 452 200 71 26 12, … 6.6.

    Samples of 20 000 random entries scatter by up to two thousandths of the start.
    """
    curve = ae.predict(ae.RecoveryProblem(), [0, 20, 40, 60, 80, 100, 160])
    expected = [880.6, 442.4, 187.7, 57.2, 18.1, 7.7, 4.0]
    np.testing.assert_allclose(curve.distance, expected, rtol=0, atol=2e-3 * expected[0])
    assert float(curve.distance[-1]) == pytest.approx(expected[-1] + 0.49, abs=0.1)
    assert float(curve.column_norm[-1]) == pytest.approx(1.24, abs=0.005)


def test_single_entries_by_plain_descent_are_the_map():
    steps = [0, 20, 60]
    expected = ae.predict(SMALL, steps)
    sample = ae.predict(dataclasses.replace(SMALL, optimizer=optax.sgd(1.0)), steps)
    for name in ("distance", "column_norm", "found"):
        size = np.abs(expected.values[name]).max()
        np.testing.assert_allclose(sample.values[name], expected.values[name], rtol=0, atol=0.003 * size)


def test_the_grid_of_entries_is_normal():
    grid = entry_grid(20_000)
    np.testing.assert_allclose(grid @ grid.T / 20_000, np.eye(2), atol=1e-12)
    assert np.abs(np.mean(grid, axis=1)).max() < 1e-3
    np.testing.assert_allclose(np.mean(grid**4, axis=1), 3, rtol=0.01)
    assert np.mean(grid[0] ** 2 * grid[1] ** 2) == pytest.approx(1, rel=0.01)


def test_traced_steps_are_those_of_a_loop_and_linear_between(x64):
    """And their derivative in the start is the difference of a batch."""
    starts = jnp.array([0.56 - 1e-4, 0.56, 0.56 + 1e-4])
    low, middle, high = ae.predict(dataclasses.replace(SMALL, start_correlation=starts), [0, 3, 4]).distance

    @jax.jit
    def traced(times):
        return jax.jvp(
            lambda start: ae.predict(dataclasses.replace(SMALL, start_correlation=start), times).distance,
            (0.56,),
            (1.0,),
        )

    for found, loop, close in zip(
        traced(jnp.array([0.0, 3.0, 3.25, 4.0])), (middle, (high - low) / 2e-4), (1e-10, 1e-5), strict=True
    ):
        expected = np.append(loop, 0.75 * loop[1] + 0.25 * loop[2])[[0, 1, 3, 2]]
        np.testing.assert_allclose(found, expected, rtol=close)


def test_the_flow_is_what_small_steps_and_large_batches_follow():
    """And an independent program's, by another quadrature and SciPy, whose distance has no floors (2) and (3)."""
    times = np.array([0.0, 5.0, 20.0, 60.0, 100.0])
    flow = ae.predict(SMALL, times, flow=True)
    np.testing.assert_allclose(flow.column_norm, [1, 1.195983, 1.246821, 1.233490, 1.233465], atol=2e-5)
    above = flow.distance - np.array([440.64511, 242.56464, 35.50563, 1.21968, 1.15211])
    forgotten = np.array([0, 0.00347, 0.37053, 0.96563, 0.99852])  # (1 − e/e₀)²
    np.testing.assert_allclose(above, forgotten * float(distance_floor(MeanField.of(SMALL.as_arrays()))), atol=0.01)
    apart = []
    for rate in (0.25, 0.125):
        small = dataclasses.replace(SMALL, learning_rate=rate, batch_size=10**9)
        apart.append(np.abs(ae.predict(small, times / rate).distance - flow.distance).max() / flow.distance[0])
    assert 0.0015 < apart[0] < 0.003
    assert apart[0] / apart[1] == pytest.approx(2, rel=0.1)


@pytest.mark.slow
def test_the_flow_of_traced_numbers_and_times_and_of_a_batch(x64):
    """Its derivative in the start is a difference."""

    def end(start, time=20.0, **options):
        problem = dataclasses.replace(SMALL, start_correlation=start)
        return ae.predict(problem, jnp.array([0.0, 1.0]) * time, flow=True, **options).correlation[..., 1]

    starts = jnp.array([0.56 - 1e-4, 0.56, 0.56 + 1e-4])
    low, middle, high = end(starts)
    forward = {"adjoint": diffrax.ForwardMode()}
    value, slope = jax.jit(lambda time: jax.jvp(lambda one: end(one, time, **forward), (0.56,), (1.0,)))(20.0)
    assert float(value) == pytest.approx(float(middle), rel=1e-6)
    assert float(slope) == pytest.approx(float(high - low) / 2e-4, rel=1e-4)


@pytest.mark.slow
def test_sensitivities_are_differences(x64):
    """Derivatives in the noise and in the start, which fits determine."""
    steps, change = [5, 30], 1e-4
    found = ae.sensitivities(SMALL, steps).derivatives
    for name in ("signal_to_noise", "start_correlation"):
        up, down = (
            ae.predict(dataclasses.replace(SMALL, **{name: getattr(SMALL, name) * (1 + sign * change)}), steps)
            for sign in (1, -1)
        )
        for value in ("distance", "invented"):
            difference = (up.values[value] - down.values[value]) / (2 * change)
            np.testing.assert_allclose(found[name][value], difference, rtol=1e-5)


@pytest.mark.slow
def test_a_fit_finds_start_and_noise():
    """Of a predicted curve exactly; of a simulated one the start, and the noise as far as theory is off by."""
    problem, steps = dataclasses.replace(SMALL, signal_to_noise=3.0), np.arange(0, 61, 4)
    known = {name: getattr(problem, name) for name in ("threshold", "min_norm", "max_norm", "learning_rate")}
    bounds = {"start_correlation": (0.3, 0.9), "signal_to_noise": (0.3, 30.0)}

    def found(distance):
        observed = {"time": steps, "distance": distance}
        free = ["start_correlation", "signal_to_noise"]
        return ae.fit(observed, free=free, fixed=known, bounds=bounds, problem=problem).values

    exact = found(ae.predict(problem, steps).distance)
    assert exact["start_correlation"] == pytest.approx(0.56, rel=1e-3)
    assert exact["signal_to_noise"] == pytest.approx(3.0, rel=0.02)
    with jax.numpy_dtype_promotion("standard"):
        noisy = found(ae.simulate(problem, steps, jax.random.key(0)).distance)
    assert noisy["start_correlation"] == pytest.approx(0.56, rel=0.01)
    assert 0.5 < noisy["signal_to_noise"] < 6


test_what_it_does_not_describe_is_refused = refused(
    ({"network": "relu"}, "`network` must be with groups or the soft threshold (not one-sided), one iteration"),
    ({"optimizer": "adam"}, "`optimizer` must be 'sgd' for 'order-parameter map', but got 'adam'."),
    ({"learning_rate": 300.0}, "`learning_rate` must be small enough for training not to diverge (at step 2), but"),
    by=lambda change: ae.predict(dataclasses.replace(SMALL, **change), range(6), "order-parameter map"),
)


def test_what_has_no_flow_is_refused():
    with pytest.raises(ValueError, match="`flow` must be False for 'single-entry process', which has steps"):
        ae.predict(ae.RecoveryProblem(), [0.5], flow=True)


def test_a_step_before_training_diverges_is_predicted():
    with pytest.warns(UserWarning, match="false positives"):
        curve = ae.predict(dataclasses.replace(SMALL, learning_rate=300.0), [0, 1])
    assert np.isfinite(curve.distance).all()


def test_the_statistics_say_where_training_diverges():
    problem = dataclasses.replace(SMALL, learning_rate=jnp.array([1.0, 300.0]))
    curve = ae.predict(problem, range(6), throw=False)
    assert curve.stats.succeeded.tolist() == [True, False]
    assert curve.stats.num_steps.tolist() == [5, 2]


def test_traced_numbers_out_of_range_raise_when_the_program_runs():
    """With `throw=False` the statistics say so."""

    def end(start, **options):
        return ae.predict(dataclasses.replace(SMALL, start_correlation=start), [0, 2], **options)

    with pytest.raises(RuntimeError, match="`start_correlation` must be in"):
        jax.block_until_ready(jax.jit(lambda start: end(start).distance)(1.5))
    for start in (-0.5, 1.5):
        assert not jax.jit(lambda start: end(start, throw=False).stats.succeeded)(start)


def test_given_networks_start_where_they_are():
    source, start = dataclasses.replace(SMALL, input_dim=190, num_groups=40).experiment([1]).draw(jax.random.key(0))
    network = ae.GroupSparseAutoencoder(1.2 * start.dictionary, 2.0, 2)
    problem = ae.RecoveryProblem.of(source, network, optimizer="sgd")
    curve = ae.predict(problem, [0])
    assert float(curve.column_norm[0]) == pytest.approx(1.2, rel=1e-5)
    assert float(curve.distance[0]) == pytest.approx(
        float(ae.recovery.squared_distance(start.dictionary, source.dictionary)), rel=0.02
    )
    for other, message in (
        (ae.GroupSparseAutoencoder(start.dictionary, 2.0, 2, unit_norm=True), "`network` must be with free columns"),
        (ae.GroupSparseAutoencoder(start.dictionary, 2.0, 4), "`network` must be with free columns, in groups"),
        (ae.GroupSparseAutoencoder(-start.dictionary, 2.0, 2), "`start_correlation` must be in (0, 1] for"),
    ):
        with pytest.raises(ValueError, match=f"^Argument {re.escape(message)}"):
            ae.predict(ae.RecoveryProblem.of(source, other, optimizer="sgd"), [0])
    stretched = ae.GroupSparseSource(2 * source.dictionary, 2, 3, min_norm=4.0, max_norm=5.0)
    with pytest.raises(ValueError, match="`source` must be one whose dictionary has columns of norm 1"):
        ae.predict(ae.RecoveryProblem.of(stretched, network, optimizer="sgd"), [0])


def test_too_many_false_positives_are_warned_of():
    with pytest.warns(UserWarning, match=r"Up to 3\.\d false positives for each active group: the predicted curve is"):
        ae.predict(ae.RecoveryProblem(190, 100, optimizer="sgd", learning_rate=0.3), range(0, 101, 20))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "changes", "num_steps", "deviation"),
    [
        ((950, 500, 2), {"optimizer": "sgd", "learning_rate": 2.0}, 60, 0.01),
        ((475, 250, 2), {"optimizer": "sgd", "learning_rate": 1.0}, 80, 0.01),
        ((475, 500, 1), {"optimizer": "sgd", "learning_rate": 1.5, "signal_to_noise": 10.0}, 80, 0.01),
        ((475, 125, 4), {"optimizer": "sgd", "learning_rate": 0.5, "signal_to_noise": 10.0}, 80, 0.01),
        ((475, 250, 2), {"learning_rate": 1.41e-3, "signal_to_noise": 10.0}, 80, 0.02),
    ],
)
def test_simulations_follow_the_prediction(sizes, changes, num_steps, deviation):
    """The whole curve of the squared distance, as a share of its start."""
    problem = ae.RecoveryProblem(*sizes, batch_size=2500, **changes)
    steps = range(num_steps + 1)
    with jax.numpy_dtype_promotion("standard"):
        simulated = ae.simulate(problem, steps, jax.random.key(0))
    predicted = ae.predict(problem, steps)
    start = float(simulated.distance[0])
    np.testing.assert_allclose(simulated.distance, predicted.distance, rtol=0, atol=deviation * start)
    np.testing.assert_allclose(simulated.column_norm, predicted.column_norm, rtol=0, atol=0.02)
