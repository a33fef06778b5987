"""Random and deterministic ensembles: what a simulation draws and what each limit puts in its place.

The reductions of the random ones change no law, only the cost (rotation invariance of the Gaussian, LQ
decomposition of W, Bartlett's factor of the rows that the data never sees). Source of the regimes: E. Golikov,
Y. Gusev, D. Yarotsky, arXiv:2606.05335.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from aetheory.core.checks import check_samples, fail, is_concrete, static_integer
from aetheory.linear.flow import Bidiagonal, Ensemble
from aetheory.linear.problem import LinearProblem
from aetheory.spectra.marchenko_pastur import Quadrature, free_poisson, square_root
from aetheory.spectra.sampling import sample_bartlett_factor, sample_laguerre_factor


class DataCovariance(eqx.Module):
    """What the flow needs of a data set: the spectrum of its covariance, and what is measured beside it.

    Arguments:
        spectrum: eigenvalues of S, shape (rank,); without `held_out` only the min(N, p) that can be nonzero.
        held_out: covariance of other samples in the eigenbasis of S, shape (p, p) with rank = p; `None` to measure
            the population risk on isotropic inputs of unit variance instead.
        factor: where S is tridiagonal rather than diagonal, with `spectrum` its diagonal: the bidiagonal B of S = B Bᵀ.
    """

    spectrum: Float[Array, " rank"]
    held_out: Float[Array, "rank rank"] | None = None
    factor: Bidiagonal | None = None


@eqx.filter_jit
def data_covariance(
    samples: Float[Array, "samples dim"], held_out: Float[Array, "held_out dim"] | None = None
) -> DataCovariance:
    """Centre `samples`, and diagonalise their covariance S = Σ x xᵀ/N; `held_out` is centred by the same mean."""
    mean = jnp.mean(samples, axis=0, keepdims=True)
    centred = samples - mean
    num_samples, dim = samples.shape
    with jax.default_matmul_precision("highest"):
        if held_out is None:
            gram = centred.T @ centred if dim <= num_samples else centred @ centred.T
            return DataCovariance(jnp.maximum(jnp.linalg.eigvalsh(gram / num_samples), 0))
        spectrum, basis = jnp.linalg.eigh(centred.T @ centred / num_samples)
        projected = (held_out - mean) @ basis
        covariance = projected.T @ projected / held_out.shape[0]
    return DataCovariance(jnp.maximum(spectrum, 0), covariance)


def check_data(problem: LinearProblem, data: Any, held_out: Any) -> DataCovariance:
    """The covariance of `data`, once the arguments are known to fit the problem and each other.

    Raises:
        ValueError: wrong rank, NaN, or a shape other than (problem.num_samples, problem.input_dim).
    """
    input_dim = static_integer("input_dim", problem.input_dim)
    samples = check_samples("data", data, input_dim)
    if not is_concrete(problem.num_samples) or problem.num_samples != samples.shape[0]:
        raise fail("num_samples", f"{samples.shape[0]}, the number of rows of `data`", problem.num_samples)
    return data_covariance(samples, None if held_out is None else check_samples("held_out", held_out, input_dim))


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
    """

    rank: int
    outside: int
    columns: int
    latent_factor: bool
    outside_factor: bool
    population: bool
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
        # M costs half as much to follow as W (2.03 times as fast at p = N = 400, H = 800), but an eigenvalue that an
        # error of the solver makes negative would diverge: the smallest is (√(H/p) − 1)² x > .05 x at time 0
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
        follow_map=shapes.follow_map,
    )


def _standard_weights(key: PRNGKeyArray, dimensions: Dimensions, shapes: Reduction) -> Float[Array, "rows columns"]:
    input_dim, latent_dim, _ = dimensions
    if shapes.latent_factor:  # W = L Q, and the flow never moves Q
        return sample_bartlett_factor(key, shapes.columns, latent_dim)
    if not shapes.outside_factor:
        return jax.random.normal(key, (shapes.rank + shapes.outside, shapes.columns), input_dim.dtype)
    # The rows B outside the range of S enter through BᵀB only, and that is Wishart.
    key_inside, key_outside = jax.random.split(key)
    inside = jax.random.normal(key_inside, (shapes.rank, shapes.columns), input_dim.dtype)
    return jnp.concatenate([inside, sample_bartlett_factor(key_outside, shapes.columns, input_dim - shapes.rank).T])


def large_data(eigenvalues: Quadrature) -> Ensemble:
    """N/p → ∞, S = I: every eigenvalue of M moves alone, λ̇ = −4λ(λ−1).

    Arguments:
        eigenvalues: a quadrature of the law of the eigenvalues of M(0).
    """
    return _decoupled(eigenvalues.nodes, jnp.ones_like(eigenvalues.nodes), eigenvalues.weights)


def mean_field(
    init_strength: Float[Array, ""], law: Quadrature, held_out: Float[Array, " nodes"] | None = None
) -> Ensemble:
    """H/p → ∞: M(0) = c I, so M stays a function of S.

    Arguments:
        init_strength: c = Hσ².
        law: the spectrum of S, as a quadrature or as a data set's own eigenvalues.
        held_out: variance of other samples along each eigenvector of S; `None` for 1.
    """
    return _decoupled(jnp.full_like(law.nodes, init_strength), law.nodes, law.weights, held_out)


def narrow_latent(
    init_scale: Float[Array, ""], latent_ratio: Float[Array, ""], law: Quadrature, *, target_free: bool = False
) -> Ensemble:
    """H/p → 0: the columns of W do not feel each other, and each is spread over the spectrum of S alike.

    One column w with w_i² = x·weights_i on S = diag(nodes) gives the paper's two-dimensional equation for
    (a, b) = (|w|², wᵀSw); the risks are those of y independent columns per input dimension. Without the target it
    is the edge narrow-latent ∩ free, where e^{−2B} = φ(A) = ∫ e^{2sA} dμ and one equation remains, Ȧ = −xφ(A)².
    """
    target = 0.0 if target_free else 1.0
    return Ensemble(
        weights=(square_root(init_scale) * square_root(law.weights))[:, None],
        spectrum=law.nodes,
        scale=latent_ratio,
        train_offset=target * (law.weights @ law.nodes),
        population_offset=target * jnp.sum(law.weights),
        target_free=target_free,
    )


def small_data(
    init_scale: Float[Array, ""],
    latent_ratio: Float[Array, ""],
    sample_ratio: Float[Array, ""],
    num_nodes: int,
    *,
    target_free: bool = False,
) -> Ensemble:
    """N/p → 0: each sample moves M on the Krylov space of its own direction e₀, where S = (p/N) e₀e₀ᵀ.

    M(0) is the Jacobi matrix of its spectral law and W(0) the bidiagonal factor of that. Each of the N samples adds
    1/p of its own block's traces to both risks, that is N/p blocks' worth in all; the population risk starts from
    (1/p) E‖M(0) − I‖² = 1 − 2xy + x²y(1 + y), or x²y(1 + y) without the target, on the edge small-data ∩ free.
    """
    target = 0.0 if target_free else 1.0
    law = free_poisson(latent_ratio, init_scale)
    weights = law.factor(num_nodes)
    start = target - 2 * target * init_scale * latent_ratio + init_scale**2 * latent_ratio * (1 + latent_ratio)
    initial_map = weights @ weights.T
    moved = jnp.sum(initial_map**2) - 2 * target * jnp.trace(initial_map)
    return Ensemble(
        weights=weights,
        spectrum=jnp.ones(1, weights.dtype) * sample_ratio,
        scale=1 / sample_ratio,
        train_offset=jnp.full((), target, weights.dtype),
        population_offset=start - moved / sample_ratio,
        target_free=target_free,
    )


def _decoupled(
    initial: Float[Array, " nodes"],
    spectrum: Float[Array, " nodes"],
    weights: Float[Array, " nodes"],
    held_out: Float[Array, " nodes"] | None = None,
) -> Ensemble:
    """A 1 × 1 block for each node, with M(0) = `initial` and S = `spectrum` there."""
    return Ensemble(
        weights=square_root(initial)[:, None, None],
        spectrum=spectrum[:, None],
        scale=weights,
        train_offset=weights @ spectrum,
        population_offset=jnp.sum(weights) if held_out is None else weights @ held_out,
        population_covariance=None if held_out is None else held_out[:, None, None],
    )
