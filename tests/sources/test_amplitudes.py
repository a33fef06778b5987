import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy import integrate, stats

from aetheory.sources.amplitudes import AMPLITUDES, DensityAmplitude, as_amplitude

EDGE = math.sqrt(6)
DENSITIES = {
    "gaussian": lambda u: math.exp(-(u**2) / 2) / math.sqrt(2 * math.pi),
    "uniform": lambda u: 0.5 / math.sqrt(3),
    "laplace": lambda u: math.exp(-math.sqrt(2) * abs(u)) / math.sqrt(2),
    "triangle": lambda u: (EDGE - abs(u)) / 6,
}
REACH = {"uniform": math.sqrt(3), "triangle": EDGE}
CHANNELS = [(0.8, 0.6), (0.3, 1.7), (6.0, 0.2)]


def triangle(u):
    return jnp.maximum(0, EDGE - jnp.abs(u)) / 6


def laws():
    return AMPLITUDES | {"triangle": DensityAmplitude(triangle, -EDGE, EDGE)}


def reference(name, output, gain, noise):
    """log p(z) and E[u | z] by SciPy's quadrature over u, split around the likelihood's peak."""

    def likelihood(u):
        return math.exp(-(((output - gain * u) / noise) ** 2) / 2) / (noise * math.sqrt(2 * math.pi))

    if name == "rademacher":
        moments = [(likelihood(1) + sign * likelihood(-1)) / 2 for sign in (1, -1)]
    else:
        reach, peak, width = REACH.get(name, 30.0), output / gain, noise / gain
        cuts = [-reach, peak - 10 * width, peak - width, 0, peak + width, peak + 10 * width, reach]
        pieces = list(itertools.pairwise(np.unique(np.clip(cuts, -reach, reach))))
        moments = [
            sum(
                integrate.quad(
                    lambda u, k: u**k * DENSITIES[name](u) * likelihood(u), *ends, (order,), epsabs=0, epsrel=1e-10
                )[0]
                for ends in pieces
            )
            for order in (0, 1)
        ]
    return math.log(moments[0]), moments[1] / moments[0]


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("name", [*AMPLITUDES, "triangle"])
def test_posteriors_agree_with_quadrature(name, channel, x64):
    gain, noise = map(jnp.asarray, channel)
    outputs = np.array([-2.0, -0.3, 0.0, 0.9, 4.0])
    # beyond, the reference underflows
    outputs = outputs[np.abs(outputs) < channel[0] * REACH.get(name, math.inf) + 8 * channel[1]]
    posterior = laws()[name].posterior(jnp.asarray(outputs), gain, noise)
    expected = np.array([reference(name, output, *channel) for output in outputs]).T
    np.testing.assert_allclose(posterior, expected, rtol=0, atol=1e-7 if name == "triangle" else 1e-8)


def test_draws_have_the_law(precision):
    num_draws = 200_000
    for name, law in laws().items():
        draws = np.asarray(law.sample(jax.random.key(1), (num_draws,)))
        assert draws.dtype == precision
        draws = draws.astype(np.float64)
        fourth = (draws**4).mean()
        assert abs(draws.mean()) < 4.5 / math.sqrt(num_draws)
        assert abs((draws**2).mean() - 1) < 4.5 * math.sqrt(max(fourth - 1, 1e-6) / num_draws)
        assert np.abs(draws).mean() == pytest.approx(law.mean_absolute, abs=4.5 / math.sqrt(num_draws))
        assert np.abs(draws).max() <= law.reach
        if name == "triangle":
            assert stats.kstest(draws[:20_000], stats.triang(0.5, -EDGE, 2 * EDGE).cdf).pvalue > 1e-3


def test_far_outputs_are_finite(precision):
    far = jnp.asarray([-1e3, -50.0, 50.0, 1e3], precision)
    for law in laws().values():
        posterior = jax.jit(type(law).posterior)(law, far, jnp.asarray(0.7, precision), jnp.asarray(0.5, precision))
        assert np.isfinite(posterior.mean).all()
        assert (np.sign(posterior.mean) == np.sign(far)).all()


test_a_bad_argument = refused(
    (lambda: as_amplitude("cauchy"), "`amplitude` must be one of 'gaussian', 'rademacher', 'uniform', 'laplace'"),
    (lambda: DensityAmplitude(triangle, 1.0, 1.0), "`upper` must be finite and above `lower` = 1.0, but got 1.0."),
    (lambda: DensityAmplitude(triangle, -math.inf, 1.0), "`lower` must be finite, but got -inf."),
    (lambda: DensityAmplitude(lambda u: -triangle(u), -3.0, 3.0), "`density` must be finite and nonnegative"),
    (
        lambda: DensityAmplitude(lambda u: 0.5 + 0 * u, -1.0, 1.0),
        "`density` must have integral 1, mean 0 and variance 1",
    ),
)
