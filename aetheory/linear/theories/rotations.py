"""Finite matrices with the limiting spectra of M(0) and S, one rotated at random against the other.

Two matrices become free as their size grows when one is rotated at random: this closes the hierarchy of mixed moments
at no depth, so that, unlike truncated path space, it stays accurate at late times, where directions that S or M
annihilates decide the risk. What remains is of order 1/size.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.linear.flow import Ensemble
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, free_poisson, square_root


def rotated(
    key: PRNGKeyArray,
    size: int,
    init_scale: Float[Array, ""],
    latent_ratio: Float[Array, ""],
    sample_ratio: Float[Array, ""],
    ranks: Float[Array, " two"],
    *,
    target_free: bool = False,
) -> Ensemble:
    """M(0) = U diag(λ) Uᵀ and S = diag(s): equal shares of the two Marchenko–Pastur laws, U a random rotation.

    Arguments:
        key: draws U from the Haar measure on the orthogonal group.
        size: number of rows of both matrices.
        init_scale: x = pσ².
        latent_ratio: y = H/p.
        sample_ratio: z = p/N.
        ranks: how many eigenvalues of M(0) and of S are not 0; whole numbers near size·min(1, y) and
            size·min(1, 1/z).
        target_free: leave out the target I.

    Source: D. Voiculescu, "Limit laws for random matrices and free products", Invent. Math. 104 (1991).
    """
    dtype = init_scale.dtype
    eigenvalues = free_poisson(latent_ratio, init_scale).shares(size, ranks[0])
    spectrum = MarchenkoPastur(sample_ratio).shares(size, ranks[1])
    rotation = jax.random.orthogonal(key, size, dtype=dtype)
    offset = jnp.full((), 0.0 if target_free else 1.0, dtype)
    return Ensemble(
        weights=rotation * square_root(eigenvalues)[None, :],
        spectrum=spectrum,
        scale=jnp.asarray(1 / size, dtype),
        train_offset=offset * jnp.mean(spectrum),
        population_offset=offset,
        target_free=target_free,
    )
