"""Random ensembles: what a simulation draws.

The reductions change no law, only the cost (rotation invariance of the Gaussian, LQ
decomposition of W, Bartlett's factor of the rows that the data never sees).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.linear.data import DataCovariance
from aetheory.linear.flow import Bidiagonal, Ensemble
from aetheory.spectra.marchenko_pastur import square_root
from aetheory.spectra.sampling import sample_bartlett_factor, sample_laguerre_factor


class Reduction(NamedTuple):
    """The shapes and the kind of a random draw: all that a compiled program depends on.

    Arguments:
        rank: rows of W in the range of S.
        outside: rows of W outside it; all of them, or those of the factor that replaces them.
        columns: min(p, H).
        latent_factor: H ≥ p, and W = L Q is cut to L.
        outside_factor: more than H rows lie outside, and an H × H factor replaces them.
        population: S = I.
        follow_map: the flow follows M = W Wᵀ in place of W.
        tied: otherwise W₂ and W₁ are drawn, of all rows and all H columns.
    """

    rank: int
    outside: int
    columns: int
    latent_factor: bool
    outside_factor: bool
    population: bool
    follow_map: bool = False
    tied: bool = True

    @property
    def size(self) -> int:
        """Entries of the weights."""
        return (self.rank + self.outside) * self.columns * (1 if self.tied else 2)

    @property
    def flops(self) -> int:
        """Of the matrix products in one evaluation of the vector field, by the grouping that it chooses."""
        rank, rows, columns = self.rank, self.rank + self.outside, self.columns
        if not self.tied:
            return 7 * columns**2 * rows
        if self.follow_map:
            return 2 * rank * rows * (2 * rows - rank)
        if rank == rows and 5 * columns > 3 * rows:
            return 3 * columns * rows**2
        return min(3 * columns**2 * (rows + rank), 6 * columns * rows * rank)


class Dimensions(NamedTuple):
    """p, H and N as they enter a reduced draw: degrees of freedom and normalisations, which may be traced."""

    input_dim: Float[Array, ""]
    latent_dim: Float[Array, ""]
    num_samples: Float[Array, ""]


_SMALLEST_FOLLOWED_MAP = 32
"""Below, the smallest eigenvalue of a random M varies much, and may by chance be within the solver's error of 0."""


def reduction(
    input_dim: int, latent_dim: int, num_samples: int | float, rank: int | None = None, tied: bool = True
) -> Reduction:
    """The law-exact reduction of a problem; `rank` overrides the min(p, N) nonzero eigenvalues of S."""
    rank = min(input_dim, int(min(num_samples, input_dim))) if rank is None else rank
    if not tied:
        return Reduction(rank, input_dim - rank, latent_dim, False, False, math.isinf(num_samples), tied=False)
    latent_factor = latent_dim >= input_dim
    outside_factor = not latent_factor and input_dim - rank > latent_dim
    return Reduction(
        rank=rank,
        outside=latent_dim if outside_factor else input_dim - rank,
        columns=min(input_dim, latent_dim),
        latent_factor=latent_factor,
        outside_factor=outside_factor,
        population=math.isinf(num_samples),
        # M costs half as much to follow as W (2.03 times as fast at p = N = 400), but an eigenvalue that an error of
        # the solver makes negative would diverge: the smallest is (√(H/p) − 1)² x > .05 x at time 0
        follow_map=2 * latent_dim >= 3 * input_dim and input_dim >= _SMALLEST_FOLLOWED_MAP,
    )


def gaussian(key: PRNGKeyArray, dimensions: Dimensions, shapes: Reduction, init_variance: Float[Array, ""]) -> Ensemble:
    """One draw of Gaussian weights and of the spectrum of S for Gaussian data; S = I when N is infinite.

    Neither the data nor more than min(p, N + H) × min(p, H) weights are formed.
    """
    key_data, key_weights = jax.random.split(key)
    if shapes.population:
        data = DataCovariance(jnp.ones(shapes.rank, init_variance.dtype))
    else:
        # the weights have the same law in every basis: in this one S is tridiagonal, and nothing is diagonalised
        degrees = jnp.maximum(dimensions.input_dim, dimensions.num_samples)
        chi = sample_laguerre_factor(key_data, shapes.rank, degrees)
        diagonal, below = (values / jnp.sqrt(dimensions.num_samples) for values in chi)
        spectrum = (diagonal**2).at[1:].add(below**2)
        data = DataCovariance(spectrum, factor=Bidiagonal(diagonal, below))
    return gaussian_weights(key_weights, data, dimensions, shapes, init_variance)


def gaussian_weights(
    key: PRNGKeyArray,
    data: DataCovariance,
    dimensions: Dimensions,
    shapes: Reduction,
    init_variance: Float[Array, ""],
) -> Ensemble:
    """One draw of Gaussian weights in the basis of a given covariance."""
    weights = square_root(init_variance) * _standard_weights(key, dimensions, shapes)
    population_trace = dimensions.input_dim if data.held_out is None else jnp.trace(data.held_out)
    return _ensemble(weights, data, population_trace, dimensions, shapes)


def _ensemble(
    weights: Float[Array, "*factors rows columns"],
    data: DataCovariance,
    population_trace: Float[Array, ""],
    dimensions: Dimensions,
    shapes: Reduction,
) -> Ensemble:
    input_dim, factor = dimensions.input_dim, data.factor
    return Ensemble(
        weights=weights,
        spectrum=data.spectrum,
        scale=1 / input_dim,
        train_offset=jnp.sum(data.spectrum) / input_dim,
        population_offset=population_trace / input_dim,
        population_covariance=data.held_out,
        coupling=None if factor is None else factor.diagonal[:-1] * factor.below,
        factor=factor,
        follow_map=shapes.follow_map,
        tied=shapes.tied,
    )


def general(
    key: PRNGKeyArray,
    variances: Float[Array, " input_dim"],
    dimensions: Dimensions,
    shapes: Reduction,
    init_variance: Float[Array, ""],
) -> Ensemble:
    """One draw of Gaussian weights and of S for samples of these population variances τ, in the eigenbasis of S.

    The law of the weights is the same in every basis, so that only the eigenvalues of Σ matter.
    """
    key_data, key_weights = jax.random.split(key)
    deviation = square_root(init_variance)
    if shapes.outside_factor:  # the flow never leaves the span of samples and weights: N + H rows in place of p
        spectrum, basis = _sampled(key_data, variances, dimensions, shapes)
        weights = deviation * jax.random.normal(key_weights, (len(variances), shapes.columns), variances.dtype)
        inside = basis.T @ weights
        beside, outside = jnp.linalg.qr(weights - basis @ inside)
        weights, basis = jnp.concatenate([inside, outside]), jnp.concatenate([basis, beside], axis=1)
        seen = basis.T @ (variances[:, None] * basis)
    else:
        weights = deviation * _standard_weights(key_weights, dimensions, shapes)
        spectrum, seen = variances, jnp.diag(variances)
        if not shapes.population:
            spectrum, basis = _sampled(key_data, variances, dimensions, shapes)
            seen = basis.T @ (variances[:, None] * basis)
    return _ensemble(weights, DataCovariance(spectrum, seen), jnp.sum(variances), dimensions, shapes)


def _sampled(
    key: PRNGKeyArray, variances: Float[Array, " input_dim"], dimensions: Dimensions, shapes: Reduction
) -> tuple[Float[Array, " rank"], Float[Array, "input_dim columns"]]:
    """The nonzero eigenvalues of a draw of S = T G Gᵀ T/N, T² = diag τ, and its eigenvectors; those of 0 last, or none.

    For N ≥ p the triangular Bartlett factor stands for the samples G.
    """
    dim, rank = len(variances), shapes.rank
    if rank == dim:
        samples = sample_bartlett_factor(key, dim, dimensions.num_samples)
    else:
        samples = jax.random.normal(key, (dim, rank), variances.dtype)
    samples = jnp.sqrt(variances)[:, None] * samples / jnp.sqrt(dimensions.num_samples)
    if not shapes.outside_factor:
        spectrum, basis = jnp.linalg.eigh(samples @ samples.T)
        return jnp.maximum(spectrum[::-1][:rank], 0), basis[:, ::-1]
    within, triangle = jnp.linalg.qr(samples)
    spectrum, turned = jnp.linalg.eigh(triangle @ triangle.T)
    return jnp.maximum(spectrum, 0), within @ turned


def _standard_weights(
    key: PRNGKeyArray, dimensions: Dimensions, shapes: Reduction
) -> Float[Array, "*factors rows columns"]:
    input_dim, latent_dim, _ = dimensions
    if not shapes.tied:
        return jax.random.normal(key, (2, shapes.rank + shapes.outside, shapes.columns), input_dim.dtype)
    if shapes.latent_factor:  # W = L Q, and the flow never moves Q
        return sample_bartlett_factor(key, shapes.columns, latent_dim)
    if not shapes.outside_factor:
        return jax.random.normal(key, (shapes.rank + shapes.outside, shapes.columns), input_dim.dtype)
    # The rows B outside the range of S enter through BᵀB only, and that is Wishart.
    key_inside, key_outside = jax.random.split(key)
    inside = jax.random.normal(key_inside, (shapes.rank, shapes.columns), input_dim.dtype)
    return jnp.concatenate([inside, sample_bartlett_factor(key_outside, shapes.columns, input_dim - shapes.rank).T])
