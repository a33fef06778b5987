import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import rounding

from aetheory import SparseSource
from aetheory.sources.amplitudes import AMPLITUDES
from aetheory.sources.source import Source

KEY = jax.random.key(4)


@pytest.mark.parametrize("amplitude", AMPLITUDES)
def test_samples_are_sparse_and_isotropic(amplitude, precision):
    source = SparseSource(6, 0.2, amplitude)
    assert isinstance(source, Source)
    num_samples = 50_000
    samples = source.sample(KEY, num_samples)
    assert samples.dtype == source.covariance.dtype == precision
    entries = np.asarray(samples, np.float64)
    assert (entries != 0).mean() == pytest.approx(0.2, abs=4.5 * math.sqrt(0.16 / entries.size))
    fourth = (entries**4).mean()
    np.testing.assert_allclose(entries.T @ entries / num_samples, np.eye(6), atol=5 * math.sqrt(fourth / num_samples))
    error = 4.5 / math.sqrt(entries.size)
    assert np.abs(entries).mean() == pytest.approx(float(source.mean_absolute), abs=error)
    np.testing.assert_array_equal(source.covariance, np.eye(6))


def test_at_sparsity_one_nothing_is_zero():
    assert (np.abs(SparseSource(3, 1.0, "rademacher").sample(KEY, 40)) == 1).all()


def test_the_sparsity_may_be_traced(x64):
    def energy(sparsity):
        return jnp.sum(SparseSource(4, sparsity, "gaussian").sample(KEY, 9) ** 2)

    np.testing.assert_allclose(jax.jit(energy)(0.3), energy(0.3), rtol=rounding(jnp.float64, terms=4 * 9, condition=2))


test_a_bad_argument = refused(
    *((lambda q=q: SparseSource(3, q), "`sparsity` must be in (0, 1], but got") for q in (0.0, -0.1, 1.5, math.nan)),
    (lambda: SparseSource(0, 0.5), "`input_dim` must be a positive integer, but got 0."),
    (lambda: SparseSource(3, 0.5, "cauchy"), "`amplitude` must be one of"),
    (lambda: SparseSource(3, 0.5).sample(KEY, -1), "`num_samples` must be a positive integer, but got -1."),
)
