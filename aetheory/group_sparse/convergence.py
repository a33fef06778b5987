"""What a gradient step does to the dictionary: expected gradient, contraction, fixed points."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num, PRNGKeyArray
from jaxtyping import ArrayLike as AnyArrayLike

from aetheory.core.checks import as_float, check_real, fail, static_integer
from aetheory.core.reconstruction import reconstruction_loss
from aetheory.group_sparse.coherence import as_groups, check_pair
from aetheory.group_sparse.network import GroupSparseAutoencoder
from aetheory.sources.group_sparse import GroupSparseSource


class ExpectedGradient(NamedTuple):
    """An average of gradients over fresh samples.

    Attributes:
        mean: ∂L/∂A, shape (input_dim, latent_dim).
        standard_error: of each entry of the mean, from the spread between batches.
    """

    mean: Float[Array, "input_dim latent_dim"]
    standard_error: Float[Array, "input_dim latent_dim"]


def expected_gradient(
    autoencoder: GroupSparseAutoencoder,
    source: GroupSparseSource,
    key: PRNGKeyArray,
    *,
    num_batches: int = 100,
    batch_size: int = 1000,
) -> ExpectedGradient:
    """E ∂/∂A ½‖y − ŷ‖² over the source, by averaging exact gradients, rank-one terms included.

    Memory is that of one batch.

    Arguments:
        autoencoder: any group-sparse autoencoder, unfolded ones too.
        source: where the samples come from, of the same input dimension.
        key: the random key.
        num_batches: how many batches, at least 2.
        batch_size: samples in a batch.

    Raises:
        ValueError: dimensions that differ, or a number that is not a positive integer.

    Source: arXiv:2102.07003, the exact gradient (24).
    """
    num_batches, batch_size = static_integer("num_batches", num_batches), static_integer("batch_size", batch_size)
    if num_batches < 2:
        raise fail("num_batches", "at least 2, for the standard error", num_batches)
    if source.input_dim != autoencoder.input_dim:
        raise ValueError(
            f"Argument `source` must have the autoencoder's input dimension, {autoencoder.input_dim}, "
            f"but has {source.input_dim}."
        )

    def accumulate(
        sums: tuple[Array, Array, Array], batch_key: PRNGKeyArray
    ) -> tuple[tuple[Array, Array, Array], None]:
        count, mean, squares = sums  # Welford's recursion, which does not cancel
        new = jax.grad(reconstruction_loss)(autoencoder, source.sample(batch_key, batch_size)).dictionary
        count = count + 1
        next_mean = mean + (new - mean) / count
        return (count, next_mean, squares + (new - mean) * (new - next_mean)), None

    zeros = jnp.zeros_like(autoencoder.dictionary)
    start = (jnp.zeros((), zeros.dtype), zeros, zeros)
    (_, mean, squares), _ = jax.lax.scan(accumulate, start, jax.random.split(key, num_batches))
    return ExpectedGradient(mean, jnp.sqrt(squares / (num_batches * (num_batches - 1))))


def published_gradient(
    dictionary: Float[AnyArrayLike, "input_dim latent_dim"],
    reference: Float[AnyArrayLike, "..."],
    *,
    group_size: int,
    active_probability: Num[AnyArrayLike, ""],
    shrinkage: Num[AnyArrayLike, "*groups"],
) -> Float[Array, "input_dim latent_dim"]:
    """The leading term of the expected gradient as published, `G_g = τ_g p (2 − τ_g)(A_g − A*_g) A*_gᵀA_g`.

    For entries of an active group with E x_i² = 1, to which it is proportional. The paper adds unnamed terms V and ε.
    It drops the rank-one term (25) of the Jacobian and what pulls the norms of the columns away from 1 (see
    `fixed_point_norm`), so that at A = A* this term is zero and the expected gradient is not.

    Arguments:
        dictionary: A, shape (input_dim, latent_dim).
        reference: A*, of the same shape.
        group_size: d, the columns of a group.
        active_probability: p = γ/Γ, the probability that a group is active.
        shrinkage: τ = 1 − λ/‖A_gᵀy‖ of an active group, eq. (26); one for all groups or of shape (num_groups,).

    Raises:
        ValueError: shapes that differ, or a number out of its range.

    Source: arXiv:2102.07003, the expected gradient (28)–(32) of the approximate one (27), and Theorem 1, eqs.
    (33)–(34), on its direction; compare `expected_gradient`.
    """
    learnt, truth = check_pair(dictionary, reference)
    groups, true_groups = as_groups(learnt, group_size), as_groups(truth, group_size)
    check_real("active_probability", active_probability, "finite and nonnegative", minimum=0.0)
    check_real("shrinkage", shrinkage, "finite and nonnegative", minimum=0.0)
    probability, factor = (as_float(value).astype(learnt.dtype) for value in (active_probability, shrinkage))
    direction = jnp.matmul(groups - true_groups, _alignments(groups, true_groups), precision="highest")
    strength = jnp.broadcast_to(probability * factor * (2 - factor), (len(groups),))
    return jnp.moveaxis(strength[:, None, None] * direction, 0, 1).reshape(learnt.shape)


def alignment_range(
    dictionary: Float[AnyArrayLike, "input_dim latent_dim"],
    reference: Float[AnyArrayLike, "..."],
    group_size: int,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """α_min and α_max, the extreme singular values of A*_gᵀA_g over all groups g.

    Raises:
        ValueError: shapes that differ, or a group size that does not divide latent_dim.

    Source: arXiv:2102.07003, Theorem 2.
    """
    learnt, truth = check_pair(dictionary, reference)
    products = _alignments(as_groups(learnt, group_size), as_groups(truth, group_size))
    values = jnp.linalg.svd(products, compute_uv=False)
    return jnp.min(values), jnp.max(values)


def contraction_factor(
    *,
    step_size: Num[AnyArrayLike, "*batch"],
    shrinkage: Num[AnyArrayLike, "*batch"],
    active_probability: Num[AnyArrayLike, "*batch"],
    alpha_min: Num[AnyArrayLike, "*batch"],
    alpha_max: Num[AnyArrayLike, "*batch"],
    group_size: int,
    closeness: Num[AnyArrayLike, "*batch"] = 0.0,
) -> Float[Array, "*batch"]:
    """ρ = ητp(2 − τ)(α_min − d(α_max √(d² + 1) + δ)²/α_min), as published.

    The theorem says ‖A_g − A*_g‖² shrinks by 1 − ρ in each step, up to a small term. But ρ > 0 would need
    α_min² > d(d² + 1) α_max², which no dictionary satisfies: ρ is **never positive**, and the theorem promises no
    contraction. Training contracts nevertheless: see `measured_contraction`.

    Arguments:
        step_size: η, the learning rate of gradient descent; positive.
        shrinkage: τ = 1 − λ/‖z‖ of an active group, in [0, 1].
        active_probability: p = γ/Γ, in [0, 1].
        alpha_min: α_min > 0, the smallest singular value of A*_gᵀA_g; see `alignment_range`.
        alpha_max: α_max ≥ α_min, the largest.
        group_size: d.
        closeness: δ = max_g ‖A_g − A*_g‖_F.

    Raises:
        ValueError: an argument is out of its range.

    Source: arXiv:2102.07003, Theorem 2.
    """
    size = static_integer("group_size", group_size)
    for name, value in (("step_size", step_size), ("alpha_min", alpha_min), ("alpha_max", alpha_max)):
        check_real(name, value, "finite and positive", minimum=0.0, strict=True)
    check_real("closeness", closeness, "finite and nonnegative", minimum=0.0)
    for name, value in (("shrinkage", shrinkage), ("active_probability", active_probability)):
        check_real(name, value, "in [0, 1]", minimum=0.0)
        check_real(name, 1 - value, "in [0, 1]", minimum=0.0)
    eta, tau, probability, low, high, delta = map(
        as_float, (step_size, shrinkage, active_probability, alpha_min, alpha_max, closeness)
    )
    bracket = low - size * (high * math.sqrt(size**2 + 1) + delta) ** 2 / low
    return eta * tau * probability * (2 - tau) * bracket


def measured_contraction(squared_distances: Num[AnyArrayLike, " records"]) -> Float[Array, " intervals"]:
    """1 − e_{k+1}/e_k between records of e = ‖A − A*‖²: what ρ is to be compared with. Negative where e grows.

    Raises:
        ValueError: fewer than two records, or one that is not positive.
    """
    distances = as_float(squared_distances)
    if distances.ndim != 1 or distances.size < 2:
        raise fail("squared_distances", "a vector of at least two records", squared_distances)
    check_real("squared_distances", squared_distances, "finite and positive", minimum=0.0, strict=True)
    kept: Array = distances[1:] / distances[:-1]
    return 1 - kept


def neighbourhood_radius(
    input_dim: int, num_groups: int, contraction: Num[AnyArrayLike, "*batch"]
) -> Float[Array, "*batch"]:
    """log³n/(Γ²ρ), the squared distance at which e ← (1 − ρ)e + log³n/Γ² rests; infinite where ρ ≤ 0.

    The published order of magnitude, its unnamed constant taken to be 1.

    Raises:
        ValueError: a dimension that is not a positive integer.

    Source: arXiv:2102.07003, Theorem 2.
    """
    rho = as_float(contraction)
    return jnp.where(rho > 0, neighbourhood_drift(input_dim, num_groups) / jnp.where(rho > 0, rho, 1), jnp.inf)


def neighbourhood_drift(input_dim: int, num_groups: int) -> float:
    """log³n/Γ², what the published theorem adds to a squared distance in each step, up to a constant.

    Source: arXiv:2102.07003, Theorem 2.
    """
    return math.log(static_integer("input_dim", input_dim)) ** 3 / static_integer("num_groups", num_groups) ** 2


def fixed_point_norm(
    threshold: Num[AnyArrayLike, "*batch"], code_norm: Num[AnyArrayLike, "*batch"]
) -> Float[Array, "*batch"]:
    """The column norm s at which one step reconstructs without shrinkage: s²(1 − λ/(s‖x‖)) = 1.

    Training with free column norms moves them there, for the cost (13) has no penalty:
    s = λ/(2‖x‖) + √(1 + λ²/(4‖x‖²)).

    Arguments:
        threshold: λ ≥ 0.
        code_norm: ‖x_g‖ > 0, the norm of an active group of the code.

    Raises:
        ValueError: an argument is out of its range.

    Source: derived here from the encoder (11) and decoder (12) of arXiv:2102.07003, which fixes the norms at 1.
    """
    check_real("threshold", threshold, "finite and nonnegative", minimum=0.0)
    check_real("code_norm", code_norm, "finite and positive", minimum=0.0, strict=True)
    half = as_float(threshold) / as_float(code_norm) / 2
    return half + jnp.sqrt(1 + half**2)


def _alignments(
    groups: Float[Array, "num_groups input_dim group_size"],
    true_groups: Float[Array, "num_groups input_dim group_size"],
) -> Float[Array, "num_groups group_size group_size"]:
    """A*_gᵀA_g for every group."""
    return jnp.matmul(jnp.swapaxes(true_groups, 1, 2), groups, precision="highest")
