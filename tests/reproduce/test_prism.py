from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.prism import large_data_risk

import aetheory as ae
from aetheory.reproduce import prism


def test_panels_hold_their_regimes_and_both_risks(x64):
    for size in ("default", "standard", "full"):
        job = prism.job(size, seed=0)
        regimes = ["large-data", "mean-field", "narrow-latent", "small-data", "free", "digits"]
        assert [panel.name for panel in job.panels] == [*regimes, "power-law", "scaling-laws", "resummation"]
        for panel in job.panels[: len(regimes)]:
            assert len(panel.problems) >= 3
            assert {setting.regime for setting in panel.problems} == {panel.name.replace("digits", "mean-field")}
        general = job.panels[len(regimes)].problems
        assert len({setting.regime for setting in general}) == len(general) >= 3
        for setting in general:
            assert setting.regime in setting.label
            assert float(setting.problem.covariance.mean()) == pytest.approx(1)
            assert setting.unit * float(setting.problem.covariance[0]) <= 3 or setting.unit == 1
    chart = job.panels[len(regimes) - 1].compute.keywords["chart"]
    data = chart.data["data"]
    assert data.shape == (1297, 64)
    assert chart.data["held_out"].shape == (500, 64)
    assert chart.times[0] == 0
    centred = data - data.mean(0, keepdims=True)
    assert float(jnp.mean(jnp.sum(centred**2, axis=1))) / 64 == pytest.approx(1, rel=1e-6)


def test_the_summary_agrees_with_the_curves(x64):
    problem, times = ae.LinearProblem(60, 30, 2, 0.5 / 60), jnp.asarray([0.0, 0.1, 0.5])
    setting = prism.Setting("$N=2$", problem, "mean-field", jax.random.key(3), unit=2.0)
    chart = prism.Chart("", {}, times / 2, scale=2.0)
    data = prism.compare(setting, Path(), chart, num_repeats=3)
    assert data.sizes == {"setting": 1, "time": 3}
    assert data.input_dim.item() == 60
    simulation = ae.simulate(problem, times, setting.key, num_repeats=3)
    theory = ae.predict(problem, times, "mean-field")
    told = prism._summarise([setting], False, data)
    entry = told["settings"][0]
    deviation = float(jnp.max(jnp.abs(theory.train - simulation.train)))
    assert entry["train_deviation"] == told["train_deviation"] == pytest.approx(deviation)
    assert entry["train_deviation_relative"] == pytest.approx(deviation / float(simulation.train[0]))
    assert entry["population_standard_error"] == pytest.approx(float(simulation.standard_error.population.max()))
    assert entry["located"] is None
    again = prism._curve(data.isel(setting=0), "simulation", 2.0, 3)
    np.testing.assert_allclose(again.std.train, simulation.std.train / 4)
    np.testing.assert_allclose(again.times, times)  # in units of the setting's own, 2, and of 1/x


@pytest.mark.filterwarnings("ignore:The Taylor series is summed")
def test_sums_of_the_expansion_against_the_exact_curve(x64):
    data = prism._sums(None, Path())
    np.testing.assert_allclose(data.exact[::40], large_data_risk(data.time.values[::40], 1.0, 0.5), atol=1e-8)
    told = prism._summarise_sums(data)
    # the eigenvalues of M(0) end at (1 ± √y)², where 1 + λ(e^{4t} − 1) vanishes at the singular times
    singular = [np.log(1 - 1 / (1 + sign * np.sqrt(0.5)) ** 2 + 0j) / 4 for sign in (-1, 1)]
    assert told["radius"] == pytest.approx(min(abs(time) for time in singular), rel=0.1)
    deviations = told["deviations"]
    assert deviations["taylor"]["half_radius"] < 1e-3 < 1 < deviations["taylor"]["last_time"]
    assert deviations["conformal-pade"]["last_time"] < 0.02
    assert deviations["conformal-pade"]["radius"] < 1e-4
