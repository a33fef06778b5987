"""Finite matrices with the limiting spectra of M(0) and S, one rotated at random against the other.

Two matrices become free as their size grows when one is rotated at random: this closes the hierarchy of mixed moments
at no depth, so that, unlike truncated path space, it stays accurate at late times, where directions that S or M
annihilates decide the risk. What remains is of order 1/size.

Source: D. Voiculescu, "Limit laws for random matrices and free products", Invent. Math. 104 (1991); derived here.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from aetheory.core.checks import static_integer
from aetheory.core.curve import Values
from aetheory.core.solve import SolverStats, together
from aetheory.linear.flow import Ensemble, evolve
from aetheory.linear.parameters import AbstractLinear
from aetheory.linear.theories.bracket import Estimate
from aetheory.linear.theories.decoupled_modes import decoupled_risks
from aetheory.linear.theories.theory import Solver, Times
from aetheory.spectra.covariance import SampleCovariance
from aetheory.spectra.marchenko_pastur import MarchenkoPastur, free_poisson, square_root

_FINEST = 1024
"""Shares of a spectrum that stand for all of it in decoupled modes."""


@dataclass(frozen=True)
class Rotations:
    """The mean over random rotations of equal shares of the limiting spectra: .1 to .4 % of R(0) at all times.

    Arguments:
        size: rows of the matrices.
        number: how many rotations.
        seed: of the rotations, which are the same in every call, so that curves are smooth in their parameters.

    Raises:
        ValueError: a size or number that is not a positive integer.
    """

    size: int = 128
    number: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        static_integer("size", self.size)
        static_integer("number", self.number)

    def estimate(
        self, ratios: AbstractLinear, times: Times, target_free: bool, solver: Solver
    ) -> tuple[Estimate, SolverStats]:
        """The mean with its bracket: two standard errors and 1/rank² of the initial risk, added in squares.

        The ranks of M(0) and S are whole numbers in a finite matrix: the curve is interpolated linearly in both, which
        leaves an error of second order in 1/rank and the derivatives in y and z. For inputs of any covariance, what the
        shares miss at the top of the spectrum is added as far as decoupled modes know it, and a quarter of it to the
        bracket.
        """
        corners, shares, nearest = _corners(ratios, self.size)
        measured = jax.lax.map(lambda rank: sample_shares(self.size, ratios, rank), corners[:, 1])

        def one(inputs: tuple[PRNGKeyArray, Int[Array, ""]]) -> tuple[Values, SolverStats]:
            key, corner = inputs
            own = jax.tree.map(lambda leaf: leaf[corner], measured)
            ensemble = rotated(key, self.size, ratios, corners[corner, 0], own, target_free)
            return evolve(ensemble, times, **solver._asdict())

        keys = jax.random.split(jax.random.key(self.seed), self.number)
        found, stats = jax.lax.map(one, (jnp.repeat(keys, 3), jnp.tile(jnp.arange(3), self.number)))

        def interpolate(values: Float[Array, "runs times"]) -> Float[Array, "rotations times"]:
            return jnp.einsum("rct,c->rt", values.reshape(self.number, 3, -1), shares)

        draws = jax.tree.map(interpolate, found)
        mean = jax.tree.map(lambda values: jnp.mean(values, axis=0), draws)
        rounding = jax.lax.stop_gradient(ratios.initial_risk(target_free)) / jnp.min(nearest) ** 2
        width = jax.tree.map(lambda values: jnp.hypot(2 * _standard_error(values), rounding), draws)
        if ratios.covariance is not None and ratios.penalty is None:
            whole, _ = decoupled_risks(times, ratios, min(_FINEST, len(ratios.covariance)), solver, target_free)
            shared, _ = decoupled_risks(times, ratios, self.size, solver, target_free)
            missed = jax.tree.map(jnp.subtract, whole, shared)
            mean = jax.tree.map(jnp.add, mean, missed)
            width = jax.tree.map(lambda own, more: jnp.hypot(own, jax.lax.stop_gradient(more) / 4), width, missed)
        lower, upper = jax.tree.map(jnp.subtract, mean, width), jax.tree.map(jnp.add, mean, width)
        return Estimate(mean, lower, upper), together(stats)


def _corners(
    ratios: AbstractLinear, size: int
) -> tuple[Float[Array, "three two"], Float[Array, " three"], Float[Array, " two"]]:
    """Whole ranks of M(0) and S around the wanted ones, the weights of their interpolation, and the nearest of them."""
    occupied = 1 / jnp.maximum(ratios.sample_ratio, 1)
    if ratios.covariance is not None:
        occupied = 1 - SampleCovariance(ratios.covariance, ratios.sample_ratio).atom
    ranks = size * jnp.minimum(jnp.stack([jnp.asarray(ratios.latent_ratio), occupied]), 1)
    nearest = jax.lax.stop_gradient(jnp.clip(jnp.round(ranks), 1, size))
    downwards = ((ranks < nearest) & (nearest > 1)) | (nearest == size)
    step = jnp.where(downwards, -jnp.ones_like(nearest), jnp.ones_like(nearest))
    directions = jnp.asarray([[0, 0], [1, 0], [0, 1]], ranks.dtype)
    moved = (ranks - nearest) / step
    shares = jnp.concatenate([1 - jnp.sum(moved, keepdims=True), moved])
    return nearest[None] + step[None] * directions, shares, nearest


def _standard_error(values: Float[Array, "rotations times"]) -> Float[Array, " times"]:
    # the deviation is an error bar, and its derivative at 0 would be infinite
    deviation = jnp.std(jax.lax.stop_gradient(values), axis=0, ddof=1)
    error: Float[Array, " times"] = deviation / values.shape[0] ** 0.5
    return error


def sample_shares(
    size: int, ratios: AbstractLinear, rank: Float[Array, ""]
) -> tuple[Float[Array, " size"], Float[Array, " size"] | None]:
    """Equal shares of the law of S, and of the population's variance beside them: `None` for Σ = I.

    Arguments:
        size: number of entries.
        ratios: z, and Σ.
        rank: how many eigenvalues of S are not 0; a whole number near size·min(1, 1/z).
    """
    if ratios.covariance is None:
        return MarchenkoPastur(ratios.sample_ratio).shares(size, rank), None
    atoms: tuple[Array, Array] = SampleCovariance(ratios.covariance, ratios.sample_ratio).atoms(size, rank)
    return atoms


def rotated(
    key: PRNGKeyArray,
    size: int,
    ratios: AbstractLinear,
    rank: Float[Array, ""],
    measured: tuple[Float[Array, " size"], Float[Array, " size"] | None],
    target_free: bool = False,
) -> Ensemble:
    """M(0) = U diag(λ) Uᵀ and S = diag(s): equal shares of their two laws, U a random rotation.

    For inputs of any covariance Σ is diag δ(s) beside S: it enters the population risk once, and linearly.

    Arguments:
        key: draws U from the Haar measure on the orthogonal group.
        size: number of rows of both matrices.
        ratios: x, y and z.
        rank: how many eigenvalues of M(0) are not 0; a whole number near size·min(1, y).
        measured: the `sample_shares`.
        target_free: leave out the target I.
    """
    dtype, (spectrum, seen) = rank.dtype, measured
    eigenvalues = free_poisson(ratios.latent_ratio, ratios.init_scale).shares(size, rank)
    offset = jnp.full((), 0.0 if target_free else 1.0, dtype)
    return Ensemble(
        weights=jax.random.orthogonal(key, size, dtype=dtype) * square_root(eigenvalues)[None, :],
        spectrum=spectrum,
        scale=jnp.asarray(1 / size, dtype),
        train_offset=offset * jnp.mean(spectrum),
        population_offset=offset if seen is None else offset * jnp.mean(seen),
        population_covariance=None if seen is None else jnp.diag(seen),
        target_free=target_free,
        penalty=ratios.penalty,
    )
