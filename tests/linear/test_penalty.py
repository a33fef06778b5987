"""Weight decay and input noise: the flow at all sizes, and every limit that knows them."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.draws import covariance_matrix, gaussian_ensemble
from oracles.prism import full_matrix_flow, marchenko_pastur_integral
from oracles.spectra import power_law
from scipy.integrate import solve_ivp

import aetheory as ae
from aetheory.linear.flow import evolve
from aetheory.linear.modes import Penalty, mode_error
from aetheory.spectra.sampling import sample_laguerre_spectrum

TIMES = np.array([0.0, 0.1, 0.5, 1.5])
DECAY, NOISE = 0.7, 0.3
PENALTY = Penalty(jnp.asarray(DECAY), jnp.asarray(NOISE))


def risks(curve):
    return np.stack([curve.train, curve.population])


def one_mode(start, variance, decay=DECAY, noise=NOISE, times=TIMES):
    """μ̇ = −4sμ(μ−1) − 4εμ² − 2γμ by SciPy."""

    def velocity(_, mode):
        return -4 * variance * mode * (mode - 1) - 4 * noise * mode**2 - 2 * decay * mode

    return solve_ivp(velocity, (0, times[-1]), [start], t_eval=times, rtol=1e-11, atol=1e-13).y[0]


@pytest.mark.parametrize("variance", [0.0, DECAY / 2, 0.1, 3.0])
def test_a_mode_follows_its_equation(x64, variance):
    error = jax.jit(mode_error)
    found = 1 + error(jnp.asarray(0.6), jnp.asarray(variance), jnp.asarray(TIMES), PENALTY)
    np.testing.assert_allclose(found, one_mode(0.6, variance), atol=1e-10)
    late = error(jnp.asarray(0.6), jnp.asarray(variance), jnp.asarray([1e3, 1e6]), PENALTY)
    assert jnp.isfinite(late).all()


@pytest.mark.parametrize("dims", [(12, 3, 4), (36, 60, 40)])
def test_the_flow_is_that_of_the_whole_loss(x64, dims):
    """On the draw that `simulate` makes, against p × p matrices of all rows that were kept."""
    ensemble = replace(gaussian_ensemble(jax.random.key(1), dims, 0.5 / dims[0]), penalty=PENALTY)
    rows, rank = ensemble.weights.shape[0], ensemble.spectrum.shape[0]
    covariance = np.zeros((rows, rows))
    covariance[:rank, :rank] = covariance_matrix(ensemble)
    values, _ = eqx.filter_jit(evolve)(ensemble, jnp.asarray(TIMES), rtol=jnp.asarray(1e-10), max_steps=4096)
    expected = np.stack(full_matrix_flow(np.asarray(ensemble.weights), covariance, TIMES, None, DECAY, NOISE))
    expected *= rows / dims[0]
    expected[1] += 1 - rows / dims[0]  # directions that neither samples nor weights reach
    np.testing.assert_allclose(risks(values), expected, atol=1e-7)


def test_directions_without_data_still_enter_through_their_gram_matrix(x64):
    rng = np.random.default_rng(2)
    weights, samples = 0.15 * rng.standard_normal((30, 4)), rng.standard_normal((30, 5))
    spectrum, basis = (array[..., ::-1] for array in np.linalg.eigh(samples @ samples.T / 5))
    rotated = basis.T @ weights
    reduced = np.concatenate([rotated[:5], np.linalg.qr(rotated[5:])[1]])
    covariance, small = np.diag(np.append(spectrum[:5], np.zeros(25))), np.diag(np.append(spectrum[:5], np.zeros(4)))
    full = full_matrix_flow(rotated, covariance, TIMES, None, DECAY, NOISE)
    less = full_matrix_flow(reduced, small, TIMES, None, DECAY, NOISE)
    np.testing.assert_allclose(full[0] * 30, less[0] * 9, atol=1e-7)
    np.testing.assert_allclose(full[1] * 30, less[1] * 9 + 21, atol=1e-7)


def test_a_draw_without_samples_is_explicit(x64):
    """Eigenvalue by eigenvalue, with the penalty."""
    problem = ae.LinearProblem(12, 5, jnp.inf, 0.05, weight_decay=DECAY, input_noise=NOISE)
    curve = ae.simulate(problem, TIMES, jax.random.key(0))
    assert int(curve.stats.num_steps[0]) == 0
    draw = jax.jit(sample_laguerre_spectrum, static_argnums=1)
    drawn = draw(jax.random.split(jax.random.key(0), 1)[0], 5, jnp.asarray(12.0))
    modes = np.stack([one_mode(0.05 * float(value), 1.0) for value in drawn])
    expected = (np.sum((modes - 1) ** 2, axis=0) + 7) / 12
    np.testing.assert_allclose(risks(curve), np.stack([expected, expected]), atol=1e-9)


def squared_error(start, variance, time):
    """Of μ = r μ(0)/(μ(0) + (r − μ(0)) e^{−4bt}), r = b/(s+ε), b = s − γ/2."""
    rate = variance - DECAY / 2
    rest = rate / (variance + NOISE)
    return (rest * start / (start + (rest - start) * np.exp(-4 * rate * time)) - 1) ** 2


def test_large_data_integrates_over_the_eigenvalues_at_the_start(x64):
    x, y = 0.4, 1.7
    curve = ae.predict(ae.LinearRatios(x, y, 0.0, weight_decay=DECAY, input_noise=NOISE), TIMES[1:], "large-data")
    expected = [
        marchenko_pastur_integral(lambda s, t=time: squared_error(x * y * s, 1.0, t), 1 / y) for time in TIMES[1:]
    ]
    np.testing.assert_allclose(risks(curve), [expected, expected], atol=1e-6)


@pytest.mark.parametrize(("decay", "noise"), [(2.0, 0.0), (0.3, 0.5)])
@pytest.mark.parametrize(("name", "late"), [("mean-field", 1e-6), ("narrow-latent", 2.5e-3)])  # .1 % of what moved
def test_equal_variances_are_the_isotropic_curve(x64, name, late, decay, noise):
    given, plain = (
        ae.LinearRatios(0.4, 0.7, 1.3, covariance=covariance, weight_decay=decay, input_noise=noise)
        for covariance in (np.ones(9), None)
    )
    ours, known = (risks(ae.predict(one, TIMES, name, throw=False)) for one in (given, plain))
    assert (np.abs(np.subtract(ours, known)) < np.where(TIMES > 1, late, 1e-6)).all()


def test_no_penalty_is_one_of_zero(x64):
    for covariance in (None, power_law(30, 1.0)):
        plain = ae.LinearRatios(0.4, 0.7, 1.3, covariance=covariance)
        zero = ae.LinearRatios(0.4, 0.7, 1.3, covariance=covariance, weight_decay=0.0)
        ours, known = (risks(ae.predict(one, TIMES, "mean-field")) for one in (zero, plain))
        np.testing.assert_allclose(ours, known, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("covariance", [None, power_law(200, 0.5)], ids=["isotropic", "power law"])
@pytest.mark.parametrize(
    ("name", "dims", "scale"),
    [("mean-field", (4000, 250), 0.02), ("interior", (100, 250), 0.5), ("narrow-latent", (2, 400), 0.5)],
)
def test_limits_meet_simulations(x64, name, dims, scale, covariance):
    penalty = {"weight_decay": 0.3, "input_noise": 0.2}
    problem = ae.LinearProblem(200, *dims, scale / 200, covariance=covariance, **penalty)
    simulated = ae.simulate(problem, TIMES[:3], jax.random.key(0), num_repeats=8)
    limit = ae.predict(problem, TIMES[:3], name)
    error = 3 * risks(simulated.standard_error) + 0.01
    assert (np.abs(risks(limit) - risks(simulated)) < error).all()


def test_batches_and_derivatives(x64):
    decays = jnp.asarray([0.1, 0.7])
    batch = ae.LinearRatios(0.4, 0.7, 1.3, weight_decay=decays)
    curve = ae.predict(batch, TIMES, "mean-field")

    @jax.jit
    def train(decay):
        return ae.predict(ae.LinearRatios(0.4, 0.7, 1.3, weight_decay=decay), TIMES, "mean-field").train

    np.testing.assert_allclose(curve.train, jax.vmap(train)(decays), rtol=1e-10)
    slope = jax.grad(lambda decay: train(decay)[2])(0.7)
    assert float(slope) == pytest.approx(float(train(0.7 + 1e-5)[2] - train(0.7 - 1e-5)[2]) / 2e-5, rel=1e-6)


def test_a_sweep_may_vary_it():
    cell = {"input_dim": 30, "latent_dim": 12, "num_samples": 60, "init_variance": 0.02, "weight_decay": 0.1}
    assert ae.LinearProblem.from_parameters(cell).weight_decay == 0.1
    assert ae.LinearProblem.from_parameters(cell, continuous=True).weight_decay == 0.1


def test_bad_penalties_and_regimes_without_one():
    for name in ("weight_decay", "input_noise"):
        with pytest.raises(ValueError, match=f"`{name}` must be finite and nonnegative, or None, but got -1"):
            ae.LinearProblem(8, 3, 20, 0.1, **{name: -1.0})
    problem = ae.LinearProblem(8, 3, 20, 0.1, weight_decay=0.1)
    for regime in ("small-data", "free", "large-data ∩ free", "decoupled-modes"):
        given = ae.LinearProblem(8, 3, 20, 0.1, np.ones(8) if regime == "decoupled-modes" else None, 0.1)
        with pytest.raises(ValueError, match=f"must be None for the {regime} regime; the interior, mean-field"):
            ae.predict(given, TIMES, regime)
    with pytest.raises(ValueError, match=r"neither weight decay nor input noise.* Name the regime"):
        ae.predict(problem, TIMES)
    with pytest.raises(ValueError, match="`weight_decay` must be a scalar"):
        ae.simulate(ae.LinearProblem(8, 3, 20, 0.1, weight_decay=jnp.ones(2)), TIMES, jax.random.key(0))
