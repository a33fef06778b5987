"""What non-Gaussian inputs cost, against the risk itself and against a law with a closed form."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerance import rounding

import aetheory as ae

KEY = jax.random.key(2)


def scaled(generator, num_samples, dim):
    """x = s g with s² = 1/2 or 3/2: E|u| = E s √(2/π), E u⁴ = 3 E s⁴."""
    lengths = np.sqrt(generator.choice([0.5, 1.5], num_samples))
    return lengths[:, None] * generator.normal(size=(num_samples, dim))


def test_samples_that_differ_in_length(x64):
    samples = scaled(np.random.default_rng(0), 40_000, 30)
    found = ae.limits.gaussianity(samples, 60, KEY)
    share = (math.sqrt(0.5) + math.sqrt(1.5)) / 2
    error = 5 / math.sqrt(40_000)  # rows share the samples
    assert float(found.mean_absolute.mean()) == pytest.approx(share, abs=error)
    assert float(found.excess_kurtosis.mean()) == pytest.approx(3 * (0.25 + 2.25) / 2 - 3, abs=10 * error)
    assert float(found.excess_risk) == pytest.approx(2 * (1 - float(ae.limits.gaussian(2.0))) * (1 - share), abs=error)


def test_orthonormal_rows_have_this_excess(x64):
    """An identity, whatever the inputs are."""
    images = ae.load_images("digits").samples
    white, _ = ae.sources.whiten(images, smallest_variance=1e-2)
    dim = white.shape[1]
    found = ae.limits.gaussianity(images, dim // 2, KEY, smallest_variance=1e-2)
    rotation = ae.limits.minimiser(KEY, jnp.ones(dim), dim // 2)
    excess = ae.two_layer.sampled_risk(rotation, white).mean - ae.limits.gaussian(dim // 2 / dim)
    assert float(found.excess_risk) == pytest.approx(float(excess), abs=rounding(jnp.float64, terms=len(white)))


def test_bad_input():
    with pytest.raises(ValueError, match="`num_units` must be a positive integer"):
        ae.limits.gaussianity(np.random.default_rng(0).normal(size=(50, 5)), 0, KEY)
