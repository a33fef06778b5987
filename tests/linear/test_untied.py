"""Separate encoder and decoder weights: both factors against NumPy, the modes of a small start, published losses."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import covariance_matrix
from oracles.spectra import power_law
from scipy.integrate import solve_ivp
from tolerance import rounding

import aetheory as ae
from aetheory.linear.modes import Penalty
from aetheory.linear.theories.untied_modes import untied_mode_error

DECAY, NOISE = 0.2, 0.3
PENALTY = {"weight_decay": DECAY, "input_noise": NOISE}
VARIANCES = np.array([2.0, 1.2, 0.7, 0.4, 0.2, 0.05])
RNG = np.random.default_rng(0)
SAMPLES, OTHERS = RNG.standard_normal((9, 6)), RNG.standard_normal((12, 6))
NAMES = ("train", "population", "objective")


def velocities(decoder, encoder, covariance, decay, noise):
    """Minus the gradients of ½ tr (M−I)S(M−I)ᵀ + (ε/2)‖M‖² + (γ/2)(‖W₁‖² + ‖W₂‖²) in W₂ and W₁."""
    product = decoder @ encoder
    slope = (product - np.eye(len(covariance))) @ covariance + noise * product
    return -slope @ encoder.T - decay * decoder, -decoder.T @ slope - decay * encoder


def measured(decoder, encoder, covariance, population, decay, noise):
    product = decoder @ encoder
    error = product - np.eye(len(covariance))
    train, seen = (np.trace(error @ matrix @ error.T) / len(error) for matrix in (covariance, population))
    size = noise * np.sum(product**2) + decay * (np.sum(decoder**2) + np.sum(encoder**2))
    return train, seen, train + size / len(error)


def drawn(experiment, key):
    """W₂, W₁, S and the population covariance of a draw that `simulate` makes."""
    ensemble = eqx.filter_jit(experiment.draw)(jax.random.split(key, 1)[0])
    decoder, transposed = np.asarray(ensemble.weights)
    covariance, rank = np.zeros((len(decoder),) * 2), len(ensemble.spectrum)
    covariance[:rank, :rank] = covariance_matrix(ensemble)
    given = ensemble.population_covariance
    return decoder, transposed.T, covariance, np.eye(len(decoder)) if given is None else np.asarray(given)


CASES = {
    "population": ((6, 3, np.inf), {"covariance": VARIANCES}, {}),
    "samples, overcomplete": ((6, 8, 9), PENALTY, {}),
    "few samples": ((6, 3, 4), PENALTY, {}),
    # anisotropic samples are those of the flow below
    "data": ((6, 3, 9), {"weight_decay": DECAY}, {"data": SAMPLES, "held_out": OTHERS}),
}


@pytest.mark.parametrize("name", CASES)
def test_descent_is_that_of_both_factors(x64, name):
    dims, fields, options = CASES[name]
    problem = ae.LinearProblem(*dims, 0.1, tied=False, **fields)
    decay, noise = (fields.get(field, 0.0) for field in PENALTY)
    times, key, step = [0.0, 1.0, 3.0], jax.random.key(1), 0.05
    decoder, encoder, covariance, population = drawn(problem.experiment(times, **options), key)
    expected = [measured(decoder, encoder, covariance, population, decay, noise)]
    for number in range(1, 61):
        changes = velocities(decoder, encoder, covariance, decay, noise)
        decoder, encoder = decoder + step * changes[0], encoder + step * changes[1]
        if number in (20, 60):
            expected.append(measured(decoder, encoder, covariance, population, decay, noise))
    curve = ae.simulate(problem, times, key, step_size=step, **options)
    # times add up to their own rounding, and so do the places between steps
    error = rounding(jnp.float64, terms=60 * 6, condition=10, size=np.max(expected))
    np.testing.assert_allclose(np.stack([curve.values[name] for name in NAMES], 1), expected, atol=error)


def test_flow_is_that_of_both_factors(x64):
    problem = ae.LinearProblem(6, 3, 9, 0.01, covariance=VARIANCES, tied=False, **PENALTY)
    times, key = np.array([0.0, 1.0, 4.0, 10.0]), jax.random.key(2)
    decoder, encoder, covariance, population = drawn(problem.experiment(times), key)

    def velocity(_, flat):
        both = velocities(flat[:18].reshape(6, 3), flat[18:].reshape(3, 6), covariance, DECAY, NOISE)
        return np.concatenate([part.ravel() for part in both])

    start = np.concatenate([decoder.ravel(), encoder.ravel()])
    solution = solve_ivp(velocity, (0, 10), start, t_eval=times, rtol=1e-10, atol=1e-12)
    expected = [
        measured(flat[:18].reshape(6, 3), flat[18:].reshape(3, 6), covariance, population, DECAY, NOISE)
        for flat in solution.y.T
    ]
    curve = ae.simulate(problem, times, key, rtol=1e-9)
    np.testing.assert_allclose(np.stack([curve.values[name] for name in NAMES], 1), expected, rtol=1e-7)


def test_the_start_has_the_law_it_says(x64):
    for dims in ((40, 30, np.inf), (40, 30, 20)):
        experiment = ae.LinearProblem(*dims, 0.5, np.ones(40), tied=False).experiment([1.0])
        weights = np.asarray(eqx.filter_jit(experiment.draw)(jax.random.key(0)).weights)
        assert weights.shape == (2, 40, 30)
        deviations = 0.5 * np.array([np.sqrt(2 / 1200), np.sqrt(1 / 1200)])
        assert (np.abs(np.mean(weights**2, axis=(1, 2)) - 0.5) < 4 * deviations[0]).all()
        assert abs(np.mean(weights[0] * weights[1])) < 4 * deviations[1]
    problem = ae.LinearProblem(40, 30, np.inf, 0.5, VARIANCES.repeat(7)[:40], tied=False)
    curve = ae.simulate(problem, [0.0], jax.random.key(0), num_repeats=40)
    assert abs(float(curve.train[0] - problem.initial_risk())) < 4 * float(curve.standard_error.train[0])


@pytest.mark.parametrize("penalty", [(0.0, 0.0), (DECAY, NOISE)])
def test_a_mode_is_one_direction_of_the_flow(x64, penalty):
    """Of a balanced start along the eigenvectors of S, by Euler steps extrapolated to steps of 0."""
    starts, times = np.full(6, 1e-3), [2.0, 5.0]

    def gains(steps):
        decoder, encoder, found = np.diag(np.sqrt(starts)), np.diag(np.sqrt(starts)), []
        for number in range(1, 5 * steps + 1):
            changes = velocities(decoder, encoder, np.diag(VARIANCES), *penalty)
            decoder, encoder = decoder + changes[0] / steps, encoder + changes[1] / steps
            if number in (2 * steps, 5 * steps):
                found.append(np.diag(decoder @ encoder))
        return np.array(found)

    coarse, middle, fine = (gains(steps) for steps in (400, 800, 1600))
    expected = (8 * fine - 6 * middle + coarse) / 3
    given = (jnp.asarray(starts)[None, :], jnp.asarray(VARIANCES)[None, :], jnp.asarray(times)[:, None])
    found = 1 + jax.jit(untied_mode_error)(*given, Penalty(*map(jnp.asarray, penalty)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if penalty == (0.0, 0.0):
        np.testing.assert_allclose(untied_mode_error(*given, None), found - 1, atol=1e-12)


@pytest.mark.parametrize("penalty", [{}, PENALTY], ids=["plain", "penalised"])
def test_modes_meet_descents_from_a_tiny_start(x64, penalty):
    """Brute force in NumPy, at more and fewer hidden units than directions; its times vary from draw to draw."""
    decay, noise = (penalty.get(name, 0.0) for name in PENALTY)
    covariance, step, times = np.diag(VARIANCES), 0.02, np.array([0.0, 4.0, 8.0, 16.0])
    for latent_dim, allowed in ((60, 0.01), (3, 0.06)):
        runs = []
        for _ in range(6):
            decoder, encoder = 1e-5 * RNG.standard_normal((2, 6, latent_dim))
            encoder, found = encoder.T, []
            for number in range(round(times[-1] / step) + 1):
                if number * step in times:
                    found.append(measured(decoder, encoder, covariance, covariance, decay, noise))
                changes = velocities(decoder, encoder, covariance, decay, noise)
                decoder, encoder = decoder + step * changes[0], encoder + step * changes[1]
            runs.append(found)
        curve = ae.predict(ae.LinearProblem(6, latent_dim, np.inf, 1e-10, VARIANCES, tied=False, **penalty), times)
        assert curve.theory.name == "untied-modes"
        predicted = np.stack([curve.values[name] for name in NAMES], 1)
        np.testing.assert_allclose(predicted, np.mean(runs, axis=0), atol=allowed * VARIANCES.mean())


@pytest.mark.parametrize(
    ("latent_dim", "num_samples", "strength", "covariance", "penalty"),
    [
        (50, np.inf, 1e-4, None, {}),
        (130, 100, 0.6, None, {}),
        (30, 150, 0.3, None, {"weight_decay": 0.2, "input_noise": 0.3}),
        (60, 200, 0.3, power_law(100, 0.5), {}),
    ],
    ids=["small start", "wide", "penalty", "power law"],
)
def test_untied_curves_meet_simulations(x64, latent_dim, num_samples, strength, covariance, penalty):
    """Any start: p = 100, 16 draws, within 1 % of max(1, R(0)), of order 1/p, and three standard errors."""
    problem = ae.LinearProblem(100, latent_dim, num_samples, strength / latent_dim, covariance, **penalty, tied=False)
    times = np.array([0.0, 0.3, 1.0, 3.0, 5.0])
    curve = ae.predict(problem, times)
    assert curve.theory.name == "untied"
    simulated = ae.simulate(problem, times, jax.random.key(0), num_repeats=16)
    for name in NAMES:
        noise = 3 * np.asarray(getattr(simulated.standard_error, name))
        deviation = np.abs(curve.values[name] - simulated.values[name])
        assert (deviation < 0.01 * max(1, float(curve.values[name][0])) + noise).all(), name


def test_what_is_not_known_of_untied_weights_says_so(x64):
    problem = ae.LinearProblem(6, 3, 9, 1e-4, VARIANCES, tied=False)
    for name in ("mean-field", "interior", "decoupled-modes", "large-data ∩ free"):
        with pytest.raises(ValueError, match=r"`tied` must be True for the .* regime \(separate .*'untied-modes'\)"):
            ae.predict(problem, [1.0], name)
    with pytest.raises(ValueError, match="`tied` must be False for the untied-modes regime, but got True"):
        ae.predict(ae.LinearProblem(6, 3, 9, 1e-4, VARIANCES), [1.0], "untied-modes")
    with pytest.raises(ValueError, match="`problem` must be of tied weights"):
        ae.locate(problem)
    with pytest.raises(ValueError, match="`problem` must be of tied weights"):
        ae.expansion.coefficients(1).evaluate(ae.LinearProblem(6, 3, 9, 1e-4, tied=False))
    with pytest.warns(UserWarning, match=r"of a start Hσ² ≪ 1, but here Hσ² = 3"):
        ae.predict(ae.LinearProblem(6, 3, np.inf, 1.0, VARIANCES, tied=False), np.arange(4.0), "untied-modes")
    assert problem.continuous().problem(6).tied is False


STEPS = np.array([0, 100, 300, 500, 1000, 2000, 4900])
PUBLISHED = {
    "plain": ({}, [44.0294, 24.846, 16.752, 13.759, 9.822, 6.616, 3.936]),
    "weight decay": ({"weight_decay": 0.5}, [44.0304, 25.368, 20.274, 18.916, 17.865, 17.426, 17.317]),
    "input noise": ({"input_noise": 0.5}, [44.0294, 25.093, 17.953, 15.718, 13.113, 11.622, 10.869]),
}


@pytest.mark.slow
@pytest.mark.usefixtures("mnist_folder")
@pytest.mark.parametrize("name", PUBLISHED)
def test_mnist_meets_the_published_descents(name):
    """Losses with their penalties; 50 000 images that are not centred, whose second moment is all that enters."""
    images = ae.load_images("mnist", split="train").samples[:50_000]
    second_moment = jnp.matmul(images.T, images, precision=jax.lax.Precision.HIGHEST) / len(images)
    fields, published = PUBLISHED[name]
    problem = ae.LinearProblem(784, 256, np.inf, 1e-8, second_moment, tied=False, **fields)
    times = np.float32(0.01) * STEPS
    curve, modes = ae.simulate(problem, times, jax.random.key(0), step_size=0.01), ae.predict(problem, times)
    for found in (curve, modes):
        np.testing.assert_allclose(784 / 2 * found.objective, published, rtol=0.01)
