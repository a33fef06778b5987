"""How well a dictionary and its codes were recovered: distances and support rates."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray
from jaxtyping import ArrayLike as AnyArrayLike
from scipy.optimize import linear_sum_assignment

from aetheory.core.checks import check_instance, check_key, fail, is_concrete, static_integer
from aetheory.core.dictionary import check_group_size, normalise_columns
from aetheory.group_sparse.coherence import check_pair, group_blocks
from aetheory.group_sparse.dictionaries import DictionaryLike
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.sources.group_sparse import GroupSparseSource


class SupportRecovery(NamedTuple):
    """How well a set of active groups was found, on average over samples.

    Attributes:
        true_positive_rate: found groups among the active ones; 1 where nothing is active.
        false_positive_rate: found groups among the inactive ones; 0 where everything is active.
        exact: the share of samples whose groups are found exactly.
    """

    true_positive_rate: Float[Array, ""]
    false_positive_rate: Float[Array, ""]
    exact: Float[Array, ""]


class Probability(NamedTuple):
    """A share among draws, and the ends of its interval of 95 % (E. Wilson, 1927), which is never of no width."""

    value: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]


def squared_distance(dictionary: DictionaryLike, reference: DictionaryLike) -> Float[Array, ""]:
    """‖A − A*‖_F² with the columns of both scaled to norm 1 and compared in their order.

    The distance of the published curve, fit for compiled loops; `dictionary_distance` matches columns or groups first.

    Raises:
        ValueError: shapes that differ, or a column of zeros.

    Source: arXiv:2102.07003, Fig. 3.
    """
    learnt, truth = check_pair(dictionary, reference)
    return jnp.sum((normalise_columns(learnt) - normalise_columns(truth)) ** 2)


def dictionary_distance(dictionary: DictionaryLike, reference: DictionaryLike, *, group_size: int = 1) -> float:
    """‖A − A*‖_F², columns scaled to norm 1, at its smallest over the symmetries of the problem.

    Those are permutations of groups and an orthogonal map within each: signs, for single columns. Runs on the host and
    cannot be traced; `squared_distance` can.

    Raises:
        ValueError: shapes that differ, a column of zeros, or a group size that does not divide latent_dim.

    Source: H. Kuhn, "The Hungarian method", 1955 (SciPy's assignment); P. Schönemann, "A generalized solution of the
    orthogonal Procrustes problem", 1966: min over R of
    `‖A_g − A*_h R‖² = ‖A_g‖² + ‖A*_h‖² − 2‖A_gᵀA*_h‖_nuclear`.
    """
    learnt, truth = check_pair(dictionary, reference)
    if not (is_concrete(learnt) and is_concrete(truth)):
        requirement = "known when the program is traced, for matching runs on the host (`squared_distance` does not)"
        raise fail("dictionary", requirement, learnt)
    blocks = np.asarray(group_blocks(normalise_columns(learnt), normalise_columns(truth), group_size), np.float64)
    gains = np.linalg.norm(blocks, ord="nuc", axis=(2, 3)) if group_size > 1 else np.abs(blocks[:, :, 0, 0])
    matched = gains[linear_sum_assignment(gains, maximize=True)]
    return max(2 * float(learnt.shape[1] - matched.sum()), 0.0)


def active_groups(codes: Float[AnyArrayLike, "*batch latent_dim"], group_size: int) -> Bool[Array, "*batch num_groups"]:
    """Which groups of the codes have an entry other than zero.

    Raises:
        ValueError: `group_size` does not divide the last axis.
    """
    entries = jnp.asarray(codes)
    num_groups = check_group_size(static_integer("group_size", group_size), entries.shape[-1])
    return jnp.any(entries.reshape(*entries.shape[:-1], num_groups, -1) != 0, axis=-1)


def support_recovery(
    found: Bool[AnyArrayLike, "num_samples num_groups"], active: Bool[AnyArrayLike, "..."]
) -> SupportRecovery:
    """The rates at which `found` agrees with `active`; see `active_groups`, with groups of one entry for entries.

    Raises:
        ValueError: shapes that differ.
    """
    found, active = jnp.asarray(found), jnp.asarray(active)
    if found.shape != active.shape:
        raise ValueError(f"Argument `found` must have the shape of `active`, {active.shape}, but got {found.shape}.")
    missed, invented = jnp.sum(active & ~found), jnp.sum(found & ~active)
    return SupportRecovery(
        1 - missed / jnp.maximum(jnp.sum(active), 1),
        invented / jnp.maximum(jnp.sum(~active), 1),
        jnp.mean(jnp.all(found == active, axis=-1), dtype=jnp.result_type(float)),  # of truth values, float32 by itself
    )


def support_probability(
    network: GroupSparseAutoencoder, source: GroupSparseSource, key: PRNGKeyArray, num_samples: int = 10_000
) -> Probability:
    """How often the code of a network has exactly the active groups of the source: what guarantees are about.

    Measured on fresh draws, for where `threshold_interval` or `support_guarantee` are empty. Works under jit and vmap.

    Arguments:
        network: with groups of the source's number and size.
        source: what is drawn, its noise included.
        key: of the draws.
        num_samples: how many; the interval is about 1/√num_samples wide.

    Raises:
        ValueError: an argument is not as described.

    Source: the event of arXiv:2102.07003, Lemma 1.
    """
    check_instance("network", network, GroupSparseAutoencoder, "a GroupSparseAutoencoder")
    check_instance("source", source, GroupSparseSource, "a GroupSparseSource")
    check_key(key)
    count = static_integer("num_samples", num_samples)
    samples = source.draw(key, count)
    found = active_groups(network.encode(samples.observations), network.group_size)
    return _wilson(support_recovery(found, samples.active).exact, count)


def _wilson(share: Float[Array, ""], count: int, quantile: float = 1.959964) -> Probability:
    wide = quantile**2 / count
    middle = (share + wide / 2) / (1 + wide)
    half = jnp.sqrt(share * (1 - share) * wide + wide**2 / 4) / (1 + wide)
    return Probability(share, jnp.maximum(middle - half, 0), jnp.minimum(middle + half, 1))
