"""What a draw is reduced to, and that its law stays."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import TIMES, covariance_matrix, follow, gaussian_ensemble, weights_on_data
from oracles.prism import full_matrix_flow, many_matrix_flows
from scipy.stats import ks_2samp

import aetheory as ae
from aetheory.core.simulate import run_repeats
from aetheory.linear import ensembles, simulation
from aetheory.linear.data import data_covariance
from aetheory.linear.flow import evolve


@pytest.mark.parametrize("dims", [(36, 60, 80), (36, 60, 11), (36, 60, jnp.inf)])
def test_the_flow_of_the_map_is_that_of_the_weights(x64, dims):
    """Where H ≥ 3p/2, M is followed in place of W: on the same draw, against matrices that nothing was reduced to."""
    ensemble = gaussian_ensemble(jax.random.key(2), dims, 0.02)
    assert ensemble.follow_map
    assert ensemble.weights.shape == (36, 36)
    covariance = np.zeros((36, 36))
    rank = ensemble.spectrum.shape[0]
    covariance[:rank, :rank] = covariance_matrix(ensemble)
    expected = full_matrix_flow(np.asarray(ensemble.weights), covariance, TIMES)
    np.testing.assert_allclose(follow(ensemble), expected, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_following_the_map_costs_no_accuracy(x64, scale):
    ensemble = gaussian_ensemble(jax.random.key(3), (60, 90, 120), scale / 60)
    of_weights = replace(ensemble, follow_map=False)
    exact = follow(of_weights, rtol=1e-11)
    initial = np.max(exact, axis=1, keepdims=True)
    by_map, by_weights = (
        np.max(np.abs(np.array(follow(one, rtol=1e-6)) - exact) / initial) for one in (ensemble, of_weights)
    )
    assert by_map < max(5e-6, 2 * by_weights)


@pytest.mark.slow
def test_a_loose_tolerance_does_not_let_the_map_diverge(x64):
    case = ae.LinearProblem(32, 48, 40, 0.05 / 32)
    curve = ae.simulate(case, [0.0, 3.0, 20.0], jax.random.key(0), num_repeats=400, rtol=1e-2)
    assert (jnp.diff(curve.train) < 0).all()


def test_risks_of_the_map_on_held_out_samples(x64):
    rng = np.random.default_rng(4)
    samples, other = rng.standard_normal((25, 40)), rng.standard_normal((70, 40))
    case = ae.LinearProblem(40, 100, 25, 0.01)
    curve = ae.simulate(case, TIMES, jax.random.key(0), data=samples, held_out=other)
    covariance = data_covariance(jnp.asarray(samples), jnp.asarray(other))
    drawn = weights_on_data(jax.random.split(jax.random.key(0), 1)[0], covariance, (40, 100, 25), 0.01)
    assert drawn.follow_map
    spectrum, held_out = np.diag(np.asarray(covariance.spectrum)), np.asarray(covariance.held_out)
    expected = full_matrix_flow(np.asarray(drawn.weights), spectrum, TIMES, held_out)
    np.testing.assert_allclose([curve.train, curve.population], expected, atol=2e-5)


def test_the_map_is_followed_only_where_it_is_far_from_singular():
    assert ensembles.reduction(32, 48, 10).follow_map
    assert not ensembles.reduction(32, 47, 10).follow_map
    assert not ensembles.reduction(31, 10**6, 10).follow_map
    square = ensembles.reduction(400, 800, 400)
    assert square.flops == 2 * 400**3 < square._replace(follow_map=False).flops


@pytest.mark.parametrize(("dims", "shape"), [((8, 10, 20), (8, 8)), ((8, 2, 4), (6, 2)), ((8, 10, 4), (8, 8))])
def test_reduced_draws_have_the_law_of_the_unreduced_flow(x64, dims, shape):
    """Mean and variance of both risks over 400 draws against explicit weights and samples, nothing reduced."""
    input_dim, latent_dim, num_samples = dims
    repeats, scale = 400, 0.6
    case = ae.LinearProblem(input_dim, latent_dim, num_samples, scale / input_dim)
    drawn = jax.eval_shape(lambda key: gaussian_ensemble(key, dims, 0.1), jax.random.key(0))
    assert drawn.weights.shape == shape
    reduced = ae.simulate(case, TIMES, jax.random.key(11), num_repeats=repeats)

    rng = np.random.default_rng(3)
    weights = np.sqrt(scale / input_dim) * rng.standard_normal((repeats, input_dim, latent_dim))
    samples = rng.standard_normal((repeats, input_dim, num_samples))
    explicit = many_matrix_flows(weights, samples @ samples.mT / num_samples, TIMES)
    for risk, values in zip(("train", "population"), explicit, strict=True):
        mean, std = np.asarray(getattr(reduced, risk)), np.asarray(getattr(reduced.std, risk))
        error = np.sqrt((std**2 + values.var(0)) / repeats) + 1e-7
        assert (np.abs(mean - values.mean(0)) < 4 * error).all()
        # a variance's own error needs the fourth moment, from the explicit draws
        centred = values - values.mean(0)
        kurtosis = (centred**4).mean(0) / np.maximum(values.var(0), 1e-12) ** 2
        noise = np.sqrt(2 * np.maximum(kurtosis - 1, 0.5) / repeats)
        spread = values.std(0) > 1e-6
        assert (np.abs(np.log(std[spread] ** 2 / values.var(0)[spread])) < 4 * noise[spread] + 0.02).all()


def test_large_dimensions_cost_their_smaller_ones(x64):
    case = ae.LinearProblem(10**6, 5, 10, 1e-6)
    curve = ae.simulate(case, np.array([0.0, 1e-5, 2e-5]), jax.random.key(0))
    assert float(curve.population[0]) == pytest.approx(1.0, abs=1e-4)
    assert float(curve.train[0]) > float(curve.train[-1])
    drawn = jax.eval_shape(lambda key: gaussian_ensemble(key, (10**6, 5, 10), 1e-6), jax.random.key(0))
    assert drawn.weights.shape == (15, 5)


def test_one_program_serves_all_dimensions_of_one_reduced_shape(x64, monkeypatch):
    """N ≥ p only sets degrees of freedom, and so does H ≥ p: neither is compiled anew."""
    traces = []

    def counted(*args, **options):
        traces.append(1)
        return evolve(*args, **options)

    monkeypatch.setattr(simulation, "evolve", counted)
    times = np.array([0.0, 0.11, 0.22])
    for num_samples, latent_dim in ((20, 13), (50, 40), (10**6, 10**7)):
        ae.simulate(ae.LinearProblem(13, latent_dim, num_samples, 0.5 / latent_dim), times, jax.random.key(0))
    assert len(traces) == 1
    for input_dim in (40, 10**5):
        ae.simulate(ae.LinearProblem(input_dim, 2, 5, 0.01), times * 1e-5, jax.random.key(0))
    assert len(traces) == 2


@pytest.mark.parametrize("dims", [(40, 20), (15, 40)])
def test_the_population_needs_no_flow_and_has_its_law(x64, dims):
    """Kolmogorov–Smirnov against weights that are drawn: M(t) = M(0) [q + (1−q) M(0)]⁻¹, q = e^{−4t}."""
    input_dim, latent_dim = dims
    rng, identity = np.random.default_rng(0), np.eye(input_dim)
    weights = np.sqrt(1 / input_dim) * rng.standard_normal((400, input_dim, latent_dim))
    maps = weights @ weights.mT
    decay = np.exp(-4 * TIMES)[:, None, None, None]
    errors = maps @ np.linalg.inv(decay * identity + (1 - decay) * maps) - identity
    explicit = np.sum(errors**2, axis=(-2, -1)) / input_dim
    flow = full_matrix_flow(weights[0], identity, TIMES)
    np.testing.assert_allclose(explicit[:, 0], flow[0], atol=1e-7)

    experiment = ae.LinearProblem(*dims, jnp.inf, 1 / input_dim).experiment(TIMES)
    values, stats, _ = run_repeats(experiment, jax.random.split(jax.random.key(0), 800), False)
    assert not stats.num_steps.any()
    np.testing.assert_array_equal(values.train, values.population)
    for place in range(len(TIMES)):
        assert ks_2samp(explicit[place], np.asarray(values.train)[:, place]).pvalue > 1e-3
