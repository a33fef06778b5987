"""Clusterings of codes, and their agreement with known classes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import ArrayLike, Float, Int, Shaped
from scipy.optimize import linear_sum_assignment

from aetheory.core.checks import check_choice, check_real, check_samples, fail, static_integer
from aetheory.group_sparse.dictionaries import Samples, subspace_dictionary

_MAX_ROUNDS = 30
_MOVED_SHARE_AT_REST = 1e-3


class ClusteringScores(NamedTuple):
    """Scores of the agreement of a clustering with classes, each 1 for equal partitions.

    The accuracy is the share of samples in the right cluster under the best one-to-one assignment of clusters to
    classes. The mutual information is divided by the arithmetic mean of the entropies. The Rand index is 0 by chance.
    """

    accuracy: float
    normalised_mutual_information: float
    adjusted_rand_index: float


class Subspaces(NamedTuple):
    """A union of subspaces fitted to samples.

    Attributes:
        assignments: the number of each sample's subspace.
        dictionary: orthonormal bases, group after group, shape (input_dim, num_clusters · subspace_dim).
        residual: the share of the samples' squared norm outside their subspaces.
    """

    assignments: Int[np.ndarray, " num_samples"]
    dictionary: Float[np.ndarray, "input_dim latent_dim"]
    residual: float


def cluster(
    features: Samples,
    num_clusters: int,
    *,
    method: str = "k-means",
    num_neighbours: int = 1000,
    num_starts: int = 10,
    seed: int = 0,
) -> Int[np.ndarray, " num_samples"]:
    """Cluster number of each sample, by scikit-learn.

    Arguments:
        features: shape (num_samples, num_features), finite.
        num_clusters: at most the number of samples.
        method: `"k-means"`, the best of `num_starts`; or `"spectral"`, on the graph of nearest neighbours.
        num_neighbours: neighbours of a sample in that graph, itself included; at most the number of samples.
        num_starts: number of random starts of k-means.
        seed: seed of the random starts.
    """
    rows = np.asarray(check_samples("features", features))
    num_clusters, num_starts = static_integer("num_clusters", num_clusters), static_integer("num_starts", num_starts)
    if num_clusters > len(rows):
        raise fail("num_clusters", f"at most the number of samples, {len(rows)}", num_clusters)
    check_choice("method", method, ("k-means", "spectral"))
    if method == "k-means":
        from sklearn.cluster import KMeans

        return np.asarray(KMeans(num_clusters, n_init=num_starts, random_state=seed).fit_predict(rows))
    from sklearn.cluster import SpectralClustering
    from sklearn.neighbors import kneighbors_graph

    num_neighbours = static_integer("num_neighbours", num_neighbours)
    if num_neighbours > len(rows):
        raise fail("num_neighbours", f"at most the number of samples, {len(rows)}", num_neighbours)
    graph = kneighbors_graph(rows, num_neighbours, include_self=True, n_jobs=-1)
    spectral = SpectralClustering(num_clusters, affinity="precomputed", random_state=seed, assign_labels="cluster_qr")
    return np.asarray(spectral.fit_predict(0.5 * (graph + graph.T)))


def k_subspaces(
    samples: Samples, num_clusters: int, subspace_dim: int, *, num_starts: int = 3, seed: int = 0
) -> Subspaces:
    """Union of subspaces through the origin that is fitted to samples by Lloyd's algorithm.

    Each sample is assigned to the nearest subspace and each subspace fitted to its samples, as a group-sparse
    autoencoder with one active group does at its optimum. Starts from k-means with `num_starts` seeds from `seed` on;
    ends after 30 rounds or when fewer than one sample in a thousand moves. The smallest residual is kept.

    Raises:
        ValueError: an argument as in `cluster`, or a cluster with fewer samples than `subspace_dim`.

    Source: P. Bradley, O. Mangasarian, "k-plane clustering", J. Global Optimization 16, 2000.
    """
    rows = np.asarray(check_samples("samples", samples))
    seeds = range(seed, seed + static_integer("num_starts", num_starts))
    fitted = (_lloyd(rows, cluster(rows, num_clusters, num_starts=1, seed=one), subspace_dim) for one in seeds)
    return min(fitted, key=lambda one: one.residual)


def _lloyd(
    rows: Float[np.ndarray, "num_samples dim"], assignments: Int[np.ndarray, " num_samples"], subspace_dim: int
) -> Subspaces:
    num_clusters = assignments.max() + 1
    for _ in range(_MAX_ROUNDS):
        bases = np.asarray(subspace_dictionary(rows, assignments, subspace_dim))
        captured = np.sum((rows @ bases).reshape(len(rows), num_clusters, -1) ** 2, axis=2)
        nearest = captured.argmax(axis=1)
        moved = np.mean(nearest != assignments)
        # no subspace may lose its last samples
        if np.bincount(nearest, minlength=num_clusters).min() < subspace_dim:
            break
        assignments = nearest
        if moved < _MOVED_SHARE_AT_REST:
            break
    total = np.sum(rows.astype(np.float64) ** 2)
    return Subspaces(assignments, bases, 1 - float(np.sum(captured.max(axis=1), dtype=np.float64) / total))


def clustering_scores(
    labels: Shaped[ArrayLike, " num_samples"], clusters: Shaped[ArrayLike, "..."]
) -> ClusteringScores:
    """Accuracy, normalised mutual information and adjusted Rand index of a clustering.

    Numbers of classes and clusters may differ; samples of clusters without a class count as wrong.

    Raises:
        ValueError: lengths that differ, or no samples.

    Source: H. Kuhn, "The Hungarian method", 1955.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    classes, found = np.asarray(labels), np.asarray(clusters)
    if classes.ndim != 1 or classes.size == 0:
        raise ValueError(f"Argument `labels` must be a non-empty vector, but got shape {classes.shape}.")
    if found.shape != classes.shape:
        requirement = f"have one entry for each of the {len(classes)} labels"
        raise ValueError(f"Argument `clusters` must {requirement}, but got shape {found.shape}.")
    counts = contingency_matrix(classes, found)
    return ClusteringScores(
        float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(classes)),
        float(normalized_mutual_info_score(classes, found)),
        float(adjusted_rand_score(classes, found)),
    )


def sum_to_one(codes: Float[ArrayLike, "num_samples latent_dim"]) -> Float[np.ndarray, "num_samples latent_dim"]:
    """Nonnegative codes scaled to sum 1 each; a code of zeros becomes constant."""
    entries = np.asarray(check_samples("codes", codes))
    check_real("codes", entries, "nonnegative", minimum=0.0)
    totals = entries.sum(axis=1, keepdims=True)
    shares: Float[np.ndarray, "num_samples latent_dim"] = entries / np.where(totals > 0, totals, 1)
    return np.where(totals > 0, shares, 1 / entries.shape[1]).astype(entries.dtype)
