"""Random ensembles: what a simulation draws.

The reductions change no law, only the cost (rotation invariance of the Gaussian, LQ
decomposition of W, Bartlett's factor of the rows that the data never sees).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from aetheory.linear.data import DataCovariance
from aetheory.linear.flow import Bidiagonal, Ensemble, Padding
from aetheory.spectra.marchenko_pastur import square_root
from aetheory.spectra.sampling import sample_bartlett_factor, sample_laguerre_factor, sample_padded_normal


class Reduction(NamedTuple):
    """The shapes and the kind of a random draw: all that a compiled program depends on.

    Arguments:
        rank: rows of W in the range of S.
        outside: rows of W outside it; all of them, or those of the factor that replaces them.
        columns: min(p, H).
        latent_factor: H ≥ p, and W = L Q is cut to L.
        outside_factor: more than H rows lie outside, and an H × H factor replaces them.
        population: S = I.
        padded: rank, outside and columns are upper bounds, and zeros fill what a smaller problem leaves of them.
        follow_map: the flow follows M = W Wᵀ in place of W.
    """

    rank: int
    outside: int
    columns: int
    latent_factor: bool
    outside_factor: bool
    population: bool
    padded: bool = False
    follow_map: bool = False

    @property
    def size(self) -> int:
        """Entries of the weights."""
        return (self.rank + self.outside) * self.columns

    @property
    def flops(self) -> int:
        """Of the matrix products in one evaluation of the vector field, by the grouping that it chooses."""
        rank, rows, columns = self.rank, self.rank + self.outside, self.columns
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


def reduction(input_dim: int, latent_dim: int, num_samples: int | float, rank: int | None = None) -> Reduction:
    """The law-exact reduction of a problem; `rank` overrides the min(p, N) nonzero eigenvalues of S."""
    rank = min(input_dim, int(min(num_samples, input_dim))) if rank is None else rank
    latent_factor = latent_dim >= input_dim
    outside_factor = not latent_factor and input_dim - rank > latent_dim
    return Reduction(
        rank=rank,
        outside=latent_dim if outside_factor else input_dim - rank,
        columns=min(input_dim, latent_dim),
        latent_factor=latent_factor,
        outside_factor=outside_factor,
        population=math.isinf(num_samples),
        # M costs less to follow than W, but an eigenvalue that an error of the solver makes negative would diverge:
        # the smallest is (√(H/p) − 1)² x > .05 x at time 0
        follow_map=2 * latent_dim >= 3 * input_dim and input_dim >= _SMALLEST_FOLLOWED_MAP,
    )


def gaussian(key: PRNGKeyArray, dimensions: Dimensions, shapes: Reduction, init_variance: Float[Array, ""]) -> Ensemble:
    """One draw of Gaussian weights and of the spectrum of S for Gaussian data; S = I when N is infinite.

    Neither the data nor more than min(p, N + H) × min(p, H) weights are formed.
    """
    key_data, key_weights = jax.random.split(key)
    rank = _active(dimensions, shapes)[0]
    if shapes.population:
        data = DataCovariance((jnp.arange(shapes.rank, dtype=rank.dtype) < rank).astype(init_variance.dtype))
    else:
        # the weights have the same law in every basis: in this one S is tridiagonal, and nothing is diagonalised
        degrees = jnp.maximum(dimensions.input_dim, dimensions.num_samples)
        chi = sample_laguerre_factor(key_data, shapes.rank, degrees, rank if shapes.padded else None)
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
    input_dim = dimensions.input_dim
    population_trace = input_dim if data.held_out is None else jnp.trace(data.held_out)
    return Ensemble(
        weights=square_root(init_variance) * _standard_weights(key, dimensions, shapes),
        spectrum=data.spectrum,
        scale=1 / input_dim,
        train_offset=jnp.sum(data.spectrum) / input_dim,
        population_offset=population_trace / input_dim,
        population_covariance=data.held_out,
        coupling=None if data.factor is None else data.factor.diagonal[:-1] * data.factor.below,
        factor=data.factor,
        padding=_padding(dimensions, shapes) if shapes.padded else None,
        follow_map=shapes.follow_map,
    )


def _active(dimensions: Dimensions, shapes: Reduction) -> tuple[Float[Array, ""], Float[Array, ""], Float[Array, ""]]:
    """The rank, outside and columns of this draw, at most those of a padded `shapes`."""
    input_dim, latent_dim, num_samples = dimensions
    rank = jnp.minimum(input_dim, num_samples)
    outside = input_dim - rank
    # of full rank, within the shape of problems that are not, none are outside
    outside = jnp.minimum(outside, latent_dim) if shapes.outside_factor else outside
    return rank, outside, jnp.minimum(input_dim, latent_dim)


def _padding(dimensions: Dimensions, shapes: Reduction) -> Padding:
    rank, outside, columns = _active(dimensions, shapes)
    _, active = _rows(rank, outside, shapes)
    return Padding(active.astype(rank.dtype), (rank + outside) * columns)


def _standard_weights(key: PRNGKeyArray, dimensions: Dimensions, shapes: Reduction) -> Float[Array, "rows columns"]:
    input_dim, latent_dim, _ = dimensions
    rank, outside, columns = _active(dimensions, shapes)
    known = columns if shapes.padded else None
    if shapes.latent_factor:  # W = L Q, and the flow never moves Q
        factor = sample_bartlett_factor(key, shapes.columns, latent_dim, known)
        if not shapes.padded:
            return factor
        number, active = _rows(rank, outside, shapes)
        return jnp.where(
            active[:, None], factor.at[number.astype(jnp.int32)].get(mode="clip"), jnp.zeros((), factor.dtype)
        )
    if not shapes.outside_factor:
        return _normal(key, rank, outside, columns, shapes)
    # The rows B outside the range of S enter through BᵀB only, and that is Wishart.
    key_inside, key_outside = jax.random.split(key)
    if shapes.padded:
        known = outside
        key_inside = jnp.where(outside > 0, key_inside, key)  # without such rows, the draw is that of its own shape
    inside = _normal(key_inside, rank, jnp.zeros_like(outside), columns, shapes._replace(outside=0))
    factor = sample_bartlett_factor(key_outside, shapes.columns, input_dim - rank, known)
    return jnp.concatenate([inside, factor.T])


def _normal(
    key: PRNGKeyArray,
    rank: Float[Array, ""],
    outside: Float[Array, ""],
    columns: Float[Array, ""],
    shapes: Reduction,
) -> Float[Array, "rows columns"]:
    if not shapes.padded:
        return jax.random.normal(key, (shapes.rank + shapes.outside, shapes.columns), rank.dtype)
    column = jnp.arange(shapes.columns, dtype=rank.dtype)
    return sample_padded_normal(key, *_rows(rank, outside, shapes), column, column < columns)


def _rows(
    rank: Float[Array, ""], outside: Float[Array, ""], shapes: Reduction
) -> tuple[Float[Array, " rows"], Bool[Array, " rows"]]:
    """The number of each padded row among the active ones, and which rows are active."""
    inside_row = jnp.arange(shapes.rank, dtype=rank.dtype)
    outside_row = jnp.arange(shapes.outside, dtype=rank.dtype)
    number = jnp.concatenate([inside_row, rank + outside_row])
    return number, jnp.concatenate([inside_row < rank, outside_row < outside])
