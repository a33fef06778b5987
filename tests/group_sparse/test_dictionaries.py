import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from scipy import stats
from tolerance import rounding

from aetheory import (
    data_dictionary,
    gaussian_dictionary,
    orthonormal_groups_dictionary,
    perturbed_dictionary,
    subspace_dictionary,
)

KEY = jax.random.key(1)
SAMPLES = np.random.default_rng(0).normal(size=(30, 6))


def test_gaussian_columns_are_uniform_on_the_sphere(precision):
    dictionary = np.asarray(gaussian_dictionary(KEY, 3, 4000))
    assert dictionary.dtype == precision
    np.testing.assert_allclose(np.linalg.norm(dictionary, axis=0), 1, rtol=rounding(precision, terms=3))
    # on the sphere in three dimensions every coordinate is uniform on [−1, 1] (Archimedes)
    for row in dictionary:
        assert stats.kstest(row, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    assert abs(np.mean(dictionary[:, 1:] * dictionary[:, :-1])) < 4 / math.sqrt(3 * 12_000)


def test_orthonormal_groups_are_orthonormal_and_random(precision):
    dictionary = np.asarray(orthonormal_groups_dictionary(KEY, 3, 4000, 2))
    assert dictionary.dtype == precision
    groups = dictionary.reshape(3, 2000, 2).transpose(1, 0, 2)
    products = groups.transpose(0, 2, 1) @ groups
    np.testing.assert_allclose(products, np.broadcast_to(np.eye(2), products.shape), atol=rounding(precision, 12))
    for row in dictionary:
        assert stats.kstest(row[::2], stats.uniform(-1, 2).cdf).pvalue > 1e-3


def test_a_perturbed_dictionary_has_the_correlation_it_says(precision):
    dictionary = gaussian_dictionary(KEY, 400, 500)
    near = perturbed_dictionary(jax.random.key(2), dictionary, 0.074)
    assert near.dtype == precision
    np.testing.assert_allclose(np.linalg.norm(near, axis=0), 1, rtol=rounding(precision, terms=400))
    correlations = np.sum(np.asarray(near) * np.asarray(dictionary), axis=0)
    assert correlations.mean() == pytest.approx(1 / math.sqrt(1 + 0.074**2 * 400), abs=0.01)  # of 500 columns
    np.testing.assert_allclose(perturbed_dictionary(KEY, dictionary, 0.0), dictionary, atol=rounding(precision, 400))


def test_columns_from_data_are_different_samples_without_the_zero_ones():
    samples = np.vstack([np.zeros((3, 6)), SAMPLES])
    columns = np.asarray(data_dictionary(KEY, samples, 30)).T
    directions = SAMPLES / np.linalg.norm(SAMPLES, axis=1, keepdims=True)
    cosines = columns @ directions.T
    assert sorted(cosines.argmax(axis=1)) == list(range(30))
    np.testing.assert_allclose(cosines.max(axis=1), 1, rtol=rounding(jnp.float32, terms=6))


def test_groups_from_classes_span_their_best_subspaces(precision):
    classes = np.arange(30) % 3
    samples = jnp.asarray(SAMPLES, precision)
    dictionary = np.asarray(subspace_dictionary(samples, classes, 2))
    assert dictionary.shape == (6, 6)
    assert dictionary.dtype == precision
    for number in range(3):
        rows = SAMPLES[classes == number]
        _, values, axes = np.linalg.svd(rows)
        best, gap = axes[:2], values[1] ** 2 - values[2] ** 2
        error = rounding(precision, terms=10, condition=values[0] ** 2 / gap)
        group = dictionary[:, 2 * number : 2 * number + 2]
        np.testing.assert_allclose(group @ group.T, best.T @ best, atol=error)


def test_classes_of_few_and_of_equal_samples(precision):
    """Fewer than dimensions: the subspace of their singular vectors; of rank 1: that direction and another one."""
    few, equal = SAMPLES[:4], np.repeat(SAMPLES[4:5], 3, axis=0)
    samples, classes = jnp.asarray(np.concatenate([few, equal]), precision), np.array([0] * 4 + [1] * 3)
    dictionary = np.asarray(subspace_dictionary(samples, classes, 2))
    _, values, axes = np.linalg.svd(few)
    error = rounding(precision, terms=10, condition=values[0] ** 2 / (values[1] ** 2 - values[2] ** 2))
    np.testing.assert_allclose(dictionary[:, :2] @ dictionary[:, :2].T, axes[:2].T @ axes[:2], atol=error)
    group, direction = dictionary[:, 2:], equal[0] / np.linalg.norm(equal[0])
    np.testing.assert_allclose(group.T @ group, np.eye(2), atol=error)
    np.testing.assert_allclose(group @ (group.T @ direction), direction, atol=error)


test_a_bad_argument = refused(
    (lambda: gaussian_dictionary(KEY, 0, 4), "`input_dim` must be a positive integer, but got 0."),
    (
        lambda: orthonormal_groups_dictionary(KEY, 6, 8, 3),
        "`group_size` must be a divisor of the latent dimension 8, but got 3.",
    ),
    (
        lambda: orthonormal_groups_dictionary(KEY, 2, 8, 4),
        "`group_size` must be at most `input_dim` = 2, for orthonormal groups, but got 4.",
    ),
    (lambda: perturbed_dictionary(KEY, np.eye(2), -1.0), "`noise_scale` must be a finite, nonnegative number"),
    (lambda: perturbed_dictionary(KEY, np.zeros((2, 2)), 1.0), "`dictionary` must have no column of zeros"),
    (
        lambda: data_dictionary(KEY, SAMPLES, 31),
        "`latent_dim` must be at most the number of nonzero samples, 30, but got 31.",
    ),
    (
        lambda: subspace_dictionary(SAMPLES, np.zeros(4, int), 2),
        "`assignments` must be a vector of 30 classes, one a sample, but got [0 0 0 0].",
    ),
    (
        lambda: subspace_dictionary(SAMPLES, np.arange(30) // 28, 3),
        "`group_size` must be at most 6, the dimension, and 2, the size of the smallest class, but got 3.",
    ),
)
