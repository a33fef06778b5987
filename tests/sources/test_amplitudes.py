import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from aetheory.sources.amplitudes import AMPLITUDES, DensityAmplitude, as_amplitude

LAWS = {
    "gaussian": stats.norm(),
    "uniform": stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)),
    "laplace": stats.laplace(scale=math.sqrt(0.5)),
}
CHANNELS = [(0.8, 0.6), (2.5, 0.6), (0.3, 1.7), (6.0, 0.2)]


def triangle(u):
    return jnp.maximum(0, math.sqrt(6) - jnp.abs(u)) / 6


def reference(name, output, gain, noise):
    """log p(z) and E[u | z] by SciPy's quadrature over u, split around the likelihood's peak."""
    if name == "rademacher":
        weights = [0.5 * stats.norm.pdf(output, sign * gain, noise) for sign in (1, -1)]
        return math.log(sum(weights)), (weights[0] - weights[1]) / sum(weights)
    density = LAWS[name].pdf if name in LAWS else lambda u: float(triangle(jnp.asarray(u)))
    reach = math.sqrt(3) if name == "uniform" else math.sqrt(6) if name == "triangle" else 30.0
    peak, width = output / gain, noise / gain
    cuts = np.unique(
        np.clip([-reach, peak - 10 * width, peak - width, 0, peak + width, peak + 10 * width, reach], -reach, reach)
    )

    def moment(order):
        return sum(
            integrate.quad(
                lambda u: u**order * density(u) * stats.norm.pdf(output, gain * u, noise), *ends, epsabs=0, epsrel=1e-10
            )[0]
            for ends in itertools.pairwise(cuts)
        )

    evidence = moment(0)
    return math.log(evidence), moment(1) / evidence


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("name", AMPLITUDES)
def test_posteriors_agree_with_quadrature(name, channel, x64):
    gain, noise = map(jnp.asarray, channel)
    outputs = np.array([-2.0, -0.3, 0.0, 0.9, 4.0])
    posterior = as_amplitude(name).posterior(jnp.asarray(outputs), gain, noise)
    for index, output in enumerate(outputs):
        if name == "uniform" and abs(output) > channel[0] * math.sqrt(3) + 8 * channel[1]:
            continue  # the reference underflows
        log_evidence, mean = reference(name, output, *channel)
        assert float(posterior.log_evidence[index]) == pytest.approx(log_evidence, abs=1e-8)
        assert float(posterior.mean[index]) == pytest.approx(mean, abs=1e-8)


def test_a_density_agrees_with_quadrature_and_with_the_closed_form(x64):
    outputs = jnp.asarray([-2.0, 0.0, 0.9])
    law = DensityAmplitude(triangle, -math.sqrt(6), math.sqrt(6))
    posterior = law.posterior(outputs, jnp.asarray(0.8), jnp.asarray(0.6))
    for index, output in enumerate(outputs):
        log_evidence, mean = reference("triangle", float(output), 0.8, 0.6)
        assert float(posterior.log_evidence[index]) == pytest.approx(log_evidence, abs=1e-7)
        assert float(posterior.mean[index]) == pytest.approx(mean, abs=1e-7)
    same = DensityAmplitude(lambda u: jnp.exp(-(u**2) / 2) / math.sqrt(2 * math.pi), -9, 9)
    for gain, noise in CHANNELS:
        mine = same.posterior(outputs, jnp.asarray(gain), jnp.asarray(noise))
        closed = as_amplitude("gaussian").posterior(outputs, jnp.asarray(gain), jnp.asarray(noise))
        np.testing.assert_allclose(mine.log_evidence, closed.log_evidence, atol=1e-9)
        np.testing.assert_allclose(mine.mean, closed.mean, atol=1e-9)


def laws():
    return [as_amplitude(name) for name in AMPLITUDES] + [DensityAmplitude(triangle, -math.sqrt(6), math.sqrt(6))]


def test_draws_have_the_law(precision):
    num_draws = 200_000
    for law in laws():
        draws = np.asarray(law.sample(jax.random.key(1), (num_draws,)), np.float64)
        fourth = (draws**4).mean()
        assert abs(draws.mean()) < 4.5 / math.sqrt(num_draws)
        assert abs((draws**2).mean() - 1) < 4.5 * math.sqrt(max(fourth - 1, 1e-6) / num_draws)
        assert np.abs(draws).mean() == pytest.approx(law.mean_absolute, abs=4.5 / math.sqrt(num_draws))
        assert np.abs(draws).max() <= law.reach
        assert law.sample(jax.random.key(1), (2,)).dtype == precision
    triangular = np.asarray(laws()[-1].sample(jax.random.key(5), (20_000,)))
    scale = math.sqrt(6)
    assert stats.kstest(triangular, stats.triang(0.5, -scale, 2 * scale).cdf).pvalue > 1e-3


def test_far_outputs_are_finite(precision):
    far = jnp.asarray([-1e3, -50.0, 50.0, 1e3], precision)
    for law in laws():
        posterior = jax.jit(type(law).posterior)(law, far, jnp.asarray(0.7, precision), jnp.asarray(0.5, precision))
        assert np.isfinite(posterior.mean).all()
        assert (np.sign(posterior.mean) == np.sign(far)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_amplitude("cauchy"), "`amplitude` must be one of 'gaussian', 'rademacher', 'uniform', 'laplace'"),
        (lambda: DensityAmplitude(triangle, 1.0, 1.0), "`upper` must be finite and above `lower` = 1.0, but got 1.0."),
        (lambda: DensityAmplitude(triangle, -math.inf, 1.0), "`lower` must be finite, but got -inf."),
        (lambda: DensityAmplitude(lambda u: -triangle(u), -3.0, 3.0), "`density` must be finite and nonnegative"),
        (
            lambda: DensityAmplitude(lambda u: 0.5 + 0 * u, -1.0, 1.0),
            "`density` must have integral 1, mean 0 and variance 1",
        ),
    ],
)
def test_a_bad_argument(make, message):
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        make()
