import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.prism import large_data_risk

import aetheory as ae
from aetheory.reproduce import prism


def test_panels_hold_their_regimes_and_both_risks(x64):
    names = ["large-data", "mean-field", "narrow-latent", "small-data", "free", "digits", "power-law"]
    for size in ("default", "standard", "full"):
        job = prism.job(size, seed=0)
        assert [panel.name for panel in job.panels] == [*names, "scaling-laws", "resummation"]
        charts = prism.charts(size)
        assert list(charts) == names
        for name in names[:-1]:
            assert len(charts[name].cases) >= 3
            assert {case.regime for case in charts[name].cases} == {name.replace("digits", "mean-field")}
        general = charts["power-law"].cases
        assert len({case.regime for case in general}) == len(general) >= 3
        for case in general:
            assert case.regime in case.label
            assert float(case.problem.covariance.mean()) == pytest.approx(1)
            assert case.time_unit * float(case.problem.covariance[0]) <= 3 or case.time_unit == 1
    chart = charts["digits"]
    data = chart.data["data"]
    assert data.shape == (1297, 64)
    assert chart.data["held_out"].shape == (500, 64)
    assert chart.times[0] == 0
    centred = data - data.mean(0, keepdims=True)
    assert float(jnp.mean(jnp.sum(centred**2, axis=1))) / 64 == pytest.approx(1, rel=1e-6)


def test_the_summary_agrees_with_the_curves(x64):
    problem, times = ae.LinearProblem(60, 30, 2, 0.5 / 60), jnp.asarray([0.0, 0.1, 0.5])
    case, key = prism.Case("$N=2$", problem, "mean-field", time_unit=2.0), jax.random.key(3)
    data = prism.compare(case, prism.Chart("", [case], times / 2, num_repeats=3, scale=2.0), key)
    assert data.sizes == {"setting": 1, "time": 3}
    assert data.input_dim.item() == 60
    simulation = ae.simulate(problem, times, key, num_repeats=3)
    theory = ae.predict(problem, times, "mean-field")
    deviation = float(jnp.max(jnp.abs(theory.train - simulation.train)))
    assert data.train_deviation.item() == pytest.approx(deviation)
    assert data.train_relative_deviation.item() == pytest.approx(deviation / float(simulation.train[0]))
    assert data.population_standard_error.item() == pytest.approx(float(simulation.standard_error.population.max()))
    assert data.located.item() == ae.locate(problem).regime
    again = prism._curve(data.isel(setting=0), "simulation", 2.0, 3)
    np.testing.assert_allclose(again.std.train, simulation.std.train / 4)
    np.testing.assert_allclose(again.times, times)  # in units of the problem's own, 2, and of 1/x


@pytest.mark.filterwarnings("ignore:The Taylor series is summed")
def test_sums_of_the_expansion_against_the_exact_curve(x64):
    data = prism.resummed()
    np.testing.assert_allclose(data.exact[::40], large_data_risk(data.time.values[::40], 1.0, 0.5), atol=1e-8)
    # the eigenvalues of M(0) end at (1 ± √y)², where 1 + λ(e^{4t} − 1) vanishes at the singular times
    singular = [np.log(1 - 1 / (1 + sign * np.sqrt(0.5)) ** 2 + 0j) / 4 for sign in (-1, 1)]
    assert data.radius == pytest.approx(min(abs(time) for time in singular), rel=0.1)
    assert data.taylor_deviation[0] < 1e-3 < 1 < data.taylor_deviation[2]
    assert data["conformal-pade_deviation"][1] < 1e-4
    assert data["conformal-pade_deviation"][2] < 0.02
