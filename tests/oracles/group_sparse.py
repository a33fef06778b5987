"""Random and constructed problems of group-sparse recovery."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from aetheory import GroupSparseSource, orthonormal_groups_dictionary, perturbed_dictionary

SMALLEST, LARGEST = 4.0, 5.0
"""Norms of the codes of active groups."""


def draws(seed, num_draws, closeness=0.0):
    """One random problem: dictionaries with orthonormal groups, and `num_draws` signals of γ ≤ 2 active groups."""
    key = jax.random.key(seed)
    size, active = ((1, 1), (2, 1), (3, 2), (2, 2))[seed % 4]
    num_groups = 5
    truth = orthonormal_groups_dictionary(key, 1500, num_groups * size, size)
    learnt = truth
    if closeness:
        moved = perturbed_dictionary(jax.random.key(seed + 99), truth, closeness / math.sqrt(1500))
        groups = np.asarray(moved, np.float64).reshape(1500, num_groups, size).transpose(1, 0, 2)
        left, _, right = np.linalg.svd(groups, full_matrices=False)  # the nearest orthonormal groups
        learnt = jnp.asarray((left @ right).transpose(1, 0, 2).reshape(1500, -1), truth.dtype)
    source = GroupSparseSource(truth, size, active, min_norm=SMALLEST, max_norm=LARGEST)
    return learnt, source, source.draw(jax.random.key(seed + 7), num_draws)


def equiangular(size, num_groups, cosine):
    """Groups with A_gᵀA_h = cosine · I for every pair: what attains the bound."""
    gram = (1 - cosine) * np.eye(num_groups) + cosine
    return np.kron(np.linalg.cholesky(gram).T, np.eye(size))
