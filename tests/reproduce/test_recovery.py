import dataclasses

import jax
import numpy as np
import pytest

import aetheory as ae
from aetheory.reproduce import recovery, recovery_theory

PROBLEM = ae.RecoveryProblem(60, 12, num_active=1, batch_size=60, learning_rate=0.01)
PHASES = recovery.Phases(500, 8, (1, 6), (-30.0, 30.0), tuple(np.linspace(0, 5, 21).tolist()), num_samples=100)


def trained(problem=PROBLEM, levels=(1.0, 20.0)):
    panel = recovery.training_panel(problem, ("group",), levels, 6, jax.random.key(0))
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic mixes types
        return panel.compute()


@pytest.mark.filterwarnings("ignore:Up to .* false positives")
def test_trainings_stand_beside_their_prediction():
    runs = trained()
    assert runs.sizes == {"network": 1, "signal_to_noise": 2, "epoch": 7}
    one = dataclasses.replace(PROBLEM, signal_to_noise=20.0)
    with jax.numpy_dtype_promotion("standard"):
        simulation = ae.simulate(one, range(7), jax.random.key(0), examples_per_pass=60)
        predicted = ae.predict(one, range(7)).distance  # by the program of the panel, which depends on the promotion
    np.testing.assert_allclose(runs.distance[0, 1], simulation.distance, rtol=1e-4)
    np.testing.assert_allclose(runs.predicted_distance[0, 1], predicted, rtol=1e-5)
    gap = np.abs(predicted - simulation.distance).max() / simulation.distance[0]
    assert float(runs.largest_gap_to_theory[0, 1]) == pytest.approx(float(gap), rel=1e-3)


def test_a_run_that_diverges_is_refused():
    with pytest.raises(RuntimeError, match=r"diverged|finite"):
        trained(dataclasses.replace(PROBLEM, learning_rate=1e18))


def test_the_stored_run_of_the_published_size_is_the_published_curve():
    """The re-measured distances within 15 %, and the published rates of the supports."""
    stored = recovery_theory.stored_runs()
    settings = vars(ae.RecoveryProblem())
    shared = settings.keys() & stored.attrs.keys()
    assert len(shared) >= 9
    assert {name: stored.attrs[name] for name in shared} == {name: settings[name] for name in shared}
    group, sparse = (stored.isel(run=index) for index in (0, 1))
    assert (group.network, sparse.network) == ("group", "sparse")
    np.testing.assert_allclose(group.distance[:101:20], [877, 443, 191, 59, 19, 8], rtol=0.15)
    assert group.distance[160] < 6
    assert group.found[-1] > 0.99
    assert 0.70 < sparse.found[-1] < 0.85
    assert float(group.column_norm[-1]) == pytest.approx(float(ae.recovery.fixed_point_norm(2.0, 4.5)), rel=0.02)


def test_the_theory_stands_beside_what_was_published():
    panel = recovery_theory.published_panel(("group",), (1.0, 10.0))
    curves = panel.compute()
    assert curves.distance.shape == (1, 2, 61)
    assert float(curves.false_positives.max()) < 0.01
    assert curves.published.sel(signal_to_noise=1, epoch=20).item() == 452
    assert curves.distance[0, 0, 0].item() == pytest.approx(880.6, abs=0.1)
    assert float(curves.largest_difference.max()) < 0.02


def test_the_basin_is_wider_at_the_lower_threshold():
    basin = recovery_theory.basin_panel(ae.RecoveryProblem()).compute()
    # at 10 dB; critical are .29 and .51
    np.testing.assert_allclose(basin.least_start.sel(signal_to_noise=10), [0.32, 0.52], rtol=1e-6)


@pytest.mark.slow
def test_the_published_simulation():
    """The full size, one seed, in float32: minutes."""
    with jax.numpy_dtype_promotion("standard"):
        curve = ae.RecoveryProblem().experiment(range(161)).run(jax.random.key(0)).values
    np.testing.assert_allclose(curve.distance[:101:20], [877, 443, 191, 59, 19, 8], rtol=0.15)
    assert curve.distance[160] < 6
    assert curve.found[-1] > 0.99


def test_the_phases_keep_their_guarantees():
    diagrams = recovery.phase_diagrams(PHASES, jax.random.key(0))
    assert (diagrams.recovery_noise[:, 0] < 0.2).all()
    assert diagrams.recovery_noise[0, 1] == 1
    for form in ("sound", "dictionary"):
        assert diagrams.num_failures_inside.sel(form=form) == 0
    lower, upper = diagrams.interval.sel(form="sound", num_active=6).values
    assert not lower < upper
    lower, upper = diagrams.interval.sel(form="sound", num_active=1).values
    inside = (diagrams.threshold >= lower) & (diagrams.threshold < upper)
    assert inside.sum() > 3
    assert (diagrams.recovery_threshold[0].values[inside] == 1).all()
    broken = recovery.count_failures(diagrams.assign(recovery_threshold=0 * diagrams.recovery_threshold))
    assert broken.num_failures_inside.sel(form="sound") == inside.sum()


@pytest.mark.parametrize("size", ["default", "standard", "full"])
def test_the_sizes_keep_the_ratios_of_the_published_simulation(size):
    job = recovery.job(size, seed=5)
    problem = job.panels[0].draw["figure"].keywords["problem"]
    assert problem.input_dim / problem.num_groups == pytest.approx(1.9)
    assert problem.batch_size / problem.num_groups == 20
    assert (problem.group_size, problem.num_active, problem.threshold) == (2, 3, 2)
    if size == "full":
        assert problem.input_dim == 950
        names = ["runs", "phases", "published", "basin", "clusters-digits", "clusters-mnist", "clusters-fashion-mnist"]
        assert [panel.name for panel in job.panels] == names
