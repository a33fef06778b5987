"""The expected gradient of the dictionary, the contraction of its error by a step, and its fixed points."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Num, PRNGKeyArray

from aetheory.core.checks import as_float, check_real, fail, static_integer
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.coherence import as_groups, check_pair
from aetheory.group_sparse.dictionaries import Dictionary, DictionaryLike
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.sources.group_sparse import GroupSparseSource

Number = Num[ArrayLike, "*batch"]
Numbers = Float[Array, "*batch"]
Groups = Float[Array, "num_groups input_dim group_size"]
Sums = tuple[Array, Array, Array]


class ExpectedGradient(NamedTuple):
    """Average of ∂L/∂A over fresh samples, and the standard error of each entry."""

    mean: Dictionary
    standard_error: Dictionary


def expected_gradient(
    autoencoder: GroupSparseAutoencoder,
    source: GroupSparseSource,
    key: PRNGKeyArray,
    *,
    num_batches: int = 100,
    batch_size: int = 1000,
) -> ExpectedGradient:
    """Expected gradient E ∂/∂A ½‖y − ŷ‖² over a source of the same dimension, from ≥ 2 batches.

    It averages exact gradients. Works for unfolded autoencoders too; the memory is that of one batch.
    Source: arXiv:2102.07003, the exact gradient (24).
    """
    num_batches, batch_size = static_integer("num_batches", num_batches), static_integer("batch_size", batch_size)
    if num_batches < 2:
        raise fail("num_batches", "at least 2, for the standard error", num_batches)
    if source.input_dim != autoencoder.input_dim:
        raise fail("source", f"of the autoencoder's input dimension, {autoencoder.input_dim}", source.input_dim)

    def accumulate(sums: Sums, batch_key: PRNGKeyArray) -> tuple[Sums, None]:
        count, mean, squares = sums  # Welford's recursion, which avoids cancellation
        new = jax.grad(reconstruction_loss)(autoencoder, source.sample(batch_key, batch_size)).dictionary
        next_mean = mean + (new - mean) / (count + 1)
        return (count + 1, next_mean, squares + (new - mean) * (new - next_mean)), None

    zeros = jnp.zeros_like(autoencoder.dictionary)
    start = (jnp.zeros((), zeros.dtype), zeros, zeros)
    (_, mean, squares), _ = jax.lax.scan(accumulate, start, jax.random.split(key, num_batches))
    return ExpectedGradient(mean, jnp.sqrt(squares / (num_batches * (num_batches - 1))))


def published_gradient(
    dictionary: DictionaryLike,
    reference: DictionaryLike,
    *,
    group_size: int,
    active_probability: Num[ArrayLike, ""],
    shrinkage: Num[ArrayLike, "*groups"],
) -> Dictionary:
    """Leading term of the expected gradient as published, `G_g = τ_g p (2 − τ_g)(A_g − A*_g) A*_gᵀA_g`.

    It assumes E x_i² = 1 for the entries of an active group, and is proportional to that number. The paper adds unnamed
    terms V and ε. It drops the rank-one term (25) of the Jacobian and the force on the norms of the columns (see
    `fixed_point_norm`), so that at A = A* this term is zero and the `expected_gradient` is not.

    Arguments:
        dictionary: A.
        reference: A*, of the same shape.
        group_size: d, the columns of a group; divides latent_dim.
        active_probability: p = γ/Γ, the probability that a group is active.
        shrinkage: τ = 1 − λ/‖A_gᵀy‖ (26) of an active group, one for all groups or of shape (num_groups,).

    Source: arXiv:2102.07003, eqs. (27)–(32), and Theorem 1, eqs. (33)–(34), on the direction.
    """
    learnt, truth = check_pair(dictionary, reference)
    groups, true_groups = as_groups(learnt, group_size), as_groups(truth, group_size)
    for name, value in (("active_probability", active_probability), ("shrinkage", shrinkage)):
        check_real(name, value, "finite and nonnegative", minimum=0.0)
    probability, factor = (as_float(value).astype(learnt.dtype) for value in (active_probability, shrinkage))
    direction = jnp.matmul(groups - true_groups, _alignments(groups, true_groups), precision="highest")
    strength = jnp.broadcast_to(probability * factor * (2 - factor), (len(groups),))
    return jnp.moveaxis(strength[:, None, None] * direction, 0, 1).reshape(learnt.shape)


def alignment_range(dictionary: DictionaryLike, reference: DictionaryLike, group_size: int) -> tuple[Array, Array]:
    """Smallest and largest singular value, α_min and α_max, of A*_gᵀA_g over all groups g.

    Source: arXiv:2102.07003, Theorem 2.
    """
    learnt, truth = (as_groups(one, group_size) for one in check_pair(dictionary, reference))
    values = jnp.linalg.svd(_alignments(learnt, truth), compute_uv=False)
    return jnp.min(values), jnp.max(values)


def _alignments(groups: Groups, true_groups: Groups) -> Float[Array, "num_groups group_size group_size"]:
    """A*_gᵀA_g for every group."""
    return jnp.matmul(jnp.swapaxes(true_groups, 1, 2), groups, precision="highest")


def contraction_factor(
    *,
    step_size: Number,
    shrinkage: Number,
    active_probability: Number,
    alpha_min: Number,
    alpha_max: Number,
    group_size: int,
    closeness: Number = 0.0,
) -> Numbers:
    """Published contraction factor ρ = ητp(2 − τ)(α_min − d(α_max √(d² + 1) + δ)²/α_min).

    The theorem says that ‖A_g − A*_g‖² shrinks by 1 − ρ in each step, up to a small term. But ρ > 0 would need
    α_min² > d(d² + 1) α_max², which no dictionary satisfies: ρ is **never positive**, and the theorem implies no
    contraction. Training contracts nevertheless: see `measured_contraction`.

    Arguments:
        step_size: η, the learning rate of gradient descent; positive.
        shrinkage: τ = 1 − λ/‖z‖ of an active group, in [0, 1].
        active_probability: p = γ/Γ, in [0, 1].
        alpha_min: α_min > 0, the smallest singular value of A*_gᵀA_g; see `alignment_range`.
        alpha_max: α_max ≥ α_min, the largest.
        group_size: d, the columns of a group.
        closeness: δ = max_g ‖A_g − A*_g‖_F.

    Source: arXiv:2102.07003, Theorem 2.
    """
    size = static_integer("group_size", group_size)
    for name, value in (("step_size", step_size), ("alpha_min", alpha_min), ("alpha_max", alpha_max)):
        check_real(name, value, "finite and positive", minimum=0.0, strict=True)
    check_real("closeness", closeness, "finite and nonnegative", minimum=0.0)
    for name, value in (("shrinkage", shrinkage), ("active_probability", active_probability)):
        check_real(name, value, "in [0, 1]", minimum=0.0, maximum=1.0)
    numbers = (step_size, shrinkage, active_probability, alpha_min, alpha_max, closeness)
    eta, tau, probability, low, high, delta = map(as_float, numbers)
    bracket = low - size * (high * math.sqrt(size**2 + 1) + delta) ** 2 / low
    return eta * tau * probability * (2 - tau) * bracket


def measured_contraction(squared_distances: Num[ArrayLike, " records"]) -> Float[Array, " intervals"]:
    """Contraction 1 − e_{k+1}/e_k between records of e = ‖A − A*‖² > 0; negative where e grows."""
    distances = as_float(squared_distances)
    if distances.ndim != 1 or distances.size < 2:
        raise fail("squared_distances", "a vector of at least two records", squared_distances)
    check_real("squared_distances", squared_distances, "finite and positive", minimum=0.0, strict=True)
    return 1 - jnp.divide(distances[1:], distances[:-1])


def neighbourhood_radius(input_dim: int, num_groups: int, contraction: Number) -> Numbers:
    """Squared distance log³n/(Γ²ρ) at which the published recurrence rests; infinite where ρ ≤ 0.

    The recurrence is e ← (1 − ρ)e + log³n/Γ², with its unnamed constant set to 1.
    Source: arXiv:2102.07003, Theorem 2.
    """
    rho = as_float(contraction)
    return jnp.where(rho > 0, neighbourhood_drift(input_dim, num_groups) / jnp.where(rho > 0, rho, 1), jnp.inf)


def neighbourhood_drift(input_dim: int, num_groups: int) -> float:
    """Term log³n/Γ² of Theorem 2 that each step adds to the squared distance, up to a constant."""
    return math.log(static_integer("input_dim", input_dim)) ** 3 / static_integer("num_groups", num_groups) ** 2


def fixed_point_norm(threshold: Number, code_norm: Number) -> Numbers:
    """Column norm s = λ/(2‖x‖) + √(1 + λ²/(4‖x‖²)) at the end of training, λ ≥ 0, ‖x‖ > 0.

    At s the reconstruction undoes the shrinkage, s²(1 − λ/(s‖x‖)) = 1, with ‖x‖ the norm of an active group of the
    code. Training with free column norms leads there, because the cost (13) has no penalty.
    Source: derived here from the encoder (11) and decoder (12) of arXiv:2102.07003, which fixes the norms at 1.
    """
    check_real("threshold", threshold, "finite and nonnegative", minimum=0.0)
    check_real("code_norm", code_norm, "finite and positive", minimum=0.0, strict=True)
    half = as_float(threshold) / as_float(code_norm) / 2
    return half + jnp.sqrt(1 + half**2)
