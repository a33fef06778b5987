from dataclasses import replace
from functools import partial

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import covariance_matrix, gaussian_ensemble, weights_on_data
from oracles.prism import full_matrix_flow
from scipy.stats import ks_2samp
from tolerance import rounding

import aetheory as ae
from aetheory.core.precision import exact_products
from aetheory.core.simulate import run_repeats
from aetheory.linear import ensembles, simulation
from aetheory.linear.data import data_covariance
from aetheory.linear.flow import Ensemble, evolve, risks, vector_field

TIMES = np.array([0.0, 0.1, 0.5, 1.5])
followed = eqx.filter_jit(exact_products(evolve))  # a program for each shape, whatever the numbers and the tolerance


def draw(rng, input_dim, latent_dim, num_samples, scale=0.5):
    weights = np.sqrt(scale / input_dim) * rng.standard_normal((input_dim, latent_dim))
    samples = rng.standard_normal((num_samples, input_dim))
    return weights, samples, samples.T @ samples / num_samples


def as_ensemble(weights, spectrum, input_dim):
    """The simulation's ensemble for explicit weights in the eigenbasis of S."""
    return Ensemble(
        weights=jnp.asarray(weights),
        spectrum=jnp.asarray(spectrum),
        scale=jnp.asarray(1 / input_dim),
        train_offset=jnp.asarray(np.sum(spectrum) / input_dim),
        population_offset=jnp.asarray(1.0),
    )


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None))
def unreduced(weights, spectrum, times):
    """The risks of explicit weights in the whole eigenbasis of S."""
    dim = len(spectrum)
    ensemble = Ensemble(weights, spectrum, jnp.asarray(1 / dim), jnp.sum(spectrum) / dim, jnp.asarray(1.0))
    return evolve(ensemble, times, rtol=jnp.asarray(1e-6), max_steps=4096)[0]


def follow(ensemble, rtol=1e-9):
    curves, _ = followed(ensemble, jnp.asarray(TIMES), rtol=jnp.asarray(rtol), max_steps=4096)
    return np.asarray(curves.train), np.asarray(curves.population)


@pytest.mark.parametrize("dims", [(9, 4, 20), (9, 9, 20), (9, 4, 5), (12, 8, 3)])
def test_eigenbasis_flow_is_the_full_matrix_flow(x64, dims):
    """Same draw, rotated to the eigenbasis of S with its zero eigenvalues last: nothing changes."""
    input_dim, _, num_samples = dims
    weights, _, covariance = draw(np.random.default_rng(0), *dims)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    rank = min(num_samples, input_dim)
    reduced = follow(as_ensemble(basis.T @ weights, spectrum[:rank], input_dim))
    expected = full_matrix_flow(weights, covariance, TIMES)
    np.testing.assert_allclose(reduced, expected, atol=1e-7)


@pytest.mark.parametrize("scale", [0.05, 1.0, 2.0, 100.0])
@pytest.mark.parametrize("dims", [(50, 25, 100), (30, 20, 12), (40, 80, 60)])
def test_the_tolerance_bounds_the_error_of_the_risks(x64, dims, scale):
    """As shares of the initial risks, against SciPy on full matrices, whether the flow follows W or M."""
    input_dim, latent_dim, num_samples = dims
    times = TIMES / (1 + scale)
    weights, _, covariance = draw(np.random.default_rng(0), *dims, scale)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    ensemble = as_ensemble(basis.T @ weights, spectrum[: min(num_samples, input_dim)], input_dim)
    ensemble = replace(ensemble, follow_map=latent_dim > input_dim)
    exact = np.stack(full_matrix_flow(weights, covariance, times))
    for rtol in (1e-4, 1e-5, 1e-6):
        curves, _ = followed(ensemble, jnp.asarray(times), rtol=jnp.asarray(rtol), max_steps=4096)
        errors = np.abs(np.stack([curves.train, curves.population]) - exact) / exact[:, :1]
        assert errors[0].max() < 3 * rtol
        assert errors[1].max() < 10 * rtol


def test_large_blocks_use_symmetry_and_change_nothing(x64):
    """One velocity and both risks at a size where products are split, against full matrices."""
    weights, _, covariance = draw(np.random.default_rng(8), 600, 270, 1000)
    spectrum, basis = np.linalg.eigh(covariance)
    ensemble = as_ensemble(basis.T @ weights, spectrum, 600)
    rotated, diagonal = np.asarray(ensemble.weights), np.diag(spectrum)
    error = rotated @ rotated.T - np.eye(600)
    measured = vector_field(0.0, ensemble.weights.mT, ensemble).mT
    allowed = rounding(jnp.float64, terms=270 + 600, size=2 * spectrum.max() * np.linalg.norm(rotated, 2) ** 3)
    np.testing.assert_allclose(measured, -(error @ diagonal + diagonal @ error) @ rotated, rtol=0, atol=allowed)
    values = risks(0.0, ensemble.weights.mT, ensemble)
    allowed = rounding(jnp.float64, terms=270 + 600**2)
    assert float(values.train) == pytest.approx(np.sum(error * (error @ diagonal)) / 600, rel=allowed)
    assert float(values.population) == pytest.approx(np.sum(error**2) / 600, rel=allowed)


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


@pytest.mark.parametrize("scale", [1.0, *(pytest.param(end, marks=pytest.mark.slow) for end in (0.01, 100.0))])
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


@pytest.mark.parametrize("num_samples", [12, 3])
def test_latent_dimensions_beyond_p_never_move(x64, num_samples):
    """W = L Q on the same draw: the flow of the p × p factor L has the same risks."""
    weights, _, covariance = draw(np.random.default_rng(1), 6, 25, num_samples)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    factor = np.linalg.qr((basis.T @ weights).T)[1].T
    rank = min(num_samples, 6)
    reduced = follow(as_ensemble(factor, spectrum[:rank], 6))
    np.testing.assert_allclose(reduced, full_matrix_flow(weights, covariance, TIMES), atol=1e-7)


def test_directions_without_data_enter_through_their_gram_matrix(x64):
    """Rows of W outside the data's span replaced by an H × H factor of the same BᵀB on the same draw."""
    input_dim, latent_dim, num_samples = 30, 4, 5
    weights, _, covariance = draw(np.random.default_rng(2), input_dim, latent_dim, num_samples)
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(covariance))
    rotated = basis.T @ weights
    factor = np.linalg.qr(rotated[num_samples:])[1]
    reduced = np.concatenate([rotated[:num_samples], factor])
    assert reduced.shape == (num_samples + latent_dim, latent_dim)
    measured = follow(as_ensemble(reduced, spectrum[:num_samples], input_dim))
    np.testing.assert_allclose(measured, full_matrix_flow(weights, covariance, TIMES), atol=1e-7)


@pytest.mark.parametrize(
    ("dims", "shape"), [((8, 3, 12), (8, 3)), ((8, 10, 20), (8, 8)), ((8, 2, 4), (6, 2)), ((8, 10, 4), (8, 8))]
)
def test_reduced_draws_have_the_law_of_the_unreduced_flow(x64, dims, shape):
    """Mean and variance of both risks over 400 draws against explicit weights and samples, nothing reduced."""
    input_dim, latent_dim, num_samples = dims
    repeats, scale = 400, 0.6
    case = ae.LinearProblem(input_dim, latent_dim, num_samples, scale / input_dim)
    drawn = gaussian_ensemble(jax.random.key(0), dims, 0.1)
    assert drawn.weights.shape == shape
    reduced = ae.simulate(case, TIMES, jax.random.key(11), num_repeats=repeats)

    rng = np.random.default_rng(3)
    weights = np.sqrt(scale / input_dim) * rng.standard_normal((repeats, input_dim, latent_dim))
    # columns of zeros stay, and all cases are one program
    weights = np.pad(weights, ((0, 0), (0, 0), (0, 10 - latent_dim)))
    samples = rng.standard_normal((repeats, num_samples, input_dim))
    spectra, bases = np.linalg.eigh(np.swapaxes(samples, 1, 2) @ samples / num_samples)
    rotated = jnp.asarray(np.swapaxes(bases, 1, 2) @ weights)
    explicit = unreduced(rotated, jnp.asarray(spectra.clip(0)), jnp.asarray(TIMES))
    for risk in ("train", "population"):
        mean, std = np.asarray(getattr(reduced, risk)), np.asarray(getattr(reduced.std, risk))
        values = np.asarray(getattr(explicit, risk))
        error = np.sqrt((std**2 + values.var(0)) / repeats) + 1e-7
        assert (np.abs(mean - values.mean(0)) < 4 * error).all()
        # a variance's own error needs the fourth moment, from the explicit draws
        centred = values - values.mean(0)
        kurtosis = (centred**4).mean(0) / np.maximum(values.var(0), 1e-12) ** 2
        noise = np.sqrt(2 * np.maximum(kurtosis - 1, 0.5) / repeats)
        spread = values.std(0) > 1e-6
        assert (np.abs(np.log(std[spread] ** 2 / values.var(0)[spread])) < 4 * noise[spread] + 0.02).all()


@pytest.mark.parametrize(("input_dim", "latent_dim", "num_samples"), [(8, 3, 20), (40, 60, 80)])
def test_gradient_descent_of_a_step_size_is_the_euler_scheme(precision, input_dim, latent_dim, num_samples):
    variance, step = 0.5 / input_dim, 0.02
    case = ae.LinearProblem(input_dim, latent_dim, num_samples, variance)
    key = jax.random.key(4)
    curve = ae.simulate(case, step * np.arange(0, 51, 10), key, step_size=step)
    dims = (input_dim, latent_dim, num_samples)
    drawn = gaussian_ensemble(jax.random.split(key, 1)[0], dims, variance, precision)
    weights, covariance = np.asarray(drawn.weights, float), covariance_matrix(drawn)
    train, population = [], []
    for iteration in range(51):
        error = weights @ weights.T - np.eye(input_dim)
        if iteration % 10 == 0:
            train.append(np.trace(error @ covariance @ error) / input_dim)
            population.append(np.trace(error @ error) / input_dim)
        weights = weights - step * (error @ covariance + covariance @ error) @ weights
    tolerance = rounding(precision, terms=50 * (2 * input_dim + latent_dim))
    np.testing.assert_allclose(curve.train, train, rtol=tolerance)
    np.testing.assert_allclose(curve.population, population, rtol=tolerance)
    assert int(curve.stats.num_steps[0]) in (50, 51)
    flow = ae.simulate(case, step * np.arange(0, 51, 10), key)
    assert 1e-4 < float(jnp.max(jnp.abs(flow.train - curve.train))) < 0.05


def test_data_are_centred_and_their_covariance_used(x64):
    rng = np.random.default_rng(5)
    samples = rng.standard_normal((30, 7)) * np.linspace(0.5, 1.5, 7) + 3.0
    other = rng.standard_normal((40, 7)) + 3.0
    case, key = ae.LinearProblem(7, 3, 30, 0.05), jax.random.key(6)
    plain = ae.simulate(case, TIMES, key, data=samples)
    tested = ae.simulate(case, TIMES, key, data=samples, held_out=other)
    centred = samples - samples.mean(0)
    covariance = centred.T @ centred / 30
    spectrum, basis = np.linalg.eigh(covariance)
    data = ensembles.DataCovariance(jnp.asarray(spectrum))
    drawn = weights_on_data(jax.random.split(key, 1)[0], data, (7, 3, 30), 0.05)
    weights = basis @ np.asarray(drawn.weights)
    held_out = (other - samples.mean(0)).T @ (other - samples.mean(0)) / 40
    train, isotropic = full_matrix_flow(weights, covariance, TIMES)
    _, measured = full_matrix_flow(weights, covariance, TIMES, held_out)
    np.testing.assert_allclose(plain.train, train, atol=1e-5)
    np.testing.assert_allclose(plain.population, isotropic, atol=1e-5)
    np.testing.assert_allclose(tested.population, measured, atol=1e-5)


def test_fewer_samples_than_dimensions_with_and_without_held_out(x64):
    """The reduced and the full basis are different draws of one law: the train risks agree in the mean."""
    rng = np.random.default_rng(7)
    samples = rng.standard_normal((6, 20))
    case = ae.LinearProblem(20, 4, 6, 0.03)
    reduced = ae.simulate(case, TIMES, jax.random.key(8), data=samples, num_repeats=400)
    full = ae.simulate(case, TIMES, jax.random.key(9), data=samples, held_out=np.eye(20), num_repeats=400)
    error = np.hypot(reduced.standard_error.train, full.standard_error.train) + 1e-6
    assert (np.abs(reduced.train - full.train) < 4 * error).all()


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


def test_zero_variance_stays_at_the_zero_map(precision):
    curve = ae.simulate(ae.LinearProblem(10, 4, jnp.inf, 0.0), TIMES, jax.random.key(0))
    np.testing.assert_array_equal(curve.population, 1)
    assert curve.train.dtype == precision
    assert curve.std is None


def test_statistics_over_repeats_and_reproducibility(x64):
    case, key = ae.LinearProblem(8, 3, 20, 0.06), jax.random.key(0)
    several = ae.simulate(case, TIMES, key, num_repeats=5)
    again = ae.simulate(case, TIMES, key, num_repeats=5)
    np.testing.assert_array_equal(several.train, again.train)
    singles = [follow(gaussian_ensemble(part, (8, 3, 20), 0.06), rtol=1e-6)[0] for part in jax.random.split(key, 5)]
    np.testing.assert_allclose(several.train, np.mean(singles, axis=0), rtol=1e-6)
    np.testing.assert_allclose(several.std.train, np.std(singles, axis=0, ddof=1), rtol=1e-4, atol=1e-9)
    assert several.stats.num_steps.shape == (5,)


def test_float32_follows_float64_on_the_same_draw(x64):
    weights, _, covariance = draw(np.random.default_rng(0), 20, 10, 40)
    spectrum, basis = np.linalg.eigh(covariance)
    double = as_ensemble(basis.T @ weights, spectrum, 20)
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), double)
    curves, stats = followed(single, jnp.asarray(TIMES, jnp.float32), rtol=jnp.float32(1e-6), max_steps=4096)
    assert curves.train.dtype == jnp.float32
    assert bool(stats.succeeded)
    # what the solver honours in float32 is 16 eps; the population risk is within ten times that
    allowed = 10 * 16 * float(jnp.finfo(jnp.float32).eps)
    np.testing.assert_allclose(np.stack([curves.train, curves.population]), follow(double), rtol=0, atol=allowed)


def test_a_first_step_that_overflows_is_shortened():
    """In float32, from a large initial scale, the first step that the solver tries is too long for some draws."""
    case = ae.LinearProblem(200, 260, 167, 1e4 / 200)
    curve = ae.simulate(case, [0.0, 1e-5, 1e-4], jax.random.key(1), num_repeats=4, max_steps=100)
    assert curve.train.dtype == jnp.float32
    assert int(jnp.max(curve.stats.num_rejected_steps)) >= 3
    assert (jnp.diff(curve.train) < 0).all()


def test_gradient_batch_and_jit_at_a_fixed_key(x64):
    times, key = np.array([0.2, 1.0]), jax.random.key(1)

    def risk(variance, adjoint=None):
        curve = ae.simulate(ae.LinearProblem(8, 3, 20, variance), times, key, num_repeats=2, rtol=1e-9, adjoint=adjoint)
        return jnp.sum(curve.train - 0.3 * curve.population)

    variances, step = jnp.asarray([0.03, 0.1]), 1e-5
    both = jax.jit(jax.vmap(jax.value_and_grad(risk)))
    gradient = both(variances)[1]
    difference = (both(variances + step)[0] - both(variances - step)[0]) / (2 * step)
    np.testing.assert_allclose(gradient, difference, rtol=1e-4)
    forward = jax.jacfwd(lambda variance: risk(variance, diffrax.ForwardMode()))(variances[0])
    assert float(forward) == pytest.approx(float(gradient[0]), rel=1e-6)


def test_risk_stays_accurate_where_it_vanishes(x64):
    """H = p on the population: the risk decays to rounding level as a sum of squares, never below 0."""
    curve = ae.simulate(ae.LinearProblem(6, 30, jnp.inf, 0.05), [0.0, 4.0, 8.0], jax.random.key(0), rtol=1e-10)
    assert 0 < float(curve.population[-1]) < 1e-12


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"input_dim": 0}, {}, "`input_dim` must be a positive integer, but got 0"),
        ({"num_samples": 0}, {}, "`num_samples` must be a positive integer or infinity, but got 0"),
        ({"init_variance": -0.1}, {}, "`init_variance` must be finite and nonnegative, but got -0.1"),
        ({"input_dim": jnp.asarray([5, 6])}, {}, "`input_dim` must be a single number"),
        ({"init_variance": jnp.asarray([0.1, 0.2])}, {}, "`init_variance` must be a scalar"),
        ({}, {"num_repeats": 0}, "`num_repeats` must be a positive integer"),
        ({}, {"step_size": -0.1}, "`step_size` must be finite and positive"),
        ({}, {"times": [0.0, np.nan]}, "`times` must be .* finite"),
        ({}, {"times": []}, "`times` must be a non-empty vector"),
        ({}, {"data": np.ones((7, 10))}, "`num_samples` must be 7, the number of rows of `data`"),
        ({}, {"data": np.ones((20, 3))}, "`data` must have 10 columns"),
        ({}, {"held_out": np.ones((20, 10))}, "`held_out` must be None without `data`"),
    ],
)
def test_bad_input_names_the_argument(fields, options, message):
    fields = {"input_dim": 10, "latent_dim": 4, "num_samples": 20, "init_variance": 0.1, **fields}
    options = {"times": [0.0, 1.0], "key": jax.random.key(0), **options}
    with pytest.raises(ValueError, match=message):
        ae.simulate(ae.LinearProblem(**fields), **options)


def test_traced_dimensions_are_refused_with_a_reason():
    def risk(input_dim):
        return ae.simulate(ae.LinearProblem(input_dim, 4, 20, 0.1), [1.0], jax.random.key(0)).train[0]

    with pytest.raises(ValueError, match="`input_dim` must be known when the program is traced"):
        jax.jit(risk)(10)


def test_failures_are_raised_or_reported(x64):
    case = ae.LinearProblem(8, 3, 20, 0.06)
    with pytest.raises(RuntimeError, match="max_steps"):
        ae.simulate(case, [0.0, 5.0], jax.random.key(0), max_steps=4)
    curve = ae.simulate(case, [0.0, 5.0], jax.random.key(0), max_steps=4, throw=False)
    assert not bool(curve.stats.succeeded[0])
    with pytest.raises(RuntimeError, match="diverged"):
        ae.simulate(ae.LinearProblem(8, 3, 20, 3.0), [0.0, 5.0], jax.random.key(0), step_size=0.5)


# problem of a given size (deeper in its regime as it grows), natural times, sizes, repeats; one sample's own
# fluctuation makes small data the noisiest
DEEP = {
    "large-data": (
        lambda size: ae.LinearProblem(size, size // 2, size**2, 0.5 / size),
        np.geomspace(1e-3, 2, 12),
        (250, 1000),
        16,
    ),
    "mean-field": (
        lambda size: ae.LinearProblem(size, 4 * size**2, size, 0.5 / (4 * size**2)),
        np.geomspace(1e-3, 3, 12),
        (125, 500),
        16,
    ),
    "narrow-latent": (
        lambda size: ae.LinearProblem(size, 8, 2 * size, 0.5 / size),
        np.geomspace(1e-2, 1, 12),
        (250, 1000),
        16,
    ),
    "small-data": (
        lambda size: ae.LinearProblem(size, size // 2, 4, 0.5 / size),
        np.geomspace(1e-3, 2, 12),
        (125, 1000),
        64,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("regime", DEEP)
def test_simulation_deep_in_a_regime_follows_the_limit(x64, regime):
    """Both risks within 1 % of the initial risk at the larger size, and closer there than at the smaller one."""
    make, natural_times, sizes, num_repeats = DEEP[regime]
    deviations = []
    for size in sizes:
        case = make(size)
        times = np.r_[0.0, natural_times] * (case.num_samples / size if regime == "small-data" else 1.0)
        simulated = ae.simulate(case, times, jax.random.key(size), num_repeats=num_repeats)
        limit = ae.predict(case, times, regime)
        deviations.append(
            max(
                float(jnp.max(jnp.abs(getattr(simulated, risk) - getattr(limit, risk))) / getattr(simulated, risk)[0])
                for risk in ("train", "population")
            )
        )
    assert deviations[1] <= 0.01
    assert deviations[1] < deviations[0]


def test_what_does_not_fit_into_memory_is_refused_at_once():
    problem = ae.LinearProblem(10**6, 10**6, 10**6, 1e-6)
    with pytest.raises(ValueError, match=r"weights of 1000000 × 1000000 entries .*e\+04 GB of memory, and the device"):
        ae.simulate(problem, [0.0, 1.0], jax.random.key(0))


def test_pixels_are_to_be_rescaled_before_anything_is_solved():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8)).astype(float)
    for call in (
        lambda: ae.LinearProblem(8, 3, 20, 0.1, covariance=pixels),
        lambda: ae.simulate(ae.LinearProblem(8, 3, 20, 0.1), TIMES, jax.random.key(0), data=pixels),
        lambda: ae.predict(ae.LinearProblem(8, 3, 20, 0.1), TIMES, "mean-field", data=pixels),
    ):
        with pytest.raises(ValueError, match=r"mean variance between 0 and 1000, but has .*Rescale your data"):
            call()


def test_a_stiff_flow_is_the_same_by_the_usual_method(x64, monkeypatch):
    """p/N = 400 up to 400 times the samples' own time, which explicit methods of the usual kind cross in 1/s_max."""
    problem, times = ae.LinearProblem(2000, 3, 5, 0.5 / 2000), [0.0, 1e-3, 0.01, 0.1, 1.0]
    stiff = ae.simulate(problem, times, jax.random.key(0))
    monkeypatch.setattr(simulation, "_MUCH_LATER", 1e9)
    usual = ae.simulate(problem, times, jax.random.key(0))
    assert 2 * stiff.stats.num_steps[0] < usual.stats.num_steps[0]
    np.testing.assert_allclose(stiff.train, usual.train, atol=2e-6 * float(usual.train[0]))
    np.testing.assert_allclose(stiff.population, usual.population, atol=2e-6 * float(usual.train[0]))


@pytest.mark.slow
def test_derivatives_go_through_a_stiff_flow(x64):
    times, key = np.array([0.01, 1.0]), jax.random.key(0)

    def train(variance, **options):
        problem = ae.LinearProblem(2000, 3, 5, variance)
        return ae.simulate(problem, times, key, rtol=1e-9, **options).train.sum()

    variance, step = 0.5 / 2000, 1e-8
    difference = (train(variance + step) - train(variance - step)) / (2 * step)
    forward = jax.jacfwd(lambda one: train(one, adjoint=diffrax.ForwardMode()))(variance)
    for slope in (jax.grad(train)(variance), forward):
        assert float(slope) == pytest.approx(float(difference), rel=1e-4)
