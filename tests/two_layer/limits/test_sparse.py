import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles.two_layer import denoised_risk
from refusals import refused
from scipy import stats
from tolerance import assert_rounded, rounding

from aetheory import SparseSource, limits
from aetheory.sources.amplitudes import DensityAmplitude

AMPLITUDES = ("gaussian", "rademacher", "uniform", "laplace")


def sparse(sparsity, amplitude="gaussian", dim=50):
    return SparseSource(dim, sparsity, amplitude)


def test_critical_sparsities(precision):
    expected = {"gaussian": 1.0, "rademacher": 0.6366, "uniform": 0.8488, "laplace": 4 / math.pi}
    for name, value in expected.items():
        critical = limits.critical_sparsity(sparse(0.3, name))
        assert critical.dtype == precision
        assert float(critical) == pytest.approx(value, abs=5e-5)  # as printed


@pytest.mark.parametrize("amplitude", ["rademacher", "uniform"])
def test_identity_and_rotation_cross_at_the_critical_sparsity(amplitude, x64):
    critical = float(limits.critical_sparsity(sparse(0.5, amplitude)))
    for sparsity, identity_wins in ((critical + 0.01, True), (critical - 0.01, False)):
        source = sparse(sparsity, amplitude)
        assert bool(limits.identity_risk(source) < limits.rotation_risk(source)) == identity_wins
    at = sparse(critical, amplitude)
    assert_rounded(limits.identity_risk(at), float(limits.rotation_risk(at)), jnp.float64, 8, absolute=True)


def test_identity_risk_agrees_with_samples(x64):
    source = sparse(0.3, "uniform", 20)
    samples = np.asarray(source.sample(jax.random.key(0), 20_000))
    signs = np.where(samples[:, :10] >= 0, 1.0, -1.0)
    guess = np.zeros_like(samples)
    guess[:, :10] = float(source.mean_absolute) * signs
    errors = ((samples - guess) ** 2).mean(axis=1)
    expected = float(limits.identity_risk(source, 0.5))
    assert abs(errors.mean() - expected) < 4 * errors.std() / math.sqrt(20_000)
    # a bias takes out the mean of the code, as the documentation says
    centred = signs - signs.mean(axis=0)
    slope = (centred * samples[:, :10]).mean() / (centred**2).mean()
    better = 1 - 0.5 * slope * float(source.mean_absolute)
    assert better == pytest.approx(1 - 0.5 * float(source.mean_absolute) ** 2 / (1 - 0.7**2), abs=0.01)


@pytest.mark.parametrize(
    ("amplitude", "sparsity", "rate"), [("gaussian", 0.1, 1.0), ("rademacher", 0.4, 0.6), ("uniform", 0.5, 2.0)]
)
def test_denoised_risks_agree_with_sums_over_both_variables(amplitude, sparsity, rate, x64):
    density = {
        "gaussian": stats.norm.pdf,
        "uniform": lambda u: np.full_like(u, 1 / (2 * math.sqrt(3))),
        "rademacher": None,
    }[amplitude]
    reach = {"gaussian": 9.0, "uniform": math.sqrt(3), "rademacher": 1.0}[amplitude]
    expected = denoised_risk(density, sparsity, rate, reach)
    assert float(limits.denoised_risk(sparse(sparsity, amplitude), rate)) == pytest.approx(
        expected, abs=2e-7
    )  # of the sums


@pytest.mark.parametrize("amplitude", AMPLITUDES)
def test_denoised_risks_of_samples_of_the_channel(amplitude, x64):
    source, num_samples = sparse(0.25, amplitude, 1), 200_000
    denoiser = limits.denoiser(source, 0.7)
    inputs = source.sample(jax.random.key(2), num_samples)[:, 0]
    outputs = denoiser.gain * inputs + denoiser.noise * jax.random.normal(jax.random.key(3), inputs.shape)
    errors = (inputs - denoiser(outputs)) ** 2
    gap = float(jnp.mean(errors) - limits.denoised_risk(source, 0.7))
    assert abs(gap) < 4 * float(jnp.std(errors)) / math.sqrt(num_samples)


def test_densities_give_what_closed_forms_give(x64):
    laplace = DensityAmplitude(lambda u: jnp.exp(-math.sqrt(2) * jnp.abs(u)) / math.sqrt(2), -30, 30)
    for sparsity, rate in ((0.1, 1.0), (0.5, 2.0)):
        mine = limits.denoised_risk(sparse(sparsity, laplace), rate)
        assert float(mine) == pytest.approx(float(limits.denoised_risk(sparse(sparsity, "laplace"), rate)), abs=1e-9)


def test_without_sparsity_a_gaussian_needs_no_denoiser(precision):
    rates = jnp.asarray([0.3, 1.0, 2.5], precision)
    risks = jax.vmap(lambda rate: limits.denoised_risk(sparse(jnp.asarray(1.0, precision)), rate))(rates)
    assert risks.dtype == precision
    # a density is exp(−z²/2), in which an error of the exponent, z⁴/2 with the mean's z², is 3/2 of the risk
    error = rounding(precision, terms=2049, condition=3 / 2 + 2)
    np.testing.assert_allclose(risks, limits.gaussian(rates), rtol=0, atol=max(error, 1e-11))


test_a_bad_argument = refused(
    (lambda: limits.identity_risk(sparse(0.5), 1.5), "`rate` must be in (0, 1] for the identity, but got 1.5"),
    (lambda: limits.identity_risk(sparse(0.5), 0.0), "`rate` must be in (0, 1] for the identity, but got 0.0"),
    (lambda: limits.rotation_risk(sparse(0.5), -1.0), "`rate` must be finite and positive, but got -1.0."),
    (lambda: limits.denoised_risk(sparse(0.5), 0.0), "`rate` must be positive, at most 1e15, but got 0.0."),
    (lambda: limits.denoiser(sparse(0.5), jnp.ones(2)), "`rate` must be a single number"),
    (lambda: limits.denoised_risk(sparse(0.5), 1.0, "linear"), "`rate` must be below 1 for a linear activation"),
    (lambda: limits.denoised_risk(sparse(0.5), 1.0, "relu"), "`activation` must be odd"),
)
