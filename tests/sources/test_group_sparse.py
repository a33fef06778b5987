import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy import stats
from tolerance import rounding

from aetheory import GroupSparseSource
from aetheory.sources.group_sparse import random_subsets

KEY = jax.random.key(2)
NUM_GROUPS, SIZE, ACTIVE, NUM_SAMPLES = 6, 3, 2, 40_000


def source(precision=jnp.float32, **options):
    dictionary = np.random.default_rng(5).normal(size=(5, NUM_GROUPS * SIZE)).astype(precision)
    return GroupSparseSource(dictionary, SIZE, ACTIVE, **({"min_norm": 4, "max_norm": 5} | options))


def test_draws_follow_the_law():
    one = source(signal_to_noise=3.0)
    samples = one.draw(KEY, NUM_SAMPLES)
    codes, observations = (np.asarray(part, np.float64) for part in (samples.codes, samples.observations))
    active, codes_in_groups = np.asarray(samples.active), codes.reshape(-1, NUM_GROUPS, SIZE)
    # which groups are active
    assert (active.sum(axis=1) == ACTIVE).all()
    pairs = list(itertools.combinations(range(NUM_GROUPS), ACTIVE))
    assert stats.chisquare([np.sum(active[:, list(pair)].all(axis=1)) for pair in pairs]).pvalue > 1e-3
    assert ((codes_in_groups != 0).any(axis=2) == active).all()
    # their codes
    entries = codes_in_groups[active]
    norms = np.linalg.norm(entries, axis=1)
    assert stats.kstest(norms, stats.uniform(4, 1).cdf).pvalue > 1e-3
    assert np.mean(norms**2) == pytest.approx(float(one.mean_squared_norm), rel=0.02)
    cosines = entries[:, 0] / norms  # uniform in three dimensions
    assert stats.kstest(cosines, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    # the signal and its noise
    signal = codes @ np.asarray(one.dictionary, np.float64).T
    noise, energies = observations - signal, np.sum(signal**2, axis=1)
    assert abs(energies.mean() - float(one.signal_energy)) < 4 * energies.std() / math.sqrt(NUM_SAMPLES)
    assert 10 * math.log10(energies.mean() / np.mean(np.sum(noise**2, axis=1))) == pytest.approx(3.0, abs=0.05)
    assert stats.kstest(noise.ravel() / math.sqrt(float(one.noise_variance)), stats.norm.cdf).pvalue > 1e-3
    products = observations[:, :, None] * observations[:, None, :]
    errors = products.std(axis=0) / math.sqrt(NUM_SAMPLES)
    assert (np.abs(products.mean(axis=0) - np.asarray(one.covariance)) < 4.5 * errors).all()


def test_samples_are_the_observations_of_a_draw_and_a_function_of_the_key():
    one = source(signal_to_noise=0)
    first, again, other = one.sample(KEY, 8), one.draw(KEY, 8).observations, one.sample(jax.random.key(3), 8)
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_no_noise_is_not_zero_decibels(precision):
    clean, noisy = source(precision), source(precision, signal_to_noise=0)
    samples = clean.draw(KEY, 50)
    signal = np.asarray(samples.codes) @ np.asarray(clean.dictionary).T
    size = np.max(np.abs(samples.codes) @ np.abs(clean.dictionary).T)
    np.testing.assert_allclose(samples.observations, signal, atol=rounding(precision, ACTIVE * SIZE, size=size))
    assert samples.observations.dtype == precision
    assert clean.noise_variance == 0
    assert float(noisy.noise_variance) == pytest.approx(
        float(noisy.signal_energy) / 5, rel=rounding(precision, terms=8)
    )


def test_sources_are_swept_and_compiled(x64):
    @jax.jit
    @jax.vmap
    def energy(decibels):
        return jnp.mean(jnp.sum(source(jnp.float64, signal_to_noise=decibels).sample(KEY, 4000) ** 2, axis=1))

    decibels = jnp.array([0.0, 10.0])
    expected = float(source(jnp.float64).signal_energy) * (1 + 10 ** (-np.asarray(decibels) / 10))
    np.testing.assert_allclose(energy(decibels), expected, rtol=0.05)


@pytest.mark.parametrize(("size", "chosen"), [(5, 1), (5, 3), (5, 5), (1, 1)])
def test_random_subsets_are_uniform(size, chosen):
    subsets = np.sort(np.asarray(random_subsets(KEY, 20_000, size, chosen)), axis=1)
    every = list(itertools.combinations(range(size), chosen))
    counts = [np.sum((subsets == subset).all(axis=1)) for subset in every]
    assert sum(counts) == 20_000
    assert len(every) == 1 or stats.chisquare(counts).pvalue > 1e-3


GIVEN = {"dictionary": np.ones((5, 18)), "group_size": SIZE, "num_active": ACTIVE, "min_norm": 4, "max_norm": 5}
DECIBELS = "`signal_to_noise` must be a finite number of decibels, or None for no noise, but got inf."
test_a_bad_argument = refused(
    ({"group_size": 4}, "`group_size` must be a divisor of the latent dimension 18, but got 4."),
    ({"num_active": 7}, "`num_active` must be at most the number of groups, 6, but got 7."),
    ({"num_active": 0}, "`num_active` must be a positive integer, but got 0."),
    ({"min_norm": 0}, "`min_norm` must be finite and positive, but got 0."),
    ({"max_norm": 3}, "`max_norm` must be at least `min_norm` = 4, but got 3."),
    ({"signal_to_noise": math.inf}, DECIBELS),
    ({"dictionary": np.eye(18)[:17]}, "`dictionary` must have no column of zeros, but column 17 is one."),
    by=lambda change: GroupSparseSource(**GIVEN | change),
)
test_the_number_of_samples_is_checked = refused(
    (lambda: source().sample(KEY, 0), "`num_samples` must be a positive integer, but got 0")
)
