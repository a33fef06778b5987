"""How well a dictionary and its codes are recovered: distances and support rates."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray
from scipy.optimize import linear_sum_assignment

from aetheory.core.checks import check_instance, check_key, fail, is_concrete, static_integer
from aetheory.core.dictionary import check_group_size, normalise_columns
from aetheory.group_sparse.coherence import check_pair, group_blocks
from aetheory.group_sparse.dictionaries import DictionaryLike
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.sources.group_sparse import GroupSparseSource

_NORMAL_QUANTILE = 1.959964
"""97.5 % quantile of the standard normal distribution."""


class SupportRecovery(NamedTuple):
    """Rates at which active groups are found, over samples.

    Attributes:
        true_positive_rate: found groups among the active ones; 1 where nothing is active.
        false_positive_rate: found groups among the inactive ones; 0 where everything is active.
        exact: the share of samples whose groups are found exactly.
    """

    true_positive_rate: Float[Array, ""]
    false_positive_rate: Float[Array, ""]
    exact: Float[Array, ""]


class Probability(NamedTuple):
    """A probability estimated from draws, and the ends of its 95 % interval (E. Wilson, 1927)."""

    value: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]


def squared_distance(dictionary: DictionaryLike, reference: DictionaryLike) -> Float[Array, ""]:
    """Squared distance ‖A − A*‖_F² of two dictionaries of one shape, with columns of norm 1.

    They are compared in their order, as in the published curve; `dictionary_distance` matches columns or groups first.
    Source: arXiv:2102.07003, Fig. 3.
    """
    learnt, truth = check_pair(dictionary, reference)
    return jnp.sum((normalise_columns(learnt) - normalise_columns(truth)) ** 2)


def dictionary_distance(dictionary: DictionaryLike, reference: DictionaryLike, *, group_size: int = 1) -> float:
    """Least squared distance of two dictionaries over permutations and rotations of their groups.

    The distance is ‖A − A*‖_F², with columns scaled to norm 1. For single columns the rotations are signs. Runs on the
    host and cannot be traced; `squared_distance` can.
    Source: H. Kuhn, "The Hungarian method", 1955; P. Schönemann, "A generalized solution of the orthogonal Procrustes
    problem", 1966: min over R of `‖A_g − A*_h R‖² = ‖A_g‖² + ‖A*_h‖² − 2‖A_gᵀA*_h‖_nuclear`.
    """
    learnt, truth = check_pair(dictionary, reference)
    if not (is_concrete(learnt) and is_concrete(truth)):
        requirement = "known when the program is traced, for matching runs on the host (`squared_distance` does not)"
        raise fail("dictionary", requirement, learnt)
    blocks = np.asarray(group_blocks(normalise_columns(learnt), normalise_columns(truth), group_size), np.float64)
    gains = np.linalg.norm(blocks, ord="nuc", axis=(2, 3)) if group_size > 1 else np.abs(blocks[:, :, 0, 0])
    matched = gains[linear_sum_assignment(gains, maximize=True)]
    return max(2 * float(learnt.shape[1] - matched.sum()), 0.0)


def active_groups(codes: Float[ArrayLike, "*batch latent_dim"], group_size: int) -> Bool[Array, "*batch num_groups"]:
    """Whether each group of the codes has an entry other than zero."""
    entries = jnp.asarray(codes)
    num_groups = check_group_size(static_integer("group_size", group_size), entries.shape[-1])
    return jnp.any(entries.reshape(*entries.shape[:-1], num_groups, -1) != 0, axis=-1)


def support_recovery(
    found: Bool[ArrayLike, "num_samples num_groups"], active: Bool[ArrayLike, "..."]
) -> SupportRecovery:
    """Rates at which the groups `found` agree with the groups `active`, both as from `active_groups`."""
    found, active = jnp.asarray(found), jnp.asarray(active)
    if found.shape != active.shape:
        raise ValueError(f"Argument `found` must have the shape of `active`, {active.shape}, but got {found.shape}.")
    missed, invented = jnp.sum(active & ~found), jnp.sum(found & ~active)
    return SupportRecovery(
        1 - missed / jnp.maximum(jnp.sum(active), 1),
        invented / jnp.maximum(jnp.sum(~active), 1),
        jnp.mean(jnp.all(found == active, axis=-1), dtype=jnp.result_type(float)),  # a mean of booleans is float32
    )


def support_probability(
    network: GroupSparseAutoencoder, source: GroupSparseSource, key: PRNGKeyArray, num_samples: int = 10_000
) -> Probability:
    """Probability that the code of a network has exactly the active groups, from fresh draws.

    It also answers where `threshold_interval` and `support_guarantee` are empty. Works under jit and vmap.

    Arguments:
        network: its groups have the source's number and size.
        source: distribution of the samples, noise included.
        key: a random key.
        num_samples: number of draws; the interval is about 1/√num_samples wide.

    Source: the event of arXiv:2102.07003, Lemma 1.
    """
    check_instance("network", network, GroupSparseAutoencoder, "a GroupSparseAutoencoder")
    check_instance("source", source, GroupSparseSource, "a GroupSparseSource")
    check_key(key)
    count = static_integer("num_samples", num_samples)
    samples = source.draw(key, count)
    found = active_groups(network.encode(samples.observations), network.group_size)
    return _wilson(support_recovery(found, samples.active).exact, count)


def _wilson(share: Float[Array, ""], count: int) -> Probability:
    wide = _NORMAL_QUANTILE**2 / count
    middle = (share + wide / 2) / (1 + wide)
    half = jnp.sqrt(share * (1 - share) * wide + wide**2 / 4) / (1 + wide)
    return Probability(share, jnp.maximum(middle - half, 0), jnp.minimum(middle + half, 1))
