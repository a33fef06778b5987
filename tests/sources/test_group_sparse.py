import itertools
import math
import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tolerance import rounding

from aetheory import GroupSparseSource, gaussian_dictionary
from aetheory.sources.group_sparse import random_subsets

KEY = jax.random.key(2)
NUM_GROUPS, SIZE, ACTIVE, NUM_SAMPLES = 6, 3, 2, 40_000


def source(precision=jnp.float32, **options):
    dictionary = np.random.default_rng(5).normal(size=(5, NUM_GROUPS * SIZE)).astype(precision)
    return GroupSparseSource(dictionary, SIZE, ACTIVE, **({"min_norm": 4, "max_norm": 5} | options))


@pytest.fixture(scope="module", params=["uniform-norm", "gaussian", "nonnegative"])
def drawn(request):
    """A law, a source of it with noise, and what it drew."""
    one = source(code_law=request.param, signal_to_noise=3.0)
    return request.param, one, one.draw(KEY, NUM_SAMPLES)


def test_the_active_groups_are_uniform_and_of_the_right_number(drawn):
    _, _, samples = drawn
    active = np.asarray(samples.active)
    assert (active.sum(axis=1) == ACTIVE).all()
    pairs = list(itertools.combinations(range(NUM_GROUPS), ACTIVE))
    counts = [np.sum(active[:, first] & active[:, second]) for first, second in pairs]
    assert stats.chisquare(counts).pvalue > 1e-3
    entries = np.asarray(samples.codes).reshape(-1, NUM_GROUPS, SIZE)
    assert ((entries != 0).any(axis=2) == active).all()


def test_the_codes_follow_their_law(drawn):
    law, one, samples = drawn
    entries = np.asarray(samples.codes, np.float64).reshape(-1, NUM_GROUPS, SIZE)[np.asarray(samples.active)]
    norms = np.linalg.norm(entries, axis=1)
    assert np.mean(norms**2) == pytest.approx(float(one.mean_squared_norm), rel=0.02)
    if law == "gaussian":
        deviation = math.sqrt(float(one.mean_squared_norm) / SIZE)
        assert stats.kstest(entries.ravel(), stats.norm(0, deviation).cdf).pvalue > 1e-3
        return
    assert stats.kstest(norms, stats.uniform(4, 1).cdf).pvalue > 1e-3
    cosines = entries[:, 0] / norms  # uniform in three dimensions
    expected = stats.uniform(0, 1) if law == "nonnegative" else stats.uniform(-1, 2)
    assert stats.kstest(cosines, expected.cdf).pvalue > 1e-3
    assert (entries >= 0).all() == (law == "nonnegative")


def test_energy_covariance_and_noise_are_exact(drawn):
    _, one, samples = drawn
    observations = np.asarray(samples.observations, np.float64)
    signal = np.asarray(samples.codes, np.float64) @ np.asarray(one.dictionary, np.float64).T
    noise = observations - signal
    energies = np.sum(signal**2, axis=1)
    error = energies.std() / math.sqrt(NUM_SAMPLES)
    assert abs(energies.mean() - float(one.signal_energy)) < 4 * error
    assert 10 * math.log10(energies.mean() / np.mean(np.sum(noise**2, axis=1))) == pytest.approx(3.0, abs=0.05)
    assert stats.kstest(noise.ravel() / math.sqrt(float(one.noise_variance)), stats.norm.cdf).pvalue > 1e-3
    covariance, centred = np.asarray(one.covariance), observations - observations.mean(axis=0)
    products = centred[:, :, None] * centred[:, None, :]
    errors = products.std(axis=0) / math.sqrt(NUM_SAMPLES)
    assert (np.abs(products.mean(axis=0) - covariance) < 4.5 * errors).all()


def test_samples_are_the_observations_of_a_draw_and_a_function_of_the_key(precision):
    one = source(precision, signal_to_noise=0)
    first, again, other = one.sample(KEY, 8), one.draw(KEY, 8).observations, one.sample(jax.random.key(3), 8)
    assert first.dtype == precision
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_no_noise_is_not_zero_decibels(precision):
    silent, loud = source(precision), source(precision, signal_to_noise=0)
    samples = silent.draw(KEY, 50)
    signal = np.asarray(samples.codes) @ np.asarray(silent.dictionary).T
    size = np.max(np.abs(samples.codes) @ np.abs(silent.dictionary).T)
    np.testing.assert_allclose(samples.observations, signal, atol=rounding(precision, ACTIVE * SIZE, size=size))
    assert silent.noise_variance == 0
    assert float(loud.noise_variance) == pytest.approx(float(loud.signal_energy) / 5, rel=rounding(precision, terms=8))


def test_one_active_group_is_a_mixture_of_subspaces(x64):
    one = GroupSparseSource(gaussian_dictionary(KEY, 8, 6), 2, 1, code_law="gaussian")
    samples = one.draw(KEY, 40)
    for observation, active in zip(np.asarray(samples.observations), np.asarray(samples.active), strict=True):
        basis = np.asarray(one.dictionary).reshape(8, 3, 2)[:, int(active.argmax())]
        residual = observation - basis @ np.linalg.lstsq(basis, observation, rcond=None)[0]
        error = rounding(jnp.float64, terms=8, condition=np.linalg.cond(basis), size=np.linalg.norm(observation))
        np.testing.assert_allclose(residual, 0, atol=error)


def test_sources_are_swept_and_compiled(x64):
    @jax.jit
    @jax.vmap
    def energy(decibels):
        return jnp.mean(jnp.sum(source(jnp.float64, signal_to_noise=decibels).sample(KEY, 4000) ** 2, axis=1))

    decibels = jnp.array([0.0, 10.0])
    expected = float(source(jnp.float64).signal_energy) * (1 + 10 ** (-np.asarray(decibels) / 10))
    np.testing.assert_allclose(energy(decibels), expected, rtol=0.05)
    drawn = eqx.filter_jit(lambda one, key: one.sample(key, 4))(source(jnp.float64), KEY)
    expected = source(jnp.float64).sample(KEY, 4)
    error = rounding(jnp.float64, ACTIVE * SIZE, size=ACTIVE * SIZE * np.abs(expected).max())
    np.testing.assert_allclose(drawn, expected, rtol=0, atol=error)


@pytest.mark.parametrize(("size", "chosen"), [(5, 1), (5, 3), (5, 5), (1, 1)])
def test_random_subsets_are_uniform(size, chosen):
    subsets = np.sort(np.asarray(random_subsets(KEY, 20_000, size, chosen)), axis=1)
    every = list(itertools.combinations(range(size), chosen))
    counts = [np.sum((subsets == subset).all(axis=1)) for subset in every]
    assert sum(counts) == 20_000
    assert len(every) == 1 or stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_size": 4}, "`group_size` must be a divisor of the latent dimension 18, but got 4."),
        ({"num_active": 7}, "`num_active` must be at most the number of groups, 6, but got 7."),
        ({"num_active": 0}, "`num_active` must be a positive integer, but got 0."),
        ({"min_norm": 0}, "`min_norm` must be finite and positive, but got 0."),
        ({"max_norm": 3}, "`max_norm` must be at least `min_norm` = 4, but got 3."),
        (
            {"code_law": "cauchy"},
            "`code_law` must be one of 'uniform-norm', 'gaussian', 'nonnegative', but got 'cauchy'.",
        ),
        (
            {"signal_to_noise": math.inf},
            "`signal_to_noise` must be a finite number of decibels, or None for no noise, but got inf.",
        ),
        ({"dictionary": np.eye(18)[:17]}, "`dictionary` must have no column of zeros, but column 17 is one."),
    ],
)
def test_a_bad_argument(options, message):
    arguments = {"dictionary": np.ones((5, 18)), "group_size": SIZE, "num_active": ACTIVE, "min_norm": 4, "max_norm": 5}
    with pytest.raises(ValueError, match=f"^Argument {re.escape(message)}$"):
        GroupSparseSource(**(arguments | options))


def test_the_number_of_samples_is_checked():
    with pytest.raises(ValueError, match="`num_samples` must be a positive integer, but got 0"):
        source().sample(KEY, 0)
