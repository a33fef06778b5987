"""How often the support is found, against counts by NumPy and SciPy's interval."""

import jax
import numpy as np
import pytest
from scipy.stats import binomtest

import aetheory as ae

LAW = {"min_norm": 1.0, "max_norm": 2.0}


def count(network, source, keys, size):
    """Samples whose groups of Aᵀy louder than λ are the active ones, one by one."""
    exact = 0
    for key in keys:
        drawn = source.draw(key, size)
        for observation, active in zip(np.asarray(drawn.observations), np.asarray(drawn.active), strict=True):
            heard = (np.asarray(network.dictionary).T @ observation).reshape(-1, network.group_size)
            exact += np.array_equal(np.linalg.norm(heard, axis=1) > float(network.threshold), active)
    return exact


def test_the_share_is_a_count_and_the_interval_is_wilsons(x64):
    num_samples = 1500
    truth = ae.gaussian_dictionary(jax.random.key(0), 24, 20)
    source = ae.GroupSparseSource(truth, 2, 2, signal_to_noise=15.0, **LAW)
    start = ae.perturbed_dictionary(jax.random.key(1), truth, 0.05)
    network = ae.GroupSparseAutoencoder(start, 0.6, 2)
    key = jax.random.key(2)
    found = ae.recovery.support_probability(network, source, key, num_samples=num_samples, confidence=0.9)
    passes = -(-num_samples // 1000)
    expected = count(network, source, jax.random.split(key, passes), num_samples // passes)
    assert found.num_samples == num_samples
    assert 0.02 * num_samples < expected < 0.98 * num_samples
    assert found.estimate * num_samples == pytest.approx(expected)
    interval = binomtest(expected, num_samples).proportion_ci(0.9, method="wilson")
    np.testing.assert_allclose([found.lower, found.upper], [interval.low, interval.high], rtol=1e-9)


def test_it_is_one_within_the_guarantee(x64):
    truth = ae.orthonormal_groups_dictionary(jax.random.key(0), 400, 8, 2)
    numbers = {"group_size": 2, "num_active": 1, "min_norm": 2.0, "max_norm": 2.0}
    interval = ae.recovery.support_guarantee(truth, truth, **numbers)
    assert not interval.is_empty
    network = ae.GroupSparseAutoencoder(truth, (interval.lower + interval.upper) / 2, 2)
    source = ae.GroupSparseSource(truth, 2, 1, min_norm=2.0, max_norm=2.0)
    found = ae.recovery.support_probability(network, source, jax.random.key(1), num_samples=500)
    assert found.estimate == found.upper == 1
    np.testing.assert_allclose(found.lower, binomtest(500, 500).proportion_ci(method="wilson").low, rtol=1e-9)


def test_bad_arguments_are_named():
    truth = ae.gaussian_dictionary(jax.random.key(0), 6, 4)
    source, network = ae.GroupSparseSource(truth, 2, 1), ae.GroupSparseAutoencoder(truth, 0.1, 2)
    with pytest.raises(ValueError, match="`confidence`"):
        ae.recovery.support_probability(network, source, jax.random.key(0), confidence=1.0)
    with pytest.raises(ValueError, match="`num_samples`"):
        ae.recovery.support_probability(network, source, jax.random.key(0), num_samples=0)
    other = ae.GroupSparseAutoencoder(truth[:, :2], 0.1, 2)
    with pytest.raises(ValueError, match="shape"):
        ae.recovery.support_probability(other, source, jax.random.key(0))
