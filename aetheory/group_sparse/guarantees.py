"""Thresholds for which one encoder step provably finds the active groups."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float, Num

from aetheory.core.checks import as_float, check_choice, check_real, is_concrete, static_integer
from aetheory.core.dictionary import check_group_size
from aetheory.group_sparse.coherence import check_pair, group_blocks, group_products
from aetheory.group_sparse.dictionaries import DictionaryLike
from aetheory.sources.group_sparse import check_law

Number = Num[ArrayLike, "*batch"]


class ThresholdInterval(eqx.Module):
    """The thresholds λ from `lower` up to, but not including, `upper`; none when `is_empty`.

    From `lower` on every inactive group has the code zero; from `upper` on an active group may have it too.
    """

    lower: Float[Array, "*batch"]
    upper: Float[Array, "*batch"]

    @property
    def is_empty(self) -> Bool[Array, "*batch"]:
        """Whether no threshold is guaranteed."""
        return ~(self.lower < self.upper)

    def contains(self, threshold: Num[ArrayLike, "*batch"]) -> Bool[Array, "*batch"]:
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
    """Thresholds that recover the support of every code, as an interval.

    It is [γB_max κ, B_min(1 − δ) − γB_max κ) with κ = dμ_B + δ, for dictionaries A and A* with orthonormal groups and
    samples y = A*x* without noise. The pre-activation of an inactive group has at most the norm γB_max κ, because
    ‖A_gᵀA*_h‖₂ ≤ dμ_B + δ; that of an active group has at least B_min(1 − δ) − γB_max κ. The *published* form has
    κ = μ_B + δ, without the d that cancels the 1/d in μ_B: for d > 1 thresholds in it can fail. Both can be empty.

    Arguments:
        block_coherence: μ_B ≥ 0 of either dictionary; see `ae.recovery.block_coherence`.
        closeness: δ ≥ 0; see `ae.recovery.closeness`.
        group_size: d, the columns of a group.
        num_active: γ, at least 1.
        min_norm: B_min, the smallest norm of an active group of the code; positive.
        max_norm: B_max, the largest, at least B_min.
        form: `"sound"` or `"published"`.

    Source: arXiv:2102.07003, Lemma 1 with the thresholds (22)–(23), from Props. 1 (20) and 2 (21); the norms (15).
    """
    check_choice("form", form, ("sound", "published"))
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
    min_norm: Num[ArrayLike, ""],
    max_norm: Num[ArrayLike, ""],
) -> ThresholdInterval:
    """Thresholds that recover the support of every code for two given dictionaries A and A*.

    From the norms `‖A_gᵀA*_h‖₂` of all pairs of groups instead of one bound for all. The pre-activation of an inactive
    group has at most the norm B_max times the sum of its γ largest norms; that of an active group has at least
    `σ_min(A_gᵀA*_g)` B_min minus B_max times the sum of its γ − 1 largest. The interval contains the sound
    `threshold_interval`, has the same arguments and also assumes no noise; groups need not be orthonormal.
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
    # with every group active no inactive one remains
    lower = largest * jnp.max(jnp.sum(largest_leaks, axis=1)) if num_active < num_groups else jnp.zeros_like(largest)
    return ThresholdInterval(lower, jnp.min(smallest * kept - largest * jnp.sum(largest_leaks[:, :-1], axis=1)))
