"""Coherence of the columns and groups of a dictionary, and the distance between the groups of two dictionaries."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from aetheory.core.checks import static_integer
from aetheory.core.dictionary import check_dictionary, check_group_size, normalise_columns
from aetheory.group_sparse.dictionaries import Dictionary, DictionaryLike


def coherence(dictionary: DictionaryLike) -> Float[Array, ""]:
    """Coherence μ = max_{i≠j} |a_iᵀa_j| / (‖a_i‖ ‖a_j‖), between 0 and 1; 0 for a single column.

    Raises:
        ValueError: a dictionary that is not finite or has a column of zeros.

    Source: D. Donoho, X. Huo, "Uncertainty principles and ideal atomic decomposition", 2001.
    """
    atoms = normalise_columns(check_dictionary("dictionary", dictionary))
    return _largest_off_diagonal(group_products(atoms, atoms, 1))


def block_coherence(dictionary: DictionaryLike, group_size: int) -> Float[Array, ""]:
    """Block coherence μ_B = max_{g≠h} ‖A_gᵀA_h‖₂ / d for groups of d columns; 0 for a single group.

    The columns are used as they are. Mind the 1/d: the largest norm of a product of two groups is dμ_B.
    Source: Y. Eldar, P. Kuppinger, H. Bölcskei, "Block-sparse signals: uncertainty relations and efficient recovery",
    2010; arXiv:2102.07003, eq. (3).
    """
    matrix = check_dictionary("dictionary", dictionary)
    return _largest_off_diagonal(group_products(matrix, matrix, group_size)) / group_size


def closeness(dictionary: DictionaryLike, reference: DictionaryLike, group_size: int) -> Float[Array, ""]:
    """Largest distance of two groups, δ = max_g ‖A_g − A*_g‖_F; the columns are used as they are.

    Source: arXiv:2102.07003, eqs. (17)–(18).
    """
    learnt, truth = check_pair(dictionary, reference)
    return jnp.sqrt(jnp.max(jnp.sum(as_groups(learnt - truth, group_size) ** 2, axis=(1, 2))))


def group_products(left: Dictionary, right: Dictionary, group_size: int) -> Float[Array, "num_groups num_groups"]:
    """‖A_gᵀB_h‖₂ for every pair of groups."""
    blocks = group_blocks(left, right, group_size)
    norms: Array = jnp.abs(blocks[:, :, 0, 0]) if group_size == 1 else jnp.linalg.norm(blocks, ord=2, axis=(2, 3))
    return norms


def group_blocks(
    left: Dictionary, right: Dictionary, group_size: int
) -> Float[Array, "num_groups num_groups group_size group_size"]:
    """A_gᵀB_h for every pair of groups."""
    num_groups = check_group_size(static_integer("group_size", group_size), left.shape[1])
    products = jnp.matmul(left.T, right, precision="highest")
    return products.reshape(num_groups, group_size, num_groups, group_size).transpose(0, 2, 1, 3)


def as_groups(matrix: Dictionary, group_size: int) -> Float[Array, "num_groups input_dim group_size"]:
    """A_g for every group."""
    num_groups = check_group_size(static_integer("group_size", group_size), matrix.shape[1])
    return jnp.moveaxis(matrix.reshape(-1, num_groups, group_size), 1, 0)


def check_pair(dictionary: DictionaryLike, reference: DictionaryLike) -> tuple[Dictionary, Dictionary]:
    """Both dictionaries as arrays, checked to have one shape."""
    learnt, truth = check_dictionary("dictionary", dictionary), check_dictionary("reference", reference)
    if learnt.shape != truth.shape:
        requirement = f"have the shape of `dictionary`, {learnt.shape}, not {truth.shape}"
        raise ValueError(f"Argument `reference` must {requirement}.")
    return learnt, truth


def _largest_off_diagonal(square: Float[Array, "size size"]) -> Float[Array, ""]:
    return jnp.max(jnp.where(jnp.eye(len(square), dtype=bool), 0, square))
