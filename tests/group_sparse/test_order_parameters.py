import math
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

import aetheory as ae
from aetheory.group_sparse.order_parameters import MeanField
from aetheory.group_sparse.preactivation import coordinate_quadrature, preactivation_law, von_mises_fisher

PROBLEM = ae.RecoveryProblem(190, 50, signal_to_noise=10.0)


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 16])
def test_angles_have_the_ratios_of_bessel_functions(dimension, x64):
    order, concentration = dimension / 2 - 1, np.geomspace(1e-3, 1e7, 100)[None]
    ratio, spread = von_mises_fisher(jnp.asarray(concentration), dimension)
    first = scipy.special.ive(order, concentration)
    second = scipy.special.ive(order + 1, concentration)
    np.testing.assert_allclose(ratio, second / (concentration * first), rtol=3e-6)  # as the docstring says
    np.testing.assert_allclose(spread, math.gamma(order + 1) * (2 / concentration) ** order * first, rtol=3e-6)
    at_zero = von_mises_fisher(jnp.zeros((1, 1)), dimension)
    np.testing.assert_allclose(np.ravel(at_zero), [1 / dimension, 1], rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 3, 5])
def test_coordinates_of_a_random_direction(dimension):
    points, weights = coordinate_quadrature(dimension)
    np.testing.assert_allclose(weights @ points**2, 1 / dimension, rtol=1e-12)
    np.testing.assert_allclose(weights @ points**4, 3 / (dimension * (dimension + 2)), rtol=1e-12)


def test_at_threshold_zero_the_law_is_that_of_all_preactivations(x64):
    signals, deviations = jnp.array([0.0, 3.0]), jnp.array([0.4, 0.2])
    for dimension in (1, 2, 4):
        law = preactivation_law(signals, deviations, jnp.array(0.0), dimension)
        squares = signals**2 + dimension * deviations**2
        np.testing.assert_allclose(law.integral(1 + 0 * law.radius), 1, rtol=1e-5)
        np.testing.assert_allclose(law.integral(law.radius**2), squares, rtol=1e-5)
        np.testing.assert_allclose(law.integral(law.radius * law.cosine), signals, rtol=1e-5)


def sampled(problem, q, excess, count=100_000):
    """The drift by Monte Carlo over vectors z, with the Jacobian as a matrix, and its standard errors."""
    n, gamma, total, d = problem.input_dim, problem.num_active, problem.num_groups, problem.group_size
    lam, norm, p, rng = problem.threshold, q * q + excess, gamma / total, np.random.default_rng(0)
    energy = (4**2 + 4 * 5 + 5**2) / 3
    noise = gamma * energy * 10 ** (-problem.signal_to_noise / 10)

    def codes(rest, is_active):
        x = rng.standard_normal((count, d))
        x *= is_active * rng.uniform(4, 5, (count, 1)) / np.linalg.norm(x, axis=1, keepdims=True)
        zeta = rng.standard_normal((count, d)) * math.sqrt(norm * rest / n)
        z = q * x + zeta
        size = np.linalg.norm(z, axis=1)[:, None]
        tau, found = 1 - lam / size, size > lam

        def through(v):  # J v
            return np.where(found, tau * v + lam * z * np.sum(z * v, axis=1, keepdims=True) / size**3, 0)

        code = np.where(found, tau * z, 0)
        trace = np.mean(np.where(found, d * tau + lam / size, 0))
        return x, zeta, z, code, through, np.mean(np.sum(z * code, axis=1)), trace, np.mean(np.sum(code**2, axis=1)) / d

    signal = gamma * energy + noise
    both = {True: codes(signal - energy, True), False: codes(signal, False)}
    found = {}
    for is_active, rest in ((True, signal - energy), (False, signal)):
        x, zeta, _, code, through, _, _, power = both[is_active]
        counts = {True: gamma - is_active, False: total - gamma - (not is_active)}
        kappa = norm / n * sum(counts[k] * both[k][6] for k in both)
        taken = sum(counts[k] * both[k][5] for k in both)
        k = 1 - taken / rest
        left = rest - 2 * taken + norm * d * sum(counts[k] * both[k][7] for k in both)
        v = through((1 - kappa) * q * x - norm * code + k * zeta)
        samples = (
            np.sum(x * ((1 - kappa) * code + v), axis=1) / d,
            np.sum(zeta * (k * code + v), axis=1) / (d * norm) - power,
            left * power + rest * np.sum(2 * k * code * v + v * v, axis=1) / d,
            np.any(code != 0, axis=1).astype(float),
        )
        found[is_active] = [(np.mean(one), np.std(one) / math.sqrt(count)) for one in samples]
    on, off = np.array(found[True]), np.array(found[False])
    mean = [p * on[0, 0], *(p * on[1:3, 0] + (1 - p) * off[1:3, 0]), on[3, 0], off[3, 0]]
    error = [p * on[0, 1], *(np.hypot(p * on[1:3, 1], (1 - p) * off[1:3, 1])), on[3, 1], off[3, 1]]
    return np.array(mean), np.array(error)


@pytest.mark.parametrize(("size", "q", "excess"), [(1, 0.9, 0.5), (2, 0.56, 0.69), (4, 1.2, 0.09)])
def test_the_drift_is_an_average_over_preactivations(size, q, excess, x64):
    problem = replace(PROBLEM, group_size=size, num_groups=100 // size)
    drift = np.array(MeanField.of(problem.as_arrays()).drift(jnp.asarray(q), jnp.asarray(excess)))
    mean, error = sampled(problem, q, excess)
    # what is averaged inside, Z, T and X, has an error of its own
    assert (np.abs(drift - mean) < 5 * error + 2e-3 * np.abs(mean)).all()


def test_the_drift_is_the_expected_gradient_of_a_network():
    """Up to O(1/n), of which there is more where groups are few; by an average over 5000 signals."""
    q, e, key = 0.8, 0.7, jax.random.key(1)
    truth = ae.gaussian_dictionary(key, 190, 100)
    other = jax.random.normal(jax.random.fold_in(key, 1), truth.shape) / math.sqrt(190)
    norms = {"min_norm": 4.0, "max_norm": 5.0, "signal_to_noise": 10.0}
    network = ae.GroupSparseAutoencoder(q * truth + e * other, 2.0, 2)
    source = ae.GroupSparseSource(truth, 2, 3, **norms)
    gradient = -eqx.filter_jit(ae.recovery.expected_gradient)(network, source, key, num_batches=5).mean
    gram = np.array([[jnp.vdot(a, b) for a in (truth, other)] for b in (truth, other)])
    along = np.linalg.solve(gram, [jnp.vdot(one, gradient) for one in (truth, other)])
    drift = MeanField.of(PROBLEM.as_arrays()).drift(jnp.asarray(q), jnp.asarray(e**2))
    expected = [drift.alignment + q * drift.growth, e * drift.growth]
    np.testing.assert_allclose(along, expected, rtol=0, atol=0.03 * float(jnp.abs(expected[0])))


def test_a_network_for_single_entries_has_more_and_weaker_groups(x64):
    field = MeanField.of(replace(PROBLEM, network="sparse").as_arrays())
    assert (field.num_groups, field.num_active, field.group_size) == (100, 6, 1)
    energy = (4**2 + 4 * 5 + 5**2) / 3
    np.testing.assert_allclose(field.weights @ field.norms**2, energy / 2, rtol=1e-12)
    np.testing.assert_allclose([field.energy, field.noise_energy], [energy / 2, 0.3 * energy], rtol=1e-12)


def test_a_single_active_group_without_noise_has_a_finite_drift(x64):
    field = MeanField.of(ae.RecoveryProblem(190, 50, num_active=1, signal_to_noise=None).as_arrays())
    drift = field.drift(jnp.asarray(1.2), jnp.asarray(0.01))
    assert all(np.isfinite(drift))
    assert float(drift.found) == pytest.approx(1, rel=1e-5)
