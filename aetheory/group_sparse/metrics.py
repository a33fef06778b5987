"""How well a dictionary and its codes were recovered: distances and support rates."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from jaxtyping import ArrayLike as AnyArrayLike
from scipy.optimize import linear_sum_assignment

from aetheory.core.checks import is_concrete, static_integer
from aetheory.core.dictionary import check_group_size, normalise_columns
from aetheory.group_sparse.coherence import check_pair, group_blocks


class SupportRecovery(NamedTuple):
    """How well a set of active groups was found, on average over samples.

    Attributes:
        true_positive_rate: found groups among the active ones.
        false_positive_rate: found groups among the inactive ones.
        exact: the share of samples whose groups are found exactly.
    """

    true_positive_rate: Float[Array, ""]
    false_positive_rate: Float[Array, ""]
    exact: Float[Array, ""]


def squared_distance(
    dictionary: Float[AnyArrayLike, "input_dim latent_dim"], reference: Float[AnyArrayLike, "..."]
) -> Float[Array, ""]:
    """‖A − A*‖_F² with the columns of both scaled to norm 1 and compared in their order.

    The plain distance of the published curve, differentiable and fit for compiled loops; `dictionary_distance`
    matches columns or groups first.

    Raises:
        ValueError: shapes that differ, or a column of zeros.

    Source: arXiv:2102.07003, Fig. 3.
    """
    learnt, truth = check_pair(dictionary, reference)
    return jnp.sum((normalise_columns(learnt) - normalise_columns(truth)) ** 2)


def dictionary_distance(
    dictionary: Float[AnyArrayLike, "input_dim latent_dim"],
    reference: Float[AnyArrayLike, "..."],
    *,
    group_size: int = 1,
) -> float:
    """‖A − A*‖_F², columns scaled to norm 1, at its smallest over the symmetries of the problem.

    Those are permutations of groups and an orthogonal map within each: signs, for single columns. Runs on the host and
    cannot be traced; `squared_distance` can.

    Arguments:
        dictionary: A, shape (input_dim, latent_dim).
        reference: A*, of the same shape.
        group_size: d, the columns of a group.

    Raises:
        ValueError: an argument is not as described.

    Source: H. Kuhn, "The Hungarian method", 1955 (SciPy's assignment); P. Schönemann, "A generalized solution of the
    orthogonal Procrustes problem", 1966: min over R of
    `‖A_g − A*_h R‖² = ‖A_g‖² + ‖A*_h‖² − 2‖A_gᵀA*_h‖_nuclear`.
    """
    learnt, truth = check_pair(dictionary, reference)
    if not (is_concrete(learnt) and is_concrete(truth)):
        raise ValueError(
            "Argument `dictionary` must be known when the program is traced, because matching runs on the host, but "
            "got a traced value. `squared_distance` can be traced."
        )
    blocks = np.asarray(group_blocks(normalise_columns(learnt), normalise_columns(truth), group_size), np.float64)
    gains = np.linalg.norm(blocks, ord="nuc", axis=(2, 3)) if group_size > 1 else np.abs(blocks[:, :, 0, 0])
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return max(2 * float(learnt.shape[1] - gains[rows, columns].sum()), 0.0)


def active_groups(codes: Float[AnyArrayLike, "*batch latent_dim"], group_size: int) -> Bool[Array, "*batch num_groups"]:
    """Which groups of the codes have an entry other than zero.

    Raises:
        ValueError: `group_size` does not divide the last axis.
    """
    entries = jnp.asarray(codes)
    size = static_integer("group_size", group_size)
    num_groups = check_group_size(size, entries.shape[-1])
    return jnp.any(entries.reshape(*entries.shape[:-1], num_groups, size) != 0, axis=-1)


def support_recovery(
    found: Bool[AnyArrayLike, "num_samples num_groups"], active: Bool[AnyArrayLike, "..."]
) -> SupportRecovery:
    """The rates at which `found` agrees with `active`; see `active_groups`, with groups of one entry for entries.

    The true-positive rate is NaN-free by definition: 1 where nothing is active, as the false-positive rate is 0 where
    everything is.

    Raises:
        ValueError: shapes that differ.
    """
    found, active = jnp.asarray(found), jnp.asarray(active)
    if found.shape != active.shape:
        raise ValueError(f"Argument `found` must have the shape of `active`, {active.shape}, but got {found.shape}.")
    num_active, num_inactive = jnp.sum(active), jnp.sum(~active)
    missed, invented = jnp.sum(active & ~found), jnp.sum(found & ~active)
    return SupportRecovery(
        1 - missed / jnp.maximum(num_active, 1),
        invented / jnp.maximum(num_inactive, 1),
        jnp.mean(jnp.all(found == active, axis=-1)),
    )
