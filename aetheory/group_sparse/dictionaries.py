"""Dictionaries with columns of norm 1: random, perturbed, and made from data."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num, PRNGKeyArray
from scipy.linalg import eigh

from aetheory.core.checks import check_key, check_samples, fail, real_array, static_integer
from aetheory.core.dictionary import check_dictionary, check_group_size, normalise_columns

Dictionary = Float[Array, "input_dim latent_dim"]
DictionaryLike = Float[ArrayLike, "..."]
Samples = Num[ArrayLike, "..."]


def gaussian_dictionary(key: PRNGKeyArray, input_dim: int, latent_dim: int) -> Dictionary:
    """Dictionary of independent columns, uniform on the unit sphere."""
    check_key(key)
    shape = (static_integer("input_dim", input_dim), static_integer("latent_dim", latent_dim))
    return normalise_columns(jax.random.normal(key, shape))


def orthonormal_groups_dictionary(key: PRNGKeyArray, input_dim: int, latent_dim: int, group_size: int) -> Dictionary:
    """Dictionary of independent groups, each an orthonormal basis of a uniformly random subspace.

    Raises:
        ValueError: a dimension that is not a positive integer, or a group size that does not divide `latent_dim` or
            exceeds `input_dim`.
    """
    check_key(key)
    input_dim, latent_dim = static_integer("input_dim", input_dim), static_integer("latent_dim", latent_dim)
    group_size = static_integer("group_size", group_size)
    num_groups = check_group_size(group_size, latent_dim)
    if group_size > input_dim:
        raise fail("group_size", f"at most `input_dim` = {input_dim}, for orthonormal groups", group_size)
    groups = jnp.linalg.qr(jax.random.normal(key, (num_groups, input_dim, group_size)))[0]
    # QR fixes the signs by convention; random ones make the bases uniform
    signs = jax.random.rademacher(jax.random.fold_in(key, 1), (num_groups, 1, group_size), groups.dtype)
    return jnp.moveaxis(groups * signs, 0, 1).reshape(input_dim, latent_dim)


def perturbed_dictionary(key: PRNGKeyArray, dictionary: DictionaryLike, noise_scale: Num[ArrayLike, ""]) -> Dictionary:
    """Dictionary A* plus Gaussian noise of standard deviation σ_B, with columns scaled to norm 1.

    For columns of norm 1 the mean correlation with A* is about 1/√(1 + σ_B² · input_dim).
    """
    check_key(key)
    matrix = check_dictionary("dictionary", dictionary)
    scale = real_array("noise_scale", noise_scale, "a finite, nonnegative number", minimum=0.0).astype(matrix.dtype)
    if scale.ndim:
        raise fail("noise_scale", "a finite, nonnegative number", noise_scale)
    return normalise_columns(matrix + scale * jax.random.normal(key, matrix.shape, matrix.dtype))


def data_dictionary(key: PRNGKeyArray, samples: Samples, latent_dim: int) -> Dictionary:
    """Dictionary whose columns are different samples, drawn at random and scaled to norm 1.

    Raises:
        ValueError: `samples` is not a finite matrix, or has fewer nonzero rows than `latent_dim`.
    """
    check_key(key)
    rows, latent_dim = check_samples("samples", samples), static_integer("latent_dim", latent_dim)
    usable = np.flatnonzero(np.asarray(rows).any(axis=1))
    if len(usable) < latent_dim:
        raise fail("latent_dim", f"at most the number of nonzero samples, {len(usable)}", latent_dim)
    chosen = jax.random.choice(key, jnp.asarray(usable), (latent_dim,), replace=False)
    return normalise_columns(rows[chosen].T)


def subspace_dictionary(samples: Samples, assignments: Int[ArrayLike, " num_samples"], group_size: int) -> Dictionary:
    """Dictionary with an orthonormal group for each class: its samples' leading singular vectors.

    Samples are not centred, and groups ordered by class number. With the assignments of a clustering this is one step
    of K-subspaces; with labels it is supervised. Runs on the host and cannot be traced.

    Raises:
        ValueError: lengths that differ, or a class with fewer samples than `group_size`.

    Source: P. Bradley, O. Mangasarian, "k-plane clustering", J. Global Optimization 16, 2000.
    """
    rows, classes = check_samples("samples", samples), np.asarray(assignments)
    group_size = static_integer("group_size", group_size)
    if classes.shape != rows.shape[:1]:
        raise fail("assignments", f"a vector of {len(rows)} classes, one a sample", assignments)
    numbers, counts = np.unique(classes, return_counts=True)
    if group_size > min(counts.min(), rows.shape[1]):
        largest = f"at most {rows.shape[1]}, the dimension, and {counts.min()}, the size of the smallest class"
        raise fail("group_size", largest, group_size)
    values = np.asarray(rows)  # in NumPy, because JAX would compile a program for each class size
    groups = [_leading_directions(values[classes == number], group_size) for number in numbers]
    return jnp.asarray(np.concatenate(groups, axis=1), rows.dtype)


def _leading_directions(rows: Float[np.ndarray, "members dim"], count: int) -> Float[np.ndarray, "dim count"]:
    """Leading right singular vectors, from the smaller of the two Gram matrices."""
    few = len(rows) < rows.shape[1]
    products = rows @ rows.T if few else rows.T @ rows
    vectors = eigh(products, subset_by_index=(len(products) - count, len(products) - 1))[1][:, ::-1]
    return np.linalg.qr(rows.T @ vectors)[0] if few else vectors
