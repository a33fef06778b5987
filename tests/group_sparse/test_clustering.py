import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refused
from tolerance import rounding

from aetheory import GroupSparseSource, gaussian_dictionary, recovery

RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(4), 30)
POINTS = 10 * np.eye(4)[LABELS] + RNG.normal(size=(120, 4))


def accuracy(labels, clusters):
    return recovery.clustering_scores(labels, clusters).accuracy


def test_accuracy_is_the_best_over_all_assignments():
    labels, clusters = RNG.integers(0, 4, 200), RNG.integers(0, 4, 200)
    best = max(np.mean(np.array(p)[clusters] == labels) for p in itertools.permutations(range(4)))
    assert accuracy(labels, clusters) == pytest.approx(best)


def test_accuracy_does_not_depend_on_names_and_allows_other_numbers_of_clusters():
    names = np.array(["cat", "dog", "cat", "emu"])
    assert accuracy(names, np.array([7, 3, 7, -1])) == 1
    assert accuracy(names, np.zeros(4, int)) == 0.5
    assert accuracy(names, np.arange(4)) == 0.75


def test_scores_agree_with_their_formulas():
    labels, clusters = RNG.integers(0, 3, 300), RNG.integers(0, 4, 300)
    clusters = np.where(RNG.random(300) < 0.6, labels, clusters)
    counts = np.array([[np.sum((labels == a) & (clusters == b)) for b in range(4)] for a in range(3)])
    joint = counts / 300
    rows, columns = joint.sum(1), joint.sum(0)
    information = sum(
        joint[a, b] * math.log(joint[a, b] / rows[a] / columns[b])
        for a, b in itertools.product(range(3), range(4))
        if counts[a, b]
    )
    entropies = [-np.sum(part[part > 0] * np.log(part[part > 0])) for part in (rows, columns)]
    pairs = sum(math.comb(int(count), 2) for count in counts.ravel())
    row_pairs, column_pairs = (sum(math.comb(int(c), 2) for c in counts.sum(axis)) for axis in (1, 0))
    expected = row_pairs * column_pairs / math.comb(300, 2)
    index = (pairs - expected) / ((row_pairs + column_pairs) / 2 - expected)
    scores = recovery.clustering_scores(labels, clusters)
    assert scores.normalised_mutual_information == pytest.approx(2 * information / sum(entropies))
    assert scores.adjusted_rand_index == pytest.approx(index)


@pytest.mark.parametrize("options", [{}, {"method": "spectral", "num_neighbours": 40}])
def test_separate_clusters_are_found(options):
    clusters = recovery.cluster(POINTS, 4, seed=1, **options)
    assert recovery.clustering_scores(LABELS, clusters) == pytest.approx((1, 1, 1))
    assert (clusters == recovery.cluster(POINTS, 4, seed=1, **options)).all()


def test_k_subspaces_finds_a_mixture_of_subspaces():
    """Where k-means cannot, for the codes are symmetric about zero."""
    source = GroupSparseSource(gaussian_dictionary(jax.random.key(0), 12, 6), 2, 1, min_norm=0.1, max_norm=2.0)
    samples = source.draw(jax.random.key(1), 300)
    classes = np.asarray(samples.active).argmax(axis=1)
    found = recovery.k_subspaces(samples.observations, 3, 2, num_starts=10)
    assert accuracy(classes, found.assignments) == 1
    assert found.residual == pytest.approx(0, abs=rounding(jnp.float32, terms=300))
    groups = found.dictionary.reshape(12, 3, 2).transpose(1, 0, 2)
    np.testing.assert_allclose(
        groups.transpose(0, 2, 1) @ groups, np.stack([np.eye(2)] * 3), atol=rounding(jnp.float32, 100)
    )
    assert accuracy(classes, recovery.cluster(samples.observations, 3)) < 0.9


def test_k_subspaces_keeps_the_best_start(precision):
    rows = np.random.default_rng(2).normal(size=(200, 6)).astype(precision)
    residuals = [recovery.k_subspaces(rows, 4, 2, num_starts=1, seed=seed).residual for seed in range(4)]
    best = recovery.k_subspaces(rows, 4, 2, num_starts=4)
    assert best.residual == min(residuals)
    assert best.dictionary.dtype == precision


def test_codes_that_sum_to_one():
    shares = recovery.sum_to_one(np.array([[1.0, 3.0], [0.0, 0.0], [2.0, 0.0]]))
    np.testing.assert_allclose(shares, [[0.25, 0.75], [0.5, 0.5], [1, 0]])


test_a_bad_argument = refused(
    (
        lambda: accuracy(LABELS, LABELS[:5]),
        "`clusters` must have one entry for each of the 120 labels, but got shape (5,).",
    ),
    (
        lambda: recovery.clustering_scores(LABELS[:5], LABELS),
        "`clusters` must have one entry for each of the 5 labels, but got shape (120,).",
    ),
    (lambda: accuracy(np.zeros(0), np.zeros(0)), "`labels` must be a non-empty vector, but got shape (0,)."),
    (lambda: recovery.cluster(POINTS[:3], 4), "`num_clusters` must be at most the number of samples, 3, but got 4."),
    (lambda: recovery.cluster(POINTS, 0), "`num_clusters` must be a positive integer, but got 0."),
    (lambda: recovery.cluster(POINTS, 4, method="ward"), "`method` must be one of 'k-means', 'spectral', but got"),
    (
        lambda: recovery.cluster(POINTS, 4, method="spectral"),
        "`num_neighbours` must be at most the number of samples, 120, but got 1000.",
    ),
    (lambda: recovery.k_subspaces(POINTS[:5], 4, 2), "`group_size` must be at most 4, the dimension, and 1, the size"),
    (lambda: recovery.cluster(POINTS, 4, num_starts=0), "`num_starts` must be a positive integer, but got 0."),
    (lambda: recovery.cluster(np.full((5, 2), np.nan), 2), "`features` must be a finite array of shape"),
    (lambda: recovery.sum_to_one(np.array([[1.0, -0.5]])), "`codes` must be nonnegative, but got"),
)
