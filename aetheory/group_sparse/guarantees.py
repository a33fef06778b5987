"""For which thresholds one encoder step finds the active groups, whatever the codes are; and how often it does."""

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray
from jaxtyping import ArrayLike as AnyArrayLike

from aetheory.core.checks import as_float, check_key, check_real, fail, is_concrete, static_integer
from aetheory.core.dictionary import check_group_size
from aetheory.group_sparse.coherence import check_pair, group_blocks, group_products
from aetheory.group_sparse.dictionaries import DictionaryLike
from aetheory.group_sparse.metrics import active_groups
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.sources.group_sparse import GroupSparseSource, check_law

Number = Num[AnyArrayLike, "*batch"]

_EXAMPLES_PER_PASS = 1000


class ThresholdInterval(eqx.Module):
    """The thresholds λ from `lower` up to, but not including, `upper`; none when `is_empty`.

    From `lower` on every inactive group is silent; at `upper` an active one might fall silent.
    """

    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]

    @property
    def is_empty(self) -> Bool[Array, "*batch"]:
        """Whether no threshold is guaranteed."""
        return ~(self.lower < self.upper)

    def contains(self, threshold: Num[AnyArrayLike, "*batch"]) -> Bool[Array, "*batch"]:
        """Whether a threshold is in the interval."""
        value = as_float(threshold)
        return (self.lower <= value) & (value < self.upper)

    def __repr__(self) -> str:
        if not is_concrete(self.lower) or self.lower.ndim:
            return f"ThresholdInterval(shape {self.lower.shape})"
        state = "empty" if self.is_empty else "not empty"
        return f"ThresholdInterval(lower={self.lower:.4g}, upper={self.upper:.4g}, {state})"


def threshold_interval(
    block_coherence: Number,
    closeness: Number,
    *,
    group_size: int,
    num_active: Number,
    min_norm: Number,
    max_norm: Number,
    form: str = "sound",
) -> ThresholdInterval:
    """[γB_max κ, B_min(1 − δ) − γB_max κ) with κ = dμ_B + δ: there, the support is recovered from y = A*x*.

    For dictionaries A and A* with orthonormal groups, the block coherence of either, and no noise. An inactive group
    hears at most γB_max κ, for ‖A_gᵀA*_h‖₂ ≤ dμ_B + δ; an active one keeps B_min(1 − δ) less that. The *published*
    form has κ = μ_B + δ, without the d that undoes the 1/d in μ_B, and for d > 1 thresholds in it can fail. Either
    interval may well be empty.

    Arguments:
        block_coherence: μ_B, nonnegative; see `ae.recovery.block_coherence`.
        closeness: δ, nonnegative; see `ae.recovery.closeness`.
        group_size: d, the columns of a group.
        num_active: γ, at least 1.
        min_norm: B_min, the smallest norm of an active group of the code; positive.
        max_norm: B_max, the largest, at least B_min.
        form: `"sound"` or `"published"`.

    Raises:
        ValueError: an argument is out of its range.

    Source: arXiv:2102.07003, Lemma 1 with the thresholds (22)–(23), from Props. 1 (20) and 2 (21); the norms (15).
    """
    if form not in ("sound", "published"):
        raise fail("form", "one of 'sound', 'published'", form)
    group_size = static_integer("group_size", group_size)
    for name, value in (("block_coherence", block_coherence), ("closeness", closeness)):
        check_real(name, value, "finite and nonnegative", minimum=0.0)
    check_law(num_active, math.inf, min_norm, max_norm)
    mu, delta, gamma, smallest, largest = map(as_float, (block_coherence, closeness, num_active, min_norm, max_norm))
    lower = gamma * largest * ((group_size * mu if form == "sound" else mu) + delta)
    return ThresholdInterval(lower, smallest * (1 - delta) - lower)


def support_guarantee(
    dictionary: DictionaryLike,
    reference: DictionaryLike,
    *,
    group_size: int,
    num_active: int,
    min_norm: Num[AnyArrayLike, ""],
    max_norm: Num[AnyArrayLike, ""],
) -> ThresholdInterval:
    """The thresholds guaranteed for these two dictionaries A and A*, which need not have orthonormal groups.

    From the norms `‖A_gᵀA*_h‖₂` of all pairs instead of one bound for all: an inactive group hears at most B_max times
    the sum of its γ largest norms, and an active one keeps `σ_min(A_gᵀA*_g)` B_min less B_max times the sum of its
    γ − 1 largest. Contains the sound `threshold_interval`, and like it assumes no noise; its arguments are those.

    Raises:
        ValueError: an argument is out of its range.

    Source: the argument of arXiv:2102.07003, Lemma 1, kept for each pair; J. Tropp, "Greed is good", 2004.
    """
    learnt, truth = check_pair(dictionary, reference)
    group_size, num_active = static_integer("group_size", group_size), static_integer("num_active", num_active)
    num_groups = check_group_size(group_size, learnt.shape[1])
    check_law(num_active, num_groups, min_norm, max_norm)
    leaks = jnp.where(jnp.eye(num_groups, dtype=bool), 0, group_products(learnt, truth, group_size))
    largest_leaks = jax.lax.top_k(leaks, num_active)[0]
    smallest, largest = (as_float(norm).astype(leaks.dtype) for norm in (min_norm, max_norm))
    blocks = jnp.diagonal(group_blocks(learnt, truth, group_size), axis1=0, axis2=1)
    kept = jnp.linalg.svd(jnp.moveaxis(blocks, -1, 0), compute_uv=False)[:, -1]
    # With every group active there is none to silence, and the γ-th largest entry of a row is its own zero.
    lower = largest * jnp.max(jnp.sum(largest_leaks, axis=1)) if num_active < num_groups else jnp.zeros_like(largest)
    return ThresholdInterval(lower, jnp.min(smallest * kept - largest * jnp.sum(largest_leaks[:, :-1], axis=1)))


class SupportProbability(NamedTuple):
    """How often the groups of a code are found exactly: a share of draws, and an interval around the probability."""

    estimate: Float[Array, ""]
    lower: Float[Array, ""]
    upper: Float[Array, ""]
    num_samples: int


def support_probability(
    network: GroupSparseAutoencoder,
    source: GroupSparseSource,
    key: PRNGKeyArray,
    *,
    num_samples: int = 10_000,
    confidence: float = 0.95,
) -> SupportProbability:
    """The probability that the network's code of a fresh example has exactly the active groups of the true one.

    Beside `support_guarantee`, within which it is 1, and which is empty for most dictionaries; noise and several
    iterations are taken as they are. Groups are those of the network, single entries for one without groups.

    Arguments:
        network: whose encoder is asked.
        source: of the examples, with a dictionary of the same shape.
        key: a JAX random key.
        num_samples: fresh examples, drawn in passes of up to 1000 of one size; rounded up to whole passes.
        confidence: of the interval, in (0, 1).

    Returns:
        The share of exact supports with the interval of Wilson's score test, and the number of examples.

    Raises:
        ValueError: dictionaries of different shapes, or an argument out of its range.

    Source: E. Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    check_pair(network.dictionary, source.dictionary)
    check_key(key)
    num_samples = static_integer("num_samples", num_samples)
    if not 0 < confidence < 1:
        raise fail("confidence", "between 0 and 1", confidence)
    passes = -(-num_samples // _EXAMPLES_PER_PASS)
    size = -(-num_samples // passes)
    found, total = _count_exact(network, source, jax.random.split(key, passes), size), passes * size
    share = found.astype(source.dictionary.dtype) / total
    return SupportProbability(share, *_wilson_interval(share, total, confidence), total)


@eqx.filter_jit
def _count_exact(network: GroupSparseAutoencoder, source: GroupSparseSource, keys: Array, size: int) -> Int[Array, ""]:
    def one(key: PRNGKeyArray) -> Int[Array, ""]:
        samples = source.draw(key, size)
        codes = (network.encode(samples.observations), samples.codes)
        found, active = (active_groups(one, network.group_size) for one in codes)
        return jnp.sum(jnp.all(found == active, axis=1))

    return jnp.sum(jax.lax.map(one, keys))


def _wilson_interval(share: Float[Array, ""], total: int, confidence: float) -> tuple[Array, Array]:
    """The probabilities p that a share of so many is within z standard deviations √(p(1−p)/n) of."""
    z = jax.scipy.special.ndtri(jnp.asarray((1 + confidence) / 2, share.dtype))
    middle, width = share + z**2 / (2 * total), z * jnp.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    scale = 1 + z**2 / total
    return jnp.maximum((middle - width) / scale, 0), jnp.minimum((middle + width) / scale, 1)
