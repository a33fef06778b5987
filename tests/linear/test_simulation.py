import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import (
    TIMES,
    covariance_matrix,
    follow,
    gaussian_ensemble,
    weights_on_data,
)
from oracles.prism import full_matrix_flow
from tolerance import rounding

import aetheory as ae
from aetheory.linear import ensembles, simulation


@pytest.mark.parametrize(("dims", "bits"), [((8, 3, 20), 64), ((40, 60, 80), 32)])
def test_gradient_descent_of_a_step_size_is_the_euler_scheme(dims, bits):
    with jax.enable_x64(bits == 64):
        check_euler_scheme(dims, jnp.dtype(f"float{bits}"))


def check_euler_scheme(dims, precision):
    input_dim, latent_dim, num_samples = dims
    variance, step = 0.5 / input_dim, 0.02
    case = ae.LinearProblem(input_dim, latent_dim, num_samples, variance)
    key = jax.random.key(4)
    curve = ae.simulate(case, step * np.arange(0, 51, 10), key, step_size=step)
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
    # and it is not the flow
    flow, _ = full_matrix_flow(np.asarray(drawn.weights, float), covariance, step * np.arange(0, 51, 10))
    assert 1e-4 < np.abs(flow - np.asarray(curve.train)).max() < 0.05


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


def test_a_first_step_that_overflows_is_shortened():
    """In float32, from a large initial scale, the first step that the solver tries is too long for some draws."""
    case = ae.LinearProblem(200, 260, 167, 1e4 / 200)
    curve = ae.simulate(case, [0.0, 1e-5, 1e-4], jax.random.key(1), num_repeats=4, max_steps=100)
    assert curve.train.dtype == jnp.float32
    assert int(jnp.max(curve.stats.num_rejected_steps)) >= 3
    assert (jnp.diff(curve.train) < 0).all()


@pytest.mark.parametrize("num_samples", [pytest.param(20, marks=pytest.mark.slow), np.inf])
def test_gradient_batch_and_jit_at_a_fixed_key(x64, num_samples):
    """Reverse mode through a flow compiles for seconds; its adjoint is that of a limit that is one."""
    times, key = np.array([0.2, 1.0]), jax.random.key(1)

    @jax.jit
    @jax.vmap
    @jax.value_and_grad
    def risk(variance):
        curve = ae.simulate(ae.LinearProblem(8, 3, num_samples, variance), times, key, num_repeats=2, rtol=1e-9)
        return jnp.sum(curve.train - 0.3 * curve.population)

    variances, step = np.array([0.03, 0.1]), 1e-5
    values, slopes = risk(jnp.asarray(np.concatenate([variances, variances + step, variances - step])))
    np.testing.assert_allclose(slopes[:2], (values[2:4] - values[4:]) / (2 * step), rtol=1e-4)


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
    case, key = ae.LinearProblem(8, 3, 20, 0.06), jax.random.key(0)
    with pytest.raises(RuntimeError, match="max_steps"):
        ae.simulate(case, [0.0, 5.0], key, max_steps=4)
    curve = ae.simulate(case, [0.0, 5.0], key, max_steps=4, throw=False)
    assert not bool(curve.stats.succeeded[0])
    with pytest.raises(RuntimeError, match="diverged"):  # as many steps and times as in the Euler scheme: its program
        ae.simulate(ae.LinearProblem(8, 3, 20, 3.0), np.arange(0, 26, 5.0), key, step_size=0.5)


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
