import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae

TIMES = np.linspace(0, 0.4, 5)
REGIMES = ["large-data", "mean-field", ("mean-field", "free")]
# flows, whose derivatives in both modes tests/test_theories.py has of one
REGIMES += [pytest.param(name, marks=pytest.mark.slow) for name in ("small-data", "narrow-latent")]


@pytest.mark.parametrize("regime", REGIMES)
def test_derivatives_are_central_differences_of_the_curve(x64, regime):
    ratios, step = {"init_scale": 0.7, "latent_ratio": 0.4, "sample_ratio": 1.3}, 1e-4
    found = ae.sensitivities(ae.LinearRatios(**ratios), TIMES, regime)
    for name in ratios:
        moved = ratios | {name: ratios[name] * np.exp(step * np.array([1, -1]))}
        batch = ae.predict(ae.LinearRatios(**moved), TIMES, regime)
        for risk in ("train", "population"):
            up, down = batch.values[risk]
            # rounding and the third derivative, and the flow's tolerance in two steps of the solver that differ
            np.testing.assert_allclose(found.derivatives[name][risk], (up - down) / (2 * step), atol=1e-6)


def test_a_problem_gives_the_sensitivities_of_its_ratios(x64):
    problem = ae.LinearProblem(100, 40, 10**6, 0.01)
    found, named = ae.sensitivities(problem, TIMES), ae.sensitivities(problem.continuous(), TIMES, "large-data")
    assert found.curve.label == "large-data"
    np.testing.assert_array_equal(found.derivatives["init_scale"].train, named.derivatives["init_scale"].train)
    assert not found.derivatives["sample_ratio"].population.any()


def test_elasticities_of_an_explicit_edge(precision):
    # R = (c/(1+4ct))²: elasticity 2/(1+4ct) in x and y alike
    ratios, times = ae.LinearRatios(0.7, 0.4, 0.0), jnp.asarray(TIMES, precision)
    found = ae.sensitivities(ratios, times, ("large-data", "mean-field", "free"))
    expected = 2 / (1 + 4 * 0.28 * np.asarray(times, np.float64))
    for name in ("init_scale", "latent_ratio"):
        assert found.derivatives[name].train.dtype == precision
        np.testing.assert_allclose(found.elasticities[name].train, expected, rtol=rounding(precision, 20, 2))


def test_bad_input(x64):
    with pytest.raises(ValueError, match="single problem"):
        ae.sensitivities(ae.LinearRatios(jnp.ones(2), 1.0, 1.0), TIMES, "mean-field")
    with pytest.raises(ValueError, match="`sample_ratio` must be positive"):
        ae.predict(ae.LinearRatios(1.0, 1.0, 0.0), TIMES, "small-data")
    with pytest.raises(ValueError, match="`latent_ratio` must be finite and positive"):
        ae.LinearRatios(1.0, 0.0, 0.0)


def test_ratios_round_to_whole_problems(x64):
    problem = ae.LinearRatios(1.5, 0.333, 0.7).problem(100)
    assert (problem.latent_dim, problem.num_samples) == (33, 143)
    assert float(problem.init_scale) == pytest.approx(1.5)
    assert np.isinf(ae.LinearRatios(1.5, 1e-9, 0.0).problem(10).num_samples)
    assert ae.LinearRatios(1.5, 1e-9, 0.0).problem(10).latent_dim == 1
    with pytest.raises(ValueError, match="single ratios"):
        jax.jit(lambda y: ae.LinearRatios(1.0, y, 0.0).problem(10).init_variance)(0.5)
    with pytest.raises(ValueError, match="`input_dim` must be None for a TwoLayerProblem"):
        ae.TwoLayerProblem(4, 9).problem(10)
